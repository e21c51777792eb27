import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io.skeletons.swc import format_swc, parse_swc, read_swc, write_swc
from projectome.testing import strategies as draws

DATA = Path(os.environ.get("PROJECTOME_TEST_DATA") or Path(__file__).parents[3] / "shared/data")

Y_SHAPE = """\
# a comment
1 1 10 20 30 5 -1
2 2 11 20 30 1 1
3 2 12 21 30 1 2
4 3 12 19 30 1 2
"""


def messages(text: str, **options: object) -> str:
    return " | ".join(problem.message for problem in parse_swc(text, **options).problems)


def same(a: Skeleton, b: Skeleton) -> bool:
    """Say whether two skeletons have the same nodes in the same order, to 1e-6 um."""
    radii = [np.nan_to_num(s.radius if s.radius is not None else np.zeros(len(s))) for s in (a, b)]
    kinds = [s.kind if s.kind is not None else np.zeros(len(s)) for s in (a, b)]
    return (
        a.space == b.space
        and np.array_equal(a.parent, b.parent)
        and np.allclose(a.coordinates, b.coordinates, rtol=0, atol=1e-6)
        and np.allclose(*radii, rtol=1e-6, atol=1e-6)
        and np.array_equal(*kinds)
    )


# --- reading -------------------------------------------------------------------------------------


def test_columns_are_x_y_z_on_disk_and_z_y_x_inside():
    found = parse_swc(Y_SHAPE)
    np.testing.assert_array_equal(found.skeleton.coordinates[0], (30, 20, 10))
    assert found.skeleton.parent.tolist() == [-1, 0, 1, 1]
    assert found.skeleton.radius.tolist() == [5, 1, 1, 1]
    assert found.skeleton.kind.tolist() == [1, 2, 2, 3]
    assert found.ids.tolist() == [1, 2, 3, 4]
    assert found.header == ("# a comment",)
    assert "no unit is stated" in messages(Y_SHAPE)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.replace(" ", "\t"),
        lambda t: t.replace(" ", "   ").replace("\n", "  \n  "),
        lambda t: "# a comment\n" + t.split("\n", 1)[1].replace(" ", ","),
        lambda t: "# a comment\n" + t.split("\n", 1)[1].replace(" ", ", "),
        lambda t: "\ufeff" + t,
        lambda t: t.rstrip("\n"),
        lambda t: t.replace("\n2 2", "\n\n\n2.0 2.0").replace("1 -1", "1.0 -1.0"),
        lambda t: t.replace(" 1 1\n", " 1 1 0.5 7 abc # extra columns\n"),
        lambda t: "\n".join([*t.split("\n")[1:], "# a comment"]),
        lambda t: t.replace("4 3 12 19 30 1 2", "4 3 1.2e1 +19 30. 1 02"),
        lambda t: t + "3 2 12 21 30 1 2\n",
    ],
)
def test_dialects_say_the_same(change):
    changed = parse_swc(change(Y_SHAPE).lstrip("\ufeff"))
    assert same(changed.skeleton, parse_swc(Y_SHAPE).skeleton)
    assert changed.header[0].startswith("# a comment") or len(changed.header) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    text = Y_SHAPE.replace("a comment", "Präparat")
    (tmp_path / "n.swc").write_text(text, encoding=encoding)
    assert same(read_swc(tmp_path / "n.swc").skeleton, parse_swc(Y_SHAPE).skeleton)


def test_nodes_in_any_order_with_any_ids():
    text = "70 2 2 0 0 1 12\n12 2 1 0 0 1 5\n5 1 0 0 0 1 -1\n999999999999999999 2 3 0 0 1 70\n"
    found = parse_swc(text)
    assert found.ids.tolist() == [5, 12, 70, 999999999999999999]
    assert found.skeleton.coordinates[:, 2].tolist() == [0, 1, 2, 3]


def test_forests_and_any_negative_parent():
    assert len(parse_swc("1 0 0 0 0 1 -1\n2 0 5 0 0 1 -2\n3 0 6 0 0 1 2\n").skeleton.roots) == 2


def test_types_are_any_whole_number():
    assert parse_swc("1 274 0 0 0 1 -1\n").skeleton.kind.tolist() == [274]
    assert parse_swc("1 -7 0 0 0 1 -1\n").skeleton.kind.tolist() == [-7]
    assert parse_swc("1 0 0 0 0 1 -1\n").skeleton.kind is None


