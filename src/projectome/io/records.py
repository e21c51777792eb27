"""The catalog: records of public datasets, and how a record is read.

A record is a JSON document that says where a dataset lies, whose it is, on what terms, and how its
folders are laid out. Those of the field come with the package; your own lie in ``catalog/`` beside
the settings file (`user_records`). Whatever a record says is checked, all of it at once, and none
of it is ever run.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from projectome.errors import DataError, MetadataError, ParameterError, Problem, UnknownNameError
from projectome.io.access import Access
from projectome.io.address import parse
from projectome.io.documents import parse_json
from projectome.settings import resolve, settings_file

LARGEST = 256 * 1024
"""Largest record [bytes]."""
MOST_RECORDS = 1000
CHANNEL = "{channel}"
"""Stands for the name of a channel in a pattern."""
AMAZON = re.compile(r"(?:(.+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com")
"""Hosts of S3 for web browsers; the bucket comes before it, or first in the path."""

Text = Annotated[str, Field(max_length=4000)]
Line = Annotated[str, Field(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Pattern = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\\]*$")]


class Part(BaseModel):
    """What all parts of a record share: nothing unknown in them, and nothing changes them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Stage(Part):
    """One thing that is made of a recording, and where it lies.

    Attributes
    ----------
    name
        What to call it, for instance ``"stitched"``.
    about
        What it is, in a line.
    holds
        What lies there.
    paths
        Patterns below an asset, a folder a component, as in ``processed/OMEZarr/{channel}.zarr``:
        ``*`` and ``?`` stand for any text within a component, ``{channel}`` for the channel.
    """

    name: Name
    about: Line = ""
    holds: Literal["volumes", "tables", "skeletons", "transforms", "files"] = "volumes"
    paths: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=40, strict=False)]

    @field_validator("paths")
    @classmethod
    def _inside(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            parts = path.split("/")
            if len(parts) > 8 or any(part in ("", ".", "..") for part in parts):
                raise ValueError(f"{path!r} is no path of at most 8 names below an asset")
            for part in parts:
                tail = part.partition(CHANNEL)[2]
                if re.search(r"[*?[\]{}]", tail) or re.search(
                    r"[{}]", part.replace(CHANNEL, "", 1)
                ):
                    raise ValueError(f"{part!r}: one {CHANNEL}, and no pattern after it")
        return paths


class VoxelSize(Part):
    """A voxel size of the dataset, for people: files are read for what holds for them.

    Attributes
    ----------
    what
        Which volumes.
    size_um
        Size of a voxel (z, y, x) [um], as it lies on disk.
    source
        Where the figure comes from.
    """

    what: Line
    size_um: Annotated[
        tuple[
            Annotated[float, Field(gt=0, le=1e4)],
            Annotated[float, Field(gt=0, le=1e4)],
            Annotated[float, Field(gt=0, le=1e4)],
        ],
        Field(strict=False),
    ]
    source: Line


class Expansion(Part):
    """How much larger the tissue is than it was.

    Attributes
    ----------
    factor
        Micrometres on disk in one micrometre of tissue; None where it differs or is not known.
    source
        Where the figure comes from.
    """

    factor: Annotated[float, Field(ge=1, le=100)] | None = None
    source: Line


class ChannelNames(Part):
    """Names of channels that no file of the dataset states.

    Attributes
    ----------
    paths
        Patterns of the volumes that have these channels, below an asset or, in a dataset that is
        one tree, below its address.
    names
        One a channel, all different.
    source
        Where they come from.
    """

    paths: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=40, strict=False)]
    names: Annotated[
        tuple[Annotated[Line, Field(min_length=1)], ...],
        Field(min_length=1, max_length=1000, strict=False),
    ]
    source: Line

    @field_validator("names")
    @classmethod
    def _different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({*names}) < len(names):
            raise ValueError("a name stands for two channels")
        return names

    def covers(self, place: str) -> bool:
        """Say whether a volume at a place below an asset has these channels, or a level of it."""
        names = place.split("/")
        patterns = [path.split("/") for path in self.paths]
        return any(
            0 <= len(names) - len(pattern) <= 1 and all(map(fnmatchcase, names, pattern))
            for pattern in patterns
        )


