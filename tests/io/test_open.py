"""Which reader opens what, what the user may say, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr

from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io import stores
from projectome.io.open import READERS, open_volume
from projectome.io.volumes.options import OpenOptions, Reader


@pytest.fixture
def image(tmp_path, make):
    return make.image(tmp_path / "brain.ome.zarr", "0.5")


def test_readers_are_readers():
    assert all(isinstance(reader.name, str) and reader.sniff and reader.open for reader in READERS)
    assert len({reader.name for reader in READERS}) == len(READERS)
    assert Reader


@pytest.mark.parametrize(
    "form", ["{}", "file://{}", "zarr://{}", "zarr://file://{}", "{}/", "{}/../brain.ome.zarr"]
)
def test_one_volume_has_many_addresses(form, image):
    path, voxels = image
    pyramid = open_volume(form.format(path))
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert pyramid.metadata["url"] == str(path)
    assert pyramid.metadata["format"] == "OME-Zarr"
    assert pyramid.metadata["version"] == "0.5"
    assert pyramid.metadata["user"] == {}


def test_memory(image):
    path, voxels = image
    for file in (p for p in path.rglob("*") if p.is_file()):
        stores.copy(str(file), f"memory://mem/x.zarr/{file.relative_to(path)}")
    np.testing.assert_array_equal(open_volume("memory://mem/x.zarr")[0].read(), voxels)
    stores.remove("memory://mem")


def test_opening_reads_no_voxel(image):
    """All chunks may be gone: opening does not see it."""
    path, _ = image
    for file in (path / "0" / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"broken")
    assert open_volume(str(path))[0].shape == (16, 24, 20)


def test_a_level_opens_as_a_plain_array(image):
    path, voxels = image
    with pytest.raises(ParameterError, match=r"plain Zarr array.*--voxel-size Z,Y,X.*--axes"):
        open_volume(f"zarr://{path}/0")
    pyramid = open_volume(f"zarr://{path}/0", voxel_size=(2, 1, 1))
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert pyramid.problems[0].where == "axes"
    assert pyramid.metadata["format"] == "Zarr array"


def test_a_plain_array_needs_its_axes(tmp_path, make):
    voxels = make.noise((2, 6, 8, 10))
    zarr.create_array(str(tmp_path / "a"), data=voxels, zarr_format=2)
    with pytest.raises(ParameterError, match=r"\(2, 6, 8, 10\).*--axes czyx"):
        open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1))
    volume = open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1), axes="czyx")[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    volume = open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1), axes="tzyx", time=1)[0]
    np.testing.assert_array_equal(volume.read(), voxels[1])
    volume = open_volume(str(tmp_path / "a"), voxel_size=(3, 2, 1), axes="cxyz")[0]
    np.testing.assert_array_equal(volume.read(), voxels.transpose(0, 3, 2, 1))
    with pytest.raises(ParameterError, match="names 3 axes"):
        open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1), axes="zyx")


def test_names_of_the_dimensions_are_axes(tmp_path, make):
    voxels = make.noise((6, 8, 10, 2))
    zarr.create_array(str(tmp_path / "a"), data=voxels, dimension_names=["z", "y", "x", "c"])
    pyramid = open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1))
    np.testing.assert_array_equal(pyramid[0].read(), np.moveaxis(voxels, -1, 0))
    assert pyramid.problems == ()


# What the user says


def test_the_word_of_the_user_is_kept(image):
    path, _ = image
    said = {
        "voxel_size": (1.0, 2.0, 3.0),
        "orientation": "asr",
        "meaning": "from",
        "expansion": 4.0,
    }
    pyramid = open_volume(str(path), **said)
    assert pyramid.metadata["user"] == said
    assert pyramid.space.toward == ("posterior", "inferior", "left")
    assert pyramid.space.expansion == 4.0
    assert {v.space for v in pyramid} == {pyramid.space}
    toward = open_volume(str(path), orientation="asr", meaning="toward")
    assert toward.space.toward == ("anterior", "superior", "right")


def test_nothing_is_guessed(image):
    space = open_volume(str(image[0])).space
    assert space.toward == (None, None, None)
    assert space.expansion == 1.0


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"voxel_size": (1, 1)}, "three numbers Z,Y,X"),
        ({"voxel_size": (0, 1, 1)}, "three numbers"),
        ({"voxel_size": (1, 1, float("nan"))}, "three numbers"),
        ({"axes": "zz"}, "different letters"),
        ({"axes": "z1x"}, "different letters"),
        ({"axes": "tcz"}, "y and x among them"),
        ({"time": -1}, "counts from 0"),
        ({"orientation": "asr"}, "--meaning toward|from"),
        ({"meaning": "from"}, "--orientation CODE"),
        ({"orientation": "aaa", "meaning": "from"}, "anatomical line"),
        ({"orientation": "xyz", "meaning": "from"}, "L R A P S I"),
        ({"expansion": 0.0}, "expansion factor"),
    ],
)
def test_facts_that_cannot_be_meant(said, text, image):
    with pytest.raises(ParameterError, match=text):
        open_volume(str(image[0]), **said)


def test_options_remember_only_what_was_said():
    assert OpenOptions().said() == {}
    assert OpenOptions(time=0, axes="ZYX").said() == {"time": 0, "axes": "zyx"}


# What is refused


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\xff\xd8\xff\xe0" + b"\0" * 20, "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "a PNG image"),
        (b"PK\x03\x04" + b"\0" * 30, "a zip archive"),
        (b"", "an empty file"),
        (b"1,2,3\n", "a file of unknown format"),
    ],
)
def test_files_that_are_no_volumes(head, what, tmp_path):
    (tmp_path / "a.dat").write_bytes(head)
    with pytest.raises(FormatError, match=f"is {what}.*Known: OME-Zarr.*TIFF.*Convert") as caught:
        open_volume(str(tmp_path / "a.dat"))
    assert "a.dat" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("cell.swc", "neurons: projectome measure"),
        ("cells.CSV", "read_points"),
        ("cells.xml", "read_points"),
        ("acquisition.json", "--asset"),
    ],
)
def test_what_reads_files_of_other_things(name, reading, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(FormatError, match="not a volume") as caught:
        open_volume(str(tmp_path / name))
    ending = name[name.index(".") :]
    assert f"Files named {ending} hold " in str(caught.value)
    assert reading in str(caught.value)


def test_a_real_jpeg(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(FormatError, match="JPEG"):
        open_volume(str(tmp_path / "a.jpg"))


def test_nothing_there(tmp_path):
    with pytest.raises(NotFoundError, match="projectome ls"):
        open_volume(str(tmp_path / "none"))
    with pytest.raises(NotFoundError):
        open_volume("memory://none/at/all")


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"It holds: nothing.*projectome ls"):
        open_volume(str(tmp_path / "empty"))


def test_a_forced_reader_is_the_only_one_asked(tmp_path, make):
    tifffile.imwrite(tmp_path / "a.tif", make.noise((8, 8)))
    with pytest.raises(FormatError, match=r"Known: OME-Zarr 0\.4 to 0\.6 and Zarr arrays\. "):
        open_volume(f"zarr://{tmp_path}/a.tif")
    assert open_volume(f"tiff://{tmp_path}/a.tif", voxel_size=(1, 1, 1))
    with pytest.raises(ParameterError, match="zarr://ADDRESS"):
        open_volume("zarr://")


def test_starting_the_program_imports_no_reader():
    """tensorstore is slow to import; the core and the command line live without it."""
    code = (
        "import sys, projectome, projectome.core.volume, projectome.errors, projectome.settings\n"
        "sys.exit('tensorstore' in sys.modules or 'tifffile' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
