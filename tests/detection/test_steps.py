from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from projectome.core.box import BlockGrid, Box
from projectome.core.volume import Volume
from projectome.detection.steps import DetectSomata
from projectome.errors import ParameterError
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.testing.steps import StepContract

SHAPE, SIZE, START = (44, 60, 66), (3.0, 2.5, 2.5), (100.0, 200.0, 300.0)


def somata(count=50, seed=1):
    """Centres [um] and radii of somata, some of them touching or across borders of blocks."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 0.95, (count, 3)) * SHAPE * SIZE, rng.uniform(4, 9, count)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Balls of 1000 grey values on a background of 300, with noise."""
    place = np.indices(SHAPE).reshape(3, -1).T * SIZE
    image = np.zeros(len(place))
    for centre, radius in zip(*somata(), strict=True):
        distance = np.linalg.norm(place - centre, axis=1)
        image = np.maximum(image, 0.5 - 0.5 * np.tanh(distance - radius))
    noisy = np.random.default_rng(2).poisson(300 + 1000 * image).reshape(SHAPE)
    volume = Volume.from_array(noisy.astype(np.uint16), voxel_size=SIZE, translation=START)
    url = str(tmp_path_factory.mktemp("image") / "image.ome.zarr")
    write_volume(volume, url, chunks=(16, 16, 16))
    return VolumeSource(url)


class TestDetectSomata(StepContract):
    changes: ClassVar = {"radius_um": (5.0, 9.0)}

    @pytest.fixture(autouse=True)
    def _volume(self, source):
        self.source = source

    def grid(self):
        step = self.step(None)
        return BlockGrid(Box.from_shape(SHAPE), (22, 30, 33), step.halo())

    def step(self, grid):
        return DetectSomata(
            self.source, 300.0, 1000.0, radius_um=(4.0, 8.0), threshold=0.3, min_contrast=0.0
        )

    def merged(self, sink):
        table = sink.read()
        return table.sort_values(["z_um", "y_um", "x_um"], ignore_index=True)


def test_somata_are_found_where_they_are(source):
    step = DetectSomata(source, 300.0, 800.0, radius_um=(4.0, 10.0), threshold=0.9)
    box = Box.from_shape(SHAPE)
    found = step(BlockGrid(box, SHAPE)[0, 0, 0])
    assert list(found.columns) == [
        "z_um", "y_um", "x_um", "radius_um", "score", "contrast", "roundness",
    ]  # fmt: skip
    centres, radii = somata()
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 99 * np.eye(len(centres))
    margin = np.minimum(centres, np.multiply(SHAPE, SIZE) - centres).min(axis=1)
    alone = (apart.min(axis=1) > 2.2 * 9) & (margin > 10) & (radii > 4.5)
    assert alone.sum() >= 10
    place = found[["z_um", "y_um", "x_um"]].to_numpy() - START
    for centre, radius in zip(centres[alone], radii[alone], strict=True):
        distance = np.linalg.norm(place - centre, axis=1)
        assert distance.min() < 0.5
        row = found.iloc[distance.argmin()]
        assert row["radius_um"] == pytest.approx(radius, rel=0.1)
        assert row["score"] == pytest.approx(1.25, rel=0.25)


def test_nothing_is_a_table_without_rows(source):
    step = DetectSomata(source, 300.0, 1000.0, threshold=50.0)
    found = step(BlockGrid(Box.from_shape(SHAPE), SHAPE)[0, 0, 0])
    assert len(found) == 0
    assert all(dtype == np.float64 for dtype in found.dtypes)
    assert isinstance(found, pd.DataFrame)


def test_wrong_parameters_say_what_to_do(source):
    with pytest.raises(ParameterError, match="smallest and the largest radius"):
        DetectSomata(source, 0, 1, radius_um=(9, 5))
    with pytest.raises(ParameterError, match="scale of grey values is positive, not 0"):
        DetectSomata(source, 0, 0)
    with pytest.raises(ParameterError, match="threshold of somata is positive, not 0"):
        DetectSomata(source, 0, 1, threshold=0)
