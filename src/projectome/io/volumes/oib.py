"""OIB files and OIF folders of Olympus FluoView microscopes as lazy volumes.

Each plane is a TIFF file, in a folder (OIF) or in a compound file (OIB). The range of x and y spans
all pixels from the corner of the first to the corner of the last; that of z goes from the centre of
the first plane to the centre of the last.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import tifffile

from projectome.core.affine import Affine, read_only
from projectome.core.space import Space, micrometres_per
from projectome.core.volume import Array, Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.compound import MAGIC, CompoundFile
from projectome.io.volumes.options import OpenOptions, Place, chosen_channels, name_of
from projectome.io.volumes.planes import (
    Acquisition,
    Channel,
    PlaneArray,
    RandomAccess,
    finite,
    pick_places,
    stated_voxel_size,
    wavelength,
)
from projectome.io.volumes.tiff_pages import BROKEN, SEGMENT_LIMIT, Cache, Complaints, samples

OIF_HEAD = b"\xff\xfe[\0"
SETTINGS_LIMIT = 2**24
"""Largest file of settings [bytes]."""
MISSING_BELIEVED = 10_000
"""Declared planes for each that is there, as of a recording that was stopped at once."""
PLANE = re.compile(r"((?:[A-Z]\d{3,9})+)\.tif$")
Settings = Mapping[str, Mapping[str, str]]


class Files(Protocol):
    """The files of one image, wherever they lie."""

    @property
    def url(self) -> str:
        """Address of the image."""

    @property
    def main(self) -> bytes:
        """The main file of settings."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the others, without folders."""

    def read(self, name: str) -> bytes:
        """Return the content of one of them."""

    def broken(self, why: BaseException | str) -> FormatError:
        """Return the error for an image that cannot be read."""

    def evidence(self) -> Iterator[bytes]:
        """Yield what tells the content of the files apart from any other."""


class OibFiles:
    """The files inside one compound file.

    Parameters
    ----------
    url, access
        Its address, and how to ask.

    Raises
    ------
    FormatError
        If it is no OIB file, broken or cut off.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url, self._access = url, access
        self._file = RandomAccess(url, "OIB", access)
        self._compound = CompoundFile(self._file)
        self.broken = self._file.broken
        streams = self._compound.streams
        if "OibInfo.txt" not in streams:
            raise self.broken("this compound file is no OIB: it has no OibInfo.txt")
        info = settings(self._compound.read(streams["OibInfo.txt"]), self).get("OibSaveInfo", {})
        self._streams = {
            path.replace("\\", "/").rpartition("/")[2]: streams[key]
            for key, path in info.items()
            if key.startswith("Stream") and key in streams
        }
        main = info.get(info.get("MainFileName", ""), "").replace("\\", "/").rpartition("/")[2]
        if main not in self._streams:
            raise self.broken("its main file of settings is missing")
        self.main = self._compound.read(self._streams[main])
        self.names = tuple(self._streams)

    def read(self, name: str) -> bytes:
        """Return the content of one of the files."""
        return self._compound.read(self._streams[name])

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self._access)


class OifFiles:
    """A file of settings with a folder of planes beside it.

    Parameters
    ----------
    url, access
        Address of the file of settings, and how to ask.

    Raises
    ------
    NotFoundError
        If the folder is missing.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url, self._access = url, access
        self.main = stores.read_bytes(url, access=access, limit=SETTINGS_LIMIT)
        self._folder = url + ".files"
        found = stores.list_folder(self._folder, access=access)
        self.names = tuple(sorted(entry.name for entry in found if not entry.is_folder))
        self.broken = RandomAccess(url, "OIF", access).broken

    def read(self, name: str) -> bytes:
        """Return the content of one of the files."""
        return stores.read_bytes(
            stores.join(self._folder, name), access=self._access, limit=SEGMENT_LIMIT
        )

    def evidence(self) -> Iterator[bytes]:
        """Yield the settings, the names, and samples of evenly spaced planes."""
        yield self.main
        planes = [name for name in self.names if name.endswith(".tif")]
        yield "\n".join(planes).encode()
        for i in sorted({round(v) for v in np.linspace(0, len(planes) - 1, 32)} if planes else ()):
            yield from samples(stores.join(self._folder, planes[i]), self._access, pieces=2)