@pytest.mark.parametrize("radius", ["0", "-1", "nan", "NaN", "inf", "1e300"])
def test_radii_that_say_nothing_are_unknown(radius):
    text = f"1 0 0 0 0 {radius} -1\n2 0 1 0 0 2.5 1\n"
    found = parse_swc(text)
    np.testing.assert_array_equal(found.skeleton.radius, [np.nan, 2.5])
    assert "1 of 2 radii" in messages(text)


def test_radii_may_be_missing_altogether():
    assert parse_swc("1 0 0 0 0 -1\n2 0 1 0 0 1\n").skeleton.radius is None
    found = parse_swc("1,0,0,0,0,,-1\n2,0,1,0,0,3,1\n").skeleton
    np.testing.assert_array_equal(found.radius, [np.nan, 3])


def test_offsets_are_added_before_scaling():
    text = "# OFFSET 100.5 200 300\n1 1 1 2 3 1 -1\n"
    np.testing.assert_array_equal(parse_swc(text).skeleton.coordinates[0], (303, 202, 101.5))
    scaled = parse_swc(text, scale=(2, 1, 1)).skeleton
    np.testing.assert_array_equal(scaled.coordinates[0], (606, 202, 101.5))
    assert "offset 'a b c', which is not understood" in messages("# OFFSET a b c\n1 1 1 2 3 1 -1")


def test_scale_is_micrometres_in_one_unit_of_the_file():
    voxels = parse_swc(Y_SHAPE, scale=(4, 2, 1))
    np.testing.assert_array_equal(voxels.skeleton.coordinates[0], (120, 40, 10))
    assert voxels.skeleton.radius[0] == 5
    assert "unit" not in messages(Y_SHAPE, scale=25)
    assert parse_swc(Y_SHAPE, scale=25).skeleton.radius[0] == 125
    assert parse_swc(Y_SHAPE, scale=25, radius_scale=1e-3).skeleton.radius[0] == np.float32(0.005)


@pytest.mark.parametrize("scale", [0, -1, np.nan, (1, 2), "x"])
def test_scales_are_positive(scale):
    with pytest.raises(ParameterError, match=r"order \(z, y, x\)"):
        parse_swc(Y_SHAPE, scale=scale)


def test_headers_of_other_programs():
    snt = "# All positions and radii in microns\n" + Y_SHAPE
    assert "unit" not in messages(snt)
    nanometres = parse_swc("# Units: nm\n1 1 1000 0 0 500 -1\n").skeleton
    assert nanometres.coordinates[0, 2] == pytest.approx(1)
    assert nanometres.radius[0] == pytest.approx(0.5)
    assert parse_swc("# unit: voxel\n1 1 0 0 0 1 -1\n").skeleton.space.unit == "voxel"
    assert parse_swc("# unit: voxel\n1 1 0 0 0 1 -1\n", scale=2).skeleton.space.unit == "micrometer"
    assert "unit 'furlong', which is not understood" in messages("# unit: furlong\n1 1 0 0 0 1 -1")


def test_a_header_that_names_z_first_is_doubted():
    text = "# id, type, z, y, x, r, pid\n1 2 21966.021 10571.484 9648.0 1949.0 -1\n"
    assert "they are read as x y z" in messages(text)
    assert parse_swc(text).skeleton.coordinates[0, 2] == 21966.021


def test_radii_in_another_unit_are_doubted():
    text = "1 1 0 0 0 1949 -1\n2 1 1 0 0 1949 1\n3 1 2 0 0 1949 2\n"
    assert "radius_scale" in messages(text)
    assert "radius_scale" not in messages(text, radius_scale=1e-3)


def test_the_callers_word_comes_first():
    text = "# expansion: 4.0\n# space: gel\n" + Y_SHAPE
    assert parse_swc(text).skeleton.space == Space("gel", expansion=4.0)
    assert parse_swc(text, expansion=3.5).skeleton.space.expansion == 3.5
    mine = Space("mine", expansion=2.0)
    assert parse_swc(text, space=mine).skeleton.space == mine
    assert "the caller's word is taken" in messages(text, space=mine)


