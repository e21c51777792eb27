"""What files of skeletons hold, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import FARTHEST, are_places, read_only
from projectome.core.forest import parents_first, spanning_parents
from projectome.core.region_graph import connected_components
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import FormatError, Problem, ShapeError, UnknownNameError
from projectome.io.skeletons.swc import scale_factors

SHOWN = 5
"""So many edges are named in a problem."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedSkeleton:
    """One neuron, fragment or tree of a file.

    Attributes
    ----------
    skeleton
        Its nodes, parents before children.
    name
        As in the file; of a file that holds one, the name of the file without its ending.
    ids
        Shape (N,), int64: the id in the file of each node of `skeleton`.
    columns
        More about the nodes, arrays of N values by name, for instance ``allen_id``.
    facts
        More about the whole, for instance ``group`` or ``color``.
    problems
        What was doubtful and how it was read.
    """

    skeleton: Skeleton
    name: str
    ids: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.skeleton)
        columns = {name: read_only(values) for name, values in self.columns.items()}
        for name, values in {"ids": np.asarray(self.ids), **columns}.items():
            if values.shape != (n,):
                raise ShapeError(f"{n} nodes need {n} entries of {name}, not {values.shape}.")
        object.__setattr__(self, "ids", read_only(self.ids, np.int64))
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def __reduce__(self) -> tuple[object, ...]:
        state = (self.skeleton, self.name, self.ids, dict(self.columns), dict(self.facts))
        return NamedSkeleton, (*state, self.problems)


