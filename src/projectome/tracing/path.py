"""Minimal paths between points: exact, and read from a volume only as far as needed.

Voxels are joined to their 26 neighbours; a step costs the mean of the costs of its two voxels times
its length. The cheapest path is found by two fronts that grow from both ends (Dijkstra 1959,
https://doi.org/10.1007/BF01386390) and read tiles of the volume when they reach them. The search
ends when no voxel outside of the fronts can lie on a cheaper path: no margin has to be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine, coordinates, read_only
from projectome.core.box import Box, triple
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.tracing.cost import CONTRAST, ArrayCost, CostSource, IntensityCost, limits_near
from projectome.tracing.search import CostTiles, Found, search

MEMORY = 4_000_000_000
"""Bytes that a search may use unless told otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A minimal path of N voxels.

    Attributes
    ----------
    voxels
        Shape (N, 3), int64: voxels from the first point to the last.
    points_um
        Shape (N, 3), float64: their centres, order (z, y, x) [um].
    space
        What the micrometres mean.
    cost
        Sum over the steps of mean cost times length.
    bound
        The proof: any path that uses a voxel not read costs at least so much, which is not less
        than `cost`.
    corridor
        Smallest box around all voxels read.
    voxels_read, bytes_read
        How much of the source was read, uncompressed.
    settled
        Voxels that the search has settled; a measure of its work.
    """

    voxels: NDArray[np.int64]
    points_um: NDArray[np.float64]
    space: Space
    cost: float
    bound: float
    corridor: Box
    voxels_read: int
    bytes_read: int
    settled: int

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def length_um(self) -> float:
        """Length along the centres of the voxels [um]."""
        return float(np.linalg.norm(np.diff(self.points_um, axis=0), axis=1).sum())

    def to_skeleton(self) -> Skeleton:
        """Return the path as a tree without branches, its root at the first point."""
        return Skeleton(self.points_um, np.arange(len(self)) - 1, self.space)


def minimal_path(
    cost: ArrayLike | CostSource,
    start: ArrayLike,
    end: ArrayLike,
    *,
    voxel_size: ArrayLike,
    memory: int = MEMORY,
) -> Path:
    """Return a cheapest path between two voxels.

    Parameters
    ----------
    cost
        Cost of a micrometre in each voxel, positive and finite: an array (Z, Y, X), taken as
        float32, or a `CostSource` that is read piece by piece.
    start, end
        Voxels (z, y, x).
    voxel_size
        Size of a voxel (z, y, x) [um].
    memory
        Bytes that the search may use beside the costs given: at most about 20 a voxel read.

    Returns
    -------
    Path
        The optimum over the whole volume; `points_um` has the centre of voxel 0 at 0. Of paths
        that cost the same, always the same one, and the reverse one from end to start.

    Raises
    ------
    ParameterError
        If a point lies outside, the voxel size is not positive, or a cost is not positive and
        finite.
    MemoryBudgetError
        If the memory does not do.

    Examples
    --------
    >>> cost = np.full((1, 3, 5), 9.0)
    >>> cost[0, 2] = cost[0, :, 0] = cost[0, :, 4] = 1.0
    >>> path = minimal_path(cost, (0, 0, 0), (0, 0, 4), voxel_size=(1, 1, 1))
    >>> path.voxels[:, 1].tolist(), round(path.cost, 3)
    ([0, 1, 2, 2, 2, 1, 0], 6.828)
    """
    source = cost if isinstance(cost, CostSource) else ArrayCost(np.asarray(cost))
    return join(source, np.stack([whole(start), whole(end)]), Affine.from_scale(voxel_size), memory)


def trace_path(
    volume: Volume,
    waypoints_um: ArrayLike,
    *,
    channel: str | int | None = None,
    low: float | None = None,
    high: float | None = None,
    contrast: float = CONTRAST,
    memory: int = MEMORY,
) -> Path:
    """Follow a neurite through points on it.

    Parameters
    ----------
    volume
        An image, which may be larger than memory: chunks are read when the search reaches them.
    waypoints_um
        Shape (N, 3), N at least 2, order (z, y, x) [um of the volume]; each is moved to the centre
        of its voxel.
    channel
        Name or number; needed where the volume has several.
    low, high
        Intensity of the background and of a bright neurite; by default taken from the
        surroundings of the points (`limits_near`).
    contrast
        Cost of darkness, see `cost_from_intensity`.
    memory
        Bytes that the search may use: at most about 20 a voxel read.

    Returns
    -------
    Path
        Cheapest paths from each point to the next, joined.

    Raises
    ------
    ParameterError
        If there are fewer than two points, one lies outside the volume, or a parameter is out of
        range.
    MemoryBudgetError
        If the memory does not do.
    """
    points = coordinates(waypoints_um)
    if len(points) < 2:
        raise ParameterError(
            f"A path needs at least two points, its ends, not {len(points)}: waypoints_um has the "
            "shape (N, 3)."
        )
    linear = volume.affine.matrix[:3, :3]
    metric = linear.T @ linear
    if not np.allclose(metric, np.diag(np.diag(metric)), atol=1e-6 * metric.max()):
        raise ShapeError(
            f"The axes of {volume.name} are sheared against each other, so that steps have no "
            "plain lengths; resample it to a plain grid first."
        )
    voxels = np.floor(volume.affine.inverse()(points) + 0.5)
    check_inside(voxels, points, volume)
    if low is None or high is None:
        near = limits_near(volume, points, channel=channel)
        low, high = near[0] if low is None else low, near[1] if high is None else high
    source = IntensityCost(volume, low, high, contrast, channel)
    return join(source, voxels.astype(np.int64), volume.affine, memory)


def whole(voxel: ArrayLike) -> NDArray[np.int64]:
    """Return a voxel as three integers."""
    return np.asarray(triple(voxel, name="A voxel"), np.int64)


def check_inside(voxels: NDArray[np.float64], points: NDArray[np.float64], volume: Volume) -> None:
    """Refuse points outside a volume, in the words of micrometres.

    Raises
    ------
    ParameterError
        Naming the first such point and where the volume lies.
    """
    for voxel, point in zip(voxels, points, strict=True):
        if not volume.box.contains(voxel)[0]:
            corners = volume.affine(np.stack([np.zeros(3), np.subtract(volume.shape, 1)]))
            low, high = corners.min(axis=0).round(3), corners.max(axis=0).round(3)
            raise ParameterError(
                f"The point {point.tolist()} um lies outside {volume.name}, whose voxel centres "
                f"run from {low.tolist()} to {high.tolist()} um (z, y, x)."
            )


def join(source: CostSource, voxels: NDArray[np.int64], affine: Affine, memory: int) -> Path:
    """Return the cheapest paths between consecutive voxels, as one path."""
    box = Box.from_shape(source.shape)
    for voxel in voxels:
        if not box.contains(voxel)[0]:
            raise ParameterError(
                f"The voxel {tuple(voxel.tolist())} lies outside the volume, which has the voxels "
                f"{box} (z, y, x)."
            )
    tiles = CostTiles(source, memory=memory)
    size = np.asarray(affine.voxel_size)
    legs: list[Found] = [search(tiles, triple(a), triple(b), size) for a, b in pairwise(voxels)]
    route = np.concatenate([legs[0].voxels[:1], *(leg.voxels[1:] for leg in legs)])
    corridor = Box(triple(voxels[0]), triple(voxels[0] + 1))
    for part in tiles.boxes:
        corridor |= part
    cost = sum(leg.cost for leg in legs)
    return Path(
        read_only(route),
        read_only(affine(route)),
        affine.target,
        cost,
        cost + min(leg.bound - leg.cost for leg in legs),
        corridor,
        tiles.voxels_read,
        tiles.voxels_read * source.itemsize,
        sum(leg.settled for leg in legs),
    )


__all__ = ["Path", "minimal_path", "trace_path"]
