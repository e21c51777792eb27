"""How much of the visible axons of a real stack is traced, and how much of what is traced is there.

The stack, 303^3 voxels of cleared brain with labelled axons, comes with no traces by hand. What
can be seen in it is told by an independent definition, in double precision with scipy alone: a
ridge point is a voxel where -(l2 + l3) / 2 of the Hessian at sigma 1.5 voxels (about the width of
the axons) is the largest across the line, in eight directions in the plane of the two most
negative curvatures, and where it is at least so many levels of noise. The level of noise is the
standard deviation of the Laplacian of the same sigma, from its median absolute deviation in cells
of 50 voxels, linear between their centres: brightness and noise change within the stack by a
factor of three.

At 4 levels many specks count, at 8 only the bright axons. At 6 levels ridge points cover what a
person would follow, dim stretches included, and single specks of a voxel or two; nothing is done
to remove those, so that neither figure can reach 1.

recall      share of ridge points within 2 voxels of the traced cable
precision   share of the traced cable within 2 voxels of ridge points

    python bench/ridge_recall.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import reconstruct

VOXEL = 4.0
"""The file states no voxel size; it only scales what is left out of the parameters [um]."""
SIGMA = 1.5
LEVELS = (4, 5, 6, 7, 8, 10)
CHOSEN = 6
WITHIN = 2.0
CELL = 50
GOALS = {"recall": 0.85, "precision": 0.85}
ORDERS = {
    (0, 0): (2, 0, 0),
    (0, 1): (1, 1, 0),
    (0, 2): (1, 0, 1),
    (1, 1): (0, 2, 0),
    (1, 2): (0, 1, 1),
    (2, 2): (0, 0, 2),
}


def stack() -> np.ndarray | None:
    """Return the stack, where the shared test data are."""
    import tifffile

    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PROJECTOME_TEST_DATA", beside))
    path = folder / "trailmap" / "example_chunk_303x303x303.tif"
    return tifffile.imread(path) if path.is_file() else None


def noise_levels(laplacian: np.ndarray) -> np.ndarray:
    """Return the level of noise at every voxel."""
    cuts = [np.linspace(0, n, max(1, round(n / CELL)) + 1).astype(int) for n in laplacian.shape]
    level = np.empty([len(cut) - 1 for cut in cuts])
    for cell in np.ndindex(*level.shape):
        values = laplacian[
            tuple(slice(cut[i], cut[i + 1]) for i, cut in zip(cell, cuts, strict=True))
        ]
        level[cell] = 1.4826 * np.median(np.abs(values - np.median(values)))
    for axis, cut in enumerate(cuts):
        centres = (cut[1:] + cut[:-1] - 1) / 2
        where = np.interp(np.arange(cut[-1]), centres, np.arange(len(centres)))
        low = where.astype(int)
        high = np.minimum(low + 1, len(centres) - 1)
        share = (where - low).reshape([-1 if a == axis else 1 for a in range(3)])
        level = level.take(low, axis) * (1 - share) + level.take(high, axis) * share
    return level


def ridge_points(image: np.ndarray, least: float = LEVELS[0]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ridge points of an image (N, 3), and their contrast in levels of noise (N,)."""
    values = image.astype(np.float64)
    hessian = {
        place: SIGMA**2 * ndimage.gaussian_filter(values, SIGMA, order=order, truncate=5)
        for place, order in ORDERS.items()
    }
    noise = noise_levels(hessian[0, 0] + hessian[1, 1] + hessian[2, 2])
    # The response is at most the Frobenius norm of the Hessian, so that the rest needs no
    # eigenvalues: it lies below every threshold.
    norm = sum(h**2 * (1 if i == j else 2) for (i, j), h in hessian.items())
    some = np.argwhere(norm > (least * noise.min()) ** 2)
    matrices = np.empty((len(some), 3, 3))
    for (i, j), h in hessian.items():
        matrices[:, i, j] = matrices[:, j, i] = h[tuple(some.T)]
    curvature, direction = np.linalg.eigh(matrices)  # the most negative first
    response = np.zeros(image.shape)
    response[tuple(some.T)] = -(curvature[:, 0] + curvature[:, 1]) / 2
    contrast = response[tuple(some.T)] / noise[tuple(some.T)]
    line = (curvature[:, 1] < 0) & (contrast >= least)
    points, direction, contrast = some[line], direction[line], contrast[line]
    here, largest = response[tuple(points.T)], np.ones(len(points), dtype=bool)
    for angle in np.arange(8) * np.pi / 4:
        aside = np.cos(angle) * direction[:, :, 0] + np.sin(angle) * direction[:, :, 1]
        beside = ndimage.map_coordinates(response, (points + aside).T, order=1, mode="nearest")
        largest &= here >= beside
    return points[largest], contrast[largest]


