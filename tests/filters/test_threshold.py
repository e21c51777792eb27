import numpy as np
import pytest
import tifffile
from scipy import ndimage

from projectome.errors import DataError
from projectome.filters.threshold import noise_level
from projectome.filters.tubeness import tubeness

SIDE = 72


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(size=(SIDE, SIDE, SIDE)).astype(np.float32)


def with_lines(noise, spacing, sigma=1.3, contrast=20.0):
    """Parallel lines through noise of unit variance."""
    away = (np.arange(SIDE) + spacing / 2) % spacing - spacing / 2
    profile = np.exp(-(away**2) / (2 * sigma**2))
    return noise + contrast * (profile[:, None] * profile[None, :]).astype(np.float32)


def test_pure_noise_has_one_distribution_whatever_its_kind_and_scale(noise):
    blurred = ndimage.gaussian_filter(noise, 0.8)
    counts = np.random.default_rng(1).poisson(20, noise.shape)
    for image in (noise, blurred, counts):
        for sigma in (1.0, 2.0):
            response = tubeness(image, sigma)
            level = noise_level(response)
            assert (response > 0).mean() == pytest.approx(0.78, abs=0.01)
            above = [(response > k * level).mean() for k in (3.2, 6.0)]
            assert above[0] == pytest.approx(0.008, abs=0.003)
            assert above[1] < 2e-5


def test_the_level_scales_with_the_noise(noise):
    response = tubeness(noise, 1.3)
    assert noise_level(8 * response) == pytest.approx(8 * noise_level(response))


@pytest.mark.parametrize(("spacing", "rise"), [(24, 1.05), (16, 1.1), (12, 1.3)])
def test_structures_hardly_raise_it(noise, spacing, rise):
    image = with_lines(noise, spacing)
    response = tubeness(image, 1.3)
    assert 0.98 < noise_level(response) / noise_level(tubeness(noise, 1.3)) < rise
    low, high = 6 * noise_level(response), 18 * noise_level(response)
    core = image - noise > 15
    assert (response[core] > high).all()
    assert (response[image - noise < 0.05] > low).mean() < 1e-3


def test_zeros_do_not_count(noise):
    response = tubeness(noise, 1.3)
    padded = np.concatenate([response.ravel(), np.zeros(10**6), [np.nan, np.inf]])
    assert noise_level(padded) == noise_level(response)


def test_wrong_calls_say_what_to_do():
    with pytest.raises(DataError, match="Check the channel"):
        noise_level(np.zeros(100))


@pytest.mark.realdata
def test_axons_of_a_cleared_brain_are_found_with_few_false_ones(data):
    """Voxels of the labelled planes; class 2 is axon, 1 is not, edges are left out."""
    volume = tifffile.imread(data / "trailmap/training_original_volume_101x120x120.tif")
    label = tifffile.imread(data / "trailmap/training_original_label_101x120x120.tif")
    response = tubeness(volume, 1.3)
    low = 4 * noise_level(response)
    found, axon = response[label > 0] > low, label[label > 0] == 2
    keep = (label[label > 0] == 1) | axon
    found, axon = found[keep], axon[keep]
    assert (found & axon).sum() / found.sum() > 0.8
    assert (found & axon).sum() / axon.sum() > 0.6
