"""Traced trees, or labels, against true neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.io.skeletons import read_skeletons
from projectome.io.source import VolumeSource
from projectome.metrics.bootstrap import Interval, interval, ratio
from projectome.metrics.compat.programs import LABEL_PROGRAMS, TREE_PROGRAMS
from projectome.metrics.forests import forest_scores
from projectome.metrics.runs import SkeletonScores
from projectome.metrics.skeletons import skeleton_scores
from projectome.metrics.tree_distance import distance_scores
from projectome.metrics.tree_nodes import NodeScores, node_scores
from projectome.metrics.trees import length_curve, length_scores, neuron_scores
from projectome.workflows.evaluation import (
    ERRORS,
    ErrorAt,
    Evaluation,
    Figure,
    Line,
    Scene,
    same_space,
)

Program = TypeVar("Program")

CURVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Distances of the curve, in units of the one asked for."""
RUN_NAMES = {
    "accuracy": "edge accuracy",
    "omitted": "omitted",
    "merged": "merged",
    "split": "split",
    "erl_um": "expected run length [um of tissue]",
    "normalised_erl": "expected run length, normalised",
    "erl_per_segment_um": "expected run length per segment [um of tissue]",
}


@dataclass(frozen=True)
class TreePair:
    """True neurons, and traced ones or labels.

    Attributes
    ----------
    truth
        Skeletons of any format, one a neuron.
    prediction
        Skeletons, or a volume of labels.
    scale
        Micrometres in one unit of the coordinates of skeletons.
    expansion
        Micrometres of the skeletons in one micrometre of tissue.
    image
        A picture to show errors in.
    """

    truth: str
    prediction: str | VolumeSource
    scale: float | None = None
    expansion: float | None = None
    image: VolumeSource | None = None

    def read(self, url: str) -> list[Skeleton]:
        """Read skeletons."""
        found = read_skeletons(url, scale=self.scale, expansion=self.expansion)
        return [item.skeleton for item in found]


def evaluate_trees(
    pair: TreePair,
    *,
    distance_um: float,
    merge_um: float | None = None,
    compat: str | None = None,
) -> Evaluation:
    """Score traced trees.

    Parameters
    ----------
    pair
        The skeletons.
    distance_um
        How far apart cable and nodes may lie to be the same [um].
    merge_um
        Cable of two neurons beyond which one traced tree merges them [um]; 10 by default.
    compat
        Give the figures of this program instead, with the distance as its threshold.

    Returns
    -------
    Evaluation
        Intervals are over true neurons, of precision over traced trees.

    Raises
    ------
    ParameterError
        If there is no such program.
    """
    program = None if compat is None else _program("Trees", compat, TREE_PROGRAMS)
    assert isinstance(pair.prediction, str)
    truth, traced = pair.read(pair.truth), pair.read(pair.prediction)
    for a in truth[:1]:
        for b in traced[:1]:
            same_space(a.space, b.space)
    traced = [replace(b, space=truth[0].space) for b in traced] if truth else traced
    whole = length_scores(truth, traced, distance_um=distance_um)
    recall, precision = (
        interval(
            np.asarray([(s.covered * s.length_um, s.length_um) for s in scores if s.length_um > 0])
            .reshape(-1, 2), ratio,
        )
        for scores in (
            neuron_scores(truth, traced, distance_um=distance_um),
            neuron_scores(traced, truth, distance_um=distance_um),
        )
    )  # fmt: skip
    nodes = node_scores(truth, traced, distance_um=distance_um)
    apart = distance_scores(truth, traced, threshold_um=distance_um)
    runs = forest_scores(
        truth, traced, distance_um=distance_um, merge_um=10.0 if merge_um is None else merge_um
    )
    curve = length_curve(truth, traced, distances_um=[k * distance_um for k in CURVE])
    over = np.asarray([s.distance_um for s in curve])
    figures = [
        _figure("length recall", recall, "neurons"),
        _figure("length precision", precision, "traced trees"),
        Figure("length F1", whole.f1),
        *_runs(runs),
        Figure("bifurcation F1", nodes.bifurcations.f1),
        Figure("termination F1", nodes.terminations.f1),
        Figure("entire structure average (ESA) [um]", apart.esa_um),
        Figure("different structure average (DSA) [um]", apart.dsa_um),
        Figure("share of different structure (PDS)", apart.pds),
    ]
    errors, total = _errors(runs, nodes)
    return Evaluation(
        kind="trees",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"distance_um": distance_um, "merge_um": runs.merge_um, "compat": compat},
        figures=tuple(figures) if program is None else _others(program(truth, traced, distance_um)),
        counts={
            "true_neurons": len(truth),
            "traced_trees": len(traced),
            "true_um": whole.truth_um,
            "traced_um": whole.traced_um,
            "splits": runs.total.splits,
            "merges": runs.total.merges,
            "gaps": runs.total.gaps,
        },
        table=_table(runs),
        lines=tuple(
            Line(name, "distance [um]", name, over, np.asarray([getattr(s, key) for s in curve]))
            for name, key in (("length recall", "recall"), ("length precision", "precision"))
        ),
        errors=errors,
        errors_in_all=total,
        scene=Scene(
            {} if pair.image is None else {"image": pair.image},
            skeletons={"truth": truth, "prediction": traced},
            radius_um=10 * distance_um,
        ),
    )


