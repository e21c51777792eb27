"""The region table of a whole annotation against the way of the public tutorial, and lookups.

The annotation has 1320 x 800 x 1140 voxels of uint32 in 128^3 chunks. With --atlas FOLDER (the
Allen's native files at 25 um) its labels are up-sampled 2.5 times; without, those of the phantom
are stretched to that size. Timed in turn, in processes of their own with a warm page cache:

    read      every chunk once, by the same reader and as many threads, and nothing else
    table     all regions, both hemispheres, centroids, boxes (projectome)
    isin      dask.array.isin(labels, LIST OF IDS).sum() for ONE region, as the tutorial has it

    python bench/regions.py [--atlas FOLDER] [--rounds 3] [--small]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

SHAPE, SMALL = (1320, 800, 1140), (528, 320, 456)
SIZE = 10.0
CHUNK = 128
GOALS = {"isin / table": 8.0, "table / read": 1.3}


def source_atlas(folder: str | None):
    from projectome.workflows.atlas import open_atlas

    return open_atlas(folder or "phantom")


def write_big(folder: str | None, target: Path, shape: tuple[int, int, int]) -> None:
    """Stretch the labels of an atlas to the shape, nearest voxel, slab by slab."""
    import zarr

    labels = source_atlas(folder).annotation.read()
    at = [
        np.minimum((np.arange(n) + 0.5) / n * m, m - 1).astype(int)
        for n, m in zip(shape, labels.shape, strict=True)
    ]
    codec = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
    array = zarr.create_array(
        target, shape=shape, chunks=(CHUNK,) * 3, dtype="uint32", compressors=codec,
        config={"write_empty_chunks": False},
    )  # fmt: skip
    for z in range(0, shape[0], CHUNK):
        array[z : z + CHUNK] = labels[np.ix_(at[0][z : z + CHUNK], at[1], at[2])]


def big_atlas(folder: str | None, target: Path):
    from projectome.atlas.brainglobe import midline_of
    from projectome.core.affine import Affine
    from projectome.core.atlas import Atlas
    from projectome.io.open import open_volume

    small = source_atlas(folder)
    volume = open_volume(f"zarr://{target}", voxel_size=(SIZE,) * 3, axes="zyx")[0]
    grid = Affine.from_scale((SIZE,) * 3, target=small.space)
    volume = replace(volume, affine=grid, kind="labels")
    return Atlas("big", small.terminology, volume, midline=midline_of(volume))


def measure(what: str, folder: str | None, target: Path) -> dict[str, float]:
    """Time one way, after a first round that compiles and warms what is cached."""
    if what == "isin":
        import dask.array
        import zarr

        ids = source_atlas(folder).terminology.descendants("RSP").tolist()
        array = dask.array.from_zarr(zarr.open_array(target, mode="r"))
        start, spent = time.perf_counter(), time.process_time()
        voxels = int(dask.array.isin(array, ids).sum().compute())
        seconds, cpu = time.perf_counter() - start, time.process_time() - spent
        return {"seconds": seconds, "cpu": cpu, "rsp_mm3": voxels * SIZE**3 / 1e9}
    atlas = big_atlas(folder, target)
    from projectome.atlas.regions import _boxes, region_table
    from projectome.core.atlas import Atlas
    from projectome.core.box import BlockGrid
    from projectome.core.volume import Volume
    from projectome.engine.grid import worker_count

    tiny = np.ones((2, 2, 2), np.uint32)
    first = Volume.from_array(tiny, voxel_size=(1, 1, 1), space=atlas.space, kind="labels")
    region_table(Atlas("warm", atlas.terminology, first, midline=atlas.midline))
    start, spent = time.perf_counter(), time.process_time()
    if what == "table":
        table = region_table(atlas)
        seconds, cpu = time.perf_counter() - start, time.process_time() - spent
        return {"seconds": seconds, "cpu": cpu, "rsp_mm3": table.volume_mm3("RSP")}
    boxes = [b.core for b in BlockGrid(atlas.annotation.box, _boxes(atlas.annotation, 2**22))]
    with ThreadPoolExecutor(worker_count()) as pool:
        list(pool.map(lambda box: atlas.annotation.read(box).size, boxes))
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    return {"seconds": seconds, "cpu": cpu, "rsp_mm3": float("nan")}


def lookups(folder: str | None) -> dict[str, float]:
    """Points looked up a second, in labels in memory; seconds for 1,000 neurons of 20,000 nodes."""
    from projectome.atlas.lengths import measure_lengths
    from projectome.atlas.lookup import region_at
    from projectome.core.skeleton import Skeleton
    from projectome.core.volume import ArrayInMemory

    atlas = source_atlas(folder)
    held = ArrayInMemory(atlas.annotation.read())
    atlas = replace(atlas, annotation=replace(atlas.annotation, array=held))
    rng = np.random.default_rng(0)
    extent = np.asarray(atlas.annotation.shape) * atlas.annotation.voxel_size
    points = rng.uniform(0, 1, (5_000_000, 3)) * extent
    region_at(atlas, points[:10])
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        region_at(atlas, points)
        rates.append(len(points) / (time.perf_counter() - start))
    neurons = [random_neuron(rng, atlas.space, extent) for _ in range(10)]
    assert all(isinstance(neuron, Skeleton) for neuron in neurons)
    measure_lengths(atlas, {"first": neurons[0]})
    start = time.perf_counter()
    table = measure_lengths(atlas, ((k, neurons[k % len(neurons)]) for k in range(1000)))
    seconds = time.perf_counter() - start
    own = table[table["hemisphere"] == 3].groupby("neuron")["own_length_um"].sum()
    cable = np.array([neurons[k % len(neurons)].cable_length for k in own.index])
    return {
        "points_per_second": statistics.median(rates),
        "neurons_seconds": seconds,
        "largest_relative_error": float(np.abs(own.to_numpy() / cable - 1).max()),
    }


def random_neuron(rng, space, extent, nodes=20_000):
    """Walks of about 7 um a step that start from points of the tree so far."""
    from projectome.core.skeleton import Skeleton

    step = rng.normal(0, 4, (nodes, 3))
    parent = np.arange(nodes) - 1
    branches = rng.integers(1, nodes, 300)
    parent[branches] = rng.integers(0, branches)
    places = np.zeros((nodes, 3))
    places[0] = extent / 2 - 20
    for node in range(1, nodes):
        places[node] = places[parent[node]] + step[node]
    return Skeleton(places, parent, space, kind=rng.integers(2, 4, nodes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        what, target = given.work
        print(json.dumps(measure(what, given.atlas, Path(target))))
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "labels.zarr"
        write_big(given.atlas, target, SMALL if given.small else SHAPE)
        found: dict[str, list[dict[str, float]]] = {"read": [], "table": [], "isin": []}
        for _ in range(given.rounds):
            for what, seconds in found.items():
                command = [sys.executable, __file__, "--work", what, str(target)]
                command += ["--atlas", given.atlas] if given.atlas else []
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                answer = json.loads(done.stdout.splitlines()[-1])
                seconds.append(answer)
                print(
                    f"{what:6} {answer['seconds']:7.2f} s {answer['cpu']:7.2f} s of CPU   "
                    f"RSP {answer['rsp_mm3']:.3f} mm3",
                    flush=True,
                )
    for kind in ("seconds", "cpu"):
        middle = {what: statistics.median(a[kind] for a in got) for what, got in found.items()}
        ratios = {
            "isin / table": middle["isin"] / middle["table"],
            "table / read": middle["table"] / middle["read"],
        }
        for name, ratio in ratios.items():
            print(f"{name}, {kind}: {ratio:.2f} (goal {GOALS[name]:g})")
    for name, value in lookups(given.atlas).items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
