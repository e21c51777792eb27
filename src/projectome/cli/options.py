"""Options of the command line, made from typed dataclasses.

A verb takes groups of options as dataclasses. `verb` turns each field into an option: its type,
default and line of help (from the class's docstring) are declared once, in the class. The fields of
a block-wise step become options in the same way through `StepOptions`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import typer

from projectome.cli.help import PlainCommand
from projectome.errors import CancelledError, ParameterError


@dataclass(frozen=True)
class StoreOptions:
    """How an object store is asked.

    Attributes
    ----------
    endpoint
        Address of an S3 service other than AWS.
    bucket
        Bucket of a dataset, or of addresses that name none, as s3:///KEY.
    anonymous
        Ask without credentials, or sign with yours.
    """

    panel: ClassVar[str] = "Object store"

    endpoint: str | None = None
    bucket: str | None = None
    anonymous: bool | None = None


@dataclass(frozen=True)
class FileOptions(StoreOptions):
    """What the file does not say; your word wins over the file's and is recorded.

    Attributes
    ----------
    voxel_size
        Size of a voxel of the finest level Z,Y,X [um].
    axes
        Meaning of the array axes, for instance zyx or tczyx.
    orientation
        Anatomical code of the axes z, y, x, for instance asr; needs --meaning.
    meaning
        What a letter of the code names: where the axis runs toward, or comes from.
    expansion
        Micrometres of gel for one micrometre of tissue.
    time
        Time point, where the file has several.
    strict
        A missing chunk is an error instead of background.
    asset
        Folder or JSON document with the metadata of the recording; looked for above the volume if
        left out, none to do without.
    """

    panel: ClassVar[str] = "Input"

    voxel_size: tuple[float, float, float] | None = None
    axes: str | None = None
    orientation: str | None = None
    meaning: Literal["toward", "from"] | None = None
    expansion: float | None = None
    time: int | None = None
    strict: bool = False
    asset: str | None = None


@dataclass(frozen=True)
class VolumeOptions(FileOptions):
    """One level and channel of a volume.

    Attributes
    ----------
    level
        Level of the pyramid; 0, the finest, if left out.
    channel
        Channel by name or number.
    """

    level: int | None = None
    channel: str | None = None


@dataclass(frozen=True)
class PictureOptions(VolumeOptions):
    """One level and channel of a volume, to look at.

    Attributes
    ----------
    level
        Level of the pyramid, 0 is the finest; the coarsest that fills a picture if left out.
    """

    level: int | None = None


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run.

    Attributes
    ----------
    workers
        Worker processes or threads; one a core if left out.
    memory
        What all workers together may use, for instance 8GB.
    executor
        serial, threads, processes, or dask://HOST:PORT.
    overwrite
        Replace an output that is there.
    plan
        Say what would be done and what it costs, and do nothing.
    """

    panel: ClassVar[str] = "Run"

    workers: int | None = None
    memory: str | None = None
    executor: str = "processes"
    overwrite: bool = False
    plan: bool = False


@dataclass(frozen=True)
class WriteOptions:
    """How an output is written that takes no workers.

    Attributes
    ----------
    overwrite
        Replace an output that is there.
    """

    panel: ClassVar[str] = "Run"

    overwrite: bool = False


@dataclass(frozen=True)
class TalkOptions:
    """How to answer.

    Attributes
    ----------
    json
        Print one JSON document on standard output, and nothing else there.
    quiet
        Print nothing but the answer and errors.
    """

    panel: ClassVar[str] = "Answer"

    json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class StepOptions:
    """Marks a parameter that receives the fields of a step which the user has set.

    Attributes
    ----------
    step
        The dataclass whose simple fields become options.
    panel
        Heading under which the help lists them.
    skip
        Fields that the workflow fills in.
    """

    step: type
    panel: str
    skip: tuple[str, ...] = ()


PAIRS = {"anonymous": "--anonymous/--signed", "registration": "--with"}
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
NAMED = {
    "asset": "URL|none",
    "axes": "LETTERS",
    "box": "Z0:Z1,Y0:Y1,X0:X1",
    "bucket": "NAME",
    "channel": "NAME",
    "endpoint": "URL",
    "executor": "WHERE",
    "memory": "SIZE",
    "orientation": "CODE",
    "permute": "CODE",
    "atlas": "ATLAS",
    "margin": "UM",
    "region": "REGION,...",
    "registration": "DIR",
}
"""What stands for the value of an option, where its type does not say enough."""


def numbers(text: object, *, count: int | None = None, kind: type = float) -> tuple[Any, ...]:
    """Return the numbers of a text such as ``4,4,4``.

    Raises
    ------
    ParameterError
        If they are not numbers, or not as many as wanted.
    """
    if isinstance(text, tuple):
        return text
    try:
        values = tuple(kind(part) for part in re.split(r"[,\s]+", str(text).strip("()[] ")) if part)
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        wanted = f"{count} numbers" if count else "numbers"
        raise ParameterError(f"Expected {wanted} separated by commas, not {text!r}.")
    return values


