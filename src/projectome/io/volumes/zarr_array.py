"""Single Zarr arrays, version 2 and 3: what OME-Zarr levels are made of as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import tensorstore as ts

from projectome.core.volume import LazyArray, Pyramid
from projectome.errors import FormatError, NotFoundError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.volumes.chunk_formats import zarr_2, zarr_3
from projectome.io.volumes.chunked import (
    View,
    open_chunked,
    open_store,
    reason,
    sample_file,
)
from projectome.io.volumes.decoding import UNKNOWN, Decodable
from projectome.io.volumes.options import OpenOptions, Place
from projectome.io.volumes.plain import PlainArray, open_plain
from projectome.io.volumes.zarr_attributes import implied_attributes, read_attributes


@dataclass(frozen=True, slots=True, eq=False)
class ArrayDocument:
    """The metadata document of a Zarr array.

    Attributes
    ----------
    url
        Address of the array.
    version
        2 or 3.
    content
        The document.
    raw
        Its bytes, and those of its attributes.
    attributes
        What else it says.
    implied
        Whether the attributes were not read, but follow from those of other levels.
    """

    url: str
    version: int
    content: dict[str, Any]
    raw: bytes
    attributes: Mapping[str, Any] = field(default_factory=dict)
    implied: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis; two to five axes."""
        found = self.content.get("shape")
        if not isinstance(found, list) or not 2 <= len(found) <= 5:
            raise FormatError(
                f"{self.url} has the shape {found}; a volume has two to five axes. Choose another "
                f"array: projectome ls {self.url.rsplit('/', 1)[0]}"
            )
        if not all(isinstance(n, int) and n >= 0 for n in found):
            raise FormatError(
                f"{self.url} has the shape {found}, which is none. Correct its "
                + ("zarr.json." if self.version == 3 else ".zarray.")
            )
        return tuple(found)

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Names of the axes, where version 3 states all of them."""
        names = self.content.get("dimension_names")
        if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
            return tuple(names)
        return ()

    def chunk_key(self, index: Sequence[int]) -> str:
        """Return the name of a chunk (of a shard, where there are shards)."""
        numbers = [str(i) for i in index]
        if self.version == 2:
            return str(self.content.get("dimension_separator") or ".").join(numbers)
        encoding = self.content.get("chunk_key_encoding") or {}
        name = encoding.get("name", "default")
        separator = (encoding.get("configuration") or {}).get(
            "separator", "/" if name == "default" else "."
        )
        return str(separator).join(["c", *numbers] if name == "default" else numbers)

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks (shards, where there are shards) an axis."""
        if self.version == 2:
            chunks = self.content["chunks"]
        else:
            chunks = self.content["chunk_grid"]["configuration"]["chunk_shape"]
        return tuple(-(-n // c) for n, c in zip(self.content["shape"], chunks, strict=True))

    def sample(self, index: Sequence[int], access: Access) -> bytes:
        """Return the name, the size and both ends of a stored chunk."""
        return sample_file(self.url, self.chunk_key(index), access)


def read_document(url: str, *, access: Access, version: int | None = None) -> ArrayDocument:
    """Read the metadata of a Zarr array.

    Parameters
    ----------
    url
        Address of the array.
    access
        How to ask.
    version
        2 or 3 where it is known; both are tried if None.

    Raises
    ------
    NotFoundError
        If there is no array.
    FormatError
        If its metadata is broken.
    """
    for number, name in ((3, "zarr.json"), (2, ".zarray")):
        if version not in (None, number):
            continue
        where = stores.join(url, name)
        try:
            raw = stores.read_bytes(where, access=access)
        except NotFoundError:
            continue
        content = parse_json(raw, url=where)
        if number == 3 and content.get("node_type") != "array":
            raise FormatError(
                f"{url} is a Zarr group, not an array. List what is in it with: projectome ls {url}"
            )
        return ArrayDocument(url, number, content, raw)
    raise NotFoundError(
        f"There is no Zarr array at {url}: neither zarr.json nor .zarray. List what is there with: "
        f"projectome ls {url}"
    )


def levels_by_ends(levels: Sequence[Place]) -> list[ArrayDocument]:
    """Return levels of version 2, the attributes of the first and the last alone being read.

    Parameters
    ----------
    levels
        Where they lie, finest first; more than two.

    Returns
    -------
    list
        Empty where those between do not follow from the ends (`implied_attributes`).

    Raises
    ------
    FormatError
        If a document is broken.
    """
    asked = [
        (".zarray", *((".zattrs",) if k in (0, len(levels) - 1) else ()))
        for k in range(len(levels))
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda level, names: level.documents(*names), levels, asked))
    raw = [data for level in found if isinstance(data := level[".zarray"], bytes)]
    ends = [data for k in (0, -1) if isinstance(data := found[k][".zattrs"], bytes)]
    if len(raw) < len(levels) or len(ends) < 2:
        return []
    contents = [
        parse_json(data, url=stores.join(level.url, ".zarray"))
        for level, data in zip(levels, raw, strict=True)
    ]
    first, last = (
        parse_json(data, url=stores.join(levels[k].url, ".zattrs"))
        for k, data in zip((0, -1), ends, strict=True)
    )
    attributes = implied_attributes(first, last, [content.get("shape") for content in contents])
    proofs = [ends[0], *[b"".join(ends)] * (len(levels) - 2), ends[1]]
    return [
        ArrayDocument(level.url, 2, content, data + proof, said, said not in (first, last))
        for level, content, data, proof, said in zip(
            levels, contents, raw, proofs, attributes, strict=False
        )
    ]


def open_array(
    document: ArrayDocument,
    *,
    space: Sequence[int],
    channel: int | None,
    picked: dict[int, int],
    access: Access,
    strict: bool,
    context: bytes = b"",
) -> LazyArray:
    """Return an array turned to (c,) z, y, x; nothing is read.

    Parameters
    ----------
    document
        Its metadata.
    space
        Its axes z, y and x; only y and x in two dimensions.
    channel
        Its axis of channels, if any.
    picked
        The place to read along each other axis.
    access
        How to ask the store.
    strict
        Whether a missing chunk is an error.
    context
        Further metadata that belongs to its content.

    Raises
    ------
    FormatError
        If the metadata is broken, the elements are no numbers, or a chunk is larger than 2 GiB.
    """
    return open_chunked(
        document,
        partial(_open, document, access, strict),
        View(space, channel, picked),
        access=access,
        context=context,
    )


def _open(
    document: ArrayDocument, access: Access, strict: bool, cached: bool
) -> ts.TensorStore | Decodable:
    driver, read = ("zarr3", zarr_3) if document.version == 3 else ("zarr", zarr_2)
    spec = {"driver": driver, "metadata": _known(document)}
    try:
        return open_store(spec, url=document.url, access=access, strict=strict, cached=cached)
    except ValueError as error:
        text = reason(error)
    if any(unknown in text for unknown in UNKNOWN):
        form = read(document.content, document.chunk_key, document.url)
        return Decodable(form, strict)
    raise FormatError(
        f"The array {document.url} cannot be opened: {text}. Check its "
        + ("zarr.json." if document.version == 3 else ".zarray.")
    )


def _known(document: ArrayDocument) -> dict[str, Any]:
    """Return the metadata without what tensorstore refuses and nobody needs to decode."""
    compressor = document.content.get("compressor")
    if document.version == 2 and isinstance(compressor, dict) and compressor.get("id") == "zstd":
        # Whether a frame has a checksum stands in the frame.
        plain = {name: value for name, value in compressor.items() if name != "checksum"}
        return {**document.content, "compressor": plain}
    return document.content


def open_bare(documents: Sequence[ArrayDocument], options: OpenOptions, *, url: str) -> Pyramid:
    """Return a single array, or arrays that are levels of one image, as a pyramid.

    Raises
    ------
    ParameterError
        If voxel size or axes are missing, or do not fit.
    MetadataError
        If the attributes cannot be used.
    FormatError
        If an array cannot be read.
    """
    arrays = [
        PlainArray(
            document,
            document.shape,
            read_attributes(document.attributes, rank=len(document.shape), url=document.url),
            partial(_open, document, options.access, options.strict),
            document.dimension_names,
        )
        for document in documents
    ]
    version = str(documents[0].version)
    pyramid = open_plain(arrays, options, url=url, form="Zarr array", version=version)
    implied = [number for number, document in enumerate(documents) if document.implied]
    told = {"implied_levels": implied} if implied else {}
    return replace(pyramid, metadata={**pyramid.metadata, **told})
