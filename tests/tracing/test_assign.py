from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from projectome.core.points import Points
from projectome.core.skeleton import AXON, SOMA, Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError, UnknownNameError
from projectome.testing.strategies import coordinates, skeletons
from projectome.tracing.assign import assign_somata
from projectome.tracing.join import AUDIT_COLUMNS

SPACE = Space()


def line(*corners, step=2.0):
    points = [np.asarray(corners[0], float)]
    for a, b in pairwise(corners):
        count = int(np.linalg.norm(np.subtract(b, a)) / step)
        points.extend(np.linspace(a, b, count + 1)[1:])
    n = len(points)
    return Skeleton(np.array(points), np.arange(n) - 1, SPACE, np.ones(n, np.float32))


def forest(*parts):
    return Skeleton.concatenate(parts, space=SPACE)


def somata(*centres, radius=8.0, **columns):
    radii = np.broadcast_to(np.asarray(radius, float), len(centres))
    return Points(np.array(centres, float).reshape(-1, 3), SPACE, {"radius_um": radii, **columns})


class TestAssignment:
    def test_a_fragment_that_ends_at_a_soma(self):
        fragment = line((0, 0, 10), (0, 0, 100))
        (neuron,), audit = assign_somata(fragment, somata((0, 0, 0), id=np.array([7])), margin_um=4)
        tree = neuron.skeleton
        assert (neuron.id, neuron.soma_id) == (1, 7)
        assert tree.roots.tolist() == [0]
        assert tree.coordinates[0].tolist() == [0, 0, 0]
        assert tree.kind[0] == SOMA
        assert tree.radius[0] == 8
        assert (tree.kind[1:] == 0).all()
        assert tree.cable_length == pytest.approx(100)
        assert audit["kind"].tolist() == ["soma"]
        # Of the nodes at 10, 12, 14 um the first lies in the margin.
        assert audit[["a", "gap_um", "a_x_um", "b_x_um"]].iloc[0].tolist() == [7, 12, 12, 0]
        assert list(audit.columns) == list(AUDIT_COLUMNS)

    def test_several_fragments_make_one_neuron(self):
        parts = [
            line((0, 0, 9), (0, 0, 90)),
            line((0, 80, 0), (0, 10, 0)),
            line((-9, 0, 0), (-50, 0, 0)),
        ]
        (neuron,), audit = assign_somata(forest(*parts), somata((0, 0, 0)), margin_um=4)
        assert neuron.skeleton.child_count[0] == 3
        assert neuron.skeleton.cable_length == pytest.approx(90 + 80 + 50)
        assert len(neuron.skeleton.roots) == 1
        assert len(audit) == 3

    def test_short_pieces_on_a_soma_are_its_rim(self):
        parts = [
            line((0, 0, 9), (0, 0, 90)),
            line((0, 9, 0), (0, 19, 0)),
            line((9, 90, 0), (9, 99, 0)),
        ]
        neurons, audit = assign_somata(
            forest(*parts), somata((0, 0, 0)), margin_um=4, min_stem_um=10
        )
        assert neurons[0].skeleton.child_count[0] == 1
        assert [n.soma_id for n in neurons] == [0, -1]  # what touches no soma stays
        assert audit["kind"].tolist() == ["soma"]

    def test_what_lies_inside_the_soma_becomes_one_node(self):
        through = line((0, 0, -60), (0, 0, 60))
        (neuron,), _ = assign_somata(through, somata((0, 1, 0)), margin_um=2)
        tree = neuron.skeleton
        assert tree.child_count[0] == 2
        away = np.linalg.norm(tree.coordinates[1:] - (0, 1, 0), axis=1)
        assert away.min() >= 8
        assert tree.cable_length == pytest.approx(120, abs=0.5)

    def test_a_fragment_out_of_reach_stays_one(self):
        near, far = line((0, 0, 10), (0, 0, 50)), line((0, 0, 13), (0, 40, 13))
        kinds = Skeleton(far.coordinates, far.parent, SPACE, far.radius, np.full(len(far), AXON))
        neurons, _ = assign_somata(forest(near, kinds), somata((0, 0, 0)), margin_um=4)
        assert [(n.id, n.soma_id) for n in neurons] == [(1, 0), (2, -1)]
        np.testing.assert_array_equal(neurons[1].skeleton.coordinates, far.coordinates)
        np.testing.assert_array_equal(neurons[1].skeleton.parent, far.parent)
        assert (neurons[1].skeleton.kind == AXON).all()

    def test_a_fragment_between_two_somata_is_cut_in_the_middle(self):
        bridge = line((0, 0, 0), (0, 0, 100))
        neurons, audit = assign_somata(
            bridge, somata((0, 0, 0), (0, 0, 100), id=np.array([5, 2])), margin_um=4
        )
        assert [(n.id, n.soma_id) for n in neurons] == [(1, 2), (2, 5)]
        cut = audit[audit["kind"] == "cut"].iloc[0]
        assert abs(cut["x_um"] - 50) <= 2
        assert cut["gap_um"] == pytest.approx(2)
        assert {cut["a"], cut["b"]} == {2, 5}
        assert cut["accepted"]
        total = sum(n.skeleton.cable_length for n in neurons)
        assert total == pytest.approx(100 - cut["gap_um"])

    def test_distance_counts_along_the_tree(self):
        """A hairpin passes close by the other soma's side without belonging to it."""
        hairpin = line((0, 0, 0), (0, 0, 200), (0, 30, 200), (0, 30, 20))
        neurons, audit = assign_somata(hairpin, somata((0, 0, 0), (0, 30, 12)), margin_um=4)
        cut = audit[audit["kind"] == "cut"].iloc[0]
        assert cut["x_um"] > 190
        assert len(neurons) == 2

    def test_three_somata_on_one_tree(self):
        star = Skeleton.from_edges(
            np.concatenate(
                [line((0, 0, 0), tip).coordinates for tip in ((0, 0, 60), (0, 60, 0), (60, 0, 0))]
            ),
            [e for k in range(3) for e in [(31 * k + i, 31 * k + i + 1) for i in range(30)]]
            + [(0, 31), (0, 62)],
            SPACE,
        )
        neurons, audit = assign_somata(
            star, somata((0, 0, 60), (0, 60, 0), (60, 0, 0), radius=3), margin_um=2
        )
        assert [n.soma_id for n in neurons] == [0, 1, 2]
        assert (audit["kind"] == "cut").sum() == 2
        assert all(len(n.skeleton.roots) == 1 for n in neurons)

    def test_a_soma_with_nothing_makes_no_neuron(self):
        neurons, audit = assign_somata(
            line((0, 0, 10), (0, 0, 50)), somata((0, 0, 0), (500, 0, 0)), margin_um=4
        )
        assert [n.soma_id for n in neurons] == [0]
        assert len(audit) == 1

    def test_a_fragment_inside_a_soma_leaves_the_soma(self):
        (neuron,), audit = assign_somata(
            line((0, 0, -3), (0, 0, 3)), somata((0, 0, 0)), margin_um=4
        )
        assert len(neuron.skeleton) == 1
        assert neuron.skeleton.kind.tolist() == [SOMA]
        assert len(audit) == 0

    def test_nothing(self):
        empty = Skeleton.concatenate([], space=SPACE)
        assert assign_somata(empty, somata((0, 0, 0)), margin_um=4)[0] == []
        neurons, audit = assign_somata(line((0, 0, 0), (0, 0, 9)), somata(), margin_um=4)
        assert [n.soma_id for n in neurons] == [-1]
        assert audit.empty

    def test_fragments_are_numbered_by_place(self):
        parts = [
            line((30, 0, 0), (30, 0, 9)),
            line((10, 5, 0), (10, 0, 0)),
            line((20, 0, 0), (20, 9, 0)),
        ]
        neurons, _ = assign_somata(forest(*parts), somata(), margin_um=1)
        assert [n.id for n in neurons] == [1, 2, 3]
        assert [n.skeleton.coordinates[0, 0] for n in neurons] == [10, 20, 30]


