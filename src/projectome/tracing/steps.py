"""Tracing as block-wise steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Block, Triple
from projectome.engine.step import BlockStep
from projectome.errors import ParameterError
from projectome.io.source import VolumeSource
from projectome.tracing.skeletonise import check_lengths, trace_block


@dataclass(frozen=True)
class SkeletoniseBlocks(BlockStep):
    """Skeletons of the labels in each block, which `projectome.tracing.stitch.stitch` joins.

    Attributes
    ----------
    labels
        Label volume; 0 is background.
    scale, constant_um
        A path clears ``scale * radius + constant_um`` around it: branches that do not leave that
        region are left out. The blocks are stitched with the same values.
    margin
        Voxels read beyond the block on each side, at least 1: about the radius of the thickest
        neurites. Thicker objects are traced all the same, off their middle where they lie along
        a face of a block.
    """

    name: ClassVar[str] = "skeletonise-blocks"
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 64

    labels: VolumeSource
    scale: float
    constant_um: float
    margin: int = 8

    def __post_init__(self) -> None:
        check_lengths(scale=self.scale, constant_um=self.constant_um)
        if self.margin < 1:
            raise ParameterError(f"margin is 1 voxel or more, not {self.margin!r}.")

    def halo(self) -> Triple:
        """Return the margin."""
        return self.margin, self.margin, self.margin

    def __call__(self, block: Block) -> dict[str, NDArray[np.generic]]:
        """Return one row a node; see `projectome.tracing.skeletonise.trace_block`."""
        volume = self.labels.open()
        return trace_block(
            volume.read(block.read),
            core=block.core,
            read=block.read,
            shape=volume.shape,
            voxel_size=volume.voxel_size,
            scale=self.scale,
            constant_um=self.constant_um,
        )
