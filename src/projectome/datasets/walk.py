"""Following the patterns of a record below an asset, a listing a folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from projectome.errors import NotFoundError, ParameterError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.reading import Entry
from projectome.io.records import CHANNEL, Stage

LISTED = 500
"""Folders that are listed at most in one asset."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One volume, table or file of an asset.

    Attributes
    ----------
    stage, holds
        Of what stage it is, and what lies there (see `Stage`).
    path, url
        Where it lies below the asset, and its address.
    channel
        Name of the channel; empty if its place does not tell.
    kind, about
        What it is (see `projectome.io.kinds.Sight`).
    size
        Of a file [bytes].
    """

    stage: str
    holds: str
    path: str
    url: str
    channel: str = ""
    kind: str = "folder"
    about: str = ""
    size: int | None = None


class Walk:
    """Follows the patterns of stages below an asset, and lists no folder twice.

    Parameters
    ----------
    url
        Address of the asset.
    channels
        Patterns that names of channels keep.
    how
        How to ask.

    Attributes
    ----------
    left
        Folders that may still be listed; negative where that was not enough.
    """

    def __init__(self, url: str, channels: Sequence[str], how: Access) -> None:
        self.url, self.channels, self.how = url.rstrip("/"), channels, how
        self.left = LISTED
        self._lists: dict[str, list[Entry]] = {}

    def pieces(self, stage: Stage) -> Iterator[Piece]:
        """Yield what a stage holds, each once."""
        seen = set()
        for pattern in stage.paths:
            for path, entry, channel in self._descend("", pattern.split("/"), ""):
                if path not in seen:
                    seen.add(path)
                    kind = "folder" if entry.is_folder else "file"
                    yield Piece(
                        stage.name,
                        stage.holds,
                        path,
                        f"{self.url}/{path}",
                        channel,
                        kind,
                        size=entry.size,
                    )

    def _descend(
        self, folder: str, parts: Sequence[str], channel: str
    ) -> Iterator[tuple[str, Entry, str]]:
        head, rest = parts[0], parts[1:]
        fixed = not re.search(r"[*?[{]", head)
        if fixed and rest and folder and folder not in self._lists:
            yield from self._descend(f"{folder}/{head}", rest, channel)
            return
        for entry in self._list(folder):
            named = match_part(head, entry.name)
            if named is None or not is_plain(entry.name) or not self._is_channel(named):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not rest:
                yield path, entry, named or channel
            elif entry.is_folder:
                yield from self._descend(path, rest, named or channel)

    def _is_channel(self, name: str) -> bool:
        return not name or not self.channels or any(fnmatchcase(name, p) for p in self.channels)

    def _list(self, folder: str) -> list[Entry]:
        if folder not in self._lists:
            self.left -= 1
            self._lists[folder] = []
            if self.left >= 0:
                address = f"{self.url}/{folder}" if folder else self.url
                # It may not be there, or have a name that no address can hold.
                with contextlib.suppress(NotFoundError, ParameterError):
                    self._lists[folder] = stores.list_folder(address, access=self.how)
        return self._lists[folder]


def match_part(pattern: str, name: str) -> str | None:
    """Match one component of a path.

    Parameters
    ----------
    pattern
        With ``*`` and ``?``, which match no name that begins with a dot, and perhaps one
        ``{channel}`` with nothing but plain text behind it.
    name
        The name of a folder or file.

    Returns
    -------
    str or None
        The channel, empty where the pattern names none; None if it does not match.

    Examples
    --------
    >>> match_part("tile_*_ch_{channel}.zarr", "tile_000001_ch_488.zarr")
    '488'
    """
    if name.startswith(".") and not pattern.startswith("."):
        return None
    before, mark, after = pattern.partition(CHANNEL)
    if not mark:
        return "" if fnmatchcase(name, pattern) else None
    end = len(name) - len(after)
    if len(name) > 1024 or end < 0 or not name.endswith(after):
        return None
    # The shortest channel that leaves a match in front of it.
    starts = range(end - 1, -1, -1)
    start = next((k for k in starts if fnmatchcase(name[:k], before)), None)
    return None if start is None else name[start:end]


def is_plain(name: str) -> bool:
    """Say whether a name can be one component of a path."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
