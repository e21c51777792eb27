"""The standard JSON for microscopy data as core files of aind-data-schema 2.x.

Only what has a field there is carried, and nothing is made up: what is left out, and what a
required field says for want of knowledge, is listed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from projectome.core.space import OPPOSITE
from projectome.errors import MetadataError, Problem
from projectome.io.metadata.ensp import Channel, Metadata

ACQUISITION, SUBJECT = "2.5.4", "2.3.3"
"""Versions of the two schemas, as in aind-data-schema 2.9."""
SOURCE = "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema/main/src/"
NCBI = "National Center for Biotechnology Information (NCBI)"
MGI = "Mouse Genome Informatics (MGI)"
MOUSE = "Mus musculus"
STRAINS = {"C57BL/6J": "MGI:3028467", "BALB/c": "MGI:2159737"}
"""Strains that the schema knows, and their numbers."""
CONFOCAL = ("confocal", "spinning-disk", None)
UNKNOWN = "unknown"
CARRIED = {
    "specimen": {"subject", "specimen", "species", "sex", "born", "strain", "genotype"},
    "instrument": {"microscope", "technique"},
}
"""Keys that have a field in the core files."""


class AindFiles(NamedTuple):
    """Core files made from one document.

    Attributes
    ----------
    files
        Name and content of each; a file that lacks what its schema requires is not made.
    left
        What could not be carried, or stands in for what is not known.
    """

    files: dict[str, dict[str, Any]]
    left: tuple[Problem, ...]


def to_aind(metadata: Metadata) -> AindFiles:
    """Return ``acquisition.json`` and ``subject.json`` of aind-data-schema 2.x.

    Raises
    ------
    MetadataError
        If neither of them can be made; with what is missing.
    """
    left: list[Problem] = []
    files: dict[str, dict[str, Any]] = {}
    for name, lacks, make in (
        ("acquisition.json", _lacks_for_acquisition(metadata), _acquisition),
        ("subject.json", _lacks_for_subject(metadata), _subject),
    ):
        if lacks:
            text = "not written: " + "; ".join(lacks)
            left.append(Problem("warning", name, text))
        else:
            files[name] = make(metadata, left)
    if not files:
        raise MetadataError("No file of aind-data-schema can be made of this description.", left)
    return AindFiles(files, (*left, *_left_out(metadata)))


def _lacks_for_acquisition(metadata: Metadata) -> list[str]:
    lacks = []
    acquired = metadata.image.acquired
    if not metadata.specimen.subject:
        lacks.append("it needs the subject (--subject)")
    if acquired is None or datetime.fromisoformat(acquired).tzinfo is None:
        lacks.append(
            "it needs the time of acquisition with its zone (--acquired 2026-05-01T14:30:00+02:00)"
        )
    if metadata.instrument.technique not in CONFOCAL:
        lacks.append(f"it has no fitting modality for {metadata.instrument.technique!r}")
    return lacks


def _lacks_for_subject(metadata: Metadata) -> list[str]:
    specimen = metadata.specimen
    if specimen.species != MOUSE:
        return [f"only the mouse can be described fully, not {specimen.species}"]
    needed = ("subject", "sex", "born", "genotype")
    missing = [f"--{name}" for name in needed if getattr(specimen, name) in (None, UNKNOWN)]
    return [f"it needs {', '.join(missing)}"] if missing else []


def _subject(metadata: Metadata, left: list[Problem]) -> dict[str, Any]:
    specimen = metadata.specimen
    left.append(Problem("warning", "subject.json: source", "not known; it says 'Unknown'"))
    strain = specimen.strain if specimen.strain in STRAINS else None
    if strain is None:
        text = f"{specimen.strain or 'not known'}: has no entry; it says 'Unknown'"
        left.append(Problem("warning", "subject.json: strain", text))
    return {
        "object_type": "Subject",
        "describedBy": f"{SOURCE}aind_data_schema/core/subject.py",
        "schema_version": SUBJECT,
        "subject_id": specimen.subject,
        "subject_details": {
            "object_type": "Mouse subject",
            "sex": str(specimen.sex).capitalize(),
            "date_of_birth": specimen.born,
            "strain": {
                "name": strain or "Unknown",
                "species": MOUSE,
                "registry": MGI if strain else None,
                "registry_identifier": STRAINS[strain] if strain else None,
            },
            "species": {
                "name": MOUSE,
                "common_name": "House mouse",
                "registry": NCBI,
                "registry_identifier": "NCBI:txid10090",
            },
            "genotype": specimen.genotype,
            "source": {
                "name": "Unknown",
                "abbreviation": "UNKNOWN",
                "registry": None,
                "registry_identifier": None,
            },
        },
        "notes": None,
    }


def _acquisition(metadata: Metadata, left: list[Problem]) -> dict[str, Any]:
    specimen, image = metadata.specimen, metadata.image
    microscope = metadata.instrument.microscope
    where = "acquisition.json: "
    subject = specimen.subject or UNKNOWN
    name = specimen.specimen or subject
    if subject not in name:
        name = f"{subject}-{name}"
        text = f"has to hold the name of the subject; it says {name!r}"
        left.append(Problem("warning", where + "specimen_id", text))
    elif specimen.specimen is None:
        text = f"not known; it says {name!r}, the subject"
        left.append(Problem("warning", where + "specimen_id", text))
    for key, text in (
        ("acquisition_end_time", "not known; it says the time of the start"),
        ("detector", f"not known; it says {UNKNOWN!r} and the trigger 'Internal'"),
    ):
        left.append(Problem("warning", where + key, text))
    channels = image.channels or (Channel.model_validate({"name": image.kind}),)
    configuration = {
        "object_type": "Imaging config",
        "device_name": microscope,
        "channels": [_channel(channel, left) for channel in channels],
        "local_coordinate_system": _coordinates(metadata),
        "images": [_image(metadata, channel) for channel in channels],
        "sampling_strategy": None,
    }
    return {
        "object_type": "Acquisition",
        "describedBy": f"{SOURCE}aind_data_schema/core/acquisition.py",
        "schema_version": ACQUISITION,
        "subject_id": subject,
        "specimen_id": name,
        "acquisition_start_time": image.acquired,
        "acquisition_end_time": image.acquired,
        "experimenters": [creator.name for creator in metadata.creators],
        "instrument_id": microscope,
        "acquisition_type": metadata.instrument.technique or "confocal",
        "notes": metadata.description,
        "global_coordinate_system": _coordinates(metadata),
        "data_streams": [
            {
                "object_type": "Data stream",
                "stream_start_time": image.acquired,
                "stream_end_time": image.acquired,
                "modalities": [{"name": "Confocal microscopy", "abbreviation": "confocal"}],
                "active_devices": [microscope],
                "configurations": [configuration],
                "connections": [],
            }
        ],
    }


def _coordinates(metadata: Metadata) -> dict[str, Any]:
    """Return the coordinate system; its axes come in the order X, Y, Z."""
    toward = (metadata.image.toward or (None, None, None))[::-1]
    words = [f"{OPPOSITE[d].capitalize()}_to_{d}" if d else "Other" for d in toward]
    letters = "".join(d[0].upper() if d else "O" for d in toward)
    return {
        "object_type": "Coordinate system",
        "name": f"SPIM_{letters}",
        "origin": "Origin",
        "axes": [
            {"object_type": "Axis", "name": axis, "direction": word}
            for axis, word in zip("XYZ", words, strict=True)
        ],
        "axis_unit": "micrometer",
    }


def _channel(channel: Channel, left: list[Problem]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "object_type": "Channel",
        "channel_name": channel.name,
        "intended_measurement": channel.dye,
        "detector": {
            "object_type": "Detector config",
            "device_name": UNKNOWN,
            "trigger_type": "Internal",
        },
        "light_sources": [],
    }
    for key, value in (("excitation", channel.excitation_nm), ("emission", channel.emission_nm)):
        if value is None:
            continue
        whole = round(value)
        if whole != value:
            text = f"{value:g} nm; the schema holds whole nanometres, it says {whole}"
            left.append(Problem("warning", f"acquisition.json: {channel.name}: {key}", text))
        if key == "emission":
            made |= {"emission_wavelength": whole, "emission_wavelength_unit": "nanometer"}
        else:
            laser = {"object_type": "Laser config", "device_name": UNKNOWN, "wavelength": whole}
            made["light_sources"] = [{**laser, "wavelength_unit": "nanometer"}]
    return made


def _image(metadata: Metadata, channel: Channel) -> dict[str, Any]:
    image = metadata.image
    size = image.voxel_size_um[::-1]
    return {
        "object_type": "Image spim",
        "channel_name": channel.name,
        "file_name": image.file,
        "dimensions_unit": "pixel",
        "dimensions": {"object_type": "Scale", "scale": [float(n) for n in image.shape[:-4:-1]]},
        "image_to_acquisition_transform": [{"object_type": "Scale", "scale": list(size)}],
    }


def _left_out(metadata: Metadata) -> list[Problem]:
    """Return the values that have no field in either file."""
    plain = metadata.plain()
    lost = [f"{part}.{key}" for part in CARRIED for key in plain[part].keys() - CARRIED[part]]
    lost += [key for key in ("title", "licence", "extra") if plain.get(key)]
    if any(creator.orcid for creator in metadata.creators):
        lost.append("creators.orcid")
    if metadata.image.expansion not in (None, 1):
        lost.append("image.expansion")
    lost += [f"image.{key}" for key in ("format", "dtype", "kind", "time") if key in plain["image"]]
    return [Problem("warning", place, "has no field there") for place in sorted(lost)]
