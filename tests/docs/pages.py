"""The blocks of a page of documentation, and how they are run.

A page is one session: its blocks run in order, in one folder and one Python namespace. Blocks of
``python`` are executed, blocks of ``bash`` are given to bash; if they hold nothing but calls of
projectome, these are made in this process, which has imported everything already. A block that
cannot run here says so in the line before it: ``<!-- not run: REASON -->``. Other languages are
output or data.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>```+|~~~+)(?P<language>.*)$")
SKIP = re.compile(r"<!-- not run: (?P<reason>\S.{9,}) -->")
QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
SHELL = re.compile(r"""[]['"|&;<>$`*?~#(){}\\]""")
"""What a shell gives a meaning to, where it is not quoted."""
RUN = {"python", "bash"}
INERT = {"text", "toml", "json"}


class Block(NamedTuple):
    """A fenced block: its language, text, first line, and why it is not run."""

    language: str
    code: str
    line: int
    skipped: str


def blocks(text: str) -> list[Block]:
    """Return all fenced blocks of a page.

    Raises
    ------
    ValueError
        If a fence is indented, of an unknown kind, or not closed: it would escape this test.
    """
    found: list[Block] = []
    opened: tuple[str, int, str] | None = None
    code: list[str] = []
    previous = ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is not None:
            if line == "```":
                found.append(Block(opened[0], "\n".join(code) + "\n", opened[1], opened[2]))
                opened, code = None, []
            else:
                code.append(line)
        elif fence is not None:
            language = fence["language"]
            if fence["indent"] or fence["fence"] != "```" or language not in RUN | INERT:
                raise ValueError(f"line {number}: {line!r} is no fence that is looked at")
            skip = SKIP.fullmatch(previous)
            opened = (language, number, skip["reason"] if skip else "")
        previous = line
    if opened is not None:
        raise ValueError(f"line {opened[1]}: the block is not closed")
    return found


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a user who has projectome on the path, and a home of his own."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "PROJECTOME_CONFIG": str(folder / ".config" / "projectome" / "config.toml"),
        "PROJECTOME_CACHE": str(folder / ".cache"),
    }


def run_page(page: Path, folder: Path) -> Iterator[tuple[Block, str]]:
    """Run the blocks of a page in a folder, which is the current one; yield what they say.

    Raises
    ------
    AssertionError
        If a command fails; it says what and where.
    """
    module = types.ModuleType("__example__")
    sys.modules[module.__name__] = module
    try:
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.language in RUN and not block.skipped:
                yield block, run_block(block, page, folder, module)
    finally:
        del sys.modules[module.__name__]


def calls(code: str) -> list[list[str]]:
    """Return the words of each call of projectome; none if the block asks more of the shell."""
    lines = code.replace("\\\n", " ").splitlines()
    plain = all(x.startswith("projectome ") and not SHELL.search(QUOTED.sub("", x)) for x in lines)
    return [shlex.split(line)[1:] for line in lines] if plain else []


def call(words: list[str], where: str) -> str:
    """Call projectome in this process; return what it says on both streams."""
    from projectome.cli.console import stop_log
    from projectome.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words)
        except SystemExit as left:
            status = left.code
        finally:
            stop_log()
    assert status == 0, f"{where}\nprojectome {shlex.join(words)}\n{said.getvalue()}"
    return said.getvalue()


def run_block(block: Block, page: Path, folder: Path, module: types.ModuleType) -> str:
    where = f"{page.relative_to(ROOT).as_posix()}:{block.line}"
    if block.language == "python":
        text = "\n" * block.line + block.code
        code = compile(text, str(page), "exec", dont_inherit=True)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, vars(module))  # noqa: S102
        return said.getvalue()
    if commands := calls(block.code):
        return "".join(call(words, where) for words in commands)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{where}\n{block.code}\n{done.stdout}"
    return done.stdout