class TestRefusals:
    def test_another_space(self):
        there = Points([(0, 0, 0)], Space("atlas"), {"radius_um": np.ones(1)})
        with pytest.raises(SpaceMismatchError, match="Carry one of them into the space"):
            assign_somata(line((0, 0, 0), (0, 0, 9)), there, margin_um=1)

    def test_no_radii(self):
        with pytest.raises(UnknownNameError, match="radius_um"):
            assign_somata(line((0, 0, 0), (0, 0, 9)), Points([(0, 0, 0)], SPACE), margin_um=1)

    @pytest.mark.parametrize(
        ("points", "margin", "message"),
        [
            (somata((0, 0, 0), radius=-2), 1, "The soma 0 has a radius of -2.0 um"),
            (somata((0, 0, 0), radius=np.nan), 1, "radius of nan um; radii are 0 or more"),
            (somata((0, 0, 0), (1, 1, 1), id=np.array([3, 3])), 1, "number them anew"),
            (somata((0, 0, 0), id=np.array([-1])), 1, "different numbers from 0 on"),
            (somata((0, 0, 0)), -1, "margin_um of a skeleton .* not -1"),
        ],
    )
    def test_wrong_values(self, points, margin, message):
        with pytest.raises(ParameterError, match=message):
            assign_somata(line((0, 0, 0), (0, 0, 9)), points, margin_um=margin)


