"""The contest: entries fit together, what methods take is measured, and the page is the results."""

import json
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from projectome.core.skeleton import Skeleton

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "leaders.json"


@pytest.fixture(scope="module", autouse=True)
def bench_on_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield


@pytest.fixture
def results():
    return json.loads(RESULTS.read_text())


def case_of(truth, **facts):
    from contest.entries import Case

    return Case({}, facts, truth)


def line(*points):
    from contest.scoring import SPACE

    return Skeleton(np.array(points, float), np.arange(-1, len(points) - 1), SPACE)


def method(tmp_path, code):
    """Return a method whose file is written here."""
    from contest.entries import Method

    file = tmp_path / "method.py"
    file.write_text(textwrap.dedent(code))
    return Method("one", "ridges", "", str(file), "f", "")


class TestEntries:
    def test_names_are_unique_and_point_to_what_exists(self):
        from contest.datasets import DATASETS
        from contest.environments import ENVIRONMENTS
        from contest.registry import METHODS
        from contest.tasks import TASKS

        tasks = {task.name for task in TASKS}
        for entries in (METHODS, DATASETS):
            keys = [(entry.task, entry.name) for entry in entries]
            assert len(set(keys)) == len(keys)
            assert {task for task, _ in keys} == tasks
        environments = {environment.name for environment in ENVIRONMENTS}
        assert {m.environment for m in METHODS if m.environment} == environments
        for one in METHODS:
            text = (ROOT / "bench" / "contest" / "methods" / one.file).read_text()
            assert f"def {one.function}(arrays, facts" in text, one
            assert set(one.only) <= {d.name for d in DATASETS if d.task == one.task}

    def test_only_methods_of_ours_import_the_project(self):
        for file in (ROOT / "bench" / "contest" / "methods").glob("*.py"):
            imports = re.search(r"^(from|import) projectome", file.read_text(), re.MULTILINE)
            assert bool(imports) == (file.name == "projectome_methods.py")


class TestMeasure:
    def test_time_and_memory_of_the_call_are_seen(self, tmp_path):
        from contest.measure import run_method

        one = method(
            tmp_path,
            """
            import time
            import numpy as np
            def f(arrays, facts):
                held = np.ones(200 * 2**20, np.uint8)
                began = time.process_time()
                while time.process_time() - began < 0.3:
                    pass
                time.sleep(0.3)
                return {"twice": arrays["x"] * facts["by"] + held[0] - 1}
            """,
        )
        x = np.arange(4.0)
        run = run_method(one, sys.executable, {"x": x}, {"by": 2}, versions_of=("numpy", "absent"))
        assert run.answer is not None, run.why
        assert run.answer["twice"].tolist() == [0, 2, 4, 6]
        took = run.measured
        assert took["wall_s"] >= 0.6
        assert 0.3 <= took["cpu_s"] <= took["process_cpu_s"]
        assert took["process_wall_s"] > took["wall_s"]
        assert 200 * 2**20 < took["peak_bytes"] < 600 * 2**20
        assert took["versions"] == {"numpy": np.__version__}

    def test_memory_of_processes_below_counts(self, tmp_path):
        from contest.measure import run_method

        one = method(
            tmp_path,
            """
            import subprocess, sys
            def f(arrays, facts):
                code = "import time; held = bytearray(b'1') * (300 * 2**20); time.sleep(0.5)"
                subprocess.run([sys.executable, "-c", code], check=True)
                return {}
            """,
        )
        run = run_method(one, sys.executable, {}, {})
        assert run.measured["peak_bytes"] > 300 * 2**20

    def test_failure_and_delay_are_told(self, tmp_path):
        from contest.measure import run_method

        failing = method(tmp_path, "def f(arrays, facts): raise OSError('no such thing')")
        run = run_method(failing, sys.executable, {}, {})
        assert run.answer is None
        assert "no such thing" in run.why
        slow = method(tmp_path, "import time\ndef f(arrays, facts): time.sleep(60)")
        run = run_method(slow, sys.executable, {}, {}, limit_s=0.5)
        assert run.why == "ended after 0.5 s"

    def test_what_is_not_installed_has_a_row(self, tmp_path):
        import leaders
        from contest.registry import METHODS
        from contest.tasks import TASKS

        one = next(m for m in METHODS if m.environment)
        row = leaders.compete(one, TASKS[0], case_of(None), environments=tmp_path, repeats=1)
        assert row == {"why": "not installed: not made here (--install)"}


