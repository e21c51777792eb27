"""Options of the command line, made from typed dataclasses.

A verb takes groups of options as dataclasses. `flatten` turns each field into an option: its type,
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
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from projectome.errors import ParameterError

PANEL_INPUT, PANEL_RUN = "Input", "Run"


@dataclass(frozen=True)
class VolumeOptions:
    """What the file does not say, and how to reach it.

    Attributes
    ----------
    level
        Level of the pyramid, 0 is the finest.
    channel
        Channel by name or number.
    time
        Time point, where the file has several.
    voxel_size
        Voxel size Z,Y,X [um].
    axes
        Meaning of the array axes, for instance zyx or tczyx.
    orientation
        Anatomical code of the axes, for instance asr; needs --meaning.
    meaning
        What a letter of the code names: where the axis runs toward, or from.
    expansion
        Micrometres of gel for one micrometre of tissue.
    strict
        A missing chunk is an error instead of background.
    endpoint
        Address of an S3 service other than AWS.
    anonymous
        Ask S3 without credentials, or sign with yours.
    """

    level: int = 0
    channel: str | None = None
    time: int | None = None
    voxel_size: tuple[float, float, float] | None = None
    axes: str | None = None
    orientation: str | None = None
    meaning: Literal["toward", "from"] | None = None
    expansion: float | None = None
    strict: bool = False
    endpoint: str | None = None
    anonymous: bool | None = None


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run.

    Attributes
    ----------
    workers
        Worker processes; one a core by default.
    memory
        What all workers together may use, for instance 8GB.
    executor
        serial, processes, or dask://HOST:PORT.
    overwrite
        Replace an output that other parameters made.
    plan
        Say what would be done and what it costs, and do nothing.
    """

    workers: int | None = None
    memory: str | None = None
    executor: str = "processes"
    overwrite: bool = False
    plan: bool = False


@dataclass(frozen=True)
class TalkOptions:
    """How to answer.

    Attributes
    ----------
    json
        Print one JSON document on standard output, and nothing else there.
    quiet
        No progress on standard error.
    """

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


PAIRS = {"anonymous": "--anonymous/--signed"}


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
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    texts: dict[str, list[str]] = {}
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


def plain_type(hint: Any) -> Any:
    """Return a type without its ``None``; None if it cannot be an option."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        return plain_type(str if set(rest) == {str, int} else rest[0]) if rest else None
    if hint in (int, float, str, bool, Path) or get_origin(hint) is Literal:
        return hint
    if get_origin(hint) is tuple and get_args(hint)[0] in (int, float):
        return hint
    return None


def option(field: dataclasses.Field[Any], hint: Any, text: str, panel: str) -> Any:
    """Return the annotation that makes typer show a field as an option."""
    name = field.name.replace("_", "-")
    flags = PAIRS.get(field.name, f"--{name}")
    kind = plain_type(hint)
    extra: dict[str, Any] = {"help": text or None, "rich_help_panel": panel}
    if field.default not in (None, dataclasses.MISSING):
        shown = field.default
        joined = ",".join(f"{v:g}" for v in shown) if isinstance(shown, tuple) else str(shown)
        extra["show_default"] = False if isinstance(shown, bool) else joined
    else:
        extra["show_default"] = False
    if kind is bool and field.name not in PAIRS:
        flags = f"--{name}/--no-{name}" if field.default is True else flags
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        count = None if parts[-1] is Ellipsis else len(parts)
        extra["parser"] = functools.partial(numbers, count=count, kind=parts[0])
        extra["metavar"] = "Z,Y,X" if count == 3 else "N,N,..."
        kind = object
    return Annotated[kind | None if kind is not object else Any, typer.Option(flags, **extra)]


def option_fields(kind: type, skip: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any, str]]:
    """Yield (field, type, help) of the fields of a dataclass that can be options."""
    hints = get_type_hints(kind, include_extras=True)
    texts = field_help(kind)
    for field in dataclasses.fields(kind):
        if field.init and field.name not in skip and plain_type(hints[field.name]) is not None:
            yield field, hints[field.name], texts.get(field.name, "")


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
    groups: dict[str, tuple[type | None, list[str]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        mark = next(
            (m for m in getattr(hint, "__metadata__", ()) if isinstance(m, StepOptions)), None
        )
        if mark is None and not dataclasses.is_dataclass(hint):
            parameters.append(
                parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)
            )
            continue
        kind = mark.step if mark else hint
        panel = mark.panel if mark else (PANEL_INPUT if kind is VolumeOptions else PANEL_RUN)
        names = []
        for field, field_hint, text in option_fields(kind, mark.skip if mark else ()):
            annotation = option(field, field_hint, text, panel)
            names.append(field.name)
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                )
            )
        groups[parameter.name] = (None if mark else kind, names)

    def verb(**given: Any) -> Any:
        for name, (kind, names) in groups.items():
            chosen = {n: given.pop(n) for n in names}
            chosen = {n: value for n, value in chosen.items() if value is not None}
            given[name] = chosen if kind is None else kind(**chosen)
        return function(**given)

    verb.__name__, verb.__doc__ = function.__name__, function.__doc__
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in parameters}
    return verb
