"""Scores exactly as segmentation-skeleton-metrics 5.9.14 of the Allen Institute gives them.

Habits, each with the case that shows it, a straight neurite of 100 um with a node each um;
`skeletons.skeleton_scores` has none of them:

- Background is filled: nodes without a label that touch one label only take it. (The last 60 um
  without a label: nothing omitted, no truncation, ERL 100, accuracy 100 %.)
- An edge to a node without a label is split AND omitted. (40 um of 1, 20 um of nothing, 41 um of 2:
  accuracy 77 %.)
- Of a label the first run alone is measured, and omitted cable is not in the mean. (1, 2, 1 in runs
  of 39, 19 and 40 um: ERL 32.45 and not 30.4.)
- The cable of the truth is measured in voxels, runs in micrometres. (Voxels of 0.748 um along the
  neurite: normalised ERL 0.748.)
- A label is merged if it holds more than 50 nodes of two neurons, whatever their distance; its
  edges are then taken off once more. (Two neurons of 201 um whose shared labels change every two
  voxels: accuracy -49.25 %.)
- A branch of a fragment is a merge only beyond 100 um. (A false branch of 90 um: no merge.)
- Coordinates lose their decimals.
- Divisions by zero stop the program: a neuron without an edge, labels on single nodes only; here
  the figures are NaN.
- Which of two neurons a merge is charged to depends on which file was read first; here on the
  order given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.metrics.skeletons import BLOCK, check_labels, read_labels
from projectome.morphology.crossing import check_space

NEAR, FAR, ALONG, REPEAT, BRANCHING, ON_TRUTH = 10.0, 100.0, 50.0, 40.0, 40.0, 16.0
MERGED_NODES = 50

Triplet = tuple[float, float, float]


def skeleton_metrics(
    truth: Mapping[str, Skeleton],
    labels: Volume,
    *,
    anisotropy: Triplet = (1.0, 1.0, 1.0),
    fragments: Mapping[str, Skeleton] | None = None,
    physical: bool = False,
) -> dict[str, dict[str, float]]:
    """Return the columns of ``results.csv``.

    Parameters
    ----------
    truth
        Neurons by name, in the space of the labels. They are carried into voxels, as that program
        wants its files.
    labels
        The segmentation.
    anisotropy
        Its option: micrometres of a voxel, in the order (x, y, z); 1 leaves all in voxels.
    fragments
        Skeletons of the segmentation by name; what stands before the first point of the name is the
        label. Merges are counted only with them.
    physical
        Its option ``use_anisotropy``: files are in micrometres from the first voxel, and lose the
        decimals of these before they are divided by the anisotropy.

    Returns
    -------
    dict
        By neuron and column, rounded as there: ``SWC Run Length``, ``# Splits``, ``# Truncations``,
        ``# Merges`` (NaN without fragments), ``% Split Edges``, ``% Omit Edges``,
        ``% Merged Edges``, ``ERL``, ``Normalized ERL``, ``Edge Accuracy``, ``Split Rate`` and
        ``Merge Rate``.

    Raises
    ------
    ParameterError
        If a node lies outside of the labels.
    ShapeError
        If the labels are no integers.
    SpaceMismatchError
        If a skeleton lies in another space.
    """
    check_labels(labels)
    for skeleton in (*truth.values(), *(fragments or {}).values()):
        check_space(skeleton, labels.space)
    graphs = {name: _Graph(neuron, labels, anisotropy, physical) for name, neuron in truth.items()}
    for name, graph in graphs.items():
        graph.label = _node_labels(name, graph, labels)
        _fill(graph)
    merges = None
    if fragments:
        parts = {
            name: _Graph(fragment, labels, anisotropy, physical)
            for name, fragment in fragments.items()
        }
        merges = _count_merges(graphs, parts)
    _mark_merged(graphs)
    return {
        name: _columns(graph, None if merges is None else merges[name])
        for name, graph in graphs.items()
    }


class _Graph:
    """Nodes of a skeleton in voxels, with their neighbours: the parent, then the children."""

    def __init__(
        self, skeleton: Skeleton, labels: Volume, anisotropy: Triplet, physical: bool
    ) -> None:
        index = labels.affine.inverse()(skeleton.coordinates)
        self.scale = np.asarray(anisotropy, np.float64)
        self.edges = skeleton.edges
        written = np.round(index * labels.voxel_size if physical else index, 6)
        voxel = written.astype(np.int32)
        steps = voxel[self.edges[:, 0]] - voxel[self.edges[:, 1]]
        self.run_length = float(np.linalg.norm(steps, axis=1).sum())
        self.voxel = (voxel / self.scale[::-1]).astype(np.int64) if physical else voxel
        self.place = self.voxel[:, ::-1] * self.scale
        self.parent = skeleton.parent
        self.neighbours: list[list[int]] = [[] for _ in range(len(skeleton))]
        for node, parent in self.edges.tolist():
            self.neighbours[node].append(parent)
            self.neighbours[parent].append(node)
        self.label: NDArray[np.generic] = np.zeros(len(skeleton), np.int64)
        self.merged: set[int] = set()

    def length(self, one: int, two: int) -> float:
        return float(np.linalg.norm(self.place[one] - self.place[two]))

    def names(self) -> list[int]:
        found: list[int] = np.unique(self.label).tolist()
        return [label for label in found if label != 0]

    def parts(self, nodes: set[int]) -> list[set[int]]:
        """Return the connected parts of some of the nodes."""
        left, parts = set(nodes), []
        for root in sorted(nodes):
            if root not in left:
                continue
            part, stack = set(), [root]
            left.discard(root)
            while stack:
                node = stack.pop()
                part.add(node)
                for other in self.neighbours[node]:
                    if other in left:
                        left.discard(other)
                        stack.append(other)
            parts.append(part)
        return parts

    def cable(self, nodes: set[int]) -> float:
        return sum(self.length(n, p) for n, p in self.edges.tolist() if n in nodes and p in nodes)


def _node_labels(name: str, graph: _Graph, labels: Volume) -> NDArray[np.generic]:
    inside = ((graph.voxel >= 0) & (graph.voxel < np.asarray(labels.shape))).all(axis=1)
    if not inside.all():
        raise ParameterError(
            f"{int((~inside).sum())} nodes of {name} lie outside of {labels.name}, which stops "
            "segmentation-skeleton-metrics; crop the skeletons to the volume."
        )
    return read_labels(labels, graph.voxel.astype(np.int64), None, BLOCK)


def _fill(graph: _Graph) -> None:
    """Give nodes without a label that of their neighbours where it is one alone."""
    seen: set[tuple[int, int]] = set()

    def link(one: int, two: int) -> tuple[int, int]:
        return (one, two) if one < two else (two, one)

    for above, node in _depth_first(graph):
        if link(above, node) in seen:
            continue
        if graph.label[node] == 0:
            found: set[int] = set()
            visited: set[int] = set()
            queue = deque([node])
            while queue:
                here = queue.popleft()
                visited.add(here)
                if graph.label[here] != 0:
                    found.add(int(graph.label[here]))
                    continue
                for other in graph.neighbours[here]:
                    edge = link(here, other)
                    if other not in visited and (edge not in seen or other == above):
                        queue.append(other)
                        seen.add(edge)
            if len(found) == 1:
                graph.label[list(visited)] = found.pop()
        seen.add(link(above, node))


def _depth_first(graph: _Graph) -> list[tuple[int, int]]:
    """Return edges in the order of a walk from each root, the first child first."""
    edges = []
    for root in np.flatnonzero(graph.parent < 0).tolist():
        stack = [root]
        while stack:
            node = stack.pop()
            if graph.parent[node] >= 0:
                edges.append((int(graph.parent[node]), node))
            children = [n for n in graph.neighbours[node] if n != graph.parent[node]]
            stack += reversed(children)
    return edges


def _mark_merged(graphs: Mapping[str, _Graph]) -> None:
    holders: dict[int, list[_Graph]] = {}
    for graph in graphs.values():
        for label in graph.names():
            if (graph.label == label).sum() > MERGED_NODES:
                holders.setdefault(label, []).append(graph)
    for label, found in holders.items():
        if len(found) > 1:
            for graph in found:
                graph.merged.add(label)


def _columns(graph: _Graph, merges: int | None) -> dict[str, float]:
    nan = float("nan")
    count = len(graph.edges)
    one, two = graph.label[graph.edges[:, 0]], graph.label[graph.edges[:, 1]]
    leaves = {node for node, near in enumerate(graph.neighbours) if len(near) == 1}
    gaps = graph.parts(set(np.flatnonzero(graph.label == 0).tolist()))
    truncations = sum(bool(gap & leaves) for gap in gaps)
    splits = len(gaps) - truncations + int(((one != two) & (one != 0) & (two != 0)).sum())
    lost = sum(int((graph.label == label).sum()) - 1 for label in graph.merged)

    def percent(part: float) -> float:
        return 100 * part / count if count else nan

    split, omit = percent(int((one != two).sum())), percent(int(((one == 0) | (two == 0)).sum()))
    merged = percent(lost)
    erl = round(_run_length(graph), 2)
    rest = graph.run_length * (1 - omit / 100 - split / 100)
    return {
        "SWC Run Length": graph.run_length,
        "# Splits": splits,
        "# Truncations": truncations,
        "# Merges": nan if merges is None else merges,
        "% Split Edges": split,
        "% Omit Edges": omit,
        "% Merged Edges": merged,
        "ERL": erl,
        "Normalized ERL": round(erl / graph.run_length, 4) if graph.run_length else nan,
        "Edge Accuracy": round(100 - (split + omit + merged), 2),
        "Split Rate": round(rest / splits, 2) if splits else nan,
        "Merge Rate": round(rest / merges, 2) if merges else nan,
    }


def _run_length(graph: _Graph) -> float:
    """Return the mean of the first runs of all labels, weighted by themselves."""
    weights, values = 0.0, 0.0
    for label in graph.names():
        first = int(np.flatnonzero(graph.label == label)[0])
        length, stack, seen = 0.0, [first], {first}
        while stack:
            node = stack.pop()
            for other in graph.neighbours[node]:
                if other not in seen and graph.label[other] == label:
                    seen.add(other)
                    stack.append(other)
                    length += graph.length(node, other)
        weights += length
        values += 0.0 if label in graph.merged else length * length
    if not graph.names():
        return 0.0
    return values / weights if weights else float("nan")


def _count_merges(graphs: Mapping[str, _Graph], parts: Mapping[str, _Graph]) -> dict[str, int]:
    """Return the number of merge sites of each neuron, and mark its merged labels."""
    sites: list[tuple[str, str, NDArray[np.float64]]] = []
    for name, graph in graphs.items():
        whole = cKDTree(graph.place)
        for label in graph.names():
            held = cKDTree(graph.place[graph.label == label])
            for part_name, part in parts.items():
                if part_name.split(".")[0] != str(label):
                    continue
                gaps = np.asarray(held.query(part.place)[0])
                for site in _far_parts(part, gaps):
                    graph.merged.add(label)
                    place = part.place[_nearest_branching(part, whole, site)]
                    sites.append((name, part_name, np.round(place, 2)))
    return _without_repeats(list(graphs), sites)


def _far_parts(part: _Graph, gaps: NDArray[np.float64]) -> list[int]:
    """Return where parts of a fragment that lead far from the truth meet the rest."""
    far = set(np.flatnonzero(gaps > NEAR).tolist())
    for near in part.parts(set(range(len(gaps))) - far):
        if part.cable(near) < ALONG:
            far |= near
    sites = []
    for component in part.parts(far):
        if not any(len(part.neighbours[n]) == 1 and gaps[n] > FAR for n in component):
            continue
        border = {o for n in component for o in part.neighbours[n] if o not in component}
        if border:
            sites.append(min(sorted(border), key=lambda node: gaps[node]))
    return sites


def _nearest_branching(part: _Graph, truth: cKDTree, start: int) -> int:
    queue, seen = deque([(start, 0.0)]), {start}
    while queue:
        node, far = queue.popleft()
        if len(part.neighbours[node]) > 2 and truth.query(part.place[node])[0] < ON_TRUTH:
            return node
        for other in part.neighbours[node]:
            reach = far + part.length(node, other)
            if other not in seen and reach < BRANCHING:
                seen.add(other)
                queue.append((other, reach))
    return start


def _without_repeats(
    names: Sequence[str], sites: Sequence[tuple[str, str, NDArray[np.float64]]]
) -> dict[str, int]:
    """Return the sites of each neuron, those of one fragment nearer than 40 counted once."""
    dropped: set[int] = set()
    for fragment in {part for _, part, _ in sites}:
        mine = [i for i, (_, part, _) in enumerate(sites) if part == fragment]
        tree = cKDTree([sites[i][2] for i in mine])
        for i in mine:
            if i not in dropped:
                near = tree.query_ball_point(sites[i][2], REPEAT)
                dropped |= {mine[k] for k in near if mine[k] != i}
    counts = dict.fromkeys(names, 0)
    for i, (name, _, _) in enumerate(sites):
        counts[name] += i not in dropped
    return counts
