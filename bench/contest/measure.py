"""Run a method in a process of its own and say what it took."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from contest.entries import Arrays, Method

HERE = Path(__file__).parent
INTERVAL = 0.05
"""Seconds between looks at the memory of a process and of those that it starts."""
LIMIT = 600.0
"""Seconds that a method may take."""
LAST = 300
"""Characters of the last words of a method that fails."""


@dataclass(frozen=True)
class Run:
    """What a method answered and took, or why it did not answer.

    Attributes
    ----------
    answer
        Its arrays; None if it failed.
    measured
        ``wall_s`` and ``cpu_s`` of the call; ``peak_bytes`` of resident memory of the process and
        all that it starts, libraries and input included; ``process_wall_s`` and ``process_cpu_s``
        from the start of the interpreter to its end.
    why
        Why it failed.
    """

    answer: Arrays | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def run_method(
    method: Method,
    python: str | Path,
    arrays: Arrays,
    facts: dict[str, Any],
    *,
    versions_of: tuple[str, ...] = (),
    limit_s: float = LIMIT,
) -> Run:
    """Run a method on an input.

    Parameters
    ----------
    method
        What to run.
    python
        Interpreter of its environment.
    arrays, facts
        The input.
    versions_of
        Distributions whose versions to note.
    limit_s
        It is ended after so many seconds.
    """
    with tempfile.TemporaryDirectory(prefix="contest-") as name:
        folder = Path(name)
        (folder / "input").mkdir()
        for key, values in arrays.items():
            np.save(folder / "input" / f"{key}.npy", values, allow_pickle=False)
        given = facts | {"versions_of": versions_of}
        (folder / "input" / "facts.json").write_text(json.dumps(given))
        words = [str(python), str(HERE / "child.py"), str(HERE / "methods" / method.file)]
        words += [method.function, name]
        with (folder / "said.txt").open("wb") as said:
            measured = watch(words, folder, said, limit_s)
        if measured["status"] != 0:
            text = (folder / "said.txt").read_text(errors="replace").strip()
            late = f"ended after {limit_s:g} s" if measured["late"] else ""
            return Run(why=late or text[-LAST:] or f"status {measured['status']}")
        own = json.loads((folder / "measured.json").read_text())
        own["peak_bytes"] = max(own["peak_bytes"], measured["peak_bytes"])
        own["process_wall_s"], own["process_cpu_s"] = measured["wall_s"], measured["cpu_s"]
        answer = {p.stem: np.load(p) for p in sorted((folder / "output").glob("*.npy"))}
        return Run(answer, own)


def watch(words: list[str], folder: Path, said: Any, limit_s: float) -> dict[str, Any]:
    """Run a command; return its exit status, wall and processor time, and peak memory."""
    environment = os.environ | {
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": str(folder),
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        "KERAS_BACKEND": "torch",
        "QT_QPA_PLATFORM": "offscreen",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    )  # fmt: skip
    peak, late = 0, False
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, resident(process.pid))
        if not late and time.perf_counter() - began > limit_s:
            late = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(INTERVAL)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "status": process.returncode,
        "late": late,
        "wall_s": time.perf_counter() - began,
        # Of the process and of all that it has waited for. Its ru_maxrss would count the memory
        # of this process, which it is forked from.
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_bytes": peak,
    }


def resident(pid: int) -> int:
    """Return the resident memory of a process and all below it; shared pages count in each."""
    total = 0
    try:
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def here() -> str:
    """Return the interpreter that runs the contest."""
    return sys.executable
