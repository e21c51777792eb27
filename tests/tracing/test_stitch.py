import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, ShapeError
from projectome.testing.strategies import skeletons
from projectome.tracing.skeletonise import teasar, trace_block
from projectome.tracing.stitch import leading_paths, rooted_at_tips, stitch

ONE = Affine.from_scale((1.0, 1.0, 1.0))
SPACE = Space("sample", expansion=4.0)
SHAPE = (72, 72, 72)


def tables(labels, block, *, scale=1.5, constant_um=4.0, margin=8, affine=ONE):
    grid = BlockGrid(Box.from_shape(labels.shape), block, (margin,) * 3)
    return [
        trace_block(
            labels[b.read.slices],
            core=b.core,
            read=b.read,
            shape=labels.shape,
            voxel_size=affine.voxel_size,
            scale=scale,
            constant_um=constant_um,
        )
        for b in grid
    ]


def together(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stitched(labels, block, *, scale=1.5, constant_um=4.0, affine=ONE, margin=8, **options):
    reach = {"scale": scale, "constant_um": constant_um}
    nodes = together(tables(labels, block, margin=margin, affine=affine, **reach))
    return stitch(nodes, shape=labels.shape, affine=affine, **reach, **options)


def whole(labels, *, scale=1.5, constant_um=4.0, affine=ONE):
    graphs = teasar(labels, voxel_size=affine.voxel_size, scale=scale, constant_um=constant_um)
    return {
        label: np.linalg.norm(p[e[:, 0]] - p[e[:, 1]], axis=1).sum()
        for label, (p, e, _) in graphs.items()
    }


def voxels(skeleton, affine=ONE):
    return np.rint(affine.inverse()(skeleton.coordinates)).astype(int)


def same(a, b):
    return (
        np.array_equal(a.coordinates, b.coordinates)
        and np.array_equal(a.parent, b.parent)
        and np.array_equal(a.radius, b.radius)
    )


class TestTubes:
    """Planted tubes: how the volume is cut does not show."""

    @settings(max_examples=20)
    @given(
        ends=st.tuples(*[st.tuples(*[st.floats(8, 63)] * 3)] * 2).filter(
            lambda ends: np.linalg.norm(np.subtract(*ends)) > 50
        ),
        radius=st.floats(1.5, 4.5),
        block=st.tuples(*[st.integers(24, 56)] * 3),
    )
    def test_cable_is_that_of_the_whole(self, tube, ends, radius, block):
        mask = tube(SHAPE, radius, ends)
        skeleton, labels = stitched(mask, block)
        expected = whole(mask)[1]
        assert labels.tolist() == [1]
        # The rounding of a thin tube can leave a voxel that no path clears.
        assert len(skeleton.ends) <= (2 if radius > 2 else 3), "no ticks"
        # Near a face a path may end up to a radius short of the surface of the tip.
        assert abs(skeleton.cable_length - expected) < 0.05 * expected + radius
        assert mask[tuple(voxels(skeleton).T)].all()

    @pytest.mark.parametrize("offset", range(-5, 6))
    def test_a_tube_along_a_face_is_traced_once(self, tube, offset):
        mask = tube((40, 40, 90), 3.5, [(20 + offset, 20.4 + offset, 5), (20 + offset, 20.4, 84)])
        skeleton, _ = stitched(mask, (20, 20, 45))
        assert len(skeleton.roots) == 1
        assert len(skeleton.ends) == 2
        assert skeleton.cable_length == pytest.approx(whole(mask)[1], rel=0.05)

    def test_a_bent_axon_through_many_blocks(self, tube):
        path = [(4, 30, 4), (20, 6, 30), (34, 60, 52), (60, 20, 66), (66, 66, 8)]
        mask = tube(SHAPE, 1.8, path)
        expected = whole(mask)[1]
        for size in (16, 23, 40):
            skeleton, _ = stitched(mask, (size,) * 3)
            assert len(skeleton.ends) == 2
            assert skeleton.cable_length == pytest.approx(expected, rel=0.05)

    def test_a_fork(self, tube):
        fork = (36, 37, 35)
        tips = [(6, 8, 10), (64, 60, 14), (40, 20, 66)]
        mask = tube(SHAPE, 3.0, *([fork, tip] for tip in tips))
        for size in (72, 36, 30, 24):
            skeleton, _ = stitched(mask, (size,) * 3)
            assert len(skeleton.ends) == 3
            assert skeleton.cable_length == pytest.approx(whole(mask)[1], rel=0.05)
            away = np.linalg.norm(skeleton.coordinates[skeleton.ends][:, None] - tips, axis=-1)
            assert (away.min(axis=0) < 6).all()

    def test_tubes_that_cross_in_one_label(self, tube):
        mask = tube(SHAPE, 2.5, [(10, 8, 30), (60, 62, 40)], [(12, 60, 34), (58, 10, 38)])
        for size in (72, 36, 25):
            skeleton, labels = stitched(mask, (size,) * 3)
            assert len(labels) == 1
            assert len(skeleton.ends) == 4
            assert skeleton.cable_length == pytest.approx(whole(mask)[1], rel=0.05)

    def test_two_labels_side_by_side(self, tube):
        mask = tube(SHAPE, 4.0, [(10, 10, 10), (60, 60, 60)])
        halves = mask * np.where(np.arange(72) < 36, 3, 9).astype(np.uint64)
        skeleton, labels = stitched(halves, (30, 36, 25))
        assert labels.tolist() == [3, 9]
        assert (halves[tuple(voxels(skeleton).T)] == labels[skeleton.tree]).all()

    def test_a_ring_is_opened_once(self):
        z, y, x = np.indices((20, 64, 64))
        mask = np.hypot(np.hypot(y - 31, x - 33) - 22, z - 9) <= 2.5
        for size in (64, 32, 20):
            skeleton, labels = stitched(mask, (size,) * 3)
            assert len(labels) == len(skeleton.roots) == 1
            assert 0.85 < skeleton.cable_length / (2 * np.pi * 22) < 1.2

    def test_a_body_with_neurites(self, tube):
        body = tube(SHAPE, 9.0, [(36, 36, 36), (36, 36, 36.1)])
        mask = body | tube(SHAPE, 1.5, [(36, 36, 36), (4, 8, 30)], [(36, 36, 36), (60, 66, 68)])
        for size in (72, 36, 24):
            skeleton, _ = stitched(mask, (size,) * 3)
            assert len(skeleton.ends) == 2
            assert skeleton.cable_length == pytest.approx(whole(mask)[1], rel=0.05)

    def test_micrometres_of_an_uneven_grid(self, tube):
        size = (4.0, 1.5, 1.5)
        affine = Affine.from_scale(size, (100, -20, 7), target=SPACE)
        mask = tube((30, 72, 72), 8.0, [(16, 14, 13), (102, 90, 84)], size=size)
        skeleton, _ = stitched(mask, (16, 30, 30), affine=affine, constant_um=6)
        expected = whole(mask, affine=affine, constant_um=6)[1]
        assert skeleton.space == SPACE
        assert skeleton.cable_length == pytest.approx(expected, rel=0.05)
        index = voxels(skeleton, affine)
        np.testing.assert_allclose(affine(index), skeleton.coordinates, atol=1e-9)
        true = ndimage.distance_transform_edt(np.pad(mask, 9, mode="edge"), sampling=size)
        np.testing.assert_allclose(skeleton.radius, true[tuple((index + 9).T)], rtol=1e-6)


@st.composite
def noise(draw):
    shape = draw(st.tuples(*[st.integers(3, 14)] * 3))
    share = draw(st.floats(0.05, 0.9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(1, 4, shape) * (rng.random(shape) < share)
    return labels, draw(st.tuples(*[st.integers(1, 9)] * 3)), draw(st.integers(1, 3))


class TestTopology:
    @given(noise())
    def test_a_tree_for_each_component(self, drawn):
        """Also where components hang together by one corner of a voxel, at corners of blocks."""
        labels, block, margin = drawn
        skeleton, found = stitched(labels, block, margin=margin)
        index = tuple(voxels(skeleton).T)
        assert (labels[index] == found[skeleton.tree]).all()
        for label in range(1, 4):
            numbers, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
            assert (found == label).sum() == count
            mine = found[skeleton.tree] == label
            pairs = np.unique(np.stack([skeleton.tree, numbers[index]])[:, mine], axis=1)
            assert pairs.shape[1] == count, "no tree in two components"
        steps = np.abs(np.diff(np.stack(index, axis=1)[skeleton.edges], axis=1))
        assert (steps.max(axis=-1) == 1).all()

    @given(noise(), st.randoms(use_true_random=False))
    def test_the_order_of_blocks_does_not_matter(self, drawn, random):
        labels, block, margin = drawn
        parts = tables(labels, block, margin=margin, scale=1.0, constant_um=1.0)
        options = {"shape": labels.shape, "affine": ONE, "scale": 1.0, "constant_um": 1.0}
        first = stitch(together(parts), **options)
        random.shuffle(parts)
        nodes = together(parts)
        order = np.random.default_rng(random.randrange(2**32)).permutation(len(nodes["voxel"]))
        again = stitch({name: values[order] for name, values in nodes.items()}, **options)
        assert same(first[0], again[0])
        assert first[1].tolist() == again[1].tolist()

    def test_nothing(self):
        skeleton, labels = stitched(np.zeros((9, 9, 9), np.uint8), (4, 4, 4))
        assert len(skeleton) == len(labels) == 0
        assert labels.dtype == np.uint64

    def test_huge_labels(self):
        labels = np.zeros((3, 3, 20), np.uint64)
        labels[1, 1] = 2**64 - 3
        assert stitched(labels, (3, 3, 7))[1].tolist() == [2**64 - 3]


class TestTidying:
    @pytest.fixture
    def nodes(self, tube):
        labels = tube((24, 24, 80), 2.0, [(12, 12, 6), (12, 12, 74)]).astype(int)
        labels[12, 3:12, 39] = 1  # a twig, right beside a face of blocks
        labels[2, 2, 2:6] = 2
        labels[20, 20, 20] = 3
        return together(tables(labels, (24, 24, 40), scale=1, constant_um=1))

    def stitch(self, nodes, **options):
        return stitch(
            nodes, shape=(24, 24, 80), affine=ONE, **{"scale": 1, "constant_um": 1, **options}
        )

    def test_ticks_are_removed_after_merging(self, nodes):
        assert len(self.stitch(nodes)[0].branch_points) == 1
        skeleton, labels = self.stitch(nodes, min_tick_um=12)
        assert labels.tolist() == [2, 1, 3], "no tree is lost, the cut ends at the face are none"
        assert len(skeleton.branch_points) == 0
        assert skeleton.cable_length == pytest.approx(3 + 72, abs=4)

    def test_short_trees_are_removed(self, nodes):
        assert self.stitch(nodes, min_length_um=1)[1].tolist() == [2, 1]
        assert self.stitch(nodes, min_length_um=10)[1].tolist() == [1]
        assert self.stitch(nodes, min_length_um=1e4)[1].tolist() == []

    @pytest.mark.parametrize("name", ["scale", "constant_um", "min_tick_um", "min_length_um"])
    def test_wrong_parameters(self, nodes, name):
        with pytest.raises(ParameterError, match=f"{name} of a skeleton .* not nan"):
            self.stitch(nodes, **{name: np.nan})

    def test_a_missing_block(self, nodes):
        rest = {name: values[10:] for name, values in nodes.items()}
        with pytest.raises(ShapeError, match=r"no nodes, .* tables of all blocks of one run"):
            self.stitch(rest)


def by_definition(skeleton, end, scale, constant, near):
    """What `leading_paths` says it does, one sentence after the other."""
    n = len(skeleton)
    gap = np.linalg.norm(skeleton.coordinates[:, None] - skeleton.coordinates, axis=-1)
    together_ = skeleton.tree[:, None] == skeleton.tree
    joined = np.zeros((n, n), dtype=bool)
    joined[tuple(skeleton.edges.T)] = joined[tuple(skeleton.edges.T)[::-1]] = True
    radius = np.zeros(n) if skeleton.radius is None else skeleton.radius.astype(float)
    kept, cleared = set(), set()
    while True:
        left = [v for v in range(n) if v not in kept and (end[v] or v not in cleared)]
        if not left:
            return np.isin(np.arange(n), list(kept))
        node = max(left, key=lambda v: (end[v], skeleton.root_distance[v], -v))
        path = []
        while node >= 0 and node not in kept:
            path.append(node)
            node = skeleton.parent[node]
        kept |= set(path)
        for v in path:
            ball = gap[v] <= scale * radius[v] + constant
            reached = together_[v] & (gap[v] <= max(radius[v], near))
            while True:
                further = reached | (joined[reached].any(axis=0) & ball)
                if (further == reached).all():
                    break
                reached = further
            cleared |= set(np.flatnonzero(reached))


class TestLeadingPaths:
    @given(
        skeletons(largest=24),
        st.integers(0, 2**24),
        st.floats(0, 3),
        st.floats(0, 60),
        st.floats(0, 40),
    )
    def test_definition(self, skeleton, bits, scale, constant, near):
        skeleton = Skeleton(
            skeleton.coordinates / 1000, skeleton.parent, skeleton.space, skeleton.radius
        )
        end = np.array([bits >> node & 5 == 5 for node in range(len(skeleton))], dtype=bool)
        kept = leading_paths(skeleton, end, scale=scale, constant_um=constant, near_um=near)
        expected = by_definition(skeleton, end, scale, constant, near)
        np.testing.assert_array_equal(kept, expected)
        assert kept[end | (skeleton.parent < 0)].all()
        assert len(skeleton.take(kept).roots) == len(skeleton.roots)

    @given(skeletons())
    def test_roots_at_tips(self, skeleton):
        turned = rooted_at_tips(skeleton)
        assert len(turned.roots) == len(skeleton.roots)
        assert turned.cable_length == pytest.approx(skeleton.cable_length)
        assert (turned.degree[turned.roots] <= 1).all() or (turned.lengths == 0).any()


@pytest.mark.realdata
class TestRealData:
    def test_a_dense_segmentation(self, data):
        import tifffile

        labels = tifffile.imread(data / "lsd_fib25" / "labels.tif")[:, :150, :150]
        labels = np.where(
            np.isin(labels, np.flatnonzero(np.bincount(labels.ravel()) > 2000)), labels, 0
        )
        affine = Affine.from_scale((8.0, 8.0, 8.0))
        options = {"scale": 1.5, "constant_um": 40.0, "affine": affine}
        expected = whole(labels, **options)
        skeleton, found = stitched(labels, (75, 75, 75), **options)
        assert set(found.tolist()) == set(expected)
        total = sum(expected.values())
        assert skeleton.cable_length == pytest.approx(total, rel=0.05)

    def test_axons(self, data):
        import tifffile

        stack = tifffile.imread(data / "trailmap" / "example_chunk_303x303x303.tif")
        stack = ndimage.gaussian_filter(stack[100:220, :160, 140:300].astype(np.float32), 1.0)
        labels, _ = ndimage.label(stack > 1800, np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel())
        labels = np.where(sizes[labels] >= 100, labels, 0)
        affine = Affine.from_scale((4.0, 4.0, 4.0))
        options = {"scale": 1.5, "constant_um": 20.0, "affine": affine}
        total = sum(whole(labels, **options).values())
        for size in (160, 80):
            skeleton, found = stitched(labels, (size,) * 3, **options)
            assert len(found) == labels_with_voxels(labels)
            assert skeleton.cable_length == pytest.approx(total, rel=0.05)


def labels_with_voxels(labels):
    return len(np.unique(labels)) - 1