class Dataset(Part):
    """The record of a dataset.

    Attributes
    ----------
    name, aliases
        What to call it. Several datasets may share an alias, which then means all of them.
    title, about
        A line, and a few.
    providers, licence, terms, citation, documentation, tutorial
        Whose it is and on what terms; `terms`, `documentation` and `tutorial` are addresses.
    url
        Address of the bucket and the folder in it; None where the bucket is not public.
    endpoint, region, anonymous
        How to ask; an empty region is found out. Where `anonymous` is False, the user has to say
        ``--signed``: a record alone sends no credentials anywhere.
    assets
        Patterns of the names of the folders that hold one recording each, whatever the case; empty
        for a dataset that is one tree.
    prefixes
        How the names of a subject's assets begin, with ``{subject}`` in it: only those are listed.
    stages
        What lies in an asset, or in the whole tree.
    channels
        Patterns that the names of channels keep; empty if any text may be one.
    voxel_sizes, expansion
        What is known of the size of things. A volume whose files state no expansion is opened with
        this one, and says so.
    channel_names
        What is known of channels; likewise.
    notes
        Traps.
    """

    name: Name
    aliases: Annotated[tuple[Name, ...], Field(max_length=20, strict=False)] = ()
    title: Line
    about: Text = ""
    providers: Annotated[tuple[Line, ...], Field(min_length=1, max_length=20, strict=False)]
    licence: Line
    terms: Line = ""
    citation: Text = ""
    documentation: Line = ""
    tutorial: Line = ""
    url: Line | None
    endpoint: Line = ""
    region: Line = ""
    anonymous: bool = True
    assets: Annotated[tuple[Pattern, ...], Field(max_length=40, strict=False)] = ()
    prefixes: Annotated[tuple[Pattern, ...], Field(max_length=20, strict=False)] = ()
    stages: Annotated[tuple[Stage, ...], Field(max_length=40, strict=False)] = ()
    channels: Annotated[tuple[Pattern, ...], Field(max_length=20, strict=False)] = ()
    voxel_sizes: Annotated[tuple[VoxelSize, ...], Field(max_length=40, strict=False)] = ()
    expansion: Expansion | None = None
    channel_names: Annotated[tuple[ChannelNames, ...], Field(max_length=40, strict=False)] = ()
    notes: Annotated[tuple[Text, ...], Field(max_length=40, strict=False)] = ()

    @field_validator("url")
    @classmethod
    def _remote(cls, url: str | None) -> str | None:
        if url is not None and parse(url).scheme not in ("s3", "gs", "file"):
            raise ValueError(f"{url!r} is no s3://, gs:// or file address, which can be listed")
        return url

    @field_validator("endpoint", "terms", "documentation")
    @classmethod
    def _web(cls, url: str) -> str:
        if url and not re.match(r"https?://[^/\s]", url):
            raise ValueError(f"{url!r} is no http address")
        return url

    @field_validator("prefixes")
    @classmethod
    def _begins(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if prefix.count("{subject}") != 1 or "/" in prefix:
                raise ValueError(f"{prefix!r} is no beginning of a name with {{subject}} in it")
        return prefixes

    def holds(self, name: str) -> bool:
        """Say whether a folder of that name is an asset of this dataset."""
        return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.assets)

    def stage(self, name: str) -> Stage:
        """Return a stage by name.

        Raises
        ------
        UnknownNameError
            With the stages there are.
        """
        for stage in self.stages:
            if stage.name == name.lower():
                return stage
        raise UnknownNameError("stage", name, [s.name for s in self.stages], where=self.name)

    def address(self, bucket: str | None = None) -> str:
        """Return where the dataset lies.

        Parameters
        ----------
        bucket
            Takes the place of the record's own; where the record has none, that of the settings
            is the next to be asked.

        Raises
        ------
        ParameterError
            If nobody names a bucket.
        """
        if self.url is None:
            named = bucket or resolve()[0].bucket
            if not named:
                raise ParameterError(
                    f"The bucket of {self.name} is not public yet. Name it with --bucket NAME, or "
                    "keep it: projectome config set bucket NAME"
                )
            return f"s3://{named}"
        address = parse(self.url)
        if bucket is None or address.scheme == "file":
            return self.url
        return f"{address.scheme}://{bucket}" + (f"/{address.path}" if address.path else "")

    def access(self, *, endpoint: str | None = None, anonymous: bool | None = None) -> Access:
        """Return how to ask for the dataset.

        Parameters
        ----------
        endpoint, anonymous
            The user's word, which goes before the record's. A request to an endpoint that only a
            record names is never signed unless the user says so.
        """
        own = self.endpoint if endpoint is None else ""
        if own and anonymous is None:
            anonymous = True
        how = Access.of(endpoint=own or endpoint, anonymous=anonymous)
        return how if how.endpoint or how.region else replace(how, region=self.region)


