"""Thinned masks as graphs; for methods that need no more than numpy here."""

import numpy as np


def graph_of(thin, owner, voxel_size):
    """Return the voxels of a thinned mask [um], and the pairs of neighbours with one owner."""
    voxels = np.argwhere(thin)
    number = np.full(np.add(thin.shape, 2), -1, np.int64)
    number[tuple((voxels + 1).T)] = np.arange(len(voxels))
    owned = owner[tuple(voxels.T)]
    edges = [np.empty((0, 2), np.int64)]
    for step in np.ndindex(3, 3, 3):
        if step <= (1, 1, 1):
            continue
        other = number[tuple((voxels + step).T)]
        here = np.flatnonzero(other >= 0)
        here = here[owned[here] == owned[other[here]]]
        edges.append(np.stack([here, other[here]], axis=1))
    return {"nodes": voxels * np.asarray(voxel_size), "edges": np.concatenate(edges)}
