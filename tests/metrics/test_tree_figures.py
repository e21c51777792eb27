"""Distances, critical nodes and paths of trees: definitions, planted defects, invariance."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from neurites import SPACE, brute_distance, grown_tree, moved, path, random_tree, straight

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.metrics.samples import cut, subdivided
from projectome.metrics.tree_distance import distance_scores
from projectome.metrics.tree_nodes import node_scores
from projectome.metrics.tree_paths import branching_scores, path_scores
from projectome.metrics.trees import length_curve, length_scores
from projectome.morphology.edit import reroot, split
from projectome.morphology.nearest import Cable

LINE = straight(0, 100)
EMPTY = Skeleton(np.empty((0, 3)), np.empty(0, np.int64), SPACE)
POINT = Skeleton(np.zeros((1, 3)), [-1], SPACE)


def fork():
    """A trunk of 100 um along x, with a branch of 50 um along y from its middle."""
    points = [[5, 5, 0], [5, 5, 50], [5, 5, 100], [5, 55, 50]]
    return Skeleton(np.asarray(points, float), np.asarray([-1, 0, 1, 1]), SPACE)


# Nearest places -----------------------------------------------------------------------------------
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_nearest_places_against_brute_force(seed, count):
    tree = random_tree(seed, count)
    points = np.random.default_rng(seed + 1).uniform(-20, 80, (30, 3))
    cable = Cable.of([tree])
    found = cable.nearest(points)
    expected = brute_distance(points, tree)
    np.testing.assert_allclose(found.distance, expected, atol=1e-9)
    foot = (
        cable.start[found.segment] + found.share[:, None] * (cable.end - cable.start)[found.segment]
    )
    np.testing.assert_allclose(np.linalg.norm(points - foot, axis=1), expected, atol=1e-9)
    limited = cable.nearest(points, limit_um=10)
    np.testing.assert_array_equal(limited.segment >= 0, expected <= 10)
    around = cable.within(points, 15)
    nodes = np.flatnonzero(tree.lengths > 0)
    for k in range(0, 30, 7):
        near = {i for i in range(len(nodes)) if _gap(points[k], tree, nodes[i]) <= 15}
        mine = around.segment[around.first[k] : around.first[k + 1]]
        assert set(mine.tolist()) == near
        gaps = around.distance[around.first[k] : around.first[k + 1]]
        assert (np.diff(gaps) >= 0).all()


def _gap(point, tree, node):
    edge = path(tree.coordinates[tree.parent[node]], tree.coordinates[node])
    return brute_distance(point[None], edge)[0]


def test_nearest_places_of_no_cable():
    for forest in ([], [EMPTY], [POINT]):
        found = Cable.of(forest).nearest([[0, 0, 0]])
        assert (found.distance[0], found.segment[0]) == (np.inf, -1)
        assert len(Cable.of(forest).within([[0, 0, 0]], 5).segment) == 0
    assert len(Cable.of([LINE]).nearest(np.empty((0, 3))).distance) == 0
    with pytest.raises(ParameterError, match="finite coordinates"):
        Cable.of([LINE]).nearest([[np.nan, 0, 0]])
    with pytest.raises(ParameterError, match="0 or more"):
        Cable.of([LINE]).within([[0, 0, 0]], -1)
    with pytest.raises(ParameterError, match="finite numbers"):
        Cable.of([LINE]).within([[0, 0, 0]], np.inf)


@given(st.integers(0, 1000), st.floats(0.3, 20))
def test_cutting_keeps_length_and_shape(seed, longest):
    tree = random_tree(seed, 8)
    samples = cut([tree], longest_um=longest)
    assert samples.length.sum() == pytest.approx(tree.cable_length)
    assert samples.length.max() <= longest * (1 + 1e-9)
    fine = subdivided(tree, longest_um=longest)
    assert fine.lengths.max() <= longest * (1 + 1e-9)
    assert fine.cable_length == pytest.approx(tree.cable_length)
    assert len(fine.ends) == len(tree.ends)
    assert len(fine.branch_points) == len(tree.branch_points)
    assert brute_distance(samples.points, tree).max() < 1e-9
    assert brute_distance(fine.coordinates, tree).max() < 1e-9


def test_units_that_cannot_be_right_are_named():
    with pytest.raises(ParameterError, match="unit of the skeletons or of the distance"):
        length_scores([straight(0, 1e9)], [LINE], distance_um=1)


# Distances ----------------------------------------------------------------------------------------
def test_a_shift_is_the_distance():
    for by, pds in ((1.0, 0), (1.999, 0), (2.0, 1), (7.5, 1)):
        scores = distance_scores([LINE], [moved(LINE, [0, by, 0])])
        for way in (scores.truth_to_traced, scores.traced_to_truth):
            assert (way.esa_um, way.max_um) == (pytest.approx(by), pytest.approx(by))
            assert way.pds == pds
            assert way.dsa_um == pytest.approx(by if pds else 0)
        assert (scores.esa_um, scores.pds) == (pytest.approx(by), pds)
        assert scores.dsa_um == pytest.approx(by if pds else 0)


def test_perfect_lies_nowhere_apart():
    tree = random_tree(3, 20)
    scores = distance_scores([tree], [tree])
    assert scores.esa_um == pytest.approx(0, abs=1e-9)
    assert (scores.dsa_um, scores.pds) == (0, 0)


def test_what_is_missed_and_what_is_false_have_their_own_direction():
    scores = distance_scores([LINE], [straight(0, 60)], step_um=0.1)
    there, back = scores.truth_to_traced, scores.traced_to_truth
    assert (back.pds, back.dsa_um) == (0, 0)
    assert (back.esa_um, back.max_um) == pytest.approx((0, 0), abs=1e-12)
    assert there.esa_um == pytest.approx(40**2 / 2 / 100, abs=0.01)
    assert there.pds == pytest.approx(0.38, abs=0.001)
    assert there.dsa_um == pytest.approx((40 + 2) / 2, abs=0.1)
    assert there.max_um == pytest.approx(40, abs=0.1)
    assert scores.esa_um == pytest.approx(there.esa_um / 2)
    assert scores.dsa_um == there.dsa_um  # the other direction has nothing apart
    swapped = distance_scores([straight(0, 60)], [LINE], step_um=0.1)
    assert (swapped.truth_to_traced, swapped.traced_to_truth) == (back, there)


@given(st.integers(0, 1000), st.integers(1, 9))
def test_the_density_of_nodes_does_not_change_distances(seed, parts):
    a, b = random_tree(seed, 6), random_tree(seed + 1, 6)
    dense = subdivided(a, longest_um=parts / 3)
    one, two = (distance_scores([t], [b], step_um=0.05) for t in (a, dense))
    assert two.esa_um == pytest.approx(one.esa_um, rel=1e-3, abs=1e-3)
    assert two.pds == pytest.approx(one.pds, abs=0.01)


def test_distances_to_nothing():
    for nothing in ([], [EMPTY], [POINT]):
        missed = distance_scores([LINE], nothing)
        assert math.isnan(missed.esa_um)
        assert math.isnan(missed.dsa_um)
        assert missed.pds == missed.truth_to_traced.pds == 1
        both = distance_scores(nothing, nothing)
        assert np.isnan([both.esa_um, both.dsa_um, both.pds]).all()


# Curves -------------------------------------------------------------------------------------------
@given(st.integers(0, 500))
def test_curves_never_fall_and_end_where_single_figures_do(seed):
    a, b = random_tree(seed, 6), random_tree(seed + 1, 6)
    curve = length_curve([a], [b], distances_um=[2, 4, 8, 16])
    for name in ("recall", "precision"):
        assert (np.diff([getattr(scores, name) for scores in curve]) >= 0).all()
    for scores in curve:
        single = length_scores([a], [b], distance_um=scores.distance_um)
        assert scores.recall == pytest.approx(single.recall, abs=0.05)
    assert length_curve([a], [b], distances_um=[]) == []


# Nodes --------------------------------------------------------------------------------------------
def test_each_error_of_a_node_is_its_own():
    perfect = node_scores([fork()], [fork()], distance_um=3)
    assert (perfect.critical.f1, perfect.critical.mean_error_um) == (1, 0)
    assert (perfect.bifurcations.truth, perfect.terminations.truth) == (1, 3)
    trunk = node_scores([fork()], [LINE], distance_um=3)  # a branch is missed
    assert (trunk.bifurcations.recall, trunk.terminations.recall) == (0, pytest.approx(2 / 3))
    assert trunk.terminations.precision == 1
    assert math.isnan(trunk.bifurcations.precision)
    np.testing.assert_array_equal(trunk.bifurcations.missed, [[5, 5, 50]])
    np.testing.assert_array_equal(trunk.terminations.missed, [[5, 55, 50]])
    excess = node_scores([LINE], [fork()], distance_um=3)
    assert excess.terminations.precision == pytest.approx(2 / 3)
    np.testing.assert_array_equal(excess.bifurcations.false, [[5, 5, 50]])
    assert excess.critical.f1 == pytest.approx(2 * 2 / (2 + 4))


def test_nodes_match_one_to_one_and_in_kind():
    shifted = node_scores([fork()], [moved(fork(), [0, 2, 0])], distance_um=3)
    assert (shifted.critical.f1, shifted.critical.mean_error_um) == (1, 2)
    assert node_scores([fork()], [moved(fork(), [0, 4, 0])], distance_um=3).critical.f1 == 0
    twice = node_scores([fork()], [fork(), fork()], distance_um=3).critical
    assert (twice.recall, twice.precision) == (1, 0.5)
    # An end beside a branching is no match of it.
    end = path([5, 5, 50], [5, -100, 50])
    assert node_scores([fork()], [end], distance_um=3).critical.matched == 0


@given(st.integers(0, 500), st.floats(0.2, 5))
def test_the_density_of_nodes_does_not_change_critical_nodes(seed, longest):
    a, b = grown_tree(seed, 60), grown_tree(seed, 70)
    one = node_scores([a], [b], distance_um=2).critical
    two = node_scores([subdivided(a, longest_um=longest)], [b], distance_um=2).critical
    assert (one.matched, one.truth, one.f1) == (two.matched, two.truth, two.f1)


def test_nodes_of_nothing():
    nothing = node_scores([], [POINT], distance_um=3).critical
    assert np.isnan([nothing.recall, nothing.precision, nothing.f1]).all()
    missed = node_scores([fork()], [], distance_um=3).critical
    assert (missed.recall, missed.f1, missed.matched) == (0, 0, 0)
    assert math.isnan(missed.precision)


# Paths --------------------------------------------------------------------------------------------
@given(st.integers(0, 300))
def test_trees_follow_themselves(seed):
    tree = grown_tree(seed, 120)
    assume(len(tree.ends) > 1)
    other = reroot(tree, int(tree.ends[-1]))  # the same cable, walked from elsewhere
    for traced in (tree, other):
        scores = path_scores([tree], [traced], distance_um=1.5)
        assert scores.recall == scores.precision == scores.f1 == 1
    scores = branching_scores([tree], [tree], distance_um=1.5)
    assert scores.recall == scores.precision == 1
    assert scores.truth_found == scores.truth_nodes


def test_one_break_leaves_the_longer_part():
    parts = [straight(0, 60), straight(60.5, 100)]
    scores = path_scores([LINE], parts, distance_um=1)
    assert scores.recall == pytest.approx(0.61, abs=0.01)
    assert scores.precision == 1
    assert length_scores([LINE], parts, distance_um=1).recall == 1  # by length nothing is missing


def test_a_break_before_a_branching_breaks_both_walks():
    tree = fork()
    torn = split(subdivided(tree, longest_um=1), 25)
    scores = path_scores([tree], [torn], distance_um=1)
    # Both walks are 100 um long; 75 um of each hang together (and 1 um beyond the cut).
    assert scores.recall == pytest.approx(0.755, abs=0.015)


def test_cable_of_another_tree_is_no_way_on_however_near():
    beside = [straight(0, 50), straight(50, 100, y=5.4)]
    assert path_scores([LINE], beside, distance_um=2).recall == pytest.approx(0.52, abs=0.02)
    joined = path([5, 5, 0], [5, 5, 50], [5, 5.4, 50], [5, 5.4, 100])
    assert path_scores([LINE], [joined], distance_um=2).recall == 1


def test_a_detour_is_a_break():
    detour = path([5, 5, 0], [5, 5, 50], [5, 45, 50], [5, 45, 51], [5, 5, 51], [5, 5, 100])
    assert path_scores([LINE], [detour], distance_um=2).recall == pytest.approx(0.52, abs=0.03)


def test_a_merge_shows_in_the_precision_of_paths():
    other = straight(0, 100, y=45.0)
    merged = path([5, 5, 0], [5, 5, 100], [5, 45, 100], [5, 45, 0])
    scores = path_scores([LINE, other], [merged], distance_um=2)
    assert scores.recall == 1
    assert scores.precision == pytest.approx(102 / 240, abs=0.01)


def test_a_branch_at_the_wrong_place_is_connected_wrongly():
    truth = fork()
    wrong = Skeleton(  # the branch comes from another end: the same places, another path
        np.asarray([[5, 5, 0], [5, 5, 50], [5, 5, 100], [5, 55, 100], [5, 55, 50]], float),
        np.asarray([-1, 0, 1, 2, 3]),
        SPACE,
    )
    scores = branching_scores([truth], [wrong], distance_um=3)
    assert scores.truth_nodes == 3
    assert scores.truth_found == 0  # no branching, no end there, and one at the wrong length
    assert branching_scores([truth], [truth], distance_um=3).f1 == 1
    assert branching_scores([truth], [moved(truth, [0, 2.9, 0])], distance_um=3).f1 == 1
    assert branching_scores([truth], [moved(truth, [0, 3.1, 0])], distance_um=3).f1 == 0


def test_nodes_weigh_the_tips_beyond_them():
    # A branching with two tips weighs 2, each tip 1.
    scores = branching_scores([fork()], [LINE], distance_um=3)
    assert scores.recall == pytest.approx(1 / 4)
    assert (scores.precision, scores.traced_nodes) == (1, 1)
    assert branching_scores([LINE], [fork()], distance_um=3).precision == pytest.approx(1 / 4)


def test_paths_of_nothing():
    for nothing in ([], [EMPTY], [POINT]):
        for figure in (path_scores, branching_scores):
            missed = figure([LINE], nothing, distance_um=2)
            assert (missed.recall, missed.f1) == (0, 0)
            assert math.isnan(missed.precision)
            both = figure(nothing, nothing, distance_um=2)
            assert np.isnan([both.recall, both.precision, both.f1]).all()


def test_wrong_calls_name_the_way_out():
    other = straight(0, 9, space=Space("atlas"))
    for figure in (path_scores, branching_scores, node_scores, length_scores):
        for bad in (0, -1.0, np.nan, np.inf):
            with pytest.raises(ParameterError, match="above 0; not"):
                figure([LINE], [LINE], distance_um=bad)
        with pytest.raises(SpaceMismatchError, match=r"one space only.*Skeleton\.to"):
            figure([LINE], [other], distance_um=2)
    with pytest.raises(ParameterError, match="threshold_um"):
        distance_scores([LINE], [LINE], threshold_um=0)
    with pytest.raises(SpaceMismatchError, match="one space only"):
        distance_scores([LINE], [other])
    with pytest.raises(ParameterError, match="path_tolerance"):
        branching_scores([LINE], [LINE], distance_um=2, path_tolerance=-0.1)
    with pytest.raises(ParameterError, match="matching distance"):
        length_curve([LINE], [LINE], distances_um=[2, 0])
