"""The folder of a registration, and that ITK comes to the same places."""

import json

import numpy as np
import pytest

from projectome.core.volume import Volume
from projectome.errors import FormatError, NotFoundError
from projectome.io.volumes.nifti_write import write_nifti
from projectome.registration.files import read_registration, write_registration
from projectome.registration.frames import to_lps


@pytest.fixture(scope="module")
def folder(tmp_path_factory, registered, known):
    place = tmp_path_factory.mktemp("registration")
    sure = np.full(registered.spread.shape, 7.5, np.float32)
    write_registration(registered, place, scan=known.scan, atlas=known.template, uncertainty=sure)
    return place


def test_what_is_read_maps_as_what_was_written(folder, registered, known):
    saved = read_registration(folder)
    assert saved.transform.source == known.scan.space
    assert saved.transform.target == known.atlas.space
    assert np.allclose(saved.transform(known.points), registered.transform(known.points), atol=1e-3)
    back = saved.transform.inverse()(known.goals)
    assert np.allclose(back, registered.transform.inverse()(known.goals), atol=1e-3)
    assert float(np.asarray(saved.uncertainty.read()).max()) == 7.5
    assert saved.uncertainty.space == known.scan.space


@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_itk_carries_points_to_the_same_places(folder, registered, known, way):
    sitk = pytest.importorskip("SimpleITK")
    field = sitk.ReadImage(str(folder / f"{way}.nii.gz"), sitk.sitkVectorFloat64)
    itk = sitk.DisplacementFieldTransform(field)
    ends = to_lps(known.scan), to_lps(known.template)
    if way == "forward":
        points, goals, (enter, leave) = known.points, registered.transform(known.points), ends
    else:
        points = known.goals
        goals, (leave, enter) = registered.transform.inverse()(points), ends
    seen = [itk.TransformPoint(p[::-1].tolist())[::-1] for p in enter(points) / 1000]
    assert np.abs(np.array(seen) * 1000 - leave(goals)).max() < 0.05


def test_itk_resamples_the_scan_as_we_do(folder, registered, known, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    from projectome.registration.carry import carry_volume

    images = {}
    for name, volume in (("scan", known.scan), ("atlas", known.template)):
        write_nifti(volume, str(tmp_path / f"{name}.nii"))
        images[name] = sitk.ReadImage(str(tmp_path / f"{name}.nii"))
    field = sitk.ReadImage(str(folder / "inverse.nii.gz"), sitk.sitkVectorFloat64)
    warped = sitk.Resample(
        sitk.Cast(images["scan"], sitk.sitkFloat32),
        images["atlas"],
        sitk.DisplacementFieldTransform(field),
        sitk.sitkLinear,
    )
    ours = carry_volume(
        Volume(known.scan.array, known.scan.affine, name="scan"),
        registered.transform,
        known.template.affine,
        known.template.shape,
    )
    theirs = sitk.GetArrayFromImage(warped)  # (z, y, x) of a file whose voxels did not move
    mine = np.asarray(ours.read(), np.float32)
    inner = (theirs > 0) & (mine > 0)
    assert inner.mean() > 0.5
    assert np.percentile(np.abs(theirs - mine)[inner], 99) <= 1.0  # ours are rounded


def test_a_folder_without_a_registration_names_the_verb(tmp_path):
    with pytest.raises(NotFoundError, match="projectome register"):
        read_registration(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version": 1}', '{"version": 9, "matrix": [], "source": 0, "target": 0}'],
)
def test_a_broken_affine_is_an_error_of_ours(tmp_path, text):
    (tmp_path / "affine.json").write_text(text)
    with pytest.raises(FormatError, match=r"affine\.json"):
        read_registration(tmp_path)


def test_the_affine_says_its_unit_and_spaces(folder):
    said = json.loads((folder / "affine.json").read_text())
    assert said["unit"] == "micrometer"
    assert said["source"]["toward"] == ["right", "superior", "anterior"]
    assert said["target"]["name"] == "phantom"
