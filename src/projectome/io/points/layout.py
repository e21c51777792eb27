"""How neuroglancer lays out annotations in bytes.

An annotation is its vectors as 32-bit floats, then its properties, those of four bytes first, then
of two, then of one, then padding to a multiple of four bytes. A list of annotations is a count of
64 bits, the annotations, and their ids.

References
----------
Neuroglancer, "Annotation format" (``neuroglancer_annotations_v1``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projectome.errors import FormatError, ParameterError
from projectome.io.points.annotations import VECTORS, Annotations, Kind

NAME = re.compile(r"[a-z][a-zA-Z0-9_]*")
COLOR = re.compile(r"#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?")
TYPES: dict[str, tuple[str, int]] = {
    "float32": ("<f4", 1),
    "uint32": ("<u4", 1),
    "int32": ("<i4", 1),
    "uint16": ("<u2", 1),
    "int16": ("<i2", 1),
    "uint8": ("u1", 1),
    "int8": ("i1", 1),
    "rgb": ("u1", 3),
    "rgba": ("u1", 4),
}
"""Element type and number of elements of each type of property."""
ENUM_TYPES = (("uint8", 2**8), ("uint16", 2**16), ("uint32", 2**32))


@dataclass(frozen=True, slots=True)
class Property:
    """One value an annotation.

    Attributes
    ----------
    id
        Its name.
    type
        One of `TYPES`.
    labels
        What values mean, if they are an enumeration.
    """

    id: str
    type: str
    labels: Mapping[float, str] | None = None

    @classmethod
    def parse(cls, document: object, *, url: str) -> Property:
        """Return what ``info`` says of one property.

        Raises
        ------
        FormatError
            If it is not as the specification demands.
        """
        found: Mapping[str, Any] = document if isinstance(document, dict) else {}
        name, kind = found.get("id"), found.get("type")
        values, labels = found.get("enum_values"), found.get("enum_labels")
        sound = isinstance(name, str) and name and isinstance(kind, str) and kind in TYPES
        if values is not None or labels is not None:
            sound = sound and (
                isinstance(values, list)
                and isinstance(labels, list)
                and len(values) == len(labels)
                and all(isinstance(v, (int, float)) for v in values)
            )
        if not sound:
            raise FormatError(
                f"{url}: a property is {str(document)[:200]}; it needs an id and one of the types "
                f"{', '.join(TYPES)}. Correct it."
            )
        named = None if values is None else dict(zip(values, map(str, labels or ()), strict=True))
        return cls(str(name), str(kind), named)

    def document(self) -> dict[str, object]:
        """Return what ``info`` has to say of it."""
        found: dict[str, object] = {"id": self.id, "type": self.type}
        if self.labels is not None:
            found |= {"enum_values": list(self.labels), "enum_labels": list(self.labels.values())}
        return found

    def column(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return stored values as a column: colours as ``#rrggbb``, enumerations as labels."""
        if self.type in ("rgb", "rgba"):
            return np.array(["#" + bytes(v).hex() for v in values], dtype=object)
        values = values.astype(values.dtype.newbyteorder("="))
        known = np.unique(values).tolist()
        if self.labels is None or not all(value in self.labels for value in known):
            return values
        return np.array([self.labels[value] for value in values.tolist()], dtype=object)


def property_for(name: str, values: NDArray[Any]) -> tuple[Property, NDArray[Any]]:
    """Return the property that keeps a column, and what to store.

    Raises
    ------
    ParameterError
        If the format has no such names, or no type for such values.
    """
    if not NAME.fullmatch(name):
        raise ParameterError(
            f"The column {name!r} cannot be a property: those begin with a small letter and have "
            "letters, digits and underscores. Rename it."
        )
    if values.dtype.kind == "b":
        return Property(name, "uint8"), values.astype("u1")
    if values.dtype.kind == "f":
        return Property(name, "float32"), values.astype("<f4")
    if values.dtype.kind in "iu":
        return _whole(name, values)
    texts = [str(value) for value in values.tolist()]
    if texts and all(COLOR.fullmatch(text) and len(text) == len(texts[0]) for text in texts):
        parts = [list(bytes.fromhex(text[1:])) for text in texts]
        return Property(name, "rgb" if len(parts[0]) == 3 else "rgba"), np.array(parts, "u1")
    labels = sorted(set(texts))
    kind = next((kind for kind, room in ENUM_TYPES if len(labels) <= room), "uint32")
    place = {label: number for number, label in enumerate(labels)}
    stored = np.array([place[text] for text in texts], dtype=TYPES[kind][0])
    return Property(name, kind, dict(enumerate(labels))), stored


