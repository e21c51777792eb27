"""Every example of the README and the documentation runs.

How, says ``pages.py``. The tutorials have a test of their own, which looks at their output too.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)
blocks, environment, run_page = pages.blocks, pages.environment, pages.run_page
ROOT, RUN, INERT = pages.ROOT, pages.RUN, pages.INERT
PAGES = [
    *sorted(path for path in ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TUTORIALS = ROOT / "docs" / "tutorials"
NOT_RUN = 8
"""Blocks that may be marked as not run, on all pages together; each is one too many."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if (page.parent != TUTORIALS or page.stem == "index")
        and any(b.language in RUN for b in blocks(page.read_text()))
    ],
    ids=name,
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "PROJECTOME_CONFIG", "PROJECTOME_CACHE"):
        monkeypatch.setenv(variable, environment(tmp_path)[variable])
    for _ in run_page(page, tmp_path):
        pass


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
