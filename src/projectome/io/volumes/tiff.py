"""TIFF files (plain, OME, ImageJ, LSM, BigTIFF) and folders of TIFF planes as lazy volumes.

The centre of voxel 0 is at the origin, unless projectome wrote a translation into the file. A plane
is decoded strip by strip or tile by tile, as a box needs it. Plain TIFF states no voxel size that
could be believed (its resolution is one of print), so that the user has to give it.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from projectome.core.affine import Affine, read_only
from projectome.core.space import Space
from projectome.core.volume import Array, Kind, Pyramid, Volume
from projectome.errors import FormatError, MetadataError, ParameterError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.volumes.ngff import LARGEST_VOXEL, SMALLEST_VOXEL
from projectome.io.volumes.options import (
    OpenOptions,
    Place,
    chosen_channels,
    name_of,
    own_space,
    pick_time,
)
from projectome.io.volumes.tiff_metadata import TiffFacts, facts_of
from projectome.io.volumes.tiff_pages import Cache, PageSource, Region, TiffPages, samples

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUFFIXES = (".tif", ".tiff")
OPEN_FILES = 32
"""Planes of a folder that are kept open."""
LOOKED_AT = 64
"""Planes of a folder whose shape is compared when it is opened; the others when they are read."""
THREADS = 4


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis of a series: in the pages, or counting them.

    Attributes
    ----------
    letter
        Of t, c, z, y, x, or another for an axis of which one place is picked.
    size
        Its length.
    inner
        Place among the five axes of a page; None if it counts pages.
    stride
        Pages from one place to the next; 0 inside a page.
    """

    letter: str
    size: int
    inner: int | None = None
    stride: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TiffArray:
    """Pages of TIFF files as a lazy array with the axes (z, y, x) or (c, z, y, x).

    Attributes
    ----------
    pages
        Where they come from.
    axes
        The axes c (where there is one), z, y and x; None for a z of one plane.
    base
        Page at which to start counting.
    fixed
        Place along each axis of a page that no axis of the volume runs along.
    context
        Further metadata that belongs to its content.
    """

    pages: PageSource
    axes: tuple[Dimension | None, ...]
    base: int = 0
    fixed: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    context: bytes = b""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""
        return tuple(1 if axis is None else axis.size for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""
        return self.pages.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements an axis that are decoded together; whole rows of files without compression."""
        return tuple(
            1
            if axis is None or axis.inner is None
            else min(axis.size, self.pages.segment[axis.inner])
            for axis in self.axes
        )

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        FormatError
            If a page among them is broken.
        """
        region: list[slice] = [slice(i, i + 1) for i in self.fixed]
        outer: list[Sequence[int]] = []
        for axis, wanted in zip(self.axes, index, strict=True):
            if axis is not None and axis.inner is not None:
                region[axis.inner] = wanted
                outer.append(range(1))
            else:
                outer.append(range(wanted.start, wanted.stop))
        whole: Region = (region[0], region[1], region[2], region[3], region[4])
        out = np.empty([s.stop - s.start for s in index], self.dtype)
        if out.size == 0:
            return read_only(out)
        places = list(product(*outer))
        fill = partial(self._fill, out, whole, tuple(span[0] for span in outer))
        if len(places) == 1:
            fill(places[0])
        else:
            with ThreadPoolExecutor(min(THREADS, len(places))) as pool:
                for _ in pool.map(fill, places):
                    pass
        return read_only(out)

    def _fill(
        self, out: Array, region: Region, start: tuple[int, ...], place: tuple[int, ...]
    ) -> None:
        page = self.base
        target: list[slice] = []
        for axis, i, first in zip(self.axes, place, start, strict=True):
            inside = axis is not None and axis.inner is not None
            target.append(slice(None) if inside else slice(i - first, i - first + 1))
            page += 0 if axis is None else i * axis.stride
        block = self.pages.read(page, region)
        order = [a.inner for a in self.axes if a is not None and a.inner is not None]
        block = block.transpose([*order, *(i for i in range(5) if i not in order)])
        spot = out[tuple(target)]
        spot[...] = block.reshape(spot.shape)

    def evidence(self) -> Iterator[bytes]:
        """Yield metadata and samples of the files."""
        yield self.context
        yield from self.pages.evidence()


class FolderPages:
    """Planes in files of their own.

    Parameters
    ----------
    urls
        One file a plane, in their order.
    access
        How to ask.

    Raises
    ------
    FormatError
        If the first file is no TIFF, or holds more than one plane.
    """

    def __init__(self, urls: tuple[str, ...], access: Access) -> None:
        self.urls, self._access, self._cache = urls, access, Cache()
        self._opened: OrderedDict[int, TiffPages] = OrderedDict()
        self._lock = threading.Lock()
        self.first = TiffPages(urls[0], access=access, cache=self._cache)
        if math.prod(self.first.series.shape) != math.prod(self.first.shape):
            raise FormatError(
                f"The files of a folder are read as one plane each, and {urls[0]} holds "
                f"{self.first.series.shape} elements. Open a single file of the folder instead."
            )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.urls, self._access)

    @property
    def shape(self) -> tuple[int, ...]:
        """Normalised shape of a plane."""
        return self.first.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.first.dtype

    @property
    def segment(self) -> tuple[int, ...]:
        """Normalised shape of what is decoded at once."""
        return self.first.segment

    def plane(self, number: int) -> TiffPages:
        """Return an open plane.

        Raises
        ------
        FormatError
            If it is not like the first.
        """
        with self._lock:
            kept = self._opened.get(number)
        if kept is not None:
            return kept
        url = self.urls[number]
        pages = TiffPages(url, access=self._access, cache=self._cache)
        if (pages.series.shape, pages.dtype) != (self.first.series.shape, self.dtype):
            raise FormatError(
                f"{url} is no plane like the first of its folder: it holds {pages.series.shape} "
                f"elements of {pages.dtype}, {self.urls[0]} holds {self.first.series.shape} of "
                f"{self.dtype}. Put the files of one stack into a folder, or open a single file."
            )
        with self._lock:
            self._opened[number] = pages
            while len(self._opened) > OPEN_FILES:
                self._opened.popitem(last=False)
        return pages

    def read(self, page: int, region: Region) -> Array:
        """Return a part of a plane."""
        return self.plane(page).read(0, region)

    def evidence(self) -> Iterator[bytes]:
        """Yield the names, and samples of evenly spaced planes."""
        yield "\n".join(name_of(url) for url in self.urls).encode()
        for i in sorted({round(v) for v in np.linspace(0, len(self.urls) - 1, 32)}):
            yield from samples(self.urls[i], self._access, pieces=2)


