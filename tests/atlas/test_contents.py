"""Points and images in regions, against numpy."""

from dataclasses import replace

import numpy as np
import pytest
from toy_atlases import IDS, SPACE, toy_atlas, toy_labels

from projectome.atlas.contents import count_points, label_points, measure_image
from projectome.atlas.regions import region_table
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.core.volume import ArrayInMemory
from projectome.errors import ParameterError, ShapeError, SpaceMismatchError


def image_on(atlas, values, **change):
    return replace(atlas.annotation, array=ArrayInMemory(values),
                   kind="image", name="signal", **change)  # fmt: skip


def test_points_are_counted_by_region_hemisphere_and_level(atlas):
    rng = np.random.default_rng(0)
    points = Points(rng.uniform(-30, 500, (2000, 3)), SPACE)
    labelled = label_points(atlas, points)
    table = count_points(atlas, points, volumes=region_table(atlas)).set_index(
        ["region_id", "hemisphere"]
    )
    for region in IDS:
        inside = np.isin(labelled["region_id"], atlas.terminology.descendants(region))
        for side, sides in ((1, [1]), (2, [2]), (3, [1, 2])):
            expected = (inside & np.isin(labelled["hemisphere"], sides)).sum()
            row = table.loc[(region, side)] if (region, side) in table.index else None
            assert (0 if row is None else row["count"]) == expected
    assert table.loc[(0, 3), "count"] + table.loc[(997, 3), "count"] == 2000
    assert table.loc[(0, 3), "name"] == "outside"
    root = table.loc[(997, 3)]
    volume = region_table(atlas).volume_mm3("root")
    assert root["density_per_mm3"] == pytest.approx(root["count"] / volume)
    assert table["own_count"].groupby("hemisphere").sum()[3] == 2000


def test_points_of_another_space_are_refused(atlas):
    with pytest.raises(SpaceMismatchError, match="with the transform of a registration"):
        count_points(atlas, Points(np.zeros((1, 3)), Space("scan")))


@pytest.mark.parametrize("dtype", ["uint16", "float32", "bool", "int16"])
def test_images_are_summed_as_the_unionizes_define(dtype):
    atlas = toy_atlas()
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2 if dtype == "bool" else 100, atlas.annotation.shape).astype(dtype)
    threshold = 0.0 if dtype == "bool" else 60.0
    found = measure_image(atlas, image_on(atlas, values), threshold=threshold, workers=2)
    assert not found.problems
    table = found.table.set_index(["region_id", "hemisphere"])
    labels = atlas.annotation.read()
    x = atlas.annotation.affine([(0, 0, i) for i in range(labels.shape[2])])
    side_of = atlas.midline.hemisphere(x)
    for region in IDS:
        inside = np.isin(labels, atlas.terminology.descendants(region))
        for side, sides in ((1, [1]), (2, [2]), (3, [1, 2])):
            mine = values[inside & np.isin(side_of, sides)].astype(float)
            row, signal = table.loc[(region, side)], mine[mine > threshold]
            assert (row["voxels"], row["signal_voxels"]) == (len(mine), len(signal))
            assert row["sum"] == pytest.approx(mine.sum())
            assert row["mean"] == pytest.approx(mine.mean())
            assert row["max"] == mine.max()
            assert row["projection_volume_mm3"] == pytest.approx(len(signal) * 5000 / 1e9)
            assert row["projection_density"] == pytest.approx(len(signal) / len(mine))
            assert row["projection_intensity"] == pytest.approx(signal.sum() / len(signal))
            assert row["projection_energy"] == pytest.approx(
                row["projection_density"] * row["projection_intensity"]
            )


def test_nan_is_left_out_and_told():
    atlas = toy_atlas()
    values = np.ones(atlas.annotation.shape, np.float32)
    values[3] = np.nan
    found = measure_image(atlas, image_on(atlas, values))
    root = found.table.set_index(["region_id", "hemisphere"]).loc[(997, 3)]
    inside = (atlas.annotation.read()[3] != 0).sum()
    assert root["missing"] == inside
    assert root["sum"] == root["voxels"] - inside
    assert (root["mean"], root["projection_density"]) == (1, 1)
    assert f"{inside} voxels inside regions are NaN" in found.problems[0].message


def test_an_image_on_another_grid_is_refused(atlas):
    values = np.zeros(atlas.annotation.shape, np.uint8)
    with pytest.raises(ShapeError, match="Carry the image to the grid of the atlas first"):
        measure_image(atlas, image_on(atlas, values[:-1]))
    moved = atlas.annotation.affine.from_scale((25, 20, 10), (0, 0, 0), target=SPACE)
    with pytest.raises(ShapeError, match=r"from \(0.0, 0.0, 0.0\)"):
        measure_image(atlas, image_on(atlas, values, affine=moved))
    with pytest.raises(SpaceMismatchError):
        measure_image(atlas, image_on(atlas, values).with_space(Space("scan")))
    with pytest.raises(ParameterError, match="not NaN"):
        measure_image(atlas, image_on(atlas, values), threshold=float("nan"))


def test_an_empty_region_has_no_mean():
    labels = toy_labels()
    labels[labels == 507] = 0
    atlas = toy_atlas(labels)
    table = measure_image(atlas, image_on(atlas, np.ones(labels.shape, np.uint8))).table
    row = table[(table["region_id"] == 507) & (table["hemisphere"] == 3)].iloc[0]
    assert row["voxels"] == 0
    assert np.isnan(row[["mean", "max", "projection_density"]].astype(float)).all()
