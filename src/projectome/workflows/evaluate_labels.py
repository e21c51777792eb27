"""Instance labels against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from projectome.errors import ParameterError
from projectome.metrics.compat.labels import PROGRAMS
from projectome.metrics.contingency import Contingency, label_array
from projectome.metrics.labels import (
    conditional_bits,
    cremi_score,
    instance_scores,
    label_errors,
    rand_error,
    variation_of_information,
)
from projectome.metrics.steps import CountOverlaps
from projectome.workflows.evaluate_volumes import VolumePair, count_overlaps, place_um, tables_of
from projectome.workflows.evaluation import (
    ERRORS,
    ErrorAt,
    Evaluation,
    Figure,
    Line,
    share_of,
)
from projectome.workflows.job import Job


def evaluate_labels(pair: VolumePair, job: Job, *, compat: str | None = None) -> Evaluation:
    """Score instance labels.

    Parameters
    ----------
    pair
        The volumes; 0 of the truth is background and not scored but as background of instances.
    job
        Where and how to run.
    compat
        A program whose scores are wanted instead: skimage, cremi, funlib or elf.

    Returns
    -------
    Evaluation
        Intervals are over the true objects.

    Raises
    ------
    ParameterError
        If there is no such program.
    """
    if compat is not None and compat not in PROGRAMS:
        raise ParameterError(
            f"Labels can be scored as {', '.join(PROGRAMS)} score them, not as {compat!r}."
        )
    truth, prediction = pair.open()
    for volume, what in ((truth, "The truth"), (prediction, "The prediction")):
        label_array(np.empty(0, volume.dtype), f"{what} {volume.name}")  # before any work
    step = CountOverlaps(pair.truth, pair.prediction, pair.scored)
    with TemporaryDirectory(prefix="projectome-") as work:
        table = Contingency.add_up(tables_of(count_overlaps(step, job, Path(work))))
    found = label_errors(table, ignored=(0, *pair.ignored))
    errors = [
        ErrorAt(kind, f"label {name}", float(voxels), "voxels", place_um(truth, place))
        for kind, name, voxels, place in zip(
            found.kind[:ERRORS].tolist(),
            found.label[:ERRORS].tolist(),
            found.voxels[:ERRORS].tolist(),
            found.place[:ERRORS].tolist(),
            strict=True,
        )
    ]
    scores = instance_scores(table, ignored=pair.ignored)
    rows = [
        {
            "overlap": s.threshold,
            "matched": s.matched,
            "missed": s.missed,
            "false": s.false,
            "precision": s.precision,
            "recall": s.recall,
            "f1": s.f1,
            "average_precision": s.average_precision,
        }
        for s in scores
    ]
    over = np.asarray([s.threshold for s in scores])
    lines = tuple(
        Line(name, "intersection over union", name, over, np.asarray([row[key] for row in rows]))
        for name, key in (("F1", "f1"), ("average precision", "average_precision"))
    )
    return Evaluation(
        kind="labels",
        truth=pair.truth.url,
        prediction=pair.prediction.url,
        settings={"ignored": (0, *pair.ignored), "compat": compat},
        figures=_label_figures(table, pair.ignored)
        if compat is None
        else tuple(Figure(name, value) for name, value in PROGRAMS[compat](table).items()),
        counts={
            "voxels": table.voxels,
            "voxels_scored": table.without(truth=(0, *pair.ignored)).voxels,
            "true_objects": scores[0].matched + scores[0].missed,
            "found_objects": scores[0].matched + scores[0].false,
            "pairs_that_overlap": len(table),
        },
        table=rows,
        lines=lines,
        errors=tuple(errors),
        errors_in_all=len(found),
        scene=pair.scene(labels=True),
    )


def _label_figures(table: Contingency, ignored: Sequence[int]) -> tuple[Figure, ...]:
    """Return the figures; intervals hold the found objects fixed and draw the true ones."""
    left_out = (0, *ignored)
    part = table.without(truth=left_out)
    _, true_sizes, i = part.true_sizes()
    _, found_sizes, j = part.found_sizes()
    split, merge = conditional_bits(part)
    count = part.count.astype(np.float64)

    def by_object(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(i, values, minlength=len(true_sizes)).astype(np.float64)

    size = true_sizes.astype(np.float64)
    found = found_sizes[j].astype(np.float64)
    bits = [by_object(each) for each in (split, merge)]
    lost = np.where(part.found == 0, count, 0.0)
    squares = [by_object(count * count), size * size, by_object(count * found)]
    couples = [by_object(count * (count - 1)), size * (size - 1), by_object(count * (found - 1))]
    information = variation_of_information(table, ignored=left_out)
    rand, pairs = (rand_error(table, convention=c, ignored=left_out) for c in ("squares", "pairs"))

    def figure(
        name: str,
        value: float,
        columns: Sequence[NDArray[np.float64]],
        statistic: Callable[[NDArray[np.float64]], float] | None = None,
    ) -> Figure:
        drawn = share_of(name, np.stack(columns, axis=1), "true objects", statistic=statistic)
        return replace(drawn, value=value)

    cremi = cremi_score(table, ignored=left_out)
    figures = [
        figure("VOI split [bits]", information.split, [bits[0], size]),
        figure("VOI merge [bits]", information.merge, [bits[1], size]),
        figure("ARAND (squares: CREMI, elf, funlib)", rand.error, squares, _adapted_rand),
        figure("ARAND (pairs: skimage)", pairs.error, couples, _adapted_rand),
        figure("CREMI score", cremi, [bits[0] + bits[1], size, *squares], _cremi),
        # The figures above take what was not found for one more object, and can be perfect.
        share_of("omitted voxels", np.stack([by_object(lost), size], axis=1), "true objects"),
    ]
    return (*figures, *_instance_figures(table, ignored))


def _adapted_rand(sums: NDArray[np.float64]) -> float:
    return float(1 - 2 * sums[0] / (sums[1] + sums[2])) if sums[1] + sums[2] else math.nan


def _cremi(sums: NDArray[np.float64]) -> float:
    return math.sqrt(max(0.0, sums[0] / sums[1] * _adapted_rand(sums[2:])))


def _instance_figures(table: Contingency, ignored: Sequence[int]) -> list[Figure]:
    """Return the figures of instances, drawn over objects: matched, missed and false ones."""
    scores = instance_scores(table, ignored=ignored)
    first = scores[0]
    alone = first.missed + first.false
    overlap = np.concatenate([first.overlap, np.zeros(alone)])
    weight = np.concatenate([np.full(first.matched, 2.0), np.ones(alone)])
    # Above one half an object has one partner at most: matches at the other thresholds are among
    # those at the first.
    matched = np.stack([overlap >= s.threshold for s in scores], axis=1) & (overlap > 0)[:, None]

    def figure(
        name: str, columns: NDArray[np.float64], statistic: Callable[..., float] | None = None
    ) -> Figure:
        rows = np.column_stack([columns, weight])
        return share_of(name, rows, "objects", statistic=statistic)

    def accuracy(sums: NDArray[np.float64]) -> float:
        return float((sums[:-1] / (sums[-1] - sums[:-1])).mean()) if sums[-1] else math.nan

    both = (2 * matched).astype(np.float64)
    figures = [
        figure(f"F1 of instances at {s.threshold:g}", both[:, scores.index(s)])
        for s in scores
        if s.threshold in (0.5, 0.75)
    ]
    figures.append(figure("panoptic quality", 2 * overlap))
    name = "average precision, mean of 0.5 to 0.95"
    figures.append(figure(name, matched.astype(np.float64), accuracy))
    return figures
