"""The middle of neurites, without the halo of bright ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from projectome.core.box import Triple

REACH = 2.0
"""How far around a voxel to look, in voxels (the geometric mean of their sides)."""


def ridge_footprint(voxel_size: ArrayLike) -> NDArray[np.bool_]:
    """Return the voxels within reach of the middle one, an ellipsoid on a grid of odd sides.

    Parameters
    ----------
    voxel_size
        Size of a voxel (z, y, x) [um].
    """
    size = np.asarray(voxel_size, dtype=np.float64)
    reach = REACH * float(np.prod(size)) ** (1 / 3) * (1 + 1e-9)
    z, y, x = (
        np.arange(-n, n + 1) * s for n, s in zip((reach // size).astype(int), size, strict=True)
    )
    squared = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    return np.asarray(squared <= reach**2)


def ridge_halo(voxel_size: ArrayLike) -> Triple:
    """Return how many voxels `on_ridge` looks beyond a voxel (z, y, x)."""
    z, y, x = (n // 2 for n in ridge_footprint(voxel_size).shape)
    return z, y, x


def on_ridge(
    probability: NDArray[np.uint8], voxel_size: ArrayLike, share: float
) -> NDArray[np.bool_]:
    """Say which voxels respond at least this share as strongly as the strongest within reach.

    The image of a neurite has tails: where it is bright, they lie above any threshold that finds
    dim neurites, and bridge the gap to its neighbours. A share of the maximum cuts each neurite at
    the same part of its profile, however bright it is.

    Parameters
    ----------
    probability
        Shape (Z, Y, X), 0 to 255 for ``r / (r + h)`` with the response r and a level h that hardly
        changes within reach.
    voxel_size
        Size of a voxel (z, y, x) [um].
    share
        Between 0 (all voxels) and 1 (local maxima only).

    Returns
    -------
    numpy.ndarray of bool
        Shape (Z, Y, X).
    """
    stored = np.arange(256)
    response = stored / (255.5 - stored)  # in units of h; 255 stands for 254.5 to 255
    least = np.searchsorted(response, share * response).astype(np.uint8)
    strongest = ndimage.maximum_filter(
        probability, footprint=ridge_footprint(voxel_size), mode="nearest"
    )
    return np.asarray(probability >= least[strongest])
