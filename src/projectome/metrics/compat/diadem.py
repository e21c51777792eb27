"""The DIADEM score exactly as PyNeval 1.1 gives it; see `diadem_forks` for its view of a tree.

Habits, each with the case that shows it; `tree_paths.branching_scores` has none of them:

- A tree is scored only if one of its nodes lies within half its RADIUS of a node of the trace; both
  are rooted at the first such pair. (A straight neurite moved by 0.6 with radii of 1: score 0.)
- A branching on a path that goes on is found, whatever becomes of its branches. (A fork of which
  one branch is missing: 3 of 4; there 1 of 4.)
- An end whose branching above is matched is no excess, wherever it lies. (A false branch of 45 at
  the root: score 1.)
- Lengths are flat, in the plane of x and y, and errors along z are shares of flat lengths.
- Of branchings with three branches or more, which share a node, the trajectories are added up.
- Where two nodes fit and no branch says which, and another node lies near the right one of the
  branches, the program stops (KeyError); it stops at other places too. Here the figures are NaN.
- Missed branchings are looked at in the order of a set, which changes from run to run; here in that
  in which they were missed.

References
----------
Gillette T.A., Brown K.M., Ascoli G.A. (2011), The DIADEM metric: comparing multiple
reconstructions of the same neuron, Neuroinformatics 9, 233-245.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.metrics.compat.diadem_forks import (
    UNKNOWN,
    Crowd,
    Fork,
    Point,
    flat_gap,
    forks_of,
    gap,
)
from projectome.metrics.compat.diadem_match import Length, Match, StopsError, closest, off, way_to
from projectome.metrics.compat.pyneval import walk
from projectome.metrics.samples import check_distance, common_space


def diadem_metric(
    truth: Skeleton, traced: Skeleton, *, xy_threshold: float = 2.0, z_threshold: float = 1.0
) -> dict[str, float]:
    """Return what ``--metric diadem`` gives.

    Parameters
    ----------
    truth, traced
        Trees or forests in one space.
    xy_threshold, z_threshold
        Farthest that nodes lie apart in the plane and, but for a tenth more, along z.

    Returns
    -------
    dict
        ``weight_sum``, ``score_sum`` and ``diadem_score``; -1 where nothing weighs anything, NaN
        where the program stops.

    Raises
    ------
    ParameterError
        If a threshold is not positive, or radii of the truth are not known.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    common_space([truth, traced])
    check_distance(xy_threshold, "xy_threshold")
    check_distance(z_threshold, "z_threshold")
    if truth.radius is None or not np.isfinite(truth.radius).all():
        raise ParameterError(
            "PyNeval looks for a common root within half the radius of true nodes, and some are "
            "not known; write radii first."
        )
    names = ("weight_sum", "score_sum", "diadem_score")
    if not len(truth):
        return dict(zip(names, (0.0, 0.0, -1.0), strict=True))
    mine, theirs, roots = _common_roots(truth, traced)
    state = Match(xy_threshold, z_threshold)
    final = -1.0
    try:
        for root in mine.order[mine.parent[mine.order] < 0].tolist():
            gold = forks_of(truth, mine.parent, mine.order, root)
            test: tuple[Fork | None, list[Fork]] = (None, [])
            if root in roots:
                test = forks_of(traced, theirs.parent, theirs.order, roots[root])
            final = _compare(state, gold, test, final)
    except StopsError:
        return dict.fromkeys(names, math.nan)
    return dict(zip(names, (state.weight, state.score, final), strict=True))


@dataclass(eq=False)
class _Rooted:
    """Parents, and the order in which nodes stand as children."""

    parent: NDArray[np.int64]
    order: NDArray[np.int64]

    def reroot(self, node: int, order: NDArray[np.int64]) -> None:
        """Turn the way from a node up to its root round."""
        self.order = order
        above = -1
        while node >= 0:
            self.parent[node], above, node = above, node, int(self.parent[node])


