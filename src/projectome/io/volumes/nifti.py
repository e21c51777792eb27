"""NIfTI-1 and NIfTI-2 images as lazy volumes: ``.nii``, ``.nii.gz``, ``.hdr`` with ``.img``.

The voxels stay as they lie. ``sform`` says where they are, else ``qform``, both for the centre of
voxel 0; without either the orientation is unknown. The fourth axis is time and the fifth holds
channels, unless the user names the axes otherwise. Voxels that the header scales are read as
floating point, and a problem says so.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from projectome.core.volume import Pyramid
from projectome.errors import FormatError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes import nifti_header as layout
from projectome.io.volumes.flat_bytes import Bytes, PackedBytes, unpacked
from projectome.io.volumes.flat_volume import (
    FARTHEST,
    FlatAxis,
    FlatFacts,
    believed_length,
    flat_pyramid,
    plain_bytes,
    unit_problem,
)
from projectome.io.volumes.options import OpenOptions, Place
from projectome.io.volumes.placement import RAS_LPS, Floats

GZIP = b"\x1f\x8b"
FIRST, EXTENSIONS = 2**14, 2**20
"""What is fetched of a header first, and at most with its extensions [bytes]."""
AXES = "xyztcuv"
APART = 0.5
"""Voxels by which sform and qform may differ without a word."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header and where it lies.

    Attributes
    ----------
    url
        Address of the file.
    packed
        Whether the file is compressed.
    fields
        Of `projectome.io.volumes.nifti_header.LAYOUTS`.
    version
        1 or 2.
    little
        Whether the file is little endian.
    data
        The header and its extensions, as bytes.
    """

    url: str
    packed: bool
    fields: Any
    version: int
    little: bool
    data: bytes

    @property
    def single(self) -> bool:
        """Whether the voxels follow in the same file."""
        return bool(self.fields["magic"].tobytes() == layout.SINGLE[self.version])


class NiftiReader:
    """Opens NIfTI images."""

    name = "NIfTI (.nii, .nii.gz, .hdr with .img)"
    prefix = "nifti"

    def sniff(self, place: Place) -> bool:
        """Say whether it is a NIfTI image, or the voxels of one with the header beside them."""
        if place.head is None:
            return False
        if place.head[:4] in layout.HEAD:
            return layout.is_header(place.head)
        if _header_beside(place.url, place.access) != place.url:
            return True
        try:
            return place.head.startswith(GZIP) and layout.is_header(
                _beginning(place.url, True, 348, place.access)
            )
        except FormatError:  # a broken stream, which its name has to speak for
            return place.url.lower().endswith(".nii.gz")

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image as a pyramid of one level.

        Raises
        ------
        FormatError
            If it is broken, or holds what no volume holds.
        ParameterError
            If a fact is missing that only the user can give.
        """
        header = _read_header(_header_beside(place.url, options.access), options.access)
        problems: list[Problem] = []
        facts = _facts(header, problems)
        source = _source(header, facts.nbytes, options.access, problems)
        return flat_pyramid(place.url, source, facts.with_problems(problems), options)


def _header_beside(url: str, access: Access) -> str:
    """Return the address of the header of a pair; the same address for all other files."""
    found = re.search(r"\.img(\.gz)?$", url, re.IGNORECASE)
    if found is None:
        return url
    stem = url[: found.start()]
    beside = [stem + end for end in (".hdr", ".hdr.gz", ".HDR")]
    return next((name for name in beside if stores.exists(name, access=access)), url)


def _voxels_beside(url: str, access: Access) -> str:
    """Return the address of the voxels of a pair."""
    stem = re.sub(r"\.hdr(\.gz)?$", "", url, flags=re.IGNORECASE)
    beside = [stem + end for end in (".img", ".img.gz", ".IMG")]
    for name in beside if stem != url else ():
        if stores.exists(name, access=access):
            return name
    raise FormatError(
        f"{url} is the header of a NIfTI image whose voxels lie in a file of their own, and there "
        f"is no {stem.rsplit('/', 1)[-1]}.img beside it. Restore that file."
    )


def _beginning(url: str, packed: bool, length: int, access: Access) -> bytes:
    """Return the first bytes of a file, unpacked; fewer where it ends."""
    if not packed:
        return stores.read_part(url, 0, length, access=access)[0]
    found = b""
    for piece in unpacked(url, "gzip", access=access, fetched=FIRST):
        found += piece
        if len(found) >= length:
            break
    return found[:length]


