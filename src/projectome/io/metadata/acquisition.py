"""Acquisition documents of every schema generation: axes, tiles and channels.

Read by shape, not by the version written in them: ``axes`` with ``tiles`` (versions 0 to 2.0-dev),
or coordinate systems with ``data_streams[].configurations[].images`` (2.x).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from projectome.core.space import OPPOSITE, Direction, Towards
from projectome.errors import Problem
from projectome.io.metadata.asset import AssetAxis, AssetChannel, Readings, Sizes, Text, Tile
from projectome.io.metadata.stated import Node, Stated
from projectome.io.metadata.tiles import RawTile, is_turned, raw_image, raw_tile, resolve

WORDS: dict[str, Direction] = {f"{OPPOSITE[d]}_to_{d}": d for d in OPPOSITE}
# "direction_lookup" of the schema's own reader: a letter names where the axis starts.
LETTERS: dict[str, Direction] = {d[0]: OPPOSITE[d] for d in OPPOSITE}
WAVELENGTHS = (150.0, 3000.0)
"""Wavelengths of microscopy [nm]."""
NAMED = re.compile(r"Ex_(\d{3,4})(?:_Em_(\d{3,4}))?", re.IGNORECASE | re.ASCII)
MOST_TILES = 100_000


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What one acquisition document says; the fields are those of `AssetMetadata`."""

    schema: Text
    axes: tuple[AssetAxis, ...]
    readings: Readings
    voxel_size_um: Sizes
    tiles: tuple[Tile, ...]
    channels: tuple[AssetChannel, ...]
    subject: Text
    instrument: Text
    started: Stated[datetime] | None
    ended: Stated[datetime] | None


def parse_acquisition(node: Node, problems: list[Problem]) -> Acquisition:
    """Read an acquisition document of any generation.

    Parameters
    ----------
    node
        The document; an empty one gives an empty result.
    problems
        What is contradictory or doubtful is added here.
    """
    axes = _axes(node, problems)
    raw = [raw_tile(entry, problems) for entry in node["tiles"].each()[:MOST_TILES]]
    raw += [raw_image(image, problems) for image in _images(node)]
    tiles, voxel_size = resolve(raw, axes, node, problems)
    return Acquisition(
        schema=node.first("schema_version", "version").text(),
        axes=axes,
        readings=() if _turned(raw, problems) else _readings(axes, node, problems),
        voxel_size_um=voxel_size,
        tiles=tiles,
        channels=_channels(node, problems),
        subject=node["subject_id"].text(),
        instrument=node["instrument_id"].text(),
        started=node.first("acquisition_start_time", "session_start_time").moment(),
        ended=node.first("acquisition_end_time", "session_end_time").moment(),
    )


def _configurations(node: Node) -> Iterator[Node]:
    for stream in node["data_streams"].each():
        yield from stream["configurations"].each()


def _images(node: Node) -> list[Node]:
    found = [image for config in _configurations(node) for image in config["images"].each()]
    return found[:MOST_TILES]


def _axes(node: Node, problems: list[Problem]) -> tuple[AssetAxis, ...]:
    stated = node["axes"]
    if isinstance(stated.value, str):
        return _axes_of_code(stated, problems)
    if stated:
        return tuple(_axis(entry, entry["unit"], problems) for entry in stated.each())
    configs = [config for config in _configurations(node) if config["images"]]
    own = [config.first("local_coordinate_system", "coordinate_system") for config in configs]
    whole = node.first("global_coordinate_system", "coordinate_system")
    systems = [system for system in own if system] or ([whole] if whole else [])
    found = [
        tuple(_axis(entry, system["axis_unit"], problems) for entry in system["axes"].each())
        for system in systems
    ]
    if len({_words(axes) for axes in found}) > 1:
        text = "The configurations name axes of different directions or units; none is taken."
        problems.append(systems[0].warning(text))
        return ()
    if found and whole and whole not in systems:
        other = tuple(_axis(entry, whole["axis_unit"], []) for entry in whole["axes"].each())
        if other and _words(other) != _words(found[0]):
            text = f"Its axes differ from those of the images, {systems[0].key}, which are taken."
            problems.append(whole.warning(text))
    return found[0] if found else ()


