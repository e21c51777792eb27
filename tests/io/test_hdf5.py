"""Plain HDF5 datasets, as h5py writes them; files that lead elsewhere, lie, or are broken."""

import json
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import h5py
import hdf5plugin
import numpy as np
import pytest

from projectome.core.box import Box
from projectome.errors import (
    FormatError,
    MissingExtraError,
    NotFoundError,
    ParameterError,
    ProjectomeError,
)
from projectome.io.open import open_volume
from projectome.io.volumes import hdf5_file
from projectome.testing.readers import Example, ReaderContract

SIZE = (2.0, 0.5, 0.25)


def save(path, voxels, *, dataset="data", attributes=None, **options):
    """Add a dataset to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a") as file:
        data = file.create_dataset(dataset, data=voxels, **options)
        data.attrs.update({"element_size_um": SIZE} if attributes is None else attributes)
    return str(path)


@pytest.fixture
def voxels(make):
    return make.noise((6, 40, 50))


class Hdf5(ReaderContract):
    """A dataset with ``element_size_um``; the centre of its voxel 0 is the origin."""

    options: ClassVar[dict] = {}
    attributes: ClassVar[dict] = {"element_size_um": SIZE}
    shape, dtype = (6, 40, 50), "uint16"
    translation, channels = (0.0, 0.0, 0.0), ()

    def write(self, folder):
        rng = np.random.default_rng(0)
        voxels = rng.integers(0, 2**16, self.shape).astype(self.dtype)
        save(folder / "brain.h5", voxels, attributes=self.attributes, **self.options)
        native = voxels.astype(voxels.dtype.newbyteorder("="))
        return Example(folder / "brain.h5", native, SIZE, self.translation, self.channels)


class TestContiguous(Hdf5):
    pass


class TestChunks(Hdf5):
    options: ClassVar[dict] = {"chunks": (4, 16, 16), "compression": "gzip", "shuffle": True}


class TestLz4(Hdf5):
    options: ClassVar[dict] = {"chunks": (4, 16, 16), "shuffle": True, **hdf5plugin.LZ4()}


class TestBigEndianLzf(Hdf5):
    dtype, options = ">i4", {"chunks": (2, 40, 7), "compression": "lzf", "fletcher32": True}


class TestFunlib(Hdf5):
    """Nanometres; the offset is the corner of voxel 0, half a voxel before its centre."""

    attributes: ClassVar[dict] = {
        "resolution": (2000, 500, 250),
        "offset": (-4000, 1000, 0),
        "units": ["nm", "nm", "nm"],
        "axis_names": ["c^", "z", "y", "x"],
    }
    shape, translation = (2, 6, 40, 50), (-4.0 + 1.0, 1.0 + 0.25, 0.125)
    channels = ("channel 0", "channel 1")


class TestIlastik(Hdf5):
    """Axes turned and channels last, as ``axistags`` say."""

    attributes: ClassVar[dict] = {
        "element_size_um": SIZE,
        "axistags": json.dumps({"axes": [{"key": k, "typeFlags": 2} for k in "xyzc"]}),
    }

    def write(self, folder):
        voxels = np.random.default_rng(0).integers(0, 2**16, (2, 6, 40, 50), dtype="uint16")
        save(folder / "brain.h5", voxels.transpose(3, 2, 1, 0), attributes=self.attributes)
        return Example(folder / "brain.h5", voxels, SIZE, channels=("channel 0", "channel 1"))


# Which dataset


def test_several_datasets_have_to_be_chosen(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels)
    save(tmp_path / "a.h5", voxels[:, :20], dataset="deep/er/data")
    save(tmp_path / "a.h5", np.arange(3), dataset="no volume")
    with pytest.raises(
        ParameterError,
        match=r"holds 2 datasets.*#data \(6 x 40 x 50 uint16\).*#deep/er/data.*#data$",
    ):
        open_volume(path)
    for name in ("deep/er/data", "/deep/er/data/"):
        pyramid = open_volume(f"{path}#{name}")
        np.testing.assert_array_equal(pyramid[0].read(), voxels[:, :20])
    assert pyramid.metadata["dataset"] == "deep/er/data"
    with pytest.raises(NotFoundError, match=r"no #deep/data in .*#data, #deep/er/data"):
        open_volume(f"{path}#deep/data")
    with pytest.raises(FormatError, match="there is no dataset #deep"):
        open_volume(f"{path}#deep")


def test_a_dataset_that_can_only_be_meant(tmp_path, voxels):
    path = save(tmp_path / "a.hdf5", voxels, dataset="deep/data")
    save(tmp_path / "a.hdf5", np.arange(3), dataset="times")
    with h5py.File(path, "a") as file:
        file["same"] = file["deep/data"]
        file["soft"] = h5py.SoftLink("/deep")
        file["table"] = np.zeros((3, 3), [("a", "i4")])
    assert open_volume(path)[0].shape == (6, 40, 50)
    np.testing.assert_array_equal(open_volume(f"{path}#soft/data")[0].read(), voxels)


def test_no_volume_in_it(tmp_path):
    path = save(tmp_path / "a.h5", np.arange(3))
    with pytest.raises(FormatError, match="no dataset of two to five axes"):
        open_volume(path)
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(save(tmp_path / "b.h5", np.zeros((4, 4)), attributes={}))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["text"] = np.full((2, 2), b"abc")
    with pytest.raises(FormatError, match=r"elements of type \|S3"):
        open_volume(f"{tmp_path / 'c.h5'}#text")
    save(tmp_path / "c.h5", np.zeros((0, 4, 4)), dataset="empty")
    with pytest.raises(FormatError, match="without any voxel"):
        open_volume(f"{tmp_path / 'c.h5'}#empty")


# What it says


def test_nothing_is_guessed(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, attributes={})
    with pytest.raises(ParameterError, match=r"#data \(6 x 40 x 50 uint16\).*--voxel-size Z,Y,X"):
        open_volume(path)
    pyramid = open_volume(path, voxel_size=SIZE)
    assert pyramid[0].voxel_size == SIZE
    assert "read as z, y, x" in str(pyramid.problems)
    path = save(tmp_path / "b.h5", voxels[None], attributes={})
    with pytest.raises(ParameterError, match=r"say which axis is which.*--axes czyx"):
        open_volume(path, voxel_size=SIZE)
    with pytest.raises(ParameterError, match="names 3 axes"):
        open_volume(path, voxel_size=SIZE, axes="zyx")


def test_a_resolution_without_a_unit_is_asked_for(tmp_path, voxels):
    attributes = {"resolution": (40, 4, 4), "offset": (80, 0, 4)}
    path = save(tmp_path / "a.h5", voxels, attributes=attributes)
    with pytest.raises(
        ParameterError, match=r"40 x 4 x 4 without a unit.*--voxel-size 0\.04,0\.004,0\.004"
    ):
        open_volume(path)
    affine = open_volume(path, voxel_size=(0.04, 0.004, 0.004))[0].affine
    np.testing.assert_allclose(affine.translation, (0.1, 0.002, 0.006))


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"element_size_um": (0, 1, 1)}, "is no voxel size"),
        ({"element_size_um": (np.nan, 1, 1)}, "is no voxel size"),
        ({"element_size_um": "large"}, "is no voxel size"),
        ({"element_size_um": (1e30, 1, 1)}, "is no voxel size"),
        ({"resolution": (1, 1, 1), "units": ["nm", "mm", "nm"]}, "not one unit"),
        ({"axistags": '{"axes": [{"key": "z"}, {"key": "z"}, {"key": "x"}]}'}, "not taken"),
        ({"axistags": "{" * 500}, "not taken"),
        ({"projectome": "{"}, "not a JSON document"),
    ],
)
def test_attributes_that_cannot_be_meant(attributes, text, tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, attributes=attributes)
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(path)
    pyramid = open_volume(path, voxel_size=SIZE)
    assert text in str(pyramid.problems)
    assert pyramid[0].shape == (6, 40, 50)


def test_labels_of_dimensions_are_axes(tmp_path, make):
    voxels = make.noise((3, 6, 8, 10))
    path = save(tmp_path / "a.h5", voxels)
    with h5py.File(path, "a") as file:
        for i, letter in enumerate("tzyx"):
            file["data"].dims[i].label = letter
    with pytest.raises(ParameterError, match="--time N, 0 to 2"):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(path, time=2)[0].read(), voxels[2])
    turned = open_volume(path, axes="zcxy")[0]
    np.testing.assert_array_equal(turned.read(), voxels.transpose(1, 0, 3, 2))


def test_a_plane_and_its_thickness(tmp_path, voxels):
    volume = open_volume(save(tmp_path / "a.h5", voxels[0]))[0]
    assert volume.voxel_size == SIZE
    np.testing.assert_array_equal(volume.read(), voxels[:1])
    assert volume.read(Box((0, 0, 0), (0, 4, 4))).shape == (0, 4, 4)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64", ">f4"])
def test_element_types(dtype, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(dtype)
    volume = open_volume(save(tmp_path / "a.h5", voxels))[0]
    assert volume.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(volume.read(), voxels)


def test_matlab_puts_its_own_header_before(tmp_path, voxels):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["data"] = voxels
    data = bytearray(path.read_bytes())
    data[:20] = b"MATLAB 7.3 MAT-file,"
    path.write_bytes(data)
    np.testing.assert_array_equal(open_volume(str(path), voxel_size=SIZE)[0].read(), voxels)


# Reading


def test_arrays_travel_and_open_once_a_process(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, chunks=(4, 16, 16))
    array = open_volume(path)[0].array

    def sent():
        return pickle.loads(pickle.dumps(array))  # noqa: S301 - our own bytes

    first, second = sent(), sent()
    assert first.file is second.file
    whole = tuple(slice(0, n) for n in array.shape)
    np.testing.assert_array_equal(first.read(whole), voxels)
    save(tmp_path / "a.h5", voxels, dataset="more")
    assert sent().file is not first.file


def test_reading_from_many_threads(tmp_path, voxels):
    volume = open_volume(save(tmp_path / "a.h5", voxels, chunks=(2, 8, 8), compression="gzip"))[0]
    boxes = [Box((z, y, 0), (z + 1, y + 10, 50)) for z in range(6) for y in range(0, 40, 10)]
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes * 4, pool.map(volume.read, boxes * 4), strict=True):
            np.testing.assert_array_equal(found, voxels[box.slices])


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_file_stays_open(tmp_path, voxels):
    import gc
    from pathlib import Path

    path = save(tmp_path / "a.h5", voxels)

    def opened():
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum(str(link.readlink()) == path for link in links if link.exists())

    volume = open_volume(path)[0]
    volume.read()
    assert opened() == 1
    del volume
    gc.collect()
    assert opened() == 0


# What leads elsewhere


def test_links_to_other_files_are_not_followed(tmp_path, voxels):
    save(tmp_path / "secret.h5", voxels)
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "/data")
        file["soft"] = h5py.SoftLink("/out")
        file["group/up"] = h5py.SoftLink("/group")
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
    for name in ("out", "soft"):
        with pytest.raises(FormatError, match=r"link to another file, 'secret\.h5'.*own address"):
            open_volume(f"{path}#{name}")
    with pytest.raises(FormatError, match="lead in a circle"):
        open_volume(f"{path}#a")
    with pytest.raises(FormatError, match="no dataset of two to five axes"):
        open_volume(path)


def test_voxels_in_other_files_are_not_followed(tmp_path, voxels):
    save(tmp_path / "secret.h5", voxels)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(voxels.shape, voxels.dtype)
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", voxels.shape)
        file.create_virtual_dataset("data", layout)
    (tmp_path / "secret.raw").write_bytes(voxels.tobytes())
    with h5py.File(tmp_path / "external.h5", "w") as file:
        place = [(str(tmp_path / "secret.raw"), 0, voxels.nbytes)]
        file.create_dataset("data", voxels.shape, voxels.dtype, external=place)
    for name in ("virtual", "external"):
        with pytest.raises(FormatError, match=r"elements in other files.*h5repack"):
            open_volume(str(tmp_path / f"{name}.h5"), voxel_size=SIZE)


def test_groups_in_a_circle_and_deep_ones(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, dataset="/".join("abcdefgh" * 20))
    with h5py.File(path, "a") as file:
        file["a/self"] = file["a"]
    assert open_volume(path)[0].shape == (6, 40, 50)


# What is absurd


def test_sizes_that_no_memory_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("chunks", (10**5,) * 3, "u1", chunks=(2000, 2000, 1000))
        file.create_dataset("shape", (10**6,) * 3, "u1", chunks=(64, 64, 64))
    for name, text in (("chunks", "bytes in a file of"), ("shape", "not believed")):
        with pytest.raises(FormatError, match=text):
            open_volume(f"{tmp_path / 'a.h5'}#{name}", voxel_size=SIZE)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("data", (2000, 2000, 200), "u1", chunks=(2000, 2000, 200))
    volume = open_volume(str(tmp_path / "b.h5"), voxel_size=SIZE)[0]
    assert volume.read(Box((0, 0, 0), (2, 2, 2))).sum() == 0
    hdf5_file.CHUNK_LIMIT, kept = 2**20, hdf5_file.CHUNK_LIMIT
    try:
        with pytest.raises(FormatError, match="smaller chunks"):
            open_volume(str(tmp_path / "b.h5"), voxel_size=SIZE)
    finally:
        hdf5_file.CHUNK_LIMIT = kept


def test_an_attribute_without_end_is_left_out(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels)
    with h5py.File(path, "a") as file:
        file["data"].attrs["long"] = np.zeros(8000)
        file["data"].attrs.create("reference", file["data"].ref, dtype=h5py.ref_dtype)
        file["data"].attrs["table"] = np.zeros(3, [("a", "i4")])
        file["data"].attrs["empty"] = h5py.Empty("f8")
    assert open_volume(path)[0].voxel_size == SIZE


@pytest.mark.parametrize(
    ("options", "number"),
    [(hdf5plugin.Zfp(), 32013), (hdf5plugin.BZip2(), 307), ({"scaleoffset": 2}, 6)],
)
def test_filters_that_are_not_known_or_not_safe(options, number, tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels.astype("f4"), chunks=(6, 40, 50), **options)
    with pytest.raises(FormatError, match=rf"filter {number}, which is not read.*h5repack"):
        open_volume(path)


@pytest.mark.parametrize(("package", "name"), [("h5py", "plain"), ("hdf5plugin", "lz4")])
def test_a_missing_library_is_named(package, name, tmp_path, voxels, monkeypatch):
    options = hdf5plugin.LZ4() if name == "lz4" else {}
    path = save(tmp_path / f"{name}.h5", voxels, chunks=(6, 40, 50), **options)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*projectome\[microscope\]"):
        open_volume(path)


# What is broken


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 4000])
def test_no_hdf5_behind_the_magic(content, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(hdf5_file.MAGIC + content)
    with pytest.raises(FormatError, match=r"The HDF5 file .* is broken.*Restore"):
        open_volume(str(path))


def test_a_broken_chunk_is_told(tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, chunks=(2, 40, 50), compression="gzip")
    with h5py.File(path) as file:
        chunk = file["data"].id.get_chunk_info(1)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 100] = b"\xff" * 100
    (tmp_path / "a.h5").write_bytes(data)
    volume = open_volume(path)[0]
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (2, 40, 50))), voxels[:2])
    with pytest.raises(FormatError, match=r"broken.*Restore"):
        volume.read()


def test_a_broken_index_of_chunks_does_no_harm(tmp_path, voxels):
    """The library crashes the process where it is asked how large such an index is."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("data", data=voxels, chunks=(2, 8, 8), maxshape=(None, None, 50))
        data.attrs["element_size_um"] = SIZE
    content = bytearray(path.read_bytes())
    content[content.index(b"BTHD") + 16] ^= 0xFF  # where the root of the index is
    path.write_bytes(content)
    volume = open_volume(str(path))[0]
    with pytest.raises(FormatError, match=r"broken.*Restore"):
        volume.read()


