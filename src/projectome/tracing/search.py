"""The search for a minimal path: reads tiles of costs as the two fronts reach them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import BlockGrid, Box, Triple, triple
from projectome.errors import MemoryBudgetError, ParameterError
from projectome.settings import format_bytes
from projectome.tracing import fronts
from projectome.tracing.cost import CostSource
from projectome.tracing.fronts import Front, Rule, Tiles

BYTES_PER_VOXEL = 20
"""A cost and two labels; labels of tiles that one front alone reaches cost 8 bytes less."""

TILE = 32
"""Edge of a tile where the source does not ask for another [voxels]."""

ENTRIES = 2**16
"""Entries that the queue of a front starts with; it doubles when they are used up."""

DIRECTIONS = np.indices((3, 3, 3)).reshape(3, 27).T - 1


def tile_shape(source: CostSource) -> Triple:
    """Return the voxels read together: a chunk, several thin ones, or a part of a huge one."""
    edges = []
    for chunk, extent in zip(source.chunks, source.shape, strict=True):
        if chunk == 0:
            edge = TILE
        elif chunk > 4 * TILE:
            edge = 2 * TILE
        else:
            edge = chunk * -(-TILE // (2 * chunk))
        edges.append(min(edge, extent))
    return triple(edges)


class CostTiles:
    """Costs read so far, and room for the labels of two fronts.

    Parameters
    ----------
    source
        Costs.
    memory
        Bytes that costs and labels may take.
    tile
        Voxels of a tile; by default as suits the source.
    """

    def __init__(self, source: CostSource, *, memory: int, tile: Triple | None = None) -> None:
        self.source = source
        self.grid = BlockGrid(Box.from_shape(source.shape), tile or tile_shape(source))
        bits = [max(1, int(n - 1).bit_length()) for n in self.grid.block_shape]
        self.volume = 1 << sum(bits)
        self.capacity = min(len(self.grid), memory // (BYTES_PER_VOXEL * self.volume))
        self.memory = memory
        self.slots: dict[Triple, int] = {}
        self.boxes: list[Box] = []
        self.ends = [0, self.capacity]  # of the unused slots: each front fills from its own end
        self.index = np.zeros((self.capacity, 3), np.int64)
        self.tiles = Tiles(
            np.empty(self.capacity * self.volume, np.float32),
            np.full((self.capacity, 27), fronts.UNREAD, np.int32),
            np.zeros((self.capacity, 3), np.int64),
            np.zeros((self.capacity, 3), np.int64),
            np.asarray([self.grid.block_shape, bits], np.int64),
        )

    @property
    def voxels_read(self) -> int:
        """Voxels read so far."""
        return sum(box.size for box in self.boxes)

    @cached_property
    def places(self) -> Triple:
        """Places an axis of a tile in memory: powers of two."""
        return triple(1 << self.tiles.layout[1])

    def address(self, voxel: Triple, turn: int) -> int:
        """Return the address of a voxel; its tile is read if it has not been."""
        index = self.grid.index_at(voxel)
        slot = self.slots[index] if index in self.slots else self.read(index, turn)
        place = np.subtract(voxel, self.tiles.origin[slot])
        return slot * self.volume + int(np.ravel_multi_index(tuple(place), self.places))

    def read_wanted(self, wanted: int, turn: int) -> None:
        """Read the tile that a front has asked for."""
        slot, direction = divmod(wanted, 27)
        self.read(triple(self.index[slot] + DIRECTIONS[direction]), turn)

    def read(self, index: Triple, turn: int) -> int:
        """Read a tile, join it to those around it and return its slot.

        Raises
        ------
        MemoryBudgetError
            If the memory given is full.
        ParameterError
            If a cost is out of the bounds of the source.
        """
        if self.ends[0] == self.ends[1]:
            raise MemoryBudgetError(
                f"The search for a path has read {self.voxels_read} voxels and the "
                f"{format_bytes(self.memory)} it may use are full. Give it more memory, put a "
                "waypoint between the ends, trace a coarser level, or lower the contrast."
            )
        box = self.grid[index].core
        costs = self.source.read(box)
        least, greatest = self.source.bounds
        if not (least <= costs.min() and costs.max() <= greatest):
            raise ParameterError(
                f"Costs in the voxels {box} run from {costs.min()} to {costs.max()}; their source "
                f"promises {least} to {greatest}. Mend its bounds or its voxels."
            )
        slot = self.ends[turn] - turn
        self.ends[turn] += 1 - 2 * turn
        tiles, (z, y, x) = self.tiles, box.shape
        block = tiles.cost[slot * self.volume : (slot + 1) * self.volume].reshape(self.places)
        block[:z, :y, :x] = costs
        tiles.origin[slot], tiles.extent[slot], self.index[slot] = box.start, box.shape, index
        self.slots[index] = slot
        self.boxes.append(box)
        around = self.index[slot] + DIRECTIONS
        inside = ((around >= 0) & (around < self.grid.shape)).all(axis=1)
        for direction, beside in enumerate(map(tuple, around.tolist())):
            if not inside[direction]:
                tiles.beside[slot, direction] = fronts.OUTSIDE
            elif beside in self.slots:
                tiles.beside[slot, direction] = self.slots[beside]
                tiles.beside[self.slots[beside], 26 - direction] = slot
        return slot


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A minimal path between two voxels.

    Attributes
    ----------
    voxels
        Shape (N, 3), int64, from the start to the end.
    cost
        What it costs.
    bound
        What any path costs at least that uses a voxel no front has settled.
    settled
        Voxels that the fronts have settled.
    """

    voxels: NDArray[np.int64]
    cost: float
    bound: float
    settled: int