class TestScores:
    def test_ridges_perfect_and_ranked(self):
        from contest.scoring import score_ridges

        truth = np.zeros((8, 8, 8), np.uint8)
        truth[4, 4] = 1
        case = case_of(truth, voxel_size_um=[1, 1, 1])
        figures = score_ridges(case, {"score": truth.astype(float)})
        assert {name: v.value for name, v in figures.items()} == {"AP": 1, "F1": 1, "clDice": 1}
        # One false voxel ranks first: precision is n / (n + 1) at the n-th true voxel.
        score = truth.astype(float)
        score[0, 0, 0] = 2
        expected = np.mean([8 / 9] * 8)
        assert score_ridges(case, {"score": score})["AP"].value == pytest.approx(expected)

    def test_voxels_nobody_looked_at_do_not_count(self):
        from contest.scoring import score_ridges

        truth = np.full((8, 8, 8), 2, np.uint8)
        truth[0], truth[0, 0] = 0, 1
        score = np.where(truth == 1, 1.0, 0.0)
        score[5] = 9
        figures = score_ridges(case_of(truth, voxel_size_um=[1, 1, 1]), {"score": score})
        assert figures["AP"].value == 1
        assert "clDice" not in figures

    def test_somata(self):
        from contest.scoring import score_somata

        case = case_of(np.array([[0.0, 0, 0], [50, 0, 0]]), distance_um=10)
        figures = score_somata(case, {"points": np.array([[3.0, 0, 0], [90, 0, 0]])})
        assert figures["F1"].value == 0.5
        assert figures["error [um]"].value == 3

    def test_trees_perfect_circle_and_half(self):
        from contest.scoring import score_skeletons, score_trees

        nodes = np.array([[0.0, 0, 0], [0, 0, 40], [0, 0, 80]])
        truth = case_of([line(*nodes)], distance_um=2.0)
        whole = {"nodes": nodes, "edges": [[0, 1], [1, 2], [2, 0], [1, 1]]}
        figures = score_skeletons(truth, whole)
        assert figures["F1"].value == 1
        assert figures["length"].value == pytest.approx(1)
        half = {"nodes": nodes[:2], "edges": [[0, 1]]}
        figures = score_trees(truth, half)
        assert figures["recall"].value == pytest.approx(0.5, abs=0.03)
        assert figures["precision"].value == 1
        assert figures["ERL"].value == pytest.approx(0.25, abs=0.03)
        nothing = {"nodes": np.empty((0, 3)), "edges": np.empty((0, 2))}
        assert score_trees(truth, nothing)["F1"].value == 0

    def test_a_path_is_priced_and_followed(self):
        from contest.scoring import score_paths

        costs = np.ones((3, 3, 9), np.float32)
        true = {"neurites": [line((0, 0, 0), (0, 0, 8))], "optimum": [8.0]}
        case = replace(
            case_of(true, voxel_size_um=[1, 1, 1], distance_um=0.5), arrays={"costs": costs}
        )
        along = np.stack([np.zeros(9), np.zeros(9), np.arange(9)], axis=1)
        figures = score_paths(case, {"voxels": along, "counts": [9]})
        assert figures["cost"].value == figures["on the neurite"].value == 1
        around = along.copy()
        around[1:-1, 1] = 2
        figures = score_paths(case, {"voxels": around, "counts": [9]})
        assert figures["cost"].value > 1
        assert figures["on the neurite"].value < 0.5

    def test_labels(self):
        from contest.scoring import score_agglomeration

        truth = np.repeat([1, 2], 32).reshape(4, 4, 4)
        perfect = score_agglomeration(case_of(truth), {"labels": truth + 5})
        assert perfect["ARAND"].value == perfect["VOI split"].value == 0
        merged = score_agglomeration(case_of(truth), {"labels": np.ones_like(truth)})
        assert merged["VOI merge"].value == 1

    def test_farthest_tips(self):
        from contest.datasets import tips_apart
        from contest.scoring import SPACE

        places = [[0, 0, 0], [0, 0, 5], [0, 9, 0], [7, 0, 0]]
        tree = Skeleton(np.array(places, float), np.array([-1, 0, 0, 0]), SPACE)
        found = {tuple(p.tolist()) for p in tips_apart(tree)}
        assert found == {(0, 9, 0), (7, 0, 0)}


class TestPage:
    def test_the_page_is_made_of_the_results(self, results):
        from contest.page import write_page

        page = ROOT / "docs" / "benchmark.md"
        assert page.read_text() == write_page(results, RESULTS.parent), (
            "run: python bench/leaders.py --page"
        )
        assert "benchmark.md" in (ROOT / "mkdocs.yml").read_text()

    def test_tables_name_all_that_take_part(self, results):
        import leaders
        from contest.datasets import DATASETS
        from contest.tasks import TASKS

        datasets = {leaders.key_of(d): d for d in DATASETS}
        tasks = {task.name: task for task in TASKS}
        for table in (t for t in results["tables"] if "why" not in t):
            key = leaders.key_of(table)
            expected = [m.name for m in leaders.entered(tasks[table["task"]], datasets[key])]
            assert [row["method"] for row in table["rows"]] == expected, (
                f"run: python bench/leaders.py --write --tables {key}"
            )
            for row in table["rows"]:
                assert "why" in row or {"figures", "wall_s", "cpu_s", "peak_mib"} <= row.keys()

    def test_the_best_is_bold_whoever_it_is(self):
        from contest.page import table_of
        from contest.tasks import TASKS

        took = {"wall_s": 1.0, "cpu_s": 2.0, "peak_mib": 3}
        rows = [
            {"method": "projectome", "figures": {"AP": [0.5]}, **took},
            {"method": "other", "figures": {"AP": [0.75, 0.7, 0.8]}, **took | {"cpu_s": 9.0}},
            {"method": "absent", "why": "not | installed"},
        ]
        lines = table_of(TASKS[0], rows).splitlines()
        assert lines[2] == "| other | **0.750** (0.70 to 0.80) | **1.00** | 9.00 | **3** |"
        assert lines[3] == "| projectome | 0.500 | **1.00** | **2.00** | **3** |"
        assert lines[-1] == "- no result: absent: not / installed"

    def test_a_table_made_anew_leaves_the_others(self):
        import leaders

        first, second = (
            {"task": task, "dataset": "axons", "rows": [1]} for task in ("trees", "paths")
        )
        both = leaders.merged(leaders.merged({}, first), second)
        assert both == {"tables": [second, first]}  # as the entries stand
        assert leaders.merged(both, first | {"rows": [2]})["tables"] == [
            second,
            first | {"rows": [2]},
        ]
