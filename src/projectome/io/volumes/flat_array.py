"""One array in a flat file as a lazy array: strides, byte order and scaling, no chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.volume import Array
from projectome.io import stores
from projectome.io.volumes.flat_bytes import Bytes

WHOLE = 2**18
"""Rows and planes up to this size are read whole, whatever is wanted of them [bytes]."""
PIECE = 8 * 2**20
"""Largest piece that is read at once [bytes]."""
CHUNK = 2**22
"""What is best read together [bytes]."""
THREADS = 8
"""Pieces of a remote file that are asked for at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatArray:
    """An array with its axes in any order, as a lazy array (z, y, x) or (c, z, y, x).

    Attributes
    ----------
    source
        Its bytes.
    stored
        Elements along each axis of the file, the slowest first.
    element
        Element type as it lies, with its byte order.
    order
        Which axis of the file lies along each axis of the volume; None for a z of one plane.
    fixed
        The place along each axis of the file that no axis of the volume runs along.
    scaling
        What each element is multiplied with and what is added then; None for neither.
    context
        Further metadata that belongs to its content.
    """

    source: Bytes
    stored: tuple[int, ...]
    element: np.dtype[np.generic]
    order: tuple[int | None, ...]
    fixed: tuple[tuple[int, int], ...] = ()
    scaling: tuple[float, float] | None = None
    context: bytes = b""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return tuple(1 if axis is None else self.stored[axis] for axis in self.order)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order; floating point where elements are scaled."""
        if self.scaling is None:
            return self.element.newbyteorder("=")
        return np.dtype("float32" if self.element.itemsize <= 2 else "float64")

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that lie together: rows, planes and more up to 4 MiB."""
        together = [1] * len(self.stored)
        left = CHUNK // self.element.itemsize
        for axis in reversed(range(len(self.stored))):
            together[axis] = max(1, min(self.stored[axis], left))
            left //= max(1, self.stored[axis])
        return tuple(1 if axis is None else together[axis] for axis in self.order)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If the file does not hold them.
        StoreError
            If the store does not answer as hoped.
        """
        out = np.empty([s.stop - s.start for s in index], self.dtype)
        if out.size == 0:
            return read_only(out)
        spans = [range(0, 0)] * len(self.stored)
        for axis, place in self.fixed:
            spans[axis] = range(place, place + 1)
        for wanted, known in zip(index, self.order, strict=True):
            if known is not None:
                spans[known] = range(wanted.start, wanted.stop)
        # The same memory with the axes in the order of the file.
        lost = [i for i, known in enumerate(self.order) if known is None]
        kept = [known for known in self.order if known is not None]
        view = out.squeeze(axis=tuple(lost)).transpose(np.argsort(kept))
        left_out = {axis for axis, _ in self.fixed}
        picked = tuple(0 if a in left_out else slice(None) for a in range(len(spans)))
        self._fill(view, spans, picked)
        return read_only(out)

    def _fill(
        self, out: NDArray[np.generic], spans: Sequence[range], picked: tuple[int | slice, ...]
    ) -> None:
        """Read the pieces of a box, each a run of elements along one axis of the file."""
        axis = self._run_axis(spans)
        after = self.stored[axis + 1 :]
        stride = math.prod(after) * self.element.itemsize
        step = max(1, PIECE // max(1, stride))
        starts = range(spans[axis].start, spans[axis].stop, step)

        def one(place: tuple[int, ...]) -> None:
            *outer, start = place
            stop = min(start + step, spans[axis].stop)
            number = 0
            for size, i in zip(self.stored, [*outer, start], strict=False):
                number = number * size + i
            data = self.source.read(number * stride, (stop - start) * stride)
            block = np.frombuffer(data, self.element).reshape(stop - start, *after)
            block = block[(slice(None), *(slice(s.start, s.stop) for s in spans[axis + 1 :]))]
            block = block.reshape((1,) * axis + block.shape)[picked]
            spot = [slice(i - s.start, i - s.start + 1) for i, s in zip(outer, spans, strict=False)]
            spot.append(slice(start - spans[axis].start, stop - spans[axis].start))
            spot += [slice(None)] * len(after)
            free = tuple(s for s, p in zip(spot, picked, strict=True) if isinstance(p, slice))
            out[free] = self._scaled(block)

        places = product(*spans[:axis], starts)
        if stores.local_path(self.source.url) is not None:
            for place in places:
                one(place)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                for _ in pool.map(one, places):
                    pass

    def _run_axis(self, spans: Sequence[range]) -> int:
        """Return the axis along which one read goes: all faster axes are read whole."""
        axis, size = len(spans) - 1, self.element.itemsize
        while axis > 0:
            size *= self.stored[axis]
            partly = len(spans[axis]) < self.stored[axis]
            if size > PIECE or (partly and size > WHOLE):
                break
            axis -= 1
        return axis

    def _scaled(self, block: Array) -> Array:
        if self.scaling is None:
            return block
        slope, inter = self.scaling
        with np.errstate(over="ignore", invalid="ignore"):  # infinite, as the file has it
            return (block.astype("float64") * slope + inter).astype(self.dtype)

    def evidence(self) -> Iterator[bytes]:
        """Yield metadata and samples of the file."""
        yield self.context
        yield from self.source.evidence()
