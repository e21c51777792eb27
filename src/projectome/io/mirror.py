"""A folder on the local disk that fills with what is read of a tree in an object store.

What lies in a published, numbered version does not change, so that a file is fetched once. A list
of sizes and tags of the store is kept beside an array; a chunk counts as there only if it is whole
by that list, and a folder that exists proves nothing. A transfer that broke off is gone on with.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from projectome.core.volume import Array, LazyArray, OverArray, Pyramid
from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    StoreError,
    TransferError,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import json_value, parse_json
from projectome.io.objects import Fetcher, Item, file_at, files_below
from projectome.io.open import open_volume
from projectome.io.volumes.zarr_array import ArrayDocument, read_document

LISTING = ".listing.json"
"""What the store has of an array, as it was when the array was first read."""
AT_ONCE = 32
LARGEST_DOCUMENT = 2**26
_locks: dict[Path, threading.Lock] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Mirror:
    """A tree of files and where it is kept.

    Attributes
    ----------
    url
        Address of the tree: of an object store, or a local folder, which is read in place.
    folder
        Where files are kept; not used for local trees.
    access
        How to ask.
    """

    url: str
    folder: Path
    access: Access = field(default_factory=Access)

    @property
    def local(self) -> bool:
        """Whether the tree lies on the local disk, so that nothing has to be fetched."""
        return stores.parse(self.url).scheme == "file"

    def place(self, path: str) -> str:
        """Return where a file of the tree lies, or will lie, on the local disk."""
        return stores.join(self.url if self.local else str(self.folder), path)

    def document(self, path: str) -> bytes:
        """Return a small file; fetched if it is not there yet.

        Raises
        ------
        NotFoundError
            If the tree has no such file.
        StoreError
            If the store does not answer as hoped.
        """
        if not self.local and not Path(self.place(path)).is_file():
            url = stores.join(self.url, path)
            item = file_at(url, access=self.access)
            if item is None:
                raise NotFoundError(f"There is no {path} in {self.url}.")
            if item.size > LARGEST_DOCUMENT:
                raise FormatError(f"{url} has {item.size} bytes, too many for a document.")
            self._fetch(path, item)
        return stores.read_bytes(self.place(path), limit=LARGEST_DOCUMENT, access=self.access)

    def has(self, path: str) -> bool:
        """Say whether the tree has a small file; it is fetched."""
        try:
            self.document(path)
        except (NotFoundError, AccessDeniedError):
            return False
        return True

    def fresh(self, path: str) -> bytes:
        """Return a file that changes; as it was when last fetched if the store cannot be asked.

        Raises
        ------
        NotFoundError
            If the tree has no such file.
        StoreError
            If the store does not answer as hoped, and the file was never fetched.
        """
        if self.local:
            return self.document(path)
        place = Path(self.place(path))
        try:
            data = stores.read_bytes(stores.join(self.url, path), access=self.access)
        except NotFoundError:
            raise
        except StoreError:
            if place.is_file():
                return place.read_bytes()
            raise
        stores.write_bytes(str(place), data)
        return data

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names one level below a folder; of what is kept if the store cannot be asked.

        Raises
        ------
        StoreError
            If the store does not answer as hoped, and nothing is kept.
        """
        try:
            found = stores.list_folder(stores.join(self.url, path), access=self.access)
        except StoreError:
            kept = Path(self.place(path))
            if self.local or not kept.is_dir():
                raise
            return tuple(sorted(p.name for p in kept.iterdir() if not p.name.startswith(".")))
        return tuple(entry.name for entry in found)

    def volume(self, path: str) -> Pyramid:
        """Open the OME-Zarr image at a path; only its metadata is fetched.

        Returns
        -------
        Pyramid
            Its chunks are fetched as they are read.

        Raises
        ------
        NotFoundError
            If the tree has none there.
        ProjectomeError
            As `projectome.io.open.open_volume`.
        """
        if self.local:
            return open_volume(self.place(path), asset=False)
        name = "zarr.json" if self.has(f"{path}/zarr.json") else ".zattrs"
        group = parse_json(self.document(f"{path}/{name}"), url=f"{self.url}/{path}/{name}")
        levels = _level_paths(group)
        arrays = ["zarr.json"] if name == "zarr.json" else [".zarray"]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.document, [f"{path}/{x}/{a}" for x in levels for a in arrays]))
        pyramid = open_volume(self.place(path), asset=False)
        mirrored = [
            replace(volume, array=self._mirrored(volume.array, f"{path}/{level}"))
            for volume, level in zip(pyramid.levels, levels, strict=True)
        ]
        metadata = {**pyramid.metadata, "url": stores.join(self.url, path)}
        return replace(pyramid, levels=tuple(mirrored), metadata=metadata)

    def _mirrored(self, array: LazyArray, path: str) -> MirroredArray:
        document = read_document(self.place(path), access=self.access)
        return MirroredArray(array, document, self, path)

    def listing(self, path: str) -> dict[str, Item]:
        """Return what the store has below a folder, by relative path; asked for once.

        Raises
        ------
        StoreError
            If it was never asked for and the store does not answer as hoped.
        """
        place = Path(self.place(path)) / LISTING
        try:
            found = json_value(place.read_bytes())
            return {entry["path"]: Item(**entry) for entry in found["items"]}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # never asked for, or broken: asked again
        items = list(files_below(stores.join(self.url, path), access=self.access))
        text = json.dumps({"items": [asdict(item) for item in items]})
        stores.write_bytes(str(place), text.encode())
        return {item.path: item for item in items}

    def fetch(self, path: str, items: Sequence[Item]) -> int:
        """Fetch those files of a folder that are not there whole; return how many these were.

        Raises
        ------
        StoreError
            If the store does not answer as hoped.
        """
        fetcher = Fetcher(self.access)
        wanted = [
            item
            for item in items
            if not fetcher.is_there(item, Path(stores.join(self.place(path), item.path)))
        ]
        if wanted:
            with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
                list(pool.map(lambda item: self._fetch(f"{path}/{item.path}", item), wanted))
        return len(wanted)

    def _fetch(self, path: str, item: Item) -> None:
        """Fetch one file; two threads never fetch the same."""
        target = Path(self.place(path))
        with _guard:
            lock = _locks.setdefault(target, threading.Lock())
        fetcher = Fetcher(self.access)
        with lock:
            if fetcher.is_there(item, target):
                return
            try:
                fetcher.fetch(stores.join(self.url, path), item, target)
            except (TransferError, NotFoundError):
                if not fetcher.is_there(item, target):  # another process may have been faster
                    raise


