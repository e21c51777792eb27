"""How all figures look: dark for images, scale bars in micrometres, the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from projectome.core.space import OPPOSITE, Direction
from projectome.io.stores import atomic_write

BACKGROUND, FOREGROUND, ACCENT = "#101418", "#e8ecf0", "#f2b134"
OUTLINE = [withStroke(linewidth=2, foreground=BACKGROUND)]
"""Keeps text readable over a bright image."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty dark figure of a size in inches."""
    figure = Figure(figsize=(width, height), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, *, dpi: int = 150) -> bytes:
    """Return a figure as PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Software": None}
    )
    return buffer.getvalue()


def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = png_bytes(figure, dpi=dpi)
    with atomic_write(target) as partial:
        partial.write_bytes(data)
    return target


def scale_bar(axes: Axes, width_um: float, *, room: float = 0.3) -> None:
    """Draw a bar of a round number of micrometres into the lower right corner.

    Parameters
    ----------
    axes
        Axes whose data coordinates are micrometres.
    width_um
        Width of the picture [um].
    room
        Largest share of the width that the bar may take.
    """
    power = 10 ** np.floor(np.log10(max(width_um * room, 1e-9)))
    length = power * max(f for f in (1, 2, 5) if f * power <= width_um * room)
    x1, x0 = axes.get_xlim()[1], axes.get_xlim()[0]
    y1, y0 = axes.get_ylim()[0], axes.get_ylim()[1]
    right = x1 - 0.04 * (x1 - x0)
    bottom = y1 - 0.05 * (y1 - y0)
    for colour, width in ((BACKGROUND, 5), ("white", 3)):
        ends = [right - length, right], [bottom, bottom]
        axes.plot(*ends, color=colour, lw=width, solid_capstyle="butt")
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    axes.text(
        right - length / 2, bottom - 0.015 * (y1 - y0), text,
        color="white", ha="center", va="bottom", fontsize=8, path_effects=OUTLINE,
    )  # fmt: skip


def direction_letters(axes: Axes, rows: Direction | None, columns: Direction | None) -> None:
    """Write the anatomical letters at the four edges, where they are known.

    Parameters
    ----------
    axes
        Axes of a picture whose first row is at the top.
    rows, columns
        Direction of increasing row and column.
    """

    def put(x: float, y: float, direction: Direction) -> None:
        axes.text(
            x, y, direction[0].upper(), transform=axes.transAxes, color=ACCENT,
            ha="center", va="center", fontsize=9, fontweight="bold", path_effects=OUTLINE,
        )  # fmt: skip

    if columns is not None:
        put(0.98, 0.5, columns)
        put(0.02, 0.5, OPPOSITE[columns])
    if rows is not None:
        put(0.5, 0.02, rows)
        put(0.5, 0.98, OPPOSITE[rows])


def neuron_colours(count: int) -> NDArray[np.float64]:
    """Return `count` bright, well separated colours, shape (count, 3), the same every time.

    References
    ----------
    Hues step by the golden ratio, so that neighbours in number differ in colour.
    """
    hue = (0.08 + np.arange(count) * 0.6180339887) % 1.0
    value = 1.0 - 0.12 * (np.arange(count) // 7 % 2)
    saturation = 0.55 + 0.35 * (np.arange(count) // 3 % 2)
    sector = hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])
    ramp = np.clip(np.abs(sector % 6 - 3) - 1, 0, 1)
    return np.asarray(value[:, None] * (1 - saturation[:, None] * (1 - ramp)))
