"""N5 arrays and images, as COSEM and BigDataViewer lay them out."""

import contextlib
import json

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError, MetadataError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.io.volumes.n5 import parse_array
from projectome.testing.readers import Example, ReaderContract

RAW = {"type": "raw"}


def noise(shape, dtype="uint16"):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def save(path, voxels, compression=RAW, chunks=None, **attributes):
    """Write with tensorstore; voxels are in C order."""
    chunk = list(chunks or (8,) * voxels.ndim)[::-1]
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": {"compression": compression, "blockSize": chunk, **attributes},
    }
    shape = voxels.T.shape
    store = ts.open(spec, create=True, open=True, shape=shape, dtype=voxels.dtype).result()
    store.write(voxels.T).result()
    return path


def describe(path, **attributes):
    """Attributes of a group."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "attributes.json").write_text(json.dumps(attributes))


class TestArray(ReaderContract):
    """``pixelResolution`` and ``downsamplingFactors`` are (x, y, z)."""

    compression = RAW

    def write(self, folder):
        voxels = noise((16, 24, 20))
        path = save(
            folder / "s1",
            voxels,
            self.compression,
            pixelResolution={"dimensions": [4.0, 5.0, 6.0], "unit": "nm"},
            downsamplingFactors=[2, 2, 4],
        )
        place = (0.009, 0.0025, 0.002)
        return Example(path, voxels, (0.024, 0.010, 0.008), place)


class TestGzip(TestArray):
    compression = {"type": "gzip", "level": 5}  # noqa: RUF012


class TestCosem(ReaderContract):
    """Levels with a ``transform``, by the names of the axes; its translation is the centre."""

    def write(self, folder):
        voxels = noise((16, 24, 20))
        describe(folder / "em", n5="2.0.0", scales=[[1, 1, 1], [2, 2, 2]])
        for k in range(2):
            f = 2**k
            place = [100 + (f - 1) * 3.24 / 2, 200 + (f - 1) * 4 / 2, 300 + (f - 1) * 5 / 2]
            transform = {
                "axes": ["z", "y", "x"],
                "scale": [3.24 * f, 4.0 * f, 5.0 * f],
                "translate": place,
                "units": ["nm", "nm", "nm"],
            }
            save(
                folder / "em" / f"s{k}",
                voxels[::f, ::f, ::f],
                {"type": "zstd", "level": 1},
                chunks=(8 // f,) * 3,
                transform=transform,
                pixelResolution={"dimensions": [9, 9, 9], "unit": "nm"},
            )
        return Example(folder / "em", voxels, (0.00324, 0.004, 0.005), (0.1, 0.2, 0.3))


class TestBigDataViewer(ReaderContract):
    """Two setups of one shape; factors stand at the setup, the resolution at the time point."""

    def write(self, folder):
        voxels = noise((2, 16, 24, 20))
        root = folder / "dataset.n5"
        describe(root, n5="2.5.1")
        for c in range(2):
            setup = root / f"setup{c}"
            describe(setup, downsamplingFactors=[[1, 1, 1], [2, 2, 1]], dataType="uint16")
            describe(setup / "timepoint0", multiScale=True, resolution=[0.4, 0.5, 2.0])
            for k in range(2):
                part = voxels[c] if k == 0 else voxels[c, :, ::2, ::2]
                save(
                    setup / "timepoint0" / f"s{k}",
                    part,
                    {"type": "gzip", "level": 1},
                    chunks=(16, 24 >> k, 20 >> k),
                    downsamplingFactors=[[1, 1, 1], [2, 2, 1]][k],
                )
        return Example(root, voxels, (2.0, 0.5, 0.4), channels=("setup0", "setup1"))


@pytest.mark.parametrize("codec", ["raw", "gzip", "bzip2", "xz", "blosc", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "float64"])
def test_codecs_and_types(tmp_path, codec, dtype):
    voxels = noise((9, 10, 11)).astype(dtype)
    more = {"blosc": {"cname": "lz4", "clevel": 5, "shuffle": 1}}.get(codec, {})
    save(tmp_path / "a", voxels, {"type": codec, **more})
    pyramid = open_volume(str(tmp_path / "a"), voxel_size=(3, 2, 1))
    np.testing.assert_array_equal(pyramid[0].read(), voxels, strict=True)
    assert (pyramid[0].kind == "labels") == (dtype == "uint64")


def test_levels_of_big_data_viewer_lie_where_they_should(tmp_path):
    root = TestBigDataViewer().write(tmp_path).path
    for path in (root, root / "setup1", root / "setup1/timepoint0"):
        coarse = open_volume(f"n5://{path}")[1]
        np.testing.assert_allclose(coarse.voxel_size, (2.0, 1.0, 0.8))
        np.testing.assert_allclose(coarse.affine.translation, (0.0, 0.25, 0.2))
    said = " ".join(p.message for p in open_volume(str(root)).problems)
    assert "2 setups of one shape are read as channels" in said
    assert "No unit is stated; read as um" in said


def test_setups_of_different_shapes_are_named(tmp_path):
    root = TestBigDataViewer().write(tmp_path).path
    save(root / "setup2/timepoint0/s0", noise((8, 8, 8)))
    with pytest.raises(FormatError, match=r"setup2 \(8, 8, 8\).*Open one.*setup0"):
        open_volume(str(root))


def test_time_points_are_chosen(tmp_path):
    for t in range(2):
        describe(tmp_path / f"setup0/timepoint{t}", resolution=[1, 1, 1])
        save(tmp_path / f"setup0/timepoint{t}/s0", np.full((4, 4, 4), t, "uint8"))
    describe(tmp_path / "setup0")
    with pytest.raises(ParameterError, match="--time N, 0 to 1"):
        open_volume(str(tmp_path / "setup0"))
    assert open_volume(str(tmp_path / "setup0"), time=1)[0].read().all()


@pytest.mark.parametrize("where", ["group", "multiscales", "own"])
def test_levels_take_their_place_from_the_group(tmp_path, where):
    voxels, group = noise((8, 8, 8)), {}
    if where == "group":
        resolution = {"dimensions": [1, 2, 4], "unit": "um"}
        group = {"pixelResolution": resolution, "scales": [[1, 1, 1], [2, 2, 2]]}
    transforms = [
        {
            "axes": ["z", "y", "x"],
            "scale": [4 * f, 2 * f, f],
            "translate": [2 * (f - 1), f - 1, (f - 1) / 2],
            "units": ["um"] * 3,
        }
        for f in (1, 2)
    ]
    if where == "multiscales":
        datasets = [{"path": f"s{k}", "transform": t} for k, t in enumerate(transforms)]
        group = {"multiscales": [{"datasets": datasets}]}
    describe(tmp_path / "g", **group)
    for k in range(2):
        # Without a translation, levels begin at one corner.
        own = {"pixelResolution": {"dimensions": [1 << k, 2 << k, 4 << k], "unit": "um"}}
        part = voxels[:: 1 << k, :: 1 << k, :: 1 << k]
        save(tmp_path / f"g/s{k}", part, **(own if where == "own" else {}))
    pyramid = open_volume(str(tmp_path / "g"))
    np.testing.assert_allclose(pyramid[0].affine.matrix, np.diag([4, 2, 1, 1]))
    np.testing.assert_allclose(pyramid[1].voxel_size, (8, 4, 2))
    np.testing.assert_allclose(pyramid[1].affine.translation, (2, 1, 0.5))


def test_axes_are_in_c_order(tmp_path):
    voxels = noise((2, 6, 7, 8))
    save(tmp_path / "a", voxels, axes=["x", "y", "z", "c"], pixelResolution=[1, 2, 3, 1])
    volume = open_volume(str(tmp_path / "a"))[0]
    assert volume.channels == ("channel 0", "channel 1")
    assert volume.voxel_size == (3, 2, 1)
    np.testing.assert_array_equal(volume.read(), voxels)
    save(tmp_path / "b", voxels)
    with pytest.raises(ParameterError, match="--axes czyx"):
        open_volume(str(tmp_path / "b"), voxel_size=(3, 2, 1))
    volume = open_volume(str(tmp_path / "b"), voxel_size=(3, 2, 1), axes="czyx")[0]
    np.testing.assert_array_equal(volume.read(), voxels)


def test_missing_block_is_an_error_where_asked(tmp_path):
    voxels = noise((16, 16, 16))
    path = save(tmp_path / "a", voxels, pixelResolution=[1, 1, 1])
    (path / "1/0/0").unlink()
    assert not open_volume(str(path))[0].read()[:8, :8, 8:].any()
    with pytest.raises(FormatError, match=r"missing.*without --strict"):
        open_volume(str(path), strict=True)[0].read()


def test_group_without_image_is_refused(tmp_path):
    describe(tmp_path / "g", n5="2.0.0")
    with pytest.raises(FormatError, match=r"without an image.*projectome ls"):
        open_volume(str(tmp_path / "g"))


@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": [8, 8]},
        {"dimensions": [8, 8, -1]},
        {"dimensions": "all"},
        {"dimensions": [2**70, 8, 8]},
        {"blockSize": [0, 8, 8]},
        {"blockSize": [8, 8, 8.5]},
        {"blockSize": [10**4, 10**4, 10**4]},
        {"dataType": "string"},
        {"dataType": ["uint8"]},
        {"compression": {"type": "zip"}},
        {"compression": 7},
        {"compression": None},
    ],
)
def test_hostile_metadata_is_refused(tmp_path, change):
    content = {"dimensions": [8, 8, 8], "blockSize": [8, 8, 8], "dataType": "uint8"}
    content |= {"compression": RAW, "pixelResolution": [1, 1, 1]}
    describe(tmp_path / "a", **{**content, **change})
    with pytest.raises(FormatError, match=r"attributes.json|blocks"):
        open_volume(str(tmp_path / "a"))


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.data())
def test_attributes_are_an_array_or_refused(tmp_path_factory, data):
    content = {"dimensions": [8, 8, 8], "blockSize": [8, 8, 8], "dataType": "uint8"}
    content |= {"compression": {"type": "gzip", "level": 1}, "pixelResolution": [1, 1, 1]}
    for name in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3)):
        content[name] = data.draw(values)
    try:
        parse_array(content, b"", url="here")
    except FormatError as error:
        assert "here" in str(error)  # noqa: PT017
    folder = tmp_path_factory.mktemp("n5") / "a"
    describe(folder, **content)
    with contextlib.suppress(ProjectomeError):
        assert open_volume(f"n5://{folder}")[0].read().size < 2**20


def test_broken_place_is_refused(tmp_path):
    save(tmp_path / "a", noise((8, 8, 8)), pixelResolution=[0, 0, 0])
    with pytest.raises(MetadataError, match="are not between"):
        open_volume(str(tmp_path / "a"))
