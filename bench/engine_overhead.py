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


def main() -> None:
    """Print the figures."""
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{blocks} blocks that do nothing, best of {REPEATS} [us a block]")
    print(f"  bare loop over the grid     {loop(blocks):8.1f}")
    print(f"  serial, with ledger         {overhead(Serial(), blocks):8.1f}")
    start = time.perf_counter()
    with Processes(2) as pool:
        list(pool.map(abs, range(4)))
        started = time.perf_counter() - start
        print(f"  two processes, with ledger  {overhead(pool, blocks):8.1f}")
    print(f"  (starting two processes takes {started:.2f} s, once a workflow)")
    try:
        import distributed
    except ImportError:
        print("  dask: not installed")
        return
    from projectome.engine.dask import Dask

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        print(f"  dask, two processes         {overhead(Dask(client), blocks):8.1f}")
        futures = best(lambda: client.gather(client.map(abs, range(1000), pure=False)))
        print(f"  (dask itself, a task a block {futures / 1000 * 1e6:7.1f})")


if __name__ == "__main__":
    main()
