"""Writing NIfTI and NRRD, read again by projectome, nibabel, pynrrd and ITK."""

import gzip
import json
import subprocess
import sys
import zlib

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import VOXELS, Affine, itk_geometry
from projectome.core.box import Box
from projectome.core.space import Space, all_orientations
from projectome.core.view import crop
from projectome.core.volume import Volume
from projectome.engine.events import BlockDone
from projectome.errors import OutputBusyError, OutputExistsError, ParameterError, StorageFullError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes import flat_write
from projectome.io.volumes.nifti_write import write_nifti
from projectome.io.volumes.nrrd_write import write_nrrd
from projectome.io.volumes.write import write_volume
from projectome.workflows.convert import convert

RNG = np.random.default_rng(3)
VOXELS_ZYX = RNG.integers(0, 2**16, (5, 6, 7), dtype="uint16")
SPACE = Space(toward=("inferior", "anterior", "right"), name="gel", expansion=4.0)


def compressed_nrrd(volume, path, **options):
    write_nrrd(volume, path, compressed=True, **options)


WRITERS = [
    pytest.param(".nii", write_nifti, id="nii"),
    pytest.param(".nii.gz", write_nifti, id="nii.gz"),
    pytest.param(".nrrd", write_nrrd, id="nrrd"),
    pytest.param(".nrrd", compressed_nrrd, id="nrrd gzip"),
]
PLAIN = [WRITERS[0], WRITERS[2]]


def volume(voxels=VOXELS_ZYX, *, space=SPACE, translation=(3.0, -5.0, 7.25), **more):
    return Volume.from_array(
        voxels, voxel_size=(16.0, 14.4, 10.1), translation=translation, space=space, **more
    )


class Lazy:
    """A constant array of any size with a few other voxels; may fail on its way."""

    def __init__(self, shape, marks=(), fail_at=None, dtype="uint16", base=0):
        self.shape, self.marks, self.fail_at, self.base = shape, dict(marks), fail_at, base
        self.dtype = np.dtype(dtype)
        self.chunks = (1, *shape[1:])
        self.read_planes = []

    def read(self, index):
        z, y, _ = index
        if y.stop - y.start > 1:
            self.read_planes += list(range(z.start, z.stop))
            if self.fail_at is not None and z.stop > self.fail_at:
                raise KeyboardInterrupt
        out = np.full([s.stop - s.start for s in index], self.base, self.dtype)
        for place, value in self.marks.items():
            if all(s.start <= i < s.stop for s, i in zip(index, place, strict=True)):
                out[tuple(i - s.start for s, i in zip(index, place, strict=True))] = value
        return out


@pytest.mark.parametrize(("end", "write"), WRITERS)
@pytest.mark.parametrize("toward", all_orientations()[::5])
def test_what_is_written_is_read(end, write, toward, tmp_path):
    given = volume(space=Space(toward=toward, name="gel", expansion=2.5))
    path = str(tmp_path / f"v{end}")
    write(given, path)
    pyramid = open_volume(path)
    found = pyramid[0]
    assert found.space == given.space
    np.testing.assert_allclose(found.affine.matrix, given.affine.matrix, rtol=1e-9, atol=1e-5)
    assert found.voxel_size == pytest.approx(given.voxel_size, rel=1e-9)
    np.testing.assert_array_equal(found.read(), VOXELS_ZYX, strict=True)
    image, placed = sitk.ReadImage(path), itk_geometry(given.affine, given.shape)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS_ZYX, strict=True)
    np.testing.assert_allclose(image.GetOrigin(), placed.origin, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), placed.spacing, atol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), placed.direction.ravel(), atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [f"v{end}"]


