"""What the user says when opening a volume, and what every reader offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from projectome.core.space import Meaning, Space
from projectome.core.volume import LazyArray, Pyramid
from projectome.errors import AccessDeniedError, FormatError, NotFoundError, ParameterError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL

HEAD = 16
UNFINISHED = ".unfinished.json"
"""Lies in a volume that is still being written."""


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What the user says of a volume beyond its address.

    Attributes
    ----------
    voxel_size
        Size of a voxel of the finest level (z, y, x) [um]; wins over the file.
    axes
        One letter an array axis as it lies in the file, of t, c, z, y, x; other letters name axes
        of which one place is picked like a time point. Wins over the file.
    orientation, meaning
        Three-letter code in the order (z, y, x), and whether its letters say where the coordinate
        increases ``"toward"`` or where it starts ``"from"``. Wins over the file.
    expansion
        Micrometres of the volume in one micrometre of tissue.
    time
        Time point, or place along another extra axis.
    strict
        Whether a missing chunk is an error instead of the fill value.
    asset
        Address of the metadata of the data asset; True to look for it above the volume, False or
        ``"none"`` to do without.
    series
        Which image of a file with several; the largest by default.
    places
        Place along further axes by their letter, as in ``stack.czi#h=3,t=0``.
    inside
        Path of a dataset in an HDF5 file, or a setup of BigDataViewer.
    access
        How to ask the store.
    """

    voxel_size: tuple[float, float, float] | None = None
    axes: str | None = None
    orientation: str | None = None
    meaning: Meaning | None = None
    expansion: float | None = None
    time: int | None = None
    strict: bool = False
    asset: str | bool = True
    series: int | None = None
    places: Mapping[str, int] = field(default_factory=dict)
    inside: str | None = None
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        if self.voxel_size is not None:
            size = np.asarray(self.voxel_size, dtype=np.float64)
            if size.shape != (3,) or not ((size >= SMALLEST_VOXEL) & (size <= LARGEST_VOXEL)).all():
                raise ParameterError(
                    f"A voxel size is three numbers Z,Y,X between {SMALLEST_VOXEL} and "
                    f"{LARGEST_VOXEL} um, not {self.voxel_size!r}."
                )
            z, y, x = size.tolist()
            object.__setattr__(self, "voxel_size", (z, y, x))
        if self.axes is not None:
            letters = self.axes.lower()
            if (
                not letters.isalpha()
                or len(set(letters)) != len(letters)
                or not {*"yx"} <= {*letters}
            ):
                raise ParameterError(
                    f"Axes are different letters, one an array axis, with y and x among them, for "
                    f"instance tczyx; not {self.axes!r}."
                )
            object.__setattr__(self, "axes", letters)
        if self.time is not None and self.time < 0:
            raise ParameterError(f"A time point counts from 0; not {self.time}.")
        if (self.orientation is None) != (self.meaning is None):
            raise ParameterError(
                "An orientation code needs its meaning, and a meaning its code: --orientation CODE "
                "--meaning toward|from."
            )
        if isinstance(self.asset, str) and self.asset.strip().lower() in ("", "none"):
            object.__setattr__(self, "asset", False)
        self.described(Space())

    def described(self, space: Space) -> Space:
        """Return a space with the user's orientation and expansion in it.

        Raises
        ------
        ParameterError
            If the orientation or the expansion is not possible.
        """
        toward = space.toward
        if self.voxel_size is not None and space.span is not None:
            space = replace(space, span=None)  # which was counted in other voxels
        if self.orientation is not None and self.meaning is not None:
            toward = Space.from_code(self.orientation, meaning=self.meaning).toward
        expansion = space.expansion if self.expansion is None else self.expansion
        return replace(space, toward=toward, expansion=expansion)

    def said(self) -> dict[str, object]:
        """Return the facts that the user stated, as plain data."""
        names = ("voxel_size", "axes", "orientation", "meaning", "expansion", "time")
        stated = {name: getattr(self, name) for name in names}
        stated["asset"] = None if self.asset is True else self.asset
        return {name: value for name, value in stated.items() if value is not None}


