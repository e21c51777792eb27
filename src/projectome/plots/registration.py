"""Pictures of a registration: outlines over the image, checkerboard, before and after, maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from projectome.core.space import Space
from projectome.plots.mip import AXES, GAP, HEADER, PLANE, AxisName
from projectome.plots.regions import outlines
from projectome.plots.style import (
    ACCENT,
    FOREGROUND,
    direction_letters,
    new_figure,
    scale_bar,
)

WIDTH = 4.2
"""Of one picture [inches]."""
SQUARES = 12
"""Squares of a checkerboard along the longest side."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Images on one grid that are shown together.

    Attributes
    ----------
    space
        Of the grid.
    size
        Edge of its voxels [um].
    caption
        Stands under the title on every figure, for instance the handedness as declared.
    """

    space: Space
    size: float
    caption: str = ""


def panels(images: list[NDArray[Any]], look: Look, title: str) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with one row an image and one column a plane, axes ready to draw on."""
    shape = images[0].shape
    heights = [[shape[PLANE[a][0]] / shape[PLANE[a][1]] * WIDTH for a in AXES] for _ in images]
    tall = max(heights[0])
    total = len(images) * (tall + GAP) + 1.5 * HEADER
    figure = new_figure(3 * (WIDTH + GAP) + GAP, total)
    wide = 3 * (WIDTH + GAP) + GAP
    grid: list[list[Axes]] = []
    for row in range(len(images)):
        line = []
        for column, axis in enumerate(AXES):
            high = heights[row][column]
            left = (GAP + column * (WIDTH + GAP)) / wide
            bottom = (total - 1.5 * HEADER - row * (tall + GAP) - (tall + high) / 2) / total
            axes = figure.add_axes((left, bottom, WIDTH / wide, high / total))
            axes.set_axis_off()
            rows, columns = (shape[p] * look.size for p in PLANE[axis])
            axes.set_xlim(0, columns)
            axes.set_ylim(rows, 0)
            line.append(axes)
        grid.append(line)
    figure.text(0.01, 1 - 0.3 * HEADER / total, title, color=FOREGROUND, fontsize=11, va="top")
    figure.text(0.01, 1 - 0.9 * HEADER / total, look.caption, color=ACCENT, fontsize=8.5, va="top")
    return figure, grid


def plane(image: NDArray[Any], axis: AxisName, share: float = 0.5) -> NDArray[Any]:
    """Return a plane across an axis, rows and columns as in all figures."""
    place = AXES.index(axis)
    cut = np.take(image, round((image.shape[place] - 1) * share), axis=place)
    row, column = PLANE[axis]
    return cut if row < column else cut.T


def _finish(axes: Axes, axis: AxisName, look: Look, *, bar: bool) -> None:
    row, column = PLANE[axis]
    direction_letters(axes, look.space.toward[row], look.space.toward[column])
    if bar:
        scale_bar(axes, abs(axes.get_xlim()[1] - axes.get_xlim()[0]))


def _show(axes: Axes, picture: NDArray[Any], **how: Any) -> Any:
    x, y = axes.get_xlim()[1], axes.get_ylim()[0]
    return axes.imshow(picture, extent=(0, x, y, 0), aspect="auto", **how)


def pair_figure(
    scan: NDArray[np.float32], template: NDArray[np.float32], look: Look, title: str
) -> Figure:
    """Return both images in three planes, one above the other, on the same grid."""
    figure, grid = panels([scan, template], look, title)
    for image, line in zip((scan, template), grid, strict=True):
        for axis, axes in zip(AXES, line, strict=True):
            _show(axes, plane(image, axis), cmap="gray", vmin=0, vmax=1)
            _finish(axes, axis, look, bar=axis == "x")
    return figure


def checkerboard_figure(
    scan: NDArray[np.float32], template: NDArray[np.float32], look: Look, title: str
) -> Figure:
    """Return squares of both images in turn: edges go on across them where they agree."""
    square = max(2, max(scan.shape) // SQUARES)
    z, y, x = np.ogrid[: scan.shape[0], : scan.shape[1], : scan.shape[2]]
    even = (z // square + y // square + x // square) % 2 == 0
    figure, grid = panels([scan], look, title)
    for axis, axes in zip(AXES, grid[0], strict=True):
        mixed = np.where(plane(even, axis), plane(scan, axis), plane(template, axis))
        _show(axes, mixed, cmap="gray", vmin=0, vmax=1)
        _finish(axes, axis, look, bar=axis == "x")
    return figure


def outline_figure(
    scan: NDArray[np.float32], labels: NDArray[Any], look: Look, title: str
) -> Figure:
    """Return the borders of regions over a scan, at a third, the middle and two thirds."""
    figure, grid = panels([scan] * 3, look, title)
    for share, line in zip((0.36, 0.5, 0.64), grid, strict=True):
        for axis, axes in zip(AXES, line, strict=True):
            factor = max(1, round(700 / max(scan.shape)))
            large = np.kron(plane(labels, axis, share), np.ones((factor, factor), np.int64))
            grey = np.clip(plane(scan, axis, share), 0, 1)[..., None] * np.ones(3)
            picture = np.kron(grey, np.ones((factor, factor, 1)))
            picture[outlines(large.astype(np.int64))] = (0.95, 0.70, 0.19)
            _show(axes, picture, interpolation="nearest")
            _finish(axes, axis, look, bar=axis == "x")
    return figure


def map_figure(
    values: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    look: Look,
    title: str,
    *,
    colours: str = "viridis",
) -> Figure:
    """Return a value of each voxel of tissue in three planes, with its scale."""
    figure, grid = panels([values], look, title)
    inside = values[tissue]
    top = float(np.percentile(inside, 99)) if inside.size else 1.0
    for axis, axes in zip(AXES, grid[0], strict=True):
        seen = np.where(plane(tissue, axis), plane(values, axis), np.nan)
        shown = _show(axes, seen, cmap=colours, vmin=0, vmax=max(top, 1e-9))
        _finish(axes, axis, look, bar=axis == "x")
    room = grid[0][0].inset_axes((0.03, 0.05, 0.3, 0.025))
    bar = figure.colorbar(shown, cax=room, orientation="horizontal", ticks=[0, top])
    bar.ax.set_xticklabels(["0", f"{top:.3g}"])
    bar.ax.tick_params(colors=FOREGROUND, labelsize=7, top=True, labeltop=True, labelbottom=False)
    return figure
