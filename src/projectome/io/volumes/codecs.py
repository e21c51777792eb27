"""Decoding of chunks whose codecs tensorstore does not know: numcodecs' names and parameters.

Nothing is trusted: a codec never unpacks to more than the chunk can hold, and what holds less is
an error. Codecs that would change values without saying so are refused.

References
----------
numcodecs, https://numcodecs.readthedocs.io; Zarr version 3 codecs,
https://github.com/zarr-developers/zarr-extensions.
"""

from __future__ import annotations

import bz2
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import tensorstore as ts

from projectome.errors import FormatError

Decode: TypeAlias = Callable[[bytes], bytes]
Config: TypeAlias = Mapping[str, Any]
MEMORY = 2**29
"""Most memory that the dictionary of a codec may take [bytes]."""
SLACK = 2**20
"""What packing may add to a chunk [bytes]."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one codec takes and gives.

    Attributes
    ----------
    decode
        From what is stored to what was encoded.
    dtype
        Element type after encoding, where the codec keeps elements.
    size
        Bytes after encoding; None if that depends on the content.
    """

    decode: Decode
    dtype: np.dtype[np.generic]
    size: int | None


def chain(
    codecs: list[tuple[str, Config]], dtype: np.dtype[np.generic], count: int, *, where: str
) -> tuple[Decode, ...]:
    """Return what decodes a chunk, in the order of decoding.

    Parameters
    ----------
    codecs
        Name and configuration of each, in the order of encoding.
    dtype
        Element type of the chunk.
    count
        Its elements.
    where
        For messages.

    Raises
    ------
    FormatError
        If a codec is not known, or what it says cannot be.
    """
    size: int | None = count * dtype.itemsize
    steps: list[Decode] = []
    for name, config in codecs:
        try:
            layer = _layer(name.removeprefix("numcodecs."), config, dtype, size)
        except (TypeError, ValueError, KeyError, OverflowError, lzma.LZMAError) as error:
            raise FormatError(
                f"{where} has the codec {name!r} with the parameters {dict(config)!s:.200}, which "
                f"cannot be used ({error}). Save it with blosc, zstd or gzip."
            ) from None
        steps.append(layer.decode)
        dtype, size = layer.dtype, layer.size
    return tuple(reversed(steps))


def _layer(name: str, config: Config, dtype: np.dtype[np.generic], size: int | None) -> Layer:
    if name in COMPRESSORS:
        known = 2**31 if size is None else size
        unpack = COMPRESSORS[name](config)
        exact = size is not None
        limit = known if exact else known + SLACK
        return Layer(partial(_unpacked, unpack=unpack, limit=limit, exact=exact), dtype, None)
    if name in CHECKSUMS:
        first = config.get("location", "end" if name in ("crc32c", "fletcher32") else "start")
        if first not in ("start", "end"):
            raise FormatError(f"a checksum stands at the start or the end, not {first!r}")
        decode = partial(_checked, name=name, at_end=first == "end")
        return Layer(decode, dtype, None if size is None else size + 4)
    if name == "bitround":  # rounds when it encodes
        return Layer(_same, dtype, size)
    if name == "shuffle":
        element = int(config.get("elementsize", 4))
        if not 1 <= element <= 2**16:
            raise FormatError(f"elements of {element} bytes")
        return Layer(partial(_unshuffled, element=element), dtype, size)
    if name in FILTERS and size is not None:
        return _filter(name, config, size)
    raise FormatError("it is not known")


def unpacked(name: str, data: bytes, *, limit: int) -> bytes:
    """Return what a compressor packed.

    Parameters
    ----------
    name
        Of the compressor.
    data
        What it made.
    limit
        Largest result [bytes].

    Raises
    ------
    FormatError
        If it is broken, or unpacks to more.
    """
    return _unpacked(data, unpack=COMPRESSORS[name]({}), limit=limit, exact=False)


