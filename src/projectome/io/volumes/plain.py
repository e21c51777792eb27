"""Arrays without OME-Zarr metadata, one or the levels of an image: what lies along their axes.

Attributes say it (`projectome.io.volumes.zarr_attributes`), or the user does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorstore as ts

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import LazyArray, Pyramid, Volume
from projectome.errors import MetadataError, ParameterError, Problem
from projectome.io.volumes.chunked import ArraySource, Turnable, View, open_chunked
from projectome.io.volumes.options import (
    OpenOptions,
    Place,
    chosen_channels,
    name_of,
    pick_time,
)
from projectome.io.volumes.zarr_attributes import Stated, stated_kind

LEVEL = re.compile(r"(s|scale|level)?(\d{1,2})")
"""Names of levels: ``s0``, ``s1`` and so on, or plain numbers."""
PROBES = 12
"""So many levels are asked for where a store cannot be listed."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainArray:
    """An array and what it says of itself.

    Attributes
    ----------
    source
        The array as it lies.
    shape
        Elements an axis, in C order.
    stated
        What its attributes say.
    opened
        Opens its tensorstore with the axes in C order, with the cache of all stores or without.
    names
        Names of its axes, where its metadata has them; empty otherwise.
    chunk
        Elements a chunk an axis, where its tensorstore does not know them.
    """

    source: ArraySource
    shape: tuple[int, ...]
    stated: Stated
    opened: Callable[[bool], ts.TensorStore | Turnable]
    names: tuple[str, ...] = ()
    chunk: tuple[int, ...] | None = None


def level_names(place: Place, probe: Callable[[str], bool]) -> list[str]:
    """Return the names of what may be the levels of a group, finest first.

    Parameters
    ----------
    place
        The group.
    probe
        Says whether there is an array of a name, where the store cannot be listed.
    """
    names = place.names
    if names is None:
        with ThreadPoolExecutor(PROBES) as pool:
            first = next((n for n, there in _asked(("s0", "0"), probe, pool) if there), "")
            more = [first.replace("0", str(k)) for k in range(1, PROBES)] if first else []
            names = (first, *(n for n, there in _asked(more, probe, pool) if there))
    series: dict[str, dict[int, str]] = {}
    for name in names:
        if found := LEVEL.fullmatch(name):
            series.setdefault(found[1] or "", {})[int(found[2])] = name
    for numbered in series.values():
        if 0 in numbered:
            stop = next(k for k in range(len(numbered) + 1) if k not in numbered)
            return [numbered[k] for k in range(stop)]
    return []


def _asked(
    names: Sequence[str], probe: Callable[[str], bool], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, bool]]:
    return zip(names, pool.map(probe, names), strict=True)


def open_plain(
    arrays: Sequence[PlainArray], options: OpenOptions, *, url: str, form: str, version: str
) -> Pyramid:
    """Return one array, or the levels of an image, as a pyramid.

    Parameters
    ----------
    arrays
        Finest first.
    options
        What the user says.
    url
        Where they lie.
    form, version
        Of the format, for metadata and messages.

    Raises
    ------
    ParameterError
        If voxel size or axes are missing, or do not fit.
    MetadataError
        If the arrays are no levels of one image.
    FormatError
        If one cannot be read.
    """
    problems: list[Problem] = []
    affines = _affines(arrays, options, problems, f"{url} is a plain {form}")
    kept = arrays[: len(affines)]
    for array in kept:
        problems += [problem for problem in array.stated.problems if problem not in problems]
    axes = _axes(arrays[0], options, problems)
    found = [_turned(array, axes, options) for array in kept]
    _check(found, affines, kept, url)
    channels: tuple[str, ...] = ()
    if "c" in axes:
        names = next((array.stated.channels for array in kept if array.stated.channels), ())
        channels = chosen_channels(found[0].shape[0], names)
        if names and len(names) != len(channels):
            text = f"{len(names)} are named; the array has {len(channels)}."
            problems.append(Problem("warning", "channels", text))
    kind = stated_kind(found[0].dtype, problems)
    levels = tuple(
        Volume(array, affine, channels, kind, name_of(url))
        for array, affine in zip(found, affines, strict=True)
    )
    return Pyramid(levels, tuple(problems), {"format": form, "version": version, "url": url})


