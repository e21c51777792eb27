"""Chunks copied as they lie, where source and copy store them in the same way.

Decoding and encoding again is most of the work of copying a volume; a chunk that stays what it is
needs neither.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np

from projectome.core.box import Box, Triple, triple
from projectome.core.volume import LazyArray
from projectome.errors import FormatError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.clients import kvstore
from projectome.io.source import OneChannel
from projectome.io.volumes.chunked import ChunkedArray
from projectome.io.volumes.zarr_array import ArrayDocument

HEADER = struct.Struct("<4xIII")
"""Of a blosc buffer: sizes decoded, of a block, and encoded [bytes]; c-blosc, README_HEADER."""
SHUFFLES = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class StoredChunks:
    """The chunks of a Zarr array of version 2 with blosc, as (c,) z, y, x.

    Attributes
    ----------
    document
        Metadata of the array.
    access
        How to ask its store.
    axes
        For each axis of the array as it lies, which of (c,) z, y, x it is; None where one place is
        picked.
    places
        The place that is picked on each, else where it begins: 0.
    channels
        Channels that are copied; 0 without a channel axis.
    """

    document: ArrayDocument
    access: Access
    axes: tuple[int | None, ...]
    places: tuple[int, ...]
    channels: int

    @property
    def shape(self) -> Triple:
        """Voxels of a chunk, (z, y, x)."""
        first = 1 if self.channels else 0
        found = [
            self.document.content["chunks"][self.axes.index(axis + first)] for axis in range(3)
        ]
        return triple(found)

    @property
    def codec(self) -> str:
        """The document of the compressor, as JSON."""
        return json.dumps(self.document.content["compressor"], sort_keys=True)

    @property
    def nbytes(self) -> int:
        """Size of a chunk, decoded [bytes]."""
        return math.prod(self.shape) * np.dtype(self.document.content["dtype"]).itemsize

    def read(self, box: Box, *, strict: bool = False) -> dict[str, bytes]:
        """Read the chunks of a box.

        Parameters
        ----------
        box
            Begins and ends at chunks, or at the end of the volume.
        strict
            Whether a chunk that is missing is an error; else it is one of the fill value.

        Returns
        -------
        dict
            Encoded chunks by their name in an array with the axes (c,) z, y, x.

        Raises
        ------
        FormatError
            If a chunk is broken, or missing where that is an error.
        StoreError
            If the store does not answer as hoped.
        """
        url = self.document.url
        store = kvstore(url, access=self.access, folder=True)
        spans = [range(a // c, -(-b // c)) for a, b, c in zip(*box.bounds, self.shape, strict=True)]
        channels = [range(self.channels)] if self.channels else []
        under_way = [
            (index, store.read(self._key(index))) for index in itertools.product(*channels, *spans)
        ]
        found = {}
        for index, future in under_way:
            result = stores.wait(future, url=url, nbytes=self.nbytes)
            key = self._key(index)
            if result.state == "missing" and strict:
                raise FormatError(
                    f"The chunk {key} of {url} is missing. Restore it, or read without --strict to "
                    "take the fill value."
                )
            chunk = self._empty() if result.state == "missing" else bytes(result.value)
            self._check(chunk, key)
            found["/".join(map(str, index))] = chunk
        return found

    def _key(self, index: tuple[int, ...]) -> str:
        numbers = zip(self.axes, self.places, strict=True)
        return self.document.chunk_key(
            [place if axis is None else index[axis] for axis, place in numbers]
        )

    def _empty(self) -> bytes:
        content = self.document.content
        return _filled(
            math.prod(self.shape), content["dtype"], content["fill_value"] or 0, self.codec
        )

    def _check(self, chunk: bytes, key: str) -> None:
        decoded, _, encoded = HEADER.unpack_from(chunk) if len(chunk) >= HEADER.size else (0, 0, 0)
        if decoded != self.nbytes or encoded != len(chunk):
            raise FormatError(
                f"The chunk {key} of {self.document.url} is broken: its {len(chunk)} bytes "
                f"say that they are {encoded} and stand for {decoded}; {self.nbytes} are expected. "
                "Restore that file from its source, or read around it."
            )


@functools.lru_cache(maxsize=8)
def _filled(count: int, dtype: str, value: float, codec: str) -> bytes:
    """Return an encoded chunk of one value."""
    how = json.loads(codec)
    values = np.full(count, value, dtype)
    return bytes(
        imagecodecs.blosc_encode(
            values.tobytes(),
            level=how.get("clevel", 1),
            compressor=how["cname"],
            typesize=values.dtype.itemsize,
            shuffle=how.get("shuffle", 1),
        )
    )


def stored_chunks(array: LazyArray) -> StoredChunks | None:
    """Return the chunks of an array, if they can be copied as they lie.

    Parameters
    ----------
    array
        As a reader opened it, all channels or one.
    """
    picked = array.channel if isinstance(array, OneChannel) else None
    array = array.whole if isinstance(array, OneChannel) else array
    if not isinstance(array, ChunkedArray) or not isinstance(array.source, ArrayDocument):
        return None
    document = array.source
    if document.version != 2 or not _plain(document.content):
        return None
    first = len(array.shape) - 3  # one, if there is an axis of channels
    axes: list[int | None] = []
    places = []
    turned = array.store.spec().transform
    assert turned is not None  # of an open array
    for out in turned.output:
        axis = out.input_dimension
        place = out.offset
        if axis is not None and first and axis == 0 and picked is not None:
            axis, place = None, picked
        elif axis is not None and (out.stride != 1 or out.offset):
            return None
        elif axis is not None and first and picked is not None:
            axis -= 1
        axes.append(axis)
        places.append(place)
    kept = [axis for axis in axes if axis is not None]
    channels = array.shape[0] if first and picked is None else 0
    chunks = document.content["chunks"]
    alone = [c for c, axis in zip(chunks, axes, strict=True) if axis is None]
    if channels:
        alone.append(chunks[axes.index(0)])
    # In another order of axes the voxels of a chunk would lie otherwise.
    if kept != list(range(3 + bool(channels))) or any(c != 1 for c in alone):
        return None
    return StoredChunks(document, array.access, tuple(axes), tuple(places), channels)


def _plain(content: Mapping[str, Any]) -> bool:
    """Say whether chunks are C order, little endian and in blosc, and nothing else."""
    codec, dtype = content.get("compressor"), content.get("dtype")
    return (
        isinstance(codec, dict)
        and codec.get("id") == "blosc"
        and codec.get("cname") in ("zstd", "lz4", "lz4hc", "zlib", "blosclz")
        and codec.get("shuffle", 1) in SHUFFLES
        and not content.get("filters")
        and content.get("order") == "C"
        and isinstance(dtype, str)
        and np.dtype(dtype).newbyteorder("<") == np.dtype(dtype)
        and isinstance(content.get("fill_value") or 0, (int, float))
    )


def write_encoded(url: str, chunks: Mapping[str, bytes], *, access: Access) -> None:
    """Write encoded chunks into an array.

    Parameters
    ----------
    url
        Address of the array.
    chunks
        By their names.
    access
        How to ask the store.

    Raises
    ------
    StorageFullError, AccessDeniedError, StoreError
        If they cannot be written.
    """
    store = kvstore(url, access=access, folder=True)
    under_way = [(store.write(key, chunk), len(chunk)) for key, chunk in chunks.items()]
    for future, nbytes in under_way:
        stores.wait(future, url=url, doing="write", nbytes=nbytes)
