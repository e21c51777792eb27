"""Labelled pieces of cable as a graph: what touches, what runs on, where labels change.

Notation: M pieces, J joints. A joint is where pieces touch: between two of them on an edge, or a
node. Each piece lies between two joints, so that pieces and joints of a tree are a tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from projectome.core.skeleton import Skeleton


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """M labelled pieces of the cable of several neurons.

    Attributes
    ----------
    edge
        Shape (M,): the distal node, counted through all neurons; ascending, and along an edge from
        its proximal to its distal node.
    length
        Shape (M,), none of them 0 [um of the space].
    middle
        Shape (M, 3), order (z, y, x) [um].
    label
        Shape (M,); 0 is background.
    scored
        Shape (M,): false outside of the labels' volume; labels say nothing there.
    """

    edge: NDArray[np.int64]
    length: NDArray[np.float64]
    middle: NDArray[np.float64]
    label: NDArray[np.generic]
    scored: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Joints:
    """Where pieces touch.

    Attributes
    ----------
    ends
        Shape (M, 2): the proximal and the distal joint of each piece.
    place
        Shape (J, 3) [um].
    tip
        Shape (J,): whether a neuron ends there.
    """

    ends: NDArray[np.int64]
    place: NDArray[np.float64]
    tip: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """C places where cable passes from one label to another, directly or through a gap.

    Attributes
    ----------
    count
        Shape (C,): labels that meet there, less one.
    place
        Shape (C, 3): the middle of where they end [um].
    piece
        Shape (C,): one of the pieces that meet there.
    """

    count: NDArray[np.int64]
    place: NDArray[np.float64]
    piece: NDArray[np.int64]


def joints(truth: Sequence[Skeleton], cut: Cut) -> Joints:
    """Return where the pieces of neurons touch.

    Parameters
    ----------
    truth
        The neurons whose cable was cut.
    cut
        The pieces: all of every edge that has a length.
    """
    none = np.empty(0, np.int64)
    offset = np.cumsum([0, *(len(neuron) for neuron in truth)])[: len(truth)].tolist()
    above = [np.where(n.parent < 0, -1, n.parent + o) for n, o in zip(truth, offset, strict=True)]
    parent = np.concatenate([none, *above])
    nodes = np.concatenate([np.empty((0, 3)), *(neuron.coordinates for neuron in truth)])
    # A node whose edge has no length is the same place as its parent.
    same = np.arange(len(parent))
    bare = np.ones(len(parent), bool)
    bare[cut.edge] = False
    for node in np.flatnonzero(bare & (parent >= 0)).tolist():
        same[node] = same[parent[node]]
    goes_on = cut.edge[:-1] == cut.edge[1:]
    behind = np.flatnonzero(goes_on)
    inner = len(parent) + np.arange(len(behind))
    ends = np.stack([same[parent[cut.edge]], same[cut.edge]], axis=1)
    ends[behind, 1] = ends[behind + 1, 0] = inner
    share = cut.length[behind] / (cut.length[behind] + cut.length[behind + 1])
    between = cut.middle[behind] + share[:, None] * (cut.middle[behind + 1] - cut.middle[behind])
    place = np.concatenate([nodes, between])
    return Joints(ends, place, np.bincount(ends.ravel(), minlength=len(place)) == 1)


def runs(ends: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the run of each piece: maximal connected stretches of one label.

    Parameters
    ----------
    ends
        Shape (M, 2), as in `Joints`.
    label
        Shape (M,), from 0 on.

    Returns
    -------
    numpy.ndarray of int64
        Shape (M,), from 0 on.
    """
    if not len(ends):
        return np.empty(0, np.int64)
    # One point for each label at each joint; a piece links the two points of its label.
    keys = ends * (int(label.max()) + 1) + label[:, None]
    _, point = np.unique(keys, return_inverse=True)
    pairs = point.reshape(-1, 2)
    parts = _parts(pairs[:, 0], pairs[:, 1], int(pairs.max()) + 1)
    return np.unique(parts[pairs[:, 0]], return_inverse=True)[1]


def changes(where: Joints, kept: NDArray[np.int64], label: NDArray[np.int64]) -> Changes:
    """Return where labels change.

    Parameters
    ----------
    where
        All joints.
    kept
        Indices of the pieces that are scored.
    label
        Their labels, from 0 on; 0 is background. Of a gap all joints are one place.
    """
    ends = where.ends[kept]
    gap = label == 0
    hub = _parts(ends[gap, 0], ends[gap, 1], len(where.place))
    # Each end of each labelled piece names a label at a hub.
    joint = ends[~gap].ravel()
    named = np.repeat(label[~gap], 2)
    piece = np.repeat(kept[~gap], 2)
    if not len(joint):
        none = np.empty(0, np.int64)
        return Changes(none, np.empty((0, 3)), none)
    pairs = np.unique(np.stack([hub[joint], named], axis=1), axis=0)
    labels_at = np.bincount(pairs[:, 0], minlength=len(where.place))
    # Of each joint one piece, then of each hub the joints: their mean is the place.
    touched, first = np.unique(joint, return_index=True)
    several = labels_at[hub[touched]] > 1
    touched, first = touched[several], first[several]
    at, one, group, weight = np.unique(
        hub[touched], return_index=True, return_inverse=True, return_counts=True
    )
    place = np.zeros((len(at), 3))
    np.add.at(place, group, where.place[touched])
    return Changes(labels_at[at] - 1, place / weight[:, None], piece[first[one]])


def _parts(a: NDArray[np.int64], b: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the number of the connected part of each of `size` points under links."""
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(size, size))
    return connected_components(links, directed=False)[1].astype(np.int64)
