"""Bytes of files that hold one array after a header: as they lie, or compressed as a whole.

A compressed file cannot be read from its middle. It is unpacked once for each opened volume, into
memory up to `SPOOL` and beyond that into a nameless file in the cache folder, which goes away with
the volume. What the header declares is the size that is unpacked: no byte more is written, and a
stream that ends before or after it is refused.
"""

from __future__ import annotations

import bz2
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from projectome.errors import FormatError, ProjectomeError, StorageFullError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.tiff_pages import samples
from projectome.settings import format_bytes, resolve

Codec: TypeAlias = Literal["gzip", "bzip2"]
_Spooled: TypeAlias = "tempfile.SpooledTemporaryFile[bytes]"

SPOOL = 16 * 2**20
"""Largest array that is unpacked into memory [bytes]."""
STEP = 2**20
"""Bytes that are unpacked at a time."""
FETCHED = 8 * 2**20
"""Bytes of a compressed file that are fetched at a time."""
GZIP_RATIO = 1040
"""Deflate packs no more bytes into one."""
BELIEVED, BZIP2_RATIO = 2**30, 100_000
"""Declared bytes beyond which they may be at most so many times the file."""


class Bytes(Protocol):
    """The bytes of an array, whatever they are packed in."""

    @property
    def url(self) -> str:
        """Address of the file, for messages."""

    def read(self, start: int, length: int) -> bytes:
        """Return exactly so many bytes of the array."""

    def evidence(self) -> Iterator[bytes]:
        """Yield what tells the content of the file apart from any other."""


@dataclass(frozen=True, slots=True)
class PlainBytes:
    """An array that lies in a file as it is.

    Attributes
    ----------
    url
        Address of the file.
    access
        How to ask.
    offset
        Where in the file the array begins.
    """

    url: str
    access: Access
    offset: int

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the array.

        Raises
        ------
        FormatError
            If the file ends before them.
        """
        data, size = stores.read_part(self.url, self.offset + start, length, access=self.access)
        if len(data) != length:
            raise cut_off(self.url, size, self.offset + start + length)
        return data

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self.access)


def cut_off(url: str, size: int, wanted: int) -> FormatError:
    """Return the error for a file that is shorter than its header says."""
    return FormatError(
        f"{url} is cut off: it holds {size} bytes of at least {wanted}. Restore it from its source."
    )


class PackedBytes:
    """An array in a file that is compressed as a whole; safe among threads.

    Parameters
    ----------
    url
        Address of the file.
    access
        How to ask.
    codec
        How it is compressed.
    start
        Where in the file the compressed stream begins.
    skipped
        Bytes of the unpacked stream before the array.
    nbytes
        Bytes of the array.

    Raises
    ------
    FormatError
        If so many bytes cannot be in the file.
    """

    def __init__(
        self,
        url: str,
        access: Access,
        codec: Codec,
        *,
        start: int = 0,
        skipped: int = 0,
        nbytes: int,
    ) -> None:
        self.url, self._access, self._codec = url, access, codec
        self._start, self._skipped, self._nbytes = start, skipped, nbytes
        self._lock = threading.Lock()
        self._file: _Spooled | None = None
        self._check_size()

    def __reduce__(self) -> tuple[object, ...]:
        return _packed, (
            self.url,
            self._access,
            self._codec,
            self._start,
            self._skipped,
            self._nbytes,
        )

    def _check_size(self) -> None:
        packed = stores.read_part(self.url, 0, 1, access=self._access)[1]
        if self._codec == "gzip":
            believed = GZIP_RATIO * packed
        else:
            believed = max(BELIEVED, BZIP2_RATIO * packed)
        if self._nbytes > believed:
            raise FormatError(
                f"{self.url} declares {self._nbytes} bytes of voxels, and its {packed} bytes of "
                f"{self._codec} cannot hold so many. Restore it from its source."
            )

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the array, which is unpacked first if it is not yet.

        Raises
        ------
        FormatError
            If the stream is broken, or does not hold what is declared.
        StorageFullError
            If the cache folder has no room for it.
        """
        with self._lock:
            if self._file is None:
                self._file = self._unpack()
            self._file.seek(start)
            return self._file.read(length)

    def _unpack(self) -> _Spooled:
        folder = resolve()[0].cache
        if self._nbytes > SPOOL:
            with stores.mapped(str(folder), "write to the cache folder"):
                folder.mkdir(parents=True, exist_ok=True)
                free = shutil.disk_usage(folder).free
            if self._nbytes > free:
                raise StorageFullError(
                    f"Reading {self.url} takes {format_bytes(self._nbytes)} to unpack it, and the "
                    f"cache folder {folder} has {format_bytes(free)} left. Free some space, or "
                    "choose another folder with PROJECTOME_CACHE."
                )
        file = tempfile.SpooledTemporaryFile(max_size=SPOOL, dir=str(folder))  # noqa: SIM115
        weakref.finalize(self, file.close)
        try:
            with stores.mapped(str(folder), "write to the cache folder"):
                self._fill(file)
        except ProjectomeError:
            file.close()
            raise
        return file

    def _fill(self, file: _Spooled) -> None:
        total, end = 0, self._skipped + self._nbytes
        for data in unpacked(self.url, self._codec, access=self._access, start=self._start):
            file.write(data[max(0, self._skipped - total) :])
            total += len(data)
            if total > end:
                raise FormatError(
                    f"{self.url} holds more than the {self._nbytes} bytes of voxels that its "
                    "header declares. Restore it from its source, or correct the header."
                )
        if total < end:
            raise cut_off(self.url, total, end)

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self._access)


