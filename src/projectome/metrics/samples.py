"""Cable cut into short pieces, each standing for its length: figures are sums over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError

MAX_SAMPLES = 200_000_000
"""Pieces beyond which a unit is probably wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """M pieces of the cable of a forest.

    Attributes
    ----------
    points
        Shape (M, 3), the middle of each [um].
    length
        Shape (M,) [um].
    owner
        Shape (M,), which skeleton each is a piece of, ascending.
    """

    points: NDArray[np.float64]
    length: NDArray[np.float64]
    owner: NDArray[np.int64]


def cut(forest: Sequence[Skeleton], *, longest_um: float) -> Samples:
    """Cut all edges into equal pieces.

    Parameters
    ----------
    forest
        Skeletons; nodes without an edge have no length and no piece.
    longest_um
        Length that no piece exceeds [um].

    Returns
    -------
    Samples
        Lengths sum to that of the cable, however densely its nodes are set.

    Raises
    ------
    ParameterError
        If the length is not positive, or so small that the units must be wrong.
    """
    _check_pieces(sum(skeleton.cable_length for skeleton in forest), longest_um)
    points, lengths, owners = [np.empty((0, 3))], [np.empty(0)], [np.empty(0, np.int64)]
    for number, skeleton in enumerate(forest):
        nodes = np.flatnonzero(skeleton.lengths > 0)
        count = np.ceil(skeleton.lengths[nodes] / longest_um).astype(np.int64)
        edge = np.repeat(np.arange(len(nodes)), count)
        within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        origin = skeleton.coordinates[skeleton.parent[nodes]]
        way = skeleton.coordinates[nodes] - origin
        points.append(origin[edge] + way[edge] * ((within + 0.5) / count[edge])[:, None])
        lengths.append((skeleton.lengths[nodes] / count)[edge])
        owners.append(np.full(len(edge), number))
    return Samples(np.concatenate(points), np.concatenate(lengths), np.concatenate(owners))


def subdivided(skeleton: Skeleton, *, longest_um: float) -> Skeleton:
    """Return the same cable with nodes set on edges that are longer; no node is moved or lost.

    Parameters
    ----------
    skeleton
        What to subdivide. Radii and types are left out.
    longest_um
        Length that no edge exceeds then [um].

    Raises
    ------
    ParameterError
        If the length is not positive, or so small that the units must be wrong.
    """
    _check_pieces(skeleton.cable_length, longest_um)
    count = np.maximum(np.ceil(skeleton.lengths / longest_um).astype(np.int64), 1)
    last = np.cumsum(count) - 1
    node = np.repeat(np.arange(len(skeleton)), count)
    within = np.arange(len(node)) - (last - count + 1)[node] + 1
    above = np.maximum(skeleton.parent, 0)
    origin = skeleton.coordinates[above][node]
    way = skeleton.coordinates[node] - origin
    points = origin + way * (within / count[node])[:, None]
    points[last] = skeleton.coordinates
    parent = np.arange(len(node)) - 1
    parent[last - count + 1] = np.where(skeleton.parent < 0, -1, last[above])
    return Skeleton(points, parent, skeleton.space)


def _check_pieces(length: float, longest: float) -> None:
    check_distance(longest, "longest_um")
    if not length / longest <= MAX_SAMPLES:
        raise ParameterError(
            f"Cable cut every {longest:g} um makes {length / longest:.2g} pieces: the unit of the "
            "skeletons or of the distance is wrong, or the distance far too small."
        )


def check_distance(distance: float, name: str = "distance_um") -> None:
    """Refuse a distance that is not a positive number.

    Raises
    ------
    ParameterError
        If it is not.
    """
    if not (math.isfinite(distance) and distance > 0):
        raise ParameterError(f"{name} is a distance in micrometres, above 0; not {distance!r}.")


def common_space(*forests: Sequence[Skeleton]) -> Space | None:
    """Return the space in which all skeletons lie; None if there are none.

    Raises
    ------
    SpaceMismatchError
        If they lie in different spaces.
    """
    spaces = list(dict.fromkeys(skeleton.space for forest in forests for skeleton in forest))
    if len(spaces) > 1:
        raise SpaceMismatchError(
            f"Trees can be compared in one space only; these lie in {spaces[0]} and {spaces[1]}. "
            "Carry one of them over with Skeleton.to."
        )
    return spaces[0] if spaces else None


def share(part: float, whole: float) -> float:
    """Return a share of a whole; NaN where the whole is nothing."""
    # Sums of the same pieces in another order may differ in the last digit.
    return min(1.0, part / whole) if whole > 0 else math.nan


def f1(recall: float, precision: float) -> float:
    """Return the harmonic mean; an undefined side counts as 0 unless both are, which gives NaN."""
    if math.isnan(recall) and math.isnan(precision):
        return math.nan
    if math.isnan(recall) or math.isnan(precision) or recall + precision == 0:
        return 0.0
    return 2 * recall * precision / (recall + precision)
