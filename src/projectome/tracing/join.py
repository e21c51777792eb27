"""Joining fragments across gaps: which tips continue one another, how surely, and undoing it.

Notation: T tips, J pairs of tips. Every join, made or turned down, is a row of an audit table; a
join is undone by leaving its row out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.provenance import digest
from projectome.core.skeleton import Skeleton
from projectome.errors import ParameterError
from projectome.tracing.stitch import turn_round

Evidence: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

AUDIT_COLUMNS = {
    "id": "object",
    "kind": "object",
    "accepted": "bool",
    "score": "float64",
    "probability": "float64",
    "z_um": "float64",
    "y_um": "float64",
    "x_um": "float64",
    "a_z_um": "float64",
    "a_y_um": "float64",
    "a_x_um": "float64",
    "b_z_um": "float64",
    "b_y_um": "float64",
    "b_x_um": "float64",
    "gap_um": "float64",
    "angle_deg": "float64",
    "evidence": "float64",
    "a": "int64",
    "b": "int64",
}
"""Columns of the audit table, and their types.

``kind`` is ``"join"`` (two tips), ``"cut"`` (an edge between two somata) or ``"soma"`` (a
fragment hung on its soma); ``z_um, y_um, x_um`` is the middle between the ends ``a_...`` and
``b_...``, and ``gap_um`` their distance. ``a`` and ``b`` are the nodes that are joined, or the ids
of the somata of a cut, or the id of the soma and -1. ``id`` is made of kind and place alone. What
does not apply is NaN.
"""
SAMPLES = 9
"""Points along a gap at which the image is asked for evidence, the tips among them."""


def propose_joins(
    skeleton: Skeleton,
    *,
    max_gap_um: float,
    max_angle_deg: float,
    direction_um: float = 40.0,
    evidence: Evidence | None = None,
    min_score: float = 0.0,
) -> pd.DataFrame:
    """Return the pairs of tips of different trees that may continue one another.

    The direction of a tip is that of the straight line that fits the last `direction_um` of its
    path best. A tip is seen from another at the angle between that line and the line from the
    middle of that piece of path to the other tip; measured from there, a step aside of a voxel
    does not count as a bend however short the gap is. What the path turns by in all is the angle
    between the directions of the two tips; half of it is the third angle that counts.

    Parameters
    ----------
    skeleton
        The fragments, one a tree.
    max_gap_um
        Largest distance between two tips [um].
    max_angle_deg
        Largest of the three angles [degrees].
    direction_um
        Length of path that tells the direction of a tip [um].
    evidence
        Called with points (M, 3) along the gaps [um]; returns M intensities, normalised such that
        background is 0 and neurite 1. What lies outside 0 to 1 is clipped.
    min_score
        Joins with a lower score are not accepted.

    Returns
    -------
    pandas.DataFrame
        An audit table of J rows, best first. With each of gap, three angles and lack of evidence
        divided by half of what is allowed (for evidence: of 1), the ``score`` is
        ``exp(-sum of squares / 2)``. A join is ``accepted`` if each tip is the other's best
        choice, so that no tip is used twice, and if it closes no loop with better joins.
        ``probability`` is the score times its share of the score together with the best rival of
        either tip: an order for review, not a calibrated probability. ``angle_deg`` is the largest
        of the three angles, ``evidence`` the mean along the gap.

    Raises
    ------
    ParameterError
        If a parameter is out of range, or the evidence has another shape.
    """
    for name, value in {"max_gap_um": max_gap_um, "direction_um": direction_um}.items():
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"{name} is a positive number of micrometres, not {value!r}.")
    if not 0 < max_angle_deg <= 180:
        raise ParameterError(f"max_angle_deg lies above 0, up to 180; not {max_angle_deg!r}.")
    tips, middle, direction = _directions(skeleton, direction_um)
    position = skeleton.coordinates[tips]
    pairs = cKDTree(position).query_pairs(max_gap_um, output_type="ndarray")
    pairs = pairs[skeleton.tree[tips[pairs[:, 0]]] != skeleton.tree[tips[pairs[:, 1]]]]
    pairs = _by_position(pairs, position)
    a, b = pairs.T
    angle = np.column_stack(
        [
            _angle(direction[a], position[b] - middle[a]),
            _angle(direction[b], position[a] - middle[b]),
            _angle(direction[a], -direction[b]) / 2,
        ]
    )
    straight = (angle <= max_angle_deg).all(axis=1)
    pairs, angle = pairs[straight], angle[straight]
    ends = position[pairs]
    gap = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    seen = _along(ends, evidence)
    strain = (2 * angle / max_angle_deg) ** 2
    strain = strain.sum(axis=1) + (2 * gap / max_gap_um) ** 2
    strain += np.where(np.isnan(seen), 0.0, 2 * (1 - seen)) ** 2
    score = np.exp(-strain / 2)
    order = np.argsort(-score, kind="stable")
    pairs, score = pairs[order], score[order]
    mutual, rival = _choices(pairs, score)
    accepted = _without_loops(skeleton.tree[tips[pairs]], mutual & (score >= min_score))
    return audit_table(
        "join",
        ends[order],
        accepted=accepted,
        score=score,
        probability=score * score / (score + rival),
        angle_deg=angle.max(axis=1, initial=0.0)[order],
        evidence=seen[order],
        a=tips[pairs[:, 0]],
        b=tips[pairs[:, 1]],
    )


def apply_joins(skeleton: Skeleton, joins: pd.DataFrame) -> Skeleton:
    """Return the skeleton with the accepted joins made.

    Parameters
    ----------
    skeleton
        The one that the joins were proposed for.
    joins
        Audit table; rows of other kinds and rows that are not accepted are passed over.

    Returns
    -------
    Skeleton
        An edge more, and a tree less, for each join.

    Raises
    ------
    ParameterError
        If the table belongs to another skeleton, or if the joins close a loop.
    """
    made = joins[joins["accepted"] & (joins["kind"] == "join")]
    ends = made[["a", "b"]].to_numpy(np.int64)
    if len(ends) and not 0 <= ends.min() <= ends.max() < len(skeleton):
        raise ParameterError(_OTHER.format(made["id"].iloc[0]))
    for column, nodes in zip("ab", ends.T, strict=True):
        named = made[[f"{column}_{axis}_um" for axis in "zyx"]].to_numpy(np.float64)
        wrong = np.flatnonzero((named != skeleton.coordinates[nodes]).any(axis=1))
        if len(wrong):
            raise ParameterError(_OTHER.format(made["id"].iloc[wrong[0]]))
    free = _without_loops(skeleton.tree[ends], np.ones(len(ends), dtype=bool))
    if not free.all():
        raise ParameterError(
            f"The join {made['id'][~free].iloc[0]} closes a loop with others. Accept fewer of them."
        )
    parent = skeleton.parent.copy()
    for a, b in ends.tolist():
        turn_round(parent, np.array([b]))
        parent[b] = a
    return Skeleton.from_parents(
        skeleton.coordinates, parent, skeleton.space, radius=skeleton.radius, kind=skeleton.kind
    )


_OTHER = (
    "The join {} does not lie on nodes of this skeleton. Apply joins to the skeleton that they "
    "were proposed for."
)


def audit_table(kind: str, ends: NDArray[np.float64], **columns: object) -> pd.DataFrame:
    """Return rows of the audit table.

    Parameters
    ----------
    kind
        What happened there.
    ends
        Shape (J, 2, 3): the two ends, (z, y, x) [um].
    **columns
        Further columns of `AUDIT_COLUMNS`; those left out are NaN, or -1.
    """
    middle = ends.mean(axis=1)
    places = np.round(ends.reshape(-1, 6), 3) + 0.0
    rows: dict[str, object] = {
        "id": [digest([kind, *place])[:16] for place in places.tolist()],
        "kind": [kind] * len(ends),
        "gap_um": np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1),
        **{f"{axis}_um": middle[:, i] for i, axis in enumerate("zyx")},
        **{
            f"{end}_{axis}_um": ends[:, j, i]
            for j, end in enumerate("ab")
            for i, axis in enumerate("zyx")
        },
        **columns,
    }
    blank = {"float64": np.nan, "int64": -1}
    return pd.DataFrame(
        {
            name: pd.Series(rows.get(name, blank.get(dtype)), index=range(len(ends)), dtype=dtype)
            for name, dtype in AUDIT_COLUMNS.items()
        }
    )


def _by_position(pairs: NDArray[np.int64], position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return pairs in an order that depends on places alone, each with its first place first."""
    rank = np.empty(len(position), np.int64)
    rank[np.lexsort(position.T[::-1])] = np.arange(len(position))
    ranks = rank[pairs]
    pairs = np.where(ranks[:, :1] < ranks[:, 1:], pairs, pairs[:, ::-1])
    return pairs[np.lexsort(np.sort(ranks, axis=1).T[::-1])]


