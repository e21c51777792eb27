"""What an evaluation says: figures with intervals, counts, curves, and where the errors lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import ParameterError, SpaceMismatchError, UnknownNameError
from projectome.io.source import VolumeSource
from projectome.metrics.bootstrap import interval, interval_of_sums

Kind: TypeAlias = Literal[
    "voxels",
    "labels",
    "points",
    "boxes",
    "classes",
    "skeletons",
    "trees",
    "annotators",
    "landmarks",
]
KINDS: tuple[Kind, ...] = (
    "voxels", "labels", "points", "boxes", "classes", "skeletons", "trees", "annotators",
    "landmarks",
)  # fmt: skip
MANY = 20_000
"""Units beyond which fewer draws are made: intervals are narrow then."""
COUNTED = ("item", "place")
"""Units of errors that have no size."""
ERRORS = 200
"""Errors that are kept; all are counted."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        What it is, with its unit in brackets.
    value
        NaN where it is not defined.
    low, high
        Ends of the 95 % confidence interval; NaN where there is none.
    n, of
        How many of what were drawn for the interval.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    of: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A curve.

    Attributes
    ----------
    name, x_name, y_name
        Texts.
    x, y
        Shape (T,).
    """

    name: str
    x_name: str
    y_name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ErrorAt:
    """One error and where to look for it.

    Attributes
    ----------
    what
        For instance ``"split"`` or ``"missed"``.
    name
        Of the object concerned.
    size
        How bad it is, in `unit`; the largest come first.
    unit
        For instance ``"voxels"``.
    point_um
        A place (z, y, x) where it shows [um]; NaN where it has none.
    """

    what: str
    name: str
    size: float
    unit: str
    point_um: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What can be shown around an error.

    Attributes
    ----------
    volumes
        By name; the first is the picture under everything.
    labels
        Names of the volumes whose voxels are labels.
    points
        By name.
    skeletons
        By name.
    radius_um
        Half the side of a picture [um].
    """

    volumes: Mapping[str, VolumeSource] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    points: Mapping[str, Points] = field(default_factory=dict)
    skeletons: Mapping[str, Sequence[Skeleton]] = field(default_factory=dict)
    radius_um: float = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How a prediction agrees with the truth.

    Attributes
    ----------
    kind
        What was compared.
    truth, prediction
        Their addresses.
    settings
        Everything that the figures depend on.
    figures
        In the order of importance.
    counts
        What the figures are made from.
    table
        Rows of details, such as one a class or a threshold.
    lines
        Curves.
    errors
        The worst first, at most 200.
    errors_in_all
        How many there are.
    notes
        What was not computed, and why.
    scene
        For pictures of the errors.
    """

    kind: Kind
    truth: str
    prediction: str
    settings: Mapping[str, object]
    figures: tuple[Figure, ...]
    counts: Mapping[str, float]
    table: Sequence[Mapping[str, object]] = ()
    lines: tuple[Line, ...] = ()
    errors: tuple[ErrorAt, ...] = ()
    errors_in_all: int = 0
    notes: tuple[str, ...] = ()
    scene: Scene = field(default_factory=Scene)

    def document(self) -> dict[str, object]:
        """Return everything but the scene as plain data."""
        return {
            "kind": self.kind,
            "truth": self.truth,
            "prediction": self.prediction,
            "settings": dict(self.settings),
            "intervals": {"level": 0.95, "method": "percentile bootstrap", "seed": 0},
            "figures": [asdict(figure) for figure in self.figures],
            "counts": dict(self.counts),
            "table": [dict(row) for row in self.table],
            "curves": [
                asdict(line) | {"x": line.x.tolist(), "y": line.y.tolist()} for line in self.lines
            ],
            "errors_in_all": self.errors_in_all,
            "errors": [asdict(error) for error in self.errors],
            "notes": list(self.notes),
        }

    def __getitem__(self, name: str) -> float:
        """Return the value of a figure by its name.

        Raises
        ------
        UnknownNameError
            If there is none.
        """
        known = {figure.name: figure.value for figure in self.figures}
        if name not in known:
            raise UnknownNameError("figure", name, known)
        return known[name]


def share_of(
    name: str,
    rows: NDArray[np.float64],
    of: str,
    *,
    statistic: Callable[[NDArray[np.float64]], float] | None = None,
    strata: NDArray[np.int64] | None = None,
) -> Figure:
    """Return a figure made from sums over units, with its interval.

    Parameters
    ----------
    name
        Of the figure.
    rows
        Shape (N, K), one row a unit. The figure is that of the sums of the columns.
    of
        What the units are.
    statistic
        From the K sums to the figure; the first over the second by default.
    strata
        Shape (N,), of which sample each unit is; of each as many are drawn as it has.
    """
    figure = _first_over_second if statistic is None else statistic
    resamples = 2000 if len(rows) <= MANY else 200
    found = interval_of_sums(rows, figure, strata=strata, resamples=resamples)
    return Figure(name, found.value, found.low, found.high, found.n, of)


def mean_of(name: str, values: NDArray[np.float64], of: str) -> Figure:
    """Return the mean of one value a unit, with its interval; units with NaN are left out."""
    found = interval(values)
    return Figure(name, found.value, found.low, found.high, found.n, of)


def _first_over_second(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def same_space(a: Space, b: Space, what: tuple[str, str] = ("truth", "prediction")) -> None:
    """Refuse to compare coordinates of two different spaces.

    Spaces without a name of their own are taken for that of the other; everything else that both
    state has to agree.

    Raises
    ------
    SpaceMismatchError
        If unit, expansion, name, axes or a known direction differ.
    """
    named = "scan" not in (a.name, b.name) and a.name != b.name
    turned = any(s != t for s, t in zip(a.toward, b.toward, strict=True) if s and t)
    facts = {
        "unit": a.unit != b.unit,
        "expansion": not math.isclose(a.expansion, b.expansion),
        "name": named,
        "axes": a.axes != b.axes,
        "toward": turned,
    }
    for fact, differs in facts.items():
        if differs:
            raise SpaceMismatchError(
                f"The {what[0]} and the {what[1]} lie in different spaces: {fact} is "
                f"{getattr(a, fact)} in one and {getattr(b, fact)} in the other. Bring one into "
                "the space of the other, or say what holds with --voxel-size, --orientation or "
                "--expansion."
            )


def need(value: float | None, option: str, why: str) -> float:
    """Return an option without which there is no score.

    Raises
    ------
    ParameterError
        If it was not given.
    """
    if value is None:
        raise ParameterError(f"{why} needs {option}; there is no value that suits all data.")
    return value
