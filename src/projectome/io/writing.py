"""Writing, copying and removing documents: others see the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import obstore
import obstore.exceptions
import tensorstore as ts

from projectome.errors import ParameterError, StoreError
from projectome.io.access import Access
from projectome.io.address import Address, parse
from projectome.io.clients import bucket, kvstore, wait
from projectome.io.failures import mapped
from projectome.io.listing import names_below
from projectome.io.reading import exists, in_tensorstore, local_path, read_bytes


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
    if in_tensorstore(origin) or goal.scheme == "memory":
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
            with (
                atomic_write(goal.path) as partial,
                mapped(way, "copy"),
                open(partial, "wb") as file,
            ):
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
            # The object itself is not among those listed below it.
            with contextlib.suppress(obstore.exceptions.NotFoundError):
                obstore.delete(store, address.path)
            for page in names_below(store, address.path, url=url):
                obstore.delete(store, [item["path"] for item in page])
        elif os.path.isdir(address.path) and not os.path.islink(address.path):
            shutil.rmtree(address.path)
        else:
            Path(address.path).unlink(missing_ok=True)
