import json

import numpy as np
import pytest

import projectome
from projectome.core.points import Points
from projectome.core.space import Space


@pytest.fixture
def labels(tmp_path):
    truth = np.zeros((8, 32, 32), np.uint32)
    truth[2:6, 2:14, 2:30], truth[2:6, 18:30, 2:30] = 1, 2
    found = np.where(truth == 2, 1, truth)
    for name, array in (("truth", truth), ("found", found)):
        volume = projectome.Volume.from_array(array, voxel_size=(1, 1, 1), kind="labels")
        projectome.write_volume(volume, str(tmp_path / f"{name}.ome.zarr"))
    return tmp_path / "truth.ome.zarr", tmp_path / "found.ome.zarr"


def test_a_table_for_people(say, labels):
    said = say("evaluate", "labels", *labels)
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[0].split() == ["labels", "value", "95", "%", "from", "to", "of"]
    merge = next(line for line in lines if line.startswith("VOI merge"))
    assert merge.split()[3] == "1"  # one bit: two equal neurons in one label
    assert "2 true objects" in merge
    assert "merge: label 1  1,344 voxels  2, " in said.out
    assert "1 errors in all" in said.out
    assert said.err == ""


def test_one_document_and_a_page(say, labels, tmp_path):
    said = say("evaluate", "labels", *labels, "--json", "--report", tmp_path / "page")
    assert said.status == 0
    found = said.json
    assert found["figures"][1]["name"] == "VOI merge [bits]"
    assert found["figures"][1]["value"] == 1
    assert found["report"] == str(tmp_path / "page" / "index.html")
    page = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    assert page["figures"] == found["figures"]
    again = say("evaluate", "labels", *labels, "--report", tmp_path / "page")
    assert again.status == 2
    assert "add --overwrite" in again.err
    assert (
        say("evaluate", "labels", *labels, "--report", tmp_path / "page", "--overwrite").status == 0
    )


def test_options_reach_the_scores(say, labels, tmp_path):
    said = say("evaluate", "labels", *labels, "--compat", "funlib", "--json")
    assert [f["name"] for f in said.json["figures"]][:2] == ["voi_split", "voi_merge"]
    masked = say("evaluate", "voxels", *labels, "--positive", "2", "--ignored", "0", "--json")
    assert masked.json["settings"]["positive"] == [2]
    assert masked.json["counts"]["voxels"] == 2 * 1344
    for name, shift in (("a", 0.0), ("b", 4.0)):
        cells = Points(np.arange(30.0).reshape(10, 3) * 10 + shift, Space())
        projectome.write_points(cells, tmp_path / f"{name}.csv")
    files = tmp_path / "a.csv", tmp_path / "b.csv"
    near = say("evaluate", "points", *files, "--distance", "7", "--json").json
    assert next(f["value"] for f in near["figures"] if f["name"] == "F1") == 1
    far = say("evaluate", "points", *files, "--distance", "6", "--json").json
    assert next(f["value"] for f in far["figures"] if f["name"] == "F1") == 0


def test_plans_and_wrong_calls(say, labels, tmp_path):
    planned = say("evaluate", "labels", *labels, "--plan", "--json")
    assert planned.json["kind"] == "labels"
    for words, message in (
        (("labels", labels[0], tmp_path / "none.zarr"), "none.zarr"),
        (("lables", *labels), "Did you mean 'labels'"),
        (("points", *labels), "is a folder"),
    ):
        said = say("evaluate", *words)
        assert said.status in (1, 2)
        assert "defect" not in said.err
        if words[0] != "points":
            assert message in said.err
