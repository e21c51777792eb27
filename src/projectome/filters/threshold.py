"""The noise of a filter response, from which thresholds follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from projectome.errors import DataError

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
