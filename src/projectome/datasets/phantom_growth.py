"""Growing one neurite after another: curves through waypoints, lanes, patches, arbors.

References
----------
.. [1] Cuntz H. et al. (2010). One rule to grow them all: a general theory of neuronal branching
   and its practical application. PLoS Comput Biol 6(8): e1000877.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from projectome.datasets.phantom_atlas import Anatomy
from projectome.datasets.phantom_regions import DEEP, area_codes
from projectome.errors import ParameterError

STEP = 4.0
"""Distance between nodes along a neurite [um]."""
FORBIDDEN = (0, DEEP.index("VL") + 1, DEEP.index("V3") + 1)
"""Codes of places where no neurite runs: outside, and the ventricles."""


class OutsideError(ParameterError):
    """A neurite would leave the tissue; the neuron is drawn again."""


@dataclass
class Tree:
    """A tree in the making."""

    xyz: list[NDArray[np.float64]] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    radius: list[float] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)

    def add(
        self,
        curve: NDArray[np.float64],
        parent: int,
        kind: int,
        *,
        radius: tuple[float, float],
        brightness: float,
    ) -> range:
        """Append a run of nodes below `parent` and return their indices."""
        first = len(self.parent)
        n = len(curve)
        self.xyz.extend(curve)
        self.parent.extend([parent, *range(first, first + n - 1)])
        self.radius.extend(np.linspace(*radius, n).tolist())
        self.kind.extend([kind] * n)
        self.brightness.extend([brightness] * n)
        return range(first, first + n)


@dataclass(frozen=True)
class Grower:
    """Draws one neuron; `scale` shrinks dendrites and arbors in brains below 1.4 mm width."""

    anatomy: Anatomy
    rng: np.random.Generator
    scale: float
    tree: Tree = field(default_factory=Tree)

    def number(self, count: int) -> int:
        """Return how many tips an arbor has that would have `count` in a brain of full size."""
        return max(4, round(count * self.scale))

    def curve(self, waypoints: NDArray[np.float64], wobble: float) -> NDArray[np.float64]:
        """Return a smooth wobbling curve through waypoints, without its first point.

        Raises
        ------
        OutsideError
            If ten drafts, ever straighter, all leave the tissue.
        """
        steps = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(np.maximum(steps, 1e-3))])
        n = max(2, round(along[-1] / STEP) + 1)
        plain = CubicSpline(along, waypoints, bc_type="natural")(np.linspace(0, along[-1], n))
        ends = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 6)[:, None]
        for draft in range(10):
            noise = np.zeros((n, 3))
            for sigma, share in ((3, 0.35), (10, 1.0)):
                noise += share * smooth_noise(self.rng, (n, 3), sigma)
            curve = plain + noise * ends * wobble * (1 - draft / 10)
            if not np.isin(self.anatomy.codes_at(curve[1:]), FORBIDDEN).any():
                return curve[1:]
        raise OutsideError

    def arborise(
        self,
        start: range,
        terminals: NDArray[np.float64],
        kind: int,
        *,
        radius: tuple[float, float],
        brightness: float,
        balance: float = 0.4,
    ) -> None:
        """Grow a balanced spanning tree from nodes that exist to all terminals [1]_."""
        nodes = list(start)
        spots = [self.tree.xyz[i] for i in nodes]
        paths = [0.0] * len(nodes)
        left = list(range(len(terminals)))
        while left:
            gaps = np.linalg.norm(terminals[left][:, None] - np.asarray(spots)[None], axis=2)
            pick, at = np.unravel_index((gaps + balance * np.asarray(paths)).argmin(), gaps.shape)
            end = terminals[left.pop(int(pick))]
            base = spots[at]
            length = float(np.linalg.norm(end - base))
            if length < 2 * STEP:
                continue
            middle = (base + end) / 2 + self.rng.normal(0, 0.13 * length, 3)
            curve = self.curve(np.stack([base, middle, end]), 0.05 * length + 1)
            run = self.tree.add(curve, nodes[at], kind, radius=radius, brightness=brightness)
            nodes.extend(run)
            spots.extend(curve)
            start_path = paths[at]
            paths.extend(start_path + STEP * (i + 1) for i in range(len(curve)))

    def patch(
        self, side: int, area: str, centre: tuple[float, float], count: int
    ) -> NDArray[np.float64]:
        """Return terminals in the layers of an area around a column (theta, s)."""
        n, spread = 60 * self.number(count), max(0.6, self.scale)
        theta = np.abs(centre[0] + self.rng.normal(0, 8 * spread, n))
        s = centre[1] + self.rng.normal(0, 0.07 * spread, n)
        spots = self.anatomy.place(side, theta, s, self.rng.uniform(0.06, 0.8, n))
        aside = np.asarray((0.0, 0.0, 0.02 * self.anatomy.half[2]))
        inside = np.ones(n, dtype=bool)
        for shift in (-aside, 0, aside):
            inside &= np.isin(self.anatomy.codes_at(spots + shift), area_codes(area))
        return _first(spots[inside], self.number(count))

    def cloud(
        self, codes: tuple[int, ...], centre: NDArray[np.float64], count: int, sd: float
    ) -> NDArray[np.float64]:
        """Return terminals around a centre, all in regions of the given codes."""
        drawn = centre + self.rng.normal(0, sd, (30 * count, 3))
        return _first(drawn[np.isin(self.anatomy.codes_at(drawn), codes)], self.number(count))

    def spot_in(self, region: tuple[int, ...], side: int, margin: float) -> NDArray[np.float64]:
        """Return a random point of a region of one side, some way from its borders."""
        spots = self.rng.uniform(-0.8, 0.8, (3000, 3)) * self.anatomy.half
        spots[:, 2] = side * np.abs(spots[:, 2])
        spots += self.anatomy.centre
        inside = np.ones(len(spots), dtype=bool)
        for shift in (*np.eye(3), *-np.eye(3)):
            inside &= np.isin(self.anatomy.codes_at(spots + margin * shift), region)
        return _first(spots[inside], 1)[0]

    def lane(
        self, side: int, start: tuple[float, float], end: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Return waypoints in the white matter from one (theta, s) to another.

        A negative theta of the end lies in the other hemisphere.
        """
        depth = float(self.rng.uniform(1.25, 1.75))
        t = np.linspace(0, 1, max(3, round(abs(end[0] - start[0]) / 9)))
        theta = start[0] + (end[0] - start[0]) * t
        s = start[1] + (end[1] - start[1]) * t * t * (3 - 2 * t)
        s = np.clip(s, -0.66, 0.66) + 0.015 * np.sin(5 * t + 6 * depth)
        return self.anatomy.place(side * np.where(theta < 0, -1, 1), np.abs(theta), s, depth)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: float
) -> NDArray[np.float64]:
    """Return noise of unit variance that is smooth along the first axis."""
    pad = 4 * int(sigma)
    white = rng.standard_normal((shape[0] + 2 * pad, *shape[1:]))
    return gaussian_filter1d(white, sigma, axis=0)[pad:-pad] * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def _first(spots: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the first spots, or give up."""
    if len(spots) < count:
        raise OutsideError
    return spots[:count]
