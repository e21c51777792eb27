"""Figures show what is there, where it is, and are the same every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.plots.mip import PLANE, View, contrast_limits, mip_figure, three_views
from projectome.plots.neurons import length_figure
from projectome.plots.style import neuron_colours, png_bytes, save

SPACE = Space(toward=("posterior", "inferior", "right"))


def view(axis, shape=(20, 30, 40), seed=0):
    image = np.random.default_rng(seed).integers(90, 300, shape)
    places = {"z": 0, "y": 1, "x": 2}
    flat = image.max(axis=places[axis])
    return View(flat.T if axis == "x" else flat, axis, (0, 0, 0), tuple(4.0 * n for n in shape))


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure, dpi=100))).convert("RGB"))


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_extent_is_in_micrometres_rows_down(axis):
    seen = view(axis)
    row, column = PLANE[axis]
    left, right, bottom, top = seen.extent
    assert (left, top) == (0, 0)
    assert right == seen.stop[column]
    assert bottom == seen.stop[row]
    assert seen.image.shape == (seen.stop[row] / 4, seen.stop[column] / 4)


def test_equal_figures_give_equal_bytes():
    first, second = (png_bytes(mip_figure(view("z"), space=SPACE)) for _ in range(2))
    assert first == second
    assert first != png_bytes(mip_figure(view("z", seed=1), space=SPACE))


def test_a_trace_is_drawn_where_its_nodes_are():
    dark = {a: View(np.ones_like(view(a).image), a, (0, 0, 0), view(a).stop) for a in PLANE}
    nodes = [[40.0, 60.0, 10.0], [40.0, 60.0, 150.0]]
    line = Skeleton(np.array(nodes), np.array([-1, 0]), SPACE)
    red = np.array([[1.0, 0.0, 0.0]])
    plain, drawn = (
        pixels(three_views(dark, space=SPACE, skeletons=s, colours=c)).astype(int)
        for s, c in (((), np.empty((0, 3))), ((line,), red))
    )
    changed = np.argwhere((drawn - plain)[..., 0] > 60)
    assert len(changed) > 100
    rows = np.unique(changed[:, 0])
    # A line along x: one row in the view along z and one in the view along y, a dot along x.
    assert len(rows) < 12


def test_points_are_ringed_and_titles_shown():
    views = {a: view(a) for a in PLANE}
    somata = Points(np.array([[40.0, 60.0, 80.0]]), SPACE)
    with_rings = pixels(three_views(views, space=SPACE, somata=somata, title="a brain"))
    without = pixels(three_views(views, space=SPACE))
    assert with_rings.shape == without.shape
    assert (with_rings != without).any()


def test_contrast_ignores_padding_and_survives_flat_images():
    image = np.zeros((50, 50))
    image[:25] = np.linspace(100, 200, 50)
    low, high = contrast_limits(image)
    assert 100 <= low < high <= 200
    assert contrast_limits(np.zeros((4, 4))) == (0.0, 1.0)
    assert contrast_limits(np.full((4, 4), 7)) == (7.0, 8.0)


def test_colours_differ_and_stay():
    colours = neuron_colours(40)
    assert colours.shape == (40, 3)
    assert ((colours >= 0) & (colours <= 1)).all()
    assert len(np.unique(colours.round(3), axis=0)) == 40
    np.testing.assert_array_equal(colours[:10], neuron_colours(10))


def test_lengths_of_none_and_many(tmp_path):
    assert len(png_bytes(length_figure([], []))) > 1000
    path = save(length_figure([0.1, 2.0, 3.0], [True, False, True]), tmp_path / "f" / "lengths.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in path.parent.iterdir()] == ["lengths.png"]
