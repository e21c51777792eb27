"""Inputs with truth: drawn from a seed, or real where the shared test data are.

A new one is an entry of `DATASETS` at the end and a function that returns a `Case`.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contest.entries import Case, Dataset
from projectome.core.skeleton import Skeleton
from projectome.datasets.phantom import Phantom, make_phantom
from projectome.datasets.phantom_field import make_axon_field
from projectome.datasets.phantom_specimen import Specimen
from projectome.filters.tubeness import multiscale_tubeness
from projectome.segmentation.steps import sigmas_of
from projectome.tracing.cost import cost_from_intensity

SEED = 2
"""Seed of what is drawn. Parameters of methods were chosen on seed 0."""
FIELD = (100, 200, 200)
BRAIN = (100, 150, 150)
NEURON = (100, 100, 100)
SOMATA = (208, 144, 208)
PAIRS = 6
THRESHOLDS = {
    "axons": {"sato": 60.0},
    "brain": {"sato": 130.0, "blobs": 0.1},
    "neuron": {"sato": 130.0, "grey": 1700.0},
    "cellfinder": {"blobs": 0.1},
}
"""Chosen by `contest.tuning` on seed 0, for methods of others: of the response of sato and of grey
values, and relative ones of blobs. There is no second real crop to choose one for cellfinder's."""
NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
FARTHER = ((-4, 0, 0), (0, -8, 0), (0, 0, -8))
OFFSETS = NEAREST + FARTHER
"""Neighbours that affinities tell about."""
BLUR, NOISE = 0.3, 0.25
"""Of affinities: sigma in voxels, and standard deviation; the noise itself is smooth."""


