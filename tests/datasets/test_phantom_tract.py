import numpy as np
import pytest

import projectome
from projectome.core.box import Box
from projectome.datasets.phantom_field import Tissue
from projectome.datasets.phantom_tract import draw_tract

PLAIN = {"slope": (0.0, 0.0, 0.0), "textures": (), "bodies": 0.0}


@pytest.fixture(scope="module")
def field():
    return projectome.make_axon_field(
        seed=4,
        size=(64, 96, 96),
        voxel_size=(1, 1, 1),
        density=8,
        cells=0,
        tissue=Tissue(tract=0.3, **PLAIN),
    )


@pytest.fixture(scope="module")
def tract():
    """Where the field has its tract: chance for it comes from a stream of its own."""
    return draw_tract(np.array([63.0, 95.0, 95.0]), np.random.default_rng([4, 12, 6]))


def test_a_tract_is_darker_by_what_was_asked(field, tract):
    image = field.image.read()
    inside = tract.inside(*np.ogrid[:64, :96, :96])
    assert 0.08 < (inside > 0.5).mean() < 0.5
    ratio = np.median(image[inside > 0.97]) / np.median(image[inside < 0.01])
    # The camera's offset of 100 is no light.
    assert ratio == pytest.approx((1330 * 0.7 + 100) / (1330 + 100), abs=0.03)


def test_the_same_voxels_in_whatever_box(field):
    whole = field.image.read()
    part = Box((10, 20, 30), (40, 70, 61))
    np.testing.assert_array_equal(field.image.read(part), whole[part.slices])


def test_axons_in_it_run_along_and_others_keep_out(field, tract):
    origin = field.tables["neurites"]["origin"].to_numpy()
    way, share = {}, {}
    for kind in ("tract", "axon"):
        chosen = [s for s, o in zip(field.skeletons, origin, strict=True) if o == kind]
        assert len(chosen) >= 3
        straight = [s.coordinates[s.ends[-1]] - s.coordinates[0] for s in chosen]
        way[kind] = np.mean([abs(w @ tract.along) / np.linalg.norm(w) for w in straight])
        points = np.concatenate([s.coordinates for s in chosen])
        share[kind] = tract.inside(*points.T).mean()
    assert way["tract"] > 0.75 > way["axon"]
    assert share["tract"] > 2 * share["axon"]


def test_without_one_nothing_changes():
    kwargs = {"seed": 2, "size": (16, 32, 32), "cells": 0}
    plain = projectome.make_axon_field(**kwargs)
    same = projectome.make_axon_field(**kwargs, tissue=Tissue(tract=0.0))
    np.testing.assert_array_equal(plain.image.read(), same.image.read())