@given(
    toward=st.sampled_from(all_orientations()),
    size=st.tuples(*[st.floats(0.01, 1000)] * 3),
    shift=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
)
def test_nibabel_sees_every_orientation(toward, size, shift, tmp_path_factory):
    """Both forms agree, in millimetres and RAS, with what ITK should see in LPS."""
    space = Space(toward=toward)
    given = Volume.from_array(VOXELS_ZYX, voxel_size=size, translation=shift, space=space)
    path = tmp_path_factory.mktemp("v") / "v.nii"
    write_nifti(given, str(path))
    image = nib.load(path)
    assert image.header.get_xyzt_units()[0] == "mm"
    placed = itk_geometry(given.affine, given.shape)
    wanted = np.eye(4)
    wanted[:3, :3] = placed.direction * placed.spacing
    wanted[:3, 3] = placed.origin
    wanted = np.diag([-1, -1, 1, 1]) @ wanted
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(image.get_sform(coded=True)[0], wanted, atol=1e-6 * scale)
    np.testing.assert_allclose(image.get_qform(coded=True)[0], wanted, atol=1e-5 * scale)
    assert "".join(nib.aff2axcodes(image.affine)) == space.code(meaning="toward")[::-1]
    np.testing.assert_array_equal(np.asarray(image.dataobj), VOXELS_ZYX.T)


@pytest.mark.parametrize(("end", "write"), WRITERS)
@pytest.mark.parametrize("toward", all_orientations()[3::11])
def test_itk_sees_a_part_where_it_sees_it_in_the_whole(end, write, toward, tmp_path):
    """The part keeps its place when it goes through files of its own."""
    space = Space(toward=toward, name="gel", expansion=2.5)
    whole = volume(space=space)
    box = Box((1, 0, 2), (4, 2, 5))
    paths = [str(tmp_path / f"{name}{end}") for name in ("whole", "part", "kept")]
    part = crop(whole, box)
    write(whole, paths[0])
    write(part, paths[1])
    write_volume(part, str(tmp_path / "part.zarr"))
    write(open_volume(str(tmp_path / "part.zarr"))[0], paths[2])
    images = [sitk.ReadImage(path) for path in paths]
    for index in np.ndindex(*box.shape):
        z, y, x = (int(i) for i in index)
        there = images[0].TransformIndexToPhysicalPoint((x + 2, y, z + 1))
        for image in images[1:]:
            here = image.TransformIndexToPhysicalPoint((x, y, z))
            np.testing.assert_allclose(here, there, atol=1e-5)
            assert image[x, y, z] == images[0][x + 2, y, z + 1]
    for path in paths[1:]:
        found = open_volume(path)[0]
        np.testing.assert_allclose(found.affine.matrix, part.affine.matrix, atol=1e-4)
        np.testing.assert_allclose(found.space.span, part.space.span, rtol=1e-9)
    stated = open_volume(paths[1], voxel_size=(3, 2, 1))[0]
    assert stated.space.span is None


@pytest.mark.parametrize("end", [".zarr", ".tif", ".h5", "precomputed"])
def test_every_format_keeps_the_whole_that_a_part_is_from(end, tmp_path):
    part = crop(volume(), Box((0, 0, 1), (2, 1, 3)))
    write_volume(part, str(tmp_path / "part.zarr"))
    prefix = "precomputed://" if end == "precomputed" else ""
    place = f"{prefix}{tmp_path / 'copy'}{end if not prefix else ''}"
    found = convert(VolumeSource(str(tmp_path / "part.zarr")), place)[0]
    assert found.space.span == part.space.span
    assert found.space.span is not None


