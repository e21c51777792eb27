"""The ``info`` document of a neuroglancer precomputed volume, read into one model.

The axes of the format are (x, y, z, channel), its unit is the nanometre, and its offset is the
CORNER of the first voxel. What it has no words for stands beside it under ``projectome``, which
other programs ignore.

References
----------
Neuroglancer, precomputed volume format:
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from projectome.core.affine import Affine
from projectome.core.box import Triple, triple
from projectome.core.space import Space
from projectome.core.volume import Kind
from projectome.errors import MetadataError, ParameterError, Problem
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL
from projectome.io.volumes.options import own_space

TYPE = "neuroglancer_multiscale_volume"
DATA_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
ENCODINGS = ("raw", "png", "jpeg", "compressed_segmentation")
SETTINGS = ("compressed_segmentation_block_size", "jpeg_quality", "png_level", "sharding")
"""Further members of a scale that say how its chunks are stored."""
LARGEST_SIZE = 2**40
"""Most voxels an axis."""
SCALE_LIMIT = 64
CHANNEL_LIMIT = 2**16
NANOMETRES = 1000.0


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale; everything in the order (z, y, x).

    Attributes
    ----------
    key
        Folder of its chunks, relative to the volume.
    size
        Voxels an axis.
    resolution
        Size of a voxel [nm].
    offset
        Corner of the first voxel [voxels].
    chunk
        Voxels a chunk.
    encoding
        How a chunk is stored.
    settings
        Members of `SETTINGS`, as they stand.
    """

    key: str
    size: Triple
    resolution: tuple[float, float, float]
    offset: Triple
    chunk: Triple
    encoding: str
    settings: Mapping[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """What tensorstore, and but for the name of the chunk size the format, calls it."""
        return {
            "key": self.key,
            "size": list(self.size[::-1]),
            "resolution": list(self.resolution[::-1]),
            "voxel_offset": list(self.offset[::-1]),
            "chunk_size": list(self.chunk[::-1]),
            "encoding": self.encoding,
            **self.settings,
        }

    @property
    def document(self) -> dict[str, Any]:
        """The member of ``scales``."""
        found = self.metadata
        return found | {"chunk_sizes": [found.pop("chunk_size")]}

    @property
    def grid(self) -> Triple:
        """Chunks an axis."""
        return triple([-(-n // c) for n, c in zip(self.size, self.chunk, strict=True)])

    def affine(self, space: Space) -> Affine:
        """Return the map to micrometres: the offset is a corner, voxel 0 lies half a voxel on."""
        size = np.asarray(self.resolution) / NANOMETRES
        return Affine.from_scale(size, (np.asarray(self.offset) + 0.5) * size, target=space)

    def chunk_key(self, index: Sequence[int]) -> str:
        """Return the name of the file of a chunk, given in the order (z, y, x)."""
        spans = []
        for i, c, n, o in zip(index, self.chunk, self.size, self.offset, strict=True):
            spans.append(f"{o + i * c}-{o + min(n, (i + 1) * c)}")
        return "_".join(spans[::-1])

    def chunk_number(self, index: Sequence[int]) -> int:
        """Return the number of a chunk in a shard: its compressed Morton code."""
        number = place = 0
        for bit in range(64):
            for i, n in zip(index[::-1], self.grid[::-1], strict=True):
                if 1 << bit < n:
                    number |= (i >> bit & 1) << place
                    place += 1
        return number


@dataclass(frozen=True, slots=True)
class Info:
    """A volume: what its voxels are, and its scales.

    Attributes
    ----------
    kind
        ``"labels"`` of a segmentation.
    dtype
        Name of the element type.
    channels
        How many.
    scales
        Finest first.
    space
        What projectome wrote about it, or an unnamed scan.
    translation
        Centre of voxel 0 of the finest scale (z, y, x) [um], where it is not the middle of a whole
        voxel of the format.
    names
        Names of channels; may be empty.
    own
        What projectome wrote.
    problems
        What was doubtful.
    """

    kind: Kind
    dtype: str
    channels: int
    scales: tuple[Scale, ...]
    space: Space = field(default_factory=Space)
    translation: tuple[float, float, float] | None = None
    names: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def has_axis(self) -> bool:
        """Whether there is an axis of channels: not for a single one without a name."""
        return self.channels > 1 or len(self.names) == 1

    @property
    def metadata(self) -> dict[str, Any]:
        """What tensorstore calls the metadata of all scales."""
        kind = "segmentation" if self.kind == "labels" else "image"
        return {"type": kind, "data_type": self.dtype, "num_channels": self.channels}


def parse_info(document: Mapping[str, Any], *, url: str) -> Info:
    """Read an ``info`` document.

    Parameters
    ----------
    document
        Its content.
    url
        Where it came from, for messages.

    Raises
    ------
    MetadataError
        With all problems, if no volume can be made of it.
    """
    found: list[Problem] = []
    kind: Kind = "labels" if document.get("type") == "segmentation" else "image"
    if document.get("type") not in ("image", "segmentation"):
        text = f"It is {document.get('type')!r}, not 'image' or 'segmentation'; read as an image."
        found.append(Problem("warning", "type", text))
    dtype = str(document.get("data_type")).lower()
    if dtype not in DATA_TYPES:
        text = f"{document.get('data_type')!r} is none of {', '.join(DATA_TYPES)}."
        found.append(Problem("error", "data_type", text))
    elif kind == "labels" and dtype == "float32":
        found.append(Problem("error", "data_type", "Labels are integers, not float32."))
    channels = document.get("num_channels", 1)
    if not _whole(channels, 1, CHANNEL_LIMIT):
        text = f"A number of channels is 1 to {CHANNEL_LIMIT}, not {channels!r}."
        found.append(Problem("error", "num_channels", text))
    listed = document.get("scales")
    if not isinstance(listed, list) or not 1 <= len(listed) <= SCALE_LIMIT:
        found.append(Problem("error", "scales", f"A volume has 1 to {SCALE_LIMIT} scales."))
        listed = []
    scales = [_scale(scale, f"scales[{i}]", found) for i, scale in enumerate(listed)]
    if any(problem.severity == "error" for problem in found):
        raise MetadataError(
            f"{url} does not describe a precomputed volume that can be read. Correct it, or fetch "
            "it again from its source.",
            found,
        )
    read = [scale for scale in scales if scale is not None]
    ordered = sorted(read, key=lambda scale: math.prod(scale.resolution))
    if ordered != read:
        text = "The scales are not in the order of their resolution; the finest is level 0."
        found.append(Problem("warning", "scales", text))
    info = Info(kind, dtype, channels, tuple(ordered), problems=tuple(found))
    own = document.get("projectome")
    return _with_own(info, own) if isinstance(own, dict) else info


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _triple(
    scale: Mapping[str, Any], name: str, low: int, where: str, found: list[Problem]
) -> Triple:
    """Return three whole numbers in the order (z, y, x)."""
    value = scale.get(name)
    if isinstance(value, list) and len(value) == 3:
        # Some programs write whole numbers as 64.0.
        whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in value]
        if all(_whole(v, low, LARGEST_SIZE) for v in whole):
            return triple(whole[::-1])
    text = f"Three whole numbers from {low} to {LARGEST_SIZE} are needed, not {value!r}."
    found.append(Problem("error", f"{where}.{name}", text))
    return 1, 1, 1


def _scale(scale: object, where: str, found: list[Problem]) -> Scale | None:
    if not isinstance(scale, dict):
        found.append(Problem("error", where, f"A scale is an object, not {scale!r:.60}."))
        return None
    size = _triple(scale, "size", 1, where, found)
    offset: Triple = (0, 0, 0)
    if "voxel_offset" in scale:
        offset = _triple(scale, "voxel_offset", -LARGEST_SIZE, where, found)
    chunks = scale.get("chunk_sizes")
    first = chunks[0] if isinstance(chunks, list) and chunks else None
    chunk = _triple({"chunk_sizes": first}, "chunk_sizes", 1, where, found)
    resolution = _resolution(scale.get("resolution"), f"{where}.resolution", found)
    key, encoding = scale.get("key"), scale.get("encoding")
    if not isinstance(key, str) or not key:
        found.append(Problem("error", f"{where}.key", f"It names no folder: {key!r}."))
    if encoding not in ENCODINGS:
        text = f"Chunks as {encoding!r} cannot be read; known: {', '.join(ENCODINGS)}."
        found.append(Problem("error", f"{where}.encoding", text))
    settings = {name: scale[name] for name in SETTINGS if scale.get(name) is not None}
    if encoding != "compressed_segmentation":
        settings.pop(SETTINGS[0], None)
    return Scale(str(key), size, resolution, offset, chunk, str(encoding), settings)


def _resolution(value: object, where: str, found: list[Problem]) -> tuple[float, float, float]:
    if isinstance(value, list) and len(value) == 3:
        numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool)]
        low, high = SMALLEST_VOXEL * NANOMETRES, LARGEST_VOXEL * NANOMETRES
        if len(numbers) == 3 and all(low <= v <= high for v in numbers):
            x, y, z = (float(v) for v in numbers)
            return z, y, x
    text = f"Three voxel sizes in nanometres are needed, not {value!r}."
    found.append(Problem("error", where, text))
    return 1.0, 1.0, 1.0


def _with_own(info: Info, own: Mapping[str, Any]) -> Info:
    """Add what projectome wrote beside the format, as far as it makes sense."""
    problems = list(info.problems)
    space = own_space(own, Space())
    try:
        toward = own.get("toward")
        if isinstance(toward, list):
            space = replace(space, toward=tuple(toward))
    except (ParameterError, TypeError):
        text = f"{toward!r} are no three directions; the orientation is taken as unknown."
        problems.append(Problem("warning", "projectome.toward", text))
    kind = info.kind
    if kind == "image" and own.get("kind") == "affinities":
        kind = "affinities"
    names = own.get("channels")
    told = isinstance(names, list) and all(isinstance(name, str) for name in names)
    translation = _translation(own.get("translation"), info.scales[0], problems)
    return replace(
        info,
        kind=kind,
        space=space,
        translation=translation,
        names=tuple(names) if told and isinstance(names, list) else (),
        own=own,
        problems=tuple(problems),
    )


def _translation(
    stated: object, scale: Scale, problems: list[Problem]
) -> tuple[float, float, float] | None:
    """Return the exact place of voxel 0, if it lies in the voxel where the format has it."""
    if stated is None:
        return None
    place = scale.affine(Space())
    with np.errstate(invalid="ignore"):
        try:
            told = np.asarray(stated, dtype=np.float64)
            apart = np.abs(told - place.translation) / place.voxel_size
        except (TypeError, ValueError, OverflowError):
            told, apart = np.empty(0), np.full(3, np.inf)
    if told.shape == (3,) and (apart <= 1).all():
        z, y, x = told.tolist()
        return z, y, x
    text = f"{stated!r:.60} is not in the voxel of voxel_offset, which counts."
    problems.append(Problem("warning", "projectome.translation", text))
    return None
