"""Points in the columns of a table.

The name of a coordinate column carries its unit: ``z_um``, ``y_um``, ``x_um``. A parquet file also
says which space the coordinates lie in; a CSV file cannot, and its reader has to be told. Tables of
other programs name their columns ``z``, ``y``, ``x``, which are voxels as a rule and have no unit:
they are read with the size of a voxel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine, are_places
from projectome.core.points import Points
from projectome.core.space import MICROMETRES, Space
from projectome.errors import FormatError, ParameterError
from projectome.io.access import Access
from projectome.io.documents import restore_space
from projectome.io.tables import column, ending_of, numeric, write_table

ZYX = ("z", "y", "x")
TRIPLE = "xyz"
"""A column of texts ``(x, y, z)``, physical, in the soma tables of the ExA-SPIM pipeline."""
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def write_point_table(points: Points, url: str | Path, *, access: Access | None = None) -> None:
    """Write points as a table: ``id``, the coordinates, then the other columns.

    Parameters
    ----------
    points
        Their column ``id`` is used if there is one; else they are numbered from 1.
    url
        Path or address ending in ``.parquet``, which keeps the space, or ``.csv``, which cannot.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If the ending is another, or a column has the name of a coordinate.
    """
    unit = "px" if points.space.unit == "voxel" else "um"
    columns: dict[str, object] = {"id": points.columns.get("id", np.arange(1, len(points) + 1))}
    for axis, name in enumerate(ZYX):
        columns[f"{name}_{unit}"] = points.coordinates[:, axis]
    clash = [n for n in points.columns if n != "id" and n in columns]
    if clash:
        raise ParameterError(f"Column {clash[0]!r} has the name of a coordinate; rename it.")
    columns |= {name: values for name, values in points.columns.items() if name != "id"}
    metadata = {} if ending_of(url) == ".csv" else {"space": asdict(points.space)}
    write_table(pd.DataFrame(columns), url, metadata=metadata, access=access)


def points_of(
    table: pd.DataFrame,
    metadata: Mapping[str, Any],
    *,
    where: str,
    space: Space | None = None,
    voxel_size: ArrayLike | None = None,
    translation: ArrayLike = (0.0, 0.0, 0.0),
) -> Points:
    """Return the points in a table.

    Parameters
    ----------
    table
        With columns ``z_um``, ``y_um``, ``x_um`` (or another unit of length, or ``px``), with
        ``z``, ``y``, ``x`` in any case, or with texts ``(x, y, z)`` in ``xyz``.
    metadata
        As written with it; may name the space.
    where
        Where it came from, for messages.
    space
        What the coordinates mean; by default what `metadata` says, else an unnamed scan.
    voxel_size
        Size of a voxel (z, y, x) [um]; needed where columns have no unit, used where they are
        voxels.
    translation
        Position of the centre of voxel 0 [um].

    Raises
    ------
    FormatError
        If there are no coordinates, they are not finite numbers, they have no unit and no voxel
        size is given, or they are voxels where `space` is in micrometres (or the other way round).
    """
    table = table.rename(columns={name: str(name).strip() for name in table.columns})
    table = table.rename(columns={"Unnamed: 0": "index"})
    names, scale, unit = coordinate_columns(table, where, sized=voxel_size is not None)
    try:
        said = restore_space(metadata["space"]) if "space" in metadata else Space()
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where} describes its space in a way not known: {error!r}.") from None
    if names == [TRIPLE]:
        positions = _triples(table[TRIPLE], where)
    else:
        positions = np.stack([numeric(table[name], where) for name in names], axis=1)
    for row in np.flatnonzero(~are_places(positions))[:1]:
        raise FormatError(
            f"{where}: point {row + 1} has a coordinate that is missing, not finite or out of "
            "reach. Correct or remove it."
        )
    columns = {name: column(table[name]) for name in table.columns if name not in names}
    if unit == "voxel" and voxel_size is not None:
        target = space if space is not None else said if said.unit == "micrometer" else Space()
        grid = Affine.from_scale(voxel_size, translation, target=target)
        return Points(grid(positions), grid.target, columns)
    plain = said if "space" in metadata else Space(unit=unit)
    settled = plain if space is None else space
    if settled.unit != unit:
        raise FormatError(
            f"{where} has its coordinates in the columns {names}, but the space {settled.name!r} "
            f"is in {settled.unit}s. Pass voxel_size=, or convert them with the grid of the volume."
        )
    return Points(positions * scale, settled, columns)


def coordinate_columns(
    table: pd.DataFrame, where: str, *, sized: bool = False
) -> tuple[list[str], float, Any]:
    """Return the names of the columns z, y, x, micrometres in their unit, and the unit's kind.

    Parameters
    ----------
    table
        Its columns have texts for names.
    where
        Where it came from, for messages.
    sized
        The caller gives the size of a voxel.

    Raises
    ------
    FormatError
        If there are none, or they have no unit and no voxel size is given.
    """
    for unit, scale in {"um": 1.0, "px": 1.0, **MICROMETRES}.items():
        names = [f"{axis}_{unit}" for axis in ZYX]
        if set(names) <= set(table.columns):
            return names, scale, "voxel" if unit == "px" else "micrometer"
    if TRIPLE in table.columns:
        return [TRIPLE], 1.0, "micrometer"
    for letters in (ZYX, tuple("ZYX")):
        if set(letters) <= set(table.columns):
            if not sized:
                raise FormatError(
                    f"{where} has the columns {', '.join(letters)} without a unit. Pass "
                    "voxel_size=(z, y, x) in micrometres if they are voxels, voxel_size=1 if they "
                    "are micrometres."
                )
            return list(letters), 1.0, "voxel"
    raise FormatError(
        f"{where} has no columns 'z_um', 'y_um', 'x_um', only {list(table.columns)[:40]}. Name the "
        "coordinates with their unit (um, mm, px for voxels)."
    )


def _triples(series: pd.Series[Any], where: str) -> NDArray[np.float64]:
    """Return texts such as ``(x, y, z)`` as coordinates (z, y, x)."""
    found = []
    for row, text in enumerate(series.tolist(), 1):
        # Newer versions of numpy write np.float64(1.5) for 1.5.
        numbers = NUMBER.findall(re.sub(r"np\.float\d+", "", str(text)[:500]))
        if len(numbers) != 3:
            raise FormatError(
                f"{where}: point {row} has {str(text)[:60]!r} in the column {TRIPLE!r}, not three "
                "numbers (x, y, z). Correct it."
            )
        found.append([float(number) for number in reversed(numbers)])
    return np.asarray(found, dtype=np.float64).reshape(-1, 3)
