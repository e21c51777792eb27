"""Addresses of files and objects: taking them apart and going down inside them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from projectome.errors import ParameterError, StoreError

LONGEST_NAME = 255
"""Of a file or folder, on every common file system [bytes]."""
SCHEMES = ("file", "memory", "s3", "gs", "http", "https")


@dataclass(frozen=True, slots=True)
class Address:
    """An address taken apart.

    Attributes
    ----------
    scheme
        One of ``file``, ``memory``, ``s3``, ``gs``, ``http`` and ``https``.
    root
        Bucket or host; empty for files and memory.
    path
        Absolute local path, or the key without a slash in front; of an archive, its own.
    member
        Path inside the zip archive (``.zip``, ``.ozx``) at `path`; None for anything else, empty
        for the archive itself.
    """

    scheme: str
    root: str
    path: str
    member: str | None = None

    def __str__(self) -> str:
        whole = "/".join(part for part in (self.path, self.member) if part)
        if self.scheme == "file":
            return whole
        return f"{self.scheme}://" + "/".join(part for part in (self.root, whole) if part)


def parse(url: str | os.PathLike[str]) -> Address:
    """Take an address apart.

    Parameters
    ----------
    url
        A path, or an address with a scheme.

    Raises
    ------
    ParameterError
        If it cannot be understood.

    Examples
    --------
    >>> parse("s3://bucket/brain.zarr")
    Address(scheme='s3', root='bucket', path='brain.zarr')
    """
    text = os.fspath(url)
    scheme, mark, rest = text.partition("://")
    if not text or "\0" in text:
        raise ParameterError(
            f"Not an address: {text!r}. Give a path, s3://..., gs://... or http://..."
        )
    if not mark:
        return _archive(_local(os.path.abspath(os.path.expanduser(text)), text))
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ParameterError(
            f"Unknown kind of address {scheme}:// in {text!r}. Known: a path, "
            + ", ".join(f"{s}://" for s in SCHEMES)
            + ". Prefixes of formats, as zarr://, n5:// and precomputed://, stand before volumes."
        )
    if scheme == "file":
        host, _, path = rest.partition("/")
        if host not in ("", "localhost"):
            raise ParameterError(f"{text!r} names the host {host!r}; a local file is file:///PATH.")
        return _archive(_local(os.path.abspath("/" + unquote(path)), text))
    if scheme == "memory":
        return _archive(Address(scheme, "", _key(rest, text)))
    root, _, key = rest.partition("/")
    if scheme in ("http", "https"):
        parts = urlsplit(text)
        if parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
            raise ParameterError(
                f"Cannot use {text!r}: an http address here is a host and a path, without a query, "
                "a fragment or a password. Download the file, or use its s3:// address."
            )
    if not root:
        raise ParameterError(f"{text!r} names no bucket or host: write {scheme}://NAME/KEY.")
    return _archive(Address(scheme, root, _key(key, text)))


def _local(path: str, text: str) -> Address:
    longest = max(len(os.fsencode(name)) for name in path.split(os.sep))
    if longest > LONGEST_NAME:
        raise ParameterError(
            f"{text[:60]!r}... holds a name of {longest} bytes, and files have names of at most "
            f"{LONGEST_NAME}. Check the address."
        )
    return Address("file", "", path)


def _archive(address: Address) -> Address:
    """Split the address where a zip archive lies on its way; a local folder is none."""
    found = re.search(r"\.(?:zip|ozx)(?=/|$)", address.path, re.IGNORECASE)
    if found is None:
        return address
    archive = address.path[: found.end()]
    if address.scheme == "file" and os.path.isdir(archive):
        return address
    return Address(address.scheme, address.root, archive, address.path[found.end() :].strip("/"))


def _key(key: str, url: str) -> str:
    key = key.strip("/")
    if any(part in (".", "..") for part in key.split("/")):
        raise ParameterError(f"An object store has no '.' or '..': {url!r}. Write the full key.")
    return key


def join(url: str | os.PathLike[str], *parts: str) -> str:
    """Return the address of something below a folder, never of something outside it.

    Parameters
    ----------
    url
        Address of the folder.
    *parts
        Relative paths with ``/`` between names, for instance ``"scale0/image"``.

    Returns
    -------
    str
        The address; the folder itself where the parts are empty or ``"."``.

    Raises
    ------
    StoreError
        If a part is absolute, climbs with ``..``, names a scheme, or leaves the folder through a
        symbolic link.
    """
    address = parse(url)
    names = [name for part in parts for name in part.split("/") if name not in ("", ".")]
    bad = [
        part for part in parts if part.startswith("/") or re.search(r"[\0\\]|://|^[A-Za-z]:", part)
    ]
    if bad or ".." in names:
        raise StoreError(
            f"The path {'/'.join(parts)!r} inside {url} leads out of it, which a volume may not "
            "do. Correct the path in its metadata, or open the other place by its own address."
        )
    if address.scheme != "file" or address.member is not None:
        return "/".join([str(address).rstrip("/"), *names])
    path = os.path.join(address.path, *names)
    home, there = Path(os.path.realpath(address.path)), Path(os.path.realpath(path))
    if not there.is_relative_to(home):
        raise StoreError(
            f"{path} is a symbolic link to {there}, outside {address.path}. Open the other place "
            "by its own address, or replace the link by a copy."
        )
    return path
