"""From an image to a table of somata."""

from __future__ import annotations

from pathlib import Path

from projectome.core.points import Points
from projectome.core.provenance import Record
from projectome.detection.steps import DetectSomata
from projectome.engine.sinks import TableSink
from projectome.workflows.job import Job
from projectome.workflows.segment import made_by


def detect_somata(
    step: DetectSomata, *, work: Path, ledger: Path, job: Job
) -> tuple[Points, Record]:
    """Find the somata of a volume.

    Parameters
    ----------
    step
        The image and the parameters.
    work
        Folder for what is needed on the way.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.

    Returns
    -------
    somata
        Sorted by place, with ``id`` from 1 on, ``radius_um`` and ``score``; the same whatever the
        blocks.
    record
        What made them.
    """
    volume = step.image.open()
    grid = job.grid(step, volume.shape, chunks=64, ledger=ledger)
    sink = TableSink(str(work / "somata"))
    job.run(step, grid, sink, ledger)
    zyx = ["z_um", "y_um", "x_um"]
    table = sink.read().sort_values(zyx, ignore_index=True)
    columns = {name: table[name].to_numpy() for name in table.columns if name not in zyx}
    ids = {"id": table.index.to_numpy() + 1}
    return Points(table[zyx].to_numpy(), volume.space, {**ids, **columns}), made_by(step)
