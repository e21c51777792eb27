"""NIfTI, against nibabel and ITK."""

import contextlib
import gzip
import pickle
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import itk_geometry
from projectome.core.box import Box
from projectome.core.space import all_orientations, lps_directions
from projectome.errors import FormatError, ParameterError, ProjectomeError, StorageFullError
from projectome.io.open import open_volume
from projectome.io.volumes import flat_bytes
from projectome.io.volumes.flat_bytes import PackedBytes
from projectome.io.volumes.placement import lps_frame
from projectome.testing.readers import Example, ReaderContract

LPS = np.diag([-1.0, -1.0, 1.0])
GRID = np.diag([-0.25, -0.5, 2.0, 1.0])
"""Toward left, posterior and superior, in millimetres."""


def noise(shape=(7, 6, 5), dtype="uint16"):
    """Voxels in the order of the file: x, y, z."""
    rng = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def save(path, voxels, affine=GRID, *, kind=nib.Nifti1Image, unit="mm", **fields):
    image = kind(voxels, affine)
    image.header.set_xyzt_units(unit)
    for name, value in fields.items():
        image.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return str(path)


def messages(pyramid):
    return " ".join(str(problem) for problem in pyramid.problems)


class Nifti(ReaderContract):
    """Voxels of 2, 0.5 and 0.25 mm; the centre of voxel 0 is the origin."""

    name = "brain.nii"
    kind = nib.Nifti1Image

    def write(self, folder):
        voxels = noise((50, 40, 6))
        path = folder / self.name
        save(path, voxels, kind=self.kind)
        return Example(path, voxels.T, (2000.0, 500.0, 250.0))


class TestNifti1(Nifti):
    pass


class TestNifti1Gzip(Nifti):
    name = "brain.nii.gz"


class TestNifti2(Nifti):
    kind = nib.Nifti2Image


class TestNiftiChannels(ReaderContract):
    def write(self, folder):
        voxels = noise((50, 40, 6, 1, 3))
        path = folder / "brain.nii"
        save(path, voxels)
        names = ("channel 0", "channel 1", "channel 2")
        return Example(path, voxels[:, :, :, 0].T, (2000.0, 500.0, 250.0), channels=names)


@pytest.mark.parametrize("ends", [(".hdr", ".img"), (".hdr.gz", ".img.gz")])
def test_a_pair_opens_by_either_name(ends, tmp_path):
    voxels = noise()
    save(tmp_path / f"brain{ends[1]}", voxels, kind=nib.Nifti1Pair)
    for end in ends:
        volume = open_volume(str(tmp_path / f"brain{end}"))[0]
        np.testing.assert_array_equal(volume.read(), voxels.T)
    (tmp_path / f"brain{ends[1]}").unlink()
    with pytest.raises(FormatError, match=r"no brain.img beside it. Restore"):
        open_volume(str(tmp_path / f"brain{ends[0]}"))


@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
def test_big_endian(end, tmp_path):
    voxels = noise()
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">u2")
    header.set_xyzt_units("mm")
    nib.save(nib.Nifti1Image(voxels.astype(">u2"), GRID, header), tmp_path / f"v{end}")
    volume = open_volume(str(tmp_path / f"v{end}"))[0]
    np.testing.assert_array_equal(volume.read(), voxels.T, strict=True)
    assert volume.voxel_size == (2000.0, 500.0, 250.0)


