"""Where cable lies nearest to points, exactly: distances to segments, not to nodes.

Notation: P points, S segments (edges that have a length), order (z, y, x) [um]. Segments are sorted
along a Morton curve and boxed in a binary tree, so that a question looks at few of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates
from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError

LEAF = 4
"""Segments in a leaf of the tree of boxes."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest place on cable of each of P points.

    Attributes
    ----------
    distance
        Shape (P,) [um]; infinite where no cable lies within the limit.
    segment
        Shape (P,), the number of the segment; of several at the same distance the first; -1 where
        there is none.
    share
        Shape (P,), where on it: 0 at its start, 1 at its end.
    """

    distance: NDArray[np.float64]
    segment: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """All segments within a distance of each of P points, K in all.

    Attributes
    ----------
    first
        Shape (P + 1,): those of point i are the entries from ``first[i]`` to ``first[i + 1]``.
    segment, distance, share
        Shape (K,), as in `Nearest`; the nearest first, then in the order of the segments.
    """

    first: NDArray[np.int64]
    segment: NDArray[np.int64]
    distance: NDArray[np.float64]
    share: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cable:
    """S segments, ready for questions.

    Attributes
    ----------
    start, end
        Shape (S, 3); of an edge the proximal and the distal node.
    owner
        Shape (S,), which skeleton each belongs to.
    node
        Shape (S,), the distal node of each in its skeleton.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    owner: NDArray[np.int64]
    node: NDArray[np.int64]
    _order: NDArray[np.int64]
    _boxes: NDArray[np.float64]

    @classmethod
    def of(cls, forest: Sequence[Skeleton]) -> Cable:
        """Return the edges of skeletons; those without length are left out."""
        starts, ends, owners, distal = [np.empty((0, 3))], [np.empty((0, 3))], [], []
        for number, skeleton in enumerate(forest):
            nodes = np.flatnonzero(skeleton.lengths > 0)
            starts.append(skeleton.coordinates[skeleton.parent[nodes]])
            ends.append(skeleton.coordinates[nodes])
            owners.append(np.full(len(nodes), number, np.int64))
            distal.append(nodes)
        none = np.empty(0, np.int64)
        return cls.from_segments(
            np.concatenate(starts),
            np.concatenate(ends),
            np.concatenate([none, *owners]),
            np.concatenate([none, *distal]),
        )

    @classmethod
    def from_segments(
        cls,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        owner: NDArray[np.int64],
        node: NDArray[np.int64],
    ) -> Cable:
        """Return segments given one by one."""
        order = np.argsort(_morton((start + end) / 2), kind="stable")
        low, high = np.minimum(start, end)[order], np.maximum(start, end)[order]
        return cls(start, end, owner, node, order, _boxes(low, high))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each segment, shape (S,) [um]."""
        return np.linalg.norm(self.end - self.start, axis=1)

    def nearest(self, points: ArrayLike, *, limit_um: float = np.inf) -> Nearest:
        """Return the nearest place on any segment.

        Parameters
        ----------
        points
            Shape (P, 3).
        limit_um
            Places farther away are not looked for [um]; this distance is.

        Raises
        ------
        ParameterError
            If a point is not finite, or the limit is negative.
        """
        places = _checked(points, limit_um)
        return Nearest(
            *_nearest(places, self.start, self.end, self._order, self._boxes, float(limit_um))
        )

    def within(self, points: ArrayLike, distance_um: ArrayLike) -> Around:
        """Return all segments within a distance, this distance included.

        Parameters
        ----------
        points
            Shape (P, 3).
        distance_um
            One for all points, or shape (P,) [um].

        Raises
        ------
        ParameterError
            If a point or a distance is not finite, or a distance is negative.
        """
        reach = np.broadcast_to(np.asarray(distance_um, np.float64), (len(coordinates(points)),))
        places = _checked(points, float(reach.min(initial=0.0)))
        if not np.isfinite(reach).all():
            raise ParameterError("Distances to look within are finite numbers of micrometres.")
        point, segment, distance, share = _within(
            places, self.start, self.end, self._order, self._boxes, np.ascontiguousarray(reach)
        )
        order = np.lexsort((segment, distance, point))
        first = np.searchsorted(point[order], np.arange(len(places) + 1))
        return Around(first, segment[order], distance[order], share[order])


def _checked(points: ArrayLike, limit: float) -> NDArray[np.float64]:
    places = np.ascontiguousarray(coordinates(points))
    if not np.isfinite(places).all():
        raise ParameterError("Points need finite coordinates; drop the others first.")
    if not limit >= 0:
        raise ParameterError(f"A distance to look within is 0 or more micrometres, not {limit!r}.")
    return places


def _morton(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the place of each point on a Morton curve: 21 bits an axis, interleaved."""
    low = points.min(axis=0, initial=np.inf)
    size = max(float((points.max(axis=0, initial=-np.inf) - low).max(initial=0.0)), 1e-300)
    cells = ((points - low) / size * (2**21 - 1)).astype(np.uint64)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cells = (cells | (cells << np.uint64(shift))) & np.uint64(mask)
    return (cells[:, 0] << np.uint64(2)) | (cells[:, 1] << np.uint64(1)) | cells[:, 2]


