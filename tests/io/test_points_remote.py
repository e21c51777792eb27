"""Skeletons and points over S3, slow and faulty, and over plain HTTP, which cannot list."""

import functools
import http.server
import re
import threading
from pathlib import Path

import hadro
import numpy as np
import pytest

from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import NotFoundError, StoreError
from projectome.io.access import Access
from projectome.io.points import read_points, write_points
from projectome.io.skeletons import NamedSkeleton, read_skeletons, write_skeletons

pytestmark = pytest.mark.server
STICK = Skeleton([[0, 0, 0], [2, 3, 6]], [-1, 0], Space())
ITEMS = [NamedSkeleton(STICK, str(i), np.arange(2)) for i in (5, 7, 12)]
POINTS = Points(np.arange(30.0).reshape(10, 3), Space())
PLACES = ["neurons", "neurons.zip", "v1.0/neurons", "a.nml", "precomputed", "sharded"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A folder whose one folder is a bucket."""
    root = tmp_path_factory.mktemp("s3")
    data = root / "data"
    for name in ("neurons", "neurons.zip", "v1.0/neurons", "a.nml"):
        write_skeletons(ITEMS, data / name)
    write_skeletons(ITEMS, data / "precomputed", kind="precomputed")
    write_skeletons(ITEMS, data / "sharded", kind="precomputed", sharded=True)
    write_points(POINTS, f"precomputed://{data}/points", sharded=False)
    write_points(POINTS, f"precomputed://{data}/packed", sharded=True)
    write_points(POINTS, data / "points.parquet")
    return root


@pytest.fixture(scope="module")
def s3(bucket):
    """How to ask a server 20 ms away, where every fiftieth request fails."""
    with hadro.Server(
        data=str(bucket), region="us-east-1", latency_ms=20, error_rate=0.02, fault_seed=1
    ) as server:
        yield Access(endpoint=server.endpoint)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and ranges of them, and neither lists nor logs."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        size = len(data)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self.send_response(200)
        else:
            first = int(asked[1]) if asked[1] else size - int(asked[2])
            last = min(int(asked[2] or size) if asked[1] else size, size - 1)
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web(bucket):
    """Address of plain HTTP."""
    handler = functools.partial(Quiet, directory=str(bucket / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("place", PLACES)
def test_skeletons_over_s3(s3, place):
    found = read_skeletons(f"s3://data/{place}", access=s3)
    assert found.names == ["5", "7", "12"] or place == "a.nml"
    assert [s.cable_length for s in found.skeletons] == [7, 7, 7]
    if place != "a.nml":
        assert read_skeletons(f"s3://data/{place}", only=["7"], access=s3).names == ["7"]


def test_nothing_over_s3(s3):
    for place in ("none", "none.swc", "none.v2"):
        with pytest.raises(NotFoundError):
            read_skeletons(f"s3://data/{place}", access=s3)


@pytest.mark.parametrize("place", ["points", "packed", "points.parquet"])
def test_points_over_s3(s3, place):
    found = read_points(f"s3://data/{place}", access=s3)
    np.testing.assert_array_equal(found.coordinates, POINTS.coordinates)


def test_plain_http_cannot_list(web):
    assert read_skeletons(f"{web}/neurons.zip").names == ["5", "7", "12"]
    assert read_skeletons(f"{web}/sharded").names == ["5", "7", "12"]
    assert read_skeletons(f"precomputed://{web}/precomputed", only=[7, 12]).names == ["7", "12"]
    with pytest.raises(StoreError, match="plain HTTP has no listing"):
        read_skeletons(f"{web}/precomputed")
    for place in ("points", "packed"):
        found = read_points(f"precomputed://{web}/{place}")
        np.testing.assert_array_equal(found.coordinates, POINTS.coordinates)


def test_writing_to_a_real_server(seaweed):
    access = Access(endpoint=seaweed)
    for kind, name in (("precomputed", "p"), ("swc", "f"), ("zip", "a.zip")):
        url = f"s3://bucket/skeletons/{name}"
        write_skeletons(ITEMS, url, kind=kind, access=access)
        assert read_skeletons(url, access=access).names == ["5", "7", "12"]
    write_points(POINTS, "precomputed://s3://bucket/points", access=access)
    found = read_points("precomputed://s3://bucket/points", access=access)
    np.testing.assert_array_equal(found.coordinates, POINTS.coordinates)
