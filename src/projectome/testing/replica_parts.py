"""What replicas of buckets are made of: small images, tables and documents, written plainly.

They are written here from the formats' specifications, without the package's own writers, so that a
reader is tested against something else than its counterpart.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projectome.core.skeleton import Skeleton
from projectome.datasets.phantom import make_phantom
from projectome.errors import ParameterError

Array = NDArray[Any]
BRAIN = (112, 84, 112)
"""Voxels (z, y, x) of the phantom in the pictures; its axes run posterior, inferior, right."""


def write(path: Path, content: bytes | str | Mapping[str, Any] | Sequence[Any] = b"") -> None:
    """Write a file; what is not text or bytes becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, (bytes, str)):
        content = json.dumps(content, indent=3)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


class Brain(NamedTuple):
    """The phantom in the pictures; axes (z, y, x) run posterior, inferior, right.

    Attributes
    ----------
    light
        As the microscope sees it, uint16.
    tissue
        Without neurons, uint16.
    neurons
        The neurons that are in it, in voxels.
    """

    light: Array
    tissue: Array
    neurons: list[Skeleton]


def phantom_brain(seed: int, zoom: int = 1) -> Brain:
    """Return the phantom of `BRAIN` times `zoom` voxels an axis."""
    shape = tuple(zoom * n for n in BRAIN)
    phantom = make_phantom(seed=seed, size=shape, neurons=4 * zoom)
    template = phantom.atlas.template
    if template is None:
        raise ParameterError("The phantom has no template.")
    tissue = template.read().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    voxels = phantom.image.affine.inverse()
    neurons = [
        replace(tree, coordinates=voxels(tree.coordinates), radius=None)
        for tree in phantom.skeletons
    ]
    return Brain(phantom.image.read(), tissue[: shape[0], : shape[1], : shape[2]], neurons)


def halved(image: Array, axes: int = 3) -> Array:
    """Return an image of half the size along its last axes: means, or every second label."""
    for axis in range(image.ndim - axes, image.ndim):
        if image.dtype.itemsize == 8:
            image = image.take(range(0, image.shape[axis], 2), axis)
            continue
        if image.shape[axis] % 2:
            image = np.concatenate([image, image.take([-1], axis)], axis)
        pairs = image.astype(np.float64)
        low = pairs.take(range(0, pairs.shape[axis], 2), axis)
        high = pairs.take(range(1, pairs.shape[axis], 2), axis)
        image = ((low + high) / 2).round().astype(image.dtype)
    return image


def write_zarr2(
    path: Path,
    array: Array,
    *,
    chunks: Sequence[int],
    separator: str = "/",
    attributes: Mapping[str, Any] | None = None,
    absent: Callable[[tuple[int, ...]], bool] = lambda index: False,
) -> None:
    """Write a Zarr array of version 2.

    Parameters
    ----------
    path
        Its folder.
    array
        The voxels.
    chunks
        Voxels a chunk.
    separator
        Between the numbers in the names of chunks.
    attributes
        Content of ``.zattrs``.
    absent
        Says of the index of a chunk whether to leave it out.
    """
    document: dict[str, Any] = {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": list(chunks),
        "dtype": array.dtype.str,
        "compressor": {"id": "gzip", "level": 5},
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    if separator != ".":  # the default, which older writers do not state
        document["dimension_separator"] = separator
    write(path / ".zarray", document)
    if attributes is not None:
        write(path / ".zattrs", attributes)
    counts = [-(-n // c) for n, c in zip(array.shape, chunks, strict=True)]
    for index in np.ndindex(*counts):
        if absent(index):
            continue
        slices = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))
        part = array[slices]
        whole = np.zeros(chunks, array.dtype)
        whole[tuple(slice(0, n) for n in part.shape)] = part
        name = separator.join(map(str, index))
        write(path / name, gzip.compress(whole.tobytes(), 1, mtime=0))


def write_zarr3(path: Path, array: Array, *, chunks: Sequence[int]) -> None:
    """Write a Zarr array of version 3, chunks compressed with gzip."""
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "gzip", "configuration": {"level": 5}},
    ]
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
    }
    write(path / "zarr.json", document)
    counts = [-(-n // c) for n, c in zip(array.shape, chunks, strict=True)]
    for index in np.ndindex(*counts):
        slices = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))
        whole = np.zeros(chunks, array.dtype)
        part = array[slices]
        whole[tuple(slice(0, n) for n in part.shape)] = part
        write(path / "/".join(["c", *map(str, index)]), gzip.compress(whole.tobytes(), 1, mtime=0))


