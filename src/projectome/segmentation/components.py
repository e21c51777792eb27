"""Connected components of a mask, block by block: local labels, matches across faces, merging.

Three phases, so that a volume larger than memory gets exactly the components of the whole:

1. each block labels its own voxels (`label_block`) and describes each fragment in a row;
2. each block finds which of its fragments touch fragments of its neighbours (`touching_pairs`);
3. the fragments are united (`merge_fragments`) and each block is renumbered.

A fragment is named by the number of its block and its number therein, packed into one integer.
Components are numbered by the place of their first voxel in the volume, so that their numbers do
not depend on how the volume was cut.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.box import Block, Triple
from projectome.core.region_graph import connected_components
from projectome.errors import ShapeError

Labels: TypeAlias = NDArray[np.uint32]
LOCAL_BITS = 32
EVERY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)


def fragment_id(block_number: int, local: NDArray[np.generic] | int) -> NDArray[np.uint64]:
    """Return the volume-wide ids of fragments of one block.

    Parameters
    ----------
    block_number
        Place of the block in the order of its grid.
    local
        Numbers of the fragments in the block, from 1.
    """
    base = np.uint64(block_number) << np.uint64(LOCAL_BITS)
    return base | np.asarray(local).astype(np.uint64)


def label_block(
    score: NDArray[Any], low: float, block: Block, volume_shape: Triple
) -> tuple[Labels, pd.DataFrame]:
    """Label the 26-connected voxels with at least a low score, and describe the fragments.

    Parameters
    ----------
    score
        Scores of the core of the block, shape (Z, Y, X).
    low
        Voxels with at least this score are foreground.
    block
        Where the voxels lie.
    volume_shape
        Shape of the whole volume, for the place of the first voxel.

    Returns
    -------
    labels
        Shape (Z, Y, X); 0 is background, fragments count from 1 in C order.
    fragments
        One row a fragment, in order: ``local``, ``voxels``, ``peak`` (highest score) and ``first``
        (flat index of its first voxel in the volume).
    """
    if score.shape != block.core.shape:
        raise ShapeError(f"Scores of shape {score.shape} do not fill {block}.")
    found, count = ndimage.label(score >= low, structure=EVERY_NEIGHBOUR)
    labels = found.astype(np.uint32)
    index = np.arange(1, int(count) + 1)
    flat = np.flatnonzero(labels)
    owners = labels.ravel()[flat]
    _, where = np.unique(owners, return_index=True)
    zyx = np.stack(np.unravel_index(flat[where], labels.shape))
    offset = np.asarray(block.core.start)[:, None]
    first = np.ravel_multi_index(tuple(zyx + offset), volume_shape)
    peak = np.zeros(int(count) + 1, dtype=np.float32)
    np.maximum.at(peak, owners, score.ravel()[flat].astype(np.float32))
    table = pd.DataFrame(
        {
            "local": index.astype(np.uint32),
            "voxels": np.bincount(owners, minlength=int(count) + 1)[1:].astype(np.int64),
            "peak": peak[1:],
            "first": first.astype(np.int64),
        }
    )
    return labels, table


@numba.njit(cache=True, nogil=True)
def _crossing_pairs(labels, owner, start, stop):  # type: ignore[no-untyped-def]
    """List (label here, label there, place) of touching voxels of this block and a later one.

    `owner` has the place of the neighbour block along each axis (0, 1, 2; the middle one is 1).
    """
    found = [(np.uint32(0), np.uint32(0), 0)]
    depth, height, width = labels.shape
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            inside = start[0] < z < stop[0] - 1 and start[1] < y < stop[1] - 1
            x = start[2]
            while x < stop[2]:
                here = labels[z, y, x]
                if here:
                    for dz in range(-1, 2):
                        for dy in range(-1, 2):
                            for dx in range(-1, 2):
                                a, b, c = z + dz, y + dy, x + dx
                                if a < 0 or b < 0 or c < 0:
                                    continue
                                if a >= depth or b >= height or c >= width:
                                    continue
                                there = labels[a, b, c]
                                place = owner[0][a] * 9 + owner[1][b] * 3 + owner[2][c]
                                # Forward neighbours only: the other block finds the rest.
                                if there and place > 13:
                                    found.append((here, there, place))
                if inside and x == start[2]:
                    x = max(x, stop[2] - 2)
                x += 1
    return found


def touching_pairs(labels: Labels, block: Block, grid_shape: Triple) -> NDArray[np.uint64]:
    """Return which fragments of a block touch fragments of the blocks after it.

    Parameters
    ----------
    labels
        Local labels read from the core grown by one voxel, clipped to the volume.
    block
        The block, with `read` the box of `labels`.
    grid_shape
        Blocks an axis.

    Returns
    -------
    numpy.ndarray of uint64
        Shape (P, 2), different pairs of fragment ids in ascending order.
    """
    owner = []
    for axis in range(3):
        position = np.arange(block.read.start[axis], block.read.stop[axis])
        side = (position >= block.core.start[axis]).astype(np.int64)
        owner.append(side + (position >= block.core.stop[axis]))
    inner = block.inner
    start = np.asarray([s.start for s in inner])
    stop = np.asarray([s.stop for s in inner])
    rows = np.asarray(
        _crossing_pairs(np.ascontiguousarray(labels), tuple(owner), start, stop), dtype=np.int64
    )[1:]
    if not len(rows):
        return np.empty((0, 2), np.uint64)
    rows = np.unique(rows, axis=0)
    offsets = np.stack(np.unravel_index(rows[:, 2], (3, 3, 3)), axis=1) - 1
    neighbours = np.asarray(block.index) + offsets
    number = np.ravel_multi_index(tuple(neighbours.T), grid_shape).astype(np.uint64)
    here = fragment_id(int(np.ravel_multi_index(block.index, grid_shape)), rows[:, 0])
    there = (number << np.uint64(LOCAL_BITS)) | rows[:, 1].astype(np.uint64)
    return np.unique(np.stack([here, there], axis=1), axis=0)


def merge_fragments(
    fragments: pd.DataFrame, pairs: NDArray[np.uint64], *, high: float, min_voxels: int
) -> pd.DataFrame:
    """Unite touching fragments and number the components that pass.

    Parameters
    ----------
    fragments
        Rows of `label_block` of all blocks with a column ``fragment``: the volume-wide id.
    pairs
        Shape (P, 2), fragments that touch.
    high
        A component needs a voxel with at least this score (hysteresis).
    min_voxels
        A component needs at least so many voxels.

    Returns
    -------
    pandas.DataFrame
        Columns ``fragment`` (ascending) and ``label``: 0 for what is dropped, else the number of
        the component, counted from 1 in the order of first voxels.
    """
    table = fragments.sort_values("fragment", kind="stable", ignore_index=True)
    ids = table["fragment"].to_numpy(np.uint64)
    leader = connected_components(len(ids), np.searchsorted(ids, pairs))
    joined = table.groupby(leader).agg(
        voxels=("voxels", "sum"), peak=("peak", "max"), first=("first", "min")
    )
    kept = joined[(joined["peak"] >= high) & (joined["voxels"] >= min_voxels)].sort_values("first")
    label = pd.Series(np.arange(1, len(kept) + 1), index=kept.index)
    mapped = label.reindex(leader, fill_value=0).to_numpy(np.uint32)
    return pd.DataFrame({"fragment": ids, "label": mapped})


def renumber(labels: Labels, block_number: int, mapping: pd.DataFrame) -> Labels:
    """Return the component numbers of a block of local labels.

    Parameters
    ----------
    labels
        Local labels.
    block_number
        Place of the block in its grid.
    mapping
        Columns ``fragment`` and ``label`` as `merge_fragments` returns them.
    """
    count = int(labels.max(initial=0))
    lookup = np.zeros(count + 1, np.uint32)
    if count:
        ids = mapping["fragment"].to_numpy(np.uint64)
        wanted = fragment_id(block_number, np.arange(1, count + 1))
        place = np.searchsorted(ids, wanted)
        if place[-1] >= len(ids) or not np.array_equal(ids[place], wanted):
            raise ShapeError("The labels and the table of fragments are not of the same run.")
        lookup[1:] = mapping["label"].to_numpy(np.uint32)[place]
    return lookup[labels]
