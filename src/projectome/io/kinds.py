"""What lies at an address: the kind of a folder, from its name and a document or two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from projectome.errors import AccessDeniedError, DataError, NotFoundError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.metadata.asset_names import parse_asset_name
from projectome.io.reading import Entry

DOCUMENTS = ("zarr.json", ".zattrs", ".zarray", ".zgroup", "info", "attributes.json")
"""What says the kind of a folder, the most telling first."""
EVERYTHING = ".zmetadata"
PEEKED = 16
"""Folders that are looked into to tell their kind; of more, only the names are looked at."""
SHOWN_PATHS = 10_000
"""Paths taken at most from one document."""
LIMIT = 16 * 2**20
"""Largest document that is looked at [bytes]."""
AT_ONCE = 32
NUMPY_KINDS = {"u": "uint", "i": "int", "f": "float", "c": "complex"}
PRECOMPUTED = {
    "neuroglancer_multiscale_volume": "precomputed volume",
    "neuroglancer_skeletons": "precomputed skeletons",
    "neuroglancer_annotations_v1": "precomputed annotations",
    "neuroglancer_multilod_draco": "precomputed meshes",
    "neuroglancer_legacy_mesh": "precomputed meshes",
    "neuroglancer_segment_properties": "precomputed properties",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at a folder showed.

    Attributes
    ----------
    kind
        For instance ``"OME-Zarr image"``; ``"folder"`` where nothing says more.
    about
        Shape and type, or the number of levels; empty where nothing says.
    paths
        Names inside that its documents mention, in their order.
    """

    kind: str = "folder"
    about: str = ""
    paths: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a folder.

    Attributes
    ----------
    name
        Without the folder; whatever the store says, so show it with `shown`.
    kind
        ``"file"``, or what `Sight.kind` says of a folder.
    size
        Of a file [bytes].
    about
        See `Sight`.
    """

    name: str
    kind: str
    size: int | None = None
    about: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether there may be more below it."""
        return self.kind != "file"


@dataclass(frozen=True, slots=True)
class Look:
    """What lies one level below an address.

    Attributes
    ----------
    url
        The address.
    kind, about
        What the folder itself is.
    items
        What is in it.
    listed
        Whether the store was listed; if not, the names are those that the metadata mentions.
    """

    url: str
    kind: str
    about: str
    items: tuple[Item, ...]
    listed: bool


