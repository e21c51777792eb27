"""Agreement of detected points with true ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from projectome.core.affine import coordinates, read_only
from projectome.errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class DetectionScores:
    """Agreement of N true with M found points, K of them matched one to one.

    Attributes
    ----------
    precision
        K / M; NaN if nothing was found.
    recall
        K / N; NaN if there is nothing to find.
    f1
        2 K / (N + M); NaN if both are empty.
    mean_error_um
        Mean distance of matched points [um]; NaN if there are none.
    pairs
        Shape (K, 2): indices of a true and its found point, in the order of the true ones.
    distances
        Shape (K,): distance of each pair [um].
    """

    precision: float
    recall: float
    f1: float
    mean_error_um: float
    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]


def match_points(truth: ArrayLike, found: ArrayLike, *, distance_um: float) -> DetectionScores:
    """Match points one to one.

    Parameters
    ----------
    truth
        Shape (N, 3) [um].
    found
        Shape (M, 3), in the same space.
    distance_um
        Farthest that matched points may lie apart [um], this distance included.

    Returns
    -------
    DetectionScores
        Of the matching with the most pairs and, among those, the smallest sum of distances.

    Raises
    ------
    ParameterError
        If the distance is negative, or points are not finite.
    """
    a, b = coordinates(truth), coordinates(found)
    if not (math.isfinite(distance_um) and distance_um >= 0):
        raise ParameterError(
            f"distance_um is how far apart matched points may lie, 0 or more; not {distance_um!r}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ParameterError("Points to be matched need finite coordinates; drop the others first.")
    pairs = _assign(a, b, float(distance_um))
    gaps = np.linalg.norm(a[pairs[:, 0]] - b[pairs[:, 1]], axis=1)
    hits = len(pairs)
    return DetectionScores(
        precision=hits / len(b) if len(b) else math.nan,
        recall=hits / len(a) if len(a) else math.nan,
        f1=2 * hits / (len(a) + len(b)) if len(a) + len(b) else math.nan,
        mean_error_um=float(gaps.mean()) if hits else math.nan,
        pairs=read_only(pairs),
        distances=read_only(gaps),
    )


def _assign(a: NDArray[np.float64], b: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Return the best pairs; points that share no candidate are matched apart from one another."""
    if not len(a) or not len(b):
        return np.empty((0, 2), np.int64)
    lists = cKDTree(a).query_ball_tree(cKDTree(b), distance * (1 + 1e-12))
    rows = np.repeat(np.arange(len(a)), [len(found) for found in lists])
    columns = np.concatenate([np.asarray(found, np.int64) for found in lists])
    size = len(a) + len(b)
    links = coo_array((np.ones(len(rows)), (rows, len(a) + columns)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    order = np.argsort(component[rows], kind="stable")
    cuts = np.flatnonzero(np.diff(component[rows][order])) + 1
    chosen = [np.empty((0, 2), np.int64)]
    for group in np.split(order, cuts) if len(order) else ():
        left, i = np.unique(rows[group], return_inverse=True)
        right, j = np.unique(columns[group], return_inverse=True)
        gaps = np.linalg.norm(a[rows[group]] - b[columns[group]], axis=1)
        # No match costs 0 and a match less than any sum of distances: most pairs come first.
        bonus = (min(len(left), len(right)) + 1) * (distance + 1)
        cost = np.zeros((len(left), len(right)))
        cost[i, j] = gaps - bonus
        picked = np.stack(linear_sum_assignment(cost), axis=1)
        picked = picked[cost[picked[:, 0], picked[:, 1]] < 0]
        chosen.append(np.stack([left[picked[:, 0]], right[picked[:, 1]]], axis=1))
    pairs = np.concatenate(chosen)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]
