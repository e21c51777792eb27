"""Pairs of volumes of any size, whose overlaps are counted block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from projectome.core.box import BlockGrid, triple
from projectome.core.volume import Volume
from projectome.engine.sinks import TableSink
from projectome.io.source import VolumeSource
from projectome.metrics.contingency import Contingency
from projectome.metrics.steps import CountOverlaps, check_same_voxels, table_of
from projectome.workflows.evaluation import Scene, same_space
from projectome.workflows.job import Job

LARGEST_BLOCK = 256
SMALLEST_BLOCK = 32
SMALL = 2**24
"""Voxels of volumes that are read again for each block, whatever their chunks."""


@dataclass(frozen=True)
class VolumePair:
    """Two volumes, and which of their voxels count.

    Attributes
    ----------
    truth, prediction
        Where they are.
    scored
        A volume that is 0 where voxels are not scored.
    positive
        True labels that are positive; of none, each label is a class of its own.
    ignored
        True labels whose voxels are not scored.
    threshold
        Predicted values from here on are positive.
    image
        A picture to show errors in.
    """

    truth: VolumeSource
    prediction: VolumeSource
    scored: VolumeSource | None = None
    positive: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    threshold: float | None = None
    image: VolumeSource | None = None

    def open(self) -> tuple[Volume, Volume]:
        """Return the two volumes, once it is sure that they can be compared."""
        truth, found = self.truth.open(), self.prediction.open()
        same_space(truth.space, found.space)
        check_same_voxels(CountOverlaps(self.truth, self.prediction, self.scored))
        return truth, found

    def scene(self, labels: bool) -> Scene:
        """Return what can be shown around an error."""
        volumes = {} if self.image is None else {"image": self.image}
        volumes |= {"truth": self.truth, "prediction": self.prediction}
        size = max(self.truth.open().voxel_size)
        shown = frozenset({"truth", "prediction"} if labels else {"truth"})
        return Scene(volumes, shown, radius_um=32 * size)


def blocks_of(volume: Volume) -> BlockGrid:
    """Cut a volume into blocks, the same whatever the machine; of whole chunks if it is large."""
    shape = np.clip(-(-np.asarray(volume.shape) // 4), SMALLEST_BLOCK, LARGEST_BLOCK)
    if volume.box.size > SMALL:
        chunk = np.minimum(volume.chunks, LARGEST_BLOCK)
        shape = np.minimum(-(-shape // chunk) * chunk, LARGEST_BLOCK)
    return BlockGrid(volume.box, triple(np.minimum(shape, volume.shape)))


def count_overlaps(step: CountOverlaps, job: Job, work: Path) -> TableSink:
    """Count the overlaps in each block, and return where the tables lie."""
    grid = blocks_of(step.truth.open())
    sink = TableSink(str(work / "overlaps"))
    job.run(step, grid, sink, work / "ledger")
    return sink


def tables_of(sink: TableSink) -> Iterator[Contingency]:
    """Yield the tables of the blocks, in the order of the grid; one at a time is in memory."""
    for table in sink.tables():
        yield table_of(table)


def place_um(volume: Volume, place: int) -> tuple[float, float, float]:
    """Return where the voxel with an index in C order lies [um]."""
    voxel = np.unravel_index(place, volume.shape)
    z, y, x = (float(v) for v in volume.affine([np.asarray(voxel, np.float64)])[0])
    return z, y, x
