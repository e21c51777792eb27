"""From any volume that can be read to any that can be written; the voxels stay what they are."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from projectome.core.box import BlockGrid, Box, triple
from projectome.core.provenance import Record, plain
from projectome.core.volume import Kind, Pyramid, Volume
from projectome.engine.events import BlockDone, OnEvent, RunFinished, RunReport, RunStarted
from projectome.engine.executors import Executor
from projectome.engine.run import peak_rss, run
from projectome.engine.sinks import ArraySink, Sink, Sinks, TableSink
from projectome.engine.step import parameters
from projectome.errors import ParameterError
from projectome.io import stores
from projectome.io.ahead import read_ahead
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.encoded import StoredChunks, stored_chunks
from projectome.io.volumes.ngff_write import Version
from projectome.io.volumes.precomputed_write import Encoding
from projectome.io.volumes.write import CHUNKS, VolumeWriter, copy_block, provenance_of
from projectome.workflows.copying import (
    ChunkSink,
    CopyAndWitness,
    CopyBlocks,
    CopyChunks,
    Witness,
    check_copy,
    hash_of,
    seen_by,
)
from projectome.workflows.job import Job

PRECOMPUTED = "precomputed://"
FILES = {
    "tiff": ((".tif", ".tiff"), "projectome.io.volumes.tiff_write:write_tiff"),
    "nifti": ((".nii", ".nii.gz"), "projectome.io.volumes.nifti_write:write_nifti"),
    "nrrd": ((".nrrd",), "projectome.io.volumes.nrrd_write:write_nrrd"),
    "hdf5": ((".h5", ".hdf5"), "projectome.io.volumes.hdf5_write:write_hdf5"),
    "npy": ((".npy",), "projectome.io.volumes.npy_write:write_npy"),
}
"""Formats that are one file: how names end, and what writes them."""
THREE_AXES = ("nifti", "nrrd")
"""Formats whose readers expect three axes: a single channel needs none of its own."""
VOLUMES = {
    "ome-zarr": "projectome.io.volumes.write:create_volume",
    "precomputed": "projectome.io.volumes.precomputed_write:create_precomputed",
}
"""Formats that are written block by block, and what begins them."""
KEPT_CHUNKS = ((64, 64, 64), (128, 128, 128))
"""Chunks that are good for a copy as well."""


def convert(
    source: VolumeSource,
    destination: str,
    *,
    box: Box | None = None,
    box_um: tuple[ArrayLike, ArrayLike] | None = None,
    permute: str | None = None,
    resample_um: ArrayLike | None = None,
    kind: Kind | None = None,
    version: Version = "0.4",
    chunks: ArrayLike | None = None,
    shards: ArrayLike | None = None,
    encoding: Encoding | None = None,
    levels: int | None = None,
    overwrite: bool = False,
    verify: bool = False,
    executor: str | Executor = "threads",
    workers: int | None = None,
    memory: int | str | None = None,
    on_event: OnEvent | None = None,
) -> Pyramid:
    """Write a volume in another format, or a part of it.

    No voxel changes its value or its place in the world, unless `resample_um` asks for other
    voxels. With `permute` the axes are turned: the array holds the same voxels in another order,
    and the coordinate along an axis that is turned round changes its sign (see
    `projectome.core.view.reorient`).

    Parameters
    ----------
    source
        What to convert: address, level, and channel; all channels if it names none.
    destination
        Its ending says the format. ``.zarr``: OME-Zarr at a path, s3:// or gs:// address;
        ``precomputed://ADDRESS``: neuroglancer precomputed there; and local files: ``.tif`` and
        ``.tiff`` (OME-TIFF), ``.nii`` and ``.nii.gz`` (NIfTI), ``.nrrd``, ``.h5`` (HDF5) and
        ``.npy``. How an object store is asked is up to the settings.
    box
        Part to convert, in voxels of level 0 whatever the level; a voxel of another level belongs
        to it if its centre does.
    box_um
        Part to convert, as its corners (z, y, x) [um] in the volume's physical space.
    permute
        Orientation code of the result, three of L R A P S I for z, y and x, each naming the
        direction in which the coordinate increases. The orientation of the source has to be known.
    resample_um
        Size of a voxel of the result: one number, or three (z, y, x) after `permute` [um]. The
        coarsest level that is at least as fine is taken, if the source names level 0; see
        `projectome.imaging.resample.resample`.
    kind
        What the voxels are, which decides between means and modes in the pyramid; as the source
        says if None.
    version
        Of OME-Zarr.
    chunks
        Voxels a chunk; 64^3 if None, or those of the source if it is Zarr of version 2 with chunks
        of 64^3 or 128^3 and nothing is cut, turned or resampled. Chunks that stay the same are
        copied as they lie, without decoding them.
    shards
        Voxels of a file with many chunks: of OME-Zarr 0.5, see
        `projectome.io.volumes.write.create_volume`, and of precomputed, see
        `projectome.io.volumes.precomputed_write.create_precomputed`.
    encoding
        Of precomputed, see there.
    levels
        How many, where the format has several.
    overwrite
        Replace what is there. Without it, an unfinished output of the same conversion is gone on
        with, and a finished one is returned as it is.
    verify
        Read level 0 of the output again and hold it against hashes of what was read; of an output
        that is there already, against its source, which is read once more.
    executor, workers, memory, on_event
        See `projectome.engine.run.run`. Files are written by one process.

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
    DataError
        If the output does not hold what was read.
    """
    source, size = _at_size(source, resample_um)
    step = CopyBlocks(source, _voxels(source, box, box_um), permute, size)
    volume = step.volume()
    form, place = format_of(destination)
    if form in THREE_AXES and len(volume.channels) == 1:
        step = replace(step, source=replace(source, channel=0))
        volume = step.volume()
    volume = volume if kind is None else replace(volume, kind=kind)
    if form in FILES:
        _check_whole(form, chunks=chunks, shards=shards, encoding=encoding, levels=levels)
        witness = Witness(volume.array)
        seen = replace(volume, array=witness) if verify else volume
        _write_file(form, seen, place, overwrite=overwrite, on_event=on_event)
        written = open_volume(place, **_words(form, volume))
        check_copy(written[0], witness.seen, place)
        return written
    job = Job(executor, workers, memory, on_event, overwrite)
    layout: dict[str, Any] = {"chunks": CHUNKS if chunks is None else chunks, "levels": levels}
    stored = _as_they_lie(step, form, version, chunks)
    if form == "ome-zarr":
        _check_whole(form, encoding=encoding)
        layout |= {"version": version, "shards": shards}
    else:
        layout |= {"shards": shards, "encoding": encoding}
    if stored is not None:
        layout |= {"chunks": stored.shape, "codec": stored.codec}
    step = replace(step, seen=step.fingerprints())  # which takes requests: once
    settings = parameters(step) | {name: plain(value) for name, value in layout.items()}
    inputs = dict(zip(("source", "channels"), step.seen, strict=False))
    record = Record(f"convert/{form}/{step.version}", settings | {"kind": volume.kind}, inputs)
    if not overwrite and provenance_of(place) == record.key:
        written = open_volume(place)
        if verify:
            _check_again(step.volume(), written[0], place)
        return written
    writer: VolumeWriter = _function(VOLUMES[form])(
        place,
        shape=volume.shape,
        dtype=volume.dtype,
        affine=volume.affine,
        kind=volume.kind,
        channels=volume.channels,
        overwrite=overwrite,
        provenance=record.key,
        **layout,
    )
    return _write_blocks(step, writer, job, encoded=stored is not None, verify=verify)


def _write_blocks(
    step: CopyBlocks, writer: VolumeWriter, job: Job, *, encoded: bool, verify: bool
) -> Pyramid:
    """Copy block by block, build the coarser levels, and hold the copy against what was read."""
    fields = step.source, step.box, step.permute, step.resample, step.seen
    hashes = TableSink(stores.join(writer.ledger, "hashes"))
    copying, sink = step, cast(Sink, ArraySink(writer))
    if verify:  # which has to decode what it copies
        copying = CopyAndWitness(*fields)
        sink = Sinks({"voxels": ArraySink(writer), "hashes": hashes})
    elif encoded:
        copying, sink = CopyChunks(*fields), ChunkSink(writer)
    volume = step.volume()
    grid = BlockGrid(volume.box, copy_block(volume, writer.block_multiple))
    with job.stage("copy", 1, 2):
        run(
            copying,
            grid,
            sink=sink,
            ledger=writer.ledger,
            executor=job.executor,
            workers=job.workers,
            memory=job.memory,
            on_event=job.on_event,
        )
    seen = seen_by(hashes.read()) if verify else {}
    with job.stage("levels", 2, 2):
        written = writer.finish()
    check_copy(written[0], seen, writer.url)
    return written


def _check_again(volume: Volume, written: Volume, place: str) -> None:
    """Hold a copy that was there already against its source, which is read again."""
    blocks = BlockGrid(volume.box, copy_block(volume, triple(written.chunks[-3:])))
    for box, voxels in read_ahead(volume, (block.core for block in blocks)):
        check_copy(written, {(box, None): hash_of(voxels)}, place)


def _as_they_lie(
    step: CopyBlocks, form: str, version: Version, chunks: ArrayLike | None
) -> StoredChunks | None:
    """Return the chunks of the source, if the copy can have the same."""
    if (
        form != "ome-zarr"
        or version != "0.4"
        or (step.box, step.permute, step.resample) != (None,) * 3
    ):
        return None
    volume = step.volume()
    stored = stored_chunks(volume.array)
    if stored is None:
        return None
    wanted = KEPT_CHUNKS if chunks is None else (triple(chunks, name="chunks"),)
    same = any(stored.shape == want for want in wanted)
    whole = all(c <= n for c, n in zip(stored.shape, volume.shape, strict=True))
    return stored if same and whole else None


def format_of(destination: str) -> tuple[str, str]:
    """Return the format that an address of an output asks for, and the address without prefix.

    Raises
    ------
    ParameterError
        If it is not clear.
    """
    if destination.startswith(PRECOMPUTED):
        return "precomputed", destination.removeprefix(PRECOMPUTED)
    name = destination.rstrip("/").lower()
    if name.endswith(".zarr"):
        return "ome-zarr", destination
    for form, (endings, _) in FILES.items():
        if name.endswith(endings):
            return form, destination
    known = ", ".join(ending for names, _ in FILES.values() for ending in names)
    raise ParameterError(
        f"The format of {destination} is not clear. End the name in .zarr or .ome.zarr for "
        f"OME-Zarr, or in {known}; or write {PRECOMPUTED}ADDRESS."
    )


def _check_whole(form: str, **given: object) -> None:
    """Refuse what is said of the inside of a format that has no such thing."""
    said = [name for name, value in given.items() if value is not None]
    if said:
        raise ParameterError(
            f"A volume in {form} has no {' or '.join(said)} to choose. Leave that out, or write "
            "OME-Zarr or precomputed."
        )


def _function(place: str) -> Any:
    """Import a function when it is needed: the libraries behind some are large."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def _words(form: str, volume: Volume) -> dict[str, Any]:
    """Return what has to be said to open a file that cannot say it itself."""
    if form != "npy":
        return {}
    z, y, x = volume.voxel_size
    return {"voxel_size": (z, y, x), "axes": "czyx" if volume.channels else "zyx"}


