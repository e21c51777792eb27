"""Other programs' scores of trees, and of labels along skeletons, by the names users give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.metrics.compat.diadem import diadem_metric
from projectome.metrics.compat.funlib import expected_run_length
from projectome.metrics.compat.pyneval import critical_node_metric, length_metric, ssd_metric
from projectome.metrics.compat.skeleton_metrics import skeleton_metrics
from projectome.metrics.compat.vaa3d import neuron_distance
from projectome.metrics.samples import common_space
from projectome.metrics.skeletons import BLOCK, check_labels, read_labels
from projectome.morphology.crossing import check_space

Scores: TypeAlias = dict[str, float]
TreeProgram: TypeAlias = Callable[[Sequence[Skeleton], Sequence[Skeleton], float], Scores]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a program says of labels along N neurons.

    Attributes
    ----------
    figures
        Its summary.
    rows
        N, what it says of each neuron.
    weights
        N: the figures that stand in rows too are means of the rows with these weights.
    """

    figures: Scores
    rows: tuple[Scores, ...]
    weights: tuple[float, ...]


LabelProgram: TypeAlias = Callable[[Sequence[Skeleton], Volume], Scored]


def pyneval(truth: Sequence[Skeleton], traced: Sequence[Skeleton], distance_um: float) -> Scores:
    """Return length, ssd, cn and diadem of PyNeval 1.1 for two forests, each as one file.

    Parameters
    ----------
    truth, traced
        Skeletons in one space; their micrometres are the units of the files.
    distance_um
        All of its thresholds of distance [um], but that half of it holds along z for diadem; that
        of length is not in radii.

    Returns
    -------
    dict
        By metric and key. Without radii of the truth there is no diadem.
    """
    a, b = _whole(truth, traced)
    length = length_metric(a, b, radius_threshold=distance_um, relative=False)
    ssd = ssd_metric(a, b, ssd_threshold=distance_um)
    nodes = critical_node_metric(a, b, distance_threshold=distance_um)
    found = {"length": length, "ssd": ssd, "cn": nodes}
    if a.radius is not None and np.isfinite(a.radius).all():
        reach = {"xy_threshold": distance_um, "z_threshold": distance_um / 2}
        found["diadem"] = diadem_metric(a, b, **reach)
    return {
        f"{name} {key}": float(value)
        for name, scores in found.items()
        for key, value in scores.items()
    }


def vaa3d(truth: Sequence[Skeleton], traced: Sequence[Skeleton], distance_um: float) -> Scores:
    """Return the distances of Vaa3D for two forests, each as one file.

    Parameters
    ----------
    truth, traced
        Skeletons in one space; their micrometres are the units of the files.
    distance_um
        From which distance on points lie apart [um].
    """
    return neuron_distance(*_whole(truth, traced), threshold=distance_um)


def segmentation_skeleton_metrics(truth: Sequence[Skeleton], labels: Volume) -> Scored:
    """Return the figures of segmentation-skeleton-metrics 5.9.14, in voxels as by its defaults.

    Parameters
    ----------
    truth
        Neurons in the space of the labels.
    labels
        The segmentation.

    Returns
    -------
    Scored
        The columns of each neuron, and as the summary their means, weighted by run lengths; neurons
        without a figure are left out.
    """
    found = skeleton_metrics({str(k): neuron for k, neuron in enumerate(truth)}, labels)
    rows = tuple(found.values())
    weights = tuple(row["SWC Run Length"] for row in rows)
    means: Scores = {}
    for name in next(iter(rows), {}):
        known = [
            (row[name], length)
            for row, length in zip(rows, weights, strict=True)
            if not math.isnan(row[name])
        ]
        weight = sum(length for _, length in known)
        total = sum(value * length for value, length in known)
        means[name] = total / weight if weight else math.nan
    return Scored(means, rows, weights)


def funlib(truth: Sequence[Skeleton], labels: Volume) -> Scored:
    """Return the expected run length of funlib.evaluate, nodes having the label of their voxel.

    Parameters
    ----------
    truth
        Neurons in the space of the labels.
    labels
        The segmentation.

    Returns
    -------
    Scored
        ``expected_run_length`` [um of the space], ``merging_segments`` and ``split_edges``; of each
        neuron the first and the last.

    Raises
    ------
    ParameterError
        If a node lies outside of the labels.
    """
    check_labels(labels)
    found = []
    for number, neuron in enumerate(truth):
        check_space(neuron, labels.space)
        voxel = np.floor(labels.affine.inverse()(neuron.coordinates) + 0.5).astype(np.int64)
        outside = ((voxel < 0) | (voxel >= np.asarray(labels.shape))).any(axis=1)
        if outside.any():
            raise ParameterError(
                f"{int(outside.sum())} nodes of neuron {number} lie outside of {labels.name}; crop "
                "the skeletons to the volume."
            )
        found.append(read_labels(labels, voxel, None, BLOCK))
    length, merges, splits = expected_run_length(truth, found)
    rows = []
    for number, (neuron, own) in enumerate(zip(truth, found, strict=True)):
        # Alone, with what merges taken as background, which counts as little.
        alone = np.where(np.isin(own, list(merges)), 0, own)
        mine = expected_run_length([neuron], [alone])[0]
        rows.append(
            {"expected_run_length": mine, "split_edges": float(len(splits.get(number, ())))}
        )
    figures = {
        "expected_run_length": length,
        "merging_segments": float(len([label for label in merges if label != 0])),
        "split_edges": float(sum(len(pairs) for pairs in splits.values())),
    }
    return Scored(figures, tuple(rows), tuple(neuron.cable_length for neuron in truth))


TREE_PROGRAMS: Mapping[str, TreeProgram] = MappingProxyType(
    {"pyneval-1.1": pyneval, "vaa3d": vaa3d}
)
"""What scores trees, by name."""

LABEL_PROGRAMS: Mapping[str, LabelProgram] = MappingProxyType(
    {
        "segmentation-skeleton-metrics-5.9.14": segmentation_skeleton_metrics,
        "funlib": funlib,
    }
)
"""What scores labels along skeletons, by name."""


def _whole(truth: Sequence[Skeleton], traced: Sequence[Skeleton]) -> tuple[Skeleton, Skeleton]:
    space = common_space(truth, traced)
    if space is None:
        raise ParameterError("There is no skeleton on either side; nothing can be scored.")
    return Skeleton.concatenate(truth, space=space), Skeleton.concatenate(traced, space=space)
