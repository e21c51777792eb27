"""An atlas of your own: a volume of labels and a table of regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.atlas import tree
from projectome.atlas.tree import whole
from projectome.core.atlas import Atlas, Plane, Terminology
from projectome.core.space import Direction
from projectome.core.volume import Array, LazyArray, Pyramid, Volume
from projectome.errors import FormatError, OrientationUnknownError, Problem
from projectome.io import stores
from projectome.io.documents import DEPTH_LIMIT, json_value
from projectome.io.volumes.options import Evident, name_of

TABLE_LIMIT = 2**27
"""Largest table of regions [bytes]."""
RIGHTWARD: dict[Direction, float] = {"right": 1.0, "left": -1.0}


@dataclass(frozen=True, slots=True, eq=False)
class WholeNumbers:
    """An array of whole numbers that were written as floating point, as integers.

    Attributes
    ----------
    array
        Of floating point.
    where
        What it is, for messages.
    """

    array: LazyArray
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return np.dtype(np.int64)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        return self.array.chunks

    def evidence(self) -> Iterator[bytes]:
        """Yield what the array shows of its content."""
        yield b"whole numbers"
        if isinstance(self.array, Evident):
            yield from self.array.evidence()

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If one is no whole number from 0 on, or too large to have survived floating point.
        """
        values: NDArray[Any] = self.array.read(index)
        limit = float(_exact(self.array.dtype))
        sound = (values >= 0) & (values <= limit) & (values == np.floor(values))
        if not sound.all():
            raise FormatError(
                f"{self.where} holds {values[~sound].flat[0]!r}, which is no label: labels are "
                f"whole numbers from 0 on, and {self.array.dtype} keeps them up to {limit:.0f}. "
                "Get the labels as integers."
            )
        return values.astype(np.int64)


def open_labels(
    labels: Pyramid,
    table: str,
    *,
    name: str = "",
    template: Pyramid | None = None,
    hemispheres: Pyramid | None = None,
    midline_um: float | None = None,
) -> Atlas:
    """Return an atlas of a volume of labels and a table of its regions.

    Parameters
    ----------
    labels
        Its first level is the annotation; whole numbers, 0 outside.
    table
        Address of a CSV with a line of headings, or of a JSON (a list of regions, or nested ones
        with ``children``); for the names of columns see `projectome.atlas.tree.NAMES`.
    name
        What to call it; the name of the volume if empty.
    template, hemispheres
        Volumes in the same space, hemispheres on the same grid.
    midline_um
        Where between left and right the plane between the hemispheres lies, along the axis that
        runs from side to side [um]. Without it and without hemispheres, left and right are
        unknown.

    Raises
    ------
    FormatError
        If the table is broken, or the volume holds no labels.
    MetadataError
        If the table is no tree.
    OrientationUnknownError
        If a midline is given and no axis is known to run from side to side.
    """
    terms, notes = read_regions(table)
    problems = [*labels.problems, *notes]
    levels = [_labels(level, terms) for level in labels]
    first = levels[0]
    title = name or name_of(str(labels.metadata.get("url", labels.name)))
    midline = None if midline_um is None else midline_at(first, midline_um)
    if midline is None and hemispheres is None:
        text = "Neither a midline nor hemispheres are given: left and right are not told apart."
        problems.append(Problem("warning", "hemispheres", text))
    space = first.space
    images = [] if template is None else [level.with_space(space) for level in template]
    halves = None if hemispheres is None else hemispheres[0].with_space(space)
    return Atlas(
        title,
        terms,
        replace(first, name=f"{title} labels"),
        images[0] if images else None,
        midline,
        halves,
        tuple(levels[1:]),
        tuple(images[1:]),
        tuple(problems),
        {"source": labels.metadata.get("url", ""), "layout": "labels and a table", "table": table},
    )


