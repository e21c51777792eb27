"""Atlases in the layout of BrainGlobe, version 3: from the public bucket, or a folder like it.

A manifest names the parts of an atlas: a tree of regions, an annotation, a template, hemispheres
and meshes, each with a version of its own. Nothing is read of an atlas but its documents until it
is asked for; what was read of the bucket once is kept in the cache folder and serves offline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from projectome.atlas import tree
from projectome.atlas.bucket import find_atlas
from projectome.core.affine import Affine
from projectome.core.atlas import Atlas, Plane
from projectome.core.box import BlockGrid
from projectome.core.space import Space
from projectome.core.volume import Pyramid, Volume
from projectome.errors import (
    FormatError,
    MetadataError,
    NotFoundError,
    ParameterError,
    Problem,
)
from projectome.io.documents import parse_json
from projectome.io.mirror import Mirror

ANNOTATIONS = ("annotations_compressed.ome.zarr", "annotation.ome.zarr")
"""Names of the label volume, the newer first. ``annotations.ome.zarr`` is never it: that is a stack
of masks, one a region."""
TEMPLATES = ("template.ome.zarr", "anatomical_template.ome.zarr")
HEMISPHERES = "hemispheres.ome.zarr"
MESHES = "annotations.precomputed/mesh"
TERMINOLOGY = "terminology.csv"
TOWARD = {"right": 1.0, "left": -1.0}


def open_brainglobe(name: str, source: Mirror, *, version: str = "") -> Atlas:
    """Open an atlas of a tree.

    Parameters
    ----------
    name
        For instance ``"allen_mouse_25um"``; ``25.0um`` and ``25um`` are the same.
    source
        See `atlas_tree`.
    version
        For instance ``"3.0"``; the latest if empty, of those on this machine where the store cannot
        be asked.

    Returns
    -------
    Atlas
        Its annotation is the level of the voxel size in the name; ``metadata`` has the manifest
        and ``source``.

    Raises
    ------
    UnknownNameError
        If the tree has no such atlas.
    NotFoundError
        If a part is missing.
    MetadataError
        If the parts contradict one another.
    FormatError
        If a part is broken, or a local copy lacks chunks.
    StoreError
        If the store does not answer and the atlas was not used before.
    """
    folder, version = find_atlas(name, source, version)
    where = f"atlases/{folder}/{version.replace('.', '_')}/manifest.json"
    manifest = parse_json(source.document(where), url=f"{source.url}/{where}")
    parts = _Parts(source, manifest, f"{source.url}/{where}")
    problems: list[Problem] = []
    place = f"{parts.location('terminology')}/{TERMINOLOGY}"
    terms, notes = tree.read_csv(source.document(place), where=f"{source.url}/{place}")
    problems += notes
    annotation = parts.volume("annotation_set", ANNOTATIONS)
    _check_annotation(annotation)
    levels = _levels(annotation, parts, problems)
    images = parts.template(problems)
    space = _space(manifest, annotation.space, parts.where)
    labels = [_placed(level, space, "labels", name) for level in levels]
    if source.local:  # a copy that another program may have left half-way
        check_whole(labels, str(annotation.metadata.get("url")))
    templates = _matching([_placed(t, space, "image", name) for t in images], labels[0])
    midline, halves = _hemispheres(parts, labels[0], manifest, problems)
    return Atlas(
        name,
        terms,
        labels[0],
        templates[0] if templates else None,
        midline,
        halves,
        tuple(labels[1:]),
        tuple(templates[1:]),
        tuple(problems),
        {"source": source.url, "layout": "BrainGlobe v3", "version": version, **manifest},
    )


def mesh_ids(atlas: Atlas, source: Mirror) -> tuple[int, ...]:
    """Return the regions that have a mesh, by id; the store is asked.

    Meshes are those of neuroglancer, ``MESH/ID`` with an index beside it; one with an empty index
    has no fragments and is left out.

    Raises
    ------
    StoreError
        If the store does not answer as hoped.
    """
    manifest = dict(atlas.metadata)
    parts = _Parts(source, manifest, str(atlas.metadata.get("source", "")))
    place = f"{parts.location('annotation_set')}/{MESHES}"
    try:
        found = source.listing(place) if not source.local else _local_sizes(source.place(place))
    except NotFoundError:
        return ()
    sizes = {path: getattr(item, "size", item) for path, item in found.items()}
    names = (path for path in sizes if path.isdecimal() and sizes.get(f"{path}.index"))
    return tuple(sorted(int(path) for path in names))


def _local_sizes(folder: str) -> dict[str, int]:
    path = Path(folder)
    return {p.name: p.stat().st_size for p in path.iterdir()} if path.is_dir() else {}


@dataclass(frozen=True)
class _Parts:
    """The parts that a manifest names."""

    source: Mirror
    manifest: Mapping[str, Any]
    where: str

    def location(self, part: str) -> str:
        """Return the path of a part in the tree."""
        entry = self.manifest.get(part)
        path = entry.get("location") if isinstance(entry, Mapping) else None
        if not isinstance(path, str) or not path.strip("/"):
            raise MetadataError(
                f"{self.where} does not say where the {part} lies. Fetch the manifest again.",
                [Problem("error", f"{part}.location", f"It is {path!r}.")],
            )
        return path.strip("/")

    def volume(self, part: str, names: Sequence[str]) -> Pyramid:
        """Return the first volume of those names that a part has."""
        place = self.location(part)
        for name in names:
            if self.source.has(f"{place}/{name}/zarr.json") or self.source.has(
                f"{place}/{name}/.zattrs"
            ):
                return self._three_axes(f"{place}/{name}")
        raise NotFoundError(
            f"{self.source.url}/{place} has none of {', '.join(names)}. The copy is incomplete, or "
            f"of a later layout: fetch it again, or list it with: projectome ls "
            f"{self.source.url}/{place}"
        )

    def _three_axes(self, path: str) -> Pyramid:
        """Open an image of three axes and no more."""
        try:
            return self.source.volume(path)
        except ParameterError as error:  # it asks which place of a further axis is meant
            raise FormatError(
                f"{self.source.url}/{path} has more axes than three: it may be the stack of masks, "
                f"which is no volume of region ids. Fetch the atlas again. ({error})"
            ) from None

    def template(self, problems: list[Problem]) -> list[Volume]:
        """Return the levels of the template that the annotation was drawn on; none if missing."""
        inner = self.manifest.get("annotation_set")
        entry = inner.get("template") if isinstance(inner, Mapping) else None
        stated = entry or self.manifest.get("template")
        if not stated:
            problems.append(Problem("warning", "template", "The atlas has no template."))
            return []
        try:
            found = _Parts(self.source, {"template": stated}, self.where).volume(
                "template", TEMPLATES
            )
        except NotFoundError as error:
            problems.append(Problem("warning", "template", f"It is missing: {error}"))
            return []
        return _aligned(found, problems)


def _check_annotation(annotation: Pyramid) -> None:
    first = annotation[0]
    if len(first.array.shape) != 3 or first.dtype.kind not in "iu":
        raise FormatError(
            f"{annotation.metadata.get('url')} is no volume of region ids: {first.array.shape} "
            f"{first.dtype}. It may be the stack of masks; the ids are in {ANNOTATIONS[0]}."
        )


def _aligned(pyramid: Pyramid, problems: list[Problem]) -> list[Volume]:
    """Return the levels, moved to share an outer corner where the file states no positions.

    Files of the first generation state scales alone. Their levels are block averages, or modes, of
    voxels that share the outer corner, so that voxel 0 of level k has its centre at
    (size_k - size_0) / 2.
    """
    first = pyramid[0]
    origins = [np.asarray(level.affine.translation) for level in pyramid]
    coarser = any(max(level.voxel_size) > 1.01 * max(first.voxel_size) for level in pyramid)
    if not coarser or any(origin.any() for origin in origins):
        return list(pyramid)
    shift = [(np.asarray(v.voxel_size) - first.voxel_size) / 2 for v in pyramid]
    where = str(pyramid.metadata.get("url"))
    text = "The levels state no position; read as sharing the outer corner of voxel 0."
    problems.append(Problem("warning", where, text))
    return [
        replace(v, affine=Affine.from_scale(v.voxel_size, s, target=v.space))
        for v, s in zip(pyramid, shift, strict=True)
    ]


def _levels(annotation: Pyramid, parts: _Parts, problems: list[Problem]) -> list[Volume]:
    """Return the level of the manifest's resolution and the coarser ones."""
    levels = _aligned(annotation, problems)
    stated = np.asarray(parts.manifest.get("resolution", ()), dtype=object).ravel()
    try:
        wanted = np.asarray(stated[:3], dtype=np.float64)
    except (TypeError, ValueError):
        wanted = np.empty(0)
    if wanted.shape != (3,):
        problems.append(Problem("warning", "resolution", "Not stated; the finest level is taken."))
        return levels
    close = [k for k, v in enumerate(levels) if np.allclose(v.voxel_size, wanted, rtol=0.01)]
    if not close:
        text = (
            f"The manifest says {wanted.tolist()} um, and the annotation has "
            f"{[v.voxel_size for v in levels]}; its finest level is taken."
        )
        problems.append(Problem("warning", "resolution", text))
        return levels
    shape = parts.manifest.get("shape")
    if isinstance(shape, list) and tuple(shape) != levels[close[0]].shape:
        text = f"The manifest says {shape} voxels, the annotation has {levels[close[0]].shape}."
        problems.append(Problem("warning", "shape", text))
    return levels[close[0] :]


