"""Intensities gathered by where voxels lie across a midline, or along any other quantity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.imaging.projection import pieces
from projectome.io.ahead import read_ahead

LARGEST = 2**27
"""Voxels whose values may be held at once."""

Bins = Callable[[Box], NDArray[np.int64]]
Inside = Callable[[Box], NDArray[np.bool_]]


def gather(
    volume: Volume,
    bins: Bins,
    count: int,
    *,
    inside: Inside | None = None,
    percentiles: Sequence[float] = (1, 50, 99),
) -> pd.DataFrame:
    """Return statistics of the voxels in each of some bins.

    Parameters
    ----------
    volume
        Without a channel axis; of a level that fits in memory.
    bins
        Number of the bin of each voxel of a box, of a shape that broadcasts to the box's; voxels
        beyond 0 to `count` are left out.
    count
        How many bins.
    inside
        Which voxels of a box count; all if None.
    percentiles
        Which percentiles to give.

    Returns
    -------
    pandas.DataFrame
        A row a bin: ``voxels``, ``mean``, ``max`` and columns such as ``p50``, over all its voxels
        that are numbers; NaN where there are none.

    Raises
    ------
    ParameterError
        If the volume is too large, or a percentile is none.
    """
    if any(not 0 <= p <= 100 for p in percentiles):
        raise ParameterError(f"Percentiles lie between 0 and 100, not {list(percentiles)}.")
    if volume.box.size > LARGEST:
        raise ParameterError(
            f"{volume.name} has {volume.box.size:,} voxels here, more than the {LARGEST:,} that "
            "are held at once. Take a coarser --level, or a smaller box."
        )
    places: list[NDArray[np.int32]] = []
    values: list[NDArray[Any]] = []
    for piece, voxels in read_ahead(volume, pieces(volume, volume.box), channel=None):
        place = np.broadcast_to(bins(piece), voxels.shape)
        keep = (place >= 0) & (place < count)
        if inside is not None:
            keep &= inside(piece)
        if voxels.dtype.kind == "f":
            keep &= np.isfinite(voxels)
        places.append(place[keep].astype(np.int32))
        values.append(voxels[keep])
    place, value = np.concatenate(places), np.concatenate(values)
    order = np.argsort(place, kind="stable")
    value = value[order]
    ends = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=count))])
    figures = np.full((count, 2 + len(percentiles)), np.nan)
    for number in range(count):
        part = value[ends[number] : ends[number + 1]]
        if len(part):
            spread = np.percentile(part.astype(np.float64), list(percentiles))
            figures[number] = [part.mean(dtype=np.float64), float(part.max()), *spread]
    names = ["mean", "max", *(f"p{p:g}" for p in percentiles)]
    found = pd.DataFrame(figures, columns=names)
    found.insert(0, "voxels", np.diff(ends))
    return found
