"""What every reader of volumes has to keep, as tests to subclass."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from projectome.core.box import Box, triple
from projectome.core.volume import Pyramid
from projectome.errors import Problem, ProjectomeError, ShapeError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource

WAY_OUT = re.compile(
    r"restore|fetch|again|check|give|convert|open|state|write|save|export|list|correct|choose|use"
    r"|install|in Python|--",
    re.IGNORECASE,
)
"""One of these words is in what says how to go on."""
ABSURD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**12, 10**400, 0.5, 1e308, -1e308, 1e-308),
    *(math.nan, math.inf, "", "x", "\x1b[31m\ud800", "../../etc", "9" * 30, "x" * 10**5),
    *([], [0], [None], [10**9] * 3, [1e308] * 5, ["x"] * 100, {}, {"x": {"x": []}}),
)
"""What may stand for any value of a document."""
LIES = 8
"""Changes tried in each document."""
SOON = 10.0
"""Seconds that a damaged file may keep its reader busy."""


@dataclass(frozen=True)
class Example:
    """A volume on disk whose content is known.

    Attributes
    ----------
    path
        File or folder.
    voxels
        What level 0 has to read as: axes (z, y, x) or (c, z, y, x).
    voxel_size
        Of level 0 (z, y, x) [um].
    translation
        Position of the CENTRE of its voxel 0 [um].
    channels
        Channel names; empty without a channel axis.
    options
        What the user has to say to open it.
    """

    path: Path
    voxels: NDArray[Any]
    voxel_size: tuple[float, float, float]
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Pyramid:
        """Open it."""
        return open_volume(str(self.path), **self.options)

    def source(self, path: Path | None = None) -> VolumeSource:
        """Return the address of its first channel, or of a copy of it."""
        channel = 0 if self.channels else None
        return VolumeSource(str(path or self.path), channel=channel, **self.options)


def content(path: Path) -> str:
    """Return a hash of all files at a path."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = hashlib.sha256()
    for file in files:
        found.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return found.hexdigest()


def largest_file(path: Path) -> Path:
    """Return the largest file at a path, of level 0 where there are levels."""
    if path.is_file():
        return path
    path = path / "0" if (path / "0").is_dir() else path
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: (p.stat().st_size, p))


def damages(size: int, rng: np.random.Generator) -> Iterator[Callable[[bytearray], None]]:
    """Yield ways to spoil a file of a size in place: cut off, and changed here and there.

    Parameters
    ----------
    size
        Of the file [bytes].
    rng
        Draws the places; half of them lie in the first kilobyte, where headers are.
    """

    def place() -> int:
        return int(rng.integers(0, min(size, 1024) if rng.random() < 0.5 else size))

    def cut(data: bytearray, at: int) -> None:
        del data[at:]

    def fill(data: bytearray, at: int, value: bytes) -> None:
        data[at : at + len(value)] = value[: len(data) - at]

    for at in (0, size - 1, place(), place()):
        yield partial(cut, at=at)
    for value in (b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"9" * 12, b"-1"):
        yield partial(fill, at=place(), value=value)
    for _ in range(6):
        yield partial(fill, at=place(), value=rng.bytes(int(rng.integers(1, 5))))


def lies(document: Any, rng: np.random.Generator, count: int) -> Iterator[tuple[str, str]]:
    """Yield a JSON document with one of its values replaced by something absurd.

    Parameters
    ----------
    document
        Parsed; it stays as it is.
    rng
        Draws the values.
    count
        How many to yield at most.

    Yields
    ------
    str
        Where, and what stands there now.
    str
        The document.
    """
    places: list[tuple[Any, Any]] = []
    layer = [document]
    while layer:
        inner = layer.pop()
        keys = inner if isinstance(inner, dict) else range(len(inner))
        places += [(inner, key) for key in keys]
        layer += [inner[key] for key in keys if isinstance(inner[key], (dict, list))]
    pairs = [(place, value) for place in places for value in ABSURD]
    for index in rng.permutation(len(pairs))[:count].tolist():
        (inner, key), value = pairs[index]
        true, inner[key] = inner[key], value
        yield f"{key}: {value!r:.40}", json.dumps(document)
        inner[key] = true


