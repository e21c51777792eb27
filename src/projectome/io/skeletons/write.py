"""Skeletons written in any of the formats that can be written, and turned from one into another."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.errors import OutputExistsError, ParameterError
from projectome.io.access import Access
from projectome.io.skeletons.model import NamedSkeleton, Skeletons
from projectome.io.skeletons.nml import format_nml
from projectome.io.skeletons.precomputed_write import write_precomputed
from projectome.io.skeletons.read import PREFIX, read_skeletons
from projectome.io.skeletons.swc import format_swc
from projectome.io.stores import exists, join, list_folder, local_path, write_bytes

Format: TypeAlias = Literal["swc", "zip", "nml", "precomputed"]
FORMATS: dict[str, Format] = {".swc": "swc", ".zip": "zip", ".nml": "nml"}
Source: TypeAlias = Skeleton | NamedSkeleton | Iterable[Skeleton | NamedSkeleton]


def write_skeletons(
    skeletons: Source,
    url: str | Path,
    *,
    kind: Format | None = None,
    sharded: bool = False,
    overwrite: bool = False,
    access: Access | None = None,
) -> None:
    """Write skeletons; the format follows from the name.

    Parameters
    ----------
    skeletons
        One or many, with names (`NamedSkeleton`, `Skeletons`) or without: those are numbered
        from 1.
    url
        ``X.swc`` for one skeleton; ``X.nml``; ``X.zip``, an archive of SWC; any other name is a
        folder: of SWC files, or of precomputed skeletons if it begins with ``precomputed://`` or
        `kind` says so.
    kind
        ``"swc"``, ``"zip"``, ``"nml"`` or ``"precomputed"``; by the name if None.
    sharded
        Pack precomputed skeletons into few files.
    overwrite
        Replace what is there; a folder with anything in it is refused otherwise.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If there are several skeletons for one SWC file, names cannot name files, or coordinates
        are voxels and the format has micrometres only.
    OutputExistsError
        If there is something and `overwrite` is not set.

    Notes
    -----
    SWC keeps the space, radii and kinds; NML radii, comments, branch points and groups; precomputed
    everything but texts, in 32-bit floats.
    """
    items = named(skeletons)
    text = str(url)
    chosen = kind or ("precomputed" if text.startswith(PREFIX) else _by_name(text))
    place = text.removeprefix(PREFIX)
    is_file = PurePosixPath(place).suffix.lower() in FORMATS and chosen != "precomputed"
    if not overwrite and _taken(place, is_file, access):
        raise OutputExistsError(
            f"There is something at {place}. Pass overwrite=True to replace it."
        )
    if chosen == "precomputed":
        write_precomputed(items, place, sharded=sharded, access=access)
    elif chosen == "nml":
        write_bytes(place, format_nml(items).encode(), access=access)
    elif chosen == "zip":
        write_bytes(place, _zipped(items), access=access)
    elif is_file:
        if len(items) != 1:
            raise ParameterError(
                f"{place} would hold {len(items)} skeletons and an SWC file holds one. Name a "
                "folder, a .zip or an .nml file instead."
            )
        write_bytes(place, _swc(items[0]).encode(), access=access)
    else:
        check_names([item.name for item in items])
        for item in items:
            write_bytes(join(place, f"{item.name}.swc"), _swc(item).encode(), access=access)


def convert_skeletons(
    source: str | Path, target: str | Path, *, overwrite: bool = False, **options: Any
) -> Skeletons:
    """Read skeletons of any format and write them in another.

    Parameters
    ----------
    source
        As in `read_skeletons`.
    target
        As in `write_skeletons`.
    overwrite
        Replace what is there.
    **options
        ``kind`` and ``sharded`` of `write_skeletons`; the rest goes to `read_skeletons`.

    Returns
    -------
    Skeletons
        What was read and written, with its problems.
    """
    writing = {key: options.pop(key) for key in ("kind", "sharded") if key in options}
    found = read_skeletons(source, **options)
    write_skeletons(found, target, overwrite=overwrite, access=options.get("access"), **writing)
    return found


def named(skeletons: Source) -> list[NamedSkeleton]:
    """Return skeletons with names; those without are numbered from 1."""
    if isinstance(skeletons, (Skeleton, NamedSkeleton)):
        skeletons = [skeletons]
    return [
        item
        if isinstance(item, NamedSkeleton)
        else NamedSkeleton(item, str(number), np.arange(1, len(item) + 1))
        for number, item in enumerate(skeletons, 1)
    ]


def _by_name(url: str) -> Format:
    return FORMATS.get(PurePosixPath(url).suffix.lower(), "swc")


def _taken(url: str, is_file: bool, access: Access | None) -> bool:
    if is_file:
        return exists(url, access=access)
    path = local_path(url)
    if path is not None:
        return path.is_file() or (path.is_dir() and any(path.iterdir()))
    try:
        return bool(list_folder(url, access=access))
    except FileNotFoundError:
        return False


def _swc(item: NamedSkeleton) -> str:
    return format_swc(item.skeleton, forest=True)


def _zipped(items: Sequence[NamedSkeleton]) -> bytes:
    """Return an archive of SWC files; the same skeletons give the same bytes."""
    check_names([item.name for item in items])
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in items:
            # A fixed date: the earliest that the format knows.
            entry = zipfile.ZipInfo(f"{item.name}.swc", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _swc(item))
    return target.getvalue()


def check_names(names: Sequence[str]) -> None:
    """Refuse names that cannot name files of one folder.

    Raises
    ------
    ParameterError
        If two are the same, or one is empty, hidden or no plain file name.
    """
    bad = [n for n in names if not n or n.startswith(".") or set(n) & set("/\\:\0\n\r")]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if bad or twice:
        raise ParameterError(
            f"Skeletons in a folder are files by their names; {(bad or twice)[0]!r} "
            f"{'is no file name' if bad else 'names two of them'}. Rename them."
        )
