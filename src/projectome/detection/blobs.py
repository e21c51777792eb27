"""Bright balls in an image, where somata may be.

The scale-normalised Laplacian of Gaussian of a ball of radius R and contrast C is -0.925 C in its
centre at ``sigma = R / sqrt(3)``, its minimum over places and scales [1]_. Candidates are maxima
over places of the largest response over a range of radii; what is too small, too large, too long
or too faint is left out, and of candidates within one radius of each other the best remains.

Every decision depends on a neighbourhood of known size, so that blocks read with `blob_halo` give
what the whole gives.

References
----------
.. [1] Lindeberg (1998), Feature detection with automatic scale selection, IJCV 30:79-116.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from projectome.core.box import Triple
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import ParameterError
from projectome.filters.gaussian import halo_for, hessian_at, laplacian
from projectome.filters.peaks import local_maxima

Floats: TypeAlias = NDArray[np.float64]

RADIUS_STEP = 1.25
"""Successive radii differ by at most this factor."""

BALL = float(3 * np.sqrt(6 / np.pi) * np.exp(-1.5))
"""Response of a ball of contrast 1 in its centre, at its own scale."""

INSIDE, NEAR, FAR = 0.6, 1.5, 2.1
"""In radii: what counts as inside a soma, and where its surroundings begin and end."""


def radii(radius_um: tuple[float, float]) -> Floats:
    """Return the radii to try: from the smallest to the largest in equal ratios [um].

    Raises
    ------
    ParameterError
        If the range is not ``0 < smallest <= largest``.
    """
    smallest, largest = radius_um
    if not 0 < smallest <= largest < np.inf:
        raise ParameterError(
            f"radius_um is the smallest and the largest radius of a soma, not {radius_um}."
        )
    steps = int(np.ceil(np.log(largest / smallest) / np.log(RADIUS_STEP)))
    return np.geomspace(smallest, largest, steps + 1)


def sigma_of(radius_um: float, voxel_size: ArrayLike) -> tuple[float, float, float]:
    """Return the standard deviation that answers most to a radius (z, y, x) [voxels]."""
    z, y, x = (radius_um / np.sqrt(3) / float(v) for v in np.asarray(voxel_size))
    return z, y, x


def blob_halo(radius_um: tuple[float, float], voxel_size: ArrayLike) -> Triple:
    """Return the halo with which blocks find what the whole finds (z, y, x) [voxels].

    Parameters
    ----------
    radius_um
        As given to `find_blobs`.
    voxel_size
        Size of a voxel (z, y, x) [um].
    """
    largest = float(radii(radius_um)[-1]) * RADIUS_STEP
    kernels = halo_for(sigma_of(largest, voxel_size))
    # The kernel of the next scale, at candidates one radius away, found among their neighbours.
    merging = np.ceil(largest / np.asarray(voxel_size, dtype=float)).astype(int) + 2
    z, y, x = (int(k + m) for k, m in zip(kernels, merging, strict=True))
    return z, y, x


def find_blobs(
    image: ArrayLike,
    voxel_size: ArrayLike,
    *,
    radius_um: tuple[float, float] = (5.0, 16.0),
    threshold: float = 1.0,
    min_contrast: float = 0.7,
    min_roundness: float = 0.5,
    origin: Triple = (0, 0, 0),
    threads: int = 1,
) -> Points:
    """Find bright blobs.

    Parameters
    ----------
    image
        Shape (Z, Y, X), normalised grey values.
    voxel_size
        Size of a voxel (z, y, x) [um].
    radius_um
        Smallest and largest radius [um].
    threshold
        Smallest `score`.
    min_contrast
        Smallest `contrast`.
    min_roundness
        Smallest `roundness`.
    origin
        Where the image starts in its volume (z, y, x) [voxels].
    threads
        Threads to use; the result is the same for any number.

    Returns
    -------
    Points
        In voxels of the volume, to a fraction of a voxel, in C order of the voxels; not yet
        merged: see `merge_candidates`. Maxima on the border of the image are left out. Columns:

        ``radius_um``
            Radius of the ball that answers most [um], from a parabola through three scales.
        ``score``
            Contrast of the ball that answers so, in units of the image.
        ``contrast``
            How far it stands out even from the brightest tenth of its surroundings, relative to
            its height above the darkest: near 1 if alone, about 0.5 for a piece of a neurite.
        ``roundness``
            Smallest over largest curvature in the centre, at the scale of the radius: 1 for a
            ball, 0 for a straight neurite.

    Raises
    ------
    ParameterError
        If the radii are no range.
    """
    values = np.asarray(image, dtype=np.float32)
    tried = radii(radius_um)
    best = np.full(values.shape, -np.inf, np.float32)
    which = np.zeros(values.shape, np.uint8)
    for number, radius in enumerate(tried):
        response = laplacian(values, sigma_of(radius, voxel_size), threads=threads)
        response *= np.float32(-1 / BALL)
        larger = response > best
        which[larger] = number
        np.maximum(best, response, out=best)
    voxels, _ = local_maxima(best, threshold)
    # A maximum on the border belongs to something outside, or to its own mirror image.
    shape = np.array(values.shape)
    voxels = voxels[(((voxels > 0) & (voxels < shape - 1)) | (shape < 3)).all(axis=1)]
    scale = which[tuple(voxels.T)]
    shift = vertices(best, voxels)
    del best, which

    size, score, roundness = _measure(values, voxels, tried[scale], voxel_size)
    kept = (size >= tried[0]) & (size <= tried[-1])
    kept &= (score >= threshold) & (roundness >= min_roundness)
    contrast = np.zeros(len(voxels))
    extent = size[kept][:, None] / np.asarray(voxel_size, dtype=float)
    contrast[kept] = contrasts(values, voxels[kept], extent)
    kept &= contrast >= min_contrast
    columns = {"radius_um": size, "score": score, "contrast": contrast, "roundness": roundness}
    return Points(
        (voxels + np.asarray(origin, dtype=np.int64))[kept] + shift[kept],
        Space.voxels(),
        {name: column[kept] for name, column in columns.items()},
    )


def _measure(
    values: NDArray[np.float32], voxels: NDArray[np.int64], radius: Floats, voxel_size: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return radius [um], score and roundness of candidates, given the best radius tried.

    Where the response grows beyond the smallest or largest radius tried, so does the radius.
    """
    count = len(voxels)
    size, score, roundness = np.empty(count), np.empty(count), np.empty(count)
    for r in np.unique(radius):
        here = np.flatnonzero(radius == r)
        smaller, same, larger = (
            hessian_at(values, voxels[here], sigma_of(s, voxel_size))
            for s in (r / RADIUS_STEP, r, r * RADIUS_STEP)
        )
        low, middle, high = (
            np.trace(h, axis1=1, axis2=2) * (-1 / BALL) for h in (smaller, same, larger)
        )
        size[here] = r * RADIUS_STEP ** vertex(low, middle, high)
        score[here] = middle
        curvature = np.linalg.eigvalsh(same)  # ascending: the strongest first
        strongest = np.minimum(curvature[:, 0], -np.finfo(float).tiny)
        roundness[here] = np.maximum(curvature[:, 2] / strongest, 0)
    return size, score, roundness


