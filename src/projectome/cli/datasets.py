"""Verbs for public datasets: find, ls, download."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projectome.cli.addresses import address_of
from projectome.cli.console import answer, note, start_verb_log, table
from projectome.cli.options import StoreOptions, TalkOptions, verb
from projectome.cli.waiting import Waiting
from projectome.settings import format_bytes

if TYPE_CHECKING:
    from projectome.datasets.find import Asset, Finding
    from projectome.datasets.walk import Piece
    from projectome.io.access import Access
    from projectome.io.kinds import Look

app = typer.Typer(rich_markup_mode=None)
SHOWN = 200
"""Names of a kind that `find` prints; --json has all."""
SUBJECT = "What to find"


def place_of(text: str, store: StoreOptions) -> tuple[str, Access]:
    """Return the address that a text means, perhaps a dataset of the catalog, and how to ask.

    Raises
    ------
    ParameterError
        If it names no bucket, or a dataset with several of them.
    """
    from projectome.io.access import Access
    from projectome.io.records import is_dataset, lookup

    if is_dataset(text):
        record = lookup(text)[0]
        how = record.access(endpoint=store.endpoint, anonymous=store.anonymous)
        return record.address(store.bucket), how
    how = Access.of(endpoint=store.endpoint, anonymous=store.anonymous)
    return address_of(text, store), how


@verb(app, "ls")
def list_(
    store: StoreOptions,
    talk: TalkOptions,
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL | DATASET]", help="Path, address, or name in the catalog."),
    ] = None,
) -> None:
    """List what lies one level below a folder, a bucket or a dataset, and of what kind it is.

    Without an argument: the datasets of the catalog. A web server cannot be listed; there the
    names are those that the metadata mentions.
    """
    if url is None:
        _list_catalog(talk)
        return
    from projectome.io.kinds import look_into

    address, how = place_of(url, store)
    with Waiting(talk) as waiting:
        waiting.show(f"listing {address}")
        look = look_into(address, access=how)
    document = {
        "url": look.url,
        "kind": look.kind,
        "about": look.about,
        "listed": look.listed,
        "entries": [
            {
                "name": item.name,
                "folder": item.is_folder,
                "kind": item.kind,
                "about": item.about,
                "bytes": item.size,
            }
            for item in look.items
        ],
    }
    answer(talk, document, _listing(look))
    if not talk.json:
        if look.kind != "folder":
            note(talk, ": ".join(part for part in (look.kind, look.about) if part))
        if not look.listed:
            note(
                talk, "Plain HTTP cannot be listed: these are the names that the metadata mentions."
            )
        elif not look.items:
            note(talk, f"{look.url} is empty.")


def _listing(look: Look) -> str:
    """Return what lies in a folder as lines."""
    from projectome.io.kinds import shown

    sizes = ["" if item.size is None else format_bytes(item.size) for item in look.items]
    width = max(map(len, sizes), default=0)
    lines = []
    for size, item in zip(sizes, look.items, strict=True):
        slash = "/" if item.is_folder and look.listed else ""
        plain = item.kind in ("file", "folder", "mentioned")
        kind = "" if plain else "  " + ", ".join(part for part in (item.kind, item.about) if part)
        lines.append(f"{size:>{width}}  {shown(item.name)}{slash}{kind}")
    return "\n".join(lines)


def _list_catalog(talk: TalkOptions) -> None:
    from projectome.io.records import load_catalog

    records = list(load_catalog().values())
    rows = [(r.name, ", ".join(r.aliases), r.url or "not public yet", r.title) for r in records]
    document = {"datasets": [record.model_dump(mode="json") for record in records]}
    answer(talk, document, table(("dataset", "also called", "address", "what it is"), rows))


@verb(app)
def find(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Name in the catalog: projectome ls lists it.")
    ],
    store: StoreOptions,
    talk: TalkOptions,
    subject: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this animal.", rich_help_panel=SUBJECT),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this stage, for instance raw, stitched or segmentation.",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Only these channels, for instance 'Ex_561*'.",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Only names in which this is found (RE2 syntax, linear time).",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
) -> None:
    """Find recordings of a public dataset, their stages and channels.

    Folders are listed, nothing is walked; with a subject only its own names are asked for.
    """
    from projectome.datasets.find import Query
    from projectome.datasets.find import find as search

    with Waiting(talk) as waiting:
        found = search(
            dataset,
            Query(subject, stage, channel, name),
            bucket=store.bucket,
            endpoint=store.endpoint,
            anonymous=store.anonymous,
            on_progress=waiting.show,
        )
    document = {
        "dataset": dataset,
        "assets": [_asset(a) for a in found.assets],
        "unrecognised": [{"name": n, "kind": "unrecognised"} for n in found.unrecognised],
        "without": list(found.without),
        "others": dict(found.others),
    }
    answer(talk, document, _found_text(found))
    if not talk.json:
        _say_rest(talk, found, store)


def _asset(asset: Asset) -> dict[str, Any]:
    parsed = asset.parsed
    return {
        "name": asset.name,
        "kind": "asset" if parsed else "tree",
        "dataset": asset.dataset,
        "url": asset.url,
        "platform": parsed and parsed.platform,
        "subject": parsed and parsed.subject,
        "acquired": parsed and parsed.acquired,
        "steps": [{"name": n, "time": t} for n, t in (parsed.steps if parsed else ())],
        "pieces": [asdict(piece) for piece in asset.pieces],
        "problem": asset.problem or None,
    }


def _found_text(found: Finding) -> str:
    """Return assets and what is in them as text."""
    from projectome.io.kinds import shown

    parts = []
    for asset in found.assets[:SHOWN]:
        lines = [shown(asset.url)]
        if asset.pieces:
            rows = [_row(piece) for piece in asset.pieces[:SHOWN]]
            text = table(("stage", "channel", "what", "path"), rows)
            lines += [f"  {line}" for line in text.splitlines()]
        if asset.problem:
            lines.append(f"  not all of it could be looked at: {asset.problem}")
        parts.append("\n".join(lines))
    between = "\n\n" if any(asset.pieces for asset in found.assets) else "\n"
    if found.unrecognised:
        names = [f"{shown(name)}/  unrecognised" for name in found.unrecognised[:SHOWN]]
        parts.append("\n".join(names))
    return between.join(parts)


def _row(piece: Piece) -> tuple[str, str, str, str]:
    from projectome.io.kinds import shown

    size = None if piece.size is None else format_bytes(piece.size)
    what = ", ".join(part for part in (piece.kind, piece.about, size) if part)
    return piece.stage, shown(piece.channel) or "-", what, shown(piece.path)


def _say_rest(talk: TalkOptions, found: Finding, store: StoreOptions) -> None:
    """Say how much there is, what was left out, and how to go on."""
    count = len(found.assets)
    said = [f"{count:,} found" if count != 1 else "1 found"]
    if found.unrecognised:
        said.append(f"{len(found.unrecognised):,} with names that break the conventions")
    if found.without:
        said.append(f"{len(found.without):,} without what was asked")
    if found.others:
        kinds = ", ".join(f"{n:,} {name}" for name, n in list(found.others.items())[:8])
        said.append(f"other recordings beside them: {kinds}")
    note(talk, "; ".join(said))
    longest = max([count, len(found.unrecognised), *(len(a.pieces) for a in found.assets)])
    if longest > SHOWN:
        note(talk, f"Of a long list the first {SHOWN} are shown; --json has all.")
    volumes = [p for a in found.assets for p in a.pieces if p.holds == "volumes"]
    options = [] if store.endpoint is None else ["--endpoint", store.endpoint]
    if volumes:
        words = ["projectome", "info", volumes[0].url, *options]
        note(talk, f"Open one with: {shlex.join(words)}")
    elif count and not any(a.pieces for a in found.assets):
        note(talk, "Look into some with --subject, --stage, --channel or --name.")
    elif not count:
        note(talk, "Ask for less, or without options: all names are listed then.")


@verb(app)
def download(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="A file or a folder: s3://, gs://, https://.")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder for a folder; file or folder for a file.")
    ],
    store: StoreOptions,
    talk: TalkOptions,
    level: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Only this level of a volume.", rich_help_panel="What to fetch"
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Only paths that match, for instance '*.json'; may be repeated.",
            rich_help_panel="What to fetch",
        ),
    ] = None,
) -> None:
    """Copy a file or a tree to the disk, unchanged and checked; goes on where it stopped."""
    from projectome.workflows.download import Downloaded
    from projectome.workflows.download import download as fetch

    address, how = place_of(url, store)
    start_verb_log("download")
    with Waiting(talk) as waiting:

        def tell(done: Downloaded) -> None:
            waiting.show(f"fetching, {format_bytes(done.size)}", done.files + done.kept, None)

        waiting.show(f"looking at {address}")
        done = fetch(
            address, destination, level=level, include=include or (), access=how, on_progress=tell
        )
    document = {"url": address, "destination": str(destination), **asdict(done)}
    document["size_bytes"] = document.pop("size")
    answer(talk, document)
    kept = f", {done.kept:,} were there already" if done.kept else ""
    files = f"{done.files:,} file" + "s" * (done.files != 1)
    note(talk, f"fetched {files}, {format_bytes(done.size)}, to {destination}{kept}")
    if done.left_out:
        some = ", ".join(done.left_out[:5])
        note(talk, f"left out {len(done.left_out):,} whose names lead out of {destination}: {some}")
