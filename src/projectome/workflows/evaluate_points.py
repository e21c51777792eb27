"""Points, boxes, classes and landmarks against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError, ParameterError
from projectome.io.points import read_annotations, read_points
from projectome.io.source import VolumeSource
from projectome.io.tables import numeric, read_with_metadata
from projectome.metrics.bootstrap import interval
from projectome.metrics.boxes import box_curve, match_boxes, mean_average_precision
from projectome.metrics.classes import classification_scores
from projectome.metrics.detection import match_points, point_curve
from projectome.metrics.labels import THRESHOLDS
from projectome.metrics.landmarks import PERCENTILES, landmark_errors
from projectome.metrics.voxels import Curve
from projectome.workflows.evaluation import (
    ERRORS,
    ErrorAt,
    Evaluation,
    Figure,
    Line,
    Scene,
    same_space,
    share_of,
)

SCORES = ("score", "confidence", "probability")
CLASSES = ("class", "type", "label")
NAMES = ("id", "name")
NOWHERE = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class TablePair:
    """Two files of points, boxes or classes.

    Attributes
    ----------
    truth, prediction
        Where they are.
    voxel_size
        Size of a voxel (z, y, x) [um], for files whose coordinates are voxels.
    expansion
        Micrometres of the files in one micrometre of tissue.
    image
        A picture to show errors in.
    """

    truth: str
    prediction: str
    voxel_size: tuple[float, float, float] | None = None
    expansion: float | None = None
    image: VolumeSource | None = None

    def points(self) -> tuple[Points, Points]:
        """Read both files of points, which have to lie in one space."""
        a, b = (
            read_points(url, voxel_size=self.voxel_size, expansion=self.expansion)
            for url in (self.truth, self.prediction)
        )
        same_space(a.space, b.space)
        if a.space.unit != "micrometer":
            raise ParameterError(
                "Both files have voxels for coordinates; distances are micrometres. Give "
                "--voxel-size Z,Y,X."
            )
        return a, b

    def scene(self, truth: Points, found: Points, radius_um: float) -> Scene:
        """Return what can be shown around an error."""
        volumes = {} if self.image is None else {"image": self.image}
        return Scene(volumes, points={"truth": truth, "prediction": found}, radius_um=radius_um)


def evaluate_points(pair: TablePair, *, distance_um: float) -> Evaluation:
    """Score detected points.

    Parameters
    ----------
    pair
        Files of points; with a column ``score`` in the prediction there are curves.
    distance_um
        Farthest that matched points may lie apart [um].

    Returns
    -------
    Evaluation
        Intervals are over points: matched, missed and false.
    """
    truth, found = pair.points()
    a, b = truth.coordinates, found.coordinates
    matched = match_points(a, b, distance_um=distance_um)
    missed = np.setdiff1d(np.arange(len(a)), matched.pairs[:, 0])
    false = np.setdiff1d(np.arange(len(b)), matched.pairs[:, 1])
    mean = interval(matched.distances)
    figures = [*_shares(len(matched.pairs), len(missed), len(false), "points")]
    figures.append(
        Figure("mean distance of matches [um]", mean.value, mean.low, mean.high, mean.n, "matches")
    )
    if len(matched.pairs):
        offset = (b[matched.pairs[:, 1]] - a[matched.pairs[:, 0]]).mean(axis=0)
        figures += [
            Figure(f"mean shift in {axis} [um]", float(v))
            for axis, v in zip("zyx", offset, strict=True)
        ]
    lines: tuple[Line, ...] = ()
    if (scores := _scores(found)) is not None:
        curve = point_curve(a, b, scores, distance_um=distance_um)
        figures.append(Figure("average precision", curve.average_precision))
        lines = _lines(curve)
    order = np.argsort(-matched.distances, kind="stable")
    order = order[matched.distances[order] > 0]
    errors = [_at("missed", truth, k) for k in missed] + [_at("false", found, k) for k in false]
    errors += [
        replace(
            _at("displaced", truth, matched.pairs[k, 0]),
            size=float(matched.distances[k]),
            unit="um",
        )
        for k in order[: max(0, ERRORS - len(errors))]
    ]
    return Evaluation(
        kind="points",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"distance_um": distance_um},
        figures=tuple(figures),
        counts=_counts(len(a), len(b), len(matched.pairs)),
        lines=lines,
        errors=tuple(errors[:ERRORS]),
        errors_in_all=len(missed) + len(false) + len(order),
        scene=pair.scene(truth, found, 5 * max(distance_um, 1.0)),
    )


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
    figures = _shares(len(matched.pairs), len(missed), len(false), "boxes")
    figures.append(Figure("mean overlap of matches", matched.mean_overlap))
    lines: tuple[Line, ...] = ()
    if (scores := _scores(found)) is not None:
        curve = box_curve(a, b, scores, threshold=threshold)
        figures.append(Figure(f"average precision at {threshold:g}", curve.average_precision))
        mean = mean_average_precision(a, b, scores)
        figures.append(Figure("average precision, mean of 0.5 to 0.95", mean))
        lines = _lines(curve)
    rows = [
        {"overlap": s.threshold, "matched": len(s.pairs), "precision": s.precision,
         "recall": s.recall, "f1": s.f1}
        for s in (match_boxes(a, b, threshold=t) for t in THRESHOLDS)
    ]  # fmt: skip
    errors = [_at("missed", truth, k) for k in missed] + [_at("false", found, k) for k in false]
    sizes = np.concatenate([a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]])
    return Evaluation(
        kind="boxes",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"overlap": threshold},
        figures=tuple(figures),
        counts=_counts(len(a), len(b), len(matched.pairs)),
        table=rows,
        lines=lines,
        errors=tuple(errors[:ERRORS]),
        errors_in_all=len(errors),
        scene=pair.scene(truth, found, 2 * float(sizes.max()) if len(sizes) else 20.0),
    )


def evaluate_classes(pair: TablePair, *, column: str | None = None) -> Evaluation:
    """Score the classes of the same items.

    Parameters
    ----------
    pair
        Tables with a column ``id`` (or ``name``) and one of classes.
    column
        Name of the column of classes; ``class``, ``type`` or ``label`` if left out.

    Returns
    -------
    Evaluation
        Intervals are over items.

    Raises
    ------
    FormatError
        If a table lacks a column, ids repeat, or the items are not the same.
    """
    truth, found = (read_with_metadata(url)[0] for url in (pair.truth, pair.prediction))
    where, a, b = _paired(truth, found, pair)
    name = column or next((c for c in CLASSES if c in truth and c in found), "class")
    for table, url in ((truth, pair.truth), (found, pair.prediction)):
        if name not in table:
            raise FormatError(
                f"{url} has no column {name!r}; it has {', '.join(map(repr, table.columns))}. Name "
                "the column of classes with --column."
            )
    true, given = truth[name].to_numpy(object)[a], found[name].to_numpy(object)[b]
    scores = classification_scores(list(true), list(given))
    right = np.asarray([[float(str(p) == str(q)), 1.0] for p, q in zip(true, given, strict=True)])
    each = {one: scores.one(one) for one in scores.names}
    rows: list[dict[str, object]] = [
        {"class": one, "precision": s.precision, "recall": s.recall, "f1": s.f1}
        | {f"given {other}": int(v) for other, v in zip(scores.names, line, strict=True)}
        for (one, s), line in zip(each.items(), scores.confusion, strict=True)
    ]
    places = _places(truth)
    errors = [
        ErrorAt(
            "confused", f"{where} {truth[where].iloc[i]}: {p} as {q}", 1.0, "item",
            NOWHERE if places is None else (places[i, 0], places[i, 1], places[i, 2]),
        )
        for i, p, q in zip(a.tolist(), true, given, strict=True)
        if str(p) != str(q)
    ]  # fmt: skip
    return Evaluation(
        kind="classes",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"column": name, "matched by": where},
        figures=(
            replace(share_of("accuracy", right.reshape(-1, 2), "items"), value=scores.accuracy),
            Figure("balanced accuracy", scores.balanced_accuracy),
            Figure("Cohen's kappa", scores.kappa),
        ),
        counts={"items": scores.items, "right": int(np.trace(scores.confusion))},
        table=rows,
        errors=tuple(errors[:ERRORS]),
        errors_in_all=len(errors),
        scene=Scene({} if pair.image is None else {"image": pair.image}),
    )


def evaluate_landmarks(pair: TablePair) -> Evaluation:
    """Measure how far landmarks lie from their true places.

    Parameters
    ----------
    pair
        Files of points, matched by their column ``id`` or ``name``.

    Returns
    -------
    Evaluation
        Intervals are over landmarks.
    """
    truth, found = pair.points()
    tables = [pd.DataFrame(dict(points.columns)) for points in (truth, found)]
    where, i, j = _paired(tables[0], tables[1], pair)
    a, b = truth.take(i), found.take(j)
    errors = landmark_errors(a.coordinates, b.coordinates)
    mean = interval(errors.distance)
    figures = [Figure("mean error [um]", mean.value, mean.low, mean.high, mean.n, "landmarks")]
    for percent in PERCENTILES:
        drawn = interval(errors.distance[:, None], partial(np.percentile, q=percent))
        name = "median error [um]" if percent == 50 else f"{percent:g} % have an error below [um]"
        figures.append(Figure(name, drawn.value, drawn.low, drawn.high, drawn.n, "landmarks"))
    figures.append(Figure("largest error [um]", errors.largest_um))
    figures += [
        Figure(f"mean shift in {axis} [um]", float(v))
        for axis, v in zip("zyx", errors.shift_um, strict=True)
    ]
    order = np.argsort(-errors.distance, kind="stable")
    ranked = np.sort(errors.distance)
    share = np.arange(1, len(ranked) + 1) / max(len(ranked), 1)
    return Evaluation(
        kind="landmarks",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"matched by": where, "expansion": truth.space.expansion},
        figures=tuple(figures),
        counts={"landmarks": len(errors)},
        lines=(Line("landmarks within an error", "error [um]", "share", ranked, share),),
        errors=tuple(
            replace(_at("displaced", a, k), size=float(errors.distance[k]), unit="um")
            for k in order[:ERRORS]
        ),
        errors_in_all=len(errors),
        scene=pair.scene(a, b, max(10.0, 2 * errors.largest_um) if len(errors) else 20.0),
    )


def _shares(hits: int, missed: int, false: int, of: str) -> list[Figure]:
    """Return precision, recall and F1, drawn over hits, misses and false ones."""
    items = np.concatenate(
        [np.tile(row, (n, 1)) for row, n in (((1.0, 0, 0), hits), ((0, 1.0, 0), missed),
                                             ((0, 0, 1.0), false))]
    )  # fmt: skip

    def weighted(miss: float, wrong: float) -> Callable[[NDArray[np.float64]], float]:
        """Return hits / (hits + miss x missed + wrong x false)."""

        def share(sums: NDArray[np.float64]) -> float:
            whole = sums[0] + miss * sums[1] + wrong * sums[2]
            return float(sums[0] / whole) if whole else math.nan

        return share

    parts = {"precision": weighted(0, 1), "recall": weighted(1, 0), "F1": weighted(0.5, 0.5)}
    return [share_of(name, items, of, statistic=share) for name, share in parts.items()]


def _counts(true: int, found: int, hits: int) -> dict[str, float]:
    return {
        "true": true, "found": found, "matched": hits, "missed": true - hits, "false": found - hits,
    }  # fmt: skip


def _lines(curve: Curve) -> tuple[Line, ...]:
    return (
        Line("precision over recall", "recall", "precision", curve.recall, curve.precision),
        Line("F1", "score", "F1", curve.threshold, curve.f1),
    )


def _scores(found: Points) -> NDArray[np.float64] | None:
    """Return the column of scores, if there is one."""
    name = next((c for c in SCORES if c in found.columns), None)
    return None if name is None else numeric(pd.Series(found[name], name=name), "The prediction")


def _at(what: str, points: Points, k: int) -> ErrorAt:
    z, y, x = (float(v) for v in points.coordinates[k])
    key = next((c for c in NAMES if c in points.columns), None)
    name = f"{k + 1}" if key is None else str(points[key][k])
    return ErrorAt(what, name, 1.0, "item", (z, y, x))


def _places(table: pd.DataFrame) -> NDArray[np.float64] | None:
    names = ["z_um", "y_um", "x_um"]
    return table[names].to_numpy(np.float64) if set(names) <= set(table.columns) else None


def _paired(
    truth: pd.DataFrame, found: pd.DataFrame, pair: TablePair
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """Return the column by which rows belong together, and the rows in the order of the truth."""
    name = next((c for c in NAMES if c in truth and c in found), None)
    if name is None:
        raise FormatError(
            f"{pair.truth} and {pair.prediction} have no column 'id' or 'name' in common, so that "
            "it is not known which rows belong together. Add one to both."
        )
    keys = [[_key(v) for v in table[name]] for table in (truth, found)]
    for values, url in zip(keys, (pair.truth, pair.prediction), strict=True):
        if len(set(values)) < len(values):
            twice = next(v for v in values if values.count(v) > 1)
            raise FormatError(f"{url} has {name} {twice!r} twice. Number the rows anew.")
    alone = [
        (sorted(set(keys[k]) - set(keys[1 - k])), url)
        for k, url in ((0, pair.truth), (1, pair.prediction))
    ]
    for values, url in alone:
        if values:
            raise FormatError(
                f"{len(values)} items are in {url} alone, for instance {name} "
                f"{', '.join(values[:3])}. Both files need the same items."
            )
    place = {value: row for row, value in enumerate(keys[1])}
    rows = np.arange(len(keys[0]))
    return name, rows, np.asarray([place[value] for value in keys[0]], np.int64)


def _key(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


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
