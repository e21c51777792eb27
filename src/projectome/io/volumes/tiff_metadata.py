"""What TIFF files say beyond pixels: OME-XML, ImageJ and LSM."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tifffile

from projectome.core.space import OPPOSITE, Direction, Towards, micrometres_per
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.markup import check_declarations
from projectome.io.volumes.planes import Acquisition, Channel

Size = tuple[float | None, float | None, float | None]
XML_LIMIT = 64 * 2**20
DIRECTIONS: dict[str, Direction] = {word: word for word in OPPOSITE}


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """What a file states of one of its images.

    Attributes
    ----------
    format, version
        What wrote it.
    voxel_size
        (z, y, x) [um]; None where it is not stated.
    channels
        Channel names; may be fewer than there are channels.
    name
        Of the image.
    acquisition
        Instrument and channels.
    own
        What projectome wrote beside the format's own: ``kind``, ``space``, ``expansion``,
        ``toward`` and ``translation_um`` as text.
    problems
        What was doubtful.
    """

    format: str = "TIFF"
    version: str = ""
    voxel_size: Size = (None, None, None)
    channels: tuple[str, ...] = ()
    name: str = ""
    acquisition: Acquisition = field(default_factory=Acquisition)
    own: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def toward(self) -> Towards:
        """Directions of increasing z, y and x, as projectome wrote them."""
        words = self.own.get("toward", "").split()
        if len(words) != 3:
            return None, None, None
        z, y, x = (DIRECTIONS.get(word) for word in words)
        return z, y, x

    @property
    def translation(self) -> tuple[float, float, float]:
        """Position of the centre of voxel 0 (z, y, x) [um]; 0 unless projectome wrote another."""
        try:
            z, y, x = map(float, self.own.get("translation_um", "").split())
        except ValueError:
            return 0.0, 0.0, 0.0
        return z, y, x


def facts_of(tiff: tifffile.TiffFile, index: int, *, url: str) -> TiffFacts:
    """Return what a file states of its image number `index`.

    Raises
    ------
    FormatError
        If the OME-XML is no XML, or leads out of the folder of the file.
    """
    kind = tiff.series[index].kind
    if kind == "ome" and tiff.ome_metadata:
        return _ome(tiff.ome_metadata, index, url)
    if tiff.is_imagej:
        return _imagej(tiff)
    if tiff.is_lsm and tiff.lsm_metadata:
        data: dict[str, Any] = tiff.lsm_metadata
        z, y, x = (float(data.get(f"VoxelSize{a}") or 0) * 1e6 or None for a in "ZYX")
        return TiffFacts("LSM", voxel_size=(z, y, x))
    return TiffFacts("BigTIFF" if tiff.is_bigtiff else "TIFF")


def check_ome(xml: str, *, url: str) -> None:
    """Refuse OME-XML that names files outside the folder of the file, or declares a document type.

    Raises
    ------
    FormatError
        With the name.
    """
    check_declarations(xml, url=f"The OME-XML of {url}")
    for name in re.findall(r'FileName\s*=\s*"([^"]*)"', xml):
        if "/" in name or "\\" in name or name == "..":
            raise FormatError(
                f"The OME-XML of {url} names a file outside its folder, {name!r}, which is not "
                "read. Put the files into one folder and correct the name."
            )


def _ome(xml: str, index: int, url: str) -> TiffFacts:
    check_declarations(xml, url=f"The OME-XML of {url}")
    problems: list[Problem] = []
    root, problem = None, f"it is longer than {XML_LIMIT} characters"
    if len(xml) <= XML_LIMIT:
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            problem = str(error)
    if root is None:
        raise FormatError(
            f"The OME-XML of {url} cannot be read: {problem}. Save the file again, or remove its "
            "image description and give --voxel-size Z,Y,X."
        )
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    images = root.findall(f"{space}Image")
    image = images[min(index, len(images) - 1)] if images else ElementTree.Element("Image")
    found = image.find(f"{space}Pixels")
    pixels = ElementTree.Element("Pixels") if found is None else found
    z, y, x = (_ome_size(pixels, axis, problems) for axis in "ZYX")
    names = tuple(
        channel.get("Name") or f"channel {i}"
        for i, channel in enumerate(pixels.findall(f"{space}Channel"))
    )
    own = {
        str(pair.get("K")).removeprefix("projectome:"): pair.text or ""
        for pair in root.iter(f"{space}M")
        if str(pair.get("K")).startswith("projectome:")
    }
    version = re.search(r"(\d{4}-\d{2})", space)
    return TiffFacts(
        "OME-TIFF",
        version[1] if version else "",
        (z, y, x),
        names,
        image.get("Name") or "",
        _ome_acquisition(root, image, pixels, space),
        own,
        tuple(problems),
    )


def _ome_acquisition(
    root: ElementTree.Element, image: ElementTree.Element, pixels: ElementTree.Element, space: str
) -> Acquisition:
    """Return what OME-XML says of the instrument that an image refers to, and of its channels."""
    instruments = root.findall(f"{space}Instrument")
    instrument = _referred(image.find(f"{space}InstrumentRef"), instruments)
    objectives = instrument.findall(f"{space}Objective")
    objective = _referred(image.find(f"{space}ObjectiveSettings"), objectives)
    microscope = instrument.find(f"{space}Microscope")
    named = {} if microscope is None else microscope.attrib
    return Acquisition(
        objective=objective.get("Model"),
        magnification=_positive(objective.get("NominalMagnification")),
        numerical_aperture=_positive(objective.get("LensNA")),
        immersion=objective.get("Immersion"),
        microscope=" ".join(named[k] for k in ("Manufacturer", "Model") if named.get(k)) or None,
        acquired=image.findtext(f"{space}AcquisitionDate"),
        channels=tuple(
            Channel(
                channel.get("Name") or f"channel {i}",
                _nanometres(channel, "Excitation"),
                _nanometres(channel, "Emission"),
                channel.get("Fluor") or None,
            )
            for i, channel in enumerate(pixels.findall(f"{space}Channel"))
        ),
    )


def _referred(
    reference: ElementTree.Element | None, found: list[ElementTree.Element]
) -> ElementTree.Element:
    """Return the element that another refers to, or the only one; an empty one if there is none."""
    wanted = None if reference is None else reference.get("ID")
    fitting = [element for element in found if element.get("ID") == wanted]
    if not fitting and reference is None and len(found) == 1:
        fitting = found
    return fitting[0] if fitting else ElementTree.Element("none")


def _nanometres(channel: ElementTree.Element, which: str) -> float | None:
    value = _positive(channel.get(f"{which}Wavelength"))
    try:
        factor = micrometres_per(channel.get(f"{which}WavelengthUnit") or "nm") * 1000
    except ParameterError:
        return None
    return None if value is None else value * factor


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _ome_size(pixels: ElementTree.Element, axis: str, problems: list[Problem]) -> float | None:
    key = f"PhysicalSize{axis}"
    text, unit = pixels.get(key), pixels.get(f"{key}Unit") or "µm"
    if not text:
        return None
    try:
        return float(text) * micrometres_per(unit) or None
    except (ValueError, ParameterError):
        message = f"{text!r} {unit!r} is no length; taken as not stated."
        problems.append(Problem("warning", f"OME-XML: Pixels.{key}", message))
        return None


def _imagej(tiff: tifffile.TiffFile) -> TiffFacts:
    data: dict[str, Any] = tiff.imagej_metadata or {}
    unit = str(data.get("unit") or "").encode().decode("unicode_escape", "replace").strip()
    version = str(data.get("ImageJ") or "")
    try:
        factor = micrometres_per(unit)
    except ParameterError:
        message = f"{unit!r} is no length; the voxel size is taken as not stated."
        return TiffFacts("ImageJ", version, problems=(Problem("warning", "unit", message),))
    tags = tiff.pages.first.tags
    sizes = []
    for name in ("YResolution", "XResolution"):
        value = tags[name].value if name in tags else (0, 1)
        sizes.append(factor * value[1] / value[0] if value[0] else None)
    spacing = data.get("spacing")
    z = abs(float(spacing)) * factor if spacing else None
    labels = data.get("Labels")
    names = tuple(map(str, labels)) if isinstance(labels, list) else ()
    channels = int(data.get("channels") or 1)
    return TiffFacts(
        "ImageJ", version, (z, sizes[0], sizes[1]), names if len(names) == channels else ()
    )
