"""Expected run length exactly as funlib.evaluate gives it.

Habits, each with the case that shows it; `runs.RunScores` has none of them:

- Nodes have labels, edges have not: an edge counts where both ends agree, so that the figure
  depends on the density of nodes. (100 um, the first half 1, the second 2: with nodes at 0, 50 and
  100 um the ERL is 25, with two nodes 0; 50 is right.)
- A run is all cable of one label in a skeleton, connected or not: `erl_per_segment_um`. (Label 1,
  then 2, then 1 again: one run of label 1.)
- A label that touches a second skeleton at ONE node is merged, and all its cable in both is lost.
  (One stray node: two skeletons of 9 um fall from 9 to 4.5 um or less.)
- Background counts among the merged labels that are listed, not among those that cost cable.
- Lengths are computed in single precision.

References
----------
Januszewski M. et al. (2018), Nature Methods 15, 605-610; funkelab/funlib.evaluate, run_length.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.skeleton import Skeleton
from projectome.errors import ShapeError
from projectome.metrics.samples import common_space


def expected_run_length(
    skeletons: Sequence[Skeleton], node_labels: Sequence[ArrayLike]
) -> tuple[float, dict[int, list[int]], dict[int, list[tuple[int, int]]]]:
    """Return the expected run length, and which labels merge and where they change.

    Parameters
    ----------
    skeletons
        True neurons, in one space.
    node_labels
        Of each the labels of its nodes, shape (N,); 0 is background.

    Returns
    -------
    tuple
        The expected run length in the unit of the coordinates; 0 without any edge. The skeletons
        on each label that lies on several of them. The pairs of labels at both ends of edges where
        they change, by skeleton.

    Raises
    ------
    ShapeError
        If there is not one integer label a node.
    SpaceMismatchError
        If the skeletons lie in different spaces.
    """
    common_space(skeletons)
    if len(skeletons) != len(node_labels):
        raise ShapeError(f"{len(skeletons)} skeletons need as many labels, not {len(node_labels)}.")
    labels = [np.asarray(each) for each in node_labels]
    for skeleton, each in zip(skeletons, labels, strict=True):
        if each.shape != (len(skeleton),) or each.dtype.kind not in "iub":
            raise ShapeError(
                f"A skeleton of {len(skeleton)} nodes needs as many integer labels, not "
                f"{each.shape} of {each.dtype}."
            )
    on: dict[int, list[int]] = {}
    for number, each in enumerate(labels):
        for label in np.unique(each).tolist():
            on.setdefault(label, []).append(number)
    merges = {label: numbers for label, numbers in sorted(on.items()) if len(numbers) > 1}
    lengths = [_edge_lengths(skeleton) for skeleton in skeletons]
    wholes = [np.add.accumulate(each)[-1] if len(each) else np.float32(0) for each in lengths]
    total = np.sum(wholes) if wholes else np.float32(0)
    expected, splits = 0.0, {}
    for number, (skeleton, each) in enumerate(zip(skeletons, labels, strict=True)):
        edges = _edges(skeleton)
        one, two = each[edges[:, 0]], each[edges[:, 1]]
        changed = (one != two) & (one != 0) & (two != 0)
        if changed.any():
            splits[number] = list(zip(one[changed].tolist(), two[changed].tolist(), strict=True))
        whole, here = wholes[number], np.float32(0)
        same = (one == two) & (one != 0)
        for label in dict.fromkeys(one[same].tolist()):
            if label not in merges and whole > 0:
                run = np.sum(lengths[number][same & (one == label)])
                here += run * (run / whole)
        if total > 0:
            expected += float(whole / total * here)
    return expected, merges, splits


def _edges(skeleton: Skeleton) -> NDArray[np.int64]:
    """Return the edges, proximal node first, in the order in which a graph lists them."""
    edges = skeleton.edges[:, ::-1]
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def _edge_lengths(skeleton: Skeleton) -> NDArray[np.float32]:
    positions = skeleton.coordinates.astype(np.float32)
    one, two = _edges(skeleton).T
    return np.linalg.norm(positions[one] - positions[two], axis=1).astype(np.float32)
