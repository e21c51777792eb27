"""Boxes, ranges, points and addresses as people type them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.cli.addresses import (
    address_of,
    parse_box,
    parse_point,
    parse_range,
    read_options,
    source_of,
)
from projectome.cli.options import FileOptions, StoreOptions, VolumeOptions
from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import ParameterError, ShapeError

VOLUME = Volume.from_array(
    np.zeros((10, 20, 30)), voxel_size=(5, 2, 2), translation=(100, 0, 50), name="scan"
)
WHOLE = Box((0, 0, 0), (10, 20, 30))


@st.composite
def voxel_boxes(draw):
    corners = [
        sorted(draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in (10, 20, 30)
    ]
    return Box(tuple(a for a, _ in corners), tuple(b for _, b in corners))


@given(voxel_boxes())
def test_a_box_in_voxels_is_itself(box):
    text = ",".join(f"{a}:{b}px" for a, b in zip(box.start, box.stop, strict=True))
    assert parse_box(text, VOLUME) == box


@given(voxel_boxes())
def test_a_box_in_micrometres_holds_the_centres_in_it(box):
    low, high = VOLUME.affine([box.start, box.stop])
    text = ",".join(f"{a}:{b}" for a, b in zip(low, high, strict=True))
    assert parse_box(text, VOLUME) == box


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (":,:,:", WHOLE),
        ("0:9999px,:,:", WHOLE),
        ("100:110,:,:", Box((0, 0, 0), (2, 20, 30))),
        (":,:0.5,:", Box((0, 0, 0), (10, 1, 30))),
        (":,-3:0.1,:", Box((0, 0, 0), (10, 1, 30))),
        (" 2:px , : ,1e1:2e1px", Box((2, 0, 10), (10, 20, 20))),
    ],
)
def test_boxes(text, box):
    assert parse_box(text, VOLUME) == box


@pytest.mark.parametrize("text", ["1:2", "1,2,3", "a:b,:,:", "3:2,:,:", "2:2px,:,:", "-:5,:,:"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(ParameterError, match=r"z0:z1|A:B|ends after"):
        parse_box(text, VOLUME)


def test_an_empty_box_names_what_there_is():
    with pytest.raises(ShapeError, match=r"No voxel of scan .* it has the voxels"):
        parse_box("0:50,:,:", VOLUME)
    with pytest.raises(ShapeError, match="No voxel"):
        parse_box("50:60px,:,:", VOLUME)


def test_ranges_in_micrometres_and_voxels():
    assert parse_range(None, VOLUME, "z") == (None, None)
    assert parse_range("100:110.5", VOLUME, "z") == (100, 110.5)
    assert parse_range(":-4", VOLUME, "y") == (None, -4)
    assert parse_range("1:3px", VOLUME, "z") == (102.5, 112.5)
    assert parse_range("5:px", VOLUME, "x") == (59, None)
    with pytest.raises(ParameterError, match="A:B"):
        parse_range("5", VOLUME, "x")


def test_points():
    assert parse_point("1, 2.5,3", VOLUME) == (1, 2.5, 3)
    assert parse_point("1,2,3px", VOLUME) == (105, 4, 56)
    for wrong in ("1,2", "1,2,x", ""):
        with pytest.raises(ParameterError, match="3 numbers"):
            parse_point(wrong, VOLUME)


def test_an_address_gets_the_bucket_it_lacks(monkeypatch):
    monkeypatch.delenv("PROJECTOME_BUCKET", raising=False)
    named = StoreOptions(bucket="lab")
    assert address_of("s3:///brain/a.zarr", named) == "s3://lab/brain/a.zarr"
    assert address_of("zarr://gs:///a", named) == "zarr://gs://lab/a"
    for whole in ("s3://other/a", "/data/brain.tif", "https://host/a", "brain"):
        assert address_of(whole, named) == whole
    with pytest.raises(ParameterError, match="config set bucket"):
        address_of("s3:///a", StoreOptions())
    monkeypatch.setenv("PROJECTOME_BUCKET", "mine")
    assert address_of("s3:///a", StoreOptions()) == "s3://mine/a"


def test_sources_carry_what_the_user_said():
    said = VolumeOptions(
        voxel_size=(1.0, 2.0, 3.0), orientation="psl", meaning="from", channel="1", bucket="lab"
    )
    source = source_of("s3:///a", said)
    assert source.url == "s3://lab/a"
    assert (source.level, source.channel, source.voxel_size) == (0, "1", (1, 2, 3))
    assert (source.orientation, source.meaning) == ("psl", "from")
    assert source_of("a", VolumeOptions(level=2)).level == 2
    with pytest.raises(ParameterError, match="go together"):
        read_options(FileOptions(meaning="toward"))
