"""Writing volumes as OME-Zarr, 0.4 and 0.5."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Triple, triple
from projectome.core.volume import Kind, Pyramid, Volume
from projectome.errors import FormatError, MetadataError, NotFoundError, ParameterError
from projectome.io import stores
from projectome.io.ahead import read_ahead
from projectome.io.open import open_volume
from projectome.io.volumes.ngff_write import Version
from projectome.io.volumes.pyramid import plan_levels
from projectome.io.volumes.writer import Progress, VolumeWriter

__all__ = ["VolumeWriter", "copy_block", "create_volume", "provenance_of", "write_volume"]

CHUNKS = (64, 64, 64)
SHARDS = (256, 256, 256)
COPY_BLOCK = 64 * 2**20
"""Largest piece that is read and written at once, unless chunks are larger [bytes]."""


def create_volume(
    url: str,
    *,
    shape: ArrayLike,
    dtype: DTypeLike,
    affine: Affine,
    chunks: ArrayLike = CHUNKS,
    shards: ArrayLike | None = None,
    version: Version = "0.4",
    kind: Kind = "image",
    channels: Sequence[str] = (),
    levels: int | None = None,
    overwrite: bool = False,
    compression: int = 1,
    codec: str = "",
    provenance: str = "",
    endpoint: str | None = None,
    anonymous: bool | None = None,
) -> VolumeWriter:
    """Begin an OME-Zarr volume, or go on with one that was left unfinished.

    Parameters
    ----------
    url
        Where: a path, s3:// or gs://.
    shape
        Voxels an axis, (z, y, x).
    dtype
        Element type: bool, an integer, or floating point.
    affine
        Voxels to micrometres, a plain grid; orientation, name and expansion of its space are kept.
    chunks
        Voxels a chunk.
    shards
        Voxels a shard, whole chunks; only in version 0.5. By default 256^3 there, in whole chunks
        and no larger than the volume; give the same as `chunks` for none.
    version
        ``"0.4"`` (zarr 2) or ``"0.5"`` (zarr 3).
    kind
        Labels get a pyramid of modes, everything else one of means.
    channels
        Names of the channels; empty for an array without a channel axis.
    levels
        How many levels; by default as many as it takes for the last to be at most 64 voxels long.
    overwrite
        Remove a volume that is there, finished or not.
    compression
        Level of zstd (in blosc, with byte shuffle), 1 to 9; 0 for none.
    codec
        Document of another compressor, as JSON; only in version 0.4.
    provenance
        Hash of the record of what makes it (`projectome.core.provenance.Record.key`); an
        unfinished volume with another one is not taken up.
    endpoint, anonymous
        Of an object store; by the settings if None.

    Returns
    -------
    VolumeWriter
        Ready to be written to, in any order and from any process. No program can take the output
        for a volume before its `finish`.

    Raises
    ------
    ParameterError
        If the volume cannot be made like this.
    OutputExistsError
        If something else is there.
    StorageFullError, AccessDeniedError, StoreError
        If the place cannot be written.

    References
    ----------
    OME-Zarr 0.4 and 0.5, https://ngff.openmicroscopy.org
    """
    size, chunk = triple(shape, name="shape"), triple(chunks, name="chunks")
    element = np.dtype(dtype).newbyteorder("=")
    _check_parameters(size, element, affine, version, kind, compression)
    writer = VolumeWriter(
        url=str(stores.parse(url)),
        dtype=element,
        levels=tuple(plan_levels(size, affine, levels=levels)),
        chunks=chunk,
        shards=_shards(shards, chunk, version),
        version=version,
        kind=kind,
        channels=tuple(channels),
        compression=compression,
        codec=codec,
        provenance=provenance,
        access=stores.Access.of(endpoint=endpoint, anonymous=anonymous),
    )
    writer.claim(overwrite=overwrite)
    return writer


def _shards(shards: ArrayLike | None, chunks: Triple, version: Version) -> Triple | None:
    if min(chunks) < 1:
        raise ParameterError(f"A chunk needs at least one voxel an axis: {chunks}.")
    if shards is None:
        if version == "0.4":
            return None
        return triple(np.maximum(1, np.asarray(SHARDS) // chunks) * chunks)
    shard = triple(shards, name="shards")
    if any(s < 1 or s % c for s, c in zip(shard, chunks, strict=True)):
        raise ParameterError(f"Shards of {shard} voxels are not whole chunks of {chunks}.")
    if version == "0.4" and shard != chunks:
        raise ParameterError("OME-Zarr 0.4 has no shards. Give version 0.5, or no shards.")
    return None if shard == chunks else shard


def _check_parameters(
    shape: Triple,
    dtype: np.dtype[np.generic],
    affine: Affine,
    version: str,
    kind: str,
    compression: int,
) -> None:
    if version not in get_args(Version):
        raise ParameterError(f"OME-Zarr is written as 0.4 or 0.5, not {version!r}.")
    if kind not in get_args(Kind):
        raise ParameterError(f"A volume is one of {', '.join(get_args(Kind))}, not {kind!r}.")
    if min(shape) < 1:
        raise ParameterError(f"A volume needs at least one voxel an axis: {shape}.")
    allowed = "biu" if kind == "labels" else "biuf"
    if dtype.kind not in allowed or dtype.itemsize > 8:
        raise ParameterError(
            f"A volume of kind {kind} cannot hold {dtype}. Give an integer type"
            + (" or floating point of at most 64 bits." if kind != "labels" else ".")
        )
    if not 0 <= compression <= 9:
        raise ParameterError(f"A level of compression is 0 to 9, not {compression}.")
    if affine.target.unit != "micrometer" or not affine.is_grid:
        raise ParameterError(
            "OME-Zarr 0.4 and 0.5 hold a voxel size and a translation in micrometres; this volume "
            f"lies otherwise:\n{affine.matrix}\nResample it to a plain grid, or write the voxels "
            "with a plain grid and the affine beside them."
        )


def write_volume(
    volume: Volume | Pyramid,
    url: str,
    *,
    version: Version = "0.4",
    chunks: ArrayLike | None = None,
    shards: ArrayLike | None = None,
    levels: int | None = None,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    endpoint: str | None = None,
    anonymous: bool | None = None,
) -> Pyramid:
    """Write a volume as OME-Zarr, in pieces of bounded size.

    Parameters
    ----------
    volume
        What to write. Of a pyramid the finest level is written, and the others are made anew.
    url
        Where: a path, s3:// or gs://.
    version, chunks, shards, levels, overwrite
        See `create_volume`.
    on_progress
        Told about the voxels of all levels.
    endpoint, anonymous
        See `create_volume`.

    Returns
    -------
    Pyramid
        What was written, opened again: same element type, affine, channels and kind.

    Raises
    ------
    ParameterError, OutputExistsError, StoreError
        See `create_volume`.
    """
    finest = volume[0] if isinstance(volume, Pyramid) else volume
    writer = create_volume(
        url,
        shape=finest.shape,
        dtype=finest.dtype,
        affine=finest.affine,
        chunks=CHUNKS if chunks is None else chunks,
        shards=shards,
        version=version,
        kind=finest.kind,
        channels=finest.channels,
        levels=levels,
        overwrite=overwrite,
        endpoint=endpoint,
        anonymous=anonymous,
    )
    channels = max(1, len(finest.channels))
    total = channels * sum(math.prod(level.shape) for level in writer.levels)
    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        if on_progress is not None:
            on_progress(done, total)

    under_way: deque[Callable[[], None]] = deque()
    grid = BlockGrid(finest.box, copy_block(finest, writer.block_multiple))
    for box, voxels in read_ahead(finest, (block.core for block in grid)):
        under_way.append(writer.begin(box, voxels))
        if len(under_way) > 1:
            under_way.popleft()()
        tell(channels * box.size)
    while under_way:
        under_way.popleft()()
    fine = done
    return writer.finish(lambda voxels, _: tell(fine + voxels - done))


def copy_block(volume: Volume, multiple: Triple, limit: int = COPY_BLOCK) -> Triple:
    """Return the shape of the blocks in which a volume is best copied.

    Parameters
    ----------
    volume
        What is read.
    multiple
        Voxels that are written together.
    limit
        Size that a block should not exceed [bytes]; it never gets smaller than `multiple`.

    Returns
    -------
    tuple of int
        Multiples of `multiple`, as far as the limit allows: first whole chunks of the source, then
        slabs of whole rows and planes, along which a source is usually contiguous.
    """
    step = np.asarray(multiple)
    voxel = volume.dtype.itemsize * max(1, len(volume.channels))
    block = step.copy()
    goals = [(axis, volume.chunks[axis]) for axis in (2, 1, 0)]
    for axis, goal in [*goals, (2, volume.shape[2]), (1, volume.shape[1])]:
        fits = limit // (voxel * math.prod(np.delete(block, axis).tolist()))
        wanted = min(-(-goal // step[axis]), fits // step[axis])
        block[axis] = max(block[axis], wanted * step[axis])
    return triple(block)


def provenance_of(
    url: str, *, endpoint: str | None = None, anonymous: bool | None = None
) -> str | None:
    """Return the `provenance` that a finished volume was written with.

    Parameters
    ----------
    url
        Address of the volume.
    endpoint, anonymous
        See `create_volume`.

    Returns
    -------
    str or None
        Empty if none was given; None if there is no finished volume.
    """
    try:
        found = open_volume(url, endpoint=endpoint, anonymous=anonymous).metadata
    except (NotFoundError, FormatError, MetadataError):
        return None
    own = found.get("projectome")
    return str(own.get("provenance", "")) if isinstance(own, Mapping) else ""
