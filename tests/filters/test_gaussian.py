import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from projectome.errors import ParameterError, ShapeError
from projectome.filters.gaussian import gaussian, halo_for, hessian_at, laplacian

SIGMAS = [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (1.0, 2.5, 2.0)]


@pytest.fixture(scope="module")
def image():
    """Blurred noise on an offset, uint16, as of a camera; odd sizes."""
    noise = np.random.default_rng(1).gamma(2, 300, (37, 71, 45))
    return (ndimage.gaussian_filter(noise, 0.8) + 1200).astype(np.uint16)


def derivative(image, sigma, order):
    """Scale-normalised Gaussian derivative in double precision, hardly truncated."""
    scale = np.prod([s**n for s, n in zip(sigma, order, strict=True)])
    return scale * ndimage.gaussian_filter(image.astype(float), sigma, order=order, truncate=10)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_smoothing_agrees_with_scipy(image, sigma):
    expected = derivative(image, sigma, (0, 0, 0))
    np.testing.assert_allclose(gaussian(image, sigma), expected, rtol=2e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_laplacian_agrees_with_scipy(image, sigma):
    expected = sum(derivative(image, sigma, order) for order in 2 * np.eye(3, dtype=int))
    np.testing.assert_allclose(
        laplacian(image, sigma), expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_hessian_at_points_agrees_with_scipy(image, sigma):
    voxels = np.array([(0, 0, 0), (36, 70, 44), (18, 30, 20), (5, 66, 3)])
    found = hessian_at(image, voxels, sigma)
    for i in range(3):
        for j in range(3):
            order = np.eye(3, dtype=int)[i] + np.eye(3, dtype=int)[j]
            expected = derivative(image, sigma, order)
            np.testing.assert_allclose(
                found[:, i, j], expected[tuple(voxels.T)], atol=1e-4 * np.abs(expected).max()
            )


def test_the_trace_of_the_hessian_is_the_laplacian(image):
    voxels = np.argwhere(np.random.default_rng(2).random(image.shape) < 0.0005)
    trace = np.trace(hessian_at(image, voxels, 1.5), axis1=1, axis2=2)
    whole = laplacian(image, 1.5)
    np.testing.assert_allclose(trace, whole[tuple(voxels.T)], atol=1e-5 * np.abs(whole).max())


def test_parabolas_are_exact_away_from_the_border():
    z, y, x = np.mgrid[:31, :31, :31] - 15.0
    image = (2 * z**2 - y**2 + 3 * x * y + 5 * x).astype(np.float32)
    for sigma in (0.4, 1.0, 1.4):
        hessian = hessian_at(image, [(15, 15, 15)], sigma)[0] / sigma**2
        np.testing.assert_allclose(hessian, [[4, 0, 0], [0, -2, 3], [0, 3, 0]], atol=1e-4)


@given(st.floats(2.5, 5), st.floats(0.5, 4.5))
def test_a_ball_answers_most_at_its_own_scale(radius, height):
    distance = np.linalg.norm(np.indices((31, 31, 31)).T - 15, axis=-1)
    # Grey values at the rim as of an image that integrates over voxels.
    ball = height * np.clip(radius + 0.5 - distance, 0, 1)
    sigmas = radius / np.sqrt(3) * np.array([0.7, 1.0, 1.4])
    responses = [-np.trace(hessian_at(ball, [(15, 15, 15)], sigma)[0]) for sigma in sigmas]
    assert np.argmax(responses) == 1
    assert responses[1] == pytest.approx(0.925 * height, rel=0.06)


@pytest.mark.parametrize("function", [gaussian, laplacian])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blocks_equal_the_whole_to_the_bit(function, dtype, image):
    values = (image // 20).astype(dtype)
    sigma = (0.7, 1.6, 2.0)
    whole = function(values, sigma)
    halo = np.array(halo_for(sigma))
    start, stop = np.array([9, 18, 13]), np.array([25, 47, 31])
    low, high = np.maximum(start - halo, 0), np.minimum(stop + halo, image.shape)
    part = function(values[tuple(map(slice, low, high))], sigma)
    inner = tuple(map(slice, start - low, stop - low))
    np.testing.assert_array_equal(part[inner], whole[tuple(map(slice, start, stop))])


@pytest.mark.parametrize("function", [gaussian, laplacian])
def test_threads_do_not_show(function, image):
    np.testing.assert_array_equal(function(image, 1.3), function(image, 1.3, threads=2))


def test_a_constant_has_no_curvature_at_all():
    image = np.full((20, 30, 25), 51234, np.uint16)
    assert not laplacian(image, 1.7).any()
    np.testing.assert_allclose(gaussian(image, 1.7), 51234, rtol=1e-6)


def test_kernels_longer_than_the_image_are_fine():
    image = np.random.default_rng(3).random((2, 3, 1)).astype(np.float32)
    expected = ndimage.gaussian_filter(image.astype(float), 2.0, truncate=5)
    np.testing.assert_allclose(gaussian(image, 2.0), expected, rtol=1e-5)
    assert gaussian(np.zeros((0, 3, 2)), 1).shape == (0, 3, 2)


def test_wrong_calls_say_what_to_do(image):
    with pytest.raises(ShapeError, match="Pick one channel"):
        gaussian(image[0], 1)
    with pytest.raises(ParameterError, match="at least one thread, not 0"):
        laplacian(image, 1, threads=0)
    with pytest.raises(ParameterError, match=r"outside the image of shape \(37, 71, 45\)"):
        hessian_at(image, [(0, 0, 45)], 1)
    assert hessian_at(image, np.empty((0, 3)), 1).shape == (0, 3, 3)
