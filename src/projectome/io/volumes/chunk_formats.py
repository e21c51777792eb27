"""How chunks of Zarr and N5 arrays are stored, where tensorstore does not know their codecs."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from projectome.core.volume import Array
from projectome.errors import FormatError, NotFoundError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.chunked import SHARD_LIMIT
from projectome.io.volumes.codecs import (
    COMPRESSORS,
    Decode,
    chain,
    crc32c,
    lz4_blocks,
)
from projectome.io.volumes.decoding import fetch

MISSING = 2**64 - 1
"""Start and size of a chunk that a shard does not have."""


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where the index of a shard stands, and whether it has a checksum."""

    at_end: bool = True
    checked: bool = True


def fetch_inner(
    url: str, number: int, count: int, form: ShardIndex, access: Access
) -> bytes | None:
    """Return a chunk of a shard, None if it is missing.

    Parameters
    ----------
    url
        Address of the shard.
    number
        Which chunk.
    count
        Chunks of a shard.
    form
        How its index is stored.
    access
        How to ask the store.

    Raises
    ------
    FormatError
        If the index is broken.
    StoreError
        If the store does not answer as hoped.
    """
    local = stores.parse(url).scheme in ("file", "memory")
    # A shard on this machine may be written again, and its index costs no request.
    read = _index.__wrapped__ if local else _index
    index, size = read(url, count, form, access)
    if index is None:
        return None
    start, length = struct.unpack_from("<QQ", index, 16 * number)
    if start == length == MISSING:
        return None
    if start + length > size:
        raise FormatError("the index of its shard points beyond the end")
    return stores.read_part(url, start, length, access=access)[0] if length else b""


@functools.lru_cache(maxsize=256)
def _index(url: str, count: int, form: ShardIndex, access: Access) -> tuple[bytes | None, int]:
    """Return the starts and sizes in the index of a shard, and its size."""
    length = 16 * count + 4 * form.checked
    try:
        found, size = stores.read_part(url, -length if form.at_end else 0, length, access=access)
    except NotFoundError:
        return None, 0
    if len(found) < length:
        raise FormatError("its shard is shorter than its index")
    return crc32c(found[:-4], found[-4:]) if form.checked else found, size


