"""Axes of OME-NGFF coordinate systems: meaning, unit and anatomical direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from projectome.core.space import OPPOSITE, Direction, micrometres_per
from projectome.errors import ParameterError
from projectome.io.volumes.ngff_transforms import Findings

AxisKind: TypeAlias = Literal["space", "time", "channel", "other"]
SPACE: AxisKind = "space"
KINDS_BY_NAME: dict[str, AxisKind] = {
    **dict.fromkeys("zyx", SPACE),
    "t": "time",
    "c": "channel",
}
KINDS_BY_TYPE: dict[object, AxisKind] = {
    "space": "space",
    "time": "time",
    "channel": "channel",
    **dict.fromkeys(("custom", "coordinate", "displacement"), "other"),
    # The axes of an array, which 0.6 may name: indices in space unless their name says otherwise.
    "array": "space",
}
# RFC-4 writes "x-to-y" with words for many animals; these are the lines of a brain.
WORDS: dict[str, Direction] = {
    **{word: word for word in OPPOSITE},
    "dorsal": "superior",
    "ventral": "inferior",
    "rostral": "anterior",
    "cranial": "anterior",
    "caudal": "posterior",
}


@dataclass(frozen=True, slots=True)
class NgffAxis:
    """One axis of a coordinate system.

    Attributes
    ----------
    name
        As written, in lower case.
    kind
        What it means.
    micrometres
        Micrometres in one unit; 1 for axes that are not space.
    toward
        Direction in which its coordinate increases, None if unknown.
    """

    name: str
    kind: AxisKind
    micrometres: float = 1.0
    toward: Direction | None = None


def parse_axes(
    listed: object, where: str, findings: Findings, *, said: str | None = None, strict: bool = False
) -> tuple[NgffAxis, ...]:
    """Parse a list of axes.

    Parameters
    ----------
    listed
        Objects with a name; or names alone, as in version 0.3.
    where
        Their place in the document, for problems.
    findings
        Collects what is wrong or doubtful.
    said
        The user's word in place of names and types, one letter an axis.
    strict
        Whether an unknown type is an error, as since 0.6, or a warning.

    Returns
    -------
    tuple of NgffAxis
        Empty where an error was found.
    """
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        findings.error(where, "A list of axes is needed.")
        return ()
    if said is not None and len(said) != len(listed):
        findings.error(where, f"--axes {said!r} does not fit the {len(listed)} axes there.")
        return ()
    found = []
    for index, entry in enumerate(listed):
        data = entry if isinstance(entry, Mapping) else {"name": entry}
        if said is not None:
            kind = KINDS_BY_NAME.get(said[index].lower(), "other")
            data = {"unit": data.get("unit"), "name": said[index], "type": kind}
        found.append(_axis(data, f"{where}[{index}]", findings, strict=strict and said is None))
    names = [axis.name for axis in found]
    kinds = [axis.kind for axis in found]
    if len(set(names)) != len(names):
        findings.error(where, f"Each axis needs a name of its own: {names}.")
    if len(found) > 5:
        findings.error(where, f"At most five axes are read, not {len(found)}.")
    if kinds.count("space") not in (2, 3):
        findings.error(where, f"Two or three axes of space are needed, not {kinds.count('space')}.")
    if kinds.count("channel") > 1:
        findings.error(where, "At most one axis of channels is read.")
    return tuple(found)


def _axis(data: Mapping[str, object], where: str, findings: Findings, *, strict: bool) -> NgffAxis:
    name, stated = data.get("name"), data.get("type")
    if not isinstance(name, str) or not name:
        findings.error(f"{where}.name", "An axis needs a name.")
        return NgffAxis(where, KINDS_BY_TYPE.get(stated, "other"))
    name = name.lower()
    kind = KINDS_BY_TYPE.get(stated) if isinstance(stated, str) else None
    if kind is None:
        kind = KINDS_BY_NAME.get(name, "other")
        if stated:
            tell = findings.error if strict else findings.warn
            known = ", ".join(map(str, KINDS_BY_TYPE))
            tell(f"{where}.type", f"Unknown type {stated!r}; read as {kind}. Known: {known}.")
        else:
            findings.warn(f"{where}.type", f"Missing; {name!r} is read as {kind}.")
    if stated == "array":
        kind = KINDS_BY_NAME.get(name, kind)
    if kind != "space":
        return NgffAxis(name, kind)
    toward = _toward(data.get("orientation"), f"{where}.orientation", findings)
    return NgffAxis(name, kind, _unit(data.get("unit"), f"{where}.unit", findings), toward)


def _unit(unit: object, where: str, findings: Findings) -> float:
    if not unit:
        findings.warn(where, "Missing; read as micrometer.")
        return 1.0
    try:
        return micrometres_per(str(unit))
    except ParameterError as error:
        findings.error(where, str(error))
        return 1.0


def _toward(orientation: object, where: str, findings: Findings) -> Direction | None:
    """Read RFC-4: ``right-to-left`` is an axis whose coordinate increases toward left."""
    if orientation is None:
        return None
    data = orientation if isinstance(orientation, Mapping) else {"value": orientation}
    text = str(data.get("value") or data.get("direction") or "")
    start, _, end = text.lower().partition("-to-")
    found = WORDS.get(end)
    if found is None or WORDS.get(start) != OPPOSITE[found]:
        findings.warn(where, f"{text!r} is not understood; the direction stays unknown.")
        return None
    if start not in OPPOSITE:
        findings.warn(where, f"{text!r} is read as {OPPOSITE[found]} to {found}.")
    return found