def vertex(left: Floats, middle: Floats, right: Floats) -> Floats:
    """Return where parabolas through values at -1, 0 and 1 have their maxima, within -1 and 1."""
    bend = np.maximum(2 * middle - left - right, np.finfo(float).tiny)
    return np.clip((right - left) / (2 * bend), -1, 1)


def vertices(response: NDArray[np.float32], voxels: NDArray[np.int64]) -> Floats:
    """Return the distance (N, 3) from voxels to the maxima of parabolas along each axis."""
    shift = np.zeros(voxels.shape)
    for axis in range(3):
        sides = []
        for step in (-1, 0, 1):
            moved = voxels.copy()
            # Beyond a border the image is its mirror image.
            moved[:, axis] = np.clip(moved[:, axis] + step, 0, response.shape[axis] - 1)
            sides.append(response[tuple(moved.T)].astype(np.float64))
        shift[:, axis] = vertex(*sides)
    return shift


def contrasts(values: NDArray[np.float32], voxels: NDArray[np.int64], radius: Floats) -> Floats:
    """Return how far blobs stand out from their surroundings, relative to their height.

    Parameters
    ----------
    values
        Shape (Z, Y, X).
    voxels
        Shape (N, 3).
    radius
        Shape (N, 3), the radius along each axis [voxels].

    Returns
    -------
    numpy.ndarray
        Shape (N,): ``(m - p90) / (m - p10)`` with the mean m within 0.6 radii and percentiles of
        what lies between 1.5 and 2.1 radii; 0 where there is nothing there, or it is no darker.
    """
    out = np.zeros(len(voxels))
    _contrasts(values, voxels, radius, out)
    return out


