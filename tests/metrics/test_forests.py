"""Forests against neurons: planted splits, merges, omissions and false branches."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurites import SPACE, grown_tree, moved, path, random_tree, straight

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.metrics.forests import annotator_ceiling, false_branches, forest_scores
from projectome.morphology.edit import resample

ONE = straight(0, 100)
TWO = straight(0, 100, y=45.0)


def score(truth, traced, **more):
    return forest_scores(truth, traced, **{"distance_um": 2.0, **more})


def test_perfect_is_perfect_in_any_order_and_sampling():
    fine = [resample(neuron, step_um=0.7) for neuron in (TWO, ONE)]
    total = score([ONE, TWO], fine).total
    assert (total.accuracy, total.split, total.normalised_erl) == (1, 0, 1)
    assert (total.runs, total.splits, total.merges, total.gaps, total.truncations) == (
        2,
        0,
        0,
        0,
        0,
    )
    assert total.erl_um == pytest.approx(100)


@given(st.integers(0, 1000))
def test_a_tree_against_itself(seed):
    neuron = grown_tree(seed, 150)
    total = score([neuron], [neuron]).total
    assert (total.accuracy, total.splits, total.runs) == (1, 0, 1)
    assert total.erl_um == pytest.approx(neuron.cable_length)


def test_one_split_moves_the_run_length_alone():
    scores = score([ONE], [straight(0, 60), straight(60, 100)])
    total = scores.total
    assert (total.accuracy, total.splits, total.gaps) == (1, 1, 0)
    # Where the cable near both is cut lies within the distance of the end.
    assert total.split_um == pytest.approx(40, abs=2.1)
    assert total.erl_um == pytest.approx((60**2 + 40**2) / 100, abs=1)
    np.testing.assert_allclose(scores.split_points, [[5, 5, 60]], atol=2.1)


def test_one_omission_is_a_gap():
    total = score([ONE], [Skeleton.concatenate([straight(0, 40), straight(60, 100)], space=SPACE)])
    total = total.total
    assert total.omitted_um == pytest.approx(20 - 2 * 2, abs=1)
    assert (total.gaps, total.splits, total.truncations) == (1, 0, 0)
    assert score([ONE], [straight(0, 40)]).total.truncations == 1


def test_one_merge_moves_both_neurons():
    joined = path([5, 5, 0], [5, 5, 100], [5, 45, 100], [5, 45, 0])
    scores = score([ONE, TWO], [joined])
    assert (scores.total.merged, scores.total.merges, scores.total.erl_um) == (1, 1, 0)
    (site,) = scores.merge_sites
    assert (site.label, site.neurons) == (1, (0, 1))
    assert site.gap_um == pytest.approx(40)


def test_a_shift_below_the_distance_changes_nothing_and_one_above_omits_all():
    near, far = (score([ONE], [moved(ONE, [0, by, 0])]).total for by in (1.9, 2.1))
    assert (near.accuracy, near.runs) == (1, 1)
    assert (far.omitted, far.accuracy, far.runs) == (1, 0, 0)


def test_a_tree_that_crosses_does_not_split():
    across = path([5, -50, 50], [5, 60, 50])
    total = score([ONE], [across, ONE]).total
    assert (total.splits, total.runs, total.accuracy) == (0, 1, 1)
    # Nor where it lies nearer for a while.
    total = score([ONE], [moved(straight(40, 60), [0.1, 0, 0]), moved(ONE, [1, 0, 0])]).total
    assert (total.splits, total.runs) == (0, 1)


@given(st.integers(0, 200), st.floats(2, 20))
def test_shares_stay_between_0_and_1(seed, distance):
    truth = [random_tree(seed + k, 6) for k in range(3)]
    traced = [random_tree(seed + 50 + k, 6) for k in range(3)]
    scores = score(truth, traced, distance_um=distance)
    for one in (*scores.neurons, scores.total):
        assert 0 <= one.accuracy <= 1
        assert one.omitted + one.merged + one.accuracy == pytest.approx(1)
        assert 0 <= one.normalised_erl <= 1


def test_nothing_traced_and_nothing_to_trace():
    total = score([ONE], []).total
    assert (total.omitted, total.accuracy, total.erl_um, total.truncations) == (1, 0, 0, 1)
    point = Skeleton(np.zeros((1, 3)), [-1], SPACE)
    for truth in ([], [point]):
        total = score(truth, [ONE]).total
        assert np.isnan([total.omitted, total.accuracy, total.erl_um, total.normalised_erl]).all()


def test_a_false_branch_is_seen_from_its_least_length_on():
    # A widely used tool sees branches beyond 100 um only.
    trunk = straight(0, 100, step=1.0)
    parent = np.concatenate([trunk.parent, [50], np.arange(101, 190)])
    tips = [[5, 5 + k, 50] for k in range(1, 91)]
    branched = Skeleton(np.concatenate([trunk.coordinates, tips]), parent, SPACE)
    (branch,) = false_branches([ONE], [branched], distance_um=2)
    assert (branch.traced, branch.neuron) == (0, 0)
    assert branch.length_um == pytest.approx(88, abs=0.6)
    np.testing.assert_allclose(branch.point, [5, 7, 50], atol=0.6)
    assert false_branches([ONE], [branched], distance_um=2, min_length_um=88.7) == ()
    assert false_branches([ONE], [ONE, straight(0, 100, y=80.0)], distance_um=2) == ()
    # Along another true neuron it is a merge and no false branch.
    assert false_branches([ONE, path([5, 5, 50], [5, 95, 50])], [branched], distance_um=2) == ()


def test_a_ceiling_of_three_annotators():
    short = straight(0, 60)
    found = annotator_ceiling([[ONE], [short], [moved(ONE, [1, 0, 0])]], distance_um=2)
    pair = 2 * 0.62 / 1.62
    assert found.f1[0, 2] == 1
    assert found.f1[0, 1] == found.f1[1, 0] == pytest.approx(pair, abs=0.005)
    assert (found.recall[0, 1], found.recall[1, 0]) == (pytest.approx(0.62, abs=0.005), 1)
    assert found.agreement.value == pytest.approx((1 + 2 * pair) / 3, abs=0.005)
    assert found.agreement.n == 3
    assert (found.best, found.worst) == (0, 1)
    assert annotator_ceiling([[ONE], []], distance_um=2).agreement.value == 0


def test_wrong_calls_name_the_way_out():
    other = straight(0, 9, space=Space("atlas"))
    for call in (forest_scores, false_branches):
        with pytest.raises(ParameterError, match="above 0; not 0"):
            call([ONE], [ONE], distance_um=0)
        with pytest.raises(SpaceMismatchError, match=r"Skeleton\.to"):
            call([ONE], [other], distance_um=2)
    with pytest.raises(ParameterError, match="merge_um"):
        forest_scores([ONE], [ONE], distance_um=2, merge_um=-1)
    with pytest.raises(ParameterError, match="min_length_um"):
        false_branches([ONE], [ONE], distance_um=2, min_length_um=-1)
    with pytest.raises(ParameterError, match="two tracings of one neuron or more, not 1"):
        annotator_ceiling([[ONE]], distance_um=2)


def test_lengths_are_of_tissue():
    gel = Space("gel", expansion=4.0)
    neuron = straight(0, 100, space=gel)
    a = asdict(score([ONE], [straight(0, 40)]).total)
    b = asdict(score([neuron], [straight(0, 40, space=gel)]).total)
    for name, value in a.items():
        factor = 16 if "um2" in name else 4 if "_um" in name else 1
        assert value == pytest.approx(factor * b[name])
