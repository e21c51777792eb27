"""The study folder: what is written is read back, and nobody's work is overwritten."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.provenance import Record
from projectome.errors import FormatError, NotFoundError, OutputBusyError, OutputExistsError
from projectome.workflows.study import Study, differences, to_toml

DOCUMENT = {"input": {"url": "brain.ome.zarr", "level": 0}, "detect": {"radius_um": [4.0, 9.0]}}

names = st.text("abcdefgh_", min_size=1, max_size=6)
simple = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
)
values = st.one_of(simple, st.lists(st.integers(-5, 5), max_size=4), st.lists(simple, max_size=1))
documents = st.recursive(
    st.dictionaries(names, values, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(values, inner), max_size=4),
    max_leaves=12,
)


@given(documents)
def test_toml_is_read_back_as_it_was_written(document):
    assert tomllib.loads(to_toml(document)) == document


def test_none_is_left_out():
    assert tomllib.loads(to_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


def test_the_same_study_goes_on(tmp_path):
    study = Study(tmp_path / "study")
    study.begin(DOCUMENT, overwrite=False)
    before = study.toml.read_bytes()
    study.begin(DOCUMENT, overwrite=False)
    assert study.toml.read_bytes() == before
    assert study.read()["input"]["url"] == "brain.ome.zarr"


def test_other_parameters_are_refused_and_named(tmp_path):
    study = Study(tmp_path)
    study.begin(DOCUMENT, overwrite=False)
    changed = {**DOCUMENT, "detect": {"radius_um": [5.0, 9.0]}}
    with pytest.raises(OutputExistsError, match=r"detect\.radius_um.*--overwrite"):
        study.begin(changed, overwrite=False)
    study.begin(changed, overwrite=True)
    assert study.read()["detect"]["radius_um"] == [5.0, 9.0]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"thesis\.txt.*--overwrite"):
        Study(tmp_path).begin(DOCUMENT, overwrite=False)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_no_study_and_broken_studies_say_what_to_do(tmp_path):
    study = Study(tmp_path)
    with pytest.raises(NotFoundError, match="projectome reconstruct"):
        study.read()
    study.toml.write_text("format = ")
    with pytest.raises(FormatError, match="not TOML"):
        study.read()
    study.toml.write_text("format = 99")
    with pytest.raises(FormatError, match="reads 1"):
        study.read()


SOMATA = Record("detect-somata/1", {"a": 1}, {"image": "f00"}, "0.1")
LABELS = Record("renumber/1", {}, {}, "0.1")


def test_provenance_keeps_the_time_of_what_did_not_change(tmp_path):
    study = Study(tmp_path)
    study.somata.touch()
    study.record({"somata.parquet": SOMATA})
    first = json.loads(study.provenance.read_text())
    study.labels.mkdir()
    study.record({"labels.ome.zarr": LABELS})
    second = json.loads(study.provenance.read_text())
    assert second["files"]["somata.parquet"] == first["files"]["somata.parquet"]
    assert second["files"]["somata.parquet"]["inputs"] == {"image": "f00"}
    assert set(second["files"]) == {"somata.parquet", "labels.ome.zarr"}


def test_provenance_knows_what_is_there_and_forgets_what_is_gone(tmp_path):
    study = Study(tmp_path)
    study.somata.touch()
    assert not study.holds(SOMATA, "somata.parquet")
    study.record({"somata.parquet": SOMATA})
    assert study.holds(SOMATA, "somata.parquet")
    assert not study.holds(LABELS, "somata.parquet")
    study.somata.unlink()
    assert not study.holds(SOMATA, "somata.parquet")
    study.record({})
    assert json.loads(study.provenance.read_text())["files"] == {}


def test_a_moved_input_is_the_same_input(tmp_path):
    study = Study(tmp_path)
    study.begin(DOCUMENT, overwrite=False)
    moved = {**DOCUMENT, "input": {"url": "/elsewhere/brain.ome.zarr", "level": 0}}
    study.begin(moved, overwrite=False)
    assert study.read()["input"]["url"] == "/elsewhere/brain.ome.zarr"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "study").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=r"study is a file\. Choose another folder"):
            Study(tmp_path / "study").check_free(overwrite=overwrite)


def test_what_a_killed_run_left_is_no_obstacle_and_is_removed(tmp_path):
    study = Study(tmp_path)
    (study.work / "detect").mkdir(parents=True)
    (tmp_path / ".removed" / "segment").mkdir(parents=True)
    half = [tmp_path / ".study.toml.0123.partial", study.swc_folder / ".1.swc.4567.partial"]
    study.swc_folder.mkdir()
    study.ledger.mkdir()
    for path in half:
        path.write_text("format =")
    (study.swc_folder / "1.swc").write_text("mine")
    study.check_free(overwrite=True)
    study.tidy()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {".ledger", "neurons", "neurons/1.swc"}


def test_one_at_a_time(tmp_path):
    refused = pytest.raises(OutputBusyError, match=r"Another run is writing.*Wait until")
    with Study(tmp_path).lock(), refused, Study(tmp_path).lock():
        pass
    with Study(tmp_path).lock():
        pass


def test_differences_are_named_with_their_sections():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0}) == {"a.c", "d"}
