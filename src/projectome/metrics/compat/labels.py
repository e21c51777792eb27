"""Scores of labels exactly as other programs give them, their habits included.

All are made from the same table of overlaps, so that any of them can be had for volumes that the
programs themselves could not hold. What differs from `projectome.metrics.labels`:

============ ======================== ============================= ==============================
program      VOI                      Rand error                    habits
============ ======================== ============================= ==============================
skimage      all voxels, also true 0  pairs; true 0 left out        "precision" is what is called
                                                                    recall elsewhere
cremi        true 0 left out          squares; found 0 left out of  the count of found 0 over that
                                      the squares                   of all voxels is added to them
funlib       true 0 left out          none; shares of squares       ``rand_split`` is a recall,
                                                                    ``rand_merge`` a precision
elf          as asked; here true 0    squares                       of two lists of labels to ignore
             left out                                               it ignores what is in BOTH
============ ======================== ============================= ==============================

`projectome.metrics.labels` leaves true 0 out everywhere and counts found 0 as an object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from projectome.metrics.contingency import Contingency
from projectome.metrics.labels import (
    instance_scores,
    rand_error,
    variation_of_information,
)


def skimage_scores(table: Contingency) -> dict[str, float]:
    """Return what skimage.metrics of scikit-image 0.26 gives, by its defaults.

    Parameters
    ----------
    table
        Overlaps of the labels.

    Returns
    -------
    dict
        ``voi_split`` and ``voi_merge``, the two entropies of
        ``variation_of_information(truth, prediction)``, which leaves out no label unless told;
        ``are``, ``precision`` and ``recall`` of ``adapted_rand_error``, which leaves out the true
        label 0. Its precision is over the pairs of the TRUTH: a truth of one object found in two
        halves has a precision near 1/2 and a recall of 1.
    """
    information = variation_of_information(table, ignored=())
    rand = rand_error(table, convention="pairs")
    return {
        "voi_split": information.split,
        "voi_merge": information.merge,
        "are": rand.error,
        "precision": rand.recall,
        "recall": rand.precision,
    }


def cremi_scores(table: Contingency, *, background: int = 0) -> dict[str, float]:
    """Return what the functions of cremi_python (cremi.evaluation) give.

    Parameters
    ----------
    table
        Overlaps of the labels.
    background
        The true label that is not scored: 0 of ``voi`` and ``adapted_rand``; 2**64 - 1 of
        ``NeuronIds``, which adds 1 to the true labels first, so that 0 is a neuron.

    Returns
    -------
    dict
        ``voi_split`` and ``voi_merge``; ``adapted_rand``, with its ``precision`` and ``recall``;
        ``cremi_score``, the geometric mean of the sum of the first two and the third. The found
        label 0 is no object in the Rand error: of its C scored voxels, C / N is added to two of
        the sums, N being ALL voxels. Truth of one object with half of it under 0: precision near
        1, recall near 1/4.
    """
    part = table.without(truth=(background,))
    information = variation_of_information(table, ignored=(background,))
    inside = part.without(found=(0,))
    loose = (part.voxels - inside.voxels) / table.voxels if table.voxels else 0.0
    true = _squares(part.true_sizes()[1])
    found = _squares(inside.found_sizes()[1]) + loose
    both = _squares(inside.count) + loose
    precision = both / found if found else math.nan
    recall = both / true if true else math.nan
    error = 1 - 2 * precision * recall / (precision + recall) if both else math.nan
    return {
        "voi_split": information.split,
        "voi_merge": information.merge,
        "adapted_rand": error,
        "precision": precision,
        "recall": recall,
        "cremi_score": math.sqrt(max(0.0, information.total * error)) if both else math.nan,
    }


def funlib_scores(table: Contingency) -> dict[str, float]:
    """Return what ``rand_voi(truth, prediction)`` of funlib.evaluate gives.

    Parameters
    ----------
    table
        Overlaps of the labels.

    Returns
    -------
    dict
        ``voi_split``, ``voi_merge``; ``rand_split`` and ``rand_merge``, which are the recall and
        the precision of the Rand index by squares (1 is best), not errors; ``nvi_split`` and
        ``nvi_merge``, the entropies over the joint entropy; ``nid``. Of a single true object found
        as one, the joint entropy is 0 and these three are NaN.
    """
    part = table.without(truth=(0,))
    information = variation_of_information(table)
    rand = rand_error(table)
    n = part.voxels
    joint, true, found = (
        _entropy(sizes, n) for sizes in (part.count, part.true_sizes()[1], part.found_sizes()[1])
    )
    largest = max(true, found)
    return {
        "voi_split": information.split,
        "voi_merge": information.merge,
        "rand_split": rand.recall,
        "rand_merge": rand.precision,
        "nvi_split": information.split / joint if joint else math.nan,
        "nvi_merge": information.merge / joint if joint else math.nan,
        "nid": 1 - (true + found - joint) / largest if largest else math.nan,
    }


def elf_scores(table: Contingency, *, ignored: Sequence[int] = (0,)) -> dict[str, float]:
    """Return what elf.evaluation of python-elf 0.9 gives with ``ignore_gt=[0]``.

    Parameters
    ----------
    table
        Overlaps of the labels.
    ignored
        True labels to ignore. Elf with no list scores the background too, which is its default;
        with a list for each side it ignores only voxels that are in both.

    Returns
    -------
    dict
        ``vi_split``, ``vi_merge``, ``adapted_rand_error`` and ``cremi_score`` of ``cremi_score``;
        ``rand_index`` of ``rand_index``; ``precision``, ``recall``, ``segmentation_accuracy`` and
        ``f1`` of ``matching`` at an overlap of 0.5, whose shares of nothing are 0, not undefined.
    """
    part = table.without(truth=ignored)
    information = variation_of_information(table, ignored=ignored)
    rand = rand_error(table, ignored=ignored)
    total = information.total * rand.error
    true, found = _squares(part.true_sizes()[1]), _squares(part.found_sizes()[1])
    apart = true + found - 2 * _squares(part.count)
    matched = instance_scores(table, thresholds=(0.5,))[0]
    return {
        "vi_split": information.split,
        "vi_merge": information.merge,
        "adapted_rand_error": rand.error,
        "cremi_score": math.sqrt(max(0.0, total)) if not math.isnan(total) else math.nan,
        "rand_index": 1 - apart / part.voxels**2 if part.voxels else math.nan,
        "precision": matched.precision if matched.matched else 0.0,
        "recall": matched.recall if matched.matched else 0.0,
        "segmentation_accuracy": matched.average_precision if matched.matched else 0.0,
        "f1": matched.f1 if matched.matched else 0.0,
    }


PROGRAMS: dict[str, Callable[[Contingency], dict[str, float]]] = {
    "skimage": skimage_scores,
    "cremi": cremi_scores,
    "funlib": funlib_scores,
    "elf": elf_scores,
}
"""Programs whose scores of labels can be had, by name."""


def _squares(sizes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    return math.fsum(np.square(sizes.astype(np.float64)))


def _entropy(sizes: np.ndarray[tuple[int, ...], np.dtype[np.int64]], n: int) -> float:
    return math.fsum(sizes / n * np.log2(n / sizes)) if n else math.nan
