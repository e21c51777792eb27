"""Traced trees against true neurons, and tracings of several annotators against one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.io.skeletons import read_skeletons
from projectome.io.source import VolumeSource
from projectome.metrics.bootstrap import Interval
from projectome.metrics.compat.programs import TREE_PROGRAMS, TreeProgram
from projectome.metrics.forests import FalseBranch, false_branches, forest_scores
from projectome.metrics.runs import SkeletonScores
from projectome.metrics.samples import f1
from projectome.metrics.tree_distance import DistanceScores, combined, distance_scores
from projectome.metrics.tree_nodes import NodeMatch, NodeScores, node_scores
from projectome.metrics.tree_paths import branching_scores, path_scores
from projectome.metrics.trees import length_curve, length_scores, neuron_scores
from projectome.workflows.evaluation import (
    ERRORS,
    ErrorAt,
    Evaluation,
    Figure,
    Line,
    Scene,
    mean_of,
    same_space,
    share_of,
)

Program = TypeVar("Program")

CURVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Distances of the curve, in units of the one asked for."""
MERGE_UM = 10.0
"""Cable that one neuron may have under the label, or in the tree, of another [um]."""
RUN_NAMES = {
    "accuracy": "edge accuracy",
    "omitted": "omitted",
    "merged": "merged",
    "split": "split",
    "erl_um": "expected run length [um of tissue]",
    "normalised_erl": "expected run length, normalised",
    "erl_per_segment_um": "expected run length per segment [um of tissue]",
    "normalised_erl_per_segment": "expected run length per segment, normalised",
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

    def read(self, url: str) -> tuple[list[str], list[Skeleton]]:
        """Read skeletons, and their names."""
        found = read_skeletons(url, scale=self.scale, expansion=self.expansion)
        return [item.name for item in found], [item.skeleton for item in found]


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
        Cable of two neurons beyond which one traced tree merges them, and of a false branch beyond
        which it counts [um]; 10 by default.
    compat
        Give the figures of this program instead, with the distance as its threshold.

    Returns
    -------
    Evaluation
        Intervals are over true neurons, of precision over traced trees, and over both, drawn apart,
        of figures made from both.

    Raises
    ------
    ParameterError
        If there is no such program.
    """
    program = None if compat is None else named_program("Trees", compat, TREE_PROGRAMS)
    assert isinstance(pair.prediction, str)
    names, truth = pair.read(pair.truth)
    others, traced = pair.read(pair.prediction)
    traced = in_one_space(truth, traced)
    merge = MERGE_UM if merge_um is None else merge_um
    nodes = node_scores(truth, traced, distance_um=distance_um)
    runs = forest_scores(truth, traced, distance_um=distance_um, merge_um=merge)
    stray = false_branches(truth, traced, distance_um=distance_um, min_length_um=merge)
    whole = length_scores(truth, traced, distance_um=distance_um)
    if program is None:
        figures, rows = _figures(names, truth, traced, nodes, runs, distance_um)
        notes: tuple[str, ...] = ()
    else:
        figures, rows, notes = _as_program(
            program, dict(zip(names, truth, strict=True)), dict(zip(others, traced, strict=True)),
            distance_um,
        )  # fmt: skip
    curve = length_curve(truth, traced, distances_um=[k * distance_um for k in CURVE])
    over = np.asarray([s.distance_um for s in curve])
    errors, total = tree_errors(names, runs, nodes, [(others[b.traced], b) for b in stray])
    return Evaluation(
        kind="trees",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"distance_um": distance_um, "merge_um": runs.merge_um, "compat": compat},
        figures=tuple(figures),
        counts={
            "true_neurons": len(truth),
            "traced_trees": len(traced),
            "true_um": whole.truth_um,
            "traced_um": whole.traced_um,
            **run_counts(runs),
            "false_branches": len(stray),
            "true_bifurcations": nodes.bifurcations.truth,
            "traced_bifurcations": nodes.bifurcations.traced,
            "true_terminations": nodes.terminations.truth,
            "traced_terminations": nodes.terminations.traced,
        },
        table=rows,
        lines=tuple(
            Line(name, "distance [um]", name, over, np.asarray([getattr(s, key) for s in curve]))
            for name, key in (("length recall", "recall"), ("length precision", "precision"))
        ),
        errors=errors,
        errors_in_all=total,
        notes=notes,
        scene=Scene(
            {} if pair.image is None else {"image": pair.image},
            skeletons={"truth": truth, "prediction": traced},
            radius_um=10 * distance_um,
        ),
    )


def in_one_space(truth: Sequence[Skeleton], traced: Sequence[Skeleton]) -> list[Skeleton]:
    """Return traced trees in the space of the truth, once it is sure that it is theirs.

    Raises
    ------
    SpaceMismatchError
        If it is not.
    """
    for one in truth[:1]:
        for other in traced:
            same_space(one.space, other.space)
    return [replace(b, space=truth[0].space) for b in traced] if truth else list(traced)


def _figures(
    names: Sequence[str],
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    nodes: NodeScores,
    runs: SkeletonScores,
    distance_um: float,
) -> tuple[list[Figure], list[dict[str, object]]]:
    """Return our figures, and a row for each neuron."""
    there = neuron_scores(truth, traced, distance_um=distance_um)
    back = neuron_scores(traced, truth, distance_um=distance_um)
    covered, right = (
        np.asarray([(s.covered * s.length_um, s.length_um) for s in scores if s.length_um > 0])
        .reshape(-1, 2)
        for scores in (there, back)
    )  # fmt: skip
    paths = path_scores(truth, traced, distance_um=distance_um)
    forks = branching_scores(truth, traced, distance_um=distance_um)
    apart = distance_scores(truth, traced, threshold_um=distance_um)
    figures = [
        *_both_ways("length", covered, right),
        *run_figures(runs),
        *_of_nodes("bifurcation", nodes.bifurcations),
        *_of_nodes("termination", nodes.terminations),
        *_both_ways("optimal path", paths.by_truth, paths.by_traced),
        *_both_ways("branching with path (like DIADEM)", forks.by_truth, forks.by_traced),
        *_distances(apart),
    ]
    rows = run_rows(names, runs)
    for row, one, fork, tip, path in zip(
        rows, there, nodes.bifurcations.by_truth.tolist(), nodes.terminations.by_truth.tolist(),
        paths.by_truth.tolist(), strict=True,
    ):  # fmt: skip
        row |= {
            "covered": one.covered,
            "pieces": one.pieces,
            "bifurcations_missed": fork[1] - fork[0],
            "terminations_missed": tip[1] - tip[0],
            "followed": path[0] / path[1] if path[1] else float("nan"),
        }
    return figures, rows


def _both_ways(
    name: str, truth: NDArray[np.float64], traced: NDArray[np.float64]
) -> tuple[Figure, Figure, Figure]:
    """Return recall, precision and F1 from parts and wholes, a row a skeleton."""

    def harmonic(sums: NDArray[np.float64]) -> float:
        recall, precision = (
            part / whole if whole > 0 else float("nan") for part, whole in sums.reshape(2, 2)
        )
        return f1(recall, precision)

    rows, strata = _side_by_side(truth, traced)
    return (
        share_of(f"{name} recall", truth[truth[:, 1] > 0], "neurons"),
        share_of(f"{name} precision", traced[traced[:, 1] > 0], "traced trees"),
        share_of(f"{name} F1", rows, "neurons and trees", statistic=harmonic, strata=strata),
    )


def _of_nodes(name: str, match: NodeMatch) -> tuple[Figure, Figure, Figure]:
    return _both_ways(name, match.by_truth.astype(np.float64), match.by_traced.astype(np.float64))


def _side_by_side(
    truth: NDArray[np.float64], traced: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows whose first columns are those of the truth, and which side each row is of."""
    width = truth.shape[1]
    rows = np.zeros((len(truth) + len(traced), 2 * width))
    rows[: len(truth), :width], rows[len(truth) :, width:] = truth, traced
    return rows, np.repeat([0, 1], [len(truth), len(traced)])


def _distances(apart: DistanceScores) -> list[Figure]:
    """Return how far the forests lie apart, drawn over neurons and traced trees."""
    sides = apart.truth_to_traced.skeletons, apart.traced_to_truth.skeletons
    finite = [np.where(np.isfinite(side), side, 0.0) for side in sides]
    rows, strata = _side_by_side(*finite)
    names = (
        "entire structure average (ESA) [um]",
        "different structure average (DSA) [um]",
        "share of different structure (PDS)",
    )
    values = (apart.esa_um, apart.dsa_um, apart.pds)

    def drawn(sums: NDArray[np.float64], which: int) -> float:
        return combined(sums.reshape(2, 4))[which]

    return [
        replace(
            share_of(
                name, rows, "neurons and trees", statistic=partial(drawn, which=k), strata=strata
            ),
            value=value,
        )
        for k, (name, value) in enumerate(zip(names, values, strict=True))
    ]


def _as_program(
    program: TreeProgram,
    truth: Mapping[str, Skeleton],
    traced: Mapping[str, Skeleton],
    distance_um: float,
) -> tuple[list[Figure], list[dict[str, object]], tuple[str, ...]]:
    """Return a program's figures of all as one file, and of each pair of files of one name."""
    scores = program(list(truth.values()), list(traced.values()), distance_um)
    figures = [Figure(name, value) for name, value in scores.items()]
    both = [name for name in truth if name in traced]
    rows: list[dict[str, object]] = []
    for name in both:
        found = program([truth[name]], [traced[name]], distance_um)
        rows.append({"neuron": name, **found})
    if len(rows) < 2:
        why = "rows and means of neurons: fewer than two have the same name on both sides"
        return figures, [], (why,)
    for name in scores:
        values = np.asarray([row[name] for row in rows], np.float64)
        figures.append(mean_of(f"{name}, mean of neurons", values, "neurons"))
    return figures, rows, ()


def named_program(what: str, name: str, programs: Mapping[str, Program]) -> Program:
    """Return a program by its name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in programs:
        raise ParameterError(
            f"{what} can be scored as {', '.join(programs)} score them, not as {name!r}."
        )
    return programs[name]


def figure_of(name: str, found: Interval, of: str) -> Figure:
    """Return a figure and its interval."""
    return Figure(name, found.value, found.low, found.high, found.n, of)


def run_figures(scores: SkeletonScores) -> list[Figure]:
    """Return what became of all cable, drawn over neurons."""
    drawn = scores.intervals()
    return [figure_of(name, drawn[key], "neurons") for key, name in RUN_NAMES.items()]


def run_counts(scores: SkeletonScores) -> dict[str, float]:
    """Return the numbers of places where something is wrong."""
    total = scores.total
    return {
        "splits": total.splits,
        "merges": total.merges,
        "gaps": total.gaps,
        "truncations": total.truncations,
    }


def run_rows(names: Sequence[str], scores: SkeletonScores) -> list[dict[str, object]]:
    """Return a row for each neuron."""
    return [
        {
            "neuron": name,
            "length_tissue_um": one.length_um,
            "omitted": one.omitted,
            "merged": one.merged,
            "split": one.split,
            "accuracy": one.accuracy,
            "erl_tissue_um": one.erl_um,
            "splits": one.splits,
            "merges": one.merges,
            "gaps": one.gaps,
            "truncations": one.truncations,
        }
        for name, one in zip(names, scores.neurons, strict=True)
    ]


def tree_errors(
    names: Sequence[str],
    scores: SkeletonScores,
    nodes: NodeScores | None = None,
    stray: Sequence[tuple[str, FalseBranch]] = (),
) -> tuple[tuple[ErrorAt, ...], int]:
    """List merges before false branches, gaps before splits, splits before nodes."""
    found = [
        ErrorAt("merge", f"{site.label} of neurons {names[site.neurons[0]]} and "
                f"{names[site.neurons[1]]}", 1.0, "place", _triple(site.point))
        for site in scores.merge_sites
    ]  # fmt: skip
    found += [
        ErrorAt("false branch", f"of {tree} on {names[branch.neuron]}", branch.length_um, "um",
                _triple(branch.point))
        for tree, branch in stray
    ]  # fmt: skip
    gaps = zip(scores.gap_points[:ERRORS], scores.gap_um[:ERRORS].tolist(), strict=True)
    found += [
        ErrorAt("gap", str(number), length, "um", _triple(point))
        for number, (point, length) in enumerate(gaps, 1)
    ]
    listed: list[tuple[str, Sequence[NDArray[np.float64]] | NDArray[np.float64]]] = [
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
    total = len(scores.merge_sites) + len(stray) + len(scores.gap_points)
    total += sum(len(points) for _, points in listed)
    for what, points in listed:
        found += [
            ErrorAt(what, str(number), 1.0, "place", _triple(point))
            for number, point in enumerate(points[:ERRORS], 1)
        ]
    return tuple(found[:ERRORS]), total


def _triple(point: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = (float(v) for v in point)
    return z, y, x
