"""What the XML of a CZI file says: pixel size, channels and the instrument."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from projectome.io.markup import Element, elements
from projectome.io.volumes.planes import Acquisition, Channel, Size, wavelength

IMAGE = "ImageDocument/Metadata/Information/Image/"
INSTRUMENT = "ImageDocument/Metadata/Information/Instrument/"
DISTANCE = "ImageDocument/Metadata/Scaling/Items/Distance"
CHANNEL = IMAGE + "Dimensions/Channels/Channel"
SHOWN = "ImageDocument/Metadata/DisplaySetting/Channels/Channel"
OBJECTIVE = INSTRUMENT + "Objectives/Objective"
MICROSCOPE = INSTRUMENT + "Microscopes/Microscope"
SCENE = IMAGE + "Dimensions/S/Scenes/Scene"
PARENTS = (DISTANCE, CHANNEL, SHOWN, OBJECTIVE, MICROSCOPE, SCENE)


@dataclass(frozen=True, slots=True)
class CziFacts:
    """What the file states.

    Attributes
    ----------
    voxel_size
        (z, y, x) [um]; None where it is not stated.
    acquisition
        Instrument and channels.
    stage_um
        Position of each scene by its number (z, y, x) [um].
    """

    voxel_size: Size = (None, None, None)
    acquisition: Acquisition = field(default_factory=Acquisition)
    stage_um: dict[int, Size] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Node:
    attributes: dict[str, str]
    children: dict[str, str]

    def get(self, *names: str) -> str | None:
        """Return the first attribute or child of those names that says something."""
        for name in names:
            text = (self.attributes.get(name) or self.children.get(name) or "").strip()
            if text:
                return text
        return None


def facts_of(xml: bytes, *, url: str) -> CziFacts:
    """Return what the XML of a CZI file states.

    Raises
    ------
    FormatError
        If it is no XML, nested too deeply, or declares a document type.
    """
    if not xml:
        return CziFacts()
    nodes, single = _gathered(elements(xml, url=f"The metadata of {url}"))
    sizes = {node.get("Id"): _number(node.get("Value")) for node in nodes[DISTANCE]}
    # 15 digits, which metres have: 4e-07 m is 0.4 um, not 0.39999999999999997.
    z, y, x = (float(f"{1e6 * v:.15g}") if v else None for v in (sizes.get(a) for a in "ZYX"))
    shown = nodes[SHOWN]
    channels = tuple(
        _channel(node, shown[i] if i < len(shown) else None, i)
        for i, node in enumerate(nodes[CHANNEL])
    )
    used = single.get(IMAGE + "ObjectiveSettings/ObjectiveRef")
    objectives = nodes[OBJECTIVE]
    objective = next((node for node in objectives if node.get("Id") == used), None)
    if objective is None:
        objective = objectives[0] if len(objectives) == 1 else _Node({}, {})
    microscope = nodes[MICROSCOPE][0] if nodes[MICROSCOPE] else _Node({}, {})
    acquired = single.get(IMAGE + "AcquisitionDateAndTime")
    acquisition = Acquisition(
        objective=objective.get("Name", "Manufacturer/Model"),
        magnification=_number(objective.get("NominalMagnification")),
        numerical_aperture=_number(objective.get("LensNA")),
        immersion=objective.get("Immersion"),
        microscope=microscope.get("Name", "System", "Manufacturer/Model"),
        acquired=acquired or single.get("ImageDocument/Metadata/Information/Document/CreationDate"),
        channels=channels,
    )
    stage = {
        int(index): _stage(node)
        for node in nodes[SCENE]
        if (index := node.get("Index") or "").isdecimal()
    }
    return CziFacts((z, y, x), acquisition, stage)


def _gathered(found: Iterable[Element]) -> tuple[dict[str, list[_Node]], dict[str, str]]:
    """Return the nodes of `PARENTS` with the text and attributes of what is in them, and others."""
    nodes: dict[str, list[_Node]] = defaultdict(list)
    single: dict[str, str] = {}
    pending: dict[str, str] = {}
    for element in found:
        if element.path in PARENTS:
            nodes[element.path].append(_Node(element.attributes, pending))
            pending = {}
            continue
        parent = next((p for p in PARENTS if element.path.startswith(p + "/")), None)
        if parent is None:
            single.setdefault(element.path, element.attributes.get("Id") or element.text.strip())
            continue
        below = element.path[len(parent) + 1 :]
        pending.setdefault(below, element.text)
        for key, value in element.attributes.items():
            pending.setdefault(f"{below}@{key}", value)
    return nodes, single


def _channel(node: _Node, shown: _Node | None, index: int) -> Channel:
    other = shown or _Node({}, {})
    dye = node.get("Fluor") or other.get("DyeName")
    if dye is not None and re.fullmatch(r"Dye\d+", dye):  # what ZEN writes for none
        dye = None
    return Channel(
        node.get("Name") or other.get("Name") or f"channel {index}",
        wavelength(node.get("ExcitationWavelength")),
        wavelength(node.get("EmissionWavelength")),
        dye,
    )


def _stage(node: _Node) -> Size:
    key = "Positions/Position@"
    y, x = (_number(node.get(key + axis), zero=True) for axis in "YX")
    centre = (node.get("CenterPosition") or "").split(",")
    if y is None and len(centre) == 2:
        x, y = (_number(text, zero=True) for text in centre)
    return _number(node.get(key + "Z"), zero=True), y, x


def _number(text: str | None, *, zero: bool = False) -> float | None:
    """Return a finite number; 0, which often means not stated, only where asked."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e12 and (value or zero) else None
