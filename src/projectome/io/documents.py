"""JSON documents from any store, bounded in size and depth."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from projectome.core.space import Space
from projectome.errors import FormatError
from projectome.io.access import Access
from projectome.io.stores import read_bytes

DEPTH_LIMIT = 64
"""Deepest nesting of a document."""


def parse_json(data: bytes, *, url: str) -> dict[str, Any]:
    """Return a JSON object.

    Parameters
    ----------
    data
        The document, UTF-8.
    url
        Where it came from, for messages.

    Raises
    ------
    FormatError
        If it is empty, no JSON, no object, or nested too deeply.
    """
    try:
        document = json_value(data) if data.strip() else None
        problem = "it is empty" if not data.strip() else ""
    except ValueError as error:
        document, problem = None, str(error)
    if isinstance(document, dict) and _depth(document) <= DEPTH_LIMIT:
        return document
    if isinstance(document, dict):
        problem = f"it is nested deeper than {DEPTH_LIMIT} levels"
    raise FormatError(
        f"{url} is not a JSON document of metadata: "
        f"{problem or f'it holds a {type(document).__name__}, not an object'}. Restore it from its "
        "source or write it again."
    )


def json_value(data: bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    r"""Return what JSON says, with ``?`` for half a character, as in ``"\ud800"``.

    Text that cannot be encoded again would break whatever is made of it.

    Parameters
    ----------
    data
        The document.
    parse_float
        Makes numbers with a point or an exponent.

    Raises
    ------
    ValueError
        If it is no JSON, holds a whole number beyond 64 bits, or is nested without end.
    """
    return _parsed(data, parse_float)


def _parsed(data: bytes, parse_float: Callable[[str], Any] | None) -> Any:
    try:
        document = json.loads(data, parse_int=_whole, parse_float=parse_float)
        if b"\\ud" in data.lower():
            whole = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
            document = json.loads(whole)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    return document


def _whole(digits: str) -> int:
    """Return a whole number that 64 bits hold, as all that formats know."""
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"it holds the number {digits[:24]}, too large for 64 bits")
    return number


def _depth(value: object) -> int:
    depth, layer = 0, [value]
    while layer:
        depth += 1
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        layer = inner
    return depth


def restore_space(said: Any) -> Space:
    """Return the space that ``dataclasses.asdict`` turned into plain data.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is something else; the caller knows the file to name.
    """
    return Space(
        name=str(said["name"]),
        axes=tuple(said["axes"]),
        toward=tuple(said["toward"]),
        unit=said["unit"],
        expansion=float(said["expansion"]),
        span=said.get("span"),
    )


def read_json(url: str, *, access: Access | None = None) -> tuple[dict[str, Any], bytes]:
    """Return a JSON object and the bytes that it was parsed from.

    Raises
    ------
    FormatError
        If it is larger than 64 MiB or no sound document.
    NotFoundError
        If there is nothing.
    """
    data = read_bytes(url, access=access)
    return parse_json(data, url=url), data
