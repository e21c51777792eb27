"""Regions and the midline of an atlas as places in an image: what to look at, and left from right.

The way between the two is a registration; an image that lies in the atlas needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.atlas.kept import kept_region_table
from projectome.atlas.regions import find_region
from projectome.core.atlas import Atlas
from projectome.core.box import Box, triple
from projectome.core.transform import Transform
from projectome.core.view import crop
from projectome.core.volume import Array, LazyArray, OverArray, Volume
from projectome.errors import OrientationUnknownError, ParameterError, ShapeError
from projectome.imaging.across import gather
from projectome.imaging.projection import AxisName, centres
from projectome.imaging.resample import resample
from projectome.io.source import VolumeSource
from projectome.registration.files import Saved
from projectome.registration.overlay import Lattice, Overlay
from projectome.workflows.figures import picture_level
from projectome.workflows.regions import image_in_atlas, laid_over

SAMPLED = 300_000
"""Voxels of a region that tell where it lies in an image."""
OUTLINE = 240
"""Voxels along the longest side of the grid on which outlines are drawn."""
GATHERED = 2**25
"""Voxels from which profiles are taken, at most, where no level is asked for."""
SIDEWAYS = ("left", "right")

SpaceName = Literal["image", "atlas"]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An image and the atlas over it.

    Attributes
    ----------
    image
        The level, or the part of it, to look at; in the space of the scan.
    level
        Its number.
    way
        From its space into the atlas.
    atlas
        The atlas itself.
    regions
        Ids of what is looked at, all that lies in it included; empty for everything.
    """

    image: Volume
    level: int
    way: Transform
    atlas: Atlas
    regions: NDArray[np.int64]

    def overlay(self, voxels: int = 0) -> Overlay:
        """Return the atlas on the grid of the image, or on one of so many voxels a side."""
        if not voxels:
            return laid_over(self.image, self.atlas, self.way)
        extent = np.multiply(self.image.shape, self.image.voxel_size)
        size = np.maximum(self.image.voxel_size, extent.max() / voxels)
        return laid_over(resample(self.image, size), self.atlas, self.way)


@dataclass(frozen=True, slots=True, eq=False)
class Masked(OverArray):
    """An array that is 0 outside some labels.

    Attributes
    ----------
    array
        The values.
    labels
        On the same grid.
    kept
        Labels where values stay, sorted.
    """

    array: LazyArray
    labels: Volume
    kept: NDArray[np.int64]

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        values = np.array(self.array.read(index))
        values[~among(self.labels.array.read(index), self.kept)] = 0
        return values


