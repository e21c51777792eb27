"""Labels of a volume along true neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.io.source import VolumeSource
from projectome.metrics.compat.programs import LABEL_PROGRAMS, LabelProgram
from projectome.metrics.skeletons import skeleton_scores
from projectome.workflows.evaluate_trees import (
    MERGE_UM,
    TreePair,
    named_program,
    run_counts,
    run_figures,
    run_rows,
    tree_errors,
)
from projectome.workflows.evaluation import Evaluation, Figure, Scene, same_space, share_of


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
    program = None if compat is None else named_program("Skeletons", compat, LABEL_PROGRAMS)
    assert isinstance(pair.prediction, VolumeSource)
    (names, truth), labels = pair.read(pair.truth), pair.prediction.open()
    for one in truth:
        same_space(one.space, labels.space)
    truth = [replace(one, space=labels.space) for one in truth]
    scores = skeleton_scores(truth, labels, merge_um=MERGE_UM if merge_um is None else merge_um)
    errors, total = tree_errors(names, scores)
    volumes = {} if pair.image is None else {"image": pair.image}
    figures, rows = run_figures(scores), run_rows(names, scores)
    if program is not None:
        figures, rows = _as_program(program, names, truth, labels)
    return Evaluation(
        kind="skeletons",
        truth=pair.truth,
        prediction=pair.prediction.url,
        settings={"merge_um": scores.merge_um, "compat": compat},
        figures=tuple(figures),
        counts={
            "true_neurons": len(truth),
            "true_um_tissue": scores.total.length_um,
            "outside_um_tissue": scores.total.outside_um,
            **run_counts(scores),
        },
        table=rows,
        errors=errors,
        errors_in_all=total,
        scene=Scene(
            volumes | {"prediction": pair.prediction},
            frozenset({"prediction"}),
            skeletons={"truth": truth},
            radius_um=24 * max(labels.voxel_size),
        ),
    )


def _as_program(
    program: LabelProgram, names: Sequence[str], truth: Sequence[Skeleton], labels: Volume
) -> tuple[list[Figure], list[dict[str, object]]]:
    """Return a program's figures and rows; what is a mean of rows has an interval."""
    found = program(truth, labels)
    figures = []
    weight = np.asarray(found.weights, np.float64)
    for name, value in found.figures.items():
        values = np.asarray([row.get(name, np.nan) for row in found.rows], np.float64)
        known = ~np.isnan(values)
        drawn = share_of(name, np.stack([values * weight, weight], axis=1)[known], "neurons")
        same = np.isclose(drawn.value, value, rtol=1e-4, atol=1e-9)
        figures.append(replace(drawn, value=value) if same else Figure(name, value))
    rows: list[dict[str, object]] = [
        {"neuron": name, **row} for name, row in zip(names, found.rows, strict=True)
    ]
    return figures, rows
