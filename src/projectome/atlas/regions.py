"""Voxels, volumes, centroids and boxes of all regions of an atlas, from one pass over it.

Parents hold the sum of their children and of the voxels that carry their own id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.atlas.index import IdIndex
from projectome.atlas.kernels import Shapes, add_shapes
from projectome.atlas.sides import SIDES, UNSTATED, Sides
from projectome.core.affine import Affine
from projectome.core.atlas import LEFT, RIGHT, Atlas, Terminology
from projectome.core.box import BlockGrid, Box
from projectome.core.volume import Volume
from projectome.engine.grid import worker_count
from projectome.errors import ParameterError, Problem, UnknownNameError
from projectome.settings import memory_budget

BOTH = 3
"""Hemisphere of a row about both; 1 is left, 2 is right, 0 where the atlas cannot tell."""
PIECE = 2**26
"""Voxels of a volume in one chunk, which is read in slabs of about so many [bytes]."""


class Summable(Protocol):
    """Sums that can be added up."""

    def add(self, other: Any) -> None:
        """Add other sums to these, in place."""


Sums = TypeVar("Sums", bound=Summable)


@dataclass(frozen=True)
class RegionTable:
    """What lies in each of R regions.

    Attributes
    ----------
    atlas
        Its name.
    terminology
        The regions.
    own
        Sums over the voxels that carry a region's own id; rows R are of labels without a region.
    grid
        Voxels to micrometres.
    stated
        Whether hemispheres are known.
    problems
        What is doubtful, for instance labels that no region has.
    """

    atlas: str
    terminology: Terminology
    own: Shapes
    grid: Affine
    stated: bool
    problems: tuple[Problem, ...] = ()

    @cached_property
    def voxels(self) -> NDArray[np.int64]:
        """Voxels of each region with all that lies in it, shape (R, 3): unstated, left, right."""
        return roll_up(self.own.voxels, self.terminology)

    @cached_property
    def voxel_mm3(self) -> float:
        """Volume of a voxel [mm3]."""
        return float(abs(np.linalg.det(self.grid.matrix[:3, :3]))) / 1e9

    def volume_mm3(self, region: int | str, hemisphere: int | None = None) -> float:
        """Return the volume of a region with all that lies in it [mm3].

        Parameters
        ----------
        region
            Acronym or id.
        hemisphere
            1 left, 2 right; both if None.

        Raises
        ------
        UnknownNameError
            If there is no such region.
        ParameterError
            If the atlas does not know its hemispheres, or there is no such hemisphere.
        """
        counts = self.voxels[find_region(self.terminology, region, where=self.atlas)]
        if hemisphere is None or hemisphere == BOTH:
            return float(counts.sum() * self.voxel_mm3)
        if hemisphere not in (LEFT, RIGHT) or not self.stated:
            raise ParameterError(
                f"A hemisphere is 1 (left) or 2 (right), of an atlas that knows them; not "
                f"{hemisphere!r} of {self.atlas}."
            )
        return float(counts[hemisphere] * self.voxel_mm3)

    def frame(
        self, regions: Sequence[int | str] | None = None, *, inside: bool = False
    ) -> pd.DataFrame:
        """Return a tidy table: three rows a region, of the left, the right and both hemispheres.

        Parameters
        ----------
        regions
            Which, by acronym or id; all if None.
        inside
            Also everything that lies in them.

        Returns
        -------
        pandas.DataFrame
            Columns ``region_id``, ``acronym``, ``name``, ``parent_id`` (0 at a root), ``depth``,
            ``hemisphere`` (1 left, 2 right, 3 both; 0 where the atlas cannot tell), ``voxels``,
            ``own_voxels`` (those that carry the id itself), ``volume_mm3``, the centroid
            ``z_um``, ``y_um``, ``x_um`` and the box of the outer faces of its voxels ``z0_um`` to
            ``x1_um``; NaN where there are no voxels. Along an axis against which the grid is
            turned the box is that around the turned one.
        """
        rows = chosen_rows(self.terminology, regions, inside=inside, where=self.atlas)
        parts = [self._side(rows, columns, side) for columns, side in self._columns()]
        order = np.arange(len(parts) * len(rows)).reshape(len(parts), len(rows)).T.ravel()
        return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)

    def _columns(self) -> Iterator[tuple[list[int], int]]:
        if not self.stated:
            yield [UNSTATED], UNSTATED
            return
        yield [LEFT], LEFT
        yield [RIGHT], RIGHT
        yield list(SIDES), BOTH

    def _side(self, rows: NDArray[np.int64], columns: list[int], side: int) -> pd.DataFrame:
        tree = self.terminology
        voxels = self.voxels[:, columns].sum(axis=1)[rows]
        own = self.own.voxels[:-1, columns].sum(axis=1)[rows]
        index = roll_up(self.own.places[:, columns].sum(axis=1), tree)[rows]
        low = roll_up(self.own.low[:, columns].min(axis=1), tree, np.minimum)[rows]
        high = roll_up(self.own.high[:, columns].max(axis=1), tree, np.maximum)[rows]
        there = voxels > 0
        centroid, first, last = (np.full((len(rows), 3), np.nan) for _ in range(3))
        centroid[there] = self.grid(index[there] / voxels[there, None])
        first[there], last[there] = faces(self.grid, low[there], high[there])
        found = identify(tree, rows, side)
        found["voxels"], found["own_voxels"] = voxels, own
        found["volume_mm3"] = voxels * self.voxel_mm3
        for axis, name in enumerate("zyx"):
            found[f"{name}_um"] = centroid[:, axis]
        for axis, name in enumerate("zyx"):
            found[f"{name}0_um"], found[f"{name}1_um"] = first[:, axis], last[:, axis]
        return found


def region_table(
    atlas: Atlas, *, workers: int | None = None, memory: int | str | None = None
) -> RegionTable:
    """Measure all regions and both hemispheres of an atlas in one pass over its annotation.

    Chunks that are not stored are skipped.

    Parameters
    ----------
    atlas
        Its annotation is read once; take a coarser level with `Atlas.at`.
    workers
        Threads; one a core if None.
    memory
        What all threads together may hold; by the settings if None.

    Raises
    ------
    ShapeError
        If the hemispheres of the atlas are on another grid.
    """
    tree, sides = atlas.terminology, Sides.of(atlas)
    ids = IdIndex.of(tree.ids)
    volume = atlas.annotation

    def work(sums: Shapes, box: Box) -> None:
        add_shapes(sums, np.ascontiguousarray(volume.read(box)), sides.ground(box, ids))

    sums = pass_over(
        volume, work, lambda: Shapes.empty(len(tree)), workers=workers, memory=memory
    )  # fmt: skip
    problems = (*atlas.problems, *unknown_labels(sums, atlas.name))
    return RegionTable(atlas.name, tree, sums, volume.affine, sides.stated, problems)


def pass_over(
    volume: Volume,
    work: Callable[[Sums, Box], None],
    empty: Callable[[], Sums],
    *,
    workers: int | None,
    memory: int | str | None,
    bytes_per_voxel: int = 0,
) -> Sums:
    """Read a volume once, in boxes of whole chunks, by threads that keep sums of their own.

    Parameters
    ----------
    volume
        What is read.
    work
        Called with the sums of a thread and a box.
    empty
        Makes sums.
    workers, memory
        Threads, and what they may hold together.
    bytes_per_voxel
        Memory a voxel of what is read beside the volume.
    """
    count = worker_count(workers)
    need = 3 * volume.dtype.itemsize + bytes_per_voxel
    share = min(PIECE, max(1, memory_budget(memory) // (2 * count)))
    grid = BlockGrid(volume.box, _boxes(volume, max(1, share // need)))
    places = iter(range(len(grid)))  # several threads may take from it: each number comes once
    absent: Callable[[tuple[slice, ...]], bool] | None = getattr(volume.array, "is_absent", None)

    def thread(_: int) -> Sums:
        sums = empty()
        for place in places:
            block = grid.nth(place)
            if absent is None or not absent(block.core.slices):
                work(sums, block.core)
        return sums

    with ThreadPoolExecutor(count) as pool:
        first, *rest = pool.map(thread, range(count))
    for sums in rest:
        first.add(sums)
    return first


def _boxes(volume: Volume, voxels: int) -> tuple[int, int, int]:
    """Return a box of whole chunks, or of part of one where it is too large."""
    box, shape = list(volume.chunks), volume.shape
    for axis in (2, 1, 0):
        while box[axis] < shape[axis] and 2 * int(np.prod(box)) <= voxels:
            box[axis] *= 2
    for axis in (0, 1):
        while box[axis] > 1 and int(np.prod(box)) > voxels:
            box[axis] = -(-box[axis] // 2)
    return box[0], box[1], box[2]


def roll_up(values: NDArray[Any], tree: Terminology, add: np.ufunc = np.add) -> NDArray[Any]:
    """Return values of regions with those of all that lies in them.

    Parameters
    ----------
    values
        Shape (R, ...) or (R + 1, ...): a row beyond the regions is left out.
    tree
        The regions, parents before children.
    add
        How two values become one.
    """
    total = np.array(values[: len(tree)])
    children = np.arange(len(tree) - 1, 0, -1)
    for row, parent in zip(children.tolist(), tree.parents[children].tolist(), strict=True):
        if parent >= 0:
            total[parent] = add(total[parent], total[row])
    return total


def identify(tree: Terminology, rows: NDArray[np.int64], hemisphere: int) -> pd.DataFrame:
    """Return the columns that say what the rows of a tidy table are about."""
    parents = tree.parents[rows]
    return pd.DataFrame(
        {
            "region_id": tree.ids[rows],
            "acronym": [tree.acronyms[row] for row in rows],
            "name": [tree.names[row] for row in rows],
            "parent_id": np.where(parents >= 0, tree.ids[parents], 0),
            "depth": tree.depths[rows],
            "hemisphere": np.full(len(rows), hemisphere, np.int64),
        }
    )


def faces(
    grid: Affine, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners [um] of boxes from their first and last voxels, shape (N, 3) each."""
    ends = np.stack([low - 0.5, high + 0.5])
    corners = np.stack(
        [
            grid(np.stack([ends[c[k], :, k] for k in range(3)], axis=1))
            for c in product((0, 1), repeat=3)
        ]
    )
    return corners.min(axis=0), corners.max(axis=0)


