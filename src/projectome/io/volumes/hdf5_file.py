"""HDF5 files of unknown origin: what is looked at is bounded, and nothing leads out of the file.

Links are followed one by one, so that none into another file is; datasets whose voxels lie in other
files are refused, and so are filters beyond a list of known ones. The library reads with one lock a
process; the blocks of remote files are fetched before it is taken.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from projectome.core.volume import Array
from projectome.errors import FormatError, MissingExtraError, NotFoundError, ProjectomeError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.block_file import BLOCK, BlockFile, LocalFile, WholeFile
from projectome.io.volumes.flat_bytes import cut_off
from projectome.io.volumes.hdf5_heap import HeapWatch
from projectome.io.volumes.hdf5_pieces import chunks_of, runs_of
from projectome.io.volumes.hdf5_values import element_of, is_text, plain, read_together
from projectome.io.volumes.tiff_pages import samples

MAGIC = b"\x89HDF\r\n\x1a\n"
CHUNK_LIMIT = 2**30
"""Largest chunk that is decoded [bytes]."""
CHUNK_CACHE = 16 * 2**20
"""Decoded chunks that the library keeps of one dataset [bytes]."""
DATASETS = 8
"""Datasets of a file that are kept open."""
FILES = 8
"""Files that a process keeps open for arrays that were sent to it."""
TOTAL_BELIEVED, RATIO_LIMIT = 2**30, 100_000
"""Declared elements [bytes] beyond which they may be at most so many times the file."""
ATTRIBUTES, ATTRIBUTE_LIMIT = 1000, 2**16
"""Attributes of an object that are looked at, and the largest of them [bytes]."""
NAMES = 10_000
"""Names in a group that are looked at."""
LINKS = 16
"""Symbolic links on the way to an object."""
BATCH = 64
"""Blocks of a remote file that are fetched at a time, before they are read."""
PLUGIN = range(32001, 32768)
FILTERS = {
    1: "deflate",
    2: "shuffle",
    3: "fletcher32",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32015: "zstd",
    32026: "blosc2",
}
"""Filters that are read, by their registered number: those that hold out against broken chunks.

On such, that for bzip2 runs forever, and scale-offset crashes the process.
"""
BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    SystemError,
)
"""What the library raises on files that are broken or beyond it."""


def library() -> Any:
    """Return h5py.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise MissingExtraError("HDF5 (.h5, .ims, BigDataViewer)", "h5py", "microscope") from None


