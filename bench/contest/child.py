"""Run one method on one input, in whatever Python it lives in; needs numpy alone.

    python child.py METHODS.py FUNCTION FOLDER

FOLDER/input holds arrays and facts.json; FOLDER/output gets what the function returns, and
measured.json the wall and processor time of the call and the peak memory of this process. Imports
are done before the clock starts.
"""

import importlib.util
import json
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


def kilobytes(key):
    """Return a line of the status of this process; 0 where there is none (not on Linux)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)


def processor_seconds():
    """Return user and system time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def versions(names):
    """Return the versions of distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(file, function, folder):
    """Run it."""
    folder = Path(folder)
    facts = json.loads((folder / "input" / "facts.json").read_text())
    arrays = {p.stem: np.load(p) for p in sorted((folder / "input").glob("*.npy"))}
    sys.path.insert(0, str(Path(file).parent))  # what methods share
    spec = importlib.util.spec_from_file_location("methods", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = kilobytes("VmRSS:")
    wall, cpu = time.perf_counter(), processor_seconds()
    answer = getattr(module, function)(arrays, facts)
    wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
    measured = {
        "wall_s": wall,
        "cpu_s": cpu,
        "before_bytes": before * 1024,
        "peak_bytes": kilobytes("VmHWM:") * 1024,
        "python": sys.version.split()[0],
        "versions": versions(facts["versions_of"]),
    }
    (folder / "output").mkdir()
    for name, values in answer.items():
        np.save(folder / "output" / f"{name}.npy", np.asarray(values), allow_pickle=False)
    (folder / "measured.json").write_text(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
