"""Single Zarr arrays, version 2 and 3, as lazy arrays over tensorstore.

`ZarrArray` is what OME-Zarr levels are made of as well. A missing chunk reads as the fill value,
or is an error where asked; a broken one is an error that names the file and the voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from projectome.core.affine import Affine, read_only
from projectome.core.space import Space
from projectome.core.volume import Array, Kind, Pyramid, Volume
from projectome.errors import FormatError, NotFoundError, ParameterError, Problem, StoreError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.volumes.options import (
    OpenOptions,
    check_readable,
    chosen_channels,
    name_of,
    pick_time,
)

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


@dataclass(frozen=True, slots=True, eq=False)
class ZarrArray:
    """A Zarr array, or a part of it with its axes turned, as a lazy array.

    Attributes
    ----------
    store
        The tensorstore, axes (z, y, x) or (c, z, y, x).
    bulk
        The same without a cache, which reads of many chunks only fill in vain.
    document
        Metadata of the array as it lies.
    chunks
        Elements an axis that are best read together.
    access
        How to ask the store.
    context
        Further metadata that belongs to its content.
    """

    store: ts.TensorStore
    bulk: ts.TensorStore
    document: ArrayDocument
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
            found = stores.wait(part.read(order="C"), url=self.document.url, nbytes=nbytes)
        except StoreError as error:
            raise self._told(error, index) from error.__cause__
        return read_only(found)

    def _told(self, error: StoreError, index: tuple[slice, ...]) -> FormatError | StoreError:
        cause = str(error.__cause__)
        spans = ", ".join(f"{s.start}:{s.stop}" for s in index)
        if isinstance(error, NotFoundError):
            return FormatError(
                f"A chunk of {self.document.url} among the elements [{spans}] is missing: "
                f"{cause.split('[')[0].strip()}. Restore it, or read without --strict to take the "
                "fill value."
            )
        if cause.startswith(BROKEN):
            return FormatError(
                f"A chunk of {self.document.url} among the elements [{spans}] is broken: "
                f"{cause.split(' [')[0]}. Restore that file from its source, or read around it."
            )
        return error

    def evidence(self) -> Iterator[bytes]:
        """Yield the metadata, and size and both ends of evenly spaced chunks."""
        yield self.context
        yield self.document.raw
        grid = self._chunk_grid()
        total = math.prod(grid)
        flat = sorted({round(i) for i in np.linspace(0, total - 1, min(SAMPLES, total))})
        indices = [[int(i) for i in np.unravel_index(number, grid)] for number in flat]
        with ThreadPoolExecutor(SAMPLES) as pool:
            yield from pool.map(self._sample, map(self.document.chunk_key, indices))

    def _sample(self, key: str) -> bytes:
        url = stores.join(self.document.url, key)
        try:
            piece, size = stores.read_part(url, 0, PIECE, access=self.access)
            if size > PIECE:
                piece += stores.read_part(url, -PIECE, PIECE, access=self.access)[0]
        except NotFoundError:
            return f"{key} missing".encode()
        return f"{key} {size} ".encode() + piece

    def _chunk_grid(self) -> tuple[int, ...]:
        content = self.document.content
        if self.document.version == 2:
            chunks = content["chunks"]
        else:
            chunks = content["chunk_grid"]["configuration"]["chunk_shape"]
        return tuple(-(-n // c) for n, c in zip(content["shape"], chunks, strict=True))


def open_array(
    document: ArrayDocument,
    *,
    space: Sequence[int],
    channel: int | None,
    picked: dict[int, int],
    access: Access,
    strict: bool,
    context: bytes = b"",
) -> ZarrArray:
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
    store = _open(document, access=access, strict=strict, cached=True)
    bulk = _open(document, access=access, strict=strict, cached=False)
    chunk = _check_chunks(store, document)
    kept = [i for i in range(store.rank) if i not in picked]
    wanted = [*([] if channel is None else [channel]), *space]
    chunks = [chunk[i] for i in wanted]
    place = 0 if channel is None else 1
    if len(space) == 2:
        chunks.insert(place, 1)

    def turned(whole: ts.TensorStore) -> ts.TensorStore:
        part = whole[tuple(picked.get(i, slice(None)) for i in range(whole.rank))]
        part = part.transpose([kept.index(i) for i in wanted])
        return part[(slice(None),) * place + (ts.newaxis,)] if len(space) == 2 else part

    array = ZarrArray(turned(store), turned(bulk), document, tuple(chunks), access, context)
    check_readable(array, url=document.url)
    return array


def _open(document: ArrayDocument, *, access: Access, strict: bool, cached: bool) -> ts.TensorStore:
    """Open an array whose metadata is known, without asking the store."""
    local = stores.parse(document.url).scheme in ("file", "memory")
    spec = {
        "driver": "zarr3" if document.version == 3 else "zarr",
        "kvstore": stores.kvstore_spec(document.url, access=access),
        "metadata": document.content,
        "fill_missing_data_reads": not strict,
        # Asking again for each chunk costs a request on object stores.
        "recheck_cached_data": True if local else "open",
        **({} if cached else {"cache_pool": {"total_bytes_limit": 0}}),
    }
    way: dict[str, Any] = {"open": True, "read": True, "write": False, "assume_metadata": True}
    try:
        return ts.open(spec, context=stores.context(), **way).result(timeout=OPENING)
    except ValueError as error:
        text = str(error).split(" [tensorstore_spec")[0]
        codec = ""
        if "not registered" in text:
            codec = " It uses a codec that cannot be read; save it with blosc, zstd or gzip."
        raise FormatError(
            f"The array {document.url} cannot be opened: {text}.{codec} Check its "
            + ("zarr.json." if document.version == 3 else ".zarray.")
        ) from None


def _check_chunks(store: ts.TensorStore, document: ArrayDocument) -> list[int]:
    """Return the elements of a chunk an axis, at most those of the array; refuse absurd ones."""
    layout = store.chunk_layout
    chunk, shard = (
        [int(c or n) for c, n in zip(grid.shape or store.shape, store.shape, strict=True)]
        for grid in (layout.read_chunk, layout.write_chunk)
    )
    if math.prod(chunk) * np.dtype(store.dtype.numpy_dtype).itemsize > CHUNK_LIMIT:
        raise FormatError(
            f"{document.url} declares chunks of {tuple(chunk)} elements, more than "
            f"{CHUNK_LIMIT} bytes each, which would not fit into memory. Write it again in chunks."
        )
    if math.prod(shard) > SHARD_LIMIT * math.prod(chunk):
        raise FormatError(
            f"{document.url} declares shards of {tuple(shard)} elements with chunks of "
            f"{tuple(chunk)}: more than {SHARD_LIMIT} in one. Write it again with smaller shards."
        )
    return [max(1, min(c, n)) for c, n in zip(chunk, store.shape, strict=True)]


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
