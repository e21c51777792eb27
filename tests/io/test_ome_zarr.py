"""OME-Zarr groups: layouts met in the wild, and broken ones, each refused with a way out."""

import gzip
import json
import os
import shutil

import numpy as np
import pytest
import zarr
from numcodecs import GZip

from projectome.core.box import Box
from projectome.errors import FormatError, MetadataError, NotFoundError, ParameterError, StoreError
from projectome.io.open import open_volume

VERSIONS = ["0.4", "0.5"]


@pytest.fixture(params=VERSIONS)
def image(request, tmp_path, make):
    """Path, voxels and version of an image of two levels, 2 x 1 x 1 um and 4 x 2 x 2 um."""
    path, voxels = make.image(tmp_path / "brain.ome.zarr", request.param)
    return path, voxels, request.param


def group_file(version):
    return ".zattrs" if version == "0.4" else "zarr.json"


def array_file(version):
    return ".zarray" if version == "0.4" else "zarr.json"


def chunk(version, *index):
    return "/".join(map(str, index)) if version == "0.4" else "c/" + "/".join(map(str, index))


def image_in(document, version):
    ome = document if version == "0.4" else document["attributes"]["ome"]
    return ome["multiscales"][0]


# What is met in the wild


def test_both_levels_lie_where_they_should(image):
    """Voxel (0, 0, 0) of the mean lies between voxels 0 and 1 of level 0."""
    path, voxels, _ = image
    pyramid = open_volume(str(path))
    assert [v.voxel_size for v in pyramid] == [(2, 1, 1), (4, 2, 2)]
    assert pyramid[1].affine.translation == (1.0, 0.5, 0.5)
    assert pyramid[1].affine([[0, 0, 0]]).tolist() == pyramid[0].affine([[0.5, 0.5, 0.5]]).tolist()
    block = voxels[:2, :2, :2].mean()
    assert pyramid[1].read(Box((0, 0, 0), (1, 1, 1)))[0, 0, 0] == int(block)


@pytest.mark.parametrize("paths", [("s0", "s1"), ("scale0/image", "scale1/image"), ("0/0", "0/1")])
@pytest.mark.parametrize("version", VERSIONS)
def test_levels_may_have_any_names(paths, version, tmp_path, make):
    voxels = make.noise((8, 8, 8))
    axes, scales = [make.axis(n) for n in "zyx"], [[1, 1, 1], [2, 2, 2]]
    attributes = make.metadata(version, axes, scales, [[0] * 3, [0.5] * 3], paths=list(paths))
    path = make.group(tmp_path / "x.zarr", version, [voxels, make.mean2(voxels)], attributes)
    pyramid = open_volume(str(path))
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert len(pyramid) == 2


def test_the_layout_of_bioformats2raw(tmp_path, make, edit_json):
    """A group that says so and holds the image as group 0; with two images one has to choose."""
    path, voxels = make.image(tmp_path / "raw.zarr" / "0", "0.4")
    (tmp_path / "raw.zarr" / ".zattrs").write_text(json.dumps({"bioformats2raw.layout": 3}))
    pyramid = open_volume(str(tmp_path / "raw.zarr"))
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert "raw.zarr/0" in pyramid.problems[0].message
    shutil.copytree(path, tmp_path / "raw.zarr" / "1")
    with pytest.raises(ParameterError, match=r"several images.*raw\.zarr/1"):
        open_volume(str(tmp_path / "raw.zarr"))


