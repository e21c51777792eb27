"""Objects that were written to JSON as the text Python prints for them.

Some metadata holds ``"object_type='Scale' scale=[512.0, 512.0]"`` where an object belongs. The text
is read by a small grammar of its own; nothing of it is ever run.

::

    record = pair { [","] pair }
    pair   = NAME "=" value
    value  = NUMBER | TEXT | "None" | "True" | "False"
           | "[" [ value { "," value } ] "]"
           | NAME "(" [ record ] ")" | "Decimal" "(" TEXT ")"
           | "<" NAME "." NAME ":" value ">"          a member of an enumeration
"""

from __future__ import annotations

import re
from typing import Any

from projectome.errors import FormatError

LONGEST = 20_000
DEEPEST = 16
TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]{0,99})"
    r"|(?P<number>[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,3})?)"
    r"|(?P<text>'[^'\\\n]*'|\"[^\"\\\n]*\")"
    r"|(?P<mark>[\[\](),=:<>.]))",
    re.ASCII,
)
WORDS: dict[str, object] = {"None": None, "True": True, "False": False}
START = re.compile(r"\s*[A-Za-z_]\w*\s*[=(]", re.ASCII)


def looks_printed(text: str) -> bool:
    """Say whether a text begins as a printed object does."""
    return START.match(text) is not None


def parse_printed(text: str) -> Any:
    """Return the object that a text describes, as plain dictionaries, lists and values.

    Parameters
    ----------
    text
        ``NAME=VALUE NAME=VALUE ...`` or ``NAME(NAME=VALUE, ...)``, at most 20,000 characters.

    Raises
    ------
    FormatError
        If it does not follow the grammar.

    Examples
    --------
    >>> parse_printed("object_type='Scale' scale=[512.0, 512.0]")
    {'object_type': 'Scale', 'scale': [512.0, 512.0]}
    """
    return _Parser(text).whole()


class _Parser:
    """Reads one text from left to right, each token once."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise self._error(text[:40], f"it is longer than {LONGEST} characters")
        self.tokens: list[tuple[str, str]] = []
        self.at, self.text, place = 0, text, 0
        rest = text.rstrip()
        while place < len(rest):
            found = TOKEN.match(rest, place)
            if found is None or found.lastgroup is None:
                raise self._error(
                    text, f"nothing is known that begins {rest[place : place + 20]!r}"
                )
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    @staticmethod
    def _error(text: str, why: str) -> FormatError:
        return FormatError(
            f"Not the printed form of an object: {text[:80]!r}; {why}. Write it as a JSON object."
        )

    def whole(self) -> Any:
        is_record = self._peek(1) == ("mark", "=")
        found = self._record("", 0) if is_record else self._value(0)
        if self.at < len(self.tokens):
            raise self._error(self.text, f"{self.tokens[self.at][1]!r} is left over")
        return found

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def _take(self, kind: str, wanted: str = "") -> str:
        found, text = self._peek()
        if found != kind or (wanted and text != wanted):
            raise self._error(self.text, f"{wanted or 'a ' + kind} was expected, not {text!r}")
        self.at += 1
        return text

    def _record(self, closing: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._peek() not in (("end", ""), ("mark", closing)):
            if found and self._peek() == ("mark", ","):
                self.at += 1
            name = self._take("name")
            if name in found:
                raise self._error(self.text, f"{name!r} is there twice")
            self._take("mark", "=")
            found[name] = self._value(depth + 1)
        return found

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise self._error(self.text, f"it is nested deeper than {DEEPEST} levels")
        kind, text = self._peek()
        self.at += 1
        if kind == "number":
            return float(text)
        if kind == "text":
            return text[1:-1]
        if (kind, text) == ("mark", "["):
            return self._list(depth)
        if (kind, text) == ("mark", "<"):
            self._take("name")
            self._take("mark", ".")
            self._take("name")
            self._take("mark", ":")
            member = self._value(depth + 1)
            self._take("mark", ">")
            return member
        if kind == "name" and self._peek() == ("mark", "("):
            self.at += 1
            made: Any
            if text == "Decimal":
                made = self._take("text")[1:-1]
            else:
                made = {"object_type": text} | self._record(")", depth + 1)
            self._take("mark", ")")
            return made
        if kind == "name" and text in WORDS:
            return WORDS[text]
        raise self._error(self.text, f"{text!r} is no value")

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while self._peek() != ("mark", "]"):
            if found:
                self._take("mark", ",")
            found.append(self._value(depth + 1))
        self._take("mark", "]")
        return found