def _packed(
    url: str, access: Access, codec: Codec, start: int, skipped: int, nbytes: int
) -> PackedBytes:
    return PackedBytes(url, access, codec, start=start, skipped=skipped, nbytes=nbytes)


def unpacked(
    url: str,
    codec: Codec,
    *,
    access: Access,
    start: int = 0,
    fetched: int = FETCHED,
) -> Iterator[bytes]:
    """Yield what a compressed file holds, in pieces of at most 1 MiB.

    Parameters
    ----------
    url
        Its address.
    codec
        How it is compressed; several streams after one another count as one.
    access
        How to ask.
    start
        Where in the file the stream begins.
    fetched
        Bytes of the file that are fetched at a time.

    Raises
    ------
    FormatError
        If the stream is broken, cut off, or followed by something else.
    """
    size, position, ended = start + 1, start, True
    unpacker = _Unpacker(codec)
    while position < size:
        data, size = stores.read_part(url, position, fetched, access=access)
        position += len(data)
        if not data:
            break
        while data:
            if ended:
                unpacker, ended = _Unpacker(codec), False
            try:
                yield from unpacker.unpack(data)
            except (zlib.error, OSError, EOFError, ValueError) as error:
                raise broken_stream(url, codec, str(error)) from None
            ended, data = unpacker.ended, unpacker.rest
    if not ended:
        raise broken_stream(url, codec, f"it is cut off after {position} bytes")


def broken_stream(url: str, codec: str, reason: str) -> FormatError:
    """Return the error for a compressed file that cannot be unpacked."""
    return FormatError(
        f"The {codec} stream of {url} is broken: {reason}. Restore it from its source."
    )


class _Unpacker:
    """One compressed stream, unpacked in bounded pieces."""

    def __init__(self, codec: Codec) -> None:
        self._codec = zlib.decompressobj(31) if codec == "gzip" else bz2.BZ2Decompressor()
        self.rest = b""
        self.ended = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield at most `STEP` bytes at a time; `rest` is what follows the end of the stream."""
        while True:
            piece = self._codec.decompress(data, STEP)
            if piece:
                yield piece
            self.ended = self._codec.eof
            if self.ended:
                self.rest = self._codec.unused_data
                return
            # What bzip2 has not used yet it keeps itself.
            data = getattr(self._codec, "unconsumed_tail", b"")
            if len(piece) < STEP and not data:
                return
