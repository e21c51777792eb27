"""What a light-sheet microscope would see of the phantom.

Signal: autofluorescence by region with two scales of texture, faint round bodies, dark vessels,
specks, neurites as chains of Gaussians (closed form of a line blurred by an anisotropic point
spread function) and somata. Then, tile by tile, gain and vignetting; shadows along the light
sheet; Poisson and read noise, camera offset and saturation; a slight blur as by the interpolation
of fusion, which correlates neighbouring noise; and zeros where no tile reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from projectome.core.affine import Affine
from projectome.core.box import Triple
from projectome.datasets.phantom_atlas import SPACE, Anatomy
from projectome.datasets.phantom_neurons import Neuron

PITCH = (3, 24)
"""Voxels between the nodes of the two textures."""
COARSE = 2
"""Voxels of the image along a voxel of the atlas."""


@dataclass(frozen=True, slots=True)
class Microscope:
    """How the phantom is imaged.

    Attributes
    ----------
    psf
        Standard deviations of the point spread function, axial and lateral [voxels].
    offset, saturation
        Grey values of no light and of a full pixel.
    electron
        Grey values a photo-electron; a larger one means fewer photons and more shot noise.
    read_noise
        Standard deviation of the camera's own noise [grey values].
    blur
        Share of its value that fusion gives to each neighbour along an axis, 0 to 0.33.
    texture
        Relative contrast of the fine and the coarse texture of the tissue.
    tile
        About how many voxels a tile has along y and x.
    gain
        Relative standard deviation of the brightness of tiles.
    vignetting
        Relative loss of light in the corners of a tile.
    shadows
        Shadows of the light sheet in a million voxels of a sagittal section.
    """

    psf: tuple[float, float] = (1.4, 0.65)
    offset: float = 100.0
    saturation: float = 65535.0
    electron: float = 16.0
    read_noise: float = 30.0
    blur: float = 0.15
    texture: tuple[float, float] = (0.03, 0.12)
    tile: int = 100
    gain: float = 0.05
    vignetting: float = 0.15
    shadows: float = 1500.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that is drawn once for a whole phantom; see `phantom_render`.

    Attributes
    ----------
    anatomy, shape, voxel_size, seed, microscope
        What is imaged, and how.
    spots
        Shape (M, 6): z, y, x, axial and lateral standard deviation [voxels], peak; in a fixed
        order.
    marks
        Shape (K, 5): z, y, x, radius [voxels] and number of the neuron, for labels.
    somata
        Shape (S, 5): z, y, x, radius [voxels], brightness.
    textures
        Two lattices of standard normal values, nodes `PITCH` voxels apart.
    field
        Shape (Y, X): gain and vignetting of the tile that covers a pixel; 0 where none does.
    planes
        Shape (2, Y, X): first plane that the tile covers, and one past the last.
    shade
        Shape (2, Z, Y): light left by shadows in the left and the right half.
    """

    anatomy: Anatomy
    shape: Triple
    voxel_size: float
    seed: int
    microscope: Microscope
    spots: NDArray[np.float64]
    marks: NDArray[np.float64]
    somata: NDArray[np.float64]
    textures: tuple[NDArray[np.float32], NDArray[np.float32]]
    field: NDArray[np.float32]
    planes: NDArray[np.int64]
    shade: NDArray[np.float32]


def image_grid(voxel_size: float) -> Affine:
    """Return the grid of the image: isotropic voxels, the centre of the first one at 0."""
    return Affine.from_scale((voxel_size,) * 3, target=SPACE)


def atlas_grid(voxel_size: float) -> Affine:
    """Return the grid of the atlas: each voxel covers two voxels of the image along each axis."""
    edge = COARSE * voxel_size
    return Affine.from_scale((edge,) * 3, ((edge - voxel_size) / 2,) * 3, target=SPACE)


