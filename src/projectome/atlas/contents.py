"""What lies in regions: points, cable, and the voxels of images, as tidy tables.

Every table has one row a region, hemisphere and item (and kind of neurite); parents hold the sum of
their children and of what lies in their own voxels. Region 0 is outside all regions, so that
nothing is lost: its rows and those of the root add up to everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.atlas.index import IdIndex
from projectome.atlas.kernels import Shapes, Signals, add_shapes, add_signals
from projectome.atlas.lookup import region_at
from projectome.atlas.regions import (
    BOTH,
    RegionTable,
    identify,
    pass_over,
    roll_up,
    unknown_labels,
)
from projectome.atlas.sides import SIDES, UNSTATED, Sides, hemisphere_at
from projectome.core.affine import coordinates
from projectome.core.atlas import LEFT, RIGHT, Atlas, Terminology
from projectome.core.box import Box
from projectome.core.points import Points
from projectome.core.volume import Volume
from projectome.errors import ParameterError, Problem, ShapeError, SpaceMismatchError

OUTSIDE = {"region_id": 0, "acronym": "", "name": "outside", "parent_id": 0, "depth": 0}


@dataclass(frozen=True, slots=True)
class Signal:
    """Intensities of an image in all regions, as the unionizes of the Allen connectivity atlas.

    Attributes
    ----------
    table
        Three rows a region (left, right, both) with ``voxels``, ``missing`` (NaN voxels, in no
        other column), ``sum`` and ``mean`` of all values, ``max``; ``signal_voxels`` and
        ``signal_sum``, of voxels above the threshold; ``volume_mm3``; and of these
        ``projection_volume_mm3`` (signal voxels times their volume), ``projection_density``
        (signal voxels / voxels), ``projection_intensity`` (signal sum / signal voxels) and
        ``projection_energy`` (density times intensity: signal sum / voxels).
    problems
        NaN voxels, labels without a region.
    """

    table: pd.DataFrame
    problems: tuple[Problem, ...]


def count_points(
    atlas: Atlas,
    points: Points,
    *,
    within_um: float = 0.0,
    volumes: RegionTable | None = None,
    inside: bool = True,
) -> pd.DataFrame:
    """Count points in regions.

    Parameters
    ----------
    atlas
        Where they lie.
    points
        In the space of the atlas.
    within_um
        See `projectome.atlas.lookup.region_at`.
    volumes
        Adds the column ``density_per_mm3``.
    inside
        Whether regions count what lies in their children; if not, ``count`` is ``own_count``.

    Returns
    -------
    pandas.DataFrame
        Columns of `projectome.atlas.regions.identify` (``region_id`` and so on), ``count`` and
        ``own_count``: regions and hemispheres with at least one point.

    Raises
    ------
    SpaceMismatchError
        If the points lie in another space.
    """
    _check_space(atlas, points.space, "points")
    tree = atlas.terminology
    rows = IdIndex.of(tree.ids)(region_at(atlas, points.coordinates, within_um=within_um))
    sides = _sides_of(atlas, points.coordinates)
    own = np.zeros((len(tree) + 1, len(SIDES)), np.int64)
    np.add.at(own, (np.where(rows < 0, len(tree), rows), sides), 1)
    found = tidy(tree, {"count": own}, stated=_stated(atlas), inside=inside)
    if volumes is not None:
        found["density_per_mm3"] = _density(found, volumes)
    return found


def label_points(atlas: Atlas, points: Points, *, within_um: float = 0.0) -> Points:
    """Return points with the columns ``region_id`` and ``hemisphere``.

    Raises
    ------
    SpaceMismatchError
        If they lie in another space than the atlas.
    """
    _check_space(atlas, points.space, "points")
    ids = region_at(atlas, points.coordinates, within_um=within_um)
    return points.with_columns(region_id=ids, hemisphere=_sides_of(atlas, points.coordinates))


def measure_image(
    atlas: Atlas,
    image: Volume,
    *,
    threshold: float = 0.0,
    workers: int | None = None,
    memory: int | str | None = None,
) -> Signal:
    """Measure an image that lies on the grid of the annotation, in one pass over both.

    Parameters
    ----------
    atlas
        Take the level of the image's grid with `Atlas.at`.
    image
        Without a channel axis; intensities, or a mask with threshold 0.
    threshold
        Voxels above it are signal.
    workers, memory
        As for `projectome.atlas.regions.region_table`.

    Raises
    ------
    ShapeError
        If the image is on another grid.
    SpaceMismatchError
        If it lies in another space.
    ParameterError
        If the threshold is NaN.

    References
    ----------
    Allen Mouse Brain Connectivity Atlas, Informatics Data Processing (structure unionizes).
    """
    if np.isnan(threshold):
        raise ParameterError("A threshold is a number, not NaN.")
    check_grid(atlas, image)
    tree, sides = atlas.terminology, Sides.of(atlas)
    ids = IdIndex.of(tree.ids)

    def work(sums: _Both, box: Box) -> None:
        labels = np.ascontiguousarray(atlas.annotation.read(box))
        ground = sides.ground(box, ids)
        add_shapes(sums.shapes, labels, ground)
        values = np.ascontiguousarray(image.read(box))
        add_signals(sums.signals, values, labels, ground, float(threshold))

    sums = pass_over(
        atlas.annotation,
        work,
        lambda: _Both(Shapes.empty(len(tree)), Signals.empty(len(tree))),
        workers=workers,
        memory=memory,
        bytes_per_voxel=3 * image.dtype.itemsize,
    )
    return signal_table(atlas, sums.signals, sums.shapes, stated=sides.stated, image=image.name)


@dataclass(slots=True)
class _Both:
    shapes: Shapes
    signals: Signals

    def add(self, other: _Both) -> None:
        self.shapes.add(other.shapes)
        self.signals.add(other.signals)


def signal_table(
    atlas: Atlas, sums: Signals, shapes: Shapes, *, stated: bool, image: str
) -> Signal:
    """Return what sums over the voxels of an image say of each region."""
    tree = atlas.terminology
    voxel = float(abs(np.linalg.det(atlas.annotation.affine.matrix[:3, :3]))) / 1e9
    columns = {
        "voxels": shapes.voxels,
        "missing": sums.missing,
        "measured": sums.voxels,
        "sum": sums.total,
        "signal_voxels": sums.positive,
        "signal_sum": sums.signal,
    }
    found = tidy(tree, columns, stated=stated, inside=True, empty=True, own=False)
    highest = roll_up(sums.highest, tree, np.maximum)
    parts = _columns_of(stated)
    most = np.stack([highest[:, columns].max(axis=1) for columns, _ in parts], axis=1).ravel()
    found = found[found["region_id"] != 0].reset_index(drop=True)
    found["max"] = np.where(np.isfinite(most), most, np.nan)
    measured = found.pop("measured")
    with np.errstate(divide="ignore", invalid="ignore"):
        found["mean"] = found["sum"] / measured
        found["volume_mm3"] = found["voxels"] * voxel
        found["projection_volume_mm3"] = found["signal_voxels"] * voxel
        found["projection_density"] = found["signal_voxels"] / measured
        found["projection_intensity"] = found["signal_sum"] / found["signal_voxels"]
        found["projection_energy"] = found["signal_sum"] / measured
    problems = list(unknown_labels(shapes, atlas.name))
    missing = int(sums.missing.sum())
    if missing:
        text = f"{missing} voxels inside regions are NaN. They count in no sum and no density."
        problems.append(Problem("warning", image, text))
    return Signal(found, tuple(problems))


def tidy(
    tree: Terminology,
    sums: Mapping[str, NDArray[Any]],
    *,
    stated: bool,
    inside: bool,
    empty: bool = False,
    own: bool = True,
) -> pd.DataFrame:
    """Return sums over regions and sides as rows.

    Parameters
    ----------
    tree
        The regions.
    sums
        Shape (R + 1, 3) each: region (the last is outside), side.
    stated
        Whether hemispheres are known: rows of the left, the right and both, or one.
    inside
        Whether regions hold what lies in their children.
    empty
        Whether to list regions that hold nothing.
    own
        Whether to add columns ``own_...`` without the children.
    """
    everything = np.arange(len(tree))
    parts = []
    for columns, side in _columns_of(stated):
        head = identify(tree, everything, side)
        outside = pd.DataFrame([{**OUTSIDE, "hemisphere": side}])
        part = pd.concat([head, outside], ignore_index=True)
        for name, values in sums.items():
            mine = values[:, columns].sum(axis=1)
            whole = np.append(roll_up(mine, tree), mine[-1]) if inside else mine
            part[name] = whole
            if own:
                part[f"own_{name}"] = mine
        parts.append(part)
    order = np.arange(len(parts) * (len(tree) + 1)).reshape(len(parts), -1).T.ravel()
    table = pd.concat(parts, ignore_index=True).iloc[order]
    if not empty:
        table = table[(table[list(sums)] != 0).any(axis=1)]
    return table.reset_index(drop=True)


def check_grid(atlas: Atlas, image: Volume) -> None:
    """Refuse an image that is not on the grid of the annotation.

    Raises
    ------
    SpaceMismatchError
        If it lies in another space.
    ShapeError
        If it has another shape, another grid, or channels.
    """
    _check_space(atlas, image.space, "image")
    here = atlas.annotation
    if image.channels:
        raise ShapeError(f"{image.name} has channels {', '.join(image.channels)}; choose one.")
    if image.shape != here.shape or not np.allclose(
        image.affine.matrix, here.affine.matrix, rtol=1e-6, atol=1e-3
    ):
        raise ShapeError(
            f"{image.name} has {image.shape} voxels of {image.voxel_size} um from "
            f"{image.affine.translation}; the annotation of {atlas.name} has {here.shape} of "
            f"{here.voxel_size} um from {here.affine.translation}. Carry the image to the grid of "
            "the atlas first, or choose the level of the atlas with its voxel size."
        )


def _check_space(atlas: Atlas, space: Any, what: str) -> None:
    if space != atlas.space:
        raise SpaceMismatchError(
            f"The {what} lie in {space} and not in the space of {atlas.name}, {atlas.space}. Carry "
            "them there with the transform of a registration; if they lie there already, read "
            "them with that space."
        )


def _stated(atlas: Atlas) -> bool:
    return atlas.midline is not None or atlas.hemispheres is not None


def _sides_of(atlas: Atlas, points: ArrayLike) -> NDArray[np.uint8]:
    if not _stated(atlas):
        return np.zeros(len(coordinates(points)), np.uint8)
    return hemisphere_at(atlas, points)


def _columns_of(stated: bool) -> Sequence[tuple[list[int], int]]:
    if not stated:
        return [([UNSTATED], UNSTATED)]
    return [([LEFT], LEFT), ([RIGHT], RIGHT), (list(SIDES), BOTH)]


def _density(found: pd.DataFrame, volumes: RegionTable) -> NDArray[np.float64]:
    place = IdIndex.of(volumes.terminology.ids)(found["region_id"].to_numpy(np.int64))
    sides = found["hemisphere"].to_numpy()
    counts = np.column_stack([volumes.voxels, volumes.voxels.sum(axis=1)])
    volume = np.where(place >= 0, counts[place, sides], 0) * volumes.voxel_mm3
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(volume > 0, found["count"].to_numpy() / volume, np.nan)
