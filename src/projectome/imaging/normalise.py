"""Grey values made comparable: one background and one scale for a volume, and local backgrounds.

Blocks can be normalised one by one and still fit together, because what is estimated is estimated
once, from a sample that depends on the volume alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from projectome.core.box import Box, Triple, triple
from projectome.core.volume import Volume
from projectome.errors import DataError, ParameterError, ShapeError
from projectome.io.ahead import read_ahead

SAMPLE_EDGE = 32
SAMPLES_AN_AXIS = 6


@dataclass(frozen=True, slots=True)
class Normalisation:
    """A linear map of grey values.

    Attributes
    ----------
    background
        Grey value that becomes 0.
    scale
        Grey values above the background that become 1.
    """

    background: float
    scale: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.background) and np.isfinite(self.scale) and self.scale > 0):
            raise ParameterError(
                "A normalisation needs a finite background and a positive scale, not "
                f"{self.background} and {self.scale}."
            )

    def apply(self, array: ArrayLike) -> NDArray[np.float32]:
        """Return ``(array - background) / scale`` as float32; nothing is clipped."""
        values = np.array(array, dtype=np.float32)
        values -= np.float32(self.background)
        values /= np.float32(self.scale)
        return values


def sample_boxes(
    volume: Volume, *, edge: int = SAMPLE_EDGE, an_axis: int = SAMPLES_AN_AXIS
) -> list[Box]:
    """Return small boxes spread evenly over a volume.

    Parameters
    ----------
    volume
        Only its shape counts.
    edge
        Voxels an axis of a box; the boxes start at multiples of it, so that each lies in one chunk
        where the chunks are multiples too.
    an_axis
        At most so many boxes along an axis.

    Returns
    -------
    list of Box
        Disjoint, in C order; the same for every reading of the volume.

    Raises
    ------
    ParameterError
        If there would be no box.
    """
    if edge < 1 or an_axis < 1:
        raise ParameterError(f"A sample needs edge and an_axis of 1 or more: {edge}, {an_axis}.")
    starts = []
    for length in volume.shape:
        cells = -(-length // edge)
        # The middles of equal shares, so that few boxes are not at the ends only.
        shares = min(an_axis, cells)
        starts.append([int((i + 0.5) * cells / shares) * edge for i in range(shares)])
    corners = (triple(start) for start in product(*starts))
    boxes = (Box(start, triple(np.add(start, edge))) & volume.box for start in corners)
    return [box for box in boxes if box.size]


def estimate_normalisation(
    volume: Volume, *, channel: str | int | None = None, percentile: float = 99.9
) -> Normalisation:
    """Estimate background and scale from a sample of a volume.

    Parameters
    ----------
    volume
        One channel, or several and `channel`.
    channel
        Which channel, by name or number.
    percentile
        Grey value that becomes 1, as a percentile of the sample.

    Returns
    -------
    Normalisation
        Background: the median of the sample, the level of tissue where tissue fills most of the
        volume and that of its surroundings elsewhere. Scale: the distance from there to
        `percentile`.

    Raises
    ------
    ParameterError
        If the percentile is not between 50 and 100.
    DataError
        If the sample holds nothing, or one value only.

    Notes
    -----
    The sample is `sample_boxes`, at most 216 boxes of 32 x 32 x 32 voxels: 14 MB of
    uint16. Voxels of 0 (padding), at the largest value of an integer type
    (saturated) or not finite do not count.
    """
    if not 50 < percentile <= 100:
        raise ParameterError(f"The percentile lies above 50 and up to 100, not at {percentile}.")
    parts = []
    boxes = sample_boxes(volume)
    for _, read in read_ahead(volume, boxes, channel=one_channel(volume, channel), depth=16):
        values: NDArray[Any] = read.ravel()
        parts.append(values[meaningful(values)])
    sample = np.concatenate(parts) if parts else np.empty(0)
    if not sample.size:
        raise DataError(
            f"{volume.name} holds nothing but zeros and saturated voxels where it was sampled. "
            "Check the channel and the level, or give background and scale yourself."
        )
    background, top = (float(v) for v in np.percentile(sample, (50, percentile)))
    if top <= background:
        raise DataError(
            f"{volume.name} is almost everywhere {background:g}, so that no scale can be read from "
            "it. Check the channel, or give background and scale yourself."
        )
    return Normalisation(background, top - background)


def meaningful(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which voxels are neither padding (0), nor saturated, nor without a number."""
    if values.dtype.kind in "iu":
        return (values != 0) & (values != np.iinfo(values.dtype).max)
    return (values != 0) & np.isfinite(values)


