"""Running a step over a grid: resumable, within memory, and the same bytes wherever it runs."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import BlockGrid
from projectome.engine.events import (
    BlockDone,
    BlockFailed,
    Event,
    OnEvent,
    RunFinished,
    RunReport,
    RunStarted,
)
from projectome.engine.executors import Executor, Processes, Serial, Threads, portable
from projectome.engine.grid import (
    PROCESS,
    block_memory,
    check_room,
    room,
    worker_count,
)
from projectome.engine.ledger import Ledger, Marker, open_ledger
from projectome.engine.sinks import Sink
from projectome.engine.step import Step, describe
from projectome.errors import (
    BlockFailedError,
    CancelledError,
    MemoryBudgetError,
    MissingExtraError,
    OutputBusyError,
    ParameterError,
    StorageFullError,
    WorkerLostError,
)
from projectome.settings import format_bytes, memory_budget

BATCH_SECONDS = 0.2
"""Blocks travel in batches that take about so long: little overhead, lively progress."""
BATCH_LIMIT = 4096
FIRST_FEW = 3
"""Failed blocks that an error names."""
HOPELESS = (StorageFullError, MissingExtraError, OutputBusyError)
"""Failures that every other block would share."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch of blocks.

    Attributes
    ----------
    seconds
        How long each block took; fewer than the batch has where the rest was not tried.
    failures
        What the failed ones raised, by their place in the grid.
    peak_rss
        Largest resident memory of the process so far [bytes].
    """

    seconds: tuple[float, ...]
    failures: dict[int, Exception]
    peak_rss: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does with a batch of blocks: call, write, mark, one after the other."""

    step: Step
    grid: BlockGrid
    sink: Sink
    marker: Marker

    def __call__(self, places: tuple[int, ...]) -> Outcome:
        """Work on the blocks at these places of the grid."""
        seconds: list[float] = []
        failures: dict[int, Exception] = {}
        with self.marker.open() as mark:
            for place in places:
                start = time.perf_counter()
                try:
                    block = self.grid.nth(place)
                    self.sink.write(block, self.step(block))
                    mark(place)
                except Exception as error:  # noqa: BLE001 - whatever a step raises is reported
                    failures[place] = portable(error)
                seconds.append(time.perf_counter() - start)
                if isinstance(failures.get(place), HOPELESS):
                    break
        return Outcome(tuple(seconds), failures, peak_rss())


def peak_rss() -> int:
    """Return the largest resident memory that this process ever had [bytes]."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found is not None:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run(
    step: Step,
    grid: BlockGrid,
    *,
    sink: Sink,
    ledger: str,
    executor: str | Executor = "serial",
    workers: int | None = None,
    memory: int | str | None = None,
    retries: int = 1,
    on_event: OnEvent | None = None,
    overwrite: bool = False,
) -> RunReport:
    """Call a step on every block of a grid and keep the results.

    Blocks that an earlier run finished are skipped, if nothing that decides their content has
    changed since. Killing the run at any instant and running it again gives the same bytes.

    Parameters
    ----------
    step
        What to do.
    grid
        Blocks of whole output chunks, see `projectome.engine.grid.plan_grid`.
    sink
        Where the results go.
    ledger
        Address of a folder beside the output that remembers finished blocks.
    executor
        ``"serial"``, ``"threads"``, ``"processes"``, ``"dask://HOST:PORT"``, or an executor, which
        is left open.
    workers
        Local threads or processes; as many as fit into the memory, at most as in the settings, if
        None.
    memory
        Bytes, or a text such as ``8GB``, that all local processes together may use.
    retries
        How often a failed block is tried again.
    on_event
        Called with each event, in the calling thread; what it raises ends the run.
    overwrite
        Begin anew, and replace what another computation left.

    Returns
    -------
    RunReport
        The figures.

    Raises
    ------
    MemoryBudgetError
        Before any work: the largest block does not fit.
    OutputBusyError, OutputExistsError
        Before any work: another run works on the output, or it holds something else.
    BlockFailedError
        After all other blocks were finished: some failed, and how.
    CancelledError
        The user pressed Ctrl-C.
    StorageFullError
        At once: no other block could be written either.
    """
    if retries < 0:
        raise ParameterError(f"retries is a number from 0 on, not {retries}.")
    start = time.perf_counter()
    description = describe(step, grid)
    need, budget = block_memory(step, grid), memory_budget(memory)
    with (
        _crew(executor, workers, step.name, need, budget) as crew,
        open_ledger(ledger, description, len(grid), overwrite=overwrite) as book,
    ):
        done = book.done()
        if done.any() and not sink.holds(book.marker.key):
            book.forget()  # the output was removed, the ledger was not
            done[:] = False
        skipped = int(done.sum())
        work = Work(step, grid, sink.begin(book.marker.key, grid), book.marker)
        job = _Job(work, book, retries + 1, on_event)
        job.tell(RunStarted(step.name, len(grid), skipped, crew.workers))
        try:
            job.finish(crew, np.flatnonzero(~done))
            work.sink.end()
        except KeyboardInterrupt:
            raise CancelledError(
                f"Stopped. {skipped + job.done} of {len(grid)} blocks of step {step.name!r} are "
                "finished and kept: run the same again to go on."
            ) from None
    seconds = time.perf_counter() - start
    report = RunReport(len(grid), job.done, skipped, job.failed, seconds, job.peak_rss)
    job.tell(RunFinished(step.name, report))
    job.check(report)
    return report


@contextlib.contextmanager
def _crew(
    executor: str | Executor, workers: int | None, name: str, need: int, budget: int
) -> Iterator[Executor]:
    """Give the executor that is meant, once it is sure that the largest block fits."""
    with contextlib.ExitStack() as stack:
        crew = stack.enter_context(_opened(executor, workers, need, budget))
        what = f"The blocks of step {name!r}"
        if crew.memory is None:
            check_room(need, budget, crew.workers, what=what)
        elif need + PROCESS > crew.memory:
            raise MemoryBudgetError(
                f"{what} need {format_bytes(need + PROCESS)} each, but the workers have "
                f"{format_bytes(crew.memory)} a task. Give the workers more memory or fewer "
                "threads, or plan smaller blocks with a smaller --memory."
            )
        yield crew


def _opened(
    executor: str | Executor, workers: int | None, need: int, budget: int
) -> contextlib.AbstractContextManager[Executor]:
    """Return an executor to be closed after use, unless it is the caller's."""
    if not isinstance(executor, str):
        return contextlib.nullcontext(executor)
    if executor == "serial":
        return contextlib.nullcontext(Serial())
    if executor in ("threads", "processes"):
        count = worker_count(workers)
        while workers is None and count > 1 and need > room(budget, count):
            count -= 1
        return contextlib.nullcontext(Threads(count)) if executor == "threads" else Processes(count)
    if executor.startswith("dask://"):
        from projectome.engine.dask import Dask

        return Dask(executor)
    raise ParameterError(
        f"Unknown executor {executor!r}. Known: serial, threads, processes, dask://HOST:PORT."
    )


