"""Finding recordings in replicas of the buckets, behind an S3 server 50 ms away."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.datasets.find import Query, find
from projectome.datasets.walk import match_part
from projectome.errors import ParameterError, UnknownNameError
from projectome.testing import replica_aind as aind

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    for name in ("PROJECTOME_BUCKET", "PROJECTOME_ENDPOINT", "PROJECTOME_SIGNED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "config.toml"))


@pytest.fixture
def search(replica_buckets):
    """Return what finds in the replicas."""

    def run(dataset, bucket=None, **query):
        replica_buckets.asked.clear()
        return find(dataset, Query(**query), bucket=bucket, endpoint=replica_buckets.endpoint)

    return run


def pieces(found):
    return [(a.name, p.stage, p.channel, p.path) for a in found.assets for p in a.pieces]


def test_the_stitched_channels_of_a_subject(search, replica_buckets):
    found = search("aind-open-data", subject="652506", stage="stitched")
    assert pieces(found) == [
        (aind.SMART_STITCHED, "stitched", channel, f"processed/OMEZarr/{channel}.zarr")
        for channel in aind.CHANNELS
    ]
    [asset] = found.assets
    assert asset.parsed.subject == "652506"
    assert {(p.kind, p.about) for p in asset.pieces} == {("OME-Zarr image", "5 levels")}
    assert found.without == (aind.SMART_RAW,)
    # Two datasets and names without a platform; what is found costs a request each.
    assert len(replica_buckets.asked) <= 20


def test_the_newer_layout_and_a_pattern_of_channels(search):
    found = search("smartspim", subject="786846", channel="ex_639*")
    stages = [p.stage for a in found.assets for p in a.pieces]
    assert stages == ["stitched", "ccf_alignment", *["segmentation"] * 2, *["quantification"] * 2]
    assert found.assets[0].pieces[0].path == "image_tile_fusing/OMEZarr/Ex_639_Em_680.zarr"
    assert found.assets[0].pieces[2].size > 0


def test_both_generations_of_fused_brains_and_odd_names(search):
    found = search("aind-exaspim", stage="fused")
    assert [(name, path) for name, _, _, path in pieces(found)] == [
        (aind.EXA_CHAIN, "fused.zarr"),
        (aind.EXA_FUSED, "fused.zarr"),
        (aind.EXA_FUSED, "fused.n5"),
        (aind.EXA_PROCESSED, "fusion/fused_ccf_ch.zarr"),
    ]
    assert sorted(found.unrecognised) == sorted(aind.ODD)
    assert found.others == {"SmartSPIM": 4, "behavior": 1, "ecephys": 1}


def test_all_stages_of_a_processed_brain_and_a_traced_neuron(search):
    found = search("exaspim", subject="841260")
    stages = {}
    for name, stage, *_ in pieces(found):
        stages.setdefault(name, set()).add(stage)
    assert stages == {
        aind.EXA_NEW: {"raw"},
        aind.EXA_PROCESSED: {"denoised", "flatfield", "fused", "ccf_alignment"},
        **{asset: {"reconstruction"} for asset in aind.EXA_NEURONS.values()},
    }
    kinds = {p.path: p.about for asset in found.assets for p in asset.pieces}
    assert kinds["ccf_alignment/ccf_aligned.zarr"] == "2 levels"
    [*_, neuron] = found.assets
    assert len(neuron.pieces) == 3
    assert all(p.holds == "skeletons" and p.path.endswith(".swc") for p in neuron.pieces)


def test_without_a_question_names_are_listed_and_nothing_is_looked_into(search, replica_buckets):
    found = search("aind-open-data")
    assert len(found.assets) == 12
    assert not any(asset.pieces for asset in found.assets)
    assert len(replica_buckets.asked) == 1


def test_both_layouts_of_the_institut_pasteur(search):
    found = search("pasteur", bucket="pasteur-exaspim", subject="0417")
    assert [(p[1], p[2], p[3]) for p in pieces(found)] == [
        ("raw", "488", "exaSPIM/tile_000000_ch_488.zarr"),
        ("raw", "488", "exaSPIM/tile_000001_ch_488.zarr"),
        ("fused", "", "exaspim/image.ome.zarr"),
    ]
    with pytest.raises(ParameterError, match="not public yet"):
        search("pasteur")


def test_paths_of_prism_are_looked_up(search):
    found = search("prism", stage="segmentation")
    names = [p.path.rpartition("/")[2] for p in found.assets[0].pieces]
    assert names == sorted(
        f"{kind}_segmentation{end}"
        for kind, end in [
            ("dense", ""),
            ("local", ""),
            ("local", "_spines"),
            ("proofread", ""),
            ("barcode_relabeled", ""),
        ]
    )
    assert {p.about for p in found.assets[0].pieces} == {"6 levels"}
    raw = search("prism", stage="raw").assets[0].pieces
    assert [p.path for p in raw] == [
        f"images/full_dataset.zarr/{n}" for n in ("all", "raw", "markers")
    ]
    assert len(search("prism", stage="precomputed").assets[0].pieces) == 13
    assert len(search("prism", stage="reconstruction").assets[0].pieces) == 2


def test_crops_of_prism_by_a_regular_expression(search):
    found = search("prism", name=r"instance/crop_1[0-9]\.")
    about = {p.path.split("instance/")[1]: p.about for p in found.assets[0].pieces}
    assert about == {
        "crop_12.zarr/labels": "20 x 24 x 24 uint64",
        "crop_12.zarr/raw": "10 x 30 x 40 x 40 uint8",
        "crop_13.zarr/labels": "20 x 24 x 24 uint64",
        "crop_13.zarr/raw": "11 x 30 x 40 x 40 uint8",
    }


def test_atlases_and_confocal_stacks(search):
    atlas = search("brainglobe").assets[0].pieces
    assert {p.stage for p in atlas} == {"atlas", "template", "annotation", "terminology", "space"}
    assert {p.about for p in atlas if p.stage == "template"} == {"2 levels"}
    stacks = search("mayo", bucket="mayo-ensp", stage="raw").assets[0].pieces
    endings = sorted(p.path.rpartition(".")[2] for p in stacks)
    assert endings == ["czi", "nd2", "oib", "tif"]


def test_an_unknown_subject_or_stage(search):
    assert search("smartspim", subject="999999").assets == ()
    with pytest.raises(UnknownNameError, match=r"stage 'stiched'.*Did you mean 'stitched'"):
        search("smartspim", stage="stiched")
    with pytest.raises(UnknownNameError, match="dataset"):
        search("nowhere")


def test_a_name_that_breaks_the_conventions_is_found_by_its_subject(tmp_path, serving_buckets):
    (tmp_path / "aind-open-data" / "brain_of_652506" / "x").mkdir(parents=True)
    (tmp_path / "aind-open-data" / "brain_of_652506" / "x" / "y").write_text("")
    with serving_buckets(tmp_path) as buckets:
        found = find("smartspim", Query(subject="652506"), endpoint=buckets.endpoint)
    assert found.assets == ()
    assert found.unrecognised == ("brain_of_652506",)


def test_ten_thousand_assets_cost_a_request_a_thousand(tmp_path, serving_buckets):
    bucket = tmp_path / "aind-open-data"
    bucket.mkdir()
    for number in range(10_000):
        asset = bucket / f"SmartSPIM_{600_000 + number}_2023-01-01_00-00-00"
        asset.mkdir()
        (asset / "subject.json").touch()
    with serving_buckets(tmp_path) as buckets:
        said = []
        found = find("smartspim", endpoint=buckets.endpoint, on_progress=lambda *a: said.append(a))
        assert len(found.assets) == 10_000
        assert len(buckets.asked) == 10
        assert said[0][0] == "listing s3://aind-open-data"
        buckets.asked.clear()
        found = find("smartspim", Query(subject="600123"), endpoint=buckets.endpoint)
        assert [asset.parsed.subject for asset in found.assets] == ["600123"]
        assert buckets.listings() <= 6  # whatever else is in the bucket


def test_a_regular_expression_cannot_hang():
    evil = "a" * 60 + "!"
    began = time.monotonic()
    Query(name="(a+)+$")
    from projectome.datasets.find import _matches

    assert _matches("(a+)+$", [evil] * 1000) == []
    assert time.monotonic() - began < 1
    for wrong in ("(", "(?=x)", r"(a)\1", "x" * 2000):
        with pytest.raises(ParameterError, match="regular expression"):
            Query(name=wrong)


@pytest.mark.parametrize("subject", ["", "../x", "a/b", "x" * 65, "a b", "*"])
def test_a_subject_is_a_plain_name(subject):
    with pytest.raises(ParameterError, match="For a pattern use --name"):
        Query(subject=subject)


@pytest.mark.parametrize(
    ("pattern", "name", "channel"),
    [
        ("{channel}.zarr", "Ex_561_Em_593.zarr", "Ex_561_Em_593"),
        ("tile_*_ch_{channel}.zarr", "tile_000001_ch_488.zarr", "488"),
        ("fused_{channel}_ch.zarr", "fused_ccf_ch.zarr", "ccf"),
        ("*.zarr", "a.zarr", ""),
        ("*.zarr", "a.n5", None),
        ("*", ".zgroup", None),
        ("{channel}.zarr", ".zarr", None),
        ("cell_{channel}", "cell_", None),
    ],
)
def test_a_channel_is_taken_out_of_a_name(pattern, name, channel):
    assert match_part(pattern, name) == channel


@given(st.text("*?{}[]channel/.ab\x00\x1b", max_size=30), st.text("ab.*[\x1b", max_size=30))
def test_any_pattern_meets_any_name(pattern, name):
    channel = match_part(pattern, name)
    assert channel is None or channel in name
