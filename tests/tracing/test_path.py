"""Minimal paths: the optimum by brute force, the proof, and what is read."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from skimage.graph import route_through_array

from projectome.core.affine import Affine
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import MemoryBudgetError, ParameterError, ShapeError
from projectome.tracing.cost import ArrayCost, cost_from_intensity
from projectome.tracing.path import minimal_path, trace_path
from projectome.tracing.search import CostTiles, search

STEPS = [step for step in np.ndindex(3, 3, 3) if step > (1, 1, 1)]


def least_cost(costs, start, end, size):
    """Cost of the cheapest path, from a sparse matrix of all steps."""
    index = np.arange(costs.size).reshape(costs.shape)
    parts = []
    for step in np.subtract(STEPS, 1):
        here = tuple(
            slice(max(0, -k), n - max(0, k)) for k, n in zip(step, costs.shape, strict=True)
        )
        there = tuple(
            slice(max(0, k), n - max(0, -k)) for k, n in zip(step, costs.shape, strict=True)
        )
        weight = (costs[here] + costs[there]) / 2 * np.linalg.norm(step * np.asarray(size))
        parts.append((index[here].ravel(), index[there].ravel(), weight.ravel()))
    rows, columns, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    graph = coo_array((weights, (rows, columns)), shape=(costs.size, costs.size)).tocsr()
    source, target = (np.ravel_multi_index(p, costs.shape) for p in (start, end))
    return dijkstra(graph, directed=False, indices=source)[target]


def cost_along(costs, voxels, size):
    """Cost of given voxels, step by step."""
    total = 0.0
    for a, b in pairwise(voxels.tolist()):
        assert max(abs(np.subtract(a, b))) == 1, "steps lead to one of 26 neighbours"
        length = np.linalg.norm(np.subtract(a, b) * np.asarray(size))
        total += (float(costs[tuple(a)]) + float(costs[tuple(b)])) / 2 * length
    return total


@dataclass
class Recorded:
    """An array that remembers what was read of it."""

    array: np.ndarray
    chunks: tuple[int, int, int]
    boxes: list[tuple[slice, ...]] = field(default_factory=list)

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)

    def read(self, index):
        self.boxes.append(index)
        return self.array[index]


def lazily(array, chunk=8, size=(1, 1, 1)):
    return Volume(Recorded(array, (chunk,) * 3), Affine.from_scale(size))


@st.composite
def tasks(draw):
    """Costs, two voxels, a voxel size and the shape of tiles."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    values = draw(st.sampled_from([(1, 1), (1, 9), (1, 2, 3), None]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    costs = rng.uniform(0.3, 60, shape) if values is None else rng.choice(values, shape)
    ends = [tuple(draw(st.integers(0, n - 1)) for n in shape) for _ in range(2)]
    size = draw(st.tuples(*[st.sampled_from([0.4, 1.0, 3.0])] * 3))
    tile = tuple(draw(st.integers(1, n)) for n in shape)
    return costs.astype(np.float32), *ends, size, tile


@given(tasks())
def test_the_path_is_the_optimum_whatever_the_tiles(task):
    costs, start, end, size, tile = task
    path = minimal_path(costs, start, end, voxel_size=size)
    assert tuple(path.voxels[0]) == start
    assert tuple(path.voxels[-1]) == end
    best = least_cost(costs.astype(float), start, end, size)
    assert path.cost == pytest.approx(best, rel=1e-12)
    assert cost_along(costs, path.voxels, size) == pytest.approx(best, rel=1e-12)
    assert path.bound >= path.cost * (1 - 1e-12)
    tiles = CostTiles(ArrayCost(costs), memory=10**8, tile=tile)
    found = search(tiles, start, end, np.asarray(size))
    np.testing.assert_array_equal(found.voxels, path.voxels)
    assert (found.cost, found.bound, found.settled) == (path.cost, path.bound, path.settled)


@given(tasks())
def test_the_way_back_is_the_same_way(task):
    costs, start, end, size, _ = task
    there = minimal_path(costs, start, end, voxel_size=size)
    back = minimal_path(costs, end, start, voxel_size=size)
    np.testing.assert_array_equal(there.voxels, back.voxels[::-1])
    assert there.cost == back.cost


