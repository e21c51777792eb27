"""The metadata of a data asset in the layouts of the Allen Institute for Neural Dynamics.

A folder with ``acquisition.json``, ``subject.json`` and so on; the same names behind the prefix
``exaspim_``, as the microscope of the Institut Pasteur writes them; or all of them merged in
``metadata.nd.json``. A derived asset without an acquisition is completed from its recording, the
folder beside it that its name begins with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from projectome.errors import (
    AccessDeniedError,
    FormatError,
    MetadataError,
    NotFoundError,
    Problem,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.metadata.acquisition import parse_acquisition
from projectome.io.metadata.asset import AssetMetadata, Subject, Text
from projectome.io.metadata.asset_names import parse_asset_name
from projectome.io.metadata.core_files import (
    find_expansion,
    parse_description,
    parse_instrument,
    parse_processing,
    parse_subject,
)
from projectome.io.metadata.stated import Node, Stated

KINDS = (
    "acquisition",
    "subject",
    "data_description",
    "procedures",
    "processing",
    "instrument",
)
"""The documents of an asset, those that matter most first."""
TELLING = {
    "tiles": "acquisition",
    "data_streams": "acquisition",
    "axes": "acquisition",
    "instrument_type": "instrument",
    "data_processes": "processing",
    "processing_pipeline": "processing",
}
"""Keys that tell which document it is."""
PREFIXES = ("", "exaspim_")
MERGED = "metadata.nd.json"
KEPT = 2
"""Requests for the recording of a derived asset."""
REQUESTS = 8
"""Requests to a remote store for the metadata of one asset."""
IMAGES = ("exaspim", "spim")
"""Folders of images, in any case, as microscopes write them."""
SIZE_LIMIT = 32 * 2**20


@dataclass
class Desk:
    """Asks a store for documents, several at a time, and for no more of them than allowed.

    Attributes
    ----------
    access
        How to ask.
    left
        Requests that are still allowed.
    problems
        Documents that are broken.
    """

    access: Access
    left: int = REQUESTS
    problems: list[Problem] = field(default_factory=list)
    denied: list[AccessDeniedError] = field(default_factory=list)
    known: dict[str, Node | None] = field(default_factory=dict)

    def fetch(self, places: Sequence[tuple[str, str]], *, keep: int = 0) -> list[Node | None]:
        """Return documents, None for those that are not there, are broken, or are not allowed.

        Parameters
        ----------
        places
            Address and name in messages, those that matter most first.
        keep
            Requests to keep in hand.
        """
        fresh = [place for place in places if place[0] not in self.known]
        if fresh and stores.parse(fresh[0][0]).scheme not in ("file", "memory"):
            fresh = fresh[: max(0, self.left - keep)]
            self.left -= len(fresh)
        if fresh:
            with ThreadPoolExecutor(min(REQUESTS, len(fresh))) as pool:
                for (url, _), node in zip(fresh, pool.map(self._one, fresh), strict=True):
                    self.known[url] = node
        return [self.known.get(url) for url, _ in places]

    def _one(self, place: tuple[str, str]) -> Node | None:
        url, source = place
        try:
            data = stores.read_bytes(url, access=self.access, limit=SIZE_LIMIT)
            return Node(parse_json(data, url=url), source)
        except AccessDeniedError as error:  # S3 denies what it may not say is missing
            self.denied.append(error)
        except FormatError as error:
            self.problems.append(Problem("warning", source, f"{error} It is not used."))
        except NotFoundError:
            pass
        return None

    def names(self, url: str) -> tuple[str, ...] | None:
        """Return what lies in a folder; None where that cannot be asked."""
        address = stores.parse(url)
        if self.left < 1 or (address.scheme.startswith("http") and address.member is None):
            return None
        self.left -= address.scheme not in ("file", "memory")
        try:
            return tuple(entry.name for entry in stores.list_folder(url, access=self.access))
        except (NotFoundError, AccessDeniedError):
            return None


def read_asset(url: str | os.PathLike[str], *, access: Access | None = None) -> AssetMetadata:
    """Read what is known of a data asset.

    Parameters
    ----------
    url
        Its folder, or one JSON document of it.
    access
        How to ask the store; by the settings if None. A remote store is asked at most 8 times.

    Returns
    -------
    AssetMetadata
        Every value with the document and key that state it; contradictions are its problems.

    Raises
    ------
    NotFoundError
        If there is no document.
    FormatError, MetadataError
        If `url` is a document that is broken, or of another kind.
    StoreError
        If the store does not answer as hoped.
    """
    desk = Desk(access or Access.of())
    address = str(stores.parse(url))
    if address.lower().endswith(".json"):
        return _read_document(address, desk)
    found = read_folder(address, desk)
    if found is None and desk.problems:
        raise MetadataError(f"No document of the asset {address} can be read.", desk.problems)
    if found is None and desk.denied:
        raise desk.denied[0]
    if found is None:
        raise NotFoundError(
            f"No metadata at {address}: neither {', '.join(f'{kind}.json' for kind in KINDS)} nor "
            f"{MERGED}. List what is there with: projectome ls {address}"
        )
    return found


def _read_document(url: str, desk: Desk) -> AssetMetadata:
    """Read a single document, whichever it is."""
    folder, _, name = url.rpartition("/")
    content = parse_json(stores.read_bytes(url, access=desk.access, limit=SIZE_LIMIT), url=url)
    node = Node(content, name)
    kind = next((k for k in KINDS if name.lower().endswith(f"{k}.json")), "") or _kind(node)
    if kind == MERGED:
        return compose(folder, _merged(node), desk.problems)
    if not kind:
        raise MetadataError(
            f"{url} is no metadata of a recording. Known: {', '.join(f'{k}.json' for k in KINDS)} "
            f"and {MERGED} of the schema aind-data-schema."
        )
    return compose(folder, {kind: node}, desk.problems)


def _kind(node: Node) -> str:
    """Say which document it is, by what it holds."""
    if isinstance(node["acquisition"].value, dict) or isinstance(node["subject"].value, dict):
        return MERGED
    written = node["describedBy"].value
    stem = written.rsplit("/", 1)[-1].removesuffix(".py") if isinstance(written, str) else ""
    if stem in KINDS:
        return stem
    return next((kind for key, kind in TELLING.items() if node[key]), "")


def _merged(node: Node | None) -> dict[str, Node]:
    """Return the documents inside a merged one."""
    inner = {} if node is None else {kind: node[kind] for kind in KINDS}
    return {kind: found for kind, found in inner.items() if isinstance(found.value, dict)}


def file_names(kind: str) -> tuple[str, ...]:
    """Return the names a document may have."""
    return tuple(f"{prefix}{kind}.json" for prefix in PREFIXES)


def read_folder(url: str, desk: Desk, names: tuple[str, ...] | None = None) -> AssetMetadata | None:
    """Read the documents of a folder and, for a derived asset without one, of its recording.

    Parameters
    ----------
    url
        Address of the folder.
    desk
        Asks the store.
    names
        What lies in the folder, where it is known.

    Returns
    -------
    AssetMetadata or None
        None if there is no document.
    """
    names = desk.names(url) if names is None else names
    recording = _recording(url)
    if names is None:  # the names that matter most
        wanted = [*file_names("acquisition"), MERGED, *(f"{kind}.json" for kind in KINDS[1:3])]
        known = {name: desk.known.get(stores.join(url, name)) for name in wanted}
        has_own = any(known[name] for name in file_names("acquisition"))
        sure = has_own or "acquisition" in _merged(known[MERGED])
    else:
        lower = {name.lower(): name for name in names}
        present = [next((lower[n] for n in file_names(k) if n in lower), "") for k in KINDS]
        wanted = [present[0], lower.get(MERGED, "") if "" in present else "", *present[1:]]
        sure = bool(present[0])
    keep = KEPT if recording and not sure else 0
    found = _documents(url, "", wanted, desk, keep=keep)
    if recording and "acquisition" not in found:
        _complete(found, url, recording, desk)
    if not found:
        return None
    asset = compose(url, found, desk.problems)
    return _with_image_folder(asset, url, names or (), desk)


def _documents(
    url: str, prefix: str, wanted: Iterable[str], desk: Desk, *, keep: int = 0
) -> dict[str, Node]:
    """Return the documents of a folder by kind; single ones count before the merged one."""
    places = [(stores.join(url, name), f"{prefix}{name}") for name in wanted if name]
    found: dict[str, Node] = {}
    merged: dict[str, Node] = {}
    for (_, source), node in zip(places, desk.fetch(places, keep=keep), strict=True):
        name = source.rsplit("/", 1)[-1].lower()
        if node is None:
            continue
        if name == MERGED:
            merged = _merged(node)
        else:
            kind = next(k for k in KINDS if name in file_names(k))
            found.setdefault(kind, node)
    return {**merged, **found}


def _recording(url: str) -> str:
    """Return the address of the recording that a derived asset was made from, or nothing."""
    folder, _, own = url.rstrip("/").rpartition("/")
    name = parse_asset_name(own)
    return f"{folder}/{name.recording}" if name is not None and name.is_derived and folder else ""


def _complete(found: dict[str, Node], url: str, recording: str, desk: Desk) -> None:
    """Add what the recording of a derived asset says and the asset itself does not."""
    name = recording.rsplit("/", 1)[-1]
    names = desk.names(recording)
    if names is None:
        wanted = ["acquisition.json", MERGED]
    else:
        lower = {n.lower(): n for n in names}
        missing = [k for k in KINDS if k not in found]
        choices = [file_names(k) for k in missing]
        wanted = [next((lower[n] for n in choice if n in lower), "") for choice in choices]
        if MERGED in lower and not wanted[0]:
            wanted = [lower[MERGED]]
    documents = _documents(recording, f"{name}/", wanted, desk)
    for kind, node in documents.items():
        if kind not in ("processing", "data_description"):  # those of the recording are not its own
            found.setdefault(kind, node)
    if "acquisition" in documents:
        own = url.rsplit("/", 1)[-1]
        desk.problems.append(
            Problem(
                "warning",
                documents["acquisition"].source,
                f"{own} has no acquisition document: that of its recording {name} is read.",
            )
        )


def compose(url: str, documents: dict[str, Node], problems: list[Problem]) -> AssetMetadata:
    """Return the model of an asset from its documents by kind."""
    problems = list(problems)
    empty = {kind: Node(None, f"{kind}.json") for kind in KINDS}
    node = {**empty, **documents}
    acquisition = parse_acquisition(node["acquisition"], problems)
    description = parse_description(node["data_description"])
    subject = parse_subject(node["subject"])
    procedures = node["procedures"]["subject_id"].text()
    name = url.rstrip("/").rsplit("/", 1)[-1]
    title = parse_asset_name(name)
    written = None if description.name is None else parse_asset_name(description.name.value)
    ids = [
        subject.id,
        acquisition.subject,
        node["data_description"]["subject_id"].text(),
        procedures,
        None if title is None else Stated(title.subject, name, "name of the asset"),
        None
        if written is None or description.name is None
        else description.name.of(written.subject),
    ]
    expansion, expanded = find_expansion(
        [node[kind] for kind in ("acquisition", "procedures", "data_description")], problems
    )
    started, ended = acquisition.started, acquisition.ended
    if started is not None and ended is not None:
        same_clock = (started.value.tzinfo is None) == (ended.value.tzinfo is None)
        if same_clock and ended.value < started.value:
            text = f"It ends at {ended.value}, before it begins, {started.value}."
            problems.append(Problem("warning", ended.where, text))
    return AssetMetadata(
        url=url,
        name=title,
        files=tuple(dict.fromkeys(found.source for found in documents.values())),
        schema=acquisition.schema,
        axes=acquisition.axes,
        readings=acquisition.readings,
        voxel_size_um=acquisition.voxel_size_um,
        tiles=acquisition.tiles,
        channels=acquisition.channels,
        subject=_identified(subject, ids, problems),
        instrument=parse_instrument(node["instrument"], acquisition.instrument),
        processing=parse_processing(node["processing"], node["acquisition"]),
        description=description,
        started=started,
        ended=ended,
        expansion=expansion,
        expanded=expanded,
        problems=tuple(dict.fromkeys(problems)),
    )


def _identified(subject: Subject, ids: list[Text], problems: list[Problem]) -> Subject:
    """Return the subject with its name; without one where the documents name different ones."""
    found = [stated for stated in ids if stated is not None]
    if len({stated.value.lower() for stated in found}) > 1:
        listed = ", ".join(f"{stated.value} ({stated.where})" for stated in found)
        text = f"Different subjects are named: {listed}. None is taken; ask who recorded it."
        problems.append(Problem("warning", found[0].where, text))
        return replace(subject, id=None)
    return replace(subject, id=found[0] if found else None)


def _with_image_folder(
    asset: AssetMetadata, url: str, names: tuple[str, ...], desk: Desk
) -> AssetMetadata:
    """Say where the files of the tiles are not those that the acquisition names."""
    first = next((t.file_name for t in asset.tiles if t.file_name is not None), None)
    folder = next((name for name in names if name.lower() in IMAGES), None)
    if first is None or folder is None or not first.value.lower().endswith(".ims"):
        return asset
    inside = desk.names(stores.join(url, folder)) or ()
    zarr = [name for name in inside if name.lower().endswith(".zarr")]
    if not zarr or any(name.lower().endswith(".ims") for name in inside):
        return asset
    text = (
        f"The tiles are named {first.value} and so on; the folder {folder} holds {zarr[0]}: the "
        "pixels are Zarr whatever the names say."
    )
    problem = Problem("warning", first.where, text)
    return replace(asset, problems=(*asset.problems, problem))
