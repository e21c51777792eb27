"""Metadata of every generation: real documents, their traps, and documents made to contradict."""

import contextlib
import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import (
    FormatError,
    MetadataError,
    NotFoundError,
    ProjectomeError,
)
from projectome.io.access import Access
from projectome.io.metadata.aind import KINDS, REQUESTS, compose, read_asset
from projectome.io.metadata.stated import Node

SMART = "SmartSPIM_652506_2023-01-06_17-24-02"
STITCHED = f"{SMART}_stitched_2023-01-09_01-02-03"
SCALE = {"object_type": "Scale", "scale": [1.8, 1.8, 2.0]}


def messages(asset):
    """All problems as one text."""
    return "\n".join(map(str, asset.problems))


def of(acquisition, **others):
    """The model of an acquisition document, and of others by kind."""
    documents = {"acquisition": acquisition, **others}
    nodes = {kind: Node(content, f"{kind}.json") for kind, content in documents.items()}
    return compose("/somewhere/asset", nodes, [])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "schema", "toward", "tiles", "doubts"),
    [
        ("v0_4_0", "0.4.0", ("superior", "posterior", "right"), 2, 0),
        ("schema_0_4_3", "0.4.3", ("superior", "posterior", "right"), 2, 0),
        ("schema_0_6_21", "0.6.21", ("superior", "posterior", "right"), 2, 0),
        ("schema_1_0_0", "1.0.0", ("superior", "posterior", "right"), 2, 0),
        ("schema_1_0_4", "1.0.4", ("superior", "posterior", "right"), 2, 0),
        ("schema_2_0_3_dev", "2.0.3", ("superior", "posterior", "right"), 2, 0),
        ("schema_2_5_4_generated", "2.5.4", ("inferior", "posterior", "right"), 2, 2),
    ],
)
def test_real_acquisitions_of_every_generation(real, name, schema, toward, tiles, doubts):
    asset = read_asset(str(real / f"aind_metadata/acquisition/{name}_exaspim_acquisition.json"))
    assert asset.schema.value == schema
    assert asset.toward == toward
    assert [axis.name.value for axis in asset.axes] == ["X", "Y", "Z"]
    assert asset.voxel_size_um.value == (1.0, 0.748, 0.748)
    assert len(asset.tiles) == tiles
    assert [channel.name.value for channel in asset.channels] == ["488", "561"]
    assert [channel.excitation_nm.value for channel in asset.channels] == [488.0, 561.0]
    assert len(asset.problems) == doubts, messages(asset)
    assert asset.started.value.date().isoformat() == "2022-11-22"
    assert (asset.started.value.tzinfo is None) == (schema in ("0.4.0", "0.4.3"))
    assert asset.tiles[0].file_name.value == "tile_X_0000_Y_0000_Z_0000_CH_488.ims"


@pytest.mark.realdata
def test_real_example_in_millimetres_that_are_micrometres(real):
    folder = real / "aind_metadata/acquisition"
    asset = read_asset(str(folder / "schema_2_5_4_generated_exaspim_acquisition.json"))
    said = messages(asset)
    assert "'millimeter'" in said
    assert "383 x 383 x 256 mm" in said
    assert "5 to 60 mm" in said
    assert "read in micrometers" in said
    # [0, 1, 2] is possible in both units: not taken, and kept as written.
    assert asset.tiles[0].translation_um is None
    assert asset.tiles[0].translation.value == (0.0, 1.0, 2.0)
    assert asset.tiles[0].shape.value == (256, 512, 512)


@pytest.mark.realdata
def test_oldest_real_document_whose_axes_are_numbered_the_other_way(real):
    path = real / "aind_metadata/acquisition/v0_3_0_smartspim_acquisition.json"
    asset = read_asset(str(path))
    assert asset.subject.id.value == "12345"
    assert asset.voxel_size_um.value == (2.0, 1.8, 1.8)
    assert asset.toward == (None, "anterior", None)
    assert asset.readings[0] == ("inferior", "anterior", "right")
    assert "No unit is stated" in messages(asset)
    assert "names of the axes say" in messages(asset)