def find_region(tree: Terminology, region: int | str, *, where: str) -> int:
    """Return the row of a region given by acronym, id, id as text, or full name.

    Parameters
    ----------
    tree
        The regions.
    region
        Acronyms are matched as they are written, names in any case.
    where
        Name of the atlas, for messages.

    Raises
    ------
    UnknownNameError
        With suggestions, if there is no such region.
    ParameterError
        If several have that name, or an id is no whole number.
    """
    if isinstance(region, (float, np.floating)):
        raise ParameterError(
            f"An id of a region is a whole number, not {region!r}: floating point loses digits of "
            "large ids. Read the ids as integers."
        )
    if not isinstance(region, str):
        return _row(tree, int(region), where)
    text = region.strip()
    if text in tree.acronyms:
        return tree.row(text)
    if text.isdecimal():
        return _row(tree, int(text), where)
    same = [row for row, name in enumerate(tree.names) if name.lower() == text.lower()]
    if len(same) > 1:
        ids = ", ".join(str(tree.ids[row]) for row in same[:6])
        raise ParameterError(f"{len(same)} regions of {where} are called {text!r}: ids {ids}.")
    if same:
        return same[0]
    known = [*tree.acronyms, *tree.names] if len(text) > 6 else tree.acronyms
    raise _unknown(text, known, where)


