import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import ShapeError
from projectome.metrics.classes import classification_scores

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), max_size=20)


@given(PAIRS)
def test_counts_are_those_of_the_items(pairs):
    scores = classification_scores([a for a, _ in pairs], [b for _, b in pairs])
    for i, true in enumerate(scores.names):
        for j, given_ in enumerate(scores.names):
            assert scores.confusion[i, j] == pairs.count((true, given_))
    assert scores.items == len(pairs)
    if pairs:
        assert scores.accuracy == sum(a == b for a, b in pairs) / len(pairs)


def test_figures_of_a_planted_case():
    truth = ["cell"] * 8 + ["artefact"] * 2
    found = ["cell"] * 6 + ["artefact"] * 2 + ["artefact", "cell"]
    scores = classification_scores(truth, found)
    assert scores.names == ("artefact", "cell")
    assert scores.confusion.tolist() == [[1, 1], [2, 6]]
    assert scores.accuracy == 0.7
    assert scores.balanced_accuracy == (0.5 + 0.75) / 2
    chance = 0.2 * 0.3 + 0.8 * 0.7
    assert scores.kappa == pytest.approx((0.7 - chance) / (1 - chance))
    assert scores.one("cell").precision == 6 / 7
    assert scores.one("artefact").recall == 1 / 2
    assert classification_scores(truth, truth).kappa == 1


def test_numbers_are_named_as_whole_numbers():
    scores = classification_scores(np.asarray([1.0, 2.0]), [1, 2])
    assert scores.names == ("1", "2")
    assert scores.accuracy == 1


def test_nothing_one_class_and_wrong_calls():
    empty = classification_scores([], [])
    assert math.isnan(empty.accuracy)
    assert math.isnan(empty.balanced_accuracy)
    assert math.isnan(empty.kappa)
    assert math.isnan(classification_scores(["a"], ["a"]).kappa)
    with pytest.raises(ShapeError, match="2 true and 1 found"):
        classification_scores(["a", "b"], ["a"])
    with pytest.raises(ShapeError, match="Item 1 of the prediction has no class"):
        classification_scores(["a", "b"], ["a", math.nan])