def _angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles between unit vectors `u` and vectors `v`, (J, 3) each [degrees]."""
    across = np.linalg.norm(np.cross(u, v), axis=1)
    return np.degrees(np.arctan2(across, (u * v).sum(axis=1)))


def _along(ends: NDArray[np.float64], evidence: Evidence | None) -> NDArray[np.float64]:
    """Return the mean evidence along the line between two ends each, (J,); NaN if nobody looked."""
    if evidence is None or not len(ends):
        return np.full(len(ends), np.nan)
    share = np.linspace(0, 1, SAMPLES)[:, None]
    points = ends[:, :1] + share * (ends[:, 1:] - ends[:, :1])
    values = np.asarray(evidence(points.reshape(-1, 3)), dtype=np.float64)
    if values.shape != (len(ends) * SAMPLES,) or not np.isfinite(values).all():
        raise ParameterError(
            f"Evidence is one finite number a point: {len(ends) * SAMPLES} of them, not an array "
            f"of the shape {values.shape}."
        )
    return np.clip(values, 0, 1).reshape(-1, SAMPLES).mean(axis=1)


def _choices(
    pairs: NDArray[np.int64], score: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which pairs are the best choice of both tips, and the score of the best rival.

    Pairs come best first.
    """
    ranked: dict[int, list[int]] = {}
    for row, (a, b) in enumerate(pairs.tolist()):
        ranked.setdefault(a, []).append(row)
        ranked.setdefault(b, []).append(row)
    mutual = np.zeros(len(pairs), dtype=bool)
    rival = np.zeros(len(pairs))
    for row, (a, b) in enumerate(pairs.tolist()):
        mutual[row] = ranked[a][0] == row == ranked[b][0]
        others = [next((r for r in ranked[tip][:2] if r != row), -1) for tip in (a, b)]
        rival[row] = max((score[r] for r in others if r >= 0), default=0.0)
    return mutual, rival


