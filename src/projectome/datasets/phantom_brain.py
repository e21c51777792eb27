"""Whole brains at low resolution, as a SmartSPIM sees them: regions, cells, long axons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Array
from projectome.datasets.phantom import anatomy_of
from projectome.datasets.phantom_atlas import Anatomy
from projectome.datasets.phantom_image import Microscope, image_grid, make_scene
from projectome.datasets.phantom_neurons import Neuron, grow_neurons
from projectome.datasets.phantom_regions import region_ids, terminology
from projectome.datasets.phantom_render import render, render_labels
from projectome.datasets.phantom_specimen import Specimen, checked, places_of
from projectome.datasets.phantom_volume import Draw, rendered
from projectome.errors import ParameterError

Floats = NDArray[np.float64]
SPACE = Space("smartspim", toward=("inferior", "anterior", "right"))
"""Axes of a SmartSPIM: Z superior to inferior, Y posterior to anterior, X left to right."""
EXTENT_UM = (8000.0, 13200.0, 11400.0)
"""Size of a mouse brain along these axes."""
SIGNAL, BACKGROUND = "Ex_561_Em_593", "Ex_445_Em_469"
OPTICS = Microscope(psf=(0.9, 0.7), electron=6.0, read_noise=15.0, shadows=200.0, gain=0.03)


@dataclass(frozen=True, slots=True)
class Turned:
    """Draws a phantom brain with its axes turned to those of `SPACE`.

    Attributes
    ----------
    draw
        Draws it with axes posterior, inferior and right.
    depth
        Its voxels along the first axis.
    """

    draw: Draw
    depth: int

    def __call__(self, box: Box) -> Array:
        """Return a box."""
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        straight = Box((self.depth - y1, z0, x0), (self.depth - y0, z1, x1))
        return np.ascontiguousarray(self.draw(straight).transpose(1, 0, 2)[:, ::-1])


def make_whole_brain(
    *,
    seed: int = 0,
    size: ArrayLike | None = None,
    voxel_size: float = 25.0,
    neurons: int | None = None,
    cells: int = 4000,
) -> Specimen:
    """Draw a whole brain as a SmartSPIM sees it.

    Parameters
    ----------
    seed
        The same seed and parameters give the same brain, bit by bit.
    size
        Voxels (z, y, x), axes as in `SPACE`; as many as a mouse brain takes by default.
    voxel_size
        Edge of the voxels [um].
    neurons
        Projection neurons with axons; by default one in 3 million voxels, at most 12.
    cells
        Labelled cells without visible neurites, most of them in the cortex.

    Returns
    -------
    Specimen
        Image of the labelled channel and, among the volumes, the one of autofluorescence and the
        ``annotation``; tables ``cells`` (place, ``region_id``, ``hemisphere``, 1 left and 2 right)
        and ``regions`` (the terminology of the annotation).

    Raises
    ------
    ParameterError
        If such a brain cannot be made.
    """
    wanted = np.asarray(EXTENT_UM) / voxel_size if size is None else size
    shape, (voxel, *_) = checked(seed, np.rint(wanted), voxel_size, smallest=(64, 64, 64))
    if neurons is None:
        neurons = min(12, max(1, round(int(np.prod(shape)) / 3e6)))
    if neurons < 0 or cells < 0:
        raise ParameterError(f"Numbers of neurons and cells are 0 or more: {neurons}, {cells}.")
    straight: Triple = (shape[1], shape[0], shape[2])
    anatomy = anatomy_of(straight, voxel)
    grown = grow_neurons(anatomy, neurons, seed=seed, voxel_size=voxel)
    scene = make_scene(
        anatomy, grown, shape=straight, voxel_size=voxel, seed=seed, microscope=OPTICS
    )
    places, codes, spots = _cells(anatomy, straight, voxel, cells, seed)
    signal = replace(scene, spots=np.concatenate([scene.spots, spots]))
    empty = make_scene(
        anatomy, (), shape=straight, voxel_size=voxel, seed=seed + 2**32, microscope=OPTICS
    )
    empty = replace(empty, field=scene.field, planes=scene.planes, textures=scene.textures)
    grid = Affine.from_scale((voxel,) * 3, target=SPACE)
    depth = straight[0]
    middle = anatomy.midline
    table = {
        **places_of(_turned(places, depth, voxel)),
        "region_id": region_ids()[codes].astype(np.int64),
        "hemisphere": middle.hemisphere(places),
    }
    making = {"seed": seed, "shape": shape, "voxel_size_um": voxel}
    making |= {"neurons": neurons, "cells": cells}
    tree = terminology()
    return Specimen(
        "brain",
        making,
        rendered(Turned(partial(render, signal), depth), shape, np.uint16, grid, name=SIGNAL),
        rendered(
            Turned(partial(render_labels, scene), depth),
            shape,
            np.uint32,
            grid,
            kind="labels",
            name="neurons",
        ),
        [_skeleton(neuron, depth, voxel) for neuron in grown],
        _somata(grown, depth, voxel),
        {
            "cells": pd.DataFrame({"id": np.arange(1, len(places) + 1), **table}),
            "regions": pd.DataFrame({"id": tree.ids, "acronym": tree.acronyms, "name": tree.names}),
        },
        {
            BACKGROUND: rendered(
                Turned(partial(render, empty), depth), shape, np.uint16, grid, name=BACKGROUND
            ),
            "annotation": rendered(
                Turned(partial(_annotate, anatomy, voxel), depth),
                shape,
                np.uint32,
                grid,
                kind="labels",
                name="annotation",
            ),
        },
    )


def _annotate(anatomy: Anatomy, voxel: float, box: Box) -> NDArray[np.uint32]:
    return region_ids()[anatomy.codes_on(image_grid(voxel), box.start, box.shape)]


def _cells(
    anatomy: Anatomy, shape: Triple, voxel: float, count: int, seed: int
) -> tuple[Floats, NDArray[np.uint8], Floats]:
    """Return places [um], codes of regions, and Gaussians [voxels] of labelled cells."""
    rng = np.random.default_rng([seed, 41])
    # A dozen hot spots, as around an injection and where its axons end.
    centres = rng.uniform(-0.7, 0.7, (12, 3)) * anatomy.half + anatomy.centre
    found = np.empty((0, 3))
    while len(found) < count:
        n = 4 * count + 100
        even = rng.uniform(-1, 1, (n, 3)) * anatomy.half + anatomy.centre
        near = centres[rng.integers(0, len(centres), n)]
        near = near + rng.normal(0, 0.08, (n, 3)) * anatomy.half
        places = np.where(rng.random(n)[:, None] < 0.5, even, near)
        found = np.concatenate([found, places[anatomy.codes_at(places) > 0]])
    found = found[:count]
    bright = rng.lognormal(np.log(4500), 0.5, count)
    sigma = np.maximum(6.0 / voxel, 0.55) * np.ones(count)
    peak = bright * np.minimum(1.0, 12.0 / voxel)
    spots = np.column_stack([found / voxel, 1.2 * sigma, sigma, peak])
    return found, anatomy.codes_at(found), spots


def _turned(points: Floats, depth: int, voxel: float) -> Floats:
    """Return points (posterior, inferior, right) along the axes of `SPACE`."""
    return np.stack([points[:, 1], (depth - 1) * voxel - points[:, 0], points[:, 2]], axis=1)


def _skeleton(neuron: Neuron, depth: int, voxel: float) -> Skeleton:
    tree = neuron.skeleton
    return replace(tree, coordinates=_turned(tree.coordinates, depth, voxel), space=SPACE)


def _somata(neurons: list[Neuron], depth: int, voxel: float) -> Points:
    places = np.asarray([neuron.soma for neuron in neurons]).reshape(-1, 3)
    return Points(
        _turned(places, depth, voxel),
        SPACE,
        {
            "id": np.asarray([neuron.id for neuron in neurons], np.int64),
            "radius_um": np.asarray([neuron.soma_radius for neuron in neurons], np.float64),
        },
    )