@pytest.mark.parametrize("text", ["", "# header only\n", "\n\n"])
def test_a_file_without_nodes_is_an_empty_skeleton(text):
    found = parse_swc(text)
    assert len(found.skeleton) == len(found.ids) == 0
    assert "no node" in messages(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 0 0 0 1 -1\n2 1 1 zero 0 1 1\n", "line 2 has something else than the numbers"),
        ("# x\n1 1 0 0 -1\n", "line 2 has 5 columns"),
        ("1 1 nan 0 0 1 -1\n", "not finite"),
        ("1 1 0 inf 0 1 -1\n", "not finite"),
        ("1 1 0 1e200 0 1 -1\n", "out of reach"),
        ("1.5 1 0 0 0 1 -1\n", "line 1 has something else"),
        ("1 1.5 0 0 0 1 -1\n", "line 1 has something else"),
        ("1 99999999999 0 0 0 1 -1\n", "beyond 32 bits"),
        ("99999999999999999999 1 0 0 0 1 -1\n", "beyond 63 bits"),
        ("inf 1 0 0 0 1 -1\n", "line 1"),
        ("1_0 1 0 0 0 1 -1\n", "underscore"),
        ("1 1 0 0 0 1 -1\n1 1 5 0 0 1 -1\n", "line 2: id 1 was given to another node in line 1"),
        ("1 1 0 0 0 1 -1\n2 1 0 0 0 1 7\n", "line 2: the parent 7 of node 2 is not in the file"),
        ("1 1 0 0 0 1 0\n", "Give roots the parent -1"),
        ("1 1 0 0 0 1 -1\n2 1 0 0 0 1 3\n3 1 0 0 0 1 2\n", "line 2: node 2 is its own ancestor"),
        ("1 1 0 0 0 1 1\n", "its own ancestor"),
        ("<html>\n", "'id type x y z radius parent'"),
        ("1 1 1,5 2,5 3,5 1 -1\n", "'id type x y z radius parent'"),
    ],
)
def test_what_cannot_be_read_names_file_line_and_way_out(text, message):
    with pytest.raises(FormatError, match=r"^n\.swc, line ") as caught:
        parse_swc(text, where="n.swc")
    assert message in str(caught.value)


def test_long_lines_are_cut_in_messages():
    with pytest.raises(FormatError) as caught:
        parse_swc("x" * 10_000)
    assert len(str(caught.value)) < 400


def test_files_that_are_not_there_not_text_or_too_large(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.swc"):
        read_swc(tmp_path / "none.swc")
    (tmp_path / "binary.swc").write_bytes(b"\x89PNG\0\0\0")
    with pytest.raises(FormatError, match="not a text file"):
        read_swc(tmp_path / "binary.swc")
    (tmp_path / "large.swc").write_text(Y_SHAPE)
    with pytest.raises(FormatError, match="larger than"):
        read_swc(tmp_path / "large.swc", max_bytes=10)


# --- writing -------------------------------------------------------------------------------------


@given(draws.skeletons())
def test_what_is_written_reads_back(skeleton):
    text = format_swc(skeleton, forest=True)
    found = parse_swc(text)
    assert same(found.skeleton, skeleton)
    assert found.ids.tolist() == list(range(1, len(skeleton) + 1))
    assert not any("no unit is stated" in p.message for p in found.problems)
    assert format_swc(found.skeleton, forest=True) == text


def test_the_text_of_a_file():
    neuron = Skeleton(
        np.array([[3.0, 2, 1], [-0.0, 1e-7, 0.1 + 0.2]]),
        np.array([-1, 0]),
        Space("gel", toward=("superior", None, "left"), expansion=4.0),
        np.array([np.nan, 0.1], np.float32),
    )
    assert format_swc(neuron, comments=["id 7"]) == (
        "# projectome\n# space: gel\n# unit: micrometer\n# expansion: 4.0\n# axes: x y z\n"
        "# toward: left unknown superior\n# id 7\n"
        "1 0 1.0 2.0 3.0 0.0 -1\n2 0 0.3 0.0 0.0 0.1 1\n"
    )


def test_files_are_written_whole_and_alike(tmp_path):
    neuron = parse_swc(Y_SHAPE).skeleton
    write_swc(neuron, tmp_path / "sub" / "n.swc")
    first = (tmp_path / "sub" / "n.swc").read_bytes()
    write_swc(neuron, tmp_path / "sub" / "n.swc")
    assert (tmp_path / "sub" / "n.swc").read_bytes() == first
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["n.swc"]
    found = read_swc(tmp_path / "sub" / "n.swc")
    assert found.name == "n"
    assert same(found.skeleton, neuron)


def test_one_tree_a_file_unless_asked():
    forest = parse_swc("1 0 0 0 0 1 -1\n2 0 5 0 0 1 -1\n").skeleton
    with pytest.raises(ParameterError, match="forest=True"):
        format_swc(forest)
    assert format_swc(forest, forest=True).count("-1\n") == 2


@pytest.mark.parametrize("name", ["two\nlines", " blank", "tail "])
def test_names_that_would_break_the_header_are_refused(name):
    with pytest.raises(ParameterError, match="line breaks"):
        format_swc(Skeleton(np.zeros((1, 3)), np.array([-1]), Space(name)))


def test_voxels_stay_voxels():
    skeleton = Skeleton(np.zeros((1, 3)), np.array([-1]), Space.voxels())
    assert parse_swc(format_swc(skeleton)).skeleton.space == Space.voxels()


# --- published files -----------------------------------------------------------------------------

realdata = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}"),
]


