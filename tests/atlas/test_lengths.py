"""Cable in regions against sampling, against the crossings of morphology, and in total."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_atlases import IDS, SPACE, toy_atlas, toy_labels

from projectome.atlas.lengths import measure_lengths, own_lengths
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.morphology.crossing import side_lengths, voxel_pieces


def neuron(seed, nodes=60, spread=60.0):
    rng = np.random.default_rng(seed)
    parent = np.array([-1, *(rng.integers(0, i) for i in range(1, nodes))])
    places = np.empty((nodes, 3))
    places[0] = (250, 160, 90)
    for i in range(1, nodes):
        places[i] = places[parent[i]] + rng.normal(0, spread, 3)
    return Skeleton(places, parent, SPACE, kind=rng.integers(0, 8, nodes))


@given(st.integers(0, 2**32 - 1), st.sampled_from([3.0, 30.0, 300.0]))
def test_lengths_add_up_to_the_cable(seed, spread):
    skeleton = neuron(seed, spread=spread)
    total = own_lengths(toy_atlas(), skeleton).sum()
    assert total == pytest.approx(skeleton.cable_length, rel=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_regions_and_sides_are_those_of_exact_pieces(seed):
    """Voxel by voxel from the pieces of `voxel_pieces`; left and right from `side_lengths`."""
    atlas, skeleton = toy_atlas(), neuron(seed)
    volume, tree = atlas.annotation, atlas.terminology
    sums = own_lengths(atlas, skeleton)
    pieces = voxel_pieces(skeleton, volume.affine)
    inside = ((pieces.voxel >= 0) & (pieces.voxel < volume.shape)).all(axis=1)
    labels = np.zeros(len(pieces), np.int64)
    labels[inside] = volume.read()[tuple(pieces.voxel[inside].T)]
    for row, region in enumerate(tree.ids):
        expected = pieces.length[labels == region].sum()
        assert sums[:, row].sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    sides = side_lengths(skeleton, atlas.midline).sum(axis=0)
    np.testing.assert_allclose(sums.sum(axis=(0, 1))[1:], sides, rtol=1e-9)
    for kind in range(1, 5):
        own = skeleton.lengths[skeleton.kind == kind].sum()
        assert sums[kind].sum() == pytest.approx(own, rel=1e-9)


def test_an_edge_is_cut_at_faces_and_at_the_midline():
    """A line along x through four voxels of 10 um, the midline in the middle of the second."""
    labels = np.array([688, 500, 500, 549], np.uint32).reshape(1, 1, 4)
    atlas = toy_atlas(labels, voxel_size=(10.0, 10.0, 10.0))
    x0, middle = -3.0 - 5.0, atlas.midline.point[2]
    assert middle == pytest.approx(x0 + 20)
    line = Skeleton(np.array([[5, 0, x0 - 7], [5, 0, x0 + 43]]), np.array([-1, 0]), SPACE)
    table = measure_lengths(atlas, {"n": line}, inside=False)
    found = {(r.region_id, r.hemisphere): r.length_um for r in table.itertuples()}
    expected = {  # x runs toward the left: what comes first is right
        (688, 2): 10, (500, 2): 10, (500, 1): 10, (549, 1): 10, (0, 2): 7, (0, 1): 3,
        (688, 3): 10, (500, 3): 20, (549, 3): 10, (0, 3): 10,
    }  # fmt: skip
    assert found == pytest.approx(expected)


def test_tables_hold_parents_kinds_and_ends():
    atlas = toy_atlas(toy_labels((20, 16, 18), seed=3))
    neurons = {"a": neuron(1), "b": neuron(2)}
    table = measure_lengths(atlas, neurons)
    both = table[table["hemisphere"] == 3]
    for name, skeleton in neurons.items():
        mine = both[both["neuron"] == name]
        top = mine[mine["region_id"].isin((0, 997))]
        assert top["length_um"].sum() == pytest.approx(skeleton.cable_length, rel=1e-9)
        assert top["terminals"].sum() == (skeleton.parent[skeleton.ends] >= 0).sum()
        assert mine["own_length_um"].sum() == pytest.approx(skeleton.cable_length, rel=1e-9)
        sided = table[(table["neuron"] == name) & (table["hemisphere"] < 3)]
        assert sided["own_length_um"].sum() == pytest.approx(skeleton.cable_length, rel=1e-9)
        for (region, kind), row in mine.set_index(["region_id", "kind"]).iterrows():
            if region:
                children = mine[(mine["parent_id"] == region) & (mine["kind"] == kind)]
                whole = row["own_length_um"] + children["length_um"].sum()
                assert row["length_um"] == pytest.approx(whole, rel=1e-9)
    assert set(table["kind"]) == {"undefined", "soma", "axon", "dendrite", "apical"}
    assert set(table["region_id"]) <= {0, *IDS}


def test_small_memory_reads_around_each_neuron(monkeypatch):
    from projectome.atlas import lengths

    class Chunked:
        shape, chunks, dtype = (20, 16, 18), (7, 5, 6), np.dtype("uint32")

        def __init__(self):
            self.boxes = []

        def read(self, index):
            self.boxes.append(index)
            return toy_labels()[index]

    whole = toy_atlas()
    array = Chunked()
    volume = Volume(array, whole.annotation.affine, kind="labels")
    part = toy_atlas().__class__("toy", whole.terminology, volume, midline=whole.midline)
    near = neuron(5, nodes=10, spread=10.0)
    monkeypatch.setattr(lengths, "AT_ONCE", 12000)
    found = measure_lengths(part, {"n": near}, memory="1kB")
    assert found.equals(measure_lengths(whole, {"n": near}))
    assert np.prod([s.stop - s.start for s in array.boxes[0]]) * 4 <= 12000
    with pytest.raises(ParameterError, match="Give more --memory, or use a coarser level"):
        measure_lengths(part, {"n": neuron(5, spread=200.0)}, memory="1kB")


def test_nothing_and_what_does_not_fit():
    atlas = toy_atlas()
    assert len(measure_lengths(atlas, {})) == 0
    lone = Skeleton(np.array([[1.0, 2, 3]]), np.array([-1]), SPACE)
    assert len(measure_lengths(atlas, {"n": lone})) == 0
    far = Skeleton(np.array([[0, 0, 0], [1e13, 0, 0]]), np.array([-1, 0]), SPACE)
    with pytest.raises(ParameterError, match="its units and those of toy do not fit together"):
        own_lengths(atlas, far)
    elsewhere = Skeleton(np.array([[0, 0, 0], [1.0, 0, 0]]), np.array([-1, 0]), Space("scan"))
    with pytest.raises(SpaceMismatchError):
        own_lengths(atlas, elsewhere)
