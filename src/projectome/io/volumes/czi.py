"""CZI files of ZEISS microscopes as lazy volumes: mosaics, pyramids, scenes and phases.

Positions are the file's own: pixel (0, 0) of its coordinates, in which all scenes lie beside one
another, has its centre at the origin. Tiles that overlap lie over one another in the order of the
file; pixels that no tile covers are 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Array, Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.volumes.czi_file import MAGIC, PIXELS, CziFile, Tile, check_compression
from projectome.io.volumes.czi_metadata import CziFacts, facts_of
from projectome.io.volumes.options import OpenOptions, Place, chosen_channels, name_of
from projectome.io.volumes.planes import (
    PlaneArray,
    pick_places,
    pick_series,
    series_problem,
    spans,
    stated_voxel_size,
)

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, eq=False)
class CziLevel:
    """The tiles of one level of a pyramid, at one place along all further axes.

    Attributes
    ----------
    file
        Where they lie.
    tiles
        By channel and plane as the file numbers them, lowest first.
    channels
        Numbers of the channels.
    planes
        Numbers of the planes.
    origin
        Pixel 0 (y, x) in pixels of the finest level.
    zoom
        Pixels of the finest level in one of this.
    """

    file: CziFile
    tiles: dict[tuple[int, int], list[Tile]]
    channels: tuple[int, ...]
    planes: range
    origin: tuple[int, int]
    zoom: int

    @property
    def example(self) -> Tile:
        """Any tile: all have the same type."""
        return next(iter(self.tiles.values()))[0]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""
        return np.dtype(PIXELS[self.example.pixel][0])

    @property
    def samples(self) -> int:
        """Three where the pixels are colours."""
        return PIXELS[self.example.pixel][1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ends = [
            [at + n for at, n in zip(self.start(tile), tile.stored, strict=True)]
            for tiles in self.tiles.values()
            for tile in tiles
        ]
        height, width = np.max(ends, axis=0).tolist()
        return height, width

    @property
    def piece(self) -> tuple[int, int]:
        """Rows and columns of the largest tile."""
        stored = [tile.stored for tiles in self.tiles.values() for tile in tiles]
        height, width = np.max(stored, axis=0).tolist()
        return height, width

    def start(self, tile: Tile) -> tuple[int, int]:
        """Return where a tile lies in this level (y, x)."""
        y, x = (
            round((at - first) / self.zoom)
            for at, first in zip(tile.start, self.origin, strict=True)
        )
        return y, x

    def read(self, z: int, channels: slice, y: slice, x: slice) -> Array:
        """Return a part of some channels of one plane, axes (c, y, x)."""
        shape = channels.stop - channels.start, y.stop - y.start, x.stop - x.start
        out = np.zeros(shape, self.dtype)
        for row, number in enumerate(range(channels.start, channels.stop)):
            channel, sample = divmod(number, self.samples)
            for tile in self.tiles.get((self.channels[channel], self.planes[z]), ()):
                met = spans((y, x), self.start(tile), tile.stored)
                if met is not None:
                    out[row][met[1]] = self.file.pixels(tile)[..., sample][met[0]]
        return out

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from self.file.evidence()


class CziReader:
    """Opens CZI files."""

    name = "CZI"
    prefix = "czi"

    def sniff(self, place: Place) -> bool:
        """Say whether it is a CZI file."""
        return place.head is not None and place.head.startswith(MAGIC)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return one scene of the file, at one place along its further axes.

        Raises
        ------
        FormatError
            If it is broken, or holds what is not read.
        ParameterError
            If a choice or a fact is missing that only the user can give.
        """
        if not self.sniff(place):
            raise FormatError(f"{place.url} is no CZI file. Open it without the prefix czi://.")
        file = CziFile(place.url, access=options.access)
        facts = facts_of(file.xml, url=place.url)
        problems: list[Problem] = []
        scene, tiles = _scene(file, options, problems)
        rest = {name: n for name, n in options.places.items() if name != "s"}
        chosen, places = _chosen(tiles, replace(options, places=rest), url=place.url)
        channels = {tile.place.get("c", 0) for tile in (chosen if "c" in places else tiles)}
        levels = _levels(file, tiles, chosen, tuple(sorted(channels)))
        _check(levels, file, options, problems)
        context = repr((scene, sorted(places.items()), levels[0].channels)).encode()
        volumes = _volumes(levels, facts, options, problems, context)
        acquisition = replace(facts.acquisition, stage_um=facts.stage_um.get(scene))
        metadata = {
            "format": "CZI",
            "version": file.version,
            "url": place.url,
            **acquisition.metadata(),
        }
        return Pyramid(volumes, tuple(problems), metadata)


def _scene(file: CziFile, options: OpenOptions, problems: list[Problem]) -> tuple[int, list[Tile]]:
    """Return the number and the tiles of the scene to read."""
    options = replace(options, series=options.places.get("s", options.series))
    scenes: dict[int, list[Tile]] = {}
    for tile in file.tiles:
        scenes.setdefault(tile.place.get("s", 0), []).append(tile)
    numbers = sorted(scenes)
    areas = [_area(scenes[number]) for number in numbers]
    largest = areas.index(max(areas))
    index = pick_series(len(numbers), largest, "scenes", options, url=file.url)
    if len(numbers) > 1 and options.series is None:
        problems.append(series_problem(len(numbers), index, "scenes", url=file.url))
    return numbers[index], scenes[numbers[index]]


