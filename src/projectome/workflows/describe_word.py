"""What the user may say of a file of microscopy data, which is what a command line offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from projectome.io.metadata.ensp_values import Sex, Technique


@dataclass(frozen=True)
class AboutSpecimen:
    """What was imaged.

    Attributes
    ----------
    species
        Binomial name, for instance "Mus musculus".
    labelling
        What is made visible and how; none if nothing is.
    clearing
        Clearing or expansion protocol; none if there was none.
    region
        Part of the brain.
    subject
        Name of the animal in its lab.
    specimen
        Name of the piece of tissue in its lab.
    sex
        Of the animal.
    age
        For instance P56D or "8 weeks".
    born
        Date of birth, YYYY-MM-DD.
    strain
        For instance C57BL/6J.
    genotype
        For instance Thy1-GFP/wt.
    """

    panel: ClassVar[str] = "Specimen"

    species: str | None = None
    labelling: str | None = None
    clearing: str | None = None
    region: str | None = None
    subject: str | None = None
    specimen: str | None = None
    sex: Sex | None = None
    age: str | None = None
    born: str | None = None
    strain: str | None = None
    genotype: str | None = None


@dataclass(frozen=True)
class AboutInstrument:
    """What it was imaged with.

    Attributes
    ----------
    microscope
        Model, or name in its lab.
    technique
        Kind of microscopy.
    objective
        Model of the objective.
    magnification
        Of the objective.
    numerical_aperture
        Of the objective.
    immersion
        Medium, for instance oil.
    acquired
        When imaging began, for instance 2026-05-01T14:30:00+02:00.
    excitation
        Wavelength of each channel [nm].
    emission
        Wavelength of each channel [nm].
    """

    panel: ClassVar[str] = "Microscope"

    microscope: str | None = None
    technique: Technique | None = None
    objective: str | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None
    immersion: str | None = None
    acquired: str | None = None
    excitation: tuple[float, ...] | None = None
    emission: tuple[float, ...] | None = None


@dataclass(frozen=True)
class AboutData:
    """What the data are called and who may use them.

    Attributes
    ----------
    title
        What the data are called; the name of the file if left out.
    description
        In a few sentences.
    licence
        SPDX identifier, for instance CC-BY-4.0.
    creators
        ``Name`` or ``Name <ORCID>`` of each.
    dyes
        Dye or fluorescent protein of each channel.
    """

    panel: ClassVar[str] = "Data"

    title: str | None = None
    description: str | None = None
    licence: str | None = None
    creators: tuple[str, ...] = ()
    dyes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Word(AboutInstrument, AboutSpecimen, AboutData):
    """All that the user says of a file; what is None or empty is not said."""
