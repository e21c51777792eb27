"""Datasets of HDF5 files as lazy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.io.volumes.hdf5_file import Hdf5File


@dataclass(frozen=True, slots=True, eq=False)
class Hdf5Array:
    """Datasets of a file as a lazy array with the axes (z, y, x) or (c, z, y, x).

    Attributes
    ----------
    file
        Where they are.
    paths
        One dataset, or one a channel.
    shape
        Elements an axis.
    chunks
        Elements an axis that are best read together.
    stored
        Element type of the datasets, native byte order.
    dtype
        What its bytes mean, native byte order.
    order
        Axis of a dataset along each axis of the volume (without that of channels in datasets of
        their own); None for a z of one plane.
    fixed
        The place along each axis of a dataset that no axis of the volume runs along.
    context
        Further metadata that belongs to its content.
    """

    file: Hdf5File
    paths: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    stored: np.dtype[np.generic]
    dtype: np.dtype[np.generic]
    order: tuple[int | None, ...] = (0, 1, 2)
    fixed: tuple[tuple[int, int], ...] = ()
    context: bytes = b""

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If a dataset is broken there.
        StoreError
            If the store does not answer as hoped.
        """
        if len(self.shape) == len(self.order):
            return read_only(self._part(self.paths[0], index))
        parts = [self._part(path, index[1:]) for path in self.paths[index[0]]]
        if not parts:
            return read_only(np.empty([s.stop - s.start for s in index], self.dtype))
        return read_only(np.stack(parts) if len(parts) > 1 else parts[0][None])

    def _part(self, path: str, index: Sequence[slice]) -> Array:
        shape = [s.stop - s.start for s in index]
        if 0 in shape:
            return np.empty(shape, self.dtype)
        region = [slice(0, 0)] * (len(self.fixed) + sum(axis is not None for axis in self.order))
        for axis, place in self.fixed:
            region[axis] = slice(place, place + 1)
        for wanted, known in zip(index, self.order, strict=True):
            if known is not None:
                region[known] = wanted
        block = self.file.read(path, tuple(region), self.stored)
        kept = [axis for axis in self.order if axis is not None]
        block = block.transpose([*kept, *(axis for axis, _ in self.fixed)])
        return np.ascontiguousarray(block.reshape(shape)).view(self.dtype)

    def evidence(self) -> Iterator[bytes]:
        """Yield metadata and samples of the file."""
        yield self.context
        yield "\n".join(self.paths).encode()
        yield from self.file.evidence()
