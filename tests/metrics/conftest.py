"""Makes the small neurons of `neurites` importable, and the published data known."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
REAL = Path(os.environ.get("PROJECTOME_TEST_DATA", HERE.parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real():
    """The developers' data, which is not part of the project."""
    if not REAL.is_dir():
        pytest.skip(f"no test data at {REAL}: set PROJECTOME_TEST_DATA")
    return REAL
