"""One zarr array to be written: its metadata document, and how to open it without one."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorstore as ts

from projectome.io import stores


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """Everything that the metadata of an array is going to say.

    The metadata is not written before the array is complete: until then `open` assumes it, which
    also saves the reading of it in every process.

    Attributes
    ----------
    url
        Address of the array.
    shape, chunks
        Elements an axis.
    shards
        Elements of a shard an axis, whole chunks; None to store every chunk by itself.
    dtype
        Name of the element type, for instance ``"uint16"``.
    axes
        Names of the axes.
    zarr
        Version of the zarr format; shards and names of axes need 3.
    compression
        Level of zstd inside blosc with byte shuffle, 1 to 9; 0 for none.
    codec
        Document of another compressor of zarr 2, as JSON; empty for zstd.
    separator
        Between the numbers in the names of chunks of zarr 2.
    """

    url: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: str
    axes: tuple[str, ...]
    zarr: Literal[2, 3]
    compression: int
    codec: str = ""
    separator: Literal["/", "."] = "/"

    @property
    def document(self) -> str:
        """Name of the metadata document."""
        return ".zarray" if self.zarr == 2 else "zarr.json"

    @property
    def metadata(self) -> dict[str, Any]:
        """Content of the metadata document."""
        return self._version_2() if self.zarr == 2 else self._version_3()

    def _fill(self) -> object:
        return np.zeros((), self.dtype).item()

    def _version_2(self) -> dict[str, Any]:
        blosc = {"id": "blosc", "cname": "zstd", "clevel": self.compression, "shuffle": 1}
        codec = {**blosc, "blocksize": 0} if self.compression else None
        return {
            "zarr_format": 2,
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "dtype": np.dtype(self.dtype).str,
            "compressor": json.loads(self.codec) if self.codec else codec,
            "fill_value": self._fill(),
            "order": "C",
            "filters": None,
            "dimension_separator": self.separator,
        }

    def _version_3(self) -> dict[str, Any]:
        size = np.dtype(self.dtype).itemsize
        order = {"configuration": {"endian": "little"}} if size > 1 else {}
        codecs: list[dict[str, Any]] = [{"name": "bytes", **order}]
        if self.compression:
            blosc = {"cname": "zstd", "clevel": self.compression, "shuffle": "shuffle"}
            blosc |= {"typesize": size, "blocksize": 0}
            codecs.append({"name": "blosc", "configuration": blosc})
        if self.shards is not None:
            index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
            inner = {"chunk_shape": list(self.chunks), "codecs": codecs, "index_codecs": index}
            inner["index_location"] = "end"
            codecs = [{"name": "sharding_indexed", "configuration": inner}]
        stored = list(self.shards or self.chunks)
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": stored}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self._fill(),
            "codecs": codecs,
            "dimension_names": list(self.axes),
            "attributes": {},
        }

    def open(self, access: stores.Access) -> Any:
        """Return the array as a tensorstore, opened once a process.

        Chunks that hold nothing but zeros are written like all others: in what is finished, a
        missing chunk is always a loss.

        Raises
        ------
        StoreError
            If the store cannot be reached.
        """
        return _open(self, access)


@functools.lru_cache(maxsize=64)
def _open(plan: ArrayPlan, access: stores.Access) -> Any:
    spec = {
        "driver": "zarr" if plan.zarr == 2 else "zarr3",
        "kvstore": stores.kvstore_spec(plan.url, access=access),
        "metadata": plan.metadata,
        "store_data_equal_to_fill_value": True,
        # Every chunk is written once and read once: nothing to keep, and an array given to write
        # is let go as soon as it is written.
        "cache_pool": {"total_bytes_limit": 0},
    }
    future = ts.open(spec, open=True, assume_metadata=True, context=stores.context())
    return stores.wait(future, url=plan.url, doing="open")
