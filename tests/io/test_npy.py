"""NPY files, as numpy writes them and as nobody should."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import (
    FormatError,
    OutputExistsError,
    ParameterError,
    ProjectomeError,
    StorageFullError,
)
from projectome.io.open import open_volume
from projectome.io.volumes.npy_write import write_npy
from projectome.testing.readers import Example, ReaderContract

SIZE = (2.0, 0.5, 0.25)


def header(content, *, version=1):
    """An NPY file of a header and nothing else."""
    text = content.encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(text).to_bytes(2 if version == 1 else 4, "little")
        + text
    )


class TestNpy(ReaderContract):
    dtype, order = "uint16", "C"

    def write(self, folder):
        folder.mkdir()
        voxels = np.random.default_rng(0).integers(0, 2**16, (2, 6, 40, 50)).astype(self.dtype)
        np.save(folder / "brain.npy", np.asarray(voxels, order=self.order))
        return Example(
            folder / "brain.npy",
            voxels.astype(voxels.dtype.newbyteorder("=")),
            SIZE,
            channels=("channel 0", "channel 1"),
            options={"voxel_size": SIZE, "axes": "czyx"},
        )


class TestNpyFortranBigEndian(TestNpy):
    dtype, order = ">f4", "F"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", ["zyx", "xyz", "ztyx", "cyxz", "yx"])
def test_axes_of_the_user(axes, order, tmp_path, make):
    sizes = {"z": 5, "y": 6, "x": 7, "c": 3, "t": 2}
    voxels = make.noise([sizes[a] for a in axes])
    np.save(tmp_path / "a.npy", np.asarray(voxels, order=order))
    time = {"time": 1} if "t" in axes else {}
    volume = open_volume(str(tmp_path / "a.npy"), axes=axes, voxel_size=SIZE, **time)[0]
    wanted = voxels.take(1, axis=axes.index("t")) if "t" in axes else voxels
    left = axes.replace("t", "")
    wanted = wanted.transpose([left.index(a) for a in "czyx" if a in left])
    wanted = wanted if "z" in left else wanted[None]
    np.testing.assert_array_equal(volume.read(), wanted)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(version, tmp_path, make):
    voxels = make.noise((3, 4, 5))
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, voxels, version=version)
    pyramid = open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE)
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert pyramid.metadata["version"] == ".".join(map(str, version))
    assert "read as z, y, x" in str(pyramid.problems)


def test_nothing_is_guessed(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 5)))
    path = str(tmp_path / "a.npy")
    with pytest.raises(ParameterError, match=r"say which axis is which.*--axes czyx"):
        open_volume(path, voxel_size=SIZE)
    with pytest.raises(ParameterError, match=r"2 x 3 x 4 x 5 float64.*--voxel-size Z,Y,X"):
        open_volume(path, axes="czyx")
    with pytest.raises(ParameterError, match="names 3 axes"):
        open_volume(path, axes="zyx", voxel_size=SIZE)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[Bomb()]]),
        np.zeros((2, 2), "U4"),
        np.zeros((2, 2), [("a", "i4")]),
        np.ones((2, 2), complex),
    ],
)
def test_only_numbers_are_read(array, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(FormatError, match=r"integers or real numbers") as caught:
        open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE)
    assert ("never loaded" in str(caught.value)) == (array.dtype == object)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "{'descr': '<u2', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000)}",
            "cut off",
        ),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (2, -1, 2)}", "not understood"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (2, True, 2)}", "not understood"),
        ("{'descr': '<u2', 'fortran_order': 1, 'shape': (2, 2)}", "not understood"),
        ("{'descr': '<u2', 'fortran_order': False}", "not understood"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (9,)}", "two to five axes"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (0, 2, 2)}", "without any voxel"),
        ("__import__('os').abort()", "not understood"),
        ("(" * 5000, "not understood"),
        ("-" * 9000 + "1", "not understood"),
        ("[" * 9990, "not understood"),
        ("", "not understood"),
    ],
)
def test_headers_that_lie(content, text, tmp_path):
    for version in (1, 2, 3):
        (tmp_path / "a.npy").write_bytes(header(content, version=version))
        with pytest.raises(FormatError, match=text):
            open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE)


def test_headers_that_are_too_long_or_too_short(tmp_path):
    path = tmp_path / "a.npy"
    for data, text in (
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff{}", "bytes long, more than"),
        (b"\x93NUMPY\x01\0\xff\x0f{}", "cut off"),
        (b"\x93NUMPY\x09\0\xff\x0f{}", "version 1, 2 or 3"),
        (b"\x93NUMPY", "version 1, 2 or 3"),
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=text):
            open_volume(str(path), voxel_size=SIZE)


@given(
    places=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 400),
)
def test_any_byte_may_be_wrong(tmp_path_factory, places, length):
    path = tmp_path_factory.getbasetemp() / "mutated.npy"
    np.save(path, np.arange(120, dtype="u2").reshape(4, 5, 6))
    data = bytearray(path.read_bytes())
    for place, value in places:
        data[place] = value
    path.write_bytes(data[:length])
    try:
        open_volume(str(path), voxel_size=SIZE)[0].read()
    except ProjectomeError:
        return


def test_arrays_travel(tmp_path, make):
    np.save(tmp_path / "a.npy", make.noise((3, 4, 5)))
    array = open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE)[0].array
    whole = (slice(0, 3), slice(0, 4), slice(0, 5))
    sent = pickle.loads(pickle.dumps(array))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(sent.read(whole), array.read(whole))


# Writing


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool"])
@pytest.mark.parametrize("shape", [(5, 7, 9), (2, 5, 7, 9)])
def test_numpy_reads_what_is_written(shape, dtype, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    told = []
    volume = Volume.from_array(voxels, voxel_size=SIZE)
    write_npy(volume, str(tmp_path / "a.npy"), on_progress=lambda *done: told.append(done))
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(found, voxels, strict=True)
    assert told[-1] == (voxels.size, voxels.size)
    axes = "czyx"[-len(shape) :]
    opened = open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE, axes=axes)
    np.testing.assert_array_equal(opened[0].read(), voxels)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy"]


def test_what_is_there_is_kept(tmp_path):
    volume = Volume.from_array(np.zeros((2, 3, 4)), voxel_size=SIZE)
    (tmp_path / "a.npy").write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_npy(volume, str(tmp_path / "a.npy"))
    write_npy(volume, str(tmp_path / "a.npy"), overwrite=True)
    assert np.load(tmp_path / "a.npy").shape == (2, 3, 4)
    with pytest.raises(ParameterError, match="local paths only"):
        write_npy(volume, "s3://bucket/a.npy")


def test_an_unfinished_file_is_not_there(tmp_path):
    class Failing:
        shape, chunks, dtype = (4, 4, 4), (1, 4, 4), np.dtype("u1")

        def read(self, index):
            if index[0].start == 2:
                raise StorageFullError("full")
            return np.zeros([s.stop - s.start for s in index], "u1")

    with pytest.raises(StorageFullError):
        write_npy(Volume(Failing(), Affine.from_scale(SIZE)), str(tmp_path / "a.npy"))
    assert not (tmp_path / "a.npy").exists()


def test_a_box_reads_little(tmp_path, monkeypatch):
    from projectome.io import stores

    with open(tmp_path / "a.npy", "wb") as file:
        stated = {"descr": "<u2", "fortran_order": False, "shape": (2000, 1000, 1000)}
        np.lib.format.write_array_header_1_0(file, stated)
        file.truncate(file.tell() + 2 * 2000 * 10**6)
    volume = open_volume(str(tmp_path / "a.npy"), voxel_size=SIZE)[0]
    asked = []
    plain = stores.read_part

    def counted(url, start, length, **more):
        asked.append(length)
        return plain(url, start, length, **more)

    monkeypatch.setattr(stores, "read_part", counted)
    assert volume.read(Box((1999, 999, 900), (2000, 1000, 1000))).sum() == 0
    assert sum(asked) <= 2**21
