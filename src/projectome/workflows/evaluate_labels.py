"""Instance labels against the truth."""

from __future__ import annotations

from collections.abc import Sequence
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
    square = count * count
    rows = {
        "VOI split [bits]": np.stack([by_object(split), size], axis=1),
        "VOI merge [bits]": np.stack([by_object(merge), size], axis=1),
    }
    pairs_of_voxels = np.stack(
        [by_object(square), size * size, by_object(count * found_sizes[j])], axis=1
    )
    information = variation_of_information(table, ignored=left_out)
    rand, pairs = (rand_error(table, convention=c, ignored=left_out) for c in ("squares", "pairs"))
    matched = instance_scores(table, thresholds=(0.5, 0.75), ignored=ignored)
    drawn = {name: share_of(name, values, "true objects") for name, values in rows.items()}
    error = share_of(
        "ARAND (squares: CREMI, elf, funlib)",
        pairs_of_voxels,
        "true objects",
        statistic=lambda s: 1 - 2 * s[0] / (s[1] + s[2]),
    )
    figures = [
        replace(drawn["VOI split [bits]"], value=information.split),
        replace(drawn["VOI merge [bits]"], value=information.merge),
        replace(error, value=rand.error),
        Figure("ARAND (pairs: skimage)", pairs.error),
        Figure("CREMI score", cremi_score(table, ignored=left_out)),
    ]
    for scores in matched:
        items = np.concatenate(
            [
                np.tile([2.0, 2.0], (scores.matched, 1)),
                np.tile([0.0, 1.0], (scores.missed + scores.false, 1)),
            ]
        )
        figures.append(share_of(f"F1 of instances at {scores.threshold:g}", items, "objects"))
    figures.append(Figure("panoptic quality", matched[0].panoptic_quality))
    accuracy = [s.average_precision for s in instance_scores(table, ignored=ignored)]
    figures.append(Figure("average precision, mean of 0.5 to 0.95", float(np.mean(accuracy))))
    return tuple(figures)
