"""Whose an output folder is: nothing yet, unfinished, finished, or not ours at all.

An unfinished output has a document `MARK` that says what it is going to be, and no metadata: no
program can take it for a volume. Finishing writes the metadata and then removes the mark.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from projectome.errors import AccessDeniedError, NotFoundError, OutputExistsError
from projectome.io import stores
from projectome.io.documents import json_value
from projectome.io.volumes.ngff_write import ROOT_DOCUMENTS, encode

MARK = ".unfinished.json"
LEDGER = ".ledger"
"""Where a run may remember which blocks of an unfinished output are written."""
CLEARING: dict[str, object] = {"state": "being removed"}
INFO = "info"
"""Of a precomputed volume, and of other things that neuroglancer shows."""
DOCUMENTS = {name for names in ROOT_DOCUMENTS.values() for name in names} | {".zarray", INFO}


def claim(url: str, plan: Mapping[str, object], *, overwrite: bool, access: stores.Access) -> None:
    """Make an address ready for an output, or refuse.

    Parameters
    ----------
    url
        Address of the folder.
    plan
        What the output is going to be, as plain JSON data. An unfinished output of the same plan
        is taken up where it was left.
    overwrite
        Remove what is there, as long as it is a volume.
    access
        How to ask the store.

    Raises
    ------
    OutputExistsError
        If something else is there.
    StoreError
        Or one of its children, if the place cannot be written.
    """
    if stores.parse(url).scheme in ("http", "https"):
        raise AccessDeniedError(
            f"Cannot write to {url}: plain HTTP is read only. Write to a path, s3:// or gs://."
        )
    names = entries(url, access)
    if MARK in names:
        found = _plan(url, access)
        if found == plan and not overwrite:
            return
        if not overwrite and found != CLEARING:
            raise OutputExistsError(
                f"{url} holds an unfinished volume of another kind: {_differences(found, plan)}. "
                "Choose another output, or give --overwrite to replace it."
            )
    elif names and not overwrite:
        raise OutputExistsError(
            f"{url} exists. Choose another output, or give --overwrite to replace it."
        )
    elif names and not _is_volume(url, names, access):
        some = ", ".join(sorted(names)[:3])
        raise OutputExistsError(
            f"{url} is no volume (it holds {some}) and is not overwritten. Choose another output, "
            "or remove it yourself."
        )
    if names:
        _clear(url, names, access)
    stores.write_bytes(stores.join(url, MARK), encode(plan), access=access)


def entries(url: str, access: stores.Access) -> set[str]:
    """Return the names inside a folder; none where there is no folder.

    Raises
    ------
    OutputExistsError
        If there is a file in its place.
    """
    path = stores.local_path(url)
    if path is not None and path.exists() and not path.is_dir():
        raise OutputExistsError(f"{url} is a file, not a folder. Choose another output.")
    with contextlib.suppress(NotFoundError):
        return {entry.name for entry in stores.list_folder(url, access=access)}
    return set()


def release(url: str, access: stores.Access) -> None:
    """Take away from a finished output what only an unfinished one needs."""
    path = stores.local_path(url)
    if path is not None:
        for pattern in (".*.partial", "*/.*.partial"):
            for half in path.glob(pattern):
                half.unlink(missing_ok=True)
    for name in (LEDGER, MARK):
        stores.remove(stores.join(url, name), access=access)


def _is_volume(url: str, names: set[str], access: stores.Access) -> bool:
    if names & DOCUMENTS == {INFO}:
        try:
            found = json_value(stores.read_bytes(stores.join(url, INFO), access=access))
        except ValueError:
            return False
        return isinstance(found, dict) and "scales" in found
    return bool(names & DOCUMENTS)


def _clear(url: str, names: set[str], access: stores.Access) -> None:
    # The mark comes first and the metadata goes first: whenever this is killed, what is left is
    # no volume, and the next call goes on removing it.
    stores.write_bytes(stores.join(url, MARK), encode(CLEARING), access=access)
    for name in sorted(names - {MARK}, key=lambda name: (name not in DOCUMENTS, name)):
        stores.remove(stores.join(url, name), access=access)


def _plan(url: str, access: stores.Access) -> object:
    try:
        return json_value(stores.read_bytes(stores.join(url, MARK), access=access))
    except ValueError:
        return {}


def _differences(found: object, plan: Mapping[str, object]) -> str:
    old = found if isinstance(found, Mapping) else {}
    told = [
        f"{name} was {json.dumps(old.get(name))} and is {json.dumps(value)}"
        for name, value in plan.items()
        if old.get(name) != value
    ]
    return ", ".join(told)
