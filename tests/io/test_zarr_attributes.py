"""Zarr arrays that say where they lie by attributes of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from projectome.errors import FormatError, MetadataError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.io.volumes.zarr_attributes import Stated, implied_attributes, read_attributes
from projectome.testing.readers import Example, ReaderContract


def save(path, voxels, *, zarr_format=2, chunks=(8, 8, 8), **attributes):
    """Write with zarr-python."""
    lead = (1,) * (voxels.ndim - 3)
    array = zarr.create_array(
        str(path), data=voxels, chunks=lead + chunks, zarr_format=zarr_format, compressors=None
    )
    array.attrs.update(attributes)
    return path


def noise(shape, dtype="uint16"):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


class TestOffsetAndResolution(ReaderContract):
    """E11: nanometres of expanded tissue, the offset is a corner; 18 channels."""

    version, shape, dtype = 2, (18, 16, 24, 20), "uint8"

    def write(self, folder):
        voxels = noise(self.shape, self.dtype)
        path = save(
            folder / "raw",
            voxels,
            zarr_format=self.version,
            chunks=(16, 24, 20),  # few, so that all are looked at
            offset=[4000, 1680, 168],
            resolution=[400, 168, 168],
        )
        names = tuple(f"channel {i}" for i in range(18)) if len(self.shape) == 4 else ()
        # Half a voxel on from the corner.
        place = (4.2, 1.764, 0.252)
        return Example(path, voxels, (0.4, 0.168, 0.168), place, names)


class TestOffsetVersion3(TestOffsetAndResolution):
    version, shape = 3, (16, 24, 20)


class TestLevels(ReaderContract):
    """Arrays s0 and s1 of one group."""

    def write(self, folder):
        voxels = noise((2, 16, 24, 20))
        group = zarr.open_group(str(folder / "all"), mode="w", zarr_format=2)
        group.attrs["creator"] = "nobody"
        for k in range(2):
            step = 2**k
            save(
                folder / "all" / f"s{k}",
                voxels[:, ::step, ::step, ::step],
                chunks=(8 // step,) * 3,
                offset=[0, 50, 100],
                voxel_size=[n * step for n in (40, 20, 10)],
                units=["nm", "nm", "nm"],
                axis_names=["c^", "z", "y", "x"],
                channel_names=["first", "second"],
            )
        place = (0.02, 0.06, 0.105)
        return Example(folder / "all", voxels, (0.04, 0.02, 0.01), place, ("first", "second"))


def test_all_levels_begin_at_one_corner(tmp_path):
    pyramid = TestLevels().write(tmp_path).open()
    assert len(pyramid) == 2
    assert pyramid.problems == ()
    corners = [np.array(v.affine.translation) - np.array(v.voxel_size) / 2 for v in pyramid]
    np.testing.assert_allclose(corners, [[0, 0.05, 0.1]] * 2, atol=1e-12)
    np.testing.assert_allclose(pyramid[1].voxel_size, (0.08, 0.04, 0.02))


@st.composite
def halved(draw):
    """Shapes and voxel sizes of levels, each axis halved or not from level to level."""
    shape = np.array([draw(st.integers(40, 90)) for _ in range(3)])
    size = np.array([draw(st.floats(0.5, 900)) for _ in range(3)])
    shapes, sizes = [shape], [size]
    for _ in range(draw(st.integers(2, 4))):
        steps = np.array([draw(st.booleans()) for _ in range(3)])
        up = np.array([draw(st.booleans()) for _ in range(3)])
        shape = np.where(steps, (shape + up) // 2, shape)
        size = np.where(steps, 2 * size, size)
        shapes.append(shape)
        sizes.append(size)
    return [s.tolist() for s in shapes], [s.tolist() for s in sizes]


@settings(max_examples=40, deadline=None)
@given(halved(), st.sampled_from(["resolution", "voxel_size"]))
def test_what_lies_between_two_levels_follows_from_them(levels, name):
    shapes, sizes = levels
    said = [{"offset": [0, 5, 7], "units": "nm", name: size} for size in sizes]
    shapes = [[18, *shape] for shape in shapes]
    assert implied_attributes(said[0], said[-1], shapes) == said
    wrong = {**said[-1], name: [2 * v for v in sizes[-1]]}
    moved = {**said[-1], "offset": [0, 5, 8]}
    for last in (wrong, moved, {}, {name: None}, {**said[-1], "axis_names": ["c^", "z", "y", "x"]}):
        assert implied_attributes(said[0], last, shapes) == []
    for other in (None, [], "x", [18, 1, 1, 1], [0, 0, 0, 0], [2**70] * 4, [1.5] * 4):
        assert implied_attributes(said[0], said[-1], [shapes[0], other, *shapes[2:]]) == []


def test_one_element_may_stand_for_one_or_two():
    said = [{"resolution": [4 * k, 4 * k, 4 * k], "offset": [0, 0, 0]} for k in (1, 2, 4)]
    assert implied_attributes(said[0], said[2], [[1, 8, 8], [1, 4, 4], [1, 2, 2]]) == []


@pytest.mark.server
@pytest.mark.parametrize("name", ["raw", "all"])
def test_six_levels_open_with_twelve_requests(replica_buckets, replicas, name):
    """Also with the search for metadata beside it, which a dataset without assets has not."""
    path = f"e11bio-prism/ls/images/full_dataset.zarr/{name}"
    replica_buckets.asked.clear()
    found = open_volume(f"s3://{path}", endpoint=replica_buckets.endpoint, expansion=1.0)
    assert len(replica_buckets.asked) <= 12, replica_buckets.asked
    assert len(found) == 6
    assert found.metadata["implied_levels"] == [1, 2, 3, 4]
    letter = "" if name == "all" else "s"
    for number, level in enumerate(found):
        alone = open_volume(str(replicas / path / f"{letter}{number}"))[0]
        assert level.affine.isclose(alone.affine)
        assert level.shape == alone.shape
        assert (level.read() == alone.read()).all()


@pytest.mark.parametrize("moved", [False, True])
def test_levels_that_do_not_follow_are_read(tmp_path, moved):
    """Level 1 was halved along x alone, level 2 along all; or the last begins elsewhere."""
    zarr.open_group(str(tmp_path / "g"), mode="w", zarr_format=2)
    sizes = [(4, 4, 4), (4, 4, 8), (8, 8, 16)]
    for k, shape in enumerate([(16, 16, 16), (16, 16, 8), (8, 8, 4)]):
        offset = [4, 0, 0] if moved and k == 2 else [0, 0, 0]
        save(tmp_path / "g" / f"s{k}", noise(shape), offset=offset, resolution=list(sizes[k]))
    found = open_volume(str(tmp_path / "g"))
    assert [tuple(1000 * v for v in level.voxel_size) for level in found] == sizes
    assert ("implied_levels" in found.metadata) is not moved
    assert found[2].affine.translation[0] == pytest.approx(0.008 if moved else 0.004)


def test_voxel_size_of_the_user_scales_all_levels(tmp_path):
    example = TestLevels().write(tmp_path)
    pyramid = open_volume(str(example.path), voxel_size=(0.02, 0.01, 0.005), expansion=4.0)
    np.testing.assert_allclose(pyramid[1].voxel_size, (0.04, 0.02, 0.01))
    np.testing.assert_allclose(pyramid[0].affine.translation, (0.01, 0.03, 0.0525))
    assert pyramid.space.expansion == 4.0


def test_labels_beside_raw_lie_in_it(tmp_path):
    """The crop of labels is smaller than its raw data, and where its offset says."""
    raw, labels = noise((3, 30, 40, 50)), noise((10, 20, 20), "uint64")
    save(tmp_path / "raw", raw, offset=[0, 0, 0], resolution=[400, 168, 168])
    save(tmp_path / "labels", labels, offset=[4000, 1680, 1680], resolution=[400, 168, 168])
    inside, outside = (open_volume(str(tmp_path / name))[0] for name in ("labels", "raw"))
    assert (inside.kind, outside.kind) == ("labels", "image")
    first = outside.affine.inverse()(inside.affine([[0, 0, 0]]))
    np.testing.assert_allclose(first, [[10, 10, 10]], atol=1e-9)


def test_doubt_is_told(tmp_path):
    save(tmp_path / "v", noise((3, 8, 8, 8), "uint64"), resolution=[400, 168, 168])
    problems = {p.where: p.message for p in open_volume(str(tmp_path / "v")).problems}
    assert problems == {
        "units": "No unit is stated; read as nm.",
        "axes": "None are stated; read as c, z, y, x.",
        "kind": "It is not stated; elements of type uint64 are read as labels.",
    }


@pytest.mark.parametrize("names", [["s0", "s1"], ["0", "1"]])
def test_arrays_that_are_no_levels_are_refused(tmp_path, names):
    zarr.open_group(str(tmp_path / "g"), mode="w", zarr_format=2)
    for name in names:
        save(tmp_path / "g" / name, noise((8, 8, 8)), resolution=[4, 4, 4])
    with pytest.raises(MetadataError, match="no levels of one image") as caught:
        open_volume(str(tmp_path / "g"))
    assert f"g/{names[0]}" in str(caught.value)


def test_missing_voxel_size_is_asked_for(tmp_path):
    zarr.open_group(str(tmp_path / "g"), mode="w", zarr_format=2)
    for k in range(2):
        save(tmp_path / "g" / f"s{k}", noise((8 >> k, 8 >> k, 8 >> k)))
    with pytest.raises(ParameterError, match="--voxel-size Z,Y,X"):
        open_volume(str(tmp_path / "g"))
    pyramid = open_volume(str(tmp_path / "g"), voxel_size=(1, 1, 1))
    assert len(pyramid) == 1
    assert any("Level 1 states no voxel size" in p.message for p in pyramid.problems)


def test_group_with_other_things_is_refused(tmp_path):
    zarr.open_group(str(tmp_path / "g"), mode="w", zarr_format=2)
    save(tmp_path / "g" / "raw", noise((8, 8, 8)), resolution=[4, 4, 4])
    with pytest.raises(FormatError, match="projectome ls"):
        open_volume(str(tmp_path / "g"))


SIZE, CORNER = (0.004, 0.002, 0.001), (0.002, 0.001, 0.0005)
N5 = {"pixelResolution": {"dimensions": [1, 2, 4], "unit": "nm"}}
READ = [
    # funlib: the corner
    ({"voxel_size": [4, 4, 4]}, (0.004,) * 3, (0.002,) * 3),
    ({"resolution": [4, 2, 1], "offset": [40, 20, 10]}, SIZE, (0.042, 0.021, 0.0105)),
    ({"resolution": [1, 1, 2], "units": "um"}, (1, 1, 2), (0.5, 0.5, 1)),
    ({"resolution": [1, 4, 2, 1], "offset": [0, 0, 0, 0]}, SIZE, CORNER),
    ({"resolution": [4, 2, 1, 7], "axis_names": ["z", "y", "x", "c^"]}, SIZE, CORNER),
    ({"resolution": 8, "units": ["nm", "nm", "nm"]}, (0.008,) * 3, (0.004,) * 3),
    # N5: x first, the centre
    ({"pixelResolution": [1, 2, 4], "units": "um"}, (4, 2, 1), None),
    ({**N5, "downsamplingFactors": [4, 2, 1]}, (0.004, 0.004, 0.004), (0, 0.001, 0.0015)),
    # COSEM: by name, the centre
    (
        {
            "transform": {
                "axes": ["x", "z", "y"],
                "scale": [1, 3, 2],
                "translate": [10, 30, 20],
                "units": ["nm", "nm", "nm"],
            },
            "resolution": [9, 9, 9],
        },
        (0.003, 0.002, 0.001),
        (0.03, 0.02, 0.01),
    ),
]


@pytest.mark.parametrize(("attributes", "size", "place"), READ)
def test_dialects(attributes, size, place):
    stated = read_attributes(attributes, rank=4, url="here")
    np.testing.assert_allclose(stated.voxel_size, size, rtol=1e-12)
    if place is None:
        assert stated.translation is None
    else:
        np.testing.assert_allclose(stated.translation, place, rtol=1e-12)


def test_nothing_stated():
    assert read_attributes({"a": 1}, rank=3, url="here") == Stated()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"resolution": [0, 1, 1]}, "are not between"),
        ({"resolution": [-4, 4, 4]}, "are not between"),
        ({"resolution": ["4", 4, 4]}, "One number an axis"),
        ({"resolution": [4, 4, 4], "offset": [1, 2]}, None),
        ({"resolution": [4, 4, 4], "offset": "far"}, "One number an axis"),
        ({"resolution": [4, 4, 4], "offset": [1e300, 0, 0]}, "One number an axis"),
        ({"resolution": [4, 4, 4], "offset": [1e100, 0, 0]}, "out of reach"),
        ({"resolution": [4, 4, 4], "units": ["nm", "um", "nm"]}, "different units"),
        ({"resolution": [4, 4, 4], "units": "parsec"}, "Unknown unit"),
        ({"transform": {"axes": ["a", "b"]}}, "no axes of an image"),
        ({"transform": {"axes": ["z", "y", "x"], "scale": [1]}}, "one entry an axis"),
        ({"transform": {}}, "Names of axes"),
    ],
)
def test_what_can_be_no_place_is_refused(attributes, message):
    if message is None:
        assert read_attributes(attributes, rank=3, url="here").voxel_size is not None
        return
    with pytest.raises(MetadataError, match=message) as caught:
        read_attributes(attributes, rank=3, url="here")
    assert "The attributes of here" in str(caught.value)
    assert "--voxel-size" in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
names = st.sampled_from(
    [
        *("offset", "resolution", "voxel_size", "units", "unit", "axis_names", "axes"),
        *("pixelResolution", "downsamplingFactors", "channel_names"),
    ]
)
transforms = st.dictionaries(st.sampled_from(["axes", "scale", "translate", "units"]), values)


@given(st.dictionaries(names, values, max_size=6), st.none() | transforms, st.data())
def test_attributes_are_read_or_refused(attributes, transform, data):
    rank, x_first = data.draw(st.integers(2, 5)), data.draw(st.booleans())
    if transform is not None:
        attributes["transform"] = transform
    try:
        stated = read_attributes(attributes, rank=rank, url="here", x_first=x_first)
    except ProjectomeError:
        return
    assert stated.voxel_size is None or min(stated.voxel_size) > 0


def test_broken_attributes_are_refused(tmp_path):
    path = Path(save(tmp_path / "v", noise((8, 8, 8)), resolution=[4, 4, 4]))
    (path / ".zattrs").write_text("[1]")
    with pytest.raises(FormatError, match="zattrs"):
        open_volume(str(path))
    (path / ".zattrs").write_text(json.dumps({"resolution": {}}))
    with pytest.raises(MetadataError, match="One number an axis"):
        open_volume(str(path))


@pytest.mark.server
@pytest.mark.parametrize(("version", "asked"), [(2, 2 * 6), (3, 6)])
def test_levels_are_asked_only_for_what_their_version_has(
    tmp_path, serving_buckets, version, asked
):
    group = tmp_path / "data" / "all"
    zarr.open_group(str(group), mode="w", zarr_format=version)
    for k in range(6):
        voxels = noise((1, max(1, 16 >> k), 32 >> k, 32 >> k))
        about = {"offset": [0, 0, 0], "resolution": [n << k for n in (400, 168, 168)]}
        save(group / f"s{k}", voxels, zarr_format=version, **about)
    with serving_buckets(tmp_path) as server:
        pyramid = open_volume("s3://data/all", endpoint=server.endpoint, asset=False)
        assert len(pyramid) == 6
        assert len([request for request in server.asked if "/all/s" in request]) == asked
        assert len(server.asked) <= asked + 7, server.asked
