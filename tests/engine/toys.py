"""Small steps on a made-up volume; importable by worker processes."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import Block, BlockGrid, Box, Triple
from projectome.core.region_graph import RegionGraph
from projectome.engine.sinks import ArraySink, TableSink
from projectome.engine.step import BlockStep
from projectome.errors import StorageFullError
from projectome.io.volumes.write import create_volume
from projectome.testing.steps import ArrayFile

SHAPE = (22, 30, 26)


def volume(seed: int) -> np.ndarray:
    """Noise of mean 100: no block is like another."""
    return np.random.default_rng(seed).integers(0, 200, SHAPE, dtype=np.uint16)


def grid(halo: Triple = (0, 0, 0), block: Triple = (8, 8, 8)) -> BlockGrid:
    """48 blocks, those at the far ends smaller."""
    return BlockGrid(Box.from_shape(SHAPE), block, halo)


@dataclass(frozen=True)
class Mean(BlockStep):
    """Mean of the cube of voxels around each voxel; beyond the volume the nearest voxel counts."""

    name: ClassVar[str] = "mean"
    bytes_per_voxel: ClassVar[int] = 24

    seed: int = 1
    radius: int = 2

    def halo(self) -> Triple:
        return (self.radius,) * 3

    def __call__(self, block: Block) -> np.ndarray:
        from scipy import ndimage

        image = volume(self.seed)[block.read.slices].astype(np.float64)
        mean = ndimage.uniform_filter(image, 2 * self.radius + 1, mode="nearest")
        return np.rint(mean[block.inner]).astype(np.int32)


@dataclass(frozen=True)
class Peaks(BlockStep):
    """Local maxima of 3^3 voxels above a threshold, one row each."""

    name: ClassVar[str] = "peaks"
    bytes_per_voxel: ClassVar[int] = 64

    seed: int = 1
    threshold: float = 150.0

    def halo(self) -> Triple:
        return 1, 1, 1

    def __call__(self, block: Block) -> dict[str, np.ndarray]:
        from scipy import ndimage

        image = volume(self.seed)[block.read.slices]
        peak = (image == ndimage.maximum_filter(image, 3)) & (image > self.threshold)
        points = np.argwhere(peak) + block.read.start
        points = points[block.core.contains(points)]
        values = image[tuple((points - block.read.start).T)]
        return dict(zip("zyx", points.T, strict=True)) | {"value": values}


@dataclass(frozen=True)
class Contacts(BlockStep):
    """A graph of the voxel values: which ones touch along x, and how often they differ."""

    name: ClassVar[str] = "contacts"

    seed: int = 1

    def halo(self) -> Triple:
        return 0, 0, 1

    def __call__(self, block: Block) -> RegionGraph:
        image = volume(self.seed)[block.read.slices].astype(np.uint64) + 1
        first = image[block.inner]
        z, y, x = block.inner
        second = image[z, y, x.start + 1 : x.stop + 1]
        first = first[:, :, : second.shape[2]]
        pairs = np.stack([first.ravel(), second.ravel()], axis=1)
        return RegionGraph(
            np.unique(np.append(image[block.inner].ravel(), pairs)),
            pairs,
            np.abs(np.diff(pairs.astype(np.int64), axis=1)[:, 0]).astype(np.float32),
            {"size": np.ones(len(pairs), dtype=np.int64)},
        )


@dataclass(frozen=True)
class Diary(BlockStep):
    """Writes down in a file outside whenever a block is begun, and misbehaves on request.

    Attributes
    ----------
    path
        Of the diary: a line a call, with the index of the block and the process.
    seconds
        How long a block takes.
    value
        Comes back in the table.
    failing, dying, full
        Blocks that raise, kill their process, or find the disk full.
    recovers
        How many calls of a failing block fail before it works; 0 means all.
    """

    name: ClassVar[str] = "diary"

    path: str = field(compare=False)
    seconds: float = 0.0
    value: float = 1.0
    failing: tuple[str, ...] = ()
    dying: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    recovers: int = 0

    def __call__(self, block: Block) -> dict[str, list[object]]:
        with open(self.path, "a") as file:
            file.write(f"{block.id} {os.getpid()}\n")
        time.sleep(self.seconds)
        calls = sum(line.split()[0] == block.id for line in entries(self.path))
        broken = not self.recovers or calls <= self.recovers
        if block.id in self.dying and broken:
            os.kill(os.getpid(), signal.SIGKILL)
        if block.id in self.failing and broken:
            raise ValueError(f"bad chunk {block.id}")
        if block.id in self.full:
            raise StorageFullError("No space left. Free some.")
        return {"block": [block.id], "value": [self.value * block.core.size]}


def entries(path: str | Path) -> list[str]:
    """Return the lines of a diary."""
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []


def calls(path: str | Path) -> list[str]:
    """Return the blocks that were begun, in order."""
    return [line.split()[0] for line in entries(path)]


@dataclass(frozen=True)
class Written(Diary):
    """A result a block for one of the sinks.

    Attributes
    ----------
    output
        ``"table"``, ``"array"`` (a file), or ``"volume"`` (OME-Zarr).
    """

    output: str = "table"

    def __call__(self, block: Block) -> object:
        table = super().__call__(block)
        return table if self.output == "table" else volume(1)[block.core.slices]

    def sink(self, folder: Path) -> TableSink | ArraySink:
        """Return where the results go."""
        if self.output == "table":
            return TableSink(str(folder))
        if self.output == "array":
            return ArraySink(ArrayFile.create(folder, SHAPE, np.uint16))
        grid = Affine.from_scale((1.0, 1.0, 1.0))
        ask = {"shape": SHAPE, "dtype": np.uint16, "affine": grid, "chunks": (6, 6, 6)}
        return ArraySink(create_volume(str(folder), **ask))


@dataclass(frozen=True)
class Hungry(BlockStep):
    """Takes nearly what it says.

    Attributes
    ----------
    scale
        Float64 values a voxel.
    """

    name: ClassVar[str] = "hungry"

    scale: int = 1

    def memory(self, block: Block) -> int:
        return block.read.size * 8 * self.scale

    def __call__(self, block: Block) -> dict[str, list[float]]:
        taken = np.ones(self.memory(block) // 8)
        return {"sum": [float(taken.sum())]}


@dataclass(frozen=True)
class Free(BlockStep):
    """Does nothing."""

    name: ClassVar[str] = "free"

    def __call__(self, block: Block) -> None:
        return None


def threads(_):
    return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}


def identity(_):
    time.sleep(0.02)
    return os.getpid()


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def leave(_):
    raise SystemExit(3)


def size(task):
    return len(task)
