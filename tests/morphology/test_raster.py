from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, ShapeError, SpaceMismatchError
from projectome.morphology.crossing import voxel_pieces
from projectome.morphology.raster import draw
from projectome.testing import strategies as draws

SPACE = Space("scan")
GRID = Affine.from_scale((2, 1, 1), (3, 0, 0), target=SPACE)
BOX = Box((-4, -6, -6), (14, 18, 20))


@st.composite
def small(draw_: st.DrawFn) -> Skeleton:
    """Draw a skeleton of a few dozen micrometres, some of it outside the box."""
    skeleton = draw_(draws.skeletons(space=SPACE, smallest=1, largest=8))
    return replace(
        skeleton,
        coordinates=skeleton.coordinates / 4e3,
        radius=None if skeleton.radius is None else skeleton.radius / 10,
    )


def brute_force(skeleton: Skeleton, box: Box) -> np.ndarray:
    """Return the mask by the definition, voxel by voxel and edge by edge."""
    centres = GRID(np.stack(np.indices(box.shape), axis=-1).reshape(-1, 3) + box.start)
    mask = np.zeros(len(centres), bool)
    radius = np.zeros(len(skeleton)) if skeleton.radius is None else skeleton.radius
    for node, parent in enumerate(skeleton.parent):
        q, q_radius = skeleton.coordinates[node], radius[node]
        p, p_radius = (
            (q, q_radius) if parent < 0 else (skeleton.coordinates[parent], radius[parent])
        )
        along = q - p
        share = np.clip((centres - p) @ along / max(along @ along, 1e-300), 0, 1)
        distance = np.linalg.norm(centres - p - share[:, None] * along, axis=1)
        tube = p_radius + share * (q_radius - p_radius)
        mask |= (distance <= tube) & (tube > 0)
        mask |= (np.linalg.norm(centres - q, axis=1) <= q_radius) & (q_radius > 0)
    return mask.reshape(box.shape)


@given(small())
def test_tubes_are_drawn_by_their_definition(skeleton):
    got = draw([skeleton], [1], grid=GRID, box=BOX) > 0
    cable = draw([skeleton], [1], grid=GRID, box=BOX, radius_um=0) > 0
    expected = brute_force(skeleton, BOX)
    # Voxels whose centre lies on the surface within rounding may go either way.
    shell = brute_force(grown(skeleton, 1e-6), BOX) & ~brute_force(grown(skeleton, -1e-6), BOX)
    assert not ((got != (expected | cable)) & ~shell).any()


def grown(skeleton: Skeleton, by: float) -> Skeleton:
    if skeleton.radius is None:
        return skeleton
    return replace(skeleton, radius=np.maximum(skeleton.radius + by, 0))


@given(small())
def test_the_cable_is_drawn_where_it_passes(skeleton):
    got = draw([skeleton], [1], grid=GRID, box=BOX, radius_um=0) > 0
    expected = np.zeros(BOX.shape, bool)
    voxels = voxel_pieces(skeleton, GRID).voxel
    roots = np.floor(GRID.inverse()(skeleton.coordinates) + 0.5).astype(int)
    for voxel in (*voxels, *roots):
        if BOX.contains([voxel])[0]:
            expected[tuple(voxel - BOX.start)] = True
    # A cell touched over a vanishing length may be missing from either.
    assert (got != expected).sum() <= 1
    count = ndimage.label(got, np.ones((3, 3, 3)))[1]
    assert count <= len(skeleton) + 1


@given(small(), small(), st.tuples(*[st.integers(3, 9)] * 3))
def test_blocks_together_show_what_one_box_shows(first, second, block_shape):
    whole = draw([first, second], [3, 7], grid=GRID, box=BOX, dtype=np.uint8)
    parts = np.zeros_like(whole)
    for block in BlockGrid(BOX, block_shape):
        parts[block.core.slices_in(BOX.start)] = draw(
            [first, second], [3, 7], grid=GRID, box=block.core, dtype=np.uint8
        )
    np.testing.assert_array_equal(parts, whole)
    assert whole.dtype == np.uint8


def test_a_single_node_is_a_ball():
    node = Skeleton(np.array([[3.0, 5, 5]]), np.array([-1]), SPACE, np.array([4.0]))
    ball = draw([node], [1], grid=GRID, box=Box.from_shape((8, 12, 12)))
    assert ball.sum() == pytest.approx(4 / 3 * np.pi * 4**3 / 2, rel=0.5)
    assert ball[0, 5, 5] == ball[2, 5, 5] == ball[0, 9, 5] == 1
    assert ball[0, 10, 5] == 0


def test_a_long_tube_has_the_volume_of_its_definition():
    ends = np.array([[10.0, 10, 10], [70, 80, 90]])
    tube = Skeleton(ends, np.array([-1, 0]), SPACE, np.array([4.0, 4.0]))
    grid = Affine.from_scale((1, 1, 1), target=SPACE)
    drawn = draw([tube], [1], grid=grid, box=Box.from_shape((80, 90, 100))).sum()
    exact = np.pi * 16 * np.linalg.norm(ends[1] - ends[0]) + 4 / 3 * np.pi * 64
    assert drawn == pytest.approx(exact, rel=0.02)


def test_the_later_covers_the_earlier():
    line = Skeleton(np.array([[3.0, 0, 0], [3, 0, 9]]), np.array([-1, 0]), SPACE)
    box = Box.from_shape((1, 1, 10))
    assert set(draw([line, line], [9, 4], grid=GRID, box=box).ravel()) == {4}
    assert draw([], [], grid=GRID, box=box).sum() == 0


def test_unknown_radii_draw_the_cable_alone():
    line = Skeleton(
        np.array([[3.0, 5, 0], [3, 5, 9]]), np.array([-1, 0]), SPACE, np.array([np.nan, np.nan])
    )
    assert draw([line], [1], grid=GRID, box=Box.from_shape((1, 11, 10))).sum() == 10


def test_wrong_calls_are_refused(neuron):
    box = Box.from_shape((2, 2, 2))
    with pytest.raises(ShapeError, match="as many values"):
        draw([neuron], [1, 2], grid=GRID, box=box)
    with pytest.raises(ParameterError, match="fit into"):
        draw([neuron], [300], grid=GRID, box=box, dtype=np.uint8)
    with pytest.raises(ParameterError, match="fit into"):
        draw([neuron], [1], grid=GRID, box=box, dtype=np.float32)
    with pytest.raises(ParameterError, match="radius_um"):
        draw([neuron], [1], grid=GRID, box=box, radius_um=-1)
    with pytest.raises(SpaceMismatchError):
        draw([neuron], [1], grid=GRID.with_target(Space("other")), box=box)
