"""Scores of 100 neurons: ours against PyNeval and segmentation-skeleton-metrics.

A hundred seeded trees are jittered and torn, and scored pair by pair: our figures, and our exact
copies of PyNeval's, against PyNeval's own (from trees in memory to figures; CPU seconds). Then all
are scored at once against a volume of labels, as segmentation-skeleton-metrics does (from files of
neurons and labels in memory to figures, labels of nodes included, its plots and tables not; wall
seconds, as it uses processes and threads). Ours are compiled beforehand. One JSON document is
printed.

    python bench/tree_metrics.py --pyneval /path/to/python --ssm /path/to/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.io.skeletons import read_skeletons
from projectome.metrics.compat.pyneval import critical_node_metric, length_metric, ssd_metric
from projectome.metrics.compat.skeleton_metrics import skeleton_metrics
from projectome.metrics.skeletons import skeleton_scores
from projectome.metrics.tree_distance import distance_scores
from projectome.metrics.tree_nodes import node_scores
from projectome.metrics.trees import length_scores

TREES, NODES, GOAL = 100, 500, 10.0
SPACE = Space("scan")

PYNEVAL = """
import json, sys, time
sys.setrecursionlimit(100000)
from pyneval.pyneval_io.swc_io import read_swc_tree
from pyneval.metric.utils.config_utils import get_default_configs
from pyneval.metric.length_metric import length_metric
from pyneval.metric.ssd_metric import ssd_metric
from pyneval.metric.critical_node_metric import critical_node_metric
folder, count = sys.argv[1], int(sys.argv[2])
seconds = {}
for name, metric in (("length", length_metric), ("ssd", ssd_metric), ("cn", critical_node_metric)):
    total = 0.0
    for k in range(count):
        pair = [read_swc_tree(f"{folder}/{side}{k}.swc") for side in ("truth", "traced")]
        begin = time.process_time()
        metric(*pair, get_default_configs(name))
        total += time.process_time() - begin
    seconds[name] = total
print(json.dumps(seconds))
"""

SSM = """
import json, sys, time
from segmentation_skeleton_metrics.evaluate import DataLoader
from segmentation_skeleton_metrics import skeleton_metrics as m
from segmentation_skeleton_metrics.utils.img_util import TiffImage

def main():
    folder = sys.argv[1]
    image = TiffImage(f"{folder}/labels.tif", swap_axes=False)
    begin = time.time()
    graphs = DataLoader(verbose=False).load_groundtruth(f"{folder}/truth.zip", image)
    loaded = time.time()
    kinds = (m.OmitLengthsMetric, m.SplitEdgePercentMetric, m.OmitEdgePercentMetric)
    for kind in (*kinds, m.MergedEdgePercentMetric, m.ERLMetric):
        kind(verbose=False)(graphs)
    print(json.dumps({"load": loaded - begin, "metrics": time.time() - loaded}))

if __name__ == "__main__":
    main()
"""


def grown(seed: int) -> Skeleton:
    """Return a tree that grows in steps of 2 um and branches now and then."""
    rng = np.random.default_rng(seed)
    points, parent, way, tips = [rng.uniform(100, 400, 3)], [-1], [rng.normal(0, 1, 3)], [0]
    while len(points) < NODES:
        tip = tips[rng.integers(len(tips))]
        onward = way[tip] / np.linalg.norm(way[tip]) + rng.normal(0, 0.3, 3)
        points.append(np.clip(points[tip] + 2 * onward / np.linalg.norm(onward), 1, 498))
        parent.append(tip)
        way.append(onward)
        if rng.random() > 0.05:
            tips.remove(tip)
        tips.append(len(points) - 1)
    radius = np.ones(NODES, np.float32)
    return Skeleton(np.round(points, 3), np.asarray(parent), SPACE, radius)


def torn(tree: Skeleton, seed: int) -> Skeleton:
    """Return a tree jittered by half a micrometre, with one node in twenty gone."""
    rng = np.random.default_rng(seed)
    moved = tree.coordinates + rng.normal(0, 0.5, tree.coordinates.shape)
    return Skeleton(np.round(moved, 3), tree.parent, SPACE, tree.radius).take(
        rng.random(len(tree)) > 0.05
    )


def swc(tree: Skeleton, *, columns: tuple[int, int, int]) -> str:
    """Return a tree as text; the columns say which axes are written as x, y and z."""
    rows = zip(tree.coordinates[:, columns].tolist(), tree.parent.tolist(), strict=True)
    lines = [
        f"{i} 2 {x!r} {y!r} {z!r} 1.0 {parent + 1 if parent >= 0 else -1}"
        for i, ((x, y, z), parent) in enumerate(rows, 1)
    ]
    return "\n".join(["# tree", *lines, ""])


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the better of three runs."""
    best = float("inf")
    for _ in range(3):
        begin = clock()
        work()
        best = min(best, clock() - begin)
    return best


