from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import VOXELS, Affine
from projectome.core.box import Box
from projectome.core.space import Space
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import ParameterError, ShapeError
from projectome.imaging import projection
from projectome.imaging.projection import mip, pieces, profile

SIZE = (3.0, 2.0, 1.0)


@dataclass(frozen=True)
class Chunked:
    """An array with chunks that notes the largest read."""

    array: np.ndarray
    chunks: tuple
    reads: list = field(default_factory=list)

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)

    def read(self, index):
        found = self.array[index]
        self.reads.append(found.nbytes)
        return found


def chunked(array, chunks=(5, 6, 7)):
    affine = Affine.from_scale(SIZE, (10.0, 20.0, 30.0))
    return Volume(Chunked(array, chunks), affine, name="brain")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 60000, (17, 23, 29)).astype(np.uint16)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(projection, "PIECE_BYTES", 3000)


def test_the_brightest_along_each_axis(image, small_pieces):
    volume = chunked(image)
    np.testing.assert_array_equal(mip(volume, "z").image, image.max(0))
    np.testing.assert_array_equal(mip(volume, "y").image, image.max(1))
    np.testing.assert_array_equal(mip(volume, "x").image, image.max(2).T)
    assert max(volume.array.reads) <= 3000
    found = mip(volume, "y")
    assert found.image.dtype == np.uint16
    assert found.start_um == (8.5, 19.0, 29.5)
    assert found.stop_um == (8.5 + 17 * 3, 19.0 + 23 * 2, 29.5 + 29)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, bool])
def test_values_below_zero_and_other_types(dtype, small_pieces):
    image = np.random.default_rng(1).normal(-500, 50, (9, 8, 7)).astype(dtype)
    np.testing.assert_array_equal(mip(chunked(image), "z").image, image.max(0))


def test_a_span_takes_the_voxels_whose_centres_lie_in_it(image):
    volume = chunked(image)
    found = mip(volume, "z", span_um=(13.0, 22.0))  # centres at 10, 13, 16, 19, 22
    np.testing.assert_array_equal(found.image, image[1:4].max(0))
    assert (found.start_um[0], found.stop_um[0]) == (11.5, 20.5)
    np.testing.assert_array_equal(
        mip(volume, "x", span_um=(None, 32.5)).image, image[:, :, :3].max(2).T
    )
    np.testing.assert_array_equal(
        mip(volume, "y", span_um=(60.0, None)).image, image[:, 20:].max(1)
    )


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.integers(0, 39)] * 3),
)
def test_pieces_share_out_a_box(shape, chunks, corner):
    volume = chunked(np.broadcast_to(np.uint16(0), shape), chunks)
    start = tuple(min(c, s - 1) for c, s in zip(corner, shape, strict=True))
    box = Box(start, shape)
    seen = np.zeros(shape, int)
    for piece in pieces(volume, box):
        assert box.covers(piece)
        seen[piece.slices] += 1
        # Inner borders are borders of chunks.
        for axis in range(3):
            assert piece.start[axis] == start[axis] or piece.start[axis] % chunks[axis] == 0
    assert (seen[box.slices] == 1).all()
    assert seen.sum() == box.size


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_profile_is_by_plane(image, axis, small_pieces):
    volume = chunked(image)
    along = "zyx".index(axis)
    planes = np.moveaxis(image, along, 0).reshape(image.shape[along], -1)
    found = profile(volume, axis, percentiles=(5, 50))
    assert list(found.columns) == [f"{axis}_um", "mean", "max", "p5", "p50"]
    start, step = (10.0, 20.0, 30.0)[along], SIZE[along]
    np.testing.assert_allclose(found[f"{axis}_um"], start + step * np.arange(len(planes)))
    np.testing.assert_allclose(found["mean"], planes.mean(1))
    np.testing.assert_array_equal(found["max"], planes.max(1))
    np.testing.assert_allclose(found["p5"], np.percentile(planes, 5, axis=1))
    np.testing.assert_allclose(found["p50"], np.percentile(planes, 50, axis=1))


def test_large_planes_are_sampled_on_one_grid_however_they_are_read(image, monkeypatch):
    monkeypatch.setattr(projection, "SAMPLED_VOXELS", 60)
    whole = profile(chunked(image, image.shape), "z")
    monkeypatch.setattr(projection, "PIECE_BYTES", 3000)
    parts = profile(chunked(image), "z")
    np.testing.assert_allclose(parts, whole)
    np.testing.assert_allclose(whole["p50"], np.median(image[:, ::4, ::4], axis=(1, 2)))


def test_channels_are_picked(image):
    both = Volume.from_array(
        np.stack([image, image // 2]), voxel_size=SIZE, channels=("488", "561"), name="brain"
    )
    np.testing.assert_array_equal(mip(both, channel="561").image, image.max(0) // 2)
    np.testing.assert_allclose(
        profile(both, channel=0)["mean"], image.reshape(len(image), -1).mean(1)
    )
    with pytest.raises(ParameterError, match=r"brain has .* '488', '561'\. Pick one"):
        mip(both)


def test_wrong_calls_say_what_to_do(image):
    volume = chunked(image)
    with pytest.raises(ParameterError, match="'z', 'y' or 'x', not 'w'"):
        mip(volume, "w")
    empty = r"lies between 900 and the end \[um\] along z: it has 10"
    with pytest.raises(ParameterError, match=empty):
        mip(volume, span_um=(900, None))
    with pytest.raises(ParameterError, match="between 0 and 100, not"):
        profile(volume, percentiles=(50, 101))
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    affine = Affine(turned, VOXELS, Space())
    with pytest.raises(ShapeError, match="rotated against its axes"):
        profile(Volume(ArrayInMemory(image), affine))
