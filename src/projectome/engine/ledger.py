"""Which blocks are finished: marks beside the output that survive the death of any process.

A block is marked by the process that wrote it, right after the write. Marks count only under the
key that they were made with, so that a changed parameter, input, version or grid never takes an
old block for its own.

In a folder, each process appends one line a block to a file of its own::

    LEDGER/run.json                what the run computes, and its key
    LEDGER/lock                    who works on the output, see `projectome.engine.locks`
    LEDGER/marks*.log              lines "NUMBER CHECKSUM"; torn lines do not count

In an object store, each block is an object of its own, ``LEDGER/marks/KEY/NUMBER``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import BlockGrid, Box
from projectome.core.provenance import digest
from projectome.engine.locks import busy, holder, locked
from projectome.errors import FormatError, NotFoundError, OutputBusyError, OutputExistsError
from projectome.io import stores
from projectome.io.documents import json_value

ORPHAN_PATIENCE = 15.0
"""Seconds to wait for workers of a killed run to notice."""

Mark = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Marker:
    """How a worker marks blocks; can be sent to other processes.

    Attributes
    ----------
    url
        Address of the ledger.
    key
        Key of the run.
    token
        Of the run that holds the ledger.
    access
        How to ask an object store.
    """

    url: str
    key: str
    token: str
    access: stores.Access

    @contextlib.contextmanager
    def open(self) -> Iterator[Mark]:
        """Give a function that marks a block, by its place in the grid, as finished.

        Raises
        ------
        OutputBusyError
            If another run has taken over the output in the meantime.
        """
        folder = stores.local_path(self.url)
        if folder is None:
            self._check_holder()
            yield self._put
            return
        name = f"marks-{socket.gethostname()}-{os.getpid()}.log"
        with stores.mapped(str(folder / name), "write"):
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A run that takes over waits for this lock, after it has written its own token.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._check_holder()
            if os.fstat(descriptor).st_size:
                os.write(descriptor, b"\n")  # ends a line torn by an earlier process of that number
            yield lambda place: _append(descriptor, place, self.key)
        finally:
            os.close(descriptor)

    def _check_holder(self) -> None:
        owner = holder(self.url, self.access)
        if owner.get("token") != self.token:
            raise busy(self.url, owner)

    def _put(self, place: int) -> None:
        name = stores.join(_object_marks(self.url, self.key), str(place))
        stores.write_bytes(name, b"", access=self.access)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of one output, held by one run.

    Attributes
    ----------
    marker
        What workers mark with.
    total
        Blocks of the grid.
    """

    marker: Marker
    total: int

    def done(self) -> NDArray[np.bool_]:
        """Return for each block, in the order of the grid, whether it is marked."""
        done = np.zeros(self.total, dtype=bool)
        for place in self._marks():
            if place < self.total:
                done[place] = True
        return done

    def _marks(self) -> Iterator[int]:
        url, key = self.marker.url, self.marker.key
        folder = stores.local_path(url)
        if folder is not None:
            for path in _mark_files(folder):
                yield from _valid(path, key)
            return
        with contextlib.suppress(NotFoundError):
            for entry in stores.list_folder(_object_marks(url, key), access=self.marker.access):
                if entry.name.isdecimal():
                    yield int(entry.name)

    def tidy(self) -> None:
        """Wait for workers that an earlier run left behind, and put all marks into one file.

        Raises
        ------
        OutputBusyError
            If one of them does not end.
        """
        folder = stores.local_path(self.marker.url)
        if folder is None:
            return
        files = _mark_files(folder)
        for path in files:
            _wait_for_writer(path)
        if len(files) > 1:
            places = np.flatnonzero(self.done()).tolist()
            lines = b"".join(_line(place, self.marker.key) for place in places)
            stores.write_bytes(str(folder / "marks.log"), lines)
            for path in files:
                if path.name != "marks.log":
                    path.unlink()

    def forget(self) -> None:
        """Remove all marks, whatever their key."""
        folder = stores.local_path(self.marker.url)
        if folder is None:
            stores.remove(stores.join(self.marker.url, "marks"), access=self.marker.access)
        else:
            for path in _mark_files(folder):
                path.unlink()


