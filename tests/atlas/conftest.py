"""What the tests of atlases share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_atlases import toy_atlas

REAL = Path(
    os.environ.get("PROJECTOME_TEST_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)


@pytest.fixture(scope="session")
def real():
    """The developers' data, which is not part of the project."""
    if not REAL.is_dir():
        pytest.skip(f"no test data at {REAL}: set PROJECTOME_TEST_DATA")
    return REAL


@pytest.fixture
def atlas():
    return toy_atlas()
