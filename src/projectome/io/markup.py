"""XML from untrusted files: bounded depth, no entities, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from projectome.errors import FormatError

DEPTH_LIMIT = 64
"""Deepest nesting of elements."""
PIECE = 2**16


class Element(NamedTuple):
    """One element, told when it ends: its children were told before.

    Attributes
    ----------
    path
        Names from the root down, joined with ``/``.
    attributes
        As written.
    text
        All text directly inside it.
    """

    path: str
    attributes: dict[str, str]
    text: str

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.path.rpartition("/")[2]


def elements(data: bytes, *, url: str, doctype: bool = False) -> Iterator[Element]:
    """Yield the elements of an XML document, each when it ends, the root last.

    Parameters
    ----------
    data
        The document.
    url
        Where it came from, for messages.
    doctype
        Accept a document type that only lists elements and attributes, as ImageJ's tracings have.

    Raises
    ------
    FormatError
        If it is no XML, nested deeper than 64 levels, or declares a document type that is not
        accepted: entities can make a small file enormous, or read other files.
    """
    builder = _Builder(url, doctype)
    for start in range(0, len(data), PIECE):
        builder.feed(data[start : start + PIECE])
        yield from builder.taken()
    builder.feed(b"", last=True)
    yield from builder.taken()


def check_declarations(text: str, *, url: str) -> None:
    """Refuse XML that declares a document type, before any other parser expands what it declares.

    Parameters
    ----------
    text
        The document; whether the rest of it is sound is not looked at.
    url
        Where it came from, for messages.

    Raises
    ------
    FormatError
        With the name of the type.
    """
    builder = _Builder(url, doctype=False, encoding="utf-8")
    data = text.encode("utf-8", "replace")
    for start in range(0, len(data), PIECE):
        try:
            builder.parser.Parse(data[start : start + PIECE], False)
        except FormatError:
            raise
        except (expat.ExpatError, LookupError, ValueError):
            return
        if builder.open or builder.done:  # declarations come before the root
            return


def root_name(data: bytes) -> str | None:
    """Return the name of the root of an XML document; None where it is not well begun."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: found.append(name)
    try:
        for start in range(0, len(data), PIECE):
            parser.Parse(data[start : start + PIECE], False)
            if found:
                break
    except (expat.ExpatError, LookupError, ValueError):
        pass
    return found[0] if found else None


def holdable(text: str) -> str:
    """Return a text with question marks for the characters that XML cannot hold."""
    return "".join(c if c in "\t\n\r" or _allowed(ord(c)) else "?" for c in text)


def _allowed(code: int) -> bool:
    return 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code >= 0x10000


class _Builder:
    def __init__(self, url: str, doctype: bool, encoding: str | None = None) -> None:
        self.url, self.doctype = url, doctype
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.done: list[Element] = []
        self.parser = expat.ParserCreate(encoding)
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.declare
        self.parser.EntityDeclHandler = self.entity
        self.parser.AttlistDeclHandler = self.attribute

    def feed(self, piece: bytes, *, last: bool = False) -> None:
        try:
            self.parser.Parse(piece, last)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{self.url} is not XML: {error}. Check the file.") from None

    def taken(self) -> list[Element]:
        done, self.done = self.done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.open) >= DEPTH_LIMIT:
            raise FormatError(
                f"{self.url} nests its elements deeper than {DEPTH_LIMIT} levels; check the file."
            )
        path = f"{self.open[-1][0]}/{name}" if self.open else name
        self.open.append((path, attributes, []))

    def end(self, name: str) -> None:
        path, attributes, text = self.open.pop()
        self.done.append(Element(path, attributes, "".join(text)))

    def text(self, data: str) -> None:
        if self.open:
            self.open[-1][2].append(data)

    def declare(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        if system or public or not self.doctype:
            raise FormatError(
                f"{self.url}: XML with a document type ({name!r}) is not read; remove that line."
            )

    def entity(self, name: str, *about: object) -> None:
        raise FormatError(
            f"{self.url} declares the XML entity {name!r}; entities are not read. Remove them."
        )

    def attribute(
        self, element: str, name: str, kind: str, default: str | None, required: int
    ) -> None:
        if default is not None:
            raise FormatError(
                f"{self.url} declares a default for the attribute {name!r} of {element!r}, which "
                "is not read. Write the value where it holds."
            )
