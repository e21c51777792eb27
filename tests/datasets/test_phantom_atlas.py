import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.affine import Affine
from projectome.datasets.phantom_atlas import SPACE, Anatomy
from projectome.datasets.phantom_regions import DEEP, SHEET, area_codes, flatmap, region_ids

BRAIN = Anatomy((500.0, 300.0, 420.0), (480.0, 280.0, 400.0))
CALLOSUM = [DEEP.index(name) + 1 for name in ("ccg", "ccb", "ccs")]


@pytest.fixture(scope="module")
def grid():
    affine = Affine.from_scale((10.0, 10.0, 10.0), (5.0, 5.0, 5.0), target=SPACE)
    return affine, BRAIN.codes_on(affine, (0, 0, 0), (100, 60, 84))


def test_grid_and_points_agree(grid):
    affine, codes = grid
    index = np.random.default_rng(0).integers(0, codes.shape, (500, 3))
    assert np.array_equal(BRAIN.codes_at(affine(index)), codes[tuple(index.T)])


def test_a_part_of_the_grid_is_the_same_as_the_whole(grid):
    affine, codes = grid
    part = BRAIN.codes_on(affine, (30, -4, 20), (9, 12, 31))
    assert np.array_equal(part[:, 4:], codes[30:39, 0:8, 20:51])
    assert not part[:, :4].any()


def test_every_region_is_there_and_the_volume_is_mostly_brain_inside_its_extent(grid):
    _, codes = grid
    assert set(np.unique(region_ids()[codes])) >= set(region_ids().tolist())
    assert 0.3 < (codes > 0).mean() < 0.6


def test_hemispheres_mirror_each_other(grid):
    _, codes = grid  # the midline runs between voxels 41 and 42
    assert np.array_equal(codes[:, :, :42], codes[:, :, 83:41:-1])


def test_right_is_where_x_increases():
    assert BRAIN.midline.hemisphere([[500, 300, 300], [500, 300, 500]]).tolist() == [1, 2]
    assert SPACE.toward == ("posterior", "inferior", "right")


def test_brain_is_one_piece_of_tissue_closed_to_the_border(grid):
    _, codes = grid
    for axis in range(3):
        assert not np.take(codes, (0, -1), axis=axis).any()


@given(
    side=st.sampled_from((-1, 1)),
    theta=st.floats(8, 120),
    s=st.floats(-0.6, 0.6),
    depth=st.floats(0.05, 0.95),
)
def test_cortical_coordinates_lead_to_the_area_of_the_flat_map(side, theta, s, depth):
    code = BRAIN.codes_at(BRAIN.place(side, theta, s, depth))[0]
    area = SHEET[flatmap()[int(theta + 1e-9), int(100 * (s + 1) + 1e-9)]]
    near_border = len(
        {
            int(a)
            for a in flatmap()[
                max(0, int(theta) - 1) : int(theta) + 2, int(100 * s) + 99 : int(100 * s) + 102
            ].ravel()
        }
    )
    assert near_border > 1 or code in area_codes(area)


@given(theta=st.floats(0, 70), s=st.floats(-0.6, 0.6), depth=st.floats(1.05, 1.9))
def test_white_matter_above_is_callosum_and_joins_the_hemispheres(theta, s, depth):
    assert BRAIN.codes_at(BRAIN.place(1, theta, s, depth))[0] in CALLOSUM


def test_layers_follow_one_another_from_the_pia():
    theta, s = BRAIN.area_of("SSp", np.random.default_rng(0))
    codes = BRAIN.codes_at(BRAIN.place(1, theta, s, np.linspace(0.02, 0.98, 60))).astype(int)
    assert (np.diff(codes) >= 0).all()
    assert set(codes) == set(area_codes("SSp"))


def test_random_columns_keep_away_from_borders():
    rng = np.random.default_rng(1)
    for area in SHEET:
        theta, s = BRAIN.area_of(area, rng)
        assert flatmap()[int(theta), int(100 * (s + 1))] == SHEET.index(area)
