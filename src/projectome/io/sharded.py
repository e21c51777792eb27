"""The sharded key-value format of neuroglancer: many small values in few large files.

A key of 64 bits is hashed; some bits of the hash name the shard (a file), some the minishard in it.
A shard begins with an index of its minishards, each of which has an index of its keys.

References
----------
Neuroglancer, "Precomputed sharded format" (``neuroglancer_uint64_sharded_v1``).
Appleby A., MurmurHash3 (public domain): x86, 128 bits.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from projectome.errors import FormatError, NotFoundError, StoreError
from projectome.io.access import Access
from projectome.io.packed import gunzip
from projectome.io.stores import join, list_folder, read_part, write_bytes

TYPE = "neuroglancer_uint64_sharded_v1"
INDEX_LIMIT = 2**26
"""Largest index of a shard or a minishard that is read [bytes]."""
VALUE_LIMIT = 2**30
"""Largest value, unpacked [bytes]."""
GUESS_LIMIT = 4096
"""So many shards are asked for one by one where a store cannot list them."""
WHOLE = 2**26
"""So much of a shard is fetched at once where all of it is asked for [bytes]."""
ROWS = 3  # of a minishard index: keys, starts, sizes


@dataclass(frozen=True, slots=True)
class Sharding:
    """How keys are spread over files; field names as in the specification."""

    preshift_bits: int = 0
    hash: Literal["identity", "murmurhash3_x86_128"] = "murmurhash3_x86_128"
    minishard_bits: int = 0
    shard_bits: int = 0
    minishard_index_encoding: Literal["raw", "gzip"] = "gzip"
    data_encoding: Literal["raw", "gzip"] = "gzip"

    @classmethod
    def parse(cls, document: object, *, url: str) -> Self:
        """Return the sharding that a metadata document describes.

        Raises
        ------
        FormatError
            If it says something else than the specification allows.
        """
        found: Mapping[str, Any] = document if isinstance(document, dict) else {}
        bits = [found.get(f"{name}_bits") for name in ("preshift", "minishard", "shard")]
        encodings = [found.get(n, "raw") for n in ("minishard_index_encoding", "data_encoding")]
        sound = (
            found.get("@type") == TYPE
            and all(type(b) is int and 0 <= b <= 64 for b in bits)
            and found.get("hash") in ("identity", "murmurhash3_x86_128")
            and all(e in ("raw", "gzip") for e in encodings)
        )
        if not sound or bits[1] + bits[2] > 64:  # type: ignore[operator]
            raise FormatError(
                f"{url}: 'sharding' is not as {TYPE} demands: {str(document)[:300]}. Correct it."
            )
        made = cls(bits[0], found["hash"], bits[1], bits[2], *encodings)  # type: ignore[arg-type]
        if made.index_bytes > INDEX_LIMIT:
            raise FormatError(
                f"{url}: a shard of 2**{made.minishard_bits} minishards is more than can be read."
            )
        return made

    @classmethod
    def for_values(cls, count: int, nbytes: int) -> Self:
        """Return a sharding with files of about 64 MB and about 64 keys a minishard."""
        shard_bits = max(0, (nbytes // 2**26).bit_length())
        minishard_bits = max(0, min(16, (count >> shard_bits) // 64)).bit_length()
        return cls(minishard_bits=minishard_bits, shard_bits=shard_bits)

    def document(self) -> dict[str, object]:
        """Return the metadata that describes this sharding."""
        return {"@type": TYPE, **asdict(self)}

    @property
    def index_bytes(self) -> int:
        """Size of the index at the start of a shard [bytes]."""
        return 16 << self.minishard_bits

    def place(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the shard and the minishard of each key."""
        # A shift by all 64 bits is not defined in numpy.
        shifted = (
            np.zeros_like(keys)
            if self.preshift_bits == 64
            else keys >> np.uint64(self.preshift_bits)
        )
        hashed = shifted if self.hash == "identity" else murmur3(shifted)
        minishard = hashed & _ones(self.minishard_bits)
        rest = np.zeros_like(hashed)
        if self.minishard_bits < 64:
            rest = hashed >> np.uint64(self.minishard_bits)
        return rest & _ones(self.shard_bits), minishard

    def file_name(self, shard: int) -> str:
        """Return the name of the file of a shard."""
        return f"{shard:0{-(-self.shard_bits // 4)}x}.shard"


