"""Volumes on another grid, computed where they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine
from projectome.core.view import span_of
from projectome.core.volume import Array, LazyArray, Volume
from projectome.errors import ParameterError, ShapeError

MOST = 4096
"""Voxels of the source along an axis that one voxel of the result may take in."""


def resample(volume: Volume, voxel_size: ArrayLike) -> Volume:
    """Return a volume on a grid of other voxels; nothing is read before `Volume.read`.

    The corner of the first voxel stays where it is, for ITK too. Along each axis, a voxel of an
    image that is larger than those of the source takes their mean, each with the part of it that it
    covers; a smaller one is interpolated linearly between their centres. A voxel of labels takes
    the label at its centre. Blocks of the result equal parts of the whole exactly.

    Parameters
    ----------
    volume
        An image or labels, on a plain grid.
    voxel_size
        Of the result: one number, or three (z, y, x) [um].

    Returns
    -------
    Volume
        Of the same element type; integers are rounded to the nearest, halves to the even one.

    Raises
    ------
    ParameterError
        If the size is not positive, or more than 4096 times that of the source.
    ShapeError
        If the grid is rotated against its axes.
    """
    try:
        size = np.broadcast_to(np.asarray(voxel_size, dtype=np.float64), 3)
    except ValueError:
        raise ParameterError(
            f"A voxel size is one number or three, Z,Y,X, not {voxel_size!r}."
        ) from None
    if not (np.isfinite(size) & (size > 0)).all():
        raise ParameterError(f"A voxel size is positive, not {voxel_size!r} um.")
    if not volume.affine.is_grid:
        raise ShapeError(
            f"{volume.name} is rotated against its axes; only a plain grid can be resampled."
        )
    old = np.asarray(volume.voxel_size)
    if (size > MOST * old).any():
        raise ParameterError(
            f"Voxels of {size.tolist()} um are more than {MOST} times those of {volume.name}, "
            f"{old.tolist()} um. Check the unit: it is micrometres."
        )
    if np.allclose(size, old, rtol=1e-9):
        return volume
    scale = size / old
    shape = np.maximum(1, np.rint(np.asarray(volume.shape) / scale)).astype(int)
    corner = np.asarray(volume.affine.translation) - old / 2
    smooth = volume.kind != "labels" and volume.dtype.kind != "b"
    z, y, x = shape.tolist()
    array = Resampled(volume.array, (z, y, x), tuple(scale.tolist()), smooth)
    space = replace(volume.space, span=span_of(volume))
    affine = Affine.from_scale(size, corner + size / 2, target=space)
    return replace(volume, array=array, affine=affine)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Another array on a coarser or finer grid.

    Attributes
    ----------
    array
        What it is made from; axes (z, y, x) or (c, z, y, x).
    grid
        Elements along the axes of space.
    scale
        Elements of the source in one element, along the axes of space.
    smooth
        Whether to average and interpolate, or to take the nearest.
    """

    array: LazyArray
    grid: tuple[int, int, int]
    scale: tuple[float, ...]
    smooth: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape[:-3] + self.grid

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        here = (
            int(np.clip(c // s, 1, n))
            for c, s, n in zip(self.array.chunks[-3:], self.scale, self.grid, strict=True)
        )
        return (*self.array.chunks[:-3], *here)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        if any(s.stop <= s.start for s in index):
            return np.zeros([max(0, s.stop - s.start) for s in index], self.dtype)
        sizes = self.array.shape[-3:]
        taps = [
            _covered(s, scale, n) if self.smooth else _nearest(s, scale, n)
            for s, scale, n in zip(index[-3:], self.scale, sizes, strict=True)
        ]
        part = tuple(slice(int(first.min()), int(last.max())) for first, last, _ in taps)
        values = self.array.read((*index[:-3], *part))
        if not self.smooth:
            for axis, (first, _, _) in enumerate(taps, values.ndim - 3):
                values = values.take(first - first.min(), axis)
            return values
        exact = np.dtype(np.float32 if self.dtype.itemsize <= 2 else np.float64)
        for axis, (first, _, weights) in enumerate(taps, values.ndim - 3):
            before, after = values.shape[:axis], values.shape[axis + 1 :]
            flat = values.reshape(int(np.prod(before)), values.shape[axis], int(np.prod(after)))
            out = np.empty((len(flat), len(first), flat.shape[2]), exact)
            _weigh(flat, first - first.min(), weights, out)
            values = out.reshape(*before, len(first), *after)
        if self.dtype.kind in "iu":
            values = np.rint(values)
        return values.astype(self.dtype)


Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _nearest(wanted: slice, scale: float, size: int) -> Taps:
    """Return the element of the source at the centre of each element."""
    centre = (np.arange(wanted.start, wanted.stop) + 0.5) * scale
    first = np.clip(np.floor(centre), 0, size - 1).astype(np.int64)
    return first, first + 1, np.ones((len(first), 1))


def _covered(wanted: slice, scale: float, size: int) -> Taps:
    """Return first and last elements of the source, and their weights, for each element."""
    position = np.arange(wanted.start, wanted.stop)
    if scale >= 1:
        low, high = position * scale, (position + 1) * scale
        first, last = np.floor(low + 1e-9), np.ceil(high - 1e-9)
    else:
        centre = (position + 0.5) * scale - 0.5
        low, high = np.floor(centre), np.floor(centre) + 2
        first, last = low, high
    first = np.clip(first, 0, size - 1).astype(np.int64)
    last = np.clip(last, first + 1, size).astype(np.int64)
    element = first[:, None] + np.arange(int((last - first).max()))
    if scale >= 1:
        cover = np.minimum(element + 1, high[:, None]) - np.maximum(element, low[:, None])
    else:
        cover = 1 - abs(element - centre[:, None])
    weights = np.where(element < last[:, None], np.maximum(cover, 0), 0)
    total = weights.sum(axis=1, keepdims=True)
    # Beyond the outermost centres there is but one element to take.
    weights = np.where(
        total > 1e-12, weights / np.where(total > 1e-12, total, 1), element == first[:, None]
    )
    return first, last, weights


@njit(cache=True, nogil=True)
def _weigh(values: Any, first: Any, weights: Any, out: Any) -> None:
    """Sum in the same order for every element, so that blocks equal the whole."""
    total = np.empty(values.shape[2], np.float64)
    for a in range(values.shape[0]):
        for i in range(len(first)):
            total[:] = 0.0
            for k in range(weights.shape[1]):
                weight = weights[i, k]
                if weight != 0.0:
                    row = values[a, first[i] + k]
                    for b in range(len(total)):
                        total[b] += weight * row[b]
            for b in range(len(total)):
                out[a, i, b] = total[b]
