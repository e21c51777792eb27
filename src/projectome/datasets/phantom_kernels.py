"""Kernels that draw phantoms: Gaussians, balls, textures, camera noise, labels.

Every voxel depends on its own index alone: noise is a hash of seed and index, and sums run in one
fixed order. A box has the same bytes whether it is rendered alone or as part of another.

References
----------
.. [1] Steele G. L., Lea D., Flood C. H. (2014). Fast splittable pseudorandom number generators.
   OOPSLA: 453-472. (The mixing function of SplitMix64.)
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Box

REACH = 3.7
"""Standard deviations after which a Gaussian is cut."""
HALO = 14
"""Voxels around a soma that it brightens."""


def near(items: NDArray[np.float64], box: Box, margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the items, in their order, whose reach touches a box."""
    low = np.asarray(box.start) - margin[:, None]
    high = np.asarray(box.stop) - 1 + margin[:, None]
    return items[((items[:, :3] >= low) & (items[:, :3] <= high)).all(axis=1)]


@numba.njit(cache=True, nogil=True)
def sample(values: Any, z: Any, y: Any, x: Any) -> Any:
    """Interpolate linearly at all combinations of three lists of coordinates."""
    out = np.empty((len(z), len(y), len(x)), np.float32)
    ix = np.floor(x).astype(np.int64)
    tx = (x - ix).astype(np.float32)
    for i in range(len(z)):
        iz = int(np.floor(z[i]))
        tz = np.float32(z[i] - iz)
        for j in range(len(y)):
            iy = int(np.floor(y[j]))
            ty = np.float32(y[j] - iy)
            a, b = values[iz, iy], values[iz, iy + 1]
            c, d = values[iz + 1, iy], values[iz + 1, iy + 1]
            for k in range(len(x)):
                q, t = ix[k], tx[k]
                near = (a[q] + t * (a[q + 1] - a[q])) * (1 - ty) + ty * (
                    b[q] + t * (b[q + 1] - b[q])
                )
                far = (c[q] + t * (c[q + 1] - c[q])) * (1 - ty) + ty * (
                    d[q] + t * (d[q + 1] - d[q])
                )
                out[i, j, k] = near * (1 - tz) + tz * far
    return out


@numba.njit(cache=True, nogil=True)
def blur(values: Any, share: float, axis: int) -> Any:
    """Give each neighbour along an axis a share; the two outermost layers of the axis go."""
    side, own = np.float32(share), np.float32(1 - 2 * share)
    z, y, x = axis == 0, axis == 1, axis == 2
    depth, height, width = values.shape
    a = values[: depth - 2 * z, : height - 2 * y, : width - 2 * x]
    b = values[z * 1 : depth - z * 1, y * 1 : height - y * 1, x * 1 : width - x * 1]
    c = values[2 * z :, 2 * y :, 2 * x :]
    return side * (a + c) + own * b


@numba.njit(cache=True, nogil=True)
def span(centre: float, reach: float, start: float, count: int) -> Any:
    """Return the range of indices of a box that lie within reach of a coordinate."""
    low = int(np.ceil(centre - reach - start))
    high = int(np.floor(centre + reach - start)) + 1
    return max(0, low), min(count, high)


@numba.njit(cache=True, nogil=True)
def add_spots(light: Any, start: Any, spots: Any) -> None:
    """Add Gaussians: z, y, x, axial and lateral standard deviation [voxels], peak."""
    depth, height, width = light.shape
    row = np.empty(width, np.float32)
    for m in range(len(spots)):
        z, y, x, axial, lateral, peak = spots[m]
        z0, z1 = span(z, REACH * axial, start[0], depth)
        y0, y1 = span(y, REACH * lateral, start[1], height)
        x0, x1 = span(x, REACH * lateral, start[2], width)
        for k in range(x0, x1):
            row[k] = np.exp(-0.5 * ((k + start[2] - x) / lateral) ** 2)
        for i in range(z0, z1):
            fz = peak * np.exp(-0.5 * ((i + start[0] - z) / axial) ** 2)
            for j in range(y0, y1):
                f = np.float32(fz * np.exp(-0.5 * ((j + start[1] - y) / lateral) ** 2))
                for k in range(x0, x1):
                    light[i, j, k] += f * row[k]


