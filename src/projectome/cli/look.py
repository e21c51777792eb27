"""Verbs that look at data: info, ls, mip, profile."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from projectome.cli.addresses import (
    address_of,
    parse_box,
    parse_range,
    read_options,
    source_of,
)
from projectome.cli.assets import asset_table
from projectome.cli.console import STDERR, answer, note, table
from projectome.cli.options import (
    FileOptions,
    PictureOptions,
    TalkOptions,
    WriteOptions,
    numbers,
    verb,
)
from projectome.cli.outputs import check_free
from projectome.cli.places import PlaceOptions, place_of, place_title
from projectome.core.volume import Pyramid, Volume
from projectome.errors import ParameterError, ShapeError
from projectome.settings import format_bytes

app = typer.Typer(rich_markup_mode=None)
SHOWN = 12
"""Channels that `info` names; --json has all."""
Url = Annotated[
    str, typer.Argument(metavar="URL", help="Path or address: file, s3://, gs://, https://.")
]
Axis = Annotated[
    Literal["z", "y", "x"],
    typer.Option(metavar="z|y|x", help="Axis to look along.", rich_help_panel="Input"),
]

BoxOption = Annotated[
    str | None,
    typer.Option(
        metavar="Z0:Z1,Y0:Y1,X0:X1",
        help="Only this box [um, or level-0 voxels with px].",
        rich_help_panel="Input",
    ),
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
            "matrix": level.affine.matrix,
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


@verb(app)
def info(url: Url, file: FileOptions, talk: TalkOptions) -> None:
    """Show levels, shape, voxel size, axes, orientation, channels and the problems found."""
    from projectome.io.open import open_volume

    address = address_of(url, file)
    pyramid = open_volume(address, **read_options(file))
    answer(talk, {"url": address, **describe(pyramid)}, _page(pyramid))
    if not (talk.json or talk.quiet):
        for problem in pyramid.problems:
            STDERR.print(str(problem), style="yellow")


def _page(pyramid: Pyramid) -> str:
    """Return what is known of a volume, for people."""
    from projectome.io.kinds import shown

    first, space = pyramid[0], pyramid.space
    levels = [
        (
            number,
            " x ".join(map(str, level.shape)),
            " x ".join(f"{v:.6g}" for v in level.voxel_size),
            " x ".join(map(str, level.chunks)),
            format_bytes(level.nbytes),
        )
        for number, level in enumerate(pyramid)
    ]
    extent = (n * size / 1000 for n, size in zip(first.shape, first.voxel_size, strict=True))
    toward = zip(space.axes, space.toward, strict=True)
    kind = pyramid.metadata.get("format", "volume")
    lines = [
        f"{shown(pyramid.name)}: {kind}, {first.dtype}, {first.kind}",
        "",
        table(("level", "voxels (z, y, x)", "voxel size [um]", "chunks", "size"), levels),
        "",
        "extent       " + " x ".join(f"{v:.4g}" for v in extent) + " mm",
    ]
    if any(first.affine.translation):
        lines.append(
            "begins at    " + ", ".join(f"{v:.6g}" for v in first.affine.translation) + " um"
        )
    if any(space.toward):
        ways = ", ".join(f"{name} toward {way or 'unknown'}" for name, way in toward)
        lines.append(f"orientation  {ways}")
    else:
        lines.append("orientation  unknown; state it with --orientation CODE --meaning toward|from")
    if not first.affine.is_grid:
        lines.append("grid         turned against the axes; --json has the matrix")
    if first.channels:
        more = f" and {len(first.channels) - SHOWN} more" if len(first.channels) > SHOWN else ""
        lines.append("channels     " + ", ".join(map(shown, first.channels[:SHOWN])) + more)
    catalog = pyramid.metadata.get("catalog")
    taken = catalog if isinstance(catalog, dict) else {}
    if "channels" in taken:
        source = taken["channels"]["source"]
        lines.append(f"             named by the catalog on {taken['dataset']}: {source}")
    if space.expansion != 1:
        told = f", by the catalog on {taken['dataset']}" if "expansion" in taken else ""
        lines.append(f"expansion    {space.expansion:g}{told}: micrometres above are of the gel")
    asset = pyramid.metadata.get("asset")
    if isinstance(asset, dict):
        lines.append(asset_table(asset))
    return "\n".join(lines)


def to_look_at(url: str, options: PictureOptions, box: str | None) -> tuple[Volume, Volume, int]:
    """Return the finest level, the level to look at or a part of it, and its number."""
    from projectome.core.view import crop
    from projectome.workflows.figures import picture_level

    source = replace(source_of(url, options), level=0)
    finest = source.open()
    part = parse_box(box, finest) if box else None
    level = picture_level(source, part) if options.level is None else options.level
    opened = replace(source, level=level).open()
    if part is not None:
        corners = finest.affine([[v - 0.5 for v in corner] for corner in part.bounds])
        found = opened.voxel_box(corners.min(axis=0), corners.max(axis=0))
        if not found.size:
            raise ShapeError(
                f"The box {box!r} is finer than level {level} of {finest.name}, whose voxels have "
                f"{opened.voxel_size} um. Choose a lower --level, or a larger box."
            )
        opened = crop(opened, found)
    return finest, opened, level


@verb(app)
def mip(
    url: Url,
    out: Annotated[Path, typer.Option(metavar="PNG", help="Picture to write.")],
    volume: PictureOptions,
    place: PlaceOptions,
    write: WriteOptions,
    talk: TalkOptions,
    axis: Axis = "z",
    span: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="A:B",
            help="Only this range along the axis [um, or level-0 voxels with px].",
            rich_help_panel="Input",
        ),
    ] = None,
    box: BoxOption = None,
    percentiles: Annotated[
        str, typer.Option(metavar="LOW,HIGH", help="Percentiles that become black and white.")
    ] = "1,99",
    only: Annotated[
        bool,
        typer.Option(
            "--only", help="Voxels outside the regions are black.", rich_help_panel="Place"
        ),
    ] = False,
) -> None:
    """Project the brightest voxels along an axis into a picture.

    With --region only the box around regions of an atlas is projected, they are outlined, and the
    contrast is that inside them.
    """
    check_free(out, write.overwrite, (".png",))
    low, high = numbers(percentiles, count=2)
    if not 0 <= low < high <= 100:
        raise ParameterError(
            f"--percentiles are two numbers from 0 to 100, the lower first, not {percentiles!r}; "
            "for instance 1,99.9."
        )
    from projectome.imaging.projection import mip as project
    from projectome.plots.mip import View, contrast_limits, enlarged, mip_figure
    from projectome.plots.style import save
    from projectome.workflows.places import only_regions, outline

    around, where, seen = None, "", None
    if place.given:
        if box is not None or not place.region:
            raise ParameterError("A place is a --box or a --region; give one of the two.")
        around = place_of(url, volume, place, whole=False)
        finest = opened = only_regions(around) if only else around.image
        level, where, seen = around.level, place_title(around, place), outline(around, axis)
    else:
        finest, opened, level = to_look_at(url, volume, box)
    projection = project(opened, axis, span_um=parse_range(span, finest, axis))
    view = View(projection.image, axis, projection.start_um, projection.stop_um)
    channel = f" \u00b7 {volume.channel}" if volume.channel is not None else ""
    title = f"{opened.name}{channel}{where} \u00b7 brightest along {axis}"
    inside = view.image if seen is None else view.image[enlarged(seen, view.image.shape)]
    limits = contrast_limits(inside, (low, high))
    figure = mip_figure(view, space=opened.space, title=title, limits=limits, outline=seen)
    save(figure, out)
    document = {
        "out": str(out),
        "level": level,
        "pixels": view.image.shape,
        "start_um": view.start,
        "stop_um": view.stop,
        "limits": limits,
    }
    answer(talk, document)
    note(talk, f"wrote {out} from level {level}")


@verb(app)
def profile(
    url: Url,
    out: Annotated[
        Path, typer.Option(metavar="TABLE", help="Table to write, .csv or .parquet; a .png beside.")
    ],
    volume: PictureOptions,
    place: PlaceOptions,
    write: WriteOptions,
    talk: TalkOptions,
    axis: Axis = "z",
    box: BoxOption = None,
    space: Annotated[
        Literal["image", "atlas"],
        typer.Option(
            metavar="image|atlas",
            help="Across the midline: plane by plane of the image, or by distance in the atlas.",
            rich_help_panel="Place",
        ),
    ] = "image",
) -> None:
    """Measure the intensity plane by plane along an axis, as a table and a picture.

    With --atlas or --with, across the midline from left to right, in the regions named if any.
    """
    check_free(out, write.overwrite, (".csv", ".parquet"))
    picture = out.with_suffix(".png")
    check_free(picture, write.overwrite)
    from projectome.imaging.projection import profile as measure
    from projectome.io.tables import write_table
    from projectome.plots.profile import midline_figure, profile_figure
    from projectome.plots.style import save

    if place.given:
        from projectome.workflows.places import midline_profile

        if box is not None:
            raise ParameterError("A place is a --box or a --region; give one of the two.")
        around = place_of(url, volume, place, whole=True)
        rows, level = midline_profile(around, space=space), around.level
        title = f"{around.image.name}{place_title(around, place)}"
        figure = midline_figure(rows, title=title)
    else:
        _, opened, level = to_look_at(url, volume, box)
        rows = measure(opened, axis)
        direction = opened.space.toward[opened.space.axes.index(axis)]
        figure = profile_figure(rows, f"{axis}_um", direction, title=opened.name)
    write_table(rows, out)
    save(figure, picture)
    document = {"out": str(out), "picture": str(picture), "level": level}
    answer(talk, {**document, "rows": rows.to_dict("list")})
    note(talk, f"wrote {out} and {picture} from level {level}")
