"""Chunks of remote volumes on disk: the same voxels, no second question, within their room."""

import os

import hadro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.volume import Pyramid, Volume
from projectome.errors import ParameterError
from projectome.io.cache import CachedArray, Room, cached
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.settings import Settings, resolve


class Remote:
    """A lazy array that counts what is asked of it."""

    def __init__(self, values, chunks):
        self.values, self.chunks, self.asked = values, chunks, 0
        self.shape, self.dtype = values.shape, values.dtype

    def read(self, index):
        self.asked += self.values[index].size
        return self.values[index]

    def evidence(self):
        yield b"content"


def remote(shape=(2, 20, 30, 41), chunks=(1, 8, 8, 16), seed=0):
    values = np.random.default_rng(seed).integers(0, 60000, shape).astype(np.uint16)
    return Remote(values, chunks)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_part_is_what_the_store_holds(tmp_path_factory, data):
    array = remote()
    kept = CachedArray(array, "a", Room(tmp_path_factory.mktemp("room"), 10**8))
    for _ in range(4):
        index = []
        for n in array.shape:
            a, b = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
            index.append(slice(a, b))
        found = kept.read(tuple(index))
        np.testing.assert_array_equal(found, array.values[tuple(index)], strict=True)


def test_what_was_read_is_not_asked_for_again(tmp_path):
    array = remote()
    room = Room(tmp_path, 10**8)
    whole = tuple(slice(0, n) for n in array.shape)
    CachedArray(array, "a", room).read(whole)
    assert array.asked == array.values.size
    again = CachedArray(array, "a", room)  # as another process would
    np.testing.assert_array_equal(again.read(whole), array.values)
    assert array.asked == array.values.size
    CachedArray(array, "b", room).read(whole)
    assert array.asked == 2 * array.values.size


def test_a_broken_chunk_is_fetched_again(tmp_path):
    array = remote()
    kept = CachedArray(array, "a", Room(tmp_path, 10**8))
    whole = tuple(slice(0, n) for n in array.shape)
    kept.read(whole)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    flipped = bytearray(files[3].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    files[3].write_bytes(flipped)
    files[4].write_bytes(b"")
    asked = array.asked
    np.testing.assert_array_equal(kept.read(whole), array.values)
    assert 0 < array.asked - asked <= 2 * 8 * 8 * 16
    asked = array.asked
    kept.read(whole)
    assert array.asked == asked


def test_the_room_is_kept_and_the_oldest_goes_first(tmp_path):
    room = Room(tmp_path, 100_000)
    for number in range(60):
        room.put(f"a/{number}", os.urandom(5000))
        os.utime(tmp_path / f"a/{number}", (number, number))
        if number > 5:
            assert room.get("a/5") is not None or number > 25
    total = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert total <= 105_000
    assert room.get("a/59") is not None
    assert room.get("a/0") is None


def test_a_disk_that_cannot_be_written_only_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    array = remote()
    kept = CachedArray(array, "a", Room(tmp_path / "file" / "room", 10**8))
    whole = tuple(slice(0, n) for n in array.shape)
    np.testing.assert_array_equal(kept.read(whole), array.values)


def test_reads_larger_than_the_cache_go_past_it(tmp_path, monkeypatch):
    monkeypatch.setattr("projectome.io.cache.WHOLE", 1000)
    array = remote()
    kept = CachedArray(array, "a", Room(tmp_path, 8000))
    kept.read(tuple(slice(0, n) for n in array.shape))
    assert not list(tmp_path.rglob("*"))


def test_only_remote_volumes_are_kept_and_only_if_wanted(tmp_path):
    volume = Volume(remote((20, 30, 41), (8, 8, 16)), Affine.from_scale((1, 1, 1)))
    for url, size, wanted in [
        ("s3://bucket/a.zarr", 10**6, True),
        ("s3://bucket/a.zarr", 0, False),
        (str(tmp_path / "a.zarr"), 10**6, False),
    ]:
        pyramid = Pyramid((volume,), (), {"url": url})
        found = cached(pyramid, Settings(cache=tmp_path, disk_cache=size), {})
        assert isinstance(found[0].array, CachedArray) == wanted
        assert found[0].shape == volume.shape
        if wanted:
            assert list(found[0].array.evidence()) == [b"content"]
            other = cached(pyramid, Settings(cache=tmp_path, disk_cache=size), {"time": 1})
            assert other[0].array.name != found[0].array.name


@pytest.mark.server
def test_a_second_pass_over_a_bucket_asks_for_no_chunk(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 999, (40, 50, 60)).astype(np.uint16)
    place = tmp_path / "s3" / "data" / "v.zarr"
    volume = Volume.from_array(values, voxel_size=(1, 1, 1))
    write_volume(volume, str(place), chunks=(16, 16, 16))
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PROJECTOME_DISK_CACHE", "50MB")
    with hadro.Server(data=str(tmp_path / "s3"), region="us-east-1") as server:
        source = VolumeSource("s3://data/v.zarr", endpoint=server.endpoint)
        np.testing.assert_array_equal(source.open().read(), values)
        fingerprint = source.fingerprint()
        second = open_volume("s3://data/v.zarr", endpoint=server.endpoint)[0]
        monkeypatch.delenv("PROJECTOME_DISK_CACHE")
        assert (
            VolumeSource("s3://data/v.zarr", endpoint=server.endpoint).fingerprint() == fingerprint
        )
    np.testing.assert_array_equal(second.read(), values)  # the server is gone
    box = Box((3, 4, 5), (39, 48, 60))
    np.testing.assert_array_equal(second.read(box), values[box.slices])


@pytest.mark.parametrize("wrong", ["lots", "-3"])
def test_the_size_is_a_size(monkeypatch, wrong):
    monkeypatch.setenv("PROJECTOME_DISK_CACHE", wrong)
    with pytest.raises(ParameterError, match="Not a size in bytes"):
        resolve()
