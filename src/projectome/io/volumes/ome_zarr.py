"""OME-Zarr groups, versions 0.4 to 0.6, as pyramids of lazy volumes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import VOXELS, Affine
from projectome.core.space import Space
from projectome.core.volume import Kind, LazyArray, Pyramid, Volume
from projectome.errors import (
    AccessDeniedError,
    FormatError,
    MetadataError,
    NotFoundError,
    ParameterError,
    Problem,
    ProjectomeError,
    StoreError,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.volumes.ngff import Multiscale, ome_attributes, parse_multiscale
from projectome.io.volumes.options import (
    UNFINISHED,
    OpenOptions,
    Place,
    chosen_channels,
    name_of,
    own_space,
    pick_time,
    unfinished,
)
from projectome.io.volumes.plain import level_names
from projectome.io.volumes.zarr_array import (
    ArrayDocument,
    levels_by_ends,
    open_array,
    open_bare,
    read_document,
)

MANIFESTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Metadata of a Zarr group.

    Attributes
    ----------
    url
        Its address.
    version
        2 or 3.
    attributes
        What it says.
    raw
        The bytes of its documents.
    """

    url: str
    version: int
    attributes: Mapping[str, Any]
    raw: bytes


def manifests(
    place: Place, version: int | None = None
) -> dict[str, bytes | AccessDeniedError | None]:
    """Return the documents that a Zarr group may have.

    What tells least is asked for last, and of the listing where there is one, which is needed then
    anyway. Of a level, whose version is that of its group, only those are asked for that say
    something.
    """
    found: dict[str, bytes | AccessDeniedError | None] = dict.fromkeys((*MANIFESTS, UNFINISHED))
    if version is not None:
        return found | place.documents(
            *(("zarr.json",) if version == 3 else (".zarray", ".zattrs"))
        )
    found |= place.documents("zarr.json", ".zattrs", ".zarray")
    if any(isinstance(document, bytes) for document in found.values()):
        return found
    try:
        names = place.names
    except (StoreError, FormatError):  # there are stores that only give
        names = None
    if names is None:
        return found | place.documents(".zgroup", UNFINISHED)
    return found | {name: b"{}" for name in (".zgroup", UNFINISHED) if name in names}


def read_group(place: Place, version: int | None = None) -> Group | ArrayDocument:
    """Read the metadata of a Zarr group, or of the array that lies there instead.

    Parameters
    ----------
    place
        Where to look.
    version
        2 or 3 where it is known, as that of a level; both are tried if None.

    Raises
    ------
    NotFoundError
        If there is neither.
    FormatError
        If the metadata is broken.
    """
    url, documents = place.url, manifests(place, version)
    denied = [error for error in documents.values() if isinstance(error, AccessDeniedError)]
    found = {name: raw if isinstance(raw, bytes) else None for name, raw in documents.items()}
    if found[UNFINISHED] is not None:
        raise unfinished(url)
    for name, number in (("zarr.json", 3), (".zarray", 2)):
        raw = found[name]
        if raw is None:
            continue
        content = parse_json(raw, url=stores.join(url, name))
        if name == ".zarray":
            own = found[".zattrs"] or b"{}"
            attributes = parse_json(own, url=stores.join(url, ".zattrs"))
            return ArrayDocument(url, number, content, raw + own, attributes)
        attributes = content.get("attributes") or {}
        attributes = attributes if isinstance(attributes, dict) else {}
        if content.get("node_type") == "array":
            return ArrayDocument(url, number, content, raw, attributes)
        return Group(url, 3, attributes, raw)
    if denied and found[".zattrs"] is None and found[".zgroup"] is None:
        raise denied[0]
    attributes, raw = {}, found[".zattrs"] or b""
    if found[".zattrs"] is not None:
        attributes = parse_json(raw, url=stores.join(url, ".zattrs"))
    if found[".zattrs"] is None and found[".zgroup"] is None:
        raise NotFoundError(
            f"There is no Zarr group at {url}: none of {', '.join(MANIFESTS)}. List what is there "
            f"with: projectome ls {url}"
        )
    return Group(url, 2, attributes, raw)


