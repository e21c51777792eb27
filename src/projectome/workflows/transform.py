"""Files carried between a scan and an atlas: the verb transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from projectome.atlas.lookup import region_at
from projectome.core.affine import Affine
from projectome.core.atlas import Atlas
from projectome.core.box import triple
from projectome.core.points import Points
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, ParameterError, Problem, SpaceMismatchError
from projectome.imaging.resample import resample
from projectome.io.points import read_points, write_points
from projectome.io.skeletons import read_skeletons, write_skeletons
from projectome.io.skeletons.model import NamedSkeleton
from projectome.io.source import VolumeSource
from projectome.io.volumes.nifti_write import write_nifti
from projectome.io.volumes.write import write_volume
from projectome.registration.carry import carry_points, carry_skeleton, carry_volume
from projectome.registration.files import Saved
from projectome.registration.quality import at_points, region_probabilities
from projectome.workflows.published import open_registration

Kind = Literal["volume", "labels", "points", "skeletons"]
POINTS = (".csv", ".parquet", ".xml")
SKELETONS = (".swc", ".nml", ".zip", ".traces")
STEP = 20.0
"""Longest edge of a carried skeleton [um of tissue]."""
SHOWN = 4
"""Regions that a point names with their probability."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What `transform` wrote.

    Attributes
    ----------
    kind
        What the file was taken for.
    count
        Points, skeletons or voxels.
    space
        Where they lie now.
    problems
        What was doubtful.
    """

    kind: Kind
    count: int
    space: Space
    problems: tuple[Problem, ...] = ()


def direction(saved: Saved, to: str) -> Transform:
    """Return the transform that leads to a space given by name, ``atlas`` or ``scan``.

    Raises
    ------
    ParameterError
        If it is neither end of the registration.
    """
    source, target = saved.transform.source, saved.transform.target
    if to in ("atlas", target.name):
        return saved.transform
    if to in ("scan", source.name):
        return saved.transform.inverse()
    raise ParameterError(
        f"The registration joins {source.name!r} (scan) and {target.name!r} (atlas); {to!r} is "
        "neither. Say --to atlas or --to scan."
    )


def kind_of(url: str) -> Kind:
    """Return what a file is by its name: a table of points, skeletons, or a volume."""
    name = url.rstrip("/").lower()
    if name.endswith(POINTS):
        return "points"
    return "skeletons" if name.endswith(SKELETONS) or _is_neurons(url) else "volume"


def _is_neurons(url: str) -> bool:
    path = Path(url)
    return path.is_dir() and any(path.glob("*.swc"))


def transform(
    source: VolumeSource,
    registration: str | Path,
    to: str,
    out: str | Path,
    *,
    kind: Kind | None = None,
    atlas: Atlas | None = None,
    voxel_size: float = 0.0,
    step: float = STEP,
    template: str = "",
    overwrite: bool = False,
) -> Carried:
    """Carry a volume, points or skeletons between a scan and an atlas.

    Parameters
    ----------
    source
        The file. Points and skeletons are micrometres of the space that they come from.
    registration
        Folder of `projectome.workflows.register.register`, or an asset with published transforms,
        see `projectome.workflows.published.open_registration`.
    to
        ``"atlas"`` or ``"scan"``, or the name of that space.
    out
        ``.ome.zarr`` or ``.nii.gz`` for volumes; ``.csv`` or ``.parquet`` for points; ``.swc``,
        ``.zip`` or a folder for skeletons.
    kind
        What the file is; by its name if None. Labels are taken from the nearest voxel.
    atlas
        With it, points and tables carried into the atlas name their regions with probabilities.
    voxel_size
        Of a carried volume [um of the space it goes to]; that of the source in tissue if 0.
    step
        Longest edge of a carried skeleton [um of tissue]: bent edges get nodes.
    template
        Folder with the transforms from an asset's template to the CCF.
    overwrite
        Replace what is there.

    Returns
    -------
    Carried
        How many.

    Raises
    ------
    ParameterError
        If `to` is no end of the registration, or a number is out of range.
    SpaceMismatchError
        If the file says that it lies in another space.
    """
    saved, notes = open_registration(registration, template=template)
    way = direction(saved, to)
    if step <= 0 or voxel_size < 0:
        raise ParameterError(f"A step is positive, a voxel size 0 or more: {step}, {voxel_size}.")
    what = kind or kind_of(source.url)
    if what == "points":
        done = _points(source.url, saved, way, out, atlas=atlas, overwrite=overwrite)
    elif what == "skeletons":
        done = _skeletons(source.url, way, out, step=step, overwrite=overwrite)
    else:
        labels = what == "labels"
        done = _volume(source, way, out, labels=labels, size=voxel_size, overwrite=overwrite)
    return replace(done, problems=(*notes, *done.problems))


TURN = "Turn it round with --to, or take the registration of that volume."


def placed(space: Space, wanted: Space, where: str, *, way_out: str = TURN) -> Space:
    """Return the space wanted where a file does not contradict it.

    Parameters
    ----------
    space
        Of the file.
    wanted
        In which it is used.
    where
        The file, for the message.
    way_out
        What to do about a contradiction.

    Raises
    ------
    SpaceMismatchError
        If it does.
    """
    unnamed = space.name in ("scan", "")
    known = [t for t in space.toward if t is not None]
    turned = bool(known) and space.toward != wanted.toward
    if space.expansion not in (1.0, wanted.expansion):
        raise SpaceMismatchError(
            f"{where} says that its micrometres are {space.expansion:g} times those of the tissue, "
            f"and those of {wanted.name!r} are {wanted.expansion:g} times. {way_out}"
        )
    if (not unnamed and space.name != wanted.name) or turned:
        raise SpaceMismatchError(
            f"{where} lies in {space.name!r} with axes toward {space.code(meaning='toward')}, and "
            f"{wanted.name!r}, toward {wanted.code(meaning='toward')}, is wanted. {way_out}"
        )
    return wanted


def _points(
    url: str,
    saved: Saved,
    way: Transform,
    out: str | Path,
    *,
    atlas: Atlas | None,
    overwrite: bool,
) -> Carried:
    read = read_points(url)
    if read.space.unit != "micrometer":
        raise FormatError(f"{url} holds voxels. Convert its coordinates to micrometres first.")
    own = Points(read.coordinates, placed(read.space, way.source, url), read.columns)
    moved = carry_points(own, way)
    into_atlas = way.target == saved.transform.target
    if saved.uncertainty is not None:
        scan = own.coordinates if into_atlas else moved.coordinates
        moved = moved.with_columns(uncertainty_um=at_points(saved.uncertainty, scan))
    if atlas is not None and into_atlas:
        moved = with_regions(moved, atlas)
    write_points(moved, out, overwrite=overwrite)
    return Carried("points", len(moved), way.target, _outside(saved, way, own.coordinates, moved))


def _outside(
    saved: Saved, way: Transform, before: NDArray[np.float64], moved: Points
) -> tuple[Problem, ...]:
    """Warn of points beyond the field, where the map is a guess."""
    into_atlas = way.target == saved.transform.target
    field = way.links[-1] if into_atlas else way.links[0]
    if not isinstance(field, DisplacementField):  # a chain of other programs
        return ()
    start = way.links[0](before) if into_atlas else before
    index = field.grid.inverse()(start)
    limit = np.asarray(field.displacement.shape[:3]) - 1
    out = int(((index < -1) | (index > limit + 1)).any(axis=1).sum())
    if not out:
        return ()
    text = f"{out} of {len(before)} points lie outside the field; they are carried by its rim"
    return (Problem("warning", way.source.name, text),)


def with_regions(points: Points, atlas: Atlas) -> Points:
    """Return points of an atlas with their regions.

    Columns ``region_id``, ``acronym`` and ``hemisphere`` (0 where the atlas has no midline), and
    where ``uncertainty_um`` is there ``regions``: the likeliest with their probabilities, for
    instance ``VISp 0.83, VISl 0.17``.
    """
    tree = atlas.terminology
    names: dict[int, str] = dict(zip(tree.ids.tolist(), tree.acronyms, strict=True)) | {0: "-"}
    ids = np.asarray(region_at(atlas, points.coordinates), np.int64)
    columns: dict[str, Any] = {
        "region_id": ids,
        "acronym": np.array([names.get(i, str(i)) for i in ids.tolist()], dtype=str),
    }
    if atlas.midline is not None:
        columns["hemisphere"] = atlas.midline.hemisphere(points.coordinates)
    if "uncertainty_um" in points.columns:
        sigma = np.asarray(points["uncertainty_um"], np.float64)
        likely = region_probabilities(atlas.annotation, points.coordinates, sigma)
        columns["regions"] = np.array([_named(one, names) for one in likely], dtype=str)
    return points.with_columns(**columns)


def _named(probabilities: dict[int, float], names: dict[int, str]) -> str:
    first = list(probabilities.items())[:SHOWN]
    return ", ".join(f"{names.get(i, str(i))} {share:.2f}" for i, share in first)


def _skeletons(
    url: str, way: Transform, out: str | Path, *, step: float, overwrite: bool
) -> Carried:
    read = read_skeletons(url)
    moved = []
    for item in read:
        space = placed(item.skeleton.space, way.source, f"{url}: {item.name}")
        own = replace(item.skeleton, space=space)
        bent = carry_skeleton(own, way, step=step * way.source.expansion)
        moved.append(NamedSkeleton(bent, item.name, np.arange(1, len(bent) + 1)))
    write_skeletons(moved, out, overwrite=overwrite)
    return Carried("skeletons", len(moved), way.target, read.problems)


def _volume(
    source: VolumeSource,
    way: Transform,
    out: str | Path,
    *,
    labels: bool,
    size: float,
    overwrite: bool,
) -> Carried:
    pyramid = source.pyramid()
    scale = way.target.expansion / way.source.expansion
    finest = pyramid[source.level]
    voxel = size or float(min(finest.voxel_size)) * scale
    chosen = _level(pyramid, source, voxel / scale)
    space = placed(replace(chosen.space), way.source, source.url)
    volume = chosen.with_space(space)
    if labels:
        volume = replace(volume, kind="labels")
    elif max(voxel / scale / np.asarray(volume.voxel_size)) > 1.5:
        volume = resample(volume, voxel / scale)
    low, high = _reach(volume, way)
    shape = triple(np.maximum(1, np.ceil((high - low) / voxel)).astype(int))
    grid = Affine.from_scale([voxel] * 3, low + voxel / 2, target=way.target)
    moved = carry_volume(volume, way, grid, shape)
    if str(out).endswith((".nii", ".nii.gz")):
        write_nifti(moved, str(out), overwrite=overwrite)
    else:
        write_volume(moved, str(out), overwrite=overwrite)
    return Carried("labels" if labels else "volume", moved.box.size, way.target)


def _level(pyramid: Pyramid, source: VolumeSource, voxel: float) -> Volume:
    """Return the level of a source to carry at a voxel size, with one channel."""
    level = pyramid.at(voxel_size=voxel)
    number = max(source.level, next(i for i, v in enumerate(pyramid.levels) if v is level))
    volume = replace(source, level=number).open()
    if len(volume.channels) > 1:
        raise ParameterError(
            f"{volume.name} has the channels {', '.join(map(repr, volume.channels))}. Pick one "
            "with --channel; carry them one by one."
        )
    return volume


def _reach(volume: Volume, way: Transform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of what a transform may show of a volume [um of its target]."""
    first = way.inverse().links[0]
    inner = first if isinstance(first, DisplacementField) else None
    shape = np.asarray(volume.shape)
    faces = np.stack(
        np.meshgrid(*[np.linspace(-0.5, n - 0.5, 7) for n in shape], indexing="ij"), -1
    ).reshape(-1, 3)
    moved = way(volume.affine(faces))
    low, high = moved.min(axis=0), moved.max(axis=0)
    if inner is not None:  # into the atlas: no further than the atlas itself
        limit = np.asarray(inner.displacement.shape[:3])
        ends = inner.grid(np.array([[-0.5] * 3, limit - 0.5]))
        low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    if not (high > low).all():
        raise SpaceMismatchError(
            f"{volume.name} lies outside what the registration covers: {low} to {high} um. Check "
            "that it is the volume that was registered."
        )
    return low, high
