"""The clients behind `projectome.io.stores`: tensorstore with one shared context, and obstore."""

from __future__ import annotations

import functools
import io
import os
import stat
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import IO, Any
from urllib.parse import urlsplit

import obstore
import obstore.store
import tensorstore as ts

from projectome.errors import FormatError, NotFoundError
from projectome.io.access import (
    PUBLIC,
    Access,
    aws_credentials,
    bucket_region,
    shared_credentials,
)
from projectome.io.address import Address, parse
from projectome.io.failures import NOWHERE, mapped, translate

CACHE_LIMIT = 32 * 2**20
"""What a block shares with the next is worth keeping, and hardly more [bytes]."""
CONCURRENCY = 128
PATIENCE = 60.0
"""Seconds that a request may take before its size is looked at."""
SLOWEST = 100_000
"""Bytes a second below which a transfer counts as broken."""
CONNECTING = 5.0
"""Seconds after which nobody listens."""
SILENCE = 30.0
"""Seconds without a byte after which a transfer counts as broken."""
TRYING = 30.0
"""Seconds after which a request that failed is not tried again."""
LONGEST = 600.0
"""Seconds that one request may take at all."""
SERVICES = ("169.254.0.0/16", "metadata.google.internal", "googleapis.com", "amazonaws.com")
"""Hosts that give credentials to those who run in a cloud."""


@functools.cache
def context() -> ts.Context:
    """Return the tensorstore context that all stores of this process share.

    Returns
    -------
    tensorstore.Context
        A chunk cache of 32 MiB, 128 requests at a time a service, and retries that start after
        50 ms and give up within about 10 s. Files are not synced to disk one by one: writes are
        safe against the death of processes, not against the loss of power. Worker processes are
        given their share of the cores in ``PROJECTOME_THREADS``.
    """
    retries = {"max_retries": 8, "initial_delay": "50ms", "max_delay": "2s"}
    limits: dict[str, object] = {
        f"{service}_request_{what}": value
        for service in ("s3", "gcs", "http")
        for what, value in (("concurrency", {"limit": CONCURRENCY}), ("retries", retries))
    }
    if threads := os.environ.get("PROJECTOME_THREADS"):
        limits["data_copy_concurrency"] = {"limit": int(threads)}
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


def in_time(answer: Any, *, url: str) -> Iterator[Any]:
    """Yield the pieces of what obstore gets, as long as they come fast enough.

    Parameters
    ----------
    answer
        Of ``obstore.get``.
    url
        Whose it is, for the error.

    Raises
    ------
    TransferError
        If it comes below 100 kB/s for longer than a minute.
    """
    began, size = time.monotonic(), 0
    for piece in answer.stream(min_chunk_size=1):  # by default it waits for 10 MB
        size += len(piece)
        yield piece
        if time.monotonic() - began > PATIENCE + size / SLOWEST:
            raise translate(TimeoutError(), url, "read")


