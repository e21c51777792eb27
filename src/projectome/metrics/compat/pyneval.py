"""Scores of two trees exactly as PyNeval 1.1 gives them: its metrics length, ssd and cn.

Its diadem is in `compat.diadem`.

Habits, each with the case that shows it; the metrics in brackets have none of them:

- length (`trees.length_scores`): an edge of the truth matches as a whole or not at all, where both
  its ends lie within twice the RADIUS of their nodes from edges of the trace, and the path between
  the two places is as long as the edge but for 20 %. A wrong radius changes the score, and so does
  the density of nodes (a true edge of 100 with a trace of which 60 are missing counts nothing; cut
  into ten edges, four count).
- length: a piece of traced cable can be used once only, in the order in which the file is walked;
  the other is no match. A thousandth of an edge is let go at the end of each use.
- length: which of several edges at exactly the same distance is used, as at every node, depends on
  how its spatial index happens to store them. Here it is the one walked first: of 50 pairs of trees
  48 came out the same to three decimals, two differed by up to 0.005 in precision.
- ssd (`tree_distance.distance_scores`): distances of nodes to nodes, after nodes were set every 2
  units or less (but never nearer than 1 to 2 units: a floor), the nearest being looked for among
  coordinates rounded to two decimals. A trace that lies between the nodes of the truth is apart.
- ssd: each node weighs the same; a direction without nodes apart counts as 0.
- cn (`tree_nodes.node_scores`): branchings may be matched with ends; of the largest matchings
  not the nearest is taken but the first that is found, which is why ``mean_dis`` depends on the
  order of nodes.
- cn: a division by zero where there is no match, or no critical node; here NaN.
- all: coordinates in the unit of the file, whatever it is.

Edges shorter than 0.0003 units stop the program itself; here they are looked at like others.

References
----------
Zhang H. et al. (2022), PyNeval: a Python toolbox for evaluating neuron reconstruction performance,
Frontiers in Neuroinformatics 15, 767936.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.metrics.samples import check_distance, common_space
from projectome.morphology.nearest import Cable

LET_GO = 0.001
"""Share of an edge that is not marked as used at the end of a match."""

# Parts of edges that are used, a linked list an edge: its first entry, then of each entry its
# start, its stop and the next entry, and how many entries there are.
Parts: TypeAlias = tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]


def length_metric(
    truth: Skeleton,
    traced: Skeleton,
    *,
    radius_threshold: float = 2.0,
    relative: bool = True,
    length_threshold: float = 0.2,
) -> dict[str, float]:
    """Return what ``--metric length`` gives.

    Parameters
    ----------
    truth, traced
        Trees or forests in one space.
    radius_threshold
        How far edges of the trace may lie from the ends of a true edge: so many radii of the node,
        or units where not `relative` (its configuration ``radius_mode`` 1 or 2).
    relative
        Whether the threshold is in radii.
    length_threshold
        Share of the length of a true edge by which the path may differ.

    Returns
    -------
    dict
        ``recall``, ``precision`` and ``f1_score``, rounded to eight decimals as there.

    Raises
    ------
    ParameterError
        If radii are needed and not known, or a threshold is negative.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    common_space([truth, traced])
    if not (radius_threshold >= 0 and length_threshold >= 0):
        raise ParameterError(
            f"Thresholds are 0 or more, not {radius_threshold!r} and {length_threshold!r}."
        )
    reach = np.full(len(truth), float(radius_threshold))
    if relative:
        if truth.radius is None or not np.isfinite(truth.radius).all():
            raise ParameterError(
                "PyNeval measures in radii of the true nodes, and some are not known; give a "
                "distance with relative=False."
            )
        reach = radius_threshold * np.maximum(truth.radius.astype(np.float64), 0)
    cable = Cable.of([traced])
    around = cable.within(truth.coordinates, reach)
    # Of edges at the same distance the one that its index was given first tends to come first.
    place, rank = cable.node[around.segment], np.empty(len(traced), np.int64)
    rank[walk(traced)] = np.arange(len(traced))
    point = np.repeat(np.arange(len(truth)), np.diff(around.first))
    order = np.lexsort((rank[place], around.distance, point))
    matched, found = _matched_lengths(
        walk(truth),
        truth.parent,
        truth.lengths,
        around.first,
        place[order],
        around.share[order],
        traced.parent,
        traced.lengths,
        traced.root_distance,
        length_threshold,
    )
    recall, precision = (
        min(1.0, round(round(part, 8) / round(whole, 8), 8)) if round(whole, 8) else 0.0
        for part, whole in ((matched, truth.cable_length), (found, traced.cable_length))
    )
    return {"recall": recall, "precision": precision, "f1_score": _f1(recall, precision)}


