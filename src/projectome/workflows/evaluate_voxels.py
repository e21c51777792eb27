"""Masks, probabilities and classes of voxels against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bioimage_cpp.segmentation import label
from numpy.typing import NDArray

from projectome.core.volume import Volume
from projectome.engine.sinks import TableSink
from projectome.errors import ParameterError
from projectome.metrics.bootstrap import interval
from projectome.metrics.contingency import Contingency, label_array
from projectome.metrics.steps import CountOverlaps
from projectome.metrics.voxels import (
    CentreLineScores,
    SurfaceScores,
    VoxelScores,
    centre_line_scores,
    cl_dice,
    class_scores,
    curve_of,
    score_curve,
    surface_scores,
    voxel_scores,
)
from projectome.workflows.evaluate_volumes import (
    VolumePair,
    blocks_of,
    count_overlaps,
    place_um,
    tables_of,
)
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
RESAMPLES = 400
"""Draws of figures that take long to compute."""
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
    label_array(np.empty(0, truth.dtype), f"The truth {truth.name}")  # before any work
    fractions = found.dtype.kind == "f" and pair.threshold is None
    step = CountOverlaps(
        pair.truth, pair.prediction, pair.scored, threshold=pair.threshold, scores=fractions
    )
    with TemporaryDirectory(prefix="projectome-") as work:
        sink = count_overlaps(step, job, Path(work))
        whole = Contingency.add_up(tables_of(sink)).without(truth=pair.ignored)
        positive = _positive(whole, pair, mask=fractions or pair.threshold is not None)
        if positive:
            return _mask(whole, sink, replace(pair, positive=positive), distance_um)
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
    whole: Contingency, sink: TableSink, pair: VolumePair, distance_um: float | None
) -> Evaluation:
    """Score a mask, or a probability at its best threshold."""
    settings: dict[str, object] = {
        "positive": pair.positive,
        "ignored": pair.ignored,
        "threshold": pair.threshold,
    }
    lines: tuple[Line, ...] = ()
    ranked: tuple[Figure, ...] = ()
    cut, tables = pair.threshold, tables_of(sink)
    if cut is None and pair.prediction.open().dtype.kind == "f":
        curve = score_curve(whole, positive=pair.positive)
        cut = curve.threshold[curve.best] / 65535 if len(curve.threshold) else 0.5
        settings["threshold"] = f"{cut:.4g}, where F1 is largest: a choice made on this truth"
        ranked = (_ranked(curve.average_precision, whole, tables_of(sink), pair),)
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


def _ranked(
    value: float, whole: Contingency, tables: Iterable[Contingency], pair: VolumePair
) -> Figure:
    """Return the average precision, drawn over blocks."""
    levels = np.unique(whole.found)
    # Scores in at most 256 steps: the interval needs no finer ones.
    edges = levels[:: max(1, -(-len(levels) // 256))]
    parts = []
    for part in (table.without(truth=pair.ignored) for table in tables):
        step = np.searchsorted(edges, part.found, side="right") - 1
        true = np.isin(part.truth, np.asarray(pair.positive, np.uint64))
        hits = np.bincount(step[true], part.count[true], len(edges))
        if len(part):
            parts.append(np.stack([hits, np.bincount(step, part.count, len(edges))]))
    counts = np.stack(parts) if parts else np.empty((0, 2, len(edges)))

    def drawn(index: NDArray[np.int64]) -> float:
        hits, found = np.cumsum(counts[index].sum(axis=0)[:, ::-1], axis=1)
        falling = edges[::-1].astype(np.float64)
        return curve_of(falling, hits, found, int(hits[-1])).average_precision

    found = interval(drawn, n=len(parts), resamples=RESAMPLES)
    return Figure("average precision", value, found.low, found.high, found.n, "blocks")


def _numbers(voxels: NDArray[np.int64], grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each voxel that all of its block share."""
    if not len(voxels):
        return np.empty(0, np.int64)
    block = voxels // grid
    return np.asarray(np.ravel_multi_index(tuple(block.T), tuple(block.max(axis=0) + 1)))


