import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from projectome.errors import ParameterError, ShapeError
from projectome.metrics.landmarks import landmark_errors

CLOUD = arrays(np.float64, (6, 3), elements=st.floats(-1e4, 1e4))


@given(CLOUD, arrays(np.float64, 3, elements=st.floats(-100, 100)))
def test_a_shift_is_every_error_and_the_mean_offset(truth, shift):
    errors = landmark_errors(truth, truth + shift)
    length = np.linalg.norm(shift)
    for figure in (errors.mean_um, errors.rms_um, errors.largest_um, errors.percentile_um(50)):
        assert figure == pytest.approx(length, abs=1e-6)
    assert errors.shift_um == pytest.approx(shift, abs=1e-6)


def test_one_stray_landmark_moves_the_tail_alone():
    truth = np.arange(300.0).reshape(100, 3)
    found = truth.copy()
    found[7, 1] += 50
    errors = landmark_errors(truth, found)
    assert errors.mean_um == pytest.approx(0.5)
    assert errors.rms_um == pytest.approx(5)
    assert errors.largest_um == 50
    assert errors.percentile_um(95) == 0
    assert errors.percentile_um(99.5) == pytest.approx(25.25)  # linear between the last two
    assert errors.offset[7].tolist() == [0, 50, 0]


def test_nothing_and_wrong_calls():
    none = landmark_errors(np.empty((0, 3)), np.empty((0, 3)))
    assert all(math.isnan(v) for v in (none.mean_um, none.rms_um, none.largest_um, *none.shift_um))
    assert math.isnan(none.percentile_um(50))
    with pytest.raises(ShapeError, match=r"2 true and 1 found ones. Keep those that both have"):
        landmark_errors([[0, 0, 0], [1, 1, 1]], [[0, 0, 0]])
    with pytest.raises(ParameterError, match="finite coordinates"):
        landmark_errors([[0, 0, math.nan]], [[0, 0, 0]])
