"""A tract through a block: a wavy slab of darker tissue in which few axons run side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.box import Box

Floats = NDArray[np.float64]
BORDER = 1.5
"""Width over which tissue and tract change into each other [um]."""


@dataclass(frozen=True, slots=True, eq=False)
class Tract:
    """Where a tract lies, in micrometres of the block.

    Attributes
    ----------
    centre
        Shape (3,), a point in its middle.
    across, along
        Shape (3,), unit vectors: through it, and the way of its axons.
    width
        Thickness [um].
    wave
        How far it swings to each side, and the length of a swing [um].
    """

    centre: Floats
    across: Floats
    along: Floats
    width: float
    wave: tuple[float, float]

    def inside(self, z: ArrayLike, y: ArrayLike, x: ArrayLike) -> Floats:
        """Return how much places belong to the tract, 0 to 1; arrays that broadcast [um]."""
        offset = [
            np.asarray(v, np.float64) - c for v, c in zip((z, y, x), self.centre, strict=True)
        ]
        depth = sum(d * n for d, n in zip(offset, self.across, strict=True))
        ahead = sum(d * n for d, n in zip(offset, self.along, strict=True))
        far, length = self.wave
        gap = self.width / 2 - np.abs(depth + far * np.sin(2 * np.pi / length * ahead))
        return np.asarray(1 / (1 + np.exp(-np.clip(gap / BORDER, -40, 40))), np.float64)

    def light(self, box: Box, voxel: ArrayLike, dark: float) -> NDArray[np.float32]:
        """Return the share of light that is left in each voxel of a box."""
        ends = zip(box.start, box.stop, np.asarray(voxel, np.float64).tolist(), strict=True)
        inside = self.inside(*np.ix_(*(np.arange(low, high) * size for low, high, size in ends)))
        return (1 - dark * inside).astype(np.float32)


def draw_tract(extent: Floats, rng: np.random.Generator) -> Tract:
    """Return a tract somewhere in a block.

    Parameters
    ----------
    extent
        Edges of the block (z, y, x) [um].
    rng
        Where chance comes from.
    """
    size = float(extent.min())
    across = rng.normal(0, 1, 3) * (0.5, 1, 1)
    across /= np.linalg.norm(across)
    along = np.cross(across, rng.normal(0, 1, 3))
    along /= np.linalg.norm(along)
    return Tract(
        centre=rng.uniform(0.3, 0.7, 3) * extent,
        across=across,
        along=along,
        width=float(rng.uniform(0.16, 0.28)) * size,
        wave=(float(rng.uniform(0.02, 0.06)) * size, float(rng.uniform(1.2, 2.0)) * size),
    )
