"""Verbs that look at data: info, ls, mip, profile."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from projectome.cli.addresses import parse_range, read_options, source_of
from projectome.cli.console import STDERR, answer, note, table
from projectome.cli.options import TalkOptions, VolumeOptions, flatten
from projectome.core.volume import Pyramid
from projectome.settings import format_bytes

app = typer.Typer()
Url = Annotated[str, typer.Argument(help="Path or address: file, s3://, gs://, https://.")]
Axis = Annotated[
    Literal["z", "y", "x"], typer.Option(help="Axis to look along.", rich_help_panel="Input")
]


def describe(pyramid: Pyramid) -> dict[str, Any]:
    """Return what is known of a volume, as plain data."""
    space = pyramid.space
    levels = [
        {
            "level": number,
            "shape": level.shape,
            "voxel_size_um": level.voxel_size,
            "translation_um": level.affine.translation,
            "chunks": level.chunks,
            "bytes": level.nbytes,
        }
        for number, level in enumerate(pyramid)
    ]
    return {
        "name": pyramid.name,
        "kind": pyramid[0].kind,
        "dtype": str(pyramid[0].dtype),
        "channels": pyramid[0].channels,
        "axes": space.axes,
        "toward": space.toward,
        "expansion": space.expansion,
        "levels": levels,
        "problems": [asdict(problem) for problem in pyramid.problems],
        "metadata": dict(pyramid.metadata),
    }


@app.command()
@flatten
def info(url: Url, volume: VolumeOptions, talk: TalkOptions) -> None:
    """Show levels, shape, voxel size, axes, orientation, channels and the problems found."""
    from projectome.io.open import open_volume

    pyramid = open_volume(url, **read_options(volume))
    rows = [
        (
            number,
            " x ".join(map(str, level.shape)),
            " x ".join(f"{v:.6g}" for v in level.voxel_size),
            " x ".join(map(str, level.chunks)),
            format_bytes(level.nbytes),
        )
        for number, level in enumerate(pyramid)
    ]
    space = pyramid.space
    toward = ", ".join(
        f"{name} toward {way or 'unknown'}"
        for name, way in zip(space.axes, space.toward, strict=True)
    )
    made = table(
        f"{pyramid.name}: {pyramid.metadata.get('format', 'volume')}, {pyramid[0].dtype}"
        + (f", {pyramid[0].kind}" if pyramid[0].kind != "image" else ""),
        ("level", "voxels (z, y, x)", "voxel size (um)", "chunks", "size"),
        rows,
    )
    answer(talk, {"url": url, **describe(pyramid)}, made)
    if talk.json:
        return
    lines = [f"orientation  {toward}"]
    if pyramid[0].channels:
        lines.append("channels     " + ", ".join(pyramid[0].channels))
    if space.expansion != 1:
        lines.append(f"expansion    {space.expansion:g}: micrometres above are of the gel")
    answer(talk, {}, "\n".join(lines))
    for problem in pyramid.problems:
        STDERR.print(str(problem), style="yellow", markup=False)


@app.command(name="ls")
@flatten
def list_(
    url: Url,
    talk: TalkOptions,
    endpoint: Annotated[str | None, typer.Option(help="S3 service other than AWS.")] = None,
) -> None:
    """List what lies one level below a folder or a prefix of a bucket."""
    from projectome.io.stores import Access, list_folder

    entries = list_folder(url, access=Access.of(endpoint=endpoint))
    document = {
        "url": url,
        "entries": [{"name": e.name, "folder": e.is_folder, "bytes": e.size} for e in entries],
    }
    lines = [
        f"{'' if e.size is None else format_bytes(e.size):>10}  {e.name}{'/' * e.is_folder}"
        for e in entries
    ]
    answer(talk, document, "\n".join(lines) or "(empty)")


@app.command()
@flatten
def mip(
    url: Url,
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    volume: VolumeOptions,
    talk: TalkOptions,
    axis: Axis = "z",
    span: Annotated[
        str | None, typer.Option("--range", help="Only A:B along the axis [um].", metavar="A:B")
    ] = None,
) -> None:
    """Project the brightest voxels along an axis into a picture."""
    from projectome.imaging.projection import mip as project
    from projectome.plots.mip import View, mip_figure
    from projectome.plots.style import save

    opened = source_of(url, volume).open()
    projection = project(opened, axis, span_um=parse_range(span))
    view = View(projection.image, axis, projection.start_um, projection.stop_um)
    title = f"{opened.name} · MIP along {axis}"
    save(mip_figure(view, space=opened.space, title=title), out)
    answer(talk, {"out": str(out), "shape": list(view.image.shape)})
    note(talk, f"wrote {out}")


@app.command()
@flatten
def profile(
    url: Url,
    out: Annotated[Path, typer.Option(help="Table to write, .csv or .parquet; a picture beside.")],
    volume: VolumeOptions,
    talk: TalkOptions,
    axis: Axis = "z",
) -> None:
    """Measure the intensity plane by plane along an axis, as a table and a picture."""
    from projectome.imaging.projection import profile as measure
    from projectome.io.tables import write_table
    from projectome.plots.profile import profile_figure
    from projectome.plots.style import save

    opened = source_of(url, volume).open()
    rows = measure(opened, axis)
    write_table(rows, out)
    direction = opened.space.toward[opened.space.axes.index(axis)]
    picture = out.with_suffix(".png")
    save(profile_figure(rows, f"{axis}_um", direction, title=opened.name), picture)
    answer(talk, {"out": str(out), "picture": str(picture), "rows": rows.to_dict("list")})
    note(talk, f"wrote {out} and {picture}")
