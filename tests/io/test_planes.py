"""What the readers of microscope files have in common."""

import threading

import numpy as np
import pytest

from projectome.errors import FormatError, ParameterError
from projectome.io.access import Access
from projectome.io.volumes.options import OpenOptions
from projectome.io.volumes.planes import (
    PlaneArray,
    RandomAccess,
    pick_places,
    spans,
    stated_voxel_size,
)


class Planes:
    """Planes of known content that note who asks for what."""

    dtype = np.dtype("uint16")

    def __init__(self, voxels):
        self.voxels, self.asked = voxels, []

    def read(self, z, channels, y, x):
        self.asked.append((z, threading.get_ident()))
        return self.voxels[channels, z, y, x]


@pytest.fixture
def planes():
    return Planes(np.random.default_rng(0).integers(0, 999, (2, 6, 9, 8), dtype="uint16"))


class TestPlaneArray:
    def test_boxes_with_channels_and_without(self, planes):
        array = PlaneArray(planes, (2, 6, 9, 8), (1, 1, 9, 8))
        box = (slice(1, 2), slice(2, 5), slice(0, 9), slice(3, 4))
        np.testing.assert_array_equal(array.read(box), planes.voxels[box])
        array = PlaneArray(planes, (6, 9, 8), (1, 9, 8))
        np.testing.assert_array_equal(array.read(box[1:]), planes.voxels[0][box[1:]])

    def test_only_the_planes_of_the_box_are_asked_for(self, planes):
        array = PlaneArray(planes, (6, 9, 8), (1, 9, 8))
        array.read((slice(2, 4), slice(0, 1), slice(0, 1)))
        assert sorted(z for z, _ in planes.asked) == [2, 3]
        planes.asked.clear()
        empty = array.read((slice(2, 2), slice(0, 9), slice(0, 8)))
        assert empty.shape == (0, 9, 8)
        assert not planes.asked

    def test_what_is_read_is_read_only(self, planes):
        read = PlaneArray(planes, (6, 9, 8), (1, 9, 8)).read((slice(0, 6), *2 * [slice(0, 5)]))
        assert not read.flags.writeable


def test_nothing_is_read_beyond_the_end(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(100)))
    file = RandomAccess(str(path), "ABC", Access())
    assert file.read(98, 2) == b"bc"
    for start, count in ((98, 3), (-1, 1), (0, -1), (2**62, 2**62), (0, 2**62)):
        with pytest.raises(FormatError, match=r"ABC file .*a\.bin is broken.*cut off.*Restore"):
            file.read(start, count)


def test_declared_pixels_beyond_belief(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100_000))
    file = RandomAccess(str(path), "ABC", Access())
    file.check_believed(10**10)
    with pytest.raises(
        FormatError, match="declares 100000000000 bytes of pixels in a file of 1000"
    ):
        file.check_believed(10**11)


def test_places():
    sizes = {"t": 3, "h": 4, "v": 1}

    def pick(sizes=sizes, **said):
        return pick_places(sizes, OpenOptions(**said), url="file")

    assert pick(places={"t": 2, "h": 3}) == {"t": 2, "h": 3, "v": 0}
    assert pick(places={"h": 3}, time=1) == {"t": 1, "h": 3, "v": 0}
    assert pick(places={"t": 1}, time=3) == {"t": 1, "h": 3, "v": 0}
    assert pick({"v": 5}, time=4) == {"v": 4}
    assert pick({"v": 1}) == {"v": 0}
    assert pick({}, time=7) == {}
    with pytest.raises(ParameterError, match=r"h \(0 to 3\).*file#h=0"):
        pick(time=1)
    with pytest.raises(ParameterError, match="leave out --axes tzyx"):
        pick(axes="tzyx")
    with pytest.raises(ParameterError, match="--time goes from 0 to 2"):
        pick(places={"h": 0}, time=3)


def test_where_a_piece_meets_what_is_wanted():
    wanted = (slice(10, 20), slice(0, 5))
    assert spans(wanted, (15, 2), (10, 2)) == (
        (slice(0, 5), slice(0, 2)),
        (slice(5, 10), slice(2, 4)),
    )
    assert spans(wanted, (20, 0), (5, 5)) is None


def test_voxel_size_is_stated_or_asked_for():
    problems = []

    def size(stated, depth, **said):
        return stated_voxel_size(stated, depth, OpenOptions(**said), problems, "brain.abc")

    assert size((3, 2, 1), 5) == (3, 2, 1)
    assert size((None, 2, 1), 5, voxel_size=(9, 9, 9)) == (9, 9, 9)
    assert not problems
    assert size((None, 2, 1), 1) == (1, 2, 1)
    assert "1 um thick" in str(problems[0])
    with pytest.raises(ParameterError, match=r"brain\.abc.*only y 2, x 1 um.*--voxel-size Z,Y,X"):
        size((None, 2, 1), 5)
    with pytest.raises(ParameterError, match="between"):
        size((3, 2, 1e30), 5)
