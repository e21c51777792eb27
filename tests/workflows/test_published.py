"""Assets with published transforms, made up in their layouts."""

import json

import numpy as np
import pandas as pd
import pytest

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.errors import FormatError, NotFoundError
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.nifti_write import write_nifti
from projectome.io.volumes.write import write_volume
from projectome.registration.aind import CCF
from projectome.registration.frames import LPS, displacement_volume
from projectome.workflows.published import open_registration
from projectome.workflows.transform import transform

sitk = pytest.importorskip("SimpleITK")
SPACE = Space("scan", toward=("right", "posterior", "superior"))
CHANNEL = "Ex_561_Em_593"
# Steps of the coarse grid of the framework along (k, j, i) in (z, y, x) of LPS [um].
GRID = np.array([[0, -1000, 0], [0, 0, 1200], [-950, 0, 0.0]])


def write_chain(folder, affine, warp, shift):
    folder.mkdir(parents=True, exist_ok=True)
    made = sitk.AffineTransform(3)
    made.SetTranslation(shift)
    sitk.WriteTransform(made, str(folder / affine))
    grid = np.eye(4)
    grid[:3, :3], grid[:3, 3] = GRID, (3000, -2000, 1500)
    values = np.zeros((12, 8, 11, 3), np.float32)
    field = displacement_volume(values, Affine(grid, Affine.from_scale((1, 1, 1)).source, LPS))
    write_nifti(field, str(folder / warp))


def write_image(path):
    volume = Volume.from_array(
        np.zeros((64, 48, 80), np.uint8), voxel_size=(2, 1.8, 1.8), space=SPACE
    )
    write_volume(volume, str(path), levels=4, chunks=(32, 32, 32))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    write_chain(
        folder, "to_ccf_0GenericAffine_25.mat", "to_ccf_1InverseWarp_25.nii.gz", (0.2, 0, 0)
    )
    return str(folder)


@pytest.fixture(scope="module")
def smartspim(tmp_path_factory):
    asset = tmp_path_factory.mktemp("assets") / "SmartSPIM_1_2024-01-01_00-00-00_stitched"
    write_chain(
        asset / "image_atlas_alignment" / CHANNEL, "ls_to_template_SyN_0GenericAffine.mat",
        "ls_to_template_SyN_1InverseWarp.nii.gz", (0, 0.1, 0),
    )  # fmt: skip
    write_image(asset / "image_tile_fusing" / "OMEZarr" / f"{CHANNEL}.zarr")
    steps = [
        {"name": "Image importing", "code_version": "0.0.28"},
        {"name": "Image atlas alignment", "input_location": f"/data/OMEZarr/{CHANNEL}.zarr"},
    ]
    pipeline = {"pipeline_version": "3.0.0", "data_processes": steps}
    (asset / "processing.json").write_text(json.dumps({"processing_pipeline": pipeline}))
    return asset


def test_a_smartspim_asset_is_a_registration(smartspim, template, tmp_path):
    saved, problems = open_registration(smartspim, template=template)
    assert saved.transform.target == CCF
    assert (
        saved.transform.source
        == open_volume(str(smartspim / "image_tile_fusing" / "OMEZarr" / f"{CHANNEL}.zarr"))[
            0
        ].space
    )
    assert any("took voxels of" in p.message for p in problems)  # 0.0.28 forced its own
    points = pd.DataFrame({"z_um": [50.0, 90], "y_um": [40.0, 60], "x_um": [30.0, 100]})
    points.to_csv(tmp_path / "p.csv", index=False)
    out = tmp_path / "ccf.parquet"
    done = transform(
        VolumeSource(str(tmp_path / "p.csv")), smartspim, "atlas", out, template=template
    )
    assert done.problems == problems
    there = pd.read_parquet(out)[["z_um", "y_um", "x_um"]].to_numpy()
    assert np.allclose(there, saved.transform(points.to_numpy()))
    # Steps of the image: its voxels count as 16, 14.4 and 14.4 um at level 3, and not as stated.
    step = np.diff(there, axis=0)[0]
    assert np.allclose(step, [14.4 * 20 / 14.4, -16 * 70 / 14.4, 14.4 * 40 / 16], atol=1e-3)
    transform(VolumeSource(str(out)), smartspim, "scan", tmp_path / "back.csv", template=template)
    back = pd.read_csv(tmp_path / "back.csv")[["z_um", "y_um", "x_um"]].to_numpy()
    assert np.allclose(back, points.to_numpy(), atol=0.01)


def test_an_exaspim_asset_needs_its_template(tmp_path, template):
    asset = tmp_path / "exaSPIM_1_2024-01-01_00-00-00_processed"
    write_chain(
        asset / "ccf_alignment" / "registration_metadata", "1_to_exaSPIM_SyN_0GenericAffine.mat",
        "1_to_exaSPIM_SyN_1InverseWarp.nii.gz", (0, 0.1, 0),
    )  # fmt: skip
    write_image(asset / "fused.zarr")
    with pytest.raises(FormatError, match="--template DIR"):
        open_registration(asset)
    (asset / "acquisition.json").write_text("{}")
    with pytest.raises(FormatError, match="names no tile"):
        open_registration(asset, template=template)
    tiles = [{"file_name": "tile_000000_ch_488.ims"}]
    (asset / "acquisition.json").write_text(json.dumps({"tiles": tiles}))
    saved, problems = open_registration(asset, template=template)
    assert "beta microscope" in problems[0].message
    ends = saved.transform(np.array([(0.0, 0, 0), (0, 0, 14.4)]))  # 8 voxels of the finest level
    assert np.linalg.norm(np.diff(ends, axis=0)) == pytest.approx(20.25, abs=1e-3)


def test_what_is_no_registration(tmp_path, smartspim):
    with pytest.raises(NotFoundError, match=r"no affine\.json"):
        open_registration(tmp_path)
    with pytest.raises(NotFoundError, match=r"has 0 files \*GenericAffine\*"):
        open_registration(smartspim, template=str(tmp_path))
