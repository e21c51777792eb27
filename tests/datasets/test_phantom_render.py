"""Rendering: same bytes in any box, and the optics and the camera do what they say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projectome.core.box import BlockGrid, Box
from projectome.core.skeleton import AXON
from projectome.datasets.phantom import make_phantom
from projectome.datasets.phantom_image import Microscope, make_scene
from projectome.datasets.phantom_kernels import normal
from projectome.datasets.phantom_render import render

IDEAL = Microscope(
    electron=1e-9,
    read_noise=0.0,
    blur=0.0,
    texture=(0.0, 0.0),
    gain=0.0,
    vignetting=0.0,
    shadows=0.0,
)


def scene_of(phantom, microscope, neurons=None):
    return make_scene(
        phantom.anatomy,
        phantom.neurons if neurons is None else neurons,
        shape=phantom.shape,
        voxel_size=phantom.voxel_size,
        seed=phantom.seed,
        microscope=microscope,
    )


@pytest.fixture(scope="module")
def empty_tissue(tiny):
    """A cube of the deep brain without neurons, away from somata: mean, noisy."""
    return Box((60, 55, 40), (90, 75, 60))


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(*(st.integers(0, n - 1) for n in (144, 104, 144))),
    st.tuples(*(st.integers(1, 40) for _ in range(3))),
)
def test_any_box_has_the_bytes_of_the_whole(tiny, tiny_image, start, size):
    box = Box(start, tuple(a + n for a, n in zip(start, size, strict=True))) & tiny.image.box
    assert np.array_equal(tiny.image.read(box), tiny_image[box.slices])


@pytest.mark.parametrize("shape", [(144, 104, 7), (31, 33, 47)])
def test_blocks_of_any_shape_give_the_same_volume(tiny, tiny_image, shape):
    labels = tiny.labels.read()
    for block in BlockGrid(tiny.image.box, shape):
        assert np.array_equal(tiny.image.read(block.core), tiny_image[block.core.slices])
        assert np.array_equal(tiny.labels.read(block.core), labels[block.core.slices])


def test_same_seed_same_phantom_and_another_seed_another(tiny, tiny_image):
    again = make_phantom(size="tiny", seed=tiny.seed)
    other = make_phantom(size="tiny", seed=tiny.seed + 1)
    box = Box((40, 20, 30), (80, 60, 100))
    assert np.array_equal(again.image.read(box), tiny_image[box.slices])
    assert not np.array_equal(other.image.read(box), tiny_image[box.slices])
    assert not np.array_equal(
        other.neurons[0].skeleton.coordinates[0], tiny.neurons[0].skeleton.coordinates[0]
    )


def test_noise_is_standard_normal():
    values = np.asarray([normal(np.uint64(k)) for k in range(40_000)])
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(0, abs=0.02)
    assert np.quantile(values, 0.975) == pytest.approx(1.96, abs=0.06)


def test_shot_noise_grows_as_poisson_s_does(tiny, empty_tissue):
    quiet = render(scene_of(tiny, IDEAL, ()), empty_tissue).astype(float) - 100
    for electron in (4.0, 30.0):
        optics = replace(IDEAL, electron=electron)
        noisy = render(scene_of(tiny, optics, ()), empty_tissue).astype(float) - 100
        residual = noisy - quiet
        assert residual.mean() == pytest.approx(0, abs=0.2 * np.sqrt(electron))
        assert residual.var() == pytest.approx(electron * quiet.mean(), rel=0.05)


def test_read_noise_adds_its_own_variance(tiny, empty_tissue):
    quiet = render(scene_of(tiny, IDEAL, ()), empty_tissue).astype(float)
    noisy = render(scene_of(tiny, replace(IDEAL, read_noise=25.0), ()), empty_tissue)
    assert (noisy - quiet).std() == pytest.approx(25, rel=0.05)


def test_fusion_correlates_neighbouring_noise(tiny, empty_tissue):
    optics = Microscope()
    scenes = [
        scene_of(tiny, replace(optics, **noise), ())
        for noise in ({}, {"electron": 1e-9, "read_noise": 0.0})
    ]
    noise = np.subtract(*(render(scene, empty_tissue).astype(float) for scene in scenes))
    share = optics.blur
    expected = 2 * share * (1 - 2 * share) / ((1 - 2 * share) ** 2 + 2 * share**2)
    for axis in range(3):
        near = np.take(noise, range(noise.shape[axis] - 1), axis=axis)
        next_ = np.take(noise, range(1, noise.shape[axis]), axis=axis)
        assert np.corrcoef(near.ravel(), next_.ravel())[0, 1] == pytest.approx(expected, abs=0.05)


def test_a_thin_axon_is_as_wide_as_the_point_spread_function_and_as_bright_as_its_level(tiny):
    """Ideal optics on the one straight neurite of known place: its second moments are the PSF's."""
    neuron = tiny.neurons[0]
    x = np.arange(150.0, 420.0, 4.0)
    line = replace(
        neuron,
        skeleton=replace(
            neuron.skeleton,
            coordinates=np.stack([np.full_like(x, 280.0), np.full_like(x, 240.0), x], axis=1),
            parent=np.arange(len(x)) - 1,
            radius=np.full(len(x), 0.4, np.float32),
            kind=np.full(len(x), AXON, np.int32),
        ),
        brightness=np.ones(len(x), np.float32),
        level=20_000.0,
    )
    box = Box((55, 45, 70), (86, 76, 71))
    with_line, without = (
        render(scene_of(tiny, replace(Microscope(), **NO_NOISE), neurons), box).astype(float)
        for neurons in ((line,), ())
    )
    light = (with_line - without)[:, :, 0]
    assert light.max() == pytest.approx(20_000, rel=0.05)
    psf = Microscope().psf
    for axis, sigma in enumerate(psf):
        profile = light.sum(axis=1 - axis)
        at = np.arange(31)
        mean = (profile * at).sum() / profile.sum()
        assert mean == pytest.approx(15, abs=0.02)
        spread = (profile * (at - mean) ** 2).sum() / profile.sum()
        assert spread == pytest.approx(sigma**2 + 2 * Microscope().blur + 0.1**2 / 4, rel=0.05)


