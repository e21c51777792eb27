"""The test of orientations."""

import numpy as np
import pytest

from projectome.core.space import Space
from projectome.errors import OrientationUnknownError
from projectome.registration.orient import (
    candidates,
    find_orientation,
    handedness_of,
    mutual_information,
    turn,
)
from projectome.registration.prepare import prepare


def test_there_are_24_ways_of_each_handedness_and_no_way_has_both():
    right, left = candidates("right"), candidates("left")
    assert len(right) == len(left) == 24
    assert not set(right) & set(left)


def test_ras_in_the_order_xyz_is_right_handed():
    # The classical right-handed frame of nibabel, stored with z first.
    assert handedness_of(("superior", "anterior", "right")) == "right"
    assert handedness_of(("superior", "anterior", "left")) == "left"


def test_turning_there_and_back_gives_the_array():
    values = np.arange(24).reshape(2, 3, 4)
    one = Space(toward=("superior", "left", "posterior"))
    other = Space(toward=("anterior", "inferior", "left"))
    there = turn(values, one.toward, other)
    assert there.shape == (4, 2, 3)
    assert np.array_equal(turn(there, other.toward, one), values)


def test_mutual_information_of_equal_and_of_independent_images():
    assert mutual_information(np.eye(4)) == pytest.approx(np.log(4))
    assert mutual_information(np.ones((4, 4))) == pytest.approx(0)


@pytest.mark.parametrize("number", [5, 17])
def test_finds_the_way_in_which_a_brain_lies(known, number):
    straight = known.template
    way = candidates(handedness_of(straight.space.toward))[number]
    image = prepare(straight.read()).image
    lying = np.ascontiguousarray(turn(image, straight.space.toward, Space(toward=way)))
    noisy = lying + np.random.default_rng(number).normal(0, 0.03, lying.shape).astype(np.float32)
    found = find_orientation(
        noisy.clip(0),
        8.0,
        image,
        8.0,
        space=straight.space,
        handedness=handedness_of(straight.space.toward),
    )
    assert found.best.toward == way
    assert found.sure
    assert found.code == "".join(d[0].upper() for d in way)
    assert "as declared" in found.summary()


def test_a_ball_has_no_orientation(known):
    z, y, x = np.indices((72, 72, 72)) - 36
    ball = (z**2 + y**2 + x**2 < 25**2).astype(np.float32)
    image = prepare(known.template.read()).image
    found = find_orientation(ball, 8.0, image, 8.0, space=known.template.space, handedness="left")
    assert not found.sure
    assert "not sure" in found.summary()


def test_handedness_has_to_be_declared(known):
    image = np.zeros((9, 9, 9), np.float32)
    with pytest.raises(OrientationUnknownError, match="--handedness right"):
        find_orientation(image, 8, image, 8, space=known.template.space, handedness=None)
