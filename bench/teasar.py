"""TEASAR skeletons: ours, whole and block by block, against kimimaro.

The labels are the connected components of a light-sheet stack of axons, smoothed and thresholded;
without ``--stack``, of synthetic neurites. kimimaro (GPL) runs in a Python of its own, with the
same parameters, on the same labels, one thread each::

    python bench/teasar.py --stack STACK.tif --peer-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

SIZE = (4.0, 4.0, 4.0)
SCALE, CONSTANT_UM = 1.5, 20.0
PEER = """
import json, sys, time
import kimimaro
import numpy as np
labels = np.load(sys.argv[1])
scale, constant, size = json.loads(sys.argv[2])
start = time.perf_counter()
found = kimimaro.skeletonize(
    labels, anisotropy=tuple(size), dust_threshold=0, progress=False, parallel=1,
    teasar_params={
        "scale": scale, "const": constant, "pdrf_scale": 100000, "pdrf_exponent": 4,
        "soma_detection_threshold": 1e9, "soma_acceptance_threshold": 1e9,
    },
)
seconds = time.perf_counter() - start
cable = sum(skeleton.cable_length() for skeleton in found.values())
nodes = sum(len(skeleton.vertices) for skeleton in found.values())
print(json.dumps({"seconds": seconds, "cable_um": float(cable), "nodes": nodes}))
"""


def synthetic(n: int, seed: int = 0) -> np.ndarray:
    """Random walks that keep their direction, 2 to 4 voxels in radius."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((n, n, n), dtype=bool)
    for radius in (2, 3, 4):
        middle = np.ones((n, n, n), dtype=bool)
        for _ in range(40):
            direction = rng.normal(0, 1, 3) + rng.normal(0, 0.05, (4 * n, 3)).cumsum(axis=0)
            steps = direction / np.linalg.norm(direction, axis=1)[:, None]
            path = rng.uniform(0, n, 3) + steps.cumsum(axis=0) / 2
            inside = path[((path >= 0) & (path < n)).all(axis=1)].astype(int)
            middle[tuple(inside.T)] = False
        mask |= ndimage.distance_transform_edt(middle) <= radius
    return mask


def axons(path: Path, sigmas: float) -> np.ndarray:
    """Voxels so many standard deviations of the noise above the smooth background."""
    import tifffile

    stack = tifffile.imread(path).astype(np.float32)
    contrast = ndimage.gaussian_filter(stack, 1.0) - ndimage.gaussian_filter(stack, 12.0)
    middle = np.median(contrast)
    return contrast > sigmas * 1.4826 * np.median(np.abs(contrast - middle))


def labelled(mask: np.ndarray, smallest: int = 50) -> np.ndarray:
    """Number the components of at least so many voxels from 1 on."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    large = np.bincount(labels.ravel()) >= smallest
    large[0] = False
    return (np.cumsum(large) * large)[labels].astype(np.uint32)


def whole(labels: np.ndarray) -> tuple[float, int]:
    from projectome.tracing.skeletonise import teasar

    found = teasar(labels, voxel_size=SIZE, scale=SCALE, constant_um=CONSTANT_UM)
    cable = sum(np.linalg.norm(p[e[:, 0]] - p[e[:, 1]], axis=1).sum() for p, e, _ in found.values())
    return float(cable), sum(len(position) for position, _, _ in found.values())


def blocks(labels: np.ndarray, size: int) -> tuple[float, int]:
    from projectome.core.affine import Affine
    from projectome.core.box import BlockGrid, Box
    from projectome.tracing.skeletonise import trace_block
    from projectome.tracing.stitch import stitch

    reach = {"scale": SCALE, "constant_um": CONSTANT_UM}
    tables = [
        trace_block(
            labels[block.read.slices],
            core=block.core,
            read=block.read,
            shape=labels.shape,
            voxel_size=SIZE,
            **reach,
        )
        for block in BlockGrid(Box.from_shape(labels.shape), (size,) * 3, (8, 8, 8))
    ]
    nodes = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    forest, _ = stitch(nodes, shape=labels.shape, affine=Affine.from_scale(SIZE), **reach)
    return forest.cable_length, len(forest)


def timed(work: Callable[[], tuple[float, int]], repeats: int) -> dict[str, float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        cable, nodes = work()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "cable_um": cable, "nodes": nodes}


def peer(python: str, labels: np.ndarray) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.npy"
        np.save(file, labels)
        call = [python, "-c", PEER, str(file), json.dumps([SCALE, CONSTANT_UM, SIZE])]
        done = subprocess.run(call, capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stack", type=Path, help="TIFF stack of axons")
    parser.add_argument("--sigmas", type=float, default=8.0, help="threshold on the stack")
    parser.add_argument("--size", type=int, default=303, help="edge of the synthetic volume")
    parser.add_argument("--block", type=int, default=101)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-python", help="a Python that has kimimaro")
    options = parser.parse_args(arguments)
    mask = axons(options.stack, options.sigmas) if options.stack else synthetic(options.size)
    labels = labelled(mask)
    blocks(labels[:40, :40, :40], 30)  # compiles
    found = {
        "whole": timed(lambda: whole(labels), options.repeats),
        "blocks": timed(lambda: blocks(labels, options.block), options.repeats),
    }
    ratios: dict[str, object] = {
        "cable_blocks_to_whole": {
            "ratio": found["blocks"]["cable_um"] / found["whole"]["cable_um"],
            "goal": [0.95, 1.05],
        }
    }
    if options.peer_python:
        found["kimimaro"] = theirs = peer(options.peer_python, labels)
        for name in ("whole", "blocks"):
            ratios[f"speed_{name}"] = {
                "ratio": theirs["seconds"] / found[name]["seconds"],
                "goal": 5.0,
            }
            ratios[f"cable_{name}_to_kimimaro"] = {
                "ratio": found[name]["cable_um"] / theirs["cable_um"],
                "goal": [0.95, 1.05],
            }
    table = {
        "labels": int(labels.max()),
        "largest_voxels": int(np.bincount(labels.ravel())[1:].max()),
        "foreground": float((labels > 0).mean()),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "engines": found,
        "ratios": ratios,
    }
    print(json.dumps(table, indent=2))
    return table


if __name__ == "__main__":
    sys.exit(main() is None)
