"""Small neurons that tests plant defects in."""

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space

SPACE = Space("tissue")


def path(*points, space=SPACE):
    """An unbranched neurite through points (z, y, x)."""
    return Skeleton(np.asarray(points, float), np.arange(len(points)) - 1, space)


def straight(start, stop, *, y=5.0, z=5.0, step=None, space=SPACE):
    """A neurite along x, with a node every `step` or only at its ends."""
    count = 2 if step is None else round((stop - start) / step) + 1
    x = np.linspace(start, stop, count)
    return path(*([z, y, each] for each in x), space=space)


def random_tree(seed, count, *, size=60.0, space=SPACE):
    rng = np.random.default_rng(seed)
    parent = np.asarray([-1, *(rng.integers(0, k) for k in range(1, count))])
    return Skeleton(rng.uniform(0, size, (count, 3)), parent, space)


def grown_tree(seed, count, *, step=2.0, space=SPACE):
    """A tree that grows in short steps and branches now and then."""
    rng = np.random.default_rng(seed)
    positions, parent, way = [np.full(3, 50.0)], [-1], [np.array([0.0, 0.0, 1.0])]
    tips = [0]
    while len(positions) < count:
        tip = tips[rng.integers(len(tips))]
        onward = way[tip] + rng.normal(0, 0.4, 3)
        onward /= np.linalg.norm(onward)
        positions.append(positions[tip] + step * onward)
        parent.append(tip)
        way.append(onward)
        if rng.random() > 0.08:
            tips.remove(tip)
        tips.append(len(positions) - 1)
    return Skeleton(np.asarray(positions), np.asarray(parent), space)


def moved(skeleton, by):
    return Skeleton(skeleton.coordinates + np.asarray(by), skeleton.parent, skeleton.space)


def brute_distance(points, skeleton):
    """Distance of each point to the nearest edge, looking at all of them."""
    nodes = np.flatnonzero(skeleton.lengths > 0)
    a, b = skeleton.coordinates[skeleton.parent[nodes]], skeleton.coordinates[nodes]
    way = b - a
    t = ((points[:, None] - a) * way).sum(-1) / (way**2).sum(-1)
    foot = a + np.clip(t, 0, 1)[..., None] * way
    return np.linalg.norm(points[:, None] - foot, axis=-1).min(axis=1)
