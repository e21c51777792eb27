import numpy as np
import pytest
from scipy import ndimage

from projectome.core.affine import Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.space import Space
from projectome.engine.run import run
from projectome.engine.sinks import TableSink
from projectome.errors import ParameterError
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import create_volume
from projectome.testing.steps import StepContract
from projectome.tracing.skeletonise import teasar
from projectome.tracing.steps import SkeletoniseBlocks
from projectome.tracing.stitch import stitch

SHAPE = (40, 64, 80)
GRID = Affine.from_scale((3.0, 2.0, 2.0), (10, 20, 30), target=Space("sample"))
REACH = {"scale": 1.5, "constant_um": 8.0}


@pytest.fixture(scope="module")
def planted(tube, tmp_path_factory):
    """Two axons, one of them with a branch, and a single voxel; their labels as a volume."""
    size = GRID.voxel_size
    labels = np.zeros(SHAPE, np.uint32)
    labels[tube(SHAPE, 5.0, [(20, 16, 10), (96, 110, 150)], size=size)] = 7
    fork = [(30, 100, 20), (60, 60, 80), (90, 20, 146)]
    labels[tube(SHAPE, 4.0, fork, [(60, 60, 80), (14, 30, 120)], size=size)] = 2**31 + 5
    labels[1, 1, 78] = 3
    url = str(tmp_path_factory.mktemp("labels") / "labels.ome.zarr")
    writer = create_volume(
        url, shape=SHAPE, dtype="uint32", affine=GRID, chunks=(20, 32, 40), kind="labels", levels=1
    )
    writer.write(Box.from_shape(SHAPE), labels)
    writer.finish()
    return labels, VolumeSource(url)


class TestContract(StepContract):
    """The merged forest is the same however the volume is cut, but for small detours at faces."""

    tolerance = 0.05

    @pytest.fixture(autouse=True)
    def _planted(self, planted):
        self.labels, self.source = planted

    def grid(self):
        return BlockGrid(Box.from_shape(SHAPE), (20, 32, 40), (6, 6, 6))

    def step(self, grid):
        return SkeletoniseBlocks(self.source, **REACH, margin=6)

    def merged(self, sink):
        skeleton, labels = stitch(sink.read(), shape=SHAPE, affine=GRID, **REACH)
        cable = np.bincount(skeleton.tree, weights=skeleton.lengths)
        order = np.argsort(labels)
        return {
            "labels": labels[order],
            "cable": cable[order],
            "ends": [np.bincount(skeleton.tree[skeleton.ends]).tolist()[i] for i in order],
        }


def test_from_labels_on_disk_to_the_forest(planted, tmp_path):
    labels, source = planted
    step = SkeletoniseBlocks(source, **REACH)
    sink = TableSink(str(tmp_path / "nodes"))
    grid = BlockGrid(Box.from_shape(SHAPE), (20, 32, 40), step.halo())
    run(step, grid, sink=sink, ledger=str(tmp_path / "ledger"))
    nodes = sink.read()
    assert nodes.dtypes.astype(str).to_dict() == {
        "label": "uint64",
        "voxel": "int64",
        "parent": "int64",
        "radius_um": "float32",
        "end": "bool",
    }
    skeleton, found = stitch(nodes, shape=SHAPE, affine=GRID, **REACH, min_length_um=20)
    assert sorted(found.tolist()) == [7, 2**31 + 5]
    whole = teasar(labels, voxel_size=GRID.voxel_size, **REACH)
    for label, tree in zip(found.tolist(), skeleton.trees(), strict=True):
        position, edges, _ = whole[label]
        cable = np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1).sum()
        assert tree.cable_length == pytest.approx(cable, rel=0.05)
        assert len(tree.ends) == (2 if label == 7 else 3)
    place = tuple(np.rint(GRID.inverse()(skeleton.coordinates)).astype(int).T)
    assert (labels[place] == found[skeleton.tree]).all()
    distance = ndimage.distance_transform_edt(np.pad(labels == 7, 1), sampling=GRID.voxel_size)
    mine = found[skeleton.tree] == 7
    inside = distance[1:-1, 1:-1, 1:-1][place][mine]
    np.testing.assert_allclose(skeleton.radius[mine], inside, rtol=1e-5)


def test_wrong_parameters(planted):
    with pytest.raises(ParameterError, match="margin is 1 voxel or more, not 0"):
        SkeletoniseBlocks(planted[1], **REACH, margin=0)
    with pytest.raises(ParameterError, match=r"constant_um of a skeleton .* not -3"):
        SkeletoniseBlocks(planted[1], scale=1.0, constant_um=-3)
