"""Every verb from end to end, as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import projectome
from projectome.cli import house
from projectome.datasets.phantom import PRESETS
from projectome.errors import BlockFailedError

SHAPE = (56, 72, 80)
SOMA = (60.0, 70.0, 80.0)
FIBRE = "--from", "60,70,30", "--to", "60,70,130"


# Look


def test_info_shows_what_is_there(say, brain):
    said = say("info", brain)
    assert said.status == 0
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "brain: OME-Zarr, uint16, image"
    assert "56 x 72 x 80" in lines[3]
    assert "28 x 36 x 40" in lines[4]
    assert "z toward posterior, y toward inferior, x toward right" in said.out
    assert "0.112 x 0.144 x 0.16 mm" in said.out


def test_info_as_json_is_one_document(say, brain):
    found = say("info", brain, "--json").json
    assert found["levels"][0]["shape"] == list(SHAPE)
    assert found["levels"][1]["voxel_size_um"] == [4, 4, 4]
    assert found["toward"] == ["posterior", "inferior", "right"]
    assert found["problems"] == []


def test_info_says_what_is_missing_and_takes_your_word(say, tmp_path):
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((6, 20, 30), np.uint8), photometric="minisblack")
    said = say("info", stack)
    assert said.status == 2
    assert "6 x 20 x 30 uint8" in said.err
    assert "--voxel-size Z,Y,X" in said.err
    said = say("info", stack, "--voxel-size", "5,2,2", "--expansion", "4")
    assert "5 x 2 x 2" in said.out
    assert "orientation  unknown; state it with --orientation CODE" in said.out
    assert "expansion    4" in said.out
    said = say("info", stack, "--voxel-size", "5,2,2", "--orientation", "psl", "--meaning", "from")
    assert "z toward anterior" in said.out
    said = say("info", stack, "--voxel-size", "5,2,2", "--axes", "yxz")
    assert "30 x 6 x 20" in said.out
    for half in (("--orientation", "psl"), ("--meaning", "from")):
        said = say("info", stack, "--voxel-size", "5,2,2", *half)
        assert said.status == 2
        assert "go together" in said.err


def test_info_lists_problems_apart_from_the_answer(say, tmp_path):
    plane = tmp_path / "plane.ome.zarr"
    projectome.write_volume(
        projectome.Volume.from_array(np.ones((2, 3, 8, 9), np.uint8), voxel_size=(1, 1, 1)),
        str(plane),
    )
    attributes = json.loads((plane / ".zattrs").read_text())
    for axis in attributes["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    attributes["omero"]["channels"][0]["label"] = "[red]GFP[/red] :smile:"
    (plane / ".zattrs").write_text(json.dumps(attributes))
    said = say("info", plane)
    assert "[red]GFP[/red] :smile:" in said.out
    assert "warning" not in said.out
    assert "unit" in said.err
    found = say("info", plane, "--json")
    assert found.err == ""
    assert [p["severity"] for p in found.json["problems"]] == ["warning"] * len(
        found.json["problems"]
    )
    assert found.json["problems"]


def test_ls(say, brain, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b.txt").write_bytes(bytes(1500))
    said = say("ls", tmp_path)
    assert said.out.splitlines() == ["        a/", "1.5 kB  b.txt"]
    entries = say("ls", tmp_path, "--json").json["entries"]
    assert entries == [
        {"name": "a", "folder": True, "kind": "folder", "about": "", "bytes": None},
        {"name": "b.txt", "folder": False, "kind": "file", "about": "", "bytes": 1500},
    ]
    said = say("ls", tmp_path / "a")
    assert (said.status, said.out) == (0, "")
    assert "is empty" in said.err
    assert say("ls", tmp_path / "absent").status == 1


def test_mip_writes_a_picture_and_overwrites_only_on_request(say, brain, tmp_path):
    out = tmp_path / "mip.png"
    said = say("mip", brain, "--out", out)
    assert (said.status, said.out) == (0, "")
    assert "from level 0" in said.err
    with Image.open(out) as picture:
        assert picture.width > 500
    assert say("mip", brain, "--out", out).status == 2
    found = say("mip", brain, "--out", out, "--overwrite", "--axis", "y", "--json").json
    assert found["pixels"] == [SHAPE[0], SHAPE[2]]
    said = say("mip", brain, "--out", tmp_path / "mip.jpg")
    assert said.status == 2
    assert ".png" in said.err


@pytest.mark.parametrize("given", ["20:40", "10:20px"])
def test_mip_of_a_range_in_micrometres_and_in_voxels(say, brain, tmp_path, given):
    found = say("mip", brain, "--out", tmp_path / "a.png", "--range", given, "--json").json
    assert found["start_um"][0] == 19
    assert found["stop_um"][0] == 39
    coarse = say(
        "mip", brain, "--out", tmp_path / "b.png", "--range", given, "--level", "1", "--json"
    ).json
    assert coarse["level"] == 1
    assert coarse["start_um"][0] == 19


@pytest.mark.parametrize("level", ["0", "1"])
def test_mip_of_a_box_and_contrast_by_percentiles(say, brain, image, tmp_path, level):
    options = ("--box", "20:40,:,10:20px", "--percentiles", "5,95", "--level", level)
    found = say("mip", brain, "--out", tmp_path / "a.png", *options, "--json").json
    assert (found["start_um"], found["stop_um"]) == ([19, -1, 19], [39, 2 * SHAPE[1] - 1, 39])
    if level == "0":
        seen = image.read()[10:20, :, 10:20].max(axis=0)
        assert found["limits"] == pytest.approx(np.percentile(seen, (5, 95)).tolist())


def test_mip_says_what_is_wrong_with_percentiles_and_boxes(say, brain, tmp_path):
    out = tmp_path / "a.png"
    for given in ("99,1", "1,101", "-1,99"):
        said = say("mip", brain, "--out", out, f"--percentiles={given}")
        assert said.status == 2
        assert given in said.err
        assert "1,99.9" in said.err
    said = say("mip", brain, "--out", out, "--level", "1", "--box", "0:1px,0:1px,0:1px")
    assert said.status == 1
    assert "lower --level" in said.err


def test_a_box_is_seen_at_the_level_that_fills_a_picture(say, tmp_path):
    wide = tmp_path / "wide.ome.zarr"
    image = np.ones((2, 8, 4400), np.uint8)
    volume = projectome.Volume.from_array(image, voxel_size=(8, 1, 1))
    projectome.write_volume(volume, str(wide), levels=4)
    box = ("--box", ":,:,0:2200")
    found = say("mip", wide, "--out", tmp_path / "wide.png", *box, "--json").json
    assert found["level"] == 1
    assert found["pixels"] == [4, 1100]


def test_mip_looks_at_the_coarsest_level_that_fills_a_picture(say, tmp_path):
    wide = tmp_path / "wide.ome.zarr"
    image = np.zeros((2, 8, 4400), np.uint8)
    image[:, 4] = 9
    projectome.write_volume(
        projectome.Volume.from_array(image, voxel_size=(8, 1, 1)), str(wide), levels=4
    )
    found = say("mip", wide, "--out", tmp_path / "wide.png", "--json").json
    assert found["level"] == 2
    assert found["pixels"] == [2, 1100]
    found = say("mip", wide, "--out", tmp_path / "all.png", "--level", "0", "--json").json
    assert found["pixels"] == [8, 4400]


def test_profile_writes_a_table_and_a_picture(say, brain, image, tmp_path):
    out = tmp_path / "profile.csv"
    said = say("profile", brain, "--out", out, "--axis", "x")
    assert said.status == 0
    rows = pd.read_csv(out)
    np.testing.assert_allclose(rows["mean"], image.read(image.box).mean(axis=(0, 1)))
    np.testing.assert_allclose(rows["x_um"], 2 * np.arange(SHAPE[2]))
    assert (tmp_path / "profile.png").exists()
    part = say(
        "profile", brain, "--out", tmp_path / "part.csv", "--box", "20:40,:,:", "--json"
    ).json
    assert part["rows"]["z_um"] == list(range(20, 40, 2))
    assert say("profile", brain, "--out", out).status == 2
    assert say("profile", brain, "--out", tmp_path / "profile.txt").status == 2
    (tmp_path / "mine.png").write_bytes(b"mine")
    assert say("profile", brain, "--out", tmp_path / "mine.csv").status == 2
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


# One step at a time


def test_convert_a_box_in_voxels_or_micrometres(say, brain, image, tmp_path):
    for name, box in (("px", "0:10px,:,5:25px"), ("um", ":20,:,10:50")):
        out = tmp_path / f"{name}.ome.zarr"
        said = say("convert", brain, out, "--box", box, "--executor", "serial")
        assert said.status == 0
        assert "wrote" in said.err
        part = projectome.open_volume(str(out))[0]
        np.testing.assert_array_equal(
            part.read(part.box), image.read(image.box)[:10, :, 5:25], err_msg=name
        )
        assert part.affine.translation == (0, 0, 10)
    again = say("convert", brain, out, "--box", ":20,:,10:50", "--executor", "serial")
    assert again.status == 0
    assert "nothing to do" in again.err
    other = say("convert", brain, out, "--executor", "serial")
    assert other.status == 2
    assert "--overwrite" in other.err


def test_convert_plans_turns_and_writes_tiff(say, brain, image, tmp_path):
    out = tmp_path / "turned.tif"
    planned = say("convert", brain, out, "--level", "1", "--plan", "--json").json
    assert planned["voxels"] == np.prod(SHAPE) // 8
    assert planned["size_bytes"] == 2 * planned["voxels"]
    assert not out.exists()
    found = say("convert", brain, out, "--permute", "IPL", "--json").json
    assert found["toward"] == ["inferior", "posterior", "left"]
    turned = image.read(image.box).transpose(1, 0, 2)[:, :, ::-1]
    np.testing.assert_array_equal(tifffile.imread(out), turned)
    said = say("convert", brain, tmp_path / "what")
    assert said.status == 2
    assert ".zarr" in said.err


def test_convert_into_shards(say, brain, image, tmp_path):
    more = ("--shards", "64", "--encoding", "png", "--verify", "--executor", "serial")
    found = say("convert", brain, f"precomputed://{tmp_path}/layer", *more, "--json").json
    np.testing.assert_array_equal(
        projectome.open_volume(f"{tmp_path}/layer")[0].read(), image.read(image.box)
    )
    assert len(found["levels"]) == len(projectome.open_volume(f"{tmp_path}/layer"))
    info = json.loads((tmp_path / "layer" / "info").read_text())
    assert info["scales"][0]["encoding"] == "png"
    assert info["scales"][0]["sharding"]["hash"] == "identity"
    said = say("convert", brain, tmp_path / "b.nii.gz", "--shards", "32,32,32")
    assert said.status == 2
    assert "no shards to choose" in said.err


def test_detect_finds_the_soma(say, brain, tmp_path):
    out = tmp_path / "somata.csv"
    planned = say("detect", brain, "--out", out, "--plan", "--json").json
    assert planned["voxels"] == np.prod(SHAPE)
    assert planned["blocks"] > 1
    assert list(tmp_path.iterdir()) == []
    said = say("detect", brain, "--out", out, "--executor", "serial")
    assert said.status == 0
    assert "1 somata" in said.err
    rows = pd.read_csv(out)
    np.testing.assert_allclose(rows[["z_um", "y_um", "x_um"]].to_numpy()[0], SOMA, atol=0.5)
    assert rows["radius_um"][0] == pytest.approx(6, abs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["somata.csv"]
    assert say("detect", brain, "--out", out).status == 2
    assert say("detect", brain, "--out", tmp_path / "somata.txt").status == 2


def test_segment_labels_the_neurites(say, brain, tmp_path):
    out = tmp_path / "labels.ome.zarr"
    planned = say("segment", brain, "--out", out, "--plan")
    assert "memory budget" in planned.out
    assert list(tmp_path.iterdir()) == []
    said = say("segment", brain, "--out", out, "--executor", "serial", "--json", "--quiet")
    assert (said.status, said.err) == (0, "")
    assert said.json["out"] == str(out)
    labels = projectome.open_volume(str(out))[0]
    assert labels.kind == "labels"
    values = labels.read(labels.box)
    assert values[30, 35, 20] == values[30, 35, 60] > 0
    assert (values[5:20, 5:20, 5:20] == 0).all()
    assert say("segment", brain, "--out", out).status == 2


def test_path_follows_a_fibre(say, brain, tmp_path):
    out = tmp_path / "path.swc"
    said = say("path", brain, "--out", out, *FIBRE)
    assert said.status == 0
    assert "100.0 um" in said.err
    skeleton = projectome.read_swc(out).skeleton
    np.testing.assert_allclose(skeleton.coordinates[[0, -1]], [[60, 70, 30], [60, 70, 130]])
    pixels = "--from", "30,35,15px", "--to", "30,35,65px", "--via", "30,35,40px"
    found = say("path", brain, "--out", out, "--overwrite", *pixels, "--json").json
    assert found["length_um"] == pytest.approx(100, rel=0.05)
    assert 0 < found["share_read"] <= 1
    said = say("path", brain, "--out", out, *FIBRE)
    assert said.status == 2
    said = say("path", brain, "--out", tmp_path / "b.swc", "--from", "1,2", "--to", "1,2,3")
    assert said.status == 2
    assert "3 numbers" in said.err


# Do everything


def test_reconstruct_writes_a_study(say, study):
    names = {path.name for path in study.iterdir()}
    assert {"study.toml", "somata.parquet", "neurons", "report.html", "run.log"} <= names
    somata = pd.read_parquet(study / "somata.parquet")
    np.testing.assert_allclose(somata[["z_um", "y_um", "x_um"]].to_numpy(), [SOMA], atol=0.5)
    neurons = pd.read_parquet(study / "neurons.parquet")
    assert neurons["soma_id"].max() == 1
    assert neurons["length_um"].sum() > 200


def test_the_documentation_names_every_file_and_column(study):
    page = (Path(__file__).parents[2] / "docs" / "study-folder.md").read_text()
    tables = [path for path in study.iterdir() if path.suffix == ".parquet"]
    columns = {name for table in tables for name in pd.read_parquet(table).columns}
    names = {path.name for path in study.iterdir()}
    assert [name for name in sorted(names | columns) if f"`{name}`" not in page] == []


def test_reconstruct_again_has_nothing_to_do(say, study, brain):
    said = say("reconstruct", brain, "--out", study, "--executor", "serial")
    assert said.status == 0
    assert "blocks" not in said.err
    assert said.out.splitlines()[0].split() == ["somata", "1"]
    found = say("reconstruct", brain, "--out", study, "--executor", "serial", "--json").json
    assert found["somata"] == 1
    assert found["study"] == str(study)
    log = (study / "run.log").read_text()
    assert "[5/5] report" in log


def test_reconstruct_refuses_what_it_would_spoil(say, study, brain, tmp_path):
    said = say("reconstruct", brain, "--out", study, "--low", "0.3", "--executor", "serial")
    assert said.status == 2
    assert "segment.low" in said.err
    (tmp_path / "thesis.txt").write_text("mine")
    assert say("reconstruct", brain, "--out", tmp_path).status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    said = say("reconstruct", brain, "--out", study, "--start-at", "trac")
    assert said.status == 2
    assert "Did you mean 'trace'" in said.err
    absent = tmp_path / "absent"
    assert say("reconstruct", absent / "no.ome.zarr", "--out", absent).status == 1
    assert not absent.exists()


def test_reconstruct_plans(say, brain, tmp_path):
    said = say("reconstruct", brain, "--out", tmp_path / "study", "--plan")
    assert said.status == 0
    assert "voxel size [um]  2 x 2 x 2" in said.out
    assert "MB" in said.out
    assert list(tmp_path.iterdir()) == []
    said = say("reconstruct", brain, "--out", tmp_path / "study", "--plan", "--memory", "1MB")
    assert said.status == 1
    assert "--memory" in said.err


def test_trace_takes_your_somata(say, brain, tmp_path):
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("id,z_um,y_um,x_um,radius_um\n7,60,70,80,6\n")
    out = tmp_path / "study"
    said = say("trace", brain, "--out", out, "--seeds", seeds, "--executor", "serial", "--json")
    assert said.status == 0, said.err
    assert said.json["somata"] == 1
    neurons = pd.read_parquet(out / "neurons.parquet")
    assert set(neurons["soma_id"]) <= {7, -1}
    said = say("trace", brain, "--out", out, "--seeds", tmp_path / "absent.csv")
    assert said.status == 2
    assert "absent.csv" in said.err


def test_report_is_written_again(say, study, tmp_path):
    before = (study / "report.html").read_bytes()
    (study / "report.html").unlink()
    assert say("report", study, "--json").json == {"report": str(study / "report.html")}
    assert (study / "report.html").read_bytes() == before
    said = say("report", tmp_path)
    assert said.status == 1
    assert "projectome reconstruct" in said.err


def test_measure_a_study_and_files(say, study, tmp_path):
    out = tmp_path / "morphology.csv"
    said = say("measure", study, "--out", out)
    assert said.status == 0
    assert said.out.splitlines()[0].split() == ["file", "length_tissue_um", "ends", "branches"]
    assert "e+" not in said.out
    rows = pd.read_csv(out)
    found = pd.read_parquet(study / "neurons.parquet")
    np.testing.assert_allclose(rows["length_tissue_um"], found["length_tissue_um"], rtol=1e-6)
    assert say("measure", study, "--out", out).status == 2
    assert say("measure", tmp_path / "absent", "--out", tmp_path / "a.csv").status == 1


def test_measure_files_in_another_unit(say, tmp_path):
    file = tmp_path / "stick.swc"
    file.write_text("1 1 0 0 0 1 -1\n2 2 10 0 0 1 1\n")
    words = "measure", file, "--scale", "25", "--expansion", "2", "--json"
    found = say(*words, "--out", tmp_path / "a.csv")
    assert found.json["neurons"][0]["length_tissue_um"] == pytest.approx(125)
    doubtful = say("measure", file, "--out", tmp_path / "b.csv", "--json")
    assert "unit" in doubtful.json["problems"][0]["message"]
    assert "unit" in doubtful.err


def test_demo_scores_itself(say, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", ((80, 80, 80), 1))
    planned = say("demo", "--size", "tiny", "--plan", "--json").json
    assert planned["image_bytes"] == 2 * 80**3
    out = tmp_path / "demo"
    said = say("demo", "--size", "tiny", "--out", out, "--executor", "serial")
    assert said.status == 0, said.err
    header, cable, somata = said.out.splitlines()
    assert header.split() == ["against", "the", "truth", "recall", "precision", "F1"]
    assert all(0 <= float(text) <= 1 for text in (*cable.split()[-3:], *somata.split()[-3:]))
    assert said.err.rstrip().endswith(f"Open {out / 'study' / 'report.html'}")
    assert "projectome" in (out / "demo.log").read_text()


# Housekeeping


def test_version(say):
    found = say("version", "--json").json
    assert found["projectome"] == projectome.__version__
    assert "numpy" in say("version").out
    assert say("--version").out == f"projectome {projectome.__version__}\n"


def test_config_is_shown_and_set(say, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("PROJECTOME_WORKERS", "3")
    said = say("config")
    assert "one a core" not in said.out
    assert "PROJECTOME_WORKERS" in said.out
    assert str(tmp_path / "config.toml") in said.out
    assert say("config", "set", "memory", "8GB").status == 0
    found = say("config", "show", "--json").json
    assert found["memory"] == {"value": 8_000_000_000, "source": str(tmp_path / "config.toml")}
    assert found["workers"]["value"] == 3
    assert "8 GB" in say("config").out
    for wrong in (("set", "memory"), ("set", "memry", "8GB"), ("set", "memory", "much"), ("get",)):
        assert say("config", *wrong).status == 2, wrong


def test_cache_is_cleared_of_ours_alone(say, tmp_path, monkeypatch, brain):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path))
    (tmp_path / "thesis.txt").write_text("mine")
    say("convert", brain, tmp_path / "a.tif")
    assert say("cache", "--json").json["logs"]["files"] == 1
    said = say("cache", "clear")
    assert re.search(r"logs +1 ", said.out)
    assert say("cache", "info", "--json").json["logs"] == {"files": 0, "bytes": 0}
    assert (tmp_path / "thesis.txt").exists()
    assert say("cache", "drop").status == 2


def test_bench_prints_tables_or_one_document(say, tmp_path, monkeypatch):
    script = tmp_path / "speed.py"
    script.write_text("def main(words):\n    print('a table')\n    return {'ratio': 2.0}\n")
    monkeypatch.setattr(house, "bench_folder", lambda: tmp_path)
    assert say("bench", "speed").out == "a table\n"
    said = say("bench", "--json")
    assert said.json == {"speed": {"ratio": 2.0}}
    assert "a table" in said.err
    assert say("bench", "sped").status == 2


# What holds for all


def test_a_run_that_is_stopped_says_how_to_go_on(say, brain, tmp_path, monkeypatch):
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("projectome.workflows.detect.detect_somata", stop)
    out = tmp_path / "my somata.csv"
    said = say("detect", brain, "--out", out, "--executor", "serial", "--json")
    assert said.status == 1
    assert said.json["title"] == "CancelledError"
    assert f"Go on with: projectome detect {brain} --out '{out}'" in said.err


def test_a_run_that_fails_names_its_log(say, brain, tmp_path, monkeypatch):
    def fail(*args: object, **kwargs: object) -> None:
        raise BlockFailedError("2 of 8 blocks failed.")

    monkeypatch.setattr("projectome.workflows.detect.detect_somata", fail)
    said = say("detect", brain, "--out", tmp_path / "a.csv")
    assert said.status == 1
    log = said.err.split("The log is ")[1].strip()
    assert "2 of 8 blocks failed." in Path(log).read_text()


def test_a_defect_keeps_its_traceback_in_a_log(say, brain, tmp_path, monkeypatch):
    def break_down(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("[oops]")

    monkeypatch.setattr("projectome.imaging.projection.mip", break_down)
    said = say("mip", brain, "--out", tmp_path / "a.png", "--json")
    assert said.status == 1
    assert said.json["title"] == "Defect"
    assert "ZeroDivisionError: [oops]" in said.err
    assert "Traceback" not in said.err
    log = said.err.split("details are in ")[1].split(". Please")[0]
    assert "Traceback" in Path(log).read_text()


def test_a_place_that_cannot_be_written_is_no_defect(say, brain, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    said = say("reconstruct", brain, "--out", tmp_path / "file" / "study")
    assert said.status == 1
    assert "Cannot write" in said.err
    assert "defect" not in said.err
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "file"))
    said = say("convert", brain, tmp_path / "a.tif")
    assert said.status == 0, "without a place for the log"

    def break_down(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("projectome.imaging.projection.mip", break_down)
    said = say("mip", brain, "--out", tmp_path / "a.png")
    assert "Traceback" in said.err
    assert "the lines above" in said.err


def test_info_of_many_channels_and_of_a_turned_grid(say, tmp_path):
    many = tmp_path / "many.ome.zarr"
    volume = projectome.Volume.from_array(np.ones((30, 2, 4, 4), np.uint8), voxel_size=(1, 1, 1))
    projectome.write_volume(volume, str(many))
    line = next(text for text in say("info", many).out.splitlines() if "channels" in text)
    assert line.endswith("and 18 more")
    assert len(say("info", many, "--json").json["channels"]) == 30
    assert "grid" not in say("info", many).out


def test_addresses_without_a_bucket(say, monkeypatch):
    said = say("info", "s3:///brain.zarr")
    assert said.status == 2
    assert "--bucket NAME" in said.err
    said = say("ls", "s3:///x", "--bucket", "b", "--endpoint", "http://127.0.0.1:9", "--json")
    assert said.status == 1
    assert "s3://b/x" in said.json["detail"]