def _at_size(
    source: VolumeSource, size: ArrayLike | None
) -> tuple[VolumeSource, tuple[float, float, float] | None]:
    """Return the level to make voxels of a size from, and the size as three numbers."""
    if size is None:
        return source, None
    wanted = np.broadcast_to(np.asarray(size, dtype=np.float64), 3)
    if source.level == 0:
        levels = list(source.pyramid())
        fine = [k for k, v in enumerate(levels) if max(v.voxel_size) <= 1.01 * wanted.min()]
        source = replace(source, level=max(fine, default=0))
    z, y, x = wanted.tolist()
    return source, (z, y, x)


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


def _write_file(
    form: str, volume: Volume, path: str, *, overwrite: bool, on_event: OnEvent | None
) -> None:
    """Write a file and tell of it plane by plane, as a run does of its blocks."""
    write = _function(FILES[form][1])
    tell: OnEvent = on_event if on_event is not None else lambda event: None
    grid = BlockGrid(volume.box, (1, *volume.shape[1:]))
    total = len(grid) * max(1, len(volume.channels))
    began = last = time.monotonic()
    planes = 0

    def on_progress(done: int, whole: int) -> None:
        nonlocal planes, last
        now = time.monotonic()
        reached = done * total // whole
        for plane in range(planes, reached):
            pace = (now - last) / (reached - planes)
            tell(BlockDone(CopyBlocks.name, grid.nth(plane % len(grid)), pace))
        if reached > planes:
            planes, last = reached, now

    tell(RunStarted(CopyBlocks.name, total, 0, 1))
    write(volume, path, overwrite=overwrite, on_progress=on_progress)
    report = RunReport(total, planes, 0, 0, time.monotonic() - began, peak_rss())
    tell(RunFinished(CopyBlocks.name, report))
