"""Makes the toy steps of the engine importable, also in worker processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
