"""How the labels of two volumes overlap: a sparse table from which all scores of labels follow.

Notation: the table has K rows, one for each pair of a true label and a found label that share
voxels. It is built block by block, and the tables of blocks add up to that of the volume: the
scores do not depend on the blocks, nor on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import read_only
from projectome.errors import FormatError, ShapeError

FIRST_SLOTS = 1 << 10
"""Slots of the hash table to begin with; a power of two."""
PIECE = 1 << 26
"""Voxels that are looked at together where types have to be made equal."""
PENDING = 1 << 22
"""Rows that wait before they are added up."""


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """Overlaps of true and found labels, K pairs sorted by the true and then the found label.

    Attributes
    ----------
    truth, found
        Shape (K,), uint64: the labels of each pair. No pair occurs twice.
    count
        Shape (K,), int64: voxels that carry both, at least one.
    place
        Shape (K,), int64: the first of those voxels, as its index in C order in the whole volume.
    """

    truth: NDArray[np.uint64]
    found: NDArray[np.uint64]
    count: NDArray[np.int64]
    place: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, kind in (
            ("truth", np.uint64),
            ("found", np.uint64),
            ("count", np.int64),
            ("place", np.int64),
        ):
            object.__setattr__(self, name, read_only(getattr(self, name), kind))
        shapes = {self.truth.shape, self.found.shape, self.count.shape, self.place.shape}
        if len(shapes) > 1 or self.truth.ndim != 1:
            raise ShapeError(f"The columns of a contingency table have one length, not {shapes}.")

    def __len__(self) -> int:
        return len(self.count)

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.count.sum())

    @classmethod
    def add_up(cls, tables: Iterable[Contingency]) -> Contingency:
        """Return the table of the voxels of all tables together, in whatever order they come.

        Parameters
        ----------
        tables
            Of blocks that share no voxel; taken one by one.
        """
        nothing: NDArray[Any] = np.empty(0, np.int64)
        whole, waiting, rows = cls(nothing, nothing, nothing, nothing), [], 0
        for table in tables:
            waiting.append(table)
            rows += len(table)
            if rows > max(PENDING, len(whole)):
                whole, waiting, rows = _merged([whole, *waiting]), [], 0
        return _merged([whole, *waiting])

    def without(self, *, truth: Sequence[int] = (), found: Sequence[int] = ()) -> Contingency:
        """Return the table of the voxels that carry none of these true, and none of these labels.

        Parameters
        ----------
        truth, found
            Labels whose voxels are left out.
        """
        out = np.isin(self.truth, _labels(truth)) | np.isin(self.found, _labels(found))
        keep = ~out
        return Contingency(self.truth[keep], self.found[keep], self.count[keep], self.place[keep])

    def true_sizes(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the true labels, their voxels, and for each row the place of its label.

        Returns
        -------
        labels : numpy.ndarray of uint64
            Shape (N,), ascending.
        sizes : numpy.ndarray of int64
            Shape (N,).
        inverse : numpy.ndarray of int64
            Shape (K,).
        """
        return _sizes(self.truth, self.count)

    def found_sizes(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the found labels, their voxels, and for each row the place of its label."""
        return _sizes(self.found, self.count)


def contingency(
    truth: ArrayLike, found: ArrayLike, *, scored: ArrayLike | None = None
) -> Contingency:
    """Count how often each true label meets each found label.

    Parameters
    ----------
    truth, found
        Labels: whole numbers from 0 on, of one shape.
    scored
        Of the same shape; only voxels that are not 0 here are counted. All by default.

    Returns
    -------
    Contingency
        ``place`` is the index in C order in these arrays.

    Raises
    ------
    FormatError
        If labels are not whole numbers, or negative.
    ShapeError
        If the shapes differ.

    Notes
    -----
    Runs of equal pairs along the last axis are counted at once, so that large objects and empty
    tissue cost hardly more than reading them. Memory is that of the pairs, and of copies of 2^26
    voxels where an array is not contiguous or the types differ.
    """
    a, b = label_array(truth, "The truth"), label_array(found, "The prediction")
    if a.shape != b.shape:
        raise ShapeError(
            f"Truth and prediction need one shape, not {a.shape} and {b.shape}. Crop or resample "
            "one of them onto the voxels of the other."
        )
    mask: NDArray[Any] | None = None
    if scored is not None:
        mask = np.asarray(scored) != 0
        if mask.shape != a.shape:
            raise ShapeError(f"The mask needs the shape of the labels {a.shape}, not {mask.shape}.")
    wide = a.dtype if a.dtype.itemsize >= b.dtype.itemsize else b.dtype
    table = _Table()
    whole = all(part.flags.c_contiguous for part in (a, b)) and a.dtype == b.dtype
    for first, rows in _pieces(a.shape, whole):
        parts = [np.ascontiguousarray(part[rows], wide).ravel() for part in (a, b)]
        inside = np.empty(0, np.bool_) if mask is None else mask[rows].ravel()
        table.add(parts[0], parts[1], inside, first)
    return table.sorted()


def label_array(values: ArrayLike, what: str = "A label array") -> NDArray[Any]:
    """Return labels as an array of an unsigned type, without a copy.

    Parameters
    ----------
    values
        Whole numbers from 0 on.
    what
        Begins messages.

    Raises
    ------
    FormatError
        If they are fractions, or negative.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biu":
        raise FormatError(
            f"{what} holds {array.dtype}, but labels are whole numbers. Write them as uint32 or "
            "uint64; a probability becomes labels by `projectome segment`, or is scored as voxels "
            "with a threshold."
        )
    if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        raise FormatError(
            f"{what} holds the label {int(array.min())}, but labels count from 0, the background. "
            "Give voxels that are not to be scored a label of their own, and name it as ignored."
        )
    size = array.dtype.itemsize
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{size}")


def _pieces(shape: tuple[int, ...], whole: bool) -> Iterable[tuple[int, Any]]:
    """Yield the index in C order of the first voxel of each piece, and its index."""
    size = int(np.prod(shape, dtype=np.int64))
    if whole or size <= PIECE or not shape:
        yield 0, ...
        return
    row = size // shape[0]
    rows = max(1, PIECE // row)
    for start in range(0, shape[0], rows):
        yield start * row, slice(start, start + rows)


def _labels(values: Sequence[int]) -> NDArray[np.uint64]:
    return np.asarray([value for value in values if value >= 0], np.uint64)


def _sizes(
    labels: NDArray[np.uint64], count: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    unique, inverse = np.unique(labels, return_inverse=True)
    sizes = np.zeros(len(unique), np.int64)
    np.add.at(sizes, inverse, count)
    return unique, sizes, inverse


def _merged(tables: Sequence[Contingency]) -> Contingency:
    """Return one table with each pair once."""
    truth, found, count, place = (
        np.concatenate([getattr(table, name) for table in tables])
        for name in ("truth", "found", "count", "place")
    )
    order = np.lexsort((place, found, truth))
    truth, found = truth[order], found[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (truth[1:] != truth[:-1]) | (found[1:] != found[:-1])
    starts = np.flatnonzero(fresh)
    total = np.add.reduceat(count[order], starts) if len(starts) else count
    return Contingency(truth[starts], found[starts], total, place[order][starts])


class _Table:
    """A hash table of pairs that grows; open addressing, at most half full."""

    def __init__(self) -> None:
        self.keys = np.zeros((FIRST_SLOTS, 2), np.uint64)
        self.values = np.zeros((FIRST_SLOTS, 2), np.int64)  # voxels, 0 in an empty slot; place
        self.used = 0

    def add(self, a: NDArray[Any], b: NDArray[Any], inside: NDArray[np.bool_], first: int) -> None:
        """Count the voxels of one piece, whose first has the index `first`."""
        done = 0
        while done < len(a):
            done, self.used = _tally(a, b, inside, done, first, self.keys, self.values, self.used)
            if 2 * self.used >= len(self.keys):
                self.grow()

    def grow(self) -> None:
        """Move to a table four times as large."""
        keys = np.zeros((4 * len(self.keys), 2), np.uint64)
        values = np.zeros((4 * len(self.keys), 2), np.int64)
        _move(self.keys, self.values, keys, values)
        self.keys, self.values = keys, values

    def sorted(self) -> Contingency:
        """Return what was counted."""
        full = self.values[:, 0] > 0
        keys, values = self.keys[full], self.values[full]
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        keys, values = keys[order], values[order]
        return Contingency(keys[:, 0], keys[:, 1], values[:, 0], values[:, 1])


@njit(cache=True, nogil=True, inline="always")
def _slot(x: int, y: int, keys: Any, values: Any) -> Any:
    """Return the slot of a pair, or the empty one where it belongs."""
    mask = np.uint64(len(keys) - 1)
    mixed = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(y) * np.uint64(
        0xC2B2AE3D27D4EB4F
    )
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    at = (mixed ^ (mixed >> np.uint64(32))) & mask
    while values[at, 0] and (keys[at, 0] != x or keys[at, 1] != y):
        at = (at + np.uint64(1)) & mask
    return at


@njit(cache=True, nogil=True)
def _tally(
    a: Any, b: Any, inside: Any, start: int, first: int, keys: Any, values: Any, used: int
) -> tuple[int, int]:
    """Count runs from `start` on until the end, or until the table is half full."""
    n, masked, room = len(a), len(inside) > 0, len(keys) // 2
    i = start
    while i < n and used < room:
        if masked and not inside[i]:
            i += 1
            continue
        x, y = np.uint64(a[i]), np.uint64(b[i])
        j = i + 1
        if masked:
            while j < n and inside[j] and a[j] == a[i] and b[j] == b[i]:
                j += 1
        else:
            while j < n and a[j] == a[i] and b[j] == b[i]:
                j += 1
        at = _slot(x, y, keys, values)
        if values[at, 0] == 0:
            keys[at, 0], keys[at, 1] = x, y
            values[at, 1] = first + i
            used += 1
        values[at, 0] += j - i
        i = j
    return i, used


@njit(cache=True, nogil=True)
def _move(keys: Any, values: Any, new_keys: Any, new_values: Any) -> None:
    """Copy all pairs into a larger table."""
    for i in range(len(keys)):
        if values[i, 0]:
            at = _slot(keys[i, 0], keys[i, 1], new_keys, new_values)
            new_keys[at, 0], new_keys[at, 1] = keys[i, 0], keys[i, 1]
            new_values[at, 0], new_values[at, 1] = values[i, 0], values[i, 1]