def one_channel(volume: Volume, channel: str | int | None) -> str | int | None:
    """Return the channel to read, such that a box has the shape (Z, Y, X).

    Raises
    ------
    ParameterError
        If there are several channels and none is picked.
    """
    if channel is None and len(volume.channels) > 1:
        raise ParameterError(
            f"{volume.name} has the channels {', '.join(map(repr, volume.channels))}. Pick one."
        )
    return 0 if volume.channels and channel is None else channel


def background_halo(cell: int | ArrayLike) -> Triple:
    """Return the halo that `local_background` needs for its cells: one and a half, and a voxel."""
    z, y, x = (-(-3 * c // 2) + 1 for c in triple(cell, name="cell"))
    return z, y, x


def local_background(
    array: ArrayLike, cell: int | ArrayLike, *, origin: Triple = (0, 0, 0)
) -> NDArray[np.float32]:
    """Return the slowly varying part of an image: medians of cells, interpolated.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers.
    cell
        Voxels an axis of a cell, one number or three (z, y, x); several times as wide as what
        should remain after subtraction.
    origin
        Where the array starts in its volume (z, y, x) [voxels]. The cells are counted from voxel
        0 of the volume, so that blocks read with `background_halo` equal the whole to the bit.

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X) [grey values]. Between the centres of cells it is interpolated linearly,
        beyond the outermost ones it is constant. Voxels of 0 (padding) do not count; a cell of
        nothing else is 0.

    Raises
    ------
    ParameterError
        If a cell has no voxels.
    ShapeError
        If there are not three axes.
    """
    values = np.ascontiguousarray(array)
    if values.ndim != 3:
        raise ShapeError(f"An image has the axes (z, y, x), not the shape {values.shape}.")
    size = triple(cell, name="cell")
    if min(size) < 1:
        raise ParameterError(f"A cell of the background has at least one voxel, not {size}.")
    first = np.floor_divide(origin, size)
    counts = -(-np.add(origin, values.shape) // size) - first
    level = np.zeros(tuple(np.maximum(counts, 0)), np.float32)
    if not values.size:
        return np.zeros(values.shape, np.float32)
    _medians(values, tuple(size), tuple(int(v) for v in first * size - origin), level)
    for axis in range(3):
        # Position of each voxel in units of cells, 0 at the centre of the first cell here.
        voxel = np.arange(values.shape[axis]) + origin[axis]
        place = (voxel + 0.5) / size[axis] - 0.5 - first[axis]
        place = np.clip(place, 0, counts[axis] - 1)
        low = np.minimum(place.astype(int), max(counts[axis] - 2, 0))
        high = np.minimum(low + 1, counts[axis] - 1)
        weight = (
            (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        )
        level = level.take(low, axis) * (1 - weight) + level.take(high, axis) * weight
    return level


@njit(cache=True, nogil=True)
def _medians(values: Any, size: Any, start: Any, level: Any) -> None:
    """Fill `level` with the medians of what is not 0 in each cell; the first begins at `start`."""
    buffer = np.empty(size[0] * size[1] * size[2], np.float32)
    for a in range(level.shape[0]):
        for b in range(level.shape[1]):
            for c in range(level.shape[2]):
                z, y, x = start[0] + a * size[0], start[1] + b * size[1], start[2] + c * size[2]
                found = 0
                for k in range(max(z, 0), min(z + size[0], values.shape[0])):
                    for j in range(max(y, 0), min(y + size[1], values.shape[1])):
                        for i in range(max(x, 0), min(x + size[2], values.shape[2])):
                            if values[k, j, i] != 0:
                                buffer[found] = values[k, j, i]
                                found += 1
                if found:
                    level[a, b, c] = np.median(buffer[:found])
