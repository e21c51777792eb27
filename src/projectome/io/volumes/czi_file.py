"""CZI files (ZISRAW): segments, the directory of tiles, and the pixels of one tile.

Every size and offset is checked against the file before anything is allocated. Tiles are decoded
with imagecodecs: uncompressed, JPEG XR, and both kinds of zstd.

References
----------
ZEISS CZI (ZISRAW) Image File Format; libCZI, https://github.com/ZEISS/libczi, for what is decoded.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import imagecodecs
import numpy as np

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.errors import FormatError
from projectome.io.access import Access
from projectome.io.volumes.planes import RandomAccess
from projectome.io.volumes.tiff_pages import BROKEN, SEGMENT_LIMIT, Cache, samples

MAGIC = b"ZISRAWFILE"
HEADER = struct.Struct("<16sqq")
FILE = struct.Struct("<ii8x32xiqqi")
ENTRY = struct.Struct("<2siqiiB5xi")
DIMENSION = struct.Struct("<4siifi")
DIRECTORY, SUBBLOCK, METADATA = b"ZISRAWDIRECTORY", b"ZISRAWSUBBLOCK", b"ZISRAWMETADATA"
DIRECTORY_LIMIT, XML_LIMIT = 2**29, 2**26
"""Largest directory and largest XML that are read [bytes]."""
DIMENSIONS_LIMIT = 40
PIXELS = {
    0: ("u1", 1),
    1: ("u2", 1),
    2: ("f4", 1),
    3: ("u1", 3),
    4: ("u2", 3),
    8: ("f4", 3),
}
"""Element type and samples (blue, green, red) of a pixel, by its number."""
RAW, JPEG_XR, ZSTD, ZSTD_HEADER = 0, 4, 5, 6
COMPRESSIONS = {1: "JPEG", 2: "LZW"}
"""Names of what is not decoded; numbers from 100 on belong to cameras."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One rectangle of pixels.

    Attributes
    ----------
    position
        Of its segment in the file [bytes].
    pixel, compression
        Numbers of the format.
    place
        Index along each further axis by its letter, in lower case.
    start, size
        The rectangle (y, x) in pixels of the finest level.
    stored
        Rows and columns that are stored; fewer than `size` in a coarser level.
    order
        Later ones lie over earlier ones where they overlap.
    """

    position: int
    pixel: int
    compression: int
    place: Mapping[str, int]
    start: tuple[int, int]
    size: tuple[int, int]
    stored: tuple[int, int]
    order: int

    @property
    def zoom(self) -> float:
        """Pixels of the finest level in one stored pixel, along the less rounded side."""
        return max(s / n for s, n in zip(self.size, self.stored, strict=True))


class CziFile:
    """An open CZI file.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask.

    Raises
    ------
    FormatError
        If it is no CZI file, broken, cut off, or one part of several.
    StoreError
        If the store does not answer as hoped.
    """

    def __init__(self, url: str, *, access: Access) -> None:
        self.url, self._access = url, access
        self.file = RandomAccess(url, "CZI", access)
        self.cache = Cache()
        _, data = self._segment(0, MAGIC, FILE.size)
        major, minor, part, directory, metadata, pending = FILE.unpack(data)
        self.version = f"{major}.{minor}"
        if part != 0:
            raise self.file.broken(f"it is part {part} of a file in several parts")
        if directory <= 0:
            state = "; its writing was not finished" if pending else ""
            raise self.file.broken(f"it has no directory of its tiles{state}")
        self.tiles = list(self._directory(directory))
        if not self.tiles:
            raise self.file.broken("it holds no image")
        self.xml = self._xml(metadata) if metadata > 0 else b""

    def _segment(self, position: int, name: bytes, least: int) -> tuple[int, bytes]:
        """Return the length of the content of a segment, and the first `least` bytes of it."""
        head = self.file.read(position, HEADER.size)
        found, allocated, used = HEADER.unpack(head)
        length = used or allocated
        if found.rstrip(b"\0") != name:
            raise self.file.broken(f"no segment {name.decode()} at byte {position}")
        if length < least or position + HEADER.size + length > self.file.size:
            raise self.file.broken(
                f"it is cut off, or damaged: a segment of {length} bytes at byte {position}"
            )
        return length, self.file.read(position + HEADER.size, least)

    def _directory(self, position: int) -> Iterator[Tile]:
        length, _ = self._segment(position, DIRECTORY, 128)
        if length > DIRECTORY_LIMIT:
            raise self.file.broken(f"its directory has {length} bytes")
        data = self.file.read(position + HEADER.size, length)
        count = int.from_bytes(data[:4], "little", signed=True)
        at = 128
        for _ in range(count):
            if at + ENTRY.size > len(data):
                raise self.file.broken(f"its directory ends before its {count} entries")
            tile, at = self._entry(data, at)
            yield tile

    def _entry(self, data: bytes, at: int) -> tuple[Tile, int]:
        schema, pixel, position, part, compression, _, count = ENTRY.unpack_from(data, at)
        end = at + ENTRY.size + count * DIMENSION.size
        if schema != b"DV" or not 0 <= count <= DIMENSIONS_LIMIT or end > len(data) or part:
            raise self.file.broken(f"no entry of a directory: {data[at : at + 8]!r}")
        place: dict[str, int] = {}
        rectangle: dict[str, tuple[int, int, int]] = {}
        for raw, start, size, _, stored in DIMENSION.iter_unpack(data[at + ENTRY.size : end]):
            letter = raw.rstrip(b"\0").decode("latin-1").lower()
            if letter in ("x", "y"):
                rectangle[letter] = start, size, stored or size
            else:
                place[letter] = start
                if size > 1 and letter != "m":
                    raise self.file.broken(f"a tile with {size} places along {letter!r}")
        if rectangle.keys() != {"x", "y"}:
            raise self.file.broken(f"a tile with the axes {sorted({*rectangle, *place})}")
        (y, height, rows), (x, width, columns) = rectangle["y"], rectangle["x"]
        if not (0 < rows <= height and 0 < columns <= width):
            raise self.file.broken(f"a tile of {height} x {width}, stored as {rows} x {columns}")
        if not 0 < position <= self.file.size - HEADER.size:
            raise self.file.broken(
                f"it is cut off, or damaged: a tile at byte {position} of {self.file.size}"
            )
        order = place.pop("m", 0)
        made = Tile(
            position, pixel, compression, place, (y, x), (height, width), (rows, columns), order
        )
        return made, end

    def _xml(self, position: int) -> bytes:
        length, head = self._segment(position, METADATA, 8)
        size = int.from_bytes(head[:4], "little")
        if size > XML_LIMIT or 256 + size > length:
            raise self.file.broken(f"its metadata claims {size} bytes of XML in {length}")
        return self.file.read(position + HEADER.size + 256, size).rstrip(b"\0")

    def pixels(self, tile: Tile) -> Array:
        """Return the pixels of a tile, axes (y, x, sample); samples are red, green and blue.

        Raises
        ------
        FormatError
            If it is broken, or compressed in a way that is not read.
        """
        return self.cache.get((self.url, tile.position), lambda: self._decode(tile))

    def _decode(self, tile: Tile) -> Array:
        where = f"the tile at byte {tile.position}"
        letters, count = PIXELS[tile.pixel]
        dtype = np.dtype("<" + letters)
        shape = (*tile.stored, count)
        size = math.prod(shape) * dtype.itemsize
        if size > SEGMENT_LIMIT:
            raise self.file.broken(f"{where} has {size} bytes")
        data = self._payload(tile, where)
        try:
            if tile.compression == JPEG_XR:
                pixels = _jpeg_xr(data, shape, dtype)
            else:
                pixels = np.frombuffer(_unpacked(data, tile.compression, size), dtype)
                pixels = pixels.reshape(shape)[..., ::-1]
        except BROKEN as error:
            raise self.file.broken(f"{where}: {error or type(error).__name__}") from None
        native = pixels.astype(dtype.newbyteorder("="), copy=False)
        return read_only(np.ascontiguousarray(native))

    def _payload(self, tile: Tile, where: str) -> bytes:
        length, head = self._segment(tile.position, SUBBLOCK, 16 + ENTRY.size)
        metadata, attachment, size = struct.unpack_from("<iiq", head)
        count = ENTRY.unpack_from(head, 16)[-1]
        offset = max(256, 16 + ENTRY.size + count * DIMENSION.size) + metadata
        bad = not 0 <= count <= DIMENSIONS_LIMIT or min(metadata, attachment, size) < 0
        if bad or offset + size > length:
            raise self.file.broken(f"{where} does not fit its segment")
        return self.file.read(tile.position + HEADER.size + offset, size)

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self._access)


def check_compression(tile: Tile, *, url: str) -> None:
    """Refuse what is not decoded.

    Raises
    ------
    FormatError
        With the name of the compression or the number of the pixel type.
    """
    if tile.pixel not in PIXELS:
        raise FormatError(
            f"{url} holds pixels of type {tile.pixel}; read are 8 and 16 bit and float, gray and "
            "colour. Save it again as OME-TIFF with ZEN."
        )
    if tile.compression not in (RAW, JPEG_XR, ZSTD, ZSTD_HEADER):
        name = COMPRESSIONS.get(tile.compression, f"number {tile.compression}, a camera's own")
        raise FormatError(
            f"{url} is compressed with {name}, which is not read; read are uncompressed, zstd and "
            "JPEG XR. Save it so, or export it as OME-TIFF, with ZEN."
        )


def _unpacked(data: bytes, compression: int, size: int) -> bytes:
    """Return exactly so many bytes of pixels."""
    interleaved = False
    if compression == ZSTD_HEADER:
        header = data[0] if data else 0
        if header not in (1, 3) or (header == 3 and data[1] != 1):
            raise ValueError(f"a zstd header of {header} bytes")
        interleaved = header == 3 and bool(data[2] & 1)
        data = data[header:]
    if compression != RAW:
        out = bytearray(size)
        data = bytes(imagecodecs.zstd_decode(data, out=out))
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes of pixels where {size} are declared")
    if interleaved:  # all low bytes, then all high bytes
        data = np.frombuffer(data, "u1", size).reshape(2, size // 2).T.tobytes()
    return data[:size]


def _jpeg_xr(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[np.generic]) -> Array:
    """Return what JPEG XR packed, after a look at the size it declares."""
    if data[:3] != b"II\xbc" or len(data) < 16:
        raise ValueError("no JPEG XR")
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    table = data[at + 2 : at + 2 + 12 * count]
    tags = {tag: value for tag, _, _, value in struct.iter_unpack("<HHII", table)}
    if (tags.get(0xBC81), tags.get(0xBC80)) != shape[:2]:
        raise ValueError("JPEG XR of another size than its tile")
    pixels = np.asarray(imagecodecs.jpegxr_decode(data))
    if pixels.dtype != dtype.newbyteorder("=") or pixels.size != math.prod(shape):
        raise ValueError(f"JPEG XR of {pixels.shape} {pixels.dtype} where {shape} {dtype} is due")
    return pixels.reshape(shape)
