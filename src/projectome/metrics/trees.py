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

from projectome.core.skeleton import Skeleton
from projectome.metrics.samples import Samples, check_distance, common_space, cut, f1, share
from projectome.morphology.nearest import Cable


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
    check_distance(distance_um)
    common_space(truth, traced)
    return _scores(*_gaps(truth, traced, distance_um, distance_um), distance_um)


def length_curve(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], *, distances_um: Sequence[float]
) -> list[LengthScores]:
    """Compare two forests by length at several distances.

    Parameters
    ----------
    truth, traced
        As in `length_scores`.
    distances_um
        Matching distances [um]; the smallest says how finely the cable is cut for all of them.

    Returns
    -------
    list of LengthScores
        One a distance, in their order. Recall and precision never fall as the distance grows.

    Raises
    ------
    ParameterError
        If a distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    for distance in distances_um:
        check_distance(distance, "A matching distance")
    common_space(truth, traced)
    if not len(distances_um):
        return []
    sides = _gaps(truth, traced, min(distances_um), max(distances_um))
    return [_scores(*sides, distance) for distance in distances_um]


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
    check_distance(distance_um)
    common_space(truth, traced)
    a, b = (cut(forest, longest_um=distance_um / 4) for forest in (truth, traced))
    hits = _near_each(a.points, traced, distance_um)
    back = _near_each(b.points, truth, distance_um)
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
                covered=share(covered, total),
                best=best,
                best_covered=share(float(by_tree[best]) if best >= 0 else 0.0, total),
                best_purity=share(pure, float(traced_um[best])) if best >= 0 else math.nan,
                pieces=int((by_tree >= 0.05 * total).sum()) if total > 0 else 0,
            )
        )
    return scores


def _gaps(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], finest: float, farthest: float
) -> tuple[Samples, NDArray[np.float64], Samples, NDArray[np.float64]]:
    """Return the pieces of both forests, each with their distances to the other."""
    a, b = (cut(forest, longest_um=finest / 4) for forest in (truth, traced))
    there = Cable.of(traced).nearest(a.points, limit_um=farthest).distance
    back = Cable.of(truth).nearest(b.points, limit_um=farthest).distance
    return a, there, b, back


def _scores(
    a: Samples,
    there: NDArray[np.float64],
    b: Samples,
    back: NDArray[np.float64],
    distance: float,
) -> LengthScores:
    matched_truth = float(a.length[there <= distance].sum())
    matched_traced = float(b.length[back <= distance].sum())
    truth_um, traced_um = float(a.length.sum()), float(b.length.sum())
    recall, precision = share(matched_truth, truth_um), share(matched_traced, traced_um)
    return LengthScores(
        recall=recall,
        precision=precision,
        f1=f1(recall, precision),
        truth_um=truth_um,
        traced_um=traced_um,
        matched_truth_um=matched_truth,
        matched_traced_um=matched_traced,
        distance_um=float(distance),
    )


def _near_each(
    points: NDArray[np.float64], forest: Sequence[Skeleton], distance: float
) -> NDArray[np.bool_]:
    """Return for each point and each skeleton whether they are within a distance: (P, trees)."""
    out = np.zeros((len(points), len(forest)), dtype=bool)
    for number, skeleton in enumerate(forest):
        out[:, number] = Cable.of([skeleton]).nearest(points, limit_um=distance).segment >= 0
    return out
