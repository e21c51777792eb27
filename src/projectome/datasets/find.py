"""Finding recordings, stages and channels in a public dataset, by listing folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from projectome.datasets.walk import LISTED, Piece, Walk, is_plain
from projectome.errors import (
    AccessDeniedError,
    NotFoundError,
    ParameterError,
    UnknownNameError,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.kinds import peek_at
from projectome.io.metadata.asset_names import AssetName, parse_asset_name
from projectome.io.reading import Entry
from projectome.io.records import Dataset, Stage, lookup

AT_ONCE = 48
"""Assets that are looked into at a time."""
PEEKED = 200
"""Volumes of which kind and levels are looked up; of more, only the names are told."""
LONGEST_REGEX = 1000
LEVEL = re.compile(r"s?\d{1,3}")
VOLUMES = (".zarr", ".n5", ".precomputed")
"""Folders named so are volumes, whatever else the stage holds."""

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and of how much, where that is known."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; everything left out is anything.

    Attributes
    ----------
    subject
        The animal, exactly.
    stage
        Name of a stage of the dataset.
    channel
        Pattern of a channel with ``*`` and ``?``, whatever the case.
    name
        Regular expression found anywhere in an asset's name or, where a dataset is one tree, in
        the path of a volume. Matched in linear time: RE2, without look-around and back references.
    """

    subject: str | None = None
    stage: str | None = None
    channel: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.subject is not None and not re.fullmatch(r"[\w.-]{1,64}", self.subject, re.ASCII):
            raise ParameterError(
                f"A subject is a name of letters, digits, dots, dashes and underscores, not "
                f"{self.subject!r}. For a pattern use --name."
            )
        if self.channel is not None and not 0 < len(self.channel) <= 200:
            raise ParameterError("A channel is a name or a pattern of 1 to 200 letters: 'Ex_561*'.")
        _matches(self.name, [""])

    @property
    def narrows(self) -> bool:
        """Whether it asks for less than everything."""
        return any((self.subject, self.stage, self.channel, self.name))


