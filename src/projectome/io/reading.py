"""Documents, parts of files and listings from any store."""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import obstore
import obstore.exceptions

from projectome.errors import FormatError, NotFoundError, StoreError
from projectome.io.access import Access
from projectome.io.address import Address, parse
from projectome.io.clients import archive_members, body, bucket, kvstore, open_whole, wait
from projectome.io.failures import mapped, translate
from projectome.io.listing import names_below, names_in_folder
from projectome.io.s3_listing import pages

DOCUMENT_LIMIT = 64 * 2**20
"""Largest document that is read whole [bytes]."""
PIECE = 2**20
"""Bytes read at a time from a local file: asking for more would take the memory at once."""
WHOLE_LIMIT = 2**20
"""What is read in vain at most where a server does not send parts [bytes]."""
PATIENT = 10.0
"""Seconds after which a piece that failed is not asked for in another way."""
AT_A_TIME = 32
"""Remote documents fetched at the same time."""
MOST_ALIKE = 100_000
"""Most names with one beginning."""
LAST = "\U0010ffff"
"""Comes after everything that a name begins with."""


def local_path(url: str) -> Path | None:
    """Return the path of a local address, None for a remote one and inside an archive."""
    address = parse(url)
    return Path(address.path) if address.scheme == "file" and not address.member else None


def in_tensorstore(address: Address) -> bool:
    """Say whether tensorstore reads it, and not obstore: memory, and members of archives."""
    return address.scheme == "memory" or bool(address.member)