def _common_roots(truth: Skeleton, traced: Skeleton) -> tuple[_Rooted, _Rooted, dict[int, int]]:
    """Root trees where they share a node; return which roots belong together."""
    mine, theirs = (_Rooted(tree.parent.copy(), np.arange(len(tree))) for tree in (truth, traced))
    roots: dict[int, int] = {}
    if not len(traced):
        return mine, theirs, roots
    orders = walk(truth), walk(traced)
    coarse, index = np.unique(
        np.round(traced.coordinates[orders[1]], 2)[::-1], axis=0, return_index=True
    )
    node_at = orders[1][::-1][index]  # of several nodes at a place the last stands for all
    look = cKDTree(coarse)
    seen: tuple[set[int], set[int]] = (set(), set())
    assert truth.radius is not None
    for node in orders[0].tolist():
        if int(truth.tree[node]) in seen[0]:
            continue
        point = truth.coordinates[node]
        found = np.atleast_1d(look.query(np.round(point, 2), k=min(5, len(coarse)))[1])
        others = [int(k) for k in node_at[found]]
        far = {k: gap(point.tolist(), traced.coordinates[k].tolist()) for k in others}
        reach = float(truth.radius[node]) / 2
        for other in sorted((k for k in others if far[k] < reach), key=far.__getitem__):
            if int(traced.tree[other]) not in seen[1]:
                roots[node] = other
                mine.reroot(node, orders[0])
                theirs.reroot(other, orders[1])
                seen[0].add(int(truth.tree[node]))
                seen[1].add(int(traced.tree[other]))
                break
    return mine, theirs, roots


def _compare(
    state: Match,
    gold: tuple[Fork, list[Fork]],
    test: tuple[Fork | None, list[Fork]],
    final: float,
) -> float:
    """Compare two trees, and return the score so far."""
    root, firsts = gold
    other, seconds = test
    for top in (root, other):
        if top is not None:
            top.place.up = top.place.left = top.place.right = top.place.at
    for above, branches in ((root, firsts), (other, seconds)):
        for fork in branches:
            fork.above = above
    if other is not None:
        state.partner[root], state.partner[other] = other, root
    crowds = tuple(
        Crowd([fork for first in branches for fork in first.below()])
        for branches in (firsts, seconds)
    )
    weights = _weights(firsts)
    for first in firsts:
        stack = [first]
        while stack:
            fork = stack.pop()
            stack += fork.branches
            state.weight += weights[fork]
            match = closest(state, fork, crowds[0], crowds[1])
            if match is None:
                state.missed.append(fork)
            else:
                state.partner[fork], state.partner[match] = match, fork
                state.score += weights[fork]
    for fork in list(state.missed):
        if fork.branches and _continues(state, fork, crowds[1]):
            state.score += weights.get(fork, float(_ends_below(fork)))
            state.missed.remove(fork)
    if state.weight > 0:
        state.weight += _excess(state, firsts, seconds)
        final = state.score / state.weight
    return final


def _weights(firsts: list[Fork]) -> dict[Fork, float]:
    """Return the number of ends below each fork."""
    weights: dict[Fork, float] = {}
    for first in firsts:
        for fork in reversed(first.below()):
            weights[fork] = sum(weights[one] for one in fork.branches) if fork.branches else 1.0
    return weights


def _ends_below(fork: Fork) -> int:
    return sum(not one.branches for one in fork.below())


def _continues(state: Match, fork: Fork, others: Crowd) -> bool:
    """Say whether a branching that was missed lies on a path that is there."""
    length = Length()
    length.add(fork.place)
    ancestor, left = fork.above, False
    while ancestor is not None:
        match = state.partner.get(ancestor)
        if match is not None and _goes_through(state, fork, ancestor, match, left, length, others):
            return True
        known: Fork | None = match
        for _ in state.near(ancestor, others):
            # The program goes on with a truth value for a fork: nothing is an ancestor then.
            if _goes_through(state, fork, ancestor, None, left, length, others):
                return True
        length.add(ancestor.place)
        left, ancestor = ancestor.is_left, ancestor.above
        if known is not None:
            return False
    return False


