"""Atlases as they lie in images."""

import numpy as np
import pytest
from scipy import ndimage

from projectome.atlas.lookup import region_at
from projectome.atlas.regions import region_table
from projectome.core.affine import Affine
from projectome.core.atlas import Atlas, Plane, Terminology
from projectome.core.box import Box
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.errors import ShapeError, SpaceMismatchError
from projectome.registration.overlay import overlay

SCAN = Space("scan", toward=("posterior", "inferior", "right"), expansion=2.0)
HOME = Space("toy", toward=("posterior", "inferior", "right"))


@pytest.fixture(scope="module")
def atlas():
    """Smooth regions 1 to 4 below a root 9, and a midline across x."""
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=(30, 26, 34)), 4)
    labels = np.digitize(smooth, np.quantile(smooth, [0.2, 0.4, 0.6, 0.8])).astype(np.uint32)
    terms = Terminology(
        np.array([9, 1, 2, 3, 4]), tuple("rabcd"), tuple("rabcd"),
        np.array([-1, 0, 0, 0, 0]), np.full((5, 3), 90, np.uint8),
    )  # fmt: skip
    volume = Volume.from_array(labels, voxel_size=(10, 10, 10), space=HOME, kind="labels")
    midline = Plane(np.array([0.0, 0, 165]), np.array([0.0, 0, 1]), HOME)
    return Atlas("toy", terms, volume, midline=midline)


@pytest.fixture(scope="module")
def image():
    grey = np.random.default_rng(1).integers(0, 999, (41, 37, 43)).astype(np.uint16)
    return Volume.from_array(
        grey, voxel_size=(12, 14, 16), translation=(6, -30, 20), space=SCAN, name="brain"
    )


@pytest.fixture(scope="module")
def bent():
    """Scan to atlas: half the size (the gel is twice the tissue), then a bend of about 20 um."""
    middle = Space("middle")
    linear = Affine.from_scale((0.5, 0.5, 0.5), (3, -4, 5), source=SCAN, target=middle)
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.normal(0, 120, (9, 9, 9, 3)), (2, 2, 2, 0))
    grid = Affine.from_scale((40, 40, 40), target=middle)
    return Transform((linear, DisplacementField(field.astype(np.float32), grid, HOME)))


def test_labels_are_those_at_the_carried_centres_of_voxels(atlas, image, bent):
    laid = overlay(atlas, bent, image).atlas
    index = np.indices(image.shape).reshape(3, -1).T
    there = bent(image.affine(index))
    expected = region_at(atlas, there).reshape(image.shape)
    found = laid.annotation.read()
    assert (found != expected).mean() < 0.01  # linear between nodes no more than a voxel apart
    halves = laid.hemispheres.read()
    off = (halves.reshape(-1) == 1) != (atlas.midline.distance(there) < 0)
    assert np.abs(atlas.midline.distance(there))[off].max(initial=0) < 2
    assert len(np.unique(found)) == 5


def test_an_affine_map_is_exact_at_every_voxel(atlas, image):
    linear = Affine.from_scale((0.5, 0.4, 0.45), (7, 1, -9), source=SCAN, target=HOME)
    way = Transform((linear,))
    laid = overlay(atlas, way, image).atlas
    index = np.indices(image.shape).reshape(3, -1).T
    expected = region_at(atlas, way(image.affine(index))).reshape(image.shape)
    assert np.array_equal(laid.annotation.read(), expected)


def test_blocks_are_parts_of_the_whole(atlas, image, bent):
    laid = overlay(atlas, bent, image).atlas
    for volume in (laid.annotation, laid.hemispheres):
        whole = volume.read()
        for box in (Box((0, 0, 0), (7, 37, 5)), Box((5, 30, 11), (41, 31, 43))):
            assert np.array_equal(volume.read(box), whole[box.slices])


def test_volumes_are_those_of_the_tissue_of_the_image(atlas, image, bent):
    table = region_table(overlay(atlas, bent, image).atlas)
    assert table.voxel_mm3 == pytest.approx(12 * 14 * 16 / 2**3 / 1e9)
    assert table.volume_mm3("r") == pytest.approx(
        table.volume_mm3("r", 1) + table.volume_mm3("r", 2)
    )


def test_an_image_of_another_space_is_refused(atlas, image, bent):
    with pytest.raises(SpaceMismatchError, match="transform leads from"):
        overlay(atlas, bent.inverse(), image)
    channels = Volume.from_array(
        np.zeros((2, 4, 4, 4)), voxel_size=(1, 1, 1), space=SCAN, channels=("a", "b")
    )
    with pytest.raises(ShapeError, match="choose one"):
        overlay(atlas, bent, channels)
