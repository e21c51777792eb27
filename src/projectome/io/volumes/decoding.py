"""Arrays whose codecs tensorstore does not know, decoded here chunk by chunk.

Chunks are fetched and decoded many at a time, and not kept: convert what is read often.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorstore as ts

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.errors import FormatError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.chunked import (
    CHUNK_LIMIT,
    ArraySource,
    View,
    samples,
)

FETCHES = 32
"""Chunks that are fetched and decoded at a time."""
BATCH = 1024
"""Chunks that are asked for before the first of the next."""
UNKNOWN = ("is not registered", "filters are not supported")
"""What tensorstore says of codecs that it does not know."""


class ChunkFormat(Protocol):
    """How the chunks of one array are named and decoded; it can be sent to other processes."""

    @property
    def url(self) -> str:
        """Address of the array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""

    @property
    def chunk(self) -> tuple[int, ...]:
        """Elements of a chunk an axis."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""

    @property
    def fill(self) -> Any:
        """Value of the elements of missing chunks."""

    def fetch(self, index: Sequence[int], access: Access) -> bytes | None:
        """Return what is stored of a chunk; None if it is missing."""

    def decode(self, data: bytes, index: Sequence[int]) -> Array:
        """Return the elements of a chunk.

        Raises
        ------
        FormatError
            If it is broken.
        """


@dataclass(frozen=True, slots=True, eq=False)
class DecodedArray:
    """An array decoded here, or a part of it with its axes turned, as a lazy array.

    Attributes
    ----------
    form
        How its chunks are decoded.
    source
        The array as it lies.
    view
        Which of its axes are read.
    access
        How to ask the store.
    strict
        Whether a missing chunk is an error.
    context
        Further metadata that belongs to its content.
    """

    form: ChunkFormat
    source: ArraySource
    view: View
    access: Access
    strict: bool
    context: bytes = b""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.view.of(self.form.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.form.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        pairs = zip(self.view.of(self.form.chunk), self.shape, strict=True)
        return tuple(max(1, min(c, n)) for c, n in pairs)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If a chunk is broken, or missing where that is an error.
        StoreError
            If the store does not answer as hoped.
        """
        spans = self.view.spans(index, len(self.form.shape))
        found = np.empty([stop - start for start, stop in spans], self.dtype)
        grid = [
            range(start // c, -(-stop // c) if stop > start else start // c)
            for (start, stop), c in zip(spans, self.form.chunk, strict=True)
        ]
        chunks = itertools.product(*grid)
        with ThreadPoolExecutor(min(FETCHES, max(1, math.prod(map(len, grid))))) as pool:
            while batch := list(itertools.islice(chunks, BATCH)):
                for _ in pool.map(lambda chunk: self._fill(found, chunk, spans), batch):
                    pass
        return read_only(self.view.turn(found))

    def _fill(self, found: Array, chunk: tuple[int, ...], spans: Sequence[tuple[int, int]]) -> None:
        """Put what is wanted of a chunk where it belongs."""
        corner = [i * c for i, c in zip(chunk, self.form.chunk, strict=True)]
        inside, target = [], []
        for first, size, (start, stop) in zip(corner, self.form.chunk, spans, strict=True):
            low, high = max(first, start), min(first + size, stop)
            inside.append(slice(low - first, high - first))
            target.append(slice(low - start, high - start))
        try:
            data = self.form.fetch(chunk, self.access)
            if data is not None:
                decoded = self.form.decode(data, chunk)
                if any(s.stop > n for s, n in zip(inside, decoded.shape, strict=True)):
                    raise FormatError(f"it has the shape {decoded.shape}, which is too small")
                found[tuple(target)] = decoded[tuple(inside)]
        except FormatError as error:
            raise FormatError(
                f"The chunk {chunk} of {self.form.url} is broken: {error}. Restore that file from "
                "its source, or read around it."
            ) from None
        if data is None and self.strict:
            raise FormatError(
                f"The chunk {chunk} of {self.form.url} is missing. Restore it, or read without "
                "--strict to take the fill value."
            )
        if data is None:
            found[tuple(target)] = self.form.fill

    def evidence(self) -> Iterator[bytes]:
        """Yield the metadata, and size and both ends of evenly spaced chunks."""
        yield self.context
        yield from samples(self.source, self.access)


@dataclass(frozen=True, slots=True)
class Decodable:
    """An array that is decoded here, before its axes are chosen.

    Attributes
    ----------
    form, strict
        As of `DecodedArray`.

    Raises
    ------
    FormatError
        If a chunk is larger than 2 GiB.
    """

    form: ChunkFormat
    strict: bool

    def __post_init__(self) -> None:
        if math.prod(self.form.chunk) * self.form.dtype.itemsize > CHUNK_LIMIT:
            raise FormatError(
                f"{self.form.url} declares chunks of {self.form.chunk} elements, more than "
                f"{CHUNK_LIMIT} bytes each, which would not fit into memory. Write it again in "
                "chunks."
            )

    def turned(
        self, source: ArraySource, view: View, access: Access, context: bytes
    ) -> DecodedArray:
        """Return it as a lazy array."""
        return DecodedArray(self.form, source, view, access, self.strict, context)


@functools.lru_cache(maxsize=64)
def _folder(url: str, access: Access) -> Any:
    return stores.wait(
        ts.KvStore.open(stores.kvstore_spec(url, access=access), context=stores.context()), url=url
    )


def fetch(url: str, key: str, access: Access) -> bytes | None:
    """Return the content of a file below an address, None if there is none.

    Raises
    ------
    StoreError
        If the store does not answer as hoped.
    """
    found = stores.wait(_folder(url, access).read(key), url=stores.join(url, key))
    return None if found.state == "missing" else bytes(found.value)
