"""Writing a header and the voxels after it, a slab of whole planes at a time.

A file grows in a hidden one beside its place, together with a plan that says what it is going to
be; the same call goes on after the last slab that is complete, to the same bytes. A gzip stream is
made of slabs that are compressed each by itself, as parallel compressors do: one stream for whoever
reads it, that can be taken up after any slab. Where its slabs end stands beside it as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
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
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Of a stream that was packed fast, without a name or a time."""
LAST_BLOCK = b"\x03\0"
"""An empty block that says it is the last."""


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
    partial, plan, marks = (
        target.with_name(f".{target.name}.{kind}") for kind in ("partial", "plan.json", "marks")
    )
    wanted = _plan(volume, header) | ({"gzip": _thickness(volume)} if compress else {})
    with stores.mapped(str(target), "write"):
        if overwrite or _found(plan) != wanted:
            marks.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)
            stores.write_bytes(str(plan), json.dumps(wanted).encode())
        with open(partial, "r+b" if partial.exists() else "w+b") as file:
            plane = volume.shape[1] * volume.shape[2] * volume.dtype.itemsize
            body = (
                _Plain(file, header, plane)
                if compress is None
                else _Packed(file, header, plane, compress == "all", marks)
            )
            first = _complete(volume, body)
            body.start(first)
            for slab in _slabs(volume, first, on_progress):
                body.add(slab)
            body.end()
            file.flush()
            _check_own(file.fileno(), partial)
        os.replace(partial, target)
        plan.unlink(missing_ok=True)
        marks.unlink(missing_ok=True)


class _Plain:
    """A header and planes as they are; what is there of them is told by the size of the file."""

    def __init__(self, file: IO[bytes], header: bytes, plane: int) -> None:
        self._file, self._header, self._plane = file, header, plane
        self._place = 0

    def planes(self) -> int:
        """Return how many whole planes there are."""
        return max(0, self._file.seek(0, os.SEEK_END) - len(self._header)) // self._plane

    def plane(self, number: int) -> bytes:
        """Return a plane that is there."""
        self._file.seek(len(self._header) + number * self._plane)
        return self._file.read(self._plane)

    def start(self, first: int) -> None:
        """Get ready to write from a plane on."""
        self._file.seek(0)
        self._file.write(self._header)
        self._place = len(self._header) + first * self._plane

    def add(self, slab: Array) -> None:
        """Write the next slab."""
        if self._file.seek(0, os.SEEK_END) > self._place or slab.view(np.uint8).any():
            self._file.seek(self._place)
            self._file.write(slab.data)
        else:  # zeros at the end need no room on the disk
            self._file.truncate(self._place + slab.nbytes)
        self._place += slab.nbytes

    def end(self) -> None:
        """Do nothing: the last slab ends the file."""


class _Packed:
    """The same in a gzip stream, with a mark in another file for each slab that is complete.

    A mark is a line of the planes written, the size of the file, the size and the checksum of what
    is packed in it. Two programs that write the same file write the same bytes in the same places.
    """

    def __init__(
        self, file: IO[bytes], header: bytes, plane: int, whole: bool, marks: Path
    ) -> None:
        self._file, self._plane, self._marks = file, plane, marks
        self._bare, self._inside = (b"", header) if whole else (header, b"")
        self._at = (0, 0, 0, 0)

    def _told(self) -> list[tuple[int, int, int, int]]:
        size = self._file.seek(0, os.SEEK_END)
        lines = self._marks.read_bytes().split(b"\n")[:-1] if self._marks.exists() else []
        found = []
        for line in lines:  # the last is whole, or left out
            planes, end, packed, checksum = (int(word) for word in line.split())
            found.append((planes, end, packed, checksum))
        return [mark for mark in found if mark[1] <= size]

    def planes(self) -> int:
        """Return how many planes the complete slabs have."""
        try:
            return max((mark[0] for mark in self._told()), default=0)
        except ValueError:
            return 0

    def plane(self, number: int) -> bytes:
        """Return the last plane of a complete slab."""
        ends = {planes: end for planes, end, _, _ in self._told()}
        begin = max((end for planes, end in ends.items() if planes <= number), default=0)
        self._file.seek(begin)
        try:
            slab = zlib.decompressobj(-15).decompress(self._file.read(ends[number + 1] - begin))
        except (zlib.error, KeyError):
            return b""
        return slab[-self._plane :]

    def start(self, first: int) -> None:
        """Get ready to write from a plane on."""
        if first:
            self._at = next(mark for mark in self._told() if mark[0] == first)
            return
        self._marks.unlink(missing_ok=True)
        self._file.seek(0)
        self._file.write(self._bare + GZIP_HEADER)
        self._at = (0, len(self._bare) + len(GZIP_HEADER), 0, 0)
        self._pack(self._inside, 0)

    def add(self, slab: Array) -> None:
        """Write and mark the next slab."""
        self._pack(slab.reshape(-1).view(np.uint8).data, slab.nbytes // self._plane)

    def _pack(self, data: bytes | memoryview, planes: int) -> None:
        packer = zlib.compressobj(LEVEL, wbits=-15)
        done, end, packed, checksum = self._at
        self._file.seek(end)
        # To the end of a byte, and nothing that comes refers to what was before.
        written = self._file.write(packer.compress(data))
        written += self._file.write(packer.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()
        checksum = zlib.crc32(data, checksum)
        self._at = (done + planes, end + written, packed + len(data), checksum)
        with open(self._marks, "ab") as marks:
            marks.write(b"%d %d %d %d\n" % self._at)

    def end(self) -> None:
        """Write the end of the stream."""
        _, end, packed, checksum = self._at
        self._file.seek(end)
        self._file.write(LAST_BLOCK + struct.pack("<II", checksum, packed % 2**32))
        self._file.truncate()


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


def _complete(volume: Volume, body: _Plain | _Packed) -> int:
    """Return how many planes in complete slabs there are; none if the last is another one."""
    depth = volume.shape[0]
    channel, z = divmod(min(body.planes(), depth * max(1, len(volume.channels))), depth)
    thick = _thickness(volume)
    first = channel * depth + z // thick * thick
    if first == 0:
        return 0
    channel, z = divmod(first - 1, depth)
    there = volume.read(Box((z, 0, 0), (z + 1, *volume.shape[1:])), channel=channel)
    return first if body.plane(first - 1) == _little(there).tobytes() else 0


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