@pytest.mark.realdata
def test_constructed_pasteur_document(real):
    folder = real / "aind_metadata/acquisition/constructed_pasteur_layout"
    asset = read_asset(str(folder))
    assert asset.files == ("exaspim_acquisition.json",)
    assert asset.toward == ("right", "superior", "posterior")
    assert asset.voxel_size_um.value == (1.0, 0.748, 0.748)
    assert [tile.translation_um for tile in asset.tiles] == [None] * 4
    assert asset.tiles[3].translation.value == (9.02, 6.76, 0.25)
    said = messages(asset)
    assert "9.02 um of one another" in said
    assert "9.02 mm" in said
    assert "-y, x, z" in said


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["0_3_0", "0_5_5", "1_0_0", "2_0_2", "2_3_3_generated"])
def test_real_subjects(real, version):
    subject = read_asset(str(real / f"aind_metadata/core/subject_{version}.json")).subject
    assert subject.id.value in ("12345", "123456")
    assert subject.species.value == "Mus musculus"
    assert subject.sex.value == "Male"
    assert subject.genotype.value.startswith("Emx1-IRES-Cre")
    assert subject.strain.value == "C57BL/6J"
    assert subject.date_of_birth.value == "2022-11-22"


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["0_4_1", "0_10_1", "1_0_2", "2_0_2", "2_4_2_generated"])
def test_real_descriptions(real, version):
    path = real / f"aind_metadata/core/data_description_{version}.json"
    found = read_asset(str(path)).description
    assert found.licence.value == "CC-BY-4.0"
    assert found.institution.value == "Allen Institute for Neural Dynamics"
    assert found.created.value.startswith("2022-02-21T16:30:01")
    assert len(found.funders) == 1
    assert found.modalities
    assert found.level.value.startswith("raw")


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["0_4_9", "1_1_6", "2_0_4"])
def test_real_processing(real, version):
    steps = read_asset(str(real / f"aind_metadata/core/processing_{version}.json")).processing
    names = [step.name.value for step in steps]
    assert names[-5:-2] == ["Image tile fusing", "File format conversion", "Image destriping"]
    assert names[-2:] == ["Analysis"] * 2
    assert steps[-5].code.value == "https://github.com/abcd"
    assert steps[-5].started.value == datetime(2022, 11, 22, 8, 43, tzinfo=UTC)


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["0_10_29", "1_0_5", "2_0_3", "2_2_8_generated"])
def test_real_instruments(real, version):
    path = real / f"aind_metadata/core/exaspim_instrument_{version}.json"
    found = read_asset(str(path)).instrument
    assert "exaSPIM1" in found.id.value
    assert found.magnification.value == 5
    assert found.numerical_aperture.value == 0.305


@pytest.mark.realdata
def test_every_value_of_real_documents_is_where_its_evidence_says(real):
    """The key of a value, followed through the document by other means, leads to the value."""

    def follow(content, key):
        for step in key.replace("[", ".").replace("]", "").split("."):
            content = content[int(step)] if isinstance(content, list) else content[step]
        return content

    def evidence(value):
        if isinstance(value, dict) and set(value) == {"value", "source", "key"}:
            yield value
        elif isinstance(value, (dict, list)):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from evidence(inner)

    for path in sorted((real / "aind_metadata").rglob("*.json")):
        if "quality_control" in path.name:
            continue
        content = json.loads(path.read_text())
        found = list(evidence(read_asset(str(path)).facts()))
        assert found, path
        for stated in found:
            assert stated["source"] == path.name
            there = follow(content, stated["key"])
            if isinstance(there, (str, int, float)) and not isinstance(stated["value"], list):
                same = (str(there), there, str(there).replace("Z", "+00:00"))
                words = str(there).lower().split("_to_")
                if str(there) in str(stated["value"]):
                    continue
                assert (
                    stated["value"] in same
                    or words[-1] == stated["value"]
                    or (float(there) == stated["value"])
                )


