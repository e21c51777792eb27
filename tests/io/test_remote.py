"""The same volumes over S3 and HTTP, with latency and faults; anonymous, and without listing."""

import contextlib
import http.server
import os
import threading
import time
from functools import partial
from typing import ClassVar

import hadro
import numpy as np
import pytest
import tensorstore as ts
import tifffile
import zarr

from projectome.core.box import Box
from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    StoreError,
    TransferError,
)
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource

pytestmark = pytest.mark.server
VERSIONS = ["0.4", "0.5", "0.5 sharded", "0.6"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, make):
    """A folder whose folders are buckets: ``data`` holds one image a version and a TIFF."""
    root = tmp_path_factory.mktemp("s3")
    for name in VERSIONS:
        version, _, sharded = name.partition(" ")
        shards = (16, 16, 16) if sharded else None
        make.image(
            root / "data" / name / "brain.ome.zarr", version, shape=(2, 16, 24, 20), shards=shards
        )
    voxels = make.noise((5, 300, 200))
    tifffile.imwrite(root / "data" / "raw.tif", voxels, photometric="minisblack")
    options = {"tile": (64, 64), "compression": "zlib"}
    tifffile.imwrite(root / "data" / "tiles.tif", voxels, photometric="minisblack", **options)
    return root


@pytest.fixture(scope="module")
def s3(bucket):
    """Endpoint of a read-only S3 server, 50 ms away, where every fiftieth request fails."""
    with hadro.Server(
        data=str(bucket), region="us-east-1", latency_ms=50, error_rate=0.02, fault_seed=1
    ) as server:
        yield server.endpoint


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Plain HTTP with byte ranges, which Python's own handler lacks; counts its requests."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list] = []
    missing = 404

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Range")))
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            return self.send_error(self.missing)
        with open(path, "rb") as file:
            data = file.read()
        start, stop, status = 0, len(data), 200
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(len(data), int(last) + 1) if first and last else len(data)
            status = 206
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{os.path.getmtime(path)}"')
        self.send_header("Last-Modified", self.date_time_string(os.path.getmtime(path)))
        self.send_header("Content-Length", str(stop - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:stop])
        return None

    do_HEAD = do_GET


class RangeServer(http.server.ThreadingHTTPServer):
    """Lets many clients knock at a time."""

    request_queue_size = 128
    daemon_threads = True


@contextlib.contextmanager
def serving(handler, folder):
    """Serve a folder; give the address."""
    server = RangeServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def web(bucket):
    """Address of a plain HTTP server with the same files."""
    with serving(RangeHandler, bucket) as address:
        yield address


@pytest.mark.parametrize("name", VERSIONS)
def test_s3_reads_the_same_bytes_as_the_disk(name, bucket, s3):
    local = open_volume(str(bucket / "data" / name / "brain.ome.zarr"))
    remote = open_volume(f"s3://data/{name}/brain.ome.zarr", endpoint=s3)
    assert len(remote) == len(local) == 2
    for level, other in zip(remote, local, strict=True):
        np.testing.assert_array_equal(level.read(), other.read())
        assert level.affine.isclose(other.affine)


def test_opening_asks_for_documents_alone(web):
    """One look, four names a group may have, one document a level: no chunk, no listing."""
    RangeHandler.asked.clear()
    assert len(open_volume(f"{web}/data/0.5/brain.ome.zarr")) == 2
    paths = [path.removeprefix("/data/0.5/brain.ome.zarr") for path, _ in RangeHandler.asked]
    assert not any("/c/" in path for path in paths)
    assert {"/zarr.json", "/0/zarr.json", "/1/zarr.json"} <= set(paths)
    assert len(paths) <= 16, paths


def test_a_bucket_is_a_folder_and_a_name_without_an_ending_may_be_a_file(s3, bucket):
    (bucket / "notes").mkdir()
    (bucket / "notes" / "readme.txt").write_text("nothing to see")
    with pytest.raises(FormatError, match=r"s3://notes is a folder without a volume.*readme"):
        open_volume("s3://notes", endpoint=s3)
    (bucket / "notes" / "plain").write_bytes((bucket / "data" / "raw.tif").read_bytes())
    found = open_volume("s3://notes/plain", endpoint=s3, voxel_size=(1, 1, 1), asset=False)
    assert found.metadata["format"] == "TIFF"


