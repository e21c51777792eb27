"""How answers are judged; the definitions are those of `projectome.metrics`.

Intervals are 95 % bootstraps over what is independent: blocks of space, points, neurons or paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contest.entries import Arrays, Case, Value
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.metrics.bootstrap import Interval, interval
from projectome.metrics.contingency import contingency
from projectome.metrics.detection import match_points
from projectome.metrics.forests import forest_scores
from projectome.metrics.labels import instance_scores, rand_error, variation_of_information
from projectome.metrics.samples import cut
from projectome.metrics.tree_nodes import node_scores
from projectome.metrics.voxels import centre_line_scores, curve_of
from projectome.morphology.nearest import Cable

SPACE = Space("contest")
BLOCKS = 4
"""Blocks an axis that intervals are made from."""
SCORED = 2
"""Voxels of the truth from this value on are not scored."""


def value_of(found: Interval) -> Value:
    """Return a figure with its interval, where there is one."""
    if not np.isfinite(found.low):
        return Value(float(found.value))
    return Value(float(found.value), float(found.low), float(found.high))


def f1_of(rows: NDArray[np.float64]) -> float:
    """Return F1 of summed true positives, false positives and false negatives."""
    tp, fp, fn = rows.sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else float("nan")


def block_of(places: NDArray[Any], extent: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of the block that each place (N, 3) lies in."""
    index = np.clip((places / extent * BLOCKS).astype(np.int64), 0, BLOCKS - 1)
    return np.ravel_multi_index(tuple(index.T), (BLOCKS,) * 3)


