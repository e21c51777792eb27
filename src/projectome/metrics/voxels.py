"""Scores of masks and classes of voxels.

Notation: of the scored voxels, TP are positive in truth and prediction, FP in the prediction alone,
FN in the truth alone, TN in neither. Voxels that the truth does not label are left out before, by a
mask or by their label. A score whose denominator is 0 is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bioimage_cpp.skeleton import teasar
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion

from projectome.errors import ParameterError, ShapeError
from projectome.filters.distance import distance_inside
from projectome.metrics.contingency import Contingency


@dataclass(frozen=True, slots=True)
class VoxelScores:
    """Agreement of one class of voxels.

    Attributes
    ----------
    tp, fp, fn, tn
        Voxels.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def voxels(self) -> int:
        """Scored voxels."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); also called sensitivity."""
        return share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP)."""
        return share(self.tn, self.tn + self.fp)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); of voxels this is the Dice coefficient."""
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """The same as F1, under the name that volumes use."""
        return self.f1

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN): intersection over union, the Jaccard index."""
        return share(self.tp, self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all; near 1 wherever positives are rare, whatever they are worth."""
        return share(self.tp + self.tn, self.voxels)


def share(part: float, whole: float) -> float:
    """Return part / whole, NaN where there is nothing."""
    return part / whole if whole else math.nan


def voxel_scores(
    table: Contingency,
    *,
    positive: Sequence[int],
    predicted: Sequence[int] | None = None,
    ignored: Sequence[int] = (),
) -> VoxelScores:
    """Score a mask.

    Parameters
    ----------
    table
        Overlaps of true and predicted labels of voxels.
    positive
        True labels that are positive; all others are negative.
    predicted
        Predicted labels that are positive; all but 0 if None.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    VoxelScores
        The counts, and shares of them.

    Raises
    ------
    ParameterError
        If a label is both positive and ignored, or none is positive.
    """
    both = set(positive) & set(ignored)
    if not positive or both:
        raise ParameterError(
            f"The true label {min(both)} cannot be positive and ignored."
            if both
            else "Say which true labels are positive; for instance positive=(1,)."
        )
    part = table.without(truth=ignored)
    true = np.isin(part.truth, np.asarray(positive, np.uint64))
    found = part.found != 0
    if predicted is not None:
        found = np.isin(part.found, np.asarray(predicted, np.uint64))
    tp, fp, fn, tn = (
        int(part.count[chosen].sum())
        for chosen in (true & found, ~true & found, true & ~found, ~true & ~found)
    )
    return VoxelScores(tp, fp, fn, tn)


