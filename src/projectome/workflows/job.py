"""How a workflow runs its steps: executor, memory, events, and where marks are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike

from projectome.core.box import BlockGrid, Box, triple
from projectome.engine.events import OnEvent, StageFinished, StageStarted
from projectome.engine.executors import Executor, Processes
from projectome.engine.grid import plan_grid
from projectome.engine.ledger import read_description
from projectome.engine.run import run
from projectome.engine.sinks import Sink
from projectome.engine.step import BlockStep, describe


@dataclass(frozen=True)
class Job:
    """Where and how the steps of a workflow run; none of it changes a result.

    Attributes
    ----------
    executor
        ``"serial"``, ``"threads"``, ``"processes"``, ``"dask://HOST:PORT"``, or an executor.
    workers
        Blocks at a time; None as set, or one a core.
    memory
        What all processes together may use; None as set, or most of what is free.
    on_event
        Called with each event.
    overwrite
        Replace a study, or another output, that other parameters made.
    """

    executor: str | Executor = "processes"
    workers: int | None = None
    memory: int | str | None = None
    on_event: OnEvent | None = None
    overwrite: bool = False

    @contextmanager
    def open(self) -> Iterator[Job]:
        """Start the workers once for all steps of a workflow."""
        if self.executor != "processes":
            yield self
            return
        with Processes(self.workers) as pool:
            yield Job(pool, self.workers, self.memory, self.on_event, self.overwrite)

    @contextmanager
    def stage(self, name: str, number: int, count: int) -> Iterator[None]:
        """Announce a stage and how long it took."""
        began = time.monotonic()
        if self.on_event is not None:
            self.on_event(StageStarted(name, number, count))
        yield
        if self.on_event is not None:
            self.on_event(StageFinished(name, time.monotonic() - began))

    def grid(
        self,
        step: BlockStep | type[BlockStep],
        shape: ArrayLike,
        *,
        chunks: int | ArrayLike,
        ledger: Path,
    ) -> BlockGrid:
        """Cut a volume into blocks for a step; see `plan_grid`. A class stands for no halo."""
        size = triple(chunks, name="chunks")
        if isinstance(step, type):
            halo, bytes_per_voxel = (0, 0, 0), float(step.bytes_per_voxel)
        else:
            # Of small blocks a voxel takes most.
            halo = step.halo()
            block = BlockGrid(Box.from_shape(shape), size, halo)[(0, 0, 0)]
            bytes_per_voxel = step.memory(block) / block.read.size
        return plan_grid(
            shape,
            chunks=size,
            halo=halo,
            bytes_per_voxel=bytes_per_voxel,
            memory=self.memory,
            workers=self.workers,
            ledger=str(ledger / step.name),
        )

    def run(self, step: BlockStep, grid: BlockGrid, sink: Sink, ledger: Path) -> None:
        """Run a step over a grid.

        Blocks that an earlier run of the same finished are kept, those of another are replaced:
        whose outputs these are was settled before.
        """
        place = str(ledger / step.name)
        run(
            step,
            grid,
            sink=sink,
            ledger=place,
            executor=self.executor,
            workers=self.workers,
            memory=self.memory,
            on_event=self.on_event,
            overwrite=read_description(place) not in (None, describe(step, grid)),
        )
