"""Agreement of detected boxes with true ones.

Notation: a box has a start and a stop (z, y, x) [um]; its overlap with another is the volume of
their intersection over that of their union (IoU).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import are_places
from projectome.errors import ParameterError, ShapeError
from projectome.metrics.detection import candidate_hits, match_candidates
from projectome.metrics.labels import THRESHOLDS
from projectome.metrics.matching import best_matching
from projectome.metrics.voxels import Curve

BATCH = 1 << 22
"""Pairs of boxes that are looked at together; bounds the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxScores:
    """Agreement of N true with M found boxes, K of them matched one to one.

    Attributes
    ----------
    threshold
        Least intersection over union of a match.
    precision, recall, f1
        K / M, K / N and 2 K / (N + M); NaN where there is nothing to divide by.
    mean_overlap
        Mean intersection over union of the matches.
    pairs
        Shape (K, 2): indices of a true and its found box, in the order of the true ones.
    overlap
        Shape (K,): of each pair.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    mean_overlap: float
    pairs: NDArray[np.int64]
    overlap: NDArray[np.float64]


def match_boxes(truth: ArrayLike, found: ArrayLike, *, threshold: float = 0.5) -> BoxScores:
    """Match boxes one to one.

    Parameters
    ----------
    truth, found
        Shapes (N, 2, 3) and (M, 2, 3): start and stop (z, y, x) [um], in one space.
    threshold
        Least intersection over union of a match, above 0 and up to 1.

    Returns
    -------
    BoxScores
        Of the matching with the most pairs and, among those, the largest overlaps.

    Raises
    ------
    ParameterError
        If the threshold is none, a coordinate is not finite, or a box has no volume.
    ShapeError
        If the arrays are no boxes.
    """
    a, b = boxes(truth, "A true box"), boxes(found, "A found box")
    rows, columns, overlap = overlaps(a, b, _checked(threshold))
    taken = best_matching(rows, columns, 1 - overlap)
    pairs = np.stack([rows[taken], columns[taken]], axis=1)
    hits = len(pairs)
    return BoxScores(
        threshold=float(threshold),
        precision=hits / len(b) if len(b) else math.nan,
        recall=hits / len(a) if len(a) else math.nan,
        f1=2 * hits / (len(a) + len(b)) if len(a) + len(b) else math.nan,
        mean_overlap=float(overlap[taken].mean()) if hits else math.nan,
        pairs=pairs,
        overlap=overlap[taken],
    )


def box_curve(
    truth: ArrayLike, found: ArrayLike, scores: ArrayLike, *, threshold: float = 0.5
) -> Curve:
    """Return precision and recall of boxes over the thresholds of their scores.

    Parameters
    ----------
    truth, found
        As for `match_boxes`.
    scores
        Shape (M,): one a found box; the higher, the surer.
    threshold
        As for `match_boxes`.

    Returns
    -------
    Curve
        Its average precision is the detection AP at this overlap, nothing interpolated. COCO's
        evaluator matches greedily and reads the curve at 101 recalls: where boxes crowd, or are
        few, it has other digits.

    Raises
    ------
    ParameterError
        As `match_boxes`, or if a score is NaN.
    """
    a, b = boxes(truth, "A true box"), boxes(found, "A found box")
    rows, columns, _ = overlaps(a, b, _checked(threshold))
    return match_candidates(rows, columns, scores, true=len(a))


def box_hits(
    truth: ArrayLike, found: ArrayLike, scores: ArrayLike, *, threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Say which found boxes are hits, shape (M,), the surest being matched first.

    Parameters
    ----------
    truth, found, scores, threshold
        As for `box_curve`.

    Raises
    ------
    ParameterError
        As `match_boxes`, or if a score is NaN.
    """
    a, b = boxes(truth, "A true box"), boxes(found, "A found box")
    rows, columns, _ = overlaps(a, b, _checked(threshold))
    return candidate_hits(rows, columns, scores)


def mean_average_precision(
    truth: ArrayLike,
    found: ArrayLike,
    scores: ArrayLike,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> float:
    """Return the mean of the average precision over overlaps of 0.5, 0.55 ... 0.95."""
    values = [box_curve(truth, found, scores, threshold=t).average_precision for t in thresholds]
    return math.fsum(values) / len(values) if values else math.nan


def boxes(values: ArrayLike, what: str = "A box") -> NDArray[np.float64]:
    """Return boxes as an array of shape (N, 2, 3).

    Parameters
    ----------
    values
        Start and stop (z, y, x) of each.
    what
        Begins messages.

    Raises
    ------
    ParameterError
        If a coordinate is not finite or out of reach, or a box has no volume.
    ShapeError
        If the array has another shape.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.empty((0, 2, 3))
    if array.ndim != 3 or array.shape[1:] != (2, 3):
        raise ShapeError(f"Boxes are an array (N, 2, 3): start and stop; not {array.shape}.")
    flat = ~(array[:, 1] > array[:, 0]).all(axis=1) | ~are_places(array.reshape(-1, 6))
    if flat.any():
        first = int(np.flatnonzero(flat)[0])
        raise ParameterError(
            f"{what} has no volume, or coordinates that are not finite: number {first} goes from "
            f"{array[first, 0].tolist()} to {array[first, 1].tolist()}. Drop it, or sort its "
            "corners."
        )
    return array


def overlaps(
    a: NDArray[np.float64], b: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of boxes that overlap enough, and their intersections over unions."""
    rows, columns, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    sizes = [np.prod(part[:, 1] - part[:, 0], axis=1) for part in (a, b)]
    order = np.argsort(b[:, 0, 0], kind="stable")
    begin = b[order, 0, 0]
    tallest = float((b[:, 1, 0] - b[:, 0, 0]).max()) if len(b) else 0.0
    ahead = np.argsort(a[:, 0, 0], kind="stable")
    step = max(1, BATCH // max(1, len(b)))
    for first in range(0, len(a), step):
        chosen = ahead[first : first + step]
        low, high = a[chosen, 0, 0].min() - tallest, a[chosen, 1, 0].max()
        near = order[np.searchsorted(begin, low) : np.searchsorted(begin, high)]
        start = np.maximum(a[chosen, None, 0], b[None, near, 0])
        stop = np.minimum(a[chosen, None, 1], b[None, near, 1])
        both = np.prod(np.clip(stop - start, 0, None), axis=2)
        share = both / (sizes[0][chosen, None] + sizes[1][None, near] - both)
        i, j = np.nonzero(share >= threshold)
        rows.append(chosen[i])
        columns.append(near[j])
        values.append(share[i, j])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _checked(threshold: float) -> float:
    if not 0 < threshold <= 1:
        raise ParameterError(
            f"An overlap is above 0 and at most 1, not {threshold!r}; for instance 0.5."
        )
    return float(threshold)
