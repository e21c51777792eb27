"""Draw skeletons into volumes of labels, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError, ShapeError
from projectome.morphology.crossing import check_space, traverse

PART = 16.0
"""Long edges are looked at in parts of at most so many voxels."""


def draw(
    skeletons: Sequence[Skeleton],
    values: ArrayLike,
    *,
    grid: Affine,
    box: Box,
    radius_um: float | None = None,
    dtype: DTypeLike = np.uint32,
) -> NDArray[np.integer]:
    """Draw skeletons into a box of voxels.

    A voxel is drawn if the cable passes through it, or if its centre lies in the tube around the
    cable: a ball of its radius around each node, and between the nodes of an edge a tube whose
    radius changes evenly. Where the radius is unknown only the cable is drawn.

    What a voxel shows does not depend on the box: the boxes of a grid together show what one large
    box shows.

    Parameters
    ----------
    skeletons
        What to draw, in this order; the later covers the earlier.
    values
        The label of each, one a skeleton, all within the range of `dtype`.
    grid
        Voxel indices to the space of the skeletons.
    box
        Which voxels to make.
    radius_um
        One radius for everything instead of the skeletons' own [um of the space]; 0 draws the cable
        alone.
    dtype
        Of the result; an integer type.

    Returns
    -------
    numpy.ndarray
        Shape of the box; 0 where nothing was drawn.

    Raises
    ------
    SpaceMismatchError
        If a skeleton lies in another space than the grid leads to.
    ShapeError
        If there is not one value a skeleton.
    ParameterError
        If a value does not fit into `dtype`, or the radius is not 0 or more.
    """
    kind = np.dtype(dtype)
    labels = np.asarray(values)
    if labels.shape != (len(skeletons),):
        raise ShapeError(f"{len(skeletons)} skeletons need as many values, not {labels.shape}.")
    if kind.kind not in "iu" or any(not 0 <= int(v) <= np.iinfo(kind).max for v in labels):
        raise ParameterError(f"Labels are 0 or more and fit into an integer type; not {kind}.")
    if radius_um is not None and not (np.isfinite(radius_um) and radius_um >= 0):
        raise ParameterError(f"radius_um is 0 or more micrometres, not {radius_um!r}.")
    out: NDArray[np.integer] = np.zeros(box.shape, kind)
    for skeleton, label in zip(skeletons, labels.astype(kind), strict=True):
        check_space(skeleton, grid.target)
        if box.size:
            _draw_one(out, skeleton, label, grid, box, radius_um)
    return out


def _draw_one(
    out: NDArray[np.integer],
    skeleton: Skeleton,
    label: np.integer,
    grid: Affine,
    box: Box,
    radius_um: float | None,
) -> None:
    """Draw one skeleton over what is there."""
    if radius_um is not None:
        radius = np.full(len(skeleton), float(radius_um))
    elif skeleton.radius is None:
        radius = np.zeros(len(skeleton))
    else:
        radius = np.nan_to_num(skeleton.radius.astype(np.float64), nan=0.0, posinf=0.0)
    inverse = grid.inverse()
    # A ball of radius 1 um reaches so many voxels along each axis.
    reach = np.linalg.norm(inverse.matrix[:3, :3], axis=1)
    above = np.where(skeleton.parent < 0, np.arange(len(skeleton)), skeleton.parent)
    index = inverse(skeleton.coordinates)
    margin = np.maximum(radius, radius[above])[:, None] * reach + 1
    low = np.minimum(index, index[above]) - margin
    high = np.maximum(index, index[above]) + margin
    touching = ((high >= box.start) & (low <= np.asarray(box.stop) - 1)).all(axis=1)
    nodes = np.flatnonzero(touching)
    _draw_edges(
        out,
        np.asarray(box.start),
        label,
        np.ascontiguousarray(index[above[nodes]]),
        np.ascontiguousarray(index[nodes]),
        radius[above[nodes]],
        radius[nodes],
        np.ascontiguousarray(grid.matrix[:3, :3]),
        reach,
    )


@numba.njit(cache=True, nogil=True)
def _draw_edges(
    out: NDArray[np.integer],
    origin: NDArray[np.int64],
    label: np.integer,
    near: NDArray[np.float64],
    far: NDArray[np.float64],
    near_radius: NDArray[np.float64],
    far_radius: NDArray[np.float64],
    linear: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> None:
    """Draw edges given in voxels; a root is an edge to itself."""
    for edge in range(len(near)):
        a, b = near[edge], far[edge]
        ra, rb = near_radius[edge], far_radius[edge]
        longest = np.abs(b - a).max()
        parts = max(1, int(np.ceil(longest / PART)))
        for part in range(parts):
            p, q = a + part / parts * (b - a), a + (part + 1) / parts * (b - a)
            _draw_cable(out, origin, label, p, q)
            if ra > 0 or rb > 0:
                margin = reach * max(ra, rb)
                low = np.ceil(np.minimum(p, q) - margin).astype(np.int64)
                high = np.floor(np.maximum(p, q) + margin).astype(np.int64) + 1
                _draw_tube(out, origin, label, a, b, ra, rb, linear, low, high)


@numba.njit(cache=True, nogil=True)
def _draw_cable(
    out: NDArray[np.integer],
    origin: NDArray[np.int64],
    label: np.integer,
    p: NDArray[np.float64],
    q: NDArray[np.float64],
) -> None:
    """Draw the voxels that a line passes through."""
    start, stop = p + 0.5, q + 0.5
    size = int(np.abs(np.floor(stop) - np.floor(start)).sum()) + 1
    voxels, shares = np.empty((size, 3), np.int64), np.empty(size)
    for i in range(traverse(start, stop, voxels, shares)):
        z, y, x = voxels[i] - origin
        if 0 <= z < out.shape[0] and 0 <= y < out.shape[1] and 0 <= x < out.shape[2]:
            out[z, y, x] = label


@numba.njit(cache=True, nogil=True)
def _draw_tube(
    out: NDArray[np.integer],
    origin: NDArray[np.int64],
    label: np.integer,
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    p_radius: float,
    q_radius: float,
    linear: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> None:
    """Draw the voxels from `low` to `high` with centres in two balls or in the tube between."""
    along = linear @ (q - p)
    squared = (along * along).sum()
    offset = np.empty(3)
    low = np.maximum(low, origin)
    high = np.minimum(high, origin + np.array(out.shape))
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                dz, dy, dx = z - p[0], y - p[1], x - p[2]
                dot = 0.0
                for i in range(3):
                    offset[i] = linear[i, 0] * dz + linear[i, 1] * dy + linear[i, 2] * dx
                    dot += offset[i] * along[i]
                share = min(1.0, max(0.0, dot / squared)) if squared > 0 else 0.0
                radius = p_radius + share * (q_radius - p_radius)
                from_p = from_q = from_axis = 0.0
                for i in range(3):
                    from_p += offset[i] ** 2
                    from_q += (offset[i] - along[i]) ** 2
                    from_axis += (offset[i] - share * along[i]) ** 2
                if from_p <= p_radius**2 or from_q <= q_radius**2 or from_axis <= radius**2:
                    out[z - origin[0], y - origin[1], x - origin[2]] = label
