"""Agreement of landmarks, and of regions, after a registration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import coordinates, read_only
from projectome.errors import ParameterError, ShapeError

PERCENTILES = (50.0, 75.0, 90.0, 95.0)


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkErrors:
    """How far N landmarks lie from where they should.

    Attributes
    ----------
    offset
        Shape (N, 3): found minus true position (z, y, x) [um].
    distance
        Shape (N,): its length [um].
    """

    offset: NDArray[np.float64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.distance)

    @property
    def mean_um(self) -> float:
        """Mean distance [um]; NaN without landmarks."""
        return float(self.distance.mean()) if len(self) else math.nan

    @property
    def rms_um(self) -> float:
        """Root of the mean square distance [um]."""
        return float(np.sqrt(np.square(self.distance).mean())) if len(self) else math.nan

    @property
    def largest_um(self) -> float:
        """Largest distance [um]."""
        return float(self.distance.max()) if len(self) else math.nan

    @property
    def shift_um(self) -> NDArray[np.float64]:
        """Mean offset (z, y, x) [um]: what a mere shift would mend."""
        return self.offset.mean(axis=0) if len(self) else np.full(3, np.nan)

    def percentile_um(self, percent: float) -> float:
        """Return the distance that this percentage of the landmarks keeps [um].

        Linear between landmarks, as `numpy.percentile`; NaN without landmarks.
        """
        return float(np.percentile(self.distance, percent)) if len(self) else math.nan


def landmark_errors(truth: ArrayLike, found: ArrayLike) -> LandmarkErrors:
    """Measure the distance of each landmark from its true place.

    Parameters
    ----------
    truth, found
        Shape (N, 3): the same landmarks in the same order [um], in one space.

    Returns
    -------
    LandmarkErrors
        In their order. Distances are in micrometres of that space: of tissue, if it is tissue.

    Raises
    ------
    ParameterError
        If a coordinate is not finite.
    ShapeError
        If there are not as many of both.
    """
    a, b = coordinates(truth), coordinates(found)
    if len(a) != len(b):
        raise ShapeError(
            f"Landmarks are compared one by one, but there are {len(a)} true and {len(b)} found "
            "ones. Keep those that both have, by their ids."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ParameterError("Landmarks need finite coordinates; drop the others on both sides.")
    offset = b - a
    return LandmarkErrors(read_only(offset), read_only(np.linalg.norm(offset, axis=1)))