@dataclass(frozen=True, slots=True)
class Asset:
    """One recording, or what was made of it.

    Attributes
    ----------
    dataset
        Name of its dataset.
    name, url
        Of its folder.
    parsed
        What the name says; None for a dataset that is one tree.
    pieces
        What was found in it; empty where nobody looked.
    problem
        Why not everything could be looked at.
    """

    dataset: str
    name: str
    url: str
    parsed: AssetName | None
    pieces: tuple[Piece, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes
    ----------
    assets
        Those that were asked for, sorted by name.
    unrecognised
        Names that break the conventions of the dataset, so that nobody knows whether they belong.
    without
        Assets that were looked into and hold nothing of what was asked.
    others
        Recordings of other kinds in the same bucket, counted by platform.
    """

    assets: tuple[Asset, ...]
    unrecognised: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)


def find(
    dataset: str,
    query: Query | None = None,
    *,
    bucket: str | None = None,
    endpoint: str | None = None,
    anonymous: bool | None = None,
    on_progress: Progress | None = None,
) -> Finding:
    """Find recordings of a public dataset, and what lies in them.

    Only folders are listed, one request for a thousand names, and small documents read. With a
    subject only the names of that subject are asked for, where the naming allows. Assets are looked
    into only if the query narrows anything down.

    Parameters
    ----------
    dataset
        Name or alias in the catalog.
    query
        What to look for; everything if None.
    bucket, endpoint, anonymous
        Of the object store; those of the record, then those of the settings, if None.
    on_progress
        Told what is being done.

    Returns
    -------
    Finding
        What was found; nothing is no error.

    Raises
    ------
    UnknownNameError
        If there is no such dataset or stage.
    ParameterError
        If the query makes no sense, or nobody names the bucket.
    StoreError
        If the store does not answer as hoped.
    """
    wanted = query or Query()
    tell = on_progress or (lambda text, done, total: None)
    records = _with_stage(lookup(dataset), wanted.stage)
    places: dict[tuple[str, Access], list[Dataset]] = {}
    for record in records:
        how = record.access(endpoint=endpoint, anonymous=anonymous)
        places.setdefault((record.address(bucket), how), []).append(record)
    findings = [
        _find_in(url, how, here, wanted, tell)
        for (url, how), here in sorted(places.items(), key=str)
    ]
    others: Counter[str] = Counter()
    for found in findings:
        others.update(found.others)
    return Finding(
        assets=tuple(sorted((a for f in findings for a in f.assets), key=lambda a: a.name)),
        unrecognised=tuple(name for f in findings for name in f.unrecognised),
        without=tuple(name for f in findings for name in f.without),
        others=dict(others.most_common()),
    )


def _with_stage(records: Sequence[Dataset], stage: str | None) -> list[Dataset]:
    """Return the records that know a stage."""
    known = {s.name for record in records for s in record.stages}
    if stage is not None and stage.lower() not in known:
        where = ", ".join(record.name for record in records)
        raise UnknownNameError("stage", stage, known, where=where)
    return [r for r in records if stage is None or stage.lower() in {s.name for s in r.stages}]


def _find_in(
    url: str, how: Access, records: Sequence[Dataset], query: Query, tell: Progress
) -> Finding:
    """Find what is asked for in one place that some datasets share."""
    trees = [record for record in records if not record.assets]
    found = [Asset(record.name, record.name, url, None) for record in trees]
    sorted_out = _Sorted()
    flat = [record for record in records if record.assets]
    if flat:
        sorted_out = _candidates(url, how, flat, query, tell)
    assets = [*found, *sorted_out.assets]
    without: list[str] = []
    if query.narrows or trees:
        by_name = {record.name: record for record in records}
        looked = _look_into(assets, by_name, query, how, tell)
        asked_inside = query.stage is not None or query.channel is not None
        # Without a platform in its name, an asset belongs if something of the dataset is in it.
        kept = [a for a in looked if a.pieces or a.problem or not (asked_inside or _vague(a))]
        without = [a.name for a in looked if a not in kept and not _vague(a)]
        assets = _with_levels(_once(kept), how, tell)
    return Finding(tuple(assets), tuple(sorted_out.unrecognised), tuple(without), sorted_out.others)


def _vague(asset: Asset) -> bool:
    return asset.parsed is not None and asset.parsed.platform is None


def _once(assets: Sequence[Asset]) -> list[Asset]:
    """Drop the empty second entry of an asset that several datasets might have."""
    filled = {a.url for a in assets if a.pieces}
    return [a for a in assets if a.pieces or a.url not in filled]


@dataclass
class _Sorted:
    """Names of a bucket, sorted by what they tell."""

    assets: list[Asset] = field(default_factory=list)
    unrecognised: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def _candidates(
    url: str, how: Access, records: Sequence[Dataset], query: Query, tell: Progress
) -> _Sorted:
    """Return the assets in a bucket that may be meant, by their names."""
    tell(f"listing {url}", 0, None)
    if query.subject is not None and all(record.prefixes for record in records):
        beginnings = {
            prefix.replace("{subject}", query.subject) for r in records for prefix in r.prefixes
        }
        entries: dict[str, Entry] = {}
        for beginning in sorted(beginnings):
            found = stores.list_beginning(url, beginning, access=how)
            entries |= {entry.name: entry for entry in found}
        narrowed = _sort_out(url, list(entries.values()), records, query)
        if narrowed.assets:
            return narrowed
        # Nothing is named after the conventions: look at all names for those that break them.
    return _sort_out(url, stores.list_folder(url, access=how), records, query)


def _sort_out(
    url: str, entries: Sequence[Entry], records: Sequence[Dataset], query: Query
) -> _Sorted:
    out = _Sorted()
    names = [entry.name for entry in entries if entry.is_folder and is_plain(entry.name)]
    for name in _matches(query.name, names):
        parsed = parse_asset_name(name)
        mine = [record for record in records if record.holds(name)]
        if parsed is None:
            if query.subject is None or query.subject in name:
                out.unrecognised.append(name)
            continue
        if query.subject is not None and parsed.subject != query.subject:
            continue
        if not mine and parsed.platform is None and (query.subject or query.name):
            mine = list(records)
        for record in mine:
            out.assets.append(Asset(record.name, name, f"{url.rstrip('/')}/{name}", parsed))
        if not mine:
            out.others[parsed.platform or "no platform in the name"] += 1
    return out


def _matches(regex: str | None, names: Sequence[str]) -> list[str]:
    """Return the names in which a regular expression is found, in linear time."""
    if regex is None:
        return list(names)
    if len(regex) > LONGEST_REGEX:
        raise ParameterError(f"A regular expression has at most {LONGEST_REGEX} letters here.")
    texts = [name.encode("utf-8", "replace").decode() for name in names]
    try:
        hits = pc.match_substring_regex(pa.array(texts, pa.string()), regex)
    except pa.ArrowInvalid as error:
        raise ParameterError(
            f"Cannot use the regular expression {regex!r}: {error}. The syntax is that of RE2, "
            "which has no look-around and no references back."
        ) from None
    return [name for name, hit in zip(names, hits.to_pylist(), strict=True) if hit]


def _look_into(
    assets: Sequence[Asset],
    records: Mapping[str, Dataset],
    query: Query,
    how: Access,
    tell: Progress,
) -> list[Asset]:
    """Return the assets with what is in them of what is asked."""
    looked = []
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(assets)))) as pool:
        for done, asset in enumerate(
            pool.map(lambda a: _looked(a, records[a.dataset], query, how), assets), start=1
        ):
            tell("looking into assets", done, len(assets))
            looked.append(asset)
    return looked


def _looked(asset: Asset, record: Dataset, query: Query, how: Access) -> Asset:
    stages = [s for s in record.stages if query.stage in (None, s.name) or _same(query.stage, s)]
    walk = Walk(asset.url, record.channels, how)
    try:
        pieces = [piece for stage in stages for piece in walk.pieces(stage)]
    except AccessDeniedError as error:
        return replace(asset, problem=str(error))
    if query.channel is not None:
        wanted = query.channel.lower()
        pieces = [p for p in pieces if p.channel and fnmatchcase(p.channel.lower(), wanted)]
    if query.name is not None and asset.parsed is None:
        kept = set(_matches(query.name, [piece.path for piece in pieces]))
        pieces = [piece for piece in pieces if piece.path in kept]
    full = f"more than {LISTED} folders; not all were looked at" if walk.left < 0 else ""
    return replace(asset, pieces=tuple(pieces), problem=full)


def _same(name: str | None, stage: Stage) -> bool:
    return name is not None and name.lower() == stage.name


def _with_levels(assets: Sequence[Asset], how: Access, tell: Progress) -> list[Asset]:
    """Return the assets with kind and levels of their volumes, unless there are too many."""
    folders = [p for a in assets for p in a.pieces if p.kind == "folder"]
    volumes = [p for p in folders if p.holds == "volumes" or p.path.endswith(VOLUMES)]
    if not volumes or len(volumes) > PEEKED:
        return list(assets)
    tell("looking at volumes", 0, len(volumes))
    seen = peek_at([piece.url for piece in volumes], access=how)
    with ThreadPoolExecutor(min(AT_ONCE, len(volumes))) as pool:
        levels = list(
            pool.map(
                lambda pair: _levels(pair[0].url, how) if _is_group(pair[1].kind) else "",
                zip(volumes, seen, strict=True),
            )
        )
    told = {
        piece.url: replace(piece, kind=one.kind, about=one.about or counted)
        for piece, one, counted in zip(volumes, seen, levels, strict=True)
    }
    return [
        replace(asset, pieces=tuple(told.get(p.url, p) for p in asset.pieces)) for asset in assets
    ]


def _is_group(kind: str) -> bool:
    return kind in ("folder", "Zarr group", "N5 group")


def _levels(url: str, how: Access) -> str:
    """Return how many levels lie in a group that does not say so."""
    try:
        entries = stores.list_folder(url, access=how)
    except NotFoundError:
        return ""
    count = sum(1 for e in entries if e.is_folder and LEVEL.fullmatch(e.name))
    return f"{count} level" + "s" * (count != 1) if count else ""
