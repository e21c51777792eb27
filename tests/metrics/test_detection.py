from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from projectome.errors import ParameterError
from projectome.metrics import matching
from projectome.metrics.detection import match_points, point_curve
from projectome.metrics.matching import best_matching

CLOUD = st.integers(0, 5).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.integers(0, 6).map(float))
)


def best_by_brute_force(a, b, distance):
    """Most pairs, then smallest sum, over all one-to-one matchings."""
    if len(a) > len(b):
        a, b = b, a
    best = (0, 0.0)
    for chosen in permutations([*range(len(b)), *([None] * len(a))], len(a)):
        gaps = [np.linalg.norm(a[i] - b[j]) for i, j in enumerate(chosen) if j is not None]
        if all(gap <= distance for gap in gaps):
            best = max(best, (len(gaps), -sum(gaps)))
    return best[0], -best[1]


@settings(max_examples=60, deadline=None)
@given(CLOUD.filter(lambda c: len(c) <= 3), CLOUD.filter(lambda c: len(c) <= 4), st.floats(0.5, 5))
def test_matching_is_the_best_of_all(a, b, distance):
    scores = match_points(a, b, distance_um=distance)
    pairs, total = best_by_brute_force(a, b, distance)
    assert len(scores.pairs) == pairs
    assert scores.distances.sum() == pytest.approx(total, abs=1e-9)


@given(CLOUD, CLOUD, st.floats(0.5, 5))
def test_pairs_are_one_to_one_and_within_the_distance(a, b, distance):
    scores = match_points(a, b, distance_um=distance)
    assert len(np.unique(scores.pairs[:, 0])) == len(np.unique(scores.pairs[:, 1]))
    assert len(np.unique(scores.pairs[:, 0])) == len(scores.pairs)
    assert (scores.distances <= distance + 1e-9).all()


def test_figures_of_a_planted_case():
    truth = np.asarray([[0, 0, 0], [100, 0, 0], [200, 0, 0], [300, 0, 0]], float)
    found = np.asarray([[3, 0, 0], [104, 0, 0], [250, 0, 0]], float)
    scores = match_points(truth, found, distance_um=10)
    assert scores.recall == 2 / 4
    assert scores.precision == 2 / 3
    assert scores.f1 == pytest.approx(4 / 7)
    assert scores.mean_error_um == pytest.approx(3.5)
    assert scores.pairs.tolist() == [[0, 0], [1, 1]]


def test_a_point_found_twice_counts_once():
    scores = match_points([[0, 0, 0]], [[1, 0, 0], [-2, 0, 0]], distance_um=5)
    assert (scores.recall, scores.precision) == (1, 0.5)
    assert scores.mean_error_um == 1


def test_the_nearest_is_given_up_for_a_second_pair():
    # 0 is nearest to 4, but then -5 would stay alone.
    scores = match_points([[0, 0, 0], [8, 0, 0]], [[4, 0, 0], [-5, 0, 0]], distance_um=5)
    assert scores.recall == 1
    assert scores.distances.sum() == 9


def test_the_distance_itself_is_near_enough():
    assert match_points([[0, 0, 0]], [[0, 0, 5]], distance_um=5).recall == 1
    assert match_points([[0, 0, 0]], [[0, 0, 5.001]], distance_um=5).recall == 0
    assert match_points([[1, 2, 3]], [[1, 2, 3]], distance_um=0).recall == 1


def test_nothing_has_undefined_figures():
    nothing = np.empty((0, 3))
    both = match_points(nothing, nothing, distance_um=5)
    assert np.isnan([both.recall, both.precision, both.f1, both.mean_error_um]).all()
    missed = match_points([[0, 0, 0]], nothing, distance_um=5)
    assert missed.recall == missed.f1 == 0
    assert np.isnan(missed.precision)
    apart = match_points([[0, 0, 0]], [[99, 0, 0]], distance_um=5)
    assert (apart.recall, apart.precision, apart.f1) == (0, 0, 0)


def test_many_points_keep_to_their_own_neighbourhoods():
    rng = np.random.default_rng(0)
    truth = np.stack(np.meshgrid(*[np.arange(12) * 50.0] * 3), axis=-1).reshape(-1, 3)
    moved = truth + rng.normal(0, 2, truth.shape)
    order = rng.permutation(len(truth))
    scores = match_points(truth, moved[order], distance_um=20)
    assert scores.f1 == 1
    assert np.array_equal(order[scores.pairs[:, 1]], scores.pairs[:, 0])


def test_wrong_calls_name_the_way_out():
    with pytest.raises(ParameterError, match="0 or more; not -1"):
        match_points([[0, 0, 0]], [[0, 0, 0]], distance_um=-1)
    with pytest.raises(ParameterError, match="finite coordinates; drop"):
        match_points([[0, 0, np.nan]], [[0, 0, 0]], distance_um=1)


@given(CLOUD, CLOUD, st.lists(st.integers(0, 3), min_size=5, max_size=5), st.floats(0.5, 5))
def test_a_curve_is_that_of_matching_at_every_threshold(a, b, scores, distance):
    scores = np.asarray(scores[: len(b)], float)
    curve = point_curve(a, b, scores, distance_um=distance)
    assert curve.threshold.tolist() == sorted(set(scores.tolist()), reverse=True)
    for k, threshold in enumerate(curve.threshold):
        matched = match_points(a, b[scores >= threshold], distance_um=distance)
        assert curve.precision[k] == pytest.approx(matched.precision)
        assert curve.recall[k] == pytest.approx(matched.recall, nan_ok=True)


def test_average_precision_of_a_planted_case():
    truth = [[0, 0, 0], [100, 0, 0]]
    found = [[1, 0, 0], [50, 0, 0], [99, 0, 0]]
    # Hit, false, hit: precision 1 at half the recall, then 2/3 at all of it.
    curve = point_curve(truth, found, [0.9, 0.8, 0.7], distance_um=5)
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert point_curve(truth, found, [1, 0, 1], distance_um=5).average_precision == 1
    assert point_curve(truth, np.empty((0, 3)), [], distance_um=5).average_precision == 0
    assert np.isnan(
        point_curve(np.empty((0, 3)), found, [1, 2, 3], distance_um=5).average_precision
    )
    with pytest.raises(ParameterError, match=r"1 detections have no score \(NaN\)"):
        point_curve(truth, found, [1, np.nan, 1], distance_um=5)


@given(st.integers(0, 2**32 - 1))
def test_sparse_and_dense_groups_are_matched_alike(seed):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((7, 6)) < 0.4)
    cost = rng.integers(0, 9, len(rows)).astype(float)
    found = []
    for dense in (matching.DENSE, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matching, "DENSE", dense)
            taken = best_matching(rows, columns, cost)
        assert len(np.unique(rows[taken])) == len(np.unique(columns[taken])) == len(taken)
        assert (np.diff(rows[taken]) > 0).all()
        found.append((len(taken), cost[taken].sum()))
    assert found[0] == found[1]
