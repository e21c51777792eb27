"""Fits against maps that are known."""

from dataclasses import replace

import numpy as np
import pytest

from projectome.core.volume import Volume
from projectome.errors import DataError, ParameterError, RunError
from projectome.registration.align import (
    Recipe,
    align,
    check_stated,
    inverse_field,
    make_pair,
    size_problem,
    working_size,
)
from projectome.registration.fit import Fit, Stage, pinned


def test_finds_the_known_map_through_other_axes_grey_values_and_a_bump(registered, known):
    error = np.linalg.norm(registered.transform(known.points) - known.goals, axis=1)
    start = np.linalg.norm(registered.transform.links[0](known.points) - known.goals, axis=1)
    assert np.median(error) < 3.0  # of voxels of 8 um
    assert np.percentile(error, 95) < 6.0
    assert error.max() < 0.6 * start.max()  # the bump, which no affine map follows


def test_there_and_back_again(registered, known):
    back = registered.transform.inverse()(registered.transform(known.points))
    apart = np.linalg.norm(back - known.points, axis=1)
    assert np.median(apart) < 0.1
    assert apart.max() < 1.0


def test_the_same_seed_gives_the_same_map(known, pair, fitter):
    few = Recipe(iterations=5, samples=200, repeats=0)
    how = {"scan_space": known.scan.space, "start": np.eye(4), "fitter": fitter}
    found = [align(pair, few, **how) for _ in range(2)]
    assert np.array_equal(*(one.transform(known.points[:5]) for one in found))


def test_expanded_tissue_gives_the_same_atlas_positions(pair, known):
    gel = Volume(
        known.scan.array,
        replace(
            known.scan.affine,
            matrix=np.diag([4, 4, 4, 1]) @ known.scan.affine.matrix,
            target=replace(known.scan.space, expansion=4.0),
        ),
        name="gel",
    )
    four = make_pair(gel, known.template, 8.0)
    assert np.allclose(
        four.turned(known.points * 4),
        make_pair(known.scan, known.template, 8.0).turned(known.points),
    )


def test_an_inverse_field_undoes_the_bend_where_it_does_not_fold():
    rng = np.random.default_rng(0)
    knots = rng.normal(0, 6, (3, 9, 9, 9))
    found = Fit(np.eye(4), knots, np.full(3, -40.0), np.full(3, 40.0))
    shape, size = (24, 24, 24), 10.0
    back = inverse_field(found, shape, size)
    goal = np.indices(shape).reshape(3, -1).T * size
    start = goal + back.reshape(-1, 3)
    assert np.abs(start + found.bend(start) - goal).max() < 1.5


def test_working_voxels_follow_the_atlas(known):
    assert working_size(known.template, Recipe()) == 8.0
    assert working_size(known.template, Recipe(resolution=20)) == 20
    large = Volume.from_array(np.zeros((528, 320, 456), np.uint8), voxel_size=(25, 25, 25))
    assert working_size(large, Recipe()) == 50.0


def test_tissue_far_too_large_names_the_expansion(pair):
    larger = replace(pair.scan, tissue=np.ones((200, 200, 200), bool))
    with pytest.raises(DataError, match=r"--expansion \d\.\d\d"):
        size_problem(larger, pair.template, "gel")
    smaller = replace(pair.scan, tissue=np.ones((9, 9, 9), bool))
    problem = size_problem(smaller, pair.template, "piece")
    assert problem is not None
    assert "part of a brain" in problem.message


def test_a_wrong_statement_is_seen(known):
    wrong = replace(known.scan.space, toward=("right", "anterior", "inferior"))
    pair = make_pair(known.scan.with_space(wrong), known.template, 8.0)
    tested = check_stated(pair, wrong)
    assert tested.best.toward == known.scan.space.toward
    assert tested.sure


@pytest.mark.parametrize("wrong", [{"spacing": 1}, {"iterations": 0}, {"repeats": -1}])
def test_senseless_recipes_are_refused(wrong):
    with pytest.raises(ParameterError, match=r"needs|are 1 or more"):
        Recipe(**wrong)


def test_landmarks_pull_the_map_to_where_they_belong():
    points = np.array([(100.0, 100, 100), (100, 400, 100), (500, 100, 300)])
    matrix = np.diag([1.1, 1.0, 0.9, 1.0])
    goals = points @ matrix[:3, :3].T + np.array([(30.0, 0, 0), (0, -30, 0), (0, 0, 0)])
    found = pinned(Fit(matrix), points, goals, 60.0)
    assert np.abs(found(points) - goals).max() < 4
    far = np.array([(100.0, 100, 900)])
    assert np.allclose(found(far), far @ matrix[:3, :3].T, atol=1e-3)


def test_a_fit_of_nothing_says_where_to_look_and_the_process_goes_on(fitter):
    image = np.zeros((20, 20, 20), np.float32)
    image[5:15, 5:15, 5:15] = 1
    stage = [Stage("affine", (1,), 5, 100)]
    with pytest.raises(RunError, match="orientation and the voxel size"):
        fitter.fit(image, image, 8.0, stage, fixed_mask=np.zeros(image.shape, bool))
    assert fitter.fit(image, image, 8.0, stage).knots is None
