"""Traced forests against true neurons, tree by tree, and what several annotators agree on.

A piece of true cable is labelled with the traced tree that runs along it, and then scored as cable
under labels of a volume is (`metrics.runs`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.metrics.bootstrap import Interval, interval
from projectome.metrics.run_graph import Cut, joints, runs
from projectome.metrics.runs import SkeletonScores, score_runs
from projectome.metrics.samples import check_distance, common_space, subdivided
from projectome.metrics.tree_nodes import node_scores
from projectome.metrics.tree_paths import path_scores
from projectome.metrics.trees import length_scores
from projectome.morphology.nearest import Cable


@dataclass(frozen=True, slots=True, eq=False)
class FalseBranch:
    """Traced cable that leaves a true neuron and is near none.

    Attributes
    ----------
    traced
        Index of the traced skeleton.
    neuron
        Index of the true neuron that it leaves.
    point
        Shape (3,), where, (z, y, x) [um]; the first place of several.
    length_um
        Length of the connected false cable [um of the space].
    """

    traced: int
    neuron: int
    point: NDArray[np.float64]
    length_um: float


@dataclass(frozen=True, slots=True, eq=False)
class Ceiling:
    """How well K annotators of one neuron agree: a ceiling for what can be asked of a tracing.

    Attributes
    ----------
    f1
        Shape (K, K): F1 of each pair, 1 on the diagonal.
    recall
        Shape (K, K): share of the row that the column has, by length of cable near one another, by
        nodes matched or by walks followed.
    agreement
        Mean F1 of the pairs, with an interval over annotators.
    best, worst
        Annotator with the largest and the smallest mean F1 with the others.
    distance_um
        Matching distance [um].
    """

    f1: NDArray[np.float64]
    recall: NDArray[np.float64]
    agreement: Interval
    best: int
    worst: int
    distance_um: float


def forest_scores(
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    *,
    distance_um: float,
    merge_um: float = 10.0,
) -> SkeletonScores:
    """Score traced trees along true neurons.

    True cable is cut every quarter of the distance. A piece can belong to any traced skeleton that
    lies within the distance of its middle; of all ways to choose, that with the fewest changes
    along the neuron is taken, then that with the smallest distances. Labels are the indices of the
    traced skeletons, counted from 1; 0 means that nothing was traced there.

    Parameters
    ----------
    truth
        One skeleton a neuron.
    traced
        One skeleton a traced neuron, all in one space. A skeleton of several trees is one neuron.
    distance_um
        How far apart cable may lie to be the same [um of that space].
    merge_um
        As in `skeletons.skeleton_scores`: cable of a neuron that a traced skeleton has to hold to
        count [um]. Below about twice the distance, crossings are merges.

    Returns
    -------
    SkeletonScores
        Splits, merges, omitted cable and expected run lengths. Traced cable that is near no neuron
        is in no figure: see the precision of `trees.length_scores`.

    Raises
    ------
    ParameterError
        If the distance is not positive, or the threshold is negative.
    SpaceMismatchError
        If the skeletons lie in different spaces.
    """
    check_distance(distance_um)
    if not (math.isfinite(merge_um) and merge_um >= 0):
        raise ParameterError(
            f"merge_um is the length that a tree may share, 0 or more; not {merge_um!r}."
        )
    common_space(truth, traced)
    neurons = [subdivided(neuron, longest_um=distance_um / 4) for neuron in truth]
    cut = _cut(neurons)
    cable, first, labels = Cable.of(traced), 0, [np.empty(0, np.int64)]
    for neuron in neurons:
        nodes = np.flatnonzero(neuron.lengths > 0)
        middle = cut.middle[first : first + len(nodes)]
        labels.append(_owners(neuron, nodes, middle, cable, distance_um))
        first += len(nodes)
    return score_runs(neurons, replace(cut, label=np.concatenate(labels)), merge_um=merge_um)


def false_branches(
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    *,
    distance_um: float,
    min_length_um: float = 10.0,
) -> tuple[FalseBranch, ...]:
    """Return where traced trees leave the truth for cable that is near no true neuron.

    Where the truth is sparse these are merges with neurons that nobody traced. Looked at are traced
    skeletons that run along a true neuron for more than the least length; traced skeletons of
    segments (fragments) show what a volume of labels alone cannot.

    Parameters
    ----------
    truth
        One skeleton a neuron.
    traced
        Traced skeletons, all in one space.
    distance_um
        How far apart cable may lie to be the same [um of that space].
    min_length_um
        Connected false cable up to this length is let pass [um].

    Returns
    -------
    tuple of FalseBranch
        The longest first.

    Raises
    ------
    ParameterError
        If the distance is not positive, or the length is negative.
    SpaceMismatchError
        If the skeletons lie in different spaces.
    """
    check_distance(distance_um)
    if not (math.isfinite(min_length_um) and min_length_um >= 0):
        raise ParameterError(f"min_length_um is 0 or more, not {min_length_um!r}.")
    common_space(truth, traced)
    cable = Cable.of(truth)
    found: list[FalseBranch] = []
    for number, skeleton in enumerate(traced):
        fine = subdivided(skeleton, longest_um=distance_um / 4)
        cut = _cut([fine])
        near = cable.nearest(cut.middle, limit_um=distance_um)
        true = near.segment >= 0
        if not cut.length[true].sum() > min_length_um:
            continue
        where = joints([fine], cut)
        run = runs(where.ends, true.astype(np.int64))
        length = np.bincount(run, cut.length)
        # A joint at which a run of false cable meets true cable is where it leaves.
        beside = np.full(len(where.place), -1, np.int64)
        beside[where.ends[true].ravel()] = np.repeat(np.flatnonzero(true), 2)
        for one in np.flatnonzero(length > min_length_um).tolist():
            pieces = np.flatnonzero(run == one)
            if true[pieces[0]]:
                continue
            contacts = np.unique(where.ends[pieces].ravel())
            contacts = contacts[beside[contacts] >= 0]
            if len(contacts):
                owner = cable.owner[near.segment[beside[contacts[0]]]]
                point = read_only(where.place[contacts[0]])
                found.append(FalseBranch(number, int(owner), point, float(length[one])))
    return tuple(sorted(found, key=lambda branch: -branch.length_um))


def annotator_ceiling(
    tracings: Sequence[Sequence[Skeleton]],
    *,
    distance_um: float,
    by: Literal["length", "nodes", "paths"] = "length",
    seed: int = 0,
) -> Ceiling:
    """Compare several tracings of one neuron with one another.

    Parameters
    ----------
    tracings
        Of each annotator the trees, all in one space; two annotators or more.
    distance_um
        How far apart cable may lie to be the same [um of that space].
    by
        What has to agree: cable (`trees.length_scores`), branchings and ends
        (`tree_nodes.node_scores`) or paths (`tree_paths.path_scores`).
    seed
        Of the bootstrap, which draws annotators; pairs of an annotator with itself do not count.

    Returns
    -------
    Ceiling
        Agreement of all pairs. An annotator who traced nothing agrees with nobody (F1 0).

    Raises
    ------
    ParameterError
        If there are fewer than two tracings, or the distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    count = len(tracings)
    if count < 2:
        raise ParameterError(f"A ceiling needs two tracings of one neuron or more, not {count}.")
    harmonic, recall = np.ones((count, count)), np.ones((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            pair = agreement(tracings[i], tracings[j], distance_um=distance_um, by=by)
            recall[i, j], recall[j, i], harmonic[i, j] = pair
            harmonic[j, i] = harmonic[i, j]

    def mean(index: NDArray[np.int64]) -> float:
        other = index[:, None] != index[None, :]
        if not other.any():
            return math.nan
        return float(harmonic[np.ix_(index, index)][other].mean())

    means = (harmonic.sum(axis=1) - 1) / (count - 1)
    ordered = np.nan_to_num(means)
    return Ceiling(
        f1=read_only(harmonic),
        recall=read_only(recall),
        agreement=interval(mean, n=count, seed=seed),
        best=int(ordered.argmax()),
        worst=int(ordered.argmin()),
        distance_um=float(distance_um),
    )


def agreement(
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    *,
    distance_um: float,
    by: Literal["length", "nodes", "paths"] = "length",
) -> tuple[float, float, float]:
    """Return recall, precision and F1 of one tracing by another.

    Parameters
    ----------
    truth, traced, distance_um, by
        As for `annotator_ceiling`.

    Raises
    ------
    ParameterError
        If the distance is not positive, or there is nothing of that name to agree in.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    if by == "length":
        length = length_scores(truth, traced, distance_um=distance_um)
        return length.recall, length.precision, length.f1
    if by == "nodes":
        nodes = node_scores(truth, traced, distance_um=distance_um).critical
        return nodes.recall, nodes.precision, nodes.f1
    if by == "paths":
        paths = path_scores(truth, traced, distance_um=distance_um)
        return paths.recall, paths.precision, paths.f1
    raise ParameterError(f"Tracings agree by length, nodes or paths, not by {by!r}.")


def _cut(neurons: Sequence[Skeleton]) -> Cut:
    """Return the edges as pieces, all background."""
    edges, lengths, middles = [np.empty(0, np.int64)], [np.empty(0)], [np.empty((0, 3))]
    offset = 0
    for neuron in neurons:
        nodes = np.flatnonzero(neuron.lengths > 0)
        edges.append(nodes + offset)
        lengths.append(neuron.lengths[nodes])
        middles.append((neuron.coordinates[nodes] + neuron.coordinates[neuron.parent[nodes]]) / 2)
        offset += len(neuron)
    length = np.concatenate(lengths)
    return Cut(
        edge=np.concatenate(edges),
        length=length,
        middle=np.concatenate(middles),
        label=np.zeros(len(length), np.int64),
        scored=np.ones(len(length), bool),
    )


def _owners(
    neuron: Skeleton,
    nodes: NDArray[np.int64],
    middle: NDArray[np.float64],
    cable: Cable,
    distance: float,
) -> NDArray[np.int64]:
    """Return for the edge above each of `nodes` the traced skeleton along it, counted from 1."""
    around = cable.within(middle, distance)
    which = np.repeat(np.arange(len(nodes)), np.diff(around.first))
    # Of each skeleton near a piece the nearest place: the entries stand in the order of distances.
    pairs = np.stack([which, cable.owner[around.segment]], axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    start = np.zeros(len(neuron) + 1, np.int64)
    start[nodes + 1] = np.bincount(pairs[:, 0], minlength=len(nodes))
    # A change costs more than all distances of a neuron together.
    cost = around.distance[first] / (distance * (len(nodes) + 1))
    chosen = _fewest_changes(neuron.parent, np.cumsum(start), pairs[:, 1], cost)
    return chosen[nodes] + 1


@numba.njit(cache=True, nogil=True)
def _fewest_changes(
    parent: NDArray[np.int64],
    first: NDArray[np.int64],
    owner: NDArray[np.int64],
    cost: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Choose an owner for the edge above each node with the fewest changes along the tree.

    Edges without a candidate take part with -1: their neighbours change to it and back, whatever
    is chosen. The costs of a subtree are added at its top edge, then choices are made downwards.
    """
    n = len(parent)
    total = cost.copy()
    for node in range(n - 1, -1, -1):
        above = parent[node]
        if above < 0 or first[node] == first[node + 1] or first[above] == first[above + 1]:
            continue
        low = np.inf
        for k in range(first[node], first[node + 1]):
            low = min(low, total[k])
        for k in range(first[above], first[above + 1]):
            stay = np.inf
            for j in range(first[node], first[node + 1]):
                if owner[j] == owner[k]:
                    stay = total[j]
            total[k] += min(stay, low + 1)
    chosen = np.full(n, -1, np.int64)
    for node in range(n):
        if first[node] == first[node + 1]:
            continue
        above = parent[node]
        best = np.inf
        for k in range(first[node], first[node + 1]):
            change = above >= 0 and chosen[above] >= 0 and chosen[above] != owner[k]
            if total[k] + change < best:
                best, chosen[node] = total[k] + change, owner[k]
    return chosen
