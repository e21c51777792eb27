"""Intensity profiles."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projectome.core.space import OPPOSITE, Direction
from projectome.plots.style import ACCENT, BACKGROUND, FOREGROUND, OUTLINE, new_figure

LEFT, RIGHT = "#5b8fb9", "#d9825b"
"""Colours of the hemispheres."""


def plain_axes(axes: Axes) -> None:
    """Set light text and two thin lines on the dark ground."""
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(which="both", colors=FOREGROUND, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FOREGROUND)
    axes.xaxis.label.set_color(FOREGROUND)
    axes.yaxis.label.set_color(FOREGROUND)


def spread_columns(rows: pd.DataFrame) -> list[str]:
    """Return the names of the columns of percentiles, such as ``p50``, lowest first."""
    names = [str(n) for n in rows.columns if re.fullmatch(r"p\d+(\.\d+)?", str(n))]
    return sorted(names, key=lambda name: float(name[1:]))


def profile_figure(
    rows: pd.DataFrame, place: str, direction: Direction | None, *, title: str = ""
) -> Figure:
    """Return the figure of a profile along an axis.

    Parameters
    ----------
    rows
        A row a plane: the column `place` [um], ``mean``, and percentiles such as ``p50``.
    place
        Name of the column of places.
    direction
        Where the axis runs to; None if unknown.
    title
        Text above.
    """
    figure = new_figure(8.0, 3.2)
    axes = figure.add_subplot()
    plain_axes(axes)
    spread = spread_columns(rows)
    if len(spread) >= 2:
        low, high = spread[0], spread[-1]
        axes.fill_between(
            rows[place], rows[low], rows[high], color="#5b8fb9", alpha=0.35, lw=0,
            label=f"{low[1:]} to {high[1:]} %",
        )  # fmt: skip
    axes.plot(rows[place], rows["mean"], color=ACCENT, label="mean")
    axes.legend(fontsize=8, labelcolor=FOREGROUND, frameon=False)
    ends = f"   {OPPOSITE[direction]} \u2192 {direction}" if direction else ""
    axes.set_xlabel(f"{place[0]} [\u00b5m]{ends}")
    axes.set_ylabel("grey value")
    axes.set_title(title, color=FOREGROUND, fontsize=10, loc="left")
    figure.tight_layout()
    return figure


def midline_figure(rows: pd.DataFrame, *, title: str = "") -> Figure:
    """Return the figure of a profile across the midline, left and right shaded.

    Parameters
    ----------
    rows
        In order from side to side: ``distance_um``, ``hemisphere`` (1 left, 2 right), ``mean`` and
        percentiles; with a column such as ``x_um`` in front, the profile is drawn along that.
    title
        Text above.
    """
    figure = new_figure(8.0, 3.4)
    axes = figure.add_subplot()
    plain_axes(axes)
    place = str(rows.columns[0])
    at, distance = rows[place].to_numpy(), rows["distance_um"].to_numpy()
    spread = spread_columns(rows)
    for side, name, colour in ((1, "left", LEFT), (2, "right", RIGHT)):
        here = rows[rows["hemisphere"] == side]
        if not len(here):
            continue
        low, high = here[place].min(), here[place].max()
        axes.axvspan(low, high, color=colour, alpha=0.16, lw=0)
        if len(spread) >= 2:
            axes.fill_between(
                here[place], here[spread[0]], here[spread[-1]], color=colour, alpha=0.45, lw=0
            )
        axes.plot(here[place], here["mean"], color=colour, lw=1.6)
        axes.text(
            (low + high) / 2, 0.97, name, color=FOREGROUND, fontsize=10, ha="center", va="top",
            transform=axes.get_xaxis_transform(), path_effects=OUTLINE,
        )  # fmt: skip
    if distance.min() < 0 <= distance.max():
        order = np.argsort(distance)
        middle = float(np.interp(0.0, distance[order], at[order]))
        axes.axvline(middle, color=ACCENT, lw=1, ls="--")
        axes.text(
            middle, 0.03, " midline", color=ACCENT, fontsize=8, va="bottom",
            transform=axes.get_xaxis_transform(), path_effects=OUTLINE,
        )  # fmt: skip
    what = "distance to the midline" if place == "distance_um" else place[0]
    toward = "   left \u2192 right" if distance[-1] > distance[0] else "   right \u2192 left"
    axes.set_xlabel(f"{what} [\u00b5m]{toward}")
    axes.set_xlim(at.min(), at.max())
    axes.set_ylabel("grey value")
    shown = f" \u00b7 mean, {spread[0][1:]} to {spread[-1][1:]} %" if len(spread) >= 2 else ""
    axes.set_title(title + shown, color=FOREGROUND, fontsize=10, loc="left")
    figure.tight_layout()
    return figure
