"""Points and tables: parquet, CSV, and the XML of ImageJ's cell counter.

The name of a coordinate column carries its unit: ``z_um``, ``y_um``, ``x_um``. A parquet file also
says which space the coordinates lie in; a CSV file cannot, and its reader has to be told. The same
table gives the same bytes: no times, no index, one way to write a number.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from numpy.typing import ArrayLike

from projectome.core.affine import Affine
from projectome.core.points import Points
from projectome.core.provenance import plain
from projectome.core.space import MICROMETRES, Space
from projectome.errors import FormatError, ParameterError
from projectome.io.stores import read_bytes, write_bytes

MAX_BYTES = 2**31
"""Size of the largest table that is read [bytes]."""
KEY = b"projectome"
"""Name under which a parquet file keeps what projectome has to say about it."""
ZYX = ("z", "y", "x")
# Before 3.1, pandas rounded the last digit of numbers unless told otherwise.
NEW_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if NEW_PANDAS else {"float_precision": "round_trip"}


def write_table(
    table: pd.DataFrame, url: str | Path, *, metadata: Mapping[str, object] | None = None
) -> None:
    """Write a table as parquet or CSV, by the ending of its name.

    Parameters
    ----------
    table
        Columns with texts for names. The index is not written.
    url
        Path or address ending in ``.parquet`` or ``.csv``; replaced in one step.
    metadata
        Plain data kept in the file; parquet only.

    Raises
    ------
    ParameterError
        If the ending is another, a column has no text for a name or the name of another, or
        metadata should go into CSV.
    """
    ending = ending_of(url)
    names = list(table.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ParameterError(f"The columns of a table need different texts for names, not {names}.")
    if ending == ".csv":
        if metadata:
            raise ParameterError(f"CSV cannot keep metadata; write {url} as .parquet.")
        text = table.to_csv(index=False, lineterminator="\n")
        write_bytes(str(url), text.encode())
        return
    arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
    note = json.dumps(plain(metadata or {}), sort_keys=True).encode()
    target = io.BytesIO()
    pyarrow.parquet.write_table(
        arrow.replace_schema_metadata({KEY: note}), target, compression="zstd"
    )
    write_bytes(str(url), target.getvalue())


def read_table(url: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table from parquet or CSV, by the ending of its name.

    Parameters
    ----------
    url
        Path or address ending in ``.parquet`` or ``.csv``.
    columns
        Which to read; all by default.

    Returns
    -------
    pandas.DataFrame
        With a plain index.

    Raises
    ------
    FormatError
        If the file is not what its ending says, or lacks one of the columns.
    NotFoundError
        If there is no such file.
    """
    return read_with_metadata(url, columns=columns)[0]


