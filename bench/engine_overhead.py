"""What the engine costs a block that does nothing, ledger included.

    python bench/engine_overhead.py [BLOCKS]

Prints microseconds a block: in this process, in two local processes, and on a dask cluster of two
local processes where dask is installed. A bare loop over the same blocks is printed beside them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from projectome.core.box import Block, BlockGrid, Box
from projectome.engine.executors import Executor, Processes, Serial
from projectome.engine.run import run
from projectome.engine.sinks import NullSink
from projectome.engine.step import BlockStep

REPEATS = 5


@dataclass(frozen=True)
class Nothing(BlockStep):
    """Does nothing."""

    name: ClassVar[str] = "nothing"

    def __call__(self, block: Block) -> None:
        """Return nothing."""


def grid(blocks: int) -> BlockGrid:
    return BlockGrid(Box.from_shape((blocks, 64, 64)), (1, 64, 64))


def best(work: Callable[[], object]) -> float:
    """Return the shortest of several times [s]."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def overhead(executor: Executor, blocks: int) -> float:
    """Return the time a block takes on an executor that is running already [us]."""

    def once() -> None:
        with tempfile.TemporaryDirectory() as folder:
            report = run(Nothing(), grid(blocks), sink=NullSink(), ledger=folder, executor=executor)
            assert report.done == blocks

    return best(once) / blocks * 1e6


def loop(blocks: int) -> float:
    """Return the time a block takes in a bare loop [us]."""

    def once() -> None:
        step = Nothing()
        for block in grid(blocks):
            step(block)

    return best(once) / blocks * 1e6


def main(arguments: list[str] | None = None) -> dict[str, object]:
    """Print the figures and return them."""
    words = sys.argv[1:] if arguments is None else arguments
    blocks = int(words[0]) if words else 10_000
    found: dict[str, object] = {"blocks": blocks, "goal_two_processes_us": 100}

    def tell(name: str, label: str, value: float) -> None:
        found[name] = value
        print(f"  {label:34}{value:8.1f}")

    print(f"{blocks} blocks that do nothing, best of {REPEATS} [us a block]")
    tell("loop_us", "bare loop over the grid", loop(blocks))
    tell("serial_us", "serial, with ledger", overhead(Serial(), blocks))
    start = time.perf_counter()
    with Processes(2) as pool:
        list(pool.map(abs, range(4)))
        found["start_two_processes_s"] = time.perf_counter() - start
        tell("two_processes_us", "two processes, with ledger", overhead(pool, blocks))
    try:
        import distributed
    except ImportError:
        found["dask_us"] = "not installed"
        return found
    from projectome.engine.dask import Dask

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        tell("dask_us", "dask, two processes", overhead(Dask(client), blocks))
        futures = best(lambda: client.gather(client.map(abs, range(1000), pure=False)))
        tell("dask_itself_us", "dask itself, a task a block", futures / 1000 * 1e6)
    return found


if __name__ == "__main__":
    main()
