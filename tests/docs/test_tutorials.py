"""The tutorials run against small replicas of the buckets they name, and say what they show.

A block of ``text`` right below one that runs is its output, where a line ``...`` stands for any
lines; ``python tests/docs/tutorials.py`` writes those without such a line, and the pictures.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

spec = importlib.util.spec_from_file_location("tutorials", Path(__file__).with_name("tutorials.py"))
tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tutorials)


@pytest.fixture(scope="module")
def large_buckets():
    # 150 MB, which pytest would keep for three runs.
    with tempfile.TemporaryDirectory() as folder, tutorials.serve(Path(folder)) as endpoint:
        yield endpoint


@pytest.mark.server
@pytest.mark.parametrize("page", tutorials.PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page, tmp_path, monkeypatch, large_buckets):
    monkeypatch.chdir(tmp_path)
    for variable, value in tutorials.settings_of(tmp_path, large_buckets).items():
        monkeypatch.setenv(variable, value)
    text = page.read_text(encoding="utf-8")
    shown = tutorials.outputs(text)
    assert shown
    for block, out in tutorials.pages.run_page(page, tmp_path):
        said = tutorials.plain(out, tmp_path)
        if block.line in shown:
            assert tutorials.same(shown[block.line].code, said), f"{page.name}:{block.line}\n{said}"
    pictures = tutorials.pictures(text)
    assert pictures
    for picture in pictures:
        committed = tutorials.IMAGES / picture
        assert committed.stat().st_size < 150_000
        with Image.open(committed) as was, Image.open(tmp_path / picture) as now:
            assert was.size == now.size
            apart = np.subtract(*(np.asarray(i.convert("RGB"), float) for i in (was, now)))
        assert np.abs(apart).mean() < 6, f"{picture} is another: run tests/docs/tutorials.py"


def test_every_picture_is_in_a_tutorial():
    named = {p for page in tutorials.PAGES for p in tutorials.pictures(page.read_text())}
    assert named == {path.name for path in tutorials.IMAGES.iterdir()}


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nb  \n\n", True),
        ("a\nb\n", "a\nc\nb\n", False),
        ("a\n...\nb\n", "a\nc\nd\nb\n", True),
        ("a\n...\n", "a\n", True),
        ("...\nb\n", "a\nb\nc\n", False),
        ("a\n...\nb\n", "b\na\n", False),
        ("b (2)\n", "b [2]\n", False),
    ],
)
def test_what_is_shown_is_what_was_said(shown, said, same):
    assert tutorials.same(shown, said) is same