def _affines(
    arrays: Sequence[PlainArray], options: OpenOptions, problems: list[Problem], what: str
) -> list[Affine]:
    """Return the map of each level, the voxel size of the user taken first."""
    space = options.described(Space())
    first = arrays[0].stated
    size = options.voxel_size or first.voxel_size
    if size is None:
        raise ParameterError(
            f"{what} of shape {arrays[0].shape}, which states no voxel size. Give it: "
            "--voxel-size Z,Y,X in micrometres, and --axes such as czyx."
        )
    factor = np.asarray(size) / (first.voxel_size or size)
    origin = factor * (first.translation or (0.0, 0.0, 0.0))
    found = [Affine.from_scale(size, origin, target=space)]
    for number, array in enumerate(arrays[1:], 1):
        own, place = array.stated.voxel_size, array.stated.translation
        if own is None or first.voxel_size is None:
            text = f"Level {number} states no voxel size: only the levels before it are read."
            problems.append(Problem("warning", "levels", text))
            break
        scale = factor * own
        # Where nothing is said, all levels begin at one corner.
        centre = origin + (scale - size) / 2 if place is None else factor * place
        found.append(Affine.from_scale(scale, centre, target=space))
    return found


def _axes(array: PlainArray, options: OpenOptions, problems: list[Problem]) -> str:
    """Return one letter an axis in C order."""
    url, shape = array.source.url, array.shape
    if options.axes:
        if len(options.axes) != len(shape):
            raise ParameterError(
                f"--axes {options.axes} names {len(options.axes)} axes, but {url} has the shape "
                f"{shape}."
            )
        return options.axes
    for axes in (array.stated.axes, "".join(name.lower() for name in array.names)):
        if len(axes) == len(shape) and len({*axes}) == len(axes) and {*"yx"} <= {*axes}:
            return axes
    known = {2: "yx", 3: "zyx"}
    if array.stated.voxel_size is not None:
        known[4] = "czyx"  # the size has three axes: the one before them is none of space
    if len(shape) not in known:
        raise ParameterError(
            f"{url} has the shape {shape}; say which axis is which, for instance "
            f"--axes {'tczyx'[5 - len(shape) :]}."
        )
    axes = known[len(shape)]
    problems.append(Problem("warning", "axes", f"None are stated; read as {', '.join(axes)}."))
    return axes


def _turned(array: PlainArray, axes: str, options: OpenOptions) -> LazyArray:
    url, shape = array.source.url, array.shape
    if len(axes) != len(shape):
        raise MetadataError(
            f"{url} has the shape {shape}, and the finest level the axes {', '.join(axes)}. Open "
            "one of the levels by its own address."
        )
    extra = [i for i, letter in enumerate(axes) if letter not in "czyx"]
    return open_chunked(
        array.source,
        array.opened,
        View(
            [axes.index(letter) for letter in "zyx" if letter in axes],
            axes.index("c") if "c" in axes else None,
            {i: pick_time(shape[i], axes[i], options, url=url) for i in extra},
        ),
        access=options.access,
        chunk=array.chunk,
    )


def _check(
    found: Sequence[LazyArray],
    affines: Sequence[Affine],
    arrays: Sequence[PlainArray],
    url: str,
) -> None:
    """Compare all levels with the first: type, channels, and the field that they cover."""
    wrong = []
    extent = np.asarray(found[0].shape[-3:]) * affines[0].voxel_size
    for number, (level, affine) in enumerate(zip(found[1:], affines[1:], strict=True), 1):
        size = np.asarray(affine.voxel_size)
        other = np.asarray(level.shape[-3:]) * size
        if level.dtype != found[0].dtype or level.shape[:-3] != found[0].shape[:-3]:
            text = f"It holds {level.dtype} {level.shape}, level 0 {found[0].dtype}."
            wrong.append(Problem("error", f"level {number}", text))
        elif (np.abs(other - extent) > 2 * size + 0.1 * extent).any() or (
            level.shape == found[0].shape
        ):
            text = f"{level.shape[-3:]} voxels of {size.tolist()} um are no coarser level."
            wrong.append(Problem("error", f"level {number}", text))
    if wrong:
        raise MetadataError(
            f"The arrays in {url} are no levels of one image. Open one by its own address, for "
            f"instance {arrays[0].source.url}",
            wrong,
        )
