"""The Allen mouse brain atlas (CCFv3) from its native files: labels, ontology, template.

Neither the header of the labels nor the order of the template's planes is believed. Which axis is
which follows from the extent of the framework; what is in front and above is checked by regions
that nobody confuses, and the template against the labels. Left and right cannot be checked: by the
Allen's documentation the third axis runs from left to right.

References
----------
Wang Q. et al. (2020), The Allen Mouse Brain Common Coordinate Framework, Cell 181.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from projectome.atlas.brainglobe import midline_of
from projectome.atlas.labels import open_labels
from projectome.atlas.regions import RegionTable
from projectome.core.affine import Affine
from projectome.core.atlas import Atlas
from projectome.core.box import Box
from projectome.core.space import Space
from projectome.core.view import View, reorient
from projectome.core.volume import Pyramid, Volume
from projectome.errors import MetadataError, NotFoundError, ParameterError, Problem
from projectome.io import stores
from projectome.io.open import open_volume

SPACE = Space("allen_ccf", toward=("posterior", "inferior", "right"))
EXTENT = {"P": 13200.0, "I": 8000.0, "R": 11400.0}
"""Length of the framework along the axis that runs toward each direction [um]."""
ANCHORS = ((507, 512, 0), (688, 1097, 1))
"""Regions of which the first lies before the second along an axis: the main olfactory bulb is in
front of the cerebellum, the cerebral cortex above the hypothalamus."""
VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".tif", ".tiff", ".zarr", ".h5")
SAMPLES = (16, 24, 24)
"""Planes, rows and columns at which template and labels are compared."""
CLEARLY = 0.02
"""By so much the overlap has to be better for a template to be turned round."""


def open_allen(
    folder: str,
    *,
    orientation: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
) -> Atlas:
    """Open a folder with the Allen's native files.

    Parameters
    ----------
    folder
        With one ``annotation_*`` volume, one ontology (JSON or CSV), and perhaps one
        ``*template*`` volume.
    orientation
        Where the axes (z, y, x) of the label file run toward, for a volume of another extent than
        that of the framework.
    voxel_size
        In the order of the label file [um]; by the file or its name if None.

    Raises
    ------
    NotFoundError
        If labels or ontology are missing.
    ParameterError
        If there are several of a kind, or the axes cannot be told.
    FormatError, MetadataError
        If a file is broken.
    """
    names = [entry.name for entry in stores.list_folder(folder)]
    labels = _one(folder, names, ("annotation*", "*labels*"), VOLUMES, "label volume")
    table = _one(folder, names, ("*",), (".json", ".csv"), "ontology (JSON or CSV)")
    picture = [n for n in names if "template" in n.lower() and n.lower().endswith(VOLUMES)]
    found, problems = _turned(stores.join(folder, labels), orientation, voxel_size)
    template = None
    if len(picture) == 1:
        template, notes = _turned(stores.join(folder, picture[0]), orientation, voxel_size)
        problems += notes
    elif picture:
        text = f"There are several, none is taken: {', '.join(picture)}."
        problems.append(Problem("warning", "template", text))
    atlas = open_labels(
        found, stores.join(folder, table), name=PurePosixPath(labels).name.split(".")[0],
        template=template,
    )  # fmt: skip
    kept = [p for p in atlas.problems if p.where != "hemispheres"]
    midline = midline_of(atlas.annotation)
    metadata = {**atlas.metadata, "source": folder, "layout": "Allen native files"}
    return replace(
        atlas, midline=midline, problems=(*problems, *kept), metadata=metadata
    )  # fmt: skip


def looks_native(names: Sequence[str]) -> bool:
    """Say whether a folder with these names holds labels and an ontology."""
    lower = [name.lower() for name in names]
    volume = any(n.startswith("annotation") and n.endswith(VOLUMES) for n in lower)
    return volume and any(n.endswith((".json", ".csv")) for n in lower)


def _one(
    folder: str, names: Sequence[str], patterns: Sequence[str], endings: tuple[str, ...], what: str
) -> str:
    found = [
        n
        for n in names
        if n.lower().endswith(endings) and any(fnmatch.fnmatch(n.lower(), p) for p in patterns)
    ]
    if not found:
        raise NotFoundError(
            f"{folder} has no {what}. It holds: {', '.join(names[:12]) or 'nothing'}. Put the file "
            "beside the others, or open the parts with projectome.open_labels."
        )
    if len(found) > 1:
        raise ParameterError(
            f"{folder} has {len(found)} files that may be the {what}: {', '.join(found[:6])}. Keep "
            "one there, or open the parts with projectome.open_labels."
        )
    return found[0]


def _turned(
    url: str, orientation: str | None, voxel_size: tuple[float, float, float] | None
) -> tuple[Pyramid, list[Problem]]:
    """Return a volume with its axes toward posterior, inferior and right."""
    stated = re.search(r"_(\d+)(?:um)?(?=[_.])", PurePosixPath(url).name)
    if voxel_size is None and stated is not None:
        edge = float(stated[1])
        voxel_size = edge, edge, edge
    seen = open_volume(url, voxel_size=voxel_size, asset=False)
    first = seen[0]
    code = orientation or _code(first, url)
    space = replace(Space.from_code(code, meaning="toward"), name=SPACE.name)
    levels = []
    for level in seen:
        grid = Affine.from_scale(level.voxel_size, target=space)
        turned = reorient(replace(level, affine=grid), SPACE)
        # Wherever an axis was turned round, the framework begins at its first voxel.
        levels.append(replace(turned, affine=Affine.from_scale(turned.voxel_size, target=SPACE)))
    # What the header says of directions is what is not believed.
    notes = [p for p in seen.problems if not p.where.startswith("space")]
    return replace(seen, levels=tuple(levels), problems=()), notes


def _code(volume: Volume, url: str) -> str:
    """Return which axis runs toward what, by the extents of the framework."""
    extents = np.asarray(volume.shape) * volume.voxel_size
    code = "".join(
        next((way for way, length in EXTENT.items() if abs(extent - length) < 0.01 * length), "?")
        for extent in extents
    )
    if sorted(code) != sorted(EXTENT):
        size = " x ".join(f"{e:g}" for e in extents)
        raise ParameterError(
            f"{url} measures {size} um (z, y, x), which is not the extent of the Allen mouse "
            "framework, 13200 x 8000 x 11400 um; its axes cannot be told. Give --voxel-size, or "
            "--orientation CODE with --meaning toward."
        )
    return code


def check_anatomy(table: RegionTable) -> None:
    """Refuse labels that lie back to front or upside down.

    Parameters
    ----------
    table
        Of an atlas whose axes run toward posterior, inferior and right.

    Raises
    ------
    MetadataError
        If a region that is in front of, or above, another lies behind or below it.
    """
    rows = {int(i): row for row, i in enumerate(table.terminology.ids)}
    for before, after, axis in ANCHORS:
        if before not in rows or after not in rows:
            continue
        centres = table.frame([before, after])
        both = centres[centres["hemisphere"].isin((0, 3))]
        first, last = both["zyx"[axis] + "_um"].to_numpy(np.float64)
        if first >= last:  # False where one of them has no voxels
            names = both["name"].tolist()
            text = f"{names[0]} lies at {first:.0f} um and {names[1]} at {last:.0f} um."
            raise MetadataError(
                f"The labels of {table.atlas} lie the other way round than stated: axis "
                f"{'zyx'[axis]} does not run toward {SPACE.toward[axis]}. Give --orientation CODE "
                "--meaning toward.",
                [Problem("error", "orientation", text)],
            )


def match_template(atlas: Atlas) -> Atlas:
    """Return an atlas whose template lies as its labels do, turned round where it does not.

    Front and back, above and below are tried; a mirror between left and right cannot be seen.

    Parameters
    ----------
    atlas
        With a template on a grid of the same extent.
    """
    if atlas.template is None:
        return atlas
    labels, image = (_sampled(v).astype(np.float64) for v in (atlas.annotation, atlas.template))
    bright = image > 0.1 * np.percentile(image, 99)
    scores = {
        (z, y): _overlap(labels > 0, np.flip(bright, tuple(a for a, f in enumerate((z, y)) if f)))
        for z in (False, True)
        for y in (False, True)
    }
    best = max(scores, key=lambda flips: scores[flips])
    if best == (False, False) or scores[best] - scores[False, False] < CLEARLY:
        return atlas
    turned = tuple(
        replace(t, array=View(t.array, t.box, flipped=(*best, False)))
        for t in (atlas.template, *atlas.coarser_templates)
    )
    ways = [("front to back", "top to bottom")[axis] for axis in (0, 1) if best[axis]]
    text = (
        f"Its planes lie the other way round than those of the labels: turned {' and '.join(ways)} "
        f"(overlap {scores[best]:.2f} instead of {scores[False, False]:.2f})."
    )
    problems = (*atlas.problems, Problem("warning", "template", text))
    return replace(
        atlas, template=turned[0], coarser_templates=turned[1:], problems=problems
    )  # fmt: skip


def _sampled(volume: Volume) -> NDArray[np.generic]:
    """Return evenly spaced voxels, in the order of the axes and the same places on any grid."""
    at = [
        ((np.arange(count) + 0.5) / count * size).astype(int)
        for count, size in zip(SAMPLES, volume.shape, strict=True)
    ]
    planes = []
    for z in at[0].tolist():
        plane = volume.read(Box((z, 0, 0), (z + 1, *volume.shape[1:])))
        planes.append(plane[0][np.ix_(at[1], at[2])])
    return np.stack(planes)


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