@pytest.mark.parametrize("order", ["xyz", "zcyx", "zyxc", "xyzct", "yxz"])
def test_other_orders_of_axes_are_turned_lazily(order, tmp_path, make):
    size = {"t": 1, "c": 3, "z": 6, "y": 10, "x": 8}
    stored = make.noise(tuple(size[n] for n in order))
    step = {"z": 3.0, "y": 2.0, "x": 1.0}
    attributes = make.metadata(
        "0.4", [make.axis(n) for n in order], [[step.get(n, 1.0) for n in order]]
    )
    path = make.group(tmp_path / "x.zarr", "0.4", [stored], attributes, chunks=(4,) * len(order))
    pyramid = open_volume(str(path))
    wanted = "czyx" if "c" in order else "zyx"
    turned = np.einsum(f"{order}->{wanted}{'t' if 't' in order else ''}", stored)
    volume = pyramid[0]
    voxels = turned[..., 0] if "t" in order else turned
    np.testing.assert_array_equal(volume.read(), voxels)
    assert volume.read().flags.c_contiguous
    assert volume.voxel_size == (3, 2, 1)
    assert volume.chunks == (4, 4, 4)
    assert any("another order" in problem.message for problem in pyramid.problems)
    box = Box((1, 2, 3), (4, 9, 8))
    np.testing.assert_array_equal(volume.read(box), voxels[(..., *box.slices)])


def test_a_time_point_has_to_be_chosen(tmp_path, make):
    voxels = make.noise((3, 2, 4, 6, 5))
    attributes = make.metadata("0.4", [make.axis(n) for n in "tczyx"], [[1] * 5])
    path = str(make.group(tmp_path / "x.zarr", "0.4", [voxels], attributes))
    with pytest.raises(ParameterError, match=r"3 places along the axis 't'.*--time N, 0 to 2"):
        open_volume(path)
    for time in range(3):
        np.testing.assert_array_equal(open_volume(path, time=time)[0].read(), voxels[time])
    with pytest.raises(ParameterError, match="--time goes from 0 to 2"):
        open_volume(path, time=3)


def test_another_axis_is_chosen_like_time(tmp_path, make):
    voxels = make.noise((2, 4, 6, 5))
    axes = [{"name": "angle", "type": "custom"}, *[make.axis(n) for n in "zyx"]]
    path = make.group(tmp_path / "x", "0.5", [voxels], make.metadata("0.5", axes, [[1] * 4]))
    with pytest.raises(ParameterError, match="'angle'"):
        open_volume(str(path))
    np.testing.assert_array_equal(open_volume(str(path), time=1)[0].read(), voxels[1])


def test_two_dimensions_read_as_one_plane(tmp_path, make):
    voxels = make.noise((3, 20, 30))
    attributes = make.metadata("0.4", [make.axis(n) for n in "cyx"], [[1, 0.5, 0.25]])
    path = make.group(tmp_path / "x", "0.4", [voxels], attributes)
    volume = open_volume(str(path))[0]
    np.testing.assert_array_equal(volume.read(), voxels[:, None])
    assert volume.voxel_size == (1.0, 0.5, 0.25)
    assert volume.chunks == (1, 8, 8)


@pytest.mark.parametrize("how", ["image-label", "folder"])
def test_labels_are_labels(how, tmp_path, make):
    folder = tmp_path / "x.zarr" / "labels" if how == "folder" else tmp_path
    attributes = make.metadata("0.4", [make.axis(n) for n in "zyx"], [[1, 1, 1]])
    if how == "image-label":
        attributes["image-label"] = {}
    path = make.group(folder / "cells", "0.4", [make.noise((8, 8, 8), "uint32")], attributes)
    assert open_volume(str(path))[0].kind == "labels"


def test_integers_elsewhere_are_an_image(image):
    assert open_volume(str(image[0]))[0].kind == "image"


def test_channels_get_different_names(tmp_path, make):
    omero = {"channels": [{"label": "GFP"}, {"label": "GFP"}]}
    axes = [make.axis(n) for n in "czyx"]
    attributes = make.metadata("0.4", axes, [[1] * 4], omero=omero)
    path = make.group(tmp_path / "x", "0.4", [make.noise((3, 4, 4, 4))], attributes)
    pyramid = open_volume(str(path))
    assert pyramid[0].channels == ("GFP", "GFP (1)", "channel 2")
    assert any("the array has 3" in problem.message for problem in pyramid.problems)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "bool", ">u2", ">f4"])
