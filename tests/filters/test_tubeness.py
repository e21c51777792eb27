import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import sato

from projectome.errors import ParameterError
from projectome.filters.tubeness import halo_for, multiscale_tubeness, tubeness


def hessian_eigenvalues(image, sigma):
    """Eigenvalues, ascending, in double precision with hardly truncated kernels."""
    hessian = np.empty((*image.shape, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            order = np.eye(3, dtype=int)[i] + np.eye(3, dtype=int)[j]
            part = ndimage.gaussian_filter(image.astype(float), sigma, order=order, truncate=10)
            hessian[..., i, j] = hessian[..., j, i] = part * sigma[i] * sigma[j]
    return np.linalg.eigvalsh(hessian)


def line(shape, *, width, through, direction, voxel_size=(1, 1, 1), contrast=1.0):
    """Straight line of Gaussian profile; point, direction and width in micrometres."""
    points = np.indices(shape).reshape(3, -1).T * np.asarray(voxel_size) - np.asarray(through)
    axis = np.asarray(direction) / np.linalg.norm(direction)
    squared = (points**2).sum(1) - (points @ axis) ** 2
    return (contrast * np.exp(-squared / (2 * width**2))).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("sigma", [(1, 1, 1), (2, 2, 2), (1, 2, 2), (3, 2.5, 2)])
def test_it_is_the_mean_curvature_across_the_line(sigma):
    noise = np.random.default_rng(4).gamma(2, 300, (40, 33, 52))
    image = (ndimage.gaussian_filter(noise, 0.8) + 1200).astype(np.uint16)
    low, middle, high = np.moveaxis(hessian_eigenvalues(image, sigma), -1, 0)
    expected = np.maximum(-(low + middle) / 2, 0)
    np.testing.assert_allclose(tubeness(image, sigma), expected, atol=1e-4 * expected.max())
    dark = np.maximum((high + middle) / 2, 0)
    np.testing.assert_allclose(tubeness(image, sigma, bright=False), dark, atol=1e-4 * dark.max())


@pytest.mark.realdata
@pytest.mark.parametrize("sigma", [(1, 1, 1), (2, 2, 2)])
def test_real_axons_within_a_ten_thousandth_of_the_maximum(data, sigma):
    path = data / "trailmap/example_chunk_303x303x303.tif"
    crop = tifffile.imread(path, key=range(100, 150))[:, 40:90, 200:250]
    low, middle, _ = np.moveaxis(hessian_eigenvalues(crop, sigma), -1, 0)
    expected = np.maximum(-(low + middle) / 2, 0)
    np.testing.assert_allclose(tubeness(crop, sigma), expected, atol=1e-4 * expected.max())


@settings(max_examples=25)
@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: np.linalg.norm(d) > 0.3),
    st.floats(1.2, 2.5),
    st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 0.8, 1.3)]),
)
def test_a_line_answers_by_its_contrast_and_width_in_any_direction(direction, width, voxel_size):
    voxel_size = np.asarray(voxel_size, float)
    shape = np.ceil(41 / voxel_size).astype(int)
    centre = shape // 2
    image = line(
        shape, width=width * 2, through=centre * voxel_size, direction=direction,
        voxel_size=voxel_size, contrast=7,
    )  # fmt: skip
    for sigma_um in (1.5, 2 * width):
        found = tubeness(image, sigma_um / voxel_size)[tuple(centre)]
        squares = sigma_um**2, (2 * width) ** 2
        assert found == pytest.approx(7 * np.prod(squares) / sum(squares) ** 2, rel=0.03)


def test_the_best_scale_of_a_line_is_its_width():
    image = line((31, 41, 41), width=2.0, through=(15, 20, 20), direction=(1, 0, 0))
    sigmas = [1.4, 2.0, 2.8]
    responses = [tubeness(image, s)[15, 20, 20] for s in sigmas]
    assert np.argmax(responses) == 1
    assert responses[1] == pytest.approx(0.25, rel=1e-3)
    np.testing.assert_array_equal(
        multiscale_tubeness(image, sigmas), np.max([tubeness(image, s) for s in sigmas], axis=0)
    )


