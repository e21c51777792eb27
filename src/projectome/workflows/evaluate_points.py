"""Points, classes and landmarks against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.points import Points
from projectome.errors import FormatError, ParameterError
from projectome.io.points import read_points
from projectome.io.source import VolumeSource
from projectome.io.tables import numeric, read_with_metadata
from projectome.metrics.bootstrap import interval
from projectome.metrics.classes import ClassScores, classification_scores
from projectome.metrics.detection import candidate_hits, match_points, near_pairs, ranked_curve
from projectome.metrics.landmarks import PERCENTILES, landmark_errors
from projectome.metrics.voxels import Curve
from projectome.workflows.evaluation import (
    ERRORS,
    MANY,
    ErrorAt,
    Evaluation,
    Figure,
    Line,
    Scene,
    mean_of,
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
    figures = [*shares(len(matched.pairs), len(missed), len(false), "points")]
    figures.append(mean_of("mean distance of matches [um]", matched.distances, "matches"))
    if len(matched.pairs):
        offset = b[matched.pairs[:, 1]] - a[matched.pairs[:, 0]]
        figures += [
            mean_of(f"mean shift in {axis} [um]", offset[:, k], "matches")
            for k, axis in enumerate("zyx")
        ]
    lines: tuple[Line, ...] = ()
    if (scores := scores_of(found)) is not None:
        near = near_pairs(a, b, distance_um)
        hits = candidate_hits(near[0], near[1], scores)
        figures.append(ranked("average precision", scores, hits[:, None], len(a), "points"))
        lines = curve_lines(ranked_curve(scores, hits, len(a)))
    order = np.argsort(-matched.distances, kind="stable")
    order = order[matched.distances[order] > 0]
    errors = [error_at("missed", truth, k) for k in missed] + [
        error_at("false", found, k) for k in false
    ]
    errors += [
        replace(
            error_at("displaced", truth, matched.pairs[k, 0]),
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
        counts=counts_of(len(a), len(b), len(matched.pairs)),
        lines=lines,
        errors=tuple(errors[:ERRORS]),
        errors_in_all=len(missed) + len(false) + len(order),
        scene=pair.scene(truth, found, 5 * max(distance_um, 1.0)),
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
            _drawn_classes("balanced accuracy", true, given, scores.balanced_accuracy),
            _drawn_classes("Cohen's kappa", true, given, scores.kappa),
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
    figures = [mean_of("mean error [um]", errors.distance, "landmarks")]
    for percent in PERCENTILES:
        drawn = interval(errors.distance[:, None], partial(np.percentile, q=percent))
        name = "median error [um]" if percent == 50 else f"{percent:g} % have an error below [um]"
        figures.append(Figure(name, drawn.value, drawn.low, drawn.high, drawn.n, "landmarks"))
    # Of a largest value draws say nothing: they never hold a larger one.
    figures.append(Figure("largest error [um]", errors.largest_um, n=len(errors), of="landmarks"))
    figures += [
        mean_of(f"mean shift in {axis} [um]", errors.offset[:, k], "landmarks")
        for k, axis in enumerate("zyx")
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
            replace(error_at("displaced", a, k), size=float(errors.distance[k]), unit="um")
            for k in order[:ERRORS]
        ),
        errors_in_all=len(errors),
        scene=pair.scene(a, b, max(10.0, 2 * errors.largest_um) if len(errors) else 20.0),
    )


def _drawn_classes(name: str, true: NDArray[Any], given: NDArray[Any], value: float) -> Figure:
    """Return a figure of a confusion matrix, drawn over items."""
    names, number = np.unique([str(v) for v in (*true, *given)], return_inverse=True)
    k = len(names)
    cell = number[: len(true)] * k + number[len(true) :]

    def figure(index: NDArray[np.int64]) -> float:
        confusion = np.bincount(cell[index], minlength=k * k).reshape(k, k)
        scores = ClassScores(tuple(names.tolist()), confusion)
        return scores.kappa if name == "Cohen's kappa" else scores.balanced_accuracy

    found = interval(figure, n=len(true), resamples=2000 if len(true) <= MANY else 200)
    return Figure(name, value, found.low, found.high, found.n, "items")


def ranked(
    name: str, scores: NDArray[np.float64], hits: NDArray[np.bool_], true: int, of: str
) -> Figure:
    """Return the mean average precision of T matchings, drawn over items: found and missed ones.

    Parameters
    ----------
    name
        Of the figure.
    scores
        Shape (M,).
    hits
        Shape (M, T): which detections are hits in each matching. One that is a hit in the first
        stands for itself and its true item; the true items missed there stand alone.
    true
        Number of true items.
    of
        What the items are.
    """
    missed = true - int(hits[:, 0].sum())
    stands = np.concatenate([hits[:, 0], np.ones(missed, bool)])
    detection = np.arange(len(stands)) < len(scores)

    def figure(index: NDArray[np.int64]) -> float:
        drawn, positives = index[detection[index]], int(stands[index].sum())
        values = [
            ranked_curve(scores[drawn], hits[drawn, t], positives).average_precision
            for t in range(hits.shape[1])
        ]
        return min(1.0, math.fsum(values) / len(values))

    found = interval(figure, n=len(stands), resamples=400)
    return Figure(name, found.value, found.low, found.high, found.n, of)


def shares(hits: int, missed: int, false: int, of: str) -> list[Figure]:
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


def counts_of(true: int, found: int, hits: int) -> dict[str, float]:
    """Return the counts behind the shares."""
    return {
        "true": true, "found": found, "matched": hits, "missed": true - hits, "false": found - hits,
    }  # fmt: skip


def curve_lines(curve: Curve) -> tuple[Line, ...]:
    """Return what is drawn of a curve over scores."""
    return (
        Line("precision over recall", "recall", "precision", curve.recall, curve.precision),
        Line("F1", "score", "F1", curve.threshold, curve.f1),
    )


def scores_of(found: Points) -> NDArray[np.float64] | None:
    """Return the column of scores, if there is one."""
    name = next((c for c in SCORES if c in found.columns), None)
    return None if name is None else numeric(pd.Series(found[name], name=name), "The prediction")


def error_at(what: str, points: Points, k: int) -> ErrorAt:
    """Return an error at one of the points, by its id or name if there is one."""
    z, y, x = (float(v) for v in points.coordinates[k])
    key = next((c for c in NAMES if c in points.columns), None)
    name = f"{k + 1}" if key is None else str(points[key][k])
    return ErrorAt(what, name, 1.0, "item", (z, y, x))


def _places(table: pd.DataFrame) -> NDArray[np.float64] | None:
    names = ["z_um", "y_um", "x_um"]
    if not set(names) <= set(table.columns):
        return None
    return np.stack([numeric(table[name], "The truth") for name in names], axis=1)


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
