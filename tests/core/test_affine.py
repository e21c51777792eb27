import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import VOXELS, Affine, coordinates, itk_geometry
from projectome.core.space import Space, all_orientations
from projectome.errors import (
    OrientationUnknownError,
    ParameterError,
    ShapeError,
    SpaceMismatchError,
)
from projectome.testing import strategies as draws

A, B = Space("a"), Space("b")
CLOUD = np.random.default_rng(1).normal(0, 100, (50, 3))


@given(draws.affines())
def test_inverse_undoes(affine):
    back = affine.inverse()
    np.testing.assert_allclose(back(affine(CLOUD)), CLOUD, rtol=0, atol=1e-8)
    assert (back.source, back.target) == (affine.target, affine.source)
    assert back.inverse().isclose(affine, tolerance=1e-8)


@given(draws.affines(source=VOXELS, target=A), draws.affines(source=A, target=B))
def test_composition_applies_one_after_the_other(first, second):
    both = second @ first
    np.testing.assert_allclose(both(CLOUD), second(first(CLOUD)), rtol=1e-9, atol=1e-6)
    assert (both.source, both.target) == (first.source, second.target)


@given(draws.affines(source=A, target=A), draws.affines(source=A, target=A))
def test_the_inverse_of_a_chain_is_the_chain_of_inverses(f, g):
    assert (g @ f).inverse().isclose(f.inverse() @ g.inverse(), tolerance=1e-6)


@given(draws.affines(target=A), draws.affines(source=A.renamed("other")))
def test_chaining_through_different_spaces_is_refused(first, second):
    with pytest.raises(SpaceMismatchError, match="Cannot chain"):
        _ = second @ first


def test_gel_and_tissue_are_different_spaces():
    gel = Affine.from_scale((1, 1, 1), target=Space("a", expansion=4.0))
    tissue = Affine.from_scale((2, 2, 2), source=Space("a"), target=B)
    with pytest.raises(SpaceMismatchError, match=r"expansion=4\.0"):
        _ = tissue @ gel


@given(draws.grids())
def test_a_grid_maps_voxel_zero_to_its_translation(grid):
    assert grid.is_grid
    np.testing.assert_array_equal(grid([[0, 0, 0]])[0], grid.translation)
    np.testing.assert_allclose(grid.matrix[:3, :3].diagonal(), grid.voxel_size)
    assert grid.inverse().is_grid


@given(draws.affines())
def test_voxel_size_is_the_length_of_unit_steps(affine):
    steps = affine(np.eye(3)) - affine([0, 0, 0])
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), affine.voxel_size, rtol=1e-6)


@given(draws.affines())
def test_affines_are_pickled(affine):
    assert copy.deepcopy(affine).isclose(affine, tolerance=0)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "4 x 4"),
        (np.full((4, 4), np.nan), "finite"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, 1, 0, 1]), "invertible"),
    ],
)
def test_what_is_no_affine_is_refused(matrix, message):
    with pytest.raises(ParameterError, match=message):
        Affine(matrix, VOXELS, A)


@pytest.mark.parametrize("scale", [(1, 1, 0), (1, -1, 1), (1, np.inf, 1), (1, 1)])
def test_voxel_sizes_are_positive(scale):
    with pytest.raises(ParameterError):
        Affine.from_scale(scale)


def test_small_voxels_are_invertible():
    assert Affine.from_scale((1e-9, 1e-9, 1e-9)).inverse()([[1, 1, 1]])[0, 0] == pytest.approx(1e9)


def test_arrays_of_an_affine_cannot_be_written():
    matrix = np.eye(4)
    affine = Affine(matrix, VOXELS, A)
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 2
    matrix[0, 0] = 2
    assert affine.matrix[0, 0] == 1


def test_points_have_three_coordinates():
    assert coordinates([1, 2, 3]).shape == (1, 3)
    assert coordinates([]).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"\(N, 3\)"):
        coordinates(np.zeros((4, 2)))


def test_published_smartspim_case():
    """The Allen SmartSPIM example: no voxel moves, axes toward right, anterior, inferior.

    Size (925, 1280, 464), spacing (0.0144, 0.0144, 0.016) mm in x, y, z; X left to right, Y
    posterior to anterior, Z superior to inferior.
    """
    space = Space(toward=("inferior", "anterior", "right"))
    grid = Affine.from_scale((16.0, 14.4, 14.4), target=space)
    placed = itk_geometry(grid, (464, 1280, 925))
    assert placed.size == (925, 1280, 464)
    np.testing.assert_allclose(placed.spacing, (0.0144, 0.0144, 0.016), rtol=1e-12)
    np.testing.assert_array_equal(placed.direction, np.diag([-1, -1, -1]))
    np.testing.assert_allclose(placed.origin, (13.3056, 18.4176, 7.408), rtol=1e-12)


@given(st.sampled_from(all_orientations()), st.tuples(*[st.integers(1, 9)] * 3), draws.grids())
def test_itk_placement_keeps_directions_and_distances(toward, shape, grid):
    """ITK's point of voxel (x, y, z) is origin + direction @ (spacing * index)."""
    space = Space(toward=toward)
    placed = itk_geometry(grid.with_target(space), shape)
    spacing = np.diag(placed.spacing)
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    lps = (placed.direction @ spacing @ corners[:, ::-1].T).T + placed.origin
    own = grid(corners) / 1000
    # Distances between voxels are kept.
    np.testing.assert_allclose(
        np.linalg.norm(lps - lps[0], axis=1), np.linalg.norm(own - own[0], axis=1), atol=1e-9
    )
    # A step along an axis goes where the space says: the LPS coordinate changes with its sign.
    for axis, direction in enumerate(toward):
        row = {"left": 0, "right": 0, "anterior": 1, "posterior": 1}.get(direction, 2)
        sign = 1 if direction in ("left", "posterior", "superior") else -1
        if shape[axis] > 1:
            far = corners[:, axis] > 0
            assert (np.sign(lps[far, row].min() - lps[~far, row].min())) == sign


def test_itk_needs_directions_and_a_plain_grid():
    with pytest.raises(OrientationUnknownError, match="NIfTI"):
        itk_geometry(Affine.from_scale((1, 1, 1)), (2, 2, 2))
    turned = np.eye(4)
    turned[:3, :3] = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    space = Space(toward=("left", "posterior", "superior"))
    with pytest.raises(ShapeError, match="resample it"):
        itk_geometry(Affine(turned, VOXELS, space), (2, 2, 2))
