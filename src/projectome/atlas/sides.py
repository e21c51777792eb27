"""Hemispheres on the grid of an annotation: by the midline, or voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.atlas.index import IdIndex
from projectome.atlas.kernels import Ground
from projectome.atlas.lookup import values_at
from projectome.core.affine import Affine, coordinates
from projectome.core.atlas import LEFT, RIGHT, Atlas, Plane
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import OrientationUnknownError, ShapeError

UNSTATED = 0
"""Hemisphere of what an atlas without midline and hemispheres cannot tell."""
SIDES = (UNSTATED, LEFT, RIGHT)
"""Hemispheres in the order of the columns of all sums."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Which hemisphere each voxel of an annotation belongs to.

    Attributes
    ----------
    plane
        Shape (4,): signed distance of voxel (z, y, x) to the midline, toward the right, is
        ``plane[:3] @ voxel + plane[3]`` [um]. All 0 where there is no plane.
    has_plane
        Whether the plane counts.
    volume
        Hemisphere of each voxel, where the atlas states it so; None if not.
    """

    plane: NDArray[np.float64]
    has_plane: bool
    volume: Volume | None = None

    @classmethod
    def of(cls, atlas: Atlas) -> Sides:
        """Return the sides of the finest level of an atlas; the midline wins over the volume.

        Raises
        ------
        ShapeError
            If the hemispheres are not on the grid of the annotation.
        """
        if atlas.midline is not None:
            return cls.by_plane(atlas.midline, atlas.annotation.affine)
        halves = atlas.hemispheres
        if halves is not None and (
            halves.shape != atlas.annotation.shape
            or not halves.affine.isclose(atlas.annotation.affine)
        ):
            raise ShapeError(
                f"The hemispheres of {atlas.name} are on another grid than its annotation: "
                f"{halves.shape} voxels against {atlas.annotation.shape}. Resample them, or give "
                "the atlas a midline."
            )
        return cls(np.zeros(4), False, halves)

    @classmethod
    def by_plane(cls, midline: Plane, grid: Affine) -> Sides:
        """Return the sides of the voxels of a grid by a plane."""
        plane = np.empty(4)
        plane[:3] = midline.normal @ grid.matrix[:3, :3]
        plane[3] = midline.distance([grid.translation])[0]
        # A voxel centre on the plane belongs to the right, whatever rounding makes of it.
        plane[3] += 1e-9 * max(1.0, float(np.abs(plane[:3]).max()))
        return cls(plane, True)

    @property
    def stated(self) -> bool:
        """Whether the hemispheres are known at all."""
        return self.has_plane or self.volume is not None

    @property
    def mode(self) -> int:
        """How kernels tell the side of a voxel: 0 not, 1 by the plane, 2 voxel by voxel."""
        return 1 if self.has_plane else 2 if self.volume is not None else 0

    def ground(self, box: Box, ids: IdIndex) -> Ground:
        """Return what kernels have to know of a box."""
        return Ground(np.asarray(box.start), ids, self.plane, self.voxels(box), self.mode)

    def voxels(self, box: Box) -> NDArray[np.uint8]:
        """Return the hemisphere of every voxel of a box; a single 0 where the plane decides."""
        if self.volume is None:
            return np.zeros((1, 1, 1), np.uint8)
        values = self.volume.read(box)
        return np.where((values == LEFT) | (values == RIGHT), values, UNSTATED).astype(np.uint8)


def hemisphere_at(atlas: Atlas, points: ArrayLike) -> NDArray[np.uint8]:
    """Return the hemisphere of points: 1 left, 2 right (the midline included).

    Parameters
    ----------
    atlas
        With a midline, or with hemispheres voxel by voxel.
    points
        Shape (N, 3) [um of the atlas].

    Returns
    -------
    numpy.ndarray of uint8
        Shape (N,). Points outside the atlas have a side as well if there is a midline; 0 where
        hemispheres are stated voxel by voxel and a point has none.

    Raises
    ------
    OrientationUnknownError
        If the atlas does not know its hemispheres.
    """
    where = coordinates(points)
    if atlas.midline is not None:
        return atlas.midline.hemisphere(where)
    if atlas.hemispheres is not None:
        return values_at(atlas.hemispheres, where).astype(np.uint8)
    raise OrientationUnknownError(
        f"{atlas.name} has neither a midline nor hemispheres. State which way its axes run "
        "(--orientation CODE --meaning toward|from), and left and right follow."
    )
