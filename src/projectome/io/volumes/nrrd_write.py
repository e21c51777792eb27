"""Writing volumes as NRRD."""

from __future__ import annotations

import json
from collections.abc import Iterable

from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.io.volumes.flat_volume import notes_of
from projectome.io.volumes.flat_write import check_target, write_flat
from projectome.io.volumes.nrrd_header import OWN, TYPES
from projectome.io.volumes.placement import lps_frame
from projectome.io.volumes.writer import Progress

NAMES = {name: name for name in TYPES} | {"float32": "float", "float64": "double"}
"""What the element types are called that NRRD holds."""


def write_nrrd(
    volume: Volume,
    path: str,
    *,
    compressed: bool = False,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> None:
    """Write a volume as an NRRD file, a slab of planes at a time; no voxel moves.

    Directions and origin place the image in LPS and millimetres, as
    `projectome.core.affine.itk_geometry` says. Where a direction is unknown, no anatomical space is
    named. Channels lie along a fourth axis, the slowest. Names of channels and space, the expansion
    and the kind stand in key-value pairs.

    Parameters
    ----------
    volume
        What to write.
    path
        Local path that ends in ``.nrrd``.
    compressed
        Whether the voxels are compressed with gzip. A file that was left unfinished is gone on
        with, either way.
    overwrite
        Replace a file that is there, and start over.
    on_progress
        Called with the voxels written and the voxels to write.

    Raises
    ------
    ParameterError
        If NRRD cannot hold the volume, or the path is not local.
    OutputExistsError
        If something is there.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.

    References
    ----------
    Definition of NRRD file format, http://teem.sourceforge.net/nrrd/format.html
    """
    target = check_target(path, "NRRD", overwrite=overwrite)
    if volume.dtype.name not in NAMES:
        raise ParameterError(
            f"NRRD cannot hold {volume.dtype}; it holds {', '.join(sorted(NAMES))}. Write OME-Zarr "
            "(.zarr) to keep the element type, or convert the voxels first."
        )
    write_flat(
        volume,
        target,
        _header(volume, "gzip" if compressed else "raw"),
        compress="voxels" if compressed else None,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def _header(volume: Volume, encoding: str) -> bytes:
    """Return the header, its empty line included."""
    sizes = [*volume.shape[::-1], *([len(volume.channels)] if volume.channels else [])]
    placed = lps_frame(volume)
    if placed is None and not volume.affine.is_grid:
        raise ParameterError(
            f"{volume.name} is rotated or sheared in a space of unknown orientation. State it with "
            "--orientation CODE --meaning toward|from."
        )
    if placed is None:
        space = "space dimension: 3"
        size = volume.voxel_size[::-1]
        steps = [[v / 1000 if i == k else 0.0 for i in range(3)] for k, v in enumerate(size)]
        origin = [v / 1000 for v in volume.affine.translation[::-1]]
    else:
        space = "space: left-posterior-superior"
        steps, origin = placed[0].T.tolist(), placed[1].tolist()
    kinds = ["domain"] * 3
    directions = [_vector(step) for step in steps]
    if volume.channels:
        kinds, directions = [*kinds, "list"], [*directions, "none"]
    lines = [
        "NRRD0005",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {NAMES[volume.dtype.name]}",
        f"dimension: {len(sizes)}",
        space,
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        f"encoding: {encoding}",
        'space units: "mm" "mm" "mm"',
        f"space origin: {_vector(origin)}",
        *(f"{OWN}{key}:={_value(value)}" for key, value in notes_of(volume).items()),
    ]
    return "\n".join([*lines, "", ""]).encode()


def _value(value: object) -> str:
    return json.dumps(value).replace("\\", "\\\\")  # NRRD has escapes of its own


def _vector(values: Iterable[float]) -> str:
    return f"({','.join(repr(value + 0.0) for value in values)})"
