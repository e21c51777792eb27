"""Half-open voxel boxes, blocks with a halo, and regular grids of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.errors import ParameterError, ShapeError

Triple: TypeAlias = tuple[int, int, int]


def triple(value: int | ArrayLike, *, name: str = "value") -> Triple:
    """Return one integer, or three, as a tuple of three integers.

    Parameters
    ----------
    value
        One integer for all axes, or one an axis in the order (z, y, x).
    name
        What to call it in an error.

    Returns
    -------
    tuple of int
        One integer an axis.

    Raises
    ------
    ParameterError
        If there are neither one nor three integers.
    """
    if isinstance(value, tuple) and len(value) == 3:
        z, y, x = value
        if type(z) is type(y) is type(x) is int:
            return value  # grids make millions of boxes: the common case costs no array
    array = np.asarray(value)
    if array.ndim == 0:
        array = np.repeat(array, 3)
    whole = array.dtype.kind in "iufb" and (np.isfinite(array) & (array == np.floor(array))).all()
    if array.shape != (3,) or not whole:
        raise ParameterError(f"{name} must be one integer or three (z, y, x), not {value!r}.")
    z, y, x = (int(v) for v in array)
    return z, y, x


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box of voxels, ``start <= voxel < stop`` on each axis.

    Attributes
    ----------
    start, stop
        First voxel and one past the last, in the order (z, y, x).
    """

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", triple(self.start, name="start"))
        object.__setattr__(self, "stop", triple(self.stop, name="stop"))
        (a, b, c), (d, e, f) = self.start, self.stop
        if d < a or e < b or f < c:
            raise ShapeError(f"A box must not stop before it starts: {self.start}..{self.stop}.")

    @classmethod
    def from_shape(cls, shape: ArrayLike) -> Box:
        """Return the box of an array of that shape, starting at the origin."""
        return cls((0, 0, 0), triple(shape, name="shape"))

    @property
    def shape(self) -> Triple:
        """Number of voxels an axis."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return d - a, e - b, f - c

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of an array whose first voxel is the origin."""
        return self.slices_in((0, 0, 0))

    def slices_in(self, origin: Triple) -> tuple[slice, slice, slice]:
        """Return the index of an array whose first voxel is at `origin`.

        Raises
        ------
        ShapeError
            If the box starts before the array, where an index would count from its end.
        """
        (a, b, c), (d, e, f) = self.shift(tuple(-o for o in origin)).bounds
        if min(a, b, c) < 0:
            raise ShapeError(f"The box {self} starts before the array, whose first is {origin}.")
        return slice(a, d), slice(b, e), slice(c, f)

    @property
    def bounds(self) -> tuple[Triple, Triple]:
        """Start and stop."""
        return self.start, self.stop

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Say for each voxel coordinate whether its voxel lies in the box.

        A voxel extends half a voxel to each side of its centre, so that the boxes of a grid share
        out all points: each point belongs to exactly one.

        Parameters
        ----------
        points
            Coordinates in voxels, shape (N, 3), order (z, y, x); voxel 0 has its centre at 0.

        Returns
        -------
        numpy.ndarray of bool
            Shape (N,).
        """
        p = np.asarray(points, dtype=np.float64).reshape(-1, 3) + 0.5
        return np.asarray(((p >= self.start) & (p < self.stop)).all(axis=1))

    def covers(self, other: Box) -> bool:
        """Say whether `other` lies inside this box; an empty box lies in every box."""
        return other.size == 0 or self & other == other

    def __and__(self, other: Box) -> Box:
        """Intersection; empty (at the larger start) where the boxes do not meet."""
        (a, b, c), (d, e, f) = self.bounds
        (g, h, i), (j, k, m) = other.bounds
        z, y, x = max(a, g), max(b, h), max(c, i)
        return Box((z, y, x), (max(z, min(d, j)), max(y, min(e, k)), max(x, min(f, m))))

    def __or__(self, other: Box) -> Box:
        """Smallest box around the voxels of both."""
        if not self.size or not other.size:
            return self if self.size else other
        return Box(
            triple(np.minimum(self.start, other.start)), triple(np.maximum(self.stop, other.stop))
        )

    def grow(self, margin: int | ArrayLike) -> Box:
        """Return the box grown by `margin` voxels to both sides of each axis."""
        z, y, x = triple(margin, name="margin")
        (a, b, c), (d, e, f) = self.bounds
        return Box((a - z, b - y, c - x), (d + z, e + y, f + x))

    def shift(self, offset: ArrayLike) -> Box:
        """Return the box moved by `offset` voxels."""
        o = np.asarray(triple(offset, name="offset"))
        return Box(triple(self.start + o), triple(self.stop + o))

    def coarsen(self, factor: int | ArrayLike) -> Box:
        """Return the smallest box of a grid `factor` times coarser that covers this one.

        Raises
        ------
        ParameterError
            If a factor is below 1.
        """
        f = np.asarray(triple(factor, name="factor"))
        if f.min() < 1:
            raise ParameterError(f"A coarser grid has factors of at least 1, not {factor!r}.")
        return Box(triple(np.asarray(self.start) // f), triple(-(-np.asarray(self.stop) // f)))

    def __str__(self) -> str:
        spans = (f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))
        return "[" + ", ".join(spans) + "]"


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a block-wise job.

    Attributes
    ----------
    index
        Place in the grid, (z, y, x).
    core
        The voxels that this block owns. The cores of a grid share out its domain.
    read
        The voxels it may read: `core` and a halo, clipped to the domain.
    """

    index: Triple
    core: Box
    read: Box

    @property
    def id(self) -> str:
        """Name that sorts as the grid does not: ``"z.y.x"``."""
        return ".".join(map(str, self.index))

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """Index of the core inside an array that was read from `read`."""
        return self.core.slices_in(self.read.start)

    def __str__(self) -> str:
        return f"block {self.index} (voxels {self.core})"