def test_element_types_come_out_native_and_unchanged(dtype, tmp_path, make):
    voxels = (make.noise((4, 6, 5)) % 2).astype(dtype)
    attributes = make.metadata("0.4", [make.axis(n) for n in "zyx"], [[1] * 3])
    path = make.group(tmp_path / "x", "0.4", [voxels], attributes)
    found = open_volume(str(path))[0].read()
    assert found.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, voxels)


def test_a_zip_archive_reads_like_its_folder(image, tmp_path):
    path, voxels, _ = image
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", path)
    with pytest.raises(FormatError, match=r"compressed members.*[Uu]npack"):
        open_volume(archive)
    import zipfile

    stored = tmp_path / "brain.ozx"
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as target:
        for file in path.rglob("*"):
            if file.is_file():
                target.write(file, file.relative_to(path))
    pyramid = open_volume(str(stored))
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert len(pyramid) == 2


def test_a_level_by_itself_names_its_image(image):
    path, voxels, _ = image
    paths = [p for p in ("0", "1", "s0", "scale0/image") if (path / p).is_dir()]
    for number, name in enumerate(paths):
        with pytest.raises(ParameterError, match="states no voxel size") as caught:
            open_volume(str(path / name))
        said = f"It is level {number} of the image {path}: open that, with --level {number}."
        assert said in str(caught.value)
    found = open_volume(str(path / paths[0]), voxel_size=(1, 1, 1))
    np.testing.assert_array_equal(found[0].read(), voxels)


