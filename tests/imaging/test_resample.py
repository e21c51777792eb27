import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from projectome.core.affine import Affine, itk_geometry
from projectome.core.box import Box, triple
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.imaging.resample import resample


def volume(values, size=(2.0, 1.0, 1.0), **more):
    return Volume.from_array(values, voxel_size=size, translation=(5, 6, 7), **more)


def edges(v):
    return v.affine(np.asarray(v.box.bounds) - 0.5)


def test_whole_factors_are_means_of_boxes():
    values = np.random.default_rng(0).integers(0, 60000, (8, 12, 18), dtype=np.uint16)
    found = resample(volume(values), (4, 2, 3))
    assert found.shape == (4, 6, 6)
    means = values.reshape(4, 2, 6, 2, 6, 3).mean(axis=(1, 3, 5))
    assert found.dtype == np.uint16
    assert abs(found.read() - means).max() <= 0.5 + 1e-2
    np.testing.assert_allclose(edges(found), edges(volume(values)))


@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    scale=st.tuples(*[st.floats(1, 5)] * 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_larger_voxels_take_what_they_cover(shape, scale, seed):
    values = np.random.default_rng(seed).normal(size=shape)
    found = resample(volume(values, size=(1, 1, 1)), scale)
    expected = values
    for axis, s in enumerate(scale):
        # The mean over an interval is a difference of the integral, linear between edges.
        total = np.concatenate(
            [np.zeros_like(expected.take([0], axis)), expected.cumsum(axis)], axis
        )
        n = expected.shape[axis]
        border = np.minimum(np.arange(found.shape[axis] + 1) * s, n)
        at = np.apply_along_axis(
            lambda t, b=border, n=n: np.interp(b, np.arange(n + 1), t), axis, total
        )
        width = np.diff(border).reshape([-1 if a == axis else 1 for a in range(3)])
        expected = np.diff(at, axis=axis) / width
    np.testing.assert_allclose(found.read(), expected, atol=1e-9)


def test_smaller_voxels_are_linear_between_centres():
    values = np.random.default_rng(1).normal(size=(6, 7, 8))
    found = resample(volume(values, size=(1, 1, 1)), (0.5, 0.3, 1))
    place = volume(values, size=(1, 1, 1)).affine.inverse()(
        found.affine(np.indices(found.shape).reshape(3, -1).T)
    )
    expected = ndimage.map_coordinates(values, place.T, order=1, mode="nearest")
    np.testing.assert_allclose(found.read().ravel(), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(3.7, 2.2, 1.9), (1.1, 0.6, 0.4), (2.0, 3.1, 0.7)])
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_blocks_equal_the_whole_and_come_lazily(size, kind):
    values = np.random.default_rng(2).integers(0, 65535, (2, 13, 19, 23), dtype=np.uint16)
    found = resample(volume(values, kind=kind), size)
    whole = found.read()
    assert whole.shape == (2, *found.shape)
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = np.sort(rng.integers(0, np.asarray(found.shape) + 1, (2, 3)), axis=0)
        box = Box(triple(corners[0]), triple(corners[1]))
        np.testing.assert_array_equal(found.read(box), whole[(..., *box.slices)], strict=True)
        np.testing.assert_array_equal(found.read(box, channel=1), whole[1][box.slices])


def test_itk_sees_the_result_where_it_sees_the_source():
    space = Space(toward=("inferior", "anterior", "left"))
    source = Volume.from_array(np.zeros((6, 9, 12)), voxel_size=(2.0, 1.0, 1.0), space=space)
    found = resample(source, 3.0)
    corners = []
    for seen in (source, found):
        placed = itk_geometry(seen.affine, seen.shape)
        corners.append(placed.origin - placed.direction @ placed.spacing / 2)
    np.testing.assert_allclose(corners[1], corners[0], atol=1e-12)


def test_labels_are_taken_at_the_centre_and_never_mixed():
    labels = np.zeros((6, 6, 6), np.uint64)
    labels[:3], labels[3:] = 2**53 + 1, 7
    found = resample(volume(labels, size=(1, 1, 1), kind="labels"), 2)
    np.testing.assert_array_equal(found.read()[:, 0, 0], [2**53 + 1, 7, 7])
    finer = resample(volume(labels, size=(1, 1, 1), kind="labels"), 0.25).read()
    assert set(np.unique(finer).tolist()) == {2**53 + 1, 7}
    assert (finer[:12] == 2**53 + 1).all()


def test_a_constant_stays_and_nothing_leaves_its_range():
    values = np.full((5, 6, 7), 65535, np.uint16)
    for size in (0.3, 1.7, 40.0):
        assert (resample(volume(values), size).read() == 65535).all()


def test_the_same_grid_is_the_same_volume():
    source = volume(np.zeros((3, 3, 3)))
    assert resample(source, (2.0, 1.0, 1.0)) is source


def test_what_cannot_be():
    source = volume(np.zeros((3, 3, 3)))
    for wrong in (0, -1, float("nan"), (1, 0, 1)):
        with pytest.raises(ParameterError, match="voxel size is positive"):
            resample(source, wrong)
    with pytest.raises(ParameterError, match="one number or three"):
        resample(source, (1, 2))
    with pytest.raises(ParameterError, match=r"4096 times .* Check the unit"):
        resample(source, 1e5)
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(ShapeError, match="rotated"):
        resample(
            Volume(source.array, Affine(turned, source.affine.source, source.affine.target)), 3
        )
