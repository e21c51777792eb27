"""One forest from the skeletons of blocks.

Notation: N nodes, T trees. All is done on nodes alone, so that the driver never needs voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

from projectome.core.affine import Affine
from projectome.core.box import Triple
from projectome.core.skeleton import Skeleton
from projectome.errors import ShapeError
from projectome.morphology.edit import prune
from projectome.tracing.skeletonise import check_lengths, oriented

SEAM = 0.5
"""Share of the constant by which dead ends between blocks have to leave the region of a path. With
the whole of it real volumes lose up to a tenth of their cable, with none they gain as much."""
BATCH = 100_000
"""Nodes whose neighbours are looked up at once."""


def stitch(
    nodes: Mapping[str, Any],
    *,
    shape: Triple,
    affine: Affine,
    scale: float,
    constant_um: float,
    min_tick_um: float = 0.0,
    min_length_um: float = 0.0,
) -> tuple[Skeleton, NDArray[np.uint64]]:
    """Return one forest from the nodes of all blocks.

    Nodes of neighbouring blocks that lie in one voxel become one node. Loops are broken at their
    thinnest edge. Dead ends at the planes between blocks, and those that broken loops leave, stay
    only where they lead away from all other paths (see `leading_paths`, and `SEAM`). Only then
    are ticks and short trees removed.

    Parameters
    ----------
    nodes
        The columns that `trace_block` returns, of all blocks, in any order.
    shape
        Voxels an axis of the volume.
    affine
        Its grid: voxels to micrometres.
    scale, constant_um
        Those that the blocks were traced with.
    min_tick_um
        Twigs shorter than this are removed [um].
    min_length_um
        Trees with less cable are removed [um]; a tree of one node has none.

    Returns
    -------
    Skeleton
        Trees rooted at a tip, in the order of the first voxel of each, whatever the order and the
        size of the blocks.
    numpy.ndarray of uint64
        Shape (T,): the label of each tree. A label has a tree for each of its components.

    Raises
    ------
    ParameterError
        If a parameter is negative or not finite.
    ShapeError
        If a node is joined to a voxel that is none.
    """
    check_lengths(scale=scale, constant_um=constant_um)
    check_lengths(min_tick_um=min_tick_um, min_length_um=min_length_um)
    voxel, label, radius, edges = _merged(nodes)
    ends = np.asarray(nodes["voxel"])[np.asarray(nodes["end"], dtype=bool)]
    position = affine(np.stack(np.unravel_index(voxel, shape), axis=1))
    edges = edges[_widest_forest(position, radius, edges)]
    parent, _ = oriented(len(voxel), edges, np.ones(len(voxel), dtype=bool))
    forest = Skeleton.from_parents(position, parent, affine.target, radius=radius)
    forest = rooted_at_tips(forest)
    near = math.sqrt(sum(size**2 for size in affine.voxel_size))
    end = np.isin(_voxels(forest.coordinates, affine, shape), ends)
    keep = leading_paths(forest, end, scale=scale, constant_um=SEAM * constant_um, near_um=near)
    forest = forest.take(keep)
    if min_tick_um > 0:
        forest = prune(forest, min_length_um=min_tick_um)
    cable = np.bincount(forest.tree, weights=forest.lengths, minlength=len(forest.roots))
    forest = forest.take((cable >= min_length_um)[forest.tree])
    roots = _voxels(forest.coordinates[forest.roots], affine, shape)
    return forest, label[np.searchsorted(voxel, roots)]


def _voxels(position: NDArray[np.float64], affine: Affine, shape: Triple) -> NDArray[np.int64]:
    """Return the voxels with these centres, by their place in C order."""
    index = np.rint(affine.inverse()(position)).astype(np.int64)
    return np.asarray(np.ravel_multi_index(tuple(index.T), shape))


def _merged(
    nodes: Mapping[str, Any],
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32], NDArray[np.int64]]:
    """Return voxel, label and radius of each node once, by voxel, and the edges between them.

    Blocks that know more of an object's surroundings find nearer voxels outside it: of two radii
    the smaller one is right.
    """
    voxel = np.asarray(nodes["voxel"], dtype=np.int64)
    parent = np.asarray(nodes["parent"], dtype=np.int64)
    found, first, place = np.unique(voxel, return_index=True, return_inverse=True)
    radius = np.full(len(found), np.inf, np.float32)
    np.minimum.at(radius, place, np.asarray(nodes["radius_um"], dtype=np.float32))
    child, above = voxel[parent >= 0], parent[parent >= 0]
    missing = np.setdiff1d(above, found)
    if len(missing):
        raise ShapeError(
            f"{len(missing)} voxels that nodes are joined to are no nodes, the first of them "
            f"{missing[0]}. Stitch the tables of all blocks of one run."
        )
    pairs = np.sort(np.searchsorted(found, np.stack([child, above], axis=1)), axis=1)
    edges = np.unique(pairs, axis=0)
    label = np.asarray(nodes["label"], dtype=np.uint64)[first]
    return found, label, radius, edges


def _widest_forest(
    position: NDArray[np.float64], radius: NDArray[np.float32], edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which edges make a spanning forest; of each loop the thinnest edge is left out.

    Of edges of one width the longest, and then the last, is left out.
    """
    width = radius[edges].min(axis=1, initial=np.inf)
    length = np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1)
    order = np.lexsort((length, -width))
    rank = np.empty(len(edges))
    rank[order] = np.arange(1, len(edges) + 1)
    graph = coo_array((rank, (edges[:, 0], edges[:, 1])), shape=(len(position),) * 2)
    chosen = minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1
    return np.sort(order[chosen])


