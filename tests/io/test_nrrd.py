"""NRRD, against pynrrd and ITK."""

import bz2
import contextlib
import gzip
import hashlib

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import itk_geometry
from projectome.core.space import all_orientations, lps_directions
from projectome.errors import FormatError, ParameterError, ProjectomeError, StoreError
from projectome.io.open import open_volume
from projectome.testing.readers import Example, ReaderContract


def noise(shape=(7, 6, 5), dtype="uint16"):
    """Voxels in the order of the file: x, y, z."""
    return np.random.default_rng(1).integers(0, 120, shape).astype(dtype)


STATED = {
    "space": "left-posterior-superior",
    "space directions": np.diag([0.25, 0.5, 2.0]),
    "space origin": [0, 0, 0],
    "space units": ["mm", "mm", "mm"],
    "kinds": ["domain"] * 3,
}


def save(path, voxels, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), voxels, {k.replace("_", " "): v for k, v in header.items()})
    return str(path)


def plain(path, lines, data=b"", *, end=b"\n"):
    """A file written by hand."""
    path.write_bytes(end.join([b"NRRD0004", *(line.encode() for line in lines), b""]) + end + data)
    return str(path)


SMALL = ["type: uchar", "dimension: 3", "sizes: 2 3 4", "encoding: raw"]
SPACED = [*SMALL, "spacings: 1 2 3", 'units: "um" "um" "um"']


def messages(pyramid):
    return " ".join(str(problem) for problem in pyramid.problems)


class Nrrd(ReaderContract):
    """Voxels of 2, 0.5 and 0.25 mm; the centre of voxel 0 is the origin."""

    name, header = "brain.nrrd", {"encoding": "raw"}

    def write(self, folder):
        voxels = np.random.default_rng(0).integers(0, 2**16, (50, 40, 6), dtype="uint16")
        save(
            folder / self.name,
            voxels,
            **{k.replace(" ", "_"): v for k, v in STATED.items()},
            **self.header,
        )
        return Example(folder / self.name, voxels.T, (2000.0, 500.0, 250.0))


class TestRaw(Nrrd):
    pass


class TestGzip(Nrrd):
    header = {"encoding": "gzip"}  # noqa: RUF012


class TestBzip2(Nrrd):
    header = {"encoding": "bzip2"}  # noqa: RUF012


class TestBigEndian(Nrrd):
    header = {"encoding": "raw", "endian": "big"}  # noqa: RUF012


class TestChannels(ReaderContract):
    """Channels along the fastest axis, as ITK has them, in micrometres."""

    def write(self, folder):
        voxels = np.random.default_rng(0).integers(0, 2**16, (6, 40, 50, 3), dtype="uint16")
        image = sitk.GetImageFromArray(voxels, isVector=True)
        image.SetSpacing((0.25, 0.5, 2.0))
        folder.mkdir()
        sitk.WriteImage(image, str(folder / "brain.nrrd"))
        names = ("channel 0", "channel 1", "channel 2")
        return Example(
            folder / "brain.nrrd", voxels.transpose(3, 0, 1, 2), (2.0, 0.5, 0.25), channels=names
        )


@given(
    toward=st.sampled_from(all_orientations()),
    size=st.tuples(*[st.floats(1e-3, 10)] * 3),
    origin=st.tuples(*[st.floats(-100, 100)] * 3),
)
def test_every_orientation_is_where_itk_sees_it(toward, size, origin, tmp_path_factory):
    image = sitk.GetImageFromArray(noise().T.copy())
    image.SetSpacing(size)
    image.SetOrigin(origin)
    image.SetDirection(lps_directions(toward[::-1]).ravel())
    path = str(tmp_path_factory.mktemp("v") / "v.nrrd")
    sitk.WriteImage(image, path)
    mm = tuple(1000 * v for v in size[::-1])
    volume = open_volume(path, voxel_size=mm)[0]  # ITK writes no unit
    np.testing.assert_array_equal(volume.read(), noise().T)
    assert volume.space.toward == toward
    ours = itk_geometry(volume.affine, volume.shape)
    tolerance = 1e-9 * (1 + max(map(abs, origin)) + 7 * max(size))
    np.testing.assert_allclose(ours.origin, image.GetOrigin(), atol=tolerance)
    np.testing.assert_allclose(ours.spacing, image.GetSpacing(), rtol=1e-9)
    np.testing.assert_allclose(ours.direction.ravel(), image.GetDirection(), atol=1e-12)


