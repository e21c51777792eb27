"""Transforms of published recordings, on made-up ones of which every number is known."""

import numpy as np
import pytest

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Pyramid, Volume
from projectome.errors import FormatError, OrientationUnknownError, ParameterError
from projectome.io.open import open_volume
from projectome.io.volumes.nifti_write import write_nifti
from projectome.registration.aind import (
    CCF,
    ccf_grid,
    exaspim_frame,
    published_transform,
    smartspim_frame,
)
from projectome.registration.frames import LPS, displacement_volume

sitk = pytest.importorskip("SimpleITK")
SCAN = Space("scan", toward=("right", "posterior", "superior"))
SHAPE = (64, 48, 80)


def recording(size=(2.0, 1.8, 1.8), space=SCAN, levels=4):
    """Levels of which each is half as fine as the one before, outer corners together."""
    return Pyramid(
        tuple(
            Volume.from_array(
                np.zeros([n >> k for n in SHAPE], np.uint8),
                voxel_size=np.array(size) * 2**k,
                translation=np.array(size) * (2**k - 1) / 2,
                space=space,
            )
            for k in range(levels)
        )
    )


def stub(size, directions, shape):
    """The image of the registered level as the pipeline saw it: SimpleITK does the geometry."""
    image = sitk.Image([int(n) for n in shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing([s / 1000 for s in size[::-1]])
    code = "".join(way[0].upper() for way in directions[::-1])
    image.SetDirection(sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.GetSize()])).reshape(3, -1).T
    places = np.array([image.TransformIndexToPhysicalPoint(list(map(int, c))) for c in corners])
    # The farthest to the right, in front, and above.
    anchor = places[np.lexsort((places[:, 2], -places[:, 1], -places[:, 0]))[-1]]
    image.SetOrigin((np.array([-1.5114, -1.5, 1.5]) - anchor).tolist())
    return image


@pytest.mark.parametrize("version", ["0.0.20", "0.0.33"])
@pytest.mark.parametrize("toward", [SCAN.toward, ("posterior", "left", "inferior")])
def test_smartspim_images_lie_where_their_pipeline_put_them(version, toward):
    image = recording(space=Space("scan", toward=toward))
    frame, problems = smartspim_frame(image, version)
    forced = {"superior": 16.0, "inferior": 16.0}
    size = image[3].voxel_size
    if version == "0.0.20":
        size = [forced.get(way, 14.4) for way in toward]
        assert "took voxels of" in problems[0].message
    seen = stub(size, toward, image[3].shape)
    index = np.random.default_rng(0).uniform(0, 47, (20, 3))
    coarse = (index + 0.5) / 8 - 0.5  # voxels of level 3
    expected = [
        seen.TransformContinuousIndexToPhysicalPoint(c[::-1].tolist())[::-1] for c in coarse
    ]
    assert np.allclose(frame(index) / 1000, expected, atol=1e-9)


def test_versions_that_were_not_verified_are_told():
    image = recording()
    for version, told in (("0.0.10", "is not known"), ("1.2", "is later than 0.0.34")):
        assert any(told in p.message for p in smartspim_frame(image, version)[1])
    with pytest.raises(ParameterError, match="code_version of 'Image importing'"):
        smartspim_frame(image, "the last one")
    with pytest.raises(ParameterError, match="has 2 levels"):
        smartspim_frame(recording(levels=2), "0.0.20")
    with pytest.raises(OrientationUnknownError):
        smartspim_frame(recording(space=Space("scan")), "0.0.20")


def ccf_field(shape, matrix, path, shift=(0.0, 0.0, 0.0)):
    """A constant field on the grid of the framework, coarse, as ANTs writes it."""
    grid = np.eye(4)
    grid[:3, :3] = matrix
    grid[:3, 3] = (700, -900, 300)
    values = np.zeros((*shape, 3), np.float32) + np.float32(shift)
    made = displacement_volume(values, Affine(grid, Affine.from_scale((1, 1, 1)).source, LPS))
    write_nifti(made, str(path))
    return str(path)


# Axes 0, 1, 2 of the file (k, j, i): 11.4 mm toward the right, 8 mm toward inferior, 13.2 mm
# toward posterior; its columns are steps in (z, y, x) of LPS.
ANATOMY = np.array([[0, -1000, 0], [0, 0, 1200], [-950, 0, 0.0]])


