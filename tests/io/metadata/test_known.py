"""What the catalog fills in: gaps alone, and never unsaid."""

import json
from dataclasses import replace

import numpy as np
import pytest

from projectome.core.volume import Pyramid, Volume
from projectome.errors import Problem
from projectome.io.metadata.known import with_catalog
from projectome.io.records import user_records
from projectome.io.skeletons.read import read_skeletons
from projectome.io.source import VolumeSource

HOME = "s3://e11bio-prism/ls/images/full_dataset.zarr"


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.delenv("PROJECTOME_BUCKET", raising=False)
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "config.toml"))


def levels(channels, names=(), expansion=1.0):
    """Two levels of an image."""
    found = [
        Volume.from_array(
            np.zeros((channels, n, n, n), "u1"), voxel_size=(8 / n,) * 3, channels=names
        )
        for n in (4, 2)
    ]
    space = replace(found[0].space, expansion=expansion)
    return Pyramid(tuple(level.with_space(space) for level in found), metadata={"format": "it"})


def test_all_levels_get_names_and_the_expansion_with_their_sources():
    found = with_catalog(levels(40), f"{HOME}/all")
    for level in found:
        assert level.channels[28] == "ETAG-R9"
        assert level.space.expansion == 5
        assert level.voxel_size[0] in (2, 4)  # micrometres of the gel stay
    taken = found.metadata["catalog"]
    assert taken["dataset"] == "e11-prism"
    assert "Preprint-Barcode-Analysis" in taken["channels"]["source"]
    assert "README" in taken["expansion"]["source"]
    [problem] = found.problems
    assert problem.where == "expansion"
    assert "State another with --expansion, 1 for none." in problem.message


def test_what_the_file_or_the_user_says_is_kept():
    named = tuple(f"dye {i}" for i in range(18))
    found = with_catalog(levels(18, named, expansion=4.8), f"{HOME}/raw", expansion_said=True)
    assert found[0].channels == named
    assert found.space.expansion == 4.8
    assert found.metadata["catalog"] == {"dataset": "e11-prism"}
    assert found.problems == ()
    beside = Problem("warning", "procedures.json: expansion", "The recording states 4.")
    told = with_catalog(replace(levels(18), problems=(beside,)), f"{HOME}/raw")
    assert told.space.expansion == 1
    assert told.problems == (beside,)


def test_another_number_of_channels_is_told_and_not_named():
    found = with_catalog(levels(17), f"{HOME}/raw/s0", expansion_said=True)
    assert found[0].channels[0] == "channel 0"
    assert [p.message for p in found.problems] == [
        "The catalog on e11-prism names 18 channels, the volume has 17: none is named."
    ]
    crop = "s3://e11bio-prism/ls/models/training_data/instance/crop_12.zarr/raw"
    assert with_catalog(levels(10), crop, expansion_said=True).problems == ()


def test_elsewhere_nothing_is_added():
    given = levels(18)
    for url in ("/data/raw", "s3://other/ls/images/full_dataset.zarr/raw", "memory://x"):
        assert with_catalog(given, url) is given


def test_a_broken_record_of_the_user_stops_nothing():
    user_records().mkdir(parents=True)
    (user_records() / "mine.json").write_text(json.dumps({"name": "mine"}))
    found = with_catalog(levels(18), f"{HOME}/raw")
    assert found.space.expansion == 1
    assert [p.where for p in found.problems] == ["catalog"]
    assert "mine.json" in found.problems[0].message


@pytest.mark.server
def test_workers_and_fingerprints_see_the_same(replica_buckets):
    source = VolumeSource(f"{HOME}/raw", channel="MoonTag", endpoint=replica_buckets.endpoint)
    assert source.open().space.expansion == 5
    told = replace(source, expansion=5.0)
    assert told.open().space == source.open().space
    plain = replace(source, expansion=1.0)
    assert len({s.fingerprint() for s in (source, told, plain)}) == 3


@pytest.mark.server
def test_skeletons_of_the_dataset_are_of_the_same_gel(replica_buckets, monkeypatch):
    monkeypatch.setenv("PROJECTOME_ENDPOINT", replica_buckets.endpoint)
    url = "s3://e11bio-prism/ls/skeletons/axons.nml"
    found = read_skeletons(url)
    assert {item.skeleton.space.expansion for item in found} == {5.0}
    [told] = [p for p in found.problems if p.where.endswith("expansion")]
    assert "5 is taken from the catalog on e11-prism" in told.message
    stated = read_skeletons(url, expansion=1.0)
    assert stated[0].skeleton.space.expansion == 1
    assert not any("catalog" in p.message for p in stated.problems)
    assert stated[0].skeleton.cable_length == found[0].skeleton.cable_length
