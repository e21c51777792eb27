"""Volumes, points and skeletons through transforms."""

import numpy as np
import pytest

from projectome.core.affine import Affine
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.errors import SpaceMismatchError
from projectome.registration.carry import carry_points, carry_skeleton, carry_volume, divided

SCAN, ATLAS = Space("scan"), Space("atlas")


def shift(*by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return Transform((Affine(matrix, SCAN, ATLAS),))


def bow():
    """A field that lifts the middle of the x axis by 100 um."""
    x = np.arange(11) * 100.0
    field = np.zeros((2, 2, 11, 3), np.float32)
    field[..., 1] = 100 * np.sin(np.pi * x / 1000)
    grid = Affine.from_scale((1000, 1000, 100), target=SCAN)
    return Transform((DisplacementField(field, grid, ATLAS),))


def test_a_volume_shifted_by_whole_voxels_keeps_its_values():
    values = np.random.default_rng(0).integers(0, 9999, (6, 7, 8)).astype(np.uint16)
    volume = Volume.from_array(values, voxel_size=(10, 10, 10), space=SCAN)
    grid = Affine.from_scale((10, 10, 10), target=ATLAS)
    moved = np.asarray(carry_volume(volume, shift(20, -10, 0), grid, (8, 7, 8)).read())
    assert moved.dtype == np.uint16
    assert np.array_equal(moved[2:8, :6], values[:, 1:])
    assert not moved[:2].any()
    assert not moved[:, 6].any()


def test_labels_are_never_mixed():
    labels = np.zeros((4, 4, 40), np.uint32)
    labels[..., 20:] = 4_000_000_001
    volume = Volume.from_array(labels, voxel_size=(10, 10, 10), space=SCAN, kind="labels")
    grid = Affine.from_scale((10, 10, 3), target=ATLAS)
    moved = np.asarray(carry_volume(volume, shift(0, 0, 4), grid, (4, 4, 130)).read())
    assert set(np.unique(moved)) == {0, 4_000_000_001}


def test_a_straight_edge_bends():
    line = Skeleton(np.array([[0, 0, 0], [0, 0, 1000.0]]), [-1, 0], SCAN, kind=[2, 2])
    bent = carry_skeleton(line, bow(), step=20)
    assert len(bent) == 51
    assert bent.coordinates[:, 1].max() == pytest.approx(100, abs=1)
    assert bent.cable_length == pytest.approx(1024.4, rel=2e-3)  # of the sine arc
    assert bent.space == ATLAS
    assert set(bent.kind.tolist()) == {2}


def test_dividing_keeps_nodes_length_and_branches():
    xyz = np.array([[0, 0, 0], [0, 0, 90.0], [0, 50, 90], [70, 0, 90], [5, 5, 5]])
    tree = Skeleton(xyz, [-1, 0, 1, 1, -1], SCAN)
    fine = divided(tree, 25)
    assert fine.cable_length == pytest.approx(tree.cable_length)
    assert fine.lengths.max() <= 25
    assert len(fine.roots) == 2
    assert len(fine.branch_points) == 1
    assert {tuple(p) for p in xyz} <= {tuple(p) for p in fine.coordinates}


def test_points_of_another_space_are_refused():
    with pytest.raises(SpaceMismatchError, match="other"):
        carry_points(Points(np.zeros((1, 3)), Space("other")), shift(1, 2, 3))
    moved = carry_points(Points(np.zeros((1, 3)), SCAN, {"score": [5]}), shift(1, 2, 3))
    assert moved.coordinates.tolist() == [[1, 2, 3]]
    assert moved["score"].tolist() == [5]
