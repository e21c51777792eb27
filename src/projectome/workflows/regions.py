"""What lies in the regions of an atlas: points, skeletons and images, from files to tidy tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.atlas.contents import count_points, label_points, measure_image
from projectome.atlas.kept import kept_region_table
from projectome.atlas.lengths import measure_lengths
from projectome.core.affine import VOXELS, Affine
from projectome.core.atlas import Atlas
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.transform import Transform
from projectome.core.volume import Volume
from projectome.errors import FormatError, ParameterError, Problem, SpaceMismatchError
from projectome.io.points import read_points
from projectome.io.skeletons import read_skeletons
from projectome.io.source import VolumeSource
from projectome.registration.carry import carry_points, divided
from projectome.registration.files import Saved
from projectome.registration.overlay import Overlay, overlay
from projectome.workflows.measure import neuron_files
from projectome.workflows.transform import STEP, Kind, kind_of, placed

FAR = 0.2
"""Share of points or cable outside all regions from which on the units are doubted."""
SAY_SO = (
    "Carry it there first (projectome transform), or name the registration: --with DIR. If it lies "
    "there already, correct the space that the file states."
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What `region_contents` found.

    Attributes
    ----------
    kind
        What the file was taken for.
    table
        One row a region and hemisphere (and neuron and kind of neurite); see
        `projectome.atlas.contents.count_points`, `projectome.atlas.lengths.measure_lengths` and
        `projectome.atlas.contents.measure_image`.
    points
        Of points: each with its region and hemisphere; else None.
    problems
        What was doubtful.
    """

    kind: Kind
    table: pd.DataFrame
    points: Points | None
    problems: tuple[Problem, ...]


def region_contents(
    source: VolumeSource,
    atlas: Atlas,
    *,
    kind: Kind | None = None,
    registration: Saved | None = None,
    ccf: bool = False,
    within_um: float = 0.0,
    threshold: float = 0.0,
    scale: float | None = None,
) -> Contents:
    """Measure what of a file lies in the regions and hemispheres of an atlas.

    Parameters
    ----------
    source
        Points are counted, skeletons cut at voxel faces and at the midline, the voxels of images
        summed.
    atlas
        On the level to use.
    kind
        What the file is; by its name if None.
    registration
        Joins the scan that the file lies in to the atlas; None for a file in the atlas. Images
        stay on their own grid and are measured in micrometres of their tissue; lengths are those
        in the tissue too.
    ccf
        Coordinates are as BrainGlobe and the Allen write them: x, y and z run along the first,
        second and third axis of the atlas, from the outer corner of its first voxel. Otherwise
        they are as projectome writes them: z, y, x, from the centre of that voxel. Of images, the
        outer corners of the first voxels are one.
    within_um
        Points outside all regions take the nearest region that is no farther.
    threshold
        Voxels of images above it are signal.
    scale
        Micrometres in one unit of the coordinates of skeletons; as the files say if None.

    Raises
    ------
    SpaceMismatchError
        If the file says that it lies elsewhere, or an image meets no region.
    ParameterError
        If options contradict one another.
    """
    if registration is not None and ccf:
        raise ParameterError(
            "Coordinates of a scan are carried by its registration; only those of an atlas can be "
            "in its own convention. Leave one of --with and --ccf out."
        )
    what = kind or kind_of(source.url)
    way = None if registration is None else registration.transform
    if what == "points":
        return _points(source, atlas, way, ccf, within_um)
    if what == "skeletons":
        return _skeletons(source, atlas, way, ccf, scale)
    return _image(source, atlas, registration, ccf, threshold)


def corner_of(atlas: Atlas) -> NDArray[np.float64]:
    """Return where the outer corner of an atlas's first voxel lies, shape (3,) [um]."""
    return atlas.annotation.affine([(-0.5, -0.5, -0.5)])[0]


