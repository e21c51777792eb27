"""Listing an S3 bucket page by page, whatever its keys are, and whatever answers.

The client for everything else refuses a whole listing for one key that no path can be: one with
control characters in it, or an empty name. Public buckets have such keys. It also believes any
answer: one without end, or of a length that no memory holds. Requests here are anonymous, bounded
in size, number and time, and follow no redirect.

References
----------
Amazon S3 API, ListObjectsV2
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus, urlencode

from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    StoreError,
    TransferError,
)
from projectome.io.access import FALLBACK_REGION, Access, bucket_region
from projectome.io.address import Address
from projectome.io.failures import plain, way_out
from projectome.io.markup import elements, root_name

LARGEST = 16 * 2**20
"""Largest page that is read [bytes]; a thousand keys of 1 kB, each byte escaped, are 3 MB."""
MOST_PAGES = 5000
"""Most pages of one folder: five million names."""
PATIENCE = 30.0
"""Seconds that a page may take."""
PIECE = 2**16
TRIES = 4
ERRORS: dict[int, type[StoreError]] = {
    400: AccessDeniedError,
    401: AccessDeniedError,
    403: AccessDeniedError,
    404: NotFoundError,
}


@dataclass
class Page:
    """One answer.

    Attributes
    ----------
    folders
        Keys up to the next slash.
    files
        Keys and sizes [bytes].
    token
        Where the next page begins; empty after the last.
    """

    folders: list[str] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)
    token: str = ""


def pages(address: Address, access: Access, *, beginning: str = "") -> Iterator[Page]:
    """Yield what lies one level below an address, at most a thousand names a page.

    Parameters
    ----------
    address
        A bucket, or a prefix in it.
    access
        The endpoint and the region.
    beginning
        How the names begin.

    Yields
    ------
    Page
        Its keys are whole and unescaped.

    Raises
    ------
    StoreError
        If the store does not answer as hoped.
    """
    below = f"{address.path}/" if address.path else ""
    query = {"list-type": "2", "delimiter": "/", "encoding-type": "url"}
    query["prefix"] = below + beginning
    base = f"{_endpoint(address, access)}/{quote(address.root)}"
    token = ""
    for _ in range(MOST_PAGES):
        more = {"continuation-token": token} if token else {}
        url = f"{base}?{urlencode({**query, **more}, quote_via=quote)}"
        page = read_page(_get(url, str(address)), url=str(address))
        yield page
        if not page.token:
            return
        if page.token == token:
            raise StoreError(
                f"Cannot list {address}: the store gives the same page again and again. What "
                "answers is no sound store; check --endpoint."
            )
        token = page.token
    raise StoreError(
        f"{address} holds more than {MOST_PAGES} pages of names, which no folder should. List "
        "something inside it, or give the full address of what you mean."
    )


def _endpoint(address: Address, access: Access) -> str:
    if access.endpoint:
        return access.endpoint
    region = access.region or bucket_region(address.root) or FALLBACK_REGION
    return f"https://s3.{region}.amazonaws.com"


def _get(url: str, told: str) -> bytes:
    """Return the body of an answer; what is busy or broken is asked again."""
    for attempt in range(TRIES - 1):
        try:
            return _get_once(url, told)
        except TransferError:
            time.sleep(0.05 * 4**attempt)
    return _get_once(url, told)


class _Still(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: who lists a bucket asks where it is first."""

    def redirect_request(self, *_: object) -> None:
        """Let the answer stand as it is."""


_OPENER = urllib.request.build_opener(_Still)


def _get_once(url: str, told: str) -> bytes:
    try:
        with _OPENER.open(url, timeout=PATIENCE) as answer:
            return _body(answer, told)
    except urllib.error.HTTPError as error:
        error.close()
        kind = ERRORS.get(error.code, StoreError if error.code < 400 else TransferError)
        said = f"the store answered {error.code} {plain(str(error.reason))}"
        if error.code < 400:
            said = f"the store answered {error.code}, a redirect, which is not followed"
    except (OSError, http.client.HTTPException) as error:
        kind = TransferError
        said = plain(str(getattr(error, "reason", error))) or type(error).__name__
    raise kind(f"Cannot list {told}: {said}. {way_out(kind, said)}")


def _body(answer: http.client.HTTPResponse, told: str) -> bytes:
    """Return the body of an answer that ends, in time and within bounds."""
    parts, size, end = [], 0, time.monotonic() + PATIENCE
    while piece := answer.read1(PIECE):
        parts.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise FormatError(
                f"Cannot list {told}: a page of more than {LARGEST} bytes came. What answers is no "
                "S3 store; check --endpoint."
            )
        if time.monotonic() > end:
            raise TimeoutError("no answer in time")
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(parts)


def read_page(data: bytes, *, url: str) -> Page:
    """Return what an answer says.

    Parameters
    ----------
    data
        A ListBucketResult.
    url
        For messages.

    Raises
    ------
    FormatError
        If it is no XML that can be trusted.
    """
    page = Page()
    key, size, encoded, truncated = "", 0, False, False
    if root_name(data) != "ListBucketResult":
        raise FormatError(
            f"Cannot list {url}: what answered is no S3 store, for it sent no listing. Check "
            "--endpoint."
        )
    for element in elements(data, url=url):
        match element.path.partition("/")[2]:
            case "EncodingType":
                encoded = element.text.strip() == "url"
            case "CommonPrefixes/Prefix":
                page.folders.append(element.text)
            case "Contents/Key":
                key = element.text
            case "Contents/Size":
                size = int(element.text) if element.text.strip().isdecimal() else 0
            case "Contents":
                page.files.append((key, size))
                key, size = "", 0
            case "NextContinuationToken":
                page.token = element.text
            case "IsTruncated":
                truncated = element.text.strip() == "true"
    if encoded:
        page.folders = [unquote_plus(folder) for folder in page.folders]
        page.files = [(unquote_plus(name), size) for name, size in page.files]
    page.token = page.token if truncated else ""
    return page