class OmeZarrReader:
    """Opens OME-Zarr images, and the Zarr arrays inside them one by one."""

    name = "OME-Zarr 0.4 to 0.6 and Zarr arrays"
    prefix = "zarr"

    def sniff(self, place: Place) -> bool:
        """Say whether there is Zarr metadata."""
        if place.head is not None:
            return False
        found = manifests(place)
        return any(isinstance(found[name], bytes) for name in MANIFESTS)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image.

        Raises
        ------
        MetadataError
            With all problems, if its metadata cannot be used.
        FormatError
            If it holds no image, or a broken one.
        """
        found = read_group(place)
        if isinstance(found, ArrayDocument):
            try:
                return open_bare([found], options, url=place.url)
            except ParameterError as error:
                if options.voxel_size is None:
                    error.args = (f"{error}{_level_of(place)}",)
                raise
        ome = ome_attributes(found.attributes)
        if "multiscales" in ome:
            return open_multiscale(found, options)
        if "bioformats2raw.layout" in ome and "plate" not in ome:
            return self._only_series(place, options)
        named = {"plate", "well", "labels"} & ome.keys()
        if not named and (documents := _plain_levels(place, found.version)):
            return open_bare(documents, options, url=place.url)
        raise FormatError(_no_image(place, ome))

    def _only_series(self, place: Place, options: OpenOptions) -> Pyramid:
        """Open the image of a bioformats2raw group that holds one."""
        first, second = (stores.join(place.url, name) for name in ("0", "1"))
        if any(Place(second, place.access).has(name) for name in ("zarr.json", ".zgroup")):
            raise ParameterError(
                f"{place.url} holds several images. Choose one: {first}, {second} and so on."
            )
        pyramid = self.open(Place(first, place.access), options)
        note = Problem("warning", "bioformats2raw.layout", f"The image {first} is read.")
        return Pyramid(pyramid.levels, (note, *pyramid.problems), pyramid.metadata)


def _level_of(place: Place) -> str:
    """Return a sentence on the image that an array is a level of; empty if there is none."""
    names = place.url.split("/")
    for above in (1, 2):
        url, path = "/".join(names[:-above]), "/".join(names[-above:])
        try:
            group = read_group(Place(url, place.access))
            ome = ome_attributes(group.attributes)
            image = parse_multiscale(group.attributes, url=url) if "multiscales" in ome else None
        except ProjectomeError:
            continue
        levels = [] if image is None else [level.path for level in image.levels]
        if path in levels:
            number = levels.index(path)
            return f" It is level {number} of the image {url}: open that, with --level {number}."
    return ""


def _plain_levels(place: Place, version: int) -> list[ArrayDocument]:
    """Return the metadata of arrays named s0, s1 and so on, which may be levels."""
    own = "zarr.json" if version == 3 else ".zarray"
    inside: dict[str, Place] = {}

    def level(name: str) -> Place:
        return inside.setdefault(name, Place(stores.join(place.url, name), place.access))

    def fetch(name: str) -> ArrayDocument | None:
        try:
            found = read_group(level(name), version)
        except NotFoundError:
            return None
        return found if isinstance(found, ArrayDocument) else None

    names = level_names(place, lambda name: isinstance(level(name).documents(own)[own], bytes))
    if version == 2 and len(names) > 2 and (known := levels_by_ends([level(n) for n in names])):
        return known
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fetch, names))
    return [array for array in takewhile(bool, found) if array is not None]


def _no_image(place: Place, ome: Mapping[str, Any]) -> str:
    if "plate" in ome or "well" in ome:
        what = "a plate of images; open one field of it, for instance A/1/0 below a plate"
    elif "labels" in ome:
        what = f"a list of labels; open one: {', '.join(map(str, ome['labels']))}"
    else:
        what = "a Zarr group without an image"
    inside = "" if place.names is None else f" It holds: {', '.join(place.names[:12])}."
    return (
        f"{place.url} is {what}.{inside} List it with: projectome ls {place.url}, and open what is "
        "in it; a single array opens with --voxel-size Z,Y,X."
    )


def open_multiscale(group: Group, options: OpenOptions) -> Pyramid:
    """Return the image that a group describes.

    Parameters
    ----------
    group
        Its metadata.
    options
        What the user says.

    Raises
    ------
    MetadataError
        If the levels disagree with the metadata or one another.
    FormatError
        If a level cannot be read.
    """
    image = parse_multiscale(
        group.attributes,
        url=group.url,
        axes=options.axes,
        scale_needed=options.voxel_size is None,
    )
    documents = _read_levels(group, image, options.access)
    problems = list(image.problems)
    matrices = _placed(image, options, problems)
    _check_ranks(image, documents, group.url)
    channel_axis = next(iter(image.axes_of("channel")), None)
    arrays = [
        open_array(
            document,
            space=image.space_axes,
            channel=channel_axis,
            picked={
                axis: pick_time(document.shape[axis], image.axes[axis].name, options, url=group.url)
                for axis in image.axes_of("time", "other")
            },
            access=options.access,
            strict=options.strict,
            context=group.raw,
        )
        for document in documents[: len(matrices)]
    ]
    _check_levels(image, arrays, matrices, group.url)
    _compare_names(image, documents, problems)
    channels: tuple[str, ...] = ()
    if channel_axis is not None:
        count = arrays[0].shape[0]
        channels = chosen_channels(count, image.channel_names)
        if image.channel_names and len(image.channel_names) != count:
            text = f"{len(image.channel_names)} are described; the array has {count}."
            problems.append(Problem("warning", "omero.channels", text))
    own = group.attributes.get("projectome")
    own = own if isinstance(own, dict) else {}
    space = options.described(own_space(own, Space(toward=image.toward)))
    name = image.name.strip("/") or name_of(group.url)
    kind = _kind(group.url, image, own.get("kind"), arrays[0])
    levels = tuple(
        Volume(array, Affine(matrix, VOXELS, space), channels, kind, name)
        for array, matrix in zip(arrays, matrices, strict=True)
    )
    metadata = {
        "format": "OME-Zarr",
        "version": image.version,
        "url": group.url,
        "zarr_format": group.version,
        "display": dict(image.display),
        **({"projectome": own} if own else {}),
    }
    return Pyramid(levels, tuple(problems), metadata)


def _read_levels(group: Group, image: Multiscale, access: Access) -> list[ArrayDocument]:
    """Read the metadata of all level arrays at once; refuse those that are still being written."""

    def mark() -> bytes | AccessDeniedError | None:
        return Place(group.url, access).documents(UNFINISHED)[UNFINISHED]

    def fetch(path: str) -> ArrayDocument:
        url = stores.join(group.url, path)
        for version in (group.version, 5 - group.version):
            try:
                return read_document(url, access=access, version=version)
            except NotFoundError:
                continue
        raise NotFoundError(
            f"The metadata of {group.url} names the level {path!r}, and there is no array at {url}."
            f" The copy is incomplete: fetch it again. List it with: projectome ls {group.url}"
        )

    with ThreadPoolExecutor(8) as pool:
        marked = pool.submit(mark)
        found = pool.map(fetch, [level.path for level in image.levels])
        if isinstance(marked.result(), bytes):
            raise unfinished(group.url)
        return list(found)


def _placed(
    image: Multiscale, options: OpenOptions, problems: list[Problem]
) -> list[NDArray[np.float64]]:
    """Return the matrix of each level, the voxel size of the user taken first."""
    stated = [level.matrix for level in image.levels]
    known = [matrix for matrix in stated if matrix is not None]
    if options.voxel_size is None:
        return known
    if len(known) < len(stated):
        if len(stated) > 1:
            text = "The levels state no scale: only the first, whose voxel size was given, is read."
            problems.append(Problem("warning", "datasets", text))
        return [np.diag([*options.voxel_size, 1.0])]
    linear = known[0][:3, :3]
    if not np.array_equal(linear, np.diag(np.diag(linear))):
        raise ParameterError(
            "--voxel-size cannot replace the scale of an image that is turned against its space. "
            "Correct its metadata."
        )
    factor = np.diag([*(np.asarray(options.voxel_size) / np.diag(linear)), 1.0])
    return [factor @ matrix for matrix in known]


def _check_ranks(image: Multiscale, documents: list[ArrayDocument], url: str) -> None:
    found = [
        Problem(
            "error",
            f"{level.path}: shape",
            f"{document.shape} has not the {len(image.axes)} axes of the metadata.",
        )
        for level, document in zip(image.levels, documents, strict=True)
        if len(document.shape) != len(image.axes)
    ]
    _raise_for(found, url)


def _check_levels(
    image: Multiscale,
    arrays: list[LazyArray],
    matrices: list[NDArray[np.float64]],
    url: str,
) -> None:
    """Compare all levels with the first: type, channels, and the field that they cover."""
    first, found = arrays[0], []
    extent = _extent(first, matrices[0])
    for level, array, matrix in zip(image.levels[1:], arrays[1:], matrices[1:], strict=False):
        where = level.path
        if array.dtype != first.dtype:
            text = f"Its elements are {array.dtype}, those of level 0 {first.dtype}."
            found.append(Problem("error", f"{where}: dtype", text))
        if array.shape[:-3] != first.shape[:-3]:
            text = f"It has the channels {array.shape[:-3]}, level 0 {first.shape[:-3]}."
            found.append(Problem("error", f"{where}: channels", text))
        other = _extent(array, matrix)
        voxel = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
        # Odd edges may be cut or padded by a voxel of the coarse level.
        if (np.abs(other - extent) > 2 * np.abs(matrix[:3, :3]) @ np.ones(3) + 0.1 * extent).any():
            text = (
                f"{array.shape[-3:]} voxels of {voxel.round(6).tolist()} um do not cover the field "
                f"of level 0: {other.round(3).tolist()} against {extent.round(3).tolist()} um."
            )
            found.append(Problem("error", f"{where}: shape", text))
    _raise_for(found, url)


def _compare_names(
    image: Multiscale, documents: list[ArrayDocument], problems: list[Problem]
) -> None:
    stated = tuple(axis.name for axis in image.axes)
    for level, document in zip(image.levels[1:], documents[1:], strict=True):
        names = document.dimension_names
        if names and tuple(n.lower() for n in names) != stated:
            text = f"The array names its axes {names}, the group {stated}; the group counts."
            problems.append(Problem("warning", f"{level.path}: dimension_names", text))


def _extent(array: LazyArray, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(matrix[:3, :3]) @ np.asarray(array.shape[-3:], dtype=np.float64))


def _raise_for(found: list[Problem], url: str) -> None:
    if found:
        raise MetadataError(
            f"The levels of {url} disagree with its metadata. Write them again, or open one as a "
            f"plain array: zarr://{url}/LEVEL with --voxel-size Z,Y,X and --axes.",
            found,
        )


def _kind(url: str, image: Multiscale, stated: object, array: LazyArray) -> Kind:
    parts = [part for part in url.split("/") if part]
    in_labels = len(parts) > 1 and parts[-2] == "labels"
    if array.dtype.kind in "iub" and (image.labels or in_labels or stated == "labels"):
        return "labels"
    return "affinities" if stated == "affinities" else "image"
