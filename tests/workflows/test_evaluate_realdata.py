"""Real annotations: a threshold on axons, a segmentation of electron microscopy, soma positions."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.metrics import variation_of_information

import projectome
from projectome.io.source import VolumeSource
from projectome.workflows.evaluate import Comparison, evaluate
from projectome.workflows.job import Job

pytestmark = pytest.mark.realdata
REAL = Path(os.environ.get("PROJECTOME_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SERIAL = Job(executor="serial")


@pytest.fixture
def real():
    if not REAL.is_dir():
        pytest.skip(f"no test data at {REAL}: set PROJECTOME_TEST_DATA")
    return REAL


def test_axons_annotated_on_three_planes(real):
    files = [
        real / "trailmap" / f"training_original_{what}_101x120x120.tif"
        for what in ("label", "volume")
    ]
    found = evaluate(
        "voxels",
        *map(str, files),
        how=Comparison(positive=(2,), ignored=(0, 4), threshold=3000),
        like=VolumeSource("", voxel_size=(1.0, 1.0, 1.0)),
        job=SERIAL,
    )
    label, image = (tifffile.imread(path) for path in files)
    scored, bright = np.isin(label, (1, 2)), image >= 3000
    assert found.counts["voxels"] == scored.sum()
    assert found["recall"] == (bright & (label == 2)).sum() / (label == 2).sum()
    assert found["precision"] == (bright & (label == 2)).sum() / (bright & scored).sum()


def test_a_dense_segmentation_with_a_merge(real, tmp_path):
    truth = tifffile.imread(real / "lsd_fib25" / "labels.tif").astype(np.uint32)[:40]
    found = truth.copy()
    sizes = np.bincount(truth.ravel())
    largest = np.argsort(-sizes)[:2]
    found[found == largest[1]] = largest[0]
    files = []
    for name, labels in (("truth", truth), ("found", found)):
        files.append(str(tmp_path / f"{name}.ome.zarr"))
        volume = projectome.Volume.from_array(labels, voxel_size=(0.008,) * 3, kind="labels")
        projectome.write_volume(volume, files[-1])
    scores = evaluate("labels", *files, job=SERIAL)
    _, merge = variation_of_information(truth, found, ignore_labels=[0])
    assert scores["VOI split [bits]"] == 0
    assert scores["VOI merge [bits]"] == pytest.approx(merge)
    assert [(error.what, error.size) for error in scores.errors] == [("merge", sizes[largest[1]])]
    assert evaluate("labels", files[0], files[0], job=SERIAL)["panoptic quality"] == 1


def test_soma_positions_against_themselves_moved(real, tmp_path):
    path = real / "cellfinder" / "cell_classification.xml"
    cells = projectome.read_points(path, voxel_size=(5, 2, 2))
    moved = projectome.Points(cells.coordinates + np.array([0, 3, 4]), cells.space)
    projectome.write_points(moved, tmp_path / "moved.parquet")
    scores = evaluate(
        "points",
        str(path),
        str(tmp_path / "moved.parquet"),
        how=Comparison(distance=5.0),
        like=VolumeSource("", voxel_size=(5.0, 2.0, 2.0)),
        job=SERIAL,
    )
    assert scores["F1"] == 1
    assert scores.counts["matched"] == 56
    assert scores["mean distance of matches [um]"] <= 5
