"""Written volumes, read back with zarr-python; and outputs that are not finished, or not ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import obstore
import obstore.store
import pytest
import zarr

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.space import Space
from projectome.core.volume import Pyramid, Volume
from projectome.errors import (
    AccessDeniedError,
    OutputExistsError,
    ParameterError,
    ProjectomeError,
    ShapeError,
    StorageFullError,
)
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.io.volumes import output
from projectome.io.volumes.write import copy_block, create_volume, write_volume

LAYOUTS = {
    "0.4": {"version": "0.4"},
    "0.5": {"version": "0.5", "chunks": (32, 32, 32), "shards": (32, 32, 32)},
    "0.5 sharded": {"version": "0.5", "chunks": (32, 32, 32), "shards": (64, 64, 64)},
    "0.5 default": {"version": "0.5"},
}
SHAPES = [(1, 2, 63), (65, 1, 129), (129, 65, 2), (63, 129, 65)]
DTYPES = ["uint8", "uint16", "uint32", "uint64", "int16", "float32", "bool"]
GRID = Affine.from_scale((2.0, 1.0, 1.0), (10.0, 20.0, 30.0))


def noise(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def files(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of all files."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "dtype"), list(product(SHAPES, DTYPES))[::2])
def test_zarr_python_reads_every_voxel(tmp_path, layout, shape, dtype):
    values, url = noise(shape, dtype), str(tmp_path / "v.zarr")
    volume = Volume.from_array(values, voxel_size=(1, 1, 1))
    write_volume(volume, url, **LAYOUTS[layout])
    array = zarr.open_group(url, mode="r")["0"]
    assert array.dtype == values.dtype
    assert np.array_equal(array[:], values)
    assert array.metadata.zarr_format == (2 if layout == "0.4" else 3)
    if array.metadata.zarr_format == 3:
        assert array.metadata.dimension_names == ("z", "y", "x")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_volume_comes_back_as_it_was(tmp_path, layout):
    space = Space(toward=("posterior", "inferior", "left"), name="gel", expansion=4.0)
    volume = Volume.from_array(
        noise((2, 70, 40, 90), "uint16"),
        voxel_size=(2.0, 0.9, 0.9),
        translation=(100.0, -7.5, 0.125),
        space=space,
        channels=("561", "488"),
    )
    written = write_volume(volume, str(tmp_path / "v.zarr"), **LAYOUTS[layout])
    for found in (written[0], open_volume(str(tmp_path / "v.zarr"))[0]):
        assert np.array_equal(found.read(), volume.read())
        assert (found.dtype, found.channels, found.kind) == (np.uint16, ("561", "488"), "image")
        assert found.affine.isclose(volume.affine)
        assert found.space == space
    assert written.problems == ()
    assert max(written[len(written) - 1].shape) <= 64


@pytest.mark.parametrize("kind", ["labels", "affinities"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_kinds_come_back(tmp_path, kind, version):
    channels = ("z", "y", "x") if kind == "affinities" else ()
    dtype = "float32" if kind == "affinities" else "uint32"
    values = noise((3, 9, 8, 7) if channels else (9, 8, 7), dtype)
    volume = Volume.from_array(values, voxel_size=(1, 1, 1), kind=kind, channels=channels)
    found = write_volume(volume, str(tmp_path / "v.zarr"), version=version)[0]
    assert (found.kind, found.channels) == (kind, channels)
    assert np.array_equal(found.read(), values)


def test_a_pyramid_is_written_from_its_finest_level(tmp_path):
    coarse = Volume.from_array(np.ones((2, 2, 2), "u1"), voxel_size=(8, 8, 8))
    fine = Volume.from_array(noise((16, 16, 16), "u1"), voxel_size=(1, 1, 1))
    written = write_volume(Pyramid((fine, coarse)), str(tmp_path / "v.zarr"), levels=2)
    assert [level.shape for level in written] == [(16, 16, 16), (8, 8, 8)]
    assert np.array_equal(written[0].read(), fine.read())


def test_metadata_of_version_4(tmp_path):
    space = Space(toward=("anterior", None, "right"), expansion=4.0)
    writer = create_volume(
        str(tmp_path / "brain.ome.zarr"),
        shape=(4, 80, 80),
        dtype="uint16",
        affine=GRID.with_target(space),
        channels=("a", "b"),
        provenance="abc",
    )
    values = np.zeros((2, 4, 80, 80), "uint16")
    values[1] = np.arange(80)
    writer.write(Box.from_shape((4, 80, 80)), values)
    writer.finish()
    found = json.loads((tmp_path / "brain.ome.zarr/.zattrs").read_text())
    (image,) = found["multiscales"]
    assert (image["version"], image["name"], image["type"]) == ("0.4", "brain", "mean")
    unit = {"type": "space", "unit": "micrometer"}
    anterior = {"type": "anatomical", "value": "posterior-to-anterior"}
    right = {"type": "anatomical", "value": "left-to-right"}
    assert image["axes"] == [
        {"name": "c", "type": "channel"},
        {"name": "z", **unit, "orientation": anterior},
        {"name": "y", **unit},
        {"name": "x", **unit, "orientation": right},
    ]
    transforms = [dataset["coordinateTransformations"] for dataset in image["datasets"]]
    assert [(s["type"], t["type"]) for s, t in transforms] == [("scale", "translation")] * 2
    assert [s["scale"] for s, _ in transforms] == [[1, 2, 1, 1], [1, 2, 2, 2]]
    assert [t["translation"] for _, t in transforms] == [[0, 10, 20, 30], [0, 10, 20.5, 30.5]]
    first, second = found["omero"]["channels"]
    assert (first["label"], second["label"]) == ("a", "b")
    assert first["window"] == {"min": 0, "max": 65535, "start": 0, "end": 1}
    # From the last level: means of 0 and 1, 2 and 3, ... rounded half to even.
    assert second["window"] == {"min": 0, "max": 65535, "start": 0, "end": 78}
    ours = {"kind": "image", "space": "scan", "expansion": 4.0, "provenance": "abc"}
    assert found["projectome"] == ours
    array = json.loads((tmp_path / "brain.ome.zarr/1/.zarray").read_text())
    assert (array["shape"], array["chunks"]) == ([2, 4, 40, 40], [1, 4, 40, 40])
    assert array["dimension_separator"] == "/"
    assert array["compressor"]["cname"] == "zstd"


def test_metadata_of_version_5(tmp_path):
    url = tmp_path / "labels.zarr"
    writer = create_volume(
        str(url), shape=(300, 40, 400), dtype="uint64", affine=GRID, kind="labels", version="0.5"
    )
    assert writer.block_multiple == (256, 40, 256)
    writer.finish()
    group = json.loads((url / "zarr.json").read_text())
    ome = group["attributes"]["ome"]
    assert (ome["version"], ome["image-label"]) == ("0.5", {})
    assert "omero" not in ome
    assert ome["multiscales"][0]["type"] == "mode"
    assert group["attributes"]["projectome"]["kind"] == "labels"
    array = json.loads((url / "0/zarr.json").read_text())
    assert array["chunk_grid"]["configuration"]["chunk_shape"] == [256, 40, 256]
    (shards,) = array["codecs"]
    assert shards["configuration"]["chunk_shape"] == [64, 40, 64]
    last = json.loads((url / f"{len(writer.levels) - 1}/zarr.json").read_text())
    # One chunk needs no shard.
    assert [codec["name"] for codec in last["codecs"]] == ["bytes", "blosc"]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool"])
@pytest.mark.parametrize("value", [0, 1])
def test_display_range_is_never_empty(tmp_path, dtype, value):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
    volume = Volume.from_array(np.full((3, 3, 3), value * top, dtype), voxel_size=(1, 1, 1))
    write_volume(volume, str(tmp_path / "v.zarr"))
    found = json.loads((tmp_path / "v.zarr/.zattrs").read_text())
    window = found["omero"]["channels"][0]["window"]
    assert window["start"] < window["end"]
    if dtype != "float32":
        assert window["min"] <= window["start"] < window["end"] <= window["max"]


def test_not_a_number_is_kept_and_not_shown(tmp_path):
    values = np.full((3, 3, 3), np.nan, "float32")
    write_volume(Volume.from_array(values, voxel_size=(1, 1, 1)), str(tmp_path / "v.zarr"))
    assert np.isnan(zarr.open_group(tmp_path / "v.zarr", mode="r")["0"][:]).all()


def begun(url, values, **more):
    more = {"chunks": (16, 16, 16), "levels": 3} | more
    return create_volume(str(url), shape=values.shape[-3:], dtype=values.dtype, affine=GRID, **more)


def pieces(writer, multiple=1):
    step = tuple(multiple * m for m in writer.block_multiple)
    return [block.core for block in BlockGrid(Box.from_shape(writer.shape), step)]


def write_pieces(writer, boxes, values):
    for box in boxes:
        writer.write(box, values[box.slices])


@pytest.mark.parametrize("layout", ["0.4", "0.5 sharded"])
def test_bytes_do_not_depend_on_order_blocks_or_process(tmp_path, layout):
    values = noise((70, 33, 40), "uint16")
    values[:32, :32, :32] = 0
    more = {"version": LAYOUTS[layout]["version"]}
    if layout == "0.5 sharded":
        more["shards"] = (32, 32, 32)
    one, two, three = (begun(tmp_path / name, values, **more) for name in ("a/v", "b/v", "c/v"))
    write_pieces(one, pieces(one), values)
    write_pieces(two, pieces(two, 2)[::-1], values)
    write_pieces(two, pieces(two)[:3], values)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        boxes = pieces(three)
        list(pool.map(three.write, boxes, [values[box.slices] for box in boxes]))
    for each in (one, two, three):
        each.finish()
    assert files(tmp_path / "a/v") == files(tmp_path / "b/v") == files(tmp_path / "c/v")
    # Empty chunks are written too: what is missing is lost.
    chunks = [name for name in files(tmp_path / "a/v") if name.startswith("0/")]
    documents = 1
    assert len(chunks) == len(pieces(one)) + documents


def test_an_array_may_change_once_it_is_written(tmp_path):
    values = noise((33, 20, 20), "uint16")
    writer = begun(tmp_path / "v", values)
    buffer = values.copy()
    writer.write(Box.from_shape(values.shape), buffer)
    buffer[:] = 0
    assert np.array_equal(writer.finish()[0].read(), values)


def test_other_byte_orders_and_strides_are_written_as_they_mean(tmp_path):
    values = noise((20, 17, 19), "uint16")
    writer = begun(tmp_path / "v", values)
    swapped = np.asfortranarray(values.astype(">u2"))
    writer.write(Box.from_shape(values.shape), swapped)
    assert np.array_equal(writer.finish()[0].read(), values)


def test_blocks_are_whole_chunks(tmp_path):
    values = noise((40, 40, 40), "uint16")
    writer = begun(tmp_path / "v", values)
    for start, stop in [
        ((0, 0, 8), (16, 16, 16)),
        ((0, 0, 0), (16, 16, 20)),
        ((0,) * 3, (48,) * 3),
    ]:
        box = Box(start, stop)
        with pytest.raises(ParameterError, match=r"multiples of \(16, 16, 16\).*block_multiple"):
            writer.write(box, np.zeros(box.shape, "uint16"))
    box = Box((32, 16, 0), (40, 40, 16))
    with pytest.raises(ParameterError, match=r"uint16 and is given int16.*astype\('uint16'\)"):
        writer.write(box, np.zeros(box.shape, "int16"))
    with pytest.raises(
        ShapeError, match=r"takes an array of shape \(8, 24, 16\), not \(8, 24, 8\)"
    ):
        writer.write(box, np.zeros((8, 24, 8), "uint16"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": "0.6"}, "0.4 or 0.5, not '0.6'"),
        ({"kind": "mask"}, "image, labels, affinities, not 'mask'"),
        ({"kind": "labels", "dtype": "float32"}, "kind labels cannot hold float32"),
        ({"dtype": "complex64"}, "integer type or floating point"),
        ({"dtype": "U4"}, "integer type"),
        ({"shape": (0, 4, 4)}, "at least one voxel"),
        ({"shards": (64, 64, 96), "version": "0.5"}, "not whole chunks of"),
        ({"shards": (128, 128, 128)}, "has no shards. Give version 0.5"),
        ({"chunks": (0, 64, 64)}, "at least one voxel"),
        ({"levels": 0}, "at least one level"),
        ({"compression": 10}, "0 to 9, not 10"),
        ({"affine": Affine(np.diag([1, -1, 1, 1]), GRID.source, GRID.target)}, "plain grid"),
        ({"affine": Affine(np.eye(4), GRID.source, GRID.source)}, "micrometres"),
    ],
)
def test_wrong_calls_say_the_way_out(tmp_path, wrong, message):
    call = {"shape": (4, 4, 4), "dtype": "uint8", "affine": GRID} | wrong
    with pytest.raises(ParameterError, match=message):
        create_volume(str(tmp_path / "v.zarr"), **call)
    assert not (tmp_path / "v.zarr").exists()


def assert_no_volume(url):
    """Neither zarr-python nor we take an unfinished output for a volume, or a part of it."""
    for path in (url, url / "0", url / "1"):
        with pytest.raises((FileNotFoundError, ValueError, zarr.errors.NodeNotFoundError)):
            zarr.open(path, mode="r")
    with pytest.raises(ProjectomeError):
        open_volume(str(url))
    with pytest.raises(ProjectomeError):
        open_volume(str(url / "0"), voxel_size=(1, 1, 1))


KILLED = """
import sys, time
import numpy as np
import obstore
import obstore.store
from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.io.volumes.write import create_volume
values = np.load(sys.argv[2])
grid = Affine.from_scale((2.0, 1.0, 1.0), (10.0, 20.0, 30.0))
writer = create_volume(
    sys.argv[1], shape=values.shape, dtype=values.dtype, affine=grid, chunks=(16, 16, 16), levels=3
)
for block in BlockGrid(Box.from_shape(values.shape), (16, 16, 16)):
    writer.write(block.core, values[block.core.slices])
    print("wrote", flush=True)
    time.sleep(0.02)
