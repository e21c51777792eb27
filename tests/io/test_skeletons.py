"""Skeletons of every format: what their specifications say, by hand, and round trips."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import (
    FormatError,
    NotFoundError,
    OutputExistsError,
    ParameterError,
    ProjectomeError,
    UnknownNameError,
)
from projectome.io.clients import kvstore
from projectome.io.skeletons import (
    NamedSkeleton,
    convert_skeletons,
    read_skeletons,
    write_skeletons,
)
from projectome.io.skeletons.read import parse_skeletons
from projectome.testing import strategies as draws

MICROMETRES = Space()


def named(skeleton, name, **more):
    return NamedSkeleton(skeleton, name, np.arange(len(skeleton)), **more)


def edges_of(skeleton):
    """Edges as unordered pairs of places, whatever the order of the nodes."""
    places = [tuple(np.round(p, 3)) for p in skeleton.coordinates]
    return sorted(tuple(sorted((places[a], places[b]))) for a, b in skeleton.edges)


# --- NML -----------------------------------------------------------------------------------------

NML = """<?xml version="1.0"?>
<things>
  <parameters>
    <experiment name="cortex" />
    <scale x="11.24" y="11.24" z="25.0" unit="nanometer" />
  </parameters>
  <thing id="1" groupId="7" color.r="0" color.g="0.5" color.b="1" color.a="1" name="axon &amp; co">
    <nodes>
      <node id="10" radius="120.0" x="100" y="200" z="300" inVp="0" time="1534787309180" />
      <node id="11" radius="240.0" x="110" y="200" z="300" />
      <node id="15" radius="240.0" x="100" y="210" z="301" />
    </nodes>
    <edges><edge source="10" target="11" /><edge source="15" target="10" /></edges>
  </thing>
  <thing id="2" name="dust"><nodes><node id="20" x="1" y="2" z="3" /></nodes><edges/></thing>
  <branchpoints><branchpoint id="10" time="0" /></branchpoints>
  <comments><comment node="15" content="end" /></comments>
  <groups><group id="7" name="layer 5"><group id="8" name="inner"/></group></groups>
