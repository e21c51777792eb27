"""Distances of two neurons exactly as the plugin neuron_distance of Vaa3D gives them.

Habits, each with the case that shows it; `tree_distance.distance_scores` has none of them:

- Points are set on each edge, both ends included: ``int(1 + length + 0.5)`` of them, about one each
  unit. Nodes count twice, branchings three times, and so the figures depend on the density of
  nodes. (A trace 1 away of a straight neurite, and 3 away of a short one beside it: with a node in
  each unit of the short one it weighs twice as much.)
- All is in units of the file, as a rule voxels, also where voxels are no cubes.
- A direction without points apart is left out of the mean of the points apart.
- The largest distance is the SMALLER one of the two directions.
- Neurons of fewer than two nodes have -1 everywhere.

References
----------
Peng H. et al. (2010), Nature Biotechnology 28, 348-353; Vaa3D, neuron_editing/neuron_sim_scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.metrics.samples import check_distance, common_space
from projectome.morphology.nearest import Cable

KEYS = (
    "dist_12_allnodes",
    "dist_21_allnodes",
    "dist_allnodes",
    "dist_apartnodes",
    "percent_12_apartnodes",
    "percent_21_apartnodes",
    "percent_apartnodes",
    "dist_max",
)


def neuron_distance(
    truth: Skeleton, traced: Skeleton, *, threshold: float = 2.0
) -> dict[str, float]:
    """Return what neuron_distance prints.

    Parameters
    ----------
    truth, traced
        Neuron 1 and neuron 2, in one space; whatever unit their coordinates have.
    threshold
        From which distance on points lie apart, in that unit.

    Returns
    -------
    dict
        By the names of the source: `KEYS`. ``dist_allnodes`` is called ESA, ``dist_apartnodes``
        DSA and ``percent_apartnodes`` PDS.

    Raises
    ------
    ParameterError
        If the threshold is not positive.
    SpaceMismatchError
        If the neurons lie in different spaces.
    """
    check_distance(threshold, "threshold")
    common_space([truth, traced])
    if len(truth) < 2 or len(traced) < 2:
        return dict.fromkeys(KEYS, -1.0)
    there, back = _distances(truth, traced), _distances(traced, truth)
    if not (len(there) and len(back)):  # nodes, but not one edge
        return dict.fromkeys(KEYS, float("nan"))
    apart = [float(d[d >= threshold].mean()) for d in (there, back) if (d >= threshold).any()]
    one, two = float((there >= threshold).mean()), float((back >= threshold).mean())
    values = (
        float(there.mean()),
        float(back.mean()),
        float(there.mean() + back.mean()) / 2,
        sum(apart) / max(1, len(apart)),
        one,
        two,
        (one + two) / 2,
        float(min(there.max(), back.max())),
    )
    return dict(zip(KEYS, values, strict=True))


def _distances(neuron: Skeleton, other: Skeleton) -> NDArray[np.float64]:
    """Return the distance of each point set on the edges of a neuron to the edges of another."""
    nodes, parents = neuron.edges.T
    count = np.floor(1 + neuron.lengths[nodes] + 0.5).astype(np.int64)
    edge = np.repeat(np.arange(len(nodes)), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = within / np.maximum(count - 1, 1)[edge]
    start, stop = neuron.coordinates[nodes][edge], neuron.coordinates[parents][edge]
    cable = Cable.of([other])
    if not len(cable):  # all nodes in one place: any edge is a point
        return np.linalg.norm(
            start + share[:, None] * (stop - start) - other.coordinates[0], axis=1
        )
    return cable.nearest(start + share[:, None] * (stop - start)).distance