def _whole(name: str, values: NDArray[Any]) -> tuple[Property, NDArray[Any]]:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    own = values.dtype.name if values.dtype.itemsize <= 4 else "uint32"
    for kind in (own, "uint32", "int32"):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return Property(name, kind), values.astype(TYPES[kind][0])
    raise ParameterError(
        f"The column {name!r} has values from {low} to {high}; the format has whole numbers of 32 "
        "bits. Keep ids as a relationship, or turn the column into text or float32."
    )


class Found(NamedTuple):
    """Annotations as stored: vectors have the rank of the file and its units."""

    vectors: NDArray[np.float64]  # (M, rank)
    counts: NDArray[np.int64]
    values: dict[str, NDArray[Any]]
    ids: NDArray[np.uint64]
    related: list[list[NDArray[np.uint64]]]  # a list a relationship


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one folder of annotations.

    Attributes
    ----------
    kind
        Of the annotations.
    rank
        Numbers in a vector.
    properties
        In the order of ``info``.
    """

    kind: Kind
    rank: int
    properties: tuple[Property, ...]

    @property
    def ordered(self) -> list[Property]:
        """The properties as they stand in the bytes."""
        return sorted(self.properties, key=lambda p: -np.dtype(TYPES[p.type][0]).itemsize)

    def dtype(self, vectors: int) -> np.dtype[Any]:
        """Return the type of an annotation of so many vectors, without a count in front."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [("", "<f4", (vectors * self.rank,))]
        fields[0] = ("geometry", "<f4", (vectors * self.rank,))
        for place, prop in enumerate(self.ordered):
            element, count = TYPES[prop.type]
            fields.append((f"p{place}", element, (count,)))
        padding = -np.dtype(fields).itemsize % 4
        return np.dtype([*fields, ("padding", "u1", (padding,))])

    def decode_list(self, data: bytes, where: str) -> Found:
        """Return the annotations of a list with ids.

        Raises
        ------
        FormatError
            If the bytes are not as many as the count at their start demands.
        """
        if len(data) < 8:
            raise FormatError(f"{where} has {len(data)} bytes, too few for a list. Fetch it again.")
        (count,) = struct.unpack_from("<Q", data)
        each = VECTORS[self.kind]
        if each is None:
            return self._decode_polylines(data, count, where)
        dtype = self.dtype(each)
        if len(data) != 8 + count * (dtype.itemsize + 8):
            raise FormatError(
                f"{where} has {len(data)} bytes; {count} annotations of {dtype.itemsize} bytes and "
                f"their ids are {8 + count * (dtype.itemsize + 8)}. Fetch or write it again."
            )
        records = np.frombuffer(data, dtype, count, 8)
        ids = np.frombuffer(data, "<u8", count, 8 + count * dtype.itemsize).astype(np.uint64)
        return self._found(records, each, ids, [])

    def decode_one(self, data: bytes, number: int, relationships: int, where: str) -> Found:
        """Return one annotation with the objects it is about.

        Raises
        ------
        FormatError
            If the bytes end too early, or there are more.
        """
        each, at = VECTORS[self.kind], 0
        if each is None:
            each, at = self._polyline_count(data, 0, where), 4
        dtype = self.dtype(each)
        _check_room(data, at + dtype.itemsize, where)
        record = np.frombuffer(data, dtype, 1, at)
        at += dtype.itemsize
        related: list[list[NDArray[np.uint64]]] = []
        for _ in range(relationships):
            _check_room(data, at + 4, where)
            (count,) = struct.unpack_from("<I", data, at)
            _check_room(data, at + 4 + 8 * count, where)
            related.append([np.frombuffer(data, "<u8", count, at + 4).astype(np.uint64)])
            at += 4 + 8 * count
        if at != len(data):
            raise FormatError(f"{where} has {len(data)} bytes where {at} are expected.")
        return self._found(record, each, np.array([number], dtype=np.uint64), related)

    def _found(
        self,
        records: NDArray[Any],
        each: int,
        ids: NDArray[np.uint64],
        related: list[list[NDArray[np.uint64]]],
    ) -> Found:
        values = {
            prop.id: records[f"p{place}"] if TYPES[prop.type][1] > 1 else records[f"p{place}"][:, 0]
            for place, prop in enumerate(self.ordered)
        }
        vectors = records["geometry"].astype(np.float64).reshape(-1, self.rank)
        counts = np.full(len(records), each, dtype=np.int64)
        return Found(vectors, counts, values, ids, related)

    def _polyline_count(self, data: bytes, at: int, where: str) -> int:
        _check_room(data, at + 4, where)
        (count,) = struct.unpack_from("<I", data, at)
        _check_room(data, at + 4 + 4 * self.rank * count, where)
        return int(count)

    def _decode_polylines(self, data: bytes, count: int, where: str) -> Found:
        _check_room(data, 8 + 12 * count, where)  # a count of vertices and an id each, at least
        parts = []
        at = 8
        for _ in range(count):
            each = self._polyline_count(data, at, where)
            dtype = self.dtype(each)
            _check_room(data, at + 4 + dtype.itemsize, where)
            parts.append((np.frombuffer(data, dtype, 1, at + 4), each))
            at += 4 + dtype.itemsize
        if len(data) != at + 8 * count:
            raise FormatError(f"{where} has {len(data)} bytes where {at + 8 * count} are expected.")
        ids = np.frombuffer(data, "<u8", count, at).astype(np.uint64)
        found = [
            self._found(record, each, ids[i : i + 1], []) for i, (record, each) in enumerate(parts)
        ]
        return merged(found, self)

    def encode(self, annotations: Annotations, stored: Sequence[NDArray[Any]]) -> list[bytes]:
        """Return each annotation in bytes, without its id and relationships.

        Parameters
        ----------
        annotations
            In three dimensions; they are written in the order (x, y, z).
        stored
            The values of each property, in the order of `properties`.
        """
        by_name = {p.id: values for p, values in zip(self.properties, stored, strict=True)}
        flat = annotations.vectors[:, ::-1].astype("<f4")
        tail = np.zeros(len(annotations), dtype=self.dtype(0))
        for place, prop in enumerate(self.ordered):
            values = by_name[prop.id]
            tail[f"p{place}"] = values if values.ndim == 2 else values[:, None]
        ends = np.cumsum(annotations.counts).tolist()
        starts = [0, *ends[:-1]] if ends else []
        counted = VECTORS[self.kind] is None
        return [
            (struct.pack("<I", last - first) if counted else b"")
            + flat[first:last].tobytes()
            + tail[row].tobytes()
            for row, (first, last) in enumerate(zip(starts, ends, strict=True))
        ]


def merged(parts: Sequence[Found], layout: Layout) -> Found:
    """Return several finds as one; of an id that comes twice, the first."""
    if not parts:
        empty = np.zeros(0, dtype=layout.dtype(VECTORS[layout.kind] or 0))
        return layout._found(empty, VECTORS[layout.kind] or 0, np.zeros(0, np.uint64), [])
    ids = np.concatenate([part.ids for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    first = np.sort(np.unique(ids, return_index=True)[1])
    keep = np.zeros(len(ids), dtype=bool)
    keep[first] = True
    names = parts[0].values
    related = [
        [ids for part in parts for ids in part.related[number]]
        for number in range(len(parts[0].related))
    ]
    return Found(
        np.concatenate([part.vectors for part in parts])[np.repeat(keep, counts)],
        counts[keep],
        {name: np.concatenate([part.values[name] for part in parts])[keep] for name in names},
        ids[keep],
        [[one for one, kept in zip(lists, keep, strict=True) if kept] for lists in related],
    )


def _check_room(data: bytes, end: int, where: str) -> None:
    if end > len(data):
        raise FormatError(
            f"{where} ends after {len(data)} of {end} bytes. Fetch or write it again."
        )
