"""Thresholds that follow from the noise of a filter response."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from projectome.errors import DataError, ParameterError

LOW, HIGH = 6.0, 18.0
"""Hysteresis thresholds in units of `noise_level`."""


def noise_level(response: ArrayLike) -> float:
    """Return the typical response of what is not a structure.

    Parameters
    ----------
    response
        Any shape; a sample of a response of 0 or more, such as tubeness. Zeros (constant regions,
        padding, valleys) and values that are not finite are left out.

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
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        raise DataError(
            "The response is 0 everywhere, so that no threshold can be read from it: the image is "
            "constant. Check the channel and the region of the sample."
        )
    values.sort()
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
    """Suggest the two thresholds of a hysteresis for a filter response.

    Voxels above the first are kept where they hang together with a voxel above the second.

    Parameters
    ----------
    response_sample
        Any shape; responses of the normalised image at the scales to be used, from all over the
        volume.
    low, high
        In units of `noise_level`. The defaults follow light-sheet axons into their dim stretches
        and drop most isolated specks; a low of 4 finds more of dense regions, with more speckle
        and with neighbours that run together.

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
    """
    if not 0 < low <= high:
        raise ParameterError(f"Thresholds need 0 < low <= high, not low={low} and high={high}.")
    level = noise_level(response_sample)
    return low * level, high * level
