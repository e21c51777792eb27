"""The spatial index of annotations: coarse cells with a sample of all, finer ones with the rest.

References
----------
Neuroglancer, "Annotation format", section "Spatial index".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from projectome.io.sharded import murmur3

DEEPEST = 20
"""The last level takes all that is left: what lies at one place can never be told apart."""
SPREAD = 64
"""Cells are not divided where the annotations would then meet more than so many each."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the index; all triples are in the order (x, y, z).

    Attributes
    ----------
    grid
        Number of cells.
    chunk
        Size of a cell.
    cells
        Rows of the annotations in each cell that has some.
    """

    grid: tuple[int, ...]
    chunk: tuple[float, ...]
    cells: dict[tuple[int, int, int], NDArray[np.int64]]


def spatial_levels(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    ids: NDArray[np.uint64],
    *,
    limit: int,
    start: NDArray[np.float64],
    extent: NDArray[np.float64],
) -> Iterator[Level]:
    """Yield the levels, coarse to fine; each annotation stands in one of them.

    Parameters
    ----------
    low, high
        Bounds of each annotation, shape (N, 3), order (x, y, z).
    ids
        Shape (N,); chance is drawn from them, so that the same annotations give the same index.
    limit
        About so many in a cell at most.
    start, extent
        Where the grid begins, and its size, shape (3,).
    """
    left = np.argsort(murmur3(ids), kind="stable")
    grid = np.ones(3, dtype=np.int64)
    for number in range(DEEPEST + 1):
        chunk = extent / grid
        # "equal to, or half of, [...] whichever results in a more spatially isotropic chunk"
        finer = np.where(chunk * np.sqrt(2) >= chunk.max(), grid * 2, grid)
        first, last = _spans(low[left], high[left], start, chunk, grid)
        cells = _cells(left, first, last)
        fullest = max((len(rows) for rows in cells.values()), default=0)
        below = _spans(low[left], high[left], start, extent / finer, finer)
        spread = np.prod(below[1] - below[0] + 1, axis=1).sum()
        final = fullest <= limit or number == DEEPEST or spread > SPREAD * len(ids)
        chance = murmur3(ids ^ np.uint64(number << 32)) / 2.0**64
        taken = np.ones(len(ids), dtype=bool) if final else chance < limit / fullest
        emitted = {cell: rows[taken[rows]] for cell, rows in cells.items() if taken[rows].any()}
        yield Level(tuple(grid.tolist()), tuple(chunk.tolist()), emitted)
        left = left[~taken[left]]
        if not len(left):
            return
        grid = finer


def _spans(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    start: NDArray[np.float64],
    chunk: NDArray[np.float64],
    grid: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last cell along each axis that bounds meet."""
    first = np.clip(np.floor((low - start) / chunk), 0, grid - 1).astype(np.int64)
    last = np.clip(np.floor((high - start) / chunk), first, grid - 1).astype(np.int64)
    return first, last


def _cells(
    rows: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> dict[tuple[int, int, int], NDArray[np.int64]]:
    """Return the rows in each cell."""
    found: dict[tuple[int, int, int], list[int]] = {}
    for row, (x, y, z), (x1, y1, z1) in zip(
        rows.tolist(), first.tolist(), last.tolist(), strict=True
    ):
        for cell in product(range(x, x1 + 1), range(y, y1 + 1), range(z, z1 + 1)):
            found.setdefault(cell, []).append(row)
    return {cell: np.asarray(own) for cell, own in found.items()}


def morton_code(cell: tuple[int, ...], grid: tuple[int, ...]) -> int:
    """Return the compressed Morton code of a cell: bits interleaved, first dimension lowest.

    Examples
    --------
    >>> morton_code((3, 1, 0), (4, 2, 1))
    7
    """
    code = shift = 0
    for bit in range(max((size - 1).bit_length() for size in grid)):
        for place, size in zip(cell, grid, strict=True):
            if (size - 1) >> bit:
                code |= ((place >> bit) & 1) << shift
                shift += 1
    return code
