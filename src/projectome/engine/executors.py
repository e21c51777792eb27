"""Where tasks are carried out: in this process, in threads of it, or in worker processes.

An executor yields each task with its result, or with the exception that it raised: failures are
values, so that they travel through pipes and clusters, and one of them never ends the others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import selectors
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from projectome.engine.grid import worker_count
from projectome.errors import ParameterError, RunError, WorkerLostError

T = TypeVar("T")
Results: TypeAlias = Generator[tuple[T, Any], None, None]
"""Tasks with what came of them. Closing it in the middle stops the work."""

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PROJECTOME_THREADS",  # tensorstore, see `projectome.io.clients.context`
)
FREED = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""For glibc (others do not look): the arrays of a finished block go back to the system and do not
lie about in pieces. A worker is smaller by about 50 to 100 MB, and slower by 2 %."""
TRACEBACK = "In the worker:"
"""Begins the note that an error takes home."""
GRACE = 5.0
"""Seconds that a worker has to end its task when the pool closes."""


@runtime_checkable
class Executor(Protocol):
    """Anything that carries out tasks."""

    @property
    def workers(self) -> int:
        """How many tasks it carries out at a time."""

    @property
    def memory(self) -> int | None:
        """Bytes that one task may use; None where all share the memory of this machine."""

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task, in any order, with its result or the exception that it raised.

        Parameters
        ----------
        fn
            What to do; a picklable function of one task.
        tasks
            Picklable tasks. They are taken as they are needed, a bounded number in advance.
        """


def attempt(fn: Callable[[T], Any], task: T) -> Any:
    """Return the result of a call, or the exception that it raised."""
    try:
        return fn(task)
    except Exception as error:  # noqa: BLE001 - whatever a step raises is a value from here on
        return error


def portable(error: Exception) -> Exception:
    """Return an exception that survives pickling, with the traceback as a note.

    Returns
    -------
    Exception
        The same one where possible, else a `RunError` that tells its type and text.
    """
    notes = getattr(error, "__notes__", [])
    if not any(note.startswith(TRACEBACK) for note in notes):  # an error may pass here twice
        error.add_note(f"{TRACEBACK} {''.join(traceback.format_exception(error)).rstrip()}")
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of our own
        if type(copy) is type(error) and str(copy) == str(error):
            return error
    except Exception:  # noqa: BLE001 - an exception may refuse in any way
        pass
    substitute = RunError(f"{type(error).__name__}: {error}")
    for note in error.__notes__:
        substitute.add_note(note)
    return substitute


@dataclass(frozen=True, slots=True)
class Serial:
    """Carry out tasks one after the other in this process."""

    workers: int = 1
    memory: int | None = None

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task, in order, with its result or the exception that it raised."""
        for task in tasks:
            yield task, attempt(fn, task)


class Threads:
    """Carry out tasks in threads of this process.

    For work that waits for stores or runs outside the interpreter, such as copying: threads start
    at once and share caches. For work in Python itself `Processes` are faster.

    Parameters
    ----------
    workers
        How many; see `projectome.engine.grid.worker_count`.
    """

    memory: int | None = None

    def __init__(self, workers: int | None = None) -> None:
        self.workers = worker_count(workers)
        if self.workers < 1:
            raise ParameterError(f"There has to be at least one worker, not {workers}.")

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task, in any order, with its result or the exception that it raised."""
        source = iter(tasks)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="projectome") as pool:
            busy = {pool.submit(attempt, fn, t): t for t in islice(source, self.workers)}
            while busy:
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    task = busy.pop(future)
                    busy |= {pool.submit(attempt, fn, t): t for t in islice(source, 1)}
                    yield task, future.result()


class Processes:
    """Carry out tasks in local processes, which are started once and kept until `close`.

    A worker that dies, for instance because the system ran out of memory, costs its own task: it
    comes back as a `WorkerLostError`, and a new worker takes its place.

    Parameters
    ----------
    workers
        How many; see `projectome.engine.grid.worker_count`.
    threads
        Threads that the numerical libraries may use in each; the cores shared out by default.
    """

    memory: int | None = None

    def __init__(self, workers: int | None = None, *, threads: int | None = None) -> None:
        self.workers = worker_count(workers)
        if self.workers < 1:
            raise ParameterError(f"There has to be at least one worker, not {workers}.")
        self.threads = threads or max(1, worker_count(0) // self.workers)
        self._idle: list[_Worker] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task, in any order, with its result or the exception that it raised.

        Raises
        ------
        ParameterError
            If `fn` cannot be sent to another process.
        RunError
            If worker processes cannot be started.
        """
        payload = pickled(fn)
        source = iter(tasks)
        with selectors.DefaultSelector() as selector:
            busy: dict[_Worker, T] = {}

            def feed(worker: _Worker, task: T) -> None:
                worker.send(payload, task)
                selector.register(worker.connection.fileno(), selectors.EVENT_READ, worker)
                busy[worker] = task

            try:
                for task in source:
                    feed(self._take(), task)
                    if len(busy) == self.workers:
                        break
                while busy:
                    for key, _ in selector.select():
                        worker: _Worker = key.data
                        outcome = worker.receive()
                        if outcome is _READY:
                            continue
                        task = busy.pop(worker)
                        selector.unregister(key.fd)
                        if not worker.connection.closed:
                            self._idle.append(worker)
                        following = next(source, _END)
                        if following is not _END:
                            feed(self._take(), following)  # type: ignore[arg-type]
                        yield task, outcome
            finally:
                for worker in busy:  # only if the caller stopped in the middle
                    worker.connection.close()
                _end(list(busy))

    def _take(self) -> _Worker:
        return self._idle.pop() if self._idle else _Worker(self.threads)

    def close(self) -> None:
        """End the workers; `map` starts new ones."""
        workers, self._idle = self._idle, []
        for worker in workers:
            worker.connection.close()
        _end(workers)


