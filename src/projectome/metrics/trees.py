"""Agreement of traced trees with true ones, by length of cable.

Notation: cable is cut into pieces of at most a quarter of the matching distance; a piece counts
with its length and is matched if its midpoint lies within the distance of any edge of the other
forest (the exact distance of a point to a segment). Nodes without an edge have no length and do
not count. Undefined figures, such as the precision of nothing traced, are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError, SpaceMismatchError

BATCH = 65536
"""Doubtful pieces that are looked at together; bounds the memory."""


@dataclass(frozen=True, slots=True)
class LengthScores:
    """Agreement of two forests by length.

    Attributes
    ----------
    recall
        Share of the true cable that lies within the distance of traced cable.
    precision
        Share of the traced cable that lies within the distance of true cable.
    f1
        Harmonic mean of the two; 0 where one forest is empty, NaN where both are.
    truth_um, traced_um
        Length of all cable [um].
    matched_truth_um, matched_traced_um
        Length of the matched part [um].
    distance_um
        Matching distance [um].
    """

    recall: float
    precision: float
    f1: float
    truth_um: float
    traced_um: float
    matched_truth_um: float
    matched_traced_um: float
    distance_um: float


@dataclass(frozen=True, slots=True)
class NeuronScore:
    """How one true neuron was traced.

    Attributes
    ----------
    length_um
        Length of its cable [um].
    covered
        Share of it within the distance of any traced tree.
    best
        Index of the traced tree that covers most of it (the first of several); -1 if none does.
    best_covered
        Share of it within the distance of that tree. Splits make it smaller than `covered`.
    best_purity
        Share of that tree's cable within the distance of this neuron; merges and false cable make
        it smaller than 1. NaN if there is no such tree.
    pieces
        Number of traced trees that each cover at least 5 % of it.
    """

    length_um: float
    covered: float
    best: int
    best_covered: float
    best_purity: float
    pieces: int


@dataclass(frozen=True, slots=True, eq=False)
class _Cable:
    """M pieces of cable: segments with midpoints, lengths and the trees they belong to."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    length: NDArray[np.float64]
    owner: NDArray[np.int64]

    @property
    def middle(self) -> NDArray[np.float64]:
        return (self.start + self.end) / 2