def _filter(name: str, config: Config, size: int) -> Layer:
    """Return the layer of a codec that keeps elements and may change their type."""
    inner, outer = ("decode_dtype", "encode_dtype") if name == "astype" else ("dtype", "astype")
    plain = np.dtype("bool") if name == "packbits" else _number(config[inner])
    count = size // plain.itemsize
    if name == "packbits":
        return Layer(partial(_unpacked_bits, count=count), np.dtype("uint8"), 1 + -(-count // 8))
    stored = _number(config.get(outer) or config[inner])
    if name == "delta":
        decode = partial(_summed, plain=plain, stored=stored)
    elif name == "fixedscaleoffset":
        scale, offset = float(config["scale"]), float(config["offset"])
        if not (math.isfinite(scale) and math.isfinite(offset) and scale):
            raise FormatError("scale and offset are finite, and scale is not 0")
        whole = (1 / scale).is_integer() and offset.is_integer()
        if plain.kind != "f" and not whole:
            raise FormatError(
                f"integers divided by {scale:g} and moved by {offset:g} would be cut to integers"
            )
        decode = partial(_scaled, plain=plain, stored=stored, scale=scale, offset=offset)
    else:
        decode = partial(_cast, plain=plain, stored=stored)
    return Layer(decode, stored, count * stored.itemsize)


def _number(name: Any) -> np.dtype[np.generic]:
    dtype = np.dtype(str(name))
    if dtype.kind not in "iufb" or dtype.itemsize > 8:
        raise FormatError(f"{name!r} is no type of a number")
    return dtype


def _unpacked(
    data: bytes, *, unpack: Callable[[bytes, int], bytes], limit: int, exact: bool
) -> bytes:
    try:
        found = bytes(unpack(data, limit))
    except FormatError:
        raise
    # The libraries have errors of their own, some of them plain RuntimeErrors.
    except (ValueError, RuntimeError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise FormatError(f"it cannot be unpacked ({error})") from None
    if len(found) > limit or (exact and len(found) < limit):
        raise FormatError(
            f"it unpacks to {'more' if len(found) > limit else len(found)} bytes instead of {limit}"
        )
    return found


def _stream(make: Callable[[], Any], data: bytes, limit: int) -> bytes:
    """Unpack with a decompressor of the standard library, one byte more than wanted at most."""
    unpack = make()
    found: bytes = unpack.decompress(data, limit + 1)
    if len(found) <= limit and not unpack.eof:
        raise FormatError("it ends too early")
    return found


def _zlib(config: Config) -> Callable[[bytes, int], bytes]:
    return partial(_stream, partial(zlib.decompressobj, wbits=15))


def _gzip(config: Config) -> Callable[[bytes, int], bytes]:
    return partial(_stream, partial(zlib.decompressobj, wbits=31))


def _bz2(config: Config) -> Callable[[bytes, int], bytes]:
    return partial(_stream, bz2.BZ2Decompressor)


def _lzma(config: Config) -> Callable[[bytes, int], bytes]:
    form, filters = int(config.get("format", lzma.FORMAT_XZ)), config.get("filters")
    if form == lzma.FORMAT_RAW:
        if any(int(f.get("dict_size", 0)) > MEMORY for f in filters or ()):
            raise FormatError("its dictionary is too large")
        make = partial(lzma.LZMADecompressor, format=form, filters=filters)
        make()
        return partial(_stream, make)
    return partial(_stream, partial(lzma.LZMADecompressor, format=form, memlimit=MEMORY))


def _lz4(config: Config) -> Callable[[bytes, int], bytes]:
    return _lz4_sized


def _lz4_sized(data: bytes, limit: int) -> bytes:
    """Unpack a block of LZ4 after its size."""
    (size,) = struct.unpack_from("<I", data) if len(data) >= 4 else (0,)
    if size > limit:
        return b"\0" * (limit + 1)
    return bytes(imagecodecs.lz4_decode(data[4:], out=size)) if size else b""


def _zstd(config: Config) -> Callable[[bytes, int], bytes]:
    return _zstd_bounded


def _zstd_bounded(data: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.zstd_decode(data, out=bytearray(limit)))


def _brotli(config: Config) -> Callable[[bytes, int], bytes]:
    return _brotli_bounded


def _brotli_bounded(data: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.brotli_decode(data, out=bytearray(limit)))


def _blosc(config: Config) -> Callable[[bytes, int], bytes]:
    return _blosc_sized


def _blosc_sized(data: bytes, limit: int) -> bytes:
    size, _, packed = struct.unpack_from("<III", data, 4) if len(data) >= 16 else (0, 0, 1)
    if packed != len(data):  # the library would read on behind the end
        raise FormatError(f"it has {len(data)} bytes instead of {packed}")
    if size > limit:
        return b"\0" * (limit + 1)
    return bytes(imagecodecs.blosc_decode(data))


COMPRESSORS: dict[str, Callable[[Config], Callable[[bytes, int], bytes]]] = {
    "zlib": _zlib,
    "gzip": _gzip,
    "bz2": _bz2,
    "lzma": _lzma,
    "lz4": _lz4,
    "zstd": _zstd,
    "brotli": _brotli,
    "blosc": _blosc,
}
CHECKSUMS = ("crc32", "crc32c", "adler32", "fletcher32")
FILTERS = ("delta", "fixedscaleoffset", "quantize", "astype", "packbits")


def _checked(data: bytes, *, name: str, at_end: bool) -> bytes:
    if len(data) < 4:
        raise FormatError("it is too short for a checksum")
    stated, rest = (data[-4:], data[:-4]) if at_end else (data[:4], data[4:])
    if name == "crc32c":
        return crc32c(rest, stated)
    if name == "fletcher32":
        found = int(imagecodecs.h5checksum_fletcher32(rest))
    else:
        found = zlib.crc32(rest) if name == "crc32" else zlib.adler32(rest)
    if struct.pack("<I", found) != stated:
        raise FormatError(f"its checksum ({name}) is wrong")
    return rest


def crc32c(data: bytes, stated: bytes) -> bytes:
    """Return data with the right checksum (CRC-32C, little endian).

    Raises
    ------
    FormatError
        If it has another.
    """
    # Tensorstore knows how to tell.
    context = ts.Context()
    metadata = {
        "shape": [len(data)],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, len(data))]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}, {"name": "crc32c"}],
    }
    folder = ts.KvStore.open("memory://", context=context).result()
    folder.write("c/0", data + stated).result()
    spec = {"driver": "zarr3", "kvstore": "memory://", "metadata": metadata}
    store = ts.open(spec, open=True, assume_metadata=True, context=context).result()
    try:
        store.read().result()
    except ValueError:
        raise FormatError("its checksum (crc32c) is wrong") from None
    return data


