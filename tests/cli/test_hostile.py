"""Broken stores and hostile names on the command line: said in one line, never a traceback."""

import json

import numpy as np
import pytest
import tifffile

from projectome.cli.console import printable
from projectome.io import clients, s3_listing
from projectome.testing.faults import FAULTS, faulty_store

EVIL = "ev\x1b]0;title\x07\x1b[31mil\x9b2J\u202e"
DANGEROUS = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e"} - {"\n"}
TRIED = ("cut off", "stalled", "redirected in circles", "credentials expired", "broken", "garbage")


@pytest.fixture
def faulty(brain, tmp_path, monkeypatch):
    """A server with one bucket, which can be spoilt, asked with little patience."""
    for name, value in {"PATIENCE": 0.4, "SILENCE": 0.5, "TRYING": 0.4, "LONGEST": 1.5}.items():
        monkeypatch.setattr(clients, name, value)
    monkeypatch.setattr(s3_listing, "PATIENCE", 0.5)
    monkeypatch.setattr(s3_listing, "TRIES", 2)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "data").symlink_to(brain.parent)
    clients._bucket.cache_clear()
    with faulty_store(tmp_path / "store") as store:
        yield store
    clients._bucket.cache_clear()


@pytest.mark.server
@pytest.mark.parametrize("fault", TRIED)
def test_a_store_that_misbehaves_is_one_message(fault, say, faulty, tmp_path):
    url, at = "s3://data/brain.ome.zarr", ("--endpoint", faulty.endpoint)
    box = ("--box", "0:8px,0:8px,0:8px")
    with faulty.spoilt(FAULTS[fault]):
        for words in (
            ("info", url),
            ("ls", "s3://data"),
            ("find", "aind-open-data", "--subject", "652506"),
            ("download", url, tmp_path / "fetched"),
            ("convert", url, tmp_path / "box.ome.tif", *box),
        ):
            said = say(*words, *at)
            assert said.status == 1, (words, said)
            assert "error: " in said.err
            assert "Traceback" not in said.err
            assert "defect" not in said.err
    assert not (tmp_path / "box.ome.tif").exists()
    whole = [p for p in (tmp_path / "fetched").rglob("*") if p.is_file()]
    assert all(p.name.endswith(".partial") for p in whole)


@pytest.fixture
def hostile(tmp_path):
    """A folder whose files steer terminals by their names and by what is in them."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    names = {"axes": "CZYX", "Channel": {"Name": ["r\x85\x9bd", "g\u202eb"]}}
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"}
    voxels = np.zeros((2, 4, 8, 8), np.uint8)
    options = {"metadata": {**names, **sizes}, "photometric": "minisblack"}
    tifffile.imwrite(folder / "names.ome.tif", voxels, **options)
    (folder / f"{EVIL}.txt").write_bytes(b"x")
    (folder / "group.zarr").mkdir()
    axis = {"name": EVIL, "type": "space", "unit": f"{EVIL}\ud800"}
    image = {"name": EVIL, "axes": [axis] * 3, "datasets": [{"path": EVIL}]}
    (folder / "group.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    (folder / "group.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    return folder


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_nothing_that_is_printed_steers_a_terminal(more, say, hostile):
    for words in (
        ("ls", hostile),
        ("info", hostile / "names.ome.tif"),
        ("info", hostile / "group.zarr"),
        ("info", hostile / f"{EVIL}.txt"),
        ("info", hostile / f"{EVIL}-absent"),
        ("mip", hostile / "names.ome.tif", "--channel", EVIL, "--out", hostile / "x.png"),
    ):
        said = say(*words, *more)
        assert not DANGEROUS & {*said.out, *said.err}, words
        assert "defect" not in said.err
        if more:
            assert said.json
    assert say("info", hostile / "names.ome.tif", "--json").json["channels"] == [
        "r\x85\x9bd",
        "g\u202eb",
    ]


def test_a_volume_of_hostile_names_is_written_and_read_again(say, hostile, edit_names):
    source = edit_names(hostile / "source.ome.zarr", f"{EVIL}\ud800")
    for name in ("copy.ome.zarr", "copy.ome.tif"):
        said = say("convert", source, hostile / name)
        assert said.status == 0, said.err
        assert len(say("info", hostile / name, "--json").json["channels"]) == 2


@pytest.fixture
def edit_names():
    """Write a volume of two channels, the first of that name."""
    import projectome

    def write(path, name):
        voxels = np.zeros((2, 8, 8, 8), np.uint8)
        volume = projectome.Volume.from_array(voxels, voxel_size=(1, 1, 1), channels=("a", "b"))
        projectome.write_volume(volume, str(path))
        [file] = [p for p in (path / "zarr.json", path / ".zattrs") if p.exists()]
        text = file.read_text()
        assert '"label": "a"' in text
        file.write_text(text.replace('"label": "a"', f'"label": {json.dumps(name)}'))
        return path

    return write


def test_lines_stay_lines_and_the_rest_is_escaped():
    assert printable("µm\n\x1b[0m\ud800") == "µm\n\\x1b[0m\\ud800"


@pytest.mark.parametrize("out", ["s3://bucket/x.png", "file:///tmp/x.png", "gs://bucket/x.png"])
def test_an_address_is_not_taken_for_a_folder(out, say, brain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = say("mip", brain, "--out", out)
    assert said.status == 2
    assert said.err.startswith(f"error: {out} is an address")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("info", "a" * 400), "a name of 400 bytes, and files have names of at most 255"),
        (("ls", f"file:///tmp/{'é' * 200}"), "a name of 400 bytes"),
        (("profile", "BRAIN", "--out", "."), "has to end in .csv or .parquet"),
        (("config", "set", "endpoint", "http://\udcff"), "Cannot write the settings"),
        (("ls", "precomputed://x"), "Prefixes of formats"),
    ],
)
def test_words_that_cannot_be(words, told, say, brain):
    said = say(*(brain if word == "BRAIN" else word for word in words))
    assert said.status == 2
    assert told in said.err
