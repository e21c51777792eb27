"""Images that ngff-zarr wrote, with orientation and as one file, read as it meant them."""

from dataclasses import replace

import numpy as np
import pytest

from projectome.io.open import open_volume

nz = pytest.importorskip("ngff_zarr", reason="no ngff-zarr: pip install ngff-zarr")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own, and those of what it uses

SHAPE = (10, 12, 14)
TOWARD = {
    "LPS": ("superior", "posterior", "left"),
    "RAS": ("superior", "anterior", "right"),
}


def written(place, version, orientation):
    """Write an image with voxels of 2, 0.5 and 0.25 um at (10, 20, 30) um; return its voxels."""
    voxels = np.random.default_rng(0).integers(0, 2**16, SHAPE, dtype="uint16")
    image = nz.to_ngff_image(
        voxels,
        dims=("z", "y", "x"),
        scale={"z": 2.0, "y": 0.5, "x": 0.25},
        translation={"z": 10.0, "y": 20.0, "x": 30.0},
        axes_units=dict.fromkeys("zyx", "micrometer"),
    )
    image = replace(image, axes_orientations=getattr(nz.rfc4, orientation))
    nz.to_ngff_zarr(str(place), nz.to_multiscales(image, scale_factors=[]), version=version)
    return voxels


@pytest.mark.parametrize("orientation", sorted(TOWARD))
@pytest.mark.parametrize(
    ("version", "name"),
    [("0.4", "v.zarr"), ("0.5", "v.zarr"), ("0.5", "v.ozx"), ("0.6", "v.zarr"), ("0.6", "v.ozx")],
)
def test_what_ngff_zarr_writes(tmp_path, version, name, orientation):
    voxels = written(tmp_path / name, version, orientation)
    pyramid = open_volume(str(tmp_path / name))
    assert pyramid.metadata["version"] == version
    assert pyramid.space.toward == TOWARD[orientation]
    np.testing.assert_allclose(pyramid[0].voxel_size, (2.0, 0.5, 0.25))
    np.testing.assert_allclose(pyramid[0].affine.translation, (10, 20, 30))
    np.testing.assert_array_equal(pyramid[0].read(), voxels, strict=True)
