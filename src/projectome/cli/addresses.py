"""From what the user typed to addresses, boxes, ranges and points."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.cli.options import FileOptions, StoreOptions, VolumeOptions, numbers
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.io.source import VolumeSource
from projectome.settings import resolve

FAR = 1e15
"""Beyond any volume [um]."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
SPAN = re.compile(rf"\s*({NUMBER})?\s*:\s*({NUMBER})?\s*(px)?\s*")


def address_of(url: str, options: StoreOptions) -> str:
    """Return an address with its bucket: ``s3:///KEY`` gets that of the options or the settings.

    Raises
    ------
    ParameterError
        If neither names a bucket.
    """
    match = re.fullmatch(r"((?:\w+://)?(?:s3|gs)://)/(.*)", url)
    if match is None:
        return url
    bucket = options.bucket or resolve()[0].bucket
    if not bucket:
        raise ParameterError(
            f"{url} names no bucket. Write it between the slashes, add --bucket NAME, or keep one: "
            "projectome config set bucket NAME"
        )
    return f"{match[1]}{bucket}/{match[2]}"


def read_options(options: FileOptions) -> dict[str, Any]:
    """Return the options that concern a whole file, for `open_volume`.

    Raises
    ------
    ParameterError
        If an orientation comes without its meaning.
    """
    if (options.orientation is None) != (options.meaning is None):
        raise ParameterError(
            "--orientation and --meaning go together: does a letter name the direction an axis "
            "runs toward, or the one it comes from? Add --meaning toward or --meaning from."
        )
    names = {field.name for field in dataclasses.fields(FileOptions)} - {"bucket"}
    given = {name: getattr(options, name) for name in sorted(names)}
    return given | {"asset": True if options.asset is None else address_of(options.asset, options)}


def source_of(url: str, options: VolumeOptions) -> VolumeSource:
    """Return the address of the volume that the user means.

    Raises
    ------
    ParameterError
        If an orientation comes without its meaning, or an address names no bucket.
    """
    given = read_options(options)
    return VolumeSource(address_of(url, options), options.level or 0, options.channel, **given)


def parse_point(text: str, volume: Volume) -> tuple[float, float, float]:
    """Return a point ``z,y,x`` in micrometres; with the suffix ``px`` it is level-0 voxels.

    Raises
    ------
    ParameterError
        If there are not three numbers.
    """
    pixels = text.strip().endswith("px")
    z, y, x = numbers(text.strip().removesuffix("px"), count=3)
    if pixels:
        z, y, x = (float(v) for v in volume.affine([(z, y, x)])[0])
    return z, y, x


def parse_span(text: str, form: str) -> tuple[float | None, float | None, bool]:
    """Return the ends of a range ``A:B``, None where left out, and whether it is in voxels.

    Raises
    ------
    ParameterError
        If it is not a range.
    """
    match = SPAN.fullmatch(text)
    if match is None:
        raise ParameterError(f"A range is A:B in um, or A:Bpx in voxels, not {text!r}{form}.")
    low, high = (None if v is None else float(v) for v in match.groups()[:2])
    if low is not None and high is not None and low >= high:
        raise ParameterError(f"A range ends after it begins; {text!r}{form} does not.")
    return low, high, match[3] is not None


def parse_box(text: str, volume: Volume) -> Box:
    """Return the voxels of a box ``z0:z1,y0:y1,x0:x1``.

    Parameters
    ----------
    text
        Micrometres, or level-0 voxels where a range ends in ``px``; a bare ``:`` is everything.
    volume
        The finest level of the volume.

    Raises
    ------
    ParameterError
        If it is not a box.
    ShapeError
        If no voxel lies in it.
    """
    parts = text.split(",")
    if len(parts) != 3:
        raise ParameterError(f"A box is z0:z1,y0:y1,x0:x1 (um, or voxels with px), not {text!r}.")
    spans = [parse_span(part, f" (in {text!r})") for part in parts]
    reach = np.array([(-FAR if px or low is None else low) for low, _, px in spans])
    limit = np.array([(FAR if px or high is None else high) for _, high, px in spans])
    found = volume.voxel_box(reach, limit)
    start, stop = np.array(found.start), np.array(found.stop)
    for axis, (low, high, pixels) in enumerate(spans):
        if pixels:
            whole = volume.shape[axis]
            start[axis] = 0 if low is None else np.clip(np.ceil(low), 0, whole)
            stop[axis] = whole if high is None else np.clip(np.ceil(high), 0, whole)
    if (stop <= start).any():
        raise ShapeError(
            f"No voxel of {volume.name} lies in the box {text!r}; it has the voxels {volume.box} "
            f"of {volume.voxel_size} um."
        )
    return Box(tuple(start.tolist()), tuple(stop.tolist()))


def parse_range(text: str | None, volume: Volume, axis: str) -> tuple[float | None, float | None]:
    """Return the two ends of a range ``A:B`` along an axis in micrometres; None where left out.

    Parameters
    ----------
    text
        Micrometres, or level-0 voxels with the suffix ``px``; None is everything.
    volume
        The finest level of the volume.
    axis
        One of z, y and x.

    Raises
    ------
    ParameterError
        If it is not a range.
    """
    low, high, pixels = parse_span(text or ":", "")
    if not pixels:
        return low, high
    place = "zyx".index(axis)

    def rim(voxel: float) -> float:
        """Return where a voxel begins [um]."""
        corner: NDArray[np.float64] = volume.affine([np.eye(3)[place] * voxel - 0.5])[0]
        return float(corner[place])

    ends = [None if v is None else rim(v) for v in (low, high)]
    if volume.affine.matrix[place, place] < 0:
        ends.reverse()
    return ends[0], ends[1]