def _read_header(url: str, access: Access) -> Header:
    packed = stores.read_part(url, 0, 2, access=access)[0] == GZIP
    data = _beginning(url, packed, FIRST, access)
    fields, version, little = layout.parse_header(data, url=url)
    size = layout.LAYOUTS[version].itemsize
    header = Header(url, packed, fields, version, little, data)
    offset = _offset(header)
    end = min(offset if header.single else EXTENSIONS, EXTENSIONS)
    if data[size : size + 1] not in (b"", b"\0") and end > len(data) == FIRST:
        data = _beginning(url, packed, end, access)
    return Header(url, packed, fields, version, little, data[: end if header.single else None])


def _offset(header: Header) -> int:
    """Return where the voxels begin in their file."""
    value = float(header.fields["vox_offset"])
    least = layout.LAYOUTS[header.version].itemsize + 4 if header.single else 0
    if not (math.isfinite(value) and least <= value < 2**53 and value == int(value)):
        raise FormatError(
            f"The NIfTI header of {header.url} says that the voxels begin at byte {value:g}, which "
            f"cannot be: they begin at {least} or later. Restore it from its source."
        )
    return int(value)


def _source(header: Header, nbytes: int, access: Access, problems: list[Problem]) -> Bytes:
    """Return the bytes of the voxels."""
    url, packed = header.url, header.packed
    if not header.single:
        url = _voxels_beside(header.url, access)
        packed = stores.read_part(url, 0, 2, access=access)[0] == GZIP and url.endswith(".gz")
    if packed:
        return PackedBytes(url, access, "gzip", skipped=_offset(header), nbytes=nbytes)
    return plain_bytes(url, access, _offset(header), nbytes, problems)


def _facts(header: Header, problems: list[Problem]) -> FlatFacts:
    fields, url = header.fields, header.url
    count, *sizes = fields["dim"].tolist()
    if not 1 <= count <= 7 or min(sizes[:count]) < 1:
        raise FormatError(
            f"The NIfTI header of {url} declares the dimensions {[count, *sizes]}, which are none. "
            "Restore it from its source."
        )
    sizes = [*sizes[:count], 1, 1][: max(3, count)]
    element, colours = _element(header, problems)
    steps, origin, spacing = _placement(header, sizes, problems)
    axes = [
        FlatAxis(AXES[i], sizes[i], *((steps[i], spacing[i]) if i < 3 else (None, None)))
        for i in reversed(range(len(sizes)))
    ]
    if colours:
        axes.append(FlatAxis("c", colours))
    end = layout.LAYOUTS[header.version].itemsize
    own = layout.notes_in(fields, layout.extensions(header.data, end, header.little), url)
    return FlatFacts(
        "NIfTI",
        str(header.version),
        tuple(axes),
        element,
        origin,
        ("red", "green", "blue", "alpha")[:colours],
        labels=int(fields["intent_code"]) == layout.LABEL,
        scaling=None if colours else _scaling(header, element, problems),
        own=own,
        context=header.data,
    )


def _element(header: Header, problems: list[Problem]) -> tuple[np.dtype[np.generic], int]:
    """Return the element type, and how many colours a voxel has; 0 for numbers."""
    code, bits = int(header.fields["datatype"]), int(header.fields["bitpix"])
    colours = layout.COLOURS.get(code, 0)
    if not colours and code not in layout.ELEMENTS:
        raise FormatError(
            f"{header.url} holds elements of the NIfTI type {code}; volumes hold integers or real "
            "numbers of at most 64 bits. Convert it with the program that wrote it."
        )
    element = np.dtype("uint8" if colours else layout.ELEMENTS[code])
    wanted = 8 * max(1, colours) * element.itemsize
    if bits != wanted:
        text = f"{bits} bits are stated for the type {code}, which has {wanted}; the type is taken."
        problems.append(Problem("warning", "bitpix", text))
    return element.newbyteorder("<" if header.little else ">"), colours


def _scaling(
    header: Header, element: np.dtype[np.generic], problems: list[Problem]
) -> tuple[float, float] | None:
    slope, inter = (layout.exact(header.fields[name]) for name in ("scl_slope", "scl_inter"))
    if slope == 0 or math.isnan(slope) or (slope == 1 and inter in (0, -0.0)):
        return None
    if not (math.isfinite(slope) and math.isfinite(inter)):
        text = f"The voxels are read as stored: {slope} and {inter} scale nothing."
        problems.append(Problem("warning", "scl_slope, scl_inter", text))
        return None
    text = (
        f"The file stores {element.newbyteorder('=')} and states that a value is {slope:g} times "
        f"what is stored, plus {inter:g}: read as floating point."
    )
    problems.append(Problem("warning", "scl_slope, scl_inter", text))
    return slope, inter


Steps = list[Floats | None]


