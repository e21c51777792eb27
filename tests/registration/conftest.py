"""A small phantom template, and a scan made of it by a map that is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from projectome.core.atlas import Atlas
from projectome.core.space import Space
from projectome.core.view import reorient
from projectome.core.volume import Volume
from projectome.datasets.phantom import make_phantom
from projectome.registration.align import (
    Pair,
    Recipe,
    Registration,
    align,
    check_stated,
    make_pair,
)
from projectome.registration.fit import Fitter

SIZE = 8.0
QUICK = Recipe(iterations=60, samples=2000, repeats=1)
"""A recipe that is good to a voxel or so on the phantom, in seconds."""


@dataclass
class Known:
    """A scan whose voxel at index i shows the atlas at ``goal(i)`` micrometres.

    The scan is the template turned by 3 degrees, 4 % larger, shifted, bent by a bump of 20 um in
    its middle, displayed with another curve and noise, and stored with its axes toward right,
    superior and anterior. `points` are in the scan's space, `goals` where they belong.
    """

    atlas: Atlas
    template: Volume
    scan: Volume
    points: np.ndarray
    goals: np.ndarray


def make_known(atlas: Atlas) -> Known:
    """Draw the scan."""
    template = Volume.from_array(
        np.asarray(atlas.template.read()),
        voxel_size=atlas.template.voxel_size,
        translation=atlas.template.affine.translation,
        space=atlas.space,
        name="template",
    )
    image = np.asarray(template.read(), np.float32)
    middle = (np.array(image.shape) - 1) / 2
    c, s = np.cos(np.radians(3)), np.sin(np.radians(3))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) / 1.04

    def goal(index: np.ndarray) -> np.ndarray:
        bump = np.exp(-(((index - middle) / 12) ** 2).sum(axis=1))[:, None] * (2.5, 0, -1.5)
        return (index - middle) @ turn.T + middle + (1.5, -1.0, 2.0) + bump

    index = np.indices(image.shape).reshape(3, -1).T.astype(float)
    seen = ndimage.map_coordinates(image, goal(index).T, order=1).reshape(image.shape)
    noise = np.random.default_rng(0).normal(0, 2, seen.shape)
    grey = 200 * (seen / image.max()) ** 0.8 + noise + 20
    straight = Volume.from_array(
        np.clip(grey, 0, 255).astype(np.uint8),
        voxel_size=[SIZE] * 3,
        space=Space("scan", toward=atlas.space.toward),
        name="scan",
    )
    turned = reorient(straight, Space.from_code("RSA", meaning="toward"))
    inside = np.argwhere(seen > 0.3 * seen.max())
    chosen = inside[np.random.default_rng(1).choice(len(inside), 300, replace=False)].astype(float)
    # Toward posterior, inferior, right -> toward right, superior, anterior.
    points = np.stack([chosen[:, 2], -chosen[:, 1], -chosen[:, 0]], axis=1) * SIZE
    return Known(atlas, template, turned, points, template.affine(goal(chosen)))


@pytest.fixture(scope="session")
def phantom_atlas() -> Atlas:
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.fixture(scope="session")
def known(phantom_atlas: Atlas) -> Known:
    return make_known(phantom_atlas)


@pytest.fixture(scope="session")
def pair(known: Known) -> Pair:
    return make_pair(known.scan, known.template, SIZE)


@pytest.fixture(scope="session")
def fitter() -> Iterator[Fitter]:
    with Fitter() as process:
        yield process


@pytest.fixture(scope="session")
def registered(known: Known, pair: Pair, fitter: Fitter) -> Registration:
    tested = check_stated(pair, known.scan.space)
    start = tested.best.matrix
    return align(pair, QUICK, scan_space=known.scan.space, start=start, fitter=fitter)
