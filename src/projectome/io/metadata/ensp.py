"""A standard JSON for microscopy data without any metadata: one document beside one file.

It says what an image cannot show: specimen, labelling, clearing, microscope, creators, licence.
Each value is either what the file says or the user's word, and ``sources`` tells which. The
document has a published JSON Schema (`metadata_schema`); all that is wrong in one is said at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from projectome.core.space import Direction
from projectome.core.volume import Kind
from projectome.errors import MetadataError, Problem, did_you_mean
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.metadata.ensp_values import (
    Age,
    Count,
    Day,
    Length,
    Licence,
    Moment,
    Orcid,
    Sex,
    Source,
    Species,
    Technique,
    Text,
    Wavelength,
)
from projectome.io.stores import read_bytes, write_bytes

SCHEMA = "https://projectome.readthedocs.io/schema/1.0/microscopy-metadata.json"
"""Name and version of the schema; it changes with what a document may hold."""
LIMIT = 4 * 2**20
"""Largest document [bytes]."""
SHOWN = 60
"""Characters of a wrong value that a message repeats."""
Place: TypeAlias = tuple[str | int, ...]


class Part(BaseModel):
    """What all parts of a document have in common: exact types, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


class Creator(Part):
    """Who made the data."""

    name: Text
    orcid: Orcid | None = None

    @classmethod
    def parse(cls, text: str) -> dict[str, str]:
        """Return the parts of ``Name <ORCID>``, unchecked."""
        match = re.fullmatch(r"\s*(.*?)\s*<(?:https://orcid\.org/)?([^<>]*)>\s*", text)
        return {"name": match[1], "orcid": match[2]} if match else {"name": text.strip()}


class Specimen(Part):
    """What was imaged."""

    species: Species = Field(description="Binomial name.")
    labelling: Text = Field(description="What is made visible and how; 'none' if nothing is.")
    clearing: Text = Field(description="Clearing or expansion protocol; 'none' if there was none.")
    region: Text | None = Field(None, description="Part of the body or brain.")
    subject: Text | None = Field(None, description="Name of the animal or donor in its lab.")
    specimen: Text | None = Field(None, description="Name of the piece of tissue in its lab.")
    sex: Sex | None = None
    age: Age | None = Field(None, description="At death or imaging; ISO 8601, for instance P56D.")
    born: Day | None = Field(None, description="Date of birth.")
    strain: Text | None = None
    genotype: Text | None = None


class Instrument(Part):
    """What it was imaged with."""

    microscope: Text = Field(description="Model, or name in its lab.")
    technique: Technique | None = None
    objective: Text | None = Field(None, description="Model of the objective.")
    magnification: float | None = Field(None, gt=0, le=1000, description="Of the objective.")
    numerical_aperture: float | None = Field(None, gt=0, le=2)
    immersion: Text | None = Field(None, description="Medium, for instance oil.")


class Channel(Part):
    """One channel of the image."""

    name: Text
    dye: Text | None = Field(None, description="Dye or fluorescent protein.")
    excitation_nm: Wavelength | None = None
    emission_nm: Wavelength | None = Field(None, description="Peak, or centre of the filter.")


class Image(Part):
    """What the file is."""

    file: Text = Field(description="Name of the file, without folders.")
    format: Text
    kind: Kind
    axes: Literal["zyx", "czyx"] = Field(description="In the order of `shape`.")
    shape: Annotated[tuple[Count, ...], Field(min_length=3, max_length=4)]
    dtype: Annotated[str, Field(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64))$")]
    voxel_size_um: tuple[Length, Length, Length] = Field(
        description="Along z, y and x, of the volume as it lies in the file."
    )
    toward: tuple[Direction | None, Direction | None, Direction | None] | None = Field(
        None, description="Where z, y and x increase to in the animal; null where unknown."
    )
    expansion: Annotated[float, Field(ge=0.1, le=100)] | None = Field(
        None, description="Micrometres of the volume in one micrometre of tissue."
    )
    time: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Which time point is described, of a file with more than one."
    )
    channels: tuple[Channel, ...] = Field(max_length=4096)
    acquired: Moment | None = Field(None, description="When imaging began; ISO 8601.")


class Metadata(Part):
    """The document that describes one file of microscopy data.

    Attributes
    ----------
    sources
        JSON Pointers to values, and whether each is what the ``file`` says, the ``user``'s word, or
        taken from the ``catalog`` of datasets. A pointer speaks for all beneath it; the longest one
        that fits decides.
    extra
        Facts that have no key of their own.
    """

    model_config = ConfigDict(title="Metadata of a file of microscopy data")

    schema_: Literal["https://projectome.readthedocs.io/schema/1.0/microscopy-metadata.json"] = (
        Field(alias="$schema")
    )
    title: Text
    description: Text | None = None
    licence: Licence = Field(description="SPDX identifier or expression, for instance CC-BY-4.0.")
    creators: Annotated[tuple[Creator, ...], Field(min_length=1, max_length=1000)]
    specimen: Specimen
    instrument: Instrument
    image: Image
    sources: dict[str, Source] = Field(
        description="JSON Pointers to values: is it what the file says, the user's word, or taken "
        "from the catalog of datasets? A pointer speaks for all beneath it; the longest one that "
        "fits decides."
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Facts that have no key of their own."
    )

    @model_validator(mode="after")
    def _fits(self) -> Metadata:
        found = list(_misfits(self.plain()))
        if found:
            text = "; ".join(f"{where}: {message}" for where, message in found)
            raise PydanticCustomError("misfit", "{text}", {"text": text})
        return self

    def plain(self) -> dict[str, Any]:
        """Return the document as plain data, with just the keys that were given."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def source(self, *place: str | int) -> Source:
        """Return whose word a value is.

        Parameters
        ----------
        *place
            Its keys from the top, for instance ``"specimen", "species"``.
        """
        return _source(self.sources, place) or "user"


def metadata_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the document."""
    schema = Metadata.model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA}
    return {**head, **schema}


