"""The address of one volume: which voxels it names, and how it tells changes."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from projectome.core.box import Box
from projectome.core.provenance import digest
from projectome.errors import ParameterError, UnknownNameError
from projectome.io.source import VolumeSource


@pytest.fixture
def channels(tmp_path, make):
    """Path and voxels of an image of two channels and two levels."""
    voxels = make.noise((2, 16, 24, 20))
    omero = {"channels": [{"label": "signal"}, {"label": "reference"}]}
    axes, scales = [make.axis(n) for n in "czyx"], [[1, 2, 1, 1], [1, 4, 2, 2]]
    attributes = make.metadata("0.5", axes, scales, [[0] * 4, [0, 1, 0.5, 0.5]], omero=omero)
    path = make.group(tmp_path / "x.zarr", "0.5", [voxels, make.mean2(voxels)], attributes)
    return path, voxels


def test_one_channel_of_one_level(channels, make):
    path, voxels = channels
    for channel, index in (("signal", 0), ("reference", 1), (1, 1), ("0", 0)):
        volume = VolumeSource(str(path), channel=channel).open()
        np.testing.assert_array_equal(volume.read(), voxels[index])
        assert volume.array.chunks == (8, 8, 8)
        box = Box((1, 2, 3), (9, 8, 7))
        np.testing.assert_array_equal(volume.read(box), voxels[(index, *box.slices)])
    coarse = VolumeSource(str(path), level=1, channel="signal").open()
    np.testing.assert_array_equal(coarse.read(), make.mean2(voxels)[0])
    assert coarse.voxel_size == (4, 2, 2)


def test_a_choice_that_is_missing_or_wrong(channels):
    path, _ = channels
    with pytest.raises(ParameterError, match=r"2 channels: 'signal', 'reference'.*--channel"):
        VolumeSource(str(path)).open()
    with pytest.raises(UnknownNameError, match="'signal'"):
        VolumeSource(str(path), channel="signl").open()
    with pytest.raises(ParameterError, match="levels 0 to 1"):
        VolumeSource(str(path), level=2, channel=0).open()


def test_a_single_channel_needs_no_choice(tmp_path, make):
    path, voxels = make.image(tmp_path / "x.zarr", shape=(1, 8, 8, 8))
    np.testing.assert_array_equal(VolumeSource(str(path)).open().read(), voxels[0])


def test_affinities_of_one_channel_are_an_image(tmp_path, make):
    path, _ = make.image(tmp_path / "x.zarr", shape=(3, 8, 8, 8), dtype="float32")
    (path / ".zattrs").write_text(
        (path / ".zattrs").read_text()[:-1] + ', "projectome": {"kind": "affinities"}}'
    )
    source = VolumeSource(str(path), channel=1)
    assert source.pyramid()[0].kind == "affinities"
    assert source.open().kind == "image"


def test_it_is_plain_data(channels):
    """Hashable, picklable, and part of the record of a step."""
    source = VolumeSource(str(channels[0]), channel="signal", voxel_size=(2.0, 1.0, 1.0))
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    assert copy == source
    assert hash(copy) == hash(source)
    assert digest(copy) == digest(source)
    assert digest(source) != digest(dataclasses.replace(source, channel="reference"))


def test_it_opens_in_another_process(channels):
    path, voxels = channels
    code = (
        "import pickle, sys\n"
        "source = pickle.loads(sys.stdin.buffer.read())\n"
        "sys.stdout.write(f'{int(source.open().read().sum())} {source.fingerprint()}')"
    )
    source = VolumeSource(str(path), channel=1)
    run = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(source), capture_output=True, check=True
    )
    assert run.stdout.decode() == f"{int(voxels[1].sum())} {source.fingerprint()}"


@pytest.mark.parametrize(
    "change",
    [
        {"level": 1},
        {"channel": 1},
        {"voxel_size": (1.0, 1.0, 1.0)},
        {"orientation": "asr", "meaning": "from"},
        {"expansion": 2.0},
    ],
)
def test_another_choice_is_another_fingerprint(change, channels):
    source = VolumeSource(str(channels[0]), channel=0)
    other = dataclasses.replace(source, **change)
    assert source.fingerprint() != other.fingerprint()


def test_how_to_ask_is_no_part_of_the_fingerprint(channels):
    source = VolumeSource(str(channels[0]), channel=0)
    other = dataclasses.replace(source, strict=True, anonymous=True, endpoint="http://lab")
    assert source.fingerprint() == other.fingerprint()


def changed(path, change):
    source = VolumeSource(str(path), channel=0)
    before = source.fingerprint()
    change()
    return source.fingerprint() != before


@pytest.mark.parametrize("shards", [None, (16, 16, 16)])
def test_changes_that_are_seen(shards, tmp_path, make):
    path, _ = make.image(tmp_path / "x.zarr", "0.5", shape=(1, 32, 32, 32), shards=shards)
    chunk = path / "0" / "c" / "0" / "1" / "1" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 3] ^= 1
    text = (path / "zarr.json").read_text()
    assert not changed(path, lambda: None)
    assert changed(path, lambda: (path / "zarr.json").write_text(text.replace("2.0", "2.5")))
    assert changed(path, lambda: chunk.write_bytes(bytes(data)))
    assert changed(path, lambda: chunk.write_bytes(bytes(data) + b"x"))
    assert changed(path, chunk.unlink)


def test_a_written_shard_is_seen_by_its_index(tmp_path, make):
    """Any chunk of a large shard that changes its size moves the index at the shard's end."""
    import zarr

    path, _ = make.image(tmp_path / "x", "0.5", shape=(1, 64, 64, 64), shards=(64, 64, 64))
    array = zarr.open_array(str(path / "0"))

    def write():
        array[0, 40:48, 40:48, 40:48] = 7

    assert changed(path, write)


def test_a_tiff_is_told_by_pieces(tmp_path, make):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make.noise((3, 100, 100)), photometric="minisblack")
    source = VolumeSource(str(path), voxel_size=(1, 1, 1))
    before = source.fingerprint()
    data = bytearray(path.read_bytes())
    data[20_000] ^= 1
    path.write_bytes(data)
    assert source.fingerprint() != before


def test_a_folder_of_planes_is_told_by_names(tmp_path, make):
    for i, plane in enumerate(make.noise((4, 10, 10))):
        (tmp_path / "s").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "s" / f"{i}.tif", plane)
    source = VolumeSource(str(tmp_path / "s"), voxel_size=(1, 1, 1))
    before = source.fingerprint()
    (tmp_path / "s" / "3.tif").rename(tmp_path / "s" / "4.tif")
    assert source.fingerprint() != before


def test_arrays_in_memory_have_no_fingerprint():
    from projectome.core.volume import ArrayInMemory
    from projectome.io.source import _evidence

    with pytest.raises(ParameterError, match="Write the volume"):
        list(_evidence(ArrayInMemory(np.zeros((2, 2, 2)))))
