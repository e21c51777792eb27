"""Fragments and somata become neurons.

Notation: N nodes, S somata.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from projectome.core.points import Points
from projectome.core.skeleton import SOMA, Skeleton
from projectome.errors import ParameterError, SpaceMismatchError
from projectome.tracing.join import audit_table
from projectome.tracing.skeletonise import check_lengths
from projectome.tracing.stitch import turn_round

NO_SOMA = -1


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One tree.

    Attributes
    ----------
    id
        Number among the neurons and fragments of one assignment, from 1 on.
    soma_id
        Id of its soma; -1 for a fragment without one.
    skeleton
        One tree; that of a neuron is rooted at its soma, a node of type SOMA.
    """

    id: int
    soma_id: int
    skeleton: Skeleton


def assign_somata(
    skeleton: Skeleton, somata: Points, *, margin_um: float, min_stem_um: float = 0.0
) -> tuple[list[Neuron], pd.DataFrame]:
    """Give each fragment to the soma it touches, and cut those that touch several.

    A fragment touches a soma if one of its nodes lies within the radius of the soma and a margin
    of its centre; a node that is so close to several touches the one whose surface is nearest. If
    a fragment touches several somata, each node goes to the one that is nearest along the tree,
    and the edges between nodes of different somata are cut. What lies inside its soma, or
    within the margin around it, where the rim of the soma looks like neurites, is replaced by one
    node at the centre, and every remaining piece hangs on that by its nearest node.

    Parameters
    ----------
    skeleton
        The fragments, one a tree.
    somata
        S centres with a column ``radius_um``, and with ``id`` if they are not to be numbered from
        0 on.
    margin_um
        How far from the surface of a soma a fragment still touches it [um].
    min_stem_um
        What hangs on a soma and has less cable than this is removed: its rim [um].

    Returns
    -------
    list of Neuron
        Neurons in the order of the ids of their somata, then fragments in the order of their first
        node in space; numbered from 1 on. Somata that nothing touches make no neuron.
    pandas.DataFrame
        Audit table (see `projectome.tracing.join.AUDIT_COLUMNS`): a row ``"cut"`` for each edge
        cut, with ``a`` and ``b`` the ids of the two somata, and a row ``"soma"`` for each piece
        hung on a soma, with ``a`` its id.

    Raises
    ------
    ParameterError
        If the margin or a radius is negative or not finite, or if ids of somata are negative or
        used twice.
    SpaceMismatchError
        If fragments and somata lie in different spaces.
    UnknownNameError
        If the somata have no radii.
    """
    check_lengths(margin_um=margin_um, min_stem_um=min_stem_um)
    if somata.space != skeleton.space:
        raise SpaceMismatchError(
            f"The somata lie in {somata.space}, the fragments in {skeleton.space}. Carry one of "
            "them into the space of the other first, with their method 'to'."
        )
    ids, centre, radius = _sorted_by_id(somata)
    touched = _touched(skeleton.coordinates, centre, radius + margin_um, radius)
    owner = _nearest_along(skeleton.parent, skeleton.lengths, touched)
    cut = skeleton.edges[owner[skeleton.edges[:, 0]] != owner[skeleton.edges[:, 1]]]
    somata_of = ids[owner[cut]]
    cuts = audit_table(
        "cut", skeleton.coordinates[cut], accepted=True, a=somata_of[:, 0], b=somata_of[:, 1]
    )
    parent = skeleton.parent.copy()
    parent[cut[:, 0]] = -1
    outside = ~_inside(skeleton.coordinates, owner, centre, radius + margin_um)
    pieces = replace(skeleton, parent=parent).take(outside)
    owner = owner[outside]
    cable = np.bincount(pieces.tree, weights=pieces.lengths, minlength=len(pieces.roots))
    stays = (owner < 0) | (cable[pieces.tree] >= min_stem_um)
    pieces, owner = pieces.take(stays), owner[stays]
    hung = _nearest_of_each(pieces, owner, centre)
    ends = np.stack([pieces.coordinates[hung], centre[owner[hung]]], axis=1)
    hangs = audit_table("soma", ends, accepted=True, a=ids[owner[hung]])
    used = np.unique(touched[touched >= 0])
    whole = _with_somata(
        pieces, hung, np.searchsorted(used, owner[hung]), centre[used], radius[used]
    )
    audit = pd.concat([cuts, hangs], ignore_index=True)
    return _numbered(whole.trees(), ids[used]), audit


