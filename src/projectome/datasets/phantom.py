"""The phantom: a small brain with projection neurons whose truth is known.

`make_phantom` draws one from a seed. Its image, labels and atlas are lazy volumes that compute any
box when it is read, so that it can be used without a file, or put on disk with
`projectome.datasets.phantom_files.write_phantom`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine
from projectome.core.atlas import Atlas
from projectome.core.box import Box, Triple, triple
from projectome.core.points import Points
from projectome.core.skeleton import AXON, Skeleton
from projectome.core.space import Space
from projectome.core.volume import Array, Volume
from projectome.datasets.phantom_atlas import Anatomy
from projectome.datasets.phantom_image import COARSE, Microscope, atlas_grid, image_grid, make_scene
from projectome.datasets.phantom_neurons import Neuron, grow_neurons
from projectome.datasets.phantom_regions import region_ids, terminology
from projectome.datasets.phantom_render import render, render_labels, render_template
from projectome.datasets.phantom_volume import rendered
from projectome.errors import ParameterError, UnknownNameError

PRESETS: dict[str, tuple[Triple, int]] = {
    "tiny": ((144, 104, 144), 3),
    "small": ((224, 160, 224), 6),
    "demo": ((416, 288, 416), 16),
}
"""Voxels (z, y, x) and number of neurons of each size."""
RESOLUTION = 0.5
"""Longest piece of cable that is looked up as one when regions are assigned [um]."""
SMALLEST = 64


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A brain whose neurons are known; everything lies in one space, micrometres of tissue.

    Attributes
    ----------
    seed, shape, voxel_size, microscope
        What it was made from, together with the number of neurons.
    anatomy
        The brain in closed form.
    neurons
        The truth.
    image
        What the microscope sees; uint16.
    labels
        Number of the neuron at each voxel, 0 for none; uint32.
    atlas
        Regions, template and midline, on a grid of half the resolution.
    """

    seed: int
    shape: Triple
    voxel_size: float
    microscope: Microscope
    anatomy: Anatomy
    neurons: tuple[Neuron, ...]
    image: Volume
    labels: Volume
    atlas: Atlas

    @property
    def space(self) -> Space:
        """What the micrometres mean."""
        return self.image.space

    @property
    def skeletons(self) -> list[Skeleton]:
        """The neurons as trees, each rooted at its soma."""
        return [neuron.skeleton for neuron in self.neurons]

    @property
    def cable_length(self) -> float:
        """Length of all neurites [um]."""
        return sum(skeleton.cable_length for skeleton in self.skeletons)

    @property
    def somata(self) -> Points:
        """The somata.

        Columns ``id`` (of the neuron), ``radius_um``, ``region_id``, ``hemisphere``,
        ``projection`` (its class, see `phantom_neurons.PLAN`), ``source`` and ``target`` (acronyms
        of areas).
        """
        places = np.asarray([neuron.soma for neuron in self.neurons]).reshape(-1, 3)
        columns: dict[str, Array] = {
            "id": np.asarray([n.id for n in self.neurons], np.int64),
            "radius_um": np.asarray([n.soma_radius for n in self.neurons], np.float64),
            "region_id": np.asarray([n.region_id for n in self.neurons], np.int64),
            "hemisphere": self.anatomy.midline.hemisphere(places),
            "projection": np.asarray([n.projection for n in self.neurons], np.str_),
            "source": np.asarray([n.source for n in self.neurons], np.str_),
            "target": np.asarray([n.target for n in self.neurons], np.str_),
        }
        return Points(places, self.space, columns)

    @property
    def projections(self) -> pd.DataFrame:
        """Length and terminals of each neuron by region.

        Columns ``neuron``, ``region_id`` (that of the annotation's voxel; 0 where the pia cuts a
        voxel), ``hemisphere`` (1 left, 2 right), ``kind`` (``axon`` or ``dendrite``),
        ``length_um`` and ``terminals``. The lengths of a neuron sum to its cable length.
        """
        tables = [_regions_of(n, self.atlas.annotation.affine, self.anatomy) for n in self.neurons]
        keys = ["neuron", "region_id", "hemisphere", "kind"]
        return pd.concat(tables).groupby(keys, as_index=False)[["length_um", "terminals"]].sum()


