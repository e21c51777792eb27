import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projectome.segmentation.ridges import on_ridge, ridge_footprint, ridge_halo


@pytest.mark.parametrize(
    ("size", "halo"), [((1, 1, 1), (2, 2, 2)), ((4, 1, 1), (0, 3, 3)), ((2, 1, 1), (1, 2, 2))]
)
def test_the_reach_is_a_ball_in_micrometres(size, halo):
    inside = ridge_footprint(size)
    assert ridge_halo(size) == halo
    assert inside.shape == tuple(2 * n + 1 for n in halo)
    place = (np.indices(inside.shape).reshape(3, -1).T - halo) * size
    reach = 2 * np.prod(size) ** (1 / 3)
    expected = np.linalg.norm(place, axis=1) <= reach + 1e-6
    np.testing.assert_array_equal(inside.ravel(), expected)


@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_voxels_respond_a_share_of_the_strongest_within_reach(seed, share):
    values = np.random.default_rng(seed).integers(0, 255, (6, 7, 8), dtype=np.uint8)
    found = on_ridge(values, (1, 1, 1), share)
    response = values / (255.5 - values)
    for place in np.ndindex(values.shape):
        away = np.indices(values.shape).reshape(3, -1).T - place
        near = response.ravel()[(away**2).sum(axis=1) <= 4]
        ratio = response[place] - share * near.max()
        if abs(ratio) > 1e-9:  # ties are settled by rounding
            assert found[place] == (ratio > 0)


def test_the_halo_of_a_bright_neurite_goes_however_bright_it_is():
    z, y = np.ogrid[-6:7, -6:7]
    profile = np.exp(-(z**2 + y**2) / (2 * 1.5**2))
    widths = []
    for height in (2.0, 20.0, 200.0):
        response = height * np.repeat(profile[:, :, None], 9, axis=2)
        probability = np.rint(255 * response / (response + 1)).astype(np.uint8)
        widths.append(int(on_ridge(probability, (1, 1, 1), 0.25)[:, 6, 4].sum()))
        assert (probability[:, 6, 4] > 64).sum() >= widths[-1]
    assert max(widths) - min(widths) <= 2
