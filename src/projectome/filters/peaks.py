"""Local maxima."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from projectome.errors import ParameterError, ShapeError


def local_maxima(
    array: ArrayLike, threshold: float, radius: float | ArrayLike = 1.8
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the voxels that nothing near them surpasses.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers; NaN is never a maximum.
    threshold
        Only voxels above it.
    radius
        Half axes of the neighbourhood, an ellipsoid: one number or three (z, y, x) [voxels]. The
        default takes in the 26 neighbours.

    Returns
    -------
    voxels : numpy.ndarray of int64
        Shape (N, 3), indices (z, y, x), in C order.
    values : numpy.ndarray
        Shape (N,).

    Raises
    ------
    ParameterError
        If a radius is not positive.
    ShapeError
        If there are not three axes.

    Notes
    -----
    Of equal voxels within reach of one another the first in C order is the maximum, so that a
    plateau has at least one and no two of its maxima are neighbours. Whether a voxel is a maximum
    depends on its neighbourhood alone: blocks read with a halo of the radius find the same.
    """
    values = np.ascontiguousarray(array)
    if values.ndim != 3:
        raise ShapeError(f"Maxima are looked for in (z, y, x), not in the shape {values.shape}.")
    half = np.broadcast_to(np.asarray(radius, dtype=np.float64), 3)
    if not (np.isfinite(half).all() and (half > 0).all()):
        raise ParameterError(f"The radius of a maximum is positive, not {radius!r} voxels.")
    peaks = np.zeros(values.shape, dtype=np.bool_)
    _mark(values, float(threshold), neighbours(half), peaks)
    voxels = np.argwhere(peaks)
    return voxels, values[tuple(voxels.T)]


def neighbours(half: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the offsets (M, 3) inside an ellipsoid, without the centre, nearest first."""
    reach = np.floor(half).astype(int)
    offsets = np.argwhere(np.ones(2 * reach + 1, dtype=bool)) - reach
    distance = ((offsets / half) ** 2).sum(axis=1)
    inside = (distance <= 1) & (distance > 0)
    return offsets[inside][np.argsort(distance[inside], kind="stable")]


@njit(cache=True, nogil=True)
def _mark(values: Any, threshold: float, offsets: Any, peaks: Any) -> None:
    """Set `peaks` where no neighbour is larger, nor equal and earlier in C order."""
    depth, height, width = values.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                value = values[z, y, x]
                if not value > threshold:
                    continue
                best = True
                for m in range(len(offsets)):
                    dz, dy, dx = offsets[m]
                    k, j, i = z + dz, y + dy, x + dx
                    if not (0 <= k < depth and 0 <= j < height and 0 <= i < width):
                        continue
                    earlier = dz < 0 or (dz == 0 and (dy < 0 or (dy == 0 and dx < 0)))
                    if values[k, j, i] > value or (earlier and values[k, j, i] == value):
                        best = False
                        break
                peaks[z, y, x] = best
