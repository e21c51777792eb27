"""The verb `describe`: options, questions on a terminal, and what it writes."""

from __future__ import annotations

import io
import json
import sys

import pytest

from projectome.cli.main import main
from projectome.io.metadata.ensp import read_metadata

NEEDED = (
    *("--species", "Mus musculus", "--labelling", "Thy1-GFP", "--clearing", "none"),
    *("--microscope", "LSM 880", "--licence", "CC-BY-4.0", "--creator", "Ada Byron"),
)


class Terminal(io.StringIO):
    """Standard input or error that is a terminal."""

    def isatty(self):
        return True


def test_it_writes_what_it_answers(say, brain, tmp_path):
    out = tmp_path / "metadata.json"
    said = say(
        "describe", brain, "--out", out, *NEEDED, "--creator", "B C", "--dye", "EGFP", "--json"
    )
    assert said.status == 0, said.err
    written = json.loads(out.read_text())
    answered = said.json
    assert answered.pop("out") == [str(out)]
    assert answered.pop("problems") == []
    assert answered == written
    metadata = read_metadata(out)
    assert metadata.image.shape == (56, 72, 80)
    assert metadata.image.toward == ("posterior", "inferior", "right")
    assert [creator.name for creator in metadata.creators] == ["Ada Byron", "B C"]
    assert metadata.image.channels[0].dye == "EGFP"


def test_off_a_terminal_nothing_is_asked(say, brain, tmp_path):
    said = say("describe", brain, "--out", tmp_path / "m.json")
    assert said.status == 2
    for option in ("--species", "--labelling", "--clearing", "--microscope", "--creator"):
        assert option in said.err
    assert not (tmp_path / "m.json").exists()


def on_terminal(monkeypatch, typed: str, *words: object) -> tuple[int, str]:
    """Run a command with a terminal where these lines are typed; return status and what it says."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code, screen.getvalue()


def test_on_a_terminal_what_is_missing_is_asked(own_home, brain, tmp_path, monkeypatch):
    out = tmp_path / "m.json"
    typed = "Ada <0000-0002-1825-0097>; B C\nfree\nCC0-1.0\n"
    status, asked = on_terminal(monkeypatch, typed, "describe", brain, "--out", out, *NEEDED[:8])
    assert status == 0, asked
    assert "Creators" in asked
    assert "no SPDX licence" in asked
    assert read_metadata(out).licence == "CC0-1.0"


def test_questions_that_are_not_answered_write_nothing(own_home, brain, tmp_path, monkeypatch):
    out = tmp_path / "m.json"
    status, asked = on_terminal(monkeypatch, "Ada\n", "describe", brain, "--out", out, *NEEDED[:8])
    assert status == 2
    assert "The input ended before all questions were answered" in asked
    assert not out.exists()


def test_what_is_wrong_is_told_by_its_option(say, brain, tmp_path):
    said = say("describe", brain, "--out", tmp_path / "m.json", *NEEDED, "--age", "old")
    assert said.status == 2
    assert "--age: 'old' is not right" in said.err


def test_an_earlier_description_fills_the_options(say, brain, tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert say("describe", brain, "--out", first, *NEEDED, "--region", "cortex").status == 0
    said = say("describe", brain, "--out", second, "--from", first, "--region", "thalamus")
    assert said.status == 0, said.err
    assert read_metadata(second).specimen.region == "thalamus"
    assert read_metadata(second).licence == "CC-BY-4.0"


def test_a_broken_earlier_description_lists_its_problems(say, brain, tmp_path):
    first = tmp_path / "a.json"
    first.write_text('{"titel": "x"}')
    said = say("describe", brain, "--out", tmp_path / "b.json", "--from", first)
    assert said.status == 1
    assert "did you mean 'title'?" in said.err
    assert "specimen: Field required" in said.err


def test_aind_files_go_into_a_folder_and_losses_are_told(say, brain, tmp_path):
    out = tmp_path / "aind"
    words = ("describe", brain, "--out", out, "--format", "aind", *NEEDED)
    more = ("--subject", "m1", "--acquired", "2026-05-01T14:30:00+02:00")
    said = say(*words, *more)
    assert said.status == 0, said.err
    assert [path.name for path in out.iterdir()] == ["acquisition.json"]
    assert "subject.json: not written: it needs --sex, --born, --genotype" in said.err
    assert "licence: has no field there" in said.err
    again = say(*words, *more)
    assert again.status == 2
    assert "exists" in again.err
    assert say(*words, *more, "--overwrite").status == 0
    none = say("describe", brain, "--out", tmp_path / "none", "--format", "aind", *NEEDED)
    assert none.status == 1
    assert not (tmp_path / "none").exists()


def test_outputs_are_refused_before_any_work(say, brain, tmp_path):
    assert "has to end in .json" in say("describe", brain, "--out", tmp_path / "m.txt").err
    (tmp_path / "m.json").touch()
    assert "exists" in say("describe", brain, "--out", tmp_path / "m.json").err
