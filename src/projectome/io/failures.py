"""Errors of operating system, tensorstore and obstore, told in projectome's own words."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

import obstore.exceptions

from projectome.errors import (
    AccessDeniedError,
    NotFoundError,
    ProjectomeError,
    StorageFullError,
    StoreError,
    TransferError,
)

NOWHERE = "http://127.0.0.1:0"
"""A proxy that cannot be: requests that a redirect leads to another host end there."""
ELSEWHERE = "a redirect to another host"
FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
MISSING = {errno.ENOENT, errno.ENOTDIR}
# Status names of absl, which tensorstore puts in front of its messages.
STATUS: dict[str, type[StoreError]] = {
    "NOT_FOUND": NotFoundError,
    "PERMISSION_DENIED": AccessDeniedError,
    "UNAUTHENTICATED": AccessDeniedError,
    "RESOURCE_EXHAUSTED": TransferError,
    "UNAVAILABLE": TransferError,
    "ABORTED": TransferError,
    "DEADLINE_EXCEEDED": TransferError,
    "INTERNAL": TransferError,
    "UNKNOWN": TransferError,
}
CODES: dict[str, type[StoreError]] = {
    "401 Unauthorized": AccessDeniedError,
    "403 Forbidden": AccessDeniedError,
    "404 Not Found": NotFoundError,
    "400 Bad Request": AccessDeniedError,
    "edirect": StoreError,
    " 302 Found": StoreError,
    "non-partial": StoreError,
}
"""What obstore says without an error class of its own."""
HINTS = {
    r"400 Bad Request": (
        "The store refuses the request itself: credentials that have run out are the usual reason. "
        "Renew them, or ask with --anonymous."
    ),
    ELSEWHERE: (
        "It is not followed. Give the address that it leads to; for s3:// check --endpoint and the "
        "region too (set it with: projectome config set region NAME)."
    ),
    r"edirect|30\d \w+$": (
        "The store sends the request elsewhere. Check the address, --endpoint and the region (set "
        "it with: projectome config set region NAME)."
    ),
    r"non-partial|Range request not supported": (
        "The server does not send parts of files. Fetch the file first: projectome download URL "
        "FOLDER"
    ),
    r"Content-Length Header missing": (
        "The server does not say how long the file is. Fetch it with other tools, or use its s3:// "
        "address."
    ),
}
"""Better ways out, by what is said."""
WAY_OUT: dict[type[StoreError], str] = {
    NotFoundError: "Check the address; list what is there with: projectome ls FOLDER",
    AccessDeniedError: (
        "Check your rights to it. A private bucket needs --signed and AWS credentials that have "
        "not run out, another service its --endpoint."
    ),
    StorageFullError: "Free some space, or choose another place; what is finished is kept.",
    TransferError: "Try again: the network or the store may be busy. Check --endpoint too.",
    StoreError: "Check the address and that it names what you mean.",
}


@contextlib.contextmanager
def mapped(url: str, doing: str) -> Iterator[None]:
    """Turn errors of third parties inside the block into projectome's.

    Parameters
    ----------
    url
        What was worked on.
    doing
        The verb: ``"read"``, ``"write"``, ``"list"``.

    Raises
    ------
    StoreError
        Or one of its children. Errors of projectome pass unchanged.
    """
    try:
        yield
    except ProjectomeError:
        raise
    except (OSError, ValueError, obstore.exceptions.BaseError) as error:
        raise translate(error, url, doing) from error


def translate(error: Exception, url: str, doing: str) -> StoreError:
    """Return the error of projectome that says what a third party's means."""
    kind, said = _kind(error), summary(error)
    return kind(f"Cannot {doing} {plain(url)}: {said}. {way_out(kind, said)}")


def way_out(kind: type[StoreError], said: str) -> str:
    """Return what to do about an error of a kind, for which a store said something."""
    return next((hint for sign, hint in HINTS.items() if re.search(sign, said)), WAY_OUT[kind])


def _kind(error: Exception) -> type[StoreError]:
    if isinstance(error, TimeoutError):
        return TransferError
    if isinstance(error, (FileNotFoundError, obstore.exceptions.NotFoundError)):
        return NotFoundError
    if isinstance(error, OSError):
        table = ((FULL, StorageFullError), (DENIED, AccessDeniedError), (MISSING, NotFoundError))
        return next((kind for codes, kind in table if error.errno in codes), StoreError)
    if _leads_elsewhere(error):
        return StoreError
    exceptions = obstore.exceptions
    if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        return AccessDeniedError
    text = str(error)
    if isinstance(error, exceptions.GenericError):
        return next((kind for code, kind in CODES.items() if code in text), TransferError)
    if "No space left" in text or "quota exceeded" in text.lower():
        return StorageFullError
    if "ermission denied" in text:
        return AccessDeniedError
    status = re.match(r"([A-Z_]+): ", text)
    return STATUS.get(status[1], StoreError) if status else StoreError


def summary(error: Exception) -> str:
    """Return the first line of an error without the innards of the library."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if _leads_elsewhere(error):
        return ELSEWHERE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r"\s*\[(tensorstore_spec|source locations)=.*", "", str(error), flags=re.DOTALL)
    first = re.split(r"\n|: <", text.strip(), maxsplit=1)[0]
    first = re.sub(r"Generic (S3|GCS|HTTP) error: |Error performing list request: ", "", first)
    first = re.sub(r"Error performing [A-Z]+ \S+ in \S+(, after .*?)? +- ", "", first)
    first = re.sub(r"Server returned non-2xx status code: ", "the store answered ", first)
    return plain(first[:400]).rstrip(".: ") or type(error).__name__


def _leads_elsewhere(error: Exception) -> bool:
    # The place that a connection failed to reach stands in a line of the client's own account.
    place = NOWHERE.removeprefix("http://")
    return bool(re.search(rf"^\s+{place},$", str(error), re.MULTILINE))


def plain(text: str) -> str:
    """Return a text without what would steer a terminal; names out of a store may be in it."""
    return "".join(c if c.isprintable() else "?" for c in text)
