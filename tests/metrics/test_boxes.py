import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import ParameterError, ShapeError
from projectome.metrics import boxes as module
from projectome.metrics.boxes import box_curve, match_boxes, mean_average_precision


@st.composite
def some_boxes(draw):
    n = draw(st.integers(0, 4))
    corner = st.tuples(*[st.integers(0, 3)] * 3)
    side = st.tuples(*[st.integers(1, 3)] * 3)
    made = [(np.asarray(draw(corner)), np.asarray(draw(side))) for _ in range(n)]
    return np.asarray([(start, start + size) for start, size in made], float).reshape(-1, 2, 3)


def overlap(a, b):
    """By counting unit cells."""
    cells = [
        {(z, y, x) for z in range(*p[:, 0]) for y in range(*p[:, 1]) for x in range(*p[:, 2])}
        for p in (a.astype(int), b.astype(int))
    ]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


@given(some_boxes(), some_boxes(), st.sampled_from([0.1, 0.3, 0.5]), st.sampled_from([1, 10**6]))
def test_matching_is_the_best_of_all(a, b, threshold, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", batch)
        scores = match_boxes(a, b, threshold=threshold)
    table = np.asarray([[overlap(p, q) for q in b] for p in a]).reshape(len(a), len(b))
    if len(a) > len(b):
        table = table.T
    best = (0, 0.0)
    for chosen in permutations(range(table.shape[1]), table.shape[0]):
        values = table[range(len(chosen)), chosen]
        good = values[values >= threshold]
        best = max(best, (len(good), float(good.sum())))
    assert (len(scores.pairs), scores.overlap.sum()) == pytest.approx(best)
    for (i, j), value in zip(scores.pairs, scores.overlap, strict=True):
        assert overlap(a[i], b[j]) == pytest.approx(value)


def test_figures_of_a_planted_case():
    cube = np.asarray([[0, 0, 0], [10, 10, 10]], float)
    truth = np.stack([cube, cube + 20, cube + 40])
    found = np.stack([cube, cube + np.array([20, 20, 22]), cube + 60])
    scores = match_boxes(truth, found)
    assert (scores.precision, scores.recall, scores.f1) == (2 / 3, 2 / 3, 2 / 3)
    assert scores.overlap == pytest.approx([1, 8 / 12])
    assert match_boxes(truth, found, threshold=0.7).f1 == 1 / 3
    curve = box_curve(truth, found, [0.9, 0.8, 0.7])
    assert curve.average_precision == pytest.approx(2 / 3)
    assert box_curve(truth, found, [0.7, 0.8, 0.9]).average_precision == pytest.approx(
        1 / 3 * 1 / 2 + 1 / 3 * 2 / 3
    )
    # At 0.5, 0.55, 0.6 and 0.65 two are found, at the other six one.
    mean = mean_average_precision(truth, found, [0.9, 0.8, 0.7])
    assert mean == pytest.approx((4 * 2 / 3 + 6 * 1 / 3) / 10)
    assert mean_average_precision(truth, truth, [1, 1, 1]) == 1


def test_nothing_has_undefined_figures():
    one = [[[0, 0, 0], [1, 1, 1]]]
    assert math.isnan(match_boxes([], []).f1)
    assert match_boxes(one, []).recall == 0
    assert math.isnan(match_boxes(one, []).precision)
    assert math.isnan(box_curve([], one, [1]).average_precision)


def test_wrong_calls_name_the_way_out():
    one = [[[0, 0, 0], [1, 1, 1]]]
    with pytest.raises(ShapeError, match=r"\(N, 2, 3\)"):
        match_boxes([[1, 2, 3]], one)
    with pytest.raises(
        ParameterError, match=r"A found box has no volume.*number 0.*sort its corners"
    ):
        match_boxes(one, [[[0, 0, 0], [1, 0, 1]]])
    with pytest.raises(ParameterError, match="A true box"):
        match_boxes([[[0, 0, 0], [1, math.nan, 1]]], one)
    with pytest.raises(ParameterError, match=r"at most 1, not 1.5"):
        match_boxes(one, one, threshold=1.5)
