"""Writing volumes as NIfTI-1, or NIfTI-2 where an axis is longer than NIfTI-1 can say."""

from __future__ import annotations

from typing import Any

import numpy as np

from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.io.volumes import nifti_header as layout
from projectome.io.volumes.flat_volume import notes_of
from projectome.io.volumes.flat_write import check_target, write_flat
from projectome.io.volumes.placement import RAS_LPS, Floats, lps_frame
from projectome.io.volumes.writer import Progress

CODES = {name: code for code, name in layout.ELEMENTS.items()}
LONGEST = 2**15 - 1
"""Longest axis of NIfTI-1."""
SCANNER = 1
"""Code of a frame that is the animal's own, not that of an atlas."""
MILLIMETRE = 2


def write_nifti(
    volume: Volume, path: str, *, overwrite: bool = False, on_progress: Progress | None = None
) -> None:
    """Write a volume as NIfTI, a slab of planes at a time; no voxel moves.

    ``sform`` and ``qform`` place the image in RAS and millimetres, as
    `projectome.core.affine.itk_geometry` says. Where a direction is unknown both are left out, and
    only the voxel size is written. Channels lie along the fifth axis. Names of channels and space,
    the expansion and the kind stand in an extension, the last three also in the description.

    Parameters
    ----------
    volume
        What to write.
    path
        Local path that ends in ``.nii``, or in ``.nii.gz`` for a compressed file. One that was
        left unfinished is gone on with.
    overwrite
        Replace a file that is there, and start over.
    on_progress
        Called with the voxels written and the voxels to write.

    Raises
    ------
    ParameterError
        If NIfTI cannot hold the volume, or the path is not local.
    OutputExistsError
        If something is there.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.

    References
    ----------
    NIfTI-1 and NIfTI-2 data formats, https://nifti.nimh.nih.gov
    """
    target = check_target(path, "NIfTI", overwrite=overwrite)
    if volume.dtype.name not in CODES:
        raise ParameterError(
            f"NIfTI cannot hold {volume.dtype}; it holds {', '.join(sorted(CODES))}. Write "
            "OME-Zarr (.zarr) to keep the element type, or convert the voxels first."
        )
    write_flat(
        volume,
        target,
        _header(volume),
        compress="all" if target.name.lower().endswith(".gz") else None,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def _header(volume: Volume) -> bytes:
    """Return the header with its extension."""
    sizes = list(volume.shape[::-1])
    if volume.channels:
        sizes += [1, len(volume.channels)]
    version = 1 if max(sizes) <= LONGEST else 2
    fields: Any = np.zeros(1, layout.LAYOUTS[version])[0]
    notes = notes_of(volume)
    extension = layout.extension(notes)
    size = layout.LAYOUTS[version].itemsize
    fields["sizeof_hdr"] = size
    fields["magic"] = np.void(layout.SINGLE[version])
    fields["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
    fields["datatype"] = CODES[volume.dtype.name]
    fields["bitpix"] = 8 * volume.dtype.itemsize
    fields["vox_offset"] = size + 4 + len(extension)
    fields["scl_slope"] = 1
    fields["xyzt_units"] = MILLIMETRE
    fields["descrip"] = layout.description(notes)
    if volume.channels:
        fields["intent_code"] = layout.VECTOR
    elif volume.kind == "labels":
        fields["intent_code"] = layout.LABEL
    if version == 1:
        fields["regular"] = b"r"
    _place(fields, volume)
    return bytes(fields.tobytes()) + b"\1\0\0\0" + extension


def _place(fields: Any, volume: Volume) -> None:
    """Fill in voxel size, sform and qform."""
    placed = lps_frame(volume)
    pixdim = np.ones(8)
    pixdim[1:4] = np.asarray(volume.voxel_size[::-1]) / 1000
    fields["pixdim"] = pixdim
    if placed is None:
        if not volume.affine.is_grid:
            raise ParameterError(
                f"{volume.name} is rotated or sheared in a space of unknown orientation, which "
                "NIfTI cannot hold. State it with --orientation CODE --meaning toward|from."
            )
        return
    steps, origin = RAS_LPS @ placed[0], RAS_LPS @ placed[1]
    fields["sform_code"] = SCANNER
    fields["srow"] = np.column_stack([steps, origin])
    turn = steps / np.sqrt((steps**2).sum(axis=0))
    if not np.allclose(turn.T @ turn, np.eye(3), atol=1e-6):
        return  # sheared: no quaternion says that
    if np.linalg.det(turn) < 0:
        pixdim[0] = -1
        fields["pixdim"] = pixdim
        turn = turn * [1, 1, -1]
    fields["qform_code"] = SCANNER
    fields["quatern"] = _quaternion(turn)[1:]
    fields["qoffset"] = origin


def _quaternion(turn: Floats) -> Floats:
    """Return the unit quaternion (a, b, c, d) of a rotation, a not negative."""
    # Bar-Itzhack 2000: the eigenvector of the largest eigenvalue, exact for half turns too.
    xx, yx, zx, xy, yy, zy, xz, yz, zz = turn.T.ravel()
    matrix = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    found = np.linalg.eigh(matrix)[1][:, -1]
    return found if found[0] >= 0 else -found