@dataclass(frozen=True, slots=True, eq=False)
class OibPlanes:
    """The planes of one stack.

    Attributes
    ----------
    files
        Where they lie.
    planes
        Name of the file of each plane by channel and z; missing ones are zeros.
    shape
        Rows and columns.
    dtype
        Element type, native byte order.
    cache
        Decoded planes.
    """

    files: Files
    planes: Mapping[tuple[int, int], str]
    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    cache: Cache

    def read(self, z: int, channels: slice, y: slice, x: slice) -> Array:
        """Return a part of some channels of one plane, axes (c, y, x)."""
        numbers = range(channels.start, channels.stop)
        out = np.zeros((len(numbers), y.stop - y.start, x.stop - x.start), self.dtype)
        for row, channel in enumerate(numbers):
            name = self.planes.get((channel, z))
            if name is not None:
                out[row] = self.cache.get(name, partial(self._plane, name))[y, x]
        return out

    def _plane(self, name: str) -> Array:
        plane = decoded(self.files, name, self.shape)
        if plane.dtype != self.dtype:
            raise self.files.broken(f"{name} holds {plane.dtype}, the first plane {self.dtype}")
        return plane

    def evidence(self) -> Iterator[bytes]:
        """Yield what tells the content of the files apart from any other."""
        yield from self.files.evidence()


def decoded(files: Files, name: str, shape: tuple[int, int]) -> Array:
    """Return one plane.

    Raises
    ------
    FormatError
        If it is broken, or not of the shape that the settings say.
    """
    data = files.read(name)
    with Complaints() as complaints:
        try:
            with tifffile.TiffFile(io.BytesIO(data), name=name) as tiff:
                page = tiff.pages.first
                if page.shape != shape or page.dtype is None or page.dtype.kind != "u":
                    text = f"{name} holds {page.shape} of {page.dtype}, the settings say {shape}"
                    raise files.broken(text)
                plane = page.asarray()
        except BROKEN as error:
            if isinstance(error, FormatError):
                raise
            raise files.broken(f"{name}: {error or type(error).__name__}") from None
    if complaints.heard:
        raise files.broken(f"{name}: {complaints.heard[0]}")
    return read_only(plane.astype(plane.dtype.newbyteorder("="), copy=False))


def settings(data: bytes, files: Files) -> dict[str, dict[str, str]]:
    """Return the sections of a file of settings.

    Raises
    ------
    FormatError
        If it is no text.
    """
    if len(data) > SETTINGS_LIMIT:
        raise files.broken(f"a file of settings of {len(data)} bytes")
    try:
        text = data.decode("utf-16" if data.startswith(OIF_HEAD[:2]) else "utf-8")
    except ValueError as error:
        raise files.broken(f"its settings are no text: {error}") from None
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip().strip("\"'")
    return sections


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis as the settings state it; lengths in micrometres where it is one of space."""

    size: int
    start: float
    end: float
    interval: float


class OibReader:
    """Opens OIB files and OIF folders."""

    name = "OIB and OIF"
    prefix = "oib"

    def sniff(self, place: Place) -> bool:
        """Say whether it is a compound file, or the file of settings of an OIF folder."""
        head = place.head or b""
        is_settings = head.startswith(OIF_HEAD) and place.url.lower().endswith(".oif")
        return head.startswith(MAGIC) or is_settings

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the stack at one place along its further axes.

        Raises
        ------
        FormatError
            If it is broken, or holds what is not read.
        ParameterError
            If a choice or a fact is missing that only the user can give.
        """
        head = place.head or b""
        if head.startswith(MAGIC):
            return _pyramid(OibFiles(place.url, options.access), "OIB", options)
        if not head.startswith(OIF_HEAD):
            raise FormatError(
                f"{place.url} is neither an OIB file nor the .oif file of an OIF folder. Open that "
                "file, or leave out the prefix oib://."
            )
        return _pyramid(OifFiles(place.url, options.access), "OIF", options)