NO_NOISE = {
    "electron": 1e-9,
    "read_noise": 0.0,
    "texture": (0.0, 0.0),
    "gain": 0.0,
    "vignetting": 0.0,
    "shadows": 0.0,
}


def test_image_looks_like_a_cleared_brain(tiny, tiny_image):
    grey = tiny_image.astype(float)
    codes = tiny.anatomy.codes_on(tiny.image.affine, (0, 0, 0), tiny.shape)
    tissue = np.median(grey[codes > 0])
    outside = np.median(grey[(codes == 0) & (grey > 0)])
    assert 900 < tissue < 1500
    assert 100 < outside < 250
    axons = np.concatenate(
        [
            n.skeleton.coordinates[(n.skeleton.kind == AXON) & (n.brightness > 0.7)]
            for n in tiny.neurons
        ]
    )
    at = np.rint(axons / tiny.voxel_size).astype(int)
    assert np.median(grey[tuple(at.T)]) > tissue + 500
    somata = np.rint(tiny.somata.coordinates / tiny.voxel_size).astype(int)
    assert (grey[tuple(somata.T)] > 50_000).all()


def test_the_camera_saturates(tiny):
    box = Box(*(tuple((tiny.somata.coordinates[0] / 4 + d).astype(int)) for d in (-4, 5)))
    image = render(scene_of(tiny, replace(IDEAL, saturation=3000.0)), box)
    assert image.max() == 3000
    assert (image == 3000).sum() > 10


def test_edges_of_the_volume_are_zero_and_tiles_end_unevenly(small):
    image = small.image.read(Box((100, 0, 0), (101, *small.shape[1:])))[0]
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert not edge.any()
    assert image[10:-10, 10:-10].all()
    ends = [(view > 0).argmax(axis=0) for view in (image, image[::-1], image.T, image.T[::-1])]
    assert all(end[20:-20].min() >= 2 for end in ends)
    assert max(len(np.unique(end[20:-20])) for end in ends) == 2
    assert not small.image.read(Box((0, 0, 0), (2, *small.shape[1:]))).any()


def test_tiles_differ_in_gain_and_shadows_are_stripes(small):
    box = Box((90, 20, 20), (130, small.shape[1] - 20, small.shape[2] - 20))
    plain = render(scene_of(small, IDEAL, ()), box).astype(float) - 100
    tissue = plain > 300
    seams = render(scene_of(small, replace(IDEAL, gain=0.2), ()), box).astype(float) - 100
    ratio = np.where(tissue, seams, 0) / np.where(tissue, plain, 1)
    gains = np.unique(np.round(ratio[tissue], 2))
    assert 4 <= len(gains) <= 12  # four tiles; rounding to whole grey values
    half = small.shape[2] // 2 - 20
    assert ratio[tissue & (np.arange(tissue.shape[2]) < half)].std() > 0.005
    stripes = render(scene_of(small, replace(IDEAL, shadows=1500.0), ()), box).astype(float) - 100
    ratio = np.where(tissue, stripes, 0) / np.where(tissue, plain, 1)
    assert ratio[tissue].min() < 0.9
    # A shadow runs along x: within a half, one value a row.
    rows = np.where(tissue, ratio, np.nan)[:, :, half - 30 : half]
    rows = rows[~np.isnan(rows).any(axis=2)]
    assert rows.std(axis=1).max() < 0.01 < rows.mean(axis=1).std()


def test_labels_hold_every_neuron_and_follow_its_centre_line(tiny):
    labels = tiny.labels.read()
    assert labels.dtype == np.uint32
    assert set(np.unique(labels)) == {0, *(n.id for n in tiny.neurons)}
    for neuron in tiny.neurons:
        at = np.rint(neuron.skeleton.coordinates / tiny.voxel_size).astype(int)
        assert (labels[tuple(at.T)] == neuron.id).mean() > 0.97
        assert (labels[tuple(at.T)] > 0).all()
    assert (labels > 0).mean() < 0.01


def test_template_is_smooth_and_follows_the_annotation(tiny):
    template = tiny.atlas.template.read().astype(float)
    regions = tiny.atlas.annotation.read()
    assert template[regions == 0].mean() < 0.5 * template[regions > 0].mean()
    tree = tiny.atlas.terminology
    ventricle = np.isin(regions, tree.descendants("VS"))
    cortex = np.isin(regions, tree.descendants("Isocortex"))
    assert template[ventricle].mean() < 0.75 * template[cortex].mean()
