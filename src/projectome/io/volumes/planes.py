"""Planes of a microscope's own file as lazy volumes: what such formats have in common.

A reader of one format says where its planes are and what the file knows of the instrument; reading
boxes, choosing a place along further axes and the facts of the acquisition are the same for all.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.options import OpenOptions, pick_time

THREADS = 4
TOTAL_BELIEVED, RATIO_LIMIT = 2**30, 100_000
"""Declared pixels [bytes] beyond which they may be at most so many times the file."""
Size = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Channel:
    """What a file says of one channel.

    Attributes
    ----------
    name
        What the microscope calls it.
    excitation_nm, emission_nm
        Wavelengths [nm]; None where not stated.
    dye
        The fluorophore; None where not stated.
    """

    name: str
    excitation_nm: float | None = None
    emission_nm: float | None = None
    dye: str | None = None


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What a file says of how its image was taken; None where it does not.

    Attributes
    ----------
    objective
        Name of the objective.
    magnification, numerical_aperture
        Of the objective.
    immersion
        Medium, or its refractive index.
    microscope
        Name of the instrument.
    acquired
        When, as ISO 8601 where the file's own form allows.
    stage_um
        Position of the stage as the file states it (z, y, x) [um].
    channels
        One entry a channel of the file.
    """

    objective: str | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None
    immersion: str | None = None
    microscope: str | None = None
    acquired: str | None = None
    stage_um: Size | None = None
    channels: tuple[Channel, ...] = ()

    def metadata(self) -> dict[str, object]:
        """Return what is known as plain data, without what is not."""
        known = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        if self.channels:
            known["channels"] = [
                {key: value for key, value in asdict(channel).items() if value is not None}
                for channel in self.channels
            ]
        return known


