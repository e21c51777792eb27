"""Writing volumes as NPY files of numpy."""

from __future__ import annotations

import io

import numpy as np

from projectome.core.volume import Volume
from projectome.io.volumes.flat_write import check_target, write_flat
from projectome.io.volumes.writer import Progress


def write_npy(
    volume: Volume, path: str, *, overwrite: bool = False, on_progress: Progress | None = None
) -> None:
    """Write the voxels of a volume as an NPY file, a slab of planes at a time.

    The file keeps the axes (z, y, x), or (c, z, y, x), and the element type, and nothing else: who
    opens it again has to state the voxel size.

    Parameters
    ----------
    volume
        What to write.
    path
        Local path; the file appears there when it is complete.
    overwrite
        Replace a file that is there.
    on_progress
        Called with the voxels written and the voxels to write.

    Raises
    ------
    ParameterError
        If the path is not local.
    OutputExistsError
        If something is there.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.
    """
    target = check_target(path, "NPY", overwrite=overwrite)
    header = io.BytesIO()
    stated = {
        "descr": np.lib.format.dtype_to_descr(volume.dtype.newbyteorder("<")),
        "fortran_order": False,
        "shape": volume.array.shape,
    }
    np.lib.format.write_array_header_1_0(header, stated)
    write_flat(volume, target, header.getvalue(), overwrite=overwrite, on_progress=on_progress)
