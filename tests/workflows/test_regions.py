"""What lies in regions, from files to tables."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from projectome.atlas.contents import measure_image
from projectome.atlas.lookup import region_at
from projectome.cli.main import main
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.datasets.phantom import make_phantom
from projectome.errors import (
    FormatError,
    ParameterError,
    SpaceMismatchError,
    UnknownNameError,
)
from projectome.io.skeletons import write_skeletons
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.workflows.region_values import region_values
from projectome.workflows.regions import corner_of, region_contents
from projectome.workflows.register import _template

SHIFT = np.array([40.0, -24.0, 16.0])
SCAN = Space("scan", toward=("posterior", "inferior", "right"), expansion=2.0)


@pytest.fixture(scope="module")
def atlas():
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.fixture(scope="module")
def saved(atlas, shifted):
    """A registration of a gel of twice the size, shifted by `SHIFT`."""
    return shifted(atlas, SCAN, 0.5, SHIFT)


def places(atlas, count, seed=0):
    """Points inside regions."""
    labels = atlas.annotation.read()
    index = np.argwhere(labels > 0)
    rng = np.random.default_rng(seed)
    picked = index[rng.integers(0, len(index), count)]
    return atlas.annotation.affine(picked) + rng.uniform(-3, 3, (count, 3))


def write_csv(path, points, names=("z_um", "y_um", "x_um")):
    pd.DataFrame(points, columns=list(names)).to_csv(path, index=False)
    return VolumeSource(str(path))


def test_points_are_counted_where_they_lie(atlas, tmp_path):
    points = places(atlas, 200)
    done = region_contents(write_csv(tmp_path / "p.csv", points), atlas)
    root = done.table[done.table["depth"] == 0].set_index("hemisphere")["count"]
    right = int((atlas.midline.distance(points) >= 0).sum())
    assert root.to_dict()[3] == 200
    assert root.to_dict()[2] == right
    assert (np.asarray(done.points["region_id"]) == region_at(atlas, points)).all()
    assert not done.problems
    assert {"acronym", "hemisphere"} <= set(done.points.columns)


def test_coordinates_as_the_allen_writes_them(atlas, tmp_path):
    points = places(atlas, 50)
    theirs = (points - corner_of(atlas))[:, ::-1]
    source = write_csv(tmp_path / "p.csv", theirs)
    done = region_contents(source, atlas, ccf=True)
    assert (np.asarray(done.points["region_id"]) == region_at(atlas, points)).all()


def test_points_of_a_scan_pass_its_registration(atlas, saved, tmp_path):
    points = places(atlas, 60)
    source = write_csv(tmp_path / "p.csv", (points - SHIFT) * 2)
    done = region_contents(source, atlas, registration=saved)
    assert (np.asarray(done.points["region_id"]) == region_at(atlas, points)).all()
    with pytest.raises(ParameterError, match="Leave one of --with and --ccf out"):
        region_contents(source, atlas, registration=saved, ccf=True)


def test_much_outside_is_doubted(atlas, tmp_path):
    source = write_csv(tmp_path / "p.csv", places(atlas, 40) / 1000)  # millimetres
    (problem,) = region_contents(source, atlas).problems
    assert "of 40 points lie outside all regions" in problem.message
    assert "Check the unit" in problem.message


def test_cable_of_a_scan_counts_in_its_tissue(atlas, saved, tmp_path):
    middle = atlas.annotation.affine([np.asarray(atlas.annotation.shape) / 2])[0]
    ends = middle + np.array([(0, 0, -60), (0, 0, 60)])
    line = Skeleton((ends - SHIFT) * 2, [-1, 0], SCAN)
    write_skeletons([line], tmp_path / "n.swc")
    source = VolumeSource(str(tmp_path / "n.swc"))
    table = region_contents(source, atlas, registration=saved).table
    both = table[table["hemisphere"] == 3]
    assert both["own_length_tissue_um"].sum() == pytest.approx(120, rel=1e-6)
    assert "length_um" not in table
    assert set(table["hemisphere"]) == {1, 2, 3}


def test_an_image_is_measured_on_its_own_grid(atlas, saved, tmp_path):
    size = np.array(atlas.annotation.voxel_size)
    shape = np.array(atlas.annotation.shape)
    grey = np.random.default_rng(2).integers(0, 900, shape).astype(np.uint16)
    start = (np.array(atlas.annotation.affine.translation) - SHIFT) * 2
    volume = Volume.from_array(grey, voxel_size=2 * size, translation=start, space=SCAN)
    write_volume(volume, str(tmp_path / "gel.ome.zarr"), levels=1)
    source = VolumeSource(str(tmp_path / "gel.ome.zarr"), expansion=2.0)
    done = region_contents(source, atlas, registration=saved, threshold=500)
    here = Volume(volume.array, atlas.annotation.affine)
    expected = measure_image(atlas, here, threshold=500).table
    pd.testing.assert_frame_equal(done.table, expected, check_exact=False, rtol=1e-9)

    write_volume(here, str(tmp_path / "here.ome.zarr"), levels=1)
    inside = region_contents(VolumeSource(str(tmp_path / "here.ome.zarr")), atlas, threshold=500)
    pd.testing.assert_frame_equal(inside.table, expected)


def test_an_image_of_another_grid_and_corner(atlas, tmp_path):
    """Voxels twice as large whose outer corner is the atlas's: a plain TIFF of the atlas."""
    size = 2 * np.array(atlas.annotation.voxel_size)
    ones = np.ones(np.array(atlas.annotation.shape) // 2, np.uint8)
    write_volume(Volume.from_array(ones, voxel_size=size), str(tmp_path / "a.ome.zarr"), levels=1)
    done = region_contents(VolumeSource(str(tmp_path / "a.ome.zarr")), atlas, ccf=True)
    root = done.table[(done.table["depth"] == 0) & (done.table["hemisphere"] == 3)]
    labels = atlas.annotation.read()
    even = labels[tuple(slice(1, 2 * n, 2) for n in ones.shape)]  # at the corner of eight voxels
    assert int(root["voxels"].iloc[0]) == int((even > 0).sum())


def test_what_lies_elsewhere_is_refused(atlas, saved, tmp_path):
    far = Volume.from_array(
        np.ones((4, 4, 4), np.uint8), voxel_size=(8, 8, 8), translation=(-9e4,) * 3
    )
    write_volume(far, str(tmp_path / "far.ome.zarr"), levels=1)
    with pytest.raises(SpaceMismatchError, match=r"No voxel of .* lies in a region"):
        region_contents(VolumeSource(str(tmp_path / "far.ome.zarr")), atlas)
    turned = Space("scan", toward=("anterior", "inferior", "right"))
    other = Volume.from_array(np.ones((4, 4, 4), np.uint8), voxel_size=(8, 8, 8), space=turned)
    write_volume(other, str(tmp_path / "turned.ome.zarr"), levels=1)
    with pytest.raises(SpaceMismatchError, match="--with DIR"):
        region_contents(VolumeSource(str(tmp_path / "turned.ome.zarr")), atlas)
    gel = VolumeSource(str(tmp_path / "far.ome.zarr"), expansion=4.0)
    with pytest.raises(SpaceMismatchError, match="4 times those of the tissue"):
        region_contents(gel, atlas)


def test_nothing_gives_an_empty_table(atlas, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("projectome.workflows.atlas._phantom", lambda: atlas)
    (tmp_path / "none.csv").write_text("id,z_um,y_um,x_um\n")
    done = region_contents(VolumeSource(str(tmp_path / "none.csv")), atlas)
    assert not len(done.table)
    assert not done.problems
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FormatError, match=r"empty\.csv"):
        region_contents(VolumeSource(str(tmp_path / "empty.csv")), atlas)
    with pytest.raises(SystemExit) as left:
        main(
            [
                "atlas",
                "measure",
                "phantom",
                str(tmp_path / "none.csv"),
                "--out",
                str(tmp_path / "t.csv"),
            ]
        )
    assert not left.value.code
    assert "0 rows" in capsys.readouterr().err


def test_nan_in_an_image_is_told(atlas, tmp_path):
    grey = np.full(atlas.annotation.shape, 5.0, np.float32)
    index = tuple(np.argwhere(atlas.annotation.read() > 0)[0])
    grey[index] = np.nan
    here = Volume.from_array(grey, voxel_size=atlas.annotation.voxel_size)
    here = Volume(here.array, atlas.annotation.affine)
    write_volume(here, str(tmp_path / "nan.ome.zarr"), levels=1)
    done = region_contents(VolumeSource(str(tmp_path / "nan.ome.zarr")), atlas)
    assert "1 voxels inside regions are NaN" in done.problems[0].message
    assert done.table["mean"].max() == 5


def test_a_scan_is_not_registered_with_labels_alone(atlas):
    with pytest.raises(ParameterError, match="has no template"):
        _template(replace(atlas, template=None))


def test_values_of_regions_come_out_of_any_table(atlas):
    tree = atlas.terminology
    ids = [int(tree.ids[tree.row(a)]) for a in ("RSP", "HIP")]
    both = pd.DataFrame({"region_id": [*ids, 0], "hemisphere": 3, "count": [4, 2, 9]})
    assert region_values(both, "count", atlas)[0] == {ids[0]: 4.0, ids[1]: 2.0}
    named = pd.DataFrame({"acronym": ["RSP", "RSP"], "mm": [1.0, 3.0]})
    with pytest.raises(ParameterError, match="--of sum, mean or max"):
        region_values(named, "mm", atlas)
    assert region_values(named, "mm", atlas, how="mean")[0] == {ids[0]: 2.0}
    sided = pd.DataFrame({"region_id": [ids[0]] * 2, "hemisphere": [1, 2], "count": [1, 7]})
    assert region_values(sided, "count", atlas, sides=True) == ({ids[0]: 1.0}, {ids[0]: 7.0})


@pytest.mark.parametrize(
    ("table", "error", "told"),
    [
        ({"region_id": [123], "n": [1]}, UnknownNameError, "Unknown region '123'"),
        ({"acronym": ["RSPx"], "n": [1]}, UnknownNameError, "Did you mean 'RSP'"),
        ({"acronym": ["RSP"], "m": [1]}, FormatError, "has no column 'n'"),
        ({"place": [1], "n": [1]}, FormatError, "does not name regions"),
        ({"region_id": [1.5], "n": [1]}, FormatError, "ids are integers"),
        ({"region_id": [2.0**60], "n": [1]}, FormatError, "above 2\\^53"),
        ({"region_id": [], "n": []}, FormatError, "has no rows"),
        ({"acronym": ["RSP"], "n": ["many"]}, FormatError, "not all numbers"),
    ],
)
def test_tables_that_cannot_be_drawn(atlas, table, error, told):
    with pytest.raises(error, match=told):
        region_values(pd.DataFrame(table), "n", atlas)


def test_the_command_line_measures_and_draws(atlas, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("projectome.workflows.atlas._phantom", lambda: atlas)
    write_csv(tmp_path / "p.csv", places(atlas, 30))
    table, each, png = (tmp_path / name for name in ("t.csv", "e.parquet", "h.png"))

    def call(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code or 0, capsys.readouterr()

    status, said = call(
        "atlas", "measure", "phantom", tmp_path / "p.csv", "--out", table, "--each", each, "--json"
    )
    assert status == 0
    assert json.loads(said.out)["kind"] == "points"
    assert len(pd.read_parquet(each)) == 30
    status, said = call("atlas", "heatmap", "phantom", table, "--sides", "--out", png)
    assert status == 0, said.err
    assert png.read_bytes().startswith(b"\x89PNG")
    status, said = call("atlas", "heatmap", "phantom", table, "--column", "n", "--out", png)
    assert status == 2
    assert "--overwrite" in said.err
