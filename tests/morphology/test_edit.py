import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError
from projectome.morphology.edit import join, prune, reroot, resample, smooth, split
from projectome.morphology.measure import segment_lengths
from projectome.testing import strategies as draws


def edge_set(skeleton: Skeleton) -> set[frozenset[tuple[float, ...]]]:
    """Return the edges by the places of their ends: they do not depend on numbering."""
    ends = skeleton.coordinates[skeleton.edges]
    return {frozenset(map(tuple, pair)) for pair in ends.tolist()}


def distinct(skeleton: Skeleton) -> bool:
    return len(np.unique(skeleton.coordinates, axis=0)) == len(skeleton)


def distance_to_cable(points: np.ndarray, skeleton: Skeleton) -> float:
    """Return the largest distance of any of the points to the nearest edge or node."""
    start = skeleton.coordinates[np.maximum(skeleton.parent, 0)]
    start = np.where(skeleton.parent[:, None] < 0, skeleton.coordinates, start)
    along = skeleton.coordinates - start
    squared = np.maximum((along**2).sum(axis=1), 1e-300)
    offset = points[:, None] - start
    share = np.clip((offset * along).sum(axis=2) / squared, 0, 1)
    nearest = np.linalg.norm(offset - share[:, :, None] * along, axis=2).min(axis=1, initial=np.inf)
    return float(nearest.max(initial=0))


def test_pruning_takes_the_short_twig_and_nothing_else(neuron):
    pruned = prune(neuron, min_length_um=5)
    assert pruned.cable_length == neuron.cable_length - 3
    assert len(pruned) == len(neuron) - 1


def test_of_two_short_twigs_one_stays_as_the_end_of_the_branch():
    y_shape = Skeleton(
        np.array([[0.0, 0, 0], [0, 0, 50], [0, 3, 50], [0, -2, 50]]),
        np.array([-1, 0, 1, 1]),
        Space(),
    )
    assert prune(y_shape, min_length_um=10).cable_length == 53


@given(draws.skeletons(), st.floats(0, 3e5))
def test_after_pruning_no_twig_is_short_but_the_last_of_its_tree(skeleton, least):
    pruned = prune(skeleton, min_length_um=least)
    assert len(pruned.roots) == len(skeleton.roots)
    assert edge_set(pruned) <= edge_set(skeleton) or not distinct(skeleton)
    lengths = segment_lengths(pruned)
    for run, length in zip(pruned.segments, lengths, strict=True):
        tip, top = run[0], run[-1]
        if pruned.child_count[tip] == 0 and pruned.child_count[top] > 1:
            assert length >= least - 1e-6
    again = prune(pruned, min_length_um=least)
    assert len(again) == len(pruned)


@given(draws.skeletons(), st.floats(3e3, 1e5))
def test_resampling_keeps_ends_and_never_lengthens(skeleton, step):
    new = resample(skeleton, step_um=step)
    assert new.cable_length <= skeleton.cable_length * (1 + 1e-12) + 1e-9
    for which in ("ends", "branch_points", "roots"):
        kept = new.coordinates[getattr(new, which)]
        old = skeleton.coordinates[getattr(skeleton, which)]
        assert sorted(map(tuple, kept)) == sorted(map(tuple, old)), which
    assert distance_to_cable(new.coordinates, skeleton) < 1e-6
    assert new.lengths.max(initial=0) <= step * (1 + 1e-9)
    assert len(new.segments) == len(skeleton.segments)


def test_resampling_a_straight_line_is_even_and_interpolates_radii():
    line = Skeleton(
        np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 10]]),
        np.array([-1, 0, 1]),
        Space(),
        np.array([0, 1, 10], np.float32),
        np.array([1, 2, 3]),
    )
    new = resample(line, step_um=2.5)
    np.testing.assert_allclose(new.coordinates[:, 2], [0, 2.5, 5, 7.5, 10])
    np.testing.assert_allclose(new.radius, [0, 2.5, 5, 7.5, 10])
    assert new.kind.tolist() == [1, 3, 3, 3, 3]
    assert new.parent.tolist() == [-1, 0, 1, 2, 3]


