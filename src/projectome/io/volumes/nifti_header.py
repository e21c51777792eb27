"""Headers of NIfTI-1 and NIfTI-2: layout, element types, and what stands in them.

References
----------
NIfTI-1 and NIfTI-2 data formats, https://nifti.nimh.nih.gov
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from projectome.errors import FormatError
from projectome.io.documents import parse_json

Fields: TypeAlias = "np.void"


def _layout(size: int, fields: Mapping[str, tuple[str, int]]) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )


LAYOUTS: dict[int, np.dtype[np.void]] = {
    1: _layout(
        348,
        {
            "sizeof_hdr": ("<i4", 0),
            "regular": ("S1", 38),
            "dim": ("<8i2", 40),
            "intent_code": ("<i2", 68),
            "datatype": ("<i2", 70),
            "bitpix": ("<i2", 72),
            "pixdim": ("<8f4", 76),
            "vox_offset": ("<f4", 108),
            "scl_slope": ("<f4", 112),
            "scl_inter": ("<f4", 116),
            "xyzt_units": ("u1", 123),
            "descrip": ("S80", 148),
            "qform_code": ("<i2", 252),
            "sform_code": ("<i2", 254),
            "quatern": ("<3f4", 256),
            "qoffset": ("<3f4", 268),
            "srow": ("<(3,4)f4", 280),
            "magic": ("V4", 344),
        },
    ),
    2: _layout(
        540,
        {
            "sizeof_hdr": ("<i4", 0),
            "magic": ("V8", 4),
            "datatype": ("<i2", 12),
            "bitpix": ("<i2", 14),
            "dim": ("<8i8", 16),
            "pixdim": ("<8f8", 104),
            "vox_offset": ("<i8", 168),
            "scl_slope": ("<f8", 176),
            "scl_inter": ("<f8", 184),
            "descrip": ("S80", 240),
            "qform_code": ("<i4", 344),
            "sform_code": ("<i4", 348),
            "quatern": ("<3f8", 352),
            "qoffset": ("<3f8", 376),
            "srow": ("<(3,4)f8", 400),
            "xyzt_units": ("<i4", 500),
            "intent_code": ("<i4", 504),
        },
    ),
}
"""Fields that are read or written, little endian; all others are 0."""
SINGLE = {1: b"n+1\0", 2: b"n+2\0\r\n\x1a\n"}
PAIR = {1: b"ni1\0", 2: b"ni2\0\r\n\x1a\n"}
ELEMENTS = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
COLOURS = {128: 3, 2304: 4}
"""Bytes of a voxel of the types RGB24 and RGBA32."""
UNITS = {1: 1e6, 2: 1e3, 3: 1.0}
"""Micrometres in one of each unit: metre, millimetre, micrometre."""
VECTOR, LABEL = 1007, 1002
"""Intents: the fifth axis holds channels; the voxels are labels."""
COMMENT = 6
"""Code of an extension that is text."""
HEAD = b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c"
"""First bytes of a header: its size, in either byte order."""


def is_header(data: bytes) -> bool:
    """Say whether these may be the first bytes of a NIfTI header."""
    if data[:4] in HEAD[2:]:
        return data[4:12] in (SINGLE[2], PAIR[2])
    return data[:4] in HEAD[:2] and (len(data) < 348 or data[344:348] in (SINGLE[1], PAIR[1]))


def parse_header(data: bytes, *, url: str) -> tuple[Fields, int, bool]:
    """Return the fields of a header in native byte order.

    Parameters
    ----------
    data
        The first bytes of a file.
    url
        Its address.

    Returns
    -------
    numpy.void
        The fields of `LAYOUTS`.
    int
        Version, 1 or 2.
    bool
        Whether the file is little endian.

    Raises
    ------
    FormatError
        If it is no header.
    """
    version = 2 if data[:4] in HEAD[2:] else 1
    layout = LAYOUTS[version]
    if data[:4] not in HEAD or len(data) < layout.itemsize:
        raise FormatError(
            f"{url} has no NIfTI header: {len(data)} bytes that begin with {data[:4]!r}. Restore "
            "it from its source."
        )
    little = data[:4] in (HEAD[0], HEAD[2])
    fields: Any = np.frombuffer(data, layout if little else layout.newbyteorder(">"), count=1)
    fields = fields.astype(layout.newbyteorder("="))[0]
    magic = fields["magic"].tobytes()
    if magic not in (SINGLE[version], PAIR[version]):
        raise FormatError(
            f"{url} has no mark of NIfTI: it is an ANALYZE 7.5 file, whose orientation nobody can "
            "tell, or broken. Convert it to NIfTI with a program that knows where it comes from."
        )
    return fields, version, little


def exact(value: np.floating[Any]) -> float:
    """Return the shortest decimal number that is stored as this one: 0.0144, not 0.014399999."""
    return float(str(value))


def extensions(data: bytes, start: int, little: bool) -> list[tuple[int, bytes]]:
    """Return the code and content of each extension between the header and the voxels.

    Parameters
    ----------
    data
        The file up to its voxels, or less of it.
    start
        Size of the header.
    little
        Whether the file is little endian.
    """
    found: list[tuple[int, bytes]] = []
    if data[start : start + 1] in (b"", b"\0"):
        return found
    place = start + 4
    while place + 8 <= len(data):
        size, code = np.frombuffer(data, "<i4" if little else ">i4", 2, place).tolist()
        if size < 16 or place + size > len(data):
            break
        found.append((code, data[place + 8 : place + size]))
        place += size
    return found


def notes_in(fields: Fields, found: list[tuple[int, bytes]], url: str) -> dict[str, object]:
    """Return what projectome wrote into an extension, or else into the description."""
    for code, content in found:
        text = content.rstrip(b"\0 ")
        if code == COMMENT and text.startswith(b'{"projectome":'):
            try:
                notes = parse_json(text, url=url)["projectome"]
            except FormatError:
                continue
            if isinstance(notes, dict):
                return notes
    text = fields["descrip"].decode("latin-1")
    own = re.fullmatch(r"projectome kind=(\w+) expansion=(\d{1,3}\.\d{1,17})(?: space=(.+))?", text)
    if own is None:
        return {}
    return {"kind": own[1], "expansion": float(own[2]), "space": own[3]}


def description(notes: Mapping[str, object]) -> bytes:
    """Return the description for people and for programs that drop extensions."""
    text = "projectome kind={kind} expansion={expansion!r}".format(**notes)
    named = f"{text} space={notes['space']}"
    return (named if len(named) < 80 and named.isascii() else text).encode()


def extension(notes: Mapping[str, object]) -> bytes:
    """Return an extension that holds plain data, a multiple of 16 bytes."""
    content = json.dumps({"projectome": dict(notes)}).encode()
    size = -(-(len(content) + 8) // 16) * 16
    return np.array([size, COMMENT], "<i4").tobytes() + content.ljust(size - 8, b"\0")