@contextlib.contextmanager
def open_ledger(
    url: str, description: Mapping[str, object], total: int, *, overwrite: bool = False
) -> Iterator[Ledger]:
    """Hold the ledger of an output for one run.

    Parameters
    ----------
    url
        Its address, a folder beside the output.
    description
        What decides the content of the blocks, see `projectome.engine.step.describe`.
    total
        Blocks of the grid.
    overwrite
        Begin anew, whatever an earlier run has left.

    Raises
    ------
    OutputBusyError
        If another run works on the same output.
    OutputExistsError
        If an earlier run computed something else and `overwrite` is not set.
    """
    access = stores.Access.of()
    with locked(url, access) as token:
        ledger = Ledger(Marker(url, digest(description), token, access), total)
        ledger.tidy()
        earlier = read_description(url)
        if earlier is not None and earlier != description and not overwrite:
            raise OutputExistsError(
                f"The output of {url} was made by another computation: "
                f"{_differences(earlier, description)}. Choose another output, or give --overwrite "
                "to replace it."
            )
        if overwrite or earlier is None:
            ledger.forget()
            text = json.dumps(description, indent=1, sort_keys=True)
            stores.write_bytes(stores.join(url, "run.json"), text.encode())
        yield ledger


def read_description(url: str) -> dict[str, object] | None:
    """Return what the last run with this ledger computed; None if there was none.

    Raises
    ------
    FormatError
        If the ledger is broken.
    """
    place = stores.join(url, "run.json")
    try:
        return dict(json_value(stores.read_bytes(place)))
    except NotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"{place} is broken: {error}. Remove {url} and its output to begin anew."
        ) from None


def last_grid(url: str) -> BlockGrid | None:
    """Return the grid of the last run with this ledger; None if there was none."""
    found = read_description(url)
    if found is None:
        return None
    grid: dict = found["grid"]  # type: ignore[assignment,type-arg]
    domain = Box(tuple(grid["domain"]["start"]), tuple(grid["domain"]["stop"]))
    return BlockGrid(domain, tuple(grid["block_shape"]), tuple(grid["halo"]))


def _differences(earlier: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Return in words what two descriptions do not share."""
    found = []
    for name in sorted(earlier.keys() | now.keys()):
        old, new = earlier.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if old != new:
                found.append(_differences(old, new))
        elif old != new:
            found.append(f"{name} was {json.dumps(old)} and is {json.dumps(new)}")
    return ", ".join(found)


def _object_marks(url: str, key: str) -> str:
    return stores.join(url, "marks", key[:16])


def _mark_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("marks*.log"))


def _line(place: int, key: str) -> bytes:
    return b"%d %08x\n" % (place, zlib.crc32(f"{key} {place}".encode()))


def _append(descriptor: int, place: int, key: str) -> None:
    with stores.mapped("the ledger", "write"):
        os.write(descriptor, _line(place, key))


def _valid(path: Path, key: str) -> Iterator[int]:
    """Yield the marks of a file whose checksum fits the key."""
    with open(path, "rb") as file:
        for line in file:
            number = line.split(b" ", 1)[0]
            if number.isdigit() and line == _line(int(number), key):
                yield int(number)


def _wait_for_writer(path: Path) -> None:
    """Wait until no process has a file of marks open for writing."""
    deadline = time.monotonic() + ORPHAN_PATIENCE
    with open(path, "r+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OutputBusyError(
                        f"A worker of an earlier run is still writing to the output of "
                        f"{path.parent}: {path.stem.removeprefix('marks-')} (host and process). "
                        "Stop it, then try again."
                    ) from None
                time.sleep(0.02)
            else:
                return
