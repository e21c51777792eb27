"""Converting moves no voxel and changes none; it can be killed, and gone on with."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
import zarr

from projectome.core.box import BlockGrid, Box
from projectome.core.space import OPPOSITE, Space, all_orientations
from projectome.core.volume import Volume
from projectome.engine.events import BlockDone, RunFinished, RunStarted, StageFinished
from projectome.engine.sinks import ArraySink
from projectome.errors import (
    BlockFailedError,
    DataError,
    OrientationUnknownError,
    OutputExistsError,
    ParameterError,
    ShapeError,
)
from projectome.imaging.resample import resample
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.pyramid import downsample
from projectome.io.volumes.write import VolumeWriter, write_volume
from projectome.testing.steps import ArrayFile, StepContract
from projectome.workflows.convert import convert
from projectome.workflows.copying import CopyBlocks

REAL = Path(os.environ.get("PROJECTOME_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
SPACE = Space(toward=("anterior", "inferior", "right"), expansion=2.0)


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 60000, shape).astype(dtype)


def files(folder):
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def source(tmp_path):
    """Two channels of 3 x 5 x 4 chunks, with two levels."""
    volume = Volume.from_array(
        noise((2, 45, 70, 50)),
        voxel_size=(2.0, 1.0, 1.0),
        translation=(10.0, 20.0, 30.0),
        space=SPACE,
        channels=("561", "488"),
    )
    write_volume(volume, str(tmp_path / "source.zarr"), chunks=(16, 16, 16), levels=2)
    return VolumeSource(str(tmp_path / "source.zarr"))


def places(volume):
    """Value of each voxel -> its position toward left, posterior and superior [um]."""
    position = volume.affine(np.argwhere(np.ones(volume.shape, dtype=bool)))
    found = np.empty_like(position)
    for axis, direction in enumerate(volume.space.toward):
        for column, line in enumerate(("left", "posterior", "superior")):
            if direction in (line, OPPOSITE[line]):
                found[:, column] = position[:, axis] * (1 if direction == line else -1)
    values = volume.read().reshape(-1).tolist()
    return dict(zip(values, map(tuple, found.tolist()), strict=True))


@pytest.mark.parametrize("more", [{"version": "0.4"}, {"version": "0.5"}], ids=str)
def test_all_channels_come_along(tmp_path, source, more):
    given = source.pyramid()[0]
    (found, *_) = convert(source, str(tmp_path / "out.ome.zarr"), **more)
    assert np.array_equal(found.read(), given.read())
    assert (found.channels, found.kind, found.dtype) == (given.channels, given.kind, given.dtype)
    assert found.affine.isclose(given.affine)
    assert found.space == SPACE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ome.zarr", "source.zarr"]


def test_one_channel_of_one_level_of_a_part(tmp_path, source):
    part = VolumeSource(source.url, level=1, channel="488")
    # Level 1 has voxels of 2 um: 2 um along z already, so only y and x were halved.
    box = Box((3, 10, 11), (20, 40, 50))
    found = convert(part, str(tmp_path / "out.zarr"), box=box)[0]
    level = source.pyramid()[1]
    assert level.shape == (45, 35, 25)
    # Centres of level 1 lie between voxels 2i and 2i + 1 of level 0.
    assert np.array_equal(found.read(), level.read(channel=1)[3:20, 5:20, 5:25])
    assert found.affine.translation == tuple(level.affine([[3, 5, 5]])[0])
    assert found.channels == ()


def test_a_part_in_micrometres(tmp_path, source):
    corners = ((12.0, 25.0, 30.0), (18.0, 27.5, 33.0))
    found = convert(source, str(tmp_path / "out.zarr"), box_um=corners)[0]
    given = source.pyramid()[0].read()
    assert np.array_equal(found.read(), given[:, 1:4, 5:8, 0:3])
    assert found.affine.translation == (12.0, 25.0, 30.0)
    with pytest.raises(ParameterError, match="not both"):
        convert(source, str(tmp_path / "x.zarr"), box_um=corners, box=Box((0,) * 3, (1,) * 3))
    with pytest.raises(ShapeError, match="no part of"):
        convert(source, str(tmp_path / "x.zarr"), box=Box((0, 0, 0), (46, 1, 1)))
    with pytest.raises(ShapeError, match="no part of"):
        convert(source, str(tmp_path / "x.zarr"), box_um=((900,) * 3, (901,) * 3))


@pytest.mark.parametrize("toward", all_orientations(), ids="-".join)
def test_turning_axes_moves_no_voxel_in_the_animal(tmp_path, toward):
    values = np.arange(3 * 5 * 4, dtype="uint8").reshape(3, 5, 4)
    given = Volume.from_array(
        values, voxel_size=(2.0, 1.0, 0.5), translation=(10.0, -20.0, 30.0), space=SPACE
    )
    write_volume(given, str(tmp_path / "in.zarr"))
    code = Space(toward=toward).code(meaning="toward")
    found = convert(VolumeSource(str(tmp_path / "in.zarr")), str(tmp_path / "v.zarr"), permute=code)
    assert found.space == Space(toward=toward, expansion=2.0)
    assert places(found[0]) == places(given)


def test_turned_blocks_are_blocks_of_the_turned(tmp_path, source):
    """Blocks that begin nowhere near chunks of the source, along every axis."""
    found = convert(
        source, str(tmp_path / "v.zarr"), permute="LSP", chunks=(16, 16, 16), version="0.5"
    )[0]
    given = source.pyramid()[0].read()
    # (anterior, inferior, right) to (left, superior, posterior).
    assert np.array_equal(found.read(), given.transpose(0, 3, 2, 1)[:, ::-1, ::-1, ::-1])


def test_turning_needs_an_orientation(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", noise((4, 4, 4)), photometric="minisblack")
    source = VolumeSource(str(tmp_path / "v.tif"), voxel_size=(1, 1, 1))
    with pytest.raises(OrientationUnknownError, match="--orientation CODE"):
        convert(source, str(tmp_path / "v.zarr"), permute="RAS")
    with pytest.raises(ParameterError, match="three of the letters"):
        convert(source, str(tmp_path / "v.zarr"), permute="RAX")
    assert not (tmp_path / "v.zarr").exists()


def test_labels_are_not_averaged(tmp_path):
    values = np.zeros((70, 4, 4), "uint16")
    values[::2] = 7
    values[1::2, :2] = 7
    tifffile.imwrite(tmp_path / "labels.tif", values, photometric="minisblack")
    source = VolumeSource(str(tmp_path / "labels.tif"), voxel_size=(1, 1, 1))
    found = convert(source, str(tmp_path / "v.zarr"), kind="labels")
    assert found[0].kind == "labels"
    assert set(np.unique(found[1].read())) <= {0, 7}
    assert np.array_equal(found[1].read(), downsample(values, (2, 2, 2), kind="labels"))


def test_tiff(tmp_path, source):
    told = []
    found = convert(source, str(tmp_path / "v.ome.tif"), on_event=told.append)[0]
    given = source.pyramid()[0]
    assert np.array_equal(tifffile.imread(tmp_path / "v.ome.tif"), given.read())
    assert found.affine.isclose(given.affine)
    assert (found.channels, found.space) == (given.channels, SPACE)
    assert isinstance(told[0], RunStarted)
    assert told[0].total == sum(isinstance(event, BlockDone) for event in told) == 90
    assert isinstance(told[-1], RunFinished)
    back = convert(VolumeSource(str(tmp_path / "v.ome.tif")), str(tmp_path / "back.zarr"))[0]
    assert np.array_equal(back.read(), given.read())
    assert back.affine.isclose(given.affine)


def test_the_ending_says_the_format(tmp_path, source):
    with pytest.raises(ParameterError, match=r"in \.zarr or \.ome\.zarr.* \.tif, \.tiff, \.nii,"):
        convert(source, str(tmp_path / "brain.jpg"))


@pytest.mark.parametrize("ending", ["tif", "nii", "nii.gz", "nrrd", "h5", "npy"])
def test_every_format_holds_the_same_voxels_in_the_same_place(tmp_path, source, ending):
    given = source.pyramid()[0]
    found = convert(source, str(tmp_path / f"brain.{ending}"), verify=True)[0]
    np.testing.assert_array_equal(found.read(), given.read(), strict=True)
    np.testing.assert_allclose(found.voxel_size, given.voxel_size, rtol=1e-6)
    if ending != "npy":  # which has no place for a place
        np.testing.assert_allclose(found.affine.translation, given.affine.translation, atol=1e-3)
        assert found.space.toward == SPACE.toward


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_a_single_channel_has_no_axis_in_files_of_three(tmp_path, ending):
    volume = Volume.from_array(noise((1, 9, 8, 7)), voxel_size=(2, 1, 1), channels=("561",))
    write_volume(volume, str(tmp_path / "one.zarr"))
    found = convert(
        VolumeSource(str(tmp_path / "one.zarr")), str(tmp_path / f"one.{ending}"), verify=True
    )
    np.testing.assert_array_equal(found[0].read(), volume.read()[0], strict=True)
    assert found[0].channels == ()


def test_precomputed(tmp_path, source):
    given = source.pyramid()[0]
    place = f"precomputed://{tmp_path / 'layer'}"
    found = convert(source, place, chunks=(16, 16, 16), verify=True)
    np.testing.assert_array_equal(found[0].read(), given.read(), strict=True)
    assert found[0].affine.isclose(given.affine)
    assert found[0].space.toward == SPACE.toward
    assert found[0].channels == given.channels
    before = files(tmp_path / "layer")
    told = []
    convert(source, place, chunks=(16, 16, 16), on_event=told.append)
    assert not told
    assert files(tmp_path / "layer") == before


def test_only_what_a_format_has_can_be_said_of_it(tmp_path, source):
    for name, said in (("v.nii.gz", {"shards": 64}), ("v.tif", {"chunks": 64, "levels": 2})):
        with pytest.raises(ParameterError, match=f"has no {' or '.join(said)} to choose"):
            convert(source, str(tmp_path / name), **said)
    with pytest.raises(ParameterError, match="ome-zarr has no encoding to choose"):
        convert(source, str(tmp_path / "v.zarr"), encoding="png")
    assert [p.name for p in tmp_path.iterdir()] == ["source.zarr"]


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_resampled_blocks_are_the_resampled_whole(tmp_path, source, executor):
    out = str(tmp_path / "v.zarr")
    found = convert(
        source, out, resample_um=(2.7, 1.3, 1.3), chunks=(8, 8, 8), executor=executor, workers=2
    )[0]
    expected = resample(source.pyramid()[0], (2.7, 1.3, 1.3))
    assert found.affine.isclose(expected.affine)
    np.testing.assert_array_equal(found.read(), expected.read(), strict=True)


def test_the_coarsest_level_that_is_fine_enough_is_resampled(tmp_path, source):
    found = convert(source, str(tmp_path / "v.zarr"), resample_um=4)[0]
    expected = resample(source.pyramid()[1], 4)
    np.testing.assert_array_equal(found.read(), expected.read(), strict=True)
    assert found.voxel_size == (4, 4, 4)


def test_an_output_that_differs_is_found(tmp_path, source, monkeypatch):
    convert(source, str(tmp_path / "good.zarr"), verify=True)
    assert files(tmp_path / "good.zarr").keys() == {
        *files(convert(source, str(tmp_path / "plain.zarr")).metadata["url"])
    }

    def spoiled(self, box, array):
        return begin(self, box, np.where(array == array.max(), 0, array).astype(array.dtype))

    begin = VolumeWriter.begin
    monkeypatch.setattr(VolumeWriter, "begin", spoiled)
    with pytest.raises(DataError, match=r"does not hold what was read: .* --overwrite"):
        convert(source, str(tmp_path / "bad.zarr"), verify=True, executor="serial")


def test_an_output_that_is_there_can_be_verified(tmp_path, source):
    out = f"{tmp_path}/out.zarr"
    convert(source, out)
    before = files(out)
    assert convert(source, out, verify=True)[0].shape == (45, 70, 50)
    assert files(out) == before
    zarr.open_array(f"{out}/0", mode="r+")[1, 40, 60, 45] = 1
    assert convert(source, out)[0].shape == (45, 70, 50)  # which looks at nothing
    with pytest.raises(DataError, match=r"does not hold what was read: .* --overwrite"):
        convert(source, out, verify=True)


def test_a_conversion_is_done_once(tmp_path, source):
    told = []
    out = str(tmp_path / "out.zarr")
    convert(source, out)
    before = files(out)
    assert np.array_equal(
        convert(source, out, on_event=told.append)[0].read(), source.pyramid()[0].read()
    )
    assert not told
    with pytest.raises(OutputExistsError, match="--overwrite"):
        convert(source, out, permute="LSP")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        convert(source, out, version="0.5")
    assert files(out) == before
    assert convert(source, out, version="0.5", overwrite=True).metadata["version"] == "0.5"


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_executors_make_the_same_bytes(tmp_path, source, executor):
    told = []
    convert(
        source,
        str(tmp_path / executor / "v.zarr"),
        permute="SLP",
        chunks=(16, 16, 16),
        executor=executor,
        workers=2,
        on_event=told.append,
    )
    convert(source, str(tmp_path / "other" / "v.zarr"), permute="SLP", chunks=(16, 16, 16))
    assert files(tmp_path / executor) == files(tmp_path / "other")
    (started,) = [event for event in told if isinstance(event, RunStarted)]
    assert sum(isinstance(event, BlockDone) for event in told) == started.total
    assert [e.name for e in told if isinstance(e, StageFinished)] == ["copy", "levels"]


KILLED = """
import json, sys, time
from projectome.io.source import VolumeSource
from projectome.workflows import copying as module
from projectome.workflows.convert import convert
def slowed(copied):
    def slow(self, block):
        print("block\\n", end="", flush=True)
        time.sleep(0.1)
        return copied(self, block)
    return slow
