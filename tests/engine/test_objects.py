"""Output and ledger in an object store: a real S3 server."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import toys

from projectome.engine.executors import Processes
from projectome.engine.ledger import open_ledger
from projectome.engine.run import run
from projectome.engine.sinks import TableSink
from projectome.errors import BlockFailedError, OutputBusyError, OutputExistsError
from projectome.io import stores

pytestmark = pytest.mark.server
GRID = toys.grid(block=(11, 15, 9))  # 12 blocks


@pytest.fixture(scope="module")
def pool():
    with Processes(2) as workers:
        yield workers


@pytest.fixture
def bucket(seaweed, monkeypatch, tmp_path):
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("PROJECTOME_ENDPOINT", seaweed)
    return f"s3://bucket/{tmp_path.name}"


def test_a_run_resumes_on_an_object_store(bucket, tmp_path, pool):
    diary = str(tmp_path / "diary")
    sink = TableSink(f"{bucket}/table")
    ask = {"sink": sink, "ledger": f"{bucket}/ledger", "executor": pool, "retries": 0}
    with pytest.raises(BlockFailedError, match="1 of 12"):
        run(toys.Diary(diary, failing=("1.0.2",), recovers=1), GRID, **ask)
    step = toys.Diary(diary, failing=("1.0.2",), recovers=1)
    report = run(step, GRID, **ask)
    assert (report.done, report.skipped) == (1, 11)
    assert sink.read()["block"].tolist() == [block.id for block in GRID]
    with pytest.raises(OutputExistsError, match=r"value was 1\.0 and is 2\.0"):
        run(toys.Diary(diary, value=2.0), GRID, **ask)
    assert run(toys.Diary(diary, value=2.0), GRID, overwrite=True, **ask).done == 12
    assert sink.read()["value"].sum() == 2 * GRID.domain.size


def test_one_object_is_created_once(bucket):
    url = f"{bucket}/new"
    assert stores.create_bytes(url, b"first")
    assert not stores.create_bytes(url, b"second")
    assert stores.read_bytes(url) == b"first"


def test_two_runs_refuse_each_other(bucket):
    plan = {"step": "s"}
    with (
        open_ledger(f"{bucket}/ledger", plan, 4),
        pytest.raises(OutputBusyError, match=f"process {os.getpid()} on"),
        open_ledger(f"{bucket}/ledger", plan, 4),
    ):
        pass
    with open_ledger(f"{bucket}/ledger", plan, 4) as ledger:
        assert not ledger.done().any()


def test_a_killed_run_is_taken_over_and_repeats_next_to_nothing(bucket, tmp_path):
    script = (
        "import sys, toys\n"
        "from projectome.engine.run import run\n"
        "from projectome.engine.sinks import TableSink\n"
        "url, diary = sys.argv[1:]\n"
        "run(toys.Diary(diary, seconds=0.05), toys.grid(block=(11, 15, 9)),\n"
        "    sink=TableSink(url + '/table'), ledger=url + '/ledger')\n"
    )
    diary = tmp_path / "diary"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", script, bucket, diary], env=environment)
    while len(toys.entries(diary)) < 5:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    sink = TableSink(f"{bucket}/table")
    step = toys.Diary(str(diary), seconds=0.05)
    report = run(step, GRID, sink=sink, ledger=f"{bucket}/ledger")
    assert report.skipped >= 3
    begun = Counter(toys.calls(diary))
    assert len(begun) == 12
    assert begun.total() <= 13
    assert len(sink.read()) == 12
