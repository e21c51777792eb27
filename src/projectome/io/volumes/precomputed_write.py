"""Writing volumes as neuroglancer precomputed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import tensorstore as ts
from numpy.typing import ArrayLike, DTypeLike

from projectome.core.affine import Affine
from projectome.core.box import Triple, triple
from projectome.core.volume import Kind
from projectome.errors import ParameterError
from projectome.io import stores
from projectome.io.sharded import Sharding
from projectome.io.volumes.ngff_write import encode
from projectome.io.volumes.options import space_notes
from projectome.io.volumes.precomputed_info import (
    DATA_TYPES,
    LARGEST_SIZE,
    NANOMETRES,
    TYPE,
    Info,
    Scale,
)
from projectome.io.volumes.pyramid import Level, plan_levels
from projectome.io.volumes.pyramid_writer import PyramidWriter

Encoding: TypeAlias = Literal["raw", "compressed_segmentation", "png"]
CHUNKS = (64, 64, 64)
SEGMENTED = ("uint32", "uint64")
"""Element types that compressed_segmentation can hold; labels of these have it by default."""
PNG = ("uint8", "uint16")
"""Element types that PNG can hold, of up to `PNG_CHANNELS` channels."""
PNG_CHANNELS = 4
MINISHARD_BITS = 9
"""Chunks of a minishard, as a power of 2: its index of 24 bytes each is read whole."""
EXACT = 1e-6
"""Part of a voxel that is no difference."""


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """One scale to be written.

    Attributes
    ----------
    volume
        Address of the volume.
    key
        Folder of the scale in it.
    size
        Voxels an axis, (z, y, x).
    resolution
        Size of a voxel [nm].
    offset
        Corner of its first voxel [voxels].
    chunk
        Voxels a chunk.
    dtype
        Name of the element type.
    labels
        Whether it is a segmentation.
    channels
        How many; 0 without a channel axis.
    encoding
        How a chunk is stored.
    together
        Voxels that a shard may have; None where each chunk is a file.
    """

    volume: str
    key: str
    size: Triple
    resolution: tuple[float, float, float]
    offset: Triple
    chunk: Triple
    dtype: str
    labels: bool
    channels: int
    encoding: Encoding
    together: Triple | None

    @property
    def url(self) -> str:
        """Where its chunks go."""
        return stores.join(self.volume, self.key)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements a chunk an axis; a chunk holds all channels."""
        return (self.channels,) * bool(self.channels) + self.chunk

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Elements a shard an axis; None where each chunk is a file."""
        if self.together is None:
            return None
        doubled = zip(self.chunk, shard_bits(self._plain, self.together), strict=True)
        return (self.channels,) * bool(self.channels) + tuple(c << bits for c, bits in doubled)

    @property
    def scale(self) -> Scale:
        """What the ``info`` is going to say."""
        plain = self._plain
        settings: dict[str, object] = {}
        if self.encoding == "compressed_segmentation":
            settings["compressed_segmentation_block_size"] = [8, 8, 8]
        if self.together is not None:
            inside = sum(shard_bits(plain, self.together))
            beyond = sum(shard_bits(plain, plain.size)) - inside
            preshift = min(inside, MINISHARD_BITS)
            settings["sharding"] = Sharding(
                preshift_bits=preshift,
                hash="identity",
                minishard_bits=inside - preshift,
                shard_bits=beyond,
                data_encoding="raw" if self.encoding == "png" else "gzip",
            ).document()
        return replace(plain, settings=settings)

    @property
    def _plain(self) -> Scale:
        return Scale(
            self.key, self.size, self.resolution, self.offset, self.chunk, self.encoding, {}
        )

    @property
    def info(self) -> Info:
        """The volume with this scale alone."""
        kind: Kind = "labels" if self.labels else "image"
        return Info(kind, self.dtype, max(1, self.channels), (self.scale,))

    def open(self, access: stores.Access) -> Any:
        """Return it as a tensorstore with the axes (z, y, x) or (c, z, y, x).

        Chunks that hold nothing but zeros are written like all others.

        Raises
        ------
        StoreError
            If the store cannot be reached.
        """
        return _open(self, access)


def shard_bits(scale: Scale, largest: Sequence[int]) -> Triple:
    """Return how often the chunk of a scale is doubled along each axis to make a shard.

    The number of a chunk is its compressed Morton code, whose low bits are those inside a shard: a
    shard is doubled along x, y, z, x and so on, passing over an axis that has no more chunks.

    Parameters
    ----------
    scale
        Its chunks and their number.
    largest
        Voxels that a shard may have, (z, y, x); doubling ends before the first that is larger, or
        where there are no more chunks.

    Returns
    -------
    tuple of int
        Doublings along (z, y, x).
    """
    bits, grid = [0, 0, 0], scale.grid
    for bit in range(max(grid).bit_length()):
        for axis in (2, 1, 0):
            if 1 << bit < grid[axis]:
                if min(scale.chunk[axis] << bit + 1, scale.size[axis]) > largest[axis]:
                    return triple(bits)
                bits[axis] += 1
    return triple(bits)


@functools.lru_cache(maxsize=64)
def _open(plan: ScalePlan, access: stores.Access) -> Any:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": stores.kvstore_spec(plan.volume, access=access),
        "multiscale_metadata": plan.info.metadata,
        "scale_metadata": plan.scale.metadata,
        "store_data_equal_to_fill_value": True,
        # Every chunk is written once and read once.
        "cache_pool": {"total_bytes_limit": 0},
    }
    future = ts.open(spec, open=True, assume_metadata=True, context=stores.context())
    store = stores.wait(future, url=plan.url, doing="open")
    store = store[ts.d[:].translate_to[0]].transpose([3, 2, 1, 0])
    return store if plan.channels else store[0]


@dataclass(frozen=True, slots=True, eq=False)
class PrecomputedWriter(PyramidWriter):
    """A precomputed volume being written; made by `create_precomputed`.

    Attributes
    ----------
    encoding
        How a chunk is stored.
    together
        Voxels that a shard may have; None where each chunk is a file.
    """

    encoding: Encoding
    together: Triple | None

    def array(self, level: int) -> ScalePlan:
        """Return how a level is stored; chunks are never longer than the level."""
        at = self.levels[level]
        z, y, x = _nanometres(at)
        key = "_".join(f"{v:.12g}" for v in (x, y, z))
        return ScalePlan(
            volume=self.url,
            key=key,
            size=at.shape,
            resolution=(z, y, x),
            offset=_offset(self.affine, at),
            chunk=triple(np.minimum(self.chunks, at.shape)),
            dtype=self.dtype.name,
            labels=self.kind == "labels",
            channels=len(self.channels),
            encoding=self.encoding,
            together=self.together,
        )

    def layout(self) -> dict[str, object]:
        """Return the format."""
        return {"format": "precomputed", "encoding": self.encoding, "shards": self.together}

    def seal(self) -> None:
        """Write the ``info``."""
        plans = [self.array(k) for k in range(len(self.levels))]
        scales = tuple(plan.scale for plan in plans)
        space = self.affine.target
        own: dict[str, object] = {
            "kind": self.kind,
            **space_notes(space),
            "toward": list(space.toward),
        }
        if self.channels:
            own["channels"] = list(self.channels)
        places = zip(scales, self.levels, strict=True)
        if not all(_fits(scale, level) for scale, level in places):
            own["translation"] = list(self.affine.translation)
        if self.provenance:
            own["provenance"] = self.provenance
        document = {
            "@type": TYPE,
            **plans[0].info.metadata,
            "scales": [scale.document for scale in scales],
            "projectome": own,
        }
        place = stores.join(self.url, "info")
        stores.write_bytes(place, encode(document), access=self.access)


def _nanometres(level: Level) -> tuple[float, float, float]:
    # 12 digits: 0.36 um is 360 nm, not 359.99999999999994.
    z, y, x = (float(f"{size * NANOMETRES:.12g}") for size in level.affine.voxel_size)
    return z, y, x


def _offset(finest: Affine, level: Level) -> Triple:
    """Return the voxel of the format's grid in which the first voxel has its centre.

    Where the first voxel is one of that grid, this is the corner where all levels begin. Most
    volumes have the centre of the first voxel as their origin, half a voxel off the grid.
    """
    size = np.asarray(level.affine.voxel_size)
    return triple(np.floor(np.asarray(finest.translation) / size + EXACT))


def _fits(scale: Scale, level: Level) -> bool:
    place = scale.affine(level.affine.target)
    apart = np.asarray(place.translation) - level.affine.translation
    return bool((np.abs(apart) <= EXACT * np.asarray(level.affine.voxel_size)).all())


def create_precomputed(
    url: str,
    *,
    shape: ArrayLike,
    dtype: DTypeLike,
    affine: Affine,
    chunks: ArrayLike = CHUNKS,
    shards: ArrayLike | None = None,
    encoding: Encoding | None = None,
    kind: Kind = "image",
    channels: Sequence[str] = (),
    levels: int | None = None,
    overwrite: bool = False,
    provenance: str = "",
    endpoint: str | None = None,
    anonymous: bool | None = None,
) -> PrecomputedWriter:
    """Begin a neuroglancer precomputed volume, or go on with one that was left unfinished.

    All encodings keep every value. The format knows voxel sizes and offsets of whole voxels;
    orientation, expansion, names of channels and the exact place of the first voxel stand beside it
    under ``projectome``, where other programs do not look: those show level 0 at most half a voxel
    off, and a coarser one less than a voxel of its own.

    Parameters
    ----------
    url
        Where: a path, s3:// or gs://.
    shape
        Voxels an axis, (z, y, x).
    dtype
        Element type: an integer of at most 64 bits (signed ones 32), or float32.
    affine
        Voxels to micrometres, a plain grid.
    chunks
        Voxels a chunk.
    shards
        Voxels that a file with many chunks may have at most, (z, y, x): the format doubles chunks
        along x, y, z in turn. Each chunk is a file if None. A shard is written whole, by one
        process, and its chunks are packed with gzip.
    encoding
        ``"raw"``, ``"compressed_segmentation"`` for integers of 32 or 64 bits without a sign, or
        ``"png"`` for those of 8 or 16 and up to 4 channels. If None, raw for images and
        compressed_segmentation for labels that it can hold.
    kind
        Labels get a pyramid of modes, everything else one of means.
    channels
        Names of the channels; empty for an array without a channel axis.
    levels
        How many levels; by default as many as it takes for the last to be at most 64 voxels long.
    overwrite
        Remove a volume that is there, finished or not.
    provenance
        Hash of the record of what makes it; an unfinished volume with another one is not taken up.
    endpoint, anonymous
        Of an object store; by the settings if None.

    Returns
    -------
    PrecomputedWriter
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
    https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
    """
    size, chunk = triple(shape, name="shape"), triple(chunks, name="chunks")
    element = np.dtype(dtype).newbyteorder("=")
    _check_parameters(size, chunk, element, affine, kind)
    segmented = kind == "labels" and element.name in SEGMENTED
    chosen = encoding or ("compressed_segmentation" if segmented else "raw")
    _check_encoding(chosen, element, len(channels))
    writer = PrecomputedWriter(
        url=str(stores.parse(url)),
        dtype=element,
        levels=tuple(plan_levels(size, affine, levels=levels)),
        chunks=chunk,
        kind=kind,
        channels=tuple(channels),
        provenance=provenance,
        access=stores.Access.of(endpoint=endpoint, anonymous=anonymous),
        encoding=chosen,
        together=None if shards is None else _shards(shards, chunk),
    )
    writer.claim(overwrite=overwrite)
    return writer


def _shards(shards: ArrayLike, chunk: Triple) -> Triple:
    wanted = triple(shards, name="shards")
    if any(s < c for s, c in zip(wanted, chunk, strict=True)):
        raise ParameterError(
            f"Shards of {wanted} voxels do not hold a chunk of {chunk}. Give larger shards or "
            "smaller chunks."
        )
    return wanted


def _check_encoding(encoding: str, dtype: np.dtype[np.generic], channels: int) -> None:
    if encoding not in get_args(Encoding):
        raise ParameterError(
            f"Chunks are encoded as one of {', '.join(get_args(Encoding))}, not {encoding!r}."
        )
    if encoding == "raw":
        return
    held = SEGMENTED if encoding == "compressed_segmentation" else PNG
    if dtype.name not in held:
        raise ParameterError(
            f"{encoding} holds {' and '.join(held)}, not {dtype}. Give another encoding: raw holds "
            "everything."
        )
    if encoding == "png" and channels > PNG_CHANNELS:
        raise ParameterError(
            f"png holds up to {PNG_CHANNELS} channels, not {channels}. Give the encoding raw, or "
            "choose channels."
        )


def _check_parameters(
    shape: Triple, chunks: Triple, dtype: np.dtype[np.generic], affine: Affine, kind: str
) -> None:
    if kind not in get_args(Kind):
        raise ParameterError(f"A volume is one of {', '.join(get_args(Kind))}, not {kind!r}.")
    if min(shape) < 1 or min(chunks) < 1:
        raise ParameterError(
            f"A volume, and a chunk, needs at least one voxel an axis: {shape}, {chunks}."
        )
    if dtype.name not in DATA_TYPES or (kind == "labels" and dtype.kind == "f"):
        raise ParameterError(
            f"A precomputed volume of kind {kind} cannot hold {dtype}; it holds "
            f"{', '.join(DATA_TYPES)}, and labels are integers. Convert it with astype if that is "
            "meant, or write OME-Zarr."
        )
    if affine.target.unit != "micrometer" or not affine.is_grid:
        raise ParameterError(
            "A precomputed volume holds a voxel size and an offset; this volume lies otherwise:\n"
            f"{affine.matrix}\nResample it to a plain grid first."
        )
    if (np.abs(affine.translation) > LARGEST_SIZE * np.asarray(affine.voxel_size)).any():
        raise ParameterError(
            f"The place of the first voxel, {affine.translation} um, is out of reach. Correct it."
        )