def _placement(
    header: Header, sizes: list[int], problems: list[Problem]
) -> tuple[Steps, Floats | None, list[float | None]]:
    """Return the steps along x, y and z and the origin in LPS, and the voxel size; all in um."""
    with np.errstate(all="ignore"):  # numbers of a broken header
        return _frames(header, sizes, problems)


def _frames(
    header: Header, sizes: list[int], problems: list[Problem]
) -> tuple[Steps, Floats | None, list[float | None]]:
    fields = header.fields
    pixdim = [layout.exact(v) for v in fields["pixdim"]]
    frames = {"sform": _sform(header, problems), "qform": _qform(header, pixdim, problems)}
    known = {name: frame for name, frame in frames.items() if frame is not None}
    code = int(fields["xyzt_units"]) & 7
    factor = layout.UNITS.get(code, 1.0)
    spacing = [believed_length(abs(v) * factor) for v in pixdim[1:4]]
    for name in list(known):
        frame = known[name] * factor
        norms = np.sqrt((frame[:, :3] ** 2).sum(axis=0)).tolist()
        if None in map(believed_length, norms) or np.abs(frame).max() > FARTHEST:
            text = f"It gives voxels of {norms[::-1]} um (z, y, x), which is not believed."
            problems.append(Problem("warning", name, text))
            del known[name]
    if code not in layout.UNITS:
        shown = next((np.sqrt((f[:, :3] ** 2).sum(axis=0)) for f in known.values()), pixdim[1:4])
        problems.append(unit_problem("xyzt_units", [float(v) for v in shown][::-1]))
    if not known:
        text = "Neither sform nor qform is set: the orientation is unknown. State it with "
        text += "--orientation CODE --meaning toward|from."
        problems.append(Problem("warning", "sform_code, qform_code", text))
        return [None] * 3, None, spacing
    _compare(known, sizes, problems)
    name, frame = next(iter(known.items()))
    lps = RAS_LPS @ frame * factor
    columns: Steps = [lps[:, i] for i in range(3)]
    return columns, lps[:, 3], spacing


def _compare(known: dict[str, Floats], sizes: list[int], problems: list[Problem]) -> None:
    """Note where sform and qform say different things."""
    if len(known) < 2:
        return
    sform, qform = known["sform"], known["qform"]
    apart = np.abs(sform - qform) @ np.array([*(n - 1 for n in sizes[:3]), 1.0])
    voxel = np.sqrt((sform[:, :3] ** 2).sum(axis=0)).min()
    if apart.max() > APART * voxel:
        text = f"They differ by up to {apart.max() / voxel:.3g} voxels; sform is taken."
        problems.append(Problem("warning", "sform, qform", text))


def _sform(header: Header, problems: list[Problem]) -> Floats | None:
    """Return voxels (x, y, z) to RAS, shape (3, 4) in the unit of the file; None if not stated."""
    if int(header.fields["sform_code"]) <= 0:
        return None
    frame = np.array([[layout.exact(v) for v in row] for row in header.fields["srow"]])
    if np.isfinite(frame).all() and np.linalg.matrix_rank(frame[:, :3]) == 3:
        return frame
    text = "It maps the voxels onto a plane or to infinity, and is taken as not stated."
    problems.append(Problem("warning", "sform", text))
    return None


def _qform(header: Header, pixdim: list[float], problems: list[Problem]) -> Floats | None:
    """Return voxels (x, y, z) to RAS, shape (3, 4) in the unit of the file; None if not stated."""
    if int(header.fields["qform_code"]) <= 0:
        return None
    b, c, d = (layout.exact(v) for v in header.fields["quatern"])
    shift = [layout.exact(v) for v in header.fields["qoffset"]]
    rest = 1.0 - (b * b + c * c + d * d)
    # Half turns: what is left of 1 is rounding, of which the root is large.
    rounding = 3e-7 if header.version == 1 else 1e-14
    a = 0.0 if abs(rest) < rounding else math.sqrt(max(0.0, rest))
    size = [abs(v) for v in pixdim[1:4]]
    if not (np.isfinite([b, c, d, *shift, *size]).all() and rest > -1e-5 and min(size) > 0):
        text = f"The quaternion {(b, c, d)} with the voxel size {size} is no rotation of a grid; "
        problems.append(Problem("warning", "qform", text + "it is taken as not stated."))
        return None
    a, b, c, d = (v / math.sqrt(a * a + b * b + c * c + d * d) for v in (a, b, c, d))
    # "x' = R x", R as in the NIfTI-1 standard
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    size[2] *= -1 if pixdim[0] < 0 else 1
    return np.column_stack([turn * size, shift])