for kind in (module.CopyBlocks, module.CopyChunks):
    kind.__call__ = slowed(kind.__call__)
more = json.loads(sys.argv[3])
convert(VolumeSource(sys.argv[1]), sys.argv[2], executor="serial", **more)
"""


@pytest.mark.parametrize(
    ("prefix", "more"),
    [("", {"chunks": 16}), ("precomputed://", {"chunks": 8, "shards": 16})],
    ids=["zarr", "shards"],
)
def test_a_killed_conversion_is_no_volume_and_goes_on(tmp_path, source, prefix, more):
    out = tmp_path / "a" / "v.zarr"
    command = [sys.executable, "-c", KILLED, source.url, f"{prefix}{out}", json.dumps(more)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            assert process.stdout.readline() == "block\n"
        time.sleep(0.02)
        process.kill()
    with pytest.raises((FileNotFoundError, ValueError)):
        zarr.open_group(out, mode="r")
    told = []
    convert(source, f"{prefix}{out}", on_event=told.append, **more)
    (started,) = [event for event in told if isinstance(event, RunStarted)]
    assert 0 < started.skipped < started.total
    convert(source, f"{prefix}{tmp_path}/b/v.zarr", **more)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_output_that_was_removed_is_made_anew(tmp_path, source):
    out = tmp_path / "v.zarr"
    broken = VolumeSource(source.url, strict=True)
    lost = Path(source.url) / "0/1/2/4/3"
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(BlockFailedError):
        convert(broken, str(out), chunks=(16, 16, 16))
    lost.write_bytes(kept)
    shutil.rmtree(out)
    found = convert(broken, str(out), chunks=(16, 16, 16))
    assert np.array_equal(found[0].read(), source.pyramid()[0].read())


class TestCopyBlocks(StepContract):
    changes: ClassVar = {"box": None, "permute": "SAL", "resample": (3.0, 3.0, 3.0)}
    part = Box((3, 4, 5), (40, 61, 44))

    @pytest.fixture(autouse=True)
    def _source(self, source):
        self.source = source

    def grid(self):
        turned = Box.from_shape((self.part.shape[2], self.part.shape[0], self.part.shape[1]))
        return BlockGrid(turned, (16, 32, 32))

    def step(self, grid):
        # (anterior, inferior, right) to (left, posterior, inferior).
        return CopyBlocks(self.source, box=self.part, permute="LPI")

    def sink(self, folder, grid):
        return ArraySink(ArrayFile.create(folder, (2, *grid.domain.shape), "uint16"))

    def test_channels_tell_steps_apart(self):
        one = CopyBlocks(replace(self.source, channel=0))
        assert one.fingerprints() != CopyBlocks(self.source).fingerprints()


class TestResampledBlocks(TestCopyBlocks):
    def grid(self):
        return BlockGrid(Box.from_shape((19, 37, 28)), (8, 16, 16))

    def step(self, grid):
        step = CopyBlocks(self.source, self.part, "LPI", (2.1, 2.0, 2.0))
        assert step.volume().shape == (19, 37, 28)
        return step


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_whole_brain(tmp_path, version):
    path = REAL / "brainreg/brain_270x193x271.tif"
    if not path.exists():
        pytest.skip(f"no test data at {path}: set PROJECTOME_TEST_DATA")
    source = VolumeSource(
        str(path), voxel_size=(50.0, 40.0, 40.0), orientation="psl", meaning="from"
    )
    written = convert(source, str(tmp_path / "brain.ome.zarr"), version=version)
    values = tifffile.imread(path)
    group = zarr.open_group(tmp_path / "brain.ome.zarr", mode="r")
    assert np.array_equal(group["0"][:], values)
    for k in range(1, len(written)):
        values = downsample(values, 2)
        assert np.array_equal(group[str(k)][:], values)
    assert written[0].space.toward == ("anterior", "inferior", "right")
    assert written[0].voxel_size == (50.0, 40.0, 40.0)
    assert written[1].affine.translation == (25.0, 20.0, 20.0)
    assert [level.shape for level in written] == [
        (270, 193, 271),
        (135, 97, 136),
        (68, 49, 68),
        (34, 25, 34),
    ]
    attributes = json.loads(
        (tmp_path / "brain.ome.zarr" / (".zattrs" if version == "0.4" else "zarr.json")).read_text()
    )
    window = attributes.get("attributes", {}).get("ome", attributes)["omero"]["channels"][0][
        "window"
    ]
    assert 0 <= window["start"] < window["end"] < 14580
    turned = convert(
        VolumeSource(str(tmp_path / "brain.ome.zarr")), str(tmp_path / "t.zarr"), permute="PIL"
    )[0]
    assert np.array_equal(turned.read(), group["0"][:][::-1, :, ::-1])
    assert open_volume(str(tmp_path / "t.zarr")).space.toward == ("posterior", "inferior", "left")
