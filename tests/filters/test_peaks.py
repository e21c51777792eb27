import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from projectome.errors import ParameterError, ShapeError
from projectome.filters.peaks import local_maxima, neighbours

SMALL = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(0, 3)
)


@given(SMALL, st.sampled_from([1.0, 1.8, 2.5, (0.5, 2.0, 1.0)]))
def test_by_definition(array, radius):
    voxels, values = local_maxima(array, 0, radius)
    expected = []
    for voxel in np.ndindex(array.shape):
        near = [tuple(np.add(voxel, o)) for o in neighbours(np.broadcast_to(radius, 3))]
        near = [n for n in near if all(0 <= i < s for i, s in zip(n, array.shape, strict=True))]
        rank = (array[voxel], tuple(-i for i in voxel))
        if array[voxel] > 0 and all((array[n], tuple(-i for i in n)) < rank for n in near):
            expected.append(voxel)
    assert [tuple(v) for v in voxels] == expected
    assert values.tolist() == [array[v] for v in expected]


def test_distinct_values_agree_with_scipy():
    array = np.random.default_rng(0).permutation(24 * 20 * 22).reshape(24, 20, 22)
    footprint = np.linalg.norm(np.indices((5, 5, 5)).T - 2, axis=-1) <= 2
    expected = np.argwhere(ndimage.maximum_filter(array, footprint=footprint) == array)
    found, values = local_maxima(array, 3000, 2)
    np.testing.assert_array_equal(found, expected[array[tuple(expected.T)] > 3000])
    np.testing.assert_array_equal(values, array[tuple(found.T)])


def test_a_plateau_has_one_maximum_the_first():
    array = np.zeros((6, 9, 9))
    array[2:4, 3:6, 3:6] = 5
    voxels, values = local_maxima(array, 1, 4.0)
    assert voxels.tolist() == [[2, 3, 3]]
    assert values.tolist() == [5]


def test_blocks_with_a_halo_find_the_same():
    array = np.random.default_rng(1).integers(0, 4, (20, 24, 22))
    whole, _ = local_maxima(array, 1, 2.0)
    part, _ = local_maxima(array[3:17, 4:20, 1:18], 1, 2.0)
    part = np.add(part, (3, 4, 1))
    inner = (part >= (5, 6, 3)).all(1) & (part < (15, 18, 16)).all(1)
    own = (whole >= (5, 6, 3)).all(1) & (whole < (15, 18, 16)).all(1)
    np.testing.assert_array_equal(part[inner], whole[own])


def test_nan_is_no_maximum_and_nothing_is_an_answer():
    array = np.full((3, 3, 3), np.nan)
    array[1, 1, 1] = 2
    assert local_maxima(array, 0)[0].tolist() == [[1, 1, 1]]
    voxels, values = local_maxima(np.zeros((4, 4, 4)), 0)
    assert voxels.shape == (0, 3)
    assert values.shape == (0,)


def test_wrong_calls_say_what_to_do():
    with pytest.raises(ParameterError, match="positive, not 0 voxels"):
        local_maxima(np.zeros((3, 3, 3)), 0, 0)
    with pytest.raises(ShapeError, match=r"not in the shape \(3, 3\)"):
        local_maxima(np.zeros((3, 3)), 0)
