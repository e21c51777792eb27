"""One model from OME-Zarr metadata of every version; problems collected as data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import MetadataError
from projectome.io.volumes.ngff import parse_multiscale
from projectome.io.volumes.ngff_transforms import Findings, matrix_of, spatial_part

SIZES = st.floats(0.01, 100.0)
SHIFTS = st.floats(-1e4, 1e4)


def errors(attributes, **options):
    with pytest.raises(MetadataError) as caught:
        parse_multiscale(attributes, url="URL", **options)
    assert "zarr://URL/LEVEL" in str(caught.value)
    return [str(p) for p in caught.value.problems if p.severity == "error"]


def warnings(image):
    assert all(p.severity == "warning" for p in image.problems)
    return [f"{p.where}: {p.message}" for p in image.problems]


@pytest.fixture
def zyx(make):
    """Attributes with axes z, y, x of 2, 1, 0.5 um, moved by 10, 20, 30 um."""

    def build(version="0.4", **more):
        axes = [make.axis(n) for n in "zyx"]
        scales, shifts = [[2, 1, 0.5], [4, 2, 1]], [[10, 20, 30], [11, 20.5, 30.25]]
        return make.metadata(version, axes, scales, shifts, **more)

    return build


def image_of(attributes):
    return attributes.get("ome", attributes)["multiscales"][0]


def test_the_drafts_of_0_9_bring_orientation(zyx):
    """0.9.dev1 is 0.6 with axes of any names (RFC-3) and their anatomical direction (RFC-4)."""
    attributes = zyx("0.6")
    attributes["ome"]["version"] = "0.9.dev1"
    words = ("inferior-to-superior", "anterior-to-posterior", "right-to-left")
    system = image_of(attributes)["coordinateSystems"][0]
    for axis, word in zip(system["axes"], words, strict=True):
        axis["orientation"] = {"type": "anatomical", "value": word}
    image = parse_multiscale(attributes, url="URL")
    assert image.toward == ("superior", "posterior", "left")
    assert (image.version, image.problems) == ("0.9.dev1", ())
    np.testing.assert_array_equal(image.levels[0].matrix[:3, 3], [10, 20, 30])


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_every_version_gives_the_same_model(version, zyx):
    image = parse_multiscale(zyx(version), url="URL")
    assert image.version == version
    assert image.space_axes == (0, 1, 2)
    assert [level.path for level in image.levels] == ["0", "1"]
    wanted = np.diag([2, 1, 0.5, 1.0])
    wanted[:3, 3] = 10, 20, 30
    np.testing.assert_array_equal(image.levels[0].matrix, wanted)
    assert image.problems == ()


@given(
    order=st.permutations("tczyx"),
    sizes=st.lists(SIZES, min_size=3, max_size=3),
    data=st.data(),
)
def test_the_order_of_the_axes_does_not_matter(make, order, sizes, data):
    """Whatever the order in the file, the matrix is (z, y, x) and axes point where they lie."""
    shifts = data.draw(st.lists(SHIFTS, min_size=3, max_size=3))
    size, shift = dict(zip("zyx", sizes, strict=True)), dict(zip("zyx", shifts, strict=True))
    attributes = make.metadata(
        "0.4",
        [make.axis(n) for n in order],
        [[size.get(n, 1.0) for n in order]],
        [[shift.get(n, 0.0) for n in order]],
    )
    image = parse_multiscale(attributes, url="URL")
    assert [order[i] for i in image.space_axes] == ["z", "y", "x"]
    assert order[image.axes_of("channel")[0]] == "c"
    assert order[image.axes_of("time")[0]] == "t"
    np.testing.assert_allclose(np.diag(image.levels[0].matrix)[:3], sizes, rtol=1e-12)
    np.testing.assert_allclose(image.levels[0].matrix[:3, 3], shifts, rtol=1e-12)
    turned = any("another order" in text for text in warnings(image))
    first = min(order.index(n) for n in "zyx")
    in_order = [n for n in order if n in "zyx"] == ["z", "y", "x"]
    assert turned == (not in_order or max(order.index(n) for n in "tc") > first)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("nanometer", 1e-3), ("millimeter", 1e3), ("angstrom", 1e-4), ("µm", 1.0), ("micron", 1.0)],
)
def test_units_are_converted(unit, factor, make):
    axes = [make.axis(n, unit) for n in "zyx"]
    image = parse_multiscale(make.metadata("0.5", axes, [[4, 2, 1]], [[8, 0, 0]]), url="URL")
    np.testing.assert_allclose(
        np.diag(image.levels[0].matrix)[:3], [4 * factor, 2 * factor, factor]
    )
    assert image.levels[0].matrix[0, 3] == pytest.approx(8 * factor)


def test_a_missing_unit_is_micrometre_and_said(make):
    axes = [make.axis("z", None), make.axis("y"), make.axis("x")]
    image = parse_multiscale(make.metadata("0.4", axes, [[2, 1, 1]]), url="URL")
    assert image.levels[0].matrix[0, 0] == 2
    assert warnings(image) == ["axes[0].unit: Missing; read as micrometer."]


def test_an_unknown_unit_is_an_error_that_lists_the_known(make):
    axes = [make.axis(n, "furlong") for n in "zyx"]
    found = errors(make.metadata("0.4", axes, [[2, 1, 1]]))
    assert len(found) == 3
    assert "'furlong'" in found[0]
    assert "nanometer" in found[0]


def test_a_placeholder_of_one_without_units_is_suspected(make):
    axes = [make.axis(n, None) for n in "zyx"]
    image = parse_multiscale(make.metadata("0.4", axes, [[1, 1, 1]]), url="URL")
    assert any("placeholder" in text and "--voxel-size" in text for text in warnings(image))


def test_coarse_levels_without_translation_are_told(make):
    axes = [make.axis(n) for n in "zyx"]
    image = parse_multiscale(make.metadata("0.4", axes, [[1, 1, 1], [2, 2, 2]]), url="URL")
    assert any("half a coarse voxel" in text for text in warnings(image))


@pytest.mark.parametrize(
    ("value", "toward"),
    [
        ("right-to-left", "left"),
        ("left-to-right", "right"),
        ("anterior-to-posterior", "posterior"),
        ("Inferior-to-Superior", "superior"),
        ("dorsal-to-ventral", "inferior"),
        ("caudal-to-rostral", "anterior"),
    ],
)
@pytest.mark.parametrize("key", ["value", "direction"])
def test_orientation_says_where_the_coordinate_increases_to(value, toward, key, make):
    """RFC-4: 'right-to-left' is an axis that increases from right to left."""
    axes = [make.axis("z", orientation={"type": "anatomical", key: value})]
    axes += [make.axis(n) for n in "yx"]
    image = parse_multiscale(make.metadata("0.5", axes, [[1, 1, 1]]), url="URL")
    assert image.toward == (toward, None, None)


@pytest.mark.parametrize("value", ["sideways", "left-to-left", "left-to-anterior", 7, {}])
def test_an_orientation_that_is_none_stays_unknown(value, make):
    axes = [make.axis(n) for n in "zy"] + [make.axis("x", orientation={"value": value})]
    image = parse_multiscale(make.metadata("0.5", axes, [[1, 1, 1]]), url="URL")
    assert image.toward == (None, None, None)
    assert any("not understood" in text for text in warnings(image))


def test_an_orientation_that_contradicts_itself_stays_unknown(make):
    axes = [make.axis(n, orientation={"value": "left-to-right"}) for n in "zyx"]
    image = parse_multiscale(make.metadata("0.5", axes, [[1, 1, 1]]), url="URL")
    assert image.toward == (None, None, None)
    assert any("contradicts itself" in text for text in warnings(image))


def test_two_dimensions_are_one_plane(make):
    axes = [make.axis(n, "nanometer") for n in "yx"]
    image = parse_multiscale(make.metadata("0.4", axes, [[500, 250]]), url="URL")
    np.testing.assert_allclose(np.diag(image.levels[0].matrix), [1, 0.5, 0.25, 1])
    assert any("one plane" in text for text in warnings(image))


def test_channel_names_and_odd_display_settings(zyx):
    channels = [{"label": "a", "color": "00FF00"}, {"color": 255}, "odd", {"window": {"end": "9"}}]
    image = parse_multiscale(zyx(omero={"channels": channels}), url="URL")
    assert image.channel_names == ("a", "channel 1", "channel 2", "channel 3")
    assert len(warnings(image)) == 3


def test_transformations_of_the_whole_image_come_last(zyx):
    """0.4: 'applied [...] after' those of the levels."""
    attributes = zyx()
    image_of(attributes)["coordinateTransformations"] = [{"type": "scale", "scale": [3, 3, 3]}]
    matrix = parse_multiscale(attributes, url="URL").levels[0].matrix
    np.testing.assert_array_equal(matrix[:3, 3], [30, 60, 90])
    np.testing.assert_array_equal(np.diag(matrix), [6, 3, 1.5, 1])


def dev(transform, axes="zyx", make=None):
    """Attributes of 0.6 with one level and one transformation."""
    ends = {"input": {"path": "0"}, "output": {"name": "physical"}}
    system = {"name": "physical", "axes": [make.axis(n) for n in axes]}
    image = {
        "coordinateSystems": [system],
        "datasets": [{"path": "0", "coordinateTransformations": [{**transform, **ends}]}],
    }
    return {"ome": {"version": "0.6", "multiscales": [image]}}


def test_map_axis_swaps_axes_in_the_affine(make):
    """'The value at position i indicates which input axis becomes the i-th output axis.'"""
    image = parse_multiscale(dev({"type": "mapAxis", "mapAxis": [1, 2, 0]}, make=make), url="URL")
    voxel = np.array([5, 7, 11, 1])
    np.testing.assert_array_equal(image.levels[0].matrix @ voxel, [7, 11, 5, 1])


def test_map_axis_may_move_the_channels(make):
    """An array stored (z, y, x, c) of the system (c, z, y, x)."""
    transform = {"type": "mapAxis", "mapAxis": [3, 0, 1, 2]}
    image = parse_multiscale(dev(transform, "czyx", make), url="URL")
    assert image.axes_of("channel") == (3,)
    assert image.space_axes == (0, 1, 2)
    np.testing.assert_array_equal(image.levels[0].matrix, np.eye(4))


@given(values=st.lists(st.floats(-2, 2), min_size=12, max_size=12))
def test_affine_is_taken_as_it_stands(make, values):
    """A map of space reaches the model unchanged, rotation, shear and mirror included."""
    rows = np.reshape(values, (3, 4))
    attributes = dev({"type": "affine", "affine": rows.tolist()}, make=make)
    sizes = np.sqrt((rows[:, :3] ** 2).sum(axis=0))
    if (
        np.linalg.matrix_rank(rows[:, :3] / max(np.abs(rows).max(), 1e-300)) < 3
        or sizes.min() < 1e-4
    ):
        assert errors(attributes)
        return
    np.testing.assert_allclose(parse_multiscale(attributes, url="URL").levels[0].matrix[:3], rows)


def test_a_sequence_applies_the_first_first(make):
    steps = [
        {"type": "translation", "translation": [1, 2, 3]},
        {"type": "scale", "scale": [10, 10, 10]},
        {"type": "rotation", "rotation": [[0, -1, 0], [1, 0, 0], [0, 0, 1]]},
    ]
    image = parse_multiscale(
        dev({"type": "sequence", "transformations": steps}, make=make), url="U"
    )
    np.testing.assert_allclose(image.levels[0].matrix @ [0, 0, 0, 1], [-20, 10, 30, 1])


def test_mixing_space_with_time_is_refused(make):
    affine = np.eye(4, 5)
    affine[0, 2] = 0.5
    found = errors(dev({"type": "affine", "affine": affine.tolist()}, "tzyx", make))
    assert "mixes space with time" in found[0]


def test_by_dimension_composes_its_parts(make):
    parts = [
        {"transformation": {"type": "scale", "scale": [3]}, "inputAxes": [2], "outputAxes": [0]},
        {"transformation": {"type": "identity"}, "inputAxes": [0, 1], "outputAxes": [1, 2]},
    ]
    image = parse_multiscale(
        dev({"type": "byDimension", "transformations": parts}, make=make), url="U"
    )
    np.testing.assert_array_equal(image.levels[0].matrix @ [5, 7, 11, 1], [33, 5, 7, 1])


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        ({"type": "rotation", "rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "perpendicular"),
        ({"type": "mapAxis", "mapAxis": [0, 0, 1]}, "each of the numbers 0 to 2 once"),
        ({"type": "affine", "affine": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "3 rows of 4"),
        ({"type": "affine", "affine": np.zeros((3, 4)).tolist()}, "runs along no axis"),
        ({"type": "warp"}, "Known: identity"),
        ({"type": "displacements", "path": "field"}, "not read"),
        ({"type": "affine", "path": "matrix"}, "not read"),
        ({"type": "translation", "translation": [1, 2, 3]}, "states its scale"),
        ({"type": "sequence", "transformations": []}, "needs a list"),
        ({"type": "scale", "scale": [1, 1, float("inf")]}, "finite"),
        ({"type": "scale", "scale": [1, 1, True]}, "finite"),
    ],
)
def test_transformations_that_cannot_be_meant(transform, text, make):
    assert text in "\n".join(errors(dev(transform, make=make)))


@pytest.mark.parametrize(
    "scale", [[0, 1, 1], [-1, 1, 1], [1, 1, "1"], [1, 1], None, [1e9, 1, 1], [1e-9, 1, 1]]
)
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_scales_that_cannot_be_meant(scale, version, make):
    found = errors(make.metadata(version, [make.axis(n) for n in "zyx"], [scale]))
    assert any(word in found[0] for word in ("positive", "finite", "not believed"))


def test_a_zero_scale_of_time_is_nothing(make):
    axes = [make.axis(n) for n in "tczyx"]
    image = parse_multiscale(make.metadata("0.4", axes, [[0, 0, 2, 1, 1]]), url="URL")
    np.testing.assert_array_equal(np.diag(image.levels[0].matrix), [2, 1, 1, 1])


def test_all_problems_are_told_at_once(make):
    attributes = make.metadata("0.4", [make.axis(n) for n in "zyx"], [[1, -1, 1], [1, 1]])
    image_of(attributes)["datasets"].append({"path": 3})
    image_of(attributes)["axes"][0]["unit"] = None
    found = errors(attributes)
    assert len(found) == 3
    assert ["datasets[0]" in found[0], "datasets[1]" in found[1], "datasets[2]" in found[2]]


def test_an_image_without_scale_opens_for_a_user_who_knows(make):
    attributes = make.metadata("0.4", [make.axis(n) for n in "zyx"], [[1, 1, 1]])
    del image_of(attributes)["datasets"][0]["coordinateTransformations"]
    assert errors(attributes)
    image = parse_multiscale(attributes, url="URL", scale_needed=False)
    assert image.levels[0].matrix is None


def test_the_word_of_the_user_names_the_axes(make):
    attributes = make.metadata("0.4", [make.axis(n) for n in "zyx"], [[1, 2, 3]])
    image = parse_multiscale(attributes, url="URL", axes="xyz")
    np.testing.assert_array_equal(np.diag(image.levels[0].matrix), [3, 2, 1, 1])
    assert "does not fit the 3 axes" in errors(attributes, axes="cxyz")[0]


def test_axes_of_the_first_versions(make):
    """0.1 and 0.2 say nothing, 0.3 names alone."""
    for version, axes in (("0.2", None), ("0.3", list("tczyx"))):
        image = {"version": version, "datasets": [{"path": "0"}]}
        image |= {} if axes is None else {"axes": axes}
        found = parse_multiscale({"multiscales": [image]}, url="URL", scale_needed=False)
        assert [axis.name for axis in found.axes] == list("tczyx")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=True)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [
    ("multiscales",),
    ("multiscales", 0),
    ("multiscales", 0, "axes"),
    ("multiscales", 0, "axes", 1),
    ("multiscales", 0, "axes", 2, "unit"),
    ("multiscales", 0, "axes", 2, "orientation"),
    ("multiscales", 0, "coordinateSystems"),
    ("multiscales", 0, "coordinateSystems", 0),
    ("multiscales", 0, "coordinateSystems", 0, "axes"),
    ("multiscales", 0, "datasets"),
    ("multiscales", 0, "datasets", 1),
    ("multiscales", 0, "datasets", 1, "path"),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations"),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "transformations"),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "output"),
    ("multiscales", 0, "coordinateTransformations"),
    ("omero",),
    ("omero", "channels"),
    ("version",),
]


@given(version=st.sampled_from(["0.4", "0.5", "0.6"]), path=st.sampled_from(PATHS), value=JSON)
def test_anything_in_the_metadata_is_read_or_refused_by_name(make, version, path, value):
    """Whatever JSON stands anywhere, nothing but a MetadataError comes out."""
    omero = {"channels": [{"label": "a"}]}
    scales, shifts = [[2, 1, 1], [4, 2, 2]], [[0, 0, 0], [1, 0.5, 0.5]]
    axes = [make.axis(n) for n in "zyx"]
    attributes = make.metadata(version, axes, scales, shifts, omero=omero)
    place = attributes.get("ome", attributes)
    try:
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    except (KeyError, IndexError):
        return  # another version has no such place
    try:
        image = parse_multiscale(attributes, url="URL")
    except MetadataError as error:
        assert "error: " in str(error)  # noqa: PT017 - most are refused, some are read
    else:
        assert all(np.isfinite(level.matrix).all() for level in image.levels)


@given(st.lists(SIZES, min_size=5, max_size=5), st.lists(SHIFTS, min_size=5, max_size=5))
def test_the_spatial_part_is_the_map_of_points(sizes, shifts):
    """Mapping all five coordinates and keeping space is mapping space alone."""
    kinds = ["time", "channel", "space", "space", "space"]
    findings = Findings()
    steps = [{"type": "scale", "scale": sizes}, {"type": "translation", "translation": shifts}]
    matrix = matrix_of({"type": "sequence", "transformations": steps}, kinds, "here", findings)
    meaning, part = spatial_part(matrix, kinds, "here", findings)
    assert list(meaning) == kinds
    point = np.array([0, 0, 3.0, 4.0, 5.0, 1.0])
    np.testing.assert_allclose((matrix @ point)[2:], part @ point[2:])
    assert findings.problems == []
