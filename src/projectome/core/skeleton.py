"""Skeletons: forests of nodes with parents, in physical units.

Notation: N nodes, T trees, E = N - T edges. A node's parent stands before it in the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates, read_only
from projectome.core.points import check_spaces
from projectome.core.region_graph import connected_components
from projectome.core.space import Space
from projectome.errors import ShapeError, SpaceMismatchError

UNDEFINED, SOMA, AXON, DENDRITE, APICAL = range(5)
"""SWC node types."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A forest of N nodes.

    Attributes
    ----------
    coordinates
        Shape (N, 3), order (z, y, x), in `space`.
    parent
        Shape (N,), int64: index of the parent, which is smaller than the node's own; -1 at roots.
    space
        What the coordinates mean.
    radius
        Shape (N,), float32 [um of the space]; NaN where unknown. None if nothing is known.
    kind
        Shape (N,), int32: SWC node types. None if nothing is known.
    """

    coordinates: NDArray[np.float64]
    parent: NDArray[np.int64]
    space: Space
    radius: NDArray[np.float32] | None = None
    kind: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        positions = read_only(coordinates(self.coordinates))
        parent = read_only(self.parent, np.int64)
        n = len(positions)
        if parent.shape != (n,):
            raise ShapeError(f"{n} nodes need {n} parents, not an array of shape {parent.shape}.")
        if n and not ((parent < np.arange(n)) & (parent >= -1)).all():
            raise ShapeError(
                "Parents stand before their children and roots have the parent -1; order the "
                "nodes with Skeleton.from_parents."
            )
        if not np.isfinite(positions).all():
            raise ShapeError("Node coordinates must be finite.")
        object.__setattr__(self, "coordinates", positions)
        object.__setattr__(self, "parent", parent)
        for name, dtype in (("radius", np.float32), ("kind", np.int32)):
            values = getattr(self, name)
            if values is not None:
                values = read_only(values, dtype)
                if values.shape != (n,):
                    raise ShapeError(f"{n} nodes need {n} entries of {name}, not {values.shape}.")
                object.__setattr__(self, name, values)

    @classmethod
    def from_parents(
        cls,
        coordinates: ArrayLike,
        parent: ArrayLike,
        space: Space,
        *,
        radius: ArrayLike | None = None,
        kind: ArrayLike | None = None,
    ) -> Skeleton:
        """Return a skeleton from nodes in any order, children before parents included.

        Parameters
        ----------
        coordinates, parent, space, radius, kind
            As the attributes, but parents may stand anywhere.

        Returns
        -------
        Skeleton
            Nodes reordered tree by tree, depth first, trees in the order of their roots and
            children in the order given; an already sorted input is returned as it is.

        Raises
        ------
        ShapeError
            If a parent does not exist or nodes are their own ancestors.
        """
        parents = np.asarray(parent, dtype=np.int64)
        n = len(parents)
        if n and not ((parents >= -1) & (parents < n)).all():
            raise ShapeError("A node names a parent that does not exist.")
        order = parents_first(parents)
        if len(order) < n:
            raise ShapeError(f"{n - len(order)} nodes are their own ancestors: a loop.")
        if not np.array_equal(order, np.arange(n)):
            rank = np.empty(n, np.int64)
            rank[order] = np.arange(n)
            parents = np.where(parents[order] < 0, -1, rank[parents[order]])
            coordinates = np.asarray(coordinates)[order]
            radius = None if radius is None else np.asarray(radius)[order]
            kind = None if kind is None else np.asarray(kind)[order]
        return cls(
            np.asarray(coordinates, dtype=np.float64),
            parents,
            space,
            None if radius is None else np.asarray(radius, dtype=np.float32),
            None if kind is None else np.asarray(kind, dtype=np.int32),
        )

    @classmethod
    def from_edges(
        cls,
        coordinates: ArrayLike,
        edges: ArrayLike,
        space: Space,
        *,
        radius: ArrayLike | None = None,
        roots: Sequence[int] = (),
    ) -> Skeleton:
        """Return a spanning forest of an undirected graph.

        Parameters
        ----------
        coordinates
            Shape (N, 3).
        edges
            Shape (E, 2), pairs of nodes. Where they close a loop, its longest edge is left out.
        space, radius
            As the attributes.
        roots
            Nodes to root their trees at; elsewhere the node of smallest index of the tree.

        Returns
        -------
        Skeleton
            With all N nodes, reordered; single nodes are trees of their own.

        Raises
        ------
        ShapeError
            If an edge or a root is no node.
        """
        positions = np.asarray(coordinates, dtype=np.float64).reshape(-1, 3)
        parents = spanning_parents(positions, edges, roots)
        return cls.from_parents(positions, parents, space, radius=radius)

    def __len__(self) -> int:
        return len(self.parent)

    @cached_property
    def roots(self) -> NDArray[np.int64]:
        """Indices of the roots, shape (T,)."""
        return np.flatnonzero(self.parent < 0)

    @cached_property
    def child_count(self) -> NDArray[np.int64]:
        """Number of children a node, shape (N,)."""
        return np.bincount(self.parent[self.parent >= 0], minlength=len(self))

    @cached_property
    def degree(self) -> NDArray[np.int64]:
        """Number of edges a node, shape (N,)."""
        return self.child_count + (self.parent >= 0)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Nodes with one edge or none: terminals, roots at a tip and single nodes."""
        return np.flatnonzero(self.degree <= 1)

    @cached_property
    def branch_points(self) -> NDArray[np.int64]:
        """Nodes with three edges or more."""
        return np.flatnonzero(self.degree >= 3)

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """Pairs (node, parent), shape (E, 2)."""
        nodes = np.flatnonzero(self.parent >= 0)
        return np.stack([nodes, self.parent[nodes]], axis=1)

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Length of the edge to the parent, shape (N,); 0 at roots [um of the space]."""
        steps = np.zeros(len(self))
        nodes, parents = self.edges.T
        steps[nodes] = np.linalg.norm(self.coordinates[nodes] - self.coordinates[parents], axis=1)
        return steps

    @cached_property
    def cable_length(self) -> float:
        """Sum of all edge lengths [um of the space]."""
        return float(self.lengths.sum())

    @cached_property
    def tree(self) -> NDArray[np.int64]:
        """Number of the tree of each node, shape (N,), counted in the order of the roots."""
        number: list[int] = []
        count = 0
        for parent in self.parent.tolist():
            number.append(count if parent < 0 else number[parent])
            count += parent < 0
        return np.asarray(number, dtype=np.int64)

    @cached_property
    def root_distance(self) -> NDArray[np.float64]:
        """Path length to the root of each node, shape (N,) [um of the space]."""
        distance: list[float] = []
        for parent, step in zip(self.parent.tolist(), self.lengths.tolist(), strict=True):
            distance.append(step if parent < 0 else distance[parent] + step)
        return np.asarray(distance, dtype=np.float64)

    @cached_property
    def segments(self) -> tuple[NDArray[np.int64], ...]:
        """Unbranched runs, each an array of nodes from its distal end up to a branch or root.

        Each edge lies in exactly one segment, so that segment lengths sum to the cable length.
        """
        stops = (self.child_count != 1) | (self.parent < 0)
        runs = []
        parent = self.parent
        for tip in np.flatnonzero(stops & (parent >= 0)).tolist():
            run = [tip]
            node = int(parent[tip])
            while not stops[node]:
                run.append(node)
                node = int(parent[node])
            run.append(node)
            runs.append(np.asarray(run))
        return tuple(runs)

    def take(self, keep: ArrayLike) -> Skeleton:
        """Return the skeleton of the nodes kept; children of a dropped node become roots.

        Parameters
        ----------
        keep
            Mask of shape (N,).
        """
        mask = np.asarray(keep, dtype=bool)
        if mask.shape != (len(self),):
            raise ShapeError(
                f"The mask has the shape {mask.shape}; {len(self)} nodes need one each."
            )
        rank = np.where(mask, np.cumsum(mask) - 1, -1)
        kept = self.parent[mask]
        parent = np.where(kept < 0, -1, rank[kept])
        return Skeleton(
            self.coordinates[mask],
            parent,
            self.space,
            None if self.radius is None else self.radius[mask],
            None if self.kind is None else self.kind[mask],
        )

    def trees(self) -> list[Skeleton]:
        """Return one skeleton a tree, in the order of the roots."""
        order = np.argsort(self.tree, kind="stable")
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self))
        ends = np.cumsum(np.bincount(self.tree)).tolist()
        parts = []
        for start, stop in zip([0, *ends], ends, strict=False):
            nodes = order[start:stop]
            parent = self.parent[nodes]
            parts.append(
                Skeleton(
                    self.coordinates[nodes],
                    np.where(parent < 0, -1, rank[parent] - start),
                    self.space,
                    None if self.radius is None else self.radius[nodes],
                    None if self.kind is None else self.kind[nodes],
                )
            )
        return parts

    @classmethod
    def concatenate(cls, parts: Sequence[Skeleton], *, space: Space) -> Skeleton:
        """Return the forest of all trees of several skeletons.

        Radii and kinds are kept where any part has them: NaN and 0 stand for unknown.

        Raises
        ------
        SpaceMismatchError
            If a part lies in another space.
        """
        for part in parts:
            if part.space != space:
                raise SpaceMismatchError(f"A skeleton in {part.space} cannot join one in {space}.")
        if not parts:
            return cls(np.empty((0, 3)), np.empty(0, np.int64), space)
        offsets = np.cumsum([0, *(len(p) for p in parts[:-1])])
        parents = [
            np.where(p.parent < 0, -1, p.parent + o) for p, o in zip(parts, offsets, strict=True)
        ]
        radius = kind = None
        if any(p.radius is not None for p in parts):
            radius = np.concatenate(
                [
                    np.full(len(p), np.nan, np.float32) if p.radius is None else p.radius
                    for p in parts
                ]
            )
        if any(p.kind is not None for p in parts):
            kind = np.concatenate(
                [np.zeros(len(p), np.int32) if p.kind is None else p.kind for p in parts]
            )
        positions = np.concatenate([p.coordinates for p in parts])
        return cls(positions, np.concatenate(parents), space, radius, kind)

    def to(self, transform: Callable[[ArrayLike], NDArray[np.float64]], space: Space) -> Skeleton:
        """Return the skeleton with its nodes carried into another space; radii become unknown.

        Edges stay straight: resample first where the transform bends them.

        Raises
        ------
        SpaceMismatchError
            If the transform names other spaces.
        """
        check_spaces(transform, self.space, space)
        return Skeleton(transform(self.coordinates), self.parent, space, None, self.kind)


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
