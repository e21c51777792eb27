"""register, orient and transform from files to files, as the command line calls them."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from projectome.cli.main import main
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.datasets.phantom import make_phantom
from projectome.errors import DataError, OrientationUnknownError, OutputExistsError, ParameterError
from projectome.io.open import open_volume
from projectome.io.skeletons import read_skeletons, write_skeletons
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.registration.align import Recipe
from projectome.registration.files import read_registration
from projectome.workflows.register import orient_volume, register
from projectome.workflows.transform import transform

QUICK = Recipe(iterations=30, samples=1000, repeats=1)


@pytest.fixture(scope="module")
def atlas():
    return make_phantom(size="tiny", neurons=1).atlas


@pytest.fixture(scope="module")
def scan(atlas, tmp_path_factory):
    """The template, shifted by (16, 0, -8) um and displayed otherwise, as a file."""
    image = np.asarray(atlas.template.read(), np.float32)
    moved = ndimage.shift(image, (2, 0, -1), order=0)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    grey = np.clip(150 * np.sqrt(moved / image.max()) + noise + 20, 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("scan") / "scan.ome.zarr"
    space = Space("scan", toward=atlas.space.toward)
    write_volume(Volume.from_array(grey, voxel_size=(8, 8, 8), space=space), str(path))
    return VolumeSource(str(path))


@pytest.fixture(scope="module")
def folder(scan, atlas, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "registration"
    register(scan, atlas, out, recipe=QUICK, check_orientation=False)
    return out


def test_writes_transforms_quality_and_figures(folder):
    names = {path.name for path in folder.iterdir()}
    fields = {"forward.ome.zarr", "inverse.ome.zarr", "forward.nii.gz", "inverse.nii.gz"}
    assert fields | {"affine.json", "quality.json", "uncertainty.ome.zarr", "figures"} == names
    pictures = {path.stem for path in (folder / "figures").iterdir()}
    assert pictures == {"before", "after", "checkerboard", "outlines", "field", "uncertainty"}
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["folded"] == 0
    assert quality["inverse_p95_um"] < 1
    assert quality["uncertainty_median_um"] > 0
    assert "as declared" in quality["scan_orientation"]["handedness"]


def test_points_come_to_the_atlas_with_regions_and_doubt_and_back(folder, atlas, tmp_path):
    points = tmp_path / "points.csv"
    rows = np.array([(300.0, 200, 250), (350, 220, 300), (250, 180, 280)])
    pd.DataFrame(rows, columns=["z_um", "y_um", "x_um"]).assign(id=[1, 2, 3]).to_csv(points)
    there = tmp_path / "there.parquet"
    done = transform(VolumeSource(str(points)), folder, "atlas", there, atlas=atlas)
    table = pd.read_parquet(there)
    found = table[["z_um", "y_um", "x_um"]].to_numpy()
    start = np.asarray(atlas.template.affine.translation)
    assert np.abs(found - (rows - (16, 0, -8) + start)).max() < 6
    assert done.count == 3
    assert (table["uncertainty_um"] > 0).all()
    assert table["regions"].str.contains(r"^\S+ [01]\.\d\d").all()
    back = tmp_path / "back.parquet"
    transform(VolumeSource(str(there)), folder, "scan", back)
    again = pd.read_parquet(back)[["z_um", "y_um", "x_um"]].to_numpy()
    assert np.abs(again - rows).max() < 1


def test_skeletons_and_volumes_are_carried_too(folder, scan, atlas, tmp_path):
    space = Space("scan", toward=atlas.space.toward)
    line = Skeleton([(300, 200, 200), (300, 200, 400)], [-1, 0], space)
    write_skeletons([line], tmp_path / "neuron.swc")
    source = VolumeSource(str(tmp_path / "neuron.swc"))
    done = transform(source, folder, "atlas", tmp_path / "moved.swc", step=10)
    assert done.kind == "skeletons"
    moved = read_skeletons(tmp_path / "moved.swc")[0].skeleton
    assert len(moved) == 21
    assert moved.cable_length == pytest.approx(200, rel=0.05)

    transform(scan, folder, "atlas", tmp_path / "warped.ome.zarr")
    warped = open_volume(str(tmp_path / "warped.ome.zarr"))[0]
    template = np.asarray(atlas.template.read(), float)
    index = np.argwhere(template > 0)[::97]
    at = warped.affine.inverse()(atlas.template.affine(index))
    seen = ndimage.map_coordinates(np.asarray(warped.read(), float), at.T, order=1)
    assert np.corrcoef(seen, np.sqrt(template[tuple(index.T)]))[0, 1] > 0.9


def test_files_of_another_space_are_refused(folder, tmp_path):
    other = Space("elsewhere", toward=("superior", "left", "anterior"))
    volume = Volume.from_array(np.zeros((9, 9, 9), np.uint8), voxel_size=(8, 8, 8), space=other)
    write_volume(volume, str(tmp_path / "other.ome.zarr"))
    with pytest.raises(DataError, match="Turn it round with --to"):
        transform(
            VolumeSource(str(tmp_path / "other.ome.zarr")), folder, "atlas", tmp_path / "x.ome.zarr"
        )
    with pytest.raises(ParameterError, match="--to atlas or --to scan"):
        transform(VolumeSource("x.csv"), folder, "moon", tmp_path / "x.csv")


def test_a_registration_that_is_there_is_not_replaced_by_chance(folder, scan, atlas):
    with pytest.raises(OutputExistsError, match="--overwrite"):
        register(scan, atlas, folder)


def test_a_wrong_statement_is_refused_with_a_picture(scan, atlas, tmp_path):
    wrong = VolumeSource(scan.url, orientation="ASR", meaning="toward")
    with pytest.raises(DataError, match="--orientation PIR --meaning toward"):
        register(wrong, atlas, tmp_path / "out", recipe=QUICK)
    assert (tmp_path / "out" / "orientation.png").is_file()


def test_orientation_is_found_and_handedness_asked_for(scan, atlas, tmp_path):
    plain = open_volume(scan.url)[0].with_space(Space("scan"))
    write_volume(plain, str(tmp_path / "plain.ome.zarr"))
    source = VolumeSource(str(tmp_path / "plain.ome.zarr"))
    with pytest.raises(OrientationUnknownError, match="--handedness"):
        orient_volume(source, atlas)
    found, stated = orient_volume(source, atlas, handedness="left")
    assert stated == (None, None, None)
    assert found.best.toward == atlas.space.toward
    assert found.sure


def test_a_size_off_by_the_expansion_factor_names_it(scan, atlas, tmp_path):
    gel = VolumeSource(scan.url, voxel_size=(32, 32, 32))
    with pytest.raises(DataError, match=r"--expansion (3|4)"):
        register(gel, atlas, tmp_path / "out", recipe=QUICK)


def test_the_command_line_says_what_it_did(scan, folder, tmp_path, capsys):
    points = tmp_path / "p.csv"
    points.write_text("id,z_um,y_um,x_um\n1,300,200,250\n")
    out = tmp_path / "o.csv"
    with pytest.raises(SystemExit) as left:
        main(f"transform {points} --with {folder} --to atlas --out {out} --json".split())
    assert not left.value.code
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "points"
    assert said["space"] == read_registration(folder).transform.target.name
