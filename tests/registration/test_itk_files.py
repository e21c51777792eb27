"""Transforms of ITK and ANTs, against SimpleITK."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.errors import FormatError, ParameterError, ProjectomeError
from projectome.io.volumes.nifti_write import write_nifti
from projectome.registration.frames import LPS, displacement_volume
from projectome.registration.itk_files import read_itk, read_itk_affine

sitk = pytest.importorskip("SimpleITK")
POINTS = np.random.default_rng(0).uniform(-5000, 5000, (20, 3))


def by_itk(transform, points):
    """Points (z, y, x) [um] through a transform of (x, y, z) [mm]."""
    return (
        np.array([transform.TransformPoint((p[::-1] / 1000).tolist())[::-1] for p in points]) * 1000
    )


def affine():
    made = sitk.AffineTransform(3)
    made.SetMatrix((1.02, 0.1, 0, -0.1, 0.97, 0.05, 0.02, 0, 1.1))
    made.SetTranslation((0.3, -0.2, 1.4))
    made.SetCenter((1.0, 2.0, -3.0))
    return made


def euler():
    made = sitk.Euler3DTransform()
    made.SetRotation(0.2, -0.3, 0.4)
    made.SetTranslation((0.3, -0.2, 1.4))
    made.SetCenter((1.0, 2.0, -3.0))
    return made


@pytest.mark.parametrize("made", [affine(), euler(), sitk.TranslationTransform(3, (1, 2, 3))])
@pytest.mark.parametrize("ending", [".tfm", ".mat"])
def test_linear_transforms_map_as_itk_does(tmp_path, made, ending):
    path = tmp_path / f"linear{ending}"
    sitk.WriteTransform(made, str(path))
    assert np.allclose(read_itk_affine(path)(POINTS), by_itk(made, POINTS), atol=1e-6)


def test_a_chain_of_an_inverted_affine_and_a_warp(tmp_path):
    linear = tmp_path / "0GenericAffine.mat"
    sitk.WriteTransform(affine(), str(linear))
    # A grid whose axes lie otherwise than LPS, as in files of ANTs with a direction.
    grid = np.eye(4)
    grid[:3, :3] = np.array([[0, -900, 0], [800, 0, 0], [0, 0, -1000]])
    grid[:3, 3] = (5000, -6000, 6000)
    shape = (12, 14, 13)
    values = np.random.default_rng(1).normal(0, 200, (*shape, 3)).astype(np.float32)
    made = displacement_volume(values, Affine(grid, Affine.from_scale((1, 1, 1)).source, LPS))
    warp = tmp_path / "1Warp.nii.gz"
    write_nifti(made, str(warp))
    field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(warp), sitk.sitkVectorFloat64))
    inner = Affine(grid, made.affine.source, LPS)(np.random.default_rng(2).uniform(1, 10, (20, 3)))
    expected = by_itk(field, by_itk(affine().GetInverse(), affine_of(inner)))
    chain = read_itk([linear, warp], inverted=[True, False])
    assert np.allclose(chain(affine_of(inner)), expected, atol=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_field_of_no_numbers_that_can_be_is_refused(tmp_path, value):
    field = np.zeros((2, 3, 4, 3), np.float32)
    field[1, 2, 3, 0] = value
    warp = sitk.GetImageFromArray(field, isVector=True)
    sitk.WriteImage(warp, str(tmp_path / "warp.nii.gz"))
    with pytest.raises(FormatError, match=r"not finite, or beyond 1e\+06 mm"):
        read_itk([tmp_path / "warp.nii.gz"])


def affine_of(points):
    """Where the affine takes points: its inverse brings them back onto the grid."""
    return by_itk(affine(), points)


def test_composites_and_other_kinds_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(FormatError, match="--disassemble"):
        read_itk_affine(tmp_path / "Composite.h5")
    path = tmp_path / "bspline.tfm"
    sitk.WriteTransform(sitk.BSplineTransform(3, 3), str(path))
    with pytest.raises(FormatError, match="displacement field"):
        read_itk_affine(path)
    with pytest.raises(ParameterError, match="at least one"):
        read_itk([])


@given(data=st.binary(max_size=400), mat=st.booleans())
def test_broken_files_are_errors_of_ours(tmp_path_factory, data, mat):
    path = tmp_path_factory.mktemp("broken") / "x.mat"
    head = struct.pack("<5i", 0, 12, 1, 0, 20) if mat else b"#Insight Transform File V1.0\n"
    path.write_bytes(head + data)
    with pytest.raises(ProjectomeError):
        read_itk_affine(path)
