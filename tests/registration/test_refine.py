"""The dense part of a fit, against brute force and known bends."""

import numba
import numpy as np
import pytest
from scipy import ndimage

from projectome.registration import refine
from projectome.registration.fit import Fit
from projectome.registration.refine import STEP, balanced, laid, pulls, refined, smoothed, unfolded


def texture(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return (image / image.std()).astype(np.float32)


def swell(places: np.ndarray, height: float) -> np.ndarray:
    """Return a smooth displacement (N, 3) around the voxel (20, 20, 20)."""
    near = np.exp(-(((places - 20) / 9) ** 2).sum(axis=1))
    return near[:, None] * height * np.array([1.0, -0.5, 0.3])


@pytest.fixture(scope="module")
def bent_pair():
    """A template, and the scan ``F(q) = M(q + u(q))`` of it, over which u swells by 1.6 voxels."""
    template = texture((40, 40, 40))
    places = np.indices(template.shape).reshape(3, -1).T.astype(float)
    at = places + swell(places, 1.6)
    scan = ndimage.map_coordinates(template, at.T, order=3, mode="nearest")
    return scan.reshape(template.shape).astype(np.float32), template


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (-0.7, 0.4)])
def test_a_bend_is_found_whatever_the_display_of_the_scan(bent_pair, gain, offset):
    scan, template = bent_pair
    inside = np.zeros(scan.shape, bool)
    inside[3:-3, 3:-3, 3:-3] = True
    start = Fit(np.eye(4))
    before = numba.get_num_threads()
    found = refined(
        start, scan * gain + np.float32(offset), template, 10.0, counts=inside, stiffness=1.0
    )
    assert numba.get_num_threads() == before
    places = np.argwhere(inside)[::37].astype(float)
    error = np.linalg.norm(found(places * 10) / 10 - places - swell(places, 1.6), axis=1)
    assert np.median(error) < 0.1
    assert error.max() < 0.5


def test_the_bend_goes_on_smoothly_where_nothing_is_seen(bent_pair):
    scan, template = (image.copy() for image in bent_pair)
    for image in (scan, template):
        image[16:25, 16:25, 16:25] = 0
    inside = np.ones(scan.shape, bool)
    found = refined(Fit(np.eye(4)), scan, template, 10.0, counts=inside, stiffness=1.0)
    middle = np.array([[20.0, 20, 20]])
    moved = (found(middle * 10) / 10 - middle)[0]
    assert np.abs(moved - (1.6, -0.8, 0.48)).max() < 0.5 * 1.6


def test_an_affine_map_stays_and_voxels_keep_their_places():
    turn = np.eye(4)
    turn[:3, :3] = np.diag([1.1, 0.9, 1.0])
    turn[:3, 3] = 2.0, -3.0, 0.5
    template = texture((36, 36, 36), 3)
    index = np.indices((30, 30, 30)).reshape(3, -1).T
    at = index @ turn[:3, :3].T + turn[:3, 3]
    scan = ndimage.map_coordinates(template, at.T, order=3, mode="nearest").reshape(30, 30, 30)
    scaled = turn.copy()
    scaled[:3, 3] *= 25.0
    inside = np.ones(scan.shape, bool)
    found = refined(
        Fit(scaled), scan.astype(np.float32), template, 25.0, counts=inside, stiffness=1.0
    )
    points = np.array([(10.0, 12, 14), (20, 9, 17)]) * 25
    assert np.array_equal(found.matrix, scaled)
    assert np.abs(found(points) - (points @ turn[:3, :3].T + scaled[:3, 3])).max() < 0.2 * 25


def test_a_scan_is_laid_where_the_map_says_and_counts_only_there():
    scan, counts = texture((12, 12, 12)), np.ones((12, 12, 12), bool)
    counts[:, :, :4] = False
    shift = np.eye(4)
    shift[:3, 3] = 5, -7, 2
    there, origin = laid(scan, counts, shift)
    corner = (np.array([5, -7, 2]) - origin).astype(int)
    part = there[tuple(slice(c, c + 12) for c in corner)]
    assert np.allclose(part[:, :, 4:], scan[:, :, 4:], atol=1e-6)
    assert np.isnan(part[:, :, :4]).all()
    assert all((n - 1) % STEP == 0 for n in there.shape)
    assert np.array_equal(np.isnan(smoothed(there, 1.0)), np.isnan(there))


