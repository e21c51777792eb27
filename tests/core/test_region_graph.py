import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as scipy_components

from projectome.core.region_graph import RegionGraph, connected_components
from projectome.errors import ShapeError

PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), max_size=60))
)


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == value).tolist()) for value in np.unique(labels)}


@given(PAIRS, st.randoms(use_true_random=False))
def test_components_are_those_of_scipy_named_by_their_smallest_member(case, random):
    count, pairs = case
    found = connected_components(count, pairs)
    a, b = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(count, count))
    assert partition(found) == partition(scipy_components(graph, directed=False)[1])
    assert all(found[i] == np.flatnonzero(found == found[i]).min() for i in range(count))
    shuffled = [pair[::-1] if random.random() < 0.5 else pair for pair in pairs]
    random.shuffle(shuffled)
    np.testing.assert_array_equal(connected_components(count, shuffled), found)


def test_long_chains_in_a_bad_order():
    count = 100_000
    order = np.random.default_rng(0).permutation(count)
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    assert (connected_components(count, pairs) == 0).all()


def test_items_that_do_not_exist_are_refused():
    for wrong in ([[0, 3]], [[-1, 0]]):
        with pytest.raises(ShapeError, match="numbered from 0"):
            connected_components(3, wrong)


def graph() -> RegionGraph:
    """Fragments 2, 5, 9, 2**63 + 1; sure edges 9-5 and 5-huge, a doubtful one 2-5."""
    huge = 2**63 + 1
    return RegionGraph(
        np.array([2, 5, 9, huge], np.uint64),
        np.array([[9, 5], [2, 5], [huge, 5]], np.uint64),
        np.array([0.9, 0.3, 0.8], np.float32),
        {"area": np.array([3, 1, 2])},
    )


@pytest.mark.parametrize(
    ("threshold", "segments"),
    [
        (0.0, [2, 2, 2, 2]),
        (0.5, [2, 5, 5, 5]),
        (0.85, [2, 5, 5, 2**63 + 1]),
        (1, [2, 5, 9, 2**63 + 1]),
    ],
)
def test_segments_by_threshold(threshold, segments):
    assert graph().segments(threshold).tolist() == segments


def test_graphs_are_pickled():
    twin = copy.deepcopy(graph())
    assert twin.columns["area"].tolist() == [3, 1, 2]
    assert len(twin) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fragments": np.array([2, 2, 5, 9], np.uint64)}, "ascending"),
        ({"fragments": np.array([0, 2, 5, 9], np.uint64)}, "background"),
        ({"fragments": np.array([2, 5, 9], np.uint64)}, "not in the graph"),
        ({"score": np.zeros(2)}, "3 edges need 3 values of 'score'"),
        ({"columns": {"area": np.zeros(1)}}, "3 values of 'area'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    good = graph()
    fields = {name: getattr(good, name) for name in ("fragments", "edges", "score", "columns")}
    with pytest.raises(ShapeError, match=message):
        RegionGraph(**{**fields, **change})
