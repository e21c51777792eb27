"""A tracing beside what several annotators of the same neuron agree on."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.metrics.bootstrap import interval
from projectome.metrics.forests import Ceiling, agreement, annotator_ceiling
from projectome.workflows.evaluate_trees import TreePair, figure_of, in_one_space
from projectome.workflows.evaluation import Evaluation, Figure, Scene, mean_of

WAYS: dict[Literal["length", "nodes", "paths"], str] = {
    "length": "length",
    "nodes": "branchings and ends",
    "paths": "paths",
}


def evaluate_annotators(pair: TreePair, *, distance_um: float) -> Evaluation:
    """Score a tracing against every annotator, and the annotators against one another.

    Parameters
    ----------
    pair
        Tracings of one neuron, a skeleton an annotator; and the tracing to score, all of whose
        skeletons are taken together.
    distance_um
        How far apart cable and nodes may lie to be the same [um].

    Returns
    -------
    Evaluation
        What annotators agree on is what can be asked of a tracing. Intervals are over annotators.

    Raises
    ------
    ParameterError
        If there are fewer than two annotators.
    """
    assert isinstance(pair.prediction, str)
    names, tracings = pair.read(pair.truth)
    _, traced = pair.read(pair.prediction)
    tracings = [*tracings[:1], *in_one_space(tracings[:1], tracings[1:])]
    traced = in_one_space(tracings, traced)
    figures: list[Figure] = []
    rows: list[dict[str, object]] = [
        {"annotator": name, "length_um": one.cable_length}
        for name, one in zip(names, tracings, strict=True)
    ]
    for way, text in WAYS.items():
        ceiling = annotator_ceiling([[one] for one in tracings], distance_um=distance_um, by=way)
        mine = np.asarray(
            [agreement([one], traced, distance_um=distance_um, by=way) for one in tracings]
        )
        figures += _figures(text, ceiling, mine)
        for row, others, own in zip(rows, _means(ceiling), mine[:, 2].tolist(), strict=True):
            row |= {f"{text}: others": others, f"{text}: prediction": own}
    return Evaluation(
        kind="annotators",
        truth=pair.truth,
        prediction=pair.prediction,
        settings={"distance_um": distance_um},
        figures=tuple(figures),
        counts={
            "annotators": len(tracings),
            "traced_um": sum(one.cable_length for one in traced),
        },
        table=rows,
        scene=_scene(pair, tracings, traced, distance_um),
    )


def _figures(text: str, ceiling: Ceiling, mine: NDArray[np.float64]) -> list[Figure]:
    """Return what annotators agree on, the prediction with them, and the share of it."""
    f1 = ceiling.f1

    def share(index: NDArray[np.int64]) -> float:
        other = index[:, None] != index[None, :]
        whole = f1[np.ix_(index, index)][other].mean() if other.any() else np.nan
        return float(mine[index, 2].mean() / whole) if whole > 0 else np.nan

    return [
        figure_of(f"annotators agree, {text}: F1", ceiling.agreement, "annotators"),
        mean_of(f"prediction, {text}: F1", mine[:, 2], "annotators"),
        mean_of(f"prediction, {text}: recall", mine[:, 0], "annotators"),
        mean_of(f"prediction, {text}: precision", mine[:, 1], "annotators"),
        figure_of(f"prediction over annotators, {text}", interval(share, n=len(f1)), "annotators"),
    ]


def _means(ceiling: Ceiling) -> list[float]:
    """Return the mean F1 of each annotator with the others."""
    count = len(ceiling.f1)
    return [float(v) for v in (ceiling.f1.sum(axis=1) - 1) / (count - 1)]


def _scene(
    pair: TreePair, tracings: list[Skeleton], traced: list[Skeleton], distance_um: float
) -> Scene:
    volumes = {} if pair.image is None else {"image": pair.image}
    shown = {"truth": tracings, "prediction": traced}
    return Scene(volumes, skeletons=shown, radius_um=10 * distance_um)
