"""Volumes and neurons as layers of napari, in micrometres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from projectome.core.box import Box
from projectome.core.skeleton import SOMA, Skeleton
from projectome.core.volume import Pyramid, Volume
from projectome.errors import ProjectomeError
from projectome.io.open import open_volume
from projectome.io.skeletons.read import read_skeletons
from projectome.io.volumes.options import name_of

Layer: TypeAlias = tuple[Any, dict[str, Any], str]
ReadFunction: TypeAlias = Callable[[Any], list[Layer]]
UNITS = ("micrometer",) * 3
LOOKED_AT = 2**22
"""Most voxels that are read for the contrast."""
CONTRAST = (1.0, 99.8)
"""Percentiles of black and white."""
WIDTH = 1.0
"""Width of a neurite where the file has no radius [um]."""
NEURONS = (".swc", ".eswc", ".nml", ".traces")
COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue")
"""Of the channels of an image, in their order."""


def get_reader(path: str | Sequence[str]) -> ReadFunction | None:
    """Return what reads the layers at a path or address; None for several files at once.

    Parameters
    ----------
    path
        As napari gives it: whatever `projectome.io.open.open_volume` takes, or a file of neurons.
    """
    if not isinstance(path, (str, Path)):
        return None
    return read_neurons if str(path).lower().endswith(NEURONS) else read_volume


def read_volume(path: str) -> list[Layer]:
    """Return a volume as a layer of napari.

    Parameters
    ----------
    path
        Path or address.

    Returns
    -------
    list of tuple
        One layer: the levels as dask arrays, and where they lie [um]. Nothing is read but the
        coarsest level, for the contrast, and that only if it is small.

    Raises
    ------
    ProjectomeError
        As `projectome.io.open.open_volume` does; MissingExtraError without dask.
    """
    return [volume_layer(open_volume(str(path)))]


def volume_layer(pyramid: Pyramid) -> Layer:
    """Return a pyramid as the data, the settings and the kind of a layer of napari."""
    first = pyramid[0]
    levels = [level.to_dask() for level in pyramid]
    affine = first.affine
    settings: dict[str, Any] = {
        "name": pyramid.name,
        "units": UNITS,
        "metadata": {"projectome": dict(pyramid.metadata)},
    }
    if affine.is_grid:
        settings |= {"scale": affine.voxel_size, "translate": affine.translation}
    else:
        settings["affine"] = affine.matrix
    if first.kind == "labels":
        return _single(levels), settings, "labels"
    limits = contrast_limits(pyramid)
    if first.channels:
        settings["channel_axis"] = 0
        settings["name"] = [f"{pyramid.name} {channel}" for channel in first.channels]
        count = len(first.channels)
        if count > 1:
            settings["colormap"] = [COLOURS[i % len(COLOURS)] for i in range(count)]
            settings["blending"] = "additive"
    if limits:
        settings["contrast_limits"] = limits if first.channels else limits[0]
    return _single(levels), settings, "image"


def _single(levels: list[Any]) -> Any:
    """Return the levels, or the array where there is but one."""
    return levels if len(levels) > 1 else levels[0]


def contrast_limits(pyramid: Pyramid) -> list[tuple[float, float]]:
    """Return the contrast of each channel, from the middle of the coarsest level.

    Returns
    -------
    list of tuple of float
        Empty where it cannot be read; napari finds its own then.
    """
    level = pyramid[len(pyramid) - 1]
    count = max(1, len(level.channels))
    plane = level.shape[1] * level.shape[2]
    depth = min(level.shape[0], LOOKED_AT // max(1, plane * count))
    if depth == 0:
        return []
    start = (level.shape[0] - depth) // 2
    box = Box((start, 0, 0), (start + depth, *level.shape[1:]))
    try:
        return [_limits(level, box, c if level.channels else None) for c in range(count)]
    except ProjectomeError:
        return []


def _limits(level: Volume, box: Box, channel: int | None) -> tuple[float, float]:
    voxels = level.read(box, channel=channel)
    values = voxels.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, CONTRAST))
    return low, high if high > low else low + 1


def read_neurons(path: str) -> list[Layer]:
    """Return neurons as layers of napari.

    Parameters
    ----------
    path
        Path or address.

    Returns
    -------
    list of tuple
        One layer of paths, an unbranched run each, and one of somata where the file has some.

    Raises
    ------
    ProjectomeError
        As `projectome.io.skeletons.read.read_skeletons` does.
    """
    found = read_skeletons(str(path))
    return neuron_layers([item.skeleton for item in found], name_of(str(path)))


def neuron_layers(skeletons: Sequence[Skeleton], name: str) -> list[Layer]:
    """Return skeletons as layers of napari: their runs as paths, their somata as points."""
    paths, widths, somata, sizes = [], [], [], []
    for skeleton in skeletons:
        radius = np.full(len(skeleton), np.nan) if skeleton.radius is None else skeleton.radius
        for run in skeleton.segments:
            known = radius[run][np.isfinite(radius[run])]
            paths.append(skeleton.coordinates[run])
            widths.append(2 * float(np.median(known)) if known.size else WIDTH)
        kinds = np.zeros(len(skeleton)) if skeleton.kind is None else skeleton.kind
        alone = (skeleton.parent < 0) & (skeleton.child_count == 0)
        for node in np.flatnonzero((kinds == SOMA) | alone).tolist():
            somata.append(skeleton.coordinates[node])
            sizes.append(2 * float(radius[node]) if np.isfinite(radius[node]) else 2 * WIDTH)
    layers: list[Layer] = []
    settings: dict[str, Any]
    if paths:
        settings = {"name": name, "units": UNITS, "shape_type": "path", "edge_width": widths}
        layers.append((paths, settings, "shapes"))
    if somata or not paths:
        places = np.array(somata).reshape(-1, 3)
        settings = {"name": f"{name} somata", "units": UNITS, "size": sizes}
        layers.append((places, settings, "points"))
    return layers
