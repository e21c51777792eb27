"""What writes an OME-Zarr volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from projectome.core.box import Box, Triple, triple
from projectome.core.volume import Array
from projectome.io import stores
from projectome.io.volumes.ngff_write import Version, encode, root_documents, window
from projectome.io.volumes.pyramid_writer import Progress, PyramidWriter
from projectome.io.volumes.zarr_write import ArrayPlan

__all__ = ["Progress", "VolumeWriter"]

SAMPLE = 256
"""Edge of the box from which the display range is taken, where the last level is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class VolumeWriter(PyramidWriter):
    """An OME-Zarr volume being written; made by `create_volume`.

    Attributes
    ----------
    shards
        Voxels a shard; None where each chunk is stored by itself.
    version
        Of OME-Zarr.
    compression
        Level of zstd.
    codec
        Document of another compressor of version 0.4, as JSON; empty for zstd.
    """

    shards: Triple | None
    version: Version
    compression: int
    codec: str = ""

    def array(self, level: int) -> ArrayPlan:
        """Return how a level is stored; chunks are never longer than the level."""
        shape = self.levels[level].shape
        chunks = np.minimum(self.chunks, shape)
        shards = np.minimum(self.shards or chunks, -(-np.asarray(shape) // chunks) * chunks)
        channel = bool(self.channels)
        return ArrayPlan(
            url=stores.join(self.url, str(level)),
            shape=(len(self.channels),) * channel + shape,
            chunks=(1,) * channel + triple(chunks),
            shards=None if (shards == chunks).all() else (1,) * channel + triple(shards),
            dtype=self.dtype.name,
            axes=("c",) * channel + ("z", "y", "x"),
            zarr=2 if self.version == "0.4" else 3,
            compression=self.compression,
            codec=self.codec,
        )

    def layout(self) -> dict[str, object]:
        """Return shards, version and compression."""
        return {
            "shards": self.shards,
            "version": self.version,
            "compression": self.codec or self.compression,
        }

    def seal(self) -> None:
        """Write the metadata of all levels, then that of the group."""
        root = self._root_documents()
        for array in map(self.array, range(len(self.levels))):
            place = stores.join(array.url, array.document)
            stores.write_bytes(place, encode(array.metadata), access=self.access)
        for name, content in root.items():
            stores.write_bytes(stores.join(self.url, name), content, access=self.access)

    def _root_documents(self) -> dict[str, bytes]:
        name = stores.parse(self.url).path.rstrip("/").rpartition("/")[2]
        return root_documents(
            self.version,
            name=name.removesuffix(".zarr").removesuffix(".ome") or "volume",
            levels=self.levels,
            kind=self.kind,
            channels=self.channels,
            windows=[] if self.kind == "labels" else [window(v) for v in self._samples()],
            provenance=self.provenance,
        )

    def _samples(self) -> Iterator[Array]:
        """Yield voxels of each channel: the last level, or the middle of it if it is large."""
        last = self.array(len(self.levels) - 1)
        size = np.asarray(last.shape[-3:])
        start = np.maximum(0, size - SAMPLE) // 2
        box = Box(triple(start), triple(np.minimum(size, start + SAMPLE)))
        store = last.open(self.access)
        for c in range(max(1, len(self.channels))):
            index = (c, *box.slices) if self.channels else box.slices
            yield stores.wait(store[index].read(), url=last.url)
