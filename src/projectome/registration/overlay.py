"""An atlas as it lies in an image: regions and hemispheres on the image's own grid.

Intensities stay where they were measured. What is carried are labels, each from the nearest voxel,
so that sums over regions are sums over voxels of the image, in micrometres of its tissue. Where a
voxel of the image lies in the atlas is computed on a coarse lattice and is linear in between, as
the fields of a registration are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.atlas import LEFT, RIGHT, Atlas
from projectome.core.box import Box, triple
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Array, Volume
from projectome.errors import ShapeError, SpaceMismatchError

CHUNK = 64
"""Voxels an axis that are best computed together."""
AT_ONCE = 500_000
"""Nodes of the lattice that pass the transform together."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A smooth quantity of the voxels of a grid, known at some of them and linear in between.

    Attributes
    ----------
    nodes
        Shape (A, B, C, K): K numbers at voxels (i, j, k) * step.
    step
        Voxels (z, y, x) from node to node.
    shape
        Voxels of the grid.
    """

    nodes: NDArray[np.float64]
    step: tuple[int, int, int]
    shape: tuple[int, int, int]

    def read(self, index: tuple[slice, ...]) -> NDArray[np.float64]:
        """Return the quantity of the voxels of one slice an axis, shape (Z, Y, X, K)."""
        start = np.array([s.start for s in index])
        out = np.empty((*(s.stop - s.start for s in index), self.nodes.shape[3]))
        _interpolate(self.nodes, np.array(self.step), start, out)
        return out

    def bounds(self, index: tuple[slice, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the quantity lies between in some voxels, shape (K,) each."""
        part = tuple(
            slice(s.start // step, (s.stop - 1) // step + 2)
            for s, step in zip(index, self.step, strict=True)
        )
        nodes = self.nodes[part].reshape(-1, self.nodes.shape[3])
        return nodes.min(axis=0), nodes.max(axis=0)


@dataclass(frozen=True, eq=False)
class CarriedLabels:
    """Labels of another volume at the voxels of a grid, looked up where they are read.

    Attributes
    ----------
    labels
        What is looked up.
    lattice
        Voxel (z, y, x) of `labels` in which each voxel of the grid lies, as a fraction.
    """

    labels: Volume
    lattice: Lattice

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.lattice.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.labels.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        return tuple(min(CHUNK, n) for n in self.shape)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        out = np.zeros([max(0, s.stop - s.start) for s in index], self.dtype)
        if not out.size:
            return out
        low, high = self.lattice.bounds(index)
        shape = np.asarray(self.labels.shape)
        first = np.clip(np.floor(low), 0, shape).astype(int)
        last = np.clip(np.ceil(high) + 1, 0, shape).astype(int)
        if (last <= first).any():
            return out
        values = np.ascontiguousarray(self.labels.read(Box(triple(first), triple(last))))
        start = np.array([s.start for s in index])
        step = np.array(self.lattice.step)
        _look_up(self.lattice.nodes, step, start, values, first.astype(np.float64), out)
        return out


@dataclass(frozen=True, eq=False)
class CarriedSides:
    """Hemispheres by a midline, at the voxels of a grid.

    Attributes
    ----------
    lattice
        Signed distance to the midline, toward the right [um].
    """

    lattice: Lattice

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.lattice.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return np.dtype(np.uint8)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        return tuple(min(CHUNK, n) for n in self.shape)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return 1 (left) or 2 (right, the midline included)."""
        distance = self.lattice.read(index)[..., 0]
        return np.where(distance < 0, LEFT, RIGHT).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """An atlas as it lies in an image.

    Attributes
    ----------
    atlas
        Regions and hemispheres on the grid of the image, in micrometres of its tissue; the image
        is its template.
    distance
        Signed distance of the image's voxels to the midline, toward the right [um of the atlas
        that it comes from]; None without a midline.
    """

    atlas: Atlas
    distance: Lattice | None


def overlay(atlas: Atlas, transform: Transform, image: Volume) -> Overlay:
    """Return an atlas on the grid of an image.

    Parameters
    ----------
    atlas
        On the level to use.
    transform
        From the space of the image to that of the atlas.
    image
        Without a channel axis; it is read when the overlay is.

    Raises
    ------
    SpaceMismatchError
        If the spaces do not fit.
    ShapeError
        If the image has channels.
    """
    if (image.space, atlas.space) != (transform.source, transform.target):
        raise SpaceMismatchError(
            f"The transform leads from {transform.source} to {transform.target}; the image lies in "
            f"{image.space} and the atlas in {atlas.space}."
        )
    if image.channels:
        raise ShapeError(f"{image.name} has channels {', '.join(image.channels)}; choose one.")
    places = _places(transform, image)
    tissue = replace(image.space, expansion=1.0)
    shrink = np.diag([*[1 / image.space.expansion] * 3, 1.0])
    grid = Affine(shrink @ image.affine.matrix, image.affine.source, tissue)

    def laid(array: Any, name: str) -> Volume:
        return Volume(array, grid, kind="labels", name=name)

    def carried(volume: Volume) -> CarriedLabels:
        return CarriedLabels(volume, _mapped(places, volume.affine.inverse().matrix))

    distance, halves = None, None
    if atlas.midline is not None:
        normal = atlas.midline.normal
        away = np.append(normal, -normal @ atlas.midline.point)
        distance = _mapped(places, away[None])
        halves = laid(CarriedSides(distance), "hemispheres")
    elif atlas.hemispheres is not None:
        halves = laid(carried(atlas.hemispheres), "hemispheres")
    laid_out = Atlas(
        atlas.name,
        atlas.terminology,
        laid(carried(atlas.annotation), f"{atlas.name} in {image.name}"),
        template=replace(image, affine=grid, kind="image"),
        hemispheres=halves,
        problems=atlas.problems,
        metadata=atlas.metadata,
    )
    return Overlay(laid_out, distance)


def _mapped(lattice: Lattice, matrix: NDArray[np.float64]) -> Lattice:
    """Return what an affine map (rows of a homogeneous matrix) makes of the places of a lattice."""
    nodes = lattice.nodes @ matrix[:3, :3].T + matrix[:3, 3]
    return replace(lattice, nodes=np.ascontiguousarray(nodes))


def _places(transform: Transform, image: Volume) -> Lattice:
    """Return where the voxels of an image lie in the target of a transform [um]."""
    shape = np.asarray(image.shape)
    step = _spacing(transform, image)
    count = (shape - 1) // step + 2  # the last node lies at or beyond the last voxel
    nodes = np.empty((int(count.prod()), 3))
    for first in range(0, len(nodes), AT_ONCE):
        number = np.arange(first, min(first + AT_ONCE, len(nodes)))
        index = np.stack(np.unravel_index(number, tuple(count)), axis=1) * step
        nodes[number] = transform(image.affine(index))
    return Lattice(nodes.reshape(*count, 3), triple(step), triple(shape))


def _spacing(transform: Transform, image: Volume) -> NDArray[np.int64]:
    """Return how many voxels may lie between nodes: as many as in a voxel of the finest field."""
    fields = [link for link in transform.links if not isinstance(link, Affine)]
    shape = np.asarray(image.shape)
    if not fields:
        return np.maximum(shape - 1, 1)
    sizes = []
    for link in fields:
        grid = link.grid if isinstance(link, DisplacementField) else link.forward.grid
        sizes.append(min(np.linalg.norm(grid.matrix[:3, :3], axis=0)))
    # Affine links between image and field may scale, by the expansion for instance.
    corners = image.affine(np.vstack([np.zeros(3), np.eye(3)]))
    moved = transform(corners)
    edge = np.maximum(np.linalg.norm(moved[1:] - moved[0], axis=1), image.voxel_size)
    step = np.floor(min(sizes) / edge + 1e-6).astype(np.int64)
    return np.asarray(np.clip(step, 1, np.maximum(shape - 1, 1)))


@njit(cache=True, nogil=True)
def _at(nodes: Any, step: Any, voxel: Any, k: Any) -> Any:
    """Return number k of a voxel, linear between the eight nodes around it."""
    total = 0.0
    for corner in range(8):
        share = 1.0
        a, b, c = voxel[0] // step[0], voxel[1] // step[1], voxel[2] // step[2]
        if corner & 4:
            a += 1
            share *= (voxel[0] % step[0]) / step[0]
        else:
            share *= 1 - (voxel[0] % step[0]) / step[0]
        if corner & 2:
            b += 1
            share *= (voxel[1] % step[1]) / step[1]
        else:
            share *= 1 - (voxel[1] % step[1]) / step[1]
        if corner & 1:
            c += 1
            share *= (voxel[2] % step[2]) / step[2]
        else:
            share *= 1 - (voxel[2] % step[2]) / step[2]
        if share > 0:
            total += share * nodes[a, b, c, k]
    return total


@njit(cache=True, nogil=True)
def _interpolate(nodes: Any, step: Any, start: Any, out: Any) -> None:
    voxel = np.empty(3, np.int64)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                voxel[0], voxel[1], voxel[2] = start[0] + z, start[1] + y, start[2] + x
                for k in range(out.shape[3]):
                    out[z, y, x, k] = _at(nodes, step, voxel, k)


@njit(cache=True, nogil=True)
def _look_up(nodes: Any, step: Any, start: Any, values: Any, first: Any, out: Any) -> None:
    """Fill in the labels; a voxel face belongs to the voxel of larger index, as in `lookup`."""
    voxel = np.empty(3, np.int64)
    place = np.empty(3, np.int64)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                voxel[0], voxel[1], voxel[2] = start[0] + z, start[1] + y, start[2] + x
                inside = True
                for k in range(3):
                    at = np.floor(_at(nodes, step, voxel, k) + 0.5 + 1e-9) - first[k]
                    if at < 0 or at >= values.shape[k]:
                        inside = False
                        break
                    place[k] = at
                if inside:
                    out[z, y, x] = values[place[0], place[1], place[2]]
