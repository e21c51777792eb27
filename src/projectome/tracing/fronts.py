"""Kernels of the minimal path search: two fronts of settled voxels over tiles of a volume.

Notation: a tile holds V = 2**(a + b + c) places for voxels, of which its extent is used; S tiles
fit into the memory given. The address of a voxel is ``slot * V + place``, the same in the costs
and in the labels of both fronts. The label of a voxel is its least cost from the front's own end
found so far: 0 where there is none yet, negative where the front has settled the voxel.

Voxels wait in buckets of equal width, ordered by the reduced distance ``label + p - p(own end)``,
where ``p(v) = (least cost / 2) * (|v - other end| - |v - own end|)``. No edge is shorter than 0 in
that measure, and the p of both fronts cancel, so that two searches meet without losing exactness
(Ikeda et al. 1994, https://doi.org/10.1109/VNIS.1994.396824). A bucket is worked on until it is
empty; a voxel that becomes cheaper meanwhile is simply worked on again.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

ORIGIN = np.finfo(np.float64).tiny
"""Label of a front's own end: nothing beside any cost, yet not 0."""

UNREAD, OUTSIDE = -1, -2
"""In place of the slot of a neighbouring tile."""

BUCKET, SETTLED, FREE, ROOM, WANTED = range(5)
"""Places in `Front.state`: current bucket, voxels settled (with repeats), first free entry of the
queue, free entries, and the tile wanted as ``slot * 27 + direction``."""

GO_ON, DONE, TURN, READ, GROW = range(5)
"""Why `advance` returns: the path is found, the other front is due, a tile or room is needed."""

LEAD = 2000
"""Voxels that a front may have settled more than the other: equal numbers explore the least where
one end lies in the dark, since its front then goes far in cost within few voxels."""


class Tiles(NamedTuple):
    """Costs of the tiles read, and which tile lies beside which.

    `cost` (S * V,) float32; `beside` (S, 27) slots of the tiles around, itself in the middle;
    `origin` (S, 3) first voxels; `extent` (S, 3) voxels, fewer only in the last tiles of an axis;
    `layout` (2, 3) voxels an axis of the other tiles, and logarithms of the places an axis.
    """

    cost: NDArray[np.float32]
    beside: NDArray[np.int32]
    origin: NDArray[np.int64]
    extent: NDArray[np.int64]
    layout: NDArray[np.int64]


class Front(NamedTuple):
    """One of the two searches.

    `label` (S * V,) float64; `head` first entry of each bucket, 0 if empty, their number a power of
    two; `entries` (E, 2) uint32 address and next entry of the same bucket, or next free entry;
    `state` see above; `ends` (2, 3) own and other end.
    """

    label: NDArray[np.float64]
    head: NDArray[np.int64]
    entries: NDArray[np.uint32]
    state: NDArray[np.int64]
    ends: NDArray[np.float64]


class Rule(NamedTuple):
    """What both searches share.

    `steps` (26, 3) to the neighbours; `half` (26,) half their lengths [um]; `size` (3,) voxel
    size [um]; `slope` half the least cost; `offset` p of a front's own end; `scale` buckets a unit
    of cost.
    """

    steps: NDArray[np.int64]
    half: NDArray[np.float64]
    size: NDArray[np.float64]
    slope: float
    offset: float
    scale: float


# The helpers below take plain arrays: fields of a tuple that are looked up inside a loop, or passed
# on, would have their references counted each time, which trebles the run time.


@numba.njit(cache=True, nogil=True)
def potential(
    ends: NDArray[np.float64], size: NDArray[np.float64], z: float, y: float, x: float
) -> float:
    """Return how much farther a voxel lies from the other end than from the front's own [um]."""
    a, b, c = (z - ends[0, 0]) * size[0], (y - ends[0, 1]) * size[1], (x - ends[0, 2]) * size[2]
    d, e, f = (z - ends[1, 0]) * size[0], (y - ends[1, 1]) * size[1], (x - ends[1, 2]) * size[2]
    return np.sqrt(d * d + e * e + f * f) - np.sqrt(a * a + b * b + c * c)


@numba.njit(cache=True, nogil=True)
def side(value: int, extent: int) -> int:
    """Return 0, 1 or 2 for a coordinate before, in or past a tile."""
    return 0 if value < 0 else (2 if value >= extent else 1)


@numba.njit(cache=True, nogil=True)
def locate(
    beside: NDArray[np.int32],
    extent: NDArray[np.int64],
    layout: NDArray[np.int64],
    slot: int,
    z: int,
    y: int,
    x: int,
) -> int:
    """Return the address of a place in a tile or one voxel beside it.

    `UNREAD` or `OUTSIDE` where there is none.
    """
    a, b, c = side(z, extent[slot, 0]), side(y, extent[slot, 1]), side(x, extent[slot, 2])
    target = int(beside[slot, 9 * a + 3 * b + c])
    z = layout[0, 0] - 1 if a == 0 else (0 if a == 2 else z)
    y = layout[0, 1] - 1 if b == 0 else (0 if b == 2 else y)
    x = layout[0, 2] - 1 if c == 0 else (0 if c == 2 else x)
    address = (((((target << layout[1, 0]) + z) << layout[1, 1]) + y) << layout[1, 2]) + x
    return int(address) if target >= 0 else target


@numba.njit(cache=True, nogil=True)
def unread_beside(
    beside: NDArray[np.int32], extent: NDArray[np.int64], slot: int, z: int, y: int, x: int
) -> int:
    """Return the direction of a tile that the neighbours of a voxel need, or -1."""
    depth, height, width = extent[slot, 0], extent[slot, 1], extent[slot, 2]
    found = -1
    for a in range(side(z - 1, depth), side(z + 1, depth) + 1):
        for b in range(side(y - 1, height), side(y + 1, height) + 1):
            for c in range(side(x - 1, width), side(x + 1, width) + 1):
                if found < 0 and beside[slot, 9 * a + 3 * b + c] == UNREAD:
                    found = 9 * a + 3 * b + c
    return found