def _ones(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def murmur3(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the low 64 bits of MurmurHash3_x86_128 of each key as 8 bytes, little endian.

    Parameters
    ----------
    keys
        Shape (N,).

    Returns
    -------
    numpy.ndarray of uint64
        Shape (N,); the seed is 0.
    """
    c1, c2, c3 = np.uint32(0x239B961B), np.uint32(0xAB0E9789), np.uint32(0x38B34AE5)
    keys = np.asarray(keys, dtype=np.uint64)
    low = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    high = (keys >> np.uint64(32)).astype(np.uint32)
    # Eight bytes are a tail only: no block of 16 is mixed in.
    h2 = _rotated(high * c2, 16) * c3
    h1 = _rotated(low * c1, 15) * c2
    length = np.uint32(8)
    h = [h1 ^ length, h2 ^ length, np.full_like(low, length), np.full_like(low, length)]
    mixed = _added([_final(value) for value in _added(h)])
    return mixed[0].astype(np.uint64) | (mixed[1].astype(np.uint64) << np.uint64(32))


def _rotated(value: NDArray[np.uint32], by: int) -> NDArray[np.uint32]:
    return (value << np.uint32(by)) | (value >> np.uint32(32 - by))


def _added(h: list[NDArray[np.uint32]]) -> list[NDArray[np.uint32]]:
    first = h[0] + h[1] + h[2] + h[3]
    return [first, *(value + first for value in h[1:])]


def _final(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    value = (value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    value = (value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return value ^ (value >> np.uint32(16))


class ShardedReader:
    """Reads the values below one folder.

    Parameters
    ----------
    url
        The folder with the shards.
    sharding
        How keys are spread.
    access
        How to ask the store; by the settings if None.
    """

    def __init__(self, url: str, sharding: Sharding, *, access: Access | None = None) -> None:
        self.url, self.sharding, self.access = url, sharding, access

    def items(self, keys: Iterable[int] | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield keys and values, shard by shard; those not there are left out.

        Parameters
        ----------
        keys
            Which; all that there are if None.

        Raises
        ------
        FormatError
            If a shard is not as the specification demands.
        StoreError
            If all are asked for, the store cannot list its files and there may be many.
        """
        if keys is None:
            for shard in self.shards():
                yield from self._shard(shard, None)
            return
        asked = np.unique(np.array(list(keys), dtype=np.uint64))
        shards, minishards = self.sharding.place(asked)
        for shard in np.unique(shards).tolist():
            inside = shards == shard
            wanted: dict[int, set[int]] = {}
            for minishard, key in zip(
                minishards[inside].tolist(), asked[inside].tolist(), strict=True
            ):
                wanted.setdefault(minishard, set()).add(key)
            yield from self._shard(shard, wanted)

    def shards(self) -> list[int]:
        """Return the numbers of the shards that there are, or may be where none can be listed."""
        digits = max(1, -(-self.sharding.shard_bits // 4))
        pattern = re.compile(rf"([0-9a-f]{{{digits}}})\.shard")
        try:
            names = [entry.name for entry in list_folder(self.url, access=self.access)]
        except StoreError:
            if self.sharding.shard_bits > GUESS_LIMIT.bit_length() - 1:
                raise
            return list(range(1 << self.sharding.shard_bits))
        found = [int(m[1], 16) for name in names if (m := pattern.fullmatch(name))]
        return sorted(n for n in found if n < 1 << self.sharding.shard_bits)

    def _shard(
        self, shard: int, wanted: Mapping[int, set[int]] | None
    ) -> Iterator[tuple[int, bytes]]:
        url = join(self.url, self.sharding.file_name(shard))
        start = self.sharding.index_bytes
        try:
            # With luck the first request brings all.
            head, size = read_part(url, 0, start if wanted else WHOLE, access=self.access)
        except NotFoundError:
            return
        if len(head) < start:
            raise FormatError(f"{url} is too short for the index of a shard. Fetch it again.")
        file = _Shard(url, size, head, self.access, start)
        index = np.frombuffer(head, dtype="<u8", count=start // 8).reshape(-1, 2)
        for minishard in range(len(index)) if wanted is None else sorted(wanted):
            first, last = index[minishard].tolist()
            if last == first:
                continue
            keys = self._minishard(file, first, last)
            for key, (place, length) in keys.items():
                if wanted is None or key in wanted[minishard]:
                    yield key, self._value(file, place, length)

    def _minishard(self, file: _Shard, first: int, last: int) -> dict[int, tuple[int, int]]:
        """Return place and size of each key of a minishard."""
        length = last - first
        if not 0 < length <= INDEX_LIMIT or file.base + last > file.size:
            raise FormatError(f"{file.url}: the index of a minishard lies outside of the file.")
        data = file.part(first, length)
        if self.sharding.minishard_index_encoding == "gzip":
            data = gunzip(data, url=file.url, limit=INDEX_LIMIT)
        if len(data) % (8 * ROWS):
            raise FormatError(
                f"{file.url}: the index of a minishard has {len(data)} bytes, not 24 each."
            )
        keys, starts, sizes = np.frombuffer(data, dtype="<u8").reshape(ROWS, -1)
        # Sums wrap around on purpose; what they lead to is checked.
        ids = np.cumsum(keys, dtype=np.uint64)
        ends = np.cumsum(starts + sizes, dtype=np.uint64)
        begins = ends - sizes
        room = np.uint64(max(0, file.size - file.base))
        if not ((sizes <= room) & (begins <= room) & (ends <= room)).all():
            raise FormatError(f"{file.url}: a value lies outside of the file. Fetch it again.")
        places = zip(begins.tolist(), sizes.tolist(), strict=True)
        return dict(zip(ids.tolist(), places, strict=True))

    def _value(self, file: _Shard, place: int, length: int) -> bytes:
        if length > VALUE_LIMIT:
            raise FormatError(f"{file.url}: a value of {length} bytes is more than is read.")
        data = file.part(place, length)
        if self.sharding.data_encoding == "gzip":
            return gunzip(data, url=file.url, limit=VALUE_LIMIT)
        return data


@dataclass(frozen=True, slots=True)
class _Shard:
    """One file: its address, size, first bytes, and where its values begin."""

    url: str
    size: int
    head: bytes
    access: Access | None
    base: int

    def part(self, start: int, length: int) -> bytes:
        """Return bytes counted from the end of the index."""
        first = self.base + start
        if first + length <= len(self.head):
            return self.head[first : first + length]
        data, _ = read_part(self.url, first, length, access=self.access)
        if len(data) < length:
            raise FormatError(f"{self.url} ends inside a value. Fetch it again.")
        return data


def write_sharded(
    values: Mapping[int, bytes], url: str, sharding: Sharding, *, access: Access | None = None
) -> None:
    """Write values as shards below a folder; the same values give the same bytes.

    Parameters
    ----------
    values
        By their keys, 0 to 2**64 - 1.
    url
        The folder.
    sharding
        How to spread them.
    access
        How to ask the store; by the settings if None.
    """
    keys = np.sort(np.array(list(values), dtype=np.uint64))
    shards, minishards = sharding.place(keys)
    for shard in np.unique(shards).tolist():
        inside = shards == shard
        data = _encoded_shard(values, keys[inside], minishards[inside], sharding)
        write_bytes(join(url, sharding.file_name(shard)), data, access=access)


def _encoded_shard(
    values: Mapping[int, bytes],
    keys: NDArray[np.uint64],
    minishards: NDArray[np.uint64],
    sharding: Sharding,
) -> bytes:
    body: list[bytes] = []
    index = np.zeros((1 << sharding.minishard_bits, 2), dtype="<u8")
    at = 0
    for minishard in np.unique(minishards).tolist():
        own = keys[minishards == minishard]
        packed = [_packed(values[key], sharding.data_encoding) for key in own.tolist()]
        table = np.zeros((ROWS, len(own)), dtype="<u8")
        table[0] = np.diff(own, prepend=np.uint64(0))
        table[1, 0] = at
        table[2] = [len(value) for value in packed]
        end = at + int(table[2].sum())
        entry = _packed(table.tobytes(), sharding.minishard_index_encoding)
        index[minishard] = end, end + len(entry)
        body += [*packed, entry]
        at = end + len(entry)
    return b"".join([index.tobytes(), *body])


def _packed(data: bytes, encoding: str) -> bytes:
    return gzip.compress(data, mtime=0) if encoding == "gzip" else data
