"""Images made ready to be compared: what is tissue, what is broken, one scale of grey values.

Notation: an image is ``(Z, Y, X)`` of isotropic voxels, some 100 to 300 along a brain. Lengths are
in voxels, so that the same holds for a mouse brain at 50 um and for a small phantom at 8 um.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.errors import DataError, Problem

SMOOTH = 1.2
"""Width of the Gaussian before the threshold of tissue [voxels]: wider than stripes and vessels."""
LEAST_PART = 0.05
"""Parts of tissue smaller than this share of the largest are debris."""
LEAST_TISSUE = 0.001
"""Share of the image that is tissue at least."""
CONTRAST = 1.5
"""Tissue is brighter than what surrounds it by at least so many standard deviations of noise."""
SATURATED = 0.3
"""A plane with this share of its tissue at the largest value is saturated."""
BRIGHT = 99.5
"""Percentile of tissue above which grey values are cut: blobs are brighter than any brain."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An image that can be registered.

    Attributes
    ----------
    image
        Shape (Z, Y, X), float32: 0 is the surroundings, 1 bright tissue.
    tissue
        Shape (Z, Y, X), bool.
    trusted
        Shape (Z, Y, X), bool: voxels that may count; planes that are broken do not.
    problems
        What was found wrong, and what was done about it.
    """

    image: NDArray[np.float32]
    tissue: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    problems: tuple[Problem, ...] = ()


def prepare(image: NDArray[np.generic], *, name: str = "volume") -> Prepared:
    """Find tissue and broken planes in an image and bring its grey values to one scale.

    Parameters
    ----------
    image
        Shape (Z, Y, X), real numbers.
    name
        For messages.

    Returns
    -------
    Prepared
        With slow changes of brightness divided out, see `even_out`.

    Raises
    ------
    DataError
        If there are no finite numbers, no contrast or no tissue.
    """
    problems: list[Problem] = []
    values = np.asarray(image, np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise DataError(f"{name} holds no numbers, only NaN or infinity. Check level and channel.")
    if not finite.all():
        share = 1 - finite.mean()
        problems.append(
            Problem("warning", name, f"{share:.2%} of the voxels are no numbers; they do not count")
        )
        values = np.where(finite, values, np.float32(np.median(values[finite])))
    trusted = finite.copy()
    broken = saturated_planes(values)
    for axis, planes in enumerate(broken):
        if len(planes):
            problems.append(
                Problem(
                    "warning",
                    name,
                    f"{len(planes)} saturated or blank planes across axis {'zyx'[axis]} "
                    f"({', '.join(map(str, planes[:5]))}{', ...' * (len(planes) > 5)}); they are "
                    "bridged and do not count",
                )
            )
            values = _bridged(values, axis, planes)
            trusted[_planes(axis, planes)] = False
    tissue = tissue_mask(values, name=name)
    dark, bright = np.median(values[~tissue]) if not tissue.all() else values.min(), 0.0
    bright = float(np.percentile(values[tissue], BRIGHT))
    scaled = np.clip((values - dark) / max(bright - float(dark), 1e-6), 0, 1.0)
    even = even_out(scaled.astype(np.float32), tissue)
    return Prepared(even, tissue, trusted, tuple(problems))


def saturated_planes(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], ...]:
    """Return the planes across each axis that are saturated, or blank between others that are not.

    Parameters
    ----------
    values
        Shape (Z, Y, X), finite.

    Returns
    -------
    tuple of numpy.ndarray of int64
        Indices for z, y and x. A plane counts where `SATURATED` of it lies at the largest value
        while its neighbours do not, or where it is constant and both neighbours are not.
    """
    top = values.max()
    found = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        full = (values >= top).mean(axis=others) > SATURATED
        blank = values.max(axis=others) == values.min(axis=others)
        inner = np.zeros(len(blank), bool)
        filled = np.flatnonzero(~blank)
        if len(filled):
            inner[filled[0] : filled[-1] + 1] = True
        bad = (full & (full.mean() < 0.5)) | (blank & inner)
        found.append(np.flatnonzero(bad))
    return tuple(found)


def _planes(axis: int, planes: NDArray[np.int64]) -> tuple[Any, ...]:
    return tuple(planes if a == axis else slice(None) for a in range(3))


def _bridged(
    values: NDArray[np.float32], axis: int, planes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the image with planes interpolated between the nearest good ones."""
    out = np.moveaxis(values.copy(), axis, 0)
    good = np.setdiff1d(np.arange(len(out)), planes)
    for plane in planes.tolist():
        place = int(np.searchsorted(good, plane))
        below, above = int(good[max(place - 1, 0)]), int(good[min(place, len(good) - 1)])
        weight = 0.5 if above == below else (plane - below) / (above - below)
        out[plane] = (1 - weight) * out[below] + weight * out[above]
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


