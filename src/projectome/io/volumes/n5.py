"""N5 arrays, and images of several levels as COSEM and BigDataViewer lay them out.

N5 names axes with the fastest first; here they are turned to C order, so that ``--axes`` means the
same for all formats.

References
----------
https://github.com/saalfeldlab/n5; https://github.com/saalfeldlab/n5-viewer;
https://github.com/bigdataviewer/bigdataviewer-core/blob/master/BDV%20N5%20format.md
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import tensorstore as ts

from projectome.core.volume import Pyramid
from projectome.errors import FormatError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.volumes.chunk_formats import N5Blocks
from projectome.io.volumes.chunked import CHUNK_LIMIT, open_store, reason, sample_file
from projectome.io.volumes.decoding import UNKNOWN, Decodable
from projectome.io.volumes.options import OpenOptions, Place, pick_time
from projectome.io.volumes.plain import PlainArray, level_names, open_plain
from projectome.io.volumes.zarr_attributes import read_attributes

DOCUMENT = "attributes.json"
ARRAY = {"dimensions", "blockSize", "dataType"}
NEEDED = (*sorted(ARRAY), "compression")
DATA_TYPES = {
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float32", "float64"),
}
SETUPS = 1000
"""Most setups that are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class N5Document:
    """The metadata of an N5 array, in C order.

    Attributes
    ----------
    url
        Address of the array.
    shape, chunk
        Elements an axis of the array and of a block.
    content
        The document.
    raw
        Its bytes.
    """

    url: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    content: Mapping[str, Any]
    raw: bytes = field(repr=False)

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks an axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def metadata(self) -> dict[str, Any]:
        """What tensorstore has to know of it."""
        return {name: self.content.get(name) for name in NEEDED}

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return np.dtype(str(self.content["dataType"]))

    @property
    def codec(self) -> str:
        """Name of the compression."""
        compression = self.content.get("compression")
        return str(compression.get("type")) if isinstance(compression, dict) else ""

    def chunk_key(self, index: Sequence[int]) -> str:
        """Return the name of a block."""
        return "/".join(str(i) for i in reversed(index))

    def sample(self, index: Sequence[int], access: Access) -> bytes:
        """Return the name, the size and both ends of a block."""
        return sample_file(self.url, self.chunk_key(index), access)


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Arrays of one shape, as one array with another first axis."""

    parts: tuple[N5Document, ...]

    @property
    def url(self) -> str:
        """Address of the first part."""
        return self.parts[0].url

    @property
    def raw(self) -> bytes:
        """Metadata of all parts."""
        return b"".join(part.raw for part in self.parts)

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks an axis."""
        return (len(self.parts), *self.parts[0].grid)

    def sample(self, index: Sequence[int], access: Access) -> bytes:
        """Return the name, the size and both ends of a block."""
        return self.parts[index[0]].sample(index[1:], access)


def parse_array(content: Mapping[str, Any], raw: bytes, *, url: str) -> N5Document:
    """Return the metadata of an array.

    Raises
    ------
    FormatError
        If it is broken, or its blocks are too large.
    """
    if isinstance(content.get("compressionType"), str):  # N5 before version 2
        content = {"compression": {"type": content["compressionType"]}, **content}
    shape, chunk = (_sizes(content.get(name)) for name in ("dimensions", "blockSize"))
    dtype = str(content.get("dataType"))
    if not shape or len(shape) != len(chunk) or dtype not in DATA_TYPES:
        told = {name: content.get(name) for name in NEEDED}
        raise FormatError(
            f"{url}/{DOCUMENT} does not describe an array of two to five axes and a known type: "
            f"{told!s:.300}. Correct it, or fetch it again."
        )
    if math.prod(chunk) * np.dtype(dtype).itemsize > CHUNK_LIMIT:
        raise FormatError(
            f"{url} declares blocks of {chunk} elements, more than {CHUNK_LIMIT} bytes each, which "
            "would not fit into memory. Write it again in smaller blocks."
        )
    return N5Document(url, shape, chunk, content, raw)


