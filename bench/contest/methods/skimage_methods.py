"""Filters, blobs, skeletons and paths of scikit-image (BSD-3-Clause)."""

import numpy as np
from skimage.feature import blob_log
from skimage.filters import frangi, meijering, sato
from skimage.graph import MCP_Geometric
from skimage.measure import label
from skimage.morphology import remove_small_objects, skeletonize
from thinning import graph_of


def scales(facts):
    """Return scales in voxels; these filters know one number for all axes."""
    size = float(np.prod(facts["voxel_size_um"])) ** (1 / 3)
    return [sigma / size for sigma in facts["sigmas_um"]]


def by_sato(arrays, facts):
    """Sato's tubeness."""
    image = arrays["image"].astype(np.float32)
    return {"score": sato(image, sigmas=scales(facts), black_ridges=False)}


def by_frangi(arrays, facts):
    """Frangi's vesselness."""
    image = arrays["image"].astype(np.float32)
    return {"score": frangi(image, sigmas=scales(facts), black_ridges=False)}


def by_meijering(arrays, facts):
    """Meijering's neuriteness."""
    image = arrays["image"].astype(np.float32)
    return {"score": meijering(image, sigmas=scales(facts), black_ridges=False)}


def somata(arrays, facts):
    """Laplacians of Gaussians over five scales."""
    voxel = np.asarray(facts["voxel_size_um"])
    low, high = (r / np.sqrt(3) / voxel for r in facts["radius_um"])
    found = blob_log(
        arrays["image"].astype(np.float32),
        min_sigma=low,
        max_sigma=high,
        num_sigma=5,
        threshold=None,
        threshold_rel=facts["thresholds"]["blobs"],
    )
    return {"points": found[:, :3] * voxel}


def skeletons(arrays, facts):
    """Thinning of each label; voxels that touch are joined."""
    thin = skeletonize(arrays["labels"] > 0)
    return graph_of(thin, arrays["labels"], facts["voxel_size_um"])


def mask_of(arrays, facts):
    """Return what sato finds, without specks of 30 voxels and less."""
    mask = by_sato(arrays, facts)["score"] > facts["thresholds"]["sato"]
    return remove_small_objects(mask, max_size=30, connectivity=3)


def trees(arrays, facts):
    """Sato above a threshold, thinned."""
    mask = mask_of(arrays, facts)
    return graph_of(skeletonize(mask), label(mask, connectivity=3), facts["voxel_size_um"])


def paths(arrays, facts):
    """The search behind route_through_array, with the size of voxels."""
    found = []
    for start, stop in arrays["pairs"]:
        search = MCP_Geometric(
            arrays["costs"], sampling=tuple(facts["voxel_size_um"]), fully_connected=True
        )
        search.find_costs([tuple(start)], [tuple(stop)], find_all_ends=False)
        found.append(np.asarray(search.traceback(tuple(stop))))
    return {"voxels": np.concatenate(found), "counts": [len(v) for v in found]}