@given(
    toward=st.sampled_from(all_orientations()),
    size=st.tuples(*[st.floats(1e-3, 10)] * 3),
    origin=st.tuples(*[st.floats(-100, 100)] * 3),
    coded=st.sampled_from([("sform", True), ("sform", False), ("qform", True)]),
)
def test_every_orientation_is_where_nibabel_and_itk_see_it(
    toward, size, origin, coded, tmp_path_factory
):
    """Directions along z, y, x; a voxel lies where the world of nibabel has it."""
    affine = np.eye(4)
    affine[:3, :3] = LPS @ lps_directions(toward[::-1]) * size
    affine[:3, 3] = origin
    image = nib.Nifti1Image(noise(), affine)
    form, alone = coded
    if alone:
        other = {"sform": image.set_qform, "qform": image.set_sform}[form]
        {"sform": image.set_sform, "qform": image.set_qform}[form](affine, 1)
        other(None, 0)
    image.header.set_xyzt_units("mm")
    path = str(tmp_path_factory.mktemp("v") / "v.nii")
    nib.save(image, path)
    pyramid = open_volume(path)
    volume = pyramid[0]
    assert not pyramid.problems
    assert volume.space.toward == toward
    assert "".join(nib.aff2axcodes(affine)) == volume.space.code(meaning="toward")[::-1]
    np.testing.assert_array_equal(volume.read(), noise().T)
    steps, start = lps_frame(volume)
    tolerance = 1e-5 * (1 + max(map(abs, origin)) + 7 * max(size))
    np.testing.assert_allclose(
        steps @ [2, 3, 4] + start, (LPS @ (affine @ [2, 3, 4, 1])[:3]), atol=tolerance
    )
    ours, itk = itk_geometry(volume.affine, volume.shape), sitk.ReadImage(path)
    np.testing.assert_allclose(itk.GetOrigin(), ours.origin, atol=tolerance)
    np.testing.assert_allclose(itk.GetSpacing(), ours.spacing, rtol=1e-5)
    np.testing.assert_allclose(itk.GetDirection(), ours.direction.ravel(), atol=1e-5)


def test_a_rotated_grid_is_kept_and_said(tmp_path):
    angle = np.deg2rad(10)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.1, 0.2, 0.3], (1, 2, 3)
    pyramid = open_volume(save(tmp_path / "v.nii", noise(), affine))
    volume = pyramid[0]
    assert "rotated or sheared by up to 10 degrees" in messages(pyramid)
    assert not volume.affine.is_grid
    assert volume.space.toward == ("superior", "posterior", "left")
    np.testing.assert_allclose(volume.voxel_size, (300, 200, 100), rtol=1e-6)
    there = volume.affine([[4, 3, 2]])[0][::-1] / 1000
    np.testing.assert_allclose(there, LPS @ (affine @ [2, 3, 4, 1])[:3], rtol=1e-6)
    told = open_volume(str(tmp_path / "v.nii"), orientation="SAR", meaning="toward")
    assert told[0].affine.is_grid
    assert not told.problems
    assert told[0].space.toward == ("superior", "anterior", "right")


def test_sform_goes_before_qform_and_the_difference_is_said(tmp_path):
    image = nib.Nifti1Image(noise(), None)
    image.set_qform(np.diag([1, 1, 1, 1]), 1)
    image.set_sform(np.diag([-2, 2, 2, 1]), 2)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "v.nii")
    pyramid = open_volume(str(tmp_path / "v.nii"))
    assert pyramid[0].voxel_size == (2000, 2000, 2000)
    assert pyramid.space.toward == ("superior", "anterior", "left")
    assert "differ by up to" in messages(pyramid)
    assert "sform is taken" in messages(pyramid)


def test_without_either_the_orientation_is_unknown(tmp_path):
    image = nib.Nifti1Image(noise(), None)
    image.header.set_zooms((0.1, 0.2, 0.3))
    image.header.set_xyzt_units("mm")
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "v.nii")
    pyramid = open_volume(str(tmp_path / "v.nii"))
    np.testing.assert_allclose(pyramid[0].voxel_size, (300, 200, 100))
    assert pyramid.space.toward == (None, None, None)
    assert "--orientation CODE" in messages(pyramid)
    told = open_volume(str(tmp_path / "v.nii"), orientation="psl", meaning="from", expansion=4)
    assert told.space.toward == ("anterior", "inferior", "right")
    assert told.space.expansion == 4


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e6), ("mm", 1e3), ("micron", 1.0)])
def test_units(unit, factor, tmp_path):
    size = 2e-6 * 1e6 / factor
    pyramid = open_volume(save(tmp_path / "v.nii", noise(), np.diag([size] * 3 + [1]), unit=unit))
    np.testing.assert_allclose(pyramid[0].voxel_size, (2, 2, 2), rtol=1e-9)
    assert not pyramid.problems


