"""Transforms that the Allen Institute for Neural Dynamics publishes beside its recordings.

A recording goes to a template, and the template to the common coordinate framework (CCF); each way
is an affine map and a displacement field of ANTs. Both belong to a frame in which the pipeline
placed the image, which is not the frame that the image's own metadata state:

- SmartSPIM, pipelines from 0.0.18 on: the voxel at the right, anterior, superior corner *of the
  level that was registered*, the third, lies at (-1.5114, -1.5, 1.5) mm of LPS. Before 0.0.32, its
  voxels count as 14.4, 14.4 and 16 um along left, posterior and superior, whatever their size.
- ExA-SPIM: voxels of the registered level count as 20.25, 20.25 and 27 um along the first, second
  and third axis, after these were turned toward posterior, inferior, right (names of tiles that
  begin with tile_000000_ch_) or anterior, superior, right (others); origin and directions are those
  of the template.

References
----------
AllenNeuralDynamics/aind-zarr-utils 0.18 (domain/selector.py, image.py) for SmartSPIM;
AllenNeuralDynamics/aind-exaspim-ccf-registration of 2025-09 (preprocess.py, register.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from packaging.version import InvalidVersion, Version

from projectome.core.affine import VOXELS, Affine
from projectome.core.space import Direction, Space
from projectome.core.transform import Transform
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, OrientationUnknownError, ParameterError, Problem
from projectome.io.open import open_volume
from projectome.registration.frames import LPS, voxels_to_lps
from projectome.registration.itk_files import read_itk

EXTENT = (13200.0, 8000.0, 11400.0)
"""Length of the framework along posterior, inferior and right [um]."""
REGISTERED = 3
"""Level that pipelines register; each is half as fine as the one before."""
CORNER = (1500.0, -1500.0, -1511.4)
"""Where SmartSPIM pipelines put the right, anterior, superior voxel, (z, y, x) of LPS [um]."""
FORCED = (16.0, 14.4, 14.4)
"""Voxels of the registered level of some SmartSPIM pipelines, along superior, posterior, left."""
ANCHORED, FORCED_UNTIL, VERIFIED = Version("0.0.18"), Version("0.0.32"), Version("0.0.34")
EXASPIM_VOXELS = (20.25, 20.25, 27.0)
Three = tuple[Direction, Direction, Direction]
BETA: Three = ("posterior", "inferior", "right")
ALPHA: Three = ("anterior", "superior", "right")
CCF = Space("allen_ccf", toward=BETA)
AXIS: dict[Direction, tuple[int, float]] = {
    "superior": (0, 1.0), "inferior": (0, -1.0),
    "posterior": (1, 1.0), "anterior": (1, -1.0),
    "left": (2, 1.0), "right": (2, -1.0),
}  # fmt: skip
"""Which axis of LPS, in the order (z, y, x), a direction runs along, and which way."""


def smartspim_frame(image: Pyramid, version: str) -> tuple[Affine, tuple[Problem, ...]]:
    """Return where a SmartSPIM pipeline placed the voxels of the finest level.

    Parameters
    ----------
    image
        The fused image that was registered, with its levels; oriented.
    version
        Of the step "Image importing" in ``processing.json``.

    Returns
    -------
    Affine
        Voxels of level 0 to `LPS` [um].
    tuple of Problem
        What is assumed.

    Raises
    ------
    OrientationUnknownError
        If a direction of the image's axes is not known.
    ParameterError
        If the version is none, or the image lacks the level.
    """
    try:
        number = Version(version)
    except InvalidVersion:
        raise ParameterError(
            f"{version!r} is no version of a pipeline. It is the code_version of 'Image importing' "
            "in processing.json; give it with version=."
        ) from None
    level = _registered(image, REGISTERED)
    directions = level.space.require_orientation("Placing an image as its pipeline did")
    problems = []
    sizes = list(level.voxel_size)
    if ANCHORED <= number < FORCED_UNTIL:
        sizes = [FORCED[AXIS[way][0]] for way in directions]
        text = f"pipeline {version} took voxels of {sizes} um for {list(level.voxel_size)}: so here"
        problems.append(Problem("warning", level.name, text))
    matrix = np.eye(4)
    matrix[:3, :3] = _turn(directions) * sizes
    if number >= ANCHORED:
        # The farthest voxel toward right, anterior and superior is the anchor.
        far = [
            n - 1 if way in ("right", "anterior", "superior") else 0
            for n, way in zip(level.shape, directions, strict=True)
        ]
        matrix[:3, 3] = np.array(CORNER) - matrix[:3, :3] @ far
    else:
        text = f"how pipeline {version} placed images is not known; taken as if at the origin"
        problems.append(Problem("warning", level.name, text))
    if number > VERIFIED:
        text = (
            f"pipeline {version} is later than {VERIFIED}, the last whose placement was verified; "
            "look at some points over the template"
        )
        problems.append(Problem("warning", level.name, text))
    return Affine(matrix, VOXELS, LPS) @ _finest_to(REGISTERED), tuple(problems)


def exaspim_frame(
    image: Pyramid, tile: str, template: Volume, *, level: int = REGISTERED
) -> Affine:
    """Return where an ExA-SPIM pipeline placed the voxels of the finest level.

    Parameters
    ----------
    image
        The fused image that was registered; oriented.
    tile
        Name of the first tile in ``acquisition.json``, which tells the microscope.
    template
        Anything on the grid of the template: its displacement field.
    level
        Which one was registered.

    Returns
    -------
    Affine
        Voxels of level 0 to `LPS` [um].

    Raises
    ------
    OrientationUnknownError
        If a direction of the image's axes is not known.
    """
    coarse = _registered(image, level)
    directions = coarse.space.require_orientation("Placing an image as its pipeline did")
    wanted = BETA if "tile_000000_ch_" in tile else ALPHA
    turned = np.zeros((4, 4))
    turned[3, 3] = 1
    for axis, way in enumerate(directions):
        row = next(k for k, w in enumerate(wanted) if AXIS[w][0] == AXIS[way][0])
        turned[row, axis] = 1 if wanted[row] == way else -1
        turned[row, 3] = 0 if wanted[row] == way else coarse.shape[axis] - 1
    # Files of NIfTI name their axes the other way round: the first is x, the last here.
    frame = voxels_to_lps(template).matrix
    steps = frame[:3, :3][:, ::-1]
    matrix = np.eye(4)
    matrix[:3, :3] = steps / np.linalg.norm(steps, axis=0) * EXASPIM_VOXELS
    matrix[:3, 3] = frame[:3, 3]
    return Affine(matrix @ turned, VOXELS, LPS) @ _finest_to(level)


def published_transform(
    image: Pyramid,
    frame: Affine,
    individual: Sequence[str],
    template: Sequence[str],
) -> tuple[Transform, tuple[Problem, ...]]:
    """Return the way of points of a recording into the CCF.

    Parameters
    ----------
    image
        The recording.
    frame
        Voxels of its finest level to `LPS`, as the pipeline placed them.
    individual, template
        The affine map (``0GenericAffine.mat``) and the inverse warp (``1InverseWarp.nii.gz``) from
        the recording to the template, and from the template to the CCF.

    Returns
    -------
    Transform
        From the space of the image to that of `projectome.atlas.allen`; the way back is solved
        where it is asked for.
    tuple of Problem
        What is assumed.

    Raises
    ------
    FormatError
        If a file is broken, or the last field does not lie on the grid of the CCF.
    """
    for files in (individual, template):
        if len(files) != 2:
            raise ParameterError(f"A chain is an affine map and an inverse warp, not {files}.")
    finest = image[0]
    enter = frame @ finest.affine.inverse()
    chain = Transform((Affine(enter.matrix, finest.space, LPS),))
    for files in (individual, template):
        chain = chain.then(read_itk(list(files), inverted=[True, False]))
    leave, problems = ccf_grid(open_volume(str(template[1]), asset=False)[0])
    return Transform((*chain.links, leave)), problems


def ccf_grid(field: Volume) -> tuple[Affine, tuple[Problem, ...]]:
    """Return the map from `LPS` to the CCF of a field on the grid of the CCF.

    Which axis is which follows from the extent of the framework; which way it runs from the
    header, if that tells the same axes, else it is taken to run as in the Allen's files.

    Raises
    ------
    FormatError
        If the grid is not that of the framework.
    """
    shape, size = np.asarray(field.shape), np.asarray(field.voxel_size)
    extents = shape * size
    found = [
        next((k for k, e in enumerate(EXTENT) if abs(extent - e) < 0.01 * e), -1)
        for extent in extents
    ]
    if sorted(found) != [0, 1, 2]:
        raise FormatError(
            f"{field.name} measures {extents.tolist()} um and not 13200, 8000 and 11400 um in some "
            "order: it does not lie on the grid of the common coordinate framework."
        )
    matrix, problems = np.zeros((4, 4)), []
    matrix[3, 3] = 1
    told = [way for way in field.space.toward if way is not None]
    agrees = len(told) == 3 and all(
        AXIS[way][0] == AXIS[BETA[row]][0] for way, row in zip(told, found, strict=True)
    )
    for axis, row in enumerate(found):
        runs = not agrees or field.space.toward[axis] == CCF.toward[row]
        matrix[row, axis] = size[axis] if runs else -size[axis]
        matrix[row, 3] = 0 if runs else size[axis] * (shape[axis] - 1)
    if not agrees:
        text = (
            f"its header names the axes {field.space.code(meaning='toward')}, which the extents "
            "contradict; they are taken to run toward posterior, inferior and right"
        )
        problems.append(Problem("warning", field.name, text))
    back = voxels_to_lps(field).inverse()
    return Affine(matrix, back.target, CCF) @ back, tuple(problems)


def _registered(image: Pyramid, number: int) -> Volume:
    """Return the level that was registered.

    Raises
    ------
    ParameterError
        If the image lacks it.
    OrientationUnknownError
        If its axes are not along the anatomy.
    """
    if len(image) <= number:
        raise ParameterError(
            f"{image.name} has {len(image)} levels; the transforms belong to level {number} of the "
            "fused image. Give the image that was registered."
        )
    level = image[number]
    if not level.affine.is_grid:
        raise OrientationUnknownError(f"{image.name} is turned against its axes.")
    return replace(level, name=image.name)


def _finest_to(level: int) -> Affine:
    """Return the map from voxels of level 0 to those of another, whose outer corner is the same."""
    share = 0.5**level
    matrix = np.diag([share, share, share, 1.0])
    matrix[:3, 3] = (share - 1) / 2
    return Affine(matrix, VOXELS, VOXELS)


def _turn(directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Return the matrix whose columns are the directions of axes in `LPS`."""
    matrix = np.zeros((3, 3))
    for column, way in enumerate(directions):
        row, sign = AXIS[way]
        matrix[row, column] = sign
    return matrix
