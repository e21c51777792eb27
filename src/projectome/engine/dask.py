"""Carrying out tasks on a dask.distributed cluster; needs the extra ``dask``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from projectome.engine.executors import Results, T, answer, attempt, pickled, received, unpickled
from projectome.errors import MissingExtraError, ParameterError, RunError, WorkerLostError

if TYPE_CHECKING:
    from types import TracebackType

AHEAD = 2
"""Tasks a thread of the cluster that are sent in advance."""
PATIENCE = 10.0
"""Seconds to wait for the scheduler."""


class Dask:
    """Carry out tasks on the workers of a dask.distributed cluster.

    The step, its inputs, the sink and the ledger have to be reachable from the workers: object
    stores, or a file system that all of them share. A task whose worker dies is sent to another
    one by dask, and comes back as a `WorkerLostError` when that happens too often.

    Parameters
    ----------
    cluster
        ``dask://HOST:PORT`` or ``tcp://HOST:PORT`` of a scheduler, or a `distributed.Client`,
        which is left open.

    Raises
    ------
    MissingExtraError
        If dask.distributed is not installed.
    RunError
        If the scheduler does not answer.
    """

    def __init__(self, cluster: Any) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtraError("Running on a dask cluster", "distributed", "dask") from None
        self._own = isinstance(cluster, str)
        if isinstance(cluster, str):
            address = cluster.replace("dask://", "tcp://", 1)
            try:
                cluster = Client(address, timeout=PATIENCE, set_as_default=False)
            except (OSError, ValueError) as error:
                raise RunError(
                    f"No dask scheduler answers at {address}: {error}. Check the address, and "
                    "start one with: dask scheduler"
                ) from None
        if not isinstance(cluster, Client):
            raise ParameterError(
                f"A dask cluster is dask://HOST:PORT or a distributed.Client, not {cluster!r}."
            )
        self.client = cluster

    def __enter__(self) -> Dask:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, if this object has joined it."""
        if self._own:
            self.client.close()

    def _workers(self) -> list[dict[str, Any]]:
        return list(self.client.scheduler_info(n_workers=-1)["workers"].values())

    @property
    def workers(self) -> int:
        """How many tasks the cluster carries out at a time now; at least one."""
        return max(1, sum(worker["nthreads"] for worker in self._workers()))

    @property
    def memory(self) -> int | None:
        """Bytes that one task may use on the smallest worker; a very large number if unlimited."""
        limits = [w["memory_limit"] // w["nthreads"] for w in self._workers() if w["memory_limit"]]
        return min(limits, default=2**62)

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task, in any order, with its result or the exception that it raised.

        Raises
        ------
        ParameterError
            If `fn` cannot be sent to another process.
        RunError
            If the scheduler is gone.
        """
        from distributed import as_completed

        payload, source = pickled(fn), iter(tasks)
        results = as_completed(loop=self.client.loop)
        going: dict[Any, T] = {}
        suspects: list[T] = []

        def send(tasks: Iterable[T]) -> None:
            for task in tasks:
                future = self.client.submit(_carry_out, payload, task, pure=False)
                going[future] = task
                results.add(future)

        try:
            send(islice(source, AHEAD * self.workers))
            for future in results:
                task, outcome = going.pop(future), _outcome(future)
                future.release()
                send(islice(source, 1))
                if isinstance(outcome, WorkerLostError):
                    self._check_scheduler()
                    suspects.append(task)
                else:
                    yield task, outcome
            for task in suspects:
                # Dask blames all tasks that waited on a lost worker; the guilty one falls alone.
                send([task])
                future = next(results)
                yield going.pop(future), _outcome(future)
        finally:
            if self.client.status == "running":
                self.client.cancel(list(going))

    def _check_scheduler(self) -> None:
        if self.client.status != "running":
            raise RunError(
                "The dask scheduler is gone. What is finished is kept: start the cluster, and run "
                "the same again to go on."
            )


def _carry_out(payload: bytes, task: Any) -> bytes:
    fn = unpickled(payload)
    return answer(fn if isinstance(fn, Exception) else attempt(fn, task))


def _outcome(future: Any) -> Any:
    try:
        data = future.result()
    except Exception as error:  # noqa: BLE001 - whatever the cluster says
        return WorkerLostError(
            f"The task was lost on the cluster: {type(error).__name__}: {error}. Look at the "
            "scheduler's dashboard for the worker's end; often it is a lack of memory."
        )
    return received(data)
