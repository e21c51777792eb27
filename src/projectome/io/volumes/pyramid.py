"""Levels of a pyramid: their geometry, and how each is made from the next finer one.

A voxel of level k covers 1 or 2 voxels of level k-1 along each axis, fewer at the far edge of an
axis with an odd number of voxels. It holds, of the voxels of level k-1 that exist there,

- for images their mean; integers are rounded to the nearest, halves to even, so that no level is
  darker or brighter than the one before;
- for labels their mode: the most frequent id, the smallest of those equally frequent. Background
  counts like any other id.

The factors follow the voxel size: axes that are sampled finer are halved first, until no axis is
coarser than the finest by more than the square root of 2; from then on all are halved together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import ArrayLike

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box, Triple, triple
from projectome.core.volume import Array, Kind
from projectome.errors import ParameterError
from projectome.io import stores

SMALLEST = 64
"""Without a number of levels, the last one is the first with no axis longer than this."""
ISOTROPIC = math.sqrt(2)
IN_FLIGHT = 256 * 2**20
"""Memory for the blocks under way, about [bytes]."""
BYTES_A_BYTE = 4
"""Measured peak memory of a block under way: sources, result and its encoded chunks."""


@dataclass(frozen=True, slots=True)
class Level:
    """Geometry of one level.

    Attributes
    ----------
    shape
        Voxels an axis, (z, y, x).
    affine
        Voxels of this level to micrometres.
    factors
        Voxels of the next finer level along one of this level; 1 or 2 an axis.
    """

    shape: Triple
    affine: Affine
    factors: Triple = (1, 1, 1)


def plan_levels(shape: ArrayLike, affine: Affine, *, levels: int | None = None) -> list[Level]:
    """Return the geometry of all levels, finest first.

    Parameters
    ----------
    shape
        Voxels an axis of the finest level, (z, y, x).
    affine
        Its voxels to micrometres, a plain grid.
    levels
        How many levels; as many as it takes to get to `SMALLEST` by default.

    Returns
    -------
    list of Level
        The centre of voxel 0 of a level lies in the middle of the voxels it covers: half a coarse
        voxel minus half a fine one further on than in the finest level.

    Raises
    ------
    ParameterError
        If so many levels cannot be made.

    Examples
    --------
    >>> grid = Affine.from_scale((4.0, 1.0, 1.0))
    >>> [level.factors for level in plan_levels((64, 512, 512), grid)]
    [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)]
    """
    if levels is not None and levels < 1:
        raise ParameterError(f"A pyramid has at least one level, not {levels}.")
    planned = [Level(triple(shape, name="shape"), affine)]
    total = np.ones(3, dtype=np.int64)
    voxel = np.asarray(affine.voxel_size)
    while max(planned[-1].shape) > SMALLEST if levels is None else len(planned) < levels:
        size = np.asarray(planned[-1].shape)
        if (size == 1).all():
            raise ParameterError(
                f"{levels} levels cannot be made of {planned[0].shape} voxels: level "
                f"{len(planned) - 1} is a single voxel. Ask for at most {len(planned)}."
            )
        finest = (voxel * total)[size > 1].min()
        factors = np.where((size > 1) & (voxel * total <= ISOTROPIC * finest), 2, 1)
        total *= factors
        shift = (total - 1) / 2 * voxel
        grid = Affine.from_scale(
            voxel * total,
            np.asarray(affine.translation) + shift,
            source=affine.source,
            target=affine.target,
        )
        planned.append(Level(triple(-(-size // factors)), grid, triple(factors)))
    return planned


def downsample(array: Array, factors: ArrayLike, *, kind: Kind = "image") -> Array:
    """Return an array in memory on the next coarser level.

    Parameters
    ----------
    array
        Axes (z, y, x) or (c, z, y, x).
    factors
        1 or 2 an axis, (z, y, x).
    kind
        Labels take the mode, everything else the mean.

    Returns
    -------
    numpy.ndarray
        Of the same element type; every axis is divided by its factor and rounded up.
    """
    return np.asarray(
        _coarse(ts.array(array), triple(factors, name="factors"), kind).read().result()
    )


def _coarse(source: Any, factors: Triple, kind: Kind) -> Any:
    return ts.downsample(
        source, (1,) * (source.rank - 3) + factors, "mode" if kind == "labels" else "mean"
    )


@dataclass(frozen=True, slots=True)
class _Together:
    """What is written and then committed."""

    written: Any
    committed: Any

    def result(self, timeout: float) -> None:
        self.written.result(timeout=timeout)
        self.committed.result(timeout=timeout)


def begin_write(target: Any, values: Any, *, keep: bool = False) -> Any:
    """Begin to write whole chunks, or shards, and return what `stores.wait` waits for.

    Parameters
    ----------
    target
        Part of a stored array, as an open tensorstore.
    values
        What it is going to hold: an array, or another tensorstore.
    keep
        The values will not change, now or later, and need no copy.
    """
    if "shard_data_encoding" not in target.codec.to_json():
        more = {"can_reference_source_data_indefinitely": True} if keep else {}
        return target.write(values, **more)
    # By itself each chunk of a precomputed shard would be written with all of the shard again. The
    # values are copied: tensorstore 0.1.86 loses those of several channels that are not.
    transaction = ts.Transaction()
    written = target.with_transaction(transaction).write(values)
    return _Together(written.copy, transaction.commit_async())


def build_level(
    source: Any,
    target: Any,
    factors: Triple,
    *,
    kind: Kind,
    block: Triple,
    url: str,
    on_block: Callable[[int], None],
) -> None:
    """Fill a stored level from the stored level above it, block by block.

    Parameters
    ----------
    source, target
        The finer and the coarser array, as open tensorstores.
    factors
        Voxels of the finer level along one voxel of the coarser.
    kind
        Labels take the mode, everything else the mean.
    block
        Voxels of the coarser level written at a time: whole chunks (or shards), so that each is
        written once.
    url
        What the coarser level is called in an error.
    on_block
        Called with the number of voxels after each block.

    Raises
    ------
    StoreError
        If the source cannot be read or the target not be written.
    """
    coarse = _coarse(source, factors, kind)
    channels: Sequence[int | slice | None] = (None,)
    if target.rank == 4:
        # A chunk is written once: with all channels, where it holds all.
        together = target.chunk_layout.write_chunk.shape[0] > 1
        channels = (slice(None),) if together else range(target.shape[0])
    count = target.shape[0] // len(channels) if target.rank == 4 else 1
    nbytes = count * math.prod(block) * target.dtype.numpy_dtype.itemsize
    limit = max(1, min(4, IN_FLIGHT // (BYTES_A_BYTE * nbytes)))
    under_way: deque[tuple[Any, int]] = deque()

    def finish_one() -> None:
        future, size = under_way.popleft()
        stores.wait(future, url=url, doing="write", nbytes=nbytes)
        on_block(size)

    for box in BlockGrid(Box.from_shape(target.shape[-3:]), block):
        for channel in channels:
            index = box.core.slices if channel is None else (channel, *box.core.slices)
            if len(under_way) == limit:
                finish_one()
            under_way.append((begin_write(target[index], coarse[index]), count * box.core.size))
    while under_way:
        finish_one()
