"""The sharded format against tensorstore's own reader and writer of it."""

import gzip

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError, ProjectomeError, StoreError
from projectome.io.sharded import ShardedReader, Sharding, murmur3, write_sharded
from projectome.io.stores import read_bytes, write_bytes

KEYS = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))
VALUES = st.dictionaries(KEYS, st.binary(max_size=40), max_size=30)
ENCODINGS = st.sampled_from(["raw", "gzip"])


@st.composite
def shardings(draw):
    """Any sharding with files that are not absurdly many."""
    return Sharding(
        draw(st.integers(0, 64)),
        draw(st.sampled_from(["identity", "murmurhash3_x86_128"])),
        draw(st.integers(0, 5)),
        draw(st.integers(0, 9)),
        draw(ENCODINGS),
        draw(ENCODINGS),
    )


def store(folder, sharding):
    """The same folder as tensorstore sees it."""
    spec = {
        "driver": "neuroglancer_uint64_sharded",
        "base": f"file://{folder}/",
        "metadata": sharding.document(),
    }
    return ts.KvStore.open(spec).result()


@given(values=VALUES, sharding=shardings())
def test_what_we_write_tensorstore_reads(tmp_path_factory, values, sharding):
    folder = tmp_path_factory.mktemp("shards")
    write_sharded(values, str(folder), sharding)
    there = store(folder, sharding)
    found = {int.from_bytes(key, "big"): bytes(there[key]) for key in there.list().result()}
    assert found == values
    assert dict(ShardedReader(str(folder), sharding).items()) == values


@given(values=VALUES, sharding=shardings(), other=KEYS)
def test_what_tensorstore_writes_we_read(tmp_path_factory, values, sharding, other):
    folder = tmp_path_factory.mktemp("shards")
    there = store(folder, sharding)
    with ts.Transaction() as transaction:
        for key, value in values.items():
            there.with_transaction(transaction).write(key.to_bytes(8, "big"), value).result()
    reader = ShardedReader(str(folder), sharding)
    assert dict(reader.items()) == values
    asked = [*list(values)[::2], other]
    assert dict(reader.items(asked)) == {key: values[key] for key in asked if key in values}


def by_hand(key):
    """MurmurHash3_x86_128 of a key of eight bytes, in Python's own whole numbers."""
    mask = 0xFFFFFFFF

    def rotated(value, by):
        return ((value << by) | (value >> (32 - by))) & mask

    def final(value):
        value = ((value ^ (value >> 16)) * 0x85EBCA6B) & mask
        value = ((value ^ (value >> 13)) * 0xC2B2AE35) & mask
        return value ^ (value >> 16)

    k1, k2 = key & mask, key >> 32
    h2 = (rotated((k2 * 0xAB0E9789) & mask, 16) * 0x38B34AE5) & mask
    h1 = (rotated((k1 * 0x239B961B) & mask, 15) * 0xAB0E9789) & mask
    h = [h1 ^ 8, h2 ^ 8, 8, 8]
    for mix in (final, int):
        h[0] = sum(h) & mask
        h[1:] = [(value + h[0]) & mask for value in h[1:]]
        h = [mix(value) for value in h]
    return h[0] | h[1] << 32


@given(st.integers(0, 2**64 - 1))
def test_the_hash_in_whole_numbers(key):
    assert murmur3(np.array([key], np.uint64)).tolist() == [by_hand(key)]


def test_the_same_values_give_the_same_bytes(tmp_path):
    values = {key: bytes([key]) * key for key in range(60)}
    sharding = Sharding.for_values(len(values), 10**9)
    for name, order in (("a", sorted(values)), ("b", sorted(values, reverse=True))):
        write_sharded({key: values[key] for key in order}, str(tmp_path / name), sharding)
    a, b = (sorted((tmp_path / name).iterdir()) for name in "ab")
    assert [f.read_bytes() for f in a] == [f.read_bytes() for f in b]
    assert len(a) > 1