def open_field(path):
    return open_volume(path, asset=False)[0]


def test_the_framework_is_found_by_its_extent_and_header(tmp_path):
    path = ccf_field((12, 8, 11), ANATOMY, tmp_path / "warp.nii.gz")
    field = open_field(path)
    leave, problems = ccf_grid(field)
    assert leave.target == CCF
    assert not problems
    # Voxel (k, j, i) = (2, 3, 4): 4 steps of 1200 um from the front, 3 of 1000 from above, 2 of
    # 950 from the left.
    middle = np.array([700, -900, 300]) + ANATOMY @ (2, 3, 4)
    assert np.allclose(leave([middle]), [(4800, 3000, 1900)], atol=1e-3)


def test_a_header_that_names_other_axes_is_not_believed(tmp_path):
    wrong = np.diag([950.0, 1000.0, 1200.0])  # identity, as in the Allen's own files
    path = ccf_field((12, 8, 11), wrong, tmp_path / "warp.nii.gz")
    field = open_field(path)
    leave, problems = ccf_grid(field)
    assert "which the extents contradict" in problems[0].message
    middle = np.array([700, -900, 300]) + wrong @ (2, 3, 4)
    assert np.allclose(leave([middle]), [(4800, 3000, 1900)], atol=1e-3)
    other = ccf_field((12, 8, 9), wrong, tmp_path / "other.nii.gz")
    with pytest.raises(FormatError, match="does not lie on the grid of the common coordinate"):
        ccf_grid(open_field(other))


def test_points_pass_both_chains(tmp_path):
    """Affine and warp of each stage shift by known amounts; ITK's own files."""
    image = recording()
    frame, _ = smartspim_frame(image, "0.0.33")
    chains = []
    for name, move, warp in (("a", (0.1, 0.2, 0.3), (50, 0, 0)), ("b", (0, -0.1, 0), (0, 20, -30))):
        made = sitk.AffineTransform(3)
        made.SetTranslation(move)
        sitk.WriteTransform(made, str(tmp_path / f"{name}.mat"))
        field = ccf_field((12, 8, 11), ANATOMY, tmp_path / f"{name}.nii.gz", warp)
        chains.append([str(tmp_path / f"{name}.mat"), field])
    way, problems = published_transform(image, frame, *chains)
    assert not problems
    points = np.array([(30.0, 40, 50), (100, 20, 90)])
    index = image[0].affine.inverse()(points)
    # (z, y, x) of LPS: the affine maps are inverted, the warps added.
    moved = frame(index) - (300, 200, 100) + (50, 0, 0) - (0, -100, 0) + (0, 20, -30)
    expected = ccf_grid(open_field(chains[1][1]))[0](moved)
    assert np.allclose(way(points), expected, atol=0.01)
    assert np.allclose(way.inverse()(way(points)), points, atol=0.01)
    with pytest.raises(ParameterError, match="an affine map and an inverse warp"):
        published_transform(image, frame, chains[0][:1], chains[1])


@pytest.mark.parametrize("tile", ["tile_000000_ch_561.ims", "tile_x_0000_y_0000_z_0000_ch_488.ims"])
def test_exaspim_images_are_turned_and_sized_as_their_pipeline_did(tmp_path, tile):
    space = Space("gel", toward=("left", "superior", "anterior"), expansion=2.36)
    image = recording(size=(1.0, 0.748, 0.748), space=space)
    field = open_field(ccf_field((12, 8, 11), ANATOMY, tmp_path / "warp.nii.gz"))
    frame = exaspim_frame(image, tile, field)
    beta = tile.startswith("tile_000000")
    z, y, x = image[3].shape
    index = np.array([(5.0, 2.0, 7.0)])
    # The array turned by hand: (AP, SI, LR), anterior to posterior of the beta microscope.
    first = x - 1 - 7 if beta else 7
    second = y - 1 - 2 if beta else 2
    third = z - 1 - 5
    i, j, k = (ANATOMY[:, c] / np.linalg.norm(ANATOMY[:, c]) for c in (2, 1, 0))
    expected = np.array([700, -900, 300]) + 20.25 * first * i + 20.25 * second * j + 27 * third * k
    fine = 8 * (index + 0.5) - 0.5
    assert np.allclose(frame(fine), [expected], atol=1e-3)
