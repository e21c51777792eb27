"""Imaris files, written by hand after the published format with padding and all levels."""

import random
from typing import ClassVar

import h5py
import hdf5plugin
import numpy as np
import pytest

from projectome.core.box import Box
from projectome.errors import FormatError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.testing.readers import Example, ReaderContract

SHAPE, SIZE, CORNER = (7, 45, 51), (2.0, 0.5, 0.25), (-10.0, 20.0, 1000.0)


def text(value):
    """Attributes of Imaris are arrays of single characters."""
    return np.frombuffer(str(value).encode(), "S1")


def halved(voxels):
    """Means of 2 x 2 x 2 voxels; an odd last one is left out."""
    z, y, x = (n // 2 * 2 for n in voxels.shape)
    even = voxels[:z, :y, :x]
    return even.reshape(z // 2, 2, y // 2, 2, x // 2, 2).mean((1, 3, 5)).astype(voxels.dtype)


def save(path, channels, *, times=1, levels=3, edit=None, names=("GFP", "RFP"), **options):
    """Write channels of one shape; time point t holds the voxels plus t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = options or {"compression": "gzip"}
    shape = channels[0].shape
    with h5py.File(path, "w") as file:
        file.attrs["ImarisDataSet"], file.attrs["ImarisVersion"] = (
            text("ImarisDataSet"),
            text("5.5.0"),
        )
        image = file.create_group("DataSetInfo/Image")
        for i, axis in enumerate("ZYX"):
            image.attrs[axis] = text(shape[i])
            image.attrs[f"ExtMin{2 - i}"] = text(CORNER[i])
            image.attrs[f"ExtMax{2 - i}"] = text(CORNER[i] + shape[i] * SIZE[i])
        image.attrs["Unit"], image.attrs["Name"] = text("um"), text("(name not specified)")
        for c, voxels in enumerate(channels):
            info = file.create_group(f"DataSetInfo/Channel {c}")
            info.attrs["Name"], info.attrs["Color"] = text(names[c]), text("1.000 0.500 -0.000")
            info.attrs["ColorRange"] = text("10.000 200.000")
            info.attrs["LSMEmissionWavelength"] = text("525.0")
            level = voxels
            for r in range(levels):
                padded = np.pad(
                    level, [(0, -n % m) for n, m in zip(level.shape, (4, 16, 32), strict=True)]
                )
                for t in range(times):
                    group = file.create_group(
                        f"DataSet/ResolutionLevel {r}/TimePoint {t}/Channel {c}"
                    )
                    for axis, n in zip("ZYX", level.shape, strict=True):
                        group.attrs[f"ImageSize{axis}"] = text(n)
                    group.create_dataset("Data", data=padded + t, chunks=(4, 16, 32), **options)
                    group["Histogram"] = np.zeros(256, "u8")
                level = halved(level)
        if edit is not None:
            edit(file)
    return str(path)


@pytest.fixture
def voxels(make):
    return make.noise((2, *SHAPE))


class TestImaris(ReaderContract):
    """The extent is corner to corner: the centre of voxel 0 lies half a voxel inside it."""

    options: ClassVar[dict] = {}
    suffix = "ims"

    def write(self, folder):
        voxels = np.random.default_rng(0).integers(0, 2**16, (2, *SHAPE), dtype="uint16")
        save(folder / f"brain.{self.suffix}", voxels, **self.options)
        centre = tuple(c + s / 2 for c, s in zip(CORNER, SIZE, strict=True))
        return Example(folder / f"brain.{self.suffix}", voxels, SIZE, centre, ("GFP", "RFP"))


class TestImarisLz4(TestImaris):
    """As exported by the acquisition of ExA-SPIM; known by its content, not its name."""

    options: ClassVar[dict] = {"shuffle": True, **hdf5plugin.LZ4()}
    suffix = "dat"


def test_a_name_says_nothing(tmp_path, make):
    """Acquisitions write Zarr folders under names that end in .ims."""
    path, pixels = make.image(tmp_path / "tile_000000_ch_488.ims", "0.5")
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), pixels)
    (tmp_path / "a.ims").write_bytes(b"no HDF5 at all")
    with pytest.raises(FormatError, match="unknown format"):
        open_volume(str(tmp_path / "a.ims"))


def test_levels_lie_where_their_means_were_taken(tmp_path, voxels):
    pyramid = open_volume(save(tmp_path / "a.ims", voxels))
    assert [v.shape for v in pyramid] == [SHAPE, (3, 22, 25), (1, 11, 12)]
    level = voxels[1]
    for power, volume in enumerate(pyramid):
        np.testing.assert_array_equal(volume.read(channel="RFP"), level)
        level = halved(level)
        factor = 2**power
        # The centre of the first voxel is the mean position of the fine voxels in it.
        centres = pyramid[0].affine([[i] * 3 for i in range(factor)]).mean(axis=0)
        np.testing.assert_allclose(volume.affine([[0, 0, 0]])[0], centres)
        np.testing.assert_allclose(volume.voxel_size, factor * np.asarray(SIZE))
    assert pyramid.problems == ()
    assert pyramid.metadata["display"]["channels"][0] == {
        "label": "GFP",
        "color": "FF8000",
        "window": {"start": 10.0, "end": 200.0},
        "emission_nm": 525.0,
    }


def test_a_level_that_is_no_clean_half(tmp_path, voxels):
    def edit(file):
        for c in range(2):
            group = file[f"DataSet/ResolutionLevel 1/TimePoint 0/Channel {c}"]
            group.attrs["ImageSizeX"] = text(20)

    pyramid = open_volume(save(tmp_path / "a.ims", voxels, edit=edit))
    assert pyramid[1].shape == (3, 22, 20)
    assert pyramid[1].voxel_size[2] == pytest.approx(51 * 0.25 / 20)
    # The corner stays.
    assert pyramid[1].affine([[0, 0, -0.5]])[0][2] == pytest.approx(1000.0)
    assert "no power of two" in str(pyramid.problems)


def test_time_has_to_be_chosen(tmp_path, voxels):
    path = save(tmp_path / "a.ims", voxels // 2, times=3)
    with pytest.raises(ParameterError, match="--time N, 0 to 2"):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(path, time=2)[0].read(), voxels // 2 + 2)


def test_one_channel_without_a_name(tmp_path, voxels):
    path = save(tmp_path / "a.ims", voxels[:1], names=["(name not specified)"])
    np.testing.assert_array_equal(open_volume(path)[0].read(), voxels[0])
    path = save(tmp_path / "b.ims", voxels[:1], names=["GFP"])
    assert open_volume(path)[0].channels == ("GFP",)


def set_image(**attributes):
    def edit(file):
        for key, value in attributes.items():
            file["DataSetInfo/Image"].attrs[key] = text(value)

    return edit


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("nm", 0.001), ("m", 1e6)])
def test_units(unit, factor, tmp_path, voxels):
    ends = {"ExtMax2": 7 * 2 / factor, "ExtMax1": 20 + 45 / factor, "ExtMax0": 51 / factor}
    edit = set_image(Unit=unit, ExtMin2=0, ExtMin0=0, **ends)
    volume = open_volume(save(tmp_path / "a.ims", voxels, edit=edit))[0]
    assert volume.voxel_size[:2] == pytest.approx((2.0, 1.0))
    assert volume.affine.translation[:2] == pytest.approx((1.0, 20 * factor + 0.5))


def test_an_unknown_unit_is_told(tmp_path, voxels):
    pyramid = open_volume(save(tmp_path / "a.ims", voxels, edit=set_image(Unit="pixel")))
    assert pyramid[0].voxel_size == SIZE
    assert "'pixel' is no length; read as micrometre" in str(pyramid.problems)


@pytest.mark.parametrize(
    "attributes",
    [{"ExtMax0": "-1e9"}, {"ExtMax1": "nan"}, {"ExtMin2": "left"}, {"ExtMax0": "1e30"}],
)
def test_an_extent_that_cannot_be_meant(attributes, tmp_path, voxels):
    path = save(tmp_path / "a.ims", voxels, edit=set_image(**attributes))
    with pytest.raises(ParameterError, match=r"does not state its voxel size.*--voxel-size Z,Y,X"):
        open_volume(path)
    pyramid = open_volume(path, voxel_size=SIZE)
    assert pyramid.problems
    assert pyramid[1].voxel_size == (4.0, 1.0, 0.5)
    assert pyramid[0].affine.translation == (0.0, 0.0, 0.0)


def test_voxels_of_one_um_at_the_origin_are_doubted(tmp_path, voxels):
    edges = {
        f"Ext{end}{2 - i}": n for i, m in enumerate(SHAPE) for end, n in (("Min", 0), ("Max", m))
    }
    pyramid = open_volume(save(tmp_path / "a.ims", voxels, edit=set_image(**edges)))
    assert pyramid[0].voxel_size == (1.0, 1.0, 1.0)
    assert "where nothing was stated" in str(pyramid.problems)


def test_the_word_of_the_user_keeps_the_place_in_voxels(tmp_path, voxels):
    pyramid = open_volume(save(tmp_path / "a.ims", voxels), voxel_size=(4.0, 1.0, 0.5))
    affine = pyramid[0].affine
    np.testing.assert_allclose(affine.translation, 2 * (np.asarray(CORNER) + np.asarray(SIZE) / 2))
    assert pyramid[1].voxel_size == (8.0, 2.0, 1.0)
    with pytest.raises(ParameterError, match="leave out --axes"):
        open_volume(save(tmp_path / "b.ims", voxels), axes="zyx")


def test_the_padded_array_opens_as_a_dataset(tmp_path, voxels):
    path = save(tmp_path / "a.ims", voxels)
    inside = f"{path}#DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data"
    volume = open_volume(inside, voxel_size=SIZE)[0]
    assert volume.shape == (8, 48, 64)
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), SHAPE)), voxels[1])


def without(path, *names):
    def edit(file):
        for name in names:
            del file[path].attrs[name]

    return edit


def test_sizes_that_are_not_stated(tmp_path, voxels):
    first = "DataSet/ResolutionLevel {}/TimePoint 0/Channel 0"
    path = save(tmp_path / "a.ims", voxels, edit=without(first.format(1), "ImageSizeX"))
    pyramid = open_volume(path)
    assert [v.shape for v in pyramid] == [SHAPE, (1, 11, 12)]
    assert "Level 1 does not say its size" in str(pyramid.problems)

    def edit(file):
        without("DataSetInfo/Image", "X")(file)
        without(first.format(0), "ImageSizeX")(file)

    with pytest.raises(FormatError, match=r"stored arrays are padded.*#DataSet/ResolutionLevel 0"):
        open_volume(save(tmp_path / "b.ims", voxels, edit=edit))
    path = save(tmp_path / "c.ims", voxels, edit=without("DataSetInfo/Image", "X"))
    assert open_volume(path)[0].shape == SHAPE
    pyramid = open_volume(save(tmp_path / "d.ims", voxels, edit=set_image(X=50)))
    assert pyramid[0].shape == (7, 45, 50)
    assert "the first are taken" in str(pyramid.problems)


def test_what_is_missing_is_named(tmp_path, voxels):
    with pytest.raises(FormatError, match=r"does not hold the \(7, 45, 99\) voxels"):
        open_volume(save(tmp_path / "a.ims", voxels, edit=set_image(X=99)))

    def one_channel_less(file):
        del file["DataSet/ResolutionLevel 1/TimePoint 0/Channel 1"]

    with pytest.raises(
        FormatError, match=r"no dataset #DataSet/ResolutionLevel 1/.*/Channel 1/Data"
    ):
        open_volume(save(tmp_path / "b.ims", voxels, edit=one_channel_less))

    def no_time(file):
        del file["DataSet/ResolutionLevel 0/TimePoint 0"]

    with pytest.raises(FormatError, match="holds no time point"):
        open_volume(save(tmp_path / "c.ims", voxels, edit=no_time))

    def elsewhere(file):
        del file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data"]
        link = h5py.ExternalLink("other.h5", "/Data")
        file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data"] = link

    with pytest.raises(FormatError, match="link to another file"):
        open_volume(save(tmp_path / "d.ims", voxels, edit=elsewhere))


@pytest.mark.parametrize("seed", range(4))
def test_any_byte_may_be_wrong(seed, voxels, tmp_path):
    path = tmp_path / "a.ims"
    save(path, voxels[:, :, :20, :20], levels=2)
    rng, whole = random.Random(seed), path.read_bytes()
    read = 0
    for number in range(40):
        data = bytearray(whole)
        if number % 8 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice([1, 2, 4])):
            place = rng.randrange(min(len(data), 2**13) or 1)
            data[place : place + 1] = bytes([rng.choice([0, 255, rng.randrange(256)])])
        path.write_bytes(data)
        try:
            volume = open_volume(str(path), voxel_size=SIZE)[0]
            volume.read(Box((0, 0, 0), tuple(min(8, n) for n in volume.shape)))
            read += 1
        except ProjectomeError:
            continue
    assert read
