"""One defect at a time: every figure of trees moves by what it should, or not at all."""

import numpy as np
import pytest
from neurites import SPACE, moved, path, straight

from projectome.core.skeleton import Skeleton
from projectome.metrics.forests import false_branches, forest_scores
from projectome.metrics.tree_distance import distance_scores
from projectome.metrics.tree_nodes import node_scores
from projectome.metrics.tree_paths import branching_scores, path_scores
from projectome.metrics.trees import length_scores
from projectome.morphology.edit import resample

NEAR = 1.0


def fork(z=5.0, stop=100.0):
    """A trunk of 100 um along x, with a branch of 50 um along y from its middle."""
    points = [[z, 5, 0], [z, 5, 50], [z, 5, stop], [z, 55, 50]]
    return Skeleton(np.asarray(points, float), np.asarray([-1, 0, 1, 1]), SPACE)


ONE, TWO = fork(), fork(z=105.0)
TRUTH = [ONE, TWO]  # 300 um, 2 branchings, 6 ends, 4 walks of 100 um, nodes that weigh 8


def figures(traced):
    """Every figure of trees, by name."""
    length = length_scores(TRUTH, traced, distance_um=NEAR)
    total = forest_scores(TRUTH, traced, distance_um=NEAR).total
    nodes = node_scores(TRUTH, traced, distance_um=NEAR)
    paths = path_scores(TRUTH, traced, distance_um=NEAR)
    forks = branching_scores(TRUTH, traced, distance_um=NEAR)
    apart = distance_scores(TRUTH, traced, threshold_um=NEAR, step_um=0.25)
    return {
        "recall": length.recall,
        "precision": length.precision,
        "accuracy": total.accuracy,
        "omitted": total.omitted,
        "merged": total.merged,
        "split": total.split,
        "erl": total.erl_um,
        "splits": total.splits,
        "merges": total.merges,
        "gaps": total.gaps,
        "truncations": total.truncations,
        "branchings recall": nodes.bifurcations.recall,
        "branchings precision": nodes.bifurcations.precision,
        "ends recall": nodes.terminations.recall,
        "ends precision": nodes.terminations.precision,
        "walks recall": paths.recall,
        "walks precision": paths.precision,
        "weights recall": forks.recall,
        "weights precision": forks.precision,
        "esa": apart.esa_um,
        "pds": apart.pds,
        "false branches": len(false_branches(TRUTH, traced, distance_um=NEAR)),
    }


PERFECT = dict.fromkeys(figures(TRUTH), 0.0) | {
    name: 1.0 for name in figures(TRUTH) if name.endswith(("recall", "precision", "accuracy"))
} | {"erl": 150.0}  # fmt: skip

SEVERED = [straight(0, 100), path([5, 5, 50], [5, 55, 50]), TWO]
BRIDGED = [
    Skeleton(
        np.concatenate([ONE.coordinates, TWO.coordinates[[2, 1, 0, 3]]]),
        np.asarray([-1, 0, 1, 1, 2, 4, 5, 5]),
        SPACE,
    )
]
SPUR = Skeleton(
    np.concatenate([ONE.coordinates[:1], [[5, 5, 20]], ONE.coordinates[1:], [[10, 5, 20]]]),
    np.asarray([-1, 0, 1, 2, 2, 1]),
    SPACE,
)
CASES = {
    "nothing": (TRUTH, {}),
    "other nodes": ([resample(one, step_um=0.6) for one in TRUTH], {}),
    "another order": ([TWO, ONE], {}),
    "a stray node": ([ONE, TWO, path([5, 30, 30])], {}),
    # The branch is a tree of its own: no cable is missing, and its root is one end too many.
    "a split": (
        SEVERED,
        {
            "split": 50 / 300,
            "erl": (100**2 + 50**2 + 150**2) / 300,
            "splits": 1,
            "branchings recall": 1 / 2,
            "ends precision": 6 / 7,
            "walks recall": 351 / 400,
            "weights recall": 5 / 8,
        },
    ),
    # A bridge of 100 um between the ends: it is false, and the two ends are none.
    "a merge": (
        BRIDGED,
        {
            "precision": 302 / 400,
            "accuracy": 0,
            "merged": 1,
            "merges": 1,
            "erl": 0,
            "ends recall": 4 / 6,
            "walks precision": (100 + 2 * 101) / 700,
            "weights recall": 6 / 8,
            "weights precision": 4 / 8,  # no way leads from the one to the other in the truth
            "esa": 25 * 100 / 400 / 2,
            "pds": 98 / 400 / 2,
            "false branches": 1,
        },
    ),
    # The last 30 um of a trunk, less what lies within the distance of the cut.
    "an omission": (
        [fork(stop=70.0), TWO],
        {
            "recall": 271 / 300,
            "accuracy": 271 / 300,
            "omitted": 29 / 300,
            "truncations": 1,
            "erl": (121**2 + 150**2) / 300,
            "ends recall": 5 / 6,
            "ends precision": 5 / 6,
            "walks recall": 371 / 400,
            "weights recall": 7 / 8,
            "weights precision": 7 / 8,
            "esa": 30**2 / 2 / 300 / 2,
            "pds": 29 / 300 / 2,
        },
    ),
    "a small shift": ([moved(one, [0.8, 0, 0]) for one in TRUTH], {"esa": 0.8}),
    # A twig of 5 um is too short to be a false branch, and too long to be near.
    "a spur": (
        [SPUR, TWO],
        {
            "precision": 301 / 305,
            "branchings precision": 2 / 3,
            "ends precision": 6 / 7,
            "walks precision": 421 / 425,
            "weights precision": 8 / 12,
            "esa": 5**2 / 2 / 305 / 2,
            "pds": 4 / 305 / 2,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_defect_moves_the_right_figures_by_the_right_amount(name):
    traced, change = CASES[name]
    found, expected = figures(traced), PERFECT | change
    for figure, value in expected.items():
        near = 1.5 if figure == "erl" else 0.006
        assert found[figure] == pytest.approx(value, abs=near), figure


def test_a_large_shift_loses_everything():
    found = figures([moved(one, [1.3, 0, 0]) for one in TRUTH])
    lost = {name for name, value in PERFECT.items() if value == 1}
    assert {name for name in lost if found[name] != 0} == set()
    assert (found["omitted"], found["erl"], found["pds"]) == (1, 0, 1)
    assert found["truncations"] == 2
    assert found["esa"] == pytest.approx(1.3)
