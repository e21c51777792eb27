"""Skeletons of labels by TEASAR: of a whole array, or of one block of a larger volume.

Notation: N nodes, E edges. A block is traced so that its skeletons fit those of its neighbours
exactly; `projectome.tracing.stitch` puts the blocks together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import bioimage_cpp.skeleton
import numba
import numpy as np
from bioimage_cpp.skeleton import distributed
from numpy.typing import ArrayLike, NDArray

from projectome.core.box import Box, Triple
from projectome.errors import ParameterError, ShapeError

Face: TypeAlias = tuple[int, str]
Lattice: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32]]
Graph: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32]]

ALL_FACES: tuple[Face, ...] = tuple((axis, side) for axis in range(3) for side in ("low", "high"))


def teasar(
    labels: NDArray[np.generic],
    *,
    voxel_size: ArrayLike,
    scale: float,
    constant_um: float,
    open_border: bool = True,
    min_length_um: float = 0.0,
    threads: int = 1,
) -> dict[int, Graph]:
    """Return the skeleton of each label of an array.

    From a root at one tip, paths are traced one after the other along the middle of the object to
    the voxel furthest away that no path has cleared yet; a path clears the connected voxels within
    ``scale * radius + constant_um`` of each of its nodes. Branches that do not leave that region
    are not traced.

    Parameters
    ----------
    labels
        Shape (Z, Y, X), integers or truth values; 0 is background.
    voxel_size
        Size of a voxel (z, y, x) [um].
    scale
        How many radii a path clears around it.
    constant_um
        What it clears beyond that [um].
    open_border
        Take it that objects go on beyond the border of the array: their paths then lead to the
        middle of their sections with the border, and radii there do not shrink.
    min_length_um
        Components with less cable are left out [um]. A component of one voxel has no cable.
    threads
        Threads of the distance transform.

    Returns
    -------
    dict
        For each label, in ascending order, a forest: positions (N, 3) of voxel centres in um from
        the centre of voxel 0, float64; edges (E, 2), int64; and radii (N,) in um, float32. The
        radius of a node is the distance of its voxel's centre from the centre of the nearest voxel
        outside. A label of which nothing is left is absent.

    Raises
    ------
    ParameterError
        If a parameter is negative or not finite.
    ShapeError
        If the array has not three axes of integers.

    References
    ----------
    Sato M. et al. (2000), TEASAR: tree-structure extraction algorithm for accurate and robust
    skeletons, Pacific Graphics. With the penalty, the rolling region and the paths that lead to
    the skeleton traced so far of kimimaro (Silversmith W. et al., 2021).
    """
    array, size = _countable(labels), _spacing(voxel_size)
    check_lengths(scale=scale, constant_um=constant_um, min_length_um=min_length_um)
    options = _options(size, scale, constant_um) | {"number_of_threads": threads}
    if open_border:
        targets = distributed.block_border_targets_labels(array, ALL_FACES, spacing=size)
        found = distributed.block_teasar_labels(
            array, open_faces=ALL_FACES, required_targets=targets, **options
        )
        found = {
            label: distributed.lattice_to_physical(graph, spacing=size)
            for label, graph in found.items()
        }
    else:
        found = bioimage_cpp.skeleton.teasar_labels(array, **options)
    graphs = {label: _long_enough(graph, min_length_um) for label, graph in found.items()}
    return {label: graph for label, graph in graphs.items() if len(graph[0])}


def trace_block(
    labels: NDArray[np.generic],
    *,
    core: Box,
    read: Box,
    shape: Triple,
    voxel_size: ArrayLike,
    scale: float,
    constant_um: float,
) -> dict[str, NDArray[np.generic]]:
    """Return the skeletons of the labels in a block, such that those of its neighbours fit.

    The block shares a plane of voxels with each neighbour. On that plane both pick, for each
    connected section of a label, the same voxel in its middle, and both trace a path to it. Paths
    may run through all that was read, so that an object that only bulges into the block is traced
    along its middle and not along the bulge. What lies beyond the planes is then cut off, but
    where it joins parts of the skeleton within them.

    Labels that reach a plane are traced twice: first as `teasar` does, to find where they end; then
    with paths to these ends and to the planes, so that a path to a plane clears no end nearby.

    Parameters
    ----------
    labels
        Shape of `read`; 0 is background.
    core
        The block.
    read
        The block and a margin, which ends where the volume ends. One voxel is the least; objects
        thinner than twice the margin have exact radii.
    shape
        Voxels an axis of the whole volume.
    voxel_size
        Size of a voxel (z, y, x) [um].
    scale, constant_um
        As for `teasar`.

    Returns
    -------
    dict
        Columns of one row a node: ``label`` (uint64); ``voxel`` (int64), the place of its voxel in
        the whole volume in C order; ``parent`` (int64), the voxel of the node it is joined to, or
        -1; ``radius_um`` (float32); ``end`` (bool), whether the object ends there, and not only
        the block. Rows are sorted by label and voxel. Joined nodes are neighbours among 26.
        Parents only say which nodes are joined.

    Raises
    ------
    ParameterError
        If a parameter is negative or not finite.
    ShapeError
        If the array has another shape than `read`, or no integers.
    """
    array, size = _countable(labels), _spacing(voxel_size)
    check_lengths(scale=scale, constant_um=constant_um)
    if array.shape != read.shape:
        raise ShapeError(f"The labels have the shape {array.shape}; {read} has {read.shape}.")
    closed = core.grow(1) & Box(core.start, read.stop)
    shared = np.ascontiguousarray(array[closed.slices_in(read.start)])
    targets = distributed.block_border_targets_labels(
        shared, ALL_FACES, origin=closed.start, spacing=size
    )
    options = _options(size, scale, constant_um) | {"origin": read.start, "open_faces": ALL_FACES}
    found = distributed.block_teasar_labels(array, **options)
    for label, graph in found.items():
        if label in targets:
            ends = graph[0][_is_end(graph, closed)]
            targets[label] = np.concatenate([targets[label], ends])
    found |= distributed.block_teasar_labels(
        _only(array, list(targets)), required_targets=targets, **options
    )
    label, position, edges, radius, end = _together(found, closed)
    parent, kept = oriented(len(label), edges, closed.contains(position))
    voxel = np.ravel_multi_index(tuple(position.T), shape)
    above = np.where(parent < 0, -1, voxel[parent])
    order = np.lexsort((voxel, label))
    order = order[kept[order]]
    return {
        "label": label[order],
        "voxel": voxel[order],
        "parent": above[order],
        "radius_um": radius[order],
        "end": end[order],
    }


def _options(size: tuple[float, float, float], scale: float, constant_um: float) -> dict[str, Any]:
    """Return what all calls of the kernel share."""
    return {"spacing": size, "scale": scale, "constant": constant_um, "invalidation": "ball"}


def _is_end(graph: Lattice, closed: Box) -> NDArray[np.bool_]:
    """Say which nodes are ends of the object: those of one edge or none that lie on no plane."""
    position, edges, _ = graph
    degree = np.bincount(edges.astype(np.int64).ravel(), minlength=len(position))
    inside = (position > closed.start) & (position < np.subtract(closed.stop, 1))
    return np.asarray((degree <= 1) & inside.all(axis=1))


def _only(array: NDArray[np.generic], wanted: list[int]) -> NDArray[np.generic]:
    """Return the array with all other labels set to 0."""
    flat = array.ravel()
    places = np.flatnonzero(flat)
    places = places[np.isin(flat[places], np.array(wanted, dtype=array.dtype))]
    kept = np.zeros_like(flat)
    kept[places] = flat[places]
    return kept.reshape(array.shape)


def check_lengths(**values: float) -> None:
    """Refuse parameters that are negative or not finite.

    Raises
    ------
    ParameterError
        With the name of the parameter.
    """
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise ParameterError(f"{name} of a skeleton is a number of 0 or more, not {value!r}.")


def _spacing(voxel_size: ArrayLike) -> tuple[float, float, float]:
    size = np.asarray(voxel_size, dtype=np.float64)
    if size.shape != (3,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise ParameterError(f"A voxel size has three positive numbers (z, y, x), not {size}.")
    z, y, x = (float(v) for v in size)
    return z, y, x


def _countable(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return labels in a type that the kernel takes; values stay as they are."""
    array = np.asarray(labels)
    if array.ndim != 3 or array.dtype.kind not in "iub":
        raise ShapeError(
            f"Labels have three axes (z, y, x) of integers; these are {array.dtype} of the shape "
            f"{array.shape}. Label a mask with projectome.segmentation first."
        )
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind == "i":
        if array.min(initial=0) < 0:
            raise ShapeError(f"Labels are 0 or more; the smallest of these is {array.min()}.")
        array = array.astype(np.int64 if array.itemsize == 8 else np.int32, copy=False)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _long_enough(
    graph: tuple[NDArray[np.float64], NDArray[np.uint64], NDArray[np.float32]], min_length_um: float
) -> Graph:
    """Return the components of a forest that have so much cable."""
    position, edges, radius = graph[0], graph[1].astype(np.int64), graph[2]
    if min_length_um <= 0:
        return position, edges, radius
    tree = components(len(position), edges)
    steps = np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1)
    cable = np.bincount(tree[edges[:, 0]], weights=steps, minlength=len(position))
    keep = cable[tree] >= min_length_um
    rank = np.cumsum(keep) - 1
    return position[keep], rank[edges[keep[edges[:, 0]]]], radius[keep]