@pytest.mark.parametrize(
    ("space", "toward"),
    [
        ("right-anterior-superior", ("superior", "anterior", "right")),
        ("RAS", ("superior", "anterior", "right")),
        ("left-anterior-superior", ("superior", "anterior", "left")),
        ("LPS", ("superior", "posterior", "left")),
    ],
)
def test_anatomical_spaces(space, toward, tmp_path):
    path = save(
        tmp_path / "v.nrrd", noise(), **{**STATED, "space": space, "space origin": [1, 2, 3]}
    )
    volume = open_volume(path)[0]
    assert volume.space.toward == toward
    assert volume.voxel_size == (2000.0, 500.0, 250.0)
    placed = itk_geometry(volume.affine, volume.shape)
    signs = [1 if word in ("left", "posterior", "superior") else -1 for word in toward[::-1]]
    np.testing.assert_allclose(placed.origin, np.multiply(signs, [1, 2, 3]))


def test_identity_in_lps_is_doubted(tmp_path):
    path = save(tmp_path / "v.nrrd", noise(), **STATED)
    pyramid = open_volume(path)
    assert pyramid.space.toward == ("superior", "posterior", "left")
    assert "where nobody stated an orientation" in messages(pyramid)


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed"])
def test_other_spaces_say_no_orientation(space, tmp_path):
    header = {**STATED, "space": space, "space origin": [1, 2, 3]}
    pyramid = open_volume(save(tmp_path / "v.nrrd", noise(), **header))
    assert pyramid.space.toward == (None, None, None)
    assert pyramid[0].affine.translation == (3000.0, 2000.0, 1000.0)
    assert "No anatomical space is stated" in messages(pyramid)
    header["space directions"] = np.diag([-0.25, 0.5, 2.0])
    pyramid = open_volume(save(tmp_path / "v.nrrd", noise(), **header))
    assert pyramid[0].affine.translation == (0, 0, 0)
    assert "so is the position" in messages(pyramid)


def test_rotated_axes_are_kept(tmp_path):
    turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    header = {**STATED, "space directions": turn, "space origin": [1, 2, 3]}
    pyramid = open_volume(save(tmp_path / "v.nrrd", noise(), **header))
    assert "rotated or sheared by up to 36.9 degrees" in messages(pyramid)
    there = pyramid[0].affine([[4, 3, 2]])[0][::-1] / 1000
    np.testing.assert_allclose(there, turn.T @ [2, 3, 4] + [1, 2, 3])


@pytest.mark.parametrize("unit", [True, False])
def test_a_missing_unit_is_said(unit, tmp_path):
    header = dict(STATED)
    if not unit:
        del header["space units"]
    pyramid = open_volume(save(tmp_path / "v.nrrd", noise(), **header))
    factor = 1000 if unit else 1
    assert pyramid[0].voxel_size == (2.0 * factor, 0.5 * factor, 0.25 * factor)
    assert ("--voxel-size 2000,500,250" in messages(pyramid)) != unit


def test_spacings_and_the_half_voxel_of_axis_mins(tmp_path):
    """ "axis mins" is the edge of the first cell; with centering node it is its centre."""
    lines = [*SPACED, "axis mins: 10 20 30"]
    data = bytes(range(24))
    cells = open_volume(plain(tmp_path / "v.nrrd", [*lines, "centers: cell cell cell"], data))[0]
    assert cells.voxel_size == (3.0, 2.0, 1.0)
    assert cells.affine.translation == (31.5, 21.0, 10.5)
    assert cells.space.toward == (None, None, None)
    nodes = open_volume(plain(tmp_path / "v.nrrd", [*lines, "centers: node node node"], data))[0]
    assert nodes.affine.translation == (30.0, 20.0, 10.0)
    np.testing.assert_array_equal(nodes.read().ravel(), np.arange(24))


def test_no_spacing_is_asked_for(tmp_path):
    path = plain(tmp_path / "v.nrrd", SMALL, bytes(24))
    with pytest.raises(ParameterError, match=r"4 x 3 x 2 uint8.*--voxel-size Z,Y,X"):
        open_volume(path)
    assert open_volume(path, voxel_size=(3, 2, 1))[0].voxel_size == (3, 2, 1)
    path = plain(tmp_path / "v.nrrd", [*SMALL, "spacings: 1 nan 3"], bytes(24))
    with pytest.raises(ParameterError, match=r"only z 3, x 1 um"):
        open_volume(path)


