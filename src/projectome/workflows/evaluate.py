"""A prediction against the truth: the one place that knows which kind is scored how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from projectome.errors import ParameterError, UnknownNameError
from projectome.io.source import VolumeSource
from projectome.workflows.evaluate_annotators import evaluate_annotators
from projectome.workflows.evaluate_boxes import evaluate_boxes
from projectome.workflows.evaluate_labels import evaluate_labels
from projectome.workflows.evaluate_points import (
    TablePair,
    evaluate_classes,
    evaluate_landmarks,
    evaluate_points,
)
from projectome.workflows.evaluate_skeletons import evaluate_skeletons
from projectome.workflows.evaluate_trees import TreePair, evaluate_trees
from projectome.workflows.evaluate_volumes import VolumePair
from projectome.workflows.evaluate_voxels import evaluate_voxels
from projectome.workflows.evaluation import KINDS, Evaluation, Kind, need
from projectome.workflows.job import Job


@dataclass(frozen=True)
class Comparison:
    """How a prediction is compared with the truth.

    Attributes
    ----------
    distance
        How far apart points, or cable, may lie to be the same; of voxels, the tolerance of the Dice
        of surfaces [um].
    compat
        Score as this program does, its habits included; of labels skimage, cremi, funlib, elf; of
        trees pyneval-1.1, vaa3d; of skeletons segmentation-skeleton-metrics-5.9.14, funlib.
    positive
        True labels of voxels that are positive; 1 if the truth is a mask.
    ignored
        True labels whose voxels are not scored.
    threshold
        Predicted values from here on are positive; of boxes, the least overlap of a match.
    merge
        Cable of two neurons beyond which a label or tree merges them [um].
    column
        Column of the tables that holds the class.
    scale
        Micrometres in one unit of the coordinates of skeletons.
    scored
        Volume that is 0 where voxels are not scored.
    image
        Volume to show errors in.
    """

    distance: float | None = None
    compat: str | None = None
    positive: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    threshold: float | None = None
    merge: float | None = None
    column: str | None = None
    scale: float | None = None
    scored: str | None = None
    image: str | None = None


def evaluate(
    kind: Kind,
    truth: str,
    prediction: str,
    *,
    how: Comparison | None = None,
    like: VolumeSource | None = None,
    job: Job | None = None,
) -> Evaluation:
    """Score a prediction.

    Parameters
    ----------
    kind
        What is compared: ``"voxels"``, ``"labels"``, ``"points"``, ``"boxes"``, ``"classes"``,
        ``"skeletons"`` (true skeletons against labels), ``"trees"``, ``"annotators"`` (several
        tracings of one neuron, and one to score beside them) or ``"landmarks"``.
    truth, prediction
        Addresses of any format.
    how
        Distances, labels and so on.
    like
        What the user says of the files: voxel size, expansion, level, channel and so on are taken
        from it, its address is not.
    job
        Where and how to run.

    Returns
    -------
    Evaluation
        Figures with intervals and counts, curves, and the worst errors with their places.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    ParameterError
        If something is missing without which there is no score, or does not belong to the kind.
    ProjectomeError
        As reading does; and where truth and prediction cannot be compared.

    Examples
    --------
    >>> found = evaluate("labels", "truth.zarr", "labels.zarr")  # doctest: +SKIP
    >>> found["VOI split [bits]"]  # doctest: +SKIP
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of evaluation", kind, KINDS)
    how = how or Comparison()
    said = like or VolumeSource("")
    work = job or Job(executor="threads")
    if how.compat is not None and kind not in ("labels", "trees", "skeletons"):
        raise ParameterError(
            f"--compat scores labels, trees and skeletons as other programs do, not {kind}."
        )
    image = None if how.image is None else VolumeSource(how.image)
    if kind in ("voxels", "labels"):
        pair = VolumePair(
            replace(said, url=truth),
            replace(said, url=prediction),
            None if how.scored is None else replace(said, url=how.scored, channel=None),
            how.positive,
            how.ignored,
            how.threshold,
            image,
        )
        if kind == "labels":
            return evaluate_labels(pair, work, compat=how.compat)
        return evaluate_voxels(pair, work, distance_um=how.distance)
    if kind == "trees":
        trees = TreePair(truth, prediction, how.scale, said.expansion, image)
        distance = need(how.distance, "--distance UM", "Matching trees")
        return evaluate_trees(trees, distance_um=distance, merge_um=how.merge, compat=how.compat)
    if kind == "annotators":
        several = TreePair(truth, prediction, how.scale, said.expansion, image)
        distance = need(how.distance, "--distance UM", "Matching tracings")
        return evaluate_annotators(several, distance_um=distance)
    if kind == "skeletons":
        labels = replace(said, url=prediction)
        along = TreePair(truth, labels, how.scale, said.expansion, image)
        return evaluate_skeletons(along, merge_um=how.merge, compat=how.compat)
    tables = TablePair(truth, prediction, said.voxel_size, said.expansion, image)
    if kind == "points":
        distance = need(how.distance, "--distance UM", "Matching points")
        return evaluate_points(tables, distance_um=distance)
    if kind == "boxes":
        return evaluate_boxes(tables, threshold=0.5 if how.threshold is None else how.threshold)
    if kind == "classes":
        return evaluate_classes(tables, column=how.column)
    return evaluate_landmarks(tables)