def shared(*parts: str) -> Path | None:
    """Return a file of the shared test data, where they are."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("PROJECTOME_TEST_DATA", beside)).joinpath(*parts)
    return path if path.exists() else None


@functools.cache
def axon_field(seed: int = SEED) -> Specimen:
    """Return a block full of axons."""
    return make_axon_field(seed=seed, size=FIELD)


@functools.cache
def small_brain(shape: tuple[int, int, int], neurons: int, seed: int = SEED) -> Phantom:
    """Return a small brain with neurons."""
    return make_phantom(seed=seed, size=shape, neurons=neurons)


def scales(voxel_size: Any) -> list[float]:
    """Return the scales at which all filters look for neurites: 1 and 1.5 voxels [um]."""
    size = float(np.prod(voxel_size)) ** (1 / 3)
    return [size, 1.5 * size]


def field_ridges(seed: int = SEED) -> Case:
    """Return an axon field; the truth is 1 on neurites and 0 elsewhere."""
    made = axon_field(seed)
    voxel = list(made.image.voxel_size)
    facts = {"voxel_size_um": voxel, "sigmas_um": scales(voxel)}
    truth = (np.asarray(made.labels.read()) > 0).astype(np.uint8)
    return Case({"image": np.asarray(made.image.read())}, facts, truth)


def real_ridges() -> Case | None:
    """Return cleared axons; the truth is 1 on axons, 0 beside them and 2 where nobody looked."""
    folder = shared("trailmap")
    if folder is None:
        return None
    import tifffile

    image, labels = (
        tifffile.imread(folder / f"training_original_{kind}_101x120x120.tif")[:-1]
        for kind in ("volume", "label")
    )
    truth = np.full(labels.shape, 2, np.uint8)
    truth[labels == 1] = 0
    truth[labels == 2] = 1
    voxel = [1.0, 1.0, 1.0]  # the file does not state it
    return Case({"image": image}, {"voxel_size_um": voxel, "sigmas_um": scales(voxel)}, truth)


def brain_somata(seed: int = SEED) -> Case:
    """Return a small brain with somata and neurites."""
    made = small_brain(SOMATA, 30, seed)
    facts = {
        "voxel_size_um": list(made.image.voxel_size),
        "radius_um": [5.0, 16.0],
        "distance_um": 10.0,
        "thresholds": THRESHOLDS["brain"],
    }
    return Case({"image": np.asarray(made.image.read())}, facts, made.somata.coordinates)


def real_somata() -> Case | None:
    """Return a crop of a real brain, and the cells that a published program finds in it."""
    folder = shared("cellfinder")
    if folder is None:
        return None
    import tifffile

    from projectome.io.points import read_points

    voxel = (5.0, 2.0, 2.0)
    image = tifffile.imread(folder / "detection_crop_planes_ch0.tif")
    cells = read_points(str(folder / "cell_classification.xml"), voxel_size=voxel)
    facts = {"voxel_size_um": list(voxel), "radius_um": [5.0, 16.0], "distance_um": 10.0}
    facts |= {"thresholds": THRESHOLDS["cellfinder"]}
    return Case({"image": image}, facts, cells.coordinates)


def labels_of(made: Specimen | Phantom, distance_um: float) -> Case:
    """Return true labels; the truth is their neurites."""
    voxel = list(made.labels.voxel_size)
    facts = {"voxel_size_um": voxel, "distance_um": distance_um}
    labels = np.asarray(made.labels.read()).astype(np.uint32)
    return Case({"labels": labels}, facts, list(made.skeletons))


def image_of(made: Specimen | Phantom, distance_um: float, name: str) -> Case:
    """Return an image; the truth is its neurites."""
    voxel = list(made.image.voxel_size)
    facts = {
        "voxel_size_um": voxel,
        "sigmas_um": scales(voxel),
        "distance_um": distance_um,
        "thresholds": THRESHOLDS[name],
    }
    return Case({"image": np.asarray(made.image.read())}, facts, list(made.skeletons))


def field_image(seed: int = SEED) -> Case:
    """Return an axon field to trace."""
    return image_of(axon_field(seed), 2.0, "axons")


def brain_image(seed: int = SEED) -> Case:
    """Return a small brain to trace."""
    return image_of(small_brain(BRAIN, 12, seed), 8.0, "brain")


def neuron_image(seed: int = SEED) -> Case:
    """Return a neuron to trace."""
    return image_of(small_brain(NEURON, 1, seed), 8.0, "neuron")


def tips_apart(skeleton: Skeleton) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two nodes of a tree that are farthest apart along it."""
    root = skeleton.root_distance
    first = int(np.argmax(root))
    above: dict[int, float] = {}
    node, walked = first, 0.0
    while node >= 0:
        above[node] = walked
        walked += float(skeleton.lengths[node])
        node = int(skeleton.parent[node])
    best, second = 0.0, 0
    for end in skeleton.ends.tolist():
        node, walked = end, 0.0
        while node not in above:
            walked += float(skeleton.lengths[node])
            node = int(skeleton.parent[node])
        if walked + above[node] > best:
            best, second = walked + above[node], end
    return skeleton.coordinates[first], skeleton.coordinates[second]


def field_paths(seed: int = SEED) -> Case:
    """Return costs in an axon field, and the far ends of its longest neurites."""
    from skimage.graph import MCP_Geometric

    made = axon_field(seed)
    voxel = np.asarray(made.image.voxel_size)
    image = np.asarray(made.image.read())
    response = multiscale_tubeness(image, sigmas_of(scales(voxel), made.image.voxel_size))
    low, high = (float(v) for v in np.percentile(response, [90, 99.5]))
    costs = cost_from_intensity(response, low=low, high=high)
    whole = [s for s in made.skeletons if len(s.roots) == 1]
    longest = sorted(whole, key=lambda s: -s.cable_length)[:PAIRS]
    last = np.asarray(image.shape) - 1
    ends = [[np.clip(np.rint(p / voxel), 0, last) for p in tips_apart(s)] for s in longest]
    pairs = np.asarray(ends).astype(np.int64)
    # An independent program says what the cheapest path costs.
    optimum = []
    for start, stop in pairs:
        search = MCP_Geometric(costs, sampling=tuple(voxel.tolist()))
        reached, _ = search.find_costs([start], [stop], find_all_ends=False)
        optimum.append(float(reached[tuple(stop)]))
    truth = {"neurites": longest, "optimum": optimum}
    facts = {"voxel_size_um": voxel.tolist(), "distance_um": 2.0}
    return Case({"costs": costs, "pairs": pairs}, facts, truth)


