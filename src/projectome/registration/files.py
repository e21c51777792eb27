"""The folder of a registration: affine, fields for us and for ITK, quality.

``affine.json`` is the linear part, from the micrometres of the scan to those of the atlas.
``forward.ome.zarr`` holds what is added after it, along the axes of the atlas, sampled in the scan;
``inverse.ome.zarr`` what is added to a point of the atlas before the linear part is undone.
``forward.nii.gz`` and ``inverse.nii.gz`` are the whole maps, linear part included, as ITK reads
them: displacements in LPS [mm].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import VOXELS, Affine
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import FormatError, NotFoundError
from projectome.io.documents import json_value
from projectome.io.open import open_volume
from projectome.io.stores import read_bytes
from projectome.io.volumes.nifti_write import write_nifti
from projectome.io.volumes.write import write_volume
from projectome.io.writing import write_bytes
from projectome.registration.align import Registration
from projectome.registration.frames import LPS, displacement_volume, to_lps

VERSION = 1
PARTS = ("dz", "dy", "dx")


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A registration, read from its folder.

    Attributes
    ----------
    transform
        From the scan to the atlas, with the way back.
    uncertainty
        Standard deviation a coordinate on a grid in the scan [um of tissue]; None without repeats.
    document
        What ``affine.json`` says.
    """

    transform: Transform
    uncertainty: Volume | None
    document: dict[str, Any]


def space_document(space: Space) -> dict[str, Any]:
    """Return a space as plain data."""
    return {
        "name": space.name,
        "axes": list(space.axes),
        "toward": list(space.toward),
        "expansion": space.expansion,
    }


def space_of(said: Any, where: str) -> Space:
    """Return the space of a document.

    Raises
    ------
    FormatError
        If it is none.
    """
    try:
        z, y, x = said["axes"]
        a, b, c = said["toward"]
        return Space(str(said["name"]), (z, y, x), (a, b, c), expansion=float(said["expansion"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where} describes no space: {error}.") from None


def write_registration(
    found: Registration,
    folder: str | Path,
    *,
    scan: Volume,
    atlas: Volume,
    uncertainty: NDArray[np.float32] | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write a registration into a folder.

    Parameters
    ----------
    found
        The registration.
    folder
        Where.
    scan, atlas
        The finest level of the scan and the annotation: they say where ITK places images.
    uncertainty
        Shape of the forward field: standard deviation a coordinate [um].
    facts
        More for ``affine.json``.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    linear, forward = found.transform.links
    inverse, _ = found.transform.back
    assert isinstance(linear, Affine)
    assert isinstance(forward, DisplacementField)
    assert isinstance(inverse, DisplacementField)
    for name, field, grid in (
        ("forward", forward, found.scan_grid),
        ("inverse", inverse, found.atlas_grid),
    ):
        parts = np.ascontiguousarray(np.moveaxis(field.displacement, 3, 0))
        volume = Volume(ArrayInMemory(parts), grid, PARTS, name=name)
        write_volume(volume, str(place / f"{name}.ome.zarr"), levels=1, overwrite=True)
    if uncertainty is not None:
        volume = Volume(ArrayInMemory(uncertainty), found.scan_grid, name="uncertainty")
        write_volume(volume, str(place / "uncertainty.ome.zarr"), levels=1, overwrite=True)
    ends = (to_lps(scan), to_lps(atlas))
    shape = forward.displacement.shape[:3], inverse.displacement.shape[:3]
    whole, back = found.transform, found.transform.inverse()
    for name, way, grid, (enter, leave), size in (
        ("forward", whole, found.scan_grid, ends, shape[0]),
        ("inverse", back, found.atlas_grid, ends[::-1], shape[1]),
    ):
        nodes = grid(np.indices(size).reshape(3, -1).T)
        moved = leave(way(nodes)) - enter(nodes)
        made = displacement_volume(
            moved.reshape(*size, 3).astype(np.float32), enter @ grid, f"{name} (LPS, mm)"
        )
        write_nifti(made, str(place / f"{name}.nii.gz"), overwrite=True)
    document = {
        "format": "projectome registration",
        "version": VERSION,
        "unit": "micrometer",
        "matrix": linear.matrix.tolist(),
        "source": space_document(linear.source),
        "target": space_document(forward.target),
        "to_itk": {"source": ends[0].matrix.tolist(), "target": ends[1].matrix.tolist()},
        **(facts or {}),
    }
    write_bytes(str(place / "affine.json"), (json.dumps(document, indent=1) + "\n").encode())


def read_registration(folder: str | Path) -> Saved:
    """Read a registration from its folder.

    Raises
    ------
    NotFoundError
        If there is none.
    FormatError
        If it is broken, or of a later version.
    """
    place = Path(folder)
    where = str(place / "affine.json")
    try:
        text = read_bytes(str(where))
    except NotFoundError:
        raise NotFoundError(
            f"There is no registration in {folder}: no affine.json. Make one: projectome register "
            "VOLUME --atlas ATLAS --out DIR"
        ) from None
    try:
        said = json_value(text)
        version = said["version"]
        matrix = np.array(said["matrix"], dtype=np.float64)
        sides = said["source"], said["target"]
    except (ValueError, KeyError, TypeError):
        raise FormatError(
            f"{where} is no affine of a registration, or broken. Restore it, or register again."
        ) from None
    if version != VERSION or matrix.shape != (4, 4):
        raise FormatError(
            f"{where} has the version {version!r} and a matrix of {matrix.shape}; this program "
            f"reads version {VERSION} and 4 x 4. Register again."
        )
    source, target = (space_of(side, where) for side in sides)
    middle = target.renamed(f"{target.name} (affine)")
    linear = Affine(matrix, source, middle)
    forward, forward_grid = _field(place / "forward.ome.zarr", source)
    inverse, inverse_grid = _field(place / "inverse.ome.zarr", target)
    there = DisplacementField(forward, linear @ forward_grid, target)
    back = DisplacementField(inverse, inverse_grid, middle)
    unsure = place / "uncertainty.ome.zarr"
    uncertainty = open_volume(str(unsure), asset=False)[0] if unsure.exists() else None
    if uncertainty is not None:
        uncertainty = uncertainty.with_space(source)
    return Saved(Transform((linear, there), (back, linear.inverse())), uncertainty, said)


def _field(path: Path, space: Space) -> tuple[NDArray[np.float32], Affine]:
    volume = open_volume(str(path), asset=False)[0]
    if volume.channels != PARTS:
        raise FormatError(f"{path} has the channels {volume.channels}, not {PARTS}.")
    grid = Affine(volume.affine.matrix, VOXELS, space)
    return np.moveaxis(np.asarray(volume.read(), np.float32), 0, 3), grid


__all__ = [
    "LPS",
    "Saved",
    "read_registration",
    "space_document",
    "space_of",
    "write_registration",
]
