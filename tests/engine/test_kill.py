"""Runs that are killed at any moment end in the same bytes, and repeat next to nothing."""

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import toys

from projectome.engine.run import run
from projectome.testing.steps import contents

SCRIPT = Path(__file__).with_name("kill_me.py")


def start(folder, executor):
    command = [sys.executable, str(SCRIPT), str(folder), executor]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    return process


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a run leaves that nobody disturbs."""
    folder = tmp_path_factory.mktemp("straight")
    step = toys.Written(str(folder / "diary"), seconds=0.003)
    grid = toys.grid(block=(6, 6, 6))
    run(step, grid, sink=toys.both(folder / "out"), ledger=str(folder / "ledger"))
    assert len(toys.calls(folder / "diary")) == len(grid) == 100
    return contents(folder / "out")


@pytest.mark.parametrize(
    ("executor", "workers", "longest"), [("serial", 1, 0.5), ("processes", 2, 1.5)]
)
def test_killed_ten_times(tmp_path, expected, executor, workers, longest):
    chance = random.Random(7)
    kills = round_ = 0
    while kills < 10:
        round_ += 1
        folder, killed = tmp_path / str(round_), 0
        while True:
            process = start(folder, executor)
            try:
                process.communicate(timeout=chance.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)  # the driver alone; its workers have to notice
                killed += 1
                process.communicate()
                continue
            assert process.returncode == 0
            break
        kills += killed
        begun = Counter(toys.calls(folder / "diary"))
        assert len(begun) == 100
        assert begun.total() <= 100 + killed * workers
        assert contents(folder / "out") == expected
