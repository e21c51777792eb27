"""Confidence intervals by resampling the units that a figure was made from.

A unit is what was drawn independently: a neuron, a block, a landmark, an annotator; never a voxel
or a node, whose neighbours say the same. The bootstrap draws as many units as there are, with
replacement, again and again, computes the figure anew each time, and takes percentiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

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
        Ends of the interval; NaN with fewer than two units in a sample, which say nothing about
        the spread.
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
    strata: ArrayLike | None = None,
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
    strata
        Shape (N,): which sample each unit is of, where a figure is made from several, such as
        neurons and traced trees. Of each sample as many are drawn as it has.
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
        If the values have more than two axes, or there is not one stratum a unit.

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
        return _of_function(values, _groups(strata, n), level, resamples, generator)
    rows = np.asarray(values, np.float64)
    if rows.ndim not in (1, 2):
        raise ShapeError(f"One value or one row a unit: shape (N,) or (N, K), not {rows.shape}.")
    unknown = np.isnan(rows)
    known = ~(unknown if rows.ndim == 1 else unknown.any(axis=1))
    if strata is not None:
        strata = _checked(strata, len(rows))[known]
    rows = rows[known]
    if statistic is None and rows.ndim == 1 and strata is None:
        return _of_mean(rows, level, resamples, generator)
    figure: Statistic = _mean if statistic is None else statistic
    groups = _groups(strata, len(rows))
    return _of_function(lambda index: figure(rows[index]), groups, level, resamples, generator)


def interval_of_sums(
    rows: ArrayLike,
    statistic: Statistic,
    *,
    strata: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a figure of sums over units with its interval, all draws at once.

    Parameters
    ----------
    rows
        Shape (N, K), one row a unit; units with a NaN are left out.
    statistic
        From the K sums of the columns to the figure.
    strata, level, resamples, seed
        As for `interval`, whose intervals these are but for the draws.

    Returns
    -------
    Interval
        Value, low, high and the number of units.

    Raises
    ------
    ShapeError
        If there is not one stratum a unit.
    """
    table = np.asarray(rows, np.float64)
    known = ~np.isnan(table).any(axis=1)
    kept = None if strata is None else _checked(strata, len(table))[known]
    groups = _groups(kept, int(known.sum()))
    table = table[known]
    if not len(table):
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(statistic(table.sum(axis=0)))
    if min(len(group) for group in groups) < 2:
        return Interval(value, np.nan, np.nan, len(table))
    generator = np.random.default_rng(seed)
    sums = np.zeros((resamples, table.shape[1]))
    for group in groups:
        # How often each unit is drawn, for as many draws at a time as fit.
        share, at_once = np.full(len(group), 1 / len(group)), max(1, BATCH // len(group))
        for first in range(0, resamples, at_once):
            part = slice(first, min(first + at_once, resamples))
            times = generator.multinomial(len(group), share, size=part.stop - first)
            sums[part] += times @ table[group]
    draws = np.asarray([statistic(each) for each in sums], np.float64)
    return Interval(value, *_ends(draws, level), len(table))


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


def _checked(strata: ArrayLike, count: int) -> NDArray[Any]:
    found = np.asarray(strata)
    if found.shape != (count,):
        raise ShapeError(f"{count} units need one stratum each, not an array of {found.shape}.")
    return found


def _groups(strata: ArrayLike | None, count: int) -> list[NDArray[np.int64]]:
    """Return the indices of the units of each sample."""
    if strata is None:
        return [np.arange(count)]
    which = _checked(strata, count)
    return [np.flatnonzero(which == one) for one in np.unique(which)]


def _of_function(
    figure: Callable[[NDArray[np.int64]], float],
    groups: list[NDArray[np.int64]],
    level: float,
    resamples: int,
    generator: np.random.Generator,
) -> Interval:
    """Return the interval of any figure of indices."""
    count = sum(len(group) for group in groups)
    if not count:
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(figure(np.concatenate(groups)))
    if min(len(group) for group in groups) < 2:
        return Interval(value, np.nan, np.nan, count)
    draws = np.empty(resamples)
    for k in range(resamples):
        drawn = [group[generator.integers(len(group), size=len(group))] for group in groups]
        draws[k] = figure(drawn[0] if len(drawn) == 1 else np.concatenate(drawn))
    return Interval(value, *_ends(draws, level), count)


def _ends(draws: NDArray[np.float64], level: float) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
