"""Scores of labels: ours against scikit-image and elf, and a pair larger than memory.

Every program scores the same pair of labels in a process of its own: cells of about 20,000 voxels
against the same cells with merges, splits and shifted borders. Ours gives VOI, ARAND in both
conventions and instances; scikit-image VOI and ARAND; elf the CREMI score. elf is not needed by
projectome; it runs in a Python of its own::

    python bench/label_metrics.py --size 512 --peer-python /path/to/venv/bin/python
    python bench/label_metrics.py --full

``--full`` scores a pair of 2048^3 voxels that is written chunk by chunk into a temporary folder, in
``projectome evaluate``, within 4 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

WITHIN = 4 * 10**9
CHUNK = 256
START = """
import json, re, sys, time
from pathlib import Path
import numpy as np
def told(seconds, **scores):
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, **scores}))
truth, found = (np.load(path) for path in sys.argv[1:3])
"""
OURS = """
from projectome.metrics.contingency import contingency
from projectome.metrics.labels import (
    cremi_score, instance_scores, rand_error, variation_of_information,
)
contingency(truth[:2], found[:2])  # compiled code is loaded once
start = time.perf_counter()
table = contingency(truth, found)
voi, rand = variation_of_information(table), rand_error(table, convention="pairs")
score, instances = cremi_score(table), instance_scores(table)
told(time.perf_counter() - start, voi=voi.total, are=rand.error, cremi=score)
"""
SKIMAGE = """
from skimage.metrics import adapted_rand_error, variation_of_information
start = time.perf_counter()
voi = variation_of_information(truth, found, ignore_labels=[0])
are = adapted_rand_error(truth, found)
told(time.perf_counter() - start, voi=float(voi.sum()), are=float(are[0]))
"""
ELF = """
from elf.evaluation import cremi_score
start = time.perf_counter()
split, merge, _, score = cremi_score(found, truth, ignore_gt=[0])
told(time.perf_counter() - start, voi=float(split + merge), cremi=float(score))
"""


def cells(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells around random points, and the same with errors."""
    rng = np.random.default_rng(seed)
    small = max(16, n // 4)
    seeds = np.ones((small,) * 3, bool)
    seeds[tuple(rng.integers(0, small, (3, max(8, small**3 // 310))))] = False
    nearest = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    names = np.ravel_multi_index(tuple(nearest), seeds.shape).astype(np.uint32)
    truth = np.unique(names, return_inverse=True)[1].reshape(names.shape).astype(np.uint32)
    for axis in range(3):
        truth = truth.repeat(n // small, axis)
    found = np.roll(truth, (1, 2, 1), (0, 1, 2)) + np.uint32(1)
    found[found % 20 == 0] += np.uint32(1)  # merges
    found[: n // 2][found[: n // 2] % 10 == 3] += np.uint32(10**6)  # splits
    found[found % 50 == 7] = 0
    return truth, found


def measure(script: str, files: list[str], python: str) -> dict[str, float]:
    """Run a script in a process of its own."""
    done = subprocess.run(
        [python, "-c", START + script, *files], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def beside_peers(size: int, peer_python: str | None) -> dict[str, dict[str, float]]:
    """Score one pair with all programs."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/truth.npy", f"{folder}/found.npy"]
        for path, array in zip(files, cells(size), strict=True):
            np.save(path, array)
        results = {"projectome": measure(OURS, files, sys.executable)}
        results["skimage"] = measure(SKIMAGE, files, sys.executable)
        if peer_python:
            results["elf"] = measure(ELF, files, peer_python)
    own = results["projectome"]
    for peer in results.values():
        for name in ("voi", "are", "cremi"):
            assert abs(peer.get(name, own[name]) - own[name]) < 1e-6, (name, results)
        peer["times_ours"] = peer["seconds"] / own["seconds"]
    return results


def write_pair(folder: Path, n: int) -> list[str]:
    """Write two volumes of labels chunk by chunk; most chunks hold nothing, or one label."""
    from projectome.core.affine import Affine
    from projectome.core.box import BlockGrid, Box
    from projectome.io.volumes.write import create_volume

    places = [str(folder / f"{name}.ome.zarr") for name in ("truth", "found")]
    patch = cells(CHUNK)
    writers = [
        create_volume(
            place,
            shape=(n, n, n),
            dtype=np.uint32,
            affine=Affine.from_scale((1, 1, 1)),
            chunks=(CHUNK,) * 3,
            kind="labels",
            levels=1,
        )
        for place in places
    ]
    for number, block in enumerate(BlockGrid(Box.from_shape((n, n, n)), (CHUNK,) * 3)):
        if number % 4 == 1:
            continue  # empty tissue
        for writer, labels in zip(writers, patch, strict=True):
            name = np.uint32(number + 1) * np.uint32(2 * 10**6)
            one = np.full((CHUNK,) * 3, name, np.uint32)
            writer.write(block.core, labels + name if number % 8 == 0 else one)
    for writer in writers:
        writer.finish()
    return places


def larger_than_memory(n: int) -> dict[str, float]:
    """Score a pair of n^3 voxels as the command line does, and watch its memory."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        files = write_pair(Path(folder), n)
        written = time.perf_counter() - start
        code = (
            "import sys; from projectome.cli.main import main\n"
            "try: main(sys.argv[1:])\nfinally:\n"
            "    from projectome.engine.run import peak_rss; print(peak_rss(), file=sys.stderr)"
        )
        words = ["evaluate", "labels", *files, "--json", "--memory", "4GB"]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert counts["voxels"] == n**3
    peak = int(done.stderr.split()[-1])
    return {
        "voxels": n**3,
        "bytes": 2 * 4 * n**3,
        "written_seconds": written,
        "seconds": seconds,
        "peak_bytes": peak,
        "within_4_GB": peak <= WITHIN,
        "true_objects": counts["true_objects"],
    }


def main(arguments: list[str] | None = None) -> dict[str, object]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--peer-python", help="Python that has elf")
    parser.add_argument("--full", action="store_true", help="also a pair larger than memory")
    parser.add_argument("--full-size", type=int, default=2048)
    options = parser.parse_args(arguments)
    results: dict[str, object] = {}
    beside = beside_peers(options.size, options.peer_python)
    print(f"{options.size}^3 voxels, uint32")
    for name, found in beside.items():
        print(
            f"{name:12}{found['seconds']:8.2f} s  {found['times_ours']:6.1f} x"
            f"{found['peak_bytes'] / 1e9:8.2f} GB"
        )
    results["peers"] = beside
    if options.full:
        whole = larger_than_memory(options.full_size)
        size, peak = whole["bytes"] / 1e9, whole["peak_bytes"] / 1e9
        print(
            f"{options.full_size}^3 voxels, {size:.0f} GB: {whole['seconds']:.0f} s within "
            f"{peak:.2f} GB (written in {whole['written_seconds']:.0f} s)"
        )
        results["full"] = whole
    return results


if __name__ == "__main__":
    main()
