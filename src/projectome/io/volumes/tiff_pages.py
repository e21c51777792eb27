"""Planes of TIFF files, decoded piece by piece: only the strips and tiles that a box needs.

A page is handled in the normalised shape of tifffile, five axes (separate sample, z, y, x,
interleaved sample), most of them of length 1.
"""

from __future__ import annotations

import logging
import math
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from projectome.core.volume import Array
from projectome.errors import FormatError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.tiff_metadata import check_ome

SEGMENT_LIMIT = 2**30
"""Largest strip or tile that is decoded [bytes]."""
CACHE_LIMIT = 64 * 2**20
"""Decoded strips and tiles that are kept for each volume [bytes]."""
RAW_PIECE = 2**22
"""Rows of an uncompressed page that are best read together [bytes]."""
TOTAL_BELIEVED, RATIO_LIMIT = 2**30, 100_000
"""Declared pixels [bytes] beyond which they may be at most so many times the file."""
BROKEN = (
    ValueError,  # tifffile.TiffFileError is one
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    EOFError,
    MemoryError,
)
"""What tifffile and its codecs raise on files that are broken or beyond them."""
Region = tuple[slice, slice, slice, slice, slice]


class PageSource(Protocol):
    """Pages of one shape and type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Normalised shape of a page, five axes."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""

    @property
    def segment(self) -> tuple[int, ...]:
        """Normalised shape of what is decoded at once."""

    def read(self, page: int, region: Region) -> Array:
        """Return a part of a page, five axes."""

    def evidence(self) -> Iterator[bytes]:
        """Yield what tells the content of the files apart from any other."""


@dataclass(slots=True)
class Cache:
    """Keeps what was used last, up to a size; safe among threads."""

    limit: int = CACHE_LIMIT
    _kept: OrderedDict[object, Array] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.limit,)  # another process keeps its own

    def get(self, key: object, make: Callable[[], Array]) -> Array:
        """Return what is kept under a key, made if need be."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and made.nbytes <= self.limit:
                self._kept[key] = made
                self._size += made.nbytes
            while self._size > self.limit:
                self._size -= self._kept.popitem(last=False)[1].nbytes
        return made


def broken(url: str, error: BaseException | str) -> FormatError:
    """Return the error for a TIFF file that cannot be read."""
    text = str(error).split("\n")[0][:300] or type(error).__name__
    return FormatError(
        f"The TIFF file {url} is broken, or beyond what can be read: {text}. Restore it from its "
        "source, or save it again as OME-TIFF or OME-Zarr."
    )


