"""How PyNeval's diadem looks for partners of branchings and ends; its habits are in `diadem`."""

from __future__ import annotations

from dataclasses import dataclass, field

from projectome.errors import DataError
from projectome.metrics.compat.diadem_forks import (
    UNKNOWN,
    Crowd,
    Fork,
    Place,
    Point,
    flat_gap,
    gap,
    on_circle,
    within,
)

PATH_ERROR, SHORT_ERROR = 0.05, 0.4
"""Share by which paths may be wrong, and that by which errors of short ones are divided."""


class StopsError(DataError):
    """What the program would stop at."""


@dataclass(slots=True)
class Length:
    """Lengths of a path.

    Attributes
    ----------
    whole
        Flat, as it is.
    flat, rise
        Flat and along z, with what the ends are off.
    """

    whole: float = 0.0
    flat: float = 0.0
    rise: float = 0.0

    def add(self, place: Place) -> None:
        """Go on to a place."""
        self.whole += place.flat
        self.flat += place.flat
        self.rise += place.rise

    def plus(self, other: Length) -> Length:
        """Return the lengths of both."""
        return Length(self.whole + other.whole, self.flat + other.flat, self.rise + other.rise)


@dataclass(eq=False)
class Match:
    """What is known while trees are compared.

    Attributes
    ----------
    flat, rise
        How far apart nodes near one another lie, in the plane and along z.
    partner
        Of nodes on both sides.
    missed
        True ones without a partner.
    weight, score
        Sums so far: of all nodes, and of those found.
    """

    flat: float
    rise: float
    partner: dict[Fork, Fork] = field(default_factory=dict)
    missed: list[Fork] = field(default_factory=list)
    weight: float = 0.0
    score: float = 0.0

    @property
    def reach(self) -> tuple[float, float]:
        """How far apart nodes near one another lie; more along z than was asked for."""
        return self.flat, self.rise + 0.1

    def near(self, fork: Fork, crowd: Crowd) -> list[Fork]:
        """Return what lies near a fork and has no partner yet."""
        return [one for _, one in crowd.near(fork.place, self.reach) if one not in self.partner]

    def fits(self, mine: Length, flat: float, rise: float) -> bool:
        """Say whether a path is as long as it should be."""
        if mine.whole == 0:
            return True
        errors = [abs(mine.flat - flat) / mine.whole, abs(mine.rise - rise) / mine.whole]
        limits = [PATH_ERROR, PATH_ERROR]
        for k, (own, other, least) in enumerate(
            ((mine.flat, flat, self.flat), (mine.rise, rise, self.rise))
        ):
            if own < least and other < least:
                errors[k] = 0.0
            elif own < least:
                limits[k] = SHORT_ERROR
        small = errors[0] < PATH_ERROR and errors[1] < PATH_ERROR
        return small and (errors[0] / limits[0] + errors[1] / limits[1]) / 2 < 1


def off(mine: Place, way: Point | None, other: Place) -> tuple[float, float]:
    """Return how much nearer a place is to a trajectory than another, flat and along z."""
    if way is None:
        raise StopsError
    flat = flat_gap(mine.at, way) - flat_gap(other.at, way)
    return flat, abs(mine.at[2] - way[2]) - abs(other.at[2] - way[2])


def _fill(way: Point | None, ancestor: Fork, below: Fork, flat: float) -> Point:
    """Look for the parts of a trajectory that were not known, in place."""
    if way is None:
        raise StopsError
    if UNKNOWN in (way[0], way[2]):
        found = way_to(ancestor, below, flat)
        if way[0] == UNKNOWN:
            way[:2] = found[:2]
        if way[2] == UNKNOWN:
            way[2] = found[2]
    return way


def way_to(ancestor: Fork, below: Fork, flat: float) -> Point:
    """Return the trajectory of the way from a fork to one below it."""
    path = []
    fork: Fork | None = below
    while fork is not ancestor:
        if fork is None:
            raise StopsError
        path.append(fork)
        fork = fork.above
    here, origin = path.pop(), ancestor.place
    x: float | None = None
    y: float = 0.0
    z: float | None = None
    while path and (x is None or z is None):
        onward = path.pop()
        side = here.place.left if onward.is_left else here.place.right
        if side is not None:
            if x is None and side[0] != UNKNOWN:
                x, y = side[0], side[1]
            if z is None and side[2] != UNKNOWN:
                z = side[2]
        if x is None and flat_gap(origin.at, onward.place.at) > flat:
            x = on_circle(origin.at, here.place.at, onward.place.at, flat)[0]  # y stays 0
        if z is None:
            raise StopsError
        here = onward
    at = here.place.at
    if x is None:
        x, y = at[0], at[1]
    return [x, y, at[2] if z is None else z]


def closest(state: Match, fork: Fork, mine: Crowd, others: Crowd) -> Fork | None:
    """Return the partner of a fork, if there is one."""
    fitting = [
        one for one in state.near(fork, others) if _ancestors_fit(state, fork, one, mine, others)
    ]
    return _best(state, fork, fitting, others) if len(fitting) > 1 else next(iter(fitting), None)


def _ancestors_fit(state: Match, fork: Fork, other: Fork, mine: Crowd, others: Crowd) -> bool:
    """Say whether the paths up to the first ancestors near one another are as long."""
    if other.above is None:
        return True
    target, own, there = fork, Length(), Length()
    own.add(fork.place)
    there.add(other.place)
    flat, rise = off(fork.place, fork.place.up, other.place)
    there.flat += flat
    there.rise += rise
    left, above = fork.is_left, fork.above
    beyond: Fork | None = other.above
    checked: set[Fork] = set()
    while above is not None and beyond is not None:
        if within(above.place, beyond.place, state.reach):
            way = _fill(above.place.left if left else above.place.right, above, target, state.flat)
            flat, rise = off(above.place, way, beyond.place)
            return state.fits(own, there.flat + flat, there.rise + rise)
        if own.whole < there.whole:
            known = above.above is not None and not _seen(state, above, others, checked)
            own.add(above.place)
            checked.add(above)
            left, above = above.is_left, above.above
        else:
            known = beyond.above is not None and not _seen(state, beyond, mine, checked)
            there.add(beyond.place)
            checked.add(beyond)
            beyond = beyond.above
        if not known:
            return False
    return False


def _seen(state: Match, fork: Fork, crowd: Crowd, checked: set[Fork]) -> bool:
    return any(one in checked for _, one in crowd.near(fork.place, state.reach))


def _best(state: Match, fork: Fork, fitting: list[Fork], others: Crowd) -> Fork:
    """Choose among several by what lies at the ends of the branches, then by distance."""
    confirmed: list[Fork] = []
    near: list[Fork] = []
    for branch in fork.branches:
        side = fork.place.left if branch is fork.left else fork.place.right
        way = _fill(side, fork, branch, state.flat)
        own = Length()
        own.add(branch.place)
        near = state.near(branch, others)
        for one in near:
            there, place, up = Length(), one.place, one
            while (above := up.above) is not None:
                there.add(up.place)
                up = above
                for match in [m for m in fitting if m is up]:
                    flat, rise = off(fork.place, way, up.place)
                    more = off(branch.place, branch.place.up, place)
                    if state.fits(own, there.flat + flat + more[0], there.rise + rise + more[1]):
                        confirmed.append(match)
                        fitting.remove(match)
    if fork.branches and not confirmed and near:
        raise StopsError  # it takes these for branches then
    if len(confirmed) == 1:
        return confirmed[0]
    return min(confirmed or fitting, key=lambda one: gap(one.place.at, fork.place.at))
