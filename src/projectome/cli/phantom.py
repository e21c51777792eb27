"""The verb that makes specimens with known truth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from projectome.cli.console import answer, facts, note
from projectome.cli.options import TalkOptions, WriteOptions, numbers, verb
from projectome.errors import ParameterError

app = typer.Typer(rich_markup_mode=None)
Kind = Literal["axons", "barcodes", "brain", "brainbow"]


@verb(app)
def phantom(
    kind: Annotated[
        Kind, typer.Argument(metavar="axons|barcodes|brain|brainbow", help="What is imaged.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to make.")],
    write: WriteOptions,
    talk: TalkOptions,
    seed: Annotated[int, typer.Option(metavar="N", help="Which specimen of its kind.")] = 0,
    size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxels; by the kind if left out.")
    ] = None,
    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="[um]; by the kind if left out.")
    ] = None,
    arbors: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Skeletons to draw instead of grown neurites."),
    ] = None,
    arbor_scale: Annotated[
        float | None,
        typer.Option(metavar="X", help="Micrometres in a unit of these; by the files if left out."),
    ] = None,
) -> None:
    """Make a specimen with known truth, in the files of its modality.

    axons: a block of cleared tissue as an ExA-SPIM sees it; barcodes: expanded neuropil in 18
    channels with synaptic markers; brain: a whole brain as a SmartSPIM sees it; brainbow: a
    confocal stack. The truth lies beside the image.
    """
    from projectome.datasets.phantom_layouts import write_specimen
    from projectome.datasets.phantom_specimens import make_specimen

    chosen: dict[str, Any] = {}
    if size is not None:
        chosen["size"] = numbers(size, count=3, kind=int)
    if voxel_size is not None:
        chosen["voxel_size"] = numbers(voxel_size)
    if arbors is not None:
        chosen |= {"arbors": arbors, "arbor_scale": arbor_scale}
    elif arbor_scale is not None:
        raise ParameterError("--arbor-scale says what a unit of --arbors is; give both.")
    began = time.monotonic()
    specimen = make_specimen(kind, seed=seed, **chosen)
    image = write_specimen(specimen, out, overwrite=write.overwrite)
    document = {
        "folder": str(out),
        "image": str(image),
        "truth": str(out / "truth"),
        "voxels": list(specimen.image.shape),
        "channels": max(1, len(specimen.image.channels)),
        "neurites": len(specimen.skeletons),
        "cable_um": round(specimen.cable_length, 1),
        "somata": len(specimen.somata),
    }
    answer(talk, document, facts(document))
    note(
        talk, f"{time.monotonic() - began:.0f} s. Look at it: projectome mip {image} --out mip.png"
    )
