"""The steps of the segmentation keep what every step has to keep."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from projectome.core.box import BlockGrid, Box
from projectome.core.region_graph import connected_components
from projectome.core.volume import Volume
from projectome.engine.sinks import ArraySink, Sinks, TableSink
from projectome.errors import ParameterError
from projectome.io.source import VolumeSource
from projectome.io.tables import write_table
from projectome.io.volumes.write import write_volume
from projectome.segmentation import components as cc
from projectome.segmentation.noise import NoiseMap
from projectome.segmentation.ridges import on_ridge
from projectome.segmentation.steps import (
    FULL,
    LabelBlocks,
    MatchFaces,
    NeuriteProbability,
    Renumber,
)
from projectome.testing.steps import ArrayFile, StepContract

SHAPE, SIZE = (34, 40, 46), (3.0, 2.0, 2.0)
BLOCK = (17, 20, 23)
BOX = Box.from_shape(SHAPE)
NOISE = NoiseMap(((0.0, 33.0), (20.0,), (0.0, 20.0, 45.0)), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))


def save(values, folder, **more):
    """Write voxels in small chunks and return their address."""
    url = str(folder / "volume.ome.zarr")
    volume = Volume.from_array(values, voxel_size=SIZE, **more)
    write_volume(volume, url, chunks=(16, 16, 16), levels=1)
    return VolumeSource(url)


@pytest.fixture(scope="module")
def blurred():
    """Smooth noise: blobs and threads of all sizes, many of them across faces and corners."""
    noise = np.random.default_rng(5).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(noise, 1.2)
    return smooth / smooth.std()


@pytest.fixture(scope="module")
def image(blurred, tmp_path_factory):
    """The same as grey values."""
    grey = (1000 + 200 * blurred).clip(0).astype(np.uint16)
    return save(grey, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def probability(blurred, tmp_path_factory):
    """The same as probabilities."""
    values = np.rint(FULL / (1 + np.exp(-2 * blurred))).astype(np.uint8)
    return values, save(values, tmp_path_factory.mktemp("probability"))


@pytest.fixture(scope="module")
def fragments(probability, tmp_path_factory):
    """What a grid makes of it: local labels, and the row of each fragment."""

    made = {}

    def of(grid):
        if grid.block_shape not in made:
            local, tables = np.zeros(SHAPE, np.uint32), []
            for block in grid:
                score = probability[0][block.core.slices]
                local[block.core.slices], table = cc.label_block(score, 180, block, SHAPE)
                ids = cc.fragment_id(grid.linear(block.index), table["local"].to_numpy())
                tables.append(table.assign(fragment=ids))
            folder = tmp_path_factory.mktemp("fragments")
            made[grid.block_shape] = save(local, folder, kind="labels"), pd.concat(tables), folder
        return made[grid.block_shape]

    return of


class TestNeuriteProbability(StepContract):
    changes: ClassVar = {
        "neurite_um": (2.5,),
        "noise": NoiseMap(((0.0,), (0.0,), (0.0,)), (0.5,)),
    }

    @pytest.fixture(autouse=True)
    def _image(self, image):
        self.image = image

    def grid(self):
        return BlockGrid(BOX, BLOCK, self.step(None).halo())

    def step(self, grid):
        return NeuriteProbability(self.image, NOISE, contrast=3.0)

    def sink(self, folder, grid):
        return ArraySink(ArrayFile.create(folder, SHAPE, np.uint8))

    def merged(self, sink):
        values = sink.writer.read().astype(int)
        assert np.ptp(values) > 100
        return values


class TestLabelBlocks(StepContract):
    changes: ClassVar = {"grid": BlockGrid(BOX, (16, 16, 16))}

    @pytest.fixture(autouse=True)
    def _probability(self, probability):
        self.values, self.source = probability

    def grid(self):
        return BlockGrid(BOX, BLOCK, self.step(None).halo())

    def step(self, grid):
        return LabelBlocks(self.source, grid or BlockGrid(BOX, BLOCK), 0.7, 0.6)

    def sink(self, folder, grid):
        labels = ArraySink(ArrayFile.create(folder / "labels", SHAPE, np.uint32))
        return Sinks({"labels": labels, "fragments": TableSink(str(folder / "fragments"))})

    def merged(self, sink):
        """Fragments differ with the cut; what is foreground does not, and rows add up to it."""
        foreground = sink.sinks["labels"].writer.read() > 0
        table = sink.sinks["fragments"].read()
        assert table["voxels"].sum() == foreground.sum()
        assert table["first"].min() == np.flatnonzero(foreground)[0]
        assert table["peak"].max() == pytest.approx(self.values[foreground].max() / FULL)
        return foreground

    def test_foreground_is_what_lies_on_a_ridge_above_the_threshold(self, tmp_path):
        expected = on_ridge(self.values, SIZE, 0.6) & (self.values >= 0.7 * FULL)
        np.testing.assert_array_equal(self.merged(self._run(tmp_path)), expected)


class TestMatchFaces(StepContract):
    changes: ClassVar = {"grid": BlockGrid(BOX, (16, 16, 16))}

    @pytest.fixture(autouse=True)
    def _fragments(self, fragments):
        self.fragments, self.grids = fragments, {}

    def grid(self):
        return BlockGrid(BOX, BLOCK, (1, 1, 1))

    def step(self, grid):
        return MatchFaces(self.fragments(grid)[0], grid)

    def sink(self, folder, grid):
        self.grids[str(folder)] = grid
        return TableSink(str(folder))

    def merged(self, sink):
        """Pairs differ with the cut; the components that they make do not."""
        table = self.fragments(self.grids[sink.folder])[1].sort_values("fragment")
        ids = table["fragment"].to_numpy()
        pairs = sink.read()[["here", "there"]].to_numpy("uint64")
        leader = connected_components(len(ids), np.searchsorted(ids, pairs))
        whole = table.groupby(leader).agg({"voxels": "sum", "first": "min"})
        return whole.sort_values("first", ignore_index=True)


class TestRenumber(StepContract):
    changes: ClassVar = {"grid": BlockGrid(BOX, (16, 16, 16)), "mapping_key": "other"}

    @pytest.fixture(autouse=True)
    def _fragments(self, fragments):
        self.fragments = fragments

    def grid(self):
        return BlockGrid(BOX, BLOCK)

    def step(self, grid):
        source, table, folder = self.fragments(grid)
        match = MatchFaces(source, grid)
        around = BlockGrid(grid.domain, grid.block_shape, match.halo())
        pairs = pd.concat([match(block) for block in around]).to_numpy("uint64")
        path = folder / "mapping.parquet"
        write_table(cc.merge_fragments(table, pairs, high=200, min_voxels=5), path)
        return Renumber(source, grid, str(path), "key")

    def sink(self, folder, grid):
        return ArraySink(ArrayFile.create(folder, SHAPE, np.uint32))

    def test_labels_are_the_components_of_the_whole(self, tmp_path, probability):
        values = probability[0]
        found = self.merged(self._run(tmp_path))
        components, count = ndimage.label(values >= 180, np.ones((3, 3, 3)))
        index = np.arange(1, count + 1)
        large = ndimage.sum_labels(values >= 180, components, index) >= 5
        strong = ndimage.maximum(values, components, index) >= 200
        kept = np.concatenate([[0], np.cumsum(large & strong) * (large & strong)])
        np.testing.assert_array_equal(found, kept[components])


def test_probability_does_not_depend_on_unit_or_background(blurred, tmp_path):
    results = []
    for number, (scale, offset) in enumerate([(100, 1000), (200, 5000)]):
        grey = (offset + scale * np.round(blurred, 2)).astype(np.float32)
        (tmp_path / str(number)).mkdir()
        source = save(grey, tmp_path / str(number))
        noise = NoiseMap(((0.0,), (0.0,), (0.0,)), (scale / 100,))
        step = NeuriteProbability(source, noise, contrast=3.0)
        results.append(step(BlockGrid(BOX, SHAPE)[0, 0, 0]).astype(int))
    assert results[0].max() > 50
    assert abs(results[0] - results[1]).max() <= 1


def test_nothing_is_no_neurite(tmp_path):
    source = save(np.full(SHAPE, 700, np.uint16), tmp_path)
    step = NeuriteProbability(source, NOISE)
    assert not step(BlockGrid(BOX, SHAPE)[0, 0, 0]).any()


def test_wrong_parameters_say_what_is_wrong(image):
    with pytest.raises(ParameterError, match="positive sizes, not"):
        NeuriteProbability(image, NOISE, neurite_um=(0.0,))
    with pytest.raises(ParameterError, match="contrast is positive, not 0"):
        NeuriteProbability(image, NOISE, contrast=0)
