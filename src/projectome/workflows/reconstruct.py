"""The main job: a volume in, traced neurons, tables, figures and a report out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from projectome.core.points import Points
from projectome.core.provenance import plain
from projectome.detection.steps import DetectSomata
from projectome.engine.grid import memory_budget, worker_count
from projectome.errors import UnknownNameError
from projectome.imaging.normalise import Normalisation, estimate_normalisation, sample_boxes
from projectome.io.source import VolumeSource
from projectome.io.tables import read_points, write_points
from projectome.segmentation.noise import NoiseMap, measure_noise
from projectome.segmentation.steps import NeuriteProbability, sigmas_of
from projectome.workflows.detect import detect_somata
from projectome.workflows.figures import write_figures
from projectome.workflows.job import Job
from projectome.workflows.report import write_report
from projectome.workflows.segment import (
    Labelling,
    is_finished,
    labels_record,
    made_by,
    storage,
    write_labels,
    write_probability,
)
from projectome.workflows.study import STAGES, Study
from projectome.workflows.trace import Tracing, trace_labels, write_neurons

NOISE_SAMPLES = 8
"""Boxes along each axis in which noise is measured."""
CONTRAST = 18.0
"""Tube response that gives a probability of one half, in levels of noise."""


@dataclass(frozen=True)
class Recipe:
    """What the user decides of a reconstruction; the rest follows from the image.

    Attributes
    ----------
    detect
        Fields of `DetectSomata`.
    segment
        Fields of `NeuriteProbability` and `Labelling`.
    trace
        Fields of `Tracing`.
    seeds
        Table of somata to use instead of detecting them.
    """

    detect: Mapping[str, Any] = field(default_factory=dict)
    segment: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)
    seeds: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A recipe with everything decided.

    Attributes
    ----------
    source
        The image.
    normalisation
        Its background and scale.
    detection, probability
        The steps of these names.
    labelling, tracing
        Parameters of these stages.
    seeds
        Table of somata to use.
    """

    source: VolumeSource
    normalisation: Normalisation
    detection: DetectSomata
    probability: NeuriteProbability
    labelling: Labelling
    tracing: Tracing
    seeds: str | None = None

    def document(self) -> dict[str, Any]:
        """Return what study.toml holds."""
        volume = self.source.open()
        pyramid = self.source.pyramid()
        space = volume.space
        return {
            "input": {
                "url": self.source.url,
                "level": self.source.level,
                "channel": self.source.channel,
                "fingerprint": self.source.fingerprint(),
                "said": dict(pyramid.metadata.get("user", {})),  # type: ignore[call-overload]
                "problems": [str(problem) for problem in pyramid.problems],
            },
            "volume": {
                "shape": volume.shape,
                "voxel_size_um": volume.voxel_size,
                "translation_um": volume.affine.translation,
                "space": space.name,
                "orientation": space.code(meaning="toward"),
                "orientation_meaning": "toward",
                "expansion": space.expansion,
            },
            "normalise": plain(self.normalisation),
            "detect": {**chosen(self.detection), "seeds": self.seeds},
            "segment": {**chosen(self.probability), **chosen(self.labelling)},
            "trace": plain(self.tracing),
        }


