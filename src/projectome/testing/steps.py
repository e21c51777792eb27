"""What every block-wise step has to keep, as tests to subclass."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import gc
import json
import multiprocessing
import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from projectome.core.box import BlockGrid, Box, Triple
from projectome.core.region_graph import RegionGraph
from projectome.engine.executors import Executor, Processes, Results, Serial, T, attempt
from projectome.engine.run import run
from projectome.engine.sinks import ArraySink, Sink, Sinks, TableSink
from projectome.engine.step import Step, parameters, step_key

SMALL_CHANGE = 2**20
"""Memory that the interpreter takes for itself during a call [bytes]."""


@dataclass(frozen=True)
class ArrayFile:
    """A .npy file that blocks are written into: the smallest writer for an `ArraySink`.

    Attributes
    ----------
    url
        Path of the folder that it lies in.
    block_multiple
        Voxels that have to be written together.
    """

    url: str
    block_multiple: Triple = (1, 1, 1)

    @property
    def finest(self) -> str:
        """Path of the folder that its voxels go to."""
        return str(Path(self.url, "0"))

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self.finest, "array.npy")

    @classmethod
    def create(cls, folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> ArrayFile:
        """Return a writer into a file of zeros, which is made if it is not there."""
        writer = cls(str(folder))
        if not writer.path.exists():
            writer.path.parent.mkdir(parents=True)
            np.lib.format.open_memmap(writer.path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        return writer

    def write(self, box: Box, array: NDArray[np.generic]) -> None:
        """Write the voxels of a box; nothing is converted."""
        file = np.lib.format.open_memmap(self.path, mode="r+")
        assert array.dtype == file.dtype, f"{array.dtype} is written into a file of {file.dtype}"
        file[(..., *box.slices)] = array

    def read(self) -> NDArray[np.generic]:
        """Return everything."""
        return np.asarray(np.load(self.path))


class Backwards:
    """Carries out the tasks in reverse order."""

    workers, memory = 1, None

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task with what came of it."""
        yield from Serial().map(fn, reversed(list(tasks)))


