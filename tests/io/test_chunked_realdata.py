"""Chunked formats beside OME-Zarr, on public files."""

import numpy as np
import pytest

from projectome.core.box import BlockGrid
from projectome.errors import MetadataError, ParameterError
from projectome.io.open import open_volume
from projectome.io.volumes.precomputed_write import create_precomputed

pytestmark = pytest.mark.realdata
ATLAS = "brainglobe_v3/brainglobe-atlasapi/annotation-sets/real_mouse-annotation/3_0"


def test_info_of_an_atlas_without_scales(real):
    """Written from the arguments of a program, not from what they make: no viewer opens it."""
    with pytest.raises(MetadataError, match="fetch it again") as caught:
        open_volume(str(real / ATLAS / "annotations.precomputed"))
    wrong = {p.where for p in caught.value.problems if p.severity == "error"}
    assert wrong == {"scales"}


def test_level_of_an_image_opens_by_its_own_address(real):
    whole = open_volume(str(real / ATLAS / "annotations_compressed.ome.zarr"))[0]
    path = str(real / ATLAS / "annotations_compressed.ome.zarr/s0")
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(path)
    volume = open_volume(path, voxel_size=(100, 100, 100))[0]
    np.testing.assert_array_equal(volume.read(), whole.read())


def test_real_labels_survive_the_way_to_precomputed(real, tmp_path):
    """Modes of labels, offsets and directions; read back as they were."""
    whole = open_volume(str(real / ATLAS / "annotations_compressed.ome.zarr"))[0]
    writer = create_precomputed(
        str(tmp_path / "v"),
        shape=whole.shape,
        dtype=whole.dtype,
        affine=whole.affine,
        kind="labels",
    )
    for block in BlockGrid(whole.box, writer.block_multiple):
        writer.write(block.core, whole.read(block.core))
    copy = writer.finish()[0]
    np.testing.assert_array_equal(copy.read(), whole.read())
    assert copy.affine.isclose(whole.affine)
    assert copy.space.toward == whole.space.toward != (None, None, None)
