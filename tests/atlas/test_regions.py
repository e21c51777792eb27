"""One pass over an annotation against counting with numpy, region by region."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_atlases import IDS, SPACE, toy_atlas, toy_labels

from projectome.atlas.kept import kept_region_table, table_key
from projectome.atlas.regions import find_region, region_table, roll_up
from projectome.core.atlas import Plane
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError, UnknownNameError
from projectome.io.open import open_volume
from projectome.io.volumes.write import write_volume


def by_hand(atlas, region, sides):
    """Voxels of a region with its children in some hemispheres, as indices."""
    labels = atlas.annotation.read()
    inside = np.isin(labels, atlas.terminology.descendants(region))
    places = np.argwhere(inside)
    # A centre on the plane belongs to the right, whatever its last digit says.
    distance = atlas.midline.distance(atlas.annotation.affine(places))
    side = np.where(distance < -1e-9, 1, 2)
    return places[np.isin(side, sides)]


@pytest.mark.parametrize("shape", [(20, 16, 18), (5, 7, 23), (1, 1, 1), (9, 2, 17)])
@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint64", "int32"])
def test_voxels_centroids_and_boxes_are_those_of_numpy(shape, dtype):
    atlas = toy_atlas(toy_labels(shape, dtype=dtype))
    frame = region_table(atlas, workers=2).frame().set_index(["region_id", "hemisphere"])
    grid = atlas.annotation.affine
    half = np.asarray(grid.voxel_size) / 2
    for region in IDS:
        for side, sides in ((1, [1]), (2, [2]), (3, [1, 2])):
            places, row = by_hand(atlas, region, sides), frame.loc[(region, side)]
            assert row["voxels"] == len(places)
            assert row["volume_mm3"] == pytest.approx(len(places) * 25 * 20 * 10 / 1e9, rel=1e-12)
            if not len(places):
                assert row[["z_um", "z0_um", "x1_um"]].isna().all()
                continue
            np.testing.assert_allclose(
                row[["z_um", "y_um", "x_um"]].astype(float), grid(places).mean(axis=0), atol=1e-9
            )
            low, high = grid(places.min(axis=0)[None])[0], grid(places.max(axis=0)[None])[0]
            box = row[["z0_um", "y0_um", "x0_um", "z1_um", "y1_um", "x1_um"]].astype(float)
            np.testing.assert_allclose(box, [*(low - half), *(high + half)], atol=1e-9)


def test_parents_are_their_children_and_their_own_voxels(atlas):
    table = region_table(atlas)
    frame = table.frame().query("hemisphere == 3").set_index("region_id")
    for region, row in frame.iterrows():
        children = frame[frame["parent_id"] == region]
        assert row["voxels"] == row["own_voxels"] + children["voxels"].sum()
    assert frame.loc[997, "voxels"] == np.count_nonzero(atlas.annotation.read())


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("offset", [-55.0, 0.0, 12.5, 25.0, 1e5])
def test_any_plane_parts_voxels_by_their_centres(angle, offset):
    atlas = toy_atlas()
    normal = np.array([0.2, np.sin(angle), np.cos(angle)])
    middle = atlas.annotation.affine([(9, 8, 8)])[0] + offset
    atlas = replace(atlas, midline=Plane(middle, normal, SPACE))
    table = region_table(atlas)
    for region in IDS:
        for side in (1, 2):
            expected = len(by_hand(atlas, region, [side]))
            assert table.voxels[atlas.terminology.row(region), side] == expected


def test_voxels_on_the_midline_are_right():
    labels = np.full((2, 2, 5), 997, np.uint32)
    table = region_table(toy_atlas(labels))
    assert table.voxels[0].tolist() == [0, 8, 12]


def test_hemispheres_voxel_by_voxel():
    labels = toy_labels()
    halves = np.random.default_rng(1).integers(0, 3, labels.shape).astype(np.uint8)
    atlas = toy_atlas(labels, midline=None)
    volume = Volume.from_array(
        halves, voxel_size=(25.0, 20.0, 10.0), translation=(5.0, 0.0, -3.0), space=SPACE
    )
    table = region_table(replace(atlas, hemispheres=volume))
    for region in IDS:
        mine = halves[np.isin(labels, atlas.terminology.descendants(region))]
        row = atlas.terminology.row(region)
        assert table.voxels[row].tolist() == np.bincount(mine, minlength=3).tolist()
    shifted = replace(volume, affine=atlas.annotation.affine.from_scale((1, 1, 1), target=SPACE))
    with pytest.raises(ShapeError, match="on another grid"):
        region_table(replace(atlas, hemispheres=shifted))


def test_without_hemispheres_no_side_is_made_up():
    table = region_table(toy_atlas(midline=None))
    frame = table.frame()
    assert set(frame["hemisphere"]) == {0}
    assert table.volume_mm3("CTX") == region_table(toy_atlas()).volume_mm3("CTX")
    with pytest.raises(ParameterError, match="of an atlas that knows them"):
        table.volume_mm3("CTX", 1)


def test_labels_without_a_region_are_told_and_in_none():
    labels = toy_labels()
    labels[0, 0, :5] = 4_000_000_000
    table = region_table(toy_atlas(labels))
    assert "5 voxels" in table.problems[0].message
    assert "4000000000" in table.problems[0].message
    assert table.voxels[0].sum() == np.isin(labels, IDS).sum()


def test_memory_and_workers_change_nothing():
    labels = toy_labels((60, 50, 40))
    tables = [
        region_table(toy_atlas(labels), workers=w, memory=m)
        for w, m in ((1, "1GB"), (3, "1GB"), (2, "100kB"))
    ]
    for name in ("voxels", "places", "low", "high"):
        first, *rest = (getattr(table.own, name) for table in tables)
        assert all((first == other).all() for other in rest)


@given(st.lists(st.integers(-100, 100), min_size=6, max_size=6))
def test_sums_go_up_the_tree(values):
    tree = toy_atlas().terminology
    total = roll_up(np.array(values), tree)
    for row, region in enumerate(IDS):
        assert total[row] == sum(np.array(values)[tree.rows_below(region)])


def test_regions_are_found_by_acronym_id_and_name(atlas):
    tree = atlas.terminology
    for text in ("RSP", 312782546, "312782546", "the rsp", np.int64(312782546)):
        assert find_region(tree, text, where="toy") == 2
    with pytest.raises(UnknownNameError) as caught:
        find_region(tree, "RSPP", where="toy")
    told = "Unknown region 'RSPP' in toy. Did you mean 'RSP'? "
    assert str(caught.value) == told + "List all with: projectome atlas regions toy"
    with pytest.raises(UnknownNameError, match="Unknown region '5000'"):
        find_region(tree, 5000, where="toy")
    with pytest.raises(ParameterError, match="floating point loses digits"):
        find_region(tree, 997.0, where="toy")


def stored(folder, labels):
    volume = Volume.from_array(
        labels, voxel_size=(25.0, 20.0, 10.0), space=SPACE, kind="labels", name="toy"
    )
    write_volume(volume, str(folder), levels=1, chunks=8)
    made = toy_atlas(labels)
    annotation = replace(open_volume(str(folder))[0], kind="labels").with_space(SPACE)
    return replace(made, annotation=annotation)


def test_tables_are_kept_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    atlas = stored(tmp_path / "a.zarr", toy_labels())
    first = kept_region_table(atlas)
    files = list((tmp_path / "cache" / "regions").glob("*.npz"))
    assert len(files) == 1
    monkeypatch.setattr("projectome.atlas.kept.region_table", None)
    again = kept_region_table(atlas)
    assert again.frame().equals(first.frame())
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    annotation = replace(open_volume(str(tmp_path / "b.zarr"))[0], kind="labels")
    moved = replace(atlas, annotation=annotation.with_space(SPACE))
    assert table_key(moved) == table_key(atlas)
    assert table_key(stored(tmp_path / "c.zarr", toy_labels(seed=1))) != table_key(atlas)
    assert table_key(replace(atlas, midline=None)) != table_key(atlas)
    monkeypatch.undo()
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    for broken in (b"", b"not a zip", files[0].read_bytes()[:300]):
        files[0].write_bytes(broken)
        assert kept_region_table(atlas).frame().equals(first.frame())


def test_absent_chunks_are_not_read(tmp_path, monkeypatch):
    labels = np.zeros((32, 32, 32), np.uint32)
    labels[:8, :8, :8] = 500
    atlas = stored(tmp_path / "a.zarr", labels)
    for folder in (tmp_path / "a.zarr" / "0").glob("[1-3]"):
        shutil.rmtree(folder)
    array, read = type(atlas.annotation.array), []
    plain = array.read
    monkeypatch.setattr(array, "read", lambda s, i: read.append(i) or plain(s, i))
    table = region_table(atlas, memory="20kB", workers=1)
    assert table.voxels[0].sum() == 512
    assert sum(np.prod([s.stop - s.start for s in i]) for i in read) <= 16 * 512
