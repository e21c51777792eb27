import gc
import itertools
import threading
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import FormatError, ParameterError
from projectome.io.ahead import read_ahead

SHAPE = (20, 6, 7)


@dataclass
class Slow:
    """Numbers the voxels; keeps count of reads, and fails at one plane."""

    broken: int = -1
    shape: tuple[int, ...] = SHAPE
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.int64))
    chunks: tuple[int, ...] = (1, 6, 7)
    asked: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    given: list = field(default_factory=list)

    def read(self, index):
        with self.lock:
            self.asked.append(index[0].start)
        if index[0].start == self.broken:
            raise FormatError("A chunk is broken.")
        values = np.arange(np.prod(self.shape)).reshape(self.shape)[index].copy()
        self.given.append(weakref.ref(values))
        return values


def slabs():
    return [Box((z, 0, 0), (z + 2, 6, 7)) for z in range(0, 20, 2)]


@pytest.mark.parametrize("depth", [1, 2, 9, 30])
def test_boxes_come_in_order_with_their_voxels(depth):
    volume = Volume(Slow(), Affine.from_scale((1, 1, 1)))
    found = list(read_ahead(volume, slabs(), depth=depth))
    assert [box for box, _ in found] == slabs()
    np.testing.assert_array_equal(np.concatenate([v for _, v in found]), volume.read())


def test_no_more_is_read_or_kept_than_said():
    slow = Slow()
    volume = Volume(slow, Affine.from_scale((1, 1, 1)))
    for number, (_, voxels) in enumerate(read_ahead(volume, slabs(), depth=2)):
        assert len(slow.asked) <= number + 3
        del voxels
        gc.collect()
        assert sum(given() is not None for given in slow.given) <= 3


def test_what_is_broken_is_raised_at_its_turn():
    volume = Volume(Slow(broken=6), Affine.from_scale((1, 1, 1)))
    reading = read_ahead(volume, slabs(), depth=5)
    assert [box.start[0] for box, _ in itertools.islice(reading, 3)] == [0, 2, 4]
    with pytest.raises(FormatError, match="broken"):
        next(reading)


def test_stopping_early_stops_reading():
    slow = Slow()
    volume = Volume(slow, Affine.from_scale((1, 1, 1)))
    endless = itertools.cycle(slabs())
    reading = read_ahead(volume, endless, depth=2)
    next(reading)
    reading.close()
    assert len(slow.asked) <= 3


def test_a_channel_can_be_chosen():
    values = np.random.default_rng(0).integers(0, 99, (2, *SHAPE))
    volume = Volume.from_array(values, voxel_size=(1, 1, 1), channels=("a", "b"))
    for box, found in read_ahead(volume, slabs(), channel="b"):
        np.testing.assert_array_equal(found, values[1][box.slices])


def test_wrong_depth():
    with pytest.raises(ParameterError, match="depth of 1 or more, not 0"):
        next(read_ahead(Volume(Slow(), Affine.from_scale((1, 1, 1))), [], depth=0))
