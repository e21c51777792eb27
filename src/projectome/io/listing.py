"""Listing what object stores hold, in bounded time and never the same again.

`projectome.io.s3_listing` lists anonymous S3; this is for all others. The client asks for page
after page by itself, as often as a store says that there are more: also for pages without a name in
them, and for a page it gave before.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import obstore

from projectome.errors import StoreError
from projectome.io.failures import mapped, translate

PATIENCE = 60.0
"""Seconds that some more names may take."""
LONGEST = 120.0
"""Seconds that all names of one level may take."""
AT_A_TIME = 1000


def names_in_folder(store: Any, prefix: str | None, *, url: str) -> Any:
    """Return the objects and the common prefixes one level below a prefix, as obstore does.

    Parameters
    ----------
    store
        Of obstore.
    prefix
        Where.
    url
        Its address, for the error.

    Raises
    ------
    TransferError
        If it takes longer than any folder should.
    StoreError
        If the store does not answer as hoped.
    """
    return _in_time(lambda: obstore.list_with_delimiter_async(store, prefix), url, LONGEST)


def names_below(
    store: Any, prefix: str | None, *, url: str, offset: str | None = None, count: int = AT_A_TIME
) -> Iterator[Any]:
    """Yield lists of the objects below a prefix, as obstore does.

    Parameters
    ----------
    store
        Of obstore.
    prefix
        Where.
    url
        Its address, for the error.
    offset
        Only what comes after this key.
    count
        How many of them at a time.

    Raises
    ------
    TransferError
        If it takes longer than any page should.
    StoreError
        If the store gives again what it gave before, or does not answer as hoped.
    """
    with mapped(url, "list"):
        stream = obstore.list(store, prefix, offset=offset, chunk_size=count)
    known, taken, again = "", 0, 1
    while True:
        try:
            page = _in_time(stream.__anext__, url, PATIENCE)
        except StopAsyncIteration:
            return
        # Brent (1980): a cycle of any length comes back to a place that is chosen ever later.
        first = str(page[0]["path"])
        if first == known:
            raise StoreError(
                f"Cannot list {url}: the store gives {first!r} again and again. What answers is no "
                "sound store; check --endpoint."
            )
        taken += 1
        if taken == again:
            known, again = first, 2 * again
        yield page


def _in_time(ask: Callable[[], Awaitable[Any]], url: str, seconds: float) -> Any:
    """Return an answer, or stop asking."""

    async def asked() -> Any:
        return await asyncio.wait_for(ask(), seconds)

    with mapped(url, "list"):
        answer = asyncio.run_coroutine_threadsafe(asked(), _loop(os.getpid()))
        try:
            return answer.result()
        except TimeoutError as error:
            raise translate(error, url, "list") from error


@functools.cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """Return a loop that runs beside the others of this process, for a notebook has its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="listing", daemon=True).start()
    return loop
