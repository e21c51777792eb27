"""Neurites of a block of tissue: wandering axons, bundles, cells, and arbors from files.

Coordinates are micrometres of a block that reaches from 0 to `extent` (z, y, x). Along each neurite
run smooth changes of brightness, varicosities, dim stretches and gaps; the truth goes on through
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import AXON, DENDRITE, SOMA, Skeleton
from projectome.core.space import Space
from projectome.datasets.phantom_growth import Tree, smooth_noise
from projectome.datasets.phantom_tract import Tract
from projectome.errors import ParameterError
from projectome.io.skeletons.read import read_skeletons
from projectome.morphology.edit import resample

Floats = NDArray[np.float64]
BENDS = (2.0, 18.0)
"""Distances over which a course forgets its bends [um]."""
SHORTEST = 12.0
"""Shortest neurite that is kept [um]."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How neurites look.

    Attributes
    ----------
    step
        Distance of nodes [um].
    radius
        Median radius of axons [um] and the standard deviation of its logarithm.
    level
        Median brightness of axons over the background [grey values] and the standard deviation of
        its logarithm.
    bend
        How much the course wanders over the distances `BENDS`; 1 is as much as it goes ahead.
    varicose
        Share of the axons that carry varicosities.
    spacing
        Mean distance of varicosities [um].
    branches
        Branches in a millimetre of axon.
    dim, gaps
        Dim stretches (15 to 50 um) and gaps (1.5 to 6 um) in a millimetre of axon.
    """

    step: float = 1.0
    radius: tuple[float, float] = (0.33, 0.35)
    level: tuple[float, float] = (900.0, 0.45)
    bend: tuple[float, float] = (0.55, 0.5)
    varicose: float = 0.55
    spacing: float = 9.0
    branches: float = 4.0
    dim: float = 0.6
    gaps: float = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Fibre:
    """A neurite, or a whole cell, as far as it lies in the block.

    Attributes
    ----------
    id
        1, 2, ...
    skeleton
        One tree of N nodes with radii and kinds [um].
    brightness
        Shape (N,), float32; 1 is the neurite's own level, 0 a gap.
    level
        Peak of a plain stretch over the background [grey values].
    origin
        Name of what it is part of: ``axon``, ``bundle 2``, ``tract``, ``cell``, or an arbor's name.
    """

    id: int
    skeleton: Skeleton
    brightness: NDArray[np.float32]
    level: float
    origin: str

    @property
    def has_soma(self) -> bool:
        """Whether the root is a soma."""
        kind = self.skeleton.kind
        return kind is not None and int(kind[0]) == SOMA


@dataclass
class Bed:
    """A block in which neurites grow, one after another.

    Attributes
    ----------
    extent
        Its edges (z, y, x) [um].
    space
        What the micrometres mean.
    habit
        How neurites look.
    rng
        Where chance comes from.
    fibres
        What has grown.
    marks
        Dim stretches, gaps and varicosities: kind, id of the neurite, first and last point [um].
    """

    extent: Floats
    space: Space
    habit: Habit
    rng: np.random.Generator
    fibres: list[Fibre] = field(default_factory=list)
    marks: list[tuple[str, int, Floats, Floats]] = field(default_factory=list)

    @property
    def cable(self) -> float:
        """Length of all neurites [um]."""
        return sum(fibre.skeleton.cable_length for fibre in self.fibres)

    def axon(self, *, tilt: Floats, tract: Tract | None = None) -> None:
        """Grow an axon that crosses the block, denser toward `tilt` and seldom in a tract."""
        bend = np.asarray(self.habit.bend) * np.exp(self.rng.normal(-0.1, 0.4))
        for _ in range(20):
            course = self._entering(bend)
            middle = course.mean(axis=0) / self.extent if len(course) else np.zeros(3)
            kept = np.exp(float(middle @ tilt) - np.maximum(tilt, 0).sum())
            if tract is not None and len(course):
                kept *= (1 - float(tract.inside(*course.T).mean())) ** 2
            if self.rng.random() < kept:
                break
        if len(course) * self.habit.step >= SHORTEST:
            self._finish(self._with_branches(course, self._radius()), "axon", self._level())

    def axon_along(self, tract: Tract) -> None:
        """Grow an axon that runs with a tract, straighter than others."""
        start = tract.centre
        for _ in range(200):
            start = self.rng.uniform(0, 1, 3) * self.extent
            if float(tract.inside(*start)) > 0.5:
                break
        way = tract.along * self.rng.choice((-1.0, 1.0)) + self.rng.normal(0, 0.1, 3)
        course = self._through(start, way, np.asarray(self.habit.bend) * 0.35)
        if len(course) * self.habit.step >= SHORTEST:
            self._finish(self._with_branches(course, self._radius()), "tract", self._level())

    def bundle(self, number: int, axons: int) -> None:
        """Grow axons that run side by side and touch each other now and again."""
        start, way = self.rng.uniform(0.25, 0.75, 3) * self.extent, self.rng.normal(0, 1, 3)
        bend = np.asarray(self.habit.bend) * 0.5
        centre = self._through(start, way, bend, margin=0.15)
        for _ in range(axons if len(centre) * self.habit.step >= SHORTEST else 0):
            offset = 2.2 * smooth_noise(self.rng, (len(centre), 3), 30)
            # The number of nodes stays, so that all axons of the bundle keep step.
            course = self._inside(centre + offset, len(centre) // 2)
            if len(course) * self.habit.step < SHORTEST:
                continue
            tree = Tree()
            tree.add(course, -1, AXON, radius=(self._radius(),) * 2, brightness=1.0)
            self._finish(tree, f"bundle {number}", self._level())

    def cell(self) -> None:
        """Grow a soma with dendrites and an axon."""
        soma = self.rng.uniform(0.15, 0.85, 3) * self.extent
        radius = float(self.rng.uniform(5.0, 8.0))
        tree = Tree()
        tree.add(soma[None], -1, SOMA, radius=(radius, radius), brightness=1.0)
        for number in range(int(self.rng.integers(4, 8))):
            way = _unit(self.rng.normal(0, 1, 3))
            axon = number == 0
            length = 1e4 if axon else float(self.rng.uniform(60, 140))
            bend = np.asarray(self.habit.bend) * (1.0 if axon else 0.7)
            course = self._inside(self._wander(soma + radius * way, way, length, bend), 0)
            if len(course) < 2:
                continue
            widths = (0.6, 0.45) if axon else (1.0, 0.4)
            kind = AXON if axon else DENDRITE
            run = tree.add(course, 0, kind, radius=widths, brightness=1.0 if axon else 1.6)
            if not axon:
                self._branch(tree, run, kind, rate=12.0, length=50.0)
        self._finish(tree, "cell", 1.3 * self._level())

    def arbor(self, skeleton: Skeleton, name: str) -> None:
        """Lay an arbor from a file into the block, turned and cut to it.

        Each piece inside the block is a neurite of its own.
        """
        turn = self.rng.permutation(3)
        flip = self.rng.choice((-1.0, 1.0), 3)
        xyz = skeleton.coordinates[:, turn] * flip
        centre = xyz[self.rng.integers(len(xyz))]
        xyz = xyz - centre + self.rng.uniform(0.3, 0.7, 3) * self.extent
        close = ((xyz > -200) & (xyz < self.extent + 200)).all(axis=1)
        moved = replace(skeleton, coordinates=xyz, space=self.space, radius=None).take(close)
        fine = resample(moved, step_um=self.habit.step)
        # Published tracings are straight from node to node; axons are not.
        wobble = 0.8 * smooth_noise(self.rng, (len(fine), 3), 6)
        fine = replace(fine, coordinates=fine.coordinates + np.clip(wobble, -1.5, 1.5))
        inside = ((fine.coordinates >= 0) & (fine.coordinates <= self.extent)).all(axis=1)
        level = self._level()
        for piece in fine.take(inside).trees():
            if piece.cable_length < SHORTEST:
                continue
            kind = np.full(len(piece), AXON) if piece.kind is None else piece.kind
            width = np.where(kind == AXON, 1.0, 1.6) * self._radius()
            tree = Tree(
                list(piece.coordinates),
                piece.parent.tolist(),
                width.tolist(),
                np.where(kind == SOMA, AXON, kind).tolist(),
                [1.0] * len(piece),
            )
            self._finish(tree, name, level)

    def _radius(self) -> float:
        median, spread = self.habit.radius
        return float(median * np.exp(self.rng.normal(0, spread)))

    def _level(self) -> float:
        median, spread = self.habit.level
        return float(median * np.exp(np.clip(self.rng.normal(0, spread), -1.5, 1.5)))

    def _wander(self, start: Floats, way: Floats, length: float, bend: Floats) -> Floats:
        """Return a winding course of a length, from `start` on."""
        step = self.habit.step
        n = max(2, int(min(length, 3 * float(np.linalg.norm(self.extent))) / step))
        noise = np.zeros((n, 3))
        for share, sigma in zip(bend, BENDS, strict=True):
            noise += share * smooth_noise(self.rng, (n, 3), max(1.0, sigma / step))
        steps = _unit(_unit(way) + noise)
        return start + np.cumsum(steps * step, axis=0)

    def _entering(self, bend: Floats) -> Floats:
        """Return a course through a face of the block; straight ones would fill it evenly."""
        areas = np.prod(self.extent) / self.extent
        axis = int(self.rng.choice(3, p=areas / areas.sum()))
        start = self.rng.uniform(0, 1, 3) * self.extent
        slant = float(np.sqrt(self.rng.uniform(0, 1)))
        way = _unit(np.where(np.arange(3) == axis, 0.0, self.rng.normal(0, 1, 3)))
        way = way * slant + np.sqrt(1 - slant**2) * np.eye(3)[axis]
        far = bool(self.rng.integers(2))
        start[axis] = self.extent[axis] if far else 0.0
        way[axis] *= -1 if far else 1
        return self._inside(self._wander(start, way, 1e9, bend), 0)

    def _through(self, start: Floats, way: Floats, bend: Floats, *, margin: float = 0.0) -> Floats:
        """Return a course that passes a point and ends where it leaves the block."""
        ahead = self._wander(start, way, 1e9, bend)
        back = self._wander(start, -way, 1e9, bend)
        return self._inside(np.concatenate([back[::-1], start[None], ahead]), len(back))

    def _inside(self, course: Floats, at: int) -> Floats:
        """Return the run of a course inside the block that holds a node."""
        inside = np.all((course >= 0) & (course <= self.extent), axis=1)
        if not inside[at]:
            return course[:0]
        outside = np.flatnonzero(~inside)
        first = outside[outside < at].max(initial=-1) + 1
        last = outside[outside > at].min(initial=len(course))
        return course[first:last]

    def _with_branches(self, course: Floats, radius: float) -> Tree:
        tree = Tree()
        run = tree.add(course, -1, AXON, radius=(radius, radius), brightness=1.0)
        self._branch(tree, run, AXON, rate=self.habit.branches, length=90.0)
        return tree

    def _branch(self, tree: Tree, run: range, kind: int, *, rate: float, length: float) -> None:
        """Add side branches to a run, `rate` a millimetre, of a mean length [um]."""
        count = int(self.rng.poisson(rate * len(run) * self.habit.step / 1000))
        for node in self.rng.integers(2, max(3, len(run) - 2), count).tolist():
            if node + 1 >= len(run):
                continue
            at = run[node]
            ahead = _unit(tree.xyz[at] - tree.xyz[at - 1])
            aside = _unit(np.cross(ahead, self.rng.normal(0, 1, 3)))
            way = ahead * self.rng.uniform(-0.2, 0.8) + aside
            far = float(np.clip(self.rng.exponential(length), 8, 5 * length))
            bend = np.asarray(self.habit.bend) * 1.3
            course = self._inside(self._wander(tree.xyz[at], way, far, bend), 0)
            if len(course) > 3:
                thin = 0.8 * tree.radius[at]
                bright = 0.8 * tree.brightness[at]
                tree.add(course, at, kind, radius=(thin, 0.8 * thin), brightness=bright)

    def _finish(self, tree: Tree, origin: str, level: float) -> None:
        """Add what runs along a neurite, and keep it."""
        skeleton = Skeleton(
            np.asarray(tree.xyz).reshape(-1, 3),
            np.asarray(tree.parent, np.int64),
            self.space,
            np.asarray(tree.radius, np.float32),
            np.asarray(tree.kind, np.int32),
        )
        number = len(self.fibres) + 1
        radius = np.asarray(tree.radius)
        bright = np.asarray(tree.brightness)
        beaded = self.rng.random() < self.habit.varicose
        for run in _runs(skeleton):
            self._vary(run, radius, bright, beaded, (number, skeleton))
        skeleton = replace(skeleton, radius=radius.astype(np.float32))
        self.fibres.append(Fibre(number, skeleton, bright.astype(np.float32), level, origin))

    def _vary(
        self,
        run: NDArray[np.int64],
        radius: Floats,
        bright: Floats,
        beaded: bool,
        owner: tuple[int, Skeleton],
    ) -> None:
        """Change radius and brightness of the nodes of an unbranched run, in place."""
        number, skeleton = owner
        assert skeleton.kind is not None
        step, n = self.habit.step, len(run)
        along = np.arange(n) * step
        for share, sigma in ((0.22, 14.0), (0.2, 1.6)):
            bright[run] *= np.exp(share * smooth_noise(self.rng, (n,), max(1.0, sigma / step)))
        axon = int(skeleton.kind[run[0]]) == AXON
        if beaded and axon and n > 4:
            gaps = self.rng.gamma(2.0, self.habit.spacing / 2, int(along[-1] / 2) + 1)
            spots = np.cumsum(gaps)
            for spot in spots[spots < along[-1] - 1]:
                size = float(np.exp(self.rng.normal(-0.1, 0.5)))
                bump = size * np.exp(-0.5 * ((along - spot) / 1.1) ** 2)
                bright[run] *= 1 + bump
                radius[run] *= 1 + 0.3 * np.minimum(bump, 1.5)
                at = skeleton.coordinates[run[int(spot / step)]]
                self.marks.append(("varicosity", number, at, at))
        if not axon:
            return
        for kind, rate, (low, high), left in (
            ("dim", self.habit.dim, (15.0, 50.0), 0.22),
            ("gap", self.habit.gaps, (1.5, 6.0), 0.0),
        ):
            for _ in range(int(self.rng.poisson(rate * n * step / 1000))):
                length = float(self.rng.uniform(low, high))
                first = float(self.rng.uniform(4, max(4.1, along[-1] - length - 4)))
                hit = (along >= first) & (along <= first + length)
                if first + length > along[-1] - 2 or not hit.any():
                    continue
                bright[run[hit]] *= left
                ends = skeleton.coordinates[run[np.flatnonzero(hit)[[0, -1]]]]
                self.marks.append((kind, number, ends[0], ends[1]))


def read_arbors(folder: str, *, scale: float | None = None) -> Iterator[tuple[Skeleton, str]]:
    """Yield the arbors of a folder (or archive, or file) of skeletons again and again.

    Parameters
    ----------
    folder
        Whatever `projectome.io.skeletons.read.read_skeletons` takes.
    scale
        Micrometres in one unit of the files; by default what they say.

    Raises
    ------
    ParameterError
        If none has two nodes or more.
    """
    found = [
        (item.skeleton, item.name)
        for item in read_skeletons(folder, scale=scale)
        if item.skeleton.cable_length > SHORTEST
    ]
    if not found:
        raise ParameterError(
            f"No skeleton in {folder} is longer than {SHORTEST:g} um, so nothing can be drawn from "
            "it. Give a folder of SWC files; where they are in voxels, say how many micrometres "
            "one is (--arbor-scale)."
        )
    while True:
        yield from found


def contacts(fibres: Sequence[Fibre], *, within: float) -> list[tuple[int, int, str, Floats]]:
    """Return where two neurites come close.

    Parameters
    ----------
    fibres
        The neurites.
    within
        Farthest that the surfaces of two are apart in a contact [um].

    Returns
    -------
    list of tuple
        Ids of the two, ``crossing`` (over 30 degrees) or ``touching``, and its place (3,) [um]; one
        entry an encounter.
    """
    from scipy.spatial import cKDTree

    if not fibres:
        return []
    xyz = np.concatenate([f.skeleton.coordinates for f in fibres])
    owner = np.repeat([f.id for f in fibres], [len(f.skeleton) for f in fibres])
    radii = [f.skeleton.radius for f in fibres]
    radius = np.concatenate([r for r in radii if r is not None]).astype(np.float64)
    way = np.concatenate([_directions(f.skeleton) for f in fibres])
    reach = within + 2 * float(np.quantile(radius, 0.999))
    pairs = cKDTree(xyz).query_pairs(reach, output_type="ndarray")
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    gap = np.linalg.norm(xyz[pairs[:, 0]] - xyz[pairs[:, 1]], axis=1) - radius[pairs].sum(axis=1)
    pairs, gap = pairs[gap <= within], gap[gap <= within]
    swap = owner[pairs[:, 0]] > owner[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], owner[pairs[:, 1]], owner[pairs[:, 0]]))
    pairs, gap = pairs[order], gap[order]
    if not len(pairs):
        return []
    new = np.any(np.diff(owner[pairs], axis=0) != 0, axis=1) | (np.diff(pairs[:, 0]) > 8)
    found = []
    for group in np.split(np.arange(len(pairs)), np.flatnonzero(new) + 1):
        a, b = pairs[group[gap[group].argmin()]]
        kind = "crossing" if abs(float(way[a] @ way[b])) < np.cos(np.radians(30)) else "touching"
        found.append((int(owner[a]), int(owner[b]), kind, (xyz[a] + xyz[b]) / 2))
    return found


def _runs(skeleton: Skeleton) -> list[NDArray[np.int64]]:
    """Return the unbranched runs from their start on, without the node they leave from."""
    runs = [run[::-1][1:] for run in skeleton.segments]
    return [run for run in runs if len(run) > 1]


def _directions(skeleton: Skeleton) -> Floats:
    """Return the direction of the edge at each node."""
    before = np.where(skeleton.parent < 0, 0, skeleton.parent)
    way = skeleton.coordinates - skeleton.coordinates[before]
    if len(way) > 1:
        way[0] = way[1]
    return _unit(way)


def _unit(way: Floats) -> Floats:
    """Return vectors of length 1."""
    length: Floats = np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-12)
    return way / length
