import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from projectome.core.box import BlockGrid, Box
from projectome.errors import FormatError, ShapeError
from projectome.metrics import contingency as module
from projectome.metrics.contingency import Contingency, contingency

SMALL = arrays(np.uint16, (3, 4, 5), elements=st.integers(0, 4))


def by_brute_force(truth, found, mask=None):
    """Each pair with its voxels and the first of them."""
    rows = {}
    inside = np.ones(truth.shape, bool) if mask is None else mask
    for place, (a, b, m) in enumerate(zip(truth.flat, found.flat, inside.flat, strict=True)):
        if m:
            count, first = rows.get((int(a), int(b)), (0, place))
            rows[int(a), int(b)] = count + 1, first
    return [(*pair, *rows[pair]) for pair in sorted(rows)]


def rows_of(table):
    return list(
        zip(
            table.truth.tolist(),
            table.found.tolist(),
            table.count.tolist(),
            table.place.tolist(),
            strict=True,
        )
    )


@given(SMALL, SMALL, arrays(np.bool_, (3, 4, 5)))
def test_counts_are_those_of_voxel_by_voxel(truth, found, mask):
    assert rows_of(contingency(truth, found)) == by_brute_force(truth, found)
    masked = contingency(truth, found, scored=mask)
    assert rows_of(masked) == by_brute_force(truth, found, mask)
    assert masked.voxels == mask.sum()


@given(SMALL, SMALL, st.tuples(*[st.integers(1, 5)] * 3), st.randoms())
def test_blocks_of_any_size_in_any_order_give_the_same(truth, found, shape, random):
    parts = []
    for block in BlockGrid(Box.from_shape(truth.shape), shape):
        index = block.core.slices
        own = contingency(truth[index], found[index])
        local = np.unravel_index(own.place, block.core.shape)
        where = [axis + start for axis, start in zip(local, block.core.start, strict=True)]
        place = np.ravel_multi_index(where, truth.shape)
        parts.append(Contingency(own.truth, own.found, own.count, place))
    random.shuffle(parts)
    assert rows_of(Contingency.add_up(parts)) == rows_of(contingency(truth, found))


def test_tables_are_added_up_before_all_are_there(monkeypatch):
    monkeypatch.setattr(module, "PENDING", 3)
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 9, (2, 40, 6, 6))
    parts = [contingency(a, b) for a, b in zip(truth, found, strict=True)]
    assert Contingency.add_up(parts).count.tolist() == contingency(truth, found).count.tolist()
    assert len(Contingency.add_up([])) == 0


def test_many_labels_and_large_ones():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2**63, 6000).astype(np.uint64) * 2 + 1
    table = contingency(truth, np.arange(6000)[::-1].copy())
    assert len(table) == 6000
    order = np.argsort(truth)
    assert np.array_equal(table.truth, truth[order])
    assert np.array_equal(table.found, (5999 - np.arange(6000))[order])
    assert np.array_equal(table.place, order)


@pytest.mark.parametrize("kinds", [(bool, "u1"), ("u1", "u8"), ("i4", "u2"), (">u4", "u4")])
def test_types_layouts_and_pieces_do_not_matter(monkeypatch, kinds):
    monkeypatch.setattr(module, "PIECE", 50)
    rng = np.random.default_rng(2)
    truth, found = rng.integers(0, 2, (2, 7, 6, 5))
    expected = by_brute_force(truth, found)
    typed = truth.astype(kinds[0]), found.astype(kinds[1])
    assert rows_of(contingency(*typed)) == expected
    turned = [np.asfortranarray(part) for part in typed]
    assert rows_of(contingency(*turned)) == expected


def test_labels_left_out():
    table = contingency([[1, 1, 2], [0, 2, 2]], [[5, 6, 5], [5, 0, 6]])
    assert rows_of(table.without(truth=(0,), found=(6,))) == [
        (1, 5, 1, 0),
        (2, 0, 1, 4),
        (2, 5, 1, 2),
    ]
    assert [part.tolist() for part in table.true_sizes()[:2]] == [[0, 1, 2], [1, 2, 3]]
    assert [part.tolist() for part in table.found_sizes()[:2]] == [[0, 5, 6], [1, 3, 2]]


def test_nothing_and_a_single_voxel():
    assert len(contingency(np.empty((0, 3), int), np.empty((0, 3), int))) == 0
    assert rows_of(contingency(np.uint8(3), np.uint8(4))) == [(3, 4, 1, 0)]


def test_wrong_labels_name_the_way_out():
    with pytest.raises(FormatError, match=r"truth holds float64.*whole numbers.*uint32"):
        contingency([1.0], [1])
    with pytest.raises(FormatError, match=r"prediction holds the label -3.*ignored"):
        contingency([1], [-3])
    with pytest.raises(ShapeError, match=r"not \(1,\) and \(2,\). Crop or resample"):
        contingency([1], [1, 2])
    with pytest.raises(ShapeError, match="mask needs the shape"):
        contingency([1], [2], scored=[1, 1])
    with pytest.raises(ShapeError, match="one length"):
        Contingency([1], [1, 2], [1], [1])
