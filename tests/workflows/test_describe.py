"""Describing a file: whose word a value is, what is missing or asked, what goes to AIND."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

import projectome
from projectome.core.space import Space
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, MetadataError, ParameterError, UnknownNameError
from projectome.io.metadata.ensp import parse_metadata
from projectome.io.metadata.ensp_aind import to_aind
from projectome.io.metadata.microscope import microscope_facts
from projectome.workflows.describe import describe

REAL = Path(os.environ.get("PROJECTOME_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
NEEDED = {
    "species": "Mus musculus",
    "labelling": "Brainbow AAV",
    "clearing": "none",
    "microscope": "LSM 880",
    "creators": ("Ada Byron <0000-0002-1825-0097>",),
    "licence": "CC-BY-4.0",
}
FOR_AIND = {
    "subject": "m1",
    "sex": "female",
    "born": "2026-03-01",
    "genotype": "wt/wt",
    "acquired": "2026-05-01T14:30:00+02:00",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> str:
    """Return two channels of 4 x 8 x 6 voxels of 2 x 1 x 0.5 um, oriented and expanded."""
    space = Space.from_code("PIR", meaning="toward", expansion=4)
    volume = Volume.from_array(
        np.zeros((2, 4, 8, 6), np.uint16),
        voxel_size=(2, 1, 0.5),
        channels=["GFP", "RFP"],
        space=space,
    )
    path = tmp_path_factory.mktemp("described") / "a.ome.zarr"
    projectome.write_volume(volume, str(path))
    return str(path)


@pytest.fixture
def bare(tmp_path) -> str:
    """Return a TIFF that says nothing but its pixels."""
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8))
    return str(path)


def test_the_file_tells_what_it_knows_and_the_user_the_rest(image):
    metadata, problems = describe(image, **NEEDED)
    assert problems == ()
    told = metadata.image
    assert (told.file, told.format, told.kind) == ("a.ome.zarr", "OME-Zarr", "image")
    assert (told.axes, told.shape, told.dtype) == ("czyx", (2, 4, 8, 6), "uint16")
    assert told.voxel_size_um == (2, 1, 0.5)
    assert told.toward == ("posterior", "inferior", "right")
    assert told.expansion == 4
    assert [channel.name for channel in told.channels] == ["GFP", "RFP"]
    assert metadata.creators[0].orcid == "0000-0002-1825-0097"
    for place in (("title",), ("image", "shape"), ("image", "voxel_size_um"), ("image", "toward")):
        assert metadata.source(*place) == "file"
    for place in (("licence",), ("creators", 0, "name"), ("specimen", "species")):
        assert metadata.source(*place) == "user"
    assert "" not in metadata.sources


def test_everything_that_is_missing_is_named_at_once(image):
    with pytest.raises(ParameterError) as caught:
        describe(image, clearing="CUBIC")
    text = str(caught.value)
    for option in ("--species", "--labelling", "--microscope", "--creator", "--licence"):
        assert option in text
    assert "--clearing" not in text


def test_a_missing_voxel_size_is_named_with_the_rest(bare):
    with pytest.raises(ParameterError) as caught:
        describe(bare)
    text = str(caught.value)
    assert "--voxel-size Z,Y,X" in text
    assert "--species NAME" in text
    assert "--licence ID" in text
    with pytest.raises(ParameterError) as caught:
        describe(bare, **NEEDED)
    assert "--species" not in str(caught.value)


def test_everything_that_is_wrong_is_named_at_once_by_its_option(image):
    wrong = {"species": "mouse", "licence": "CC-BY-4", "age": "P56", "creators": ("A <1>",)}
    with pytest.raises(ParameterError) as caught:
        describe(image, **{**NEEDED, **wrong, "excitation": (4.0, 561.0), "acquired": "now"})
    lines = str(caught.value).splitlines()[1:]
    starts = ("--species", "--licence", "--age", "--creator", "--excitation", "--acquired")
    assert sorted(line.split(":")[0].strip(" -") for line in lines) == sorted(
        start.strip("-") for start in starts
    )


def test_a_fact_without_a_place_is_refused(image):
    with pytest.raises(UnknownNameError, match=r"Unknown fact 'specie'.*'species'"):
        describe(image, **NEEDED, specie="x")


def test_what_the_user_says_of_geometry_is_the_users_word(bare):
    metadata, _ = describe(
        bare,
        **NEEDED,
        voxel_size=(1, 0.5, 0.5),
        orientation="asr",
        meaning="from",
        expansion=4.0,
    )
    assert metadata.image.toward == ("posterior", "inferior", "left")
    for key in ("voxel_size_um", "toward", "expansion"):
        assert metadata.source("image", key) == "user"
    assert metadata.source("image", "shape") == "file"


def test_what_nobody_knows_is_left_out(bare):
    metadata, _ = describe(bare, **NEEDED, voxel_size=(1, 1, 1))
    assert metadata.image.toward is None
    assert metadata.image.expansion is None
    assert metadata.image.channels == ()
    assert "toward" not in metadata.plain()["image"]


def test_channels_get_dyes_and_wavelengths_in_their_order(image, bare):
    metadata, _ = describe(image, **NEEDED, dyes=("EGFP",), excitation=(488, 561))
    first, second = metadata.image.channels
    assert (first.dye, first.excitation_nm, second.dye) == ("EGFP", 488, None)
    assert metadata.source("image", "channels", 0, "dye") == "user"
    assert metadata.source("image", "channels", 0, "name") == "file"
    with pytest.raises(ParameterError, match=r"--emission speaks of channel 2, but a.* has 2"):
        describe(image, **NEEDED, emission=(1, 2, 3))
    metadata, _ = describe(bare, **NEEDED, voxel_size=(1, 1, 1), dyes=("DAPI",))
    assert metadata.image.channels[0].dye == "DAPI"


@pytest.mark.parametrize(
    ("said", "written"),
    [("8 weeks", "P8W"), ("1 day", "P1D"), ("2.5 Months", "P2.5M"), ("P56D", "P56D")],
)
def test_ages_are_written_as_iso_8601(image, said, written):
    assert describe(image, **NEEDED, age=said).metadata.specimen.age == written


class TestAsking:
    def test_only_what_is_missing_is_asked_until_it_is_right(self, image):
        answers = iter(["mouse", "Mus musculus", "Ada <x>; B", "Ada; B C", "free", "CC0-1.0"])
        asked = []

        def ask(question):
            asked.append(question)
            return next(answers) + "\n"

        some = {"labelling": "GFP", "clearing": "none", "microscope": "X"}
        metadata, _ = describe(image, ask=ask, **some)
        assert metadata.specimen.species == "Mus musculus"
        assert [creator.name for creator in metadata.creators] == ["Ada", "B C"]
        assert metadata.licence == "CC0-1.0"
        assert metadata.source("licence") == "user"
        assert len(asked) == 6
        assert "write for instance 'Mus musculus'" in asked[1]
        assert "no SPDX licence" in asked[5]

    def test_a_missing_voxel_size_is_asked(self, bare):
        metadata, _ = describe(bare, ask=lambda question: "2, 1, 1", **NEEDED)
        assert metadata.image.voxel_size_um == (2, 1, 1)
        assert metadata.source("image", "voxel_size_um") == "user"
        with pytest.raises(ParameterError, match="three numbers Z,Y,X"):
            describe(bare, ask=lambda question: "two", **NEEDED)

    def test_nothing_is_asked_where_all_is_said(self, image):
        def ask(question):
            raise AssertionError(question)

        describe(image, ask=ask, **NEEDED)


class TestEarlierDescription:
    def test_the_users_words_hold_and_those_of_the_file_do_not(self, image, bare):
        earlier, _ = describe(
            bare,
            **NEEDED,
            voxel_size=(3, 2, 2),
            orientation="PIL",
            meaning="toward",
            title="Mine",
            acquired="2026-01-01",
            dyes=("DAPI",),
        )
        metadata, problems = describe(bare, template=earlier)
        assert metadata == earlier
        assert problems == ()
        metadata, _ = describe(image, template=earlier, title="Other", voxel_size=(4, 4, 4))
        assert metadata.title == "Other"
        assert metadata.specimen == earlier.specimen
        assert metadata.image.shape == (2, 4, 8, 6)
        assert metadata.image.voxel_size_um == (4, 4, 4)
        assert metadata.image.toward == ("posterior", "inferior", "left")
        assert metadata.image.channels[0].dye == "DAPI"
        assert metadata.image.file == "a.ome.zarr"

    def test_what_an_earlier_file_said_is_not_taken(self, image, bare):
        earlier, _ = describe(image, **NEEDED)
        with pytest.raises(ParameterError, match="does not state its voxel size"):
            describe(bare, template=earlier)

    def test_more_channels_than_the_file_has_are_reported(self, image, bare):
        earlier, _ = describe(image, **NEEDED, dyes=("A", "B"))
        metadata, problems = describe(bare, template=earlier, voxel_size=(1, 1, 1))
        assert [channel.dye for channel in metadata.image.channels] == ["A"]
        assert "more channels than 1" in str(problems[0])

    def test_a_document_of_one_word_for_all_serves(self, image):
        document = describe(image, **NEEDED).metadata.plain()
        document["sources"] = {"": "user"}
        metadata, _ = describe(image, template=parse_metadata(document, where="hand.json"))
        assert metadata.specimen.species == "Mus musculus"


class TestMicroscopeFacts:
    def pyramid(self, **metadata) -> Pyramid:
        volume = Volume.from_array(np.zeros((2, 1, 2, 2)), voxel_size=(1, 1, 1))
        return Pyramid((volume,), metadata=metadata)

    def test_they_are_taken_where_they_can_be_meant(self):
        facts = microscope_facts(
            self.pyramid(
                microscope=" LSM 880 ",
                objective=7,
                numerical_aperture=float("nan"),
                magnification=True,
                immersion="x" * 5000,
                acquired="long ago",
                channels=[{"dye": "EGFP", "excitation_nm": 488, "emission_nm": -1}, "odd"],
            )
        )
        assert facts == {
            ("instrument", "microscope"): "LSM 880",
            ("image", "channels", 0, "dye"): "EGFP",
            ("image", "channels", 0, "excitation_nm"): 488,
        }

    @pytest.mark.parametrize("channels", [None, "ab", 3, [{}] * 3, {"a": 1}])
    def test_odd_channels_are_passed_over(self, channels):
        assert microscope_facts(self.pyramid(channels=channels)) == {}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "microscope", "aperture", "excitation"),
    [
        ("nd2/cluster.nd2", "Nikon A1plus", 0.95, (488, 561)),
        ("oib/test.oib", "FLUOVIEW FV1000", 0.75, (488, 543, 543)),
        ("czi_from_gpl_repository/lls7_small.czi", "Lattice Lightsheet", 1.0, (561, 488)),
    ],
)
def test_files_of_microscopes_are_described(name, microscope, aperture, excitation):
    path = REAL / "microscope_samples" / name
    if not path.is_file():
        pytest.skip(f"no test data at {REAL}: set PROJECTOME_TEST_DATA")
    needed = {key: value for key, value in NEEDED.items() if key != "microscope"}
    time = None if name.startswith("oib") else 0
    size = (1, 0.1, 0.1) if name.startswith("oib") else None
    metadata, _ = describe(str(path), **needed, time=time, voxel_size=size)
    assert metadata.instrument.microscope == microscope
    assert metadata.instrument.numerical_aperture == aperture
    assert tuple(c.excitation_nm for c in metadata.image.channels) == excitation
    assert metadata.source("instrument", "microscope") == "file"
    other, problems = describe(
        str(path), **needed, time=time, voxel_size=size, microscope="Old Betsy"
    )
    assert other.instrument.microscope == "Old Betsy"
    assert other.source("instrument", "microscope") == "user"
    assert f"instrument.microscope: the file says {microscope!r}; your word" in str(problems[0])


class TestAind:
    """The structure is that of files which aind-data-schema 2.9.2 itself accepted."""

    def test_both_files_are_made_of_what_is_known(self, image):
        said = {**NEEDED, **FOR_AIND, "strain": "C57BL/6J", "dyes": ("EGFP",), "excitation": (488,)}
        files, left = to_aind(describe(image, **said).metadata)
        assert set(files) == {"acquisition.json", "subject.json"}
        acquisition, subject = files["acquisition.json"], files["subject.json"]
        assert acquisition["schema_version"] == "2.5.4"
        assert acquisition["subject_id"] == subject["subject_id"] == "m1"
        assert acquisition["acquisition_start_time"] == "2026-05-01T14:30:00+02:00"
        assert acquisition["experimenters"] == ["Ada Byron"]
        (stream,) = acquisition["data_streams"]
        assert stream["modalities"] == [{"name": "Confocal microscopy", "abbreviation": "confocal"}]
        (configuration,) = stream["configurations"]
        space = configuration["local_coordinate_system"]
        assert [(axis["name"], axis["direction"]) for axis in space["axes"]] == [
            ("X", "Left_to_right"),
            ("Y", "Superior_to_inferior"),
            ("Z", "Anterior_to_posterior"),
        ]
        assert (space["name"], space["axis_unit"]) == ("SPIM_RIP", "micrometer")
        first = configuration["images"][0]
        assert first["image_to_acquisition_transform"][0]["scale"] == [0.5, 1, 2]
        assert first["dimensions"]["scale"] == [6, 8, 4]
        assert [c["channel_name"] for c in configuration["channels"]] == ["GFP", "RFP"]
        assert configuration["channels"][0]["intended_measurement"] == "EGFP"
        assert configuration["channels"][0]["light_sources"][0]["wavelength"] == 488
        details = subject["subject_details"]
        assert (details["sex"], details["date_of_birth"]) == ("Female", "2026-03-01")
        assert details["strain"]["registry_identifier"] == "MGI:3028467"
        assert details["species"]["registry_identifier"] == "NCBI:txid10090"
        lost = {problem.where for problem in left}
        assert {"licence", "title", "specimen.labelling", "specimen.clearing"} <= lost
        assert {"creators.orcid", "image.expansion"} <= lost
        assert "specimen.sex" not in lost
        assert json.loads(json.dumps(files)) == files

    def test_what_stands_in_for_the_unknown_is_listed(self, image):
        said = {**NEEDED, **FOR_AIND, "strain": "FVB", "excitation": (488.4, 561)}
        files, left = to_aind(describe(image, **said).metadata)
        text = "\n".join(map(str, left))
        assert "specimen_id: not known; it says 'm1'" in text
        assert "acquisition_end_time: not known" in text
        assert "FVB: has no entry; it says 'Unknown'" in text
        assert "GFP: excitation: 488.4 nm" in text
        assert files["subject.json"]["subject_details"]["strain"]["name"] == "Unknown"

    def test_an_unknown_orientation_is_no_direction(self, bare):
        metadata, _ = describe(bare, **NEEDED, **FOR_AIND, voxel_size=(1, 1, 1))
        files, _ = to_aind(metadata)
        space = files["acquisition.json"]["global_coordinate_system"]
        assert [axis["direction"] for axis in space["axes"]] == ["Other"] * 3

    @pytest.mark.parametrize(
        ("missing", "told"),
        [
            ({"genotype": None}, "subject.json: not written: it needs --genotype"),
            ({"sex": "unknown"}, "subject.json: not written: it needs --sex"),
            ({"species": "Danio rerio"}, "only the mouse can be described fully"),
            (
                {"acquired": "2026-05-01T14:30:00"},
                "acquisition.json: not written: it needs the time",
            ),
            ({"technique": "two-photon"}, "no fitting modality for 'two-photon'"),
        ],
    )
    def test_a_file_that_would_lack_something_is_not_made(self, image, missing, told):
        files, left = to_aind(describe(image, **{**NEEDED, **FOR_AIND, **missing}).metadata)
        assert len(files) == 1
        assert told in "\n".join(map(str, left))

    def test_where_neither_can_be_made_all_reasons_are_told(self, image):
        with pytest.raises(MetadataError) as caught:
            to_aind(describe(image, **NEEDED).metadata)
        assert "(--subject)" in str(caught.value)
        assert "--sex, --born, --genotype" in str(caught.value)


def test_a_file_that_is_no_volume_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with pytest.raises(FormatError, match="not a volume"):
        describe(str(path), **NEEDED)


@pytest.mark.server
def test_what_the_catalog_knows_is_no_word_of_the_file(replica_buckets, monkeypatch):
    monkeypatch.setenv("PROJECTOME_ENDPOINT", replica_buckets.endpoint)
    url = "s3://e11bio-prism/ls/images/full_dataset.zarr/raw"
    said = {
        "species": "Mus musculus",
        "labelling": "18 protein bits",
        "clearing": "expansion",
        "microscope": "spinning disk",
        "licence": "CC-BY-SA-4.0",
        "creators": ("E11 Bio",),
    }
    found = describe(url, **said).metadata
    assert found.image.expansion == 5
    assert found.source("image", "expansion") == "catalog"
    assert found.image.channels[12].name == "MoonTag"
    assert found.source("image", "channels", 12, "name") == "catalog"
    assert found.source("image", "voxel_size_um") == "file"
    stated = describe(url, expansion=4.8, **said).metadata
    assert stated.source("image", "expansion") == "user"
