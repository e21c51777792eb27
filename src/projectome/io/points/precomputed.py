"""Folders of annotations as neuroglancer reads them.

Coordinates are physical positions, in which the centre of a voxel is half a voxel from its corner,
as everywhere in projectome: they are scaled to micrometres and nothing is shifted.

References
----------
Neuroglancer, "Annotation format" (``neuroglancer_annotations_v1``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import MICROMETRES, Space
from projectome.errors import FormatError, NotFoundError, Problem, StoreError
from projectome.io.access import Access
from projectome.io.documents import read_json, restore_space
from projectome.io.points.annotations import VECTORS, Annotations, Kind
from projectome.io.points.layout import Found, Layout, Property, merged
from projectome.io.sharded import ShardedReader, Sharding
from projectome.io.skeletons.model import Given
from projectome.io.skeletons.precomputed import OURS, numbered
from projectome.io.stores import join, list_folder, read_many

TYPE = "neuroglancer_annotations_v1"
MAX_BYTES = 2**31
"""Most that is read of all annotations together [bytes]."""
MOST_CELLS = 100_000
"""So many cells are asked for one by one where a store cannot list them."""


@dataclass(frozen=True, slots=True)
class Index:
    """Where values by key are kept: files, or shards."""

    url: str
    sharding: Sharding | None = None
    grid: tuple[int, ...] = ()

    @classmethod
    def parse(cls, document: object, base: str, *, url: str) -> Index:
        """Return an index that ``info`` describes.

        Raises
        ------
        FormatError
            If it has no key, or a grid or sharding that makes no sense.
        """
        found: Mapping[str, Any] = document if isinstance(document, dict) else {}
        key, grid = found.get("key"), found.get("grid_shape", [])
        if not isinstance(key, str) or not isinstance(grid, list):
            raise FormatError(f"{url}: an index is {str(document)[:200]}; it needs a key.")
        if not all(type(size) is int and 0 < size < 2**31 for size in grid):
            raise FormatError(f"{url}: 'grid_shape' is {str(grid)[:80]}, not positive numbers.")
        said = found.get("sharding")
        sharding = None if said is None else Sharding.parse(said, url=url)
        return cls(join(base, key), sharding, tuple(grid))


@dataclass(frozen=True, slots=True)
class Info:
    """What the ``info`` of a folder of annotations says.

    Attributes
    ----------
    layout
        Kind, rank and properties.
    axes
        Where z, y and x stand in a vector.
    scale
        Micrometres in one unit of them, order (z, y, x).
    extra
        Places and names of further dimensions, which become columns.
    relationships
        Names of what annotations are about.
    by_id, spatial
        The indices.
    space
        As projectome wrote it; None elsewhere.
    """

    layout: Layout
    axes: list[int]
    scale: NDArray[np.float64]
    extra: list[tuple[int, str]]
    relationships: list[str]
    by_id: Index | None
    spatial: list[Index]
    space: Space | None

    @classmethod
    def parse(cls, document: Mapping[str, Any], base: str, *, scaled: bool = False) -> Info:
        """Return what a document says; `scaled` if the caller gives the scale.

        Raises
        ------
        FormatError
            If it is not as the specification demands.
        """
        url = f"{base}/info"
        kind = document.get("annotation_type")
        if not isinstance(kind, str) or kind not in VECTORS:
            raise FormatError(
                f"{url}: 'annotation_type' is {str(kind)[:40]!r}. Known: {', '.join(VECTORS)}."
            )
        axes, scale, extra = dimensions(document.get("dimensions"), url=url, scaled=scaled)
        lists = {key: document.get(key) or [] for key in ("properties", "relationships", "spatial")}
        for key, value in lists.items():
            if not isinstance(value, list) or len(value) > 10_000:
                raise FormatError(f"{url}: {key!r} is {str(value)[:80]}, not a list. Correct it.")
        properties = tuple(Property.parse(p, url=url) for p in lists["properties"])
        # Their indices are not read (the index by id has more), but have to make sense.
        about = [(Index.parse(r, base, url=url), str(r.get("id"))) for r in lists["relationships"]]
        relationships = [name for _, name in about]
        names = [p.id for p in properties] + relationships
        if len(set(names)) < len(names):
            raise FormatError(f"{url}: two properties or relationships have the same id: {names}.")
        by_id = document.get("by_id")
        try:
            space = restore_space(document[OURS]) if OURS in document else None
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{url}: {OURS!r} is broken: {error!r}. Remove it.") from None
        return cls(
            Layout(cast(Kind, kind), len(axes) + len(extra), properties),
            axes,
            scale,
            extra,
            relationships,
            None if by_id is None else Index.parse(by_id, base, url=url),
            [Index.parse(level, base, url=url) for level in lists["spatial"]],
            space,
        )


def dimensions(
    said: object, *, url: str, scaled: bool = False
) -> tuple[list[int], NDArray[np.float64], list[tuple[int, str]]]:
    """Return where z, y, x stand among dimensions, their scale [um], and what else there is.

    Parameters
    ----------
    said
        As neuroglancer writes it: ``{"x": [4e-9, "m"], ...}``.
    url
        Where it stands, for messages.
    scaled
        The caller gives the scale, so that the unit need not be known.

    Raises
    ------
    FormatError
        If one of x, y and z is missing, or has no unit of length.
    """
    found = said if isinstance(said, dict) else {}
    names = list(found)
    if not {"x", "y", "z"} <= set(names) or len(names) > 32:
        raise FormatError(
            f"{url}: the dimensions are {names[:8]}; x, y and z are needed. Name them so."
        )
    scale = []
    for name in "zyx":
        value = found[name]
        try:
            number, unit = float(value[0]), str(value[1])
            factor = 1.0 if scaled else MICROMETRES[unit.lower()]
            if not (np.isfinite(number) and number > 0):
                raise ValueError
        except (KeyError, IndexError, TypeError, ValueError):
            raise FormatError(
                f"{url}: dimension {name!r} is {str(value)[:60]}, not a scale and a unit of length "
                "such as [1e-6, 'm']. Correct it, or pass voxel_size= in micrometres."
            ) from None
        scale.append(number * factor)
    extra = [(place, name) for place, name in enumerate(names) if name not in "xyz"]
    return [names.index(name) for name in "zyx"], np.array(scale), extra


def read_precomputed_annotations(
    url: str,
    *,
    given: Given | None = None,
    relationships: bool = True,
    access: Access | None = None,
    max_bytes: int = MAX_BYTES,
) -> Annotations:
    """Read all annotations of a folder.

    Parameters
    ----------
    url
        The folder that holds ``info``.
    given
        What the caller says about coordinates.
    relationships
        Also read what each annotation is about; only the index by id has that, which takes a
        request an annotation where it is not sharded.
    access
        How to ask the store; by the settings if None.
    max_bytes
        More than this is refused.

    Raises
    ------
    FormatError
        If ``info`` or a value is not as the specification demands.
    StoreError
        If the store does not answer, or cannot list and there are too many cells to try.
    """
    given = given or Given()
    place = join(url, "info")
    document, _ = read_json(place, access=access)
    if document.get("@type") != TYPE:
        raise FormatError(
            f"{place} is of the type {document.get('@type')!r}, not {TYPE!r}. Give the folder of "
            "the annotations."
        )
    info = Info.parse(document, url, scaled=given.scale is not None)
    budget = _Budget(url, max_bytes)
    problems: list[Problem] = []
    parts = [
        info.layout.decode_list(budget.spent(data), f"{level.url}: cell {key}")
        for level in info.spatial
        for key, data in _cells_of(level, access)
    ]
    found = merged(parts, info.layout)
    if info.by_id is not None and (not info.spatial or (relationships and info.relationships)):
        found = _with_relationships(info, info.by_id, found, budget, access, problems)
    return _annotations(info, found, given, problems, url)


class _Budget:
    def __init__(self, url: str, room: int) -> None:
        self.url, self.room, self.all = url, room, room

    def spent(self, data: bytes) -> bytes:
        self.room -= len(data)
        if self.room < 0:
            raise FormatError(
                f"{self.url} holds more than {self.all} bytes of annotations. Pass a larger "
                "max_bytes= if that is right."
            )
        return data


def _cells_of(level: Index, access: Access | None) -> Iterator[tuple[str, bytes]]:
    if level.sharding is not None:
        for key, data in ShardedReader(level.url, level.sharding, access=access).items():
            yield str(key), data
        return
    try:
        names = [e.name for e in list_folder(level.url, access=access) if not e.is_folder]
        names = [name for name in names if name.replace("_", "").isdecimal()]
    except NotFoundError:
        return
    except StoreError:
        cells = product(*map(range, level.grid))
        names = ["_".join(map(str, cell)) for cell in islice(cells, MOST_CELLS + 1)]
        if len(names) > MOST_CELLS:
            raise
    urls = [join(level.url, name) for name in names]
    contents = read_many(urls, access=access, limit=MAX_BYTES)
    yield from ((n, c) for n, c in zip(names, contents, strict=True) if c is not None)


def _with_relationships(
    info: Info,
    index: Index,
    found: Found,
    budget: _Budget,
    access: Access | None,
    problems: list[Problem],
) -> Found:
    """Return the annotations as the index by id has them."""
    keys = found.ids.tolist() if info.spatial else None
    if index.sharding is not None:
        known = None if keys is None else set(keys)
        stored = ShardedReader(index.url, index.sharding, access=access).items()
        pairs = [(k, v) for k, v in stored if known is None or k in known]
    else:
        if keys is None:
            keys = numbered(entry.name for entry in list_folder(index.url, access=access))
        urls = [join(index.url, str(key)) for key in keys]
        values = read_many(urls, access=access)
        pairs = [(k, v) for k, v in zip(keys, values, strict=True) if v is not None]
    count = len(info.relationships)
    parts = [
        info.layout.decode_one(budget.spent(data), key, count, f"{index.url}/{key}")
        for key, data in sorted(pairs)
    ]
    if info.spatial and len(parts) < len(found.ids):
        message = (
            f"{len(found.ids) - len(parts)} of {len(found.ids)} annotations are missing in the "
            "index by id; what they are about is not known."
        )
        problems.append(Problem("warning", index.url, message))
        lost = found._replace(related=[[np.zeros(0, np.uint64)] * len(found.ids)] * count)
        return merged([*parts, lost], info.layout)
    return merged(parts, info.layout) if parts else found


def _annotations(
    info: Info, found: Found, given: Given, problems: list[Problem], url: str
) -> Annotations:
    if not np.isfinite(found.vectors).all():
        row = np.repeat(found.ids, found.counts)[~np.isfinite(found.vectors).all(axis=1)][0]
        raise FormatError(f"{url}: annotation {row} has a coordinate that is not finite.")
    factors, _ = given.factors(info.scale)
    order = np.argsort(found.ids, kind="stable")
    spans = np.cumsum(found.counts) - found.counts
    rows = np.concatenate(
        [np.zeros(0, np.int64)]
        + [np.arange(s, s + c) for s, c in zip(spans[order], found.counts[order], strict=True)]
    )
    vectors = found.vectors[rows]
    columns: dict[str, NDArray[Any]] = {
        prop.id: prop.column(found.values[prop.id][order]) for prop in info.layout.properties
    }
    firsts = (np.cumsum(found.counts[order]) - found.counts[order])[found.counts[order] > 0]
    for at, name in info.extra:
        if len(firsts) == len(order) and name not in columns:
            columns[name] = vectors[firsts, at]
    lists = found.related or [[np.zeros(0, np.uint64)] * len(order)] * len(info.relationships)
    related = {
        name: [ids[i] for i in order.tolist()]
        for name, ids in zip(info.relationships, lists, strict=True)
    }
    space = given.settle(info.space or Space())
    return Annotations(
        info.layout.kind,
        vectors[:, info.axes] * factors,
        found.counts[order],
        space,
        found.ids[order],
        columns,
        related,
        problems=tuple(problems),
    )
