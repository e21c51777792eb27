"""Skeletons of kimimaro (GPL-3.0): runs in a Python of its own."""

import kimimaro
import numpy as np
from skimage.filters import sato
from skimage.measure import label
from skimage.morphology import remove_small_objects


def skeletonised(labels, facts, **more):
    """Return skeletons with the parameters of ours: 1.5 radii and two voxels."""
    voxel = facts["voxel_size_um"]
    found = kimimaro.skeletonize(
        labels,
        teasar_params={"scale": 1.5, "const": 2 * float(np.prod(voxel)) ** (1 / 3)},
        anisotropy=tuple(voxel),
        dust_threshold=0,
        progress=False,
        **more,
    )
    nodes, edges, count = [np.empty((0, 3))], [np.empty((0, 2), np.int64)], 0
    for skeleton in found.values():
        nodes.append(skeleton.vertices)
        edges.append(skeleton.edges.astype(np.int64) + count)
        count += len(skeleton.vertices)
    return {"nodes": np.concatenate(nodes), "edges": np.concatenate(edges)}


def skeletons(arrays, facts):
    """TEASAR of all labels."""
    return skeletonised(arrays["labels"], facts)


def trees(arrays, facts):
    """Sato of scikit-image above a threshold, skeletonised by TEASAR."""
    size = float(np.prod(facts["voxel_size_um"])) ** (1 / 3)
    scales = [sigma / size for sigma in facts["sigmas_um"]]
    response = sato(arrays["image"].astype(np.float32), sigmas=scales, black_ridges=False)
    mask = remove_small_objects(response > facts["thresholds"]["sato"], max_size=30, connectivity=3)
    return skeletonised(label(mask, connectivity=3).astype(np.uint32), facts)
