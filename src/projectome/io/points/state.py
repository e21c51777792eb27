"""Annotations that stand in a neuroglancer state, the JSON behind a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.core.space import Space
from projectome.errors import FormatError, Problem, UnknownNameError
from projectome.io.documents import parse_json
from projectome.io.points.annotations import Annotations
from projectome.io.points.layout import Property
from projectome.io.points.precomputed import dimensions
from projectome.io.skeletons.model import Given

FIELDS: dict[str, tuple[str, ...]] = {
    "point": ("point",),
    "line": ("pointA", "pointB"),
    "axis_aligned_bounding_box": ("pointA", "pointB"),
    "ellipsoid": ("center", "radii"),
}
SEGMENTS = "segments"


def parse_state(
    data: bytes, *, url: str, given: Given | None = None, layer: str | None = None
) -> list[Annotations]:
    """Read the annotations of a neuroglancer state.

    Parameters
    ----------
    data
        The document.
    url
        Where it came from, for messages.
    given
        What the caller says about coordinates.
    layer
        Name of the layer; all that hold annotations if None.

    Returns
    -------
    list of Annotations
        One a layer and kind, in the order of the state; the ids of the state, which are texts, and
        descriptions are the columns ``key`` and ``description``. Layers that only name another
        place are noted as a problem of the first.

    Raises
    ------
    FormatError
        If it is no state, or an annotation lacks its coordinates.
    UnknownNameError
        If there is no such layer.
    """
    document = parse_json(data, url=url)
    layers = document.get("layers")
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        raise FormatError(f"{url} has no list 'layers': it is not a neuroglancer state.")
    holding = [e for e in layers if e.get("type") == "annotation" or "annotations" in e]
    names = [str(entry.get("name", "")) for entry in holding]
    if layer is not None and layer not in names:
        raise UnknownNameError("annotation layer", layer, names, where=url)
    found: list[Annotations] = []
    problems: list[Problem] = []
    for name, entry in zip(names, holding, strict=True):
        if layer is not None and name != layer:
            continue
        listed = entry.get("annotations")
        if not isinstance(listed, list):
            places = [str(s.get("url", "")) for s in _sources(entry)]
            message = f"annotations are not here but at {', '.join(places)[:200]}; read that."
            problems.append(Problem("warning", f"{url}: layer {name!r}", message))
            continue
        found += _layer(document, entry, listed, name, url, given or Given())
    if not found:
        raise FormatError(
            f"{url} holds no annotations. " + " ".join(str(problem) for problem in problems)
        )
    if problems:
        found[0] = replace(found[0], problems=(*found[0].problems, *problems))
    return found


def _sources(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    source = entry.get("source", [])
    listed = source if isinstance(source, list) else [source]
    return [s if isinstance(s, dict) else {"url": s} for s in listed]


def _layer(
    document: Mapping[str, Any],
    entry: Mapping[str, Any],
    listed: Sequence[Any],
    name: str,
    url: str,
    given: Given,
) -> list[Annotations]:
    where = f"{url}: layer {name!r}"
    axes, scale, extra = _dimensions(document, entry, where, given)
    kinds: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, annotation in enumerate(listed, 1):
        if not isinstance(annotation, dict):
            raise FormatError(f"{where}: annotation {number} is {str(annotation)[:60]}.")
        kind = str(annotation.get("type", "point")).lower()
        if kind != "polyline" and kind not in FIELDS:
            raise FormatError(f"{where}: annotation {number} is of the unknown type {kind!r}.")
        kinds.setdefault(kind, []).append((number, annotation))
    properties = [Property.parse(p, url=where) for p in _list(entry, "annotationProperties", where)]
    factors, _ = given.factors(scale)
    made = []
    for kind, own in kinds.items():
        rank = len(axes) + len(extra)
        vectors = [_vectors(a, kind, rank, f"{where}: annotation {n}") for n, a in own]
        counts = np.array([len(v) for v in vectors], dtype=np.int64)
        stacked = np.concatenate(vectors)
        columns = _columns([a for _, a in own], properties, where)
        for at, dimension in extra:
            if (counts > 0).all():
                columns.setdefault(dimension, stacked[np.cumsum(counts) - counts, at])
        made.append(
            Annotations(
                kind,  # type: ignore[arg-type]
                stacked[:, axes] * factors,
                counts,
                given.settle(Space()),
                np.array([n for n, _ in own], dtype=np.uint64),
                columns,
                _related([a for _, a in own], entry, where),
                name,
            )
        )
    return made


def _dimensions(
    document: Mapping[str, Any], entry: Mapping[str, Any], where: str, given: Given
) -> tuple[list[int], NDArray[np.float64], list[tuple[int, str]]]:
    """Return where the axes are, their scale and other dimensions: the layer's own come first."""
    own = None
    for source in _sources(entry):
        transform = source.get("transform")
        if isinstance(transform, dict):
            own = transform.get("inputDimensions") or transform.get("outputDimensions")
            matrix = transform.get("matrix")
            if matrix is not None and not _is_identity(matrix):
                raise FormatError(
                    f"{where}: its source is moved by a matrix, which is not applied here. Remove "
                    "the transform in neuroglancer, or export the annotations."
                )
    sizes = entry.get("voxelSize")
    if own is None and isinstance(sizes, list) and len(sizes) == 3:  # states before 2019
        own = {axis: [size, "nm"] for axis, size in zip("xyz", sizes, strict=True)}
    said = own or document.get("dimensions")
    return dimensions(said, url=where, scaled=given.scale is not None)


