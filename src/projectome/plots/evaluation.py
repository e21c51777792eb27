"""Curves of scores, and what lies around an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from projectome.plots.mip import contrast_limits
from projectome.plots.style import ACCENT, BACKGROUND, FOREGROUND, neuron_colours, new_figure

PANEL = 2.6
"""Side of a picture of an error [inches]."""
COLOURS = 1021
"""Colours of labels; a prime, so that neighbours in number differ."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture of the surroundings of an error, seen along z.

    Attributes
    ----------
    title
        Text above.
    image
        Shape (Y, X), grey values or labels; none if None.
    labels
        Whether it holds labels.
    extent
        Left, right, bottom, top of the picture [um].
    points
        Shape (N, 2) by name: y and x [um].
    pieces
        Shape (E, 2, 2) by name: the ends (y, x) of edges [um].
    """

    title: str
    image: NDArray[Any] | None
    labels: bool
    extent: tuple[float, float, float, float]
    points: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    pieces: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def curve_figure(
    curves: Sequence[tuple[str, str, str, NDArray[np.float64], NDArray[np.float64]]],
) -> Figure:
    """Return a figure with one panel a curve: its name, the names of its axes, x and y."""
    figure = new_figure(3.4 * len(curves), 2.8)
    for number, (name, x_name, y_name, x, y) in enumerate(curves):
        axes = figure.add_subplot(1, len(curves), number + 1, facecolor=BACKGROUND)
        axes.plot(x, y, color=ACCENT, lw=1.6, marker="." if len(x) < 20 else None)
        axes.set_xlabel(x_name, color=FOREGROUND, fontsize=8)
        axes.set_ylabel(y_name, color=FOREGROUND, fontsize=8)
        axes.set_title(name, color=FOREGROUND, fontsize=9)
        axes.set_ylim(-0.02, 1.02)
        axes.tick_params(colors=FOREGROUND, labelsize=7)
        for spine in axes.spines.values():
            spine.set_color("#5a6570")
    figure.tight_layout()
    return figure


def error_figure(panels: Sequence[Panel], at: tuple[float, float]) -> Figure:
    """Return the surroundings of an error side by side, with a cross at its place (y, x) [um]."""
    figure = new_figure(PANEL * len(panels), PANEL + 0.25)
    neutral, warm = "#7fd4ff", ACCENT
    for number, panel in enumerate(panels):
        axes = figure.add_axes((number / len(panels) + 0.005, 0, 1 / len(panels) - 0.01, 0.91))
        if panel.image is not None and panel.image.size:
            _show(axes, panel)
        for name, pieces in panel.pieces.items():
            for (y0, x0), (y1, x1) in pieces:
                axes.plot([x0, x1], [y0, y1], color=neutral if name == "truth" else warm, lw=1)
        for name, points in panel.points.items():
            colour = neutral if name == "truth" else warm
            if name == "truth":
                axes.scatter(points[:, 1], points[:, 0], s=40, facecolors="none", edgecolors=colour)
            else:
                axes.scatter(points[:, 1], points[:, 0], s=26, marker="x", color=colour, lw=1.2)
        axes.plot(at[1], at[0], marker="+", color="#ff5a5a", ms=14, mew=1.2)
        axes.set_xlim(*panel.extent[:2])
        axes.set_ylim(*panel.extent[2:])
        axes.set_aspect("equal")
        axes.set_axis_off()
        figure.text(number / len(panels) + 0.01, 0.94, panel.title, color=FOREGROUND, fontsize=8)
    return figure


def _show(axes: Any, panel: Panel) -> None:
    assert panel.image is not None
    if panel.labels:
        colours = np.vstack([[0.06, 0.08, 0.09], neuron_colours(COLOURS)])
        number = panel.image.astype(np.uint64)
        shown = colours[np.where(number == 0, 0, 1 + number % np.uint64(COLOURS)).astype(np.int64)]
        axes.imshow(shown, extent=panel.extent, interpolation="nearest")
        return
    low, high = contrast_limits(panel.image)
    axes.imshow(
        panel.image, cmap="gray", vmin=low, vmax=high, extent=panel.extent, interpolation="nearest"
    )