"""


def test_a_killed_writer_leaves_no_volume_and_can_go_on(tmp_path):
    values, url = noise((48, 48, 48), "uint16"), tmp_path / "v.zarr"
    np.save(tmp_path / "values.npy", values)
    command = [sys.executable, "-c", KILLED, str(url), str(tmp_path / "values.npy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert process.stdout.readline() == "wrote\n"
        process.send_signal(signal.SIGKILL)
    assert_no_volume(url)
    assert 5 <= sum(name.startswith("0/") for name in files(url)) < 27
    for folder in (url, tmp_path / "whole.zarr"):
        writer = begun(folder, values)
        write_pieces(writer, pieces(writer), values)
        assert_no_volume(folder)
        assert np.array_equal(writer.finish()[0].read(), values)
    left, whole = files(url), files(tmp_path / "whole.zarr")
    # The name of the image is that of the folder.
    assert left.pop(".zattrs").replace(b'"v"', b'"whole"') == whole.pop(".zattrs")
    assert left == whole


def test_finishing_can_be_cut_off_anywhere(tmp_path, monkeypatch):
    values = noise((40, 40, 40), "uint16")
    whole = begun(tmp_path / "a/v", values)
    write_pieces(whole, pieces(whole), values)
    whole.finish()
    writer = begun(tmp_path / "b/v", values)
    write_pieces(writer, pieces(writer), values)
    write_bytes, remove = stores.write_bytes, stores.remove
    steps = 3 + 2 + 2  # arrays, documents of the group, ledger and mark
    for cut in range(steps):
        left = [cut]

        def cut_off(*args, left=left, write=write_bytes, **more):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return write(*args, **more)

        monkeypatch.setattr(stores, "write_bytes", cut_off)
        monkeypatch.setattr(
            stores, "remove", lambda *a, cut_off=cut_off, **m: cut_off(*a, write=remove, **m)
        )
        with pytest.raises(KeyboardInterrupt):
            writer.finish()
        monkeypatch.undo()
        with pytest.raises(ProjectomeError):
            open_volume(writer.url)
        writer = begun(tmp_path / "b/v", values)
    writer.finish()
    assert files(tmp_path / "a/v") == files(tmp_path / "b/v")


def test_a_finished_volume_is_kept(tmp_path):
    values = noise((8, 8, 8), "uint8")
    volume, url = Volume.from_array(values, voxel_size=(1, 1, 1)), str(tmp_path / "v.zarr")
    write_volume(volume, url)
    with pytest.raises(OutputExistsError, match=r"v\.zarr exists.*--overwrite"):
        write_volume(volume, url)
    other = Volume.from_array(values[:4], voxel_size=(1, 1, 1))
    found = write_volume(other, url, overwrite=True, version="0.5")
    assert found[0].shape == (4, 8, 8)
    assert not (tmp_path / "v.zarr/.zattrs").exists()
    assert found.metadata["version"] == "0.5"


def test_an_unfinished_volume_of_another_kind_is_kept(tmp_path):
    values = noise((40, 40, 40), "uint16")
    writer = begun(tmp_path / "v", values)
    writer.write(Box((0, 0, 0), (16, 16, 16)), values[:16, :16, :16])
    text = r'dtype was "uint16" and is "uint8".*--overwrite'
    with pytest.raises(OutputExistsError, match=text):
        begun(tmp_path / "v", values.astype("uint8"))
    with pytest.raises(OutputExistsError, match="provenance was"):
        begun(tmp_path / "v", values, provenance="other")
    begun(tmp_path / "v", values)
    assert (tmp_path / "v/0/0/0/0").exists()
    begun(tmp_path / "v", values, overwrite=True)
    assert not (tmp_path / "v/0").exists()


def test_a_removal_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    values = noise((40, 40, 40), "uint16")
    write_volume(Volume.from_array(values, voxel_size=(1, 1, 1)), str(tmp_path / "v"))

    def cut_off(url, **more):
        raise KeyboardInterrupt

    remove = stores.remove
    for turn, count in enumerate((0, 1, 1)):
        calls = iter([remove] * count + [cut_off])
        monkeypatch.setattr(stores, "remove", lambda *a, calls=calls, **m: next(calls)(*a, **m))
        with pytest.raises(KeyboardInterrupt):
            begun(tmp_path / "v", values, overwrite=turn == 0)
        monkeypatch.undo()
        assert (tmp_path / "v" / output.MARK).exists()
        assert (tmp_path / "v/0").exists()
    with pytest.raises(ProjectomeError):
        open_volume(str(tmp_path / "v"))
    begun(tmp_path / "v", values)
    assert list(files(tmp_path / "v")) == [output.MARK]


def test_what_is_no_volume_is_never_removed(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.tex").write_text("It was a dark and stormy night.")
    values = noise((4, 4, 4), "uint8")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        begun(tmp_path / "thesis", values)
    with pytest.raises(OutputExistsError, match=r"no volume \(it holds chapter1\.tex\)"):
        begun(tmp_path / "thesis", values, overwrite=True)
    with pytest.raises(OutputExistsError, match="is a file, not a folder"):
        begun(tmp_path / "thesis/chapter1.tex", values, overwrite=True)
    assert list(files(tmp_path)) == ["thesis/chapter1.tex"]


def test_an_empty_folder_is_welcome(tmp_path):
    assert begun(tmp_path, noise((4, 4, 4), "uint8")).finish()[0].shape == (4, 4, 4)


def test_plain_http_is_read_only():
    with pytest.raises(AccessDeniedError, match="read only"):
        begun("http://127.0.0.1:9/v.zarr", noise((4, 4, 4), "uint8"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_rights(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AccessDeniedError, match="Cannot write"):
        begun(tmp_path / "v", noise((4, 4, 4), "uint8"))


@pytest.fixture
def mounted(tmp_path):
    """Mount a file system of 1 MiB with more options and return where."""
    place = tmp_path / "small"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount command")

    def mounted(options=""):
        command = [mount, "-t", "tmpfs", "-o", f"size=1m{options}", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted without the rights of an administrator")
        return place

    yield mounted
    subprocess.run([umount, str(place)], capture_output=True, check=False)


@pytest.fixture
def small_disk(mounted):
    return mounted()


def test_a_read_only_disk(mounted):
    with pytest.raises(AccessDeniedError, match="Cannot write"):
        begun(mounted(",ro") / "v", noise((4, 4, 4), "uint8"))


def test_a_full_disk(small_disk):
    values = noise((128, 128, 128), "uint16")
    volume = Volume.from_array(values, voxel_size=(1, 1, 1))
    with pytest.raises(StorageFullError, match=r"Cannot write .*v\.zarr.*Free some space"):
        write_volume(volume, str(small_disk / "v.zarr"))
    assert_no_volume(small_disk / "v.zarr")


def test_a_disk_that_fills_while_levels_are_built(small_disk):
    values = noise((64, 64, 64), "uint16")
    writer = begun(small_disk / "v.zarr", values, chunks=(32, 32, 32))
    write_pieces(writer, pieces(writer), values)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 2**15))
    with pytest.raises(StorageFullError, match="Free some space"):
        writer.finish()
    assert_no_volume(small_disk / "v.zarr")
    (small_disk / "ballast").unlink()
    assert np.array_equal(writer.finish()[0].read(), values)


class Planes:
    """An array of planes, as in a folder of TIFF files, that counts what is read of it."""

    def __init__(self, shape):
        self.shape, self.chunks, self.dtype = shape, (1, *shape[1:]), np.dtype("uint16")
        self.read_sizes = []

    def read(self, index):
        shape = tuple(s.stop - s.start for s in index)
        self.read_sizes.append(int(np.prod(shape)) * 2)
        return np.broadcast_to(
            np.arange(index[0].start, index[0].stop, dtype="u2")[:, None, None], shape
        )


def test_copies_are_read_in_pieces_of_bounded_size(tmp_path):
    planes = Planes((70, 900, 900))
    volume = Volume(planes, GRID)
    told = []
    written = write_volume(
        volume, str(tmp_path / "v.zarr"), on_progress=lambda done, total: told.append((done, total))
    )
    assert max(planes.read_sizes) <= 64 * 2**20
    assert sum(planes.read_sizes) == volume.nbytes
    total = sum(level.box.size for level in written)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert np.array_equal(written[0].read(Box((0, 5, 5), (70, 6, 6))).ravel(), np.arange(70))


def test_a_block_never_gets_smaller_than_what_is_written_together():
    volume = Volume(Planes((500, 4000, 4000)), GRID)
    assert copy_block(volume, (256, 256, 256), limit=2**20) == (256, 256, 256)
    assert copy_block(volume, (64, 64, 64), limit=2**26) == (64, 128, 4032)
    small = Volume(Planes((3, 100, 100)), GRID)
    assert copy_block(small, (3, 64, 64)) == (3, 128, 128)


@pytest.mark.server
@pytest.mark.parametrize("layout", ["0.4", "0.5 sharded"])
def test_an_object_store(seaweed, layout):
    values = noise((70, 40, 90), "uint16")
    url = f"s3://bucket/{layout.replace(' ', '-')}/v.zarr"
    more = {"endpoint": seaweed, "anonymous": True, "chunks": (32, 32, 32)}
    more["version"] = LAYOUTS[layout]["version"]
    writer = begun(url, values, **more)
    boxes = pieces(writer)
    write_pieces(writer, boxes[:3], values)
    with pytest.raises(ProjectomeError, match="is not finished"):
        open_volume(url, endpoint=seaweed, anonymous=True)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        begun(url, values, **more, kind="labels")
    writer = begun(url, values, **more)
    write_pieces(writer, boxes, values)
    assert np.array_equal(writer.finish()[0].read(), values)
    place = {"endpoint": seaweed, "region": "us-east-1", "skip_signature": True}
    store = obstore.store.S3Store(
        "bucket",
        prefix=url.removeprefix("s3://bucket/"),
        client_options={"allow_http": True},
        **place,
    )
    group = zarr.open_group(zarr.storage.ObjectStore(store, read_only=True), mode="r")
    assert np.array_equal(group["0"][:], values)
    assert sorted(name for name, _ in group.arrays()) == ["0", "1", "2"]
    with pytest.raises(OutputExistsError, match="exists"):
        begun(url, values, **more)
    assert begun(url, values[:8], **more, overwrite=True).finish()[0].shape == (8, 40, 90)