def read_regions(url: str) -> tuple[Terminology, tuple[Problem, ...]]:
    """Read a tree of regions from CSV or JSON.

    Raises
    ------
    FormatError
        If it is neither, or empty.
    MetadataError
        If it is no tree.
    NotFoundError
        If there is no such file.
    """
    data = stores.read_bytes(url, limit=TABLE_LIMIT)
    if data.lstrip()[:1] in (b"[", b"{"):
        return tree.from_records(flattened(data, where=url), where=url)
    return tree.read_csv(data, where=url)


def flattened(data: bytes, *, where: str) -> list[dict[str, Any]]:
    """Return the regions of a JSON document as records, whether they are nested or listed.

    Raises
    ------
    FormatError
        If it is something else.
    """
    try:
        document = json_value(data, parse_float=_floating)
    except ValueError as error:
        raise FormatError(
            f"{where} is no JSON document of regions: {error}. Fetch it again."
        ) from None
    if isinstance(document, dict):
        inner = document.get("msg") or document.get("structures") or document
        document = inner if isinstance(inner, list) else [inner]
    found: list[dict[str, Any]] = []
    layer: Sequence[tuple[Any, object]] = [(entry, None) for entry in document]
    for _ in range(DEPTH_LIMIT):
        below: list[tuple[Any, object]] = []
        for entry, parent in layer:
            if not isinstance(entry, dict):
                raise FormatError(
                    f"{where} lists {str(entry)[:40]!r} among its regions; each is an object with "
                    "id, acronym and name."
                )
            inside = entry.get("children")
            record = {k.lower(): v for k, v in entry.items() if k != "children"}
            if parent is not None and tree.NAMES["parent"][1] not in record:
                record[tree.NAMES["parent"][1]] = parent
            found.append(record)
            if isinstance(inside, list):
                below += [(child, entry.get("id")) for child in inside]
        if not below:
            return found
        layer = below
    raise FormatError(f"{where} nests regions deeper than {DEPTH_LIMIT} levels.")


def _floating(text: str) -> float | int:
    """Return a number of JSON; 3.1e8 is a whole one, as long as no digit is lost."""
    value = float(text)
    return whole(value) if value.is_integer() and value >= 1 else value


def midline_at(annotation: Volume, position_um: float) -> Plane:
    """Return the plane across the axis between left and right at a position [um].

    Raises
    ------
    OrientationUnknownError
        If no axis is known to run from side to side.
    """
    for axis, direction in enumerate(annotation.space.toward):
        if direction in RIGHTWARD:
            point, normal = np.zeros(3), np.zeros(3)
            point[axis], normal[axis] = position_um, RIGHTWARD[direction]
            return Plane(point, normal, annotation.space)
    raise OrientationUnknownError(
        f"A midline needs the axis between left and right of {annotation.name}, which is not "
        "stated. Give it: --orientation CODE --meaning toward|from."
    )


def _exact(dtype: np.dtype[Any]) -> int:
    """Return up to where floating point holds every whole number."""
    return int(2 ** (np.finfo(dtype).nmant + 1))


def _labels(volume: Volume, terms: Terminology) -> Volume:
    """Return a level as labels; floating point only where it can hold all ids of the table."""
    if len(volume.array.shape) != 3:
        raise FormatError(
            f"{volume.name} has the channels {', '.join(volume.channels)}; labels have none."
        )
    if volume.dtype.kind in "iu":
        return replace(volume, kind="labels")
    if volume.dtype.kind != "f":
        raise FormatError(f"{volume.name} holds {volume.dtype}; labels are integers.")
    limit = _exact(volume.dtype)
    largest = int(terms.ids.max())
    if largest > limit:
        raise FormatError(
            f"{volume.name} holds {volume.dtype}, which keeps whole numbers up to {limit}, and the "
            f"table has ids up to {largest}: regions would be confused. Get the labels as integers."
        )
    return replace(volume, array=WholeNumbers(volume.array, volume.name), kind="labels")
