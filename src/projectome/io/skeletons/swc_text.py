"""The text of SWC files: what comments say, and lines turned into columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import FARTHEST, are_places
from projectome.core.space import MICROMETRES, OPPOSITE, Names, Space, Towards
from projectome.errors import FormatError, Problem

HEADER = re.compile(r"#*\s*(space|unit|expansion|axes|toward)s?\s*:(.*)", re.IGNORECASE)
OFFSET = re.compile(r"#+\s*OFFSET\s+(\S+)\s+(\S+)\s+(\S+)\s*", re.IGNORECASE)
# Fiji SNT writes "All positions and radii in microns".
IN_UNITS = re.compile(r"positions and radii in (\w+)", re.IGNORECASE)
COLUMNS_ZYX = re.compile(r"\btype\b.*\bz\b.*\by\b.*\bx\b", re.IGNORECASE)

LARGEST = 2**63 - 1

Row: TypeAlias = tuple[int, Sequence[str]]


def decode(data: bytes, where: str) -> str:
    """Return the text of a file, whatever its byte order mark.

    Raises
    ------
    FormatError
        If it is no text.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise FormatError(f"{where} is not a text file, so it cannot be SWC. Check the address.")
    return data.decode("utf-8-sig", errors="replace")


def split_lines(text: str) -> tuple[list[str], list[Row]]:
    """Return the comments, and number and fields of each line that holds something else."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    header: list[str] = []
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        if "#" in line:
            line, _, comment = line.partition("#")
            header.append(f"#{comment}".rstrip())
        fields = line.split() if "," not in line else [f.strip() for f in line.split(",")]
        if fields:
            rows.append((number, fields))
    return header, rows


@dataclass
class Header:
    """What the comments of a file say about its numbers."""

    problems: list[Problem]
    name: str | None = None
    unit: str | None = None
    unit_scale: float = 1.0
    expansion: float | None = None
    axes: Names = ("z", "y", "x")
    toward: Towards = (None, None, None)
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    @classmethod
    def parse(cls, comments: Sequence[str], where: str) -> Header:
        """Read the comments; what cannot be used becomes a problem."""
        found = cls([])
        for line in comments:
            if match := HEADER.fullmatch(line):
                found.take(match[1].lower(), match[2].strip(), where)
            elif match := OFFSET.fullmatch(line):
                found.take("offset", " ".join(match.groups()), where)
            elif match := IN_UNITS.search(line):
                found.take("unit", match[1], where)
            elif COLUMNS_ZYX.search(line):
                found.note(
                    where,
                    f"The comment {line!r} names the columns z y x; they are read as x y z, as "
                    "SWC orders them. Flip the axes if they are not.",
                )
        return found

    def note(self, where: str, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem("warning", where, message))

    def take(self, key: str, value: str, where: str) -> None:
        """Use one statement of the header, or note that it cannot be used."""
        words = value.split()
        try:
            if key == "space":
                self.name = value
            elif key == "unit" and value.lower() in ("voxel", "voxels", "pixel", "pixels", "px"):
                self.unit = "voxel"
            elif key == "unit":
                self.unit_scale, self.unit = MICROMETRES[value.lower()], "micrometer"
            elif key == "expansion":
                self.expansion = Space(expansion=float(value)).expansion
            elif key == "axes":
                self.axes = Space(axes=cast(Names, tuple(words[::-1]))).axes
            elif key == "toward":
                known = [word if word in OPPOSITE else None for word in words[::-1]]
                self.toward = Space(toward=cast(Towards, tuple(known))).toward
            elif key == "offset":
                offset = np.array([float(word) for word in words])
                if np.isfinite(offset).all():
                    self.offset = offset
        except (KeyError, ValueError):
            self.note(where, f"The header says {key} {value!r}, which is not understood; not used.")


@dataclass
class Nodes:
    """The columns of N lines, in their order.

    Attributes
    ----------
    lines
        N line numbers.
    ids, kind, parent
        Shape (N,), int64, int32, int64; parents are ids.
    positions
        Shape (N, 3), order (x, y, z) as on disk.
    radius
        Shape (N,), NaN where unknown.
    problems
        What was doubtful.
    """

    lines: list[int]
    ids: NDArray[np.int64]
    kind: NDArray[np.int32]
    parent: NDArray[np.int64]
    positions: NDArray[np.float64]
    radius: NDArray[np.float64]
    problems: list[Problem]

    @classmethod
    def from_rows(cls, rows: Sequence[Row], where: str) -> Nodes:
        """Convert the fields of all lines.

        Raises
        ------
        FormatError
            If a line cannot be understood, naming it.
        """
        ints: list[int] = []
        floats: list[float] = []
        for row in rows:
            fields = row[1]
            if len(fields) < 6:
                raise bad_line(row, where, f"{len(fields)} columns")
            first, kind, x, y, z, radius = fields[:6] if len(fields) > 6 else (*fields[:5], "")
            try:
                ints += integer(first), integer(kind), integer(fields[5 + (len(fields) > 6)])
                floats += float(x), float(y), float(z), float(radius or "nan")
            except (ValueError, OverflowError):
                raise bad_line(row, where, "something else than the numbers expected") from None
            # Python would take 1_000 for a number; no other program does.
            if "_" in "".join(fields[:7]):
                raise bad_line(row, where, "an underscore")
        if max(map(abs, ints), default=0) > LARGEST:
            place = next(i for i, value in enumerate(ints) if abs(value) > LARGEST)
            raise bad_line(rows[place // 3], where, "an id, type or parent beyond 63 bits")
        ids, kinds, parent = np.array(ints, np.int64).reshape(-1, 3).T
        values = np.array(floats, np.float64).reshape(-1, 4)
        for bad in np.flatnonzero(~are_places(values[:, :3]))[:1]:
            raise bad_line(rows[bad], where, "a coordinate that is not finite, or out of reach")
        for bad in np.flatnonzero(np.abs(kinds) > np.iinfo(np.int32).max)[:1]:
            raise bad_line(rows[bad], where, "a type beyond 32 bits")

        problems: list[Problem] = []
        more = max((len(fields) for _, fields in rows), default=7) - 7
        unknown = ~((values[:, 3] > 0) & (values[:, 3] <= FARTHEST))
        for told, message in (
            (not rows, "There is no node in the file."),
            (more > 0, f"{more} columns after the seventh are not read."),
            (unknown.any(), f"{unknown.sum()} of {len(ids)} radii are not positive: unknown."),
        ):
            if told:
                problems.append(Problem("warning", where, message))
        radius_column = np.where(unknown, np.nan, values[:, 3])
        nodes = cls(
            [number for number, _ in rows],
            ids,
            kinds.astype(np.int32),
            parent,
            values[:, :3],
            radius_column,
            problems,
        )
        return nodes.without_repeats(rows, where)

    def without_repeats(self, rows: Sequence[Row], where: str) -> Nodes:
        """Drop lines that say again what another said.

        Raises
        ------
        FormatError
            If two lines give different nodes the same id.
        """
        unique, first, which = np.unique(self.ids, return_index=True, return_inverse=True)
        if len(unique) == len(self.ids):
            return self
        original = first[which]
        repeats = np.flatnonzero(original != np.arange(len(self.ids)))
        for row in repeats.tolist():
            if rows[row][1] != rows[original[row]][1]:
                raise FormatError(
                    f"{where}, line {self.lines[row]}: id {self.ids[row]} was given to another "
                    f"node in line {self.lines[original[row]]}. Give each node an id of its own."
                )
        message = f"{len(repeats)} lines are given twice; read once."
        keep = np.sort(first)
        return Nodes(
            [self.lines[row] for row in keep.tolist()],
            self.ids[keep],
            self.kind[keep],
            self.parent[keep],
            self.positions[keep],
            self.radius[keep],
            [*self.problems, Problem("warning", where, message)],
        )

    def parent_rows(self, where: str) -> NDArray[np.int64]:
        """Return the row of the parent of each node, -1 at roots.

        Raises
        ------
        FormatError
            If a parent is not in the file, naming the line.
        """
        order = np.argsort(self.ids)
        place = np.searchsorted(self.ids, self.parent, sorter=order)
        rows = order[np.minimum(place, len(order) - 1)] if len(order) else order
        missing = (self.parent >= 0) & (self.ids[rows] != self.parent)
        for bad in np.flatnonzero(missing)[:1]:
            raise FormatError(
                f"{where}, line {self.lines[bad]}: the parent {self.parent[bad]} of node "
                f"{self.ids[bad]} is not in the file. Give roots the parent -1, or add the node."
            )
        return np.where(self.parent < 0, -1, rows)


def integer(text: str) -> int:
    """Return a whole number, exactly; ``12.0`` counts as one.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = int(float(text))
        if value != float(text):
            raise
    return value


def bad_line(row: Row, where: str, what: str) -> FormatError:
    """Return the error about one line."""
    shown = " ".join(row[1])
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return FormatError(
        f"{where}, line {row[0]} has {what}: {shown!r}. A line of SWC reads "
        "'id type x y z radius parent', all numbers; correct or remove it."
    )
