"""Neurites of a block: inside it, of the habit asked for, or from files."""

import numpy as np
import pytest

from projectome.core.skeleton import AXON, Skeleton
from projectome.core.space import Space
from projectome.datasets.phantom_fibres import Bed, Fibre, Habit, contacts, read_arbors
from projectome.datasets.phantom_field import make_axon_field
from projectome.errors import ParameterError
from projectome.io.skeletons.swc import write_swc

SPACE = Space("block")


def line(number, start, end, radius=0.5):
    xyz = np.linspace(start, end, 41)
    skeleton = Skeleton(
        xyz,
        np.arange(-1, 40),
        SPACE,
        np.full(41, radius, np.float32),
        np.full(41, AXON, np.int32),
    )
    return Fibre(number, skeleton, np.ones(41, np.float32), 1000.0, "axon")


def test_a_crossing_and_a_touch_are_told_apart():
    across = line(1, (10, 10, 0), (10, 10, 40)), line(2, (11.2, 0, 20), (11.2, 40, 20))
    (found,) = contacts(across, within=0.5)
    assert found[:3] == (1, 2, "crossing")
    assert np.allclose(found[3], (10.6, 10, 20), atol=0.8)
    along = line(1, (10, 10, 0), (10, 10, 40)), line(2, (11.2, 10, 0), (11.2, 10, 40))
    (found,) = contacts(along, within=0.5)
    assert found[:3] == (1, 2, "touching")
    apart = line(1, (10, 10, 0), (10, 10, 40)), line(2, (13, 0, 20), (13, 40, 20))
    assert contacts(apart, within=0.5) == []
    assert contacts((), within=0.5) == []


def test_axons_end_at_faces_and_keep_their_step():
    bed = Bed(np.asarray((60.0, 80.0, 90.0)), SPACE, Habit(branches=0.0), np.random.default_rng(3))
    for _ in range(12):
        bed.axon(tilt=np.zeros(3))
    assert bed.fibres
    for fibre in bed.fibres:
        xyz = fibre.skeleton.coordinates
        assert np.all((xyz >= 0) & (xyz <= bed.extent))
        assert np.allclose(fibre.skeleton.lengths[1:], 1.0)
        ends = xyz[fibre.skeleton.ends]
        assert (np.minimum(ends, bed.extent - ends).min(axis=1) < 1.01).all()


def test_straight_axons_fill_the_block_evenly():
    habit = Habit(bend=(0.0, 0.0), branches=0.0, varicose=0.0)
    bed = Bed(np.full(3, 100.0), SPACE, habit, np.random.default_rng(1))
    for _ in range(400):
        bed.axon(tilt=np.zeros(3))
    xyz = np.concatenate([fibre.skeleton.coordinates for fibre in bed.fibres])
    counts, _ = np.histogramdd(xyz, bins=(2, 2, 2), range=[(0, 100)] * 3)
    assert counts.max() / counts.min() < 1.3


def write_arbor(path, length=4000.0):
    steps = int(length / 20)
    xyz = np.cumsum(np.random.default_rng(0).normal(0, 11, (steps, 3)), axis=0)
    arbor = Skeleton(xyz, np.arange(-1, steps - 1), SPACE, None, np.full(steps, AXON, np.int32))
    write_swc(arbor, path)
    return arbor


def test_arbors_of_a_folder_are_cut_to_the_block(tmp_path):
    write_arbor(tmp_path / "one.swc")
    field = make_axon_field(
        seed=1, size=(64, 96, 96), density=2.0, cells=0, arbors=str(tmp_path), voxel_size=1.0
    )
    assert set(field.tables["neurites"]["origin"]) == {"one"}
    assert field.cable_length > 2000 * 64 * 96 * 96 / 1e6
    labels = field.labels.read()
    for number, skeleton in enumerate(field.skeletons, start=1):
        at = tuple(np.rint(skeleton.coordinates).astype(int).T)
        assert (labels[at] > 0).all()
        assert (labels[at] == number).mean() > 0.5


def test_a_scale_turns_voxels_into_micrometres(tmp_path):
    arbor = write_arbor(tmp_path / "one.swc")
    plain, name = next(read_arbors(str(tmp_path)))
    scaled, _ = next(read_arbors(str(tmp_path), scale=25.0))
    assert name == "one"
    assert plain.cable_length == pytest.approx(arbor.cable_length, rel=1e-5)
    assert scaled.cable_length == pytest.approx(25 * plain.cable_length, rel=1e-5)


def test_a_folder_with_nothing_long_enough_says_so(tmp_path):
    (tmp_path / "dot.swc").write_text("1 1 0 0 0 1 -1\n2 2 0 0 3 1 1\n")
    with pytest.raises(ParameterError, match="--arbor-scale"):
        next(read_arbors(str(tmp_path)))


@pytest.mark.realdata
def test_published_arbors_can_be_drawn(test_data):
    field = make_axon_field(
        seed=1,
        size=(64, 128, 128),
        density=1.5,
        cells=0,
        arbors=str(test_data / "neurons_ccf" / "seu"),
        arbor_scale=25.0,
    )
    assert len(set(field.tables["neurites"]["origin"])) > 1
    assert field.image.read().max() > 2000
