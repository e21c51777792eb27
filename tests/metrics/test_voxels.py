import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from projectome.errors import ParameterError, ShapeError
from projectome.metrics.contingency import contingency
from projectome.metrics.voxels import (
    centre_line_scores,
    class_scores,
    quantised,
    score_curve,
    surface_scores,
    voxel_scores,
)

MASK = arrays(np.bool_, (3, 4, 5))


def tube(shift=0, radius=2):
    """A tube along x in a volume with room around it."""
    z, y, x = np.ogrid[:16, :20, :40]
    return ((z - 8) ** 2 + (y - 9 - shift) ** 2 <= radius**2) & (x >= 4) & (x < 36)


@given(MASK, MASK)
def test_shares_are_those_of_sets(truth, found):
    scores = voxel_scores(contingency(truth, found), positive=(1,))
    both, either = (truth & found).sum(), (truth | found).sum()
    assert (scores.tp, scores.fp, scores.fn, scores.tn) == (
        both, (~truth & found).sum(), (truth & ~found).sum(), (~truth & ~found).sum(),
    )  # fmt: skip
    assert scores.accuracy == pytest.approx((truth == found).mean())
    if either:
        assert scores.iou == both / either
        assert scores.dice == scores.f1 == 2 * both / (truth.sum() + found.sum())
    else:
        assert math.isnan(scores.iou)
        assert math.isnan(scores.f1)
    for share, whole in ((scores.precision, found.sum()), (scores.recall, truth.sum())):
        assert math.isnan(share) if not whole else share == both / whole


def test_labels_of_sparse_annotation():
    """TRAILMAP: 2 axon, 1 background, 4 its edge, 0 not annotated."""
    truth = np.asarray([0, 0, 1, 1, 1, 2, 2, 4, 4])
    found = np.asarray([1, 0, 1, 0, 0, 1, 0, 1, 0])
    scores = voxel_scores(contingency(truth, found), positive=(2,), ignored=(0, 4))
    assert (scores.tp, scores.fp, scores.fn, scores.tn) == (1, 1, 1, 2)
    assert scores.specificity == 2 / 3
    with pytest.raises(ParameterError, match="label 2 cannot be positive and ignored"):
        voxel_scores(contingency(truth, found), positive=(2,), ignored=(2,))
    with pytest.raises(ParameterError, match=r"positive=\(1,\)"):
        voxel_scores(contingency(truth, found), positive=())


def test_each_class_against_all_others():
    truth, found = np.asarray([0, 0, 1, 1, 2, 2, 2]), np.asarray([0, 1, 1, 1, 2, 3, 0])
    scores = class_scores(contingency(truth, found))
    assert list(scores) == [0, 1, 2, 3]
    assert scores[1].dice == 4 / 5
    assert scores[2].recall == 1 / 3
    assert scores[3].recall != scores[3].recall  # not in the truth
    assert scores[3].precision == 0
    assert all(s.voxels == 7 for s in scores.values())
    assert class_scores(contingency(truth, found), ignored=(2,))[0].tp == 1


@given(
    arrays(np.bool_, 30),
    arrays(np.float32, 30, elements=st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1])),
)
def test_average_precision_is_the_sum_over_thresholds(truth, scores):
    curve = score_curve(contingency(truth, quantised(scores)), positive=(1,))
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        recall = (truth & found).sum() / max(truth.sum(), 1)
        expected += (recall - before) * (truth & found).sum() / found.sum()
        before = recall
    if truth.any():
        assert curve.average_precision == pytest.approx(expected)
        assert curve.recall[-1] == 1
        assert curve.f1[curve.best] == curve.f1.max()
    else:
        assert math.isnan(curve.average_precision)


def test_probabilities_are_checked():
    assert quantised([0.0, 0.5, 1.0]).tolist() == [0, 32768, 65535]
    assert quantised(np.empty(0)).tolist() == []
    for wrong, said in (([0.2, np.nan], "NaN"), ([-0.1, 1], "-0.1 to 1"), ([3.0], "3 to 3")):
        with pytest.raises(ParameterError, match=f"prediction holds {said}.*Give a threshold"):
            quantised(wrong)


def test_centre_lines_of_tubes():
    assert centre_line_scores(tube(), tube()).cl_dice == 1
    # Twice as thick covers nearly nothing less: the centre line is the same.
    assert centre_line_scores(tube(radius=1), tube(radius=4)).recall == 1
    apart = centre_line_scores(tube(), tube(shift=8))
    assert (apart.precision, apart.recall, apart.cl_dice) == (0, 0, 0)
    # A gap of a quarter of the tube costs a quarter of the recall, and no precision.
    gap = tube()
    gap[:, :, 12:20] = False
    scores = centre_line_scores(tube(), gap)
    assert scores.precision == 1
    assert scores.recall == pytest.approx(0.75, abs=0.04)


@given(MASK, MASK)
def test_surfaces_are_those_of_brute_force(truth, found):
    size = np.asarray([2.0, 1.0, 0.5])
    rims = []
    for mask in (truth, found):
        around = np.pad(mask, 1, mode="edge")  # the rim of the array is no surface
        inner = np.ones_like(mask)
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(around, step, axis)[1:-1, 1:-1, 1:-1]
        rims.append(np.argwhere(mask & ~inner) * size)
    scores = surface_scores(truth, found, voxel_size=size, tolerance_um=1)
    if len(rims[0]) and len(rims[1]):
        gaps = cdist(*rims)
        a, b = gaps.min(axis=1), gaps.min(axis=0)
        both = np.concatenate([a, b])
        assert scores.mean_um == pytest.approx(both.mean(), abs=1e-5)
        assert scores.hausdorff_um == pytest.approx(both.max(), abs=1e-5)
        assert scores.dice == pytest.approx((both <= 1 + 1e-5).mean())
        percentile = max(np.percentile(a, 95), np.percentile(b, 95))
        assert scores.p95_um == pytest.approx(percentile, abs=1e-4)
    elif len(rims[0]) or len(rims[1]):
        assert (scores.mean_um, scores.dice) == (math.inf, 0)
    else:
        assert math.isnan(scores.mean_um)


def test_a_shift_moves_the_surface_by_its_length():
    a, b = np.zeros((2, 10, 10, 20), bool)
    a[:, :, 5:10] = b[:, :, 8:13] = True
    scores = surface_scores(a, b, voxel_size=(1, 1, 2), tolerance_um=2)
    # Faces at 5 and 9 against 8 and 12: the outer two are 3 voxels from the other, the inner 1.
    assert (scores.mean_um, scores.hausdorff_um, scores.dice) == (4, 6, 0.5)
    assert surface_scores(a, a).hausdorff_um == 0


def test_empty_masks_and_wrong_calls():
    mask, nothing = tube(), np.zeros((16, 20, 40), bool)
    assert centre_line_scores(mask, nothing).cl_dice == 0
    assert math.isnan(centre_line_scores(nothing, nothing).cl_dice)
    assert surface_scores(mask, nothing).hausdorff_um == math.inf
    with pytest.raises(ShapeError, match="Two masks need one shape"):
        surface_scores(mask, nothing[1:])
    with pytest.raises(ParameterError, match="three positive numbers"):
        centre_line_scores(mask, mask, voxel_size=(1, 0, 1))
    with pytest.raises(ParameterError, match="0 or more; not -1"):
        surface_scores(mask, mask, tolerance_um=-1)
