"""A value of each region of an atlas, as colours in three planes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from projectome.core.atlas import RIGHT, Atlas, Terminology
from projectome.errors import OrientationUnknownError, ParameterError, UnknownNameError
from projectome.plots.mip import AXES, GAP, HEADER, PLANE, AxisName
from projectome.plots.regions import (
    Slice,
    atlas_slice,
    draw_regions,
    finish_plane,
    painted,
    read_plane,
    rows_of,
    write_title,
)
from projectome.plots.style import FOREGROUND, new_figure


def heatmap_figure(
    atlas: Atlas,
    values: Mapping[int, float],
    *,
    right: Mapping[int, float] | None = None,
    at_um: tuple[float, float, float] | None = None,
    label: str = "",
    title: str = "",
    colours: str = "viridis",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Return three planes of an atlas with regions coloured by a value.

    The finest regions that have a value are drawn: one that has parts with values shows only
    these, for what it holds beside them is not known. Where no part of a region has a value, all
    of it takes that of the region itself.

    Parameters
    ----------
    atlas
        On the level to show.
    values
        By region id; NaN counts as none.
    right
        Values of the right hemisphere; `values` are then those of the left. Both if None.
    at_um
        Point (z, y, x) through which the planes go [um]; in the middle of the region with the
        highest value if None.
    label
        Below the scale: what the value is, with its unit.
    title
        Text above.
    colours
        A colour map of matplotlib.
    limits
        Values of the ends of the scale; smallest and largest if None.

    Raises
    ------
    UnknownNameError
        If a value is of a region that does not exist.
    ParameterError
        If there are no values.
    OrientationUnknownError
        If values are given for each hemisphere, and the atlas does not know them.
    """
    tree = atlas.terminology
    known, owners = _known(tree, [values] if right is None else [values, right])
    given = known[np.isfinite(known)]
    if not len(given):
        raise ParameterError("There is no value to draw. Give at least one region a number.")
    low, high = limits or (float(given.min()), float(given.max()))
    norm = Normalize(low, high if high > low else low + 1, clip=True)
    volume = atlas.annotation
    depth, height, across = (n * s for n, s in zip(volume.shape, volume.voxel_size, strict=True))
    inches = min(9.0 / (across + depth), 9.0 / (height + depth))
    w, h, d = across * inches, height * inches, depth * inches
    total_w, total_h = w + d + GAP, h + d + GAP + HEADER
    figure = new_figure(total_w, total_h)
    corners = {"z": (0.0, d + GAP, w, h), "x": (w + GAP, d + GAP, d, h), "y": (0.0, 0.0, w, d)}
    centre = _centre(atlas, known, owners) if at_um is None else at_um
    shades = np.asarray(colormaps[colours](norm(np.nan_to_num(known))))[..., :3]
    for axis in AXES:
        x, y, wide, high_ = corners[axis]
        axes = figure.add_axes((x / total_w, y / total_h, wide / total_w, high_ / total_h))
        seen = atlas_slice(atlas, axis, float(centre[AXES.index(axis)]))
        half = np.zeros(seen.rows.shape, np.int64)
        if right is not None:
            half = _right_of(atlas, axis, _index(atlas, seen))
        place = np.where(seen.rows < 0, 0, seen.rows)
        valued = (seen.rows >= 0) & (owners[place] >= 0) & np.isfinite(known[half, place])
        # Regions of the two sides count one after the other, so that both have their own colours.
        rows = np.where(valued, half * len(tree) + place, -1)
        owned = np.where(valued, owners[place], np.where(seen.rows >= 0, -2, -1))
        pixels = painted(seen, rows, shades.reshape(-1, 3), flat=True)
        draw_regions(axes, seen, pixels, owned, thick=2)
        finish_plane(axes, atlas, seen, bar=axis == "z")
    bar = figure.add_axes(
        ((w + GAP + 0.15 * d) / total_w, 0.55 * d / total_h, 0.7 * d / total_w, 0.12 / total_h)
    )
    scale = figure.colorbar(ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    scale.ax.tick_params(colors=FOREGROUND, labelsize=8)
    scale.set_label(label, color=FOREGROUND, fontsize=9)
    scale.outline.set_edgecolor(FOREGROUND)
    write_title(figure, title or atlas.name, total_h - HEADER)
    return figure


def _known(
    tree: Terminology, sides: list[Mapping[int, float]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the value that each region shows, shape (S, R), and the row that it is of, (R,).

    NaN and -1 for none.
    """
    own = np.full((len(sides), len(tree)), np.nan)
    for side, values in enumerate(sides):
        for region, value in values.items():
            try:
                own[side, tree.row(int(region))] = value
            except UnknownNameError:
                raise UnknownNameError("region", str(region), map(str, tree.ids)) from None
    valued = np.isfinite(own).any(axis=0)
    parts = np.zeros(len(tree), dtype=bool)  # regions with a valued one inside
    parents = tree.parents.tolist()
    for row in range(len(tree) - 1, 0, -1):
        if parents[row] >= 0:
            parts[parents[row]] |= valued[row] or parts[row]
    owners = np.where(valued & ~parts, np.arange(len(tree)), -1)
    for row, parent in enumerate(parents):
        if parent >= 0 and owners[row] < 0 and not valued[row] and not parts[row]:
            owners[row] = owners[parent]
    return np.where(owners >= 0, own[:, owners], np.nan), owners


def _right_of(atlas: Atlas, axis: AxisName, plane: int) -> NDArray[np.int64]:
    """Return 1 for the voxels of a plane that lie in the right hemisphere, 0 for others."""
    volume = atlas.annotation
    if atlas.midline is None:
        if atlas.hemispheres is None:
            raise OrientationUnknownError(
                f"{atlas.name} does not know left from right; give one value a region."
            )
        return (read_plane(atlas.hemispheres, axis, plane) == RIGHT).astype(np.int64)
    row, column = PLANE[axis]
    voxels = np.empty((volume.shape[row], volume.shape[column], 3))
    voxels[..., AXES.index(axis)] = plane
    voxels[..., row] = np.arange(volume.shape[row])[:, None]
    voxels[..., column] = np.arange(volume.shape[column])
    sides = atlas.midline.hemisphere(volume.affine(voxels.reshape(-1, 3)))
    return (sides == RIGHT).astype(np.int64).reshape(voxels.shape[:2])


def _index(atlas: Atlas, seen: Slice) -> int:
    """Return the number of a plane."""
    volume, place = atlas.annotation, AXES.index(seen.axis)
    index = (seen.position_um - volume.affine.translation[place]) / volume.voxel_size[place]
    return int(np.floor(index + 0.5))


def _centre(
    atlas: Atlas, known: NDArray[np.float64], owners: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a point in the middle of the region with the highest value, on its side."""
    volume, tree = atlas.annotation, atlas.terminology
    side, best = np.unravel_index(int(np.nanargmax(known)), known.shape)
    step = [max(1, n // 64) for n in volume.shape]
    found = []
    for z in range(0, volume.shape[0], step[0]):
        rows = rows_of(read_plane(volume, "z", z)[:: step[1], :: step[2]], tree)
        inside = (rows >= 0) & (owners[rows] == owners[best])
        if len(known) > 1:
            inside &= _right_of(atlas, "z", z)[:: step[1], :: step[2]] == side
        found.append(np.insert(np.argwhere(inside) * step[1:], 0, z, axis=1))
    places = np.concatenate(found)
    if not len(places):
        return volume.affine([(np.asarray(volume.shape) - 1) / 2])[0]
    if len(known) == 1:  # one of its two halves: between them there may be nothing
        for axis, direction in enumerate(volume.space.toward):
            if direction in ("left", "right"):
                places = places[places[:, axis] >= places[:, axis].mean()]
    nearest = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
    return volume.affine([nearest])[0]
