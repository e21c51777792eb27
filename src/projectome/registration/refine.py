"""A fit made better where there is something to see, and smooth where there is not.

The images are compared by local correlation, at every voxel, and the bend is stiff: its second
derivatives cost. Cortex looks the same for a millimetre along its surface; there the bend follows
what lies around and below it instead of sliding with the noise.

Notation: lengths are in working voxels. The scan is laid onto the axes of the template by the
affine map of the fit, and nodes of the bend ``u`` lie ``STEP`` voxels apart over all of it. Around
each node the scan is ``F(q) = a M(q + u(q)) + b`` and noise, with ``a`` and ``b`` of its own.

References
----------
Cachier P. et al. (2003), Iconic feature based nonrigid registration: the PASHA algorithm, Computer
Vision and Image Understanding 89, 272-298.
Andersson J. L. R. et al. (2007), Non-linear registration, FMRIB technical report TR07JA2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import fft, ndimage

from projectome.core.box import triple
from projectome.registration.fit import Fit

STEP = 4
"""Voxels between the nodes."""
BORDER = 3
"""Nodes beyond the scan."""
WIDTHS = (2.0, 1.4, 1.0, 0.7, 0.5, 0.4)
"""Gaussian on both images in each round [voxels]."""
AROUND = 1.5
"""Gaussian over which a, b and the noise are the same [nodes]."""
NOISE = 0.05
"""Least variance of the noise, of images that vary by about 1."""
FARTHEST = 1.5
"""Longest move of a node in a round [voxels]."""
SOLVER_STEPS, SOLVED = 60, 1e-4
TIGHT = 0.1
"""Change of volume below which the bend is smoothed until nothing folds."""
SMOOTHINGS = 40
SUMS = 21


def refined(
    found: Fit,
    scan: NDArray[np.float32],
    template: NDArray[np.float32],
    size: float,
    *,
    counts: NDArray[np.bool_],
    stiffness: float,
    threads: int = 2,
) -> Fit:
    """Return a fit whose bend fits better.

    Parameters
    ----------
    found
        To begin with: right to about a voxel or two.
    scan, template
        Shape (Z, Y, X) each: local contrast, as of
        `projectome.registration.prepare.local_contrast`.
    size
        Edge of the voxels of both [um].
    counts
        Where the scan counts.
    stiffness
        Weight of squared second derivatives of the bend [voxels] against squared differences of the
        images in units of their noise, both summed over voxels.
    threads
        To compute with.

    Returns
    -------
    Fit
        With the same affine map.
    """
    scale = np.diag([size, size, size, 1.0])
    fixed, origin = laid(scan, counts, np.linalg.inv(scale) @ found.matrix @ scale)
    shape = tuple((n - 1) // STEP + 1 for n in fixed.shape)
    nodes = np.indices(shape).reshape(3, -1).T * STEP + origin
    bend = (found.bend(nodes * size) / size).T.reshape(3, *shape).astype(np.float32)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        for width in WIDTHS:
            own = smoothed(fixed, width)
            moving = ndimage.gaussian_filter(template, width, truncate=3)
            tensor, force = pulls(np.moveaxis(_gathered(own, moving, bend, origin), -1, 0))
            better = balanced(tensor, force, bend, stiffness / STEP, threads)
            bend += np.clip(better - bend, -FARTHEST, FARTHEST)
    finally:
        numba.set_num_threads(before)
    bend = unfolded(bend)
    knots = [ndimage.spline_filter(part.astype(float), 3, mode="mirror") * size for part in bend]
    spacing = np.full(3, STEP * size)
    return replace(found, knots=np.stack(knots), origin=origin * size, spacing=spacing)


def laid(
    scan: NDArray[np.float32], counts: NDArray[np.bool_], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return a scan laid onto the axes of a template.

    Parameters
    ----------
    scan, counts
        Shape (Z, Y, X) each.
    matrix
        Shape (4, 4): voxels of the scan to voxels of the template.

    Returns
    -------
    numpy.ndarray of float32
        The scan over its whole extent and `BORDER` nodes; NaN where it does not count.
    numpy.ndarray of float64
        Where its voxel 0 lies in the template: whole voxels.
    """
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(scan.shape) - 1)
    ends = corners @ matrix[:3, :3].T + matrix[:3, 3]
    origin = np.floor(ends.min(axis=0)) - BORDER * STEP
    reach = np.ceil(ends.max(axis=0)) - origin + BORDER * STEP
    shape = triple((np.ceil(reach / STEP) * STEP + 1).astype(int))
    back = np.linalg.inv(matrix)
    offset = back[:3, :3] @ origin + back[:3, 3]
    there = ndimage.affine_transform(scan, back[:3, :3], offset, shape, order=1)
    inside = ndimage.affine_transform(counts.view(np.uint8), back[:3, :3], offset, shape, order=0)
    there[inside == 0] = np.nan
    return there, origin


