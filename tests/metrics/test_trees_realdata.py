"""Published trees: the official figures of BigNeuron, and whole neurons against themselves."""

import csv
from itertools import groupby

import numpy as np
import pytest
from scipy.stats import spearmanr

from projectome.io.skeletons import read_skeletons
from projectome.metrics.compat.vaa3d import neuron_distance
from projectome.metrics.forests import forest_scores
from projectome.metrics.tree_distance import distance_scores
from projectome.metrics.tree_paths import path_scores
from projectome.metrics.trees import length_scores

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def pairs(real):
    """180 rows of the official table with gold and traced tree, in voxels."""
    folder = real / "bigneuron_parity"
    with (folder / "official_metrics.csv").open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["group"] != "Gold_Standard" and r["swc"]]
    found = []
    for image, of_image in groupby(rows, key=lambda row: row["ids"]):
        trees = read_skeletons(folder / image)
        gold = trees["gold"].skeleton
        found += [
            (row, gold, trees[row["swc"].split("/")[1].removesuffix(".swc")].skeleton)
            for row in of_image
        ]
    assert len(found) == 180
    return found


def ratios(pairs, name, mine):
    official = np.array([float(row[name]) for row, _, _ in pairs])
    return np.asarray(mine)[official > 0] / official[official > 0]


def test_distances_agree_with_the_official_table(pairs):
    scores = [distance_scores([gold], [traced]) for _, gold, traced in pairs]
    for name, mine in (
        ("esa", [s.esa_um for s in scores]),
        ("dsa", [s.dsa_um for s in scores]),
        ("pds", [s.pds for s in scores]),
    ):
        ratio = ratios(pairs, name, mine)
        assert abs(np.median(ratio) - 1) < 0.03, name
        assert np.median(np.abs(ratio - 1)) < 0.03, name


def test_the_rule_of_vaa3d_agrees_as_well_or_better(pairs):
    scores = [neuron_distance(gold, traced) for _, gold, traced in pairs]
    for name, key in (
        ("esa", "dist_allnodes"),
        ("dsa", "dist_apartnodes"),
        ("pds", "percent_apartnodes"),
        ("esa21", "dist_21_allnodes"),
    ):
        assert abs(np.median(ratios(pairs, name, [s[key] for s in scores])) - 1) < 0.015, name


def test_omitted_cable_is_what_recall_lacks(pairs):
    # Two ways to cut and match the same cable: by length alone, and with a tree for each piece.
    for _, gold, traced in pairs[::9]:
        total = forest_scores([gold], [traced], distance_um=2).total
        scores = length_scores([gold], [traced], distance_um=2)
        assert total.length_um == pytest.approx(scores.truth_um, rel=1e-12)
        assert 1 - total.omitted == pytest.approx(scores.recall, abs=1e-12)


def test_algorithms_rank_as_in_the_official_table(pairs):
    mine, official = {}, {}
    for row, gold, traced in pairs:
        mine.setdefault(row["algorithm"], []).append(distance_scores([gold], [traced]).pds)
        official.setdefault(row["algorithm"], []).append(float(row["pds"]))
    assert len(mine) == 9
    medians = [[np.median(each[name]) for name in mine] for each in (mine, official)]
    assert np.abs(np.subtract(*medians)).max() < 0.03
    assert spearmanr(*medians).statistic > 0.9


def test_ten_whole_neurons_against_themselves_and_against_nine(real):
    neurons = list(read_skeletons(real / "neurons_ccf/seu", scale=25).skeletons)
    total = forest_scores(neurons, neurons, distance_um=10).total
    assert (total.accuracy, total.splits, total.merges, total.runs) == (1, 0, 0, 10)
    assert total.normalised_erl == 1
    scores = forest_scores(neurons, neurons[:-1], distance_um=10)
    assert scores.neurons[-1].omitted > 0.9
    assert all(one.omitted == 0 for one in scores.neurons[:-1])
    assert path_scores(neurons, neurons, distance_um=10).f1 == 1
