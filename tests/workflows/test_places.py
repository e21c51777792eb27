"""Regions and the midline as places in an image."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from projectome.atlas.lookup import region_at
from projectome.cli.main import main
from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.datasets.phantom import make_phantom
from projectome.errors import (
    OrientationUnknownError,
    ShapeError,
    SpaceMismatchError,
    UnknownNameError,
)
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.plots.mip import enlarged
from projectome.plots.profile import midline_figure
from projectome.plots.style import png_bytes
from projectome.workflows.places import (
    among,
    find_place,
    midline_profile,
    only_regions,
    outline,
    side_axis,
)

SHIFT = np.array([40.0, -24.0, 16.0])
SCAN = Space("scan", toward=("posterior", "inferior", "right"))


@pytest.fixture(scope="module")
def atlas():
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.fixture(scope="module")
def saved(atlas, shifted):
    """A registration that shifts by `SHIFT`."""
    return shifted(atlas, SCAN, 1.0, SHIFT)


@pytest.fixture(scope="module")
def scan(atlas, tmp_path_factory):
    """10 outside the corpus callosum, 200 in its left half and 300 in its right half."""
    labels = atlas.annotation.read()
    inside = among(labels, atlas.terminology.descendants("cc"))
    index = np.indices(labels.shape).reshape(3, -1).T
    right = atlas.midline.hemisphere(atlas.annotation.affine(index)).reshape(labels.shape) == 2
    grey = np.where(inside, np.where(right, 300, 200), 10).astype(np.uint16)
    start = np.array(atlas.annotation.affine.translation) - SHIFT
    volume = Volume.from_array(
        grey, voxel_size=atlas.annotation.voxel_size, translation=start, space=SCAN
    )
    path = tmp_path_factory.mktemp("places") / "scan.ome.zarr"
    write_volume(volume, str(path), levels=1)
    return VolumeSource(str(path))


def test_a_region_is_found_in_the_image(atlas, saved, scan):
    place = find_place(scan, atlas, ["cc"], registration=saved)
    whole = scan.open().read()
    expected = np.argwhere(whole >= 200)
    box = place.image.affine.translation - np.array(scan.open().affine.translation)
    first = np.rint(box / place.image.voxel_size).astype(int)
    last = first + place.image.shape
    assert (first <= expected.min(axis=0)).all()
    assert (last > expected.max(axis=0)).all()
    assert (expected.min(axis=0) - first).max() <= 2  # and hardly more than the region
    assert (last - expected.max(axis=0)).max() <= 3
    wide = find_place(scan, atlas, ["cc"], registration=saved, margin_um=50)
    assert (np.array(wide.image.shape) > place.image.shape).all()


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_outlines_surround_what_the_region_projects_to(atlas, saved, scan, axis):
    place = find_place(scan, atlas, ["cc"], registration=saved)
    bright = (place.image.read() >= 200).any(axis="zyx".index(axis))
    bright = bright.T if axis == "x" else bright
    drawn = enlarged(outline(place, axis), bright.shape)
    assert 2 * (drawn & bright).sum() / (drawn.sum() + bright.sum()) > 0.97


def test_only_voxels_of_the_region_are_left(atlas, saved, scan):
    place = find_place(scan, atlas, ["cc"], registration=saved, margin_um=30)
    values = only_regions(place).read()
    assert set(np.unique(values)) == {0, 200, 300}
    assert np.array_equal(values > 0, place.image.read() >= 200)


@pytest.mark.parametrize("space", ["image", "atlas"])
def test_the_profile_tells_left_from_right(atlas, saved, scan, space):
    place = find_place(scan, atlas, ["cc"], registration=saved)
    rows = midline_profile(place, space=space)
    left, right = (rows[rows["hemisphere"] == side] for side in (1, 2))
    assert (left["mean"] == 200).all()
    assert (right["mean"] == 300).all()
    assert (left["distance_um"] < 0).all()
    assert (right["distance_um"] >= 0).all()
    assert rows["voxels"].sum() == (scan.open().read() >= 200).sum()
    assert len(png_bytes(midline_figure(rows, title="cc"))) > 5000


def test_an_image_in_the_atlas_needs_no_registration(atlas, scan, tmp_path):
    here = replace(scan.open(), affine=atlas.annotation.affine)
    write_volume(here, str(tmp_path / "here.ome.zarr"), levels=1)
    place = find_place(VolumeSource(str(tmp_path / "here.ome.zarr")), atlas, ["cc"])
    rows = midline_profile(place, space="atlas")
    assert set(rows["mean"]) == {200, 300}
    index = np.argwhere(only_regions(place).read() > 0)
    ids = region_at(atlas, place.image.affine(index))
    assert np.isin(ids, atlas.terminology.descendants("cc")).all()


def test_places_that_are_not_there(atlas, saved, scan, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean"):
        find_place(scan, atlas, ["ccx"], registration=saved)
    tree = atlas.terminology
    bare = replace(
        atlas, annotation=replace(atlas.annotation.__class__.from_array(
            np.full((4, 4, 4), int(tree.ids[tree.row("HIP")])), voxel_size=(8, 8, 8),
            space=atlas.space, kind="labels",
        )), template=None,
    )  # fmt: skip
    with pytest.raises(ShapeError, match="cc has no voxel in"):
        find_place(scan, bare, ["cc"], registration=saved)
    far = replace(scan.open(), affine=Affine.from_scale([8] * 3, [9e4] * 3, target=SCAN))
    write_volume(far, str(tmp_path / "far.ome.zarr"), levels=1)
    with pytest.raises(ShapeError, match=r"outside .*far.ome.zarr"):
        find_place(VolumeSource(str(tmp_path / "far.ome.zarr")), atlas, ["cc"], registration=saved)
    other = replace(
        atlas, annotation=atlas.annotation.with_space(atlas.space.renamed("another")),
        template=None, midline=None,
    )  # fmt: skip
    with pytest.raises(SpaceMismatchError, match="Name the atlas that it was made with"):
        find_place(scan, other, registration=saved)
    with pytest.raises(OrientationUnknownError, match="has no midline plane"):
        midline_profile(find_place(scan, replace(atlas, midline=None), registration=saved))
    with pytest.raises(OrientationUnknownError, match="--orientation"):
        side_axis(scan.open().with_space(Space("scan")))


def test_the_command_line_draws_a_region_and_the_midline(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))
    small = make_phantom(size="tiny", neurons=1).atlas
    monkeypatch.setattr("projectome.workflows.atlas._phantom", lambda: small)
    write_volume(small.template, str(tmp_path / "t.ome.zarr"), levels=1)

    def call(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code or 0, capsys.readouterr()

    image, at = tmp_path / "t.ome.zarr", ("--atlas", "phantom")
    pictures = []
    for number, more in enumerate(((), ("--only",))):
        png = tmp_path / f"{number}.png"
        status, said = call("mip", image, *at, "--region", "cc,HIP", "--out", png, *more)
        assert status == 0, said.err
        pictures.append(np.asarray(Image.open(png).convert("RGB")))
    accent = (np.abs(pictures[0].astype(int) - (242, 177, 52)).sum(axis=2) < 30).sum()
    assert accent > 300  # the outline
    assert (pictures[1].sum(axis=2) == 0).sum() > (pictures[0].sum(axis=2) == 0).sum()
    status, said = call("profile", image, *at, "--space", "atlas", "--out", tmp_path / "p.csv")
    assert status == 0, said.err
    assert (tmp_path / "p.png").is_file()
    assert (tmp_path / "p.csv").read_text().startswith("distance_um,hemisphere,voxels,mean")
    status, said = call("mip", image, "--region", "cc", "--out", tmp_path / "n.png")
    assert status == 2
    assert "name it with --atlas" in said.err
    status, said = call("mip", image, *at, "--out", tmp_path / "n.png")
    assert "give one of the two" in said.err