def tissue_mask(values: NDArray[np.float32], *, name: str = "volume") -> NDArray[np.bool_]:
    """Return where tissue is.

    The logarithm of the smoothed image is cut by Otsu's threshold: bright blobs weigh little
    there, and stripes are narrower than the Gaussian. All large parts are kept, so that halves that
    came apart stay; holes are filled plane by plane.

    Parameters
    ----------
    values
        Shape (Z, Y, X), finite.
    name
        For messages.

    Raises
    ------
    DataError
        If no tissue stands out.

    References
    ----------
    Otsu N. (1979), A threshold selection method from gray-level histograms, IEEE Transactions on
    Systems, Man, and Cybernetics 9, 62-66.
    """
    smooth = ndimage.gaussian_filter(values, SMOOTH)
    low, high = np.percentile(smooth, (0.5, 99.5))
    if not high > low:
        raise DataError(
            f"{name} is {low:g} almost everywhere; there is no tissue to register. Check the "
            "channel, the level and the display range of the export."
        )
    grey = np.log1p(10 * np.clip((smooth - low) / (high - low), 0, 1))
    cut = _otsu(grey)
    mask = grey > cut
    noise = float(np.std((values - smooth)[~mask])) / np.sqrt((2 * SMOOTH) ** 3 + 1)
    contrast = float(smooth[mask].mean() - smooth[~mask].mean()) if mask.any() else 0.0
    spread = float(np.std(smooth[~mask])) if (~mask).any() else 0.0
    if contrast < CONTRAST * max(noise, spread):
        raise DataError(
            f"No tissue stands out in {name}: inside and outside differ by {contrast:.3g} grey "
            f"values, the surroundings by {max(noise, spread):.3g}. Check the channel."
        )
    mask = ndimage.binary_opening(mask, iterations=2)
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    if not count or sizes.max() < LEAST_TISSUE * mask.size:
        raise DataError(
            f"{name} shows no piece of tissue larger than {LEAST_TISSUE:.1%} of the image. Check "
            "the channel and the level."
        )
    kept = (sizes >= LEAST_PART * sizes.max())[labels]
    kept = ndimage.binary_closing(np.pad(kept, 1))[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        planes = np.moveaxis(kept, axis, 0)
        for plane in planes:
            plane |= ndimage.binary_fill_holes(plane)
    return np.asarray(kept, bool)


def _otsu(grey: NDArray[np.floating]) -> float:
    counts, edges = np.histogram(grey, 256)
    centre = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mean_below = np.cumsum(counts * centre) / np.maximum(below, 1)
    mean_above = ((counts * centre).sum() - np.cumsum(counts * centre)) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    return float(edges[1 + int(np.argmax(between))])


def smoothed_inside(
    values: NDArray[np.float32], inside: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Return a Gaussian mean over the voxels inside only, shape (Z, Y, X); sigma in voxels."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma, truncate=3)
    mean = ndimage.gaussian_filter(np.where(inside, values, 0), sigma, truncate=3)
    return np.asarray(mean / np.maximum(weight, 1e-3), np.float32)


def even_out(
    image: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    *,
    width: float = 30.0,
) -> NDArray[np.float32]:
    """Divide slow changes of brightness out of the tissue.

    Parameters
    ----------
    image
        Shape (Z, Y, X), 0 outside.
    tissue
        Where it counts.
    width
        Standard deviation of the Gaussian that separates slow from fast [voxels].

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X), median of tissue 0.5, at most 2.
    """
    step = max(1, int(width / 6))
    small, inside = image[::step, ::step, ::step], tissue[::step, ::step, ::step]
    level = smoothed_inside(small, inside, width / step)
    zoom = np.array(image.shape) / level.shape
    slow = ndimage.zoom(level, zoom, order=1, mode="nearest", grid_mode=True)
    floor = 0.2 * float(np.median(level[inside])) if inside.any() else 1e-3
    flat = image / np.maximum(slow, max(floor, 1e-6))
    middle = float(np.median(flat[tissue]))
    return np.asarray(np.clip(0.5 * flat / max(middle, 1e-6), 0, 2), np.float32)


def local_contrast(
    image: NDArray[np.float32], inside: NDArray[np.bool_], *, width: float = 8.0
) -> NDArray[np.float32]:
    """Return by how many local standard deviations each voxel differs from its surroundings.

    Parameters
    ----------
    image
        Shape (Z, Y, X).
    inside
        Where it counts; 0 elsewhere.
    width
        Standard deviation of the Gaussian that is the surroundings [voxels].

    Returns
    -------
    numpy.ndarray of float32
        Shape (Z, Y, X), within -4 to 4: what remains is anatomy, whatever the stain's brightness
        or the display curve.
    """
    mean = smoothed_inside(image, inside, width)
    spread = np.sqrt(np.maximum(smoothed_inside(image * image, inside, width) - mean * mean, 0))
    floor = 0.1 * float(np.median(spread[inside])) if inside.any() else 1.0
    return np.asarray(np.clip((image - mean) / (spread + floor + 1e-6), -4, 4) * inside, np.float32)