class Twice:
    """Carries out every task twice."""

    workers, memory = 1, None

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield each task once, with what came of the second time."""
        for task in tasks:
            attempt(fn, task)
            yield task, attempt(fn, task)


class Interrupted:
    """Presses Ctrl-C after a few tasks."""

    workers, memory = 1, None

    def map(self, fn: Callable[[T], Any], tasks: Iterable[T]) -> Results[T]:
        """Yield some tasks."""
        for count, task in enumerate(tasks):
            if count == 2:
                raise KeyboardInterrupt
            yield task, attempt(fn, task)


class StepContract:
    """What every step has to keep.

    Subclass it with a name that pytest collects; say what the step is, on which grid it is tried,
    and, if it is not a table, where its results go::

        class TestPeaks(StepContract):
            def grid(self):
                return BlockGrid(Box.from_shape((40, 50, 60)), (16, 16, 16), (3, 3, 3))

            def step(self, grid):
                return Peaks(volume=VolumeSource(...), threshold=3.0)

    Attributes
    ----------
    changes
        Other valid values of fields, by name, for those where the contract cannot make one up:
        it does for numbers and truth values.
    tolerance
        Relative difference allowed between blocks and the whole, for floating point.
    """

    changes: ClassVar[Mapping[str, object]] = {}
    tolerance: ClassVar[float] = 0.0

    def grid(self) -> BlockGrid:
        """Return a grid of several blocks on the volume to try."""
        raise NotImplementedError("Return the grid to try in 'grid'.")

    def step(self, grid: BlockGrid) -> Step:
        """Return the step; most do not look at the grid."""
        raise NotImplementedError("Return the step to try in 'step'.")

    def sink(self, folder: Path, grid: BlockGrid) -> Sink:
        """Return where results go; make it new if it is not there. A table by default."""
        return TableSink(str(folder))

    def merged(self, sink: Any) -> object:
        """Return what a sink holds, such that however the volume was cut, it is the same."""
        return held(sink)

    def _run(
        self, folder: Path, executor: str | Executor = "serial", grid: BlockGrid | None = None
    ) -> Any:
        grid = grid or self.grid()
        sink = self.sink(folder / "out", grid)
        run(self.step(grid), grid, sink=sink, ledger=str(folder / "ledger"), executor=executor)
        return sink

    def test_blocks_make_the_whole(self, tmp_path: Path) -> None:
        """The blocks with their halo give what one block of the whole volume gives."""
        grid = self.grid()
        assert len(grid) > 1, "the grid to try has to have several blocks"
        assert all(a >= b for a, b in zip(grid.halo, self.step(grid).halo(), strict=True))
        whole = BlockGrid(grid.domain, grid.domain.shape, grid.halo)
        parts = self._run(tmp_path / "parts")
        one = self._run(tmp_path / "whole", grid=whole)
        assert_same(self.merged(parts), self.merged(one), self.tolerance)

    def test_order_and_repetition_change_nothing(self, tmp_path: Path) -> None:
        """Blocks worked on in reverse, or twice, leave the same bytes."""
        self._run(tmp_path / "once")
        self._run(tmp_path / "backwards", Backwards())
        self._run(tmp_path / "twice", Twice())
        expected = contents(tmp_path / "once" / "out")
        assert contents(tmp_path / "backwards" / "out") == expected
        assert contents(tmp_path / "twice" / "out") == expected

    def test_processes_leave_the_same_bytes(self, tmp_path: Path) -> None:
        """Two worker processes leave the same bytes as one process."""
        self._run(tmp_path / "serial")
        self._run(tmp_path / "processes", two_processes())
        assert contents(tmp_path / "processes" / "out") == contents(tmp_path / "serial" / "out")

    @pytest.mark.cluster
    @pytest.mark.filterwarnings("ignore::ResourceWarning")  # event loops of the cluster
    def test_a_cluster_leaves_the_same_bytes(self, tmp_path: Path) -> None:
        """Two threads of a dask cluster leave the same bytes as one process."""
        distributed = pytest.importorskip("distributed")
        from projectome.engine.dask import Dask

        self._run(tmp_path / "serial")
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            self._run(tmp_path / "cluster", Dask(client))
        assert contents(tmp_path / "cluster" / "out") == contents(tmp_path / "serial" / "out")

    def test_a_stopped_run_goes_on(self, tmp_path: Path) -> None:
        """It ends in the same bytes, repeats nothing, and a third time there is nothing to do."""
        from projectome.errors import CancelledError

        grid = self.grid()
        step, ledger = self.step(grid), str(tmp_path / "stopped" / "ledger")
        sink = self.sink(tmp_path / "stopped" / "out", grid)
        with pytest.raises(CancelledError, match="run the same again"):
            run(step, grid, sink=sink, ledger=ledger, executor=Interrupted())
        before = run(step, grid, sink=sink, ledger=ledger)
        again = run(step, grid, sink=sink, ledger=ledger)
        assert before.skipped >= 1
        assert (again.done, again.skipped) == (0, len(grid))
        self._run(tmp_path / "straight")
        assert contents(tmp_path / "stopped" / "out") == contents(tmp_path / "straight" / "out")

    def test_it_travels(self) -> None:
        """A pickled step is the same step, under the same key."""
        grid = self.grid()
        step = self.step(grid)
        copy = pickle.loads(pickle.dumps(step))  # noqa: S301 - bytes of our own
        assert copy == step
        assert step_key(copy, grid) == step_key(step, grid)

    def test_parameters_are_plain_and_all_count(self) -> None:
        """They can be written down, and changing any of them changes the key."""
        grid = self.grid()
        step = self.step(grid)
        plain = parameters(step)
        assert json.loads(json.dumps(plain)) == plain
        for name in plain:
            other = dataclasses.replace(step, **{name: self._other(step, name)})  # type: ignore[type-var]
            assert step_key(other, grid) != step_key(step, grid), f"{name} does not count"

    def _other(self, step: Step, name: str) -> object:
        value = getattr(step, name)
        if name in self.changes:
            return self.changes[name]
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return value + 1 if isinstance(value, int) else value * 1.25 or 1.0
        raise AssertionError(f"Name another value of {name!r} in 'changes'; it is {value!r} now.")

    def test_memory_is_an_upper_bound(self) -> None:
        """No call takes more than the step says, neither in Python nor in the process."""
        grid = self.grid()
        step = self.step(grid)
        block = max(grid, key=lambda block: block.read.size)
        said = step.memory(block)
        step(block)  # compiles and caches what every process needs once
        tracemalloc.start()
        try:
            result = step(block)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        del result
        assert peak <= said + SMALL_CHANGE, f"{step.name} took {peak} bytes and says {said}"
        grown = self._resident_growth(step, block)
        assert grown <= said + 16 * SMALL_CHANGE, f"{step.name} took {grown} bytes, says {said}"

    def _resident_growth(self, step: Step, block: Any) -> int:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(resident_growth, (step, block))


@functools.cache
def two_processes() -> Processes:
    """Return the two workers of all contracts; starting them takes longer than most steps."""
    pool = Processes(2)
    atexit.register(pool.close)
    return pool


def resident_growth(step: Step, block: Any) -> int:
    """Return by how many bytes the process grows at most during the second call; 0 if unknown."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    step(block)
    gc.collect()

    def figure(name: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    try:
        clear.write_text("5")  # "reset the peak resident set size", proc(5)
    except OSError:
        return 0
    before = figure("VmRSS")
    step(block)
    return figure("VmHWM") - before


def held(sink: Any) -> object:
    """Return what a sink holds, read back."""
    if isinstance(sink, Sinks):
        return {name: held(part) for name, part in sink.sinks.items()}
    source: Any = sink.writer if isinstance(sink, ArraySink) else sink
    return source.read()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, without the key of the run in their names."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def assert_same(found: object, expected: object, tolerance: float = 0.0) -> None:
    """Assert that two results are equal, floating point within a relative tolerance."""
    import pandas as pd

    assert type(found) is type(expected)
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name in found:
            assert_same(found[name], expected[name], tolerance)
    elif isinstance(found, np.ndarray) and isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0, strict=True)
    elif isinstance(found, pd.DataFrame) and isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=tolerance, atol=0)
    elif isinstance(found, RegionGraph) and isinstance(expected, RegionGraph):
        for name in ("fragments", "edges", "score", "columns"):
            assert_same(dict_or_self(getattr(found, name)), dict_or_self(getattr(expected, name)))
    else:
        assert found == expected


def dict_or_self(value: object) -> object:
    """Return mappings as dictionaries."""
    return dict(value) if isinstance(value, Mapping) else value
