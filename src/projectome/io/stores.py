"""Files, folders and object stores behind one kind of address.

An address is a path, ``file://PATH``, ``s3://BUCKET/KEY``, ``gs://BUCKET/KEY``, ``http(s)://HOST/KEY``
or, inside one process, ``memory://KEY``; it may go on inside a zip archive that stores its members
uncompressed (``brain.ozx/scale0``). Chunked arrays go through tensorstore with the one shared
`context`; documents, listings and copies of remote objects go through obstore. Every error of a
third party becomes one of projectome's here, and nothing waits without a deadline.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import obstore
import obstore.exceptions
import tensorstore as ts

from projectome.errors import FormatError, NotFoundError, ParameterError, StoreError
from projectome.io.access import Access
from projectome.io.address import Address, join, parse
from projectome.io.clients import bucket, context, kvstore, kvstore_spec, open_whole, wait
from projectome.io.failures import mapped, translate

__all__ = [
    "Access",
    "Address",
    "Entry",
    "atomic_write",
    "context",
    "copy",
    "create_bytes",
    "exists",
    "join",
    "kvstore_spec",
    "list_folder",
    "local_path",
    "mapped",
    "open_file",
    "parse",
    "read_bytes",
    "read_part",
    "remove",
    "wait",
    "write_bytes",
]

DOCUMENT_LIMIT = 64 * 2**20
"""Largest document that is read whole [bytes]."""


def local_path(url: str) -> Path | None:
    """Return the path of a local address, None for a remote one and inside an archive."""
    address = parse(url)
    return Path(address.path) if address.scheme == "file" and not address.member else None


def _in_tensorstore(address: Address) -> bool:
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
        if _in_tensorstore(address):
            found = wait(kvstore(url, access=access).read(""), url=url)
            if found.state == "missing":
                raise NotFoundError(f"Nothing at {url}. Check the address.")
            data = bytes(found.value)
        elif address.scheme == "file":
            with open(address.path, "rb") as file:
                data = file.read(limit + 1)
        else:
            answer = obstore.get(bucket(address, access), address.path)
            size = answer.meta["size"]
            data = bytes(answer.bytes()) if size <= limit else b"\0" * (limit + 1)
    if len(data) > limit:
        raise FormatError(
            f"{url} is larger than {limit} bytes, which no document of this kind should be. Check "
            "that the address names the right file."
        )
    return data


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
    try:
        answer = obstore.get(store, address.path, options={"range": span})
        return bytes(answer.bytes())[:length], int(answer.meta["size"])
    except obstore.exceptions.GenericError:
        # Ranges beyond the end, and of empty objects, are refused: look how much there is.
        with mapped(url, "read"):
            size = int(obstore.head(store, address.path)["size"])
            first = max(0, start + size if start < 0 else start)
            last = min(size, first + length)
            if first >= last:
                return b"", size
            return bytes(obstore.get_range(store, address.path, start=first, end=last)), size
    except (obstore.exceptions.BaseError, OSError) as error:
        raise translate(error, url, "read") from error


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
    if _in_tensorstore(address):
        return io.BytesIO(read_bytes(url, access=access))
    return open_whole(address, access or Access.of(), buffer=buffer)


def exists(url: str, *, access: Access | None = None) -> bool:
    """Say whether there is a file or object at an address; a folder counts only where local."""
    address = parse(url)
    if address.scheme == "file" and not address.member:
        return os.path.exists(address.path)
    try:
        if _in_tensorstore(address):
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
        if address.scheme == "memory" or address.member is not None:
            entries = _list_keys(url, access)
        elif address.scheme == "file":
            with os.scandir(address.path) as found:
                entries = [Entry(e.name, None if e.is_dir() else _size(e)) for e in found]
        else:
            prefix = address.path.strip("/")
            answer = obstore.list_with_delimiter(bucket(address, access), prefix or None)
            entries = [Entry(_last(p)) for p in answer["common_prefixes"]]
            entries += [Entry(_last(o["path"]), o["size"]) for o in answer["objects"]]
    if not entries and (address.scheme != "file" or address.member):
        raise NotFoundError(f"Nothing below {url}. Check the address and the spelling.")
    return sorted(entries, key=lambda entry: entry.name)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a dangling link: it is there, with nothing in it
        return 0


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _list_keys(url: str, access: Access | None) -> list[Entry]:
    store = kvstore(url, access=access, folder=True)
    entries = {}
    for key in wait(store.list(), url=url, doing="list"):
        name, slash, _ = key.decode().partition("/")
        entries[name] = Entry(name, None if slash else len(store.read(key).result().value))
    return list(entries.values())


def write_bytes(url: str, data: bytes, *, access: Access | None = None) -> None:
    """Write a document; whoever reads sees the old one or the new one, never a part.

    Parameters
    ----------
    url
        Where to; folders above it are made.
    data
        The content.
    access
        How to ask; by the settings if None.

    Raises
    ------
    AccessDeniedError, StorageFullError, StoreError
        If it cannot be written.
    """
    address = _writable(url)
    if address.scheme == "file":
        with atomic_write(address.path) as partial:
            partial.write_bytes(data)
        return
    with mapped(url, "write"):
        if address.scheme == "memory":
            wait(kvstore(url, access=access).write("", data), url=url, doing="write")
        else:
            obstore.put(bucket(address, access), address.path, data)


def create_bytes(url: str, data: bytes, *, access: Access | None = None) -> bool:
    """Write a document where there is none; of several callers at a time one succeeds.

    Parameters
    ----------
    url
        Where to; folders above it are made.
    data
        The content.
    access
        How to ask; by the settings if None.

    Returns
    -------
    bool
        Whether it was written; False where there was a document already.

    Raises
    ------
    AccessDeniedError, StorageFullError, StoreError
        If it cannot be written.
    """
    address = _writable(url)
    with mapped(url, "write"):
        try:
            if address.scheme == "file":
                Path(address.path).parent.mkdir(parents=True, exist_ok=True)
                with open(address.path, "xb") as file:
                    file.write(data)
            elif address.scheme == "memory":
                if exists(url, access=access):  # one process: nobody comes in between
                    return False
                write_bytes(url, data, access=access)
            else:
                obstore.put(bucket(address, access), address.path, data, mode="create")
        except (FileExistsError, obstore.exceptions.AlreadyExistsError):
            return False
    return True


def _writable(url: str) -> Address:
    address = parse(url)
    if address.scheme in ("http", "https") or address.member:
        what = "a zip archive" if address.member else "plain HTTP"
        raise StoreError(f"Cannot change {url}: {what} is read only. Write to a path or to s3://.")
    return address


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new file to write to; it takes the place of `path` when the block ends well.

    Parameters
    ----------
    path
        A local path or ``file://`` address; folders above it are made.

    Yields
    ------
    pathlib.Path
        A file of another name in the same folder. It is removed if the block raises.

    Raises
    ------
    StorageFullError
        If the disk is full.
    AccessDeniedError
        If the folder cannot be written.
    """
    target = local_path(os.fspath(path))
    if target is None:
        raise ParameterError(f"{path} is not a local path; write remote objects with write_bytes.")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with mapped(str(target), "write"):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            os.replace(partial, target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def copy(
    source: str, target: str, *, access: Access | None = None, target_access: Access | None = None
) -> None:
    """Copy one file or object between any two stores, piece by piece.

    Parameters
    ----------
    source, target
        Addresses of the object and of its copy.
    access, target_access
        How to ask the one and the other.

    Raises
    ------
    NotFoundError
        If there is nothing at `source`.
    StoreError
        If one of the stores does not answer as hoped.
    """
    origin, goal = parse(source), _writable(target)
    if _in_tensorstore(origin) or goal.scheme == "memory":
        write_bytes(target, read_bytes(source, access=access), access=target_access)
        return
    way = f"{source} to {target}"
    if origin.scheme == "file" and goal.scheme != "file":
        with mapped(way, "copy"):
            obstore.put(bucket(goal, target_access), goal.path, Path(origin.path))
    elif origin.scheme == "file":
        with atomic_write(goal.path) as partial, mapped(way, "copy"):
            shutil.copyfile(origin.path, partial)
    else:
        with mapped(source, "read"):
            pieces = obstore.get(bucket(origin, access), origin.path).stream()
        if goal.scheme == "file":
            with atomic_write(goal.path) as partial, mapped(way, "copy"):
                with open(partial, "wb") as file:
                    file.writelines(pieces)
        else:
            with mapped(way, "copy"):
                writer = obstore.open_writer(bucket(goal, target_access), goal.path)
                for piece in pieces:
                    writer.write(piece)
                # Only what is closed appears: after an error there is no part of an object.
                writer.close()


def remove(url: str, *, access: Access | None = None) -> None:
    """Remove a file, or a folder with all that is below it; nothing there is no error.

    Raises
    ------
    StoreError
        If the store refuses.
    """
    address = _writable(url)
    with mapped(url, "remove"):
        if address.scheme == "memory":
            store = kvstore(url, access=access)
            store.write("", None).result()
            store.delete_range(ts.KvStore.KeyRange("/", "0")).result()
        elif address.scheme != "file":
            store = bucket(address, access)
            for page in obstore.list(store, address.path):
                obstore.delete(store, [item["path"] for item in page])
        elif os.path.isdir(address.path) and not os.path.islink(address.path):
            shutil.rmtree(address.path)
        else:
            Path(address.path).unlink(missing_ok=True)
