"""What is shown on standard error while the answer of a store is waited for."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from projectome.cli.console import LOG, STDERR
from projectome.cli.options import TalkOptions

EVERY = 10.0
"""On plain output something is said no more often than this [s]."""


class Waiting:
    """Shows what is going on: a line that moves on a terminal, now and then a line elsewhere.

    Parameters
    ----------
    talk
        What the user asked for; nothing is shown if quiet.
    """

    def __init__(self, talk: TalkOptions) -> None:
        self._quiet = talk.quiet
        self._text = ""
        self._began = time.monotonic()
        self._over = threading.Event()
        self._line = STDERR.status("") if STDERR.is_terminal and not talk.quiet else None
        self._speaker = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> Waiting:
        if self._line is not None:
            self._line.start()
        elif not self._quiet:
            self._speaker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._line is not None:
            self._line.stop()
        elif self._speaker.is_alive():
            self._speaker.join()

    def show(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Show what is being done, how much of it is done, and of how much."""
        count = f"{done:,} of {total:,}" if total is not None else f"{done:,}" if done else ""
        self._text = f"{text}: {count}" if count else text
        if self._line is not None:
            self._line.update(self._text)

    def _speak(self) -> None:
        while not self._over.wait(EVERY):
            text = f"{self._text}, after {time.monotonic() - self._began:.0f} s"
            LOG.info("%s", text)
            STDERR.print(text)
