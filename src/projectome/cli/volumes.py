"""The verb that writes volumes: convert."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from projectome.cli.addresses import parse_box, source_of
from projectome.cli.console import answer, note, start_verb_log, table
from projectome.cli.look import describe
from projectome.cli.options import RunOptions, TalkOptions, VolumeOptions, flatten
from projectome.cli.progress import Reporter
from projectome.settings import format_bytes

app = typer.Typer()
LAYOUT = "Output"


@app.command()
@flatten
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The volume to read.")],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="What to write: NAME.ome.zarr, or NAME.tif.")
    ],
    volume: VolumeOptions,
    run: RunOptions,
    talk: TalkOptions,
    box: Annotated[
        str | None,
        typer.Option(help="Part to copy, z0:z1,y0:y1,x0:x1 [um, or level-0 voxels with px]."),
    ] = None,
    permute: Annotated[
        str | None,
        typer.Option(help="Turn the axes to run toward these, for instance PIR.", metavar="CODE"),
    ] = None,
    zarr_version: Annotated[
        Literal["0.4", "0.5"],
        typer.Option(help="Version of OME-Zarr; 0.5 is sharded.", rich_help_panel=LAYOUT),
    ] = "0.4",
    labels: Annotated[
        bool,
        typer.Option("--labels", help="The voxels are labels.", rich_help_panel=LAYOUT),
    ] = False,
    levels: Annotated[
        int | None, typer.Option(help="Levels of the pyramid.", rich_help_panel=LAYOUT)
    ] = None,
) -> None:
    """Copy a volume into OME-Zarr or TIFF. No voxel moves or changes unless you say so."""
    from projectome.workflows.convert import convert as copy

    address = source_of(source, volume)
    finest = address.pyramid()[0]
    part = parse_box(box, finest) if box else None
    if run.plan:
        size = (part or finest.box).size * max(1, len(finest.channels)) * finest.dtype.itemsize
        planned: dict[str, Any] = {
            "source": source,
            "destination": destination,
            "voxels": (part or finest.box).size,
            "bytes": size,
        }
        rows = [(k, format_bytes(v) if k == "bytes" else str(v)) for k, v in planned.items()]
        answer(talk, planned, table("Plan", ("what", "value"), rows))
        return
    start_verb_log("convert")
    with Reporter(talk) as reporter:
        written = copy(
            address,
            destination,
            box=part,
            permute=permute,
            kind="labels" if labels else None,
            version=zarr_version,
            levels=levels,
            overwrite=run.overwrite,
            executor=run.executor,
            workers=run.workers,
            memory=run.memory,
            on_event=reporter,
        )
    answer(talk, {"destination": destination, **describe(written)})
    note(talk, f"wrote {destination}: {len(written)} levels")
