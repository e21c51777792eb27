"""The address of one three-dimensional volume, small enough to travel to a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from projectome.core.provenance import digest
from projectome.core.space import Meaning
from projectome.core.volume import Array, LazyArray, Pyramid, Volume
from projectome.errors import ParameterError
from projectome.io.open import FRAGMENT, INSIDE, open_volume
from projectome.io.volumes.options import Evident

OPENED = 32
"""Volumes that a process keeps open."""


@dataclass(frozen=True, slots=True, eq=False)
class OneChannel:
    """One channel of a lazy array with the axes (c, z, y, x)."""

    whole: LazyArray
    channel: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis, (z, y, x)."""
        return self.whole.shape[1:]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are best read together."""
        return self.whole.chunks[1:]

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis."""
        return self.whole.read((slice(self.channel, self.channel + 1), *index))[0]


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """Where a three-dimensional volume comes from: its address, and what the user says of it.

    It is compared, hashed and pickled by its fields, holds no open store, and opens the volume
    once a process.

    Attributes
    ----------
    url
        As for `projectome.io.open.open_volume`.
    level
        Level of the pyramid, 0 the finest.
    channel
        Channel by name or number; needed where there is more than one.
    voxel_size, axes, orientation, meaning, expansion, time, strict, asset, endpoint, anonymous
        As for `projectome.io.open.open_volume`.
    """

    url: str
    level: int = 0
    channel: str | int | None = None
    voxel_size: tuple[float, float, float] | None = None
    axes: str | None = None
    orientation: str | None = None
    meaning: Meaning | None = None
    expansion: float | None = None
    time: int | None = None
    strict: bool = False
    asset: str | bool = True
    endpoint: str | None = None
    anonymous: bool | None = None

    def open(self) -> Volume:
        """Return the volume, without a channel axis; opened once a process.

        Raises
        ------
        ParameterError
            If the level or channel does not exist, or a channel has to be chosen.
        ProjectomeError
            As `projectome.io.open.open_volume` does.
        """
        return _opened(self)

    def pyramid(self) -> Pyramid:
        """Return all levels and channels, opened anew."""
        return open_volume(
            self.url,
            voxel_size=self.voxel_size,
            axes=self.axes,
            orientation=self.orientation,
            meaning=self.meaning,
            expansion=self.expansion,
            time=self.time,
            strict=self.strict,
            asset=self.asset,
            endpoint=self.endpoint,
            anonymous=self.anonymous,
        )

    def fingerprint(self) -> str:
        """Return a hash that changes when the volume does, the same on every host and path.

        It covers the metadata documents, what the user says, also behind the ``#`` of an address,
        the orientation taken from the metadata of the data asset, the expansion taken from the
        catalog, and of the content: of Zarr the sizes and both ends of 32 evenly spaced chunks or
        shards (a shard keeps the index of its chunks at its end), of a TIFF file its size and 64
        evenly spaced pieces of 64 KiB (all of a file up to 4 MiB), of a folder of planes the names
        and both ends of 32 of them. It does not see a change inside a chunk, piece or companion
        file that is not among the samples and keeps all sizes.

        Returns
        -------
        str
            SHA-256 in hexadecimal.
        """
        pyramid = self.pyramid()
        volume = _select(self, pyramid)
        content = hashlib.sha256()
        for part in _evidence(volume.array):
            content.update(len(part).to_bytes(8, "little"))
            content.update(part)
        image = INSIDE.search(self.url) or FRAGMENT.search(self.url)
        said = {
            **({} if image is None else {"image": image[0]}),
            "level": self.level,
            "channel": None if self.channel is None else str(self.channel),
            "voxel_size": self.voxel_size,
            "axes": self.axes,
            "orientation": self.orientation,
            "meaning": self.meaning,
            "expansion": self.expansion,
            "time": self.time,
        }
        beside = {}
        for place, key in (("asset", "taken"), ("catalog", "expansion")):
            facts = pyramid.metadata.get(place)
            if isinstance(facts, dict) and facts.get(key):
                beside[place] = facts[key]
        return digest({"content": content.hexdigest(), "said": said, **beside})


def _evidence(array: LazyArray) -> Iterator[bytes]:
    whole = array.whole if isinstance(array, OneChannel) else array
    if isinstance(whole, Evident):
        yield from whole.evidence()
    else:
        raise ParameterError(
            f"A {type(whole).__name__} has no fingerprint. Write the volume to OME-Zarr first."
        )


@lru_cache(maxsize=OPENED)
def _opened(source: VolumeSource) -> Volume:
    return _select(source, source.pyramid())


def _select(source: VolumeSource, pyramid: Pyramid) -> Volume:
    """Return the level and channel asked for, as a volume of three axes."""
    volume = pyramid[source.level]
    if len(volume.array.shape) == 3:
        if source.channel is not None:
            volume.channel_index(source.channel)
        return volume
    if source.channel is None and len(volume.channels) > 1:
        raise ParameterError(
            f"{source.url} has {len(volume.channels)} channels: "
            f"{', '.join(map(repr, volume.channels[:12]))}. Choose one with --channel."
        )
    index = volume.channel_index(0 if source.channel is None else source.channel)
    kind = "image" if volume.kind == "affinities" else volume.kind
    return replace(volume, array=OneChannel(volume.array, index), channels=(), kind=kind)
