"""Skeletons as neuroglancer reads them: a folder with ``info`` and one binary value a segment.

Positions are brought to nanometres by the ``transform`` of ``info`` and become micrometres here.
They are physical positions, in which the centre of a voxel is half a voxel from its corner, as
everywhere in projectome: nothing is shifted.

References
----------
Neuroglancer, "Skeleton format" (``neuroglancer_skeletons``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import Space
from projectome.errors import FormatError, NotFoundError, ParameterError, Problem, StoreError
from projectome.io.access import Access
from projectome.io.documents import read_json, restore_space
from projectome.io.packed import GZIP, gunzip
from projectome.io.sharded import VALUE_LIMIT, ShardedReader, Sharding
from projectome.io.skeletons.model import Given, Graph, NamedSkeleton, Skeletons
from projectome.io.stores import join, list_folder, read_many

TYPE = "neuroglancer_skeletons"
PROPERTIES = "neuroglancer_segment_properties"
IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
KIND_NAMES = ("vertex_types", "vertex_type", "compartment")
"""Attributes in which other programs keep SWC types."""
DTYPES = {"float32": "<f4"} | {
    f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}"
    for sign in ("u", "")
    for bits in (8, 16, 32)
}
NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")
NM = 1e-3
OURS = "projectome_space"
"""Key of ``info`` under which the space is kept; other programs pass over it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One more value, or several, a vertex."""

    id: str
    dtype: str
    components: int


@dataclass(frozen=True, slots=True)
class Info:
    """What the ``info`` of a folder of skeletons says.

    Attributes
    ----------
    transform
        Shape (3, 4): stored positions (x, y, z, 1) to nanometres.
    attributes
        In the order of the file.
    sharding
        None where each segment is a file.
    properties
        Folder of segment properties; empty if none.
    space
        As projectome wrote it; None elsewhere.
    """

    transform: NDArray[np.float64]
    attributes: tuple[Attribute, ...] = ()
    sharding: Sharding | None = None
    properties: str = ""
    space: Space | None = None

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, url: str) -> Info:
        """Return what a document says.

        Raises
        ------
        FormatError
            If it is not as the specification demands.
        """
        numbers = document.get("transform") or IDENTITY
        try:
            transform = np.asarray(numbers, dtype=np.float64).reshape(3, 4)
            if not np.isfinite(transform).all() or not abs(np.linalg.det(transform[:, :3])) > 0:
                raise ValueError
        except (TypeError, ValueError):
            raise FormatError(
                f"{url}: 'transform' is {str(numbers)[:120]}, not 12 numbers of an invertible map."
            ) from None
        listed = document.get("vertex_attributes") or []
        try:
            attributes = tuple(
                Attribute(str(a["id"]), DTYPES[a["data_type"]], _count(a["num_components"]))
                for a in listed
            )
        except (KeyError, TypeError, ValueError):
            raise FormatError(
                f"{url}: 'vertex_attributes' is not as the format demands: {str(listed)[:300]}. "
                f"Known data types: {', '.join(DTYPES)}."
            ) from None
        said = document.get("sharding")
        properties = document.get("segment_properties") or ""
        try:
            space = restore_space(document[OURS]) if OURS in document else None
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{url}: {OURS!r} is broken: {error!r}. Remove it.") from None
        return cls(
            transform,
            attributes,
            None if said is None else Sharding.parse(said, url=url),
            properties if isinstance(properties, str) else "",
            space,
        )


def _count(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 1024:
        raise ValueError
    return value


def read_precomputed(
    url: str,
    *,
    given: Given | None = None,
    only: Iterable[int | str] | None = None,
    access: Access | None = None,
    max_bytes: int = VALUE_LIMIT,
) -> Skeletons:
    """Read skeletons from the folder that holds their ``info``.

    Parameters
    ----------
    url
        The folder.
    given
        What the caller says about coordinates; a scale replaces the transform of the file.
    only
        Ids of segments; all by default, which needs a store that can list, or shards.
    access
        How to ask; by the settings if None.
    max_bytes
        Larger skeletons are refused.

    Raises
    ------
    FormatError
        If ``info`` or a skeleton is not as the specification demands.
    StoreError
        If all are asked for and the store cannot list what there is.
    """
    given = given or Given()
    place = join(url, "info")
    document, _ = read_json(place, access=access)
    if document.get("@type") != TYPE:
        raise FormatError(
            f"{place} is of the type {document.get('@type')!r}, not {TYPE!r}. Give the folder of "
            "the skeletons."
        )
    info = Info.parse(document, url=place)
    problems: list[Problem] = []
    if "transform" not in document:
        problems.append(Problem("warning", place, "no transform; positions read as nanometres."))
    labels = _labels(url, info, access, problems)
    wanted = None if only is None else sorted(_wanted(only, labels))
    items = tuple(
        decode(data, info, segment=segment, url=url, given=given, name=labels.get(segment, ""))
        for segment, data in _values(url, info, wanted, labels, access, max_bytes)
    )
    if wanted is not None and (missing := sorted(set(wanted) - {_id_of(i) for i in items})):
        raise NotFoundError(f"{url} has no skeleton {', '.join(map(str, missing[:5]))}.")
    return Skeletons(items, "precomputed", tuple(problems))


def _id_of(item: NamedSkeleton) -> int:
    return int(str(item.facts["id"]))


def _wanted(only: Iterable[int | str], labels: Mapping[int, str]) -> list[int]:
    by_label = {label: segment for segment, label in labels.items()}
    found = []
    for which in only:
        segment = by_label.get(str(which), which)
        try:
            found.append(int(segment))
        except ValueError:
            raise ParameterError(
                f"Skeletons of this format have whole numbers for names, not {which!r}."
            ) from None
        if not 0 <= found[-1] < 2**64:
            raise ParameterError(f"A segment id has 64 bits; {which} does not fit.")
    return found


def _values(
    url: str,
    info: Info,
    wanted: Sequence[int] | None,
    labels: Mapping[int, str],
    access: Access | None,
    max_bytes: int,
) -> Iterator[tuple[int, bytes]]:
    if info.sharding is not None:
        yield from sorted_items(ShardedReader(url, info.sharding, access=access).items(wanted))
        return
    packed: set[int] = set()
    if wanted is None:
        try:
            names = [entry.name for entry in list_folder(url, access=access)]
            # On a disk, cloud-volume keeps what it packed under a name that says so.
            packed = set(numbered(n.removesuffix(".gz") for n in names if n.endswith(".gz")))
            wanted = sorted({*numbered(names), *packed})
        except StoreError:
            if not labels:
                raise
            wanted = sorted(labels)
    urls = [join(url, f"{segment}.gz" if segment in packed else str(segment)) for segment in wanted]
    for segment, data in zip(wanted, read_many(urls, access=access, limit=max_bytes), strict=True):
        if data is not None:
            yield segment, data


def numbered(names: Iterable[str]) -> list[int]:
    """Return those names that are ids of 64 bits, in order."""
    found = (int(name) for name in names if NUMBER.fullmatch(name))
    return sorted(number for number in found if number < 2**64)


def sorted_items(items: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return keys and values in the order of the keys."""
    return sorted(items, key=lambda item: item[0])


