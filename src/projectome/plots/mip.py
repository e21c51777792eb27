"""Projections of volumes, alone or with traces and somata drawn over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.plots.style import (
    ACCENT,
    FOREGROUND,
    OUTLINE,
    direction_letters,
    neuron_colours,
    new_figure,
    scale_bar,
)

AxisName: TypeAlias = Literal["z", "y", "x"]
AXES: tuple[AxisName, ...] = ("z", "y", "x")
# Rows and columns of a projection along each axis, as places in (z, y, x).
PLANE: dict[AxisName, tuple[int, int]] = {"z": (1, 2), "y": (0, 2), "x": (1, 0)}
GAP, HEADER = 0.08, 0.4
"""Room between the views and above them [inches]."""
GAMMA = 0.7
"""Exponent of the display: below 1, so that dim tissue shows beside bright neurites."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A projection and where it lies.

    Attributes
    ----------
    image
        Shape (R, C), rows and columns as `PLANE` says for the axis.
    axis
        The axis that was projected away.
    start, stop
        Corners (z, y, x) of the voxels projected [um].
    """

    image: NDArray[Any]
    axis: AxisName
    start: tuple[float, float, float]
    stop: tuple[float, float, float]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top [um], the first row at the top."""
        row, column = PLANE[self.axis]
        return self.start[column], self.stop[column], self.stop[row], self.start[row]


def contrast_limits(
    image: NDArray[Any], percentiles: tuple[float, float] = (1.0, 99.0)
) -> tuple[float, float]:
    """Return display limits from percentiles of what is not zero padding."""
    values = image[image > 0] if image.size and np.any(image > 0) else image
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, percentiles))
    return low, high if high > low else low + 1


def draw_view(
    axes: Axes,
    view: View,
    *,
    space: Space,
    limits: tuple[float, float] | None = None,
    colours: str = "gray",
    bar: bool = True,
) -> None:
    """Draw one projection with a scale bar, if wanted, and anatomical letters."""
    low, high = limits or contrast_limits(view.image)
    axes.imshow(
        view.image,
        cmap=colours,
        norm=PowerNorm(GAMMA, low, high, clip=True),
        extent=view.extent,
        interpolation="nearest",
    )
    axes.set_axis_off()
    row, column = PLANE[view.axis]
    left, right, *_ = view.extent
    if bar:
        scale_bar(axes, right - left)
    direction_letters(axes, space.toward[row], space.toward[column])