def ssd_metric(
    truth: Skeleton, traced: Skeleton, *, ssd_threshold: float = 2.0, up_sample: float = 2.0
) -> dict[str, float]:
    """Return what ``--metric ssd`` gives.

    Parameters
    ----------
    truth, traced
        Trees or forests in one space.
    ssd_threshold
        From which distance on nodes lie apart.
    up_sample
        Edges of at least twice this length get nodes in between.

    Returns
    -------
    dict
        ``ssd_score``, ``recall``, ``precision`` and ``f1_score``; NaN where a tree has no node.

    Raises
    ------
    ParameterError
        If a threshold is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    common_space([truth, traced])
    check_distance(ssd_threshold, "ssd_threshold")
    check_distance(up_sample, "up_sample")
    a, b = _upsampled(truth, up_sample), _upsampled(traced, up_sample)
    if not (len(a) and len(b)):
        return dict.fromkeys(("ssd_score", "recall", "precision", "f1_score"), float("nan"))
    scores, shares = [], []
    for points, others in ((a, b), (b, a)):
        gaps = _node_gaps(points, others)
        apart = gaps >= ssd_threshold
        scores.append(float(gaps[apart].mean()) if apart.any() else 0.0)
        shares.append(1 - float(apart.sum()) / len(points))
    recall, precision = shares
    return {
        "ssd_score": sum(scores) / 2,
        "recall": recall,
        "precision": precision,
        "f1_score": _f1(recall, precision),
    }


def critical_node_metric(
    truth: Skeleton, traced: Skeleton, *, distance_threshold: float = 2.0, critical_type: int = 1
) -> dict[str, float]:
    """Return what ``--metric cn`` gives.

    Parameters
    ----------
    truth, traced
        Trees or forests in one space.
    distance_threshold
        Farthest that matched nodes may lie apart.
    critical_type
        1 for branchings and ends, 2 for ends, 3 for branchings.

    Returns
    -------
    dict
        ``gold_len``, ``test_len``, ``true_pos_num``, ``false_neg_num``, ``false_pos_num``,
        ``mean_dis``, ``tot_dis``, ``precision``, ``recall`` and ``f1_score``.

    Raises
    ------
    ParameterError
        If the threshold is negative, or there is no such type.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    common_space([truth, traced])
    if critical_type not in (1, 2, 3):
        raise ParameterError(f"critical_type is 1, 2 or 3, not {critical_type!r}.")
    if not distance_threshold >= 0:
        raise ParameterError(f"distance_threshold is 0 or more, not {distance_threshold!r}.")
    a, b = _critical(truth, critical_type), _critical(traced, critical_type)
    found = cKDTree(a).query_ball_tree(cKDTree(b), distance_threshold) if len(a) and len(b) else []
    partner = _first_matching([sorted(each) for each in found], len(b))
    mine = np.flatnonzero(np.asarray(partner, np.int64) >= 0)
    theirs = np.asarray(partner, np.int64)[mine]
    total = float(np.linalg.norm(a[mine] - b[theirs], axis=1).sum())
    hits, nan = len(mine), float("nan")
    recall = hits / len(a) if len(a) else nan
    precision = hits / len(b) if len(b) else nan
    return {
        "gold_len": len(a),
        "test_len": len(b),
        "true_pos_num": hits,
        "false_neg_num": len(a) - hits,
        "false_pos_num": len(b) - hits,
        "mean_dis": total / hits if hits else nan,
        "tot_dis": total,
        "precision": precision,
        "recall": recall,
        "f1_score": 2 * precision * recall / (precision + recall) if hits else nan,
    }