def _sizes(value: object) -> tuple[int, ...]:
    """Return whole positive numbers in C order; nothing if they are something else."""
    numbers = value[::-1] if isinstance(value, list) else []
    sound = 2 <= len(numbers) <= 5 and all(type(n) is int and 0 < n < 2**62 for n in numbers)
    return tuple(numbers) if sound else ()


class N5Reader:
    """Opens N5 arrays, groups of levels, and the setups of BigDataViewer."""

    name = "N5"
    prefix = "n5"

    def sniff(self, place: Place) -> bool:
        """Say whether there are N5 attributes."""
        return isinstance(place.documents(DOCUMENT)[DOCUMENT], bytes)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image.

        Raises
        ------
        FormatError
            If it holds no image, or a broken one.
        MetadataError
            If what it says of its place cannot be.
        ParameterError
            If a setup, a time point or the voxel size has to be chosen.
        """
        content, raw = _attributes(place)
        if content.keys() >= ARRAY:
            document = parse_array(content, raw, url=place.url)
            return _open([_plain(document, content, options)], place.url, options)
        levels = _levels(place, content)
        if levels:
            arrays = [_plain(document, said, options) for document, said in levels]
            return _open(arrays, place.url, options)
        return _open_bdv(place, options)


def _attributes(place: Place) -> tuple[dict[str, Any], bytes]:
    """Return the attributes at a place; a folder without is a group that says nothing."""
    raw = place.documents(DOCUMENT)[DOCUMENT]
    if raw is None:
        return {}, b""
    if not isinstance(raw, bytes):
        raise raw
    return parse_json(raw, url=stores.join(place.url, DOCUMENT)), raw


def _inside(place: Place, name: str) -> Place:
    return Place(stores.join(place.url, name), place.access)


def _levels(place: Place, group: Mapping[str, Any]) -> list[tuple[N5Document, Mapping[str, Any]]]:
    """Return the arrays s0, s1 and so on, and what they or their group say of their place."""

    def fetch(name: str) -> tuple[N5Document, Mapping[str, Any]] | None:
        inside = _inside(place, name)
        content, raw = _attributes(inside)
        if not content.keys() >= ARRAY:
            return None
        number = int(re.sub(r"\D", "", name))
        return parse_array(content, raw, url=inside.url), _said(group, content, name, number)

    names = level_names(place, lambda name: fetch(name) is not None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fetch, names))
    stop = found.index(None) if None in found else len(found)
    return [level for level in found[:stop] if level is not None]


def _said(
    group: Mapping[str, Any], own: Mapping[str, Any], name: str, number: int
) -> Mapping[str, Any]:
    """Return the attributes of a level, with those of its group where it has none."""
    if {"transform", "pixelResolution", "resolution", "voxel_size"} & own.keys():
        return own
    for image in _listed(group.get("multiscales")):
        for dataset in _listed(image.get("datasets") if isinstance(image, dict) else None):
            if isinstance(dataset, dict) and dataset.get("path") == name and "transform" in dataset:
                return {**own, "transform": dataset["transform"]}
    resolution = group.get("pixelResolution", group.get("resolution"))
    if resolution is None:
        return own
    factors = _listed(group.get("downsamplingFactors", group.get("scales")))
    if "downsamplingFactors" not in own and number < len(factors):
        own = {**own, "downsamplingFactors": factors[number]}
    if "downsamplingFactors" not in own and number > 0:
        return own
    return {"units": group.get("units", group.get("unit")), **own, "pixelResolution": resolution}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(document: N5Document, said: Mapping[str, Any], options: OpenOptions) -> PlainArray:
    stated = read_attributes(said, rank=len(document.shape), url=document.url, x_first=True)
    return PlainArray(document, document.shape, stated, partial(_store, document, options))


def _store(document: N5Document, options: OpenOptions, cached: bool) -> ts.TensorStore | Decodable:
    spec = {"driver": "n5", "metadata": document.metadata}
    access, strict = options.access, options.strict
    try:
        return open_store(spec, url=document.url, access=access, strict=strict, cached=cached).T
    except ValueError as error:
        text = reason(error)
    if document.codec == "lz4" and any(unknown in text for unknown in UNKNOWN):
        blocks = N5Blocks(document.url, document.shape, document.chunk, document.dtype)
        return Decodable(blocks, strict)
    raise FormatError(
        f"The array {document.url} cannot be opened: {text}. Check its {DOCUMENT}, or save it "
        "again with gzip or zstd."
    )


def _open(arrays: Sequence[PlainArray], url: str, options: OpenOptions, *notes: Problem) -> Pyramid:
    pyramid = open_plain(arrays, options, url=url, form="N5", version="")
    return Pyramid(pyramid.levels, (*notes, *pyramid.problems), pyramid.metadata)


def _numbered(place: Place, prefix: str) -> list[str]:
    """Return the names of a numbered series inside a place, in order."""
    names = place.names
    if names is None:
        return [f"{prefix}0"] if _attributes(_inside(place, f"{prefix}0"))[0] else []
    found = [name for name in names if re.fullmatch(prefix + r"\d{1,9}", name)]
    return sorted(found, key=lambda name: int(name.removeprefix(prefix)))


def _open_bdv(place: Place, options: OpenOptions) -> Pyramid:
    """Open a file, a setup or a time point of BigDataViewer."""
    setups = _numbered(place, "setup")[:SETUPS]
    parts = [_inside(place, name) for name in setups] or [place]
    found = [_setup(part, options) for part in parts]
    if not all(found):
        raise FormatError(
            f"{place.url} is an N5 group without an image of its own. "
            f"It holds: {', '.join((place.names or ())[:12]) or 'nothing that can be listed'}. "
            f"List it with: projectome ls {place.url}, and open what is in it; a single array "
            "opens with --voxel-size Z,Y,X."
        )
    alike = {tuple((d.shape, d.content["dataType"]) for d, _ in levels) for levels in found}
    if len(alike) > 1:
        shapes = ", ".join(f"{n} {f[0][0].shape}" for n, f in zip(setups, found, strict=True))
        raise FormatError(
            f"The setups in {place.url} are images of different shapes: {shapes:.600}. Open one: "
            f"{parts[0].url}"
        )
    if len(found) == 1:
        return _open([_plain(d, said, options) for d, said in found[0]], place.url, options)
    text = f"{len(setups)} setups of one shape are read as channels; a setup opens by its address."
    arrays = [_stacked(level, setups, options) for level in zip(*found, strict=True)]
    return _open(arrays, place.url, options, Problem("warning", "setups", text))


def _setup(place: Place, options: OpenOptions) -> list[tuple[N5Document, Mapping[str, Any]]]:
    """Return the levels of a setup of BigDataViewer, at the time point that is asked for."""
    setup = _attributes(place)[0]
    times = _numbered(place, "timepoint")
    if not times:
        return []
    point = _inside(place, times[pick_time(len(times), "t", options, url=place.url)])
    at_time = _attributes(point)[0]
    return _levels(point, {**setup, **at_time})


def _stacked(
    level: Sequence[tuple[N5Document, Mapping[str, Any]]],
    names: Sequence[str],
    options: OpenOptions,
) -> PlainArray:
    """Return one level of several setups as one array, the setups its first axis."""
    parts = tuple(document for document, _ in level)
    first = _plain(*level[0], options)

    def opened(cached: bool) -> ts.TensorStore:
        found = [_store(part, options, cached) for part in parts]
        known = [store for store in found if isinstance(store, ts.TensorStore)]
        if len(known) < len(found):
            raise FormatError(
                f"{parts[0].url} has a codec that is not read for several setups at once. Open one "
                "setup by its own address."
            )
        return ts.stack(known)

    return PlainArray(
        Stack(parts),
        (len(parts), *parts[0].shape),
        replace(first.stated, axes=f"c{first.stated.axes or 'zyx'}", channels=tuple(names)),
        opened,
        chunk=(1, *parts[0].chunk),
    )