def test_an_unknown_unit_is_read_as_micrometre_and_said(tmp_path):
    affine = np.array([[-0.25, 0, 0, 5], [0, -0.5, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    path = save(tmp_path / "v.nii", noise(), affine, unit=0)
    pyramid = open_volume(path)
    assert pyramid[0].voxel_size == (2.0, 0.5, 0.25)
    assert "If it is in millimetres: --voxel-size 2000,500,250" in messages(pyramid)
    told = open_volume(path, voxel_size=(2000, 500, 250))[0]
    wanted = open_volume(save(tmp_path / "w.nii", noise(), affine))[0]
    np.testing.assert_allclose(told.affine.matrix, wanted.affine.matrix)


@pytest.mark.parametrize(("dtype", "wanted"), [("uint8", "float32"), ("int32", "float64")])
def test_scaled_voxels_are_floating_point_and_that_is_said(dtype, wanted, tmp_path):
    image = nib.Nifti1Image(noise(dtype=dtype), GRID)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "v.nii.gz")
    with gzip.open(tmp_path / "v.nii.gz") as file:
        data = bytearray(file.read())
    data[112:120] = np.array([0.5, -3], "<f4").tobytes()  # nibabel scales on its own
    (tmp_path / "v.nii").write_bytes(data)
    pyramid = open_volume(str(tmp_path / "v.nii"))
    assert pyramid[0].dtype == wanted
    stored = np.frombuffer(data, dtype, offset=352).reshape(5, 6, 7)
    np.testing.assert_array_equal(pyramid[0].read(), (stored * 0.5 - 3).astype(wanted))
    np.testing.assert_allclose(pyramid[0].read().T, nib.load(tmp_path / "v.nii").get_fdata())
    assert f"stores {dtype}" in messages(pyramid)
    assert "0.5 times" in messages(pyramid)


def test_time_is_chosen_or_named_otherwise(tmp_path):
    voxels = noise((7, 6, 5, 3))
    path = save(tmp_path / "v.nii", voxels)
    with pytest.raises(ParameterError, match="--time N, 0 to 2"):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(path, time=1)[0].read(), voxels[..., 1].T)
    named = open_volume(path, axes="czyx")[0]
    assert len(named.channels) == 3
    np.testing.assert_array_equal(named.read(channel=2), voxels[..., 2].T)
    with pytest.raises(ParameterError, match=r"names 3 axes.*tzyx with the lengths \[3, 5, 6, 7\]"):
        open_volume(path, axes="zyx")
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(path, axes="zyxc")


def test_colours_are_channels(tmp_path):
    voxels = noise((7, 6, 5, 3), "uint8")
    packed = voxels.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    volume = open_volume(save(tmp_path / "v.nii", packed))[0]
    assert volume.channels == ("red", "green", "blue")
    box = Box((1, 2, 3), (4, 5, 6))
    np.testing.assert_array_equal(volume.read(box, channel="green"), voxels[..., 1].T[box.slices])


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 1)])
def test_a_plane(shape, tmp_path):
    voxels = noise(shape)
    volume = open_volume(save(tmp_path / "v.nii", voxels))[0]
    np.testing.assert_array_equal(volume.read()[0], voxels.reshape(7, 6).T)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float32", "float64"]
)
def test_element_types(dtype, tmp_path):
    voxels = noise(dtype=dtype)
    image = nib.Nifti1Image(voxels, GRID, dtype=dtype)
    nib.save(image, tmp_path / "v.nii")
    volume = open_volume(str(tmp_path / "v.nii"))[0]
    np.testing.assert_array_equal(volume.read(), voxels.T, strict=True)


def broken(tmp_path, change, *, voxels=None):
    """A file whose bytes a function has changed."""
    path = save(tmp_path / "v.nii", noise() if voxels is None else voxels)
    data = bytearray((tmp_path / "v.nii").read_bytes())
    (tmp_path / "v.nii").write_bytes(change(data) or data)
    return path