def test_numbers_as_texts_and_position_before_scale(recording):
    asset = of(recording)
    assert asset.problems == ()
    assert asset.toward == ("inferior", "anterior", "right")
    assert asset.voxel_size_um.value == (2.0, 1.8, 1.8)
    assert asset.tiles[0].translation_um.value == (-3000.0, 2000.0, 100.5)
    channel = asset.channels[0]
    assert (channel.excitation_nm.value, channel.emission_nm.value) == (561, 593)
    assert channel.emission_nm.where == "acquisition.json: tiles[0].file_name"


def test_code_of_axes_is_read_as_the_schema_defines_it(recording):
    """aind-data-schema 1.4.0: ``direction_lookup = {"L": LR, "R": RL, "A": AP, ...}``."""
    asset = of({**recording, "axes": "RAS"})
    assert asset.toward == ("inferior", "posterior", "left")
    assert "FROM" in messages(asset)
    assert "--orientation CODE" in messages(asset)
    assert of({**recording, "axes": "RAX"}).axes == ()


@pytest.mark.parametrize(
    "transform",
    [
        [SCALE, {"translation": [10, 20, 30]}],
        ["object_type='Scale' scale=[1.8, 1.8, 2.0]", "translation=[10.0, 20.0, 30.0]"],
        ["Scale(scale=[Decimal('1.8'), Decimal('1.8'), Decimal('2')])", "translation=[10,20,30]"],
    ],
)
def test_newest_generation_with_objects_and_printed_objects(modern, transform):
    asset = of(modern(transform, dimensions="object_type='Scale' scale=[512.0, 400.0, 256.0]"))
    assert asset.problems == ()
    assert asset.toward == ("inferior", "posterior", "right")
    assert asset.voxel_size_um.value == (2.0, 1.8, 1.8)
    assert asset.tiles[0].translation_um.value == (30.0, 20.0, 10.0)
    assert asset.tiles[0].shape.value == (256, 400, 512)
    assert asset.channels[0].emission_nm.value == pytest.approx(600)
    key = "data_streams[0].configurations[1].images[0].image_to_acquisition_transform[0]"
    assert asset.voxel_size_um.key.removesuffix(".scale") == key


def test_a_printed_object_that_breaks_the_grammar_is_a_problem(modern):
    asset = of(modern(["scale=__import__('os')"]))
    assert asset.voxel_size_um is None
    assert "JSON object" in messages(asset)


@pytest.mark.parametrize(
    ("step", "turned"),
    [
        ({"angles": [0, 0, 0]}, False),
        ({"angles": [0, 90, 0]}, True),
        ({"rotation": ["1", "0", "0", "0", "1", "0", "0", "0", "1"]}, False),
        ({"rotation": [0, 1, 0, -1, 0, 0, 0, 0, 1]}, True),
        ({"scale": [1.8, -1.8, 2.0]}, True),
        ({"affine_transform": [1, 0, 0, 5, 0, 1, 0, 5, 0, 0, 1, 5]}, False),
        ({"affine_transform": [[0, 1, 0, 5], [1, 0, 0, 5], [0, 0, 1, 5]]}, True),
        ({"affine_transform": [[1, 0, 0, 5], [0, 1, 0, 5], [0, 0, 1, 5], [0, 0, 0, 1]]}, False),
    ],
)
def test_turned_images_leave_the_orientation_unknown(modern, step, turned):
    asset = of(modern([step]))
    assert (asset.toward == (None, None, None)) == turned
    assert ("turned or mirrored" in messages(asset)) == turned


