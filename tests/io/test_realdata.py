"""Public files of other programs: all that are valid open, all that are not are refused."""

import hashlib
import json
import re

import numpy as np
import pytest

from projectome.errors import FormatError, MetadataError, NotFoundError, ParameterError
from projectome.io.open import open_volume
from projectome.io.volumes.ngff import ome_attributes, parse_multiscale

pytestmark = pytest.mark.realdata

# The schema calls wrong what only concerns how a channel is shown; that does not keep anybody from
# reading. It calls right a scale of two numbers for three axes, which says nothing of the third.
SHOWN_ONLY = {"invalid_channels_color", "invalid_channels_window"}
TOO_SHORT = {"mismatch_axes_units"}


def attributes(path):
    """The attributes in a document; the specification's own examples carry comments."""
    text = re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)
    document = json.loads(text)
    return document.get("attributes", document)


def array_hash(voxels):
    data = np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))
    return hashlib.sha256(data.tobytes()).hexdigest()[:16]


def test_valid_examples_of_the_specification_are_read(real):
    folder = real / "ngff_examples" / "ngff_spec_0.6"
    files = sorted((folder / "tests/attributes/spec/valid/image").glob("*.json"))
    files += sorted((folder / "tests/attributes/spec/valid/transforms").glob("*.json"))
    files += sorted((folder / "examples/multiscales_strict").glob("*.json"))
    files += sorted((folder / "examples/subspace").glob("*.json"))
    read = 0
    for file in files:
        if file.stem in TOO_SHORT:
            with pytest.raises(MetadataError, match="A scale has 3 finite numbers"):
                parse_multiscale(attributes(file), url=file.stem)
        else:
            image = parse_multiscale(attributes(file), url=file.stem)
            assert len(image.space_axes) in (2, 3)
            read += 1
    assert read == 22


def test_invalid_examples_of_the_specification_are_refused(real):
    folder = real / "ngff_examples" / "ngff_spec_0.6"
    files = sorted((folder / "tests/attributes/spec/invalid/image").glob("*.json"))
    assert len(files) == 28
    for file in files:
        if file.stem in SHOWN_ONLY:
            image = parse_multiscale(attributes(file), url=file.stem)
            assert any("omero" in problem.where for problem in image.problems)
        else:
            with pytest.raises(MetadataError) as caught:
                parse_multiscale(attributes(file), url=file.stem)
            assert any(p.severity == "error" for p in caught.value.problems), file.stem


def test_transformations_of_the_examples_of_0_6(real):
    """Where voxel (3, 5, 7) lies in micrometres (z, y, x)."""
    folder = real / "ngff_examples" / "neuroglancer" / "all_0.6"
    wanted = {
        "basic/identity": (3, 5, 7),
        "basic/scale": (12, 15, 14),
        "basic/translation": (33, 25, 17),
        "basic/sequenceScaleTranslation": (44, 36, 24),
        "simple/affine": (44, 36, 24),
        "simple/rotation": (7, 3, 5),
        "axis_dependent/mapAxis": (5, 7, 3),
        "simple/anisotropic_rotation": (6, 2.5, 1.75),
    }
    for name, place in wanted.items():
        volume = open_volume(str(folder / f"{name}.zarr"))[0]
        assert volume.shape == (27, 226, 186)
        np.testing.assert_allclose(volume.affine([[3, 5, 7]])[0], place)
        assert volume.read().any() == (
            name in {"basic/sequenceScaleTranslation", "simple/anisotropic_rotation"}
        )
    turned = open_volume(str(folder / "simple/anisotropic_rotation.zarr"))
    assert any("another is not applied" in problem.message for problem in turned.problems)


@pytest.mark.parametrize("name", ["simple_0.4", "simple_0.5", "simple_0.5.zip"])
def test_three_levels_of_a_plane(name, real):
    pyramid = open_volume(str(real / "ngff_examples" / "neuroglancer" / name))
    assert [v.shape for v in pyramid] == [(1, 10, 10), (1, 5, 5), (1, 2, 2)]
    np.testing.assert_allclose(pyramid[0].voxel_size, (1, 0.004, 0.03))
    np.testing.assert_allclose(pyramid[1].affine.translation, (0, 0.002, 0.015))
    np.testing.assert_array_equal(pyramid[0].read()[0], np.arange(100).reshape(10, 10))
    np.testing.assert_array_equal(pyramid[2].read()[0], [[5, 8], [39, 42]])


def test_metadata_of_public_images(real):
    """Everything with an image is read; plates, wells and lists of labels say what to open."""
    folder = real / "ngff_examples" / "yaozarrs"
    files = sorted([*folder.rglob(".zattrs"), *folder.rglob("zarr.json")])
    images = others = 0
    for file in files:
        found = attributes(file)
        if "multiscales" in ome_attributes(found):
            image = parse_multiscale(found, url=str(file))
            assert len(image.space_axes) in (2, 3)
            assert all(problem.severity == "warning" for problem in image.problems)
            images += 1
            with pytest.raises(NotFoundError, match=r"names the level.*incomplete"):
                open_volume(str(file.parent))
        else:
            others += 1
            with pytest.raises((FormatError, NotFoundError), match=r"open|incomplete|no Zarr"):
                open_volume(str(file.parent))
    assert (images, others) == (19, 16)