def test_images_that_have_nothing_to_do_with_one_another_hold_little():
    from projectome.registration.refine import _gathered

    template = texture((33, 33, 33), 1)
    bend, origin = np.zeros((3, 9, 9, 9), np.float32), np.zeros(3)
    held = []
    for scan in (template, texture((33, 33, 33), 2)):
        sums = np.moveaxis(_gathered(scan, template, bend, origin), -1, 0)
        held.append(pulls(sums)[0][[0, 3, 5]].mean())
    assert held[1] < 0.02 * held[0]


def test_sums_around_nodes_are_those_of_brute_force():
    from projectome.registration.refine import _gathered

    rng = np.random.default_rng(0)
    template = texture((24, 24, 24))
    fixed = rng.normal(size=(9, 13, 9)).astype(np.float32)
    fixed[2, 3, 4] = np.nan
    nodes = (3, 4, 3)
    bend = rng.normal(0, 0.7, (3, *nodes)).astype(np.float32)
    origin = np.array([6.0, 5, 7])
    got = _gathered(fixed, template, bend, origin)
    want = np.zeros((*nodes, 3))
    index = np.argwhere(
        np.isfinite(fixed)
        & (np.indices(fixed.shape) < np.array(fixed.shape)[:, None, None, None] - 1).all(axis=0)
    )
    move = [ndimage.map_coordinates(b.astype(float), index.T / STEP, order=1) for b in bend]
    at = index + np.stack(move, axis=1) + origin
    seen = ndimage.map_coordinates(template.astype(float), at.T, order=1)
    for place, value in zip(index, seen, strict=True):
        for node in np.ndindex(*nodes):
            near = np.prod(np.maximum(0, 1 - np.abs(place / STEP - node)))
            own = fixed[tuple(place)]
            want[node] += near * np.array([1, own, own * value])
    assert np.allclose(got[..., [15, 16, 19]], want, atol=1e-4)


def test_the_balance_is_that_of_a_dense_solver(monkeypatch):
    monkeypatch.setattr(refine, "SOLVED", 1e-10)
    rng = np.random.default_rng(0)
    shape = (5, 4, 6)
    count = int(np.prod(shape))
    root = rng.normal(size=(count, 3, 3))
    whole = root @ root.transpose(0, 2, 1) + 0.5 * np.eye(3)
    tensor = whole.transpose(1, 2, 0)[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].reshape(6, *shape)
    force, bend = rng.normal(size=(2, 3, *shape))
    laplace = np.zeros((count, count))
    number = np.arange(count).reshape(shape)
    for axis in range(3):
        ends = [np.delete(number, i, axis=axis).ravel() for i in (-1, 0)]
        for a, b in (ends, ends[::-1]):
            laplace[a, a] += 1
            laplace[a, b] -= 1
    stiff = 2.0 * (laplace @ laplace + 1e-3 * laplace + 1e-6 * np.eye(count))
    system = np.kron(np.eye(3), stiff)
    for node in range(count):
        at = node + count * np.arange(3)
        system[np.ix_(at, at)] += whole[node]
    held = np.einsum("nij,jn->in", whole, bend.reshape(3, -1)).ravel()
    want = np.linalg.solve(system, force.ravel() + held).reshape(3, *shape)
    images = (part.astype(np.float32) for part in (tensor, force, bend))
    assert np.abs(balanced(*images, 2.0, 1) - want).max() < 1e-3


def test_a_bend_that_folds_is_smoothed_there_and_nowhere_else():
    bend = np.random.default_rng(0).normal(0, 0.1, (3, 16, 16, 16)).astype(np.float32)
    bend[0, 8, 8, 8] = 3 * STEP
    along = np.gradient(bend[0], STEP, axis=0)
    assert along.min() < -1
    smooth = unfolded(bend)
    slopes = np.stack([np.stack(np.gradient(part, STEP), axis=-1) for part in smooth], axis=-2)
    assert np.linalg.det(slopes + np.eye(3)).min() > 0
    assert np.array_equal(smooth[..., :2], bend[..., :2])