def body(answer: Any, *, url: str, limit: int) -> bytes:
    """Return the first bytes of what obstore gets, in time.

    Parameters
    ----------
    answer
        Of ``obstore.get``.
    url
        Whose it is, for the error.
    limit
        No more is read [bytes].

    Raises
    ------
    TransferError
        If it comes more slowly than any transfer should.
    """
    parts, size = [], 0
    for piece in in_time(answer, url=url):
        parts.append(bytes(piece))
        size += len(parts[-1])
        if size >= limit:
            break
    return b"".join(parts)[:limit]


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

    Raises
    ------
    FormatError
        If the address lies in a zip archive whose members are compressed.
    """
    address = parse(url)
    how = access or Access.of()
    if address.member is None or not (folder or address.member):
        return _plain_spec(address, how, folder=folder)
    archive_members(address, how)
    member = _slashed(address.member) if folder else address.member
    return {"driver": "zip", "base": _plain_spec(address, how, folder=False), "path": member}


def _slashed(path: str) -> str:
    return path.rstrip("/") + "/" if path else path


def _plain_spec(address: Address, how: Access, *, folder: bool) -> dict[str, object]:
    path = _slashed(address.path) if folder else address.path
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
        "aws_region": _region(address.root, how),
        "aws_credentials": aws_credentials(how),
    }
    if how.endpoint:
        spec["endpoint"] = how.endpoint
    return spec


def _region(bucket: str, how: Access) -> str:
    return how.region or ("us-east-1" if how.endpoint else bucket_region(bucket))


def archive_members(address: Address, how: Access) -> dict[str, int]:
    """Return the size of each file in the zip archive at or around an address [bytes].

    Raises
    ------
    FormatError
        If it is no archive, or packs its members: those could unpack to anything.

    References
    ----------
    RFC-9 of OME-NGFF: "The ZIP archive [...] SHOULD NOT use ZIP-level compression."
    """
    archive = replace(address, member=None)
    with mapped(str(archive), "open"):
        state = os.stat(archive.path) if archive.scheme == "file" else None
    return _members(archive, how, state and (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=16)
def _members(archive: Address, how: Access, state: object) -> dict[str, int]:
    """List an archive; `state` tells one content of a local file from the next."""
    with mapped(str(archive), "open"), open_whole(archive, how) as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise FormatError(
                f"{archive} is not a readable zip archive ({error}). Unpack it with other tools "
                "and open the folder, or fetch it again."
            ) from None
    packed = [m.filename for m in members if m.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise FormatError(
            f"{archive} holds compressed members, for instance {packed[0]!r}; only archives that "
            "store their members as they are can be read in place. Unpack it and open the folder."
        )
    return {m.filename: m.file_size for m in members if not m.is_dir()}


def kvstore(url: str, *, access: Access | None = None, folder: bool = False) -> Any:
    """Return an open tensorstore key-value store; arguments as for `kvstore_spec`."""
    spec = kvstore_spec(url, access=access, folder=folder)
    return wait(ts.KvStore.open(spec, context=context()), url=url, doing="open")


def bucket(address: Address, access: Access | None = None) -> Any:
    """Return the obstore store of the bucket or host of a remote address."""
    return _bucket(address.scheme, address.root, access or Access.of())


@functools.cache
def _bucket(scheme: str, root: str, how: Access) -> Any:
    common: dict[str, Any] = {
        "client_options": {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=CONNECTING),
            "read_timeout": timedelta(seconds=SILENCE),
            "timeout": timedelta(seconds=LONGEST),
            **_at_home(scheme, root, how),
        },
        "retry_config": {
            "max_retries": 8,
            "retry_timeout": timedelta(seconds=TRYING),
            "backoff": {
                "init_backoff": timedelta(milliseconds=50),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
    }
    if scheme in ("http", "https"):
        return obstore.store.HTTPStore.from_url(f"{scheme}://{root}", **common)
    if scheme == "gs":
        return obstore.store.GCSStore(root, skip_signature=not how.signed, **common)
    config: dict[str, Any] = {"region": _region(root, how)}
    if how.endpoint:
        config["endpoint"] = how.endpoint
    if how.signed:
        config |= shared_credentials()
    return obstore.store.S3Store(root, skip_signature=not how.signed, **config, **common)


def _at_home(scheme: str, root: str, how: Access) -> dict[str, str]:
    """Return the options that let requests reach one host and those that belong to it.

    The client follows any redirect. Whatever is meant for other hosts goes to a proxy where none
    can be, and fails at once. Who has a proxy of their own goes through that, and unchecked.
    """
    if {"http", "https", "all"} & set(urllib.request.getproxies()):
        return {}
    hosts = [urlsplit(how.endpoint).hostname or ""]
    if scheme in ("http", "https"):
        hosts = [urlsplit(f"{scheme}://{root}").hostname or ""]
    elif scheme == "gs":
        hosts = ["googleapis.com"]
    elif not how.endpoint:
        hosts = ["amazonaws.com", "amazonaws.com.cn"]
    if how.signed:  # where credentials come from
        asked = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        hosts += [*SERVICES, urlsplit(asked).hostname or ""]
    return {"proxy_url": NOWHERE, "proxy_excludes": ",".join(filter(None, hosts))}


class RemoteFile(io.RawIOBase):
    """A remote object as a file to read; each read is one range request."""

    def __init__(self, address: Address, how: Access) -> None:
        self._url, self._key, self._store = str(address), address.path, bucket(address, how)
        with mapped(self._url, "open"):
            self._size = int(obstore.head(self._store, self._key)["size"])
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the object goes and return the number of bytes."""
        stop = min(self._size, self._at + len(buffer))
        if stop <= self._at:
            return 0
        with mapped(self._url, "read"):
            span: Any = {"range": (self._at, stop)}
            answer = obstore.get(self._store, self._key, options=span)
            piece = body(answer, url=self._url, limit=stop - self._at)
        count = len(piece)
        memoryview(buffer)[:count] = piece
        self._at += count
        return count


def open_whole(address: Address, how: Access, *, buffer: int = 2**18) -> IO[bytes]:
    """Open a file or object, not a member of an archive, to read from any place in it."""
    if address.scheme == "memory":
        store = wait(
            ts.KvStore.open(_plain_spec(address, how, folder=False), context=context()),
            url=str(address),
        )
        found = wait(store.read(""), url=str(address))
        if found.state == "missing":
            raise NotFoundError(f"Nothing at {address}. Check the address.")
        return io.BytesIO(found.value)
    if address.scheme == "file":
        with mapped(address.path, "open"):
            if stat.S_ISFIFO(os.stat(address.path).st_mode):
                raise FormatError(
                    f"{address.path} is a pipe, which can be read only once. Write what comes out "
                    "of it to a file, and open that."
                )
            return open(address.path, "rb")
    return io.BufferedReader(RemoteFile(address, how), buffer)
