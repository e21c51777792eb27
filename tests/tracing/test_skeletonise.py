import numpy as np
import pytest
from scipy import ndimage

from projectome.core.box import BlockGrid, Box
from projectome.errors import ParameterError, ShapeError
from projectome.tracing.skeletonise import teasar, trace_block

ONE = (1.0, 1.0, 1.0)
SHAPE = (48, 56, 64)


def cable(graph):
    position, edges, _ = graph
    return np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1).sum()


def degree(graph):
    return np.bincount(graph[1].ravel(), minlength=len(graph[0]))


class TestTeasar:
    def test_a_line_of_voxels_is_its_own_skeleton(self):
        labels = np.zeros((5, 6, 30), np.uint8)
        labels[2, 3, 4:25] = 7
        ((label, (position, edges, radius)),) = teasar(
            labels, voxel_size=(5, 4, 2), scale=1.5, constant_um=2
        ).items()
        assert label == 7
        assert sorted(position[:, 2]) == [2.0 * x for x in range(4, 25)]
        assert (position[:, :2] == (10, 12)).all()
        assert cable((position, edges, radius)) == 40
        assert position.dtype == np.float64
        assert edges.dtype == np.int64
        assert radius.dtype == np.float32

    def test_a_tube_is_traced_along_its_middle(self, tube):
        a, b = (10, 12, 10), (36, 40, 52)
        mask = tube(SHAPE, 4.0, [a, b])
        graph = teasar(mask, voxel_size=ONE, scale=1.5, constant_um=4)[1]
        position, _, radius = graph
        true = np.linalg.norm(np.subtract(b, a))
        assert true < cable(graph) < 1.13 * true + 8, "steps of voxels, to the surface at both ends"
        assert (degree(graph) <= 2).all()
        along = np.subtract(b, a) / true
        offset = position - a
        inner = (offset @ along > 4) & (offset @ along < true - 4)
        away = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
        assert away[inner].max() < 1.5
        assert np.abs(radius[inner] - 4.5).max() < 1

    def test_radii_are_distances_to_the_outside(self, tube):
        mask = tube(SHAPE, 3.0, [(9, 9, 9), (30, 40, 50)], [(9, 9, 9), (38, 20, 12)])
        size = (2.0, 1.0, 1.5)
        position, _, radius = teasar(mask, voxel_size=size, scale=1, constant_um=2)[1]
        true = ndimage.distance_transform_edt(mask, sampling=size)
        voxel = tuple(np.rint(position / size).astype(int).T)
        assert mask[voxel].all()
        np.testing.assert_allclose(radius, true[voxel], rtol=1e-6)

    def test_a_fork_has_three_ends(self, tube):
        fork = (24, 28, 30)
        mask = tube(SHAPE, 2.5, *([fork, tip] for tip in [(8, 10, 8), (40, 46, 12), (24, 20, 58)]))
        graph = teasar(mask, voxel_size=ONE, scale=1.5, constant_um=5)[1]
        assert np.bincount(degree(graph))[[1, 3]].tolist() == [3, 1]
        assert np.linalg.norm(graph[0][degree(graph) == 3] - fork) < 4

    def test_a_ring_is_opened(self):
        z, y, x = np.indices((9, 50, 50))
        mask = np.hypot(np.hypot(y - 25, x - 25) - 18, z - 4) <= 2.5
        graph = teasar(mask, voxel_size=ONE, scale=1.5, constant_um=4)[1]
        assert len(graph[1]) == len(graph[0]) - 1
        assert 0.75 < cable(graph) / (2 * np.pi * 18) < 1.25

    def test_labels_that_touch_stay_apart(self):
        labels = np.ones((5, 5, 40), np.int16)
        labels[..., 20:] = 2
        found = teasar(labels, voxel_size=ONE, scale=1.5, constant_um=4)
        assert list(found) == [1, 2]
        assert found[1][0][:, 2].max() < 20 <= found[2][0][:, 2].min()

    def test_an_open_border_leads_to_the_middle_of_the_section(self):
        labels = np.zeros((21, 21, 30), np.uint8)
        labels[6:15, 6:15] = 1
        opened = teasar(labels, voxel_size=ONE, scale=1.5, constant_um=2)[1]
        tips = opened[0][degree(opened) == 1]
        assert sorted(map(tuple, tips)) == [(10, 10, 0), (10, 10, 29)]
        assert (opened[2] == 5).all()
        closed = teasar(labels, voxel_size=ONE, scale=1.5, constant_um=2, open_border=False)[1]
        assert closed[2].min() == 1

    def test_single_voxels(self):
        labels = np.zeros((5, 5, 9), np.uint32)
        labels[2, 2, 2], labels[2, 2, 6:8] = 4, 5
        found = teasar(labels, voxel_size=(3, 2, 1), scale=1, constant_um=1)
        assert [len(graph[0]) for graph in found.values()] == [1, 2]
        np.testing.assert_array_equal(found[4][0], [(6, 4, 2)])
        assert found[4][1].shape == (0, 2)
        assert list(teasar(labels, voxel_size=ONE, scale=1, constant_um=1, min_length_um=1)) == [5]
        assert teasar(labels * 0, voxel_size=ONE, scale=1, constant_um=1) == {}

    def test_short_components_of_a_label_go_the_others_stay(self):
        labels = np.zeros((3, 3, 40), np.uint8)
        labels[1, 1, :20] = labels[1, 1, 24:27] = 1
        position, edges, radius = teasar(
            labels, voxel_size=ONE, scale=1, constant_um=1, min_length_um=5
        )[1]
        assert sorted(position[:, 2]) == list(range(20))
        assert len(radius) == 20
        assert (np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1) == 1).all()

    @pytest.mark.parametrize("dtype", ["u1", ">u2", "u4", "u8", "i1", "<i2", "i4", "i8", "?"])
    def test_every_type_of_label(self, dtype):
        labels = np.zeros((3, 3, 9), dtype)
        labels[1, 1, 2:7] = label = min(2**62 + 1, np.iinfo(dtype).max) if dtype != "?" else 1
        ((found, graph),) = teasar(labels, voxel_size=ONE, scale=1, constant_um=1).items()
        assert found == label
        assert len(graph[0]) == 5

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros((3, 3, 3)), "axes .* of integers; these are float64"),
            (np.zeros((3, 3), int), r"of the shape \(3, 3\)"),
            (np.full((3, 3, 3), -2), "0 or more; the smallest of these is -2"),
        ],
    )
    def test_no_labels(self, labels, message):
        with pytest.raises(ShapeError, match=message):
            teasar(labels, voxel_size=ONE, scale=1, constant_um=1)

    @pytest.mark.parametrize("name", ["scale", "constant_um", "min_length_um"])
    def test_wrong_parameters(self, name):
        options = {"voxel_size": ONE, "scale": 1.0, "constant_um": 1.0} | {name: -1.0}
        with pytest.raises(ParameterError, match=f"{name} of a skeleton .* 0 or more, not -1.0"):
            teasar(np.zeros((3, 3, 3), int), **options)
        with pytest.raises(ParameterError, match="three positive numbers"):
            teasar(np.zeros((3, 3, 3), int), voxel_size=(1, 0, 1), scale=1, constant_um=1)


