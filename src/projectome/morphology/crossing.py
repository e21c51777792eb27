"""Where skeletons cross planes and voxel faces, exactly.

An edge is named by its distal node, as in `Skeleton.lengths`. Nodes on a plane belong to the side
of its normal, and points on a face to the voxel of larger index, as everywhere in projectome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.atlas import Plane
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError

MAX_PIECES = 500_000_000
"""Pieces beyond which a unit is probably wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """K places where edges pass through a plane.

    Attributes
    ----------
    edge
        Shape (K,): distal node of each edge.
    points
        Shape (K, 3), order (z, y, x) [um].
    sign
        Shape (K,), int8: 1 where the cable, going away from its root, crosses toward the normal
        (for a midline: toward the right), -1 where it crosses back.
    """

    edge: NDArray[np.int64]
    points: NDArray[np.float64]
    sign: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.edge)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """M pieces of edges, each inside one voxel.

    Attributes
    ----------
    edge
        Shape (M,): distal node of the edge, ascending; the pieces of an edge run from its proximal
        to its distal node.
    voxel
        Shape (M, 3), int64, index (z, y, x); voxels outside the volume are listed as well.
    length
        Shape (M,) [um of the skeleton's space].
    """

    edge: NDArray[np.int64]
    voxel: NDArray[np.int64]
    length: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.edge)


def plane_crossings(skeleton: Skeleton, plane: Plane) -> Crossings:
    """Return where the cable passes through a plane, such as the midline.

    Raises
    ------
    SpaceMismatchError
        If skeleton and plane lie in different spaces.
    """
    check_space(skeleton, plane.space)
    distance = plane.distance(skeleton.coordinates)
    nodes, parents = skeleton.edges.T
    through = (distance[nodes] < 0) != (distance[parents] < 0)
    nodes, parents = nodes[through], parents[through]
    share = distance[parents] / (distance[parents] - distance[nodes])
    start, stop = skeleton.coordinates[parents], skeleton.coordinates[nodes]
    points = start + share[:, None] * (stop - start)
    return Crossings(nodes, points, np.where(distance[parents] < 0, 1, -1).astype(np.int8))


def side_lengths(skeleton: Skeleton, plane: Plane) -> NDArray[np.float64]:
    """Return how much of each edge lies before and behind a plane.

    Returns
    -------
    numpy.ndarray of float64
        Shape (N, 2) [um]: length of the edge above each node against the normal (for a midline:
        on the left) and on the side of the normal (on the right). Rows sum to `Skeleton.lengths`.

    Raises
    ------
    SpaceMismatchError
        If skeleton and plane lie in different spaces.
    """
    check_space(skeleton, plane.space)
    distance = plane.distance(skeleton.coordinates)
    above = distance[np.maximum(skeleton.parent, 0)]
    reach = np.abs(distance) + np.abs(above)
    before = np.maximum(-distance, 0) + np.maximum(-above, 0)
    share = np.divide(before, reach, out=np.zeros(len(skeleton)), where=reach > 0)
    left = share * skeleton.lengths
    return np.stack([left, skeleton.lengths - left], axis=1)


def voxel_pieces(skeleton: Skeleton, grid: Affine) -> Pieces:
    """Cut all edges at the faces of voxels.

    Parameters
    ----------
    skeleton
        What to cut.
    grid
        Voxel indices to the skeleton's space. A voxel reaches half a step to each side of its
        index.

    Returns
    -------
    Pieces
        None of them has length 0; the lengths of each edge sum to its own within rounding.

    Raises
    ------
    SpaceMismatchError
        If the grid leads into another space.
    ParameterError
        If there were more than `MAX_PIECES`: the units are wrong.

    References
    ----------
    Amanatides J., Woo A. (1987), A fast voxel traversal algorithm for ray tracing, Eurographics.
    """
    check_space(skeleton, grid.target)
    index = grid.inverse()(skeleton.coordinates) + 0.5  # faces at whole numbers
    nodes = np.flatnonzero(skeleton.lengths > 0)
    start, stop = index[skeleton.parent[nodes]], index[nodes]
    bound = (np.abs(np.floor(stop) - np.floor(start)).sum(axis=1) + 1).sum()
    if not bound <= MAX_PIECES or np.abs(index).max(initial=0) > 2**52:
        raise ParameterError(
            f"The edges of this skeleton cross about {bound:.2g} voxels of {grid.voxel_size} um: "
            "its units and those of the grid do not fit together."
        )
    edge, voxel, share = _walk(start, stop, int(bound))
    return Pieces(nodes[edge], voxel, share * skeleton.lengths[nodes][edge])


