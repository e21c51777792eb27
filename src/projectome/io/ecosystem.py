"""Volumes as what other libraries work with: numpy, dask and xarray."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from projectome.core.volume import Array, ArrayInMemory, LazyArray, Volume
from projectome.errors import MemoryBudgetError, MissingExtraError, ParameterError
from projectome.settings import format_bytes, memory_budget

EXTRA = "ecosystem"
MOST_CHUNKS = 100_000
"""A dask array of more chunks takes minutes before anything is computed."""


def to_numpy(volume: Volume, dtype: DTypeLike | None, copy: bool | None) -> NDArray[Any]:
    """Read all voxels; what ``numpy.asarray(volume)`` does.

    Parameters
    ----------
    volume
        What to read, all channels.
    dtype
        Element type; that of the volume if None.
    copy
        As numpy says it: False is refused unless the volume lies in memory already.

    Raises
    ------
    MemoryBudgetError
        If they take more memory than the settings allow, or than three quarters of what is free.
    ParameterError
        If a copy is needed and forbidden.
    """
    wanted = volume.dtype if dtype is None else np.dtype(dtype)
    in_memory = isinstance(volume.array, ArrayInMemory)
    if copy is False and not (in_memory and wanted == volume.dtype):
        raise ParameterError(
            f"{volume.name} has to be read, or converted, to become an array of {wanted}; that is "
            "a copy. Leave out copy=False."
        )
    if not in_memory:
        check_fits(volume)
    values = volume.read()
    return np.array(values, wanted) if copy else np.asarray(values, wanted)


def check_fits(volume: Volume) -> None:
    """Refuse to read a volume that does not fit into the memory allowed.

    Raises
    ------
    MemoryBudgetError
        With what to do instead.
    """
    allowed = memory_budget()
    if volume.nbytes > allowed:
        raise MemoryBudgetError(
            f"All of {volume.name} takes {format_bytes(volume.nbytes)} of memory, "
            f"{format_bytes(allowed)} are allowed. Read a part with Volume.read(box), take a "
            "coarser level with pyramid.at(voxel_size=UM), work lazily with to_dask(), or allow "
            "more: projectome config set memory SIZE"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Indexable:
    """A lazy array with numpy's basic indexing, which dask reads from.

    Attributes
    ----------
    array
        What is read; nothing is before it is indexed.
    """

    array: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.array.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    def __getitem__(self, index: tuple[slice | int, ...]) -> Array:
        """Read the elements of one slice or number an axis; the array may be written to."""
        spans: list[slice] = []
        after: list[slice | int] = []
        for wanted, size in zip(index, self.array.shape, strict=True):
            if isinstance(wanted, slice):
                places = range(size)[wanted]
                low, high = (min(places), max(places) + 1) if places else (0, 0)
                step = places.step
                first = places.start - low if places else 0
                after.append(slice(first, None, step))
            else:
                low = range(size)[wanted]
                high = low + 1
                after.append(0)
            spans.append(slice(low, high))
        values = self.array.read(tuple(spans))[tuple(after)]
        return values if values.flags.writeable else values.copy()


def to_dask(volume: Volume) -> Any:
    """Return a volume as a lazy dask array.

    Parameters
    ----------
    volume
        Axes (z, y, x) or (c, z, y, x).

    Returns
    -------
    dask.array.Array
        With the chunks of the volume; where these are more than 100,000, with several of them in
        one. Blocks are read in whichever thread or process computes them.

    Raises
    ------
    MissingExtraError
        If dask is not installed.
    """
    try:
        import dask.array as da
    except ImportError:
        raise MissingExtraError("A dask array", "dask", EXTRA) from None
    array = Indexable(volume.array)
    return da.from_array(
        array,
        chunks=chunks_of(volume.array),
        name=f"{volume.name}-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def chunks_of(array: LazyArray) -> tuple[int, ...]:
    """Return the chunks of an array; whole multiples of them where they are very many."""
    sizes = [max(1, min(c, n)) for c, n in zip(array.chunks, array.shape, strict=True)]
    axis = len(sizes) - 1
    while math.prod(-(-n // c) for n, c in zip(array.shape, sizes, strict=True)) > MOST_CHUNKS:
        while sizes[axis] >= array.shape[axis]:
            axis -= 1
        sizes[axis] = min(2 * sizes[axis], array.shape[axis])
    return tuple(sizes)


def to_xarray(volume: Volume) -> Any:
    """Return a volume as a lazy xarray with coordinates.

    Parameters
    ----------
    volume
        Axes (z, y, x) or (c, z, y, x).

    Returns
    -------
    xarray.DataArray
        Over a dask array. ``z``, ``y`` and ``x`` are the centres of the voxels [um of the volume's
        space], with ``units`` and, where known, ``toward`` among their attributes; ``c`` the names
        of the channels. A grid that is turned against its space has no such coordinates; the
        attribute ``affine`` has the matrix, row by row.

    Raises
    ------
    MissingExtraError
        If xarray or dask is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise MissingExtraError("An xarray", "xarray", EXTRA) from None
    dims = ("c", "z", "y", "x")[-len(volume.array.shape) :]
    linear = volume.affine.matrix[:3, :3]
    coords: dict[str, Any] = {}
    if volume.channels:
        coords["c"] = ("c", list(volume.channels))
    attrs: dict[str, Any] = {
        "kind": volume.kind,
        "space": volume.space.name,
        "expansion": volume.space.expansion,
        "voxel_size_um": list(volume.voxel_size),
        "affine": volume.affine.matrix.ravel().tolist(),
    }
    if np.array_equal(linear, np.diag(np.diag(linear))):
        for axis, name in enumerate("zyx"):
            centres = np.arange(volume.shape[axis]) * linear[axis, axis]
            about = {"units": "micrometer", "long_name": f"{name} of {volume.space.name}"}
            if (toward := volume.space.toward[axis]) is not None:
                about["toward"] = toward
            coords[name] = (name, centres + volume.affine.translation[axis], about)
    return xarray.DataArray(
        to_dask(volume), coords=coords, dims=dims, name=volume.name, attrs=attrs
    )