def _labels(url: str, info: Info, access: Access | None, problems: list[Problem]) -> dict[int, str]:
    """Return the names of segments; none where the file has none."""
    if not info.properties:
        return {}
    place = join(url, info.properties, "info")
    try:
        document, _ = read_json(place, access=access)
        inline = document["inline"]
        ids = [int(text) for text in inline["ids"]]
        listed = next(p for p in inline["properties"] if p["type"] == "label")
        return {i: str(v) for i, v in zip(ids, listed["values"], strict=True)}
    except StopIteration:
        return {}
    except NotFoundError:
        message = "segment properties are named and are not there; segments have no names."
    except (KeyError, TypeError, ValueError) as error:
        message = f"segment properties cannot be read ({error}); segments have no names."
    problems.append(Problem("warning", place, message[:300]))
    return {}


def decode(
    data: bytes, info: Info, *, segment: int, url: str, given: Given, name: str = ""
) -> NamedSkeleton:
    """Return the skeleton that one value holds.

    Raises
    ------
    FormatError
        If its length is not that of the numbers of vertices and edges at its start, or an edge
        names a vertex that is not there.
    """
    where = f"{url}: segment {segment}"
    widths = [np.dtype(a.dtype).itemsize * a.components for a in info.attributes]
    n, edge_count, size = _sizes(data, widths, where)
    if len(data) != size and data.startswith(GZIP):
        # Packed by cloud-volume; an object store notes that in a header alone.
        data = gunzip(data, url=where, limit=VALUE_LIMIT)
        n, edge_count, size = _sizes(data, widths, where)
    if len(data) != size:
        raise FormatError(
            f"{where} has {len(data)} bytes; {n} vertices and {edge_count} edges with "
            f"{len(widths)} attributes are {size}. Its info may be of another version."
        )
    stored = np.frombuffer(data, "<f4", 3 * n, 8).reshape(-1, 3).astype(np.float64)
    edges = np.frombuffer(data, "<u4", 2 * edge_count, 8 + 12 * n).reshape(-1, 2).astype(np.int64)
    if len(edges) and edges.max() >= n:
        raise FormatError(f"{where} has an edge to vertex {edges.max()} of {n}. Write it again.")
    values: dict[str, NDArray[Any]] = {}
    at = 8 + 12 * n + 8 * edge_count
    for attribute, width in zip(info.attributes, widths, strict=True):
        found = np.frombuffer(data, attribute.dtype, n * attribute.components, at)
        parts = found.reshape(n, attribute.components).astype(attribute.dtype[1:])
        at += n * width
        if attribute.components == 1:
            values[attribute.id] = parts[:, 0]
        else:
            values |= {f"{attribute.id}_{c}": parts[:, c] for c in range(attribute.components)}
    space = given.settle(info.space or Space())
    return _graph(stored, edges, values, info, given, where).named(
        name or str(segment), space, url, facts={"id": segment}
    )