def make_phantom(
    *,
    seed: int = 0,
    size: str | ArrayLike = "demo",
    voxel_size: float = 4.0,
    neurons: int | None = None,
    microscope: Microscope | None = None,
) -> Phantom:
    """Draw a phantom brain.

    Parameters
    ----------
    seed
        The same seed and parameters give the same phantom, bit by bit.
    size
        ``"tiny"``, ``"small"`` or ``"demo"`` (see `PRESETS`), or voxels an axis (z, y, x). The
        brain fills the volume; dendrites and arbors shrink with it, somata hardly.
    voxel_size
        Edge of the isotropic voxels [um].
    neurons
        How many; by the preset if None, or about one in 3 million voxels.
    microscope
        How it is imaged.

    Returns
    -------
    Phantom
        Axes run toward posterior, inferior and right.

    Raises
    ------
    ParameterError
        If the volume is too small, or the neurons do not fit.
    UnknownNameError
        If there is no such preset.
    """
    shape, count = _size(size)
    count = count if neurons is None else neurons
    if seed < 0 or count < 1 or not 0.1 <= voxel_size <= 50:
        raise ParameterError(
            f"A phantom needs a seed of 0 or more, at least one neuron and voxels of 0.1 to 50 um; "
            f"not seed={seed}, neurons={count}, voxel_size={voxel_size}."
        )
    optics = microscope or Microscope()
    anatomy = anatomy_of(shape, voxel_size)
    grown = tuple(grow_neurons(anatomy, count, seed=seed, voxel_size=voxel_size))
    scene = make_scene(
        anatomy, grown, shape=shape, voxel_size=voxel_size, seed=seed, microscope=optics
    )
    fine = image_grid(voxel_size)
    return Phantom(
        seed=seed,
        shape=shape,
        voxel_size=float(voxel_size),
        microscope=optics,
        anatomy=anatomy,
        neurons=grown,
        image=rendered(partial(render, scene), shape, np.uint16, fine, name="phantom"),
        labels=rendered(
            partial(render_labels, scene), shape, np.uint32, fine, kind="labels", name="neurons"
        ),
        atlas=phantom_atlas(size=shape, voxel_size=voxel_size),
    )


def phantom_atlas(*, size: str | ArrayLike = "demo", voxel_size: float = 4.0) -> Atlas:
    """Return the atlas of the phantoms of a size, without growing their neurons.

    Parameters
    ----------
    size, voxel_size
        As for `make_phantom`.

    Returns
    -------
    Atlas
        Its voxels are twice as large as those of the phantom.

    Raises
    ------
    ParameterError
        If the volume is too small.
    UnknownNameError
        If there is no such preset.
    """
    shape = _size(size)[0]
    anatomy = anatomy_of(shape, voxel_size)
    grid = atlas_grid(voxel_size)
    coarse = triple(-(-np.asarray(shape) // COARSE))
    regions = partial(_annotate, anatomy, grid)
    template = partial(render_template, anatomy, voxel_size)
    return Atlas(
        "phantom",
        terminology(),
        rendered(regions, coarse, np.uint32, grid, kind="labels", name="regions"),
        rendered(template, coarse, np.uint16, grid, name="template"),
        anatomy.midline,
    )


def anatomy_of(shape: Triple, voxel_size: float) -> Anatomy:
    """Return the brain that fills a volume; axes run toward posterior, inferior and right."""
    extent = (np.asarray(shape) - 1) * voxel_size
    # The brain does not sit exactly in the middle, nor does its midline.
    centre = extent / 2 + np.asarray((0.0, 0.0, 2.5)) * voxel_size
    half = extent * (0.463, 0.408, 0.42)
    return Anatomy(
        (float(centre[0]), float(centre[1]), float(centre[2])),
        (float(half[0]), float(half[1]), float(half[2])),
    )


def _size(size: str | ArrayLike) -> tuple[Triple, int]:
    """Return the shape and the usual number of neurons."""
    if isinstance(size, str):
        if size not in PRESETS:
            raise UnknownNameError("size of a phantom", size, PRESETS)
        return PRESETS[size]
    shape = triple(size, name="size")
    if min(shape) < SMALLEST:
        raise ParameterError(
            f"A phantom needs {SMALLEST} voxels an axis or more, not {shape}; the preset 'tiny' "
            f"has {PRESETS['tiny'][0]}."
        )
    return shape, max(1, round(int(np.prod(shape)) / 3e6))


def _annotate(anatomy: Anatomy, grid: Affine, box: Box) -> NDArray[np.uint32]:
    """Return the region ids of a box of the atlas grid."""
    return region_ids()[anatomy.codes_on(grid, box.start, box.shape)]


def _regions_of(neuron: Neuron, grid: Affine, anatomy: Anatomy) -> pd.DataFrame:
    """Return pieces of cable and terminals of a neuron with the regions they lie in."""
    skeleton = neuron.skeleton
    assert skeleton.kind is not None
    nodes, parents = skeleton.edges.T
    count = np.maximum(1, np.ceil(skeleton.lengths[nodes] / RESOLUTION)).astype(int)
    edge = np.repeat(np.arange(len(nodes)), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    t = ((within + 0.5) / count[edge])[:, None]
    xyz = skeleton.coordinates
    ends = skeleton.ends[skeleton.ends > 0]
    places = np.concatenate([(1 - t) * xyz[parents[edge]] + t * xyz[nodes[edge]], xyz[ends]])
    voxels = np.rint((places - grid.translation) / grid.voxel_size)
    codes = anatomy.codes_at(voxels * grid.voxel_size + grid.translation)
    is_axon = skeleton.kind[np.concatenate([nodes[edge], ends])] == AXON
    length = np.concatenate([(skeleton.lengths[nodes] / count)[edge], np.zeros(len(ends))])
    return pd.DataFrame(
        {
            "neuron": neuron.id,
            "region_id": region_ids()[codes].astype(np.int64),
            "hemisphere": anatomy.midline.hemisphere(places),
            "kind": np.where(is_axon, "axon", "dendrite"),
            "length_um": length,
            "terminals": np.repeat([0, 1], [len(edge), len(ends)]),
        }
    )