def _own(places: NDArray[np.float64], atlas: Atlas, ccf: bool) -> NDArray[np.float64]:
    """Return coordinates as projectome writes them."""
    return places[:, ::-1] + corner_of(atlas) if ccf else places


def image_in_atlas(
    source: VolumeSource,
    atlas: Atlas,
    *,
    registration: Saved | None = None,
    ccf: bool = False,
) -> tuple[Volume, Transform]:
    """Open an image and the way from its space into an atlas.

    Parameters
    ----------
    source
        The image, at its level.
    atlas, registration, ccf
        As for `region_contents`.

    Raises
    ------
    SpaceMismatchError
        If the image says that it lies elsewhere.
    """
    volume = source.open()
    if registration is not None:
        start = registration.transform.source
        if registration.transform.target != atlas.space:
            raise SpaceMismatchError(
                f"The registration leads to {registration.transform.target}, not to {atlas.space} "
                f"of {atlas.name}. Name the atlas that it was made with: --atlas."
            )
        return volume.with_space(placed(volume.space, start, source.url)), registration.transform
    space = placed(volume.space, atlas.space, source.url, way_out=SAY_SO)
    volume = volume.with_space(space)
    if ccf:
        first = source_first(source)
        corner = first.affine([(-0.5, -0.5, -0.5)])[0]
        moved = np.array(volume.affine.matrix)
        moved[:3, 3] += corner_of(atlas) - corner
        volume = replace(volume, affine=Affine(moved, VOXELS, space))
    return volume, Transform((Affine(np.eye(4), space, space),))


def source_first(source: VolumeSource) -> Volume:
    """Return the finest level of an image."""
    return replace(source, level=0).open()


def measuring_level(source: VolumeSource, atlas: Atlas, expansion: float | None = None) -> int:
    """Return the coarsest level of an image that is as fine as the atlas, from its own level on."""
    levels = source.pyramid().levels
    gel = levels[0].space.expansion if expansion is None else expansion
    largest = 1.01 * max(atlas.annotation.voxel_size) * gel
    fine = [k for k, v in enumerate(levels) if k >= source.level and max(v.voxel_size) <= largest]
    return fine[-1] if fine else source.level


def laid_over(volume: Volume, atlas: Atlas, way: Transform) -> Overlay:
    """Return an atlas on the grid of an image; the atlas's own level where the grids are one."""
    laid = overlay(atlas, way, volume)
    probe = np.arange(6.0).reshape(2, 3)
    if (
        np.array_equal(way(probe), probe)
        and way.source == atlas.space
        and atlas.hemispheres is None
    ):
        for level in (atlas.annotation, *atlas.coarser):
            if level.shape == volume.shape and level.affine.isclose(volume.affine):
                own = replace(atlas, annotation=level, coarser=(), template=volume)
                return replace(laid, atlas=replace(own, coarser_templates=()))
    return laid


def _points(
    source: VolumeSource,
    atlas: Atlas,
    way: Transform | None,
    ccf: bool,
    within: float,
) -> Contents:
    read = read_points(source.url, voxel_size=source.voxel_size, expansion=source.expansion)
    if read.space.unit != "micrometer":
        raise FormatError(f"{source.url} holds voxels. State their size: --voxel-size Z,Y,X.")
    here = way.source if way is not None else atlas.space
    space = placed(read.space, here, source.url, way_out=SAY_SO)
    own = Points(_own(read.coordinates, atlas, ccf), space, read.columns)
    moved = own if way is None else carry_points(own, way)
    volumes = kept_region_table(atlas)
    table = count_points(atlas, moved, within_um=within, volumes=volumes)
    each = label_points(atlas, moved, within_um=within)
    tree = atlas.terminology
    names = dict(zip(tree.ids.tolist(), tree.acronyms, strict=True))
    ids = np.asarray(each["region_id"]).tolist()
    each = each.with_columns(acronym=np.array([names.get(i, "") for i in ids], dtype=str))
    lost = sum(i == 0 for i in ids)
    problems = _outside(lost, len(ids), "points", source.url, atlas, moved.coordinates)
    return Contents("points", table, each, problems)


