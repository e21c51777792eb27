"""Writing volumes as HDF5, chunk by chunk."""

from __future__ import annotations

import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from projectome.core.box import Box, Triple, triple
from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.io import stores
from projectome.io.volumes.flat_write import check_target
from projectome.io.volumes.hdf5_file import library
from projectome.io.volumes.options import space_notes
from projectome.io.volumes.writer import Progress

DATASET = "data"
CHUNK = 64
"""Voxels an axis of a chunk."""
BLOCK = 64 * 2**20
"""Largest box that is read at once, unless one chunk is larger [bytes]."""


def write_hdf5(
    volume: Volume, path: str, *, overwrite: bool = False, on_progress: Progress | None = None
) -> None:
    """Write a volume as the dataset ``data`` of an HDF5 file, a box of chunks at a time.

    Chunks are packed with gzip, which every HDF5 library reads. The attributes ``element_size_um``
    (z, y, x) and ``axistags`` are those of ilastik and Fiji; what they have no place for stands as
    JSON in the attribute ``projectome``: ``translation_um`` (position of the centre of voxel 0, z
    y x), ``toward``, ``expansion``, ``space``, ``kind`` and ``channels``.

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
    MissingExtraError
        If h5py is not installed.
    ParameterError
        If the volume is rotated or sheared, or the path is not local.
    OutputExistsError
        If something is there.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.
    """
    target = check_target(path, "HDF5", overwrite=overwrite)
    if not volume.affine.is_grid:
        raise ParameterError(
            f"HDF5 holds a voxel size; {volume.name} is rotated or sheared. Resample it first."
        )
    h5py = library()
    several = bool(volume.channels)
    chunk = triple(np.minimum(CHUNK, volume.shape))
    # A chunk written in parts would be packed again for each, so blocks are made of whole chunks.
    block = _block(volume, chunk)
    total, done = volume.box.size * max(1, len(volume.channels)), 0
    with stores.atomic_write(target) as partial, _Output(partial) as output:
        with h5py.File(output, "w", libver="earliest") as file:
            data = file.create_dataset(
                DATASET,
                shape=volume.array.shape,
                dtype=volume.dtype.newbyteorder("<"),
                chunks=(1, *chunk) if several else chunk,
                compression="gzip",
                compression_opts=1,
                shuffle=volume.dtype.itemsize > 1,
            )
            data.attrs.update(_attributes(volume))
            for channel in range(len(volume.channels)) if several else [None]:
                for box in _boxes(volume.shape, block):
                    voxels = volume.read(box, channel=channel)
                    data[box.slices if channel is None else (channel, *box.slices)] = voxels
                    output.check()
                    done += box.size
                    if on_progress is not None:
                        on_progress(done, total)
        output.check()


class _Output(io.FileIO):
    """A file that keeps an error of writing to itself until it is asked.

    The library cannot close a file of which a part was not written, and crashes the process.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or nothing after an error."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self._failure is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self._failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file, or do nothing after an error."""
        try:
            return super().truncate(size) if self._failure is None else size or 0
        except OSError as error:
            self._failure = error
            return size or 0

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self._failure is not None:
            raise self._failure


def _block(volume: Volume, chunk: Triple) -> Triple:
    """Return the voxels that are read at once: chunks along x, then y, then z."""
    block = list(chunk)
    for axis in (2, 1, 0):
        others = int(np.prod([n for i, n in enumerate(block) if i != axis]))
        room = BLOCK // (others * volume.dtype.itemsize)
        block[axis] = max(chunk[axis], min(room // chunk[axis] * chunk[axis], volume.shape[axis]))
    return triple(block)


def _boxes(shape: Triple, block: Triple) -> list[Box]:
    starts = product(*(range(0, n, b) for n, b in zip(shape, block, strict=True)))
    return [Box(triple(s), triple(np.minimum(np.add(s, block), shape))) for s in starts]


def _attributes(volume: Volume) -> dict[str, object]:
    names = "czyx" if volume.channels else "zyx"
    size = dict(zip("zyx", volume.voxel_size, strict=True))
    # 1 and 2 are what vigra calls axes of channels and of space.
    tags = [
        {"key": n, "typeFlags": 1 if n == "c" else 2, "resolution": size.get(n, 0.0)} for n in names
    ]
    own: dict[str, object] = {
        "translation_um": list(volume.affine.translation),
        "toward": list(volume.space.toward),
        **space_notes(volume.space),
        "kind": volume.kind,
    }
    if volume.channels:
        own["channels"] = list(volume.channels)
    return {
        "element_size_um": np.array(volume.voxel_size),
        "axistags": json.dumps({"axes": [{**tag, "description": ""} for tag in tags]}),
        "projectome": json.dumps(own),
    }