def among(labels: Array, kept: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which labels are among some, by looking at each different one once."""
    seen, back = np.unique(labels, return_inverse=True)
    return np.isin(seen.astype(np.int64), kept)[back].reshape(labels.shape)


def find_place(
    source: VolumeSource,
    atlas: Atlas,
    regions: Sequence[int | str] = (),
    *,
    registration: Saved | None = None,
    ccf: bool = False,
    margin_um: float = 0.0,
    level: int | None = None,
) -> Place:
    """Return the part of an image in which regions lie.

    Parameters
    ----------
    source
        The image.
    atlas
        On the level to use.
    regions
        Acronyms, ids or names; the whole image if empty.
    registration, ccf
        As for `projectome.workflows.regions.region_contents`.
    margin_um
        Around them [um of the image].
    level
        Of the image; the coarsest that fills a picture if None.

    Raises
    ------
    UnknownNameError
        If there is no such region.
    SpaceMismatchError
        If the image does not fit the registration or the atlas.
    ShapeError
        If the regions have no voxel, or lie outside the image.
    """
    base = replace(source, level=0)
    finest, way = image_in_atlas(base, atlas, registration=registration, ccf=ccf)
    tree = atlas.terminology
    rows = [find_region(tree, region, where=atlas.name) for region in regions]
    ids = np.unique([int(i) for row in rows for i in tree.descendants(int(tree.ids[row]))])
    part: Box | None = None
    if rows:
        low, high = _reach(atlas, ids, way, ", ".join(tree.acronyms[r] for r in rows))
        part = finest.voxel_box(low - margin_um, high + margin_um)
        if not part.size:
            raise ShapeError(
                f"{', '.join(map(str, regions))} lies from {low.round()} to {high.round()} um "
                f"(z, y, x), outside {source.url}. Is it a part of the brain without it?"
            )
    number = picture_level(base, part) if level is None else level
    image, way = image_in_atlas(
        replace(base, level=number), atlas, registration=registration, ccf=ccf
    )
    if part is not None:
        image = crop(image, _same_part(finest, part, image))
    return Place(image, number, way, atlas, ids.astype(np.int64))


def _same_part(finest: Volume, part: Box, level: Volume) -> Box:
    """Return the voxels of a level that a box of the finest one reaches into."""
    corners = np.stack([part.start, part.stop]) - 0.5
    index = level.affine.inverse()(finest.affine(corners))
    shape = np.asarray(level.shape)
    low = np.clip(np.floor(index[0] + 0.5 + 1e-6), 0, shape - 1).astype(int)
    high = np.clip(np.ceil(index[1] + 0.5 - 1e-6), low + 1, shape).astype(int)
    return Box(triple(low), triple(high))


def _reach(
    atlas: Atlas, ids: NDArray[np.int64], way: Transform, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of regions in the space that a transform comes from [um]."""
    frame = kept_region_table(atlas).frame(ids.tolist())
    frame = frame[frame["own_voxels"] > 0]
    if not len(frame):
        raise ShapeError(
            f"{name} has no voxel in {atlas.name}: it is in the tree of regions alone. Take the "
            "region around it."
        )
    low = frame[["z0_um", "y0_um", "x0_um"]].min().to_numpy(np.float64)
    high = frame[["z1_um", "y1_um", "x1_um"]].max().to_numpy(np.float64)
    size = np.asarray(atlas.annotation.voxel_size)
    box = atlas.annotation.voxel_box(low + size / 4, high - size / 4)
    inside = np.argwhere(among(atlas.annotation.read(box), ids)) + np.asarray(box.start)
    step = max(1, len(inside) // SAMPLED)
    # Voxels left out, and halves of those taken, lie within so much of one that is there.
    reach = size * (0.5 + np.cbrt(step) * (step > 1))
    places = atlas.annotation.affine(inside[::step])
    back = way.inverse()
    ends = np.concatenate([back(places - reach), back(places + reach)])
    return ends.min(axis=0), ends.max(axis=0)


def only_regions(place: Place) -> Volume:
    """Return the image of a place with all voxels outside its regions 0."""
    laid = place.overlay().atlas
    masked = Masked(place.image.array, laid.annotation, place.regions)
    return replace(place.image, array=masked)


def outline(place: Place, axis: AxisName) -> NDArray[np.bool_]:
    """Return where the regions of a place lie when seen along an axis.

    Returns
    -------
    numpy.ndarray of bool
        Rows and columns as of `projectome.imaging.projection.Projection`, over the extent of the
        image.
    """
    labels = place.overlay(OUTLINE).atlas.annotation.read()
    seen = np.asarray(among(labels, place.regions).any(axis="zyx".index(axis)))
    return seen.T if axis == "x" else seen


def midline_profile(
    place: Place,
    *,
    space: SpaceName = "image",
    step_um: float = 0.0,
    percentiles: Sequence[float] = (1, 50, 99),
) -> pd.DataFrame:
    """Return the intensity from left to right across the midline.

    Parameters
    ----------
    place
        What is measured; only voxels of its regions count, all if it has none.
    space
        ``"image"``: plane by plane across the axis of the image that runs from side to side;
        ``"atlas"``: by the distance to the midline in the atlas.
    step_um
        Width of a bin in the atlas [um]; that of its voxels if 0.
    percentiles
        Which percentiles to give.

    Returns
    -------
    pandas.DataFrame
        ``distance_um`` to the midline, negative on the left [um of the atlas]; in the image also
        the position, such as ``x_um``, in front; ``hemisphere`` (1 left, 2 right); ``voxels``,
        ``mean``, ``max`` and the percentiles.

    Raises
    ------
    OrientationUnknownError
        If the atlas has no midline, or no axis of the image is known to run from side to side.
    """
    laid = place.overlay()
    if laid.distance is None:
        raise OrientationUnknownError(
            f"{place.atlas.name} has no midline plane to measure from. Give labels of your own "
            "one with --midline."
        )
    labels, away = laid.atlas.annotation, laid.distance
    kept = place.regions

    def inside(box: Box) -> NDArray[np.bool_]:
        return among(labels.read(box), kept)

    wanted = inside if len(kept) else None
    if space == "atlas":
        return _by_distance(place, away, wanted, step_um, percentiles)
    along = side_axis(place.image)
    axis = place.image.space.axes[along]

    def plane(box: Box) -> NDArray[np.int64]:
        numbers = np.arange(box.start[along], box.stop[along])
        return numbers.reshape([-1 if a == along else 1 for a in range(3)])

    count = place.image.shape[along]
    rows = gather(place.image, plane, count, inside=wanted, percentiles=percentiles)
    distance = _plane_distance(place.image, away, along)
    rows.insert(0, f"{axis}_um", centres(place.image, along))
    rows.insert(1, "distance_um", distance)
    rows.insert(2, "hemisphere", np.where(distance < 0, 1, 2))
    return rows[rows["voxels"] > 0].reset_index(drop=True)


def _by_distance(
    place: Place, away: Lattice, inside: Any, step_um: float, percentiles: Sequence[float]
) -> pd.DataFrame:
    step = step_um or float(min(place.atlas.annotation.voxel_size))
    if not step > 0:
        raise ParameterError(f"The width of a bin is positive, not {step_um} um.")
    low, high = away.nodes.min(), away.nodes.max()
    first, last = int(np.floor(low / step)), int(np.floor(high / step))

    def bins(box: Box) -> NDArray[np.int64]:
        distance = away.read(box.slices)[..., 0]
        return np.asarray(np.floor(distance / step).astype(np.int64) - first)

    rows = gather(place.image, bins, last - first + 1, inside=inside, percentiles=percentiles)
    distance = (np.arange(first, last + 1) + 0.5) * step
    rows.insert(0, "distance_um", distance)
    rows.insert(1, "hemisphere", np.where(distance < 0, 1, 2))
    return rows[rows["voxels"] > 0].reset_index(drop=True)


def _plane_distance(image: Volume, away: Lattice, along: int) -> NDArray[np.float64]:
    """Return how far the planes of an image lie from the midline, at their middle."""
    slices = [slice(n // 2, n // 2 + 1) for n in image.shape]
    slices[along] = slice(0, image.shape[along])
    return away.read(tuple(slices))[..., 0].ravel()


def side_axis(image: Volume) -> int:
    """Return which axis of an image runs from side to side.

    Raises
    ------
    OrientationUnknownError
        If none is known to.
    """
    for number, direction in enumerate(image.space.toward):
        if direction in SIDEWAYS:
            return number
    raise OrientationUnknownError(
        f"Which axis of {image.name} runs from left to right is not known. State it: --orientation "
        "CODE --meaning toward|from."
    )


def gathering_level(source: VolumeSource) -> int:
    """Return the finest level from whose voxels profiles can be taken at once."""
    levels = source.pyramid().levels
    small = [k for k, v in enumerate(levels) if k >= source.level and v.box.size <= GATHERED]
    return small[0] if small else len(levels) - 1
