"""All files below an address, one after the other, and fetching one of them to the local disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
import obstore.exceptions

from projectome.errors import AccessDeniedError, NotFoundError, StoreError, TransferError
from projectome.io.access import Access
from projectome.io.address import Address, parse
from projectome.io.clients import archive_members, bucket, in_time, kvstore, wait
from projectome.io.failures import mapped
from projectome.io.listing import names_below
from projectome.io.reading import in_tensorstore, open_file

PIECE = 8 * 2**20
"""Bytes read at a time from a local file."""
MD5 = re.compile(r'"?([0-9a-f]{32})"?')


@dataclass(frozen=True, slots=True)
class Item:
    """One file or object.

    Attributes
    ----------
    path
        Relative to the folder that was asked for; the file's own name if a file was.
    size
        Bytes.
    tag
        What tells this content from another (ETag); empty where the store has none.
    changed
        When it was last written [s since 1970].
    """

    path: str
    size: int
    tag: str = ""
    changed: float = 0.0


def file_at(url: str, *, access: Access | None = None) -> Item | None:
    """Return the file at an address, None if there is none; there may be a folder.

    Parameters
    ----------
    url
        Its address.
    access
        How to ask; by the settings if None.

    Raises
    ------
    NotFoundError
        If nothing is there on the local disk.
    StoreError
        If the store does not answer as hoped.
    """
    address, how = parse(url), access or Access.of()
    name = (address.member or address.path).rsplit("/", 1)[-1]
    if address.scheme == "file" and not address.member:
        path = Path(address.path)
        with mapped(url, "look up"):
            state = path.stat()
        return Item(name, state.st_size, "", state.st_mtime) if path.is_file() else None
    if not name:
        return None
    if in_tensorstore(address):
        found = wait(kvstore(url, access=how).read(""), url=url)
        return None if found.state == "missing" else Item(name, len(found.value))
    try:
        with mapped(url, "look up"):
            return _item(obstore.head(bucket(address, how), address.path), name)
    except NotFoundError:
        return None
    except AccessDeniedError:  # S3 denies what it may not say is missing
        if address.scheme in ("http", "https"):
            raise
        return None


def files_below(url: str, *, access: Access | None = None) -> Iterator[Item]:
    """Yield every file below an address, a thousand a request; nothing if there is none.

    Parameters
    ----------
    url
        A folder, a prefix of an object store, or a place in a zip archive.
    access
        How to ask; by the settings if None.

    Raises
    ------
    StoreError
        If the store cannot be listed: plain HTTP never can.
    """
    address, how = parse(url), access or Access.of()
    if address.member is not None:
        below = address.member + "/" if address.member else ""
        for name, size in sorted(archive_members(address, how).items()):
            if name.startswith(below):
                yield Item(name.removeprefix(below), size)
    elif address.scheme == "memory":
        store = kvstore(url, access=how, folder=True)
        for key in wait(store.list(), url=url, doing="list"):
            yield Item(key.decode(), len(wait(store.read(key), url=url).value))
    elif address.scheme == "file":
        yield from _local(address.path)
    elif address.scheme in ("http", "https"):
        raise StoreError(
            f"{url} is no file, and plain HTTP cannot list what may be below it. Give the address "
            "of a file, or the s3:// or gs:// address of the same data. A volume is copied with: "
            "projectome convert URL DST"
        )
    else:
        yield from _unmarked(_objects(address, how, url))


def _item(meta: Any, path: str) -> Item:
    return Item(path, int(meta["size"]), meta["e_tag"] or "", meta["last_modified"].timestamp())


def _objects(address: Address, how: Access, url: str) -> Iterator[Item]:
    below = f"{address.path}/" if address.path else ""
    for page in names_below(bucket(address, how), address.path or None, url=url):
        for meta in page:
            yield _item(meta, meta["path"].removeprefix(below))


def _unmarked(items: Iterator[Item]) -> Iterator[Item]:
    """Leave out the empty objects with which some programs mark folders."""
    before: Item | None = None
    for item in items:
        if before is not None and not item.path.startswith(f"{before.path}/"):
            yield before
        before = item if item.size == 0 else None
        if before is None:
            yield item
    if before is not None:
        yield before


def _local(folder: str) -> Iterator[Item]:
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if path.is_file() and not path.is_symlink():
                state = path.stat()
                relative = path.relative_to(folder).as_posix()
                yield Item(relative, state.st_size, "", state.st_mtime)


@dataclass
class Fetcher:
    """Fetches objects of one store into local files.

    A file appears when it is complete. What was fetched of an object lies beside it until then and
    is gone on with, as long as the object has not changed. Where the store's tag is the MD5 of the
    content, the file is checked against it; a store whose tags turn out to be something else is
    believed after two transfers agree.

    Attributes
    ----------
    access
        How to ask.
    tags_are_md5
        Whether tags of 32 hexadecimal digits are checked.
    """

    access: Access
    tags_are_md5: bool = field(default=True)

    def is_there(self, item: Item, target: Path) -> bool:
        """Say whether a file was fetched before: same size, same time of last change."""
        try:
            state = target.stat()
        except OSError:
            return False
        return state.st_size == item.size and abs(state.st_mtime - item.changed) < 1e-3

    def fetch(self, url: str, item: Item, target: Path) -> None:
        """Fetch one object.

        Parameters
        ----------
        url
            Its address.
        item
            What the store says of it.
        target
            The file to write; folders above it are made.

        Raises
        ------
        TransferError
            If what arrived is not what the store has.
        StoreError
            If the store does not answer as hoped, or the file cannot be written.
        """
        mark = hashlib.sha256(os.fsencode(f"{url}\n{item.tag}\n{item.size}")).hexdigest()[:12]
        start = os.fsdecode(os.fsencode(target.name)[:180])  # a name has at most 255 bytes
        partial = target.with_name(f".{start}.{mark}.partial")
        with mapped(str(target), "write"):
            target.parent.mkdir(parents=True, exist_ok=True)
        digest = self._transfer(url, item, partial)
        stated = MD5.fullmatch(item.tag)
        if stated is not None and self.tags_are_md5 and digest != stated[1]:
            partial.unlink(missing_ok=True)
            if self._transfer(url, item, partial) != digest:
                partial.unlink(missing_ok=True)
                raise TransferError(
                    f"{url} arrived damaged twice: its checksum is not {stated[1]}. Try again; if "
                    "it stays so, the object is damaged in the store."
                )
            self.tags_are_md5 = False
        with mapped(str(target), "write"):
            if item.changed:
                os.utime(partial, (item.changed, item.changed))
            os.replace(partial, target)

    def _transfer(self, url: str, item: Item, partial: Path) -> str:
        """Bring the partial file to its full length and return its MD5."""
        digest = hashlib.md5(usedforsecurity=False)
        have = self._take_up(item, partial, digest)
        with mapped(str(partial), "write"), open(partial, "ab") as file:
            if have < item.size or not item.size:
                for piece in self._pieces(url, item, have):
                    file.write(piece)
                    digest.update(piece)
                    have += len(piece)
                    if have > item.size:
                        break
        if have != item.size:
            if have > item.size:
                partial.unlink(missing_ok=True)
            raise TransferError(
                f"{url} broke off: {have} of {item.size} bytes arrived. Run the same command "
                "again; it goes on from there."
            )
        return digest.hexdigest()

    def _take_up(self, item: Item, partial: Path, digest: Any) -> int:
        """Return how many bytes of a partial file are there, and hash them."""
        have = 0
        with contextlib.suppress(FileNotFoundError), open(partial, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                have += len(piece)
        if have > item.size:
            raise StoreError(f"{partial} is longer than what it is a part of. Remove it.")
        return have

    def _pieces(self, url: str, item: Item, start: int) -> Iterator[Any]:
        address = parse(url)
        if address.scheme == "file" or in_tensorstore(address):
            with open_file(url, access=self.access) as file:
                file.seek(start)
                while piece := file.read(PIECE):
                    yield piece
            return
        options: dict[str, Any] = {}
        if start:
            options["range"] = {"offset": start}
        if item.tag:
            options["if_match"] = item.tag
        with mapped(url, "read"):
            try:
                stream = obstore.get(bucket(address, self.access), address.path, options=options)
                for piece in in_time(stream, url=url):
                    yield memoryview(piece)
            except obstore.exceptions.PreconditionError as error:
                raise TransferError(
                    f"{url} changed while it was fetched. Run the same command again."
                ) from error
