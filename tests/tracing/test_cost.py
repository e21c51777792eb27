"""Costs: the formula, its bounds, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError, UnknownNameError
from projectome.tracing.cost import (
    ArrayCost,
    CostSource,
    IntensityCost,
    cost_from_intensity,
    limits_near,
)


def image(array, **words):
    return Volume.from_array(array, voxel_size=(2, 1, 1), **words)


def test_cost_is_the_reciprocal_of_brightness():
    intensity = np.array([0, 100, 150, 200, 900], np.uint16)
    cost = cost_from_intensity(intensity, low=100, high=200, contrast=10)
    assert cost.dtype == np.float32
    np.testing.assert_allclose(cost, [10, 10, 1 / (0.5 + 0.5 / 10), 1, 1], rtol=1e-6)


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.int16, np.float64]), 20, elements=st.integers(0, 120)),
    st.floats(-10, 50),
    st.floats(1, 100),
    st.floats(1.01, 1e6),
)
def test_cost_falls_with_intensity_within_its_bounds(values, low, span, contrast):
    values = np.sort(values)
    cost = cost_from_intensity(values, low=low, high=low + span, contrast=contrast)
    assert (np.diff(cost) <= 0).all()
    assert cost.min() >= 1
    assert cost.max() <= np.float32(contrast)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"low": 5, "high": 5}, "low has to be a smaller number than high"),
        ({"low": 5, "high": np.nan}, "take the intensity of the background"),
        ({"low": 0, "high": 5, "contrast": 1}, "try 50"),
        ({"low": 0, "high": 5, "contrast": np.inf}, "at most 1e6"),
    ],
)
def test_limits_without_a_cost_are_refused(words, says):
    with pytest.raises(ParameterError, match=says):
        cost_from_intensity(np.zeros(3), **words)


def test_missing_intensities_are_named():
    with pytest.raises(ParameterError, match=r"voxel \(0, 2\).*nan_to_num"):
        cost_from_intensity([[1.0, 2.0, np.nan]], low=0, high=1)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_costs_in_memory_are_positive_and_finite(bad):
    costs = np.ones((2, 3, 4))
    costs[1, 2, 3] = bad
    with pytest.raises(ParameterError, match=r"voxel \(1, 2, 3\).*cost_from_intensity"):
        ArrayCost(costs)


def test_costs_in_memory_have_three_axes():
    with pytest.raises(ShapeError, match="pick one channel"):
        ArrayCost(np.ones((2, 3)))


def test_an_array_as_a_source():
    source = ArrayCost(np.arange(1, 25).reshape(2, 3, 4))
    assert isinstance(source, CostSource)
    assert source.bounds == (1, 24)
    assert source.read(Box((1, 1, 1), (2, 2, 3))).tolist() == [[[18, 19]]]


def test_a_volume_as_a_source():
    intensity = np.arange(48).reshape(2, 2, 3, 4)
    source = IntensityCost(image(intensity), 0, 40, 20, channel="channel 1")
    assert isinstance(source, CostSource)
    assert (source.shape, source.bounds, source.itemsize) == ((2, 3, 4), (1, 20), 8)
    expected = cost_from_intensity(intensity[1], low=0, high=40, contrast=20)
    np.testing.assert_array_equal(source.read(Box.from_shape((2, 3, 4))), expected)


def test_a_channel_has_to_be_chosen_where_there_are_several():
    with pytest.raises(ParameterError, match="channels red, green: say which"):
        IntensityCost(image(np.ones((2, 1, 1, 1)), channels=("red", "green")), 0, 1)
    with pytest.raises(UnknownNameError, match="Did you mean 'red'"):
        IntensityCost(image(np.ones((2, 1, 1, 1)), channels=("red", "green")), 0, 1, channel="rde")


def test_labels_have_no_brightness():
    with pytest.raises(ParameterError, match="trace the image that was segmented"):
        IntensityCost(image(np.ones((1, 1, 1), int), kind="labels"), 0, 1)


def test_limits_come_from_the_surroundings_of_the_points():
    intensity = np.full((9, 9, 200), 7.0)
    intensity[:, :, 150:] = 1000
    intensity[4, 4, :] = 50
    low, high = limits_near(image(intensity), [(8, 4, 10), (8, 4, 60)])
    assert (low, high) == (7, 50)


def test_limits_need_contrast():
    with pytest.raises(ParameterError, match="or give low and high"):
        limits_near(image(np.ones((5, 5, 5))), [(0, 0, 0)])
