"""Paths of dijkstra3d (GPL-3.0): runs in a Python of its own."""

import dijkstra3d
import numpy as np


def searched(arrays, **words):
    """Return the paths of a search."""
    found = [
        dijkstra3d.dijkstra(arrays["costs"], a.tolist(), b.tolist(), connectivity=26, **words)
        for a, b in arrays["pairs"]
    ]
    return {"voxels": np.concatenate(found).astype(np.int64), "counts": [len(v) for v in found]}


def paths(arrays, facts):
    """From one end, with the size of voxels."""
    return searched(arrays, anisotropy=tuple(facts["voxel_size_um"]))


def bidirectional(arrays, facts):
    """From both ends; lengths of steps do not count."""
    return searched(arrays, bidirectional=True)
