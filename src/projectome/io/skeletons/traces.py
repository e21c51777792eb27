"""Tracings of ImageJ's SNT (``.traces``): paths that start on other paths, in XML, often gzipped.

References
----------
SNT, PathAndFillManager: ``startson`` is the id of the path on which a path begins, ``startsindex``
the point of it; ``xd, yd, zd`` are calibrated coordinates and ``r`` calibrated radii.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import MICROMETRES, Space
from projectome.errors import FormatError, Problem
from projectome.io.markup import Element, elements
from projectome.io.skeletons.model import Given, Graph, NamedSkeleton, Skeletons


@dataclass
class _Path:
    about: dict[str, str]
    points: list[tuple[float, float, float, float]] = field(default_factory=list)
    first: int = 0  # row of its first point among those of all paths

    @property
    def id(self) -> str:
        return self.about.get("id", "")


def parse_traces(data: bytes, *, url: str, given: Given | None = None) -> Skeletons:
    """Read a tracings document.

    Parameters
    ----------
    data
        The document, unpacked.
    url
        Where it came from, for messages.
    given
        What the caller says about coordinates.

    Returns
    -------
    Skeletons
        One a group of connected paths, named as its first path; kinds are the SWC types of the
        paths, the column ``path`` holds their ids. Fitted paths take the place of their originals
        where the file says that they are used.

    Raises
    ------
    FormatError
        If it is no tracings document, a number cannot be read, a path starts on one that does not
        exist, or the unit is not known and the caller gives no scale.
    """
    given = given or Given()
    problems: list[Problem] = []
    spacing: dict[str, str] | None = None
    points: list[tuple[float, float, float, float]] = []
    paths: list[_Path] = []
    root = ""
    for element in elements(data, url=url, doctype=True):
        root = element.path
        if root == "tracings/path/point":
            points.append(_point(element, url))
        elif root == "tracings/path":
            paths.append(_Path(element.attributes, points))
            points = []
        elif root == "tracings/samplespacing":
            spacing = element.attributes
    if root != "tracings":
        raise FormatError(f"{url} holds {root!r}, not 'tracings': it is not from SNT.")
    factors, radius_factor = given.factors(_unit(spacing, given, url, problems))
    used = _used(paths, url, problems)
    graph = _graph(used, url, factors, radius_factor)
    items = _items(graph, used, url, given.settle(Space()))
    return Skeletons(tuple(items), "traces", tuple(problems))


def _point(element: Element, url: str) -> tuple[float, float, float, float]:
    """Return z, y, x and radius, calibrated."""
    found = element.attributes
    try:
        z, y, x = (float(found[axis]) for axis in ("zd", "yd", "xd"))
        radius = float(found.get("r", "nan"))
    except (KeyError, ValueError):
        raise FormatError(
            f"{url}: a point has no calibrated coordinates xd, yd, zd that are numbers: "
            f"{dict(list(found.items())[:8])}. Open and save the tracing with a recent SNT."
        ) from None
    return z, y, x, radius


def _unit(
    spacing: Mapping[str, str] | None, given: Given, url: str, problems: list[Problem]
) -> float:
    """Return micrometres in one unit of the calibrated coordinates."""
    unit = (spacing or {}).get("units", "").strip()
    known = MICROMETRES.get(unit.lower())
    if given.scale is not None or known is not None:
        return known or 1.0
    if unit.lower() in ("", "unknown", "?"):
        problems.append(
            Problem(
                "warning",
                f"{url}: samplespacing",
                "no unit is stated; read as micrometres. Pass scale= if they are not.",
            )
        )
        return 1.0
    raise FormatError(
        f"{url}: the unit {unit!r} of its sample spacing is no length that is known (an image "
        "without a scale?). Pass scale=, micrometres in one of these units."
    )


def _used(paths: list[_Path], url: str, problems: list[Problem]) -> list[_Path]:
    """Return the paths to read: originals, with their fitted versions where those are used."""
    by_id = {path.id: path for path in paths}
    if len(by_id) < len(paths):
        raise FormatError(f"{url} gives two paths the same id. Save it again with SNT.")
    used = []
    for path in paths:
        if "fittedversionof" in path.about:
            continue
        fitted = by_id.get(path.about.get("fitted", ""))
        if path.about.get("usefitted") == "true" and fitted is not None:
            path = _Path(path.about, fitted.points)
        if not path.points:
            problems.append(Problem("warning", url, f"path {path.id!r} has no points; left out."))
            continue
        used.append(path)
    return used


def _graph(
    paths: list[_Path], url: str, factors: NDArray[np.float64], radius_factor: float
) -> Graph:
    by_id = {path.id: path for path in paths}
    rows: list[tuple[float, float, float, float]] = []
    kinds: list[int] = []
    numbers: list[int] = []
    for number, path in enumerate(paths):
        path.first = len(rows)
        rows += path.points
        kinds += [_kind(path)] * len(path.points)
        numbers += [number] * len(path.points)
    values = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    edges: list[tuple[int, int]] = []
    roots: list[int] = []
    for path in paths:
        last = path.first + len(path.points) - 1
        edges += [(row, row + 1) for row in range(path.first, last)]
        start = _join(path, "start", by_id, values, url)
        end = _join(path, "end", by_id, values, url)
        edges += [(path.first, start)] if start is not None else []
        edges += [(last, end)] if end is not None else []
        if start is None and end is None:
            roots.append(path.first)
    names = np.array([path.id for path in paths], dtype=object)
    return Graph(
        values[:, :3] * factors,
        np.asarray(edges, dtype=np.int64).reshape(-1, 2),
        np.arange(1, len(values) + 1),
        radius=values[:, 3] * radius_factor,
        kind=np.asarray(kinds, dtype=np.int32),
        columns={"path": names[np.asarray(numbers, dtype=np.int64)]},
        roots=roots,
    )


def _kind(path: _Path) -> int:
    text = path.about.get("swctype", "0")
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 9 else 0


def _join(
    path: _Path, which: str, by_id: Mapping[str, _Path], values: NDArray[np.float64], url: str
) -> int | None:
    """Return the row of the point of another path on which a path starts or ends."""
    about = path.about
    if f"{which}son" not in about:
        return None
    other = by_id.get(about[f"{which}son"])
    if other is None:
        raise FormatError(
            f"{url}: path {path.id!r} {which}s on the path {about[f'{which}son']!r}, which has no "
            "points or does not exist. Save the tracing again with SNT."
        )
    index = about.get(f"{which}sindex", "")
    if index.isdecimal() and len(index) < 10 and int(index) < len(other.points):
        return other.first + int(index)
    names = (
        [f"{which}{axis}" for axis in "zyx"] if which == "start" else ["endsz", "endsy", "endsx"]
    )
    try:
        place = np.array([float(about[name]) for name in names])
    except (KeyError, ValueError):
        place = np.array(path.points[0 if which == "start" else -1][:3])
    there = values[other.first : other.first + len(other.points), :3]
    distance = np.linalg.norm(there - place, axis=1)
    return other.first + int(np.argmin(np.where(np.isnan(distance), math.inf, distance)))


def _items(graph: Graph, paths: list[_Path], url: str, space: Space) -> list[NamedSkeleton]:
    """Return one skeleton a group of connected paths, in the order of their first paths."""
    name_at = {path.first: path.about.get("name") or path.id for path in paths}
    return [
        # The first row of a group is the first point of its first path.
        part.named(name_at[int(part.ids[0]) - 1], space, url)
        for part in graph.parts()
    ]
