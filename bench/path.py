"""Two-point paths on a 303^3 stack: ours against scikit-image and dijkstra3d.

All get the same float32 costs in memory and ten seeded pairs of ridge points 200 to 300 voxels
apart, and search on one thread; the searches alternate and the better of two runs counts (of one
for scikit-image and for dijkstra3d with lengths, which are slow). Times are CPU seconds, from the
costs to the path, all preparation included, compilation not. The path of each is then priced by
our definition (an edge costs the mean of its end voxels times its length) as a ratio to the
optimum. scikit-image uses that definition. The bidirectional search of dijkstra3d charges the
voxel entered and knows no lengths, which is another and easier task; with lengths it searches from
one end. The stack is real (cleared axons) where the shared test data are, else a seeded synthetic
one.

    python bench/path.py --peer-python /path/to/python     # one that has dijkstra3d (GPL)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from projectome.tracing.cost import cost_from_intensity
from projectome.tracing.path import minimal_path

PAIRS = 10
APART = (200, 300)
UNIT = (1.0, 1.0, 1.0)
GOALS = {"skimage": 10.0, "dijkstra3d": 2.0, "bytes_per_voxel": 8.0}

PEER = """
import json, sys, time, warnings
import numpy as np
import dijkstra3d
costs = np.load(sys.argv[1])
for line in sys.stdin:
    start, end, words = json.loads(line)
    begin = time.process_time()
    path = dijkstra3d.dijkstra(costs, start, end, connectivity=26, **words)
    print(json.dumps([time.process_time() - begin, path.tolist()]), flush=True)
"""
TASKS = {
    "dijkstra3d": {"bidirectional": True},
    "dijkstra3d_with_lengths": {"anisotropy": UNIT},
}
PEERS = ("skimage", *TASKS)

MEMORY = """
import json, sys
from pathlib import Path
import numpy as np
from projectome.tracing.path import minimal_path
costs = np.load(sys.argv[1])
start, end = json.loads(sys.argv[2])
minimal_path(costs[:40, :40, :40], (1, 1, 1), (38, 38, 38), voxel_size=(1, 1, 1))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

def kilobytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

before = kilobytes("VmRSS:")
path = minimal_path(costs, start, end, voxel_size=(1, 1, 1))
added = (kilobytes("VmHWM:") - before) * 1024
print(json.dumps([added / costs.size, added / path.voxels_read]))
"""


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


def ridge_pairs(image: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Return pairs of bright local maxima of the smoothed image, at the distance asked for."""
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1.5)
    bright = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > np.percentile(smooth, 99.5))
    points = np.argwhere(bright[8:-8, 8:-8, 8:-8]) + 8
    rng = np.random.default_rng(0)
    pairs = []
    while len(pairs) < PAIRS:
        a, b = points[rng.integers(len(points), size=2)]
        if APART[0] <= np.linalg.norm(a - b) <= APART[1]:
            pairs.append((a.tolist(), b.tolist()))
    return pairs


def price(costs: np.ndarray, voxels: np.ndarray) -> float:
    """Return what a path costs by our definition."""
    along = costs[tuple(np.asarray(voxels).T)].astype(np.float64)
    return float(
        ((along[1:] + along[:-1]) / 2 * np.linalg.norm(np.diff(voxels, axis=0), axis=1)).sum()
    )


