"""From what the header of a flat file says to a volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import triple
from projectome.core.space import Space, Towards
from projectome.core.volume import Kind, Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.flat_array import FlatArray
from projectome.io.volumes.flat_bytes import Bytes, PlainBytes, cut_off
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL
from projectome.io.volumes.options import (
    OpenOptions,
    check_readable,
    chosen_channels,
    name_of,
    own_space,
    own_span,
    pick_time,
    space_notes,
)
from projectome.io.volumes.placement import Floats, placed, stated
from projectome.io.volumes.tiff_metadata import DIRECTIONS

UNKNOWN: Towards = (None, None, None)
FARTHEST = 1e12
"""Farthest position that is believed [um]."""


@dataclass(frozen=True, slots=True)
class FlatAxis:
    """One axis of the array of a file.

    Attributes
    ----------
    letter
        Of t, c, z, y, x, or another for an axis of which one place is picked.
    size
        Its length.
    step
        A step along it in the LPS frame [um]; None where the frame is not anatomical.
    spacing
        Length of that step [um]; None where it is not stated.
    position
        Where the centre of its first element lies along it [um], where no frame says so.
    """

    letter: str
    size: int
    step: Floats | None = None
    spacing: float | None = None
    position: float = 0.0


@dataclass(frozen=True, slots=True)
class FlatFacts:
    """What the header of a file says.

    Attributes
    ----------
    format, version
        What it is.
    axes
        Of the array as it lies, the slowest first.
    element
        Element type with its byte order.
    origin
        Centre of the first voxel in the LPS frame [um].
    channels
        Channel names; may be fewer than there are channels.
    labels
        Whether the format says that the voxels are labels.
    scaling
        What each element is multiplied with and what is added then.
    name
        Of the image.
    own
        What projectome wrote beside the format's own, see `notes_of`.
    problems
        What was doubtful.
    context
        The header.
    """

    format: str
    version: str
    axes: tuple[FlatAxis, ...]
    element: np.dtype[np.generic]
    origin: Floats | None = None
    channels: tuple[str, ...] = ()
    labels: bool = False
    scaling: tuple[float, float] | None = None
    name: str = ""
    own: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    context: bytes = b""

    @property
    def nbytes(self) -> int:
        """Size of the array [bytes]."""
        return math.prod(axis.size for axis in self.axes) * self.element.itemsize

    def with_problems(self, problems: Sequence[Problem]) -> FlatFacts:
        """Return the same facts with other problems."""
        return replace(self, problems=tuple(problems))


def believed_length(length: float) -> float | None:
    """Return the size of a voxel [um]; None for one that cannot be meant."""
    return length if SMALLEST_VOXEL <= length <= LARGEST_VOXEL else None


def unit_problem(where: str, size: Sequence[float]) -> Problem:
    """Return the problem of a header without a unit.

    Parameters
    ----------
    where
        The field.
    size
        Its voxel size (z, y, x), in the unknown unit.
    """
    millimetres = ",".join(f"{1000 * v:g}" for v in size)
    return Problem(
        "warning",
        where,
        f"No unit is stated; the voxel size {' x '.join(f'{v:g}' for v in size)} (z, y, x) is read "
        f"as micrometres. If it is in millimetres: --voxel-size {millimetres}",
    )


def plain_bytes(
    url: str, access: Access, offset: int, nbytes: int, problems: list[Problem]
) -> PlainBytes:
    """Return the bytes of an array that lies uncompressed in a file, if it is all there.

    Raises
    ------
    FormatError
        If the file ends before the array does.
    """
    size = stores.read_part(url, 0, 1, access=access)[1]
    if size < offset + nbytes:
        raise cut_off(url, size, offset + nbytes)
    if size > offset + nbytes:
        text = f"{size - offset - nbytes} bytes follow the voxels, which are not read."
        problems.append(Problem("warning", name_of(url), text))
    return PlainBytes(url, access, offset)


def notes_of(volume: Volume) -> dict[str, object]:
    """Return what a header has no place for, as plain data.

    Parameters
    ----------
    volume
        What is written.

    Returns
    -------
    dict
        ``kind`` and what `space_notes` says; ``channels`` where there are some; ``toward``
        (directions of increasing z, y and x) and ``translation_um`` (z, y, x) where not all
        directions are known, so that a header cannot place the volume.
    """
    space = volume.space
    notes: dict[str, object] = {
        "kind": volume.kind,
        **space_notes(space),
    }
    if volume.channels:
        notes["channels"] = list(volume.channels)
    if not space.oriented:
        notes["toward"] = " ".join(word or "?" for word in space.toward)
        notes["translation_um"] = list(volume.affine.translation)
    return notes


def flat_pyramid(url: str, source: Bytes, facts: FlatFacts, options: OpenOptions) -> Pyramid:
    """Return the array of a file as a pyramid of one level.

    Parameters
    ----------
    url
        Its address.
    source
        The bytes of the array.
    facts
        What its header says.
    options
        What the user says.

    Raises
    ------
    ParameterError
        If a fact is missing that only the user can give, or one given does not fit.
    FormatError
        If its axes or elements make no volume.
    """
    problems = list(facts.problems)
    letters = _letters(url, facts, options)
    names = _names(facts)
    kept = {
        letter: number
        for number, (letter, axis) in enumerate(zip(letters, facts.axes, strict=True))
        if letter in "zyx" or (letter == "c" and (axis.size > 1 or len(names) == 1))
    }
    fixed = tuple(
        (i, 0 if letter == "c" else pick_time(facts.axes[i].size, letter, options, url=url))
        for i, letter in enumerate(letters)
        if letter not in kept
    )
    order = [kept.get("z"), kept["y"], kept["x"]]
    if "c" in kept:
        order = [kept["c"], *order]
    stored = tuple(axis.size for axis in facts.axes)
    array = FlatArray(
        source, stored, facts.element, tuple(order), fixed, facts.scaling, facts.context
    )
    check_readable(array, url=url)
    if min(array.shape) < 1:
        raise FormatError(f"{url} has the shape {array.shape}, without any voxel. Restore it.")
    axes = [None if i is None else facts.axes[i] for i in order[-3:]]
    affine = _affine(url, facts, axes, array, options, problems)
    space = own_space(facts.own, affine.target)
    channels = chosen_channels(array.shape[0], names) if "c" in kept else ()
    volume = Volume(
        array,
        affine.with_target(options.described(space)),
        channels,
        _kind(facts, array),
        facts.name or name_of(url),
    )
    metadata = {
        "format": facts.format,
        "version": facts.version,
        "url": url,
        **({"projectome": dict(facts.own)} if facts.own else {}),
    }
    return Pyramid((volume,), tuple(problems), metadata)


def _letters(url: str, facts: FlatFacts, options: OpenOptions) -> str:
    letters = "".join(axis.letter for axis in facts.axes)
    sizes = [axis.size for axis in facts.axes]
    if options.axes is not None:
        if len(options.axes) != len(letters):
            raise ParameterError(
                f"--axes {options.axes} names {len(options.axes)} axes, but {url} has "
                f"{len(letters)}: {letters} with the lengths {sizes}, the slowest first."
            )
        letters = options.axes
    if len({*letters}) != len(letters) or not {"y", "x"} <= {*letters}:
        raise ParameterError(
            f"The axes of {url} with the lengths {sizes}, the slowest first, are not clear: "
            f"{letters!r}. Say which is which, for instance --axes {'tczyx'[-len(letters) :]}."
        )
    return letters


def _names(facts: FlatFacts) -> tuple[str, ...]:
    own = facts.own.get("channels")
    if isinstance(own, list) and all(isinstance(name, str) for name in own):
        return tuple(own)
    return facts.channels


def _kind(facts: FlatFacts, array: FlatArray) -> Kind:
    own = facts.own.get("kind")
    if array.dtype.kind in "iu" and (own == "labels" or (own is None and facts.labels)):
        return "labels"
    return "affinities" if own == "affinities" else "image"


def _affine(
    url: str,
    facts: FlatFacts,
    axes: list[FlatAxis | None],
    array: FlatArray,
    options: OpenOptions,
    problems: list[Problem],
) -> Affine:
    """Return where the array lies, with what the user states."""
    toward = options.described(Space()).toward
    steps = [None if axis is None else axis.step for axis in axes]
    known = [step for step in steps if step is not None]
    if facts.origin is not None and len(known) == 3 and np.linalg.matrix_rank(known) == 3:
        shape = triple(array.shape[-3:])
        columns = np.stack(known, axis=1)
        found: list[Problem] = []
        affine = placed(columns, facts.origin, shape, found, span=own_span(facts.own))
        if toward == UNKNOWN:
            problems += found
        return stated(affine, options.voxel_size, toward)
    size = options.voxel_size or _spacing(url, axes, array, problems)
    space = Space(toward=_own_toward(facts))
    own = facts.own.get("translation_um")
    translation = [0.0 if axis is None else axis.position for axis in axes]
    if isinstance(own, list) and len(own) == 3:
        translation = [float(v) if _is_number(v) else 0.0 for v in own]
    return Affine.from_scale(size, translation, target=space)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < 1e15


def _own_toward(facts: FlatFacts) -> Towards:
    words = str(facts.own.get("toward", "")).split()
    if len(words) != 3:
        return UNKNOWN
    z, y, x = (DIRECTIONS.get(word) for word in words)
    try:
        return Space(toward=(z, y, x)).toward
    except ParameterError:
        return UNKNOWN


def _spacing(
    url: str, axes: list[FlatAxis | None], array: FlatArray, problems: list[Problem]
) -> tuple[float, float, float]:
    z, y, x = (None if axis is None else axis.spacing for axis in axes)
    if z is None and y and x and array.shape[-3] == 1:
        text = "A single plane of unknown thickness: read as 1 um thick."
        problems.append(Problem("warning", "voxel size", text))
        z = 1.0
    if not (z and y and x):
        told = ", ".join(f"{n} {v:g}" for n, v in zip("zyx", (z, y, x), strict=True) if v)
        raise ParameterError(
            f"{url} ({' x '.join(map(str, array.shape))} {array.dtype}) does not state the size of "
            f"its voxels{f', only {told} um' if told else ''}. Give it: --voxel-size Z,Y,X in "
            "micrometres."
        )
    return z, y, x
