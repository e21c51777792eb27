import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.atlas import LEFT, RIGHT, Atlas, Plane, Terminology
from projectome.core.codes import Codes
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import ShapeError, SpaceMismatchError, UnknownNameError
from projectome.testing import strategies as draws

CCF = Space("ccf", toward=("posterior", "inferior", "left"))
NAMES = ("root", "CTX", "RSP", "RSPd", "TH")


def tree(**change: object) -> Terminology:
    """Root 997 holds CTX 688 (with RSP 254, with RSPd 879) and TH 549."""
    fields: dict[str, object] = {
        "ids": np.array([997, 688, 254, 879, 549]),
        "acronyms": NAMES,
        "names": NAMES,
        "parents": np.array([-1, 0, 1, 2, 0]),
        "colours": np.zeros((5, 3)),
    }
    return Terminology(**{**fields, **change})


def test_regions_are_found_by_id_and_acronym():
    terms = tree()
    assert terms.row("RSP") == terms.row(254) == terms.row(np.int64(254)) == 2
    assert len(terms) == 5
    assert tuple(terms) == NAMES
    with pytest.raises(UnknownNameError, match="Did you mean 'RSP'"):
        terms.row("RSPx")
    with pytest.raises(UnknownNameError, match="12345"):
        terms.row(12345)


def test_regions_know_what_is_in_them_and_around_them():
    terms = tree()
    assert terms.descendants("CTX").tolist() == [688, 254, 879]
    assert terms.descendants(549).tolist() == [549]
    assert terms.ancestors("RSPd") == ("RSP", "CTX", "root")
    assert terms.ancestors("root") == ()


@given(st.integers(1, 30), st.data())
def test_descendants_and_ancestors_are_inverse(count, data):
    parents = [data.draw(st.integers(-1, i - 1)) for i in range(count)]
    names = tuple(f"r{i}" for i in range(count))
    terms = Terminology(
        np.arange(count) + 100, names, names, np.array(parents), np.zeros((count, 3))
    )
    for row, name in enumerate(names):
        below = {names[r] for r in terms.rows_below(row + 100)}
        assert below == {name} | {other for other in names if name in terms.ancestors(other)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.array([1, 1, 2, 3, 4])}, "different"),
        ({"ids": np.array([0, 1, 2, 3, 4])}, "from 0"),
        ({"names": NAMES[:4]}, "5 regions need"),
        ({"parents": np.array([-1, 2, 1, 0, 0])}, "after their parents"),
        ({"colours": np.zeros((4, 3))}, "colours"),
    ],
)
def test_broken_trees_are_refused(change, message):
    with pytest.raises(ShapeError, match=message):
        tree(**change)


def test_hemispheres_are_of_the_animal():
    # In this space x grows toward the left, so that the normal, toward the right, is -x.
    midline = Plane(np.array([0, 0, 5700.0]), np.array([0, 0, -2.0]), CCF)
    assert midline.hemisphere([[0, 0, 5701], [0, 0, 5699], [0, 0, 5700]]).tolist() == [
        LEFT,
        RIGHT,
        RIGHT,
    ]
    np.testing.assert_allclose(midline.distance([[1, 2, 5690]]), [10])


@given(draws.coordinates(6), draws.coordinates(1), draws.coordinates(1, reach=1))
def test_distance_to_a_plane_is_the_shortest_one(points, point, normal):
    if not np.linalg.norm(normal) > 1e-3:
        return
    plane = Plane(point[0], normal[0], CCF)
    assert np.linalg.norm(plane.normal) == pytest.approx(1)
    foot = points - plane.distance(points)[:, None] * plane.normal
    np.testing.assert_allclose(plane.distance(foot), 0, atol=1e-6)


def test_a_plane_needs_a_direction():
    for normal in (np.zeros(3), np.array([1.0, 0])):
        with pytest.raises(ShapeError, match="vector of three"):
            Plane(np.zeros(3), normal, CCF)


def test_the_parts_of_an_atlas_lie_in_one_space():
    labels = Volume.from_array(
        np.zeros((2, 2, 2), int), voxel_size=(25,) * 3, space=CCF, kind="labels"
    )
    image = Volume.from_array(np.zeros((2, 2, 2)), voxel_size=(10,) * 3, space=CCF)
    atlas = Atlas("toy", tree(), labels, image)
    assert atlas.space == CCF
    with pytest.raises(ShapeError, match="labels"):
        Atlas("toy", tree(), image)
    with pytest.raises(SpaceMismatchError, match="one space"):
        Atlas("toy", tree(), labels, image.with_space(Space("other")))


def test_codes_are_one_row_a_segment():
    codes = Codes(
        np.array([3, 8], np.uint64), ("a", "b", "c"), np.zeros((2, 3)), np.ones((2, 3)), np.ones(2)
    )
    assert len(codes) == 2
    for wrong in (
        {"segments": np.array([8, 3], np.uint64)},
        {"segments": np.array([0, 3], np.uint64)},
        {"mean": np.zeros((2, 2))},
        {"deviation": np.zeros((3, 2))},
        {"voxels": np.array([-1, 2])},
    ):
        fields = {
            n: getattr(codes, n) for n in ("segments", "channels", "mean", "deviation", "voxels")
        }
        with pytest.raises(ShapeError):
            Codes(**{**fields, **wrong})
