"""Verbs for one step at a time: detect, segment, trace, path, measure."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Annotated

import typer

from projectome.cli.addresses import parse_point, source_of
from projectome.cli.console import answer, note, start_verb_log, table
from projectome.cli.options import RunOptions, TalkOptions, VolumeOptions, flatten
from projectome.cli.progress import Reporter, job_of
from projectome.cli.study import Labels, Probability, Somata, Trace, run_study
from projectome.errors import OutputExistsError
from projectome.io.skeletons.swc import write_swc
from projectome.io.tables import write_points, write_table
from projectome.workflows.reconstruct import Recipe, resolve_recipe

app = typer.Typer()
Url = Annotated[str, typer.Argument(help="The volume.")]
SwcOut = Annotated[Path, typer.Option(help="SWC file to write.")]


def work_folder(out: Path) -> Path:
    """Return the folder beside an output that holds marks and intermediate results."""
    return out.with_name(f".{out.name}.work")


def check_free(out: Path, overwrite: bool) -> None:
    """Refuse an output that exists already.

    Raises
    ------
    OutputExistsError
        With the way out.
    """
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out} exists. Choose another output, or add --overwrite.")


@app.command()
@flatten
def detect(
    url: Url,
    out: Annotated[Path, typer.Option(help="Table of somata to write, .parquet or .csv.")],
    volume: VolumeOptions,
    somata: Somata,
    run: RunOptions,
    talk: TalkOptions,
) -> None:
    """Find somata and write their centres, radii and scores."""
    from projectome.detection.steps import DetectSomata
    from projectome.imaging.normalise import estimate_normalisation
    from projectome.workflows.detect import detect_somata

    check_free(out, run.overwrite)
    source = source_of(url, volume)
    start_verb_log("detect")
    work = work_folder(out)
    with Reporter(talk) as reporter, job_of(run, reporter).open() as job:
        grey = estimate_normalisation(source.open())
        step = DetectSomata(source, grey.background, grey.scale, **somata)
        found, record = detect_somata(step, work=work, ledger=work / "ledger", job=job)
    write_points(found, out)
    shutil.rmtree(work, ignore_errors=True)
    answer(talk, {"out": str(out), "somata": len(found), "made_by": record.key})
    note(talk, f"{len(found)} somata in {out}")


@app.command()
@flatten
def segment(
    url: Url,
    out: Annotated[Path, typer.Option(help="OME-Zarr of labels to write.")],
    volume: VolumeOptions,
    probability: Probability,
    labels: Labels,
    run: RunOptions,
    talk: TalkOptions,
    classical: Annotated[
        bool, typer.Option("--classical", help="Tubeness and hysteresis (the only method yet).")
    ] = True,
) -> None:
    """Label neurites: tubeness at several scales, thresholds with hysteresis, components."""
    from projectome.workflows.segment import write_labels, write_probability

    check_free(out, run.overwrite)
    source = source_of(url, volume)
    start_verb_log("segment")
    work = work_folder(out)
    resolved = resolve_recipe(source, Recipe(segment={**probability, **labels}))
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


@app.command()
@flatten
def trace(
    url: Url,
    out: Annotated[Path, typer.Option(help="Folder to write, a study.")],
    volume: VolumeOptions,
    somata: Somata,
    probability: Probability,
    labels: Labels,
    tracing: Trace,
    run: RunOptions,
    talk: TalkOptions,
    seeds: Annotated[
        Path | None, typer.Option(help="Table of somata to use instead of detecting them.")
    ] = None,
) -> None:
    """Trace neurons, from given somata if there are any: the main job with your own somata."""
    recipe = Recipe(somata, {**probability, **labels}, tracing, str(seeds) if seeds else None)
    run_study(url, out, volume, recipe, run, talk, None)


@app.command()
@flatten
def path(
    url: Url,
    out: SwcOut,
    volume: VolumeOptions,
    talk: TalkOptions,
    start: Annotated[
        str, typer.Option("--from", help="First point z,y,x [um, or voxels with px].")
    ],
    stop: Annotated[str, typer.Option("--to", help="Last point z,y,x.")],
    via: Annotated[
        list[str] | None, typer.Option(help="Points in between, in order; may be repeated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Find the path of least cost through two points or more; only a corridor is read."""
    from projectome.workflows.path import path_skeleton

    check_free(out, overwrite)
    source = source_of(url, volume)
    finest = source.pyramid()[0]
    points = [parse_point(text, finest) for text in (start, *(via or []), stop)]
    skeleton, found = path_skeleton(source, points)
    write_swc(skeleton, out)
    document = {
        "out": str(out),
        "length_um": skeleton.cable_length,
        "cost": found.cost,
        "no_path_outside_below": found.bound if math.isfinite(found.bound) else None,
        "voxels_read": found.voxels_read,
        "bytes_read": found.bytes_read,
    }
    answer(talk, document)
    share = found.voxels_read / source.open().box.size
    note(
        talk,
        f"{skeleton.cable_length:.1f} um in {len(skeleton)} nodes, read {share:.1%} of the volume; "
        f"no path outside is cheaper. Wrote {out}",
    )


@app.command()
@flatten
def measure(
    neurons: Annotated[
        Path, typer.Argument(metavar="NEURONS", help="SWC file, folder of SWC files, or study.")
    ],
    out: Annotated[Path, typer.Option(help="Table to write, .csv or .parquet.")],
    talk: TalkOptions,
) -> None:
    """Measure the morphology of traced neurons, in micrometres of tissue."""
    from projectome.workflows.measure import measure_files, swc_files

    rows, problems = measure_files(swc_files(neurons))
    write_table(rows, out)
    shown = ["file", "length_tissue_um", "ends", "branches"]
    made = table(f"{len(rows)} neurons", shown, rows[shown].head(20).to_numpy().tolist())
    answer(talk, {"out": str(out), "neurons": rows.to_dict("records")}, made)
    for problem in problems[:10]:
        note(talk, str(problem))
    note(talk, f"wrote {out}")
