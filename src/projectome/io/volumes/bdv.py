"""BigDataViewer HDF5 (Fiji, BigStitcher): a pyramid for each setup and time point, and an XML.

The HDF5 file holds voxels and the factors between levels; voxel sizes, names and places stand in
the XML. Voxels of 16 bits are unsigned, though they are stored as signed. The centre of voxel 0 is
at integer coordinates; a coarse voxel has its centre in the middle of those it is the mean of.

Setups of one size at one place are channels of one volume; others are opened one at a time, with
``#s01``. A registration that only scales, with the ratio of the voxel sizes, and moves says where
the volume lies, and is applied. Any other is kept in the metadata and reported: its voxels would
have to be resampled, which opening a file does not do.

References
----------
Pietzsch et al. (2015), BigDataViewer, Nature Methods 12, 481-483, https://imagej.net/plugins/bdv
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.space import Space, micrometres_per
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, NotFoundError, ParameterError, Problem
from projectome.io import stores
from projectome.io.markup import root_name
from projectome.io.volumes.bdv_xml import LARGEST, Sequence, Setup, parse_sequence
from projectome.io.volumes.hdf5_array import Hdf5Array
from projectome.io.volumes.hdf5_file import Hdf5File, broken
from projectome.io.volumes.options import (
    OpenOptions,
    Place,
    chosen_channels,
    name_of,
    pick_time,
)

SETUP = re.compile(r"s?(\d{1,6})")
LEVELS = 64
XML_LIMIT = 64 * 2**20
ALIKE = 1e-3
"""Relative difference up to which the scale of a registration is that of the voxel sizes."""
Floats = NDArray[np.float64]


class BdvReader:
    """Opens BigDataViewer data by its XML."""

    name = "BigDataViewer XML"
    prefix = "bdv"

    def sniff(self, place: Place) -> bool:
        """Say whether it is an XML file of BigDataViewer."""
        named = place.url.lower().endswith(".xml")
        if place.head is None and not named:
            return False
        if place.head is not None and not place.head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(
            b"<"
        ):
            return False
        try:
            start = stores.read_part(place.url, 0, 2**16, access=place.access)[0]
        except NotFoundError:
            return False
        return root_name(start) == "SpimData"

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return the image.

        Raises
        ------
        FormatError
            If the XML is broken, or names voxels that are not in an HDF5 file beside it.
        ParameterError
            If a setup or time point has to be chosen.
        """
        data = stores.read_bytes(place.url, access=place.access, limit=XML_LIMIT)
        sequence = parse_sequence(data, url=place.url)
        if sequence.format != "bdv.hdf5" or not sequence.file:
            raise FormatError(
                f"{place.url} describes voxels of the format {sequence.format!r}, not of bdv.hdf5. "
                f"Open {sequence.file or 'the folder or file with the voxels'} by its own address."
            )
        folder = place.url.rpartition("/")[0]
        file = Hdf5File(stores.join(folder or "/", sequence.file), options.access)
        return open_bdv(file, options, sequence)


def is_bdv(file: Hdf5File) -> bool:
    """Say whether an HDF5 file is one of BigDataViewer."""
    return any(
        re.fullmatch(r"s\d{2,6}", name) and "resolutions" in file.names(name)
        for name in file.names()
    )