def _words(axes: tuple[AssetAxis, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        tuple(None if fact is None else fact.value for fact in (axis.name, axis.toward, axis.unit))
        for axis in axes
    )


def _axis(entry: Node, unit: Node, problems: list[Problem]) -> AssetAxis:
    number = entry["dimension"].number()
    is_index = number is not None and 0 <= number.value < 16 and number.value == int(number.value)
    word = entry["direction"].text()
    toward = None if word is None else WORDS.get(word.value.lower())
    if word is not None and toward is None:
        text = f"{word.value!r} is no anatomical direction such as Left_to_right: unknown."
        problems.append(entry["direction"].warning(text))
    return AssetAxis(
        name=entry["name"].text(),
        dimension=number.of(int(number.value)) if number is not None and is_index else None,
        toward=None if word is None or toward is None else word.of(toward),
        unit=unit.unit(problems) if unit else None,
        voxel_size=entry["voxel_size"].number(),
    )


def _axes_of_code(code: Node, problems: list[Problem]) -> tuple[AssetAxis, ...]:
    """Return the axes that a code such as ``"RAS"`` stands for, read as the schema reads it."""
    letters = str(code.value).strip().lower()
    if len(letters) != 3 or any(letter not in LETTERS for letter in letters):
        problems.append(code.warning(f"{str(code.value)[:40]!r} is no code such as RAS: unknown."))
        return ()
    toward = [LETTERS[letter] for letter in letters]
    problems.append(
        code.warning(
            f"The code {letters.upper()} is read as the schema defines it: X, Y, Z come FROM these "
            f"directions and run toward {', '.join(toward)}. Others write codes of where axes run "
            "TO, which would be the opposite: state it with --orientation CODE --meaning toward|"
            "from if this brain is mirrored."
        )
    )
    return tuple(
        AssetAxis(name=code.stated(name), toward=code.stated(direction))
        for name, direction in zip("XYZ", toward, strict=True)
    )


def _turned(raw: list[RawTile], problems: list[Problem]) -> bool:
    """Say whether tiles are turned or mirrored against the axes."""
    found = next((tile for tile in raw if is_turned(tile)), None)
    if found is not None:
        text = "The image is turned or mirrored against the axes: its orientation stays unknown."
        problems.append(found.node.warning(text))
    return found is not None


def _readings(axes: tuple[AssetAxis, ...], node: Node, problems: list[Problem]) -> Readings:
    """Return the directions of the axes (z, y, x), by their names and by their numbers."""
    spatial = {
        axis.name.value.lower(): axis
        for axis in axes
        if axis.name is not None and axis.name.value.lower() in ("x", "y", "z")
    }
    chosen = list(spatial.values()) if len(spatial) == 3 else list(axes)
    numbers = [axis.dimension.value for axis in chosen if axis.dimension is not None]
    orders: list[list[AssetAxis]] = []
    if len(spatial) == 3:
        orders.append([spatial[name] for name in "zyx"])
    if len(chosen) == 3 and len(set(numbers)) == 3:
        orders.append([axis for _, axis in sorted(zip(numbers, chosen, strict=True), key=_first)])
    found: list[Towards] = []
    for z, y, x in orders:
        toward: Towards = (_way(z), _way(y), _way(x))
        if toward not in found:
            found.append(toward)
    where = node["axes"] if node["axes"] else node
    if axes and not found:
        problems.append(where.warning("These are not three axes X, Y, Z: orientation unknown."))
    lines = [{frozenset((d, OPPOSITE[d])) for d in way if d is not None} for way in found]
    if found and len(lines[0]) < sum(d is not None for d in found[0]):
        text = f"Two axes run along one anatomical line, {found[0]}: orientation unknown."
        problems.append(where.warning(text))
        return ()
    if len(found) > 1:
        problems.append(
            where.warning(
                f"The names of the axes say (z, y, x) runs toward {found[0]}, their dimensions say "
                f"{found[1]}. Where they differ the orientation is unknown, unless the voxel size "
                "of a volume tells which one holds."
            )
        )
    return tuple(found)


def _first(pair: tuple[int, AssetAxis]) -> int:
    return pair[0]


def _way(axis: AssetAxis) -> Direction | None:
    return None if axis.toward is None else axis.toward.value


def _channels(node: Node, problems: list[Problem]) -> tuple[AssetChannel, ...]:
    places = [(tile["channel"], tile["file_name"]) for tile in node["tiles"].each()[:MOST_TILES]]
    places += [(channel, Node(None, "")) for channel in node["channels"].each()]
    for config in _configurations(node):
        places += [(channel, Node(None, "")) for channel in config["channels"].each()]
    found: dict[str, AssetChannel] = {}
    for place, file in places:
        name = place.first("channel_name", "name").text()
        if name is None or name.value in found:
            continue
        light = next(iter(place["light_sources"].each()), place)
        excitation = _wavelength(
            light.first("wavelength", "excitation_wavelength", "laser_wavelength"), light, problems
        )
        emission = _wavelength(place["emission_wavelength"], place, problems)
        for text in (name, file.text()):
            parts = None if text is None else NAMED.search(text.value)
            if text is not None and parts is not None:
                excitation = excitation or text.of(float(parts[1]))
                emission = emission or (text.of(float(parts[2])) if parts[2] else None)
        found[name.value] = AssetChannel(name, excitation, emission)
    return tuple(found.values())


def _wavelength(place: Node, parent: Node, problems: list[Problem]) -> Stated[float] | None:
    """Return a wavelength [nm]."""
    found = place.number()
    if found is None:
        return None
    unit = parent[place.key.rsplit(".", 1)[-1] + "_unit"]
    factor = unit.micrometres(problems)
    nanometres = found.value * (1.0 if factor is None else 1e3 * factor)
    if WAVELENGTHS[0] <= nanometres <= WAVELENGTHS[1]:
        return found.of(nanometres)
    low, high = WAVELENGTHS
    text = f"{nanometres:g} nm is no wavelength of microscopy, {low:g} to {high:g} nm: not taken."
    problems.append(place.warning(text))
    return None
