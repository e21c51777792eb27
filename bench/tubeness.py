"""Tubeness of a 303^3 stack at sigma 2: ours against scikit-image, ITK and bioimage-cpp.

All take an image to the response of a line filter: Gaussian derivatives, the eigenvalues of the
Hessian, a measure. The stack is real (cleared axons) where the shared test data are, else a
seeded synthetic one. Ours and ITK use two threads; the others have one. Runs alternate in one
process and the best of each counts; the ratios are what to look at.

    python bench/tubeness.py
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from projectome.filters.tubeness import tubeness

SIGMA = 2.0
THREADS = 2
GOALS = {"skimage": 15.0, "itk": 15.0, "accuracy": 1e-4}


def stack() -> tuple[str, np.ndarray]:
    """Return what the image is, and the image."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PROJECTOME_TEST_DATA", beside))
    path = folder / "trailmap" / "example_chunk_303x303x303.tif"
    if path.is_file():
        import tifffile

        return "cleared axons", tifffile.imread(path)
    rng = np.random.default_rng(0)
    image = np.zeros((303, 303, 303), np.float32)
    for _ in range(300):
        walk = rng.normal(0, 0.7, (900, 3)).cumsum(axis=0) + rng.uniform(0, 303, 3)
        inside = walk[((walk >= 0) & (walk < 302)).all(axis=1)].astype(int)
        image[tuple(inside.T)] = 20_000
    image = ndimage.gaussian_filter(image, 1.2) + 1400
    return "synthetic", rng.poisson(image).astype(np.uint16)


def by_skimage(image: np.ndarray) -> np.ndarray:
    """Geometric mean of the two strong eigenvalues."""
    from skimage.filters import sato

    return sato(image, sigmas=[SIGMA], black_ridges=False, mode="reflect")


def by_itk(image: np.ndarray) -> np.ndarray:
    """Recursive Gaussians and the measure of Sato."""
    import itk

    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(THREADS)
    hessian = itk.hessian_recursive_gaussian_image_filter(
        itk.image_from_array(image.astype(np.float32)), sigma=SIGMA, normalize_across_scale=True
    )
    made = itk.Hessian3DToVesselnessMeasureImageFilter[itk.F].New(hessian)
    made.Update()
    return itk.array_from_image(made.GetOutput())


def by_bioimage_cpp(image: np.ndarray) -> np.ndarray:
    """Our measure from the eigenvalues of bioimage-cpp, with kernels as long as ours."""
    from bioimage_cpp.filters import hessian_of_gaussian_eigenvalues

    values = hessian_of_gaussian_eigenvalues(image, SIGMA, window_size=5)
    return np.maximum(-(values[..., 1] + values[..., 2]) / 2, 0) * SIGMA**2


def in_double(image: np.ndarray) -> np.ndarray:
    """Our definition in double precision with kernels of ten sigma."""
    hessian = np.empty((*image.shape, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            order = np.eye(3, dtype=int)[i] + np.eye(3, dtype=int)[j]
            part = ndimage.gaussian_filter(image.astype(float), SIGMA, order=order, truncate=10)
            hessian[..., i, j] = hessian[..., j, i] = part * SIGMA**2
    low, middle, _ = np.moveaxis(np.linalg.eigvalsh(hessian), -1, 0)
    return np.maximum(-(low + middle) / 2, 0)


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    """Print one JSON document and return it."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    name, image = stack()
    tubeness(image[:32, :32, :32], SIGMA)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tubeness(image, SIGMA, threads=THREADS)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    crop = np.ascontiguousarray(image[100:180, 100:180, 100:180])
    expected, found = in_double(crop), tubeness(crop, SIGMA)
    inside = (slice(12, -12),) * 3  # bioimage-cpp reflects otherwise at the border
    others = by_bioimage_cpp(crop)[inside] - expected[inside]

    peers = {"skimage": by_skimage, "bioimage_cpp": by_bioimage_cpp}
    if importlib.util.find_spec("itk"):
        peers["itk"] = by_itk
        by_itk(crop)  # loads its modules
    ours, theirs = [], {peer: [] for peer in peers}
    for _ in range(2):
        for peer, run in peers.items():
            ours.append(seconds(lambda: tubeness(image, SIGMA, threads=THREADS)))
            theirs[peer].append(seconds(lambda run=run: run(image)))
    report = {
        "image": name,
        "voxels": image.size,
        "threads": THREADS,
        "seconds": {"projectome": min(ours)} | {peer: min(t) for peer, t in theirs.items()},
        "times_faster_than": {peer: min(t) / min(ours) for peer, t in theirs.items()},
        "largest_error_by_maximum": {
            "projectome": float(np.abs(found - expected).max() / expected.max()),
            "bioimage_cpp away from borders": float(np.abs(others).max() / expected.max()),
        },
        "peak_bytes_per_voxel_beyond_the_image": grown / image.size,
        "goals": GOALS,
    }
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    main()
