"""Registration with known truth: landmark error, region Dice, time, memory and stated uncertainty.

A pair is a reference (the average template of the Allen atlas, or a real cleared brain, both from
the shared test data, else the phantom's template) and a scan made of it by a map that is known: an
affine one (turns to 6 degrees, scales to 6 %, shifts to 0.4 mm of a mouse brain) and a smooth field
(cubic B-splines on 9 x 9 x 9 control points, standard deviation 0.18 mm a coordinate, drawn anew
where it folds); then another display curve, a slow change of brightness of 30 %, noise, another
orientation, and in one of four a piece cut off. Landmarks are 1000 voxels of tissue. Labels exist
for the template only.

    python bench/registration.py [--pairs 4] [--first 0] [--resolution 50] [--peer ants elastix]
        [--orient 100] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.stats import spearmanr

from projectome.core.space import Space, signed_permutation
from projectome.core.view import reorient
from projectome.core.volume import Volume
from projectome.registration.align import Recipe, align, check_stated, make_pair
from projectome.registration.orient import candidates, find_orientation, handedness_of
from projectome.registration.prepare import prepare
from projectome.registration.quality import FLOOR, SMOOTHED, at_points, stated_uncertainty
from registration_peers import PEERS

GOALS = {"median_um": 45.0, "p95_um": 150.0, "dice": 0.80, "seconds": 180.0, "gigabytes": 4.0}
LANDMARKS = 1000
PAD = 8
SPACE = Space("reference", toward=("posterior", "inferior", "right"))
QUANTILE = 2.5003
"""Radius that holds 90 % of a normal distribution in three dimensions, in standard deviations."""


@dataclass
class Known:
    """A reference, a scan made of it, and where points of the scan belong."""

    kind: str
    reference: Volume
    labels: np.ndarray | None
    scan: Volume
    truth: np.ndarray | None
    points: np.ndarray
    goals: np.ndarray
    turned: str
    cut: bool


def data() -> Path:
    """Return the folder of shared test data."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("PROJECTOME_TEST_DATA", beside))


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """Return means of cubes."""
    z, y, x = (n // factor for n in image.shape)
    cut = image[: z * factor, : y * factor, : x * factor].astype(np.float32)
    return cut.reshape(z, factor, y, factor, x, factor).mean((1, 3, 5))


@cache
def references(size: float) -> list[tuple[str, np.ndarray, np.ndarray | None, float]]:
    """Return name, image, labels and voxel size [um] of what scans are made of."""
    folder = data()
    if not (folder / "allen_ccf").is_dir():
        from projectome.datasets.phantom import make_phantom

        atlas = make_phantom(size="small").atlas
        image = np.asarray(atlas.template.read(), np.float32)
        return [("phantom", image, np.asarray(atlas.annotation.read()), 8.0)]
    import nrrd
    import tifffile

    name = "average_template_25_axis0_reversed.tif"
    image = tifffile.imread(folder / "allen_ccf" / name)[::-1]
    labels, _ = nrrd.read(str(folder / "allen_ccf" / "annotation_25.nrrd"))
    factor = max(1, round(size / 25))
    middle = slice(factor // 2, None, factor)
    few = labels[middle, middle, middle]
    template = shrunk(image, factor)
    few = np.ascontiguousarray(few[: len(template), : template.shape[1], : template.shape[2]])
    brain = tifffile.imread(folder / "brainreg" / "brain_270x193x271.tif").astype(np.float32)
    brain = np.ascontiguousarray(brain[::-1, :, ::-1])  # from "psl" to "asr"
    brain = ndimage.zoom(brain, np.array((50, 40, 40)) / size, order=1)
    return [("template", template, few, size), ("brain", brain, None, size)]


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the product of turns about the three axes."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        total = total @ turn
    return total


def smooth_field(rng: np.random.Generator, shape: np.ndarray, sd: float) -> Callable[..., Any]:
    """Return a field that does not fold: index positions (N, 3) to displacements [voxels]."""
    for _ in range(50):
        knots = rng.normal(0, 1, (3, 9, 9, 9))
        grid = np.meshgrid(*[np.linspace(0, 8, n // 3) for n in shape], indexing="ij")
        step = [(n - 1) / (n // 3 - 1) for n in shape]
        d = [
            ndimage.map_coordinates(k, grid, order=3, prefilter=False, mode="nearest")
            for k in knots
        ]
        scale = sd / np.std(d)
        along = np.stack([np.stack(np.gradient(c * scale, *step), -1) for c in d], -2) + np.eye(3)
        if np.linalg.det(along).min() > 0.05:
            break

    def field(index: np.ndarray) -> np.ndarray:
        at = (index / (shape - 1) * 8).T
        return scale * np.stack(
            [
                ndimage.map_coordinates(k, at, order=3, prefilter=False, mode="nearest")
                for k in knots
            ],
            axis=1,
        )

    return field


def make(seed: int, size: float) -> Known:
    """Return the pair of a seed."""
    rng = np.random.default_rng(seed)
    found = references(size)
    kind, image, labels, voxel = found[seed % len(found)]
    unit = max(image.shape) * voxel / 13200  # lengths relative to a mouse brain
    image = np.pad(image, PAD)
    labels = None if labels is None else np.pad(labels, PAD)
    shape = np.array(image.shape)
    linear = rotation(np.radians(rng.uniform(-6, 6, 3))) @ np.diag(rng.uniform(0.94, 1.06, 3))
    middle = (shape - 1) / 2
    shift = rng.uniform(-400, 400, 3) * unit / voxel
    field = smooth_field(rng, shape, 180 * unit / voxel)

    def goal(index: np.ndarray) -> np.ndarray:
        return (index - middle) @ linear.T + middle + shift + field(index)

    out = np.empty(image.shape, np.float32)
    own = None if labels is None else np.empty(image.shape, labels.dtype)
    for z in range(len(out)):
        index = np.indices((1, *out.shape[1:])).reshape(3, -1).T.astype(float)
        index[:, 0] = z
        at = goal(index).T
        out[z] = ndimage.map_coordinates(image, at, order=1).reshape(out.shape[1:])
        if own is not None:
            own[z] = ndimage.map_coordinates(labels, at, order=0).reshape(out.shape[1:])
    tissue = out > 0.15 * np.percentile(out, 99) if own is None else own > 0
    top = np.percentile(out[tissue], 99.5)
    grey = np.clip(out / top, 0, 1.5) ** rng.uniform(0.6, 1.4) * 200
    slow = ndimage.zoom(rng.uniform(-1, 1, (4, 4, 4)), shape / 4, order=3)
    slow = slow[: shape[0], : shape[1], : shape[2]]
    slow = np.pad(slow, [(0, int(n - m)) for n, m in zip(shape, slow.shape, strict=True)], "edge")
    grey = grey * (1 + 0.3 * slow / np.abs(slow).max()) + rng.normal(0, 4, grey.shape) + 12
    scan = Volume.from_array(
        np.clip(grey, 0, 65535).astype(np.uint16),
        voxel_size=[voxel] * 3,
        space=SPACE.renamed("scan"),
    )
    cut = seed % 4 == 3
    if cut:  # the front end is missing
        removed = int(shape[0] * 0.12) + PAD
        values = np.array(scan.read())
        values[:removed] = 12
        scan = Volume.from_array(values, voxel_size=[voxel] * 3, space=scan.space)
        tissue[:removed] = False
    chosen = np.argwhere(tissue)
    index = chosen[rng.choice(len(chosen), LANDMARKS, replace=False)].astype(float)
    ways = candidates("right")
    way = ways[int(rng.integers(len(ways)))]
    turned = reorient(scan, Space(toward=way))
    turn = scan.space
    points = index * voxel
    there = points @ signed_permutation(turn, turned.space).T
    reference = Volume.from_array(image, voxel_size=[voxel] * 3, space=SPACE, name="reference")
    code = turned.space.code(meaning="toward")
    return Known(kind, reference, labels, turned, own, there, goal(index) * voxel, code, cut)


def dice(known: Known, transform: Callable[..., Any]) -> float:
    """Return the median Dice of regions of at least 20 voxels; NaN without labels."""
    if known.labels is None or known.truth is None:
        return float("nan")
    size = known.reference.voxel_size[0]
    turn = signed_permutation(SPACE, known.scan.space)
    seen = np.empty(known.truth.shape, known.truth.dtype)
    for z in range(len(seen)):
        index = np.indices((1, *seen.shape[1:])).reshape(3, -1).T.astype(float)
        index[:, 0] = z
        at = transform((index * size) @ turn.T) / size
        seen[z] = ndimage.map_coordinates(known.labels, at.T, order=0).reshape(seen.shape[1:])
    return median_dice(known.truth, seen)


def median_dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the median Dice of the labels of `first` that have 20 voxels."""
    ids, index = np.unique(np.concatenate([first.ravel(), second.ravel()]), return_inverse=True)
    a, b = index[: first.size], index[first.size :]
    count = [np.bincount(v, minlength=len(ids)) for v in (a, b, a[a == b])]
    some = (ids > 0) & (count[0] >= 20)
    return float(np.median(2 * count[2][some] / (count[0] + count[1])[some]))


def ours(known: Known, recipe: Recipe) -> dict[str, Any]:
    """Register a pair as `projectome register` does and return the figures."""
    begun, worked = time.perf_counter(), cpu()
    size = known.reference.voxel_size[0]
    pair = make_pair(known.scan, known.reference, size)
    tested = check_stated(pair, known.scan.space)
    right = tested.best.toward == known.scan.space.toward
    start = next(c.matrix for c in tested.ranked if c.toward == known.scan.space.toward)
    oriented = time.perf_counter() - begun
    found = align(pair, recipe, scan_space=known.scan.space, start=start)
    took = {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu() - worked}
    result = figures(known, found.transform) | took
    result |= {
        "orient_seconds": oriented,
        "orientation_right": right,
        "orientation_sure": tested.sure,
        "margin": tested.margin,
    }
    if found.spread is not None:
        error = np.linalg.norm(found.transform(known.points) - known.goals, axis=1)
        grid = found.scan_grid
        smooth = np.sqrt(ndimage.gaussian_filter(found.spread.astype(float) ** 2, SMOOTHED))
        raw = at_points(
            Volume.from_array(smooth, voxel_size=(1, 1, 1)), grid.inverse()(known.points)
        )
        stated = stated_uncertainty(found.spread, size)
        sigma = at_points(
            Volume.from_array(stated, voxel_size=(1, 1, 1)), grid.inverse()(known.points)
        )
        result["covered_90"] = float((error <= QUANTILE * sigma).mean())
        result["spearman"] = float(spearmanr(sigma, error).statistic)
        # The factor on the spread, beside the floor, that would cover 90 % here.
        factors = np.linspace(0.2, 8, 200)
        cover = [
            (error <= QUANTILE * np.sqrt((f * raw) ** 2 + (FLOOR * size) ** 2)).mean()
            for f in factors
        ]
        result["factor_for_90"] = float(factors[int(np.argmin(np.abs(np.array(cover) - 0.9)))])
        result["spread_median_um"] = float(np.median(raw))
        result["landmarks"] = {"error_um": error.round(2).tolist(), "spread_um": raw.tolist()}
    return result


def figures(known: Known, transform: Callable[..., Any]) -> dict[str, Any]:
    """Return landmark errors and Dice of a map from the scan to the reference."""
    error = np.linalg.norm(transform(known.points) - known.goals, axis=1)
    return {
        "median_um": float(np.median(error)),
        "p95_um": float(np.percentile(error, 95)),
        "max_um": float(error.max()),
        "dice": dice(known, transform),
    }


def by_peer(known: Known, name: str) -> dict[str, Any]:
    """Register a pair with another tool, given the scan turned as the reference."""
    image = np.asarray(reorient(known.scan, SPACE).read(), np.float32)
    turn = signed_permutation(known.scan.space, SPACE)
    template = np.asarray(known.reference.read(), np.float32)
    begun, worked = time.perf_counter(), cpu()
    found = PEERS[name](image, template, known.reference.voxel_size[0])
    took = {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu() - worked}
    return figures(known, lambda points: found(points @ turn.T)) | took


def orientation(seed: int, size: float) -> dict[str, Any]:
    """Find the orientation of the scan of a seed, of which only the handedness is told."""
    known = make(seed, size)
    scan = prepare(np.asarray(known.scan.read()))
    template = prepare(np.asarray(known.reference.read()))
    toward = known.scan.space.require_orientation("Testing an orientation")
    voxel = known.reference.voxel_size[0]
    begun = time.perf_counter()
    found = find_orientation(
        scan.image * scan.tissue,
        voxel,
        template.image * template.tissue,
        voxel,
        space=SPACE,
        handedness=handedness_of(toward),
    )
    return {
        "case": seed,
        "kind": known.kind,
        "lies": known.turned,
        "cut": known.cut,
        "right": found.best.toward == toward,
        "sure": found.sure,
        "margin": found.margin,
        "seconds": time.perf_counter() - begun,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Print a line a pair and tool, and return everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = Recipe()
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--resolution", type=float, default=50.0)
    parser.add_argument("--repeats", type=int, default=usual.repeats)
    parser.add_argument("--iterations", type=int, default=usual.iterations)
    parser.add_argument("--samples", type=int, default=usual.samples)
    parser.add_argument("--spacing", type=float, default=usual.spacing)
    parser.add_argument("--contrast", type=float, default=usual.contrast)
    parser.add_argument("--stiffness", type=float, default=usual.stiffness)
    parser.add_argument("--peer", nargs="*", default=[], choices=sorted(PEERS))
    parser.add_argument("--peers-only", action="store_true")
    parser.add_argument("--orient", type=int, default=0, help="cases of the test of orientation")
    parser.add_argument("--out", help="file for the results, as JSON")
    args = parser.parse_args(argv)
    recipe = Recipe(
        repeats=args.repeats,
        iterations=args.iterations,
        samples=args.samples,
        spacing=args.spacing,
        contrast=args.contrast,
        stiffness=args.stiffness,
    )
    done: dict[str, Any] = {"goals": GOALS, "recipe": asdict(recipe), "pairs": [], "orient": []}

    def say(kind: str, line: dict[str, Any]) -> None:
        line = {k: None if v != v else v for k, v in line.items()}
        done[kind].append(line)
        short = {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}
        short.pop("landmarks", None)
        print(json.dumps(short), flush=True)
        if args.out:
            Path(args.out).write_text(json.dumps(done, indent=1) + "\n")

    for seed in range(args.first, args.first + args.orient):
        say("orient", orientation(seed, 2 * args.resolution))
    for seed in range(args.first, args.first + args.pairs):
        known = make(seed, args.resolution)
        facts = {"pair": seed, "kind": known.kind, "lies": known.turned, "cut": known.cut}
        for name in (*([] if args.peers_only else ["ours"]), *args.peer):
            found = ours(known, recipe) if name == "ours" else by_peer(known, name)
            say("pairs", facts | {"tool": name, **found, "gigabytes": peak()})
    return done


def cpu() -> float:
    """Return the CPU time of this process and of the children that ended [s]."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    times = [resource.getrusage(kind) for kind in kinds]
    return sum(t.ru_utime + t.ru_stime for t in times)


def peak() -> float:
    """Return the most memory that this process and its largest child have taken [GiB]."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 2**20


if __name__ == "__main__":
    main()
