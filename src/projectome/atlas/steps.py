"""The pass over an annotation as a block-wise step, for volumes of any size and for clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.atlas.index import IdIndex
from projectome.atlas.kernels import Shapes, Signals, add_shapes, add_signals, labels_in
from projectome.atlas.sides import Sides
from projectome.core.atlas import Plane
from projectome.core.box import Block
from projectome.engine.step import BlockStep
from projectome.errors import ShapeError
from projectome.io.source import VolumeSource

ROOM = 2**12
"""Different labels of a block that there is room for at first; doubled as needed."""
AXES = ("z", "y", "x")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class MeasureRegions(BlockStep):
    """Measure every label and hemisphere of each block, with the intensities of an image.

    Attributes
    ----------
    annotation
        Labels.
    image
        On the same grid; None for the labels alone.
    midline_point, midline_normal
        The plane between the hemispheres (z, y, x) [um] and its normal toward the right; None
        where hemispheres are not wanted.
    threshold
        Voxels of the image above it are signal.
    """

    name: ClassVar[str] = "measure-regions"

    annotation: VolumeSource
    image: VolumeSource | None = None
    midline_point: Vector | None = None
    midline_normal: Vector | None = None
    threshold: float = 0.0

    def memory(self, block: Block) -> int:
        """Return an upper bound of the memory that one call takes [bytes]."""
        size = 2 * self.annotation.open().dtype.itemsize
        if self.image is not None:
            size += 2 * self.image.open().dtype.itemsize
        # Sums over the labels: at most one a voxel, usually hundreds.
        labels = min(block.core.size, 2 * ROOM)
        return block.core.size * size + labels * 3 * 8 * 40

    def __call__(self, block: Block) -> pd.DataFrame:
        """Return one row a label and hemisphere of the block; `merge_regions` adds them up.

        Raises
        ------
        ShapeError
            If the image is on another grid.
        """
        volume = self.annotation.open()
        labels = np.ascontiguousarray(volume.read(block.core))
        found = _distinct(labels)
        sides = Sides(np.zeros(4), False)
        if self.midline_point is not None and self.midline_normal is not None:
            ends = np.asarray(self.midline_point), np.asarray(self.midline_normal)
            sides = Sides.by_plane(Plane(*ends, volume.space), volume.affine)
        ground = sides.ground(block.core, IdIndex.of(found))
        shapes, signals = Shapes.empty(len(found)), Signals.empty(len(found))
        add_shapes(shapes, labels, ground)
        if self.image is not None:
            image = self.image.open()
            if image.shape != volume.shape:
                raise ShapeError(
                    f"{image.name} has {image.shape} voxels and {volume.name} {volume.shape}; both "
                    "have to be on one grid."
                )
            values = np.ascontiguousarray(image.read(block.core))
            add_signals(signals, values, labels, ground, self.threshold)
        return _rows(found, shapes, signals if self.image is not None else None)


def _distinct(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the different labels other than 0, ascending."""
    size = ROOM
    while True:
        room = np.zeros(2 * size, np.int64)
        if labels_in(labels, room) >= 0:
            return np.sort(room[room != 0])
        size *= 2


def _rows(found: NDArray[np.int64], shapes: Shapes, signals: Signals | None) -> pd.DataFrame:
    row, side = np.nonzero(shapes.voxels[:-1])
    columns: dict[str, NDArray[Any]] = {
        "label": found[row],
        "hemisphere": side.astype(np.int64),
        "voxels": shapes.voxels[row, side],
    }
    for axis, name in enumerate(AXES):
        columns[f"sum_{name}"] = shapes.places[row, side, axis]
        columns[f"low_{name}"] = shapes.low[row, side, axis]
        columns[f"high_{name}"] = shapes.high[row, side, axis]
    if signals is not None:
        for name, values in signals._asdict().items():
            columns[f"image_{name}"] = values[row, side]
    return pd.DataFrame(columns)


def merge_regions(rows: pd.DataFrame) -> pd.DataFrame:
    """Add up the rows of all blocks: one row a label and hemisphere, ascending.

    Parameters
    ----------
    rows
        As `MeasureRegions` returns them, of all blocks one below the other.
    """
    how = {
        name: "min" if name.startswith("low_") else "max" if "high" in name else "sum"
        for name in rows.columns
        if name not in ("label", "hemisphere")
    }
    return rows.groupby(["label", "hemisphere"], sort=True).agg(how).reset_index()


def region_sums(rows: pd.DataFrame, ids: NDArray[np.int64]) -> tuple[Shapes, Signals | None]:
    """Return merged rows as sums over the regions of a tree.

    Parameters
    ----------
    rows
        As `merge_regions` returns them.
    ids
        Ids of the R regions.

    Returns
    -------
    Shapes
        What `projectome.atlas.regions.RegionTable` is made of.
    Signals or None
        The same of the image, if there was one.
    """
    shapes, signals = Shapes.empty(len(ids)), Signals.empty(len(ids))
    labels = rows["label"].to_numpy(np.int64)
    row, side = IdIndex.of(ids)(labels), rows["hemisphere"].to_numpy()
    unknown = np.unique(labels[row < 0])[: len(shapes.unknown)]
    shapes.unknown[: len(unknown)] = unknown
    place = (np.where(row < 0, len(ids), row), side)
    np.add.at(shapes.voxels, place, rows["voxels"].to_numpy())
    for axis, name in enumerate(AXES):
        np.add.at(shapes.places[..., axis], place, rows[f"sum_{name}"].to_numpy())
        np.minimum.at(shapes.low[..., axis], place, rows[f"low_{name}"].to_numpy())
        np.maximum.at(shapes.high[..., axis], place, rows[f"high_{name}"].to_numpy())
    if "image_voxels" not in rows:
        return shapes, None
    for name, values in signals._asdict().items():
        add = np.maximum if name == "highest" else np.add
        add.at(values, place, rows[f"image_{name}"].to_numpy())
    return shapes, signals
