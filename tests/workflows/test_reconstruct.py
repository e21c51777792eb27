"""The main job: what it writes, that it is right, and that nothing about the running changes it."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import zarr

from projectome.core.volume import Volume
from projectome.errors import (
    DataError,
    FormatError,
    OutputBusyError,
    OutputExistsError,
    ParameterError,
    UnknownNameError,
)
from projectome.io.open import open_volume
from projectome.io.points import read_points, write_points
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.metrics.trees import length_scores
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import Recipe, plan, reconstruct, resolve_recipe
from projectome.workflows.study import STAGES, Study

SERIAL = Job("serial")


def traced(study):
    return [read_swc(file).skeleton for file in study.swc_files()]


def test_the_study_holds_what_it_should_and_every_file_opens(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert names >= {
        "study.toml", "provenance.json", "somata.parquet", "neurons.parquet", "audit.parquet",
        "probability.ome.zarr", "labels.ome.zarr", "neurons", "figures", "report.html",
    }  # fmt: skip
    probability = zarr.open_array(finished.probability / "0", mode="r")
    labels = zarr.open_array(finished.labels / "0", mode="r")
    assert (probability.dtype, labels.dtype) == (np.uint8, np.uint32)
    assert probability.shape == labels.shape
    assert open_volume(str(finished.labels))[0].kind == "labels"
    neurons = pd.read_parquet(finished.neurons)
    assert list(neurons["id"]) == [int(path.stem) for path in finished.swc_files()]
    for row, skeleton in zip(neurons.itertuples(), traced(finished), strict=True):
        assert len(skeleton.roots) == 1
        assert skeleton.cable_length == pytest.approx(row.length_um, rel=1e-4)
    header = finished.swc_files()[0].read_text().splitlines()[:5]
    assert header[0] == "# projectome"
    assert {"# unit: micrometer", "# expansion: 1.0", "# axes: x y z"} <= set(header)
    assert "accepted" in pd.read_parquet(finished.audit)
    report = finished.report.read_text()
    assert report.count("data:image/png;base64") >= 3
    assert "http" not in report.replace("http-equiv", "")


def test_what_was_planted_is_found(planted, finished):
    scores = length_scores(planted.truth, traced(finished), distance_um=8.0)
    assert scores.recall > 0.97
    assert scores.precision > 0.95
    assert scores.traced_um == pytest.approx(scores.truth_um, rel=0.06)
    (soma,) = pd.read_parquet(finished.somata)[["z_um", "y_um", "x_um"]].to_numpy()
    np.testing.assert_allclose(soma, (140, 140, 110), atol=4)
    neurons = pd.read_parquet(finished.neurons)
    assert (neurons["soma_id"] >= 0).sum() == 1
    owned = neurons[neurons["soma_id"] >= 0].iloc[0]
    assert owned["length_um"] == pytest.approx(planted.truth[0].cable_length, rel=0.1)


def test_a_finished_study_is_left_as_it_is(planted, finished, files_of):
    before = files_of(finished.folder)
    events = []
    again = reconstruct(planted.source, finished.folder, job=Job("serial", on_event=events.append))
    assert files_of(again.folder) == before
    assert not [event for event in events if type(event).__name__ == "BlockDone"]


def test_other_parameters_are_refused_unless_told_to_overwrite(
    planted, finished, files_of, tmp_path
):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    recipe = Recipe(trace={"min_length_um": 575.0}, segment={"low": 0.3})
    with pytest.raises(OutputExistsError, match=r"segment\.low, trace\.min_length_um.*--overwrite"):
        reconstruct(planted.source, folder, recipe=recipe, job=SERIAL)
    assert files_of(folder) == files_of(finished.folder)
    study = reconstruct(planted.source, folder, recipe=recipe, job=Job("serial", overwrite=True))
    assert len(traced(study)) == len(pd.read_parquet(study.neurons)) == 1
    # What was not told to be another is not told to be the same either.
    with pytest.raises(OutputExistsError, match="--overwrite"):
        reconstruct(planted.source, folder, job=SERIAL)
    reconstruct(planted.source, folder, job=Job("serial", overwrite=True))
    assert files_of(folder) == files_of(finished.folder)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_can_be_done_again(planted, finished, files_of, tmp_path, stage):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    made = dict(zip(STAGES[1:], ("somata", "labels", "neurons", "report"), strict=True))
    before = {name: getattr(finished, name).read_bytes() for name in ("somata", "neurons")}
    getattr(Study(folder), made[stage]).rename(tmp_path / "old")
    study = reconstruct(planted.source, folder, job=SERIAL, start_at=stage)
    assert files_of(study.folder) == files_of(finished.folder)
    assert {name: getattr(study, name).read_bytes() for name in before} == before


@pytest.mark.parametrize("lost", ["somata", "probability", "labels", "neurons", "audit", "figures"])
def test_what_is_lost_is_made_again(planted, finished, files_of, tmp_path, lost):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    place = getattr(Study(folder), lost)
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    study = reconstruct(planted.source, folder, job=SERIAL)
    assert files_of(study.folder) == files_of(finished.folder)


def test_a_finished_study_takes_no_time(planted, finished):
    began = time.perf_counter()
    reconstruct(planted.source, finished.folder, job=Job("processes", 2))
    assert time.perf_counter() - began < 2


def test_given_somata_are_used(planted, finished, tmp_path):
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("z_um,y_um,x_um,radius_um\n140,140,110,12\n49,188,420,8\n")
    recipe = Recipe(seeds=str(seeds))
    study = reconstruct(planted.source, tmp_path / "study", recipe=recipe, job=SERIAL)
    assert pd.read_parquet(study.somata)["id"].tolist() == [1, 2]
    assert pd.read_parquet(study.neurons)["soma_id"].tolist() == [1, 2]
    assert study.read()["detect"]["seeds"]["url"] == str(seeds)
    moved = seeds.rename(tmp_path / "moved.csv")
    reconstruct(planted.source, study.folder, recipe=Recipe(seeds=str(moved)), job=SERIAL)
    moved.write_text("z_um,y_um,x_um,radius_um\n140,140,110,12\n")
    with pytest.raises(OutputExistsError, match=r"detect\.seeds\.fingerprint"):
        reconstruct(planted.source, study.folder, recipe=Recipe(seeds=str(moved)), job=SERIAL)


def test_no_soma_at_all(planted, finished, tmp_path):
    seeds = tmp_path / "seeds.parquet"
    write_points(read_points(finished.somata).take([]), seeds)
    study = reconstruct(
        planted.source, tmp_path / "study", recipe=Recipe(seeds=str(seeds)), job=SERIAL
    )
    assert (pd.read_parquet(study.neurons)["soma_id"] == -1).all()
    assert study.summary()["cable_in_neurons_mm"] == 0
    assert not (study.figures / "neurons.png").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("z_um,y_um,x_um\n1,2,3\n", "no radii. Add a column radius_um"),
        ("id,z_um,y_um,x_um,radius_um\n1,1,2,3,9\n1,9,9,9,9\n", "Number them anew"),
        ("id,z_um,y_um,x_um,radius_um\n-1,1,2,3,9\n", "whole numbers of 0 or more"),
        ("id,z_um,y_um,x_um,radius_um\n1,1,2,3,0\n", "no positive radius"),
    ],
)
def test_given_somata_that_cannot_be_used(planted, tmp_path, table, message):
    seeds = tmp_path / "seeds.csv"
    seeds.write_text(table)
    with pytest.raises(FormatError, match=message):
        reconstruct(planted.source, tmp_path / "s", recipe=Recipe(seeds=str(seeds)), job=SERIAL)
    assert not (tmp_path / "s" / "study.toml").exists()


def test_expanded_tissue_is_measured_in_tissue(planting, tmp_path):
    planted = planting(tmp_path, expansion=4.0, radius=30.0)
    assert resolve_recipe(planted.source, Recipe()).detection.radius_um == (20.0, 64.0)
    recipe = Recipe(detect={"radius_um": (25.0, 36.0)})
    study = reconstruct(planted.source, tmp_path / "study", recipe=recipe, job=SERIAL)
    neurons = pd.read_parquet(study.neurons)
    np.testing.assert_allclose(neurons["length_tissue_um"] * 4, neurons["length_um"])
    scores = length_scores(planted.truth, traced(study), distance_um=8.0)
    assert scores.recall > 0.95
    assert scores.precision > 0.95
    assert list(neurons["soma_id"]) == [1, -1]
    assert all(skeleton.space.expansion == 4.0 for skeleton in traced(study))
    assert "Expanded 4 times" in study.report.read_text()


def test_uneven_voxels(planting, tmp_path):
    planted = planting(tmp_path, voxel_size=(8.0, 4.0, 4.0))
    study = reconstruct(planted.source, tmp_path / "study", job=SERIAL)
    scores = length_scores(planted.truth, traced(study), distance_um=12.0)
    assert scores.recall > 0.8
    assert scores.precision > 0.8


def image(folder, array, **options):
    url = str(folder / "image.ome.zarr")
    write_volume(Volume.from_array(array, voxel_size=(4, 4, 4)), url, **options)
    return VolumeSource(url)


def test_a_constant_image_is_refused(tmp_path):
    source = image(tmp_path, np.full((40, 40, 40), 7, np.uint16))
    with pytest.raises(DataError, match="Check the channel"):
        reconstruct(source, tmp_path / "study", job=SERIAL)


def test_noise_alone_gives_an_empty_study(tmp_path):
    noise = np.random.default_rng(0).normal(1000, 30, (64, 64, 64)).astype(np.uint16)
    study = reconstruct(image(tmp_path, noise), tmp_path / "study", job=SERIAL)
    assert study.summary()["neurons_with_soma"] == 0
    assert study.summary()["cable_mm"] < 0.5
    assert study.report.exists()


def test_one_plane(tmp_path):
    plane = np.random.default_rng(0).normal(1000, 30, (1, 96, 96))
    plane[0, 48, 10:90] += 900
    study = reconstruct(image(tmp_path, plane.astype(np.uint16)), tmp_path / "study", job=SERIAL)
    assert study.report.exists()


def test_a_channel_has_to_be_chosen(tmp_path):
    url = str(tmp_path / "two.ome.zarr")
    array = np.zeros((2, 16, 16, 16), np.uint16)
    write_volume(Volume.from_array(array, voxel_size=(4, 4, 4), channels=("a", "b")), url)
    with pytest.raises(ParameterError, match="--channel"):
        reconstruct(VolumeSource(url), tmp_path / "study", job=SERIAL)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(segment={"contrst": 3}), "stage 'segment'.*Did you mean 'contrast'"),
        (Recipe(detect={"radius": 3}), "stage 'detect'.*Did you mean 'radius_um'"),
        (Recipe(trace={"max_gap": 3}), "stage 'trace'.*Did you mean 'max_gap_um'"),
        (Recipe(detect={"background": 3}), "stage 'detect'"),
    ],
)
def test_unknown_parameters_are_refused(planted, tmp_path, recipe, message):
    with pytest.raises(UnknownNameError, match=message):
        reconstruct(planted.source, tmp_path / "a", recipe=recipe)
    assert not (tmp_path / "a" / "study.toml").exists()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(trace={"max_gap_um": 0.0}), "max_gap_um of tracing is above 0, not 0.0"),
        (Recipe(trace={"min_tick_um": -1.0}), "min_tick_um of tracing is 0 or more, not -1.0"),
        (Recipe(trace={"max_angle_deg": 181.0}), "180 or less"),
        (Recipe(segment={"low": 0.6}), "0 < low <= high <= 1, not 0.6, 0.5"),
        (Recipe(segment={"min_voxels": 0}), "min_voxels is 1 or more"),
        (Recipe(segment={"ridge_share": 2}), "between 0 and 1"),
        (Recipe(segment={"contrast": 0}), "contrast is positive"),
        (Recipe(segment={"neurite_um": [0.0]}), "neurite_um needs positive sizes"),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_work(planted, tmp_path, recipe, message):
    with pytest.raises(ParameterError, match=message):
        reconstruct(planted.source, tmp_path / "a", recipe=recipe)


def test_unknown_stages_are_refused(planted, tmp_path):
    with pytest.raises(UnknownNameError, match=r"stage 'segmnt'. Did you mean 'segment'"):
        reconstruct(planted.source, tmp_path / "b", start_at="segmnt")


def test_two_at_a_time_refuse_each_other(planted, tmp_path):
    refused = []

    def second(event):
        if type(event).__name__ == "BlockDone" and not refused:
            try:
                reconstruct(planted.source, tmp_path / "study", job=SERIAL)
            except OutputBusyError as error:
                refused.append(str(error))

    reconstruct(planted.source, tmp_path / "study", job=Job("serial", on_event=second))
    assert str(os.getpid()) in refused[0]


def test_a_plan_does_nothing(planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = plan(planted.source, Recipe(), SERIAL)
    assert planned["voxels"] == 70 * 70 * 130
    assert not list(tmp_path.iterdir())
