"""Volumes seen otherwise: a part, turned axes. Nothing is read before `Volume.read`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple, triple
from projectome.core.space import Space, signed_permutation
from projectome.core.volume import Array, LazyArray, Volume
from projectome.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of another array, with the axes of space in another order and direction.

    Attributes
    ----------
    array
        What is looked at; axes (z, y, x) or (c, z, y, x).
    box
        Its voxels that are seen.
    order
        Which of its axes of space lies along each axis of the view.
    flipped
        Which axes of the view run against that.
    """

    array: LazyArray
    box: Box
    order: Triple = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape[:-3] + tuple(self.box.shape[axis] for axis in self.order)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together; they need not begin at multiples."""
        chunks = self.array.chunks
        here = tuple(min(chunks[-3:][a], self.box.shape[a]) for a in self.order)
        return chunks[:-3] + here

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        inside: list[slice] = [slice(0, 0)] * 3
        for wanted, axis, flip in zip(index[-3:], self.order, self.flipped, strict=True):
            first, size = self.box.start[axis], self.box.shape[axis]
            start, stop = wanted.start, wanted.stop
            if flip:
                start, stop = size - stop, size - start
            inside[axis] = slice(first + start, first + stop)
        values = self.array.read((*index[:-3], *inside))
        lead = values.ndim - 3
        values = values.transpose(*range(lead), *(lead + axis for axis in self.order))
        turned = tuple(lead + axis for axis, flip in enumerate(self.flipped) if flip)
        return np.ascontiguousarray(np.flip(values, turned))


def crop(volume: Volume, box: Box) -> Volume:
    """Return a part of a volume; every voxel stays where it lies in the world, for ITK too.

    Raises
    ------
    ShapeError
        If the box is empty or leaves the volume.
    """
    if box.size == 0 or not volume.box.covers(box):
        raise ShapeError(
            f"The box {box} is no part of {volume.name}, which has the voxels {volume.box}. Boxes "
            "on the command line are micrometres unless they end in 'px'."
        )
    matrix = np.eye(4)
    matrix[:3, 3] = box.start
    step = Affine(matrix, volume.affine.source, volume.affine.source)
    affine = volume.affine @ step
    if box != volume.box:
        affine = affine.with_target(replace(volume.space, span=span_of(volume)))
    return replace(volume, array=View(volume.array, box), affine=affine)


def span_of(volume: Volume) -> tuple[float, float, float]:
    """Return from which to which voxel centre the whole reaches that a volume is, or is part of.

    Returns
    -------
    tuple of float
        Length along z, y and x [um]; see `projectome.core.space.Space`.
    """
    if volume.space.span is not None:
        return volume.space.span
    z, y, x = ((n - 1) * size for n, size in zip(volume.shape, volume.voxel_size, strict=True))
    return z, y, x


def reorient(volume: Volume, space: Space) -> Volume:
    """Return a volume with its axes turned to those of a space; no voxel moves in the animal.

    The coordinate along an axis that is turned round changes its sign, so that a position stays
    the same position: the coordinate -5 um toward left is 5 um toward right. The first voxel along
    such an axis is the last one of the volume given, and the translation says where it lies.

    Parameters
    ----------
    volume
        Of known orientation.
    space
        Of known orientation too; only its directions are taken.

    Returns
    -------
    Volume
        Its array shows the voxels of the other in another order.

    Raises
    ------
    OrientationUnknownError
        If an orientation is unknown.

    Examples
    --------
    >>> up = Space.from_code("SAL", meaning="toward")
    >>> line = Volume.from_array(np.zeros((2, 3, 4)), voxel_size=(5, 1, 1), space=up)
    >>> turned = reorient(line, Space.from_code("AIR", meaning="toward"))
    >>> turned.shape, turned.affine.translation
    ((3, 2, 4), (0.0, -5.0, -3.0))
    """
    target = replace(volume.space, toward=space.toward)
    turn = signed_permutation(volume.space, target)
    order = triple(np.abs(turn).argmax(axis=1))
    if volume.space.span is not None:
        a, b, c = (volume.space.span[axis] for axis in order)
        target = replace(target, span=(a, b, c))
    z, y, x = (bool(flip) for flip in turn.sum(axis=1) < 0)
    # Voxels of the view to voxels of the array: the same turn, from the last voxel where flipped.
    back = np.eye(4)
    back[:3, :3] = turn.T
    back[:3, 3] = np.where(turn.sum(axis=0) < 0, np.asarray(volume.shape) - 1, 0)
    forth = np.eye(4)
    forth[:3, :3] = turn
    voxels = volume.affine.source
    affine = Affine(forth, volume.space, target) @ volume.affine @ Affine(back, voxels, voxels)
    turned = View(volume.array, volume.box, order, (z, y, x))
    return replace(volume, array=turned, affine=affine)