@pytest.mark.parametrize("contrast", [1e3, 1e7])
def test_costs_may_differ_a_million_times(contrast):
    rng = np.random.default_rng(0)
    costs = (contrast ** rng.uniform(0, 1, (12, 12, 12))).astype(np.float32)
    path = minimal_path(costs, (0, 0, 0), (11, 11, 11), voxel_size=(5, 1, 1))
    best = least_cost(costs.astype(float), (0, 0, 0), (11, 11, 11), (5, 1, 1))
    assert path.cost == pytest.approx(best, rel=1e-12)


def test_a_search_may_outgrow_its_first_queue(monkeypatch):
    costs = np.random.default_rng(0).choice([1, 1000], (40, 40, 40), p=[0.01, 0.99])
    paths = []
    for entries in (28, 2**16):
        monkeypatch.setattr("projectome.tracing.search.ENTRIES", entries)
        paths.append(minimal_path(costs, (0, 0, 0), (39, 39, 39), voxel_size=(1, 1, 1)))
    np.testing.assert_array_equal(paths[0].voxels, paths[1].voxels)
    assert paths[0].settled == paths[1].settled > 10_000


def test_even_costs_give_a_straight_line():
    path = minimal_path(np.full((9, 9, 40), 2), (4, 4, 0), (4, 4, 39), voxel_size=(3, 1, 0.5))
    assert path.cost == pytest.approx(2 * 39 * 0.5)
    assert path.length_um == pytest.approx(39 * 0.5)
    assert (path.voxels[:, :2] == 4).all()
    assert path.settled < 200, "least costs everywhere are the best case of the potential"


def test_a_path_from_a_voxel_to_itself():
    path = minimal_path(np.ones((3, 3, 3)), (1, 2, 0), (1, 2, 0), voxel_size=(1, 1, 1))
    assert path.voxels.tolist() == [[1, 2, 0]]
    assert (path.cost, path.bound, path.length_um, path.voxels_read) == (0, 0, 0, 0)


def test_results_cannot_be_written_to():
    path = minimal_path(np.ones((3, 3, 3)), (0, 0, 0), (2, 2, 2), voxel_size=(1, 1, 1))
    assert not path.voxels.flags.writeable
    assert not path.points_um.flags.writeable


@pytest.fixture(scope="module")
def detour():
    """A dark image, and a bright tube that leaves the box around its two ends by 40 voxels."""
    image = np.random.default_rng(1).integers(80, 120, (24, 96, 96)).astype(np.uint16)
    corners = [(12, 20, 30), (12, 80, 30), (12, 80, 60), (12, 20, 60)]
    for a, b in pairwise(corners):
        low, high = np.minimum(a, b) - 1, np.maximum(a, b) + 2
        image[tuple(map(slice, low, high))] = 1000
    return image, np.asarray(corners, float)


def test_a_better_way_around_is_found_far_from_the_straight_line(detour):
    image, corners = detour
    path = trace_path(lazily(image), corners[[0, 3]], low=120, high=900, contrast=40)
    costs = cost_from_intensity(image, low=120, high=900, contrast=40)
    best = least_cost(costs.astype(float), (12, 20, 30), (12, 20, 60), (1, 1, 1))
    assert path.cost == pytest.approx(best, rel=1e-12)
    assert path.voxels[:, 1].max() >= 79
    assert (image[tuple(path.voxels.T)] == 1000).all()
    assert path.corridor.covers(Box((12, 20, 30), (13, 81, 61)))


def test_only_the_corridor_is_read_and_each_chunk_once(detour):
    image, corners = detour
    volume = lazily(image)
    path = trace_path(volume, corners[[0, 3]], low=120, high=900, contrast=40)
    starts = [tuple(part.start for part in index) for index in volume.array.boxes]
    assert len(set(starts)) == len(starts)
    assert path.voxels_read == sum(image[index].size for index in volume.array.boxes)
    assert path.bytes_read == 2 * path.voxels_read
    assert path.voxels_read < 0.7 * image.size
    touched = np.zeros(image.shape, bool)
    for index in volume.array.boxes:
        touched[index] = True
    assert touched[tuple(path.voxels.T)].all()
    assert not touched[~inside(path.corridor, image.shape)].any()


