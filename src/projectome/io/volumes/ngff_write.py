"""Metadata documents of an OME-Zarr volume, versions 0.4 and 0.5.

What OME-Zarr has no place for stands beside it under ``projectome``: the kind of the volume, and
the name, expansion and span of its space. Anatomical directions stand on the axes, by RFC-4.

References
----------
OME-Zarr 0.4 and 0.5, https://ngff.openmicroscopy.org; RFC-4, anatomical orientation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from projectome.core.space import OPPOSITE, Space
from projectome.core.volume import Array, Kind
from projectome.io.volumes.options import space_notes
from projectome.io.volumes.pyramid import Level

Version: TypeAlias = Literal["0.4", "0.5"]
Window: TypeAlias = tuple[float, float, float, float]

ROOT_DOCUMENTS: dict[Version, tuple[str, ...]] = {
    "0.4": (".zgroup", ".zattrs"),
    "0.5": ("zarr.json",),
}
"""In the order of writing: nothing is a volume before the last of them is there."""
COLORS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
METHODS = {
    "mean": "Mean of the existing 2x2x2 voxels of the level before, rounded half to even.",
    "mode": "Most frequent of the existing 2x2x2 voxels of the level before; of several, the "
    "smallest.",
}
VISIBLE = (1.0, 99.9)
"""Percentiles between which a channel is shown."""


def root_documents(
    version: Version,
    *,
    name: str,
    levels: Sequence[Level],
    kind: Kind,
    channels: Sequence[str],
    windows: Sequence[Window],
    provenance: str,
) -> dict[str, bytes]:
    """Return the documents of the root group by their names, in the order of writing.

    Parameters
    ----------
    version
        Of OME-Zarr.
    name
        What to call the image.
    levels
        Geometry, finest first; level k is the array ``"k"``.
    kind
        Labels get an ``image-label``, everything else ``omero`` channels.
    channels
        Names; empty without a channel axis.
    windows
        For each channel, or the only one, what `window` returns.
    provenance
        Hash of the record of what made it; empty if unknown.

    Returns
    -------
    dict
        Names relative to the group, and contents.
    """
    method = "mode" if kind == "labels" else "mean"
    multiscale: dict[str, object] = {
        **({"version": version} if version == "0.4" else {}),
        "name": name,
        "axes": _axes(levels[0].affine.target, bool(channels)),
        "datasets": [_dataset(k, level, bool(channels)) for k, level in enumerate(levels)],
        "type": method,
        "metadata": {"description": METHODS[method]},
    }
    ome: dict[str, object] = {"multiscales": [multiscale]}
    if kind == "labels":
        ome["image-label"] = {"version": version} if version == "0.4" else {}
    else:
        middle = levels[0].shape[0] // 2
        ome["omero"] = _omero(channels or (name,), windows, middle)
    space = levels[0].affine.target
    ours = {"kind": kind, **space_notes(space)}
    own = {"projectome": ours | ({"provenance": provenance} if provenance else {})}
    if version == "0.4":
        return {".zgroup": encode({"zarr_format": 2}), ".zattrs": encode({**ome, **own})}
    attributes = {"ome": {"version": version, **ome}, **own}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {"zarr.json": encode(group)}


def encode(document: object) -> bytes:
    """Return a JSON document, the same bytes for the same content."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _axes(space: Space, channels: bool) -> list[dict[str, object]]:
    axes: list[dict[str, object]] = [{"name": "c", "type": "channel"}] if channels else []
    for name, toward in zip("zyx", space.toward, strict=True):
        axis: dict[str, object] = {"name": name, "type": "space", "unit": "micrometer"}
        if toward is not None:
            value = f"{OPPOSITE[toward]}-to-{toward}"
            axis["orientation"] = {"type": "anatomical", "value": value}
        axes.append(axis)
    return axes


def _dataset(number: int, level: Level, channels: bool) -> dict[str, object]:
    scale = [1.0] * channels + list(level.affine.voxel_size)
    translation = [0.0] * channels + list(level.affine.translation)
    transforms = [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]
    return {"path": str(number), "coordinateTransformations": transforms}


def _omero(channels: Sequence[str], windows: Sequence[Window], middle: int) -> dict[str, object]:
    shown = []
    for number, (label, (low, high, start, end)) in enumerate(zip(channels, windows, strict=True)):
        color = COLORS[0] if len(channels) == 1 else COLORS[1 + number % (len(COLORS) - 1)]
        limits = {"min": low, "max": high, "start": start, "end": end}
        shown.append({"label": label, "color": color, "active": True, "window": limits})
    model = "greyscale" if len(channels) == 1 else "color"
    return {"channels": shown, "rdefs": {"defaultT": 0, "defaultZ": middle, "model": model}}


def window(values: Array) -> Window:
    """Return how a channel is shown: lowest and highest value possible, and the range to show.

    Parameters
    ----------
    values
        Voxels that stand for the channel, of any shape.

    Returns
    -------
    tuple of float
        ``min``, ``max``, ``start`` and ``end``: the limits of the element type (of the values, for
        floating point) and the percentiles `VISIBLE`. Whole numbers for integers.
    """
    number = int if values.dtype.kind in "iub" else float
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        finite = np.zeros(1, values.dtype)
    ordered = np.sort(finite, axis=None)
    start, end = (number(ordered[round(p / 100 * (ordered.size - 1))]) for p in VISIBLE)
    if values.dtype.kind == "f":
        return float(finite.min()), float(finite.max()), start, end if end > start else start + 1
    low, high = 0, 1
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype.name)
        low, high = int(limits.min), int(limits.max)
    start = min(start, high - 1)
    return low, high, start, max(end, start + 1)