def field_help(kind: type) -> dict[str, str]:
    """Return the description of each field from the numpydoc sections of a dataclass."""
    texts: dict[str, list[str]] = {}
    for base in reversed(kind.__mro__[:-1]):
        lines = inspect.cleandoc(vars(base).get("__doc__") or "").splitlines()
        name = ""
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if re.fullmatch(r"\w+( :.*)?", line) and following.startswith("    "):
                name = line.split(" ")[0]
                texts[name] = []
            elif line.startswith("    ") and name:
                texts[name].append(line.strip())
            elif line and not line.startswith(" "):
                name = ""
    return {key: " ".join(value) for key, value in texts.items()}


def field_panels(kind: type) -> dict[str, str]:
    """Return the heading of each field: that of the class which declares it first."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            for field in dataclasses.fields(base):
                found.setdefault(field.name, getattr(base, "panel", "Options"))
    return found


def plain_type(hint: Any) -> Any:
    """Return a type without its ``None``; None if it cannot be an option."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        return plain_type(str if set(rest) == {str, int} else rest[0]) if rest else None
    if hint in (*METAVARS, bool) or get_origin(hint) is Literal:
        return hint
    if get_origin(hint) is tuple and get_args(hint)[0] in (int, float):
        return hint
    return None


def option(field: dataclasses.Field[Any], kind: Any, text: str, panel: str) -> Any:
    """Return the annotation that makes typer show a field of a plain type as an option."""
    flags = PAIRS.get(field.name, f"--{field.name.replace('_', '-')}")
    extra: dict[str, Any] = {"help": text, "rich_help_panel": panel, "show_default": False}
    default = field.default
    if isinstance(default, tuple):
        extra["show_default"] = ",".join(f"{v:g}" for v in default) or False
    elif default not in (None, dataclasses.MISSING) and kind is not bool:
        extra["show_default"] = str(default)
    if kind is bool:
        flags = f"{flags}/--no-{field.name}" if default is True else flags
    elif get_origin(kind) is Literal:
        extra["metavar"] = "|".join(map(str, get_args(kind)))
    elif get_origin(kind) is tuple:
        parts = get_args(kind)
        count = None if parts[-1] is Ellipsis else len(parts)
        extra["parser"] = functools.partial(numbers, count=count, kind=parts[0])
        extra["metavar"] = {3: "Z,Y,X", 2: "A,B"}.get(count or 0, "N,N,...")
        return Annotated[Any, typer.Option(flags, **extra)]
    else:
        extra["metavar"] = NAMED.get(field.name, METAVARS[kind])
    return Annotated[kind | None, typer.Option(flags, **extra)]


def options_of(kind: type, panel: str, skip: tuple[str, ...]) -> Iterator[inspect.Parameter]:
    """Yield the fields of a dataclass that can be options, as parameters for typer."""
    hints = get_type_hints(kind, include_extras=True)
    texts, panels = field_help(kind), field_panels(kind)
    for field in dataclasses.fields(kind):
        plain = plain_type(hints[field.name])
        if field.init and field.name not in skip and plain is not None:
            heading = panel or panels[field.name]
            made = option(field, plain, texts.get(field.name, ""), heading)
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=made
            )


def check_local(path: Path) -> None:
    """Refuse an address where only a path can stand: it would be taken for a folder ``s3:``."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]", str(path))
    if found:
        slashes = "///" if found[1] == "file" else "//"
        raise ParameterError(
            f"{found[1]}:{slashes}{str(path)[found.end() :]} is an address, and only a local path "
            "can stand here. Give one, without file://."
        )


def flatten(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose dataclass parameters are spread into options.

    Parameters
    ----------
    function
        A verb. Parameters annotated with a frozen dataclass arrive as an instance of it; those
        annotated ``Annotated[dict, StepOptions(...)]`` as a dictionary of the fields that the user
        has set. All others are left to typer.

    Returns
    -------
    callable
        With the signature that typer reads.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        marks = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, StepOptions)]
        if marks:
            spread = list(options_of(marks[0].step, marks[0].panel, marks[0].skip))
            groups[parameter.name] = (dict, [p.name for p in spread])
        elif dataclasses.is_dataclass(hint):
            spread = list(options_of(hint, "", ()))  # type: ignore[arg-type]
            groups[parameter.name] = (hint, [p.name for p in spread])  # type: ignore[assignment]
        else:
            spread = [parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)]
        parameters += spread

    def spread_out(**given: Any) -> Any:
        for value in given.values():
            if isinstance(value, Path):
                check_local(value)
        for name, (kind, names) in groups.items():
            chosen = {n: given.pop(n) for n in names}
            given[name] = kind(**{n: value for n, value in chosen.items() if value is not None})
        try:
            return function(**given)
        except KeyboardInterrupt:
            raise CancelledError("Stopped.") from None

    spread_out.__name__, spread_out.__doc__ = function.__name__, function.__doc__
    spread_out.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread_out.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread_out


def verb(app: typer.Typer, name: str | None = None) -> Callable[..., Callable[..., Any]]:
    """Return a decorator that makes a function a verb of an app, with its options spread out.

    Parameters
    ----------
    app
        Where the verb goes.
    name
        Its name, if not that of the function.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        app.command(name, cls=PlainCommand)(flatten(function))
        return function

    return register
