"""Verbs that ask what lies in the regions of an atlas: measure, heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from projectome.cli.addresses import source_of
from projectome.cli.atlas import Name
from projectome.cli.console import STDERR, answer, note, table
from projectome.cli.options import TalkOptions, VolumeOptions, WriteOptions, numbers, verb
from projectome.cli.outputs import check_free
from projectome.errors import FormatError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from projectome.core.atlas import Atlas

app = typer.Typer(rich_markup_mode=None)
TABLES = (".csv", ".parquet")
SHOWN = 20
"""Regions that are printed; the table has all."""
FIRST = ("count", "length_um", "length_tissue_um", "mean", "volume_mm3")
"""Columns by which regions are ranked, and which are drawn if none is named."""
ADDED_UP = ("count", "length", "terminals", "voxels", "sum", "volume")
"""Beginnings of the names of columns whose rows may be added up."""


@dataclass(frozen=True)
class OwnAtlasOptions:
    """What tells which atlas, beside its name.

    Attributes
    ----------
    table
        Regions of your own label volume: CSV or JSON.
    midline
        Where the midline of your own labels lies along the axis from side to side [um].
    resolution
        Take the coarsest level of the atlas that is at least as fine as this [um].
    """

    panel: ClassVar[str] = "Atlas"

    table: str | None = None
    midline: float | None = None
    resolution: float | None = None


def opened(name: str, options: OwnAtlasOptions, talk: TalkOptions) -> Atlas:
    """Return the atlas that the user means, and say what is doubtful about it."""
    from projectome.workflows.atlas import open_atlas

    atlas = open_atlas(name, table=options.table, midline_um=options.midline)
    for problem in () if talk.json or talk.quiet else atlas.problems:
        STDERR.print(str(problem), style="yellow")
    return atlas if options.resolution is None else atlas.at(voxel_size=options.resolution)


@verb(app)
def measure(
    atlas: Name,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Points, skeletons or a volume.")],
    out: Annotated[Path, typer.Option(metavar="TABLE", help="Table to write, .csv or .parquet.")],
    which: OwnAtlasOptions,
    volume: VolumeOptions,
    write: WriteOptions,
    talk: TalkOptions,
    registration: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="DIR",
            help="What register wrote, for a FILE that lies in the scan; in the atlas without it.",
        ),
    ] = None,
    kind: Annotated[
        Literal["volume", "points", "skeletons"] | None,
        typer.Option(
            metavar="volume|points|skeletons", help="What FILE is; by its name if left out."
        ),
    ] = None,
    ccf: Annotated[
        bool,
        typer.Option(
            "--ccf",
            help="Coordinates as BrainGlobe and the Allen write them: x, y, z along the first, "
            "second and third axis of the atlas, from its outer corner.",
        ),
    ] = False,
    within: Annotated[
        float,
        typer.Option(metavar="UM", help="Points outside take a region that is no farther."),
    ] = 0.0,
    threshold: Annotated[
        float, typer.Option(metavar="X", help="Voxels of a volume above it are signal.")
    ] = 0.0,
    scale: Annotated[
        float | None,
        typer.Option(metavar="X", help="Micrometres in one unit of the coordinates of skeletons."),
    ] = None,
    each: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Also write every point with its region."),
    ] = None,
) -> None:
    """Measure what lies in regions and hemispheres: points, cable, the voxels of an image.

    Rows of hemisphere 3 are about both; region 0 is outside all. Parents hold their children.
    """
    check_free(out, write.overwrite, TABLES)
    if each is not None:
        check_free(each, write.overwrite, TABLES)
    from projectome.io.points import write_points
    from projectome.io.tables import write_table
    from projectome.workflows.published import open_registration
    from projectome.workflows.regions import region_contents

    saved = None if registration is None else open_registration(registration)[0]
    found = opened(atlas, which, talk)
    done = region_contents(
        source_of(file, volume),
        found,
        kind=kind,
        registration=saved,
        ccf=ccf,
        within_um=within,
        threshold=threshold,
        scale=scale,
    )
    if each is not None and done.points is None:
        raise ParameterError(f"--each is about points; {file} holds {done.kind}.")
    write_table(done.table, out)
    if each is not None and done.points is not None:
        write_points(done.points, each, overwrite=True)
    document = {
        "out": str(out),
        "atlas": found.name,
        "kind": done.kind,
        "rows": len(done.table),
        "problems": done.problems,
        "regions": done.table.to_dict("records"),
    }
    answer(talk, document, _largest(done.table))
    for problem in () if talk.json else done.problems[:SHOWN]:
        STDERR.print(str(problem), style="yellow")
    note(talk, f"wrote {out}: {len(done.table):,} rows")


def _largest(frame: pd.DataFrame) -> str:
    """Return the regions that hold most, left, right and both."""
    if not len(frame):
        return ""
    column = next(name for name in FIRST if name in frame)
    sums = frame.groupby(["region_id", "acronym", "name", "hemisphere"], dropna=False, sort=False)[
        column
    ]
    wide = (sums.sum() if column.startswith(ADDED_UP) else sums.max()).unstack("hemisphere")
    names = {0: column, 1: "left", 2: "right", 3: "both"}
    sides = [side for side in names if side in wide]
    largest = wide[sides[-1]].fillna(0).sort_values(ascending=False, kind="stable")
    ranked = wide.fillna(0).loc[largest.index[:SHOWN]].reset_index()
    rows = [
        (row["acronym"] or "-", *(f"{row[side]:,.6g}" for side in sides), row["name"])
        for row in ranked.to_dict("records")
    ]
    title = f"{column}: " if len(sides) > 1 else ""
    heads = [title * (k == 0) + names[side] for k, side in enumerate(sides)]
    return table(("region", *heads, "name"), rows)


@verb(app)
def heatmap(
    atlas: Name,
    values: Annotated[
        str,
        typer.Argument(
            metavar="TABLE", help="Table with region_id or acronym, as `atlas measure` writes it."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Picture to write.")],
    which: OwnAtlasOptions,
    write: WriteOptions,
    talk: TalkOptions,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column to draw; count, length or mean if left out."),
    ] = None,
    of: Annotated[
        Literal["sum", "mean", "max"] | None,
        typer.Option(
            metavar="sum|mean|max", help="What to draw of several rows of one region and side."
        ),
    ] = None,
    sides: Annotated[
        bool,
        typer.Option("--sides/--both", help="Draw left and right with values of their own."),
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(metavar="Z,Y,X", help="Point that the planes go through [um]."),
    ] = None,
    limits: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Values of the ends of the scale.")
    ] = None,
    colours: Annotated[str, typer.Option(metavar="NAME", help="Colour map.")] = "magma",
) -> None:
    """Draw a value of each region in three planes of an atlas."""
    check_free(out, write.overwrite, (".png",))
    from projectome.io.tables import read_table
    from projectome.plots.heatmaps import heatmap_figure
    from projectome.plots.style import save
    from projectome.workflows.region_values import region_values

    frame = read_table(values)
    named = column or next((name for name in FIRST if name in frame), None)
    if named is None:
        raise FormatError(
            f"{values} has none of the columns {', '.join(FIRST)}; name one with --column: "
            f"{', '.join(map(str, frame.columns))}."
        )
    found = opened(atlas, which, talk)
    drawn = region_values(frame, named, found, how=of, sides=sides, where=values)
    place = None if at is None else numbers(at, count=3)
    ends = None if limits is None else numbers(limits, count=2)
    figure = heatmap_figure(
        found,
        drawn[0],
        right=drawn[1] if sides else None,
        at_um=None if place is None else (place[0], place[1], place[2]),
        label=named if of is None else f"{of} of {named}",
        title=f"{found.name} \u00b7 {Path(values).name}",
        colours=colours,
        limits=None if ends is None else (ends[0], ends[1]),
    )
    save(figure, out)
    answer(talk, {"out": str(out), "column": named, "regions": max(map(len, drawn))})
    note(talk, f"wrote {out}")
