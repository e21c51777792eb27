import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from projectome.errors import ParameterError, ShapeError
from projectome.filters.distance import distance_inside


@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)),
    st.tuples(*[st.floats(0.2, 5)] * 3),
)
def test_it_agrees_with_scipy(mask, voxel_size):
    found = distance_inside(mask, voxel_size)
    assert found.dtype == np.float32
    if mask.all():
        assert np.isinf(found).all()
    else:
        expected = ndimage.distance_transform_edt(mask, sampling=voxel_size)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_large_and_threaded():
    mask = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 60, 50)), 2) > -0.05
    found = distance_inside(mask, (5, 2, 2), threads=2)
    expected = ndimage.distance_transform_edt(mask, sampling=(5, 2, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(found, distance_inside(mask.astype(np.uint16) * 512, (5, 2, 2)))


def test_wrong_calls_say_what_to_do():
    with pytest.raises(ParameterError, match="three positive numbers"):
        distance_inside(np.zeros((2, 2, 2)), (1, 1, 0))
    with pytest.raises(ShapeError, match=r"\(z, y, x\)"):
        distance_inside(np.zeros((2, 2)))
