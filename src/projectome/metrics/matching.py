"""One-to-one matching: as many pairs as can be, and of those the ones that fit best.

Notation: E candidates, each a row (a true item), a column (a found item) and a cost, 0 or more.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

DENSE = 1 << 22
"""Groups with more possible pairs than this are solved as sparse problems."""


def best_matching(
    rows: NDArray[np.int64], columns: NDArray[np.int64], cost: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Match rows with columns one to one.

    Parameters
    ----------
    rows, columns
        Shape (E,): the candidates; no pair twice.
    cost
        Shape (E,): what each costs, 0 or more.

    Returns
    -------
    numpy.ndarray of int64
        Shape (K,): the candidates taken, ascending by row. There are as many as any matching has,
        and among those their sum of costs is the least.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    chosen = [np.flatnonzero(alone)]
    if not alone.all():
        rest = np.flatnonzero(~alone)
        i, j = rows[rest], columns[rest]
        component = _components(i, j, int(i.max()) + 1, int(j.max()) + 1)
        order = np.argsort(component, kind="stable")
        cuts = np.flatnonzero(np.diff(component[order])) + 1
        chosen += [
            _solve(rest[group], i[group], j[group], cost[rest[group]])
            for group in np.split(order, cuts)
        ]
    taken = np.concatenate(chosen)
    return taken[np.argsort(rows[taken], kind="stable")]


@numba.njit(cache=True, nogil=True)
def _components(
    i: NDArray[np.int64], j: NDArray[np.int64], rows: int, columns: int
) -> NDArray[np.int64]:
    """Return for each candidate a number that all that hang together with it share."""
    above = np.arange(rows + columns)
    for k in range(len(i)):
        a, b = i[k], rows + j[k]
        while above[a] != a:
            above[a] = a = above[above[a]]
        while above[b] != b:
            above[b] = b = above[above[b]]
        above[b] = a
    out = np.empty(len(i), np.int64)
    for k in range(len(i)):
        a = i[k]
        while above[a] != a:
            a = above[a]
        out[k] = a
    return out


def _solve(
    group: NDArray[np.int64], i: NDArray[Any], j: NDArray[Any], cost: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the candidates taken of a group that hangs together."""
    left, i = np.unique(i, return_inverse=True)
    right, j = np.unique(j, return_inverse=True)
    # No match costs 0 and a match less than any sum of costs: most pairs come first.
    bonus = (min(len(left), len(right)) + 1) * (float(cost.max()) + 1)
    if len(left) * len(right) > DENSE:
        picked, partner = _sparse(i, j, cost, bonus, (len(left), len(right)))
    else:
        dense = np.zeros((len(left), len(right)))
        dense[i, j] = cost - bonus
        picked, partner = linear_sum_assignment(dense)
        real = dense[picked, partner] < 0
        picked, partner = picked[real], partner[real]
    pairs = picked * len(right) + partner
    number = i * len(right) + j
    order = np.argsort(number)
    return group[order[np.searchsorted(number, pairs, sorter=order)]]


def _sparse(
    i: NDArray[Any],
    j: NDArray[Any],
    cost: NDArray[np.float64],
    bonus: float,
    shape: tuple[int, int],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Solve a large group, in which each row may also take a column of its own: no match."""
    n, m = shape
    rows = np.concatenate([i, np.arange(n)])
    columns = np.concatenate([j, m + np.arange(n)])
    weights = np.concatenate([cost + 1, np.full(n, bonus + 1)])  # a weight of 0 would be no link
    links = csr_array((weights, (rows, columns)), shape=(n, m + n))
    picked, partner = min_weight_full_bipartite_matching(links)
    real = partner < m
    return picked[real], partner[real]
