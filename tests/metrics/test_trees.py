import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.metrics.trees import length_scores, neuron_scores

SPACE = Space("tissue")


def path(*points):
    """An unbranched neurite through the points."""
    return Skeleton(np.asarray(points, float), np.arange(len(points)) - 1, SPACE)


def random_tree(seed, count):
    rng = np.random.default_rng(seed)
    parent = np.asarray([-1, *(rng.integers(0, k) for k in range(1, count))])
    return Skeleton(rng.uniform(0, 60, (count, 3)), parent, SPACE)


def moved(skeleton, by):
    return Skeleton(skeleton.coordinates + np.asarray(by), skeleton.parent, SPACE)


def exact_gap(points, skeleton):
    """Distance of each point to the nearest edge, by brute force."""
    nodes, parents = skeleton.edges.T
    a, b = skeleton.coordinates[parents], skeleton.coordinates[nodes]
    way = b - a
    t = ((points[:, None] - a) * way).sum(-1) / (way**2).sum(-1)
    foot = a + np.clip(t, 0, 1)[..., None] * way
    return np.linalg.norm(points[:, None] - foot, axis=-1).min(axis=1)


def share_within(skeleton, other, distance):
    """Share of the length of a forest within a distance of another, by dense sampling."""
    nodes, parents = skeleton.edges.T
    total = matched = 0.0
    for node, parent in zip(nodes, parents, strict=True):
        a, b = skeleton.coordinates[parent], skeleton.coordinates[node]
        t = (np.arange(800) + 0.5)[:, None] / 800
        length = np.linalg.norm(b - a)
        total += length
        matched += length * (exact_gap(a + t * (b - a), other) <= distance).mean()
    return matched / total


TRUTH = path([0, 0, 0], [0, 0, 100], [0, 0, 200], [0, 0, 300])


def test_a_perfect_trace_is_perfect():
    scores = length_scores([TRUTH], [TRUTH], distance_um=8)
    assert (scores.recall, scores.precision, scores.f1) == (1, 1, 1)
    assert scores.truth_um == scores.traced_um == pytest.approx(300)


@given(st.floats(0, 7.9), st.floats(0, 2 * np.pi))
def test_a_shift_below_the_distance_changes_nothing_across_the_neurite(size, angle):
    shift = size * np.asarray([np.cos(angle), np.sin(angle), 0])
    scores = length_scores([TRUTH], [moved(TRUTH, shift)], distance_um=8)
    assert scores.recall == scores.precision == 1


def test_a_shift_above_the_distance_loses_everything():
    scores = length_scores([TRUTH], [moved(TRUTH, [8.1, 0, 0])], distance_um=8)
    assert scores.recall == scores.precision == scores.f1 == 0


def test_one_missed_branch_lowers_recall_by_its_share_and_leaves_precision():
    # A branch of 100 um that leaves the neurite at a right angle, 200 um of trunk.
    tree = Skeleton(
        np.asarray([[0, 0, 0], [0, 0, 100], [0, 0, 200], [0, 100, 100]], float),
        np.asarray([-1, 0, 1, 1]),
        SPACE,
    )
    trunk = tree.take([True, True, True, False])
    scores = length_scores([tree], [trunk], distance_um=4)
    # The first 4 um of the branch lie within the distance of the trunk.
    assert scores.recall == pytest.approx((300 - 96) / 300, abs=0.5 / 300)
    assert scores.precision == 1
    assert length_scores([trunk], [tree], distance_um=4).precision == pytest.approx(
        204 / 300, abs=0.5 / 300
    )


def test_false_cable_lowers_precision_alone():
    false = path([500, 0, 0], [500, 0, 100])
    scores = length_scores([TRUTH], [TRUTH, false], distance_um=8)
    assert scores.recall == 1
    assert scores.precision == pytest.approx(300 / 400)
    assert scores.f1 == pytest.approx(2 * 0.75 / 1.75)


def test_a_gap_costs_its_length_less_the_distance_on_both_sides():
    parts = [path([0, 0, 0], [0, 0, 100]), path([0, 0, 160], [0, 0, 300])]
    scores = length_scores([TRUTH], parts, distance_um=8)
    assert scores.matched_truth_um == pytest.approx(300 - (60 - 16), abs=2)


def test_sampling_does_not_matter():
    fine = path(*[[0, 0, x] for x in np.linspace(0, 300, 1000)])
    coarse = path([0, 0, 0], [0, 0, 300])
    for a, b in ((fine, coarse), (coarse, fine)):
        scores = length_scores([a], [b], distance_um=3)
        assert scores.recall == scores.precision == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 7), st.integers(2, 7), st.floats(2, 25))
