"""The one who writes a volume: blocks from any process, then the pyramid, then the metadata."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple, triple
from projectome.core.volume import Array, Kind, Pyramid
from projectome.errors import ParameterError, ShapeError
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.io.volumes import output
from projectome.io.volumes.ngff_write import Version, encode, root_documents, window
from projectome.io.volumes.pyramid import Level, build_level
from projectome.io.volumes.zarr_write import ArrayPlan

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the voxels written so far and the voxels to write in all."""

LEVEL_BLOCK = 128
"""Unsharded levels are built in blocks of at least so many voxels an axis."""
SAMPLE = 256
"""Edge of the box from which the display range is taken, where the last level is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class VolumeWriter:
    """An OME-Zarr volume being written; made by `create_volume`.

    It holds no open file and can be sent to other processes; all may write at the same time, as
    long as no two write the same chunk.

    Attributes
    ----------
    url
        Address of the volume.
    dtype
        Element type.
    levels
        Geometry of all levels, finest first.
    chunks
        Voxels a chunk, (z, y, x).
    shards
        Voxels a shard; None where each chunk is stored by itself.
    version
        Of OME-Zarr.
    kind
        What the voxels are.
    channels
        Names of the channels; empty without a channel axis.
    compression
        Level of zstd.
    provenance
        Hash of the record of what makes it; empty if unknown.
    access
        How to ask an object store.
    """

    url: str
    dtype: np.dtype[np.generic]
    levels: tuple[Level, ...]
    chunks: Triple
    shards: Triple | None
    version: Version
    kind: Kind
    channels: tuple[str, ...]
    compression: int
    provenance: str
    access: stores.Access

    @property
    def shape(self) -> Triple:
        """Voxels an axis of the finest level, (z, y, x)."""
        return self.levels[0].shape

    @property
    def affine(self) -> Affine:
        """Voxels of the finest level to micrometres."""
        return self.levels[0].affine

    @property
    def ledger(self) -> str:
        """Where a run may remember which blocks are written; removed when all is finished."""
        return stores.join(self.url, output.LEDGER)

    @property
    def block_multiple(self) -> Triple:
        """Voxels that have to be written together: a shard, or a chunk."""
        array = self.array(0)
        return triple((array.shards or array.chunks)[-3:])

    def array(self, level: int) -> ArrayPlan:
        """Return how a level is stored; chunks are never longer than the level."""
        shape = self.levels[level].shape
        chunks = np.minimum(self.chunks, shape)
        shards = np.minimum(self.shards or chunks, -(-np.asarray(shape) // chunks) * chunks)
        channel = bool(self.channels)
        return ArrayPlan(
            url=stores.join(self.url, str(level)),
            shape=(len(self.channels),) * channel + shape,
            chunks=(1,) * channel + triple(chunks),
            shards=None if (shards == chunks).all() else (1,) * channel + triple(shards),
            dtype=self.dtype.name,
            axes=("c",) * channel + ("z", "y", "x"),
            zarr=2 if self.version == "0.4" else 3,
            compression=self.compression,
        )

    def write(self, box: Box, array: Array) -> None:
        """Write the voxels of a box of whole chunks, or shards.

        Every chunk is replaced whole or not at all, and writing the same again leaves the same
        bytes.

        Parameters
        ----------
        box
            Starts at multiples of `block_multiple` and stops there, or at the end of the volume.
        array
            Axes (z, y, x), or (c, z, y, x) with all channels where the volume has channels; of the
            volume's element type.

        Raises
        ------
        ParameterError
            If the box is not of whole chunks or leaves the volume, or the element type differs.
        ShapeError
            If the array does not have the shape of the box.
        StorageFullError, AccessDeniedError, StoreError
            If it cannot be written.
        """
        self.begin(box, array)()

    def begin(self, box: Box, array: Array) -> Callable[[], None]:
        """Begin to write, as `write` does, and return what waits for the end of it.

        The array must not change before the end.
        """
        self._check(box, array)
        index = (slice(None),) * bool(self.channels) + box.slices
        values = np.asarray(array, self.dtype)
        store = self.array(0).open(self.access)
        # Without a copy: nothing keeps the array once it is written, see `ArrayPlan.open`.
        future = store[index].write(values, can_reference_source_data_indefinitely=True)
        return partial(stores.wait, future, url=self.url, doing="write", nbytes=array.nbytes)

    def _check(self, box: Box, array: Array) -> None:
        bounds = zip(box.start, box.stop, self.block_multiple, self.shape, strict=True)
        if not all(
            a % m == 0 and (b % m == 0 or b == n) and 0 <= a < b <= n for a, b, m, n in bounds
        ):
            raise ParameterError(
                f"The box {box} cannot be written into {self.url}: it has to begin at multiples of "
                f"{self.block_multiple} voxels and to end there or at {self.shape}, because chunks "
                "are written whole. Cut blocks with block_multiple."
            )
        if array.dtype.newbyteorder("=") != self.dtype:
            raise ParameterError(
                f"{self.url} holds {self.dtype} and is given {array.dtype}; nothing is converted "
                f"silently. Convert with array.astype({self.dtype.name!r}) if that is meant."
            )
        expected = (len(self.channels),) * bool(self.channels) + box.shape
        if array.shape != expected:
            raise ShapeError(
                f"The box {box} of {self.url} takes an array of shape {expected}, not "
                f"{array.shape}."
            )

    def finish(self, on_progress: Progress | None = None) -> Pyramid:
        """Build the coarser levels, and make the output a volume by writing its metadata.

        Calling it again after it was killed, or finished, does the same again.

        Parameters
        ----------
        on_progress
            Told about the voxels of the coarser levels.

        Returns
        -------
        Pyramid
            What was written, opened again.

        Raises
        ------
        StoreError
            Or one of its children, if it cannot be written; there is no volume then.
        """
        channels = max(1, len(self.channels))
        total = channels * sum(math.prod(level.shape) for level in self.levels[1:])
        done = 0

        def count(voxels: int) -> None:
            nonlocal done
            done += voxels
            if on_progress is not None:
                on_progress(done, total)

        arrays = [self.array(k) for k in range(len(self.levels))]
        for k in range(1, len(arrays)):
            build_level(
                arrays[k - 1].open(self.access),
                arrays[k].open(self.access),
                self.levels[k].factors,
                kind=self.kind,
                block=_level_block(arrays[k]),
                url=arrays[k].url,
                on_block=count,
            )
        root = self._root_documents()
        for array in arrays:
            place = stores.join(array.url, array.document)
            stores.write_bytes(place, encode(array.metadata), access=self.access)
        for name, content in root.items():
            stores.write_bytes(stores.join(self.url, name), content, access=self.access)
        output.release(self.url, self.access)
        return open_volume(
            self.url, endpoint=self.access.endpoint or None, anonymous=not self.access.signed
        )

    def _root_documents(self) -> dict[str, bytes]:
        name = stores.parse(self.url).path.rstrip("/").rpartition("/")[2]
        return root_documents(
            self.version,
            name=name.removesuffix(".zarr").removesuffix(".ome") or "volume",
            levels=self.levels,
            kind=self.kind,
            channels=self.channels,
            windows=[] if self.kind == "labels" else [window(v) for v in self._samples()],
            provenance=self.provenance,
        )

    def _samples(self) -> Iterator[Array]:
        """Yield voxels of each channel: the last level, or the middle of it if it is large."""
        last = self.array(len(self.levels) - 1)
        size = np.asarray(last.shape[-3:])
        start = np.maximum(0, size - SAMPLE) // 2
        box = Box(triple(start), triple(np.minimum(size, start + SAMPLE)))
        store = last.open(self.access)
        for c in range(max(1, len(self.channels))):
            index = (c, *box.slices) if self.channels else box.slices
            yield stores.wait(store[index].read(), url=last.url)


def _level_block(array: ArrayPlan) -> Triple:
    """Return the voxels of a level that are written at once."""
    if array.shards is not None:
        return triple(array.shards[-3:])
    chunks = np.asarray(array.chunks[-3:])
    return triple(np.maximum(1, LEVEL_BLOCK // chunks) * chunks)
