"""What writes a pyramid in any format: blocks from any process, then the levels, then metadata."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple, triple
from projectome.core.provenance import plain
from projectome.core.volume import Array, Kind, Pyramid
from projectome.errors import ParameterError, ShapeError
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.io.volumes import output
from projectome.io.volumes.pyramid import Level, begin_write, build_level

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the voxels written so far and the voxels to write in all."""

LEVEL_BLOCK = 128
"""Unsharded levels are built in blocks of at least so many voxels an axis."""


class LevelPlan(Protocol):
    """One level to be written; its metadata is not written before its voxels."""

    @property
    def url(self) -> str:
        """Where its chunks go."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of a chunk an axis."""

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Elements of a shard an axis; None where each chunk is stored by itself."""

    def open(self, access: stores.Access) -> Any:
        """Return it as a tensorstore with the axes (z, y, x) or (c, z, y, x)."""


@dataclass(frozen=True, slots=True, eq=False)
class PyramidWriter(ABC):
    """A volume of several levels being written.

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
    kind
        What the voxels are.
    channels
        Names of the channels; empty without a channel axis.
    provenance
        Hash of the record of what makes it; empty if unknown.
    access
        How to ask an object store.
    """

    url: str
    dtype: np.dtype[np.generic]
    levels: tuple[Level, ...]
    chunks: Triple
    kind: Kind
    channels: tuple[str, ...]
    provenance: str
    access: stores.Access

    @abstractmethod
    def array(self, level: int) -> LevelPlan:
        """Return how a level is stored."""

    @abstractmethod
    def seal(self) -> None:
        """Write the metadata, which makes a volume of the levels."""

    @abstractmethod
    def layout(self) -> dict[str, object]:
        """Return what else tells this volume to be from another, by name."""

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
    def finest(self) -> str:
        """Address of the folder that the voxels of level 0 go to."""
        return self.array(0).url

    @property
    def block_multiple(self) -> Triple:
        """Voxels that have to be written together: a shard, or a chunk."""
        array = self.array(0)
        return triple((array.shards or array.chunks)[-3:])

    def claim(self, *, overwrite: bool) -> None:
        """Make the address ready, or refuse; see `projectome.io.volumes.output.claim`."""
        told = {
            "shape": self.shape,
            "dtype": self.dtype.name,
            "affine": self.affine.matrix,
            "space": self.affine.target,
            "chunks": self.chunks,
            "kind": self.kind,
            "channels": self.channels,
            "levels": len(self.levels),
            "provenance": self.provenance,
            **self.layout(),
        }
        plan = {name: plain(value) for name, value in told.items()}
        output.claim(self.url, plan, overwrite=overwrite, access=self.access)

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
        # Without a copy: no cache keeps the array once it is written.
        future = begin_write(store[index], values, keep=True)
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
        self.seal()
        output.release(self.url, self.access)
        return open_volume(
            self.url, endpoint=self.access.endpoint or None, anonymous=not self.access.signed
        )


def _level_block(array: LevelPlan) -> Triple:
    """Return the voxels of a level that are written at once."""
    if array.shards is not None:
        return triple(array.shards[-3:])
    chunks = np.asarray(array.chunks[-3:])
    return triple(np.maximum(1, LEVEL_BLOCK // chunks) * chunks)
