"""From what the user typed to addresses, boxes and points."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from projectome.cli.options import VolumeOptions, numbers
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError
from projectome.io.source import VolumeSource


def source_of(url: str, options: VolumeOptions) -> VolumeSource:
    """Return the address of the volume that the user means.

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
    return VolumeSource(url, **dataclasses.asdict(options))


def read_options(options: VolumeOptions) -> dict[str, Any]:
    """Return the options that concern a whole pyramid, for `open_volume`."""
    given = dataclasses.asdict(options)
    return {name: value for name, value in given.items() if name not in ("level", "channel")}


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
    start, stop = np.zeros(3, int), np.asarray(volume.shape)
    for axis, part in enumerate(parts):
        match = re.fullmatch(r"\s*(-?[\d.]*):(-?[\d.]*)(px)?\s*", part)
        if match is None:
            raise ParameterError(f"A range of a box is a:b or a:bpx, not {part!r} (in {text!r}).")
        low = [-1e15] * 3
        high = [1e15] * 3
        low[axis] = float(match[1]) if match[1] else -1e15
        high[axis] = float(match[2]) if match[2] else 1e15
        if match[3]:
            begin, end = (int(np.clip(v, 0, 1e9)) for v in (low[axis], high[axis]))
        else:
            found = volume.voxel_box(low, high)
            begin, end = found.start[axis], found.stop[axis]
        start[axis] = max(0, begin)
        stop[axis] = min(volume.shape[axis], end)
    if (stop <= start).any():
        raise ShapeError(
            f"No voxel of {volume.name} lies in the box {text!r}; it has the voxels {volume.box} "
            f"of {volume.voxel_size} um."
        )
    return Box(tuple(int(v) for v in start), tuple(int(v) for v in stop))  # type: ignore[arg-type]


def parse_range(text: str | None) -> tuple[float | None, float | None]:
    """Return the two ends of a range ``A:B`` in micrometres; None where left out.

    Raises
    ------
    ParameterError
        If it is not a range.
    """
    match = re.fullmatch(r"\s*(-?[\d.]*):(-?[\d.]*)\s*", text or ":")
    if match is None:
        raise ParameterError(f"A range is A:B in micrometres, not {text!r}.")
    return tuple(float(v) if v else None for v in match.groups())  # type: ignore[return-value]
