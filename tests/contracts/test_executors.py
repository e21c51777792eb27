from collections.abc import Iterator

import pytest

from projectome.engine.executors import Executor, Processes, Serial, Threads
from projectome.testing.executors import ExecutorContract


class TestSerial(ExecutorContract):
    remote = False

    @pytest.fixture
    def executor(self) -> Executor:
        return Serial()


class TestThreads(ExecutorContract):
    remote = False

    @pytest.fixture
    def executor(self) -> Executor:
        return Threads(2)


class TestProcesses(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with Processes(2) as pool:
            yield pool


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the event loops of the cluster
class TestDask(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        distributed = pytest.importorskip("distributed")
        from projectome.engine.dask import Dask

        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield Dask(client)
