"""Verbs between a scan and an atlas: orient, register, transform."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from projectome.cli.addresses import source_of
from projectome.cli.console import STDERR, answer, facts, note, start_verb_log
from projectome.cli.options import TalkOptions, VolumeOptions, WriteOptions, verb
from projectome.cli.outputs import check_free
from projectome.errors import ParameterError

if TYPE_CHECKING:
    from projectome.core.atlas import Atlas
    from projectome.core.points import Points

app = typer.Typer(rich_markup_mode=None)
Url = Annotated[
    str, typer.Argument(metavar="VOLUME", help="Path or address: file, s3://, gs://, https://.")
]
AtlasName = Annotated[
    str,
    typer.Option(
        "--atlas",
        metavar="ATLAS",
        help="BrainGlobe name, folder or address of an atlas, or phantom.",
    ),
]
Hand = Annotated[
    Literal["right", "left"] | None,
    typer.Option(
        "--handedness",
        metavar="right|left",
        help="Where no orientation is stated: whether x, y, z form a right-handed frame (a stack "
        "seen from the side of its first plane) or a mirrored one.",
        rich_help_panel="Input",
    ),
]
WAYS_SHOWN = 4


@dataclass(frozen=True)
class FitOptions:
    """How the fit is done.

    Attributes
    ----------
    resolution
        Working voxels [um of tissue]; 264 along the atlas if left out, 50 um for a mouse.
    spacing
        Control points of the B-splines that begin [working voxels].
    iterations
        Of each level of the B-splines.
    stiffness
        Of the bend: more for a smoother map, less for one that follows more.
    repeats
        Further fits that tell how sure each place is.
    seed
        Of the random samples.
    threads
        Threads of the fit.
    """

    panel: ClassVar[str] = "Fit"

    resolution: float = 0.0
    spacing: float = 8.0
    iterations: int = 350
    stiffness: float = 8.0
    repeats: int = 2
    seed: int = 1
    threads: int = 2


def opened(name: str) -> Atlas:
    """Return the atlas of a name or address."""
    from projectome.workflows.atlas import open_atlas

    return open_atlas(name)


@verb(app)
def orient(
    url: Url,
    atlas: AtlasName,
    volume: VolumeOptions,
    talk: TalkOptions,
    handedness: Hand = None,
) -> None:
    """Test which way a volume lies, and hold it against what its metadata say.

    The 24 ways without a mirror are tried at coarse resolution. A mirror cannot be seen in a brain.
    """
    from projectome.workflows.register import orient_volume

    found, toward = orient_volume(source_of(url, volume), opened(atlas), handedness=handedness)
    stated = None if None in toward else "".join(str(d)[0].upper() for d in toward)
    agrees = None if stated is None else stated == found.code
    ranked = [
        {"toward": "".join(d[0].upper() for d in c.toward), "mutual_information": c.score}
        for c in found.ranked[:WAYS_SHOWN]
    ]
    document = {
        "toward": found.code,
        "sure": found.sure,
        "margin": found.margin,
        "handedness_as_declared": found.handedness,
        "stated": stated,
        "agrees_with_metadata": agrees,
        "scale": found.best.scale,
        "ranked": ranked,
    }
    answer(talk, document, found.summary())
    if agrees is False:
        note(talk, f"the metadata say {stated} (toward), the image does not: look at it")
    elif stated is None:
        note(talk, f"state it: --orientation {found.code} --meaning toward")


@verb(app)
def register(
    url: Url,
    atlas: AtlasName,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    volume: VolumeOptions,
    fit: FitOptions,
    write: WriteOptions,
    talk: TalkOptions,
    handedness: Hand = None,
    side: Annotated[
        Literal["left", "right"] | None,
        typer.Option(
            metavar="left|right",
            help="The volume is this hemisphere only.",
            rich_help_panel="Input",
        ),
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(
            metavar="SCAN,ATLAS",
            help="Two tables of corresponding points, in the scan and in the atlas.",
            rich_help_panel="Input",
        ),
    ] = None,
    check_orientation: Annotated[
        bool,
        typer.Option(
            "--check-orientation/--no-check-orientation",
            help="Hold the stated orientation against the image.",
            rich_help_panel="Input",
        ),
    ] = True,
) -> None:
    """Register a volume with an atlas: transforms both ways, error in um, figures."""
    from projectome.registration.align import Recipe
    from projectome.workflows.register import register as run

    start_verb_log("register")
    done = run(
        source_of(url, volume),
        opened(atlas),
        out,
        recipe=Recipe(**asdict(fit)),
        atlas_address=atlas,
        handedness=handedness,
        check_orientation=check_orientation,
        side=side,
        landmarks=None if landmarks is None else _pairs(landmarks),
        overwrite=write.overwrite,
        say=lambda text: note(talk, text),
    )
    hidden = ("problems", "recipe", "scan_orientation")
    lies = done.document["scan_orientation"]
    shown = {"orientation": f"{lies['toward']} (toward), {lies['origin']}; {lies['handedness']}"}
    shown |= {k: v for k, v in done.document.items() if k not in hidden}
    answer(talk, {"out": str(out), **done.document}, facts({"out": str(out), **shown}))
    for problem in [] if talk.json else done.problems:
        STDERR.print(str(problem), style="yellow")


def _pairs(text: str) -> tuple[Points, Points]:
    from projectome.io.points import read_points

    parts = text.split(",")
    if len(parts) != 2:
        raise ParameterError(f"--landmarks are two tables, SCAN,ATLAS, not {text!r}.")
    return read_points(parts[0]), read_points(parts[1])


@verb(app)
def transform(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Volume, points or skeletons.")],
    registration: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="DIR",
            help="What register wrote, or an asset with published transforms.",
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="atlas|scan", help="Where it goes.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File or folder to write.")],
    volume: VolumeOptions,
    write: WriteOptions,
    talk: TalkOptions,
    kind: Annotated[
        Literal["volume", "labels", "points", "skeletons"] | None,
        typer.Option(
            metavar="volume|labels|points|skeletons",
            help="What FILE is; by its name if left out. Labels are never interpolated.",
        ),
    ] = None,
    resolution: Annotated[
        float, typer.Option(metavar="UM", help="Voxels of a carried volume; as the source if 0.")
    ] = 0.0,
    atlas: Annotated[
        str | None,
        typer.Option(metavar="ATLAS", help="Name the regions of points carried into this atlas."),
    ] = None,
    step: Annotated[
        float,
        typer.Option(metavar="UM", help="Longest edge of carried skeletons [um of tissue]."),
    ] = 20.0,
    template: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="Transforms from the template of a published asset to the CCF."
        ),
    ] = "",
) -> None:
    """Carry a volume, points or skeletons into an atlas, or back into the scan."""
    from projectome.workflows.transform import transform as run

    check_free(out, write.overwrite)
    done = run(
        source_of(file, volume),
        registration,
        to,
        out,
        kind=kind,
        atlas=None if atlas is None else opened(atlas),
        voxel_size=resolution,
        step=step,
        template=template,
        overwrite=write.overwrite,
    )
    document = {"out": str(out), "kind": done.kind, "count": done.count, "space": done.space.name}
    answer(talk, {**document, "problems": done.problems}, facts(document))
    for problem in [] if talk.json else done.problems:
        STDERR.print(str(problem), style="yellow")
