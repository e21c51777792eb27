"""The reference of the command line is that of the verbs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from projectome.cli.main import VERBS

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("command_line", HERE / "command_line.py")
command_line = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command_line)


def test_the_page_is_current():
    current = command_line.PAGE.read_text(encoding="utf-8")
    assert command_line.MARK in current
    assert current == command_line.page(), "run: python tests/docs/command_line.py"


def test_every_verb_is_in_the_reference():
    text = command_line.reference()
    assert all(f"### {name}\n" in text for name in VERBS)
    assert "\x1b" not in text