def write_ome_zarr(
    path: Path,
    image: Array,
    *,
    voxel_size: Sequence[float],
    levels: int,
    channel: str = "",
    chunk: int = 32,
) -> None:
    """Write an OME-Zarr 0.4 image of five axes as fusion programs of light-sheet brains do.

    Parameters
    ----------
    path
        Its folder.
    image
        Voxels (z, y, x).
    voxel_size
        Of the finest level (z, y, x) [um].
    levels
        How many; each has half the voxels an axis, and its scale says so. There is no translation.
    channel
        Label of the channel.
    chunk
        Voxels of a chunk an axis.
    """
    datasets = []
    for level in range(levels):
        scale = [1.0, 1.0, *(size * 2**level for size in voxel_size)]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
        write_zarr2(path / str(level), image[None, None], chunks=(1, 1, chunk, chunk, chunk))
        image = halved(image)
    axes = [{"name": "t", "type": "time", "unit": "millisecond"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    shown = {"active": True, "coefficient": 1, "color": "FFFFFF", "family": "linear"}
    window = {"start": 0.0, "end": 1200.0, "min": 0.0, "max": 65535.0}
    omero = {"channels": [{**shown, "inverted": False, "label": channel, "window": window}]}
    name = f"/{path.name}"
    content = {"name": name, "version": "0.4", "axes": axes, "datasets": datasets}
    write(path / ".zgroup", {"zarr_format": 2})
    write(path / ".zattrs", {"multiscales": [content], "omero": omero if channel else {}})


def write_ome_zarr3(
    path: Path, image: Array, *, voxel_size: Sequence[float], levels: int, chunk: int = 32
) -> None:
    """Write an OME-Zarr 0.5 image of three axes, arguments as for `write_ome_zarr`."""
    datasets = []
    for level in range(levels):
        scale = [size * 2**level for size in voxel_size]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
        write_zarr3(path / str(level), image, chunks=(chunk,) * 3)
        image = halved(image)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    content = {"name": path.name, "axes": axes, "datasets": datasets}
    ome = {"version": "0.5", "multiscales": [content]}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    write(path / "zarr.json", document)


def write_precomputed(
    path: Path, array: Array, *, resolution_nm: Sequence[int], levels: int, kind: str
) -> None:
    """Write a neuroglancer precomputed volume of raw chunks.

    Parameters
    ----------
    path
        Its folder.
    array
        Voxels (z, y, x), or (c, z, y, x).
    resolution_nm
        Voxel size (x, y, z) [nm].
    levels
        How many scales.
    kind
        ``"image"`` or ``"segmentation"``.
    """
    array = array if array.ndim == 4 else array[None]
    scales = []
    for level in range(levels):
        size = [int(n) for n in array.shape[:0:-1]]
        resolution = [r * 2**level for r in resolution_nm]
        key = "_".join(map(str, resolution))
        scale = {"key": key, "size": size, "resolution": resolution, "encoding": "raw"}
        scales.append({**scale, "chunk_sizes": [[64, 64, 64]], "voxel_offset": [0, 0, 0]})
        for z, y, x in np.ndindex(*(-(-n // 64) for n in array.shape[1:])):
            starts = [64 * n for n in (x, y, z)]
            stops = [min(s + 64, n) for s, n in zip(starts, size, strict=True)]
            name = "_".join(f"{a}-{b}" for a, b in zip(starts, stops, strict=True))
            inside = [slice(a, b) for a, b in zip(starts, stops, strict=True)]
            part = array[:, inside[2], inside[1], inside[0]]
            write(path / key / name, part.tobytes())
        array = halved(array)
    info: dict[str, Any] = {
        "@type": "neuroglancer_multiscale_volume",
        "type": kind,
        "data_type": array.dtype.name,
        "num_channels": int(array.shape[0]),
        "scales": scales,
    }
    write(path / "info", info | ({"mesh": "mesh"} if kind == "segmentation" else {}))


def nifti(array: Array, spacing_mm: Sequence[float]) -> bytes:
    """Return a gzipped NIfTI-1 image; axes (x, y, z) of the array as it lies.

    References
    ----------
    nifti1.h: a header of 348 bytes, four bytes that say there is no extension, the voxels with the
    first axis fastest.
    """
    codes = {"uint8": 2, "int16": 4, "float32": 16, "uint16": 512, "uint32": 768}
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, array.ndim, *array.shape, *(1,) * (7 - array.ndim))
    struct.pack_into("<2h", header, 70, codes[array.dtype.name], array.dtype.itemsize * 8)
    struct.pack_into("<4f", header, 76, 1.0, *spacing_mm)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2  # millimetres
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        values = [0.0] * 4
        values[row] = spacing_mm[row]
        struct.pack_into("<4f", header, 280 + 16 * row, *values)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(4) + array.tobytes("F"), 5, mtime=0)


def ants_affine() -> bytes:
    """Return an affine transform as ANTs writes it: a MATLAB 4 file of the identity."""
    parts = {"AffineTransform_double_3_3": (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0), "fixed": (0, 0, 0)}
    content = b""
    for name, values in parts.items():
        # Little-endian doubles in one column; the name ends with a zero byte.
        content += struct.pack("<5i", 0, len(values), 1, 0, len(name) + 1)
        content += name.encode() + b"\0" + np.array(values, "<f8").tobytes()
    return content


def swc(neuron: Skeleton, points: Array) -> str:
    """Return a neuron as SWC, its nodes at other points (x, y, z) than its own."""
    assert neuron.kind is not None
    lines = ["# id,type,x,y,z,r,pid"]
    rows = zip(neuron.kind.tolist(), points.tolist(), neuron.parent.tolist(), strict=True)
    for number, (kind, (x, y, z), parent) in enumerate(rows, start=1):
        before = parent + 1 if parent >= 0 else -1
        lines.append(f"{number} {kind} {x:.3f} {y:.3f} {z:.3f} 1.0 {before}")
    return "\n".join(lines) + "\n"


def tiff(array: Array, **options: Any) -> bytes:
    """Return a TIFF file."""
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="minisblack", **options)
    return file.getvalue()