def inside(box, shape):
    mask = np.zeros(shape, bool)
    mask[box.slices] = True
    return mask


def test_the_proof_holds_whatever_lies_outside_of_what_was_read(detour):
    image, corners = detour
    volume = lazily(image)
    path = trace_path(volume, corners[[0, 3]], low=120, high=900, contrast=40)
    costs = np.ones(image.shape)
    for index in volume.array.boxes:
        costs[index] = cost_from_intensity(image[index], low=120, high=900, contrast=40)
    hopeful = least_cost(costs, (12, 20, 30), (12, 20, 60), (1, 1, 1))
    assert (costs == 1).mean() > 0.3, "much was not read and is as cheap as can be here"
    assert hopeful == pytest.approx(path.cost, rel=1e-12)
    assert path.bound >= path.cost


def test_the_same_path_whatever_the_chunks(detour):
    image, corners = detour
    words = {"low": 90, "high": 900, "contrast": 15}
    paths = [trace_path(lazily(image, n), corners, **words) for n in (1, 5, 8, 64, 500)]
    for path in paths[1:]:
        np.testing.assert_array_equal(path.voxels, paths[0].voxels)
        assert path.cost == paths[0].cost


class Helix:
    """A lazy image of a million voxels an axis with one bright helix along z."""

    shape = (10**6, 10**6, 10**6)
    chunks = (32, 32, 32)
    dtype = np.dtype(np.uint8)
    reads = 0

    @staticmethod
    def middle(z):
        turn = np.asarray(z) / 40
        return 5e5 + 25 * np.sin(turn), 5e5 + 25 * np.cos(turn)

    def read(self, index):
        type(self).reads += 1
        z, y, x = np.ogrid[index]
        at_y, at_x = self.middle(z)
        return np.where((y - at_y) ** 2 + (x - at_x) ** 2 < 6, 200, 20).astype(np.uint8)


def test_a_volume_far_larger_than_memory():
    volume = Volume(Helix(), Affine.from_scale((1, 1, 1)))
    ends = [(z, *np.round(Helix.middle(z))) for z in (500_000, 500_250)]
    path = trace_path(volume, ends, low=20, high=200)
    at_y, at_x = Helix.middle(path.voxels[:, 0])
    assert np.hypot(path.voxels[:, 1] - at_y, path.voxels[:, 2] - at_x).max() < 3
    assert path.voxels_read < 4_000_000


def test_memory_is_held_to():
    volume = Volume(Helix(), Affine.from_scale((1, 1, 1)))
    ends = [(z, *np.round(Helix.middle(z))) for z in (500_000, 500_900)]
    with pytest.raises(MemoryBudgetError, match="waypoint between the ends"):
        trace_path(volume, ends, low=20, high=200, memory=20 * 32**3 * 30)


def test_waypoints_are_joined(detour):
    image, corners = detour
    volume = lazily(image, size=(2, 1, 0.5))
    points = volume.affine(corners)
    words = {"low": 120, "high": 900}
    path = trace_path(volume, points, **words)
    legs = [trace_path(volume, pair, **words) for pair in pairwise(points)]
    assert path.cost == pytest.approx(sum(leg.cost for leg in legs))
    assert path.bound - path.cost == pytest.approx(min(leg.bound - leg.cost for leg in legs))
    assert len(path) == sum(len(leg) for leg in legs) - 2
    assert path.voxels_read < sum(leg.voxels_read for leg in legs), "what was read stays"
    for corner in corners:
        assert (path.voxels == corner).all(axis=1).sum() == 1
    np.testing.assert_allclose(path.points_um, path.voxels * (2, 1, 0.5))


def test_micrometres_follow_the_affine_and_points_move_to_their_voxel():
    image = np.ones((4, 5, 6))
    image[2] = 9
    volume = Volume.from_array(image, voxel_size=(4, 2, 2), translation=(100, 0, -3))
    path = trace_path(volume, [(109.9, 0.9, -3.9), (107, 8, 7)], low=1, high=9)
    np.testing.assert_allclose(path.points_um[[0, -1]], [(108, 0, -3), (108, 8, 7)])
    assert path.space == volume.space


