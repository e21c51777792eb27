"""Gaussian derivatives by separable correlation: kernels, borders, and the passes over tiles.

Notation: an image f(z, y, x) and a Gaussian g of standard deviation s (in voxels, one an axis).
The derivative of order n along an axis is f correlated with the n-th derivative of g times s**n,
so that scales compare [1]_. Beyond the border the image is reflected (d c b a | a b c d).

Three properties hold exactly and not only nearly, because every voxel sees the same operations in
the same order: a constant image has derivatives of 0, a block read with its halo gives the bits of
the whole, and the number of threads does not show.

References
----------
.. [1] Lindeberg (1998), Feature detection with automatic scale selection, IJCV 30:79-116.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from projectome.core.box import Triple
from projectome.errors import ParameterError, ShapeError

Image: TypeAlias = NDArray[np.float32]
Sigma: TypeAlias = tuple[float, float, float]

TRUNCATE = 5.0
"""Kernels end at so many standard deviations (or one voxel later)."""

TILE_ROWS = 64
TILE_PLANES = 16

F = np.float32
# Without exceptions for division by zero the loops become vector instructions. Reordering and
# contraction stay forbidden (no fastmath), or blocks would differ from the whole in the last bit.
compiled = njit(cache=True, nogil=True, error_model="numpy")


def sigma_triple(sigma: float | ArrayLike) -> Sigma:
    """Return a standard deviation an axis.

    Parameters
    ----------
    sigma
        One number for all axes or three (z, y, x) [voxels].

    Raises
    ------
    ParameterError
        If they are not positive and finite.
    """
    values = np.asarray(sigma, dtype=np.float64)
    if values.ndim == 0:
        values = np.repeat(values, 3)
    if values.shape != (3,) or not (np.isfinite(values).all() and (values > 0).all()):
        raise ParameterError(
            f"sigma is one positive number of voxels or three (z, y, x), not {sigma!r}. Divide "
            "micrometres by the voxel size first."
        )
    z, y, x = (float(v) for v in values)
    return z, y, x


def halo_for(sigma: float | ArrayLike) -> Triple:
    """Return how far the kernels of a standard deviation reach.

    Parameters
    ----------
    sigma
        One number for all axes or three (z, y, x) [voxels].

    Returns
    -------
    tuple of int
        ``5 sigma`` rounded up to an even number of voxels, an axis. A block read with this halo
        gives the same bits as the whole volume.
    """
    z, y, x = (2 * int(np.ceil(TRUNCATE * s / 2)) for s in sigma_triple(sigma))
    return z, y, x


def kernel(sigma: float) -> Image:
    """Return the right halves of the kernels of order 0, 1 and 2.

    Parameters
    ----------
    sigma
        Standard deviation [voxels].

    Returns
    -------
    numpy.ndarray of float32
        Shape (3, R + 1), sampled at 0 ... R, each times ``sigma ** order``. They are scaled such
        that constants, ramps and parabolas have exactly the derivatives they should, which keeps
        kernels of less than a voxel meaningful: they become central differences.
    """
    reach = halo_for(sigma)[0]
    k = np.arange(reach + 1, dtype=np.float64)
    smooth = np.exp(-0.5 * (k / sigma) ** 2)
    smooth /= smooth[0] + 2 * smooth[1:].sum()
    if smooth[1] < 1e-12:  # so narrow that only the central voxel counts
        first, second = 0.5 * (k == 1), 1.0 * (k == 1)
    else:
        first = k * smooth
        first /= 2 * (k * first).sum()
        second = (k**2 - sigma**2) * smooth
        second /= (k**2 * second)[1:].sum()
    # The centre of the second derivative is minus the sum of the rest: see `curved`.
    second[0] = 0
    return np.stack([smooth, first * sigma, second * sigma**2]).astype(np.float32)


def reflected(length: int, reach: int) -> NDArray[np.int64]:
    """Return the indices that stand for -reach ... length + reach - 1 beyond reflecting borders."""
    return np.pad(np.arange(length, dtype=np.int64), reach, mode="symmetric")


@compiled
def even(out: Any, a: Any, b: Any, d: Any, e: Any, w: Any, v: Any) -> None:
    """Add two taps of order 0: rows a and b lie one step from the centre, d and e the next."""
    for i in range(out.size):
        out[i] += w * (F(a[i]) + F(b[i])) + v * (F(d[i]) + F(e[i]))


@compiled
def odd(out: Any, a: Any, b: Any, d: Any, e: Any, w: Any, v: Any) -> None:
    """Add two taps of order 1."""
    for i in range(out.size):
        out[i] += w * (F(b[i]) - F(a[i])) + v * (F(e[i]) - F(d[i]))


@compiled
def curved(out: Any, c: Any, a: Any, b: Any, d: Any, e: Any, w: Any, v: Any) -> None:
    """Add two taps of order 2, as differences from the centre: a constant gives exactly 0."""
    for i in range(out.size):
        twice = F(c[i]) + F(c[i])
        out[i] += w * ((F(a[i]) + F(b[i])) - twice) + v * ((F(d[i]) + F(e[i])) - twice)


@compiled
def along_z(order: int, plane: Any, image: Any, zi: Any, yi: Any, z: int, y: int, w: Any) -> None:
    """Fill `plane`, shape (J, X), with one order along z of the rows y ... y + J - 1.

    `zi` and `yi` are the `reflected` indices; row y of the tile is row ``yi[y]`` of the image.
    """
    reach = w.shape[1] - 1
    at = zi[z : z + 2 * reach + 1]
    for j in range(plane.shape[0]):
        out, r = plane[j], yi[y + j]
        c = image[at[reach], r]
        for i in range(out.size):
            out[i] = w[order, 0] * F(c[i])
        for k in range(1, reach, 2):
            a, b = image[at[reach - k], r], image[at[reach + k], r]
            d, e = image[at[reach - k - 1], r], image[at[reach + k + 1], r]
            if order == 0:
                even(out, a, b, d, e, w[0, k], w[0, k + 1])
            elif order == 1:
                odd(out, a, b, d, e, w[1, k], w[1, k + 1])
            else:
                curved(out, c, a, b, d, e, w[2, k], w[2, k + 1])


@compiled
def along_y(order: int, out: Any, plane: Any, j: int, w: Any) -> None:
    """Write one order along y at row j of `plane`, shape (J, X), to the row `out`."""
    reach = w.shape[1] - 1
    c = plane[j]
    for i in range(out.size):
        out[i] = w[order, 0] * c[i]
    for k in range(1, reach, 2):
        a, b, d, e = plane[j - k], plane[j + k], plane[j - k - 1], plane[j + k + 1]
        if order == 0:
            even(out, a, b, d, e, w[0, k], w[0, k + 1])
        elif order == 1:
            odd(out, a, b, d, e, w[1, k], w[1, k + 1])
        else:
            curved(out, c, a, b, d, e, w[2, k], w[2, k + 1])


@compiled
def along_x(order: int, out: Any, row: Any, xi: Any, w: Any) -> None:
    """Write one order along x to `out`; `row` has margins, which are filled by reflection."""
    reach, n = w.shape[1] - 1, out.size
    for i in range(reach):
        row[i] = row[reach + xi[i]]
        row[reach + n + i] = row[reach + xi[reach + n + i]]
    c = row[reach : reach + n]
    for i in range(n):
        out[i] = w[order, 0] * c[i]
    for k in range(1, reach, 2):
        p, q = reach - k, reach + k
        a, b, d, e = row[p : p + n], row[q : q + n], row[p - 1 : p - 1 + n], row[q + 1 : q + 1 + n]
        if order == 0:
            even(out, a, b, d, e, w[0, k], w[0, k + 1])
        elif order == 1:
            odd(out, a, b, d, e, w[1, k], w[1, k + 1])
        else:
            curved(out, c, a, b, d, e, w[2, k], w[2, k + 1])


def prepared(array: ArrayLike) -> NDArray[Any]:
    """Return an image as the kernels read it: three axes, C order, uint8, uint16 or float32.

    Raises
    ------
    ShapeError
        If it does not have three axes.
    ParameterError
        If it does not hold real numbers.
    """
    values = np.asarray(array)
    if values.ndim != 3:
        raise ShapeError(
            f"An image to filter has the axes (z, y, x); this one has the shape {values.shape}. "
            "Pick one channel, or add an axis of length 1."
        )
    if values.dtype.kind not in "buif":
        raise ParameterError(f"An image to filter holds real numbers, not {values.dtype}.")
    native = values.dtype in (np.uint8, np.uint16, np.float32) and values.dtype.isnative
    return np.ascontiguousarray(values, dtype=None if native else np.float32)


def correlate(
    tile: Callable[..., None],
    array: NDArray[Any],
    out: Image,
    sigma: Sigma,
    *,
    threads: int = 1,
    sign: int = 1,
) -> Image:
    """Run a compiled kernel over the tiles of an image.

    Parameters
    ----------
    tile
        ``tile(image, out, (zi, yi, xi), (z0, z1, y0, y1), (wz, wy, wx))`` fills or updates its
        part of `out`.
    array
        As `prepared` returns it.
    out
        Same shape, float32.
    sigma
        Standard deviations (z, y, x) [voxels].
    threads
        Tiles worked on at a time; the result is the same for any number.
    sign
        -1 turns the image upside down, so that dark becomes bright.

    Returns
    -------
    numpy.ndarray of float32
        `out`.

    Raises
    ------
    ParameterError
        If there is not at least one thread.
    """
    if threads < 1:
        raise ParameterError(f"A filter needs at least one thread, not {threads}.")
    if array.size == 0:
        return out
    kernels = [kernel(s) for s in sigma]
    kernels[0] *= np.float32(sign)
    indices = tuple(reflected(n, w.shape[1] - 1) for n, w in zip(array.shape, kernels, strict=True))

    def work(bounds: tuple[int, int, int, int]) -> None:
        tile(array, out, indices, bounds, tuple(kernels))

    if threads == 1:
        for bounds in tiles(array.shape[0], array.shape[1]):
            work(bounds)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, tiles(array.shape[0], array.shape[1])))
    return out


def tiles(planes: int, rows: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (z0, z1, y0, y1) of tiles that share out all rows of an image."""
    for z in range(0, planes, TILE_PLANES):
        for y in range(0, rows, TILE_ROWS):
            yield z, min(z + TILE_PLANES, planes), y, min(y + TILE_ROWS, rows)


def scratch_bytes(shape: ArrayLike, sigma: float | ArrayLike, *, threads: int = 1) -> int:
    """Return the work space of `correlate` beyond image and output [bytes].

    Parameters
    ----------
    shape
        Voxels an axis.
    sigma
        One number for all axes or three (z, y, x) [voxels].
    threads
        As given to the filter.
    """
    _, reach_y, reach_x = halo_for(sigma)
    row = 4 * (int(np.asarray(shape)[2]) + 2 * reach_x)
    return threads * row * (3 * (TILE_ROWS + 2 * reach_y) + 12)
