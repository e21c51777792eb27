"""Atlases in the public layout: both generations, broken copies, offline."""

import json
import pickle
import shutil

import numpy as np
import pytest
from toy_atlases import IDS, toy_labels, write_tree

from projectome.atlas.brainglobe import mesh_ids, open_brainglobe
from projectome.atlas.bucket import atlas_tree, list_atlases
from projectome.atlas.regions import region_table
from projectome.errors import (
    FormatError,
    MetadataError,
    NotFoundError,
    ProjectomeError,
    StoreError,
    UnknownNameError,
)
from projectome.io.access import Access
from projectome.workflows.atlas import known_atlases, open_atlas


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("key", ["value", "direction"])
@pytest.mark.parametrize("old", [False, True])
def test_both_generations_are_read(tmp_path, key, old):
    root = write_tree(tmp_path / "tree", key=key, old=old)
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert atlas.annotation.kind == "labels"
    assert (atlas.annotation.read() == toy_labels()).all()  # and never the stack of masks
    assert atlas.space.toward == ("posterior", "inferior", "left")
    assert atlas.space.name == "toy-space"
    assert atlas.terminology.ids.tolist() == IDS
    assert atlas.template.read().max() == 300
    # The centre of voxel 0 lies at 0, and levels share the outer corner.
    assert atlas.annotation.affine.translation == (0, 0, 0)
    assert atlas.coarser[0].affine.translation == pytest.approx((50, 50, 50))
    assert atlas.coarser[0].voxel_size == pytest.approx((200, 200, 200))
    assert bool(atlas.problems) == old  # the older states no positions
    assert atlas.at(voxel_size=250).annotation.shape == (10, 8, 9)


def test_the_midline_is_where_the_hemispheres_part(tmp_path):
    source = atlas_tree(str(write_tree(tmp_path / "tree")))
    atlas = open_brainglobe("toy_mouse_100um", source)
    halves = source.volume("annotation-sets/toy-annotation/3_0/hemispheres.ome.zarr")[0].read()
    centres = atlas.annotation.affine(np.argwhere(np.ones(halves.shape)))
    assert (atlas.midline.hemisphere(centres) == halves.ravel()).all()


def test_hemispheres_of_an_atlas_that_is_not_symmetric(tmp_path):
    root = write_tree(tmp_path / "tree", symmetric=False)
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    plain = open_brainglobe("toy_mouse_100um", atlas_tree(str(write_tree(tmp_path / "other"))))
    assert atlas.midline is None
    assert (region_table(atlas).voxels == region_table(plain).voxels).all()
    shutil.rmtree(root / "annotation-sets/toy-annotation/3_0/hemispheres.ome.zarr")
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert any("they are not known" in problem.message for problem in atlas.problems)


@pytest.mark.parametrize("name", ["toy_mouse_100um", "toy_mouse_100.0um"])
def test_names_with_and_without_a_fraction(tmp_path, name):
    root = write_tree(tmp_path / "tree", name="toy_mouse_100.0um")
    assert open_brainglobe(name, atlas_tree(str(root))).annotation.shape == (20, 16, 18)


def test_addresses_of_an_atlas(tmp_path):
    root = write_tree(tmp_path / "home" / "brainglobe-atlasapi")
    for place in (root, root.parent, root / "atlases" / "toy_mouse_100um",
                  root / "atlases" / "toy_mouse_100um" / "3_0"):  # fmt: skip
        assert open_atlas(str(place)).annotation.shape == (20, 16, 18)
    (root / "atlases" / "last_versions.conf").unlink()
    assert open_atlas(str(root)).metadata["version"] == "3.0"
    assert [a.name for a in known_atlases(str(root))[0]] == ["toy_mouse_100um"]
    with pytest.raises(UnknownNameError, match="Did you mean 'toy_mouse_100um'"):
        open_atlas(str(root / "atlases" / "toy_mouse_10um"))
    (root / "atlases" / "other_50um" / "3_0").mkdir(parents=True)
    with pytest.raises(ProjectomeError, match=r"holds 2 atlases. Choose one: .*other_50um"):
        open_atlas(str(root))
    with pytest.raises(FormatError, match="holds no atlas"):
        open_atlas(str(tmp_path))


def test_an_atlas_without_a_template(tmp_path):
    root = write_tree(tmp_path / "tree")
    shutil.rmtree(root / "templates")
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert atlas.template is None
    assert "template" in atlas.problems[0].where


def test_the_level_of_the_name_is_taken(tmp_path):
    root = write_tree(tmp_path / "tree", resolution=[[200.0] * 3], shape=[10, 8, 9])
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert atlas.annotation.shape == (10, 8, 9)
    assert not atlas.problems
    root = write_tree(tmp_path / "other", resolution=[10.0, 10.0, 10.0])
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert "its finest level is taken" in atlas.problems[0].message


def edit(root, change):
    place = root / "atlases" / "toy_mouse_100um" / "3_0" / "manifest.json"
    manifest = json.loads(place.read_text())
    change(manifest)
    place.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda m: m.update(orientation="asl"), MetadataError, "contradict one another about left"),
        (lambda m: m.update(orientation="xyz"), MetadataError, "The orientation in"),
        (lambda m: m.pop("terminology"), MetadataError, "does not say where the terminology lies"),
        (lambda m: m["annotation_set"].update(location="/../../x"), StoreError, "leads out of it"),
        (lambda m: m["annotation_set"].update(location="/nowhere"), NotFoundError, "has none of"),
        (lambda m: m.update(terminology=3), MetadataError, "terminology"),
    ],
)
def test_broken_manifests(tmp_path, change, error, told):
    root = write_tree(tmp_path / "tree")
    edit(root, change)
    with pytest.raises(error, match=told):
        open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))