def along(skeletons: Sequence[Skeleton], step: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Return points along the cable [voxels], and the length that each stands for [voxels]."""
    points, weights = [np.empty((0, 3))], [np.empty(0)]
    for skeleton in skeletons:
        a, b = skeleton.coordinates[skeleton.edges.T] / VOXEL
        length = np.linalg.norm(b - a, axis=1)
        count = np.maximum(1, np.ceil(length / step)).astype(int)
        edge = np.repeat(np.arange(len(a)), count)
        place = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + 0.5
        share = (place / count[edge])[:, None]
        points.append(a[edge] * (1 - share) + b[edge] * share)
        weights.append((length / count)[edge])
    return np.concatenate(points), np.concatenate(weights)


def compare(image: np.ndarray, skeletons: Sequence[Skeleton]) -> list[dict[str, float]]:
    """Return a row for each contrast."""
    points, contrast = ridge_points(image)
    cable, weight = along(skeletons)
    traced = cKDTree(cable).query(points)[0] <= WITHIN
    rows = []
    for level in LEVELS:
        seen = contrast >= level
        there = cKDTree(points[seen]).query(cable)[0] <= WITHIN
        rows.append(
            {
                "contrast": level,
                "ridge_points": int(seen.sum()),
                "recall": float(traced[seen].mean()),
                "precision": float(weight[there].sum() / weight.sum()),
            }
        )
    return rows


def trace(image: np.ndarray, folder: Path, job: Job) -> list[Skeleton]:
    """Return what the main job traces in an image."""
    url = str(folder / "image.ome.zarr")
    write_volume(Volume.from_array(image, voxel_size=(VOXEL,) * 3, name="axons"), url)
    study = reconstruct(VolumeSource(url), folder / "study", job=job)
    return [read_swc(path).skeleton for path in study.swc_files()]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trace the stack, print a table, and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    image = stack()
    if image is None:
        print("skipped: the shared test data are not here (PROJECTOME_TEST_DATA)")
        return {"skipped": "no shared test data"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        skeletons = trace(image, Path(folder), Job("processes", options.workers))
        seconds = time.perf_counter() - began
    rows = compare(image, skeletons)
    cable = sum(skeleton.cable_length for skeleton in skeletons) / VOXEL
    print(f"{cable:,.0f} voxels of cable in {len(skeletons)} trees, traced in {seconds:.0f} s")
    print("contrast  ridge points  recall  precision")
    for row in rows:
        print("{contrast:8}  {ridge_points:12,}  {recall:6.3f}  {precision:9.3f}".format(**row))
    chosen = next(row for row in rows if row["contrast"] == CHOSEN)
    met = {name: chosen[name] >= goal for name, goal in GOALS.items()}
    print(
        f"at contrast {CHOSEN}:",
        ", ".join(f"{k} {'met' if v else 'MISSED'}" for k, v in met.items()),
    )
    return {
        "cable_voxels": cable,
        "trees": len(skeletons),
        "seconds": seconds,
        "chosen_contrast": CHOSEN,
        "goals": GOALS,
        "met": met,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
