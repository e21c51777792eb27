import contextlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.box import BlockGrid, Box
from projectome.core.provenance import plain
from projectome.engine.ledger import last_grid, open_ledger, read_description
from projectome.errors import OutputBusyError, OutputExistsError

GRID = BlockGrid(Box.from_shape((10, 10, 10)), (5, 5, 1), (1, 0, 2))
PLAN = {"step": "s", "parameters": {"threshold": 3.0}, "grid": plain(GRID)}
OTHER = {"step": "s", "parameters": {"threshold": 5.0}, "grid": plain(GRID)}


def mark(url, places, plan=PLAN, **options):
    with open_ledger(url, plan, 40, **options) as ledger, ledger.marker.open() as put:
        for place in places:
            put(place)


def done(url, plan=PLAN):
    with open_ledger(url, plan, 40) as ledger:
        return set(np.flatnonzero(ledger.done()).tolist())


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "ledger") if request.param == "file" else f"memory://{tmp_path}/ledger"


def test_marks_are_remembered(url):
    assert done(url) == set()
    mark(url, [3, 17, 0])
    mark(url, [5, 3])
    assert done(url) == {0, 3, 5, 17}
    assert read_description(url) == PLAN
    assert last_grid(url) == GRID


def test_other_parameters_are_refused_and_named(url):
    mark(url, [1])
    with pytest.raises(OutputExistsError, match=r"threshold was 3.0 and is 5.0.*--overwrite"):
        done(url, OTHER)
    assert done(url) == {1}


def test_overwriting_begins_anew(url):
    mark(url, [1, 2])
    mark(url, [7], OTHER, overwrite=True)
    assert done(url, OTHER) == {7}
    mark(url, [], overwrite=True)
    assert done(url) == set()  # not even the first marks come back
    mark(url, [4])
    mark(url, [], overwrite=True)
    assert done(url) == set()  # the same parameters begin anew as well


def test_marks_of_another_key_do_not_count(tmp_path):
    url = str(tmp_path / "ledger")
    mark(url, [1, 2])
    [path] = (tmp_path / "ledger").glob("marks*.log")
    stolen = path.read_bytes()
    mark(url, [], OTHER, overwrite=True)
    (tmp_path / "ledger" / "marks-elsewhere-1.log").write_bytes(stolen)
    assert done(url, OTHER) == set()


@given(st.data())
def test_a_torn_tail_loses_its_own_mark_only(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("torn")
    url = str(folder / "ledger")
    places = data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=12, unique=True))
    mark(url, places)
    [path] = (folder / "ledger").glob("marks*.log")
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    complete = set(places[: whole[:cut].count(b"\n")])
    assert done(url) == complete
    mark(url, [places[-1]])  # appends behind the torn tail
    assert done(url) == complete | {places[-1]}


@given(st.binary(max_size=200))
def test_garbage_is_no_mark(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("garbage")
    mark(str(folder), [8])
    (folder / "marks-x-1.log").write_bytes(garbage)
    assert done(str(folder)) == {8}


def test_marks_outside_the_grid_are_ignored(tmp_path):
    mark(str(tmp_path), [39, 40, 10**12])
    assert done(str(tmp_path)) == {39}


def test_files_are_put_together(tmp_path):
    mark(str(tmp_path), [1])
    [own] = tmp_path.glob("marks-*.log")
    for k in range(5):
        own.rename(tmp_path / f"marks-host-{k}.log")
        mark(str(tmp_path), [k])
        [own] = tmp_path.glob(f"marks-*-{os.getpid()}.log")
    assert done(str(tmp_path)) == {0, 1, 2, 3, 4}
    assert [path.name for path in tmp_path.glob("marks*")] == ["marks.log"]


def test_two_runs_refuse_each_other(url):
    with (
        open_ledger(url, PLAN, 40),
        pytest.raises(OutputBusyError, match=rf"process {os.getpid()} on .*, since 20.*Wait until"),
        open_ledger(url, PLAN, 40),
    ):
        pass
    assert done(url) == set()  # released


def test_a_failing_run_releases_the_output(url):
    with contextlib.suppress(ZeroDivisionError), open_ledger(url, PLAN, 40):
        raise ZeroDivisionError
    assert done(url) == set()