def test_axes_listed_in_another_order_than_the_numbers(modern):
    """The tool that rewrites old documents lists Z, Y, X and leaves the scale X, Y, Z."""
    system = {"axes": [], "axis_unit": "micrometer"}
    ways = ("Superior_to_inferior", "Posterior_to_anterior", "Left_to_right")
    for name, way in zip("ZYX", ways, strict=True):
        system["axes"].append({"name": name, "direction": way})
    asset = of(modern([SCALE], system))
    assert asset.voxel_size_um.value == (2.0, 1.8, 1.8)
    assert "pixels of a camera are square" in messages(asset)
    assert asset.toward == ("inferior", "anterior", "right")
    assert of(modern([{"scale": [1.0, 2.0, 3.0]}], system)).voxel_size_um is None
    assert of(modern([{"scale": [2.0, 2.0, 2.0]}], system)).problems == ()


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [
        ("micrometer", [1.8, 1.8, 2.0], (2.0, 1.8, 1.8)),
        ("nanometer", [1800, 1800, 2000], (2.0, 1.8, 1.8)),
        ("millimeter", [0.0018, 0.0018, 0.002], (2.0, 1.8, 1.8)),
        ("millimeter", [1.8, 1.8, 2.0], (2.0, 1.8, 1.8)),
        ("micrometer", [1800, 1800, 2000], (2.0, 1.8, 1.8)),
        ("micrometer", [0.0018, 0.0018, 0.002], (2.0, 1.8, 1.8)),
        ("meter", [500.0, 500.0, 500.0], (0.5, 0.5, 0.5)),
        ("micrometer", [1e-9, 1e-9, 1e-9], None),
        ("parsec", [1.8, 1.8, 2.0], (2.0, 1.8, 1.8)),
    ],
)
def test_a_unit_is_held_against_what_a_microscope_can_do(modern, unit, scale, expected):
    system = copy.deepcopy(modern([])["data_streams"][0]["configurations"][1])
    system = {**system["local_coordinate_system"], "axis_unit": unit}
    found = of(modern([{"scale": scale}], system))
    size = found.voxel_size_um
    assert (None if size is None else size.value) == (expected and pytest.approx(expected))
    fits = unit in ("micrometer", "nanometer", "millimeter") and (
        0.01 <= scale[0] * {"micrometer": 1, "nanometer": 1e-3, "millimeter": 1e3}[unit] <= 100
    )
    assert bool(found.problems) != fits


def test_tiles_of_different_voxel_size(recording):
    other = copy.deepcopy(recording["tiles"][0])
    other["coordinate_transformations"][1]["scale"] = [3.6, 3.6, 2.0]
    recording["tiles"].append(other)
    asset = of(recording)
    assert asset.voxel_size_um is None
    assert "voxels of 2 sizes" in messages(asset)


def test_configurations_that_disagree(modern):
    document = modern([SCALE])
    configs = document["data_streams"][0]["configurations"]
    other = copy.deepcopy(configs[1])
    other["local_coordinate_system"]["axes"][0]["direction"] = "Right_to_left"
    configs.append(other)
    asset = of(document)
    assert asset.axes == ()
    assert asset.toward == (None, None, None)
    assert "different directions" in messages(asset)


@pytest.mark.parametrize("direction", ["Other", "Up_to_down", "left_to_right_", None])
def test_directions_that_are_none_of_the_body(recording, direction):
    recording["axes"][0]["direction"] = direction
    assert of(recording).toward == ("inferior", "anterior", None)


def test_two_axes_along_one_line(recording):
    recording["axes"][0]["direction"] = "Inferior_to_superior"
    asset = of(recording)
    assert asset.toward == (None, None, None)
    assert "one anatomical line" in messages(asset)


def test_subjects_that_contradict(tmp_path, put, recording):
    """As in the list of published brains, where 704522 lies in the asset of 720165."""
    folder = tmp_path / "exaSPIM_704522_2024-01-01_00-00-00"
    put(folder, {"acquisition.json": recording, "subject.json": {"subject_id": "720165"}})
    asset = read_asset(str(folder))
    assert asset.subject.id is None
    for name in ("704522", "720165", "652506", "acquisition.json: subject_id"):
        assert name in messages(asset)