class Dijkstra3d:
    """The peer in a process of its own: it never shares an interpreter with this project."""

    def __init__(self, python: str, costs: Path) -> None:
        self.process = subprocess.Popen(
            [python, "-c", PEER, str(costs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, start: list[int], end: list[int], task: str) -> tuple[float, np.ndarray]:
        """Return the seconds of the search alone, and its path."""
        self.process.stdin.write(json.dumps([start, end, TASKS[task]]).encode() + b"\n")
        self.process.stdin.flush()
        seconds, voxels = json.loads(self.process.stdout.readline())
        return seconds, np.asarray(voxels)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def has_dijkstra3d(python: str | None) -> bool:
    """Say whether an interpreter can import the peer."""
    if python is None:
        return False
    return subprocess.run([python, "-c", "import dijkstra3d"], capture_output=True).returncode == 0


def by_us(costs: np.ndarray, start: list[int], end: list[int]) -> tuple[float, Any]:
    """Return seconds and a `Path`."""
    begin = time.process_time()
    path = minimal_path(costs, start, end, voxel_size=UNIT)
    return time.process_time() - begin, path


def by_skimage(
    costs: np.ndarray, start: list[int], end: list[int]
) -> tuple[float, np.ndarray, float]:
    """Return seconds, voxels and the cost: exact, and by the same definition as ours."""
    from skimage.graph import route_through_array

    begin = time.process_time()
    voxels, cost = route_through_array(costs, start, end, fully_connected=True, geometric=True)
    return time.process_time() - begin, np.asarray(voxels), cost


def memory_of_ours(costs: Path, start: list[int], end: list[int]) -> list[float]:
    """Return the bytes that a search adds to a fresh process, a voxel of the volume and read."""
    command = [sys.executable, "-c", MEMORY, str(costs), json.dumps([start, end])]
    return list(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def measure(
    costs: np.ndarray,
    file: Path,
    pair: tuple[list[int], list[int]],
    peer: Dijkstra3d | None,
    with_skimage: bool,
) -> dict[str, Any]:
    """Return what all searches say about one pair."""
    seconds, path = by_us(costs, *pair)
    row: dict[str, Any] = {
        "ends": pair,
        "cost": path.cost,
        "settled": path.settled,
        "read": path.voxels_read / costs.size,
        "ours": seconds,
    }
    for task in TASKS if peer is not None else ():
        row[task], voxels = peer(*pair, task)
        row[f"{task}_cost_ratio"] = price(costs, voxels) / path.cost
    row["ours"] = min(seconds, by_us(costs, *pair)[0])
    if peer is not None:
        row["dijkstra3d"] = min(row["dijkstra3d"], peer(*pair, "dijkstra3d")[0])
    if with_skimage:
        row["skimage"], voxels, cost = by_skimage(costs, *pair)
        row["skimage_cost_ratio"] = cost / path.cost
        row["error"] = abs(price(costs, path.voxels) / price(costs, voxels) - 1)
    if Path("/proc/self/clear_refs").exists():
        row["bytes_per_voxel"], row["bytes_per_voxel_read"] = memory_of_ours(file, *pair)
    return row


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the searches, print one JSON document and return it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", help="interpreter that has dijkstra3d")
    parser.add_argument("--skimage-pairs", type=int, default=PAIRS, help="fewer for a quick look")
    options = parser.parse_args(argv)
    name, image = stack()
    low, high = (float(v) for v in np.percentile(image, [50, 99.9]))
    costs = cost_from_intensity(image, low=low, high=high)
    pairs = ridge_pairs(image)
    minimal_path(costs[:40, :40, :40], (1, 1, 1), (38, 38, 38), voxel_size=UNIT)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "costs.npy"
        np.save(file, costs)
        peer = (
            Dijkstra3d(options.peer_python, file) if has_dijkstra3d(options.peer_python) else None
        )
        for number, pair in enumerate(pairs):
            rows.append(measure(costs, file, pair, peer, number < options.skimage_pairs))
            print(f"{number + 1}/{len(pairs)}", file=sys.stderr)
        if peer is not None:
            peer.close()
    result = summary(name, costs, rows)
    print(json.dumps(result, indent=1))
    return result


def summary(name: str, costs: np.ndarray, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, ratios and the goals."""

    def values(key: str) -> list[float]:
        return [row[key] for row in rows if key in row]

    def faster(peer: str) -> dict[str, float] | str:
        if not values(peer):
            return "not installed" if peer in TASKS else "not run"
        each = [row[peer] / row["ours"] for row in rows if peer in row]
        ours = statistics.median([row["ours"] for row in rows if peer in row])
        return {
            "ratio_of_medians": statistics.median(values(peer)) / ours,
            "median_ratio": statistics.median(each),
            "least_ratio": min(each),
        }

    return {
        "stack": name,
        "shape": costs.shape,
        "cost_bounds": [float(costs.min()), float(costs.max())],
        "median_cpu_seconds": {
            key: statistics.median(values(key)) for key in ("ours", *PEERS) if values(key)
        },
        "times_faster_than": {peer: faster(peer) for peer in PEERS},
        "largest_error": max(values("error"), default=None),
        "median_bytes_per_voxel": statistics.median(values("bytes_per_voxel") or [0.0]) or None,
        "largest_bytes_per_voxel": max(values("bytes_per_voxel"), default=None),
        "bytes_per_voxel_read": max(values("bytes_per_voxel_read"), default=None),
        "goals": GOALS,
        "pairs": rows,
    }


if __name__ == "__main__":
    main()
