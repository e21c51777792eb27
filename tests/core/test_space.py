from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.space import (
    LPS,
    OPPOSITE,
    Space,
    all_orientations,
    lps_directions,
    micrometres_per,
    signed_permutation,
)
from projectome.errors import OrientationUnknownError, ParameterError
from projectome.testing.strategies import spaces

ALL = [Space(toward=toward) for toward in all_orientations()]


def test_there_are_48_orientations():
    assert len(ALL) == len({space.toward for space in ALL}) == 48


@pytest.mark.parametrize("meaning", ["toward", "from"])
def test_codes_round_trip_over_all_48(meaning):
    for space in ALL:
        code = space.code(meaning=meaning)
        assert Space.from_code(code, meaning=meaning) == space
        assert Space.from_code(code.lower(), meaning=meaning) == space


def test_the_two_meanings_of_a_code_are_opposite():
    for space in ALL:
        other = Space.from_code(space.code(meaning="toward"), meaning="from")
        assert other.toward == tuple(OPPOSITE[d] for d in space.toward)


def test_published_codes():
    # BrainGlobe: "asr" starts anterior, superior, right. nibabel: RAS runs toward right, ...
    assert Space.from_code("asr", meaning="from").toward == ("posterior", "inferior", "left")
    assert Space.from_code("RAS", meaning="toward").toward == ("right", "anterior", "superior")


def test_an_unknown_direction_shows_as_a_question_mark():
    assert Space(toward=("left", None, "superior")).code(meaning="toward") == "L?S"


def test_signed_permutation_is_a_group():
    rng = np.random.default_rng(0)
    for a, b, c in rng.integers(0, 48, (200, 3)):
        ab = signed_permutation(ALL[a], ALL[b])
        np.testing.assert_array_equal(ab @ signed_permutation(ALL[b], ALL[a]), np.eye(3))
        bc = signed_permutation(ALL[b], ALL[c])
        np.testing.assert_array_equal(bc @ ab, signed_permutation(ALL[a], ALL[c]))


def test_signed_permutation_agrees_with_lps():
    # A step has the same direction cosines, whichever space it is told in.
    for a, b in pairwise(ALL):
        step = np.array([1.0, 2.0, 3.0])
        there = signed_permutation(a, b) @ step
        lps = lps_directions(a.toward) @ step
        np.testing.assert_array_equal(lps_directions(b.toward) @ there, lps)


def test_half_of_the_orientations_are_mirrors():
    reference = ALL[0]
    signs = [round(np.linalg.det(signed_permutation(reference, other))) for other in ALL]
    assert sorted(signs) == [-1] * 24 + [1] * 24


def test_lps_axes_are_orthonormal_and_named_by_the_directions():
    for direction, (row, sign) in LPS.items():
        column = lps_directions([direction])[:, 0]
        assert column[row] == sign
        assert np.abs(column).sum() == 1


@given(spaces(oriented=False))
def test_orientation_is_never_guessed(space):
    assert not space.oriented
    with pytest.raises(OrientationUnknownError, match="--orientation CODE --meaning toward"):
        space.require_orientation("Testing")
    with pytest.raises(OrientationUnknownError):
        signed_permutation(space, ALL[0])


@given(spaces())
def test_tissue_differs_in_its_expansion_alone(space):
    assert space.tissue.expansion == 1
    assert space.tissue.renamed("other").name == "other"
    assert space.tissue.toward == space.toward
    assert hash(space) == hash(space.renamed(space.name))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axes": ("z", "y", "y")}, "different axis names"),
        ({"toward": ("left", "right", "superior")}, "one anatomical line"),
        ({"toward": ("left", "up", "superior")}, "Known: left, right"),
        ({"toward": ("left",)}, "one direction an axis"),
        ({"expansion": 0.0}, "between 0.1 and 100"),
        ({"expansion": np.nan}, "between 0.1 and 100"),
        ({"unit": "millimeter"}, "micrometers or voxels"),
    ],
)
def test_impossible_spaces_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        Space(**wrong)


@pytest.mark.parametrize("code", ["", "RA", "RASL", "RAX", "RLS", "R?S"])
def test_impossible_codes_are_refused(code):
    with pytest.raises(ParameterError):
        Space.from_code(code, meaning="toward")


def test_a_meaning_has_to_be_one_of_two():
    with pytest.raises(ParameterError, match="'toward' or 'from'"):
        Space.from_code("RAS", meaning="to")


@given(st.sampled_from([("mm", 1e3), ("µm", 1), ("μm", 1), ("NM", 1e-3), (" meter ", 1e6)]))
def test_units_of_length(pair):
    assert micrometres_per(pair[0]) == pair[1]


def test_unknown_units_are_refused():
    with pytest.raises(ParameterError, match=r"Known: .*micrometer"):
        micrometres_per("furlong")


def test_a_span_is_three_lengths_and_no_part_of_what_a_coordinate_means():
    whole, part = Space(), Space(span=(1.0, 0.0, 5.5))
    assert whole == part
    assert hash(whole) == hash(part)
    for wrong in ((1.0, 2.0), (-1.0, 0.0, 0.0), (float("nan"),) * 3):
        with pytest.raises(ParameterError, match="three lengths"):
            Space(span=wrong)
