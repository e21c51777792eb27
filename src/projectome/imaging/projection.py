"""Projections and profiles of whole volumes, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.box import BlockGrid, Box, triple
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.imaging.normalise import one_channel
from projectome.io.ahead import read_ahead

AxisName: TypeAlias = Literal["z", "y", "x"]
Span: TypeAlias = tuple[float | None, float | None]

PIECE_BYTES = 16 * 2**20
"""What is read at a time; the next two are on their way meanwhile."""

SAMPLED_VOXELS = 250_000
"""Voxels a plane from which `profile` takes percentiles."""

# Which axes are the rows and columns of a projection along each axis, as places in (z, y, x).
PLANE: dict[AxisName, tuple[int, int]] = {"z": (1, 2), "y": (0, 2), "x": (1, 0)}


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A projection and where it lies.

    Attributes
    ----------
    image
        Shape (R, C): rows and columns are (y, x) along z, (z, x) along y, (y, z) along x.
    axis
        The axis that was projected away.
    start_um, stop_um
        Corners (z, y, x) of the voxels that were projected, rims included [um].
    """

    image: NDArray[Any]
    axis: AxisName
    start_um: tuple[float, float, float]
    stop_um: tuple[float, float, float]


def mip(
    volume: Volume,
    axis: AxisName = "z",
    *,
    span_um: Span = (None, None),
    channel: str | int | None = None,
) -> Projection:
    """Project the brightest voxels along an axis.

    Parameters
    ----------
    volume
        One channel, or several and `channel`.
    axis
        The axis to look along.
    span_um
        Only voxels whose centres lie between these, the second excluded [um]; None for the end of
        the volume.
    channel
        Which channel, by name or number.

    Returns
    -------
    Projection
        In the type of the volume. At most 16 MiB, or one chunk, are read at a time.

    Raises
    ------
    ParameterError
        If there is no such axis, no voxel in the span, or no channel picked.
    ShapeError
        If the volume is rotated against its axes.
    """
    along = axis_number(axis)
    box = within(volume, along, span_um)
    rows, columns = PLANE[axis]
    image = np.full((box.shape[rows], box.shape[columns]), lowest(volume.dtype), volume.dtype)
    one = one_channel(volume, channel)
    for piece, voxels in read_ahead(volume, pieces(volume, box), channel=one):
        brightest = voxels.max(axis=along)
        if rows > columns:
            brightest = brightest.T
        where = piece.slices_in(box.start)
        place = where[rows], where[columns]
        image[place] = np.maximum(image[place], brightest)
    (a, b, c), (d, e, f) = (
        volume.affine([np.subtract(corner, 0.5)])[0].tolist() for corner in box.bounds
    )
    return Projection(image, axis, (a, b, c), (d, e, f))


def profile(
    volume: Volume,
    axis: AxisName = "z",
    *,
    channel: str | int | None = None,
    percentiles: Sequence[float] = (1, 50, 99),
) -> pd.DataFrame:
    """Return the intensity of each plane across an axis.

    Parameters
    ----------
    volume
        One channel, or several and `channel`.
    axis
        The axis to go along.
    channel
        Which channel, by name or number.
    percentiles
        Which percentiles to give.

    Returns
    -------
    pandas.DataFrame
        A row a plane: its place (``z_um``, ``y_um`` or ``x_um``, of the centres of its voxels),
        ``mean`` and ``max`` of all its voxels, and columns such as ``p50``. Percentiles come from
        a regular grid of at most 250,000 voxels of the plane. At most 16 MiB, or one chunk, are
        read at a time.

    Raises
    ------
    ParameterError
        If there is no such axis, a percentile is not one, or no channel is picked.
    ShapeError
        If the volume is rotated against its axes.
    """
    along = axis_number(axis)
    place = centres(volume, along)
    if any(not 0 <= p <= 100 for p in percentiles):
        raise ParameterError(f"Percentiles lie between 0 and 100, not {list(percentiles)}.")
    others = tuple(a for a in range(3) if a != along)
    area = volume.shape[others[0]] * volume.shape[others[1]]
    stride = max(1, int(np.ceil(np.sqrt(area / SAMPLED_VOXELS))))
    one = one_channel(volume, channel)
    depth, length = volume.chunks[along], volume.shape[along]
    total = np.zeros(length)
    largest = np.full(length, lowest(volume.dtype), volume.dtype)
    quantiles = np.empty((len(percentiles), length))
    for first in range(0, length, depth):
        planes_here = slice(first, min(first + depth, length))
        samples = []
        here = pieces(volume, slab(volume, along, first, first + depth))
        for piece, voxels in read_ahead(volume, here, channel=one):
            planes: NDArray[Any] = np.moveaxis(voxels, along, 0)
            total[planes_here] += planes.sum(axis=(1, 2), dtype=np.float64)
            largest[planes_here] = np.maximum(largest[planes_here], planes.max(axis=(1, 2)))
            skip = [-piece.start[a] % stride for a in others]
            grid = planes[:, skip[0] :: stride, skip[1] :: stride]
            samples.append(grid.reshape(len(grid), -1))
        sample = np.concatenate(samples, axis=1)
        quantiles[:, planes_here] = np.percentile(sample, list(percentiles), axis=1)
    columns = {f"p{p:g}": row for p, row in zip(percentiles, quantiles, strict=True)}
    return pd.DataFrame({f"{axis}_um": place, "mean": total / area, "max": largest, **columns})


