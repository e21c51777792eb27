"""The main job: what it writes, that it is right, and that nothing about the running changes it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import zarr

from projectome.core.volume import Volume
from projectome.errors import (
    BlockFailedError,
    DataError,
    OutputBusyError,
    OutputExistsError,
    ParameterError,
    UnknownNameError,
)
from projectome.io.open import open_volume
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.io.tables import write_points
from projectome.io.volumes.write import write_volume
from projectome.metrics.trees import length_scores
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import Recipe, plan, reconstruct
from projectome.workflows.study import STAGES

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
    assert scores.recall > 0.9
    assert scores.precision > 0.9
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


@pytest.mark.parametrize(
    "job", [Job("processes", 2), Job("processes", 1, "1GB"), Job("serial", 1, "6GB")]
)
def test_how_it_runs_changes_no_byte(planted, finished, files_of, tmp_path, job):
    study = reconstruct(planted.source, tmp_path / "study", job=job)
    assert files_of(study.folder) == files_of(finished.folder)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_bytes(planted, finished, files_of, tmp_path):
    words = [sys.executable, "-m", "projectome", "reconstruct", planted.url, "--out"]
    words += [str(tmp_path / "study"), "--workers", "2", "--quiet"]
    chance = random.Random(5)
    for _ in range(4):
        run = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
        time.sleep(1.5 + 5 * chance.random())
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert files_of(tmp_path / "study") == files_of(finished.folder)


def test_other_parameters_are_refused_unless_told_to_overwrite(planted, finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    recipe = Recipe(trace={"min_length_um": 100.0})
    with pytest.raises(OutputExistsError, match=r"trace\.min_length_um.*--overwrite"):
        reconstruct(planted.source, folder, recipe=recipe, job=SERIAL)
    study = reconstruct(planted.source, folder, recipe=recipe, job=Job("serial", overwrite=True))
    assert min(skeleton.cable_length for skeleton in traced(study)) > 90


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_can_be_done_again(planted, finished, files_of, tmp_path, stage):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    study = reconstruct(planted.source, folder, job=SERIAL, start_at=stage)
    assert files_of(study.folder) == files_of(finished.folder)


def test_given_somata_are_used(planted, finished, tmp_path):
    from projectome.io.tables import read_points

    seeds = tmp_path / "seeds.parquet"
    write_points(read_points(finished.somata).take([]), seeds)
    study = reconstruct(
        planted.source, tmp_path / "study", recipe=Recipe(seeds=str(seeds)), job=SERIAL
    )
    assert (pd.read_parquet(study.neurons)["soma_id"] == -1).all()


def test_expanded_tissue_is_measured_in_tissue(planting, tmp_path):
    planted = planting(tmp_path, expansion=4.0)
    study = reconstruct(planted.source, tmp_path / "study", job=SERIAL)
    neurons = pd.read_parquet(study.neurons)
    np.testing.assert_allclose(neurons["length_tissue_um"] * 4, neurons["length_um"])
    assert traced(study)[0].space.expansion == 4.0


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


def test_unknown_names_are_refused(planted, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'contrast'"):
        reconstruct(planted.source, tmp_path / "a", recipe=Recipe(segment={"contrst": 3}))
    with pytest.raises(UnknownNameError, match="stage"):
        reconstruct(planted.source, tmp_path / "b", start_at="segmnt")


def test_a_broken_chunk_fails_its_blocks_and_is_made_good_later(
    planted, finished, files_of, tmp_path
):
    copy = tmp_path / "brain.ome.zarr"
    shutil.copytree(planted.url, copy)
    chunk = sorted((copy / "0").rglob("*/*/*"))[-1]
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    source = VolumeSource(str(copy))
    with pytest.raises((BlockFailedError, DataError)) as failure:
        reconstruct(source, tmp_path / "study", job=SERIAL)
    assert "voxels" in str(failure.value) or str(copy) in str(failure.value)
    chunk.write_bytes(whole)
    study = reconstruct(source, tmp_path / "study", job=Job("serial", overwrite=True))
    labels = {k: v for k, v in files_of(study.folder).items() if k.startswith("labels")}
    expected = {k: v for k, v in files_of(finished.folder).items() if k.startswith("labels/0")}
    assert expected.items() <= labels.items()


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
