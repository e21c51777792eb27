from itertools import product

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import DataError, ShapeError
from projectome.filters.threshold import noise_level
from projectome.filters.tubeness import multiscale_tubeness
from projectome.segmentation.noise import NoiseMap, measure_noise

SIGMAS = [(1.0, 1.0, 1.0)]
BOXES = [
    Box((z, y, x), (z + 20, y + 20, x + 20)) for z, y, x in product((4, 36), (4, 36), (4, 36, 68))
]


def volume(values):
    return Volume.from_array(values, voxel_size=(2, 2, 2), name="image")


def test_levels_are_linear_between_places_and_constant_beyond():
    centres = ((10.0, 20.0), (5.0,), (0.0, 8.0, 24.0))
    levels = np.arange(1.0, 7.0)
    box = Box((8, 2, 0), (26, 9, 30))
    found = NoiseMap(centres, tuple(levels)).at(box)
    # An axis with one place is constant: the oracle needs two.
    grid = RegularGridInterpolator(
        (centres[0], (0.0, 100.0), centres[2]), np.repeat(levels.reshape(2, 1, 3), 2, axis=1)
    )
    place = np.indices(box.shape).reshape(3, -1).T + box.start
    inside = place.clip([10, 0, 0], [20, 100, 24])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), grid(inside), rtol=1e-6)


def test_blocks_of_a_map_are_parts_of_the_whole():
    noise = NoiseMap(((3.0, 30.0), (2.0, 9.0), (0.0, 40.0)), tuple(np.linspace(1, 3, 8)))
    whole = noise.at(Box.from_shape((36, 16, 44)))
    part = Box((7, 3, 11), (29, 16, 40))
    np.testing.assert_array_equal(noise.at(part), whole[part.slices])


def test_the_level_follows_the_noise_that_was_planted():
    rng = np.random.default_rng(0)
    deviation = np.where(np.arange(92) < 30, 5.0, np.where(np.arange(92) < 62, 10.0, 20.0))
    values = 1000 + rng.normal(size=(60, 60, 92)) * deviation
    found = measure_noise(volume(values.astype(np.float32)), SIGMAS, BOXES)
    levels = np.reshape(found.levels, (2, 2, 3))
    one = noise_level(multiscale_tubeness(rng.normal(size=(60, 60, 60)).astype("f4"), SIGMAS))
    # The largest among neighbours: the dark side takes the level of the middle.
    np.testing.assert_allclose(levels[..., 0], 10 * one, rtol=0.15)
    np.testing.assert_allclose(levels[..., 1:], 20 * one, rtol=0.15)
    assert found.centres == ((13.5, 45.5), (13.5, 45.5), (13.5, 45.5, 77.5))


def test_twice_the_grey_values_are_twice_the_noise():
    values = np.random.default_rng(1).normal(100, 8, (60, 60, 92)).astype(np.float32)
    once = measure_noise(volume(values), SIGMAS, BOXES)
    twice = measure_noise(volume(2 * values), SIGMAS, BOXES, threads=2)
    np.testing.assert_allclose(twice.levels, 2 * np.asarray(once.levels), rtol=1e-4)


def test_darkness_around_the_tissue_gets_half_its_level_at_least():
    values = np.zeros((60, 60, 92), np.float32)
    rng = np.random.default_rng(2)
    values[:, :, :30] = rng.normal(1000, 10, (60, 60, 30))
    levels = np.reshape(measure_noise(volume(values), SIGMAS, BOXES).levels, (2, 2, 3))
    assert (levels[..., 2] > 0).all()
    assert levels[..., 2].min() >= 0.45 * np.median(levels[..., 0])


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match=r"image is constant wherever .* Check the channel"):
        measure_noise(volume(np.full((60, 60, 92), 7, np.uint16)), SIGMAS, BOXES)
    with pytest.raises(ShapeError, match="one positive level at each place"):
        NoiseMap(((0.0,), (0.0,), (0.0, 1.0)), (1.0,))
    with pytest.raises(ShapeError, match="one positive level"):
        NoiseMap(((0.0,), (0.0,), (0.0,)), (0.0,))