def _is_identity(matrix: object) -> bool:
    try:
        rows = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return (
        rows.ndim == 2
        and rows.shape == (len(rows), len(rows) + 1)
        and bool((rows == np.eye(*rows.shape)).all())
    )


def _vectors(
    annotation: Mapping[str, Any], kind: str, rank: int, where: str
) -> NDArray[np.float64]:
    values = (
        annotation.get("points")
        if kind == "polyline"
        else [annotation.get(field) for field in FIELDS[kind]]
    )
    try:
        vectors = np.asarray(values, dtype=np.float64).reshape(-1, rank)
        if not np.isfinite(vectors).all() or not isinstance(values, list):
            raise ValueError
        if len(vectors) != len(values):
            raise ValueError
    except (TypeError, ValueError):
        raise FormatError(
            f"{where} has no coordinates of {rank} numbers: {str(annotation)[:160]}. Correct it."
        ) from None
    return vectors


def _columns(
    annotations: Sequence[Mapping[str, Any]], properties: Sequence[Property], where: str
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "key": np.array([str(a.get("id", "")) for a in annotations], dtype=object)
    }
    if any(a.get("description") for a in annotations):
        texts = [str(a.get("description") or "") for a in annotations]
        columns["description"] = np.array(texts, dtype=object)
    for place, prop in enumerate(properties):
        values = [_at(a.get("props"), place) for a in annotations]
        if any(isinstance(v, str) for v in values):
            columns[prop.id] = np.array(["" if v is None else str(v) for v in values], dtype=object)
            continue
        try:
            numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise FormatError(f"{where}: values of {prop.id!r} are no numbers.") from None
        whole = prop.type != "float32" and (numbers == np.round(numbers)).all()
        small = whole and (np.abs(numbers) < 2**32).all()
        columns[prop.id] = prop.column(numbers.astype(np.int64) if small else numbers)
    return columns


def _at(values: object, place: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else None


def _related(
    annotations: Sequence[Mapping[str, Any]], entry: Mapping[str, Any], where: str
) -> dict[str, list[NDArray[np.uint64]]]:
    names = [str(n) for n in _list(entry, "annotationRelationships", where)] or [SEGMENTS]
    if len(set(names)) < len(names):
        raise FormatError(f"{where}: two relationships have the same name.")
    if not any(a.get("segments") for a in annotations):
        return {}
    found: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in names}
    for annotation in annotations:
        lists = annotation.get("segments") or []
        if isinstance(lists, list) and lists and not isinstance(lists[0], list):
            lists = [lists]  # one relationship, in older states
        for place, name in enumerate(names):
            try:
                ids = [int(value) for value in _at(lists, place) or []]
                found[name].append(np.array(ids, dtype=np.uint64))
            except (TypeError, ValueError, OverflowError):
                raise FormatError(f"{where}: segments {str(lists)[:80]} are no ids.") from None
    return found


def _list(entry: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        raise FormatError(f"{where}: {key!r} is not a list. Correct it.")
    return value