def rooted_at_tips(skeleton: Skeleton) -> Skeleton:
    """Return the same forest with each tree rooted at the node furthest from its root."""
    tree, n = skeleton.tree, len(skeleton)
    order = np.lexsort((np.arange(n), -skeleton.root_distance, tree))
    tips = order[np.searchsorted(tree[order], np.arange(len(skeleton.roots)))]
    parent = skeleton.parent.copy()
    turn_round(parent, tips)
    return Skeleton.from_parents(
        skeleton.coordinates, parent, skeleton.space, radius=skeleton.radius, kind=skeleton.kind
    )


@numba.njit(cache=True, nogil=True)
def turn_round(parent: NDArray[np.int64], roots: NDArray[np.int64]) -> None:
    """Make nodes the roots of their trees, one after the other, in place."""
    for root in roots:
        node, above = root, -1
        while node >= 0:
            following = parent[node]
            parent[node] = above
            node, above = following, node


def leading_paths(
    skeleton: Skeleton,
    end: NDArray[np.bool_],
    *,
    scale: float,
    constant_um: float,
    near_um: float,
) -> NDArray[np.bool_]:
    """Say which nodes TEASAR would trace, if its voxels were the nodes.

    From each root, paths are taken one after the other to the node furthest away, along the tree,
    that no path has cleared yet: first to all ends, then to what is left. A node of a path clears
    what it reaches over edges without leaving the ball of ``scale * radius + constant_um`` around
    it; it starts from all nodes of the tree within its own radius, or within `near_um`, because
    those lie in the same part of the object, even where two blocks traced that part twice.

    Parameters
    ----------
    skeleton
        The forest. Where a radius is not known it counts as 0.
    end
        Shape (N,): the nodes to which paths lead even if they have been cleared.
    scale, constant_um
        As above.
    near_um
        Distance of two neighbouring voxels at most [um].

    Returns
    -------
    numpy.ndarray of bool
        Shape (N,). A tree keeps its root; what is kept of it is one tree.
    """
    n = len(skeleton)
    radius = np.zeros(n, np.float32) if skeleton.radius is None else skeleton.radius
    radius = np.nan_to_num(radius.astype(np.float64))
    order = np.lexsort((np.arange(n), -skeleton.root_distance, ~end))
    near = _within(skeleton, np.maximum(radius, near_um))
    reach = scale * radius + constant_um
    return _leading(
        order, end, skeleton.parent, skeleton.coordinates, reach, *near, *_adjacency(skeleton)
    )


def _within(
    skeleton: Skeleton, distance: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the nodes of the same tree so close to each node, and where those of each begin."""
    # Nodes of different trees are far apart on a fourth axis.
    apart = skeleton.tree * (2 * distance.max(initial=0.0) + 1)
    places = np.column_stack([skeleton.coordinates, apart])
    search = cKDTree(places)
    counts, found = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    for first in range(0, len(places), BATCH):
        batch = slice(first, first + BATCH)
        lists = search.query_ball_point(places[batch], distance[batch])
        counts.append(np.fromiter(map(len, lists), np.int64))
        found.append(np.fromiter(chain.from_iterable(lists), np.int32))
    return np.cumsum(np.concatenate(counts)), np.concatenate(found)


def _adjacency(skeleton: Skeleton) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the neighbours of all nodes, one node after the other, and where each begins."""
    edges = skeleton.edges
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    return np.searchsorted(both[:, 0], np.arange(len(skeleton) + 1)), both[:, 1]


@numba.njit(cache=True, nogil=True)
def _leading(
    order: NDArray[np.int64],
    end: NDArray[np.bool_],
    parent: NDArray[np.int64],
    position: NDArray[np.float64],
    reach: NDArray[np.float64],
    near_start: NDArray[np.int64],
    near: NDArray[np.int32],
    beside_start: NDArray[np.int64],
    beside: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which nodes lie on the paths; `order` says which of them come first."""
    n = len(parent)
    kept = np.zeros(n, np.bool_)
    cleared = np.zeros(n, np.bool_)
    path = np.empty(n, np.int64)
    queue = np.empty(n, np.int64)
    seen = np.full(n, -1, np.int64)  # the last path node from which a node was looked at
    for tip in order:
        if kept[tip] or (cleared[tip] and not end[tip]):
            continue
        length, node = 0, tip
        while node >= 0 and not kept[node]:
            kept[node] = True
            path[length] = node
            length += 1
            node = parent[node]
        for center in path[:length]:
            size, done = 0, 0
            for other in near[near_start[center] : near_start[center + 1]]:
                seen[other] = center
                queue[size] = other
                size += 1
            while done < size:
                node = queue[done]
                done += 1
                cleared[node] = True
                for other in beside[beside_start[node] : beside_start[node + 1]]:
                    if seen[other] == center:
                        continue
                    seen[other] = center
                    far = 0.0
                    for axis in range(3):
                        far += (position[other, axis] - position[center, axis]) ** 2
                    if far <= reach[center] ** 2:
                        queue[size] = other
                        size += 1
    return kept