def make_scene(
    anatomy: Anatomy,
    neurons: Sequence[Neuron],
    *,
    shape: Triple,
    voxel_size: float,
    seed: int,
    microscope: Microscope,
) -> Scene:
    """Draw what the whole phantom shares: structures, textures, tiles and shadows.

    Parameters
    ----------
    anatomy, neurons
        What is imaged; the centre of voxel 0 is at 0.
    shape, voxel_size
        The grid (z, y, x) and its isotropic voxels [um].
    seed
        Same seed, same scene.
    microscope
        How it is imaged.
    """
    # A stream for each part: more neurons do not change the tissue.
    streams = [np.random.default_rng([seed, 3, part]) for part in range(6)]
    threads = [_thread(neuron, voxel_size, microscope) for neuron in neurons]
    somata = [
        (
            *(neuron.soma / voxel_size),
            neuron.soma_radius / voxel_size,
            streams[0].uniform(9e4, 16e4),
        )
        for neuron in neurons
    ]
    spots = [
        *(spots for spots, _ in threads),
        *(
            spots[anatomy.codes_at(spots[:, :3] * voxel_size) > 0]
            for spots in (bodies(shape, streams[1]), vessels(shape, streams[2]))
        ),
    ]
    textures = [
        streams[3].standard_normal(tuple(n // pitch + 3 for n in shape), dtype=np.float32)
        for pitch in PITCH
    ]
    field, planes = tiles(shape, microscope, streams[4])
    return Scene(
        anatomy,
        shape,
        voxel_size,
        seed,
        microscope,
        np.concatenate(spots),
        np.concatenate([*(marks for _, marks in threads), np.empty((0, 5))]),
        np.asarray(somata).reshape(-1, 5),
        (textures[0], textures[1]),
        field,
        planes,
        shadows(shape, microscope, streams[5]),
    )


def _thread(
    neuron: Neuron, voxel_size: float, optics: Microscope
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spots and marks of one neuron, at most 0.4 voxels apart."""
    skeleton = neuron.skeleton
    assert skeleton.radius is not None
    nodes, parents = skeleton.edges.T
    count = np.maximum(1, np.ceil(skeleton.lengths[nodes] / (0.4 * voxel_size))).astype(int)
    edge = np.repeat(np.arange(len(nodes)), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    t = ((within + 0.5) / count[edge])[:, None]
    # The run that leaves the soma starts with the values of its own first node.
    source = np.where(parents == 0, nodes, parents)
    xyz = skeleton.coordinates / voxel_size
    values = np.stack([skeleton.radius / voxel_size, neuron.brightness], axis=1)
    place = (1 - t) * xyz[parents][edge] + t * xyz[nodes][edge]
    radius, bright = ((1 - t) * values[source][edge] + t * values[nodes][edge]).T
    axial, lateral = (np.sqrt(sigma**2 + radius**2 / 4) for sigma in optics.psf)
    spacing = skeleton.lengths[nodes][edge] / count[edge] / voxel_size
    # A chain of Gaussians along x peaks at the level of the neuron, once blurred.
    loss = np.prod([sigma / np.sqrt(sigma**2 + 2 * optics.blur) for sigma in optics.psf])
    peak = neuron.level * bright * spacing / (np.sqrt(2 * np.pi) * lateral) / loss
    spots = np.column_stack([place, axial, lateral, peak])
    own = np.full(len(place), neuron.id)
    marks = np.column_stack([place, np.maximum(radius, 0.9), own])
    soma = np.asarray([[*xyz[0], neuron.soma_radius / voxel_size, neuron.id]])
    return spots, np.concatenate([soma, marks])


def bodies(shape: Triple, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return faint round bodies all over a volume, and a few bright specks."""
    count = int(np.prod(shape)) // 1500
    place = rng.uniform(0, 1, (count, 3)) * (np.asarray(shape) - 1)
    sigma = rng.uniform(0.9, 2.2, count)
    peak = 60 * np.exp(rng.normal(0.7, 0.6, count))
    speck = rng.random(count) < 0.004
    sigma[speck], peak[speck] = 0.9, rng.uniform(800, 5000, speck.sum())
    return np.column_stack([place, sigma + 0.6, sigma, peak])


def vessels(shape: Triple, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return dark winding tubes."""
    tubes = [np.empty((0, 6))]
    for _ in range(int(np.prod(shape)) // 250_000):
        length = int(rng.integers(30, 140))
        start = rng.uniform(0.1, 0.9, 3) * shape
        way = rng.normal(0, 1, 3) + gaussian_filter1d(rng.normal(0, 6, (length, 3)), 9, axis=0)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        width = rng.uniform(0.7, 1.8)
        place = start + np.cumsum(way, axis=0)
        peak = -420.0 / (np.sqrt(2 * np.pi) * width)
        sizes = np.broadcast_to((width + 0.5, width, peak), (length, 3))
        tubes.append(np.column_stack([place, sizes]))
    return np.concatenate(tubes)


def tiles(
    shape: Triple, optics: Microscope, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return what the tiles do to each pixel, and the planes they cover."""
    depth, height, width = shape
    field = np.zeros((height, width), dtype=np.float32)
    planes = np.zeros((2, height, width), dtype=np.int64)
    cuts = tile_borders((height, width), optics, rng)
    for row, (top, bottom) in enumerate(zip(cuts[0], cuts[0][1:], strict=False)):
        for column, (left, right) in enumerate(zip(cuts[1], cuts[1][1:], strict=False)):
            y, x = np.ogrid[top:bottom, left:right]
            gain = 1 + optics.gain * float(np.clip(rng.normal(), -2, 2))
            # Tiles are not quite where they should be: their outer edges leave zeros.
            pads = rng.integers(2, 6, 6)
            inside = np.ones((bottom - top, right - left), dtype=bool)
            inside &= (y >= pads[0]) if row == 0 else True
            inside &= (x >= pads[1]) if column == 0 else True
            inside &= (y < height - pads[2]) if bottom == height else True
            inside &= (x < width - pads[3]) if right == width else True
            light = tile_light((top, bottom), (left, right), optics, gain)
            field[top:bottom, left:right] = inside * light
            planes[0, top:bottom, left:right] = np.where(inside, pads[4], depth)
            planes[1, top:bottom, left:right] = np.where(inside, depth - pads[5], 0)
    return field, planes


def tile_borders(
    shape: tuple[int, int], optics: Microscope, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return where tiles begin along y and x, and the end of the last."""
    cuts = []
    for length in shape:
        count = max(1, round(length / optics.tile))
        edges = np.linspace(0, length, count + 1)
        edges[1:-1] += rng.uniform(-0.15, 0.15, count - 1) * length / count
        cuts.append(np.round(edges).astype(np.int64))
    return cuts


def tile_light(
    rows: tuple[int, int], columns: tuple[int, int], optics: Microscope, gain: float
) -> NDArray[np.float64]:
    """Return gain and vignetting of a tile at each of its pixels."""
    (top, bottom), (left, right) = rows, columns
    y, x = np.ogrid[top:bottom, left:right]
    far: NDArray[np.float64] = ((y - (top + bottom) / 2) * 2 / (bottom - top)) ** 2
    far = (far + ((x - (left + right) / 2) * 2 / (right - left)) ** 2) / 2
    return gain * (1 - optics.vignetting * far)


def shadows(shape: Triple, optics: Microscope, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the light that shadows leave, by half, plane and row."""
    depth, height, _ = shape
    shade = np.ones((2, depth, height))
    for _ in range(round(2 * optics.shadows * depth * height / 1e6)):
        half = int(rng.integers(2))
        centre, sigma = rng.uniform(0, (depth, height)), rng.uniform((2, 0.8), (10, 2.5))
        dark = rng.uniform(0.08, 0.40)
        low = np.maximum(0, np.floor(centre - 4 * sigma)).astype(int)
        z, y = np.ogrid[
            low[0] : min(depth, int(centre[0] + 4 * sigma[0]) + 1),
            low[1] : min(height, int(centre[1] + 4 * sigma[1]) + 1),
        ]
        far = ((z - centre[0]) / sigma[0]) ** 2 + ((y - centre[1]) / sigma[1]) ** 2
        shade[half, z, y] *= 1 - dark * np.exp(-far / 2)
    return shade.astype(np.float32)