@st.composite
def scenes(draw):
    skeleton = draw(skeletons(space=SPACE, largest=30, trees=4))
    # Places are compared, so that no two may be the same.
    spread = np.arange(len(skeleton))[:, None] * (0.37, 0.11, 0.53)
    places = skeleton.coordinates / 4000 + spread
    count = draw(st.integers(0, 4))
    centres = draw(coordinates(count, reach=30)) + np.arange(count)[:, None] * 0.71
    skeleton = Skeleton(places, skeleton.parent, SPACE, skeleton.radius)
    return skeleton, somata(*centres, radius=4.0), draw(st.floats(0, 8))


class TestLaws:
    @given(scenes())
    def test_every_node_outside_a_soma_is_in_one_neuron(self, scene):
        skeleton, points, margin = scene
        neurons, _ = assign_somata(skeleton, points, margin_um=margin)
        assert [n.id for n in neurons] == list(range(1, len(neurons) + 1))
        held = [n.skeleton.coordinates[n.skeleton.kind != SOMA] for n in neurons]
        held = np.concatenate([np.empty((0, 3)), *held])
        assert len(np.unique(held, axis=0)) == len(held)
        lost = len(skeleton) - len(held)
        gap = np.linalg.norm(skeleton.coordinates[:, None] - points.coordinates, axis=2)
        assert lost <= (gap < 4 + margin).any(axis=1).sum()
        for neuron in neurons:
            tree = neuron.skeleton
            assert len(tree.roots) == 1
            assert (tree.kind == SOMA).sum() == (neuron.soma_id >= 0)
            if neuron.soma_id >= 0:
                np.testing.assert_array_equal(
                    tree.coordinates[0], points.coordinates[neuron.soma_id]
                )

    @given(scenes())
    def test_each_node_goes_to_the_soma_nearest_along_the_tree(self, scene):
        skeleton, points, margin = scene
        neurons, _ = assign_somata(skeleton, points, margin_um=margin)
        n = len(skeleton)
        a, b = skeleton.edges.T
        steps = coo_array((skeleton.lengths[a] + 1e-300, (a, b)), shape=(n, n))
        path = dijkstra(steps, directed=False) if n else np.empty((0, 0))
        gap = np.linalg.norm(skeleton.coordinates[:, None] - points.coordinates, axis=2)
        touching = (
            np.where((gap <= 4 + margin).any(axis=1), gap.argmin(axis=1), -1)
            if len(points)
            else np.full(n, -1)
        )
        places = list(map(tuple, skeleton.coordinates.tolist()))
        for neuron in neurons:
            tree = neuron.skeleton
            for place in map(tuple, tree.coordinates[tree.kind != SOMA].tolist()):
                node = places.index(place)
                reach = {
                    s: path[node, touching == s].min(initial=np.inf) for s in range(len(points))
                }
                best = min(reach.values(), default=np.inf)
                if neuron.soma_id < 0:
                    assert best == np.inf
                else:
                    assert reach[neuron.soma_id] == pytest.approx(best)

    @given(scenes(), st.randoms(use_true_random=False))
    def test_order_does_not_matter(self, scene, random):
        skeleton, points, margin = scene
        first, audit = assign_somata(skeleton, points, margin_um=margin)
        trees = skeleton.trees()
        random.shuffle(trees)
        turned = Points(
            points.coordinates[::-1],
            SPACE,
            {"radius_um": points["radius_um"][::-1], "id": np.arange(len(points))[::-1]},
        )
        again, other = assign_somata(forest(*trees), turned, margin_um=margin)
        assert [(n.id, n.soma_id) for n in first] == [(n.id, n.soma_id) for n in again]
        for one, two in zip(first, again, strict=True):
            places = [np.unique(n.skeleton.coordinates, axis=0) for n in (one, two)]
            np.testing.assert_array_equal(*places)
            assert one.skeleton.cable_length == pytest.approx(two.skeleton.cable_length)
        columns = ["id", "kind", "gap_um"]
        pd.testing.assert_frame_equal(
            *(t[columns].sort_values("id", ignore_index=True) for t in (audit, other))
        )