def walk(tree: Skeleton) -> NDArray[np.int64]:
    """Return nodes as PyNeval walks them: from the last root on, the last child first."""
    return np.asarray(_walk(tree.parent))


@numba.njit(cache=True, nogil=True)
def _walk(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    n = len(parent)
    last = np.full(n + 1, -1, np.int64)  # the last child of each; of no node, the last root
    before = np.full(n, -1, np.int64)
    for node in range(n):
        before[node], last[parent[node]] = last[parent[node]], node
    order = np.empty(n, np.int64)
    node = last[n]
    for k in range(n):
        order[k] = node
        if last[node] >= 0:
            node = last[node]
            continue
        while before[node] < 0 and parent[node] >= 0:
            node = parent[node]
        node = before[node]
    return order


def _f1(recall: float, precision: float) -> float:
    return 2 * recall * precision / (recall + precision) if recall or precision else 0.0


def _upsampled(tree: Skeleton, longest: float) -> NDArray[np.float64]:
    """Return the nodes, and those between them."""
    count = np.floor(tree.lengths / longest).astype(np.int64)
    extra = np.maximum(count - 1, 0)
    edge = np.repeat(np.arange(len(tree)), extra)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(extra) - extra, extra) + 1
    start, stop = tree.coordinates[edge], tree.coordinates[tree.parent[edge]]
    between = start + (stop - start) * (within / count[edge])[:, None]
    return np.concatenate([tree.coordinates, between])