def put(place, value, dtype="<i2"):
    data = np.array(value, dtype).tobytes()

    def change(file):
        file[place : place + len(data)] = data

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(344, 0, "<i4"), "ANALYZE 7.5"),
        (put(40, 0), "dimensions .* which are none"),
        (put(40, 9), "dimensions .* which are none"),
        (put(42, -7), "dimensions .* which are none"),
        (put(40, [5, 30000, 30000, 30000, 1, 30000]), "cut off"),
        (put(70, 32), "NIfTI type 32"),
        (put(70, 1), "NIfTI type 1;"),
        (put(108, 10, "<f4"), "begin at byte 10"),
        (put(108, np.nan, "<f4"), "begin at byte nan"),
        (lambda data: data[:200], "no NIfTI header"),
        (lambda data: data[:400], "cut off: it holds 400 bytes of at least 772"),
    ],
)
def test_broken_headers(change, text, tmp_path):
    with pytest.raises(FormatError, match=text) as caught:
        open_volume(broken(tmp_path, change))[0].read()
    assert str(tmp_path / "v.nii") in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(80, [0, 0, 0], "<f4"), "--voxel-size"),
        (put(80, [np.nan] * 3, "<f4"), "--voxel-size"),
        (put(80, [1e30] * 3, "<f4"), "--voxel-size"),
    ],
)
def test_no_believable_voxel_size_is_asked_for(change, text, tmp_path):
    def both(data):
        put(252, [0, 0])(data)
        change(data)

    with pytest.raises(ParameterError, match=text):
        open_volume(broken(tmp_path, both))
    volume = open_volume(str(tmp_path / "v.nii"), voxel_size=(3, 2, 1))[0]
    assert volume.voxel_size == (3, 2, 1)


def test_a_useless_sform_is_said_and_qform_taken(tmp_path):
    image = nib.Nifti1Image(noise(), GRID)
    image.set_qform(GRID, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "v.nii")
    data = bytearray((tmp_path / "v.nii").read_bytes())
    put(280, np.zeros(12), "<f4")(data)
    (tmp_path / "v.nii").write_bytes(data)
    pyramid = open_volume(str(tmp_path / "v.nii"))
    assert "onto a plane" in messages(pyramid)
    assert pyramid.space.toward == ("superior", "posterior", "left")
    assert pyramid[0].voxel_size == (2000, 500, 250)


def test_bytes_after_the_voxels_are_said(tmp_path):
    pyramid = open_volume(broken(tmp_path, lambda data: data + b"more"))
    assert "4 bytes follow the voxels" in messages(pyramid)
    np.testing.assert_array_equal(pyramid[0].read(), noise().T)


def test_compressed_files_hold_what_is_declared(tmp_path):
    save(tmp_path / "v.nii", noise())
    data = (tmp_path / "v.nii").read_bytes()
    path = tmp_path / "w.nii.gz"
    for content, text in (
        (gzip.compress(data + b"more"), "more than the 420 bytes"),
        (gzip.compress(data[:-1]), "cut off: it holds 771 bytes of at least 772"),
        (gzip.compress(data)[:-1], "broken: it is cut off"),
        (gzip.compress(data) + b"more", "gzip stream .* is broken"),
        (gzip.compress(data)[:-8] + b"12345678", "gzip stream .* is broken"),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=text):
            open_volume(str(path))[0].read()
    # Streams after one another are one, as parallel programs write them.
    path.write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), noise().T)


def test_a_small_file_cannot_unpack_to_a_large_volume(tmp_path):
    save(tmp_path / "v.nii", noise())
    data = bytearray((tmp_path / "v.nii").read_bytes())
    put(40, [3, 30000, 30000, 30000])(data)
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(FormatError, match="cannot hold so many"):
        open_volume(str(tmp_path / "v.nii.gz"))


def test_unpacking_goes_to_the_cache_folder_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(flat_bytes, "SPOOL", 1000)
    voxels = noise((30, 20, 10))
    path = save(tmp_path / "v.nii.gz", voxels)
    volume = open_volume(path)[0]
    found = []

    def read():
        found.append(volume.read())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((one == voxels.T).all() for one in found)
    assert len(found) == 4
    assert list((tmp_path / "cache").iterdir()) == []
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(StorageFullError, match=r"takes 12 kB to unpack.*PROJECTOME_CACHE"):
        open_volume(path)[0].read()


