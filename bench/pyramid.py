"""Building a pyramid: ours against tensorstore's downsample driver and ome-zarr-py.

Level 0 is synthetic light-sheet data, stored as OME-Zarr 0.4 in 64^3 chunks; each engine makes the
same four coarser levels with the mean of 2x2x2 voxels, in a process of its own, in turn.
ome-zarr-py can only write level 0 anew as well: it is compared with ours doing the same, from level
0 in one place to all levels in another. What its coarser levels alone take is estimated by taking
off the time of a run without them.

    python bench/pyramid.py            256 x 512 x 512 uint16
    python bench/pyramid.py --full     512 x 1024 x 1024 uint16, 1 GiB
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

LEVELS = 5
ENGINES = {
    "projectome": "projectome",
    "tensorstore": "tensorstore",
    "projectome_and_level_0": "projectome",
    "ome_zarr_and_level_0": "ome_zarr",
    "ome_zarr_level_0_alone": "ome_zarr",
}


def synthetic(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Smooth tissue, random-walk neurites, shot and read noise; offset 100."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(0, 6, n, dtype=np.float32) for n in shape)
    tissue = 120 + 60 * np.sin(z)[:, None, None] * np.cos(y)[:, None] * np.sin(x + 1)
    for _ in range(500):
        steps = rng.normal(0, 0.8, (600, 3)).cumsum(axis=0) + rng.uniform(0, shape)
        inside = steps[((steps >= 0) & (steps < np.asarray(shape) - 1)).all(axis=1)].astype(int)
        tissue[tuple(inside.T)] += 800
    for plane in tissue:
        plane += rng.normal(0, 1, plane.shape).astype(np.float32) * np.sqrt(plane) + 100
    return tissue.clip(0, 65535).astype(np.uint16)


def prepared(engine: str, source: Path, folder: Path) -> Callable[[], object]:
    """Return what is to be timed: imports and opening are done."""
    if engine == "projectome":
        shape = json.loads((source / ".unfinished.json").read_text())["shape"]
        return writer(source, shape).finish
    if engine == "tensorstore":
        return partial(build_tensorstore, source, folder)
    if engine == "projectome_and_level_0":
        return build_whole(source, folder)
    return build_ome_zarr(source, folder, coarse=engine == "ome_zarr_and_level_0")


def writer(url: Path, shape: tuple[int, int, int]):
    from projectome.core.affine import Affine
    from projectome.io.volumes.write import create_volume

    grid = Affine.from_scale((1.0, 1.0, 1.0))
    return create_volume(str(url), shape=shape, dtype="uint16", affine=grid, levels=LEVELS)


def build_tensorstore(source: Path, folder: Path) -> None:
    import tensorstore as ts

    def opened(path: Path, metadata: dict | None = None) -> ts.TensorStore:
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}}
        spec |= {} if metadata is None else {"metadata": metadata, "create": True}
        return ts.open(spec, context=ts.Context({"file_io_sync": False})).result()

    metadata = json.loads((source / "0/.zarray").read_text())
    level = opened(source / "0")
    for k in range(1, LEVELS):
        metadata["shape"] = [-(-n // 2) for n in metadata["shape"]]
        metadata["chunks"] = [min(64, n) for n in metadata["shape"]]
        coarse = ts.downsample(level, [2, 2, 2], "mean")
        target = opened(folder / str(k), metadata)
        depth = metadata["shape"][0]
        for z in range(0, depth, 128):
            slab = slice(z, min(z + 128, depth))
            target[slab].write(coarse[slab]).result()
        level = target


def build_whole(source: Path, folder: Path) -> Callable[[], object]:
    from projectome.io.open import open_volume
    from projectome.io.volumes.write import write_volume

    volume = open_volume(str(source / "0"), voxel_size=(1.0, 1.0, 1.0))[0]
    return partial(write_volume, volume, str(folder / "whole.zarr"), levels=LEVELS)


def build_ome_zarr(source: Path, folder: Path, *, coarse: bool) -> Callable[[], object]:
    import dask.array
    from ome_zarr.format import FormatV04
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    return partial(
        write_image,
        dask.array.from_zarr(str(source / "0")),
        str(folder / "image.zarr"),
        scale_factors=[dict.fromkeys("zyx", 2**k) for k in range(1, LEVELS)] if coarse else [],
        method=Methods.LOCAL_MEAN,
        axes="zyx",
        fmt=FormatV04(),
        storage_options={"chunks": (64, 64, 64)},
    )


def measure(engine: str, source: Path) -> dict[str, float]:
    """Run one engine in a fresh process."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        command = [sys.executable, __file__, "--engine", engine, "--source", str(source)]
        done = subprocess.run([*command, "--folder", folder], stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout.splitlines()[-1])


