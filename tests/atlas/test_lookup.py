"""Regions at points: voxel centres, faces, the outside, and the nearest region."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_atlases import SPACE, toy_atlas, toy_labels

from projectome.atlas import lookup
from projectome.atlas.lookup import corner_to_centre, region_at, values_at
from projectome.atlas.sides import hemisphere_at
from projectome.core.volume import Volume
from projectome.errors import OrientationUnknownError, ParameterError, ShapeError


def row_of_voxels(size=25.0, origin=0.0):
    labels = np.array([1, 2, 3, 4], np.uint32).reshape(1, 1, 4)
    return Volume.from_array(
        labels, voxel_size=(10, 10, size), translation=(0, 0, origin), space=SPACE, kind="labels"
    )


@pytest.mark.parametrize("size", [25.0, 10.0, 0.1, 1 / 3, 14.4])
@pytest.mark.parametrize("origin", [0.0, -7.3, 1e5])
def test_a_face_belongs_to_the_voxel_of_larger_index(size, origin):
    volume = row_of_voxels(size, origin)
    centres = origin + size * np.arange(4)
    along = {
        "centre": (centres, [1, 2, 3, 4]),
        "face": (centres - size / 2, [1, 2, 3, 4]),
        "before the face": (centres - size / 2 - 1e-4 * size, [0, 1, 2, 3]),
        "last face": (centres[-1:] + size / 2, [0]),
    }
    for where, (x, expected) in along.items():
        points = np.stack([np.zeros(len(x)), np.zeros(len(x)), x], axis=1)
        assert values_at(volume, points).tolist() == expected, where


def test_points_counted_from_the_corner_are_half_a_voxel_off():
    """Index = floor(p / size) from the corner: what BrainGlobe's structure_from_coords does."""
    volume = row_of_voxels(25.0)
    corner = np.array([[5.0, 5.0, x] for x in (0.0, 24.9, 25.0, 99.9)])
    assert values_at(volume, corner_to_centre(corner, volume)).tolist() == [1, 1, 2, 4]


@given(st.integers(0, 2**32 - 1))
def test_lookup_is_that_of_plain_indexing(seed):
    atlas = toy_atlas()
    volume = atlas.annotation
    points = np.random.default_rng(seed).uniform(-60, 520, (200, 3))
    index = np.floor((points - volume.affine.translation) / volume.voxel_size + 0.5).astype(int)
    inside = ((index >= 0) & (index < volume.shape)).all(axis=1)
    expected = np.zeros(len(points), int)
    expected[inside] = volume.read()[tuple(index[inside].T)]
    assert (region_at(atlas, points) == expected).all()


def test_lookup_by_chunks_is_the_same(monkeypatch):
    class Chunked:
        shape, chunks, dtype = (20, 16, 18), (7, 5, 6), np.dtype("uint32")
        reads = 0

        def read(self, index):
            type(self).reads += 1
            return toy_labels()[index]

    whole = toy_atlas().annotation
    volume = Volume(Chunked(), whole.affine, kind="labels")
    points = np.random.default_rng(0).uniform(-60, 520, (3000, 3))
    monkeypatch.setattr(lookup, "AT_ONCE", 1000)
    assert (values_at(volume, points) == values_at(whole, points)).all()
    assert 30 < Chunked.reads <= 3 * 4 * 3  # each chunk with points, once


def test_outside_is_0_and_may_take_the_nearest_region():
    labels = np.zeros((9, 9, 9), np.uint32)
    labels[4, 4, 4], labels[4, 4, 7] = 688, 500
    atlas = toy_atlas(labels, voxel_size=(10.0, 10.0, 10.0))
    at = atlas.annotation.affine
    points = at([(4, 4, 4), (4, 4, 5), (4, 4, 6.1), (4, 6, 4), (8, 8, 0), (4, 4, 9.4)])
    assert region_at(atlas, points).tolist() == [688, 0, 0, 0, 0, 0]
    assert region_at(atlas, points, within_um=12).tolist() == [688, 688, 500, 0, 0, 0]
    assert region_at(atlas, points, within_um=20).tolist() == [688, 688, 500, 688, 0, 500]


@given(st.integers(0, 2**32 - 1))
def test_the_nearest_region_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((9, 8, 7)) < 0.03, rng.choice([688, 500, 549], (9, 8, 7)), 0)
    atlas = toy_atlas(labels.astype(np.uint32))
    volume, within = atlas.annotation, 60.0
    points = rng.uniform(-60, 260, (20, 3))
    found = region_at(atlas, points, within_um=within)
    places = np.argwhere(labels)
    size = np.asarray(volume.voxel_size)
    centres = volume.affine(places)
    for point, region in zip(points, found, strict=True):
        gap = np.maximum(np.abs(point - centres) - size / 2, 0)
        distance = np.sqrt((gap**2).sum(axis=1))
        if not len(distance) or distance.min() > within + 1e-6:
            assert region == 0
        else:
            near = places[distance <= distance.min() + 1e-6]
            assert region in labels[tuple(near.T)]


def test_what_cannot_be_looked_up():
    atlas = toy_atlas()
    with pytest.raises(ShapeError, match=r"Point 1 has the coordinates .*nan.*finite"):
        region_at(atlas, [(0, 0, 0), (0, np.nan, 0)])
    for within in (-1.0, 1e4, np.nan):
        with pytest.raises(ParameterError, match="within 0 to 320 um"):
            region_at(atlas, [(-100, 0, 0)], within_um=within)
    assert region_at(atlas, np.empty((0, 3))).tolist() == []


def test_hemispheres_of_points():
    atlas = toy_atlas()
    middle = atlas.midline.point[2]
    points = [(0, 0, middle - 1), (0, 0, middle), (0, 0, middle + 1), (0, 0, middle + 1e6)]
    assert hemisphere_at(atlas, points).tolist() == [2, 2, 1, 1]  # x runs toward the left
    with pytest.raises(OrientationUnknownError, match="neither a midline nor hemispheres"):
        hemisphere_at(toy_atlas(midline=None), points)
