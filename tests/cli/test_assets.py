"""The facts of an asset as `info` shows them."""

import json

import numpy as np

import projectome


def test_info_shows_the_facts_of_the_asset_and_their_source(say, tmp_path):
    voxels = np.zeros((4, 4, 4), np.uint16)
    volume = projectome.Volume.from_array(voxels, voxel_size=(2.0, 1.8, 1.8))
    projectome.write_volume(volume, str(tmp_path / "scan.zarr"))
    ways = ("Left_to_right", "Posterior_to_anterior", "Superior_to_inferior")
    axes = [{"name": n, "direction": w} for n, w in zip("XYZ", ways, strict=True)]
    document = {"axes": axes, "subject_id": "6525\x1b[31m06"}
    (tmp_path / "acquisition.json").write_text(json.dumps(document))
    said = say("info", tmp_path / "scan.zarr")
    assert "z toward inferior, y toward anterior, x toward right" in said.out
    assert "acquisition.json: axes[0].direction" in said.out
    assert "6525?[31m06" in said.out
    found = say("info", tmp_path / "scan.zarr", "--json").json
    assert found["metadata"]["asset"]["taken"] == {"toward": ["inferior", "anterior", "right"]}
    without = say("info", tmp_path / "scan.zarr", "--asset", "none")
    assert "orientation  unknown" in without.out
    elsewhere = say("info", tmp_path / "scan.zarr", "--asset", tmp_path / "none.json")
    assert elsewhere.status == 1
    assert "none.json" in elsewhere.err
