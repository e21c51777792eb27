"""The page of the documentation, made of nothing but the results and the entries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contest.datasets import DATASETS
from contest.entries import Figure, Task
from contest.environments import ENVIRONMENTS
from contest.registry import METHODS
from contest.tasks import TASKS

COSTS = (
    Figure("wall [s]", False, 2),
    Figure("CPU [s]", False, 2),
    Figure("memory [MiB]", False, 0),
)
TOOK = {"wall [s]": "wall_s", "CPU [s]": "cpu_s", "memory [MiB]": "peak_mib"}
REGISTRATION = {
    "median_um": Figure("median [um]", False, 1),
    "p95_um": Figure("95 % [um]", False, 0),
    "dice": Figure("Dice", True, 3),
    "seconds": Figure("wall [s]", False, 0),
    "cpu_seconds": Figure("CPU [s]", False, 0),
}
"""What is shown of bench/results/registration.json."""
WORDS = 110

HEAD = """# Methods beside each other

What ours find, what others find on the same inputs, and what it takes. Where another method is
better, the table says so.

<!-- made by bench/leaders.py from bench/results/leaders.json: change the entries in bench/contest,
not this page -->
"""
READING = """
- Each method runs in a process of its own and gets the same arrays; others live in virtual
  environments of their own, with the versions below. All cores may be used. Wall and processor time
  are those of the call, without the imports, the best of its runs; memory is the largest resident
  memory of the process and all that it starts, libraries and input included (pages that several
  share count in each).
- Figures are scored by `projectome.metrics` ([definitions](metrics.md)); in brackets 95 %
  intervals, bootstrapped over blocks of space, points, neurons or paths. The first figure of a
  table ranks it. **Bold** is best.
- Parameters are defaults unless it is said otherwise. Where a method of others cannot do without a
  threshold, it gets the best of several on a drawing of another seed, or the remark says not.
  Ours were developed on drawings of the same kind and on these real axons: others, which were not,
  may do better at home.
"""
REPEAT = """
## Repeat it, add to it

<!-- not run: it takes a quarter of an hour -->
```bash
python bench/leaders.py --install   # once: virtual environments for methods of others
python bench/leaders.py --write     # run everything; write the results and this page
```

Real inputs need the shared test data (`PROJECTOME_TEST_DATA`); without them their tables are left
out.

- A new method is a function `f(arrays, facts)` that returns arrays, in a file of
  `bench/contest/methods`, and an entry in `registry.py` beside it; if it has dependencies of its
  own, also an entry in `environments.py`.
- A new dataset is an entry in `datasets.py` with a function that returns arrays, facts and truth.
- A new task is an entry in `tasks.py` and a function in `scoring.py`.
"""


def number(value: float | None, digits: int) -> str:
    """Return a number for the table."""
    return "-" if value is None else f"{value:,.{digits}f}"


def cell(figure: Figure, value: Sequence[float | None], *, best: bool) -> str:
    """Return a figure with its interval."""
    text = number(value[0], figure.digits)
    text = f"**{text}**" if best else text
    if len(value) == 3 and value[1] is not None:
        ends = (number(v, min(figure.digits, 2)) for v in value[1:])
        text += f" ({' to '.join(ends)})"
    return text


def columns_of(task: Task, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """Return the figures that at least one row has, then the costs."""
    held = {name for row in rows for name in row.get("figures", {})}
    return [f for f in task.figures if f.name in held] + list(COSTS)


def value_in(row: dict[str, Any], figure: Figure) -> list[float | None]:
    """Return a figure of a row with its interval, or a cost."""
    if figure.name in TOOK:
        return [row[TOOK[figure.name]]]
    return list(row["figures"].get(figure.name, [None]))


def best_of(rows: Iterable[dict[str, Any]], figure: Figure) -> str | None:
    """Return the best value as it is shown; all that are shown alike are best."""
    if figure.high is None:
        return None
    values = [v for row in rows if (v := value_in(row, figure)[0]) is not None]
    if not values:
        return None
    return number(max(values) if figure.high else min(values), figure.digits)


def ranked(task: Task, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with figures, the best first."""
    first = task.figures[0]

    def rank(row: dict[str, Any]) -> float:
        value = value_in(row, first)[0]
        if value is None:
            return float("inf")
        return -value if first.high else value

    return sorted((row for row in rows if "figures" in row), key=rank)


