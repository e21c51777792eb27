"""Which atlases there are in a tree in the layout of BrainGlobe, version 3."""

from __future__ import annotations

import configparser
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from projectome.errors import FormatError, NotFoundError, StoreError, UnknownNameError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.mirror import Mirror
from projectome.settings import resolve

BUCKET = "s3://brainglobe/atlas"
REGION = "us-west-2"
VERSIONS = "atlases/last_versions.conf"
NAME = re.compile(r"(?P<stem>.+)_(?P<size>\d+(?:\.\d+)?)um")


@dataclass(frozen=True, slots=True)
class Listed:
    """An atlas that can be opened.

    Attributes
    ----------
    name
        For instance ``"allen_mouse_25um"``.
    version
        The latest.
    kept
        Whether its documents are on this machine.
    """

    name: str
    version: str
    kept: bool


def atlas_tree(url: str = BUCKET, *, access: Access | None = None) -> Mirror:
    """Return the tree of atlases at an address, and where it is kept.

    Parameters
    ----------
    url
        Folder or bucket with ``atlases``, ``terminologies`` and so on in it.
    access
        How to ask; by the settings, and in the region of the public bucket, if None.
    """
    how = access or Access.of()
    if url == BUCKET and not how.region and not how.endpoint:
        how = replace(how, region=REGION)
    address = stores.parse(url)
    inner = Path(address.path, "brainglobe-atlasapi")
    if address.scheme == "file" and not Path(address.path, "atlases").is_dir() and inner.is_dir():
        address = stores.parse(str(inner))
    place = re.sub(r"[^\w.-]+", "_", f"{how.endpoint}_{address}".strip("_"))
    return Mirror(str(address), resolve()[0].cache / "atlases" / place, how)


def list_atlases(source: Mirror) -> list[Listed]:
    """Return the atlases of a tree, by name.

    Raises
    ------
    StoreError
        If the store does not answer and nothing is known from earlier.
    FormatError
        If its list of versions is broken.
    """
    found = _versions(source) or {
        name: _latest(source.names(f"atlases/{name}")) for name in _folders(source)
    }

    def kept(name: str, version: str) -> bool:
        folder = f"atlases/{name}/{version.replace('.', '_')}/manifest.json"
        return Path(source.place(folder)).is_file()

    return [Listed(name, v, kept(name, v)) for name, v in sorted(found.items()) if v]


def find_atlas(name: str, source: Mirror, version: str = "") -> tuple[str, str]:
    """Return the folder of an atlas and its version, the latest if none is given.

    Raises
    ------
    UnknownNameError
        If there is no such atlas.
    NotFoundError
        If it has no version.
    StoreError
        If the store does not answer and nothing is known from earlier.
    """
    known = _versions(source) or {}
    names = list(known) or _folders(source)
    folder = next((n for n in names if _same(n, name)), None)
    if folder is None and known:
        folder = next((n for n in _folders(source) if _same(n, name)), None)
    if folder is None:
        raise UnknownNameError(
            "atlas", name, names, where=source.url, list_with="projectome atlas ls"
        )
    if not version:
        version = known.get(folder) or _latest(source.names(f"atlases/{folder}"))
    if not version:
        raise NotFoundError(f"{source.url}/atlases/{folder} holds no version of the atlas.")
    return folder, version


def _same(one: str, other: str) -> bool:
    """Say whether two names mean one atlas: ``_25um`` is ``_25.0um``."""
    a, b = NAME.fullmatch(one), NAME.fullmatch(other)
    if a is None or b is None:
        return one == other
    return a["stem"] == b["stem"] and float(a["size"]) == float(b["size"])


def _versions(source: Mirror) -> dict[str, str]:
    """Return the latest version of each atlas by the list of the tree, if it has one."""
    try:
        text = source.fresh(VERSIONS).decode("utf-8")
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        return {k: v.strip() for k, v in parser["atlases"].items()} if "atlases" in parser else {}
    except NotFoundError:
        return {}
    except StoreError:
        if Path(source.place("atlases")).is_dir():
            return {}
        raise
    except (configparser.Error, UnicodeDecodeError) as error:
        raise FormatError(
            f"{source.url}/{VERSIONS} is no list of versions: {error}. Name a version, or remove "
            "the file from the copy."
        ) from None


def _folders(source: Mirror) -> list[str]:
    try:
        return [n for n in source.names("atlases") if not n.endswith((".conf", ".json"))]
    except NotFoundError:
        raise NotFoundError(
            f"{source.url} is no tree of atlases in the layout of BrainGlobe 3: it has no folder "
            "'atlases'. Give its root."
        ) from None


def _latest(names: Sequence[str]) -> str:
    """Return the highest of folders such as ``3_0``."""
    found = [name for name in names if re.fullmatch(r"\d+(_\d+)*", name)]
    highest = max(found, key=lambda n: [int(part) for part in n.split("_")], default="")
    return highest.replace("_", ".")