def test_the_atlas(real):
    """BrainGlobe v3: 100 and 200 um in millimetres, levels s0 and s1, 'asr' as RFC-4 says it."""
    folder = real / "brainglobe_v3" / "brainglobe-atlasapi"
    labels = folder / "annotation-sets" / "real_mouse-annotation" / "3_0"
    for path, dtype in (
        (folder / "templates/real_mouse-template/3_0/template.ome.zarr", "uint16"),
        (labels / "annotations_compressed.ome.zarr", "uint32"),
        (labels / "hemispheres.ome.zarr", "uint8"),
    ):
        pyramid = open_volume(str(path))
        assert [v.shape for v in pyramid] == [(132, 80, 114), (66, 40, 57)]
        assert [v.voxel_size for v in pyramid] == [(100, 100, 100), (200, 200, 200)]
        assert pyramid[1].affine.translation == (50.0, 50.0, 50.0)
        assert pyramid.space.toward == ("posterior", "inferior", "left")
        assert pyramid[0].dtype == dtype
        assert pyramid.problems == ()
    brain = open_volume(str(labels / "annotations_compressed.ome.zarr"))
    assert [int((v.read() > 0).sum()) for v in brain] == [506934, 63240]
    hemispheres = open_volume(str(labels / "hemispheres.ome.zarr"))[0].read()
    # The last axis runs toward left: its low end is right, which is 2.
    assert hemispheres[66, 40, 20] == 2
    assert hemispheres[66, 40, 94] == 1


def test_an_interrupted_download_of_the_atlas(real):
    """Masks of 836 regions as channels; strictly, those that are missing are missing."""
    labels = real / "brainglobe_v3/brainglobe-atlasapi/annotation-sets/real_mouse-annotation/3_0"
    path = str(labels / "annotations.ome.zarr")
    masks = open_volume(path)[0]
    assert masks.array.shape == (836, 132, 80, 114)
    assert int(masks.read(channel=835).astype(bool).sum()) == 506934
    assert not masks.read(channel=0).any()
    with pytest.raises(FormatError, match=r"missing.*--strict"):
        open_volume(path, strict=True)[0].read(channel=0)


TIFFS = {
    "trailmap/training_original_volume_101x120x120": ((101, 120, 120), "560c9210e006ea9d"),
    "trailmap/training_crops/label_3": ((64, 64, 64), "c5d7d500ffaad27b"),
    "brainreg/registration_output/boundaries": ((135, 77, 108), "20ec40482dc4676c"),
    "brainreg/registration_output/downsampled": ((135, 77, 108), "97855d605182a8f6"),
    "cellfinder/training_cubes/cells/pcellz1132y413x1896ch0": ((20, 50, 50), "00129b6ffd304981"),
    "lsd_fib25/labels": ((100, 250, 250), "1f20193dc9463f5a"),
    "lsd_fib25/raw": ((100, 250, 250), "4d02da68a2fe2ac5"),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff_files(name, real):
    """Their voxels are those of the table that came with them; none states a voxel size."""
    path, (shape, wanted) = str(real / f"{name}.tif"), TIFFS[name]
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(path)
    volume = open_volume(path, voxel_size=(1, 1, 1))[0]
    assert volume.shape == shape
    assert array_hash(volume.read()) == wanted


def test_the_ome_tiff(real):
    """One plane of 512 x 512 whose OME-XML states no size of its pixels."""
    folder = real / "microscope_samples" / "ome_tiff_from_gpl_repository"
    path = str(folder / "fov7_hv110_p0500510000.ome.tiff")
    with pytest.raises(ParameterError, match=r"OME-TIFF.*--voxel-size"):
        open_volume(path)
    pyramid = open_volume(path, voxel_size=(1, 0.5, 0.5))
    assert pyramid[0].shape == (1, 512, 512)
    assert pyramid.metadata["format"] == "OME-TIFF"
    assert array_hash(pyramid[0].read()[0]) == "2e6cfad2f71cae91"


def test_a_box_of_a_brain_decodes_its_planes_alone(real):
    """JPEG XL planes of a whole brain, 50 x 40 x 40 um."""
    from projectome.core.box import Box

    path = str(real / "brainreg" / "brain_270x193x271.tif")
    volume = open_volume(path, voxel_size=(50, 40, 40), orientation="psl", meaning="from")[0]
    assert volume.space.toward == ("anterior", "inferior", "right")
    box = Box((130, 50, 60), (134, 90, 140))
    part = volume.read(box)
    assert len(volume.array.pages._cache._kept) == 4
    import tifffile

    np.testing.assert_array_equal(
        part, tifffile.imread(path, key=slice(130, 134))[:, 50:90, 60:140]
    )