def _without_loops(trees: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the good joins of trees, (J, 2), close no loop with those before them."""
    leader: dict[int, int] = {}

    def find(tree: int) -> int:
        while leader.setdefault(tree, tree) != tree:
            leader[tree] = leader[leader[tree]]
            tree = leader[tree]
        return tree

    free = good.copy()
    for row in np.flatnonzero(good).tolist():
        a, b = find(int(trees[row, 0])), find(int(trees[row, 1]))
        free[row] = a != b
        leader[max(a, b)] = min(a, b)
    return free


def _directions(
    skeleton: Skeleton, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the tips, the middle of the last piece of path at each, and its direction outwards.

    Single nodes have no direction; they are no tips.
    """
    tips = skeleton.ends
    total, mean, spread = _last_pieces(
        skeleton.parent, skeleton.lengths, skeleton.coordinates, tips, reach
    )
    some = total > 0
    tips, total, mean, spread = tips[some], total[some], mean[some], spread[some]
    mean /= total[:, None]
    spread = spread / total[:, None, None] - mean[:, :, None] * mean[:, None, :]
    direction = np.linalg.eigh(spread)[1][:, :, 2]
    outward = (direction * (skeleton.coordinates[tips] - mean)).sum(axis=1)
    return tips, mean, np.where(outward[:, None] < 0, -direction, direction)


@numba.njit(cache=True, nogil=True)
def _last_pieces(
    parent: NDArray[np.int64],
    lengths: NDArray[np.float64],
    coordinates: NDArray[np.float64],
    tips: NDArray[np.int64],
    reach: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return length, and integrals of position and of its products, of the path to each tip.

    From a tip the path leads towards the root; from a root at a tip, along the way to its furthest
    descendant.
    """
    n = len(parent)
    depth = np.zeros(n)
    deepest = np.full(n, -1, np.int64)
    for node in range(n - 1, -1, -1):
        above = parent[node]
        if above >= 0 and (deepest[above] < 0 or depth[node] + lengths[node] >= depth[above]):
            depth[above] = depth[node] + lengths[node]
            deepest[above] = node
    total = np.zeros(len(tips))
    mean = np.zeros((len(tips), 3))
    spread = np.zeros((len(tips), 3, 3))
    b, m = np.empty(3), np.empty(3)
    for t, tip in enumerate(tips):
        here, upwards = tip, parent[tip] >= 0
        while total[t] < reach:
            there = parent[here] if upwards else deepest[here]
            if there < 0:
                break
            step = lengths[here] if upwards else lengths[there]
            share = min(1.0, (reach - total[t]) / step) if step > 0 else 1.0
            a = coordinates[here]
            step *= share
            total[t] += step
            # Integrals along a straight piece: Simpson's rule is exact.
            for i in range(3):
                b[i] = a[i] + share * (coordinates[there, i] - a[i])
                m[i] = 0.5 * (a[i] + b[i])
                mean[t, i] += step * m[i]
            for i in range(3):
                for j in range(3):
                    corner = a[i] * a[j] + b[i] * b[j] + 4 * m[i] * m[j]
                    spread[t, i, j] += step * corner / 6
            here = there
    return total, mean, spread
