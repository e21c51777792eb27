"""Brainbow: colours, shifts and bleaching are those of the tables."""

import numpy as np
import pytest

from projectome.core.box import Box
from projectome.datasets.phantom_brainbow import CHANNELS, make_brainbow


def test_neurites_have_their_colour(brainbow):
    grey = brainbow.image.read().astype(float)
    labels = brainbow.labels.read()
    table = brainbow.tables["neurites"]
    dark = np.median(grey[:, labels == 0], axis=1)
    seen, said = [], []
    for row in table.itertuples():
        inside = labels == row.id
        if inside.sum() < 300:
            continue
        light = np.clip(grey[:, inside].mean(axis=1) - dark, 0, None)
        seen.append(light / light.max())
        said.append(np.asarray([getattr(row, name) for name in CHANNELS]))
    assert len(seen) > 3
    assert np.corrcoef(np.ravel(seen), np.ravel(said))[0, 1] > 0.8


def test_channels_are_shifted_by_what_is_said():
    still = make_brainbow(seed=8, size=(16, 96, 96), cells=0, shift=0.0, bleaching=0.0)
    moved = make_brainbow(seed=8, size=(16, 96, 96), cells=0, shift=2.0, bleaching=0.0)
    table = moved.tables["channels"].set_index("channel")
    a, b = still.image.read().astype(float), moved.image.read().astype(float)
    for channel, name in enumerate(CHANNELS):
        wanted = table.loc[name, ["y_shift_um", "x_shift_um"]].to_numpy(float) / 0.25
        best = max(
            ((y, x) for y in range(-3, 4) for x in range(-3, 4)),
            key=lambda s, c=channel: np.corrcoef(
                np.roll(a[c], s, (1, 2))[:, 8:-8, 8:-8].ravel(), b[c][:, 8:-8, 8:-8].ravel()
            )[0, 1],
        )
        assert np.abs(np.asarray(best) - wanted).max() <= 1.0
    assert (table.loc[CHANNELS[0], ["z_shift_um", "y_shift_um", "x_shift_um"]] == 0).all()


def test_deep_planes_are_bleached():
    stack = make_brainbow(seed=8, size=(40, 64, 64), cells=0, density=0.01, bleaching=0.03)
    rate = stack.tables["channels"]["bleaching_per_plane"].to_numpy()
    planes = np.median(stack.image.read().astype(float), axis=(2, 3)) - 60
    for channel in range(3):
        fall = planes[channel, -5:].mean() / planes[channel, :5].mean()
        assert fall == pytest.approx((1 - rate[channel]) ** 35, abs=0.25)


def test_any_box_is_that_of_the_whole(brainbow):
    whole = brainbow.image.read()
    box = Box((3, 30, 15), (20, 61, 100))
    assert np.array_equal(brainbow.image.read(box), whole[(slice(None), *box.slices)])
    one = brainbow.image.array.read((slice(2, 3), *box.slices))
    assert np.array_equal(one, whole[(slice(2, 3), *box.slices)])


def test_nodes_are_labelled(brainbow):
    labels = brainbow.labels.read()
    size = np.asarray(brainbow.image.voxel_size)
    for skeleton in brainbow.skeletons:
        at = tuple(np.rint(skeleton.coordinates / size).astype(int).T)
        assert (labels[at] > 0).all()
