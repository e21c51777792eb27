"""Every example of the README and the documentation runs.

A page is one session: its blocks run in order, in one folder and one Python namespace. Blocks of
``python`` are executed, blocks of ``bash`` are given to bash. A block that cannot run here says so
in the line before it: ``<!-- not run: REASON -->``. Other languages are output or data.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(path for path in ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>```+|~~~+)(?P<language>.*)$")
SKIP = re.compile(r"<!-- not run: (?P<reason>\S.{9,}) -->")
RUN = {"python", "bash"}
INERT = {"text", "toml", "json"}
NOT_RUN = 6
"""Blocks that may be marked as not run, on all pages together; each is one too many."""


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
        "PROJECTOME_CACHE": str(folder / ".cache"),
    }


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.language in RUN for b in blocks(p.read_text()))], ids=name
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "PROJECTOME_CACHE"):
        monkeypatch.setenv(variable, environment(tmp_path)[variable])
    module = types.ModuleType("__example__")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language not in RUN or block.skipped:
            continue
        if block.language == "python":
            text = "\n" * block.line + block.code
            code = compile(text, str(page), "exec", dont_inherit=True)
            exec(code, vars(module))  # noqa: S102
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        where = f"{name(page)}:{block.line}"
        assert done.returncode == 0, f"{where}\n{block.code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_block_escapes(page):
    """All fences are seen, and what looks like a command or code is not hidden as text."""
    text = page.read_text(encoding="utf-8")
    found = blocks(text)
    assert 2 * len(found) == sum(
        line.lstrip().startswith(("```", "~~~")) for line in text.split("\n")
    )
    for block in found:
        if block.language in INERT:
            hidden = re.search(r"^(\$ |projectome |import |from \w+ import )", block.code, re.M)
            assert not hidden, f"{name(page)}:{block.line} hides {hidden[0]!r}"
    markers = len(re.findall(r"<!--\s*not run", text))
    assert markers == sum(bool(block.skipped) for block in found), "a marker without its block"
    assert not re.search(r"<(pre|code)\b", text), "a block that no fence opens"


def test_few_blocks_are_skipped():
    skipped = [
        f"{name(page)}:{b.line} {b.skipped}"
        for page in PAGES
        for b in blocks(page.read_text())
        if b.skipped
    ]
    assert len(skipped) <= NOT_RUN, "\n".join(skipped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ```bash\nfalse\n  ```\n", "no fence"),
        ("~~~bash\nfalse\n~~~\n", "no fence"),
        ("```sh\nfalse\n```\n", "no fence"),
        ("```bash title=x\nfalse\n```\n", "no fence"),
        ("```bash\nfalse\n", "not closed"),
    ],
)
def test_a_fence_of_another_kind_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        blocks(text)


def test_a_block_is_skipped_only_with_a_reason_right_above():
    block = "```bash\nfalse\n```\n"
    (skipped,) = blocks("<!-- not run: needs a network -->\n" + block)
    assert skipped.skipped == "needs a network"
    for above in (
        "<!-- not run -->\n",
        "<!-- not run: x -->\n",
        "<!-- not run: needs a net -->\n\n",
    ):
        assert not blocks(above + block)[0].skipped


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    decisions = (ROOT / "docs/decisions/index.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        place = page.relative_to(ROOT / "docs").as_posix()
        listed = f": {place}\n" in navigation or f"]({page.name})" in decisions
        assert listed, f"{place} is in no menu, nor in docs/decisions/index.md"


def test_the_module_of_every_public_name_is_in_the_reference():
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    stub = (ROOT / "src/projectome/__init__.pyi").read_text(encoding="utf-8")
    modules = set(re.findall(r"^from (projectome\.[\w.]+) import", stub, re.MULTILINE))
    assert len(modules) > 20
    assert [name for name in sorted(modules) if f"::: {name}\n" not in pages] == []