@pytest.mark.parametrize(
    ("procedures", "factor", "expanded", "said"),
    [
        ({}, None, False, ""),
        ({"specimen_procedures": [{"procedure_type": "Expansion"}]}, None, True, ""),
        ({"specimen_procedures": [{"expansion_factor": "3.2"}]}, 3.2, True, ""),
        ({"a": {"expansion_factor": 3}, "b": {"expansion_factor": 4}}, None, True, "Different"),
        ({"a": {"expansion_factor": 3000}}, None, False, "no expansion factor"),
    ],
)
def test_expansion(recording, procedures, factor, expanded, said):
    asset = of(recording, procedures=procedures)
    assert (None if asset.expansion is None else asset.expansion.value) == factor
    assert (asset.expanded is not None) == expanded
    assert said in messages(asset)


def test_blanked_out_fields_are_not_stated(recording):
    asset = of({**recording, "subject_id": "###", "instrument_id": "###"})
    assert asset.subject.id is None
    assert asset.instrument.id is None


class TestFolders:
    def test_merged_document_and_single_ones(self, tmp_path, put, recording):
        merged = {"name": "x", "acquisition": recording, "subject": {"subject_id": "652506"}}
        put(tmp_path, {"metadata.nd.json": merged, "processing.json": {"data_processes": []}})
        asset = read_asset(str(tmp_path))
        assert asset.toward == ("inferior", "anterior", "right")
        assert asset.axes[0].toward.where == "metadata.nd.json: acquisition.axes[0].direction"
        # A single document counts before the merged one.
        put(tmp_path, {"acquisition.json": {**recording, "axes": []}})
        assert read_asset(str(tmp_path)).axes == ()
        assert read_asset(str(tmp_path)).subject.id.source == "metadata.nd.json"

    @pytest.mark.parametrize("where", ["recording", "merged", "prefixed"])
    def test_a_derived_asset_is_completed_from_its_recording(self, tmp_path, put, recording, where):
        names = {
            "recording": ("acquisition.json", recording),
            "merged": ("metadata.nd.json", {"acquisition": recording}),
            "prefixed": ("exaspim_acquisition.json", recording),
        }
        name, document = names[where]
        put(tmp_path, {f"{SMART}/{name}": document, f"{SMART}/subject.json": {"sex": "Male"}})
        put(tmp_path, {f"{STITCHED}/processing.json": {"data_processes": [{"name": "fuse"}]}})
        asset = read_asset(str(tmp_path / STITCHED))
        assert asset.toward == ("inferior", "anterior", "right")
        assert asset.axes[0].toward.source == f"{SMART}/{name}"
        assert asset.processing[0].name.where == "processing.json: data_processes[0].name"
        assert f"recording {SMART} is read" in messages(asset)
        assert asset.name.subject == asset.subject.id.value == "652506"

    def test_tiles_named_ims_beside_zarr(self, tmp_path, put, recording):
        recording["tiles"][0]["file_name"] = "tile_000000_ch_488.ims"
        put(
            tmp_path, {"acquisition.json": recording, "exaSPIM/tile_000000_ch_488.zarr/.zattrs": {}}
        )
        assert "the pixels are Zarr" in messages(read_asset(str(tmp_path)))
        put(tmp_path, {"exaSPIM/tile_000000_ch_488.ims": ""})
        assert read_asset(str(tmp_path)).problems == ()

    def test_a_broken_document_is_a_problem_beside_others(self, tmp_path, put, recording):
        put(tmp_path, {"acquisition.json": recording, "subject.json": "{"})
        asset = read_asset(str(tmp_path))
        assert asset.toward[0] == "inferior"
        assert "subject.json" in messages(asset)
        assert "not used" in messages(asset)

    def test_errors_name_the_way_out(self, tmp_path, put):
        with pytest.raises(
            NotFoundError, match=r"acquisition.json.*metadata.nd.json.*projectome ls"
        ):
            read_asset(str(tmp_path))
        put(tmp_path, {"other.json": {"a": 1}, "acquisition.json": "[]"})
        with pytest.raises(MetadataError, match=r"no metadata of a recording.*Known: acquisition"):
            read_asset(str(tmp_path / "other.json"))
        with pytest.raises(FormatError, match="not a JSON document"):
            read_asset(str(tmp_path / "acquisition.json"))
        with pytest.raises(MetadataError, match=r"No document.*can be read(.|\n)*acquisition.json"):
            read_asset(str(tmp_path))

    def test_a_document_is_known_by_what_it_holds(self, tmp_path, put, recording):
        put(tmp_path, {"a.json": recording, "b.json": {"acquisition": recording}})
        for name in ("a.json", "b.json"):
            assert read_asset(str(tmp_path / name)).toward == ("inferior", "anterior", "right")


