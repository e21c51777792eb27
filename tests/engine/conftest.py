"""Makes the toy steps importable, also in worker processes, which take over sys.path."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# The S3 server of the tests of io serves here as well.
spec = importlib.util.spec_from_file_location("io_conftest", HERE.parent / "io" / "conftest.py")
io_conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(io_conftest)
seaweed = io_conftest.seaweed
