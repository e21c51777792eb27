"""Masks, probabilities and classes of voxels against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bioimage_cpp.segmentation import label

from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.metrics.contingency import Contingency
from projectome.metrics.steps import CountOverlaps
from projectome.metrics.voxels import (
    VoxelScores,
    centre_line_scores,
    class_scores,
    score_curve,
    surface_scores,
    voxel_scores,
)
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

WHOLE = 2**27
"""Volumes of more voxels are not read whole: no centre lines, surfaces and pieces of errors."""
SHARES = ("iou", "dice", "precision", "recall", "specificity", "accuracy")


def evaluate_voxels(pair: VolumePair, job: Job, *, distance_um: float | None = None) -> Evaluation:
    """Score a mask, a probability, or classes of voxels.

    Parameters
    ----------
    pair
        The volumes. Without ``positive``, a truth of 0 and 1 is a mask, and one of more labels is
        scored class by class.
    job
        Where and how to run.
    distance_um
        Tolerance of the Dice of surfaces [um]; one voxel by default.

    Returns
    -------
    Evaluation
        Intervals are over blocks.

    Raises
    ------
    ParameterError
        If it is not clear which labels of the truth, or values of the prediction, are positive.
    """
    truth, found = pair.open()
    fractions = found.dtype.kind == "f" and pair.threshold is None
    step = CountOverlaps(
        pair.truth, pair.prediction, pair.scored, threshold=pair.threshold, scores=fractions
    )
    with TemporaryDirectory(prefix="projectome-") as work:
        sink = count_overlaps(step, job, Path(work))
        whole = Contingency.add_up(tables_of(sink)).without(truth=pair.ignored)
        positive = _positive(whole, pair, mask=fractions or pair.threshold is not None)
        if positive:
            return _mask(whole, tables_of(sink), replace(pair, positive=positive), distance_um)
        return _classes(whole, tables_of(sink), pair, truth)


def _positive(whole: Contingency, pair: VolumePair, *, mask: bool) -> tuple[int, ...]:
    """Return which true labels are positive; none if each label is a class."""
    names = set(np.unique(whole.truth).tolist())
    positive = pair.positive or ((1,) if names <= {0, 1} else ())
    if mask and not positive:
        raise ParameterError(
            f"The truth holds the labels {_some(names)}: say which are positive, --positive N, "
            "and which are not scored, --ignored N."
        )
    values = set(np.unique(whole.found).tolist())
    if positive and not mask and not values <= {0, 1} and len(values) > 2:
        raise ParameterError(
            f"The prediction holds the values {_some(values)}, so that what is positive is not "
            "clear: give --threshold X (1 where everything but 0 is)."
        )
    return positive


def _mask(
    whole: Contingency, tables: Iterable[Contingency], pair: VolumePair, distance_um: float | None
) -> Evaluation:
    """Score a mask, or a probability at its best threshold."""
    settings: dict[str, object] = {
        "positive": pair.positive,
        "ignored": pair.ignored,
        "threshold": pair.threshold,
    }
    lines: tuple[Line, ...] = ()
    ranked: tuple[Figure, ...] = ()
    cut = pair.threshold
    if cut is None and pair.prediction.open().dtype.kind == "f":
        curve = score_curve(whole, positive=pair.positive)
        cut = curve.threshold[curve.best] / 65535 if len(curve.threshold) else 0.5
        settings["threshold"] = f"{cut:.4g}, where F1 is largest: a choice made on this truth"
        ranked = (Figure("average precision", curve.average_precision),)
        lines = (
            Line("precision over recall", "recall", "precision", curve.recall, curve.precision),
            Line("F1", "threshold", "F1", curve.threshold / 65535, curve.f1),
        )
        level = round(cut * 65535)
        cut = (level - 0.5) / 65535  # where rounding to that level begins
        tables = (_binary(table, level) for table in tables)
    own = [voxel_scores(t, positive=pair.positive, ignored=pair.ignored) for t in tables]
    counts = VoxelScores(*(sum(getattr(s, k) for s in own) for k in ("tp", "fp", "fn", "tn")))
    extra, errors, total, notes = _whole(pair, cut, distance_um)
    return Evaluation(
        kind="voxels",
        truth=pair.truth.url,
        prediction=pair.prediction.url,
        settings=settings,
        figures=(*_shares(own), *ranked, *extra),
        counts={k: getattr(counts, k) for k in ("voxels", "tp", "fp", "fn", "tn")},
        lines=lines,
        errors=errors,
        errors_in_all=total,
        notes=notes,
        scene=pair.scene(labels=False),
    )


def _some(names: set[int]) -> str:
    first = ", ".join(map(str, sorted(names)[:8]))
    return first + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _binary(table: Contingency, level: int) -> Contingency:
    """Return the table with scores from a level on as 1, others as 0."""
    found = (table.found >= level).astype(np.uint64)
    return Contingency.add_up([Contingency(table.truth, found, table.count, table.place)])


def _shares(scores: Sequence[VoxelScores]) -> list[Figure]:
    """Return the shares of all blocks together, with intervals over blocks that are scored."""
    rows = np.asarray([(s.tp, s.fp, s.fn, s.tn) for s in scores if s.voxels], np.float64)
    rows = rows.reshape(-1, 4)

    def figure(name: str) -> Figure:
        return share_of(
            name,
            rows,
            "blocks",
            statistic=lambda sums: getattr(VoxelScores(*(int(v) for v in sums)), name),
        )

    return [replace(figure(name), name=name.replace("iou", "IoU")) for name in SHARES]


def _classes(
    whole: Contingency, tables: Iterable[Contingency], pair: VolumePair, truth: Volume
) -> Evaluation:
    """Score each class of voxels against all others."""
    scores = class_scores(whole)
    objects = {k: s for k, s in scores.items() if k != 0}
    dice = [s.dice for s in objects.values()]
    right = [
        [t.count[t.truth == t.found].sum(), t.count.sum()]
        for t in (table.without(truth=pair.ignored) for table in tables)
        if len(t)
    ]
    wrong = whole.truth != whole.found
    order = np.argsort(-whole.count[wrong], kind="stable")[:ERRORS]
    errors = tuple(
        ErrorAt(
            "confused",
            f"{whole.truth[wrong][k]} as {whole.found[wrong][k]}",
            float(whole.count[wrong][k]),
            "voxels",
            place_um(truth, int(whole.place[wrong][k])),
        )
        for k in order
    )
    rows = [
        {"class": k, "dice": s.dice, "iou": s.iou, "precision": s.precision, "recall": s.recall,
         "true_voxels": s.tp + s.fn, "found_voxels": s.tp + s.fp}
        for k, s in scores.items()
    ]  # fmt: skip
    return Evaluation(
        kind="voxels",
        truth=pair.truth.url,
        prediction=pair.prediction.url,
        settings={"ignored": pair.ignored},
        figures=(
            share_of("accuracy", np.asarray(right, np.float64).reshape(-1, 2), "blocks"),
            Figure("mean Dice of classes beside 0", float(np.mean(dice)) if dice else math.nan),
            Figure("smallest Dice", min(dice, default=math.nan)),
        ),
        counts={"voxels": whole.voxels, "classes": len(objects)},
        table=rows,
        errors=errors,
        errors_in_all=int(wrong.sum()),
        scene=pair.scene(labels=True),
    )


def _whole(
    pair: VolumePair, cut: float | None, distance_um: float | None
) -> tuple[tuple[Figure, ...], tuple[ErrorAt, ...], int, tuple[str, ...]]:
    """Return what needs whole volumes: centre lines, surfaces, and pieces of wrong voxels."""
    truth = pair.truth.open()
    if truth.box.size > WHOLE:
        return (), (), 0, ("centre lines, surfaces and errors: the volume is not read whole",)
    labels, values = truth.read(), pair.prediction.open().read()
    true = np.isin(labels, pair.positive)
    found = np.asarray(values != 0 if cut is None else np.greater_equal(values, cut))
    scored = ~np.isin(labels, pair.ignored)
    if pair.scored is not None:
        scored &= pair.scored.open().read() != 0
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    if scored.all():
        tolerance = max(truth.voxel_size) if distance_um is None else distance_um
        lines = centre_line_scores(true, found, voxel_size=truth.voxel_size)
        rims = surface_scores(true, found, voxel_size=truth.voxel_size, tolerance_um=tolerance)
        figures = (
            Figure("clDice", lines.cl_dice),
            Figure("centre line precision", lines.precision),
            Figure("centre line recall", lines.recall),
            Figure("surface distance, mean [um]", rims.mean_um),
            Figure("surface distance, 95 % [um]", rims.p95_um),
            Figure(f"surface Dice within {tolerance:g} um", rims.dice),
        )
    else:
        notes = ("centre lines and surfaces: some voxels are not scored, which would cut them",)
    errors: list[ErrorAt] = []
    for what, wrong in (("missed", true & ~found & scored), ("false", ~true & found & scored)):
        pieces = label(np.ascontiguousarray(wrong).view(np.uint8)).ravel()
        names, first, sizes = np.unique(pieces, return_index=True, return_counts=True)
        errors += [
            ErrorAt(what, f"piece {name}", float(size), "voxels", place_um(truth, int(place)))
            for name, place, size in zip(names, first, sizes, strict=True)
            if name
        ]
    errors.sort(key=lambda error: (-error.size, error.what, error.point_um))
    return figures, tuple(errors[:ERRORS]), len(errors), notes
