"""What the axes of an NRRD file are, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from projectome.core.space import micrometres_per
from projectome.errors import ParameterError, Problem
from projectome.io.volumes import nrrd_header as layout
from projectome.io.volumes.flat_volume import FARTHEST, FlatAxis, believed_length, unit_problem
from projectome.io.volumes.nrrd_header import NrrdHeader
from projectome.io.volumes.placement import Floats

CCF = ((1320, 800, 1140), (528, 320, 456), (264, 160, 228), (132, 80, 114))
"""Sizes of the volumes of the Allen mouse CCF, at 10, 25, 50 and 100 um."""
LPS_NAMES = ("left-posterior-superior", "lps")
UNCLEAR = ("???", "none")
STATE_IT = "State it with --orientation CODE --meaning toward|from."

Axes = tuple[list[FlatAxis], Floats | None]


def axes_of(header: NrrdHeader, problems: list[Problem]) -> Axes:
    """Return the axes, the fastest first, and the centre of the first voxel in LPS.

    Parameters
    ----------
    header
        Of the file.
    problems
        Gets what is doubtful.

    Returns
    -------
    list of FlatAxis
        One an axis of the file.
    numpy.ndarray or None
        Position in LPS [um]; None where the space of the file is not anatomical.

    Raises
    ------
    FormatError
        If fields contradict one another.
    """
    sizes = header.sizes
    kinds = [word.lower() for word in header.words("kinds")] or ["???"] * len(sizes)
    if len(kinds) != len(sizes) or "complex" in kinds:
        raise header.error("kinds", f"not one real kind for each of the {len(sizes)} axes")
    directions = header.vectors("spacedirections")
    if not directions:
        return _spaced(header, sizes, _letters(kinds, _by_kind(kinds)), problems), None
    if len(directions) != len(sizes):
        raise header.error("spacedirections", f"not one for each of the {len(sizes)} axes")
    frame = _frame(header, directions, problems)
    letters = _letters(kinds, [v is not None and bool(v[:3].any()) for v in frame.steps])
    axes = [
        FlatAxis(letter, size, step, _length(step) if letter in "xyz" else None)
        for letter, size, step in zip(letters, sizes, frame.steps, strict=True)
    ]
    return _placed(header, axes, frame, problems)


def _by_kind(kinds: list[str]) -> list[bool]:
    if all(kind in UNCLEAR for kind in kinds):
        return [len(kinds) <= 3] * len(kinds)
    return [kind in ("domain", "space") for kind in kinds]


def _letters(kinds: list[str], spatial: list[bool]) -> list[str]:
    """Return the letter of each axis, the fastest first; ``?`` where it is not clear."""
    found: list[str] = []
    for kind, here in zip(kinds, spatial, strict=True):
        if here and "z" not in found:
            found.append("xyz"[sum(letter in "xyz" for letter in found)])
        elif kind in ("time", "domain", "space"):  # the fourth axis of a domain
            found.append("t")
        else:
            found.append("?" if kind in UNCLEAR else "c")
    return found


def _spaced(
    header: NrrdHeader, sizes: list[int], letters: list[str], problems: list[Problem]
) -> list[FlatAxis]:
    """Return axes of which at most a spacing and a beginning are stated."""
    nothing: list[float | None] = [None] * len(sizes)
    spacings = layout.numbers(header.words("spacings")) or nothing
    mins = layout.numbers(header.words("axismins")) or nothing
    if not len(spacings) == len(mins) == len(sizes):
        raise header.error("spacings", f"not one for each of the {len(sizes)} axes")
    stated = [abs(v) for v, n in zip(spacings, letters, strict=True) if v and n in "xyz"]
    factors = _factors(header, "units", letters, stated, problems)
    centers = [word.lower() for word in (header.words("centerings") or header.words("centers"))]
    axes = []
    for i, (letter, spacing, low) in enumerate(zip(letters, spacings, mins, strict=True)):
        length = None if spacing is None else believed_length(abs(spacing) * factors[i])
        position = 0.0 if low is None or abs(low) > FARTHEST else low * factors[i]
        if low is not None and length and centers[i : i + 1] != ["node"]:
            position += length / 2  # the edge of the first cell is stated
        axes.append(FlatAxis(letter, sizes[i], None, length, position))
    return axes


def _factors(
    header: NrrdHeader,
    field: str,
    letters: Sequence[str],
    stated: Sequence[float],
    problems: list[Problem],
) -> list[float]:
    """Return the micrometres in the unit of each axis."""
    words = header.words(field)
    if not any(words):
        if stated:
            problems.append(unit_problem(layout.SPELLED.get(field, field), stated[::-1]))
        return [1.0] * len(letters)
    factors = []
    for letter, word in zip(letters, [*words, *[""] * len(letters)], strict=False):
        try:
            factors.append(micrometres_per(word))
        except ParameterError:
            factors.append(1.0)
            if letter in "xyz":
                text = f"{word!r} is no unit of length; read as micrometres."
                problems.append(Problem("warning", layout.SPELLED.get(field, field), text))
    return factors


@dataclass(frozen=True, slots=True)
class _Frame:
    """The space of a file [um]: its name in lower case, a step along each axis, the origin."""

    name: str
    steps: list[Floats | None]
    origin: Floats

    @property
    def signs(self) -> tuple[int, int, int] | None:
        """Signs that turn it into LPS; None where it is not anatomical."""
        return layout.SPACES.get(self.name.removesuffix("-time"))

    @property
    def untouched(self) -> bool:
        """Whether the directions are those of LPS one by one."""
        known = [step for step in self.steps if step is not None]
        return self.name in LPS_NAMES and all(
            np.count_nonzero(step) == 1 and step[i] > 0 for i, step in enumerate(known)
        )


def _frame(
    header: NrrdHeader, directions: list[list[float] | None], problems: list[Problem]
) -> _Frame:
    stated = [vector for vector in directions if vector is not None]
    if len({len(vector) for vector in stated}) != 1 or not 1 <= len(stated[0]) <= 4:
        raise header.error("spacedirections", "which are not vectors of one length")
    origin = (header.vectors("spaceorigin") or [None])[0] or [0.0] * len(stated[0])
    if len(origin) != len(stated[0]):
        raise header.error("spaceorigin", "of another length than the directions")
    with np.errstate(all="ignore"):
        norms = [float(np.hypot.reduce(vector[:3])) for vector in stated][:3]
        letters = [*"xyzt"][: len(origin)]
        factors = np.array(_factors(header, "spaceunits", letters, norms, problems))
        steps = [None if v is None else np.array(v) * factors for v in directions]
        start = np.array(origin) * factors
    if not np.abs(start).max() <= FARTHEST:
        raise header.error("spaceorigin", "which is too far away to be meant")
    return _Frame(header.fields.get("space", "").lower(), steps, start)


def _length(step: Floats | None) -> float | None:
    with np.errstate(all="ignore"):
        return None if step is None else believed_length(float(np.hypot.reduce(step[:3])))


def _placed(
    header: NrrdHeader, axes: list[FlatAxis], frame: _Frame, problems: list[Problem]
) -> Axes:
    """Return the axes with their steps in LPS, or without where nobody knows them."""
    spatial = [axis for axis in axes if axis.letter in "xyz"]
    signs = frame.signs
    if signs is not None and frame.untouched and tuple(axis.size for axis in axes) in CCF:
        problems.append(_ccf(header))
        return [FlatAxis(axis.letter, axis.size, None, axis.spacing) for axis in axes], None
    if signs is not None and len(frame.origin) >= 3 and all(axis.spacing for axis in spatial):
        if frame.untouched:
            text = f"The axes run along {frame.name} one by one, which is also what programs write "
            text += f"where nobody stated an orientation. Check it. {STATE_IT}"
            problems.append(Problem("warning", "space directions", text))
        lps = np.array(signs, dtype=np.float64)
        placed = [
            FlatAxis(a.letter, a.size, None if a.step is None else a.step[:3] * lps, a.spacing)
            for a in axes
        ]
        return placed, frame.origin[:3] * lps
    straight = all(
        a.step is not None and np.count_nonzero(a.step) == 1 and a.step["xyz".find(a.letter)] > 0
        for a in spatial
        if "xyz".find(a.letter) < len(frame.origin)
    )
    text = "No anatomical space is stated: the orientation is unknown"
    text += ". " if straight else ", and so is the position, because the axes are turned. "
    problems.append(Problem("warning", "space", text + STATE_IT))
    start = dict(zip("xyz", frame.origin.tolist(), strict=False)) if straight else {}
    return [
        FlatAxis(a.letter, a.size, None, a.spacing, start.get(a.letter, 0.0)) for a in axes
    ], None


def _ccf(header: NrrdHeader) -> Problem:
    return Problem(
        "warning",
        "space directions",
        f"A grid of {header.fields['sizes']} voxels is that of the Allen mouse CCF, whose first "
        "axis runs from anterior to posterior, the second from superior to inferior, the third "
        f"from side to side; its files say {header.fields['space']} all the same. That is not "
        "believed, and the orientation is unknown. State it in the order z, y, x of this volume, "
        "which is third, second, first: --orientation RIP or LIP --meaning toward.",
    )
