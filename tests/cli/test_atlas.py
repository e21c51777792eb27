"""The verbs of atlases."""

import json

import pandas as pd
import pytest

from projectome.cli.main import main
from projectome.datasets.phantom import make_phantom


@pytest.fixture(scope="module")
def small():
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch, small):
    monkeypatch.setattr("projectome.workflows.atlas._phantom", lambda: small)
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def call(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["atlas", *words])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_info_and_regions(capsys):
    status, out, _ = call(capsys, "info", "phantom", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["regions"], found["hemispheres"]) == (111, "by a midline")
    status, out, _ = call(capsys, "regions", "phantom", "RSP", "--inside", "--json")
    names = [region["acronym"] for region in json.loads(out)["regions"]]
    assert names == ["RSP", "RSP1", "RSP2/3", "RSP5", "RSP6a"]
    status, out, _ = call(capsys, "regions", "phantom", "hippocamp")
    assert "Hippocampal formation" in out


def test_volumes(capsys, tmp_path):
    status, out, _ = call(capsys, "volumes", "phantom", "RSP", "corpus callosum")
    assert status == 0
    assert "left [mm3]" in out
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["RSP", "cc"]
    status, out, _ = call(capsys, "volumes", "phantom", "--out", "all.csv", "--json")
    table, listed = pd.read_csv("all.csv"), json.loads(out)["regions"]
    assert len(table) == len(listed) == 3 * 111
    status, _, err = call(capsys, "volumes", "phantom", "--out", "all.csv")
    assert status == 2
    assert "--overwrite" in err


def test_a_slice(capsys, tmp_path):
    status, _, _ = call(capsys, "slice", "phantom", "--out", "a.png", "--axis", "y", "--depth", "5")
    assert status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_ls_of_a_folder(capsys, tmp_path):
    (tmp_path / "tree" / "atlases" / "toy_25um" / "2_1").mkdir(parents=True)
    status, out, _ = call(capsys, "ls", "tree", "--json")
    assert status == 0
    assert [(a["name"], a["version"]) for a in json.loads(out)["atlases"]] == [("toy_25um", "2.1")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("volumes", "phantom", "RSPP"), "Did you mean 'RSP'"),
        (("regions", "phantom", "RSPq"), "projectome atlas regions phantom"),
        (("info", "nowhere/atlas"), "nowhere/atlas"),
        (("show",), "goes on with one of ls, info, regions, volumes, slice"),
        ((), "goes on with one of"),
        (("slice", "phantom", "--out", "a.png", "--at", "99999"), "there is no plane at 99999 um"),
    ],
)
def test_wrong_calls(capsys, words, told):
    status, out, err = call(capsys, *words)
    assert status in (1, 2)
    assert not out
    assert told in err
