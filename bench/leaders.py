"""Methods beside each other: ours and others, on the same inputs, with accuracy, time and memory.

Each method runs in a process of its own, others in virtual environments of their own, and gets
the same arrays. Measured are wall and processor time of the call (imports are done before, the
better of the repetitions counts) and the peak of resident memory of the process and all that it
starts. Answers are scored by `projectome.metrics`.

    python bench/leaders.py --install       # once: environments for methods of others
    python bench/leaders.py --write         # bench/results/leaders.json and docs/benchmark.md
    python bench/leaders.py --write --tables paths/axons   # one table anew; the others stay

New tasks, datasets, methods and environments are entries in `bench/contest`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contest.datasets import DATASETS
from contest.entries import Case, Dataset, Method, Task, shown_dtype
from contest.environments import ENVIRONMENTS, by_name, install, python_of, why_not
from contest.machine import digest_of, machine_facts
from contest.measure import run_method
from contest.page import table_of, write_page
from contest.registry import METHODS
from contest.tasks import TASKS
from projectome.settings import resolve

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "leaders.json"
PAGE = ROOT / "docs" / "benchmark.md"
LONG = 20.0
"""What takes more seconds is run once."""


def environments_folder() -> Path:
    """Return where environments are made unless said otherwise."""
    return Path(resolve()[0].cache) / "bench"


def entered(task: Task, dataset: Dataset) -> list[Method]:
    """Return the methods that take part."""
    return [m for m in METHODS if m.task == task.name and (not m.only or dataset.name in m.only)]


def compete(
    method: Method, task: Task, case: Case, *, environments: Path, repeats: int
) -> dict[str, Any]:
    """Run a method on an input; return figures and what they took, or why there are none."""
    python = python_of(method.environment, environments)
    if python is None:
        return {"why": f"not installed: {why_not(method.environment, environments)}"}
    shown = by_name(method.environment).shown if method.environment else ("projectome", "numpy")
    runs = []
    for _ in range(repeats):
        run = run_method(method, python, case.arrays, case.facts, versions_of=shown)
        if run.answer is None:
            return {"why": run.why}
        runs.append(run)
        if run.measured["wall_s"] > LONG:
            break
    assert run.answer is not None
    figures = task.score(case, run.answer)
    # None where a figure is not defined, such as the error of nothing found.
    shares = {
        name: [None if v is None or v != v else round(v, 6) for v in value]
        for name, value in figures.items()
    }
    took = {
        name: round(min(r.measured[name] for r in runs), 3)
        for name in ("wall_s", "cpu_s", "process_wall_s", "process_cpu_s")
    }
    took |= {"peak_mib": round(min(r.measured["peak_bytes"] for r in runs) / 2**20)}
    return {
        "figures": shares,
        **took,
        "runs": len(runs),
        "python": run.measured["python"],
        "versions": run.measured["versions"],
    }


def run_table(dataset: Dataset, environments: Path, *, repeats: int) -> dict[str, Any]:
    """Let all compete on an input; return the results of its table."""
    began = time.perf_counter()
    task = next(t for t in TASKS if t.name == dataset.task)
    table: dict[str, Any] = {"task": task.name, "dataset": dataset.name, "seed": dataset.seed}
    case = dataset.make()
    if case is None:
        return table | {"why": "its files are not here", "rows": []}
    table["machine"] = machine_facts()
    arrays = {name: shown_dtype(values) for name, values in case.arrays.items()}
    table |= {"arrays": arrays, "sha256": digest_of(case.arrays), "facts": case.facts}
    rows = []
    for method in entered(task, dataset):
        found = compete(method, task, case, environments=environments, repeats=repeats)
        rows.append({"method": method.name, **found})
        print(".", end="", flush=True)
    print(f"\n{task.title} {dataset.name}\n\n{table_of(task, rows)}\n", flush=True)
    table["machine"] |= {
        "load_average_after": round(os.getloadavg()[0], 2),
        "seconds": round(time.perf_counter() - began),
    }
    return table | {"rows": rows}


def key_of(entry: Dataset | dict[str, Any]) -> str:
    """Return the name of a table: TASK/DATASET."""
    if isinstance(entry, Dataset):
        return f"{entry.task}/{entry.name}"
    return f"{entry['task']}/{entry['dataset']}"


def merged(document: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Return the results with one table replaced, in the order of the entries."""
    tables = {key_of(t): t for t in document.get("tables", [])} | {key_of(table): table}
    return {"tables": [tables[key_of(d)] for d in DATASETS if key_of(d) in tables]}


def kept() -> dict[str, Any]:
    """Return the results kept."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Install, run, or write the page; return the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="make the environments, and stop")
    parser.add_argument("--environments", type=Path, default=environments_folder())
    parser.add_argument(
        "--tables", nargs="*", default=[], metavar="TASK/DATASET", choices=[*map(key_of, DATASETS)]
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the results and the page")
    parser.add_argument("--page", action="store_true", help="write the page of the results kept")
    options = parser.parse_args(argv)
    if options.install:
        failed = {e.name: install(e, options.environments) for e in ENVIRONMENTS}
        for name, why in failed.items():
            print(f"{name:12} {why or 'made'}")
        return {"environments": failed}
    document = kept() if options.page else {}
    for dataset in () if options.page else DATASETS:
        if options.tables and key_of(dataset) not in options.tables:
            continue
        table = run_table(dataset, options.environments, repeats=options.repeats)
        # Read again: another table may have been made meanwhile.
        document = merged(kept() if options.write else document, table)
        if options.write:
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    if options.write or options.page:
        PAGE.write_text(write_page(document, RESULTS.parent))
    return document


if __name__ == "__main__":
    main()
