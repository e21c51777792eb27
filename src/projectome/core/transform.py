"""Chains of affine maps and displacement fields between two named spaces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine, coordinates, read_only
from projectome.core.space import Space
from projectome.errors import ParameterError, ShapeError, SpaceMismatchError


@dataclass(frozen=True, slots=True, eq=False)
class DisplacementField:
    """A map that adds a displacement, sampled on a grid, to each point.

    Attributes
    ----------
    displacement
        Shape (Z, Y, X, 3), float32, order (z, y, x) [um]; linear in between, constant beyond.
    grid
        Voxel indices of the field to micrometres of `source`.
    source, target
        The spaces it joins; the grid lies in `source`.
    """

    displacement: NDArray[np.float32]
    grid: Affine
    target: Space

    def __post_init__(self) -> None:
        field = read_only(self.displacement, np.float32)
        if field.ndim != 4 or field.shape[3] != 3 or 0 in field.shape:
            raise ShapeError(f"A displacement field has the shape (Z, Y, X, 3), not {field.shape}.")
        object.__setattr__(self, "displacement", field)

    @property
    def source(self) -> Space:
        """The space that points come from."""
        return self.grid.target

    def at(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the displacement [um] at points of shape (N, 3) in the source space."""
        index = self.grid.inverse()(points)
        limit = np.asarray(self.displacement.shape[:3]) - 1
        index = np.clip(index, 0, limit)
        low = np.minimum(index.astype(np.int64), np.maximum(limit - 1, 0))
        weight = index - low
        high = np.minimum(low + 1, limit)
        total = np.zeros((len(index), 3))
        for corner in range(8):
            upper = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1], dtype=bool)
            z, y, x = np.where(upper, high, low).T
            share = np.where(upper, weight, 1 - weight).prod(axis=1)
            total += share[:, None] * self.displacement[z, y, x]
        return total

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (N, 3)."""
        p = coordinates(points)
        return p + self.at(p)

    def solve(
        self, points: ArrayLike, *, iterations: int = 50, tolerance: float = 1e-3
    ) -> NDArray[np.float64]:
        """Return the points that this field maps onto the given ones, by fixed-point iteration.

        Parameters
        ----------
        points
            Shape (N, 3), in the target space.
        iterations
            At most so many.
        tolerance
            Largest residual accepted [um].

        Returns
        -------
        numpy.ndarray of float64
            Shape (N, 3), in the source space.

        Raises
        ------
        ParameterError
            If the iteration does not converge, as where the field folds.

        References
        ----------
        Chen M. et al. (2008), A simple fixed-point approach to invert a deformation field,
        Medical Physics 35, 81-88.
        """
        goal = coordinates(points)
        guess = goal - self.at(goal)
        for _ in range(iterations):
            residual = guess + self.at(guess) - goal
            if np.abs(residual).max(initial=0) <= tolerance:
                return guess
            guess = guess - residual
        raise ParameterError(
            f"Inverting the field to {self.target.name!r} leaves {np.abs(residual).max():.3g} um:"
            " it folds or is too steep. Use a transform that carries its inverse field."
        )


@dataclass(frozen=True, slots=True, eq=False)
class InverseField:
    """The inverse of a displacement field, solved where it is asked for."""

    forward: DisplacementField

    @property
    def source(self) -> Space:
        """The space that points come from."""
        return self.forward.target

    @property
    def target(self) -> Space:
        """The space that points go to."""
        return self.forward.source

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (N, 3)."""
        return self.forward.solve(points)


Link: TypeAlias = Affine | DisplacementField | InverseField


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """A chain of maps between two named spaces, first map first.

    Attributes
    ----------
    links
        At least one affine or field; each starts in the space in which the one before ends.
    back
        The chain of the way back where it is known better than by inverting, else empty.
    provenance
        Hash of the record of what made it; empty if unknown.
    """

    links: tuple[Link, ...]
    back: tuple[Link, ...] = ()
    provenance: str = ""

    def __post_init__(self) -> None:
        if not self.links:
            raise ParameterError("A transform needs at least one link.")
        for chain in (self.links, self.back):
            for first, second in pairwise(chain):
                if first.target != second.source:
                    raise SpaceMismatchError(
                        f"A link into {first.target.name!r} cannot be followed by one from "
                        f"{second.source.name!r}: {first.target} is not {second.source}."
                    )
        if self.back and (self.back[0].source, self.back[-1].target) != (self.target, self.source):
            raise SpaceMismatchError(
                "The way back of a transform has to lead from its target to its source."
            )

    @property
    def source(self) -> Space:
        """The space that points come from."""
        return self.links[0].source

    @property
    def target(self) -> Space:
        """The space that points go to."""
        return self.links[-1].target

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (N, 3) from the source to the target space."""
        p = coordinates(points)
        for link in self.links:
            p = link(p)
        return p

    def inverse(self) -> Transform:
        """Return the transform back."""
        if self.back:
            return Transform(self.back, self.links, self.provenance)
        return Transform(tuple(map(_inverse, reversed(self.links))), self.links, self.provenance)

    def then(self, other: Transform) -> Transform:
        """Return the transform that applies this one first and `other` after it."""
        back = other.inverse().links + self.inverse().links
        return Transform(self.links + other.links, back)


def _inverse(link: Link) -> Link:
    if isinstance(link, Affine):
        return link.inverse()
    return link.forward if isinstance(link, InverseField) else InverseField(link)
