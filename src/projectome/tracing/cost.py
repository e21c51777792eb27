"""What a path costs a micrometre: low along bright neurites, high in the dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates, read_only
from projectome.core.box import Box, Triple, triple
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import ParameterError, ShapeError

CONTRAST = 50.0
"""Cost of darkness, in units of the cost along a bright neurite."""


@runtime_checkable
class CostSource(Protocol):
    """Costs that a search reads piece by piece."""

    @property
    def shape(self) -> Triple:
        """Voxels an axis, (z, y, x)."""

    @property
    def chunks(self) -> Triple:
        """Voxels best read together; (0, 0, 0) where any piece is as good as another."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest cost that `read` may return, the least above 0."""

    @property
    def itemsize(self) -> int:
        """Bytes read a voxel."""

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return the costs of a box."""


def cost_from_intensity(
    array: ArrayLike, *, low: float, high: float, contrast: float = CONTRAST
) -> NDArray[np.float32]:
    """Return the cost of a micrometre of path in each voxel: the reciprocal of its brightness.

    With ``x = clip((intensity - low) / (high - low), 0, 1)``::

        cost = 1 / (x + (1 - x) / contrast)

    that is 1 at `high` and above, and `contrast` at `low` and below. The cost of a path along a
    saturated neurite is its length [um]; no path costs less than that. The same holds for a
    tubeness or a probability in place of the intensity.

    Parameters
    ----------
    array
        Intensities, any shape.
    low, high
        Intensity of the background and of a bright neurite.
    contrast
        How many micrometres of neurite are worth one micrometre of background; above 1. Great
        contrast follows neurites through long detours, little contrast cuts corners.

    Returns
    -------
    numpy.ndarray of float32
        Same shape, between 1 and `contrast`.

    Raises
    ------
    ParameterError
        If a parameter is out of range or an intensity is not a number.
    """
    check_limits(low, high, contrast)
    values = np.asarray(array)
    if values.dtype.kind == "f" and values.size and np.isnan(values.min()):
        where = tuple(int(i) for i in np.argwhere(np.isnan(values))[0])
        raise ParameterError(
            f"The intensity at voxel {where} of the array is not a number; fill such voxels "
            "first, for instance with numpy.nan_to_num(array, nan=low)."
        )
    bright = np.clip(values, low, high).astype(np.float32)
    bright -= np.float32(low)
    bright *= np.float32((contrast - 1) / (high - low))
    bright += np.float32(1)
    np.divide(np.float32(contrast), bright, out=bright)
    return np.clip(bright, np.float32(1), np.float32(contrast), out=bright)


def check_limits(low: float, high: float, contrast: float) -> None:
    """Refuse limits that give no cost.

    Raises
    ------
    ParameterError
        Naming the parameter.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ParameterError(
            f"low has to be a smaller number than high, not {low} and {high}: take the intensity "
            "of the background and of a bright neurite."
        )
    if not 1 < contrast <= 1e6:
        raise ParameterError(f"contrast is above 1 and at most 1e6, not {contrast}; try 50.")


