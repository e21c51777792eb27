"""The network of NeuroFly (GPL-3.0) with the weights in its package: in a Python of its own."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
from skimage.measure import label
from skimage.morphology import remove_small_objects, skeletonize
from thinning import graph_of

BLOCK, BORDER = 100, 4
# The package imports its viewer, which is not installed: its network is a file of its own.
MODELS = Path(find_spec("neurofly").submodule_search_locations[0]) / "models"
SPEC = spec_from_file_location("unet_torch", MODELS / "unet_torch.py")
UNET = module_from_spec(SPEC)
SPEC.loader.exec_module(UNET)


def predicted(image):
    """Return probabilities, block by block as its own program does."""
    net = UNET.SegNet(str(MODELS / "universal_tiny.pth"))
    out = np.zeros(image.shape, np.float32)
    wide = np.pad(image, [(BORDER, BORDER + (-n) % BLOCK) for n in image.shape], mode="reflect")
    for start in np.ndindex(*(-(-n // BLOCK) for n in image.shape)):
        low = np.multiply(start, BLOCK)
        block = wide[tuple(slice(a, a + BLOCK + 2 * BORDER) for a in low)]
        inner = net.get_mask(block, thres=None)[(slice(BORDER, -BORDER),) * 3]
        here = tuple(slice(a, a + BLOCK) for a in low)
        size = out[here].shape
        out[here] = inner[tuple(slice(0, n) for n in size)]
    return out


def probability(arrays, facts):
    """Probability of neurite."""
    return {"score": predicted(arrays["image"].astype(np.float32))}


def trees(arrays, facts):
    """Probability above one half, without pieces below 50 voxels, thinned."""
    mask = predicted(arrays["image"].astype(np.float32)) >= 0.5
    mask = remove_small_objects(mask, max_size=49, connectivity=3)
    return graph_of(skeletonize(mask), label(mask, connectivity=3), facts["voxel_size_um"])
