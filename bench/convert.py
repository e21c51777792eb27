"""Copying a volume from a slow object store to disk: ours against zarr-python, s3fs and dask.

One level of synthetic light-sheet data, stored as OME-Zarr 0.4 (128^3 chunks, as of most public
brains) behind a local S3 server that answers after 50 ms, is written to a local Zarr array with
chunks of the same size. The peer is what its documentation shows, dask.array.from_zarr(...) and
to_zarr(...), as installed (a thread a core), and with 32 threads and as many connections, which
hide more of the waiting.
Every copy is made in a process of its own, in turn, and compared with the original.

    python bench/convert.py            256 x 512 x 512 uint16
    python bench/convert.py --full     1024^3 uint16, 2 GiB
    python bench/convert.py --chunk 64
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from io_read import LATENCY, slow_server, synthetic

ENGINES = {"projectome": "projectome", "dask_zarr_s3fs": "s3fs", "dask_32_threads": "s3fs"}
GOAL, MEMORY = 8.0, 1e9
THREADS = 32


def copy_projectome(endpoint: str, folder: Path) -> Path:
    from projectome.io.source import VolumeSource
    from projectome.workflows.convert import convert

    source = VolumeSource("s3://bucket/image.zarr", endpoint=endpoint)
    convert(source, str(folder / "copy.zarr"), levels=1)
    return folder / "copy.zarr" / "0"


def copy_dask(endpoint: str, folder: Path, threads: int | None = None) -> Path:
    import dask
    import dask.array
    import zarr

    client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    config: dict[str, Any] = {"s3": {"addressing_style": "path"}}
    if threads is not None:
        config["max_pool_connections"] = threads
    options = {"anon": True, "client_kwargs": client, "config_kwargs": config}
    place = "s3://bucket/image.zarr/0"
    store = zarr.storage.FsspecStore.from_url(place, read_only=True, storage_options=options)
    with dask.config.set(scheduler="threads", num_workers=threads):
        array = dask.array.from_zarr(zarr.open_array(store, mode="r"))
        dask.array.to_zarr(array, str(folder / "copy.zarr"))
    return folder / "copy.zarr"


def worker(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    copies = {
        "projectome": copy_projectome,
        "dask_zarr_s3fs": copy_dask,
        "dask_32_threads": partial(copy_dask, threads=THREADS),
    }
    importlib.import_module("projectome.workflows.convert")
    start, cpu = time.perf_counter(), time.process_time()
    copied = copies[options.engine](options.endpoint, options.folder)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    from projectome.engine.run import peak_rss

    result = {"seconds": seconds, "cpu_seconds": cpu, "peak_rss_mb": peak_rss() / 1e6}
    print(json.dumps(result | {"copy": str(copied)}))


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="2 GiB instead of 128 MiB")
    parser.add_argument("--chunk", type=int, default=128, help="voxels an axis of a chunk")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(arguments)
    import zarr

    from projectome.core.volume import Volume
    from projectome.io.volumes.write import write_volume

    shape = (1024, 1024, 1024) if options.full else (256, 512, 512)
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    values = synthetic(shape)
    with tempfile.TemporaryDirectory() as name, slow_server(Path(name)) as endpoint:
        image = Path(name) / "bucket" / "image.zarr"
        image.parent.mkdir()
        volume = Volume.from_array(values, voxel_size=(1.0, 1.0, 1.0))
        write_volume(volume, str(image), levels=1, chunks=(options.chunk,) * 3)
        for _ in range(options.repeats):
            for engine, package in ENGINES.items():
                if importlib.util.find_spec(package) is None:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    command = [sys.executable, __file__, "--engine", engine]
                    command += ["--endpoint", endpoint, "--folder", folder]
                    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                    result = json.loads(done.stdout.splitlines()[-1])
                    copied = zarr.open_array(result.pop("copy"), mode="r")
                    assert all(
                        np.array_equal(copied[z : z + 64], values[z : z + 64])
                        for z in range(0, shape[0], 64)
                    )
                    found[engine].append(result)
    table: dict[str, object] = {"gigabytes": values.nbytes / 1e9, "latency_ms": LATENCY}
    for engine, runs in found.items():
        table[engine] = "not installed" if not runs else {
            "seconds_min": min(run["seconds"] for run in runs),
            "seconds_median": statistics.median(run["seconds"] for run in runs),
            "cpu_seconds_min": min(run["cpu_seconds"] for run in runs),
            "peak_rss_mb": max(run["peak_rss_mb"] for run in runs),
        }  # fmt: skip
    if all(found.values()):
        best = {engine: min(run["seconds"] for run in runs) for engine, runs in found.items()}
        peers = [engine for engine in best if engine != "projectome"]
        table["speed"] = {peer: best[peer] / best["projectome"] for peer in peers}
        table["speed_goal"] = GOAL
    table["peak_rss_goal_mb"] = MEMORY / 1e6
    print(json.dumps(table, indent=2))
    return table


if __name__ == "__main__":
    if "--engine" in sys.argv:
        worker(sys.argv[1:])
    else:
        main()
