import copy

import numpy as np
import pytest
from hypothesis import given
from scipy.ndimage import map_coordinates

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, InverseField, Transform
from projectome.errors import ParameterError, ShapeError, SpaceMismatchError
from projectome.testing import strategies as draws

A, B, C = Space("a"), Space("b"), Space("c")
RNG = np.random.default_rng(7)
CLOUD = RNG.uniform(0, 100, (40, 3))


def field(amplitude: float = 3.0, source: Space = A, target: Space = B) -> DisplacementField:
    """Return a smooth field over [0, 100] um: sines of one period, gradient below 0.4."""
    grid = Affine.from_scale((5, 10, 20), target=source)
    zyx = np.stack(np.meshgrid(*[np.linspace(0, 2 * np.pi, n) for n in (21, 11, 6)], indexing="ij"))
    displacement = np.stack([np.sin(zyx[1]), np.cos(zyx[2]), np.sin(zyx[0] + 1)], axis=-1)
    return DisplacementField(amplitude * displacement, grid, target)


def test_fields_are_trilinear_as_scipy_says():
    warp = field()
    outside = RNG.uniform(-50, 150, (200, 3))
    index = warp.grid.inverse()(outside).T
    expected = [
        map_coordinates(warp.displacement[..., c], index, order=1, mode="nearest") for c in range(3)
    ]
    np.testing.assert_allclose(warp.at(outside), np.transpose(expected), atol=1e-5)


def test_a_field_of_one_voxel_moves_everything_alike():
    warp = DisplacementField(np.full((1, 1, 1, 3), 2.0), Affine.from_scale((1, 1, 1), target=A), B)
    np.testing.assert_array_equal(warp(CLOUD), CLOUD + 2)


def test_solving_inverts_a_field():
    warp = field()
    back = InverseField(warp)
    np.testing.assert_allclose(warp(back(CLOUD)), CLOUD, atol=1e-3)
    np.testing.assert_allclose(back(warp(CLOUD)), CLOUD, atol=5e-3)
    assert (back.source, back.target) == (B, A)


def test_folding_fields_cannot_be_solved():
    with pytest.raises(ParameterError, match="carries its inverse field"):
        field(amplitude=200.0).solve(CLOUD)


@given(draws.affines(source=C, target=A), draws.affines(source=B, target=C))
def test_chains_apply_in_order_and_invert(first, last):
    chain = Transform((first, field(), last))
    start = first.inverse()(CLOUD)
    np.testing.assert_allclose(chain(start), last(field()(first(start))), atol=1e-6)
    back = chain.inverse()
    assert (back.source, back.target) == (chain.target, chain.source)
    residual = np.abs(first(back(chain(start))) - first(start)).max()
    assert residual < 0.01


@given(draws.affines(source=A, target=B), draws.affines(source=B, target=C))
def test_then_is_composition(f, g):
    both = Transform((f,)).then(Transform((g,)))
    np.testing.assert_allclose(both(CLOUD), g(f(CLOUD)), atol=1e-6)
    np.testing.assert_allclose(both.inverse()(both(CLOUD)), CLOUD, atol=1e-6)
    assert both.inverse().inverse().links == both.links


def test_a_known_way_back_is_used():
    there = Affine.from_scale((2, 2, 2), source=A, target=B)
    measured = Affine.from_scale((0.5, 0.5, 0.5), (1, 1, 1), source=B, target=A)
    transform = Transform((there,), (measured,), provenance="abc")
    assert transform.inverse().links == (measured,)
    assert transform.inverse().provenance == "abc"


def test_links_have_to_meet():
    ab = Affine.from_scale((1, 1, 1), source=A, target=B)
    with pytest.raises(SpaceMismatchError, match="cannot be followed"):
        Transform((ab, ab))
    with pytest.raises(SpaceMismatchError, match="way back"):
        Transform((ab,), (ab,))
    with pytest.raises(SpaceMismatchError):
        Transform((ab,)).then(Transform((ab,)))
    with pytest.raises(ParameterError, match="at least one link"):
        Transform(())


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 2, 2, 2), (0, 2, 2, 3)])
def test_fields_have_three_components(shape):
    with pytest.raises(ShapeError, match=r"\(Z, Y, X, 3\)"):
        DisplacementField(np.zeros(shape), Affine.from_scale((1, 1, 1)), B)


def test_transforms_are_pickled():
    chain = Transform((field(), Affine.from_scale((2, 2, 2), source=B, target=C)))
    np.testing.assert_array_equal(copy.deepcopy(chain)(CLOUD), chain(CLOUD))
