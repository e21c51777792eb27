"""Morphology of traced neurons as a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from projectome.errors import NotFoundError, Problem
from projectome.io.skeletons.swc import read_swc
from projectome.morphology.measure import measure


def measure_files(
    files: Iterable[Path],
    *,
    scale: float | None = None,
    radius_scale: float | None = None,
    expansion: float | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Return one row an SWC file, and what was doubtful in the files.

    Parameters
    ----------
    files
        SWC files.
    scale, radius_scale
        Micrometres in one unit of the coordinates and of the radii; as the files say if None.
    expansion
        Micrometres of the files in one micrometre of tissue; as the files say if None.

    Returns
    -------
    pandas.DataFrame
        Columns ``file`` (without its ending) and those of `projectome.morphology.measure.measure`.
    list of Problem
        As found when reading.
    """
    rows: list[dict[str, object]] = []
    problems: list[Problem] = []
    for file in files:
        found = read_swc(file, scale=scale, radius_scale=radius_scale, expansion=expansion)
        problems += found.problems
        rows.append({"file": file.stem, **measure(found.skeleton)})
    return pd.DataFrame(rows), problems


def swc_files(place: Path) -> list[Path]:
    """Return the SWC files of a file, a folder, or a study, sorted by name; numbers by value.

    Raises
    ------
    NotFoundError
        If there are none.
    """
    folder = place / "neurons" if (place / "neurons").is_dir() else place
    found = [folder] if folder.is_file() else list(folder.glob("*.swc"))
    if not found:
        raise NotFoundError(
            f"No SWC file in {place}. Give an SWC file, a folder of them, or a study."
        )
    return sorted(found, key=lambda p: (int(p.stem) if p.stem.isdecimal() else -1, p.name))
