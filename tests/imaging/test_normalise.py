import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from projectome.core.box import Box
from projectome.core.volume import Volume
from projectome.errors import DataError, ParameterError, ShapeError
from projectome.imaging.normalise import (
    Normalisation,
    background_halo,
    estimate_normalisation,
    local_background,
    one_channel,
    sample_boxes,
)

UNIT = (1.0, 1.0, 1.0)


def volume_of(array, **options):
    return Volume.from_array(array, voxel_size=UNIT, **options)


def tissue(shape, *, level=1400, spread=150, seed=0):
    """Grey values around a level, a thousandth of them ten times brighter."""
    rng = np.random.default_rng(seed)
    values = rng.normal(level, spread, shape)
    values[rng.random(shape) < 0.002] = 10 * level
    return values.clip(1, 65535).astype(np.uint16)


@given(hnp.arrays(np.uint16, (2, 3, 4)), st.floats(-100, 60000), st.floats(0.01, 1e4))
def test_it_is_a_linear_map_in_float32(array, background, scale):
    before = array.copy()
    found = Normalisation(background, scale).apply(array)
    expected = (array.astype(np.float32) - np.float32(background)) / np.float32(scale)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(array, before)


def test_background_becomes_0_and_bright_voxels_1():
    volume = volume_of(tissue((80, 90, 100)))
    found = estimate_normalisation(volume)
    assert found.background == pytest.approx(1400, abs=10)
    assert found.background + found.scale == pytest.approx(14000, rel=0.01)
    assert np.median(found.apply(volume.read())) == pytest.approx(0, abs=0.01)


def test_padding_saturation_and_missing_numbers_do_not_count():
    plain = tissue((64, 64, 64))
    expected = estimate_normalisation(volume_of(plain))
    spoilt = plain.copy()
    spoilt[:20] = 0
    spoilt[20:25] = 65535
    found = estimate_normalisation(volume_of(spoilt))
    assert found.background == pytest.approx(expected.background, rel=0.01)
    assert found.scale == pytest.approx(expected.scale, rel=0.05)
    spoilt = plain.astype(np.float32)
    spoilt[:20] = np.nan
    spoilt[20:25] = np.inf
    found = estimate_normalisation(volume_of(spoilt))
    assert found.background == pytest.approx(expected.background, rel=0.01)


def test_it_does_not_depend_on_how_the_volume_is_read():
    array = tissue((70, 40, 100))
    assert estimate_normalisation(volume_of(array)) == estimate_normalisation(volume_of(array))
    channels = np.stack([np.zeros_like(array), array])
    volume = volume_of(channels, channels=("empty", "signal"))
    expected = estimate_normalisation(volume_of(array))
    assert estimate_normalisation(volume, channel="signal") == expected
    assert estimate_normalisation(volume, channel=1) == expected
    assert estimate_normalisation(volume_of(array[None])) == expected


@given(
    st.tuples(*[st.integers(1, 300)] * 3),
    st.sampled_from([8, 32]),
    st.integers(1, 6),
)
def test_samples_are_disjoint_inside_bounded_and_spread(shape, edge, an_axis):
    volume = volume_of(np.broadcast_to(np.uint8(1), shape))
    boxes = sample_boxes(volume, edge=edge, an_axis=an_axis)
    assert 1 <= len(boxes) <= an_axis**3
    assert len({box.start for box in boxes}) == len(boxes)
    for box in boxes:
        assert volume.box.covers(box)
        assert all(a % edge == 0 for a in box.start)
        assert max(box.shape) <= edge
    for axis, length in enumerate(shape):
        seen = {box.start[axis] for box in boxes}
        assert len(seen) == min(an_axis, -(-length // edge))
        # Their middle is the middle of the volume, within two boxes.
        assert abs(np.mean(sorted(seen)) + edge / 2 - length / 2) <= 2 * edge


def test_what_cannot_be_estimated_says_what_to_do():
    with pytest.raises(DataError, match="nothing but zeros and saturated voxels"):
        estimate_normalisation(volume_of(np.zeros((9, 9, 9), np.uint16)))
    with pytest.raises(DataError, match="almost everywhere 7, so that no scale"):
        estimate_normalisation(volume_of(np.full((9, 9, 9), 7, np.uint16)))
    with pytest.raises(ParameterError, match="above 50 and up to 100, not at 40"):
        estimate_normalisation(volume_of(tissue((9, 9, 9))), percentile=40)
    with pytest.raises(ParameterError, match="positive scale, not 3 and 0"):
        Normalisation(3, 0)
    two = volume_of(np.zeros((2, 4, 4, 4)), channels=("488", "561"), name="brain")
    with pytest.raises(ParameterError, match=r"brain has .* '488', '561'\. Pick one"):
        one_channel(two, None)
    with pytest.raises(ParameterError, match="edge and an_axis of 1 or more"):
        sample_boxes(two, edge=0)


def test_the_local_background_follows_gradients_and_ignores_lines():
    shape = (60, 80, 70)
    _, y, x = np.indices(shape)
    slow = (1000 + 4 * y + 2 * x).astype(np.float32)
    image = slow.copy()
    image[::7, ::7] += 5000
    found = local_background(image, (12, 16, 14))
    inside = (slice(6, -6), slice(8, -8), slice(7, -7))  # constant beyond the outermost centres
    np.testing.assert_allclose(found[inside], slow[inside], atol=12)
    assert np.abs(found - slow).max() < 4 * 8 + 2 * 7 + 12


def test_by_the_definition_in_one_cell_and_between_two():
    image = np.zeros((1, 1, 8), np.uint8)
    image[0, 0] = [1, 3, 9, 0, 5, 5, 7, 0]
    assert local_background(image, 8)[0, 0].tolist() == [5.0] * 8
    found = local_background(image, (1, 1, 4))[0, 0]
    # Medians 3 and 5 at the centres 1.5 and 5.5.
    np.testing.assert_allclose(found, np.interp(range(8), [1.5, 5.5], [3, 5]), rtol=1e-6)


@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(0, 20)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
)
def test_blocks_equal_the_whole_to_the_bit(cell, start, extent):
    image = np.random.default_rng(3).integers(0, 900, (31, 27, 33)).astype(np.uint16)
    volume = volume_of(image)
    core = Box(start, tuple(np.add(start, extent))) & volume.box
    read = core.grow(background_halo(cell)) & volume.box
    part = local_background(volume.read(read), cell, origin=read.start)
    whole = local_background(image, cell)
    np.testing.assert_array_equal(part[core.slices_in(read.start)], whole[core.slices])


def test_wrong_calls_say_what_to_do():
    with pytest.raises(ParameterError, match="at least one voxel"):
        local_background(np.ones((3, 3, 3)), 0)
    with pytest.raises(ShapeError, match=r"\(z, y, x\), not the shape \(3, 3\)"):
        local_background(np.ones((3, 3)), 4)
    assert local_background(np.ones((0, 3, 3)), 4).shape == (0, 3, 3)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "background", "top"),
    [
        ("trailmap/training_original_volume_101x120x120.tif", 1868, 14049),
        ("cellfinder/detection_crop_planes_ch0.tif", 208, 1697),
        ("brainreg/brain_270x193x271.tif", 9, 569),
    ],
)
def test_real_samples_tell_what_the_whole_tells(data, name, background, top):
    """The figures are the median and the 99.9th percentile of all voxels above 0."""
    found = estimate_normalisation(volume_of(tifffile.imread(data / name)))
    assert found.background == pytest.approx(background, rel=0.15)
    assert found.scale == pytest.approx(top - background, rel=0.15)
