"""Where methods of others live: a virtual environment each, made by pip from the registry."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from contest.entries import Environment

ENVIRONMENTS = (
    Environment("filters", (("scikit-image", "itk-filtering"),), ("scikit-image", "itk-filtering")),
    Environment(
        "skeletons",
        (("kimimaro", "dijkstra3d", "scikit-image"),),
        ("kimimaro", "dijkstra3d", "scikit-image"),
    ),
    Environment("affinities", (("waterz", "mwatershed"),), ("waterz", "mwatershed")),
    Environment("cellfinder", (("cellfinder",),), ("cellfinder", "torch")),
    Environment(
        "neurofly",
        (("torch", "scikit-image"), ("--no-deps", "neurofly")),
        ("neurofly", "torch", "scikit-image"),
        "without napari and Qt, which its network does not need; the weights are in the package",
    ),
    Environment(
        "rivuletpy",
        (
            ("setuptools<70", "wheel", "numpy<2", "scipy<1.12", "cython", "scikit-fmm"),
            ("scikit-image<0.23", "SimpleITK", "tqdm", "nibabel", "matplotlib", "pylibtiff"),
            ("--no-deps", "--ignore-requires-python", "rivuletpy==0.3.0"),
        ),
        ("rivuletpy", "scikit-fmm"),
        "asks for Python 3.8 to 3.10",
    ),
)
MADE = "made.json"
WORDS = 300


def by_name(name: str) -> Environment:
    """Return an environment."""
    return next(e for e in ENVIRONMENTS if e.name == name)


def python_of(environment: str, folder: Path) -> Path | None:
    """Return the interpreter of an environment; None where it was not made or failed."""
    if not environment:
        return Path(sys.executable)
    made = folder / environment / MADE
    if not made.is_file() or json.loads(made.read_text())["why"]:
        return None
    return folder / environment / "bin" / "python"


def why_not(environment: str, folder: Path) -> str:
    """Return why an environment is not there."""
    made = folder / environment / MADE
    return json.loads(made.read_text())["why"] if made.is_file() else "not made here (--install)"


def install(environment: Environment, folder: Path) -> str:
    """Make an environment; return why that failed, or nothing."""
    home = folder / environment.name
    venv.EnvBuilder(with_pip=True, clear=True).create(home)
    why = ""
    for packages in environment.packages:
        words = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            why = done.stderr.strip()[-WORDS:] or f"pip ended with {done.returncode}"
            break
    (home / MADE).write_text(json.dumps({"why": why}))
    return why