def shown(name: str) -> str:
    r"""Return a name that a terminal can print: what it does not show is escaped, as ``\x1b``."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii")
        for c in name.encode("utf-8", "backslashreplace").decode("utf-8")
    )


def look_into(url: str, *, access: Access | None = None, peek: int = PEEKED) -> Look:
    """Return what lies one level below an address, and of what kind.

    Parameters
    ----------
    url
        A folder, a prefix of an object store, a place in a zip archive, or a place on a web server,
        of which only metadata is read.
    access
        How to ask; by the settings if None.
    peek
        Folders whose kind is looked up, with at most six small requests each, all at the same time;
        in a folder with more of them, names say what they can.

    Raises
    ------
    NotFoundError
        If there is nothing; on a web server, if no metadata is found.
    StoreError
        If the store cannot be asked.
    """
    how = access or Access.of()
    address = stores.parse(url)
    url = str(address)
    if address.scheme in ("http", "https") and address.member is None:
        return _on_the_web(url, how)
    entries = stores.list_folder(url, access=how)
    names = {entry.name for entry in entries}
    itself = sight(_documents(url, [name for name in DOCUMENTS if name in names], how))
    doubtful = [entry for entry in entries if entry.is_folder and _by_name(entry.name) is None]
    within = itself.kind in ("OME-Zarr image", "Zarr array", "N5 array", "precomputed volume")
    found: Mapping[str, Sight] = {}
    if doubtful and len(doubtful) <= peek and not within:
        below = url.rstrip("/")
        seen = peek_at([f"{below}/{entry.name}" for entry in doubtful], access=how)
        found = {entry.name: one for entry, one in zip(doubtful, seen, strict=True)}
    items = [_item(entry, found.get(entry.name)) for entry in entries]
    return Look(url, itself.kind, itself.about, tuple(items), listed=True)


def _item(entry: Entry, seen: Sight | None) -> Item:
    if not entry.is_folder:
        return Item(entry.name, "file", entry.size)
    if seen is None:
        named = "Zarr" if entry.name.endswith(".zarr") else "folder"
        return Item(entry.name, _by_name(entry.name) or named)
    return Item(entry.name, seen.kind, about=seen.about)


def _by_name(name: str) -> str | None:
    """Return the kind of a folder whose name is enough."""
    return "asset" if parse_asset_name(name) is not None else None


def peek_at(urls: Iterable[str], *, access: Access) -> list[Sight]:
    """Return what some folders are, by their documents, which are read all at the same time.

    Parameters
    ----------
    urls
        Addresses of folders; up to six small requests each.
    access
        How to ask.
    """
    folders = [url.rstrip("/") for url in urls]
    wanted = [(url, document) for url in folders for document in _likely(url)]
    found: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = pool.map(lambda w: _document(f"{w[0]}/{w[1]}", access), wanted)
        for (url, document), content in zip(wanted, read, strict=True):
            if content is not None:
                found.setdefault(url, {})[document] = content
    return [sight(found.get(url, {})) for url in folders]


def _likely(name: str) -> tuple[str, ...]:
    if name.endswith(".zarr"):
        return DOCUMENTS[:4]
    return ("attributes.json",) if name.endswith(".n5") else DOCUMENTS


def _documents(url: str, names: Iterable[str], access: Access) -> dict[str, Any]:
    """Read some documents of a folder, all at the same time; None for what is broken."""
    wanted = list(names)
    below = url.rstrip("/")
    if not wanted:
        return {}
    with ThreadPoolExecutor(len(wanted)) as pool:
        read = pool.map(lambda name: _document(f"{below}/{name}", access), wanted)
        return {n: content for n, content in zip(wanted, read, strict=True) if content is not None}


def _document(url: str, access: Access) -> dict[str, Any] | None:
    """Return a JSON object, None if there is none that says anything."""
    try:
        return parse_json(stores.read_bytes(url, access=access, limit=LIMIT), url=url) or None
    except (
        DataError,
        NotFoundError,
        AccessDeniedError,
    ):  # S3 denies what it may not say is missing
        return None


def _on_the_web(url: str, access: Access) -> Look:
    """Return what the metadata at an address of a web server mentions."""
    found = _documents(url, (*DOCUMENTS, EVERYTHING), access)
    whole = found.pop(EVERYTHING, {})
    seen = sight(found)
    paths = list(dict.fromkeys([*seen.paths, *_consolidated(whole)]))[:SHOWN_PATHS]
    if not found and not whole:
        raise NotFoundError(
            f"Found no metadata of Zarr, N5 or neuroglancer at {url}, and plain HTTP cannot be "
            "listed. Give the full address of a volume, or the s3:// or gs:// address of the same "
            "data."
        )
    items = tuple(Item(path, "mentioned") for path in paths)
    return Look(url, seen.kind, seen.about, items, listed=False)


def _consolidated(document: Mapping[str, Any]) -> list[str]:
    """Return the names one level down that consolidated metadata mentions."""
    entries = document.get("metadata")
    paths = [str(p) for p in entries] if isinstance(entries, Mapping) else []
    first = [path.split("/")[0] for path in paths if "/" in path]
    return list(dict.fromkeys(first))[:SHOWN_PATHS]


def sight(documents: Mapping[str, Mapping[str, Any]]) -> Sight:
    """Return what a folder is.

    Parameters
    ----------
    documents
        Those of `DOCUMENTS` that lie in it, parsed.
    """
    if "zarr.json" in documents:
        return _zarr3(documents["zarr.json"])
    if ".zarray" in documents:
        array = documents[".zarray"]
        return Sight("Zarr array", _array(array.get("shape"), array.get("dtype")))
    attributes = documents.get(".zattrs", {})
    if ".zgroup" in documents or "multiscales" in attributes:
        return _group(attributes)
    if "info" in documents:
        return _precomputed(documents["info"])
    if "attributes.json" in documents:
        return _n5(documents["attributes.json"])
    return Sight()


def _array(shape: object, dtype: object) -> str:
    if not isinstance(shape, list) or len(shape) > 32:
        return ""
    text = " x ".join(str(n) for n in shape if isinstance(n, int) and abs(n) < 2**63)
    if not isinstance(dtype, str) or len(dtype) > 32:
        return text
    numpy_name = re.fullmatch(r"[<>|]?([a-z])(\d{1,2})", dtype)  # of Zarr 2, for instance <u2
    kind = NUMPY_KINDS.get(numpy_name[1]) if numpy_name else None
    return f"{text} {kind}{int(numpy_name[2]) * 8}" if kind and numpy_name else f"{text} {dtype}"


def _zarr3(document: Mapping[str, Any]) -> Sight:
    if document.get("node_type") == "array":
        return Sight("Zarr array", _array(document.get("shape"), document.get("data_type")))
    attributes = document.get("attributes")
    seen = _group(attributes if isinstance(attributes, Mapping) else {})
    whole = document.get("consolidated_metadata")
    inner = whole.get("metadata") if isinstance(whole, Mapping) else None
    names = [str(path).split("/")[0] for path in inner] if isinstance(inner, Mapping) else []
    paths = tuple(dict.fromkeys([*seen.paths, *names]))[:SHOWN_PATHS]
    return Sight(seen.kind, seen.about, paths)


def _group(attributes: Mapping[str, Any]) -> Sight:
    """Return what a Zarr group with these attributes is."""
    ome = attributes.get("ome")
    content = ome if isinstance(ome, Mapping) else attributes
    images = content.get("multiscales")
    if isinstance(images, list) and images and isinstance(images[0], Mapping):
        levels = images[0].get("datasets")
        paths = _paths(levels)
        return Sight("OME-Zarr image", _count(len(paths), "level"), paths)
    labels = content.get("labels")
    if isinstance(labels, list):
        return Sight("OME-Zarr labels", _count(len(labels), "image"), _paths(labels))
    if "plate" in content:
        return Sight("OME-Zarr plate")
    if "bioformats2raw.layout" in content:
        return Sight("OME-Zarr series")
    return Sight("Zarr group")


def _paths(entries: object) -> tuple[str, ...]:
    if not isinstance(entries, list):
        return ()
    texts = [e.get("path") if isinstance(e, Mapping) else e for e in entries[:SHOWN_PATHS]]
    return tuple(text for text in texts if isinstance(text, str) and len(text) <= 1024)


def _precomputed(info: Mapping[str, Any]) -> Sight:
    scales = info.get("scales")
    kind = PRECOMPUTED.get(str(info.get("@type")))
    if not isinstance(scales, list):
        return Sight(kind or "folder")
    keys = [s.get("key") for s in scales[:SHOWN_PATHS] if isinstance(s, Mapping)]
    extras = [info.get(name) for name in ("mesh", "skeletons", "segment_properties")]
    paths = tuple(path for path in (*keys, *extras) if isinstance(path, str))
    first = next((s.get("size") for s in scales[:1] if isinstance(s, Mapping)), None)
    size = _array(first, info.get("data_type"))
    about = ", ".join(part for part in (size, _count(len(keys), "scale")) if part)
    return Sight(kind or "precomputed volume", about, paths)


def _n5(attributes: Mapping[str, Any]) -> Sight:
    if "dimensions" in attributes:
        shape, dtype = attributes["dimensions"], attributes.get("dataType")
        return Sight("N5 array", _array(shape, dtype))
    if "n5" in attributes or "multiScale" in attributes or "downsamplingFactors" in attributes:
        return Sight("N5 group")
    return Sight()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
