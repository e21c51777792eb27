"""Single Zarr arrays, version 2 and 3: what OME-Zarr levels are made of as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorstore as ts

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Kind, Pyramid, Volume
from projectome.errors import FormatError, NotFoundError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.volumes.chunked import (
    ChunkedArray,
    open_chunked,
    open_store,
    reason,
    sample_file,
)
from projectome.io.volumes.options import (
    OpenOptions,
    chosen_channels,
    name_of,
    pick_time,
)


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
        Its bytes.
    """

    url: str
    version: int
    content: dict[str, Any]
    raw: bytes

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


def open_array(
    document: ArrayDocument,
    *,
    space: Sequence[int],
    channel: int | None,
    picked: dict[int, int],
    access: Access,
    strict: bool,
    context: bytes = b"",
) -> ChunkedArray:
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
        space=space,
        channel=channel,
        picked=picked,
        access=access,
        context=context,
    )


def _open(document: ArrayDocument, access: Access, strict: bool, cached: bool) -> ts.TensorStore:
    driver = "zarr3" if document.version == 3 else "zarr"
    spec = {"driver": driver, "metadata": document.content}
    try:
        return open_store(spec, url=document.url, access=access, strict=strict, cached=cached)
    except ValueError as error:
        text = reason(error)
        codec = ""
        if "not registered" in text:
            codec = " It uses a codec that cannot be read; save it with blosc, zstd or gzip."
        raise FormatError(
            f"The array {document.url} cannot be opened: {text}.{codec} Check its "
            + ("zarr.json." if document.version == 3 else ".zarray.")
        ) from None


def open_bare(document: ArrayDocument, options: OpenOptions, *, kind: Kind = "image") -> Pyramid:
    """Return a single array as a pyramid of one level.

    Raises
    ------
    ParameterError
        If voxel size or axes are missing, or do not fit.
    FormatError
        If it cannot be read.
    """
    url, shape = document.url, document.shape
    if options.voxel_size is None:
        raise ParameterError(
            f"{url} is a plain Zarr array of shape {shape}, which states no voxel size. Give it: "
            "--voxel-size Z,Y,X in micrometres, and --axes such as czyx."
        )
    problems = []
    axes = options.axes or "".join(name.lower() for name in document.dimension_names)
    if not options.axes and (len(axes) != len(shape) or not {"y", "x"} <= {*axes}):
        axes = {2: "yx", 3: "zyx"}.get(len(shape), "")
        if not axes:
            raise ParameterError(
                f"{url} has the shape {shape}; say which axis is which, for instance "
                f"--axes {'tczyx'[5 - len(shape) :]}."
            )
        problems.append(Problem("warning", "axes", f"None are stated; read as {', '.join(axes)}."))
    if len(axes) != len(shape):
        raise ParameterError(
            f"--axes {axes} names {len(axes)} axes, but {url} has the shape {shape}."
        )
    extra = [i for i, letter in enumerate(axes) if letter not in "czyx"]
    array = open_array(
        document,
        space=[axes.index(letter) for letter in "zyx" if letter in axes],
        channel=axes.index("c") if "c" in axes else None,
        picked={i: pick_time(shape[i], axes[i], options, url=url) for i in extra},
        access=options.access,
        strict=options.strict,
    )
    channels = chosen_channels(array.shape[0], ()) if "c" in axes else ()
    affine = Affine.from_scale(options.voxel_size, target=options.described(Space()))
    volume = Volume(array, affine, channels, kind, name_of(url))
    metadata = {"format": "Zarr array", "version": str(document.version), "url": url}
    return Pyramid((volume,), tuple(problems), metadata)
