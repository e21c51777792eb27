"""HDF5 files: plain datasets, Imaris and BigDataViewer, told apart by what is in them.

A plain dataset says little of itself. Its axes are taken from ``axistags`` (ilastik, vigra),
``axis_names`` (funlib) or the labels of its dimensions; its voxel size from ``element_size_um``
(z, y, x; ilastik, Fiji) or ``resolution`` with ``units`` (funlib). ``offset`` of funlib is the
corner of voxel 0, and becomes the position of its centre here. What is not stated is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from projectome.core.affine import Affine
from projectome.core.space import Direction, Space, Towards, micrometres_per
from projectome.core.volume import Kind, Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.documents import parse_json
from projectome.io.volumes.bdv import SETUP, is_bdv, open_bdv
from projectome.io.volumes.hdf5_array import Hdf5Array
from projectome.io.volumes.hdf5_file import MAGIC, Hdf5File, Layout, missing
from projectome.io.volumes.imaris import is_imaris, open_imaris
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL
from projectome.io.volumes.options import (
    OpenOptions,
    Place,
    chosen_channels,
    name_of,
    own_space,
    pick_time,
)
from projectome.io.volumes.tiff_metadata import DIRECTIONS

MATLAB = b"MATLAB 7.3 MAT-f"
"""HDF5 behind a header of MATLAB."""
RANKS = range(2, 6)
LARGEST = 1e15
"""Sizes and positions are smaller, in whatever unit."""
AXES = ("axistags", "axis_names", "DIMENSION_LABELS")
TOLD = {*AXES, "element_size_um", "resolution", "voxel_size", "units", "offset", "projectome"}
"""Attributes that are looked at."""
SHOWN = 20
"""Datasets that are listed where one has to be chosen."""
Size = tuple[float, float, float]


class Hdf5Reader:
    """Opens HDF5 files."""

    name = "HDF5 (datasets, Imaris, BigDataViewer)"
    prefix = "hdf5"

    def sniff(self, place: Place) -> bool:
        """Say whether it is an HDF5 file."""
        return place.head is not None and place.head.startswith((MAGIC, MATLAB))

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image in it.

        Raises
        ------
        FormatError
            If it is broken.
        MissingExtraError
            If h5py, or hdf5plugin where its chunks need it, is not installed.
        ParameterError
            If a dataset has to be chosen, or a fact is missing that only the user can give.
        """
        file = Hdf5File(place.url, options.access)
        inside = options.inside
        if is_imaris(file) and inside is None:
            return open_imaris(file, options)
        if is_bdv(file) and (inside is None or SETUP.fullmatch(inside)):
            return open_bdv(file, options)
        return open_dataset(file, options)


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What the attributes of a dataset say.

    Attributes
    ----------
    axes
        One letter an axis; empty where they are not stated.
    size, unit
        Voxel size (z, y, x) in that unit of length; None where it is not stated, with an empty
        unit where only that is not.
    corner
        Position of the corner of voxel 0 (z, y, x) in that unit.
    own
        What projectome wrote: ``kind``, ``space``, ``expansion``, ``toward``, ``translation_um``
        and ``channels``.
    problems
        What was doubtful.
    """

    axes: str = ""
    size: Size | None = None
    unit: str = ""
    corner: Size | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def open_dataset(file: Hdf5File, options: OpenOptions) -> Pyramid:
    """Return a plain dataset as a pyramid of one level.

    Parameters
    ----------
    file
        Where it is.
    options
        What the user says; ``inside`` chooses a dataset.

    Raises
    ------
    ParameterError
        If there are several and none is chosen, or a fact is missing.
    NotFoundError
        If the one chosen is not there.
    FormatError
        If there is none, or it is broken.
    """
    layout = _chosen(file, options.inside)
    facts = facts_of(file.attributes(layout.path, TOLD), len(layout.shape))
    problems = list(facts.problems)
    url = f"{file.url}#{layout.path}"
    axes = _axes(layout, facts, options, problems, url)
    order = [axes.index(letter) if letter in axes else None for letter in "zyx"]
    channel = axes.index("c") if "c" in axes else None
    if channel is not None:
        order = [channel, *order]
    fixed = tuple(
        (i, pick_time(layout.shape[i], letter, options, url=url))
        for i, letter in enumerate(axes)
        if letter not in "czyx"
    )
    shape, chunks = (
        tuple(1 if i is None else sizes[i] for i in order)
        for sizes in (layout.shape, layout.chunks)
    )
    if min(shape) < 1:
        raise FormatError(f"{url} has the shape {shape}, without any voxel. Choose another.")
    dtype = layout.dtype
    # The attributes of a file that a writer changes belong to its content.
    context = json.dumps([axes, facts.size, facts.unit, facts.corner, dict(facts.own)]).encode()
    array = Hdf5Array(
        file, (layout.path,), shape, chunks, dtype, dtype, tuple(order), fixed, context
    )
    affine = _placed(facts, options, problems, f"{url} ({layout.shown.partition(' (')[2]}")
    names = facts.own.get("channels")
    named = tuple(map(str, names)) if isinstance(names, list) else ()
    channels = chosen_channels(shape[0], named) if channel is not None else ()
    name = name_of(layout.path)
    volume = Volume(array, affine, channels, _kind(facts, dtype), name)
    metadata = {
        "format": "HDF5 dataset",
        "version": "",
        "url": file.url,
        "dataset": layout.path,
        **({"projectome": dict(facts.own)} if facts.own else {}),
    }
    return Pyramid((volume,), tuple(problems), metadata)


def _chosen(file: Hdf5File, inside: str | None) -> Layout:
    if inside is not None:
        path = inside.strip("/")
        if file.find(path) is None:
            raise missing(file, path, [f"#{p}" for p, _ in _candidates(file)])
        return file.layout(path)
    found = _candidates(file)
    if not found:
        raise FormatError(
            f"{file.url} holds no dataset of two to five axes, so no volume. Check the address."
        )
    if len(found) > 1:
        shown = [
            f"#{path} ({' x '.join(map(str, data.shape))} {data.dtype})" for path, data in found
        ]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ParameterError(
            f"{file.url} holds {len(found)} datasets that could be meant: "
            f"{', '.join(shown[:SHOWN])}{more}. Choose one: {file.url}#{found[0][0]}"
        )
    return file.layout(found[0][0])


def _candidates(file: Hdf5File) -> list[tuple[str, Any]]:
    with file.guarded():
        return [
            (path, data)
            for path, data in file.walk()
            if data.shape and len(data.shape) in RANKS and data.dtype.kind in "iufb"
        ]


def facts_of(attributes: Mapping[str, Any], rank: int) -> DatasetFacts:
    """Return what the attributes of a dataset with `rank` axes say."""
    problems: list[Problem] = []
    axes = _stated_axes(attributes, rank, problems)
    size = _triple(attributes, "element_size_um", rank, axes, problems)
    unit, corner = "um", None
    if size is None:
        key = "resolution" if "resolution" in attributes else "voxel_size"
        size = _triple(attributes, key, rank, axes, problems)
        unit = _unit(attributes.get("units"), problems)
        if size is not None and "offset" in attributes:
            corner = _triple(attributes, "offset", rank, axes, problems, positive=False)
    own: Mapping[str, Any] = {}
    stated = attributes.get("projectome")
    if isinstance(stated, str):
        try:
            own = parse_json(stated.encode(), url="the attribute projectome")
        except FormatError as error:
            problems.append(Problem("warning", "projectome", str(error)))
    return DatasetFacts(axes, size, unit, corner, own, tuple(problems))


def _stated_axes(attributes: Mapping[str, Any], rank: int, problems: list[Problem]) -> str:
    """Return one letter an axis; empty if none are stated that could be meant."""
    for key in AXES:
        stated: object = attributes.get(key)
        if isinstance(stated, str):
            try:
                tags = parse_json(stated.encode(), url=key).get("axes")
            except FormatError:
                tags = None
            stated = [t.get("key") for t in tags or () if isinstance(t, dict)] if tags else stated
        if not stated or not isinstance(stated, (list, str)):
            continue
        letters = [str(letter).strip("^ ").lower() for letter in stated]
        if (
            len(letters) == rank
            and all(len(letter) == 1 and letter.isalpha() for letter in letters)
            and len({*letters}) == rank
            and {*"yx"} <= {*letters}
        ):
            return "".join(letters)
        if any(letters):
            text = f"{letters} are not {rank} axes with y and x among them; not taken."
            problems.append(Problem("warning", key, text))
    return ""


def _triple(
    attributes: Mapping[str, Any],
    key: str,
    rank: int,
    axes: str,
    problems: list[Problem],
    *,
    positive: bool = True,
) -> Size | None:
    """Return three numbers (z, y, x) of an attribute, one an axis of space or one an axis."""
    stated = attributes.get(key)
    if stated is None:
        return None
    values = stated if isinstance(stated, list) else [stated]
    letters = axes or {2: "yx", 3: "zyx"}.get(rank, "")
    if len(values) == rank == len(letters):
        by_letter = dict(zip(letters, values, strict=True))
        values = [by_letter.get(letter, 1.0 if positive else 0.0) for letter in "zyx"]
    elif len(values) == 2 and "z" not in letters:
        values = [1.0 if positive else 0.0, *values]
    good = len(values) == 3 and all(
        isinstance(v, (int, float)) and abs(v) < LARGEST and (v > 1 / LARGEST or not positive)
        for v in values
    )
    if not good:
        what = "voxel size" if positive else "position"
        problems.append(Problem("warning", key, f"{stated!r} is no {what}; taken as not stated."))
        return None
    z, y, x = map(float, values)
    return z, y, x


def _unit(stated: object, problems: list[Problem]) -> str:
    """Return the one unit of length that is stated; empty if there is none."""
    units = {
        str(u).strip() for u in (stated if isinstance(stated, list) else [stated] if stated else [])
    }
    lengths = set()
    for unit in units:
        try:
            micrometres_per(unit)
            lengths.add(unit)
        except ParameterError:
            continue
    if len(lengths) == 1:
        return lengths.pop()
    if units:
        problems.append(Problem("warning", "units", f"{stated!r} is not one unit of length."))
    return ""


def _axes(
    layout: Layout, facts: DatasetFacts, options: OpenOptions, problems: list[Problem], url: str
) -> str:
    axes = options.axes or facts.axes
    if not axes:
        axes = {2: "yx", 3: "zyx"}.get(len(layout.shape), "")
        if not axes:
            raise ParameterError(
                f"{url} has the shape {layout.shape}; say which axis is which, for instance "
                f"--axes {'tczyx'[5 - len(layout.shape) :] or 'czyx'}."
            )
        problems.append(Problem("warning", "axes", f"None are stated; read as {', '.join(axes)}."))
    if len(axes) != len(layout.shape):
        raise ParameterError(
            f"--axes {axes} names {len(axes)} axes, but {url} has the shape {layout.shape}."
        )
    return axes


def _placed(
    facts: DatasetFacts, options: OpenOptions, problems: list[Problem], what: str
) -> Affine:
    size = options.voxel_size
    if size is None and facts.size is not None and not facts.unit:
        shown = " x ".join(f"{v:g}" for v in facts.size)
        raise ParameterError(
            f"{what} states a resolution of {shown} without a unit. The convention of funlib and "
            "CREMI is nanometres, but it is not stated: give it in micrometres with --voxel-size "
            f"Z,Y,X, in that case --voxel-size {','.join(f'{v / 1000:g}' for v in facts.size)}."
        )
    stated = _stated_size(facts, problems)
    size = stated if size is None else size
    if size is None:
        raise ParameterError(
            f"{what} does not state its voxel size. Give it: --voxel-size Z,Y,X in micrometres."
        )
    translation = np.zeros(3)
    if facts.size is not None and facts.corner is not None:
        # The offset is a corner, in the unit of the resolution: count it in voxels.
        translation = (np.asarray(facts.corner) / facts.size + 0.5) * size
    own = facts.own.get("translation_um")
    if (
        isinstance(own, list)
        and len(own) == 3
        and all(isinstance(v, (int, float)) and abs(v) < LARGEST for v in own)
    ):
        translation = np.asarray(own, dtype=np.float64)
    space = own_space(facts.own, Space(toward=_toward(facts.own)))
    return Affine.from_scale(size, translation, target=options.described(space))


def _stated_size(facts: DatasetFacts, problems: list[Problem]) -> Size | None:
    """Return the voxel size of the file (z, y, x) [um], where it can be meant."""
    if facts.size is None or not facts.unit:
        return None
    factor = micrometres_per(facts.unit)
    z, y, x = (factor * value for value in facts.size)
    if all(SMALLEST_VOXEL <= value <= LARGEST_VOXEL for value in (z, y, x)):
        return z, y, x
    text = f"{(z, y, x)} um is no voxel size; taken as not stated."
    problems.append(Problem("warning", "voxel size", text))
    return None


def _toward(own: Mapping[str, Any]) -> Towards:
    words = own.get("toward")
    found: list[Direction | None] = [None] * 3
    if isinstance(words, list) and len(words) == 3:
        found = [DIRECTIONS.get(str(word)) for word in words]
    z, y, x = found
    try:
        return Space(toward=(z, y, x)).toward
    except ParameterError:
        return None, None, None


def _kind(facts: DatasetFacts, dtype: np.dtype[np.generic]) -> Kind:
    stated = facts.own.get("kind")
    if stated == "labels" and dtype.kind in "iub":
        return "labels"
    return "affinities" if stated == "affinities" else "image"