@pytest.mark.parametrize("size", [0, 8, 10**6, 2**63])
def test_heaps_in_which_the_library_would_run_forever(size, tmp_path, voxels):
    path = save(tmp_path / "a.h5", voxels, attributes={"axis_names": ["z", "y", "x"]})
    content = bytearray((tmp_path / "a.h5").read_bytes())
    free = content.index(b"GCOL") + 16 + 3 * 24  # after three objects of one letter
    assert content[free : free + 2] == b"\0\0"
    content[free + 8 : free + 16] = size.to_bytes(8, "little")
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(FormatError, match=r"heap at byte \d+ do not fit.*Restore"):
        open_volume(path, voxel_size=SIZE)


def test_a_type_that_does_not_exist_is_left_out(tmp_path, voxels):
    """The library crashes the process where it reads text of variable length of such a type."""
    path = save(tmp_path / "a.h5", voxels, attributes={"axis_names": ["z", "y", "x"]})
    content = (tmp_path / "a.h5").read_bytes()
    assert content.count(b"\x19\x01\x01\0\x10") == 1
    (tmp_path / "a.h5").write_bytes(content.replace(b"\x19\x01\x01\0\x10", b"\x19\xea\x01\0\x10"))
    pyramid = open_volume(path, voxel_size=SIZE)
    assert "None are stated" in str(pyramid.problems)


