"""Memory and time of the main job on volumes of growing size: the memory has to stay.

Each volume is a phantom brain with neurons of the same density. `projectome reconstruct` runs in a
process of its own with two workers and a fixed --memory; the resident memory of it and of all its
workers together is looked at twenty times a second. Pages that processes share, such as the code of
libraries, count for each of them there, and once in the proportional figure (Linux only), which is
what --memory means. The page cache of the system is not counted.

Volumes that fit into the chunk cache of a process (32 MiB) take a little less than larger ones.

    python bench/reconstruct_memory.py --shapes 208,144,208 416,288,416 832,576,832
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from projectome.datasets.phantom import make_phantom
from projectome.io.volumes.write import write_volume
from projectome.settings import parse_bytes

SHAPES = ("208,144,208", "416,288,416")
MEMORY = "1.5GB"
WORKERS = 2
INTERVAL = 0.05
GOAL = 1.2
"""The largest volume takes at most so many times the memory of the smallest."""


def resident(process: psutil.Process) -> tuple[int, int]:
    """Return resident and proportional memory of a process and of all below it [bytes]."""
    total, share = 0, 0
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for member in members:
        try:
            info = member.memory_full_info()
        except psutil.Error:  # it has just ended
            continue
        total += info.rss
        share += getattr(info, "pss", info.rss)
    return total, share


def watch(words: Sequence[str]) -> tuple[int, int, float]:
    """Run a command and return its peak memory, resident and proportional, and its seconds."""
    began = time.perf_counter()
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    process, peak, peak_share = psutil.Process(run.pid), 0, 0
    while run.poll() is None:
        total, share = resident(process)
        peak, peak_share = max(peak, total), max(peak_share, share)
        time.sleep(INTERVAL)
    if run.returncode:
        raise SystemExit(f"{' '.join(words)} ended with status {run.returncode}.")
    return peak, peak_share, time.perf_counter() - began


def measure(shape: tuple[int, int, int], folder: Path, memory: str) -> dict[str, Any]:
    """Reconstruct a phantom of a shape."""
    url = folder / "image.ome.zarr"
    write_volume(make_phantom(size=shape).image, str(url))
    words = [sys.executable, "-m", "projectome", "reconstruct", str(url)]
    words += ["--out", str(folder / "study"), "--memory", memory, "--workers", str(WORKERS)]
    peak, share, seconds = watch([*words, "--quiet"])
    voxels = shape[0] * shape[1] * shape[2]
    return {
        "shape": list(shape),
        "voxels": voxels,
        "peak_bytes": peak,
        "peak_proportional_bytes": share,
        "seconds": seconds,
        "microseconds_a_voxel": 1e6 * seconds / voxels,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure all sizes, print a table, and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="Z,Y,X")
    parser.add_argument("--memory", default=MEMORY)
    options = parser.parse_args(argv)
    rows = []
    print("shape              peak  proportional  of --memory  seconds  us a voxel")
    for text in options.shapes:
        z, y, x = map(int, text.split(","))
        with tempfile.TemporaryDirectory() as folder:
            row = measure((z, y, x), Path(folder), options.memory)
        rows.append(row)
        own = row["peak_proportional_bytes"]
        print(
            f"{text:15}  {row['peak_bytes'] / 1e9:4.2f} GB  {own / 1e9:9.2f} GB  "
            f"{own / parse_bytes(options.memory):11.2f}  {row['seconds']:7.1f}  "
            f"{row['microseconds_a_voxel']:10.2f}",
            flush=True,
        )
    growth = rows[-1]["peak_bytes"] / rows[0]["peak_bytes"]
    larger = rows[-1]["voxels"] / rows[0]["voxels"]
    print(f"{larger:.3g} times the voxels take {growth:.2f} times the memory")
    return {
        "memory": options.memory,
        "workers": WORKERS,
        "rows": rows,
        "growth": growth,
        "goal": GOAL,
        "met": growth <= GOAL,
    }


if __name__ == "__main__":
    main()
