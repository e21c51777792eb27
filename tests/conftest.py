"""How hypothesis runs: the same examples every time, and new ones on request.

``HYPOTHESIS_PROFILE=explore pytest`` draws ten times as many, at random.
"""

import os

from hypothesis import settings

settings.register_profile("house", deadline=None, max_examples=60, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=600, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))