class TestTraceBlock:
    @pytest.fixture
    def blocks(self, tube):
        labels = tube(SHAPE, 3.0, [(9, 9, 9), (30, 47, 52)], [(9, 40, 6), (38, 20, 60)]).astype(
            "u2"
        )
        grid = BlockGrid(Box.from_shape(SHAPE), (20, 24, 28), (6, 6, 6))
        return labels, {
            block.index: trace_block(
                labels[block.read.slices],
                core=block.core,
                read=block.read,
                shape=SHAPE,
                voxel_size=ONE,
                scale=1.5,
                constant_um=3,
            )
            for block in grid
        }

    def test_nodes_are_voxels_of_their_label_and_parents_their_neighbours(self, blocks):
        labels, tables = blocks
        for nodes in tables.values():
            voxel, parent = nodes["voxel"], nodes["parent"]
            assert (labels.ravel()[voxel] == nodes["label"]).all()
            assert (np.diff(voxel) > 0).all()
            joined = parent >= 0
            assert np.isin(parent[joined], voxel).all()
            ends = np.stack(np.unravel_index([voxel[joined], parent[joined]], SHAPE), axis=-1)
            assert (np.abs(ends[0] - ends[1]).max(axis=1) == 1).all()

    def test_neighbours_meet_in_every_section(self, blocks):
        labels, tables = blocks
        grid = BlockGrid(Box.from_shape(SHAPE), (20, 24, 28), (6, 6, 6))
        met = 0
        for block in grid:
            for axis in range(3):
                above = tuple(i + (a == axis) for a, i in enumerate(block.index))
                if above not in tables:
                    continue
                plane = Box(
                    tuple(
                        grid[above].core.start[a] if a == axis else s
                        for a, s in enumerate(block.core.start)
                    ),
                    tuple(min(s + 1, n) for s, n in zip(block.core.stop, SHAPE, strict=True)),
                )
                sections, count = ndimage.label(labels[plane.slices], np.ones((3, 3, 3)))
                shared = np.intersect1d(tables[block.index]["voxel"], tables[above]["voxel"])
                place = np.stack(np.unravel_index(shared, SHAPE), axis=1)
                place = place[((place >= plane.start) & (place < plane.stop)).all(axis=1)]
                assert set(sections[tuple((place - plane.start).T)]) == set(range(1, count + 1))
                met += count
        assert met > 5

    def test_ends_are_those_of_the_object(self, tube):
        labels = tube((20, 20, 60), 2.0, [(10, 10, 8), (10, 10, 52)])
        read = Box((0, 0, 0), (20, 20, 38))
        nodes = trace_block(
            labels[read.slices],
            core=Box((0, 0, 0), (20, 20, 30)),
            read=read,
            shape=labels.shape,
            voxel_size=ONE,
            scale=1.5,
            constant_um=3,
        )
        x = np.unravel_index(nodes["voxel"], labels.shape)[2]
        assert x.max() == 30, "up to the plane that the next block shares"
        assert x[nodes["end"]].tolist() == [6]

    def test_empty_blocks_have_the_same_columns(self):
        box = Box.from_shape((4, 4, 4))
        options = {"core": box, "read": box, "shape": (4, 4, 4), "voxel_size": ONE}
        nodes = trace_block(np.zeros((4, 4, 4), np.uint8), **options, scale=1, constant_um=1)
        assert {name: (len(v), v.dtype.str[1:]) for name, v in nodes.items()} == {
            "label": (0, "u8"),
            "voxel": (0, "i8"),
            "parent": (0, "i8"),
            "radius_um": (0, "f4"),
            "end": (0, "b1"),
        }

    def test_labels_of_another_shape(self):
        box = Box.from_shape((4, 4, 4))
        options = {"core": box, "read": box, "shape": (4, 4, 4), "voxel_size": ONE}
        with pytest.raises(ShapeError, match=r"have the shape \(3, 4, 4\); .* has \(4, 4, 4\)"):
            trace_block(np.zeros((3, 4, 4), int), **options, scale=1, constant_um=1)
        with pytest.raises(ParameterError, match=r"scale of a skeleton .* not -1"):
            trace_block(np.zeros((4, 4, 4), int), **options, scale=-1, constant_um=1)
