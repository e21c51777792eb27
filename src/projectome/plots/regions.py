"""Planes of atlases as pictures: regions in colour, their outlines and names."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.atlas import Atlas, Terminology
from projectome.core.box import Box, triple
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.plots.mip import AXES, HEADER, PLANE, AxisName, contrast_limits
from projectome.plots.style import (
    BACKGROUND,
    FOREGROUND,
    OUTLINE,
    direction_letters,
    new_figure,
    scale_bar,
)

TINT = 0.55
"""How much of a region's colour covers the template."""
SMALLEST_TEXT = 220
"""Regions with fewer pixels in a picture of 1000 pixels across get no text."""
MOST_TEXTS = 90


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One plane of an atlas.

    Attributes
    ----------
    axis, position_um
        Where it lies.
    rows
        Shape (R, C), int64: row of the region at each pixel, -1 outside.
    template
        Shape (R, C), 0 to 1; None without a template.
    extent
        Left, right, bottom, top [um].
    """

    axis: AxisName
    position_um: float
    rows: NDArray[np.int64]
    template: NDArray[np.float64] | None
    extent: tuple[float, float, float, float]


def atlas_slice(atlas: Atlas, axis: AxisName, position_um: float | None = None) -> Slice:
    """Read one plane of an atlas.

    Parameters
    ----------
    atlas
        On the level to show.
    axis
        The plane is across this axis.
    position_um
        Where along the axis [um]; the middle if None.

    Raises
    ------
    ParameterError
        If the plane misses the atlas.
    ShapeError
        If the grid is turned against its axes.
    """
    volume, place = atlas.annotation, AXES.index(axis)
    if not volume.affine.is_grid:
        raise ShapeError(f"The grid of {atlas.name} is turned against its axes; resample it.")
    size, first = volume.voxel_size[place], volume.affine.translation[place]
    count = volume.shape[place]
    where = first + size * (count - 1) / 2 if position_um is None else float(position_um)
    index = int(np.floor((where - first) / size + 0.5))
    if not 0 <= index < count:
        raise ParameterError(
            f"{atlas.name} reaches from {first - size / 2:g} um to "
            f"{first + size * (count - 0.5):g} um along {axis}; there is no plane at {where:g} um."
        )
    labels = read_plane(volume, axis, index)
    image = None
    if atlas.template is not None:
        image = _under(atlas.template, axis, where, volume)
    row, column = PLANE[axis]
    low = [t - s / 2 for t, s in zip(volume.affine.translation, volume.voxel_size, strict=True)]
    high = [a + n * s for a, n, s in zip(low, volume.shape, volume.voxel_size, strict=True)]
    return Slice(
        axis,
        where,
        rows_of(labels, atlas.terminology),
        image,
        (low[column], high[column], high[row], low[row]),
    )


def read_plane(volume: Volume, axis: AxisName, index: int) -> NDArray[Any]:
    """Return one plane of voxels, rows and columns as in a `Slice`."""
    place = AXES.index(axis)
    start, stop = [0, 0, 0], list(volume.shape)
    start[place], stop[place] = index, index + 1
    plane = volume.read(Box(triple(start), triple(stop))).squeeze(place)
    return plane.T if axis == "x" else plane


def _under(template: Volume, axis: AxisName, where: float, grid: Volume) -> NDArray[np.float64]:
    """Return the template on the pixels of a plane of the annotation, 0 to 1."""
    place = AXES.index(axis)
    index = (where - template.affine.translation[place]) / template.voxel_size[place]
    nearest = int(np.clip(np.floor(index + 0.5), 0, template.shape[place] - 1))
    plane = read_plane(template, axis, nearest).astype(np.float64)
    picks = []
    for along in PLANE[axis]:
        um = grid.affine.translation[along] + np.arange(grid.shape[along]) * grid.voxel_size[along]
        at = (um - template.affine.translation[along]) / template.voxel_size[along]
        picks.append(np.clip(np.floor(at + 0.5), 0, template.shape[along] - 1).astype(int))
    low, high = contrast_limits(plane, (1.0, 99.5))
    return np.asarray(np.clip((plane[np.ix_(*picks)] - low) / (high - low), 0, 1))


def rows_of(labels: NDArray[Any], tree: Terminology) -> NDArray[np.int64]:
    """Return the row of each label, -1 for none."""
    order = np.argsort(tree.ids)
    ids = tree.ids[order]
    seen, back = np.unique(labels, return_inverse=True)
    place = np.clip(np.searchsorted(ids, seen.astype(np.int64)), 0, len(ids) - 1)
    found = np.where(ids[place] == seen.astype(np.int64), order[place], -1)
    return np.asarray(found[back].reshape(labels.shape), dtype=np.int64)


def level_rows(tree: Terminology, depth: int | None) -> NDArray[np.int64]:
    """Return for each region the one around it at a depth of the tree; itself if it is higher.

    Parameters
    ----------
    tree
        The regions.
    depth
        0 is the root; None keeps all regions.
    """
    rows = np.arange(len(tree))
    if depth is None:
        return rows
    for row in range(len(tree)):
        if tree.depths[row] > depth:
            rows[row] = rows[tree.parents[row]]
    return rows


def readable_colours(tree: Terminology) -> NDArray[np.float64]:
    """Return a colour a region, shape (R, 3), 0 to 1: its own, neither pale nor dark.

    Sisters of one colour are told apart by their lightness.
    """
    colours = np.empty((len(tree), 3))
    seen: dict[tuple[int, int, int], int] = {}
    for row, rgb in enumerate(tree.colours.tolist()):
        hue, light, strength = colorsys.rgb_to_hls(*(v / 255 for v in rgb))
        number = seen.get(tuple(rgb), 0)
        seen[tuple(rgb)] = number + 1
        light = min(max(light, 0.42), 0.66) + (0.0, 0.08, -0.08, 0.15, -0.15)[number % 5]
        if strength < 0.08:  # white and grey: fibre tracts and ventricles stay so
            light, strength = 0.6 + 0.05 * (number % 3), strength
        else:
            strength = max(strength, 0.5)
        colours[row] = colorsys.hls_to_rgb(hue, light, strength)
    return colours


def slice_figure(
    atlas: Atlas,
    axis: AxisName = "z",
    position_um: float | None = None,
    *,
    regions: Iterable[int | str] = (),
    depth: int | None = None,
    names: bool = True,
    width: float = 9.0,
) -> Figure:
    """Return a picture of one plane with coloured regions, outlines and acronyms.

    Parameters
    ----------
    atlas
        On the level to show; its template lies beneath.
    axis, position_um
        As for `atlas_slice`.
    regions
        Colour only these and what lies in them; all if empty.
    depth
        Show regions no finer than this depth of the tree.
    names
        Write acronyms into the regions that have room.
    width
        Of the picture [inches].

    Raises
    ------
    UnknownNameError
        If a region does not exist.
    ParameterError
        If the plane misses the atlas.
    """
    seen, tree = atlas_slice(atlas, axis, position_um), atlas.terminology
    shown = _shown(tree, regions, depth)
    rows = np.where(seen.rows < 0, -1, shown[seen.rows])
    left, right, bottom, top = seen.extent
    height = min(max(1.5, width * (bottom - top) / (right - left)), 2.5 * width)
    figure = new_figure(width, height + HEADER)
    axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + HEADER)))
    draw_regions(axes, seen, painted(seen, rows, readable_colours(tree)), rows)
    if names:
        _write_names(axes, seen, rows, tree)
    finish_plane(axes, atlas, seen)
    title = f"{atlas.name} \u00b7 {axis} = {seen.position_um:.0f} \u00b5m"
    write_title(figure, title, height)
    return figure


def _shown(tree: Terminology, regions: Iterable[int | str], depth: int | None) -> NDArray[np.int64]:
    """Return the row to show in place of each region, -1 for none."""
    shown = level_rows(tree, depth)
    wanted = [tree.row(region) for region in regions]
    if not wanted:
        return shown
    inside = np.zeros(len(tree), dtype=bool)
    for row in wanted:
        inside[tree.rows_below(int(tree.ids[row]))] = True
    return np.where(inside, shown, -1)


def painted(
    seen: Slice, rows: NDArray[np.int64], colours: NDArray[np.float64], *, flat: bool = False
) -> NDArray[np.float64]:
    """Return the pixels (R, C, 3): the template with the colours of regions over it.

    Parameters
    ----------
    seen
        The plane.
    rows
        Shape (R, C): which colour each pixel has, -1 for none.
    colours
        Shape (N, 3), 0 to 1.
    flat
        Colours are values to be read: nothing shows through them, and the template is dim.
    """
    ground = np.array([int(BACKGROUND[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    under = np.broadcast_to(ground, (*rows.shape, 3)).copy()
    if seen.template is not None:
        under = ground + (0.5 if flat else 1.0) * (1 - ground) * seen.template[..., None]
    inside = rows >= 0
    shade = colours[rows[inside]]
    if seen.template is None or flat:
        under[inside] = shade
    else:
        light = 0.45 + 0.55 * seen.template[inside][:, None]
        under[inside] = (1 - TINT) * under[inside] + TINT * shade * light
    return np.asarray(np.clip(under, 0, 1))


def outlines(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the pixels at which another region begins below or to the right, shape (R, C)."""
    edge = np.zeros(rows.shape, dtype=bool)
    edge[:-1] |= rows[:-1] != rows[1:]
    edge[:, :-1] |= rows[:, :-1] != rows[:, 1:]
    return edge


