"""Imaris files (.ims): HDF5 with a pyramid, channels and time points.

The stored arrays are padded; the size of the image stands in attributes, for each level. The extent
of the image goes from corner to corner, so that the centre of voxel 0 lies half a voxel inside it.
A level holds the means of 2 voxels an axis of the one before, and half as many of them, rounded
down: its voxels are twice as large, though the extent divided by their number is a little more.

References
----------
Imaris 5.5 file format, https://github.com/imaris/ImarisWriter/tree/master/doc
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.box import Triple, triple
from projectome.core.space import Space, micrometres_per
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.volumes.hdf5_array import Hdf5Array
from projectome.io.volumes.hdf5_file import Hdf5File, Layout, broken
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL
from projectome.io.volumes.options import OpenOptions, chosen_channels, name_of, pick_time

DATA, INFO = "DataSet", "DataSetInfo"
LEVELS, CHANNELS = 32, 256
LARGEST = 1e12
"""Coordinates are smaller."""
UNNAMED = "(name not specified)"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the image lies, as the file says it.

    Attributes
    ----------
    corner
        Lower corner of voxel 0 (z, y, x) [um].
    length
        From corner to corner (z, y, x) [um].
    """

    corner: Floats
    length: Floats


def is_imaris(file: Hdf5File) -> bool:
    """Say whether an HDF5 file is one of Imaris."""
    return file.find(f"{DATA}/ResolutionLevel 0") is not None and file.find(INFO) is not None


def open_imaris(file: Hdf5File, options: OpenOptions) -> Pyramid:
    """Return the image of an Imaris file.

    Parameters
    ----------
    file
        Where it is.
    options
        What the user says.

    Raises
    ------
    ParameterError
        If the voxel size is not stated, or a time point has to be chosen.
    FormatError
        If levels or channels are missing, or smaller than the file says.
    """
    if options.axes is not None:
        raise ParameterError(
            f"{file.url} is an Imaris file, whose axes are known: leave out --axes, or choose one "
            f"of its datasets: '{file.url}#{DATA}/ResolutionLevel 0/TimePoint 0/Channel 0/Data'."
        )
    problems: list[Problem] = []
    image = file.attributes(f"{INFO}/Image")
    first = f"{DATA}/ResolutionLevel 0"
    times = _numbered(file, first, "TimePoint")
    if not times:
        raise broken(file.url, f"#{first} holds no time point")
    time = times[pick_time(len(times), "t", options, url=file.url)]
    channels = _numbered(file, f"{first}/TimePoint {time}", "Channel")[:CHANNELS]
    if not channels:
        raise broken(file.url, f"#{first}/TimePoint {time} holds no channel")
    found = []
    for number in _numbered(file, DATA, "ResolutionLevel")[:LEVELS]:
        base = f"{DATA}/ResolutionLevel {number}/TimePoint {time}"
        paths = tuple(f"{base}/Channel {c}/Data" for c in channels)
        shape = _size(file, f"{base}/Channel {channels[0]}", number, image, problems)
        if shape is None:
            continue
        layouts = [file.layout(path) for path in paths]
        _check(file, layouts, shape)
        found.append((shape, paths, layouts[0]))
    if not found or any(layout.dtype != found[0][2].dtype for _, _, layout in found):
        raise broken(file.url, "its levels are not of one type, or level 0 is missing")
    shapes = [shape for shape, _, _ in found]
    factors = _factors(file, shapes, problems)
    size, translation = _placed(file, image, shapes[0], options, problems)
    space = options.described(Space())
    names = _names(file, channels)
    several = len(channels) > 1 or any(names)
    context = json.dumps([image, names], default=str).encode()
    levels = []
    for (shape, paths, layout), factor in zip(found, factors, strict=True):
        centre = translation + (factor - 1) / 2 * size
        affine = Affine.from_scale(factor * size, centre, target=space)
        chunks = triple(np.minimum(layout.chunks, shape))
        array = Hdf5Array(
            file,
            paths,
            (len(paths), *shape) if several else shape,
            (1, *chunks) if several else chunks,
            layout.dtype,
            layout.dtype,
            context=context,
        )
        named = chosen_channels(len(paths), names) if several else ()
        levels.append(Volume(array, affine, named, name=_name(image, file.url)))
    metadata = {
        "format": "Imaris",
        "version": str(file.attributes("/").get("ImarisVersion", "")),
        "url": file.url,
        "display": {"channels": _display(file, channels, names)},
        "image": {k: v for k, v in image.items() if isinstance(v, str) and v and "(" not in v},
    }
    return Pyramid(tuple(levels), tuple(problems), metadata)


