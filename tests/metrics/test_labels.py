"""Definitions, planted defects, and skimage as an independent oracle."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error
from skimage.metrics import variation_of_information as of_skimage

from projectome.errors import ParameterError
from projectome.metrics.contingency import contingency
from projectome.metrics.labels import (
    cremi_score,
    instance_scores,
    label_errors,
    rand_error,
    variation_of_information,
)

SMALL = arrays(np.uint8, (4, 4, 4), elements=st.integers(0, 4))


def neurons():
    """Eight rods of 4 x 4 x 16 voxels, labels 1 to 8, with background between them."""
    labels = np.zeros((16, 24, 20), np.uint32)
    for k in range(8):
        z, y = divmod(k, 4)
        labels[8 * z + 2 : 8 * z + 6, 6 * y + 1 : 6 * y + 5, 2:18] = k + 1
    return labels


def all_scores(truth, found):
    table = contingency(truth, found)
    information = variation_of_information(table)
    instances = instance_scores(table, thresholds=[0.5])[0]
    return {
        "split": information.split,
        "merge": information.merge,
        "squares": rand_error(table).error,
        "pairs": rand_error(table, convention="pairs").error,
        "cremi": cremi_score(table),
        "f1": instances.f1,
        "pq": instances.panoptic_quality,
    }


PERFECT = dict.fromkeys(("split", "merge", "squares", "pairs", "cremi"), 0.0) | {"f1": 1, "pq": 1}


def test_perfect_is_perfect_to_the_last_bit():
    truth = neurons()
    assert all_scores(truth, truth) == PERFECT
    assert len(label_errors(contingency(truth, truth))) == 0


@given(SMALL, SMALL, st.permutations(range(1, 6)), st.permutations(range(1, 6)))
def test_names_of_labels_do_not_matter(truth, found, names, others):
    renamed = np.asarray([0, *names])[truth], np.asarray([0, *others])[found] * 2**40
    before, after = all_scores(truth, found), all_scores(*renamed)
    assert {k: v for k, v in before.items() if k != "pq"} == pytest.approx(
        {k: v for k, v in after.items() if k != "pq"}, nan_ok=True, abs=0
    )


@given(SMALL, SMALL)
def test_entropies_and_pairs_are_those_of_skimage(truth, found):
    table = contingency(truth, found)
    if not (truth > 0).any():
        assert math.isnan(variation_of_information(table).total)
        return
    split, merge = of_skimage(truth, found, ignore_labels=[0])
    information = variation_of_information(table)
    assert (information.split, information.merge) == pytest.approx((split, merge), abs=1e-12)
    whole = variation_of_information(table, ignored=())
    assert whole.total == pytest.approx(sum(of_skimage(truth, found)), abs=1e-12)
    ours = rand_error(table, convention="pairs")
    if not any(math.isnan(v) for v in (ours.error, ours.precision, ours.recall)):
        # What skimage calls precision is the share of the true pairs.
        error, recall, precision = adapted_rand_error(truth, found)
        assert (ours.error, ours.precision, ours.recall) == pytest.approx(
            (error, precision, recall), abs=1e-12
        )


@given(SMALL, SMALL)
def test_squares_are_pairs_of_voxels_with_themselves(truth, found):
    inside = truth > 0
    a, b = truth[inside], found[inside]
    same_a, same_b = a[:, None] == a, b[:, None] == b
    both, true, other = (same_a & same_b).sum(), same_a.sum(), same_b.sum()
    scores = rand_error(contingency(truth, found))
    if inside.any():
        assert scores.error == pytest.approx(1 - 2 * both / (true + other))
        assert scores.precision == pytest.approx(both / other)
        assert scores.recall == pytest.approx(both / true)
    else:
        assert math.isnan(scores.error)


# One planted defect moves exactly the right figure by the predicted amount.


def test_a_neuron_split_in_two_halves():
    truth, found = neurons(), neurons()
    found[(truth == 3) & (np.arange(20) >= 10)] = 99
    scores = all_scores(truth, found)
    assert scores["split"] == pytest.approx(1 / 8)  # one bit for one of eight equal neurons
    assert scores["merge"] == 0
    # 8 squares of true pairs, of which half of one is lost on the side of the prediction too.
    assert scores["squares"] == pytest.approx(1 - 2 * 7.5 / (8 + 7.5))
    assert scores["cremi"] == pytest.approx(math.sqrt(scores["squares"] / 8))
    table = contingency(truth, found)
    assert rand_error(table).precision == 1
    assert rand_error(table).recall == pytest.approx(7.5 / 8)
    errors = label_errors(table)
    assert errors.kind.tolist() == ["split"]
    assert (errors.label[0], errors.voxels[0], errors.parts[0]) == (3, 4 * 4 * 8, 2)
    assert found.flat[errors.place[0]] in (3, 99)
    assert truth.flat[errors.place[0]] == 3
    at_half, at_more = instance_scores(table, thresholds=[0.5, 0.51])
    assert (at_half.matched, at_half.missed, at_half.false) == (8, 0, 1)
    assert at_half.panoptic_quality == pytest.approx(7.5 / (8 + 0.5))
    assert (at_more.matched, at_more.missed, at_more.false) == (7, 1, 2)
    assert at_more.f1 == 14 / 17
    assert at_more.average_precision == 7 / 10


def test_two_neurons_merged():
    truth, found = neurons(), neurons()
    found[truth == 3] = 4
    scores = all_scores(truth, found)
    assert scores["split"] == 0
    assert scores["merge"] == pytest.approx(2 / 8)
    table = contingency(truth, found)
    assert rand_error(table).recall == 1
    assert rand_error(table).precision == pytest.approx(8 / (6 + 4))
    errors = label_errors(table)
    assert errors.kind.tolist() == ["merge"]
    assert (errors.label[0], errors.voxels[0]) == (4, 256)
    assert found.flat[errors.place[0]] == 4


def test_a_neuron_left_out_is_seen_by_instances_and_listed():
    truth, found = neurons(), neurons()
    found[truth == 5] = 0
    scores = all_scores(truth, found)
    # The background is one more cluster: leaving out one whole neuron alone is no split or merge.
    assert scores["split"] == scores["merge"] == 0
    assert scores["f1"] == pytest.approx(14 / 15)
    errors = label_errors(contingency(truth, found))
    assert errors.kind.tolist() == ["omitted"]
    assert (errors.label[0], errors.voxels[0]) == (5, 256)
    found[truth == 6] = 0
    scores = all_scores(truth, found)
    assert scores["merge"] == pytest.approx(2 / 8)
    assert scores["f1"] == pytest.approx(12 / 14)


def test_an_object_in_the_background_costs_instances_alone():
    truth, found = neurons(), neurons()
    found[8, 0, 0:4] = 77
    scores = all_scores(truth, found)
    assert {k: scores[k] for k in ("split", "merge", "squares")} == {
        k: PERFECT[k] for k in ("split", "merge", "squares")
    }
    assert scores["f1"] == pytest.approx(16 / 17)
    errors = label_errors(contingency(truth, found))
    assert (errors.kind[0], errors.label[0], errors.voxels[0]) == ("false", 77, 4)
    assert found.flat[errors.place[0]] == 77


def test_a_shift_by_one_voxel():
    truth = neurons()
    found = np.roll(truth, 1, axis=2)
    scores = instance_scores(contingency(truth, found), thresholds=[0.5])[0]
    assert scores.f1 == 1
    assert scores.overlap == pytest.approx(np.full(8, 15 / 17))
    assert scores.panoptic_quality == pytest.approx(15 / 17)
    assert scores.segmentation_quality == pytest.approx(15 / 17)


@given(SMALL, SMALL, st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.75]))
def test_instances_are_matched_as_well_as_can_be(truth, found, threshold):
    labels = [[v for v in np.unique(part) if v] for part in (truth, found)]
    overlap = np.asarray(
        [
            [
                ((truth == a) & (found == b)).sum() / ((truth == a) | (found == b)).sum()
                for b in labels[1]
            ]
            for a in labels[0]
        ]
    ).reshape(len(labels[0]), len(labels[1]))
    if overlap.shape[0] > overlap.shape[1]:
        overlap = overlap.T
    best = (0, 0.0)
    for chosen in permutations(range(overlap.shape[1]), overlap.shape[0]):
        values = overlap[range(len(chosen)), chosen]
        good = values[values >= threshold]
        best = max(best, (len(good), float(good.sum())))
    scores = instance_scores(contingency(truth, found), thresholds=[threshold])[0]
    assert (scores.matched, scores.overlap.sum()) == pytest.approx(best)
    assert scores.matched + scores.missed == len(labels[0])
    assert scores.matched + scores.false == len(labels[1])


def test_limits_are_no_division_by_zero_and_no_silent_success():
    truth, nothing = neurons(), np.zeros((16, 24, 20), np.uint32)
    empty = all_scores(nothing, truth)
    assert all(math.isnan(empty[k]) for k in ("split", "merge", "squares", "pairs", "cremi"))
    assert empty["f1"] == 0
    missed = all_scores(truth, nothing)
    assert missed["split"] == 0
    assert missed["merge"] == pytest.approx(3)  # all eight neurons are one
    assert missed["f1"] == missed["pq"] == 0
    both = instance_scores(contingency(nothing, nothing))[0]
    assert all(math.isnan(v) for v in (both.precision, both.recall, both.f1, both.panoptic_quality))
    assert len(label_errors(contingency(nothing, nothing))) == 0
    single = rand_error(contingency([1, 2, 3], [1, 2, 3]), convention="pairs")
    assert math.isnan(single.error)


def test_ignored_labels_are_not_scored():
    truth, found = neurons(), neurons()
    found[truth == 3] = 4
    table = contingency(truth, found)
    assert variation_of_information(table, ignored=(0, 3)).total == 0
    assert len(label_errors(table, ignored=(0, 3))) == 0
    assert instance_scores(table, thresholds=[0.9], ignored=(3,))[0].f1 == 1


def test_wrong_calls_name_the_way_out():
    table = contingency([1], [1])
    with pytest.raises(ParameterError, match="conventions 'squares' and 'pairs', not 'triples'"):
        rand_error(table, convention="triples")
    with pytest.raises(ParameterError, match="above 0 and at most 1, not 0"):
        instance_scores(table, thresholds=[0])