def draw_regions(
    axes: Axes,
    seen: Slice,
    pixels: NDArray[np.float64],
    rows: NDArray[np.int64],
    *,
    thick: int = 1,
) -> None:
    """Draw pixels and thin dark outlines, at a resolution at which these stay thin."""
    factor = max(1, round(1200 / max(rows.shape)))
    fine = np.repeat(np.repeat(rows, factor, 0), factor, 1)
    large = np.repeat(np.repeat(pixels, factor, 0), factor, 1)
    edge = outlines(fine)
    if thick > 1:
        edge = ndimage.binary_dilation(edge, iterations=thick - 1)
    large[edge] = 0.25 * large[edge]
    axes.imshow(large, extent=seen.extent, interpolation="nearest")


def _write_names(axes: Axes, seen: Slice, rows: NDArray[np.int64], tree: Terminology) -> None:
    """Write each acronym once a connected part, at its innermost pixel, where there is room."""
    left, right, bottom, top = seen.extent
    scale = 1000 / rows.shape[1]
    parts: list[tuple[float, str, float, float]] = []
    for row in np.unique(rows[rows >= 0]).tolist():
        labelled, count = ndimage.label(rows == row)
        sizes = np.bincount(labelled.ravel(), minlength=count + 1)
        for part in (np.flatnonzero(sizes[1:] * scale**2 >= SMALLEST_TEXT) + 1).tolist():
            inner = ndimage.distance_transform_edt(np.pad(labelled == part, 1))[1:-1, 1:-1]
            i, j = np.unravel_index(int(np.argmax(inner)), inner.shape)
            text, room = tree.acronyms[row], float(inner[i, j]) * scale
            if room >= 4 + 1.5 * len(text):
                x = left + (j + 0.5) / rows.shape[1] * (right - left)
                y = top + (i + 0.5) / rows.shape[0] * (bottom - top)
                parts.append((room, text, float(x), float(y)))
    for room, text, x, y in sorted(parts, reverse=True)[:MOST_TEXTS]:
        axes.text(
            x, y, text, color="white", fontsize=float(np.clip(room / 3, 4.5, 9)),
            ha="center", va="center", path_effects=OUTLINE, clip_on=True,
        )  # fmt: skip


def finish_plane(axes: Axes, atlas: Atlas, seen: Slice, *, bar: bool = True) -> None:
    """Fit the axes to a plane and write its directions and, if wanted, a scale bar."""
    axes.set_axis_off()
    left, right, bottom, top = seen.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    if bar:
        scale_bar(axes, right - left)
    row, column = PLANE[seen.axis]
    direction_letters(axes, atlas.space.toward[row], atlas.space.toward[column])


def write_title(figure: Figure, text: str, below: float) -> None:
    """Write a title above a picture of a height [inches]."""
    figure.text(
        0.01, 1 - HEADER / 2 / (below + HEADER), text, color=FOREGROUND, fontsize=10, va="center"
    )
