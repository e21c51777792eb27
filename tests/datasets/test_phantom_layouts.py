"""Specimens on disk: the layout of each bucket, opened by the package's own readers."""

import hashlib
import json

import numpy as np
import pytest

from projectome.datasets.phantom_field import make_axon_field
from projectome.datasets.phantom_layouts import write_specimen
from projectome.datasets.phantom_specimens import KINDS, make_specimen
from projectome.errors import OutputExistsError, ParameterError, UnknownNameError
from projectome.io.open import open_volume
from projectome.io.points import read_points
from projectome.io.skeletons.read import read_skeletons
from projectome.io.tables import read_table


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def small(seed=0):
    return make_axon_field(seed=seed, size=(24, 48, 40), density=4.0)


@pytest.fixture(scope="module", params=["axons", "neuropil", "brain", "brainbow"])
def written(request, tmp_path_factory):
    specimen = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("specimen") / specimen.kind
    return specimen, folder, write_specimen(specimen, folder)


def test_image_opens_with_its_voxels_place_and_orientation(written):
    specimen, _, image = written
    found = open_volume(str(image))[0]
    assert np.array_equal(found.read().reshape(specimen.image.array.shape), specimen.image.read())
    assert found.voxel_size == pytest.approx(specimen.image.voxel_size)
    assert np.allclose(found.affine.translation, specimen.image.affine.translation)
    assert found.space.toward == specimen.space.toward


def test_truth_comes_back(written):
    specimen, folder, _ = written
    labels = open_volume(str(folder / "truth" / "labels.ome.zarr"))[0]
    assert labels.kind == "labels"
    assert np.array_equal(labels.read(), specimen.labels.read())
    found = {int(item.name): item.skeleton for item in read_skeletons(folder / "truth/neurites")}
    assert sorted(found) == list(range(1, len(specimen.skeletons) + 1))
    for number, skeleton in enumerate(specimen.skeletons, start=1):
        assert np.allclose(found[number].coordinates, skeleton.coordinates, atol=1e-5)
    assert len(read_points(folder / "truth" / "somata.parquet")) == len(specimen.somata)
    for name, table in specimen.tables.items():
        assert len(read_table(folder / "truth" / f"{name}.parquet")) == len(table)


def test_layouts_are_those_of_the_buckets(axons, neuropil, brain, brainbow, tmp_path):
    for specimen in (axons, neuropil, brain, brainbow):
        write_specimen(specimen, tmp_path / specimen.kind)
    asset = "exaSPIM_900005_2026-01-01_00-00-00_fusion_2026-01-01_00-00-00"
    fused = tmp_path / "axons" / asset / "fused.zarr"
    axes = json.loads((fused / ".zattrs").read_text())["multiscales"][0]["axes"]
    assert [axis["name"] for axis in axes] == list("tczyx")
    assert json.loads((fused / "0" / ".zarray").read_text())["shape"] == [1, 1, 48, 128, 128]
    assert (fused / "0" / "0" / "0" / "0" / "0" / "0").is_file()
    assert (fused.parent / "acquisition.json").is_file()
    whole = tmp_path / "barcodes" / "ls" / "images" / "full_dataset.zarr"
    names = {"raw", "markers", "barcode_mask", "dense_segmentation"}
    assert {place.name for place in whole.iterdir() if place.is_dir()} == names
    where = json.loads((whole / "raw" / "s0" / ".zattrs").read_text())
    assert where == {"offset": [0, 0, 0], "resolution": [400, 168, 168]}
    assert (whole / "raw" / "s0" / "0.0.0.0").is_file()
    asset = "SmartSPIM_900002_2026-01-01_00-00-00_stitched_2026-01-01_00-00-00"
    fused = tmp_path / "brain" / asset / "image_tile_fusing" / "OMEZarr"
    assert {p.name for p in fused.iterdir()} == {"Ex_561_Em_593.zarr", "Ex_445_Em_469.zarr"}
    other = open_volume(str(fused / "Ex_445_Em_469.zarr"))[0]
    assert other.space.toward == ("inferior", "anterior", "right")
    annotations = np.load(tmp_path / "brainbow" / "annotations" / "brainbow_900003.npy")
    assert np.array_equal(annotations, brainbow.labels.read())


def test_same_bytes_twice_and_left_alone_when_there(tmp_path):
    write_specimen(small(), tmp_path / "a")
    write_specimen(small(), tmp_path / "b")
    before = contents(tmp_path / "a")
    assert before == contents(tmp_path / "b")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    write_specimen(small(), tmp_path / "a")
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    with pytest.raises(OutputExistsError, match="holds something other"):
        write_specimen(small(1), tmp_path / "a")


def test_an_interrupted_specimen_is_made_anew(tmp_path):
    write_specimen(small(), tmp_path / "a")
    before = contents(tmp_path / "a")
    note = tmp_path / "a" / "phantom.json"
    note.write_text(note.read_text().replace('"complete": true', '"complete": false'))
    (tmp_path / "a" / "truth" / "neurites" / "1.swc").unlink()
    write_specimen(small(), tmp_path / "a")
    assert contents(tmp_path / "a") == before


def test_kinds_by_name():
    assert set(KINDS) == {"axons", "barcodes", "brain", "brainbow"}
    specimen = make_specimen("axons", seed=3, size=(24, 48, 40), voxel_size=(1.0,))
    assert specimen.image.voxel_size == (1.0, 1.0, 1.0)
    with pytest.raises(UnknownNameError, match="brainbow"):
        make_specimen("brainbows")
    with pytest.raises(ParameterError, match="one number, not"):
        make_specimen("brain", voxel_size=(25.0, 20.0, 20.0))
    with pytest.raises(ParameterError, match="in its own anatomy"):
        make_specimen("brain", arbors="somewhere")
