"""How a volume is cut into blocks that fit into memory."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from projectome.core.box import Block, BlockGrid, Box, triple
from projectome.engine.ledger import last_grid
from projectome.engine.step import Step
from projectome.errors import MemoryBudgetError, ShapeError
from projectome.settings import format_bytes, memory_budget, resolve

PROCESS = 256 * 2**20
"""Memory of a process before any work: interpreter, libraries and caches [bytes]."""
LARGEST = 512**3
"""No block owns more voxels; beyond that the halo is cheap enough."""
FEWEST = 32
"""Blocks a job is cut into where its chunks allow, so that workers are occupied."""
SHARERS = 8
"""Blocks are sized as for so many workers, so that the plan is the same for fewer."""


def worker_count(workers: int | None = None) -> int:
    """Return the number of workers: as given, as set, or one a core."""
    chosen = workers if workers is not None else resolve()[0].workers
    if chosen:
        return chosen
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def room(budget: int, workers: int) -> int:
    """Return what is left for one block [bytes] in each of `workers` processes and the driver."""
    return (budget - PROCESS) // workers - PROCESS


def plan_grid(
    volume_shape: ArrayLike,
    *,
    chunks: int | ArrayLike,
    halo: int | ArrayLike = 0,
    bytes_per_voxel: float = 16,
    memory: int | str | None = None,
    workers: int | None = None,
    ledger: str | None = None,
) -> BlockGrid:
    """Cut a volume into blocks of whole chunks, as large as the memory allows.

    The plan depends on the memory given and hardly on anything else: it is the same for one to
    eight workers, it grows in steps of two, and an interrupted run goes on with the grid that it
    began with. Blocks stay below 512^3 voxels, and a volume of enough chunks is cut into at least
    32 of them, or two a worker.

    Parameters
    ----------
    volume_shape
        Voxels an axis, (z, y, x); a channel axis in front is not looked at.
    chunks
        Chunk of the output, or its shard: what one block at a time has to write. Blocks are
        whole multiples of it.
    halo
        Voxels that the step reads beyond each block.
    bytes_per_voxel
        Memory that the step takes a voxel read.
    memory
        What all processes together may use; see `memory_budget`.
    workers
        Blocks at a time; see `worker_count`.
    ledger
        Where an earlier run on the same output may have left the grid to go on with.

    Raises
    ------
    MemoryBudgetError
        If blocks of a single chunk do not fit; it names the memory that would do.
    """
    domain = Box.from_shape(np.asarray(volume_shape)[-3:])
    chunk, margin = triple(chunks, name="chunks"), triple(halo, name="halo")
    if min(chunk) < 1 or domain.size == 0:
        raise ShapeError(f"Cannot cut {domain.shape} voxels into blocks of chunks {chunk}.")
    count, budget = worker_count(workers), memory_budget(memory)

    def plan(factors: ArrayLike) -> BlockGrid:
        return BlockGrid(domain, triple(np.asarray(factors) * chunk), margin)

    def need(grid: BlockGrid) -> int:
        return int(max(block.read.size for block in _largest(grid)) * bytes_per_voxel)

    grid = plan((1, 1, 1))
    check_room(need(grid), budget, count, what="Even blocks of a single chunk")
    earlier = last_grid(ledger) if ledger is not None else None
    if earlier is not None and (earlier.domain, earlier.halo) == (domain, margin):
        whole = all(b % c == 0 for b, c in zip(earlier.block_shape, chunk, strict=True))
        if whole and need(earlier) <= room(budget, count):
            return earlier
    share = room(budget, max(count, SHARERS))
    share = 1 << max(share, 1).bit_length() - 1
    fewest = max(FEWEST, 2 * count)
    factors, growing = np.ones(3, dtype=int), np.ones(3, dtype=bool)
    while growing.any():
        # The shortest side grows first: a cube has the smallest halo.
        axis = int(np.argmin(np.where(growing, factors * chunk, np.iinfo(int).max)))
        larger = factors + factors * (np.arange(3) == axis)
        candidate = plan(larger)
        core = min(int(np.prod(candidate.block_shape)), domain.size)
        fits = core <= LARGEST and need(candidate) <= share and len(candidate) >= fewest
        if candidate.shape != grid.shape and fits:
            factors, grid = larger, candidate
        else:
            growing[axis] = False
    return grid


def _largest(grid: BlockGrid) -> list[Block]:
    """Return blocks among which are those of every shape that a grid has."""
    places = [sorted({0, 1, 2, n // 2, n - 2, n - 1} & set(range(n))) for n in grid.shape]
    return [grid[z, y, x] for z, y, x in product(*places)]


def block_memory(step: Step, grid: BlockGrid) -> int:
    """Return the memory that the largest block of a grid takes [bytes]."""
    return max((step.memory(block) for block in _largest(grid)), default=0)


def check_room(need: int, budget: int, workers: int, *, what: str) -> None:
    """Refuse a job that cannot fit.

    Parameters
    ----------
    need
        Memory of one block [bytes].
    budget
        What all processes together may use [bytes].
    workers
        Blocks at a time.
    what
        Begins the message: what needs it.

    Raises
    ------
    MemoryBudgetError
        With the `--memory` that would do.
    """
    if need <= room(budget, workers):
        return
    least = PROCESS + workers * (PROCESS + need)
    fewer = " or fewer --workers" if workers > 1 else ""
    raise MemoryBudgetError(
        f"{what} need {format_bytes(need)} each; {workers} at a time, with {format_bytes(PROCESS)} "
        f"for every process, make {format_bytes(least)}, but {format_bytes(budget)} may be used. "
        f"Give --memory {-(-least // 10**6)}MB{fewer}."
    )