@dataclass(frozen=True, slots=True, eq=False)
class ArrayCost:
    """Costs in memory, as a `CostSource`.

    Attributes
    ----------
    array
        Shape (Z, Y, X), kept as float32; positive and finite.
    """

    array: NDArray[np.float32]
    bounds: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        array = read_only(self.array, np.float32)
        if array.ndim != 3 or not array.size:
            raise ShapeError(
                f"Costs have the axes (z, y, x) and at least one voxel, not the shape "
                f"{array.shape}; pick one channel, or add an axis with array[None]."
            )
        bounds = float(array.min()), float(array.max())
        if not (bounds[0] > 0 and np.isfinite(bounds[1])):
            where = tuple(int(i) for i in np.argwhere(~((array > 0) & np.isfinite(array)))[0])
            raise ParameterError(
                f"The cost at voxel {where} is {array[where]}; costs are positive and finite. "
                "Make them from an image with cost_from_intensity."
            )
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "bounds", bounds)

    @property
    def shape(self) -> Triple:
        """Voxels an axis."""
        return triple(self.array.shape)

    @property
    def chunks(self) -> Triple:
        """Any piece."""
        return 0, 0, 0

    @property
    def itemsize(self) -> int:
        """Bytes a voxel."""
        return self.array.itemsize

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return a view."""
        return self.array[box.slices]


@dataclass(frozen=True, slots=True)
class IntensityCost:
    """Costs of one channel of a volume, read as needed; a `CostSource`.

    Attributes
    ----------
    volume
        An image.
    low, high, contrast
        As in `cost_from_intensity`.
    channel
        Name or number; needed where the volume has several.
    """

    volume: Volume
    low: float
    high: float
    contrast: float = CONTRAST
    channel: str | int | None = None

    def __post_init__(self) -> None:
        check_limits(self.low, self.high, self.contrast)
        check_channel(self.volume, self.channel)

    @property
    def shape(self) -> Triple:
        """Voxels an axis."""
        return self.volume.shape

    @property
    def chunks(self) -> Triple:
        """Chunks of the volume."""
        return (0, 0, 0) if isinstance(self.volume.array, ArrayInMemory) else self.volume.chunks

    @property
    def bounds(self) -> tuple[float, float]:
        """From 1 to the contrast."""
        return 1.0, float(np.float32(self.contrast))

    @property
    def itemsize(self) -> int:
        """Bytes a voxel of the volume."""
        return self.volume.dtype.itemsize

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return the costs of a box."""
        values = read_channel(self.volume, box, self.channel)
        return cost_from_intensity(values, low=self.low, high=self.high, contrast=self.contrast)


def check_channel(volume: Volume, channel: str | int | None) -> None:
    """Refuse a volume without brightness, or without a choice among its channels.

    Raises
    ------
    ParameterError
        Naming the channels.
    """
    if volume.kind == "labels":
        raise ParameterError(
            f"{volume.name} holds labels, which have no brightness to follow; trace the image "
            "that was segmented."
        )
    if channel is not None:
        volume.channel_index(channel)
    elif len(volume.channels) > 1:
        raise ParameterError(
            f"{volume.name} has the channels {', '.join(volume.channels)}: say which one to trace."
        )


def read_channel(volume: Volume, box: Box, channel: str | int | None) -> NDArray[np.generic]:
    """Return the voxels of one channel, shape (Z, Y, X)."""
    return volume.read(box, channel=0 if channel is None and volume.channels else channel)


def limits_near(
    volume: Volume, points_um: ArrayLike, *, channel: str | int | None = None, reach: int = 16
) -> tuple[float, float]:
    """Return the intensities of background and neurite around some points.

    Parameters
    ----------
    volume
        An image.
    points_um
        Shape (N, 3), order (z, y, x) [um], on neurites.
    channel
        Name or number; needed where the volume has several.
    reach
        Voxels to look at on each side of a point.

    Returns
    -------
    float, float
        Median, and 99.5th percentile, of the cubes around the points taken together. Memory and
        bytes read grow with the number of points only.

    Raises
    ------
    ParameterError
        If the image has one value there.
    """
    check_channel(volume, channel)
    voxels = np.rint(volume.affine.inverse()(coordinates(points_um)))
    cubes = [Box(triple(v), triple(v + 1)).grow(reach) & volume.box for v in voxels]
    found = np.concatenate([read_channel(volume, cube, channel).ravel() for cube in cubes])
    low, high = (float(v) for v in np.percentile(found, [50, 99.5])) if found.size else (0.0, 0.0)
    if not low < high:
        raise ParameterError(
            f"{volume.name} has no contrast within {reach} voxels of the points "
            f"{coordinates(points_um).tolist()} um: its median and 99.5th percentile there are "
            f"{low} and {high}. Check the points, or give low and high."
        )
    return low, high
