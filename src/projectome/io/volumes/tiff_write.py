"""Writing volumes as OME-TIFF, plane by plane."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import tifffile

from projectome.core.box import Box
from projectome.core.provenance import digest
from projectome.core.volume import Array, Volume
from projectome.errors import OutputExistsError, ParameterError
from projectome.io import stores
from projectome.io.ahead import read_ahead
from projectome.io.markup import holdable
from projectome.io.volumes.writer import Progress

PIXELS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
"""Element types of OME-TIFF."""
CLASSIC = 2**32 - 2**25
"""Largest volume written as a classic TIFF, which more programs read than BigTIFF [bytes]."""
SLAB = 64 * 2**20
"""Largest slab that is read at once, unless one plane is larger [bytes]."""


def write_tiff(
    volume: Volume, path: str, *, overwrite: bool = False, on_progress: Progress | None = None
) -> None:
    """Write a volume as an uncompressed OME-TIFF, a slab of planes at a time.

    What OME-TIFF has no place for stands in a map annotation: ``translation_um`` (position of the
    centre of voxel 0, z y x), ``toward`` (directions of increasing z, y and x, ``?`` where
    unknown), ``expansion``, ``space`` and ``kind``.

    Parameters
    ----------
    volume
        What to write; on a plain grid.
    path
        Local path; the file appears there when it is complete.
    overwrite
        Replace a file that is there.
    on_progress
        Called with the voxels written and the voxels to write.

    Raises
    ------
    ParameterError
        If OME-TIFF cannot hold the volume, or the path is not local.
    OutputExistsError
        If something is there.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.

    References
    ----------
    OME Data Model and File Formats 2016-06, https://docs.openmicroscopy.org/ome-model
    """
    target = stores.local_path(path)
    if target is None:
        raise ParameterError(
            f"TIFF is written to local paths only, not to {path}. Write OME-Zarr (.zarr) there."
        )
    if volume.dtype.name not in PIXELS:
        raise ParameterError(
            f"OME-TIFF cannot hold {volume.dtype}; it holds {', '.join(PIXELS)}. Write OME-Zarr "
            "(.zarr) to keep the element type."
        )
    if not volume.affine.is_grid:
        raise ParameterError(
            f"TIFF holds a voxel size; {volume.name} is rotated or sheared. Resample it first."
        )
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExistsError(
            f"{target} exists. Choose another output, or give --overwrite to replace a file."
        )
    shape = volume.array.shape
    with (
        stores.atomic_write(target) as partial,
        tifffile.TiffWriter(partial, bigtiff=volume.nbytes > CLASSIC, ome=True) as tiff,
    ):
        tiff.write(
            _planes(volume, on_progress),
            shape=shape,
            dtype=volume.dtype,
            photometric="minisblack",
            metadata=_metadata(volume, os.path.basename(target)),
        )


def _metadata(volume: Volume, name: str) -> dict[str, object]:
    name = holdable(name)
    size = zip("ZYX", volume.voxel_size, strict=True)
    sizes: dict[str, object] = {f"PhysicalSize{axis}": value for axis, value in size}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "ZYX"}
    notes = {
        "translation_um": " ".join(map(repr, volume.affine.translation)),
        "toward": " ".join(word or "?" for word in volume.space.toward),
        "expansion": repr(volume.space.expansion),
        "space": holdable(volume.space.name),
        "kind": volume.kind,
    }
    if volume.space.span is not None:
        notes["span_um"] = " ".join(map(repr, volume.space.span))
    channels = [holdable(channel) for channel in volume.channels]
    names = {"Channel": {"Name": channels}} if channels else {}
    # A random UUID, which is the default, would make every file another one.
    key = digest({**sizes, **notes, "name": name, "shape": volume.array.shape})
    return {
        "axes": "CZYX" if volume.channels else "ZYX",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, key)),
        "Creator": "projectome",
        "Name": name,
        "MapAnnotation": {f"projectome:{key}": value for key, value in notes.items()},
        **sizes,
        **units,
        **names,
    }


def _planes(volume: Volume, on_progress: Progress | None) -> Iterator[Array]:
    tell: Callable[[int, int], object] = on_progress or (lambda done, total: None)
    depth, height, width = volume.shape
    thick = max(1, min(volume.chunks[0], SLAB // (height * width * volume.dtype.itemsize)))
    channels: list[int | None] = list(range(len(volume.channels))) or [None]
    total, done = volume.box.size * len(channels), 0
    for channel in channels:
        slabs = (
            Box((z, 0, 0), (min(z + thick, depth), height, width)) for z in range(0, depth, thick)
        )
        for _, planes in read_ahead(volume, slabs, channel=channel):
            for plane in planes:
                yield np.ascontiguousarray(plane)
                done += plane.size
                tell(done, total)