def _skeletons(
    source: VolumeSource,
    atlas: Atlas,
    way: Transform | None,
    ccf: bool,
    scale: float | None,
) -> Contents:
    here = way.source if way is not None else atlas.space
    edges: dict[str, NDArray[np.float64]] = {}
    problems: list[Problem] = []
    low, high = np.full(3, np.inf), np.full(3, -np.inf)

    def neurons() -> Iterator[tuple[str, Skeleton]]:
        for place in neuron_files(source.url):
            found = read_skeletons(place, scale=scale, expansion=source.expansion)
            problems.extend(found.all_problems)
            for item in found:
                where = f"{place}: {item.name}"
                space = placed(item.skeleton.space, here, where, way_out=SAY_SO)
                places = _own(item.skeleton.coordinates, atlas, ccf)
                own = replace(item.skeleton, space=space, coordinates=places)
                if way is not None:
                    fine = divided(own, STEP * here.expansion)
                    edges[item.name] = np.asarray(fine.lengths) / here.expansion
                    own = fine.to(way, way.target)
                if len(own):
                    np.minimum(low, own.coordinates.min(axis=0), out=low)
                    np.maximum(high, own.coordinates.max(axis=0), out=high)
                yield item.name, own

    table = measure_lengths(atlas, neurons(), edge_um=None if way is None else edges)
    both = table[table["hemisphere"].isin((0, 3))]
    total = float(both["own_length_um"].sum())
    lost = float(both.loc[both["region_id"] == 0, "own_length_um"].sum())
    problems += _outside(lost, total, "um of cable", source.url, atlas, np.stack([low, high]))
    if way is not None:
        table = table.rename(columns=lambda name: name.replace("_um", "_tissue_um"))
    return Contents("skeletons", table, None, tuple(problems))


def _image(
    source: VolumeSource,
    atlas: Atlas,
    registration: Saved | None,
    ccf: bool,
    threshold: float,
) -> Contents:
    level = measuring_level(source, atlas)
    volume, way = image_in_atlas(
        replace(source, level=level), atlas, registration=registration, ccf=ccf
    )
    laid = laid_over(volume, atlas, way).atlas
    assert laid.template is not None
    found = measure_image(laid, laid.template, threshold=threshold)
    if not found.table["voxels"].any():
        raise SpaceMismatchError(
            f"No voxel of {source.url} lies in a region of {atlas.name}. {SAY_SO}"
        )
    return Contents("volume", found.table, None, found.problems)


def _outside(
    lost: float, total: float, what: str, where: str, atlas: Atlas, places: NDArray[np.float64]
) -> tuple[Problem, ...]:
    """Doubt the units or the axes where much lies outside all regions."""
    if not total or lost / total < FAR:
        return ()
    low, high = places.min(axis=0).round(), places.max(axis=0).round()
    corners = np.stack([np.zeros(3), atlas.annotation.shape]) - 0.5
    ends = atlas.annotation.affine(corners).round()
    text = (
        f"{lost:.0f} of {total:.0f} {what} lie outside all regions of {atlas.name}: they reach "
        f"from {low.tolist()} to {high.tolist()} um (z, y, x), the atlas from {ends[0].tolist()} "
        f"to {ends[1].tolist()}. Check the unit, the orientation, and --ccf, the order of the axes"
    )
    return (Problem("warning", where, text),)


def registration_atlas(saved: Saved, folder: str | Path) -> str:
    """Return the name or address of the atlas that a registration was made with.

    Raises
    ------
    FormatError
        If it does not say.
    """
    named: Any = saved.document.get("atlas")
    if not isinstance(named, str) or not named:
        raise FormatError(f"{folder} does not say its atlas. Name it: --atlas.")
    return named
