"""Verbs that do everything: reconstruct, report, demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from projectome.cli.addresses import source_of
from projectome.cli.console import answer, note, start_log, table
from projectome.cli.options import (
    RunOptions,
    StepOptions,
    TalkOptions,
    VolumeOptions,
    flatten,
)
from projectome.cli.progress import Reporter, job_of
from projectome.detection.steps import DetectSomata
from projectome.segmentation.steps import NeuriteProbability
from projectome.settings import format_bytes
from projectome.workflows.reconstruct import Recipe, plan, reconstruct
from projectome.workflows.report import write_report
from projectome.workflows.segment import Labelling
from projectome.workflows.study import STAGES, Study
from projectome.workflows.trace import Tracing

app = typer.Typer()
FOUND = ("background", "scale")
Somata = Annotated[dict[str, Any], StepOptions(DetectSomata, "Somata", skip=FOUND)]
Probability = Annotated[dict[str, Any], StepOptions(NeuriteProbability, "Neurites", skip=FOUND)]
Labels = Annotated[dict[str, Any], StepOptions(Labelling, "Neurites")]
Trace = Annotated[dict[str, Any], StepOptions(Tracing, "Tracing")]


@app.command(name="reconstruct")
@flatten
def reconstruct_(
    url: Annotated[str, typer.Argument(help="The volume.")],
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    volume: VolumeOptions,
    somata: Somata,
    probability: Probability,
    labels: Labels,
    trace: Trace,
    run: RunOptions,
    talk: TalkOptions,
    start_at: Annotated[
        str | None, typer.Option(help=f"Do this stage and all after it again: {', '.join(STAGES)}.")
    ] = None,
) -> None:
    """Find somata, segment and trace neurites, join them into neurons, and write a report."""
    run_study(
        url, out, volume, Recipe(somata, {**probability, **labels}, trace), run, talk, start_at
    )


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
        rows = [(name.replace("_", " "), _cell(name, value)) for name, value in planned.items()]
        answer(talk, planned, table(f"Plan for {url}", ("what", "value"), rows))
        return
    began = time.monotonic()
    start_log(Study(out).log)
    with Reporter(talk) as reporter:
        study = reconstruct(
            source, out, recipe=recipe, job=job_of(run, reporter), start_at=start_at
        )
    _finish(study, talk, time.monotonic() - began)


def _cell(name: str, value: object) -> str:
    return format_bytes(float(value)) if name.endswith("bytes") else str(value)  # type: ignore[arg-type]


def _finish(study: Study, talk: TalkOptions, seconds: float) -> None:
    summary = study.summary()
    document = {"study": str(study.folder), "seconds": round(seconds, 1), **summary}
    rows = [(name.replace("_", " "), value) for name, value in summary.items()]
    answer(talk, document, table(str(study.folder), ("what", "value"), rows))
    note(talk, f"{seconds:.0f} s. Open {study.report}")


@app.command()
@flatten
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")],
    talk: TalkOptions,
) -> None:
    """Write the report of a study again from its tables and figures."""
    path = write_report(Study(folder))
    answer(talk, {"report": str(path)})
    note(talk, f"wrote {path}")


@app.command()
@flatten
def demo(
    run: RunOptions,
    talk: TalkOptions,
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("demo"),
    size: Annotated[
        Literal["tiny", "small", "demo"], typer.Option(help="Size of the phantom brain.")
    ] = "demo",
    seed: Annotated[int, typer.Option(help="Which phantom brain.")] = 0,
) -> None:
    """Make a phantom brain, reconstruct it, score the result and name the report."""
    from projectome.workflows.demo import run_demo

    began = time.monotonic()
    start_log(out / "demo.log")
    with Reporter(talk) as reporter:
        study, scores = run_demo(out, size=size, seed=seed, job=job_of(run, reporter))
    cable, found = scores.cable, scores.somata
    rows = [
        (f"cable within {scores.distance_um:g} um", cable.recall, cable.precision, cable.f1),
        ("somata within 15 um", found.recall, found.precision, found.f1),
    ]
    answer(
        talk,
        {"study": str(study.folder), "report": str(study.report), **scores.document()},
        table("Against the truth", ("what", "recall", "precision", "F1"), rows),
    )
    note(talk, f"{time.monotonic() - began:.0f} s. Open {study.report}")
