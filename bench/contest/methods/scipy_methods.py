"""The simplest that one can do, to compare with."""

import numpy as np
from scipy import ndimage


def smoothed(arrays, facts):
    """Grey values smoothed by a Gaussian of the finest scale."""
    sigma = np.divide(facts["sigmas_um"][0], facts["voxel_size_um"])
    return {"score": ndimage.gaussian_filter(arrays["image"].astype(np.float32), sigma)}
