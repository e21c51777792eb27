"""Values of the standard JSON for microscopy data, each with what it has to look like."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from projectome.errors import did_you_mean
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL

LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "PDDL-1.0")
"""Licences that data often have, to suggest."""
COMMON_NAMES = {
    "mouse": "Mus musculus",
    "rat": "Rattus norvegicus",
    "human": "Homo sapiens",
    "marmoset": "Callithrix jacchus",
    "macaque": "Macaca mulatta",
    "zebrafish": "Danio rerio",
    "fruit fly": "Drosophila melanogaster",
    "chicken": "Gallus gallus",
}
Source: TypeAlias = Literal["file", "user", "catalog"]
Technique: TypeAlias = Literal[
    "confocal", "spinning-disk", "two-photon", "light-sheet", "widefield"
]
Sex: TypeAlias = Literal["female", "male", "unknown"]


def _licence(text: str) -> str:
    try:
        found = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        found = ""
    if found != text:
        near = [found] if found else did_you_mean(text, LICENCES)
        hint = f"Did you mean {near[0]!r}?" if near else "Common: " + ", ".join(LICENCES) + "."
        raise PydanticCustomError("licence", "no SPDX licence. {hint}", {"hint": hint})
    return text


def _species(text: str) -> str:
    if not re.fullmatch(r"[A-Z][a-z]+( [a-z][a-z-]*){1,2}", text):
        known = COMMON_NAMES.get(text.strip().lower(), "Mus musculus")
        text = f"no binomial name of a species; write for instance {known!r}"
        raise PydanticCustomError("species", "{text}", {"text": text})
    return text


def _orcid(text: str) -> str:
    """Check the last character, which is a checksum (ISO 7064, MOD 11-2)."""
    if not re.fullmatch(ORCID, text):
        raise PydanticCustomError("orcid", "no ORCID iD as 0000-0002-1825-0097")
    total = 0
    for digit in text.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    if "0123456789X"[(12 - total % 11) % 11] != text[-1]:
        raise PydanticCustomError("orcid", "no ORCID iD: a character of it is mistyped")
    return text


def is_moment(text: str) -> bool:
    """Say whether a text is a date, or a date and time, as a document holds it."""
    return bool(re.fullmatch(MOMENT, text)) and _read_by(datetime.fromisoformat, text)


def _moment(text: str) -> str:
    if not is_moment(text):
        raise PydanticCustomError("moment", "no date and time as 2026-05-01T14:30:00+02:00")
    return text


def _day(text: str) -> str:
    if not re.fullmatch(DAY, text) or not _read_by(date.fromisoformat, text):
        raise PydanticCustomError("day", "no date as 2026-05-01")
    return text


def _read_by(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _age(text: str) -> str:
    if not re.fullmatch(AGE, text):
        raise PydanticCustomError("age", "no age as P56D, P8W, P3M or P2Y (ISO 8601)")
    return text


ORCID = r"^(\d{4}-){3}\d{3}[\dX]$"
DAY = r"^\d{4}-\d{2}-\d{2}$"
MOMENT = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}[0-9:.+Z-]{0,32})?$"
AGE = r"^P\d{1,9}(\.\d{1,9})?[DWMY]$"
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"\S")]
Licence = Annotated[Text, AfterValidator(_licence)]
Species = Annotated[Text, AfterValidator(_species)]
Length = Annotated[float, Field(ge=SMALLEST_VOXEL, le=LARGEST_VOXEL)]
Count = Annotated[int, Field(ge=1)]
Wavelength = Annotated[float, Field(ge=100, le=3000)]
Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "pattern": DAY})]
Moment = Annotated[
    str, AfterValidator(_moment), WithJsonSchema({"type": "string", "pattern": MOMENT})
]
Age = Annotated[str, AfterValidator(_age), WithJsonSchema({"type": "string", "pattern": AGE})]
Orcid = Annotated[str, AfterValidator(_orcid), WithJsonSchema({"type": "string", "pattern": ORCID})]
