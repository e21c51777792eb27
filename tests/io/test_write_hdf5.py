"""HDF5 as projectome writes it: read back by h5py and by itself."""

import hashlib
import json
import signal

import h5py
import numpy as np
import pytest

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import OutputExistsError, ParameterError, StorageFullError, StoreError
from projectome.io.open import open_volume
from projectome.io.volumes import hdf5_write
from projectome.io.volumes.hdf5_write import write_hdf5

SPACE = Space(name="gel", toward=("anterior", None, "right"), expansion=4.0)


def volume(dtype="uint16", shape=(5, 70, 90), **more):
    voxels = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    return Volume.from_array(
        voxels, voxel_size=(2.0, 0.5, 0.25), translation=(10.0, -20.0, 0.1), space=SPACE, **more
    )


@pytest.mark.parametrize(
    "given",
    [
        volume(),
        volume("float32"),
        volume("bool"),
        volume("uint64", kind="labels"),
        volume("uint8", (2, 5, 70, 90), channels=("red", "green")),
        volume("int16", (1, 5, 70, 90), channels=("only",)),
        volume("float64", (3, 5, 70, 90), kind="affinities"),
    ],
    ids=lambda v: f"{v.dtype} {v.array.shape}",
)
def test_all_comes_back(given, tmp_path):
    write_hdf5(given, str(tmp_path / "a.h5"))
    pyramid = open_volume(str(tmp_path / "a.h5"))
    found = pyramid[0]
    np.testing.assert_array_equal(found.read(), given.read(), strict=True)
    assert found.affine.isclose(given.affine)
    assert (found.space, found.channels, found.kind) == (SPACE, given.channels, given.kind)
    assert pyramid.problems == ()


def test_others_read_it(tmp_path):
    given = volume(shape=(2, 5, 70, 90), channels=("red", "green"))
    write_hdf5(given, str(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["data"]
        np.testing.assert_array_equal(data[...], given.read())
        assert data.chunks == (1, 5, 64, 64)
        assert data.attrs["element_size_um"].tolist() == [2.0, 0.5, 0.25]
        tags = json.loads(data.attrs["axistags"])
        assert [(tag["key"], tag["typeFlags"]) for tag in tags["axes"]] == [
            ("c", 1),
            ("z", 2),
            ("y", 2),
            ("x", 2),
        ]


@pytest.mark.parametrize("room", [1, 5 * 64 * 64 * 2 * 3, 2**26])
def test_every_chunk_is_written_once(room, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_write, "BLOCK", room)
    given, told = volume(shape=(130, 70, 200)), []
    largest = []

    class Watched:
        shape, dtype, chunks = given.array.shape, given.dtype, given.array.chunks

        def read(self, index):
            largest.append(np.prod([s.stop - s.start for s in index]) * 2)
            assert all(s.start % 64 == 0 for s in index)
            return given.array.read(index)

    watched = Volume(Watched(), given.affine)
    write_hdf5(watched, str(tmp_path / "a.h5"), on_progress=lambda *done: told.append(done))
    np.testing.assert_array_equal(open_volume(str(tmp_path / "a.h5"))[0].read(), given.read())
    assert told[-1] == (given.box.size, given.box.size)
    assert told == sorted(told)
    assert max(largest) <= max(room, 2 * 64**3)
    first = hashlib.sha256((tmp_path / "a.h5").read_bytes()).hexdigest()
    write_hdf5(watched, str(tmp_path / "a.h5"), overwrite=True)
    assert hashlib.sha256((tmp_path / "a.h5").read_bytes()).hexdigest() == first


def test_an_unfinished_file_is_not_there(tmp_path):
    class Failing:
        shape, chunks, dtype = (200, 4, 4), (64, 4, 4), np.dtype("u1")

        def read(self, index):
            raise StorageFullError("full")

    with pytest.raises(StorageFullError):
        write_hdf5(Volume(Failing(), Affine.from_scale((1, 1, 1))), str(tmp_path / "a.h5"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        noise = np.random.default_rng(0).integers(0, 2**16, (64, 64, 64), dtype="u2")
        given = Volume.from_array(noise, voxel_size=(1, 1, 1))
        with pytest.raises(StoreError, match="Cannot write"):
            write_hdf5(given, str(tmp_path / "a.h5"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_hdf5(volume(), str(path))
    assert path.read_text() == "mine"
    write_hdf5(volume(), str(path), overwrite=True)
    assert open_volume(str(path))[0].shape == (5, 70, 90)


def test_what_hdf5_cannot_hold(tmp_path):
    with pytest.raises(ParameterError, match="local paths only"):
        write_hdf5(volume(), "s3://bucket/a.h5")
    turned = Affine(np.diag([1.0, -1, 1, 1]), volume().affine.source, SPACE)
    with pytest.raises(ParameterError, match="rotated or sheared"):
        write_hdf5(Volume(volume().array, turned), str(tmp_path / "a.h5"))
