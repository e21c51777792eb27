"""NML, the XML of KNOSSOS and webKnossos: things (trees) of nodes and edges.

Nodes are in voxels; ``<scale>`` says how long a voxel is, in nanometres unless it names another
unit. A voxel coordinate times the scale is the physical position: no half voxel is added.

References
----------
webKnossos documentation, "NML Files".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import MICROMETRES, Space
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.documents import restore_space
from projectome.io.markup import Element, elements, holdable
from projectome.io.skeletons.model import Given, Graph, NamedSkeleton, Skeletons

NANOMETRE = 1e-3
KNOSSOS = ("createdin", "lastsavedin", "createdwith", "MovementArea")
"""Parameters that KNOSSOS writes and webKnossos does not."""
NODE_KEYS = ("id", "x", "y", "z")
Number = TypeVar("Number", int, float)


@dataclass
class _Thing:
    nodes: list[tuple[float, float, float, float]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class _Document:
    """What was found so far; a thing is told after its nodes and edges."""

    url: str
    scale: tuple[float, float, float] | None = None
    unit: str = "nanometer"
    knossos: bool = False
    space: Space | None = None
    current: _Thing = field(default_factory=_Thing)
    things: list[tuple[dict[str, str], _Thing]] = field(default_factory=list)
    comments: dict[int, str] = field(default_factory=dict)
    branchpoints: set[int] = field(default_factory=set)
    groups: dict[str, str] = field(default_factory=dict)

    def take(self, element: Element) -> None:
        """Use one element."""
        handler = HANDLERS.get(element.name)
        if element.path.startswith("things/parameters/") and element.name in KNOSSOS:
            self.knossos = True
        elif handler is not None:
            handler(self, element.attributes)

    def take_node(self, found: Mapping[str, str]) -> None:
        node = self.number(int, "node", found, "id")
        x, y, z = (self.number(float, f"node {node}", found, axis) for axis in "xyz")
        radius = self.number(float, f"node {node}", found, "radius", "nan")
        self.current.ids.append(node)
        self.current.nodes.append((z, y, x, radius))

    def take_edge(self, found: Mapping[str, str]) -> None:
        source, target = (self.number(int, "edge", found, key) for key in ("source", "target"))
        self.current.edges.append((source, target))

    def take_thing(self, found: dict[str, str]) -> None:
        self.things.append((found, self.current))
        self.current = _Thing()

    def take_comment(self, found: Mapping[str, str]) -> None:
        node = self.number(int, "comment", found, "node")
        self.comments[node] = found.get("content", "")

    def take_branchpoint(self, found: Mapping[str, str]) -> None:
        self.branchpoints.add(self.number(int, "branchpoint", found, "id"))

    def take_group(self, found: Mapping[str, str]) -> None:
        if "id" in found:
            self.groups[found["id"]] = found.get("name", "")

    def take_scale(self, found: Mapping[str, str]) -> None:
        x, y, z = (self.number(float, "scale", found, axis) for axis in "xyz")
        self.scale, self.unit = (z, y, x), found.get("unit", self.unit)

    def take_space(self, found: Mapping[str, str]) -> None:
        try:
            self.space = restore_space(json.loads(found.get("space", "")))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise FormatError(
                f"{self.url}: <projectome> describes its space in a way not known: {error!r}. "
                "Remove that line."
            ) from None

    def number(
        self,
        kind: Callable[[str], Number],
        what: str,
        found: Mapping[str, str],
        key: str,
        default: str = "",
    ) -> Number:
        """Return one attribute as a number.

        Raises
        ------
        FormatError
            If it is missing or none.
        """
        text = found.get(key, default)
        try:
            value = kind(text)
        except (ValueError, OverflowError):
            value = None
        if value is None or "_" in text or (isinstance(value, int) and abs(value) >= 2**63):
            raise FormatError(
                f"{self.url}: the attribute {key!r} of a {what} is {text[:40]!r}, not a number. "
                "Correct it."
            )
        return value


HANDLERS: dict[str, Callable[[_Document, dict[str, str]], None]] = {
    "node": _Document.take_node,
    "edge": _Document.take_edge,
    "thing": _Document.take_thing,
    "comment": _Document.take_comment,
    "branchpoint": _Document.take_branchpoint,
    "group": _Document.take_group,
    "scale": _Document.take_scale,
    "projectome": _Document.take_space,
}


def parse_nml(data: bytes, *, url: str, given: Given | None = None) -> Skeletons:
    """Read an NML document.

    Parameters
    ----------
    data
        The document.
    url
        Where it came from, for messages.
    given
        What the caller says about coordinates.

    Returns
    -------
    Skeletons
        One a thing, in the order of the file; columns ``comment`` and ``branchpoint`` where there
        are any; facts ``id``, ``group`` and ``color``.

    Raises
    ------
    FormatError
        If it is no NML, a number cannot be read, an edge names a node that does not exist or an id
        is given twice in one thing, or there is no scale and the caller gives none.
    """
    given = given or Given()
    document = _Document(url)
    root = ""
    for element in elements(data, url=url):
        document.take(element)
        root = element.path
    if root != "things":
        raise FormatError(f"{url} holds {root!r}, not 'things': it is not NML.")
    problems: list[Problem] = []
    factors, radius_factor = _factors(document, given, problems)
    space = given.settle(document.space or Space())
    items = tuple(
        _named(document, found, thing, (factors, radius_factor), space)
        for found, thing in document.things
    )
    return Skeletons(items, "nml", tuple(problems))


def _factors(
    document: _Document, given: Given, problems: list[Problem]
) -> tuple[NDArray[np.float64], float]:
    url = document.url
    if given.scale is None and document.scale is None:
        raise FormatError(
            f"{url} has no <scale>: the size of its voxels is not known. Pass scale=(z, y, x), in "
            "micrometres."
        )
    unit = MICROMETRES.get(document.unit.lower())
    if given.scale is None and unit is None:
        raise FormatError(
            f"{url}: the unit {document.unit!r} of <scale> is not known. Pass scale=(z, y, x), in "
            "micrometres."
        )
    unit = NANOMETRE if unit is None else unit
    stated = np.asarray(document.scale or (1.0, 1.0, 1.0)) * unit
    if given.scale is None and not (np.isfinite(stated).all() and (stated > 0).all()):
        raise FormatError(
            f"{url}: <scale> is {document.scale}, not three positive numbers. Pass scale=(z, y, x)."
        )
    # webKnossos stores radii in the unit of the scale, KNOSSOS in voxels along x.
    radius = float(stated[2]) if document.knossos else unit
    own = "voxels along x, as KNOSSOS stores them" if document.knossos else document.unit
    if given.radius_scale is None and any(
        not math.isnan(node[3]) for _, thing in document.things for node in thing.nodes
    ):
        problems.append(
            Problem(
                "warning",
                f"{url}: node radius",
                f"NML does not state the unit of radii; read as {own}. Pass radius_scale= if not.",
            )
        )
    factors, _ = given.factors(stated)
    return factors, given.radius_scale if given.radius_scale is not None else radius


def _named(
    document: _Document,
    found: Mapping[str, str],
    thing: _Thing,
    factors: tuple[NDArray[np.float64], float],
    space: Space,
) -> NamedSkeleton:
    name = found.get("name") or found.get("comment") or found.get("id", "")
    where = f"{document.url}: thing {name!r}"
    ids = np.asarray(thing.ids, dtype=np.int64)
    rows = {node: row for row, node in enumerate(thing.ids)}
    if len(rows) < len(ids):
        raise FormatError(f"{where} gives two nodes the same id. Give each node an id of its own.")
    try:
        edges = [(rows[a], rows[b]) for a, b in thing.edges]
    except KeyError as missing:
        raise FormatError(
            f"{where} has an edge to the node {missing}, which it does not have. Remove the edge."
        ) from None
    values = np.asarray(thing.nodes, dtype=np.float64).reshape(-1, 4)
    columns: dict[str, NDArray[np.generic]] = {}
    if any(node in document.comments for node in thing.ids):
        texts = [document.comments.get(node, "") for node in thing.ids]
        columns["comment"] = np.array(texts, dtype=object)
    if any(node in document.branchpoints for node in thing.ids):
        columns["branchpoint"] = np.array([n in document.branchpoints for n in thing.ids])
    graph = Graph(
        values[:, :3] * factors[0],
        np.asarray(edges, dtype=np.int64).reshape(-1, 2),
        ids,
        radius=values[:, 3] * factors[1],
        columns=columns,
    )
    return graph.named(name, space, document.url, facts=_facts(document, found))


def _facts(document: _Document, found: Mapping[str, str]) -> dict[str, object]:
    facts: dict[str, object] = {"id": found.get("id", "")}
    if group := document.groups.get(found.get("groupId", "")):
        facts["group"] = group
    color = [found.get(f"color.{part}", "") for part in "rgba"]
    if all(color[:3]):
        facts["color"] = tuple(color)
    return facts


def format_nml(items: Sequence[NamedSkeleton], *, name: str = "projectome") -> str:
    """Return skeletons as NML, one thing each, in nanometres.

    Parameters
    ----------
    items
        All in the same space, in micrometres. Node ids count from 1 over the whole file; the names,
        radii and columns ``comment`` and ``branchpoint`` are kept, the fact ``group`` and, for
        projectome alone, the space.
    name
        Name of the experiment.

    Raises
    ------
    ParameterError
        If spaces differ or are in voxels.
    """
    space = items[0].skeleton.space if items else Space()
    for item in items:
        if item.skeleton.space != space or space.unit != "micrometer":
            raise ParameterError(
                f"Skeletons in one NML file lie in one space in micrometres; {item.name!r} is in "
                f"{item.skeleton.space}. Bring them into one space first."
            )
    groups = list(dict.fromkeys(str(i.facts["group"]) for i in items if i.facts.get("group")))
    lines = [
        "<things>",
        "  <parameters>",
        f"    <experiment name={_quoted(name)} />",
        '    <scale x="1.0" y="1.0" z="1.0" unit="nanometer" />',
        # Other programs pass over it.
        f"    <projectome space={_quoted(json.dumps(asdict(space)))} />",
        "  </parameters>",
    ]
    comments: list[str] = []
    branchpoints: list[str] = []
    first = 1
    for number, item in enumerate(items, 1):
        skeleton = item.skeleton
        group = item.facts.get("group")
        member = f' groupId="{groups.index(str(group)) + 1}"' if group else ""
        lines.append(f'  <thing id="{number}" name={_quoted(item.name)}{member}>')
        lines += _nodes(item, first)
        lines.append("  </thing>")
        for row, text in enumerate(item.columns.get("comment", ())):
            if text:
                comments.append(
                    f'    <comment node="{first + row}" content={_quoted(str(text))} />'
                )
        marked = np.flatnonzero(item.columns.get("branchpoint", np.zeros(0))).tolist()
        branchpoints += [f'    <branchpoint id="{first + row}" />' for row in marked]
        first += len(skeleton)
    lines += ["  <branchpoints>", *branchpoints, "  </branchpoints>"]
    lines += ["  <comments>", *comments, "  </comments>"]
    named = [f'    <group id="{i}" name={_quoted(g)} />' for i, g in enumerate(groups, 1)]
    lines += ["  <groups>", *named, "  </groups>", "</things>", ""]
    return "\n".join(lines)


def _nodes(item: NamedSkeleton, first: int) -> list[str]:
    skeleton = item.skeleton
    # Half a millionth of a micrometre is as exact as SWC files are.
    values = np.round(skeleton.coordinates[:, ::-1] * 1e3, 3) + 0.0
    n = len(skeleton)
    radius = np.full(n, np.nan) if skeleton.radius is None else skeleton.radius
    radii = ["" if math.isnan(r) else f' radius="{round(r * 1e3, 3)!r}"' for r in radius.tolist()]
    lines = ["    <nodes>"]
    lines += [
        f'      <node id="{first + row}"{r} x="{x!r}" y="{y!r}" z="{z!r}" />'
        for row, ((x, y, z), r) in enumerate(zip(values.tolist(), radii, strict=True))
    ]
    lines += ["    </nodes>", "    <edges>"]
    lines += [
        f'      <edge source="{first + parent}" target="{first + node}" />'
        for node, parent in skeleton.edges.tolist()
    ]
    return [*lines, "    </edges>"]


def _quoted(text: str) -> str:
    """Return text as an XML attribute."""
    return quoteattr(holdable(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