def _numbered(file: Hdf5File, path: str, word: str) -> list[int]:
    """Return the numbers of the groups of one kind in a group, sorted."""
    matches = (re.fullmatch(rf"{word} (\d{{1,9}})", name) for name in file.names(path))
    return sorted(int(match[1]) for match in matches if match)


def _size(
    file: Hdf5File,
    channel: str,
    level: int,
    image: dict[str, object],
    problems: list[Problem],
) -> Triple | None:
    """Return the voxels of a level without the padding; None if the file does not say."""
    attributes = file.attributes(channel)
    stated = _triple([attributes.get(f"ImageSize{axis}") for axis in "ZYX"])
    if level > 0:
        if stated is None:
            text = f"Level {level} does not say its size without padding; it is left out."
            problems.append(Problem("warning", f"{channel}: ImageSize", text))
        return stated
    whole = _triple([image.get(axis) for axis in "ZYX"])
    if whole is None and stated is None:
        raise FormatError(
            f"{file.url} says the size of its image neither in {INFO}/Image (X, Y, Z) nor in "
            f"{channel} (ImageSizeX, Y, Z); its stored arrays are padded. Restore it from its "
            f"source, or read the padded array: '{file.url}#{channel}/Data'."
        )
    if whole is not None and stated is not None and whole != stated:
        text = f"{whole} voxels in {INFO}/Image, {stated} in {channel}; the first are taken."
        problems.append(Problem("warning", "X, Y, Z", text))
    return whole or stated


def _triple(values: list[object]) -> Triple | None:
    try:
        z, y, x = (int(str(value)) for value in values)
    except ValueError:
        return None
    return (z, y, x) if min(z, y, x) > 0 else None


def _check(file: Hdf5File, layouts: list[Layout], shape: Triple) -> None:
    """Compare the channels of a level with one another and with the size stated."""
    first = layouts[0]
    for layout in layouts:
        if (layout.shape, layout.dtype) != (first.shape, first.dtype):
            raise broken(file.url, f"{layout.shown} is not like {first.shown}")
        if len(layout.shape) != 3 or any(n < m for n, m in zip(layout.shape, shape, strict=True)):
            raise broken(file.url, f"{layout.shown} does not hold the {shape} voxels stated")


def _factors(file: Hdf5File, shapes: list[Triple], problems: list[Problem]) -> list[Floats]:
    """Return how many voxels of the finest level lie along one of each level (z, y, x)."""
    found = []
    for shape in shapes:
        pairs = list(zip(shapes[0], shape, strict=True))
        if any(n < m for n, m in pairs):
            raise broken(file.url, f"a level of {shape} voxels is larger than the finest")
        factor = np.array([_factor(n, m) for n, m in pairs])
        if (np.log2(factor) % 1 != 0).any():
            text = (
                f"{shape} voxels are no power of two fewer than {shapes[0]}: the extent is divided "
                f"by their number, which makes them {factor.round(4).tolist()} times as large."
            )
            problems.append(Problem("warning", "ResolutionLevel", text))
        found.append(factor)
    return found


def _factor(fine: int, coarse: int) -> float:
    for power in range(LEVELS):
        if coarse in (fine >> power, -(-fine >> power)):
            return float(2**power)
    return fine / coarse


