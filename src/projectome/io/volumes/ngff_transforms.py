"""Coordinate transformations of OME-NGFF as matrices.

N is the number of axes. A transformation is a homogeneous matrix of shape (N + 1, N + 1) that acts
on columns (a_0 ... a_{N-1}, 1), axes in the order of the file. Displacement fields and
transformations that change the number of axes have no such matrix and are reported as unsupported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from projectome.errors import Problem

Matrix = NDArray[np.float64]
LARGEST = 1e12
"""Largest number accepted in a transformation."""
UNSUPPORTED = ("displacements", "coordinates", "bijection", "projectAxis")


@dataclass(slots=True)
class Findings:
    """Collects what is wrong or doubtful, so that all of it can be told at once."""

    problems: list[Problem] = field(default_factory=list)

    def error(self, where: str, message: str) -> None:
        """Add something that stops reading."""
        self.problems.append(Problem("error", where, message))

    def warn(self, where: str, message: str) -> None:
        """Add something doubtful, with the reading that was taken."""
        self.problems.append(Problem("warning", where, message))

    def failed(self) -> bool:
        """Say whether there is an error among them."""
        return any(p.severity == "error" for p in self.problems)


def number(value: object) -> float | None:
    """Return a finite number of sane size, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= LARGEST else None


def numbers(value: object, count: int) -> list[float] | None:
    """Return `count` finite numbers, None for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        return None
    found = [number(item) for item in value]
    return None if None in found else [v for v in found if v is not None]


def unsupported(transform: object) -> bool:
    """Say whether it is a sound kind of transformation that has no matrix in the document."""
    if not isinstance(transform, Mapping):
        return False
    steps = transform.get("transformations")
    if transform.get("type") == "sequence" and isinstance(steps, Sequence):
        return any(map(unsupported, steps))
    return transform.get("type") in UNSUPPORTED or "path" in transform


def matrix_of(
    transform: object, kinds: Sequence[str], where: str, findings: Findings
) -> Matrix | None:
    """Return the matrix of a transformation.

    Parameters
    ----------
    transform
        A JSON object with a ``type``.
    kinds
        Type of each of the N axes: ``"space"``, ``"time"``, ``"channel"`` or another word.
    where
        Its place in the document, for problems.
    findings
        Collects what is wrong.

    Returns
    -------
    numpy.ndarray or None
        Shape (N + 1, N + 1); None where an error was found.
    """
    if not isinstance(transform, Mapping):
        findings.error(where, f"A transformation is an object with a type, not {transform!r}.")
        return None
    kind = transform.get("type")
    if kind == "sequence":
        return _sequence(transform, kinds, where, findings)
    if kind == "byDimension":
        return _by_dimension(transform, kinds, where, findings)
    if unsupported(transform):
        findings.error(
            where, f"A {kind} that is a field or lies in an array of its own is not read."
        )
        return None
    makers: dict[str, Callable[[object, Sequence[str]], Matrix | str]] = {
        "identity": lambda _, kinds: np.eye(len(kinds) + 1),
        "scale": _scale,
        "translation": _translation,
        "affine": _affine,
        "rotation": _rotation,
        "mapAxis": _map_axis,
    }
    if not isinstance(kind, str) or kind not in makers:
        known = ", ".join([*makers, "sequence", "byDimension"])
        findings.error(where, f"Unknown type of transformation {kind!r}. Known: {known}.")
        return None
    made = makers[kind](transform.get(kind), kinds)
    if isinstance(made, str):
        findings.error(f"{where}.{kind}", f"{made}, not {transform.get(kind)!r}.")
        return None
    return made


def _sequence(
    transform: Mapping[str, object], kinds: Sequence[str], where: str, findings: Findings
) -> Matrix | None:
    steps = transform.get("transformations")
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        findings.error(where, "A sequence needs a list of transformations.")
        return None
    whole: Matrix | None = np.eye(len(kinds) + 1)
    for index, step in enumerate(steps):
        made = matrix_of(step, kinds, f"{where}.transformations[{index}]", findings)
        # First of the list first: "applied in the order of the list".
        whole = None if made is None or whole is None else made @ whole
    return whole


def _by_dimension(
    transform: Mapping[str, object], kinds: Sequence[str], where: str, findings: Findings
) -> Matrix | None:
    """Return the matrix of transformations of some axes each; the axes left out stay."""
    n, steps = len(kinds), transform.get("transformations")
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        findings.error(where, "A byDimension needs a list of transformations.")
        return None
    whole = np.eye(n + 1)
    for index, step in enumerate(steps):
        place = f"{where}.transformations[{index}]"
        data = step if isinstance(step, Mapping) else {}
        outputs, inputs = data.get("outputAxes"), data.get("inputAxes")
        if not (_some_axes(outputs, n) and _some_axes(inputs, n) and len(outputs) == len(inputs)):
            findings.error(place, f"inputAxes and outputAxes name as many of the {n} axes each.")
            return None
        inner = data.get("transformation")
        made = matrix_of(inner, [kinds[i] for i in outputs], f"{place}.transformation", findings)
        if made is None:
            return None
        whole[outputs, :] = 0
        whole[np.ix_([*outputs, n], [*inputs, n])] = made
    return whole


def _some_axes(value: object, n: int) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and all(isinstance(i, int) and 0 <= i < n for i in value)
        and len(set(value)) == len(value) > 0
    )


def _scale(value: object, kinds: Sequence[str]) -> Matrix | str:
    factors = numbers(value, len(kinds))
    if factors is None:
        return f"A scale has {len(kinds)} finite numbers, one an axis"
    if any(f <= 0 for f, kind in zip(factors, kinds, strict=True) if kind == "space"):
        return "A scale is positive along the axes of space"
    # Time and channels have no place in space; some writers leave a zero there.
    sound = [f if f > 0 else 1.0 for f in factors]
    return np.diag([*sound, 1.0])


def _translation(value: object, kinds: Sequence[str]) -> Matrix | str:
    offsets = numbers(value, len(kinds))
    if offsets is None:
        return f"A translation has {len(kinds)} finite numbers, one an axis"
    matrix = np.eye(len(kinds) + 1)
    matrix[:-1, -1] = offsets
    return matrix


def _rows(value: object, height: int, width: int) -> Matrix | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != height:
        return None
    rows = [numbers(row, width) for row in value]
    return None if None in rows else np.array(rows, dtype=np.float64)


def _affine(value: object, kinds: Sequence[str]) -> Matrix | str:
    n = len(kinds)
    rows = _rows(value, n, n + 1)
    if rows is None:
        return f"An affine here has {n} rows of {n + 1} finite numbers"
    return np.vstack([rows, np.eye(n + 1)[-1]])


def _rotation(value: object, kinds: Sequence[str]) -> Matrix | str:
    n = len(kinds)
    rows = _rows(value, n, n)
    if rows is None:
        return f"A rotation here has {n} rows of {n} finite numbers"
    if not np.allclose(rows @ rows.T, np.eye(n), atol=1e-3):
        return "The rows of a rotation are perpendicular and of length 1"
    matrix = np.eye(n + 1)
    matrix[:n, :n] = rows
    return matrix


def _map_axis(value: object, kinds: Sequence[str]) -> Matrix | str:
    n = len(kinds)
    order = numbers(value, n)
    if order is None or sorted(order) != list(range(n)):
        return f"A mapAxis holds each of the numbers 0 to {n - 1} once"
    # "the value at position i indicates which input axis becomes the i-th output axis"
    matrix = np.zeros((n + 1, n + 1))
    matrix[range(n), [int(v) for v in order]] = 1
    matrix[n, n] = 1
    return matrix


def spatial_part(
    matrix: Matrix, kinds: Sequence[str], where: str, findings: Findings
) -> tuple[tuple[str, ...], Matrix] | None:
    """Return what each array axis means, and the map of the axes of space alone.

    Parameters
    ----------
    matrix
        Shape (N + 1, N + 1), array indices to coordinates.
    kinds
        Type of each coordinate.
    where
        Place in the document.
    findings
        Collects what is wrong: a map that mixes space with time or channels, or is singular.

    Returns
    -------
    tuple of str
        Type of each array axis.
    numpy.ndarray
        Shape (S + 1, S + 1) for S axes of space, in their order in array and file.
    """
    n = len(kinds)
    is_space = np.array([kind == "space" for kind in kinds])
    meaning: list[str] = []
    for column in range(n):
        used = np.flatnonzero(matrix[:n, column])
        if used.size and is_space[used].all():
            meaning.append("space")
        elif used.size == 1 and np.count_nonzero(matrix[used[0], :n]) == 1:
            meaning.append(kinds[used[0]])
        else:
            findings.error(
                where,
                f"Array axis {column} runs along no axis, or mixes space with time or channels. "
                "Save the volume with axes of their own for these.",
            )
            return None
    columns = [c for c, kind in enumerate(meaning) if kind == "space"]
    rows = np.flatnonzero(is_space)
    if len(columns) != len(rows):
        findings.error(where, f"{len(columns)} array axes cannot span {len(rows)} axes of space.")
        return None
    part = matrix[np.ix_([*rows, n], [*columns, n])]
    size = np.abs(part[:-1, :-1]).max(initial=1e-300)
    if np.linalg.matrix_rank(part[:-1, :-1] / size) < len(rows):
        findings.error(where, "The transformation flattens space and cannot be inverted.")
        return None
    return tuple(meaning), part