_END, _READY = object(), object()


def pickled(fn: Callable[..., Any]) -> bytes:
    """Return a function as bytes for another process.

    Raises
    ------
    ParameterError
        If that is not possible.
    """
    try:
        return pickle.dumps(fn, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ParameterError(
            f"The step cannot be sent to another process: {error}. Define its class at the top "
            "level of a module and give it plain values as fields, or use the executor 'serial'."
        ) from error


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._payload: bytes | None = None
        self._lost: WorkerLostError | None = None
        self.process: BaseProcess = context.Process(target=_serve, args=(other,), daemon=True)
        with _environment({**dict.fromkeys(THREAD_LIMITS, str(threads)), **FREED}):
            self.process.start()
        other.close()
        self._ready = False

    def send(self, payload: bytes, task: object) -> None:
        """Hand over a task, and the function where the worker does not have it yet."""
        known = self._payload == payload
        message = pickle.dumps((None if known else payload, task), pickle.HIGHEST_PROTOCOL)
        # A worker that is dead already is found out when its answer is waited for.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(message)
        self._payload = payload

    def receive(self) -> Any:
        """Return what the worker made of its task, or that it is ready to begin."""
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            return self._death()
        if not self._ready:
            self._ready = True
            return _READY
        return received(data)

    def _death(self) -> WorkerLostError:
        self.connection.close()
        self.process.join(GRACE)
        code = self.process.exitcode
        if not self._ready:
            raise RunError(
                f"A worker process ended before it could work (exit status {code}); its message is "
                "above. A script that uses worker processes has to keep its own work below "
                "'if __name__ == \"__main__\":'. Or use the executor 'serial'."
            )
        how = f"exit status {code}"
        if code is not None and code < 0:
            how = f"signal {-code}, {signal.Signals(-code).name}"
        return WorkerLostError(
            f"The worker process was lost ({how}), often for lack of memory. Give fewer --workers, "
            "or less --memory for smaller blocks."
        )


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set already, for processes started in the block."""
    mine = {name: value for name, value in values.items() if name not in os.environ}
    with _starting:
        os.environ.update(mine)
        try:
            yield
        finally:
            for name in mine:
                os.environ.pop(name, None)


_starting = threading.Lock()


def _end(workers: list[_Worker]) -> None:
    """Wait for workers whose pipes are closed; those that take too long are killed."""
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()


def _serve(connection: Connection) -> None:
    """Carry out tasks from a pipe until it is closed; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    fn: Callable[[Any], Any] | Exception = RunError("No function was sent.")
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            payload, task = pickle.loads(connection.recv_bytes())  # noqa: S301 - our driver's
            if payload is not None:
                fn = unpickled(payload)
            outcome = fn if isinstance(fn, Exception) else attempt(fn, task)
            connection.send_bytes(answer(outcome))


def unpickled(payload: bytes) -> Callable[[Any], Any] | Exception:
    """Return a function from what `pickled` made of it, or why it cannot be had here."""
    try:
        return cast("Callable[[Any], Any]", pickle.loads(payload))  # noqa: S301 - our driver's
    except Exception as error:  # noqa: BLE001 - a class may refuse in any way
        return ParameterError(
            f"The step cannot be read in a worker process: {error}. Define its class in a module "
            "that workers can import, or use the executor 'serial'."
        )


def answer(outcome: Any) -> bytes:
    """Return the outcome of a task as bytes for the driver, whatever it is."""
    if isinstance(outcome, Exception):
        outcome = portable(outcome)
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - a result may refuse in any way
        return pickle.dumps(portable(error), pickle.HIGHEST_PROTOCOL)


def received(data: bytes) -> Any:
    """Return the outcome of a task from what `answer` made of it."""
    try:
        return pickle.loads(data)  # noqa: S301 - from a process of our own
    except Exception as error:  # noqa: BLE001 - a class may refuse in any way
        return RunError(f"The result of a task cannot be read back: {error!r}")


def _die_with_parent() -> None:
    """End this process at once when its driver is gone, so that nobody writes behind its back."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