def class_scores(table: Contingency, *, ignored: Sequence[int] = ()) -> dict[int, VoxelScores]:
    """Score each class against all others; of atlas regions this gives the Dice of each.

    Parameters
    ----------
    table
        Overlaps of true and predicted classes of voxels, which have the same numbers.
    ignored
        True classes whose voxels are not scored.

    Returns
    -------
    dict
        For each class that occurs in truth or prediction, ascending; 0 is a class like others.
    """
    part = table.without(truth=ignored)
    true_labels, true_sizes, _ = part.true_sizes()
    found_labels, found_sizes, _ = part.found_sizes()
    same = part.truth == part.found
    hits = dict(zip(part.truth[same].tolist(), part.count[same].tolist(), strict=True))
    true = dict(zip(true_labels.tolist(), true_sizes.tolist(), strict=True))
    found = dict(zip(found_labels.tolist(), found_sizes.tolist(), strict=True))
    scores = {}
    for label in sorted(true.keys() | found.keys()):
        tp = hits.get(label, 0)
        fp, fn = found.get(label, 0) - tp, true.get(label, 0) - tp
        scores[label] = VoxelScores(tp, fp, fn, part.voxels - tp - fp - fn)
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall at T thresholds of a score, the highest first.

    Attributes
    ----------
    threshold
        Shape (T,): what has at least this score is positive.
    precision, recall
        Shape (T,).
    average_precision
        Sum of the steps in recall times the precision reached there, nothing interpolated; NaN
        where nothing is positive.
    """

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    average_precision: float

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean at each threshold."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(total > 0, total, 1)

    @property
    def best(self) -> int:
        """Place of the threshold with the largest F1; the highest of several."""
        return int(np.nanargmax(self.f1)) if len(self.threshold) else -1


def score_curve(
    table: Contingency, *, positive: Sequence[int], ignored: Sequence[int] = ()
) -> Curve:
    """Return precision and recall over all thresholds of a predicted score.

    Parameters
    ----------
    table
        Overlaps of true labels with scores, which are whole numbers: grey values, or probabilities
        as `quantised` gives them.
    positive
        True labels that are positive.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    Curve
        One threshold for each score that occurs.
    """
    part = table.without(truth=ignored)
    true = np.isin(part.truth, np.asarray(positive, np.uint64))
    scores, inverse = np.unique(part.found, return_inverse=True)
    hits, all_found = np.zeros((2, len(scores)), np.int64)
    np.add.at(hits, inverse[true], part.count[true])
    np.add.at(all_found, inverse, part.count)
    tp, found = np.cumsum(hits[::-1]), np.cumsum(all_found[::-1])
    return curve_of(scores[::-1].astype(np.float64), tp, found, int(hits.sum()))


def curve_of(
    threshold: NDArray[np.float64], tp: NDArray[Any], found: NDArray[Any], positives: int
) -> Curve:
    """Return the curve of hits and detections that add up over falling thresholds.

    Parameters
    ----------
    threshold
        Shape (T,), falling.
    tp, found
        Shape (T,): hits, and all positives of the prediction, at each threshold.
    positives
        All there is to find.
    """
    precision = tp / np.maximum(found, 1)
    if not positives:
        return Curve(threshold, precision, np.full(len(tp), np.nan), math.nan)
    recall = tp / positives
    steps = np.diff(recall, prepend=0.0)
    return Curve(threshold, precision, recall, math.fsum(steps * precision))


def quantised(scores: ArrayLike, what: str = "The prediction") -> NDArray[np.uint16]:
    """Return probabilities as whole numbers from 0 to 65535.

    Parameters
    ----------
    scores
        Floating-point numbers from 0 to 1.
    what
        Begins messages.

    Returns
    -------
    numpy.ndarray of uint16
        Rounded to the nearest of 65535 steps: scores nearer than that become equal.

    Raises
    ------
    ParameterError
        If a score is NaN, or not from 0 to 1.
    """
    values = np.asarray(scores)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ParameterError(
            f"{what} holds {'NaN' if math.isnan(low + high) else f'{low:g} to {high:g}'}, but "
            "probabilities lie between 0 and 1. Give a threshold, or rescale it."
        )
    return np.rint(values * np.float64(65535)).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class CentreLineScores:
    """Agreement of the centre lines of tubes with masks.

    Attributes
    ----------
    precision
        Share of the centre line of the prediction that lies in the true mask.
    recall
        Share of the centre line of the truth that lies in the predicted mask.
    cl_dice
        Harmonic mean of the two; NaN if both masks are empty, 0 if one is.
    true_line, found_line
        Shape (L, 4): the voxels (z, y, x) of each centre line, and 1 where they lie in the other
        mask.
    """

    precision: float
    recall: float
    cl_dice: float
    true_line: NDArray[np.int64] = field(compare=False, repr=False)
    found_line: NDArray[np.int64] = field(compare=False, repr=False)


def centre_line_scores(
    truth: ArrayLike, found: ArrayLike, *, voxel_size: ArrayLike = (1.0, 1.0, 1.0)
) -> CentreLineScores:
    """Score tubes by their centre lines: thin ones count as much as thick ones.

    Parameters
    ----------
    truth, found
        Masks of one shape (Z, Y, X); what is not 0 is inside.
    voxel_size
        Size of a voxel (z, y, x) [um].

    Returns
    -------
    CentreLineScores
        Shares of voxels of centre lines.

    References
    ----------
    Shit et al., clDice: a novel topology-preserving loss function for tubular structure
    segmentation. CVPR (2021). The centre lines are those of TEASAR, one tree a component.
    """
    a, b, size = _masks(truth, found, voxel_size)
    lines = []
    for mask, other in ((a, b), (b, a)):
        line = centre_line(mask, size)
        lines.append(np.column_stack([line, other[tuple(line.T)]]))
    recall, precision = (share(int(line[:, 3].sum()), len(line)) for line in lines)
    return CentreLineScores(precision, recall, cl_dice(recall, precision), lines[0], lines[1])


def cl_dice(recall: float, precision: float) -> float:
    """Return the harmonic mean of both; 0 where one is not defined, NaN where neither is."""
    if math.isnan(precision) and math.isnan(recall):
        return math.nan
    if math.isnan(precision) or math.isnan(recall) or precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def centre_line(mask: NDArray[np.bool_], voxel_size: Sequence[float]) -> NDArray[np.int64]:
    """Return the voxels of the centre lines of a mask, shape (L, 3)."""
    if not mask.any():
        return np.empty((0, 3), np.int64)
    nodes, _, _ = teasar(mask.view(np.uint8), spacing=tuple(voxel_size))
    return np.unique(np.rint(nodes / np.asarray(voxel_size)).astype(np.int64), axis=0)


@dataclass(frozen=True, slots=True)
class SurfaceScores:
    """Distances between the surfaces of two masks.

    Attributes
    ----------
    mean_um
        Mean over the voxels of both surfaces of the distance to the other surface [um].
    p95_um
        The larger of the two 95th percentiles [um].
    hausdorff_um
        The largest of all [um].
    dice
        Share of both surfaces that lies within the tolerance of the other.
    tolerance_um
        That tolerance [um].
    voxels
        Shape (S, 3): the voxels of the true surface, then those of the found one.
    gap_um
        Shape (S,): how far each lies from the other surface [um].
    of_truth
        Number of voxels of the true surface.
    """

    mean_um: float
    p95_um: float
    hausdorff_um: float
    dice: float
    tolerance_um: float
    voxels: NDArray[np.int64] = field(compare=False, repr=False)
    gap_um: NDArray[np.float64] = field(compare=False, repr=False)
    of_truth: int = 0


def surface_scores(
    truth: ArrayLike,
    found: ArrayLike,
    *,
    voxel_size: ArrayLike = (1.0, 1.0, 1.0),
    tolerance_um: float = 0.0,
) -> SurfaceScores:
    """Measure how far apart the surfaces of two masks lie.

    Parameters
    ----------
    truth, found
        Masks of one shape (Z, Y, X); what is not 0 is inside.
    voxel_size
        Size of a voxel (z, y, x) [um].
    tolerance_um
        Distance that counts as agreement [um].

    Returns
    -------
    SurfaceScores
        Infinite distances and a Dice of 0 if one mask has no surface; NaN if neither has. The
        surface is made of the voxels inside that share a face with one outside; the rim of the
        array is none.

    Raises
    ------
    ParameterError
        If the tolerance is negative.
    """
    if not tolerance_um >= 0:
        raise ParameterError(f"tolerance_um is a distance, 0 or more; not {tolerance_um!r}.")
    a, b, size = _masks(truth, found, voxel_size)
    rims = [mask & ~binary_erosion(mask, border_value=1) for mask in (a, b)]
    if not (rims[0].any() and rims[1].any()):
        none = not (rims[0].any() or rims[1].any())
        limit = math.nan if none else math.inf
        nowhere = np.empty((0, 3), np.int64), np.empty(0)
        dice = math.nan if none else 0.0
        return SurfaceScores(limit, limit, limit, dice, tolerance_um, *nowhere)
    gaps = [distance_inside(~rims[1 - k], size)[rims[k]].astype(np.float64) for k in (0, 1)]
    both = np.concatenate(gaps)
    return SurfaceScores(
        mean_um=float(both.mean()),
        p95_um=max(float(np.percentile(gap, 95)) for gap in gaps),
        hausdorff_um=float(both.max()),
        dice=float((both <= tolerance_um * (1 + 1e-6)).mean()),
        tolerance_um=float(tolerance_um),
        voxels=np.concatenate([np.argwhere(rim) for rim in rims]),
        gap_um=both,
        of_truth=len(gaps[0]),
    )


def _masks(
    truth: ArrayLike, found: ArrayLike, voxel_size: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[float]]:
    a, b = (np.ascontiguousarray(np.asarray(mask) != 0) for mask in (truth, found))
    if a.ndim != 3 or a.shape != b.shape:
        raise ShapeError(
            f"Two masks need one shape (z, y, x), not {a.shape} and {b.shape}. Crop or resample "
            "one of them onto the voxels of the other."
        )
    size = np.asarray(voxel_size, np.float64)
    if size.shape != (3,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise ParameterError(f"A voxel size is three positive numbers [um], not {voxel_size!r}.")
    return a, b, size.tolist()
