import copy
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from projectome.core.affine import Affine
from projectome.core.forest import parents_first, spanning_parents
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ShapeError, SpaceMismatchError
from projectome.testing import strategies as draws

SPACE = Space("scan")


def same(a: Skeleton, b: Skeleton) -> None:
    assert a.space == b.space
    for name in ("coordinates", "parent", "radius", "kind"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            np.testing.assert_array_equal(first, second, err_msg=name)


def ends_of_edges(skeleton: Skeleton) -> list[list[float]]:
    """Return the places of each node and its parent, sorted: they do not depend on numbering."""
    parent = np.where(skeleton.parent < 0, np.arange(len(skeleton)), skeleton.parent)
    return sorted(np.hstack([skeleton.coordinates, skeleton.coordinates[parent]]).tolist())


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """Draw a skeleton, a permutation of its nodes and the parents in that order."""
    skeleton = draw(draws.skeletons())
    order = np.array(draw(st.permutations(range(len(skeleton)))), dtype=np.int64)
    place = np.argsort(order)
    parent = skeleton.parent[order]
    return skeleton, order, np.where(parent < 0, -1, place[parent])


@given(draws.skeletons())
def test_derived_values_by_their_definitions(skeleton):
    n, parent = len(skeleton), skeleton.parent
    assert (parent < np.arange(n)).all()
    assert skeleton.roots.tolist() == [i for i in range(n) if parent[i] < 0]
    assert skeleton.child_count.tolist() == [(parent == i).sum() for i in range(n)]
    assert len(skeleton.edges) == n - len(skeleton.roots)
    assert skeleton.degree.sum() == 2 * len(skeleton.edges)
    assert set(skeleton.ends) == {i for i in range(n) if skeleton.degree[i] <= 1}
    assert set(skeleton.branch_points) == {i for i in range(n) if skeleton.degree[i] >= 3}
    for node in range(n):
        distance, above = 0.0, node
        while parent[above] >= 0:
            step = skeleton.coordinates[above] - skeleton.coordinates[parent[above]]
            distance += float(np.linalg.norm(step))
            above = parent[above]
        assert skeleton.root_distance[node] == pytest.approx(distance)
        assert skeleton.roots[skeleton.tree[node]] == above


@given(draws.skeletons())
def test_segments_share_out_the_edges(skeleton):
    edges = [pair for run in skeleton.segments for pair in pairwise(run.tolist())]
    assert sorted(edges) == sorted(map(tuple, skeleton.edges.tolist()))
    total = sum(skeleton.lengths[run[:-1]].sum() for run in skeleton.segments)
    assert total == pytest.approx(skeleton.cable_length)
    for run in skeleton.segments:
        assert (skeleton.child_count[run[1:-1]] == 1).all()
        assert (skeleton.parent[run[1:-1]] >= 0).all()


@given(shuffled())
def test_nodes_in_any_order_give_the_same_tree(case):
    skeleton, order, parent = case
    take = {
        name: None if getattr(skeleton, name) is None else getattr(skeleton, name)[order]
        for name in ("radius", "kind")
    }
    found = Skeleton.from_parents(skeleton.coordinates[order], parent, skeleton.space, **take)
    assert found.cable_length == pytest.approx(skeleton.cable_length)
    assert sorted(found.lengths) == pytest.approx(sorted(skeleton.lengths))
    assert ends_of_edges(found) == ends_of_edges(skeleton)


@given(shuffled())
def test_parents_first_is_depth_first_and_stable(case):
    _, _, parent = case
    order = parents_first(parent)
    assert sorted(order) == list(range(len(parent)))
    if (parent < np.arange(len(parent))).all():
        assert order.tolist() == list(range(len(parent)))
        return
    expected: list[int] = []

    def visit(node: int) -> None:
        expected.append(node)
        for child in np.flatnonzero(parent == node):
            visit(int(child))

    for root in np.flatnonzero(parent < 0):
        visit(int(root))
    assert order.tolist() == expected


@given(draws.skeletons(smallest=1), st.data())
def test_edges_in_any_order_and_direction_give_the_same_forest(skeleton, data):
    edges = data.draw(st.permutations(skeleton.edges.tolist()))
    flips = data.draw(st.lists(st.booleans(), min_size=len(edges), max_size=len(edges)))
    turned = [e[::-1] if flip else e for e, flip in zip(edges, flips, strict=True)]
    found = Skeleton.from_edges(
        skeleton.coordinates, turned, skeleton.space, radius=skeleton.radius, roots=skeleton.roots
    )
    assert len(found) == len(skeleton)
    assert len(found.roots) == len(skeleton.roots)
    assert found.cable_length == pytest.approx(skeleton.cable_length)
    np.testing.assert_array_equal(
        np.sort(found.coordinates[found.roots], axis=0),
        np.sort(skeleton.coordinates[skeleton.roots], axis=0),
    )


@given(draws.skeletons(), st.data())
def test_a_forest_is_rooted_at_its_first_nodes(skeleton, data):
    """Edges given twice, either way round, and from a node to itself change nothing."""
    edges = [*skeleton.edges.tolist(), *skeleton.edges[:, ::-1].tolist()]
    edges += [[node, node] for node in range(0, len(skeleton), 3)]
    found = spanning_parents(skeleton.coordinates, data.draw(st.permutations(edges)))
    np.testing.assert_array_equal(found, skeleton.parent)


@given(st.integers(1, 15), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_loops_are_cut_at_their_longest_edge(nodes, edges, seed):
    """The total is that of scipy's minimum spanning tree, the trees its components."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(nodes, 3))
    pairs = rng.integers(0, nodes, (edges, 2))
    found = Skeleton.from_edges(positions, pairs, SPACE)
    a, b = np.sort(pairs, axis=1).T
    lengths = np.zeros((nodes, nodes))
    lengths[a, b] = np.linalg.norm(positions[a] - positions[b], axis=1)
    graph = coo_array(lengths)
    assert found.cable_length == pytest.approx(minimum_spanning_tree(graph).sum())
    assert len(found.roots) == connected_components(graph)[0]


def test_trees_are_rooted_where_asked():
    line = np.array([[0.0, 0, i] for i in range(4)])
    found = Skeleton.from_edges(line, [[0, 1], [1, 2]], SPACE, roots=[2])
    assert found.coordinates[found.roots, 2].tolist() == [2, 3]


@given(draws.skeletons(), st.data())
def test_taking_nodes_cuts_where_a_parent_is_dropped(skeleton, data):
    keep = np.array(
        data.draw(st.lists(*[st.booleans()], min_size=len(skeleton), max_size=len(skeleton))), bool
    )
    part = skeleton.take(keep)
    np.testing.assert_array_equal(part.coordinates, skeleton.coordinates[keep])
    both = keep & (skeleton.parent >= 0) & keep[skeleton.parent] if len(keep) else keep
    assert part.cable_length == pytest.approx(skeleton.lengths[both].sum())
    same(skeleton.take(np.ones(len(skeleton), bool)), skeleton)


@given(draws.skeletons())
def test_trees_taken_apart_and_put_together(skeleton):
    trees = skeleton.trees()
    assert all(len(tree.roots) == 1 for tree in trees)
    assert [len(t) for t in trees] == np.bincount(skeleton.tree).tolist()
    together = Skeleton.concatenate(trees, space=skeleton.space)
    order = np.argsort(skeleton.tree, kind="stable")
    np.testing.assert_array_equal(together.coordinates, skeleton.coordinates[order])
    assert together.cable_length == pytest.approx(skeleton.cable_length)
    for t, tree in enumerate(trees):
        same(tree, skeleton.take(skeleton.tree == t))


def test_concatenation_fills_what_is_unknown():
    known = Skeleton(np.zeros((1, 3)), np.array([-1]), SPACE, np.array([2.0]), np.array([3]))
    unknown = Skeleton(np.zeros((1, 3)), np.array([-1]), SPACE)
    both = Skeleton.concatenate([unknown, known], space=SPACE)
    np.testing.assert_array_equal(both.radius, [np.nan, 2])
    assert both.kind.tolist() == [0, 3]
    assert len(Skeleton.concatenate([], space=SPACE)) == 0
    with pytest.raises(SpaceMismatchError, match="cannot join"):
        Skeleton.concatenate([known], space=Space("other"))


@given(draws.skeletons(space=SPACE), draws.affines(source=SPACE, target=Space("ccf")))
def test_moving_to_another_space_forgets_radii(skeleton, affine):
    moved = skeleton.to(affine, Space("ccf"))
    np.testing.assert_array_equal(moved.coordinates, affine(skeleton.coordinates))
    np.testing.assert_array_equal(moved.parent, skeleton.parent)
    assert moved.radius is None
    with pytest.raises(SpaceMismatchError):
        skeleton.to(Affine.from_scale((1, 1, 1)), Space("ccf"))


@given(draws.skeletons())
def test_skeletons_are_pickled_with_their_derived_values(skeleton):
    _ = skeleton.tree
    same(copy.deepcopy(skeleton), skeleton)


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ([-1, 5], "does not exist"),
        ([1, 0], "a loop"),
        ([-1, 1], "a loop"),
        ([-1, -2], "does not exist"),
    ],
)
def test_what_is_no_forest_is_refused(parent, message):
    with pytest.raises(ShapeError, match=message):
        Skeleton.from_parents(np.zeros((2, 3)), parent, SPACE)


def test_arrays_have_to_fit():
    with pytest.raises(ShapeError, match="2 nodes need 2 parents"):
        Skeleton(np.zeros((2, 3)), np.array([-1]), SPACE)
    with pytest.raises(ShapeError, match="from_parents"):
        Skeleton(np.zeros((2, 3)), np.array([1, -1]), SPACE)
    with pytest.raises(ShapeError, match="finite"):
        Skeleton(np.full((1, 3), np.nan), np.array([-1]), SPACE)
    with pytest.raises(ShapeError, match="entries of radius"):
        Skeleton(np.zeros((2, 3)), np.array([-1, 0]), SPACE, np.zeros(3))
    with pytest.raises(ShapeError, match="mask"):
        Skeleton(np.zeros((2, 3)), np.array([-1, 0]), SPACE).take([True])
    with pytest.raises(ShapeError, match="nodes 0 to 1"):
        Skeleton.from_edges(np.zeros((2, 3)), [[0, 2]], SPACE)
    with pytest.raises(ShapeError, match="nodes 0 to 1"):
        Skeleton.from_edges(np.zeros((2, 3)), [[0, 1]], SPACE, roots=[-1])


def test_large_forests_take_no_time_a_tree():
    """A hundred times the trees must not take ten times the time."""
    rng = np.random.default_rng(0)

    def seconds(trees: int) -> float:
        parent = np.arange(100_000) - 1
        parent[:: 100_000 // trees] = -1
        skeleton = Skeleton(rng.normal(size=(100_000, 3)), parent, SPACE)
        start = time.perf_counter()
        assert len(skeleton.trees()) == trees
        return time.perf_counter() - start

    few = min(seconds(10) for _ in range(3))
    assert min(seconds(1000) for _ in range(3)) < 10 * few + 0.1