def prepare(source: Path, shape: tuple[int, int, int]) -> None:
    """Write level 0, with its metadata for the peers."""
    from projectome.core.box import Box

    begun = writer(source, shape)
    values = synthetic(shape)
    begun.write(Box.from_shape(shape), values)
    (source / "0/.zarray").write_text(json.dumps(begun.array(0).metadata))
    (source / ".keep").write_bytes((source / ".unfinished.json").read_bytes())


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="1 GiB instead of 128 MiB")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    shape = (512, 1024, 1024) if options.full else (256, 512, 512)
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.zarr"
        prepare(source, shape)
        for _ in range(options.repeats):
            for engine, package in ENGINES.items():
                if importlib.util.find_spec(package) is not None:
                    # Finishing takes the mark off; every run begins with the unfinished volume.
                    (source / ".unfinished.json").write_bytes((source / ".keep").read_bytes())
                    found[engine].append(measure(engine, source))
    table = summarise(found, 2 * np.prod(shape) / 1e9)
    print(json.dumps(table, indent=2))
    return table


def summarise(found: dict[str, list[dict[str, float]]], gigabytes: float) -> dict[str, object]:
    engines: dict[str, object] = {}
    best: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for engine, runs in found.items():
        if not runs:
            engines[engine] = "not installed"
            continue
        seconds = [run["seconds"] for run in runs]
        best[engine] = min(seconds)
        cpu[engine] = min(run["cpu_seconds"] for run in runs)
        engines[engine] = {
            "seconds_min": min(seconds),
            "seconds_median": statistics.median(seconds),
            "cpu_seconds_min": cpu[engine],
            "gigabytes_a_second": gigabytes / min(seconds),
            "peak_rss_mb": max(run["peak_rss_mb"] for run in runs),
        }
    ratios: dict[str, object] = {
        "tensorstore": {
            "speed": best["tensorstore"] / best["projectome"],
            "cpu": cpu["tensorstore"] / cpu["projectome"],
            "goal": 0.9,
        }
    }
    if "ome_zarr_and_level_0" in best:
        whole, alone = best["ome_zarr_and_level_0"], best["ome_zarr_level_0_alone"]
        ratios["ome_zarr_local_mean"] = {
            "speed_with_level_0": whole / best["projectome_and_level_0"],
            "cpu_with_level_0": cpu["ome_zarr_and_level_0"] / cpu["projectome_and_level_0"],
            "goal": 4.0,
            "speed_of_coarser_levels_estimated": (whole - alone) / best["projectome"],
        }
    return {"level_0_gigabytes": gigabytes, "engines": engines, "ratios": ratios}


def worker(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    run = prepared(options.engine, options.source, options.folder)
    start, cpu = time.perf_counter(), time.process_time()
    run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    from projectome.engine.run import peak_rss

    result = {"seconds": seconds, "cpu_seconds": cpu, "peak_rss_mb": peak_rss() / 1e6}
    print(json.dumps(result))


if __name__ == "__main__":
    if "--engine" in sys.argv:
        worker(sys.argv[1:])
    else:
        main()
