"""The questions. A new one is an entry here, and a function in `contest.scoring`."""

from __future__ import annotations

from contest.entries import Figure, Task
from contest.scoring import (
    score_agglomeration,
    score_paths,
    score_ridges,
    score_skeletons,
    score_somata,
    score_trees,
)

LENGTHS = (Figure("F1"), Figure("recall"), Figure("precision"))
FOREST = {
    "nodes": "(N, 3), z, y, x [um]",
    "edges": "(E, 2), indices of nodes; what closes a circle is left out",
}

TASKS = (
    Task(
        "ridges",
        "Where are neurites?",
        "An image in, a number for each voxel out that is higher where a neurite is more likely.",
        {"image": "(Z, Y, X) uint16"},
        {"score": "(Z, Y, X)"},
        (Figure("AP"), Figure("F1"), Figure("clDice")),
        score_ridges,
        (
            "AP is the average precision over all thresholds, F1 and clDice are those of the "
            "threshold with the largest F1, chosen on the truth for each method alike. Voxels "
            "count one by one: what is found a voxel too wide is false.",
            "All filters look at the same scales, 1 and 1.5 voxels.",
        ),
    ),
    Task(
        "somata",
        "Where are somata?",
        "An image in, points out.",
        {"image": "(Z, Y, X) uint16"},
        {"points": "(N, 3), z, y, x [um]"},
        (Figure("F1"), Figure("precision"), Figure("recall"), Figure("error [um]", False, 2)),
        score_somata,
        ("Points match one to one within 10 um.",),
    ),
    Task(
        "skeletons",
        "Skeletons of labels",
        "True labels in, centre lines out.",
        {"labels": "(Z, Y, X) uint32"},
        FOREST,
        (
            *LENGTHS,
            Figure("branchings F1"),
            Figure("ends F1"),
            Figure("length", None),
        ),
        score_skeletons,
        (
            "Cable is found within one voxel of the true one, branchings and ends within four. "
            "Length is that of all cable over the true one: 1 is right.",
        ),
    ),
    Task(
        "paths",
        "Cheapest paths",
        "Costs of voxels and pairs of voxels in, a path for each pair out.",
        {"costs": "(Z, Y, X) float32, cost of a micrometre", "pairs": "(P, 2, 3) voxels"},
        {"voxels": "(N, 3), all paths one after the other", "counts": "(P,) voxels of each path"},
        (Figure("cost", False, 4), Figure("on the neurite")),
        score_paths,
        (
            "Cost is relative to the cheapest path (1 is best), a step costing the mean of its two "
            "voxels times its length. On the neurite is its share within 2 um of the neurite; the "
            "cheapest path is not always the neurite, which winds, breaks off and meets others.",
        ),
    ),
    Task(
        "trees",
        "From an image to neurons",
        "An image in, traced trees out.",
        {"image": "(Z, Y, X) uint16"},
        FOREST,
        (
            *LENGTHS,
            Figure("ERL"),
            Figure("splits", False, 0),
            Figure("merges", False, 0),
        ),
        score_trees,
        (
            "Cable is found within two voxels. ERL is the expected run length over that of a "
            "perfect trace: omitted and merged cable count as nothing. Who finds little has few "
            "splits and merges.",
        ),
    ),
    Task(
        "agglomeration",
        "From affinities to labels",
        "Affinities to six neighbours in, labels out.",
        {"affinities": "(6, Z, Y, X) float32; offsets in the facts"},
        {"labels": "(Z, Y, X)"},
        (
            Figure("ARAND", False),
            Figure("VOI split", False),
            Figure("VOI merge", False),
            Figure("objects F1"),
        ),
        score_agglomeration,
        ("projectome has no method for this yet; others are listed for comparison.",),
    ),
)