def test_the_number_of_files_follows_from_the_data():
    assert Sharding.for_values(10, 1000).shard_bits == 0
    assert Sharding.for_values(10**6, 10**10).shard_bits == 8
    assert Sharding.for_values(0, 0) == Sharding()


@pytest.mark.parametrize(
    "change",
    [
        {"@type": "other"},
        {"hash": "md5"},
        {"minishard_bits": 65},
        {"minishard_bits": -1},
        {"minishard_bits": True},
        {"shard_bits": 60, "minishard_bits": 10},
        {"shard_bits": "3"},
        {"data_encoding": "zstd"},
        {"minishard_bits": 40, "shard_bits": 0},
    ],
)
def test_descriptions_that_make_no_sense(change):
    document = Sharding(shard_bits=3).document() | change
    with pytest.raises(FormatError):
        Sharding.parse(document, url="info")


def test_defaults_of_the_specification():
    """The encodings may be left out: raw."""
    document = Sharding(shard_bits=3).document()
    del document["data_encoding"], document["minishard_index_encoding"]
    found = Sharding.parse(document, url="info")
    assert found == Sharding(0, "murmurhash3_x86_128", 0, 3, "raw", "raw")


def test_a_store_that_cannot_list_is_asked_for_each_shard(tmp_path, monkeypatch):
    values = dict.fromkeys(range(20), b"x")
    sharding = Sharding(shard_bits=3)
    write_sharded(values, str(tmp_path), sharding)

    def refuse(url, access=None):
        raise StoreError("no listing")

    monkeypatch.setattr("projectome.io.sharded.list_folder", refuse)
    assert dict(ShardedReader(str(tmp_path), sharding).items()) == values
    with pytest.raises(StoreError):
        dict(ShardedReader(str(tmp_path), Sharding(shard_bits=30)).items())
    assert dict(ShardedReader(str(tmp_path), Sharding(shard_bits=30)).items([3])) == {}


def test_a_bomb_does_not_unpack(monkeypatch):
    monkeypatch.setattr("projectome.io.sharded.VALUE_LIMIT", 1000)
    sharding = Sharding()
    write_sharded({1: b"\0" * 100_000}, "memory://bomb", sharding)
    with pytest.raises(FormatError, match="unpacks to more than 1000 bytes"):
        dict(ShardedReader("memory://bomb", sharding).items())


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 400),
    ENCODINGS,
)
def test_broken_shards(changes, cut, encoding):
    """Any bytes changed or cut off: values, or an error of projectome, and no absurd allocation."""
    sharding = Sharding(0, "identity", 1, 0, encoding, encoding)
    write_sharded({key: bytes([key]) * key for key in range(9)}, "memory://broken", sharding)
    data = bytearray(read_bytes("memory://broken/0.shard"))
    for place, value in changes:
        data[place % len(data)] = value
    write_bytes("memory://broken/0.shard", bytes(data[: max(0, len(data) - cut)]))
    try:
        found = dict(ShardedReader("memory://broken", sharding).items())
    except ProjectomeError:
        return
    assert sum(map(len, found.values())) < 10_000


def test_sizes_are_checked_before_anything_is_fetched():
    """A value of 2**63 bytes, and offsets that wrap around."""
    for starts, sizes in ((0, 2**63), (2**64 - 8, 16), (2**63, 2**63)):
        table = np.array([[1], [starts], [sizes]], "<u8").tobytes()
        index = np.array([[0, len(table)]], "<u8").tobytes()
        write_bytes("memory://huge/0.shard", index + table)
        reader = ShardedReader("memory://huge", Sharding(0, "identity", 0, 0, "raw", "raw"))
        with pytest.raises(FormatError, match="outside of the file"):
            dict(reader.items())


def test_an_index_that_is_no_table():
    table = gzip.compress(b"123", mtime=0)
    index = np.array([[0, len(table)]], "<u8").tobytes()
    write_bytes("memory://odd/0.shard", index + table)
    with pytest.raises(FormatError, match="3 bytes, not 24 each"):
        dict(ShardedReader("memory://odd", Sharding()).items())
