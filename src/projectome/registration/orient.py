"""Which way a brain lies, tested against a template.

A scan is laid onto the template in each of the 24 ways in which its axes can be turned without a
mirror; in each, a rigid map with one scale is fitted coarsely, and the ways are ranked by mutual
information. A mirror cannot be seen in a brain, whose halves look alike: the handedness of the scan
is an input and never a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize

from projectome.core.space import (
    Direction,
    Space,
    Towards,
    all_orientations,
    lps_directions,
    signed_permutation,
)
from projectome.errors import OrientationUnknownError

Handedness = Literal["right", "left"]
COARSE, FINE = 33, 66
"""Voxels along the longest axis of the template at the first and at the second look."""
REACH = 0.045
"""First steps of the shift, as a share of that axis."""
BINS = 24
FINALISTS = 5
FARTHEST = np.radians(42.0)
"""A scan lies within this angle of one of the ways; farther, and it is nearer to another."""
SURE = 0.10
"""The best way is sure where the mutual information of the next is lower by this share."""
PLAUSIBLE = 0.03
"""Mutual information [nat] below which nothing matches."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One way in which a scan may lie.

    Attributes
    ----------
    toward
        Where its axes z, y, x run.
    score
        Mutual information with the template [nat].
    matrix
        Shape (4, 4): points of the turned scan to points of the template, (z, y, x) [um], both
        counted from the centre of voxel 0.
    scale
        Size of the scan relative to the template, as fitted.
    """

    toward: tuple[Direction, Direction, Direction]
    score: float
    matrix: NDArray[np.float64]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Orientation:
    """What the test found.

    Attributes
    ----------
    ranked
        All ways of one handedness, best first; those that were dropped early have coarse scores.
    handedness
        As declared: whether the axes (x, y, z) form a right- or a left-handed frame.
    margin
        By which share the second score lies below the best.
    sure
        Whether the best can be relied on.
    """

    ranked: tuple[Candidate, ...]
    handedness: Handedness
    margin: float
    sure: bool

    @property
    def best(self) -> Candidate:
        """The most likely way."""
        return self.ranked[0]

    @property
    def code(self) -> str:
        """Code of the best way, letters naming where axes run toward."""
        return "".join(d[0].upper() for d in self.best.toward)

    def summary(self) -> str:
        """Return the result in one sentence."""
        second = "".join(d[0].upper() for d in self.ranked[1].toward)
        word = "is" if self.sure else "may be (not sure)"
        return (
            f"orientation {word} {self.code} (toward), mutual information {self.best.score:.3f}; "
            f"next {second} with {self.ranked[1].score:.3f}, {self.margin:.0%} below; "
            f"{self.handedness}-handed as declared"
        )


def handedness_of(toward: Sequence[Direction]) -> Handedness:
    """Return the handedness of axes (z, y, x): of their frame (x, y, z) in the animal."""
    return "right" if np.linalg.det(lps_directions(list(toward)[::-1])) > 0 else "left"


def candidates(handedness: Handedness) -> list[Towards]:
    """Return the 24 ways in which axes of a handedness can lie."""
    ways: list[Towards] = []
    for way in all_orientations():
        known = Space(toward=way).require_orientation("Listing orientations")
        if handedness_of(known) == handedness:
            ways.append(way)
    return ways


def turn(array: NDArray[Any], toward: Towards, space: Space) -> NDArray[Any]:
    """Return a view of an array (Z, Y, X) with its axes turned to those of a space."""
    steps = signed_permutation(Space(toward=toward), space)
    order = np.abs(steps).argmax(axis=1)
    flips = tuple(slice(None, None, -1 if row.sum() < 0 else 1) for row in steps)
    return np.asarray(array.transpose(*order)[flips])


def find_orientation(
    scan: NDArray[np.float32],
    scan_size: float,
    template: NDArray[np.float32],
    template_size: float,
    *,
    space: Space,
    handedness: Handedness | None,
    ways: Sequence[Towards] | None = None,
) -> Orientation:
    """Rank the ways in which a scan may lie.

    Parameters
    ----------
    scan
        Shape (Z, Y, X), prepared: 0 outside tissue, of isotropic voxels.
    scan_size
        Edge of its voxels [um].
    template
        As the scan.
    template_size
        Edge of its voxels [um].
    space
        Of the template.
    handedness
        Of the scan: ``"right"`` where its axes (x, y, z) form a right-handed frame in the animal,
        as in a stack seen from the side of its first plane; ``"left"`` if it is mirrored.
    ways
        Only these; the 24 of that handedness if None.

    Returns
    -------
    Orientation
        Sure only where the best stands out.

    Raises
    ------
    OrientationUnknownError
        If the handedness is not given.
    """
    if handedness is None:
        raise OrientationUnknownError(
            "Whether a scan is mirrored cannot be seen in it: a brain looks like its mirror image. "
            "Declare it: --handedness right if x, y, z form a right-handed frame (a stack seen "
            "from the side of its first plane), left if it is mirrored; or state --orientation."
        )
    wanted = list(ways) if ways is not None else candidates(handedness)
    extent = max(template.shape) * template_size
    looks = [
        (size, shrunk(scan, scan_size, size), shrunk(template, template_size, size))
        for size in (extent / COARSE, extent / FINE)
    ]
    first = [_best(way, *looks[0], space=space, starts=None, steps=160) for way in wanted]
    first.sort(key=lambda c: -c.score)
    last = [
        _best(c.toward, *looks[1], space=space, starts=[c.matrix], steps=140)
        for c in first[:FINALISTS]
    ]
    last.sort(key=lambda c: -c.score)
    ranked = (*last, *first[FINALISTS:])
    # Scores of the two looks cannot be compared; those dropped lie further down in any case.
    margin = 1.0 if len(last) < 2 else 1 - last[1].score / max(last[0].score, 1e-9)
    sure = margin >= SURE and last[0].score >= PLAUSIBLE
    return Orientation(ranked, handedness, float(margin), bool(sure))


def shrunk(image: NDArray[np.float32], size: float, wanted: float) -> NDArray[np.float32]:
    """Return an image on coarser voxels, smoothed; voxel 0 keeps its centre."""
    factor = wanted / size
    if factor <= 1:
        return np.ascontiguousarray(image, np.float32)
    smooth = ndimage.gaussian_filter(image, 0.5 * factor, truncate=3)
    shape = [max(2, int((n - 1) / factor) + 1) for n in image.shape]
    grid = [np.arange(n) * factor for n in shape]
    at = np.meshgrid(*grid, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, at, order=1, mode="nearest"), np.float32)


def _best(
    toward: Towards,
    size: float,
    scan: NDArray[np.float32],
    template: NDArray[np.float32],
    *,
    space: Space,
    starts: Sequence[NDArray[np.float64]] | None,
    steps: int,
) -> Candidate:
    """Fit a rigid map with a scale under one orientation."""
    turned = np.ascontiguousarray(turn(scan, toward, space))
    fixed = np.clip(turned * (BINS - 1), 0, BINS - 1).astype(np.uint8)
    moving = np.clip(template * (BINS - 1), 0, BINS - 1.001).astype(np.float32)
    middle = (np.array(turned.shape) - 1) / 2

    def score(p: NDArray[np.float64], base: NDArray[np.float64]) -> float:
        matrix = _matrix(p, base, middle, size)
        if _turned(matrix) > FARTHEST:
            return 0.0
        return -mutual_information(_joint(fixed, moving, matrix, BINS))

    found: tuple[float, NDArray[np.float64]] | None = None
    begun = starts if starts is not None else _starts(turned, template, size)
    scale = np.array([0.15, 0.15, 0.15, *[REACH * max(template.shape) * size] * 3, 0.06])
    if starts is not None:
        scale = scale * 0.4
    for base in begun:
        index = base.copy()
        index[:3, 3] /= size
        simplex = np.concatenate([np.zeros((1, 7)), np.diag(scale)])
        done = minimize(
            score,
            np.zeros(7),
            args=(index,),
            method="Nelder-Mead",
            options={"maxfev": steps, "initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5},
        )
        if found is None or done.fun < found[0]:
            found = float(done.fun), _matrix(done.x, index, middle, size)
    assert found is not None
    matrix = found[1].copy()
    matrix[:3, 3] *= size
    ways = Space(toward=toward).require_orientation("Turning a scan")
    shrink = float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))
    return Candidate(ways, -found[0], matrix, 1 / shrink)


def _starts(
    scan: NDArray[np.float32], template: NDArray[np.float32], size: float
) -> list[NDArray[np.float64]]:
    """Return maps to begin with: centres on one another, and ends where a part is missing."""
    lows, highs = [], []
    for image in (scan, template):
        inside = image > 0.1
        low, high = [], []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            seen = np.flatnonzero(inside.any(axis=others))
            low.append(seen[0] if len(seen) else 0)
            high.append(seen[-1] if len(seen) else image.shape[axis] - 1)
        lows.append(np.array(low, float))
        highs.append(np.array(high, float))
    room = (highs[1] - lows[1]) - (highs[0] - lows[0])
    base = (lows[1] + highs[1] - lows[0] - highs[0]) / 2
    missing = [axis for axis in range(3) if room[axis] > 0.25 * (highs[1] - lows[1])[axis]]
    maps = []
    for sides in product(*[(-1, 0, 1) if axis in missing else (0,) for axis in range(3)]):
        matrix = np.eye(4)
        matrix[:3, 3] = (base + np.array(sides) * room / 2) * size
        maps.append(matrix)
    return maps[:9]


def _turned(matrix: NDArray[np.float64]) -> float:
    """Return the angle of the turn in a map of turn, scale and shift [rad]."""
    linear = matrix[:3, :3]
    turned = linear / np.cbrt(abs(np.linalg.det(linear)))
    return float(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1)))


def _matrix(
    p: NDArray[np.float64], base: NDArray[np.float64], middle: NDArray[np.float64], size: float
) -> NDArray[np.float64]:
    """Return turn, scale and shift around the middle, after which comes `base`; in voxels."""
    a, b, c = p[:3]
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    own = np.eye(4)
    own[:3, :3] = np.exp(np.clip(p[6], -0.7, 0.7)) * (z @ y @ x)
    own[:3, 3] = middle + p[3:6] / size - own[:3, :3] @ middle
    return np.asarray(base @ own)


@njit(cache=True, nogil=True)
def _joint(fixed: Any, moving: Any, matrix: Any, bins: Any) -> Any:
    """Return the joint histogram of voxels of `fixed` and what lies there in `moving`."""
    counts = np.zeros((bins, bins))
    top = np.array(moving.shape)
    for z in range(fixed.shape[0]):
        for y in range(fixed.shape[1]):
            for x in range(fixed.shape[2]):
                a = matrix[0, 0] * z + matrix[0, 1] * y + matrix[0, 2] * x + matrix[0, 3]
                b = matrix[1, 0] * z + matrix[1, 1] * y + matrix[1, 2] * x + matrix[1, 3]
                c = matrix[2, 0] * z + matrix[2, 1] * y + matrix[2, 2] * x + matrix[2, 3]
                value = 0.0
                i, j, k = int(np.floor(a)), int(np.floor(b)), int(np.floor(c))
                if 0 <= i < top[0] - 1 and 0 <= j < top[1] - 1 and 0 <= k < top[2] - 1:
                    u, v, w = a - i, b - j, c - k
                    lower = (1 - v) * ((1 - w) * moving[i, j, k] + w * moving[i, j, k + 1]) + v * (
                        (1 - w) * moving[i, j + 1, k] + w * moving[i, j + 1, k + 1]
                    )
                    upper = (1 - v) * (
                        (1 - w) * moving[i + 1, j, k] + w * moving[i + 1, j, k + 1]
                    ) + v * ((1 - w) * moving[i + 1, j + 1, k] + w * moving[i + 1, j + 1, k + 1])
                    value = (1 - u) * lower + u * upper
                low = int(value)
                share = value - low
                counts[fixed[z, y, x], low] += 1 - share
                counts[fixed[z, y, x], min(low + 1, bins - 1)] += share
    return counts


def mutual_information(counts: NDArray[np.float64]) -> float:
    """Return the mutual information of a joint histogram [nat]."""
    p = counts / counts.sum()
    outer = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log(p[some] / outer[some])).sum())