def score_ridges(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score a probability, or any number that grows with it, voxel by voxel."""
    truth, score = case.truth, np.asarray(answer["score"], np.float64)
    scored = truth < SCORED
    true, values = truth[scored] == 1, score[scored]
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    hits = np.cumsum(true[order])
    curve = curve_of(falling[last], hits[last], last + 1, int(true.sum()))
    threshold = float(curve.threshold[curve.best])
    mask = score >= threshold
    places = np.argwhere(scored)
    block = block_of(places, np.asarray(truth.shape))
    found = mask[scored]
    rows = np.stack(
        [np.bincount(block, w, BLOCKS**3) for w in (true & found, ~true & found, true & ~found)],
        axis=1,
    )
    rows = rows[np.bincount(block, minlength=BLOCKS**3) > 0]
    figures = {
        "AP": Value(curve.average_precision),
        "F1": value_of(interval(rows, f1_of)),
    }
    if scored.all():
        voxel = case.facts["voxel_size_um"]
        lines = centre_line_scores(truth == 1, mask, voxel_size=voxel)
        figures["clDice"] = Value(lines.cl_dice)
    return figures


def score_somata(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score points."""
    found = np.asarray(answer["points"], np.float64).reshape(-1, 3)
    match = match_points(case.truth, found, distance_um=case.facts["distance_um"])
    hits = len(match.pairs)
    units = [hits, len(found) - hits, len(case.truth) - hits]
    rows = np.repeat(np.eye(3), units, axis=0)
    return {
        "F1": value_of(interval(rows, f1_of)),
        "precision": Value(match.precision),
        "recall": Value(match.recall),
        "error [um]": Value(match.mean_error_um),
    }


def forest(answer: Arrays) -> list[Skeleton]:
    """Return the trees of an answer; edges that close a circle are left out."""
    nodes = np.asarray(answer["nodes"], np.float64).reshape(-1, 3)
    edges = np.asarray(answer["edges"], np.int64).reshape(-1, 2)
    if not len(nodes):
        return []
    return Skeleton.from_edges(nodes, spanning(nodes, edges), SPACE).trees()


def spanning(nodes: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return edges of a forest that connects all that edges connect, the shortest first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    length = np.linalg.norm(nodes[edges[:, 0]] - nodes[edges[:, 1]], axis=1)
    pair = np.sort(edges, axis=1)
    pair, first = np.unique(pair[pair[:, 0] < pair[:, 1]], axis=0, return_index=True)
    length = length[edges[:, 0] != edges[:, 1]][first] + 1e-9
    graph = coo_array((length, (pair[:, 0], pair[:, 1])), shape=(len(nodes),) * 2)
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    return np.stack([tree.row, tree.col], axis=1).astype(np.int64)


def length_f1(truth: list[Skeleton], found: list[Skeleton], distance: float) -> dict[str, Value]:
    """Return recall, precision and F1 by length, with an interval over blocks of space."""
    extent = np.max([s.coordinates.max(axis=0) for s in truth], axis=0) + 1e-6
    columns = []
    for one, other in ((truth, found), (found, truth)):
        pieces = cut(one, longest_um=distance / 4)
        near = Cable.of(other).nearest(pieces.points, limit_um=distance).segment >= 0
        block = block_of(pieces.points, extent)
        matched = np.bincount(block, pieces.length * near, BLOCKS**3)
        columns += [matched, np.bincount(block, pieces.length, BLOCKS**3)]
    rows = np.stack(columns, axis=1)
    rows = rows[rows.any(axis=1)]

    def figure(part: Callable[[float, float], float]) -> Callable[[NDArray[np.float64]], float]:
        def of(some: NDArray[np.float64]) -> float:
            a, all_a, b, all_b = some.sum(axis=0)
            return part(a / all_a if all_a else np.nan, b / all_b if all_b else np.nan)

        return of

    whole = figure(lambda r, p: 2 * r * p / (r + p) if r + p > 0 else 0.0)
    return {
        "F1": value_of(interval(rows, whole)),
        "recall": Value(figure(lambda r, p: r)(rows)),
        "precision": Value(figure(lambda r, p: p)(rows)),
    }


def placed(truth: list[Skeleton]) -> list[Skeleton]:
    """Return true neurites in the space of answers."""
    return [s.to(np.asarray, SPACE) for s in truth]


def score_skeletons(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score skeletons of true labels."""
    truth, found, distance = placed(case.truth), forest(answer), case.facts["distance_um"]
    figures = length_f1(truth, found, distance)
    nodes = node_scores(truth, found, distance_um=4 * distance)
    length = sum(s.cable_length for s in found) / sum(s.cable_length for s in truth)
    return figures | {
        "branchings F1": Value(nodes.bifurcations.f1),
        "ends F1": Value(nodes.terminations.f1),
        "length": Value(length),
    }


def score_trees(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score traced trees."""
    truth, found, distance = placed(case.truth), forest(answer), case.facts["distance_um"]
    figures = length_f1(truth, found, distance)
    runs = forest_scores(truth, found, distance_um=distance, merge_um=5 * distance)
    erl = runs.intervals()["normalised_erl"]
    return figures | {
        "ERL": value_of(erl),
        "splits": Value(float(runs.total.splits)),
        "merges": Value(float(runs.total.merges)),
    }


def price(
    costs: NDArray[np.float32], voxels: NDArray[np.int64], voxel: NDArray[np.float64]
) -> float:
    """Return what a path costs: the mean of the ends of each step times its length."""
    along = costs[tuple(voxels.T)].astype(np.float64)
    steps = np.linalg.norm(np.diff(voxels, axis=0) * voxel, axis=1)
    return float(((along[1:] + along[:-1]) / 2 * steps).sum())


def score_paths(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score paths: by what they cost, and by whether they follow the neurite."""
    voxel = np.asarray(case.facts["voxel_size_um"])
    parts = np.split(np.asarray(answer["voxels"], np.int64), np.cumsum(answer["counts"])[:-1])
    ratios, on = [], []
    for n, voxels in enumerate(parts):
        ratios.append(price(case.arrays["costs"], voxels, voxel) / case.truth["optimum"][n])
        path = Skeleton(voxels * voxel, np.arange(-1, len(voxels) - 1), SPACE)
        pieces = cut([path], longest_um=case.facts["distance_um"] / 4)
        true = Cable.of(placed([case.truth["neurites"][n]]))
        near = true.nearest(pieces.points, limit_um=case.facts["distance_um"]).segment >= 0
        on.append((pieces.length * near).sum() / pieces.length.sum())
    return {"cost": value_of(interval(ratios)), "on the neurite": value_of(interval(on))}


def score_agglomeration(case: Case, answer: Arrays) -> dict[str, Value]:
    """Score labels; voxels without a true one are not scored."""
    table = contingency(case.truth, np.asarray(answer["labels"]))
    bits = variation_of_information(table)
    return {
        "ARAND": Value(rand_error(table).error),
        "VOI split": Value(bits.split),
        "VOI merge": Value(bits.merge),
        "objects F1": Value(instance_scores(table)[0].f1),
    }