def _pyramid(files: Files, kind: str, options: OpenOptions) -> Pyramid:
    stated = settings(files.main, files)
    axes = _axes(stated, files)
    shape = axes["Y"].size, axes["X"].size
    depth = axes["Z"].size if "Z" in axes else 1
    count = axes["C"].size if "C" in axes else 1
    further = {k.lower(): a.size for k, a in axes.items() if k not in "XYZC"}
    places = pick_places(further, replace(options, series=None), url=files.url)
    planes, first = _planes(files, count, depth, places)
    if math.prod(shape) > SEGMENT_LIMIT:
        raise files.broken(f"planes of {shape[0]} x {shape[1]} pixels")
    dtype = decoded(files, first, shape).dtype
    problems = _missing(files, count * depth, len(planes), options)

    source = OibPlanes(files, planes, shape, dtype, Cache())
    facts = _acquisition(stated, files, first, count)
    names = chosen_channels(count, tuple(channel.name for channel in facts.channels))
    channels = names if count > 1 else ()
    whole = (count, depth, *shape) if channels else (depth, *shape)
    chunks = (1,) * (len(whole) - 2) + shape
    array = PlaneArray(source, whole, chunks, repr(sorted(places.items())).encode())
    what = f"{files.url} ({kind}, {' x '.join(map(str, whole))} {dtype})"
    size = stated_voxel_size(_pixel(axes, problems), depth, options, problems, what)
    first_centre = [
        _first(axes.get("Z"), problems),
        axes["Y"].start + size[1] / 2,
        axes["X"].start + size[2] / 2,
    ]
    affine = Affine.from_scale(size, first_centre, target=options.described(Space()))
    volume = Volume(array, affine, channels, "image", name_of(files.url))
    version = stated.get("Version Info", {}).get("FileVersion", "")
    metadata = {"format": kind, "version": version, "url": files.url, **facts.metadata()}
    return Pyramid((volume,), tuple(problems), metadata)


def _axes(stated: Settings, files: Files) -> dict[str, _Axis]:
    """Return the axes that the image has, by their letters."""
    order = stated.get("Axis Parameter Common", {}).get("AxisOrder", "")
    axes: dict[str, _Axis] = {}
    for section in (section for name, section in stated.items() if name.startswith("Axis ")):
        code = section.get("AxisCode", "")
        if len(code) == 1 and code in order:
            size = section.get("MaxSize", "")
            if not size.isdecimal() or not 1 <= int(size) < 2**31:
                raise files.broken(f"its axis {code} has the length {size!r}")
            axes[code] = _Axis(int(size), *_lengths(section))
    if not {"X", "Y"} <= axes.keys():
        raise FormatError(
            f"{files.url} has the axes {order!r}; read are images with X and Y. Restore it, or "
            "export it as OME-TIFF with the microscope's software."
        )
    return axes


def _lengths(section: Mapping[str, str]) -> tuple[float, float, float]:
    """Return start, end and interval [um]."""
    try:
        factor = micrometres_per(section.get("UnitName") or section.get("PixUnit") or "")
    except ParameterError:
        factor = 0.0  # no axis of space
    numbers = []
    for key in ("StartPosition", "EndPosition", "Interval"):
        try:
            numbers.append(factor * float(section.get(key) or 0))
        except ValueError:
            numbers.append(0.0)
    start, end, interval = finite(*numbers)
    return start, end, interval


