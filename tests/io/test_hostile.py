"""Hostile files of no format in particular: an error that helps, at once, and in little memory."""

import gzip
import json
import os
import time
import tracemalloc
import zipfile

import pytest

from projectome.errors import FormatError, ProjectomeError
from projectome.io import stores
from projectome.io.documents import parse_json
from projectome.io.open import open_volume
from projectome.io.points.read import read_points
from projectome.io.skeletons import read_skeletons
from projectome.testing.readers import WAY_OUT

DOCUMENTS = ("zarr.json", ".zattrs", ".zarray", "info", "attributes.json")
FILES = ("tif", "nii", "nii.gz", "nrrd", "nhdr", "npy", "h5", "ims", "xml", "nd2", "czi", "oib")
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DEEPER = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
TWICE = b'{"zarr_format": 2, "zarr_format": 3, "shape": [1], "shape": [2], "n5": 1, "n5": []}'


def refused(call, *words):
    """Return what a call is refused with, which is at once and without much memory."""
    began = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ProjectomeError) as caught:
            call(*words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - began < 10
    assert peak < 2**28
    assert WAY_OUT.search(str(caught.value))
    return str(caught.value)


def sparse(path, size):
    """Make a file that is large and takes no room."""
    with open(path, "wb") as file:
        file.truncate(size)
    return str(path)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("data", [DEEP, DEEPER, TWICE, b"\0" * 99, b"[]", b"\xff\xfe"])
def test_documents_that_are_no_metadata(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    assert str(tmp_path) in refused(open_volume, str(tmp_path))


@pytest.mark.parametrize("name", DOCUMENTS[:3])
def test_documents_too_large_to_be_read(name, tmp_path):
    sparse(tmp_path / name, 2**36)
    assert "larger than" in refused(open_volume, str(tmp_path))


@pytest.mark.parametrize("ending", FILES)
def test_files_of_nothing(ending, tmp_path):
    name = str(tmp_path / f"brain.{ending}")
    refused(open_volume, sparse(name, 2**36))
    refused(open_volume, sparse(name, 0))
    os.remove(name)
    os.mkdir(name)
    refused(open_volume, name)


@pytest.mark.parametrize("read", [read_skeletons, read_points])
@pytest.mark.parametrize("ending", ["swc", "nml", "json", "traces", "csv", "xml", "parquet"])
def test_skeletons_and_points_of_nothing(read, ending, tmp_path):
    refused(read, sparse(tmp_path / f"a.{ending}", 2**36))
    (tmp_path / f"deep.{ending}").write_bytes(DEEP)
    refused(read, str(tmp_path / f"deep.{ending}"))


def test_bombs(tmp_path):
    packed = gzip.compress(b"\0" * 2**28, 1)
    for name in ("a.nii.gz", "a.swc.gz", "a.nrrd"):
        (tmp_path / name).write_bytes(packed)
    refused(open_volume, str(tmp_path / "a.nii.gz"))
    refused(open_volume, str(tmp_path / "a.nrrd"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.swc", "1 1 0 0 0 1 -1\n")
        archive.writestr("large.swc", b"\0" * 2**20)
    refused(read_skeletons, str(tmp_path / "a.zip"))
    assert sorted(p.name for p in tmp_path.parent.glob("*.swc")) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    assert "is a pipe" in refused(open_volume, str(tmp_path / "a.tif"))


def test_links_in_circles(tmp_path):
    (tmp_path / "a.zarr").symlink_to(tmp_path / "a.zarr")
    refused(open_volume, str(tmp_path / "a.zarr"))


def test_a_level_behind_a_link_out_of_the_volume(tmp_path, make):
    path, _ = make.image(tmp_path / "brain.ome.zarr")
    (path / "0").rename(tmp_path / "elsewhere")
    (path / "0").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in refused(open_volume, str(path))


def test_a_member_of_an_archive_has_a_largest_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("large", b"x" * 1001)
    with pytest.raises(FormatError, match="larger than 1000 bytes"):
        stores.read_bytes(f"{tmp_path}/a.zip/large", limit=1000)


def test_halves_of_characters_become_question_marks():
    found = parse_json(rb'{"a": "x\ud800y", "b": "\ud83d\ude00", "c": "\\ud800"}', url="U")
    assert found == {"a": "x?y", "b": "\N{GRINNING FACE}", "c": "\\ud800"}
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_numbers_that_no_format_knows(number):
    with pytest.raises(FormatError, match="U is not a JSON document"):
        parse_json(f'{{"shape": [{number}]}}'.encode(), url="U")
    assert parse_json(f'{{"fill": {2**64 - 1}}}'.encode(), url="U") == {"fill": 2**64 - 1}