def read_with_metadata(
    url: str | Path, *, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table and the metadata written with it; none where another program wrote it.

    Raises
    ------
    FormatError
        As `read_table`.
    """
    ending = ending_of(url)
    data = io.BytesIO(read_bytes(str(url), limit=MAX_BYTES))
    metadata: dict[str, Any] = {}
    try:
        if ending == ".csv":
            # Texts such as NA and None are texts: regions have such names.
            table = pd.read_csv(
                data,
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=["", "nan", "NaN"],
                **EXACT,
            )
        else:
            arrow = pyarrow.parquet.read_table(data)
            metadata = json.loads((arrow.schema.metadata or {}).get(KEY, b"{}"))
            table = arrow.to_pandas()
    except (pyarrow.ArrowException, ValueError) as error:
        raise FormatError(
            f"{url} is not a {ending[1:]} table: {error}. Check the file, or name it by what it is."
        ) from None
    missing = [name for name in columns or () if name not in table.columns]
    if missing:
        raise FormatError(
            f"{url} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, table.columns))}."
        )
    return (table if columns is None else table[list(columns)]), metadata


def ending_of(url: str | Path) -> str:
    """Return ``.parquet`` or ``.csv``.

    Raises
    ------
    ParameterError
        If the name ends otherwise.
    """
    ending = PurePosixPath(str(url)).suffix.lower()
    if ending not in (".parquet", ".csv"):
        raise ParameterError(f"A table is named .parquet or .csv, not {str(url)!r}.")
    return ending


def write_points(points: Points, url: str | Path) -> None:
    """Write points: ``id``, the coordinates, then the other columns.

    Parameters
    ----------
    points
        Their column ``id`` is used if there is one; else they are numbered from 1.
    url
        Path or address ending in ``.parquet``, which keeps the space, or ``.csv``, which cannot.

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
    write_table(pd.DataFrame(columns), url, metadata=metadata)


def read_points(url: str | Path, *, space: Space | None = None) -> Points:
    """Read points from a table.

    Parameters
    ----------
    url
        Path or address ending in ``.parquet`` or ``.csv``, with columns ``z_um``, ``y_um`` and
        ``x_um``, or with another unit of length, or ``px`` for voxels, in place of ``um``.
    space
        What the coordinates mean; by default what the file says, else an unnamed scan.

    Returns
    -------
    Points
        In micrometres (or voxels), with all other columns.

    Raises
    ------
    FormatError
        If there are no coordinates, they are not finite numbers, or they are voxels where `space`
        is in micrometres (or the other way round).
    """
    table, metadata = read_with_metadata(url)
    names, scale, unit = coordinate_columns(table, str(url))
    try:
        said = restore_space(metadata["space"]) if "space" in metadata else Space(unit=unit)
    except (KeyError, TypeError, ParameterError) as error:
        raise FormatError(f"{url} describes its space in a way not known: {error!r}.") from None
    settled = said if space is None else space
    if settled.unit != unit:
        raise FormatError(
            f"{url} has its coordinates in the columns {names}, but the space {settled.name!r} is "
            f"in {settled.unit}s. Convert them with the grid of the volume first."
        )
    positions = np.stack([numeric(table[name], str(url)) for name in names], axis=1)
    for row in np.flatnonzero(~np.isfinite(positions).all(axis=1))[:1]:
        raise FormatError(f"{url}: point {row + 1} has a coordinate that is missing or not finite.")
    columns = {name: column(table[name]) for name in table.columns if name not in names}
    return Points(positions * scale, settled, columns)


def coordinate_columns(table: pd.DataFrame, where: str) -> tuple[list[str], float, Any]:
    """Return the names of the columns z, y, x, micrometres in their unit, and the unit's kind.

    Raises
    ------
    FormatError
        If there are none.
    """
    for unit, scale in {"um": 1.0, "px": 1.0, **MICROMETRES}.items():
        names = [f"{axis}_{unit}" for axis in ZYX]
        if set(names) <= set(table.columns):
            return names, scale, "voxel" if unit == "px" else "micrometer"
    raise FormatError(
        f"{where} has no columns 'z_um', 'y_um', 'x_um', only {list(table.columns)}. Name the "
        "coordinates with their unit (um, mm, px for voxels)."
    )


def restore_space(said: Mapping[str, Any]) -> Space:
    """Return the space that `write_points` described."""
    return Space(
        name=str(said["name"]),
        axes=tuple(said["axes"]),
        toward=tuple(said["toward"]),
        unit=said["unit"],
        expansion=float(said["expansion"]),
    )


def numeric(series: pd.Series[Any], where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as float64.

    Raises
    ------
    FormatError
        If it holds something else.
    """
    try:
        return np.asarray(series, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: column {series.name!r} is not all numbers: {error}.") from None


def column(series: pd.Series[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a column as numpy has it: texts as objects."""
    return series.to_numpy() if series.dtype.kind in "biuf" else series.to_numpy(dtype=object)


class NoDoctype(ElementTree.TreeBuilder):
    """Builds XML trees, but of no document that could define entities."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse a document type.

        Raises
        ------
        FormatError
            Always: entities can make a small file enormous, or read other files.
        """
        raise FormatError(f"XML with a document type ({name!r}) is not read; remove that line.")


def read_cell_counter(
    url: str | Path,
    *,
    voxel_size: ArrayLike,
    translation: ArrayLike = (0.0, 0.0, 0.0),
    space: Space | None = None,
    first_plane: int = 0,
) -> Points:
    """Read the markers of ImageJ's cell counter, as cellfinder also writes them.

    Parameters
    ----------
    url
        Path or address of the XML file. Its markers are voxels.
    voxel_size
        Size of a voxel (z, y, x) [um].
    translation
        Position of the centre of voxel 0 [um].
    space
        What the micrometres mean; an unnamed scan by default.
    first_plane
        Number of the first plane: 0 in files of cellfinder, 1 in those of ImageJ.

    Returns
    -------
    Points
        In micrometres, with the column ``type``, int32.

    Raises
    ------
    FormatError
        If it is not such a file, or declares a document type.
    """
    parser = ElementTree.XMLParser(target=NoDoctype())
    try:
        parser.feed(read_bytes(str(url)))
        root = parser.close()
    except ElementTree.ParseError as error:
        raise FormatError(f"{url} is not XML: {error}. Check the file.") from None
    if root.tag != "CellCounter_Marker_File":
        raise FormatError(
            f"{url} holds {root.tag!r}, not 'CellCounter_Marker_File': it is not from the cell "
            "counter."
        )
    voxels: list[list[float]] = []
    types: list[int] = []
    for group in root.iter("Marker_Type"):
        for number, marker in enumerate(group.iter("Marker"), 1):
            try:
                found = [float(marker.findtext(f"Marker{axis}") or "") for axis in "ZYX"]
                types.append(int(group.findtext("Type") or ""))
            except ValueError:
                found = [math.nan]
            if not all(map(math.isfinite, found)):
                raise FormatError(
                    f"{url}: marker {number} of type {group.findtext('Type')} has no number for "
                    "its type, MarkerX, MarkerY or MarkerZ. Correct or remove it."
                )
            voxels.append(found)
    grid = Affine.from_scale(voxel_size, translation, target=space)
    index = np.asarray(voxels, dtype=np.float64).reshape(-1, 3) - (first_plane, 0, 0)
    return Points(grid(index), grid.target, {"type": np.asarray(types, dtype=np.int32)})