def _space(manifest: Mapping[str, Any], stated: Space, where: str) -> Space:
    """Return the space of an atlas; the manifest's code says where axes come from."""
    entry = manifest.get("coordinate_space")
    name = entry.get("name") if isinstance(entry, Mapping) else None
    name = name if isinstance(name, str) and name else str(manifest.get("name", "atlas"))
    code = manifest.get("orientation")
    try:
        said = Space.from_code(str(code), meaning="from") if code else Space()
    except ParameterError as error:
        raise MetadataError(
            f"The orientation in {where} cannot be used. Correct the manifest.",
            [Problem("error", "orientation", str(error))],
        ) from None
    if said.oriented and stated.oriented and said.toward != stated.toward:
        text = f"The manifest says toward {said.toward}, the annotation toward {stated.toward}."
        raise MetadataError(
            f"Two parts of the atlas at {where} contradict one another about left and right, or "
            "the other directions. Ask its makers which is right, and correct one of them.",
            [Problem("error", "orientation", text)],
        )
    toward = stated.toward if stated.oriented else said.toward
    return Space(name, toward=toward)


def _placed(volume: Volume, space: Space, kind: Any, name: str) -> Volume:
    return replace(volume.with_space(space), kind=kind, name=f"{name} {kind}")


def _matching(templates: list[Volume], annotation: Volume) -> list[Volume]:
    """Return the levels of the template from the one that is as fine as the annotation."""
    size = max(annotation.voxel_size)
    from_here = [t for t in templates if max(t.voxel_size) >= 0.99 * size]
    return from_here or templates[-1:]


