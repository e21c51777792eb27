"""Arrays of chunks in a store, of any format, as lazy arrays over tensorstore.

A missing chunk reads as the fill value, or is an error where asked; a broken one is an error that
names the array and the voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import tensorstore as ts

from projectome.core.affine import read_only
from projectome.core.volume import Array, LazyArray
from projectome.errors import FormatError, NotFoundError, StoreError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.options import check_readable

CHUNK_LIMIT = 2**31
"""Largest chunk that is decoded [bytes]."""
SHARD_LIMIT = 2**22
"""Most chunks in a shard."""
BULK = 2**24
"""Reads from this size on go past the cache [bytes]."""
OPENING = 60.0
"""Seconds after which opening has failed, though it asks nobody."""
SAMPLES = 32
"""Chunks looked at for the evidence of an array."""
PIECE = 2**14
"""Bytes looked at from each end of a sampled chunk."""
BROKEN = ("FAILED_PRECONDITION", "DATA_LOSS", "INVALID_ARGUMENT", "OUT_OF_RANGE", "UNIMPLEMENTED")
NO_CACHE: dict[str, Any] = {"cache_pool": {"total_bytes_limit": 0}}


class ArraySource(Protocol):
    """An array as it lies: its address, its metadata and its chunks."""

    @property
    def url(self) -> str:
        """Address of the array."""

    @property
    def raw(self) -> bytes:
        """Bytes of its metadata."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Stored chunks an axis."""

    def sample(self, index: Sequence[int], access: Access) -> bytes:
        """Return the size and both ends of a stored chunk."""


