"""Verbs for one step at a time: detect, segment, path, measure."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from projectome.cli.addresses import parse_point, source_of
from projectome.cli.console import answer, facts, note, start_verb_log, table
from projectome.cli.options import RunOptions, TalkOptions, VolumeOptions, WriteOptions, verb
from projectome.cli.outputs import check_free, work_folder
from projectome.cli.progress import Reporter, job_of
from projectome.cli.study import Labels, Probability, Somata, Url
from projectome.engine.grid import worker_count
from projectome.io.points import write_points
from projectome.io.skeletons.swc import write_swc
from projectome.io.tables import write_table
from projectome.settings import memory_budget
from projectome.workflows.reconstruct import Recipe, plan, resolve_recipe

app = typer.Typer(rich_markup_mode=None)
TABLES = (".parquet", ".csv")
POINT = "um, or level-0 voxels with px"
SHOWN = 20
"""Neurons that `measure` prints; all of them go into the table."""


@verb(app)
def detect(
    url: Url,
    out: Annotated[
        Path, typer.Option(metavar="TABLE", help="Table of somata to write, .parquet or .csv.")
    ],
    volume: VolumeOptions,
    somata: Somata,
    run: RunOptions,
    talk: TalkOptions,
) -> None:
    """Find somata and write their centres, radii and scores."""
    from projectome.detection.steps import DetectSomata
    from projectome.imaging.normalise import estimate_normalisation
    from projectome.workflows.detect import detect_somata

    source = source_of(url, volume)
    check_free(out, run.overwrite or run.plan, TABLES)
    grey = estimate_normalisation(source.open())
    step = DetectSomata(source, grey.background, grey.scale, **somata)
    work = work_folder(out)
    if run.plan:
        shape = source.open().shape
        grid = job_of(run).grid(step, shape, chunks=64, ledger=work / "ledger")
        planned: dict[str, Any] = {
            "voxels": math.prod(shape),
            "blocks": len(grid),
            "voxels_a_block": grid.block_shape,
            "workers": worker_count(run.workers),
            "memory_budget_bytes": memory_budget(run.memory),
            "read_bytes": source.open().nbytes,
        }
        answer(talk, planned, facts(planned))
        return
    start_verb_log("detect")
    with Reporter(talk) as reporter, job_of(run, reporter).open() as job:
        found, record = detect_somata(step, work=work, ledger=work / "ledger", job=job)
    write_points(found, out)
    shutil.rmtree(work, ignore_errors=True)
    answer(talk, {"out": str(out), "somata": len(found), "made_by": record.key})
    note(talk, f"{len(found):,} somata in {out}")


@verb(app)
def segment(
    url: Url,
    out: Annotated[Path, typer.Option(metavar="ZARR", help="OME-Zarr of labels to write.")],
    volume: VolumeOptions,
    probability: Probability,
    labels: Labels,
    run: RunOptions,
    talk: TalkOptions,
) -> None:
    """Label neurites: tubeness at several scales, thresholds with hysteresis, components."""
    from projectome.workflows.segment import write_labels, write_probability

    source = source_of(url, volume)
    check_free(out, run.overwrite or run.plan, (".zarr",))
    recipe = Recipe(segment={**probability, **labels})
    if run.plan:
        planned = plan(source, recipe, job_of(run))
        answer(talk, planned, facts(planned))
        return
    start_verb_log("segment")
    work = work_folder(out)
    resolved = resolve_recipe(source, recipe)
    between = work / "probability.ome.zarr"
    with Reporter(talk) as reporter, job_of(run, reporter).open() as job:
        write_probability(resolved.probability, between, ledger=work / "ledger", job=job)
        record = write_labels(
            between,
            resolved.labelling,
            out,
            work=work / "labels",
            ledger=work / "ledger",
            job=job,
        )
    shutil.rmtree(work, ignore_errors=True)
    answer(talk, {"out": str(out), "low": resolved.labelling.low, "made_by": record.key})
    note(talk, f"labels in {out}")


@verb(app)
def path(
    url: Url,
    out: Annotated[Path, typer.Option(metavar="SWC", help="SWC file to write.")],
    volume: VolumeOptions,
    write: WriteOptions,
    talk: TalkOptions,
    start: Annotated[str, typer.Option("--from", metavar="Z,Y,X", help=f"First point [{POINT}].")],
    stop: Annotated[str, typer.Option("--to", metavar="Z,Y,X", help=f"Last point [{POINT}].")],
    via: Annotated[
        list[str] | None,
        typer.Option(metavar="Z,Y,X", help=f"Point in between, in order; any number [{POINT}]."),
    ] = None,
) -> None:
    """Find the path of least cost through two points or more; only a corridor is read."""
    from projectome.tracing.path import trace_path

    check_free(out, write.overwrite, (".swc",))
    source = source_of(url, volume)
    finest = source.pyramid()[0]
    points = [parse_point(text, finest) for text in (start, *(via or []), stop)]
    found = trace_path(source.open(), points)
    skeleton = found.to_skeleton()
    write_swc(skeleton, out)
    share = found.voxels_read / source.open().box.size
    document = {
        "out": str(out),
        "length_um": skeleton.cable_length,
        "nodes": len(skeleton),
        "cost": found.cost,
        "no_path_outside_below": found.bound,
        "voxels_read": found.voxels_read,
        "bytes_read": found.bytes_read,
        "share_read": share,
    }
    answer(talk, document)
    note(
        talk,
        f"wrote {out}: {skeleton.cable_length:,.1f} um in {len(skeleton):,} nodes; read "
        f"{share:.1%} of the volume, no path outside is cheaper",
    )


@dataclass(frozen=True)
class SkeletonOptions:
    """What files of skeletons do not say.

    Attributes
    ----------
    scale
        Micrometres in one unit of the coordinates.
    radius_scale
        Micrometres in one unit of the radii.
    expansion
        Micrometres of the files for one micrometre of tissue.
    """

    panel: ClassVar[str] = "Input"

    scale: float | None = None
    radius_scale: float | None = None
    expansion: float | None = None


@verb(app)
def measure(
    neurons: Annotated[
        str,
        typer.Argument(
            metavar="NEURONS",
            help="Skeletons of any format: a file, a folder, an archive, or a study.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="TABLE", help="Table to write, .csv or .parquet.")],
    said: SkeletonOptions,
    write: WriteOptions,
    talk: TalkOptions,
) -> None:
    """Measure the morphology of traced neurons, in micrometres of tissue."""
    from projectome.workflows.measure import measure_files, neuron_files

    check_free(out, write.overwrite, TABLES)
    rows, problems = measure_files(neuron_files(neurons), **asdict(said))
    write_table(rows, out)
    columns = ("file", "length_tissue_um", "ends", "branches")
    first = rows[list(columns)].head(SHOWN).itertuples(index=False, name=None)
    document = {"out": str(out), "neurons": rows.to_dict("records"), "problems": problems}
    answer(talk, document, table(columns, list(first)))
    for problem in problems[:10]:
        note(talk, str(problem))
    if len(problems) > 10:
        note(talk, f"and {len(problems) - 10} more; --json lists all")
    more = f", {len(rows) - SHOWN:,} of them not shown" if len(rows) > SHOWN else ""
    note(talk, f"wrote {out}: {len(rows):,} neurons{more}")