def _line_figures(lines: CentreLineScores, grid: NDArray[np.int64]) -> tuple[Figure, ...]:
    """Return the figures of centre lines, drawn over the blocks that hold any."""
    both = np.concatenate([lines.true_line, lines.found_line])
    _, block = np.unique(_numbers(both[:, :3], grid), return_inverse=True)
    of_truth = np.arange(len(both)) < len(lines.true_line)
    columns = [both[:, 3] * of_truth, of_truth, both[:, 3] * ~of_truth, ~of_truth]
    rows = np.stack([np.bincount(block, each) for each in columns], axis=1).astype(np.float64)

    def harmonic(sums: NDArray[np.float64]) -> float:
        return cl_dice(*(a / b if b else math.nan for a, b in sums.reshape(2, 2).tolist()))

    return (
        share_of("clDice", rows, "blocks", statistic=harmonic),
        replace(share_of("centre line precision", rows[:, 2:], "blocks"), value=lines.precision),
        replace(share_of("centre line recall", rows[:, :2], "blocks"), value=lines.recall),
    )


def _rim_figures(rims: SurfaceScores, grid: NDArray[np.int64]) -> tuple[Figure, ...]:
    """Return the figures of surfaces, drawn over the blocks that hold any."""
    _, block = np.unique(_numbers(rims.voxels, grid), return_inverse=True)
    near = rims.gap_um <= rims.tolerance_um * (1 + 1e-6)
    whole, total, inside = (
        np.bincount(block, each) for each in (np.ones(len(block)), rims.gap_um, near)
    )
    order = np.argsort(block, kind="stable")
    of_block = np.split(order, np.cumsum(whole.astype(np.int64))[:-1]) if len(whole) else []

    def far(index: NDArray[np.int64]) -> float:
        drawn = np.concatenate([of_block[k] for k in index.tolist()])
        sides = (
            rims.gap_um[drawn[drawn < rims.of_truth]],
            rims.gap_um[drawn[drawn >= rims.of_truth]],
        )
        return max((float(np.percentile(s, 95)) for s in sides if len(s)), default=math.nan)

    p95 = interval(far, n=len(of_block), resamples=RESAMPLES)
    tolerance = f"surface Dice within {rims.tolerance_um:g} um"
    return (
        replace(
            share_of("surface distance, mean [um]", np.stack([total, whole], axis=1), "blocks"),
            value=rims.mean_um,
        ),
        Figure("surface distance, 95 % [um]", rims.p95_um, p95.low, p95.high, p95.n, "blocks"),
        replace(share_of(tolerance, np.stack([inside, whole], axis=1), "blocks"), value=rims.dice),
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
    objects = [k for k in scores if k != 0]
    right, rows = _class_rows(tables, objects, pair.ignored)
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
    details = [
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
            share_of("accuracy", right, "blocks"),
            share_of("mean Dice of classes beside 0", rows, "blocks", statistic=_mean_dice),
            share_of("smallest Dice", rows, "blocks", statistic=_least_dice),
        ),
        counts={"voxels": whole.voxels, "classes": len(objects)},
        table=details,
        errors=errors,
        errors_in_all=int(wrong.sum()),
        scene=pair.scene(labels=True),
    )


def _class_rows(
    tables: Iterable[Contingency], classes: Sequence[int], ignored: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each block its right and all voxels, and of each class overlap and sizes.

    Twice the overlaps of all classes come first, then the sums of their two sizes.
    """
    place = {name: k for k, name in enumerate(classes)}
    right, rows = [], []
    for part in (table.without(truth=ignored) for table in tables):
        if not len(part):
            continue
        right.append([part.count[part.truth == part.found].sum(), part.count.sum()])
        row = np.zeros((2, len(classes)))
        for name, own in class_scores(part).items():
            if name in place:
                row[:, place[name]] = 2 * own.tp, 2 * own.tp + own.fp + own.fn
        rows.append(row.ravel())
    shares = np.asarray(right, np.float64).reshape(-1, 2)
    return shares, np.asarray(rows, np.float64).reshape(len(rows), 2 * len(classes))


def _dice(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Dice of each class that occurs."""
    part, whole = sums.reshape(2, -1)
    return part[whole > 0] / whole[whole > 0]


def _mean_dice(sums: NDArray[np.float64]) -> float:
    dice = _dice(sums)
    return float(dice.mean()) if len(dice) else math.nan


def _least_dice(sums: NDArray[np.float64]) -> float:
    return float(_dice(sums).min(initial=math.inf)) if len(_dice(sums)) else math.nan


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
        grid = np.asarray(blocks_of(truth).shape)
        lines = centre_line_scores(true, found, voxel_size=truth.voxel_size)
        rims = surface_scores(true, found, voxel_size=truth.voxel_size, tolerance_um=tolerance)
        figures = (*_line_figures(lines, grid), *_rim_figures(rims, grid))
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
