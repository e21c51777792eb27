"""Forests as arrays of parents: their order, and the forest in a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.region_graph import connected_components
from projectome.errors import ShapeError


def spanning_parents(
    positions: NDArray[np.float64], edges: ArrayLike, roots: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Return the parents of N nodes in the shortest spanning forest of a graph.

    Parameters
    ----------
    positions
        Shape (N, 3).
    edges
        Shape (E, 2), pairs of nodes. Where they close a loop, its longest edge is left out.
    roots
        Nodes to root their trees at; elsewhere the node of smallest index of the tree.

    Returns
    -------
    numpy.ndarray of int64
        Shape (N,), -1 at roots; parents may stand behind their children.

    Raises
    ------
    ShapeError
        If an edge or a root is no node.
    """
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    named = np.concatenate([pairs.ravel(), np.asarray(roots, dtype=np.int64)])
    if len(named) and not (named.min() >= 0 and named.max() < len(positions)):
        raise ShapeError(
            f"Edges and roots are nodes 0 to {len(positions) - 1}; they name "
            f"{named.min()} to {named.max()}."
        )
    low, high = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0).T
    parents = np.full(len(positions), -1, dtype=np.int64)
    parents[high] = low
    if len(np.unique(high)) == len(high) and (parents[np.asarray(roots, np.int64)] < 0).all():
        # Each node has one neighbour before it or none: a forest, and this is its only rooting.
        return parents
    return _rooted(len(positions), _shortest_forest(positions, pairs), roots)


def parents_first(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return an order of the nodes in which parents stand before their children.

    Parameters
    ----------
    parents
        Shape (N,), index of the parent, -1 at roots.

    Returns
    -------
    numpy.ndarray of int64
        The nodes tree by tree, depth first, roots and children in the order given; all of them as
        they are where every parent already stands before its children. Nodes on loops, and those
        that hang on them, are left out.
    """
    n = len(parents)
    if (parents < np.arange(n)).all():
        return np.arange(n)
    # Children of node i are child[start[i]:start[i + 1]], the last given first; roots those of n.
    owner = np.where(parents < 0, n, parents)
    child = np.lexsort((-np.arange(n), owner)).tolist()
    start = np.searchsorted(owner[child], np.arange(n + 2)).tolist()
    stack = child[start[n] :]
    order = []
    while stack:
        node = stack.pop()
        order.append(node)
        stack += child[start[node] : start[node + 1]]
    return np.asarray(order, dtype=np.int64)


def _shortest_forest(positions: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the edges of the shortest spanning forest, shape (N - T, 2).

    References
    ----------
    Boruvka O. (1926), O jistem problemu minimalnim, Prace Mor. Prirodoved. Spol. 3, 37-58.
    """
    low, high = np.sort(pairs, axis=1).T
    lengths = np.linalg.norm(positions[low] - positions[high], axis=1)
    edges = pairs[np.lexsort((high, low, lengths))]  # sorted, so that an index is a rank
    n, rank = len(positions), np.arange(len(edges))
    chosen = np.zeros(len(edges), dtype=bool)
    tree = np.arange(n)
    while True:
        a, b = tree[edges[rank]].T
        rank, a, b = rank[a != b], a[a != b], b[a != b]
        if not len(rank):
            return edges[chosen]
        nearest = np.full(n, len(edges))
        np.minimum.at(nearest, a, rank)
        np.minimum.at(nearest, b, rank)
        joined = nearest[nearest < len(edges)]
        chosen[joined] = True
        tree = connected_components(n, tree[edges[joined]])[tree]


def _rooted(n: int, edges: NDArray[np.int64], roots: Sequence[int]) -> NDArray[np.int64]:
    """Return the parents of `n` nodes in a forest of undirected edges, rooted as asked."""
    ends = np.concatenate([edges, edges[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    other = ends[:, 1].tolist()
    first = np.searchsorted(ends[:, 0], np.arange(n + 1)).tolist()
    parents = [-2] * n
    for start in [*roots, *range(n)]:
        if parents[start] != -2:
            continue
        parents[start] = -1
        stack = [start]
        while stack:
            node = stack.pop()
            for neighbour in other[first[node] : first[node + 1]]:
                if parents[neighbour] == -2:
                    parents[neighbour] = node
                    stack.append(neighbour)
    return np.asarray(parents, dtype=np.int64)
