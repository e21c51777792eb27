"""Looks at the heaps of HDF5 files before the library does, which runs forever in broken ones.

Text of variable length lies in collections of objects, one after the other, each with its size in
front. The library steps from one to the next, and does not notice an object without any size.

References
----------
HDF5 File Format Specification 3.0, III.E. Disk Format: Level 1E - Global Heap
"""

from __future__ import annotations

from projectome.errors import FormatError
from projectome.io.volumes.block_file import BlockFile, LocalFile, WholeFile

SIGNATURE = b"GCOL\x01"
SMALLEST, LARGEST = 4096, 2**26
"""Sizes of a collection [bytes]; no text that is looked for is longer."""


class HeapWatch:
    """Sees what the library reads, and refuses heaps in which it would not come to an end.

    Parameters
    ----------
    source
        The file that the library reads from.
    url
        Its address.

    Attributes
    ----------
    length
        Bytes of a length in this file.
    """

    def __init__(self, source: LocalFile | BlockFile | WholeFile, url: str) -> None:
        self._source, self._url, self.length = source, url, 8
        self._sound: set[int] = set()

    def look(self, start: int, found: bytes) -> None:
        """Look at a piece of the file, and at the heaps that begin in it.

        Parameters
        ----------
        start
            Where the piece lies in the file.
        found
            The piece.

        Raises
        ------
        FormatError
            If a heap is broken.
        """
        place = found.find(SIGNATURE)
        while place >= 0:
            self._check(start + place)
            place = found.find(SIGNATURE, place + 1)

    def _check(self, place: int) -> None:
        if place in self._sound:
            return
        size = int.from_bytes(self._read(place + 8, self.length), "little")
        if not (SMALLEST <= size <= LARGEST and is_sound(self._read(place, size), self.length)):
            raise FormatError(
                f"The HDF5 file {self._url} is broken: the objects of its heap at byte {place} do "
                "not fit into it. Restore it from its source."
            )
        self._sound.add(place)

    def _read(self, place: int, size: int) -> bytes:
        """Read past the library, unseen by the one who watches it."""
        back, watch = self._source.tell(), self._source.watch
        self._source.watch = None
        try:
            piece = bytearray(size)
            self._source.seek(place)
            self._source.readinto(piece)
            return bytes(piece)
        finally:
            self._source.seek(back)
            self._source.watch = watch


def is_sound(heap: bytes, length: int) -> bool:
    """Say whether the objects of a collection follow one another to its end.

    Parameters
    ----------
    heap
        The collection.
    length
        Bytes of a length in its file.
    """
    header = _aligned(8 + length)  # of the collection, and of an object
    at = header
    while len(heap) - at >= header:
        index = int.from_bytes(heap[at : at + 2], "little")
        size = int.from_bytes(heap[at + 8 : at + 8 + length], "little")
        # Object 0 is the free space; its size counts its header.
        step = header + _aligned(size) if index else size
        if step < header or at + step > len(heap):
            return False
        at += step
    return True


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
