"""The verbs find, ls and download against replicas of the public buckets."""

import pytest

from projectome.testing import replica_aind as aind

pytestmark = pytest.mark.server


@pytest.fixture
def at(replica_buckets):
    replica_buckets.asked.clear()
    return "--endpoint", replica_buckets.endpoint


def test_find_prints_the_asset_its_channels_and_how_to_open_one(say, at):
    said = say("find", "aind-open-data", "--subject", "652506", "--stage", "stitched", *at)
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == f"s3://aind-open-data/{aind.SMART_STITCHED}"
    assert "OME-Zarr image, 5 levels" in lines[2]
    assert lines[3].split()[1] == "Ex_561_Em_593"
    command = said.err.partition("Open one with: projectome ")[2].split()
    assert say(*command).out.startswith("Ex_445_Em_469.zarr: OME-Zarr")


def test_find_as_json_has_everything(say, at):
    found = say("find", "exaspim", "--stage", "fused", "--json", *at).json
    [asset] = [a for a in found["assets"] if a["name"] == aind.EXA_CHAIN]
    assert asset["subject"] == "653158"
    assert [step["name"] for step in asset["steps"]] == ["flatfield-correction", "fusion"]
    assert asset["pieces"][0]["about"] == "4 levels"
    kinds = {(entry["name"], entry["kind"]) for entry in found["unrecognised"]}
    assert kinds == {(name, "unrecognised") for name in aind.ODD}


def test_find_without_a_question_says_how_to_go_on(say, at):
    said = say("find", "aind-open-data", *at)
    assert "12 found; 3 with names that break the conventions" in said.err
    assert "other recordings beside them: 1 behavior, 1 ecephys" in said.err
    assert "--subject" in said.err
    assert "exaspim brain 7/  unrecognised" in said.out


def test_find_that_finds_nothing_says_how_to_go_on(say, at):
    said = say("find", "aind-open-data", "--subject", "999999", *at)
    assert (said.status, said.out) == (0, "")
    assert "0 found" in said.err
    assert "all names are listed" in said.err


def test_find_says_what_is_wrong(say, at):
    said = say("find", "pasteur-exaspim", *at)
    assert (said.status, "--bucket NAME" in said.err) == (2, True)
    assert say("find", "pasteur-exaspim", "--bucket", "pasteur-exaspim", *at).status == 0
    assert say("find", "smartspim", "--name", "(", *at).status == 2
    assert "Did you mean" in say("find", "smartspin", *at).err


def test_ls_knows_the_catalog(say, at):
    said = say("ls")
    assert said.status == 0
    assert "e11-prism" in said.out
    assert "not public yet" in said.out
    names = [record["name"] for record in say("ls", "--json").json["datasets"]]
    assert names == sorted(names)
    entries = say("ls", "prism", "--json", *at).json
    assert entries["url"] == "s3://e11bio-prism/ls"
    assert [e["name"] for e in entries["entries"]] == ["images", "models", "skeletons"]


def test_ls_tells_kinds(say, at):
    said = say("ls", "s3://e11bio-prism/ls/images/full_dataset.zarr/raw", *at)
    assert "s0/  Zarr array, 18 x 32 x 64 x 64 uint8" in said.out
    assert "Zarr group" in said.err
    said = say("ls", f"s3://aind-open-data/{aind.SMART_STITCHED}/processed/OMEZarr", *at)
    assert "Ex_561_Em_593.zarr/  OME-Zarr image, 5 levels" in said.out
    said = say("ls", "aind-open-data", *at)
    assert f"{aind.SMART_RAW}/  asset" in said.out


def test_download_a_tree_and_again(say, at, tmp_path):
    url = "s3://e11bio-prism/ls/models/training_data/instance/crop_13.zarr"
    said = say("download", url, tmp_path / "crop.zarr", *at)
    assert (said.status, said.out) == (0, "")
    assert "fetched 15 files" in said.err
    again = say("download", url, tmp_path / "crop.zarr", "--json", *at).json
    assert (again["files"], again["kept"]) == (0, 15)
    said = say("download", url, tmp_path / "some", "--include", "*.zattrs", "--quiet", *at)
    assert said.err == ""
    assert len(list((tmp_path / "some").rglob(".zattrs"))) == 2


def test_a_name_of_the_catalog_can_be_downloaded_from(say, at, tmp_path):
    said = say("download", "brainglobe", tmp_path, "--include", "*.conf", *at)
    assert said.status == 0, said.err
    assert (tmp_path / "atlases" / "last_versions.conf").exists()


def test_what_the_catalog_knows_is_taken_and_told(say, at):
    """The files of E11 state nanometres of expanded tissue, and neither expansion nor channels."""
    url = "s3://e11bio-prism/ls/images/full_dataset.zarr/raw"
    said = say("info", url, *at)
    assert (
        "expansion    5, by the catalog on e11-prism: micrometres above are of the gel" in said.out
    )
    assert "channels     E2, S1, ALFA, Ty1, HA" in said.out
    assert "named by the catalog on e11-prism: the providers' analysis, https://" in said.out
    assert "5 is taken from the catalog on e11-prism (the providers' README: about" in said.err
    found = say("info", url, "--json", *at).json
    [told] = [p for p in found["problems"] if "e11" in p["message"]]
    assert told["where"] == "expansion"
    assert found["expansion"] == found["metadata"]["catalog"]["expansion"]["factor"] == 5
    assert found["channels"][12] == "MoonTag"
    assert say("info", url, "--quiet", *at).err == ""


def test_the_word_of_the_user_goes_before_the_catalog(say, at):
    url = "s3://e11bio-prism/ls/images/full_dataset.zarr/markers"
    for factor in (4.8, 1.0):
        said = say("info", url, "--expansion", factor, "--json", *at).json
        assert said["expansion"] == factor
        assert "expansion" not in said["metadata"]["catalog"]
        assert "fivefold" not in str(said["problems"])


def test_an_expansion_that_the_catalog_does_not_know_is_asked_for(say, at):
    fused = f"s3://aind-open-data/{aind.EXA_CHAIN}/fused.zarr"
    assert "--expansion X" in say("info", fused, *at).err
    stitched = f"s3://aind-open-data/{aind.SMART_STITCHED}/processed/OMEZarr/Ex_561_Em_593.zarr"
    assert "expansion" not in say("info", stitched, *at).err
