"""Tiles of a recording: voxel size and position, with their units and order looked through.

The numbers of a scale or a position are X, Y, Z by convention, and their unit is one word for all.
Both are contradicted by real documents, so each is held against what a microscope can do: a voxel
measures 0.01 to 100 um and a brain, expanded or not, 5 to 60 mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from projectome.core.space import MICROMETRES
from projectome.errors import Problem
from projectome.io.metadata.asset import AssetAxis, Sizes, Text, Tile
from projectome.io.metadata.stated import Node, Stated

VOXEL = (0.01, 100.0)
"""Smallest and largest voxel of a microscope [um]."""
BRAIN = (5.0, 60.0)
"""Smallest and largest extent of a mouse brain, expanded or not [mm]."""
LEAST_STEP = 100
"""Voxels that neighbouring tiles lie apart at least."""
UNITS = ("micrometer", "millimeter", "nanometer")
XYZ = (2, 1, 0)
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class RawTile:
    """A tile as written: numbers of unknown unit and order."""

    node: Node
    scale: Stated[tuple[float, ...]] | None = None
    translation: Stated[tuple[float, ...]] | None = None
    rotation: Stated[tuple[float, ...]] | None = None
    affine: Stated[tuple[float, ...]] | None = None
    shape: Stated[tuple[float, ...]] | None = None
    unit: Text = None
    by_name: bool = False


def raw_tile(node: Node, problems: list[Problem]) -> RawTile:
    """Return a tile of the generations 0 to 2.0-dev."""
    size, place = node["voxel_size"], node["position"]
    if size:
        unit = (size["unit"] if size["unit"] else place["unit"]).unit(problems)
        return RawTile(
            node,
            scale=_together(size, "size_x", "size_y", "size_z"),
            translation=_together(place, "x_start", "y_start", "z_start"),
            unit=unit,
            by_name=True,
        )
    return _transformed(node, node["coordinate_transformations"], problems)


def raw_image(node: Node, problems: list[Problem]) -> RawTile:
    """Return an image of the generation 2.x."""
    return _transformed(node, node["image_to_acquisition_transform"], problems)


def _together(node: Node, *names: str) -> Stated[tuple[float, ...]] | None:
    found = [node[name].number() for name in names]
    values = tuple(number.value for number in found if number is not None)
    return node.stated(values) if len(values) == len(names) else None


def _transformed(node: Node, chain: Node, problems: list[Problem]) -> RawTile:
    """Return a tile with a list of transforms, each an object or its printed form."""
    found: dict[str, Stated[tuple[float, ...]]] = {}
    steps = chain.each() or ([chain] if chain else [])
    for step in steps[:16]:
        record = step.record(problems)
        for kind, keys, counts in (
            ("scale", ("scale",), (3,)),
            ("translation", ("translation",), (3,)),
            ("rotation", ("rotation", "angles"), (9, 3)),
            ("affine", ("affine_transform", "affine"), (12, 16)),
        ):
            place = record.first(*keys)
            if not place:
                continue
            values = _numbers(place, counts)
            if values is None:
                text = f"Not {' or '.join(map(str, counts))} finite numbers: not taken."
                problems.append(place.warning(text))
            else:
                found.setdefault(kind, place.stated(values))
    size = node["dimensions"].record(problems)["scale"]
    shape = size.numbers(3)
    whole = shape is not None and all(n >= 1 and n == int(n) for n in shape)
    return RawTile(
        node,
        scale=found.get("scale"),
        translation=found.get("translation"),
        rotation=found.get("rotation"),
        affine=found.get("affine"),
        shape=size.stated(shape) if shape is not None and whole else None,
    )


def _numbers(place: Node, counts: tuple[int, ...]) -> tuple[float, ...] | None:
    """Return the numbers of a list or of a list of rows."""
    rows = [row.each() for row in place.each()]
    entries = [entry for row in rows for entry in row] if all(rows) and rows else place.each()
    flat = Node([entry.value for entry in entries], place.source, place.key)
    found = (flat.numbers(count) for count in counts)
    return next((values for values in found if values is not None), None)


def is_turned(tile: RawTile) -> bool:
    """Say whether the axes of a tile are not those of its recording, or run against them."""
    if tile.scale is not None and min(tile.scale.value) < 0:
        return True
    if tile.rotation is not None:
        values = tile.rotation.value
        still = (0.0,) * 3 if len(values) == 3 else (1.0, 0, 0, 0, 1, 0, 0, 0, 1)
        if not all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(values, still, strict=True)):
            return True
    if tile.affine is not None:
        matrix = tile.affine.value
        diagonal = matrix[0], matrix[5], matrix[10]
        rest = [matrix[i] for i in (1, 2, 4, 6, 8, 9)]
        return min(diagonal) <= 0 or any(abs(v) > 1e-6 * max(diagonal) for v in rest)
    return False


def resolve(
    raw: list[RawTile], axes: tuple[AssetAxis, ...], node: Node, problems: list[Problem]
) -> tuple[tuple[Tile, ...], Sizes]:
    """Give the tiles their units and order.

    Parameters
    ----------
    raw
        Tiles as written.
    axes
        Axes of the recording.
    node
        The document.
    problems
        What is doubtful is added here.

    Returns
    -------
    tiles
        Sizes and positions (z, y, x) in micrometres; None where in doubt.
    voxel_size
        That of all tiles; of the axes themselves where there is no tile. None where they differ.
    """
    raw = raw or _of_axes(axes, node)
    first = next((tile for tile in raw if tile.scale is not None), None)
    if first is None or first.scale is None:
        return tuple(_tile(tile, None, None, None) for tile in raw if tile.node is not node), None
    unit = first.unit or _common_unit(axes, node, problems)
    factor = _factor(first, first.scale, unit, problems)
    order = XYZ if first.by_name else _order(first.scale, axes, problems)
    positions = _positions(raw, factor if _trusted(unit, factor) else None, problems)
    tiles = tuple(_tile(tile, factor, order, positions) for tile in raw)
    sizes: dict[Triple, Stated[Triple]] = {}
    for tile in tiles:
        if tile.scale_um is not None:
            sizes.setdefault(tile.scale_um.value, tile.scale_um)
    if len(sizes) > 1:
        text = f"The tiles have voxels of {len(sizes)} sizes, {list(sizes)[:3]} um: none is taken."
        problems.append(node["tiles"].warning(text))
    voxel_size = next(iter(sizes.values())) if len(sizes) == 1 else None
    return tuple(t for t, r in zip(tiles, raw, strict=True) if r.node is not node), voxel_size


def _of_axes(axes: tuple[AssetAxis, ...], node: Node) -> list[RawTile]:
    """Return the voxel size that the axes themselves state, as a tile without a file."""
    by_name = {a.name.value.lower(): a.voxel_size for a in axes if a.name is not None}
    found = [by_name.get(name) for name in "xyz"]
    values = tuple(size.value for size in found if size is not None)
    if len(values) < 3 or found[0] is None:
        return []
    evidence: Stated[tuple[float, ...]] = found[0].of(values)
    return [RawTile(node, scale=evidence, by_name=True)]


def _common_unit(axes: tuple[AssetAxis, ...], node: Node, problems: list[Problem]) -> Text:
    found = {axis.unit.value.lower(): axis.unit for axis in axes if axis.unit is not None}
    if len(found) == 1:
        return next(iter(found.values()))
    where = node["axes"] if node["axes"] else node
    if found:
        problems.append(
            where.warning(f"The axes have the units {sorted(found)}: which is unclear.")
        )
        return None
    problems.append(where.warning("No unit is stated: read as micrometre."))
    return None


def _fits(scale: tuple[float, ...], factor: float, shape: tuple[float, ...] | None) -> bool:
    if not all(VOXEL[0] <= abs(v) * factor <= VOXEL[1] for v in scale):
        return False
    extents = [] if shape is None else [v * n for v, n in zip(scale, shape, strict=True)]
    return all(abs(extent) * factor <= 1e3 * BRAIN[1] for extent in extents)


def _factor(
    tile: RawTile, stated: Stated[tuple[float, ...]], unit: Text, problems: list[Problem]
) -> float | None:
    """Return micrometres in one unit of the scale, None where no unit or several are possible."""
    scale, shape = stated.value, None if tile.shape is None else tile.shape.value
    word = "micrometer" if unit is None else unit.value.lower()
    if _fits(scale, MICROMETRES[word], shape):
        return MICROMETRES[word]
    fitting = [other for other in UNITS if _fits(scale, MICROMETRES[other], shape)]
    said = "no unit" if unit is None else f"{unit.value!r} ({unit.where})"
    size = " x ".join(f"{abs(v) * MICROMETRES[word]:g}" for v in scale)
    extent = ""
    if shape is not None:
        whole = (abs(v) * n * MICROMETRES[word] / 1e3 for v, n in zip(scale, shape, strict=True))
        extent = f" and a tile {' x '.join(f'{v:.4g}' for v in whole)} mm"
    text = (
        f"With {said} a voxel of {list(scale)} measures {size} um{extent}; voxels are "
        f"{VOXEL[0]:g} to {VOXEL[1]:g} um and a mouse brain is {BRAIN[0]:g} to {BRAIN[1]:g} mm. "
    )
    if len(fitting) == 1:
        text += f"It is read in {fitting[0]}s, the one unit that is possible."
    else:
        text += f"Possible are: {', '.join(fitting) or 'none'}. No voxel size is taken."
    problems.append(Problem("warning", stated.where, text))
    return MICROMETRES[fitting[0]] if len(fitting) == 1 else None


def _trusted(unit: Text, factor: float | None) -> bool:
    return factor == MICROMETRES["micrometer" if unit is None else unit.value.lower()]


def _order(
    scale: Stated[tuple[float, ...]], axes: tuple[AssetAxis, ...], problems: list[Problem]
) -> tuple[int, ...] | None:
    """Return which number belongs to z, y and x."""
    names = [None if axis.name is None else axis.name.value.lower() for axis in axes]
    if sorted(map(str, names)) != ["x", "y", "z"] or names == ["x", "y", "z"]:
        return XYZ
    listed = tuple(names.index(name) for name in "zyx")
    values = scale.value
    square = [o for o in (XYZ, listed) if math.isclose(values[o[1]], values[o[2]], rel_tol=1e-3)]
    text = (
        f"{list(values)} is X, Y, Z by convention, but the axes are listed as "
        f"{', '.join(map(str, names)).upper()}. "
    )
    if len(square) == 2 and len({tuple(values[i] for i in order) for order in square}) == 1:
        return XYZ
    if len(square) == 1:
        taken = "X, Y, Z" if square[0] == XYZ else "the order of the axes"
        text += f"Read as {taken}: the pixels of a camera are square, X = Y."
    else:
        text += "Both are possible: no voxel size is taken."
    problems.append(Problem("warning", scale.where, text))
    return square[0] if len(square) == 1 else None


def _positions(raw: list[RawTile], factor: float | None, problems: list[Problem]) -> float | None:
    """Return micrometres in one unit of the positions, None where in doubt."""
    found = [(t, t.translation) for t in raw if t.translation is not None]
    moved = next((place for _, place in found if any(place.value)), None)
    if moved is None:
        return 1.0
    if factor is None:
        text = (
            f"The position {list(moved.value)} has the unit that the voxel size contradicts: "
            "micrometres or millimetres. It is not taken."
        )
        problems.append(Problem("warning", moved.where, text))
        return None
    values = [place.value for _, place in found]
    spans = [max(v[i] for v in values) - min(v[i] for v in values) for i in range(3)]
    scale = next(t.scale.value for t in raw if t.scale is not None)
    steps = max(abs(span / size) if size else 0.0 for span, size in zip(spans, scale, strict=True))
    widest = max(spans) * factor
    if 0 < steps < LEAST_STEP and widest <= BRAIN[1]:
        text = (
            f"As stated the {len(found)} tiles lie within {widest:g} um of one another, "
            f"{steps:.0f} voxels: they would be one. Plausible are millimetres, a span of "
            f"{widest:g} mm (a mouse brain is {BRAIN[0]:g} to {BRAIN[1]:g} mm), and then the order "
            "may be -y, x, z, as software of ExA-SPIM microscopes writes it. No position is taken."
        )
    elif widest > 1e3 * BRAIN[1]:
        text = (
            f"As stated the tiles span {widest / 1e3:g} mm; a mouse brain is {BRAIN[0]:g} to "
            f"{BRAIN[1]:g} mm. No position is taken."
        )
    else:
        return factor
    problems.append(Problem("warning", moved.where, text))
    return None


def _tile(
    raw: RawTile,
    factor: float | None,
    order: tuple[int, ...] | None,
    positions: float | None,
) -> Tile:
    def turned(numbers: Stated[tuple[float, ...]] | None, unit: float | None) -> Sizes:
        if numbers is None or order is None or unit is None:
            return None
        z, y, x = (numbers.value[i] * unit for i in order)
        return numbers.of((z, y, x))

    scale = turned(raw.scale, factor)
    channel = raw.node["channel"]
    return Tile(
        file_name=raw.node["file_name"].text(),
        channel=(channel["channel_name"] if channel else raw.node["channel_name"]).text(),
        scale_um=scale if scale is not None and min(scale.value) > 0 else None,
        translation_um=turned(raw.translation, positions),
        translation=None
        if raw.translation is None
        else raw.translation.of(_three(raw.translation)),
        rotation=raw.rotation,
        affine=raw.affine,
        shape=turned(raw.shape, 1.0),
    )


def _three(numbers: Stated[tuple[float, ...]]) -> Triple:
    x, y, z = numbers.value
    return x, y, z
