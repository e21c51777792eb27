"""Scores of instance labels against true ones, all from their table of overlaps.

Notation: of the scored voxels, n_ij carry the true label i and the found label j; n_i. and n_.j are
the sizes of the labels, n their sum, p = n_ij / n. Logarithms are to base 2: entropies are bits.

Background: voxels whose TRUE label is 0 are not scored, as CREMI, funlib and elf have it. The found
label 0 counts as an object like any other: what a segmentation leaves out of several neurons is
merged in it. Instances (`instance_scores`) are no partition: there 0 is no object on either side,
and all voxels count.

Figures that are not defined, such as those of no scored voxels, are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from projectome.errors import ParameterError
from projectome.metrics.contingency import Contingency
from projectome.metrics.matching import best_matching

Convention: TypeAlias = Literal["squares", "pairs"]
THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""Overlaps at which instances are matched: 0.5, 0.55 ... 0.95."""


@dataclass(frozen=True, slots=True)
class Information:
    """Variation of information.

    Attributes
    ----------
    split
        H(found | truth) = -sum p_ij log2(n_ij / n_i.) [bits]: grows where one neuron carries
        several labels.
    merge
        H(truth | found) = -sum p_ij log2(n_ij / n_.j) [bits]: grows where one label lies in
        several neurons.
    voxels
        Scored voxels n.
    """

    split: float
    merge: float
    voxels: int

    @property
    def total(self) -> float:
        """Sum of the two [bits]."""
        return self.split + self.merge


@dataclass(frozen=True, slots=True)
class RandScores:
    """Agreement in which voxels belong together.

    Attributes
    ----------
    error
        Adapted Rand error: 1 - 2 PR / (P + R).
    precision
        Of the pairs of voxels that one found label holds, the share that one true label holds;
        merges make it smaller.
    recall
        Of the pairs that one true label holds, the share that one found label holds; splits make
        it smaller.
    convention
        ``"squares"`` or ``"pairs"``.
    """

    error: float
    precision: float
    recall: float
    convention: Convention


@dataclass(frozen=True, slots=True, eq=False)
class InstanceScores:
    """Objects found, matched one to one with N true objects where they overlap enough.

    Attributes
    ----------
    threshold
        Least intersection over union of a match.
    matched, missed, false
        True objects with a match, without one, and found objects without one.
    precision, recall, f1
        Shares of matched objects, and their harmonic mean: 2 M / (2 M + missed + false).
    average_precision
        M / (M + missed + false), which the Data Science Bowl, StarDist and Cellpose call average
        precision. It is no area under a curve.
    segmentation_quality
        Mean intersection over union of the matches.
    panoptic_quality
        Sum of the intersections over union / (M + missed / 2 + false / 2); the usual one is that
        at a threshold of 0.5.
    pairs
        Shape (M, 2), uint64: true and found labels matched, ascending.
    overlap
        Shape (M,): their intersections over union.
    """

    threshold: float
    matched: int
    missed: int
    false: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    segmentation_quality: float
    panoptic_quality: float
    pairs: NDArray[np.uint64]
    overlap: NDArray[np.float64]


def variation_of_information(table: Contingency, *, ignored: Sequence[int] = (0,)) -> Information:
    """Return how much is not known of one labelling when the other is, split and merge apart.

    Parameters
    ----------
    table
        Overlaps of the labels.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    Information
        0 and 0 for labels that agree up to their names; NaN where no voxel is scored.

    References
    ----------
    Meila, Comparing clusterings: an information based distance. J. Multivariate Analysis 98
    (2007). Identical to skimage's with the same labels ignored, to funlib.evaluate's and elf's.
    """
    part = table.without(truth=ignored)
    if not len(part):
        return Information(math.nan, math.nan, 0)
    of_truth, of_found = conditional_bits(part)
    n = part.voxels
    return Information(math.fsum(of_truth) / n, math.fsum(of_found) / n, n)


