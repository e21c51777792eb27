import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import ParameterError, ShapeError
from projectome.metrics.bootstrap import interval, interval_of_sums, ratio


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(0, 9))
def test_an_interval_holds_its_value_within_the_range_and_is_seeded(values, seed):
    found = interval(values, seed=seed, resamples=300)
    assert found.value == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.n == len(values)
    assert found == interval(values, seed=seed, resamples=300)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        found = interval(rng.normal(5, 2, 40), level=0.9, resamples=400, seed=seed)
        covered += found.low <= 5 <= found.high
    assert 0.84 < covered / 300 < 0.95


def test_it_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(0, 3, 400)
    found = interval(values, resamples=4000)
    expected = 2 * 1.96 * values.std() / 20
    assert found.high - found.low == pytest.approx(expected, rel=0.06)


def test_pooled_shares_weigh_units_by_their_size():
    rows = np.array([[1.0, 10.0], [90.0, 90.0]])
    found = interval(rows, ratio)
    assert found.value == pytest.approx(0.91)
    assert (found.low, found.high) == (pytest.approx(0.1), 1)
    assert np.isnan(ratio(np.zeros((3, 2))))


def test_a_function_of_indices_gives_the_same():
    values = np.arange(10.0)
    by_index = interval(lambda index: float(np.median(values[index])), n=10, seed=4)
    assert by_index == interval(values[:, None], lambda rows: float(np.median(rows)), seed=4)


def test_too_few_units_say_nothing_about_the_spread():
    assert interval([3.0])[0] == 3
    assert np.isnan(interval([3.0])[1:3]).all()
    for nothing in ([], [np.nan], np.empty((0, 2))):
        found = interval(nothing)
        assert np.isnan(found[:3]).all()
        assert found.n == 0
    with_unknown = interval([1.0, np.nan, 3.0])
    assert (with_unknown.value, with_unknown.n) == (2, 2)
    undefined = interval(np.zeros((4, 2)), ratio)
    assert np.isnan(undefined[:3]).all()


def test_wrong_calls_name_the_way_out():
    for more in ({"level": 1.0}, {"level": 0}, {"resamples": 0}):
        with pytest.raises(ParameterError, match="level between 0 and 1"):
            interval([1.0, 2.0], **more)
    with pytest.raises(ParameterError, match="number of units"):
        interval(lambda index: 0.0)
    with pytest.raises(ShapeError, match=r"\(N, K\)"):
        interval(np.zeros((2, 2, 2)))


def test_samples_are_drawn_apart():
    # Two neurons that are all right, and traced trees of which half is: recall has no spread.
    rows = np.array([[1.0, 1, 0, 0]] * 2 + [[0, 0, 1.0, 1], [0, 0, 0, 1]] * 5)
    strata = np.repeat([0, 1], [2, 10])

    def both(sums):
        assert sums[1] == 2
        assert sums[3] == 10
        return sums[0] / sums[1] * sums[2] / sums[3]

    found = interval(rows, lambda drawn: both(drawn.sum(axis=0)), strata=strata, resamples=400)
    quick = interval_of_sums(rows, both, strata=strata)
    for one in (found, quick):
        assert (one.value, one.n) == (0.5, 12)
        assert one.low == pytest.approx(0.2, abs=0.11)
        assert one.high == pytest.approx(0.8, abs=0.11)
    assert quick == interval_of_sums(rows, both, strata=strata)
    # One neuron says nothing about the spread of neurons.
    alone = interval_of_sums(rows[1:], lambda sums: sums[0], strata=strata[1:])
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(interval(rows[1:], lambda drawn: 1.0, strata=strata[1:]).low)
    for call in (interval, interval_of_sums):
        with pytest.raises(ShapeError, match="12 units need one stratum each"):
            call(rows, lambda drawn: 1.0, strata=[0, 1])


def test_sums_have_the_interval_of_their_rows():
    rows = np.random.default_rng(5).uniform(0, 1, (40, 2)) * [1, 2]
    rows[3] = np.nan
    one = interval(rows, ratio, resamples=6000)
    two = interval_of_sums(rows, lambda sums: sums[0] / sums[1], resamples=6000)
    assert (two.value, two.n) == (pytest.approx(one.value), 39)
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=0.01)
    assert np.isnan(interval_of_sums(np.empty((0, 2)), lambda sums: 1.0).value)
