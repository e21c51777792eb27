"""The verb that writes volumes: convert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import typer

from projectome.cli.addresses import parse_box, source_of
from projectome.cli.console import answer, facts, note, start_verb_log
from projectome.cli.look import describe
from projectome.cli.options import RunOptions, TalkOptions, VolumeOptions, verb
from projectome.cli.progress import Reporter

app = typer.Typer(rich_markup_mode=None)


@dataclass(frozen=True)
class CopyOptions:
    """What of a volume is written, and how.

    Attributes
    ----------
    box
        Part to copy [um, or level-0 voxels with px]; a bare : is everything.
    permute
        Turn the axes to run toward these directions, for instance PIR.
    resample
        Write voxels of this size: one number, or Z,Y,X [um].
    zarr_version
        Version of OME-Zarr; 0.5 is sharded.
    shards
        Voxels a shard, in OME-Zarr 0.5 and precomputed: one number, or Z,Y,X.
    encoding
        How precomputed chunks are stored; raw, or compressed_segmentation for labels, if left out.
    levels
        Levels of the pyramid; by default down to 64 voxels.
    labels
        The voxels are labels: the pyramid takes modes, not means.
    verify
        Read the output again and compare it with what was read.
    """

    panel: ClassVar[str] = "Output"

    box: str | None = None
    permute: str | None = None
    resample: tuple[float, ...] | None = None
    zarr_version: Literal["0.4", "0.5"] = "0.4"
    shards: tuple[int, ...] | None = None
    encoding: Literal["raw", "compressed_segmentation", "png"] | None = None
    levels: int | None = None
    labels: bool = False
    verify: bool = False


@dataclass(frozen=True)
class CopyRunOptions(RunOptions):
    """Where and how to run: copying waits for stores most of the time, which threads do best."""

    executor: str = "threads"


@verb(app)
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The volume to read.")],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="What to write: NAME.ome.zarr, .tif, .nii.gz, .nrrd, .h5, .npy, or precomputed://ADDRESS.",
        ),
    ],
    volume: VolumeOptions,
    copy: CopyOptions,
    run: CopyRunOptions,
    talk: TalkOptions,
) -> None:
    """Copy a volume into another format. No voxel moves or changes unless you say so."""
    from projectome.workflows.convert import convert as write

    address = source_of(source, volume)
    pyramid = address.pyramid()
    part = parse_box(copy.box, pyramid[0]) if copy.box else None
    if run.plan:
        chosen = pyramid[address.level]
        channels = len(chosen.channels) if address.channel is None else 1
        share = 1.0 if part is None else part.size / pyramid[0].box.size
        planned: dict[str, Any] = {
            "source": source,
            "destination": destination,
            "voxels": round(chosen.box.size * share),
            "channels": max(1, channels),
            "size_bytes": round(chosen.box.size * share) * max(1, channels) * chosen.dtype.itemsize,
        }
        answer(talk, planned, facts(planned))
        return
    shards = copy.shards[0] if copy.shards and len(copy.shards) == 1 else copy.shards
    start_verb_log("convert")
    with Reporter(talk) as reporter:
        written = write(
            address,
            destination,
            box=part,
            permute=copy.permute,
            resample_um=copy.resample,
            kind="labels" if copy.labels else None,
            version=copy.zarr_version,
            shards=shards,
            encoding=copy.encoding,
            levels=copy.levels,
            overwrite=run.overwrite,
            verify=copy.verify,
            executor=run.executor,
            workers=run.workers,
            memory=run.memory,
            on_event=reporter,
        )
    answer(talk, {"destination": destination, **describe(written)})
    levels_written = f"{len(written)} level" + "s" * (len(written) > 1)
    done = "wrote" if reporter.ran else "nothing to do, the same call made"
    done = f"verified; {done}" if copy.verify else done
    note(talk, f"{done} {destination}: {levels_written}")
