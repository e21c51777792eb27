import pickle

import numpy as np
import pytest

from projectome.core.box import Box
from projectome.core.volume import LazyArray
from projectome.datasets.phantom import PRESETS, make_phantom
from projectome.errors import ParameterError, UnknownNameError


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_presets(size):
    phantom = make_phantom(size=size)
    shape, count = PRESETS[size]
    assert phantom.image.shape == shape
    assert len(phantom.neurons) == count
    assert phantom.voxel_size == 4.0


def test_demo_is_about_50_million_voxels_and_1_5_mm_wide():
    phantom = make_phantom(size="demo")
    assert 45e6 < np.prod(phantom.shape) < 55e6
    assert 1300 < 2 * phantom.anatomy.half[2] < 1600
    assert 12 <= len(phantom.neurons) <= 20
    assert 20_000 < phantom.cable_length < 60_000
    callosal = [n for n in phantom.neurons if n.projection in ("homotopic", "heterotopic")]
    assert len(callosal) >= 8


def test_volumes_are_lazy_oriented_and_travel_to_other_processes(tiny):
    assert isinstance(tiny.image.array, LazyArray)
    assert tiny.image.space.toward == ("posterior", "inferior", "right")
    assert tiny.image.dtype == np.uint16
    assert tiny.labels.kind == tiny.atlas.annotation.kind == "labels"
    box = Box((70, 40, 60), (75, 45, 65))
    again = pickle.loads(pickle.dumps(tiny.image))  # noqa: S301
    assert np.array_equal(again.read(box), tiny.image.read(box))


def test_atlas_lies_where_the_image_lies(tiny):
    """Each voxel of the atlas covers 2 x 2 x 2 of the image, corners included."""
    fine, coarse = tiny.image.affine, tiny.atlas.annotation.affine
    assert np.allclose(coarse([[0, 0, 0]]), fine([[0.5, 0.5, 0.5]]))
    assert tiny.atlas.annotation.voxel_size == (8.0, 8.0, 8.0)
    assert tiny.atlas.annotation.shape == (72, 52, 72)
    assert tiny.atlas.midline.hemisphere(tiny.somata.coordinates).tolist() == list(
        tiny.somata["hemisphere"]
    )


def test_soma_regions_agree_with_the_annotation_where_it_is_fine_enough(small):
    index = np.rint(small.atlas.annotation.affine.inverse()(small.somata.coordinates)).astype(int)
    found = small.atlas.annotation.read()[tuple(index.T)]
    tree = small.atlas.terminology
    areas = [tree.ancestors(int(region))[0] for region in found]
    assert areas == list(small.somata["source"])


def test_projections_sum_to_the_cable_and_the_terminals(small):
    table = small.projections
    lengths = table.groupby("neuron").length_um.sum()
    terminals = table.groupby("neuron").terminals.sum()
    for neuron in small.neurons:
        assert lengths[neuron.id] == pytest.approx(neuron.skeleton.cable_length, rel=1e-9)
        assert terminals[neuron.id] == len(neuron.skeleton.ends) - (0 in neuron.skeleton.ends)
    assert not table.duplicated(["neuron", "region_id", "hemisphere", "kind"]).any()
    outside = table[table.region_id == 0].length_um.sum()
    assert outside < 0.02 * table.length_um.sum()


def test_projections_agree_with_a_look_up_in_the_annotation(tiny):
    """Monte Carlo: points drawn along the cable find the regions in the table's proportions."""
    neuron = tiny.neurons[1]
    skeleton = neuron.skeleton
    rng = np.random.default_rng(0)
    weights = skeleton.lengths / skeleton.cable_length
    nodes = rng.choice(len(skeleton), 20_000, p=weights)
    t = rng.random((20_000, 1))
    places = (1 - t) * skeleton.coordinates[nodes] + t * skeleton.coordinates[
        skeleton.parent[nodes]
    ]
    index = np.rint(tiny.atlas.annotation.affine.inverse()(places)).astype(int)
    drawn = tiny.atlas.annotation.read()[tuple(index.T)]
    table = tiny.projections
    for region, length in (
        table[table.neuron == neuron.id].groupby("region_id").length_um.sum().items()
    ):
        assert (drawn == region).mean() == pytest.approx(length / skeleton.cable_length, abs=0.015)


def test_any_shape_and_voxel_size():
    phantom = make_phantom(size=(100, 80, 110), voxel_size=6.0, neurons=1)
    assert phantom.image.voxel_size == (6.0, 6.0, 6.0)
    assert phantom.atlas.annotation.shape == (50, 40, 55)
    assert phantom.image.read(Box((40, 30, 40), (50, 40, 50))).min() > 0


def test_wrong_calls_name_the_way_out():
    with pytest.raises(UnknownNameError, match="Did you mean 'small'"):
        make_phantom(size="smal")
    with pytest.raises(ParameterError, match=r"64 voxels an axis or more, not \(20, 200, 200\)"):
        make_phantom(size=(20, 200, 200))
    with pytest.raises(ParameterError, match="neurons=0"):
        make_phantom(size="tiny", neurons=0)
    with pytest.raises(ParameterError, match="seed=-1"):
        make_phantom(size="tiny", seed=-1)
