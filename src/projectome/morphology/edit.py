"""Edits of skeletons: each returns a new one and leaves the given one as it was."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError


def prune(skeleton: Skeleton, *, min_length_um: float) -> Skeleton:
    """Remove short twigs, the shortest first.

    A twig runs from a tip to the next branching, or to the root where that is one. When a twig goes
    and its branching with it, the twig beside it grows longer before it is looked at again: of
    two short twigs at the end of a long branch one stays, as the end of the branch.

    Parameters
    ----------
    skeleton
        What to prune.
    min_length_um
        Twigs shorter than this go [um of the space].

    Returns
    -------
    Skeleton
        The nodes kept, in their order. Roots stay, and so does a tree that is one path: no tree is
        lost.

    Raises
    ------
    ParameterError
        If the length is not a number of 0 or more.
    """
    if not min_length_um >= 0:
        raise ParameterError(f"min_length_um is 0 or more micrometres, not {min_length_um!r}.")
    parent, children = skeleton.parent.tolist(), skeleton.child_count.tolist()
    steps = skeleton.lengths.tolist()

    def twig(tip: int) -> tuple[float, int]:
        length, node = steps[tip], parent[tip]
        while children[node] == 1 and parent[node] >= 0:
            length += steps[node]
            node = parent[node]
        return length, node

    tips = np.flatnonzero((skeleton.child_count == 0) & (skeleton.parent >= 0)).tolist()
    queue = [(twig(tip)[0], tip) for tip in tips]
    heapq.heapify(queue)
    keep = np.ones(len(skeleton), dtype=bool)
    while queue and queue[0][0] < min_length_um:
        was, tip = heapq.heappop(queue)
        length, top = twig(tip)
        if children[top] == 1:  # the last path of its tree
            continue
        if length > was:
            heapq.heappush(queue, (length, tip))
            continue
        children[top] -= 1
        node = tip
        while node != top:
            keep[node] = False
            node = parent[node]
    return skeleton.take(keep)


def resample(skeleton: Skeleton, *, step_um: float) -> Skeleton:
    """Set nodes at even distances along each segment.

    Ends, branches and roots stay where they are. The new nodes lie on the old cable, so that the
    cable never gets longer, and at most `step_um` apart along it. Radii are interpolated; a node
    has the type of the edge it lies on.

    Parameters
    ----------
    skeleton
        What to resample.
    step_um
        Largest distance along the cable between two nodes [um of the space].

    Raises
    ------
    ParameterError
        If the step is not positive.
    """
    if not (np.isfinite(step_um) and step_um > 0):
        raise ParameterError(f"step_um is a positive number of micrometres, not {step_um!r}.")
    n = len(skeleton)
    radius = np.full(n, np.nan, np.float32) if skeleton.radius is None else skeleton.radius
    kind = np.zeros(n, np.int32) if skeleton.kind is None else skeleton.kind
    stops = (skeleton.child_count != 1) | (skeleton.parent < 0)
    count = _count_samples(skeleton.parent, skeleton.lengths, stops, step_um)
    positions, radii, kinds, parent = _resample(
        skeleton.coordinates, skeleton.parent, skeleton.lengths, stops, radius, kind, count
    )
    return Skeleton(
        positions,
        parent,
        skeleton.space,
        None if skeleton.radius is None else radii,
        None if skeleton.kind is None else kinds,
    )


def smooth(skeleton: Skeleton, *, rounds: int = 1) -> Skeleton:
    """Even out the steps of a path through voxels; the cable never gets longer.

    Each round moves every node with two edges to the mean, weighted 1 : 2 : 1, of itself and its
    neighbours. Ends, branches and roots stay where they are.

    Raises
    ------
    ParameterError
        If the number of rounds is negative.
    """
    if rounds < 0:
        raise ParameterError(f"Smoothing takes 0 or more rounds, not {rounds!r}.")
    inner = np.flatnonzero((skeleton.child_count == 1) & (skeleton.parent >= 0))
    above = skeleton.parent[inner]
    child = np.empty(len(skeleton), np.int64)
    nodes, parents = skeleton.edges.T
    child[parents] = nodes
    positions = skeleton.coordinates.copy()
    for _ in range(rounds):
        neighbours = positions[above] + positions[child[inner]]
        positions[inner] = 0.5 * positions[inner] + 0.25 * neighbours
    return replace(skeleton, coordinates=positions)


def reroot(skeleton: Skeleton, node: int) -> Skeleton:
    """Make a node the root of its tree.

    Parameters
    ----------
    skeleton
        The forest.
    node
        Index of the new root.

    Returns
    -------
    Skeleton
        Nodes reordered as by `Skeleton.from_parents`.

    Raises
    ------
    ParameterError
        If there is no such node.
    """
    _check_nodes(skeleton, node)
    return _with_parents(skeleton, _turned(skeleton.parent, node))


def join(skeleton: Skeleton, node: int, other: int) -> Skeleton:
    """Join two trees by an edge between a node of each.

    Parameters
    ----------
    skeleton
        The forest.
    node, other
        Indices of two nodes of different trees. The root of the tree of `node` stays; that of
        `other` is no longer one.

    Returns
    -------
    Skeleton
        Nodes reordered as by `Skeleton.from_parents`.

    Raises
    ------
    ParameterError
        If there is no such node, or both are in one tree.
    """
    _check_nodes(skeleton, node, other)
    if skeleton.tree[node] == skeleton.tree[other]:
        raise ParameterError(
            f"Nodes {node} and {other} are in one tree; an edge would close a loop. Split it first."
        )
    parent = _turned(skeleton.parent, other)
    parent[other] = node
    return _with_parents(skeleton, parent)


def split(skeleton: Skeleton, node: int) -> Skeleton:
    """Cut the edge between a node and its parent; the node becomes a root.

    Raises
    ------
    ParameterError
        If there is no such node, or it is a root already.
    """
    _check_nodes(skeleton, node)
    if skeleton.parent[node] < 0:
        raise ParameterError(f"Node {node} is a root: there is no edge above it to cut.")
    parent = skeleton.parent.copy()
    parent[node] = -1
    return replace(skeleton, parent=parent)


def _check_nodes(skeleton: Skeleton, *nodes: int) -> None:
    for node in nodes:
        if not 0 <= node < len(skeleton):
            raise ParameterError(
                f"There is no node {node}: the skeleton has the nodes 0 to {len(skeleton) - 1}."
            )


def _turned(parent: NDArray[np.int64], node: int) -> NDArray[np.int64]:
    """Return parents with the path from `node` to its root turned round."""
    turned = parent.copy()
    above, current = -1, node
    while current >= 0:
        turned[current], above, current = above, current, int(parent[current])
    return turned


def _with_parents(skeleton: Skeleton, parent: NDArray[np.int64]) -> Skeleton:
    return Skeleton.from_parents(
        skeleton.coordinates, parent, skeleton.space, radius=skeleton.radius, kind=skeleton.kind
    )


@numba.njit(cache=True, nogil=True)
def _count_samples(
    parent: NDArray[np.int64], lengths: NDArray[np.float64], stops: NDArray[np.bool_], step: float
) -> NDArray[np.int64]:
    """Return into how many steps the segment above each stop is cut; 0 at roots and inner nodes."""
    count = np.zeros(len(parent), np.int64)
    for tip in range(len(parent)):
        if stops[tip] and parent[tip] >= 0:
            length, node = lengths[tip], parent[tip]
            while not stops[node]:
                length += lengths[node]
                node = parent[node]
            count[tip] = max(1, int(np.ceil(length / step)))
    return count


@numba.njit(cache=True, nogil=True)
def _resample(
    coordinates: NDArray[np.float64],
    parent: NDArray[np.int64],
    lengths: NDArray[np.float64],
    stops: NDArray[np.bool_],
    radius: NDArray[np.float32],
    kind: NDArray[np.int32],
    count: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Return coordinates, radii, types and parents of the nodes that `_count_samples` counted."""
    n = len(parent)
    size = count.sum() + (parent < 0).sum()
    positions = np.empty((size, 3))
    radii = np.empty(size, np.float32)
    kinds = np.empty(size, np.int32)
    above = np.empty(size, np.int64)
    place = np.empty(n, np.int64)  # of each stop among the new nodes
    run = np.empty(n, np.int64)
    filled = 0
    for tip in range(n):
        if not stops[tip]:
            continue
        if parent[tip] >= 0:
            m, node = 0, tip
            while True:
                run[m] = node
                m += 1
                node = parent[node]
                if stops[node]:
                    break
            total = 0.0
            for i in range(m):
                total += lengths[run[i]]
            # Walk from the proximal stop outwards; edge i leads to run[i].
            i, start, last = m - 1, 0.0, place[node]
            for k in range(1, count[tip]):
                goal = total * k / count[tip]
                while i > 0 and start + lengths[run[i]] < goal:
                    start += lengths[run[i]]
                    i -= 1
                far, near = run[i], parent[run[i]]
                share = min(1.0, (goal - start) / lengths[far]) if lengths[far] > 0 else 1.0
                for axis in range(3):
                    a, b = coordinates[near, axis], coordinates[far, axis]
                    positions[filled, axis] = a + share * (b - a)
                radii[filled] = radius[near] + share * (radius[far] - radius[near])
                kinds[filled] = kind[far]
                above[filled] = last
                last = filled
                filled += 1
            above[filled] = last
        else:
            above[filled] = -1
        positions[filled] = coordinates[tip]
        radii[filled] = radius[tip]
        kinds[filled] = kind[tip]
        place[tip] = filled
        filled += 1
    return positions, radii, kinds, above
