"""Markers of ImageJ's cell counter, which cellfinder writes too."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from projectome.core.affine import Affine
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError
from projectome.io.access import Access
from projectome.io.markup import elements
from projectome.io.stores import read_bytes

ROOT = "CellCounter_Marker_File"
MAX_BYTES = 2**28
"""Size of the largest file that is read: about two million markers [bytes]."""


def read_cell_counter(
    url: str | Path,
    *,
    voxel_size: ArrayLike,
    translation: ArrayLike = (0.0, 0.0, 0.0),
    space: Space | None = None,
    first_plane: int = 0,
    access: Access | None = None,
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
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    Points
        In micrometres, with the column ``type``, int32.

    Raises
    ------
    FormatError
        If it is not such a file, or declares a document type.
    """
    voxels, types = parse_markers(read_bytes(str(url), access=access, limit=MAX_BYTES), str(url))
    grid = Affine.from_scale(voxel_size, translation, target=space)
    index = np.asarray(voxels, dtype=np.float64).reshape(-1, 3) - (first_plane, 0, 0)
    return Points(grid(index), grid.target, {"type": np.asarray(types, dtype=np.int32)})


def parse_markers(data: bytes, url: str) -> tuple[list[list[float]], list[int]]:
    """Return the markers (z, y, x) of a document as it has them, and their types.

    Raises
    ------
    FormatError
        As `read_cell_counter`.
    """
    voxels: list[list[float]] = []
    types: list[int] = []
    kind = root = ""
    numbers: dict[str, str] = {}
    group: list[list[float]] = []
    for element in elements(data, url=url):
        name, root = element.name, element.path
        if name.startswith("Marker") and name[6:] in ("X", "Y", "Z"):
            numbers[name[6:]] = element.text
        elif name == "Type":
            kind = element.text
        elif name == "Marker":
            group.append([_number(numbers.get(axis, "")) for axis in "ZYX"])
            numbers = {}
        elif name == "Marker_Type":
            # The type stands before its markers or after them.
            types += [_checked(kind, group, url)] * len(group)
            voxels += group
            kind, group = "", []
    if root != ROOT:
        raise FormatError(f"{url} holds {root!r}, not {ROOT!r}: it is not from the cell counter.")
    return voxels, types


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _checked(kind: str, group: list[list[float]], url: str) -> int:
    try:
        number = int(kind)
    except ValueError:
        number = 2**31
    sound = abs(number) < 2**31
    for place, marker in enumerate(group, 1):
        if not sound or not all(map(math.isfinite, marker)):
            raise FormatError(
                f"{url}: marker {place} of type {kind or None} has no number for its type, "
                "MarkerX, MarkerY or MarkerZ. Correct or remove it."
            )
    return number
