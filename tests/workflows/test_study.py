"""The study folder: what is written is read back, and nobody's work is overwritten."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.provenance import Record
from projectome.errors import FormatError, NotFoundError, OutputExistsError
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


def test_provenance_keeps_the_time_of_what_did_not_change(tmp_path):
    study = Study(tmp_path)
    study.record({"somata.parquet": Record("detect-somata/1", {"a": 1}, {"image": "f00"}, "0.1")})
    first = json.loads(study.provenance.read_text())
    study.record({"labels.ome.zarr": Record("renumber/1", {}, {}, "0.1")})
    second = json.loads(study.provenance.read_text())
    assert second["files"]["somata.parquet"] == first["files"]["somata.parquet"]
    assert second["files"]["somata.parquet"]["inputs"] == {"image": "f00"}
    assert set(second["files"]) == {"somata.parquet", "labels.ome.zarr"}


def test_differences_are_named_with_their_sections():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0}) == {"a.c", "d"}