def smoothed(image: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Return a Gaussian mean of an image; NaN counts as 0 and stays."""
    out = ndimage.gaussian_filter(np.nan_to_num(image), width, truncate=3)
    out[np.isnan(image)] = np.nan
    return np.asarray(out, np.float32)


def pulls(sums: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how firmly the images hold each node, and where they pull it.

    Parameters
    ----------
    sums
        Shape (`SUMS`, K, L, M), around each node: products of the slopes of the template (zz, zy,
        zx, yy, yx, xx); its slopes (z, y, x) times the scan, times the template, and as they are;
        the number of voxels, the scan, the template, and their products (ff, fm, mm).

    Returns
    -------
    numpy.ndarray of float32
        Shape (6, K, L, M): the Gauss-Newton matrix (zz, zy, zx, yy, yx, xx).
    numpy.ndarray of float32
        Shape (3, K, L, M): minus the gradient.
    """
    wide = [ndimage.gaussian_filter(part, AROUND, mode="nearest") for part in sums[15:]]
    n = np.maximum(wide[0], 1e-6)
    f, m, ff, fm, mm = (part / n for part in wide[1:])
    varies = np.maximum(mm - m * m, 0)
    gain = np.clip((fm - f * m) / (varies + 1e-3), -3, 3)
    noise = np.maximum(ff - f * f - gain * gain * varies, 0) + NOISE
    force = sums[6:9] - gain * sums[9:12] - (f - gain * m) * sums[12:15]
    tensor = sums[:6] * (gain * gain / noise)
    return tensor.astype(np.float32), (force * (gain / noise)).astype(np.float32)


def balanced(
    tensor: NDArray[np.float32],
    force: NDArray[np.float32],
    bend: NDArray[np.float32],
    weight: float,
    threads: int,
) -> NDArray[np.float32]:
    """Return the bend at which the pull of the images and the stiffness are in balance.

    Conjugate gradients on the cosine transform of the bend, in which stiffness is a number a wave.

    Parameters
    ----------
    tensor, force
        From `pulls`, at `bend`.
    bend
        Shape (3, K, L, M) [voxels].
    weight
        Of squared second differences between nodes.
    threads
        To compute with.
    """
    waves = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in bend.shape[1:]]
    total = waves[0][:, None, None] + waves[1][:, None] + waves[2]
    stiff = (weight * (total**2 + 1e-3 * total + 1e-6)).astype(np.float32)
    usual = tensor[[0, 3, 5]].mean()
    ready = 1 / (stiff + max(float(usual), 1e-6))
    how: dict[str, Any] = {"axes": (1, 2, 3), "norm": "ortho", "workers": threads}

    def held(there: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(fft.dctn(_product(tensor, fft.idctn(there, **how)), **how))

    x = fft.dctn(bend, **how)
    r = fft.dctn(force, **how) - stiff * x
    z = ready * r
    p, size = z, float(np.vdot(r, z))
    begun = size
    for _ in range(SOLVER_STEPS):
        if not size > SOLVED * begun:
            break
        moved = held(p) + stiff * p
        step = size / float(np.vdot(p, moved))
        x = x + step * p
        r = r - step * moved
        z = ready * r
        before, size = size, float(np.vdot(r, z))
        p = z + size / before * p
    return np.asarray(fft.idctn(x, **how), np.float32)


def unfolded(bend: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a bend (3, K, L, M) [voxels] smoothed where it folds, or nearly does."""
    for _ in range(SMOOTHINGS):
        along = np.stack([np.stack(np.gradient(part, STEP), axis=-1) for part in bend], axis=-2)
        tight = np.linalg.det(along + np.eye(3, dtype=np.float32)) < TIGHT
        if not tight.any():
            break
        near = ndimage.gaussian_filter(tight.astype(np.float32), 1.5, truncate=3)
        share = np.minimum(1, 20 * near)
        mean = np.stack([ndimage.gaussian_filter(part, 1.0) for part in bend])
        bend = bend + share * (mean - bend)
    return bend


def _product(tensor: NDArray[np.float32], field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return symmetric matrices (6, K, L, M) times vectors (3, K, L, M)."""
    zz, zy, zx, yy, yx, xx = tensor
    z, y, x = field
    rows = (zz * z + zy * y + zx * x, zy * z + yy * y + yx * x, zx * z + yx * y + xx * x)
    return np.stack(rows)


@njit(cache=True, nogil=True, parallel=True)
def _gathered(fixed: Any, moving: Any, bend: Any, origin: Any) -> Any:
    """Return the sums of `pulls`, channels last, each voxel weighted by its nearness to a node."""
    _, kk, ll, mm = bend.shape
    out = np.zeros((kk, ll, mm, SUMS))
    # Slabs between nodes share nodes with their neighbours: every other one at a time.
    for odd in range(2):
        for half in prange(kk // 2):
            if 2 * half + odd < kk - 1:
                _gather_slab(fixed, moving, bend, origin, out, 2 * half + odd)
    return out


@njit(cache=True, nogil=True)
def _gather_slab(fixed: Any, moving: Any, bend: Any, origin: Any, out: Any, k: Any) -> None:
    """Add the voxels between the nodes k and k + 1 along z."""
    found = np.empty(SUMS)
    weights = np.empty((2, 2, 2))
    at = np.empty(3)
    for dz in range(STEP):
        z = k * STEP + dz
        for y in range(fixed.shape[1] - 1):
            n = y // STEP
            for x in range(fixed.shape[2] - 1):
                own = fixed[z, y, x]
                if np.isnan(own):
                    continue
                m = x // STEP
                _nearness(dz / STEP, y / STEP - n, x / STEP - m, weights)
                for axis in range(3):
                    moved = 0.0
                    for i in range(2):
                        for j in range(2):
                            for h in range(2):
                                moved += weights[i, j, h] * bend[axis, k + i, n + j, m + h]
                    at[axis] = origin[axis] + moved
                at[0] += z
                at[1] += y
                at[2] += x
                if _compared(own, moving, at, found):
                    for i in range(2):
                        for j in range(2):
                            for h in range(2):
                                for t in range(SUMS):
                                    out[k + i, n + j, m + h, t] += weights[i, j, h] * found[t]


@njit(cache=True, nogil=True)
def _nearness(a: Any, b: Any, c: Any, out: Any) -> None:
    for i in range(2):
        for j in range(2):
            for h in range(2):
                out[i, j, h] = (a if i else 1 - a) * (b if j else 1 - b) * (c if h else 1 - c)


@njit(cache=True, nogil=True)
def _compared(own: Any, moving: Any, at: Any, out: Any) -> Any:
    """Write what a voxel adds, given where it lies in the template; False if outside."""
    p, q, r = int(np.floor(at[0])), int(np.floor(at[1])), int(np.floor(at[2]))
    low = p < 0 or q < 0 or r < 0
    if low or p >= moving.shape[0] - 1 or q >= moving.shape[1] - 1 or r >= moving.shape[2] - 1:
        return False
    a, b, c = at[0] - p, at[1] - q, at[2] - r
    first, second = moving[p, q, r], moving[p, q + 1, r]
    third, fourth = moving[p + 1, q, r], moving[p + 1, q + 1, r]
    along = moving[p, q, r + 1] - first, moving[p, q + 1, r + 1] - second
    beyond = moving[p + 1, q, r + 1] - third, moving[p + 1, q + 1, r + 1] - fourth
    first, second = first + c * along[0], second + c * along[1]
    third, fourth = third + c * beyond[0], fourth + c * beyond[1]
    here, there = first + b * (second - first), third + b * (fourth - third)
    seen = here + a * (there - here)
    gz = there - here
    gy = (1 - a) * (second - first) + a * (fourth - third)
    gx = (1 - a) * ((1 - b) * along[0] + b * along[1])
    gx += a * ((1 - b) * beyond[0] + b * beyond[1])
    out[0], out[1], out[2] = gz * gz, gz * gy, gz * gx
    out[3], out[4], out[5] = gy * gy, gy * gx, gx * gx
    out[6], out[7], out[8] = gz * own, gy * own, gx * own
    out[9], out[10], out[11] = gz * seen, gy * seen, gx * seen
    out[12], out[13], out[14] = gz, gy, gx
    out[15], out[16], out[17] = 1.0, own, seen
    out[18], out[19], out[20] = own * own, own * seen, seen * seen
    return True