def parse_metadata(document: Mapping[str, Any], *, where: str) -> Metadata:
    """Return the metadata that a JSON object holds.

    Parameters
    ----------
    document
        The object.
    where
        What it is called in messages.

    Raises
    ------
    MetadataError
        With everything that is wrong.
    """
    try:
        return Metadata.model_validate_json(json.dumps(document))
    except ValidationError as error:
        problems = list(_problems(error, where))
        known = {problem.where for problem in problems}
        for place, message in _misfits(document):
            if f"{where}: {place}" not in known:
                problems.append(Problem("error", f"{where}: {place}", message))
    raise MetadataError(
        f"{where} is no sound metadata of microscopy data. Correct it, or write it anew with: "
        "projectome describe FILE --out metadata.json",
        problems,
    )


def read_metadata(url: str | Path, *, access: Access | None = None) -> Metadata:
    """Read the metadata of a file of microscopy data.

    Parameters
    ----------
    url
        Path or address of the JSON document.
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    Metadata
        Checked; `write_metadata` writes the same document again.

    Raises
    ------
    NotFoundError
        If there is nothing.
    FormatError
        If it is no JSON object, or too large.
    MetadataError
        With everything that is wrong in it.
    """
    where = str(url)
    data = read_bytes(where, access=access, limit=LIMIT)
    document = parse_json(data, url=where)
    loose = list(dict.fromkeys(_loose(data)))
    if loose:
        raise MetadataError(
            f"{where} holds what would not be kept as it is. Correct it.",
            [Problem("error", where, text) for text in loose],
        )
    return parse_metadata(document, where=where)


def write_metadata(metadata: Metadata, url: str | Path, *, access: Access | None = None) -> None:
    """Write the metadata of a file of microscopy data as JSON.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    write_bytes(str(url), json_bytes(metadata.plain()), access=access)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as it is written, for people to read."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _loose(data: bytes) -> list[str]:
    """Return what Python reads, though it is no JSON or is lost when read."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        counted = Counter(key for key, _ in items)
        found.extend(f"the key {key!r} stands {n} times" for key, n in counted.items() if n > 1)

    def constant(name: str) -> None:
        found.append(f"{name} is no number of JSON")

    json.loads(data, object_pairs_hook=pairs, parse_constant=constant)
    return found


def _problems(error: ValidationError, where: str) -> Iterator[Problem]:
    """Yield what pydantic found, in the words of the house."""
    for item in error.errors(include_url=False):
        if item["type"] == "misfit":
            continue  # each of them is told by itself
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # the entries are wrong, which is told of each
        place = ".".join(map(str, item["loc"]))
        message = item["msg"]
        if item["type"] == "extra_forbidden":
            near = did_you_mean(str(item["loc"][-1]), KEYS)
            hint = f"did you mean {near[0]!r}? " if near else ""
            message = f"unknown key; {hint}Facts without a key of their own go into 'extra'."
        elif item["type"] != "missing":
            value = repr(item["input"])
            short = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
            message = f"{short} is not right: {message}"
        yield Problem("error", f"{where}: {place}", message)


def _misfits(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where values do not fit together, and why; what has a wrong type is passed over."""
    image = document.get("image")
    if isinstance(image, Mapping):
        axes, shape, channels = (image.get(key) for key in ("axes", "shape", "channels"))
        if isinstance(axes, str) and isinstance(shape, list) and len(axes) != len(shape):
            yield "image.shape", f"{len(shape)} numbers for the axes {axes}"
        elif isinstance(shape, list) and len(shape) == 4 and isinstance(channels, list):
            if len(channels) != shape[0]:
                yield "image.channels", f"{len(channels)} channels, but the image has {shape[0]}"
        elif isinstance(channels, list) and len(channels) > 1:
            yield "image.channels", f"{len(channels)} channels, but the image has no channel axis"
    sources = document.get("sources")
    if not isinstance(sources, Mapping):
        return
    places = list(values(document))
    pointers = {pointer(place[:n]) for place in places for n in range(len(place) + 1)}
    for key in sources:
        if key not in pointers:
            yield f"sources.{key}", "points to no value of the document"
    silent = [pointer(place) for place in places if _source(sources, place) is None]
    if silent:
        more = f" and {len(silent) - 8} more" if len(silent) > 8 else ""
        names = ", ".join(silent[:8]) + more
        yield "sources", f"says of {names} neither 'file', 'user' nor 'catalog'"


def values(document: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the place of each value whose source is told: a list of numbers is one value."""
    for key, item in document.items():
        if key in ("$schema", "sources", "extra"):
            continue
        yield from _values(item, (key,))


def _values(item: Any, place: Place) -> Iterator[Place]:
    if isinstance(item, Mapping):
        for key, inner in item.items():
            yield from _values(inner, (*place, str(key)))
    elif isinstance(item, list) and any(isinstance(inner, Mapping) for inner in item):
        for number, inner in enumerate(item):
            yield from _values(inner, (*place, number))
    elif item != []:
        yield place


def pointer(place: Place) -> str:
    """Return the JSON Pointer (RFC 6901) to a place."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in place)


def _source(sources: Mapping[str, Any], place: Place) -> Any:
    for n in range(len(place), -1, -1):
        said = sources.get(pointer(place[:n]))
        if said is not None:
            return said
    return None


KEYS = sorted(
    {
        field.alias or name
        for part in (Metadata, Specimen, Instrument, Image, Channel, Creator)
        for name, field in part.model_fields.items()
    }
)
"""All keys that a document may have, to suggest."""
