"""Between the frames of NIfTI, NRRD and ITK, and the axes of a volume; no voxel moves.

All formats here say for each axis of an array where a step along it leads in a frame of left or
right, anterior or posterior, superior or inferior. That frame is LPS below, as in ITK and DICOM,
in micrometres. Where the axes of an array run along the anatomical lines, in whatever order and
direction, the volume becomes a plain grid with `Space.toward`, and its translation is the one with
which `projectome.core.affine.itk_geometry` gives back the frame of the file.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine, itk_geometry
from projectome.core.box import Triple
from projectome.core.space import LPS, Direction, Space, Towards, lps_directions
from projectome.core.volume import Volume
from projectome.errors import Problem

Floats = NDArray[np.float64]
ALONG = 0.05
"""Voxels by which the farthest voxel may be off where a grid counts as straight."""
RAS_LPS = np.diag([-1.0, -1.0, 1.0])
"""Turns RAS into LPS and LPS into RAS."""
WORD: dict[tuple[int, int], Direction] = {place: word for word, place in LPS.items()}


def placed(
    steps: Floats,
    origin: Floats,
    shape: Triple,
    problems: list[Problem],
    *,
    span: tuple[float, float, float] | None = None,
) -> Affine:
    """Return the affine of an array whose place in the LPS frame is known.

    Parameters
    ----------
    steps
        Shape (3, 3), not singular; column k is a step along array axis k (z, y, x) in LPS [um].
    origin
        Centre of voxel 0 in LPS [um].
    shape
        Voxels an axis, (z, y, x).
    problems
        Gets one more if the grid is rotated or sheared.
    span
        Of the whole that the array is a part of [um], see `projectome.core.space.Space`.

    Returns
    -------
    Affine
        A plain grid into a space with the directions of the array axes; or, for a rotated or
        sheared grid, an affine into the space of the frame itself, its axes z, y and x running
        toward superior, posterior and left.
    """
    size = np.sqrt((steps**2).sum(axis=0))
    cosines = steps / size
    rows = max(permutations(range(3)), key=lambda r: float(np.abs(cosines[r, range(3)]).sum()))
    signs = np.sign(cosines[rows, range(3)])
    straight = np.zeros((3, 3))
    straight[rows, range(3)] = signs * size
    off = np.abs(steps - straight) @ np.maximum(0, np.asarray(shape) - 1)
    if float(off.max()) <= ALONG * float(size.min()) and signs.all():
        z, y, x = (WORD[row, int(sign)] for row, sign in zip(rows, signs, strict=True))
        reach = (np.asarray(shape) - 1) * size if span is None else np.asarray(span)
        corner = np.where(signs < 0, reach, 0.0)
        translation = signs * (origin[list(rows)] - corner)
        return Affine.from_scale(size, translation, target=Space(toward=(z, y, x), span=span))
    angle = float(np.degrees(np.arccos(np.clip(np.abs(cosines[rows, range(3)]), 0, 1))).max())
    problems.append(
        Problem(
            "warning",
            "orientation",
            f"The grid is rotated or sheared by up to {angle:.3g} degrees against the anatomical "
            "axes. It is kept so; what needs a plain grid refuses it. State the nearest axes with "
            "--orientation CODE --meaning toward|from to take the voxels without the rotation.",
        )
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = steps[::-1], origin[::-1]
    frame = Space(toward=("superior", "posterior", "left"))
    return Affine(matrix, Space.voxels(), frame)


def lps_frame(volume: Volume) -> tuple[Floats, Floats] | None:
    """Return where the array of a volume lies in the LPS frame.

    Parameters
    ----------
    volume
        What is placed.

    Returns
    -------
    steps
        Shape (3, 3); column k is a step along array axis k (x, y, z) [mm].
    origin
        Centre of voxel 0 [mm]. None instead of both where a direction is unknown.
    """
    if not volume.space.oriented:
        return None
    if volume.affine.is_grid:
        itk = itk_geometry(volume.affine, volume.shape)
        return itk.direction * np.asarray(itk.spacing), np.asarray(itk.origin)
    turn = lps_directions(volume.space.require_orientation("Placing an image"))
    matrix = volume.affine.matrix
    return (turn @ matrix[:3, :3])[:, ::-1] / 1000, turn @ matrix[:3, 3] / 1000


def stated(affine: Affine, size: tuple[float, float, float] | None, toward: Towards) -> Affine:
    """Return an affine with what the user states in place of what the file says.

    Parameters
    ----------
    affine
        Of the file.
    size
        Voxel size of the user (z, y, x) [um]; positions keep their distance in voxels.
    toward
        Directions of the user; all None if none are stated.

    Returns
    -------
    Affine
        A plain grid at the origin where a rotated one gets other directions.
    """
    if toward != (None, None, None):
        space = Space(toward=toward)
        if not affine.is_grid:
            return Affine.from_scale(size or affine.voxel_size, target=space)
        affine = affine.with_target(space)
    if size is not None:
        matrix = affine.matrix.copy()
        linear = matrix[:3, :3] * (np.asarray(size) / affine.voxel_size)
        matrix[:3, 3] = linear @ np.linalg.solve(matrix[:3, :3], matrix[:3, 3])
        matrix[:3, :3] = linear
        affine = Affine(matrix, affine.source, affine.target)
    return affine
