"""What is known of a data asset: one model for every generation of metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from projectome.core.space import Direction, Towards
from projectome.errors import Problem
from projectome.io.metadata.asset_names import AssetName
from projectome.io.metadata.stated import Stated, plain

Text: TypeAlias = Stated[str] | None
Sizes: TypeAlias = Stated[tuple[float, float, float]] | None
Readings: TypeAlias = tuple[Towards, ...]


@dataclass(frozen=True, slots=True)
class AssetAxis:
    """One axis of the recording.

    Attributes
    ----------
    name
        As stated, mostly ``"X"``, ``"Y"`` or ``"Z"``.
    dimension
        Number of the array axis, 0 the slowest; None where only the name says which one it is.
    toward
        Direction in the tissue as the index increases.
    unit
        Unit of positions along it, as written.
    voxel_size
        Size of a voxel where the axis itself states one, in `unit`.
    """

    name: Text
    dimension: Stated[int] | None = None
    toward: Stated[Direction] | None = None
    unit: Text = None
    voxel_size: Stated[float] | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One stack of images and its place in the recording.

    Attributes
    ----------
    file_name
        As written; the file may have been converted since.
    channel
        Name of its channel.
    scale_um
        Size of a voxel (z, y, x) [um].
    translation_um
        Position (z, y, x) [um]; None where the unit or the order of the numbers is in doubt.
    translation
        The numbers of the position as written.
    rotation, affine
        The numbers of a rotation (a matrix or angles) or of an affine matrix, as written.
    shape
        Voxels (z, y, x).
    """

    file_name: Text = None
    channel: Text = None
    scale_um: Sizes = None
    translation_um: Sizes = None
    translation: Sizes = None
    rotation: Stated[tuple[float, ...]] | None = None
    affine: Stated[tuple[float, ...]] | None = None
    shape: Sizes = None


@dataclass(frozen=True, slots=True)
class AssetChannel:
    """A channel and its wavelengths [nm]."""

    name: Stated[str]
    excitation_nm: Stated[float] | None = None
    emission_nm: Stated[float] | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The animal."""

    id: Text = None
    species: Text = None
    sex: Text = None
    genotype: Text = None
    strain: Text = None
    date_of_birth: Text = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """The microscope."""

    id: Text = None
    kind: Text = None
    objective: Text = None
    magnification: Stated[float] | None = None
    numerical_aperture: Stated[float] | None = None


@dataclass(frozen=True, slots=True)
class ProcessingStep:
    """Something done to the images, in the order of the document."""

    name: Stated[str]
    version: Text = None
    code: Text = None
    started: Stated[datetime] | None = None
    ended: Stated[datetime] | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What the asset is and who made it."""

    name: Text = None
    project: Text = None
    licence: Text = None
    institution: Text = None
    level: Text = None
    created: Text = None
    modalities: tuple[Stated[str], ...] = ()
    funders: tuple[Stated[str], ...] = ()
    investigators: tuple[Stated[str], ...] = ()


@dataclass(frozen=True, slots=True)
class AssetMetadata:
    """What is known of a data asset, every value with its evidence.

    Attributes
    ----------
    url
        Where it was looked for.
    name
        The name of its folder, taken apart; None where it says nothing.
    files
        The documents that were read.
    schema
        Version of the schema of its acquisition document.
    axes
        Axes of the recording, in the order of the document.
    readings
        The directions of the axes (z, y, x): one reading, or several where the name of an axis and
        its number disagree, that by the names first; empty where unknown.
    voxel_size_um
        Size of a voxel (z, y, x) [um], where all tiles have one.
    tiles, channels, subject, instrument, processing, description
        As their types say.
    started, ended
        When it was recorded; without a time zone where none is stated.
    expansion
        Micrometres of the recording in one micrometre of tissue, where stated.
    expanded
        Evidence that the tissue was expanded, whether or not a factor is stated.
    problems
        What was contradictory or doubtful, and how it was read.
    """

    url: str
    name: AssetName | None = None
    files: tuple[str, ...] = ()
    schema: Text = None
    axes: tuple[AssetAxis, ...] = ()
    readings: Readings = ()
    voxel_size_um: Sizes = None
    tiles: tuple[Tile, ...] = ()
    channels: tuple[AssetChannel, ...] = ()
    subject: Subject = field(default_factory=Subject)
    instrument: Instrument = field(default_factory=Instrument)
    processing: tuple[ProcessingStep, ...] = ()
    description: Description = field(default_factory=Description)
    started: Stated[datetime] | None = None
    ended: Stated[datetime] | None = None
    expansion: Stated[float] | None = None
    expanded: Text = None
    problems: tuple[Problem, ...] = ()

    @property
    def toward(self) -> Towards:
        """Direction of increasing index (z, y, x); None where unknown or in doubt."""
        z, y, x = zip(*self.readings, strict=True) if self.readings else ((None,),) * 3
        return _agreed(z), _agreed(y), _agreed(x)

    def facts(self) -> dict[str, Any]:
        """Return everything as plain data, each value with its source and key."""
        return dict(plain(self))


def _agreed(directions: tuple[Direction | None, ...]) -> Direction | None:
    return directions[0] if len(set(directions)) == 1 else None
