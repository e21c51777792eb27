"""Neurites as a microscope draws them: edges that become Gaussians and balls box by box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Box
from projectome.datasets.phantom_fibres import Fibre
from projectome.datasets.phantom_image import Microscope
from projectome.datasets.phantom_kernels import HALO, REACH, lattice, mark, near, sample

Floats = NDArray[np.float64]
FINE = 0.4
"""Distance of the Gaussians along a neurite [voxels]."""
THINNEST = 0.9
"""Least radius of a neurite in the labels [voxels]."""
Texture = tuple[float, float, float]
"""Distance of nodes along z and in the plane [voxels], and relative contrast."""


@dataclass(frozen=True, slots=True, eq=False)
class Threads:
    """E edges of neurites, and S somata, in voxels.

    Attributes
    ----------
    edges
        None longer than a few voxels; shape (E, 2, 5): both ends, z, y, x, radius and brightness.
    owner
        Shape (E,): number of the neurite.
    somata
        Shape (S, 5): z, y, x, radius, brightness.
    cells
        Shape (S,): number of the neurite.
    aspect
        Length of a voxel along z over that in the plane.
    """

    edges: Floats
    owner: NDArray[np.int64]
    somata: Floats
    cells: NDArray[np.int64]
    aspect: float

    def near(self, box: Box, margin: float) -> tuple[Floats, NDArray[np.int64]]:
        """Return the pieces of neurites (M, 6) that may touch a box, and their neurites.

        The pieces have z, y, x, radius, brightness and length.
        """
        low = np.asarray(box.start) - margin
        high = np.asarray(box.stop) - 1 + margin
        place = self.edges[:, :, :3]
        inside = np.all((place >= low) & (place <= high), axis=2)
        chosen = np.flatnonzero(inside[:, 0] | inside[:, 1])
        ends = self.edges[chosen]
        length = np.linalg.norm(ends[:, 1, :3] - ends[:, 0, :3], axis=1)
        count = np.maximum(1, np.ceil(length / FINE)).astype(np.int64)
        edge = np.repeat(np.arange(len(chosen)), count)
        within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        t = ((within + 0.5) / count[edge])[:, None]
        pieces = (1 - t) * ends[edge, 0] + t * ends[edge, 1]
        pieces = np.column_stack([pieces, (length / count)[edge]])
        return pieces, self.owner[chosen][edge]

    def spots(self, box: Box, optics: Microscope) -> tuple[Floats, NDArray[np.int64]]:
        """Return the Gaussians near a box (`phantom_kernels.add_spots`) and their neurites."""
        pieces, owner = self.near(box, REACH * (optics.psf[0] + 4))
        axial, lateral = (np.sqrt(sigma**2 + pieces[:, 3] ** 2 / 4) for sigma in optics.psf)
        # A chain of Gaussians along x peaks at the level of the neurite, once blurred.
        loss = np.prod([sigma / np.sqrt(sigma**2 + 2 * optics.blur) for sigma in optics.psf])
        peak = pieces[:, 4] * pieces[:, 5] / (np.sqrt(2 * np.pi) * lateral) / loss
        return np.column_stack([pieces[:, :3], axial, lateral, peak]), owner

    def balls(self, box: Box) -> Floats:
        """Return the somata near a box (`phantom_kernels.add_balls`)."""
        return near(self.somata, box, self.somata[:, 3] + HALO)

    def labels(self, box: Box, *, swell: float = 1.0) -> NDArray[np.uint32]:
        """Return the number of the neurite at each voxel of a box; 0 where there is none.

        A voxel belongs to a neurite if it lies within the radius times `swell`, but at least
        `THINNEST`, of the centre line; to the relatively nearer one of several.
        """
        reach = max(1.0, 1 / self.aspect)
        thickest = float(self.edges[:, :, 3].max(initial=0.0)) * swell + THINNEST
        pieces, owner = self.near(box, thickest * reach + 1)
        somata = np.column_stack([self.somata[:, :4], self.cells])
        tubes = np.column_stack([pieces[:, :4], owner])
        # The nodes themselves too, so that each lies in a voxel with a label.
        nodes = np.column_stack([self.edges.reshape(-1, 5)[:, :4], np.repeat(self.owner, 2)])
        tubes = np.concatenate([tubes, near(nodes, box, np.full(len(nodes), thickest * reach + 1))])
        tubes[:, 3] = np.maximum(tubes[:, 3] * swell, THINNEST)
        marks = np.concatenate([somata, tubes])
        marks = near(marks, box, marks[:, 3] * reach + 1)
        found: NDArray[np.uint32] = mark(np.asarray(box.start), box.shape, marks, self.aspect)
        return found


def threads_of(
    fibres: Sequence[Fibre], voxel_size: tuple[float, float, float], *, soma_light: float
) -> Threads:
    """Return neurites in voxels; radii are in voxels of the plane, somata `soma_light` bright."""
    size = np.asarray(voxel_size)
    edges: list[Floats] = [np.empty((0, 2, 5))]
    owner: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    somata: list[tuple[float, ...]] = []
    cells = []
    for fibre in fibres:
        tree = fibre.skeleton
        assert tree.radius is not None
        nodes, parents = tree.edges.T
        if fibre.has_soma:
            # What leaves a soma is as wide and bright there as at its own first node.
            source = np.where(parents == 0, nodes, parents)
            place = tree.coordinates[0] / size
            somata.append((*place, float(tree.radius[0]) / size[2], soma_light))
            cells.append(fibre.id)
        else:
            source = parents
        look = np.column_stack([tree.radius / size[2], fibre.brightness * fibre.level])
        xyz = tree.coordinates / size
        start = np.column_stack([xyz[parents], look[source]])
        edges.append(np.stack([start, np.column_stack([xyz[nodes], look[nodes]])], axis=1))
        owner.append(np.full(len(nodes), fibre.id))
    return Threads(
        np.concatenate(edges),
        np.concatenate(owner),
        np.asarray(somata, np.float64).reshape(-1, 5),
        np.asarray(cells, np.int64),
        float(size[0] / size[2]),
    )


def texture_of(box: Box, textures: Sequence[Texture], *, seed: int) -> NDArray[np.float32]:
    """Return a sum of smooth textures around 1, at least 0.15, in a box."""
    out = np.ones(box.shape, np.float32)
    for number, (axial, lateral, contrast) in enumerate(textures):
        pitch = np.asarray((axial, lateral, lateral))
        # Linear between its nodes, a lattice has half the variance in the middle of them; so much
        # more contrast makes up for it.
        low = np.floor(np.asarray(box.start) / pitch).astype(np.int64)
        high = np.floor((np.asarray(box.stop) - 1) / pitch).astype(np.int64) + 2
        shape = tuple(int(n) for n in high - low)
        nodes = lattice(np.uint64(1000 * seed + number), low, shape)
        axes = [
            np.arange(a, b) / p - first
            for a, b, p, first in zip(box.start, box.stop, pitch, low, strict=True)
        ]
        out += np.float32(1.5 * contrast) * sample(nodes, *axes)
    return np.maximum(out, np.float32(0.15))
