"""What only a process of its own can show: time, pipes, signals, completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PROJECTOME = [sys.executable, "-m", "projectome"]


def test_help_is_fast():
    """The target is 150 ms on an idle machine; elsewhere CPU time counts, best of several."""
    code = (
        "import os, sys\nfrom projectome.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "used = os.times()\nprint(used.user + used.system, file=sys.stderr)"
    )
    seconds = []
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "reconstruct" in done.stdout
        seconds.append(float(done.stderr))
    assert min(seconds) < 0.15


def test_help_imports_no_heavy_library():
    code = (
        "import sys\nfrom projectome.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'numba', 'tensorstore', 'pandas', 'matplotlib', 'scipy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    for number in range(3000):
        (tmp_path / f"a_file_with_quite_a_long_name_{number}.txt").touch()
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROJECTOME, "ls", str(tmp_path)], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_shell_completes_verbs_and_options():
    def complete(words: str, count: int) -> str:
        told = {"COMP_WORDS": words, "COMP_CWORD": str(count)}
        environment = {**os.environ, **told, "_PROJECTOME_COMPLETE": "complete_bash"}
        done = subprocess.run(PROJECTOME, env=environment, capture_output=True, text=True)
        return done.stdout

    found = complete("projectome re", 1).split()
    assert sorted(found) == ["reconstruct", "register", "report"]
    assert "--voxel-size" in complete("projectome info --vox", 2)


def test_the_completion_script_can_be_printed():
    done = subprocess.run(
        [*PROJECTOME, "--show-completion", "bash"], capture_output=True, text=True, check=False
    )
    assert "_PROJECTOME_COMPLETE" in done.stdout


@pytest.mark.parametrize("colour", [True, False])
def test_colours_are_for_terminals_and_can_be_turned_off(colour):
    environment = {**os.environ, "FORCE_COLOR": "1"}
    environment |= {} if colour else {"NO_COLOR": "1"}
    done = subprocess.run(
        [*PROJECTOME, "ls", "/absent"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert ("\x1b[31m" in done.stderr) == colour
    plain = subprocess.run([*PROJECTOME, "--help"], capture_output=True, text=True)
    assert "\x1b" not in plain.stdout


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal on POSIX systems only")
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(brain, tmp_path):
    words = ["detect", str(brain), "--out", str(tmp_path / "somata.csv"), "--radius-um", "5,7"]
    command = [*PROJECTOME, *words, "--executor", "serial"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    marks = tmp_path / ".somata.csv.work"
    limit = time.monotonic() + 30
    while not marks.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    if running.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert running.returncode == 1
    assert "Traceback" not in said
    assert f"Go on with: projectome {' '.join(words)}" in said
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 somata" in done.stderr
