"""One run at a time on one output.

Beside an output in a folder lies a locked file; the operating system unlocks it when its holder
dies. Beside an output in an object store lies a lease: an object with a date of expiry, which its
holder renews, and which nobody takes from a holder that still does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from projectome.errors import NotFoundError, OutputBusyError, StoreError
from projectome.io.documents import json_value
from projectome.io.stores import (
    Access,
    create_bytes,
    join,
    list_folder,
    local_path,
    mapped,
    read_bytes,
    remove,
    write_bytes,
)

LEASE = 60.0
"""Seconds after which a holder that does not renew its lease counts as dead."""
LOCK = "lock"


@contextlib.contextmanager
def locked(url: str, access: Access) -> Iterator[str]:
    """Hold the lock of a ledger.

    Parameters
    ----------
    url
        Address of the ledger.
    access
        How to ask an object store.

    Yields
    ------
    str
        The token of this holder, see `holder`.

    Raises
    ------
    OutputBusyError
        If another run, in this process or another one, holds it.
    """
    folder = local_path(url)
    with _file(folder / LOCK) if folder is not None else _lease(url, access) as token:
        yield token


def holder(url: str, access: Access) -> dict[str, object]:
    """Return who holds the lock of a ledger, or did last; nothing where that cannot be read.

    Returns
    -------
    dict
        ``token``, ``pid``, ``host``, ``since`` and ``started``; with ``expires`` for a lease.
    """
    folder = local_path(url)
    if folder is not None:
        return _owner_in(folder / LOCK)
    return _newest(url, access)[1]


def busy(url: str, owner: Mapping[str, object]) -> OutputBusyError:
    """Return the error for an output on which another run works."""
    who = "another process"
    if {"pid", "host", "since"} <= owner.keys():
        who = f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    return OutputBusyError(
        f"Another run is writing to the output of {url}: {who}. Wait until it has ended, stop it, "
        "or choose another output."
    )


def _new_owner() -> dict[str, object]:
    return {
        "token": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "started": psutil.Process().create_time(),
    }


def _owner_in(path: Path) -> dict[str, object]:
    try:
        found = json_value(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _file(path: Path) -> Iterator[str]:
    """Hold a lock file. It stays behind, with who held it last."""
    with mapped(str(path), "lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with mapped(str(path), "lock"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy(str(path.parent), _owner_in(path)) from None
            owner = _new_owner()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield str(owner["token"])
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lease(url: str, access: Access) -> Iterator[str]:
    """Hold a lease.

    Leases are numbered. A new holder makes the object of the next number, which the store lets
    only one of several do; the newest number counts. Objects of old numbers are removed.
    """
    number, last = _newest(url, access)
    if _alive(last):
        raise busy(url, last)
    owner = _new_owner()
    mine = join(url, LOCK, str(number + 1))
    made = create_bytes(mine, _until(owner, LEASE), access=access)
    newest, winner = _newest(url, access)
    if winner.get("token") != owner["token"]:
        if made and newest != number + 1:
            remove(mine, access=access)
        raise busy(url, winner)
    for older in _numbers(url, access):
        if older <= number:
            remove(join(url, LOCK, str(older)), access=access)
    ended = threading.Event()
    keeper = threading.Thread(target=_renew, args=(mine, owner, access, ended), daemon=True)
    keeper.start()
    try:
        yield str(owner["token"])
    finally:
        ended.set()
        keeper.join()
        write_bytes(mine, _until(owner, 0), access=access)


def _until(owner: Mapping[str, object], seconds: float) -> bytes:
    return json.dumps({**owner, "expires": time.time() + seconds}).encode()


def _renew(place: str, owner: Mapping[str, object], access: Access, ended: threading.Event) -> None:
    while not ended.wait(LEASE / 3):
        # A store that is away for a moment is asked again before the lease ends.
        with contextlib.suppress(StoreError):
            write_bytes(place, _until(owner, LEASE), access=access)


def _numbers(url: str, access: Access) -> list[int]:
    try:
        entries = list_folder(join(url, LOCK), access=access)
    except NotFoundError:
        return []
    return sorted(int(entry.name) for entry in entries if entry.name.isdecimal())


def _newest(url: str, access: Access) -> tuple[int, dict[str, object]]:
    """Return the number and the holder of the newest lease; 0 and nothing if there is none."""
    numbers = _numbers(url, access)
    if not numbers:
        return 0, {}
    try:
        found = json_value(read_bytes(join(url, LOCK, str(numbers[-1])), access=access))
    except (NotFoundError, ValueError):
        found = {}
    return numbers[-1], found if isinstance(found, dict) else {}


def _alive(owner: Mapping[str, object]) -> bool:
    """Say whether a holder may still be at work; a dead process on this host is not."""
    expires, pid = owner.get("expires"), owner.get("pid")
    if not isinstance(expires, float) or expires < time.time():
        return False
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int):
        return True
    try:
        return psutil.Process(pid).create_time() == owner.get("started")
    except psutil.NoSuchProcess:
        return False
