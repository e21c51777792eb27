"""Downloads: a file, a tree, or one level of a volume, as it lies in the store."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    ParameterError,
    StoreError,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.kinds import look_into, shown
from projectome.io.objects import Fetcher, Item, file_at, files_below

AT_ONCE = 32
"""Objects that are fetched at a time."""
WAITING = 256
"""Objects that are listed ahead of what is fetched."""

Progress: TypeAlias = Callable[["Downloaded"], None]


@dataclass(frozen=True, slots=True)
class Downloaded:
    """How far a download is.

    Attributes
    ----------
    files, size
        What was fetched, number and bytes.
    kept
        Files that were there already.
    left_out
        Names that cannot be a path below the destination.
    """

    files: int = 0
    size: int = 0
    kept: int = 0
    left_out: tuple[str, ...] = ()


def download(
    url: str,
    destination: str | Path,
    *,
    level: int | None = None,
    include: Sequence[str] = (),
    access: Access | None = None,
    on_progress: Progress | None = None,
) -> Downloaded:
    """Copy a file or a tree from a store to the local disk, unchanged.

    A file appears only when it is whole; what is there with the same size and time is kept, so that
    the same call goes on where another stopped. The content is checked against the store's MD5
    where it has one.

    Parameters
    ----------
    url
        Address of a file or of a folder.
    destination
        A folder for a folder, whose content it gets. A file goes to this path, or into it if it is
        a folder.
    level
        Of a volume in levels, fetch this one; its metadata are written with this level alone.
    include
        Patterns of relative paths; what matches one of them is fetched, everything if empty. ``*``
        matches slashes too.
    access
        How to ask; by the settings if None.
    on_progress
        Told after each file, from several threads, one at a time.

    Returns
    -------
    Downloaded
        What was done.

    Raises
    ------
    NotFoundError
        If there is nothing, or nothing that matches.
    ParameterError
        If there is no such level.
    StoreError
        If the store does not answer as hoped, or the disk cannot be written.
    """
    how = access or Access.of()
    target = stores.local_path(str(destination))
    if target is None:
        raise ParameterError(
            f"{destination} is not a local path. Downloads go to the disk; a volume is copied from "
            "store to store with: projectome convert SRC DST"
        )
    source = str(stores.parse(url))
    job = _Job(Fetcher(how), on_progress or (lambda done: None))
    if level is not None:
        path, documents = _level(source, level, how)
        for name, data in documents.items():
            stores.write_bytes(str(target / name), data)
        return job.tree(f"{source}/{path}", target / path, include)
    item = file_at(source, access=how)
    if item is None:
        return job.tree(source, target, include)
    job.file(source, item, target / item.path if target.is_dir() else target)
    return job.done


class _Job:
    """One download, counted."""

    def __init__(self, fetcher: Fetcher, tell: Progress) -> None:
        self.fetcher, self.tell = fetcher, tell
        self.done = Downloaded()
        self._lock = threading.Lock()

    def tree(self, url: str, target: Path, include: Sequence[str]) -> Downloaded:
        """Fetch what is wanted below an address, and list no further ahead than that needs."""
        under_way: set[Future[None]] = set()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for item in files_below(url, access=self.fetcher.access):
                    if include and not any(fnmatchcase(item.path, p) for p in include):
                        continue
                    under_way.add(pool.submit(self._one, url, item, target))
                    if len(under_way) >= WAITING:
                        finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        for future in finished:
                            future.result()
                for future in under_way:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if self.done == Downloaded():
            what = f" matches {', '.join(include)}" if include else ""
            raise NotFoundError(
                f"Nothing below {url}{what}. See what is there with: projectome ls {url}"
            )
        return self.done

    def _one(self, url: str, item: Item, target: Path) -> None:
        try:
            place = Path(stores.join(str(target), item.path))
        except StoreError:
            self._count(left_out=(shown(item.path),))
        else:
            self.file(f"{url}/{item.path}", item, place)

    def file(self, url: str, item: Item, place: Path) -> None:
        """Fetch one file, unless it is there."""
        if self.fetcher.is_there(item, place):
            self._count(kept=1)
        else:
            self.fetcher.fetch(url, item, place)
            self._count(files=1, size=item.size)

    def _count(
        self, *, files: int = 0, size: int = 0, kept: int = 0, left_out: tuple[str, ...] = ()
    ) -> None:
        with self._lock:
            was = self.done
            self.done = Downloaded(
                was.files + files, was.size + size, was.kept + kept, was.left_out + left_out
            )
            self.tell(self.done)


def _level(url: str, level: int, access: Access) -> tuple[str, dict[str, bytes]]:
    """Return the path of a level, and the metadata of its volume without the other levels."""
    for name in ("zarr.json", ".zattrs"):
        try:
            data = stores.read_bytes(f"{url}/{name}", access=access)
        except (NotFoundError, AccessDeniedError):
            continue
        document = parse_json(data, url=f"{url}/{name}")
        image = _image(document)
        if image is not None:
            return _only(image, document, name, level, url)
    names = [i.name for i in look_into(url, access=access, peek=0).items if i.is_folder]
    found = sorted(
        (n for n in names if re.fullmatch(r"s?\d{1,3}", n)), key=lambda n: int(n.strip("s"))
    )
    if level not in range(len(found)):
        raise _no_level(url, level, len(found))
    return found[level], {}


def _image(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first image of OME-Zarr attributes, as part of the document."""
    attributes = document.get("attributes", document)
    ome = attributes.get("ome", attributes) if isinstance(attributes, dict) else None
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    image = images[0] if isinstance(images, list) and images else None
    return image if isinstance(image, dict) and isinstance(image.get("datasets"), list) else None


def _only(
    image: dict[str, Any], document: dict[str, Any], name: str, level: int, url: str
) -> tuple[str, dict[str, bytes]]:
    """Leave one level in the metadata of an image."""
    levels = image["datasets"]
    if level not in range(len(levels)):
        raise _no_level(url, level, len(levels))
    path = levels[level].get("path") if isinstance(levels[level], dict) else None
    if not isinstance(path, str) or not path.strip("/."):
        raise FormatError(
            f"{url}/{name} does not say where level {level} is. Fetch the whole volume, without "
            "--level."
        )
    stores.join(url, path)  # refuses what leads out of the volume
    image["datasets"] = [levels[level]]
    group = {".zgroup": b'{"zarr_format": 2}'} if name == ".zattrs" else {}
    document.pop("consolidated_metadata", None)
    return path, {name: json.dumps(document, indent=2).encode(), **group}


def _no_level(url: str, level: int, count: int) -> ParameterError:
    levels = f"levels 0 to {count - 1}" if count else "no levels"
    return ParameterError(f"There is no level {level} in {url}: it has {levels}.")
