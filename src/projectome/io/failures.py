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
WAY_OUT: dict[type[StoreError], str] = {
    NotFoundError: "Check the address; list what is there with: projectome ls FOLDER",
    AccessDeniedError: (
        "Check your rights to it. A private bucket needs --signed and AWS credentials, another "
        "service its --endpoint."
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
    kind = _kind(error)
    return kind(f"Cannot {doing} {url}: {summary(error)}. {WAY_OUT[kind]}")


def _kind(error: Exception) -> type[StoreError]:
    if isinstance(error, TimeoutError):
        return TransferError
    if isinstance(error, (FileNotFoundError, obstore.exceptions.NotFoundError)):
        return NotFoundError
    if isinstance(error, OSError):
        table = ((FULL, StorageFullError), (DENIED, AccessDeniedError), (MISSING, NotFoundError))
        return next((kind for codes, kind in table if error.errno in codes), StoreError)
    exceptions = obstore.exceptions
    if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        return AccessDeniedError
    if isinstance(error, exceptions.GenericError):
        denied = re.search(r"\b(401 Unauthorized|403 Forbidden)\b", str(error))
        return AccessDeniedError if denied else TransferError
    text = str(error)
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
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r"\s*\[(tensorstore_spec|source locations)=.*", "", str(error), flags=re.DOTALL)
    first = re.split(r"\n|: <", text.strip(), maxsplit=1)[0]
    # Names out of a store may be in it, and the text goes to a terminal.
    plain = "".join(c if c.isprintable() else "?" for c in first[:400])
    return (plain or type(error).__name__).rstrip(".")
