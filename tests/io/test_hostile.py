"""Hostile files of no format in particular: an error that helps, at once, and in little memory."""

import gzip
import json
import os
import resource
import struct
import time
import tracemalloc
import zipfile

import pytest

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.engine.ledger import last_grid
from projectome.errors import FormatError, ProjectomeError
from projectome.io import stores
from projectome.io.documents import parse_json
from projectome.io.open import open_volume
from projectome.io.points.read import read_points
from projectome.io.skeletons import read_skeletons
from projectome.io.volumes.write import create_volume
from projectome.registration.files import read_registration
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


TENS = {"shape": [10**5] * 3, "fill_value": 0}
RAW_3 = [{"name": "bytes", "configuration": {"endian": "little"}}]
CHUNKED_3 = {"name": "regular", "configuration": {"chunk_shape": [10**4] * 3}}
ZARR_3 = {
    "zarr_format": 3, "node_type": "array", "data_type": "uint16", "attributes": {},
    "chunk_key_encoding": {"name": "default"}, "chunk_grid": CHUNKED_3, **TENS,
}  # fmt: skip
SHARDING = {"chunk_shape": [1, 1, 1], "codecs": RAW_3, "index_codecs": RAW_3}
BITS = {"preshift_bits": 0, "minishard_bits": 2, "shard_bits": 40, "hash": "identity"}
SCALE = {
    "key": "a", "size": [2**20] * 3, "resolution": [1, 1, 1], "encoding": "raw",
    "chunk_sizes": [[64] * 3], "sharding": {"@type": "neuroglancer_uint64_sharded_v1", **BITS},
}  # fmt: skip
LAYER = {"type": "image", "data_type": "uint16", "num_channels": 1, "scales": [SCALE]}
NRRD = b"NRRD0005\ntype: uint16\ndimension: 3\nsizes: 1000000 1000000 1000000\n"
NPY = b"{'descr': '<u2', 'fortran_order': False, 'shape': (100000, 100000, 100000)}"
ABSURD = {
    "zarr 2": {".zarray": {"zarr_format": 2, "chunks": [10**4] * 3, "dtype": "<u2", **TENS}},
    "zarr 3": {"zarr.json": {**ZARR_3, "codecs": RAW_3}},
    "zarr 3 shards": {
        "zarr.json": {**ZARR_3, "codecs": [{"name": "sharding_indexed", "configuration": SHARDING}]}
    },
    "n5": {
        "attributes.json": {
            "dimensions": [64] * 3, "blockSize": [64] * 3, "dataType": "uint16",
            "compression": {"type": "gzip"},
        },
        "0/0/0": struct.pack(">HHIII", 0, 3, *[2**31] * 3) + b"x" * 99,
    },
    "precomputed shards": {
        "info": {"@type": "neuroglancer_multiscale_volume", **LAYER},
        "a/0000000000.shard": struct.pack("<QQ", 0, 2**40) * 4 + b"x" * 99,
    },
    "nrrd": {"a.nrrd": NRRD + b"encoding: raw\nendian: little\n\n" + b"\0" * 99},
    "nrrd gzip": {
        "a.nrrd": NRRD + b"encoding: gzip\nendian: little\n\n" + gzip.compress(b"\0" * 999)
    },
    "npy": {
        "a.npy": b"\x93NUMPY\1\0" + struct.pack("<H", 118) + NPY.ljust(117) + b"\n" + b"\0" * 99
    },
}  # fmt: skip
"""Files that declare 10^12 voxels and more in one piece, and hold next to nothing."""


@pytest.mark.parametrize("form", ABSURD)
def test_what_is_declared_takes_no_memory(form, tmp_path):
    for name, content in ABSURD[form].items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        known = isinstance(content, bytes)
        place.write_bytes(content if known else json.dumps(content).encode())
    one = next(iter(ABSURD[form]))
    url = str(tmp_path / one) if one.startswith("a.") else str(tmp_path)
    more = {} if form == "precomputed shards" else {"voxel_size": (1, 1, 1)}
    axes = {} if form.startswith(("nrrd", "precomputed")) else {"axes": "zyx"}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def look():
        open_volume(url, **more, **axes)[0].read(Box((0, 0, 0), (1, 1, 1)))

    refused(look)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 2**17  # of 1 kB


@pytest.mark.parametrize("data", [DEEP, b"[1]", b"\xff\xfe", b'"' + b"x" * 9])
def test_marks_of_others_beside_an_output(data, tmp_path):
    """What unfinished outputs, ledgers and registrations leave may be anybody's as well."""
    out = tmp_path / "out.zarr"
    out.mkdir()
    (out / ".unfinished.json").write_bytes(data)
    plan = {"shape": (4, 4, 4), "dtype": "uint8", "affine": Affine.from_scale((1, 1, 1))}
    refused(lambda: create_volume(str(out), **plan))
    (tmp_path / "affine.json").write_bytes(data)
    refused(read_registration, tmp_path)
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    (ledger / "run.json").write_bytes(data)
    with pytest.raises(FormatError, match="to begin anew"):
        last_grid(str(ledger))


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


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")
@pytest.mark.parametrize("read", [stores.read_bytes, read_points, read_skeletons])
def test_a_device_is_not_read_to_its_end(read):
    assert "is a device" in refused(read, "/dev/zero")


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