def test_the_whole_brain_of_the_notebook(tmp_path):
    """925 x 1280 x 464 voxels of 14.4, 14.4 and 16 um; all chunks but two are missing."""
    path = str(tmp_path / "brain.zarr")
    shape = (464, 1280, 925)
    array = zarr.create_array(
        path, shape=shape, chunks=(64, 256, 256), dtype="uint16", zarr_format=2
    )
    array[1, 2, 3] = 7
    array[463, 1279, 924] = 9
    brain = open_volume(path, voxel_size=(16, 14.4, 14.4), orientation="IAR", meaning="toward")[0]
    write_nifti(brain, str(tmp_path / "brain.nii"))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "brain.nii"))
    reader.ReadImageInformation()
    assert reader.GetSize() == (925, 1280, 464)
    np.testing.assert_allclose(reader.GetSpacing(), (0.0144, 0.0144, 0.016), rtol=1e-6)
    np.testing.assert_allclose(reader.GetDirection(), -np.eye(3).ravel(), atol=1e-7)
    np.testing.assert_allclose(reader.GetOrigin(), (13.3056, 18.4176, 7.408), rtol=1e-6)
    voxels = nib.load(tmp_path / "brain.nii").dataobj
    assert voxels[3, 2, 1] == 7
    assert voxels[924, 1279, 463] == 9
    assert voxels[3, 2].sum() == 7
    used = (tmp_path / "brain.nii").stat().st_blocks * 512
    assert used < 2 * 64 * 2**20 + 2**20 < brain.nbytes  # slabs of zeros take no room
    found = open_volume(str(tmp_path / "brain.nii"))
    assert not found.problems
    np.testing.assert_allclose(found[0].affine.matrix, brain.affine.matrix, rtol=1e-9, atol=1e-6)
    assert found.space.toward == ("inferior", "anterior", "right")


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_channels_and_their_names(end, write, tmp_path):
    names = ('a "b"\\n', "GFP é")
    voxels = np.stack([VOXELS_ZYX, VOXELS_ZYX // 2])
    path = str(tmp_path / f"v{end}")
    write(volume(voxels, channels=names), path)
    found = open_volume(path)[0]
    assert found.channels == names
    np.testing.assert_array_equal(found.read(), voxels, strict=True)
    image = sitk.ReadImage(path)
    assert (image.GetDimension(), image.GetNumberOfComponentsPerPixel()) == (3, 2)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels.transpose(1, 2, 3, 0))
    write(volume(voxels[:1], channels=("alone",)), path, overwrite=True)
    assert open_volume(path)[0].channels == ("alone",)


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_an_unknown_orientation_stays_unknown(end, write, tmp_path):
    path = str(tmp_path / f"v{end}")
    for toward in ((None, None, None), (None, "left", None)):
        write(volume(space=Space(toward=toward, expansion=3)), path, overwrite=True)
        pyramid = open_volume(path)
        assert pyramid.space == Space(toward=toward, expansion=3)
        assert pyramid[0].affine.translation == (3.0, -5.0, 7.25)
        np.testing.assert_allclose(pyramid[0].voxel_size, (16.0, 14.4, 10.1), rtol=1e-9)
        assert any("orientation is unknown" in p.message for p in pyramid.problems)
        np.testing.assert_allclose(
            sitk.ReadImage(path).GetSpacing(), (0.0101, 0.0144, 0.016), rtol=1e-6
        )
    if "nii" in end:
        header = nib.load(path).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_a_rotated_grid_is_written_where_it_is(end, write, tmp_path):
    turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * [16, 14.4, 10.1], (100, 200, 300)
    given = Volume(
        volume().array, Affine(matrix, VOXELS, Space(toward=("superior", "posterior", "left")))
    )
    path = str(tmp_path / f"v{end}")
    write(given, path)
    np.testing.assert_allclose(open_volume(path)[0].affine.matrix, matrix, atol=1e-4)
    image = sitk.ReadImage(path)
    there = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2)))[::-1] * 1000
    np.testing.assert_allclose(there, given.affine([[2, 3, 4]])[0], atol=1e-3)
    unknown = Volume(given.array, given.affine.with_target(Space()))
    with pytest.raises(ParameterError, match=r"rotated or sheared.*--orientation"):
        write(unknown, path, overwrite=True)


def test_a_sheared_grid_has_no_qform(tmp_path):
    matrix = np.diag([1.0, 1, 1, 1])
    matrix[0, 1] = 0.5
    given = Volume(
        volume().array, Affine(matrix, VOXELS, Space(toward=("superior", "posterior", "left")))
    )
    write_nifti(given, str(tmp_path / "v.nii"))
    assert int(nib.load(tmp_path / "v.nii").header["qform_code"]) == 0
    np.testing.assert_allclose(
        open_volume(str(tmp_path / "v.nii"))[0].affine.matrix, matrix, atol=1e-6
    )


