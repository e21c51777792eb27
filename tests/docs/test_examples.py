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
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: .+? -->\n)?^```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
INERT = {"text", "toml", "json", "console", "mermaid", "yaml", ""}


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Return (language, code, line) of the blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        language = match["language"]
        assert language in INERT | {"python", "bash"}, f"{page}: unknown language {language!r}"
        if language in ("python", "bash") and not match["skip"]:
            line = text[: match.start("code")].count("\n")
            found.append((language, match["code"], line))
    return found


def environment() -> dict[str, str]:
    """Return the environment of a user who has projectome on the path."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()
    namespace: dict[str, object] = {"__name__": "__example__"}
    for language, code, line in blocks(page):
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec"), namespace)  # noqa: S102
            continue
        if re.search(r"^\s*make (demo|test)\b", code, re.MULTILINE):
            continue  # these two are what runs this test, and have tests of their own
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}:{line}\n{code}\n{done.stdout}\n{done.stderr}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name in navigation or name.startswith("decisions/"), f"{name} is in no menu"
