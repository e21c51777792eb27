"""Rendering of the phantom: any box of its image, labels and template.

Every voxel depends on its own index alone: noise is a hash of seed and index, and sums run in one
fixed order. A box has the same bytes whether it is rendered alone or as part of another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Box
from projectome.datasets.phantom_atlas import Anatomy
from projectome.datasets.phantom_image import COARSE, PITCH, Scene, atlas_grid
from projectome.datasets.phantom_kernels import (
    HALO,
    REACH,
    add_balls,
    add_spots,
    blur,
    expose,
    mark,
    near,
    sample,
)
from projectome.datasets.phantom_regions import DEEP, LAYERS, SHEET


def render(scene: Scene, box: Box) -> NDArray[np.uint16]:
    """Return the grey values of a box of the phantom.

    Parameters
    ----------
    scene
        What is imaged.
    box
        Voxels inside the volume.

    Returns
    -------
    numpy.ndarray of uint16
        Shape of the box; the same voxels in whatever box they are rendered.
    """
    optics = scene.microscope
    wide = box.grow(1)
    light = _tissue(scene, wide)
    start = np.asarray(wide.start, dtype=np.float64)
    add_spots(light, start, near(scene.spots, wide, REACH * scene.spots[:, 3]))
    add_balls(light, start, near(scene.somata, wide, scene.somata[:, 3] + HALO))
    expose(
        light,
        np.asarray(wide.start),
        np.asarray(scene.shape),
        scene.field,
        scene.shade,
        (np.uint64(scene.seed), optics.electron, optics.read_noise, optics.offset),
        optics.saturation,
    )
    for axis in range(3):
        light = blur(light, optics.blur, axis)
    _, y, x = box.slices
    planes = np.arange(box.start[0], box.stop[0])[:, None, None]
    seen = (planes >= scene.planes[0, y, x]) & (planes < scene.planes[1, y, x])
    return np.where(seen, np.rint(light), 0).astype(np.uint16)


def render_labels(scene: Scene, box: Box) -> NDArray[np.uint32]:
    """Return the number of the neuron at each voxel of a box; 0 where there is none.

    A voxel belongs to a neuron if its centre lies within the neurite's radius, but at least 0.9
    voxels, of the centre line, or inside the soma; to the relatively nearer one of several.
    """
    marks = near(scene.marks, box, scene.marks[:, 3])
    return mark(np.asarray(box.start), box.shape, marks)


def glow() -> NDArray[np.float32]:
    """Return the autofluorescence of each code of `phantom_atlas` [grey values]."""
    tracts = {"ccg": 760, "ccb": 740, "ccs": 760, "ec": 800, "int": 880, "VL": 200, "V3": 200}
    nuclei = {"LS": 1040, "ACB": 1130, "OT": 1080, "CP": 1230, "HIP": 1170, "HY": 1060, "VAL": 980}
    others = {"PO": 1010, "LP": 1040, "MB": 1000, "P": 930, "MY": 900, "MOB": 1120, "CB": 1200}
    table = tracts | nuclei | others
    values = [60.0, *(float(table[name]) for name in DEEP)]
    layers = dict(zip(LAYERS, (960.0, 1120.0, 1200.0, 1060.0, 1130.0), strict=True))
    for k in range(len(SHEET)):
        values.extend(value * (1 + 0.02 * (k % 4)) for value in layers.values())
    return np.asarray(values, dtype=np.float32) * np.float32(1.1)


def render_template(anatomy: Anatomy, voxel_size: float, box: Box) -> NDArray[np.uint16]:
    """Return the autofluorescence by region, smooth and free of noise, on the atlas grid."""
    base = _regions(anatomy, voxel_size, box.grow(2))
    for axis in (0, 1, 2, 0, 1, 2):
        base = blur(base, 0.25, axis)
    return np.rint(base).astype(np.uint16)


def _regions(anatomy: Anatomy, voxel_size: float, box: Box) -> NDArray[np.float32]:
    """Return the autofluorescence of the region at each voxel of a box of the atlas grid."""
    return glow()[anatomy.codes_on(atlas_grid(voxel_size), box.start, box.shape)]


def _tissue(scene: Scene, box: Box) -> NDArray[np.float32]:
    """Return the autofluorescence with its texture in a box.

    Regions are interpolated from the atlas grid, which softens their borders.
    """
    shift = (COARSE - 1) / 2  # voxel i lies at (i - shift) / COARSE on the atlas grid
    coarse = box.shift(-1).coarsen(COARSE).grow(2)
    base = _regions(scene.anatomy, scene.voxel_size, coarse)
    for axis in range(3):
        base = blur(base, 0.25, axis)
    base_at = tuple(
        (np.arange(a, b) - shift) / COARSE - (c + 1)
        for a, b, c in zip(box.start, box.stop, coarse.start, strict=True)
    )
    light = sample(base, *base_at)
    modulation = np.ones_like(light)
    for texture, pitch, contrast in zip(
        scene.textures, PITCH, scene.microscope.texture, strict=True
    ):
        at = (
            np.clip(np.arange(a, b) / pitch, 0, n - 1.001)
            for a, b, n in zip(box.start, box.stop, texture.shape, strict=True)
        )
        modulation += np.float32(contrast) * sample(texture, *at)
    return light * np.maximum(modulation, np.float32(0.2))