@given(draws.skeletons(), st.integers(0, 5))
def test_smoothing_keeps_ends_and_never_lengthens(skeleton, rounds):
    new = smooth(skeleton, rounds=rounds)
    assert new.cable_length <= skeleton.cable_length * (1 + 1e-12)
    fixed = (skeleton.degree != 2) | (skeleton.parent < 0)
    np.testing.assert_array_equal(new.coordinates[fixed], skeleton.coordinates[fixed])


def test_smoothing_a_staircase_nears_the_straight_line():
    steps = np.array([(0, i // 2, (i + 1) // 2) for i in range(101)], float)
    stairs = Skeleton(steps, np.arange(101) - 1, Space())
    assert stairs.cable_length == 100
    assert smooth(stairs, rounds=3).cable_length == pytest.approx(np.sqrt(2) * 50, rel=0.01)


@given(draws.skeletons(smallest=1), st.data())
def test_rerooting_keeps_the_cable_and_makes_a_root(skeleton, data):
    node = data.draw(st.integers(0, len(skeleton) - 1))
    new = reroot(skeleton, node)
    assert skeleton.coordinates[node].tolist() in new.coordinates[new.roots].tolist()
    assert edge_set(new) == edge_set(skeleton)
    assert new.cable_length == pytest.approx(skeleton.cable_length)
    assert len(new.roots) == len(skeleton.roots)
    if skeleton.kind is not None:
        assert sorted(new.kind) == sorted(skeleton.kind)


@given(draws.skeletons(smallest=2), st.data())
def test_splitting_and_joining_undo_each_other(skeleton, data):
    children = np.flatnonzero(skeleton.parent >= 0)
    if not len(children):
        return
    node = data.draw(st.sampled_from(children.tolist()))
    cut = split(skeleton, node)
    assert len(cut.roots) == len(skeleton.roots) + 1
    assert cut.cable_length == pytest.approx(skeleton.cable_length - skeleton.lengths[node])
    back = join(cut, int(skeleton.parent[node]), node)
    assert edge_set(back) == edge_set(skeleton)
    assert len(back.roots) == len(skeleton.roots)


def test_joining_adds_the_edge_between_the_nodes():
    pair = Skeleton(
        np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 9], [0, 0, 4]]), np.array([-1, 0, -1, 2]), Space()
    )
    joined = join(pair, 1, 3)
    assert joined.cable_length == 9
    assert joined.coordinates[joined.roots, 2].tolist() == [0]


def test_wrong_edits_are_refused(neuron):
    with pytest.raises(ParameterError, match="close a loop"):
        join(neuron, 2, 4)
    with pytest.raises(ParameterError, match="is a root"):
        split(neuron, 0)
    with pytest.raises(ParameterError, match="nodes 0 to 6"):
        reroot(neuron, 7)
    with pytest.raises(ParameterError, match="positive number"):
        resample(neuron, step_um=0)
    with pytest.raises(ParameterError, match="0 or more"):
        prune(neuron, min_length_um=np.nan)
    with pytest.raises(ParameterError, match="0 or more rounds"):
        smooth(neuron, rounds=-1)


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: prune(s, min_length_um=5),
        lambda s: resample(s, step_um=5),
        smooth,
        lambda s: reroot(s, 4),
        lambda s: split(s, 3),
    ],
)
def test_the_given_skeleton_stays_as_it_was(neuron, edit):
    before = neuron.coordinates.copy(), neuron.parent.copy()
    new = edit(neuron)
    np.testing.assert_array_equal(before[0], neuron.coordinates)
    np.testing.assert_array_equal(before[1], neuron.parent)
    assert new.space == neuron.space
