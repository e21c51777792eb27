"""Agreement of classes, such as cell or no cell, with true ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.errors import ShapeError
from projectome.metrics.voxels import VoxelScores, share


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """Agreement of the classes of N items.

    Attributes
    ----------
    names
        The K classes that occur, sorted.
    confusion
        Shape (K, K): items of a true class (row) that were given a class (column).
    """

    names: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def items(self) -> int:
        """Number of items N."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of items with the right class; NaN without items."""
        return share(int(np.trace(self.confusion)), self.items)

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the true classes of the share that is right: rare classes count as much."""
        true = self.confusion.sum(axis=1)
        if not true.any():
            return math.nan
        return float((np.diag(self.confusion)[true > 0] / true[true > 0]).mean())

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 1 is perfect, 0 what chance would give; NaN if only one class occurs."""
        if not self.items:
            return math.nan
        chance = float(self.confusion.sum(axis=1) @ self.confusion.sum(axis=0)) / self.items**2
        return (self.accuracy - chance) / (1 - chance) if chance < 1 else math.nan

    def one(self, name: str) -> VoxelScores:
        """Return the counts and shares of one class against all others."""
        k = self.names.index(name)
        tp = int(self.confusion[k, k])
        fp, fn = int(self.confusion[:, k].sum()) - tp, int(self.confusion[k].sum()) - tp
        return VoxelScores(tp, fp, fn, self.items - tp - fp - fn)


def classification_scores(truth: Sequence[object], found: Sequence[object]) -> ClassScores:
    """Compare the classes of the same items.

    Parameters
    ----------
    truth, found
        Length N: the classes, as texts or whole numbers.

    Returns
    -------
    ClassScores
        With all classes that occur on either side.

    Raises
    ------
    ShapeError
        If they have different lengths, or a class is missing.
    """
    a, b = [_names(values, what) for values, what in ((truth, "truth"), (found, "prediction"))]
    if len(a) != len(b):
        raise ShapeError(
            f"Classes are compared item by item, but there are {len(a)} true and {len(b)} found "
            "ones."
        )
    names = sorted({*a, *b})
    where = {name: k for k, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)), np.int64)
    for true, given in zip(a, b, strict=True):
        confusion[where[true], where[given]] += 1
    return ClassScores(tuple(names), confusion)


def _names(values: Sequence[object], what: str) -> list[str]:
    names = []
    for number, value in enumerate(values):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise ShapeError(f"Item {number} of the {what} has no class; drop it, or name one.")
        whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        names.append(str(int(float(value))) if whole else str(value))  # type: ignore[arg-type]
    return names