def evaluate_skeletons(
    pair: TreePair, *, merge_um: float | None = None, compat: str | None = None
) -> Evaluation:
    """Score labels along true neurons.

    Parameters
    ----------
    pair
        Skeletons, and a volume of labels.
    merge_um
        Cable of two neurons beyond which one label merges them [um]; 10 by default.
    compat
        Give the figures of this program instead.

    Returns
    -------
    Evaluation
        Intervals are over true neurons.

    Raises
    ------
    ParameterError
        If there is no such program.
    """
    program = None if compat is None else _program("Skeletons", compat, LABEL_PROGRAMS)
    assert isinstance(pair.prediction, VolumeSource)
    truth, labels = pair.read(pair.truth), pair.prediction.open()
    for one in truth[:1]:
        same_space(one.space, labels.space)
    truth = [replace(one, space=labels.space) for one in truth]
    scores = skeleton_scores(truth, labels, merge_um=10.0 if merge_um is None else merge_um)
    errors, total = _errors(scores, None)
    volumes = {} if pair.image is None else {"image": pair.image}
    return Evaluation(
        kind="skeletons",
        truth=pair.truth,
        prediction=pair.prediction.url,
        settings={"merge_um": scores.merge_um, "compat": compat},
        figures=tuple(_runs(scores)) if program is None else _others(program(truth, labels)),
        counts={
            "true_neurons": len(truth),
            "true_um_tissue": scores.total.length_um,
            "outside_um_tissue": scores.total.outside_um,
            "splits": scores.total.splits,
            "merges": scores.total.merges,
            "gaps": scores.total.gaps,
        },
        table=_table(scores),
        errors=errors,
        errors_in_all=total,
        scene=Scene(
            volumes | {"prediction": pair.prediction},
            frozenset({"prediction"}),
            skeletons={"truth": truth},
            radius_um=24 * max(labels.voxel_size),
        ),
    )


def _program(what: str, name: str, programs: Mapping[str, Program]) -> Program:
    if name not in programs:
        raise ParameterError(
            f"{what} can be scored as {', '.join(programs)} score them, not as {name!r}."
        )
    return programs[name]


def _others(scores: Mapping[str, float]) -> tuple[Figure, ...]:
    return tuple(Figure(name, value) for name, value in scores.items())


def _figure(name: str, found: Interval, of: str) -> Figure:
    return Figure(name, found.value, found.low, found.high, found.n, of)


def _runs(scores: SkeletonScores) -> list[Figure]:
    drawn = scores.intervals()
    return [_figure(name, drawn[key], "neurons") for key, name in RUN_NAMES.items()]


def _table(scores: SkeletonScores) -> list[dict[str, object]]:
    return [
        {
            "neuron": number,
            "length_tissue_um": one.length_um,
            "omitted": one.omitted,
            "merged": one.merged,
            "split": one.split,
            "accuracy": one.accuracy,
            "erl_tissue_um": one.erl_um,
            "splits": one.splits,
            "merges": one.merges,
            "gaps": one.gaps,
        }
        for number, one in enumerate(scores.neurons)
    ]


def _errors(scores: SkeletonScores, nodes: NodeScores | None) -> tuple[tuple[ErrorAt, ...], int]:
    """List merges before gaps, gaps before splits, splits before nodes."""
    found = [
        ErrorAt("merge", f"{site.label} of neurons {site.neurons[0]} and {site.neurons[1]}", 1.0,
                "place", _triple(site.point))
        for site in scores.merge_sites
    ]  # fmt: skip
    listed: list[tuple[str, Sequence[NDArray[np.float64]] | NDArray[np.float64]]] = [
        ("gap", scores.gap_points),
        ("split", scores.split_points),
    ]
    if nodes is not None:
        listed += [
            (f"{what} {name}", getattr(match, what))
            for name, match in (
                ("bifurcation", nodes.bifurcations),
                ("termination", nodes.terminations),
            )
            for what in ("missed", "false")
        ]
    for what, points in listed:
        found += [
            ErrorAt(what, str(number), 1.0, "place", _triple(point))
            for number, point in enumerate(points[:ERRORS], 1)
        ]
    total = len(scores.merge_sites) + sum(len(points) for _, points in listed)
    return tuple(found[:ERRORS]), total


def _triple(point: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = (float(v) for v in point)
    return z, y, x
