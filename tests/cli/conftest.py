"""A command line of its own for each test, and a volume small enough for all of them.

The image has voxels of 2 um and a space that is named and oriented. In it are one soma of 6 um
radius at (60, 70, 80) um and three neurites of 2 um radius that leave it along x and y; grey
values are 100 with noise of 4 around them, 900 in the neurites and 4000 in the soma.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import projectome
from projectome.cli.console import stop_log
from projectome.cli.main import main

SOMA = (60.0, 70.0, 80.0)
SHAPE = (56, 72, 80)


@dataclass
class Said:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def say(own_home) -> Callable[..., Said]:
    """Return what runs a command in this process."""
    return run_command


def run_command(*words: object) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as left:
            status = left.code
        finally:
            stop_log()
    return Said(status, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory):
    """Keep settings, logs and colours of the user out, also of what runs once a session."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECTOME_CONFIG", str(home / "config.toml"))
        patch.setenv("PROJECTOME_CACHE", str(home / "cache"))
        patch.setenv("COLUMNS", "100")
        for name in ("NO_COLOR", "FORCE_COLOR", "PROJECTOME_BUCKET"):
            patch.delenv(name, raising=False)
        yield home


@pytest.fixture(scope="session")
def image() -> projectome.Volume:
    """Return the volume in memory."""
    rng = np.random.default_rng(7)
    grey = rng.normal(100, 4, SHAPE)
    z, y, x = (2.0 * np.arange(n).reshape(np.roll((-1, 1, 1), k)) for k, n in enumerate(SHAPE))
    neurites = [
        (z - SOMA[0]) ** 2 + (y - SOMA[1]) ** 2 + 0 * x,
        (z - SOMA[0]) ** 2 + (x - SOMA[2]) ** 2 + 0 * y,
    ]
    for distance in neurites:
        grey += 800 * np.exp(-distance / (2 * 1.6**2))
    away = (z - SOMA[0]) ** 2 + (y - SOMA[1]) ** 2 + (x - SOMA[2]) ** 2
    grey += 4000 / (1 + np.exp((np.sqrt(away) - 6) / 0.7))
    space = projectome.Space.from_code("PIR", meaning="toward", name="[small] brain")
    return projectome.Volume.from_array(
        grey.clip(0).astype(np.uint16), voxel_size=(2, 2, 2), space=space
    )


@pytest.fixture(scope="session")
def brain(tmp_path_factory, image) -> Path:
    """Return the volume as OME-Zarr."""
    path = tmp_path_factory.mktemp("brain") / "brain.ome.zarr"
    projectome.write_volume(image, str(path), chunks=(32, 32, 32), levels=2)
    return path


@pytest.fixture(scope="session")
def study(tmp_path_factory, brain) -> Path:
    """Return a study of the volume, made once."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    said = run_command("reconstruct", brain, "--out", folder, "--executor", "serial")
    assert said.status == 0, said.err
    return folder
