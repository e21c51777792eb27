"""Cable of skeletons in regions and hemispheres, cut exactly at voxel faces and at the midline.

Lengths add up: over regions, outside included, and hemispheres they sum to the cable length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.atlas.index import IdIndex, row_of
from projectome.atlas.lookup import AT_ONCE
from projectome.atlas.regions import BOTH
from projectome.atlas.sides import SIDES, UNSTATED, Sides
from projectome.core.atlas import LEFT, RIGHT, Atlas, Terminology
from projectome.core.box import Box, triple
from projectome.core.skeleton import APICAL, AXON, DENDRITE, SOMA, Skeleton
from projectome.errors import ParameterError
from projectome.morphology.crossing import MAX_PIECES, check_space, traverse
from projectome.settings import memory_budget

VALUES = ("length_um", "own_length_um", "terminals", "own_terminals")
KINDS = ("undefined", "soma", "axon", "dendrite", "apical")
"""Names of the kinds of neurite by their SWC number; other numbers count as undefined."""


def measure_lengths(
    atlas: Atlas,
    skeletons: Mapping[Any, Skeleton] | Iterable[tuple[Any, Skeleton]],
    *,
    inside: bool = True,
    edge_um: Mapping[Any, NDArray[np.float64]] | None = None,
    memory: int | str | None = None,
) -> pd.DataFrame:
    """Measure how much cable lies in each region and hemisphere, neuron by neuron.

    An edge has the kind of its distal node. Where it passes from voxel to voxel or through the
    midline it is cut there, so that lengths of regions and hemispheres add up to the whole.

    Parameters
    ----------
    atlas
        Its annotation is read where the skeletons are.
    skeletons
        By name; in the space of the atlas. Pairs of an iterator are taken one after the other.
    inside
        Whether regions hold what lies in their children.
    edge_um
        By name, what the edge to each node's parent counts, shape (N,) [um]: of skeletons that
        were carried here, the length in their own tissue. Their length in the atlas if None.
    memory
        What may be held of the annotation; by the settings if None.

    Returns
    -------
    pandas.DataFrame
        Columns ``neuron``, those of `projectome.atlas.regions.identify`, ``kind``, ``length_um``,
        ``own_length_um``, ``terminals`` and ``own_terminals``; rows that hold something.

    Raises
    ------
    SpaceMismatchError
        If a skeleton lies in another space.
    ParameterError
        If one crosses so many voxels that its units must be wrong.
    """
    pairs = skeletons.items() if isinstance(skeletons, Mapping) else skeletons
    tree, sides = atlas.terminology, Sides.of(atlas)
    annotation = _Annotation(atlas, sides, memory)
    found = []
    for name, skeleton in pairs:
        edges = None if edge_um is None else edge_um[name]
        length, terminals = annotation.lengths(skeleton, edges)
        found.append((name, _held(length, terminals, tree, sides.stated, inside)))
    counts = [len(part[0]) for _, part in found]
    kind, row, side, *values = (
        np.concatenate([part[k] for _, part in found]) if found else np.empty(0, np.int64)
        for k in range(3 + len(VALUES))
    )
    outside = row == len(tree)
    rows = np.where(outside, 0, row)
    parents = tree.parents[rows]
    no_text = np.append(np.asarray(tree.acronyms, object), ""), np.append(tree.names, "outside")
    return pd.DataFrame(
        {
            "neuron": np.repeat(np.array([name for name, _ in found], object), counts),
            "region_id": np.where(outside, 0, tree.ids[rows]),
            "acronym": no_text[0][row],
            "name": no_text[1][row],
            "parent_id": np.where(outside | (parents < 0), 0, tree.ids[parents]),
            "depth": np.where(outside, 0, tree.depths[rows]),
            "hemisphere": side,
            "kind": np.array(KINDS, object)[kind],
            **dict(zip(VALUES, values, strict=True)),
        }
    )


def _held(
    length: NDArray[np.float64],
    terminals: NDArray[np.int64],
    tree: Terminology,
    stated: bool,
    inside: bool,
) -> tuple[NDArray[Any], ...]:
    """Return kind, row, side and values of what holds something, in this order."""
    sums = []
    for own in (length, terminals):
        both = own.sum(axis=2)
        sided = np.stack([own[..., LEFT], own[..., RIGHT], both], 2) if stated else both[..., None]
        whole = sided.copy()
        if inside:
            _roll_up(whole, np.asarray(tree.parents))
        sums += [whole, sided]
    kind, row, column = np.nonzero((sums[0] > 0) | (sums[2] > 0))
    side = np.array([LEFT, RIGHT, BOTH] if stated else [UNSTATED])[column]
    return kind, row, side, *(values[kind, row, column] for values in sums)


def own_lengths(
    atlas: Atlas, skeleton: Skeleton, *, memory: int | str | None = None
) -> NDArray[np.float64]:
    """Return the cable in the own voxels of each region, without its children.

    Returns
    -------
    numpy.ndarray
        Shape (5, R + 1, 3) [um]: kind, region (the last is outside all), side (not stated, left,
        right). It sums to the cable length.

    Raises
    ------
    SpaceMismatchError, ParameterError
        As `measure_lengths`.
    """
    sides = Sides.of(atlas)
    annotation = _Annotation(atlas, sides, memory)
    return annotation.lengths(skeleton)[0]


class _Annotation:
    """The labels of an atlas, held as a whole where they fit and around each skeleton if not."""

    def __init__(self, atlas: Atlas, sides: Sides, memory: int | str | None) -> None:
        self.atlas, self.sides = atlas, sides
        self.ids = IdIndex.of(atlas.terminology.ids)
        self.back = atlas.annotation.affine.inverse()
        volume = atlas.annotation
        self.limit = max(AT_ONCE, memory_budget(memory) // 2)
        self.whole = volume.nbytes <= self.limit
        self._held: tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.int64]] | None = None

    def around(self, index: NDArray[np.float64]) -> Any:
        """Return labels and sides of the voxels around nodes, and where they begin."""
        volume = self.atlas.annotation
        if self.whole:
            if self._held is None:
                self._held = self._read(volume.box)
            return self._held
        limit = np.asarray(volume.shape)
        low = np.clip(np.floor(index.min(axis=0)), 0, limit)
        high = np.clip(np.floor(index.max(axis=0)) + 1, 0, limit)
        box = Box(triple(low), triple(np.maximum(low, high)))
        if box.size * volume.dtype.itemsize > self.limit:
            raise ParameterError(
                f"The labels around one neuron take {box.size * volume.dtype.itemsize} bytes, more "
                f"than the {self.limit} allowed. Give more --memory, or use a coarser level."
            )
        return self._read(box)

    def _read(self, box: Box) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.int64]]:
        labels = np.ascontiguousarray(self.atlas.annotation.read(box))
        return labels, self.sides.voxels(box), np.asarray(box.start)

    def lengths(
        self, skeleton: Skeleton, edges: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return length and terminals, shapes (5, R + 1, 3), of what lies in the own voxels."""
        check_space(skeleton, self.atlas.space)
        regions = len(self.atlas.terminology)
        length = np.zeros((len(KINDS), regions + 1, len(SIDES)))
        terminals = np.zeros(length.shape, np.int64)
        if not len(skeleton):
            return length, terminals
        index = self.back(skeleton.coordinates) + 0.5  # faces at whole numbers
        nodes, parents = skeleton.edges.T
        crossed = np.abs(np.floor(index[nodes]) - np.floor(index[parents])).sum(axis=1)
        if not crossed.sum() <= MAX_PIECES or np.abs(index).max() > 2**52:
            raise ParameterError(
                f"The edges of this skeleton cross about {crossed.sum():.2g} voxels of "
                f"{self.atlas.annotation.voxel_size} um: its units and those of {self.atlas.name} "
                "do not fit together."
            )
        distance = np.zeros(len(skeleton))
        if self.atlas.midline is not None:
            distance = self.atlas.midline.distance(skeleton.coordinates)
        kind = np.zeros(len(skeleton), np.int64)
        if skeleton.kind is not None:
            known = np.isin(skeleton.kind, (SOMA, AXON, DENDRITE, APICAL))
            kind = np.where(known, skeleton.kind, 0).astype(np.int64)
        labels, halves, start = self.around(index)
        ends = skeleton.ends[skeleton.parent[skeleton.ends] >= 0]
        room = int(crossed.max(initial=0)) + 4
        own = np.asarray(skeleton.lengths if edges is None else edges, np.float64)
        _walk(
            index, np.asarray(skeleton.parent), own, kind, distance,
            labels, halves, start, self.ids.keys, self.ids.rows, self.sides.mode, room, length,
        )  # fmt: skip
        _end(
            index, ends, kind, distance, labels, halves, start,
            self.ids.keys, self.ids.rows, self.sides.mode, terminals,
        )  # fmt: skip
        return length, terminals