@dataclass(frozen=True)
class Place:
    """What lies at an address, looked at no more than needed.

    Attributes
    ----------
    url
        The address.
    access
        How to ask the store.
    head
        First bytes of a file; None for what is, or may be, a folder.
    """

    url: str
    access: Access
    head: bytes | None = None
    _read: dict[str, bytes | AccessDeniedError | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def look(cls, url: str, access: Access) -> Place:
        """Look at an address.

        Raises
        ------
        NotFoundError
            If nothing is there on the local disk; elsewhere a folder shows only by what is in it.
        """
        local, address = stores.local_path(url), stores.parse(url)
        is_bucket = address.scheme in ("s3", "gs") and not address.path
        if is_bucket or address.member == "" or (local is not None and local.is_dir()):
            return cls(url, access)
        try:
            head = stores.read_part(url, 0, HEAD, access=access)[0]
        except (NotFoundError, AccessDeniedError):  # S3 denies what it may not say is missing
            if local is not None:
                raise
            return cls(url, access)
        place = cls(url, access)
        return place if place._is_page(head) else cls(url, access, head)

    def _is_page(self, data: bytes) -> bool:
        """Say whether it is a page: web servers answer so for folders, and for anything at all."""
        return self.url.startswith("http") and data.lstrip().startswith(b"<")

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """Names one level down; None for a file, and where the store does not list."""
        address = stores.parse(self.url)
        if self.head is not None or (address.scheme.startswith("http") and address.member is None):
            return None
        try:
            found = stores.list_folder(self.url, access=self.access)
        except (NotFoundError, AccessDeniedError):
            return None
        return tuple(entry.name for entry in found)

    def documents(self, *names: str) -> dict[str, bytes | AccessDeniedError | None]:
        """Return documents one level down, asked for all at once, and once only.

        Returns
        -------
        dict
            None for what is not there, the error for what the store denies: S3 denies what it may
            not say is missing.
        """

        def fetch(name: str) -> bytes | AccessDeniedError | None:
            try:
                found = stores.read_bytes(stores.join(self.url, name), access=self.access)
                return None if self._is_page(found) else found
            except NotFoundError:
                return None
            except AccessDeniedError as error:
                return error

        fresh = [name for name in names if name not in self._read]
        if fresh and self.head is None:
            with ThreadPoolExecutor(len(fresh)) as pool:
                self._read.update(zip(fresh, pool.map(fetch, fresh), strict=True))
        return {name: self._read.get(name) for name in names}

    def has(self, name: str) -> bool:
        """Say whether there is a document of that name one level down."""
        if self.head is not None:
            return False
        try:
            return stores.exists(stores.join(self.url, name), access=self.access)
        except AccessDeniedError:
            return False


@runtime_checkable
class Evident(Protocol):
    """A lazy array that can show what its content is."""

    def evidence(self) -> Iterator[bytes]:
        """Yield metadata and samples of the content, the same wherever the data lies."""


class Reader(Protocol):
    """Opens one family of formats."""

    @property
    def name(self) -> str:
        """What the formats are called in messages."""

    @property
    def prefix(self) -> str:
        """Scheme that forces this reader, as in ``zarr://``."""

    def sniff(self, place: Place) -> bool:
        """Say whether this reader opens what lies there."""

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the pyramid there, with ``format`` and ``version`` in its metadata."""


def pick_time(size: int, name: str, options: OpenOptions, *, url: str) -> int:
    """Return the place to read along an extra axis.

    Parameters
    ----------
    size
        Places along the axis.
    name
        What the axis is called.
    options
        What the user says.
    url
        For messages.

    Raises
    ------
    ParameterError
        If the choice is missing or out of range.
    """
    if options.time is None and size == 1:
        return 0
    if options.time is None:
        raise ParameterError(
            f"{url} has {size} places along the axis {name!r}, and a volume holds one: choose one "
            f"with --time N, 0 to {size - 1}."
        )
    if options.time >= size:
        raise ParameterError(
            f"No place {options.time} along the axis {name!r} of {url}: --time goes from 0 to "
            f"{size - 1}."
        )
    return options.time


def unfinished(url: str) -> FormatError:
    """Return the error for a volume that is still being written."""
    return FormatError(
        f"{url} is not finished: whatever writes it was stopped. Run the command that writes it "
        "again; it goes on where it stopped."
    )


def name_of(url: str) -> str:
    """Return what to call the volume at an address."""
    return url.rstrip("/").rsplit("/", 1)[-1] or url


def space_notes(space: Space) -> dict[str, object]:
    """Return what formats have no place for of a space, for `own_space` to read."""
    notes: dict[str, object] = {"space": space.name, "expansion": space.expansion}
    return notes if space.span is None else {**notes, "span_um": list(space.span)}


def own_span(stated: Mapping[str, object]) -> tuple[float, float, float] | None:
    """Return the span of the whole that projectome wrote with a part of it, if there is one."""
    span = stated.get("span_um")
    if not isinstance(span, list) or len(span) != 3:
        return None
    if not all(type(v) in (int, float) and 0 <= v < 1e12 for v in span):
        return None
    z, y, x = map(float, span)
    return z, y, x


def own_space(stated: Mapping[str, object], space: Space) -> Space:
    """Return a space with what projectome wrote of it beside the format's own.

    Parameters
    ----------
    stated
        ``space``, ``expansion`` and ``span_um``, where they were written.
    space
        What the format itself says.
    """
    name, expansion = stated.get("space"), stated.get("expansion")
    space = replace(space, span=own_span(stated))
    if isinstance(name, str) and name:
        space = replace(space, name=name)
    if isinstance(expansion, (int, float)) and 0.1 <= expansion <= 100:
        space = replace(space, expansion=float(expansion))
    return space


def chosen_channels(count: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return one different name a channel, from as many names as there are."""
    found: list[str] = []
    for index in range(count):
        name = names[index] if index < len(names) and names[index] else f"channel {index}"
        found.append(name if name not in found else f"{name} ({index})")
    return tuple(found)


def check_readable(array: LazyArray, *, url: str) -> None:
    """Refuse element types that are no intensity and no label."""
    if array.dtype.kind not in "iufb":
        raise FormatError(
            f"{url} holds elements of type {array.dtype}; volumes hold integers or real numbers. "
            "Convert it with the tool that wrote it."
        )
