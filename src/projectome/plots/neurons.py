"""Figures of populations of neurons."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from projectome.plots.profile import plain_axes
from projectome.plots.style import ACCENT, FOREGROUND, new_figure


def length_figure(lengths: ArrayLike, with_soma: ArrayLike) -> Figure:
    """Return how long the neurons and fragments are, and how much of the cable the longest hold.

    Parameters
    ----------
    lengths
        Cable length of each [mm].
    with_soma
        Whether each has a soma.

    Returns
    -------
    matplotlib.figure.Figure
        A histogram on a logarithmic axis, and the share of all cable in the n longest.
    """
    values = np.asarray(lengths, dtype=np.float64)
    owned = np.asarray(with_soma, dtype=bool)
    figure = new_figure(9.0, 2.8)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        plain_axes(axes)
    if len(values):
        low, high = max(values.min(), 1e-4), max(values.max(), 2e-4)
        bins = np.geomspace(low * 0.99, high * 1.01, 25)
        left.hist(
            [values[owned], values[~owned]], bins=list(bins), stacked=True,
            color=[ACCENT, "#5b8fb9"], label=["with soma", "fragment"],
        )  # fmt: skip
        left.set_xscale("log")
        plain_log(left)
        left.margins(y=0.25)
        left.legend(loc="upper right", ncols=2, fontsize=8, labelcolor=FOREGROUND, frameon=False)
        share = np.cumsum(np.sort(values)[::-1]) / max(values.sum(), 1e-12)
        right.plot(np.arange(1, len(share) + 1), 100 * share, color=ACCENT)
        right.set_xscale("log")
        plain_log(right)
        right.set_ylim(0, 102)
    left.set_xlabel("cable length [mm of tissue]")
    left.set_ylabel("count")
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("longest n")
    right.set_ylabel("share of all cable [%]")
    figure.tight_layout()
    return figure


def plain_log(axes: Axes) -> None:
    """Label a logarithmic x axis with plain numbers, at 1, 2 and 5 where it is short."""
    low, high = axes.get_xlim()
    steps = (1.0,) if high / low > 1000 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(10, subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