def lowest(dtype: np.dtype[Any]) -> float:
    """Return the smallest value of a type of real numbers."""
    if dtype.kind == "b":
        return 0
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -np.inf


def axis_number(axis: str) -> int:
    """Return the place of an axis in (z, y, x).

    Raises
    ------
    ParameterError
        If it is another one.
    """
    if axis not in PLANE:
        raise ParameterError(f"An axis is 'z', 'y' or 'x', not {axis!r}.")
    return "zyx".index(axis)


def centres(volume: Volume, along: int) -> NDArray[np.float64]:
    """Return where the voxels lie along an axis [um].

    Raises
    ------
    ShapeError
        If the volume is rotated against its axes.
    """
    if not volume.affine.is_grid:
        raise ShapeError(
            f"{volume.name} is rotated against its axes, so that a plane has no single place. "
            "Resample it to a plain grid first."
        )
    steps = np.arange(volume.shape[along], dtype=np.float64)
    return volume.affine.translation[along] + volume.voxel_size[along] * steps


def within(volume: Volume, along: int, span_um: Span) -> Box:
    """Return the voxels whose centres lie in a half-open range of one axis.

    Raises
    ------
    ParameterError
        If there are none.
    """
    low, high = (None if v is None else float(v) for v in span_um)
    place = centres(volume, along)
    keep = np.ones(len(place), dtype=bool)
    keep &= low is None or place >= low
    keep &= high is None or place < high
    if not keep.any():
        extent = f"{place[0]:g} to {place[-1]:g} um" if len(place) else "no planes"
        ends = (
            "the start" if low is None else f"{low:g}",
            "the end" if high is None else f"{high:g}",
        )
        raise ParameterError(
            f"No plane of {volume.name} lies between {ends[0]} and {ends[1]} [um] along "
            f"{'zyx'[along]}: it has {extent}."
        )
    first, last = np.flatnonzero(keep)[[0, -1]].tolist()
    return slab(volume, along, first, last + 1)


def slab(volume: Volume, along: int, first: int, beyond: int) -> Box:
    """Return the voxels of some planes across an axis."""
    start, stop = list(volume.box.start), list(volume.box.stop)
    start[along], stop[along] = first, min(beyond, volume.shape[along])
    return Box(triple(start), triple(stop))


def pieces(volume: Volume, box: Box) -> Iterator[Box]:
    """Yield boxes that share out `box`: whole chunks, as many as `PIECE_BYTES` allow."""
    start = np.floor_divide(box.start, volume.chunks) * volume.chunks
    extent, shape = np.subtract(box.stop, start), np.array(volume.chunks)
    while True:
        room = [axis for axis in (2, 1, 0) if shape[axis] < extent[axis]]
        if not room or 2 * shape.prod() * volume.dtype.itemsize > PIECE_BYTES:
            break
        shape[room[0]] *= 2
    for block in BlockGrid(Box(triple(start), box.stop), triple(shape)):
        piece = block.core & box
        if piece.size:
            yield piece
