"""Decoded chunks of remote volumes on the local disk, so that a second pass asks nobody.

It is off until the setting ``disk_cache`` gives it a size. A chunk is kept with a checksum: one
that is broken is fetched again. What was used longest ago goes first when the room is taken. The
cache knows a volume by its address and metadata; voxels that change behind the same metadata are
not seen before ``projectome cache clear``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np

from projectome.core.affine import read_only
from projectome.core.provenance import digest, plain
from projectome.core.volume import Array, LazyArray, OverArray, Pyramid, Volume
from projectome.errors import ParameterError
from projectome.io import stores
from projectome.io.volumes.options import Evident
from projectome.settings import Settings

FOLDER = "chunks"
CHECKSUM = 16
FETCHES = 16
"""Chunks asked for at a time, where they are not one box."""
WHOLE = 2**28
"""Reads from this size on go past the cache: they are passes over a volume, which would only drive
out everything else [bytes]; or an eighth of the cache, if that is more."""
SLACK = 0.9
"""Share of the room that stays taken after making room."""


def cached(pyramid: Pyramid, settings: Settings, said: object) -> Pyramid:
    """Return a pyramid whose chunks are kept on disk, if it is remote and that is wanted.

    Parameters
    ----------
    pyramid
        As its reader opened it.
    settings
        ``disk_cache`` says how much to keep, ``cache`` where.
    said
        What the user said when opening it: plain data.
    """
    url = str(pyramid.metadata.get("url", ""))
    if not settings.disk_cache or not url or stores.parse(url).scheme in ("file", "memory"):
        return pyramid
    room = Room(settings.cache.expanduser() / FOLDER, settings.disk_cache)

    def kept(number: int, volume: Volume) -> Volume:
        array = volume.array
        facts = [url, settings.endpoint, said, number, array.shape, array.dtype.str, array.chunks]
        name = digest([*map(plain, facts), plain(dict(pyramid.metadata))])
        return replace(volume, array=CachedArray(array, name[:32], room))

    return replace(pyramid, levels=tuple(kept(k, v) for k, v in enumerate(pyramid.levels)))


@dataclass(frozen=True, slots=True)
class Room:
    """A folder of chunks that keeps to a size; processes may share it.

    Attributes
    ----------
    folder
        Where.
    limit
        Bytes that the files may take.
    """

    folder: Path
    limit: int

    def get(self, name: str) -> bytes | None:
        """Return what is kept under a name, or None; what is broken is removed."""
        path = self.folder / name
        try:
            found = path.read_bytes()
            os.utime(path)  # used now
        except OSError:
            return None
        if hashlib.blake2b(found[CHECKSUM:], digest_size=CHECKSUM).digest() == found[:CHECKSUM]:
            return found[CHECKSUM:]
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, name: str, content: bytes) -> None:
        """Keep something under a name; a disk that is full or read-only only keeps nothing."""
        path = self.folder / name
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            head = hashlib.blake2b(content, digest_size=CHECKSUM).digest()
            partial.write_bytes(head + content)
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            return
        _count(self, len(content) + CHECKSUM)

    def files(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of each file, the oldest first."""
        found = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                if path.is_file():
                    found.append((state.st_mtime, state.st_size, path))
        return sorted(found)

    def make_room(self) -> int:
        """Remove what was used longest ago until there is room, and return what is left."""
        files = self.files()
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return total
        for _, size, path in files:
            if total <= SLACK * self.limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
        return total


_lock = threading.Lock()
_taken: dict[Room, int] = {}


def _count(room: Room, size: int) -> None:
    """Add to what is known to be taken, and look at the disk when that passes the limit."""
    with _lock:
        if room not in _taken:
            _taken[room] = room.make_room()
            return
        _taken[room] += size
        if _taken[room] > room.limit:
            _taken[room] = room.make_room()


@dataclass(frozen=True, slots=True, eq=False)
class CachedArray(OverArray):
    """A lazy array that keeps its chunks.

    Attributes
    ----------
    array
        What is read.
    name
        What it is known by.
    room
        Where chunks are kept.
    """

    array: LazyArray
    name: str
    room: Room

    def evidence(self) -> Iterator[bytes]:
        """Yield what the array itself shows; the store is asked, never the cache."""
        if not isinstance(self.array, Evident):
            raise ParameterError(
                f"A {type(self.array).__name__} has no fingerprint. Write the volume to OME-Zarr "
                "first."
            )
        return self.array.evidence()

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        size = np.prod([max(0, s.stop - s.start) for s in index]) * self.dtype.itemsize
        chunk = np.prod(self.chunks) * self.dtype.itemsize
        if size == 0 or max(size, chunk) > max(WHOLE, self.room.limit // 8):
            return self.array.read(index)
        out = np.empty([s.stop - s.start for s in index], self.dtype)
        spans = [
            range(s.start // c, -(-s.stop // c)) for s, c in zip(index, self.chunks, strict=True)
        ]
        cells = list(itertools.product(*spans))
        with ThreadPoolExecutor(FETCHES) as pool:
            found = list(pool.map(self._kept, cells))
            missing = [cell for cell, voxels in zip(cells, found, strict=True) if voxels is None]
            fetched = self._fetch(missing, pool)
        for cell, voxels in zip(cells, found, strict=True):
            values = fetched[cell] if voxels is None else voxels
            region = self._region(cell)
            both = [
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(region, index, strict=True)
            ]
            here = tuple(
                slice(b.start - s.start, b.stop - s.start) for b, s in zip(both, index, strict=True)
            )
            there = tuple(
                slice(b.start - r.start, b.stop - r.start)
                for b, r in zip(both, region, strict=True)
            )
            out[here] = values[there]
        return read_only(out)

    def _region(self, cell: Sequence[int]) -> tuple[slice, ...]:
        sides = zip(cell, self.chunks, self.shape, strict=True)
        return tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in sides)

    def _place(self, cell: Sequence[int]) -> str:
        return f"{self.name}/{'.'.join(map(str, cell))}"

    def _kept(self, cell: Sequence[int]) -> Array | None:
        content = self.room.get(self._place(cell))
        if content is None:
            return None
        shape = tuple(s.stop - s.start for s in self._region(cell))
        values = np.frombuffer(imagecodecs.blosc_decode(content), self.dtype)
        return values.reshape(shape) if values.size == np.prod(shape) else None

    def _fetch(
        self, cells: list[tuple[int, ...]], pool: ThreadPoolExecutor
    ) -> dict[tuple[int, ...], Array]:
        """Read chunks, as one box where they are one, and keep them."""
        if not cells:
            return {}
        low, high = np.min(cells, axis=0), np.max(cells, axis=0)
        if np.prod(high - low + 1) == len(cells):
            first, last = self._region(low.tolist()), self._region(high.tolist())
            box = tuple(slice(a.start, b.stop) for a, b in zip(first, last, strict=True))
            whole = self.array.read(box)
            parts = [
                whole[
                    tuple(
                        slice(s.start - b.start, s.stop - b.start)
                        for s, b in zip(self._region(cell), box, strict=True)
                    )
                ]
                for cell in cells
            ]
        else:
            parts = list(pool.map(self.array.read, map(self._region, cells)))
        list(pool.map(self._keep, cells, parts))
        return dict(zip(cells, parts, strict=True))

    def _keep(self, cell: tuple[int, ...], voxels: Array) -> None:
        raw = np.ascontiguousarray(voxels)
        encode = functools.partial(imagecodecs.blosc_encode, compressor="zstd", level=1)
        content = encode(raw.tobytes(), typesize=raw.dtype.itemsize, shuffle=1)
        self.room.put(self._place(cell), bytes(content))
