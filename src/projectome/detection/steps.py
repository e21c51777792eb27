"""Somata of a volume as a block-wise step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from projectome.core.box import Block, Triple
from projectome.core.points import Points
from projectome.detection.blobs import blob_halo, find_blobs, merge_candidates, radii, sigma_of
from projectome.engine.step import BlockStep
from projectome.errors import ParameterError
from projectome.filters.separable import scratch_bytes
from projectome.io.source import VolumeSource

COLUMNS = ("radius_um", "score", "contrast", "roundness")


@dataclass(frozen=True)
class DetectSomata(BlockStep):
    """Find somata: bright, round, of the right size, and one a cell.

    The defaults suit sparsely labelled neurons, whose somata are brighter than all but a
    thousandth of the voxels. Where labelled cells are crowded, a thousandth is less than their
    share and each lies in the surroundings of others: try a threshold of 0.3, and 0 for contrast
    and roundness. What is not three voxels across cannot be told from a speck.

    Attributes
    ----------
    image
        The image.
    background
        Grey value that becomes 0.
    scale
        Grey values above the background that become 1.
    radius_um
        Smallest and largest radius of a soma [um of the volume].
    threshold
        Smallest contrast of the ball that fits best, in units of the scale.
    min_contrast
        Smallest share of its height by which a soma rises above the brightest tenth of its
        surroundings.
    min_roundness
        Smallest ratio of its weakest to its strongest curvature: 1 for a ball, 0 for a straight
        neurite. Lower it where the image is drawn out along one axis.
    """

    name: ClassVar[str] = "detect-somata"
    version: ClassVar[int] = 1

    image: VolumeSource
    background: float
    scale: float
    radius_um: tuple[float, float] = (5.0, 16.0)
    threshold: float = 1.0
    min_contrast: float = 0.7
    min_roundness: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius_um", tuple(map(float, self.radius_um)))
        radii(self.radius_um)
        if not self.scale > 0:
            raise ParameterError(f"The scale of grey values is positive, not {self.scale}.")
        if not self.threshold > 0:
            raise ParameterError(f"The threshold of somata is positive, not {self.threshold}.")

    def halo(self) -> Triple:
        """Return the reach of the largest kernel and of the largest soma."""
        return blob_halo(self.radius_um, self.image.open().voxel_size)

    def memory(self, block: Block) -> int:
        """Return the peak: the image, three normalised images, marks and the filter's rows."""
        volume = self.image.open()
        sigma = sigma_of(self.radius_um[1], volume.voxel_size)
        voxels = block.read.size * (volume.dtype.itemsize + 18)
        return voxels + scratch_bytes(block.read.shape, sigma)

    def __call__(self, block: Block) -> pd.DataFrame:
        """Return the somata whose centres lie in the core, in the order of their voxels.

        Columns ``z_um``, ``y_um``, ``x_um`` in the space of the volume, and those of
        `projectome.detection.blobs.find_blobs`.
        """
        volume = self.image.open()
        values = volume.read(block.read).astype(np.float32)
        values -= np.float32(self.background)
        values /= np.float32(self.scale)
        found = find_blobs(
            values,
            volume.voxel_size,
            radius_um=self.radius_um,
            threshold=self.threshold,
            min_contrast=self.min_contrast,
            min_roundness=self.min_roundness,
            origin=block.read.start,
        )
        owned = block.core.contains(found.coordinates)
        placed = Points(
            volume.affine(found.coordinates), volume.space, {**found.columns, "owned": owned}
        )
        somata = merge_candidates(placed)
        somata = somata.take(somata["owned"])
        place = dict(zip(("z_um", "y_um", "x_um"), somata.coordinates.T, strict=True))
        return pd.DataFrame(place | {name: somata[name] for name in COLUMNS})
