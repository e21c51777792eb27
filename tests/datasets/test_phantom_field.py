"""Axon fields: the truth is in the picture, and the picture looks like a real one."""

from dataclasses import replace

import numpy as np
import pytest

from projectome.core.box import BlockGrid, Box
from projectome.core.skeleton import SOMA
from projectome.datasets.phantom_fibres import Habit
from projectome.datasets.phantom_field import OPTICS, Tissue, make_axon_field
from projectome.errors import ParameterError


@pytest.fixture(scope="module")
def image(axons):
    return axons.image.read()


@pytest.fixture(scope="module")
def labels(axons):
    return axons.labels.read()


def voxels_of(specimen, points):
    index = specimen.image.affine.inverse()(np.asarray(points).reshape(-1, 3))
    return tuple(np.rint(index).astype(int).T)


def test_same_seed_same_bytes_other_seed_others(axons, image):
    again = make_axon_field(seed=5, size=(48, 128, 128), cells=1)
    box = Box((10, 20, 30), (42, 84, 94))
    assert np.array_equal(again.image.read(box), image[box.slices])
    for old, new in zip(axons.skeletons, again.skeletons, strict=True):
        assert np.array_equal(old.coordinates, new.coordinates)
    other = make_axon_field(seed=6, size=(48, 128, 128), cells=1)
    assert not np.array_equal(other.image.read(box), image[box.slices])


@pytest.mark.parametrize("shape", [(48, 128, 23), (17, 50, 128)])
def test_blocks_of_any_shape_give_the_same_field(axons, image, labels, shape):
    for block in BlockGrid(axons.image.box, shape):
        assert np.array_equal(axons.image.read(block.core), image[block.core.slices])
        assert np.array_equal(axons.labels.read(block.core), labels[block.core.slices])


def test_every_node_lies_inside_and_its_voxel_is_labelled(axons, labels):
    found = 0
    for number, skeleton in enumerate(axons.skeletons, start=1):
        assert np.all(skeleton.coordinates >= 0)
        at = voxels_of(axons, skeleton.coordinates)
        assert (labels[at] > 0).all()
        found += (labels[at] == number).sum()
    # Where two neurites touch, a voxel belongs to one of them only.
    assert found > 0.97 * sum(map(len, axons.skeletons))
    assert set(np.unique(labels)) - {0} <= set(range(1, len(axons.skeletons) + 1))


def test_labels_lie_near_their_skeleton(axons, labels):
    from scipy.spatial import cKDTree

    size = axons.image.voxel_size
    for number in (2, len(axons.skeletons)):
        skeleton = axons.skeletons[number - 1]
        places = np.argwhere(labels == number) * size
        far, nearest = cKDTree(skeleton.coordinates).query(places)
        # Half a step between nodes, the radius (at least 0.9 voxels of the plane), half of what
        # a voxel is longer along z.
        widest = np.maximum(skeleton.radius[nearest], 0.9 * size[2])
        assert (far <= widest + 0.6).all()


def test_neurites_are_brighter_than_what_is_around_them(axons, image, labels):
    grey = image.astype(float)
    dark = np.median(grey[labels == 0])
    noise = np.percentile(grey[labels == 0], 84) - dark
    bright = [
        np.median(grey[voxels_of(axons, skeleton.coordinates)]) - dark
        for skeleton in axons.skeletons
    ]
    assert np.mean(np.asarray(bright) > noise) > 0.95


def test_somata_shine_and_are_roots(axons, image):
    assert len(axons.somata) == 1
    number = int(axons.somata["id"][0])
    root = axons.skeletons[number - 1]
    assert root.kind[0] == SOMA
    assert np.array_equal(root.coordinates[0], axons.somata.coordinates[0])
    assert image[voxels_of(axons, axons.somata.coordinates)].min() > 8000


def test_gaps_are_dark_and_the_truth_goes_on_through_them():
    quiet = replace(OPTICS, tile=10_000, gain=0.0, shadows=0.0)
    habit = Habit(gaps=8.0, dim=0.0, varicose=0.0, level=(3000.0, 0.0))
    field = make_axon_field(
        seed=1, size=(64, 128, 128), cells=0, density=0.6, habit=habit, optics=quiet
    )
    grey = field.image.read().astype(float)
    marks = field.tables["marks"]
    gaps = marks[marks["kind"] == "gap"]
    assert len(gaps) > 2
    length = gaps[["z1_um", "y1_um", "x1_um"]].to_numpy()
    length = np.linalg.norm(length - gaps[["z0_um", "y0_um", "x0_um"]].to_numpy(), axis=1)
    for row in gaps[length > 6.5].itertuples():
        skeleton = field.skeletons[row.id - 1]
        middle = np.asarray(
            [(row.z0_um + row.z1_um) / 2, (row.y0_um + row.y1_um) / 2, (row.x0_um + row.x1_um) / 2]
        )
        near = np.linalg.norm(skeleton.coordinates - middle, axis=1)
        inside = skeleton.coordinates[near.argmin()]
        whole = np.median(grey[voxels_of(field, skeleton.coordinates)])
        assert near.min() < 2.5
        assert grey[voxels_of(field, inside)][0] < whole


