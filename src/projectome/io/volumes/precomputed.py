"""Neuroglancer precomputed volumes as pyramids of lazy volumes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorstore as ts

from projectome.core.affine import Affine
from projectome.core.volume import LazyArray, Pyramid, Volume
from projectome.errors import FormatError, NotFoundError, ParameterError, StoreError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.packed import GZIP, gunzip
from projectome.io.reading import DOCUMENT_LIMIT
from projectome.io.volumes.chunked import (
    BROKEN,
    PIECE,
    View,
    open_chunked,
    open_store,
    reason,
    sample_file,
)
from projectome.io.volumes.decoding import Decodable
from projectome.io.volumes.options import OpenOptions, Place, chosen_channels, name_of
from projectome.io.volumes.precomputed_info import TYPE, Info, Scale, parse_info
from projectome.io.volumes.precomputed_packed import PackedChunks, packed_ending

MARKS = (b'"scales"', b'"data_type"', b"neuroglancer")
"""One of these stands in what may be the ``info`` of a volume."""
SHARDED = "neuroglancer_uint64_sharded"


@dataclass(frozen=True, slots=True, eq=False)
class ScaleSource:
    """One scale as it lies.

    Attributes
    ----------
    url
        Address of the folder of its chunks.
    scale
        What the ``info`` says of it.
    ending
        How the names of packed chunks end.
    """

    url: str
    scale: Scale
    ending: str = ""

    @property
    def raw(self) -> bytes:
        """Which scale it is; the rest stands in the ``info``."""
        return self.scale.key.encode(errors="surrogatepass")

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks an axis (z, y, x)."""
        return self.scale.grid

    def sample(self, index: Sequence[int], access: Access) -> bytes:
        """Return the name, the size and both ends of a chunk."""
        if "sharding" not in self.scale.settings:
            return sample_file(self.url, self.scale.chunk_key(index) + self.ending, access)
        number = self.scale.chunk_number(index)
        try:
            chunk = stores.wait(self._shards(access).read(struct.pack(">Q", number)), url=self.url)
        except StoreError as error:
            if str(error.__cause__).startswith(BROKEN):
                return f"{number} broken".encode()
            raise
        if chunk.state == "missing":
            return f"{number} missing".encode()
        data = bytes(chunk.value)
        return f"{number} {len(data)} ".encode() + data[:PIECE] + data[PIECE:][-PIECE:]

    def _shards(self, access: Access) -> Any:
        spec = {
            "driver": SHARDED,
            "metadata": self.scale.settings["sharding"],
            "base": stores.kvstore_spec(self.url, access=access),
        }
        return stores.wait(ts.KvStore.open(spec, context=stores.context()), url=self.url)


class PrecomputedReader:
    """Opens the volumes of neuroglancer, with all their scales."""

    name = "neuroglancer precomputed"
    prefix = "precomputed"

    def sniff(self, place: Place) -> bool:
        """Say whether there is an ``info`` document of neuroglancer."""
        raw = place.documents("info")["info"]
        return isinstance(raw, bytes) and (
            raw.startswith(GZIP) or any(mark in raw for mark in MARKS)
        )

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the volume.

        Raises
        ------
        MetadataError
            With all problems, if its ``info`` cannot be used.
        FormatError
            If it describes something else, for instance meshes or skeletons.
        """
        where = stores.join(place.url, "info")
        raw = place.documents("info")["info"]
        if not isinstance(raw, bytes):
            raise raw or NotFoundError(f"There is no {where}. Check the address.")
        if raw.startswith(GZIP):  # a store that says so in a header alone
            raw = gunzip(raw, url=where, limit=DOCUMENT_LIMIT)
        document = parse_json(raw, url=where)
        stated = document.get("@type", TYPE)
        if stated != TYPE:
            raise FormatError(
                f"{where} describes {stated!r:.60}, not a volume of voxels. Open a volume beside "
                f"it; list what is there with: projectome ls {place.url.rsplit('/', 1)[0]}"
            )
        info = parse_info(document, url=where)
        if options.axes is not None or options.time is not None:
            raise ParameterError(
                f"{place.url} is a precomputed volume, whose axes are always x, y, z and channel. "
                "Leave out --axes and --time."
            )
        arrays = [_open_scale(place.url, info, scale, raw, options) for scale in info.scales]
        channels = chosen_channels(info.channels, info.names) if info.has_axis else ()
        levels = tuple(
            Volume(array, affine, channels, info.kind, name_of(place.url))
            for array, affine in zip(arrays, _affines(info, options), strict=True)
        )
        metadata = {
            "format": "neuroglancer precomputed",
            "version": "",
            "url": place.url,
            "encoding": info.scales[0].encoding,
            "sharded": "sharding" in info.scales[0].settings,
            **({"projectome": dict(info.own)} if info.own else {}),
        }
        return Pyramid(levels, info.problems, metadata)


def _open_scale(url: str, info: Info, scale: Scale, raw: bytes, options: OpenOptions) -> LazyArray:
    folder = stores.join(url, scale.key)
    ending = "" if "sharding" in scale.settings else packed_ending(folder)
    source = ScaleSource(folder, scale, ending)
    opened = partial(_open, source, info, url, options)
    return open_chunked(
        source,
        opened,
        View((2, 1, 0), 3 if info.has_axis else None, {} if info.has_axis else {3: 0}),
        access=options.access,
        context=raw,
        whole_shards=False,
    )


def _open(
    source: ScaleSource, info: Info, url: str, options: OpenOptions, cached: bool
) -> ts.TensorStore | Decodable:
    scale = source.scale
    if source.ending:
        return Decodable(PackedChunks(source.url, info, scale, source.ending), options.strict)
    spec = {
        "driver": "neuroglancer_precomputed",
        "multiscale_metadata": info.metadata,
        "scale_metadata": scale.metadata,
    }
    try:
        store = open_store(
            spec, url=url, access=options.access, strict=options.strict, cached=cached
        )
    except ValueError as error:
        raise FormatError(
            f"The scale {scale.key!r} of {url} cannot be opened: {reason(error)}. Check its info, "
            "or fetch it again."
        ) from None
    return store[ts.d[:].translate_to[0]]


def _affines(info: Info, options: OpenOptions) -> list[Affine]:
    """Return the map of each scale, the voxel size of the user taken first."""
    space = options.described(info.space)
    found = [scale.affine(space) for scale in info.scales]
    if info.translation is not None:
        first = np.asarray(found[0].voxel_size)
        # All scales begin at one corner.
        found = [
            Affine.from_scale(
                grid.voxel_size,
                info.translation + (np.asarray(grid.voxel_size) - first) / 2,
                target=space,
            )
            for grid in found
        ]
    if options.voxel_size is None:
        return found
    factor = Affine.from_scale(
        np.asarray(options.voxel_size) / found[0].voxel_size, source=space, target=space
    )
    return [factor @ grid for grid in found]
