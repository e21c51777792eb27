"""What the command line says: answers on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from projectome.cli.options import TalkOptions
from projectome.core.provenance import software_version
from projectome.errors import AccessDeniedError, CancelledError, ProjectomeError, RunError
from projectome.settings import format_bytes, resolve


def printable(text: str) -> str:
    r"""Return a text with what would steer a terminal escaped, as ``\x1b``; lines stay lines."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


class Terminal(Console):
    """Prints texts that may hold names out of files and stores."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts escaped, and anything else as rich does."""
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)


class _Lines(logging.Formatter):
    """Logs are looked at on terminals too."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


STDERR = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
LOG = logging.getLogger("projectome")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False
UNPRINTABLE = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""What JSON lets pass and a terminal acts on, or cannot encode."""
DIGITS = 4
"""Digits that the largest number of a column is shown with, if it has a fraction."""
UNITS = ("_um", "_mm", "_bytes")
"""Endings of names that are units."""
RESUMABLE = ("reconstruct", "trace", "demo", "convert", "detect", "segment", "download")
"""Verbs that go on where they were stopped."""


def start_log(path: Path) -> None:
    """Send the log of this process to a file, which is appended to.

    Parameters
    ----------
    path
        Where; its folder is made.

    Raises
    ------
    AccessDeniedError
        If it cannot be written.
    """
    stop_log()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise AccessDeniedError(
            f"Cannot write the log {path}: {error.strerror}. Choose another output."
        ) from None
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.info("projectome %s: %s", software_version(), shlex.join(sys.argv[1:]))


def stop_log() -> None:
    """Close the log of this process, if there is one."""
    for handler in LOG.handlers[:]:
        if isinstance(handler, logging.FileHandler):
            LOG.removeHandler(handler)
            handler.close()


def start_verb_log(verb: str) -> None:
    """Start the log of a verb whose output is not a folder, in the cache if that can be written."""
    with contextlib.suppress(AccessDeniedError):
        start_log(logs_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{verb}-{os.getpid()}.log")


def logs_folder() -> Path:
    """Return where the logs are of verbs whose output is not a folder."""
    return resolve()[0].cache / "logs"


def log_file() -> Path | None:
    """Return the log of this process, if there is one."""
    files = (Path(h.baseFilename) for h in LOG.handlers if isinstance(h, logging.FileHandler))
    return next(files, None)


def answer(talk: TalkOptions, document: Mapping[str, Any], text: str = "") -> None:
    """Print the answer of a verb: one JSON document, or a text for people.

    Parameters
    ----------
    talk
        What the user asked for.
    document
        The whole answer as plain data.
    text
        The same for people; nothing is printed if empty.
    """
    if talk.json:
        print_json(document)
    elif text:
        sys.stdout.write(printable(text) + "\n")


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(as_json(document), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(UNPRINTABLE.sub(lambda c: f"\\u{ord(c[0]):04x}", text) + "\n")


def as_json(value: Any) -> Any:
    """Return what JSON can hold; NaN and infinity, which it does not have, become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_json(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def note(talk: TalkOptions, text: str) -> None:
    """Say something on standard error, unless asked to be quiet."""
    LOG.info("%s", text)
    if not talk.quiet:
        STDERR.print(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as text, as wide as it has to be; numbers are set to the right.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells. Numbers with a fraction get the same decimals all down a column.
    """
    cells = [column_texts([row[i] for row in rows]) for i in range(len(columns))]
    right = [bool(rows) and all(is_number(row[i]) for row in rows) for i in range(len(columns))]
    widths = [max(map(len, (name, *c))) for name, c in zip(columns, cells, strict=True)]
    lines = []
    for line in (columns, *zip(*cells, strict=True)):
        texts = (
            f"{text:>{width}}" if to_right else f"{text:{width}}"
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)


def is_number(value: object) -> bool:
    """Say whether a value is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def column_texts(values: Sequence[Any]) -> list[str]:
    """Return the cells of a column as texts."""
    fractions = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v)]
    largest = max(fractions, default=0.0)
    whole = math.floor(math.log10(largest)) + 1 if largest >= 1 else 1
    decimals = max(0, DIGITS - whole)
    return [cell_text(value, decimals) for value in values]


def cell_text(value: object, decimals: int) -> str:
    """Return a cell for people: thousands apart, no powers of ten, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if is_number(value) else str(value)


def facts(entries: Mapping[str, Any]) -> str:
    """Return names and values below one another, units in brackets."""
    rows = []
    for name, value in entries.items():
        label, _, unit = name.rpartition("_") if name.endswith(UNITS) else (name, "", "")
        label = label.replace("_", " ") + (f" [{unit}]" if unit and unit != "bytes" else "")
        rows.append((label, fact_text(name, value)))
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label:{width}}  {value}".rstrip() for label, value in rows)


def fact_text(name: str, value: Any) -> str:
    """Return one value for people; its name says whether it is a size."""
    if isinstance(value, (tuple, list)):
        between = " x " if "voxel" in name else ", "
        return between.join(fact_text("", item) for item in value)
    if name.endswith("bytes"):
        return format_bytes(value)
    text = column_texts([value])[0]
    return text.rstrip("0").rstrip(".") if isinstance(value, float) and "." in text else text


def explain(error: BaseException, words: Sequence[str]) -> int:
    """Tell the user what went wrong and return the exit status.

    Parameters
    ----------
    error
        What ended the command.
    words
        The command's words.

    Returns
    -------
    int
        0 done, 1 the run failed, 2 the call was wrong.
    """
    as_json = "--json" in words
    if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, ProjectomeError):
        LOG.error("%s: %s", type(error).__name__, error)
        _complain(error.problem() if as_json else None, str(error))
        if isinstance(error, CancelledError) and words[0] in RESUMABLE:
            STDERR.print(f"Go on with: {shlex.join(['projectome', *words])}")
        elif isinstance(error, RunError) and error.exit_code == 1 and log_file() is not None:
            STDERR.print(f"The log is {log_file()}")
        return error.exit_code
    if hasattr(error, "format_message"):  # a usage error of the parser
        problem = {"type": "urn:projectome:UsageError", "title": "UsageError", "status": 400}
        text = str(error.format_message()).replace("Value error, ", "")
        _complain({**problem, "detail": text} if as_json else None, text)
        verb = words[0] if words and not words[0].startswith("-") else ""
        STDERR.print(f"See: projectome {verb + ' ' if verb else ''}--help")
        return 2
    return _unexpected(error, as_json)


def _complain(problem: Mapping[str, object] | None, text: str) -> None:
    if problem is not None:
        print_json(problem)
    STDERR.print(f"error: {text}", style="red")


def _unexpected(error: BaseException, as_json: bool) -> int:
    """Keep the traceback of a defect in a log and say where it is."""
    if log_file() is None:
        start_verb_log("crash")
    details = "".join(traceback.format_exception(error))
    LOG.error("%s", details)
    if log_file() is None:
        STDERR.print(details)
    text = (
        f"{type(error).__name__}: {error}. This is a defect of projectome; the details are in "
        f"{log_file() or 'the lines above'}. Please report it with them."
    )
    problem = {"type": "urn:projectome:Defect", "title": "Defect", "status": 500, "detail": text}
    _complain(problem if as_json else None, text)
    return 1
