"""From any volume that can be read to OME-Zarr or OME-TIFF; the voxels stay what they are."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from projectome.core.box import Block, BlockGrid, Box
from projectome.core.provenance import Record, plain
from projectome.core.space import Space
from projectome.core.view import crop, reorient
from projectome.core.volume import Array, Kind, Pyramid, Volume
from projectome.engine.events import BlockDone, OnEvent, RunFinished, RunReport, RunStarted
from projectome.engine.executors import Executor
from projectome.engine.run import peak_rss, run
from projectome.engine.sinks import ArraySink
from projectome.engine.step import BlockStep, parameters
from projectome.errors import ParameterError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.ngff_write import Version
from projectome.io.volumes.tiff_write import write_tiff
from projectome.io.volumes.write import CHUNKS, copy_block, create_volume, provenance_of
from projectome.workflows.job import Job

TIFF = (".tif", ".tiff")
ZARR = (".zarr",)
BYTES_A_BYTE = 4
"""Memory that copying takes for each byte copied: read, turned, written, encoded."""


@dataclass(frozen=True)
class CopyBlocks(BlockStep):
    """Read the voxels of a volume, or of a part of it, with its axes turned if wanted.

    Attributes
    ----------
    source
        What to read; all channels if it names none.
    box
        Voxels of its level; all if None.
    permute
        Orientation code of the result, letters naming the direction in which each axis increases;
        as it is if None.
    """

    name: ClassVar[str] = "copy"

    source: VolumeSource
    box: Box | None = None
    permute: str | None = None

    def volume(self) -> Volume:
        """Return what is copied, lazily; opened once a process."""
        return _opened(self)

    def memory(self, block: Block) -> int:
        """Return an upper bound of the memory that one call takes [bytes]."""
        volume = self.volume()
        voxel = volume.dtype.itemsize * max(1, len(volume.channels))
        return block.read.size * voxel * BYTES_A_BYTE

    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprint of the source, which covers all channels."""
        if self.source.channel is None and self.volume().channels:
            return (replace(self.source, channel=0).fingerprint(), "all channels")
        return (self.source.fingerprint(),)

    def __call__(self, block: Block) -> Array:
        """Return the voxels of the core of a block."""
        return self.volume().read(block.core)


@functools.lru_cache(maxsize=8)
def _opened(step: CopyBlocks) -> Volume:
    source = step.source
    whole = source.channel is None
    volume = source.pyramid()[source.level] if whole else source.open()
    if step.box is not None:
        volume = crop(volume, step.box)
    if step.permute is not None:
        volume = reorient(volume, Space.from_code(step.permute, meaning="toward"))
    return volume