def _row(tree: Terminology, region: int, where: str) -> int:
    try:
        return tree.row(region)
    except UnknownNameError:
        raise _unknown(str(region), map(str, tree.ids), where) from None


def _unknown(text: str, known: Any, where: str) -> UnknownNameError:
    command = f"projectome atlas regions {where}"
    return UnknownNameError("region", text, known, where=where, list_with=command)


def chosen_rows(
    tree: Terminology, regions: Sequence[int | str] | None, *, inside: bool, where: str
) -> NDArray[np.int64]:
    """Return the rows of regions, in the order asked for; all if None.

    Raises
    ------
    UnknownNameError
        If one does not exist.
    """
    if regions is None:
        return np.arange(len(tree))
    rows = [find_region(tree, region, where=where) for region in regions]
    if inside:
        rows = [int(r) for row in rows for r in tree.rows_below(int(tree.ids[row]))]
    return np.asarray(list(dict.fromkeys(rows)), dtype=np.int64)


def unknown_labels(sums: Shapes, name: str) -> tuple[Problem, ...]:
    """Return a problem about labels of the annotation that no region has, if there are any."""
    labels = sums.unknown[sums.unknown != 0]
    if not len(labels):
        return ()
    voxels = int(sums.voxels[-1].sum())
    more = " ..." if len(labels) > 6 else ""
    text = (
        f"{voxels} voxels of the annotation of {name} carry labels that are no region of its tree "
        f"({', '.join(map(str, labels[:6]))}{more}). They belong to no region here, not even to "
        "the root."
    )
    return (Problem("warning", "annotation", text),)
