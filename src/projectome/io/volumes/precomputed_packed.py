"""Precomputed volumes on a disk whose chunks are packed files, as cloud-volume writes them.

An object store says in a header that an object is packed, and unpacks it on the way; on a disk the
name of the file ends in ``.gz`` or the like. Unpacked, the chunks are as the ``info`` says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorstore as ts

from projectome.core.volume import Array
from projectome.errors import FormatError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.chunked import reason
from projectome.io.volumes.codecs import unpacked
from projectome.io.volumes.decoding import fetch
from projectome.io.volumes.precomputed_info import Info, Scale

ENDINGS = {".gz": "gzip", ".br": "brotli", ".zstd": "zstd", ".xz": "lzma", ".bz2": "bz2"}
"""How names of packed files end, and what packed them."""
LOOK = 100
"""So many files are looked at."""


def packed_ending(folder: str) -> str:
    """Return how the names of the chunks in a folder end, if they are packed files on a disk."""
    path = stores.local_path(folder)
    if path is None or not path.is_dir():
        return ""
    with os.scandir(path) as found:
        for _, entry in zip(range(LOOK), found, strict=False):
            ending = os.path.splitext(entry.name)[1]
            if ending in ENDINGS:
                return ending
    return ""


@dataclass(frozen=True, slots=True)
class PackedChunks:
    """Chunks of a scale, axes (x, y, z, channel).

    Attributes
    ----------
    url
        Address of their folder.
    info
        The volume.
    scale
        Its scale.
    ending
        How their names end.
    """

    url: str
    info: Info
    scale: Scale
    ending: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return (*self.scale.size[::-1], self.info.channels)

    @property
    def chunk(self) -> tuple[int, ...]:
        """Elements of a chunk an axis."""
        return (*self.scale.chunk[::-1], self.info.channels)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return np.dtype(self.info.dtype)

    @property
    def fill(self) -> int:
        """0: the format has no fill value."""
        return 0

    def fetch(self, index: Sequence[int], access: Access) -> bytes | None:
        """Return the packed chunk; None if it is missing."""
        return fetch(self.url, self.scale.chunk_key(index[2::-1]) + self.ending, access)

    def decode(self, data: bytes, index: Sequence[int]) -> Array:
        """Return the elements of a chunk."""
        nbytes = math.prod(self.chunk) * self.dtype.itemsize
        # A compressed segmentation may be larger than its voxels, by its tables and headers.
        limit = nbytes if self.scale.encoding == "raw" else 4 * nbytes + 2**20
        plain = unpacked(ENDINGS[self.ending], data, limit=limit)
        context = ts.Context()
        scale = replace(self.scale, key="scale")
        spec: dict[str, Any] = {
            "driver": "neuroglancer_precomputed",
            "kvstore": "memory://",
            "multiscale_metadata": self.info.metadata,
            "scale_metadata": scale.metadata,
        }
        folder = ts.KvStore.open("memory://", context=context).result()
        folder.write("scale/" + scale.chunk_key(index[2::-1]), plain).result()
        spans = zip(index, self.chunk, self.shape, strict=True)
        part = tuple(slice(i * c, min(n, (i + 1) * c)) for i, c, n in spans)
        try:
            store = ts.open(spec, open=True, assume_metadata=True, context=context).result()
            return np.asarray(store[ts.d[:].translate_to[0]][part].read().result())
        except ValueError as error:
            raise FormatError(reason(error)) from None
