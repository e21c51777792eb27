"""Agglomeration by waterz and mutex watershed by mwatershed (both MIT)."""

import mwatershed
import numpy as np
import waterz


def by_waterz(arrays, facts):
    """Watershed of the nearest affinities, then agglomeration by their mean."""
    nearest = np.ascontiguousarray(arrays["affinities"][:3])
    labels = next(waterz.agglomerate(nearest, [0.5]))
    return {"labels": labels.copy()}


def by_mutex_watershed(arrays, facts):
    """Mutex watershed of all affinities."""
    shifted = arrays["affinities"].astype(np.float64) - 0.5
    return {"labels": mwatershed.agglom(shifted, facts["offsets"])}