def open_bdv(file: Hdf5File, options: OpenOptions, sequence: Sequence | None = None) -> Pyramid:
    """Return one setup, or all setups as channels, of a BigDataViewer file.

    Parameters
    ----------
    file
        With the voxels.
    options
        What the user says; ``inside`` chooses a setup.
    sequence
        What the XML says; that of the same name beside the file if None.

    Raises
    ------
    ParameterError
        If a setup or time point has to be chosen, or the voxel size is not known.
    FormatError
        If setups, levels or voxels are missing.
    """
    if options.axes is not None:
        raise ParameterError(
            f"{file.url} is a BigDataViewer file, whose axes are known: leave out --axes, or "
            f"choose one of its datasets: {file.url}#t00000/s00/0/cells."
        )
    problems: list[Problem] = []
    said = sequence or _beside(file, problems) or Sequence(file.url)
    times = _numbers(file.names(), "t")
    if not times:
        raise broken(file.url, "it holds no time point")
    time = times[pick_time(len(times), "t", options, url=file.url)]
    chosen = _chosen(file, options, said, time, problems)
    main = chosen[0]
    size, translation = _placed(file, said, time, main, options, problems)
    space = options.described(Space())
    names = tuple(_name(said, number) for number in chosen)
    several = len(chosen) > 1 or any(names)
    levels = []
    for level, factor in enumerate(_resolutions(file, main)):
        paths = tuple(_cells(time, number, level) for number in chosen)
        layouts = [file.layout(path) for path in paths]
        first = layouts[0]
        if any((a.shape, a.dtype) != (first.shape, first.dtype) for a in layouts[1:]):
            raise broken(file.url, f"the setups do not agree with {first.shown}")
        if len(first.shape) != 3 or min(first.shape) < 1:
            raise broken(file.url, f"{first.shown} is no volume")
        dtype = np.dtype("uint16") if first.dtype == np.int16 else first.dtype
        array = Hdf5Array(
            file,
            paths,
            (len(paths), *first.shape) if several else first.shape,
            (1, *first.chunks) if several else first.chunks,
            first.dtype,
            dtype,
            context=said.raw,
        )
        centre = translation + (factor - 1) / 2 * size
        affine = Affine.from_scale(factor * size, centre, target=space)
        channels = chosen_channels(len(paths), names) if several else ()
        levels.append(Volume(array, affine, channels, name=name_of(file.url)))
    if len({level.dtype for level in levels}) > 1:
        raise broken(file.url, "its levels are not of one type")
    registration = said.registrations.get((time, main))
    metadata = {
        "format": "BigDataViewer HDF5",
        "version": "",
        "url": file.url,
        "setups": [f"s{number:02d}" for number in chosen],
        **({"xml": said.url} if said.raw else {}),
        **({} if registration is None else {"registration_zyx": registration.tolist()}),
    }
    return Pyramid(tuple(levels), tuple(problems), metadata)


def _numbers(names: list[str], letter: str) -> list[int]:
    return sorted(int(n[1:]) for n in names if re.fullmatch(rf"{letter}\d{{2,9}}", n))


def _cells(time: int, setup: int, level: int) -> str:
    return f"t{time:05d}/s{setup:02d}/{level}/cells"


def _resolutions(file: Hdf5File, setup: int) -> list[Floats]:
    """Return how many voxels of the finest level lie along one of each level (z, y, x)."""
    path = f"s{setup:02d}/resolutions"
    layout = file.layout(path)
    if len(layout.shape) != 2 or layout.shape[1] != 3 or not 1 <= layout.shape[0] <= LEVELS:
        raise broken(file.url, f"{layout.shown} is no list of levels")
    whole = (slice(0, layout.shape[0]), slice(0, 3))
    values = np.asarray(file.read(path, whole, layout.dtype), dtype=np.float64)[:, ::-1]
    if not (np.isfinite(values).all() and (values >= 1).all() and (values < 1e6).all()):
        raise broken(file.url, f"#{path} holds {values.tolist()}")
    return list(values)


def _chosen(
    file: Hdf5File, options: OpenOptions, said: Sequence, time: int, problems: list[Problem]
) -> list[int]:
    """Return the setups to read, one a channel."""
    there = [n for n in _numbers(file.names(), "s") if "resolutions" in file.names(f"s{n:02d}")]
    if options.inside is not None:
        match = SETUP.fullmatch(options.inside)
        number = int(match[1]) if match else -1
        if number not in there:
            raise ParameterError(
                f"There is no setup {options.inside!r} in {file.url}. It holds: "
                + ", ".join(f"#s{n:02d}" for n in there)
            )
        return [number]
    kinds = {number: _likeness(file, said, time, number) for number in there}
    if len({*kinds.values()}) > 1:
        shown = [f"#s{n:02d} {_name(said, n)} {kinds[n][0]}".replace("  ", " ") for n in there[:24]]
        raise ParameterError(
            f"{file.url} holds {len(there)} setups that are not channels of one volume: they "
            f"differ in size or place. Choose one: {', '.join(shown)}, for instance "
            f"{file.url}#s{there[0]:02d}"
        )
    if len(there) > 1 and not said.raw:
        text = (
            f"{len(there)} setups of one size are read as channels; without the XML nobody can "
            f"tell whether they are tiles. Open one by itself with {file.url}#s{there[0]:02d}."
        )
        problems.append(Problem("warning", "setups", text))
    return there


