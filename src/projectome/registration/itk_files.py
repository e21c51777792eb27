"""Transforms of others: affine maps of ANTs and ITK, displacement fields of ANTs and NiftyReg.

All map points in the frame `projectome.registration.frames.LPS`, from the image they were fitted on
(fixed) to the other (moving); images are resampled with them in that direction, and points of the
moving image are carried to the fixed one by the inverse.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.errors import FormatError, ParameterError, ShapeError
from projectome.io import stores
from projectome.io.open import open_volume
from projectome.registration.frames import LPS, to_lps, voxels_to_lps

LINEAR = {
    "AffineTransform": 12,
    "MatrixOffsetTransformBase": 12,
    "Euler3DTransform": 6,
    "TranslationTransform": 3,
}
FIELD_ENDINGS = (".nii", ".nii.gz", ".nrrd")
LARGEST_TEXT = 2**20
LARGEST_SHIFT = 1e6
"""Of a displacement [mm], and of any number of an affine map."""


def read_itk(urls: Sequence[str | Path], *, inverted: Sequence[bool] | None = None) -> Transform:
    """Read a chain of transforms of ITK or ANTs.

    Parameters
    ----------
    urls
        ``.mat`` (ANTs), ``.txt`` or ``.tfm`` (ITK): affine maps; ``.nii``, ``.nii.gz`` or
        ``.nrrd``: displacements in millimetres. A point passes the first one first. This is the
        order of ``antsApplyTransformsToPoints -t LAST ... -t FIRST`` read from its end, and of
        the list that warps images read from its end.
    inverted
        Which of them to invert, as ``[FILE, 1]`` does in ANTs; none if None.

    Returns
    -------
    Transform
        From ``LPS`` to ``LPS``; `Transform.then` and affines of
        `projectome.registration.frames.to_lps` join it to the spaces of volumes.

    Raises
    ------
    FormatError
        If a file is of another kind, or broken.
    ParameterError
        If nothing is given, or flags do not fit.
    """
    flags = [False] * len(urls) if inverted is None else list(inverted)
    if not urls or len(flags) != len(urls):
        raise ParameterError(f"Give at least one transform and a flag for each: {urls}, {flags}.")
    total: Transform | None = None
    for url, invert in zip(urls, flags, strict=True):
        text = str(url)
        link = _field(text) if text.lower().endswith(FIELD_ENDINGS) else read_itk_affine(text)
        one = Transform((link,)).inverse() if invert else Transform((link,))
        total = one if total is None else total.then(one)
    assert total is not None
    return total


def read_itk_affine(url: str | Path) -> Affine:
    """Read an affine map of ITK (text) or ANTs (MATLAB 4 file), from ``LPS`` to ``LPS`` [um].

    Raises
    ------
    FormatError
        If it is another transform, or broken.
    """
    text = str(url)
    if text.lower().endswith((".h5", ".hdf5")):
        raise FormatError(
            f"{text} is a composite of ITK in HDF5. Take it apart first: CompositeTransformUtil "
            "--disassemble FILE PREFIX, and give the .mat and .nii.gz files that it writes."
        )
    data = stores.read_bytes(text)
    if len(data) > LARGEST_TEXT:
        raise FormatError(f"{text} has {len(data)} bytes; an affine map has a few hundred.")
    kind, numbers, centre = _text(data, text) if data[:1] == b"#" else _matlab(data, text)
    expected = LINEAR.get(kind.split("_")[0])
    sane = (np.abs(np.concatenate([numbers, centre])) <= LARGEST_SHIFT).all()
    if expected is None or len(numbers) != expected or not sane:
        raise FormatError(
            f"{text} holds the transform {kind!r} of {len(numbers)} numbers; affine, Euler and "
            f"translation transforms of numbers up to {LARGEST_SHIFT:g} are read. Convert it with "
            "ITK, or give its displacement field."
        )
    if kind.startswith("Euler") and len(centre) not in (3, 4):
        raise FormatError(f"{text} states no centre of rotation.")
    return _to_affine(kind, numbers, centre)


def _to_affine(kind: str, numbers: NDArray[np.float64], centre: NDArray[np.float64]) -> Affine:
    """Return the map, turned from (x, y, z) in millimetres to (z, y, x) in micrometres."""
    middle = centre[:3] if len(centre) >= 3 else np.zeros(3)
    if kind.startswith("Translation"):
        turn, shift = np.eye(3), numbers
    elif kind.startswith("Euler"):
        a, b, c = numbers[:3]
        x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        turn = z @ y @ x if len(centre) > 3 and centre[3] else z @ x @ y
        shift = numbers[3:] + middle - turn @ middle
    else:
        turn = numbers[:9].reshape(3, 3)
        shift = numbers[9:] + middle - turn @ middle
    matrix = np.eye(4)
    matrix[:3, :3] = turn[::-1, ::-1]
    matrix[:3, 3] = shift[::-1] * 1000
    return Affine(matrix, LPS, LPS)


def _text(data: bytes, where: str) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    said: dict[str, str] = {}
    for line in data.decode("latin-1").splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            if key.strip() in said:
                raise FormatError(
                    f"{where} holds several transforms. Write each into a file of its own."
                )
            said[key.strip()] = value.strip()
    try:
        numbers = np.array([float(v) for v in said["Parameters"].split()])
        centre = np.array([float(v) for v in said.get("FixedParameters", "").split()])
        return said["Transform"], numbers, centre
    except (KeyError, ValueError):
        raise FormatError(
            f"{where} is no transform of ITK: it lacks 'Transform', or 'Parameters' are no numbers."
        ) from None


def _matlab(data: bytes, where: str) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """Read the two matrices of a MATLAB 4 file, as ITK writes it: numbers only, no code."""
    found: dict[str, NDArray[np.float64]] = {}
    stream = io.BytesIO(data)
    while header := stream.read(20):
        if len(header) < 20:
            raise FormatError(f"{where} ends within a header.")
        kind, rows, columns, imaginary, length = np.frombuffer(header, "<i4").tolist()
        width = {0: "<f8", 10: "<f4"}.get(kind)
        sane = 0 <= rows <= 4096 and 0 <= columns <= 16 and imaginary == 0 and 1 <= length <= 256
        if width is None or not sane:
            raise FormatError(f"{where} is no affine map of ANTs: it is not a MATLAB 4 matrix.")
        name = stream.read(length).rstrip(b"\0").decode("latin-1")
        body = stream.read(rows * columns * np.dtype(width).itemsize)
        if len(body) != rows * columns * np.dtype(width).itemsize:
            raise FormatError(f"{where} ends within the numbers of {name!r}.")
        found[name] = np.frombuffer(body, width).astype(np.float64)
    kinds = [name for name in found if name != "fixed"]
    if len(kinds) != 1:
        raise FormatError(f"{where} holds {len(kinds)} transforms; one is expected.")
    return kinds[0], found[kinds[0]], found.get("fixed", np.empty(0))


def _field(url: str) -> DisplacementField:
    """Read a displacement field [mm], components (x, y, z) in LPS."""
    pyramid = open_volume(url, asset=False)
    return field_of(pyramid[0])


def field_of(volume: Volume) -> DisplacementField:
    """Return the displacement field that a volume of three channels holds.

    Raises
    ------
    ShapeError
        If it has no three channels.
    FormatError
        If a displacement is no number that can be.
    """
    if len(volume.channels) != 3:
        raise ShapeError(
            f"{volume.name} has {len(volume.channels)} channels; a displacement field has three, "
            "along x, y and z."
        )
    parts = np.asarray(volume.read(), np.float32)
    if not (np.abs(parts) <= LARGEST_SHIFT).all():
        raise FormatError(
            f"{volume.name} holds displacements that are not finite, or beyond {LARGEST_SHIFT:g} "
            "mm. Make it again with the program that wrote it."
        )
    values = np.moveaxis(parts, 0, 3)[..., ::-1] * np.float32(1000)
    return DisplacementField(values, voxels_to_lps(volume), LPS)


def between(
    transform: Transform, first: tuple[Volume, Space], second: tuple[Volume, Space]
) -> Transform:
    """Return a transform of ITK as one between the spaces of two volumes.

    Parameters
    ----------
    transform
        From ``LPS`` to ``LPS``.
    first, second
        The images that it joins, as they lie in ITK's frame, and their spaces.
    """
    enter = to_lps(first[0])
    leave = to_lps(second[0]).inverse()
    inward = Transform((Affine(enter.matrix, first[1], LPS),))
    outward = Transform((Affine(leave.matrix, LPS, second[1]),))
    return inward.then(transform).then(outward)