def test_the_ridge_lies_on_the_line():
    direction = np.array([0.3, 0.8, 0.52])
    image = line((24, 48, 40), width=1.5, through=(12, 24, 20), direction=direction)
    found = tubeness(image, 1.5)
    inside = found[4:-4, 12:-12, 10:-10]
    ridge = np.argwhere(inside > 0.9 * inside.max()) - np.array((8, 12, 10))
    away = np.linalg.norm(np.cross(ridge, direction / np.linalg.norm(direction)), axis=1)
    assert len(ridge) > 20
    assert away.max() < 1


def test_sheets_and_steps_answer_less_than_lines():
    sheet = np.exp(-((np.arange(41) - 20) ** 2) / 8.0)[:, None, None]
    image = np.broadcast_to(sheet, (41, 30, 30)).astype(np.float32)
    # w s**2 / (w**2 + s**2)**1.5, halved
    assert tubeness(image, 2.0)[20, 15, 15] == pytest.approx(0.5 * 8**-0.5, rel=1e-3)
    assert tubeness(image, 2.0, bright=False)[20, 15, 15] == 0
    step = np.zeros((41, 30, 30), np.float32)
    step[20:] = 1
    assert tubeness(step, 2.0).max() == pytest.approx(0.12, abs=0.005)


def test_offsets_do_not_show_and_contrast_is_linear():
    image = np.random.default_rng(5).integers(0, 200, (30, 40, 35)).astype(np.float32)
    found = tubeness(image, 1.2)
    np.testing.assert_allclose(tubeness(image + 1000, 1.2), found, atol=2e-5 * found.max())
    np.testing.assert_array_equal(tubeness(4 * image, 1.2), 4 * found)
    np.testing.assert_array_equal(tubeness(-image, 1.2, bright=False), found)
    assert not tubeness(np.full((20, 20, 20), 65535, np.uint16), 2.0).any()


def test_turning_the_image_turns_the_response():
    image = np.random.default_rng(6).random((25, 31, 28)).astype(np.float32)
    found = tubeness(image, (1.0, 1.5, 2.0))
    np.testing.assert_allclose(
        tubeness(image.transpose(2, 0, 1), (2.0, 1.0, 1.5)), found.transpose(2, 0, 1), atol=1e-6
    )
    np.testing.assert_allclose(
        tubeness(image[::-1, :, ::-1], (1.0, 1.5, 2.0)), found[::-1, :, ::-1], atol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blocks_equal_the_whole_to_the_bit(dtype):
    image = np.random.default_rng(7).integers(0, 255, (45, 83, 61)).astype(dtype)
    sigmas = [(0.6, 1.0, 1.0), (1.2, 2.0, 2.0)]
    whole = multiscale_tubeness(image, sigmas)
    halo = np.array(halo_for(sigmas[-1]))
    start, stop = np.array([13, 24, 21]), np.array([30, 57, 40])
    low, high = np.maximum(start - halo, 0), np.minimum(stop + halo, image.shape)
    part = multiscale_tubeness(image[tuple(map(slice, low, high))], sigmas)
    inner = tuple(map(slice, start - low, stop - low))
    np.testing.assert_array_equal(part[inner], whole[tuple(map(slice, start, stop))])
    np.testing.assert_array_equal(multiscale_tubeness(image, sigmas, threads=2), whole)


def test_it_ranks_voxels_of_a_line_as_the_peer_does():
    image = line((30, 30, 30), width=1.5, through=(15, 15, 15), direction=(1, 2, 2))
    noisy = image + np.random.default_rng(8).normal(0, 0.05, image.shape).astype(np.float32)
    ours = tubeness(noisy, 1.5)
    theirs = sato(noisy, sigmas=[1.5], black_ridges=False, mode="reflect")
    on_line = image > 0.5
    inside = (slice(5, -5),) * 3
    assert np.corrcoef(ours[inside][on_line[inside]], theirs[inside][on_line[inside]])[0, 1] > 0.95


def test_wrong_calls_say_what_to_do():
    image = np.zeros((5, 5, 5))
    with pytest.raises(ParameterError, match="at least one sigma"):
        multiscale_tubeness(image, [])
    with pytest.raises(ParameterError, match="Divide micrometres by the voxel size"):
        tubeness(image, -1)
    assert tubeness(np.zeros((0, 4, 4)), 1).shape == (0, 4, 4)
