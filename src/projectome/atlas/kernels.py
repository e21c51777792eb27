"""The one pass over an annotation: voxels, centroids, boxes and intensities of all regions.

Notation: R regions, H = 3 sides (not stated, left, right). All sums have R + 1 rows; the last is of
labels that no region has. Labels come in runs along x, so that a region is looked up once a run and
not once a voxel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.atlas.index import IdIndex, row_of, slot_of

KEPT_UNKNOWN = 256
"""Different labels without a region that are remembered."""
_FAR = np.iinfo(np.int64).max


class Shapes(NamedTuple):
    """Sums over voxels, shape (R + 1, 3) or (R + 1, 3, 3): region, side, axis.

    Attributes
    ----------
    voxels
        How many.
    places
        Sum of their indices (z, y, x).
    low, high
        Smallest and largest index.
    unknown
        Shape (256,): labels that no region has, 0 where there are fewer.
    """

    voxels: NDArray[np.int64]
    places: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    unknown: NDArray[np.int64]

    @classmethod
    def empty(cls, regions: int) -> Shapes:
        """Return sums over nothing."""
        size = (regions + 1, 3, 3)
        return cls(
            np.zeros(size[:2], np.int64),
            np.zeros(size, np.int64),
            np.full(size, _FAR, np.int64),
            np.full(size, -1, np.int64),
            np.zeros(KEPT_UNKNOWN, np.int64),
        )

    def add(self, other: Shapes) -> None:
        """Add other sums to these, in place."""
        self.voxels[:] += other.voxels
        self.places[:] += other.places
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        both = np.union1d(self.unknown, other.unknown)
        both = both[both != 0][:KEPT_UNKNOWN]
        self.unknown[:] = 0
        self.unknown[: len(both)] = both


class Signals(NamedTuple):
    """Sums over the voxels of an image, shape (R + 1, 3): region, side.

    Attributes
    ----------
    voxels
        Voxels with a value: those that are NaN are left out, here and in all sums.
    total
        Sum of their values.
    positive
        Voxels above the threshold.
    signal
        Sum of the values above the threshold.
    highest
        Largest value, -inf where there is none.
    missing
        Voxels that are NaN.
    """

    voxels: NDArray[np.int64]
    total: NDArray[np.float64]
    positive: NDArray[np.int64]
    signal: NDArray[np.float64]
    highest: NDArray[np.float64]
    missing: NDArray[np.int64]

    @classmethod
    def empty(cls, regions: int) -> Signals:
        """Return sums over nothing."""
        size = (regions + 1, 3)
        return cls(
            np.zeros(size, np.int64),
            np.zeros(size),
            np.zeros(size, np.int64),
            np.zeros(size),
            np.full(size, -np.inf),
            np.zeros(size, np.int64),
        )

    def add(self, other: Signals) -> None:
        """Add other sums to these, in place."""
        for name in ("voxels", "total", "positive", "signal", "missing"):
            getattr(self, name)[:] += getattr(other, name)
        np.maximum(self.highest, other.highest, out=self.highest)


class Ground(NamedTuple):
    """Where a box of labels lies, and on which side its voxels are.

    Attributes
    ----------
    start
        Index of its first voxel.
    ids
        Rows of the regions.
    plane
        Distance to the midline, see `projectome.atlas.sides.Sides`.
    halves
        Hemisphere of each voxel, for mode 2.
    mode
        0: no hemispheres, 1: by the plane, 2: voxel by voxel.
    """

    start: NDArray[np.int64]
    ids: IdIndex
    plane: NDArray[np.float64]
    halves: NDArray[np.uint8]
    mode: int


def add_shapes(sums: Shapes, labels: NDArray[Any], ground: Ground) -> None:
    """Add the voxels of a box to sums over regions; labels have the shape (Z, Y, X), C order."""
    start, ids, plane, halves, mode = ground
    _add_shapes(labels, start, ids.keys, ids.rows, plane, halves, mode, *sums)


@numba.njit(cache=True, nogil=True)
def _count_run(
    row: Any, side: Any, z: Any, y: Any, lines: Any, first: Any, last: Any,
    voxels: Any, places: Any, low: Any, high: Any,
) -> None:  # fmt: skip
    """Add voxels first .. last - 1 of the lines y .. y + lines - 1."""
    if last <= first:
        return
    long = last - first
    count = long * lines
    voxels[row, side] += count
    places[row, side, 0] += z * count
    places[row, side, 1] += long * (lines * (2 * y + lines - 1) // 2)
    places[row, side, 2] += lines * (long * (first + last - 1) // 2)
    low[row, side, 0] = min(low[row, side, 0], z)
    low[row, side, 1] = min(low[row, side, 1], y)
    low[row, side, 2] = min(low[row, side, 2], first)
    high[row, side, 0] = max(high[row, side, 0], z)
    high[row, side, 1] = max(high[row, side, 1], y + lines - 1)
    high[row, side, 2] = max(high[row, side, 2], last - 1)


@numba.njit(cache=True, nogil=True)
def _end_of_run(line: Any, i: Any) -> Any:
    """Return where the run that begins at i ends; eight at a time where it is long."""
    label = line[i]
    n = len(line)
    i += 1
    while i + 8 <= n:
        same = (
            (line[i] == label) & (line[i + 1] == label) & (line[i + 2] == label)
            & (line[i + 3] == label) & (line[i + 4] == label) & (line[i + 5] == label)
            & (line[i + 6] == label) & (line[i + 7] == label)
        )  # fmt: skip
        if not same:
            break
        i += 8
    while i < n and line[i] == label:
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def split_of(plane: Any, z: Any, y: Any, first: Any, count: Any) -> Any:
    """Return where a line of voxels crosses the midline, and the sides before and behind.

    Voxels first .. first + count - 1 along x at (z, y); the split is an offset among them, the
    sides are 1 (left) and 2 (right).
    """
    distance = plane[0] * z + plane[1] * y + plane[2] * first + plane[3]
    step = plane[2]
    here = 1 if distance < 0 else 2
    if step == 0 or (step > 0) == (distance >= 0):
        return count, here, here
    if step > 0:  # from the left to the right: the first voxel at or beyond the plane
        split = np.int64(np.ceil(-distance / step))
    else:  # from the right to the left: the first voxel with a negative distance
        split = np.int64(np.floor(distance / -step)) + 1
    return min(split, count), here, 3 - here


@numba.njit(cache=True, nogil=True)
def _remember(label: Any, unknown: Any) -> None:
    for i in range(len(unknown)):
        if unknown[i] == label:
            return
        if unknown[i] == 0:
            unknown[i] = label
            return


@numba.njit(cache=True, nogil=True)
def _add_shapes(
    labels: Any, start: Any, keys: Any, rows: Any, plane: Any, sides: Any, mode: Any,
    voxels: Any, places: Any, low: Any, high: Any, unknown: Any,
) -> None:  # fmt: skip
    depth, height, width = labels.shape
    nobody = len(voxels) - 1
    ends, found = np.empty(width, np.int64), np.empty(width, np.int64)
    for i in range(depth):
        z = start[0] + i
        j = 0
        while j < height:
            y = start[1] + j
            runs = _runs_of(labels[i, j], keys, rows, nobody, ends, found, unknown)
            split, before, behind = width, 0, 0
            if mode == 1:
                split, before, behind = split_of(plane, z, y, start[2], width)
            # Lines are often those before them again, and are counted with them.
            lines = 1
            while mode != 2 and j + lines < height:
                if not _same(labels[i, j + lines], labels[i, j]):
                    break
                if mode == 1:
                    other = split_of(plane, z, y + lines, start[2], width)
                    if other[0] != split or other[1] != before:
                        break
                lines += 1
            k = 0
            for run in range(runs):
                end, row = ends[run], found[run]
                if row >= 0 and mode == 2:
                    for x in range(k, end):
                        at = start[2] + x
                        side = sides[i, j, x]
                        _count_run(row, side, z, y, 1, at, at + 1, voxels, places, low, high)
                elif row >= 0:
                    first, last = k + start[2], end + start[2]
                    middle = min(max(split, k), end) + start[2]
                    _count_run(
                        row, before, z, y, lines, first, middle, voxels, places, low, high
                    )  # fmt: skip
                    _count_run(
                        row, behind, z, y, lines, middle, last, voxels, places, low, high
                    )  # fmt: skip
                k = end
            j += lines


@numba.njit(cache=True, nogil=True)
def _same(line: Any, other: Any) -> Any:
    """Say whether two lines are equal; the loop has no way out, so that it runs in vectors."""
    different = line[0] ^ other[0]
    for k in range(1, len(line)):
        different |= line[k] ^ other[k]
    return different == 0


@numba.njit(cache=True, nogil=True)
def _runs_of(
    line: Any, keys: Any, rows: Any, nobody: Any, ends: Any, found: Any, unknown: Any
) -> Any:
    """Fill in where each run of a line ends and its row, -1 outside; return how many there are."""
    runs = k = 0
    while k < len(line):
        end = _end_of_run(line, k)
        label, row = line[k], -1
        if label != 0:
            row = row_of(label, keys, rows)
            if row < 0:
                _remember(np.int64(label), unknown)
                row = nobody
        ends[runs], found[runs] = end, row
        runs += 1
        k = end
    return runs


def add_signals(
    sums: Signals, image: NDArray[Any], labels: NDArray[Any], ground: Ground, threshold: float
) -> None:
    """Add the voxels of an image to sums over regions; those above the threshold are signal."""
    start, ids, plane, halves, mode = ground
    _add_signals(
        image, labels, start, ids.keys, ids.rows, plane, halves, mode, threshold, *sums
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _add_signals(
    image: Any, labels: Any, start: Any, keys: Any, rows: Any, plane: Any, sides: Any, mode: Any,
    threshold: Any, voxels: Any, total: Any, positive: Any, signal: Any, highest: Any, missing: Any,
) -> None:  # fmt: skip
    depth, height, width = labels.shape
    nobody = len(voxels) - 1
    last = labels[0, 0, 0] if labels.size else 0
    row = row_of(last, keys, rows)
    for i in range(depth):
        for j in range(height):
            split, before, behind = width, 0, 0
            if mode == 1:
                split, before, behind = split_of(plane, start[0] + i, start[1] + j, start[2], width)
            for k in range(width):
                label = labels[i, j, k]
                if label == 0:
                    continue
                if label != last:
                    last = label
                    row = row_of(label, keys, rows)
                where = row if row >= 0 else nobody
                side = sides[i, j, k] if mode == 2 else (before if k < split else behind)
                value = np.float64(image[i, j, k])
                if np.isnan(value):
                    missing[where, side] += 1
                    continue
                voxels[where, side] += 1
                total[where, side] += value
                highest[where, side] = max(highest[where, side], value)
                if value > threshold:
                    positive[where, side] += 1
                    signal[where, side] += value


@numba.njit(cache=True, nogil=True)
def labels_in(labels: Any, room: Any) -> Any:
    """Return how many different labels other than 0 an array holds, listed in `room`; -1 if more.

    Parameters
    ----------
    labels
        Shape (Z, Y, X).
    room
        Shape (M,), int64, M a power of two, zeros: a hash table to fill.
    """
    mask = len(room) - 1
    found = 0
    last = np.int64(0)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for k in range(labels.shape[2]):
                label = np.int64(labels[i, j, k])
                if label == last or label == 0:
                    continue
                last = label
                place = slot_of(label, len(room))
                while room[place] != 0 and room[place] != label:
                    place = (place + 1) & mask
                if room[place] == 0:
                    found += 1
                    if 2 * found > mask:
                        return -1
                    room[place] = label
    return found
