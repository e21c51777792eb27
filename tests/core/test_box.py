import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.box import BlockGrid, Box, triple
from projectome.errors import ParameterError, ShapeError
from projectome.testing.strategies import block_grids, boxes


def voxels(box: Box) -> set[tuple[int, ...]]:
    """Return the voxels of a box, written out."""
    return (
        {tuple(np.add(v, box.start).tolist()) for v in np.ndindex(box.shape)} if box.size else set()
    )


def test_triple_takes_one_integer_or_three():
    assert triple(4) == (4, 4, 4)
    assert triple(np.array([1.0, 2.0, 3.0])) == (1, 2, 3)
    assert all(type(v) is int for v in triple(np.int32(5)))


@pytest.mark.parametrize("wrong", [1.5, (1, 2), (1, 2, 3, 4), (1, 2, 0.5), np.nan, np.inf, "abc"])
def test_triple_refuses_anything_else(wrong):
    with pytest.raises(ParameterError, match="chunks must be one integer or three"):
        triple(wrong, name="chunks")


def test_a_box_cannot_stop_before_it_starts():
    with pytest.raises(ShapeError, match="stop before it starts"):
        Box((0, 0, 5), (1, 1, 4))


@given(boxes(largest=5), boxes(largest=5))
def test_intersection_is_that_of_the_voxels(a, b):
    assert voxels(a & b) == voxels(a) & voxels(b)


@given(boxes(largest=5, around=4), boxes(largest=5, around=4))
def test_union_is_the_smallest_box_around_the_voxels(a, b):
    union = a | b
    assert union.covers(a)
    assert union.covers(b)
    both = np.array(sorted(voxels(a) | voxels(b)))
    if len(both):
        assert union == Box(tuple(both.min(axis=0)), tuple(both.max(axis=0) + 1))


@given(boxes(), boxes())
def test_covering_means_that_the_other_has_no_voxel_outside(a, b):
    assert a.covers(b) == (voxels(b) <= voxels(a))


@given(boxes(largest=6), st.tuples(*[st.integers(-20, 20)] * 3))
def test_shifting_there_and_back_changes_nothing(box, offset):
    back = tuple(-o for o in offset)
    assert box.shift(offset).shift(back) == box
    assert box.shift(offset).shape == box.shape


@given(boxes(), st.tuples(*[st.integers(0, 9)] * 3))
def test_growing_adds_the_margin_on_both_sides(box, margin):
    grown = box.grow(margin)
    assert grown.shape == tuple(n + 2 * m for n, m in zip(box.shape, margin, strict=True))
    assert grown.covers(box)


@given(boxes(smallest=1), st.tuples(*[st.integers(1, 5)] * 3))
def test_coarse_box_covers_the_fine_one_without_a_spare_voxel(box, factor):
    coarse = {tuple(np.floor_divide(v, factor)) for v in voxels(box)}
    assert voxels(box.coarsen(factor)) == coarse


def test_coarsening_by_nothing_is_refused():
    with pytest.raises(ParameterError, match="at least 1"):
        Box.from_shape((4, 4, 4)).coarsen((2, 0, 2))


@given(boxes(largest=4, around=3))
def test_containing_is_the_half_voxel_rule(box):
    grid = np.mgrid[-5:9, -5:9, -5:9].reshape(3, -1).T
    inside = voxels(box)
    for shift in (0.0, -0.5, 0.499):
        found = {tuple(v) for v in grid[box.contains(grid + shift)]}
        assert found == {v for v in inside if max(map(abs, v)) < 9}


@given(boxes(largest=8, around=5))
def test_slices_read_the_voxels_of_the_box(box):
    origin = (-6, -7, -8)
    array = np.stack(np.indices((40, 40, 40)), axis=-1) + origin
    read = array[box.slices_in(origin)].reshape(-1, 3)
    assert {tuple(v) for v in read} == voxels(box)


def test_slices_never_count_from_the_end():
    with pytest.raises(ShapeError, match="before the array"):
        _ = Box((-1, 0, 0), (2, 2, 2)).slices


@given(block_grids())
def test_each_voxel_is_owned_exactly_once(grid):
    owned = np.zeros(grid.domain.shape, dtype=int)
    for block in grid:
        owned[block.core.slices_in(grid.domain.start)] += 1
    assert (owned == 1).all()
    assert len(grid) == len(list(grid))


@given(block_grids())
def test_halo_is_clipped_to_the_domain_and_inner_is_the_core(grid):
    for block in grid:
        assert block.read == block.core.grow(grid.halo) & grid.domain
        positions = np.stack(np.indices(block.read.shape), axis=-1) + block.read.start
        assert {tuple(v) for v in positions[block.inner].reshape(-1, 3)} == voxels(block.core)


@given(block_grids(largest=6), st.data())
def test_blocks_are_found_by_voxel_and_place(grid, data):
    for place, block in enumerate(grid):
        assert grid.linear(block.index) == place
        assert grid[block.index] == block
        voxel = data.draw(st.sampled_from(sorted(voxels(block.core))))
        assert grid.index_at(voxel) == block.index


def test_points_between_blocks_belong_to_exactly_one():
    grid = BlockGrid(Box.from_shape((8, 8, 8)), (4, 4, 4))
    points = np.random.default_rng(5).integers(-1, 15, (500, 3)) / 2
    counts = sum(block.core.contains(points).astype(int) for block in grid)
    assert (counts == grid.domain.contains(points)).all()


def test_grid_refuses_nonsense():
    domain = Box.from_shape((4, 4, 4))
    with pytest.raises(ParameterError, match="at least one voxel"):
        BlockGrid(domain, (0, 1, 1))
    with pytest.raises(ParameterError, match="halo cannot be negative"):
        BlockGrid(domain, (1, 1, 1), (0, -1, 0))
    with pytest.raises(ParameterError, match="No block"):
        _ = BlockGrid(domain, (2, 2, 2))[2, 0, 0]
    with pytest.raises(ParameterError, match="outside the grid"):
        BlockGrid(domain, (2, 2, 2)).index_at((4, 0, 0))


def test_boxes_and_blocks_show_what_they_are():
    block = BlockGrid(Box.from_shape((8, 8, 8)), (4, 8, 8))[1, 0, 0]
    assert str(block) == "block (1, 0, 0) (voxels [4:8, 0:8, 0:8])"
    assert block.id == "1.0.0"
