"""From a file of microscopy data and the user's word to a document that describes it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from projectome.core.volume import Pyramid
from projectome.errors import MetadataError, ParameterError, Problem, UnknownNameError
from projectome.io.metadata.ensp import (
    SCHEMA,
    Creator,
    Metadata,
    parse_metadata,
    pointer,
    values,
)
from projectome.io.metadata.ensp_values import Source
from projectome.io.metadata.microscope import microscope_facts
from projectome.io.open import open_volume
from projectome.io.volumes.options import name_of
from projectome.workflows.describe_word import AboutData, AboutInstrument, AboutSpecimen, Word

Ask = Callable[[str], str]
"""Puts a question to the user and returns the answer."""


class Description(NamedTuple):
    """What is known of a file.

    Attributes
    ----------
    metadata
        The document.
    problems
        Where the user's word, which is kept, is not what the file says.
    """

    metadata: Metadata
    problems: tuple[Problem, ...]


Place = tuple[str | int, ...]
Facts = dict[Place, Any]
SECTIONS = {"specimen": AboutSpecimen, "instrument": AboutInstrument}
APART = ("acquired", "excitation", "emission", "creators", "dyes")
"""What is not simply a key of its section."""
REQUIRED: dict[Place, tuple[str, str]] = {
    ("specimen", "species"): ("--species NAME", 'Species (binomial name, "Mus musculus")'),
    ("specimen", "labelling"): ("--labelling TEXT", "Labelling (what is visible, and how)"),
    ("specimen", "clearing"): ("--clearing TEXT", "Clearing or expansion protocol (or none)"),
    ("instrument", "microscope"): ("--microscope TEXT", "Microscope (model, or name in its lab)"),
    ("creators",): (
        '--creator "NAME <ORCID>"',
        "Creators (NAME <ORCID>; between them a semicolon)",
    ),
    ("licence",): ("--licence ID", "Licence (SPDX identifier, as CC-BY-4.0)"),
}
"""What a description cannot do without, its option, and the question."""
WORD = frozenset(field.name for field in dataclasses.fields(Word))
OPENING = frozenset(inspect.signature(open_volume).parameters) - {"url"}
AGE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*(day|week|month|year)s?\s*")


def describe(
    url: str,
    *,
    template: Metadata | None = None,
    ask: Ask | None = None,
    **said: Any,
) -> Description:
    """Describe a file of microscopy data: what it says itself, and the user's word for the rest.

    Parameters
    ----------
    url
        Path or address of the file.
    template
        An earlier description, for instance of a file of the same experiment. What the user said
        there and does not say now is the user's word here too; what that file said is not taken.
    ask
        How to ask for what is missing; an error names it if None.
    **said
        What the user says, which wins over the file: the fields of
        `projectome.workflows.describe_word.Word`, for instance ``species``, and the options of
        `projectome.io.open.open_volume`, for instance ``voxel_size``. None is nothing said.

    Returns
    -------
    Description
        The document, and where the user and the file differ.

    Raises
    ------
    ParameterError
        With everything that is missing, or everything that is wrong in the user's word.
    UnknownNameError
        If something said is no fact there is a place for.
    ProjectomeError
        As `projectome.io.open.open_volume` does.

    Examples
    --------
    >>> describe("brain.czi", species="Mus musculus", licence="CC0-1.0")  # doctest: +SKIP
    """
    options = {name: value for name, value in said.items() if value is not None}
    word = {name: options.pop(name) for name in WORD & options.keys()}
    for name in options.keys() - OPENING:
        raise UnknownNameError("fact", name, {*WORD, *OPENING})
    now = _facts_of_word(Word(**word))
    mine = _earlier(template) | now
    opening = _opening(mine, options)
    pyramid = _open(url, opening, mine, ask)
    told, problems = microscope_facts(pyramid), _beyond(mine, now, pyramid)
    facts = _geometry(url, pyramid) | told
    for place, value in mine.items():
        if place in told and told[place] != value:
            text = f"the file says {told[place]!r}; your word {value!r} is kept"
            problems.append(Problem("warning", ".".join(map(str, place)), text))
    known = facts | mine
    known |= (answers := _asked(known, ask))
    user = {**mine, **answers, **_stated(pyramid)}
    document = _document(known)
    document["sources"] = _sources(document, user, _of_catalog(pyramid))
    try:
        metadata = parse_metadata(document, where=url)
    except MetadataError as error:
        wrong = [
            f"\n  - {_option(p.where.rpartition(': ')[2])}: {p.message}" for p in error.problems
        ]
        raise ParameterError(f"{url} cannot be described so:{''.join(wrong)}") from None
    return Description(metadata, tuple(problems))


def _option(place: str) -> str:
    """Return the option that a value of the document comes from."""
    keys = {"creators": "creator", "excitation_nm": "excitation", "emission_nm": "emission"}
    for part in reversed(place.split(".")):
        name = keys.get(part, part)
        if name in keys.values() or name == "dye" or name in Word.__dataclass_fields__:
            return f"--{name.replace('_', '-')}"
    return place


def _beyond(said: Facts, now: Facts, pyramid: Pyramid) -> list[Problem]:
    """Take out what an earlier description says of channels that this file does not have.

    Raises
    ------
    ParameterError
        If the user speaks of them now.
    """
    count = max(1, len(pyramid[0].channels))
    beyond = [p for p in said if len(p) == 4 and int(p[2]) >= count]
    for place in beyond:
        if place in now:
            raise ParameterError(
                f"{_option(str(place[3]))} speaks of channel {place[2]}, but {pyramid.name} has "
                f"{count}, counted from 0."
            )
        del said[place]
    text = f"the earlier description has more channels than {count}; what it says of them is left"
    return [Problem("warning", "image.channels", text)] if beyond else []


def _facts_of_word(word: Word) -> Facts:
    """Return what the user says by its place in the document."""
    facts: Facts = {}
    for section, kind in (*SECTIONS.items(), ("", AboutData)):
        for field in dataclasses.fields(kind):
            value = getattr(word, field.name)
            if value is not None and field.name not in APART:
                facts[(section, field.name) if section else (field.name,)] = value
    if word.age is not None:
        match = AGE.fullmatch(word.age)
        facts["specimen", "age"] = f"P{match[1]}{match[2][0].upper()}" if match else word.age
    if word.acquired is not None:
        facts["image", "acquired"] = word.acquired
    if word.creators:
        facts["creators",] = [Creator.parse(text) for text in word.creators]
    for key, items in (
        ("dye", word.dyes),
        ("excitation_nm", word.excitation or ()),
        ("emission_nm", word.emission or ()),
    ):
        for number, item in enumerate(items):
            facts["image", "channels", number, key] = item
    return facts


def _earlier(template: Metadata | None) -> Facts:
    """Return what the user said in an earlier description."""
    if template is None:
        return {}
    plain, facts = template.plain(), Facts()
    for place in values(plain):
        if template.source(*place) == "user" and place[0] != "creators":
            item: Any = plain
            for key in place:
                item = item[key]
            facts[place] = item
    if template.source("creators") == "user" or template.source("creators", 0) == "user":
        facts["creators",] = plain["creators"]
    return facts


def _opening(said: Facts, opening: Mapping[str, Any]) -> dict[str, Any]:
    """Return how to open the file: as asked now, else as it was said earlier.

    The geometry leaves `said`: once the file is open, the volume has it.
    """
    found = dict(opening)
    toward = said.pop(("image", "toward"), None)
    for name, key in (
        ("voxel_size", "voxel_size_um"),
        ("expansion", "expansion"),
        ("time", "time"),
    ):
        value = said.pop(("image", key), None)
        if value is not None:
            found.setdefault(name, tuple(value) if name == "voxel_size" else value)
    if toward is not None and None not in toward and "orientation" not in found:
        code = "".join(direction[0] for direction in toward)
        found |= {"orientation": code, "meaning": "toward"}
    for place in [place for place in said if place[:1] == ("image",) and len(place) == 2]:
        if place != ("image", "acquired"):
            del said[place]  # what only the file can say
    return found


def _open(url: str, opening: dict[str, Any], said: Facts, ask: Ask | None) -> Pyramid:
    """Open the file; where its voxel size is missing, ask, or tell all that is missing at once."""
    try:
        return open_volume(url, **opening)
    except ParameterError as error:
        message = str(error)
        if "--voxel-size" not in message or "voxel_size" in opening:
            raise
        if ask is not None:
            answer = ask(f"{message}\nVoxel size Z,Y,X [um]")
            return open_volume(url, **(opening | {"voxel_size": _numbers(answer)}))
        missing = [option for place, (option, _) in REQUIRED.items() if place not in said]
        if missing:
            message += f" And say, where the file does not: {', '.join(missing)}."
        raise ParameterError(message) from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in re.split(r"[,\s]+", text.strip()))
    except ValueError:
        raise ParameterError(f"A voxel size is three numbers Z,Y,X in um, not {text!r}.") from None


def _geometry(url: str, pyramid: Pyramid) -> Facts:
    """Return what every volume knows of itself."""
    volume, space = pyramid[0], pyramid.space
    shape = volume.array.shape
    facts: Facts = {
        ("$schema",): SCHEMA,
        ("title",): name_of(url),
        ("image", "file"): name_of(url),
        ("image", "format"): str(pyramid.metadata.get("format") or "unknown"),
        ("image", "kind"): volume.kind,
        ("image", "axes"): "czyx"[-len(shape) :],
        ("image", "shape"): list(shape),
        ("image", "dtype"): str(volume.dtype),
        ("image", "voxel_size_um"): list(volume.voxel_size),
    }
    if any(space.toward):
        facts["image", "toward"] = list(space.toward)
    if space.expansion != 1:
        facts["image", "expansion"] = space.expansion
    for number, name in enumerate(volume.channels):
        facts["image", "channels", number, "name"] = name if name.strip() else f"channel {number}"
    stated = pyramid.metadata.get("user")
    if isinstance(stated, Mapping) and "time" in stated:
        facts["image", "time"] = stated["time"]
    return facts


def _stated(pyramid: Pyramid) -> Facts:
    """Return the places that the user spoke of when the file was opened."""
    stated = pyramid.metadata.get("user")
    if not isinstance(stated, Mapping):
        return {}
    keys = {
        "voxel_size": "voxel_size_um",
        "axes": "axes",
        "orientation": "toward",
        "expansion": "expansion",
        "time": "time",
    }
    return {("image", key): stated[name] for name, key in keys.items() if name in stated}


def _asked(known: Facts, ask: Ask | None) -> Facts:
    """Return answers to what is required and missing.

    Raises
    ------
    ParameterError
        If there is something and nobody to ask; it names all of it.
    """
    missing = {place: text for place, text in REQUIRED.items() if place not in known}
    if missing and ask is None:
        options = ", ".join(option for option, _ in missing.values())
        raise ParameterError(f"A description lacks what the file does not say. Give it: {options}.")
    facts: Facts = {}
    for place, (_, question) in missing.items():
        wrong = ""
        while ask is not None and (place not in facts or wrong):
            answer = ask(f"{wrong}{question}").strip()
            facts[place] = answer
            if place == ("creators",):
                facts[place] = [Creator.parse(name) for name in answer.split(";")]
            wrong = _wrong(place, facts[place])
    return facts


def _wrong(place: Place, value: object) -> str:
    """Return what is wrong with one value of a document; empty if nothing is."""
    document = value
    for key in reversed(place):
        document = {str(key): document}
    start = ".".join(map(str, place))
    try:
        parse_metadata(cast(dict[str, Any], document), where="answer")
    except MetadataError as error:
        found = [p for p in error.problems if p.where.startswith(f"answer: {start}")]
        return "".join(f"{problem.message}\n" for problem in found)
    return ""


def _document(facts: Facts) -> dict[str, Any]:
    """Return facts as a document, sections in the order of the model."""
    document: dict[str, Any] = {}
    for key in ("$schema", "title", "description", "licence", "creators"):
        if (key,) in facts:
            document[key] = facts[key,]
    document |= {"specimen": {}, "instrument": {}, "image": {"channels": []}}
    channels: dict[int, dict[str, Any]] = {}
    for place, value in facts.items():
        if len(place) == 2:
            document[str(place[0])][place[1]] = value
        elif len(place) == 4:
            channels.setdefault(int(place[2]), {})[str(place[3])] = value
    if list(channels) == [0] and "name" not in channels[0]:
        channels[0]["name"] = "channel 0"  # an image without a channel axis has one
    document["image"]["channels"] = [channels[number] for number in sorted(channels)]
    return document


def _of_catalog(pyramid: Pyramid) -> set[Place]:
    """Return the places whose values no file states, but the record of the dataset."""
    taken = pyramid.metadata.get("catalog")
    names = taken if isinstance(taken, Mapping) else {}
    found: set[Place] = {("image", "expansion")} if "expansion" in names else set()
    if "channels" in names:
        count = len(pyramid[0].channels)
        found |= {("image", "channels", number, "name") for number in range(count)}
    return found


def _sources(document: Mapping[str, Any], user: Facts, known: set[Place]) -> dict[str, Source]:
    """Return for each value of a document whose word it is."""

    def source(place: Place) -> Source:
        said = any(place[:n] in user for n in range(1, len(place) + 1))
        return "user" if said else "catalog" if place in known else "file"

    return {pointer(place): source(place) for place in values(document)}
