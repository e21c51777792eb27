from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError
from projectome.morphology.measure import (
    bounding_box,
    branch_order,
    length_by_kind,
    measure,
    segment_lengths,
    segment_spans,
    sholl,
    strahler,
    tissue,
    tortuosity,
)
from projectome.testing import strategies as draws


def children(skeleton: Skeleton, node: int) -> list[int]:
    """Return the children of a node."""
    return np.flatnonzero(skeleton.parent == node).tolist()


def test_the_row_of_a_known_neuron(neuron):
    row = measure(neuron)
    assert {k: row[k] for k in ("nodes", "trees", "ends", "branches")} == {
        "nodes": 7,
        "trees": 1,
        "ends": 3,
        "branches": 1,
    }
    assert row["length_tissue_um"] == 30 + 3 + 40 + 14
    assert row["axon_length_tissue_um"] == 73
    assert row["max_path_tissue_um"] == row["max_distance_tissue_um"] == 70
    assert row["strahler"] == 2
    assert row["branch_order"] == 2
    assert row["tortuosity"] == pytest.approx(87 / (30 + 3 + 40 + 10))
    assert (row["depth_tissue_um"], row["height_tissue_um"], row["width_tissue_um"]) == (0, 6, 78)


@given(draws.skeletons(space=Space("gel", expansion=4.0)))
def test_every_length_of_the_row_is_of_tissue(gel):
    as_tissue = replace(gel, space=Space("gel"))
    expanded, plain = measure(gel), measure(as_tissue)
    for name, value in expanded.items():
        factor = 4 if name.endswith("_um") else 1
        assert value * factor == pytest.approx(plain[name], nan_ok=True), name


def test_tissue_divides_by_the_expansion_once():
    assert tissue(8.0, Space(expansion=4.0)) == 2.0
    np.testing.assert_array_equal(tissue(np.array([8.0]), Space(expansion=4.0)), [2.0])
    with pytest.raises(ParameterError, match="carry the data into the physical space"):
        tissue(1.0, Space.voxels())


@given(draws.skeletons())
def test_strahler_by_its_definition(skeleton):
    order = strahler(skeleton)
    for node in range(len(skeleton)):
        below = sorted((order[c] for c in children(skeleton, node)), reverse=True)
        if not below:
            assert order[node] == 1
        elif len(below) > 1 and below[0] == below[1]:
            assert order[node] == below[0] + 1
        else:
            assert order[node] == below[0]


@given(draws.skeletons())
def test_branch_order_by_its_definition(skeleton):
    order = branch_order(skeleton)
    for node in range(len(skeleton)):
        above, count = skeleton.parent[node], 0
        while above >= 0:
            count += len(children(skeleton, above)) > 1
            above = skeleton.parent[above]
        assert order[node] == count


@given(draws.skeletons())
def test_segments_share_out_the_cable(skeleton):
    lengths, spans = segment_lengths(skeleton), segment_spans(skeleton)
    assert lengths.sum() == pytest.approx(skeleton.cable_length, abs=1e-6)
    assert (lengths >= spans - 1e-6).all()
    ratios = tortuosity(skeleton)
    assert (np.isnan(ratios) == (spans == 0)).all()


@given(draws.skeletons())
def test_kinds_share_out_the_cable(skeleton):
    by_kind = length_by_kind(skeleton)
    assert sum(by_kind.values()) == pytest.approx(skeleton.cable_length)
    if skeleton.kind is not None:
        assert set(by_kind) == set(skeleton.kind.tolist())


@given(draws.skeletons(smallest=1))
def test_bounding_box_holds_all_nodes_tightly(skeleton):
    low, high = bounding_box(skeleton)
    assert ((skeleton.coordinates >= low) & (skeleton.coordinates <= high)).all()
    assert (skeleton.coordinates == low).any(axis=0).all()


def test_nothing_measures_nothing():
    empty = Skeleton(np.empty((0, 3)), np.empty(0, np.int64), Space())
    row = measure(empty)
    assert row["nodes"] == row["strahler"] == row["length_tissue_um"] == 0
    assert np.isnan(row["tortuosity"])
    assert sholl(empty, [1.0]).tolist() == [0]


def test_sholl_counts_passages_exactly(neuron):
    # Beyond the fork at 30 um: the branch, and the twig, whose tip is 30.15 um from the soma. The
    # dendrite ends 10 um away.
    radii = [1, 6, 9.9, 10.1, 29, 30.1, 30.2, 69, 70.1]
    assert sholl(neuron, radii).tolist() == [2, 2, 2, 1, 1, 2, 1, 1, 0]


def test_an_edge_can_pass_a_sphere_twice():
    # The edge passes the centre at 3 um; its ends lie 5 um away.
    chord = Skeleton(np.array([[0.0, 3, -4], [0, 3, 4]]), np.array([-1, 0]), Space())
    assert sholl(chord, [2, 3, 4, 5, 6], centre=(0, 0, 0)).tolist() == [0, 0, 2, 2, 0]


@given(draws.skeletons(smallest=1), st.integers(0, 2**32 - 1))
def test_sholl_agrees_with_solving_for_each_edge(skeleton, seed):
    rng = np.random.default_rng(seed)
    centre = skeleton.coordinates[0]
    radii = np.sort(rng.uniform(1, 2e5, 7))
    expected = np.zeros(7, int)
    for node, parent in skeleton.edges:
        p, d = (
            skeleton.coordinates[parent] - centre,
            np.diff(skeleton.coordinates[[parent, node]].T),
        )
        d = d[:, 0]
        for i, r in enumerate(radii):
            if d @ d > 1e-12:
                roots = np.roots([d @ d, 2 * p @ d, p @ p - r * r])
                expected[i] += sum(np.isreal(t) and 0 <= t.real <= 1 for t in roots)
    assert sholl(skeleton, radii).tolist() == expected.tolist()


@pytest.mark.parametrize("radii", [[2, 1], [-1, 1], [[1, 2]], [1, 1]])
def test_sholl_radii_ascend(neuron, radii):
    with pytest.raises(ParameterError, match="ascend"):
        sholl(neuron, radii)
