"""Levels against their definition, computed by brute force with exact fractions."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from projectome.core.affine import Affine
from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.io.volumes.pyramid import downsample, plan_levels
from projectome.io.volumes.write import create_volume, write_volume

FACTORS = st.tuples(*[st.sampled_from((1, 2))] * 3)
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


def covered(array, factors):
    """Yield each coarse index with the list of the fine voxels that exist there."""
    shape = [-(-n // f) for n, f in zip(array.shape, factors, strict=True)]
    for index in np.ndindex(*shape):
        box = tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))
        yield index, array[box].ravel().tolist()


@given(st.data(), st.sampled_from(INTEGERS), SHAPES, FACTORS)
def test_integers_are_the_exact_mean_rounded_half_to_even(data, dtype, shape, factors):
    array = data.draw(hnp.arrays(dtype, shape))
    coarse = downsample(array, factors)
    assert coarse.dtype == array.dtype
    for index, values in covered(array, factors):
        assert int(coarse[index]) == round(Fraction(sum(values), len(values)))


@given(st.data(), st.sampled_from(("float32", "float64")), SHAPES, FACTORS)
def test_floating_point_stays_floating_point(data, dtype, shape, factors):
    width = 32 if dtype == "float32" else 64
    values = st.floats(-1e6, 1e6, width=width)
    array = data.draw(hnp.arrays(dtype, shape, elements=values))
    coarse = downsample(array, factors)
    assert coarse.dtype == array.dtype
    for index, inside in covered(array, factors):
        mean = sum(map(Fraction, inside)) / len(inside)
        assert coarse[index] == pytest.approx(
            float(mean), rel=1e-6, abs=1e6 * float(np.finfo(dtype).eps)
        )


@given(st.data(), st.sampled_from(("uint8", "uint32", "uint64", "int32")), SHAPES, FACTORS)
def test_labels_are_the_most_frequent_of_several_the_smallest(data, dtype, shape, factors):
    ids = [0, 1, 2, np.iinfo(dtype).max, np.iinfo(dtype).max - 1]
    array = data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from(ids)))
    coarse = downsample(array, factors, kind="labels")
    assert coarse.dtype == array.dtype
    for index, inside in covered(array, factors):
        count = Counter(inside)
        assert int(coarse[index]) == min(count, key=lambda v: (-count[v], v))


def test_no_level_gets_darker():
    values = np.random.default_rng(0).poisson(100, (64, 64, 64)).astype(np.uint16)
    coarse = values
    for _ in range(4):
        coarse = downsample(coarse, 2)
    assert coarse.mean() == pytest.approx(values.mean(), abs=0.05)


def factors_of(shape, voxel_size, levels=None):
    planned = plan_levels(shape, Affine.from_scale(voxel_size), levels=levels)
    return [level.factors for level in planned[1:]]


@pytest.mark.parametrize(
    ("shape", "voxel_size", "factors"),
    [
        ((65, 1, 1), (1, 1, 1), [(2, 1, 1)]),
        ((64, 64, 64), (1, 1, 1), []),
        ((100, 500, 500), (4, 1, 1), [(1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ((130, 130, 130), (1.0, 0.748, 0.748), [(2, 2, 2), (2, 2, 2)]),
        ((130, 130, 130), (1.5, 1, 1), [(1, 2, 2), (2, 2, 2), (2, 2, 2)]),
        # A single plane cannot be halved; its thickness does not hold the others up.
        ((1, 200, 200), (0.5, 1, 1), [(1, 2, 2), (1, 2, 2)]),
    ],
)
def test_fine_axes_are_halved_first(shape, voxel_size, factors):
    assert factors_of(shape, voxel_size) == factors


@given(
    st.tuples(*[st.integers(1, 3000)] * 3),
    st.tuples(*[st.floats(0.05, 50)] * 3),
    st.tuples(*[st.floats(-1e4, 1e4)] * 3),
)
def test_levels_cover_the_same_place(shape, voxel_size, translation):
    planned = plan_levels(shape, Affine.from_scale(voxel_size, translation))
    assert max(planned[-1].shape) <= 64
    begin = planned[0].affine([-0.5] * 3)
    for fine, coarse in pairwise(planned):
        # Voxel 0 begins where the finest voxel 0 begins: translations are centres.
        assert coarse.affine([-0.5] * 3) == pytest.approx(begin, rel=1e-9, abs=1e-6)
        ratio = np.asarray(coarse.affine.voxel_size) / fine.affine.voxel_size
        assert ratio == pytest.approx(coarse.factors)
        assert coarse.shape == tuple(
            -(-n // f) for n, f in zip(fine.shape, coarse.factors, strict=True)
        )
        halved = [v for v, f in zip(fine.affine.voxel_size, coarse.factors, strict=True) if f == 2]
        left = [
            v
            for v, f, n in zip(fine.affine.voxel_size, coarse.factors, fine.shape, strict=True)
            if f == 1 and n > 1
        ]
        assert all(big > 1.414 * small for big in left for small in [min(halved)])


def test_the_second_level_lies_half_a_voxel_further_on():
    planned = plan_levels((8, 8, 8), Affine.from_scale((4, 1, 1), (10, 20, 30)), levels=4)
    assert [level.affine.translation for level in planned] == [
        (10, 20, 30),
        (10, 20.5, 30.5),
        (10, 21.5, 31.5),
        (12, 23.5, 33.5),
    ]
    assert [level.affine.voxel_size for level in planned] == [
        (4, 1, 1),
        (4, 2, 2),
        (4, 4, 4),
        (8, 8, 8),
    ]


def test_there_is_an_end_to_levels():
    assert len(plan_levels((2, 2, 2), Affine.from_scale((1, 1, 1)), levels=2)) == 2
    with pytest.raises(ParameterError, match="at most 2"):
        plan_levels((2, 2, 2), Affine.from_scale((1, 1, 1)), levels=3)
    with pytest.raises(ParameterError, match="at least one level, not 0"):
        plan_levels((2, 2, 2), Affine.from_scale((1, 1, 1)), levels=0)


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize("shards", [None, (16, 16, 32)])
def test_stored_levels_are_those_of_the_whole(tmp_path, kind, shards):
    """Blocks of a level are made one by one, at odd edges too."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3 if kind == "labels" else 60000, (2, 37, 33, 51)).astype(np.uint16)
    volume = Volume.from_array(values, voxel_size=(2, 1, 1), kind=kind)
    url = str(tmp_path / "v.zarr")
    written = write_volume(
        volume, url, version="0.5", chunks=(8, 8, 8), shards=shards or (8, 8, 8), levels=4
    )
    group = zarr.open_group(url, mode="r")
    for k in range(1, 4):
        factors = [
            round(a / b)
            for a, b in zip(written[k].voxel_size, written[k - 1].voxel_size, strict=True)
        ]
        values = np.stack([downsample(channel, factors, kind=kind) for channel in values])
        assert np.array_equal(group[str(k)][:], values)
        assert np.array_equal(written[k].read(), values)


def test_progress_counts_all_voxels_of_the_coarser_levels(tmp_path):
    told = []
    writer = create_volume(
        str(tmp_path / "v.zarr"),
        shape=(200, 130, 130),
        dtype="uint8",
        affine=Affine.from_scale((1, 1, 1)),
    )
    writer.finish(lambda done, total: told.append((done, total)))
    assert told[-1] == (100 * 65 * 65 + 50 * 33 * 33, 100 * 65 * 65 + 50 * 33 * 33)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_what_was_not_written_is_zero(tmp_path):
    writer = create_volume(
        str(tmp_path / "v.zarr"), shape=(70,) * 3, dtype="int16", affine=Affine.from_scale((1,) * 3)
    )
    assert not any(level.read().any() for level in writer.finish())