@dataclass(slots=True)
class _Job:
    """Bookkeeping of one run; bounded, however many blocks there are."""

    work: Work
    book: Ledger
    attempts: int
    on_event: OnEvent | None
    done: int = 0
    failed: int = 0
    peak_rss: int = 0
    size: int = 1
    first: dict[int, Exception] = field(default_factory=dict)
    tried: dict[int, int] = field(default_factory=dict)

    def tell(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)

    def finish(self, crew: Executor, queue: NDArray[np.intp]) -> None:
        """Work until each block is done or given up. Blocks tried again travel alone."""
        while len(queue):
            again: list[int] = []
            with contextlib.closing(crew.map(self.work, self._batches(queue, crew))) as results:
                for places, outcome in results:
                    again += self._take(places, outcome)
            queue = np.asarray(sorted(again), dtype=np.intp)
            self.size = 0

    def _batches(self, queue: NDArray[np.intp], crew: Executor) -> Iterator[tuple[int, ...]]:
        first = 0
        while first < len(queue):
            share = (len(queue) - first) // (2 * crew.workers)  # so that all end together
            size = max(1, min(self.size, share))
            yield tuple(queue[first : first + size].tolist())
            first += size

    def _take(self, places: tuple[int, ...], outcome: Outcome | Exception) -> list[int]:
        """Count what came of a batch, and return the blocks to try again."""
        if isinstance(outcome, (*HOPELESS, ParameterError)):
            raise outcome  # the whole batch: no block of it was even tried
        if isinstance(outcome, Exception):
            return self._lost(places, outcome)
        self.peak_rss = max(self.peak_rss, outcome.peak_rss)
        if self.size:
            pace = BATCH_SECONDS * len(outcome.seconds) / max(sum(outcome.seconds), 1e-9)
            self.size = int(max(1, min(pace, 8 * self.size, BATCH_LIMIT)))
        for place, seconds in zip(places, outcome.seconds, strict=False):
            if place not in outcome.failures:
                self._finished(place, seconds)
        return [p for p, error in outcome.failures.items() if self._failed(p, error)]

    def _lost(self, places: tuple[int, ...], error: Exception) -> list[int]:
        """Sort out a batch of which nothing came back: the marks tell what was finished."""
        marked = self.book.done()
        left = [place for place in places if not marked[place]]
        for place in set(places) - set(left):
            self._finished(place, 0.0)
        if len(left) > 1 and isinstance(error, WorkerLostError):
            return left  # any of them may be the one to blame; alone, they will show
        return [place for place in left if self._failed(place, error)]

    def _finished(self, place: int, seconds: float) -> None:
        self.done += 1
        if self.on_event is not None:
            block = self.work.grid.nth(place)
            self.on_event(BlockDone(self.work.step.name, block, seconds))

    def _failed(self, place: int, error: Exception) -> bool:
        """Count a failure and say whether the block is to be tried again."""
        if isinstance(error, HOPELESS):
            raise error
        attempt = self.tried[place] = self.tried.get(place, 0) + 1
        final = attempt >= self.attempts
        block = self.work.grid.nth(place)
        self.tell(BlockFailed(self.work.step.name, block, error, attempt, final))
        if final:
            self.failed += 1
            del self.tried[place]
            self.first[place] = error
            if len(self.first) > FIRST_FEW:
                del self.first[max(self.first)]
        return not final

    def check(self, report: RunReport) -> None:
        """Raise if blocks were given up."""
        if not report.failed:
            return
        places = sorted(self.first)
        named = "; ".join(
            f"{self.work.grid.nth(p)}: {type(self.first[p]).__name__}: {self.first[p]}"
            for p in places
        )
        more = f"; and {report.failed - len(places)} more" if report.failed > len(places) else ""
        raise BlockFailedError(
            f"{report.failed} of {report.total} blocks of step {self.work.step.name!r} failed. "
            f"First: {named}{more}. The {report.done + report.skipped} finished blocks are kept: "
            "run the same again to resume."
        ) from self.first[places[0]]