def test_random_trees_against_dense_brute_force(seed, n, m, distance):
    a, b = random_tree(seed, n), random_tree(seed + 1, m)
    assume(a.cable_length > 1 and b.cable_length > 1)
    scores = length_scores([a], [b], distance_um=distance)
    # Each boundary of the matched part is known to an eighth of the distance.
    boundaries = 2 * (n - 1) * (m - 1) * distance / 8
    expected = share_within(a, b, distance)
    assert scores.recall == pytest.approx(expected, abs=boundaries / a.cable_length + 0.003)
    expected = share_within(b, a, distance)
    assert scores.precision == pytest.approx(expected, abs=boundaries / b.cable_length + 0.003)


@given(st.integers(0, 500), st.floats(1, 20))
def test_swapping_the_forests_swaps_the_figures(seed, distance):
    a, b = random_tree(seed, 5), random_tree(seed + 7, 6)
    there, back = (length_scores([p], [q], distance_um=distance) for p, q in ((a, b), (b, a)))
    assert (there.recall, there.precision) == (back.precision, back.recall)
    assert there.f1 == pytest.approx(back.f1)


@given(st.integers(0, 500), st.floats(1, 10), st.floats(1, 10))
def test_a_larger_distance_never_matches_less(seed, d, more):
    a, b = random_tree(seed, 5), random_tree(seed + 3, 5)
    small = length_scores([a], [b], distance_um=d)
    large = length_scores([a], [b], distance_um=d + more)
    slack = 8 * (d + more) / 4  # the pieces are cut anew
    assert large.matched_truth_um >= small.matched_truth_um - slack


def test_nothing_has_undefined_figures():
    point = Skeleton(np.zeros((1, 3)), [-1], SPACE)
    missed = length_scores([TRUTH], [], distance_um=8)
    assert missed.recall == missed.f1 == missed.traced_um == 0
    assert np.isnan(missed.precision)
    for empty in ([], [point]):
        both = length_scores(empty, [], distance_um=8)
        assert np.isnan([both.recall, both.precision, both.f1]).all()
        assert length_scores(empty, [TRUTH], distance_um=8).f1 == 0


def test_wrong_calls_name_the_way_out():
    with pytest.raises(ParameterError, match="above 0; not 0"):
        length_scores([TRUTH], [TRUTH], distance_um=0)
    other = Skeleton(TRUTH.coordinates, TRUTH.parent, Space("atlas"))
    with pytest.raises(SpaceMismatchError, match=r"one space only.*Skeleton\.to"):
        length_scores([TRUTH], [other], distance_um=8)
    with pytest.raises(SpaceMismatchError, match="one space only"):
        neuron_scores([other], [TRUTH], distance_um=8)


SECOND = path([100, 0, 0], [100, 0, 300])


def test_perfect_neurons():
    scores = neuron_scores([TRUTH, SECOND], [SECOND, TRUTH], distance_um=8)
    assert [s.best for s in scores] == [1, 0]
    for s in scores:
        assert (s.covered, s.best_covered, s.best_purity, s.pieces) == (1, 1, 1, 1)
        assert s.length_um == pytest.approx(300)


def test_a_split_shows_in_the_best_share_alone():
    halves = [path([0, 0, 0], [0, 0, 200]), path([0, 0, 200], [0, 0, 300])]
    (score,) = neuron_scores([TRUTH], halves, distance_um=8)
    assert score.covered == 1
    assert score.best == 0
    assert score.best_covered == pytest.approx(208 / 300, abs=2 / 300)
    assert score.best_purity == 1
    assert score.pieces == 2


def test_a_merge_shows_in_the_purity_alone():
    merged = path([0, 0, 0], [0, 0, 300], [100, 0, 300], [100, 0, 0])
    for score in neuron_scores([TRUTH, SECOND], [merged], distance_um=8):
        assert score.covered == score.best_covered == 1
        assert score.best_purity == pytest.approx((300 + 8) / 700, abs=2 / 700)


def test_a_neuron_that_was_missed():
    scores = neuron_scores([TRUTH, SECOND], [TRUTH], distance_um=8)
    missed = scores[1]
    assert (missed.covered, missed.best, missed.best_covered, missed.pieces) == (0, -1, 0, 0)
    assert np.isnan(missed.best_purity)
    (nothing,) = neuron_scores([TRUTH], [], distance_um=8)
    assert (nothing.covered, nothing.best) == (0, -1)


def test_neuron_scores_agree_with_length_scores_where_there_is_one_of_each():
    a, b = random_tree(1, 8), random_tree(2, 8)
    (score,) = neuron_scores([a], [b], distance_um=9)
    both = length_scores([a], [b], distance_um=9)
    assert score.covered == score.best_covered == pytest.approx(both.recall)
    assert score.best_purity == pytest.approx(both.precision)
