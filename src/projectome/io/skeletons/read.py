"""Skeletons of every format of the field behind one call: what a file is, its content says."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from numpy.typing import ArrayLike

from projectome.core.space import Space
from projectome.errors import FormatError, NotFoundError, Problem, StoreError
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.markup import root_name
from projectome.io.metadata.known import known_expansion
from projectome.io.packed import GZIP, ZIP, gunzip, zip_members
from projectome.io.skeletons.model import Given, NamedSkeleton, Skeletons
from projectome.io.skeletons.mouselight import parse_mouselight
from projectome.io.skeletons.nml import parse_nml
from projectome.io.skeletons.precomputed import TYPE, read_precomputed
from projectome.io.skeletons.swc import MAX_BYTES, parse_swc
from projectome.io.skeletons.swc_text import decode
from projectome.io.skeletons.traces import parse_traces
from projectome.io.stores import (
    Entry,
    exists,
    join,
    list_folder,
    local_path,
    open_file,
    read_bytes,
    read_many,
)

PREFIX = "precomputed://"
FILES = (".swc", ".eswc", ".nml", ".json", ".traces")
"""Endings of files that hold skeletons; in folders and archives no others are looked at."""
CLUTTER = ("__MACOSX", ".ipynb_checkpoints")
TABLES = "Points and tables are read with projectome.read_points."
XML_ROOTS: dict[str, Callable[..., Skeletons]] = {"things": parse_nml, "tracings": parse_traces}
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class _Request:
    given: Given
    only: frozenset[str] | None
    access: Access | None
    max_bytes: int

    def wants(self, name: str) -> bool:
        return self.only is None or name in self.only


def read_skeletons(
    url: str | Path,
    *,
    space: Space | None = None,
    scale: float | ArrayLike | None = None,
    radius_scale: float | None = None,
    expansion: float | None = None,
    only: Iterable[str | int] | None = None,
    access: Access | None = None,
    max_bytes: int = MAX_BYTES,
) -> Skeletons:
    """Read skeletons of any format, from any store.

    Parameters
    ----------
    url
        An SWC, NML, MouseLight JSON or SNT ``.traces`` file; a folder or ZIP archive of such files;
        or a folder of skeletons (or a segmentation that names one) in neuroglancer's precomputed
        format, with or without ``precomputed://`` in front. What it is, its content says.
    space
        What the coordinates mean, after scaling; by default what the file says, else an unnamed
        scan in micrometres.
    scale
        Micrometres in one unit of the file, for all axes or in the order (z, y, x), in place of
        what the file says.
    radius_scale
        The same for radii.
    expansion
        Micrometres of the file that one micrometre of tissue is, in place of what the file says;
        where it says nothing, that of the catalog for a dataset that is known.
    only
        Names of the skeletons wanted; all by default. Of precomputed skeletons only these are
        fetched.
    access
        How to ask the store; by the settings if None.
    max_bytes
        Files, and archives and folders taken together, that are larger unpacked are refused.

    Returns
    -------
    Skeletons
        A sequence of skeletons with their names, node ids and what else the file says, in
        micrometres, order (z, y, x); and what was doubtful.

    Raises
    ------
    FormatError
        If it is of none of the formats, or broken inside.
    NotFoundError
        If there is nothing, or nothing with one of the names.
    StoreError
        If the store does not answer, or cannot list a folder: plain HTTP never can.

    Examples
    --------
    >>> neurons = read_skeletons("neurons.zip")  # doctest: +SKIP
    >>> neurons["N024-841260"].skeleton.cable_length  # doctest: +SKIP
    """
    names = None if only is None else frozenset(map(str, only))
    given = Given(space, scale, radius_scale, expansion)
    given.factors()  # a scale that is none is refused before anything is fetched
    request = _Request(given, names, access, max_bytes)
    text = str(url)
    if text.startswith(PREFIX):
        text = text.removeprefix(PREFIX)
        found = _precomputed(text, request)
        names = None
    else:
        found = _read(text, request)
    if names is not None and (missing := sorted(names - set(found.names))):
        raise NotFoundError(
            f"{text} has no skeleton {', '.join(map(repr, missing[:5]))}. It has "
            f"{', '.join(map(repr, found.names[:5])) or 'none of those asked for'}."
        )
    said = space is not None or expansion is not None
    return found if said else _of_dataset(found, text)


def _of_dataset(found: Skeletons, url: str) -> Skeletons:
    """Return skeletons with the expansion of the dataset that they lie in, if none states one."""
    known = known_expansion(url)
    if known is None or any(item.skeleton.space.expansion != 1 for item in found):
        return found
    items = []
    for item in found:
        space = replace(item.skeleton.space, expansion=known[0])
        items.append(replace(item, skeleton=replace(item.skeleton, space=space)))
    problem = Problem("warning", f"{url}: expansion", known[1])
    return replace(found, items=tuple(items), problems=(*found.problems, problem))


def _read(url: str, request: _Request) -> Skeletons:
    path, access = local_path(url), request.access
    if path is not None and path.is_dir():
        return _folder(url, request)
    if PurePosixPath(url).name == "info":
        return _precomputed(url.rpartition("/")[0], request)
    if path is None and _ending(url) not in (*FILES, ".zip") and not exists(url, access=access):
        return _folder(url, request)  # no object has that name: it is the start of others
    if _ending(url) == ".zip":
        # Of a remote archive only the files wanted are fetched.
        with open_file(url, access=access) as file:
            return _archive(file, url, request)
    data = read_bytes(url, access=access, limit=request.max_bytes)
    if data.startswith(ZIP):
        return _archive(io.BytesIO(data), url, request)
    found = parse_skeletons(data, url=url, given=request.given, limit=request.max_bytes)
    return _chosen(found, request)


def _chosen(found: Skeletons, request: _Request) -> Skeletons:
    if request.only is None:
        return found
    items = tuple(item for item in found if item.name in request.only)
    return Skeletons(items, found.format, found.problems)


def parse_skeletons(
    data: bytes, *, url: str, given: Given | None = None, limit: int = MAX_BYTES
) -> Skeletons:
    """Read the content of one file; `url` names it in messages and gives SWC files their name.

    Raises
    ------
    FormatError
        If it is of none of the formats, or broken inside.
    """
    given = given or Given()
    if data.startswith(GZIP):
        data = gunzip(data, url=url, limit=limit)
    begin = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin.startswith(b"<") or (data[:2] in MARKS and b"<" in data[:8]):
        return _xml(data, url, given)
    if begin.startswith((b"{", b"[")):
        return _json(data, url, given)
    swc = parse_swc(
        decode(data, url),
        where=url,
        space=given.space,
        scale=given.scale,
        radius_scale=given.radius_scale,
        expansion=given.expansion,
    )
    facts = {"header": swc.header} if swc.header else {}
    name = swc.name.removesuffix(".swc")  # of "cell.swc.gz"
    item = NamedSkeleton(swc.skeleton, name, swc.ids, {}, facts, swc.problems)
    return Skeletons((item,), "swc")


def _xml(data: bytes, url: str, given: Given) -> Skeletons:
    root = root_name(data)
    parse = XML_ROOTS.get(root or "")
    if parse is None:
        told = f"XML of {root!r}" if root else "not sound XML"
        raise FormatError(
            f"{url} is {told}; skeletons in XML are NML ('things') or SNT tracings ('tracings'). "
            f"{TABLES}"
        )
    return parse(data, url=url, given=given)


def _json(data: bytes, url: str, given: Given) -> Skeletons:
    document: dict[str, Any] = parse_json(data, url=url)
    if "@type" in document:
        raise FormatError(
            f"{url} is the metadata of {document['@type']!r}. Give the folder it lies in."
        )
    if "layers" in document:
        raise FormatError(f"{url} is a neuroglancer state. {TABLES}")
    return parse_mouselight(data, url=url, given=given)


def _precomputed(url: str, request: _Request) -> Skeletons:
    document = _info(url, request.access)
    below = document.get("skeletons")
    if document.get("@type") != TYPE and isinstance(below, str) and below:
        url = join(url, below)
    only = None if request.only is None else sorted(request.only)
    return read_precomputed(
        url, given=request.given, only=only, access=request.access, max_bytes=request.max_bytes
    )


def _info(url: str, access: Access | None) -> dict[str, Any]:
    place = join(url, "info")
    return parse_json(read_bytes(place, access=access), url=place)


def _folder(url: str, request: _Request) -> Skeletons:
    try:
        _info(url, request.access)
    except StoreError:
        pass
    else:
        return _precomputed(url, request)
    entries = _files_in(url, request)
    if sum(entry.size or 0 for entry in entries) > request.max_bytes:
        raise FormatError(
            f"The files in {url} have more than {request.max_bytes} bytes. Pass only= to read some "
            "of them, or a larger max_bytes=."
        )
    urls = [join(url, entry.name) for entry in entries]
    contents = read_many(urls, access=request.access, limit=request.max_bytes)
    parts = [
        parse_skeletons(data, url=place, given=request.given, limit=request.max_bytes)
        for place, data in zip(urls, contents, strict=True)
        if data is not None
    ]
    return _together(parts, url, request)


def _files_in(url: str, request: _Request) -> list[Entry]:
    entries = [e for e in list_folder(url, access=request.access) if _holds_skeletons(e.name)]
    entries = [e for e in _in_order(entries) if request.wants(_stem(e.name)) or not _is_swc(e.name)]
    if not entries:
        raise NotFoundError(
            f"{url} holds no file of skeletons ({', '.join(FILES)}) and no precomputed skeletons. "
            "Check the address."
        )
    return entries


def skeleton_files(url: str, *, access: Access | None = None) -> list[str]:
    """Return the addresses to give to `read_skeletons` so that little is in memory at a time.

    Parameters
    ----------
    url
        A folder.
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    list of str
        The files in the folder, by name, those named by numbers by their value; the folder itself
        if it holds precomputed skeletons.

    Raises
    ------
    NotFoundError
        If it holds no skeletons.
    """
    if exists(join(url, "info"), access=access):
        return [url]
    return [join(url, e.name) for e in _files_in(url, _Request(Given(), None, access, 0))]


def _archive(file: IO[bytes], url: str, request: _Request) -> Skeletons:
    def wanted(name: str) -> bool:
        return _holds_skeletons(name) and (request.wants(_stem(name)) or not _is_swc(name))

    members = zip_members(file, url=url, wanted=wanted, limit=request.max_bytes)
    parts = [
        parse_skeletons(data, url=f"{url}/{name}", given=request.given, limit=request.max_bytes)
        for name, data in members
    ]
    if not parts and request.only is None:
        raise NotFoundError(f"{url} holds no file of skeletons ({', '.join(FILES)}).")
    return _together(parts, url, request)


def _together(parts: Sequence[Skeletons], url: str, request: _Request) -> Skeletons:
    formats = list(dict.fromkeys(part.format for part in parts))
    problems = [problem for part in parts for problem in part.problems]
    items = tuple(item for part in parts for item in _chosen(part, request))
    if len({item.name for item in items}) < len(items):
        message = "several skeletons have the same name; find them by their place."
        problems.append(Problem("warning", url, message))
    return Skeletons(items, "+".join(formats), tuple(problems))


def _holds_skeletons(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = path.name.startswith(".") or any(part in CLUTTER for part in path.parts)
    return not hidden and _ending(path.name) in FILES


def _ending(name: str) -> str:
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def _is_swc(name: str) -> bool:
    return _ending(name) in (".swc", ".eswc")


def _stem(name: str) -> str:
    name = PurePosixPath(name).name
    return PurePosixPath(name[:-3] if name.lower().endswith(".gz") else name).stem


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return files by name, those named by numbers by their value."""

    def key(entry: Entry) -> tuple[int, str]:
        stem = _stem(entry.name)
        return (int(stem) if stem.isdecimal() and len(stem) < 40 else -1, entry.name)

    return sorted((e for e in entries if not e.is_folder), key=key)