def _sorted_by_id(
    somata: Points,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return ids, centres and radii, and complain of what cannot be."""
    radius = np.asarray(somata["radius_um"], dtype=np.float64)
    numbers = somata.columns.get("id", np.arange(len(somata)))
    ids = np.asarray(numbers, dtype=np.int64)
    if not (np.isfinite(radius).all() and (radius >= 0).all()):
        worst = np.flatnonzero(~(np.isfinite(radius) & (radius >= 0)))[0]
        raise ParameterError(
            f"The soma {ids[worst]} has a radius of {radius[worst]} um; radii are 0 or more."
        )
    if len(np.unique(ids)) < len(ids) or (ids < 0).any():
        raise ParameterError("Ids of somata are different numbers from 0 on; number them anew.")
    order = np.argsort(ids)
    return ids[order], somata.coordinates[order], radius[order]


def _touched(
    position: NDArray[np.float64],
    centre: NDArray[np.float64],
    reach: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return for each node the soma it touches, the one with the nearest surface; or -1."""
    found = np.full(len(position), -1, np.int64)
    if not len(position):
        return found
    lists = cKDTree(position).query_ball_point(centre, reach)
    soma = np.repeat(np.arange(len(centre)), [len(nodes) for nodes in lists])
    node = np.fromiter(chain.from_iterable(lists), np.int64)
    depth = np.linalg.norm(position[node] - centre[soma], axis=1) - radius[soma]
    order = np.lexsort((soma, depth))[::-1]  # the last to be written wins
    found[node[order]] = soma[order]
    return found


def _inside(
    position: NDArray[np.float64],
    owner: NDArray[np.int64],
    centre: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Say which nodes lie within reach of the soma that owns them."""
    inside = np.zeros(len(position), dtype=bool)
    owned = np.flatnonzero(owner >= 0)
    soma = owner[owned]
    away = np.linalg.norm(position[owned] - centre[soma], axis=1)
    inside[owned] = away < reach[soma]
    return inside


def _nearest_of_each(
    pieces: Skeleton, owner: NDArray[np.int64], centre: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each tree that a soma owns the node nearest to its centre."""
    owned = np.flatnonzero(owner >= 0)
    away = np.linalg.norm(pieces.coordinates[owned] - centre[owner[owned]], axis=1)
    order = owned[np.lexsort((owned, away, pieces.tree[owned]))]
    first = np.unique(pieces.tree[order], return_index=True)[1]
    return order[first]


def _with_somata(
    pieces: Skeleton,
    hung: NDArray[np.int64],
    soma: NDArray[np.int64],
    centre: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> Skeleton:
    """Return somata, one root each, and the pieces, of which those hung hang on theirs."""
    n, count = len(pieces), len(centre)
    parent = pieces.parent.copy()
    turn_round(parent, hung)
    parent = np.where(parent < 0, -1, parent + count)
    parent[hung] = soma
    radii = np.full(n, np.nan, np.float32) if pieces.radius is None else pieces.radius
    kinds = np.zeros(n, np.int32) if pieces.kind is None else pieces.kind
    return Skeleton.from_parents(
        np.concatenate([centre, pieces.coordinates]),
        np.concatenate([np.full(count, -1), parent]),
        pieces.space,
        radius=np.concatenate([radius.astype(np.float32), radii]),
        kind=np.concatenate([np.full(count, SOMA, np.int32), kinds]),
    )


def _numbered(trees: list[Skeleton], somata: NDArray[np.int64]) -> list[Neuron]:
    """Return neurons, whose trees come first, and fragments by their first node in space."""
    fragments = trees[len(somata) :]
    fragments.sort(key=lambda tree: min(map(tuple, tree.coordinates.tolist())))
    ordered = [*trees[: len(somata)], *fragments]
    soma_ids = [*somata.tolist(), *[NO_SOMA] * len(fragments)]
    return [
        Neuron(number, soma, tree)
        for number, (soma, tree) in enumerate(zip(soma_ids, ordered, strict=True), start=1)
    ]


@numba.njit(cache=True, nogil=True)
def _nearest_along(
    parent: NDArray[np.int64], lengths: NDArray[np.float64], touched: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each node the soma that its tree touches nearest to it; or -1.

    Distances run up from the tips, then down from the roots: parents stand before children.
    """
    n = len(parent)
    owner = touched.copy()
    distance = np.zeros(n)
    distance[touched < 0] = np.inf
    for node in range(n - 1, -1, -1):
        above = parent[node]
        if above >= 0 and owner[node] >= 0:
            path = distance[node] + lengths[node]
            if path < distance[above] or (path == distance[above] and owner[node] < owner[above]):
                distance[above], owner[above] = path, owner[node]
    for node in range(n):
        above = parent[node]
        if above >= 0 and owner[above] >= 0:
            path = distance[above] + lengths[node]
            if path < distance[node] or (path == distance[node] and owner[above] < owner[node]):
                distance[node], owner[node] = path, owner[above]
    return owner
