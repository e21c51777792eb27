"""Strategies that draw core values for tests with hypothesis (``pip install hypothesis``).

They draw small values of every legal kind, the odd ones included: empty boxes and skeletons,
single nodes, spaces whose orientation is unknown in part, rotated and sheared maps.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from projectome.core.affine import VOXELS, Affine
from projectome.core.box import BlockGrid, Box
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space, Towards, all_orientations

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
"""Small JSON values of every kind."""


def coordinates(count: int, *, reach: float = 1e5) -> st.SearchStrategy[NDArray[np.float64]]:
    """Draw finite coordinates of shape (count, 3), within `reach` of 0 on each axis."""
    finite = st.floats(-reach, reach, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    return hnp.arrays(np.float64, (count, 3), elements=finite)


@st.composite
def boxes(draw: st.DrawFn, *, smallest: int = 0, largest: int = 12, around: int = 30) -> Box:
    """Draw a box with sides of `smallest` to `largest` voxels that starts near the origin."""
    start = draw(st.tuples(*[st.integers(-around, around)] * 3))
    shape = draw(st.tuples(*[st.integers(smallest, largest)] * 3))
    z, y, x = (a + n for a, n in zip(start, shape, strict=True))
    return Box(start, (z, y, x))


@st.composite
def block_grids(draw: st.DrawFn, *, largest: int = 12) -> BlockGrid:
    """Draw a grid over a box of at most `largest` voxels an axis, often with ragged edges."""
    domain = draw(boxes(largest=largest))
    block = draw(st.tuples(*[st.integers(1, largest)] * 3))
    halo = draw(st.tuples(*[st.integers(0, 4)] * 3))
    return BlockGrid(domain, block, halo)


@st.composite
def spaces(draw: st.DrawFn, *, oriented: bool | None = None) -> Space:
    """Draw a space in micrometres; `oriented` fixes whether all directions are known."""
    toward: Towards = draw(st.sampled_from(all_orientations()))
    if oriented is not True:
        known = draw(
            st.tuples(*[st.booleans()] * 3).filter(lambda k: oriented is None or not all(k))
        )
        kept = (d if keep else None for d, keep in zip(toward, known, strict=True))
        toward = cast(Towards, tuple(kept))
    expansion = draw(st.sampled_from([1.0, 1.7, 4.0]))
    return Space(name=draw(NAMES), toward=toward, expansion=expansion)


@st.composite
def grids(draw: st.DrawFn, *, target: Space | None = None) -> Affine:
    """Draw the map of a plain voxel grid: positive voxel sizes and a translation."""
    size = draw(hnp.arrays(np.float64, 3, elements=st.floats(0.05, 50)))
    translation = draw(coordinates(1))[0]
    return Affine.from_scale(size, translation, target=target or draw(spaces()))


@st.composite
def affines(draw: st.DrawFn, *, source: Space | None = None, target: Space | None = None) -> Affine:
    """Draw a map with rotation, shear, mirrors and scales of 0.1 to 10; well conditioned."""
    linear = np.diag(draw(hnp.arrays(np.float64, 3, elements=st.floats(0.1, 10))))
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = draw(hnp.arrays(np.float64, 3, elements=st.floats(-0.5, 0.5)))
    turn = np.eye(3)[list(draw(st.permutations(range(3))))]
    turn = turn * draw(hnp.arrays(np.float64, 3, elements=st.sampled_from([-1.0, 1.0])))
    angle = draw(st.floats(-np.pi, np.pi))
    turn[:2] = (
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ turn[:2]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ shear @ linear
    matrix[:3, 3] = draw(coordinates(1))[0]
    return Affine(matrix, VOXELS if source is None else source, target or draw(spaces()))


@st.composite
def points(draw: st.DrawFn, *, space: Space | None = None, largest: int = 12) -> Points:
    """Draw up to `largest` points with a column of each usual type."""
    count = draw(st.integers(0, largest))
    columns: dict[str, NDArray[Any]] = {
        "score": draw(hnp.arrays(np.float64, count, elements=st.floats(0, 1))),
        "label": draw(hnp.arrays(np.int64, count, elements=st.integers(0, 2**40))),
        "good": draw(hnp.arrays(np.bool_, count)),
    }
    return Points(draw(coordinates(count)), space or draw(spaces()), columns)


@st.composite
def skeletons(
    draw: st.DrawFn,
    *,
    space: Space | None = None,
    smallest: int = 0,
    largest: int = 20,
    trees: int = 3,
) -> Skeleton:
    """Draw a forest of `smallest` to `largest` nodes in at most `trees` trees."""
    count = draw(st.integers(smallest, largest))
    parent = [draw(st.integers(-1, i - 1)) for i in range(count)]
    roots = [i for i, p in enumerate(parent) if p < 0]
    for extra in roots[trees:]:
        parent[extra] = draw(st.integers(0, extra - 1))
    radius = draw(
        st.none() | hnp.arrays(np.float32, count, elements=st.floats(0.125, 50, width=32))
    )
    kind = draw(st.none() | hnp.arrays(np.int32, count, elements=st.integers(0, 300)))
    return Skeleton(
        draw(coordinates(count)),
        np.asarray(parent, dtype=np.int64),
        space or draw(spaces()),
        radius,
        kind,
    )


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """Draw a JSON document with the value at one place replaced by anything."""
    changed = copy.deepcopy(document)
    place = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
            place[key] = draw(ANYTHING)
            return changed
        place = inner
