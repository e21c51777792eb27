"""Anatomy of the phantom: a closed-form miniature brain.

Notation: a point of tissue is ``(w, v, u)`` in units of the brain's half extents, along the axes
posterior, inferior, right, with 0 at the centre of the brain. The cerebrum is described in polar
coordinates of each coronal section: ``theta`` [degree] from the dorsal midline (0) over lateral
(90) down to ventral (180), ``s`` in -1..1 from the frontal to the occipital pole, and ``depth``,
0 at the pia, 1 at the white matter, 2 at the deep nuclei. All radii are closed forms, so any voxel
can be labelled alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import Affine, coordinates
from projectome.core.atlas import Plane
from projectome.core.box import Triple
from projectome.core.space import Space
from projectome.datasets.phantom_regions import DEEP, FIRST, LAYERS, area_codes, flatmap

SPACE = Space("phantom", toward=("posterior", "inferior", "right"))
"""Tissue micrometres; axes and directions as in the Allen CCF."""

_CCG, _CCB, _CCS, _EC, _INT, _VL, _V3, _LS, _ACB, _OT, _CP = range(1, 12)
_HIP, _HY, _VAL, _PO, _LP, _MB, _P, _MY, _MOB, _CB = range(12, len(DEEP) + 1)
_LAYER_ENDS = (0.12, 0.42, 0.52, 0.76)  # depths at which the layers but the last end

# The cerebrum along its own axis: its centre and half length in w.
_MIDDLE, _REACH = -0.14, 0.74
# Outer and inner surface of the cortex, each a pair of lobes at u = +-offset with half width,
# half height above and below, and the share of the cerebrum's length that it spans.
_OUTER = (0.40, 0.60, 0.90, 0.88, 1.0)
_INNER = (0.27, 0.46, 0.55, 0.62, 0.84)
_WHITE, _THICKEST = 0.10, 0.42  # thickness of the white matter, and of the cortex at most


@numba.njit(cache=True, nogil=True)
def _lobe(form: Any, side: Any, v: Any, s: Any) -> Any:
    """Return how far out a point lies in a pair of lobes; inside below 0."""
    offset, width, up, down, reach = form
    t = abs(s / reach)
    height = up if v < 0 else down
    return ((side - offset) / width) ** 2 + (v / height) ** 2 + t * t * t - 1


@numba.njit(cache=True, nogil=True)
def _edge(form: Any, sine: Any, cosine: Any, s: Any) -> Any:
    """Return where a ray from the centre of a section leaves a pair of lobes; 0 if it misses."""
    offset, width, up, down, reach = form
    height = up if cosine > 0 else down
    t = abs(s / reach)
    a = (sine / width) ** 2 + (cosine / height) ** 2
    b = offset * sine / width**2
    c = (offset / width) ** 2 + t * t * t - 1
    root = b * b - a * c
    if t >= 1 or root <= 0:
        return 0.0
    return max(0.0, (b + np.sqrt(root)) / a)


@numba.njit(cache=True, nogil=True)
def _radii(sine: Any, cosine: Any, s: Any) -> Any:
    """Return the radii of the pia, of the white matter and of the deep nuclei along a ray."""
    inner = _edge(_INNER, sine, cosine, s)
    return _edge(_OUTER, sine, cosine, s), inner, max(0.0, inner - _WHITE)


@numba.njit(cache=True, nogil=True)
def _taper(s: Any) -> Any:
    """Return the width of the cerebrum relative to its middle: it narrows to the front."""
    front = max(0.0, -s)
    return 1 - 0.3 * front * front


@numba.njit(cache=True, nogil=True)
def _ball(w: Any, v: Any, u: Any, centre: Any, radii: Any) -> Any:
    z, y, x = w - centre[0], v - centre[1], u - centre[2]
    return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1


@numba.njit(cache=True, nogil=True)
def _nucleus(s: Any, v: Any, side: Any, theta: Any, radius: Any, white: Any) -> Any:
    """Return the code of a deep point of the cerebrum; `side` is the distance to the midline."""
    if radius > white - 0.07 and 13 < theta < 48 and -0.55 < s < 0.5:
        return _VL
    capsule = side - 0.40 - 0.8 * s + 0.2 * v
    if capsule > 0.04:
        if v > 0.34 and s < 0 and side < 0.36:
            return _ACB
        return _LS if side < 0.16 and v < 0.16 and s < 0 else _CP
    if side < 0.16 and v < 0.16 and s < 0:
        return _LS
    if abs(capsule) <= 0.04:
        return _INT
    if side < 0.022 and -0.05 < v < 0.4:
        return _V3
    if s > 0.12 and v < -0.16:
        return _HIP
    if v > 0.26:
        return _HY
    if s > 0.6:
        return _MB
    return _VAL if s < 0.18 else (_LP if s > 0.38 else _PO)


@numba.njit(cache=True, nogil=True)
def _cerebrum(s: Any, v: Any, side: Any, areas: Any) -> Any:
    """Return the code of a point inside the cerebrum."""
    radius = np.sqrt(side * side + v * v)
    sine, cosine = (side / radius, -v / radius) if radius > 0 else (0.0, 1.0)
    pia, inner, white = _radii(sine, cosine, s)
    theta = np.degrees(np.arctan2(sine, cosine))
    if _lobe(_INNER, side, v, s) < 0:
        if radius >= white and theta < 125:
            if theta > 78:
                return _EC
            return _CCG if s < -0.35 else (_CCB if s < 0.3 else _CCS)
        return _nucleus(s, v, side, theta, radius, white)
    if v < 0.3 and side < 0.012 + 0.25 * max(0.0, -v - 0.6):
        return 0
    if theta >= 140:
        return _OT if s < -0.1 else (_HY if s < 0.6 else _P)
    depth = (pia - radius) / min(max(pia - inner, 1e-9), _THICKEST)
    layer = 0
    for end in _LAYER_ENDS:
        layer += depth >= end
    area = areas[min(139, int(theta)), min(199, int(100 * (s + 1)))]
    return FIRST + 5 * area + layer


@numba.njit(cache=True, nogil=True)
def _code(w: Any, v: Any, u: Any, areas: Any) -> Any:
    """Return the code of a point: 0 outside, 1.. in `DEEP`, then five layers an area."""
    s = (w - _MIDDLE) / _REACH
    side = abs(u) / _taper(s)
    if _lobe(_OUTER, side, v, s) < 0:
        return _cerebrum(s, v, side, areas)
    side = abs(u)
    if _ball(w, v, side, (-0.76, 0.06, 0.18), (0.24, 0.30, 0.165)):
        return _MOB
    if _ball(w, v, side, (0.74, -0.16, 0.0), (0.26, 0.46, 0.66)):
        return _CB if side > 0.012 or v > -0.3 or w < 0.8 else 0
    if _ball(w, v, side, (0.62, 0.32, 0.0), (0.38, 0.36, 0.36)):
        return _MB if w < 0.5 else (_P if w < 0.72 else _MY)
    return 0


@numba.njit(cache=True, nogil=True)
def _codes_at(points: Any, areas: Any) -> Any:
    out = np.empty(len(points), np.uint8)
    for i in range(len(points)):
        out[i] = _code(points[i, 0], points[i, 1], points[i, 2], areas)
    return out


@numba.njit(cache=True, nogil=True)
def _codes_on(z: Any, y: Any, x: Any, areas: Any) -> Any:
    out = np.empty((len(z), len(y), len(x)), np.uint8)
    for i in range(len(z)):
        for j in range(len(y)):
            for k in range(len(x)):
                out[i, j, k] = _code(z[i], y[j], x[k], areas)
    return out


@numba.njit(cache=True, nogil=True)
def _place(side: Any, theta: Any, s: Any, depth: Any) -> Any:
    out = np.empty((len(side), 3))
    for i in range(len(side)):
        sine, cosine = np.sin(np.radians(theta[i])), np.cos(np.radians(theta[i]))
        pia, inner, white = _radii(sine, cosine, s[i])
        if depth[i] < 1:
            radius = pia + depth[i] * (inner - pia)
        else:
            radius = inner + (depth[i] - 1) * (white - inner)
        out[i, 0] = _MIDDLE + _REACH * s[i]
        out[i, 1] = -radius * cosine
        out[i, 2] = side[i] * radius * sine * _taper(s[i])
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """The miniature brain, placed in a volume.

    Attributes
    ----------
    centre
        Centre of the brain (z, y, x) [um]; its x is where the midline lies.
    half
        Half extents of the brain (z, y, x) [um].
    """

    centre: tuple[float, float, float]
    half: tuple[float, float, float]

    @property
    def midline(self) -> Plane:
        """The plane between the hemispheres, normal toward the right."""
        return Plane(np.asarray(self.centre), np.asarray((0.0, 0.0, 1.0)), SPACE)

    def codes_at(self, points: ArrayLike) -> NDArray[np.uint8]:
        """Return the code of each point.

        Parameters
        ----------
        points
            Shape (N, 3) [um].

        Returns
        -------
        numpy.ndarray of uint8
            Shape (N,); `region_ids` turns codes into region ids.
        """
        return _codes_at((coordinates(points) - self.centre) / self.half, flatmap())

    def codes_on(self, affine: Affine, start: Triple, shape: Triple) -> NDArray[np.uint8]:
        """Return the codes at the voxel centres of a box of a grid.

        Parameters
        ----------
        affine
            Voxels to micrometres, a plain grid.
        start, shape
            First voxel and number of voxels; they may reach beyond the brain.
        """
        axes = [
            ((np.arange(n) + first) * size + origin - middle) / half
            for n, first, size, origin, middle, half in zip(
                *(shape, start, affine.voxel_size, affine.translation),
                *(self.centre, self.half),
                strict=True,
            )
        ]
        return _codes_on(*axes, flatmap())

    def place(
        self, side: ArrayLike, theta: ArrayLike, s: ArrayLike, depth: ArrayLike
    ) -> NDArray[np.float64]:
        """Return where points of the cortex and the white matter lie.

        Parameters
        ----------
        side
            -1 left, 1 right; (N,), as all of them.
        theta
            From the dorsal midline [degree].
        s
            From the frontal (-1) to the occipital pole (1).
        depth
            0 at the pia, 1 at the white matter, 2 at the deep nuclei.

        Returns
        -------
        numpy.ndarray
            Shape (N, 3) [um].
        """
        parts = np.broadcast_arrays(side, theta, s, depth)
        return _place(*(np.ravel(part).astype(np.float64) for part in parts)) * self.half + (
            self.centre
        )

    def column_of(self, point: ArrayLike) -> tuple[float, float]:
        """Return theta and s of a point (3,) [um] of the cerebrum."""
        w, v, u = (np.asarray(point) - self.centre) / self.half
        s = (w - _MIDDLE) / _REACH
        return float(np.degrees(np.arctan2(abs(u) / _taper(s), -v))), float(s)

    def area_of(self, area: str, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random (theta, s) inside a cortical area, away from its border.

        Raises
        ------
        UnknownNameError
            If the phantom has no such area.
        """
        inside = flatmap() == (area_codes(area)[0] - FIRST) // len(LAYERS)
        # Frontal and occipital poles lie beyond the white matter.
        inside[:, :18] = inside[:, -18:] = False
        core = inside.copy()
        for axis in (0, 1):
            for shift in (-5, 5):
                core &= np.roll(inside, shift, axis)
        cells = np.argwhere(core if core.any() else inside)
        theta, along = cells[rng.integers(len(cells))] + rng.uniform(0, 1, 2)
        return float(theta), float(along / 100 - 1)
