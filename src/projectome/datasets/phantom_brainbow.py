"""Brainbow: a confocal stack of neurites, each of its own colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple
from projectome.core.space import Space
from projectome.datasets.phantom_fibres import Bed, Habit
from projectome.datasets.phantom_field import fill
from projectome.datasets.phantom_image import Microscope
from projectome.datasets.phantom_kernels import add_balls, add_spots, expose
from projectome.datasets.phantom_specimen import (
    Specimen,
    checked,
    contact_table,
    fibre_table,
    mark_table,
    soma_table,
)
from projectome.datasets.phantom_threads import Threads, texture_of, threads_of
from projectome.datasets.phantom_volume import rendered, rendered_channels

Floats = NDArray[np.float64]
SPACE = Space("confocal")
CHANNELS = ("mTFP", "EYFP", "tdTomato")
HABIT = Habit(step=0.4, radius=(0.45, 0.35), level=(1400.0, 0.5), varicose=0.5, spacing=5.0)
OPTICS = Microscope(
    psf=(1.2, 1.0), offset=60.0, electron=9.0, read_noise=12.0, saturation=4095.0, blur=0.0
)
"""A confocal microscope with a detector of 12 bits."""
TEXTURES = ((6.0, 14.0, 0.15), (20.0, 60.0, 0.2))
FARTHEST = 3
"""More voxels than a channel is ever shifted."""


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """What the channels of a stack do.

    Attributes
    ----------
    hues
        Shape (N + 1, C): brightness of each neurite in each channel; row 0 is none.
    shifts
        Shape (C, 3): how far each channel is from where it should be [voxels].
    bleaching
        Shape (C,): share of the light lost from one plane to the next.
    crosstalk
        Shape (C, C): share of the light of a dye (column) that a channel (row) sees.
    """

    hues: Floats
    shifts: Floats
    bleaching: Floats
    crosstalk: Floats


@dataclass(frozen=True, slots=True, eq=False)
class BrainbowScene:
    """All that is drawn once for a whole stack."""

    shape: Triple
    seed: int
    optics: Microscope
    threads: Threads
    colours: Colours


def make_brainbow(
    *,
    seed: int = 0,
    size: ArrayLike = (48, 256, 256),
    voxel_size: ArrayLike = (1.0, 0.25, 0.25),
    density: float = 5.0,
    cells: int = 3,
    arbors: str | None = None,
    arbor_scale: float | None = None,
    shift: float = 1.5,
    bleaching: float = 0.015,
) -> Specimen:
    """Draw a confocal stack of Brainbow neurites.

    Parameters
    ----------
    seed, size, voxel_size, density, cells, arbors, arbor_scale
        As for `projectome.datasets.phantom_field.make_axon_field`.
    shift
        Farthest that a channel is shifted against the first, in the plane [voxels]; half as far
        along z.
    bleaching
        Mean share of the light that is lost from one plane to the next, other in each channel.

    Returns
    -------
    Specimen
        Tables ``neurites`` with the colour of each, ``channels`` (shift and bleaching),
        ``contacts`` and ``marks``. The labels lie where the first channel shows the neurites.

    Raises
    ------
    ParameterError
        If such a stack cannot be made.
    """
    shape, voxel = checked(seed, size, voxel_size, smallest=(8, 32, 32))
    extent = (np.asarray(shape) - 1) * voxel
    bed = Bed(extent, SPACE, HABIT, np.random.default_rng([seed, 31]))
    wanted = density * 1000 * float(np.prod(shape)) / 1e6 * voxel[2]
    fill(bed, wanted, cells=cells, arbors=arbors, arbor_scale=arbor_scale)
    rng = np.random.default_rng([seed, 32])
    count = len(CHANNELS)
    hues = rng.gamma(0.5, 1.0, (len(bed.fibres) + 1, count)) + 1e-3
    hues /= hues.max(axis=1, keepdims=True)
    hues[0] = 0
    shifts = rng.uniform(-shift, shift, (count, 3)) * (0.5, 1, 1)
    shifts[0] = 0
    lost = np.clip(bleaching * rng.uniform(0.3, 1.7, count), 0, 0.5)
    crosstalk = np.eye(count) + 0.06 * (np.eye(count, k=1) + np.eye(count, k=-1))
    colours = Colours(hues, np.clip(shifts, -FARTHEST + 1, FARTHEST - 1), lost, crosstalk)
    threads = threads_of(bed.fibres, voxel, soma_light=4500.0)
    scene = BrainbowScene(shape, seed, OPTICS, threads, colours)
    grid = Affine.from_scale(voxel, target=SPACE)
    table = fibre_table(bed.fibres)
    for channel, name in enumerate(CHANNELS):
        table[name] = hues[1:, channel]
    moved = colours.shifts * voxel
    channels = pd.DataFrame({"channel": CHANNELS, "bleaching_per_plane": lost})
    for axis, name in enumerate("zyx"):
        channels[f"{name}_shift_um"] = moved[:, axis]
    making = {"seed": seed, "shape": shape, "voxel_size_um": voxel, "density": density}
    making |= {"cells": cells, "arbors": arbors, "arbor_scale": arbor_scale}
    making |= {"shift": shift, "bleaching": bleaching}
    return Specimen(
        "brainbow",
        making,
        rendered_channels(
            partial(render_brainbow, scene),
            shape,
            np.uint16,
            grid,
            channels=CHANNELS,
            name="brainbow",
        ),
        rendered(threads.labels, shape, np.uint32, grid, kind="labels", name="neurites"),
        [fibre.skeleton for fibre in bed.fibres],
        soma_table(bed.fibres, SPACE),
        {
            "neurites": table,
            "channels": channels,
            "contacts": contact_table(bed.fibres, within=voxel[2]),
            "marks": mark_table(bed.marks, margin=2 * voxel[2]),
        },
    )


def render_brainbow(scene: BrainbowScene, box: Box, channels: slice) -> NDArray[np.uint16]:
    """Return some channels of a box; the same voxels in whatever box they are rendered."""
    optics, colours = scene.optics, scene.colours
    wide = box.grow(FARTHEST)
    spots, owner = scene.threads.spots(wide, optics)
    start = np.asarray(box.start, np.float64)
    planes = np.arange(box.start[0], box.stop[0])
    even = np.ones(scene.shape[1:], np.float32), np.ones((2, *scene.shape[:2]), np.float32)
    out = np.empty((channels.stop - channels.start, *box.shape), np.uint16)
    for row, channel in enumerate(range(channels.start, channels.stop)):
        glow = colours.crosstalk[channel] @ colours.hues.T
        light = 70.0 * texture_of(box, TEXTURES, seed=10 * scene.seed + channel)
        seen = spots.copy()
        seen[:, :3] += colours.shifts[channel]
        seen[:, 5] *= glow[owner]
        add_spots(light, start, seen)
        somata = scene.threads.somata.copy()
        somata[:, :3] += colours.shifts[channel]
        somata[:, 4] *= glow[scene.threads.cells]
        add_balls(light, start, somata)
        light *= ((1 - colours.bleaching[channel]) ** planes).astype(np.float32)[:, None, None]
        camera = np.uint64(10 * scene.seed + channel), optics.electron, optics.read_noise
        expose(
            light,
            np.asarray(box.start),
            np.asarray(scene.shape),
            *even,
            (*camera, optics.offset),
            optics.saturation,
        )
        out[row] = np.rint(light)
    return out
