"""Verbs that do everything: reconstruct, trace, report, demo."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from projectome.cli.addresses import source_of
from projectome.cli.console import answer, facts, note, start_log, table
from projectome.cli.options import RunOptions, StepOptions, TalkOptions, VolumeOptions, verb
from projectome.cli.progress import Reporter, job_of
from projectome.datasets.phantom import PRESETS
from projectome.detection.steps import DetectSomata
from projectome.segmentation.steps import NeuriteProbability
from projectome.workflows.reconstruct import Recipe, plan, reconstruct
from projectome.workflows.report import write_report
from projectome.workflows.segment import Labelling
from projectome.workflows.study import STAGES, Study
from projectome.workflows.trace import Tracing

app = typer.Typer(rich_markup_mode=None)
FOUND = ("background", "scale")
Somata = Annotated[dict[str, Any], StepOptions(DetectSomata, "Somata", skip=FOUND)]
Probability = Annotated[dict[str, Any], StepOptions(NeuriteProbability, "Neurites", skip=FOUND)]
Labels = Annotated[dict[str, Any], StepOptions(Labelling, "Neurites")]
Trace = Annotated[dict[str, Any], StepOptions(Tracing, "Tracing")]
Url = Annotated[str, typer.Argument(metavar="URL", help="The volume.")]
Folder = Annotated[Path, typer.Option(metavar="STUDY", help="Folder of the study.")]
StartAt = Annotated[
    str | None,
    typer.Option(
        metavar="STAGE", help=f"Do this stage and all after it again: {', '.join(STAGES)}."
    ),
]


@verb(app, "reconstruct")
def reconstruct_(
    url: Url,
    out: Folder,
    volume: VolumeOptions,
    somata: Somata,
    probability: Probability,
    labels: Labels,
    tracing: Trace,
    run: RunOptions,
    talk: TalkOptions,
    start_at: StartAt = None,
) -> None:
    """Find somata, segment and trace neurites, join them into neurons, and write a report."""
    recipe = Recipe(somata, {**probability, **labels}, tracing)
    run_study(url, out, volume, recipe, run, talk, start_at)


@verb(app)
def trace(
    url: Url,
    out: Folder,
    volume: VolumeOptions,
    somata: Somata,
    probability: Probability,
    labels: Labels,
    tracing: Trace,
    run: RunOptions,
    talk: TalkOptions,
    seeds: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            exists=True,
            dir_okay=False,
            help="Somata to use instead of detecting them, .parquet or .csv.",
            rich_help_panel="Somata",
        ),
    ] = None,
    start_at: StartAt = None,
) -> None:
    """Trace neurons from given somata: the main job without their detection."""
    recipe = Recipe(
        somata, {**probability, **labels}, tracing, seeds=None if seeds is None else str(seeds)
    )
    run_study(url, out, volume, recipe, run, talk, start_at)


def run_study(
    url: str,
    out: Path,
    volume: VolumeOptions,
    recipe: Recipe,
    run: RunOptions,
    talk: TalkOptions,
    start_at: str | None,
) -> None:
    """Reconstruct, or say what that would take."""
    source = source_of(url, volume)
    if run.plan:
        planned = plan(source, recipe, job_of(run))
        answer(talk, planned, facts(planned))
        return
    began = time.monotonic()
    source.open()
    Study(out).check_free(overwrite=run.overwrite)  # before the log is begun there
    start_log(Study(out).log)
    with Reporter(talk) as reporter:
        study = reconstruct(
            source, out, recipe=recipe, job=job_of(run, reporter), start_at=start_at
        )
    seconds = time.monotonic() - began
    summary = study.summary()
    document = {"study": str(study.folder), "seconds": round(seconds, 1), **summary}
    answer(talk, document, facts(summary))
    note(talk, f"{seconds:.0f} s. Open {study.report}")


@verb(app)
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")],
    talk: TalkOptions,
) -> None:
    """Write the report of a study again from its tables and figures."""
    path = write_report(Study(folder))
    answer(talk, {"report": str(path)})
    note(talk, f"wrote {path}")


@verb(app)
def demo(
    run: RunOptions,
    talk: TalkOptions,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to make.")] = Path("demo"),
    size: Annotated[
        Literal["tiny", "small", "demo"],
        typer.Option(metavar="tiny|small|demo", help="Size of the phantom brain."),
    ] = "demo",
    seed: Annotated[int, typer.Option(metavar="N", help="Which phantom brain.")] = 0,
) -> None:
    """Make a phantom brain, reconstruct it, score the result and name the report."""
    from projectome.workflows.demo import SOMA_DISTANCE, run_demo

    if run.plan:
        planned = {"folder": str(out), **demo_plan(size)}
        answer(talk, planned, facts(planned))
        return
    began = time.monotonic()
    start_log(out / "demo.log")
    with Reporter(talk) as reporter:
        study, scores = run_demo(out, size=size, seed=seed, job=job_of(run, reporter))
    cable, found = scores.cable, scores.somata
    near = f"somata within {SOMA_DISTANCE:g} um"
    rows = [
        (f"cable within {scores.distance_um:g} um", cable.recall, cable.precision, cable.f1),
        (near, float(found.recall), float(found.precision), float(found.f1)),
    ]
    answer(
        talk,
        {"study": str(study.folder), "report": str(study.report), **scores.document()},
        table(("against the truth", "recall", "precision", "F1"), rows),
    )
    note(talk, f"{time.monotonic() - began:.0f} s. Open {study.report}")


def demo_plan(size: str) -> dict[str, Any]:
    """Return what the demonstration of a size works on."""
    shape, neurons = PRESETS[size]
    return {"voxels": shape, "neurons": neurons, "image_bytes": 2 * math.prod(shape)}
