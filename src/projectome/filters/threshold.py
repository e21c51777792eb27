"""Thresholds that follow from the noise of a filter response."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from projectome.errors import DataError, ParameterError

LOW, HIGH = 6.0, 18.0
"""Hysteresis thresholds in units of the level of noise."""

RUNS, SHORTEST_RUN = 256, 4096
"""Into how many runs a sample is cut, and how many values each has at least."""

NO_RESPONSE = (
    "The response is 0 everywhere, so that no threshold can be read from it: the image is "
    "constant. Check the channel and the region of the sample."
)


def noise_level(response: ArrayLike) -> float:
    """Return the typical response of what is not a structure, in one place.

    Parameters
    ----------
    response
        Any shape; a response of 0 or more, such as tubeness, where the noise is about the same.
        Zeros (constant regions, padding, valleys) and values that are not finite are left out.

    Returns
    -------
    float
        The median of the responses that do not exceed three times that median, found by
        iteration from the plain median.

    Raises
    ------
    DataError
        If no response is above 0.

    Notes
    -----
    In pure noise, white or blurred, at any scale, the tubeness has one distribution but for a
    factor: its positive values surpass 3.1 times their median once in 100 and 3.9 times once in
    1000. Structures lie far above that and are cut off by the iteration, so that the level hardly
    depends on how many there are: lines of about the width of the filter that fill a tenth of the
    sample raise it by less than a tenth.
    """
    values = np.asarray(response, dtype=np.float64).ravel()
    values = np.sort(values[np.isfinite(values) & (values > 0)])
    if not values.size:
        raise DataError(NO_RESPONSE)
    level = float(np.median(values))
    while True:
        inside = values[: np.searchsorted(values, 3 * level, side="right")]
        lower = float(np.median(inside))
        if not lower < level:
            return level
        level = lower


def suggest_thresholds(
    response_sample: ArrayLike, *, low: float = LOW, high: float = HIGH
) -> tuple[float, float]:
    """Suggest one pair of hysteresis thresholds for the filter response of a whole volume.

    Voxels above the first are kept where they hang together with a voxel above the second.

    Parameters
    ----------
    response_sample
        Any shape; responses at the scales to be used from all over the volume, one place after
        the other in C order.
    low, high
        In units of the level of noise. The defaults follow light-sheet axons into their dim
        stretches and drop most isolated specks; a low of 4 finds more of dense regions, with more
        speckle and with neighbours that run together.

    Returns
    -------
    low, high : float
        In the unit of the response.

    Raises
    ------
    ParameterError
        If not ``0 < low <= high``.
    DataError
        If no response is above 0.

    Notes
    -----
    Noise differs from place to place, and beside a brain there is next to none. So the sample is
    cut into at most 256 runs of at least 4096 values, each has its `noise_level`, and the median
    of these, weighted by themselves, is the level of all: dark surroundings hardly weigh. Where
    the noise of tissue itself varies by more than two or three, no single pair fits, and
    `noise_level` should be followed from place to place.
    """
    if not 0 < low <= high:
        raise ParameterError(f"Thresholds need 0 < low <= high, not low={low} and high={high}.")
    values = np.asarray(response_sample).ravel()
    runs = np.array_split(values, int(np.clip(values.size // SHORTEST_RUN, 1, RUNS)))
    levels = np.sort([noise_level(run) for run in runs if (run > 0).any()])
    if not len(levels):
        raise DataError(NO_RESPONSE)
    reached = np.cumsum(levels)
    level = float(levels[np.searchsorted(reached, reached[-1] / 2)])
    return low * level, high * level
