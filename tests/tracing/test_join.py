import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError
from projectome.testing.strategies import skeletons
from projectome.tracing.join import AUDIT_COLUMNS, apply_joins, propose_joins

SPACE = Space()
LIMITS = {"max_gap_um": 30.0, "max_angle_deg": 35.0}


def fragment(start, stop, step=2.0):
    """Straight path of nodes `step` apart."""
    start, stop = np.asarray(start, float), np.asarray(stop, float)
    count = int(np.linalg.norm(stop - start) / step) + 1
    points = np.linspace(start, stop, count)
    return Skeleton(points, np.arange(count) - 1, SPACE, np.full(count, 1.5, np.float32))


def forest(*parts):
    return Skeleton.concatenate([fragment(*p) for p in parts], space=SPACE)


def accepted_ends(joins):
    rows = joins[joins["accepted"]]
    ends = rows[[f"{e}_{a}_um" for e in "ab" for a in "zyx"]].to_numpy().reshape(-1, 2, 3)
    return {frozenset(map(tuple, pair)) for pair in ends.tolist()}


LEFT = ((0, 0, 0), (0, 0, 60))
RIGHT = ((0, 0, 80), (0, 0, 140))
MEET = {frozenset({(0.0, 0.0, 60.0), (0.0, 0.0, 80.0)})}


class TestProposals:
    def test_tips_in_line_are_joined(self):
        joins = propose_joins(forest(LEFT, RIGHT), **LIMITS)
        (row,) = joins.itertuples()
        assert accepted_ends(joins) == MEET
        assert row.gap_um == 20
        assert row.angle_deg == pytest.approx(0, abs=1e-6)
        assert (row.z_um, row.y_um, row.x_um) == (0, 0, 70)
        assert row.score == pytest.approx(np.exp(-((2 * 20 / 30) ** 2) / 2))
        assert row.probability == pytest.approx(row.score)

    def test_perpendicular_tips_are_not(self):
        joins = propose_joins(forest(LEFT, ((0, 0, 70), (0, 60, 70))), **LIMITS)
        assert len(joins) == 0
        assert list(joins.columns) == list(AUDIT_COLUMNS)

    def test_side_by_side_is_not_in_line(self):
        assert len(propose_joins(forest(LEFT, ((0, 5, 0), (0, 5, 60))), **LIMITS)) == 0

    def test_too_far_apart(self):
        assert len(propose_joins(forest(LEFT, ((0, 0, 91), (0, 0, 140))), **LIMITS)) == 0

    def test_the_straight_one_wins_over_a_nearer_one(self):
        near = ((0, 6, 70), (0, 60, 130))
        joins = propose_joins(forest(LEFT, RIGHT, near), **LIMITS)
        assert accepted_ends(joins) == MEET
        rival = joins[~joins["accepted"]].iloc[0]
        assert rival["gap_um"] < 20
        best = joins.iloc[0]
        assert best["probability"] == pytest.approx(
            best["score"] ** 2 / (best["score"] + rival["score"])
        )

    def test_each_tip_is_used_once(self):
        joins = propose_joins(forest(LEFT, RIGHT, ((0, 3, 80), (0, 3, 140))), **LIMITS)
        assert len(joins) == 2
        assert accepted_ends(joins) == MEET

    def test_a_step_aside_of_a_voxel_is_no_bend(self):
        joins = propose_joins(forest(LEFT, ((4, 0, 64), (4, 0, 120))), **LIMITS)
        assert joins["accepted"].tolist() == [True]
        assert joins["angle_deg"].iloc[0] < 15

    def test_a_crooked_last_step_does_not_turn_the_tip(self):
        hook = Skeleton.from_edges(
            [*fragment(*LEFT).coordinates, (0, 3, 60)],
            [(i, i + 1) for i in range(31)],
            SPACE,
        )
        both = Skeleton.concatenate([hook, fragment(*RIGHT)], space=SPACE)
        assert propose_joins(both, **LIMITS)["accepted"].tolist() == [True]

    def test_no_loop_between_two_fragments(self):
        arcs = [np.linspace(0.1, np.pi - 0.1, 40), np.linspace(np.pi + 0.1, 2 * np.pi - 0.1, 40)]
        parts = [
            Skeleton(
                np.column_stack([0 * a, 80 * np.sin(a), 80 * np.cos(a)]), np.arange(40) - 1, SPACE
            )
            for a in arcs
        ]
        joins = propose_joins(Skeleton.concatenate(parts, space=SPACE), **LIMITS)
        assert len(joins) == 2, "both ends of the arcs face each other"
        assert joins["accepted"].sum() == 1

    def test_one_tree_is_never_closed_to_a_ring(self):
        angle = np.linspace(0.1, 2 * np.pi - 0.1, 80)
        ring = np.column_stack([0 * angle, 80 * np.sin(angle), 80 * np.cos(angle)])
        assert len(propose_joins(Skeleton(ring, np.arange(80) - 1, SPACE), **LIMITS)) == 0

    def test_single_nodes_have_no_direction(self):
        point = Skeleton([(0.0, 0, 70)], [-1], SPACE)
        both = Skeleton.concatenate([fragment(*LEFT), point], space=SPACE)
        assert len(propose_joins(both, **LIMITS)) == 0

    def test_evidence(self):
        seen = []

        def dark_in_the_middle(points):
            seen.append(points)
            return np.where(np.abs(points[:, 2] - 70) < 4, 0.0, 2.0)

        joins = propose_joins(forest(LEFT, RIGHT), **LIMITS, evidence=dark_in_the_middle)
        row = joins.iloc[0]
        np.testing.assert_allclose(seen[0][:, 2], np.linspace(60, 80, 9))
        assert row["evidence"] == pytest.approx(6 / 9)
        assert row["score"] == pytest.approx(np.exp(-((4 / 3) ** 2 + (2 / 3) ** 2) / 2))
        dark = propose_joins(
            forest(LEFT, RIGHT), **LIMITS, evidence=lambda p: 0 * p[:, 0], min_score=0.1
        )
        assert dark["accepted"].tolist() == [False]
        assert dark["evidence"].tolist() == [0]

    def test_wrong_evidence(self):
        for wrong in (lambda p: p, lambda p: np.full(len(p), np.nan)):
            with pytest.raises(ParameterError, match="one finite number a point: 9 of them"):
                propose_joins(forest(LEFT, RIGHT), **LIMITS, evidence=wrong)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("max_gap_um", 0.0, "max_gap_um is a positive number of micrometres, not 0.0"),
            ("direction_um", np.inf, "direction_um is a positive number"),
            ("max_angle_deg", 181, "max_angle_deg lies above 0, up to 180; not 181"),
        ],
    )
    def test_wrong_parameters(self, name, value, message):
        with pytest.raises(ParameterError, match=message):
            propose_joins(forest(LEFT), **{**LIMITS, name: value})

    @given(skeletons(space=SPACE, largest=40, trees=9), st.randoms(use_true_random=False))
    def test_laws(self, skeleton, random):
        """Tips used once, no loops, and the same joins however nodes and trees are ordered."""
        scale = 50 / max(1, np.abs(skeleton.coordinates).max(initial=1))
        skeleton = Skeleton(skeleton.coordinates * scale, skeleton.parent, SPACE)
        options = {"max_gap_um": 60.0, "max_angle_deg": 120.0}
        joins = propose_joins(skeleton, **options)
        made = joins[joins["accepted"]]
        assert not pd.concat([made["a"], made["b"]]).duplicated().any()
        assert len(apply_joins(skeleton, joins).roots) == len(skeleton.roots) - len(made)
        assert (np.diff(joins["score"]) <= 0).all()
        assert joins["score"].between(0, 1).all()
        assert (joins["probability"] <= joins["score"]).all()
        trees = skeleton.trees()
        random.shuffle(trees)
        again = propose_joins(Skeleton.concatenate(trees, space=SPACE), **options)
        if len(np.unique(skeleton.coordinates, axis=0)) == len(skeleton):
            stay = [c for c in AUDIT_COLUMNS if c not in "ab"]
            first = joins[stay].sort_values("id", ignore_index=True)
            second = again[stay].sort_values("id", ignore_index=True)
            pd.testing.assert_frame_equal(first, second, rtol=1e-6, atol=1e-9)


