"""Chunks copied as they lie are the chunks of the source, for every layout that allows it."""

import json

import numcodecs
import numpy as np
import pytest
import zarr

from projectome.core.box import Box
from projectome.errors import BlockFailedError, FormatError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.encoded import stored_chunks
from projectome.workflows.convert import convert

SHAPE, CHUNKS = (1, 2, 70, 130, 64), (1, 1, 64, 64, 64)


@pytest.fixture
def five(tmp_path):
    """A level of five axes as public brains have it, compressed with lz4."""
    group = zarr.open_group(tmp_path / "v.zarr", mode="w", zarr_format=2)
    array = group.create_array(
        "0",
        shape=SHAPE,
        chunks=CHUNKS,
        dtype="<u2",
        fill_value=7,
        compressors=numcodecs.Blosc("lz4", 5, shuffle=2),
    )
    values = np.random.default_rng(0).integers(0, 99, array.shape).astype("u2")
    array[:] = values
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *axes]
    scale = {"type": "scale", "scale": [1, 1, 2, 1, 1]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [dataset]}]
    return tmp_path / "v.zarr", values[0]


def chunks_of(folder):
    """Return the files of level 0 by their name without leading axes of one place."""
    found = [path for path in (folder / "0").rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(folder / "0")): path.read_bytes() for path in found}


def test_all_channels(five, tmp_path):
    source, values = five
    found = convert(VolumeSource(str(source)), str(tmp_path / "copy.zarr"))
    np.testing.assert_array_equal(found[0].read(), values, strict=True)
    mine, theirs = chunks_of(tmp_path / "copy.zarr"), chunks_of(source)
    assert len(mine) == 2 * 2 * 3
    assert {name.replace(".", "/").removeprefix("0/"): c for name, c in theirs.items()} == mine
    assert (
        json.loads((tmp_path / "copy.zarr/0/.zarray").read_text())["compressor"]["cname"] == "lz4"
    )
    assert (zarr.open_array(tmp_path / "copy.zarr/0", mode="r")[:] == values).all()


def test_one_channel(five, tmp_path):
    source, values = five
    found = convert(VolumeSource(str(source), channel=1), str(tmp_path / "copy.zarr"))
    np.testing.assert_array_equal(found[0].read(), values[1], strict=True)
    mine, theirs = chunks_of(tmp_path / "copy.zarr"), chunks_of(source)
    assert mine["1/2/0"] == theirs["0.1.1.2.0"]


def test_a_missing_chunk_is_one_of_the_fill_value_or_an_error(five, tmp_path):
    source, values = five
    (source / "0/0.0.0.1.0").unlink()
    found = convert(VolumeSource(str(source)), str(tmp_path / "copy.zarr"))
    values[0, :64, 64:128] = 7
    np.testing.assert_array_equal(found[0].read(), values)
    assert len(chunks_of(tmp_path / "copy.zarr")) == 12
    with pytest.raises(BlockFailedError, match=r"0\.0\.0\.1\.0 of .* is missing. Restore it"):
        convert(VolumeSource(str(source), strict=True), str(tmp_path / "strict.zarr"))


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: b"", lambda c: c[:4] + b"?" + c[5:]])
def test_a_broken_chunk_is_no_chunk(five, spoil):
    source, _ = five
    broken = source / "0/0.1.0.0.0"
    broken.write_bytes(spoil(broken.read_bytes()))
    stored = stored_chunks(open_volume(str(source))[0].array)
    assert stored is not None
    with pytest.raises(FormatError, match=r"0\.1\.0\.0\.0 of .* is broken"):
        stored.read(Box((0, 0, 0), (64, 64, 64)))


@pytest.mark.parametrize(
    "changed",
    [
        {"order": "F"},
        {"dtype": ">u2"},
        {"filters": [{"id": "delta", "dtype": "<u2"}]},
        {"compressor": {"id": "zlib", "level": 1}},
        {"chunks": [1, 2, 64, 64, 64]},
    ],
    ids=str,
)
def test_what_is_stored_otherwise_is_decoded(five, changed):
    source, _ = five
    document = json.loads((source / "0/.zarray").read_text())
    (source / "0/.zarray").write_text(json.dumps(document | changed))
    try:
        array = open_volume(str(source))[0].array
    except FormatError:
        return
    assert stored_chunks(array) is None


def test_a_part_or_other_chunks_are_decoded(five, tmp_path):
    source, values = five
    part = convert(
        VolumeSource(str(source)), str(tmp_path / "a.zarr"), box=Box((3, 4, 5), (60, 70, 60))
    )
    np.testing.assert_array_equal(part[0].read(), values[:, 3:60, 4:70, 5:60])
    small = convert(VolumeSource(str(source)), str(tmp_path / "b.zarr"), chunks=(32, 32, 32))
    np.testing.assert_array_equal(small[0].read(), values)
    assert small[0].chunks == (32, 32, 32)
    sharded = convert(VolumeSource(str(source)), str(tmp_path / "c.zarr"), version="0.5")
    np.testing.assert_array_equal(sharded[0].read(), values)
