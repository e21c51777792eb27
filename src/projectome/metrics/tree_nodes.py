"""Agreement of the critical nodes of trees: where they branch and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.metrics.detection import DetectionScores, match_points
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
    sides = []
    kinds: tuple[NodeKind, ...] = ("bifurcation", "termination")
    for kind in kinds:
        a, b = critical_nodes(truth, kind), critical_nodes(traced, kind)
        sides.append((a, b, match_points(a, b, distance_um=distance_um)))
    return NodeScores(
        bifurcations=_match(sides[:1]),
        terminations=_match(sides[1:]),
        critical=_match(sides),
        distance_um=float(distance_um),
    )


def critical_nodes(forest: Sequence[Skeleton], kind: NodeKind) -> NDArray[np.float64]:
    """Return where trees branch or end, shape (N, 3) [um]; nodes without an edge do neither."""
    parts = [np.empty((0, 3))]
    for skeleton in forest:
        here = skeleton.degree >= 3 if kind == "bifurcation" else skeleton.degree == 1
        parts.append(skeleton.coordinates[here])
    return np.concatenate(parts)


Side = tuple[NDArray[np.float64], NDArray[np.float64], DetectionScores]


def _match(sides: Sequence[Side]) -> NodeMatch:
    """Return the figures of one kind, or of several together."""
    n = sum(len(a) for a, _, _ in sides)
    m = sum(len(b) for _, b, _ in sides)
    gaps = np.concatenate([scores.distances for _, _, scores in sides])
    hits = len(gaps)
    return NodeMatch(
        truth=n,
        traced=m,
        matched=hits,
        recall=hits / n if n else float("nan"),
        precision=hits / m if m else float("nan"),
        f1=2 * hits / (n + m) if n + m else float("nan"),
        mean_error_um=float(gaps.mean()) if hits else float("nan"),
        missed=read_only(
            np.concatenate([np.delete(a, scores.pairs[:, 0], axis=0) for a, _, scores in sides])
        ),
        false=read_only(
            np.concatenate([np.delete(b, scores.pairs[:, 1], axis=0) for _, b, scores in sides])
        ),
    )
