"""Confidence intervals by resampling the units that a figure was made from.

A unit is what was drawn independently: a neuron, a block, a landmark, an annotator; never a voxel
or a node, whose neighbours say the same. The bootstrap draws as many units as there are, with
replacement, again and again, computes the figure anew each time, and takes percentiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.errors import ParameterError, ShapeError

Statistic: TypeAlias = Callable[[NDArray[np.float64]], float]

BATCH = 1_000_000
"""Values resampled together; bounds the memory."""


class Interval(NamedTuple):
    """A figure with its confidence interval.

    Attributes
    ----------
    value
        The figure of all units; NaN if there are none.
    low, high
        Ends of the interval; NaN with fewer than two units, which say nothing about the spread.
    n
        How many units it was made from; those without a figure (NaN) are not counted.
    """

    value: float
    low: float
    high: float
    n: int


def interval(
    values: ArrayLike | Callable[[NDArray[np.int64]], float],
    statistic: Statistic | None = None,
    *,
    n: int | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a figure with its percentile bootstrap interval.

    Parameters
    ----------
    values
        One value a unit, shape (N,), or one row a unit, shape (N, K), for figures made from several
        columns, such as a share (see `ratio`). Units with a NaN are left out. Or a function that
        takes indices of units, shape (n,), some of them repeated, and returns the figure.
    statistic
        What to compute from rows of `values`; the mean by default.
    n
        Number of units, where `values` is a function.
    level
        Share of resampled figures inside the interval.
    resamples
        How often to draw. Figures that cannot be computed from a draw (NaN) are left out.
    seed
        The same seed gives the same interval.

    Returns
    -------
    Interval
        Value, low, high and the number of units.

    Raises
    ------
    ParameterError
        If the level does not lie between 0 and 1, there is no resample, or `n` is missing.
    ShapeError
        If the values have more than two axes.

    References
    ----------
    Efron B., Tibshirani R.J. (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    >>> interval([1.0, 1.0, 1.0])
    Interval(value=1.0, low=1.0, high=1.0, n=3)
    """
    if not 0 < level < 1 or resamples < 1:
        raise ParameterError(
            "An interval needs a level between 0 and 1 and at least one resample, not "
            f"level={level!r}, resamples={resamples!r}."
        )
    generator = np.random.default_rng(seed)
    if callable(values):
        if n is None or n < 0:
            raise ParameterError(f"A figure of indices needs the number of units: n={n!r}.")
        return _of_function(values, n, level, resamples, generator)
    rows = np.asarray(values, np.float64)
    if rows.ndim not in (1, 2):
        raise ShapeError(f"One value or one row a unit: shape (N,) or (N, K), not {rows.shape}.")
    unknown = np.isnan(rows)
    rows = rows[~(unknown if rows.ndim == 1 else unknown.any(axis=1))]
    if statistic is None and rows.ndim == 1:
        return _of_mean(rows, level, resamples, generator)
    figure: Statistic = _mean if statistic is None else statistic
    return _of_function(lambda index: figure(rows[index]), len(rows), level, resamples, generator)


def ratio(rows: NDArray[np.float64]) -> float:
    """Return the sum of the first column over the sum of the second: a share of pooled units.

    Parameters
    ----------
    rows
        Shape (N, 2).

    Returns
    -------
    float
        NaN where the second column sums to 0.
    """
    part, whole = rows.sum(axis=0)
    return float(part / whole) if whole != 0 else float("nan")


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean())


def _of_mean(
    values: NDArray[np.float64], level: float, resamples: int, generator: np.random.Generator
) -> Interval:
    """Return the interval of a mean, many draws at a time."""
    count = len(values)
    if not count:
        return Interval(np.nan, np.nan, np.nan, 0)
    if count == 1:
        return Interval(float(values[0]), np.nan, np.nan, 1)
    parts, at_once = [], max(1, BATCH // count)
    for first in range(0, resamples, at_once):
        shape = (min(at_once, resamples - first), count)
        parts.append(values[generator.integers(count, size=shape)].mean(axis=1))
    return Interval(float(values.mean()), *_ends(np.concatenate(parts), level), count)


def _of_function(
    figure: Callable[[NDArray[np.int64]], float],
    count: int,
    level: float,
    resamples: int,
    generator: np.random.Generator,
) -> Interval:
    """Return the interval of any figure of indices."""
    if not count:
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(figure(np.arange(count)))
    if count == 1:
        return Interval(value, np.nan, np.nan, 1)
    draws = [float(figure(generator.integers(count, size=count))) for _ in range(resamples)]
    return Interval(value, *_ends(np.asarray(draws), level), count)


def _ends(draws: NDArray[np.float64], level: float) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
