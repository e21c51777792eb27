"""The steps of copying a volume, and what a copy is held against."""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd

from projectome.core.box import Block, Box
from projectome.core.space import Space
from projectome.core.view import crop, reorient
from projectome.core.volume import Array, LazyArray, OverArray, Volume
from projectome.engine.sinks import ArraySink
from projectome.engine.step import BlockStep
from projectome.errors import DataError
from projectome.imaging.resample import Resampled, resample
from projectome.io.source import VolumeSource
from projectome.io.volumes.encoded import stored_chunks, write_encoded
from projectome.io.volumes.write import VolumeWriter

BYTES_A_BYTE = 4
"""Memory that copying takes for each byte copied: read, turned, written, encoded."""
BOUNDS = ("z", "y", "x", "beyond_z", "beyond_y", "beyond_x")
Seen: TypeAlias = tuple[Box, int | None]
"""A box, and the channel or None for all there are."""


@dataclass(frozen=True)
class CopyBlocks(BlockStep):
    """Read the voxels of a volume, or of a part of it, with its axes turned if wanted.

    Attributes
    ----------
    source
        What to read; all channels if it names none.
    box
        Voxels of its level; all if None.
    permute
        Orientation code of the result, letters naming the direction in which each axis increases;
        as it is if None.
    resample
        Size of a voxel of the result (z, y, x) [um]; as it is if None.
    seen
        Fingerprints of the source, if they were taken just now.
    """

    name: ClassVar[str] = "copy"

    source: VolumeSource
    box: Box | None = None
    permute: str | None = None
    resample: tuple[float, float, float] | None = None
    seen: tuple[str, ...] = field(default=(), compare=False)

    def volume(self) -> Volume:
        """Return what is copied, lazily; opened once a process."""
        return _opened(self.source, self.box, self.permute, self.resample)

    def memory(self, block: Block) -> int:
        """Return an upper bound of the memory that one call takes [bytes]."""
        volume = self.volume()
        voxel = volume.dtype.itemsize * max(1, len(volume.channels))
        copied = block.read.size * voxel * BYTES_A_BYTE
        if self.resample is None:
            return copied
        # What is read, and twice what is left of it after each axis, in floating point.
        scale = volume.array.scale if isinstance(volume.array, Resampled) else (1.0, 1.0, 1.0)
        taken = math.prod(max(1, s) * n + 2 for s, n in zip(scale, block.read.shape, strict=True))
        return copied + int(taken * max(1, len(volume.channels)) * (volume.dtype.itemsize + 16))

    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprint of the source, which covers all channels."""
        if self.seen:
            return self.seen
        if self.source.channel is None and self.volume().channels:
            return (replace(self.source, channel=0).fingerprint(), "all channels")
        return (self.source.fingerprint(),)

    def __call__(self, block: Block) -> Any:
        """Return the voxels of the core of a block."""
        return self.volume().read(block.core)


@dataclass(frozen=True)
class CopyAndWitness(CopyBlocks):
    """Copy blocks, and keep a hash of each that the copy can be held against.

    Attributes
    ----------
    source, box, permute, resample, seen
        See `CopyBlocks`.
    """

    name: ClassVar[str] = "copy-and-witness"

    def __call__(self, block: Block) -> dict[str, object]:
        """Return ``voxels``, and in ``hashes`` the block and its hash."""
        voxels = super().__call__(block)
        corners = zip(BOUNDS, (*block.core.start, *block.core.stop), strict=True)
        row: dict[str, list[object]] = {name: [value] for name, value in corners}
        return {"voxels": voxels, "hashes": row | {"hash": [hash_of(voxels)]}}


@dataclass(frozen=True)
class CopyChunks(CopyBlocks):
    """Copy the chunks of blocks as they lie.

    Attributes
    ----------
    source, box, permute, resample, seen
        See `CopyBlocks`; nothing but the source can be given.
    """

    name: ClassVar[str] = "copy-chunks"

    def __call__(self, block: Block) -> dict[str, bytes]:
        """Return encoded chunks by their names."""
        stored = stored_chunks(self.volume().array)
        assert stored is not None
        return stored.read(block.core, strict=self.source.strict)


@dataclass(frozen=True, slots=True)
class ChunkSink(ArraySink):
    """Keep encoded chunks in a volume of the same chunks.

    Attributes
    ----------
    writer
        Of the volume.
    """

    writer: VolumeWriter

    def write(self, block: Block, result: Any) -> None:
        """Write the chunks of a block."""
        write_encoded(self.writer.array(0).url, result, access=self.writer.access)


def hash_of(voxels: Array) -> str:
    """Return a hash of voxels, their type and shape."""
    values = np.ascontiguousarray(voxels)
    found = hashlib.blake2b(f"{values.dtype.str} {values.shape}".encode(), digest_size=16)
    found.update(values.data)
    return found.hexdigest()


@functools.lru_cache(maxsize=8)
def _opened(
    source: VolumeSource,
    box: Box | None,
    permute: str | None,
    size: tuple[float, float, float] | None,
) -> Volume:
    whole = source.channel is None
    volume = source.pyramid()[source.level] if whole else source.open()
    if box is not None:
        volume = crop(volume, box)
    if permute is not None:
        volume = reorient(volume, Space.from_code(permute, meaning="toward"))
    return volume if size is None else resample(volume, size)


@dataclass(frozen=True, eq=False)
class Witness(OverArray):
    """An array that remembers a hash of all that was read from it.

    Attributes
    ----------
    array
        What is read.
    seen
        Boxes, with a channel or None, and the hashes of their voxels.
    """

    array: LazyArray
    seen: dict[Seen, str] = field(default_factory=dict)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        voxels = self.array.read(index)
        z, y, x = index[-3:]
        box = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
        for c in range(index[0].start, index[0].stop) if len(index) == 4 else (None,):
            plane = voxels if c is None else voxels[c - index[0].start]
            self.seen[box, c] = hash_of(plane)
        return voxels


def seen_by(hashes: pd.DataFrame) -> dict[Seen, str]:
    """Return the rows of `CopyAndWitness` as boxes with their hashes."""
    corners = hashes[list(BOUNDS)].to_numpy().tolist()
    boxes = [Box((z, y, x), (a, b, c)) for z, y, x, a, b, c in corners]
    return {(box, None): text for box, text in zip(boxes, hashes["hash"], strict=True)}


def check_copy(volume: Volume, seen: dict[Seen, str], place: str) -> None:
    """Refuse an output that does not hold what was read.

    Raises
    ------
    DataError
        If the voxels of a box have another hash.
    """
    for (box, channel), expected in seen.items():
        if hash_of(volume.read(box, channel=channel)) != expected:
            raise DataError(
                f"{place} does not hold what was read: the voxels {box} differ. The disk or its "
                "memory may be failing; check it, and run the same again with --overwrite."
            )
