"""Axon fields: a block of cleared tissue full of axons, as a light-sheet microscope sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple
from projectome.core.provenance import plain
from projectome.core.space import Space
from projectome.datasets.phantom_fibres import Bed, Fibre, Habit, read_arbors
from projectome.datasets.phantom_image import (
    Microscope,
    bodies,
    shadows,
    tile_borders,
    tile_light,
    vessels,
)
from projectome.datasets.phantom_kernels import (
    REACH,
    add_balls,
    add_spots,
    blur,
    expose,
    near,
)
from projectome.datasets.phantom_specimen import (
    Specimen,
    checked,
    contact_table,
    fibre_table,
    mark_table,
    soma_table,
)
from projectome.datasets.phantom_threads import Texture, Threads, texture_of, threads_of
from projectome.datasets.phantom_tract import Tract, draw_tract
from projectome.datasets.phantom_volume import rendered

Floats = NDArray[np.float64]
SPACE = Space("exaspim", toward=("right", "superior", "posterior"))
"""Axes of an ExA-SPIM: Z left to right, Y inferior to superior, X anterior to posterior."""
OPTICS = Microscope(
    psf=(1.25, 0.55),
    offset=100.0,
    electron=17.0,
    read_noise=70.0,
    blur=0.15,
    tile=150,
    gain=0.03,
    vignetting=0.04,
    shadows=50.0,
)
"""A microscope whose pictures have the noise, the blur and the grey values of real ones."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """What glows besides neurites.

    Attributes
    ----------
    level
        Mean autofluorescence [grey values].
    slope
        Relative change of it from one end to the other, along each axis.
    textures
        Distance of nodes along z and in the plane [voxels], and relative contrast, of each texture.
    bodies
        Brightness of faint round bodies; 1 is usual.
    injection
        Radius of a saturated injection site [share of the shortest edge]; 0 for none.
    soma
        Brightness of somata [grey values].
    tract
        How much darker a tract is that crosses the block [share]; few axons run through it, and
        side by side. 0 for none.
    """

    level: float = 1330.0
    slope: tuple[float, float, float] = (-0.15, -0.18, 0.3)
    textures: tuple[Texture, ...] = (
        (3.5, 2.0, 0.035),
        (10.0, 5.0, 0.045),
        (30.0, 18.0, 0.05),
        (110.0, 80.0, 0.09),
    )
    bodies: float = 0.6
    injection: float = 0.0
    soma: float = 12000.0
    tract: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FieldScene:
    """All that is drawn once for a whole field.

    Attributes
    ----------
    shape, seed, optics, tissue
        What is imaged, and how.
    threads
        Neurites and somata.
    spots
        Shape (K, 6): everything else that is a Gaussian, see `phantom_kernels.add_spots`.
    field
        Shape (Y, X): gain of the tile that covers a pixel.
    shade
        Shape (2, Z, Y): light that shadows leave in the halves that the two sheets light up.
    cuts
        Where tiles begin along y and x, and the end of the last.
    gains
        Shape (tiles along y, tiles along x): brightness of the tiles.
    shifts
        Shape (tiles along y, tiles along x, 3): how far the neurites of each tile are from where
        they should be [voxels].
    voxel
        Size of a voxel (z, y, x) [um].
    tract
        A tract, if there is one.
    """

    shape: Triple
    seed: int
    optics: Microscope
    tissue: Tissue
    threads: Threads
    spots: Floats
    field: NDArray[np.float32]
    shade: NDArray[np.float32]
    cuts: tuple[NDArray[np.int64], NDArray[np.int64]]
    gains: Floats
    shifts: Floats
    voxel: tuple[float, float, float]
    tract: Tract | None


def make_axon_field(
    *,
    seed: int = 0,
    size: ArrayLike = (256, 256, 256),
    voxel_size: ArrayLike = (1.0, 0.748, 0.748),
    density: float = 2.4,
    cells: int = 1,
    arbors: str | None = None,
    arbor_scale: float | None = None,
    habit: Habit | None = None,
    tissue: Tissue | None = None,
    optics: Microscope | None = None,
) -> Specimen:
    """Draw a block of tissue with axons, as an ExA-SPIM sees it.

    Axons cross, touch, run in bundles, branch, swell into varicosities, grow dim and break off; the
    picture has noise, shadows in stripes, and tiles of other gain that are a little out of place.

    Parameters
    ----------
    seed
        The same seed and parameters give the same field, bit by bit.
    size
        Voxels (z, y, x).
    voxel_size
        [um].
    density
        Cable in a million voxels, in thousands of voxel edges of the plane: by default about one
        voxel in 200 belongs to a neurite.
    cells
        Neurons with a soma in the field.
    arbors
        Folder, archive or file of skeletons, pieces of which replace the wandering axons.
    arbor_scale
        Micrometres in a unit of these files; by default what they say.
    habit, tissue, optics
        How neurites look, what else glows, and how it is imaged.

    Returns
    -------
    Specimen
        Tables ``neurites``, ``contacts`` (crossing and touching), ``marks`` (boxes of gaps, dim
        stretches, varicosities) and ``tiles`` (boxes, gain and shift of the tiles).

    Raises
    ------
    ParameterError
        If such a field cannot be made.
    """
    shape, voxel = checked(seed, size, voxel_size, smallest=(16, 32, 32))
    habit, tissue, optics = habit or Habit(), tissue or Tissue(), optics or OPTICS
    extent = (np.asarray(shape) - 1) * voxel
    bed = Bed(extent, SPACE, habit, np.random.default_rng([seed, 11]))
    wanted = density * 1000 * float(np.prod(shape)) / 1e6 * voxel[2]
    stream = np.random.default_rng([seed, 12, 6])
    tract = draw_tract(extent, stream) if tissue.tract > 0 else None
    fill(bed, wanted, cells=cells, arbors=arbors, arbor_scale=arbor_scale, tract=tract)
    scene = field_scene(
        bed.fibres, shape, voxel, seed=seed, tissue=tissue, optics=optics, tract=tract
    )
    grid = Affine.from_scale(voxel, target=SPACE)
    making = {"seed": seed, "shape": shape, "voxel_size_um": voxel, "density": density}
    making |= {"cells": cells, "arbors": arbors, "arbor_scale": arbor_scale}
    making |= {"habit": plain(habit), "tissue": plain(tissue), "optics": plain(optics)}
    return Specimen(
        "axons",
        making,
        rendered(partial(render_field, scene), shape, np.uint16, grid, name="axons"),
        rendered(scene.threads.labels, shape, np.uint32, grid, kind="labels", name="neurites"),
        [fibre.skeleton for fibre in bed.fibres],
        soma_table(bed.fibres, SPACE),
        {
            "neurites": fibre_table(bed.fibres),
            "contacts": contact_table(bed.fibres, within=voxel[2]),
            "marks": mark_table(bed.marks, margin=2 * voxel[2]),
            "tiles": _tile_table(scene, voxel),
        },
    )


def fill(
    bed: Bed,
    wanted: float,
    *,
    cells: int,
    arbors: str | None,
    arbor_scale: float | None,
    uneven: float = 1.2,
    tract: Tract | None = None,
) -> None:
    """Grow neurites until a block holds so much cable [um]: cells, bundles, then single axons.

    The more `uneven`, the denser they are on one side; 0 is even. One in eight runs with a tract.
    """
    for _ in range(cells):
        bed.cell()
    source = None if arbors is None else read_arbors(arbors, scale=arbor_scale)
    tilt = uneven * bed.rng.normal(0, 1, 3)
    bundles = 1 + int(wanted / 40_000)
    for number in range(bundles if source is None else 0):
        if bed.cable < 0.3 * wanted:
            bed.bundle(number + 1, int(bed.rng.integers(4, 9)))
    for _ in range(200_000):  # neurites that miss the block leave the cable as it is
        if bed.cable >= wanted:
            return
        if source is None and tract is not None and bed.rng.random() < 0.125:
            bed.axon_along(tract)
        elif source is None:
            bed.axon(tilt=tilt, tract=tract)
        else:
            bed.arbor(*next(source))


def field_scene(
    fibres: Sequence[Fibre],
    shape: Triple,
    voxel: tuple[float, float, float],
    *,
    seed: int,
    tissue: Tissue,
    optics: Microscope,
    tract: Tract | None = None,
) -> FieldScene:
    """Draw what a field has besides its neurites; a stream of chance for each part."""
    streams = [np.random.default_rng([seed, 12, part]) for part in range(6)]
    grains = bodies(shape, streams[0])
    grains[:, 5] *= tissue.bodies
    spots = [grains, vessels(shape, streams[1])]
    if tissue.injection > 0:
        radius = tissue.injection * min(shape)
        centre = streams[2].uniform(0.2, 0.8, 3) * shape
        spots.append(np.asarray([[*centre, radius / 2, radius / 2, 4.5e5]]))
    cuts = tile_borders((shape[1], shape[2]), optics, streams[3])
    rows, columns = len(cuts[0]) - 1, len(cuts[1]) - 1
    gains = 1 + optics.gain * np.clip(streams[3].normal(0, 1, (rows, columns)), -2, 2)
    shifts = streams[4].uniform(-0.8, 0.8, (rows, columns, 3))
    shifts[0, 0] = 0
    field = np.empty(shape[1:], np.float32)
    for row, column in np.ndindex(rows, columns):
        ends = [(int(c[k]), int(c[k + 1])) for c, k in zip(cuts, (row, column), strict=True)]
        light = tile_light(ends[0], ends[1], optics, float(gains[row, column]))
        field[slice(*ends[0]), slice(*ends[1])] = light
    return FieldScene(
        shape,
        seed,
        optics,
        tissue,
        threads_of(fibres, voxel, soma_light=tissue.soma),
        np.concatenate(spots),
        field,
        shadows(shape, optics, streams[5]),
        (cuts[0], cuts[1]),
        gains,
        shifts,
        voxel,
        tract,
    )


def render_field(scene: FieldScene, box: Box) -> NDArray[np.uint16]:
    """Return the grey values of a box; the same voxels in whatever box they are rendered."""
    optics, tissue = scene.optics, scene.tissue
    wide = box.grow(1)
    light = tissue_light(scene.shape, tissue, wide, seed=scene.seed)
    if scene.tract is not None:
        light *= scene.tract.light(wide, scene.voxel, tissue.tract)
    start = np.asarray(wide.start, np.float64)
    add_spots(light, start, near(scene.spots, wide, REACH * scene.spots[:, 3]))
    spots, _ = scene.threads.spots(wide, optics)
    add_spots(light, start, _shifted(scene, spots))
    add_balls(light, start, _shifted(scene, scene.threads.balls(wide)))
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
    grey: NDArray[np.uint16] = np.rint(light).astype(np.uint16)
    return grey


def tissue_light(shape: Triple, tissue: Tissue, box: Box, *, seed: int) -> NDArray[np.float32]:
    """Return the autofluorescence of a box."""
    light = tissue.level * texture_of(box, tissue.textures, seed=seed)
    for axis, slope in enumerate(tissue.slope):
        at = (np.arange(box.start[axis], box.stop[axis]) + 0.5) / shape[axis] - 0.5
        form = [1, 1, 1]
        form[axis] = -1
        light = light * (1 + slope * at).astype(np.float32).reshape(form)
    return light.astype(np.float32)


def _shifted(scene: FieldScene, items: Floats) -> Floats:
    """Return items where their tile shows them."""
    row, column = (
        np.searchsorted(cut[1:-1], items[:, axis], side="right")
        for cut, axis in zip(scene.cuts, (1, 2), strict=True)
    )
    moved = items.copy()
    moved[:, :3] += scene.shifts[row, column]
    return moved


def _tile_table(scene: FieldScene, voxel: tuple[float, float, float]) -> pd.DataFrame:
    """Return box, gain and shift of each tile."""
    rows = []
    depth = scene.shape[0]
    for row, column in np.ndindex(*scene.gains.shape):
        low = (0, scene.cuts[0][row], scene.cuts[1][column])
        high = (depth, scene.cuts[0][row + 1], scene.cuts[1][column + 1])
        line = {"gain": float(scene.gains[row, column])}
        for axis, name in enumerate("zyx"):
            line[f"{name}0_um"] = (float(low[axis]) - 0.5) * voxel[axis]
            line[f"{name}1_um"] = (float(high[axis]) - 0.5) * voxel[axis]
            line[f"{name}_shift_um"] = float(scene.shifts[row, column, axis]) * voxel[axis]
        rows.append(line)
    return pd.DataFrame(rows)
