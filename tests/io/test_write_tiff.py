"""Written OME-TIFF, read back with tifffile."""

import numpy as np
import pytest
import tifffile

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import OutputExistsError, ParameterError, StorageFullError
from projectome.io.open import open_volume
from projectome.io.volumes.tiff_write import write_tiff

SPACE = Space(toward=("posterior", None, "left"), name="gel", expansion=4.0)
DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]


def volume(dtype="uint16", channels=(), kind="image"):
    shape = (len(channels),) * bool(channels) + (5, 7, 9)
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    return Volume.from_array(
        values,
        voxel_size=(2.0, 0.9, 0.8),
        translation=(100.0, -7.5, 0.125),
        space=SPACE,
        channels=channels,
        kind=kind,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), ("561", "488")])
def test_tifffile_reads_every_voxel(tmp_path, dtype, channels):
    given, path = volume(dtype, channels), tmp_path / "v.ome.tif"
    write_tiff(given, str(path))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert tiff.series[0].axes == ("CZYX" if channels else "ZYX")
        assert tiff.asarray().dtype == given.dtype
        assert np.array_equal(tiff.asarray(), given.read())
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"] == [2.0, 0.9, 0.8]
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "ZYX"} == {"µm"}
    if channels:
        assert [str(channel["Name"]) for channel in pixels["Channel"]] == list(channels)


@pytest.mark.parametrize("kind", ["image", "labels", "affinities"])
def test_a_volume_comes_back_as_it_was(tmp_path, kind):
    given = volume(channels=("z", "y", "x") if kind == "affinities" else (), kind=kind)
    write_tiff(given, str(tmp_path / "v.ome.tif"))
    (found,) = open_volume(str(tmp_path / "v.ome.tif"))
    assert np.array_equal(found.read(), given.read())
    assert (found.kind, found.channels, found.space) == (kind, given.channels, SPACE)
    assert found.affine.isclose(given.affine)


def test_the_same_volume_makes_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        write_tiff(volume(), str(tmp_path / folder / "v.ome.tif"))
    assert (tmp_path / "a/v.ome.tif").read_bytes() == (tmp_path / "b/v.ome.tif").read_bytes()


def test_large_volumes_become_big_tiff(tmp_path, monkeypatch):
    monkeypatch.setattr("projectome.io.volumes.tiff_write.CLASSIC", 100)
    write_tiff(volume(), str(tmp_path / "v.tif"))
    with tifffile.TiffFile(tmp_path / "v.tif") as tiff:
        assert tiff.is_bigtiff
        assert np.array_equal(tiff.asarray(), volume().read())


def test_progress_counts_voxels(tmp_path):
    told = []
    write_tiff(
        volume(channels=("a", "b")),
        str(tmp_path / "v.tif"),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(63 * (i + 1), 630) for i in range(10)]


class Failing:
    """An array whose disk fills up in the third plane."""

    shape, chunks, dtype = (5, 7, 9), (1, 7, 9), np.dtype("uint8")

    def read(self, index):
        if index[0].start == 2:
            raise StorageFullError("full")
        return np.zeros([s.stop - s.start for s in index], "uint8")


def test_an_unfinished_file_is_not_there(tmp_path):
    with pytest.raises(StorageFullError):
        write_tiff(Volume(Failing(), Affine.from_scale((1, 1, 1))), str(tmp_path / "v.tif"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept(tmp_path):
    path = tmp_path / "v.tif"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_tiff(volume(), str(path))
    assert path.read_text() == "mine"
    write_tiff(volume(), str(path), overwrite=True)
    assert tifffile.imread(path).shape == (5, 7, 9)
    with pytest.raises(OutputExistsError):
        write_tiff(volume(), str(tmp_path), overwrite=True)


def test_what_tiff_cannot_hold(tmp_path):
    path = str(tmp_path / "v.tif")
    with pytest.raises(ParameterError, match=r"cannot hold uint64.*OME-Zarr"):
        write_tiff(volume("uint64"), path)
    with pytest.raises(ParameterError, match="local paths only"):
        write_tiff(volume(), "s3://bucket/v.tif")
    turned = Affine(np.diag([1.0, -1, 1, 1]), volume().affine.source, SPACE)
    with pytest.raises(ParameterError, match="rotated or sheared"):
        write_tiff(Volume(volume().array, turned), path)
