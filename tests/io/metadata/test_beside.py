"""What the metadata of an asset says of a volume below it: golden case, doubts, requests."""

import contextlib
import copy
import http.server
import json
import threading
from functools import partial

import numpy as np
import pytest

from projectome.core.affine import itk_geometry
from projectome.errors import NotFoundError, ParameterError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource

SMART = "SmartSPIM_652506_2023-01-06_17-24-02"
STITCHED = f"{SMART}_stitched_2023-01-09_01-02-03"
TOWARD = ("inferior", "anterior", "right")
UNKNOWN = (None, None, None)


@pytest.fixture
def image(make, put):
    """Function that writes metadata of an OME-Zarr image without voxels."""

    def write(folder, scale=(2.0, 1.8, 1.8), shape=(464, 1280, 925), levels=1, version="0.4"):
        scales = [[1, 1, *(s * 2**k for s in scale)] for k in range(levels)]
        attributes = make.metadata(version, [make.axis(n) for n in "tczyx"], scales)
        documents = {}
        for k in range(levels):
            size = [1, 1, *(-(-n // 2**k) for n in shape)]
            if version == "0.4":
                documents[f"{k}/.zarray"] = {
                    "zarr_format": 2,
                    "shape": size,
                    "chunks": [1, 1, 128, 128, 128],
                    "dtype": "<u2",
                    "compressor": None,
                    "filters": None,
                    "fill_value": 0,
                    "order": "C",
                    "dimension_separator": "/",
                }
            else:
                grid = {"chunk_shape": [1, 1, 128, 128, 128]}
                documents[f"{k}/zarr.json"] = {
                    "zarr_format": 3,
                    "node_type": "array",
                    "shape": size,
                    "data_type": "uint16",
                    "chunk_grid": {"name": "regular", "configuration": grid},
                    "chunk_key_encoding": {"name": "default"},
                    "fill_value": 0,
                    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                    "attributes": {},
                }
        if version == "0.4":
            documents |= {".zattrs": attributes, ".zgroup": {"zarr_format": 2}}
        else:
            group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
            documents["zarr.json"] = group
        return str(put(folder, documents))

    return write


def messages(pyramid):
    """All problems as one text."""
    return "\n".join(map(str, pyramid.problems))


@pytest.mark.parametrize("place", ["asset", "recording", "merged"])
def test_golden_case_of_a_stitched_smartspim_channel(tmp_path, put, image, recording, place):
    """The case that the published notebook exports with ITK."""
    folder = tmp_path / STITCHED
    url = image(folder / "image_tile_fusing/OMEZarr/Ex_561_Em_593.zarr", (16.0, 14.4, 14.4))
    home = tmp_path / SMART if place == "recording" else folder
    merged = {"acquisition": recording, "subject": {"subject_id": "652506"}}
    put(
        home, {"metadata.nd.json": merged} if place == "merged" else {"acquisition.json": recording}
    )
    pyramid = open_volume(url)
    assert pyramid.space.toward == TOWARD
    found = itk_geometry(pyramid[0].affine, pyramid[0].shape)
    assert found.size == (925, 1280, 464)
    np.testing.assert_allclose(found.spacing, (0.0144, 0.0144, 0.016))
    np.testing.assert_allclose(found.origin, (13.3056, 18.4176, 7.408))
    np.testing.assert_array_equal(found.direction, np.diag((-1, -1, -1)))
    asset = pyramid.metadata["asset"]
    assert asset["taken"] == {"toward": list(TOWARD)}
    assert asset["subject"]["id"]["value"] == "652506"
    evidence = {
        "asset": "acquisition.json",
        "recording": f"{SMART}/acquisition.json",
        "merged": "metadata.nd.json",
    }
    assert asset["axes"][0]["toward"]["source"] == evidence[place]
    assert bool(pyramid.problems) == (place == "recording")
    json.dumps(asset)
    assert copy.deepcopy(pyramid).metadata["asset"] == asset  # as when it travels to a worker


def test_a_missing_voxel_size_is_asked_for_with_what_the_recording_states(tmp_path, put, recording):
    """It stays an error: what is derived from the tiles may have other voxels."""
    array = tmp_path / SMART / "volume.npy"
    put(tmp_path / SMART, {"acquisition.json": recording})
    np.save(array, np.zeros((4, 5, 6), np.uint8))
    hint = "acquisition.json beside it states --voxel-size 2,1.8,1.8 of the tiles"
    with pytest.raises(ParameterError, match=hint):
        open_volume(str(array))
    with pytest.raises(ParameterError, match=hint):
        open_volume(str(array), asset=str(tmp_path / SMART))
    for asset in (False, str(tmp_path / "absent")):
        with pytest.raises(ParameterError, match=r"voxel-size Z,Y,X(?!.*2,1.8,1.8)"):
            open_volume(str(array), asset=asset)
    pyramid = open_volume(str(array), voxel_size=(2.0, 1.8, 1.8))
    assert pyramid.space.toward == TOWARD


@pytest.mark.parametrize("up", [1, 2, 3, 4, 5])
def test_looks_up_four_folders_and_the_nearest_counts(tmp_path, put, image, recording, up):
    url = image(tmp_path / "asset" / "/".join("abcd"[: up - 1]) / "scan.zarr")
    put(tmp_path / "asset", {"acquisition.json": recording})
    assert open_volume(url).space.toward == (TOWARD if up < 5 else UNKNOWN)
    if 1 < up < 5:
        other = {**recording, "axes": "LPS"}
        put(tmp_path / "asset" / "a", {"exaspim_acquisition.json": other})
        assert open_volume(url).space.toward == ("inferior", "anterior", "right")
        assert "code LPS" in messages(open_volume(url))


def test_nothing_above_a_folder_that_is_named_as_an_asset(tmp_path, put, image, recording):
    put(tmp_path, {"acquisition.json": recording})
    assert open_volume(image(tmp_path / "asset/scan.zarr")).space.toward == TOWARD
    found = open_volume(image(tmp_path / "exaspim_1_2026-01-01_00-00-00/scan.zarr"))
    assert found.space.toward == UNKNOWN
    assert "asset" not in found.metadata


class TestWhoSaysWhat:
    def test_the_user_counts_first(self, tmp_path, put, image, recording):
        url = image(tmp_path / "scan.zarr")
        put(tmp_path, {"acquisition.json": recording})
        said = {"orientation": "rai", "meaning": "toward"}
        quiet = open_volume(url, **said)
        assert quiet.space.toward == ("right", "anterior", "inferior")
        assert "asset" not in quiet.metadata
        loud = open_volume(url, asset=str(tmp_path), **said)
        assert loud.space.toward == quiet.space.toward
        assert "which is kept" in messages(loud)
        assert loud.metadata["asset"]["taken"] == {}

    @pytest.mark.parametrize("asset", [False, "none", "NONE"])
    def test_none_is_looked_for(self, tmp_path, put, image, recording, asset):
        url = image(tmp_path / "scan.zarr")
        put(tmp_path, {"acquisition.json": recording})
        assert open_volume(url, asset=asset).space.toward == UNKNOWN

    def test_another_asset_or_document(self, tmp_path, put, image, recording):
        url = image(tmp_path / "far/scan.zarr")
        put(tmp_path / "other", {"any.json": recording, "acquisition.json": recording})
        for place in ("other", "other/any.json"):
            found = open_volume(url, asset=str(tmp_path / place))
            assert found.space.toward == TOWARD
            assert found.metadata["user"] == {"asset": str(tmp_path / place)}
        with pytest.raises(NotFoundError, match=r"metadata\.nd\.json"):
            open_volume(url, asset=str(tmp_path / "far"))

    def test_a_broken_document_found_by_looking_stops_nothing(self, tmp_path, put, image):
        url = image(tmp_path / "scan.zarr")
        put(tmp_path, {"acquisition.json": "{" * 100})
        found = open_volume(url)
        assert found.space.toward == UNKNOWN
        assert "No metadata was read beside the volume" in messages(found)
        assert "acquisition.json" in messages(found)


class TestContradictions:
    def opened(self, tmp_path, put, image, recording, scale, **more):
        put(tmp_path, {"acquisition.json": recording})
        return open_volume(image(tmp_path / "scan.zarr", scale, **more))

    @pytest.mark.parametrize(
        ("scale", "taken", "said"),
        [
            ((2.0, 1.8, 1.8), True, ""),
            ((16.0, 14.4, 14.4), True, ""),
            ((2.0, 3.6, 3.6), True, ""),
            ((1.99, 1.81, 1.8), True, ""),
            ((1.8, 1.8, 2.0), False, "another order"),
            ((25.0, 25.0, 25.0), False, "resampled"),
            ((10.0, 10.0, 10.0), False, "resampled"),
            ((1.0, 0.9, 0.9), True, "0.5 times: another unit or expansion"),
            ((8.0e-3 * 25, 7.2e-3 * 25, 7.2e-3 * 25), True, "times"),
        ],
    )
    def test_voxel_size(self, tmp_path, put, image, recording, scale, taken, said):
        found = self.opened(tmp_path, put, image, recording, scale)
        assert found.space.toward == (TOWARD if taken else UNKNOWN)
        assert said in messages(found)
        assert bool(found.problems) == bool(said)
        assert taken or "--orientation CODE --meaning" in messages(found)
        assert found[0].voxel_size == pytest.approx(scale)

    @pytest.mark.parametrize(
        ("scale", "toward"),
        [
            ((2.0, 1.8, 1.8), TOWARD),
            ((1.8, 1.8, 2.0), ("right", "anterior", "inferior")),
            ((25.0, 25.0, 25.0), UNKNOWN),
        ],
    )
    def test_numbers_of_axes_against_their_names(
        self, tmp_path, put, image, recording, scale, toward
    ):
        """As in the oldest documents; the voxel size of the volume tells which one holds."""
        for axis, number in zip(recording["axes"], (0, 1, 2), strict=True):
            axis["dimension"] = number
        found = self.opened(tmp_path, put, image, recording, scale)
        assert found.space.toward == toward

    def test_numbers_against_names_of_cubes_stay_unknown(self, tmp_path, put, image, recording):
        for axis, number in zip(recording["axes"], (0, 1, 2), strict=True):
            axis["dimension"] = number
        recording["tiles"][0]["coordinate_transformations"][1]["scale"] = [2, 2, 2]
        found = self.opened(tmp_path, put, image, recording, (2.0, 2.0, 2.0))
        assert found.space.toward == (None, "anterior", None)

    def test_axes_of_a_tile_in_another_order(self, tmp_path, put, image, modern):
        document = modern([{"scale": [2.0] * 3}], dimensions={"scale": [925, 1280, 464]})
        put(tmp_path, {"acquisition.json": document})
        same = open_volume(image(tmp_path / "a.zarr", (2.0, 2.0, 2.0)))
        assert same.space.toward == ("inferior", "posterior", "right")
        other = open_volume(image(tmp_path / "b.zarr", (2.0, 2.0, 2.0), (925, 1280, 464)))
        assert other.space.toward == UNKNOWN
        assert "464 x 1280 x 925 voxels" in messages(other)

    @pytest.mark.parametrize(
        ("procedures", "given", "said"),
        [
            ({"expansion_factor": 3}, None, "--expansion 3"),
            ({"expansion_factor": 3}, 3.0, ""),
            ({"procedure_type": "Expansion"}, None, "by how much is not stated"),
            ({"procedure_type": "Expansion"}, 3.0, ""),
        ],
    )
    def test_expansion(self, tmp_path, put, image, recording, procedures, given, said):
        put(tmp_path, {"acquisition.json": recording})
        put(tmp_path, {"procedures.json": {"specimen_procedures": [procedures]}})
        found = open_volume(image(tmp_path / "scan.zarr"), expansion=given)
        assert said in messages(found)
        assert bool(found.problems) == bool(said)
        assert found.space.expansion == (given or 1.0)


def test_fingerprint_changes_with_the_facts_taken(tmp_path, put, make, recording):
    make.group(
        tmp_path / "scan.zarr",
        "0.4",
        [np.zeros((4, 4, 4), "u2")],
        make.metadata("0.4", [make.axis(n) for n in "zyx"], [[2.0, 1.8, 1.8]]),
    )
    source = VolumeSource(str(tmp_path / "scan.zarr"))
    alone = source.fingerprint()
    put(tmp_path, {"acquisition.json": recording})
    first = source.fingerprint()
    assert first != alone
    put(tmp_path, {"acquisition.json": {**recording, "notes": "nothing taken from here"}})
    assert source.fingerprint() == first
    recording["axes"][0]["direction"] = "Right_to_left"
    put(tmp_path, {"acquisition.json": recording})
    assert source.fingerprint() not in (alone, first)
    assert VolumeSource(str(tmp_path / "scan.zarr"), asset=False).fingerprint() == alone


@pytest.fixture
def layouts(tmp_path, put, image, recording):
    """A bucket with six-level volumes in assets of every layout; names of the volumes."""
    documents = {
        f"{kind}.json": {} for kind in ("subject", "processing", "procedures", "instrument")
    }
    bucket = tmp_path / "buckets" / "data"
    volumes = {}
    for version in ("0.4", "0.5"):
        for name, asset in {
            "whole": (f"exaSPIM_1_2026-01-01_00-00-0{version[-1]}", "acquisition.json"),
            "plain": (f"brains/first{version}", "acquisition.json"),
            "prefixed": (f"brains/second{version}", "exaspim_acquisition.json"),
            "nothing": (f"brains/third{version}", "readme.json"),
            "derived": (f"{STITCHED[:-1]}{version[-1]}", "data_description.json"),
            "merged": (f"{STITCHED[:-1]}{int(version[-1]) + 2}", "metadata.nd.json"),
        }.items():
            home, own = asset
            content = {} if name in ("derived", "merged") else recording  # which tells of no axes
            put(bucket / home, {**documents, own: content})
            inner = "scan.zarr" if content else "image_tile_fusing/OMEZarr/scan.zarr"
            image(bucket / home / inner, levels=6, version=version)
            volumes[name, version] = f"{home}/{inner}"
    put(bucket / SMART, {"acquisition.json": recording})
    return bucket.parent, volumes


@pytest.mark.server
def test_requests_to_a_bucket(layouts, serving_buckets):
    """At most twelve for a volume of six levels, and at most eight for its metadata."""
    folder, volumes = layouts
    with serving_buckets(folder) as server:
        for (name, _), key in volumes.items():
            counts = {}
            for asset in (False, True):
                server.asked.clear()
                found = open_volume(f"s3://data/{key}", endpoint=server.endpoint, asset=asset)
                counts[asset] = len(server.asked)
                known = asset and name != "nothing"
                assert found.space.toward == (TOWARD if known else UNKNOWN), (name, server.asked)
                assert len(found) == 6
            assert counts[False] <= 12, (name, counts)
            assert counts[True] - counts[False] <= 8, (name, counts, server.asked)


class Counting(http.server.SimpleHTTPRequestHandler):
    """Plain HTTP, which lists nothing, and counts."""

    def __init__(self, *given, asked, **more):
        self.asked = asked
        super().__init__(*given, **more)

    def log_message(self, *_):
        pass

    def send_head(self):
        self.asked.append(self.path)
        if self.path.endswith("/") or "." not in self.path.rsplit("/", 1)[-1]:
            self.send_error(404)
            return None
        return super().send_head()


@contextlib.contextmanager
def web(folder):
    """Serve a folder; give its address and the requests."""
    asked = []
    handler = partial(Counting, directory=str(folder), asked=asked)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.server
def test_requests_over_plain_http(layouts):
    folder, volumes = layouts
    with web(folder) as (address, asked):
        for (name, _), key in volumes.items():
            counts = {}
            for asset in (False, True):
                asked.clear()
                found = open_volume(f"{address}/data/{key}", asset=asset)
                counts[asset] = len(asked)
                known = asset and name in ("whole", "plain", "derived", "merged")
                assert found.space.toward == (TOWARD if known else UNKNOWN), (name, asked)
            assert counts[True] - counts[False] <= 8, (name, counts, asked)