@dataclass(frozen=True)
class BlockGrid:
    """A box cut into blocks of one shape; blocks at the far edges may be smaller.

    Attributes
    ----------
    domain
        The voxels to share out.
    block_shape
        Voxels a block, (z, y, x).
    halo
        Voxels that a block reads beyond its core on each side.
    """

    domain: Box
    block_shape: Triple
    halo: Triple = (0, 0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_shape", triple(self.block_shape, name="block_shape"))
        object.__setattr__(self, "halo", triple(self.halo, name="halo"))
        if min(self.block_shape) < 1:
            raise ParameterError(f"A block needs at least one voxel an axis: {self.block_shape}.")
        if min(self.halo) < 0:
            raise ParameterError(f"A halo cannot be negative: {self.halo}.")

    @cached_property
    def shape(self) -> Triple:
        """Number of blocks an axis."""
        return triple(-(-np.asarray(self.domain.shape) // np.asarray(self.block_shape)))

    def __len__(self) -> int:
        z, y, x = self.shape
        return z * y * x

    def __iter__(self) -> Iterator[Block]:
        depth, height, width = self.shape
        for index in product(range(depth), range(height), range(width)):
            yield self[index]

    def __getitem__(self, index: Triple) -> Block:
        if any(not 0 <= i < n for i, n in zip(index, self.shape, strict=True)):
            raise ParameterError(f"No block {index} in a grid of {self.shape} blocks.")
        index = triple(index, name="index")
        z, y, x = (
            first + i * step
            for first, i, step in zip(self.domain.start, index, self.block_shape, strict=True)
        )
        depth, height, width = self.block_shape
        core = Box((z, y, x), (z + depth, y + height, x + width)) & self.domain
        return Block(index, core, core.grow(self.halo) & self.domain)

    def nth(self, place: int) -> Block:
        """Return the block at a place in the order of iteration; the inverse of `linear`."""
        _, height, width = self.shape
        return self[(place // (height * width), place // width % height, place % width)]

    def linear(self, index: Triple) -> int:
        """Return the place of a block in the order of iteration."""
        return int(np.ravel_multi_index(index, self.shape))

    def index_at(self, voxel: Triple) -> Triple:
        """Return the index of the block that owns a voxel.

        Raises
        ------
        ParameterError
            If the voxel lies outside the domain.
        """
        if not self.domain.contains([voxel])[0]:
            raise ParameterError(f"Voxel {voxel} lies outside the grid {self.domain}.")
        offset = np.asarray(voxel) - np.asarray(self.domain.start)
        return triple(offset // np.asarray(self.block_shape))