def _likeness(file: Hdf5File, said: Sequence, time: int, number: int) -> tuple[object, ...]:
    """Return what channels of one volume have in common."""
    layout = file.layout(_cells(time, number, 0))
    setup = said.setups.get(number, Setup(number))
    registration = said.registrations.get((time, number))
    place = () if registration is None else tuple(registration.round(6).ravel().tolist())
    apart = tuple(sorted((k, v) for k, v in setup.attributes.items() if k != "channel"))
    size = () if setup.voxel_size is None else tuple(setup.voxel_size.tolist())
    levels = tuple(map(tuple, _resolutions(file, number)))
    shape = " x ".join(map(str, layout.shape))
    return f"{shape} {layout.dtype}", levels, size, setup.unit, place, apart


def _name(said: Sequence, number: int) -> str:
    setup = said.setups.get(number)
    if setup is None:
        return ""
    channel = said.names.get(("channel", setup.attributes.get("channel", "")), "")
    # A channel that is only numbered says less than the name of the setup.
    return channel if channel and not channel.isdecimal() else setup.name or channel


def _placed(
    file: Hdf5File,
    said: Sequence,
    time: int,
    number: int,
    options: OpenOptions,
    problems: list[Problem],
) -> tuple[Floats, Floats]:
    """Return voxel size of the finest level, and the centre of its voxel 0 [um]."""
    setup = said.setups.get(number, Setup(number))
    stated = setup.voxel_size
    size = None
    if stated is not None:
        try:
            size = stated * micrometres_per(setup.unit)
        except ParameterError:
            text = f"{setup.unit!r} is no length; the voxel size is taken as not stated."
            problems.append(Problem("warning", f"XML: setup {number}: voxelSize", text))
    if options.voxel_size is not None:
        size = np.asarray(options.voxel_size)
    if size is None:
        raise ParameterError(
            f"{file.url} (BigDataViewer, setup {number}) does not state its voxel size"
            + ("" if said.raw else ", which stands in its XML")
            + ". Open the XML, or give it: --voxel-size Z,Y,X in micrometres."
        )
    # The same bounds as for what the user says.
    OpenOptions(voxel_size=(float(size[0]), float(size[1]), float(size[2])))
    registration = said.registrations.get((time, number))
    if registration is None:
        return size, np.zeros(3)
    scale, move = np.diag(registration)[:3], registration[:3, 3]
    plain = (registration[:3, :3] == np.diag(scale)).all() and (scale > 1 / LARGEST).all()
    ratio = scale / (size if stated is None else stated)
    if plain and ratio.max() <= (1 + ALIKE) * ratio.min():
        return size, move / scale * size  # in voxels, whatever the unit of the registration
    if not plain or (move != 0).any() or (scale != 1).any():
        text = (
            "The registration turns, shears or stretches the voxels, or scales them by other "
            "ratios than their sizes have. It is not applied: the volume lies at the origin. It is "
            "kept as registration_zyx in the metadata."
        )
        problems.append(Problem("warning", f"XML: setup {number}: ViewRegistration", text))
    return size, np.zeros(3)


def _beside(file: Hdf5File, problems: list[Problem]) -> Sequence | None:
    """Return what the XML of the same name beside the file says, if there is one."""
    folder, _, name = file.url.rpartition("/")
    url = stores.join(folder or "/", name.rpartition(".")[0] + ".xml")
    if not name.rpartition(".")[0] or not stores.exists(url, access=file.access):
        return None
    data = stores.read_bytes(url, access=file.access, limit=XML_LIMIT)
    if root_name(data) != "SpimData":
        return None
    found = parse_sequence(data, url=url)
    if found.file and found.file.rpartition("/")[2] != name:
        text = f"It describes {found.file!r}, not {name}, and is not taken."
        problems.append(Problem("warning", url, text))
        return None
    return found
