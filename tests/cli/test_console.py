"""Tables and figures for people, documents for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from projectome.cli.console import as_json, column_texts, facts, table


def test_numbers_share_their_decimals_and_stand_to_the_right():
    text = table(
        ("file", "length", "ends"), [("a", 1710.25, 12), ("[b]", 3.5, 1234), ("c", 20.0, 1)]
    )
    assert text.splitlines() == [
        "file  length   ends",
        "a      1,710     12",
        "[b]        4  1,234",
        "c         20      1",
    ]


def test_small_numbers_keep_their_digits():
    assert column_texts([0.4826, 1.0]) == ["0.483", "1.000"]
    assert column_texts([12.3456, 7.0]) == ["12.35", "7.00"]
    assert column_texts([float("nan"), None, 2.0]) == ["-", "-", "2.000"]
    assert column_texts([]) == []


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_no_number_is_written_with_powers_of_ten(values):
    texts = column_texts(values)
    assert not any("e" in text for text in texts)
    largest = max(map(abs, values))
    for value, text in zip(values, texts, strict=True):
        assert abs(float(text.replace(",", "")) - value) <= max(largest * 1e-3, 1e-3)


def test_an_empty_table_has_its_heading():
    assert table(("a", "b"), []) == "a  b"


def test_wide_tables_are_not_cut():
    long = "x" * 400
    assert long in table(("name", "n"), [(long, 1)])


def test_facts_have_their_units():
    text = facts(
        {
            "voxels": 1454400,
            "voxel_size_um": [5.0, 0.1678, 2.0],
            "read_bytes": 2_910_000,
            "low": 0.25,
        }
    )
    assert text.splitlines() == [
        "voxels           1,454,400",
        "voxel size [um]  5 x 0.168 x 2",
        "read             2.91 MB",
        "low              0.25",
    ]


def test_documents_are_json_whatever_is_in_them():
    @dataclass
    class Thing:
        path: Path
        values: np.ndarray

    found = as_json(
        {"b": Thing(Path("x"), np.array([1.0, np.nan])), "a": (np.int64(3), True, None)}
    )
    assert found == {"b": {"path": "x", "values": [1.0, None]}, "a": [3, True, None]}
    assert list(found) == ["b", "a"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
