"""Whole brains: cells and regions are where the tables say, axes run where the space says."""

import numpy as np
import pytest

from projectome.core.box import Box
from projectome.datasets.phantom_brain import make_whole_brain
from projectome.errors import ParameterError


@pytest.fixture(scope="module")
def image(brain):
    return brain.image.read()


def index_of(brain, table):
    return np.rint(table[["z_um", "y_um", "x_um"]].to_numpy() / brain.image.voxel_size).astype(int)


def test_cells_are_brighter_than_the_other_channel(brain, image):
    at = tuple(index_of(brain, brain.tables["cells"]).T)
    background = brain.volumes["Ex_445_Em_469"].read().astype(float)
    ahead = image[at].astype(float) - background[at]
    assert (ahead > 60).mean() > 0.9


def test_cells_have_the_region_and_the_side_of_their_place(brain):
    cells = brain.tables["cells"]
    annotation = brain.volumes["annotation"].read()
    # Voxel centres and cells may lie on two sides of a border.
    same = annotation[tuple(index_of(brain, cells).T)] == cells["region_id"]
    assert same.mean() > 0.8
    assert (cells["region_id"] > 0).all()
    # The axis runs to the right.
    middle = cells["x_um"].mean()
    right = cells["hemisphere"] == 2
    assert cells["x_um"][right].min() > cells["x_um"][~right].max()
    assert cells["x_um"][~right].max() < middle + 1500
    regions = brain.tables["regions"]
    assert set(np.unique(annotation)) - {0} <= set(regions["id"])


def test_olfactory_bulb_is_anterior_and_cerebellum_posterior(brain):
    assert brain.space.toward == ("inferior", "anterior", "right")
    regions = brain.tables["regions"].set_index("acronym")["id"]
    annotation = brain.volumes["annotation"].read()
    places = {name: np.argwhere(annotation == regions[name]).mean(axis=0) for name in ("MOB", "CB")}
    assert places["MOB"][1] > places["CB"][1] + 60
    cortex = np.argwhere(annotation == regions["SSp4"])[:, 0].mean()
    assert cortex < np.argwhere(annotation == regions["HY"])[:, 0].mean()


def test_neurons_lie_on_their_labels(brain):
    labels = brain.labels.read()
    for number, skeleton in enumerate(brain.skeletons, start=1):
        at = tuple(np.rint(skeleton.coordinates / 100).astype(int).T)
        assert (labels[at] == number).mean() > 0.8
        assert skeleton.space == brain.space
    roots = [skeleton.coordinates[0] for skeleton in brain.skeletons]
    assert np.allclose(brain.somata.coordinates, roots)


def test_any_box_is_that_of_the_whole(brain, image):
    box = Box((11, 20, 30), (52, 91, 77))
    assert np.array_equal(brain.image.read(box), image[box.slices])


def test_more_neurons_than_fit_are_refused():
    with pytest.raises(ParameterError, match="are 0 or more"):
        make_whole_brain(cells=-1)
    with pytest.raises(ParameterError, match=r"needs \(64, 64, 64\)"):
        make_whole_brain(voxel_size=90.0, size=(20, 40, 40))
