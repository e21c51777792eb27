"""Reading a volume: ours against raw tensorstore and zarr-python, on disk and over a slow link.

The data are synthetic, stored as OME-Zarr 0.4 (64^3 chunks, blosc zstd) and 0.5 (64^3 chunks in
256^3 shards). On disk the whole volume is read in slabs of 128 planes, with a warm page cache. Over
a link the same slabs come from a local store that answers after 50 ms, and which shares the cores
(`slow_store.py`: it was made to take little of them). zarr-python with s3fs is measured twice: as
installed, which is 10 requests at once, and with 128 at once, for which both libraries have to be
told. Every reading happens in a process of its own, in turn.

    python bench/io_read.py            256 x 512 x 512 uint16
    python bench/io_read.py --full     512 x 1024 x 1024 uint16, 1 GiB
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SLAB = 128
LATENCY = 50
LAYOUTS = {"v2": "0.4", "sharded": "0.5"}
GOALS = {
    ("disk", "tensorstore"): 0.95,
    ("link", "zarr_s3fs"): 10.0,
}
ENGINES = {
    "disk": {"projectome": "projectome", "tensorstore": "tensorstore", "zarr": "zarr"},
    "link": {
        "projectome": "projectome",
        "tensorstore": "tensorstore",
        "zarr_s3fs": "s3fs",
        "zarr_s3fs_128": "s3fs",
    },
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


def opened(engine: str, url: str, endpoint: str | None) -> Callable[[], Iterator[Any]]:
    """Return what reads slab after slab; ours reads the next one while one is at hand."""
    if engine == "projectome":
        from projectome.core.box import Box
        from projectome.io.ahead import read_ahead
        from projectome.io.open import open_volume

        volume = open_volume(url, endpoint=endpoint)[0]
        depth, height, width = volume.shape
        boxes = [
            Box((z, 0, 0), (min(z + SLAB, depth), height, width)) for z in range(0, depth, SLAB)
        ]
        return lambda: (voxels for _, voxels in read_ahead(volume, boxes))
    if engine == "tensorstore":
        store = opened_tensorstore(f"{url}/0", endpoint)
        planes = store.shape[0]
        return lambda: (
            store[z : min(z + SLAB, planes)].read().result() for z in range(0, planes, SLAB)
        )
    import zarr

    place: Any = f"{url}/0"
    if endpoint is not None:
        client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        config: dict[str, Any] = {"s3": {"addressing_style": "path"}}
        if engine == "zarr_s3fs_128":
            config["max_pool_connections"] = 128
            zarr.config.set({"async.concurrency": 128})
        options = {"anon": True, "client_kwargs": client, "config_kwargs": config}
        place = zarr.storage.FsspecStore.from_url(place, read_only=True, storage_options=options)
    array = zarr.open_array(place, mode="r")
    return lambda: (array[z : z + SLAB] for z in range(0, array.shape[0], SLAB))


def opened_tensorstore(url: str, endpoint: str | None) -> Any:
    """Open an array as its documentation says, anonymously over a link."""
    import tensorstore as ts

    kvstore: dict[str, object] = {"driver": "file", "path": f"{url}/"}
    if endpoint is not None:
        bucket, _, path = url.removeprefix("s3://").partition("/")
        kvstore = {"driver": "s3", "bucket": bucket, "path": f"{path}/", "endpoint": endpoint}
        kvstore |= {"aws_region": "us-east-1", "aws_credentials": {"type": "anonymous"}}
    driver = "zarr" if "v2.zarr" in url else "zarr3"
    return ts.open({"driver": driver, "kvstore": kvstore}, open=True, read=True).result()


def worker(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--endpoint")
    options = parser.parse_args(arguments)
    slabs = opened(options.engine, options.url, options.endpoint)
    start, cpu = time.perf_counter(), time.process_time()
    total = sum(slab.nbytes for slab in slabs())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    from projectome.engine.run import peak_rss

    result = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_rss_mb": peak_rss() / 1e6,
        "bytes": total,
    }
    print(json.dumps(result))


def measure(engine: str, url: str, endpoint: str | None) -> dict[str, float]:
    """Run one engine in a fresh process."""
    command = [sys.executable, __file__, "--engine", engine, "--url", url]
    command += ["--endpoint", endpoint] if endpoint else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(folder: Path, shape: tuple[int, int, int]) -> None:
    from projectome.core.volume import Volume
    from projectome.io.volumes.write import write_volume

    volume = Volume.from_array(synthetic(shape), voxel_size=(1.0, 1.0, 1.0))
    for name, version in LAYOUTS.items():
        write_volume(volume, str(folder / f"{name}.zarr"), version=version, levels=1)


@contextmanager
def slow_server(data: Path) -> Iterator[str]:
    """Serve a folder of buckets over S3, each answer after `LATENCY` milliseconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server_of_ours = str(Path(__file__).with_name("slow_store.py"))
    command = [sys.executable, server_of_ours, str(data), "--port", str(port)]
    command += ["--latency-ms", str(LATENCY)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="1 GiB instead of 128 MiB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(ENGINES), help="leave the other out")
    options = parser.parse_args(arguments)
    shape = (512, 1024, 1024) if options.full else (256, 512, 512)
    places = [place for place in ENGINES if options.only in (None, place)]
    table: dict[str, object] = {"gigabytes": 2 * np.prod(shape) / 1e9}
    with tempfile.TemporaryDirectory() as folder:
        bucket = Path(folder) / "bucket"
        prepare(bucket, shape)
        if "disk" in places:
            for layout in LAYOUTS:
                table[f"disk {layout}"] = compare(
                    "disk", str(bucket), layout, None, options.repeats
                )
        if "link" in places:
            with slow_server(Path(folder)) as endpoint:
                for layout in LAYOUTS:
                    key = f"link of {LATENCY} ms, {layout}"
                    table[key] = compare("link", "s3://bucket", layout, endpoint, options.repeats)
    print(json.dumps(table, indent=2))
    return table


def compare(
    place: str, folder: str, layout: str, endpoint: str | None, repeats: int
) -> dict[str, object]:
    """Return seconds, memory and ratios of all engines for one layout."""
    engines = ENGINES[place]
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
    for _ in range(repeats):
        for engine, package in engines.items():
            if importlib.util.find_spec(package) is not None:
                found[engine].append(measure(engine, f"{folder}/{layout}.zarr", endpoint))
    table: dict[str, object] = {}
    best: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for engine, runs in found.items():
        if not runs:
            table[engine] = "not installed"
            continue
        seconds = [run["seconds"] for run in runs]
        best[engine] = min(seconds)
        cpu[engine] = min(run["cpu_seconds"] for run in runs)
        table[engine] = {
            "seconds_min": best[engine],
            "seconds_median": statistics.median(seconds),
            "cpu_seconds_min": cpu[engine],
            "gigabytes_a_second": runs[0]["bytes"] / 1e9 / best[engine],
            "peak_rss_mb": max(run["peak_rss_mb"] for run in runs),
        }
    ratios = {
        engine: {
            "speed": best[engine] / best["projectome"],
            "cpu": cpu[engine] / cpu["projectome"],
            "goal": GOALS.get((place, engine)),
        }
        for engine in best
        if engine != "projectome"
    }
    return {**table, "ratios": ratios}


if __name__ == "__main__":
    if "--engine" in sys.argv:
        worker(sys.argv[1:])
    else:
        main()
