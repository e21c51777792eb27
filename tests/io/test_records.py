"""Records of datasets: what they say is checked, all at once, and never trusted."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import MetadataError, ParameterError, ProjectomeError, UnknownNameError
from projectome.io.records import (
    LARGEST,
    is_dataset,
    load_catalog,
    lookup,
    place_of,
    read_record,
    user_records,
)

MINE = {
    "name": "our-brains",
    "title": "Brains of our laboratory",
    "providers": ["us"],
    "licence": "internal",
    "url": "s3://our-bucket/brains",
    "endpoint": "https://storage.example.org",
    "assets": ["scope_*"],
    "prefixes": ["scope_{subject}_"],
    "stages": [{"name": "fused", "paths": ["fused/{channel}.zarr"]}],
}


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    for name in ("PROJECTOME_BUCKET", "PROJECTOME_ENDPOINT", "PROJECTOME_SIGNED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "config.toml"))


def read(record):
    return read_record(json.dumps(record).encode(), url="mine.json")


def put(record, name="mine.json"):
    user_records().mkdir(exist_ok=True)
    (user_records() / name).write_text(json.dumps(record))


def test_the_catalog_has_the_public_datasets_at_their_real_buckets():
    addresses = {name: record.url for name, record in load_catalog().items()}
    assert addresses == {
        "aind-exaspim": "s3://aind-open-data",
        "aind-smartspim": "s3://aind-open-data",
        "brainglobe": "s3://brainglobe/atlas",
        "e11-prism": "s3://e11bio-prism/ls",
        "mayo-ensp": None,
        "pasteur-exaspim": None,
    }
    for record in load_catalog().values():
        assert record.licence
        assert record.anonymous
        assert record.stages
        assert all(size.source for size in record.voxel_sizes)


def test_prism_states_its_expansion_with_the_two_voxel_sizes_that_show_it():
    record = lookup("prism")[0]
    expanded, tissue = (size.size_um for size in record.voxel_sizes)
    for gel, native in zip(expanded, tissue, strict=True):
        assert gel / native == pytest.approx(record.expansion.factor, rel=0.05)


def test_an_alias_may_mean_several_datasets():
    assert [r.name for r in lookup("AIND-open-data")] == ["aind-exaspim", "aind-smartspim"]
    assert [r.name for r in lookup("ensp")] == ["mayo-ensp"]
    with pytest.raises(UnknownNameError, match=r"Did you mean 'aind-smartspim'.*projectome ls"):
        lookup("aind-smartspin")


def test_a_bucket_that_is_not_public_has_to_be_named(monkeypatch):
    record = lookup("pasteur-exaspim")[0]
    with pytest.raises(ParameterError, match=r"not public yet.*--bucket NAME.*config set bucket"):
        record.address()
    assert record.address("theirs") == "s3://theirs"
    monkeypatch.setenv("PROJECTOME_BUCKET", "kept")
    assert record.address() == "s3://kept"


def test_another_bucket_keeps_the_folder():
    assert lookup("prism")[0].address("copy") == "s3://copy/ls"
    assert lookup("prism")[0].address() == "s3://e11bio-prism/ls"


def test_a_record_alone_never_has_a_request_signed(monkeypatch):
    record = read({**MINE, "anonymous": False})
    assert record.access().endpoint == "https://storage.example.org"
    monkeypatch.setenv("PROJECTOME_SIGNED", "true")
    assert not record.access().signed
    assert record.access(anonymous=False).signed
    assert lookup("prism")[0].access().signed  # there the user's settings hold
    assert record.access(endpoint="http://127.0.0.1:1").endpoint == "http://127.0.0.1:1"


def test_your_own_records_are_read_and_win():
    put(MINE)
    assert lookup("our-brains")[0].address() == "s3://our-bucket/brains"
    put({**MINE, "name": "brainglobe"}, "other.json")
    assert lookup("brainglobe")[0].title == MINE["title"]


def test_a_broken_record_of_yours_is_named():
    put({**MINE, "licence": 3})
    with pytest.raises(MetadataError, match=r"mine\.json: licence"):
        load_catalog()


def test_everything_wrong_with_a_record_is_told_at_once():
    broken = {
        **MINE,
        "name": "Not A Name",
        "url": "ftp://x",
        "endpoint": "file:///etc",
        "stages": [{"name": "fused", "paths": ["../../etc", "{channel}*", "a/{b}"]}],
        "prefixes": ["scope_"],
        "run": "rm -rf /",
    }
    with pytest.raises(MetadataError, match=r"Correct it; docs/datasets\.md") as caught:
        read(broken)
    places = {problem.where.split(": ")[1] for problem in caught.value.problems}
    assert places == {"name", "url", "endpoint", "stages.0.paths", "prefixes", "run"}


def test_every_channel_of_prism_has_a_name_of_its_own():
    """The 18 bits are those channels of all 40 that the providers chose, in the same order."""
    every, bits = lookup("prism")[0].channel_names
    assert every.covers("images/full_dataset.zarr/all")
    assert every.covers("images/full_dataset.zarr/all/0")
    assert not every.covers("images/full_dataset.zarr/all/0/0")
    assert not every.covers("images/full_dataset.zarr")
    assert not every.covers("images/full_dataset.zarr/raw")
    chosen = (0, 1, 2, 3, 8, 16, 19, 24, 26, 27, 28, 29, 30, 32, 33, 34, 36, 37)
    assert bits.names == tuple(every.names[i].rsplit("-", 1)[0] for i in chosen)
    with pytest.raises(MetadataError, match="two channels"):
        read({**MINE, "channel_names": [{"paths": ["a"], "names": ["x", "x"], "source": "us"}]})


@pytest.mark.parametrize(
    "path", ["../up", "a/../b", "/root", "a//b", "{channel}{channel}", "{subject}", "a/" * 9 + "b"]
)
def test_a_path_stays_below_its_asset(path):
    with pytest.raises(MetadataError):
        read({**MINE, "stages": [{"name": "fused", "paths": [path]}]})


def test_a_record_has_bounds():
    with pytest.raises(MetadataError, match="larger than"):
        read_record(b" " * (LARGEST + 1), url="huge.json")
    with pytest.raises(MetadataError, match="stages"):
        read({**MINE, "stages": [{"name": f"s{n}", "paths": ["x"]} for n in range(41)]})


def test_a_name_of_the_catalog_is_no_path_and_no_address(tmp_path, monkeypatch):
    assert is_dataset("prism")
    assert not is_dataset("./prism")
    assert not is_dataset("s3://prism")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prism").mkdir()
    assert not is_dataset("prism")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(st.sampled_from(sorted(MINE)), VALUES)
def test_whatever_a_record_says_it_is_read_or_refused(key, value):
    broken = copy.deepcopy(MINE)
    broken[key] = value
    try:
        record = read(broken)
    except ProjectomeError:
        return
    assert record.name


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with pytest.raises(ProjectomeError):
        read_record(data, url="noise.json")


def test_an_address_belongs_to_the_dataset_that_holds_it(monkeypatch):
    def name(url):
        found = place_of(url)
        return found and found[0].name

    for host in ("e11bio-prism.s3.us-east-1.amazonaws.com", "s3.amazonaws.com/e11bio-prism"):
        assert name(f"https://{host}/ls/images/full_dataset.zarr/raw") == "e11-prism"
    assert name("https://example.org/e11bio-prism/ls/images") is None

    assert name("s3://e11bio-prism/ls/images/full_dataset.zarr/all") == "e11-prism"
    assert name("zarr://s3://e11bio-prism/ls/images/full_dataset.zarr/all/0") == "e11-prism"
    assert name("s3://aind-open-data/exaSPIM_1_2026-01-01_00-00-00/fused.zarr") == "aind-exaspim"
    assert name("s3://aind-open-data/SmartSPIM_1_2026-01-01_00-00-00/x") == "aind-smartspim"
    for other in ("s3://e11bio-prism/lsd/x", "s3://aind-open-data/README/x", "/ls/x", "gs://b/x"):
        assert name(other) is None
    asset = "s3://ours/exaspim_1_2026-01-01_00-00-00/exaspim/image.ome.zarr"
    assert name(asset) is None
    monkeypatch.setenv("PROJECTOME_BUCKET", "ours")
    assert name(asset) == "pasteur-exaspim"
    assert place_of(asset)[1] == "exaspim/image.ome.zarr"