def peer(python: str | None, code: str, *arguments: str) -> dict[str, float] | None:
    """Run a peer in an interpreter of its own; None if there is none."""
    if python is None:
        return None
    done = subprocess.run(
        [python, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Time all, print one JSON document and return it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pyneval", help="interpreter that has PyNeval 1.1 (setuptools<80)")
    parser.add_argument("--ssm", help="interpreter that has segmentation-skeleton-metrics 5.9.14")
    options = parser.parse_args(argv)
    truth = [grown(seed) for seed in range(TREES)]
    traced = [torn(tree, seed) for seed, tree in enumerate(truth)]
    pairs = list(zip(truth, traced, strict=True))
    coarse = np.random.default_rng(0).integers(0, 50, (25, 25, 25)).astype(np.uint16)
    labels = np.kron(coarse, np.ones((20, 20, 20), np.uint16))
    volume = Volume.from_array(labels, voxel_size=(1, 1, 1), space=SPACE)
    figures: dict[str, tuple[str, Callable[[Skeleton, Skeleton], object]]] = {
        "length_scores": ("length", lambda a, b: length_scores([a], [b], distance_um=2)),
        "distance_scores": ("ssd", lambda a, b: distance_scores([a], [b])),
        "node_scores": ("cn", lambda a, b: node_scores([a], [b], distance_um=2)),
        "compat length": ("length", length_metric),
        "compat ssd": ("ssd", ssd_metric),
        "compat cn": ("cn", critical_node_metric),
    }
    with tempfile.TemporaryDirectory() as folder:
        for k, pair in enumerate(pairs):
            for name, tree in zip(("truth", "traced"), pair, strict=True):
                Path(folder, f"{name}{k}.swc").write_text(swc(tree, columns=(2, 1, 0)))
        theirs = peer(options.pyneval, PYNEVAL, folder, str(TREES))
        rows = {}
        for name, (of, figure) in figures.items():
            figure(*pairs[0])
            ours = seconds(lambda f=figure: [f(a, b) for a, b in pairs], time.process_time)
            rows[name] = {"cpu_seconds": ours, "peer": f"PyNeval {of}"}
            if theirs is not None:
                rows[name] |= {"peer_cpu_seconds": theirs[of], "ratio": theirs[of] / ours}
        rows |= labelled(truth, volume, labels, Path(folder), options.ssm)
    result = {"trees": TREES, "nodes": NODES, "goal": GOAL, "rows": rows}
    print(json.dumps(result, indent=1))
    return result


def labelled(
    truth: list[Skeleton], volume: Volume, labels: np.ndarray, folder: Path, python: str | None
) -> dict[str, dict[str, Any]]:
    """Time all trees against labels."""
    import tifffile

    tifffile.imwrite(folder / "labels.tif", labels)
    archive = folder / "truth.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for k, tree in enumerate(truth):
            # The peer reads columns in the order of the axes of its volume.
            file.writestr(f"n{k}.swc", swc(tree, columns=(0, 1, 2)))
    theirs = peer(python, SSM, str(folder))
    skeleton_scores(truth[:2], volume)
    named = {f"n{k}": tree for k, tree in enumerate(truth)}
    work = {
        "skeleton_scores": lambda: skeleton_scores(truth, volume),
        "skeleton_scores, files read": lambda: skeleton_scores(
            [
                Skeleton(s.coordinates[:, ::-1], s.parent, SPACE)
                for s in read_skeletons(archive, space=SPACE).skeletons
            ],
            volume,
        ),
        "compat segmentation-skeleton-metrics": lambda: skeleton_metrics(named, volume),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, each in work.items():
        ours = seconds(each, time.perf_counter)
        rows[name] = {"wall_seconds": ours, "peer": "segmentation-skeleton-metrics"}
        if theirs is not None:
            total = theirs["load"] + theirs["metrics"]
            rows[name] |= {"peer_wall_seconds": total, "ratio": total / ours}
            rows[name]["peer_metrics_alone"] = theirs["metrics"]
    return rows


if __name__ == "__main__":
    main()
    sys.exit(0)
