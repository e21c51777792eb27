"""ND2 files of Nikon microscopes as lazy volumes.

The library `nd2` reads the metadata. Stage positions are turned into the axes of the image, so that
the positions of one file lie beside one another as their pictures do.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Array, Pyramid, Volume
from projectome.errors import FormatError, MissingExtraError, Problem, ProjectomeError
from projectome.io.volumes.nd2_file import FRAME, MAGIC, Frame, Nd2File
from projectome.io.volumes.options import OpenOptions, Place, chosen_channels, name_of
from projectome.io.volumes.planes import (
    Acquisition,
    Channel,
    PlaneArray,
    finite,
    pick_places,
    pick_series,
    series_problem,
    stated_voxel_size,
    wavelength,
)
from projectome.io.volumes.tiff_pages import BROKEN

LETTERS = {"TimeLoop": "t", "NETimeLoop": "t", "XYPosLoop": "p", "ZStackLoop": "z"}
PICTURE = ("ImageMetadataSeqLV|0", "ImageMetadataSeq|0")
COLOURS = ("red", "green", "blue")
MOST_FRAMES = 2**31
UNREAD = (*BROKEN, NameError, SyntaxError)
"""What the library raises on files that are broken or beyond it."""


@dataclass(frozen=True, slots=True, eq=False)
class Nd2Planes:
    """The frames of one stack.

    Attributes
    ----------
    file
        Where they lie.
    frame
        How the pixels of one lie.
    frames
        Number of the frame of each plane.
    components
        Place of each channel in a pixel.
    """

    file: Nd2File
    frame: Frame
    frames: range
    components: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type, native byte order."""
        return self.frame.dtype

    def read(self, z: int, channels: slice, y: slice, x: slice) -> Array:
        """Return a part of some channels of one plane, axes (c, y, x)."""
        rows = self.file.frame(self.frames[z], self.frame, y)
        return rows[:, x, list(self.components[channels])].transpose(2, 0, 1)

    def evidence(self) -> Iterator[bytes]:
        """Yield size and samples of the file."""
        yield from self.file.evidence()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the library reads of the metadata."""

    attributes: Any
    loops: list[Any]
    channels: list[Any]
    picture: dict[str, Any]
    text: dict[str, str]

    def loop(self, letter: str) -> Any:
        """Return the loop along an axis; None if there is none."""
        return next((o for o in self.loops if LETTERS.get(o.type) == letter), None)


class Nd2Reader:
    """Opens ND2 files of NIS-Elements 3 and later."""

    name = "ND2"
    prefix = "nd2"

    def sniff(self, place: Place) -> bool:
        """Say whether it is an ND2 file; those before NIS-Elements 3 are not."""
        return place.head is not None and place.head.startswith(MAGIC)

    def open(self, place: Place, options: OpenOptions) -> Pyramid:
        """Return one position of the file, at one point of time.

        Raises
        ------
        MissingExtraError
            If the library is not installed.
        FormatError
            If it is broken, or holds what is not read.
        ParameterError
            If a choice or a fact is missing that only the user can give.
        """
        if not self.sniff(place):
            raise FormatError(f"{place.url} is no ND2 file. Open it without the prefix nd2://.")
        file = Nd2File(place.url, access=options.access)
        try:
            facts = _facts(file)
            return _pyramid(file, facts, options)
        except ProjectomeError:
            raise
        except UNREAD as error:
            raise file.file.broken(error) from None


def _facts(file: Nd2File) -> _Facts:
    try:
        library = importlib.import_module("nd2")
    except ImportError:
        raise MissingExtraError(f"Reading the ND2 file {file.url}", "nd2", "microscope") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with library.ND2File(file.metadata()) as opened:
            name = next((name for name in PICTURE if name.encode() + b"!" in file.chunks), "")
            picture: dict[str, Any] = opened.unstructured_metadata(
                strip_prefix=False, include={name}
            )[name]
            return _Facts(
                opened.attributes,
                list(opened.experiment),
                list(opened.metadata.channels or ()),
                picture.get("SLxPictureMetadata", picture),
                {k: v for k, v in opened.text_info.items() if isinstance(v, str)},
            )


def _pyramid(file: Nd2File, facts: _Facts, options: OpenOptions) -> Pyramid:
    problems: list[Problem] = []
    frame = _frame(file, facts.attributes)
    sizes = _sizes(file, facts)
    position = 0
    if "p" in sizes:
        wanted = replace(options, series=options.places.get("p", options.series))
        position = pick_series(sizes["p"], 0, "positions", wanted, url=file.url)
        if sizes["p"] > 1 and wanted.series is None:
            problems.append(series_problem(sizes["p"], position, "positions", url=file.url))
    rest = {name: n for name, n in options.places.items() if name != "p"}
    further = {name: n for name, n in sizes.items() if name not in "pz"}
    places = pick_places(further, replace(options, places=rest), url=file.url)
    frames = _frames(sizes, {**places, "p": position})
    _note_missing(file, frames, options, problems)

    known = _channels(facts)
    names = chosen_channels(frame.components, _names(facts, frame))
    channels = names if frame.components > 1 else ()
    planes = Nd2Planes(file, frame, frames, _order(facts, frame))
    shape: tuple[int, ...] = (len(frames), frame.rows, frame.columns)
    chunks: tuple[int, ...] = (1, frame.piece, frame.columns)
    if channels:
        shape, chunks = (len(channels), *shape), (len(channels), *chunks)
    file.file.check_believed(math.prod(shape) * frame.dtype.itemsize)
    context = repr((position, sorted(places.items()))).encode()
    array = PlaneArray(planes, shape, chunks, context)

    what = f"{file.url} (ND2, {' x '.join(map(str, shape))} {array.dtype})"
    size = stated_voxel_size(_calibration(facts), len(frames), options, problems, what)
    stage = _stage(facts, position)
    translation = _translation(facts, stage, size, frame, problems)
    affine = Affine.from_scale(size, translation, target=options.described(Space()))
    volume = Volume(array, affine, channels, "image", name_of(file.url))
    scope = facts.channels[0].microscope if facts.channels else None
    index = getattr(scope, "immersionRefractiveIndex", None)
    acquisition = Acquisition(
        objective=getattr(scope, "objectiveName", None) or facts.text.get("optics"),
        magnification=getattr(scope, "objectiveMagnification", None),
        numerical_aperture=getattr(scope, "objectiveNumericalAperture", None),
        immersion=f"refractive index {index:g}" if index else None,
        microscope=_line(facts.text.get("capturing")),
        acquired=_acquired(facts),
        stage_um=stage,
        channels=known,
    )
    metadata = {"format": "ND2", "version": file.version, "url": file.url}
    return Pyramid((volume,), tuple(problems), {**metadata, **acquisition.metadata()})


def _frame(file: Nd2File, attributes: Any) -> Frame:
    """Return how the pixels of a frame lie, after a look at the numbers."""
    if attributes.compressionType == "lossy":
        raise FormatError(
            f"{file.url} is compressed with loss, which is not read. Save it without compression, "
            "or export it as OME-TIFF, with NIS-Elements."
        )
    if attributes.tileWidthPx is not None or attributes.tileHeightPx is not None:
        raise FormatError(
            f"{file.url} stores its frames in tiles, which is not read. Save it again as OME-TIFF "
            "with NIS-Elements."
        )
    bits, components = attributes.bitsPerComponentInMemory, attributes.componentCount
    rows, columns = attributes.heightPx, attributes.widthPx or 0
    kind = "f" if attributes.pixelDataType == "float" else "u"
    if bits not in (8, 16, 32) or min(rows, columns, components) < 1:
        raise file.file.broken(
            f"frames of {rows} x {columns} pixels with {components} values of {bits} bits"
        )
    dtype = np.dtype(f"{kind}{bits // 8}")
    least = columns * components * dtype.itemsize
    row_bytes = attributes.widthBytes or least
    if row_bytes < least or rows * row_bytes > 2**40:
        raise file.file.broken(f"rows of {row_bytes} bytes where {least} are due, {rows} times")
    return Frame(
        rows, columns, row_bytes, components, dtype, attributes.compressionType is not None
    )


def _sizes(file: Nd2File, facts: _Facts) -> dict[str, int]:
    """Return the places along each axis that counts frames, slowest first."""
    sizes: dict[str, int] = {}
    for loop in facts.loops:
        letter = LETTERS.get(loop.type)
        if letter is None or letter in sizes:
            raise FormatError(
                f"{file.url} runs a loop of the kind {loop.type} (again), which is not read. "
                "Save it again as OME-TIFF with NIS-Elements."
            )
        sizes[letter] = int(loop.count)
    count = math.prod(sizes.values())
    if not 0 < count <= MOST_FRAMES or min(sizes.values(), default=1) < 1:
        raise file.file.broken(f"loops of {sizes} frames")
    stated = int(facts.attributes.sequenceCount)
    if not sizes and stated > 1:  # frames without a loop that would say what they are
        if stated > MOST_FRAMES:
            raise file.file.broken(f"{stated} frames")
        sizes["t"] = stated
    return sizes


def _frames(sizes: dict[str, int], places: dict[str, int]) -> range:
    """Return the numbers of the frames along z."""
    first, step, stride = 0, 1, 1
    for letter, size in reversed(sizes.items()):
        if letter == "z":
            step = stride
        else:
            first += places[letter] * stride
        stride *= size
    return range(first, first + sizes.get("z", 1) * step, step)


def _note_missing(
    file: Nd2File, frames: range, options: OpenOptions, problems: list[Problem]
) -> None:
    numbers = (n[len(FRAME) : -1] for n in file.chunks if n.startswith(FRAME))
    held = sum(int(number) in frames for number in numbers if number.isdigit())
    missing = len(frames) - held
    if not held:
        raise file.file.broken("it holds no frame of that stack")
    if missing and options.strict:
        raise FormatError(
            f"{file.url} lacks {missing} of {len(frames)} planes. Restore it, or read without "
            "--strict to take zeros there."
        )
    if missing:
        text = f"{missing} of {len(frames)} planes were not taken and are read as zeros."
        problems.append(Problem("warning", "planes", text))


def _colours(facts: _Facts, frame: Frame) -> int:
    """Return the values that one channel has in a pixel: 3 where it is a colour picture."""
    count = max(1, len(facts.channels))
    return frame.components // count if frame.components % count == 0 else 1


def _order(facts: _Facts, frame: Frame) -> tuple[int, ...]:
    """Return the place of each channel in a pixel; colours are stored blue first."""
    colours = _colours(facts, frame)
    order = range(frame.components)
    if colours != 3:
        return tuple(order)
    return tuple(3 * (i // 3) + 2 - i % 3 for i in order)


def _names(facts: _Facts, frame: Frame) -> tuple[str, ...]:
    names = [str(channel.channel.name or "") for channel in facts.channels]
    if _colours(facts, frame) != 3:
        return tuple(names)
    if len(names) < 2:
        return COLOURS
    return tuple(f"{name} {colour}".strip() for name in names for colour in COLOURS)


def _channels(facts: _Facts) -> tuple[Channel, ...]:
    return tuple(
        Channel(
            str(channel.channel.name or f"channel {i}"),
            wavelength(channel.channel.excitationLambdaNm),
            wavelength(channel.channel.emissionLambdaNm),
        )
        for i, channel in enumerate(facts.channels)
    )


def _calibration(facts: _Facts) -> tuple[float | None, float | None, float | None]:
    """Return the pixel size (z, y, x) [um]; None where the file was not calibrated."""
    if not facts.channels:
        return None, None, None
    volume = facts.channels[0].volume
    pairs = zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
    x, y, z = (finite(value)[0] if known else None for value, known in pairs)
    return z, y, x


def _stage(facts: _Facts, position: int) -> tuple[float, float, float]:
    """Return where the stage was for plane 0 (z, y, x) [um]."""
    z, y, x = finite(*(facts.picture.get(f"d{axis}Pos") for axis in "ZYX"))
    loop = facts.loop("p")
    if loop is not None:
        point = loop.parameters.points[position].stagePositionUm
        y, x = finite(point.y, point.x)
        if loop.parameters.isSettingZ:
            z = finite(point.z)[0]
    return z, y, x


def _translation(
    facts: _Facts,
    stage: tuple[float, float, float],
    size: tuple[float, float, float],
    frame: Frame,
    problems: list[Problem],
) -> tuple[float, float, float]:
    """Return the centre of voxel 0 in the axes of the image (z, y, x) [um]."""
    z, y, x = stage
    stack = facts.loop("z")
    if stack is not None:
        home, step = finite(stack.parameters.homeIndex, stack.parameters.stepUm)
        z -= home * step if stack.parameters.bottomToTop else -home * step
        if not stack.parameters.bottomToTop:
            text = "The stack was taken from top to bottom: z counts against the stage."
            problems.append(Problem("warning", "z", text))
            z = -z
    # The matrix (x, y) takes the CENTRE of the image, (columns / 2, rows / 2), to where the stage
    # is: it counts from the corner of pixel 0, whose centre is half a pixel on.
    scale = np.array([size[2], size[1]])
    corner = -np.array([frame.columns, frame.rows]) / 2 * scale
    turned = np.array([x, y])
    matrix = facts.channels[0].volume.pixelToStageTransformationMatrix if facts.channels else None
    if matrix is not None and len(matrix) == 6:
        linear = np.array([finite(*matrix[0:2]), finite(*matrix[3:5])]) / scale
        if abs(abs(np.linalg.det(linear)) - 1) < 0.1:  # a rotation, perhaps mirrored
            turned = np.linalg.solve(linear, turned)
    first = (turned + corner + scale / 2).tolist()
    return z, first[1], first[0]


def _line(text: str | None) -> str | None:
    """Return the first line of a text that says something."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), None)


def _acquired(facts: _Facts) -> str | None:
    """Return when the first frame was taken: the clock's Julian date, or the file's own text."""
    days = finite(facts.picture.get("dTimeAbsolute"))[0] - 2440587.5
    if 0 < days < 200_000:
        return str(np.datetime64(round(days * 86_400_000), "ms")) + "Z"
    return facts.text.get("date")
