"""HDF5 and NPY over S3, 50 ms away, and stores that fail in the middle."""

import threading

import h5py
import hadro
import numpy as np
import pytest

from projectome.core.box import Box
from projectome.errors import FormatError, TransferError
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes import block_file
from projectome.io.volumes.block_file import BLOCK, BlockFile, LocalFile

pytestmark = pytest.mark.server
SIZE = (2.0, 0.5, 0.25)


@pytest.fixture(scope="module")
def voxels(make):
    return make.noise((64, 256, 256))


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, voxels):
    """A folder with a bucket of files: with chunks, without, and NPY."""
    root = tmp_path_factory.mktemp("s3")
    (root / "data").mkdir()
    for name, options in (
        ("chunks", {"chunks": (16, 64, 64), "compression": "gzip"}),
        ("rows", {}),
    ):
        with h5py.File(root / "data" / f"{name}.h5", "w") as file:
            file.create_dataset("data", data=voxels, **options).attrs["element_size_um"] = SIZE
    np.save(root / "data" / "array.npy", voxels)
    return root


@pytest.fixture(scope="module")
def s3(bucket):
    """Endpoint of a read-only S3 server, 50 ms away, where every fiftieth request fails."""
    with hadro.Server(
        data=str(bucket), region="us-east-1", latency_ms=50, error_rate=0.02, fault_seed=1
    ) as server:
        yield server.endpoint


@pytest.fixture
def asked(monkeypatch):
    """Bytes of each request for a block, and how many were under way at a time."""
    plain, lock = stores.read_part, threading.Lock()
    seen = {"bytes": [], "now": 0, "most": 0}

    def counted(url, start, length, **more):
        with lock:
            seen["bytes"].append(length)
            seen["now"] += 1
            seen["most"] = max(seen["most"], seen["now"])
        try:
            return plain(url, start, length, **more)
        finally:
            with lock:
                seen["now"] -= 1

    monkeypatch.setattr(block_file.stores, "read_part", counted)
    return seen


@pytest.mark.parametrize("name", ["chunks.h5", "rows.h5", "array.npy"])
def test_s3_reads_the_same_bytes_as_the_disk(name, s3, voxels):
    volume = open_volume(f"s3://data/{name}", endpoint=s3, voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    rng = np.random.default_rng(0)
    for _ in range(5):
        low, high = np.sort(rng.integers(0, np.add(voxels.shape, 1), (2, 3)), axis=0)
        box = Box(tuple(map(int, low)), tuple(map(int, high)))
        np.testing.assert_array_equal(volume.read(box), voxels[box.slices])


def test_fingerprint_is_the_same_on_every_store(bucket, s3):
    disk = VolumeSource(str(bucket / "data" / "chunks.h5"))
    cloud = VolumeSource("s3://data/chunks.h5", endpoint=s3)
    assert disk.fingerprint() == cloud.fingerprint()


@pytest.mark.parametrize("name", ["chunks.h5", "rows.h5"])
def test_opening_and_small_boxes_fetch_little(name, s3, asked):
    volume = open_volume(f"s3://data/{name}", endpoint=s3)[0]
    assert len(asked["bytes"]) <= 5
    volume.read(Box((20, 70, 70), (21, 80, 80)))
    assert sum(asked["bytes"]) <= 5 * BLOCK


def test_many_blocks_are_fetched_at_a_time(s3, asked):
    volume = open_volume("s3://data/chunks.h5", endpoint=s3)[0]
    volume.read()
    assert asked["most"] >= 8
    assert sum(asked["bytes"]) < 1.2 * volume.nbytes


def test_a_store_that_fails_is_told_as_such(s3, monkeypatch):
    volume = open_volume("s3://data/chunks.h5", endpoint=s3)[0]
    plain = stores.read_part

    def fails(url, start, length, **more):
        if start > 3 * BLOCK:
            raise TransferError("Cannot read s3://data/chunks.h5: no answer in time. Try again.")
        return plain(url, start, length, **more)

    with monkeypatch.context() as patch:
        patch.setattr(block_file.stores, "read_part", fails)
        with pytest.raises(TransferError, match="Try again"):
            volume.read()
        # Also where the library itself asks.
        patch.setattr(BlockFile, "fetch", lambda file, blocks: None)
        with pytest.raises(TransferError, match="Try again"):
            volume.read()
    assert volume.read().shape == volume.shape


def test_a_remote_file_that_changes_is_told(s3, monkeypatch):
    volume = open_volume("s3://data/chunks.h5", endpoint=s3)[0]
    plain = stores.read_part

    def shorter(url, start, length, **more):
        data, size = plain(url, start, length, **more)
        return data[:-1], size - 1

    monkeypatch.setattr(block_file.stores, "read_part", shorter)
    with pytest.raises(FormatError, match="changed while it was read"):
        volume.read()


def test_a_local_file_that_is_cut_off_meanwhile_is_told(tmp_path, voxels):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = voxels
    volume = open_volume(str(tmp_path / "a.h5"), voxel_size=SIZE)[0]
    with open(tmp_path / "a.h5", "r+b") as file:
        file.truncate(10**6)
    with pytest.raises(FormatError, match="changed while it was read"):
        volume.read()


def test_files_read_as_files_do(tmp_path, s3, bucket):
    data = (bucket / "data" / "array.npy").read_bytes()
    remote = BlockFile("s3://data/array.npy", stores.Access.of(endpoint=s3))
    with LocalFile(str(bucket / "data" / "array.npy")) as local:
        for file in (remote, local):
            assert file.seek(0, 2) == len(data)
            for start, length in ((0, 10), (BLOCK - 5, 10), (3 * BLOCK, 2 * BLOCK), (7, 0)):
                file.seek(start)
                found = bytearray(length)
                assert file.readinto(found) == length
                assert found == data[start : start + length]
                assert file.tell() == start + length
            # The library asks beyond the end, and takes zeros there.
            file.seek(len(data) - 3)
            found = bytearray(9)
            file.readinto(found)
            assert found == data[-3:] + bytes(6)
    remote.close()