class TestApplying:
    def test_joined(self):
        skeleton = forest(LEFT, RIGHT)
        joined = apply_joins(skeleton, propose_joins(skeleton, **LIMITS))
        assert len(joined.roots) == 1
        assert len(joined) == len(skeleton)
        assert joined.cable_length == pytest.approx(140)
        assert sorted(joined.coordinates[joined.ends, 2]) == [0, 140]
        assert (joined.radius == 1.5).all()

    def test_a_chain_of_fragments(self):
        pieces = [((0, 0, x), (0, 0, x + 40)) for x in (0, 50, 100, 150)]
        skeleton = forest(*(p if i % 2 else p[::-1] for i, p in enumerate(pieces)))
        joined = apply_joins(skeleton, propose_joins(skeleton, **LIMITS))
        assert len(joined.roots) == 1
        assert joined.cable_length == pytest.approx(190)

    def test_turned_down_joins_and_other_rows_change_nothing(self):
        skeleton = forest(LEFT, RIGHT)
        joins = propose_joins(skeleton, **LIMITS)
        for none in (joins.assign(accepted=False), joins.assign(kind="cut"), joins.iloc[:0]):
            kept = apply_joins(skeleton, none)
            np.testing.assert_array_equal(kept.parent, skeleton.parent)

    def test_a_table_that_was_stored(self):
        skeleton = forest(LEFT, RIGHT)
        joins = propose_joins(skeleton, **LIMITS)
        stored = io.BytesIO()
        joins.to_parquet(stored)
        stored.seek(0)
        again = pd.read_parquet(stored)
        pd.testing.assert_frame_equal(again, joins, check_dtype=False)
        assert len(apply_joins(skeleton, again).roots) == 1

    @pytest.mark.parametrize("other", [forest(RIGHT, LEFT, ((9, 9, 9), (9, 9, 30))), forest(LEFT)])
    def test_joins_of_another_skeleton(self, other):
        joins = propose_joins(forest(LEFT, RIGHT), **LIMITS)
        with pytest.raises(
            ParameterError, match=r"not lie on nodes of this skeleton\. Apply joins"
        ):
            apply_joins(other, joins)

    def test_a_loop(self):
        skeleton = forest(LEFT, RIGHT)
        joins = propose_joins(skeleton, **LIMITS)
        with pytest.raises(ParameterError, match=r"closes a loop with others\. Accept fewer"):
            apply_joins(skeleton, pd.concat([joins, joins]))


def test_ids_come_from_places():
    """They do not depend on the other fragments, so that a decision can be kept."""
    alone = propose_joins(forest(LEFT, RIGHT), **LIMITS)["id"]
    more = propose_joins(forest(((50, 0, 0), (50, 0, 9)), RIGHT, LEFT), **LIMITS)["id"]
    assert alone.tolist() == more.tolist()
    assert alone.str.fullmatch("[0-9a-f]{16}").all()
