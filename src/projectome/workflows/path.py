"""A neurite followed through points, as a skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.io.source import VolumeSource
from projectome.tracing.path import Path, trace_path


def path_skeleton(
    source: VolumeSource, points_um: Sequence[tuple[float, float, float]]
) -> tuple[Skeleton, Path]:
    """Return the path of least cost through points.

    Parameters
    ----------
    source
        The image; of any size, because only a corridor is read.
    points_um
        Two points or more, (z, y, x) [um of the volume].

    Returns
    -------
    skeleton
        One unbranched tree from the first point to the last.
    path
        The path with its cost, and the proof that none outside the corridor is cheaper.

    Raises
    ------
    ParameterError
        If a point lies outside the volume.
    """
    found = trace_path(source.open(), points_um)
    parents = np.arange(len(found.points_um)) - 1
    return Skeleton(found.points_um, parents, found.space), found
