import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toys

import projectome.engine.run as module
from projectome.core.box import BlockGrid, Box
from projectome.engine.events import BlockDone, BlockFailed, RunFinished, RunStarted
from projectome.engine.executors import Processes, Serial
from projectome.engine.run import run
from projectome.engine.sinks import ArraySink, NullSink, TableSink
from projectome.errors import (
    BlockFailedError,
    CancelledError,
    MemoryBudgetError,
    OutputBusyError,
    OutputExistsError,
    ParameterError,
    StorageFullError,
    WorkerLostError,
)
from projectome.testing.steps import ArrayFile

GRID = toys.grid()


@pytest.fixture(scope="module")
def pool():
    with Processes(2) as workers:
        yield workers


class Desk:
    """A folder with a diary, a table and a ledger."""

    def __init__(self, folder):
        self.diary, self.ledger = str(folder / "diary"), str(folder / "ledger")
        self.sink = TableSink(str(folder / "table"))

    def run(self, grid=GRID, executor="serial", more=None, **fields):
        step = toys.Diary(self.diary, **fields)
        return run(step, grid, sink=self.sink, ledger=self.ledger, executor=executor, **more or {})

    def calls(self):
        return Counter(toys.calls(self.diary))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_run_works_on_every_block_once(desk):
    report = desk.run()
    assert (report.total, report.done, report.skipped, report.failed) == (48, 48, 0, 0)
    assert report.seconds > 0
    assert report.peak_rss > 10**7
    assert desk.calls() == Counter(block.id for block in GRID)
    table = desk.sink.read()
    assert table["block"].tolist() == [block.id for block in GRID]
    assert table["value"].sum() == GRID.domain.size


def test_a_second_run_does_nothing(desk, pool):
    desk.run()
    for executor in ("serial", "processes", pool):
        report = desk.run(executor=executor)
        assert (report.done, report.skipped, report.peak_rss) == (0, 48, 0)
    assert desk.calls().total() == 48


@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_a_poisoned_block_is_reported_and_the_rest_completes(desk, pool, executor):
    executor = pool if executor == "pool" else executor
    with pytest.raises(BlockFailedError) as caught:
        desk.run(executor=executor, failing=("0.1.2", "1.0.3"))
    assert str(caught.value) == (
        "2 of 48 blocks of step 'diary' failed. First: block (0, 1, 2) (voxels [0:8, 8:16, 16:24])"
        ": ValueError: bad chunk 0.1.2; block (1, 0, 3) (voxels [8:16, 0:8, 24:26]): ValueError: "
        "bad chunk 1.0.3. The 46 finished blocks are kept: run the same again to resume."
    )
    assert isinstance(caught.value.__cause__, ValueError)
    assert "in __call__" in caught.value.__cause__.__notes__[0]  # where it was raised
    assert desk.calls()["0.1.2"] == 2  # one retry
    assert desk.calls().total() == 50
    with pytest.raises(BlockFailedError):
        desk.run(executor=executor, failing=("0.1.2", "1.0.3"))
    assert desk.calls().total() == 54  # the two alone, twice each


def test_only_the_first_few_failures_are_named(desk):
    with pytest.raises(BlockFailedError, match=r"\(0, 0, 0\).*\(0, 0, 2\).*; and 45 more\. The 0 "):
        desk.run(failing=tuple(block.id for block in GRID), more={"retries": 0})
    assert desk.calls().total() == 48


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_are_bounded(desk, retries):
    with pytest.raises(BlockFailedError):
        desk.run(failing=("0.0.1",), more={"retries": retries})
    assert desk.calls()["0.0.1"] == retries + 1


def test_a_retry_may_succeed(desk):
    assert desk.run(failing=("0.0.1",), recovers=2, more={"retries": 2}).done == 48
    assert len(desk.sink.read()) == 48


def test_a_block_that_kills_its_worker_does_not_take_others_along(desk, pool):
    with pytest.raises(BlockFailedError) as caught:
        desk.run(executor=pool, dying=("1.2.1",))
    assert "1 of 48" in str(caught.value)
    assert "WorkerLostError" in str(caught.value)
    assert isinstance(caught.value.__cause__, WorkerLostError)
    assert "SIGKILL" in str(caught.value.__cause__)
    calls = desk.calls()
    assert calls.pop("1.2.1") in (2, 3)  # perhaps once among others, then twice alone
    assert set(calls.values()) == {1}


def test_a_worker_lost_once_is_made_good(desk, pool):
    assert desk.run(executor=pool, dying=("0.2.2",), recovers=1).failed == 0
    assert len(desk.sink.read()) == 48


