"""From an image to neurite probability and instance labels."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from projectome.core.box import BlockGrid, Triple
from projectome.core.provenance import Record, digest, plain
from projectome.engine.sinks import ArraySink, Sinks, TableSink
from projectome.engine.step import BlockStep, parameters
from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.tables import write_table
from projectome.io.volumes.ngff_write import Version
from projectome.io.volumes.write import VolumeWriter, create_volume
from projectome.segmentation.components import merge_fragments
from projectome.segmentation.steps import LabelBlocks, MatchFaces, NeuriteProbability, Renumber
from projectome.workflows.job import Job

LARGE = 2048**3
"""Volumes of more voxels are written in shards, so that no folder holds millions of files."""


@dataclass(frozen=True)
class Labelling:
    """How neurite probability becomes labels.

    Attributes
    ----------
    low
        Voxels with at least this probability can belong to a neurite.
    high
        A neurite needs a voxel with at least this probability.
    min_voxels
        A neurite needs at least so many voxels.
    """

    low: float = 0.25
    high: float = 0.5
    min_voxels: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ParameterError(
                f"Probabilities have to keep 0 < low <= high <= 1, not {self.low}, {self.high}."
            )


def storage(shape: Triple) -> tuple[Version, Triple]:
    """Return the OME-Zarr version for outputs of a shape, and what a block has to write whole."""
    z, y, x = shape
    return ("0.5", (256, 256, 256)) if z * y * x > LARGE else ("0.4", (64, 64, 64))


def made_by(step: BlockStep) -> Record:
    """Return the record of what a step makes."""
    inputs = dict(zip(map(str, range(9)), step.fingerprints(), strict=False))
    return Record(f"{step.name}/{step.version}", parameters(step), inputs)


def labels_record(probability: Path, labelling: Labelling) -> Record:
    """Return the record of the labels that a probability gives."""
    settings = plain(labelling)
    assert isinstance(settings, dict)
    return Record(
        "labels/1", settings, {"probability": VolumeSource(str(probability)).fingerprint()}
    )


def write_probability(step: NeuriteProbability, out: Path, *, ledger: Path, job: Job) -> Record:
    """Write the neurite probability of a volume as OME-Zarr, and return what made it.

    Parameters
    ----------
    step
        The image and the parameters.
    out
        Where.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.
    """
    volume = step.image.open()
    version, chunks = storage(volume.shape)
    record = made_by(step)
    writer = create_volume(
        str(out),
        shape=volume.shape,
        dtype="uint8",
        affine=volume.affine,
        version=version,
        provenance=record.key,
        overwrite=job.overwrite,
    )
    grid = job.grid(step, volume.shape, chunks=chunks, ledger=ledger)
    job.run(step, grid, ArraySink(writer), ledger)
    writer.finish()
    return record


def write_labels(
    probability: Path, labelling: Labelling, out: Path, *, work: Path, ledger: Path, job: Job
) -> Record:
    """Write instance labels as OME-Zarr, and return what made them.

    Components are those of the whole volume: they do not depend on blocks, workers or memory.

    Parameters
    ----------
    probability
        OME-Zarr of `write_probability`.
    labelling
        Thresholds.
    out
        Where.
    work
        Folder for what is needed on the way; removed at the end.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.
    """
    source = VolumeSource(str(probability))
    volume = source.open()
    version, chunks = storage(volume.shape)
    record = labels_record(probability, labelling)

    def create(url: Path, levels: int | None) -> VolumeWriter:
        return create_volume(
            str(url),
            shape=volume.shape,
            dtype="uint32",
            affine=volume.affine,
            version=version,
            kind="labels",
            levels=levels,
            provenance=record.key,
            overwrite=job.overwrite,
        )

    grid = job.grid(LabelBlocks, volume.shape, chunks=chunks, ledger=ledger)
    local, rows = work / "fragments.ome.zarr", TableSink(str(work / "fragments"))
    if not is_finished(local, record.key):
        writer = create(local, levels=1)
        sinks = Sinks({"labels": ArraySink(writer), "fragments": rows})
        job.run(LabelBlocks(source, grid, labelling.low), grid, sinks, ledger)
        writer.finish()
    fragments = VolumeSource(str(local))
    match = MatchFaces(fragments, grid)
    touching = TableSink(str(work / "faces"))
    job.run(match, BlockGrid(grid.domain, grid.block_shape, match.halo()), touching, ledger)

    mapping = merge_fragments(
        rows.read(),
        touching.read()[["here", "there"]].to_numpy("uint64"),
        high=labelling.high,
        min_voxels=labelling.min_voxels,
    )
    table = work / "mapping.parquet"
    write_table(mapping, table)
    key = digest([record.key, mapping["label"].tolist()])
    writer = create(out, levels=None)
    job.run(Renumber(fragments, grid, str(table), key), grid, ArraySink(writer), ledger)
    writer.finish()
    shutil.rmtree(work, ignore_errors=True)
    return record


def is_finished(url: Path, key: str) -> bool:
    """Say whether a volume is there and was made by the record with that key."""
    try:
        return open_volume(str(url)).metadata.get("provenance") == key
    except (NotFoundError, FormatError):
        return False
