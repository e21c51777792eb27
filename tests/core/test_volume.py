import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.space import Space
from projectome.core.volume import LazyArray, Pyramid, Volume
from projectome.errors import ParameterError, Problem, ShapeError, UnknownNameError
from projectome.testing import strategies as draws

VALUES = np.arange(4 * 5 * 6).reshape(4, 5, 6)


def volume(**options: object) -> Volume:
    return Volume.from_array(VALUES, **{"voxel_size": (2, 1, 0.5), "name": "brain", **options})


@given(draws.boxes(around=0, largest=7))
def test_reading_a_box_is_indexing_or_refused(box):
    if Box.from_shape(VALUES.shape).covers(box):
        np.testing.assert_array_equal(volume().read(box), VALUES[box.slices])
    else:
        with pytest.raises(ShapeError, match=r"leaves brain.*px"):
            volume().read(box)


def test_channels_are_picked_by_name_or_number():
    two = Volume.from_array(np.stack([VALUES, -VALUES]), voxel_size=(1, 1, 1), channels=("a", "1"))
    box = Box((1, 1, 1), (2, 3, 4))
    np.testing.assert_array_equal(two.read(box), np.stack([VALUES, -VALUES])[:, *box.slices])
    np.testing.assert_array_equal(two.read(box, channel="a"), VALUES[box.slices])
    np.testing.assert_array_equal(two.read(box, channel=1), -VALUES[box.slices])
    np.testing.assert_array_equal(two.read(box, channel="1"), -VALUES[box.slices])
    np.testing.assert_array_equal(volume().read(box, channel=0), VALUES[box.slices])
    for wrong in ("b", 2, -1):
        with pytest.raises(UnknownNameError, match=r"Unknown channel .* in array"):
            two.read(box, channel=wrong)
    with pytest.raises(UnknownNameError, match="in brain"):
        volume().read(channel="a")


def test_channels_are_numbered_where_they_have_no_names():
    two = Volume.from_array(np.zeros((2, 1, 1, 1)), voxel_size=(1, 1, 1))
    assert two.channels == ("channel 0", "channel 1")
    assert two.nbytes == 16
    assert two.shape == two.chunks == (1, 1, 1)


@given(draws.grids(), st.tuples(*[st.integers(-2, 8)] * 3), st.tuples(*[st.integers(0, 6)] * 3))
def test_a_physical_box_holds_the_voxels_whose_centres_lie_in_it(grid, start, size):
    brain = Volume(volume().array, grid)
    # Corners between voxel centres, so that no centre lies on a face.
    low = grid(np.array(start) - 0.3)[0]
    high = grid(np.array(start) + size - 0.3)[0]
    centres = grid(np.stack(np.indices(VALUES.shape), -1).reshape(-1, 3))
    inside = ((centres >= low) & (centres < high)).all(axis=1).reshape(VALUES.shape)
    mask = np.zeros(VALUES.shape, bool)
    mask[brain.voxel_box(low, high).slices] = True
    np.testing.assert_array_equal(mask, inside)


def test_the_half_voxel_rule_of_physical_boxes():
    # Centres along z: 0, 2, 4, 6 um. The start belongs to the box, the stop does not.
    brain = volume()
    assert brain.voxel_box((2, 0, 0), (4, 5, 3)) == Box((1, 0, 0), (2, 5, 6))
    assert brain.voxel_box((2.1, 0, 0), (4.1, 5, 3)).start[0] == 2
    assert brain.voxel_box((100, 0, 0), (200, 5, 3)).size == 0
    assert brain.voxel_box([-1e12] * 3, [1e12] * 3) == brain.box
    shifted = volume(translation=(10, 0, 0))
    assert shifted.voxel_box((12, 0, 0), (14, 5, 3)) == Box((1, 0, 0), (2, 5, 6))


@given(draws.affines(target=Space()), draws.boxes(around=3, largest=9))
def test_a_physical_box_of_a_rotated_grid_misses_no_voxel(affine, box):
    matrix = affine.matrix.copy()
    matrix[:3, 3] %= 4
    affine = Affine(matrix, affine.source, affine.target)
    brain = Volume(volume().array, affine)
    low, high = np.asarray(box.start) * 1.0, np.asarray(box.stop) * 1.0
    centres = affine(np.stack(np.indices(VALUES.shape), -1).reshape(-1, 3))
    inside = ((centres >= low) & (centres < high)).all(axis=1).reshape(VALUES.shape)
    inside[brain.voxel_box(low, high).slices] = False
    assert not inside.any()


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "axes"),
        (np.zeros((1, 1, 1)), {"channels": ("a",)}, "no channel axis"),
        (np.zeros((2, 1, 1, 1)), {"channels": ("a",)}, "2 channels and 1"),
        (np.zeros((1, 1, 1)), {"kind": "labels"}, "Labels are integers"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(array, options, message):
    with pytest.raises(ShapeError, match=message):
        Volume.from_array(array, voxel_size=(1, 1, 1), **options)


def test_arrays_in_memory_are_lazy_arrays_and_stay_as_they_are():
    brain = volume()
    assert isinstance(brain.array, LazyArray)
    assert VALUES.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        brain.read()[0, 0, 0] = 1


def pyramid(*sizes: float) -> Pyramid:
    return Pyramid(tuple(volume(voxel_size=(s, s / 2, s / 2)) for s in sizes))


@pytest.mark.parametrize(
    ("asked", "level"), [(0.5, 0), (1, 0), (1.99, 1), (3.9, 1), (4, 2), (3.97, 2), (100, 2)]
)
def test_the_coarsest_level_that_is_fine_enough(asked, level):
    levels = pyramid(1, 2, 4)
    assert levels.at(voxel_size=asked) is levels[level]


def test_pyramids():
    levels = pyramid(1, 2)
    assert (len(levels), levels.name, levels.space) == (2, "brain", Space())
    assert list(levels) == [levels[0], levels[1]]
    with pytest.raises(ParameterError, match="levels 0 to 1"):
        _ = levels[2]
    with pytest.raises(ShapeError, match="at least one level"):
        Pyramid(())
    with pytest.raises(ShapeError, match="one space"):
        Pyramid((volume(), volume(space=Space("other"))))
    noted = Pyramid((volume(),), (Problem("warning", "unit", "assumed"),), {"format": "x"})
    assert copy.deepcopy(noted).metadata == {"format": "x"}
