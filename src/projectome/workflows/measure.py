"""Morphology of traced neurons as a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from projectome.errors import Problem
from projectome.io.skeletons import read_skeletons
from projectome.io.skeletons.read import skeleton_files
from projectome.io.stores import local_path
from projectome.morphology.measure import measure


def measure_files(
    places: Iterable[str | Path],
    *,
    scale: float | None = None,
    radius_scale: float | None = None,
    expansion: float | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Return one row a skeleton, and what was doubtful in the files.

    Parameters
    ----------
    places
        Files, folders or archives of any format that `read_skeletons` knows; one after the other
        is in memory.
    scale, radius_scale
        Micrometres in one unit of the coordinates and of the radii; as the files say if None.
    expansion
        Micrometres of the files in one micrometre of tissue; as the files say if None.

    Returns
    -------
    pandas.DataFrame
        Columns ``file`` (the name of the skeleton: of an SWC file, its name without the ending) and
        those of `projectome.morphology.measure.measure`.
    list of Problem
        As found when reading.
    """
    rows: list[dict[str, object]] = []
    problems: list[Problem] = []
    for place in places:
        found = read_skeletons(place, scale=scale, radius_scale=radius_scale, expansion=expansion)
        problems += found.all_problems
        rows += [{"file": item.name, **measure(item.skeleton)} for item in found]
    return pd.DataFrame(rows), problems


def neuron_files(place: str) -> list[str]:
    """Return the files to read one by one: of a study, a local folder, or the place itself.

    Raises
    ------
    NotFoundError
        If a folder holds no skeletons.
    """
    path = None if "://" in place else local_path(place)
    if path is not None and (path / "neurons").is_dir():
        place = str(path / "neurons")
    return skeleton_files(place) if path is not None and path.is_dir() else [place]
