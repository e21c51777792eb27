"""Intensity profiles."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projectome.core.space import OPPOSITE, Direction
from projectome.plots.style import ACCENT, BACKGROUND, FOREGROUND, new_figure


def plain_axes(axes: Axes) -> None:
    """Set light text and two thin lines on the dark ground."""
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(which="both", colors=FOREGROUND, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FOREGROUND)
    axes.xaxis.label.set_color(FOREGROUND)
    axes.yaxis.label.set_color(FOREGROUND)


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
    names = [str(name) for name in rows.columns]
    spread = sorted((n for n in names if n[0] == "p"), key=lambda name: float(name[1:]))
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