def test_a_rotated_image_keeps_its_rotation(tmp_path, make):
    """0.6: array axis 0 (nominally z) runs along x."""
    voxels = make.noise((4, 6, 5))
    attributes = make.metadata("0.6", [make.axis(n) for n in "zyx"], [[1] * 3])
    step = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    step["transformations"] = [{"type": "rotation", "rotation": [[0, 0, -1], [0, 1, 0], [1, 0, 0]]}]
    path = make.group(tmp_path / "x", "0.6", [voxels], attributes)
    volume = open_volume(str(path))[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    np.testing.assert_array_equal(volume.affine([[1, 0, 0]])[0], [0, 0, 1])
    assert not volume.affine.is_grid
    with pytest.raises(ParameterError, match="turned against its space"):
        open_volume(str(path), voxel_size=(1, 1, 1))


# What the user says


def test_the_voxel_size_of_the_user_scales_all_levels(image):
    path, _, _ = image
    pyramid = open_volume(str(path), voxel_size=(1.0, 0.25, 0.5))
    assert [v.voxel_size for v in pyramid] == [(1, 0.25, 0.5), (2, 0.5, 1)]
    assert pyramid[1].affine.translation == (0.5, 0.125, 0.25)
    assert pyramid.metadata["user"] == {"voxel_size": (1.0, 0.25, 0.5)}


def test_a_voxel_size_that_nobody_stated(image, edit_json):
    path, voxels, version = image

    def forget(document):
        for dataset in image_in(document, version)["datasets"]:
            del dataset["coordinateTransformations"]

    edit_json(path / group_file(version), forget)
    with pytest.raises(MetadataError, match="states its scale"):
        open_volume(str(path))
    pyramid = open_volume(str(path), voxel_size=(3, 2, 1))
    assert len(pyramid) == 1
    assert pyramid[0].voxel_size == (3, 2, 1)
    np.testing.assert_array_equal(pyramid[0].read(), voxels)


# Missing and broken chunks


@pytest.mark.parametrize("sharded", [False, True])
def test_a_missing_chunk_is_fill_or_an_error(sharded, tmp_path, make):
    shards = (16, 16, 16) if sharded else None
    path, voxels = make.image(
        tmp_path / "x.zarr", "0.5", shape=(32, 32, 32), shards=shards, fill_value=7
    )
    (path / "0" / "c" / "1" / "1" / "1").unlink()
    size = 16 if sharded else 8
    gone = Box((size,) * 3, (2 * size,) * 3)
    volume = open_volume(str(path))[0]
    assert (volume.read(gone) == 7).all()
    strict = open_volume(str(path), strict=True)[0]
    kept = Box((0, 0, 0), (8, 32, 32))
    np.testing.assert_array_equal(strict.read(kept), voxels[kept.slices])
    with pytest.raises(FormatError, match=r"missing.*c/1/1/1.*--strict") as caught:
        strict.read(gone)
    assert f"{size}:{2 * size}" in str(caught.value)


@pytest.mark.parametrize("damage", ["half", "empty", "noise"])
@pytest.mark.parametrize("kind", ["0.4", "0.5", "0.5 sharded", "0.4 raw"])
def test_a_broken_chunk_names_file_and_voxels(damage, kind, tmp_path, make):
    version, _, more = kind.partition(" ")
    options = {"compressors": None} if more == "raw" else {}
    shards = (16, 16, 16) if more == "sharded" else None
    path, voxels = make.image(
        tmp_path / "x.zarr", version, shape=(32, 32, 32), shards=shards, **options
    )
    file = path / "0" / chunk(version, 1, 1, 1)
    data = file.read_bytes()
    if damage == "noise" and more == "raw":
        return  # any bytes are voxels
    file.write_bytes(
        {"half": data[: len(data) // 2], "empty": b"", "noise": b"\xff" * len(data)}[damage]
    )
    start = 16 if shards else 8
    volume = open_volume(str(path))[0]
    whole = Box((0, 0, 0), (8, 32, 32))
    np.testing.assert_array_equal(volume.read(whole), voxels[whole.slices])
    with pytest.raises(FormatError, match=r"broken.*1/1/1.*Restore") as caught:
        volume.read(Box((start,) * 3, (start + 8,) * 3))
    assert f"{start}:{start + 8}" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_chunk_that_unpacks_to_more_than_it_may(tmp_path):
    """10 MB of zeros in 10 kB, where the metadata say 512 bytes: unpacking stops there."""
    zarr.create_array(
        str(tmp_path / "a"), data=np.ones((8, 8, 8), "uint8"), zarr_format=2, compressors=GZip()
    )
    (tmp_path / "a" / "0.0.0").write_bytes(gzip.compress(b"\0" * 10**7))
    with pytest.raises(FormatError, match=r"broken.*0\.0\.0.*byte 512.*Restore"):
        open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1))[0].read()


# Broken metadata


@pytest.mark.parametrize(
    "content", [b"", b"   ", b"not json", b"[1, 2]", b'{"a": ', b"\xff\xfe\x00", b"3"]
)
@pytest.mark.parametrize("level", [False, True])
def test_a_document_that_is_no_json_object(content, level, image):
    path, _, version = image
    file = path / "0" / array_file(version) if level else path / group_file(version)
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"JSON.*(Restore|write it again)") as caught:
        open_volume(str(path))
    assert str(file) in str(caught.value)


def test_a_document_nested_without_end(image):
    path, _, version = image
    for depth in (100, 100_000):
        (path / group_file(version)).write_text('{"a": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(FormatError, match=r"nested (deeper|without end)"):
            open_volume(str(path))


def test_a_document_without_end(image):
    path, _, version = image
    with open(path / group_file(version), "wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(FormatError, match="larger than"):
        open_volume(str(path))


@pytest.mark.parametrize(
    "part", ["../other.zarr/0", "0/../../other.zarr/0", "/etc", "link", "s3://b/k"]
)
def test_a_level_never_leads_out_of_its_store(part, image, edit_json, make):
    path, _, version = image
    make.image(path.parent / "other.zarr", version)
    os.symlink(path.parent / "other.zarr" / "0", path / "link")

    def lead(document):
        image_in(document, version)["datasets"][0]["path"] = part

    edit_json(path / group_file(version), lead)
    with pytest.raises(StoreError, match=r"leads out|outside") as caught:
        open_volume(str(path))
    assert "by its own address" in str(caught.value)


def test_a_link_inside_the_store_is_fine(image):
    path, voxels, _ = image
    os.rename(path / "0", path / "real")
    os.symlink("real", path / "0")
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), voxels)