def read_bytes(url: str, *, access: Access | None = None, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return the content of a document.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask; by the settings if None.
    limit
        Largest size accepted [bytes].

    Raises
    ------
    NotFoundError
        If there is nothing.
    FormatError
        If it is larger than `limit`.
    StoreError
        If the store does not answer as hoped.
    """
    address = parse(url)
    with mapped(url, "read"):
        if in_tensorstore(address):
            members = (
                {} if address.member is None else archive_members(address, access or Access.of())
            )
            _check_size(members.get(address.member or "", 0), url, limit)
            found = wait(kvstore(url, access=access).read(""), url=url)
            if found.state == "missing":
                raise NotFoundError(f"Nothing at {url}. Check the address.")
            data = bytes(found.value)
        elif address.scheme == "file":
            with open(address.path, "rb") as file:
                state = os.fstat(file.fileno())
                if stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
                    raise FormatError(f"{url} is a device, not a file. Check the address.")
                _check_size(state.st_size, url, limit)
                data = _read(file, limit + 1)
        else:
            answer = obstore.get(bucket(address, access), address.path)
            _check_size(answer.meta["size"], url, limit)
            data = body(answer, url=url, limit=limit + 1)
    _check_size(len(data), url, limit)
    return data


def _read(file: IO[bytes], most: int) -> bytes:
    """Read to the end, or so many bytes: a pipe has no size, and a file may grow."""
    parts, room = [], most
    while piece := file.read(min(PIECE, room)):
        parts.append(piece)
        room -= len(piece)
    return b"".join(parts)


def _check_size(size: int, url: str, limit: int) -> None:
    if size > limit:
        raise FormatError(
            f"{url} is larger than {limit} bytes, which no document of this kind should be. Check "
            "that the address names the right file."
        )


def read_many(
    urls: Sequence[str], *, access: Access | None = None, limit: int = DOCUMENT_LIMIT
) -> Iterator[bytes | None]:
    """Yield the contents of documents in order, fetching several at a time where they are remote.

    Parameters
    ----------
    urls
        Their addresses, all in one store.
    access
        How to ask; by the settings if None.
    limit
        Largest size accepted of each [bytes].

    Yields
    ------
    bytes or None
        None where there is nothing.

    Raises
    ------
    StoreError, FormatError
        As `read_bytes`.
    """

    def read(url: str) -> bytes | None:
        try:
            return read_bytes(url, access=access, limit=limit)
        except NotFoundError:
            return None

    if not urls or local_path(urls[0]) is not None:
        yield from map(read, urls)
        return
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        # A few at a time: what was fetched and not yet taken stays in memory.
        for start in range(0, len(urls), AT_A_TIME):
            yield from list(pool.map(read, urls[start : start + AT_A_TIME]))


def read_part(
    url: str, start: int, length: int, *, access: Access | None = None
) -> tuple[bytes, int]:
    """Return a piece of a file, and the size of the whole.

    Parameters
    ----------
    url
        Its address.
    start
        First byte; negative counts from the end.
    length
        At most so many bytes.
    access
        How to ask; by the settings if None.

    Returns
    -------
    bytes
        Fewer than `length` where the file ends.
    int
        Size of the file [bytes].

    Raises
    ------
    NotFoundError
        If there is nothing.
    StoreError
        If the store does not answer as hoped.
    """
    address = parse(url)
    if address.scheme not in ("file", "memory") and not address.member:
        return _read_range(address, start, length, bucket(address, access), url)
    with mapped(url, "read"), open_file(url, access=access) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, start + size if start < 0 else start))
        return file.read(length), size


def _read_range(
    address: Address, start: int, length: int, store: Any, url: str
) -> tuple[bytes, int]:
    """Return a piece of an object and the size of the whole, with one request if it can be."""
    span: Any = (start, start + length) if start >= 0 else {"suffix": -start}
    began = time.monotonic()
    try:
        answer = obstore.get(store, address.path, options={"range": span})
        return body(answer, url=url, limit=length)[:length], int(answer.meta["size"])
    except (obstore.exceptions.GenericError, obstore.exceptions.NotSupportedError) as error:
        said = str(error)
        if "non-partial" in said or "Range request not supported" in said:
            return _part_of_whole(address, start, length, store, url)
        if time.monotonic() - began > PATIENT:
            raise translate(error, url, "read") from error
        # Ranges beyond the end, and of empty objects, are refused: look how much there is.
        with mapped(url, "read"):
            size = int(obstore.head(store, address.path)["size"])
            first = max(0, start + size if start < 0 else start)
            last = min(size, first + length)
            if first >= last:
                return b"", size
            answer = obstore.get(store, address.path, options={"range": (first, last)})
            return body(answer, url=url, limit=last - first), size
    except (obstore.exceptions.BaseError, OSError) as error:
        raise translate(error, url, "read") from error


def _part_of_whole(
    address: Address, start: int, length: int, store: Any, url: str
) -> tuple[bytes, int]:
    """Return a piece of a file on a server that sends files whole, as simple ones do."""
    with mapped(url, "read"):
        answer = obstore.get(store, address.path)
        size = int(answer.meta["size"])
        first = max(0, start + size if start < 0 else start)
        stop = min(size, first + length)
        if stop > WHOLE_LIMIT:
            raise StoreError(
                f"{url}: the server does not send parts of files, and it is too large to be read "
                "whole for each. Fetch it first: projectome download URL FOLDER"
            )
        return body(answer, url=url, limit=stop)[first:stop], size


def open_file(url: str, *, access: Access | None = None, buffer: int = 2**18) -> IO[bytes]:
    """Open a file or object to read from any place in it.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask; by the settings if None.
    buffer
        Bytes to fetch at least at a time from a remote store.

    Raises
    ------
    NotFoundError
        If there is nothing.
    StoreError
        If the store does not answer as hoped.
    """
    address = parse(url)
    if in_tensorstore(address):
        return io.BytesIO(read_bytes(url, access=access))
    return open_whole(address, access or Access.of(), buffer=buffer)


def exists(url: str, *, access: Access | None = None) -> bool:
    """Say whether there is a file or object at an address; a folder counts only where local."""
    address = parse(url)
    if address.scheme == "file" and not address.member:
        return os.path.exists(address.path)
    try:
        if in_tensorstore(address):
            found = wait(kvstore(url, access=access).read("", byte_range=slice(0, 0)), url=url)
            return bool(found.state == "value")
        with mapped(url, "look up"):
            obstore.head(bucket(address, access), address.path)
    except NotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a folder.

    Attributes
    ----------
    name
        Without the folder.
    size
        Size of a file [bytes]; None for a folder.
    """

    name: str
    size: int | None = None

    @property
    def is_folder(self) -> bool:
        """Whether there may be more below it."""
        return self.size is None


def list_folder(url: str, *, access: Access | None = None) -> list[Entry]:
    """Return what lies one level below an address, sorted by name.

    Parameters
    ----------
    url
        A folder, a prefix of an object store, or a place in a zip archive.
    access
        How to ask; by the settings if None.

    Raises
    ------
    NotFoundError
        If there is nothing.
    StoreError
        If the store cannot be listed: plain HTTP never can.
    """
    address = parse(url)
    if address.scheme in ("http", "https") and address.member is None:
        raise StoreError(
            f"{url} cannot be listed: plain HTTP has no listing. Give the full address of the "
            "volume itself, or the s3:// or gs:// address of the same data."
        )
    with mapped(url, "list"):
        if address.member is not None:
            members = archive_members(address, access or Access.of())
            below = address.member + "/" if address.member else ""
            entries = _one_level(
                (name.removeprefix(below), size)
                for name, size in members.items()
                if name.startswith(below)
            )
        elif address.scheme == "memory":
            store = kvstore(url, access=access, folder=True)
            keys = [key.decode() for key in wait(store.list(), url=url, doing="list")]
            entries = _one_level((key, len(store.read(key).result().value)) for key in keys)
        elif address.scheme == "file":
            with os.scandir(address.path) as found:
                entries = [Entry(e.name, None if e.is_dir() else _size(e)) for e in found]
        else:
            entries = _list_objects(address, access or Access.of())
    if not entries and (address.scheme != "file" or address.member):
        raise NotFoundError(f"Nothing below {url}. Check the address and the spelling.")
    return sorted(entries, key=lambda entry: entry.name)


def list_beginning(url: str, beginning: str, *, access: Access | None = None) -> list[Entry]:
    """Return what lies one level below an address and begins with a text, sorted by name.

    Parameters
    ----------
    url
        A folder, or a prefix of an object store. There whatever lies beside them costs nothing:
        one request is made for a thousand names, or for each name where requests are signed.
    beginning
        How the names begin; no slash in it.
    access
        How to ask; by the settings if None.

    Returns
    -------
    list of Entry
        Empty where nothing begins so.

    Raises
    ------
    StoreError
        If the store cannot be listed.
    """
    address, how = parse(url), access or Access.of()
    if address.scheme not in ("s3", "gs"):
        return [e for e in list_folder(url, access=access) if e.name.startswith(beginning)]
    if _page_by_page(address, how):
        return sorted(_any_names(address, how, beginning), key=lambda entry: entry.name)
    with mapped(url, "list"):
        return list(_beginning(address, beginning, bucket(address, how)))


def _beginning(address: Address, beginning: str, store: Any) -> Iterator[Entry]:
    below = f"{address.path}/" if address.path else ""
    after = f"{below}{beginning}"
    for _ in range(MOST_ALIKE):
        # No delimiter goes with an offset, but the first key tells the folder, and the next
        # request begins behind all that is in it.
        found = names_below(store, below or None, url=str(address), offset=after, count=1)
        page = next(found, None)
        key = page[0]["path"].removeprefix(below) if page else ""
        if not page or not key.startswith(beginning) or below + key <= after:
            return
        name, slash, _ = key.partition("/")
        yield Entry(name, None if slash else page[0]["size"])
        after = f"{below}{name}/{LAST}" if slash else f"{below}{name}"
    raise StoreError(
        f"{address} holds more than {MOST_ALIKE} names that begin with {beginning!r}. Give more of "
        "the name, or the full address of what you mean."
    )


def _list_objects(address: Address, how: Access) -> list[Entry]:
    if _page_by_page(address, how):
        return _any_names(address, how)
    prefix = address.path.strip("/")
    answer = names_in_folder(bucket(address, how), prefix or None, url=str(address))
    entries = [Entry(_last(p)) for p in answer["common_prefixes"]]
    return entries + [Entry(_last(o["path"]), o["size"]) for o in answer["objects"]]


def _page_by_page(address: Address, how: Access) -> bool:
    """Say whether it is listed within bounds, and whatever its names are."""
    return address.scheme == "s3" and not how.signed


def _any_names(address: Address, how: Access, beginning: str = "") -> list[Entry]:
    below = len(address.path) + 1 if address.path else 0
    entries = []
    for page in pages(address, how, beginning=beginning):
        entries += [Entry(folder[below:].removesuffix("/")) for folder in page.folders]
        entries += [Entry(key[below:], size) for key, size in page.files if key[below:]]
    return entries


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a dangling link: it is there, with nothing in it
        return 0


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _one_level(files: Iterable[tuple[str, int]]) -> list[Entry]:
    """Return the entries of one level of files with paths and sizes."""
    entries = {}
    for path, size in files:
        name, slash, _ = path.partition("/")
        entries[name] = Entry(name, None if slash else size)
    return list(entries.values())