def _boxes(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a complete binary tree of boxes, shape (2 L, 6), children of i at 2 i and 2 i + 1."""
    leaves = 1
    while leaves * LEAF < len(low):
        leaves *= 2
    tree = np.empty((2 * leaves, 6))
    tree[:, :3], tree[:, 3:] = np.inf, -np.inf
    if len(low):
        starts = np.arange(0, len(low), LEAF)
        tree[leaves : leaves + len(starts), :3] = np.minimum.reduceat(low, starts)
        tree[leaves : leaves + len(starts), 3:] = np.maximum.reduceat(high, starts)
    while leaves > 1:
        pairs = tree[leaves : 2 * leaves].reshape(-1, 2, 6)
        leaves //= 2
        tree[leaves : 2 * leaves, :3] = pairs[:, :, :3].min(axis=1)
        tree[leaves : 2 * leaves, 3:] = pairs[:, :, 3:].max(axis=1)
    return tree


@numba.njit(cache=True, nogil=True)
def _square_to_box(point: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    total = 0.0
    for axis in range(3):
        gap = max(box[axis] - point[axis], point[axis] - box[axis + 3], 0.0)
        total += gap * gap
    return total


@numba.njit(cache=True, nogil=True)
def square_to_segment(
    point: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the squared distance of a point to a segment, and where on it the foot lies."""
    along = square = 0.0
    for axis in range(3):
        way = end[axis] - start[axis]
        along += (point[axis] - start[axis]) * way
        square += way * way
    share = min(max(along / square, 0.0), 1.0) if square > 0 else 0.0
    total = 0.0
    for axis in range(3):
        # From the nearer end, so that both ends are met exactly.
        if share <= 0.5:
            gap = point[axis] - start[axis] - share * (end[axis] - start[axis])
        else:
            gap = point[axis] - end[axis] + (1 - share) * (end[axis] - start[axis])
        total += gap * gap
    return total, share


@numba.njit(cache=True, nogil=True)
def _nearest(
    points: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    order: NDArray[np.int64],
    boxes: NDArray[np.float64],
    limit: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    leaves = len(boxes) // 2
    distance = np.full(len(points), np.inf)
    found = np.full(len(points), -1, np.int64)
    shares = np.zeros(len(points))
    stack = np.empty(128, np.int64)
    for i in range(len(points)):
        best, which, where = limit * limit, -1, 0.0
        if i > 0 and found[i - 1] >= 0:  # neighbours in the list are often neighbours in space
            guess = found[i - 1]
            square, share = square_to_segment(points[i], start[guess], end[guess])
            if square <= best:
                best, which, where = square, guess, share
        stack[0] = 1
        depth = 1
        while depth > 0:
            depth -= 1
            box = stack[depth]
            if _square_to_box(points[i], boxes[box]) > best:
                continue
            if box < leaves:
                one = _square_to_box(points[i], boxes[2 * box])
                two = _square_to_box(points[i], boxes[2 * box + 1])
                near, far = (2 * box, 2 * box + 1) if one <= two else (2 * box + 1, 2 * box)
                stack[depth], stack[depth + 1] = far, near
                depth += 2
                continue
            for k in range((box - leaves) * LEAF, min((box - leaves + 1) * LEAF, len(order))):
                segment = order[k]
                square, share = square_to_segment(points[i], start[segment], end[segment])
                if square < best or (square == best and (which < 0 or segment < which)):
                    best, which, where = square, segment, share
        if which >= 0:
            distance[i], found[i], shares[i] = np.sqrt(best), which, where
    return distance, found, shares


@numba.njit(cache=True, nogil=True)
def _within(
    points: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    order: NDArray[np.int64],
    boxes: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    leaves = len(boxes) // 2
    size = max(16, 2 * len(points))
    owner = np.empty(size, np.int64)
    found = np.empty(size, np.int64)
    distance = np.empty(size)
    shares = np.empty(size)
    filled = 0
    stack = np.empty(128, np.int64)
    for i in range(len(points)):
        bound = reach[i] * reach[i]
        stack[0] = 1
        depth = 1
        while depth > 0:
            depth -= 1
            box = stack[depth]
            if _square_to_box(points[i], boxes[box]) > bound:
                continue
            if box < leaves:
                stack[depth], stack[depth + 1] = 2 * box, 2 * box + 1
                depth += 2
                continue
            for k in range((box - leaves) * LEAF, min((box - leaves + 1) * LEAF, len(order))):
                segment = order[k]
                square, share = square_to_segment(points[i], start[segment], end[segment])
                if square > bound:
                    continue
                if filled == size:
                    size *= 2
                    owner = np.concatenate((owner, np.empty(size - filled, np.int64)))
                    found = np.concatenate((found, np.empty(size - filled, np.int64)))
                    distance = np.concatenate((distance, np.empty(size - filled)))
                    shares = np.concatenate((shares, np.empty(size - filled)))
                owner[filled], found[filled] = i, segment
                distance[filled], shares[filled] = np.sqrt(square), share
                filled += 1
    return owner[:filled], found[:filled], distance[:filled], shares[:filled]
