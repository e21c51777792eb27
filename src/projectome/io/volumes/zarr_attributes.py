"""Where an array lies by its attributes, as they are written without OME-Zarr.

Three dialects are understood, the first that is there counting:

- ``transform`` with ``axes``, ``scale``, ``translate`` and ``units``, by the names of its axes
  (COSEM); the translation is the CENTRE of voxel 0;
- ``pixelResolution`` (a list, or ``dimensions`` and ``unit``) and ``downsamplingFactors``, in the
  order (x, y, z) (N5);
- ``voxel_size`` or ``resolution``, ``offset``, ``units`` and ``axis_names``, in the order of the
  array; the offset is the CORNER of voxel 0, and the unit the nanometre where none is stated
  (funlib, E11).

A stated size is that of the voxels as they lie: of expanded tissue it is not divided.

References
----------
N5 metadata: https://github.com/saalfeldlab/n5-viewer. funlib.persistence:
https://github.com/funkelab/funlib.persistence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from projectome.core.space import micrometres_per
from projectome.core.volume import Kind
from projectome.errors import MetadataError, ParameterError, Problem
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL

Three: TypeAlias = tuple[float, float, float]
LETTERS = {"channel": "c", "channels": "c", "ch": "c", "time": "t"}
NAMES = ("channel_names", "channel_labels", "channels")
FARTHEST = 1e12
"""Largest coordinate [um]."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What attributes say of an array.

    Attributes
    ----------
    axes
        One letter an axis in C order; empty if not stated.
    voxel_size
        (z, y, x) [um]; None if not stated.
    translation
        Centre of voxel 0 (z, y, x) [um]; None if not stated.
    channels
        Names of channels; may be empty.
    problems
        What was doubtful.
    """

    axes: str = ""
    voxel_size: Three | None = None
    translation: Three | None = None
    channels: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_attributes(
    attributes: Mapping[str, Any], *, rank: int, url: str, x_first: bool = False
) -> Stated:
    """Read the attributes of an array.

    Parameters
    ----------
    attributes
        As they stand.
    rank
        Axes of the array.
    url
        Whose they are, for messages.
    x_first
        Whether lists are in the order (x, y, z) where they name no axes, as in N5.

    Raises
    ------
    MetadataError
        With all problems, if a voxel size, an offset or a unit is stated that cannot be one.
    """
    reading = _Reading(attributes, rank, x_first, [])
    axes, size, translation = reading.axes(), None, None
    if isinstance(attributes.get("transform"), dict):
        axes, size, translation = reading.transform(attributes["transform"], axes)
    elif "pixelResolution" in attributes:
        size, translation = reading.pixel_resolution()
    elif "voxel_size" in attributes or "resolution" in attributes:
        size, translation = reading.funlib()
    reading.check(size, translation)
    errors = [problem for problem in reading.found if problem.severity == "error"]
    if errors:
        raise MetadataError(
            f"The attributes of {url} do not say where it lies. Correct them, or write the array "
            "without them and give --voxel-size Z,Y,X.",
            reading.found,
        )
    return Stated(axes, size, translation, reading.channels(), tuple(reading.found))


def implied_attributes(
    first: Mapping[str, Any], last: Mapping[str, Any], shapes: Sequence[Any]
) -> list[Mapping[str, Any]]:
    """Return the attributes of all levels, where those between follow from the first and the last.

    They do where both say the same but for the size of their voxels, and the shapes tell for each
    axis and level whether it was halved, so often that the one size becomes the other.

    Parameters
    ----------
    first, last
        Attributes of the finest and of the coarsest level.
    shapes
        Elements an axis of each level, finest first.

    Returns
    -------
    list
        One entry a level; empty where something else may be meant.
    """
    name = "voxel_size" if "voxel_size" in first else "resolution"
    sizes = [said.get(name) for said in (first, last)]
    if {**first, name: 0} != {**last, name: 0} or {"transform", "pixelResolution"} & first.keys():
        return []
    fine, coarse = (
        np.asarray(size, np.float64) if _is_numbers(size) else np.zeros(0) for size in sizes
    )
    if not 0 < fine.size == coarse.size or not all(map(_is_shape, shapes)):
        return []
    extents = [np.asarray(shape)[-fine.size :] for shape in shapes]
    factors = [np.ones(fine.size)]
    if any(len(extent) != fine.size for extent in extents):
        return []
    for now, then in pairwise(extents):
        halved = (then == now // 2) | (then == -(-now // 2))
        if not (halved ^ (now == then)).all():
            return []  # also where one element is left, which may stand for one or two
        factors.append(factors[-1] * np.where(halved, 2.0, 1.0))
    if not np.allclose(fine * factors[-1], coarse, rtol=1e-9, atol=0):
        return []
    middle = [{**first, name: (fine * factor).tolist()} for factor in factors[1:-1]]
    return [first, *middle, last]


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(v) in (int, float) for v in value)


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 < n < 2**62 for n in value)


def stated_kind(dtype: np.dtype[np.generic], problems: list[Problem]) -> Kind:
    """Return the kind of an array whose attributes do not say it.

    Integers of 64 bits are ids: no microscope counts so far.
    """
    if dtype.kind not in "iu" or dtype.itemsize < 8:
        return "image"
    text = f"It is not stated; elements of type {dtype} are read as labels."
    problems.append(Problem("warning", "kind", text))
    return "labels"


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads one after the other, and collects what is wrong."""

    attributes: Mapping[str, Any]
    rank: int
    x_first: bool
    found: list[Problem]

    def error(self, where: str, text: str) -> None:
        self.found.append(Problem("error", where, text))

    def warn(self, where: str, text: str) -> None:
        self.found.append(Problem("warning", where, text))

    def axes(self) -> str:
        """Return the letters of ``axis_names`` or ``axes``; funlib marks channels with ``^``."""
        for name in ("axis_names", "axes"):
            value = self.attributes.get(name)
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                continue
            letters = _letters(value[::-1] if self.x_first else value)
            if len(letters) == self.rank and {*"yx"} <= {*letters}:
                return letters
            self.warn(name, f"{value!s:.80} are not the {self.rank} axes of an image; ignored.")
        return ""

    def numbers(self, name: str, value: object) -> list[float] | None:
        """Return three numbers in the order (z, y, x), leaving out those of other axes."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = [value] * 3
        if (
            not isinstance(value, list)
            or not 2 <= len(value) <= max(3, self.rank)
            or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
            or not all(abs(v) < 1e300 for v in value)
        ):
            self.error(name, f"One number an axis is needed, not {value!s:.80}.")
            return None
        ordered = [float(v) for v in (value[::-1] if self.x_first else value)]
        axes = self.axes() if len(ordered) == self.rank and len(ordered) > 3 else ""
        if axes:
            by_name = dict(zip(axes, ordered, strict=True))
            return [by_name.get(letter, 1.0) for letter in "zyx"]
        return [1.0] * (3 - len(ordered)) + ordered[-3:]

    def unit(self, where: str, value: object, default: str) -> float | None:
        """Return the micrometres in a unit; lists have one unit an axis, all the same."""
        if isinstance(value, list):
            lengths = {str(v) for v in value if v not in ("", None)} - {"channel", "pixel"}
            if len(lengths) > 1:
                self.error(where, f"{sorted(lengths)} are different units; state them all in one.")
                return None
            value = next(iter(lengths), None)
        if value in (None, ""):
            self.warn(where, f"No unit is stated; read as {default}.")
            value = default
        try:
            return micrometres_per(str(value))
        except ParameterError as error:
            self.error(where, str(error))
            return None

    def transform(
        self, transform: Mapping[str, Any], axes: str
    ) -> tuple[str, Three | None, Three | None]:
        names = transform.get("axes")
        scale, translate, units = (transform.get(n) for n in ("scale", "translate", "units"))
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self.error("transform.axes", f"Names of axes are needed, not {names!s:.80}.")
            return axes, None, None
        letters = _letters(names)
        if not {*"yx"} <= {*letters} or len({*letters}) != len(letters):
            self.error("transform.axes", f"{names!s:.80} are no axes of an image.")
            return axes, None, None
        parts = [part for part in (scale, translate, units) if part is not None]
        if not all(isinstance(part, list) and len(part) == len(names) for part in parts):
            self.error("transform", f"It has not one entry an axis: {dict(transform)!s:.120}.")
            return axes, None, None
        place = {letter: i for i, letter in enumerate(letters)}
        found: list[Three | None] = []
        listed = None if units is None else [units[place[n]] for n in "zyx" if n in place]
        per = self.unit("transform.units", listed, "nm")
        for name, value, missing in (("scale", scale, 1.0), ("translate", translate, 0.0)):
            chosen = [missing] * 3
            if value is not None:
                chosen = [value[place[n]] if n in place else missing for n in "zyx"]
            plain = _Reading({}, 3, False, self.found).numbers(f"transform.{name}", chosen)
            found.append(_scaled(plain, per))
        fortran = transform.get("ordering") == "F"
        if not axes and len(letters) == self.rank:
            axes = letters[::-1] if fortran else letters
        return axes, found[0], found[1]

    def pixel_resolution(self) -> tuple[Three | None, Three | None]:
        value = self.attributes["pixelResolution"]
        unit = self.attributes.get("units", self.attributes.get("unit"))
        if isinstance(value, dict):
            unit = value.get("unit", unit)
            value = value.get("dimensions")
        reading = _Reading(self.attributes, self.rank, True, self.found)  # always (x, y, z)
        size = reading.numbers("pixelResolution", value)
        factors = self.attributes.get("downsamplingFactors")
        per = self.unit("pixelResolution.unit", unit, "um")
        if size is None or factors is None or (isinstance(factors, list) and _nested(factors)):
            return _scaled(size, per), None
        factor = reading.numbers("downsamplingFactors", factors)
        if factor is None:
            return None, None
        coarse = [s * f for s, f in zip(size, factor, strict=True)]
        centre = [s * (f - 1) / 2 for s, f in zip(size, factor, strict=True)]
        return _scaled(coarse, per), _scaled(centre, per)

    def funlib(self) -> tuple[Three | None, Three | None]:
        name = "voxel_size" if "voxel_size" in self.attributes else "resolution"
        size = self.numbers(name, self.attributes[name])
        offset: list[float] | None = [0.0, 0.0, 0.0]
        if self.attributes.get("offset") is not None:
            offset = self.numbers("offset", self.attributes["offset"])
        per = self.unit("units", self.attributes.get("units", self.attributes.get("unit")), "nm")
        if size is None or offset is None:
            return None, None
        # The offset is a corner, and voxel 0 lies half a voxel on.
        centre = [o + s / 2 for o, s in zip(offset, size, strict=True)]
        return _scaled(size, per), _scaled(centre, per)

    def check(self, size: Three | None, translation: Three | None) -> None:
        """Refuse what can be no size and no place."""
        if size is not None and not all(SMALLEST_VOXEL <= s <= LARGEST_VOXEL for s in size):
            text = f"Voxels of {size} um are not between {SMALLEST_VOXEL} and {LARGEST_VOXEL} um."
            self.error("voxel size", text)
        if translation is not None and not all(abs(t) <= FARTHEST for t in translation):
            self.error("offset", f"{translation} um is out of reach.")

    def channels(self) -> tuple[str, ...]:
        for name in NAMES:
            value = self.attributes.get(name)
            if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
                return tuple(value)
        return ()


def _letters(names: Sequence[str]) -> str:
    plain = [name.strip().rstrip("^").lower() for name in names]
    letters = [LETTERS.get(name, name) for name in plain]
    return "".join(letters) if all(len(letter) == 1 for letter in letters) else ""


def _nested(factors: list[object]) -> bool:
    return any(isinstance(factor, list) for factor in factors)


def _scaled(numbers: Sequence[float] | None, per: float | None) -> Three | None:
    if numbers is None or per is None:
        return None
    z, y, x = (float(n) * per for n in numbers)
    return z, y, x