def test_contacts_lie_where_two_neurites_meet(axons):
    table = axons.tables["contacts"]
    assert {"crossing", "touching"} >= set(table["kind"])
    assert len(table) > 2
    for row in table.head(20).itertuples():
        place = np.asarray([row.z_um, row.y_um, row.x_um])
        for number in (row.a, row.b):
            skeleton = axons.skeletons[number - 1]
            far = np.linalg.norm(skeleton.coordinates - place, axis=1)
            k = far.argmin()
            assert far[k] <= 2 * skeleton.radius.max() + axons.image.voxel_size[2] + 0.5
    assert (table["a"] < table["b"]).all()


def test_tiles_cover_the_field(axons):
    table = axons.tables["tiles"]
    area = (table["y1_um"] - table["y0_um"]) * (table["x1_um"] - table["x0_um"])
    assert area.sum() == pytest.approx(128 * 128 * 0.748**2)


def test_cable_is_as_dense_as_asked():
    field = make_axon_field(seed=2, size=(96, 128, 128), density=2.0, cells=0)
    wanted = 2000 * 96 * 128 * 128 / 1e6 * 0.748
    assert wanted <= field.cable_length < wanted + 1500
    table = field.tables["neurites"]
    assert table["length_um"].sum() == pytest.approx(field.cable_length)
    assert any(origin.startswith("bundle") for origin in table["origin"])


def test_an_injection_saturates():
    field = make_axon_field(
        seed=1, size=(48, 64, 64), density=0.5, cells=0, tissue=Tissue(injection=0.3)
    )
    assert (field.image.read() == 65535).mean() > 0.005


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ParameterError, match=r"needs \(16, 32, 32\) voxels"):
        make_axon_field(size=(8, 64, 64))
    with pytest.raises(ParameterError, match="A seed is 0 or more, not -1"):
        make_axon_field(seed=-1)
    with pytest.raises(ParameterError, match="held in memory"):
        make_axon_field(size=(4096, 4096, 4096))
    with pytest.raises(ParameterError, match=r"0\.01 to 100 um"):
        make_axon_field(voxel_size=float("nan"))


@pytest.mark.realdata
def test_it_looks_like_a_real_stack(trailmap_stack):
    """Histogram, noise and blur agree with iDISCO axons within a fifth or so."""
    real = trailmap_stack
    field = make_axon_field(seed=1, size=(144, 144, 144), voxel_size=1.0, cells=0)
    drawn = field.image.read()
    for share in (5, 25, 50, 75, 95, 99):
        assert np.percentile(drawn, share) == pytest.approx(np.percentile(real, share), rel=0.25)
    for axis in range(3):
        assert noise(drawn, axis) == pytest.approx(noise(real, axis), rel=0.2)
        assert likeness(drawn, axis) == pytest.approx(likeness(real, axis), abs=0.08)


def thinned(image, axis):
    """Return every third line of an image along the other axes."""
    return image[tuple(slice(None, None, 1 if k == axis else 3) for k in range(3))]


def noise(image, axis):
    """Return the standard deviation of the second difference of dark voxels."""
    image = thinned(image, axis)
    image = image.astype(float)
    middle = image.take(range(1, image.shape[axis] - 1), axis)
    return float(np.diff(image, 2, axis=axis)[(middle > 900) & (middle < 1600)].std())


def likeness(image, axis):
    """Return the correlation of dark neighbours."""
    image = thinned(image, axis)
    n = image.shape[axis]
    a, b = image.take(range(n - 1), axis), image.take(range(1, n), axis)
    dark = (a < np.percentile(image, 90)) & (b < np.percentile(image, 90))
    return float(np.corrcoef(a[dark], b[dark])[0, 1])


def test_seams_are_where_tiles_meet():
    """Left and right of a seam the tissue has the brightness of its tile."""
    optics = replace(OPTICS, gain=0.2, vignetting=0.0, shadows=0.0, tile=64)
    tissue = Tissue(slope=(0.0, 0.0, 0.0), textures=(), bodies=0.0)
    field = make_axon_field(
        seed=3, size=(32, 64, 128), density=0.01, cells=0, tissue=tissue, optics=optics
    )
    table = field.tables["tiles"]
    assert len(table) == 2
    grey = field.image.read().astype(float) - optics.offset
    for row in table.itertuples():
        first, last = (round(edge / 0.748 + 0.5) for edge in (row.x0_um, row.x1_um))
        inside = np.median(grey[:, :, first + 2 : last - 2])
        assert inside == pytest.approx(row.gain * tissue.level, rel=0.01)
