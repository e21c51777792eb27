"""Headers of NRRD files: fields, key-value pairs, and their grammar.

References
----------
Definition of NRRD file format, http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from projectome.errors import FormatError

MAGIC = b"NRRD"
LIMIT = 2**20
"""Longest header that is read [bytes]."""
MOST_AXES = 16
TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "uint64": (
        "ulonglong",
        "unsigned long long",
        "unsigned long long int",
        "uint64",
        "uint64_t",
    ),
    "float32": ("float",),
    "float64": ("double",),
}
ELEMENTS = {name: element for element, names in TYPES.items() for name in names}
OWN = "projectome."
"""Before the keys that projectome writes."""
SPELLED = {
    name.replace(" ", ""): name
    for name in ("space directions", "space origin", "space units", "axis mins", "data file")
}
"""Names of two words, as they stand in a header."""
ENCODINGS = {
    "raw": "raw",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "ascii",
    "text": "ascii",
    "ascii": "ascii",
}
SPACES = {
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
}
"""Signs that turn each anatomical space into LPS; each may have ``-time`` after it."""


@dataclass(frozen=True, slots=True)
class NrrdHeader:
    """What stands in a header.

    Attributes
    ----------
    url
        Its address, for messages.
    version
        Of the format, for instance ``"5"``.
    fields
        By their names in lower case without spaces.
    keys
        Key-value pairs.
    end
        Bytes of the header, its empty line included.
    """

    url: str
    version: str
    fields: Mapping[str, str]
    keys: Mapping[str, str]
    end: int

    def error(self, field: str, text: str) -> FormatError:
        """Return the error for a field that cannot be used."""
        value = self.fields.get(field, "")[:80]
        return FormatError(
            f"The NRRD header of {self.url} has {SPELLED.get(field, field)}: {value!r}, {text}. "
            "Correct it, or restore the file from its source."
        )

    def words(self, *names: str) -> list[str]:
        """Return the words of the first of these fields that there is; text in quotes is one."""
        text = next((self.fields[name] for name in names if name in self.fields), "")
        return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', text)]

    def number(self, *names: str) -> int:
        """Return a whole number of 0 or more, or -1; 0 if the field is missing."""
        name = next((name for name in names if name in self.fields), names[0])
        text = self.fields.get(name, "0")
        if not re.fullmatch(r"-1|\+?\d{1,18}", text):
            raise self.error(name, "which is no whole number")
        return int(text)

    @property
    def sizes(self) -> list[int]:
        """Elements an axis, the fastest first."""
        words = self.words("sizes")
        if not all(re.fullmatch(r"\d{1,18}", word) and int(word) > 0 for word in words):
            raise self.error("sizes", "which are no lengths of axes")
        if not 1 <= len(words) <= MOST_AXES or len(words) != self.number("dimension"):
            raise self.error("sizes", f"and the dimension {self.fields.get('dimension')!r}")
        return [int(word) for word in words]

    @property
    def element(self) -> np.dtype[np.generic]:
        """Element type with its byte order."""
        name = " ".join(self.words("type")).lower()
        if name not in ELEMENTS:
            raise self.error("type", "which is no number that a volume holds")
        element = np.dtype(ELEMENTS[name])
        if element.itemsize == 1 or self.encoding == "ascii":
            return element
        order = self.fields.get("endian", "").lower()
        if order not in ("little", "big"):
            raise self.error("endian", "which is neither little nor big")
        return element.newbyteorder("<" if order == "little" else ">")

    @property
    def encoding(self) -> str:
        """One of raw, gzip, bzip2 and ascii."""
        name = self.fields.get("encoding", "").lower()
        if name not in ENCODINGS:
            known = ", ".join(sorted(set(ENCODINGS.values())))
            raise self.error("encoding", f"which cannot be read; {known} can")
        return ENCODINGS[name]

    def vectors(self, name: str) -> list[list[float] | None]:
        """Return the vectors of a field such as ``(1,0,0) none (0,1,0)``; None for none."""
        found: list[list[float] | None] = []
        for text, none in re.findall(r"\(([^()]*)\)|(\S+)", self.fields.get(name, "")):
            if none:
                if none.lower() != "none":
                    raise self.error(name, f"with {none[:20]!r} where a vector should be")
                found.append(None)
                continue
            vector = numbers(text.split(","))
            if None in vector:
                raise self.error(name, f"with the vector ({text[:40]})")
            found.append([value for value in vector if value is not None])
        return found


def numbers(words: list[str]) -> list[float | None]:
    """Return each word as a finite number; None for what is none, as ``nan``."""
    found: list[float | None] = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        found.append(value if math.isfinite(value) else None)
    return found


def parse_header(data: bytes, *, url: str) -> NrrdHeader:
    """Return what the header at the beginning of a file says.

    Parameters
    ----------
    data
        The beginning of the file, at least to the empty line; all of a detached header.
    url
        Its address.

    Raises
    ------
    FormatError
        If it is no NRRD header, or longer than 1 MiB.
    """
    end = re.search(rb"\r?\n\r?\n", data)
    head = data[: end.start()] if end else data
    first, *lines = head.decode("utf-8", "replace").splitlines() or [""]
    version = re.fullmatch(r"NRRD(\d{4})", first.strip())
    if version is None or (end is None and len(data) >= LIMIT):
        raise FormatError(
            f"{url} has no NRRD header: it begins with {first[:20]!r}, and an empty line has to "
            f"end it within {LIMIT} bytes. Restore it from its source."
        )
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        key, mark, value = line.partition(":=")
        name, colon, text = line.partition(": ")
        if mark and (not colon or len(key) < len(name)):
            # A key-value pair writes a line break as \n, and a backslash twice.
            keys[key] = re.sub(r"\\(n|\\)", lambda m: "\n" if m[1] == "n" else "\\", value)
        elif line.partition(":")[1]:
            name, _, text = line.partition(":")
            name = name.replace(" ", "").lower()
            if name in fields:
                raise FormatError(
                    f"The NRRD header of {url} states {name!r} twice. Correct it, or restore the "
                    "file from its source."
                )
            fields[name] = text.strip()
            if name == "datafile" and text.strip().upper().startswith("LIST"):
                break  # what follows are names of files
        else:
            raise FormatError(
                f"The NRRD header of {url} holds the line {line[:60]!r}, which is no field. "
                "Restore the file from its source."
            )
    return NrrdHeader(url, str(int(version[1])), fields, keys, end.end() if end else len(data))
