"""Region tables kept in the cache folder, by the content that they were made of."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator

import numpy as np

from projectome.atlas.kernels import KEPT_UNKNOWN, Shapes
from projectome.atlas.regions import RegionTable, region_table, unknown_labels
from projectome.atlas.sides import Sides
from projectome.core.atlas import Atlas
from projectome.core.view import View
from projectome.core.volume import LazyArray, Volume
from projectome.errors import ParameterError, StoreError
from projectome.io import stores
from projectome.io.volumes.options import Evident
from projectome.settings import resolve

FOLDER = "regions"
VERSION = 1
"""Raised whenever the code gives other tables for the same atlas."""
LARGEST = 2**30


def kept_region_table(
    atlas: Atlas, *, workers: int | None = None, memory: int | str | None = None
) -> RegionTable:
    """Return the region table of an atlas, from the cache folder if it was measured before.

    The table is known by the regions, the grid, the hemispheres and what the files of the labels
    show of their content, see `projectome.io.source.VolumeSource.fingerprint`. Labels that are made
    in memory are measured every time.

    Parameters
    ----------
    atlas, workers, memory
        As for `projectome.atlas.regions.region_table`.
    """
    key = table_key(atlas)
    if key is None:
        return region_table(atlas, workers=workers, memory=memory)
    place = str(resolve()[0].cache.expanduser() / FOLDER / f"{key}.npz")
    sums = _read(place, len(atlas.terminology))
    if sums is not None:
        problems = (*atlas.problems, *unknown_labels(sums, atlas.name))
        stated = Sides.of(atlas).stated
        grid = atlas.annotation.affine
        return RegionTable(atlas.name, atlas.terminology, sums, grid, stated, problems)
    table = region_table(atlas, workers=workers, memory=memory)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **table.own._asdict())
    with contextlib.suppress(StoreError):  # a cache that cannot be written only costs time
        stores.write_bytes(place, buffer.getvalue())
    return table


def _read(place: str, regions: int) -> Shapes | None:
    """Return sums that were kept; None if there are none or they are broken."""
    try:
        data = stores.read_bytes(place, limit=LARGEST)
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            sums = Shapes(**{name: found[name] for name in Shapes._fields})
    except (StoreError, ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    empty = Shapes.empty(0)
    expected = [(regions + 1, *part.shape[1:]) for part in empty[:-1]] + [(KEPT_UNKNOWN,)]
    fits = [(p.shape, p.dtype) for p in sums] == [(s, np.dtype(np.int64)) for s in expected]
    return sums if fits else None


def table_key(atlas: Atlas) -> str | None:
    """Return what tells the region table of an atlas from all others; None if nothing does."""
    content = hashlib.sha256(f"regions {VERSION}".encode())

    def add(part: bytes) -> None:
        content.update(len(part).to_bytes(8, "little"))
        content.update(part)

    tree, midline = atlas.terminology, atlas.midline
    for array in (tree.ids, tree.parents, atlas.annotation.affine.matrix):
        add(array.tobytes())
    if midline is not None:
        add(midline.point.tobytes() + midline.normal.tobytes())
    halves = atlas.hemispheres if midline is None else None
    try:
        for volume in (atlas.annotation, *([] if halves is None else [halves])):
            for part in _evidence(volume):
                add(part)
    except ParameterError:
        return None
    return content.hexdigest()


def _evidence(volume: Volume) -> Iterator[bytes]:
    """Yield what tells the content of a volume.

    Raises
    ------
    ParameterError
        If nothing does.
    """
    array: LazyArray = volume.array
    while isinstance(array, View):
        yield f"{array.box} {array.order} {array.flipped}".encode()
        array = array.array
    if not isinstance(array, Evident):
        raise ParameterError(f"A {type(array).__name__} does not tell its content.")
    yield from array.evidence()
