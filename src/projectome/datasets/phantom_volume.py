"""Lazy volumes whose voxels are computed when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box, Triple, triple
from projectome.core.volume import Array, Kind, Volume

PIECE = (64, 128, 512)
"""Voxels that are computed at once; bounds the memory and changes no value."""

Draw: TypeAlias = Callable[[Box], Array]
DrawChannel: TypeAlias = Callable[[Box, slice], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A `projectome.core.volume.LazyArray` whose voxels are computed when they are read."""

    shape: Triple
    dtype: np.dtype[np.generic]
    draw: Draw

    @property
    def chunks(self) -> Triple:
        """Voxels best read together."""
        return 64, 64, 64

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the voxels of one slice an axis."""
        box = _box(index)
        out = np.empty(box.shape, self.dtype)
        for block in BlockGrid(box, PIECE):
            out[block.core.slices_in(box.start)] = self.draw(block.core)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class RenderedChannels:
    """Like `Rendered`, with axes (c, z, y, x)."""

    shape: tuple[int, int, int, int]
    dtype: np.dtype[np.generic]
    draw: DrawChannel

    @property
    def chunks(self) -> tuple[int, int, int, int]:
        """Voxels best read together: all channels, which share what is slow to compute."""
        return self.shape[0], 64, 64, 64

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the voxels of one slice an axis."""
        box = _box(index[1:])
        out = np.empty((index[0].stop - index[0].start, *box.shape), self.dtype)
        for block in BlockGrid(box, PIECE):
            out[(slice(None), *block.core.slices_in(box.start))] = self.draw(block.core, index[0])
        return out


def rendered(
    draw: Draw,
    shape: Triple,
    dtype: DTypeLike,
    affine: Affine,
    *,
    kind: Kind = "image",
    name: str,
) -> Volume:
    """Return a lazy volume of a function that computes any box of it."""
    return Volume(Rendered(shape, np.dtype(dtype), draw), affine, kind=kind, name=name)


def rendered_channels(
    draw: DrawChannel,
    shape: Triple,
    dtype: DTypeLike,
    affine: Affine,
    *,
    channels: Sequence[str],
    name: str,
) -> Volume:
    """Return a lazy volume of several channels; the function gets a box and a slice of channels."""
    array = RenderedChannels((len(channels), *shape), np.dtype(dtype), draw)
    return Volume(array, affine, channels=tuple(channels), name=name)


def _box(index: tuple[slice, ...]) -> Box:
    return Box(triple([s.start for s in index]), triple([s.stop for s in index]))
