"""The verb that describes a file of microscopy data: describe."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from projectome.cli.addresses import address_of, read_options
from projectome.cli.console import STDERR, answer, note
from projectome.cli.options import FileOptions, TalkOptions, WriteOptions, verb
from projectome.cli.outputs import check_free
from projectome.errors import ParameterError
from projectome.workflows.describe_word import Word

app = typer.Typer(rich_markup_mode=None)
NAMES = ("acquisition.json", "subject.json")
"""Core files of aind-data-schema that are written."""


@verb(app)
def describe(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The volume to describe.")],
    out: Annotated[
        Path, typer.Option(metavar="JSON", help="What to write; a folder with --format aind.")
    ],
    opening: FileOptions,
    word: Word,
    write: WriteOptions,
    talk: TalkOptions,
    creator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help='Who made the data: "NAME <ORCID>". Repeat.',
            rich_help_panel="Data",
        ),
    ] = None,
    dye: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Dye or fluorescent protein of each channel, in their order. Repeat.",
            rich_help_panel="Data",
        ),
    ] = None,
    earlier: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="JSON",
            help="An earlier description, whose words of the user hold here too.",
            rich_help_panel="Data",
        ),
    ] = None,
    form: Annotated[
        Literal["projectome", "aind"],
        typer.Option(
            "--format",
            metavar="projectome|aind",
            help="The standard JSON, or acquisition.json and subject.json of aind-data-schema 2.x.",
            rich_help_panel="Data",
        ),
    ] = "projectome",
) -> None:
    """Write a JSON that says what a file of microscopy data does not.

    What the file knows is read from it. The rest are options; on a terminal, what is required and
    missing is asked.
    """
    if form == "aind":
        for name in NAMES:
            check_free(out / name, write.overwrite)
    else:
        check_free(out, write.overwrite, (".json",))
    from projectome.io.metadata.ensp import json_bytes, read_metadata
    from projectome.io.metadata.ensp_aind import to_aind
    from projectome.io.stores import write_bytes
    from projectome.workflows.describe import describe as describe_file

    said = replace(word, creators=tuple(creator or ()), dyes=tuple(dye or ()))
    terminal = sys.stdin.isatty() and sys.stderr.isatty() and not talk.json
    metadata, problems = describe_file(
        address_of(file, opening),
        template=None if earlier is None else read_metadata(earlier),
        ask=_ask if terminal else None,
        **asdict(said),
        **read_options(opening),
    )
    documents = {out: metadata.plain()}
    if form == "aind":
        made = to_aind(metadata)
        documents = {out / name: document for name, document in made.files.items()}
        problems += made.left
    for path, document in documents.items():
        write_bytes(str(path), json_bytes(document))
    told = [{"where": p.where, "message": p.message} for p in problems]
    answer(talk, {"out": [str(p) for p in documents], **metadata.plain(), "problems": told})
    if not talk.json:
        for problem in problems:
            STDERR.print(str(problem), style="yellow")
    note(talk, "wrote " + " and ".join(map(str, documents)))


def _ask(question: str) -> str:
    """Ask on the terminal."""
    STDERR.print(f"{question}: ", end="")
    line = sys.stdin.readline()
    if not line:
        raise ParameterError(
            "The input ended before all questions were answered. Nothing was written."
        )
    return line
