"""Fragments and scored edges between them: how pieces become objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import read_only
from projectome.errors import ShapeError


def connected_components(count: int, pairs: ArrayLike) -> NDArray[np.int64]:
    """Return the smallest member of the component of each of `count` items.

    Parameters
    ----------
    count
        Number of items, numbered from 0.
    pairs
        Shape (E, 2), items that belong together.

    Returns
    -------
    numpy.ndarray of int64
        Shape (count,). It does not depend on the order of the pairs.

    Raises
    ------
    ShapeError
        If a pair names something else.

    References
    ----------
    Shiloach Y., Vishkin U. (1982), An O(log n) parallel connectivity algorithm, J. Algorithms 3.
    """
    leader = np.arange(count)
    edges = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    if len(edges) and not (edges.min() >= 0 and edges.max() < count):
        raise ShapeError(
            f"Pairs of {count} items name items {edges.min()} to {edges.max()}; they are numbered "
            "from 0."
        )
    while len(edges):
        a, b = leader[edges[:, 0]], leader[edges[:, 1]]
        open_edges = a != b
        if not open_edges.any():
            break
        edges, a, b = edges[open_edges], a[open_edges], b[open_edges]
        np.minimum.at(leader, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(leader, leader[leader]):
            leader = leader[leader]
    return leader


@dataclass(frozen=True, slots=True, eq=False)
class RegionGraph:
    """F fragments and E scored edges.

    Attributes
    ----------
    fragments
        Shape (F,), uint64, ascending ids; 0 is background and never among them.
    edges
        Shape (E, 2), uint64, pairs of ids.
    score
        Shape (E,), float32; the higher, the surer that the two are one.
    columns
        More values an edge, by name.
    """

    fragments: NDArray[np.uint64]
    edges: NDArray[np.uint64]
    score: NDArray[np.float32]
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fragments = read_only(self.fragments, np.uint64)
        edges = read_only(np.asarray(self.edges, dtype=np.uint64).reshape(-1, 2))
        score = read_only(self.score, np.float32)
        if fragments.ndim != 1 or (fragments[1:] <= fragments[:-1]).any():
            raise ShapeError("Fragment ids are a column of ascending, different numbers.")
        if len(fragments) and fragments[0] == 0:
            raise ShapeError("0 is background and cannot be a fragment.")
        if not np.isin(edges, fragments).all():
            raise ShapeError("An edge names a fragment that is not in the graph.")
        columns = {name: read_only(values) for name, values in self.columns.items()}
        for name, values in {"score": score, **columns}.items():
            if values.shape != (len(edges),):
                raise ShapeError(
                    f"{len(edges)} edges need {len(edges)} values of {name!r}, not {values.shape}."
                )
        object.__setattr__(self, "fragments", fragments)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def __len__(self) -> int:
        return len(self.edges)

    def __reduce__(self) -> tuple[object, ...]:
        return RegionGraph, (self.fragments, self.edges, self.score, dict(self.columns))

    def segments(self, threshold: float) -> NDArray[np.uint64]:
        """Return for each fragment the smallest fragment id of its segment.

        Parameters
        ----------
        threshold
            Edges with at least this score join their fragments.

        Returns
        -------
        numpy.ndarray of uint64
            Shape (F,), in the order of `fragments`.
        """
        joined = self.edges[self.score >= threshold]
        leader = connected_components(len(self.fragments), np.searchsorted(self.fragments, joined))
        return self.fragments[leader]