def read_record(data: bytes, *, url: str) -> Dataset:
    """Return the record in a JSON document.

    Parameters
    ----------
    data
        The document.
    url
        Where it came from, for messages.

    Raises
    ------
    FormatError
        If it is no JSON object.
    MetadataError
        If something in it is wrong; carries all that is.
    """
    document = parse_json(data, url=url) if len(data) <= LARGEST else None
    if document is None:
        raise MetadataError(
            f"{url} is larger than {LARGEST} bytes, which no record of a dataset is. Shorten it."
        )
    try:
        return Dataset.model_validate(document)
    except ValidationError as error:
        problems = [_problem(found, url) for found in error.errors(include_url=False)]
    raise MetadataError(
        f"{url} is no sound record of a dataset. Correct it; docs/datasets.md has an example.",
        problems,
    )


def _problem(found: Any, url: str) -> Problem:
    place = ".".join(str(part) for part in found["loc"])
    return Problem("error", f"{url}: {place}", found["msg"].removeprefix("Value error, "))


def user_records() -> Path:
    """Return the folder of your own records."""
    return settings_file().parent / "catalog"


def load_catalog() -> dict[str, Dataset]:
    """Return all records by name: those of the package, and your own, which win.

    Raises
    ------
    MetadataError, FormatError
        If one of your records is broken.
    """
    found = dict(_own())
    folder = user_records()
    try:
        files = sorted(folder.glob("*.json"))[:MOST_RECORDS]
        documents = [(str(file), _bounded(file)) for file in files]
    except OSError as error:
        raise ParameterError(
            f"Cannot read the records in {folder}: {error.strerror}. Correct or remove them."
        ) from None
    for where, data in documents:
        record = read_record(data, url=where)
        found[record.name] = record
    return found


def _bounded(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)


@functools.cache
def _own() -> dict[str, Dataset]:
    folder = resources.files("projectome.datasets.catalog")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    records = [read_record(file.read_bytes(), url=file.name) for file in files]
    return {record.name: record for record in records}


def lookup(name: str, catalog: dict[str, Dataset] | None = None) -> tuple[Dataset, ...]:
    """Return the dataset of a name, or those that share an alias.

    Parameters
    ----------
    name
        Name or alias, whatever the case.
    catalog
        Where to look; everything there is if None.

    Raises
    ------
    UnknownNameError
        With the names that are near.
    """
    known = load_catalog() if catalog is None else catalog
    asked = name.lower()
    if asked in known:
        return (known[asked],)
    found = tuple(record for record in known.values() if asked in record.aliases)
    if not found:
        raise UnknownNameError("dataset", name, names(known.values()), list_with="projectome ls")
    return found


def place_of(url: str, catalog: dict[str, Dataset] | None = None) -> tuple[Dataset, str] | None:
    """Return the dataset that an address lies in, and the path below its asset.

    Parameters
    ----------
    url
        An address, perhaps with the prefix of a reader; of S3 also the one for web browsers.
    catalog
        Where to look; everything there is if None.

    Returns
    -------
    tuple or None
        None if there is no such dataset. The path is below its address where it has no assets.
    """
    plain = _in_bucket(re.sub(r"^\w+://(?=\w+://)", "", url))
    if plain is None:
        return None
    named = resolve()[0].bucket
    known = load_catalog() if catalog is None else catalog
    found = []
    for record in known.values():
        home = record.address() if record.url or named else ""
        inside = plain.removeprefix(f"{home}/")
        name, _, rest = inside.partition("/")
        if home and inside != plain and (not record.assets or record.holds(name)):
            path = rest if record.assets else inside
            found.append((bool(record.assets), len(home), record, path))
    return max(found, key=lambda entry: entry[:2])[2:] if found else None


def in_one_tree(url: str) -> bool:
    """Say whether an address lies in a dataset that has no assets."""
    try:
        found = place_of(url)
    except (DataError, ParameterError):  # of a broken record of the user
        found = None
    return found is not None and not found[0].assets


def _in_bucket(url: str) -> str | None:
    """Return the address with its bucket; None where it names none."""
    address = parse(url)
    root, path = address.root, address.path
    if address.scheme in ("http", "https"):
        host = AMAZON.fullmatch(root)
        if host is None:
            return None
        if not host[1]:  # the bucket comes first in the path
            root, _, path = path.partition("/")
        return f"s3://{host[1] or root}/{path}"
    return f"{address.scheme}://{root}/{path}" if address.scheme in ("s3", "gs") else None


def names(records: Iterable[Dataset]) -> list[str]:
    """Return all names and aliases, each once."""
    return sorted({name for record in records for name in (record.name, *record.aliases)})


def is_dataset(text: str) -> bool:
    """Say whether a text names a dataset of the catalog, and neither a path nor an address."""
    if re.search(r"[/\\:]", text) or os.path.exists(text):
        return False
    known = load_catalog().values()
    return text.lower() in names(known)
