"""Detections as columns: coordinates in a space and one value an item in each named column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates, read_only
from projectome.core.space import Space
from projectome.errors import ShapeError, SpaceMismatchError, UnknownNameError


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """N points.

    Attributes
    ----------
    coordinates
        Shape (N, 3), order (z, y, x), in `space`.
    space
        What the coordinates mean.
    columns
        Arrays of N values by name, for instance ``radius_um`` or ``score``.
    """

    coordinates: NDArray[np.float64]
    space: Space
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        positions = coordinates(self.coordinates)
        columns = {name: read_only(values) for name, values in self.columns.items()}
        for name, values in columns.items():
            if values.shape != (len(positions),):
                raise ShapeError(
                    f"Column {name!r} has the shape {values.shape}; {len(positions)} points need "
                    f"({len(positions)},)."
                )
        object.__setattr__(self, "coordinates", read_only(positions))
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        if name not in self.columns:
            raise UnknownNameError("column", name, self.columns)
        return self.columns[name]

    def __reduce__(self) -> tuple[object, ...]:
        return Points, (self.coordinates, self.space, dict(self.columns))

    def take(self, which: ArrayLike) -> Points:
        """Return some of the points, chosen by a mask or by indices."""
        index = np.asarray(which)
        if index.size == 0:
            index = index.astype(bool if len(index) == len(self) else np.int64)
        columns = {name: values[index] for name, values in self.columns.items()}
        return Points(self.coordinates[index], self.space, columns)

    def with_columns(self, **columns: ArrayLike) -> Points:
        """Return the points with columns added or replaced."""
        added = {name: np.asarray(values) for name, values in columns.items()}
        return replace(self, columns={**self.columns, **added})

    def to(self, transform: Callable[[ArrayLike], NDArray[np.float64]], space: Space) -> Points:
        """Return the points carried into another space.

        Parameters
        ----------
        transform
            An `Affine` or `Transform` from this space, or any map of (N, 3) arrays.
        space
            Where it leads.

        Raises
        ------
        SpaceMismatchError
            If the transform names other spaces.
        """
        check_spaces(transform, self.space, space)
        return Points(transform(self.coordinates), space, self.columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Points], *, space: Space) -> Points:
        """Return all points of several sets, keeping the columns that all have.

        Raises
        ------
        SpaceMismatchError
            If a part lies in another space.
        """
        for part in parts:
            if part.space != space:
                raise SpaceMismatchError(f"Points of {part.space} cannot join those of {space}.")
        if not parts:
            return cls(np.empty((0, 3)), space)
        shared = [n for n in parts[0].columns if all(n in p.columns for p in parts)]
        columns = {n: np.concatenate([p.columns[n] for p in parts]) for n in shared}
        return cls(np.concatenate([p.coordinates for p in parts]), space, columns)


def check_spaces(transform: object, source: Space, target: Space) -> None:
    """Refuse a transform that names other spaces than the two given.

    Raises
    ------
    SpaceMismatchError
        If `transform` has a ``source`` or ``target`` that differs.
    """
    named = (getattr(transform, "source", source), getattr(transform, "target", target))
    if named != (source, target):
        raise SpaceMismatchError(
            f"The transform leads from {named[0].name!r} to {named[1].name!r}, but the data goes "
            f"from {source.name!r} to {target.name!r} ({named} is not {(source, target)})."
        )
