"""True skeletons against a volume of labels: every figure by length, exact at voxel faces.

Edges are cut where they cross the faces of voxels, and each piece takes the label of its voxel. So
nothing depends on how densely nodes are set, and lengths are exact. Labels are read block by block,
each block once and only around the cable: a volume larger than memory is no matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Box, triple
from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.metrics.run_graph import Cut
from projectome.metrics.runs import SkeletonScores, score_runs
from projectome.metrics.samples import common_space
from projectome.morphology.crossing import check_space, voxel_pieces

BLOCK = 128
"""Least voxels an axis that are read together; chunks that are larger are read whole."""


def skeleton_scores(
    truth: Sequence[Skeleton],
    labels: Volume,
    *,
    merge_um: float = 10.0,
    channel: str | int | None = None,
    block: int = BLOCK,
) -> SkeletonScores:
    """Score labels along true neurons.

    Parameters
    ----------
    truth
        One skeleton a neuron, all in the space of the labels. Nodes without an edge have no length
        and do not count.
    labels
        Integers; 0 is background, where cable is omitted. Cable outside of the volume is not
        scored, and its length is told.
    merge_um
        A label is merged if it holds more than this length of two neurons or more [um of the
        space]; 0 for any contact.
    channel
        Which, if there are several.
    block
        Least voxels an axis that are read together. It changes the speed, not the figures.

    Returns
    -------
    SkeletonScores
        Omitted, merged and split length, expected run lengths, and the places of errors; for all
        cable and for each neuron. Without truth all shares are NaN.

    Raises
    ------
    ParameterError
        If the threshold is negative, the labels have channels and none is named, or none of the
        cable lies in the volume.
    ShapeError
        If the labels are no integers.
    SpaceMismatchError
        If a neuron lies in another space.
    """
    if not (math.isfinite(merge_um) and merge_um >= 0):
        raise ParameterError(
            f"merge_um is the length that a label may share, 0 or more; not {merge_um!r}."
        )
    check_labels(labels)
    if len(labels.channels) == 1:
        channel = 0
    elif labels.channels and channel is None:
        raise ParameterError(
            f"{labels.name} has the channels {', '.join(labels.channels)}; name the one to score."
        )
    common_space(truth)
    for neuron in truth:
        check_space(neuron, labels.space)
    cut, voxel = _pieces(truth, labels)
    inside = np.logical_and.reduce((voxel >= 0) & (voxel < np.asarray(labels.shape)), axis=1)
    if len(voxel) and not inside.any():
        low, high = voxel.min(axis=0).tolist(), voxel.max(axis=0).tolist()
        raise ParameterError(
            f"None of the cable lies in {labels.name}: it passes through voxels {low} to {high} of "
            f"a volume of {labels.shape}. Check the units and the offset of the skeletons."
        )
    values = np.zeros(len(voxel), labels.dtype)
    values[inside] = read_labels(labels, voxel[inside], channel, block)
    edge, length, middle = cut
    return score_runs(truth, Cut(edge, length, middle, values, inside), merge_um=merge_um)


def _pieces(
    truth: Sequence[Skeleton], labels: Volume
) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]:
    """Return edge, length and middle of each piece, and its voxel."""
    edges, lengths, middles, voxels = (
        [np.empty(0, np.int64)],
        [np.empty(0)],
        [np.empty((0, 3))],
        [np.empty((0, 3), np.int64)],
    )
    offset = 0
    for neuron in truth:
        pieces = voxel_pieces(neuron, labels.affine)
        whole = neuron.lengths[pieces.edge]
        end = np.cumsum(pieces.length)
        before = np.concatenate([[0.0], end])[np.searchsorted(pieces.edge, pieces.edge)]
        share = np.clip((end - before - pieces.length / 2) / whole, 0, 1)
        origin = neuron.coordinates[neuron.parent[pieces.edge]]
        middles.append(origin + share[:, None] * (neuron.coordinates[pieces.edge] - origin))
        edges.append(pieces.edge + offset)
        lengths.append(pieces.length)
        voxels.append(pieces.voxel)
        offset += len(neuron)
    cut = np.concatenate(edges), np.concatenate(lengths), np.concatenate(middles)
    return cut, np.concatenate(voxels)


def check_labels(labels: Volume) -> None:
    """Refuse a volume that holds no integers.

    Raises
    ------
    ShapeError
        If it does not.
    """
    if labels.dtype.kind not in "iub":
        raise ShapeError(
            f"Labels are integers; {labels.name} holds {labels.dtype}. Write it with an integer "
            "type first: numbers that were computed may not be whole."
        )


def read_labels(
    labels: Volume, voxel: NDArray[np.int64], channel: str | int | None, block: int
) -> NDArray[np.generic]:
    """Return the labels of voxels; each block is read once, and of it only what is needed.

    Parameters
    ----------
    labels
        The volume.
    voxel
        Shape (M, 3), indices (z, y, x) inside of it.
    channel
        Which, if there are several.
    block
        Least voxels an axis that are read together.

    Returns
    -------
    numpy.ndarray
        Shape (M,), of the type of the labels.
    """
    size = np.asarray([-(-block // chunk) * chunk for chunk in labels.chunks])
    if not len(voxel):
        return np.empty(0, labels.dtype)
    _, which = np.unique(voxel // size, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    first = np.searchsorted(which.ravel()[order], np.arange(int(which.max()) + 2))
    out = np.empty(len(voxel), labels.dtype)
    for start, stop in zip(first[:-1].tolist(), first[1:].tolist(), strict=True):
        mine = order[start:stop]
        low, high = voxel[mine].min(axis=0), voxel[mine].max(axis=0) + 1
        values = labels.read(Box(triple(low), triple(high)), channel=channel)
        out[mine] = values[tuple((voxel[mine] - low).T)]
    return out
