"""Where in a file the parts of an HDF5 dataset lie, so that remote ones can be fetched first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np

SPAN = 2**23
"""Longest run of a remote file that is fetched for the elements in it [bytes]."""
Piece: TypeAlias = tuple[tuple[slice, ...], int, int]
"""A part of a dataset, where in the file it lies, and how many bytes."""


def chunks_of(found: Any, region: tuple[slice, ...]) -> Iterator[Piece]:
    """Yield the parts of a region chunk by chunk, and where the chunk lies in the file."""
    spans = [
        range(s.start // c, -(-s.stop // c)) for s, c in zip(region, found.chunks, strict=True)
    ]
    for place in product(*spans):
        corner = tuple(i * c for i, c in zip(place, found.chunks, strict=True))
        info = found.id.get_chunk_info_by_coord(corner)
        part = tuple(
            slice(max(s.start, a), min(s.stop, a + c))
            for s, a, c in zip(region, corner, found.chunks, strict=True)
        )
        yield part, info.byte_offset or 0, info.size if info.byte_offset else 0


def runs_of(found: Any, region: tuple[slice, ...]) -> Iterator[Piece]:
    """Yield parts of a region that lie near one another in an array without chunks."""
    first, last = (
        int(np.ravel_multi_index(corner, found.shape))
        for corner in ([s.start for s in region], [s.stop - 1 for s in region])
    )
    size, offset = found.dtype.itemsize, found.id.get_offset()
    run = (last - first + 1) * size
    axis = next((i for i, s in enumerate(region) if s.stop - s.start > 1), None)
    if run <= SPAN or axis is None:
        yield region, (offset or 0) + first * size, run if offset else 0
        return
    middle = (region[axis].start + region[axis].stop) // 2
    for half in (slice(region[axis].start, middle), slice(middle, region[axis].stop)):
        yield from runs_of(found, (*region[:axis], half, *region[axis + 1 :]))
