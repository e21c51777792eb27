"""Broken images, full disks, wrong places: what is said, what is kept, and that it can go on."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

from projectome.core.volume import Volume
from projectome.engine.events import BlockDone
from projectome.errors import (
    AccessDeniedError,
    BlockFailedError,
    FormatError,
    NotFoundError,
    OutputExistsError,
    StorageFullError,
)
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import reconstruct

SERIAL = Job("serial")


@pytest.fixture
def axon(tmp_path):
    """One bright axon along a beam of 48 x 48 x 768 voxels, in chunks of 16^3."""
    rng = np.random.default_rng(1)
    z, y = np.ogrid[:48, :48]
    profile = 300 * np.exp(-((z - 24) ** 2 + (y - 24) ** 2) / 4)
    grey = rng.normal(100 + profile[:, :, None], 8.0, (48, 48, 768)).astype(np.uint16)
    url = tmp_path / "axon.ome.zarr"
    write_volume(Volume.from_array(grey, voxel_size=(4, 4, 4)), str(url), chunks=(16, 16, 16))
    return VolumeSource(str(url))


def cut_short(path):
    """Truncate a file; return what it held."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_broken_chunk_fails_its_blocks_and_is_made_good_later(axon, files_of, tmp_path):
    expected = files_of(reconstruct(axon, tmp_path / "first" / "study", job=SERIAL).folder)
    chunk = tmp_path / "axon.ome.zarr" / "0" / "1" / "1" / "8"  # voxels 128 to 144 of the last axis
    fingerprint = axon.fingerprint()
    whole = cut_short(chunk)
    assert axon.fingerprint() == fingerprint  # nor is it in the samples of brightness and noise
    events = []
    with pytest.raises(BlockFailedError) as failure:
        reconstruct(axon, tmp_path / "study", job=Job("serial", on_event=events.append))
    told = str(failure.value)
    assert "2 of 12 blocks of step 'detect-somata' failed" in told
    assert "block (0, 0, 1) (voxels [0:48, 0:48, 64:128])" in told
    assert f"A chunk of {axon.url}/0 among the elements" in told
    assert "is broken" in told
    assert "run the same again to resume" in told
    assert sum(isinstance(event, BlockDone) for event in events) == 10
    chunk.write_bytes(whole)
    events.clear()
    study = reconstruct(axon, tmp_path / "study", job=Job("serial", on_event=events.append))
    assert sum(isinstance(e, BlockDone) and e.step == "detect-somata" for e in events) == 2
    assert files_of(study.folder) == expected


def test_a_broken_chunk_that_is_sampled_ends_the_run_at_once(axon, files_of, tmp_path):
    chunk = tmp_path / "axon.ome.zarr" / "0" / "0" / "0" / "4"
    whole = cut_short(chunk)
    with pytest.raises(FormatError, match=r"is broken.*Restore that file"):
        reconstruct(axon, tmp_path / "study", job=SERIAL)
    assert {path.name for path in (tmp_path / "study").iterdir()} == {".ledger"}
    chunk.write_bytes(whole)
    reconstruct(axon, tmp_path / "study", job=SERIAL)


def test_an_image_that_changed_is_not_taken_for_the_same(axon, tmp_path):
    reconstruct(axon, tmp_path / "study", job=SERIAL)
    chunk = tmp_path / "axon.ome.zarr" / "0" / "0" / "0" / "0"
    shutil.copy(chunk.with_name("1"), chunk)
    with pytest.raises(OutputExistsError, match=r"input\.fingerprint.*--overwrite"):
        reconstruct(axon, tmp_path / "study", job=SERIAL)


def test_no_image(tmp_path):
    source = VolumeSource(str(tmp_path / "absent.ome.zarr"))
    with pytest.raises(NotFoundError, match=r"absent\.ome\.zarr"):
        reconstruct(source, tmp_path / "study", job=SERIAL)
    assert not (tmp_path / "study").exists()


def test_a_folder_of_something_else_is_left_alone(planted, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"no study \(it holds thesis\.txt\).*--overwrite"):
        reconstruct(planted.source, tmp_path, job=SERIAL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_overwriting_keeps_files_of_other_names(planted, finished, files_of, tmp_path):
    mine = [tmp_path / "neurons" / "best.swc", tmp_path / "figures" / "mine.png"]
    for path in mine:
        path.parent.mkdir()
        path.write_text("mine")
    study = reconstruct(planted.source, tmp_path, job=Job("serial", overwrite=True))
    assert all(path.read_text() == "mine" for path in mine)
    assert (
        files_of(study.folder).items()
        >= {
            name: value
            for name, value in files_of(finished.folder).items()
            if name != "report.html"  # which says the name of the folder
        }.items()
    )


def test_a_place_below_a_file(planted, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotFoundError, match=r"file/study.*Not a directory"):
        reconstruct(planted.source, tmp_path / "file" / "study", job=SERIAL)


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, and the function that changes it."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True
        )

    if os.geteuid() != 0 or mount("size=100k").returncode:
        pytest.skip("mounting a small disk needs the rights of root")
    yield place, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_named_and_with_more_room_it_goes_on(
    disk, planted, finished, files_of, tmp_path
):
    place, remount = disk
    said = []
    for kilobytes in range(100, 8000, 300):
        remount(f"size={kilobytes}k")
        try:
            study = reconstruct(planted.source, place / "study", job=SERIAL)
            break
        except StorageFullError as error:
            said.append(str(error))
    assert len(said) >= 4
    assert all("Free some space" in text for text in said)
    assert files_of(study.folder) == files_of(finished.folder)


def test_a_disk_that_cannot_be_written(disk, planted):
    place, remount = disk
    remount("ro")
    with pytest.raises(AccessDeniedError, match=r"disk/study.*Read-only file system"):
        reconstruct(planted.source, place / "study", job=SERIAL)
