"""ND2 files of NIS-Elements 3 and later: the map of their chunks, and the pixels of one frame.

Only the chunks that are needed are read, each bounded by the file. The chunks of metadata are
walked before the library `nd2` sees them: what would unpack without bound or read for hours is
refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.io.access import Access
from projectome.io.markup import elements
from projectome.io.volumes.planes import RandomAccess
from projectome.io.volumes.tiff_pages import RAW_PIECE, SEGMENT_LIMIT, Cache, samples

MAGIC = b"\xda\xce\xbe\n"
CHUNK = struct.Struct("<4sIQ")
END = struct.Struct("<32sQ")
ENTRY = struct.Struct("<QQ")
SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
MAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
MAP_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
MAP_LIMIT, METADATA_LIMIT = 2**28, 2**24
"""Largest map, and largest chunk of metadata once unpacked [bytes]."""
DEPTH_LIMIT = 32
STAMP = 8
"""Bytes of time in front of the pixels of a frame."""
FRAME = b"ImageDataSeq|"
NEEDED = ("ImageAttributes{}!", "ImageMetadataSeq{}|0!", "ImageMetadata{}!", "ImageTextInfo{}!")
"""Chunks of metadata; with LV behind their name from version 3 on."""
LEVEL, BYTES, TEXT, PACKED = 11, 9, 8, 76
LENGTHS = {1: 1, 2: 4, 3: 4, 4: 8, 5: 8, 6: 8, 7: 8}
"""Bytes of a value of metadata by its type."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How the pixels of one frame lie.

    Attributes
    ----------
    rows, columns
        Pixels.
    row_bytes
        From one row to the next; may be more than the pixels need.
    components
        Values a pixel: channels, or the colours of a channel.
    dtype
        Element type as stored.
    compressed
        Whether each frame is packed as a whole.
    """

    rows: int
    columns: int
    row_bytes: int
    components: int
    dtype: np.dtype[np.generic]
    compressed: bool

    @property
    def piece(self) -> int:
        """Rows that are read together."""
        return self.rows if self.compressed else max(1, min(self.rows, RAW_PIECE // self.row_bytes))


class Nd2File:
    """An open ND2 file.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask.

    Raises
    ------
    FormatError
        If it is no ND2 file, broken, cut off, or carries metadata that cannot be meant.
    StoreError
        If the store does not answer as hoped.
    """

    def __init__(self, url: str, *, access: Access) -> None:
        self.url, self._access = url, access
        self.file, self.cache = RandomAccess(url, "ND2", access), Cache()
        signature = self.file.read(0, CHUNK.size + 32 + 64)
        name, version = signature[CHUNK.size :][:32], signature[CHUNK.size + 32 :][:6]
        if signature[:4] != MAGIC or name != SIGNATURE or not version[3:4].isdigit():
            raise self.file.broken("its first chunk is not that of an ND2 file")
        self.version = version[3:6].decode("latin-1")
        self.chunks = self._map()

    def _map(self) -> dict[bytes, int]:
        """Return where each chunk lies."""
        end = self.file.read(max(0, self.file.size - END.size), END.size)
        signature, position = END.unpack(end)
        if signature != MAP_END:
            raise self.file.broken("it is cut off: the map of its chunks at its end is missing")
        data = self.chunk(position, MAP, limit=MAP_LIMIT)
        found: dict[bytes, int] = {}
        at = 0
        while True:
            mark = data.find(b"!", at) + 1
            if not mark or mark + ENTRY.size > len(data):
                raise self.file.broken("the map of its chunks is damaged")
            name = data[at:mark]
            if name == MAP_END:
                return found
            found[name] = ENTRY.unpack_from(data, mark)[0]
            at = mark + ENTRY.size

    def _head(self, position: int, name: bytes) -> tuple[int, int]:
        """Return where the content of a chunk begins, and its length."""
        magic, reserved, length = CHUNK.unpack(self.file.read(position, CHUNK.size))
        start = position + CHUNK.size + reserved
        if magic != MAGIC or reserved < len(name) or start + length > self.file.size:
            raise self.file.broken(f"no chunk {name.decode('latin-1')} at byte {position}")
        if self.file.read(position + CHUNK.size, len(name)) != name:
            raise self.file.broken(f"another chunk than {name.decode('latin-1')} at {position}")
        return start, length

    def chunk(self, position: int, name: bytes, *, limit: int) -> bytes:
        """Return the content of a chunk.

        Raises
        ------
        FormatError
            If it is not there, or larger than allowed.
        """
        start, length = self._head(position, name)
        if length > limit:
            raise self.file.broken(f"its chunk {name.decode('latin-1')} has {length} bytes")
        return self.file.read(start, length)

    def metadata(self) -> io.BytesIO:
        """Return a small ND2 file with the checked chunks of metadata, without frames.

        Raises
        ------
        FormatError
            If one of them cannot be meant.
        """
        kept: dict[bytes, bytes] = {}
        for name in (n.format(v).encode() for n in NEEDED for v in ("LV", "")):
            if name in self.chunks:
                content = self.chunk(self.chunks[name], name, limit=METADATA_LIMIT)
                self._check(content, name)
                kept[name] = content
        out = io.BytesIO()
        out.write(CHUNK.pack(MAGIC, 32, 64) + SIGNATURE + f"Ver{self.version}".encode().ljust(64))
        entries = b""
        for name, content in kept.items():
            entries += name + ENTRY.pack(out.tell(), len(content))
            out.write(CHUNK.pack(MAGIC, len(name), len(content)) + name + content)
        position = out.tell()
        entries += MAP_END + ENTRY.pack(position, 0)
        out.write(CHUNK.pack(MAGIC, len(MAP), len(entries)) + MAP + entries)
        out.write(END.pack(MAP_END, position))
        return out

    def _check(self, content: bytes, name: bytes) -> None:
        if content.startswith(b"<"):
            for _ in elements(content, url=f"The metadata of {self.url}"):
                pass
            return
        try:
            _Walk(content).through(0, len(content))
        except (ValueError, struct.error, zlib.error, IndexError) as error:
            raise self.file.broken(f"its chunk {name.decode('latin-1')}: {error}") from None

    def frame(self, number: int, frame: Frame, rows: slice) -> Array:
        """Return whole rows of a frame, axes (y, x, component); zeros where it is missing.

        Raises
        ------
        FormatError
            If the frame is broken.
        """
        pieces = range(rows.start // frame.piece, -(-rows.stop // frame.piece))
        found = [
            self.cache.get((number, piece), partial(self._piece, number, frame, piece))
            for piece in pieces
        ]
        first = pieces.start * frame.piece
        joined = found[0] if len(found) == 1 else np.concatenate(found)
        return joined[rows.start - first : rows.stop - first]

    def _piece(self, number: int, frame: Frame, piece: int) -> Array:
        first = piece * frame.piece
        count = min(frame.piece, frame.rows - first)
        name = FRAME + str(number).encode() + b"!"
        position = self.chunks.get(name)
        if position is None:
            return np.zeros((count, frame.columns, frame.components), frame.dtype)
        start, length = self._head(position, name)
        size = frame.rows * frame.row_bytes
        if frame.compressed:
            data = self._unpacked(self.file.read(start, length)[STAMP:], size, number)
        elif STAMP + size > length:
            raise self.file.broken(f"frame {number} has {length} bytes where {size} are due")
        else:
            where = start + STAMP + first * frame.row_bytes
            data = self.file.read(where, count * frame.row_bytes)
        used = frame.columns * frame.components * frame.dtype.itemsize
        block = np.frombuffer(data, "u1").reshape(-1, frame.row_bytes)[:count, :used]
        values = np.ascontiguousarray(block).view(frame.dtype.newbyteorder("<"))
        values = values.astype(frame.dtype.newbyteorder("="), copy=False)
        return read_only(values.reshape(count, frame.columns, frame.components))

    def _unpacked(self, data: bytes, size: int, number: int) -> bytes:
        if size > SEGMENT_LIMIT:
            raise self.file.broken(f"a compressed frame of {size} bytes")
        try:
            unpacked = zlib.decompressobj().decompress(data, size)
        except zlib.error as error:
            raise self.file.broken(f"frame {number}: {error}") from None
        if len(unpacked) != size:
            raise self.file.broken(f"frame {number} unpacks to less than {size} bytes")
        return unpacked

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self._access)


@dataclass(slots=True)
class _Walk:
    """Steps through a record of metadata as its reader will, before that does.

    Attributes
    ----------
    data
        The record.
    room
        What is left to unpack, and to read of texts, whose reading takes the square of their
        length [bytes].
    """

    data: bytes
    room: int = METADATA_LIMIT

    def through(self, at: int, stop: int, depth: int = 0) -> None:
        """Step through a part.

        Raises
        ------
        ValueError
            If it unpacks to more than there is room for, nests too deeply, holds texts that would
            take for ever, or is no record.
        """
        if depth > DEPTH_LIMIT:
            raise _Absurd(f"it nests deeper than {DEPTH_LIMIT} levels")
        while at + 2 <= stop:
            start, kind = at, self.data[at]
            at += 2
            if kind == PACKED:
                self.unpacked(at + 10, stop, depth)
                return
            at += 2 * self.data[start + 1]
            if kind == LEVEL:
                count, length = struct.unpack_from("<IQ", self.data, at)
                if length < at + 12 - start or start + length > stop:
                    raise ValueError(f"a level of {length} bytes in {stop - start}")
                self.through(at + 12, start + length, depth + 1)
                at = start + length + 8 * count
            elif kind == BYTES:
                (length,) = struct.unpack_from("<Q", self.data, at)
                at += 8
                self.perhaps(at, min(stop, at + length), depth)
                at += length
            elif kind == TEXT:
                end = self.text_end(at, stop)
                self.spend((end - at) ** 2 >> 12, "it holds texts of such length")
                at = end
            elif kind in LENGTHS:
                at += LENGTHS[kind]
            else:
                raise ValueError(f"a value of unknown type {kind}")

    def spend(self, amount: int, why: str) -> None:
        """Take from the room that is left."""
        self.room -= amount
        if self.room < 0:
            raise _Absurd(f"{why} that reading it would not end")

    def unpacked(self, at: int, stop: int, depth: int) -> None:
        """Step through what is packed there."""
        inner = zlib.decompressobj().decompress(memoryview(self.data)[at:stop], self.room + 1)
        if len(inner) > self.room:
            raise _Absurd(f"it unpacks to more than {METADATA_LIMIT} bytes")
        within = _Walk(inner, self.room - len(inner))
        within.through(0, len(inner), depth + 1)
        self.room = within.room

    def perhaps(self, at: int, stop: int, depth: int) -> None:
        """Step through bytes that may be a record, or anything else."""
        if at >= stop or not (self.data[at] == PACKED or 1 <= self.data[at] <= LEVEL):
            return
        try:
            self.through(at, stop, depth + 1)
        except _Absurd:
            raise
        except (ValueError, struct.error, zlib.error, IndexError):
            return

    def text_end(self, at: int, stop: int) -> int:
        """Return where a text of two-byte letters ends, its final zero included."""
        end = at
        while True:
            end = self.data.find(b"\0\0", end, stop)
            if end < 0:
                return stop
            if (end - at) % 2 == 0:
                return end + 2
            end += 1


class _Absurd(ValueError):
    """Metadata that is not meant to be read."""
