"""Nothing about the running of a reconstruction changes a byte of the study."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from projectome.engine import grid
from projectome.engine.events import BlockDone, RunStarted
from projectome.errors import CancelledError
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import reconstruct

STEPS = (
    "detect-somata", "neurite-probability", "label-blocks", "match-faces", "renumber",
    "skeletonise-blocks",
)  # fmt: skip


@pytest.mark.parametrize(
    "job", [Job("processes", 2), Job("processes", 1, "1GB"), Job("serial", 1, "6GB")]
)
def test_executor_workers_and_memory(planted, finished, files_of, tmp_path, job):
    study = reconstruct(planted.source, tmp_path / "study", job=job)
    assert files_of(study.folder) == files_of(finished.folder)


class Blocks:
    """Notes into how many blocks each step is cut."""

    def __init__(self):
        self.total = {}

    def __call__(self, event):
        if isinstance(event, RunStarted):
            self.total[event.step] = event.total


def test_larger_blocks(planted, finished, files_of, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "FEWEST", 1)
    found = {}
    for memory in ("1GB", "8GB"):
        seen = Blocks()
        study = reconstruct(
            planted.source, tmp_path / memory / "study", job=Job("serial", 1, memory, seen)
        )
        found[memory] = seen.total
        assert files_of(study.folder) == files_of(finished.folder)
    small, large = found["1GB"], found["8GB"]
    assert small.keys() == large.keys() == set(STEPS)
    assert all(large[step] < small[step] for step in STEPS[:-1])


def test_other_blocks_after_an_interruption(planted, finished, files_of, tmp_path, monkeypatch):
    """Local labels of one grid are never read with the numbers of another."""

    def stop(event):
        if isinstance(event, RunStarted) and event.step == "match-faces":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(planted.source, tmp_path / "study", job=Job("serial", on_event=stop))
    monkeypatch.setattr(grid, "FEWEST", 1)
    monkeypatch.setattr(grid, "last_grid", lambda ledger: None)  # as if that did not fit any more
    study = reconstruct(planted.source, tmp_path / "study", job=Job("serial", 1, "8GB"))
    assert files_of(study.folder) == files_of(finished.folder)


def test_stopped_in_every_step(planted, finished, files_of, tmp_path):
    for step in STEPS:
        done = []

        def stop(event, step=step, done=done):
            if isinstance(event, BlockDone):
                done.append(event.step)
                if event.step == step:
                    raise KeyboardInterrupt

        with pytest.raises(CancelledError, match=f"step '{step}'.*run the same again"):
            reconstruct(planted.source, tmp_path / "study", job=Job("serial", on_event=stop))
        # Earlier steps are done, but for the rest of the one that was stopped the time before.
        assert set(done) <= {STEPS[max(0, STEPS.index(step) - 1)], step}
    study = reconstruct(planted.source, tmp_path / "study", job=Job("serial"))
    assert files_of(study.folder) == files_of(finished.folder)


class Died(BaseException):
    """Stands for the end of the process."""


def test_died_before_and_after_writing_documents(
    planted, finished, files_of, tmp_path, monkeypatch
):
    chance, real, left = random.Random(3), os.replace, [0]

    def replace(*places):
        left[0] -= 1
        if left[0] == 0 and chance.random() < 0.5:
            raise Died
        real(*places)
        if left[0] <= 0:
            raise Died

    monkeypatch.setattr(os, "replace", replace)
    deaths = 0
    while True:
        left[0] = chance.randint(1, 12 + 2 * deaths)
        try:
            study = reconstruct(planted.source, tmp_path / "study", job=Job("serial"))
            break
        except Died:
            deaths += 1
    assert deaths >= 6
    assert files_of(study.folder) == files_of(finished.folder)


@pytest.mark.slow
def test_killed_again_and_again(planted, finished, files_of, tmp_path):
    """Killed with its workers or alone, at any moment."""
    words = [sys.executable, "-m", "projectome", "reconstruct", planted.url, "--out"]
    words += [str(tmp_path / "study"), "--workers", "2", "--quiet"]
    chance = random.Random(5)
    for _ in range(4):
        run = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
        log = tmp_path / "study" / "run.log"
        begun = log.stat().st_size if log.exists() else 0
        while run.poll() is None and not (log.exists() and log.stat().st_size > begun):
            time.sleep(0.02)
        time.sleep(4 * chance.random())
        kill = os.killpg if chance.random() < 0.5 else os.kill
        kill(run.pid, signal.SIGKILL)
        run.wait()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert files_of(tmp_path / "study") == files_of(finished.folder)