@njit(cache=True, nogil=True)
def _quantile(values: Any, share: float) -> float:
    """Return what numpy does, and mix the values; numpy's in a kernel takes seconds to compile."""
    last = len(values) - 1
    rank = 1 + last * share
    k = int(rank) - 1
    start, stop = 0, last
    while start < stop:  # Hoare's way to the value of that rank
        pivot, i, j = values[(start + stop) // 2], start, stop
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if j < k < i:
            break
        start, stop = (start, j) if k <= j else (i, stop)
    above = values[k]
    if k < last:
        above = values[k + 1]
        for i in range(k + 2, last + 1):
            above = min(above, values[i])
    part = rank - np.floor(rank)
    return values[k] * (1 - part) + above * part


@njit(cache=True, nogil=True)
def _contrasts(values: Any, voxels: Any, radius: Any, out: Any) -> None:
    """Fill `out`, one blob after the other."""
    for n in range(len(voxels)):
        start, stop = np.empty(3, np.int64), np.empty(3, np.int64)
        for axis in range(3):
            reach = FAR * radius[n, axis]
            start[axis] = max(np.ceil(voxels[n, axis] - reach), 0)
            stop[axis] = min(np.floor(voxels[n, axis] + reach) + 1, values.shape[axis])
        around = np.empty((stop - start).prod())
        outside, total, count = 0, 0.0, 0
        for k in range(start[0], stop[0]):
            dz = (k - voxels[n, 0]) / radius[n, 0]
            for j in range(start[1], stop[1]):
                dy = (j - voxels[n, 1]) / radius[n, 1]
                for i in range(start[2], stop[2]):
                    dx = (i - voxels[n, 2]) / radius[n, 2]
                    squared = dz * dz + dy * dy + dx * dx
                    if squared <= INSIDE**2:
                        total += values[k, j, i]
                        count += 1
                    elif NEAR**2 <= squared <= FAR**2:
                        around[outside] = values[k, j, i]
                        outside += 1
        if not outside or np.isnan(around[:outside]).any():
            continue
        low, high = _quantile(around[:outside], 0.1), _quantile(around[:outside], 0.9)
        mean = total / count
        if mean > low:
            out[n] = (mean - high) / (mean - low)


def merge_candidates(points: Points) -> Points:
    """Keep one of the candidates that lie within one another.

    Parameters
    ----------
    points
        In micrometres, with the columns ``radius_um`` and ``score``.

    Returns
    -------
    Points
        Those without a better one within the larger of the two radii, in the order given. Better
        is a higher score, of equal ones the first in (z, y, x). A candidate that is dropped
        counts, so that whether one stays depends on its surroundings alone and not on chains of
        others; what lies between two somata and in the reach of the better one is dropped too.
    """
    if len(points) < 2:
        return points
    place, radius = points.coordinates, points["radius_um"]
    score = np.asarray(points["score"], dtype=np.float64)
    pairs = cKDTree(place).query_pairs(1.001 * float(radius.max()), output_type="ndarray")
    distance = np.sqrt(((place[pairs[:, 0]] - place[pairs[:, 1]]) ** 2).sum(axis=1))
    pairs = pairs[distance < radius[pairs].max(axis=1)]
    # Rank 0 is the best.
    rank = np.empty(len(points), np.int64)
    rank[np.lexsort((place[:, 2], place[:, 1], place[:, 0], -score))] = np.arange(len(points))
    dropped = np.where(rank[pairs[:, 0]] > rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    kept = np.ones(len(points), dtype=bool)
    kept[dropped] = False
    return points.take(kept)