def _same(data: bytes) -> bytes:
    return data


def _unshuffled(data: bytes, *, element: int) -> bytes:
    count = len(data) // element
    found = np.frombuffer(data, np.uint8, count * element).reshape(element, count)
    return found.T.tobytes() + data[count * element :]


def _elements(data: bytes, stored: np.dtype[np.generic]) -> np.ndarray[Any, Any]:
    if len(data) % stored.itemsize:
        raise FormatError(f"its {len(data)} bytes are no whole elements of {stored}")
    return np.frombuffer(data, stored)


def _summed(data: bytes, *, plain: np.dtype[np.generic], stored: np.dtype[np.generic]) -> bytes:
    whole = np.cumsum(_elements(data, stored), dtype=plain.newbyteorder("="))
    return whole.astype(plain).tobytes()


def _scaled(
    data: bytes,
    *,
    plain: np.dtype[np.generic],
    stored: np.dtype[np.generic],
    scale: float,
    offset: float,
) -> bytes:
    found = _elements(data, stored) / scale + offset
    if plain.kind != "f":
        limits = np.iinfo(plain.name)
        if ((found < limits.min) | (found > limits.max)).any():
            raise FormatError(f"its values do not fit into {plain}")
    return found.astype(plain).tobytes()


def _cast(data: bytes, *, plain: np.dtype[np.generic], stored: np.dtype[np.generic]) -> bytes:
    found = _elements(data, stored)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = found.astype(plain)
        same = (cast == found) | ((cast != cast) & (found != found))  # NaN is NaN
    if not same.all():
        raise FormatError(f"its elements of type {stored} do not fit into {plain}")
    return cast.tobytes()


def _unpacked_bits(data: bytes, *, count: int) -> bytes:
    padding = data[0] if data else 0
    bits = np.unpackbits(np.frombuffer(data[1:], np.uint8))
    found = bits[: len(bits) - padding] if padding < 8 else bits[:0]
    if len(found) != count:
        raise FormatError(f"it holds {len(found)} bits instead of {count}")
    return found.tobytes()


def lz4_blocks(data: bytes, limit: int) -> bytes:
    """Unpack the LZ4 of Java's ``LZ4BlockOutputStream``, as N5 uses it.

    References
    ----------
    https://github.com/lz4/lz4-java, LZ4BlockOutputStream: magic, token, size packed, size unpacked
    and checksum of each block, little endian; a block of size 0 ends the stream.
    """
    parts: list[bytes] = []
    at, room, ended = 0, limit, False
    while at < len(data) and not ended:
        if data[at : at + 8] != b"LZ4Block" or len(data) < at + 21:
            raise FormatError("it is no LZ4 of N5")
        token, packed, size, _ = struct.unpack_from("<BIII", data, at + 8)
        at += 21
        block = data[at : at + packed]
        if len(block) < packed:
            raise FormatError("it ends too early")
        room -= size
        if room < 0:
            return b"\0" * (limit + 1)
        if size and token & 0xF0 == 0x10:
            parts.append(block)
        elif size:
            parts.append(bytes(imagecodecs.lz4_decode(block, out=size)))
        if size and len(parts[-1]) != size:
            raise FormatError(f"a part unpacks to {len(parts[-1])} bytes instead of {size}")
        at, ended = at + packed, size == 0
    return b"".join(parts)
