"""The XML of BigDataViewer: setups, their names and voxel sizes, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from projectome.errors import FormatError
from projectome.io.markup import Element, elements

Floats = NDArray[np.float64]
LARGEST = 1e12
"""Numbers of an XML are smaller."""


@dataclass(slots=True)
class Setup:
    """What the XML says of one setup.

    Attributes
    ----------
    number
        By which its data is found.
    name
        Of the setup, or of its channel.
    unit, voxel_size
        Voxel size (z, y, x) in that unit; None where it is not stated.
    attributes
        Numbers of its channel, tile, angle, illumination and so on.
    """

    number: int
    name: str = ""
    unit: str = ""
    voxel_size: Floats | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sequence:
    """What an XML says.

    Attributes
    ----------
    url
        Its address.
    format, file
        Of the loader, and the file with the voxels.
    setups
        By number.
    names
        Of channels, tiles and so on: by kind, then by number.
    registrations
        Shape (4, 4), axes (z, y, x), by time point and setup.
    raw
        Its bytes.
    """

    url: str
    format: str = ""
    file: str = ""
    setups: Mapping[int, Setup] = field(default_factory=dict)
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    registrations: Mapping[tuple[int, int], Floats] = field(default_factory=dict)
    raw: bytes = b""


def parse_sequence(data: bytes, *, url: str) -> Sequence:
    """Return what the XML of BigDataViewer says.

    Parameters
    ----------
    data
        The document.
    url
        Where it came from, for messages.

    Raises
    ------
    FormatError
        If it is no XML, declares entities, or states numbers that are none.
    """
    builder = _Builder()
    try:
        for element in elements(data, url=url):
            builder.take(element)
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{url} is a broken XML of BigDataViewer: {error}. Restore it, or open its HDF5 file "
            "with --voxel-size Z,Y,X."
        ) from None
    return Sequence(
        url,
        builder.format,
        builder.file,
        builder.setups,
        builder.names,
        builder.registrations,
        data,
    )


class _Builder:
    """Collects what the elements of an XML say; children come before their parents."""

    def __init__(self) -> None:
        self.format, self.file = "", ""
        self.setups: dict[int, Setup] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.registrations: dict[tuple[int, int], Floats] = {}
        self._setup = Setup(-1)
        self._entry: dict[str, str] = {}
        self._matrix = np.eye(4)

    def take(self, element: Element) -> None:
        """Take one element."""
        path = element.path.removeprefix("SpimData/")
        text = element.text.strip()
        if path.startswith("SequenceDescription/ImageLoader"):
            self._loader(path, element, text)
        elif path.startswith("SequenceDescription/ViewSetups/ViewSetup"):
            self._view_setup(path.removeprefix("SequenceDescription/ViewSetups/ViewSetup"), text)
        elif path.startswith("SequenceDescription/ViewSetups/Attributes/"):
            parts = path.split("/")
            if len(parts) == 5:
                self._entry[parts[4]] = text
            elif len(parts) == 4:
                key = (parts[3].lower(), self._entry.get("id", ""))
                self.names[key] = self._entry.get("name", "")
                self._entry = {}
        elif path == "ViewRegistrations/ViewRegistration/ViewTransform/affine":
            # The first transform of the list is the last to be applied.
            with np.errstate(over="ignore", invalid="ignore"):
                self._matrix = self._matrix @ _affine(text)
        elif path == "ViewRegistrations/ViewRegistration":
            said = element.attributes
            view = (int(said.get("timepoint", "")), int(said.get("setup", "")))
            if not (np.abs(self._matrix) < LARGEST).all():
                raise ValueError(f"the registration of {view} has no sensible numbers")
            self.registrations[view], self._matrix = self._matrix, np.eye(4)

    def _loader(self, path: str, element: Element, text: str) -> None:
        if path == "SequenceDescription/ImageLoader":
            self.format = element.attributes.get("format", "")
        elif path.count("/") == 2 and not self.file:
            self.file = text

    def _view_setup(self, path: str, text: str) -> None:
        setup = self._setup
        if path == "/id":
            setup.number = int(text)
        elif path == "/name":
            setup.name = text
        elif path == "/voxelSize/unit":
            setup.unit = text
        elif path == "/voxelSize/size":
            setup.voxel_size = np.array([float(v) for v in text.split()][::-1])
            if setup.voxel_size.shape != (3,) or not all(
                1 / LARGEST < v < LARGEST for v in setup.voxel_size
            ):
                raise ValueError(f"a voxel size of {text!r}")
        elif path.startswith("/attributes/"):
            setup.attributes[path.removeprefix("/attributes/")] = text
        elif path == "":
            self.setups[setup.number], self._setup = setup, Setup(-1)


def _affine(text: str) -> Floats:
    """Return the 12 numbers of an affine over (x, y, z) as a matrix over (z, y, x)."""
    values = np.array([float(v) for v in text.split()])
    if values.shape != (12,):
        raise ValueError(f"an affine of {values.size} numbers")
    matrix = np.eye(4)
    matrix[:3] = values.reshape(3, 4)
    order = [2, 1, 0, 3]
    return matrix[np.ix_(order, order)]
