"""Rivulet2 of rivuletpy (BSD)."""

import sys
from types import ModuleType

import numpy as np

# pip does not build the extension of its option `quality`, which is not used here.
sys.modules.setdefault("msfm", ModuleType("msfm"))
from rivuletpy.trace import R2Tracer  # noqa: E402


def trees(arrays, facts):
    """One neuron from its soma, above a threshold."""
    image = arrays["image"]
    tracer = R2Tracer(silent=True, clean=True)
    swc, _ = tracer.trace(image.astype(float), facts["thresholds"]["grey"])
    table = swc.get_array()
    rank = {int(row[0]): n for n, row in enumerate(table)}
    edges = [(n, rank[int(r[6])]) for n, r in enumerate(table) if int(r[6]) in rank]
    # Its first column of places is the first axis of the array.
    nodes = table[:, 2:5] * np.asarray(facts["voxel_size_um"])
    return {"nodes": nodes, "edges": np.asarray(edges, np.int64).reshape(-1, 2)}
