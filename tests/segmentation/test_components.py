"""Components block by block equal the components of the whole, whatever the cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from projectome.core.box import BlockGrid, Box
from projectome.errors import ShapeError
from projectome.segmentation import components as cc


def block_wise(score, low, high, min_voxels, block_shape):
    """Label a whole volume in the three phases, as the steps do."""
    grid = BlockGrid(Box.from_shape(score.shape), block_shape, (1, 1, 1))
    local = np.zeros(score.shape, np.uint32)
    tables, pairs = [], []
    for block in grid:
        labels, table = cc.label_block(score[block.core.slices], low, block, score.shape)
        local[block.core.slices] = labels
        number = grid.linear(block.index)
        tables.append(table.assign(fragment=cc.fragment_id(number, table["local"].to_numpy())))
    pairs = [cc.touching_pairs(local[b.read.slices], b, grid.shape) for b in grid]
    mapping = cc.merge_fragments(
        pd.concat(tables), np.concatenate(pairs), high=high, min_voxels=min_voxels
    )
    result = np.zeros_like(local)
    for block in grid:
        part = local[block.core.slices]
        result[block.core.slices] = cc.renumber(part, grid.linear(block.index), mapping)
    return result


def whole(score, low, high, min_voxels):
    """The same by definition: scipy's labels, then the two tests, numbered in scan order."""
    labels, count = ndimage.label(score >= low, np.ones((3, 3, 3)))
    numbers = np.arange(1, count + 1)
    peak = ndimage.maximum(score, labels, numbers)
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    keep = (np.asarray(peak) >= high) & (size >= min_voxels)
    lookup = np.zeros(count + 1, int)
    lookup[1:][keep] = np.arange(1, keep.sum() + 1)
    return lookup[labels]


@given(
    shape=st.tuples(*[st.integers(1, 17)] * 3),
    block_shape=st.tuples(*[st.integers(1, 9)] * 3),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_blocks_equal_the_whole(shape, block_shape, share, seed):
    noise = np.random.default_rng(seed).random(shape)
    score = ndimage.gaussian_filter(noise, 0.7).astype(np.float32)
    low, high = np.quantile(score, [1 - share, 1 - share / 3]).astype(np.float32)
    expected = whole(score, low, high, 3)
    np.testing.assert_array_equal(block_wise(score, low, high, 3, block_shape), expected)


def test_a_diagonal_through_block_corners_is_one_component():
    score = np.zeros((8, 8, 8), np.float32)
    score[np.arange(8), np.arange(8), np.arange(8)] = 1
    assert block_wise(score, 0.5, 0.5, 8, (2, 2, 2)).max() == 1
    score = score[::-1].copy()
    assert block_wise(score, 0.5, 0.5, 8, (2, 2, 2)).max() == 1


def test_hysteresis_keeps_a_weak_stretch_beside_a_strong_voxel_of_another_block():
    score = np.zeros((1, 1, 10), np.float32)
    score[0, 0, 1:9] = 0.4
    score[0, 0, 8] = 0.9
    assert (block_wise(score, 0.3, 0.8, 1, (1, 1, 4)) > 0).sum() == 8
    assert (block_wise(score, 0.3, 0.95, 1, (1, 1, 4)) > 0).sum() == 0


def test_labels_of_another_run_are_refused():
    mapping = pd.DataFrame({"fragment": np.array([5], np.uint64), "label": [1]})
    with pytest.raises(ShapeError, match="not of the same run"):
        cc.renumber(np.ones((1, 1, 1), np.uint32), 0, mapping)
