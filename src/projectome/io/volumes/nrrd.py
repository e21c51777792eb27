"""NRRD images as lazy volumes: ``.nrrd``, and ``.nhdr`` with the voxels in a file beside it.

Axes with a direction in space are x, y and z, the fastest first; axes of other kinds are time or
channels. Only the spaces with anatomical names (RAS, LAS, LPS) say an orientation. ``space origin``
is the centre of the first voxel, ``axis mins`` is an edge where cells are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from projectome.core.volume import Pyramid
from projectome.errors import FormatError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes import nrrd_header as layout
from projectome.io.volumes.flat_bytes import Bytes, Codec, PackedBytes, cut_off
from projectome.io.volumes.flat_volume import FlatFacts, flat_pyramid, plain_bytes
from projectome.io.volumes.nrrd_header import OWN, NrrdHeader
from projectome.io.volumes.nrrd_space import axes_of
from projectome.io.volumes.options import OpenOptions, Place
from projectome.io.volumes.tiff_pages import samples

FIRST = 2**14
"""What is fetched of a header first [bytes]."""
TEXT_LIMIT = 2**26
"""Largest file of numbers as text [bytes]."""
COLOURS = ("red", "green", "blue", "alpha")


@dataclass(frozen=True, slots=True)
class TextBytes:
    """An array whose elements are written as decimal numbers; parsed when it is opened.

    Attributes
    ----------
    url
        Address of the file.
    access
        How to ask.
    data
        The elements in native byte order.
    """

    url: str
    access: Access
    data: bytes

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the array."""
        return self.data[start : start + length]

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from samples(self.url, self.access)


class NrrdReader:
    """Opens NRRD images."""

    name = "NRRD (.nrrd, .nhdr)"
    prefix = "nrrd"

    def sniff(self, place: Place) -> bool:
        """Say whether it begins with the mark of NRRD."""
        return place.head is not None and place.head.startswith(layout.MAGIC)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image as a pyramid of one level.

        Raises
        ------
        FormatError
            If it is broken, or holds what no volume holds.
        ParameterError
            If a fact is missing that only the user can give.
        """
        data, size = stores.read_part(place.url, 0, FIRST, access=options.access)
        if re.search(rb"\r?\n\r?\n", data) is None and size > FIRST:
            data = stores.read_part(place.url, 0, layout.LIMIT, access=options.access)[0]
        header = layout.parse_header(data, url=place.url)
        problems: list[Problem] = []
        facts = _facts(header, data[: header.end], problems)
        source = _source(header, facts, options.access, problems)
        return flat_pyramid(place.url, source, facts.with_problems(problems), options)


def _source(header: NrrdHeader, facts: FlatFacts, access: Access, problems: list[Problem]) -> Bytes:
    """Return the bytes of the voxels."""
    url, start = _voxels(header)
    lines = header.number("lineskip", "line skip")
    if lines > 0:
        start = _after_lines(url, start, lines, access)
    skipped = header.number("byteskip", "byte skip")
    if header.encoding == "ascii":
        return _text(url, start + max(0, skipped), facts, access)
    if header.encoding == "raw":
        if skipped < 0:  # "-1: the data is at the end of the file"
            size = stores.read_part(url, 0, 1, access=access)[1]
            start = size - facts.nbytes
            if start < 0:
                raise cut_off(url, size, facts.nbytes)
            skipped = 0
        return plain_bytes(url, access, start + skipped, facts.nbytes, problems)
    if skipped < 0:
        raise header.error("byteskip", "which only voxels without compression may have")
    codec: Codec = "gzip" if header.encoding == "gzip" else "bzip2"
    return PackedBytes(url, access, codec, start=start, skipped=skipped, nbytes=facts.nbytes)


def _voxels(header: NrrdHeader) -> tuple[str, int]:
    """Return the file with the voxels, and where its content begins."""
    name = header.fields.get("datafile")
    if name is None:
        return header.url, header.end
    if name.upper().startswith("LIST") or "%" in name or not name:
        raise header.error(
            "datafile", "which are several files; join them with the program that wrote them"
        )
    folder = header.url.rstrip("/").rpartition("/")[0]
    return stores.join(folder or ".", name), 0


def _after_lines(url: str, start: int, lines: int, access: Access) -> int:
    """Return where the content after so many lines begins."""
    data = stores.read_part(url, start, layout.LIMIT, access=access)[0]
    ends = [match.end() for match in re.finditer(rb"\n", data)]
    if lines > len(ends):
        raise FormatError(
            f"The NRRD header of {url} skips {lines} lines, and there are no more than {len(ends)} "
            f"in the first {len(data)} bytes. Correct its line skip."
        )
    return start + ends[lines - 1]


def _text(url: str, start: int, facts: FlatFacts, access: Access) -> TextBytes:
    data = stores.read_bytes(url, access=access, limit=TEXT_LIMIT)[start:]
    count = facts.nbytes // facts.element.itemsize
    words = re.split(rb"[\s,]+", data.strip(b" \t\r\n,"))
    if len(words) != count:
        raise FormatError(
            f"{url} holds {len(words)} numbers where its header declares {count}. Restore it from "
            "its source."
        )
    try:
        values = np.array(words, dtype="S").astype(facts.element)
        if facts.element.kind in "iu" and any(
            int(w) != v for w, v in zip(words, values.tolist(), strict=True)
        ):
            raise ValueError("out of range")
    except (ValueError, OverflowError) as error:
        raise FormatError(
            f"{url} holds numbers that are no {facts.element}: {error}. Restore it from its source."
        ) from None
    return TextBytes(url, access, values.tobytes())


def _facts(header: NrrdHeader, context: bytes, problems: list[Problem]) -> FlatFacts:
    axes, origin = axes_of(header, problems)
    notes = {k.removeprefix(OWN): v for k, v in header.keys.items() if k.startswith(OWN)}
    return FlatFacts(
        "NRRD",
        header.version,
        tuple(reversed(axes)),
        header.element,
        origin,
        COLOURS if any("color" in kind for kind in header.words("kinds")) else (),
        name=header.fields.get("content", ""),
        own={key: _value(text) for key, text in notes.items()},
        context=context,
    )


def _value(text: str) -> object:
    """Return a value as projectome writes it, or the text itself."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value