def length_scores(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], *, distance_um: float
) -> LengthScores:
    """Compare two forests by length.

    Parameters
    ----------
    truth, traced
        Trees, or forests, all in one space.
    distance_um
        How far apart cable may lie to be the same [um of that space].

    Returns
    -------
    LengthScores
        Exact but for the cutting into pieces: a boundary of the matched part is found to an eighth
        of the distance.

    Raises
    ------
    ParameterError
        If the distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    a, b = _cut(truth, traced, distance_um)
    matched_truth = float(a.length[_near(a.middle, b, distance_um)].sum())
    matched_traced = float(b.length[_near(b.middle, a, distance_um)].sum())
    truth_um, traced_um = float(a.length.sum()), float(b.length.sum())
    recall, precision = _share(matched_truth, truth_um), _share(matched_traced, traced_um)
    return LengthScores(
        recall=recall,
        precision=precision,
        f1=_harmonic(recall, precision),
        truth_um=truth_um,
        traced_um=traced_um,
        matched_truth_um=matched_truth,
        matched_traced_um=matched_traced,
        distance_um=float(distance_um),
    )


def neuron_scores(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], *, distance_um: float
) -> list[NeuronScore]:
    """Say for each true neuron how much of it one traced tree holds.

    Parameters
    ----------
    truth, traced
        One skeleton a neuron, all in one space.
    distance_um
        As in `length_scores`.

    Returns
    -------
    list of NeuronScore
        One a true neuron, in their order.

    Raises
    ------
    ParameterError
        If the distance is not positive.
    SpaceMismatchError
        If the skeletons lie in different spaces.
    """
    a, b = _cut(truth, traced, distance_um)
    hits = _near_by_owner(a.middle, b, len(traced), distance_um)
    back = _near_by_owner(b.middle, a, len(truth), distance_um)
    traced_um = np.bincount(b.owner, b.length, minlength=len(traced))
    scores = []
    for k in range(len(truth)):
        own = a.owner == k
        total = float(a.length[own].sum())
        by_tree = a.length[own] @ hits[own]
        covered = float(a.length[own & hits.any(axis=1)].sum())
        best = int(by_tree.argmax()) if len(traced) and by_tree.max() > 0 else -1
        pure = float(b.length[(b.owner == best) & back[:, k]].sum())
        scores.append(
            NeuronScore(
                length_um=total,
                covered=_share(covered, total),
                best=best,
                best_covered=_share(float(by_tree[best]) if best >= 0 else 0.0, total),
                best_purity=_share(pure, float(traced_um[best])) if best >= 0 else math.nan,
                pieces=int((by_tree >= 0.05 * total).sum()) if total > 0 else 0,
            )
        )
    return scores


def _cut(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], distance: float
) -> tuple[_Cable, _Cable]:
    """Return the pieces of both forests."""
    if not (math.isfinite(distance) and distance > 0):
        raise ParameterError(
            f"distance_um is how far apart matching cable may lie, above 0; not {distance!r}."
        )
    spaces = list(dict.fromkeys(skeleton.space for skeleton in (*truth, *traced)))
    if len(spaces) > 1:
        raise SpaceMismatchError(
            f"Trees can be compared in one space only; these lie in {spaces[0]} and {spaces[1]}. "
            "Carry one of them over with Skeleton.to."
        )
    return _pieces(truth, distance / 4), _pieces(traced, distance / 4)


def _pieces(forest: Sequence[Skeleton], longest: float) -> _Cable:
    """Cut all edges into equal pieces that are not longer than `longest`."""
    starts, ends, owners = [np.empty((0, 3))], [np.empty((0, 3))], [np.empty(0, np.int64)]
    for number, skeleton in enumerate(forest):
        nodes, parents = skeleton.edges[skeleton.lengths[skeleton.edges[:, 0]] > 0].T
        count = np.ceil(skeleton.lengths[nodes] / longest).astype(np.int64)
        edge = np.repeat(np.arange(len(nodes)), count)
        within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        origin = skeleton.coordinates[parents][edge]
        way = skeleton.coordinates[nodes][edge] - origin
        starts.append(origin + way * (within / count[edge])[:, None])
        ends.append(origin + way * ((within + 1) / count[edge])[:, None])
        owners.append(np.full(len(edge), number))
    start, end = np.concatenate(starts), np.concatenate(ends)
    length = np.linalg.norm(end - start, axis=1)
    return _Cable(start, end, length, np.concatenate(owners))


def _near(points: NDArray[np.float64], cable: _Cable, distance: float) -> NDArray[np.bool_]:
    """Say for each point whether it lies within a distance of any piece, exactly."""
    if not len(points) or not len(cable.length):
        return np.zeros(len(points), dtype=bool)
    reach = distance + float(cable.length.max()) / 2
    tree = cKDTree(cable.middle)
    nearest = tree.query(points, distance_upper_bound=reach * (1 + 1e-9))[0]
    near = np.asarray(nearest <= distance)
    # A midpoint lies on its piece, but a piece may come nearer than its midpoint.
    doubtful = np.flatnonzero(~near & np.isfinite(nearest))
    for first in range(0, len(doubtful), BATCH):
        which = doubtful[first : first + BATCH]
        lists = cKDTree(points[which]).query_ball_tree(tree, reach * (1 + 1e-9))
        count = np.asarray([len(found) for found in lists])
        index = np.concatenate([np.asarray(found, np.int64) for found in lists])
        gap = _distance(points[np.repeat(which, count)], cable.start[index], cable.end[index])
        near[np.repeat(which, count)[gap <= distance]] = True
    return near


def _near_by_owner(
    points: NDArray[np.float64], cable: _Cable, owners: int, distance: float
) -> NDArray[np.bool_]:
    """Return for each point and each tree whether they are within a distance: (points, owners)."""
    out = np.zeros((len(points), owners), dtype=bool)
    for owner in range(owners):
        own = cable.owner == owner
        part = _Cable(cable.start[own], cable.end[own], cable.length[own], cable.owner[own])
        if not len(part.length):
            continue
        low = np.minimum(part.start, part.end).min(axis=0) - distance
        high = np.maximum(part.start, part.end).max(axis=0) + distance
        around = ((points >= low) & (points <= high)).all(axis=1)
        out[around, owner] = _near(points[around], part, distance)
    return out


def _distance(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each point to its segment; all of shape (K, 3)."""
    way = end - start
    square = np.einsum("ij,ij->i", way, way)
    along = np.einsum("ij,ij->i", points - start, way) / np.where(square > 0, square, 1)
    foot = start + way * np.clip(along, 0, 1)[:, None]
    return np.linalg.norm(points - foot, axis=1)


def _share(part: float, whole: float) -> float:
    # Sums of the same pieces in another order may differ in the last digit.
    return min(1.0, part / whole) if whole > 0 else math.nan


def _harmonic(recall: float, precision: float) -> float:
    """Return the F1 score; an undefined side counts as 0 unless both are."""
    if math.isnan(recall) and math.isnan(precision):
        return math.nan
    if math.isnan(recall) or math.isnan(precision) or recall + precision == 0:
        return 0.0
    return 2 * recall * precision / (recall + precision)
