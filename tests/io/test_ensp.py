"""The standard JSON: what is kept, what is refused and in which words, and the schema."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError, MetadataError, NotFoundError, ProjectomeError
from projectome.io.metadata.ensp import (
    SCHEMA,
    Creator,
    json_bytes,
    metadata_schema,
    parse_metadata,
    pointer,
    read_metadata,
    values,
    write_metadata,
)

DOCS = Path(__file__).resolve().parents[1] / "docs" / "schema.py"
FULL = {
    "$schema": SCHEMA,
    "title": "Axons of the corpus callosum",
    "description": "Två färger – 二色",
    "licence": "CC-BY-4.0",
    "creators": [{"name": "Ada Byron", "orcid": "0000-0002-1825-0097"}, {"name": "M. Curie"}],
    "specimen": {
        "species": "Mus musculus",
        "labelling": "Brainbow AAV",
        "clearing": "none",
        "age": "P56D",
        "sex": "female",
        "subject": "m/1~a",
    },
    "instrument": {"microscope": "LSM 880", "numerical_aperture": 0.8, "technique": "confocal"},
    "image": {
        "file": "a.czi",
        "format": "CZI",
        "kind": "image",
        "axes": "czyx",
        "shape": [2, 10, 512, 512],
        "dtype": "uint16",
        "voxel_size_um": [0.5, 0.0993, 1],
        "toward": ["posterior", None, "left"],
        "channels": [{"name": "a", "excitation_nm": 488.5}, {"name": "b", "dye": "tdTomato"}],
        "acquired": "2026-05-01T14:30:00.123+02:00",
    },
    "sources": {"": "user", "/image": "file", "/image/voxel_size_um": "user"},
    "extra": {"cage": {"id": None, "rows": [1, 2.5, "x"]}},
}


def edited(**changes: object) -> dict:
    """Return the full document with values set by their places, keys joined by a dot."""
    document = copy.deepcopy(FULL)
    for place, value in changes.items():
        *above, last = place.split("__")
        inner = document
        for key in above:
            inner = inner[int(key) if key.isdecimal() else key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return document


def told(document: dict) -> str:
    """Return what is wrong with a document."""
    with pytest.raises(MetadataError) as caught:
        parse_metadata(document, where="m.json")
    return str(caught.value)


def test_a_document_reads_and_writes_exactly(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(FULL))
    metadata = read_metadata(path)
    assert metadata.plain() == FULL
    write_metadata(metadata, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == FULL
    assert read_metadata(tmp_path / "again.json") == metadata
    write_metadata(read_metadata(tmp_path / "again.json"), tmp_path / "third.json")
    assert (tmp_path / "third.json").read_bytes() == (tmp_path / "again.json").read_bytes()


def test_the_longest_pointer_tells_whose_word_a_value_is():
    metadata = parse_metadata(FULL, where="m.json")
    assert metadata.source("title") == "user"
    assert metadata.source("image", "shape") == "file"
    assert metadata.source("image", "voxel_size_um") == "user"


def test_pointers_escape_as_the_rfc_says():
    assert pointer(("a/b", "c~d", 0)) == "/a~1b/c~0d/0"


def test_values_are_leaves_and_lists_of_numbers():
    places = list(values(FULL))
    assert ("image", "shape") in places
    assert ("image", "channels", 1, "dye") in places
    assert all(place[0] not in ("sources", "extra", "$schema") for place in places)


def test_all_problems_are_told_at_once():
    wrong = edited(
        licence="CC-BY-4",
        specimen__species="mouse",
        specimen__clearing=...,
        creators__0__orcid="0000-0002-1825-0098",
        image__voxel_size_um=[0.5, "0.1", 0],
        image__axes="zyx",
        instrument__microscop="x",
    )
    text = told(wrong)
    for line in (
        "m.json: licence: 'CC-BY-4' is not right: no SPDX licence. Did you mean 'CC-BY-4.0'?",
        "m.json: specimen.species: 'mouse' is not right: no binomial name of a species; write for "
        "instance 'Mus musculus'",
        "m.json: specimen.clearing: Field required",
        "m.json: creators.0.orcid: '0000-0002-1825-0098' is not right: no ORCID iD",
        "m.json: image.voxel_size_um.1: '0.1' is not right",
        "m.json: image.voxel_size_um.2: 0 is not right",
        "m.json: image.shape: 4 numbers for the axes zyx",
        "m.json: instrument.microscop: unknown key; did you mean 'microscope'? Facts without a key "
        "of their own go into 'extra'.",
    ):
        assert line in text
    assert text.count("\n  - ") == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": "cc-by-4.0"}, "Did you mean 'CC-BY-4.0'?"),
        ({"licence": "free"}, "Common: CC0-1.0"),
        ({"image__channels": [{"name": "a"}]}, "1 channels, but the image has 2"),
        ({"specimen__age": "P56"}, "no age as P56D"),
        ({"specimen__born": "2026-02-30"}, "no date as 2026-05-01"),
        ({"image__acquired": "yesterday"}, "no date and time as"),
        ({"image__acquired": "2026-05-01T25:00"}, "no date and time as"),
        ({"image__shape": [2, 10, 512, 0]}, "image.shape.3: 0 is not right"),
        ({"image__dtype": "object"}, "image.dtype: 'object' is not right"),
        ({"sources": {"": "user", "/nowhere": "file"}}, "sources./nowhere: points to no value"),
        ({"sources": {"/image": "file"}}, "says of /title, /description, /licence"),
        ({"sources": {"": "rumour"}}, "sources.: 'rumour' is not right"),
        ({"creators": []}, "creators: [] is not right"),
        ({"title": " "}, "title: ' ' is not right"),
        ({"$schema": "other"}, "$schema: 'other' is not right"),
        ({"specimen": "a mouse"}, "specimen: 'a mouse' is not right"),
    ],
)
def test_a_wrong_value_is_told(changes, message):
    assert message in told(edited(**changes))


def test_spdx_expressions_and_own_licences_are_understood():
    for licence in ("CC0-1.0", "MIT OR CC-BY-4.0", "LicenseRef-ours", "ODbL-1.0"):
        assert parse_metadata(edited(licence=licence), where="m").licence == licence


def test_creators_are_taken_apart():
    assert Creator.parse("Ada Byron <0000-0002-1825-0097>") == {
        "name": "Ada Byron",
        "orcid": "0000-0002-1825-0097",
    }
    assert Creator.parse("A <https://orcid.org/0000-0002-1825-0097>")["orcid"][0] == "0"
    assert Creator.parse(" M. Curie ") == {"name": "M. Curie"}


@pytest.mark.parametrize(
    "orcid", ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"]
)
def test_the_checksum_of_real_orcid_ids_fits(orcid):
    assert parse_metadata(edited(creators__0__orcid=orcid), where="m").creators[0].orcid == orcid


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"title": 1, "title": 2}', MetadataError, "the key 'title' stands 2 times"),
        ('{"extra": {"a": NaN}}', MetadataError, "NaN is no number of JSON"),
        ("[]", FormatError, "not an object"),
        ("", FormatError, "it is empty"),
        ('{"a":' * 100 + "1" + "}" * 100, FormatError, "nested deeper"),
        ('{"a":' * 100_000, FormatError, "not a JSON document"),
        ('{"title": "\\ud800"}', MetadataError, "no sound metadata"),
        ("{}", MetadataError, "title: Field required"),
    ],
)
def test_broken_documents_are_refused(tmp_path, text, error, message):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_metadata(path)


def test_missing_and_large_documents_are_refused(tmp_path):
    with pytest.raises(NotFoundError):
        read_metadata(tmp_path / "none.json")
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (5 * 2**20))
    with pytest.raises(FormatError, match="large"):
        read_metadata(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = [*values(FULL), ("sources",), ("image",), ("extra",), ("creators",)]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_is_kept_or_refused(tmp_path_factory, place, value):
    document = copy.deepcopy(FULL)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps(document))
    try:
        metadata = read_metadata(path)
    except ProjectomeError:
        return
    assert metadata.plain() == document
    assert json.loads(json_bytes(metadata.plain())) == document
    jsonschema.validate(document, metadata_schema())


@given(data=st.binary(max_size=200), cut=st.integers(0, 2000), at=st.integers(0, 2000))
def test_mutated_bytes_are_read_or_refused(tmp_path_factory, data, cut, at):
    whole = json_bytes(FULL)
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_bytes(whole[:at] + data + whole[at + cut :])
    with contextlib.suppress(ProjectomeError):
        read_metadata(path)


def test_the_schema_is_a_schema_and_agrees():
    schema = metadata_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == SCHEMA
    check = jsonschema.Draft202012Validator(schema)
    assert check.is_valid(FULL)
    for changes in (
        {"specimen__clearing": ...},
        {"instrument__microscop": "x"},
        {"image__voxel_size_um": [1, 1]},
        {"image__voxel_size_um": [1, 1, 0]},
        {"specimen__age": "56"},
        {"creators": []},
        {"sources": {"": "rumour"}},
        {"$schema": "other"},
    ):
        assert not check.is_valid(edited(**changes)), changes


def test_the_published_schema_is_current():
    spec = importlib.util.spec_from_file_location("schema", DOCS)
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), (
        "run: python tests/docs/schema.py"
    )
