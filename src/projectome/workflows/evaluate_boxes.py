"""Detected boxes against true ones."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError
from projectome.io.points import read_annotations
from projectome.io.tables import numeric, read_with_metadata
from projectome.metrics.boxes import box_curve, box_hits, match_boxes
from projectome.metrics.labels import THRESHOLDS
from projectome.workflows.evaluate_points import (
    TablePair,
    counts_of,
    curve_lines,
    error_at,
    ranked,
    scores_of,
    shares,
)
from projectome.workflows.evaluation import ERRORS, Evaluation, Line, mean_of, same_space


def evaluate_boxes(pair: TablePair, *, threshold: float = 0.5) -> Evaluation:
    """Score detected boxes.

    Parameters
    ----------
    pair
        Files of boxes: annotations of neuroglancer, or tables with ``start_z_um`` ... and
        ``end_z_um`` ... .
    threshold
        Least intersection over union of a match.

    Returns
    -------
    Evaluation
        Intervals are over boxes: matched, missed and false.
    """
    (a, truth), (b, found) = (_read_boxes(url, pair) for url in (pair.truth, pair.prediction))
    same_space(truth.space, found.space)
    matched = match_boxes(a, b, threshold=threshold)
    missed = np.setdiff1d(np.arange(len(a)), matched.pairs[:, 0])
    false = np.setdiff1d(np.arange(len(b)), matched.pairs[:, 1])
    figures = shares(len(matched.pairs), len(missed), len(false), "boxes")
    figures.append(mean_of("mean overlap of matches", matched.overlap, "matches"))
    lines: tuple[Line, ...] = ()
    if (scores := scores_of(found)) is not None:
        curve = box_curve(a, b, scores, threshold=threshold)
        name = f"average precision at {threshold:g}"
        hits = box_hits(a, b, scores, threshold=threshold)
        figures.append(ranked(name, scores, hits[:, None], len(a), "boxes"))
        every = np.stack([box_hits(a, b, scores, threshold=t) for t in THRESHOLDS], axis=1)
        name = "average precision, mean of 0.5 to 0.95"
        figures.append(ranked(name, scores, every, len(a), "boxes"))
        lines = curve_lines(curve)
    rows = [
        {"overlap": s.threshold, "matched": len(s.pairs), "precision": s.precision,
         "recall": s.recall, "f1": s.f1}
        for s in (match_boxes(a, b, threshold=t) for t in THRESHOLDS)
    ]  # fmt: skip
    errors = [error_at("missed", truth, k) for k in missed] + [
        error_at("false", found, k) for k in false
    ]
    sizes = np.concatenate([a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]])
    return Evaluation(
        kind="boxes",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"overlap": threshold},
        figures=tuple(figures),
        counts=counts_of(len(a), len(b), len(matched.pairs)),
        table=rows,
        lines=lines,
        errors=tuple(errors[:ERRORS]),
        errors_in_all=len(errors),
        scene=pair.scene(truth, found, 2 * float(sizes.max()) if len(sizes) else 20.0),
    )


def _read_boxes(url: str, pair: TablePair) -> tuple[NDArray[np.float64], Points]:
    """Return boxes and their centres, with their columns."""
    if PurePosixPath(url).suffix.lower() in (".csv", ".parquet"):
        table = read_with_metadata(url)[0]
        return _boxes_of(table, url, pair)
    found = [
        layer
        for layer in read_annotations(url, voxel_size=pair.voxel_size, expansion=pair.expansion)
        if layer.kind == "axis_aligned_bounding_box"
    ]
    if len(found) != 1:
        raise FormatError(f"{url} holds {len(found)} sets of boxes; one is needed.")
    low, high = found[0].bounds
    return np.stack([low, high], axis=1), found[0].points()


def _boxes_of(table: pd.DataFrame, url: str, pair: TablePair) -> tuple[NDArray[np.float64], Points]:
    names = [f"{part}_{axis}_um" for part in ("start", "end") for axis in "zyx"]
    missing = [n for n in names if n not in table]
    if missing:
        raise FormatError(
            f"{url} has no column {missing[0]!r}. A table of boxes has {', '.join(names)}, and may "
            "have id and score."
        )
    corners = np.stack([numeric(table[n], url) for n in names], axis=1).reshape(-1, 2, 3)
    space = Space(expansion=1.0 if pair.expansion is None else pair.expansion)
    rest: dict[str, Any] = {n: table[n].to_numpy() for n in table.columns if n not in names}
    return corners, Points(corners.mean(axis=1), space, rest)
