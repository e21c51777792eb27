import numpy as np
import pytest
from scipy.spatial import cKDTree

from projectome.core.skeleton import APICAL, AXON, DENDRITE, SOMA
from projectome.datasets.phantom import make_phantom
from projectome.datasets.phantom_neurons import PLAN
from projectome.datasets.phantom_regions import DEEP, region_ids, terminology
from projectome.errors import ParameterError

CALLOSUM = [DEEP.index(name) + 1 for name in ("ccg", "ccb", "ccs")]
VENTRICLES = [DEEP.index(name) + 1 for name in ("VL", "V3")]


def test_nodes_lie_in_tissue_and_not_in_ventricles(small):
    for neuron in small.neurons:
        codes = small.anatomy.codes_at(neuron.skeleton.coordinates)
        assert (codes > 0).all()
        assert not np.isin(codes, VENTRICLES).any()


def test_each_neuron_is_one_tree_rooted_at_its_soma(small):
    for neuron in small.neurons:
        kinds = neuron.skeleton.kind
        assert len(neuron.skeleton.roots) == 1
        assert kinds[0] == SOMA
        assert set(kinds[1:].tolist()) == {AXON, DENDRITE, APICAL}
        assert neuron.skeleton.lengths.max() < 15
        assert (neuron.skeleton.radius > 0).all()
        assert np.array_equal(neuron.skeleton.coordinates[0], neuron.soma)


def test_soma_lies_in_the_region_named(small):
    tree = terminology()
    for neuron in small.neurons:
        code = small.anatomy.codes_at(neuron.soma)[0]
        assert region_ids()[code] == neuron.region_id
        assert neuron.source in tree.ancestors(neuron.region_id)


def test_callosal_neurons_cross_the_midline_in_the_callosum_and_others_never(small):
    midline = small.anatomy.midline
    for neuron in small.neurons:
        axon = neuron.skeleton
        nodes, parents = axon.edges.T
        a, b = (midline.distance(axon.coordinates[i]) for i in (nodes, parents))
        crossing = np.flatnonzero(np.sign(a) != np.sign(b))
        if neuron.projection in ("homotopic", "heterotopic"):
            assert len(crossing) == 1
            t = (a / (a - b))[crossing][:, None]
            where = (1 - t) * axon.coordinates[nodes[crossing]] + t * axon.coordinates[
                parents[crossing]
            ]
            assert np.isin(small.anatomy.codes_at(where), CALLOSUM).all()
        else:
            assert len(crossing) == 0


def test_projection_classes_follow_the_plan_and_end_where_they_say(small):
    tree = terminology()
    table = small.projections
    assert [n.projection for n in small.neurons] == list(PLAN)
    for neuron, hemisphere in zip(small.neurons, small.somata["hemisphere"], strict=True):
        far = hemisphere if neuron.target in ("CP", "TH") else 3 - hemisphere
        own = table[(table.neuron == neuron.id) & (table.kind == "axon")]
        terminals = own[own.hemisphere == far]
        inside = terminals.region_id.isin(tree.descendants(neuron.target))
        assert terminals[inside].terminals.sum() >= 2
        if neuron.projection == "homotopic":
            assert neuron.target == neuron.source
            assert inside[terminals.terminals > 0].mean() > 0.5
        elif neuron.projection == "heterotopic":
            assert neuron.target != neuron.source


def test_axons_of_two_neurons_run_side_by_side_for_40_um_at_most(small):
    limit = 1.75 * small.voxel_size
    for k, neuron in enumerate(small.neurons[1:], start=1):
        others = cKDTree(np.concatenate([n.skeleton.coordinates for n in small.neurons[:k]]))
        close = others.query(neuron.skeleton.coordinates)[0] < limit
        for run in neuron.skeleton.segments:
            ends = np.flatnonzero(np.diff(np.concatenate([[0], close[run].astype(int), [0]])))
            for first, last in ends.reshape(-1, 2):
                assert neuron.skeleton.lengths[run[first:last]].sum() <= 60


def test_brightness_has_boutons_dim_stretches_and_gaps(small):
    bright = np.concatenate([n.brightness[n.skeleton.kind == AXON] for n in small.neurons])
    assert (bright > 1.5).mean() > 0.02
    assert 0.01 < (bright < 0.45).mean() < 0.3
    assert (bright < 0.1).any()
    assert np.median(bright) == pytest.approx(0.85, abs=0.15)


def test_a_neuron_does_not_depend_on_those_after_it(small):
    fewer = make_phantom(size="small", seed=1, neurons=3)
    for a, b in zip(fewer.neurons, small.neurons, strict=False):
        assert np.array_equal(a.skeleton.coordinates, b.skeleton.coordinates)
        assert np.array_equal(a.brightness, b.brightness)


def test_more_neurons_than_fit_are_refused():
    with pytest.raises(ParameterError, match=r"No room for neuron \d+ of 500.*fewer neurons"):
        make_phantom(size="tiny", neurons=500)
