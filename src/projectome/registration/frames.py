"""The frame of ITK: left, posterior, superior, as a space of micrometres in the order (z, y, x)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import OrientationUnknownError
from projectome.io.volumes.placement import lps_frame, placed

LPS = Space("lps", toward=("superior", "posterior", "left"))
"""Where transforms of ITK and ANTs live: its axes z, y, x run toward superior, posterior, left."""


def voxels_to_lps(volume: Volume) -> Affine:
    """Return the map from voxels of a volume to the frame of ITK [um].

    Raises
    ------
    OrientationUnknownError
        If a direction of its axes is not known.
    """
    frame = lps_frame(volume)
    if frame is None:
        raise OrientationUnknownError(
            f"Placing {volume.name} for ITK needs its orientation, which is not stated. Give it: "
            "--orientation CODE --meaning toward|from."
        )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = frame[0][::-1, ::-1] * 1000, frame[1][::-1] * 1000
    return Affine(matrix, volume.affine.source, LPS)


def to_lps(volume: Volume) -> Affine:
    """Return the map from the space of a volume to the frame in which ITK sees that volume.

    The frame belongs to the volume: where an axis runs against LPS its origin lies at the last
    voxel, as in the files that `projectome.io.volumes.nifti_write.write_nifti` writes.
    """
    return voxels_to_lps(volume) @ volume.affine.inverse()


def displacement_volume(
    displacement: NDArray[np.float32], grid: Affine, name: str = "displacement"
) -> Volume:
    """Return a displacement as a volume that ITK reads as a displacement field.

    Parameters
    ----------
    displacement
        Shape (Z, Y, X, 3), order (z, y, x), in the frame `LPS` [um].
    grid
        Voxels to `LPS`.
    name
        Of the volume.
    """
    matrix = grid.matrix[:3, :3]
    shape = displacement.shape[:3]
    affine = placed(matrix[::-1], grid.matrix[:3, 3][::-1], shape, [])
    channels = np.moveaxis(displacement[..., ::-1], 3, 0) / np.float32(1000)
    return Volume(ArrayInMemory(np.ascontiguousarray(channels)), affine, ("x", "y", "z"), name=name)
