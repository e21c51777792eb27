"""Help as plain text: grouped, aligned over all groups, and readable in a pipe.

The rows come from the parameters of the parser; the reference of the documentation is made of the
same ones.
"""

from __future__ import annotations

import inspect
import os
import shutil
import textwrap
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand

WIDEST = 100
"""Columns that a line of help may fill."""
LAST = ("Object store", "Run", "Answer")
"""Groups that many verbs share come after those of the verb."""


class Section(NamedTuple):
    """Rows of help under one heading; the arguments of a verb have none."""

    title: str
    rows: list[tuple[str, str]]


class PlainCommand(TyperCommand):
    """A verb whose help is plain text."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the verb."""
        width = min(shutil.get_terminal_size().columns, WIDEST)
        formatter.write(verb_page(self, ctx.command_path, width))


def verb_page(command: TyperCommand, path: str, width: int) -> str:
    """Return the help of a verb that is called as `path`."""
    usage = " ".join([path, *usage_pieces(command)])
    return page(usage, command.help or "", sections(command), width)


def metavar(parameter: Any) -> str:
    """Return what stands for the value of an argument or option; empty for a flag."""
    if getattr(parameter, "is_flag", False):
        return ""
    longest = max(parameter.opts, key=len)
    return str(parameter.metavar or longest.lstrip("-").upper())


def usage_pieces(command: TyperCommand) -> list[str]:
    """Return the arguments and the options that a verb cannot do without."""
    given = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item not in given and item.required]
    return [
        *(metavar(item) if item.required else f"[{metavar(item)}]" for item in given),
        *(f"{item.opts[0]} {metavar(item)}" for item in options),
        "[OPTIONS]",
    ]


def sections(command: TyperCommand) -> list[Section]:
    """Return the arguments and options of a verb, by heading."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    parameters: list[Any] = list(command.params)
    for item in parameters:
        if item.param_type_name == "argument":
            found[""].append((metavar(item), _text(item)))
        elif not item.hidden:
            flags = ", ".join(item.opts) + "".join(f" / {other}" for other in item.secondary_opts)
            group = getattr(item, "rich_help_panel", None) or "Options"
            found.setdefault(group, []).append((f"{flags} {metavar(item)}".rstrip(), _text(item)))
    order = [title for title in found if title not in LAST]
    order += [title for title in LAST if title in found]
    return [Section(title, found[title]) for title in order if found[title]]


def _text(item: Any) -> str:
    """Return the description of a parameter with its default."""
    shown = item.show_default if isinstance(item.show_default, str) else None
    if shown is None and item.show_default and not getattr(item, "is_flag", False):
        shown = None if item.default is None or item.required else str(item.default)
    required = item.required and item.param_type_name == "option"
    notes = (f"[default: {shown}]" if shown else "", "[required]" if required else "")
    return " ".join(part for part in (item.help or "", *notes) if part)


def page(usage: str, about: str, groups: list[Section], width: int) -> str:
    """Return the text of a page of help.

    Parameters
    ----------
    usage
        The call.
    about
        What it does.
    groups
        Its arguments and options, or verbs.
    width
        Characters a line.
    """
    column = min(30, max((len(left) for group in groups for left, _ in group.rows), default=0) + 4)
    lines = textwrap.wrap(f"Usage: {usage}", width, subsequent_indent=" " * 7)
    for paragraph in inspect.cleandoc(about).split("\n\n"):
        lines += ["", *textwrap.wrap(paragraph, width)]
    for title, rows in groups:
        lines += ["", *([_bold(f"{title}:")] if title else [])]
        for left, right in rows:
            texts = textwrap.wrap(right, max(20, width - column)) or [""]
            fits = len(left) + 4 <= column
            lines.append(f"  {left:{column - 2}}{texts[0]}" if fits else f"  {left}")
            lines += [" " * column + text for text in texts[1 if fits else 0 :]]
    return "\n".join(lines) + "\n"


def _bold(text: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)