</things>"""


def test_nml_is_in_voxels_of_the_scale(tmp_path):
    (tmp_path / "a.nml").write_text(NML)
    found = read_skeletons(tmp_path / "a.nml")
    assert (found.format, found.names) == ("nml", ["axon & co", "dust"])
    axon = found["axon & co"]
    np.testing.assert_allclose(
        axon.skeleton.coordinates * 1000,
        [[7500, 2248, 1124], [7500, 2248, 1236.4], [7525, 2360.4, 1124]],
    )
    assert axon.ids.tolist() == [10, 11, 15]
    assert axon.skeleton.parent.tolist() == [-1, 0, 0]
    np.testing.assert_allclose(axon.skeleton.radius, [0.12, 0.24, 0.24])
    assert axon.columns["comment"].tolist() == ["", "", "end"]
    assert axon.columns["branchpoint"].tolist() == [True, False, False]
    assert axon.facts == {"id": "1", "group": "layer 5", "color": ("0", "0.5", "1", "1")}
    assert found["dust"].skeleton.radius is None
    assert "does not state the unit of radii; read as nanometer" in str(found.problems)


def test_knossos_has_radii_in_voxels():
    text = NML.replace("<experiment", '<createdin version="4.1"/><experiment')
    axon = parse_skeletons(text.encode(), url="a.nml")[0]
    np.testing.assert_allclose(axon.skeleton.radius, np.array([120, 240, 240]) * 0.01124)


def test_the_unit_and_the_scale_of_nml():
    micro = NML.replace('unit="nanometer"', 'unit="micrometer"')
    assert parse_skeletons(micro.encode(), url="a")[0].skeleton.coordinates[0, 0] == 7500
    old = NML.replace(' unit="nanometer"', "")
    assert parse_skeletons(old.encode(), url="a")[0].skeleton.coordinates[0, 0] == 7.5
    for text, message in (
        (NML.replace('unit="nanometer"', 'unit="smoot"'), "the unit 'smoot'"),
        (NML.replace("<scale", "<slope"), "has no <scale>"),
        (NML.replace('x="11.24"', 'x="0"'), "not three positive numbers"),
    ):
        with pytest.raises(FormatError, match=message):
            parse_skeletons(text.encode(), url="a")


def test_the_caller_overrules_the_scale(tmp_path):
    (tmp_path / "a.nml").write_text(NML.replace("<scale", "<slope"))
    found = read_skeletons(tmp_path / "a.nml", scale=(3, 2, 1), expansion=4.0)
    assert found[0].skeleton.coordinates[0].tolist() == [900, 400, 100]
    assert found[0].skeleton.space.expansion == 4


def test_loops_become_a_forest_and_say_so():
    """Of the triangle 10, 11, 15 the longest edge is dropped: 11-15."""
    text = NML.replace("<edges><edge", '<edges><edge source="11" target="15"/><edge', 1)
    axon = parse_skeletons(text.encode(), url="a.nml")[0]
    assert len(axon.skeleton.edges) == 2
    (problem,) = axon.problems
    assert "1 edges close loops" in problem.message
    assert problem.message.endswith("the longest of each loop: 11-15.")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('target="11"', 'target="99"', "an edge to the node 99"),
        ('id="11"', 'id="10"', "two nodes the same id"),
        ('x="110"', 'x="far"', "'x' of a node 11 is 'far', not a number"),
        ('id="11"', 'id="1_1"', "'id' of a node is '1_1'"),
        ('x="110"', 'x="inf"', "coordinate that is not finite"),
        ("<things>", "<thongs>", "is XML of 'thongs'"),
        ("</things>", "", "is not XML"),
        ('version="1.0"', 'version="1.0" encoding="klingon"', "is not XML|not sound XML"),
    ],
)
def test_broken_nml(old, new, message):
    with pytest.raises(FormatError, match=message):
        parse_skeletons(NML.replace(old, new, 1).encode(), url="a.nml")


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(st.lists(st.tuples(draws.skeletons(space=MICROMETRES, smallest=1), NAMES), max_size=3))
def test_nml_round_trip(pairs):
    items = [
        named(s, name, columns={"comment": np.array(["", name] * len(s), object)[: len(s)]})
        for s, name in pairs
    ]
    write_skeletons(items, "memory://round/a.nml", overwrite=True)
    found = read_skeletons("memory://round/a.nml")
    assert len(found) == len(items)
    for one, other in zip(items, found, strict=True):
        assert other.name == (one.name if one.name.strip() else other.name)
        np.testing.assert_allclose(other.skeleton.coordinates, one.skeleton.coordinates, atol=1e-6)
        np.testing.assert_array_equal(other.skeleton.parent, one.skeleton.parent)
        if one.skeleton.radius is not None:
            np.testing.assert_allclose(other.skeleton.radius, one.skeleton.radius, rtol=1e-3)
        if any(one.columns["comment"]):
            assert other.columns["comment"].tolist() == one.columns["comment"].tolist()


def test_nml_keeps_the_space_for_us():
    space = Space.from_code("asr", meaning="from", name="gel", expansion=4.1)
    skeleton = Skeleton([[0, 0, 0]], [-1], space)
    write_skeletons(skeleton, "memory://space/b.nml", overwrite=True)
    assert read_skeletons("memory://space/b.nml")[0].skeleton.space == space
    assert read_skeletons("memory://space/b.nml", space=Space())[0].skeleton.space == Space()
    for said in ("", "3", '{"name": "a"}', "[" * 10**5):
        text = NML.replace("<experiment", f"<projectome space='{said}'/><experiment")
        with pytest.raises(FormatError, match="describes its space in a way not known"):
            parse_skeletons(text.encode(), url="a.nml")
    other = Skeleton([[0, 0, 0]], [-1], Space("other"))
    with pytest.raises(ParameterError, match="lie in one space"):
        write_skeletons([skeleton, other], "memory://space/c.nml")


def test_nml_keeps_groups_and_branch_points():
    one = parse_skeletons(NML.encode(), url="a.nml")
    write_skeletons(one, "memory://groups/b.nml", overwrite=True)
    two = read_skeletons("memory://groups/b.nml")
    assert two[0].facts["group"] == "layer 5"
    assert two[0].columns["branchpoint"].tolist() == [True, False, False]
    assert two[0].columns["comment"].tolist() == ["", "", "end"]
    np.testing.assert_allclose(two[0].skeleton.radius, one[0].skeleton.radius)


# --- MouseLight ----------------------------------------------------------------------------------


def sample(number, parent, zyx, structure, region=1, radius=1.0):
    z, y, x = zyx
    return {
        "sampleNumber": number,
        "structureIdentifier": structure,
        "x": x,
        "y": y,
        "z": z,
        "radius": radius,
        "parentNumber": parent,
        "allenId": region,
    }


def mouselight():
    """A soma at (30, 20, 10), an axon that forks, a dendrite of one sample."""
    soma = {"x": 10.0, "y": 20.0, "z": 30.0, "allenId": 985}
    axon = [
        sample(1, -1, (30.0, 20.0, 10.0), 1, 985, 5.0),
        sample(2, 1, (30.0, 20.0, 14.0), 5, 985),
        sample(4, 2, (30.0, 25.0, 14.0), 6, 320),
        sample(3, 2, (33.0, 20.0, 14.0), 6, None),
    ]
    dendrite = [
        sample(1, -1, (30.0, 20.0, 10.0), 1, 985, 5.0),
        sample(2, 1, (30.0, 12.0, 10.0), 4, 985),
    ]
    neuron = {
        "idString": "AA0001",
        "DOI": "10.25378/janelia.1",
        "annotationSpace": {"version": 3, "description": "CCFv3.0 Axes> X: Anterior-Posterior"},
        "soma": soma,
        "axon": axon,
        "dendrite": dendrite,
    }
    return {"comment": "", "neurons": [neuron]}


def test_a_mouselight_neuron_is_one_tree_from_its_soma(tmp_path):
    (tmp_path / "n.json").write_text(json.dumps(mouselight()))
    found = read_skeletons(tmp_path / "n.json")
    assert (found.format, found.names) == ("mouselight", ["AA0001"])
    neuron = found[0]
    skeleton = neuron.skeleton
    assert len(skeleton.roots) == 1
    assert skeleton.kind[0] == 1
    assert skeleton.cable_length == 4 + 5 + 3 + 8
    by_place = dict(zip(map(tuple, skeleton.coordinates), range(len(skeleton)), strict=True))
    fork, end = by_place[30, 20, 14], by_place[30, 25, 14]
    assert skeleton.kind[[fork, end, by_place[30, 12, 10]]].tolist() == [2, 2, 4]
    assert neuron.columns["structure"][[fork, end]].tolist() == [5, 6]
    assert neuron.columns["allen_id"][[0, end, by_place[33, 20, 14]]].tolist() == [985, 320, 0]
    assert neuron.facts["doi"] == "10.25378/janelia.1"
    assert skeleton.space.name == "allen_mouse"
    assert skeleton.space.toward == (None, None, None)
    assert "do not say which end of an axis is 0" in str(neuron.problems)


def test_other_shapes_of_the_same_json():
    document = mouselight()
    neuron = document["neurons"][0]
    for other in ({"contents": document}, {"contents": [neuron]}, neuron):
        found = parse_skeletons(json.dumps(other).encode(), url="n.json")
        assert found[0].skeleton.cable_length == 20
    # Without a soma of its own, and with lists that do not begin with it.
    del neuron["soma"]
    found = parse_skeletons(json.dumps(neuron).encode(), url="n")[0].skeleton
    assert (len(found.roots), found.cable_length, found.radius[0]) == (1, 20, 5)
    neuron["soma"] = {"x": 10.0, "y": 20.0, "z": 30.0}
    neuron["dendrite"] = [sample(7, -1, (30.0, 12.0, 10.0), 3)]
    found = parse_skeletons(json.dumps(neuron).encode(), url="n")[0].skeleton
    assert (len(found.roots), found.cable_length) == (1, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n["axon"][2].update(parentNumber=77), "the parent 77 of sample 4"),
        (lambda n: n["axon"][2].update(x="far"), "axon, sample 3: 'x' is 'far'"),
        (lambda n: n["axon"][2].update(x=1e301), "'x' is '1e.301'"),
        (lambda n: n["axon"][2].pop("sampleNumber"), "'sampleNumber' is 'None'"),
        (lambda n: n["axon"][2].update(sampleNumber=2), "the number 2 is given twice"),
        (lambda n: n["axon"][2].update(sampleNumber=-2), "the number -2 is out of range"),
        (lambda n: n["axon"][2].update(allenId=2**63), "'allenId' is"),
        (lambda n: n.update(axon=[1]), "'axon' is not a list of samples"),
        (lambda n: n.update(axon="x"), "'axon' is not a list of samples"),
    ],
)
def test_broken_mouselight(change, message):
    document = mouselight()
    change(document["neurons"][0])
    with pytest.raises(FormatError, match=message):
        parse_skeletons(json.dumps(document).encode(), url="n.json")


def test_a_loop_of_parents_is_cut():
    document = mouselight()
    document["neurons"][0]["axon"][1]["parentNumber"] = 4
    found = parse_skeletons(json.dumps(document).encode(), url="n.json")[0]
    assert len(found.skeleton) == 5
    assert len(found.skeleton.roots) == 2


@pytest.mark.parametrize("text", ["{}", '{"neurons": 3}', '{"neurons": [3]}', "[]", "[1]"])
def test_json_that_is_something_else(text):
    with pytest.raises(FormatError):
        parse_skeletons(text.encode(), url="n.json")


# --- SNT traces ----------------------------------------------------------------------------------

TRACES = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tracings [
  <!ELEMENT tracings (samplespacing,imagesize,path*,fill*)>
  <!ELEMENT path (point+)>
  <!ATTLIST path id CDATA #REQUIRED>
  <!ATTLIST path usefitted (true|false) #IMPLIED>
]>
<tracings>
  <samplespacing x="0.5" y="0.5" z="2.0" units="microns"/>
  <imagesize width="100" height="100" depth="10"/>
  <path id="0" swctype="2" usefitted="false" name="main" reallength="4">
    <point x="0" y="0" z="0" xd="0.0" yd="0.0" zd="0.0" r="0.5"/>
    <point x="4" y="0" z="0" xd="2.0" yd="0.0" zd="0.0" r="0.5"/>
    <point x="8" y="0" z="0" xd="4.0" yd="0.0" zd="0.0"/>
  </path>
  <path id="1" swctype="3" usefitted="true" fitted="2" startson="0" startsindex="1"
        startx="2.0" starty="0.0" startz="0.0">
    <point x="4" y="2" z="0" xd="2.0" yd="1.0" zd="0.0" r="0.1"/>
    <point x="4" y="6" z="0" xd="2.0" yd="3.0" zd="0.0" r="0.1"/>
  </path>
  <path id="2" swctype="3" fittedversionof="1">
    <point x="4" y="2" z="0" xd="2.0" yd="1.0" zd="0.0" r="0.3"/>
    <point x="4" y="6" z="0" xd="2.0" yd="3.5" zd="0.0" r="0.3"/>
  </path>
  <path id="3" swctype="1"><point xd="9.0" yd="9.0" zd="9.0"/></path>
  <fill id="0" frompaths="0"><node id="0" x="1" y="1" z="1"/></fill>
</tracings>"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_traces(tmp_path, pack):
    (tmp_path / "a.traces").write_bytes(pack(TRACES.encode()))
    found = read_skeletons(tmp_path / "a.traces")
    assert (found.format, found.names, found.problems) == ("traces", ["main", "3"], ())
    main = found["main"]
    # The fitted path is used: it ends at y = 3.5 and has a radius of 0.3.
    assert main.skeleton.cable_length == 4 + 1 + 2.5
    assert main.skeleton.coordinates[0].tolist() == [0, 0, 0]
    assert main.skeleton.roots.tolist() == [0]
    assert set(main.columns["path"]) == {"0", "1"}
    branch = main.columns["path"] == "1"
    assert main.skeleton.kind[branch].tolist() == [3, 3]
    np.testing.assert_allclose(main.skeleton.radius[branch], 0.3)
    assert np.isnan(main.skeleton.radius).sum() == 1
    assert main.skeleton.branch_points.tolist() == [1]
    assert found["3"].skeleton.kind.tolist() == [1]


def test_where_a_path_starts():
    """Without an index the nearest point of the other path; without a place, the nearest to it."""
    for about in ("", 'startx="3.9" starty="0.0" startz="0.0"'):
        text = TRACES.replace('startson="0" startsindex="1"', 'startson="0"')
        text = text.replace('startx="2.0" starty="0.0" startz="0.0"', about)
        main = parse_skeletons(text.encode(), url="a")["main"].skeleton
        length = 4 + 2.5 + (1 if not about else np.hypot(2, 1))
        assert main.cable_length == pytest.approx(length)


def test_a_path_that_ends_on_another():
    text = TRACES.replace('<path id="3" swctype="1">', '<path id="3" endson="0" endsindex="2">')
    found = parse_skeletons(text.encode(), url="a")
    assert found.names == ["main"]
    assert found[0].skeleton.roots.tolist() == [0]


def test_units_of_traces():
    pixels = TRACES.replace('units="microns"', 'units="pixel"')
    with pytest.raises(FormatError, match=r"the unit 'pixel'.*Pass scale="):
        parse_skeletons(pixels.encode(), url="a")
    nothing = parse_skeletons(TRACES.replace("microns", "").encode(), url="a")
    assert "no unit is stated" in str(nothing.problems)
    milli = parse_skeletons(TRACES.replace("microns", "mm").encode(), url="a")
    assert milli["main"].skeleton.cable_length == 7500


def test_scale_for_traces_without_one(tmp_path):
    (tmp_path / "a.traces").write_text(TRACES.replace('units="microns"', 'units="pixel"'))
    found = read_skeletons(tmp_path / "a.traces", scale=2)
    assert found["main"].skeleton.cable_length == 15


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('startson="0"', 'startson="8"', "starts on the path '8'"),
        ('xd="4.0"', 'xd="x"', "no calibrated coordinates"),
        ('id="3"', 'id="0"', "two paths the same id"),
        ("<tracings>", "<tracings><samplespacing>", "is not XML"),
        ("<!ATTLIST path id CDATA #REQUIRED>", '<!ENTITY a "b">', "declares the XML entity 'a'"),
        ("<!ATTLIST path id CDATA #REQUIRED>", '<!ENTITY % a "b">', "declares the XML entity 'a'"),
        ("#IMPLIED", '"true"', "declares a default"),
        ("tracings [", 'tracings SYSTEM "file:///etc/passwd" [', "document type"),
    ],
)
def test_broken_traces(old, new, message):
    with pytest.raises(FormatError, match=message):
        parse_skeletons(TRACES.replace(old, new, 1).encode(), url="a.traces")


# --- folders and archives ------------------------------------------------------------------------

SWC = "# unit: micrometer\n1 1 0 0 0 1 -1\n2 2 3 4 0 1 1\n"


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


MEMBERS = {
    "swcs/10.swc": SWC,
    "swcs/9.swc": SWC,
    "swcs/.ipynb_checkpoints/9-checkpoint.swc": SWC,
    "__MACOSX/swcs/._9.swc": "junk",
    "swcs/notes.txt": "junk",
}


def test_an_archive_of_swc(tmp_path):
    found = read_skeletons(archive(tmp_path / "a.zip", MEMBERS))
    assert (found.format, found.names) == ("swc", ["10", "9"])
    assert [s.cable_length for s in found.skeletons] == [5, 5]
    assert found.all_problems == ()
    assert read_skeletons(tmp_path / "a.zip", only=[9]).names == ["9"]
    with pytest.raises(NotFoundError, match="has no skeleton 'x'"):
        read_skeletons(tmp_path / "a.zip", only=["x", "9"])
    with pytest.raises(UnknownNameError, match="Unknown skeleton 'x'"):
        found["x"]


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for name in ("10.swc", "9.SWC", "b.swc.gz", "a.nml", "notes.txt"):
        data = NML if name == "a.nml" else SWC
        (tmp_path / name).write_bytes(
            gzip.compress(data.encode()) if "gz" in name else data.encode()
        )
    found = read_skeletons(tmp_path)
    assert found.names == ["axon & co", "dust", "b", "9", "10"]
    assert found.format == "nml+swc"
    assert read_skeletons(tmp_path, only=["dust"]).names == ["dust"]


def test_places_with_nothing(tmp_path):
    with pytest.raises(NotFoundError, match="holds no file of skeletons"):
        read_skeletons(tmp_path)
    with pytest.raises(NotFoundError):
        read_skeletons(tmp_path / "none.swc")
    with pytest.raises(NotFoundError):
        read_skeletons(archive(tmp_path / "a.zip", {"a.txt": "x"}))
    with pytest.raises(ParameterError, match="positive number"):
        read_skeletons(tmp_path / "none.swc", scale=0)


def test_archives_that_attack(tmp_path):
    bomb = archive(tmp_path / "bomb.zip", {"a.swc": "#" + "0" * 10**6})
    with pytest.raises(FormatError, match="unpack to too much"):
        read_skeletons(bomb, max_bytes=10**5)
    # The directory says that the member is small; it is not.
    data = bytearray(bomb.read_bytes())
    for at in range(len(data) - 4):
        if data[at : at + 4] == (10**6 + 1).to_bytes(4, "little"):
            data[at : at + 4] = (50).to_bytes(4, "little")
    bomb.write_bytes(data)
    with pytest.raises(FormatError):
        read_skeletons(bomb, max_bytes=10**5)
    # Nothing is unpacked to disk: a name that climbs is a name.
    climbing = archive(tmp_path / "climb.zip", {"../../up.swc": SWC})
    assert read_skeletons(climbing).names == ["up"]
    packed = gzip.compress(b"#" + b"0" * 10**6)
    with pytest.raises(FormatError, match="unpacks to more than 100000"):
        parse_skeletons(packed, url="a.gz", limit=10**5)
    with pytest.raises(FormatError, match="ends too early"):
        parse_skeletons(packed[:-9], url="a.gz")


def test_what_is_no_skeleton(tmp_path):
    for data, message in (
        (b"<CellCounter_Marker_File/>", "Points and tables are read with"),
        (b"<a", "not sound XML|of 'a'"),
        (b'{"@type": "neuroglancer_skeletons"}', "Give the folder"),
        (b'{"layers": []}', "neuroglancer state"),
        (b"\0\1\2", "not a text file"),
    ):
        with pytest.raises(FormatError, match=message):
            parse_skeletons(data, url="a")


def test_deep_xml_is_refused():
    deep = b"<things>" + b"<a>" * 10**5
    with pytest.raises(FormatError, match="deeper than 64 levels"):
        parse_skeletons(deep, url="a.nml")
    with pytest.raises(FormatError):
        parse_skeletons(b'{"neurons": ' + b"[" * 10**5, url="a.json")


def test_what_is_read_survives_pickle():
    import pickle

    found = parse_skeletons(NML.encode(), url="a.nml")
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert again.names == found.names
    assert again[0].facts == found[0].facts


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.nml", "a.zip", "folder", "precomputed://p", "sharded"])
def test_every_format_keeps_shape_and_names(tmp_path, name):
    source = parse_skeletons(NML.encode(), url="a.nml")
    items = [named(i.skeleton, n) for i, n in zip(source, ("one", "two"), strict=True)]
    options = {"kind": "precomputed", "sharded": True} if name == "sharded" else {}
    prefix = "precomputed://" if "://" in name else ""
    url = prefix + str(tmp_path / name.removeprefix(prefix))
    write_skeletons(items, url, **options)
    found = read_skeletons(url)
    assert found.names == ["one", "two"]
    for one, other in zip(items, found, strict=True):
        np.testing.assert_allclose(other.skeleton.coordinates, one.skeleton.coordinates, rtol=1e-6)
        assert edges_of(other.skeleton) == edges_of(one.skeleton)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        write_skeletons(items, url, **options)
    write_skeletons(items, url, overwrite=True, **options)


def test_one_skeleton_as_swc(tmp_path):
    skeleton = Skeleton([[0, 0, 0], [1, 2, 2]], [-1, 0], MICROMETRES)
    write_skeletons(skeleton, tmp_path / "a.swc")
    assert read_skeletons(tmp_path / "a.swc")["a"].skeleton.cable_length == 3
    with pytest.raises(ParameterError, match="an SWC file holds one"):
        write_skeletons([skeleton, skeleton], tmp_path / "b.swc")
    write_skeletons([skeleton, skeleton], tmp_path / "folder")
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["1.swc", "2.swc"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\nb", "twice"])
def test_names_that_cannot_be_files(tmp_path, name):
    skeleton = Skeleton([[0, 0, 0]], [-1], MICROMETRES)
    items = [named(skeleton, name), named(skeleton, "twice")]
    for place in ("folder", "a.zip"):
        with pytest.raises(ParameterError, match="Rename them"):
            write_skeletons(items, tmp_path / place)


def test_voxels_are_not_micrometres(tmp_path):
    item = named(Skeleton([[0, 0, 0]], [-1], Space.voxels()), "a")
    for place in ("a.nml", "precomputed://"):
        url = f"{place}{tmp_path}/p" if "://" in place else tmp_path / place
        with pytest.raises(ParameterError, match="micrometres"):
            write_skeletons(item, url)


def test_the_same_skeletons_give_the_same_archive():
    one = parse_skeletons(NML.encode(), url="a.nml")
    for name in "ab":
        write_skeletons(one, f"memory://same/{name}.zip", overwrite=True)
    # Not as an archive, whose members would have to be stored as they are.
    store = kvstore("memory://same/", folder=True)
    data, other = (store.read(f"{name}.zip").result().value for name in "ab")
    assert data == other
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["axon & co.swc", "dust.swc"]


def test_convert_says_what_was_doubtful(tmp_path):
    (tmp_path / "a.nml").write_text(NML)
    found = convert_skeletons(tmp_path / "a.nml", tmp_path / "out", kind="precomputed", expansion=4)
    assert "unit of radii" in str(found.all_problems)
    assert read_skeletons(tmp_path / "out")[0].skeleton.space.expansion == 4


# --- hostile files -------------------------------------------------------------------------------


def packed():
    target = io.BytesIO()
    archive(target, {"a.swc": SWC, "b.nml": NML})
    return target.getvalue()


SEEDS = {
    "nml": NML.encode(),
    "traces": TRACES.encode(),
    "gz": gzip.compress(TRACES.encode(), mtime=0),
    "json": json.dumps(mouselight()).encode(),
    "swc": SWC.encode(),
}


@st.composite
def mutated(draw, data):
    """The bytes with some replaced, a piece doubled or cut out."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(0, 30))
        piece = draw(
            st.sampled_from([b"", b"-1", b"1e999", b"99999999999999999999", b'"', b"\0", b"nan"])
            | st.binary(max_size=4)
        )
        data[at : at + length] = piece * draw(st.sampled_from([1, 1, 1, 50]))
        data = data or bytearray(b" ")
    return bytes(data)


@pytest.mark.parametrize("seed", SEEDS)
@given(data=st.data())
def test_mutated_files_give_a_value_or_our_error(seed, data):
    broken = data.draw(mutated(SEEDS[seed]))
    try:
        found = parse_skeletons(broken, url="hostile", limit=10**6)
    except ProjectomeError:
        return
    assert all(np.isfinite(s.coordinates).all() for s in found.skeletons)


@given(data=st.data())
def test_mutated_archives(data):
    from projectome.io.stores import write_bytes

    write_bytes("memory://hostile/a.zip", data.draw(mutated(packed())))
    try:
        read_skeletons("memory://hostile/a.zip", max_bytes=10**6)
    except ProjectomeError:
        return