def test_kinds_and_what_is_not_clear(tmp_path):
    data = bytes(range(48))
    lines = ["type: uchar", "dimension: 4", "sizes: 2 3 4 2", "encoding: raw", "units: um um um um"]
    lines.append("spacings: 1 2 3 nan")
    path = plain(tmp_path / "v.nrrd", lines, data)
    with pytest.raises(ParameterError, match=r"not clear.*--axes czyx"):
        open_volume(path)
    assert len(open_volume(path, axes="czyx", voxel_size=(3, 2, 1))[0].channels) == 2
    path = plain(tmp_path / "v.nrrd", [*lines, "kinds: space space space time"], data)
    with pytest.raises(ParameterError, match="--time N, 0 to 1"):
        open_volume(path)
    assert open_volume(path, time=1)[0].read()[0, 0, 0] == 24
    path = plain(tmp_path / "v.nrrd", [*lines, "kinds: space space space RGB-color"], data)
    assert open_volume(path)[0].channels == ("red", "green")
    path = plain(tmp_path / "v.nrrd", [*lines, "kinds: complex space space space"], data)
    with pytest.raises(FormatError, match="kinds"):
        open_volume(path)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_encodings_skips_and_line_ends(end, tmp_path):
    data = np.arange(24, dtype="uint8")
    path = tmp_path / "v.nrrd"
    base = [line for line in SPACED if not line.startswith("encoding")]
    for lines, content in (
        (["encoding: raw"], data.tobytes()),
        (["encoding: raw", "byte skip: 3"], b"abc" + data.tobytes()),
        (["encoding: raw", "byte skip: -1"], b"whatever" + data.tobytes()),
        (["encoding: raw", "line skip: 2"], b"a\nb\n" + data.tobytes()),
        (["encoding: gz"], gzip.compress(data.tobytes())),
        (["encoding: gzip", "byteskip: 3"], gzip.compress(b"abc" + data.tobytes())),
        (["encoding: bz2"], bz2.compress(data.tobytes())),
        (["encoding: ascii"], " ".join(map(str, data)).encode() + b"\n"),
        (["encoding: txt"], "\n".join(map(str, data)).encode()),
    ):
        volume = open_volume(plain(path, [*base, *lines], content, end=end))[0]
        np.testing.assert_array_equal(volume.read().ravel(), data)


def test_detached_headers(tmp_path):
    save(tmp_path / "v.nhdr", noise(), encoding="raw", **STATED)
    assert {p.name for p in tmp_path.iterdir()} == {"v.nhdr", "v.raw"}
    np.testing.assert_array_equal(open_volume(str(tmp_path / "v.nhdr"))[0].read(), noise().T)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "v.raw").write_bytes(bytes(range(24)))
    for name in ("sub/v.raw", "./sub/v.raw"):
        path = plain(tmp_path / "w.nhdr", [*SPACED, f"data file: {name}"])
        assert open_volume(path)[0].read().max() == 23


@pytest.mark.parametrize(
    "name", ["../x.raw", "/etc/passwd", "a/../../x.raw", "s3://b/x", "link.raw"]
)
def test_a_data_file_elsewhere_is_refused(name, tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(24))
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "link.raw").symlink_to(tmp_path / "x.raw")
    path = plain(tmp_path / "v" / "v.nhdr", [*SPACED, f"data file: {name}"])
    with pytest.raises(StoreError, match=r"leads out of it|symbolic link"):
        open_volume(path)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["type: block", *SMALL[1:]], "no number that a volume holds"),
        (["type: short", *SMALL[1:]], "neither little nor big"),
        (["type: uchar", "dimension: 3", "sizes: 2 3", "encoding: raw"], "dimension '3'"),
        (["type: uchar", "dimension: 3", "sizes: 2 0 4", "encoding: raw"], "no lengths of axes"),
        (["type: uchar", "dimension: 3", "sizes: 2 x 4", "encoding: raw"], "no lengths of axes"),
        ([*SMALL[:3], "encoding: hex"], "cannot be read; ascii, bzip2, gzip, raw can"),
        ([*SMALL[:3]], "encoding"),
        ([*SMALL, "type: uchar"], "states 'type' twice"),
        ([*SMALL, "what is this"], "which is no field"),
        ([*SMALL, "space directions: (1,0,0) (0,1,0)"], "not one for each of the 3 axes"),
        ([*SMALL, "space directions: (1,0,0) (0,1,0) (0,1)"], "not vectors of one length"),
        ([*SMALL, "space directions: (1,0,0) (0,a,0) (0,0,1)"], r"with the vector \(0,a,0\)"),
        ([*SMALL, "space directions: (1,0,0) (0,1,0) nix"], "'nix' where a vector"),
        ([*SMALL, "kinds: domain"], "not one real kind for each of the 3 axes"),
        ([*SMALL, "byte skip: x"], "no whole number"),
        ([*SMALL, "line skip: 9"], "skips 9 lines"),
        ([*SMALL, "data file: LIST"], "several files"),
        ([*SMALL, "data file: slice%03d.raw 1 9 1"], "several files"),
    ],
)
def test_broken_headers(lines, text, tmp_path):
    path = plain(tmp_path / "v.nrrd", lines, bytes(24))
    with pytest.raises(FormatError, match=text) as caught:
        open_volume(path, voxel_size=(1, 1, 1))
    assert path in str(caught.value)
    assert "estore" in str(caught.value) or "orrect" in str(caught.value)


