"""Lazy volumes in world coordinates, and their pyramids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from projectome.core.adapters import adapted
from projectome.core.affine import Affine, coordinates, read_only
from projectome.core.box import Box, Triple, triple
from projectome.core.space import Space
from projectome.errors import ParameterError, Problem, ShapeError, UnknownNameError

Kind: TypeAlias = Literal["image", "labels", "affinities"]
Array: TypeAlias = NDArray[np.generic]


@runtime_checkable
class LazyArray(Protocol):
    """What a volume needs of an array: metadata at once, voxels on demand.

    Readers return one of these. The axes are (z, y, x) or (c, z, y, x), in C order.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis; three or four axes."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together, as many entries as `shape`."""

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis (start and stop given, no step)."""


class OverArray:
    """What a lazy array takes from another one, ``array``, whose elements it gives in its own way.

    Subclasses hold the other array and have a `read` of their own.
    """

    __slots__ = ()

    array: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        return self.array.chunks


@dataclass(frozen=True, slots=True, eq=False)
class ArrayInMemory:
    """A numpy array as a `LazyArray`; reads are read-only views."""

    array: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", read_only(self.array))

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """The whole array: it is all in memory."""
        return self.array.shape

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return a view."""
        return self.array[index]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A lazy array with its place in the world; voxels are read only by `read`.

    Attributes
    ----------
    array
        Axes (z, y, x) or (c, z, y, x).
    affine
        Voxel indices (z, y, x) to micrometres; the centre of voxel 0 is at its translation.
    channels
        One name a channel; empty for an array without a channel axis.
    kind
        ``"image"``, ``"labels"`` (integers, 0 is background, never interpolated) or
        ``"affinities"``.
    name
        What to call it in figures and messages.
    """

    array: LazyArray
    affine: Affine
    channels: tuple[str, ...] = ()
    kind: Kind = "image"
    name: str = "volume"

    def __post_init__(self) -> None:
        shape = self.array.shape
        if len(shape) not in (3, 4):
            raise ShapeError(
                f"A volume has axes (z, y, x) or (c, z, y, x); {self.name} has the shape {shape}."
            )
        if len(shape) == 4 and len(self.channels) != shape[0]:
            raise ShapeError(
                f"{self.name} has {shape[0]} channels and {len(self.channels)} channel names."
            )
        if len(shape) == 3 and self.channels:
            raise ShapeError(f"{self.name} has channel names but no channel axis.")
        if self.kind == "labels" and self.dtype.kind not in "iub":
            raise ShapeError(f"Labels are integers; {self.name} holds {self.dtype}.")

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        *,
        voxel_size: ArrayLike,
        translation: ArrayLike = (0.0, 0.0, 0.0),
        space: Space | None = None,
        channels: Sequence[str] = (),
        kind: Kind = "image",
        name: str = "array",
    ) -> Volume:
        """Return a volume of an array in memory.

        Parameters
        ----------
        array
            Axes (z, y, x) or (c, z, y, x).
        voxel_size
            Size of a voxel (z, y, x) [um].
        translation
            Position of the centre of voxel 0 [um].
        space
            What the micrometres mean; an unnamed scan by default.
        channels, kind, name
            As the attributes; channels are numbered if not named.

        Returns
        -------
        Volume
            Over a read-only view of the array.
        """
        values = np.asarray(array)
        names = tuple(channels)
        if values.ndim == 4 and not names:
            names = tuple(f"channel {i}" for i in range(values.shape[0]))
        affine = Affine.from_scale(voxel_size, translation, target=space)
        return cls(ArrayInMemory(values), affine, names, kind, name)

    @property
    def shape(self) -> Triple:
        """Voxels an axis, (z, y, x)."""
        return triple(self.array.shape[-3:])

    @property
    def box(self) -> Box:
        """All voxels."""
        return Box.from_shape(self.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    @property
    def chunks(self) -> Triple:
        """Voxels best read together, (z, y, x)."""
        return triple(self.array.chunks[-3:])

    @property
    def space(self) -> Space:
        """What its micrometres mean."""
        return self.affine.target

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Size of a voxel (z, y, x) [um of the volume's space, not of tissue]."""
        return self.affine.voxel_size

    @property
    def nbytes(self) -> int:
        """Size of all channels, uncompressed [bytes]."""
        return self.box.size * max(1, len(self.channels)) * self.dtype.itemsize

    def channel_index(self, channel: str | int) -> int:
        """Return the place of a channel given by name or number.

        Raises
        ------
        UnknownNameError
            If there is no such channel.
        """
        if isinstance(channel, str) and channel in self.channels:
            return self.channels.index(channel)
        text = str(channel)
        if text.isdecimal() and int(text) < max(1, len(self.channels)):
            return int(text)
        known = self.channels or ("0",)
        raise UnknownNameError("channel", text, known, where=self.name)

    def read(self, box: Box | None = None, *, channel: str | int | None = None) -> Array:
        """Read voxels.

        Parameters
        ----------
        box
            Which voxels; all by default. It has to lie inside the volume.
        channel
            One channel by name or number; all by default.

        Returns
        -------
        numpy.ndarray
            Shape of the box, with a leading channel axis where the volume has one and none is
            picked. May be read-only.

        Raises
        ------
        ShapeError
            If the box leaves the volume.
        """
        wanted = self.box if box is None else box
        if not self.box.covers(wanted):
            raise ShapeError(
                f"The box {wanted} leaves {self.name}, which has the voxels {self.box}. Boxes on "
                "the command line are micrometres unless they end in 'px'."
            )
        if len(self.array.shape) == 3:
            if channel is not None:
                self.channel_index(channel)
            return self.array.read(wanted.slices)
        if channel is None:
            return self.array.read((slice(0, self.array.shape[0]), *wanted.slices))
        c = self.channel_index(channel)
        return self.array.read((slice(c, c + 1), *wanted.slices))[0]

    def voxel_box(self, start: ArrayLike, stop: ArrayLike) -> Box:
        """Return the voxels whose centres lie in a half-open physical box, clipped to the volume.

        Parameters
        ----------
        start, stop
            Corners (z, y, x) [um].

        Returns
        -------
        Box
            Possibly empty. Where the grid is rotated against its space, the smallest box around
            those voxels.
        """
        sides = np.stack([coordinates(start)[0], coordinates(stop)[0]], axis=1)
        index = self.affine.inverse()(list(product(*sides)))
        low, high = np.ceil(index.min(axis=0) - 1e-6), np.ceil(index.max(axis=0) - 1e-6)
        if not self.affine.is_grid:
            high = np.floor(index.max(axis=0) + 1e-6) + 1
        limit = np.asarray(self.shape)
        return Box(triple(np.clip(low, 0, limit)), triple(np.clip(high, 0, limit)))

    def with_space(self, space: Space) -> Volume:
        """Return the same voxels with another description of their space."""
        return replace(self, affine=self.affine.with_target(space))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all voxels, for numpy; refused where they do not fit into the memory allowed."""
        values: NDArray[Any] = adapted("array", self, dtype, copy)
        return values

    def to_dask(self) -> Any:
        """Return the voxels as a lazy ``dask.array.Array`` with the chunks of the volume.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        """
        return adapted("dask", self)

    def to_xarray(self) -> Any:
        """Return the volume as a lazy ``xarray.DataArray`` with coordinates in micrometres.

        Raises
        ------
        MissingExtraError
            If xarray or dask is not installed.
        """
        return adapted("xarray", self)

    def _repr_html_(self) -> str:
        return Pyramid((self,))._repr_html_()


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """The levels of one volume, finest first.

    Attributes
    ----------
    levels
        At least one volume; all in one space.
    problems
        What was doubtful in the metadata and how it was read.
    metadata
        What the file says beyond geometry: source, format version, display settings and so on.
    """

    levels: tuple[Volume, ...]
    problems: tuple[Problem, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.levels:
            raise ShapeError("A pyramid needs at least one level.")
        if len({level.space for level in self.levels}) != 1:
            raise ShapeError("All levels of a pyramid lie in one space.")
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def __reduce__(self) -> tuple[object, ...]:
        return Pyramid, (self.levels, self.problems, dict(self.metadata))

    def __len__(self) -> int:
        return len(self.levels)

    def __iter__(self) -> Iterator[Volume]:
        return iter(self.levels)

    def __getitem__(self, level: int) -> Volume:
        if not 0 <= level < len(self.levels):
            raise ParameterError(
                f"No level {level}: {self.levels[0].name} has the levels 0 to "
                f"{len(self.levels) - 1}."
            )
        return self.levels[level]

    @property
    def name(self) -> str:
        """Name of the finest level."""
        return self.levels[0].name

    @property
    def space(self) -> Space:
        """What the micrometres of all levels mean."""
        return self.levels[0].space

    def at(self, *, voxel_size: float) -> Volume:
        """Return the coarsest level that is at least as fine as asked.

        Parameters
        ----------
        voxel_size
            Largest voxel edge wanted [um of the volume's space].

        Returns
        -------
        Volume
            The coarsest level whose largest voxel edge does not exceed `voxel_size` by more than
            1 %; the finest level if all are coarser.
        """
        fine = [v for v in self.levels if max(v.voxel_size) <= 1.01 * voxel_size]
        return max(fine, key=lambda v: max(v.voxel_size), default=self.levels[0])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the finest level, for numpy; see `Volume`."""
        return self.levels[0].__array__(dtype, copy)

    def to_dask(self, level: int = 0) -> Any:
        """Return a level as a lazy ``dask.array.Array``; see `Volume.to_dask`."""
        return self[level].to_dask()

    def to_xarray(self, level: int = 0) -> Any:
        """Return a level as a lazy ``xarray.DataArray``; see `Volume.to_xarray`."""
        return self[level].to_xarray()

    def _repr_html_(self) -> str:
        text: str = adapted("html", self)
        return text