def broken(url: str, error: BaseException | str) -> FormatError:
    """Return the error for an HDF5 file that cannot be read."""
    text = str(error).split("\n")[0][:300].strip("'\"") or type(error).__name__
    return FormatError(
        f"The HDF5 file {url} is broken, or beyond what can be read: {text}. Restore it from its "
        "source, or save it again as OME-Zarr."
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dataset is, before any of its elements is read.

    Attributes
    ----------
    path
        Where it is in the file.
    shape
        Elements an axis.
    dtype
        Element type, native byte order.
    chunks
        Elements an axis that are best read together.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    chunks: tuple[int, ...]

    @property
    def shown(self) -> str:
        """Path, shape and type, for messages."""
        return f"#{self.path} ({' x '.join(map(str, self.shape))} {self.dtype})"


class Hdf5File:
    """An open HDF5 file; sent to another process, it is opened there once.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    FormatError
        If it is no HDF5 file, broken or cut off.
    StoreError
        If the store does not answer as hoped.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url, self.access = url, access
        self._lock = threading.RLock()
        self._open: OrderedDict[str, Any] = OrderedDict()
        self.h5py = library()
        # The library shares what it knows of a path among all who open it, also after it changed;
        # of a file object it knows nothing.
        self._source = _source(url, access)
        self.size = self._source.size
        watch = HeapWatch(self._source, url)
        self._source.watch = watch.look
        try:
            with self.guarded():
                self.file = self.h5py.File(self._source, "r", rdcc_nbytes=CHUNK_CACHE)
                watch.length = self.file.id.get_create_plist().get_sizes()[1]
        except ProjectomeError:
            self._source.close()
            raise
        self.close = weakref.finalize(self, _close, self.file, self._source)

    def __reduce__(self) -> tuple[object, ...]:
        return reopened, (self.url, self.access)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the library raises inside the block into an error of projectome."""
        try:
            yield
        except ProjectomeError:
            raise
        except BROKEN as error:
            if self._source.failure is not None:
                failure, self._source.failure = self._source.failure, None
                raise failure from None
            raise broken(self.url, error) from None

    def find(self, path: str) -> Any:
        """Return the group or dataset at a path; None if there is none.

        Raises
        ------
        FormatError
            If the way to it leads into another file, or in a circle.
        """
        with self._lock, self.guarded():
            here, left, links = self.file["/"], path.split("/"), 0
            while left:
                name = left.pop(0)
                if name in ("", "."):
                    continue
                link = here.get(name, getlink=True) if self.is_group(here) else None
                if link is None:
                    return None
                if isinstance(link, self.h5py.ExternalLink):
                    raise FormatError(
                        f"#{path} of {self.url} is a link to another file, {link.filename!r}, "
                        "which is not followed. Open that file by its own address."
                    )
                if isinstance(link, self.h5py.SoftLink):
                    links += 1
                    if links > LINKS:
                        raise broken(self.url, f"the links to #{path} lead in a circle")
                    here = self.file["/"] if link.path.startswith("/") else here
                    left = link.path.split("/") + left
                else:
                    here = here[name]
            return here

    def is_group(self, found: object) -> bool:
        """Say whether something found is a group."""
        return isinstance(found, self.h5py.Group)

    def names(self, path: str = "/") -> list[str]:
        """Return the names in a group; none where there is no group.

        Raises
        ------
        FormatError
            If there are more than ten thousand.
        """
        with self._lock, self.guarded():
            group = self.find(path)
            if not self.is_group(group):
                return []
            found = [str(name) for name in islice(group, NAMES + 1)]
        if len(found) > NAMES:
            raise broken(self.url, f"more than {NAMES} names in the group #{path}")
        return [name for name in found if is_text(name)]

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Yield path and dataset of all datasets that are in the file itself."""
        layer, seen, looked = [""], set(), 0
        while layer and looked < NAMES:
            below: list[str] = []
            for path in layer:
                for name in sorted(self.names(path)):
                    looked += 1
                    there = f"{path}/{name}" if path else name
                    with self._lock, self.guarded():
                        group = self.find(path)
                        link = group.id.links.get_info(name.encode())
                        # The address tells one object from another; asking the object itself
                        # would read the index of all its chunks, and crash where that is broken.
                        if link.type != self.h5py.h5l.TYPE_HARD or link.u in seen:
                            continue
                        seen.add(link.u)
                        found = group[name]
                    if self.is_group(found):
                        below.append(there)
                    elif isinstance(found, self.h5py.Dataset):
                        yield there, found
            layer = below

    def attributes(self, path: str, wanted: Collection[str] | None = None) -> dict[str, Any]:
        """Return the small attributes of an object: numbers, lists of them, and text.

        Attributes that are longer than 64 KiB, or of other types, are left out.

        Parameters
        ----------
        path
            Of the object.
        wanted
            Their names; all if None.
        """
        with self._lock, self.guarded():
            found = self.find(path)
            if found is None:
                return {}
            taken = {}
            for name in filter(is_text, islice(found.attrs, ATTRIBUTES)):
                if wanted is not None and name not in wanted:
                    continue
                try:
                    value = plain(self._attribute(found, name))
                except TypeError:  # a type that numpy does not have
                    continue
                if value is not None:
                    taken[name] = value
            return taken

    def _attribute(self, found: Any, name: str) -> Any:
        """Return a small attribute of numbers or text; None for any other."""
        stated, h5t = self.h5py.h5a.open(found.id, name.encode()), self.h5py.h5t
        # Of broken types of variable length the library crashes.
        known = (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeStringID, h5t.TypeEnumID)
        if stated.shape is None or not isinstance(stated.get_type(), known):
            return None
        size = math.prod(stated.shape) * max(1, stated.dtype.itemsize)
        return found.attrs[name] if size <= ATTRIBUTE_LIMIT else None

    def layout(self, path: str) -> Layout:
        """Return what a dataset is.

        Raises
        ------
        FormatError
            If there is none, it is broken, or it cannot be read safely.
        """
        with self._lock, self.guarded():
            found = self.dataset(path)
            shape = tuple(int(n) for n in found.shape)
            return Layout(path, shape, element_of(found), read_together(found))

    def dataset(self, path: str) -> Any:
        """Return a dataset that can be read safely; the same checks as for `layout`."""
        with self._lock, self.guarded():
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
            found = self.find(path)
            if not isinstance(found, self.h5py.Dataset):
                raise broken(self.url, f"there is no dataset #{path}")
            self._check(path, found)
            self._open[path] = found
            while len(self._open) > DATASETS:
                self._open.popitem(last=False)
            return found

    def _check(self, path: str, found: Any) -> None:
        where = f"The dataset #{path} of {self.url}"
        plan = found.id.get_create_plist()
        layout, h5d = plan.get_layout(), self.h5py.h5d
        if layout == h5d.VIRTUAL or plan.get_external_count():
            raise FormatError(
                f"{where} has its elements in other files, which are not followed. Open those "
                "files by their own addresses, or copy it into one file with h5repack."
            )
        if not found.shape:
            raise FormatError(f"{where} is a single value, not a volume. Choose another with #.")
        element = element_of(found)
        if element.kind not in "iufb" or element.itemsize > 8:
            raise FormatError(
                f"{where} holds elements of type {found.dtype}; volumes hold integers or real "
                "numbers. Convert it with the tool that wrote it."
            )
        total = math.prod(found.shape) * element.itemsize
        if total > max(TOTAL_BELIEVED, RATIO_LIMIT * self.size):
            raise FormatError(
                f"{where} declares {total} bytes in a file of {self.size} bytes, which is not "
                "believed. Check where the file comes from."
            )
        if layout == h5d.CHUNKED and math.prod(found.chunks) * element.itemsize > CHUNK_LIMIT:
            raise FormatError(
                f"{where} declares chunks of {found.chunks} elements, more than {CHUNK_LIMIT} "
                "bytes to decode at once. Save it in smaller chunks."
            )
        offset = found.id.get_offset() if layout == h5d.CONTIGUOUS else None
        if offset is not None and offset + total > self.size:
            raise cut_off(self.url, self.size, offset + total)
        self._check_filters(where, [plan.get_filter(i)[0] for i in range(plan.get_nfilters())])

    def _check_filters(self, where: str, numbers: list[int]) -> None:
        for number in numbers:
            if number not in FILTERS:
                raise FormatError(
                    f"{where} is packed with the filter {number}, which is not read. Known: "
                    f"{', '.join(FILTERS.values())}. Save it again, for instance with: h5repack -f "
                    "GZIP=1 IN OUT"
                )
            if number in PLUGIN:
                try:
                    importlib.import_module("hdf5plugin")
                except ImportError:
                    what = f"HDF5 packed with {FILTERS[number]}"
                    raise MissingExtraError(what, "hdf5plugin", "microscope") from None

    def read(self, path: str, region: tuple[slice, ...], element: np.dtype[np.generic]) -> Array:
        """Return a part of a dataset.

        Parameters
        ----------
        path
            Of the dataset.
        region
            One slice an axis of the dataset, start and stop given.
        element
            Its element type, native byte order.

        Raises
        ------
        FormatError
            If it is broken there.
        StoreError
            If the store does not answer as hoped.
        """
        with self.guarded():
            out = np.empty([s.stop - s.start for s in region], element)
            if out.size == 0:
                return out
            found = self.dataset(path)
            if isinstance(self._source, BlockFile):
                self._read_remote(self._source, found, region, out)
            else:
                found.read_direct(out, region)
        return out

    def _read_remote(
        self, remote: BlockFile, found: Any, region: tuple[slice, ...], out: Array
    ) -> None:
        """Read piece by piece, after their blocks were fetched many at a time."""
        wanted: set[int] = set()
        waiting: list[tuple[slice, ...]] = []
        pieces = chunks_of(found, region) if found.chunks else runs_of(found, region)

        def take() -> None:
            remote.fetch(wanted)
            for part in waiting:
                place = tuple(
                    slice(p.start - r.start, p.stop - r.start)
                    for p, r in zip(part, region, strict=True)
                )
                found.read_direct(out, part, place)
            wanted.clear()
            waiting.clear()

        for part, start, size in pieces:
            waiting.append(part)
            wanted.update(range(start // BLOCK, -(-min(start + size, remote.size) // BLOCK)))
            if len(wanted) >= BATCH:
                take()
        take()

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self.access)


def _source(url: str, access: Access) -> LocalFile | BlockFile | WholeFile:
    path, address = stores.local_path(url), stores.parse(url)
    if path is not None:
        return LocalFile(str(path))
    if address.scheme == "memory" or address.member:
        return WholeFile(stores.read_bytes(url, access=access))
    return BlockFile(url, access)


def _close(file: Any, source: io.IOBase) -> None:
    file.close()
    source.close()


def reopened(url: str, access: Access) -> Hdf5File:
    """Return the file at an address, opened once a process as long as it does not change."""
    path = stores.local_path(url)
    state = None
    if path is not None:
        with stores.mapped(url, "open"):
            found = os.stat(path)
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
    return _reopened(url, access, state, os.getpid())


@functools.lru_cache(maxsize=FILES)
def _reopened(url: str, access: Access, state: object, process: int) -> Hdf5File:
    return Hdf5File(url, access)


def missing(file: Hdf5File, path: str, known: Sequence[str]) -> NotFoundError:
    """Return the error for a dataset that is not there."""
    return NotFoundError(
        f"There is no #{path} in {file.url}. It holds: {', '.join(known[:20]) or 'no volume'}."
    )