def search(tiles: CostTiles, start: Triple, end: Triple, size: NDArray[np.float64]) -> Found:
    """Return a cheapest path between two voxels.

    Parameters
    ----------
    tiles
        Costs; what is read stays for the next search.
    start, end
        Voxels inside the source.
    size
        Voxel size, shape (3,) [um].

    Returns
    -------
    Found
        The same voxels in the opposite order if start and end are exchanged, whatever the tiles.
    """
    if start == end:
        return Found(np.asarray([start], np.int64), 0.0, 0.0, 0)
    first, last = sorted((start, end))
    rule = make_rule(tiles.source.bounds, np.subtract(first, last), size)
    pair = [make_front(tiles, rule, ends) for ends in ((first, last), (last, first))]
    for turn, voxel in enumerate((first, last)):
        address = tiles.address(voxel, turn)
        pair[turn].label[address] = fronts.ORIGIN
        pair[turn].head[0], pair[turn].entries[1, 0] = 1, address
    best, turn = np.asarray([np.inf, 0.0]), 0
    while True:
        reason = fronts.advance(tiles.tiles, pair[turn], pair[1 - turn], rule, best)
        if reason == fronts.DONE:
            break
        if reason == fronts.READ:
            tiles.read_wanted(int(pair[turn].state[fronts.WANTED]), turn)
        elif reason == fronts.GROW:
            pair[turn] = grow(pair[turn])
        else:
            turn = 1 - turn
    halves = [fronts.retrace(tiles.tiles, front, rule, int(best[1])) for front in pair]
    voxels = np.concatenate([halves[0][::-1], halves[1][1:]])
    radius = sum(int(front.state[fronts.BUCKET]) for front in pair)
    return Found(
        voxels if start == first else voxels[::-1],
        float(best[0]),
        radius / rule.scale + 2 * rule.offset,
        sum(int(front.state[fronts.SETTLED]) for front in pair),
    )


def make_rule(
    bounds: tuple[float, float], apart: NDArray[np.int64], size: NDArray[np.float64]
) -> Rule:
    """Return the lengths of the steps and the width of the buckets.

    A quarter of the cheapest step is a bucket: narrower ones make more of them, wider ones make
    voxels be settled twice. Where the contrast is extreme they are wider, to bound their number.
    """
    steps = np.delete(DIRECTIONS, 13, axis=0)
    lengths = np.linalg.norm(steps * size, axis=1)
    slope = bounds[0] / 2
    longest = 2 * bounds[1] * float(lengths.max())
    width = max(bounds[0] * float(lengths.min()) / 4, longest / 2**20)
    offset = slope * float(np.linalg.norm(apart * size))
    return Rule(np.ascontiguousarray(steps), lengths / 2, size, slope, offset, 1 / width)


def make_front(tiles: CostTiles, rule: Rule, ends: tuple[Triple, Triple]) -> Front:
    """Return a front that has not started: entry 1 of its queue is the only one taken."""
    longest = 4 * tiles.source.bounds[1] * float(rule.half.max())
    buckets = 1 << (int(longest * rule.scale) + 2).bit_length()
    state = np.zeros(5, np.int64)
    state[fronts.FREE], state[fronts.ROOM] = 2, ENTRIES - 2
    return Front(
        np.zeros(tiles.capacity * tiles.volume),
        np.zeros(buckets, np.int64),
        free_entries(0, ENTRIES),
        state,
        np.asarray(ends, np.float64),
    )


def free_entries(start: int, stop: int) -> NDArray[np.uint32]:
    """Return entries of a queue, each of which leads to the next."""
    entries = np.zeros((stop - start, 2), np.uint32)
    entries[:, 1] = np.arange(start + 1, stop + 1)
    if start == 0:
        entries[1, 1] = 0
    return entries


def grow(front: Front) -> Front:
    """Return a front whose queue has twice as many entries, the new ones free and used first."""
    count = len(front.entries)
    entries = np.concatenate([front.entries, free_entries(count, 2 * count)])
    entries[-1, 1], front.state[fronts.FREE] = front.state[fronts.FREE], count
    front.state[fronts.ROOM] += count
    return front._replace(entries=entries)
