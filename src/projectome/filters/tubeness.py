"""Tubeness: how much an image looks like a bright line of a given width, voxel by voxel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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
    prepared,
    sigma_triple,
)

# cos(2/3 arccos u) on 0 ... 1 as a polynomial in u, from interpolation at Chebyshev points.
C0, C1, C2, C3, C4, C5, C6, C7, C8 = (
    np.polynomial.Chebyshev.interpolate(lambda u: np.cos(2 / 3 * np.arccos(u)), 8, domain=[0, 1])
    .convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1])
    .coef.tolist()
)

__all__ = ["halo_for", "multiscale_tubeness", "tubeness"]


def tubeness(
    array: ArrayLike, sigma: float | ArrayLike, *, bright: bool = True, threads: int = 1
) -> Image:
    """Return the response of a line filter at one scale.

    With the eigenvalues ``l1 >= l2 >= l3`` of the Hessian of the image smoothed by a Gaussian of
    standard deviation sigma, the response to bright lines is ::

        max(0, -(l2 + l3) / 2) * sigma**2

    that is, the mean curvature across the line [1]_, normalised so that scales compare. A line of
    contrast C with a Gaussian profile of standard deviation w answers ``C (sigma w)**2 /
    (sigma**2 + w**2)**2`` on its axis: 0.25 C for sigma = w, its maximum. A flat sheet of that
    profile answers 0.18 C, a step of height C 0.12 C. The geometric mean of -l2 and -l3 and the
    measure of Sato [2]_ need both curvatures to be negative: they find nothing where the point
    spread function draws a line out along z, and lose a good part of real light-sheet axons.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers; uint8, uint16 and float32 are read without a copy.
    sigma
        Standard deviation, one number or three (z, y, x) [voxels]: micrometres divided by the
        voxel size. One length in micrometres on an anisotropic grid gives the response of the
        isotropic image.
    bright
        Look for bright lines on dark ground; dark lines if False.
    threads
        Tiles worked on at a time; the result is the same for any number.

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X), 0 or more [grey values]. Exactly 0 in constant regions. A block read with
        `halo_for` equals the whole to the bit.

    Raises
    ------
    ParameterError
        If sigma is not positive.
    ShapeError
        If the image does not have three axes.

    Notes
    -----
    Kernels end at 5 sigma; for sigma of one voxel or more the response lies within 1e-4 of its
    maximum of that of untruncated kernels in double precision. Memory: the image, 4 bytes a
    voxel for the response, and `projectome.filters.separable.scratch_bytes` (about a megabyte a
    thread).

    References
    ----------
    .. [1] Lorenz et al. (1997), Multi-scale line segmentation with automatic estimation of width,
       contrast and tangential direction in 2D and 3D medical images, CVRMed-MRCAS, LNCS 1205.
    .. [2] Sato et al. (1998), Three-dimensional multi-scale line filter for segmentation and
       visualization of curvilinear structures in medical images, Med. Image Anal. 2:143-168.
    """
    return multiscale_tubeness(array, [sigma], bright=bright, threads=threads)


def multiscale_tubeness(
    array: ArrayLike,
    sigmas: Iterable[float | ArrayLike],
    *,
    bright: bool = True,
    threads: int = 1,
) -> Image:
    """Return the largest `tubeness` over several scales.

    Parameters
    ----------
    array
        Shape (Z, Y, X), any real numbers.
    sigmas
        Standard deviations, each one number or three (z, y, x) [voxels].
    bright
        Look for bright lines on dark ground; dark lines if False.
    threads
        Tiles worked on at a time; the result is the same for any number.

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X), 0 or more [grey values]. It takes no more memory than one scale.

    Raises
    ------
    ParameterError
        If there is no sigma, or one is not positive.
    ShapeError
        If the image does not have three axes.
    """
    scales = [sigma_triple(sigma) for sigma in sigmas]
    if not scales:
        raise ParameterError("Tubeness needs at least one sigma [voxels].")
    image = prepared(array)
    out = np.zeros(image.shape, np.float32)
    for sigma in scales:
        correlate(_tube_tile, image, out, sigma, threads=threads, sign=1 if bright else -1)
    return out


@compiled
def _tube_tile(image: Any, out: Any, indices: Any, bounds: Any, kernels: Any) -> None:
    """Raise `out` to the response where that is larger."""
    zi, yi, xi = indices
    z0, z1, y0, y1 = bounds
    wz, wy, wx = kernels
    ry, rx, n = wy.shape[1] - 1, wx.shape[1] - 1, image.shape[2]
    planes = np.empty((3, y1 - y0 + 2 * ry, n), F)
    row = np.empty(n + 2 * rx, F)
    middle = row[rx : rx + n]
    h = np.empty((6, n), F)
    for z in range(z0, z1):
        for order in range(3):
            along_z(order, planes[order], image, zi, yi, z, y0, wz)
        for y in range(y0, y1):
            place = 0
            # Hessian in the order zz, zy, zx, yy, yx, xx: orders along z and y; x takes the rest.
            for in_z in range(2, -1, -1):
                for in_y in range(2 - in_z, -1, -1):
                    along_y(in_y, middle, planes[in_z], y - y0 + ry, wy)
                    along_x(2 - in_z - in_y, h[place], row, xi, wx)
                    place += 1
            _mean_curvature(h[0], h[1], h[2], h[3], h[4], h[5], out[z, y])


@compiled
def _mean_curvature(zz: Any, zy: Any, zx: Any, yy: Any, yx: Any, xx: Any, out: Any) -> None:
    """Raise `out` to -(l2 + l3) / 2 = (l1 - trace) / 2 of symmetric matrices.

    With mean q, B = A - q and p**2 = tr(B B) / 6, the largest eigenvalue is q + 2 p cos(t / 3),
    cos t = det(B) / (2 p**3) (Smith 1961). In u = cos(t / 2) the factor cos(t / 3) is smooth, so
    that a short polynomial (error 4e-9) does instead of two transcendental functions.
    """
    for i in range(out.size):
        a, b, c = np.float64(zz[i]), np.float64(yy[i]), np.float64(xx[i])
        d, e, f = np.float64(zy[i]), np.float64(zx[i]), np.float64(yx[i])
        q = (a + b + c) / 3
        a, b, c = a - q, b - q, c - q
        p2 = (a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6
        p = np.sqrt(p2)
        det = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
        u2 = 0.5 + 0.25 * det / (p2 * p + 1e-300)
        u2 = u2 if u2 > 0.0 else 0.0
        u = np.sqrt(u2 if u2 < 1.0 else 1.0)
        cosine = C5 + u * (C6 + u * (C7 + u * C8))
        cosine = C0 + u * (C1 + u * (C2 + u * (C3 + u * (C4 + u * cosine))))
        v = F(p * cosine - q)
        out[i] = v if v > out[i] else out[i]  # which starts from 0
