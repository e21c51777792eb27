"""Types and attributes of HDF5, in plain words of numpy and Python."""

from __future__ import annotations

from typing import Any

import numpy as np

PIECE = 2**22
"""Rows that are best read together where there are no chunks [bytes]."""


def element_of(found: Any) -> np.dtype[np.generic]:
    """Return the element type, native byte order, without notes of h5py."""
    element = np.dtype(found.dtype)
    return np.dtype(element.str).newbyteorder("=") if element.kind in "iufb" else element


def read_together(found: Any) -> tuple[int, ...]:
    """Return the elements an axis of a dataset that are best read together."""
    shape = tuple(int(n) for n in found.shape)
    if found.chunks:
        return tuple(max(1, min(c, n)) for c, n in zip(found.chunks, shape, strict=True))
    together, left = [1] * len(shape), PIECE // element_of(found).itemsize
    for axis in reversed(range(len(shape))):
        together[axis] = max(1, min(shape[axis], left))
        left //= max(1, shape[axis])
    return tuple(together)


def plain(value: Any) -> Any:
    """Return an attribute as plain data; None if it is neither numbers nor text."""
    if isinstance(value, (bytes, str)):
        return _text(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        # Imaris writes text as arrays of single characters.
        if value.dtype.itemsize == 1 and value.ndim == 1:
            return _text(b"".join(value.tolist()))
        return [_text(item) for item in value.ravel().tolist()]
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        items = value.ravel().tolist()
        texts = all(isinstance(item, (str, bytes)) for item in items)
        return [_text(item) for item in items] if texts else None
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist() if value.dtype.kind in "iufb" else None
    return None


def is_text(name: str) -> bool:
    """Say whether a name is sound; the library lets broken ones through."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: bytes | str) -> str:
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.rstrip("\0")