def check_whole(levels: Sequence[Volume], where: str) -> None:
    """Refuse a copy in which chunks are missing that a coarser level shows to hold labels.

    Missing chunks read as background, so that a download that was broken off would give wrong
    answers. A level is compared with the next coarser one; nothing is read where all chunks are
    there.

    Parameters
    ----------
    levels
        Of one annotation, finest first.
    where
        Its address, for the message.

    Raises
    ------
    FormatError
        With the number of missing chunks.
    """
    for fine, coarse in pairwise(levels):
        is_absent = getattr(fine.array, "is_absent", None)
        if is_absent is None:
            return
        missing = 0
        for block in BlockGrid(fine.box, fine.chunks):
            if is_absent(block.core.slices):
                # One voxel of the coarse level less on each side: at edges the two may differ.
                start, stop = np.asarray(block.core.bounds)
                ends = fine.affine(np.stack([start, stop - 1]))
                box = coarse.voxel_box(*ends)
                missing += bool(box.size and coarse.read(box).any())
        if missing:
            raise FormatError(
                f"{missing} chunks are missing from the level of {fine.voxel_size} um of {where}, "
                "where a coarser level has labels: its download was broken off. Fetch it again, or "
                "open the atlas by its name, and what is read is fetched and checked."
            )


def midline_of(annotation: Volume) -> Plane | None:
    """Return the plane through the middle of a volume between left and right, None if unknown.

    Of an atlas that is symmetric by construction; it lies between the two middle voxels, or in the
    centre of the middle one.
    """
    for axis, direction in enumerate(annotation.space.toward):
        if direction in TOWARD:
            middle = annotation.affine([(np.asarray(annotation.shape) - 1) / 2])[0]
            normal = np.zeros(3)
            normal[axis] = TOWARD[direction]
            return Plane(middle, normal, annotation.space)
    return None


def _hemispheres(
    parts: _Parts, annotation: Volume, manifest: Mapping[str, Any], problems: list[Problem]
) -> tuple[Plane | None, Volume | None]:
    """Return the midline of a symmetric atlas, or the volume of hemispheres of another."""
    if manifest.get("symmetric") is True:
        return midline_of(annotation), None
    try:
        found = parts.volume("annotation_set", (HEMISPHERES,))
    except NotFoundError:
        text = "The atlas is not symmetric and has no volume of hemispheres: they are not known."
        problems.append(Problem("warning", "hemispheres", text))
        return None, None
    for level in _aligned(found, []):
        if level.shape == annotation.shape:
            placed = _placed(level, annotation.space, "labels", "hemispheres")
            return None, replace(placed, affine=annotation.affine)
    text = f"No level has the {annotation.shape} voxels of the annotation: they are not known."
    problems.append(Problem("warning", "hemispheres", text))
    return None, None
