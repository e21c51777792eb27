"""Tissue, broken planes and grey values."""

import numpy as np
import pytest

from projectome.errors import DataError
from projectome.registration.prepare import (
    even_out,
    local_contrast,
    prepare,
    saturated_planes,
    tissue_mask,
)


def brain(shape=(60, 50, 70), level=100.0):
    """An ellipsoid of brightness `level` on a background of 10 with noise."""
    grid = [np.linspace(-1.4, 1.4, n) for n in shape]
    z, y, x = np.meshgrid(*grid, indexing="ij")
    inside = z**2 + y**2 + x**2 < 1
    noise = np.random.default_rng(0).normal(0, 2, shape)
    return (10 + level * inside + noise).astype(np.float32), inside


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_finds_tissue_under_stripes_and_bright_blobs():
    image, inside = brain()
    image[:, ::7] *= 0.5
    image[28:31, 24:27, 30:33] = 60_000
    assert dice(tissue_mask(image), inside) > 0.93


def test_keeps_halves_that_came_apart():
    image, inside = brain()
    image[:, :, 32:38] = 10
    inside[:, :, 32:38] = False
    found = tissue_mask(image)
    assert dice(found, inside) > 0.88
    assert found[:, :, :30].any()
    assert found[:, :, 40:].any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((9, 9, 9), np.nan), "no numbers"),
        (np.full((9, 9, 9), 7.0), "no tissue"),
        (np.random.default_rng(0).normal(100, 3, (40, 40, 40)), "tissue"),
    ],
)
def test_says_what_is_wrong_where_there_is_no_tissue(image, message):
    with pytest.raises(DataError, match=message) as caught:
        prepare(image, name="empty")
    assert "empty" in str(caught.value)
    assert "Check" in str(caught.value)


def test_broken_planes_are_bridged_and_named():
    image, _ = brain()
    image[20] = 65_535
    image[30] = 0
    image[5, 5, 5] = np.nan
    ready = prepare(image, name="scan")
    assert [list(p) for p in saturated_planes(np.nan_to_num(image))] == [[20, 30], [], []]
    assert not ready.trusted[20].any()
    assert not ready.trusted[30].any()
    assert not ready.trusted[5, 5, 5]
    assert ready.tissue[20].any()
    text = " ".join(p.message for p in ready.problems)
    assert "20, 30" in text
    assert "no numbers" in text


def test_slow_changes_of_brightness_are_divided_out():
    image, inside = brain((90, 80, 100))
    slope = np.linspace(0.5, 1.5, 100)
    uneven = np.where(inside, image * slope, 0).astype(np.float32)
    flat = even_out(uneven, inside, width=12)
    before = uneven[inside].std() / uneven[inside].mean()
    assert flat[inside].std() / flat[inside].mean() < 0.5 * before
    assert np.median(flat[inside]) == pytest.approx(0.5, abs=0.01)


def test_local_contrast_does_not_know_brightness_nor_scale():
    image, inside = brain()
    image += 5 * np.sin(np.arange(70)).astype(np.float32)
    one = local_contrast(image, inside)
    assert np.allclose(local_contrast(3 * image + 50, inside), one, atol=2e-3)
    assert not one[~inside].any()