class ReaderContract(ABC):
    """What any reader has to keep; subclass it and write an example.

    Examples
    --------
    ``class TestMyFormat(ReaderContract):`` with a method ``write(self, folder)`` that writes a
    volume of at least two voxels an axis and returns an `Example`.
    """

    @abstractmethod
    def write(self, folder: Path) -> Example:
        """Write an example below a folder, and say what it holds."""

    @pytest.fixture
    def example(self, tmp_path: Path) -> Example:
        """Return the example of a test."""
        return self.write(tmp_path / "data")

    def test_says_what_it_holds(self, example: Example) -> None:
        """Shape, type, channels and where it comes from are right before any voxel is read."""
        pyramid = example.open()
        volume = pyramid[0]
        assert volume.array.shape == example.voxels.shape
        assert volume.shape == example.voxels.shape[-3:]
        assert volume.dtype == example.voxels.dtype
        assert volume.dtype.isnative
        assert volume.channels == example.channels
        assert len(volume.array.chunks) == len(volume.array.shape)
        assert all(1 <= c <= n for c, n in zip(volume.chunks, volume.shape, strict=True))
        assert {"format", "version", "url"} <= pyramid.metadata.keys()
        assert all(isinstance(problem, Problem) for problem in pyramid.problems)

    def test_centre_of_voxel_zero_is_at_the_translation(self, example: Example) -> None:
        """The half voxel: formats whose offset is a corner are converted."""
        affine = example.open()[0].affine
        np.testing.assert_allclose(affine([[0, 0, 0]])[0], example.translation, atol=1e-9)
        np.testing.assert_allclose(affine.voxel_size, example.voxel_size, rtol=1e-9)

    def test_whole_volume_is_read_exactly(self, example: Example) -> None:
        """Every voxel of every channel is what was written."""
        volume = example.open()[0]
        np.testing.assert_array_equal(volume.read(), example.voxels)
        for index, name in enumerate(example.channels):
            np.testing.assert_array_equal(volume.read(channel=name), example.voxels[index])

    def test_boxes_equal_parts_of_the_whole(self, example: Example) -> None:
        """Any box reads as the same part of the whole; an empty one too."""
        volume = example.open()[0]
        rng = np.random.default_rng(1)
        shape = np.asarray(volume.shape)
        corners = [np.sort(rng.integers(0, shape + 1, (2, 3)), axis=0) for _ in range(20)]
        corners += [np.stack([shape - 1, shape]), np.stack([shape, shape])]
        for start, stop in corners:
            box = Box(triple(start), triple(stop))
            np.testing.assert_array_equal(
                volume.read(box), example.voxels[(..., *box.slices)], strict=True
            )

    def test_box_outside_is_refused(self, example: Example) -> None:
        """Nothing is padded or wrapped silently."""
        volume = example.open()[0]
        with pytest.raises(ShapeError, match="leaves"):
            volume.read(Box((0, 0, 0), triple(np.asarray(volume.shape) + 1)))

    def test_reading_changes_nothing(self, example: Example) -> None:
        """Neither the files, nor what the next reader sees."""
        before = content(example.path)
        volume = example.open()[0]
        first = volume.read()
        if first.flags.writeable:
            first[...] = 0
        np.testing.assert_array_equal(volume.read(), example.voxels)
        assert content(example.path) == before

    def test_source_travels(self, example: Example) -> None:
        """An address survives pickling and opens the same voxels, without a channel axis."""
        source = pickle.loads(pickle.dumps(example.source()))  # noqa: S301 - our own bytes
        assert source == example.source()
        wanted = example.voxels[0] if example.channels else example.voxels
        volume = source.open()
        np.testing.assert_array_equal(volume.read(), wanted)
        assert volume.channels == ()
        assert source.open() is volume

    def test_array_travels(self, example: Example) -> None:
        """A lazy array survives pickling, as dask sends it to other processes."""
        array = pickle.loads(pickle.dumps(example.open()[0].array))  # noqa: S301 - our own bytes
        whole = tuple(slice(0, size) for size in array.shape)
        np.testing.assert_array_equal(array.read(whole), example.voxels)

    def test_fingerprint_follows_the_content(self, example: Example, tmp_path: Path) -> None:
        """A copy elsewhere has the same fingerprint; a changed one another."""
        first = example.source().fingerprint()
        assert example.source().fingerprint() == first
        other = tmp_path / "elsewhere" / example.path.name
        other.parent.mkdir()
        (shutil.copytree if example.path.is_dir() else shutil.copy)(example.path, other)
        assert example.source(other).fingerprint() == first
        file = largest_file(other)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert example.source(other).fingerprint() != first

    def test_cut_off_file_is_refused(self, example: Example) -> None:
        """Half of the largest file is an error that names the place and the way out."""
        file = largest_file(example.path)
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        with pytest.raises(ProjectomeError, match=r"[Rr]estore|[Ff]etch|again") as caught:
            example.open()[0].read()
        assert str(example.path) in str(caught.value)

    def test_damage_is_told(self, example: Example) -> None:
        """Whatever is cut off or changed: voxels or an error that names the way out, and soon."""
        rng = np.random.default_rng(0)
        files = [p for p in (example.path, *example.path.rglob("*")) if p.is_file()]
        # Of many alike, chunks or planes, two are enough; documents are the smaller ones.
        files = sorted(files, key=lambda p: (p.stat().st_size, p))
        for file in dict.fromkeys([*files[:3], files[-1]]):
            whole = file.read_bytes()
            for damage in damages(len(whole), rng):
                data = bytearray(whole)
                damage(data)
                file.write_bytes(data)
                self._read_or_refuse(example, f"{file.name}: {damage}")
            file.write_bytes(whole)

    def test_lies_are_told(self, example: Example) -> None:
        """Whatever a JSON document says: voxels or an error, soon, and no memory that it asks."""
        rng = np.random.default_rng(0)
        for file in sorted(p for p in (example.path, *example.path.rglob("*")) if p.is_file()):
            whole = file.read_bytes()
            if whole[:1] != b"{":
                continue
            for what, changed in lies(json.loads(whole), rng, LIES):
                file.write_text(changed)
                self._read_or_refuse(example, f"{file.name}: {what}")
            file.write_bytes(whole)

    def _read_or_refuse(self, example: Example, what: str) -> None:
        started, told = time.perf_counter(), "give"
        try:
            volume = example.open()[0]
            stop = np.minimum(volume.shape, example.voxels.shape[-3:])
            volume.read(Box((0, 0, 0), triple(stop)))
        except ProjectomeError as error:
            told = str(error)
        assert WAY_OUT.search(told), f"{what}: {told}"
        assert time.perf_counter() - started < SOON, what

    def test_nothing_there_is_refused(self, example: Example) -> None:
        """A wrong address is an error that names it."""
        with pytest.raises(ProjectomeError, match="projectome ls") as caught:
            open_volume(str(example.path) + "-wrong", **example.options)
        assert "-wrong" in str(caught.value)