@numba.njit(cache=True, nogil=True)
def add_balls(light: Any, start: Any, somata: Any) -> None:
    """Add balls with soft edges, softer along z."""
    depth, height, width = light.shape
    for m in range(len(somata)):
        z, y, x, radius, bright = somata[m]
        z0, z1 = span(z, radius + HALO, start[0], depth)
        y0, y1 = span(y, radius + HALO, start[1], height)
        x0, x1 = span(x, radius + HALO, start[2], width)
        for i in range(z0, z1):
            dz = (i + start[0] - z) * 0.8
            for j in range(y0, y1):
                dy = j + start[1] - y
                for k in range(x0, x1):
                    dx = k + start[2] - x
                    far = np.sqrt(dz * dz + dy * dy + dx * dx) - radius
                    if far < 11:
                        light[i, j, k] += np.float32(bright / (1 + np.exp(far / 0.75)))


@numba.njit(cache=True, nogil=True)
def normal(state: Any) -> float:
    """Return a nearly normal number for a 64-bit state: SplitMix64 [1]_, four uniforms summed."""
    state = state * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    total = np.uint64(0)
    for _ in range(4):
        total += state & np.uint64(0xFFFF)
        state = state >> np.uint64(16)
    return (np.int64(total) - 131070) * (1.7320508 / 65536)


@numba.njit(cache=True, nogil=True)
def expose(
    light: Any, start: Any, shape: Any, field: Any, shade: Any, camera: Any, saturation: float
) -> None:
    """Turn light into grey values of the camera, in place.

    Shot noise uses that the square root of a Poisson number of mean m is nearly normal, with
    mean sqrt(m) and standard deviation 1/2; the result has the mean m and the variance m + 1/8.
    """
    seed, electron, read_noise, offset = camera
    depth, height, width = light.shape
    base = (seed + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
    for i in range(depth):
        z = i + start[0]
        zc = min(max(z, 0), shape[0] - 1)
        for j in range(height):
            y = j + start[1]
            yc = min(max(y, 0), shape[1] - 1)
            for k in range(width):
                x = k + start[2]
                xc = min(max(x, 0), shape[2] - 1)
                half = 0 if 2 * x < shape[2] else 1
                signal = light[i, j, k] * field[yc, xc] * shade[half, zc, yc]
                index = ((z + 1) * (shape[1] + 2) + y + 1) * (shape[2] + 2) + x + 1
                state = base + np.uint64(2 * index)
                root = np.sqrt(max(signal, 0.0) / electron) + 0.5 * normal(state)
                shot = (root * root - 0.25) * electron
                value = shot + read_noise * normal(state + np.uint64(1)) + offset
                light[i, j, k] = min(max(value, 0.0), saturation)


@numba.njit(cache=True, nogil=True)
def mark(start: Any, shape: Any, marks: Any, aspect: float = 1.0) -> Any:
    """Label balls (z, y, x, radius [voxels], number); the relatively nearer one of several wins.

    Voxels are `aspect` times as long along z as in the plane, where the radius counts; a long one
    is labelled if any cube in it would be.
    """
    slack = max(0.0, aspect - 1) / 2
    labels = np.zeros(shape, np.uint32)
    best = np.full(shape, np.inf, np.float32)
    for m in range(len(marks)):
        z, y, x, radius, number = marks[m]
        z0, z1 = span(z, (radius + slack) / aspect, start[0], shape[0])
        y0, y1 = span(y, radius, start[1], shape[1])
        x0, x1 = span(x, radius, start[2], shape[2])
        for i in range(z0, z1):
            dz = max(0.0, abs(i + start[0] - z) * aspect - slack)
            for j in range(y0, y1):
                for k in range(x0, x1):
                    far = dz**2 + (j + start[1] - y) ** 2
                    far = np.sqrt(far + (k + start[2] - x) ** 2) / radius
                    if far <= 1 and np.float32(far) < best[i, j, k]:
                        best[i, j, k] = far
                        labels[i, j, k] = number
    return labels


@numba.njit(cache=True, nogil=True)
def lattice(seed: Any, start: Any, shape: Any) -> Any:
    """Return normal values at the nodes of an endless lattice, each a hash of seed and node."""
    out = np.empty(shape, np.float32)
    base = (seed + np.uint64(1)) * np.uint64(0xA24BAED4963EE407)
    for i in range(shape[0]):
        for j in range(shape[1]):
            row = np.uint64(((i + start[0] + 7) * 1_000_003 + j + start[1] + 7) * 1_000_033)
            for k in range(shape[2]):
                out[i, j, k] = normal(base + row + np.uint64(k + start[2] + 7))
    return out
