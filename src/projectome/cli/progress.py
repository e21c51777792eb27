"""Progress of runs on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from projectome.cli.console import LOG, STDERR
from projectome.cli.options import RunOptions, TalkOptions
from projectome.engine.events import (
    BlockDone,
    BlockFailed,
    Event,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from projectome.workflows.job import Job

QUIET_SECONDS = 10.0
"""On plain output a running step says how far it is no more often than this."""


class Reporter:
    """Shows the events of runs; use it as a context and pass it as `on_event`.

    Parameters
    ----------
    talk
        What the user asked for; nothing is shown if quiet, everything goes to the log.

    Attributes
    ----------
    ran
        Whether there was anything to do.
    """

    def __init__(self, talk: TalkOptions) -> None:
        self.ran = False
        self._quiet = talk.quiet
        self._bar: Progress | None = None
        self._tasks: dict[str, object] = {}
        self._counts: dict[str, list[int]] = {}
        self._spoke = 0.0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Reporter:
        if STDERR.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description:22}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                console=STDERR,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case StageStarted():
                place = f"[{event.number}/{event.count}] " if event.count else ""
                self._say(place + event.name)
            case StageFinished():
                LOG.info("%s took %.1f s", event.name, event.seconds)
            case RunStarted():
                self._start(event)
            case BlockDone():
                self._advance(event)
            case BlockFailed() if event.final:
                self._say(f"    {event.step}: {event.block} failed: {event.error}")
            case BlockFailed():
                LOG.warning(
                    "%s: %s, attempt %d: %s", event.step, event.block, event.attempt, event.error
                )
            case RunFinished():
                self._finish(event)

    def _say(self, text: str) -> None:
        LOG.info("%s", text)
        if not self._quiet:
            STDERR.print(text)

    def _start(self, event: RunStarted) -> None:
        self.ran = True
        self._counts[event.step] = [event.skipped, event.total]
        self._first = None
        self._spoke = time.monotonic()
        if event.skipped:
            self._say(
                f"    {event.step}: {event.skipped:,} of {event.total:,} blocks are done already"
            )
        if self._bar is not None:
            self._tasks[event.step] = self._bar.add_task(
                event.step, total=event.total, completed=event.skipped
            )

    def _advance(self, event: BlockDone) -> None:
        counts = self._counts[event.step]
        counts[0] += 1
        if self._first is None:  # the first block pays for starting the workers
            self._first = time.monotonic(), counts[0]
        if self._bar is not None:
            self._bar.advance(self._tasks[event.step])  # type: ignore[arg-type]
        elif counts[0] < counts[1] and time.monotonic() - self._spoke > QUIET_SECONDS:
            self._spoke = time.monotonic()
            began, before = self._first
            left = ""
            if counts[0] > before:
                seconds = (self._spoke - began) / (counts[0] - before) * (counts[1] - counts[0])
                left = f", {_about(seconds)} to go"
            self._say(f"    {event.step}: {counts[0]:,} of {counts[1]:,} blocks{left}")

    def _finish(self, event: RunFinished) -> None:
        report = event.report
        if self._bar is not None:
            self._bar.remove_task(self._tasks.pop(event.step))  # type: ignore[arg-type]
        blocks = "1 block" if report.done == 1 else f"{report.done:,} blocks"
        text = f"    {event.step}: {blocks} in {report.seconds:.1f} s"
        self._say(text + (f", {report.failed} failed" if report.failed else ""))


def _about(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def job_of(run: RunOptions, reporter: Reporter | None = None) -> Job:
    """Return where and how to run, from the options."""
    return Job(run.executor, run.workers, run.memory, reporter, run.overwrite)
