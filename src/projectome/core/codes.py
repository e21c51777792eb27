"""Barcodes: what each segment shows in each channel, with uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Measurements of S segments in C channels.

    Attributes
    ----------
    segments
        Shape (S,), uint64, ascending ids, never 0.
    channels
        C names.
    mean
        Shape (S, C), float32, mean intensity; NaN where nothing was measured.
    deviation
        Shape (S, C), float32, standard error of that mean.
    voxels
        Shape (S,), int64, how many voxels were measured.
    """

    segments: NDArray[np.uint64]
    channels: tuple[str, ...]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    voxels: NDArray[np.int64]

    def __post_init__(self) -> None:
        segments = read_only(self.segments, np.uint64)
        if (segments[1:] <= segments[:-1]).any() or (segments == 0).any():
            raise ShapeError("Segment ids ascend, differ from one another and from 0.")
        expected = (len(segments), len(self.channels))
        for name in ("mean", "deviation"):
            values = read_only(getattr(self, name), np.float32)
            if values.shape != expected:
                raise ShapeError(f"{name} has the shape {values.shape}, not {expected}.")
            object.__setattr__(self, name, values)
        voxels = read_only(self.voxels, np.int64)
        if voxels.shape != segments.shape or (voxels < 0).any():
            raise ShapeError("Each segment needs a count of voxels, 0 or more.")
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "voxels", voxels)

    def __len__(self) -> int:
        return len(self.segments)