def conditional_bits(table: Contingency) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each pair of labels adds to the two parts of the variation of information.

    Returns
    -------
    split, merge
        Shape (K,) each: n_ij log2(n_i. / n_ij) and n_ij log2(n_.j / n_ij) [bits x voxels].
    """
    _, true_sizes, i = table.true_sizes()
    _, found_sizes, j = table.found_sizes()
    count = table.count.astype(np.float64)
    return count * np.log2(true_sizes[i] / count), count * np.log2(found_sizes[j] / count)


def rand_error(
    table: Contingency, *, convention: Convention = "squares", ignored: Sequence[int] = (0,)
) -> RandScores:
    """Return the adapted Rand error.

    Parameters
    ----------
    table
        Overlaps of the labels.
    convention
        ``"squares"``: pairs of voxels include that of a voxel with itself, sums of n^2 (CREMI,
        SNEMI3D, elf, funlib). ``"pairs"``: pairs of two different voxels, sums of n (n - 1)
        (skimage). They differ by about one over the size of the objects.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    RandScores
        An error of 0 for labels that agree up to their names. NaN where there is no pair.

    Raises
    ------
    ParameterError
        If there is no such convention.

    References
    ----------
    Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for
    connectomics. Front. Neuroanat. 9 (2015).
    """
    if convention not in ("squares", "pairs"):
        raise ParameterError(
            f"The Rand error has the conventions 'squares' and 'pairs', not {convention!r}."
        )
    part = table.without(truth=ignored)
    both, true, found = (
        _pairs(sizes, convention)
        for sizes in (part.count, part.true_sizes()[1], part.found_sizes()[1])
    )
    return RandScores(
        error=1 - 2 * both / (true + found) if true + found else math.nan,
        precision=both / found if found else math.nan,
        recall=both / true if true else math.nan,
        convention=convention,
    )


def cremi_score(table: Contingency, *, ignored: Sequence[int] = (0,)) -> float:
    """Return the geometric mean of the variation of information and the adapted Rand error.

    Parameters
    ----------
    table
        Overlaps of the labels.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    float
        The root of (split + merge) ARAND, the Rand error by squares; 0 is perfect. NaN where no
        voxel is scored.

    References
    ----------
    https://cremi.org/metrics
    """
    information = variation_of_information(table, ignored=ignored)
    return math.sqrt(information.total * max(0.0, rand_error(table, ignored=ignored).error))


def instance_scores(
    table: Contingency,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    ignored: Sequence[int] = (),
) -> list[InstanceScores]:
    """Match found with true objects, and count.

    Parameters
    ----------
    table
        Overlaps of the labels.
    thresholds
        Least intersections over union of a match, above 0 and up to 1.
    ignored
        True labels whose voxels are not scored, beside those of objects. 0 is the background: it
        is scored, but is no object.

    Returns
    -------
    list of InstanceScores
        One a threshold. A matching has as many pairs as can be and, among those, the least sum of
        1 - overlap; above 0.5 there is only one. Shares of nothing are NaN.

    Raises
    ------
    ParameterError
        If a threshold is none.

    References
    ----------
    Kirillov et al., Panoptic segmentation. CVPR (2019), whose matches overlap by more than 0.5,
    while here the threshold itself is enough.
    """
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise ParameterError(
                f"An overlap is above 0 and at most 1, not {threshold!r}; for instance 0.5."
            )
    part = table.without(truth=ignored)
    true_labels, true_sizes, i = part.true_sizes()
    found_labels, found_sizes, j = part.found_sizes()
    objects = (part.truth != 0) & (part.found != 0)
    i, j, count = i[objects], j[objects], part.count[objects]
    overlap = count / (true_sizes[i] + found_sizes[j] - count)
    numbers = int((true_labels != 0).sum()), int((found_labels != 0).sum())
    scores = []
    for threshold in thresholds:
        enough = np.flatnonzero(overlap >= threshold)
        taken = enough[best_matching(i[enough], j[enough], 1 - overlap[enough])]
        pairs = np.stack([true_labels[i[taken]], found_labels[j[taken]]], axis=1)
        scores.append(_instances(float(threshold), numbers, pairs, overlap[taken]))
    return scores


def _instances(
    threshold: float,
    numbers: tuple[int, int],
    pairs: NDArray[np.uint64],
    overlap: NDArray[np.float64],
) -> InstanceScores:
    true, found = numbers
    hits, total = len(pairs), math.fsum(overlap)
    any_object = true + found > 0
    return InstanceScores(
        threshold=threshold,
        matched=hits,
        missed=true - hits,
        false=found - hits,
        precision=hits / found if found else math.nan,
        recall=hits / true if true else math.nan,
        f1=2 * hits / (true + found) if any_object else math.nan,
        average_precision=hits / (true + found - hits) if any_object else math.nan,
        segmentation_quality=total / hits if hits else math.nan,
        panoptic_quality=2 * total / (true + found) if any_object else math.nan,
        pairs=pairs,
        overlap=overlap,
    )


@dataclass(frozen=True, slots=True, eq=False)
class LabelErrors:
    """What each label adds to the errors, the worst first.

    Attributes
    ----------
    kind
        Shape (N,): ``"split"``, ``"merge"``, ``"omitted"`` or ``"false"``.
    label
        Shape (N,), uint64: the true label that is split or omitted, or the found label that
        merges true ones or lies in none.
    voxels
        Shape (N,): scored voxels that do not belong to its largest part.
    parts
        Shape (N,): labels of the other side that it meets.
    place
        Shape (N,): index in C order of a voxel of its second largest part, or of its first voxel.
    """

    kind: NDArray[np.str_]
    label: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    parts: NDArray[np.int64]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)


def label_errors(table: Contingency, *, ignored: Sequence[int] = (0,)) -> LabelErrors:
    """List the labels with errors, so that one can go and look.

    Parameters
    ----------
    table
        Overlaps of the labels.
    ignored
        True labels whose voxels are not scored.

    Returns
    -------
    LabelErrors
        Sorted by ``voxels``, the most first. A true label is ``"split"`` among found labels beside
        0, and ``"omitted"`` by its voxels under 0; a found label is a ``"merge"`` of true labels;
        one that lies on true background alone is ``"false"``, by its size.
    """
    part = table.without(truth=ignored)
    background = table.without(truth=[label for label in ignored if label != 0])
    real = part.without(found=(0,))
    empty = part.found == 0
    columns = [
        _parts("split", real.truth, real.count, real.place),
        _parts("merge", real.found, real.count, real.place),
        _whole("omitted", part, empty),
    ]
    outside = (background.truth == 0) & (background.found != 0)
    outside &= ~np.isin(background.found, background.found[background.truth != 0])
    columns.append(_whole("false", background, outside))
    kind = np.concatenate([np.full(len(c[1]), c[0], dtype="U8") for c in columns])
    label = np.concatenate([c[1] for c in columns])
    voxels, parts, place = (np.concatenate([c[k] for c in columns]) for k in (2, 3, 4))
    order = np.lexsort((label, kind, -voxels))
    return LabelErrors(kind[order], label[order], voxels[order], parts[order], place[order])


_Column: TypeAlias = tuple[
    str, NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]


def _whole(kind: str, table: Contingency, chosen: NDArray[np.bool_]) -> _Column:
    """Return labels that are wrong all over: true ones that were left out, or false ones."""
    label = table.truth[chosen] if kind == "omitted" else table.found[chosen]
    parts = np.ones(len(label), np.int64)
    return kind, label, table.count[chosen], parts, table.place[chosen]


def _parts(
    kind: str, label: NDArray[np.uint64], count: NDArray[np.int64], place: NDArray[np.int64]
) -> _Column:
    """Return labels with more than one part: how much lies beside the largest, and where."""
    order = np.lexsort((place, -count, label))
    label, count, place = label[order], count[order], place[order]
    names, starts, parts = np.unique(label, return_index=True, return_counts=True)
    several = parts > 1
    beside = np.add.reduceat(count, starts) - count[starts] if len(starts) else count
    second = place[np.minimum(starts + 1, len(place) - 1)] if len(starts) else place
    return kind, names[several], beside[several], parts[several], second[several]


def _pairs(sizes: NDArray[np.int64], convention: Convention) -> float:
    """Return the number of pairs within groups, rounded once: the order does not matter."""
    n = sizes.astype(np.float64)
    return math.fsum(n * n if convention == "squares" else n * (n - 1))
