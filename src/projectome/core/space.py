"""What a coordinate means: axis names, anatomical directions, unit, name and expansion.

A direction is a word, never a letter whose meaning has to be guessed: `Space.toward` holds for each
axis the direction in which its coordinate INCREASES. Three-letter codes are used in the field with
both meanings (nibabel's ``RAS`` runs toward right, anterior, superior; BrainGlobe's ``asr`` starts
from anterior, superior, right), which is why `Space.from_code` asks which one is meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from projectome.errors import OrientationUnknownError, ParameterError

Direction: TypeAlias = Literal["left", "right", "anterior", "posterior", "superior", "inferior"]
Meaning: TypeAlias = Literal["toward", "from"]
Unit: TypeAlias = Literal["micrometer", "voxel"]
Names: TypeAlias = tuple[str, str, str]
Towards: TypeAlias = tuple[Direction | None, Direction | None, Direction | None]

OPPOSITE: dict[Direction, Direction] = {
    "left": "right",
    "right": "left",
    "anterior": "posterior",
    "posterior": "anterior",
    "superior": "inferior",
    "inferior": "superior",
}
LETTER: dict[str, Direction] = {d[0]: d for d in OPPOSITE}
# Rows of the LPS frame of ITK and DICOM: the sign of a step toward each direction.
LPS: dict[Direction, tuple[int, int]] = {
    "left": (0, 1),
    "right": (0, -1),
    "posterior": (1, 1),
    "anterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
MICROMETRES: dict[str, float] = {
    **dict.fromkeys(("angstrom", "ångström", "å"), 1e-4),
    **dict.fromkeys(("nanometer", "nanometre", "nm"), 1e-3),
    **dict.fromkeys(("micrometer", "micrometre", "micron", "microns", "um", "µm", "μm"), 1.0),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), 1e3),
    **dict.fromkeys(("centimeter", "centimetre", "cm"), 1e4),
    **dict.fromkeys(("inch", "in"), 25400.0),
    **dict.fromkeys(("meter", "metre", "m"), 1e6),
}
"""Micrometres in one of each unit; the keys are lower case."""


def micrometres_per(unit: str) -> float:
    """Return how many micrometres one `unit` is.

    Raises
    ------
    ParameterError
        If the unit of length is not known.
    """
    try:
        return MICROMETRES[unit.strip().lower()]
    except KeyError:
        raise ParameterError(
            f"Unknown unit of length {unit!r}. Known: " + ", ".join(sorted(MICROMETRES)) + "."
        ) from None


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a space: its name and where its coordinate increases to."""

    name: str
    toward: Direction | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """What a coordinate triple means.

    Attributes
    ----------
    name
        For instance ``"scan"``, ``"allen_mouse"`` or ``"voxel"``.
    axes
        Axis names in the order of the coordinates.
    toward
        Direction of increasing coordinate an axis; None where unknown. Never guessed.
    unit
        ``"micrometer"`` for physical spaces, ``"voxel"`` for array indices.
    expansion
        How many micrometres of this space one micrometre of tissue is: 1 for tissue, about 4 for
        a gel expanded fourfold.
    span
        From the centre of the first voxel to that of the last one along each axis of the volume
        that this space was made for; None where that is the volume at hand. By it ITK places parts
        of a volume as it does the whole (`projectome.core.affine.itk_geometry`). It takes no part
        in comparisons: a coordinate means the same with it and without.
    """

    name: str = "scan"
    axes: Names = ("z", "y", "x")
    toward: Towards = (None, None, None)
    unit: Unit = "micrometer"
    expansion: float = 1.0
    span: tuple[float, float, float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if len(self.axes) != 3 or len(set(self.axes)) != 3:
            raise ParameterError(f"A space needs three different axis names, not {self.axes!r}.")
        if len(self.toward) != 3:
            raise ParameterError(f"A space needs one direction an axis, not {self.toward!r}.")
        known = [d for d in self.toward if d is not None]
        for direction in known:
            if direction not in OPPOSITE:
                raise ParameterError(
                    f"Unknown direction {direction!r}. Known: {', '.join(OPPOSITE)}."
                )
        if len({frozenset((d, OPPOSITE[d])) for d in known}) != len(known):
            raise ParameterError(
                f"Two axes of a space cannot run along one anatomical line: {self.toward!r}."
            )
        if self.unit not in ("micrometer", "voxel"):
            raise ParameterError(
                f"Coordinates are in micrometers or voxels, not {self.unit!r}; convert them."
            )
        if not (math.isfinite(self.expansion) and 0.1 <= self.expansion <= 100):
            raise ParameterError(
                f"An expansion factor lies between 0.1 and 100, not {self.expansion!r}."
            )
        if self.span is not None and not (
            len(self.span) == 3 and all(math.isfinite(s) and s >= 0 for s in self.span)
        ):
            raise ParameterError(f"A span is three lengths, none negative, not {self.span!r}.")

    @classmethod
    def voxels(cls, name: str = "voxel") -> Space:
        """Return the space of array indices, voxel 0 having its centre at 0."""
        return cls(name=name, unit="voxel")

    @classmethod
    def from_code(
        cls,
        code: str,
        *,
        meaning: Meaning,
        name: str = "scan",
        axes: Names = ("z", "y", "x"),
        expansion: float = 1.0,
    ) -> Space:
        """Return a space from a three-letter orientation code.

        Parameters
        ----------
        code
            One of L, R, A, P, S, I an axis, in the order of `axes`; case does not matter.
        meaning
            ``"toward"`` if a letter says where the coordinate increases to (nibabel, ITK-SNAP's
            header), ``"from"`` if it says where it starts (BrainGlobe, ITK's historical codes).
            No default on purpose: the field uses both.
        name, axes, expansion
            As the attributes.

        Returns
        -------
        Space
            In micrometres.

        Raises
        ------
        ParameterError
            If the code does not name three different anatomical lines.

        Examples
        --------
        >>> Space.from_code("asr", meaning="from").toward
        ('posterior', 'inferior', 'left')
        """
        letters = code.strip().lower()
        if meaning not in ("toward", "from"):
            raise ParameterError(f"meaning is 'toward' or 'from', not {meaning!r}.")
        if len(letters) != 3 or any(letter not in LETTER for letter in letters):
            raise ParameterError(
                f"An orientation code has three of the letters L R A P S I, not {code!r}."
            )
        named = [LETTER[letter] for letter in letters]
        toward = named if meaning == "toward" else [OPPOSITE[d] for d in named]
        return cls(name=name, axes=axes, toward=cast(Towards, tuple(toward)), expansion=expansion)

    @property
    def oriented(self) -> bool:
        """Whether the direction of every axis is known."""
        return None not in self.toward

    def require_orientation(self, purpose: str) -> tuple[Direction, Direction, Direction]:
        """Return the directions, all known.

        Parameters
        ----------
        purpose
            What they are needed for, for the error.

        Raises
        ------
        OrientationUnknownError
            If one is unknown.
        """
        if None in self.toward:
            raise OrientationUnknownError(
                f"{purpose} needs the anatomical orientation of {self.name!r}, which is not "
                "stated. Give it: --orientation CODE --meaning toward|from."
            )
        return cast(tuple[Direction, Direction, Direction], self.toward)

    def code(self, *, meaning: Meaning) -> str:
        """Return the three-letter code, in the order of the axes; ``?`` where unknown."""
        words = (
            self.toward
            if meaning == "toward"
            else tuple(None if d is None else OPPOSITE[d] for d in self.toward)
        )
        return "".join("?" if d is None else d[0].upper() for d in words)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(Axis(n, t) for n, t in zip(self.axes, self.toward, strict=True))

    def renamed(self, name: str) -> Space:
        """Return the same space under another name."""
        return replace(self, name=name)

    @property
    def tissue(self) -> Space:
        """The same space in micrometres of tissue: expansion 1."""
        return replace(self, expansion=1.0)


def signed_permutation(source: Space, target: Space) -> NDArray[np.float64]:
    """Return the matrix that turns steps along `source` axes into steps along `target` axes.

    Parameters
    ----------
    source, target
        Two spaces with known orientation.

    Returns
    -------
    numpy.ndarray of float64
        Shape (3, 3), one entry of 1 or -1 a row and a column. A step ``v`` in `source` is the step
        ``matrix @ v`` in `target`. Its determinant is -1 where a mirror lies between the two.

    Raises
    ------
    OrientationUnknownError
        If an orientation is unknown.
    """
    matrix = np.zeros((3, 3))
    rows = target.require_orientation("Turning axes")
    for column, direction in enumerate(source.require_orientation("Turning axes")):
        for row, other in enumerate(rows):
            if other == direction:
                matrix[row, column] = 1
            elif other == OPPOSITE[direction]:
                matrix[row, column] = -1
    return matrix


def lps_directions(toward: Sequence[Direction]) -> NDArray[np.float64]:
    """Return the direction cosines in the LPS frame of ITK and DICOM.

    Parameters
    ----------
    toward
        Direction of increasing index of each image axis, K of them.

    Returns
    -------
    numpy.ndarray of float64
        Shape (3, K); column k is a unit step along image axis k.
    """
    matrix = np.zeros((3, len(toward)))
    for column, direction in enumerate(toward):
        row, sign = LPS[direction]
        matrix[row, column] = sign
    return matrix


def all_orientations() -> list[Towards]:
    """Return the 48 ways in which three axes can lie along the anatomical lines."""
    lines: list[tuple[Direction, Direction]] = [
        ("left", "right"),
        ("anterior", "posterior"),
        ("superior", "inferior"),
    ]
    return [cast(Towards, chosen) for order in permutations(lines) for chosen in product(*order)]
