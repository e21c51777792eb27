"""Compound files (the container of OIB): a small file system of streams in sectors.

A chain of sectors that runs in a circle, or out of the file, is refused.

References
----------
[MS-CFB] Compound File Binary File Format, Microsoft Corporation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.io.volumes.planes import RandomAccess

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEADER = struct.Struct("<8s16sHHHHH6xIIIIIIIII")
DIRECTORY = struct.Struct("<64sHBB12x16x4x16xIQ")
HEADER_SECTORS, SMALL_SECTOR = 109, 64
LAST, END = 0xFFFFFFFA, 0xFFFFFFFE
STREAM, ROOT = 2, 5


@dataclass(frozen=True, slots=True)
class Stream:
    """Where one stream begins, and its length [bytes]."""

    start: int
    size: int


class CompoundFile:
    """An open compound file.

    Parameters
    ----------
    file
        The file, open.

    Attributes
    ----------
    streams
        By their names without folders; the first of a name.

    Raises
    ------
    FormatError
        If it is no compound file, broken or cut off.
    """

    def __init__(self, file: RandomAccess) -> None:
        self.file = file
        head = file.read(0, 512)
        found = HEADER.unpack_from(head)
        magic, _, _, major, order, shift, small_shift = found[:7]
        _, fats, directory, _, self.cutoff, small_fat, _, further, _ = found[7:]
        known = (major, shift) in ((3, 9), (4, 12)) and small_shift == 6
        if magic != MAGIC or order != 0xFFFE or not known:
            raise file.broken("its header is not that of a compound file")
        self.sector = 2**shift
        self.sectors = -(-(file.size - self.sector) // self.sector)
        self.fat = self._fat(head, fats, further)
        entries = self._chain(directory)
        self.streams: dict[str, Stream] = {}
        self._small = np.zeros(0, "<u4")
        self._small_stream = b""
        for at in range(0, len(entries) - 127, 128):
            name, letters, kind, _, start, size = DIRECTORY.unpack_from(entries, at)
            size = size & 0xFFFFFFFF if major == 3 else size
            if kind == STREAM:
                text = name[: max(0, min(64, letters) - 2)].decode("utf-16-le", "replace")
                self.streams.setdefault(text, Stream(start, size))
            elif kind == ROOT and size:
                self._small = np.frombuffer(self._chain(small_fat), "<u4")
                self._small_stream = self._sized(Stream(start, size))

    def _fat(self, head: bytes, count: int, further: int) -> NDArray[np.uint32]:
        """Return the sector after each sector."""
        if count > self.sectors:
            raise self.file.broken(f"it claims {count} sectors of tables among {self.sectors}")
        places = list(struct.unpack_from(f"<{HEADER_SECTORS}I", head, 76))
        while len(places) < count:
            *more, further = struct.unpack(f"<{self.sector // 4}I", self._sector(further))
            places.extend(more)
        data = b"".join(self._sector(place) for place in places[:count])
        return np.frombuffer(data, "<u4")

    def _sector(self, number: int, count: int = 1) -> bytes:
        """Return sectors; the last of a file may be short."""
        start = (number + 1) * self.sector
        length = min(count * self.sector, self.file.size - start)
        if length <= 0:
            raise self.file.broken(f"it is cut off, or damaged: no sector {number}")
        return self.file.read(start, length).ljust(count * self.sector, b"\0")

    def _numbers(self, start: int, table: NDArray[np.uint32], most: int) -> list[int]:
        """Return the sectors of a chain, at most so many."""
        numbers: list[int] = []
        while start != END and len(numbers) < most:
            if start >= len(table) or start > LAST:
                raise self.file.broken(f"it is cut off, or damaged: a chain leads to {start}")
            numbers.append(start)
            start = int(table[start])
        return numbers

    def _joined(self, numbers: list[int]) -> bytes:
        """Return sectors one after the other; neighbours are read at once."""
        parts = []
        breaks = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
        for low, high in zip([0, *breaks], [*breaks, len(numbers)], strict=True):
            if high > low:
                parts.append(self._sector(numbers[low], high - low))
        return b"".join(parts)

    def _chain(self, start: int) -> bytes:
        """Return a chain to its end; one longer than the file runs in a circle."""
        numbers = self._numbers(start, self.fat, self.sectors + 1)
        if len(numbers) > self.sectors:
            raise self.file.broken("a chain of sectors runs in a circle")
        return self._joined(numbers)

    def _sized(self, stream: Stream) -> bytes:
        if stream.size > self.file.size:
            raise self.file.broken(f"it claims a stream of {stream.size} bytes")
        wanted = -(-stream.size // self.sector)
        data = self._joined(self._numbers(stream.start, self.fat, wanted))
        if len(data) < stream.size:
            raise self.file.broken(f"it is cut off: {len(data)} of {stream.size} bytes of a stream")
        return data[: stream.size]

    def read(self, stream: Stream) -> bytes:
        """Return the content of a stream.

        Raises
        ------
        FormatError
            If it is cut off or damaged.
        """
        if stream.size >= self.cutoff:
            return self._sized(stream)
        wanted = -(-stream.size // SMALL_SECTOR)
        numbers = self._numbers(stream.start, self._small, wanted)
        parts = (self._small_stream[n * SMALL_SECTOR :][:SMALL_SECTOR] for n in numbers)
        data = b"".join(parts)
        if len(data) < stream.size:
            raise self.file.broken(f"it is cut off: {len(data)} of {stream.size} bytes of a stream")
        return data[: stream.size]