def chosen(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, without what is measured."""
    names = [item.name for item in fields(value)]
    measured = ("image", "background", "scale", "noise")
    return {name: getattr(value, name) for name in names if name not in measured}


def resolve_recipe(source: VolumeSource, recipe: Recipe) -> Resolved:
    """Decide everything that a recipe leaves open, from a sample of the image.

    Parameters
    ----------
    source
        The image.
    recipe
        What the user decides.

    Returns
    -------
    Resolved
        The same for the same image and recipe.

    Raises
    ------
    DataError
        If the image is constant where it was sampled.
    UnknownNameError
        If a field does not exist.
    """
    volume = source.open()
    grey = estimate_normalisation(volume)
    given = dict(recipe.segment)
    labelling = {f.name: given.pop(f.name) for f in fields(Labelling) if f.name in given}
    neurite_um = given.pop("neurite_um", ())
    contrast = given.pop("contrast", CONTRAST)
    for name in given:
        known = {f.name for f in fields(Labelling)} | {"neurite_um", "contrast"}
        raise UnknownNameError("parameter of segmentation", name, known)
    blank = NoiseMap(((0.0,), (0.0,), (0.0,)), (1.0,))
    sizes = NeuriteProbability(source, blank, contrast, neurite_um).neurite_um
    noise = measure_noise(
        volume,
        sigmas_of(sizes, volume.voxel_size),
        sample_boxes(volume, an_axis=NOISE_SAMPLES),
        threads=worker_count(),
    )
    return Resolved(
        source,
        grey,
        DetectSomata(source, grey.background, grey.scale, **recipe.detect),
        NeuriteProbability(source, noise, contrast, sizes),
        Labelling(**labelling),
        Tracing(**recipe.trace).resolved(volume.voxel_size),
        recipe.seeds,
    )


def reconstruct(
    source: VolumeSource,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    job: Job | None = None,
    start_at: str | None = None,
) -> Study:
    """Find somata, segment and trace neurites, join them into neurons, and write a report.

    Killed at any moment and called again, it goes on where it was and ends in the same bytes.

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
    DataError
        If the image holds nothing to trace.
    RunError
        If blocks fail, or the memory does not suffice; what is done is kept.
    """
    job = job or Job()
    again = stages_from(start_at)
    study = Study(Path(folder))
    with job.open() as job:
        with job.stage("normalise", 1, len(STAGES)):
            resolved = resolve_recipe(source, recipe or Recipe())
            study.begin(resolved.document(), overwrite=job.overwrite)
        with job.stage("detect", 2, len(STAGES)):
            somata = _detect(study, resolved, job, again="detect" in again)
        with job.stage("segment", 3, len(STAGES)):
            _segment(study, resolved, job, again="segment" in again)
        with job.stage("trace", 4, len(STAGES)):
            _trace(study, resolved, somata, job)
        with job.stage("report", 5, len(STAGES)):
            write_report(study)
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


def _detect(study: Study, resolved: Resolved, job: Job, *, again: bool) -> Points:
    """Find somata, or take those given, and write the table."""
    space = resolved.source.open().space
    if resolved.seeds is not None:
        somata = read_points(resolved.seeds, space=space)
        write_points(somata, study.somata)
        return somata
    ledger = renewed(study.ledger / "detect", again)
    somata, record = detect_somata(
        resolved.detection,
        work=study.work / "detect",
        ledger=ledger,
        job=job,
    )
    write_points(somata, study.somata)
    study.record({study.somata.name: record})
    return somata


def _segment(study: Study, resolved: Resolved, job: Job, *, again: bool) -> None:
    """Write probability and labels, unless they are there."""
    ledger = renewed(study.ledger / "segment", again)
    if again:
        for old in (study.probability, study.labels, study.work / "segment"):
            shutil.rmtree(old, ignore_errors=True)
    made = made_by(resolved.probability)
    if not is_finished(study.probability, made.key):
        write_probability(resolved.probability, study.probability, ledger=ledger, job=job)
        study.record({study.probability.name: made})
    labels = labels_record(study.probability, resolved.labelling)
    if not is_finished(study.labels, labels.key):
        write_labels(
            study.probability,
            resolved.labelling,
            study.labels,
            work=study.work / "segment",
            ledger=ledger,
            job=job,
        )
        study.record({study.labels.name: labels})


def _trace(study: Study, resolved: Resolved, somata: Points, job: Job) -> None:
    """Trace neurons and draw the figures."""
    traced = trace_labels(
        study.labels,
        study.probability,
        somata,
        resolved.tracing,
        work=study.work / "trace",
        ledger=study.ledger / "trace",
        job=job,
    )
    table = write_neurons(traced, study.swc_folder, study.neurons, study.audit)
    skeletons = [neuron.skeleton for neuron in traced.neurons]
    figures = write_figures(study.figures, resolved.source, skeletons, table, somata)
    names = [study.neurons.name, study.audit.name, study.swc_folder.name]
    names += [f"{study.figures.name}/{path.name}" for path in figures]
    study.record(dict.fromkeys(names, traced.record))


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