@dataclass(frozen=True, slots=True, eq=False)
class Skeletons:
    """The skeletons of a file, folder or archive, in its order; a sequence.

    Attributes
    ----------
    items
        One an item of the file, with name and node ids.
    format
        ``"swc"``, ``"nml"``, ``"mouselight"``, ``"traces"`` or ``"precomputed"``.
    problems
        What was doubtful in the whole; those of one item are with it.
    """

    items: tuple[NamedSkeleton, ...]
    format: str
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[NamedSkeleton]:
        return iter(self.items)

    def __getitem__(self, which: int | str) -> NamedSkeleton:
        if isinstance(which, int):
            return self.items[which]
        for item in self.items:
            if item.name == which:
                return item
        raise UnknownNameError("skeleton", which, self.names)

    @property
    def names(self) -> list[str]:
        """The names in order; they may repeat where the file repeats them."""
        return [item.name for item in self.items]

    @property
    def skeletons(self) -> list[Skeleton]:
        """The skeletons without their names."""
        return [item.skeleton for item in self.items]

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Problems of the whole and of all items."""
        return (*self.problems, *(p for item in self.items for p in item.problems))


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says about the coordinates of a file.

    Attributes
    ----------
    space
        What they mean after scaling; None leaves it to the file.
    scale
        Micrometres in one unit of the file, one number or (z, y, x), in place of what it says.
    radius_scale
        The same for radii.
    expansion
        Micrometres of the file in one of tissue, in place of what it says.
    """

    space: Space | None = None
    scale: float | ArrayLike | None = None
    radius_scale: float | None = None
    expansion: float | None = None

    def factors(
        self, stated: ArrayLike = 1.0, *, radius: float | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Return what to multiply coordinates (z, y, x) and radii by.

        Parameters
        ----------
        stated
            What the file says, used where the caller says nothing.
        radius
            The same for radii; as along x if None.

        Raises
        ------
        ParameterError
            If a scale is not positive.
        """
        own = (
            self.radius_scale if self.radius_scale is not None or self.scale is not None else radius
        )
        return scale_factors(stated if self.scale is None else self.scale, own, 1.0)

    def settle(self, stated: Space) -> Space:
        """Return the space: the caller's word first, then what the file says."""
        space = stated if self.space is None else self.space
        return space if self.expansion is None else replace(space, expansion=self.expansion)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and undirected edges as a file has them, not yet a forest.

    Attributes
    ----------
    positions
        Shape (N, 3), order (z, y, x), in micrometres.
    edges
        Shape (E, 2), pairs of nodes.
    ids
        Shape (N,): what the file calls the nodes.
    radius, kind
        Shape (N,), as in `Skeleton`.
    columns
        More about the nodes.
    roots
        Nodes to root their trees at.
    """

    positions: NDArray[np.float64]
    edges: NDArray[np.int64]
    ids: NDArray[np.int64]
    radius: NDArray[np.float64] | None = None
    kind: NDArray[np.int32] | None = None
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    roots: Sequence[int] = ()

    def named(
        self, name: str, space: Space, where: str, *, facts: Mapping[str, object] | None = None
    ) -> NamedSkeleton:
        """Return the skeleton; edges that close loops are dropped and named in a problem.

        Raises
        ------
        FormatError
            If a coordinate is not finite.
        """
        for bad in np.flatnonzero(~are_places(self.positions))[:1]:
            raise FormatError(
                f"{where}: node {self.ids[bad]} of {name!r} has a coordinate that is not finite, "
                "or out of reach. Correct or remove it."
            )
        parents = spanning_parents(self.positions, self.edges, self.roots)
        order = parents_first(parents)
        radius = None if self.radius is None else known_radius(self.radius)
        kind = None if self.kind is None or not self.kind.any() else self.kind
        skeleton = Skeleton.from_parents(self.positions, parents, space, radius=radius, kind=kind)
        return NamedSkeleton(
            skeleton,
            name,
            self.ids[order],
            {key: np.asarray(values)[order] for key, values in self.columns.items()},
            facts or {},
            tuple(self._dropped(parents, f"{where}: {name}")),
        )

    def parts(self) -> Iterator[Graph]:
        """Yield the connected parts, in the order of their first nodes."""
        tree = connected_components(len(self.ids), self.edges)
        rows = np.argsort(tree, kind="stable")
        edges = self.edges[np.argsort(tree[self.edges[:, 0]], kind="stable")]
        roots = np.asarray(sorted(self.roots, key=lambda root: int(tree[root])), dtype=np.int64)
        numbers = np.unique(tree)[1:]
        rank = np.empty(len(tree), dtype=np.int64)
        owned = np.split(rows, np.searchsorted(tree[rows], numbers))
        joins = np.split(edges, np.searchsorted(tree[edges[:, 0]], numbers))
        rooted = np.split(roots, np.searchsorted(tree[roots], numbers))
        for own, joined, starts in zip(owned, joins, rooted, strict=True) if len(tree) else ():
            rank[own] = np.arange(len(own))
            yield Graph(
                self.positions[own],
                rank[joined],
                self.ids[own],
                None if self.radius is None else self.radius[own],
                None if self.kind is None else self.kind[own],
                {key: column[own] for key, column in self.columns.items()},
                rank[starts].tolist(),
            )

    def _dropped(self, parents: NDArray[np.int64], where: str) -> list[Problem]:
        """Return a problem that names the edges that are not in the forest."""
        n = len(parents)
        children = np.flatnonzero(parents >= 0)
        kept = _keys(np.stack([children, parents[children]], axis=1), n)
        real = self.edges[self.edges[:, 0] != self.edges[:, 1]]
        lost = np.setdiff1d(_keys(real, n), kept)
        if not len(lost):
            return []
        shown = [f"{self.ids[key // n]}-{self.ids[key % n]}" for key in lost[:SHOWN].tolist()]
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        message = (
            f"{len(lost)} edges close loops and a skeleton is a forest; dropped, the longest of "
            f"each loop: {', '.join(shown)}{more}."
        )
        return [Problem("warning", where, message)]


def _keys(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    low, high = np.sort(pairs.reshape(-1, 2), axis=1).T
    return np.unique(low * n + high)


def known_radius(radius: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return radii with NaN where they are not positive numbers; None where none is."""
    known = (radius > 0) & (radius <= FARTHEST)
    return np.where(known, radius, np.nan) if known.any() else None