@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_a_full_disk_ends_the_run_at_once(desk, pool, executor):
    grid = toys.grid(block=(4, 4, 4))
    assert len(grid) > 200
    with pytest.raises(StorageFullError, match="No space left"):
        desk.run(grid, executor=pool if executor == "pool" else executor, full=("0.0.1",))
    assert desk.calls().total() < 120  # on busy cores the other worker gets far meanwhile


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_changed_parameter_never_reuses_blocks(desk, overwrite):
    desk.run()
    if not overwrite:
        with pytest.raises(OutputExistsError, match=r"value was 1\.0 and is 2\.0.*--overwrite"):
            desk.run(value=2.0)
        assert desk.calls().total() == 48
        return
    assert desk.run(value=2.0, more={"overwrite": True}).done == 48
    assert desk.sink.read()["value"].sum() == 2 * GRID.domain.size


def test_a_changed_input_or_version_never_reuses_blocks(desk, monkeypatch):
    desk.run()
    monkeypatch.setattr(toys.Diary, "version", 2)
    with pytest.raises(OutputExistsError, match="version was 1 and is 2"):
        desk.run()
    monkeypatch.undo()
    monkeypatch.setattr(toys.Diary, "fingerprints", lambda self: ("new",))
    with pytest.raises(OutputExistsError, match=r'inputs was \[\] and is \["new"\]'):
        desk.run()
    monkeypatch.undo()
    with pytest.raises(OutputExistsError, match="block_shape"):
        desk.run(toys.grid(block=(8, 8, 4)))


def test_a_removed_output_is_made_again(desk, tmp_path):
    desk.run()
    shutil.rmtree(tmp_path / "table")
    assert desk.run().done == 48


def test_a_removed_volume_is_made_again(tmp_path):
    grid = toys.grid(halo=(2, 2, 2))

    def again():
        sink = ArraySink(ArrayFile(str(tmp_path / "array")))
        return run(toys.Mean(), grid, sink=sink, ledger=str(tmp_path / "ledger"))

    file = ArrayFile.create(tmp_path / "array", toys.SHAPE, np.int32)
    assert again().done == 48
    assert again().skipped == 48
    file.path.rename(tmp_path / "elsewhere")
    with pytest.raises(BlockFailedError, match="No such file"):
        again()
    (tmp_path / "elsewhere").rename(file.path)
    assert again().done == 48


def test_the_grid_may_have_one_block_only(desk, pool):
    grid = toys.grid(block=toys.SHAPE)
    assert desk.run(grid, executor=pool).done == 1


def test_events_tell_the_story(desk):
    events = []
    with pytest.raises(BlockFailedError):
        desk.run(failing=("0.0.1",), more={"on_event": events.append})
    first, *middle, last = events
    assert first == RunStarted("diary", 48, 0, 1)
    assert isinstance(last, RunFinished)
    assert (last.report.done, last.report.failed) == (47, 1)
    done = [event for event in middle if isinstance(event, BlockDone)]
    assert Counter(event.block for event in done) == Counter(
        block for block in GRID if block.id != "0.0.1"
    )
    assert all(event.seconds > 0 for event in done)
    failed = [event for event in middle if isinstance(event, BlockFailed)]
    assert [(event.block.id, event.attempt, event.final) for event in failed] == [
        ("0.0.1", 1, False),
        ("0.0.1", 2, True),
    ]
    assert "bad chunk" in str(failed[0].error)


def test_a_listener_may_end_the_run(desk, pool):
    def stop(event):
        if isinstance(event, BlockDone):
            raise CancelledError("Enough.")

    with pytest.raises(CancelledError, match="Enough"):
        desk.run(toys.grid(block=(4, 4, 4)), executor=pool, more={"on_event": stop})
    assert desk.calls().total() < 100
    assert desk.run(toys.grid(block=(4, 4, 4)), executor=pool).failed == 0


def test_two_runs_on_one_output_refuse_each_other(desk):
    refused = []

    def again(event):
        if isinstance(event, RunStarted):
            with pytest.raises(OutputBusyError, match=rf"process {os.getpid()} on") as caught:
                desk.run()
            refused.append(caught.value)

    desk.run(more={"on_event": again})
    assert len(refused) == 1
    assert desk.calls().total() == 48