def test_a_level_that_is_not_there(image):
    path, _, _ = image
    shutil.rmtree(path / "1")
    with pytest.raises(NotFoundError, match=r"names the level '1'.*incomplete.*projectome ls"):
        open_volume(str(path))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda a: a[:4, :4, :4], "do not cover the field"),
        (lambda a: np.tile(a, (3, 1, 1)), "do not cover the field"),
        (lambda a: a.astype("float32"), "float32, those of level 0 uint16"),
        (lambda a: a[None], "has not the 3 axes"),
        (lambda a: a[0], "has not the 3 axes"),
    ],
)
def test_levels_that_disagree(wrong, text, image):
    path, _, version = image
    array = zarr.open_array(str(path / "1"), mode="r")[...]
    shutil.rmtree(path / "1")
    zarr.create_array(str(path / "1"), data=wrong(array), zarr_format=2 if version == "0.4" else 3)
    with pytest.raises(MetadataError, match=text) as caught:
        open_volume(str(path))
    assert "disagree" in str(caught.value)
    assert "zarr://" in str(caught.value)


def test_levels_with_other_channels(tmp_path, make):
    axes, scales = [make.axis(n) for n in "czyx"], [[1] * 4, [1, 2, 2, 2]]
    attributes = make.metadata("0.5", axes, scales, [[0] * 4, [0, 0.5, 0.5, 0.5]])
    levels = [make.noise((2, 8, 8, 8)), make.noise((3, 4, 4, 4))]
    path = make.group(tmp_path / "x", "0.5", levels, attributes)
    with pytest.raises(MetadataError, match=r"channels \(3,\), level 0 \(2,\)"):
        open_volume(str(path))


@pytest.mark.parametrize("odd", [(15, 25, 21), (17, 23, 19)])
@pytest.mark.parametrize("rounding", [np.floor, np.ceil])
def test_odd_edges_are_no_disagreement(odd, rounding, tmp_path, make):
    levels = [make.noise(odd)]
    for _ in range(3):
        levels.append(make.noise(tuple(int(max(1, rounding(n / 2))) for n in levels[-1].shape)))
    scales = [[2.0**k] * 3 for k in range(4)]
    shifts = [[(2.0**k - 1) / 2] * 3 for k in range(4)]
    attributes = make.metadata("0.5", [make.axis(n) for n in "zyx"], scales, shifts)
    path = make.group(tmp_path / "x", "0.5", levels, attributes)
    assert [v.shape for v in open_volume(str(path))] == [a.shape for a in levels]


@pytest.mark.parametrize("scale", [0, -1, 1e-9, 1e9])
def test_scales_that_are_not_believed(scale, image, edit_json):
    path, _, version = image

    def change(document):
        chain = image_in(document, version)["datasets"][0]["coordinateTransformations"]
        chain[0]["scale"][0] = scale

    edit_json(path / group_file(version), change)
    with pytest.raises(MetadataError, match=r"datasets\[0\].*(positive|not believed)"):
        open_volume(str(path))


@pytest.mark.parametrize("shape", [(), (5,), (2, 2, 2, 2, 2, 2)])
@pytest.mark.parametrize("version", VERSIONS)
def test_arrays_of_no_or_too_many_axes(shape, version, tmp_path):
    array = np.zeros(shape, "uint8")
    zarr.create_array(str(tmp_path / "a"), data=array, zarr_format=2 if version == "0.4" else 3)
    with pytest.raises(FormatError, match=r"two to five axes.*projectome ls"):
        open_volume(str(tmp_path / "a"), voxel_size=(1, 1, 1))