def test_levels_are_found_where_nothing_can_be_listed(tmp_path, make):
    """First s0 or 0, then the next eleven at once; attributes of the first and the last."""
    for name in ("s", ""):
        group = tmp_path / f"levels{name}"
        zarr.open_group(str(group), mode="w", zarr_format=2)
        for k in range(3):
            array = zarr.create_array(
                str(group / f"{name}{k}"), data=make.noise((16 >> k,) * 3), zarr_format=2
            )
            array.attrs.update(offset=[0, 0, 0], resolution=[4 << k] * 3)
    with serving(RangeHandler, tmp_path) as address:
        for name in ("levels", "levelss"):
            RangeHandler.asked.clear()
            found = open_volume(f"{address}/{name}", asset=False)
            assert [level.shape[0] for level in found] == [16, 8, 4]
            assert len(RangeHandler.asked) <= 3 + 2 + 2 + 11 + 2, RangeHandler.asked


@pytest.mark.parametrize("name", VERSIONS)
def test_fingerprint_is_the_same_on_every_store(name, bucket, s3, web):
    disk = VolumeSource(str(bucket / "data" / name / "brain.ome.zarr"), channel=1)
    cloud = VolumeSource(f"s3://data/{name}/brain.ome.zarr", channel=1, endpoint=s3)
    page = VolumeSource(f"{web}/data/{name}/brain.ome.zarr", channel=1)
    assert disk.fingerprint() == cloud.fingerprint() == page.fingerprint()


@pytest.mark.parametrize("name", VERSIONS)
def test_http_reads_the_same_bytes_without_listing(name, bucket, web):
    local = open_volume(str(bucket / "data" / name / "brain.ome.zarr"))[0].read()
    remote = open_volume(f"{web}/data/{name}/brain.ome.zarr")
    np.testing.assert_array_equal(remote[0].read(), local)


@pytest.mark.parametrize("name", ["raw.tif", "tiles.tif"])
def test_tiff_over_http_fetches_what_a_box_needs(name, bucket, web):
    """A small box of a 600 kB file costs neither the file nor all of its pages."""
    voxels = tifffile.imread(bucket / "data" / name)
    RangeHandler.asked.clear()
    volume = open_volume(f"{web}/data/{name}", voxel_size=(1, 1, 1), axes="zyx")[0]
    box = Box((3, 10, 20), (4, 40, 50))
    np.testing.assert_array_equal(volume.read(box), voxels[box.slices])
    asked = [r for path, r in RangeHandler.asked if path.endswith(name) and r]
    spans = [[int(v) for v in r.removeprefix("bytes=").split("-")] for r in asked]
    assert sum(b - a + 1 for a, b in spans) < 2 * volume.nbytes
    np.testing.assert_array_equal(volume.read(), voxels)


def test_tiff_over_s3(bucket, s3):
    volume = open_volume("s3://data/tiles.tif", voxel_size=(1, 1, 1), axes="zyx", endpoint=s3)[0]
    np.testing.assert_array_equal(volume.read(), tifffile.imread(bucket / "data" / "tiles.tif"))


def test_listing(s3, web):
    access = stores.Access.of(endpoint=s3)
    names = [e.name for e in stores.list_folder("s3://data", access=access)]
    assert names == sorted([*VERSIONS, "raw.tif", "tiles.tif"])
    inside = stores.list_folder("s3://data/0.4/brain.ome.zarr", access=access)
    assert {e.name: e.is_folder for e in inside} == {
        ".zattrs": False,
        ".zgroup": False,
        "0": True,
        "1": True,
    }
    assert all(e.size > 0 for e in inside if not e.is_folder)
    with pytest.raises(StoreError, match=r"cannot be listed.*s3://"):
        stores.list_folder(f"{web}/data")
    with pytest.raises(NotFoundError, match="Check the address"):
        stores.list_folder("s3://data/nothing", access=access)


def test_nothing_at_a_remote_address(s3, web):
    with pytest.raises(NotFoundError, match="address"):
        open_volume("s3://data/nothing.zarr", endpoint=s3)
    with pytest.raises(NotFoundError, match="full address"):
        open_volume(f"{web}/data/nothing.zarr")
    with pytest.raises(NotFoundError):
        stores.read_bytes("s3://data/nothing", access=stores.Access.of(endpoint=s3))


class TightLippedHandler(RangeHandler):
    """S3 as it answers who may read but not list: what is missing is denied."""

    missing = 403


