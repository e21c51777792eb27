"""Trees of regions from the rows of a table, whoever wrote it.

Ids are read as texts and kept as 64-bit integers. The parent that a row names and the path from
the root that it states are compared; nothing is ever concluded from an acronym.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from projectome.core.atlas import Terminology
from projectome.errors import FormatError, MetadataError, Problem

MAX_REGIONS = 1_000_000
MAX_DEPTH = 200
"""Regions around one another; real trees have about ten."""
EXACT = 2**53
"""Whole numbers up to here survive being written as floating point."""
LARGEST = 2**63 - 1
SHOWN = 12
"""Problems that one error lists."""
WHOLE = re.compile(r"[+]?(\d{1,19})(\.0*)?")
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("identifier", "id", "region_id", "structure_id", "label", "index"),
    "parent": ("parent_identifier", "parent_structure_id", "parent_id", "parent"),
    "value": ("annotation_value",),
    "acronym": ("abbreviation", "acronym", "short_name"),
    "name": ("name", "region_name", "structure_name", "safe_name"),
    "colour": ("color_hex_triplet", "rgb_triplet", "colour", "color"),
    "path": ("root_identifier_path", "structure_id_path"),
}
"""Columns by what they mean; the first that a table has is taken."""


@dataclass(frozen=True, slots=True)
class Row:
    """One region as a table states it.

    Attributes
    ----------
    id
        Its number in the table.
    value
        Its number in the annotation.
    parent
        Id of the region around it, None where there is none or nothing is said.
    path
        Ids from the root to itself, empty where nothing is said.
    acronym, name
        Texts.
    colour
        Red, green, blue; None where nothing is said.
    """

    id: int
    value: int
    parent: int | None
    path: tuple[int, ...]
    acronym: str
    name: str
    colour: tuple[int, int, int] | None


class _Wrong(ValueError):
    """A value that cannot be used; becomes a problem with its place."""


def read_csv(data: bytes, *, where: str) -> tuple[Terminology, tuple[Problem, ...]]:
    """Return the tree that a CSV table holds, and what was doubtful in it.

    Parameters
    ----------
    data
        The table with a line of headings, UTF-8; columns are found by name, see `NAMES`.
    where
        Its address, for messages.

    Raises
    ------
    FormatError
        If it is no table, empty, or has no column of ids.
    MetadataError
        With all problems, if its rows are no tree.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        headings = [str(name).strip().lower() for name in reader.fieldnames or ()]
        rows = [dict(zip(headings, record.values(), strict=False)) for record in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(
            f"{where} is no CSV table of regions: {error}. Save it as UTF-8 with a line of names."
        ) from None
    if not headings or not rows:
        raise FormatError(
            f"{where} lists no region. A table of regions has a line of headings (id, parent, "
            "acronym, name) and one line a region."
        )
    return from_records(rows, where=where)


def from_records(
    records: Sequence[Mapping[str, object]], *, where: str
) -> tuple[Terminology, tuple[Problem, ...]]:
    """Return the tree that records make up, in the order of the tree.

    Parameters
    ----------
    records
        One mapping a region, keys as in `NAMES`.
    where
        Where they come from, for messages.

    Raises
    ------
    FormatError
        If there are none, too many, or none has an id.
    MetadataError
        With all problems, if they are no tree.
    """
    if not 0 < len(records) <= MAX_REGIONS:
        raise FormatError(
            f"{where} lists {len(records)} regions; between one and {MAX_REGIONS} can be read."
        )
    present = {key for record in records for key in record}
    columns = {
        meaning: next((name for name in names if name in present), None)
        for meaning, names in NAMES.items()
    }
    if columns["id"] is None:
        raise FormatError(
            f"{where} has no column of ids; it has {', '.join(sorted(map(str, present))[:12])}. "
            f"Name one of them {' or '.join(NAMES['id'][:3])}."
        )
    found: list[Problem] = []
    rows = []
    for number, record in enumerate(records, start=1):
        try:
            rows.append(_row(record, columns))
        except _Wrong as error:
            found.append(Problem("error", f"region {number}", str(error)))
    _raise_for(found, where)
    return build(rows, where=where)


def build(rows: Sequence[Row], *, where: str) -> tuple[Terminology, tuple[Problem, ...]]:
    """Return the tree of rows, parents before children, and what was doubtful.

    Raises
    ------
    MetadataError
        If ids are not different, a parent does not exist or is contradicted by the path, or
        regions are their own ancestors.
    """
    found: list[Problem] = []
    place: dict[int, int] = {}
    values: set[int] = set()
    for index, row in enumerate(rows):
        if row.id in place or row.value in values:
            found.append(Problem("error", f"region {row.id}", "Its id is that of another region."))
        place.setdefault(row.id, index)
        values.add(row.value)
    parents = [_parent(row, place, found) for row in rows]
    _raise_for(found, where)
    order = _parents_first(parents)
    if len(order) < len(rows):
        missing = sorted({row.id for i, row in enumerate(rows)} - {rows[i].id for i in order})
        text = (
            f"{len(missing)} regions are their own ancestors, or deeper than {MAX_DEPTH}: "
            f"{', '.join(map(str, missing[:SHOWN]))}."
        )
        _raise_for([Problem("error", "parents", text)], where)
    notes = _notes(rows)
    rank = {index: k for k, index in enumerate(order)}
    ordered = [rows[i] for i in order]
    tree = Terminology(
        np.array([row.value for row in ordered], dtype=np.int64),
        tuple(row.acronym for row in ordered),
        tuple(row.name for row in ordered),
        np.array([rank.get(parents[i], -1) for i in order], dtype=np.int64),
        np.array([row.colour or made_colour(row.value) for row in ordered], dtype=np.uint8),
    )
    return tree, tuple(notes)


def made_colour(identifier: int) -> tuple[int, int, int]:
    """Return a colour for a region that has none: always the same, rarely that of another."""
    mixed = (identifier * 0x9E3779B97F4A7C15) & (2**64 - 1)
    red, green, blue = (96 + ((mixed >> shift) & 0x7F) for shift in (20, 34, 48))
    return red, green, blue


def whole(value: object) -> int:
    """Return an id from a number or a text.

    Raises
    ------
    ValueError
        If it is no whole number from 1 to 2^63 - 1, or one written as floating point that is too
        large to have survived that.
    """
    if isinstance(value, (bool, np.bool_)):
        raise _Wrong(f"{value!r} is no id.")
    if isinstance(value, (int, np.integer)):
        number = int(value)
    elif isinstance(value, (float, np.floating)):
        if not float(value).is_integer():
            raise _Wrong(f"{value!r} is no whole number.")
        number = int(value)
        _check_exact(number)
    else:
        match = WHOLE.fullmatch(str(value).strip())
        if match is None:
            raise _Wrong(f"{str(value)[:40]!r} is no id: ids are whole numbers from 1 on.")
        number = int(match[1])
        if match[2] is not None:
            _check_exact(number)
    if not 1 <= number <= LARGEST:
        raise _Wrong(f"{number} is no id: ids are whole numbers from 1 to {LARGEST}.")
    return number


def _check_exact(number: int) -> None:
    if number > EXACT:
        raise _Wrong(
            f"{number} was written as floating point, which does not keep whole numbers above "
            f"{EXACT}: its last digits are lost. Write ids as integers."
        )


def _row(record: Mapping[str, object], columns: Mapping[str, str | None]) -> Row:
    def get(meaning: str) -> object:
        value = record.get(columns[meaning] or "")
        return None if value is None or (isinstance(value, str) and not value.strip()) else value

    stated = get("id")
    if stated is None:
        raise _Wrong("It has no id.")
    identifier = whole(stated)
    parent, value = get("parent"), get("value")
    is_top = parent is None or str(parent).strip().lower() in ("nan", "none", "-1", "-1.0")
    acronym = str(get("acronym") or get("name") or identifier).strip()
    return Row(
        identifier,
        identifier if value is None else whole(value),
        None if is_top else whole(parent),
        _path(get("path")),
        acronym,
        str(get("name") or acronym).strip(),
        _colour(get("colour")),
    )


def _path(value: object) -> tuple[int, ...]:
    """Return the ids of ``[997, 8]``, ``/997/8/`` or a list."""
    if value is None:
        return ()
    parts: Iterable[object] = (
        value
        if isinstance(value, (list, tuple))
        else (part for part in re.split(r"[\s,/;\[\]()]+", str(value)) if part)
    )
    return tuple(whole(part) for part in parts)


def _colour(value: object) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
            digits = text.lstrip("#")
            return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
    parts = list(value) if isinstance(value, (list, tuple)) else []
    if len(parts) != 3 or not all(type(p) is int and 0 <= p <= 255 for p in parts):
        raise _Wrong(f"Its colour is #RRGGBB or three numbers from 0 to 255, not {value!r}.")
    return parts[0], parts[1], parts[2]


def _parent(row: Row, place: Mapping[int, int], found: list[Problem]) -> int:
    """Return the index of the parent, -1 for none; what is wrong goes among the problems."""
    where, parent = f"region {row.id}", row.parent
    if row.path:
        own, above = row.path[-1], row.path[-2] if len(row.path) > 1 else None
        if own != row.id:
            found.append(Problem("error", where, f"Its path ends at {own} and not at itself."))
            return -1
        if parent is not None and above != parent:
            text = f"It names the parent {parent}, and its path from the root the parent {above}."
            found.append(Problem("error", where, text))
            return -1
        parent = above if parent is None else parent
    if parent is None:
        return -1
    if parent not in place:
        text = f"Its parent {parent} is not in the table: it is an orphan."
        found.append(Problem("error", where, text))
        return -1
    return place[parent]


def _parents_first(parents: Sequence[int]) -> list[int]:
    """Return the rows depth first, in the order given among sisters; without those in loops."""
    children: dict[int, list[int]] = {}
    for index, parent in enumerate(parents):
        children.setdefault(parent, []).append(index)
    order: list[int] = []
    stack = [(index, 1) for index in reversed(children.get(-1, []))]
    while stack:
        index, depth = stack.pop()
        order.append(index)
        if depth < MAX_DEPTH:
            stack += [(child, depth + 1) for child in reversed(children.get(index, []))]
    return order


def _notes(rows: Sequence[Row]) -> list[Problem]:
    notes = []
    other = [row.id for row in rows if row.value != row.id]
    if other:
        text = (
            f"{len(other)} regions have another number in the annotation than in the table "
            f"({', '.join(map(str, other[:3]))} ...); regions go by that of the annotation."
        )
        notes.append(Problem("warning", "annotation_value", text))
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.acronym] = seen.get(row.acronym, 0) + 1
    twice = [acronym for acronym, count in seen.items() if count > 1]
    if twice:
        text = (
            f"{len(twice)} acronyms are of several regions each ({', '.join(twice[:5])}); these "
            "regions go by their ids."
        )
        notes.append(Problem("warning", "acronyms", text))
    return notes


def _raise_for(found: list[Problem], where: str) -> None:
    if found:
        more = f" The first {SHOWN} of {len(found)}:" if len(found) > SHOWN else ""
        raise MetadataError(
            f"The regions of {where} are no tree. Correct the table.{more}", found[:SHOWN]
        )
