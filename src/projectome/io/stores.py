"""Files, folders and object stores behind one kind of address.

An address is a path, ``file://PATH``, ``s3://BUCKET/KEY``, ``gs://BUCKET/KEY``, ``http(s)://HOST/KEY``
or, inside one process, ``memory://KEY``. Chunked arrays go through tensorstore with the one shared
`context`; documents, listings and copies of remote objects go through obstore. Every error of a
third party becomes one of projectome's here, and nothing waits without a deadline.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import obstore
import obstore.exceptions
import obstore.store
import tensorstore as ts

from projectome.errors import FormatError, NotFoundError, ParameterError, StoreError
from projectome.io.access import PUBLIC, Access, bucket_region, shared_credentials
from projectome.io.address import Address, join, parse
from projectome.io.failures import mapped

__all__ = [
    "Access",
    "Address",
    "Entry",
    "atomic_write",
    "context",
    "copy",
    "exists",
    "join",
    "kvstore_spec",
    "list_folder",
    "local_path",
    "mapped",
    "parse",
    "read_bytes",
    "remove",
    "wait",
    "write_bytes",
]

DOCUMENT_LIMIT = 64 * 2**20
"""Largest document that is read whole [bytes]."""
CACHE_LIMIT = 128 * 2**20
CONCURRENCY = 128
PATIENCE = 60.0
"""Seconds that a request may take before its size is looked at."""
SLOWEST = 100_000
"""Bytes a second below which a transfer counts as broken."""


@functools.cache
def context() -> ts.Context:
    """Return the tensorstore context that all stores of this process share.

    Returns
    -------
    tensorstore.Context
        A chunk cache of 128 MiB, 128 requests at a time a service, and retries that start after
        50 ms and give up within about 10 s. Files are not synced to disk one by one: writes are
        safe against the death of processes, not against the loss of power.
    """
    retries = {"max_retries": 8, "initial_delay": "50ms", "max_delay": "2s"}
    limits: dict[str, object] = {
        f"{service}_request_{what}": value
        for service in ("s3", "gcs", "http")
        for what, value in (("concurrency", {"limit": CONCURRENCY}), ("retries", retries))
    }
    return ts.Context(
        {"cache_pool": {"total_bytes_limit": CACHE_LIMIT}, "file_io_sync": False, **limits}
    )


def wait(future: Any, *, url: str, doing: str = "read", nbytes: int = 0) -> Any:
    """Return what a tensorstore future brings.

    Parameters
    ----------
    future
        What to wait for.
    url
        Whose it is, for the error.
    doing
        The verb for the error.
    nbytes
        Bytes to move; the deadline is a minute and the time at 100 kB/s.

    Raises
    ------
    StoreError
        Or one of its children: what went wrong, and the way out.
    """
    with mapped(url, doing):
        return future.result(timeout=PATIENCE + nbytes / SLOWEST)


def kvstore_spec(
    url: str, *, access: Access | None = None, folder: bool = True
) -> dict[str, object]:
    """Return the tensorstore specification of a key-value store.

    Parameters
    ----------
    url
        Address of a folder, or of a file if `folder` is False.
    access
        How to ask; by the settings if None.
    folder
        Whether keys lie below the address.

    Returns
    -------
    dict
        To be opened with `context`.
    """
    address = parse(url)
    how = access or Access.of()
    path = address.path.rstrip("/") + "/" if folder and address.path else address.path
    if address.scheme in ("file", "memory"):
        return {"driver": address.scheme, "path": path}
    if address.scheme in ("http", "https"):
        return {"driver": "http", "base_url": f"{address.scheme}://{address.root}/{path}"}
    if address.scheme == "gs" and not how.signed:
        # Explicitly anonymous: the gcs driver would look for credentials first.
        return {"driver": "http", "base_url": f"{PUBLIC['gs']}/{address.root}/{path}"}
    if address.scheme == "gs":
        return {"driver": "gcs", "bucket": address.root, "path": path}
    spec: dict[str, object] = {
        "driver": "s3",
        "bucket": address.root,
        "path": path,
        "aws_region": _region(address, how),
        "aws_credentials": {"type": "default" if how.signed else "anonymous"},
    }
    if how.endpoint:
        spec["endpoint"] = how.endpoint
    return spec


def _region(address: Address, how: Access) -> str:
    return how.region or ("us-east-1" if how.endpoint else bucket_region(address.root))


def _kvstore(url: str, access: Access | None = None, *, folder: bool = False) -> Any:
    spec = kvstore_spec(url, access=access, folder=folder)
    return wait(ts.KvStore.open(spec, context=context()), url=url, doing="open")


@functools.cache
def _remote(scheme: str, root: str, how: Access) -> Any:
    """Return the obstore store of a bucket or host."""
    options = {"allow_http": True, "connect_timeout": "5s", "read_timeout": "30s", "timeout": "10m"}
    retries = {"max_retries": 8, "retry_timeout": _seconds(30), "backoff": _backoff()}
    common: dict[str, Any] = {"client_options": options, "retry_config": retries}
    if scheme in ("http", "https"):
        return obstore.store.HTTPStore.from_url(f"{scheme}://{root}", **common)
    if scheme == "gs":
        return obstore.store.GCSStore(root, skip_signature=not how.signed, **common)
    config: dict[str, Any] = {"region": _region(Address("s3", root, ""), how)}
    if how.endpoint:
        config["endpoint"] = how.endpoint
    if how.signed:
        config |= shared_credentials()
    return obstore.store.S3Store(root, skip_signature=not how.signed, **config, **common)


def _seconds(value: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=value)


def _backoff() -> dict[str, object]:
    return {"init_backoff": _seconds(0.05), "max_backoff": _seconds(2), "base": 2}


def _bucket(address: Address, access: Access | None) -> Any:
    return _remote(address.scheme, address.root, access or Access.of())


def local_path(url: str) -> Path | None:
    """Return the path of a local address, None for a remote one."""
    address = parse(url)
    return Path(address.path) if address.scheme == "file" else None


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
        if address.scheme == "file":
            with open(address.path, "rb") as file:
                data = file.read(limit + 1)
        elif address.scheme == "memory":
            found = _kvstore(url, access).read("").result()
            if found.state == "missing":
                raise NotFoundError(f"Nothing at {url}. Check the address.")
            data = found.value
        else:
            answer = obstore.get(_bucket(address, access), address.path)
            size = answer.meta["size"]
            data = b"\0" * (limit + 1) if size > limit else bytes(answer.bytes())
    if len(data) > limit:
        raise FormatError(
            f"{url} is larger than {limit} bytes, which no document of this kind should be. Check "
            "that the address names the right file."
        )
    return data


def exists(url: str, *, access: Access | None = None) -> bool:
    """Say whether there is a file or object at an address; a folder counts only where local."""
    address = parse(url)
    if address.scheme == "file":
        return os.path.exists(address.path)
    try:
        if address.scheme == "memory":
            return bool(_kvstore(url, access).read("").result().state == "value")
        with mapped(url, "look up"):
            obstore.head(_bucket(address, access), address.path)
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
        A folder, or a prefix of an object store.
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
    if address.scheme in ("http", "https"):
        raise StoreError(
            f"{url} cannot be listed: plain HTTP has no listing. Give the full address of the "
            "volume itself, or the s3:// or gs:// address of the same data."
        )
    with mapped(url, "list"):
        if address.scheme == "file":
            with os.scandir(address.path) as found:
                entries = [Entry(e.name, None if e.is_dir() else _size(e)) for e in found]
        elif address.scheme == "memory":
            entries = _list_memory(url, access)
        else:
            prefix = address.path.strip("/")
            answer = obstore.list_with_delimiter(_bucket(address, access), prefix or None)
            entries = [Entry(_last(p)) for p in answer["common_prefixes"]]
            entries += [Entry(_last(o["path"]), o["size"]) for o in answer["objects"]]
    if not entries and address.scheme != "file":
        raise NotFoundError(f"Nothing below {url}. Check the address and the spelling.")
    return sorted(entries, key=lambda entry: entry.name)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a dangling link: it is there, with nothing in it
        return 0


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _list_memory(url: str, access: Access | None) -> list[Entry]:
    store = _kvstore(url, access, folder=True)
    entries = {}
    for key in store.list().result():
        name, _, rest = key.decode().partition("/")
        entries[name] = Entry(name, None if rest else len(store.read(key).result().value))
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
    address = parse(url)
    if address.scheme in ("http", "https"):
        raise StoreError(
            f"Cannot write to {url}: plain HTTP is read only. Write to a path or to s3://."
        )
    if address.scheme == "file":
        with atomic_write(address.path) as partial:
            partial.write_bytes(data)
        return
    with mapped(url, "write"):
        if address.scheme == "memory":
            _kvstore(url, access).write("", data).result()
        else:
            obstore.put(_bucket(address, access), address.path, data)


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
    origin, goal = parse(source), parse(target)
    if origin.scheme == "memory" or goal.scheme in ("memory", "http", "https"):
        write_bytes(target, read_bytes(source, access=access), access=target_access)
        return
    if origin.scheme == "file":
        pieces: Any = Path(origin.path)
    else:
        with mapped(source, "read"):
            pieces = obstore.get(_bucket(origin, access), origin.path).stream()
    if goal.scheme != "file":
        with mapped(f"{source} to {target}", "copy"):
            obstore.put(_bucket(goal, target_access), goal.path, pieces)
        return
    with atomic_write(goal.path) as partial, mapped(f"{source} to {target}", "copy"):
        if origin.scheme == "file":
            shutil.copyfile(pieces, partial)
        else:
            with open(partial, "wb") as file:
                file.writelines(pieces)


def remove(url: str, *, access: Access | None = None) -> None:
    """Remove a file, or a folder with all that is below it; nothing there is no error.

    Raises
    ------
    StoreError
        If the store refuses.
    """
    address = parse(url)
    if address.scheme in ("http", "https"):
        raise StoreError(f"Cannot remove {url}: plain HTTP is read only.")
    with mapped(url, "remove"):
        if address.scheme == "memory":
            store = _kvstore(url, access)
            store.write("", None).result()
            store.delete_range(ts.KvStore.KeyRange("/", "0")).result()
        elif address.scheme != "file":
            bucket = _bucket(address, access)
            for page in obstore.list(bucket, address.path):
                obstore.delete(bucket, [item["path"] for item in page])
        elif os.path.isdir(address.path) and not os.path.islink(address.path):
            shutil.rmtree(address.path)
        else:
            Path(address.path).unlink(missing_ok=True)
