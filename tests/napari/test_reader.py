"""The plugin: its manifest, and the layers it makes, without napari itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

import projectome
from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import ArrayInMemory, Pyramid, Volume
from projectome.errors import NotFoundError, StoreError
from projectome.napari import reader

MANIFEST = Path(reader.__file__).with_name("napari.yaml")
GREY = np.random.default_rng(1).integers(100, 900, (2, 12, 48, 64)).astype(np.uint16)
SWC = """\
1 1 10 20 30 5 -1
2 3 11 20 30 1 1
3 3 12 20 30 1 2
4 3 12 21 30 1 3
5 3 12 19 30 1 3
"""


@pytest.fixture
def manager() -> PluginManager:
    found = PluginManager()
    found.register(PluginManifest.from_file(MANIFEST))
    found.activate("projectome")
    return found


def layers_of(manager: PluginManager, path: str) -> list:
    """Return the layers that a file opens as in napari."""
    (contribution,) = manager.iter_compatible_readers([path])
    given = {"path": [path], "stack": False}
    read = contribution.exec(kwargs=given, _registry=manager.commands)
    return read([path], stack=False)


def test_the_manifest_is_valid_and_announced():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {
        manifest.name: f"projectome.napari:{MANIFEST.name}"
    }


@pytest.mark.parametrize(
    "path",
    [
        "a.tif",
        "a.ome.TIFF",
        "a.nd2",
        "a.czi",
        "a.oib",
        "a.ims",
        "a.nii.gz",
        "neuron.swc",
        "s3://bucket/a/fused.zarr",
        "gs://bucket/x",
        "https://host/a.zarr/0",
        "precomputed://gs://bucket/x",
        "zarr://s3://bucket/a",
    ],
)
def test_addresses_are_taken(manager, path):
    assert len(list(manager.iter_compatible_readers([path]))) == 1


@pytest.mark.parametrize("path", ["a.png", "a.csv", "a.txt"])
def test_others_are_left_alone(manager, path):
    assert not list(manager.iter_compatible_readers([path]))


def test_an_image_becomes_a_pyramid_in_micrometres(manager, tmp_path):
    volume = Volume.from_array(
        GREY, voxel_size=(4, 2, 1), translation=(3, 4, 5), channels=["GFP", "RFP"]
    )
    path = str(tmp_path / "a.ome.zarr")
    pyramid = projectome.write_volume(volume, path, chunks=(8, 16, 16), levels=2)
    ((data, settings, kind),) = layers_of(manager, path)
    assert kind == "image"
    assert [level.shape for level in data] == [level.array.shape for level in pyramid]
    assert all(isinstance(level, da.Array) for level in data)
    assert np.array_equal(data[0].compute(), GREY)
    assert settings["channel_axis"] == 0
    assert settings["scale"] == (4, 2, 1)
    assert settings["translate"] == (3, 4, 5)
    assert settings["units"] == ("micrometer",) * 3
    assert settings["name"] == ["a GFP", "a RFP"]
    assert len(settings["contrast_limits"]) == len(settings["colormap"]) == 2
    for low, high in settings["contrast_limits"]:
        assert 100 <= low < high <= 900


def test_a_single_level_without_channels_is_an_array_with_its_contrast():
    grey = np.arange(4000, dtype=np.uint16).reshape(10, 20, 20)
    data, settings, kind = reader.volume_layer(
        Pyramid((Volume.from_array(grey, voxel_size=(1, 1, 1), name="b"),))
    )
    assert (kind, settings["name"]) == ("image", "b")
    assert isinstance(data, da.Array)
    assert settings["contrast_limits"] == tuple(np.percentile(grey, (1, 99.8)))
    assert "channel_axis" not in settings


def test_labels_are_labels():
    labels = np.ones((4, 5, 6), np.uint32)
    volume = Volume.from_array(labels, voxel_size=(1, 1, 1), kind="labels")
    _, settings, kind = reader.volume_layer(Pyramid((volume,)))
    assert kind == "labels"
    assert "contrast_limits" not in settings


def test_a_turned_grid_keeps_its_matrix():
    turn = np.array([[0, 1, 0, 7], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    affine = Affine(turn, Space.voxels(), Space())
    volume = Volume(ArrayInMemory(GREY[0]), affine)
    _, settings, _ = reader.volume_layer(Pyramid((volume,)))
    assert np.array_equal(settings["affine"], turn)
    assert "scale" not in settings


def test_contrast_reads_little_and_may_fail():
    class Huge:
        shape, chunks, dtype = (4000, 1500, 1500), (64, 64, 64), np.dtype(np.uint8)
        seen, error = 0, None

        def read(self, index):
            if self.error:
                raise self.error
            self.seen += np.prod([s.stop - s.start for s in index])
            return np.zeros([s.stop - s.start for s in index], np.uint8)

    huge = Huge()
    pyramid = Pyramid((Volume(huge, Affine.from_scale((1, 1, 1))),))
    assert reader.contrast_limits(pyramid) == [(0.0, 1.0)]
    assert huge.seen <= reader.LOOKED_AT
    huge.error = StoreError("gone")
    assert reader.contrast_limits(pyramid) == []
    huge.shape = (1, 10**5, 10**5)
    assert reader.contrast_limits(pyramid) == []


def test_a_neuron_becomes_paths_and_a_soma(manager, tmp_path):
    path = tmp_path / "n1.swc"
    path.write_text(SWC)
    shapes, points = layers_of(manager, str(path))
    data, settings, kind = shapes
    assert (kind, settings["shape_type"], settings["name"]) == ("shapes", "path", "n1.swc")
    assert len(data) == len(settings["edge_width"]) == 3
    length = sum(float(np.linalg.norm(np.diff(run, axis=0), axis=1).sum()) for run in data)
    assert length == 4  # four edges of 1 um
    where, settings, kind = points
    assert kind == "points"
    assert where.tolist() == [[30, 20, 10]]  # z, y, x
    assert settings["size"] == [10]


def test_neurons_without_radii_and_lone_nodes_are_shown(manager, tmp_path):
    path = tmp_path / "n2.swc"
    path.write_text("1 0 1 2 3 0 -1\n2 0 2 2 3 0 1\n3 0 9 9 9 0 -1\n")
    (_, shapes, _), (where, points, _) = layers_of(manager, str(path))
    assert shapes["edge_width"] == [reader.WIDTH]
    assert where.tolist() == [[9, 9, 9]]
    assert points["size"] == [2 * reader.WIDTH]


def test_a_file_without_nodes_is_an_empty_layer():
    ((where, _, kind),) = reader.neuron_layers([], "none")
    assert (where.shape, kind) == ((0, 3), "points")


def test_several_files_at_once_are_left_to_others():
    assert reader.get_reader(["a.tif", "b.tif"]) is None


def test_what_is_not_there_says_so(tmp_path):
    with pytest.raises(NotFoundError):
        reader.get_reader(str(tmp_path / "none.tif"))(str(tmp_path / "none.tif"))


def test_napari_itself_is_not_imported():
    code = "import sys, projectome.napari.reader; print('napari' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