class Complaints(logging.Handler):
    """Hears what tifffile reports as an error of a file and then works around, in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        if record.thread == self._thread:
            self.heard.append(record.getMessage())

    def __enter__(self) -> Complaints:
        tifffile.logger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        tifffile.logger().removeHandler(self)


class TiffPages:
    """The pages of one series of a TIFF file.

    Parameters
    ----------
    url
        Address of the file.
    access
        How to ask.
    series
        Which series; the largest if None.

    Raises
    ------
    FormatError
        If it is no TIFF file, broken, cut off, or has pages that no memory holds.
    StoreError
        If the store does not answer as hoped.
    """

    def __init__(
        self, url: str, *, access: Access, series: int | None = None, cache: Cache | None = None
    ) -> None:
        self.url, self._access = url, access
        self._lock, self._cache = threading.RLock(), cache or Cache()
        with stores.mapped(url, "open"):
            self._open()
            same = {(s.kind, s.shape, s.dtype) for s in self.series_found}
            if len(self.series_found) > 1 and len(same) == 1 and same.pop()[0] == "shaped":
                # Planes that were appended one by one are one stack.
                self.close()
                self._open(is_shaped=False)
        try:
            self._choose(self.series_found, series)
        except BROKEN as error:
            self.close()
            raise error if isinstance(error, FormatError) else broken(url, error) from None

    def __reduce__(self) -> tuple[object, ...]:
        # Whoever gets it opens the file himself.
        again = partial(type(self), access=self._access, series=self.index)
        return again, (self.url,)

    def _open(self, **flags: bool) -> None:
        """Open the file and find its series."""
        # A local file is opened by its path, so that its companions are found beside it.
        path = stores.local_path(self.url)
        file = None if path else stores.open_file(self.url, access=self._access)
        with Complaints() as complaints:
            try:
                self.tiff = tifffile.TiffFile(
                    path or file, name=None if path else self.url, _multifile=bool(path), **flags
                )
            except BROKEN as error:
                if file is not None:
                    file.close()
                raise broken(self.url, error) from None
            self.file = self.tiff.filehandle
            # Closes the file when nobody reads from it any more.
            self.close = weakref.finalize(self, _close, self.tiff, file)
            try:
                if self.tiff.is_ome:
                    check_ome(self.tiff.ome_metadata or "", url=self.url)
                self.series_found = list(self.tiff.series)
            except BROKEN as error:
                self.close()
                raise error if isinstance(error, FormatError) else broken(self.url, error) from None
        if complaints.heard:
            self.close()
            raise broken(self.url, complaints.heard[0])

    def _choose(self, found: list[Any], wanted: int | None) -> None:
        if not found:
            raise broken(self.url, "it holds no image")
        if wanted is not None and wanted >= len(found):
            raise FormatError(
                f"{self.url} has no image #{wanted}; it has {len(found)}: #0 to #{len(found) - 1}."
            )
        self.count = len(found)
        sizes = [math.prod(series.shape) for series in found]
        self.index = sizes.index(max(sizes)) if wanted is None else wanted
        self.series = found[self.index]
        key = self.series.keyframe
        if key.dtype is None or key.dtype.kind not in "uifb":
            raise broken(self.url, f"its elements are {key.dtype}")
        self.shape = tuple(key.shaped)
        self.dtype = np.dtype(key.dtype).newbyteorder("=")
        self.raw = self.series.dataoffset
        self._check(key, self.file.size)

    def _check(self, key: Any, size: int) -> None:
        """Refuse pages that cannot be meant, and files that are cut off."""
        if math.prod(self.segment) * self.dtype.itemsize > SEGMENT_LIMIT:
            raise FormatError(
                f"{self.url} declares pieces of {self.segment} elements, more than "
                f"{SEGMENT_LIMIT} bytes to decode at once. Save it in tiles or smaller strips."
            )
        total = math.prod(self.series.shape) * self.dtype.itemsize
        if total > max(TOTAL_BELIEVED, RATIO_LIMIT * size):
            raise FormatError(
                f"{self.url} declares {total} bytes of pixels in a file of {size} bytes, which is "
                "not believed. Check where the file comes from."
            )
        if self.raw is not None:
            ends = [self.raw + total]
        else:
            ends = [
                offset + count
                for page in (self.series.pages[0], self.series.pages[-1])
                if page is not None and page.parent is self.tiff
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
            if len(key.dataoffsets) != math.prod(self._grid):
                text = f"{len(key.dataoffsets)} pieces where {math.prod(self._grid)} make a page"
                raise broken(self.url, text)
        if max(ends, default=0) > size:
            raise broken(self.url, f"it is cut off: {size} bytes of at least {max(ends)}")

    @property
    def segment(self) -> tuple[int, ...]:
        """Normalised shape of what is decoded at once."""
        key = self.series.keyframe
        _, _, height, width, inner = self.shape
        if self.raw is not None:  # nothing to decode: as many rows as are worth a request
            rows = RAW_PIECE // max(1, width * inner * self.dtype.itemsize)
            return 1, 1, min(max(1, rows), height), width, inner
        if key.is_tiled:
            return 1, key.tiledepth, key.tilelength, key.tilewidth, inner
        return 1, 1, min(key.rowsperstrip, height), width, inner

    @property
    def _grid(self) -> tuple[int, ...]:
        return tuple(-(-n // s) for n, s in zip(self.shape, self.segment, strict=True))

    def read(self, page: int, region: Region) -> Array:
        """Return a part of a page.

        Raises
        ------
        FormatError
            If that part is broken; the page is named.
        """
        out = np.zeros([s.stop - s.start for s in region], self.dtype)
        try:
            if self.raw is not None:
                self._read_raw(page, region, out)
            else:
                self._read_segments(page, region, out)
        except BROKEN as error:
            if isinstance(error, FormatError):
                raise
            raise broken(self.url, f"page {page}: {error or type(error).__name__}") from None
        return out

    def _fetch(self, file: Any, offset: int, count: int) -> bytes:
        with self._lock:
            file.seek(offset)
            data: bytes = file.read(count)
        if len(data) != count:
            raise broken(self.url, f"it is cut off at byte {offset + len(data)}")
        return data

    def _read_raw(self, page: int, region: Region, out: NDArray[Any]) -> None:
        """Read rows of a file without compression."""
        _, depth, height, width, inner = self.shape
        row = width * inner * self.dtype.itemsize
        stored = self.dtype.newbyteorder(self.tiff.byteorder)
        sample, z, y, x, last = region
        rows = y.stop - y.start
        for i, s in enumerate(range(sample.start, sample.stop)):
            for j, plane in enumerate(range(z.start, z.stop)):
                planes = (page * self.shape[0] + s) * depth + plane
                start = self.raw + (planes * height + y.start) * row
                data = self._fetch(self.file, start, rows * row)
                block = np.frombuffer(data, stored).reshape(rows, width, inner)
                out[i, j] = block[:, x, last]

    def _read_segments(self, page: int, region: Region, out: NDArray[Any]) -> None:
        segment, grid = self.segment, self._grid
        spans = [range(s.start // n, -(-s.stop // n)) for s, n in zip(region, segment, strict=True)]
        with self._lock:
            frame = self.series.pages[page]
        if frame is None:  # a plane that the file does not hold
            return
        for place in product(*spans):
            number = int(np.ravel_multi_index(place, grid))
            key = (self.url, page, number)
            piece = self._cache.get(key, partial(self._decode, frame, number))
            start = [i * n for i, n in zip(place, segment, strict=True)]
            source, target = [], []
            for axis, wanted in enumerate(region):
                low = max(wanted.start, start[axis])
                high = min(wanted.stop, start[axis] + piece.shape[axis])
                source.append(slice(low - start[axis], high - start[axis]))
                target.append(slice(low - wanted.start, high - wanted.start))
            out[tuple(target)] = piece[tuple(source)]

    def _decode(self, frame: Any, number: int) -> Array:
        offset, count = frame.dataoffsets[number], frame.databytecounts[number]
        if count == 0:  # sparse files leave out what is empty
            return np.zeros(self.segment, self.dtype)
        if frame.parent is self.tiff:
            data = self._fetch(self.file, offset, count)
        else:  # a plane in another file of a multi-file OME-TIFF
            with self._lock:
                frame.parent.filehandle.open()
                try:
                    data = self._fetch(frame.parent.filehandle, offset, count)
                finally:
                    frame.parent.filehandle.close()
        key = self.series.keyframe
        tables = {"jpegtables": frame.jpegtables, "jpegheader": key.jpegheader}
        piece = frame.decode(data, number, **tables)[0]
        return np.asarray(piece, dtype=self.dtype)[None]

    @property
    def missing(self) -> int:
        """Pages that the metadata promises and the file does not hold."""
        return 0 if self.raw is not None else sum(page is None for page in self.series.pages)

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self._access)


def _close(tiff: tifffile.TiffFile, file: Any) -> None:
    tiff.close()
    if file is not None:
        file.close()


SAMPLES, PIECE, AT_A_TIME = 64, 2**16, 16


def samples(url: str, access: Access, *, pieces: int = SAMPLES) -> Iterator[bytes]:
    """Yield the size of a file and evenly spaced pieces of it, its head and tail among them."""
    _, size = stores.read_part(url, 0, 1, access=access)
    yield str(size).encode()
    starts = sorted({int(s) for s in np.linspace(0, max(0, size - PIECE), pieces)})
    address = stores.parse(url)
    if address.scheme in ("file", "memory") or address.member:
        with stores.open_file(url, access=access, buffer=PIECE) as file:
            for start in starts:
                file.seek(start)
                yield file.read(PIECE)
        return
    with ThreadPoolExecutor(min(AT_A_TIME, len(starts))) as pool:
        found = pool.map(lambda s: stores.read_part(url, s, PIECE, access=access)[0], starts)
        yield from found
