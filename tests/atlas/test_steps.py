"""The pass over an annotation by blocks: any grid, any executor, the same table."""

from typing import ClassVar

import numpy as np
import pytest
from toy_atlases import IDS, SPACE, toy_atlas, toy_labels

from projectome.atlas.contents import measure_image, signal_table
from projectome.atlas.regions import RegionTable, region_table
from projectome.atlas.steps import MeasureRegions, merge_regions, region_sums
from projectome.core.box import BlockGrid, Box
from projectome.core.volume import Volume
from projectome.engine.run import run
from projectome.engine.sinks import TableSink
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.testing.steps import StepContract

SHAPE = (20, 16, 18)


def write(folder, values, kind):
    volume = Volume.from_array(
        values, voxel_size=(25.0, 20.0, 10.0), translation=(5.0, 0.0, -3.0), space=SPACE, kind=kind
    )
    write_volume(volume, str(folder), levels=1, chunks=8)
    return VolumeSource(str(folder))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    image = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.float32)
    image[2, 3] = np.nan
    return write(folder / "labels.zarr", toy_labels(SHAPE), "labels"), write(
        folder / "image.zarr", image, "image"
    )


@pytest.fixture(scope="module")
def step(sources):
    midline = toy_atlas().midline
    return MeasureRegions(
        sources[0], sources[1], tuple(midline.point), tuple(midline.normal), threshold=50.0
    )


class TestMeasureRegions(StepContract):
    tolerance = 1e-12
    changes: ClassVar = {"midline_point": (1.0, 2.0, 3.0), "midline_normal": (0.0, 1.0, 0.0)}

    @pytest.fixture(autouse=True)
    def _take(self, step):
        self.made = step

    def grid(self):
        return BlockGrid(Box.from_shape(SHAPE), (8, 8, 8))

    def step(self, grid):
        return self.made

    def merged(self, sink):
        return merge_regions(sink.read())


def test_blocks_give_the_table_of_one_pass(step, sources, tmp_path):
    sink = TableSink(str(tmp_path / "rows"))
    grid = BlockGrid(Box.from_shape(SHAPE), (8, 8, 8))
    run(step, grid, sink=sink, ledger=str(tmp_path / "ledger"))
    atlas = toy_atlas()
    shapes, signals = region_sums(merge_regions(sink.read()), atlas.terminology.ids)
    tree, affine = atlas.terminology, atlas.annotation.affine
    table = RegionTable("toy", tree, shapes, affine, stated=True)
    assert table.frame().equals(region_table(atlas).frame())
    image = sources[1].open().with_space(SPACE)
    whole = measure_image(atlas, image, threshold=50.0)
    found = signal_table(atlas, signals, shapes, stated=True, image=image.name)
    np.testing.assert_allclose(
        found.table.select_dtypes("number"), whole.table.select_dtypes("number"), rtol=1e-12
    )
    assert found.problems == whole.problems


def test_labels_that_no_region_has_stay_known(step, tmp_path, sources):
    rows = merge_regions(
        MeasureRegions(sources[0])(next(iter(BlockGrid(Box.from_shape(SHAPE), SHAPE))))
    )
    shapes, signals = region_sums(rows, np.array(IDS[:-1]))
    assert signals is None
    assert shapes.unknown[0] == IDS[-1]
    assert shapes.voxels[-1].sum() == (toy_labels(SHAPE) == IDS[-1]).sum()


def test_many_labels_in_a_block(tmp_path):
    labels = np.arange(1, 24**3 + 1, dtype=np.uint32).reshape(24, 24, 24)
    rows = MeasureRegions(write(tmp_path / "many.zarr", labels, "labels"))(
        next(iter(BlockGrid(Box.from_shape(labels.shape), labels.shape)))
    )
    assert len(rows) == labels.size
    assert (rows["voxels"] == 1).all()
