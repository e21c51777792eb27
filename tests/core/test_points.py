import copy

import numpy as np
import pytest
from hypothesis import given

from projectome.core.affine import Affine
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import ShapeError, SpaceMismatchError, UnknownNameError
from projectome.testing import strategies as draws

A, B = Space("a"), Space("b")


def same(a: Points, b: Points) -> bool:
    """Say whether two sets of points hold the same."""
    return (
        a.space == b.space
        and np.array_equal(a.coordinates, b.coordinates)
        and a.columns.keys() == b.columns.keys()
        and all(np.array_equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a.columns)
    )


@given(draws.points())
def test_taking_all_changes_nothing_and_points_are_pickled(points):
    assert same(points.take(np.arange(len(points))), points)
    assert same(points.take(np.ones(len(points), bool)), points)
    assert same(copy.deepcopy(points), points)
    assert len(points.take([])) == 0


@given(draws.points(space=A), draws.points(space=A))
def test_concatenating_and_taking_apart(a, b):
    both = Points.concatenate([a, b], space=A)
    assert same(both.take(np.arange(len(a))), a)
    assert same(both.take(np.arange(len(a), len(both))), b)


def test_concatenation_keeps_the_columns_that_all_have():
    a = Points([[0, 0, 0]], A, {"x": np.array([1]), "y": np.array([2])})
    b = Points([[0, 0, 0]], A, {"y": np.array([3])})
    assert list(Points.concatenate([a, b], space=A).columns) == ["y"]
    assert len(Points.concatenate([], space=A)) == 0
    with pytest.raises(SpaceMismatchError, match="cannot join"):
        Points.concatenate([a, Points([[0, 0, 0]], B)], space=A)


@given(draws.points(space=A), draws.affines(source=A, target=B))
def test_moving_to_another_space_keeps_the_columns(points, affine):
    moved = points.to(affine, B)
    np.testing.assert_array_equal(moved.coordinates, affine(points.coordinates))
    assert moved.space == B
    assert list(moved.columns) == list(points.columns)


def test_a_transform_of_other_spaces_is_refused():
    points = Points([[0, 0, 0]], A)
    with pytest.raises(SpaceMismatchError, match="leads from 'b'"):
        points.to(Affine.from_scale((1, 1, 1), source=B, target=A), A)


def test_columns_have_one_value_a_point():
    with pytest.raises(ShapeError, match="'score' has the shape"):
        Points([[0, 0, 0]], A, {"score": np.zeros(2)})


def test_unknown_columns_are_named():
    points = Points([[0, 0, 0]], A, {"score": np.zeros(1)})
    with pytest.raises(UnknownNameError, match="Did you mean 'score'"):
        _ = points["scores"]
    assert points.with_columns(score=[2.0])["score"].tolist() == [2.0]


def test_values_cannot_be_written():
    points = Points([[0, 0, 0]], A, {"score": np.zeros(1)})
    with pytest.raises(ValueError, match="read-only"):
        points["score"][0] = 1
    with pytest.raises(TypeError):
        points.columns["new"] = np.zeros(1)
