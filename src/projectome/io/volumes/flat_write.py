"""Writing a header and the voxels after it, a slab of whole planes at a time.

A compressed file appears when it is complete, and starts over where its writing was stopped. An
uncompressed one grows in a hidden file beside its place, together with a plan that says what it is
going to be; the same call goes on after the last slab that is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, TypeAlias

import numpy as np

from projectome.core.box import Box
from projectome.core.view import View
from projectome.core.volume import Array, Volume
from projectome.errors import OutputBusyError, OutputExistsError, ParameterError
from projectome.io import stores
from projectome.io.source import OneChannel
from projectome.io.volumes.options import Evident
from projectome.io.volumes.writer import Progress

Compress: TypeAlias = Literal["all", "voxels"]

SLAB = 64 * 2**20
"""Largest slab that is read at once, unless one plane is larger [bytes]."""
ROWS = 16
"""Rows of voxels by which a plan knows the content of its volume."""
LEVEL = 1
"""Of compression; higher ones save a few percent and take several times as long."""


def check_target(path: str, form: str, *, overwrite: bool) -> Path:
    """Return the local path of an output that may be written.

    Raises
    ------
    ParameterError
        If the path is not local.
    OutputExistsError
        If something is there.
    """
    target = stores.local_path(path)
    if target is None:
        raise ParameterError(
            f"{form} is written to local paths only, not to {path}. Write OME-Zarr (.zarr) there."
        )
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExistsError(
            f"{target} exists. Choose another output, or give --overwrite to replace a file."
        )
    return target


def write_flat(
    volume: Volume,
    target: Path,
    header: bytes,
    *,
    compress: Compress | None = None,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> None:
    """Write a header and after it the voxels, little endian, in the order (c, z, y, x).

    Parameters
    ----------
    volume
        What to write.
    target
        Where to.
    header
        What stands before the voxels.
    compress
        ``"all"`` for one gzip stream, ``"voxels"`` for one after the header; None for neither.
    overwrite
        Start over, whatever an earlier call has left unfinished.
    on_progress
        Called with the voxels written and the voxels to write.

    Raises
    ------
    OutputBusyError
        If another call has taken away what this one has written.
    StorageFullError, AccessDeniedError, StoreError
        If it cannot be written.
    """
    if compress is None:
        _write_plain(volume, target, header, overwrite=overwrite, on_progress=on_progress)
        return
    with stores.atomic_write(target) as partial, open(partial, "wb") as file:
        packer = zlib.compressobj(LEVEL, wbits=31)
        file.write(packer.compress(header) if compress == "all" else header)
        for slab in _slabs(volume, 0, on_progress):
            file.write(packer.compress(slab.data))
        file.write(packer.flush())


def _write_plain(
    volume: Volume, target: Path, header: bytes, *, overwrite: bool, on_progress: Progress | None
) -> None:
    partial = target.with_name(f".{target.name}.partial")
    plan = target.with_name(f".{target.name}.plan.json")
    plane = volume.shape[1] * volume.shape[2] * volume.dtype.itemsize
    wanted = _plan(volume, header)
    with stores.mapped(str(target), "write"):
        if overwrite or _found(plan) != wanted:
            partial.unlink(missing_ok=True)
            stores.write_bytes(str(plan), json.dumps(wanted).encode())
        with open(partial, "r+b" if partial.exists() else "w+b") as file:
            first = _complete(volume, file, len(header), plane)
            file.seek(0)
            file.write(header)
            place = len(header) + first * plane
            for slab in _slabs(volume, first, on_progress):
                if file.seek(0, os.SEEK_END) > place or slab.view(np.uint8).any():
                    file.seek(place)
                    file.write(slab.data)
                else:  # zeros at the end need no room on the disk
                    file.truncate(place + slab.nbytes)
                place += slab.nbytes
            file.flush()
            _check_own(file.fileno(), partial)
        os.replace(partial, target)
        plan.unlink(missing_ok=True)


def _check_own(descriptor: int, partial: Path) -> None:
    """Refuse to go on where another process has put its own file in the place of ours."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.stat(partial)):
            return
    raise OutputBusyError(
        f"Another program is writing {partial.with_suffix('').name[1:]!r} in {partial.parent} at "
        "the same time. Wait for it, or choose another output."
    )


def _plan(volume: Volume, header: bytes) -> dict[str, object]:
    """Return what tells this output from another: header, evidence of the source, some voxels."""
    content = hashlib.sha256()
    array = volume.array
    while isinstance(array, (View, OneChannel)):
        array = array.array if isinstance(array, View) else array.whole
    for part in array.evidence() if isinstance(array, Evident) else ():
        content.update(part)
    depth, height, width = volume.shape
    channels = max(1, len(volume.channels))
    for number in sorted({int(n) for n in np.linspace(0, channels * depth - 1, ROWS)}):
        channel, z = divmod(number, depth)
        y = number * height // (channels * depth)
        row = volume.read(Box((z, y, 0), (z + 1, y + 1, width)), channel=channel)
        content.update(_little(row).tobytes())
    return {"header": hashlib.sha256(header).hexdigest(), "content": content.hexdigest()}


def _found(plan: Path) -> object:
    try:
        return json.loads(plan.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _thickness(volume: Volume) -> int:
    """Return how many planes a slab has: whole chunks of the source, where they fit."""
    _, height, width = volume.shape
    planes = SLAB // (height * width * volume.dtype.itemsize)
    chunk = volume.chunks[0]
    return max(1, min(planes // chunk * chunk or planes, volume.shape[0]))


def _complete(volume: Volume, file: IO[bytes], start: int, plane: int) -> int:
    """Return how many planes in complete slabs a file holds; none if the last is another one."""
    depth = volume.shape[0]
    written = max(0, file.seek(0, os.SEEK_END) - start) // plane
    channel, z = divmod(min(written, depth * max(1, len(volume.channels))), depth)
    thick = _thickness(volume)
    first = channel * depth + z // thick * thick
    if first == 0:
        return 0
    channel, z = divmod(first - 1, depth)
    file.seek(start + (first - 1) * plane)
    found = file.read(plane)
    there = volume.read(Box((z, 0, 0), (z + 1, *volume.shape[1:])), channel=channel)
    return first if found == _little(there).tobytes() else 0


def _little(voxels: Array) -> Array:
    return np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))


def _slabs(volume: Volume, first: int, on_progress: Progress | None) -> Iterator[Array]:
    """Yield slabs of planes, contiguous and little endian, from a plane of all channels on."""
    tell: Callable[[int, int], object] = on_progress or (lambda done, total: None)
    depth, height, width = volume.shape
    thick = _thickness(volume)
    channels = max(1, len(volume.channels))
    total = volume.box.size * channels
    done = first * height * width
    for channel in range(first // depth, channels):
        for z in range(first % depth if channel == first // depth else 0, depth, thick):
            box = Box((z, 0, 0), (min(z + thick, depth), height, width))
            slab = volume.read(box, channel=channel)
            yield _little(slab)
            done += slab.size
            tell(done, total)
