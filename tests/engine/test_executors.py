"""What processes do beyond the contract of executors."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import toys

from projectome.engine.executors import Processes, answer, received
from projectome.errors import MetadataError, ParameterError, Problem, RunError, UnknownNameError


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_workers_are_started_once_and_kept():
    with Processes(2) as pool:
        first = {pid for _, pid in pool.map(toys.identity, range(20))}
        second = {pid for _, pid in pool.map(toys.identity, range(20))}
        assert first == second
        assert len(first) == 2
        assert os.getpid() not in first
    assert not any(alive(pid) for pid in first)


def test_few_tasks_start_few_workers():
    before = psutil.Process().children()
    with Processes(2) as pool:
        list(pool.map(toys.identity, [1]))
        begun = set(psutil.Process().children()) - set(before)
        assert len(begun) <= 2  # one worker, and a resource tracker perhaps


def test_libraries_share_out_the_cores(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    with Processes(1, threads=3) as pool:
        assert dict(pool.map(toys.threads, [0]))[0] == {
            "OMP_NUM_THREADS": "3",
            "NUMBA_NUM_THREADS": "3",
        }
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's word
    with Processes(1, threads=3) as pool:
        assert dict(pool.map(toys.threads, [0]))[0] == {
            "OMP_NUM_THREADS": "7",
            "NUMBA_NUM_THREADS": "3",
        }


def test_large_tasks_and_results_travel():
    array = np.zeros(2**20)
    with Processes(1) as pool:
        [(_, count)] = pool.map(toys.size, [array.tobytes()])
        assert count == array.nbytes


def test_a_step_that_leaves_is_a_lost_worker():
    with Processes(1) as pool:
        outcome = dict(pool.map(toys.leave, [0]))[0]
    assert "exit status 3" in str(outcome)


def test_stopping_ends_the_workers_at_work():
    before = psutil.Process().children()
    pool = Processes(2)
    results = pool.map(toys.nap, [0.0, 0.3, 0.3])
    next(results)
    children = set(psutil.Process().children()) - set(before)
    results.close()
    pool.close()
    wait_for(lambda: all(not alive(child.pid) for child in children if _is_worker(child)))


def _is_worker(process):
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_workers_end_with_a_killed_driver(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from toys import nap\n"
        "from projectome.engine.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    results = Processes(2).map(toys.nap, [0, 0, 60, 60])\n"
        "    print(next(results)[1], next(results)[1], flush=True)\n"
        "    next(results)\n"
    )
    here = os.path.dirname(__file__)
    driver = subprocess.Popen([sys.executable, script, here], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    assert all(alive(pid) for pid in workers)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not any(alive(pid) for pid in workers))


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "careless.py"
    script.write_text(
        "from projectome.engine.executors import Processes\nlist(Processes(1).map(abs, [1]))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "'if __name__ == \"__main__\":'" in done.stderr.strip().splitlines()[-1]


def test_there_has_to_be_a_worker():
    with pytest.raises(ParameterError, match="at least one worker, not -1"):
        Processes(-1)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("k"),
        UnknownNameError("region", "RSPx", ["RSP"]),
        MetadataError("Broken.", [Problem("error", "here", "there")]),
        OSError(28, "No space left on device"),
    ],
)
def test_errors_travel_whole(error):
    answer(error)
    copy = received(answer(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    [note] = copy.__notes__  # not one more each time
    assert note.startswith("In the worker:")
    assert type(error).__name__ in note
    assert getattr(copy, "suggestions", None) == getattr(error, "suggestions", None)
    assert getattr(copy, "problems", None) == getattr(error, "problems", None)


def test_a_function_that_workers_cannot_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "here_only", toys)
    monkeypatch.setattr(toys.size, "__module__", "here_only")
    with Processes(1) as pool:
        error = dict(pool.map(toys.size, ["a"]))["a"]
    assert isinstance(error, ParameterError)
    assert "in a module that workers can import" in str(error)


def test_an_answer_that_cannot_be_read():
    assert isinstance(received(b"nothing"), RunError)