@pytest.fixture(scope="module")
def specimens(tmp_path_factory, make):
    """Files of all layouts: old and new groups, with and without chunks and filters."""
    folder, voxels = tmp_path_factory.mktemp("specimens"), make.noise((6, 20, 24))
    attributes = {
        "element_size_um": SIZE,
        "axis_names": ["z", "y", "x"],
        "axistags": json.dumps({"axes": [{"key": k} for k in "zyx"]}),
    }
    for name, libver in (("old", "earliest"), ("new", "latest")):
        with h5py.File(folder / f"{name}.h5", "w", libver=libver) as file:
            options = {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True}
            file.create_dataset("a/data", data=voxels, **options).attrs.update(attributes)
            file.create_dataset("b", data=voxels)
            file.create_dataset("c", data=voxels, chunks=(4, 8, 8), **hdf5plugin.LZ4())
            file.create_dataset("d", data=voxels, chunks=(4, 8, 8), maxshape=(None, None, 24))
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("seed", range(4))
def test_any_byte_may_be_wrong(name, seed, specimens, tmp_path):
    rng, whole = random.Random(seed), specimens[name]
    path = tmp_path / "a.h5"
    read = 0
    for number in range(60):
        data = bytearray(whole)
        if number % 6 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice([1, 2, 4])):
            place = rng.randrange(min(len(data), 2**13) or 1)
            data[place : place + 1] = bytes([rng.choice([0, 255, rng.randrange(256)])])
        path.write_bytes(data)
        for inside in ("", "#a/data", "#b", "#c", "#d"):
            try:
                volume = open_volume(f"{path}{inside}", voxel_size=SIZE)[0]
                volume.read(Box((0, 0, 0), tuple(min(8, n) for n in volume.shape)))
                read += 1
            except ProjectomeError:
                continue
    assert read