@dataclass(frozen=True, eq=False)
class MirroredArray(OverArray):
    """A chunked array whose chunks are fetched to the local disk when they are first read.

    Attributes
    ----------
    array
        The array in the local folder.
    document
        Its metadata.
    mirror
        The tree that it is part of.
    path
        Where in the tree.
    """

    array: LazyArray
    document: ArrayDocument
    mirror: Mirror
    path: str

    def evidence(self) -> Iterator[bytes]:
        """Yield the metadata, and names, sizes and tags of all chunks in the store."""
        yield self.document.raw
        for name, item in sorted(self.mirror.listing(self.path).items()):
            yield f"{name} {item.size} {item.tag}".encode()

    def is_absent(self, index: tuple[slice, ...]) -> bool:
        """Say whether the store has no chunk of some elements."""
        return not self._items(index)

    def read(self, index: tuple[slice, ...]) -> Array:
        """Return the elements of one slice an axis.

        Raises
        ------
        StoreError
            If a chunk has to be fetched and the store does not answer.
        FormatError
            If a chunk is broken.
        """
        items = self._items(index)
        try:
            self.mirror.fetch(self.path, items)
        except StoreError as error:
            raise type(error)(
                f"{error} A part of {self.mirror.url}/{self.path} was never fetched to "
                f"{self.mirror.folder}; what was is used without the store."
            ) from None
        return self.array.read(index)

    def _items(self, index: tuple[slice, ...]) -> list[Item]:
        """Return the stored chunks (shards) that some elements lie in."""
        listing = self.mirror.listing(self.path)
        shape = self.document.shape
        if len(shape) != len(index):  # with axes that were picked or turned
            return list(listing.values())
        content = self.document.content
        regular = content if self.document.version == 2 else content["chunk_grid"]["configuration"]
        stored = regular["chunks" if self.document.version == 2 else "chunk_shape"]
        spans = [range(s.start // c, -(-s.stop // c)) for s, c in zip(index, stored, strict=True)]
        keys = (self.document.chunk_key(cell) for cell in itertools.product(*spans))
        return [listing[key] for key in keys if key in listing]


def _level_paths(group: dict[str, object]) -> list[str]:
    """Return the paths of the levels that the metadata of an image names; none if it is broken."""
    attributes = group.get("attributes", group)
    ome = attributes.get("ome", attributes) if isinstance(attributes, dict) else None
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    image = images[0] if isinstance(images, list) and images else None
    listed = image.get("datasets") if isinstance(image, dict) else None
    levels = listed if isinstance(listed, list) else []
    paths = [level.get("path") for level in levels if isinstance(level, dict)]
    return [path for path in paths if isinstance(path, str)]
