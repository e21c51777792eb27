"""One run at a time on one output."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from projectome.errors import OutputBusyError
from projectome.io.stores import mapped


def new_owner() -> dict[str, object]:
    """Return who this run is: process, host, start and a token that no other run has."""
    return {
        "token": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def busy(place: str, owner: dict[str, object]) -> OutputBusyError:
    """Return the error for an output on which another run works."""
    who = (
        f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
        if {"pid", "host", "since"} <= owner.keys()
        else "another process"
    )
    return OutputBusyError(
        f"Another run is writing to the output of {place}: {who}. Wait until it has ended, stop "
        "it, or choose another output."
    )


def read_owner(path: Path) -> dict[str, object]:
    """Return who took a lock file last; nothing where that cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[str]:
    """Hold a lock file; the operating system releases it when the process dies in any way.

    Parameters
    ----------
    path
        The lock file. It stays behind, with who held it last.

    Yields
    ------
    str
        The token of this holder.

    Raises
    ------
    OutputBusyError
        If another run, in this process or another one, holds it.
    """
    with mapped(str(path), "lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with mapped(str(path), "lock"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy(str(path.parent), read_owner(path)) from None
            owner = new_owner()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield str(owner["token"])
    finally:
        os.close(descriptor)