def components(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the component of each of `count` nodes, counted from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges), dtype=np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _together(
    found: Mapping[int, Lattice], closed: Box
) -> tuple[
    NDArray[np.uint64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float32],
    NDArray[np.bool_],
]:
    """Return label, voxel (z, y, x), edges, radius and `_is_end` of the nodes of all labels."""
    none = (np.empty((0, 3), np.int64), np.empty((0, 2), np.uint64), np.empty(0, np.float32))
    graphs = [none, *found.values()]
    sizes = [len(graph[0]) for graph in graphs]
    starts = np.cumsum(sizes) - sizes
    edges = [graph[1].astype(np.int64) + s for graph, s in zip(graphs, starts, strict=True)]
    return (
        np.repeat(np.array([0, *found], dtype=np.uint64), sizes),
        np.concatenate([graph[0] for graph in graphs]),
        np.concatenate(edges),
        np.concatenate([graph[2] for graph in graphs]),
        np.concatenate([_is_end(graph, closed) for graph in graphs]),
    )


@numba.njit(cache=True, nogil=True)
def oriented(
    count: int, edges: NDArray[np.int64], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Peel the leaves off a forest: first those outside are dropped, then all get a parent.

    Returns the parent of each node, -1 for one a tree, and whether it is kept. A node that is left
    with one edge knows its neighbour as the exclusive or of all neighbours that it has not lost.
    """
    degree = np.zeros(count, np.int64)
    neighbours = np.zeros(count, np.int64)
    for a, b in edges:
        degree[a] += 1
        degree[b] += 1
        neighbours[a] ^= b
        neighbours[b] ^= a
    kept = np.ones(count, np.bool_)
    for start in range(count):
        node = start
        while kept[node] and degree[node] <= 1 and not inside[node]:
            kept[node] = False
            if degree[node] == 1:
                node = _detach(node, degree, neighbours)
    parent = np.full(count, -1, np.int64)
    for start in range(count):
        node = start
        while kept[node] and degree[node] == 1:
            parent[node] = neighbours[node]
            node = _detach(node, degree, neighbours)
    return parent, kept


@numba.njit(cache=True, nogil=True)
def _detach(node: int, degree: NDArray[np.int64], neighbours: NDArray[np.int64]) -> int:
    """Take a leaf off its tree and return the node it hung on."""
    above = neighbours[node]
    degree[node] = 0
    degree[above] -= 1
    neighbours[above] ^= node
    return above