def _planes(
    files: Files, count: int, depth: int, places: Mapping[str, int]
) -> tuple[dict[tuple[int, int], str], str]:
    """Return the names of the planes by channel and z, and the name of one that is there."""
    planes: dict[tuple[int, int], str] = {}
    for name in files.names:
        found = PLANE.search(name)
        if found is None:
            continue
        at = {letter: int(number) - 1 for letter, number in re.findall(r"([A-Z])(\d+)", found[1])}
        channel, z = at.pop("C", 0), at.pop("Z", 0)
        wanted = {letter.upper(): place for letter, place in places.items()}
        fits = all(at.get(letter, 0) == place for letter, place in wanted.items())
        if fits and 0 <= channel < count and 0 <= z < depth:
            planes.setdefault((channel, z), name)
    if not planes:
        raise files.broken("it holds no plane")
    return planes, min(planes.items())[1]


def _missing(files: Files, wanted: int, held: int, options: OpenOptions) -> list[Problem]:
    if wanted == held:
        return []
    if wanted > MISSING_BELIEVED * held:
        raise files.broken(f"it declares {wanted} planes and holds {held}")
    if options.strict:
        raise FormatError(
            f"{files.url} lacks {wanted - held} of its {wanted} planes. Restore it, or read "
            "without --strict to take zeros there."
        )
    text = f"{wanted - held} of {wanted} planes are missing and read as zeros."
    return [Problem("warning", "planes", text)]


def _pixel(
    axes: Mapping[str, _Axis], problems: list[Problem]
) -> tuple[float | None, float | None, float | None]:
    """Return the voxel size (z, y, x) [um]; None where it is not stated."""
    y, x = (abs(axes[k].end - axes[k].start) / axes[k].size or None for k in "YX")
    stack = axes.get("Z")
    if stack is None or stack.size < 2:
        return None, y, x
    step = abs(stack.end - stack.start) / (stack.size - 1)
    if stack.interval and step and abs(step / abs(stack.interval) - 1) > 0.01:
        text = (
            f"The interval of z is {abs(stack.interval):g} um, but the range of {stack.size} "
            f"planes means {step:g} um; the interval is taken. If it is wrong: --voxel-size Z,Y,X."
        )
        problems.append(Problem("warning", "voxel size", text))
    return abs(stack.interval) or step or None, y, x


def _first(stack: _Axis | None, problems: list[Problem]) -> float:
    """Return the position of plane 0 [um], counted the way the planes run."""
    if stack is None or stack.end >= stack.start:
        return 0.0 if stack is None else stack.start
    text = "The stack was taken downwards: z counts against the stage."
    problems.append(Problem("warning", "z", text))
    return -stack.start


def _acquisition(stated: Settings, files: Files, first: str, count: int) -> Acquisition:
    common = stated.get("Acquisition Parameters Common", {})
    name = first.removesuffix(".tif") + ".pty"
    plane: Settings = settings(files.read(name), files) if name in files.names else {}
    lens = plane.get("Acquisition Parameters Common", {})
    aperture = _number(lens.get("ObjectiveLens NAValue"))
    channels = []
    for number in range(1, min(count, len(stated)) + 1):
        section = stated.get(f"Channel {number} Parameters", {})
        dye = section.get("DyeName") or None
        channels.append(
            Channel(
                section.get("CH Name") or f"channel {number - 1}",
                wavelength(section.get("ExcitationWavelength")),
                wavelength(section.get("EmissionWavelength")),
                None if dye == "None" else dye,
            )
        )
    date = common.get("ImageCaputreDate") or common.get("ImageCaptureDate")
    return Acquisition(
        objective=lens.get("ObjectiveLens Name") or None,
        magnification=_number(lens.get("Magnification")),
        numerical_aperture=aperture,
        microscope=stated.get("Version Info", {}).get("SystemName") or None,
        acquired=date.replace(" ", "T") if date else None,
        channels=tuple(channels),
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
