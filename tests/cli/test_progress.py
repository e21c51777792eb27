"""What a run says where there is no terminal."""

from __future__ import annotations

import pytest

from projectome.cli import progress
from projectome.cli.options import TalkOptions
from projectome.core.box import BlockGrid, Box
from projectome.engine.events import (
    BlockDone,
    BlockFailed,
    RunFinished,
    RunReport,
    RunStarted,
    StageStarted,
)
from projectome.errors import TransferError

BLOCK = BlockGrid(Box.from_shape((4, 4, 4)), (4, 4, 4)).nth(0)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(reporter, clock, *, blocks, seconds, skipped=0):
    reporter(RunStarted("blur", blocks, skipped, 2))
    for _ in range(blocks - skipped):
        clock[0] += seconds
        reporter(BlockDone("blur", BLOCK, seconds))
    report = RunReport(blocks, blocks - skipped, skipped, 0, seconds * (blocks - skipped), 0)
    reporter(RunFinished("blur", report))


def test_slow_runs_speak_from_time_to_time_and_say_how_long_it_takes(clock, capsys):
    with progress.Reporter(TalkOptions()) as reporter:
        reporter(StageStarted("segment", 3, 5))
        run(reporter, clock, blocks=10, seconds=6)
    assert capsys.readouterr().err.splitlines() == [
        "[3/5] segment",
        "    blur: 2 of 10 blocks, 48 s to go",
        "    blur: 4 of 10 blocks, 36 s to go",
        "    blur: 6 of 10 blocks, 24 s to go",
        "    blur: 8 of 10 blocks, 12 s to go",
        "    blur: 10 blocks in 60.0 s",
    ]


def test_fast_runs_say_one_line_and_what_was_done_before(clock, capsys):
    with progress.Reporter(TalkOptions()) as reporter:
        assert not reporter.ran
        run(reporter, clock, blocks=2000, seconds=0.001, skipped=1999)
    assert reporter.ran
    assert capsys.readouterr().err.splitlines() == [
        "    blur: 1,999 of 2,000 blocks are done already",
        "    blur: 1 block in 0.0 s",
    ]


def test_failures_are_told_once_they_are_final(capsys, caplog):
    with progress.Reporter(TalkOptions()) as reporter:
        reporter(BlockFailed("blur", BLOCK, TransferError("no answer"), 1, False))
        assert capsys.readouterr().err == ""
        reporter(BlockFailed("blur", BLOCK, TransferError("no answer"), 2, True))
    assert "no answer" in capsys.readouterr().err


def test_quiet_says_nothing(clock, capsys):
    with progress.Reporter(TalkOptions(quiet=True)) as reporter:
        run(reporter, clock, blocks=10, seconds=6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert progress._about(seconds) == text
