"""From an image to neurite probability and instance labels."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projectome.core.box import BlockGrid, Triple
from projectome.core.provenance import Record, digest, plain
from projectome.engine.sinks import ArraySink, Sinks, TableSink
from projectome.engine.step import BlockStep, Input, parameters
from projectome.errors import OutputExistsError, ParameterError
from projectome.io.source import VolumeSource
from projectome.io.tables import write_table
from projectome.io.volumes.ngff_write import Version
from projectome.io.volumes.write import VolumeWriter, create_volume, provenance_of
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
    ridge_share
        Voxels that respond less than this share as strongly as the strongest within two voxels are
        the halo of a neurite and no part of it.
    """

    low: float = 0.25
    high: float = 0.5
    min_voxels: int = 30
    ridge_share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ParameterError(
                f"Probabilities have to keep 0 < low <= high <= 1, not {self.low}, {self.high}."
            )
        if self.min_voxels < 1:
            raise ParameterError(f"min_voxels is 1 or more, not {self.min_voxels}.")
        if not 0 <= self.ridge_share <= 1:
            raise ParameterError(f"ridge_share lies between 0 and 1, not at {self.ridge_share}.")


def storage(shape: Triple) -> tuple[Version, Triple]:
    """Return the OME-Zarr version for outputs of a shape, and what a block has to write whole."""
    z, y, x = shape
    return ("0.5", (256, 256, 256)) if z * y * x > LARGE else ("0.4", (64, 64, 64))


def made_by(step: BlockStep) -> Record:
    """Return the record of what a step makes."""
    inputs = {
        item.name: value.fingerprint()
        for item in dataclasses.fields(step)  # type: ignore[arg-type]
        if isinstance(value := getattr(step, item.name), Input)
    }
    return Record(f"{step.name}/{step.version}", parameters(step), inputs)


def begin_volume(url: Path, *, anew: bool = False, **plan: Any) -> VolumeWriter:
    """Begin a volume of a study, or go on with it; what other parameters made gives way.

    Parameters
    ----------
    url
        Where; in a folder of which it is settled that it may be written to.
    anew
        Begin from the start in any case.
    **plan
        See `projectome.io.volumes.write.create_volume`.
    """
    if not anew:
        try:
            return create_volume(str(url), **plan)
        except OutputExistsError:
            pass
    return create_volume(str(url), overwrite=True, **plan)


def labels_record(probability: Path, labelling: Labelling) -> Record:
    """Return the record of the labels that a probability gives."""
    settings = plain(labelling)
    assert isinstance(settings, dict)
    return Record(
        "labels/1", settings, {"probability": VolumeSource(str(probability)).fingerprint()}
    )


def write_probability(
    step: NeuriteProbability, out: Path, *, ledger: Path, job: Job, anew: bool = False
) -> Record:
    """Write the neurite probability of a volume as OME-Zarr, and return what made it.

    Parameters
    ----------
    step
        The image and the parameters.
    out
        Where; what other parameters made there is replaced.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.
    anew
        Do it again, even if it is done.
    """
    record = made_by(step)
    if not anew and is_finished(out, record.key):
        return record
    volume = step.image.open()
    version, chunks = storage(volume.shape)
    writer = begin_volume(
        out,
        anew=anew,
        shape=volume.shape,
        dtype="uint8",
        affine=volume.affine,
        version=version,
        provenance=record.key,
    )
    grid = job.grid(step, volume.shape, chunks=chunks, ledger=ledger)
    job.run(step, grid, ArraySink(writer), ledger)
    writer.finish()
    return record


def write_labels(
    probability: Path,
    labelling: Labelling,
    out: Path,
    *,
    work: Path,
    ledger: Path,
    job: Job,
    anew: bool = False,
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
        Where; what other parameters made there is replaced.
    work
        Folder for what is needed on the way; removed at the end.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.
    anew
        Do it again, even if it is done.
    """
    record = labels_record(probability, labelling)
    if not anew and is_finished(out, record.key):
        return record
    source = VolumeSource(str(probability))
    volume = source.open()
    version, chunks = storage(volume.shape)
    common = {
        "shape": volume.shape,
        "dtype": "uint32",
        "affine": volume.affine,
        "version": version,
        "kind": "labels",
    }
    cut = job.grid(LabelBlocks, volume.shape, chunks=chunks, ledger=ledger)
    step = LabelBlocks(source, cut, labelling.low, labelling.ridge_share)
    grid = BlockGrid(cut.domain, cut.block_shape, step.halo())
    local, rows = work / "fragments.ome.zarr", TableSink(str(work / "fragments"))
    # Local numbers mean nothing but on the grid that they were made on.
    key = digest([record.key, plain(grid)])
    if anew or not is_finished(local, key):
        writer = begin_volume(local, anew=anew, levels=1, provenance=key, **common)
        sinks = Sinks({"labels": ArraySink(writer), "fragments": rows})
        job.run(step, grid, sinks, ledger)
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
    writer = begin_volume(out, anew=anew, provenance=record.key, **common)
    job.run(Renumber(fragments, grid, str(table), key), grid, ArraySink(writer), ledger)
    writer.finish()
    shutil.rmtree(work, ignore_errors=True)
    return record


def is_finished(url: Path, key: str) -> bool:
    """Say whether a volume is there and was made by the record with that key."""
    return provenance_of(str(url)) == key