def members(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return [n for n in file.namelist() if n.endswith(".swc") and "checkpoints" not in n]


def from_zip(archive: Path, name: str) -> str:
    with zipfile.ZipFile(archive) as file:
        return file.read(name).decode()


CCF_NODES = {
    "car/18453_2428_x13810_y8197_mos": 45928,
    "car/18457_00116_si": 12309,
    "seu/1_18465_00082": 1682,
    "seu/1_18867_4647_x12409_y6656": 2968,
    "seu/1_pre_18458_00373": 317,
    "seu/2_17302_00113": 2987,
    "seu/2_18453_6756_x7677_y5336": 2614,
    "seu/2_18457_00078": 1090,
    "seu/2_18868_3875_x8707_y8341": 2032,
    "seu/4_18458_00500": 1557,
    "seu/5_17545_00093": 1543,
    "seu/5_18454_01111": 1180,
}


class TestPublishedFiles:
    pytestmark = realdata

    @pytest.mark.parametrize(("name", "nodes"), CCF_NODES.items())
    def test_neurons_in_the_atlas(self, name, nodes):
        """One tree each, in voxels of 25 um, inside the atlas of 13.2 x 8 x 11.4 mm."""
        found = read_swc(DATA / "neurons_ccf" / f"{name}.swc", scale=25)
        assert (len(found.skeleton), len(found.skeleton.roots)) == (nodes, 1)
        assert (found.skeleton.coordinates < (11400, 8000, 13200)).all()
        assert (found.skeleton.coordinates > 0).all()
        again = parse_swc(format_swc(found.skeleton))
        assert same(again.skeleton, found.skeleton)

    def test_axon_lengths_of_two_callosal_neurons(self):
        """81.7 and 41.4 mm of axon are published with the data."""
        for name, millimetres in (
            ("car/18453_2428_x13810_y8197_mos", 81.7),
            ("seu/2_18453_6756_x7677_y5336", 41.4),
        ):
            neuron = read_swc(DATA / "neurons_ccf" / f"{name}.swc", scale=25).skeleton
            axon = neuron.lengths[neuron.kind == 2].sum()
            assert axon / 1000 == pytest.approx(millimetres, abs=0.06)

    def test_zipped_neurons(self):
        archive = DATA / "neurons_ccf/car/car_more.zip"
        found = [parse_swc(from_zip(archive, n), where=n) for n in members(archive)]
        assert len(found) == 8
        assert sum(len(f.skeleton) for f in found) == 157053
        assert all("radius_scale" in str(f.problems) for f in found)  # sizes for drawing

    def test_exaspim_fragments(self):
        """145 fragments with nodes and one without; radii in nanometres; a header that misleads.

        Steps along x and y are multiples of 0.748 um, along z of 1 um.
        """
        archive = DATA / "exaspim_fragments/swcs.zip"
        found = [parse_swc(from_zip(archive, n), where=n) for n in members(archive)]
        assert len(found) == 146
        assert sum(len(f.skeleton) for f in found) == 26153
        assert [f.name for f in found if not len(f.skeleton)] == ["825364285.0"]
        assert all("they are read as x y z" in str(f.problems) for f in found)
        doubted = sum("nanometres?" in str(f.problems) for f in found if len(f.skeleton) > 1)
        assert doubted >= 140
        steps = np.diff(np.unique(np.concatenate([f.skeleton.coordinates[:, 0] for f in found])))
        assert steps.min() == pytest.approx(1)

    def test_all_bigneuron_trees(self):
        files = sorted((DATA / "bigneuron_parity").glob("*/*.swc"))
        assert len(files) == 200
        gold = {}
        for path in files:
            found = read_swc(path)
            assert len(found.skeleton) == len(found.ids) > 0
            if path.stem == "gold":
                gold[path.parent.name] = len(found.skeleton)
        assert (gold["1"], gold["134"], gold["258"]) == (912, 2024, 2017)
        assert sum(gold.values()) == 14611
