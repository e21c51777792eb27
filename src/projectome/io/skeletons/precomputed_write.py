"""Skeletons written as neuroglancer reads them.

References
----------
Neuroglancer, "Skeleton format" (``neuroglancer_skeletons``).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import Space
from projectome.errors import ParameterError
from projectome.io.access import Access
from projectome.io.sharded import Sharding, write_sharded
from projectome.io.skeletons.model import NamedSkeleton
from projectome.io.skeletons.precomputed import (
    DTYPES,
    IDENTITY,
    NM,
    OURS,
    PROPERTIES,
    TYPE,
    Attribute,
)
from projectome.io.stores import join, write_bytes


def write_precomputed(
    items: Sequence[NamedSkeleton],
    url: str,
    *,
    sharded: bool | Sharding = False,
    access: Access | None = None,
) -> None:
    """Write skeletons as neuroglancer reads them, in nanometres.

    Parameters
    ----------
    items
        All in one space, in micrometres. The id of a segment is the fact ``id`` or the name where
        those are whole numbers, all different; else segments are numbered from 1. Radii (0 where
        unknown), kinds and the columns of numbers that all items have become vertex attributes of
        at most 32 bits, as the format has them; names become segment properties.
    url
        The folder.
    sharded
        Pack the skeletons into few files; True chooses how many.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If spaces differ or are in voxels.
    """
    space = items[0].skeleton.space if items else Space()
    for item in items:
        if item.skeleton.space != space or space.unit != "micrometer":
            raise ParameterError(
                f"Skeletons in one folder lie in one space in micrometres; {item.name!r} is in "
                f"{item.skeleton.space}. Bring them into one space first."
            )
    ids = segment_ids(items)
    attributes = _attributes(items)
    values = {segment: encode(item, attributes) for segment, item in zip(ids, items, strict=True)}
    info: dict[str, object] = {
        "@type": TYPE,
        "transform": list(IDENTITY),
        "vertex_attributes": [
            {"id": a.id, "data_type": _type_name(a.dtype), "num_components": a.components}
            for a in attributes
        ],
        OURS: asdict(space),
    }
    if sharded:
        total = sum(map(len, values.values()))
        how = sharded if isinstance(sharded, Sharding) else Sharding.for_values(len(values), total)
        info["sharding"] = how.document()
        write_sharded(values, url, how, access=access)
    else:
        for segment, data in values.items():
            write_bytes(join(url, str(segment)), data, access=access)
    if any(item.name != str(segment) for segment, item in zip(ids, items, strict=True)):
        info["segment_properties"] = "segment_properties"
        names = [item.name for item in items]
        _write_properties(join(url, "segment_properties"), ids, names, access)
    # The info last: who finds it finds all that it speaks of.
    write_bytes(join(url, "info"), json.dumps(info, indent=1).encode(), access=access)


def segment_ids(items: Sequence[NamedSkeleton]) -> list[int]:
    """Return ids of 64 bits: the ids or names of the items where they are such, else 1 to N."""
    for texts in ([str(i.facts.get("id", "")) for i in items], [i.name for i in items]):
        if all(text.isascii() and text.isdecimal() and len(text) <= 20 for text in texts):
            ids = [int(text) for text in texts]
            if len(set(ids)) == len(ids) and max(ids, default=0) < 2**64:
                return ids
    return list(range(1, len(items) + 1))


def _write_properties(
    url: str, ids: Sequence[int], names: Sequence[str], access: Access | None
) -> None:
    label = {"id": "label", "type": "label", "values": list(names)}
    document = {"@type": PROPERTIES, "inline": {"ids": list(map(str, ids)), "properties": [label]}}
    write_bytes(join(url, "info"), json.dumps(document).encode(), access=access)


def _attributes(items: Sequence[NamedSkeleton]) -> tuple[Attribute, ...]:
    found = []
    if any(item.skeleton.radius is not None for item in items):
        found.append(Attribute("radius", "<f4", 1))
    kinds = [item.skeleton.kind for item in items if item.skeleton.kind is not None]
    if kinds:
        small = all(len(k) == 0 or (k.min() >= 0 and k.max() < 256) for k in kinds)
        found.append(Attribute("vertex_types", "<u1" if small else "<i4", 1))
    shared = [n for n in (items[0].columns if items else ()) if all(n in i.columns for i in items)]
    for name in shared:
        dtype = np.result_type(*(item.columns[name].dtype for item in items))
        if dtype.kind not in "biuf":
            continue
        chosen = _narrow(dtype, [item.columns[name] for item in items])
        if chosen is not None:
            found.append(Attribute(name, chosen, 1))
    return tuple(found)


def _narrow(dtype: np.dtype[Any], columns: Sequence[NDArray[Any]]) -> str | None:
    """Return a type of the format that holds all values; None if there is none."""
    if dtype.kind == "f":
        return "<f4"
    if dtype.kind == "b":
        return "<u1"
    filled = [column for column in columns if len(column)]
    low = min((int(c.min()) for c in filled), default=0)
    high = max((int(c.max()) for c in filled), default=0)
    own = dtype.str if dtype.itemsize <= 4 else None
    for name in (own, "<u4", "<i4"):
        if name and np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return name.replace("|", "<")
    return None


def _type_name(dtype: str) -> str:
    return next(name for name, code in DTYPES.items() if code == dtype)


def encode(item: NamedSkeleton, attributes: Sequence[Attribute]) -> bytes:
    """Return the value of one segment: counts, positions [nm], edges, attributes."""
    skeleton = item.skeleton
    parts = [struct.pack("<II", len(skeleton), len(skeleton.edges))]
    parts.append((skeleton.coordinates[:, ::-1] / NM).astype("<f4").tobytes())
    parts.append(skeleton.edges[:, ::-1].astype("<u4").tobytes())
    for attribute in attributes:
        values: NDArray[Any] | None = item.columns.get(attribute.id)
        if attribute.id == "radius":
            known = skeleton.radius
            values = None if known is None else np.nan_to_num(known, nan=0.0) / np.float32(NM)
        elif attribute.id == "vertex_types":
            values = skeleton.kind
        if values is None:
            values = np.zeros(len(skeleton))
        parts.append(values.astype(attribute.dtype).tobytes())
    return b"".join(parts)
