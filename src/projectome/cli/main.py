"""The command `projectome`: verbs are imported only when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Verb(NamedTuple):
    """Where a verb lives and what it does, in one line."""

    module: str
    panel: str
    help: str


LOOK, WORK, STEPS, HOUSE = "Look", "Do everything", "One step at a time", "Housekeeping"
VERBS: dict[str, Verb] = {
    "info": Verb("look", LOOK, "What a volume is: levels, voxel size, orientation, problems."),
    "ls": Verb("look", LOOK, "What lies in a folder or a bucket, one level down."),
    "mip": Verb("look", LOOK, "Maximum intensity projection as a picture."),
    "profile": Verb("look", LOOK, "Intensity along an axis, as a table and a picture."),
    "reconstruct": Verb("study", WORK, "The main job: a volume in, neurons and a report out."),
    "report": Verb("study", WORK, "Write the report of a study again."),
    "demo": Verb("study", WORK, "Make a phantom brain, reconstruct it and score the result."),
    "convert": Verb("volumes", STEPS, "Copy a volume into another format, crop or channel."),
    "detect": Verb("steps", STEPS, "Find somata."),
    "segment": Verb("steps", STEPS, "Label neurites."),
    "trace": Verb("steps", STEPS, "Trace neurons: segment, skeletonise, join, assign to somata."),
    "path": Verb("steps", STEPS, "The path of least cost through two points or more."),
    "measure": Verb("steps", STEPS, "Morphology of traced neurons as a table."),
    "bench": Verb("house", HOUSE, "Measure speed and memory beside other tools."),
    "config": Verb("house", HOUSE, "Show or set what holds on this machine."),
    "cache": Verb("house", HOUSE, "What is kept for later, and how to drop it."),
    "version": Verb("house", HOUSE, "Versions of projectome and of what it rests on."),
}


class LazyGroup(TyperGroup):
    """A group that knows its verbs by name and imports one only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one verb; only its line of help while help is being printed."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        if getattr(ctx, "projectome_help", False):
            return TyperCommand(cmd_name, help=verb.help, rich_help_panel=verb.panel)
        module = importlib.import_module(f"projectome.cli.{verb.module}")
        group: Any = typer.main.get_group(module.app)
        return group.commands[cmd_name]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help without importing any verb."""
        ctx.projectome_help = True
        super().format_help(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; suggest near ones for a misspelt name."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from projectome.errors import UnknownNameError

            raise UnknownNameError("command", args[0], VERBS, list_with="projectome --help")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def projectome() -> None:
    """From the address of a brain volume to neurons and their projections."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    arguments
        Words after the program's name; those of the process if None.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        status = typer.main.get_command(app).main(
            args=words, prog_name="projectome", standalone_mode=False
        )
    except BaseException as error:  # noqa: BLE001 - the one place where everything is caught
        from projectome.cli.console import explain

        status = explain(error, words)
    sys.exit(status if isinstance(status, int) else 0)
