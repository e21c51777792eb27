"""The figures of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from projectome.core.box import Box
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.imaging.projection import mip
from projectome.io.source import VolumeSource
from projectome.plots.mip import AXES, AxisName, View, three_views
from projectome.plots.neurons import length_figure
from projectome.plots.style import neuron_colours, save

PIXELS = 1000
"""A projection needs no more pixels along its longest side than about twice this."""


def picture_level(source: VolumeSource, box: Box | None = None) -> int:
    """Return the coarsest level, from that of `source` on, that still fills a picture.

    Parameters
    ----------
    source
        The volume.
    box
        The part to see, in voxels of the level of `source`; all if None.
    """
    levels = source.pyramid().levels
    finest = levels[source.level]
    extent = np.multiply((box or finest.box).shape, finest.voxel_size)
    fitting = [
        number
        for number in range(source.level, len(levels))
        if number == source.level or max(extent / levels[number].voxel_size) >= PIXELS - 0.5
    ]
    return fitting[-1]


def views_of(volume: Volume) -> dict[AxisName, View]:
    """Return the maximum intensity projections along the three axes."""
    views: dict[AxisName, View] = {}
    for axis in AXES:
        seen = mip(volume, axis)
        views[axis] = View(seen.image, axis, seen.start_um, seen.stop_um)
    return views


def write_figures(
    folder: Path,
    source: VolumeSource,
    skeletons: Sequence[Skeleton],
    neurons: pd.DataFrame,
    somata: Points,
) -> list[Path]:
    """Draw the figures of a study and return their paths.

    Parameters
    ----------
    folder
        Where they go.
    source
        The image.
    skeletons, neurons
        One skeleton a row of the table of neurons.
    somata
        What was detected.
    """
    volume = replace(source, level=picture_level(source)).open()
    space = source.open().space
    views = views_of(volume)
    colours = neuron_colours(len(skeletons))
    owned = np.flatnonzero(neurons["soma_id"].to_numpy() >= 0).tolist()
    # Long ones last, so that they lie on top.
    order = np.argsort([s.cable_length for s in skeletons], kind="stable").tolist()
    paths = [save(three_views(views, space=space, title="image"), folder / "mip.png")]
    traces = three_views(
        views,
        space=space,
        skeletons=[skeletons[i] for i in order],
        colours=colours[order],
        somata=somata,
        title=f"{len(skeletons)} traces",
        dim=0.6,
    )
    paths.append(save(traces, folder / "traces.png"))
    if 0 < len(owned) < len(skeletons):
        figure = three_views(
            views,
            space=space,
            skeletons=[skeletons[i] for i in owned],
            colours=colours[owned],
            somata=somata,
            title=f"{len(owned)} neurons with a soma",
            dim=0.35,
        )
        paths.append(save(figure, folder / "neurons.png"))
    else:
        (folder / "neurons.png").unlink(missing_ok=True)  # of other parameters
    lengths = neurons["length_tissue_um"].to_numpy() / 1000
    figure = length_figure(lengths, neurons["soma_id"].to_numpy() >= 0)
    paths.append(save(figure, folder / "lengths.png"))
    return paths