@numba.njit(cache=True, nogil=True)
def next_bucket(state: NDArray[np.int64], ahead: NDArray[np.int64], goal: float) -> int:
    """Pass on to the next bucket and say how the search goes on.

    A voxel that neither front has settled lies at least their current buckets, together, along
    any path through it; `goal` is the best path found so far in buckets.
    """
    state[BUCKET] += 1
    if state[BUCKET] + ahead[BUCKET] >= goal:
        return DONE
    return TURN if state[SETTLED] > ahead[SETTLED] + LEAD else GO_ON


@numba.njit(cache=True, nogil=True)
def advance(
    tiles: Tiles, front: Front, facing: Front, rule: Rule, best: NDArray[np.float64]
) -> int:
    """Settle voxels of one front, bucket by bucket, until it is `LEAD` ahead of the other.

    Returns `DONE`, `TURN`, `READ` (state[WANTED] names the tile) or `GROW` (its queue is full);
    after the last two the same call continues as if nothing had happened. `best` holds the least
    cost of a whole path found so far and the address where its halves meet.
    """
    cost, beside, origin, extent, layout = tiles
    label, head, entries, state, ends = front
    steps, half, size, slope, offset, scale = rule
    other, ahead = facing.label, facing.state
    whole, plane, row = layout[1].sum(), layout[1, 1] + layout[1, 2], layout[1, 2]
    jump = (steps[:, 0] << plane) + (steps[:, 1] << row) + steps[:, 2]
    while True:
        bucket = state[BUCKET]
        entry = head[bucket & (head.size - 1)]
        if entry == 0:
            reason = next_bucket(state, ahead, (best[0] - 2 * offset) * scale)
            if reason == GO_ON:
                continue
            return reason
        if state[ROOM] < 26:
            return GROW
        at = np.int64(entries[entry, 0])
        slot = at >> whole
        z = (at >> plane) & ((1 << (whole - plane)) - 1)
        y = (at >> row) & ((1 << (plane - row)) - 1)
        x = at & ((1 << row) - 1)
        depth, height, width = extent[slot, 0], extent[slot, 1], extent[slot, 2]
        inside = 0 < z < depth - 1 and 0 < y < height - 1 and 0 < x < width - 1
        reached, own = label[at], np.float64(cost[at])
        if reached > 0 and not inside:
            direction = unread_beside(beside, extent, slot, z, y, x)
            if direction >= 0:
                state[WANTED] = slot * 27 + direction
                return READ
        head[bucket & (head.size - 1)] = entries[entry, 1]
        entries[entry, 1], state[FREE] = state[FREE], entry
        state[ROOM] += 1
        if reached < 0:
            continue
        label[at] = -reached
        state[SETTLED] += 1
        if other[at] < 0:
            continue
        for k in range(26):
            if inside:
                to = at + jump[k]
            else:
                to = locate(
                    beside, extent, layout, slot, z + steps[k, 0], y + steps[k, 1], x + steps[k, 2]
                )
                if to < 0:
                    continue
            offer = reached + (own + np.float64(cost[to])) * half[k]
            if label[to] != 0 and offer >= abs(label[to]):
                continue
            label[to] = offer
            if other[to] != 0 and offer + abs(other[to]) < best[0]:
                best[0] = offer + abs(other[to])
                best[1] = np.float64(to)
            z1, y1 = origin[slot, 0] + z + steps[k, 0], origin[slot, 1] + y + steps[k, 1]
            p = slope * potential(ends, size, z1, y1, origin[slot, 2] + x + steps[k, 2])
            place = max(bucket, np.int64((offer - offset + p) * scale)) & (head.size - 1)
            entry, state[FREE] = state[FREE], entries[state[FREE], 1]
            entries[entry, 0], entries[entry, 1], head[place] = to, head[place], entry
            state[ROOM] -= 1


@numba.njit(cache=True, nogil=True)
def retrace(tiles: Tiles, front: Front, rule: Rule, address: int) -> NDArray[np.int64]:
    """Return the voxels from `address` back to the front's own end, shape (N, 3).

    Where several neighbours lead on equally well, the first in the order of `rule.steps` is
    taken: the path depends on the costs alone.
    """
    bits, found = tiles.layout[1], []
    while True:
        slot = address >> bits.sum()
        z = (address >> (bits[1] + bits[2])) & ((1 << bits[0]) - 1)
        y = (address >> bits[2]) & ((1 << bits[1]) - 1)
        x = address & ((1 << bits[2]) - 1)
        origin = tiles.origin[slot]
        found.append((origin[0] + z, origin[1] + y, origin[2] + x))
        reached = abs(front.label[address])
        if reached == ORIGIN:
            break
        own, least = np.float64(tiles.cost[address]), np.inf
        for k in range(26):
            z1, y1, x1 = z + rule.steps[k, 0], y + rule.steps[k, 1], x + rule.steps[k, 2]
            to = locate(tiles.beside, tiles.extent, tiles.layout, slot, z1, y1, x1)
            if to >= 0 and front.label[to] < 0:
                through = (np.float64(tiles.cost[to]) + own) * rule.half[k] - front.label[to]
                if through < least:
                    least, address = through, to
    voxels = np.empty((len(found), 3), np.int64)
    for i in range(len(found)):
        voxels[i, 0], voxels[i, 1], voxels[i, 2] = found[i]
    return voxels
