"""Options made from dataclasses, and what the command line says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest
import typer
from typer.testing import CliRunner

from projectome.cli.help import WIDEST, sections
from projectome.cli.main import VERBS, load, main
from projectome.cli.options import (
    StepOptions,
    TalkOptions,
    VolumeOptions,
    field_help,
    field_panels,
    flatten,
    numbers,
)
from projectome.errors import ParameterError


@dataclass(frozen=True)
class Blur:
    """A step.

    Attributes
    ----------
    source
        Where the image is.
    sigma_um
        Standard deviation Z,Y,X [um].
    mode
        What to do at the border.
    rounds
        How often.
    keep
        Whether to keep it.
    """

    name: ClassVar[str] = "blur"
    source: object = None
    sigma_um: tuple[float, float, float] = (1.0, 2.0, 3.0)
    mode: Literal["reflect", "zero"] = "reflect"
    rounds: int = 1
    keep: bool = True


def call(words: list[str]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @flatten
    def verb(
        url: str,
        volume: VolumeOptions,
        blur: Annotated[dict, StepOptions(Blur, "Blur", skip=("rounds",))],
        talk: TalkOptions,
    ) -> None:
        seen.update(url=url, volume=volume, blur=blur, talk=talk)

    result = CliRunner().invoke(app, words, catch_exceptions=False)
    seen["status"], seen["output"] = result.exit_code, result.output
    return seen


def test_defaults_are_those_of_the_classes():
    seen = call(["brain.zarr"])
    assert seen["volume"] == VolumeOptions()
    assert seen["talk"] == TalkOptions()
    assert seen["blur"] == {}


def test_fields_become_options_of_their_type():
    seen = call(
        ["brain.zarr", "--voxel-size", "4,2,2.5", "--signed", "--meaning", "from", "--json",
         "--sigma-um", "1,1,2", "--mode", "zero", "--no-keep"]
    )  # fmt: skip
    assert seen["volume"].voxel_size == (4.0, 2.0, 2.5)
    assert seen["volume"].anonymous is False
    assert seen["volume"].meaning == "from"
    assert seen["talk"].json
    assert seen["blur"] == {"sigma_um": (1.0, 1.0, 2.0), "mode": "zero", "keep": False}


def test_help_comes_from_the_docstring_and_skipped_fields_are_absent():
    text = call(["--help"])["output"]
    assert "Standard deviation Z,Y,X" in text
    assert "1,2,3" in text
    assert "--rounds" not in text
    assert "--source" not in text


def test_wrong_values_are_refused():
    assert call(["brain.zarr", "--mode", "wrap"])["status"] == 2
    with pytest.raises(ParameterError, match="3 numbers separated by commas"):
        numbers("4,4", count=3)
    with pytest.raises(ParameterError, match="numbers"):
        numbers("a,b,c")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_all_its_options_described(verb, say):
    groups = sections(load(verb))
    rows = [row for group in groups for row in group.rows]
    bare = [left for left, right in rows if not right.strip("[] ")]
    assert not bare, f"options without a description: {bare}"
    said = say(verb, "--help")
    assert said.status == 0
    assert said.out.startswith(f"Usage: projectome {verb} ")
    assert all(f"  {left}" in said.out for left, _ in rows)
    assert max(map(len, said.out.splitlines())) <= WIDEST
    assert "Answer:" in said.out
    assert "--json" in said.out


def test_options_that_verbs_share_come_last_and_keep_their_brackets(say):
    titles = [line for line in say("mip", "--help").out.splitlines() if line.endswith(":")]
    assert titles == ["Options:", "Input:", "Place:", "Object store:", "Run:", "Answer:"]
    assert "Z,Y,X [um]" in say("mip", "--help").out


def test_a_class_inherits_the_options_of_its_base():
    @dataclass(frozen=True)
    class Base:
        """A base.

        Attributes
        ----------
        first
            The first.
        second
            The second.
        """

        panel: ClassVar[str] = "Base"

        first: int = 1
        second: int = 2

    @dataclass(frozen=True)
    class Derived(Base):
        """More.

        Attributes
        ----------
        second
            Another second.
        third
            The third.
        """

        panel: ClassVar[str] = "Derived"

        second: int = 3
        third: int = 4

    assert field_help(Derived) == {
        "first": "The first.",
        "second": "Another second.",
        "third": "The third.",
    }
    assert field_panels(Derived) == {"first": "Base", "second": "Base", "third": "Derived"}


def test_a_misspelt_verb_gets_a_suggestion_and_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["reconstrct"])
    assert stop.value.code == 2
    assert "Did you mean 'reconstruct'" in capsys.readouterr().err


def test_errors_with_json_are_problem_documents(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["info", str(tmp_path / "absent.zarr"), "--json"])
    assert stop.value.code == 1
    problem = json.loads(capsys.readouterr().out)
    assert problem["status"] == 404
    assert "absent.zarr" in problem["detail"]


def test_a_wrong_option_has_status_2_and_names_the_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["info", "x", "--levl", "1"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "--levl" in error
    assert "projectome info --help" in error