class PlaneSource(Protocol):
    """Planes of one size and type, wherever they lie in a file."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""

    def read(self, z: int, channels: slice, y: slice, x: slice) -> Array:
        """Return a part of some channels of one plane, axes (c, y, x)."""

    def evidence(self) -> Iterator[bytes]:
        """Yield what tells the content of the file apart from any other."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneArray:
    """Planes as a lazy array with the axes (z, y, x) or (c, z, y, x).

    Attributes
    ----------
    source
        Where they come from.
    shape
        Elements an axis.
    chunks
        Elements an axis that are best read together.
    context
        Further metadata that belongs to its content.
    """

    source: PlaneSource
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    context: bytes = b""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""
        return self.source.dtype

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If a plane among them is broken.
        """
        channels = index[0] if len(index) == 4 else slice(0, 1)
        z, y, x = index[-3:]
        counts = [s.stop - s.start for s in (channels, z, y, x)]
        out = np.empty(counts, self.dtype)

        def fill(plane: int) -> None:
            out[:, plane - z.start] = self.source.read(plane, channels, y, x)

        if out.size and counts[1] == 1:
            fill(z.start)
        elif out.size:
            with ThreadPoolExecutor(min(THREADS, counts[1])) as pool:
                for _ in pool.map(fill, range(z.start, z.stop)):
                    pass
        return read_only(out if len(index) == 4 else out[0])

    def evidence(self) -> Iterator[bytes]:
        """Yield metadata and samples of the file."""
        yield self.context
        yield from self.source.evidence()


class RandomAccess:
    """A file or object of any store, read piece by piece, never beyond its end.

    Parameters
    ----------
    url
        Its address.
    kind
        What to call the format in messages.
    access
        How to ask.

    Raises
    ------
    StoreError
        If it cannot be opened.
    """

    def __init__(self, url: str, kind: str, access: Access) -> None:
        self.url, self.kind, self.access = url, kind, access
        self._file = stores.open_file(url, access=access)
        self.close = weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        with stores.mapped(url, "read"):
            self.size = self._file.seek(0, 2)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.kind, self.access)

    def read(self, start: int, count: int) -> bytes:
        """Return exactly so many bytes.

        Raises
        ------
        FormatError
            If the file ends before, or is said to begin later.
        """
        if start < 0 or count < 0 or start + count > self.size:
            raise self.broken(
                f"it is cut off, or damaged: bytes {start} to {start + count} of {self.size}"
            )
        with self._lock, stores.mapped(self.url, "read"):
            self._file.seek(start)
            data = self._file.read(count)
        if len(data) != count:
            raise self.broken(f"it is cut off at byte {start + len(data)}")
        return data

    def broken(self, why: BaseException | str) -> FormatError:
        """Return the error for a file that cannot be read."""
        text = str(why).split("\n")[0][:300] or type(why).__name__
        return FormatError(
            f"The {self.kind} file {self.url} is broken, or beyond what can be read: {text}. "
            "Restore it from its source, or export it as OME-TIFF with the microscope's software."
        )

    def check_believed(self, declared: int) -> None:
        """Refuse more pixels than such a file could hold.

        Raises
        ------
        FormatError
            With the two sizes [bytes].
        """
        if declared > max(TOTAL_BELIEVED, RATIO_LIMIT * self.size):
            raise self.broken(
                f"it declares {declared} bytes of pixels in a file of {self.size} bytes"
            )


def pick_places(sizes: Mapping[str, int], options: OpenOptions, *, url: str) -> dict[str, int]:
    """Return the place to read along each axis that a volume does not have.

    The address names a place as in ``stack.czi#h=3,t=0``; one axis that is left takes ``--time``,
    and of several the axis t.

    Parameters
    ----------
    sizes
        Places along each axis by its letter.
    options
        What the user says.
    url
        For messages.

    Raises
    ------
    ParameterError
        If a choice is missing or out of range, with a list of the axes; or if the user names the
        axes, which these formats do themselves.
    """
    if options.axes is not None:
        raise ParameterError(
            f"{url} says itself what its axes are; leave out --axes {options.axes}. Choose a place "
            f"along one behind the address, as in {url}#t=0"
        )
    places = dict.fromkeys(sizes, 0)
    for letter, place in options.places.items():
        if letter not in sizes:
            known = ", ".join(f"{name} ({size})" for name, size in sizes.items()) or "none"
            raise ParameterError(
                f"{url} has no axis {letter!r} to choose a place of. Its axes of which a volume "
                f"holds one place: {known}."
            )
        if place >= sizes[letter]:
            raise ParameterError(
                f"No place {place} along the axis {letter!r} of {url}: it goes from 0 to "
                f"{sizes[letter] - 1}."
            )
        places[letter] = place
    left = {name: n for name, n in sizes.items() if n > 1 and name not in options.places}
    if "t" in left and options.time is not None:
        places["t"] = pick_time(left.pop("t"), "t", options, url=url)
    elif len(left) == 1:
        name, size = left.popitem()
        places[name] = pick_time(size, name, options, url=url)
    if left:
        shown = ", ".join(f"{name} (0 to {size - 1})" for name, size in left.items())
        example = ",".join(f"{name}=0" for name in left)
        raise ParameterError(
            f"{url} has several axes of which a volume holds one place: {shown}. Choose a place "
            f"on each behind the address: {url}#{example}"
        )
    return places


def pick_series(count: int, largest: int, what: str, options: OpenOptions, *, url: str) -> int:
    """Return which of several images of a file to read.

    Parameters
    ----------
    count
        How many there are.
    largest
        Which one is read if none is asked for.
    what
        What the format calls them, for instance ``"positions"``.
    options
        What the user says.
    url
        For messages.

    Raises
    ------
    FormatError
        If there is no such image.
    """
    if options.series is None:
        return largest
    if options.series >= count:
        raise FormatError(
            f"{url} has no image #{options.series}; it has {count} {what}: #0 to #{count - 1}."
        )
    return options.series


def series_problem(count: int, chosen: int, what: str, *, url: str) -> Problem:
    """Return the warning that other images of a file are not read."""
    text = f"Of {count} {what}, #{chosen} is read; choose with {url}#N."
    return Problem("warning", what, text)


def stated_voxel_size(
    stated: Size, depth: int, options: OpenOptions, problems: list[Problem], what: str
) -> tuple[float, float, float]:
    """Return the voxel size that the user gives, or the file states.

    Parameters
    ----------
    stated
        (z, y, x) [um] of the file; None where it does not say.
    depth
        Planes; a single one of unknown thickness counts as 1 um thick.
    options
        What the user says.
    problems
        Where a doubt is added.
    what
        The file and what it holds, for messages.

    Raises
    ------
    ParameterError
        If neither says it, or it is not possible.
    """
    if options.voxel_size is not None:
        return options.voxel_size
    z, y, x = (value if value and value > 0 else None for value in stated)
    if z is None and y and x and depth == 1:
        text = "A single plane of unknown thickness: read as 1 um thick."
        problems.append(Problem("warning", "voxel size", text))
        z = 1.0
    if not (z and y and x):
        known = ", ".join(
            f"{axis} {value:g}" for axis, value in zip("zyx", (z, y, x), strict=True) if value
        )
        raise ParameterError(
            f"{what} does not state its voxel size"
            + (f" fully (only {known} um)" if known else "")
            + ". Give it: --voxel-size Z,Y,X in micrometres."
        )
    # The same bounds as for what the user says.
    return OpenOptions(voxel_size=(z, y, x)).voxel_size or (z, y, x)


def finite(*values: object) -> list[float]:
    """Return values as numbers, 0.0 where one is none or not finite."""
    found = []
    for value in values:
        number = float(value) if isinstance(value, (int, float)) else 0.0
        found.append(number if np.isfinite(number) else 0.0)
    return found


def wavelength(value: object) -> float | None:
    """Return a wavelength [nm] that can be one, None otherwise."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 100 < number < 20_000 else None


def spans(
    index: Sequence[slice], start: Sequence[int], size: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Return where a piece meets what is wanted: slices of the piece and of the output.

    Parameters
    ----------
    index
        What is wanted, a slice an axis.
    start, size
        Where the piece lies.

    Returns
    -------
    tuple or None
        None where they do not meet.
    """
    source, target = [], []
    for wanted, first, length in zip(index, start, size, strict=True):
        low, high = max(wanted.start, first), min(wanted.stop, first + length)
        if low >= high:
            return None
        source.append(slice(low - first, high - first))
        target.append(slice(low - wanted.start, high - wanted.start))
    return tuple(source), tuple(target)
