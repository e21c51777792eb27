"""Candidates of cellfinder (BSD-3-Clause), without its network, whose weights are not packaged."""

import numpy as np
from cellfinder.core.detect.detect import main


def somata(arrays, facts):
    """Classical detection with its defaults."""
    voxel = facts["voxel_size_um"]
    cells = main(arrays["image"], voxel_sizes=tuple(voxel), n_free_cpus=0)
    points = [(c.z, c.y, c.x) for c in cells if c.type == c.UNKNOWN or c.type == c.CELL]
    return {"points": np.asarray(points, float).reshape(-1, 3) * voxel}