def change_array(edit_json, path, version, **changes):
    def change(document):
        for key, value in changes.items():
            if version == "0.5" and key == "chunks":
                document["chunk_grid"]["configuration"]["chunk_shape"] = value
            else:
                document[key] = value

    edit_json(path / "0" / array_file(version), change)


def test_chunks_that_no_memory_holds(image, edit_json):
    path, _, version = image
    change_array(edit_json, path, version, shape=[10**4] * 3, chunks=[10**4] * 3)
    with pytest.raises((FormatError, MetadataError), match=r"would not fit into memory"):
        open_volume(str(path / "0"), voxel_size=(1, 1, 1))


def test_shards_with_too_many_chunks(tmp_path, make, edit_json):
    path, _ = make.image(tmp_path / "x", "0.5", shards=(16, 16, 16))

    def change(document):
        document["shape"] = document["chunk_grid"]["configuration"]["chunk_shape"] = [2048] * 3
        document["codecs"][0]["configuration"]["chunk_shape"] = [8, 8, 8]

    edit_json(path / "0" / "zarr.json", change)
    with pytest.raises(FormatError, match="smaller shards"):
        open_volume(str(path / "0"), voxel_size=(1, 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|V4"},
        {"dtype": "<c16"},
        {"dtype": "nonsense"},
        {"zarr_format": 7},
        {"chunks": [0, 8, 8]},
        {"chunks": [8, 8]},
        {"shape": [-1, 2, 2]},
        {"shape": ["a", 2, 2]},
        {"compressor": {"id": "mystery"}},
    ],
)
def test_arrays_that_cannot_be_meant(changes, tmp_path, make, edit_json):
    path, _ = make.image(tmp_path / "x", "0.4")
    change_array(edit_json, path, "0.4", **changes)
    with pytest.raises(FormatError) as caught:
        open_volume(str(path))
    assert str(path / "0") in str(caught.value)
    if "compressor" in changes:
        assert "mystery" in str(caught.value)
        assert "Save it with blosc" in str(caught.value)


# Folders that are no image


def test_a_folder_without_volume(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "b.txt").write_text("x")
    (tmp_path / "notes" / "a.csv").write_text("x")
    with pytest.raises(FormatError, match=r"It holds: a\.csv, b\.txt.*projectome ls"):
        open_volume(str(tmp_path / "notes"))


def test_a_group_without_image(tmp_path, make):
    zarr.open_group(str(tmp_path / "g"), mode="w", zarr_format=2).create_array(
        "a", data=np.zeros(3)
    )
    with pytest.raises(FormatError, match=r"group without an image.*a\b.*projectome ls"):
        open_volume(str(tmp_path / "g"))


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"plate": {}}, "a plate"),
        ({"well": {}}, "a plate"),
        ({"labels": ["cells"]}, "open one: cells"),
    ],
)
def test_groups_of_images(attributes, text, tmp_path):
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(FormatError, match=text):
        open_volume(str(tmp_path))


def test_what_projectome_writes_beside_the_format_is_read(image, edit_json):
    """Kind, name and expansion of the space, and the hash of what made it."""
    path, _, version = image
    own = {"kind": "labels", "space": "gel", "expansion": 4.0, "provenance": "abc"}

    def add(document):
        (document if version == "0.4" else document["attributes"])["projectome"] = own

    edit_json(path / group_file(version), add)
    pyramid = open_volume(str(path))
    assert pyramid[0].kind == "labels"
    assert (pyramid.space.name, pyramid.space.expansion) == ("gel", 4.0)
    assert pyramid.metadata["projectome"] == own
    assert open_volume(str(path), expansion=2.0).space.expansion == 2.0


def test_an_unfinished_output_is_no_volume(tmp_path, image):
    """Whether its metadata stands already or not."""
    for path in (tmp_path / "new", image[0]):
        path.mkdir(exist_ok=True)
        (path / ".unfinished.json").write_text("{}")
        with pytest.raises(FormatError, match=r"not finished.*again"):
            open_volume(str(path))
