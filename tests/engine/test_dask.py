"""Runs on a dask cluster beyond the contracts of executors and steps."""

import sys

import pytest
import toys

import projectome.engine.dask as module
from projectome.engine.dask import Dask
from projectome.engine.events import BlockDone
from projectome.engine.run import run
from projectome.engine.sinks import NullSink, TableSink
from projectome.errors import (
    BlockFailedError,
    MemoryBudgetError,
    MissingExtraError,
    ParameterError,
    RunError,
)

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # event loops of the cluster
]


@pytest.fixture(scope="module")
def cluster():
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": "1GB"}
    with distributed.LocalCluster(n_workers=2, **options) as found:
        yield found


def test_a_run_by_address(cluster, tmp_path):
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    sink, diary = TableSink(str(tmp_path / "table")), str(tmp_path / "diary")
    ask = {"sink": sink, "ledger": str(tmp_path / "ledger"), "executor": address}
    step = toys.Diary(diary, failing=("0.0.1",), recovers=1)
    assert run(step, toys.grid(), **ask).done == 48
    assert run(step, toys.grid(), **ask).skipped == 48
    assert sink.read()["block"].tolist() == [block.id for block in toys.grid()]
    assert len({line.split()[1] for line in toys.entries(diary)}) == 2  # two processes worked


def test_failures_are_reported(cluster, tmp_path):
    with distributed.Client(cluster, set_as_default=False) as client:
        step = toys.Diary(str(tmp_path / "diary"), failing=("1.1.1",))
        with pytest.raises(BlockFailedError, match=r"1 of 48 .*ValueError: bad chunk 1\.1\.1"):
            run(step, toys.grid(), sink=NullSink(), ledger=str(tmp_path), executor=Dask(client))
        assert client.status == "running"  # it is the caller's


def test_blocks_have_to_fit_into_the_workers(cluster, tmp_path):
    step = toys.Hungry(scale=3 * 10**5)
    with (
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(MemoryBudgetError, match="the workers have 1 GB a task"),
    ):
        run(step, toys.grid(), sink=NullSink(), ledger=str(tmp_path), executor=Dask(client))


def test_a_scheduler_that_goes_away(monkeypatch, tmp_path):
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "processes": False}
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    with distributed.LocalCluster(n_workers=1, **options) as cluster:
        address = cluster.scheduler_address
        executor = Dask(address)

        def leave(event):
            if isinstance(event, BlockDone):
                cluster.close()

        step = toys.Diary(str(tmp_path / "diary"), seconds=0.05)
        ask = {"sink": NullSink(), "ledger": str(tmp_path)}
        with executor, pytest.raises(RunError, match="scheduler is gone"):
            run(step, toys.grid(), executor=executor, on_event=leave, **ask)
        assert run(step, toys.grid(), **ask).skipped >= 1


@pytest.mark.parametrize("address", ["dask://127.0.0.1:1", "dask://"])
def test_nobody_answers(monkeypatch, address):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(RunError, match=r"No dask scheduler answers at tcp://.*dask scheduler"):
        Dask(address)


def test_what_is_no_cluster():
    with pytest.raises(ParameterError, match=r"dask://HOST:PORT or a distributed\.Client, not 3"):
        Dask(3)


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'projectome\[dask\]'"):
        Dask("dask://127.0.0.1:8786")
