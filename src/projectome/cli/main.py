"""The command `projectome`: verbs are imported only when they are called."""

from __future__ import annotations

import importlib
import shutil
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from projectome.cli.help import WIDEST, Section, page


class Verb(NamedTuple):
    """Where a verb lives and what it does, in one line."""

    module: str
    panel: str
    help: str


LOOK, WORK, STEPS, HOUSE = "Look", "Do everything", "One step at a time", "Housekeeping"
VERBS: dict[str, Verb] = {
    "info": Verb("look", LOOK, "What a volume is: levels, voxel size, orientation, problems."),
    "ls": Verb("datasets", LOOK, "What lies in a folder, bucket or dataset, one level down."),
    "find": Verb("datasets", LOOK, "Recordings of a public dataset, their stages and channels."),
    "download": Verb("datasets", LOOK, "Copy files from a store to the disk, unchanged."),
    "mip": Verb("look", LOOK, "Maximum intensity projection as a picture."),
    "describe": Verb("describe", LOOK, "Write a JSON that says what a file does not."),
    "profile": Verb("look", LOOK, "Intensity along an axis, as a table and a picture."),
    "atlas ls": Verb("atlas", LOOK, "Atlases that can be opened by name."),
    "atlas info": Verb("atlas", LOOK, "What an atlas is: levels, regions, hemispheres, problems."),
    "atlas regions": Verb("atlas", LOOK, "The tree of regions, or those that match a pattern."),
    "atlas volumes": Verb("atlas", LOOK, "Volumes, centroids and boxes of regions."),
    "atlas slice": Verb("atlas", LOOK, "A plane of an atlas as a picture."),
    "atlas measure": Verb("regions", LOOK, "Points, cable or signal of each region, as a table."),
    "atlas heatmap": Verb("regions", LOOK, "A value of each region in three planes."),
    "reconstruct": Verb("study", WORK, "The main job: a volume in, neurons and a report out."),
    "report": Verb("study", WORK, "Write the report of a study again."),
    "demo": Verb("study", WORK, "Make a phantom brain, reconstruct it and score the result."),
    "convert": Verb("volumes", STEPS, "Copy a volume, or a part of it, into another format."),
    "detect": Verb("steps", STEPS, "Find somata."),
    "segment": Verb("steps", STEPS, "Label neurites."),
    "trace": Verb("study", STEPS, "The main job with your own somata."),
    "path": Verb("steps", STEPS, "The path of least cost through two points or more."),
    "orient": Verb("register", STEPS, "Test which way a volume lies, against an atlas."),
    "register": Verb("register", STEPS, "Fit a volume to an atlas, with the error in um."),
    "transform": Verb("register", STEPS, "Carry volumes, points, skeletons into an atlas or back."),
    "measure": Verb("steps", STEPS, "Morphology of traced neurons as a table."),
    "evaluate": Verb("evaluate", STEPS, "Score a prediction against the truth."),
    "phantom": Verb("phantom", HOUSE, "Make an image whose truth is known."),
    "bench": Verb("house", HOUSE, "Measure speed and memory beside other tools."),
    "config": Verb("house", HOUSE, "Show or set what holds on this machine."),
    "cache": Verb("house", HOUSE, "What is kept for later, and how to drop it."),
    "version": Verb("house", HOUSE, "Versions of projectome and of what it rests on."),
}


def load(name: str) -> TyperCommand:
    """Import a verb and return its command."""
    module = importlib.import_module(f"projectome.cli.{VERBS[name].module}")
    group: Any = typer.main.get_group(module.app)
    command: TyperCommand = group.commands[name.split()[-1]]
    return command


class LazyGroup(TyperGroup):
    """A group that knows its verbs by name and imports one only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the name and the line of help of a verb, for lists and completion."""
        verb = VERBS.get(cmd_name)
        return verb and TyperCommand(cmd_name, help=verb.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the verb that is called; suggest near ones for a misspelt name."""
        name, *rest = args
        if f"{name} {' '.join(rest[:1])}" in VERBS:  # two words, as in `atlas info`
            name, *rest = f"{name} {rest[0]}", *rest[1:]
        if name in VERBS:
            return name, load(name), rest
        if ctx.resilient_parsing:
            return None, None, rest
        from projectome.errors import ParameterError, UnknownNameError

        second = [verb.split()[1] for verb in VERBS if verb.startswith(f"{name} ")]
        if second:
            raise ParameterError(
                f"{name!r} goes on with one of {', '.join(second)}: projectome {name} {second[0]}. "
                f"Help: projectome {name} {second[0]} --help"
            )
        raise UnknownNameError("command", name, VERBS, list_with="projectome --help")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without importing any verb."""
        groups = [Section(panel, []) for panel in (LOOK, WORK, STEPS, HOUSE)]
        for name, verb in VERBS.items():
            next(g for g in groups if g.title == verb.panel).rows.append((name, verb.help))
        about = f"{self.help}\n\nHelp on a verb: projectome VERB --help"
        options = [
            ("--version", "Print the version."),
            ("--install-completion", "Let the shell complete verbs and options with the tab key."),
            ("--show-completion", "Print what that would install."),
        ]
        width = min(shutil.get_terminal_size().columns, WIDEST)
        everything = [*groups, Section("Options", options)]
        formatter.write(page("projectome VERB ...", about, everything, width))


app = typer.Typer(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def print_version(wanted: bool) -> None:
    """Print the version and end, if wanted."""
    if wanted:
        from projectome.core.provenance import software_version

        typer.echo(f"projectome {software_version()}")
        raise typer.Exit


@app.callback()
def projectome(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version)
    ] = False,
) -> None:
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
            args=words or ["--help"], prog_name="projectome", standalone_mode=False
        )
        sys.stdout.flush()
    except SystemExit as left:
        status = left.code
    except typer.Exit as left:
        status = left.exit_code
    except BaseException as error:  # noqa: BLE001 - the one place where everything is caught
        from projectome.cli.console import explain

        status = explain(error, words)
    sys.exit(status if isinstance(status, int) else 0)
