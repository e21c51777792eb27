"""Gaussian smoothing and the Laplacian of Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.errors import ParameterError
from projectome.filters.separable import (
    F,
    Image,
    along_x,
    along_y,
    along_z,
    compiled,
    correlate,
    halo_for,
    kernel,
    prepared,
    reflected,
    sigma_triple,
)

__all__ = ["gaussian", "halo_for", "hessian_at", "laplacian"]


def gaussian(array: ArrayLike, sigma: float | ArrayLike, *, threads: int = 1) -> Image:
    """Smooth an image.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers.
    sigma
        Standard deviation, one number or three (z, y, x) [voxels].
    threads
        Tiles worked on at a time; the result is the same for any number.

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X); reflected beyond the borders. A block read with `halo_for` equals the
        whole to the bit.

    Raises
    ------
    ParameterError
        If sigma is not positive.
    ShapeError
        If the image does not have three axes.
    """
    image = prepared(array)
    out = np.empty(image.shape, np.float32)
    return correlate(_smooth_tile, image, out, sigma_triple(sigma), threads=threads)


def laplacian(array: ArrayLike, sigma: float | ArrayLike, *, threads: int = 1) -> Image:
    """Return the scale-normalised Laplacian of Gaussian, negative at bright blobs.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers.
    sigma
        Standard deviation, one number or three (z, y, x) [voxels].
    threads
        Tiles worked on at a time; the result is the same for any number.

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X): the sum over axes of ``sigma ** 2`` times the second Gaussian derivative
        [grey values]. A ball of radius R and contrast C has its minimum, -0.925 C, in its centre
        for ``sigma = R / sqrt(3)`` [1]_. Exactly 0 for a constant image.

    Raises
    ------
    ParameterError
        If sigma is not positive.
    ShapeError
        If the image does not have three axes.

    References
    ----------
    .. [1] Lindeberg (1998), Feature detection with automatic scale selection, IJCV 30:79-116.
    """
    image = prepared(array)
    out = np.empty(image.shape, np.float32)
    return correlate(_laplacian_tile, image, out, sigma_triple(sigma), threads=threads)


def hessian_at(
    array: ArrayLike, voxels: ArrayLike, sigma: float | ArrayLike
) -> NDArray[np.float64]:
    """Return the scale-normalised Hessian of the smoothed image at some voxels.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers.
    voxels
        Shape (N, 3), indices (z, y, x) inside the image.
    sigma
        Standard deviation, one number or three (z, y, x) [voxels].

    Returns
    -------
    numpy.ndarray
        Shape (N, 3, 3): second Gaussian derivatives along axes i and j times ``sigma_i sigma_j``
        [grey values].

    Raises
    ------
    ParameterError
        If sigma is not positive, or a voxel lies outside the image.
    """
    image = prepared(array)
    at = np.asarray(voxels, dtype=np.int64).reshape(-1, 3)
    if len(at) and not ((at >= 0) & (at < image.shape)).all():
        raise ParameterError(f"Some voxels lie outside the image of shape {image.shape}.")
    kernels = tuple(kernel(s).astype(np.float64) for s in sigma_triple(sigma))
    for w in kernels:
        w[2, 0] = -2 * w[2, 1:].sum()
    indices = tuple(reflected(n, w.shape[1] - 1) for n, w in zip(image.shape, kernels, strict=True))
    out = np.empty((len(at), 3, 3))
    _hessians(image, at, indices, kernels, out)
    return out


@compiled
def _smooth_tile(image: Any, out: Any, indices: Any, bounds: Any, kernels: Any) -> None:
    """Smooth along z, y and x."""
    zi, yi, xi = indices
    z0, z1, y0, y1 = bounds
    wz, wy, wx = kernels
    ry, rx, n = wy.shape[1] - 1, wx.shape[1] - 1, image.shape[2]
    plane = np.empty((y1 - y0 + 2 * ry, n), F)
    row = np.empty(n + 2 * rx, F)
    for z in range(z0, z1):
        along_z(0, plane, image, zi, yi, z, y0, wz)
        for y in range(y0, y1):
            along_y(0, row[rx : rx + n], plane, y - y0 + ry, wy)
            along_x(0, out[z, y], row, xi, wx)


@compiled
def _laplacian_tile(image: Any, out: Any, indices: Any, bounds: Any, kernels: Any) -> None:
    """Add the second derivatives; those along z and y share their smoothing along x."""
    zi, yi, xi = indices
    z0, z1, y0, y1 = bounds
    wz, wy, wx = kernels
    ry, rx, n = wy.shape[1] - 1, wx.shape[1] - 1, image.shape[2]
    smooth = np.empty((y1 - y0 + 2 * ry, n), F)
    curve = np.empty((y1 - y0 + 2 * ry, n), F)
    row = np.empty(n + 2 * rx, F)
    middle, part = row[rx : rx + n], np.empty(n, F)
    for z in range(z0, z1):
        along_z(0, smooth, image, zi, yi, z, y0, wz)
        along_z(2, curve, image, zi, yi, z, y0, wz)
        for y in range(y0, y1):
            j = y - y0 + ry
            along_y(0, middle, curve, j, wy)
            along_y(2, part, smooth, j, wy)
            for i in range(n):
                middle[i] += part[i]
            along_x(0, out[z, y], row, xi, wx)
            along_y(0, middle, smooth, j, wy)
            along_x(2, part, row, xi, wx)
            for i in range(n):
                out[z, y, i] += part[i]


@compiled
def _hessians(image: Any, at: Any, indices: Any, kernels: Any, out: Any) -> None:
    """Sum the separable kernels around each voxel in double precision."""
    (zi, yi, xi), (wz, wy, wx) = indices, kernels
    rz, ry, rx = wz.shape[1] - 1, wy.shape[1] - 1, wx.shape[1] - 1
    # Number by number: expressions of whole arrays would be compiled for half as long again.
    h = np.empty(6)  # zz, zy, zx, yy, yx, xx
    for n in range(len(at)):
        h[:] = 0
        for dz in range(-rz, rz + 1):
            z, kz, side_z = zi[at[n, 0] + rz + dz], abs(dz), np.sign(dz)
            y00 = y01 = y02 = y10 = y11 = y2 = 0.0  # by order along y, then along x
            for dy in range(-ry, ry + 1):
                row, ky, side_y = image[z, yi[at[n, 1] + ry + dy]], abs(dy), np.sign(dy)
                x0 = wx[0, 0] * row[at[n, 2]]
                x1 = 0.0
                x2 = wx[2, 0] * row[at[n, 2]]
                for k in range(1, rx + 1):
                    a = np.float64(row[xi[at[n, 2] + rx - k]])
                    b = np.float64(row[xi[at[n, 2] + rx + k]])
                    x0 += wx[0, k] * (a + b)
                    x1 += wx[1, k] * (b - a)
                    x2 += wx[2, k] * (a + b)
                y00 += wy[0, ky] * x0
                y01 += wy[0, ky] * x1
                y02 += wy[0, ky] * x2
                y10 += wy[1, ky] * side_y * x0
                y11 += wy[1, ky] * side_y * x1
                y2 += wy[2, ky] * x0
            h[0] += wz[2, kz] * y00
            h[1] += wz[1, kz] * side_z * y10
            h[2] += wz[1, kz] * side_z * y01
            h[3] += wz[0, kz] * y2
            h[4] += wz[0, kz] * y11
            h[5] += wz[0, kz] * y02
        out[n, 0, 0], out[n, 1, 1], out[n, 2, 2] = h[0], h[3], h[5]
        out[n, 0, 1] = out[n, 1, 0] = h[1]
        out[n, 0, 2] = out[n, 2, 0] = h[2]
        out[n, 1, 2] = out[n, 2, 1] = h[4]
