"""What a contest ran on."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from contest.entries import Arrays
from projectome.core.provenance import software_version


def machine_facts() -> dict[str, Any]:
    """Return what figures of time and memory depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "projectome": software_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "niceness": os.nice(0),
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def processor() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def digest_of(arrays: Arrays) -> str:
    """Return the first digits of a hash of an input."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()[:16]
