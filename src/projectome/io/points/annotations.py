"""Points, lines, boxes, ellipsoids and polylines with what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import coordinates, read_only
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import ParameterError, Problem, ShapeError

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["point", "line", "axis_aligned_bounding_box", "ellipsoid", "polyline"]
VECTORS: dict[str, int | None] = {
    "point": 1,
    "line": 2,
    "axis_aligned_bounding_box": 2,
    "ellipsoid": 2,
    "polyline": None,
}
"""Vectors an annotation of each kind; None where each has its own number."""
PARTS = {"line": ("start", "end"), "axis_aligned_bounding_box": ("start", "end")}


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """N annotations of one kind.

    Attributes
    ----------
    kind
        ``"point"``; ``"line"``, its two ends; ``"axis_aligned_bounding_box"``, two opposite
        corners; ``"ellipsoid"``, centre and three radii; ``"polyline"``, its vertices.
    vectors
        Shape (M, 3), order (z, y, x), in `space` [um]: those of the first, then of the second ...
    counts
        Shape (N,): so many of the vectors belong to each.
    space
        What the coordinates mean.
    ids
        Shape (N,), uint64.
    columns
        Arrays of N values by name.
    relationships
        By name, for each annotation the ids of the objects (segments) that it is about.
    name
        Name of the layer, if it has one.
    problems
        What was doubtful and how it was read.
    """

    kind: Kind
    vectors: NDArray[np.float64]
    counts: NDArray[np.int64]
    space: Space
    ids: NDArray[np.uint64]
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    relationships: Mapping[str, Sequence[NDArray[np.uint64]]] = field(default_factory=dict)
    name: str = ""
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in VECTORS:
            raise ParameterError(
                f"Annotations are {', '.join(map(repr, VECTORS))}, not {self.kind!r}."
            )
        counts = read_only(self.counts, np.int64)
        ids = read_only(self.ids, np.uint64)
        each = VECTORS[self.kind]
        vectors = read_only(coordinates(self.vectors))
        fitting = (counts == each).all() if each else (counts >= 0).all()
        if not fitting or counts.sum() != len(vectors):
            raise ShapeError(
                f"{len(counts)} annotations of the kind {self.kind!r} do not have "
                f"{len(vectors)} vectors, or not in these numbers."
            )
        columns = {name: read_only(values) for name, values in self.columns.items()}
        related = {name: tuple(map(_ids, lists)) for name, lists in self.relationships.items()}
        if any(values.ndim != 1 for values in (ids, *columns.values())):
            raise ShapeError("Ids and columns of annotations have one dimension.")
        sizes = {"ids": len(ids)} | {
            name: len(c) for name, c in [*columns.items(), *related.items()]
        }
        for key, size in sizes.items():
            if size != len(counts):
                raise ShapeError(
                    f"{len(counts)} annotations need one entry each of {key}, not {size}."
                )
        for key, value in (("vectors", vectors), ("counts", counts), ("ids", ids)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "relationships", MappingProxyType(related))

    def __len__(self) -> int:
        return len(self.counts)

    def __reduce__(self) -> tuple[object, ...]:
        geometry = (self.kind, self.vectors, self.counts, self.space, self.ids)
        return Annotations, (
            *geometry,
            dict(self.columns),
            dict(self.relationships),
            self.name,
            self.problems,
        )

    @classmethod
    def of_points(cls, points: Points) -> Self:
        """Return annotations of points; their column ``id`` is used if it is whole and positive.

        Raises
        ------
        ParameterError
            If the ids repeat.
        """
        columns = dict(points.columns)
        ids: NDArray[Any] = np.arange(1, len(points) + 1, dtype=np.uint64)
        own = columns.get("id")
        if own is not None and own.dtype.kind in "iu" and not (own < 0).any():  # type: ignore[operator]
            ids = columns.pop("id").astype(np.uint64)
        if len(np.unique(ids)) < len(ids):
            raise ParameterError("Annotations need ids that differ; drop or renumber column 'id'.")
        ones = np.ones(len(points), dtype=np.int64)
        return cls("point", points.coordinates, ones, points.space, ids, columns)

    @property
    def geometry(self) -> NDArray[np.float64]:
        """Vectors an annotation, shape (N, K, 3): K is 1 for points, else 2.

        Raises
        ------
        ParameterError
            If they are polylines, which differ in their numbers of vertices.
        """
        each = VECTORS[self.kind]
        if each is None:
            raise ParameterError("Polylines have no common shape; use vectors and counts.")
        return self.vectors.reshape(-1, each, 3)

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest coordinates of each, both of shape (N, 3)."""
        if self.kind == "ellipsoid":
            centre, radii = self.geometry[:, 0], np.abs(self.geometry[:, 1])
            return centre - radii, centre + radii
        if not len(self.vectors):
            return np.full((len(self), 3), np.nan), np.full((len(self), 3), np.nan)
        some = self.counts > 0
        starts = (np.cumsum(self.counts) - self.counts)[some]
        low, high = np.full((2, len(self), 3), np.nan)
        low[some] = np.minimum.reduceat(self.vectors, starts)
        high[some] = np.maximum.reduceat(self.vectors, starts)
        return low, high

    def points(self) -> Points:
        """Return the points, or the centres of what has an extent.

        Returns
        -------
        Points
            With the column ``id``, all columns, and of each relationship its ids as text,
            separated by blanks.
        """
        centre = self.geometry[:, 0] if self.kind in ("point", "ellipsoid") else None
        if centre is None:
            low, high = self.bounds
            centre = (low + high) / 2
        related = {
            name: np.array([" ".join(map(str, ids.tolist())) for ids in lists], dtype=object)
            for name, lists in self.relationships.items()
        }
        return Points(centre, self.space, {"id": self.ids, **self.columns, **related})

    def table(self) -> pd.DataFrame:
        """Return one row an annotation; coordinates in columns that name their unit.

        Returns
        -------
        pandas.DataFrame
            ``id``; of points ``z_um, y_um, x_um``; of lines and boxes ``start_z_um`` ... and
            ``end_z_um`` ...; of ellipsoids also ``radius_z_um`` ...; then all columns and
            relationships. Of polylines the centres.
        """
        import pandas as pd

        points = self.points()
        found: dict[str, object] = {"id": self.ids}
        unit = "px" if self.space.unit == "voxel" else "um"
        parts = PARTS.get(self.kind, ("",))
        vectors = self.geometry if self.kind in PARTS else points.coordinates[:, None]
        for place, part in enumerate(parts):
            for axis, letter in enumerate("zyx"):
                label = f"{part}_{letter}_{unit}" if part else f"{letter}_{unit}"
                found[label] = vectors[:, place, axis]
        if self.kind == "ellipsoid":
            radii = self.geometry[:, 1]
            found |= {f"radius_{letter}_{unit}": radii[:, a] for a, letter in enumerate("zyx")}
        return pd.DataFrame(found | {k: v for k, v in points.columns.items() if k != "id"})


def _ids(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return read_only(values, np.uint64)
