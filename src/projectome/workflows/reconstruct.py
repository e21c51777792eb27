"""The main job: a volume in, traced neurons, tables, figures and a report out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from projectome.core.provenance import Record
from projectome.engine.grid import worker_count
from projectome.errors import UnknownNameError
from projectome.io.points import read_points, write_points
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.io.tables import read_table
from projectome.settings import memory_budget
from projectome.workflows.detect import detect_somata
from projectome.workflows.figures import write_figures
from projectome.workflows.job import Job
from projectome.workflows.recipe import Recipe, Resolved, resolve_recipe, seeds_record
from projectome.workflows.report import write_report
from projectome.workflows.segment import made_by, storage, write_labels, write_probability
from projectome.workflows.study import STAGES, Study, as_plain
from projectome.workflows.trace import trace_labels, trace_record, write_neurons

__all__ = ["Recipe", "plan", "reconstruct", "resolve_recipe", "stages_from"]


def reconstruct(
    source: VolumeSource,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    job: Job | None = None,
    start_at: str | None = None,
) -> Study:
    """Find somata, segment and trace neurites, join them into neurons, and write a report.

    Killed at any moment and called again, it goes on where it was and ends in the same bytes. What
    is finished is not done again.

    Parameters
    ----------
    source
        The image.
    folder
        The study; see the documentation for what is in it.
    recipe
        Parameters; what is left out follows from the image.
    job
        Where and how to run.
    start_at
        Do this stage and all after it again; one of `STAGES`.

    Returns
    -------
    Study
        The finished study.

    Raises
    ------
    OutputExistsError
        If the folder holds another study, or something else.
    OutputBusyError
        If somebody else works on the study.
    DataError
        If the image holds nothing to trace.
    RunError
        If blocks fail, or the memory does not suffice; what is done is kept.
    """
    job = job or Job()
    again = stages_from(start_at)
    study = Study(Path(folder))
    study.check_free(overwrite=job.overwrite)
    source.open()  # before anything is written
    with study.lock():
        with job.stage("normalise", 1, len(STAGES)):
            known = None if "normalise" in again else study
            resolved = resolve_recipe(source, recipe or Recipe(), study=known)
            study.begin(resolved.document(), overwrite=job.overwrite)
        with job.open() as crew:
            with job.stage("detect", 2, len(STAGES)):
                _detect(study, resolved, crew, again="detect" in again)
            with job.stage("segment", 3, len(STAGES)):
                _segment(study, resolved, crew, again="segment" in again)
            with job.stage("trace", 4, len(STAGES)):
                _trace(study, resolved, crew, again="trace" in again)
        with job.stage("report", 5, len(STAGES)):
            _report(study, resolved, again="report" in again)
        study.tidy()
    return study


def stages_from(start_at: str | None) -> tuple[str, ...]:
    """Return the stages to do again.

    Raises
    ------
    UnknownNameError
        If there is no such stage.
    """
    if start_at is None:
        return ()
    if start_at not in STAGES:
        raise UnknownNameError("stage", start_at, STAGES)
    return STAGES[STAGES.index(start_at) :]


def _detect(study: Study, resolved: Resolved, job: Job, *, again: bool) -> None:
    """Find somata, or take those given, and write the table."""
    if resolved.seeds is not None:
        somata = resolved.read_seeds()
        record = seeds_record(somata)
        if again or not study.holds(record, study.somata.name):
            write_points(somata, study.somata)
    else:
        record = made_by(resolved.detection)
        ledger = renewed(study.ledger / "detect", again)
        if again or not study.holds(record, study.somata.name):
            somata, _ = detect_somata(
                resolved.detection, work=study.work / "detect", ledger=ledger, job=job
            )
            write_points(somata, study.somata)
    study.record({study.somata.name: record})


def _segment(study: Study, resolved: Resolved, job: Job, *, again: bool) -> None:
    """Write probability and labels."""
    ledger = renewed(study.ledger / "segment", again)
    record = write_probability(
        resolved.probability, study.probability, ledger=ledger, job=job, anew=again
    )
    study.record({study.probability.name: record})
    record = write_labels(
        study.probability,
        resolved.labelling,
        study.labels,
        work=study.work / "segment",
        ledger=ledger,
        job=job,
        anew=again,
    )
    study.record({study.labels.name: record})


def _trace(study: Study, resolved: Resolved, job: Job, *, again: bool) -> None:
    """Write neurons, their table and the audit."""
    somata = read_points(study.somata)
    record = trace_record(study.labels, somata, resolved.tracing)
    names = (study.neurons.name, study.audit.name, study.swc_folder.name)
    ledger = renewed(study.ledger / "trace", again)
    if again or not study.holds(record, *names) or not _complete(study):
        traced = trace_labels(
            study.labels,
            study.probability,
            somata,
            resolved.tracing,
            work=study.work / "trace",
            ledger=ledger,
            job=job,
        )
        write_neurons(traced, study.swc_folder, study.neurons, study.audit)
    study.record(dict.fromkeys(names, record))


def _complete(study: Study) -> bool:
    """Say whether every row of the table of neurons has its file, and no more."""
    ids = read_table(study.neurons, columns=["id"])["id"].tolist()
    return ids == [int(path.stem) for path in study.swc_files()]


def _report(study: Study, resolved: Resolved, *, again: bool) -> None:
    """Draw the figures and write the report."""
    somata = read_points(study.somata)
    traced = trace_record(study.labels, somata, resolved.tracing)
    told = {k: v for k, v in as_plain(resolved.document()).items() if k != "input"}
    record = Record(
        "report/1", told, {"image": resolved.source.fingerprint(), "traces": traced.key}
    )
    names = (study.figures.name, study.report.name)
    if again or not study.holds(record, *names):
        skeletons = [read_swc(path).skeleton for path in study.swc_files()]
        write_figures(study.figures, resolved.source, skeletons, read_table(study.neurons), somata)
        write_report(study)
    study.record(dict.fromkeys(names, record))


def renewed(ledger: Path, again: bool) -> Path:
    """Return a ledger folder, emptied if its stage is to be done again."""
    if again:
        shutil.rmtree(ledger, ignore_errors=True)
    return ledger


def plan(source: VolumeSource, recipe: Recipe, job: Job) -> dict[str, Any]:
    """Say what a reconstruction would do and cost, without doing it.

    Parameters
    ----------
    source
        The image.
    recipe
        Parameters.
    job
        Where and how it would run.

    Returns
    -------
    dict
        Voxels, blocks, workers, memory and disk space.
    """
    volume = source.open()
    resolved = resolve_recipe(source, recipe)
    _, chunks = storage(volume.shape)
    grid = job.grid(resolved.probability, volume.shape, chunks=chunks, ledger=Path(".absent"))
    workers = worker_count(job.workers)
    return {
        "voxels": volume.box.size,
        "voxel_size_um": list(volume.voxel_size),
        "blocks": len(grid),
        "voxels_a_block": list(grid.block_shape),
        "workers": workers,
        "memory_budget_bytes": memory_budget(job.memory),
        "read_bytes": 2 * volume.nbytes,
        # Measured: labels and probability of sparse neurites, with their pyramids, compressed.
        "disk_bytes": int(volume.box.size * 0.6),
        "neurite_um": list(resolved.probability.neurite_um),
        "low": resolved.labelling.low,
        "high": resolved.labelling.high,
    }
