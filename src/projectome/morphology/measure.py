"""Measures of skeletons.

Notation: N nodes, S segments (unbranched runs between ends, branches and roots). Functions on
nodes, segments and radii work in micrometres of the skeleton's own space; `measure` gives the row
of a table, in micrometres of tissue.
"""

from __future__ import annotations

from typing import TypeVar

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates
from projectome.core.skeleton import AXON, Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError

Lengths = TypeVar("Lengths", float, NDArray[np.float64])


def tissue(lengths: Lengths, space: Space) -> Lengths:
    """Return lengths of a space as lengths of tissue.

    Every result meant for biology passes through here, and no length is divided by an expansion
    anywhere else.

    Parameters
    ----------
    lengths
        One length or an array of them [um of `space`].
    space
        Where they were measured.

    Returns
    -------
    float or numpy.ndarray
        The same lengths before the tissue was expanded [um].

    Raises
    ------
    ParameterError
        If the space is in voxels.
    """
    if space.unit != "micrometer":
        raise ParameterError(
            f"Lengths in {space.name!r} are in {space.unit}s, not micrometres; carry the data into "
            "the physical space of its volume first."
        )
    return lengths / space.expansion


def measure(skeleton: Skeleton) -> dict[str, float | int]:
    """Return the row of a morphology table about a neuron.

    Returns
    -------
    dict
        ``nodes``, ``trees``, ``ends`` and ``branches`` as `Skeleton` counts them;
        ``length_tissue_um`` of all cable and ``axon_length_tissue_um`` of edges of type axon;
        ``max_path_tissue_um`` and ``max_distance_tissue_um``, the farthest node from its root along
        the cable and straight; ``strahler`` and ``branch_order``, the largest ones; ``tortuosity``,
        cable over straight length of the segments together (NaN without straight length);
        ``depth_tissue_um``, ``height_tissue_um`` and ``width_tissue_um`` of the bounding box along
        z, y and x.

    Raises
    ------
    ParameterError
        If the skeleton is in voxels.
    """
    space = skeleton.space
    start, stop = bounding_box(skeleton)
    root = skeleton.roots[skeleton.tree]
    straight = np.linalg.norm(skeleton.coordinates - skeleton.coordinates[root], axis=1)
    spans = segment_spans(skeleton).sum()
    depth, height, width = tissue(stop - start, space).tolist()
    return {
        "nodes": len(skeleton),
        "trees": len(skeleton.roots),
        "ends": len(skeleton.ends),
        "branches": len(skeleton.branch_points),
        "length_tissue_um": tissue(skeleton.cable_length, space),
        "axon_length_tissue_um": tissue(length_by_kind(skeleton).get(AXON, 0.0), space),
        "max_path_tissue_um": tissue(float(skeleton.root_distance.max(initial=0)), space),
        "max_distance_tissue_um": tissue(float(straight.max(initial=0)), space),
        "strahler": int(strahler(skeleton).max(initial=0)),
        "branch_order": int(branch_order(skeleton).max(initial=0)),
        "tortuosity": float(skeleton.cable_length / spans) if spans > 0 else np.nan,
        "depth_tissue_um": depth,
        "height_tissue_um": height,
        "width_tissue_um": width,
    }