def _area(tiles: Sequence[Tile]) -> int:
    low = np.min([tile.start for tile in tiles], axis=0)
    high = np.max([np.add(tile.start, tile.size) for tile in tiles], axis=0)
    return math.prod((high - low).tolist())


def _chosen(
    tiles: Sequence[Tile], options: OpenOptions, *, url: str
) -> tuple[list[Tile], dict[str, int]]:
    """Return the tiles at the place that the user chose along the further axes."""
    letters = {letter for tile in tiles for letter in tile.place} - {"s", "z", "c"}
    if "c" in options.places:
        letters.add("c")
    found = {k: [tile.place.get(k, 0) for tile in tiles] for k in sorted(letters, reverse=True)}
    first = {letter: min(starts) for letter, starts in found.items()}
    sizes = {letter: max(starts) - first[letter] + 1 for letter, starts in found.items()}
    places = pick_places(sizes, options, url=url)
    wanted = {letter: first[letter] + place for letter, place in places.items()}
    chosen = [t for t in tiles if all(t.place.get(k, 0) == v for k, v in wanted.items())]
    if not chosen:
        raise ParameterError(f"{url} holds no pixels at {places}. Choose another place.")
    return chosen, places


def _levels(
    file: CziFile, scene: Sequence[Tile], chosen: Sequence[Tile], channels: tuple[int, ...]
) -> list[CziLevel]:
    """Return the levels, finest first, whose planes are as many as those of the finest."""
    full = [tile for tile in chosen if tile.size == tile.stored]
    if not full:
        raise file.file.broken("it holds no pixels of full resolution")
    whole = [tile for tile in scene if tile.size == tile.stored]
    y, x = np.min([tile.start for tile in whole], axis=0).tolist()
    planes = range(
        min(tile.place.get("z", 0) for tile in whole),
        max(tile.place.get("z", 0) for tile in whole) + 1,
    )
    reduced = [tile.zoom for tile in chosen if tile.size != tile.stored]
    step = max(2, round(min(reduced, default=2)))
    levels: dict[int, dict[tuple[int, int], list[Tile]]] = {}
    for tile in sorted(chosen, key=lambda t: (t.order, t.position)):
        zoom = 1 if tile.size == tile.stored else step ** max(1, round(math.log(tile.zoom, step)))
        key = tile.place.get("c", 0), tile.place.get("z", 0)
        levels.setdefault(zoom, {}).setdefault(key, []).append(tile)
    return [
        CziLevel(file, tiles, channels, planes, (y, x), zoom)
        for zoom, tiles in sorted(levels.items())
        if tiles.keys() == levels[1].keys()
    ]


def _check(
    levels: list[CziLevel], file: CziFile, options: OpenOptions, problems: list[Problem]
) -> None:
    """Refuse what cannot be read or believed, and note what is missing."""
    finest = levels[0]
    for level in levels:
        kinds = {tile.pixel for tiles in level.tiles.values() for tile in tiles}
        if len(kinds) > 1:
            raise FormatError(
                f"The channels of {file.url} have different element types. Open one of them: "
                f"{file.url}#c=0"
            )
        for tiles in level.tiles.values():
            for tile in tiles:
                check_compression(tile, url=file.url)
    planes = len(finest.channels) * len(finest.planes)
    file.file.check_believed(
        planes * math.prod(finest.shape) * finest.samples * finest.dtype.itemsize
    )
    missing = planes - len(finest.tiles)
    if missing and options.strict:
        raise FormatError(
            f"{file.url} lacks {missing} of its {planes} planes. Restore it, or read without "
            "--strict to take zeros there."
        )
    if missing:
        text = f"{missing} of {planes} planes hold no pixels there and are read as zeros."
        problems.append(Problem("warning", "planes", text))


def _volumes(
    levels: list[CziLevel],
    facts: CziFacts,
    options: OpenOptions,
    problems: list[Problem],
    context: bytes,
) -> tuple[Volume, ...]:
    finest, depth = levels[0], len(levels[0].planes)
    url = finest.file.url
    shown = f"CZI, {depth} x {' x '.join(map(str, finest.shape))} {finest.dtype}"
    size = stated_voxel_size(facts.voxel_size, depth, options, problems, f"{url} ({shown})")
    names = _names(finest, facts)
    count = len(finest.channels) * finest.samples
    channels = chosen_channels(count, names) if count > 1 else ()
    space = options.described(Space())
    volumes = []
    for level in levels:
        shape: tuple[int, ...] = (depth, *level.shape)
        chunks: tuple[int, ...] = (1, *level.piece)
        if channels:
            shape, chunks = (count, *shape), (level.samples, *chunks)
        chunks = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
        array = PlaneArray(level, shape, chunks, context + repr(level.zoom).encode())
        scale = np.array([1, level.zoom, level.zoom])
        first = np.array([level.planes[0], *level.origin]) + (scale - 1) / 2
        affine = Affine.from_scale(scale * size, first * size, target=space)
        volumes.append(Volume(array, affine, channels, "image", name_of(url)))
    return tuple(volumes)


def _names(level: CziLevel, facts: CziFacts) -> tuple[str, ...]:
    stated = facts.acquisition.channels
    names = [stated[c].name if 0 <= c < len(stated) else "" for c in level.channels]
    if level.samples == 1:
        return tuple(names)
    if len(names) == 1:
        return COLOURS
    return tuple(f"{name} {colour}".strip() for name in names for colour in COLOURS)