@pytest.mark.server
@pytest.mark.parametrize("layout", ["whole", "merged", "derived", "derived merged", "prefixed"])
def test_an_object_store_is_asked_at_most_eight_times(
    tmp_path, put, recording, serving_buckets, layout
):
    documents = {f"{kind}.json": {"subject_id": "652506"} for kind in KINDS}
    documents["acquisition.json"] = recording
    merged = {name.removesuffix(".json"): content for name, content in documents.items()}
    folder = tmp_path / "data"
    if layout == "merged":
        put(folder / STITCHED, {"metadata.nd.json": merged})
    elif layout == "prefixed":
        put(folder / STITCHED, {f"exaspim_{name}": d for name, d in documents.items()})
    elif layout == "whole":
        put(folder / STITCHED, {**documents, "metadata.nd.json": merged, "exaSPIM/a.zarr/x": {}})
    else:
        put(folder / SMART, {"metadata.nd.json": merged} if "merged" in layout else documents)
        own = {k: v for k, v in documents.items() if k != "acquisition.json"}
        put(folder / STITCHED, own)
    with serving_buckets(tmp_path) as server:
        access = Access(endpoint=server.endpoint, region="us-east-1")
        asset = read_asset(f"s3://data/{STITCHED}", access=access)
        assert asset.toward == ("inferior", "anterior", "right")
        assert asset.subject.id.value == "652506"
        assert len(server.asked) <= REQUESTS, server.asked


BROKEN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["1e999", "nan", "-0.0", "RAS", "millimeter", "scale=[1", "Expansion", "9" * 50]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "scale", "axes", "direction", "unit", "value", "dimension"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


def places(content, path=()):
    """All places in a document."""
    yield path
    if isinstance(content, (dict, list)):
        steps = content if isinstance(content, dict) else range(len(content))
        for step in steps:
            yield from places(content[step], (*path, step))


def mutated(document, path, value):
    """A copy with another value at one place."""
    if not path:
        return value
    copied = copy.deepcopy(document)
    inner = copied
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return copied


@pytest.mark.parametrize("generation", ["1.x", "2.x"])
def test_mutated_documents_give_a_value(generation, recording, modern):
    """Whatever stands at any place of a document: a model with plain facts, or an error of ours."""
    original = recording if generation == "1.x" else modern([SCALE, {"translation": [1, 2, 3]}])
    paths = list(places(original))

    @given(st.lists(st.tuples(st.sampled_from(paths), BROKEN), min_size=1, max_size=3))
    def mutate(changes):
        document = original
        for path, value in changes:
            with contextlib.suppress(KeyError, IndexError, TypeError):
                document = mutated(document, path, value)
        with contextlib.suppress(ProjectomeError):
            asset = of(document, procedures=document, processing=document, subject=document)
            json.dumps(asset.facts())
            assert all(problem.where and problem.message for problem in asset.problems)

    mutate()