def sample_file(url: str, key: str, access: Access) -> bytes:
    """Return the name and size of a file below an address and what stands at its two ends."""
    place = stores.join(url, key)
    try:
        piece, size = stores.read_part(place, 0, PIECE, access=access)
        if size > PIECE:
            piece += stores.read_part(place, -PIECE, PIECE, access=access)[0]
    except NotFoundError:
        return f"{key} missing".encode()
    return f"{key} {size} ".encode() + piece


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedArray:
    """An array of chunks, or a part of it with its axes turned, as a lazy array.

    Attributes
    ----------
    store
        The tensorstore, axes (z, y, x) or (c, z, y, x).
    bulk
        The same without a cache, which reads of many chunks only fill in vain.
    source
        The array as it lies.
    chunks
        Elements an axis that are best read together.
    access
        How to ask the store.
    context
        Further metadata that belongs to its content.
    """

    store: ts.TensorStore
    bulk: ts.TensorStore
    source: ArraySource
    chunks: tuple[int, ...]
    access: Access
    context: bytes = b""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return tuple(self.store.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return np.dtype(self.store.dtype.numpy_dtype)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If a chunk is broken, or missing where that is an error.
        StoreError
            If the store does not answer as hoped.
        """
        nbytes = math.prod(s.stop - s.start for s in index) * self.dtype.itemsize
        part = (self.store if nbytes < BULK else self.bulk)[index]
        try:
            found = stores.wait(part.read(order="C"), url=self.source.url, nbytes=nbytes)
        except StoreError as error:
            raise self._told(error, index) from error.__cause__
        return read_only(found)

    def is_absent(self, index: tuple[slice, ...]) -> bool:
        """Say whether no chunk of some elements is stored, so that all of them are the fill value.

        Only files of the local disk are looked for; elsewhere a look costs as much as reading.
        """
        if stores.parse(self.source.url).scheme != "file":
            return False
        found = self.store[index].storage_statistics(query_not_stored=True)
        return bool(stores.wait(found, url=self.source.url).not_stored)

    def _told(self, error: StoreError, index: tuple[slice, ...]) -> FormatError | StoreError:
        cause = str(error.__cause__)
        spans = ", ".join(f"{s.start}:{s.stop}" for s in index)
        if isinstance(error, NotFoundError):
            return FormatError(
                f"A chunk of {self.source.url} among the elements [{spans}] is missing: "
                f"{cause.split('[')[0].strip()}. Restore it, or read without --strict to take the "
                "fill value."
            )
        if cause.startswith(BROKEN):
            return FormatError(
                f"A chunk of {self.source.url} among the elements [{spans}] is broken: "
                f"{cause.split(' [')[0]}. Restore that file from its source, or read around it."
            )
        return error

    def evidence(self) -> Iterator[bytes]:
        """Yield the metadata, and size and both ends of evenly spaced chunks."""
        yield self.context
        yield from samples(self.source, self.access)


def samples(source: ArraySource, access: Access) -> Iterator[bytes]:
    """Yield the metadata of an array, and size and both ends of evenly spaced chunks."""
    yield source.raw
    grid = source.grid
    total = math.prod(grid)
    steps = max(1, min(SAMPLES, total) - 1)
    # Whole numbers of any size: no volume is too large to be looked at.
    flat = sorted({(total - 1) * step // steps for step in range(steps + 1)}) if total else []
    indices = [_unravel(number, grid) for number in flat]
    with ThreadPoolExecutor(SAMPLES) as pool:
        yield from pool.map(lambda index: source.sample(index, access), indices)


def _unravel(number: int, grid: Sequence[int]) -> list[int]:
    index = []
    for size in reversed(grid):
        number, place = divmod(number, size)
        index.append(place)
    return index[::-1]


@dataclass(frozen=True, slots=True)
class View:
    """Which axes of an array become (c,) z, y, x.

    Attributes
    ----------
    space
        Its axes z, y and x; only y and x in two dimensions.
    channel
        Its axis of channels, if any.
    picked
        The place to read along each other axis.
    """

    space: Sequence[int]
    channel: int | None
    picked: Mapping[int, int]

    @property
    def axes(self) -> list[int]:
        """The axes that are read, in their new order."""
        return [*([] if self.channel is None else [self.channel]), *self.space]

    @property
    def flat(self) -> int | None:
        """Where the axis z is put in, for an array without one."""
        return len(self.axes) - 2 if len(self.space) == 2 else None

    def of(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return sizes of the array in the new order."""
        found = [sizes[axis] for axis in self.axes]
        if self.flat is not None:
            found.insert(self.flat, 1)
        return tuple(found)

    def spans(self, index: Sequence[slice], rank: int) -> list[tuple[int, int]]:
        """Return start and stop along each axis of the array, of slices in the new order."""
        parts = [s for i, s in enumerate(index) if i != self.flat]
        spans = {axis: (s.start, s.stop) for axis, s in zip(self.axes, parts, strict=True)}
        spans |= {axis: (place, place + 1) for axis, place in self.picked.items()}
        if self.flat is not None and index[self.flat].stop <= index[self.flat].start:
            spans[self.space[0]] = (0, 0)
        return [spans[axis] for axis in range(rank)]

    def turn(self, array: Array) -> Array:
        """Return an array whose picked axes have one place in the new order."""
        kept = [axis for axis in range(array.ndim) if axis not in self.picked]
        part = array[tuple(0 if i in self.picked else slice(None) for i in range(array.ndim))]
        part = part.transpose([kept.index(axis) for axis in self.axes])
        return part if self.flat is None else np.expand_dims(part, self.flat)

    def turn_store(self, whole: ts.TensorStore) -> ts.TensorStore:
        """Return a tensorstore in the new order."""
        kept = [axis for axis in range(whole.rank) if axis not in self.picked]
        part = whole[tuple(self.picked.get(i, slice(None)) for i in range(whole.rank))]
        part = part.transpose([kept.index(axis) for axis in self.axes])
        if self.flat is None:
            return part
        return part[(slice(None),) * self.flat + (ts.newaxis,)]


class Turnable(Protocol):
    """An array that is no tensorstore."""

    def turned(self, source: ArraySource, view: View, access: Access, context: bytes) -> LazyArray:
        """Return it as a lazy array."""


def open_chunked(
    source: ArraySource,
    opened: Callable[[bool], ts.TensorStore | Turnable],
    view: View,
    *,
    access: Access,
    context: bytes = b"",
    whole_shards: bool = True,
    chunk: Sequence[int] | None = None,
) -> LazyArray:
    """Return an array turned to (c,) z, y, x; nothing is read.

    Parameters
    ----------
    source
        The array as it lies.
    opened
        Opens its tensorstore, with the cache of all stores or without one.
    view
        Which of its axes are read.
    access
        How to ask the store.
    context
        Further metadata that belongs to its content.
    whole_shards
        Whether the index of a shard, where there are shards, is read as a whole.
    chunk
        Elements a chunk an axis, where the tensorstore does not know them.

    Raises
    ------
    FormatError
        If the elements are no numbers, or a chunk is larger than 2 GiB.
    """
    store = opened(True)
    array: LazyArray
    if isinstance(store, ts.TensorStore):
        bulk = cast(ts.TensorStore, opened(False))
        sizes = _check_chunks(store, source.url, whole_shards) if chunk is None else chunk
        bounded = [max(1, min(c, n)) for c, n in zip(sizes, store.shape, strict=True)]
        array = ChunkedArray(
            view.turn_store(store), view.turn_store(bulk), source, view.of(bounded), access, context
        )
    else:
        array = store.turned(source, view, access, context)
    check_readable(array, url=source.url)
    return array


def open_store(
    spec: Mapping[str, Any], *, url: str, access: Access, strict: bool, cached: bool
) -> ts.TensorStore:
    """Open an array whose metadata is known, without asking the store.

    Parameters
    ----------
    spec
        Driver and metadata.
    url
        Address of the folder that its keys are below.
    access
        How to ask the store.
    strict
        Whether a missing chunk is an error.
    cached
        Whether decoded chunks are kept in the cache of all stores.

    Raises
    ------
    ValueError
        In the words of tensorstore, if the metadata cannot be used (or FormatError, which is one).
    """
    local = stores.parse(url).scheme in ("file", "memory")
    whole = {
        **spec,
        "kvstore": stores.kvstore_spec(url, access=access),
        "fill_missing_data_reads": not strict,
        # Asking again for each chunk costs a request on object stores.
        "recheck_cached_data": True if local else "open",
        **({} if cached else NO_CACHE),
    }
    way: dict[str, Any] = {"open": True, "read": True, "write": False, "assume_metadata": True}
    try:
        return ts.open(whole, context=stores.context(), **way).result(timeout=OPENING)
    except (OverflowError, TypeError) as error:  # numbers and values that JSON cannot have meant
        raise FormatError(f"a value in its metadata cannot be used ({error})") from None


def reason(error: ValueError) -> str:
    """Return what tensorstore found wrong, without its innards."""
    return str(error).split(" [tensorstore_spec")[0].rstrip(".")


def _check_chunks(store: ts.TensorStore, url: str, whole_shards: bool) -> list[int]:
    """Return the elements of a chunk an axis; refuse absurd ones."""
    layout = store.chunk_layout
    chunk, shard = (
        [int(c or n) for c, n in zip(grid.shape or store.shape, store.shape, strict=True)]
        for grid in (layout.read_chunk, layout.write_chunk)
    )
    if math.prod(chunk) * np.dtype(store.dtype.numpy_dtype).itemsize > CHUNK_LIMIT:
        raise FormatError(
            f"{url} declares chunks of {tuple(chunk)} elements, more than "
            f"{CHUNK_LIMIT} bytes each, which would not fit into memory. Write it again in chunks."
        )
    if whole_shards and math.prod(shard) > SHARD_LIMIT * math.prod(chunk):
        raise FormatError(
            f"{url} declares shards of {tuple(shard)} elements with chunks of "
            f"{tuple(chunk)}: more than {SHARD_LIMIT} in one. Write it again with smaller shards."
        )
    return chunk
