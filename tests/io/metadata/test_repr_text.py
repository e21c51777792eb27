"""The grammar of printed objects: what it reads, what it refuses, and that nothing is ever run."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError
from projectome.io.metadata.repr_text import LONGEST, looks_printed, parse_printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "object_type='Scale' scale=[512.0, 512.0]",
            {"object_type": "Scale", "scale": [512.0, 512.0]},
        ),
        ("scale=[Decimal('0.748'), Decimal('1')]", {"scale": ["0.748", "1"]}),
        ("Scale(scale=[1, 2])", {"object_type": "Scale", "scale": [1.0, 2.0]}),
        ("pivot=<Reference.GLOBAL: 'global'> n=None", {"pivot": "global", "n": None}),
        ('a=[] b=True, c="it\'s"', {"a": [], "b": True, "c": "it's"}),
        ("x=[Translation(translation=[-1e-3, .5])]", None),
        ("scale=-3.5E+2", {"scale": -350.0}),
        ("Empty()", {"object_type": "Empty"}),
    ],
)
def test_forms_that_pydantic_prints(text, expected):
    assert looks_printed(text)
    found = parse_printed(text)
    if expected is None:
        inner = {"object_type": "Translation", "translation": [-0.001, 0.5]}
        expected = {"x": [inner]}
    assert found == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("scale=[1, 2", "was expected"),
        ("scale=[1 2]", "was expected"),
        ("scale=1 scale=2", "twice"),
        ("scale=__import__('os').system('true')", "left over|expected"),
        ("scale=1 + 1", "nothing is known"),
        ("scale=os", "no value"),
        ("scale='a\\'b'", "nothing is known|expected"),
        ("x=" + "[" * 40, "deeper"),
        ("x=" + "A(" * 40, "deeper|expected"),
        ("x=1" * LONGEST, "longer"),
        ("lambda: 0", "no value"),
        ("x={}", "nothing is known"),
    ],
)
def test_everything_else_is_refused(text, why):
    with pytest.raises(FormatError, match=f"printed form.*({why}).*JSON object"):
        parse_printed(text)


@given(st.text(alphabet="ab='\"[](),<>.: 01-eNone\n", max_size=80))
def test_any_text_is_a_value_or_an_error(text):
    with contextlib.suppress(FormatError):
        parse_printed(text)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30)


@given(st.lists(finite, max_size=12), st.from_regex(r"[A-Za-z ]{0,12}", fullmatch=True))
def test_what_python_prints_comes_back(numbers, word):
    found = parse_printed(f"object_type={word!r} scale={numbers!r} other=None")
    assert found == {"object_type": word, "scale": numbers, "other": None}