def test_limits_default_to_the_surroundings(detour):
    image, corners = detour
    default = trace_path(lazily(image), corners[:2])
    given_ = trace_path(lazily(image), corners[:2], low=101, high=1000)
    assert (image[tuple(default.voxels.T)] == 1000).all()
    assert default.cost == pytest.approx(given_.cost, rel=0.02)


def test_a_path_becomes_a_skeleton(detour):
    image, corners = detour
    path = trace_path(lazily(image, size=(2, 1, 1)), corners * (2, 1, 1), low=120, high=900)
    skeleton = path.to_skeleton()
    assert len(skeleton.roots) == 1
    assert len(skeleton.branch_points) == 0
    assert skeleton.cable_length == pytest.approx(path.length_um)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([(0, 0, 0)], "at least two points, its ends, not 1"),
        ([(0, 0, 0), (8, 5, 7)], r"\[8.0, 5.0, 7.0\] um lies outside .* to \[6.0, 4.0, 5.0\] um"),
        ([(-2, 0, 0), (0, 0, 0)], "lies outside"),
        ([(np.nan, 0, 0), (0, 0, 0)], "lies outside"),
    ],
)
def test_points_have_to_lie_in_the_volume(points, says):
    volume = Volume.from_array(np.arange(120).reshape(4, 5, 6), voxel_size=(2, 1, 1))
    with pytest.raises(ParameterError, match=says):
        trace_path(volume, points, low=0, high=9)


def test_sheared_axes_have_no_lengths():
    matrix = np.eye(4)
    matrix[0, 1] = 0.3
    plain = Volume.from_array(np.ones((4, 4, 4)), voxel_size=(1, 1, 1))
    sheared = Volume(plain.array, Affine(matrix, plain.affine.source, plain.space))
    with pytest.raises(ShapeError, match="resample it to a plain grid"):
        trace_path(sheared, [(0, 0, 0), (2, 2, 2)], low=0, high=1)


def test_turned_axes_have_lengths():
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 2, 0], [-0.6, 0, 0.8], [0.8, 0, 0.6]]
    plain = Volume.from_array(np.ones((4, 4, 4)), voxel_size=(1, 1, 1))
    turned = Volume(plain.array, Affine(matrix, plain.affine.source, plain.space))
    path = trace_path(turned, turned.affine([(0, 0, 0), (0, 3, 0)]), low=0, high=1)
    assert path.length_um == pytest.approx(6)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"end": (0, 0, 3)}, r"voxel \(0, 0, 3\) lies outside .*\[0:3, 0:3, 0:3\]"),
        ({"start": (0.5, 0, 0)}, "A voxel must be one integer or three"),
        ({"voxel_size": (1, 0, 1)}, "positive and finite"),
        ({"voxel_size": (1, -1, 1)}, "positive and finite"),
        ({"cost": -np.ones((3, 3, 3))}, "cost_from_intensity"),
        ({"cost": np.full((3, 3, 3), np.nan)}, "cost_from_intensity"),
    ],
)
def test_wrong_calls_say_what_to_do(words, says):
    call = {"cost": np.ones((3, 3, 3)), "start": (0, 0, 0), "end": (2, 2, 2)}
    call |= {"voxel_size": (1, 1, 1)} | words
    with pytest.raises(ParameterError, match=says):
        minimal_path(**call)


def test_a_source_that_breaks_its_promise_is_caught():
    class Liar(ArrayCost):
        @property
        def shape(self):
            return self.array.shape

        def read(self, box):
            return self.array[box.slices] / 2

    with pytest.raises(ParameterError, match=r"promises 1\.0 to 1\.0"):
        minimal_path(Liar(np.ones((3, 3, 3))), (0, 0, 0), (2, 2, 2), voxel_size=(1, 1, 1))


@pytest.mark.realdata
def test_real_axons_against_scikit_image(data):
    stack = tifffile.imread(data / "trailmap" / "example_chunk_303x303x303.tif")
    costs = cost_from_intensity(stack[100:170, 100:196, 100:196], low=1431, high=3808)
    bright = np.argwhere(costs < 2)
    pairs = np.random.default_rng(0).choice(bright, (3, 2))
    for start, end in pairs:
        path = minimal_path(costs, start, end, voxel_size=(1, 1, 1))
        _, best = route_through_array(costs, start, end)
        assert path.cost == pytest.approx(best, rel=1e-9)