def test_voxels_that_are_not_there(tmp_path):
    path = plain(tmp_path / "v.nrrd", SPACED, bytes(23))
    with pytest.raises(FormatError, match="cut off"):
        open_volume(path)
    path = plain(tmp_path / "v.nrrd", [*SPACED[:2], "sizes: 1000000 1000000 10", *SPACED[3:]])
    with pytest.raises(FormatError, match="cut off"):
        open_volume(path)
    for encoding in ("gzip", "bzip2"):
        lines = ["type: uchar", "dimension: 3", "sizes: 1000000 1000000 10", "spacings: 1 1 1"]
        path = plain(tmp_path / "v.nrrd", [*lines, f"encoding: {encoding}"], bytes(24))
        with pytest.raises(FormatError, match="cannot hold so many"):
            open_volume(path)
    lines = [*SPACED[:3], "encoding: ascii", *SPACED[4:]]
    for content, text in (
        (b"1 2 3", "3 numbers where its header declares 24"),
        (b"300 " * 24, "no uint8"),
        (b"1.5 " * 24, "no uint8"),
        (b"x " * 24, "no uint8"),
    ):
        with pytest.raises(FormatError, match=text):
            open_volume(plain(tmp_path / "v.nrrd", lines, content))


def test_a_header_without_end(tmp_path):
    (tmp_path / "v.nrrd").write_bytes(b"NRRD0004\n" + b"# \n" * 10**6)
    with pytest.raises(FormatError, match="has to end it within"):
        open_volume(str(tmp_path / "v.nrrd"))


@given(
    start=st.integers(0, 420),
    cut=st.integers(0, 8),
    content=st.one_of(
        st.binary(max_size=6), st.sampled_from([b"9" * 30, b"nan", b"(", b"\n", b":="])
    ),
    encoding=st.sampled_from(["raw", "gzip", "bzip2", "ascii"]),
)
def test_mutated_files_give_a_value_or_an_error(start, cut, content, encoding, tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    save(folder / "v.nrrd", noise(), encoding=encoding, **STATED)
    data = (folder / "v.nrrd").read_bytes()
    (folder / "v.nrrd").write_bytes(data[:start] + content + data[start + cut :])
    for options in ({}, {"voxel_size": (1, 1, 1)}):
        with contextlib.suppress(ProjectomeError):
            volume = open_volume(str(folder / "v.nrrd"), **options)[0]
            assert volume.read().nbytes < 10**6


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "type",
                    "dimension",
                    "sizes",
                    "encoding",
                    "endian",
                    "kinds",
                    "space",
                    "spacings",
                    "space directions",
                    "space origin",
                    "units",
                    "space units",
                    "axis mins",
                    "centers",
                    "byte skip",
                    "line skip",
                    "data file",
                    "key:",
                ]
            ),
            st.text(st.sampled_from('0123456789.-e() ,"%aloxNn/'), max_size=20),
        ),
        max_size=8,
    )
)
def test_any_fields_give_a_value_or_an_error(lines, tmp_path_factory):
    text = [f"{name}: {value}" for name, value in lines]
    known = {name for name, _ in lines}
    text += [line for line in SPACED if line.partition(":")[0] not in known]
    path = plain(tmp_path_factory.mktemp("v") / "v.nrrd", text, bytes(24))
    with contextlib.suppress(ProjectomeError):
        assert open_volume(path)[0].read().nbytes < 10**6


@pytest.mark.realdata
def test_the_annotation_of_the_allen_institute(real):
    """Its header says LPS, which is not what its axes are: anterior, superior, side."""
    path = real / "allen_ccf" / "annotation_25.nrrd"
    pyramid = open_volume(str(path))
    volume = pyramid[0]
    assert volume.shape == (456, 320, 528)
    assert volume.voxel_size == (25, 25, 25)
    assert volume.space.toward == (None, None, None)
    assert "Allen mouse CCF" in messages(pyramid)
    voxels = volume.read()
    assert voxels.dtype == "uint32"
    digest = hashlib.sha256(nrrd.read(str(path))[0].T.tobytes()).digest()
    assert hashlib.sha256(voxels.tobytes()).digest() == digest
    told = open_volume(str(path), orientation="RIP", meaning="toward")
    assert told.space.toward == ("right", "inferior", "posterior")
    # It is its own mirror image along z, from side to side, and along no other axis.
    same = [float((voxels == np.flip(voxels, axis)).mean()) for axis in range(3)]
    assert same[0] > 0.97 > 0.8 > max(same[1:])