def _node_gaps(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return distances to the nodes whose rounded coordinates are nearest to the rounded ones."""
    _, nearest = cKDTree(np.round(others, 2)).query(np.round(points, 2))
    return np.linalg.norm(points - others[nearest], axis=1)


def _critical(tree: Skeleton, kind: int) -> NDArray[np.float64]:
    order = walk(tree)
    degree = tree.degree[order]
    parts = [np.empty(0, np.int64)]
    if kind != 2:
        parts.append(order[degree >= 3])
    if kind != 3:
        parts.append(order[degree <= 1])
    return tree.coordinates[np.concatenate(parts)]


def _first_matching(candidates: list[list[int]], others: int) -> list[int]:
    """Return the partner of each by augmenting paths, free partners first, in rounds."""
    partner, taken = [-1] * len(candidates), [-1] * others
    while True:
        seen = [False] * len(candidates)
        grown = False
        for start in range(len(candidates)):
            if partner[start] < 0 and _augment(start, candidates, partner, taken, seen):
                grown = True
        if not grown:
            return partner


def _augment(
    start: int,
    candidates: list[list[int]],
    partner: list[int],
    taken: list[int],
    seen: list[bool],
) -> bool:
    """Find a partner by moving others on, depth first; without recursion."""
    path: list[tuple[int, int]] = []
    stack = [(start, iter(candidates[start]))]
    seen[start] = True
    while stack:
        node, rest = stack[-1]
        free = next((c for c in candidates[node] if taken[c] < 0), -1)
        if free >= 0:
            for one, other in [*path, (node, free)]:
                partner[one], taken[other] = other, one
            return True
        for choice in rest:
            holder = taken[choice]
            if not seen[holder]:
                seen[holder] = True
                path.append((node, choice))
                stack.append((holder, iter(candidates[holder])))
                break
        else:
            stack.pop()
            if path:
                path.pop()
    return False


@numba.njit(cache=True, nogil=True)
def _meeting(
    a: int, b: int, parent: NDArray[np.int64], depth: NDArray[np.float64], low: float
) -> int:
    """Return the last common ancestor of two nodes; -1 if there is none at `low` or deeper."""
    while a != b:
        if a > b:
            a = parent[a]
        else:
            b = parent[b]
        if a < 0 or b < 0 or depth[max(a, b)] < low:
            return -1
    return a


@numba.njit(cache=True, nogil=True)
def _is_free(edge: int, low: float, high: float, used: NDArray[np.bool_], parts: Parts) -> bool:
    """Say whether a part of an edge meets none of the parts that are used (both closed)."""
    head, starts, stops, following, _ = parts
    if used[edge]:
        return False
    if low > high:
        return True
    entry = head[edge]
    while entry >= 0:
        one, two = starts[entry], stops[entry]
        if one != two and low != high and one <= high and low <= two:
            return False
        entry = following[entry]
    return True


@numba.njit(cache=True, nogil=True)
def _use(edge: int, low: float, high: float, parts: Parts) -> None:
    head, starts, stops, following, filled = parts
    if low < high:
        entry = filled[0]
        starts[entry], stops[entry], following[entry] = low, high, head[edge]
        head[edge] = entry
        filled[0] = entry + 1


@numba.njit(cache=True, nogil=True)
def _claim(
    ends: tuple[int, int],
    shares: tuple[float, float],
    meeting: int,
    parent: NDArray[np.int64],
    used: NDArray[np.bool_],
    parts: Parts,
) -> bool:
    """Use the path between places on two edges, unless a part of it is used; say whether it was.

    Shares are counted from the distal nodes; the path leads over the node `meeting`.
    """
    if ends[0] == ends[1]:
        low, high = min(shares), max(shares) - LET_GO
        if not _is_free(ends[0], low, high, used, parts):
            return False
        _use(ends[0], low, high, parts)
        return True
    for k in range(2):
        low, high = (0.0, shares[k]) if ends[k] == meeting else (shares[k], 1.0)
        if not _is_free(ends[k], low, high - LET_GO, used, parts):
            return False
        on = meeting if ends[k] == meeting else parent[ends[k]]
        while on != meeting:
            if used[on] or parts[0][on] >= 0:
                return False
            on = parent[on]
    for k in range(2):
        low, high = (0.0, shares[k]) if ends[k] == meeting else (shares[k], 1.0)
        _use(ends[k], low, high - LET_GO, parts)
        on = meeting if ends[k] == meeting else parent[ends[k]]
        while on != meeting:
            used[on] = True
            on = parent[on]
    return True


@numba.njit(cache=True, nogil=True)
def _matched_lengths(
    order: NDArray[np.int64],
    parent: NDArray[np.int64],
    lengths: NDArray[np.float64],
    first: NDArray[np.int64],
    place: NDArray[np.int64],
    share: NDArray[np.float64],
    other_parent: NDArray[np.int64],
    other_lengths: NDArray[np.float64],
    depth: NDArray[np.float64],
    tolerance: float,
) -> tuple[float, float]:
    """Return the matched length of the truth, and that of the paths it was matched with."""
    used = np.zeros(len(other_parent), np.bool_)  # edges that are part of a path as a whole
    parts = (
        np.full(len(other_parent), -1, np.int64),
        np.empty(2 * len(order)),
        np.empty(2 * len(order)),
        np.empty(2 * len(order), np.int64),
        np.zeros(1, np.int64),
    )
    matched = found = 0.0
    for node in order:
        above = parent[node]
        done = above < 0
        for i in range(first[node], first[node + 1]):
            if done:
                break
            for j in range(first[above], first[above + 1]):
                a, b = place[i], place[j]
                off_a = (1 - share[i]) * other_lengths[a]  # from the distal ends of the edges
                off_b = (1 - share[j]) * other_lengths[b]
                path, meeting = abs(off_a - off_b), a
                if a != b:
                    at_a, at_b = depth[a] - off_a, depth[b] - off_b
                    low = min(at_a, at_b) - lengths[node] * (1 + tolerance) - 1e-6
                    low -= max(other_lengths[a], other_lengths[b])
                    meeting = _meeting(a, b, other_parent, depth, low)
                    if meeting < 0:
                        continue
                    path = off_a if a == meeting else at_a - depth[meeting]
                    path += off_b if b == meeting else at_b - depth[meeting]
                if not abs(path - lengths[node]) < tolerance * lengths[node]:
                    continue
                shares = (off_a / other_lengths[a], off_b / other_lengths[b])
                if _claim((a, b), shares, meeting, other_parent, used, parts):
                    matched += lengths[node]
                    found += path
                    done = True
                    break
    return matched, found