@numba.njit(cache=True, nogil=True)
def _roll_up(values: Any, parents: Any) -> None:
    """Add to each region what lies in its children; shape (K, R + 1, S)."""
    for row in range(len(parents) - 1, 0, -1):
        if parents[row] >= 0:
            for kind in range(values.shape[0]):
                for side in range(values.shape[2]):
                    values[kind, parents[row], side] += values[kind, row, side]


@numba.njit(cache=True, nogil=True)
def _place(cell: Any, labels: Any, halves: Any, start: Any, keys: Any, rows: Any, mode: Any) -> Any:
    """Return the row of the region of a voxel, -1 for none, and its side where voxels tell."""
    z, y, x = cell[0] - start[0], cell[1] - start[1], cell[2] - start[2]
    if z < 0 or y < 0 or x < 0:
        return -1, 0
    if z >= labels.shape[0] or y >= labels.shape[1] or x >= labels.shape[2]:
        return -1, 0
    return row_of(labels[z, y, x], keys, rows), (halves[z, y, x] if mode == 2 else 0)


@numba.njit(cache=True, nogil=True)
def _walk(
    index: Any, parent: Any, lengths: Any, kind: Any, distance: Any,
    labels: Any, halves: Any, start: Any, keys: Any, rows: Any, mode: Any, room: Any, out: Any,
) -> None:  # fmt: skip
    """Add every piece of every edge to its kind, region and side."""
    cells = np.empty((room, 3), np.int64)
    shares = np.empty(room)
    nobody = out.shape[1] - 1
    for node in range(len(parent)):
        above = parent[node]
        if above < 0 or lengths[node] <= 0:
            continue
        first, last = distance[above], distance[node]
        crosses = mode == 1 and (first < 0) != (last < 0)
        cut = first / (first - last) if crosses else 2.0
        before = (1 if first < 0 else 2) if mode == 1 else 0
        behind = 3 - before
        done = 0.0
        count = traverse(index[above], index[node], cells, shares)
        for k in range(count):
            row, side = _place(cells[k], labels, halves, start, keys, rows, mode)
            row = nobody if row < 0 else row
            end = done + shares[k]
            if mode != 1:
                out[kind[node], row, side] += shares[k] * lengths[node]
            elif end <= cut:
                out[kind[node], row, before] += shares[k] * lengths[node]
            elif done >= cut:
                out[kind[node], row, behind] += shares[k] * lengths[node]
            else:
                out[kind[node], row, before] += (cut - done) * lengths[node]
                out[kind[node], row, behind] += (end - cut) * lengths[node]
            done = end


@numba.njit(cache=True, nogil=True)
def _end(
    index: Any, ends: Any, kind: Any, distance: Any,
    labels: Any, halves: Any, start: Any, keys: Any, rows: Any, mode: Any, out: Any,
) -> None:  # fmt: skip
    """Count the ends in each kind, region and side."""
    cell = np.empty(3, np.int64)
    nobody = out.shape[1] - 1
    for node in ends:
        for axis in range(3):
            cell[axis] = np.floor(index[node, axis])
        row, side = _place(cell, labels, halves, start, keys, rows, mode)
        if mode == 1:
            side = 1 if distance[node] < 0 else 2
        out[kind[node], nobody if row < 0 else row, side] += 1
