"""Packed files from untrusted sources: nothing unpacks to more than was allowed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from projectome.errors import FormatError
from projectome.io.stores import mapped

GZIP = b"\x1f\x8b"
ZIP = b"PK"
MEMBER_LIMIT = 1_000_000
"""Most files in an archive."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def gunzip(data: bytes, *, url: str, limit: int) -> bytes:
    """Return what gzip packed.

    Parameters
    ----------
    data
        One stream, or several one after the other.
    url
        Where it came from, for messages.
    limit
        Largest result [bytes].

    Raises
    ------
    FormatError
        If it is broken, cut short, or unpacks to more.
    """
    parts: list[bytes] = []
    room = limit
    while data:
        unpack = zlib.decompressobj(wbits=31)
        try:
            # One byte more than there is room for: whether it comes tells a bomb.
            part = unpack.decompress(data, room + 1)
        except zlib.error as error:
            raise FormatError(f"{url} is broken gzip: {error}. Fetch it again.") from None
        room -= len(part)
        if room < 0:
            raise FormatError(
                f"{url} unpacks to more than {limit} bytes, which it should not. Check the file."
            )
        if not unpack.eof:
            raise FormatError(f"{url} is gzip that ends too early. Fetch it again.")
        parts.append(part)
        data = unpack.unused_data
    return b"".join(parts)


def zip_members(
    file: IO[bytes], *, url: str, wanted: Callable[[str], bool], limit: int
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of some of the files in a zip archive, in its order.

    Parameters
    ----------
    file
        The archive; only the parts needed are read.
    url
        Where it came from, for messages.
    wanted
        Says by its name whether a file is wanted.
    limit
        Largest size of all wanted files together [bytes].

    Raises
    ------
    FormatError
        If it is no archive, is encrypted, packed in a way not known, or unpacks to more.
    """
    with mapped(url, "read"):
        try:
            archive = zipfile.ZipFile(file)
            members = [m for m in archive.infolist() if not m.is_dir() and wanted(m.filename)]
            if len(archive.infolist()) > MEMBER_LIMIT:
                raise FormatError(f"{url} holds more than {MEMBER_LIMIT} files. Unpack it first.")
            room = limit
            for member in members:
                yield member.filename, (data := _member(archive, member, url, room))
                room -= len(data)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, EOFError) as error:
            raise _broken(url, error) from None
        except zlib.error as error:
            raise _broken(url, error) from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, url: str, room: int) -> bytes:
    where = f"{url}/{member.filename}"
    if member.flag_bits & 1:
        raise FormatError(f"{where} is encrypted. Unpack the archive and open the folder.")
    if member.compress_type not in METHODS:
        raise FormatError(f"{where} is packed in an unusual way. Unpack it and open the folder.")
    if member.file_size > room:
        raise FormatError(
            f"{where} and those before it unpack to too much: bounded to save memory."
        )
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise FormatError(f"{where} is not of the size that the archive says. Fetch it again.")
    return data


def _broken(url: str, error: Exception) -> FormatError:
    return FormatError(
        f"{url} is not a readable zip archive ({error}). Unpack it with other tools and open the "
        "folder, or fetch it again."
    )
