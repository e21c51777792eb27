"""Verbs that look at atlases: ls, info, regions, volumes, slice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from projectome.cli.console import STDERR, answer, note, table
from projectome.cli.options import FileOptions, StoreOptions, TalkOptions, WriteOptions, verb
from projectome.cli.outputs import check_free
from projectome.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

    from projectome.core.atlas import Atlas

app = typer.Typer(rich_markup_mode=None)
SHOWN = 60
"""Rows that are printed where nothing was asked for by name; --json and --out have all."""
Name = Annotated[
    str,
    typer.Argument(
        metavar="ATLAS",
        help="BrainGlobe name, folder or address in its layout, folder with the Allen's files, "
        "labels with --table, or phantom.",
    ),
]


@dataclass(frozen=True)
class AtlasOptions(StoreOptions):
    """What tells which atlas.

    Attributes
    ----------
    table
        Regions of your own label volume: CSV or JSON.
    resolution
        Take the coarsest level that is at least as fine as this [um].
    voxel_size
        Voxel size of a label file that does not state it Z,Y,X [um].
    orientation
        Anatomical code of the axes z, y, x of a label file; needs --meaning.
    meaning
        What a letter of the code names: where the axis runs toward, or comes from.
    midline
        Where the midline of your own labels lies along the axis from side to side [um].
    """

    panel: ClassVar[str] = "Input"

    table: str | None = None
    resolution: float | None = None
    voxel_size: tuple[float, float, float] | None = None
    orientation: str | None = None
    meaning: Literal["toward", "from"] | None = None
    midline: float | None = None


def opened(name: str, options: AtlasOptions, talk: TalkOptions) -> Atlas:
    """Return the atlas that the user means, and say what is doubtful about it."""
    from projectome.cli.addresses import address_of
    from projectome.io.access import Access
    from projectome.workflows.atlas import open_atlas

    atlas = open_atlas(
        address_of(name, FileOptions(bucket=options.bucket)),
        table=options.table,
        voxel_size=options.voxel_size,
        orientation=options.orientation,
        meaning=options.meaning,
        midline_um=options.midline,
        access=Access.of(endpoint=options.endpoint, anonymous=options.anonymous),
    )
    if not talk.json:
        for problem in atlas.problems:
            STDERR.print(str(problem), style="yellow")
    return atlas if options.resolution is None else atlas.at(voxel_size=options.resolution)


@verb(app, "ls")
def list_(
    store: StoreOptions,
    talk: TalkOptions,
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="A tree of atlases in the layout of BrainGlobe 3."),
    ] = None,
) -> None:
    """List the atlases that can be opened by name.

    Without an argument: those of the public bucket, and the phantom.
    """
    from projectome.cli.addresses import address_of
    from projectome.io.access import Access
    from projectome.workflows.atlas import known_atlases

    how = Access.of(endpoint=store.endpoint, anonymous=store.anonymous)
    found, problem = known_atlases(address_of(url, store) if url else "", access=how)
    rows = [(a.name, a.version, "yes" if a.kept else "", a.where) for a in found]
    document = {"atlases": [asdict(a) for a in found], "problem": problem or None}
    answer(talk, document, table(("atlas", "version", "on this machine", "where"), rows))
    if problem:
        note(talk, f"The public bucket could not be asked: {problem}")


@verb(app)
def info(atlas: Name, which: AtlasOptions, talk: TalkOptions) -> None:
    """Show levels, orientation, regions, template and hemispheres of an atlas."""
    found = opened(atlas, which, talk)
    tree = found.terminology
    levels = [found.annotation, *found.coarser]
    rows = [
        (" x ".join(map(str, v.shape)), " x ".join(f"{s:g}" for s in v.voxel_size)) for v in levels
    ]
    ways = ", ".join(
        f"{name} toward {way or 'unknown'}"
        for name, way in zip(found.space.axes, found.space.toward, strict=True)
    )
    halves = "by a midline" if found.midline is not None else "voxel by voxel"
    if found.midline is None and found.hemispheres is None:
        halves = "unknown"
    document = {
        "name": found.name,
        "regions": len(tree),
        "space": asdict(found.space),
        "levels": [
            {"shape": v.shape, "voxel_size_um": v.voxel_size, "dtype": str(v.dtype)} for v in levels
        ],
        "template": found.template is not None,
        "hemispheres": halves,
        "midline": found.midline
        and {"point_um": found.midline.point, "right": found.midline.normal},
        "problems": [asdict(problem) for problem in found.problems],
        "metadata": dict(found.metadata),
    }
    lines = [
        f"{found.name}: {found.metadata.get('layout', 'atlas')}, {len(tree)} regions, "
        f"{int(tree.depths.max()) + 1} levels of the tree",
        "",
        table(("voxels (z, y, x)", "voxel size [um]"), rows),
        "",
        f"orientation  {ways}",
        f"template     {'yes' if found.template is not None else 'none'}",
        f"hemispheres  {halves}",
    ]
    about = [(k, found.metadata.get(k)) for k in ("version", "species", "citation", "source")]
    lines += [f"{key:12} {value}" for key, value in about if value]
    answer(talk, document, "\n".join(lines))


@verb(app)
def regions(
    atlas: Name,
    which: AtlasOptions,
    talk: TalkOptions,
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN", help="Text in the acronym or the name; or a region, with --inside."
        ),
    ] = None,
    inside: Annotated[
        bool, typer.Option("--inside", help="The region and everything that lies in it.")
    ] = False,
) -> None:
    """Show the tree of regions of an atlas, or those that match."""
    from projectome.atlas.regions import chosen_rows

    found = opened(atlas, which, talk)
    tree = found.terminology
    if inside and pattern:
        picked = chosen_rows(tree, [pattern], inside=True, where=found.name).tolist()
    else:
        text = (pattern or "").lower()
        picked = [
            row
            for row in range(len(tree))
            if text in tree.acronyms[row].lower() or text in tree.names[row].lower()
        ]
        if not picked and pattern:
            known, command = tree.acronyms, f"projectome atlas regions {atlas}"
            raise UnknownNameError("region", pattern, known, where=found.name, list_with=command)
    rows = [
        {
            "region_id": int(tree.ids[row]),
            "acronym": tree.acronyms[row],
            "name": tree.names[row],
            "parent_id": int(tree.ids[tree.parents[row]]) if tree.parents[row] >= 0 else 0,
            "depth": int(tree.depths[row]),
            "colour": "#" + bytes(tree.colours[row].tolist()).hex(),
        }
        for row in picked
    ]
    first = min((r["depth"] for r in rows), default=0)
    lines = [
        (str(r["region_id"]), "  " * (r["depth"] - first) + r["acronym"], r["name"]) for r in rows
    ]
    answer(talk, {"atlas": found.name, "regions": rows}, table(("id", "acronym", "name"), lines))


@verb(app)
def volumes(
    atlas: Name,
    which: AtlasOptions,
    write: WriteOptions,
    talk: TalkOptions,
    region: Annotated[
        list[str] | None,
        typer.Argument(metavar="REGION...", help="Acronyms, ids or names; all if left out."),
    ] = None,
    inside: Annotated[
        bool, typer.Option("--inside", help="Also everything that lies in these regions.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Table to write, .csv or .parquet, with all columns."),
    ] = None,
) -> None:
    """Measure volume, centroid and box of regions and hemispheres, in one pass over the atlas.

    All regions are measured at once and kept: the next question is answered at once.
    """
    from projectome.atlas.kept import kept_region_table
    from projectome.io.tables import write_table

    if out is not None:
        check_free(out, write.overwrite, (".csv", ".parquet"))
    found = opened(atlas, which, talk)
    measured = kept_region_table(found)
    frame = measured.frame(region or None, inside=inside)
    if not talk.json:
        for problem in measured.problems[len(found.problems) :]:
            STDERR.print(str(problem), style="yellow")
    if out is not None:
        write_table(frame, out)
        note(talk, f"wrote {out}")
    document = {
        "atlas": found.name,
        "voxel_size_um": found.annotation.voxel_size,
        "problems": [asdict(problem) for problem in measured.problems],
        "regions": frame.to_dict("records"),
    }
    text = _volume_table(frame if region else frame[frame["voxels"] > 0])
    answer(talk, document, "" if out is not None else text)


def _volume_table(frame: pd.DataFrame) -> str:
    """Return one line a region: left, right and both."""
    names = {0: "volume [mm3]", 1: "left [mm3]", 2: "right [mm3]", 3: "both [mm3]"}
    present = set(frame["hemisphere"].tolist())
    sides = [side for side in names if side in present]
    found: dict[str, list[str]] = {}
    digits = 2 if frame["volume_mm3"].max() >= 1 else 5
    for row in frame.to_dict("records"):
        line = found.setdefault(str(row["region_id"]), [row["acronym"], row["name"]])
        line.insert(-1, f"{row['volume_mm3']:{len(names[3])}.{digits}f}")
    rows = list(found.values())[:SHOWN]
    text = table(("region", *(names[side] for side in sides), "name"), rows)
    left_out = len(found) - len(rows)
    more = f"\n... and {left_out} more: --json and --out have all" if left_out > 0 else ""
    return text + more


@verb(app, "slice")
def slice_(
    atlas: Name,
    out: Annotated[Path, typer.Option(metavar="PNG", help="Picture to write.")],
    which: AtlasOptions,
    write: WriteOptions,
    talk: TalkOptions,
    axis: Annotated[
        Literal["z", "y", "x"], typer.Option(metavar="z|y|x", help="Axis across the plane.")
    ] = "z",
    at: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Where along it [um]; the middle if left out."),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="REGION", help="Colour only this and what lies in it."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Show regions no finer than this in the tree.")
    ] = None,
    names: Annotated[
        bool, typer.Option("--names/--no-names", help="Write acronyms where there is room.")
    ] = True,
) -> None:
    """Draw a plane of an atlas: coloured regions with outlines and acronyms over the template."""
    check_free(out, write.overwrite, (".png",))
    from projectome.atlas.regions import chosen_rows
    from projectome.plots.regions import slice_figure
    from projectome.plots.style import save

    found = opened(atlas, which, talk)
    picked = chosen_rows(found.terminology, region or [], inside=False, where=found.name)
    ids = [int(i) for i in found.terminology.ids[picked]]
    save(slice_figure(found, axis, at, regions=ids, depth=depth, names=names), out)
    answer(talk, {"out": str(out), "atlas": found.name, "axis": axis, "at_um": at})
    note(talk, f"wrote {out}")