def fib_affinities() -> Case | None:
    """Return noisy affinities of a real dense segmentation, which is the truth."""
    folder = shared("lsd_fib25")
    if folder is None:
        return None
    import tifffile
    from scipy import ndimage
    from skimage.measure import label

    # Some labels are in several pieces, which affinities cannot know to be one.
    raw = tifffile.imread(folder / "labels.tif")[:64, :200, :200]
    labels = label(raw, connectivity=1).astype(np.int64)
    rng = np.random.default_rng(SEED)
    affinities = np.zeros((len(OFFSETS), *labels.shape), np.float32)
    for n, offset in enumerate(OFFSETS):
        here = tuple(slice(-o if o else None, None) for o in offset)
        there = tuple(slice(None, o or None) for o in offset)
        same = np.zeros(labels.shape, np.float32)
        same[here] = (labels[here] == labels[there]) & (labels[here] > 0)
        slow = ndimage.gaussian_filter(rng.normal(0, 1, labels.shape), 1.5)
        seen = ndimage.gaussian_filter(same, BLUR) + NOISE * (slow / slow.std())
        affinities[n] = np.clip(seen, 0, 1)
    facts = {"offsets": [list(o) for o in OFFSETS]}
    return Case({"affinities": affinities}, facts, labels)


AXONS = "100 x 200 x 200 voxels of 1 x 0.748 x 0.748 um full of axons, as a light sheet shows them"
SMALL = "a small brain of 4 um a voxel: neurons with dendrites, somata and long axons"

DATASETS = (
    Dataset("axons", "ridges", f"Drawn: {AXONS}.", field_ridges, SEED),
    Dataset(
        "trailmap",
        "ridges",
        "Real: axons in a cleared mouse brain, 100 x 120 x 120 voxels, three planes labelled by "
        "hand (voxels on the edge of axons are not scored).",
        real_ridges,
    ),
    Dataset(
        "brain",
        "somata",
        f"Drawn: 208 x 144 x 208 voxels of {SMALL}; 30 somata.",
        brain_somata,
        SEED,
    ),
    Dataset(
        "cellfinder",
        "somata",
        "Real: 30 x 510 x 667 voxels of a mouse brain. The 56 reference cells are those that "
        "cellfinder itself found and its network kept: figures are agreement with "
        "it, not accuracy.",
        real_somata,
    ),
    Dataset(
        "axons",
        "skeletons",
        f"Drawn: {AXONS}; true labels.",
        lambda: labels_of(axon_field(), 1.0),
        SEED,
    ),
    Dataset(
        "brain",
        "skeletons",
        f"Drawn: 100 x 150 x 150 voxels of {SMALL}; true labels of 12 neurons.",
        lambda: labels_of(small_brain(BRAIN, 12), 4.0),
        SEED,
    ),
    Dataset(
        "axons",
        "paths",
        f"Drawn: {AXONS}; costs from tubeness, from end to end of its {PAIRS} longest neurites.",
        field_paths,
        SEED,
    ),
    Dataset("axons", "trees", f"Drawn: {AXONS}.", field_image, SEED),
    Dataset(
        "brain",
        "trees",
        f"Drawn: 100 x 150 x 150 voxels of {SMALL}; 12 neurons.",
        brain_image,
        SEED,
    ),
    Dataset(
        "neuron",
        "trees",
        "Drawn: one neuron alone, 100 x 100 x 100 voxels of 4 um.",
        neuron_image,
        SEED,
    ),
    Dataset(
        "fib25",
        "agglomeration",
        "Real labels of neurites in electron microscopy, 64 x 200 x 200 voxels; the affinities "
        "are made from them, blurred and with noise.",
        fib_affinities,
        SEED,
    ),
)
