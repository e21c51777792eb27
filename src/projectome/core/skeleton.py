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
from projectome.core.forest import parents_first, spanning_parents
from projectome.core.points import check_spaces
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
