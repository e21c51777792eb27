"""Files for libraries that read them byte by byte: remote ones in blocks, many at a time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from projectome.core.volume import Array
from projectome.errors import FormatError, ProjectomeError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.tiff_pages import Cache

BLOCK = 2**19
"""Bytes that are fetched together, and kept."""
KEPT = 64 * 2**20
"""Blocks that are kept of one file [bytes]."""
THREADS = 16
"""Blocks that are asked for at a time."""
SMALL = 2**16
"""Reads up to this size are shown to who wants to see them [bytes]."""


class Watched:
    """What all files here keep for the one who opened them.

    Attributes
    ----------
    failure
        What went wrong while a library was reading; C libraries in between lose such errors.
    watch
        Is shown where each small read was and what it found, and raises if it is harmful.
    """

    def __init__(self) -> None:
        self.failure: ProjectomeError | None = None
        self.watch: Callable[[int, bytes], None] | None = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep an error that is raised inside the block."""
        try:
            yield
        except ProjectomeError as error:
            self.failure = error
            raise

    def show(self, start: int, view: memoryview) -> None:
        """Show what was read."""
        if self.watch is not None and len(view) <= SMALL:
            with self.kept():
                self.watch(start, bytes(view))


class BlockFile(Watched, io.RawIOBase):
    """A remote file to read from any place in it, which keeps the blocks used last.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask.

    Raises
    ------
    StoreError
        If the store does not answer as hoped.
    """

    def __init__(self, url: str, access: Access) -> None:
        super().__init__()
        self._url, self._access, self._cache = url, access, Cache(KEPT)
        first, self.size = stores.read_part(url, 0, BLOCK, access=access)
        self._cache.get(0, lambda: np.frombuffer(first, np.uint8))
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the place where reading goes on."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros beyond the end, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        stop = min(self.size, self._at + len(view))
        done = 0
        while self._at < stop:
            block, start = divmod(self._at, BLOCK)
            piece = self._block(block)[start : start + stop - self._at]
            view[done : done + len(piece)] = memoryview(piece)  # type: ignore[arg-type]
            done += len(piece)
            self._at += len(piece)
        view[done:] = bytes(len(view) - done)
        self.show(self._at - done, view)
        return len(view)

    def fetch(self, blocks: Iterable[int]) -> None:
        """Fetch the blocks of some numbers, many at a time, so that reading them waits no more."""
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(self._block, sorted(blocks)):
                pass

    def _block(self, number: int) -> Array:
        return self._cache.get(number, partial(self._load, number))

    def _load(self, number: int) -> Array:
        start = number * BLOCK
        length = min(BLOCK, self.size - start)
        with self.kept():
            data, size = stores.read_part(self._url, start, length, access=self._access)
            if len(data) != length or size != self.size:
                raise changed(self._url, self.size, size)
        return np.frombuffer(data, np.uint8)


class LocalFile(Watched, io.FileIO):
    """A local file to read from any place in it, which sees when it is cut off meanwhile.

    Parameters
    ----------
    path
        Where it is.
    """

    def __init__(self, path: str) -> None:
        Watched.__init__(self)
        with stores.mapped(path, "open"):
            io.FileIO.__init__(self, path)
        self.size = self.seek(0, io.SEEK_END)

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros beyond the end, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        done, start = 0, self.tell()
        while done < len(view) and (count := super().readinto(view[done:])):
            done += count
        with self.kept():
            if done < len(view) and self.tell() < self.size:
                raise changed(str(self.name), self.size, self.tell())
        view[done:] = bytes(len(view) - done)
        self.show(start, view)
        return len(view)


class WholeFile(Watched, io.BytesIO):
    """A file in memory.

    Parameters
    ----------
    content
        All of it.
    """

    def __init__(self, content: bytes) -> None:
        Watched.__init__(self)
        io.BytesIO.__init__(self, content)
        self.size = len(content)

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros beyond the end, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        start = self.tell()
        done = super().readinto(view)
        view[done:] = bytes(len(view) - done)
        self.show(start, view)
        return len(view)


def changed(url: str, before: int, now: int) -> FormatError:
    """Return the error for a file that has another size than when it was opened."""
    return FormatError(
        f"{url} changed while it was read: it had {before} bytes and has {now}. Open it again."
    )
