"""OME-Zarr metadata of every version, parsed into one model.

Versions 0.4 and 0.5 name ``axes`` and allow a scale and a translation a level; 0.6 (RFC-5) names
``coordinateSystems`` and allows any affine map. RFC-4 orientation is read wherever it stands. All
problems are collected; errors among them are raised together.

What is doubtful is read as follows, each with a problem that says so:

- a missing unit of space is micrometre;
- a two-dimensional image is one plane, 1 um thick;
- axes of space in another order than z, y, x, and time or channels behind them, are turned lazily;
- the transformations of the levels count: further coordinate systems of 0.6 are applied only where
  the levels lead no further than to array coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard, cast

import numpy as np

from projectome.core.space import OPPOSITE, Direction, Towards
from projectome.errors import MetadataError, Problem
from projectome.io.volumes.ngff_axes import AxisKind, NgffAxis, parse_axes
from projectome.io.volumes.ngff_transforms import (
    Findings,
    Matrix,
    matrix_of,
    spatial_part,
    unsupported,
)

SMALLEST_VOXEL, LARGEST_VOXEL = 1e-4, 1e5
"""Voxel edges that are believed [um]: 0.1 nm to 10 cm."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One array of a multiscale.

    Attributes
    ----------
    path
        Path of the array below the group.
    matrix
        Shape (4, 4); voxel (z, y, x) to micrometres. None where the file states no scale.
    """

    path: str
    matrix: Matrix | None


@dataclass(frozen=True, slots=True, eq=False)
class Multiscale:
    """An image at several resolutions: what every version of the metadata says.

    Attributes
    ----------
    version
        Of the metadata.
    name
        Of the image; may be empty.
    axes
        Meaning of each array axis, in the order of the file.
    space_axes
        Array axes that are z, y and x, in this order; only y and x in two dimensions.
    toward
        Direction of increasing z, y and x.
    levels
        Finest first, as in the file.
    channel_names
        Of the display settings; may be fewer or more than there are channels.
    labels
        Whether it says that it holds labels.
    display
        The ``omero`` settings as they are.
    problems
        What was doubtful.
    """

    version: str
    name: str
    axes: tuple[NgffAxis, ...]
    space_axes: tuple[int, ...]
    toward: Towards
    levels: tuple[Level, ...]
    channel_names: tuple[str, ...] = ()
    labels: bool = False
    display: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def axes_of(self, *kinds: AxisKind) -> tuple[int, ...]:
        """Return the array axes of these kinds."""
        return tuple(i for i, axis in enumerate(self.axes) if axis.kind in kinds)


def ome_attributes(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return the OME part of group attributes: below ``ome`` since 0.5, at the top before."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def parse_multiscale(
    attributes: Mapping[str, object],
    *,
    url: str,
    axes: str | None = None,
    scale_needed: bool = True,
) -> Multiscale:
    """Parse the attributes of an OME-Zarr group.

    Parameters
    ----------
    attributes
        Of the group: the content of ``.zattrs``, or ``attributes`` of ``zarr.json``.
    url
        Address of the group, for messages.
    axes
        One letter an array axis in place of what the file says, for instance ``"tczyx"``.
    scale_needed
        Whether a missing voxel size is an error.

    Raises
    ------
    MetadataError
        With all problems, if the metadata cannot be used.
    """
    findings = Findings()
    ome = ome_attributes(attributes)
    found = ome.get("multiscales")
    parsed: Parsed | None = None
    image: Mapping[str, object] = {}
    version = ""
    if not _is_list(found) or not isinstance(found[0], Mapping):
        findings.error("multiscales", "A list with at least one multiscale image is needed.")
    else:
        image = found[0]
        if len(found) > 1:
            findings.warn("multiscales", f"The first of {len(found)} images is read.")
        version = str(ome.get("version") or image.get("version") or "")
        if not version:
            version = "0.6" if "coordinateSystems" in image else "0.4"
            findings.warn("version", f"No version is stated; read as {version}.")
        parsed = _Parser(image, version, findings).parse(axes, scale_needed=scale_needed)
    if parsed is None or findings.failed():
        raise MetadataError(
            f"The OME-Zarr metadata of {url} cannot be used. Correct it, or open one level as a "
            f"plain array: zarr://{url}/LEVEL with --voxel-size Z,Y,X and --axes.",
            findings.problems,
        )
    display = ome.get("omero")
    return Multiscale(
        version=version,
        name=str(image.get("name") or ""),
        axes=parsed[0],
        space_axes=parsed[1],
        toward=parsed[2],
        levels=parsed[3],
        channel_names=_channel_names(display, findings),
        labels="image-label" in ome,
        display=display if isinstance(display, Mapping) else {},
        problems=tuple(findings.problems),
    )


def _is_list(value: object) -> TypeGuard[list[object]]:
    """Say whether it is a list with something in it."""
    return isinstance(value, list) and len(value) > 0


def _channel_names(display: object, findings: Findings) -> tuple[str, ...]:
    channels = display.get("channels") if isinstance(display, Mapping) else None
    if not isinstance(channels, Sequence) or isinstance(channels, str):
        return ()
    names = []
    for index, channel in enumerate(channels):
        where = f"omero.channels[{index}]"
        if not isinstance(channel, Mapping):
            findings.warn(where, "Not an object; the channel is numbered.")
            names.append(f"channel {index}")
            continue
        color, window = channel.get("color"), channel.get("window")
        if color is not None and not re.fullmatch(r"[0-9A-Fa-f]{6}", str(color)):
            findings.warn(f"{where}.color", f"{color!r} is not a colour RRGGBB.")
        if isinstance(window, Mapping) and any(isinstance(v, str) for v in window.values()):
            findings.warn(f"{where}.window", "Its limits are not numbers.")
        names.append(str(channel.get("label") or f"channel {index}"))
    return tuple(names)


Parsed: TypeAlias = tuple[tuple[NgffAxis, ...], tuple[int, ...], Towards, tuple[Level, ...]]


class _Parser:
    """Parses one entry of ``multiscales``; the findings collect what is wrong."""

    def __init__(self, image: Mapping[str, object], version: str, findings: Findings) -> None:
        self.image, self.version, self.findings = image, version, findings
        self.systems = "coordinateSystems" in image or _at_least(version, (0, 6))
        # Development versions of 0.6 named inputs and outputs by plain text.
        self.loose = "dev" in version
        self.axes: tuple[NgffAxis, ...] = ()

    @property
    def kinds(self) -> list[AxisKind]:
        """Kind of each axis of the coordinates."""
        return [axis.kind for axis in self.axes]

    def parse(self, said: str | None, *, scale_needed: bool) -> Parsed | None:
        """Return array axes, axes of space, directions and levels; None after an error."""
        datasets = self.image.get("datasets")
        if not _is_list(datasets):
            self.findings.error("datasets", "A list with at least one level is needed.")
            return None
        entries = [d if isinstance(d, Mapping) else {} for d in datasets]
        system = self._intrinsic(entries) if self.systems else None
        listed, where, beyond = self._coordinates(system)
        if self.findings.failed():
            return None
        self.axes = parse_axes(listed, where, self.findings, said=said, strict=self.systems)
        if not self.axes:
            return None
        after = self._after(beyond, system)
        levels: list[Level] = []
        meanings: set[tuple[str, ...]] = set()
        for index, entry in enumerate(entries):
            level, meaning = self._level(entry, f"datasets[{index}]", after, scale_needed)
            if level is not None:
                levels.append(level)
                meanings.add(meaning)
        if len(meanings) > 1:
            self.findings.error("datasets", "The axes of the levels mean different things.")
        if self.findings.failed():
            return None
        return self._arranged(levels, meanings.pop())

    # Coordinate systems of 0.6

    def _intrinsic(self, entries: list[Mapping[str, object]]) -> str | None:
        """Return the name of the coordinate system into which the levels lead."""
        names = []
        for index, entry in enumerate(entries):
            stated = entry.get("coordinateTransformations")
            first = stated[0] if _is_list(stated) else None
            if isinstance(first, Mapping):
                where = f"datasets[{index}].coordinateTransformations[0]"
                self._reference(first.get("input"), "path", f"{where}.input")
                names.append(self._reference(first.get("output"), "name", f"{where}.output"))
        if len(set(names)) > 1:
            self.findings.error("datasets", f"The levels lead into different systems: {names}.")
        return names[0] if names else None

    def _reference(self, value: object, key: str, where: str) -> str | None:
        if self.loose and isinstance(value, str):
            return value
        name = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(name, str):
            self.findings.error(where, f"An object with the key {key!r} is needed, not {value!r}.")
            return None
        return name

    def _coordinates(self, system: str | None) -> tuple[object, str, object]:
        """Return the list of axes, its place, and a transformation to apply after the levels."""
        further = self.image.get("coordinateTransformations")
        if not self.systems:
            listed = self.image.get("axes")
            if listed is None and self.version in ("0.1", "0.2"):
                self.findings.warn("axes", "Versions 0.1 and 0.2 have none: read as t, c, z, y, x.")
                listed = list("tczyx")
            return listed, "axes", further
        systems = self._systems()
        axes = systems.get(system or "")
        if axes is None:
            named = "the levels name none" if system is None else f"there is no {system!r}"
            self.findings.error("coordinateSystems", f"The levels lead into one: {named}.")
        if _is_list(axes) and all(
            isinstance(a, Mapping) and a.get("type") == "array" for a in axes
        ):
            for entry in further if _is_list(further) else []:
                ends = entry if isinstance(entry, Mapping) else {}
                source, target = ends.get("input"), ends.get("output")
                if source == {"name": system} and isinstance(target, Mapping):
                    name = str(target.get("name"))
                    return systems.get(name), f"coordinateSystems[{name!r}].axes", [entry]
        return axes, f"coordinateSystems[{system!r}].axes", None

    def _systems(self) -> dict[str, object]:
        listed = self.image.get("coordinateSystems")
        found: dict[str, object] = {}
        if not _is_list(listed):
            self.findings.error("coordinateSystems", "At least one coordinate system is needed.")
            return found
        for index, entry in enumerate(listed):
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(entry, Mapping) and isinstance(name, str):
                found[name] = entry.get("axes", [])
            else:
                self.findings.error(f"coordinateSystems[{index}]", "It needs a name and axes.")
        return found

    # Transformations

    def _level(
        self, entry: Mapping[str, object], where: str, after: Matrix, scale_needed: bool
    ) -> tuple[Level | None, tuple[str, ...]]:
        path, stated = entry.get("path"), entry.get("coordinateTransformations")
        if not isinstance(path, str):
            self.findings.error(f"{where}.path", f"A path is text, not {path!r}.")
            return None, ()
        if stated is None and not scale_needed:
            return Level(path, None), tuple(self.kinds)
        where = f"{where}.coordinateTransformations"
        if not _is_list(stated) or not self._allowed(stated, where):
            self.findings.error(
                where,
                "A level states its scale, perhaps a translation after it"
                + (", both in one sequence." if self.systems else "."),
            )
            return None, ()
        matrix = self._chain(stated, where)
        if matrix is None:
            return None, ()
        found = spatial_part(after @ matrix, self.kinds, where, self.findings)
        if found is None:
            return None, ()
        return Level(path, self._in_micrometres(found[1], where)), found[0]

    def _allowed(self, stated: list[object], where: str) -> bool:
        """Say whether the transformations of a level state a voxel size as the version demands."""
        types = [t.get("type") if isinstance(t, Mapping) else None for t in stated]
        if not self.systems:
            return types in (["scale"], ["scale", "translation"], ["identity"])
        if types == ["translation"] and self.loose:
            self.findings.warn(where, "A translation alone: the voxel size is read as 1 unit.")
            return True
        return len(types) == 1 and types != ["translation"]

    def _chain(self, stated: object, where: str) -> Matrix | None:
        sequence = {"type": "sequence", "transformations": stated}
        return matrix_of(sequence, self.kinds, where, self.findings)

    def _after(self, beyond: object, system: str | None) -> Matrix:
        """Return what is applied after the transformation of each level, and check the rest."""
        where, still = "coordinateTransformations", np.eye(len(self.axes) + 1)
        if beyond:
            made = self._chain(beyond, where)
            return still if made is None else made
        stated = self.image.get(where)
        if stated and not _is_list(stated):
            self.findings.error(where, f"A list of transformations is needed, not {stated!r}.")
        for index, entry in enumerate(stated if _is_list(stated) else []):
            place = f"{where}[{index}]"
            if unsupported(entry) or matrix_of(entry, self.kinds, place, self.findings) is not None:
                self.findings.warn(
                    place, f"Coordinates stay in {system!r}; the way into another is not applied."
                )
        return still

    def _in_micrometres(self, part: Matrix, where: str) -> Matrix:
        """Return the map of space in micrometres, bounds checked."""
        units = [axis.micrometres for axis in self.axes if axis.kind == "space"]
        matrix = np.diag([*units, 1.0]) @ part
        sizes = np.sqrt((matrix[:-1, :-1] ** 2).sum(axis=0))
        if (sizes < SMALLEST_VOXEL).any() or (sizes > LARGEST_VOXEL).any():
            self.findings.error(
                where,
                f"Voxels of {sizes.tolist()} um are not believed; edges lie between "
                f"{SMALLEST_VOXEL} and {LARGEST_VOXEL} um. Correct the scale or its unit.",
            )
        return matrix

    # Order of the axes

    def _arranged(self, levels: list[Level], meaning: tuple[str, ...]) -> Parsed:
        """Bring the axes of space into the order z, y, x, in array and coordinates alike."""
        space = [axis for axis in self.axes if axis.kind == "space"]
        columns = [i for i, kind in enumerate(meaning) if kind == "space"]
        names, wanted = [axis.name for axis in space], list("zyx")[3 - len(space) :]
        order = list(range(len(space)))
        if sorted(names) == sorted(wanted):
            order = [names.index(name) for name in wanted]
        else:
            self.findings.warn("axes", f"The axes of space {names} are read as {wanted}.")
        behind = any(k in ("time", "channel") for k in meaning[columns[0] :])
        if behind or order != sorted(order):
            self.findings.warn("axes", "Stored in another order; read as (c,) z, y, x.")
        toward: list[Direction | None] = [space[i].toward for i in order]
        if len(space) == 2:
            self.findings.warn("axes", "A two-dimensional image: read as one plane, 1 um thick.")
            toward = [None, *toward]
        lines = [frozenset((d, OPPOSITE[d])) for d in toward if d is not None]
        if len(set(lines)) != len(lines):
            self.findings.warn("axes", f"The orientation {toward} contradicts itself: unknown.")
            toward = [None, None, None]
        arranged = tuple(Level(v.path, _full(v.matrix, order)) for v in levels)
        self._plausible(arranged)
        # A mapAxis may have moved the axes of the array against those of the coordinates.
        left = {k: [a for a in self.axes if a.kind == k] for k in meaning}
        stored = tuple(left[kind].pop(0) for kind in meaning)
        return stored, tuple(columns[i] for i in order), cast(Towards, tuple(toward)), arranged

    def _plausible(self, levels: tuple[Level, ...]) -> None:
        """Warn of a scale that is a placeholder, and of levels without the shift of their means."""
        matrices = [level.matrix for level in levels if level.matrix is not None]
        if not matrices:
            return
        missing = [p for p in self.findings.problems if p.where.endswith(".unit")]
        fine = matrices[0]
        if len(missing) >= 2 and np.array_equal(fine[:3, :3], np.eye(3)):
            self.findings.warn(
                "datasets[0]", "Voxels of 1 without a unit look like a placeholder: --voxel-size."
            )
        coarse = [m for m in matrices[1:] if (np.abs(m) > 1.5 * np.abs(fine))[:3, :3].any()]
        if coarse and all(np.array_equal(m[:3, 3], fine[:3, 3]) for m in coarse):
            self.findings.warn(
                "datasets",
                "The coarse levels state no translation: voxel 0 of each is centred where that of "
                "level 0 is. For means of blocks that is up to half a coarse voxel too low.",
            )


def _full(matrix: Matrix | None, order: list[int]) -> Matrix | None:
    """Return the (4, 4) matrix in the order z, y, x."""
    if matrix is None:
        return None
    index = [*order, len(order)]
    full = np.eye(4)
    full[4 - len(index) :, 4 - len(index) :] = matrix[np.ix_(index, index)]
    return full


def _at_least(version: str, wanted: tuple[int, int]) -> bool:
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= wanted
