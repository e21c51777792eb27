"""Folders of annotations written as neuroglancer reads them.

References
----------
Neuroglancer, "Annotation format" (``neuroglancer_annotations_v1``).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from projectome.errors import ParameterError
from projectome.io.access import Access
from projectome.io.points.annotations import Annotations
from projectome.io.points.layout import Layout, property_for
from projectome.io.points.precomputed import TYPE
from projectome.io.points.spatial import morton_code, spatial_levels
from projectome.io.sharded import Sharding, write_sharded
from projectome.io.skeletons.precomputed import OURS
from projectome.io.stores import join, write_bytes

UNSHARDED = 1000
"""Up to so many annotations are written as a file each unless the caller says otherwise."""
MICROMETRE = [1e-6, "m"]


def write_precomputed_annotations(
    annotations: Annotations,
    url: str,
    *,
    sharded: bool | None = None,
    limit: int = 5000,
    access: Access | None = None,
) -> None:
    """Write annotations as neuroglancer reads them, in micrometres.

    Parameters
    ----------
    annotations
        In micrometres. Columns become properties: numbers of at most 32 bits, colours
        (``#rrggbb``), other texts as enumerations.
    url
        The folder.
    sharded
        Pack the values into few files; by their number if None.
    limit
        About so many annotations in a cell of the spatial index at most.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If coordinates are voxels, ids repeat, or a column cannot be a property.
    """
    space = annotations.space
    if space.unit != "micrometer":
        raise ParameterError(
            f"Annotations of neuroglancer are physical; these are in {space.unit}s. Convert them "
            "with the grid of the volume first."
        )
    if len(np.unique(annotations.ids)) < len(annotations) or limit < 1:
        raise ParameterError("Annotations need ids that differ, and a positive limit.")
    kept = {name: property_for(name, values) for name, values in annotations.columns.items()}
    layout = Layout(annotations.kind, 3, tuple(prop for prop, _ in kept.values()))
    encoded = layout.encode(annotations, [stored for _, stored in kept.values()])
    writer = _Writer(url, access, len(annotations) > UNSHARDED if sharded is None else sharded)
    info: dict[str, object] = {
        "@type": TYPE,
        "dimensions": dict.fromkeys("xyz", MICROMETRE),
        "annotation_type": annotations.kind,
        "properties": [prop.document() for prop in layout.properties],
        OURS: asdict(space),
    }
    info |= _write_spatial(annotations, encoded, writer, limit)
    info["relationships"] = _write_related(annotations, encoded, writer)
    info["by_id"] = writer.write("by_id", _by_id(annotations, encoded))
    # The info last: who finds it finds all that it speaks of.
    write_bytes(join(url, "info"), json.dumps(info, indent=1).encode(), access=access)


@dataclass(frozen=True, slots=True)
class _Writer:
    url: str
    access: Access | None
    sharded: bool

    def write(
        self, key: str, values: Mapping[int, bytes], names: Mapping[int, str] | None = None
    ) -> dict[str, object]:
        """Write values below `key` and return what ``info`` says of them."""
        place = join(self.url, key)
        if self.sharded:
            sharding = Sharding.for_values(len(values), sum(map(len, values.values())))
            write_sharded(values, place, sharding, access=self.access)
            return {"key": key, "sharding": sharding.document()}
        for number, data in values.items():
            name = str(number) if names is None else names[number]
            write_bytes(join(place, name), data, access=self.access)
        return {"key": key}


def _by_id(annotations: Annotations, encoded: Sequence[bytes]) -> dict[int, bytes]:
    lists = list(annotations.relationships.values())
    return {
        number: data
        + b"".join(
            struct.pack("<I", len(ids[row])) + ids[row].astype("<u8").tobytes() for ids in lists
        )
        for row, (number, data) in enumerate(zip(annotations.ids.tolist(), encoded, strict=True))
    }


def _listed(rows: Sequence[int], encoded: Sequence[bytes], ids: NDArray[np.uint64]) -> bytes:
    own = ids[np.asarray(rows, dtype=np.int64)].astype("<u8").tobytes()
    return b"".join([struct.pack("<Q", len(rows)), *(encoded[row] for row in rows), own])


def _write_related(
    annotations: Annotations, encoded: Sequence[bytes], writer: _Writer
) -> list[dict[str, object]]:
    found = []
    for number, (name, lists) in enumerate(annotations.relationships.items()):
        about: dict[int, list[int]] = {}
        for row, ids in enumerate(lists):
            for object_id in np.unique(ids).tolist():
                about.setdefault(object_id, []).append(row)
        values = {k: _listed(rows, encoded, annotations.ids) for k, rows in about.items()}
        found.append({"id": name, **writer.write(f"related{number}", values)})
    return found


def _write_spatial(
    annotations: Annotations, encoded: Sequence[bytes], writer: _Writer, limit: int
) -> dict[str, object]:
    low, high = (np.nan_to_num(bound[:, ::-1]) for bound in annotations.bounds)
    # What is stored is rounded to 32 bits: the bounds hold that too.
    start = np.nextafter(low.min(axis=0, initial=np.inf).astype("f4"), np.float32(-np.inf))
    stop = np.nextafter(high.max(axis=0, initial=-np.inf).astype("f4"), np.float32(np.inf))
    if not len(annotations):
        start, stop = np.zeros(3, "f4"), np.ones(3, "f4")
    begin = start.astype(np.float64)
    extent = np.maximum(stop.astype(np.float64) - begin, 1.0)
    levels = []
    for number, level in enumerate(
        spatial_levels(low, high, annotations.ids, limit=limit, start=begin, extent=extent)
    ):
        keys = {cell: morton_code(cell, level.grid) for cell in level.cells}
        values = {
            keys[cell]: _listed(rows.tolist(), encoded, annotations.ids)
            for cell, rows in level.cells.items()
        }
        names = {key: "_".join(map(str, cell)) for cell, key in keys.items()}
        said = writer.write(f"spatial{number}", values, names)
        grid = {"grid_shape": list(level.grid), "chunk_size": list(level.chunk), "limit": limit}
        levels.append(said | grid)
    bounds = {"lower_bound": begin.tolist(), "upper_bound": (begin + extent).tolist()}
    return {**bounds, "spatial": levels}
