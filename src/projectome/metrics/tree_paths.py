"""Agreement of the paths of trees: connections, not only places.

Two figures. The optimal path score asks how far a walk from a root to a tip can be made in the
other forest without a break. The branching score, like that of the DIADEM challenge, asks for each
branching and each end whether it is there, at the right length of cable from where the tree came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.metrics.samples import check_distance, common_space, f1, share, subdivided
from projectome.morphology.nearest import Around, Cable


@dataclass(frozen=True, slots=True)
class PathScores:
    """How far walks along one forest can be made in another.

    Attributes
    ----------
    recall
        Over all walks from a root to a tip of the truth: sum of the longest unbroken stretches that
        the traced forest offers, over the sum of the lengths. A random walk, drawn in proportion to
        its length, is followed for this share of it. NaN without true cable.
    precision
        The same with the forests exchanged.
    f1
        Harmonic mean; 0 where one forest is empty, NaN where both are.
    truth_walks, traced_walks
        Number of walks: tips that are no roots.
    distance_um
        How far from a walk the other forest may run [um].
    by_truth, by_traced
        Shape (skeletons, 2): of the walks of each true, or traced, skeleton the length that could
        be followed, and all [um].
    """

    recall: float
    precision: float
    f1: float
    truth_walks: int
    traced_walks: int
    distance_um: float
    by_truth: NDArray[np.float64] = field(compare=False, repr=False)
    by_traced: NDArray[np.float64] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BranchingScores:
    """Weighted agreement of branchings and ends, with the paths that lead to them.

    Attributes
    ----------
    recall
        Sum of the weights of true nodes that were found, over the sum of all; the weight of a node
        is the number of tips beyond it (1 for a tip). NaN if there are none.
    precision
        The same with the forests exchanged.
    f1
        Harmonic mean; 0 where one forest has no such nodes, NaN where both have none.
    truth_nodes, truth_found, traced_nodes, traced_found
        Counts of nodes and of those found.
    distance_um
        Farthest that nodes may lie apart [um].
    by_truth, by_traced
        Shape (skeletons, 2): of each true, or traced, skeleton the weights of the nodes found, and
        of all.
    """

    recall: float
    precision: float
    f1: float
    truth_nodes: int
    truth_found: int
    traced_nodes: int
    traced_found: int
    distance_um: float
    by_truth: NDArray[np.float64] = field(compare=False, repr=False)
    by_traced: NDArray[np.float64] = field(compare=False, repr=False)


def path_scores(
    truth: Sequence[Skeleton], traced: Sequence[Skeleton], *, distance_um: float
) -> PathScores:
    """Follow every walk from a root to a tip of one forest in the other: optimal path score.

    A walk is sampled every half distance. At each sample the other forest offers the places on its
    edges within the distance; from one sample to the next the walk goes on if a place of the next
    can be reached from one of this along a tree of the other forest, by no more cable than the step
    and twice the distance. Of all ways to choose places the one with the longest unbroken stretch
    counts. Cable of different trees is never connected, however near it lies.

    Parameters
    ----------
    truth, traced
        Trees, or forests, all in one space. Where a tree has its root matters: walks begin there.
    distance_um
        How far from a walk the other forest may run [um of that space].

    Returns
    -------
    PathScores
        Known to a step (half the distance) at each break.

    Raises
    ------
    ParameterError
        If the distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.

    References
    ----------
    Citraro L., Kozinski M., Fua P. (2020), Towards reliable evaluation of algorithms for road
    network reconstruction from aerial images, ECCV (there OPT-P: the best path is looked for, not
    that between nearest points; here on trees, and by longest unbroken stretch).
    """
    check_distance(distance_um)
    common_space(truth, traced)
    there, n = _followed(truth, traced, distance_um)
    back, m = _followed(traced, truth, distance_um)
    recall, precision = _share(there), _share(back)
    return PathScores(
        recall, precision, f1(recall, precision), n, m, float(distance_um), there, back
    )


def branching_scores(
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    *,
    distance_um: float,
    path_tolerance: float = 0.1,
) -> BranchingScores:
    """Ask for each branching and each end whether it is there, and rightly connected.

    From the root outwards, a node is found if a branching or an end of the other forest lies within
    the distance, not yet taken by another node, to which the path from the place of an ancestor
    that was found, any of them, is as long as it should be: apart from the path tolerance and from
    what the two places are off. Of several the nearest is taken. A root is found where any cable of
    the other forest lies within the distance; the first node found of a tree whose root was not is
    judged by its place alone.

    Parameters
    ----------
    truth, traced
        Trees, or forests, all in one space.
    distance_um
        Farthest that nodes may lie apart [um of that space].
    path_tolerance
        Share by which the length of a path may be wrong.

    Returns
    -------
    BranchingScores
        Weighted shares and counts; roots are not counted.

    Raises
    ------
    ParameterError
        If the distance is not positive or the tolerance is negative.
    SpaceMismatchError
        If the trees lie in different spaces.

    References
    ----------
    Gillette T.A., Brown K.M., Ascoli G.A. (2011), The DIADEM metric: comparing multiple
    reconstructions of the same neuron, Neuroinformatics 9, 233-245. Other than there, distances are
    round, no node is found through a path that runs on without branching, and the excess of the
    reconstruction has a figure of its own (precision).
    """
    check_distance(distance_um)
    if not path_tolerance >= 0:
        raise ParameterError(f"path_tolerance is a share of 0 or more, not {path_tolerance!r}.")
    common_space(truth, traced)
    there, found, n = _branchings(truth, traced, distance_um, path_tolerance)
    back, right, m = _branchings(traced, truth, distance_um, path_tolerance)
    recall, precision = _share(there), _share(back)
    return BranchingScores(
        recall,
        precision,
        f1(recall, precision),
        n,
        found,
        m,
        right,
        float(distance_um),
        there,
        back,
    )


def _share(rows: NDArray[np.float64]) -> float:
    part, whole = rows.sum(axis=0).tolist()
    return share(part, whole)


@dataclass(frozen=True, slots=True, eq=False)
class _Forest:
    """All nodes of several skeletons, parents before children; edges named by distal nodes."""

    points: NDArray[np.float64]
    parent: NDArray[np.int64]
    depth: NDArray[np.float64]
    children: NDArray[np.int64]
    owner: NDArray[np.int64]
    cable: Cable
    distal: NDArray[np.int64]

    @classmethod
    def of(cls, skeletons: Sequence[Skeleton]) -> _Forest:
        offset = np.cumsum([0, *(len(skeleton) for skeleton in skeletons)])
        cable = Cable.of(skeletons)
        parts = [
            np.where(skeleton.parent < 0, -1, skeleton.parent + first)
            for skeleton, first in zip(skeletons, offset[:-1], strict=True)
        ]
        return cls(
            np.concatenate([np.empty((0, 3)), *(s.coordinates for s in skeletons)]),
            np.concatenate([np.empty(0, np.int64), *parts]),
            np.concatenate([np.empty(0), *(s.root_distance for s in skeletons)]),
            np.concatenate([np.empty(0, np.int64), *(s.child_count for s in skeletons)]),
            np.repeat(np.arange(len(skeletons)), np.diff(offset)),
            cable,
            offset[cable.owner] + cable.node if len(cable) else np.empty(0, np.int64),
        )

    def depths(self, around: Around) -> NDArray[np.float64]:
        """Return how far from its root each place lies along its tree, shape (K,)."""
        nodes = self.distal[around.segment]
        above = self.depth[self.parent[nodes]]
        return above + around.share * (self.depth[nodes] - above)


def _followed(
    walked: Sequence[Skeleton], offered: Sequence[Skeleton], distance: float
) -> tuple[NDArray[np.float64], int]:
    """Return for each skeleton how far its walks can be followed, and how many walks there are."""
    walks = _Forest.of([subdivided(skeleton, longest_um=distance / 2) for skeleton in walked])
    other = _Forest.of(offered)
    around = other.cable.within(walks.points, distance)
    best = _longest(
        walks.parent,
        walks.depth,
        around.first,
        other.distal[around.segment],
        other.depths(around),
        other.parent,
        other.depth,
        2 * distance,
    )
    tips = np.flatnonzero((walks.children == 0) & (walks.parent >= 0))
    return _by_skeleton(walks.owner[tips], best[tips], walks.depth[tips], len(walked)), len(tips)


def _by_skeleton(
    owner: NDArray[np.int64], part: NDArray[Any], whole: NDArray[Any], count: int
) -> NDArray[np.float64]:
    columns = (np.bincount(owner, each, minlength=count) for each in (part, whole))
    return read_only(np.stack(list(columns), axis=1).astype(np.float64))


def _branchings(
    sought: Sequence[Skeleton], offered: Sequence[Skeleton], distance: float, tolerance: float
) -> tuple[NDArray[np.float64], int, int]:
    """Return for each skeleton the weights of nodes found and of all, and the numbers of both."""
    a, b = _Forest.of(sought), _Forest.of(offered)
    degree = a.children + (a.parent >= 0)
    wanted = (a.parent >= 0) & (degree != 2)
    tips = _tips_beyond(a.parent, a.children)
    looked = wanted | (a.parent < 0)
    spots = np.flatnonzero(b.children + (b.parent >= 0) != 2)
    # A critical node as a segment without length: the same questions find it.
    nodes = Cable.from_segments(b.points[spots], b.points[spots], np.zeros_like(spots), spots)
    index = np.flatnonzero(looked)
    around = nodes.within(a.points[index], distance)
    first = np.zeros(len(a.parent) + 1, np.int64)
    first[index + 1] = np.diff(around.first)
    start = b.cable.nearest(a.points, limit_um=distance)
    home = np.where(start.segment >= 0, b.distal[start.segment], -1) if len(b.cable) else None
    above = np.full(len(a.parent), -1, np.int64) if home is None else home
    depths = np.zeros(len(a.parent))
    if home is not None:
        length = b.depth[above] - b.depth[b.parent[above]]
        depths = b.depth[above] - (1 - start.share) * length
    found = _found(
        a.parent, a.depth, wanted, np.cumsum(first), spots[around.segment], around.distance,
        b.parent, b.depth, above, depths, start.distance, tolerance,
    )  # fmt: skip
    weights = _by_skeleton(a.owner, tips * (wanted & found), tips * wanted, len(sought))
    return weights, int(found.sum()), int(wanted.sum())


@numba.njit(cache=True, nogil=True)
def _tips_beyond(parent: NDArray[np.int64], children: NDArray[np.int64]) -> NDArray[np.int64]:
    tips = np.zeros(len(parent), np.int64)
    for node in range(len(parent) - 1, -1, -1):
        if children[node] == 0:
            tips[node] = 1
        if parent[node] >= 0:
            tips[parent[node]] += tips[node]
    return tips


@numba.njit(cache=True, nogil=True)
def _cable_between(
    one: int,
    depth_one: float,
    two: int,
    depth_two: float,
    parent: NDArray[np.int64],
    depth: NDArray[np.float64],
    limit: float,
) -> float:
    """Return the length of cable between two places on edges; infinite beyond the limit.

    Each place is named by the distal node of its edge and its distance to the root along the tree.
    """
    a, b = one, two
    while a != b:
        if a > b:  # parents stand before their children: the later node is never the ancestor
            a = parent[a]
        else:
            b = parent[b]
        if a < 0 or b < 0 or depth_one - depth[a] > limit or depth_two - depth[b] > limit:
            return np.inf
    if a in (one, two):
        return abs(depth_one - depth_two)
    return depth_one + depth_two - 2 * depth[a]


@numba.njit(cache=True, nogil=True)
def _longest(
    walk_parent: NDArray[np.int64],
    walk_depth: NDArray[np.float64],
    first: NDArray[np.int64],
    place: NDArray[np.int64],
    place_depth: NDArray[np.float64],
    parent: NDArray[np.int64],
    depth: NDArray[np.float64],
    slack: float,
) -> NDArray[np.float64]:
    """Return for each sample the longest unbroken stretch on the walk from its root to it."""
    best = np.zeros(len(walk_parent))
    reached = np.zeros(len(place))
    for node in range(len(walk_parent)):
        above = walk_parent[node]
        if above < 0:
            continue
        step = walk_depth[node] - walk_depth[above]
        best[node] = best[above]
        for j in range(first[node], first[node + 1]):
            for i in range(first[above], first[above + 1]):
                if reached[i] + step <= reached[j]:
                    continue
                between = _cable_between(
                    place[i], place_depth[i], place[j], place_depth[j], parent, depth, step + slack
                )
                if between <= step + slack:
                    reached[j] = reached[i] + step
            best[node] = max(best[node], reached[j])
    return best


@numba.njit(cache=True, nogil=True)
def _found(
    parent: NDArray[np.int64],
    depth: NDArray[np.float64],
    wanted: NDArray[np.bool_],
    first: NDArray[np.int64],
    place: NDArray[np.int64],
    gap: NDArray[np.float64],
    other_parent: NDArray[np.int64],
    other_depth: NDArray[np.float64],
    home: NDArray[np.int64],
    home_depth: NDArray[np.float64],
    home_gap: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Say which nodes are found; `home` are the nearest places on cable, for roots."""
    n = len(parent)
    found = np.zeros(n, np.bool_)
    anchor = np.full(n, -1, np.int64)  # the nearest found ancestor of each node, or itself
    spot = np.full(n, -1, np.int64)
    spot_depth = np.zeros(n)
    spot_gap = np.zeros(n)
    taken = np.zeros(len(other_parent), np.bool_)
    for node in range(n):
        if parent[node] < 0:
            if home[node] >= 0:
                anchor[node], spot[node] = node, home[node]
                spot_depth[node], spot_gap[node] = home_depth[node], home_gap[node]
            continue
        anchor[node] = anchor[parent[node]]
        if not wanted[node]:
            continue
        for k in range(first[node], first[node + 1]):
            if taken[place[k]]:
                continue
            known = anchor[node]
            fits = known < 0
            while known >= 0 and not fits:
                path = depth[node] - depth[known]
                off = tolerance * path + gap[k] + spot_gap[known] + 1e-9
                there = _cable_between(
                    spot[known], spot_depth[known], place[k], other_depth[place[k]],
                    other_parent, other_depth, path + off,
                )  # fmt: skip
                fits = abs(there - path) <= off
                known = anchor[parent[known]] if parent[known] >= 0 else -1
            if not fits:
                continue
            found[node] = taken[place[k]] = True
            anchor[node], spot[node] = node, place[k]
            spot_depth[node], spot_gap[node] = other_depth[place[k]], gap[k]
            break
    return found