@pytest.mark.parametrize(
    "dtype",
    [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize(("end", "write"), PLAIN)
def test_element_types_are_kept(end, write, dtype, tmp_path):
    voxels = (VOXELS_ZYX / 3 - 9000).astype(dtype) if dtype[0] != "u" else VOXELS_ZYX.astype(dtype)
    path = str(tmp_path / f"v{end}")
    write(volume(voxels.astype(np.dtype(dtype).newbyteorder(">"))), path)
    np.testing.assert_array_equal(open_volume(path)[0].read(), voxels, strict=True)
    other = np.asarray(nib.load(path).dataobj) if end == ".nii" else nrrd.read(path)[0]
    np.testing.assert_array_equal(other.T, voxels)
    assert other.dtype == dtype


@pytest.mark.parametrize(("end", "write"), PLAIN)
@pytest.mark.parametrize("dtype", ["bool", "float16"])
def test_other_element_types_are_refused(end, write, dtype, tmp_path):
    with pytest.raises(ParameterError, match=f"cannot hold {dtype}.*OME-Zarr"):
        write(volume(VOXELS_ZYX.astype(dtype)), str(tmp_path / f"v{end}"))


def test_labels_and_descriptions(tmp_path):
    path = tmp_path / "v.nii"
    write_nifti(volume(kind="labels"), str(path))
    image = nib.load(path)
    assert image.header.get_intent()[0] == "label"
    assert (
        bytes(image.header["descrip"].item()) == b"projectome kind=labels expansion=4.0 space=gel"
    )
    assert open_volume(str(path))[0].kind == "labels"
    # A program that keeps the description and drops extensions.
    image.header.extensions.clear()
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    found = open_volume(str(path))[0]
    assert (found.kind, found.space.name, found.space.expansion) == ("labels", "gel", 4.0)
    long = Space(toward=SPACE.toward, name="é" * 90, expansion=4)
    write_nifti(volume(space=long), str(path), overwrite=True)
    assert open_volume(str(path)).space == long


def test_long_axes_are_nifti_2(tmp_path):
    given = volume(np.arange(40000, dtype="uint16").reshape(1, 1, 40000))
    write_nifti(given, str(tmp_path / "v.nii"))
    pyramid = open_volume(str(tmp_path / "v.nii"))
    assert pyramid.metadata["version"] == "2"
    np.testing.assert_array_equal(pyramid[0].read(), given.read())
    np.testing.assert_allclose(pyramid[0].affine.matrix, given.affine.matrix, atol=1e-9)
    image = nib.load(tmp_path / "v.nii")
    assert isinstance(image, nib.Nifti2Image)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, given.read())


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_the_same_volume_is_the_same_bytes(end, write, tmp_path):
    paths = [tmp_path / f"{name}{end}" for name in "ab"]
    for path in paths:
        write(volume(), str(path))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_a_file_is_replaced_only_on_request(end, write, tmp_path):
    path = tmp_path / f"v{end}"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write(volume(), str(path))
    assert path.read_bytes() == b"mine"
    write(volume(), str(path), overwrite=True)
    assert open_volume(str(path))[0].shape == (5, 6, 7)
    with pytest.raises(OutputExistsError):
        write(volume(), str(tmp_path), overwrite=True)
    with pytest.raises(ParameterError, match="local paths only"):
        write(volume(), f"s3://bucket/v{end}")


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_progress_counts_voxels_of_all_channels(end, write, tmp_path, monkeypatch):
    monkeypatch.setattr(flat_write, "SLAB", 2 * 6 * 7 * 2)
    told = []
    given = volume(np.stack([VOXELS_ZYX] * 2), channels=("a", "b"))
    write(given, str(tmp_path / f"v{end}"), on_progress=lambda *n: told.append(n))
    assert [done for done, _ in told] == [84, 168, 210, 294, 378, 420]
    assert {total for _, total in told} == {420}
    np.testing.assert_array_equal(open_volume(str(tmp_path / f"v{end}"))[0].read(), given.read())


def interrupted(tmp_path, monkeypatch, end, write, *, at=6):
    """Stop writing 10 planes, two a slab, before plane `at` is written; return the path."""
    monkeypatch.setattr(flat_write, "SLAB", 2 * 8 * 9 * 2)
    path = tmp_path / f"v{end}"
    with pytest.raises(KeyboardInterrupt):
        write(marked(fail_at=at), str(path))
    assert not path.exists()
    return path


def marked(fail_at=None, value=5, base=0):
    array = Lazy((10, 8, 9), {(z, 1, 2): value + z for z in (0, 1, 4, 5, 9)}, fail_at, base=base)
    return Volume(array, Affine.from_scale((1, 1, 1), target=SPACE))


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_the_same_call_goes_on_after_the_last_complete_slab(end, write, tmp_path, monkeypatch):
    path = interrupted(tmp_path, monkeypatch, end, write)
    partial = tmp_path / f".v{end}.partial"
    with open(partial, "ab") as file:
        file.write(b"torn")  # part of a slab
    again = marked()
    told = []
    write(again, str(path), on_progress=lambda done, total: told.append(done))
    assert again.array.read_planes == [5, 6, 7, 8, 9]  # the last one that is there, then the rest
    assert told == [8 * 72, 10 * 72]
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), marked().read())
    assert [p.name for p in tmp_path.iterdir()] == [f"v{end}"]
    write(marked(), str(tmp_path / f"w{end}"))
    assert (tmp_path / f"w{end}").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_another_volume_or_overwrite_starts_over(end, write, tmp_path, monkeypatch):
    for other, options in (
        (marked(value=50), {}),
        (marked(base=50), {}),
        (crop(marked(), marked().box.__class__((0, 0, 0), (9, 8, 9))), {}),
        (marked(), {"overwrite": True}),
    ):
        path = interrupted(tmp_path, monkeypatch, end, write)
        write(other, str(path), **options)
        np.testing.assert_array_equal(open_volume(str(path))[0].read(), other.read())
        path.unlink()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("end", "write"), WRITERS)
