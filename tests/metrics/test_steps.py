from typing import ClassVar

import numpy as np
import pytest

from projectome.core.box import BlockGrid, Box
from projectome.core.volume import Volume
from projectome.errors import FormatError, ParameterError, ShapeError
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.metrics.contingency import Contingency, contingency
from projectome.metrics.steps import CountOverlaps, check_same_voxels, table_of
from projectome.testing.steps import StepContract

SHAPE = (10, 24, 26)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Function that writes a volume and returns its source."""
    folder = tmp_path_factory.mktemp("pair")

    def write(name, array, voxel_size=(2, 1, 1), **more):
        volume = Volume.from_array(array, voxel_size=voxel_size, **more)
        write_volume(volume, str(folder / f"{name}.ome.zarr"), overwrite=True)
        return VolumeSource(str(folder / f"{name}.ome.zarr"))

    return write


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(5)
    return [rng.integers(0, 5, (5, 6, 13)).repeat(2, 0).repeat(4, 1).repeat(2, 2).astype(np.uint32)
            for _ in range(2)]  # fmt: skip


class TestCountOverlaps(StepContract):
    """The contract of steps, on the labels of the other tests."""

    changes: ClassVar = {"scored": "another", "threshold": 0.5}

    @pytest.fixture(autouse=True)
    def _files(self, pair, labels):
        self.sources = pair("truth", labels[0]), pair("found", labels[1])

    def grid(self):
        return BlockGrid(Box.from_shape(SHAPE), (5, 12, 13))

    def step(self, grid):
        return CountOverlaps(*self.sources)

    def merged(self, sink):
        whole = Contingency.add_up(map(table_of, sink.tables()))
        return {name: getattr(whole, name) for name in ("truth", "found", "count", "place")}


@pytest.mark.parametrize("shape", [(10, 24, 26), (4, 7, 26), (3, 24, 5)])
def test_blocks_add_up_to_the_volume(pair, labels, shape):
    mask = (labels[0] + labels[1]) % 3 > 0
    step = CountOverlaps(
        pair("truth", labels[0]), pair("found", labels[1]), pair("mask", mask.astype(np.uint8))
    )
    check_same_voxels(step)
    grid = BlockGrid(step.truth.open().box, shape)
    whole = Contingency.add_up(table_of(step(block)) for block in grid)
    expected = contingency(*labels, scored=mask)
    for name in ("truth", "found", "count", "place"):
        assert np.array_equal(getattr(whole, name), getattr(expected, name)), name


def test_thresholds_and_scores(pair, labels):
    rng = np.random.default_rng(6)
    chance = rng.random(SHAPE).astype(np.float32)
    truth, found = pair("truth", labels[0]), pair("chance", chance)
    block = BlockGrid(truth.open().box, SHAPE)[0, 0, 0]
    cut = table_of(CountOverlaps(truth, found, threshold=0.5)(block))
    assert cut.count.tolist() == contingency(labels[0], chance >= 0.5).count.tolist()
    scores = table_of(CountOverlaps(truth, found, scores=True)(block))
    assert scores.voxels == chance.size
    assert abs(np.average(scores.found, weights=scores.count) / 65535 - chance.mean()) < 1e-5
    with pytest.raises(FormatError, match=r"prediction chance.*float32.*whole numbers"):
        CountOverlaps(truth, found)(block)
    with pytest.raises(ParameterError, match="not both"):
        CountOverlaps(truth, found, scores=True, threshold=1)
    chance[3, 2, 1] = np.nan
    holed = pair("holed", chance)
    with pytest.raises(FormatError, match="holds NaN in block"):
        CountOverlaps(truth, holed, threshold=0.5)(block)


def test_voxels_have_to_lie_on_one_another(pair, labels):
    truth = pair("truth", labels[0])
    with pytest.raises(ShapeError, match=r"compared voxel by voxel.*projectome convert"):
        check_same_voxels(CountOverlaps(truth, pair("small", labels[1][1:])))
    with pytest.raises(ShapeError, match=r"are not those of.*--voxel-size"):
        check_same_voxels(CountOverlaps(truth, pair("coarse", labels[1], voxel_size=(2, 2, 2))))
    moved = pair("moved", labels[1], translation=(0, 0.5, 0))
    with pytest.raises(ShapeError, match="are not those of"):
        check_same_voxels(CountOverlaps(truth, moved))