def bounding_box(skeleton: Skeleton) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and largest coordinates, (z, y, x) [um]; zeros without nodes."""
    if not len(skeleton):
        return np.zeros(3), np.zeros(3)
    return skeleton.coordinates.min(axis=0), skeleton.coordinates.max(axis=0)


def length_by_kind(skeleton: Skeleton) -> dict[int, float]:
    """Return the cable length of each SWC type [um]; an edge has the type of its distal node."""
    kind = np.zeros(len(skeleton), np.int32) if skeleton.kind is None else skeleton.kind
    values, which = np.unique(kind, return_inverse=True)
    totals = np.bincount(which, weights=skeleton.lengths, minlength=len(values))
    return dict(zip(values.tolist(), totals.tolist(), strict=True))


def strahler(skeleton: Skeleton) -> NDArray[np.int64]:
    """Return the Strahler order of each node, shape (N,).

    A node without children has order 1. Another has the largest order among its children, plus 1
    if two or more children share it.

    References
    ----------
    Strahler A.N. (1957), Quantitative analysis of watershed geomorphology, EOS 38, 913-920.
    """
    return _strahler(skeleton.parent)


def branch_order(skeleton: Skeleton) -> NDArray[np.int64]:
    """Return how many branchings lie between each node and its root, shape (N,).

    Counted are nodes with two or more children, the root included and the node itself not.
    """
    return _branch_order(skeleton.parent, skeleton.child_count)


def segment_lengths(skeleton: Skeleton) -> NDArray[np.float64]:
    """Return the cable length of each of `Skeleton.segments`, shape (S,) [um]."""
    distance = skeleton.root_distance
    tips, tops = _segment_ends(skeleton)
    return distance[tips] - distance[tops]


def segment_spans(skeleton: Skeleton) -> NDArray[np.float64]:
    """Return the straight length of each of `Skeleton.segments`, shape (S,) [um]."""
    tips, tops = _segment_ends(skeleton)
    return np.linalg.norm(skeleton.coordinates[tips] - skeleton.coordinates[tops], axis=1)


def tortuosity(skeleton: Skeleton) -> NDArray[np.float64]:
    """Return cable length over straight length of each segment, shape (S,); NaN where that is 0."""
    spans = segment_spans(skeleton)
    return np.divide(
        segment_lengths(skeleton), spans, out=np.full(len(spans), np.nan), where=spans > 0
    )


def sholl(
    skeleton: Skeleton, radii: ArrayLike, *, centre: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return how often the cable passes through spheres, exactly.

    Parameters
    ----------
    skeleton
        The neuron.
    radii
        Shape (R,), ascending radii of the spheres [um of the space].
    centre
        Their centre (z, y, x) [um]; the first root by default.

    Returns
    -------
    numpy.ndarray of int64
        Shape (R,). An edge that enters a sphere and leaves it again counts twice; one that touches
        it does not count.

    Raises
    ------
    ParameterError
        If the radii do not ascend.

    References
    ----------
    Sholl D.A. (1953), Dendritic organization in the neurons of the visual and motor cortices of
    the cat, J. Anat. 87, 387-406.
    """
    spheres = np.asarray(radii, dtype=np.float64)
    if spheres.ndim != 1 or not (np.diff(spheres) > 0).all() or not (spheres >= 0).all():
        raise ParameterError(f"Radii of spheres ascend from 0 or more, not {radii!r}.")
    if not len(skeleton):
        return np.zeros(len(spheres), np.int64)
    origin = skeleton.coordinates[skeleton.roots[0]] if centre is None else coordinates(centre)[0]
    nodes, parents = skeleton.edges.T
    near, far = skeleton.coordinates[parents] - origin, skeleton.coordinates[nodes] - origin
    along = far - near
    squared = np.maximum((along**2).sum(axis=1), np.finfo(np.float64).tiny)
    foot = np.clip(-(near * along).sum(axis=1) / squared, 0, 1)
    ends = np.linalg.norm(near, axis=1), np.linalg.norm(far, axis=1)
    closest = np.linalg.norm(near + foot[:, None] * along, axis=1)
    closest = np.where(foot == 0, ends[0], np.where(foot == 1, ends[1], closest))
    # From the foot of the perpendicular the distance grows monotonically to both ends.
    count = np.zeros(len(spheres) + 1, np.int64)
    for outer in ends:
        first = np.searchsorted(spheres, np.minimum(closest, outer), side="right")
        last = np.searchsorted(spheres, outer, side="right")
        np.add.at(count, first, 1)
        np.add.at(count, last, -1)
    return np.cumsum(count)[:-1]


def _segment_ends(skeleton: Skeleton) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distal and the proximal node of each of `Skeleton.segments`, each (S,)."""
    runs = skeleton.segments
    tips = np.fromiter((run[0] for run in runs), np.int64, len(runs))
    tops = np.fromiter((run[-1] for run in runs), np.int64, len(runs))
    return tips, tops


@numba.njit(cache=True, nogil=True)
def _strahler(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    n = len(parent)
    order = np.ones(n, np.int64)
    best = np.zeros(n, np.int64)
    shared = np.zeros(n, np.bool_)
    for node in range(n - 1, -1, -1):
        if best[node] > 0:
            order[node] = best[node] + shared[node]
        above = parent[node]
        if above >= 0:
            if order[node] > best[above]:
                best[above], shared[above] = order[node], False
            elif order[node] == best[above]:
                shared[above] = True
    return order


@numba.njit(cache=True, nogil=True)
def _branch_order(parent: NDArray[np.int64], children: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.zeros(len(parent), np.int64)
    for node in range(len(parent)):
        above = parent[node]
        if above >= 0:
            order[node] = order[above] + (children[above] > 1)
    return order
