"""Small volumes with planted neurites, and how to compare study folders."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from projectome.core.affine import Affine
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.registration.files import Saved
from projectome.workflows.job import Job

EXTENT = (280.0, 280.0, 520.0)
"""Micrometres along z, y, x that are imaged."""
SOMA = (140.0, 140.0, 110.0)
SERIAL = Job("serial")


@dataclass(frozen=True)
class Planted:
    """A volume on disk: a soma with a branching axon, and a second axon without a soma.

    The axons are 8 um across (as a standard deviation: 4 um) and four times as bright as the
    background, the soma is a bright ball. Coordinates are micrometres of the volume.
    """

    url: str
    truth: list[Skeleton]
    radius: float

    @property
    def source(self) -> VolumeSource:
        return VolumeSource(self.url)


def neuron(space: Space) -> Skeleton:
    """An axon from the soma to the far end, a bow in y, with one branch in its middle."""
    x = np.arange(SOMA[2], 500.0, 4.0)
    main = np.stack([np.full(len(x), 140.0), 140 + 40 * np.sin((x - SOMA[2]) / 80), x], axis=1)
    way = np.arange(4.0, 130.0, 4.0)[:, None]
    branch = main[45] + way * (np.array([-0.6, 0.5, 0.62]) / np.linalg.norm([0.6, 0.5, 0.62]))
    parents = [*range(-1, len(main) - 1), 45, *range(len(main), len(main) + len(branch) - 1)]
    return Skeleton(np.concatenate([main, branch]), parents, space)


def passing(space: Space) -> Skeleton:
    """A straight axon through the whole volume, far from the other."""
    x = np.arange(0.0, EXTENT[2], 4.0)
    return Skeleton(
        np.stack([24 + 0.06 * x, 230 - 0.1 * x, x], axis=1), np.arange(len(x)) - 1, space
    )


def plant(folder, *, voxel_size=(4.0, 4.0, 4.0), radius=11.0, seed=0, expansion=1.0, **options):
    """Draw the neurites and write them as OME-Zarr; `radius` 0 for none with a soma."""
    space = Space.from_code("PIR", meaning="toward", name="planted", expansion=expansion)
    truth = ([neuron(space)] if radius else []) + [passing(space)]
    shape = tuple(int(e / v) for e, v in zip(EXTENT, voxel_size, strict=True))
    place = np.stack(np.indices(shape, dtype=np.float64), axis=-1) * voxel_size
    lines = np.concatenate([s.coordinates for s in truth])
    away, _ = cKDTree(lines).query(place.reshape(-1, 3), distance_upper_bound=16.0)
    grey = 100 + 300 * np.exp(-((np.minimum(away, 99) / 4) ** 2) / 2).reshape(shape)
    if radius:
        from_soma = np.linalg.norm(place - SOMA, axis=-1)
        grey += 700 * (0.5 - 0.5 * np.tanh((from_soma - radius) / 2))
    grey = np.random.default_rng(seed).normal(grey, 8.0).clip(0, 65535).astype(np.uint16)
    volume = Volume.from_array(grey, voxel_size=voxel_size, space=space, name="planted")
    url = str(folder / "brain.ome.zarr")
    write_volume(volume, url, **options)
    return Planted(url, truth, radius)


def study_files(folder) -> dict[str, str]:
    """Return the hash of each file of a study, but for what may differ between equal studies.

    These are the times in provenance.json, run.log, and .ledger/.
    """
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == "run.log" or name.startswith(".ledger/"):
            continue
        data = path.read_bytes()
        if name == "provenance.json":
            document = json.loads(data)
            assert all(entry.pop("time") for entry in document["files"].values())
            data = json.dumps(document).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


@pytest.fixture(scope="session")
def planting():
    """The function that plants."""
    return plant


@pytest.fixture(scope="session")
def files_of():
    """The function that hashes a study."""
    return study_files


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """The planted volume."""
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def finished(planted, tmp_path_factory):
    """A study of the planted volume, made in one process; not to be changed."""
    from projectome.workflows.reconstruct import reconstruct

    return reconstruct(planted.source, tmp_path_factory.mktemp("finished") / "study", job=SERIAL)


@pytest.fixture(scope="session")
def shifted():
    """Make registrations that are known: a scan is scaled and then shifted."""

    def make(atlas, scan, scale, shift):
        middle = atlas.space.renamed("middle")
        linear = Affine.from_scale([scale] * 3, shift, source=scan, target=middle)
        still = np.zeros((4, 4, 4, 3), np.float32)
        grid = Affine.from_scale([300] * 3, target=middle)
        there = Transform((linear, DisplacementField(still, grid, atlas.space)))
        return Saved(there, None, {"atlas": "phantom"})

    return make
