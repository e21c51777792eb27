"""What a folder is, over S3, on disk and over plain HTTP; names are never trusted."""

import functools
import http.server
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import NotFoundError
from projectome.io.access import Access
from projectome.io.kinds import DOCUMENTS, look_into, shown, sight

OME = {"multiscales": [{"version": "0.4", "datasets": [{"path": "0"}, {"path": "1"}]}]}
INFO = {
    "@type": "neuroglancer_multiscale_volume",
    "data_type": "uint64",
    "scales": [{"key": "8_8_8", "size": [30, 20, 10]}],
    "mesh": "mesh",
    "skeletons": "skeletons",
}


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """One folder of each kind."""
    home = tmp_path_factory.mktemp("kinds") / "bucket"
    array = {"zarr_format": 2, "shape": [4, 5, 6], "dtype": "<u2"}
    write(home / "image.ome.zarr" / ".zattrs", OME)
    write(home / "image.ome.zarr" / ".zgroup", {"zarr_format": 2})
    write(home / "image.ome.zarr" / "0" / ".zarray", array)
    write(home / "array" / ".zarray", array)
    write(home / "group.zarr" / ".zgroup", {"zarr_format": 2})
    three = {"zarr_format": 3, "node_type": "array", "shape": [7, 8], "data_type": "int16"}
    write(home / "three" / "zarr.json", three)
    write(home / "modern" / "zarr.json", {"node_type": "group", "attributes": {"ome": OME}})
    write(home / "labels" / ".zattrs", {"labels": ["nuclei", "cells"]})
    write(home / "labels" / ".zgroup", {"zarr_format": 2})
    write(home / "volume" / "info", INFO)
    write(home / "bones" / "info", {"@type": "neuroglancer_skeletons"})
    write(home / "old.n5" / "attributes.json", {"dimensions": [6, 5, 4], "dataType": "uint8"})
    write(home / "broken.zarr" / "zarr.json", "{")
    write(home / "plain" / "notes.txt", "x" * 10)
    write(home / "SmartSPIM_652506_2023-01-06_17-24-02" / "subject.json", {})
    write(home / "readme.md", "y" * 20)
    return home


KINDS = {
    "image.ome.zarr": ("OME-Zarr image", "2 levels"),
    "array": ("Zarr array", "4 x 5 x 6 uint16"),
    "group.zarr": ("Zarr group", ""),
    "three": ("Zarr array", "7 x 8 int16"),
    "modern": ("OME-Zarr image", "2 levels"),
    "labels": ("OME-Zarr labels", "2 images"),
    "volume": ("precomputed volume", "30 x 20 x 10 uint64, 1 scale"),
    "bones": ("precomputed skeletons", ""),
    "old.n5": ("N5 array", "6 x 5 x 4 uint8"),
    "broken.zarr": ("folder", ""),
    "plain": ("folder", ""),
    "SmartSPIM_652506_2023-01-06_17-24-02": ("asset", ""),
    "readme.md": ("file", ""),
}


def test_every_kind_on_the_disk(tree):
    look = look_into(str(tree))
    assert {item.name: (item.kind, item.about) for item in look.items} == KINDS
    assert (look.kind, look.listed) == ("folder", True)
    assert {item.name: item.size for item in look.items if not item.is_folder} == {"readme.md": 20}


@pytest.mark.server
def test_every_kind_over_s3_with_few_requests(tree, serving_buckets):
    with serving_buckets(tree.parent, latency_ms=50) as buckets:
        how = Access(endpoint=buckets.endpoint)
        look = look_into("s3://bucket", access=how)
        assert {item.name: (item.kind, item.about) for item in look.items} == KINDS
        assert buckets.listings() == 1
        assert len(buckets.asked) <= 1 + len(DOCUMENTS) * len(KINDS)
        buckets.asked.clear()
        image = look_into("s3://bucket/image.ome.zarr", access=how)
        assert (image.kind, image.about) == ("OME-Zarr image", "2 levels")
        assert len(buckets.asked) == 3  # the listing and two documents
        buckets.asked.clear()
        look_into("s3://bucket", access=how, peek=0)
        assert len(buckets.asked) == 1


@pytest.fixture
def web(tree):
    """Address of a plain web server with the same files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def list_directory(self, path):
            self.send_error(404)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tree))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_over_http_the_metadata_is_read(web, tree):
    image = look_into(f"{web}/image.ome.zarr")
    assert not image.listed
    assert (image.kind, [i.name for i in image.items]) == ("OME-Zarr image", ["0", "1"])
    volume = look_into(f"{web}/volume")
    assert [i.name for i in volume.items] == ["8_8_8", "mesh", "skeletons"]
    assert look_into(f"{web}/three").about == "7 x 8 int16"
    write(
        tree / "group.zarr" / ".zmetadata",
        {"metadata": {".zgroup": {}, "raw/.zarray": {}, "raw/.zattrs": {}, "more/x/.zarray": {}}},
    )
    assert [i.name for i in look_into(f"{web}/group.zarr").items] == ["raw", "more"]
    with pytest.raises(NotFoundError, match="plain HTTP cannot be listed"):
        look_into(f"{web}/plain")


def test_many_folders_are_told_by_their_names(tmp_path):
    for number in range(30):
        (tmp_path / f"image_{number}.zarr").mkdir()
        (tmp_path / f"folder_{number}").mkdir()
    kinds = {item.kind for item in look_into(str(tmp_path)).items}
    assert kinds == {"Zarr", "folder"}


def test_names_are_shown_without_what_a_terminal_obeys():
    assert shown("plain name.zarr é 中") == "plain name.zarr é 中"
    assert shown("a\x1b[31mred\n") == "a\\x1b[31mred\\n"
    assert shown("\u202egnp.exe") == "\\u202egnp.exe"
    assert shown("\\x1b") == "\\\\x1b"
    assert shown("\udcff").isprintable()


@given(st.text())
def test_whatever_is_shown_is_printable(name):
    assert all(c.isprintable() for c in shown(name))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "multiscales",
                    "datasets",
                    "path",
                    "ome",
                    "scales",
                    "key",
                    "@type",
                    "shape",
                    "labels",
                    "attributes",
                    "node_type",
                    "dimensions",
                    "metadata",
                    "size",
                    "dtype",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(DOCUMENTS), st.dictionaries(st.text(), VALUES), max_size=3))
def test_any_documents_make_some_kind(documents):
    seen = sight(documents)
    assert seen.kind
    assert all(isinstance(path, str) for path in seen.paths)
