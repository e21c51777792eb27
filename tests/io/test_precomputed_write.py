"""Precomputed volumes that are written: other programs read them, and nothing is lost."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import tensorstore as ts

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.space import Space
from projectome.errors import FormatError, OutputExistsError, ParameterError
from projectome.io.open import open_volume
from projectome.io.volumes.precomputed_write import create_precomputed
from projectome.io.volumes.pyramid import downsample

GRID = Affine.from_scale((2.0, 0.5, 0.36))


def noise(shape, dtype="uint16"):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def begin(url, values, affine=GRID, **more):
    return create_precomputed(
        str(url), shape=values.shape[-3:], dtype=values.dtype, affine=affine, **more
    )


def fill(writer, values):
    for block in BlockGrid(Box.from_shape(values.shape[-3:]), writer.block_multiple):
        writer.write(block.core, values[(..., *block.core.slices)])


def by_tensorstore(folder, scale):
    """What another program reads: axes (c, z, y, x)."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "scale_index": scale,
        "fill_missing_data_reads": False,
    }
    store = ts.open(spec, open=True).result()
    return np.asarray(store.read().result()).transpose(3, 2, 1, 0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64"])
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_every_type_comes_back(tmp_path, dtype, kind):
    values = noise((20, 70, 90), dtype)
    writer = begin(tmp_path / "v", values, kind=kind, chunks=(16, 32, 32))
    fill(writer, values)
    pyramid = writer.finish()
    assert pyramid[0].kind == kind
    assert pyramid.problems == ()
    assert [v.shape for v in pyramid] == [(20, 70, 90), (20, 35, 45)]
    np.testing.assert_array_equal(pyramid[0].read(), values, strict=True)
    coarse = downsample(values, (1, 2, 2), kind=kind)
    np.testing.assert_array_equal(pyramid[1].read(), coarse, strict=True)
    for scale, wanted in enumerate((values, coarse)):
        found = by_tensorstore(tmp_path / "v", scale)
        np.testing.assert_array_equal(found[0], wanted)
    info = json.loads((tmp_path / "v/info").read_text())
    packed = kind == "labels" and dtype in ("uint32", "uint64")
    assert info["type"] == ("segmentation" if kind == "labels" else "image")
    assert info["scales"][0]["encoding"] == ("compressed_segmentation" if packed else "raw")


SHARDED = {
    # Chunks and the most voxels of a shard; the voxels of one and the bits of its key: x is doubled
    # first, then y, then z, and an axis that is at its end no more.
    "whole": ((16, 16, 16), (64, 64, 64), (64, 64, 64), (6, 0, 4)),
    "one more of x": ((16, 16, 16), (32, 32, 64), (32, 32, 64), (4, 0, 6)),
    "ends at x": ((16, 16, 16), (99, 99, 31), (16, 16, 16), (0, 0, 10)),
    "all in one": ((16, 32, 32), (128, 256, 128), (128, 256, 128), (8, 0, 0)),
    "minishards": ((4, 8, 8), (128, 256, 128), (128, 256, 128), (9, 5, 0)),
}


@pytest.mark.parametrize("case", SHARDED)
@pytest.mark.parametrize(
    ("dtype", "kind", "encoding"),
    [
        ("uint16", "image", "raw"),
        ("uint8", "image", "png"),
        ("uint64", "labels", "compressed_segmentation"),
    ],
)
def test_shards_hold_whole_blocks_of_chunks(tmp_path, case, dtype, kind, encoding):
    chunks, most, shard, bits = SHARDED[case]
    names = ("a", "b", "c") if encoding == "png" else ()
    values = noise((3,) * bool(names) + (70, 150, 90), dtype) % 50
    more = {"kind": kind, "channels": names, "chunks": chunks, "shards": most}
    writer = begin(tmp_path / "v", values, encoding=encoding, **more)
    assert writer.block_multiple == shard
    fill(writer, values)
    pyramid = writer.finish()
    np.testing.assert_array_equal(pyramid[0].read(), values, strict=True)
    coarse = downsample(values, (1, 2, 2), kind=kind)
    for scale, wanted in enumerate((values, coarse)):
        found = by_tensorstore(tmp_path / "v", scale)
        np.testing.assert_array_equal(found, wanted.reshape(found.shape))
        np.testing.assert_array_equal(pyramid[scale].read(), wanted)
    said = json.loads((tmp_path / "v/info").read_text())["scales"][0]
    assert said["encoding"] == encoding
    sharding = said["sharding"]
    assert tuple(sharding[f"{name}_bits"] for name in ("preshift", "minishard", "shard")) == bits
    names = [f"{n:0{-(-bits[2] // 4)}x}.shard" for n in range(2 ** bits[2])]
    assert {p.name for p in (tmp_path / "v" / said["key"]).iterdir()} <= set(names)


def test_a_shard_is_written_once(tmp_path, monkeypatch):
    """Chunk by chunk it would be written again with each, and take the square of the time."""
    values = noise((64, 64, 64))
    writer = begin(tmp_path / "v", values, chunks=(8, 8, 8), shards=64, levels=1)
    seen = []
    watched = tmp_path / "v" / writer.array(0).key
    finished = writer.begin(Box.from_shape(values.shape), values)
    while not seen or seen[-1] is not None:
        if (watched / "0.shard").exists():
            seen.append((watched / "0.shard").stat().st_ino)
            finished()
            assert (watched / "0.shard").stat().st_ino == seen[0]
            seen.append(None)
    np.testing.assert_array_equal(writer.finish()[0].read(), values)


def test_a_single_channel_keeps_its_name(tmp_path):
    values = noise((1, 8, 8, 8))
    writer = begin(tmp_path / "v", values, channels=("GFP",))
    fill(writer, values)
    found = writer.finish()[0]
    assert found.channels == ("GFP",)
    np.testing.assert_array_equal(found.read(), values, strict=True)


def test_channels_space_and_place_come_back(tmp_path):
    values = noise((3, 20, 70, 90))
    space = Space("brain", toward=("inferior", None, "left"), expansion=4.0)
    affine = Affine.from_scale((2.0, 0.5, 0.36), (-10.0, 3.3, 7.0), target=space)
    writer = begin(tmp_path / "v", values, affine, channels=("a", "b", "c"), chunks=(16, 16, 16))
    fill(writer, values)
    pyramid = writer.finish()
    assert pyramid[0].channels == ("a", "b", "c")
    assert pyramid[0].affine.isclose(affine)
    for level, planned in zip(pyramid, writer.levels, strict=True):
        assert level.affine.isclose(planned.affine)
    np.testing.assert_array_equal(pyramid[0].read(), values)
    np.testing.assert_array_equal(pyramid[1].read(), downsample(values, (1, 2, 2)))


@pytest.mark.parametrize("corner", [(0, 0, 0), (8, 4, 12), (3, 5, 7), (-3, 5, -7)])
def test_corner_of_the_first_voxel_is_the_offset(tmp_path, corner):
    """The half voxel: a centre at (n + 0.5) voxels is the voxel n of the format."""
    size = np.array([2.0, 0.5, 0.36])
    affine = Affine.from_scale(size, (np.array(corner) + 0.5) * size)
    values = noise((8, 80, 80))
    writer = begin(tmp_path / "v", values, affine)
    fill(writer, values)
    pyramid = writer.finish()
    info = json.loads((tmp_path / "v/info").read_text())
    assert info["scales"][0]["voxel_offset"] == list(corner[::-1])
    assert info["scales"][0]["resolution"] == [360.0, 500.0, 2000.0]
    for level, planned in zip(pyramid, writer.levels, strict=True):
        assert level.affine.isclose(planned.affine)
    # Only where a coarse level begins inside a coarse voxel there is more to say.
    assert ("translation" in info["projectome"]) == any(c % 2 for c in corner[1:])


def test_origin_at_the_centre_is_kept_beside_the_format(tmp_path):
    values = noise((4, 4, 4))
    writer = begin(tmp_path / "v", values)
    fill(writer, values)
    assert writer.finish()[0].affine.translation == (0, 0, 0)
    info = json.loads((tmp_path / "v/info").read_text())
    assert info["scales"][0]["voxel_offset"] == [0, 0, 0]
    assert info["projectome"]["translation"] == [0, 0, 0]


def test_nothing_is_a_volume_before_the_end(tmp_path):
    values = noise((20, 20, 20))
    writer = begin(tmp_path / "v", values, chunks=(16, 16, 16))
    with pytest.raises(FormatError, match="not finished"):
        open_volume(str(tmp_path / "v"))
    with pytest.raises(FormatError, match="not finished"):
        open_volume(f"precomputed://{tmp_path / 'v'}")
    fill(writer, values)
    again = begin(tmp_path / "v", values, chunks=(16, 16, 16))  # goes on
    again.finish()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        begin(tmp_path / "v", values)
    begin(tmp_path / "v", values, overwrite=True)
    assert [p.name for p in (tmp_path / "v").iterdir()] == [".unfinished.json"]


def test_zeros_are_written(tmp_path):
    """In what is finished a missing chunk is always a loss."""
    values = np.zeros((8, 8, 8), "uint8")
    writer = begin(tmp_path / "v", values)
    fill(writer, values)
    writer.finish()
    np.testing.assert_array_equal(open_volume(str(tmp_path / "v"), strict=True)[0].read(), values)


def test_several_processes_write(tmp_path):
    values = noise((2, 32, 32, 32), "uint16")
    writer = begin(tmp_path / "v", values, channels=("a", "b"), chunks=(16, 16, 16))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        blocks = [b.core for b in BlockGrid(Box.from_shape((32, 32, 32)), (16, 16, 16))]
        done = [pool.submit(writer.write, b, values[(..., *b.slices)]) for b in blocks]
        for future in done:
            future.result()
    np.testing.assert_array_equal(writer.finish()[0].read(), values)


def test_skeletons_are_not_overwritten(tmp_path):
    folder = tmp_path / "skeletons"
    folder.mkdir()
    (folder / "info").write_text('{"@type": "neuroglancer_skeletons"}')
    with pytest.raises(OutputExistsError, match="is no volume"):
        begin(folder, noise((4, 4, 4)), overwrite=True)
    assert (folder / "info").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float64"}, "cannot hold float64; it holds uint8"),
        ({"dtype": "bool"}, "astype"),
        ({"dtype": "int64"}, "write OME-Zarr"),
        ({"dtype": "float32", "kind": "labels"}, "labels are integers"),
        ({"kind": "mesh"}, "one of image, labels, affinities"),
        ({"shape": (0, 4, 4)}, "at least one voxel"),
        ({"chunks": (0, 4, 4)}, "at least one voxel"),
        ({"shards": 32}, r"do not hold a chunk of \(64, 64, 64\)"),
        ({"encoding": "jpeg"}, "one of raw, compressed_segmentation, png, not 'jpeg'"),
        ({"encoding": "compressed_segmentation"}, "uint32 and uint64, not uint16. Give another"),
        ({"encoding": "png", "dtype": "float32"}, "png holds uint8 and uint16, not float32"),
        ({"encoding": "png", "channels": tuple("abcde")}, "up to 4 channels, not 5"),
        ({"affine": Affine.from_scale((1, 1, 1), (1e30, 0, 0))}, "out of reach"),
        (
            {"affine": Affine(np.diag([1.0, -1.0, 1.0, 1.0]), GRID.source, GRID.target)},
            "Resample it",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, change, message):
    call = {"shape": (4, 4, 4), "dtype": "uint16", "affine": GRID, **change}
    with pytest.raises(ParameterError, match=message):
        create_precomputed(str(tmp_path / "v"), **call)
    assert not (tmp_path / "v").exists()