def test_arrays_travel(tmp_path):
    for name in ("v.nii", "v.nii.gz"):
        array = open_volume(save(tmp_path / name, noise()))[0].array
        array.read((slice(0, 1),) * 3)
        again = pickle.loads(pickle.dumps(array))  # noqa: S301 - our own bytes
        np.testing.assert_array_equal(
            again.read(tuple(slice(0, n) for n in again.shape)), noise().T
        )


def test_only_the_box_is_read(tmp_path):
    """A file of 16 GB, all but its header a hole."""
    image = nib.Nifti1Image(np.zeros((1, 1, 1), "uint16"), GRID)
    nib.save(image, tmp_path / "v.nii")
    data = bytearray((tmp_path / "v.nii").read_bytes()[:352])
    put(40, [3, 2000, 2000, 2000])(data)
    with open(tmp_path / "v.nii", "wb") as file:
        file.write(data)
        file.truncate(352 + 2 * 2000**3)
        file.seek(352 + 2 * ((1500 * 2000 + 1000) * 2000 + 500))
        file.write(b"\x07\0")
    volume = open_volume(str(tmp_path / "v.nii"))[0]
    lengths = []
    source = volume.array.source
    object.__setattr__(volume.array, "source", Counting(source, lengths))
    part = volume.read(Box((1499, 999, 499), (1502, 1002, 502)))
    assert part[1, 1, 1] == 7
    assert part.sum() == 7
    assert sum(lengths) <= 3 * 3 * 2 * 2000


class Counting:
    """Notes what is read."""

    def __init__(self, source, lengths):
        self.source, self.lengths, self.url = source, lengths, source.url

    def read(self, start, length):
        self.lengths.append(length)
        return self.source.read(start, length)


@given(
    shape=st.tuples(*[st.integers(1, 6)] * 5),
    data=st.data(),
)
def test_any_box_is_the_part_of_the_whole(shape, data, tmp_path_factory):
    """Whatever is read as one piece: pieces and rows of every size."""
    from unittest import mock

    from projectome.io.volumes import flat_array

    voxels = noise(shape)
    path = save(tmp_path_factory.mktemp("v") / "v.nii", voxels, dim=[5, *shape, 1, 1])
    time = data.draw(st.integers(0, shape[3] - 1))
    array = open_volume(path, time=time)[0].array
    whole = voxels[:, :, :, time].T
    whole = whole if len(array.shape) == 4 else whole[0]
    spans = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in array.shape]
    index = tuple(slice(*span) for span in spans)
    limits = {"WHOLE": data.draw(st.integers(0, 60)), "PIECE": data.draw(st.integers(1, 200))}
    with mock.patch.multiple(flat_array, **limits):
        np.testing.assert_array_equal(array.read(index), whole[index])


@given(
    start=st.integers(0, 360),
    content=st.binary(min_size=1, max_size=8),
    packed=st.booleans(),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
)
def test_mutated_headers_give_a_value_or_an_error(start, content, packed, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    save(folder / "v.nii", noise(), kind=kind)
    data = bytearray((folder / "v.nii").read_bytes())
    data[start : start + len(content)] = content
    (folder / "v.nii").write_bytes(data)
    if packed:
        (folder / "v.nii.gz").write_bytes(gzip.compress(data))
    for options in ({}, {"voxel_size": (1, 1, 1), "time": 0}):
        with contextlib.suppress(ProjectomeError):
            volume = open_volume(str(folder / ("v.nii.gz" if packed else "v.nii")), **options)[0]
            assert volume.read().nbytes < 10**6


def test_packed_bytes_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 100))
    from projectome.io.access import Access

    with pytest.raises(FormatError, match="cannot hold so many"):
        PackedBytes(str(tmp_path / "a.gz"), Access.of(), "gzip", nbytes=10**12)


@pytest.mark.server
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_from_an_object_store(name, tmp_path):
    import hadro

    voxels = noise((60, 50, 40))
    save(tmp_path / "bucket" / name, voxels)
    with hadro.Server(data=str(tmp_path)) as server:
        volume = open_volume(f"s3://bucket/{name}", endpoint=server.endpoint)[0]
        box = Box((10, 20, 30), (20, 30, 40))
        np.testing.assert_array_equal(volume.read(box), voxels.T[box.slices])
