"""Values that remember where they were stated, and a cursor that finds them in JSON documents."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from projectome.core.space import MICROMETRES
from projectome.errors import FormatError, Problem
from projectome.io.metadata.repr_text import looks_printed, parse_printed

T = TypeVar("T")
U = TypeVar("U")
NUMBER = re.compile(r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,3})?", re.ASCII)
LONGEST_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Stated(Generic[T]):
    """A value and its evidence.

    Attributes
    ----------
    value
        What is stated.
    source
        The document, for instance ``"acquisition.json"``, with the name of the asset in front
        where it is that of another one.
    key
        Where in the document, for instance ``"axes[0].direction"``.
    """

    value: T
    source: str
    key: str

    @property
    def where(self) -> str:
        """Document and key, as a `projectome.errors.Problem` names them."""
        return f"{self.source}: {self.key}"

    def of(self, value: U) -> Stated[U]:
        """Return another value with the same evidence."""
        return Stated(value, self.source, self.key)


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a JSON document; asking for what is not there gives an empty place, no error.

    Attributes
    ----------
    value
        What lies there; None for nothing.
    source, key
        As of `Stated`.
    """

    value: Any
    source: str
    key: str = ""

    def __bool__(self) -> bool:
        return self.value not in (None, "", [], {})

    def __getitem__(self, step: str) -> Node:
        key = f"{self.key}.{step}" if self.key else step
        return Node(
            self.value.get(step) if isinstance(self.value, dict) else None, self.source, key
        )

    def first(self, *steps: str) -> Node:
        """Return the first of several places where something lies."""
        found = [self[step] for step in steps]
        return next((node for node in found if node), found[0])

    def each(self) -> list[Node]:
        """Return the entries of a list; nothing for anything else."""
        if not isinstance(self.value, list):
            return []
        return [Node(v, self.source, f"{self.key}[{i}]") for i, v in enumerate(self.value)]

    def record(self, problems: list[Problem]) -> Node:
        """Return the object here, also where it was stored as printed text."""
        if not (isinstance(self.value, str) and looks_printed(self.value)):
            return self
        try:
            return Node(parse_printed(self.value), self.source, self.key)
        except FormatError as error:
            problems.append(self.warning(str(error)))
            return Node(None, self.source, self.key)

    def stated(self, value: T) -> Stated[T]:
        """Return a value with this place as its evidence."""
        return Stated(value, self.source, self.key)

    def warning(self, message: str) -> Problem:
        """Return a problem found here."""
        return Problem("warning", f"{self.source}: {self.key}", message)

    def text(self) -> Stated[str] | None:
        """Return the text or the whole number here as text; None for what was blanked out."""
        found = self.value
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 10**18:
            return self.stated(str(found))
        if not isinstance(found, str) or len(found) > LONGEST_TEXT or not found.strip(" #"):
            return None
        return self.stated(found.strip())

    def named(self) -> Stated[str] | None:
        """Return the text here, or the ``name`` of the object here."""
        return (self["name"] if isinstance(self.value, dict) else self).text()

    def number(self) -> Stated[float] | None:
        """Return the finite number here, also where it was stored as text."""
        found = self.value
        if isinstance(found, str) and NUMBER.fullmatch(found.strip()):
            found = float(found)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or abs(found) > 1e300:
            return None
        return self.stated(float(found)) if math.isfinite(found) else None

    def numbers(self, count: int) -> tuple[float, ...] | None:
        """Return as many finite numbers as wanted, or None."""
        found = [entry.number() for entry in self.each()]
        values = tuple(entry.value for entry in found if entry is not None)
        return values if len(values) == len(found) == count else None

    def moment(self) -> Stated[datetime] | None:
        """Return the ISO 8601 time here, with its time zone where it has one."""
        if not isinstance(self.value, str) or len(self.value) > 40:
            return None
        try:
            return self.stated(datetime.fromisoformat(self.value))
        except ValueError:
            return None

    def micrometres(self, problems: list[Problem]) -> float | None:
        """Return how many micrometres the unit of length here is, None where there is none."""
        found = self.unit(problems) if self else None
        return None if found is None else MICROMETRES[found.value.lower()]

    def unit(self, problems: list[Problem]) -> Stated[str] | None:
        """Return the unit of length here; an unknown one is a problem."""
        found = self.text()
        if found is not None and found.value.lower() not in MICROMETRES:
            text = f"Unknown unit of length {found.value[:40]!r}. Known: {', '.join(MICROMETRES)}."
            problems.append(self.warning(text))
            return None
        return found


def plain(value: object) -> Any:
    """Return facts as plain data: dictionaries, lists, numbers, texts and ISO times."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    return value
