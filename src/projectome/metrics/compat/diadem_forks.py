"""Trees as PyNeval's diadem sees them: branchings and ends alone, each with two branches at most.

What is called flat is measured in the plane of x and y, what is called rise along z. Next to each
node stand three trajectories: the places at which the way up, and the ways to the left and to the
right, leave a circle of `CIRCLE` units around it; -1 stands for a place that is not known, which is
looked for later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton

CIRCLE = 1.2
UNKNOWN = -1.0

Point = list[float]


@dataclass(eq=False, slots=True)
class Place:
    """A node of the file; branchings of more than two branches share one.

    Attributes
    ----------
    at
        x, y and z.
    flat, rise
        Length of the cable to the branching above.
    up, left, right
        Trajectories; None where there are none.
    """

    at: Point
    flat: float = 0.0
    rise: float = 0.0
    up: Point | None = None
    left: Point | None = None
    right: Point | None = None


@dataclass(eq=False, slots=True)
class Fork:
    """A branching or an end.

    Attributes
    ----------
    place
        Where it is.
    above
        The branching above, or the root.
    left, right
        The branches; None at an end.
    """

    place: Place
    above: Fork | None = None
    left: Fork | None = None
    right: Fork | None = None

    @property
    def is_left(self) -> bool:
        """Whether it is the left branch; so are what hangs on a root, but no root."""
        return self.above is not None and self.above.right is not self

    @property
    def branches(self) -> list[Fork]:
        """The branches that there are, the left one first."""
        return [one for one in (self.left, self.right) if one is not None]

    def below(self) -> list[Fork]:
        """Return itself and all below it, the right branch before the left."""
        found, stack = [], [self]
        while stack:
            fork = stack.pop()
            found.append(fork)
            stack += fork.branches
        return found


@dataclass(eq=False)
class Crowd:
    """Forks among which those near a place are looked for, in their order.

    Attributes
    ----------
    forks
        All of them.
    gone
        Those that were taken out.
    """

    forks: list[Fork]
    gone: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        at = np.asarray([fork.place.at for fork in self.forks], np.float64).reshape(-1, 3)
        self._tree = cKDTree(at[:, :2]) if len(at) else None

    def near(self, place: Place, reach: tuple[float, float]) -> list[tuple[int, Fork]]:
        """Return forks within a flat distance and a rise, with their numbers."""
        if self._tree is None:
            return []
        found = self._tree.query_ball_point(place.at[:2], reach[0] * (1 + 1e-9))
        close = [(k, self.forks[k]) for k in sorted(found) if k not in self.gone]
        return [(k, fork) for k, fork in close if within(place, fork.place, reach)]


def flat_gap(a: Point, b: Point) -> float:
    """Return a distance in the plane of x and y."""
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)


def gap(a: Point, b: Point) -> float:
    """Return a distance in space."""
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


def within(a: Place, b: Place, reach: tuple[float, float]) -> bool:
    """Say whether two places lie within a flat distance and a rise of one another."""
    return flat_gap(a.at, b.at) <= reach[0] and abs(a.at[2] - b.at[2]) <= reach[1]


def on_circle(origin: Point, first: Point, second: Point, reach: float) -> Point:
    """Return where the way from `first` to `second` leaves a circle around the origin."""
    start, stop = flat_gap(origin, first), flat_gap(origin, second)
    share = (reach - start) / (stop - start)
    return [first[k] + share * (second[k] - first[k]) for k in (0, 1)]


def forks_of(
    tree: Skeleton, parent: NDArray[np.int64], order: NDArray[np.int64], root: int
) -> tuple[Fork, list[Fork]]:
    """Return a root and the branchings or ends that come first on each of its branches.

    Parameters
    ----------
    tree
        Where the nodes are.
    parent
        Shape (N,): parents, in any order.
    order
        Shape (N,): in which children stand.
    root
        A node without a parent.
    """
    children: dict[int, list[int]] = {}
    for node in order.tolist():
        children.setdefault(int(parent[node]), []).append(node)
    at = tree.coordinates[:, ::-1].tolist()
    top = Place(at[root])
    firsts = []
    for child in children.get(root, ()):
        fork = _two_by_two(child, children, at)
        _link(fork)
        _trajectories(fork, top)
        firsts.append(_without_nodes_between(fork, top))
    return Fork(top), firsts


def _two_by_two(root: int, children: dict[int, list[int]], at: list[Point]) -> Fork:
    """Return forks for all nodes from one on; of many branches the two nearest join first."""
    nodes, stack = [], [root]
    while stack:
        node = stack.pop()
        nodes.append(node)
        stack += children.get(node, ())
    forks: dict[int, Fork] = {}
    for node in reversed(nodes):
        place = Place(at[node])
        branches = [forks.pop(child) for child in children.get(node, ())]
        while len(branches) > 2:
            best, pair = math.inf, (branches[0], branches[1])
            for k, one in enumerate(branches[:-1]):
                for other in branches[k + 1 :]:
                    far = gap(one.place.at, other.place.at)
                    if far < best:
                        best, pair = far, (one, other)
            branches = [b for b in branches if b not in pair]
            branches.append(Fork(place, left=pair[0], right=pair[1]))
        forks[node] = Fork(place, None, *branches)
    return forks[root]


def _link(root: Fork) -> None:
    for fork in root.below():
        for branch in fork.branches:
            branch.above = fork


def _down(fork: Fork) -> Fork:
    """Return the next branching or end from a fork on."""
    while fork.left is not None and fork.right is None:
        fork = fork.left
    return fork


def _trajectories(root: Fork, top: Place) -> None:
    """Find the trajectories of branchings and ends; where several share a place they add up."""
    stack = [_down(root)]
    while stack:
        fork = stack.pop()
        place = fork.place
        above = top if fork.above is None else fork.above.place
        way = list(above.at)
        if flat_gap(place.at, above.at) > CIRCLE:
            way[:2] = on_circle(place.at, place.at, above.at, CIRCLE)
        way[2] = place.at[2]
        place.up = _sum(place.up, way)
        if fork.left is None or fork.right is None:
            continue
        place.left = _sum(place.left, _way_down(place.at, fork.left))
        place.right = _sum(place.right, _way_down(place.at, fork.right))
        stack += [_down(fork.left), _down(fork.right)]


def _sum(before: Point | None, way: Point) -> Point:
    return way if before is None else [a + b for a, b in zip(before, way, strict=True)]


def _way_down(origin: Point, fork: Fork) -> Point:
    """Return where the way to a branch leaves the circle; -1 where it branches before."""
    before, flat, rise = origin, None, None
    while True:
        at = fork.place.at
        end, branching = not fork.branches, fork.right is not None
        if flat is None:
            if flat_gap(origin, at) > CIRCLE:
                flat = on_circle(origin, before, at, CIRCLE)
            elif end:
                flat = at[:2]
            elif branching:
                flat = [UNKNOWN, UNKNOWN]
        if rise is None:
            if abs(origin[2] - at[2]) > 0:
                rise = before[2]
            elif end:
                rise = at[2]
            elif branching:
                rise = UNKNOWN
        if flat is not None and rise is not None:
            return [*flat, rise]
        before = at
        fork = fork.left if fork.left is not None else fork


def _without_nodes_between(root: Fork, top: Place) -> Fork:
    """Take nodes that do not branch out, adding up lengths; return the first that stays."""
    first = root
    root.place.flat = flat_gap(top.at, root.place.at)
    root.place.rise = abs(top.at[2] - root.place.at[2])
    stack = [root]
    while stack:
        fork = stack.pop()
        for branch in fork.branches:
            if branch.place.flat == 0.0:
                branch.place.flat = flat_gap(branch.place.at, fork.place.at)
                branch.place.rise = abs(fork.place.at[2] - branch.place.at[2])
        stack += fork.branches
        if fork.left is None or fork.right is not None:
            continue
        child, above = fork.left, fork.above
        child.place.flat += fork.place.flat
        child.place.rise += fork.place.rise
        child.above = above
        if fork is first:
            first, child.above = child, None
        elif above is not None and above.left is fork:
            above.left = child
        elif above is not None:
            above.right = child
    return first
