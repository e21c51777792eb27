"""The verb that scores: evaluate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, cast

import typer

from projectome.cli.addresses import address_of, source_of
from projectome.cli.console import answer, facts, note, table
from projectome.cli.options import RunOptions, TalkOptions, VolumeOptions, verb
from projectome.cli.progress import Reporter, job_of
from projectome.workflows.evaluate import Comparison
from projectome.workflows.evaluation import COUNTED, KINDS, Evaluation, Kind

app = typer.Typer(rich_markup_mode=None)
SHOWN = 10
"""Errors and rows of details that are printed; --json and --report have more."""


@dataclass(frozen=True)
class EvaluateRunOptions(RunOptions):
    """Where and how to run: counting is done by threads that share what is read."""

    executor: str = "threads"


@verb(app)
def evaluate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="The truth.")],
    prediction: Annotated[
        str, typer.Argument(metavar="PREDICTION", help="What is scored; of any format.")
    ],
    how: Comparison,
    volume: VolumeOptions,
    run: EvaluateRunOptions,
    talk: TalkOptions,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for a page with curves and the worst errors, each with a way to look.",
            rich_help_panel="Answer",
        ),
    ] = None,
) -> None:
    """Score a prediction against the truth: figures with intervals, counts and the worst errors."""
    from projectome.workflows.evaluate import evaluate as score
    from projectome.workflows.evaluate_report import check_page, write_evaluation

    if report is not None:
        check_page(report, overwrite=run.overwrite)
    addresses = [address_of(url, volume) for url in (truth, prediction)]
    if run.plan:
        planned = {"kind": kind, "truth": addresses[0], "prediction": addresses[1]}
        answer(talk, planned, facts(planned))
        return
    with Reporter(replace(talk, quiet=True)) as reporter:
        found = score(
            cast(Kind, kind),
            addresses[0],
            addresses[1],
            how=how,
            like=source_of("", volume),
            job=job_of(run, reporter),
        )
    document = found.document()
    if report is not None:
        page = write_evaluation(found, report, overwrite=run.overwrite)
        document["report"] = str(page)
    answer(talk, document, text_of(found))
    for text in found.notes:
        note(talk, f"not computed: {text}")
    if report is not None:
        note(talk, f"wrote {page}")


def text_of(found: Evaluation) -> str:
    """Return an evaluation for people."""
    figures = [
        (f.name, *map(_text, (f.value, f.low, f.high)), f"{f.n:,} {f.of}" if f.n else "")
        for f in found.figures
    ]
    heading = (found.kind, f"{'value':>9}", f"{'95 % from':>9}", f"{'to':>9}", "of")
    parts = [table(heading, figures), facts(found.counts)]
    if found.table:
        rows = found.table[:SHOWN]
        parts.append(table(tuple(rows[0]), [tuple(row.values()) for row in rows]))
    if found.errors:
        worst = [
            (
                f"{e.what}: {e.name}",
                "" if e.unit in COUNTED else f"{e.size:,.6g} {e.unit}",
                ", ".join(f"{v:.6g}" for v in e.point_um),
            )
            for e in found.errors[:SHOWN]
        ]
        more = f"\n{found.errors_in_all:,} errors in all"
        parts.append(table(("worst errors", "size", "at z, y, x [um]"), worst) + more)
    return "\n\n".join(parts)


def _text(value: float) -> str:
    """Return a figure with its own four digits: shares and micrometres share a column."""
    if math.isnan(value):
        return f"{'-':>9}"
    return f"{value:>9,.1f}" if 1000 <= abs(value) < math.inf else f"{value:>9.4g}"
