"""Region trees and atlases as values; who provides them is another room's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates, read_only
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import (
    ParameterError,
    Problem,
    ShapeError,
    SpaceMismatchError,
    UnknownNameError,
)

LEFT, RIGHT = 1, 2
"""Hemisphere numbers, of the animal."""


@dataclass(frozen=True, eq=False)
class Terminology:
    """A tree of R brain regions, parents before children.

    Attributes
    ----------
    ids
        Shape (R,), int64; 0 is outside the brain and never among them.
    acronyms, names
        R texts each.
    parents
        Shape (R,), int64: ROW of the parent, smaller than the region's own; -1 at the root.
    colours
        Shape (R, 3), uint8, red, green, blue.
    """

    ids: NDArray[np.int64]
    acronyms: tuple[str, ...]
    names: tuple[str, ...]
    parents: NDArray[np.int64]
    colours: NDArray[np.uint8]

    def __post_init__(self) -> None:
        ids, parents = read_only(self.ids, np.int64), read_only(self.parents, np.int64)
        count = len(ids)
        if len(np.unique(ids)) != count or (ids == 0).any():
            raise ShapeError("Region ids are different from one another and from 0.")
        if not (len(self.acronyms) == len(self.names) == len(parents) == count):
            raise ShapeError(f"{count} regions need an acronym, a name and a parent each.")
        if count and not ((parents < np.arange(count)) & (parents >= -1)).all():
            raise ShapeError("Regions stand after their parents; roots have the parent -1.")
        colours = read_only(self.colours, np.uint8)
        if colours.shape != (count, 3):
            raise ShapeError(f"{count} regions need colours of shape ({count}, 3).")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "parents", parents)
        object.__setattr__(self, "colours", colours)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.acronyms)

    @cached_property
    def _row_of(self) -> dict[int | str, int]:
        by_id: dict[int | str, int] = {int(i): row for row, i in enumerate(self.ids)}
        return by_id | {acronym: row for row, acronym in enumerate(self.acronyms)}

    def row(self, region: int | str) -> int:
        """Return the row of a region given by id or acronym.

        Raises
        ------
        UnknownNameError
            If there is no such region.
        ParameterError
            If several regions have that acronym.
        """
        try:
            row = self._row_of[region]
        except KeyError:
            raise UnknownNameError("region", str(region), self.acronyms) from None
        if isinstance(region, str) and self.acronyms.count(region) > 1:
            same = [int(i) for i, a in zip(self.ids, self.acronyms, strict=True) if a == region]
            raise ParameterError(
                f"{len(same)} regions are called {region!r}. Give the id of one: "
                f"{', '.join(map(str, same))}."
            )
        return row

    @cached_property
    def depths(self) -> NDArray[np.int64]:
        """How many regions lie around each, shape (R,): 0 at the root."""
        depths = np.zeros(len(self), dtype=np.int64)
        for row, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                depths[row] = depths[parent] + 1
        return read_only(depths)

    def rows_below(self, region: int | str) -> NDArray[np.int64]:
        """Return the rows of a region and of everything inside it, by the tree."""
        inside = np.zeros(len(self), dtype=bool)
        inside[self.row(region)] = True
        for row, parent in enumerate(self.parents.tolist()):
            inside[row] |= parent >= 0 and inside[parent]
        return np.flatnonzero(inside)

    def descendants(self, region: int | str) -> NDArray[np.int64]:
        """Return the ids of a region and of everything inside it."""
        return self.ids[self.rows_below(region)]

    def ancestors(self, region: int | str) -> tuple[str, ...]:
        """Return the acronyms of the regions around one, from the next one up to the root."""
        found = []
        row = int(self.parents[self.row(region)])
        while row >= 0:
            found.append(self.acronyms[row])
            row = int(self.parents[row])
        return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """An oriented plane.

    Attributes
    ----------
    point
        Shape (3,), a point on it [um], order (z, y, x).
    normal
        Shape (3,), toward the animal's right for a midline; kept at unit length.
    space
        What the coordinates mean.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]
    space: Space

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, dtype=np.float64)
        length = float(np.linalg.norm(normal))
        if normal.shape != (3,) or not length > 0:
            raise ShapeError(f"The normal of a plane is a vector of three, not {self.normal!r}.")
        object.__setattr__(self, "point", read_only(coordinates(self.point)[0]))
        object.__setattr__(self, "normal", read_only(normal / length))

    def distance(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the signed distance [um] of points (N, 3), positive on the side of the normal."""
        return (coordinates(points) - self.point) @ self.normal

    def hemisphere(self, points: ArrayLike) -> NDArray[np.uint8]:
        """Return 1 (left) or 2 (right, the plane included) for points (N, 3)."""
        return np.where(self.distance(points) < 0, LEFT, RIGHT).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """A labelled reference brain.

    Attributes
    ----------
    name
        For instance ``"allen_mouse_25um"``.
    terminology
        The tree of regions.
    annotation
        Region ids; 0 outside.
    template
        Reference image on any grid of the same space, or None.
    midline
        Plane between the hemispheres, normal toward the right, or None.
    hemispheres
        Volume of 0, 1 (left), 2 (right) on the grid of the annotation, for atlases without a
        plane, or None.
    coarser, coarser_templates
        Further levels of the annotation and of the template; see `at`.
    problems
        What was doubtful and how it was read.
    metadata
        What else is known: source, version, species, citation and so on.
    """

    name: str
    terminology: Terminology
    annotation: Volume
    template: Volume | None = None
    midline: Plane | None = None
    hemispheres: Volume | None = None
    coarser: tuple[Volume, ...] = ()
    coarser_templates: tuple[Volume, ...] = ()
    problems: tuple[Problem, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(level.kind != "labels" for level in (self.annotation, *self.coarser)):
            raise ShapeError(f"The annotation of {self.name} has to be a volume of labels.")
        parts = (self.template, self.hemispheres, self.midline)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        for part in (*parts, *self.coarser, *self.coarser_templates):
            if part is not None and part.space != self.annotation.space:
                raise SpaceMismatchError(
                    f"All parts of {self.name} lie in one space; {part.space} is not "
                    f"{self.annotation.space}."
                )

    @property
    def space(self) -> Space:
        """What its micrometres mean; tissue by definition."""
        return self.annotation.space

    def __reduce__(self) -> tuple[object, ...]:
        parts = (self.template, self.midline, self.hemispheres, self.coarser)
        rest = (self.coarser_templates, self.problems, dict(self.metadata))
        return Atlas, (self.name, self.terminology, self.annotation, *parts, *rest)

    def at(self, *, voxel_size: float) -> Atlas:
        """Return the atlas on the coarsest level that is at least as fine as asked.

        Parameters
        ----------
        voxel_size
            Largest voxel edge wanted [um].

        Returns
        -------
        Atlas
            Its annotation and template are the levels of that size; the finest where all are
            coarser.
        """

        def pick(levels: tuple[Volume, ...]) -> int:
            fine = [k for k, v in enumerate(levels) if max(v.voxel_size) <= 1.01 * voxel_size]
            return max(fine, key=lambda k: max(levels[k].voxel_size), default=0)

        levels = (self.annotation, *self.coarser)
        chosen = pick(levels)
        templates = (*([] if self.template is None else [self.template]), *self.coarser_templates)
        image = pick(templates)
        if chosen and self.hemispheres is not None:
            raise ParameterError(
                f"{self.name} states its hemispheres voxel by voxel, at its finest level only; use "
                f"voxels of {max(levels[0].voxel_size):g} um."
            )
        return replace(
            self,
            annotation=levels[chosen],
            coarser=levels[chosen + 1 :],
            template=templates[image] if templates else None,
            coarser_templates=templates[image + 1 :],
        )
