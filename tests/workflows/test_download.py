"""Downloads: whole files only, gone on with where they stopped, nothing outside the destination."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from projectome.errors import NotFoundError, ParameterError, StoreError, TransferError
from projectome.io import objects
from projectome.io.access import Access
from projectome.io.objects import Fetcher, Item
from projectome.io.open import open_volume
from projectome.testing import replica_aind as aind
from projectome.workflows import download as module
from projectome.workflows.download import download

CROP = "ls/models/training_data/instance/crop_12.zarr"
STITCHED = f"{aind.SMART_STITCHED}/processed/OMEZarr/Ex_561_Em_593.zarr"


def contents(folder):
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture
def how(replica_buckets):
    replica_buckets.asked.clear()
    return Access(endpoint=replica_buckets.endpoint)


@pytest.mark.server
def test_a_tree_arrives_byte_by_byte_and_is_not_fetched_twice(
    tmp_path, replicas, replica_buckets, how
):
    source = replicas / "e11bio-prism" / CROP
    seen = []
    done = download(f"s3://e11bio-prism/{CROP}", tmp_path, access=how, on_progress=seen.append)
    assert contents(tmp_path) == contents(source)
    assert (done.files, done.kept, done.left_out) == (len(contents(source)), 0, ())
    assert done.size == sum(map(len, contents(source).values()))
    assert [d.files for d in seen] == list(range(1, done.files + 1))
    replica_buckets.asked.clear()
    again = download(f"s3://e11bio-prism/{CROP}", tmp_path, access=how)
    assert (again.files, again.kept) == (0, done.files)
    assert len(replica_buckets.asked) == 2  # is it a file, and the listing
    (tmp_path / "labels" / ".zattrs").write_text("changed here")
    assert download(f"s3://e11bio-prism/{CROP}", tmp_path, access=how).files == 1
    assert contents(tmp_path) == contents(source)


@pytest.mark.server
def test_a_file_goes_to_a_path_or_into_a_folder(tmp_path, replicas, how):
    url = f"s3://aind-open-data/{aind.SMART_RAW}/acquisition.json"
    download(url, tmp_path / "new.json", access=how)
    download(url, tmp_path, access=how)
    expected = (replicas / "aind-open-data" / aind.SMART_RAW / "acquisition.json").read_bytes()
    assert (tmp_path / "new.json").read_bytes() == expected
    assert (tmp_path / "acquisition.json").read_bytes() == expected


@pytest.mark.server
def test_only_what_matches(tmp_path, how):
    done = download(
        f"s3://aind-open-data/{aind.SMART_RAW}", tmp_path, include=["*.json", "*.ini"], access=how
    )
    assert {Path(p).suffix for p in contents(tmp_path)} == {".json", ".ini"}
    assert done.files == 7
    with pytest.raises(NotFoundError, match=r"matches \*\.csv.*projectome ls"):
        download(f"s3://aind-open-data/{aind.SMART_RAW}", tmp_path, include=["*.csv"], access=how)
    with pytest.raises(NotFoundError, match="Nothing below"):
        download("s3://aind-open-data/absent", tmp_path, access=how)


@pytest.mark.server
def test_one_level_of_a_volume_opens_as_a_volume(tmp_path, how):
    whole = open_volume(f"s3://aind-open-data/{STITCHED}", endpoint=how.endpoint)
    download(f"s3://aind-open-data/{STITCHED}", tmp_path / "a.zarr", level=2, access=how)
    copy = open_volume(str(tmp_path / "a.zarr"))
    assert len(copy) == 1
    assert copy[0].voxel_size == whole[2].voxel_size
    assert (copy[0].read() == whole[2].read()).all()
    scale = "s3://e11bio-prism/ls/images/full_dataset.zarr/markers"
    download(scale, tmp_path / "markers", level=5, access=how)
    assert {p.split("/")[0] for p in contents(tmp_path / "markers")} == {"s5"}
    for url in (f"s3://aind-open-data/{STITCHED}", scale):
        with pytest.raises(ParameterError, match="no level 9"):
            download(url, tmp_path / "b", level=9, access=how)


def test_from_disk_to_disk(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100)
    (tmp_path / "a" / "empty").write_bytes(b"")
    (tmp_path / "a" / "link").symlink_to("/etc/passwd")
    done = download(str(tmp_path / "a"), tmp_path / "c")
    assert contents(tmp_path / "c") == {"b/file": b"x" * 100, "empty": b""}
    assert done.files == 2
    with pytest.raises(ParameterError, match="projectome convert"):
        download(str(tmp_path / "a"), "s3://bucket/key")


def test_nothing_is_written_outside(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x")
    nasty = [Item("file", 1), Item("../up", 1), Item("/abs", 1), Item("b/../../c", 1)]
    nasty += [Item("\x1b[31m\\x", 1)]
    monkeypatch.setattr(module, "files_below", lambda url, access: iter(nasty))
    done = download(str(tmp_path / "a"), tmp_path / "inner" / "dst")
    assert sorted(done.left_out) == sorted(["../up", "/abs", "b/../../c", "\\x1b[31m\\\\x"])
    assert sorted(contents(tmp_path)) == ["a/file", "inner/dst/file"]
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "inner" / "dst" / "link").symlink_to(outside)
    monkeypatch.setattr(module, "files_below", lambda url, access: iter([Item("link/x", 1)]))
    assert download(str(tmp_path / "a"), tmp_path / "inner" / "dst").left_out == ("link/x",)
    assert not list(outside.iterdir())


class Flaky(http.server.BaseHTTPRequestHandler):
    """An S3 object of 100 kB that is served as the test says."""

    protocol_version = "HTTP/1.1"
    body = os.urandom(100_000)
    tag = hashlib.md5(body).hexdigest()
    served = body
    cut = 0
    ranges: tuple = ()

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._headers(200, len(self.body))

    def _headers(self, status, size, extra=()):
        self.send_response(status)
        self.send_header("ETag", f'"{self.tag}"')
        self.send_header("Last-Modified", "Wed, 01 Jul 2026 12:00:00 GMT")
        self.send_header("Content-Length", str(size))
        for name, value in extra:
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        cls = type(self)
        asked = self.headers.get("Range")
        cls.ranges = (*cls.ranges, asked)
        if self.headers.get("If-Match", f'"{self.tag}"').strip('"') != self.tag:
            return self._headers(412, 0)
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        data = self.served[start:]
        size = len(self.body)
        extra = [("Content-Range", f"bytes {start}-{size - 1}/{size}")] if asked else []
        self._headers(206 if asked else 200, len(data), extra)
        if cls.cut:
            data, cls.cut = data[: cls.cut], 0
            self.close_connection = True
        self.wfile.write(data)
        return None


@pytest.fixture
def flaky():
    Flaky.served, Flaky.cut, Flaky.ranges = Flaky.body, 0, ()
    Flaky.tag = hashlib.md5(Flaky.body).hexdigest()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Fetcher(Access(endpoint=f"http://127.0.0.1:{server.server_port}"))
    server.shutdown()
    server.server_close()


def item():
    return Item("big.ims", len(Flaky.body), f'"{Flaky.tag}"', 1782907200.0)


def test_what_arrived_before_is_not_fetched_again(tmp_path, flaky):
    target = tmp_path / "big.ims"
    mark = hashlib.sha256(f's3://b/big.ims\n"{Flaky.tag}"\n{len(Flaky.body)}'.encode())
    partial = tmp_path / f".big.ims.{mark.hexdigest()[:12]}.partial"
    partial.write_bytes(Flaky.body[:60_000])
    flaky.fetch("s3://b/big.ims", item(), target)
    assert target.read_bytes() == Flaky.body
    assert Flaky.ranges == ("bytes=60000-",)
    assert [p.name for p in tmp_path.iterdir()] == ["big.ims"]
    assert flaky.is_there(item(), target)
    assert not flaky.is_there(Item("big.ims", 5, "", 0.0), target)


def test_damage_on_the_way_is_noticed(tmp_path, flaky, monkeypatch):
    bodies = iter([Flaky.body[:-1] + b"?", Flaky.body[:-1] + b"!"])
    monkeypatch.setattr(Fetcher, "_pieces", lambda self, url, item, start: [next(bodies)])
    with pytest.raises(TransferError, match="arrived damaged twice"):
        flaky.fetch("s3://b/big.ims", item(), tmp_path / "big.ims")
    assert not list(tmp_path.iterdir())


def test_tags_that_are_no_checksums_are_found_out_once(tmp_path, flaky):
    Flaky.tag = "0" * 32
    flaky.fetch("s3://b/big.ims", item(), tmp_path / "one")
    assert len(Flaky.ranges) == 2
    flaky.fetch("s3://b/big.ims", item(), tmp_path / "two")
    assert len(Flaky.ranges) == 3
    assert (tmp_path / "two").read_bytes() == Flaky.body


def test_an_object_that_changed_is_not_mixed(tmp_path, flaky):
    before = item()
    Flaky.tag = "1" * 32
    with pytest.raises(TransferError, match="changed while it was fetched"):
        flaky.fetch("s3://b/big.ims", before, tmp_path / "big.ims")
    assert not (tmp_path / "big.ims").exists()


def test_a_short_body_is_no_file(tmp_path, flaky):
    Flaky.served = Flaky.body[:70_000]
    with pytest.raises(StoreError):
        flaky.fetch("s3://b/big.ims", item(), tmp_path / "big.ims")
    assert not (tmp_path / "big.ims").exists()
    Flaky.served = Flaky.body
    flaky.fetch("s3://b/big.ims", item(), tmp_path / "big.ims")
    assert (tmp_path / "big.ims").read_bytes() == Flaky.body


def test_markers_of_folders_are_no_files():
    listed = [Item("a", 0), Item("a/x", 3), Item("b", 0), Item("c", 2), Item("d", 0)]
    assert [i.path for i in objects._unmarked(iter(listed))] == ["a/x", "b", "c", "d"]
