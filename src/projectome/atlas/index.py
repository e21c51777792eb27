"""From region ids to rows of a terminology, for compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = -1
"""Row of an id that no region has, and of 0, the outside."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, eq=False)
class IdIndex:
    """A hash table of region ids.

    Attributes
    ----------
    keys
        Shape (S,), int64, S a power of two; 0 where a place is free.
    rows
        Shape (S,), int64: row of each id.
    """

    keys: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, ids: ArrayLike) -> IdIndex:
        """Return the table of different ids, none of them 0; row k for the k-th."""
        wanted = np.asarray(ids, dtype=np.int64)
        size = 1 << max(4, int(np.ceil(np.log2(4 * len(wanted) + 1))))
        keys, rows = np.zeros(size, np.int64), np.full(size, UNKNOWN, np.int64)
        _insert(wanted, keys, rows)
        return cls(keys, rows)

    def __call__(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each label, -1 where there is none; any shape."""
        flat = np.ascontiguousarray(labels).reshape(-1)
        return np.asarray(_rows(flat, self.keys, self.rows)).reshape(labels.shape)


@numba.njit(cache=True, nogil=True, inline="always")
def slot_of(label: Any, size: Any) -> Any:
    """Return the first place of a label in a hash table of so many places."""
    mixed = np.uint64(label) * _GOLDEN
    return np.int64((mixed >> np.uint64(32)) & np.uint64(size - 1))


@numba.njit(cache=True, nogil=True)
def _insert(ids: Any, keys: Any, rows: Any) -> None:
    for row in range(len(ids)):
        place = slot_of(ids[row], len(keys))
        while keys[place] != 0:
            place = (place + 1) & (len(keys) - 1)
        keys[place] = ids[row]
        rows[place] = row


@numba.njit(cache=True, nogil=True)
def row_of(label: Any, keys: Any, rows: Any) -> Any:
    """Return the row of one label, -1 if there is none; for use in other kernels."""
    wanted = np.int64(label)
    if wanted == 0:
        return UNKNOWN
    place = slot_of(wanted, len(keys))
    while keys[place] != 0:
        if keys[place] == wanted:
            return rows[place]
        place = (place + 1) & (len(keys) - 1)
    return UNKNOWN


@numba.njit(cache=True, nogil=True)
def _rows(labels: Any, keys: Any, rows: Any) -> Any:
    out = np.empty(len(labels), np.int64)
    if len(labels) == 0:
        return out
    last, row = labels[0], row_of(labels[0], keys, rows)
    for i in range(len(labels)):
        if labels[i] != last:
            last = labels[i]
            row = row_of(last, keys, rows)
        out[i] = row
    return out
