"""Neurons of the phantom: cortical projection neurons grown along plausible tracts.

An axon leaves its soma toward the white matter, runs there in a lane of its own, crosses the
corpus callosum or turns into the striatum or thalamus, and ends in an arbor. Courses are splines
through waypoints in cortical coordinates (see `phantom_atlas`) with smooth random wobble; arbors
and dendrites are balanced spanning trees.

References
----------
.. [1] Cuntz H. et al. (2010). One rule to grow them all: a general theory of neuronal branching
   and its practical application. PLoS Comput Biol 6(8): e1000877.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from projectome.core.skeleton import APICAL, AXON, DENDRITE, SOMA, Skeleton
from projectome.datasets.phantom_atlas import SPACE, Anatomy
from projectome.datasets.phantom_regions import DEEP, area_codes, region_ids
from projectome.errors import ParameterError

STEP = 4.0
"""Distance between nodes along a neurite [um]."""

PLAN = (
    *("homotopic", "heterotopic", "homotopic", "corticostriatal"),
    *("homotopic", "heterotopic", "homotopic", "corticothalamic"),
)
"""Projection classes, given out in this order again and again."""

_SOURCES = ("SSp", "VISp", "MOs", "MOp", "RSP", "AUD", "PTLp", "ACA")
_PARTNERS = {
    **{"SSp": "MOp", "VISp": "RSP", "MOs": "SSp", "MOp": "MOs", "RSP": "VISp"},
    **{"AUD": "TEa", "PTLp": "MOs", "ACA": "RSP"},
}
_FORBIDDEN = (0, DEEP.index("VL") + 1, DEEP.index("V3") + 1)
_DEPTHS = {  # of somata: layers 2/3 and 5, 5, 6a
    "homotopic": ((0.20, 0.38), (0.56, 0.70)),
    "heterotopic": ((0.20, 0.38), (0.56, 0.70)),
    "corticostriatal": ((0.56, 0.72),),
    "corticothalamic": ((0.80, 0.92),),
}


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One neuron of the phantom.

    Attributes
    ----------
    id
        1, 2, ...
    skeleton
        One tree of N nodes, rooted at the soma, in `phantom_atlas.SPACE`.
    brightness
        Shape (N,), float32: how bright a neurite is at its nodes; 1 is the neuron's own level.
    level
        Peak of a plain stretch of its axon over the background [grey values].
    projection
        One of `PLAN`.
    source, target
        Areas of the soma and of the main arbor.
    region_id
        Region of the soma.
    """

    id: int
    skeleton: Skeleton
    brightness: NDArray[np.float32]
    level: float
    projection: str
    source: str
    target: str
    region_id: int

    @property
    def soma(self) -> NDArray[np.float64]:
        """Centre of the soma, shape (3,) [um]."""
        return self.skeleton.coordinates[0]

    @property
    def soma_radius(self) -> float:
        """Radius of the soma [um]."""
        assert self.skeleton.radius is not None
        return float(self.skeleton.radius[0])


class _OutsideError(Exception):
    """A neurite would leave the tissue; the neuron is drawn again."""


