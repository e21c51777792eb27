"""Agreement of the critical nodes of trees: where they branch and where they end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.metrics.detection import match_points
from projectome.metrics.samples import check_distance, common_space

NodeKind = Literal["bifurcation", "termination"]


@dataclass(frozen=True, slots=True, eq=False)
class NodeMatch:
    """Agreement of N true with M traced nodes, K of them matched one to one.

    Attributes
    ----------
    truth, traced, matched
        N, M and K.
    recall
        K / N; NaN if there are no true nodes.
    precision
        K / M; NaN if there are no traced ones.
    f1
        2 K / (N + M); NaN if there are none at all.
    mean_error_um
        Mean distance of matched nodes [um]; NaN if there are none.
    missed
        Shape (N - K, 3), the true nodes without a match, (z, y, x) [um].
    false
        Shape (M - K, 3), the traced nodes without one.
    by_truth, by_traced
        Shape (skeletons, 2): of each true, or traced, skeleton its matched and all its nodes.
    """

    truth: int
    traced: int
    matched: int
    recall: float
    precision: float
    f1: float
    mean_error_um: float
    missed: NDArray[np.float64]
    false: NDArray[np.float64]
    by_truth: NDArray[np.int64]
    by_traced: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NodeScores:
    """Agreement of critical nodes.

    Attributes
    ----------
    bifurcations
        Nodes with three edges or more, matched among themselves.
    terminations
        Nodes with one edge, among themselves; a root at a tip is one.
    critical
        Both together: the sums of the two.
    distance_um
        Farthest that matched nodes lie apart [um].
    """

    bifurcations: NodeMatch
    terminations: NodeMatch
    critical: NodeMatch
    distance_um: float


class _Matched(NamedTuple):
    """Nodes of one kind: matched and all of each skeleton on both sides, gaps, and the rest."""

    truth: NDArray[np.int64]
    traced: NDArray[np.int64]
    gaps: NDArray[np.float64]
    missed: NDArray[np.float64]
    false: NDArray[np.float64]


def node_scores(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], *, distance_um: float
) -> NodeScores:
    """Match bifurcations with bifurcations and terminations with terminations.

    The matching is one to one, has the most pairs and, among those, the smallest sum of distances.
    Only nodes with an edge count.

    Parameters
    ----------
    truth, traced
        Trees, or forests, all in one space.
    distance_um
        Farthest that matched nodes may lie apart [um of that space], this distance included.

    Returns
    -------
    NodeScores
        Counts, shares, and the places of errors.

    Raises
    ------
    ParameterError
        If the distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    check_distance(distance_um)
    common_space(truth, traced)
    kinds: tuple[NodeKind, ...] = ("bifurcation", "termination")
    forks, tips = (_matched(truth, traced, kind, distance_um) for kind in kinds)
    both = _Matched(
        forks.truth + tips.truth,
        forks.traced + tips.traced,
        np.concatenate([forks.gaps, tips.gaps]),
        np.concatenate([forks.missed, tips.missed]),
        np.concatenate([forks.false, tips.false]),
    )
    return NodeScores(_scored(forks), _scored(tips), _scored(both), float(distance_um))


def critical_nodes(forest: Sequence[Skeleton], kind: NodeKind) -> NDArray[np.float64]:
    """Return where trees branch or end, shape (N, 3) [um]; nodes without an edge do neither."""
    return _nodes(forest, kind)[0]


def _nodes(
    forest: Sequence[Skeleton], kind: NodeKind
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return where trees branch or end, and of which skeleton each is."""
    parts = [np.empty((0, 3))]
    for skeleton in forest:
        here = skeleton.degree >= 3 if kind == "bifurcation" else skeleton.degree == 1
        parts.append(skeleton.coordinates[here])
    owner = np.repeat(np.arange(len(forest)), [len(part) for part in parts[1:]])
    return np.concatenate(parts), owner


def _matched(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], kind: NodeKind, distance: float
) -> _Matched:
    (a, of_a), (b, of_b) = _nodes(truth, kind), _nodes(traced, kind)
    scores = match_points(a, b, distance_um=distance)
    counts, alone = [], []
    for points, owner, size, mine in (
        (a, of_a, len(truth), scores.pairs[:, 0]),
        (b, of_b, len(traced), scores.pairs[:, 1]),
    ):
        hits = np.bincount(owner[mine], minlength=size)
        counts.append(np.stack([hits, np.bincount(owner, minlength=size)], axis=1))
        free = np.ones(len(points), bool)
        free[mine] = False
        alone.append(points[free])
    return _Matched(counts[0], counts[1], scores.distances, alone[0], alone[1])


def _scored(found: _Matched) -> NodeMatch:
    n, m = int(found.truth[:, 1].sum()), int(found.traced[:, 1].sum())
    hits = len(found.gaps)
    return NodeMatch(
        truth=n,
        traced=m,
        matched=hits,
        recall=hits / n if n else math.nan,
        precision=hits / m if m else math.nan,
        f1=2 * hits / (n + m) if n + m else math.nan,
        mean_error_um=float(found.gaps.sum()) / hits if hits else math.nan,
        missed=read_only(found.missed),
        false=read_only(found.false),
        by_truth=read_only(found.truth),
        by_traced=read_only(found.traced),
    )
