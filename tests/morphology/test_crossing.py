import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.core.atlas import Plane
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.morphology.crossing import plane_crossings, side_lengths, voxel_pieces
from projectome.testing import strategies as draws

SPACE = Space("scan")


@st.composite
def planes(draw: st.DrawFn) -> Plane:
    point = draw(draws.coordinates(1, reach=1e4))[0]
    normal = draw(draws.coordinates(1, reach=1).filter(lambda n: np.linalg.norm(n) > 0.1))[0]
    return Plane(point, normal, SPACE)


def path(*zyx: tuple[float, float, float]) -> Skeleton:
    """Return one path through the points."""
    return Skeleton(np.array(zyx, float), np.arange(len(zyx)) - 1, SPACE)


def test_midline_crossings_have_a_place_and_a_sign():
    midline = Plane(np.array([0, 0, 10.0]), np.array([0, 0, 1.0]), SPACE)
    axon = path((0, 0, 0), (0, 0, 20), (0, 8, 30), (0, 8, 0))
    found = plane_crossings(axon, midline)
    assert found.edge.tolist() == [1, 3]
    assert found.sign.tolist() == [1, -1]
    np.testing.assert_allclose(found.points, [[0, 0, 10], [0, 8, 10]])


def test_a_node_on_the_plane_is_crossed_once():
    midline = Plane(np.zeros(3), np.array([0, 0, 1.0]), SPACE)
    through = plane_crossings(path((0, 0, -1), (0, 0, 0), (0, 0, 1)), midline)
    assert (through.sign.tolist(), through.points.tolist()) == ([1], [[0, 0, 0]])
    touching = plane_crossings(path((0, 0, -1), (0, 0, 0), (0, 0, -1)), midline)
    assert touching.sign.sum() == 0
    along = plane_crossings(path((0, 0, 0), (0, 5, 0)), midline)
    assert len(along) == 0


@given(draws.skeletons(space=SPACE), planes())
def test_crossings_lie_on_the_plane_and_signs_lead_from_side_to_side(skeleton, plane):
    found = plane_crossings(skeleton, plane)
    np.testing.assert_allclose(plane.distance(found.points), 0, atol=1e-6)
    side = plane.hemisphere(skeleton.coordinates).astype(int)
    crossed = np.zeros(len(skeleton), int)
    crossed[found.edge] = found.sign
    nodes, parents = skeleton.edges.T
    np.testing.assert_array_equal(side[nodes] - side[parents], crossed[nodes])


@given(draws.skeletons(space=SPACE), planes())
def test_sides_share_out_each_edge(skeleton, plane):
    sides = side_lengths(skeleton, plane)
    np.testing.assert_allclose(sides.sum(axis=1), skeleton.lengths, rtol=1e-12, atol=1e-9)
    assert (sides >= 0).all()
    other = side_lengths(skeleton, Plane(plane.point, -plane.normal, SPACE))
    # An edge that lies in the plane belongs to the side of the normal, whichever that is.
    distance = np.abs(plane.distance(skeleton.coordinates))
    off = (skeleton.parent >= 0) & (np.maximum(distance, distance[skeleton.parent]) > 1e-3)
    np.testing.assert_allclose(other[off], sides[off, ::-1], rtol=1e-6, atol=1e-3)


@given(draws.skeletons(space=SPACE), planes())
def test_sides_agree_with_the_crossing_points(skeleton, plane):
    sides, found = side_lengths(skeleton, plane), plane_crossings(skeleton, plane)
    for edge, point, sign in zip(found.edge, found.points, found.sign, strict=True):
        to_parent = np.linalg.norm(point - skeleton.coordinates[skeleton.parent[edge]])
        assert sides[edge, 0 if sign > 0 else 1] == pytest.approx(to_parent, abs=1e-6)


SMALL = draws.skeletons(space=SPACE).map(
    lambda s: Skeleton(s.coordinates / 1e4, s.parent, s.space, s.radius, s.kind)
)


@given(SMALL, draws.affines(target=SPACE))
def test_pieces_share_out_the_cable(skeleton, grid):
    pieces = voxel_pieces(skeleton, grid)
    assert (pieces.length > 0).all()
    total = np.bincount(pieces.edge, weights=pieces.length, minlength=len(skeleton))
    np.testing.assert_allclose(total, skeleton.lengths, rtol=1e-9)
    assert pieces.length.sum() == pytest.approx(skeleton.cable_length, rel=1e-9)


@given(SMALL, draws.grids(target=SPACE))
def test_each_piece_lies_in_its_voxel(skeleton, grid):
    pieces = voxel_pieces(skeleton, grid)
    index = grid.inverse()(skeleton.coordinates)
    for edge in np.unique(pieces.edge):
        own = pieces.edge == edge
        share = np.cumsum(pieces.length[own]) / skeleton.lengths[edge]
        middle = share - 0.5 * pieces.length[own] / skeleton.lengths[edge]
        start = index[skeleton.parent[edge]]
        centres = start + middle[:, None] * (index[edge] - start)
        assert np.abs(centres - pieces.voxel[own]).max() <= 0.5 + 1e-6
        steps = np.abs(np.diff(pieces.voxel[own], axis=0))
        # One face, or several at once through an edge or a corner.
        assert (steps <= 1).all()
        assert (steps.sum(axis=1) >= 1).all()


def test_pieces_of_a_diagonal_step():
    grid = Affine.from_scale((2, 2, 2), target=SPACE)
    pieces = voxel_pieces(path((0, 0, 0), (0, 4, 4)), grid)
    np.testing.assert_array_equal(pieces.voxel, [[0, 0, 0], [0, 1, 1], [0, 2, 2]])
    np.testing.assert_allclose(pieces.length, np.sqrt(2) * np.array([1, 2, 1]))


def test_points_on_a_face_belong_to_the_voxel_of_larger_index():
    grid = Affine.from_scale((1, 1, 1), target=SPACE)
    inside = voxel_pieces(path((0, 0.5, 0), (0, 0.5, 0.4)), grid)
    assert inside.voxel.tolist() == [[0, 1, 0]]
    down = voxel_pieces(path((0, 0.5, 0), (0, 0, 0)), grid)
    assert down.voxel.tolist() == [[0, 0, 0]]


def test_edges_outside_the_volume_are_listed():
    grid = Affine.from_scale((1, 1, 1), target=SPACE)
    pieces = voxel_pieces(path((0, 0, -2), (0, 0, -1)), grid)
    assert pieces.voxel[:, 2].tolist() == [-2, -1]


def test_wrong_units_are_noticed_before_the_memory_is_full():
    far = path((0, 0, 0), (1e12, 0, 0))
    with pytest.raises(ParameterError, match="its units and those of the grid"):
        voxel_pieces(far, Affine.from_scale((1, 1, 1), target=SPACE))


def test_another_space_is_refused(neuron):
    elsewhere = Space("elsewhere")
    grid = Affine.from_scale((1, 1, 1), target=elsewhere)
    midline = Plane(np.zeros(3), np.array([0, 0, 1.0]), elsewhere)
    for call in (
        lambda: voxel_pieces(neuron, grid),
        lambda: plane_crossings(neuron, midline),
        lambda: side_lengths(neuron, midline),
    ):
        with pytest.raises(SpaceMismatchError, match=r"Skeleton\.to"):
            call()