def table_of(task: Task, rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of a dataset, the best first; then who did not answer."""
    done = ranked(task, rows)
    columns = columns_of(task, done)
    best = {f.name: best_of(done, f) for f in columns}
    lines = []
    if done:
        lines.append("| method | " + " | ".join(f.name for f in columns) + " |")
        lines.append("|---|" + "---|" * len(columns))
    for row in done:
        cells = []
        for figure in columns:
            value = value_in(row, figure)
            shown = number(value[0], figure.digits)
            is_best = value[0] is not None and shown == best[figure.name]
            cells.append(cell(figure, value, best=is_best))
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    failed = [row for row in rows if "why" in row]
    if failed:
        lines += [""] + [f"- no result: {row['method']}: {plain(row['why'])}" for row in failed]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return the end of the last words of a program, in one line that is no markup."""
    words = " ".join(text.split())
    return (words[-WORDS:] if len(words) > WORDS else words).replace("|", "/").replace("`", "'")


def summary(document: dict[str, Any]) -> str:
    """Return who leads each table, and where ours are."""
    lines = [
        "| task | input | figure | leads | best of ours |",
        "|---|---|---|---|---|",
    ]
    for task in TASKS:
        for dataset in (d for d in DATASETS if d.task == task.name):
            rows = rows_of(document, task.name, dataset.name)
            done = ranked(task, rows)
            if not done:
                continue
            figure = task.figures[0]
            place, ours = next(
                ((n, r) for n, r in enumerate(done, 1) if r["method"].startswith("projectome")),
                (0, None),
            )
            first = f"{done[0]['method']}, {number(value_in(done[0], figure)[0], figure.digits)}"
            own = "none yet"
            if ours is not None:
                own = f"{ours['method']}, {number(value_in(ours, figure)[0], figure.digits)}"
                own += f" ({place} of {len(done)})"
            link = f"[{task.title}](#{anchor(task.title)})"
            lines.append(f"| {link} | {dataset.name} | {figure.name} | {first} | {own} |")
    return "\n".join(lines)


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def rows_of(document: dict[str, Any], task: str, dataset: str) -> list[dict[str, Any]]:
    """Return the rows of one table."""
    named = (t for t in document["tables"] if (t["task"], t["dataset"]) == (task, dataset))
    return next((t["rows"] for t in named), [])


def section(task: Task, document: dict[str, Any]) -> str:
    """Return the section of a task."""
    parts = [f"## {task.title}", " ".join((task.question, *task.remarks))]
    for dataset in (d for d in DATASETS if d.task == task.name):
        rows = rows_of(document, task.name, dataset.name)
        if rows:
            seed = "" if dataset.seed is None else f" Seed {dataset.seed}."
            parts += [f"**{dataset.name}.** {dataset.what}{seed}", table_of(task, rows)]
    shown = {row["method"] for row in rows_for(document, task)}
    own = [m for m in METHODS if m.task == task.name and m.name in shown]
    parts.append("\n".join(f"- {m.name}: {m.what}." for m in own))
    return "\n\n".join(parts)


def absent(document: dict[str, Any]) -> str:
    """Return which tables the results lack."""
    names = [f"{d.task}/{d.name}" for d in DATASETS if not rows_of(document, d.task, d.name)]
    return f"Not in these results: {', '.join(names)}." if names else ""


def registration(results: Path) -> str:
    """Return the section of what bench/registration.py measured; empty without its results."""
    file = results / "registration.json"
    if not file.is_file():
        return ""
    found = json.loads(file.read_text())["pairs"]
    tools = list(dict.fromkeys(p["tool"] for p in found))
    ours = {p["pair"]: p["median_um"] for p in found if p["tool"] == "ours"}
    rows = []
    for tool in tools:
        own = [p for p in found if p["tool"] == tool and p["pair"] in ours]
        row: dict[str, Any] = {"method": "projectome" if tool == "ours" else tool}
        row["pairs"] = len(own)
        row["ours"] = sum(ours[p["pair"]] for p in own) / len(own)
        for key in REGISTRATION:
            values = [p[key] for p in own if p.get(key) is not None]
            row[key] = sum(values) / len(values) if values else None
        rows.append(row)
    rows.sort(key=lambda r: r["median_um"])
    names = ["method", "pairs", *(f.name for f in REGISTRATION.values()), "ours there [um]"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        cells = [str(row["pairs"])]
        for key, figure in REGISTRATION.items():
            known = [r[key] for r in rows if r[key] is not None]
            best = known and row[key] == (max(known) if figure.high else min(known))
            cells.append(cell(figure, [row[key]], best=bool(best)))
        lines.append(f"| {row['method']} | {' | '.join(cells)} | {row['ours']:.1f} |")
    text = (
        "Scans made from the template of the Allen atlas or a real brain by a known map: median "
        "and 95th percentile of the errors of 1000 landmarks and median Dice of regions, means "
        "over the pairs that a tool did; the last column is our median error on the same pairs. "
        "Measured by `bench/registration.py`, each tool with its defaults or as named there; see "
        "[registration](registration.md)."
    )
    return "\n\n".join(["## Registration", text, "\n".join(lines)])


def facts(document: dict[str, Any]) -> str:
    """Return when and on what it ran, and the versions."""
    runs = ["| table | when | took | load before, after | machine |", "|---|---|---|---|---|"]
    found: dict[str, dict[str, str]] = {}
    for table in (t for t in document["tables"] if t["rows"]):
        m = table["machine"]
        load = f"{m['load_average']:g}, {m['load_average_after']:g}"
        machine = (
            f"{m['processor']}, {m['cores']} cores, {m['memory_gib']:g} GiB, {m['system']}; "
            f"projectome {m['projectome']}, Python {m['python']}"
        )
        name = f"{table['task']}, {table['dataset']}"
        runs.append(f"| {name} | {m['began']} | {m['seconds']} s | {load} | {machine} |")
        own = {method.name: method for method in METHODS if method.task == table["task"]}
        for row in (r for r in table["rows"] if "versions" in r and r["method"] in own):
            known = found.setdefault(own[row["method"]].environment, {"Python": row["python"]})
            known |= row["versions"]
    versions = ["| environment | versions | remark |", "|---|---|---|"]
    for environment in ENVIRONMENTS:
        names = found.get(environment.name, {})
        text = ", ".join(f"{k} {v}" for k, v in names.items()) or "no result"
        versions.append(f"| {environment.name} | {text} | {environment.note or '-'} |")
    title = "## When, on what, with which versions"
    load = (
        "Where the load is above the number of cores, others worked on the machine: processor time "
        "tells more than wall time then."
    )
    return "\n\n".join([title, "\n".join(runs), load, "\n".join(versions)])


def write_page(document: dict[str, Any], results: Path) -> str:
    """Return the page.

    Parameters
    ----------
    document
        What `bench/leaders.py` returns.
    results
        Folder of results; that of registration is taken from there.
    """
    parts = [HEAD.strip(), summary(document), absent(document), READING.strip()]
    parts += [section(t, document) for t in TASKS if rows_for(document, t)]
    parts += [registration(results), facts(document), REPEAT.strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def rows_for(document: dict[str, Any], task: Task) -> list[dict[str, Any]]:
    """Return the rows of a task."""
    return [row for t in document["tables"] if t["task"] == task.name for row in t["rows"]]