@dataclass
class _Tree:
    """A tree in the making."""

    xyz: list[NDArray[np.float64]] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    radius: list[float] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)

    def add(  # one unbranched run
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
class _Grower:
    """Draws one neuron; `scale` shrinks dendrites and arbors in brains below 1.4 mm width."""

    anatomy: Anatomy
    rng: np.random.Generator
    scale: float
    tree: _Tree = field(default_factory=_Tree)

    def number(self, count: int) -> int:
        """Return how many tips an arbor has that would have `count` in a brain of full size."""
        return max(4, round(count * self.scale))

    def curve(self, waypoints: NDArray[np.float64], wobble: float) -> NDArray[np.float64]:
        """Return a smooth wobbling curve through waypoints, without its first point.

        Raises
        ------
        _OutsideError
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
                smooth = gaussian_filter1d(self.rng.standard_normal((n + 40, 3)), sigma, axis=0)
                noise += share * smooth[20:-20] * np.sqrt(2 * np.sqrt(np.pi) * sigma)
            curve = plain + noise * ends * wobble * (1 - draft / 10)
            if not np.isin(self.anatomy.codes_at(curve[1:]), _FORBIDDEN).any():
                return curve[1:]
        raise _OutsideError

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
        self, side: int, area: str, centre: tuple[float, float], count: int, spread: float
    ) -> NDArray[np.float64]:
        """Return terminals in the layers of an area around a column (theta, s)."""
        n = 60 * count
        theta = np.abs(centre[0] + self.rng.normal(0, 8 * spread, n))
        s = centre[1] + self.rng.normal(0, 0.07 * spread, n)
        spots = self.anatomy.place(side, theta, s, self.rng.uniform(0.06, 0.8, n))
        aside = np.asarray((0.0, 0.0, 0.02 * self.anatomy.half[2]))
        inside = np.ones(n, dtype=bool)
        for shift in (-aside, 0, aside):
            inside &= np.isin(self.anatomy.codes_at(spots + shift), area_codes(area))
        return _first(spots[inside], count)

    def cloud(
        self, codes: tuple[int, ...], centre: NDArray[np.float64], count: int, sd: float
    ) -> NDArray[np.float64]:
        """Return terminals around a centre, all in regions of the given codes."""
        drawn = centre + self.rng.normal(0, sd, (30 * count, 3))
        return _first(drawn[np.isin(self.anatomy.codes_at(drawn), codes)], count)

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
        self, side: int, start: tuple[float, float], end: tuple[float, float], deep: float
    ) -> NDArray[np.float64]:
        """Return waypoints in the white matter from one (theta, s) to another.

        A negative theta of the end lies in the other hemisphere.
        """
        count = max(3, round(abs(end[0] - start[0]) / 9))
        t = np.linspace(0, 1, count)
        theta = start[0] + (end[0] - start[0]) * t
        s = start[1] + (end[1] - start[1]) * t * t * (3 - 2 * t)
        s = np.clip(s, -0.66, 0.66) + 0.015 * np.sin(np.linspace(0, 5, count) + 6 * deep)
        return self.anatomy.place(side * np.where(theta < 0, -1, 1), np.abs(theta), s, deep)


def _first(spots: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the first spots, or give up."""
    if len(spots) < count:
        raise _OutsideError
    return spots[:count]


def grow_neurons(anatomy: Anatomy, count: int, *, seed: int, voxel_size: float) -> list[Neuron]:
    """Grow the neurons of a phantom.

    Parameters
    ----------
    anatomy
        The brain they live in.
    count
        How many; projection classes follow `PLAN`.
    seed
        Neuron k depends on the seed, on k and on the neurons before it alone.
    voxel_size
        [um]. Neurites of two neurons never run closer than 1.75 voxels for more than 40 um.

    Raises
    ------
    ParameterError
        If they do not fit into the brain.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(_SOURCES))
    neurons: list[Neuron] = []
    for k in range(count):
        source = _SOURCES[order[(k + k // len(PLAN)) % len(_SOURCES)]]
        for attempt in range(80):
            rng = np.random.default_rng([seed, 2, k, attempt])
            try:
                neuron = _grow(anatomy, rng, k, source)
            except _OutsideError:
                continue
            if _apart(neuron, neurons, 1.75 * voxel_size):
                neurons.append(neuron)
                break
        else:
            raise ParameterError(
                f"No room for neuron {k + 1} of {count} in a brain of "
                f"{2 * anatomy.half[2]:.0f} um width; ask for fewer neurons or a larger phantom."
            )
    return neurons


def _grow(anatomy: Anatomy, rng: np.random.Generator, k: int, source: str) -> Neuron:
    """Draw one neuron; it may still collide with others."""
    scale = float(np.clip(anatomy.half[2] / 700, 0.35, 1.0))
    grower = _Grower(anatomy, rng, scale)
    projection = PLAN[k % len(PLAN)]
    side = int(rng.choice((-1, 1)))
    theta, s = anatomy.area_of(source, rng)
    shallow, deep = _DEPTHS[projection][rng.integers(len(_DEPTHS[projection]))]
    depth = float(rng.uniform(shallow, deep))
    soma = anatomy.place(side, theta, s, depth)
    code = int(anatomy.codes_at(soma)[0])
    if code not in area_codes(source):
        raise _OutsideError
    radius = float(rng.uniform(7.5, 9.5)) * max(0.75, scale)
    grower.tree.add(soma, -1, SOMA, radius=(radius, radius), brightness=1.0)
    _dendrites(grower, side, (theta, s, depth))
    target = _axon(grower, projection, source, side, (theta, s, depth))

    tree = grower.tree
    skeleton = Skeleton(
        np.asarray(tree.xyz),
        np.asarray(tree.parent),
        SPACE,
        np.asarray(tree.radius, np.float32),
        np.asarray(tree.kind, np.int32),
    )
    skeleton, brightness = _texture(skeleton, np.asarray(tree.brightness), rng)
    level = float(np.clip(np.exp(rng.normal(np.log(1500), 0.4)), 800, 3500))
    region = int(region_ids()[code])
    return Neuron(k + 1, skeleton, brightness, level, projection, source, target, region)


def _dendrites(grower: _Grower, side: int, column: tuple[float, float, float]) -> None:
    """Grow basal dendrites around the soma and an apical one up to layer 1."""
    rng, scale = grower.rng, grower.scale
    theta, s, depth = column
    soma = grower.tree.xyz[0]
    ways = rng.standard_normal((grower.number(9), 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    basal = soma + ways * rng.uniform(35, 95, (len(ways), 1)) * scale
    inside = ~np.isin(grower.anatomy.codes_at(basal), _FORBIDDEN)
    grower.arborise(
        range(1), basal[inside], DENDRITE, radius=(1.5, 0.8), brightness=0.8, balance=0.7
    )
    depths = np.linspace(depth, 0.16, max(3, round(8 * depth)))
    trunk = grower.curve(grower.anatomy.place(side, theta, s, depths), 2.5)
    run = grower.tree.add(trunk, 0, APICAL, radius=(1.9, 1.2), brightness=1.0)
    tuft = grower.anatomy.place(
        side,
        np.abs(theta + rng.normal(0, 6 * scale**0.5, 5)),
        s + rng.normal(0, 0.05, 5),
        rng.uniform(0.05, 0.14, 5),
    )
    inside = ~np.isin(grower.anatomy.codes_at(tuft), _FORBIDDEN)
    grower.arborise(
        run[len(run) * 3 // 4 :], tuft[inside], APICAL, radius=(1.1, 0.8), brightness=0.75
    )


def _axon(
    grower: _Grower, projection: str, source: str, side: int, column: tuple[float, float, float]
) -> str:
    """Grow the axon with a local collateral, and return the name of its target."""
    rng, anatomy, scale = grower.rng, grower.anatomy, grower.scale
    theta, s, depth = column
    deep = float(rng.uniform(1.25, 1.75))
    down = anatomy.place(side, theta, s, np.linspace(depth, 1.0, max(3, round(9 * (1 - depth)))))
    callosal = projection in ("homotopic", "heterotopic")
    target = source if projection == "homotopic" else _PARTNERS[source]
    if callosal:
        end = anatomy.area_of(target, rng)
        if projection == "homotopic":  # the mirror place, nearly
            end = theta + float(rng.normal(0, 2)), s + float(rng.normal(0, 0.02))
        lane = grower.lane(side, (0.94 * theta, s), (-0.96 * end[0], end[1]), deep)
        up = anatomy.place(-side, end[0], end[1], np.asarray([0.92, 0.78, 0.64]))
        course = np.concatenate([down, lane, up])
        tips = grower.patch(-side, target, end, grower.number(24), max(0.6, scale))
    else:
        target = "CP" if projection == "corticostriatal" else "TH"
        parts = ("CP",) if target == "CP" else ("VAL", "PO", "LP")
        codes = tuple(DEEP.index(name) + 1 for name in parts)
        spot = grower.spot_in(codes, side, 45 * scale)
        w, v, u = (spot - anatomy.centre) / anatomy.half
        entry = float(np.clip(np.degrees(np.arctan2(abs(u), -v)), 54, 76))
        gate = float(np.clip((w - s * 0.74) * 0.5 + s, -0.55, 0.5))
        lane = grower.lane(side, (0.96 * theta + 0.04 * entry, s), (entry, gate), deep)
        enter = anatomy.place(side, entry, gate, 1.97)
        inner = enter + (spot - enter) * np.linspace(0, 1, 5)[:, None]
        course = np.concatenate([down, lane, inner])
        tips = grower.cloud(codes, spot, grower.number(16), 48 * scale)
    run = grower.tree.add(grower.curve(course, 3.0), 0, AXON, radius=(1.3, 1.0), brightness=1.0)
    ending = run[-max(2, round(30 * scale / STEP)) :]
    grower.arborise(ending, tips, AXON, radius=(0.9, 0.7), brightness=0.8)
    if callosal:
        local = grower.patch(side, source, (theta, s), grower.number(7), max(0.6, scale))
        stem = run[round(30 * scale / STEP) : round(70 * scale / STEP) + 2]
        grower.arborise(stem, local, AXON, radius=(0.9, 0.7), brightness=0.75)
    return target


def _texture(
    skeleton: Skeleton, brightness: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Skeleton, NDArray[np.float32]]:
    """Add boutons, dim stretches and short gaps to the axon; returns new radii and brightness."""
    assert skeleton.radius is not None
    assert skeleton.kind is not None
    radius = skeleton.radius.astype(np.float64)
    level = brightness.copy()
    for run in skeleton.segments:
        run = run[:-1]
        n = len(run)
        wander = gaussian_filter1d(rng.standard_normal(n + 30), 5)[15:-15]
        level[run] *= np.exp(0.18 * wander * np.sqrt(2 * np.sqrt(np.pi) * 5))
        if skeleton.kind[run[0]] != AXON:
            continue
        arbor = skeleton.radius[run[0]] < 0.95
        boutons = rng.random(n) < STEP / (22.0 if arbor else 70.0)
        level[run[boutons]] *= rng.uniform(1.4, 2.4, boutons.sum())
        radius[run[boutons]] *= rng.uniform(1.3, 1.9, boutons.sum())
        for every, lengths, share in ((350, (20, 60), (0.35, 0.6)), (1400, (6, 13), (0.0, 0.1))):
            for start in np.flatnonzero(rng.random(n) < STEP / every):
                stretch = run[start : start + max(1, round(rng.uniform(*lengths) / STEP))]
                level[stretch] *= rng.uniform(*share)
    new = replace(skeleton, radius=radius.astype(np.float32))
    return new, level.astype(np.float32)


def _apart(neuron: Neuron, others: list[Neuron], distance: float) -> bool:
    """Say whether a neuron keeps clear of others but for crossings, and its soma entirely."""
    if not others:
        return True
    known = cKDTree(np.concatenate([other.skeleton.coordinates for other in others]))
    if known.query(neuron.soma)[0] < 2.5 * neuron.soma_radius:
        return False
    skeleton = neuron.skeleton
    for other in others:
        near = np.linalg.norm(skeleton.coordinates - other.soma, axis=1)
        if near.min() < 2 * other.soma_radius:
            return False
    close = np.asarray(known.query(skeleton.coordinates)[0] < distance)
    run = np.zeros(len(skeleton))
    for node, parent in skeleton.edges.tolist():
        if close[node]:
            run[node] = run[parent] + skeleton.lengths[node]
    return bool(run.max() <= 40)
