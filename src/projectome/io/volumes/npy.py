"""NPY files of numpy: one array, no axes and no voxel size, which the user states.

The header is read by hand: it may only say the type, the order and the shape of numbers. Python
objects, which numpy would unpickle, are refused, as unpickling runs whatever the file says.

References
----------
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace

import numpy as np

from projectome.core.volume import Pyramid
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.flat_bytes import PlainBytes, cut_off
from projectome.io.volumes.flat_volume import FlatAxis, FlatFacts, flat_pyramid
from projectome.io.volumes.options import OpenOptions, Place

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000
"""Longest header, as in numpy itself [bytes]."""
NUMBER = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")


class NpyReader:
    """Opens NPY files."""

    name = "NPY"
    prefix = "npy"

    def sniff(self, place: Place) -> bool:
        """Say whether it is an NPY file."""
        return place.head is not None and place.head.startswith(MAGIC)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the array as a pyramid of one level.

        Raises
        ------
        FormatError
            If it is broken, or holds anything but numbers.
        ParameterError
            If voxel size or axes are missing, or do not fit.
        """
        element, fortran, shape, version, start = _header(place.url, options.access)
        problems = []
        letters = options.axes
        if letters is None:
            letters = {2: "yx", 3: "zyx"}.get(len(shape))
            if letters is None:
                raise ParameterError(
                    f"{place.url} has the shape {shape}; say which axis is which, for instance "
                    f"--axes {'tczyx'[5 - len(shape) :]}."
                )
            text = f"None are stated; read as {', '.join(letters)}."
            problems.append(Problem("warning", "axes", text))
        if len(letters) != len(shape):
            raise ParameterError(
                f"--axes {letters} names {len(letters)} axes, but {place.url} has the shape "
                f"{shape}."
            )
        if options.voxel_size is None:
            raise ParameterError(
                f"{place.url} (NPY, {' x '.join(map(str, shape))} {element.name}) does not state "
                "its voxel size. Give it: --voxel-size Z,Y,X in micrometres, and --axes such as "
                "czyx."
            )
        named = [FlatAxis(letter, n) for letter, n in zip(letters, shape, strict=True)]
        axes = tuple(named[::-1] if fortran else named)  # the slowest first
        facts = FlatFacts("NPY", version, axes, element, problems=tuple(problems))
        source = PlainBytes(place.url, options.access, start)
        return flat_pyramid(place.url, source, facts, replace(options, axes=None))


def _header(
    url: str, access: Access
) -> tuple[np.dtype[np.generic], bool, tuple[int, ...], str, int]:
    """Return element type, order, shape, version, and where the array begins."""
    head, size = stores.read_part(url, 0, HEADER_LIMIT + 12, access=access)
    if len(head) < 10 or not head.startswith(MAGIC) or head[6] not in (1, 2, 3):
        raise _broken(url, "its beginning is not that of version 1, 2 or 3")
    wide = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + wide], "little")
    start = 8 + wide + length
    if length > HEADER_LIMIT:
        raise _broken(url, f"its header is {length} bytes long, more than {HEADER_LIMIT}")
    if start > size:
        raise cut_off(url, size, start)
    text = head[8 + wide : start].decode("utf-8" if head[6] == 3 else "latin-1", "replace")
    try:
        stated = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        stated = None
    if not isinstance(stated, dict) or stated.keys() != {"descr", "fortran_order", "shape"}:
        raise _broken(url, f"its header is not understood: {text[:80]!r}")
    kind, shape = stated["descr"], stated["shape"]
    if not (isinstance(kind, str) and NUMBER.fullmatch(kind)):
        what = "Python objects, which are never loaded, as" if "O" in str(kind) else "elements of"
        raise FormatError(
            f"{url} holds {what} type {str(kind)[:80]!r}; volumes hold integers or real numbers. "
            "Save it again as an array of numbers."
        )
    whole = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**62 for n in shape)
    if not whole or not isinstance(stated["fortran_order"], bool):
        raise _broken(url, f"its header is not understood: {text[:80]!r}")
    if not 2 <= len(shape) <= 5:
        raise FormatError(f"{url} has the shape {shape}; a volume has two to five axes.")
    element = np.dtype(kind)
    if start + math.prod(shape) * element.itemsize > size:
        raise cut_off(url, size, start + math.prod(shape) * element.itemsize)
    return element, stated["fortran_order"], shape, f"{head[6]}.{head[7]}", start


def _broken(url: str, why: str) -> FormatError:
    return FormatError(
        f"{url} is a broken NPY file: {why}. Restore it from its source, or save it again."
    )
