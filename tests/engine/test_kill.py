"""Runs that are killed at any moment end in the same bytes, and repeat next to nothing."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import toys

from projectome.engine.run import run
from projectome.testing.steps import contents

SCRIPT = Path(__file__).with_name("kill_me.py")


def start(folder, executor, output):
    command = [sys.executable, str(SCRIPT), str(folder), executor, output]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    return process


def straight(folder, output):
    """Return what a run leaves that nobody disturbs."""
    step = toys.Written(str(folder / "diary"), seconds=0.003, output=output)
    grid, sink = toys.grid(block=(6, 6, 6)), step.sink(folder / "out")
    run(step, grid, sink=sink, ledger=str(folder / "ledger"))
    assert len(toys.calls(folder / "diary")) == len(grid) == 100
    return finished(folder, output)


def finished(folder, output):
    if output == "volume":
        toys.Written("", output=output).sink(folder / "out").writer.finish()
    return contents(folder / "out")


@pytest.mark.parametrize(
    ("executor", "workers", "output"),
    [("serial", 1, "table"), ("processes", 2, "array"), ("processes", 2, "volume")],
)
def test_killed_seven_times(tmp_path, tmp_path_factory, executor, workers, output):
    chance = random.Random(7)
    for _ in range(7):
        process = start(tmp_path, executor, output)
        begun = len(toys.entries(tmp_path / "diary")) + chance.randint(0, 20)
        while len(toys.entries(tmp_path / "diary")) < begun and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.005))
        process.send_signal(signal.SIGKILL)  # the driver alone; its workers have to notice
        process.communicate()
    assert start(tmp_path, executor, output).communicate()[0] == "done\n"
    begun = Counter(toys.calls(tmp_path / "diary"))
    assert len(begun) == 100
    assert begun.total() <= 100 + 7 * workers
    assert begun.total() > 100  # or no block was ever interrupted
    expected = straight(tmp_path_factory.mktemp("straight"), output)
    assert finished(tmp_path, output) == expected