def test_a_job_that_cannot_fit_says_so_before_any_work(desk):
    class Huge(toys.Diary):
        bytes_per_voxel = 10**9

    step = Huge(desk.diary)
    ask = {"sink": desk.sink, "ledger": desk.ledger}
    for executor in ("serial", "processes", Serial()):
        with pytest.raises(MemoryBudgetError, match=r"step 'diary' need 512 GB .* --memory 5\d+MB"):
            run(step, GRID, executor=executor, memory="8GB", **ask)
    assert not desk.calls()
    assert not Path(desk.ledger).exists()


def test_a_cluster_with_small_workers_says_so_before_any_work(desk):
    class Small:
        workers, memory = 4, 300 * 2**20
        map = Serial().map

    class Big(toys.Diary):
        bytes_per_voxel = 2**17

    with pytest.raises(MemoryBudgetError, match=r"but the workers have 315 MB a task"):
        run(Big(desk.diary), GRID, sink=NullSink(), ledger=desk.ledger, executor=Small())
    assert not desk.calls()


def test_uncounted_workers_are_as_many_as_fit(desk):
    started = []
    ask = {"sink": desk.sink, "ledger": desk.ledger, "executor": "processes", "memory": "1500MB"}
    grid, step = toys.grid(block=(22, 30, 13)), toys.Hungry(scale=7500)  # 515 MB a block
    run(step, grid, on_event=started.append, **ask)
    assert started[0].workers == 1
    with pytest.raises(MemoryBudgetError, match=r"2 at a time.*fewer --workers"):
        run(step, grid, workers=2, **ask)


@pytest.mark.parametrize(
    ("executor", "text"),
    [
        ("fibres", "Known: serial, threads, processes, dask://HOST:PORT"),
        ("", "Unknown executor ''"),
    ],
)
def test_an_unknown_executor(desk, executor, text):
    with pytest.raises(ParameterError, match=text):
        desk.run(executor=executor)


def test_negative_retries(desk):
    with pytest.raises(ParameterError, match="retries is a number from 0 on, not -1"):
        desk.run(more={"retries": -1})


def test_a_step_that_cannot_travel(desk, pool):
    class Local(toys.Diary):
        pass

    with pytest.raises(ParameterError, match=r"top level of a module.*'serial'"):
        run(Local(desk.diary), GRID, sink=desk.sink, ledger=desk.ledger, executor=pool)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path, executor):
    script = Path(__file__).with_name("kill_me.py")
    command = [sys.executable, str(script), str(tmp_path), executor, "array"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(toys.entries(tmp_path / "diary")) < 5:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
    _, errors = process.communicate(timeout=30)
    last = errors.strip().splitlines()[-1]
    assert "CancelledError: Stopped. " in last
    assert "of 100 blocks of step 'diary' are finished and kept: run the same again" in last
    begun = len(toys.calls(tmp_path / "diary"))
    marked = int(last.split("Stopped. ")[1].split()[0])
    assert marked <= begun < 100
    step = toys.Written(str(tmp_path / "diary"), seconds=0.003, output="array")
    grid = toys.grid(block=(6, 6, 6))
    ask = {"sink": step.sink(tmp_path / "out"), "ledger": str(tmp_path / "ledger")}
    report = run(step, grid, **ask)
    assert report.skipped >= marked
    assert report.done + report.skipped == 100


def test_memory_stays_within_what_is_given(tmp_path):
    grid = toys.grid(block=(11, 15, 26))
    step = toys.Hungry(scale=1000)  # 220 MB a block
    ask = {"sink": NullSink(), "ledger": str(tmp_path), "executor": "processes"}
    report = run(step, grid, memory="1500MB", workers=2, **ask)
    assert step.memory(grid[0, 0, 0]) < report.peak_rss < 1500e6 / 2


def test_the_driver_does_not_grow_with_the_number_of_blocks(tmp_path, monkeypatch):
    def peak(count):
        grid = BlockGrid(Box.from_shape((count, 10, 10)), (1, 1, 1))
        tracemalloc.start()
        run(toys.Free(), grid, sink=NullSink(), ledger=str(tmp_path / str(count)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    monkeypatch.setattr(module, "BATCH_LIMIT", 64)
    growth = peak(200) - peak(50)
    assert growth < 12 * 15000  # bytes a block: a place in the queue and a mark, no result


def test_tables_of_all_executors_are_equal(tmp_path, pool):
    tables = []
    for name, executor in (("serial", "serial"), ("pool", pool)):
        sink = TableSink(str(tmp_path / name / "table"))
        grid = toys.grid(halo=(1, 1, 1))
        run(toys.Peaks(), grid, sink=sink, ledger=str(tmp_path / name / "l"), executor=executor)
        tables.append(sink.read())
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) > 100
