"""Volumes, points and skeletons carried by a transform."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.affine import Affine
from projectome.core.box import Box, triple
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.transform import Transform
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import SpaceMismatchError

SLAB = 2_000_000
"""Voxels of the result that are computed at once."""


def carry_points(points: Points, transform: Transform, space: Space | None = None) -> Points:
    """Return points carried into the target of a transform.

    Points of a space without a name (a plain ``scan``) are taken for points of the source.

    Raises
    ------
    SpaceMismatchError
        If they lie in another space.
    """
    own = points if space is None else Points(points.coordinates, space, points.columns)
    return own.to(transform, transform.target)


def carry_skeleton(skeleton: Skeleton, transform: Transform, *, step: float) -> Skeleton:
    """Return a skeleton carried into the target of a transform, bent as the space is.

    Parameters
    ----------
    skeleton
        In the source of the transform.
    transform
        From its space.
    step
        Longest edge before it is carried, in the space of the skeleton [um]: edges are straight
        afterwards, nodes are where they belong.

    Returns
    -------
    Skeleton
        With nodes added on long edges; radii become unknown, kinds stay.
    """
    return divided(skeleton, step).to(transform, transform.target)


def divided(skeleton: Skeleton, step: float) -> Skeleton:
    """Return a skeleton with nodes added such that no edge is longer than `step` [um].

    Parents stand before children; the nodes that were there keep their places.
    """
    pieces = np.maximum(1, np.ceil(skeleton.lengths / step - 1e-9)).astype(np.int64)
    pieces[skeleton.parent < 0] = 1
    last = np.cumsum(pieces) - 1  # where each old node stands now
    owner = np.repeat(np.arange(len(skeleton)), pieces)
    within = np.arange(len(owner)) - (last - pieces + 1)[owner] + 1
    share = (within / pieces[owner])[:, None]
    up = skeleton.parent[owner]
    start = skeleton.coordinates[np.maximum(up, 0)]
    where = start + share * (skeleton.coordinates[owner] - start)
    where[last] = skeleton.coordinates
    parent = np.arange(len(owner)) - 1
    first = within == 1
    parent[first] = np.where(up[first] < 0, -1, last[np.maximum(up[first], 0)])
    kind = None if skeleton.kind is None else skeleton.kind[owner]
    radius = None if skeleton.radius is None else skeleton.radius[owner]
    return Skeleton(where, parent, skeleton.space, radius, kind)


def carry_volume(
    volume: Volume,
    transform: Transform,
    grid: Affine,
    shape: tuple[int, int, int],
    *,
    channel: str | int | None = None,
) -> Volume:
    """Return a volume as it lies on a grid of the target of a transform.

    Parameters
    ----------
    volume
        In the source of the transform; labels are taken from the nearest voxel, images are
        interpolated linearly. What lies outside is 0.
    transform
        From the space of the volume; its way back is used.
    grid
        Voxels of the result to the target.
    shape
        Voxels of the result.
    channel
        Which one, of several.

    Returns
    -------
    Volume
        In memory, of the same element type.

    Raises
    ------
    SpaceMismatchError
        If the spaces do not fit.
    """
    if (volume.space, grid.target) != (transform.source, transform.target):
        raise SpaceMismatchError(
            f"The transform leads from {transform.source} to {transform.target}; the volume lies "
            f"in {volume.space} and the result in {grid.target}."
        )
    back, inverse = transform.inverse(), volume.affine.inverse()
    out = np.zeros(shape, volume.dtype)
    smooth = volume.kind != "labels"
    for start, stop in _slabs(shape):
        index = np.indices((stop - start, *shape[1:])).reshape(3, -1).T
        index[:, 0] += start
        at = inverse(back(grid(index)))
        out[start:stop] = _sampled(volume, at, smooth, channel).reshape(-1, *shape[1:])
    return Volume(ArrayInMemory(out), grid, kind=volume.kind, name=volume.name)


def _slabs(shape: tuple[int, int, int]) -> Iterator[tuple[int, int]]:
    planes = max(1, SLAB // (shape[1] * shape[2]))
    for start in range(0, shape[0], planes):
        yield start, min(shape[0], start + planes)


def _sampled(
    volume: Volume, at: NDArray[np.float64], smooth: bool, channel: str | int | None
) -> NDArray[np.generic]:
    """Return the values at voxel positions (N, 3), reading only the box around them."""
    inside = ((at > -0.5) & (at < np.asarray(volume.shape) - 0.5)).all(axis=1)
    out = np.zeros(len(at), volume.dtype)
    if not inside.any():
        return out
    low = triple(np.maximum(0, np.floor(at[inside].min(axis=0))).astype(int))
    high = triple(np.minimum(volume.shape, np.ceil(at[inside].max(axis=0)) + 1).astype(int))
    values = volume.read(Box(low, high), channel=channel)
    if values.ndim == 4:
        values = values[0]
    local = at[inside] - low
    if not smooth:
        nearest = np.clip(np.floor(local + 0.5).astype(np.int64), 0, np.array(values.shape) - 1)
        out[inside] = values[tuple(nearest.T)]
        return out
    exact = np.float32 if volume.dtype.itemsize <= 2 else np.float64
    found = ndimage.map_coordinates(values.astype(exact), local.T, order=1, mode="nearest")
    out[inside] = np.rint(found) if volume.dtype.kind in "iu" else found
    return out