def draw_outline(axes: Axes, view: View, inside: NDArray[np.bool_]) -> None:
    """Draw a line around the pixels that are inside, over the extent of a view."""
    left, right, bottom, top = view.extent
    rows, columns = inside.shape
    # Closed at the rim of the picture; holes of single pixels and stairs go.
    padded = ndimage.gaussian_filter(np.pad(inside.astype(float), 1), 0.8)
    x = left + (np.arange(-1, columns + 1) + 0.5) / columns * (right - left)
    y = top + (np.arange(-1, rows + 1) + 0.5) / rows * (bottom - top)
    axes.contour(x, y, padded, levels=[0.5], colors=[ACCENT], linewidths=1.2)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def enlarged(inside: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask on a picture of another number of pixels, by the nearest of its own."""
    picks = [
        ((np.arange(n) + 0.5) / n * own).astype(int)
        for n, own in zip(shape, inside.shape, strict=True)
    ]
    return inside[np.ix_(*picks)]


def draw_traces(
    axes: Axes,
    skeletons: Sequence[Skeleton],
    axis: AxisName,
    *,
    colours: NDArray[np.float64] | None = None,
    width: float = 0.7,
) -> None:
    """Draw the edges of skeletons onto a projection, one colour a skeleton."""
    row, column = PLANE[axis]
    shades = neuron_colours(len(skeletons)) if colours is None else colours
    pieces, shade = [], []
    for skeleton, colour in zip(skeletons, shades, strict=True):
        ends = skeleton.coordinates[skeleton.edges][:, :, [column, row]]
        pieces.append(ends)
        shade.append(np.repeat(colour[None], len(ends), axis=0))
    if pieces:
        lines = LineCollection(
            list(np.concatenate(pieces)), colors=list(map(tuple, np.concatenate(shade))),
            linewidths=width, capstyle="round",
        )  # fmt: skip
        axes.add_collection(lines, autolim=False)


def draw_points(axes: Axes, points: Points, axis: AxisName) -> None:
    """Draw points as rings onto a projection."""
    row, column = PLANE[axis]
    axes.scatter(
        points.coordinates[:, column], points.coordinates[:, row],
        s=36, facecolors="none", edgecolors=ACCENT, linewidths=1.1,
    )  # fmt: skip


def mip_figure(
    view: View,
    *,
    space: Space,
    title: str = "",
    width: float = 8.0,
    limits: tuple[float, float] | None = None,
    outline: NDArray[np.bool_] | None = None,
) -> Figure:
    """Return a figure of one projection.

    Parameters
    ----------
    view
        What is shown.
    space
        For the anatomical letters.
    title
        Text above.
    width
        Of the picture [inches].
    limits
        Values of black and white.
    outline
        What to draw a line around; over the extent of the view, with pixels of any size.
    """
    left, right, bottom, top = view.extent
    height = min(max(1.2, width * (bottom - top) / max(right - left, 1e-9)), 3 * width)
    header = HEADER if title else 0.0
    figure = new_figure(width, height + header)
    axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + header)))
    draw_view(axes, view, space=space, limits=limits)
    if outline is not None:
        draw_outline(axes, view, outline)
    if title:
        middle = 1 - header / 2 / (height + header)
        figure.text(0.01, middle, title, color=FOREGROUND, fontsize=10, va="center")
    return figure


def three_views(
    views: Mapping[AxisName, View],
    *,
    space: Space,
    skeletons: Sequence[Skeleton] = (),
    colours: NDArray[np.float64] | None = None,
    somata: Points | None = None,
    title: str = "",
    dim: float = 1.0,
) -> Figure:
    """Return the three projections side by side, with traces and somata drawn over them.

    Parameters
    ----------
    views
        One view for each of z, y and x.
    space
        For the anatomical letters.
    skeletons, colours
        Traces, and one colour each.
    somata
        Points to ring.
    title
        Text above.
    dim
        Brightness of the image under the traces, 0 to 1.

    Returns
    -------
    matplotlib.figure.Figure
        The projection along z large at the left top, along x to its right, along y below.
    """
    start, stop = np.asarray(views["z"].start), np.asarray(views["z"].stop)
    depth, height, width = stop - start
    inches = min(9.0 / (width + depth), 12.0 / (height + depth))
    total_w = (width + depth) * inches + GAP
    total_h = (height + depth) * inches + GAP + HEADER
    figure = new_figure(total_w, total_h)
    w, h, d = width * inches, height * inches, depth * inches
    corners = {"z": (0.0, d + GAP, w, h), "x": (w + GAP, d + GAP, d, h), "y": (0.0, 0.0, w, d)}
    places = {
        axis: (x / total_w, y / total_h, across / total_w, up / total_h)
        for axis, (x, y, across, up) in corners.items()
    }
    for axis in AXES:
        axes = figure.add_axes(places[axis])
        low, high = contrast_limits(views[axis].image)
        limits = low, low + (high - low) / dim
        # The views have one scale, and the others can be too thin for a bar.
        draw_view(axes, views[axis], space=space, limits=limits, bar=axis == "z")
        draw_traces(axes, skeletons, axis, colours=colours)
        if somata is not None and len(somata):
            draw_points(axes, somata, axis)
        left, right, bottom, top = views[axis].extent
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
        row, column = (space.axes[place] for place in PLANE[axis])
        axes.text(
            0.012, 0.985, f"{column} \u2192  {row} \u2193", transform=axes.transAxes,
            color=FOREGROUND, fontsize=8, ha="left", va="top", path_effects=OUTLINE,
        )  # fmt: skip
    if title:
        middle = 1 - HEADER / 2 / total_h
        figure.text(0.01, middle, title, color=FOREGROUND, fontsize=10, va="center")
    return figure