def _placed(
    file: Hdf5File,
    image: dict[str, object],
    shape: Triple,
    options: OpenOptions,
    problems: list[Problem],
) -> tuple[Floats, Floats]:
    """Return voxel size of the finest level, and the centre of its voxel 0 [um]."""
    extent = _extent(image, problems)
    voxels = np.asarray(shape, dtype=np.float64)
    size = None if extent is None else extent.length / voxels
    if size is not None and not ((size >= SMALLEST_VOXEL) & (size <= LARGEST_VOXEL)).all():
        text = f"{size.tolist()} um is no voxel size; the extent is taken as not stated."
        problems.append(Problem("warning", f"{INFO}/Image: ExtMin, ExtMax", text))
        size = None
    if extent is not None and (extent.corner == 0).all() and (extent.length == voxels).all():
        text = (
            "Voxels of exactly 1 um at the origin are what the writer puts where nothing was "
            "stated. If they are not meant, give --voxel-size Z,Y,X."
        )
        problems.append(Problem("warning", f"{INFO}/Image: ExtMin, ExtMax", text))
    given = None if options.voxel_size is None else np.asarray(options.voxel_size)
    if given is None and size is None:
        raise ParameterError(
            f"{file.url} (Imaris, {' x '.join(map(str, shape))}) does not state its voxel size. "
            "Give it: --voxel-size Z,Y,X in micrometres."
        )
    if size is None or extent is None:
        assert given is not None
        return given, np.zeros(3)
    chosen = size if given is None else given
    return chosen, (extent.corner / size + 0.5) * chosen


def _extent(image: dict[str, object], problems: list[Problem]) -> Extent | None:
    where = f"{INFO}/Image: ExtMin, ExtMax"
    try:
        low, high = (
            np.array([float(str(image[f"{key}{axis}"])) for axis in (2, 1, 0)])
            for key in ("ExtMin", "ExtMax")
        )
    except (KeyError, ValueError):
        problems.append(Problem("warning", where, "The extent of the image is not stated."))
        return None
    if not ((np.abs([low, high]) < LARGEST).all() and (high > low).all()):
        text = f"From {low.tolist()} to {high.tolist()} (z, y, x) is no extent; not taken."
        problems.append(Problem("warning", where, text))
        return None
    unit = str(image.get("Unit") or "")
    try:
        factor = micrometres_per(unit)
    except ParameterError:
        text = f"The unit {unit!r} is no length; read as micrometre."
        problems.append(Problem("warning", f"{INFO}/Image: Unit", text))
        factor = 1.0
    return Extent(low * factor, (high - low) * factor)


def _names(file: Hdf5File, channels: list[int]) -> tuple[str, ...]:
    stated = (file.attributes(f"{INFO}/Channel {c}").get("Name", "") for c in channels)
    return tuple("" if name == UNNAMED else str(name).strip() for name in stated)


def _name(image: dict[str, object], url: str) -> str:
    name = str(image.get("Name") or "").strip()
    return name_of(url) if name in ("", UNNAMED) else name


def _display(
    file: Hdf5File, channels: list[int], names: tuple[str, ...]
) -> list[dict[str, object]]:
    """Return colour and range of the channels in the form of OME-Zarr."""
    shown = []
    for channel, name in zip(channels, chosen_channels(len(channels), names), strict=True):
        attributes = file.attributes(f"{INFO}/Channel {channel}")
        entry: dict[str, object] = {"label": name}
        colour = _floats(attributes.get("Color"))
        if len(colour) == 3:
            entry["color"] = "".join(f"{round(255 * min(1, max(0, v))):02X}" for v in colour)
        limits = _floats(attributes.get("ColorRange"))
        if len(limits) == 2:
            entry["window"] = {"start": limits[0], "end": limits[1]}
        for key in ("LSMExcitationWavelength", "LSMEmissionWavelength"):
            if wavelength := _floats(attributes.get(key)):
                entry[f"{key[3:].removesuffix('Wavelength').lower()}_nm"] = wavelength[0]
        shown.append(entry)
    return shown


def _floats(value: object) -> list[float]:
    try:
        found = [float(word) for word in str(value or "").split()]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []
