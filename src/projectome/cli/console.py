"""What the command line says: answers on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from projectome.cli.options import TalkOptions
from projectome.core.provenance import plain, software_version
from projectome.errors import CancelledError, ProjectomeError
from projectome.settings import resolve

STDERR = Console(stderr=True, soft_wrap=True, highlight=False)
STDOUT = Console(soft_wrap=True, highlight=False)
LOG = logging.getLogger("projectome")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


def start_log(path: Path) -> Path:
    """Send the log of this process to a file, which is appended to.

    Parameters
    ----------
    path
        Where; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for old in LOG.handlers[:]:
        LOG.removeHandler(old)
        old.close()
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.info("projectome %s: %s", software_version(), " ".join(sys.argv[1:]))
    return path


def start_verb_log(verb: str) -> Path:
    """Start the log of a verb whose output is not a folder, in the cache."""
    settings, _ = resolve()
    return start_log(settings.cache / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{verb}.log")


def answer(talk: TalkOptions, document: Mapping[str, Any], text: str | Table | None = None) -> None:
    """Print the answer of a verb: one JSON document, or a text or table for people.

    Parameters
    ----------
    talk
        What the user asked for.
    document
        The whole answer as plain data.
    text
        The same for people; nothing is printed if None.
    """
    if talk.json:
        sys.stdout.write(json.dumps(plain(document), indent=2, ensure_ascii=False) + "\n")
    elif text is not None:
        STDOUT.print(text)


def note(talk: TalkOptions, text: str) -> None:
    """Say something on standard error, unless asked to be quiet."""
    LOG.info("%s", text)
    if not talk.quiet:
        STDERR.print(text, markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table for people; numbers are set to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        made.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*(f"{v:,.3g}" if isinstance(v, float) else str(v) for v in row))
    return made


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
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        again = " ".join(["projectome", *words])
        error = CancelledError(f"Stopped. Finished blocks are kept; resume with: {again}")
    if isinstance(error, ProjectomeError):
        LOG.error("%s: %s", type(error).__name__, error)
        if "--json" in words:
            sys.stdout.write(json.dumps(error.problem(), indent=2) + "\n")
        STDERR.print(f"error: {error}", style="red", markup=False)
        return error.exit_code
    if hasattr(error, "format_message"):  # a usage error of the parser
        text = error.format_message()
        if "--json" in words:
            problem = {"type": "urn:projectome:UsageError", "title": "UsageError", "status": 400}
            sys.stdout.write(json.dumps({**problem, "detail": text}, indent=2) + "\n")
        verb = words[0] if words and not words[0].startswith("-") else ""
        STDERR.print(f"error: {text}", style="red", markup=False)
        STDERR.print(f"See: projectome {verb + ' ' if verb else ''}--help", markup=False)
        return 2
    if type(error).__name__ == "Exit":
        return int(getattr(error, "exit_code", 0))
    return _unexpected(error)


def _unexpected(error: BaseException) -> int:
    """Keep the traceback of a defect in a log and say where it is."""
    text = "".join(traceback.format_exception(error))
    if not any(isinstance(handler, logging.FileHandler) for handler in LOG.handlers):
        start_verb_log("crash")
    LOG.error("%s", text)
    where = next((h.baseFilename for h in LOG.handlers if isinstance(h, logging.FileHandler)), "")
    STDERR.print(
        f"error: {type(error).__name__}: {error}. This is a defect of projectome; the details are "
        f"in {where}. Please report it with that file.",
        style="red",
        markup=False,
    )
    return 1