def test_only_the_stack_of_masks_is_no_annotation(tmp_path):
    root = write_tree(tmp_path / "tree")
    sets = root / "annotation-sets" / "toy-annotation" / "3_0"
    shutil.rmtree(sets / "annotations_compressed.ome.zarr")
    with pytest.raises(NotFoundError, match=r"none of annotations_compressed.ome.zarr"):
        open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    (sets / "annotations.ome.zarr").rename(sets / "annotations_compressed.ome.zarr")
    with pytest.raises(FormatError, match="may be the stack of masks"):
        open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))


def test_a_download_that_was_broken_off_is_seen(tmp_path):
    """Missing chunks would read as background; a level that is all there shows it."""
    root = write_tree(tmp_path / "tree")
    level = root / "annotation-sets/toy-annotation/3_0/annotations_compressed.ome.zarr/s0/c"
    whole = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    shutil.rmtree(level / "1" / "0")
    with pytest.raises(FormatError, match=r"3 chunks are missing .* Fetch it again, or open the"):
        open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert whole.annotation.shape == (20, 16, 18)


def test_background_need_not_be_stored(tmp_path):
    labels = toy_labels()
    labels[8:16] = 0
    root = write_tree(tmp_path / "tree", labels=labels)
    stored = root / "annotation-sets/toy-annotation/3_0/annotations_compressed.ome.zarr/s0/c"
    assert not (stored / "1").exists()
    atlas = open_brainglobe("toy_mouse_100um", atlas_tree(str(root)))
    assert (atlas.annotation.read() == labels).all()


def test_meshes_with_an_index_are_listed(tmp_path):
    root = write_tree(tmp_path / "tree")
    source = atlas_tree(str(root))
    atlas = open_brainglobe("toy_mouse_100um", source)
    assert mesh_ids(atlas, source) == ()
    folder = root / "annotation-sets/toy-annotation/3_0/annotations.precomputed/mesh"
    folder.mkdir(parents=True)
    for name, content in (("997", b"x"), ("997.index", b"i"), ("8", b"x"), ("8.index", b""),
                          ("info", b"{}")):  # fmt: skip
        (folder / name).write_bytes(content)
    assert mesh_ids(atlas, source) == (997,)


@pytest.fixture
def bucket(tmp_path, serving_buckets):
    root = write_tree(tmp_path / "buckets" / "brainglobe" / "atlas")
    with serving_buckets(root.parents[1]) as served:
        yield served, root


@pytest.mark.server
def test_a_bucket_is_asked_once_and_then_not_at_all(bucket, tmp_path):
    served, _ = bucket
    access = Access(endpoint=served.endpoint, region="us-east-1")
    source = atlas_tree("s3://brainglobe/atlas", access=access)
    assert [(a.name, a.kept) for a in list_atlases(source)] == [("toy_mouse_100um", False)]
    atlas = open_brainglobe("toy_mouse_100um", source)
    asked = [line for line in served.asked if "/c/" in line]
    assert not asked, "opening reads no voxel"
    part = atlas.annotation.array.read((slice(0, 3), slice(0, 3), slice(0, 3)))
    assert (part == toy_labels()[:3, :3, :3]).all()
    chunks = [line for line in served.asked if "/c/" in line and "list-type" not in line]
    assert len([line for line in chunks if "annotations_compressed" in line]) <= 2
    first = region_table(atlas)
    assert list_atlases(source)[0].kept
    served.asked.clear()
    again = open_brainglobe("toy_mouse_100um", source)
    assert (again.annotation.read() == toy_labels()).all()
    assert all("last_versions.conf" in line for line in served.asked)
    offline = atlas_tree(
        "s3://brainglobe/atlas", access=Access(endpoint=served.endpoint, region="us-east-1")
    )
    copy = pickle.loads(pickle.dumps(open_brainglobe("toy_mouse_100um", offline)))  # noqa: S301
    assert (region_table(copy).voxels == first.voxels).all()


@pytest.mark.server
def test_offline_after_first_use(tmp_path, serving_buckets):
    root = write_tree(tmp_path / "buckets" / "brainglobe" / "atlas")
    with serving_buckets(root.parents[1]) as served:
        access = Access(endpoint=served.endpoint, region="us-east-1")
        source = atlas_tree("s3://brainglobe/atlas", access=access)
        first = open_brainglobe("toy_mouse_100um", source)
        whole = first.annotation.read()
    shutil.rmtree(root)
    again = open_brainglobe("toy_mouse_100um", atlas_tree("s3://brainglobe/atlas", access=access))
    assert (again.annotation.read() == whole).all()
    with pytest.raises(StoreError):
        again.template.read()


@pytest.mark.server
@pytest.mark.parametrize("damage", ["removed", "cut off", "emptied", "listing"])
def test_what_is_missing_of_a_copy_is_fetched_again(bucket, damage):
    served, _ = bucket
    access = Access(endpoint=served.endpoint, region="us-east-1")
    source = atlas_tree("s3://brainglobe/atlas", access=access)
    atlas = open_brainglobe("toy_mouse_100um", source)
    atlas.annotation.read()
    files = [
        f for f in source.folder.rglob("annotations_compressed.ome.zarr/s0/c/**/*") if f.is_file()
    ]
    assert len(files) > 4
    victim = files[3]
    if damage == "removed":
        victim.unlink()
    elif damage == "cut off":
        victim.write_bytes(victim.read_bytes()[:10])
    elif damage == "emptied":
        shutil.rmtree(files[0].parents[2])
    else:
        (next(source.folder.rglob("s0/.listing.json"))).write_bytes(b"{")
    again = open_brainglobe("toy_mouse_100um", source)
    assert (again.annotation.read() == toy_labels()).all()