def convert(
    source: VolumeSource,
    destination: str,
    *,
    box: Box | None = None,
    box_um: tuple[ArrayLike, ArrayLike] | None = None,
    permute: str | None = None,
    kind: Kind | None = None,
    version: Version = "0.4",
    chunks: ArrayLike = CHUNKS,
    shards: ArrayLike | None = None,
    levels: int | None = None,
    overwrite: bool = False,
    executor: str | Executor = "serial",
    workers: int | None = None,
    memory: int | str | None = None,
    on_event: OnEvent | None = None,
) -> Pyramid:
    """Write a volume in another format, or a part of it.

    Nothing is resampled, and no voxel changes its value or its place in the world. With `permute`
    the axes are turned: the array holds the same voxels in another order, and the coordinate along
    an axis that is turned round changes its sign (see `projectome.core.view.reorient`).

    Parameters
    ----------
    source
        What to convert: address, level, and channel; all channels if it names none.
    destination
        A path, s3:// or gs:// address that ends in ``.zarr`` (OME-Zarr), or a local path that ends
        in ``.tif`` or ``.tiff`` (OME-TIFF). How an object store is asked is up to the settings.
    box
        Part to convert, in voxels of level 0 whatever the level; a voxel of another level belongs
        to it if its centre does.
    box_um
        Part to convert, as its corners (z, y, x) [um] in the volume's physical space.
    permute
        Orientation code of the result, three of L R A P S I for z, y and x, each naming the
        direction in which the coordinate increases. The orientation of the source has to be known.
    kind
        What the voxels are, which decides between means and modes in the pyramid; as the source
        says if None.
    version, chunks, shards, levels
        Of OME-Zarr, see `projectome.io.volumes.write.create_volume`.
    overwrite
        Replace what is there. Without it, an unfinished output of the same conversion is gone on
        with, and a finished one is returned as it is.
    executor, workers, memory, on_event
        See `projectome.engine.run.run`. A TIFF is written by one process.

    Returns
    -------
    Pyramid
        What was written, opened again.

    Raises
    ------
    ParameterError
        If the destination has another ending, or cannot hold the volume.
    OrientationUnknownError
        If axes are to be turned and their orientation is not known.
    OutputExistsError
        If something else is at the destination.
    ShapeError
        If the box is no part of the volume.
    """
    step = CopyBlocks(source, _voxels(source, box, box_um), permute)
    volume = step.volume()
    volume = volume if kind is None else replace(volume, kind=kind)
    if destination.lower().endswith(TIFF):
        _write_tiff(volume, destination, overwrite=overwrite, on_event=on_event)
        return open_volume(destination)
    if not destination.rstrip("/").lower().endswith(ZARR):
        raise ParameterError(
            f"The format of {destination} is not clear. End the name in .zarr or .ome.zarr for "
            "OME-Zarr, in .tif or .tiff for OME-TIFF."
        )
    layout = {"version": version, "chunks": chunks, "shards": shards, "levels": levels}
    settings = parameters(step) | {name: plain(value) for name, value in layout.items()}
    inputs = dict(zip(("source", "channels"), step.fingerprints(), strict=False))
    record = Record(f"convert/{step.version}", settings | {"kind": volume.kind}, inputs)
    if not overwrite and provenance_of(destination) == record.key:
        return open_volume(destination)
    writer = create_volume(
        destination,
        shape=volume.shape,
        dtype=volume.dtype,
        affine=volume.affine,
        chunks=chunks,
        shards=shards,
        version=version,
        kind=volume.kind,
        channels=volume.channels,
        levels=levels,
        overwrite=overwrite,
        provenance=record.key,
    )
    job = Job(executor, workers, memory, on_event)
    with job.stage("copy", 1, 2):
        run(
            step,
            BlockGrid(volume.box, copy_block(volume, writer.block_multiple)),
            sink=ArraySink(writer),
            ledger=writer.ledger,
            executor=executor,
            workers=workers,
            memory=memory,
            on_event=on_event,
        )
    with job.stage("levels", 2, 2):
        return writer.finish()


def _voxels(
    source: VolumeSource, box: Box | None, box_um: tuple[ArrayLike, ArrayLike] | None
) -> Box | None:
    """Return the part to convert in voxels of the level that is read."""
    if box is not None and box_um is not None:
        raise ParameterError("Give the box in voxels or in micrometres, not both.")
    if box_um is None and (box is None or source.level == 0):
        return box
    pyramid = source.pyramid()
    if box is not None:
        # A voxel reaches half a voxel to each side of its centre.
        edges = pyramid[0].affine(np.asarray(box.bounds) - 0.5)
        box_um = edges[0], edges[1]
    assert box_um is not None
    return pyramid[source.level].voxel_box(*box_um)


def _write_tiff(volume: Volume, path: str, *, overwrite: bool, on_event: OnEvent | None) -> None:
    """Write a TIFF and tell of it plane by plane, as a run does of its blocks."""
    tell: OnEvent = on_event if on_event is not None else lambda event: None
    grid = BlockGrid(volume.box, (1, *volume.shape[1:]))
    total = len(grid) * max(1, len(volume.channels))
    began = last = time.monotonic()
    planes = 0

    def on_progress(done: int, whole: int) -> None:
        nonlocal planes, last
        now = time.monotonic()
        tell(BlockDone(CopyBlocks.name, grid.nth(planes % len(grid)), now - last))
        planes, last = planes + 1, now

    tell(RunStarted(CopyBlocks.name, total, 0, 1))
    write_tiff(volume, path, overwrite=overwrite, on_progress=on_progress)
    report = RunReport(total, planes, 0, 0, time.monotonic() - began, peak_rss())
    tell(RunFinished(CopyBlocks.name, report))
