"""The export of the published SmartSPIM notebook as one command, from a bucket to ITK."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
import zarr

from projectome.testing import replica_aind as aind
from projectome.testing.replica_parts import write

pytestmark = pytest.mark.server
BUCKET = "aind-open-data"
CHANNEL = f"{aind.SMART_STITCHED}/image_tile_fusing/OMEZarr/Ex_561_Em_593.zarr"
SHAPE = (464, 1280, 925)
"""Of level 3 in the published case."""
SPACING = (0.0144, 0.0144, 0.016)
ORIGIN = (13.3056, 18.4176, 7.408)
MARKS = {(0, 0, 0): 7, (7, 9, 8): 9, (3, 0, 5): 11}


@pytest.fixture
def golden(tmp_path, replicas):
    """A bucket with a channel of the published size, all but one chunk of which are missing."""
    bucket = tmp_path / "buckets" / BUCKET
    image = bucket / CHANNEL
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = []
    for level in range(5):
        shape = tuple(math.ceil(8 * n / 2**level) for n in SHAPE)
        array = zarr.create_array(
            str(image / str(level)),
            shape=(1, 1, *shape),
            chunks=(1, 1, 64, 128, 128),
            dtype="uint16",
            zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        if level == 3:
            for place, value in MARKS.items():
                array[(0, 0, *place)] = value
        scale = [1.0, 1.0, *(size * 2**level for size in (2.0, 1.8, 1.8))]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    write(image / ".zgroup", {"zarr_format": 2})
    content = {"name": "fused", "version": "0.4", "axes": axes, "datasets": datasets}
    write(image / ".zattrs", {"multiscales": [content]})
    acquisition = replicas / BUCKET / aind.SMART_RAW / "acquisition.json"
    write(bucket / aind.SMART_RAW / "acquisition.json", acquisition.read_bytes())
    return bucket.parent


def test_the_published_case(say, golden, serving_buckets, tmp_path):
    """Its first voxels, which ITK sees at the origin of the whole."""
    out = tmp_path / "first.nii.gz"
    with serving_buckets(golden) as server:
        at = "--endpoint", server.endpoint
        url = f"s3://{BUCKET}/{CHANNEL}"
        levels = say("info", url, "--json", *at).json["levels"]
        assert tuple(levels[3]["shape"]) == SHAPE
        said = say("convert", url, out, "--level", 3, "--box", "0:64px,0:80px,0:72px", *at)
        assert said.status == 0, said.err
    image = sitk.ReadImage(str(out))
    assert image.GetSize() == (9, 10, 8)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), SPACING, atol=1e-6)
    np.testing.assert_array_equal(image.GetDirection(), np.diag((-1, -1, -1)).ravel())
    expected = np.zeros((8, 10, 9), np.uint16)
    for place, value in MARKS.items():
        expected[place] = value
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected, strict=True)


@pytest.mark.parametrize("name", ["whole.nii.gz", "whole.nrrd"])
def test_a_whole_level_in_one_command(say, replicas, replica_buckets, tmp_path, name):
    """No voxel is moved; axes of the asset's acquisition run toward right, anterior, inferior."""
    path = f"{BUCKET}/{aind.SMART_STITCHED}/processed/OMEZarr/Ex_561_Em_593.zarr"
    at = "--endpoint", replica_buckets.endpoint
    out = tmp_path / name
    said = say("convert", f"s3://{path}", out, "--level", 3, "--json", *at)
    assert said.status == 0, said.err
    assert json.loads(said.out)["toward"] == ["inferior", "anterior", "right"]
    voxels = np.asarray(zarr.open_array(str(replicas / path / "3"), mode="r"))[0, 0]
    image = sitk.ReadImage(str(out))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels, strict=True)
    ends = (np.array(image.GetSize()) - 1) * SPACING
    np.testing.assert_allclose(image.GetOrigin(), ends, atol=1e-5)
    np.testing.assert_allclose(image.GetSpacing(), SPACING, atol=1e-6)
    np.testing.assert_array_equal(image.GetDirection(), np.diag((-1, -1, -1)).ravel())
