"""The scores of other programs on 24 cases of our own, and each habit by the smallest case.

label_scores.json holds what skimage 0.26, the functions of cremi_python, funlib.evaluate 0.1 and
python-elf 0.9.2 gave for `case(0)` to `case(23)`.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error
from skimage.metrics import variation_of_information as of_skimage

from projectome.metrics.compat.labels import (
    PROGRAMS,
    cremi_scores,
    elf_scores,
    funlib_scores,
    skimage_scores,
)
from projectome.metrics.contingency import contingency
from projectome.metrics.labels import rand_error, variation_of_information

SCORES = json.loads(Path(__file__).with_name("label_scores.json").read_text())


def case(seed):
    """Cells with a shift, a merge, a split, holes and specks."""
    rng = np.random.default_rng(seed)
    shape = (6, 20, 22)
    cells = rng.integers(0, 9, (2, 5, 6)).astype(np.uint64)
    truth = cells.repeat(3, 0).repeat(4, 1).repeat(4, 2)[:, :, :22]
    found = np.roll(truth, rng.integers(0, 3, 3), (0, 1, 2)).copy()
    found[found == 1 + seed % 8] = 1 + (seed + 3) % 8
    found[(found == 1 + (seed + 1) % 8) & (np.arange(22) >= 9)] = 20
    found[rng.random(shape) < 0.03 * (seed % 5)] = 0
    found[rng.random(shape) < 0.02 * (seed % 3)] = 30
    truth[rng.random(shape) < 0.05 * (seed % 4)] = 0
    return truth, found


@pytest.mark.parametrize("program", PROGRAMS)
def test_scores_are_those_of_the_program(program):
    assert len(SCORES) >= 20
    for seed, expected in enumerate(SCORES):
        ours = PROGRAMS[program](contingency(*case(seed)))
        assert ours == pytest.approx(expected[program], abs=1e-6), f"case {seed}"


def test_skimage_itself_gives_what_is_written_here():
    for seed in range(4):
        truth, found = case(seed)
        split, merge = of_skimage(truth, found)
        error, precision, recall = adapted_rand_error(truth, found)
        names = ("voi_split", "voi_merge", "are", "precision", "recall")
        expected = dict(zip(names, (split, merge, error, precision, recall), strict=True))
        assert SCORES[seed]["skimage"] == pytest.approx(expected, abs=1e-6)


ONE, HALVES, HALF = np.ones(100, int), np.arange(100) // 50 + 1, np.arange(100) // 50


def test_skimage_calls_the_share_of_true_pairs_precision():
    table = contingency(ONE, HALVES)
    scores = skimage_scores(table)
    assert scores["recall"] == rand_error(table, convention="pairs").precision == 1
    assert scores["precision"] == pytest.approx(49 / 99)


def test_skimage_scores_the_background_in_one_of_its_two():
    table = contingency(HALF, np.where(HALF, 1, np.arange(100)))
    assert variation_of_information(table).total == 0
    assert skimage_scores(table)["voi_split"] > 1
    assert skimage_scores(table)["are"] == 0


def test_cremi_leaves_found_background_out_of_pairs():
    table = contingency(ONE, HALF)
    scores = cremi_scores(table)
    assert scores["precision"] == 1
    assert scores["recall"] == (50**2 + 50 / 100) / 100**2
    assert rand_error(table).recall == (50**2 + 50**2) / 100**2


def test_cremi_neuron_ids_takes_0_for_a_neuron():
    table = contingency(HALF, HALVES + 1)
    assert cremi_scores(table)["voi_merge"] == 0
    merged = contingency(HALF, ONE)
    assert cremi_scores(merged)["voi_merge"] == 0
    assert cremi_scores(merged, background=2**64 - 1)["voi_merge"] == 1


def test_funlib_shares_are_no_errors_and_undefined_for_one_object():
    scores = funlib_scores(contingency(ONE, HALVES))
    assert (scores["rand_split"], scores["rand_merge"]) == (0.5, 1)
    assert math.isnan(funlib_scores(contingency(ONE, ONE))["nid"])


def test_elf_scores_the_background_unless_told():
    table = contingency(HALF, HALF + 5)
    assert elf_scores(table)["vi_split"] == 0
    noise = contingency(HALF, np.where(HALF, 1, np.arange(100)))
    assert elf_scores(noise)["cremi_score"] == 0
    assert elf_scores(noise, ignored=())["cremi_score"] > 0
    assert elf_scores(contingency(ONE, 0 * ONE))["precision"] == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_scored_is_undefined_and_never_an_error(program):
    scores = PROGRAMS[program](contingency(0 * ONE, ONE))
    first = next(iter(scores.values())) if program != "skimage" else scores["are"]
    assert math.isnan(first)