@dataclass(frozen=True, slots=True)
class Chunks:
    """Chunks of a Zarr array.

    Attributes
    ----------
    url, shape, chunk, dtype, fill
        As of `ChunkFormat`.
    name
        Returns the name of the file of a chunk, or of a shard.
    steps
        What decodes a chunk.
    stored
        Element type as stored.
    order
        Axes of the array in the order in which a chunk holds them.
    shard
        Chunks of a shard an axis; empty without shards.
    sharding
        How the index of a shard is stored.
    """

    url: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fill: Any
    name: Callable[[Sequence[int]], str]
    steps: tuple[Decode, ...]
    stored: np.dtype[np.generic]
    order: tuple[int, ...]
    shard: tuple[int, ...] = ()
    sharding: ShardIndex = ShardIndex()

    def fetch(self, index: Sequence[int], access: Access) -> bytes | None:
        """Return what is stored of a chunk; None if it is missing."""
        if not self.shard:
            return fetch(self.url, self.name(index), access)
        outer = [i // n for i, n in zip(index, self.shard, strict=True)]
        inner = [i % n for i, n in zip(index, self.shard, strict=True)]
        url = stores.join(self.url, self.name(outer))
        number = int(np.ravel_multi_index(inner, self.shard))
        return fetch_inner(url, number, math.prod(self.shard), self.sharding, access)

    def decode(self, data: bytes, index: Sequence[int]) -> Array:
        """Return the elements of a chunk."""
        for step in self.steps:
            data = step(data)
        shape = [self.chunk[axis] for axis in self.order]
        nbytes = math.prod(shape) * self.stored.itemsize
        if len(data) != nbytes:
            raise FormatError(f"it has {len(data)} bytes instead of {nbytes}")
        found = np.frombuffer(data, self.stored).reshape(shape)
        return found.transpose(np.argsort(self.order))


def zarr_2(content: Mapping[str, Any], name: Callable[[Sequence[int]], str], url: str) -> Chunks:
    """Return how the chunks of a Zarr array of version 2 are decoded.

    Raises
    ------
    FormatError
        If its metadata is broken, or a codec is not known.
    """
    shape, chunk = _sizes(content.get("shape")), _sizes(content.get("chunks"))
    codecs = [*_listed(content.get("filters")), content.get("compressor")]
    named = [_codec(c, "id", url) for c in codecs if c is not None]
    stored = _dtype(content.get("dtype"), url)
    if len(shape) != len(chunk) or not shape:
        raise _broken(url, ".zarray", "shape and chunks do not agree")
    axes = tuple(range(len(shape)))
    return Chunks(
        url=url,
        shape=shape,
        chunk=chunk,
        dtype=stored.newbyteorder("="),
        fill=_fill(content.get("fill_value"), stored, url),
        name=name,
        steps=chain(named, stored, math.prod(chunk), where=url),
        stored=stored,
        order=axes[::-1] if content.get("order") == "F" else axes,
    )


def zarr_3(content: Mapping[str, Any], name: Callable[[Sequence[int]], str], url: str) -> Chunks:
    """Return how the chunks of a Zarr array of version 3 are decoded.

    Raises
    ------
    FormatError
        If its metadata is broken, or a codec is not known.
    """
    grid = content.get("chunk_grid")
    configured = grid.get("configuration") if isinstance(grid, dict) else None
    chunk = _sizes(configured.get("chunk_shape") if isinstance(configured, dict) else None)
    shape = _sizes(content.get("shape"))
    codecs = [_codec(codec, "name", url) for codec in _listed(content.get("codecs"))]
    shard: tuple[int, ...] = ()
    sharding = ShardIndex()
    if len(codecs) == 1 and codecs[0][0] == "sharding_indexed":
        settings, outer = codecs[0][1], chunk
        chunk = _sizes(settings.get("chunk_shape"))
        codecs = [_codec(codec, "name", url) for codec in _listed(settings.get("codecs"))]
        if len(chunk) != len(outer) or any(o % c for o, c in zip(outer, chunk, strict=True)):
            raise _broken(url, "zarr.json", "its shards are no whole chunks")
        shard = tuple(o // c for o, c in zip(outer, chunk, strict=True))
        if math.prod(shard) > SHARD_LIMIT:
            raise _broken(url, "zarr.json", f"a shard has more than {SHARD_LIMIT} chunks")
        sharding = _shard_index(settings, url)
    if not shape or len(shape) != len(chunk):
        raise _broken(url, "zarr.json", "shape and chunks do not agree")
    stored = _dtype(content.get("data_type"), url)
    order, swapped = list(range(len(shape))), False
    named: list[tuple[str, Mapping[str, Any]]] = []
    for codec, config in codecs:
        if codec == "transpose":
            turn = config.get("order")
            if not isinstance(turn, list) or sorted(turn) != list(range(len(shape))) or named:
                raise _broken(url, "zarr.json", f"it turns axes by {turn!r}")
            order = [order[i] for i in turn]
        elif codec == "bytes":
            swapped = config.get("endian") == "big"
        else:
            named.append((codec, config))
    if swapped and named and any(n not in COMPRESSORS for n, _ in named):
        raise _broken(url, "zarr.json", "it has big endian elements behind other codecs")
    kind = stored.newbyteorder(">") if swapped else stored
    return Chunks(
        url=url,
        shape=shape,
        chunk=chunk,
        dtype=stored,
        fill=_fill(content.get("fill_value"), stored, url),
        name=name,
        steps=chain(named, kind, math.prod(chunk), where=url),
        stored=kind,
        order=tuple(order),
        shard=shard,
        sharding=sharding,
    )


def _shard_index(settings: Mapping[str, Any], url: str) -> ShardIndex:
    codecs = [_codec(codec, "name", url) for codec in _listed(settings.get("index_codecs"))]
    names = [name for name, _ in codecs]
    plain = names in (["bytes"], ["bytes", "crc32c"])
    if not plain or codecs[0][1].get("endian", "little") != "little":
        raise _broken(url, "zarr.json", f"the index of a shard is stored as {names!s:.80}")
    return ShardIndex(settings.get("index_location", "end") == "end", "crc32c" in names)


@dataclass(frozen=True, slots=True)
class N5Blocks:
    """Blocks of an N5 array packed as LZ4, in C order.

    Attributes
    ----------
    url, shape, chunk, dtype
        As of `ChunkFormat`.
    """

    url: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def fill(self) -> int:
        """0: N5 has no fill value."""
        return 0

    def fetch(self, index: Sequence[int], access: Access) -> bytes | None:
        """Return what is stored of a block; None if it is missing."""
        return fetch(self.url, "/".join(str(i) for i in reversed(index)), access)

    def decode(self, data: bytes, index: Sequence[int]) -> Array:
        """Return the elements of a block, fewer at the far ends."""
        rank = len(self.shape)
        mode, axes = struct.unpack_from(">HH", data) if len(data) >= 4 + 4 * rank else (9, 0)
        if mode != 0 or axes != rank:
            raise FormatError(f"it is no block of {rank} axes")
        shape = struct.unpack_from(f">{rank}I", data, 4)[::-1]
        if any(n > c for n, c in zip(shape, self.chunk, strict=True)):
            raise FormatError(f"it has the shape {shape}, larger than {self.chunk}")
        nbytes = math.prod(shape) * self.dtype.itemsize
        try:
            found = lz4_blocks(data[4 + 4 * rank :], nbytes)
        except RuntimeError as error:  # as imagecodecs has it
            raise FormatError(f"it cannot be unpacked ({error})") from None
        if len(found) != nbytes:
            raise FormatError(f"it does not unpack to {nbytes} bytes")
        return np.frombuffer(found, self.dtype.newbyteorder(">")).reshape(shape)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _sizes(value: object) -> tuple[int, ...]:
    numbers = _listed(value)
    return tuple(numbers) if all(type(n) is int and 0 < n < 2**62 for n in numbers) else ()


def _codec(codec: object, key: str, url: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(codec, str):
        return codec, {}
    name = codec.get(key) if isinstance(codec, dict) else None
    if not isinstance(codec, dict) or not isinstance(name, str):
        raise _broken(url, "metadata", f"{codec!r:.80} is no codec")
    config = codec if key == "id" else codec.get("configuration", {})
    return name, config if isinstance(config, dict) else {}


def _dtype(name: object, url: str) -> np.dtype[np.generic]:
    try:
        found = np.dtype(name) if isinstance(name, str) else np.dtype("V1")
    except TypeError:
        found = np.dtype("V1")
    if found.kind not in "iufb" or found.itemsize > 8:
        raise _broken(url, "metadata", f"its elements are {name!r:.80}, no numbers")
    return found


def _fill(value: object, dtype: np.dtype[np.generic], url: str) -> Any:
    try:
        with np.errstate(all="raise"):
            found = np.array(0 if value is None else value).astype(dtype)
        return found.reshape(())[()]
    except (TypeError, ValueError, OverflowError, FloatingPointError):
        raise _broken(url, "metadata", f"its fill value is {value!r:.80}") from None


def _broken(url: str, document: str, why: str) -> FormatError:
    return FormatError(
        f"The array {url} cannot be opened: {why}. Check its {document}, or save it again with "
        "blosc, zstd or gzip."
    )
