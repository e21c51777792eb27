"""Choose the thresholds that methods of others cannot do without, on seeds that are not scored.

    python bench/contest/tuning.py ENVIRONMENTS

What it prints is kept by hand in `contest.datasets.THRESHOLDS`, which methods find in the facts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contest import datasets
from contest.entries import Case
from contest.environments import python_of
from contest.measure import run_method
from contest.registry import METHODS
from contest.tasks import TASKS

SEED = 0
SATO = (20.0, 40.0, 60.0, 90.0, 130.0, 200.0, 300.0)
BLOBS = (0.03, 0.05, 0.1, 0.2, 0.3)
GREY = (1300.0, 1500.0, 1700.0, 2000.0, 3000.0)
CASES: tuple[tuple[str, str, Callable[[], Case], str, tuple[float, ...]], ...] = (
    ("trees", "sato + thinning", lambda: datasets.field_image(SEED), "sato", SATO),
    ("trees", "sato + thinning", lambda: datasets.brain_image(SEED), "sato", SATO),
    ("trees", "sato + thinning", lambda: datasets.neuron_image(SEED), "sato", SATO),
    ("trees", "rivuletpy", lambda: datasets.neuron_image(SEED), "grey", GREY),
    ("somata", "skimage blob_log", lambda: datasets.brain_somata(SEED), "blobs", BLOBS),
)


def main(environments: str) -> None:
    """Print F1 at all thresholds."""
    for task, name, make, kind, choices in CASES:
        method = next(m for m in METHODS if m.task == task and m.name == name)
        score = next(t.score for t in TASKS if t.name == task)
        python = python_of(method.environment, Path(environments))
        assert python is not None
        case = make()
        said = []
        for value in choices:
            facts = case.facts | {"thresholds": {kind: value}}
            answer = run_method(method, python, case.arrays, facts).answer
            f1 = score(case, answer)["F1"].value if answer is not None else float("nan")
            said.append(f"{value:g}: {f1:.3f}")
        print(name, kind, ", ".join(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
