"""How strongly a filter responds to nothing, from place to place in a volume.

Noise grows with brightness: a threshold made for the dark finds everything in bright tissue, and
one made for bright tissue misses dim neurites. So the level of noise is measured in small boxes
spread over the volume and interpolated between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import DataError, ShapeError
from projectome.filters.threshold import noise_level
from projectome.filters.tubeness import halo_for, multiscale_tubeness

Sigmas: TypeAlias = Sequence[tuple[float, float, float]]
Centres: TypeAlias = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]

TISSUE = 75.0
"""Percentile of the boxes that stands for tissue: it may fill as little as a third of a volume."""
FLOOR = 0.5
"""The level is nowhere below this share of that of tissue: dark surroundings are no tissue."""


@dataclass(frozen=True)
class NoiseMap:
    """The level of noise on a grid, linear in between and constant beyond.

    Attributes
    ----------
    centres
        Places of the grid along each axis (z, y, x), ascending [voxels].
    levels
        One value a place, in C order; in the unit of the filter's response.
    """

    centres: Centres
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        z, y, x = map(len, self.centres)
        if z * y * x != len(self.levels) or not self.levels or min(self.levels) <= 0:
            raise ShapeError("A noise map needs one positive level at each place of its grid.")

    def at(self, box: Box) -> NDArray[np.float32]:
        """Return the level at the voxels of a box, in its shape."""
        level = np.asarray(self.levels, np.float32).reshape([len(c) for c in self.centres])
        for axis, places in enumerate(self.centres):
            voxels = np.arange(box.start[axis], box.stop[axis])
            where = np.interp(voxels, places, np.arange(len(places)))
            low = np.minimum(where.astype(int), max(len(places) - 2, 0))
            high = np.minimum(low + 1, len(places) - 1)
            share = [-1 if a == axis else 1 for a in range(3)]
            weight = (where - low).astype(np.float32).reshape(share)
            level = level.take(low, axis) * (1 - weight) + level.take(high, axis) * weight
        return level


def measure_noise(
    volume: Volume, sigmas: Sigmas, boxes: Sequence[Box], *, threads: int = 1
) -> NoiseMap:
    """Measure the noise of the tubeness of a volume.

    Parameters
    ----------
    volume
        The image, one channel.
    sigmas
        Scales of the tubeness (z, y, x) [voxels].
    boxes
        Where to measure: all combinations of places along the axes, in C order, such as
        `projectome.imaging.normalise.sample_boxes` returns.
    threads
        Boxes at a time.

    Returns
    -------
    NoiseMap
        In each box `projectome.filters.threshold.noise_level`; then, for each, the largest among
        it and its neighbours, so that the rim of the tissue counts as tissue; and no less than
        half the level of tissue, the 75th percentile of the boxes.

    Raises
    ------
    DataError
        If no box holds anything but a constant.
    """
    halo = np.max([halo_for(sigma) for sigma in sigmas], axis=0)

    def level_in(box: Box) -> float:
        around = box.grow(halo) & volume.box
        values = volume.read(around)
        if values.min() == values.max():
            return 0.0
        response = multiscale_tubeness(values, sigmas)[box.slices_in(around.start)]
        return noise_level(response) if response.any() else 0.0

    with ThreadPoolExecutor(threads) as pool:
        found = np.asarray(list(pool.map(level_in, boxes)), np.float64)
    if not (found > 0).any():
        raise DataError(
            f"{volume.name} is constant wherever it was looked at. Check the channel and the level."
        )
    starts = np.asarray([box.start for box in boxes])
    centres = [
        tuple(sorted({(box.start[axis] + box.stop[axis] - 1) / 2 for box in boxes}))
        for axis in range(3)
    ]
    shape = [len(np.unique(starts[:, axis])) for axis in range(3)]
    tissue = float(np.percentile(found[found > 0], TISSUE))
    levels = ndimage.maximum_filter(found.reshape(shape), size=3, mode="nearest")
    levels = np.maximum(levels, FLOOR * tissue)
    z, y, x = centres
    # Six digits: what is recorded is what is used.
    return NoiseMap((z, y, x), tuple(float(f"{level:.6g}") for level in levels.ravel()))
