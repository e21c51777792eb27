import copy
import hashlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from projectome.core.provenance import Record, digest, plain
from projectome.errors import ParameterError

LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
)
PLAIN = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Step:
    sigma: float
    url: PurePosixPath
    secret: str = field(default="", compare=False)


def reordered(value: object) -> object:
    """Return the same data with every mapping in reverse order."""
    if isinstance(value, dict):
        return {k: reordered(v) for k, v in reversed(value.items())}
    return [reordered(v) for v in value] if isinstance(value, list) else value


@given(PLAIN)
def test_the_order_of_mappings_does_not_matter(value):
    assert digest(reordered(value)) == digest(value)
    assert digest(copy.deepcopy(value)) == digest(value)


@given(PLAIN, PLAIN)
def test_different_data_have_different_digests(a, b):
    # In JSON 1 and 1.0 are written differently, and True is not 1.
    assume(repr(plain(a)) != repr(plain(b)))
    assert digest(a) != digest(b)


def test_a_digest_is_the_same_on_every_machine():
    text = b'{"a":[true,null,0.1],"b":1}'
    assert digest({"b": 1, "a": (True, None, 0.1)}) == hashlib.sha256(text).hexdigest()


def test_everything_plain_becomes_json():
    step = Step(2.0, PurePosixPath("a/b"), secret="x")
    assert plain(step) == {"sigma": 2.0, "url": "a/b"}
    assert plain({"c": Colour.RED, "n": np.float32(0.5), "i": np.int64(3)}) == {
        "c": "red",
        "i": 3,
        "n": 0.5,
    }
    assert plain(np.arange(4).reshape(2, 2)) == [[0, 1], [2, 3]]
    assert plain(np.array(5)) == 5
    assert plain({"b", "a"}) == ["a", "b"]


def test_fields_that_are_not_compared_do_not_count():
    assert digest(Step(1.0, PurePosixPath("a"), "x")) == digest(Step(1.0, PurePosixPath("a"), "y"))
    assert digest(Step(1.0, PurePosixPath("a"))) != digest(Step(1.5, PurePosixPath("a")))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, object(), b"bytes", {"a": [lambda: 0]}])
def test_what_cannot_be_recorded_is_refused(wrong):
    with pytest.raises(ParameterError, match="cannot be recorded"):
        digest(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "tubeness/2"},
        {"parameters": {"sigma": 2.5}},
        {"inputs": {"volume": "abd"}},
        {"software": "0.1.1"},
    ],
)
def test_every_part_of_a_record_counts(change):
    fields = {
        "step": "tubeness/1",
        "parameters": {"sigma": 2.0},
        "inputs": {"volume": "abc"},
        "software": "0.1.0",
    }
    assert Record(**{**fields, **change}).key != Record(**fields).key


def test_records_are_pickled_and_cannot_be_changed():
    record = Record("a/1", {"sigma": 2.0})
    assert copy.deepcopy(record).key == record.key
    with pytest.raises(TypeError):
        record.parameters["sigma"] = 3