def check_space(skeleton: Skeleton, space: Space) -> None:
    """Refuse a skeleton of another space.

    Raises
    ------
    SpaceMismatchError
        If it lies in another.
    """
    if skeleton.space != space:
        raise SpaceMismatchError(
            f"The skeleton lies in {skeleton.space} and not in {space}; carry it there with "
            "Skeleton.to, or read the file with the right space."
        )


@numba.njit(cache=True, nogil=True)
def traverse(
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    voxels: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> int:
    """List the unit cells that a line passes through, and its share in each.

    Parameters
    ----------
    start, stop
        Ends, shape (3,), in units of cells; cell i reaches from i to i + 1.
    voxels, shares
        Filled from their beginning: shapes (M, 3) and (M,), M being at least 1 and the number of
        faces between the cells of the ends.

    Returns
    -------
    int
        How many were filled. Cells that the line only touches are left out.
    """
    z, y, x = np.floor(start[0]), np.floor(start[1]), np.floor(start[2])
    last_z, last_y, last_x = np.floor(stop[0]), np.floor(stop[1]), np.floor(stop[2])
    # Numbers and no small arrays: making these would take most of the time.
    at_z = _face(z, last_z, start[0], stop[0])
    at_y = _face(y, last_y, start[1], stop[1])
    at_x = _face(x, last_x, start[2], stop[2])
    filled = 0
    done = 0.0
    while True:
        first = min(at_z, at_y, at_x)
        reached = 1.0 if first == np.inf else min(max(first, done), 1.0)
        if reached > done:
            voxels[filled, 0] = np.int64(z)
            voxels[filled, 1] = np.int64(y)
            voxels[filled, 2] = np.int64(x)
            shares[filled] = reached - done
            filled += 1
            done = reached
        if first == np.inf:
            return filled
        if at_z == first:
            z += 1.0 if last_z > z else -1.0
            at_z = _face(z, last_z, start[0], stop[0])
        elif at_y == first:
            y += 1.0 if last_y > y else -1.0
            at_y = _face(y, last_y, start[1], stop[1])
        else:
            x += 1.0 if last_x > x else -1.0
            at_x = _face(x, last_x, start[2], stop[2])


@numba.njit(cache=True, nogil=True, inline="always")
def _face(cell: float, last: float, start: float, stop: float) -> float:
    """Return where along a line its next face lies; infinity in the cell of its end.

    A face at the start counts for lines that go down through it.
    """
    if cell == last:
        return float(np.inf)
    return (cell + (1.0 if last > cell else 0.0) - start) / (stop - start)


@numba.njit(cache=True, nogil=True)
def _walk(
    starts: NDArray[np.float64], stops: NDArray[np.float64], bound: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return edge, cell and share of every piece of every edge."""
    edges = np.empty(bound, np.int64)
    voxels = np.empty((bound, 3), np.int64)
    shares = np.empty(bound)
    filled = 0
    for edge in range(len(starts)):
        count = traverse(starts[edge], stops[edge], voxels[filled:], shares[filled:])
        edges[filled : filled + count] = edge
        filled += count
    return edges[:filled].copy(), voxels[:filled].copy(), shares[:filled].copy()
