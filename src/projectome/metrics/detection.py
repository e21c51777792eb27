"""Agreement of detected points and boxes with true ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from projectome.core.affine import coordinates, read_only
from projectome.errors import ParameterError
from projectome.metrics.matching import best_matching
from projectome.metrics.voxels import Curve, curve_of

FEW = 1 << 14
"""Pairs of points of which all distances are computed: a search would take longer."""


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
    a, b = _checked(truth, found, distance_um)
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


def _checked(
    truth: ArrayLike, found: ArrayLike, distance_um: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = coordinates(truth), coordinates(found)
    if not (math.isfinite(distance_um) and distance_um >= 0):
        raise ParameterError(
            f"distance_um is how far apart matched points may lie, 0 or more; not {distance_um!r}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ParameterError("Points to be matched need finite coordinates; drop the others first.")
    return a, b


def match_candidates(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    scores: ArrayLike,
    *,
    true: int,
) -> Curve:
    """Return precision and recall over the scores of detections that may match true items.

    Parameters
    ----------
    rows, columns
        Shape (E,): indices of a true item and of a detection that are near enough to match.
    scores
        Shape (M,): one a detection; the higher, the surer.
    true
        Number of true items.

    Returns
    -------
    Curve
        One threshold for each score that occurs. At each, the hits are those of the largest
        one-to-one matching of the detections from that score on.

    Raises
    ------
    ParameterError
        If a score is NaN.

    Notes
    -----
    Detections are taken by falling score, and each either lengthens an augmenting path or is false:
    what a matching covers is a matroid, so that a detection once matched stays matched.
    """
    hits = candidate_hits(rows, columns, scores)
    return ranked_curve(np.asarray(scores, np.float64), hits, true)


def candidate_hits(
    rows: NDArray[np.int64], columns: NDArray[np.int64], scores: ArrayLike
) -> NDArray[np.bool_]:
    """Say which detections are hits, the surest being matched first.

    Parameters
    ----------
    rows, columns, scores
        As for `match_candidates`.

    Returns
    -------
    numpy.ndarray of bool
        Shape (M,): those from any score on are as many as the largest matching of these has.

    Raises
    ------
    ParameterError
        If a score is NaN.
    """
    values = np.asarray(scores, np.float64)
    if np.isnan(values).any():
        raise ParameterError(
            f"{int(np.isnan(values).sum())} detections have no score (NaN). Give every detection "
            "one, or none."
        )
    links: list[list[int]] = [[] for _ in values]
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        links[column].append(row)
    owner: dict[int, int] = {}
    held: dict[int, int] = {}
    hits = np.zeros(len(values), bool)
    for column in np.argsort(-values, kind="stable").tolist():
        hits[column] = _augment(column, links, owner, held)
    return hits


def ranked_curve(scores: NDArray[np.float64], hits: NDArray[np.bool_], true: int) -> Curve:
    """Return precision and recall over the scores of detections of which the hits are known.

    Parameters
    ----------
    scores, hits
        Shape (M,).
    true
        Number of true items.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    return curve_of(falling[last], np.cumsum(hits[order], dtype=np.int64)[last], last + 1, true)


def _augment(
    start: int, links: list[list[int]], owner: dict[int, int], held: dict[int, int]
) -> bool:
    """Match one more detection, if the others can make room for it.

    `owner` has the detection of each row matched so far, and `held` the row of each detection.
    """
    came: dict[int, int] = {}
    waiting = [start]
    while waiting:
        column = waiting.pop()
        for row in links[column]:
            if row in came:
                continue
            came[row] = column
            if row in owner:
                waiting.append(owner[row])
                continue
            # Hand the rows of the path on, from its free end back to the start.
            while True:
                column = came[row]
                before = held.get(column, row)
                owner[row], held[column] = column, row
                if column == start:
                    return True
                row = before
    return False


def point_curve(
    truth: ArrayLike, found: ArrayLike, scores: ArrayLike, *, distance_um: float
) -> Curve:
    """Return precision and recall of points over the thresholds of their scores.

    Parameters
    ----------
    truth, found
        As for `match_points`.
    scores
        Shape (M,): one a found point.
    distance_um
        As for `match_points`.

    Returns
    -------
    Curve
        Whose figures at a threshold are those of `match_points` of the points from there on.

    Raises
    ------
    ParameterError
        As `match_points`, or if a score is NaN.
    """
    a, b = _checked(truth, found, distance_um)
    rows, columns, _ = near_pairs(a, b, float(distance_um))
    return match_candidates(rows, columns, scores, true=len(a))


def _assign(a: NDArray[np.float64], b: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Return the best pairs, in the order of the true points."""
    rows, columns, gaps = near_pairs(a, b, distance)
    taken = best_matching(rows, columns, gaps)
    return np.stack([rows[taken], columns[taken]], axis=1)


def near_pairs(
    a: NDArray[np.float64], b: NDArray[np.float64], distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of points that lie within a distance, and how far apart they are.

    Parameters
    ----------
    a, b
        Shapes (N, 3) and (M, 3) [um].
    distance
        The farthest [um], this distance included.

    Returns
    -------
    rows, columns, gaps
        Shape (E,) each: indices into `a` and `b`, and the distance [um].
    """
    if not len(a) or not len(b):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    reach = distance * (1 + 1e-12)
    if len(a) * len(b) <= FEW:
        gaps = cdist(a, b)
        rows, columns = np.nonzero(gaps <= reach)
        return rows, columns, gaps[rows, columns]
    lists = cKDTree(a).query_ball_tree(cKDTree(b), reach)
    rows = np.repeat(np.arange(len(a)), [len(found) for found in lists])
    columns = np.concatenate([np.asarray(found, np.int64) for found in lists])
    return rows, columns, np.linalg.norm(a[rows] - b[columns], axis=1)
