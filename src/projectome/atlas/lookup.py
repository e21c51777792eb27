"""Which region is where: labels at points, and the nearest region just outside.

A voxel reaches half a voxel to each side of its centre, and a point on a face belongs to the voxel
of larger index: index = floor((p - translation) / size + 1/2), as everywhere in projectome. Sources
that count from the corner of voxel 0 are converted where they are read.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates
from projectome.core.atlas import Atlas
from projectome.core.box import Box, triple
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.settings import memory_budget

AT_ONCE = 2**29
"""A box of voxels up to this size is read in one piece [bytes]."""
FARTHEST = 32
"""Voxels to each side that are searched for the nearest region."""


def region_at(
    atlas: Atlas, points: ArrayLike, *, within_um: float = 0.0, memory: int | str | None = None
) -> NDArray[np.int64]:
    """Return the region id at each point.

    Parameters
    ----------
    atlas
        Its annotation is looked up.
    points
        Shape (N, 3), order (z, y, x) [um of the atlas].
    within_um
        Points outside all regions get the nearest region that has a voxel no farther than this;
        of several equally near, the one whose voxel comes first in the order z, y, x.
    memory
        What may be held of the annotation; by the settings if None.

    Returns
    -------
    numpy.ndarray of int64
        Shape (N,); 0 outside.

    Raises
    ------
    ParameterError
        If `within_um` is negative, or reaches over more than 32 voxels.
    ShapeError
        If a coordinate is NaN or infinite.
    """
    where = coordinates(points)
    labels = values_at(atlas.annotation, where, memory=memory).astype(np.int64)
    if within_um:
        outside = np.flatnonzero(labels == 0)
        labels[outside] = _nearest(atlas.annotation, where[outside], within_um)
    return labels


def values_at(
    volume: Volume, points: ArrayLike, *, memory: int | str | None = None
) -> NDArray[Any]:
    """Return the voxel that each point lies in.

    Parameters
    ----------
    volume
        Without a channel axis.
    points
        Shape (N, 3) [um of the volume's space].
    memory
        What may be held of the volume; by the settings if None.

    Returns
    -------
    numpy.ndarray
        Shape (N,), the type of the volume; 0 outside.

    Raises
    ------
    ShapeError
        If a coordinate is NaN or infinite.
    """
    where = np.ascontiguousarray(coordinates(points))
    voxels = np.empty((len(where), 3), np.int32)
    back = volume.affine.inverse().matrix
    low, high, broken = _voxels_of(where, back, np.asarray(volume.shape), voxels)
    if broken >= 0:
        raise ShapeError(
            f"Point {broken} has the coordinates {where[broken].tolist()}; positions are finite "
            "numbers. Remove it, or correct its row."
        )
    out = np.zeros(len(where), volume.dtype)
    if (high < low).any():
        return out
    box = Box(triple(low), triple(high + 1))
    limit = min(AT_ONCE, memory_budget(memory) // 2)
    if box.size * volume.dtype.itemsize <= limit:
        _gather(np.ascontiguousarray(volume.read(box)), voxels, np.asarray(box.start), out)
        return out
    for part, members in _by_chunk(volume, voxels):
        found = np.empty(len(members), volume.dtype)
        values = np.ascontiguousarray(volume.read(part))
        _gather(values, voxels[members], np.asarray(part.start), found)
        out[members] = found
    return out


def _by_chunk(volume: Volume, voxels: NDArray[np.int32]) -> Any:
    """Yield the chunks that hold points, and which points."""
    chunk, shape = np.asarray(volume.chunks), np.asarray(volume.shape)
    inside = np.flatnonzero(voxels[:, 0] >= 0)
    cells = voxels[inside] // chunk
    flat = np.ravel_multi_index(tuple(cells.T), tuple(-(-shape // chunk)))
    order = np.argsort(flat, kind="stable")
    starts = np.flatnonzero(np.diff(flat[order], prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(order)], strict=True):
        members = inside[order[first:last]]
        corner = cells[order[first]] * chunk
        yield Box(triple(corner), triple(np.minimum(corner + chunk, shape))), members


@numba.njit(cache=True, nogil=True)
def _voxels_of(points: Any, back: Any, shape: Any, voxels: Any) -> Any:
    """Fill in the voxel of each point, -1 outside; return the box of them and a broken point."""
    low, high = shape.copy(), np.full(3, -1, np.int64)
    for i in range(len(points)):
        inside = True
        for axis in range(3):
            at = back[axis, 3] + 0.5
            for k in range(3):
                at += back[axis, k] * points[i, k]
            if not np.isfinite(at):
                return low, high, i
            # Coordinates carry rounding: what is a face to 1e-9 of a voxel is that face.
            index = np.floor(at + 1e-9)
            if index < 0 or index >= shape[axis]:
                inside = False
            else:
                voxels[i, axis] = index
        if inside:
            for axis in range(3):
                low[axis] = min(low[axis], voxels[i, axis])
                high[axis] = max(high[axis], voxels[i, axis])
        else:
            voxels[i, :] = -1
    return low, high, -1


@numba.njit(cache=True, nogil=True)
def _gather(values: Any, voxels: Any, start: Any, out: Any) -> None:
    for i in range(len(voxels)):
        if voxels[i, 0] >= 0:
            z, y, x = voxels[i, 0] - start[0], voxels[i, 1] - start[1], voxels[i, 2] - start[2]
            out[i] = values[z, y, x]
        else:
            out[i] = 0


def _nearest(volume: Volume, points: NDArray[np.float64], within: float) -> NDArray[np.int64]:
    size = np.asarray(volume.voxel_size)
    if not within > 0 or not np.isfinite(within) or (within > FARTHEST * size).any():
        raise ParameterError(
            f"The nearest region is looked for within 0 to {FARTHEST * size.min():g} um "
            f"({FARTHEST} voxels) of a point, not {within!r} um. Use a coarser level of the atlas."
        )
    if not volume.affine.is_grid:
        raise ParameterError(
            f"The nearest region is looked for on plain grids; that of {volume.name} is turned "
            "against its axes."
        )
    out = np.zeros(len(points), np.int64)
    if not len(points):
        return out
    index = (points - volume.affine.translation) / size
    reach = np.ceil(within / size).astype(np.int64)
    # Points are taken by neighbourhoods, so that only these are read.
    cell = np.maximum(np.asarray(volume.chunks), 4 * reach)
    cells = np.floor(index / cell).astype(np.int64)
    near = ((index >= -0.5 - reach) & (index <= np.asarray(volume.shape) - 0.5 + reach)).all(axis=1)
    for place in np.unique(cells[near], axis=0):
        members = np.flatnonzero(near & (cells == place).all(axis=1))
        low = np.floor(index[members].min(axis=0) + 0.5).astype(np.int64) - reach
        high = np.floor(index[members].max(axis=0) + 0.5).astype(np.int64) + reach + 1
        box = Box(triple(low), triple(high)) & volume.box
        if box.size:
            values = np.ascontiguousarray(volume.read(box))
            start = np.asarray(box.start)
            out[members] = _nearest_in(values, index[members] - start, size, reach, within)
    return out


@numba.njit(cache=True, nogil=True)
def _nearest_in(values: Any, index: Any, size: Any, reach: Any, within: Any) -> Any:
    out = np.zeros(len(index), np.int64)
    for i in range(len(index)):
        best = within * within * (1 + 1e-12)
        found = np.int64(0)
        home = np.floor(index[i] + 0.5).astype(np.int64)
        for z in range(max(0, home[0] - reach[0]), min(values.shape[0], home[0] + reach[0] + 1)):
            for y in range(
                max(0, home[1] - reach[1]), min(values.shape[1], home[1] + reach[1] + 1)
            ):
                for x in range(
                    max(0, home[2] - reach[2]), min(values.shape[2], home[2] + reach[2] + 1)
                ):
                    if values[z, y, x] == 0:
                        continue
                    dz = max(0.0, abs(index[i, 0] - z) - 0.5) * size[0]
                    dy = max(0.0, abs(index[i, 1] - y) - 0.5) * size[1]
                    dx = max(0.0, abs(index[i, 2] - x) - 0.5) * size[2]
                    distance = dz * dz + dy * dy + dx * dx
                    if distance < best or (found == 0 and distance <= best):
                        best = distance
                        found = np.int64(values[z, y, x])
        out[i] = found
    return out


def corner_to_centre(points: ArrayLike, volume: Volume) -> NDArray[np.float64]:
    """Return points counted from the outer corner of voxel 0 as points of a volume's space.

    BrainGlobe's ``structure_from_coords`` and meshes, and the Allen's CCF micrometres, have their
    zero at that corner: voxel i reaches from i to i + 1 voxel sizes.

    Parameters
    ----------
    points
        Shape (N, 3), order (z, y, x) [um from the corner].
    volume
        The grid whose corner is meant; plain.
    """
    corner = volume.affine([(-0.5, -0.5, -0.5)])[0]
    return coordinates(points) + corner