def _goes_through(
    state: Match,
    fork: Fork,
    ancestor: Fork,
    match: Fork | None,
    left: bool,
    length: Length,
    others: Crowd,
) -> bool:
    lengths = {fork: length.plus(Length())}
    way = ancestor.place.left if left else ancestor.place.right
    found = [
        _descendant(state, branch, ancestor, match, way, lengths, others)
        for branch in fork.branches
    ]
    if len(found) == 2 and found[0] is not None and found[1] is not None:
        common = _common_ancestor(found[0], found[1], match)
        if common is not None:
            near = flat_gap(common.place.at, fork.place.at) <= 3 * state.flat
            if near and abs(common.place.at[2] - fork.place.at[2]) < 3 * state.rise + 0.1:
                state.partner[fork], state.partner[common] = common, fork
    return any(one is not None for one in found)


def _descendant(
    state: Match,
    first: Fork,
    ancestor: Fork,
    match: Fork | None,
    way: Point | None,
    lengths: dict[Fork, Length],
    others: Crowd,
) -> Fork | None:
    """Return the first match of a fork below, with a path of the right length to the ancestor."""
    known: list[Fork] = []
    stack = [first]
    while stack:
        fork = stack.pop()
        if fork in state.partner:
            known.append(state.partner[fork])
        else:
            known = [one for _, one in others.near(fork.place, state.reach)]
        assert fork.above is not None
        own = Length()
        own.add(fork.place)
        own = own.plus(lengths[fork.above])
        lengths[fork] = own
        for one in known:
            there = _path_up(one, match, lengths)
            if there is None:
                continue
            lengths[one] = there
            if way is None or match is None:
                raise StopsError
            if UNKNOWN in (way[0], way[2]):
                way_to(ancestor, fork, state.flat)  # looked for, and not used; it may stop
            flat, rise = off(ancestor.place, way, match.place)
            more = off(fork.place, fork.place.up, one.place)
            if state.fits(own, there.flat + flat + more[0], there.rise + rise + more[1]):
                return one
        if fork not in state.partner:
            stack += fork.branches
    return None


def _path_up(fork: Fork, top: Fork | None, lengths: dict[Fork, Length]) -> Length | None:
    """Return the length of the path up to a fork; None where it does not lead there."""
    there = Length()
    there.add(fork.place)
    above = fork.above
    while not (top is not None and above is top):
        if above is None:
            raise StopsError
        if above in lengths:
            return there.plus(lengths[above])
        there.add(above.place)
        above = above.above
        if above is None:
            return None
    return there


def _common_ancestor(one: Fork, other: Fork, top: Fork | None) -> Fork | None:
    ancestors = []
    up = one.above
    while up is not top:
        if up is None:
            raise StopsError
        ancestors.append(up)
        up = up.above
    down: Fork | None = other
    while down is not None and down is not top:
        if down in ancestors:
            return down
        down = down.above
    return None


def _excess(state: Match, firsts: list[Fork], seconds: list[Fork]) -> float:
    """Return the weight of what the trace has and the truth has not."""
    total = 0.0
    crowd = Crowd([fork for first in firsts for fork in first.below()])
    for second in seconds:
        excess: dict[Fork, float] = {}
        for fork in reversed(second.below()):
            excess[fork] = 0.0
            if fork.branches:
                beyond = sum(excess[one] for one in fork.branches)
                known = fork in state.partner or state.near(fork, crowd)
                if not (known or _continues(state, fork, crowd)):
                    excess[fork] = beyond
                    total += beyond
            elif fork not in state.partner and fork.above not in state.partner:
                near = [
                    (k, one)
                    for k, one in crowd.near(fork.place, state.reach)
                    if one not in state.partner
                ]
                if near:
                    nearest = min(near, key=lambda pair: gap(pair[1].place.at, fork.place.at))
                    crowd.gone.add(nearest[0])
                else:
                    excess[fork] = 1.0
                    total += 1.0
    return total
