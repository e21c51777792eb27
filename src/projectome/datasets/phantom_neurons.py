"""Neurons of the phantom: cortical projection neurons grown along plausible tracts.

An axon leaves its soma toward the white matter, runs there in a lane of its own, crosses the
corpus callosum or turns into the striatum or thalamus, and ends in an arbor. Courses are splines
through waypoints in cortical coordinates (see `phantom_atlas`) with smooth random wobble; arbors
and dendrites are balanced spanning trees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import APICAL, AXON, DENDRITE, SOMA, Skeleton
from projectome.datasets.phantom_atlas import SPACE, Anatomy
from projectome.datasets.phantom_growth import (
    FORBIDDEN,
    STEP,
    Grower,
    OutsideError,
    smooth_noise,
)
from projectome.datasets.phantom_regions import DEEP, area_codes, region_ids
from projectome.errors import ParameterError

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
_NUCLEI = {"CP": ("CP",), "TH": ("VAL", "PO", "LP")}
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
            except OutsideError:
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
    grower = Grower(anatomy, rng, scale)
    projection = PLAN[k % len(PLAN)]
    side = int(rng.choice((-1, 1)))
    theta, s = anatomy.area_of(source, rng)
    shallow, deep = _DEPTHS[projection][rng.integers(len(_DEPTHS[projection]))]
    depth = float(rng.uniform(shallow, deep))
    soma = anatomy.place(side, theta, s, depth)
    code = int(anatomy.codes_at(soma)[0])
    if code not in area_codes(source):
        raise OutsideError
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
    level = float(np.clip(np.exp(rng.normal(np.log(1100), 0.45)), 500, 3000))
    region = int(region_ids()[code])
    return Neuron(k + 1, skeleton, brightness, level, projection, source, target, region)


def _dendrites(grower: Grower, side: int, column: tuple[float, float, float]) -> None:
    """Grow basal dendrites around the soma and an apical one up to layer 1."""
    rng, scale = grower.rng, grower.scale
    theta, s, depth = column
    soma = grower.tree.xyz[0]
    ways = rng.standard_normal((grower.number(9), 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    basal = soma + ways * rng.uniform(35, 95, (len(ways), 1)) * scale
    inside = ~np.isin(grower.anatomy.codes_at(basal), FORBIDDEN)
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
    inside = ~np.isin(grower.anatomy.codes_at(tuft), FORBIDDEN)
    grower.arborise(
        run[len(run) * 3 // 4 :], tuft[inside], APICAL, radius=(1.1, 0.8), brightness=0.75
    )


def _axon(
    grower: Grower, projection: str, source: str, side: int, column: tuple[float, float, float]
) -> str:
    """Grow the axon with its arbors, and return the name of its target."""
    callosal = projection in ("homotopic", "heterotopic")
    if callosal:
        target = source if projection == "homotopic" else _PARTNERS[source]
        course, tips = _across(grower, target, side, column, mirror=target == source)
    else:
        target = "CP" if projection == "corticostriatal" else "TH"
        course, tips = _inward(grower, target, side, column)
    theta, s, depth = column
    steps = max(3, round(9 * (1 - depth)))
    down = grower.anatomy.place(side, theta, s, np.linspace(depth, 1.0, steps))
    curve = grower.curve(np.concatenate([down, course]), 3.0)
    run = grower.tree.add(curve, 0, AXON, radius=(1.3, 1.0), brightness=1.0)
    reach = [round(um * grower.scale / STEP) for um in (30, 70)]
    grower.arborise(run[-reach[0] - 2 :], tips, AXON, radius=(0.9, 0.7), brightness=0.8)
    if callosal:
        local = grower.patch(side, source, (theta, s), 7)
        stem = run[reach[0] : reach[1] + 2]
        grower.arborise(stem, local, AXON, radius=(0.9, 0.7), brightness=0.75)
    return target


def _across(
    grower: Grower, target: str, side: int, column: tuple[float, float, float], *, mirror: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return waypoints through the callosum into an area of the other side, and terminals there.

    With `mirror` the area is entered opposite the soma, nearly.
    """
    rng, anatomy = grower.rng, grower.anatomy
    theta, s, _ = column
    end = anatomy.area_of(target, rng)
    if mirror:
        end = theta + float(rng.normal(0, 2)), s + float(rng.normal(0, 0.02))
    lane = grower.lane(side, (0.94 * theta, s), (-0.96 * end[0], end[1]))
    up = anatomy.place(-side, end[0], end[1], np.asarray([0.92, 0.78, 0.64]))
    return np.concatenate([lane, up]), grower.patch(-side, target, end, 24)


def _inward(
    grower: Grower, target: str, side: int, column: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return waypoints into the striatum or the thalamus of the same side, and terminals there."""
    anatomy, scale = grower.anatomy, grower.scale
    theta, s, _ = column
    codes = tuple(DEEP.index(name) + 1 for name in _NUCLEI[target])
    spot = grower.spot_in(codes, side, 45 * scale)
    below, along = anatomy.column_of(spot)
    gate = float(np.clip(below, 54, 76)), float(np.clip((s + along) / 2, -0.55, 0.5))
    lane = grower.lane(side, (0.96 * theta + 0.04 * gate[0], s), gate)
    enter = anatomy.place(side, *gate, 1.97)
    inner = enter + (spot - enter) * np.linspace(0, 1, 5)[:, None]
    return np.concatenate([lane, inner]), grower.cloud(codes, spot, 16, 48 * scale)


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
        level[run] *= np.exp(0.18 * (smooth_noise(rng, (n,), 5) + smooth_noise(rng, (n,), 1)))
        if skeleton.kind[run[0]] != AXON:
            continue
        arbor = skeleton.radius[run[0]] < 0.95
        boutons = rng.random(n) < STEP / (18.0 if arbor else 60.0)
        level[run[boutons]] *= rng.uniform(1.5, 3.2, boutons.sum())
        radius[run[boutons]] *= rng.uniform(1.3, 1.9, boutons.sum())
        for every, lengths, share in ((300, (20, 60), (0.25, 0.55)), (1400, (6, 13), (0.0, 0.1))):
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
