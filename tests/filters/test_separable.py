import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import ParameterError, ShapeError
from projectome.filters.separable import (
    halo_for,
    kernel,
    prepared,
    reflected,
    scratch_bytes,
    sigma_triple,
    tiles,
)


@given(st.floats(0.05, 12))
def test_kernels_reproduce_the_derivatives_of_polynomials(sigma):
    smooth, first, second = kernel(sigma).astype(float)
    k = np.arange(len(smooth))
    assert smooth[0] + 2 * smooth[1:].sum() == pytest.approx(1, rel=1e-6)
    assert 2 * (k * first).sum() == pytest.approx(sigma, rel=1e-6)  # slope of x
    assert (k**2 * second).sum() == pytest.approx(sigma**2, rel=1e-6)  # half of (x**2)''
    assert second[0] == 0
    assert len(smooth) - 1 == halo_for(sigma)[0]


def test_a_narrow_kernel_is_a_central_difference():
    smooth, first, second = kernel(0.1)
    np.testing.assert_allclose(smooth, [1, 0, 0], atol=1e-7)
    np.testing.assert_allclose(first, [0, 0.05, 0], atol=1e-7)
    np.testing.assert_allclose(second, [0, 0.01, 0], atol=1e-7)


def test_the_halo_is_five_sigma_rounded_up_to_even():
    assert halo_for(2) == (10, 10, 10)
    assert halo_for((0.1, 1.0, 2.1)) == (2, 6, 12)


@given(st.integers(1, 6), st.integers(0, 15))
def test_reflection_is_that_of_numpy(length, reach):
    row = np.arange(length)
    np.testing.assert_array_equal(row[reflected(length, reach)], np.pad(row, reach, "symmetric"))


@given(st.integers(1, 200), st.integers(1, 200))
def test_tiles_share_out_all_rows(planes, rows):
    seen = np.zeros((planes, rows), int)
    for z0, z1, y0, y1 in tiles(planes, rows):
        seen[z0:z1, y0:y1] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf, (1, 2), (1, 1, 0), [[1, 1, 1]]])
def test_a_bad_sigma_is_refused(sigma):
    with pytest.raises(ParameterError, match="Divide micrometres by the voxel size"):
        sigma_triple(sigma)


def test_images_are_read_without_a_copy_where_the_kernels_can():
    for dtype in (np.uint8, np.uint16, np.float32):
        image = np.zeros((2, 3, 4), dtype)
        assert np.shares_memory(prepared(image), image)
    for dtype in (bool, np.int16, np.int64, np.float64, ">u2"):
        assert prepared(np.ones((2, 3, 4), dtype)).dtype == np.float32
    assert prepared(np.zeros((4, 3, 2), np.uint8).T).flags.c_contiguous


def test_what_is_no_image_is_refused():
    with pytest.raises(ShapeError, match="Pick one channel"):
        prepared(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ParameterError, match="real numbers, not complex128"):
        prepared(np.zeros((2, 3, 4), complex))


def test_work_space_grows_with_threads_and_width():
    one = scratch_bytes((10, 10, 300), 2)
    assert scratch_bytes((10, 10, 300), 2, threads=2) == 2 * one
    assert one < 500_000