class TiffReader:
    """Opens TIFF files and folders of TIFF planes."""

    name = "TIFF (plain, OME, ImageJ, LSM) and folders of TIFF planes"
    prefix = "tiff"

    def sniff(self, place: Place) -> bool:
        """Say whether it is a TIFF file, or a folder with some."""
        if place.head is not None:
            return place.head.startswith(MAGIC)
        return bool(_planes(place))

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image as a pyramid of one level.

        Raises
        ------
        FormatError
            If it is broken, or has axes that cannot be told apart.
        ParameterError
            If a fact is missing that only the user can give.
        """
        if place.head is not None:
            pages = TiffPages(place.url, access=options.access, series=options.series)
            facts = facts_of(pages.tiff, pages.index, url=place.url)
            return _pyramid(place.url, pages, _dimensions(pages), facts, options)
        urls = tuple(stores.join(place.url, name) for name in _planes(place))
        if not urls:
            raise FormatError(
                f"There is no TIFF file in {place.url}. List it with: projectome ls {place.url}"
            )
        folder = FolderPages(urls, options.access)
        for i in sorted({round(v) for v in np.linspace(0, len(urls) - 1, LOOKED_AT)}):
            folder.plane(i)
        inner = [d for d in _dimensions(folder.first) if d.size > 1 or d.letter in "yx"]
        dimensions = [Dimension("z", len(urls), stride=1), *inner]
        facts = TiffFacts("folder of TIFF planes", name=name_of(place.url))
        return _pyramid(place.url, folder, dimensions, facts, options)


def _planes(place: Place) -> list[str]:
    """Return the names of the TIFF files of a folder in natural order: 2 before 10."""
    names = [name for name in place.names or () if name.lower().endswith(SUFFIXES)]
    visible = [name for name in names if not name.startswith(".")]
    return sorted(
        visible, key=lambda n: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", n)]
    )


def _dimensions(pages: TiffPages) -> list[Dimension]:
    """Return the axes of a series with the letters of the file, in lower case."""
    series = pages.series
    letters, sizes = series.axes.lower(), tuple(series.shape)
    size, split = 1, len(sizes)
    while split > 0 and size < math.prod(pages.shape):
        split -= 1
        size *= sizes[split]
    if size != math.prod(pages.shape):
        raise FormatError(
            f"The axes {series.axes} of {pages.url} with lengths {sizes} do not fit its pages. "
            "Save it again as OME-TIFF or OME-Zarr."
        )
    strides = [math.prod(sizes[i + 1 : split]) for i in range(split)]
    found = [
        Dimension(letter, n, stride=stride)
        for letter, n, stride in zip(letters, sizes, strides, strict=False)
    ]
    places = [i for i, n in enumerate(pages.shape) if n > 1]
    for letter, n in zip(letters[split:], sizes[split:], strict=True):
        found.append(Dimension(letter, n, places.pop(0) if n > 1 else None))
    return found


def _named(
    dimensions: list[Dimension], options: OpenOptions, problems: list[Problem], url: str
) -> list[Dimension]:
    """Give each axis its meaning: the user's word, the file's, or the order of the pages."""
    if options.axes is not None:
        if len(options.axes) != len(dimensions):
            stated = "".join(d.letter for d in dimensions)
            raise ParameterError(
                f"--axes {options.axes} names {len(options.axes)} axes, but {url} has "
                f"{len(dimensions)}: {stated} with the lengths {[d.size for d in dimensions]}."
            )
        pairs = zip(options.axes, dimensions, strict=True)
        return [Dimension(letter, d.size, d.inner, d.stride) for letter, d in pairs]
    used = {d.letter for d in dimensions if d.size > 1}
    named = []
    for d in dimensions:
        letter = d.letter
        if letter == "s" and "c" not in used:  # samples, for instance red, green and blue
            letter = "c"
            if d.size > 1 and d.inner == 0:
                text = "Samples in planes of their own are read as channels, not as z."
                problems.append(Problem("warning", "axes", f"{text} If they are z: --axes zyx."))
        elif d.size > 1 and letter not in "tczyxs" and "z" not in used:
            problems.append(
                Problem("warning", "axes", f"Pages of unknown meaning ({letter!r}) are read as z.")
            )
            letter = "z"
            used.add("z")
        named.append(Dimension(letter, d.size, d.inner, d.stride))
    return [d for d in named if d.size > 1 or d.letter in "zyx"]


def _pyramid(
    url: str,
    pages: TiffPages | FolderPages,
    dimensions: list[Dimension],
    facts: TiffFacts,
    options: OpenOptions,
) -> Pyramid:
    """Return a volume of pages whose axes and facts are known."""
    problems = list(facts.problems)
    named = _named(dimensions, options, problems, url)
    by_letter = {d.letter: d for d in named if d.letter in "czyx"}
    if len({d.letter for d in named}) != len(named) or not {"y", "x"} <= by_letter.keys():
        raise FormatError(
            f"The axes of {url}, {[d.letter for d in named]}, are not y and x and others, one of "
            "each meaning. Say which axis is which with --axes."
        )
    base, fixed = 0, [0, 0, 0, 0, 0]
    for d in named:
        if d.letter not in "czyx":
            chosen = pick_time(d.size, d.letter, options, url=url)
            base += chosen * d.stride
            if d.inner is not None:
                fixed[d.inner] = chosen
    depth = by_letter.get("z")
    axes = [depth, by_letter["y"], by_letter["x"]]
    if "c" in by_letter:
        axes = [by_letter["c"], *axes]
    array = TiffArray(pages, tuple(axes), base, (fixed[0], fixed[1], fixed[2], fixed[3], fixed[4]))
    shown = f"{facts.format}, {' x '.join(map(str, array.shape))} {array.dtype}"
    size = _voxel_size(facts, options, depth, problems, f"{url} ({shown})")
    if isinstance(pages, TiffPages):
        _note_pages(pages, options, problems, url)
    space = own_space(_own(facts), Space(toward=facts.toward))
    affine = Affine.from_scale(size, facts.translation, target=options.described(space))
    channels = chosen_channels(array.shape[0], facts.channels) if "c" in by_letter else ()
    stated = facts.own.get("kind")
    kind: Kind = "image"
    if stated == "labels" and array.dtype.kind in "iub":
        kind = "labels"
    elif stated == "affinities":
        kind = "affinities"
    volume = Volume(array, affine, channels, kind, facts.name or name_of(url))
    metadata: dict[str, object] = {"format": facts.format, "version": facts.version, "url": url}
    metadata |= {"projectome": dict(facts.own)} if facts.own else {}
    metadata |= facts.acquisition.metadata()
    return Pyramid((volume,), tuple(problems), metadata)


def _own(facts: TiffFacts) -> dict[str, object]:
    own: dict[str, object] = dict(facts.own)
    try:
        own["expansion"] = float(facts.own.get("expansion", ""))
    except ValueError:
        own.pop("expansion", None)
    with contextlib.suppress(ValueError):
        own["span_um"] = [float(v) for v in facts.own.get("span_um", "").split()]
    return own


def _note_pages(pages: TiffPages, options: OpenOptions, problems: list[Problem], url: str) -> None:
    if pages.count > 1 and options.series is None:
        text = f"The largest of {pages.count} images, #{pages.index}, is read; choose with {url}#N."
        problems.append(Problem("warning", "series", text))
    if pages.missing and options.strict:
        raise FormatError(
            f"{url} lacks {pages.missing} of its pages. Restore it, or read without --strict to "
            "take zeros there."
        )
    if pages.missing:
        text = f"{pages.missing} pages are missing and read as zeros."
        problems.append(Problem("warning", "pages", text))


def _voxel_size(
    facts: TiffFacts,
    options: OpenOptions,
    depth: Dimension | None,
    problems: list[Problem],
    what: str,
) -> tuple[float, float, float]:
    if options.voxel_size is not None:
        return options.voxel_size
    z, y, x = facts.voxel_size
    if z is None and y and x and (depth is None or depth.size == 1):
        text = "A single plane of unknown thickness: read as 1 um thick."
        problems.append(Problem("warning", "voxel size", text))
        z = 1.0
    if not (z and y and x):
        known = ", ".join(
            f"{axis} {value:g}" for axis, value in zip("zyx", (z, y, x), strict=True) if value
        )
        raise ParameterError(
            f"{what} does not state its voxel size"
            + (f" fully (only {known} um)" if known else "")
            + ". Give it: --voxel-size Z,Y,X in micrometres."
        )
    if not all(SMALLEST_VOXEL <= size <= LARGEST_VOXEL for size in (z, y, x)):
        raise MetadataError(
            f"{what} states voxels of {z:g} x {y:g} x {x:g} um, which no microscope makes. Give "
            "the voxel size: --voxel-size Z,Y,X in micrometres."
        )
    return z, y, x
