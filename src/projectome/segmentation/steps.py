"""Neurite probability and instance labels as block-wise steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from projectome.core.box import Block, BlockGrid, Triple
from projectome.engine.step import BlockStep
from projectome.errors import ParameterError
from projectome.filters.tubeness import halo_for, multiscale_tubeness
from projectome.io.source import VolumeSource
from projectome.segmentation.components import (
    Labels,
    fragment_id,
    label_block,
    renumber,
    touching_pairs,
)
from projectome.segmentation.noise import NoiseMap
from projectome.segmentation.ridges import on_ridge, ridge_halo

FULL = 255
"""Stored value of probability 1; probabilities are kept as uint8."""


@dataclass(frozen=True)
class NeuriteProbability(BlockStep):
    """Probability of neurite a voxel, from the tubeness at several scales and the noise around.

    With the response r of `projectome.filters.tubeness.multiscale_tubeness` and the level n of
    noise it is ``r / (r + contrast * n)``: it does not depend on the unit of grey values, nor on
    a constant background.

    Attributes
    ----------
    image
        The image.
    noise
        The level of noise from place to place.
    contrast
        Response that gives a probability of one half, in levels of noise.
    neurite_um
        Standard deviations of the neurites looked for, finest first [um]; 1 and 1.5 voxels if left
        out. About half a radius to a radius.
    """

    name: ClassVar[str] = "neurite-probability"
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 64

    image: VolumeSource
    noise: NoiseMap
    contrast: float = 18.0
    neurite_um: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.neurite_um:
            z, y, x = self.image.open().voxel_size
            size = (z * y * x) ** (1 / 3)
            object.__setattr__(self, "neurite_um", (round(size, 6), round(1.5 * size, 6)))
        if min(self.neurite_um) <= 0:
            raise ParameterError(f"neurite_um needs positive sizes, not {self.neurite_um}.")
        if self.contrast <= 0:
            raise ParameterError(f"contrast is positive, not {self.contrast}.")

    def halo(self) -> Triple:
        """Return the reach of the largest kernel."""
        sigmas = sigmas_of(self.neurite_um, self.image.open().voxel_size)
        reach = np.max([halo_for(sigma) for sigma in sigmas], axis=0)
        return int(reach[0]), int(reach[1]), int(reach[2])

    def __call__(self, block: Block) -> NDArray[np.uint8]:
        """Return the probability of the core, 0 to 255."""
        volume = self.image.open()
        raw = volume.read(block.read)
        if raw.min() == raw.max():
            return np.zeros(block.core.shape, np.uint8)
        sigmas = sigmas_of(self.neurite_um, volume.voxel_size)
        response = multiscale_tubeness(raw, sigmas)[block.inner]
        half = self.noise.at(block.core) * np.float32(self.contrast)
        return np.rint(response / (response + half) * FULL).astype(np.uint8)


def sigmas_of(
    neurite_um: Sequence[float], voxel_size: tuple[float, float, float]
) -> list[tuple[float, float, float]]:
    """Return standard deviations in voxels (z, y, x), one triple a scale."""
    z, y, x = voxel_size
    return [(s / z, s / y, s / x) for s in neurite_um]


@dataclass(frozen=True)
class LabelBlocks(BlockStep):
    """Local labels of the voxels above the low threshold, and a row a fragment.

    Attributes
    ----------
    probability
        Neurite probability, uint8.
    grid
        The blocks; every phase uses the same.
    low
        Voxels with at least this probability are foreground,
    ridge_share
        if they respond at least this share as strongly as the strongest near them; see
        `projectome.segmentation.ridges.on_ridge`.
    """

    name: ClassVar[str] = "label-blocks"
    version: ClassVar[int] = 2
    bytes_per_voxel: ClassVar[int] = 24

    probability: VolumeSource
    grid: BlockGrid
    low: float
    ridge_share: float

    def halo(self) -> Triple:
        """Return how far the strongest near a voxel is looked for."""
        return ridge_halo(self.probability.open().voxel_size)

    def __call__(self, block: Block) -> dict[str, object]:
        """Return ``labels`` (uint32) and ``fragments`` (a table)."""
        volume = self.probability.open()
        read = volume.read(block.read).astype(np.uint8, copy=False)
        middle = on_ridge(read, volume.voxel_size, self.ridge_share)
        score = np.where(middle, read, np.uint8(0))[block.inner]
        labels, table = label_block(score, self.low * FULL, block, volume.shape)
        number = self.grid.linear(block.index)
        ids = fragment_id(number, table["local"].to_numpy())
        table["peak"] /= FULL
        return {"labels": labels, "fragments": table.assign(fragment=ids)}


@dataclass(frozen=True)
class MatchFaces(BlockStep):
    """Pairs of fragments that touch across the faces of blocks.

    Attributes
    ----------
    fragments
        Local labels of `LabelBlocks`.
    grid
        The same blocks.
    """

    name: ClassVar[str] = "match-faces"
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 12

    fragments: VolumeSource
    grid: BlockGrid

    def halo(self) -> Triple:
        """Return one voxel: the neighbours' faces."""
        return 1, 1, 1

    def __call__(self, block: Block) -> pd.DataFrame:
        """Return the columns ``here`` and ``there``."""
        labels = self.fragments.open().read(block.read)
        pairs = touching_pairs(labels.astype(np.uint32, copy=False), block, self.grid.shape)
        return pd.DataFrame({"here": pairs[:, 0], "there": pairs[:, 1]})


@dataclass(frozen=True)
class Renumber(BlockStep):
    """Component numbers in place of local labels.

    Attributes
    ----------
    fragments
        Local labels of `LabelBlocks`.
    grid
        The same blocks.
    mapping
        Parquet file of `merge_fragments`.
    mapping_key
        Hash of its contents; what is compared when a run is resumed.
    """

    name: ClassVar[str] = "renumber"
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 16

    fragments: VolumeSource
    grid: BlockGrid
    mapping: str = field(compare=False)
    mapping_key: str = ""

    def __call__(self, block: Block) -> Labels:
        """Return the labels of the core, uint32."""
        labels = self.fragments.open().read(block.core).astype(np.uint32, copy=False)
        number = self.grid.linear(block.index)
        return renumber(labels, number, _rows_of_block(self.mapping, number))


def _rows_of_block(path: str, number: int) -> pd.DataFrame:
    """Read the rows of one block; the file is sorted, so that other row groups are skipped."""
    first, beyond = int(fragment_id(number, 0)), int(fragment_id(number + 1, 0))
    rows = [("fragment", ">=", first), ("fragment", "<", beyond)]
    return pq.read_table(path, filters=rows).to_pandas()