@pytest.mark.parametrize("name", VERSIONS)
def test_a_bucket_that_may_be_read_and_not_listed(name, bucket):
    with serving(TightLippedHandler, bucket) as endpoint:
        pyramid = open_volume(f"s3://data/{name}/brain.ome.zarr", endpoint=endpoint)
        local = open_volume(str(bucket / "data" / name / "brain.ome.zarr"))
        np.testing.assert_array_equal(pyramid[0].read(), local[0].read())
        with pytest.raises(AccessDeniedError, match="--signed"):
            open_volume(f"s3://data/{name}", endpoint=endpoint)


def test_nobody_listens():
    """An address where nothing answers is an error within seconds, not a wait."""
    start = time.perf_counter()
    access = stores.Access(endpoint="http://127.0.0.1:9")
    with pytest.raises(TransferError, match="Try again"):
        stores.wait(
            ts.KvStore.open(
                stores.kvstore_spec("s3://bucket/key", access=access), context=stores.context()
            )
            .result()
            .read("x"),
            url="s3://bucket/key",
        )
    assert time.perf_counter() - start < 30


def test_real_server_keeps_what_is_written(seaweed, make):
    """Write, read, list, copy, create once and remove against a real S3 server."""
    access = stores.Access(endpoint=seaweed)
    stores.write_bytes("s3://bucket/a/b.txt", b"hello", access=access)
    assert stores.read_bytes("s3://bucket/a/b.txt", access=access) == b"hello"
    assert stores.exists("s3://bucket/a/b.txt", access=access)
    assert not stores.exists("s3://bucket/a/c.txt", access=access)
    assert stores.list_folder("s3://bucket/a", access=access) == [stores.Entry("b.txt", 5)]
    stores.copy("s3://bucket/a/b.txt", "s3://bucket/a/c.txt", access=access, target_access=access)
    assert stores.read_part("s3://bucket/a/c.txt", -3, 9, access=access) == (b"llo", 5)
    stores.remove("s3://bucket/a", access=access)
    assert not stores.exists("s3://bucket/a/b.txt", access=access)


def test_copies_stream_between_disk_and_server(seaweed, tmp_path, make):
    access = stores.Access(endpoint=seaweed)
    data = make.noise((3_000_001,), "uint8").tobytes()
    (tmp_path / "in").write_bytes(data)
    stores.copy(str(tmp_path / "in"), "s3://bucket/copy", target_access=access)
    stores.copy("s3://bucket/copy", str(tmp_path / "out"), access=access)
    assert (tmp_path / "out").read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "no-settings.toml") == [
        "in",
        "out",
    ]


def test_real_server_opens_what_zarr_python_uploaded(seaweed, tmp_path, make):
    access = stores.Access(endpoint=seaweed)
    path, voxels = make.image(tmp_path / "x.zarr", "0.5", shards=(16, 16, 16))
    for file in (p for p in path.rglob("*") if p.is_file()):
        target = f"s3://bucket/x.zarr/{file.relative_to(path)}"
        stores.copy(str(file), target, target_access=access)
    volume = open_volume("s3://bucket/x.zarr", endpoint=seaweed)[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    assert zarr.open_array(str(path / "0")).shape == volume.shape


def test_denied_names_the_way_out(tmp_path):
    """A server that wants signatures refuses anonymous reading; the error says --signed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_bytes(b"x")
    with hadro.Server(data=str(tmp_path), access_key="A" * 20, secret_key="B" * 40) as server:
        access = stores.Access(endpoint=server.endpoint)
        with pytest.raises(AccessDeniedError, match="--signed"):
            stores.read_bytes("s3://data/x", access=access)
        with pytest.raises(AccessDeniedError, match="--signed"):
            open_volume("s3://data/x.zarr", endpoint=server.endpoint)


def test_signed_requests_use_the_credentials_file(tmp_path, monkeypatch, make):
    path, voxels = make.image(tmp_path / "s3" / "data" / "x.zarr")
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {'A' * 20}\naws_secret_access_key = {'B' * 40}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with hadro.Server(
        data=str(tmp_path / "s3"), region="us-east-1", access_key="A" * 20, secret_key="B" * 40
    ) as server:
        pyramid = open_volume("s3://data/x.zarr", endpoint=server.endpoint, anonymous=False)
        np.testing.assert_array_equal(pyramid[0].read(), voxels)
        assert path.exists()
