"""Views show the voxels of another volume elsewhere in the array, never elsewhere in the world."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import itk_geometry
from projectome.core.box import Box
from projectome.core.space import OPPOSITE, Space, all_orientations
from projectome.core.view import crop, reorient
from projectome.core.volume import Volume
from projectome.errors import OrientationUnknownError, ShapeError

SHAPE = (2, 3, 4)
ORIENTATIONS = all_orientations()


def numbered(toward=("anterior", "inferior", "right"), channels=0) -> Volume:
    """A volume whose every voxel has a value of its own."""
    shape = (channels, *SHAPE) if channels else SHAPE
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    space = Space(toward=toward, expansion=4.0)
    return Volume.from_array(
        values, voxel_size=(5.0, 2.0, 1.5), translation=(10.0, -20.0, 0.5), space=space
    )


def places(volume: Volume) -> dict[int, tuple[float, float, float]]:
    """Value of each voxel -> its position toward left, posterior and superior [um]."""
    index = np.argwhere(np.ones(volume.shape, dtype=bool))
    position = volume.affine(index)
    found = np.empty_like(position)
    for axis, direction in enumerate(volume.space.toward):
        for column, line in enumerate(("left", "posterior", "superior")):
            if direction in (line, OPPOSITE[line]):
                found[:, column] = position[:, axis] * (1 if direction == line else -1)
    values = volume.read().reshape(-1)
    return {int(v): tuple(p) for v, p in zip(values, found.tolist(), strict=True)}


def in_itk(volume: Volume, index) -> np.ndarray:
    """Where ITK sees voxels (z, y, x) [mm]."""
    placed = itk_geometry(volume.affine, volume.shape)
    steps = np.asarray(index)[:, ::-1] * placed.spacing
    return steps @ placed.direction.T + placed.origin


@given(st.sampled_from(ORIENTATIONS), st.data())
def test_itk_sees_a_part_where_it_sees_it_in_the_whole(toward, data):
    """Also of a part of a part, and whether it is turned before it is cut out or after."""
    whole = numbered()
    part = whole
    for _ in range(2):
        start = [data.draw(st.integers(0, n - 1)) for n in part.shape]
        stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, part.shape, strict=True)]
        part = crop(part, Box(tuple(start), tuple(stop)))
    inside = np.argwhere(np.ones(part.shape, dtype=bool))
    there = whole.affine.inverse()(part.affine(inside))
    np.testing.assert_allclose(in_itk(part, inside), in_itk(whole, there), atol=1e-9)
    turned, of_part = (reorient(v, Space(toward=toward)) for v in (whole, part))
    inside = np.argwhere(np.ones(of_part.shape, dtype=bool))
    there = turned.affine.inverse()(of_part.affine(inside))
    np.testing.assert_allclose(in_itk(of_part, inside), in_itk(turned, there), atol=1e-9)
    assert part.space == whole.space
    assert crop(whole, whole.box).space.span is None


@pytest.mark.parametrize("toward", ORIENTATIONS, ids="-".join)
def test_reorienting_moves_no_voxel_in_the_animal(toward):
    volume = numbered()
    turned = reorient(volume, Space(toward=toward))
    assert turned.space == Space(toward=toward, expansion=4.0)
    assert turned.affine.is_grid
    assert places(turned) == places(volume)
    again = reorient(turned, volume.space)
    assert again.affine.isclose(volume.affine)
    assert np.array_equal(again.read(), volume.read())


@given(st.sampled_from(ORIENTATIONS), st.data())
def test_parts_of_a_turned_volume_are_parts_of_the_whole(toward, data):
    turned = reorient(numbered(channels=2), Space(toward=toward))
    start = [data.draw(st.integers(0, n - 1)) for n in turned.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, turned.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    values = turned.read(box)
    assert np.array_equal(values, turned.read()[(slice(None), *box.slices)])
    assert values.flags.c_contiguous
    assert turned.chunks == turned.shape


def test_a_first_voxel_that_was_the_last_lies_where_the_last_lay():
    turned = reorient(numbered(), Space(toward=("posterior", "inferior", "right")))
    # Along z the last voxel lay at 10 + 1 * 5 um toward anterior.
    assert turned.affine.translation == (-15.0, -20.0, 0.5)
    assert np.array_equal(turned.read(), numbered().read()[::-1])


def test_reorienting_needs_both_orientations():
    known, unknown = Space(toward=("anterior", "inferior", "right")), Space()
    with pytest.raises(OrientationUnknownError, match="--orientation CODE"):
        reorient(numbered(), unknown)
    with pytest.raises(OrientationUnknownError, match="--orientation CODE"):
        reorient(numbered(toward=(None, None, None)), known)


def test_a_part_keeps_its_place():
    volume = numbered(channels=2)
    part = crop(volume, Box((1, 0, 2), (2, 2, 4)))
    assert part.shape == (1, 2, 2)
    assert part.channels == volume.channels
    assert part.affine.translation == (15.0, -20.0, 3.5)
    assert np.array_equal(part.read(), volume.read()[:, 1:2, 0:2, 2:4])
    inner = crop(part, Box((0, 1, 1), (1, 2, 2)))
    assert np.array_equal(inner.read(channel=1), volume.read()[1, 1:2, 1:2, 3:4])
    assert inner.affine.translation == (15.0, -18.0, 5.0)


@pytest.mark.parametrize("box", [Box((0, 0, 0), (3, 1, 1)), Box((1, 1, 1), (1, 2, 2))])
def test_a_part_has_to_be_one(box):
    with pytest.raises(ShapeError, match="'px'"):
        crop(numbered(), box)
