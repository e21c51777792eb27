"""Pictures of atlases show the right region at the right place."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from toy_atlases import toy_atlas

from projectome.core.volume import ArrayInMemory
from projectome.datasets.phantom import make_phantom
from projectome.errors import OrientationUnknownError, ParameterError, UnknownNameError
from projectome.plots.heatmaps import _known, heatmap_figure
from projectome.plots.regions import (
    atlas_slice,
    level_rows,
    outlines,
    readable_colours,
    slice_figure,
)
from projectome.plots.style import png_bytes


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure, dpi=100))).convert("RGB"))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_slice_is_that_of_the_labels(axis):
    atlas = toy_atlas()
    place = "zyx".index(axis)
    for index in (0, 3, atlas.annotation.shape[place] - 1):
        at = atlas.annotation.affine([np.eye(3)[place] * index])[0][place]
        seen = atlas_slice(atlas, axis, at)
        plane = atlas.annotation.read().take(index, place)
        plane = plane.T if axis == "x" else plane
        ids = np.append(atlas.terminology.ids, 0)
        assert (ids[seen.rows] == plane).all()
    left, right, bottom, top = seen.extent
    assert right > left
    assert bottom > top


def test_a_plane_beside_the_atlas():
    with pytest.raises(ParameterError, match=r"reaches from -7.5 um to 492.5 um along z"):
        atlas_slice(toy_atlas(), "z", 500)


def test_equal_slices_have_equal_bytes_and_show_regions(phantom):
    first, second = (png_bytes(slice_figure(phantom, "z", width=5)) for _ in range(2))
    assert first == second
    full = pixels(slice_figure(phantom, "z", names=False, width=5)).astype(int)
    none = pixels(slice_figure(phantom, "z", regions=["CB"], names=False, width=5)).astype(int)
    assert (np.abs(full - none).sum(axis=2) > 30).mean() > 0.2


def test_without_a_template(phantom):
    bare = toy_atlas()
    assert pixels(slice_figure(bare, "x", width=4)).std() > 5
    assert bare.template is None


def test_the_tree_can_be_shown_coarser():
    tree = toy_atlas().terminology
    assert [tree.acronyms[row] for row in level_rows(tree, 1)] == [
        "root", "CTX", "CTX", "CTX", "TH", "TH"
    ]  # fmt: skip
    assert level_rows(tree, None).tolist() == list(range(6))


def test_colours_can_be_told_from_the_ground_and_from_text(phantom):
    colours = readable_colours(phantom.terminology)
    light = colours.max(axis=1)
    assert light.min() > 0.35
    assert colours.min(axis=1).max() < 0.85


def test_outlines_lie_between_regions():
    rows = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert outlines(rows).tolist() == [[False, True, False], [True, True, True], [False] * 3]


def test_a_heatmap_colours_by_value_and_children_take_it(phantom):
    ids = phantom.terminology
    low, high = int(ids.ids[ids.row("Isocortex")]), int(ids.ids[ids.row("HIP")])
    figure = heatmap_figure(phantom, {low: 1.0, high: 5.0}, label="cells", title="Cells")
    image = pixels(figure).reshape(-1, 3).astype(int)
    assert (np.abs(image - (253, 231, 37)).sum(axis=1) < 9).sum() > 200  # the end of viridis
    with pytest.raises(UnknownNameError, match="Unknown region '123456789'"):
        heatmap_figure(phantom, {123456789: 1.0})
    with pytest.raises(ParameterError, match="There is no value to draw"):
        heatmap_figure(phantom, {low: float("nan")})


def test_a_region_with_valued_parts_shows_these_and_nothing_for_the_others():
    atlas = toy_atlas()
    tree = atlas.terminology
    ids = dict(zip(tree.acronyms, tree.ids.tolist(), strict=True))
    known, owners = _known(tree, [{ids["root"]: 9.0, ids["CTX"]: 7.0, ids["MO"]: 3.0}])
    shown = {a: known[0, row] for row, a in enumerate(tree.acronyms) if owners[row] >= 0}
    assert shown == {"MO": 3.0}  # not the 7 of CTX for its other part, not the 9 of root for TH
    known, owners = _known(tree, [{ids["root"]: 9.0}])
    assert (known == 9).all()


def test_left_and_right_have_values_of_their_own():
    atlas = toy_atlas()
    root = int(atlas.terminology.ids[0])
    figure = heatmap_figure(atlas, {root: 0.0}, right={root: 1.0}, limits=(0, 1))
    plane = np.asarray(figure.axes[0].images[0].get_array())
    seen = (plane.reshape(-1, 3) * 255).round().astype(int)
    left, right = np.array([68, 1, 84]), np.array([253, 231, 37])
    half = plane.shape[1] // 2
    first = (np.abs(seen - right).sum(axis=1) < 9).reshape(plane.shape[:2])
    second = (np.abs(seen - left).sum(axis=1) < 9).reshape(plane.shape[:2])
    toward = atlas.space.toward[2]
    on_right = first[:, half:] if toward == "right" else first[:, :half]
    assert first.sum() > 0
    assert on_right.sum() > 0.8 * first.sum()
    assert second.sum() > 0
    bare = replace(atlas, midline=None)
    with pytest.raises(OrientationUnknownError, match="does not know left from right"):
        heatmap_figure(bare, {root: 0.0}, right={root: 1.0})


def test_a_template_on_another_grid_lies_in_place():
    atlas = toy_atlas()
    image = np.zeros((10, 8, 9), np.uint16)
    image[:, :, 5:] = 500
    image[:, :, 0] = 100  # the darkest that is no padding
    grid = atlas.annotation.affine.from_scale((50, 40, 20), (17.5, 10, 2), target=atlas.space)
    template = replace(atlas.annotation, array=ArrayInMemory(image), affine=grid, kind="image")
    seen = atlas_slice(replace(atlas, template=template), "z")
    assert (seen.template[:, :10] == 0).all()  # two pixels of labels a voxel of the template
    assert (seen.template[:, 10:] == 1).all()
