"""Where the real data lies."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the shared test data; tests are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PROJECTOME_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set PROJECTOME_TEST_DATA")
    return folder