def _sizes(data: bytes, widths: Sequence[int], where: str) -> tuple[int, int, int]:
    """Return the numbers of vertices and edges, and of bytes that they take."""
    if len(data) < 8:
        raise FormatError(f"{where} has {len(data)} bytes, too few for a skeleton. Fetch it again.")
    n, edge_count = struct.unpack_from("<II", data)
    return n, edge_count, 8 + 12 * n + 8 * edge_count + n * sum(widths)


def _graph(
    stored: NDArray[np.float64],
    edges: NDArray[np.int64],
    values: dict[str, NDArray[Any]],
    info: Info,
    given: Given,
    where: str,
) -> Graph:
    linear, offset = info.transform[:, :3], info.transform[:, 3]
    if given.scale is None:
        with np.errstate(over="ignore", invalid="ignore"):
            positions = (stored @ linear.T + offset)[:, ::-1] * NM
        # "the scaling applied by transform should be uniform" where there are radii.
        uniform = float(abs(np.linalg.det(linear))) ** (1 / 3) * NM
        factor = uniform if given.radius_scale is None else given.radius_scale
    else:
        factors, factor = given.factors()
        positions = stored[:, ::-1] * factors
    radius = values.pop("radius", values.pop("radii", None))
    kind_name = next((k for k in KIND_NAMES if k in values and values[k].dtype.kind in "iu"), None)
    kind = None if kind_name is None else values.pop(kind_name).astype(np.int64)
    small = kind is not None and (np.abs(kind) < 2**31).all()
    # A file of projectome has its roots first; others are rooted at the soma they mark.
    marked = kind is not None and info.space is None
    soma = np.flatnonzero(kind == 1)[:1].tolist() if marked else []
    return Graph(
        positions,
        edges,
        np.arange(len(positions)),
        radius=None if radius is None else radius.astype(np.float64) * factor,
        kind=kind.astype(np.int32) if kind is not None and small else None,
        columns=values,
        roots=soma,
    )