def test_broken_leftovers_start_over(end, write, tmp_path, monkeypatch):
    path = interrupted(tmp_path, monkeypatch, end, write)
    partial = tmp_path / f".v{end}.partial"
    data = bytearray(partial.read_bytes())
    data[-8 * 9 * 2 :] = b"\1" * (8 * 9 * 2)  # not what the last plane holds
    partial.write_bytes(data)
    write(marked(), str(path))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), marked().read())
    path = interrupted(tmp_path / "b", monkeypatch, end, write)
    (tmp_path / "b" / f".v{end}.plan.json").write_text("{")
    write(marked(), str(path))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), marked().read())


def test_zeros_leave_no_trace_of_what_was_there(tmp_path, monkeypatch):
    """Minus zero is no hole, and a slab of zeros is none either where something lies."""
    voxels = np.full((4, 8, 9), -0.0, "float32")
    write_nifti(volume(voxels), str(tmp_path / "v.nii"))
    assert np.signbit(open_volume(str(tmp_path / "v.nii"))[0].read()).all()


@pytest.mark.parametrize("spoilt", [b"", b"6 ", b"\0\n", b"6 99999 1 1\n", b"7 80 1 1\n", b"x\n"])
def test_marks_that_are_torn_or_not_true_count_for_nothing(spoilt, tmp_path, monkeypatch):
    path = interrupted(tmp_path, monkeypatch, ".nii.gz", write_nifti)
    marks = tmp_path / ".v.nii.gz.marks"
    marks.write_bytes(marks.read_bytes() + spoilt)
    write_nifti(marked(), str(path))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), marked().read())
    marks.write_bytes(b"6 200 9 9\n")  # of a file that is not there
    write_nifti(marked(), str(path), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["v.nii.gz"]


def test_what_is_compressed_slab_by_slab_is_one_stream(tmp_path, monkeypatch):
    """Some programs read the first stream of a file alone."""
    monkeypatch.setattr(flat_write, "SLAB", 2 * 8 * 9 * 2)
    write_nifti(marked(), str(tmp_path / "v.nii.gz"))
    write_nifti(marked(), str(tmp_path / "v.nii"))
    stream = zlib.decompressobj(31)
    assert (
        stream.decompress((tmp_path / "v.nii.gz").read_bytes()) == (tmp_path / "v.nii").read_bytes()
    )
    assert stream.eof
    assert stream.unused_data == b""


KILLED = """
import sys, time
from projectome.io.source import VolumeSource
from projectome.io.volumes import flat_write
from projectome.workflows.convert import convert
flat_write.SLAB = 2**14
add = flat_write.{body}.add
def slow(self, slab):
    add(self, slab)
    print("slab\\n", end="", flush=True)
    time.sleep(0.05)
flat_write.{body}.add = slow
convert(VolumeSource(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize(("name", "body"), [("v.nii.gz", "_Packed"), ("v.nrrd", "_Plain")])
def test_a_killed_file_is_gone_on_with_to_the_same_bytes(name, body, tmp_path, monkeypatch):
    monkeypatch.setattr(flat_write, "SLAB", 2**14)
    voxels = RNG.integers(0, 900, (40, 64, 64), dtype="uint16")
    write_volume(volume(voxels), str(tmp_path / "s.zarr"), levels=1, chunks=(2, 64, 64))
    out, source = tmp_path / "a" / name, VolumeSource(str(tmp_path / "s.zarr"))
    command = [sys.executable, "-c", KILLED.format(body=body), source.url, str(out)]
    out.parent.mkdir()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert process.stdout.readline() == "slab\n"
        process.kill()
    assert not out.exists()
    told = []
    convert(source, str(out), on_event=told.append)
    assert sum(isinstance(event, BlockDone) for event in told) == 40
    (tmp_path / "b").mkdir()
    convert(source, str(tmp_path / "b" / name))
    assert [p.name for p in out.parent.iterdir()] == [name]
    assert out.read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_programs_at_one_output(tmp_path, monkeypatch):
    """The second starts over with another volume while the first still writes."""
    path = tmp_path / "v.nii"
    monkeypatch.setattr(flat_write, "SLAB", 2 * 8 * 9 * 2)

    def second(done, total):
        if done == 4 * 72:
            with pytest.raises(KeyboardInterrupt):
                write_nifti(marked(base=70, fail_at=6), str(path))

    with pytest.raises(OutputBusyError, match=r"'v.nii' in .* at the same time"):
        write_nifti(marked(), str(path), on_progress=second)
    assert not path.exists()
    write_nifti(marked(base=70), str(path))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), marked(base=70).read())


def test_a_full_disk_keeps_what_is_written(tmp_path, monkeypatch):
    import errno

    monkeypatch.setattr(flat_write, "SLAB", 2 * 8 * 9 * 2)
    given = marked()
    real = given.array.read

    def full(index):
        if index[0].start == 4 and index[1].stop - index[1].start > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(index)

    given.array.read = full
    with pytest.raises(StorageFullError, match=r"v.nii.*what is finished is kept"):
        write_nifti(given, str(tmp_path / "v.nii"))
    assert {p.name for p in tmp_path.iterdir()} == {".v.nii.partial", ".v.nii.plan.json"}
    assert set(json.loads((tmp_path / ".v.nii.plan.json").read_text())) == {"header", "content"}


def test_memory_is_bounded_by_slabs(tmp_path, monkeypatch):
    monkeypatch.setattr(flat_write, "SLAB", 3 * 8 * 9 * 2)
    array = Lazy((40, 8, 9))
    sizes = []
    real = array.read
    array.read = lambda index: sizes.append(index[0].stop - index[0].start) or real(index)
    given = Volume(array, Affine.from_scale((1, 1, 1), target=SPACE))
    write_nifti(given, str(tmp_path / "v.nii.gz"))
    assert max(sizes) == 3
    with gzip.open(tmp_path / "v.nii.gz") as file:
        assert not any(file.read()[-40 * 8 * 9 * 2 :])
