"""Where the real data lies, and tubes with known middles."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the shared test data; tests are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PROJECTOME_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set PROJECTOME_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tube():
    """Function of a shape, a radius and paths: the voxels within the radius of a path."""

    def paint(shape, radius, *paths, size=(1, 1, 1)):
        voxels = np.indices(shape).reshape(3, -1).T * size
        middle = [
            np.linspace(a, b, 4 * int(np.linalg.norm(np.subtract(b, a))) + 2)
            for path in paths
            for a, b in pairwise(np.asarray(path, dtype=float))
        ]
        return (cKDTree(np.concatenate(middle)).query(voxels)[0] <= radius).reshape(shape)

    return paint
